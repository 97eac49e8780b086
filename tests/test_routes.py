"""Routes: who is asked to tell two classes apart."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy, pair_row
from sne_edge.ir.schedule import schedule
from sne_edge.quantize.calibrate import Work, best_order, choose_policy, promise, stages
from sne_edge.quantize.routes import find_routes

PAIRS = [(low, high) for high in range(4) for low in range(high)]


@pytest.fixture(scope="module")
def ensemble() -> QuantEnsemble:
    """Four classes and three students, in the order 0, 1, 2; no routes."""
    made = tiny_ensemble()
    bias = np.zeros_like(made.bias)
    return msgspec.structs.replace(made, order=(0, 1, 2), bias=bias, routes=None, policy=ActivationPolicy())


def specialists(count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Parts and labels: student 0 knows the label's half of the classes, but little more; student 1 tells classes 0 and
    1 apart, student 2 classes 2 and 3."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    parts = rng.normal(0, 30, (count, 3, 4))
    rows = np.arange(count)
    for half in (0, 2):
        inside = labels // 2 == half // 2
        parts[inside, 0, half : half + 2] += 300
        parts[rows[inside], 0, labels[inside]] += 40
        parts[rows[inside], 1 + half // 2, labels[inside]] += 200
    return parts.astype(np.int64), labels


def test_the_student_that_tells_two_classes_apart_is_asked_first(ensemble):
    routes = find_routes(ensemble, *specialists(400))
    assert routes.dtype == np.uint8 and routes.shape == (6, 3) and (routes[:, 0] == 0).all()
    assert routes[pair_row(0, 1)].tolist() == [0, 1, 2]
    assert routes[pair_row(2, 3)].tolist() == [0, 2, 1]


def test_specialists_are_right_with_fewer_students_than_in_any_order(ensemble):
    parts, labels = specialists(2000)
    routed = msgspec.structs.replace(ensemble, routes=find_routes(ensemble, *specialists(400, seed=1)))
    ops = np.ones(parts.shape[:2], dtype=np.int64)
    margins = (2**31 - 1, 0)  # two students each
    found = (schedule(routed, ActivationPolicy("routed", margins=margins), parts, ops).label == labels).mean()
    for order in ((0, 1, 2), (0, 2, 1)):
        fixed = msgspec.structs.replace(ensemble, order=order)
        assert (
            found
            > (schedule(fixed, ActivationPolicy("cascade", margins=margins), parts, ops).label == labels).mean() + 0.1
        )


def test_a_routed_cascade_of_specialists_takes_fewer_operations(ensemble):
    parts, labels = specialists(2000)
    work = Work(parts, np.full(parts.shape[:2], 100))
    cost = {}
    for kind in ("cascade", "routed"):
        made = choose_policy(ensemble, work, labels, 1.0, kind=kind)
        cost[kind] = promise(stages(made, work, labels), made.policy.margins).operations
    assert cost["routed"] < 0.95 * cost["cascade"]


@pytest.mark.parametrize("order", [(0, 1, 2), (0, 2, 1), (2, 0, 1)])
def test_a_pair_that_was_never_seen_has_the_ensembles_order(ensemble, order):
    ensemble = msgspec.structs.replace(ensemble, order=order)
    parts, labels = specialists(300)
    none = find_routes(ensemble, parts[:0], labels[:0])
    assert (none == np.array(order)).all()
    logits = parts[:, order[0]]
    top = np.sort(np.argsort(-logits, axis=1, kind="stable")[:, :2], axis=1)
    away = find_routes(ensemble, parts[top[:, 1] < 3], labels[top[:, 1] < 3])
    assert (away[pair_row(0, 3) :] == np.array(order)).all()


def test_a_single_sample_overturns_nothing_that_many_say(ensemble):
    """Student 1 is better for every pair but for one sample of classes 2 and 3, which student 2 decides."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 200)
    parts = np.zeros((201, 3, 4), dtype=np.int64)
    parts[:200, 0, :2] = 100
    parts[np.arange(200), 1, labels] = 50
    parts[200, 0, 2:] = 100
    parts[200, 2, 3] = 50
    routes = find_routes(ensemble, parts, np.append(labels, 3))
    assert routes[pair_row(2, 3)].tolist() == [0, 1, 2]


def test_samples_whose_label_is_not_among_the_top_two_say_nothing(ensemble):
    """Student 2 would be the better one for classes 0 and 1, by samples that are of neither."""
    parts, labels = specialists(400)
    stray = parts[labels < 2][:150].copy()
    stray[:, 1], stray[:, 2] = 0, 0
    stray[:, 2, [0, 1, 2]] = 5000
    routes = find_routes(ensemble, np.concatenate([parts, stray]), np.append(labels, np.full(len(stray), 2)))
    assert (routes == find_routes(ensemble, parts, labels)).all()


def test_the_score_of_the_documented_formula(ensemble):
    parts, labels = specialists(60)
    logits = parts[:, 0]
    pair = np.argsort(-logits, axis=1, kind="stable")[:, :2]
    used = [i for i in range(60) if labels[i] in pair[i]]
    scale = np.median([logits[i, pair[i, 0]] - logits[i, pair[i, 1]] for i in used])
    gain = np.zeros((60, 3))
    for i in used:
        y, z = labels[i], pair[i].sum() - labels[i]
        for k in (1, 2):
            after = logits[i] + parts[i, k]
            gain[i, k] = 1 / (1 + np.exp(-(after[y] - after[z]) / scale))
    typical = gain[used].mean(axis=0)
    typical[2] = min(typical[1], typical[2])
    routes = find_routes(ensemble, parts, labels)
    for row, classes in enumerate(PAIRS):
        mine = [i for i in used if set(pair[i].tolist()) == set(classes)]
        score = (gain[mine].sum(axis=0) + 50 * typical) / (len(mine) + 50)
        assert routes[row].tolist() == ([0, 2, 1] if score[2] > score[1] else [0, 1, 2])
    assert len(np.unique(routes, axis=0)) == 2


def test_routes_follow_the_chosen_order(ensemble):
    parts, labels = specialists(400)
    work = Work(parts, np.full(parts.shape[:2], 100))
    made = choose_policy(msgspec.structs.replace(ensemble, order=(2, 1, 0)), work, labels, 1.0, kind="routed")
    assert made.order == best_order(ensemble, work, labels)
    assert made.routes is not None and (made.routes[:, 0] == made.order[0]).all()
