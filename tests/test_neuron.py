"""Neurons: what construction refuses, and that the proof of a layer's bound holds and is no wider than it must be."""

from __future__ import annotations

import itertools
import random
from collections import Counter
from typing import Any

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, random_ensemble, random_inputs

from sne_edge.ir import neuron as neuron_module
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.layers import Linear
from sne_edge.ir.neuron import Bound, Decay, Neuron, prove_bound
from sne_edge.ir.proof import prove_layer

DECAYS = st.one_of(
    st.builds(Decay, st.just("shift"), st.integers(1, 15)), st.builds(Decay, st.just("q15"), st.integers(0, 32767))
)
CLAMPS = st.none() | st.tuples(st.integers(-60, 0), st.integers(0, 60))
RESETS = st.sampled_from([("subtract", False), ("subtract", True), ("zero", False)])


@st.composite
def neurons(draw: st.DrawFn) -> Neuron:
    """Any neuron, with a small clamp if any."""
    kind = draw(st.sampled_from(["lif", "if", "li"]))
    decay = Decay() if kind == "if" else draw(DECAYS)
    clamp = draw(CLAMPS)
    if kind == "li":
        return Neuron("li", decay, "none", clamp=clamp)
    reset, delay = draw(RESETS)
    return Neuron(kind, decay, reset, delay, clamp)


def every_membrane(neuron: Neuron, weights: list[int], bias: int, threshold: int, steps: int) -> tuple[int, int]:
    """Lowest and highest of all that one neuron's membrane can hold, by trying every input at every timestep."""
    currents = {sum(chosen) for n in range(len(weights) + 1) for chosen in itertools.combinations(weights, n)}
    seen = {0}
    states = {(0, False)}
    for _ in range(steps):
        following = set()
        for v, fired in states:
            charged = oracle.decayed(neuron, v) - (threshold if neuron.reset_delay and fired else 0) + bias
            seen.add(charged)
            for current in currents:
                raw = charged + current
                seen.add(raw)
                fires = neuron.kind != "li" and raw > threshold
                after = 0 if fires and neuron.reset == "zero" else raw
                after -= threshold if fires and neuron.reset == "subtract" and not neuron.reset_delay else 0
                if neuron.clamp is not None:
                    after = min(max(after, neuron.clamp[0]), neuron.clamp[1])
                following.add((after, fires))
        states = following
    for v, fired in states:
        seen.add(oracle.decayed(neuron, v) - (threshold if neuron.reset_delay and fired else 0) + bias)
    return min(seen), max(seen)


def proof(neuron: Neuron, weights: list[int], bias: int, threshold: int, steps: int | None) -> Bound | None:
    """`prove_bound` of a single neuron."""
    negative, positive = sum(w for w in weights if w < 0), sum(w for w in weights if w > 0)
    column = [np.array([value], np.int64) for value in (negative, positive, threshold)]
    return prove_bound(neuron, column[0], column[1], np.full((2, 1), bias, np.int64), column[2], steps)


@pytest.mark.examines(neurons=300, endless=100)
@examples(300)
@given(
    neurons(),
    st.lists(st.integers(-128, 127), max_size=3),
    st.integers(-200, 200),
    st.integers(1, 150),
    st.integers(1, 4),
)
def test_no_input_ever_leaves_the_bound(
    examined: Counter[str], neuron: Neuron, weights: list[int], bias: int, threshold: int, steps: int
) -> None:
    low, high = every_membrane(neuron, weights, bias, threshold, steps)
    bound = proof(neuron, weights, bias, threshold, steps)
    assert bound is not None
    assert bound.low <= low
    assert high <= bound.high
    endless = proof(neuron, weights, bias, threshold, None)
    assert endless is None or (endless.low <= bound.low and bound.high <= endless.high)
    examined["neurons"] += 1
    examined["endless"] += endless is not None


@pytest.mark.parametrize(
    ("neuron", "bias"),
    [
        (Neuron("if"), 0),
        (Neuron("if", reset="zero"), -3),
        (Neuron("lif", Decay("shift", 1)), 5),
        (Neuron("lif", Decay("q15", 16384), reset="zero"), 0),
        (Neuron("li", Decay("shift", 2), "none"), 7),
    ],
    ids=str,
)
def test_the_bound_of_one_timestep_is_reached(neuron: Neuron, bias: int) -> None:
    weights = [-100, 90, 25]
    assert proof(neuron, weights, bias, 1000, 1) is not None
    low, high = every_membrane(neuron, weights, bias, 1000, 1)
    assert proof(neuron, weights, bias, 1000, 1) == Bound(min(0, low), max(0, high))


def plain_bound(
    neuron: Neuron,
    negative: np.ndarray,
    positive: np.ndarray,
    constant: np.ndarray,
    threshold: np.ndarray,
    steps: int | None,
) -> Bound | None:
    """`prove_bound`, timestep by timestep."""

    def charge(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        next_low, next_high = neuron.decay.apply(low), neuron.decay.apply(high)
        if neuron.reset_delay:
            quiet = neuron.decay.apply(np.minimum(high, np.maximum(threshold, low)))
            next_high = np.maximum(quiet, next_high - threshold)
            next_low = np.minimum(next_low, neuron.decay.apply(np.minimum(threshold + 1, high)) - threshold)
        return next_low + constant[0], next_high + constant[1]

    low, high = constant
    if neuron.clamp is not None:
        ends = charge(*(np.full_like(threshold, value) for value in neuron.clamp))
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    seen = [np.minimum(low, 0), np.maximum(high, 0)]
    for _ in range(steps or 4096):
        raw = after = low + negative, high + positive
        if neuron.kind != "li" and not neuron.reset_delay:
            quiet = np.minimum(raw[1], np.maximum(threshold, raw[0]))
            if neuron.reset == "subtract":
                after = raw[0], np.maximum(quiet, raw[1] - threshold)
            else:
                after = np.minimum(raw[0], 0), np.maximum(quiet, 0)
        if neuron.clamp is not None:
            after = np.clip(after[0], *neuron.clamp), np.clip(after[1], *neuron.clamp)
        ends = charge(*after)
        before, low, high = (low, high), np.minimum(ends[0], low), np.maximum(ends[1], high)
        seen = [np.minimum.reduce([seen[0], raw[0], low]), np.maximum.reduce([seen[1], raw[1], high])]
        if (before[0] == low).all() and (before[1] == high).all():
            return Bound(int(seen[0].min()), int(seen[1].max()))
    return None if steps is None else Bound(int(seen[0].min()), int(seen[1].max()))


@pytest.mark.parametrize("steps", [None, 1, 2, 7, 300, 2000])
def test_the_bound_is_that_of_every_timestep_taken_by_itself(steps: int | None) -> None:
    rng, kinds, wide = random.Random(steps or 0), Counter[str](), 0
    for _ in range(60):
        numbers, count = np.random.default_rng(rng.getrandbits(32)), rng.choice((1, 2, 7))
        kind = rng.choice(("lif", "lif", "if", "li"))
        decays = (Decay("shift", rng.choice((1, 2, 5, 10, 15))), Decay("q15", rng.choice((0, 20000, 32000, 32767))))
        decay = Decay() if kind == "if" else rng.choice((*decays, *((Decay(),) if kind == "li" else ())))
        reset = "none" if kind == "li" else rng.choice(("subtract", "zero"))
        delay = reset == "subtract" and rng.random() < 0.5
        clamp = rng.choice((None, None, (0, 0), (-5, 9), (-5000, 300), (-(2**20), 2**20), (-(2**31), 2**31 - 1)))
        neuron = Neuron(kind, decay, reset, delay, clamp)  # type: ignore[arg-type]
        size = rng.choice((1, 10, 1000, 10**6))
        negative, positive = -numbers.integers(0, size + 1, count), numbers.integers(0, size + 1, count)
        constant = np.sort(numbers.integers(-rng.choice((1, size)), rng.choice((2, size + 1)), (2, count)), axis=0)
        threshold = numbers.integers(1, rng.choice((3, size + 2, size * 30 + 2, 2**31)), count)
        got = prove_bound(neuron, negative, positive, constant, threshold, steps)
        assert got == plain_bound(neuron, negative, positive, constant, threshold, steps)
        kinds[f"{kind} {reset}{delay}"] += 1
        wide += got is not None and got.width == 32
    assert kinds.total() == 60 and len(kinds) == 7 and wide > 3, (kinds, wide)


@pytest.mark.parametrize(
    "neuron", [Neuron("if"), Neuron("if", reset="zero"), Neuron("lif", Decay("shift", 8))], ids=str
)
def test_the_proof_of_the_most_timesteps_takes_few(neuron: Neuron, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand channels that each reach their threshold at a time of their own."""
    taken = 0
    original = neuron_module._timestep

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal taken
        taken += 1
        return original(*arguments, **options)

    monkeypatch.setattr(neuron_module, "_timestep", counted)
    numbers = np.random.default_rng(0)
    negative, positive = -numbers.integers(500, 1000, 1000), numbers.integers(500, 1000, 1000)
    threshold = numbers.integers(1, 2**31, 1000)
    assert prove_bound(neuron, negative, positive, np.zeros((2, 1000), np.int64), threshold, 65535) is not None
    assert taken < 6000


def test_a_bound_that_converged_holds_for_a_stream_without_end() -> None:
    neuron = Neuron("lif", Decay("shift", 2))
    bounds = [proof(neuron, [-50, 60], 3, 40, steps) for steps in (5000, 65535, None)]
    assert bounds[0] == bounds[1] == bounds[2] is not None


@pytest.mark.parametrize(
    "neuron", [Neuron("if"), Neuron("if", reset="zero"), Neuron("if", reset_delay=True), Neuron("li", reset="none")]
)
def test_an_endless_stream_into_neurons_without_leak_needs_a_clamp(neuron: Neuron) -> None:
    assert proof(neuron, [-1, 1], 0, 5, None) is None
    clamped = Neuron(neuron.kind, neuron.decay, neuron.reset, neuron.reset_delay, clamp=(-1000, 1000))
    assert proof(clamped, [-1, 1], 0, 5, None) is not None


def test_a_limited_number_of_timesteps_limits_a_neuron_without_leak() -> None:
    assert proof(Neuron("li", reset="none"), [-10, 7], 0, 0, 6) == Bound(-60, 42)


def test_int16_edges_decide_the_width() -> None:
    assert Bound(-32768, 32767).width == 16
    assert Bound(-32769, 0).width == 32
    assert Bound(0, 32768).width == 32
    assert Bound(-(2**31), 2**31 - 1).width == 32
    assert Bound(0, 2**31).width == 64
    assert Bound(-(2**31) - 1, 0).width == 64


@pytest.mark.parametrize("seed", range(12))
def test_models_of_int16_membranes_never_leave_them(seed: int) -> None:
    rng = random.Random(seed)
    ensemble = random_ensemble(rng, width=16)
    for number, student in enumerate(ensemble.students):
        assert {layer.width for layer in student.layers if hasattr(layer, "width")} == {16}
        for row in random_inputs(rng, ensemble, 6):
            trace = oracle.run_student(ensemble, number, row.tolist(), ensemble.encoder.timesteps)
            membranes = [v for step in trace.steps for layer in step.membranes for v in layer]
            assert min(membranes) >= -32768
            assert max(membranes) <= 32767


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("multiplicity", [1, 9])
def test_spikes_that_average_pooling_multiplies_are_in_the_bound(sign: int, multiplicity: int) -> None:
    encoder = Encoder("rate", (1, 1, 4), 1)
    layer = Linear(
        in_shape=(1, 1, 4),
        out_shape=(1, 1, 2),
        weight=np.full((2, 4), 100 * sign, np.int8),
        bias=np.zeros(2, np.int32),
        threshold=np.zeros(2, np.int32),
        scale=np.ones(2),
        neuron=Neuron("li", Decay("shift", 1), "none"),
        bound=Bound(0, 0),
    )
    bound = prove_layer(layer, encoder, False, multiplicity)
    assert bound is not None
    assert (bound.high if sign > 0 else bound.low) == sign * 400 * multiplicity


def test_the_oracle_sees_a_membrane_that_leaves_its_bound() -> None:
    assert oracle.within(Bound(-5, 300), 300) == 300
    with pytest.raises(AssertionError, match="proven range"):
        oracle.within(Bound(-5, 300), 301)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "if", "decay": Decay("shift", 2)}, "IF neuron has none"),
        ({"kind": "lif"}, "LIF neuron one"),
        ({"kind": "li"}, "never spikes"),
        ({"kind": "lif", "decay": Decay("shift", 2), "reset": "none"}, "never spikes"),
        ({"kind": "lif", "decay": Decay("shift", 2), "reset": "zero", "reset_delay": True}, "delayed reset"),
        ({"kind": "if", "clamp": (1, 5)}, "enclose 0"),
        ({"kind": "if", "clamp": (-5, -1)}, "enclose 0"),
        ({"kind": "if", "clamp": (-(2**31) - 1, 5)}, "32 bits"),
        ({"kind": "if", "clamp": (0, 2**31)}, "32 bits"),
    ],
)
def test_impossible_neurons_are_refused(fields: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Neuron(**fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "value"), [("none", 1), ("shift", 0), ("shift", 16), ("q15", -1), ("q15", 32768), ("q15", 2**40)]
)
def test_impossible_decays_are_refused(kind: str, value: int) -> None:
    with pytest.raises(ValueError, match=f"decay {kind} takes a value"):
        Decay(kind, value)  # type: ignore[arg-type]


@examples(100)
@given(DECAYS, st.integers(-(2**31), 2**31 - 1), st.integers(0, 1000))
def test_decay_is_exact_floors_and_keeps_order(decay: Decay, v: int, step: int) -> None:
    got = decay.apply(np.array([v, v + step], np.int64)).tolist()
    assert got[0] == oracle.decayed(Neuron("lif", decay), v)
    assert got[0] <= got[1], "the proof needs a decay that keeps order"
