"""Measurements on a device: what an inference costs under each policy, in instructions or cycles.

In: an ensemble, a device, inputs, labels. Out: a row per policy. Accuracy and operations are means over all inputs,
from the host build, which `verify` shows to compute the device's numbers; counts are of all inputs too, or of `samples`
of them that stand for all: evenly spaced in the order of the work that the host build found.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..check.evaluation import Evaluation, evaluate
from ..deploy.engine import HostEngine
from ..deploy.host import Batch, HostModel
from ..files import write_whole
from ..ir.policy import ActivationPolicy
from .device import Device
from .replies import BenchResult


@dataclass(frozen=True)
class Row:
    """One policy. `means`: over all inputs; `count_*`: `unit` per inference over `samples` inputs, and the standard
    error of their mean as the mean of all inputs (0 where all were counted, None where it is not known); `stack_bytes`:
    deepest stack of an inference; `inputs`, `counts`: which inputs were counted, and each one's count."""

    means: Evaluation
    samples: int
    count_mean: float
    count_error: float | None
    count_min: int
    count_max: int
    unit: str
    stack_bytes: int
    inputs: tuple[int, ...]
    counts: tuple[int, ...]


def bench(
    host: HostModel,
    device: Device,
    inputs: np.ndarray,
    labels: np.ndarray,
    policies: Sequence[ActivationPolicy],
    samples: int,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Measure each policy on uint8 inputs [N, input_bytes] with labels [N] (-1 where unknown)."""
    chosen = [representative(host.run(inputs, policy), samples) for policy in policies]
    wanted = sorted({int(number) for numbers in chosen for number in numbers})
    found: list[dict[int, BenchResult]] = [{} for _ in policies]
    members = [set(numbers.tolist()) for numbers in chosen]
    for index, number in enumerate(wanted):  # an input is loaded once, for all policies: loading takes longest
        progress(f"input {index + 1} of {len(wanted)}")
        device.load(inputs[number].tobytes())
        for policy, numbers, results in zip(policies, members, found, strict=True):
            if number in numbers:
                results[number] = device.bench(1, None if policy == host.ensemble.policy else policy)
    means = evaluate(HostEngine(host), inputs, labels, policies)
    return [
        _row(mean, numbers.tolist(), results, len(inputs))
        for mean, numbers, results in zip(means, chosen, found, strict=True)
    ]


def _row(means: Evaluation, numbers: Sequence[int], results: dict[int, BenchResult], population: int) -> Row:
    """Of results by input; `numbers` are the inputs in the order of their work."""
    counts = np.array([results[number].total for number in numbers])
    ordered = tuple(sorted(numbers))
    return Row(
        means=means,
        samples=len(numbers),
        count_mean=float(counts.mean()),
        count_error=standard_error(counts, population),
        count_min=int(counts.min()),
        count_max=int(counts.max()),
        unit=results[ordered[0]].unit,
        stack_bytes=max(result.stack_bytes for result in results.values()),
        inputs=ordered,
        counts=tuple(results[number].total for number in ordered),
    )


def representative(batch: Batch, samples: int) -> np.ndarray:
    """At most `samples` indices int64 into a batch: evenly spaced in the order of students run, then of operations."""
    order = np.lexsort((batch.synaptic_ops + batch.macs, batch.students_run))
    count = min(samples, len(order))
    return order[(2 * np.arange(count) + 1) * len(order) // (2 * count)]


def standard_error(counts: np.ndarray, population: int) -> float | None:
    """Of the mean of counts [n] taken evenly spaced from `population` ordered ones: from their successive differences
    (Wolter 1984, the estimator v2). None where a single one of several was counted."""
    n = len(counts)
    if n == population:
        return 0.0
    if n < 2:
        return None
    return float(np.sqrt((1 - n / population) / n * np.square(np.diff(counts)).sum() / (2 * (n - 1))))


def write_csv(rows: Sequence[Row], labels: np.ndarray, path: Path) -> None:
    """One line for each policy and input that was counted: the input's index among those given, its label (empty where
    it is unknown) and its count. Raises `SneError` where the file cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("policy", "input", "label", "count", "unit"))
    for row in rows:
        for index, count in zip(row.inputs, row.counts, strict=True):
            label = int(labels[index])
            writer.writerow((row.means.policy, index, "" if label < 0 else label, count, row.unit))
    write_whole(path, lambda file: file.write(text.getvalue().encode()))
