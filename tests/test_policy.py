"""Policies: the scheduler's decisions against a sample-by-sample one, and the words that name a policy."""

from __future__ import annotations

import itertools
import random
import re
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, proven, random_ensemble, random_routes

from sne_edge.check import reference
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy, check_policy, format_policy, pair_row, parse_policy, policy_key
from sne_edge.ir.schedule import STOPS, Decisions, decide, route_rows, schedule, top_two
from sne_edge.ir.vectors import no_vectors
from sne_edge.resources import RUNTIME


@pytest.fixture(scope="module")
def three() -> QuantEnsemble:
    """An ensemble of three students, with routes."""
    made = random_ensemble(random.Random(2), students=3)
    return msgspec.structs.replace(made, routes=random_routes(random.Random(0), len(made.classes), 3))


@st.composite
def policies(draw: st.DrawFn) -> ActivationPolicy:
    """Policies for three students, with figures at which the decisions below differ."""
    kind: Any = draw(st.sampled_from(["all", "first", "mask", "cascade", "budget", "routed", "routed"]))
    return ActivationPolicy(
        kind,
        students=draw(st.integers(1, 3)),
        mask=draw(st.integers(1, 7)),
        margins=tuple(draw(st.lists(st.integers(0, 12), min_size=2, max_size=2))),
        max_ops=draw(st.integers(1, 40)),
    )


@examples(150)
@given(policies(), st.integers(0, 2**32 - 1))
def test_batches_are_decided_as_each_sample_alone(three: QuantEnsemble, policy: ActivationPolicy, seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = len(three.classes)
    parts = rng.integers(-6, 7, (8, 3, classes))
    ops = rng.integers(0, 20, (8, 3))
    three = with_costs(three, rng.integers(0, 20, 3).tolist())
    got = schedule(three, policy, parts, ops)
    for i in range(8):
        traces = [oracle.Trace([], parts[i, k].tolist(), int(ops[i, k]), 0, 0) for k in range(3)]
        want = oracle.decide(three, policy, traces)
        assert got.logits[i].tolist() == want.logits
        assert STOPS[got.stop[i]] == want.stop
        for name in ("label", "margin", "active", "students_run", "timesteps"):
            assert getattr(got, name)[i] == getattr(want, name), name


def with_costs(ensemble: QuantEnsemble, costs: list[int]) -> QuantEnsemble:
    """The ensemble with other highest costs of its students."""
    pairs = zip(ensemble.students, costs, strict=True)
    students = tuple(msgspec.structs.replace(student, mean_ops=0, max_ops=cost) for student, cost in pairs)
    small = np.zeros_like(ensemble.bias)
    return msgspec.structs.replace(ensemble, students=students, bias=small)


def test_stops_are_numbered_as_in_the_header() -> None:
    header = (RUNTIME / "sne.h").read_text(encoding="utf-8")
    found = {int(m[2]): m[1].lower() for m in re.finditer(r"SNE_STOP_(\w+) = (\d+)", header)}
    assert [found[i] for i in range(len(found))] == list(STOPS)


def test_every_kind_of_policy_is_in_the_header() -> None:
    header = (RUNTIME / "sne.h").read_text(encoding="utf-8")
    kinds = {name.lower() for name in re.findall(r"SNE_POLICY_(\w+) = \d+", header)}
    assert kinds == {"default", "all", "first", "mask", "cascade", "budget", "routed"}


@pytest.mark.parametrize(
    ("logits", "label", "margin"),
    [([5, 3], 0, 2), ([3, 5], 1, 2), ([4, 4], 0, 0), ([-1, 7, 7], 1, 0), ([-(2**30), 2**30 - 1], 1, 2**31 - 1)],
)
def test_the_lowest_class_wins_a_tie(logits: list[int], label: int, margin: int) -> None:
    got = decide(np.array([logits]))
    assert (got[0][0], got[1][0]) == (label, margin)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("all", ActivationPolicy()),
        ("first:2", ActivationPolicy("first", students=2)),
        ("mask:0x5", ActivationPolicy("mask", mask=5)),
        ("mask:5", ActivationPolicy("mask", mask=5)),
        ("cascade:900,0", ActivationPolicy("cascade", margins=(900, 0))),
        ("budget:20000", ActivationPolicy("budget", max_ops=20000)),
        ("routed:900,0", ActivationPolicy("routed", margins=(900, 0))),
    ],
)
def test_words_make_a_policy_and_a_policy_words(three: QuantEnsemble, text: str, policy: ActivationPolicy) -> None:
    assert parse_policy(text, three) == policy
    assert parse_policy(format_policy(policy), three) == policy


def test_policies_of_the_same_words_that_do_different_things_are_known_apart() -> None:
    steps = [ActivationPolicy("all"), ActivationPolicy("all", timesteps=1), ActivationPolicy("all", timesteps=2)]
    stops = [ActivationPolicy("cascade", margins=(9,), early=early) for early in ((1, 1), (1, 2))]
    assert len(set(map(format_policy, steps))) == len(set(map(format_policy, stops))) == 1
    assert len(set(map(policy_key, steps + stops))) == 5 and policy_key(steps[0]) == policy_key(ActivationPolicy())


def test_own_is_the_ensembles_policy(three: QuantEnsemble) -> None:
    assert parse_policy("own", three) == three.policy


@pytest.mark.parametrize(
    "text",
    [
        *("", "some", "all:1", "own:1", "first", "first:0", "first:4", "first:x", "first:1.5"),
        *("mask:0", "mask:8", "mask:-1", "budget:", "budget:0", "budget:4294967296"),
        *("cascade:1", "cascade:1,2,3", "cascade:1,-2", "cascade:1,2147483648", "routed:1", "routed:1,x"),
    ],
)
def test_words_that_make_no_policy_are_refused(three: QuantEnsemble, text: str) -> None:
    with pytest.raises(SneError) as caught:
        parse_policy(text, three)
    assert "first:N" in caught.value.hint and "literal" not in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"margins": (1,)},
        {"margins": (1, 2**31)},
        {"margins": (-1, 1)},
        {"students": 4},
        {"students": -1},
        {"mask": 8},
        {"mask": -1},
        {"max_ops": 2**32},
        {"max_ops": -1},
        {"timesteps": 5},
        {"timesteps": -1},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["all", "first", "mask", "cascade", "budget", "routed"])
def test_no_field_is_out_of_range_even_one_the_kind_ignores(kind: Any, fields: dict[str, Any]) -> None:
    good: dict[str, Any] = {"students": 1, "mask": 1, "margins": (0, 0), "max_ops": 1, "timesteps": 4}
    check_policy(ActivationPolicy(kind, **good), 3, 4, True)
    with pytest.raises(ValueError, match=r"policy|timesteps"):
        check_policy(ActivationPolicy(kind, **(good | fields)), 3, 4, True)


def test_a_calibrated_model_keeps_its_margins_under_another_policy() -> None:
    check_policy(ActivationPolicy("all", margins=(5, 5)), 3, 4, False)
    check_policy(ActivationPolicy("all"), 3, 4, False)
    check_policy(ActivationPolicy("cascade"), 1, 4, False)


def test_a_routed_policy_needs_routes(three: QuantEnsemble) -> None:
    with pytest.raises(SneError, match="no routes"):
        parse_policy("routed:1,2", msgspec.structs.replace(three, routes=None, policy=ActivationPolicy()))
    with pytest.raises(ValueError, match="no routes"):
        check_policy(ActivationPolicy("routed", margins=(1, 2)), 3, 4, False)


@pytest.mark.parametrize(
    ("logits", "first", "second"),
    [
        ([5, 3], 0, 1),
        ([4, 4], 0, 1),
        ([4, 4, 4], 0, 1),
        ([1, 3, 3, 5], 3, 1),
        ([7, 1, 7, 7], 0, 2),
        ([-9, -9, -8], 2, 0),
    ],
)
def test_the_lowest_classes_are_the_top_two_on_a_tie(logits: list[int], first: int, second: int) -> None:
    got = top_two(np.array([logits]))
    assert (got[0][0], got[1][0]) == (first, second)


def test_every_pair_of_classes_has_a_row_of_its_own() -> None:
    pairs = [(low, high) for high in range(12) for low in range(high)]
    assert [pair_row(low, high) for low, high in pairs] == list(range(len(pairs))) and pair_row(0, 12) == len(pairs)
    logits = np.zeros((len(pairs), 12), dtype=np.int64)
    for row, pair in enumerate(pairs):
        logits[row, list(pair)] = (3, 5) if row % 2 else (5, 3)
    assert route_rows(logits).tolist() == list(range(len(pairs)))


def test_routes_name_every_student_once(three: QuantEnsemble) -> None:
    assert three.routes is not None
    for routes in (np.zeros_like(three.routes), three.routes[:-1], three.routes[:, :-1], three.routes.astype(np.int8)):
        with pytest.raises(ValueError, match="routes"):
            msgspec.structs.replace(three, routes=routes)


@pytest.mark.examines(margins=6, budgets=12)
def test_c_decides_as_python_where_a_figure_is_just_met_and_just_not(
    tiny: QuantEnsemble, examined: Counter[str]
) -> None:
    inputs = np.random.default_rng(3).integers(0, 256, (24, tiny.encoder.input_bytes), dtype=np.uint8)
    prefixes = [reference.run(tiny, inputs, ActivationPolicy("first", students=k)) for k in (1, 2)]
    spent = [prefix.synaptic_ops + prefix.macs for prefix in prefixes]
    next_costs = [tiny.students[k].max_ops for k in tiny.order[1:]]
    assert len(set(spent[0].tolist())) > 6
    chosen = []
    for sample, off in itertools.product(range(6), (0, 1)):
        margins = tuple(int(prefix.decisions.margin[sample]) + off for prefix in prefixes)
        chosen += [ActivationPolicy("cascade", margins=margins), ActivationPolicy("routed", margins=margins)]
        examined["margins"] += off == 0 and min(margins) > 0
        for before, cost in zip(spent, next_costs, strict=True):
            chosen.append(ActivationPolicy("budget", max_ops=int(before[sample]) + cost - off))
            examined["budgets"] += off == 0
    chosen += [ActivationPolicy("mask", mask=mask) for mask in range(1, 8)]
    chosen += [ActivationPolicy("routed", margins=(2**31 - 1,) * 2)]
    assert_same_decisions(tiny, inputs, chosen)


@pytest.mark.parametrize("bias", [(0, 0, 0, 0), (3, 9, 9, 1), (5, 7, 9, 9), (9, 1, 9, 9), (2, 7, 7, 9)], ids=str)
def test_c_breaks_ties_as_python_does(bias: tuple[int, ...], tiny: QuantEnsemble) -> None:
    """Students that say nothing, so that all logits are `bias` in the end."""
    students = []
    for student in tiny.students:
        readout = student.readout
        silent = {"weight": np.zeros_like(readout.weight), "bias": np.zeros_like(readout.bias)}
        layer = proven(msgspec.structs.replace(readout, **silent), tiny.encoder, False)
        fields = {"layers": (*student.layers[:-1], layer), "bias": np.zeros_like(student.bias)}
        students.append(msgspec.structs.replace(student, **fields))
    none = no_vectors(tiny.encoder, 4, students)
    made = msgspec.structs.replace(tiny, students=tuple(students), bias=np.array(bias, np.int32), vectors=none)
    policies = [ActivationPolicy(kind, margins=(1, 1)) for kind in ("cascade", "routed")]
    found = assert_same_decisions(made, tiny.vectors.inputs, [ActivationPolicy("all"), *policies])
    assert (found.label == bias.index(max(bias))).all()


def assert_same_decisions(made: QuantEnsemble, inputs: np.ndarray, policies: list[ActivationPolicy]) -> Decisions:
    """Host build and reference decide alike under each policy; the decisions under the last one."""
    host = HostModel(made)
    for policy in policies:
        got, want = host.run(inputs, policy), reference.run(made, inputs, policy).decisions
        for name in ("logits", "label", "margin", "active", "students_run", "stop", "timesteps"):
            np.testing.assert_array_equal(getattr(got, name), getattr(want, name), err_msg=f"{name} under {policy}")
    return want
