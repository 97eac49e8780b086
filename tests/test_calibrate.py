"""Calibration: order, costs, margins and golden vectors."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble

from sne_edge.check.reference import run, run_student
from sne_edge.check.verify import ReferenceEngine
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import NEVER, ActivationPolicy
from sne_edge.quantize.calibrate import (
    Stages,
    Work,
    best_order,
    calibrate,
    golden_vectors,
    margin_by_drop,
    margin_by_ops,
    measure,
    promise,
    stages,
    upper_bound,
)


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


def every_margin(seen: Stages) -> list[int]:
    """All that make a difference."""
    return [*np.unique(np.append(seen.margin[:, :-1], 0)).tolist(), NEVER]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("drop", [0.0, 1.0, 5.0])
def test_a_cascade_costs_no_more_accuracy_than_allowed_and_saves_operations(seed: int, drop: float):
    seen = random_stages(seed)
    margin = margin_by_drop(seen, drop)
    accuracy, cost = play(seen, (margin,) * 2)
    assert accuracy >= seen.correct[:, -1].mean() - drop / 100 - 1e-9
    assert cost < seen.cost[:, -1].mean()


@pytest.mark.parametrize("seed", range(3))
def test_the_margin_is_the_lowest_down_to_which_no_more_samples_differ_than_allowed(seed: int):
    seen = random_stages(seed)
    margin, kept = margin_by_drop(seen, 4.0), []
    for m in every_margin(seen):
        last = [next((k for k in (0, 1) if row[k] >= m), 2) for row in seen.margin]
        differ = sum(seen.correct[i, k] != seen.correct[i, 2] for i, k in enumerate(last))
        kept.append((m, differ / len(last) <= 0.04))
    assert all(ok for m, ok in kept if m >= margin)
    assert not [ok for m, ok in kept if m < margin][-1]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [1.1, 1.4, 1.9, 9.0])
def test_an_allowance_of_operations_buys_the_best_accuracy(seed: int, share: float):
    seen = random_stages(seed)
    target = share * seen.cost[:, 0].mean()
    found = [(*play(seen, (m, m)), m) for m in every_margin(seen)]
    accuracy, _, margin = max((a, m, m) for a, cost, m in found if cost <= target)
    assert margin_by_ops(seen, target) == margin
    assert play(seen, (margin, margin))[0] == accuracy


def test_fewer_operations_than_the_first_student_takes_are_refused():
    seen = random_stages(0)
    with pytest.raises(SneError, match="alone takes"):
        margin_by_ops(seen, seen.cost[:, 0].mean() - 1)


def test_where_every_early_stop_is_wrong_the_cascade_never_stops():
    correct = np.array([[False, True]] * 10)
    seen = Stages(correct, np.full((10, 2), 50), np.array([[10, 20]] * 10))
    assert margin_by_drop(seen, 0.0) == NEVER


def test_where_only_early_stops_are_right_the_cascade_takes_no_credit():
    correct = np.array([[True, False]] * 10)
    seen = Stages(correct, np.full((10, 2), 50), np.array([[10, 20]] * 10))
    assert margin_by_drop(seen, 1.0) == NEVER
    assert margin_by_ops(seen, 15) <= 50


def test_what_is_promised_on_some_samples_holds_on_others():
    """Not for every draw, but on average: choosing by few samples must not flatter what it chose."""
    drops, saved = [], []
    for seed in range(30):
        everything = random_stages(seed, count=3400)
        some, others = ((slice(0, 400)), slice(400, None))
        parts = [Stages(everything.correct[s], everything.margin[s], everything.cost[s]) for s in (some, others)]
        margin = margin_by_drop(parts[0], 2.0)
        told = promise(parts[1], (margin,) * 2)
        drops.append(100 * (told.accuracy_of_all - told.accuracy))
        saved.append(told.operations_of_all / told.operations)
    assert np.mean(drops) <= 2.0 and np.mean(saved) > 1.2


def test_the_bound_on_a_share_is_clopper_and_pearsons():
    assert upper_bound(0, 500) == pytest.approx(1 - 0.05 ** (1 / 500), rel=1e-6)
    assert upper_bound(3, 20) == pytest.approx(0.34366, abs=1e-5)
    assert upper_bound(20, 20) == 1.0
    below = sum(math.comb(300, i) * 0.04**i * 0.96 ** (300 - i) for i in range(8))
    assert upper_bound(7, 300, 1 - below) == pytest.approx(0.04, rel=1e-6)


def test_calibration_fills_in_costs_order_and_margins(ensemble, inputs, labels):
    made = calibrate(ensemble, inputs, labels, max_drop=2.0)
    work = measure(ensemble, ReferenceEngine(ensemble), inputs)
    assert [s.mean_ops for s in made.students] == [round(float(m)) for m in work.ops.mean(axis=0)]
    assert [s.max_ops for s in made.students] == work.ops.max(axis=0).tolist()
    by_layer = [run_student(ensemble, k, inputs).layer_ops.mean(axis=0).tolist() for k in range(len(made.students))]
    assert [s.layer_ops for s in made.students] == [tuple(map(round, layers)) for layers in by_layer]
    assert made.order == best_order(ensemble, work, labels)
    assert made.policy.kind == "cascade" and len(made.policy.margins) == len(made.students) - 1
    whole = (run(made, inputs, ActivationPolicy("all")).decisions.label == labels).mean()
    assert (run(made, inputs).decisions.label == labels).mean() >= whole - 0.02 - 1e-9


@pytest.mark.parametrize("kind", ["cascade", "routed"])
@pytest.mark.parametrize("goal", [{"max_drop": 3.0}, {"target_ops": 2000.0}])
def test_a_promise_is_what_the_reference_does_to_the_samples(ensemble, inputs, labels, kind, goal):
    made = calibrate(ensemble, inputs, labels, kind=kind, **goal)
    told = promise(stages(made, measure(made, ReferenceEngine(made), inputs), labels), made.policy.margins)
    out = run(made, inputs)
    assert made.policy.kind == kind and (made.routes is not None) == (kind == "routed")
    assert told.accuracy == pytest.approx((out.decisions.label == labels).mean())
    assert told.operations == pytest.approx((out.synaptic_ops + out.macs).mean())
    assert told.students_run == pytest.approx(out.decisions.students_run.mean())
    if "target_ops" in goal:
        assert told.operations <= goal["target_ops"]


def test_the_first_student_is_the_one_that_is_best_alone(ensemble, inputs, labels):
    alone = [
        (run(ensemble, inputs, ActivationPolicy("mask", mask=1 << k)).decisions.label == labels).mean()
        for k in range(len(ensemble.students))
    ]
    assert alone[calibrate(ensemble, inputs, labels).order[0]] == max(alone)


@pytest.mark.examines(orders=40, unlike_alone=5)
def test_each_next_student_makes_those_before_it_as_accurate_as_can_be(ensemble, examined):
    classes, students = len(ensemble.classes), len(ensemble.students)
    for seed in range(40):
        rng = np.random.default_rng(seed)
        labels, parts = rng.integers(0, classes, 60), rng.integers(-300, 300, (60, students, classes))
        parts[np.arange(60), :, labels] += rng.integers(0, 200, (60, students))
        order = best_order(ensemble, Work(parts, np.ones((60, students))), labels)

        def right(members: tuple[int, ...], parts: np.ndarray = parts, labels: np.ndarray = labels) -> int:
            told = [(ensemble.bias + part[list(members)].sum(axis=0)).tolist() for part in parts]
            return sum(row.index(max(row)) == label for row, label in zip(told, labels.tolist(), strict=True))

        for k in range(students):
            assert right(order[: k + 1]) == max(right((*order[:k], other)) for other in order[k:])
        examined["orders"] += 1
        examined["unlike_alone"] += right(order[1:2]) < max(right((other,)) for other in order[2:])


@pytest.mark.parametrize("cheap", [0, 1, 2])
def test_of_equally_good_students_the_cheapest_comes_first(ensemble, cheap):
    students = tuple(
        msgspec.structs.replace(s, mean_ops=100 if k == cheap else 200 + k) for k, s in enumerate(ensemble.students)
    )
    rng = np.random.default_rng(0)
    parts = np.repeat(rng.integers(-300, 300, (40, 1, len(ensemble.classes))), len(students), axis=1)
    made = msgspec.structs.replace(ensemble, students=students)
    order = best_order(made, Work(parts, np.ones((40, 3))), rng.integers(0, 4, 40))
    assert order == tuple(sorted(range(3), key=lambda k: (k != cheap, k)))


def test_a_single_student_needs_no_cascade(ensemble, inputs, labels):
    single = tiny_ensemble()
    layers = sum(s == 0 for s, _ in single.spike_layers)
    empty = msgspec.structs.replace(
        single.vectors, **{k: getattr(single.vectors, k)[:0] for k in ("inputs", "logits", "active", "ops", "labels")},
        spikes=np.zeros((0, layers), np.uint32),
    )  # fmt: skip
    single = msgspec.structs.replace(
        single, students=single.students[:1], order=(0,), policy=ActivationPolicy("all"), vectors=empty, routes=None
    )
    assert calibrate(single, inputs, labels).policy.kind == "all"


def test_golden_vectors_hold_what_the_own_policy_made(ensemble, inputs, labels):
    vectors = golden_vectors(ReferenceEngine(ensemble), inputs[:9], labels[:9])
    out = run(ensemble, inputs[:9])
    assert (vectors.logits == out.decisions.logits).all() and (vectors.active == out.decisions.active).all()
    assert (vectors.spikes == out.spikes).all() and (vectors.ops.sum(axis=1) == out.synaptic_ops + out.macs).all()
    assert (golden_vectors(ReferenceEngine(ensemble), inputs[:9]).labels == -1).all()
    msgspec.structs.replace(ensemble, vectors=vectors)


def test_bad_settings_are_refused(ensemble, inputs, labels):
    with pytest.raises(SneError, match="max_drop"):
        calibrate(ensemble, inputs, labels, max_drop=-1)
    with pytest.raises(SneError, match="labels"):
        calibrate(ensemble, inputs, labels[:-1])
    with pytest.raises(SneError, match="classes"):
        calibrate(ensemble, inputs, labels + len(ensemble.classes))
    with pytest.raises(SneError, match="target_ops"):
        calibrate(ensemble, inputs, labels, target_ops=0)
    with pytest.raises(SneError, match="nothing to calibrate"):
        calibrate(ensemble, inputs, labels, kind="budget")
