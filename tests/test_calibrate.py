"""Calibration: order, costs, margins and golden vectors."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble

from sne_edge.calibrate import NEVER, Stages, best_order, calibrate, cascade_margins, golden_vectors, run_students
from sne_edge.errors import SneError
from sne_edge.model import ActivationPolicy, QuantEnsemble
from sne_edge.reference import run


@pytest.fixture(scope="module")
def ensemble() -> QuantEnsemble:
    return tiny_ensemble()


@pytest.fixture(scope="module")
def inputs(ensemble: QuantEnsemble) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, size=(200, ensemble.encoder.input_bytes), dtype=np.uint8)


@pytest.fixture(scope="module")
def labels(ensemble: QuantEnsemble, inputs: np.ndarray) -> np.ndarray:
    """Mostly what the whole ensemble says, so that its stages differ in accuracy."""
    said = run(ensemble, inputs, ActivationPolicy("all")).decisions.label.copy()
    said[::7] = 0
    return said


def random_stages(seed: int, count: int = 120, students: int = 3) -> Stages:
    """Stages whose margins say something about being right, and later ones are right more often."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(size=(count, 1)) + 0.5 * np.arange(students) + 0.3 * rng.normal(size=(count, students))
    margin = np.maximum(0, 1000 * (ease + 1 + 0.5 * rng.normal(size=ease.shape))).astype(np.int64)
    return Stages(ease > -0.5, margin, np.cumsum(rng.integers(50, 150, size=ease.shape), axis=1))


def play(seen: Stages, margins: tuple[int, ...]) -> tuple[float, float]:
    """Accuracy and mean cost of a cascade, sample by sample."""
    right, cost = 0, 0
    for i in range(len(seen.margin)):
        k = 0
        while k < seen.students - 1 and seen.margin[i, k] < margins[k]:
            k += 1
        right, cost = right + int(seen.correct[i, k]), cost + int(seen.cost[i, k])
    return right / len(seen.margin), cost / len(seen.margin)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drop", [0.0, 1.0, 5.0])
def test_a_cascade_costs_no_more_accuracy_than_allowed_and_saves_operations(seed: int, drop: float):
    seen = random_stages(seed)
    accuracy, cost = play(seen, cascade_margins(seen, drop))
    assert accuracy >= seen.correct[:, -1].mean() - drop / 100 - 1e-9
    assert cost < seen.cost[:, -1].mean()


@pytest.mark.parametrize("seed", range(3))
def test_margins_are_near_the_best_of_an_exhaustive_search(seed: int):
    seen = random_stages(seed, count=60)
    allowed = seen.correct[:, -1].mean() - 0.02 - 1e-9
    grid = [np.unique(np.append(seen.margin[:, k], NEVER)) for k in (0, 1)]
    costs = [cost for m in itertools.product(*(g[::2] for g in grid)) for a, cost in [play(seen, m)] if a >= allowed]
    assert play(seen, cascade_margins(seen, 2.0))[1] <= 1.15 * min(costs)


def test_where_every_early_stop_is_wrong_the_cascade_never_stops():
    correct = np.array([[False, True]] * 10)
    seen = Stages(correct, np.full((10, 2), 50), np.array([[10, 20]] * 10))
    assert cascade_margins(seen, 0.0) == (NEVER,)


def test_calibration_fills_in_costs_order_and_margins(ensemble, inputs, labels):
    made = calibrate(ensemble, inputs, labels, max_drop=2.0)
    work = run_students(ensemble, inputs)
    assert [s.mean_ops for s in made.students] == [round(float(m)) for m in work.ops.mean(axis=0)]
    assert [s.max_ops for s in made.students] == work.ops.max(axis=0).tolist()
    assert made.order == best_order(ensemble, work, labels)
    assert made.policy.kind == "cascade" and len(made.policy.margins) == len(made.students) - 1
    whole = (run(made, inputs, ActivationPolicy("all")).decisions.label == labels).mean()
    assert (run(made, inputs).decisions.label == labels).mean() >= whole - 0.02 - 1e-9


def test_the_first_student_is_the_one_that_is_best_alone(ensemble, inputs, labels):
    alone = [
        (run(ensemble, inputs, ActivationPolicy("mask", mask=1 << k)).decisions.label == labels).mean()
        for k in range(len(ensemble.students))
    ]
    assert alone[calibrate(ensemble, inputs, labels).order[0]] == max(alone)


def test_a_single_student_needs_no_cascade(ensemble, inputs, labels):
    single = tiny_ensemble()
    layers = sum(s == 0 for s, _ in single.spike_layers)
    empty = msgspec.structs.replace(
        single.vectors, **{k: getattr(single.vectors, k)[:0] for k in ("inputs", "logits", "active", "ops", "labels")},
        spikes=np.zeros((0, layers), np.uint32),
    )  # fmt: skip
    single = msgspec.structs.replace(
        single, students=single.students[:1], order=(0,), policy=ActivationPolicy("all"), vectors=empty
    )
    assert calibrate(single, inputs, labels).policy.kind == "all"


def test_golden_vectors_hold_what_the_own_policy_made(ensemble, inputs, labels):
    vectors = golden_vectors(ensemble, inputs[:9], labels[:9])
    out = run(ensemble, inputs[:9])
    assert (vectors.logits == out.decisions.logits).all() and (vectors.active == out.decisions.active).all()
    assert (vectors.spikes == out.spikes).all() and (vectors.ops.sum(axis=1) == out.synaptic_ops + out.macs).all()
    assert (golden_vectors(ensemble, inputs[:9]).labels == -1).all()
    msgspec.structs.replace(ensemble, vectors=vectors)


def test_bad_settings_are_refused(ensemble, inputs, labels):
    with pytest.raises(SneError, match="max_drop"):
        calibrate(ensemble, inputs, labels, max_drop=-1)
    with pytest.raises(SneError, match="labels"):
        calibrate(ensemble, inputs, labels[:-1])
