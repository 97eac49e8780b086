"""Early stops: the exact rule changes no decision, and both fit what they are made for."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, random_ensemble, random_inputs, random_policy

from sne_edge.check import reference
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Linear
from sne_edge.ir.neuron import Decay, Neuron
from sne_edge.ir.policy import NEVER, ActivationPolicy, check_policy, format_policy, parse_policy
from sne_edge.ir.schedule import STOPS
from sne_edge.ir.student import QuantStudent
from sne_edge.link.wire import policy_body
from sne_edge.quantize.early import exact_table, turn, with_table


@examples(150)
@given(st.integers(0, 2**32 - 1))
def test_the_exact_rule_changes_neither_label_nor_who_runs(seed: int) -> None:
    rng = random.Random(seed)
    plain = plain_cascade(rng)
    if plain is None:
        return
    early = with_table(plain, exact_table(plain))
    inputs = random_inputs(rng, early, 12)
    got, want = (reference.run(x, inputs).decisions for x in (early, plain))
    np.testing.assert_array_equal(got.label, want.label)
    np.testing.assert_array_equal(got.active, want.active)


def plain_cascade(rng: random.Random) -> QuantEnsemble | None:
    """A random ensemble under a cascade whose readouts neither leak nor clamp, or None where it has nothing to end."""
    made = random_ensemble(rng)
    if made.encoder.timesteps < 2 or any(len(student.layers) < 2 for student in made.students):
        return None
    students = []
    for student in made.students:
        try:
            students.append(without_leak(student))
        except ValueError:  # the proof of the leaking readout does not hold
            return None
    kind = "cascade" if made.routes is None else rng.choice(("cascade", "routed"))
    policy = random_policy(rng, students, made.encoder.timesteps, kind)
    try:
        return msgspec.structs.replace(made, students=tuple(students), policy=policy)
    except ValueError:
        return None


def without_leak(student: QuantStudent) -> QuantStudent:
    """The student with a readout of small weights that only adds up, in the range that it had."""
    readout = student.readout
    weight = np.sign(readout.weight).astype(np.int8)
    changes: dict[str, Any] = {"neuron": Neuron("li", Decay(), "none"), "weight": weight, "bias": np.sign(readout.bias)}
    return msgspec.structs.replace(student, layers=(*student.layers[:-1], msgspec.structs.replace(readout, **changes)))


def test_the_exact_rule_stops_where_nothing_can_change(tiny: QuantEnsemble) -> None:
    table = exact_table(tiny)
    steps = tiny.encoder.timesteps
    for stage, student in enumerate(tiny.order):
        row = table[stage * (steps - 1) : (stage + 1) * (steps - 1)]
        last = max(1, tiny.policy.margins[stage]) if stage < len(tiny.policy.margins) else 1
        within = turn(tiny.students[student])
        if within < NEVER:
            assert row == tuple(last + (steps - t) * within for t in range(1, steps))


def test_a_turn_is_the_worst_that_a_timestep_can_do() -> None:
    rng = random.Random(5)
    for _ in range(20):
        student = random_ensemble(rng, students=1).students[0]
        readout = student.readout
        assert isinstance(readout, Linear)
        if readout.neuron.decay.kind != "none" or readout.neuron.clamp is not None:
            assert turn(student) == NEVER
            continue
        gain, numbers = student.gain.astype(np.int64), np.random.default_rng(0)
        for _ in range(50):
            spikes = numbers.integers(0, 2, readout.weight.shape[1])
            change = gain * (readout.weight.astype(np.int64) @ spikes + readout.bias)
            assert change.max() - change.min() <= turn(student)


def test_the_words_of_a_policy_with_early_stops(tiny: QuantEnsemble) -> None:
    early = with_table(tiny, (5,) * (len(tiny.students) * (tiny.encoder.timesteps - 1)))
    text = format_policy(early.policy)
    assert text.endswith("+early") and parse_policy(text, early) == early.policy
    assert parse_policy(text.removesuffix("+early"), early).early == ()
    for words in (text, "all+early", "own+early"):
        with pytest.raises(SneError, match="early"):
            parse_policy(words, tiny)
    with pytest.raises(SneError, match="no room"):
        reference.run(tiny, tiny.vectors.inputs, early.policy)
    with pytest.raises(SneError, match="do not travel"):
        policy_body(early.policy)


@pytest.mark.parametrize("early", [(1,), (-1,) * 6, (2**31,) * 6])
def test_tables_that_do_not_fit_are_refused(early: tuple[int, ...]) -> None:
    check_policy(ActivationPolicy("cascade", margins=(1, 1), early=(0, 5, 1, 2**31 - 1, 9, 9)), 3, 3, False)
    with pytest.raises(ValueError, match="early margins"):
        check_policy(ActivationPolicy("cascade", margins=(1, 1), early=early), 3, 3, False)
    with pytest.raises(ValueError, match="only cascades"):
        check_policy(ActivationPolicy("all", early=(5,) * 6), 3, 3, False)


@examples(100)
@given(st.integers(0, 2**32 - 1))
def test_a_margin_that_is_always_there_ends_everything_after_one_timestep(seed: int) -> None:
    rng = random.Random(seed)
    plain = plain_cascade(rng)
    if plain is None:
        return
    early = with_table(plain, (0,) * (len(plain.students) * (plain.encoder.timesteps - 1)))
    steps = plain.policy.timesteps or plain.encoder.timesteps
    found = reference.run(early, random_inputs(rng, early)).decisions
    if steps > 1:
        assert (found.timesteps == 1).all() and (found.stop == STOPS.index("early")).all()
        assert (found.students_run == 1).all()
