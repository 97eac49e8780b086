"""Means of counts: of all inputs, or of a sample that stands for all and says how exact it is."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sne_edge.link.bench import representative, standard_error


def cascade(inputs: int, seed: int) -> tuple[Any, np.ndarray]:
    """Work and instructions of a cascade's inputs: most stop at the first student, a few run all."""
    rng = np.random.default_rng(seed)
    students = rng.choice([1, 2, 3, 4], size=inputs, p=[0.75, 0.15, 0.04, 0.06])
    operations = (students * rng.normal(14_000, 1_500, inputs)).astype(np.int64)
    counts = (4.6 * operations + rng.normal(0, 900, inputs)).round()
    return SimpleNamespace(students_run=students, synaptic_ops=operations, macs=np.zeros_like(operations)), counts


def test_a_sample_has_the_mean_of_all_inputs_within_its_error() -> None:
    misses, examined, plain = 0, 0, []
    for seed in range(40):
        work, counts = cascade(1000, seed)
        for samples in (32, 100, 333):
            chosen = representative(work, samples)
            assert len(set(chosen.tolist())) == samples
            error = standard_error(counts[chosen], len(counts))
            assert error is not None and 0 < error < 0.1 * counts.mean()
            misses += abs(counts[chosen].mean() - counts.mean()) > 3 * error
            examined += 1
        plain.append(abs(counts[:32].mean() / counts.mean() - 1))
        assert abs(counts[representative(work, 32)].mean() / counts.mean() - 1) < 0.06
    assert examined == 120 and misses <= 3
    assert max(plain) > 0.15, "the first inputs are no such sample"


@pytest.mark.parametrize("samples", [7, 8, 1000])
def test_where_all_inputs_are_counted_each_is_once_and_the_error_is_nothing(samples: int) -> None:
    work, counts = cascade(7, 0)
    chosen = representative(work, samples)
    assert sorted(chosen.tolist()) == list(range(7))
    assert standard_error(counts[chosen], 7) == 0.0


def test_a_single_input_of_many_says_nothing_of_its_error() -> None:
    work, counts = cascade(9, 0)
    assert standard_error(counts[representative(work, 1)], 9) is None
