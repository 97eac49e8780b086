"""Quantisation of graphs: a float graph becomes integer populations, every state's bound proved.

In: a `FloatGraph`. Out: a `QuantEnsemble` of one student. All projections into a population, its biases and thresholds
share the unit of its channels, so that adding is all there is to do; leaks are multiples of 2^-15.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import torch
from torch import Tensor

from ..check.reference import run
from ..check.verify import ReferenceEngine
from ..errors import SneError
from ..ir.encoder import Encoder, Shape, as_scaled
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import INPUT, Alpha, Cell, Decoder, Graph, Leak, Population, Projection
from ..ir.graph_proof import prove_decoder, prove_population
from ..ir.layers import AvgPool, MaxPool, Pair
from ..ir.neuron import CLAMP_INT32, Bound, nearest_decay
from ..ir.policy import ActivationPolicy
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from ..learn.graph import INPUT as FLOAT_INPUT
from ..learn.graph import FloatDecoder, FloatGraph, FloatPool, FloatPopulation, FloatProjection, unused_name
from ..learn.integers import CONSTANT_MAX, membrane_unit, weight_limit
from .calibrate import golden_vectors, measure, with_costs
from .chain import CLAMPS_INT16, READOUT_LEAST, READOUT_MOST
from .quantize import GAIN_MAX, REACH_MAX, undeployable

NEVER = 1.5  # thresholds of so many times the highest membrane are never met, whatever weights are rounded to
SUMS_MOST = 2**28  # what a decoder's sums may reach: far inside the logits' limit


def quantize_graph(
    graph: FloatGraph,
    name: str,
    encoder: Encoder,
    calibration: np.ndarray,
    *,
    labels: np.ndarray | None = None,
    classes: tuple[str, ...] | None = None,
) -> QuantEnsemble:
    """A float graph as an ensemble of one student, measured, with golden vectors.

    encoder      how samples become the input; its timesteps are the model's
    calibration  samples [N, ...] as `encoder.encode` takes them: cost is measured on them; no bound depends on them
    labels       int [N], stored with the golden vectors
    classes      names, default "0", "1", ...

    The provenance holds `agreement`, the share of calibration samples that the float graph labels likewise.
    Raises `SneError` on what cannot be deployed.
    """
    made = assemble_graph(graph, name, encoder, classes)
    inputs = encoder.encode(calibration)
    integers = run(made, inputs).decisions.label
    agreement = float((float_labels(graph, encoder, inputs) == integers).mean())
    made = msgspec.structs.replace(made, provenance={"source": "quantize_graph", "agreement": agreement})
    made = with_costs(made, measure(made, ReferenceEngine(made), inputs))
    vectors = golden_vectors(ReferenceEngine(made), inputs[:32], None if labels is None else np.asarray(labels)[:32])
    return msgspec.structs.replace(made, vectors=vectors)


def assemble_graph(
    graph: FloatGraph,
    name: str,
    encoder: Encoder,
    classes: tuple[str, ...] | None = None,
    *,
    regression: bool = False,
) -> QuantEnsemble:
    """The ensemble of `quantize_graph`, not measured: without costs, golden vectors and provenance. `regression`: its
    outputs are numbers, one or more."""
    names = classes or tuple(str(c) for c in range(graph.classes))
    if len(names) != graph.classes:
        raise SneError(f"{len(names)} class names for {graph.classes} outputs", "give one name for each output")
    try:
        return _ensemble(graph, name, encoder, names, regression)
    except ValueError as error:
        raise SneError(f"{name} cannot be deployed: {error}", undeployable(len(names))) from None


def float_inputs(encoder: Encoder, inputs: np.ndarray) -> Tensor:
    """Device bytes as the float graph takes them, float64 [T, N, height, width, channels]: spikes, or the real values
    that a direct input's integers stand for."""
    if encoder.multiplies:
        values = torch.from_numpy(encoder.real(encoder.analog(inputs)))
        return values.transpose(0, 1) if encoder.kind == "frames" else values.expand(encoder.timesteps, *values.shape)
    return torch.from_numpy(encoder.spikes(inputs).astype(np.float64))


def float_labels(graph: FloatGraph, encoder: Encoder, inputs: np.ndarray) -> np.ndarray:
    """Labels [N] that the float graph gives encoded inputs; of equal logits the lowest class, as on the device."""
    logits = graph.simulate(float_inputs(encoder, inputs)).logits.numpy()
    labels: np.ndarray = logits.argmax(axis=1)
    return labels


def integer_graph(graph: FloatGraph, encoder: Encoder) -> Graph:
    """The graph in integers, with proven bounds. Raises `SneError` or `ValueError` on what cannot be deployed."""
    if graph.input_shape != encoder.shape:
        raise SneError(
            f"the network takes {graph.input_shape} (height, width, channels), but the input is {encoder.shape}",
            "give samples, or an encoder, of the network's shape",
        )
    moved = encoder.spread(encoder.offset) - graph.offset  # the real value of a step 0, as the populations take it
    encoder = msgspec.structs.replace(encoder, offset=as_scaled(moved))
    try:
        return _integer_graph(graph, encoder, buffered=False)
    except ValueError:
        if encoder.kind != "frames":
            raise
    return _integer_graph(graph, encoder, buffered=True)  # frames that cannot come as a stream without end


def _integer_graph(graph: FloatGraph, encoder: Encoder, *, buffered: bool) -> Graph:
    graph = _counting(graph)
    numbers = {FLOAT_INPUT: INPUT} | {p.name: n for n, p in enumerate(graph.populations)}
    mute = {p.name for p in graph.populations if p.threshold is None}
    populations = []
    for number, population in enumerate(graph.populations):
        if heard := [q.source for q in population.projections if q.source in mute]:
            raise ValueError(f"{population.name} hears {heard[0]}, which never spikes: only the last may leak alone")
        last = number + 1 == len(graph.populations)
        if last and graph.decoder.kind == "membrane":
            population = _without_spikes(graph, population, encoder, numbers)
        made = _population(graph, population, encoder, numbers)
        populations.append(_bounded(made, encoder, last, buffered))
    return Graph(tuple(populations), _decoder(graph.decoder, populations[-1], encoder, buffered))


def _counting(graph: FloatGraph) -> FloatGraph:
    """The graph, its spikes counted by neurons without spikes where counts leak: whole spikes would lose their leak to
    rounding."""
    decoder = graph.decoder
    if decoder.kind != "count" or decoder.leak == 1:
        return graph
    last = graph.populations[-1]
    counted = FloatProjection(last.name, "identity", np.ones(last.shape[2]))
    zeros = np.zeros(last.shape[2])
    name = unused_name("total", [p.name for p in graph.populations])
    total = FloatPopulation(name, last.shape, (counted,), np.array(decoder.leak), None, zeros, reset="none")
    return replace(graph, populations=(*graph.populations, total), decoder=FloatDecoder("membrane", "final"))


def _ensemble(
    graph: FloatGraph, name: str, encoder: Encoder, classes: tuple[str, ...], regression: bool
) -> QuantEnsemble:
    made = integer_graph(graph, encoder)
    worth = worth_of(made, encoder) * _gains(graph)
    bound = made.decoder.bound
    reach = float(worth.max()) * max(-bound.low, bound.high, 1)
    scale = max(float(worth.max()) / (1 if np.ptp(worth) == 0 else GAIN_MAX), reach / REACH_MAX)
    gain = np.maximum(1, np.rint(worth / scale)).astype(np.int32)
    student = QuantStudent((), (), gain, np.zeros(len(classes), np.int32), graph=made)
    return QuantEnsemble(
        name=name,
        encoder=encoder,
        students=(student,),
        bias=np.zeros(len(classes), np.int32),
        order=(0,),
        classes=classes,
        logit_scale=scale,
        policy=ActivationPolicy("all"),
        vectors=no_vectors(encoder, len(classes), [student]),
        task="regression" if regression else msgspec.UNSET,
    )


def worth_of(graph: Graph, encoder: Encoder) -> np.ndarray:
    """What one unit of each class's total is worth, float64 [classes]."""
    last, decoder = graph.populations[-1], graph.decoder
    if not decoder.sees_membranes:
        return np.ones(graph.classes)
    units = np.tile(last.scale, last.positions)
    return units / encoder.timesteps if decoder.kind == "current" or decoder.take == "mean" else units


def _gains(graph: FloatGraph) -> np.ndarray:
    """What the membranes that the decoder sees are divided by, float64 [classes]."""
    last, sees = graph.populations[-1], graph.decoder.kind == "membrane"
    gains = np.ones(()) if last.gain is None or not sees else last.gain
    return np.broadcast_to(gains, last.shape).reshape(-1)


def _population(graph: FloatGraph, p: FloatPopulation, encoder: Encoder, numbers: dict[str, int]) -> Population:
    """The population, its bounds not proven yet."""
    channels = p.shape[2]
    drafts = []
    for q in p.projections:
        try:
            drafts.append(_draft(q, graph.shapes[q.source], encoder, numbers[q.source]))
        except ValueError as error:
            raise ValueError(f"{p.name}, from {q.source or 'the input'}: {error}") from None
    bias = grid_of(p.bias, p.shape)
    for draft in drafts:  # an input's value is scale * q + offset
        if draft.fields["source"] == INPUT and encoder.multiplies and encoder.shifted:
            sums = encoder.summed(encoder.offset_steps, draft.weight)
            bias = bias + sums.reshape(-1, channels)
    threshold = None if p.threshold is None else grid_of(p.threshold, p.shape)
    drop = threshold
    if p.gain is not None and threshold is not None:  # an alpha neuron's membrane is divided by its gain
        threshold = threshold / grid_of(p.gain, p.shape)
    unit = _unit(drafts, bias, threshold, channels)
    projections = tuple(_integer(draft, unit, channels) for draft in drafts)
    alpha: Alpha | msgspec.UnsetType = msgspec.UNSET
    if p.gain is not None:
        share = Leak("q15", np.clip(np.rint(2**15 / grid_of(p.gain, p.shape)), 0, 2**15 - 1).astype(np.int32).ravel())
        taken = np.zeros((1, channels)) if drop is None else np.broadcast_to(drop / unit, (len(drop), channels))
        alpha = Alpha(share, _whole(f"a reset of {p.name}", taken))
    cell = Cell(
        leak=leak_of(p.beta, p.shape),
        spikes=threshold is not None,
        reset=p.reset,
        reset_delay=p.reset_delay,
        current_leak=msgspec.UNSET if p.alpha is None else leak_of(p.alpha, p.shape),
        alpha=alpha,
    )
    return Population(
        name=p.name[:64],
        shape=p.shape,
        projections=projections,
        neuron=cell,
        bias=_whole(f"a bias of {p.name}", bias / unit),
        scale=unit,
        bound=Bound(0, 0),
        threshold=msgspec.UNSET
        if threshold is None
        else np.maximum(1, _whole(f"a threshold of {p.name}", threshold / unit)).astype(np.int32),
        current_bound=msgspec.UNSET if p.alpha is None else Bound(0, 0),
    )


def _without_spikes(
    graph: FloatGraph, p: FloatPopulation, encoder: Encoder, numbers: dict[str, int]
) -> FloatPopulation:
    """Neurons of a readout whose membranes never get near their threshold, as such without one where it would coarsen
    their unit: a threshold of a million, say, that is to keep them from firing would make all weights round to
    nothing."""
    if p.threshold is None or p.gain is not None:
        return p
    silent = replace(p, threshold=None, reset="none", reset_delay=False)
    draft = _population(graph, silent, encoder, numbers)
    bound = prove_population(draft, encoder, buffered=True).membrane
    if bound is None:
        return p
    threshold = grid_of(p.threshold, p.shape)
    never = (threshold > NEVER * max(-bound.low, bound.high) * draft.scale).all()
    return silent if never and (threshold > CONSTANT_MAX * draft.scale).any() else p


class _Draft(msgspec.Struct, frozen=True, eq=False):
    """A projection that waits for its unit: `weight` in real values of one unit of its source."""

    op: str
    weight: np.ndarray
    bits: int
    fields: dict[str, Any]


def float_projection(q: FloatProjection, source: Shape, encoder: Encoder, number: int) -> np.ndarray:
    """The weights of a projection in the form that its integers have, in real values of one unit of its source, a map
    of that shape; `number`: of the population, or `INPUT`."""
    return _draft(q, source, encoder, number).weight


def _draft(q: FloatProjection, source: Shape, encoder: Encoder, number: int) -> _Draft:
    values = number == INPUT and encoder.multiplies
    op, weight, stride, padding, bits = q.op, q.weight.astype(np.float64), q.stride, q.padding, q.bits
    pools, worth = _spike_pools(q, source, values)
    if op == "identity" and (values or q.current_pool is not None):
        op, weight = "depthwise", weight.reshape(-1, 1, 1, 1)
    if op == "depthwise" and values:  # values are multiplied by dense weights
        dense = np.zeros((len(weight), len(weight), *weight.shape[2:]))
        dense[np.arange(len(weight)), np.arange(len(weight))] = weight[:, 0]
        op, weight = "conv", dense
    largest: MaxPool | msgspec.UnsetType = msgspec.UNSET
    if q.current_pool is not None and q.current_pool.kind == "average":
        weight, stride = _averaged(q.current_pool, weight, stride, op)
    elif q.current_pool is not None:
        shape = q.current_shape(source)
        pool = q.current_pool
        largest = MaxPool(shape, pool.out(shape), pool.kernel, pool.stride, pool.padding)
    if values or op in ("depthwise", "identity"):
        bits = 8
    if values:
        if q.delay:
            raise ValueError("an input's values cannot be late; shift the data")
        weight = weight * encoder.facing(encoder.scale, weight)
        if encoder.shifted and op == "conv" and padding != (0, 0):
            raise ValueError(
                "the encoder has an offset, and a padding's zeros would need it too; shift the data instead"
            )
    fields: dict[str, Any] = {
        "source": number,
        "in_shape": source,
        "pools": pools,
        "delay": q.delay,
        "largest": largest,
    }
    if op in ("conv", "depthwise"):
        fields |= {"stride": stride, "padding": padding}
    return _Draft(op, weight * worth, bits, fields)


def _spike_pools(q: FloatProjection, source: Shape, values: bool) -> tuple[tuple[AvgPool | MaxPool, ...], float]:
    """Poolings of spikes, and what a spike is worth behind them."""
    if q.pools and values:
        raise ValueError("values are pooled; pool the data before it comes in, or convolve it first")
    pools: tuple[AvgPool | MaxPool, ...] = ()
    worth, shape = 1.0, source
    for pool in q.pools:
        out = pool.out(shape)
        kind = AvgPool if pool.kind == "average" else MaxPool
        if kind is MaxPool and any(isinstance(before, AvgPool) for before in pools):
            raise ValueError("a maximum follows an average of spikes; pool the other way round")
        pools += (kind(shape, out, pool.kernel, pool.stride, pool.padding),)
        worth /= pool.kernel[0] * pool.kernel[1] if kind is AvgPool else 1
        shape = out
    return pools, worth


def _averaged(pool: FloatPool, weight: np.ndarray, stride: Pair, op: str) -> tuple[np.ndarray, Pair]:
    """A kernel with the average of its currents folded in, and its stride: exact, since both are sums of products."""
    if op == "linear":
        raise ValueError("the currents of a linear layer are no map to pool")
    if pool.padding != (0, 0):
        raise ValueError("an average of currents has padding; use a pooling without")
    height, width = weight.shape[2:]
    tall, wide = (pool.kernel[0] - 1) * stride[0] + height, (pool.kernel[1] - 1) * stride[1] + width
    folded = np.zeros((*weight.shape[:2], tall, wide))
    for y in range(pool.kernel[0]):
        for x in range(pool.kernel[1]):
            top, left = y * stride[0], x * stride[1]
            folded[:, :, top : top + height, left : left + width] += weight
    return folded / (pool.kernel[0] * pool.kernel[1]), (stride[0] * pool.stride[0], stride[1] * pool.stride[1])


def _by_channel(draft: _Draft, channels: int) -> np.ndarray:
    """Weights by output channel, float64 [channels, ...]; a linear projection's outputs are positions x channels."""
    weight = draft.weight
    if draft.op == "linear":
        weight = weight.reshape(-1, channels, weight.shape[1]).transpose(1, 0, 2)
    rows: np.ndarray = weight.reshape(channels, -1)
    return rows


def _unit(drafts: list[_Draft], bias: np.ndarray, threshold: np.ndarray | None, channels: int) -> np.ndarray:
    """Real value of one unit of a population's states, float64 [channels]: the finest that all projections allow."""
    most_bias = np.abs(bias).max(axis=0)
    groups = []
    for bits in (8, 4):
        weights = [_by_channel(draft, channels) for draft in drafts if draft.bits == bits]
        if weights:
            groups.append((bits, np.concatenate(weights, axis=1)))
    if threshold is None:
        units = [np.abs(weight).max(axis=1) / weight_limit(bits) for bits, weight in groups]
        coarse: np.ndarray = np.maximum(np.max([*units, most_bias / 2**20], axis=0), 1e-12)
        return coarse
    groups = groups or [(8, np.zeros((channels, 1)))]
    level, constant = (
        torch.from_numpy(np.broadcast_to(a, (channels,)).copy()) for a in (threshold.max(axis=0), most_bias)
    )
    units = [membrane_unit(torch.from_numpy(weight), constant, level, 1.0, bits).numpy() for bits, weight in groups]
    unit: np.ndarray = np.max(units, axis=0)
    return unit


def _integer(draft: _Draft, unit: np.ndarray, channels: int) -> Projection:
    limit = weight_limit(draft.bits)
    if draft.op == "linear":
        scaled = draft.weight / np.tile(unit, len(draft.weight) // channels)[:, None]
    else:
        scaled = draft.weight / unit.reshape(-1, *[1] * (draft.weight.ndim - 1))
    weight = np.clip(np.rint(scaled), -limit, limit).astype(np.int8)
    return Projection(op=draft.op, weight=weight, bits=draft.bits, **draft.fields)  # type: ignore[arg-type]


def grid_of(values: np.ndarray, shape: Shape) -> np.ndarray:
    """Float parameters as [1, channels], or where neurons differ within a channel [positions, channels]."""
    wide = np.broadcast_to(values, shape).reshape(-1, shape[2]).astype(np.float64)
    same = bool((wide == wide[:1]).all())
    return wide[:1] if same else wide


def leak_of(factor: np.ndarray, shape: Shape) -> Leak:
    """The nearest integer leak: one for all where the factors are the same, else one for each channel or neuron."""
    wide = grid_of(factor, shape)
    if bool((wide == wide[0, 0]).all()):
        decay = nearest_decay(float(wide[0, 0]))
        return Leak(decay.kind, np.array([decay.value], np.int32))
    return Leak("q15", np.clip(np.rint(wide * 2**15), 0, 2**15 - 1).astype(np.int32).reshape(-1))


def _whole(what: str, values: np.ndarray) -> np.ndarray:
    rounded = np.rint(values)
    if not np.isfinite(rounded).all() or np.abs(rounded).max(initial=0) >= 2**30:
        raise ValueError(f"{what} reaches {np.abs(values).max():.3g} units of its channel, more than 2^30")
    whole: np.ndarray = rounded.astype(np.int32).reshape(-1)
    return whole


def _bounded(made: Population, encoder: Encoder, last: bool, buffered: bool) -> Population:
    """The population with its proven bounds, and with a clamp where weights alone give none that fits, or none at all:
    as in chains, no clamp is met within the encoder's timesteps unless states of 32 bits need it. `buffered`: bounds
    for so many timesteps are enough."""
    readout = last and not made.neuron.spikes
    within = prove_population(made, encoder, buffered=True)
    if within.membrane is None:
        raise ValueError(f"the currents of {made.name} do not fit in 32 bits: take a leak, or fewer timesteps")
    reach = max(-within.membrane.low, within.membrane.high)
    threshold = int(made.threshold.max()) if isinstance(made.threshold, np.ndarray) else 0
    sides: list[int | None] = [None]
    if readout:
        sides += [min(max(reach, READOUT_LEAST), READOUT_MOST)]
    else:
        sides += [side for side in CLAMPS_INT16 if side >= max(reach, 4 * threshold)] + [CLAMP_INT32[1]]
    for side in sides:
        clamp = None if side is None else (-side, side)
        held = msgspec.structs.replace(made, neuron=msgspec.structs.replace(made.neuron, clamp=clamp))
        proof = prove_population(held, encoder, buffered=buffered)
        if proof.membrane is None or (side is None and readout and reach > READOUT_MOST):
            continue
        if proof.membrane.width <= (16 if side in CLAMPS_INT16 else 32):
            bounds: dict[str, Any] = {"bound": proof.membrane}
            bounds |= {} if proof.current is None else {"current_bound": proof.current}
            return msgspec.structs.replace(held, **bounds)
    raise ValueError(f"the states of {made.name} cannot be kept in 32 bits: a stream's current without a leak?")


def _decoder(decoder: FloatDecoder, last: Population, encoder: Encoder, buffered: bool) -> Decoder:
    made = Decoder(decoder.kind, decoder.take if decoder.kind == "membrane" else "final")
    clamps: list[tuple[int, int] | None] = [None]
    if made.sums:
        made = msgspec.structs.replace(made, leak=nearest_decay(decoder.leak))
        clamps += [(-READOUT_MOST, READOUT_MOST)]
    for clamp in clamps:
        held = msgspec.structs.replace(made, clamp=clamp)
        bound = prove_decoder(held, last, encoder, buffered=buffered)
        if bound is not None and max(-bound.low, bound.high) <= SUMS_MOST:
            return msgspec.structs.replace(held, bound=bound)
    raise ValueError("the decoder's totals cannot be kept in 32 bits; take a leak, or fewer timesteps")
