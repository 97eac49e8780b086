"""Early stops: the exact rule changes no decision, and both fit what they are made for."""

from __future__ import annotations

import random
import struct
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, proven, random_ensemble, random_inputs, random_policy

from sne_edge.check import reference
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import LOGIT_LIMIT, QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Linear
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import NEVER, ActivationPolicy, check_policy, format_policy, parse_policy
from sne_edge.ir.proof import multiplicities
from sne_edge.ir.schedule import STOPS
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.link.wire import policy_body
from sne_edge.quantize.early import exact_table, turn, with_table


@pytest.mark.examines(networks=150, early=300)
@examples(150)
@given(st.integers(0, 2**32 - 1))
def test_the_exact_rule_changes_neither_label_nor_who_runs(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    plain = plain_cascade(rng)
    early = with_table(plain, exact_table(plain))
    inputs = random_inputs(rng, early, 12)
    got, want = (reference.run(x, inputs).decisions for x in (early, plain))
    np.testing.assert_array_equal(got.label, want.label)
    np.testing.assert_array_equal(got.active, want.active)
    examined["networks"] += 1
    examined["early"] += int((got.stop == STOPS.index("early")).sum())


def plain_cascade(rng: random.Random) -> QuantEnsemble:
    """A random ensemble under a cascade: of more than a timestep, with readouts that neither leak nor clamp.

    None of raw events: what only adds up has no bound under a stream.
    """
    made = None
    while made is None or made.encoder.timesteps < 2 or any(len(student.layers) < 2 for student in made.students):
        made = random_ensemble(rng, kind=rng.choice(("direct", "rate")))
    students = tuple(without_leak(student, made.encoder, len(made.students)) for student in made.students)
    kind = "cascade" if made.routes is None else rng.choice(("cascade", "routed"))
    policy = random_policy(rng, students, made.encoder.timesteps, kind)
    return msgspec.structs.replace(made, students=students, policy=policy)


def without_leak(student: QuantStudent, encoder: Encoder, students: int) -> QuantStudent:
    """The student with a readout of small weights that only adds up: its logits turn slowly. Gains that were right for
    another range of the readout are lowered to its share, of `students`, of what logits may reach."""
    readout = student.readout
    weight = np.sign(readout.weight).astype(np.int8)
    changes: dict[str, Any] = {"neuron": Neuron("li", Decay(), "none"), "weight": weight, "bias": np.sign(readout.bias)}
    made = proven(msgspec.structs.replace(readout, **changes), encoder, False, multiplicities(student.layers)[-1])
    room = (LOGIT_LIMIT // students - 10**4) // max(1, -made.bound.low, made.bound.high)
    gain = np.minimum(student.gain, room).astype(np.int32)
    return msgspec.structs.replace(student, layers=(*student.layers[:-1], made), gain=gain)


@pytest.mark.examines(networks=80, stops=200)
@examples(80)
@given(st.integers(0, 2**32 - 1))
def test_the_exact_rule_gives_nothing_away(examined: Counter[str], seed: int) -> None:
    """Each margin of the table is the lowest that is safe: the worst that the timesteps left can do takes one that is
    lower by 1 below what its stage asks for, and one that is as high just not."""
    rng = random.Random(seed)
    plain = plain_cascade(rng)
    steps = plain.policy.timesteps or plain.encoder.timesteps
    table = np.array(exact_table(plain), dtype=np.int64).reshape(len(plain.students), -1)
    for stage, row in enumerate(table):
        may_run = plain.order if plain.policy.kind == "routed" and stage > 0 else (plain.order[stage],)
        worst = max(worst_turn(plain.students[k]) for k in may_run)
        asked = plain.policy.margins[stage] if stage < len(plain.students) - 1 else 1
        for t, margin in enumerate(row.tolist(), start=1):
            if t >= steps:
                assert margin == NEVER  # it has ended by itself
            elif margin < NEVER:
                assert margin - (steps - t) * worst == max(asked, 1)  # at 0 there may be a tie, and another label
                examined["stops"] += 1
            else:
                assert max(asked, 1) + (steps - t) * worst >= NEVER
    examined["networks"] += 1


def worst_turn(student: QuantStudent) -> int:
    """The most by which one timestep lowers the difference of two logits, class by class and input by input."""
    readout, most, worst = student.readout, multiplicities(student.layers)[-1], -(2**62)
    for ahead in range(student.classes):
        for behind in range(student.classes):
            change = int(student.gain[behind]) * int(readout.bias[behind])
            change -= int(student.gain[ahead]) * int(readout.bias[ahead])
            for w_ahead, w_behind in zip(readout.weight[ahead].tolist(), readout.weight[behind].tolist(), strict=True):
                each = int(student.gain[behind]) * w_behind - int(student.gain[ahead]) * w_ahead
                change += most * each if each > 0 else 0
            worst = max(worst, change)
    return worst


def test_a_student_that_an_average_pooling_feeds_turns_by_as_much_as_its_windows_bring() -> None:
    """The spikes of a window add up: the worst input of a timestep brings all of them, and turns the logits so far."""
    ensemble = pooled_pair()
    assert turn(ensemble.students[0]) == 4 * (3 + 2) * 2
    bright, dark = ensemble.encoder.encode(np.array([[2.0] * 4 + [-2.0] * 4, [-2.0] * 4 + [2.0] * 4]))
    parts = reference.run_student(ensemble, 0, np.stack([bright, dark]), 1).part
    swing = np.diff(parts, axis=1)[:, 0]
    assert np.abs(swing).max() == turn(ensemble.students[0])


def pooled_pair() -> QuantEnsemble:
    """Two equal students of two classes: eight inputs that fire as they are, windows of four, a plain readout."""
    encoder = Encoder("direct", (1, 8, 1), 3, scale=1.0)
    zeros = np.zeros(1, np.int32)
    first = Conv(
        in_shape=(1, 8, 1), out_shape=(1, 8, 1), weight=np.full((1, 1, 1, 1), 1, np.int8), bias=zeros,
        threshold=np.ones(1, np.int32), scale=np.ones(1), neuron=Neuron("if", reset="zero"), bound=Bound(0, 0),
        stride=(1, 1), padding=(0, 0),
    )  # fmt: skip
    pool = AvgPool((1, 8, 1), (1, 2, 1), (1, 4), (1, 4), (0, 0))
    readout = Linear(
        in_shape=(1, 2, 1), out_shape=(1, 1, 2), weight=np.array([[3, -2], [-2, 3]], np.int8),
        bias=np.zeros(2, np.int32), threshold=np.zeros(2, np.int32), scale=np.ones(2),
        neuron=Neuron("li", reset="none"), bound=Bound(0, 0),
    )  # fmt: skip
    layers = (proven(first, encoder), pool, proven(readout, encoder, False, 4))
    student = QuantStudent(layers=layers, features=(), gain=np.full(2, 2, np.int32), bias=np.zeros(2, np.int32))
    return QuantEnsemble(
        name="pooled", encoder=encoder, students=(student,) * 2, bias=np.zeros(2, np.int32), order=(0, 1),
        classes=("bright", "dark"), logit_scale=1.0, policy=ActivationPolicy("cascade", margins=(1,)),
        vectors=no_vectors(encoder, 2, (student,) * 2),
    )  # fmt: skip


def test_a_cascade_of_one_timestep_has_nothing_to_end() -> None:
    made = with_table(pooled_pair(), (0, 0, 0, 0))
    inputs = made.encoder.encode(np.array([[2.0] * 8, [2.0] * 4 + [-2.0] * 4]))
    policy = msgspec.structs.replace(made.policy, timesteps=1)
    want = reference.run(made, inputs, msgspec.structs.replace(policy, early=())).decisions
    for found in (reference.run(made, inputs, policy).decisions, HostModel(made).run(inputs, policy)):
        assert found.timesteps.tolist() == [1, 1] and (found.stop == want.stop).all()
        assert (found.logits == want.logits).all() and (found.active == want.active).all()


def test_a_readout_that_leaks_or_clamps_has_no_exact_stop(tiny: QuantEnsemble) -> None:
    assert tiny.students[0].readout.neuron.decay.kind != "none"
    assert [turn(student) for student in tiny.students] == [NEVER] * 3
    assert set(exact_table(tiny)) == {NEVER}
    plain = pooled_pair().students[0]
    clamped = Neuron("li", reset="none", clamp=(-(2**20), 2**20))
    readout = msgspec.structs.replace(plain.readout, neuron=clamped)
    assert turn(msgspec.structs.replace(plain, layers=(*plain.layers[:-1], readout))) == NEVER


@pytest.mark.parametrize("engine", ["reference", "host"])
def test_a_student_ends_where_its_margin_is_just_reached_and_not_one_below(engine: str, tiny: QuantEnsemble) -> None:
    plain = msgspec.structs.replace(tiny, vectors=no_vectors(tiny.encoder, len(tiny.classes), tiny.students))
    steps, inputs, first = tiny.encoder.timesteps, tiny.vectors.inputs, tiny.order[0]
    room = with_table(plain, (NEVER,) * (len(tiny.students) * (steps - 1)))
    host = HostModel(room)
    after = ActivationPolicy("mask", mask=1 << first, timesteps=1)
    margins = reference.run(plain, inputs, after).decisions.margin.tolist()
    assert len(set(margins)) > 1
    for number, margin in enumerate(margins):
        for asked, ends in ((margin, True), (margin + 1, False)):
            table = (asked, *room.policy.early[1:])
            policy = msgspec.structs.replace(room.policy, early=table)
            ran = host.run(inputs, policy) if engine == "host" else reference.run(room, inputs, policy).decisions
            assert (ran.stop[number] == STOPS.index("early")) == ends
            assert (ran.timesteps[number] == 1) == ends


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
    margins, stops = early.policy.margins, early.policy.early
    assert policy_body(early.policy)[20:] == struct.pack(f"<{len(margins) + len(stops)}I", *margins, *stops)


@pytest.mark.parametrize("early", [(1,), (-1,) * 6, (2**31,) * 6])
def test_tables_that_do_not_fit_are_refused(early: tuple[int, ...]) -> None:
    check_policy(ActivationPolicy("cascade", margins=(1, 1), early=(0, 5, 1, 2**31 - 1, 9, 9)), 3, 3, False)
    with pytest.raises(ValueError, match="early margins"):
        check_policy(ActivationPolicy("cascade", margins=(1, 1), early=early), 3, 3, False)
    with pytest.raises(ValueError, match="only cascades"):
        check_policy(ActivationPolicy("all", early=(5,) * 6), 3, 3, False)


@pytest.mark.examines(networks=100, ended=600)
@examples(100)
@given(st.integers(0, 2**32 - 1))
def test_a_margin_that_is_always_there_ends_everything_after_one_timestep(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    plain = plain_cascade(rng)
    early = with_table(plain, (0,) * (len(plain.students) * (plain.encoder.timesteps - 1)))
    steps = plain.policy.timesteps or plain.encoder.timesteps
    found = reference.run(early, random_inputs(rng, early)).decisions
    if steps > 1:
        assert (found.timesteps == 1).all() and (found.stop == STOPS.index("early")).all()
        assert (found.students_run == 1).all()
        examined["ended"] += len(found.stop)
    else:
        assert (found.stop != STOPS.index("early")).all()
    examined["networks"] += 1
