"""What is proven of a graph before it runs: the range of every state, and the most operations it can do.

A population's currents come from all its projections. A spike is 0 or 1 wherever it comes from, so the negative and the
positive weights of a neuron's whole fan-in, times the spikes that a place can bring, bound what a timestep adds, in any
order.
"""

from __future__ import annotations

import hashlib
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
import numpy as np

from .checks import check
from .encoder import MAX_NEURONS, Encoder
from .graph import INPUT, Alpha, Cell, Decoder, Graph, Leak, Population, Projection, grid
from .layers import AvgPool, Depthwise, MaxPool, size
from .limits import MAX_ROW, check_layer, padded
from .neuron import Bound, Neuron, prove_bound

BEYOND = 2**40  # states that grow so far fit in nothing
MOST_REMEMBERED = 4096  # proofs
STEPS_UNSEEN = 32  # after which is looked whether a state grew beyond: in so few none overflows 64 bits
STEPS_TRIED = 4096  # of a stream without end, before an interval is looked for that leads into itself


@dataclass(frozen=True)
class Proof:
    """A population's bounds; None where a state can grow without limit. `current`: also None where there is none."""

    membrane: Bound | None
    current: Bound | None


# By a hash of all that a proof is made of: a graph is proven again whenever anything of its model is replaced.
_proven: dict[bytes, Proof] = {}


@dataclass(frozen=True)
class Arriving:
    """What a timestep adds: sums of negative and of positive terms, and the range of the current that is there at every
    timestep; int64 [1, channels] or [positions, channels]."""

    negative: np.ndarray
    positive: np.ndarray
    low: np.ndarray
    high: np.ndarray


def analog(projection: Projection, encoder: Encoder) -> bool:
    """Does the projection take an input's values, and not spikes?"""
    return projection.source == INPUT and encoder.multiplies


def projection_range(projection: Projection, encoder: Encoder, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and the highest current that a projection can bring in a timestep, int64 [1, channels] or [positions,
    channels] for a population of so many channels."""
    weight = projection.synapses.fan_in() * projection.multiplicity
    negative, positive = np.minimum(weight, 0).sum(axis=1), np.maximum(weight, 0).sum(axis=1)
    if analog(projection, encoder):
        negative, positive = 127 * negative - 128 * positive, 127 * positive - 128 * negative
    return negative.reshape(-1, channels), positive.reshape(-1, channels)


def arriving(population: Population, encoder: Encoder) -> Arriving:
    """What a timestep can add to a population's currents."""
    bias = grid(population.bias, population.channels)
    low, high = bias, bias
    negative = positive = np.zeros((1, population.channels), np.int64)
    for projection in population.projections:
        least, most = projection_range(projection, encoder, population.channels)
        if analog(projection, encoder) and encoder.kind == "direct":
            low, high = low + least, high + most
        else:
            negative, positive = negative + least, positive + most
    return Arriving(negative, positive, low, high)


def prove_population(population: Population, encoder: Encoder, *, buffered: bool = False) -> Proof:
    """Bound a population's states by interval arithmetic, whatever the input.

    The stored bounds are not looked at. A current that fits in no 32 bits leaves the membrane unproven. Raw events and
    frames may come as a stream without end; `buffered`: over the encoder's timesteps alone, as one raster has.
    """
    steps = None if encoder.streams and not buffered else encoder.timesteps
    given, neuron = arriving(population, encoder), population.neuron
    threshold = None
    if isinstance(population.threshold, np.ndarray):
        threshold = grid(population.threshold, population.channels)
    key = hashlib.sha256(pickle.dumps((neuron, given, threshold, steps))).digest()
    if key not in _proven:
        if len(_proven) >= MOST_REMEMBERED:
            _proven.clear()
        _proven[key] = _prove_states(neuron, given, threshold, steps)
    return _proven[key]


def _prove_states(neuron: Cell, given: Arriving, threshold: np.ndarray | None, steps: int | None) -> Proof:
    if not isinstance(neuron.current_leak, Leak):
        return Proof(_prove(neuron, given, threshold, steps, neuron.leak.apply), None)
    if isinstance(neuron.alpha, Alpha):
        return _prove_alpha(neuron, neuron.alpha, neuron.current_leak, given, steps)
    passive = Cell(neuron.current_leak, spikes=False, reset="none")
    intervals: list[tuple[np.ndarray, np.ndarray]] = []
    current = _prove(passive, given, None, steps, neuron.current_leak.fade, lambda *range_: intervals.append(range_))
    if current is None or current.width > 32:
        return Proof(None, current)
    low, high = intervals[-1]
    still = np.zeros_like(low)
    driven = Arriving(np.minimum(low, 0), np.maximum(high, 0), still, still)
    return Proof(_prove(neuron, driven, threshold, steps, neuron.leak.apply), current)


def _prove_alpha(neuron: Cell, alpha: Alpha, fading: Leak, given: Arriving, steps: int | None) -> Proof:
    """The ranges of an alpha neuron's v and i; its h, which has no place, must fit in 32 bits as well."""
    channels = given.low.shape[-1]
    taken = grid(alpha.drop, channels) if neuron.reset == "subtract" else np.zeros((1, 1), np.int64)
    dropped = Arriving(given.negative - taken, given.positive, given.low, given.high)
    ranges: list[tuple[np.ndarray, np.ndarray]] = []
    bounds = []
    for leak, current in ((fading, dropped), (neuron.leak, given)):
        found: list[tuple[np.ndarray, np.ndarray]] = []
        passive = Cell(leak, spikes=False, reset="none")
        bound = _prove(passive, current, None, steps, leak.fade, lambda *range_, found=found: found.append(range_))
        if bound is None or bound.width > 32:
            return Proof(None, bound if leak is fading else None)
        bounds.append(bound)
        ranges.append(found[-1])
    (low, high), (least, most) = ranges
    shared = alpha.share.fade if neuron.reset == "subtract" else np.zeros_like
    lowest = fading.fade(low) - neuron.leak.fade(most) - np.maximum(shared(most), 0)
    highest = fading.fade(high) - neuron.leak.fade(least) - np.minimum(shared(least), 0)
    return Proof(Bound(min(0, int(lowest.min())), max(0, int(highest.max()))), bounds[0])


def _prove(
    neuron: Cell,
    given: Arriving,
    threshold: np.ndarray | None,
    steps: int | None,
    leak: Callable[[np.ndarray], np.ndarray],
    found: Callable[[np.ndarray, np.ndarray], None] = lambda low, high: None,
) -> Bound | None:
    """The range of one state, in all neurons, that `leak`s by `neuron.leak`; `found` is shown it neuron by neuron."""
    shape = np.broadcast_shapes(
        given.low.shape,
        given.negative.shape,
        *([threshold.shape] if threshold is not None else []),
        *([grid(neuron.leak.value, given.low.shape[-1]).shape] if neuron.leak.value.size > 1 else []),
    )
    low = np.broadcast_to(given.low, shape)
    high = np.broadcast_to(given.high, shape)
    if neuron.clamp is not None:
        low, high = np.minimum(low, neuron.clamp[0]), np.maximum(high, neuron.clamp[1])
        next_low, next_high = _charge(neuron, leak, *_clamps(neuron, shape), given, threshold)
        low, high = np.minimum(low, next_low), np.maximum(high, next_high)

    def step(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Charged states after a timestep from charged states in a range, and the range itself."""
        next_low, next_high = _charge(
            neuron, leak, *_reset(neuron, low + given.negative, high + given.positive, threshold), given, threshold
        )
        return np.minimum(next_low, low), np.maximum(next_high, high)

    for number in range(STEPS_TRIED if steps is None else steps):
        before_low, before_high = low, high
        low, high = step(low, high)
        if number % STEPS_UNSEEN == 0 and max(int(high.max()), -int(low.min())) > BEYOND:
            break
        if low.tobytes() == before_low.tobytes() and high.tobytes() == before_high.tobytes():
            break
    else:
        if steps is None:
            enclosed = _enclosed(neuron, given, low, high)
            if enclosed is None:
                return None
            before_low, before_high = enclosed
            low, high = step(before_low, before_high)
            if (low < before_low).any() or (high > before_high).any():
                return None
    # Ranges only grow: the last is the widest, and so is what arrived in the one before. A fresh state is 0.
    seen_low = np.minimum(np.minimum(before_low + given.negative, low), 0)
    seen_high = np.maximum(np.maximum(before_high + given.positive, high), 0)
    found(seen_low, seen_high)
    return Bound(int(seen_low.min()), int(seen_high.max()))


def _clamps(neuron: Cell, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    assert neuron.clamp is not None
    return np.full(shape, neuron.clamp[0], np.int64), np.full(shape, neuron.clamp[1], np.int64)


def _charge(
    neuron: Cell,
    leak: Callable[[np.ndarray], np.ndarray],
    low: np.ndarray,
    high: np.ndarray,
    given: Arriving,
    threshold: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Charged states, of settled ones in low..high."""
    after_low, after_high = leak(low), leak(high)
    if neuron.reset_delay:
        assert threshold is not None
        if neuron.reset == "subtract":  # a neuron above its threshold loses it now
            quiet = leak(np.minimum(high, np.maximum(threshold, low)))
            fired = leak(np.minimum(threshold + 1, high)) - threshold
            after_high = np.maximum(quiet, after_high - threshold)
            after_low = np.minimum(after_low, fired)
        else:
            after_low, after_high = np.minimum(after_low, 0), np.maximum(after_high, 0)
    return after_low + given.low, after_high + given.high


def _reset(
    neuron: Cell, low: np.ndarray, high: np.ndarray, threshold: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Settled states, of those with their currents in low..high."""
    if threshold is not None and neuron.reset != "none" and not neuron.reset_delay:
        quiet = np.minimum(high, np.maximum(threshold, low))
        if neuron.reset == "doubled":
            quiet = np.minimum(high, np.maximum(2 * threshold, low))
        if neuron.reset in ("subtract", "doubled"):
            high = np.maximum(quiet, high - threshold)
        else:
            low, high = np.minimum(low, 0), np.maximum(quiet, 0)
    if neuron.clamp is not None:
        low, high = np.clip(low, *neuron.clamp), np.clip(high, *neuron.clamp)
    return low, high


def _enclosed(neuron: Cell, given: Arriving, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A range that might lead into itself: what arrives, over what a leak takes; None without a leak."""
    if neuron.leak.kind == "none":
        return None
    kept = grid(neuron.leak.value, low.shape[-1]) if neuron.leak.kind == "q15" else None
    loss = 2**15 - kept if kept is not None else np.full((1, 1), 2 ** (15 - int(neuron.leak.value[0])), np.int64)
    most = np.maximum(given.high + given.positive, 0)
    least = np.minimum(given.low + given.negative, 0) - 1  # a leak floors
    wide_high = np.maximum(high, (most * 2**15 + loss - 1) // loss)
    wide_low = np.minimum(low, -((-least * 2**15 + loss - 1) // loss))
    return wide_low, wide_high


def prove_decoder(decoder: Decoder, last: Population, encoder: Encoder, *, buffered: bool = False) -> Bound | None:
    """The range of a decoder's totals; None where they can grow without limit. `buffered`: see `prove_population`."""
    low, high = last.bound.low, last.bound.high
    if decoder.kind == "first":
        return Bound(0, encoder.timesteps)
    if not decoder.sums:
        return Bound(min(low, 0), max(high, 0))
    if decoder.kind == "count":
        low, high = 0, 1
    neuron = Neuron("li", decoder.leak, reset="none", clamp=decoder.clamp, window=decoder.window)
    none = np.zeros(1, np.int64)
    negative, positive = np.array([min(low, 0)]), np.array([max(high, 0)])
    steps = None if encoder.streams and not buffered else encoder.timesteps
    return prove_bound(neuron, negative, positive, np.stack([none, none]), none, steps)


def proven(graph: Graph, encoder: Encoder, *, buffered: bool = False) -> Graph:
    """The graph with the bounds that are proved for it; `buffered`: see `prove_population`. Raises `ValueError` where
    there is none in 32 bits."""
    populations = []
    for number, population in enumerate(graph.populations):
        proof = prove_population(population, encoder, buffered=buffered)
        check(proof.membrane is not None, f"population {number}: its states can grow without limit; declare a clamp")
        bounds = {"bound": proof.membrane}
        if proof.current is not None:
            bounds["current_bound"] = proof.current
        populations.append(msgspec.structs.replace(population, **bounds))
    bound = prove_decoder(graph.decoder, populations[-1], encoder, buffered=buffered)
    check(bound is not None, "the decoder's totals can grow without limit; declare a leak or a clamp")
    decoder = msgspec.structs.replace(graph.decoder, bound=bound)
    return Graph(tuple(populations), decoder)


def endless(graph: Graph, encoder: Encoder) -> bool:
    """Do a graph's stored bounds hold for a stream without end?"""
    if not encoder.streams:
        return False
    for population in graph.populations:
        proof = prove_population(population, encoder)
        if (proof.membrane, *([proof.current] if proof.current is not None else [])) != population.bounds:
            return False
    return prove_decoder(graph.decoder, graph.populations[-1], encoder) == graph.decoder.bound


def check_graph(graph: Graph, encoder: Encoder) -> None:
    """Whether a graph fits its input, and its stored bounds are the proven ones; `ValueError` where not.

    Those of frames may hold for the encoder's timesteps alone; then there is no stream of them.
    """
    buffered = encoder.kind == "frames" and not endless(graph, encoder)
    for number, population in enumerate(graph.populations):
        for projection in population.projections:
            try:
                _check_limits(projection, population)
            except ValueError as error:
                raise ValueError(f"population {number}, from {projection.source}: {error}") from None
            if projection.source != INPUT:
                continue
            where = f"population {number}, from the input"
            same = size(projection.in_shape) == encoder.size
            check(same, f"{where}: {projection.in_shape} does not hold an input of {encoder.shape}")
            if analog(projection, encoder):
                check(projection.delay == 0, f"{where}: an input's values have no delay")
                check(not projection.pools, f"{where}: an input's values are not pooled")
                plain = not isinstance(projection.synapses, Depthwise) and projection.bits == 8
                check(plain, f"{where}: an input's values are multiplied, by linear or conv weights of 8 bits")
        proof = prove_population(population, encoder, buffered=buffered)
        check(proof.membrane is not None, f"population {number}: its states can grow without limit; declare a clamp")
        bounds = tuple(bound for bound in (proof.membrane, proof.current) if bound is not None)
        check(
            bounds == population.bounds,
            f"population {number}: the stored bounds {population.bounds} are not the proven ones, {bounds}",
        )
    bound = prove_decoder(graph.decoder, graph.populations[-1], encoder, buffered=buffered)
    check(bound is not None, "the decoder's totals can grow without limit; declare a leak or a clamp")
    check(bound == graph.decoder.bound, f"the decoder's bound {graph.decoder.bound} is not the proven one, {bound}")


def _check_limits(projection: Projection, population: Population) -> None:
    """What generated C can hold: `limits` says why."""
    averages = tuple(pool for pool in projection.pools if isinstance(pool, AvgPool))
    for pool in projection.pools:
        if isinstance(pool, MaxPool):
            check_layer(pool, ())
    check_layer(projection.synapses, averages)
    if projection.op == "linear":
        row = population.positions * padded(population.channels)
        check(row <= MAX_ROW, f"a row of {row} weights, one for each neuron, is longer than {MAX_ROW}")


def kept_graph_bytes(graph: Graph) -> int:
    """The most that the states and the spikes of all populations can take."""
    depths: dict[int, int] = {}
    for population in graph.populations:
        for projection in population.projections:
            depths[projection.source] = max(depths.get(projection.source, 1), projection.delay + 1)
    for number, population in enumerate(graph.populations):
        if population.neuron.remembers:
            depths[number] = max(depths.get(number, 1), 2)
    total = 0
    for number, population in enumerate(graph.populations):
        places = population.positions * padded(population.channels)
        total += places * (2 * population.current_width + 2 * population.width) // 8  # a constant current, too
        total += depths.get(number, 1) * (population.neurons // 8 + 4) * (1 + (population.neuron.reset == "doubled"))
    if isinstance(graph.decoder.window, int):
        total += 4 * graph.decoder.window * (graph.classes + 1)
    return total + depths.get(INPUT, 0) * (MAX_NEURONS // 8 + 4)


def worst_graph_ops(graph: Graph, encoder: Encoder) -> list[int]:
    """Most operations each population can do in one inference: every input spiking at every timestep."""
    worst = []
    for population in graph.populations:
        ops = 0
        for projection in population.projections:
            once = analog(projection, encoder) and encoder.kind == "direct"
            times = 1 if once else projection.multiplicity * encoder.timesteps
            ops += int(projection.synapses.fan_out().sum()) * times
        worst.append(ops)
    return worst
