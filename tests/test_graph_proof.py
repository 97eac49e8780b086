"""Bounds of graphs under attack: currents chosen to drive every state as far as they can, through streams too."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import numpy as np
import pytest

from sne_edge.ir import graph_proof
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.graph import INPUT, Cell, Leak, Population, Projection
from sne_edge.ir.graph_proof import prove_population
from sne_edge.ir.neuron import Bound

ATTACKS = 64  # neurons that are driven at once, each in its own way


def leak(rng: random.Random, each: int) -> Leak:
    kind = rng.choice(("none", "shift", "q15", "each"))
    if kind == "each":
        return Leak("q15", np.array([rng.choice((0, 1, 20000, 32700, 32767)) for _ in range(each)], np.int32))
    value = {"none": 0, "shift": rng.choice((1, 3, 9)), "q15": rng.choice((0, 9000, 32600, 32767))}[kind]
    return Leak(kind, np.array([value], np.int32))  # type: ignore[arg-type]


def draw(rng: random.Random) -> tuple[Population, Encoder]:
    """Three channels with one random input each; a stream, or a few timesteps."""
    encoder = Encoder(rng.choice(("events", "rate")), (1, 1, 6), rng.choice((1, 4, 30)))  # type: ignore[arg-type]
    numbers = np.random.default_rng(rng.getrandbits(32))
    projection = Projection(INPUT, encoder.shape, "linear", numbers.integers(-128, 128, (3, 6), dtype=np.int8))
    spikes = rng.random() < 0.8
    reset = rng.choice(("subtract", "subtract", "zero", "none")) if spikes else "none"
    cuba = rng.random() < 0.5
    clamp = rng.choice((None, None, (-300, 200), (-(2**20), 2**20)))
    cell = Cell(
        leak(rng, 3),
        spikes,
        reset,
        reset != "none" and rng.random() < 0.5,
        clamp,
        leak(rng, 3) if cuba else msgspec.UNSET,
    )
    made = Population(
        name="attacked",
        shape=(1, 1, 3),
        projections=(projection,),
        neuron=cell,
        bias=numbers.integers(-100, 101, 3, dtype=np.int32),
        scale=np.ones(3),
        bound=Bound(0, 0),
        threshold=numbers.integers(1, rng.choice((5, 400, 3000)), 3, dtype=np.int32) if spikes else msgspec.UNSET,
        current_bound=Bound(0, 0) if cuba else msgspec.UNSET,
    )
    return made, encoder


def attack(population: Population, steps: int, rng: random.Random) -> dict[str, tuple[int, int]]:
    """The lowest and the highest value that each state takes, partial sums included, over all ways to drive it."""
    neuron, numbers = population.neuron, np.random.default_rng(rng.getrandbits(32))
    weight = population.projections[0].weight.astype(np.int64)
    negative, positive = np.minimum(weight, 0).sum(axis=1), np.maximum(weight, 0).sum(axis=1)
    bias = population.bias.astype(np.int64)
    v = np.zeros((ATTACKS, 3), np.int64)
    i, late = np.zeros_like(v), np.zeros((ATTACKS, 3), bool)
    seen: dict[str, tuple[int, int]] = {}

    def look(name: str, *values: np.ndarray) -> None:
        low, high = seen.get(name, (0, 0))
        seen[name] = min(low, *(int(x.min()) for x in values)), max(high, *(int(x.max()) for x in values))

    styles = numbers.integers(0, 5, (ATTACKS, 1))
    period = numbers.integers(1, 9, (ATTACKS, 1))
    for t in range(steps):
        coin = numbers.random((ATTACKS, 3))
        up = np.select(
            [styles == 0, styles == 1, styles == 2, styles == 3],
            [np.ones((ATTACKS, 3), bool), np.zeros((ATTACKS, 3), bool), t // period % 2 == 0, coin < 0.5],
            coin < 0.9,
        )
        spikes = numbers.random((ATTACKS, 3, 6)) < 0.5
        mixed = (spikes * weight).sum(axis=2)
        brought = np.where((styles == 4) & (coin < 0.3), mixed, np.where(up, positive, negative))
        if isinstance(neuron.current_leak, Leak):
            charged = neuron.current_leak.fade(i) + bias
            i = charged + brought
            look("current", charged, charged + negative, charged + positive, i)
            arriving = i
        else:
            arriving = brought + bias
        v = neuron.leak.apply(np.where(late & (neuron.reset == "zero"), 0, v))
        if isinstance(population.threshold, np.ndarray) and neuron.reset == "subtract":
            v = v - late * population.threshold
        if not isinstance(neuron.current_leak, Leak):
            look("membrane", v + bias, v + bias + negative, v + bias + positive)
        else:
            look("membrane", v)
        v = v + arriving
        look("membrane", v)
        if isinstance(population.threshold, np.ndarray):
            fired = v > population.threshold
            if not neuron.reset_delay:
                v = np.where(fired & (neuron.reset == "zero"), 0, v)
                v = v - (fired & (neuron.reset == "subtract")) * population.threshold
            late = fired & neuron.reset_delay
        if neuron.clamp is not None:
            v = v.clip(*neuron.clamp)
        look("membrane", v)
    return seen


def test_no_attack_leaves_a_bound_and_many_reach_it() -> None:
    examined: Counter[str] = Counter()
    for seed in range(350):
        rng = random.Random(seed)
        population, encoder = draw(rng)
        proof = prove_population(population, encoder)
        stream = encoder.kind == "events"
        if proof.membrane is None or (population.neuron.current_leak is not msgspec.UNSET and proof.current is None):
            examined["unbounded"] += 1
            continue
        found = attack(population, 200 if stream else encoder.timesteps, rng)
        bounds: dict[str, Any] = {"membrane": proof.membrane}
        bounds |= {} if proof.current is None else {"current": proof.current}
        assert found.keys() == bounds.keys()
        for name, (low, high) in found.items():
            assert bounds[name].low <= low and high <= bounds[name].high, (seed, name, low, high, bounds[name])
            examined[f"{name} {'stream' if stream else 'steps'}"] += 1
            examined[f"{name} reached"] += low == bounds[name].low and high == bounds[name].high
    names = ("membrane stream", "membrane steps", "current stream", "current steps")
    assert min(examined[name] for name in names) > 40, examined
    assert examined["current reached"] > 30 and examined["membrane reached"] > 30, examined


@pytest.mark.examines(alike=80, other=200)
def test_what_was_proven_is_remembered_for_the_very_same_states_alone(
    examined: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proof that is remembered is the one that is made anew, whatever of the population or its time changes."""
    replace, anew, made = msgspec.structs.replace, graph_proof._prove_states, list[int]()
    monkeypatch.setattr(graph_proof, "_proven", {})
    monkeypatch.setattr(graph_proof, "_prove_states", lambda *given: made.append(1) or anew(*given))
    encoder, slow = Encoder("rate", (1, 1, 6), 4), Leak("shift", np.array([2], np.int32))
    for seed in range(40):
        population, _ = draw(random.Random(seed))
        first = prove_population(population, encoder)
        count = len(made)
        for same in (population, replace(population, bound=Bound(-1, 1), name="another")):
            assert prove_population(same, encoder) == first and len(made) == count
            examined["alike"] += 1
        weight = population.projections[0].weight // 2
        changed = [
            (replace(population, bias=population.bias + 1), encoder),
            (replace(population, projections=(replace(population.projections[0], weight=weight),)), encoder),
            (replace(population, neuron=replace(population.neuron, clamp=(-77, 78))), encoder),
            (replace(population, neuron=replace(population.neuron, leak=slow)), encoder),
            (population, Encoder("rate", encoder.shape, encoder.timesteps + 1)),
        ]
        if isinstance(population.threshold, np.ndarray):
            changed.append((replace(population, threshold=population.threshold + 9), encoder))
        found = [prove_population(*pair) for pair in changed]
        assert len(made) == count + len(changed)
        monkeypatch.setattr(graph_proof, "_proven", {})
        assert [prove_population(*pair) for pair in changed] == found
        examined["other"] += len(changed)


def test_a_bound_that_a_stream_only_nears_is_found() -> None:
    """A leak of 32767 / 32768 takes hundreds of thousands of timesteps to settle: the proof does not wait for it."""
    weight = np.array([[127, -128]], np.int8)
    population = Population(
        name="slow",
        shape=(1, 1, 1),
        projections=(Projection(INPUT, (1, 1, 2), "linear", weight),),
        neuron=Cell(Leak("q15", np.array([32767], np.int32)), spikes=False, reset="none"),
        bias=np.zeros(1, np.int32),
        scale=np.ones(1),
        bound=Bound(0, 0),
    )
    proof = prove_population(population, Encoder("events", (1, 1, 2), 5))
    assert proof.membrane is not None
    v = 0
    for _ in range(400_000):
        v = v * 32767 // 32768 + 127
    assert 0.9 * proof.membrane.high < v <= proof.membrane.high


def test_an_inhibited_neurons_current_ends() -> None:
    """A floored current of 0.9 would stay at -9 for ever, and hold the membrane far below rest."""
    slow = Leak("q15", np.array([29491], np.int32))
    for leak in (slow, Leak("shift", np.array([3], np.int32))):
        i = np.array([-5000, 5000, -1, 1, 0])
        for _ in range(200):
            i = leak.fade(i)
        assert not i.any()
    assert (slow.apply(np.array([-9])) == -9).all()
