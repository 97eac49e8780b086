"""What arrives at neurons before they take it: sums of weighted sources in the making.

Readers walk a foreign network and call these functions layer by layer; `projections` ends in a population's. Shapes are
the frameworks', channel first, without batch: [channels], [channels, length] or [channels, height, width]. Everything
that cannot be a projection raises `ValueError`, whose text the reader completes with the layer's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..ir.checks import check
from ..ir.encoder import Shape
from ..ir.layers import Pair
from ..learn.graph import INPUT, FloatPool, FloatProjection, Op, channel_last, dense_kernel

BETWEEN = "there are other weights before it, and no neurons in between"


@dataclass(frozen=True, eq=False)
class Term:
    """What arrives from one source, weighted or not yet.

    source  the name of a population, or `INPUT`; origin: its shape; time: when it spoke, where a reader follows time
    shape   of what arrives now; map: what it was before it was flattened
    op, weight, stride, padding   as of a `FloatProjection`; op None: nothing but poolings so far
    pools, current_pool   before the weights and after them; delay: timesteps; gain: a factor of all
    offset  by channel, taken off the source first
    """

    source: str
    shape: tuple[int, ...]
    map: tuple[int, ...]
    pools: tuple[FloatPool, ...] = ()
    op: Op | None = None
    weight: np.ndarray | None = None
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    current_pool: FloatPool | None = None
    delay: int = 0
    gain: float = 1.0
    time: int | None = None
    origin: tuple[int, ...] = ()
    offset: tuple[float, ...] = ()


@dataclass(frozen=True, eq=False)
class Sum:
    """Terms of one shape, and a bias: one number [] or by channel [channels]. A constant has no terms, but `alone`, its
    shape."""

    terms: tuple[Term, ...]
    bias: np.ndarray
    alone: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.terms[0].shape if self.terms else self.alone


def source(name: str, shape: tuple[int, ...], time: int | None = None) -> Sum:
    """A population's spikes, or the input."""
    return Sum((Term(name, shape, shape, time=time, origin=shape),), np.zeros(()))


def constant(values: np.ndarray) -> Sum:
    """What is the same whatever the input: a batch [N, channels, ...] of equal samples, one number a channel."""
    shape = values.shape[1:]
    by_channel = values.reshape(len(values), *shape[:1], -1)
    check(len(shape) > 0 and by_channel.size > 0, "of a constant without channels")
    check(bool((by_channel == by_channel[:1, :, :1]).all()), "of a constant by place")
    return Sum((), least(by_channel[0, :, 0]), shape)


def total(sums: Sequence[Sum]) -> Sum:
    """What arrives together."""
    shapes = sorted({s.shape for s in sums})
    check(len(shapes) == 1, f"shapes {' and '.join(str(list(s)) for s in shapes)} arrive together")
    return Sum(tuple(t for s in sums for t in s.terms), np.asarray(sum(s.bias for s in sums)), shapes[0])


def linear(arriving: Sum, weight: np.ndarray, bias: np.ndarray | float = 0.0) -> Sum:
    """weight [out, in] on what arrives, flat."""
    weight = np.asarray(weight, np.float64)
    terms = []
    for t in arriving.terms:
        check(len(t.shape) == 1, f"a linear layer takes the map {list(t.shape)}: flatten it before")
        check(t.op in (None, "linear", "identity") and t.current_pool is None, BETWEEN)
        fits = weight.ndim == 2 and weight.shape[1] == t.shape[0]
        check(fits, f"weights {list(weight.shape)} do not fit inputs {list(t.shape)}")
        if t.op == "linear":
            assert t.weight is not None
            made = weight @ t.weight
        else:
            scale = 1.0 if t.weight is None else np.repeat(t.weight, int(np.prod(t.map[1:])))
            made = channel_last(weight * scale, map_shape(t.map))
        terms.append(replace(t, op="linear", weight=made, shape=(len(weight),), map=(len(weight),)))
    own = np.asarray(bias, np.float64)
    if arriving.bias.any():
        inner = np.broadcast_to(arriving.bias, weight.shape[1])
        own = own + weight @ inner
    return Sum(tuple(terms), own)


def convolution(
    arriving: Sum,
    weight: np.ndarray,
    bias: np.ndarray | float,
    stride: Pair = (1, 1),
    padding: Pair = (0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Sum:
    """weight [out, in / groups, height, width] (1-D: height 1) on maps."""
    weight = np.asarray(weight, np.float64)
    if arriving.bias.any() and padding != (0, 0):
        arriving = _centred(arriving)
    shifted = bool(arriving.bias.any())
    terms = []
    for t in arriving.terms:
        check(t.op in (None, "identity") and t.current_pool is None, BETWEEN)
        fits = len(t.shape) > 1 and weight.shape[1] * groups == t.shape[0]
        check(fits, f"weights {list(weight.shape)} of {groups} groups do not fit inputs {list(t.shape)}")
        op: Op = "depthwise" if groups == len(weight) == t.shape[0] > 1 else "conv"
        made = dense_kernel(weight, 1 if op == "depthwise" else groups, dilation)
        if t.weight is not None:
            made = made * (t.weight[:, None, None, None] if op == "depthwise" else t.weight[None, :, None, None])
        shape = window(t.shape, len(weight), (made.shape[2], made.shape[3]), stride, padding)
        terms.append(replace(t, op=op, weight=made, stride=stride, padding=padding, shape=shape, map=shape))
    own = np.asarray(bias, np.float64)
    if shifted:
        of_input = np.broadcast_to(arriving.bias, arriving.shape[:1]).reshape(groups, 1, -1)
        own = own + (weight.sum((2, 3)).reshape(groups, -1, weight.shape[1]) * of_input).sum(-1).reshape(-1)
    return Sum(tuple(terms), own)


def _centred(arriving: Sum) -> Sum:
    """A source with a scale and a shift, (x - offset) times the scale: after that it may be padded with zeros."""
    only = arriving.terms[0]
    raw = len(arriving.terms) == 1 and only.op in (None, "identity") and not only.pools and not only.offset
    check(raw and only.source == INPUT, "it pads what has a bias, and no neurons are in between")
    factor = only.gain * np.broadcast_to(1.0 if only.weight is None else only.weight, only.map[:1])
    check(bool(factor.all()), "it pads a channel that is nothing but a bias")
    offset = tuple(float(o) for o in -np.broadcast_to(arriving.bias, only.map[:1]) / factor)
    return Sum((replace(only, offset=offset),), np.zeros(()))


def scale(arriving: Sum, factor: np.ndarray, shift: np.ndarray | float = 0.0) -> Sum:
    """factor [channels] (or []) times what arrives, plus a shift of the same form: a scale, a batch norm."""
    terms = []
    for t in arriving.terms:
        by_channel = np.broadcast_to(factor, t.shape[:1]).astype(np.float64)
        if t.op is None and not (factor == factor.flat[0]).all():
            check(t.shape == t.map, "it scales channels that are flattened")
            terms.append(replace(t, op="identity", weight=by_channel))
        elif t.weight is None or t.shape != t.map:
            check(bool((factor == factor.flat[0]).all()), "it scales channels that are flattened")
            terms.append(replace(t, gain=t.gain * float(factor.flat[0])))
        else:
            positive = t.current_pool is None or t.current_pool.kind == "average" or bool((by_channel > 0).all())
            check(positive, "a maximum of weights is scaled by a negative number")
            terms.append(replace(t, weight=t.weight * by_channel.reshape(-1, *[1] * (t.weight.ndim - 1))))
    return Sum(tuple(terms), np.asarray(arriving.bias * factor + shift, np.float64), arriving.alone)


def pool(arriving: Sum, kind: str, kernel: Pair, stride: Pair, padding: Pair, factor: float = 1.0) -> Sum:
    """An `average` (times `factor`) or a `maximum` over windows of maps."""
    maximum = kind == "maximum"
    check(not arriving.bias.any() or maximum or padding == (0, 0), "it pads what has a bias")
    check(not maximum or len(arriving.terms) == 1, "a maximum of a sum of several sources")
    made = FloatPool("maximum" if maximum else "average", kernel, stride, padding)
    terms = []
    for t in arriving.terms:
        check(len(t.shape) > 1 and t.op != "linear", f"it pools {list(t.shape)}, which is no map")
        check(t.current_pool is None, "it pools currents a second time")
        check(not maximum or t.gain >= 0, "a maximum of what is multiplied by a negative number")
        shape = window(t.shape, t.shape[0], kernel, stride, padding)
        before = t.op is None or (t.op == "identity" and not maximum)
        pooled = replace(t, pools=(*t.pools, made)) if before else replace(t, current_pool=made)
        terms.append(replace(pooled, shape=shape, map=shape, gain=t.gain * factor))
    return Sum(tuple(terms), arriving.bias * factor)


def flat(arriving: Sum) -> Sum:
    """All axes as one, channels first."""
    if all(len(t.shape) == 1 for t in arriving.terms):
        return arriving
    terms = []
    for t in arriving.terms:
        check(t.op in (None, "identity"), BETWEEN)
        terms.append(replace(t, shape=(int(np.prod(t.shape)),)))
    bias = arriving.bias
    return Sum(tuple(terms), np.repeat(bias, int(np.prod(arriving.shape[1:]))) if len(bias.reshape(-1)) > 1 else bias)


def spread(arriving: Sum, timesteps: int) -> tuple[Sum, ...] | None:
    """What was added up over all timesteps, by timestep, the bias in equal parts; None where it is no such sum."""
    kinds: dict[tuple[Any, ...], dict[int, Term]] = {}
    for t in arriving.terms:
        times = kinds.setdefault(likeness(t), {})
        if t.time is None or t.time in times:
            return None
        times[t.time] = t
    steps: list[list[Term]] = [[] for _ in range(timesteps)]
    for times in kinds.values():
        lag = timesteps - 1 - max(times)
        for time, t in times.items():
            steps[time + lag].append(t)
    if not all(steps):
        return None
    return tuple(Sum(tuple(step), arriving.bias / timesteps) for step in steps)


def likeness(t: Term) -> tuple[Any, ...]:
    """Everything of a term but when it spoke."""
    weight = None if t.weight is None else t.weight.tobytes()
    return t.source, t.op, t.stride, t.padding, t.pools, t.current_pool, t.gain, t.offset, weight


def late(arriving: Sum, timesteps: int) -> Sum:
    """What arrives, so many timesteps later; a bias is always there."""
    return Sum(tuple(replace(t, delay=t.delay + timesteps) for t in arriving.terms), arriving.bias)


def projections(
    arriving: Sum, shape: Shape, gain: np.ndarray | float = 1.0
) -> tuple[tuple[FloatProjection, ...], np.ndarray]:
    """Projections into a population of `shape` whose neurons take `gain` (one, or by neuron) times what arrives, and
    the bias times the gain: [], [channels] or `shape`."""
    by_neuron = np.broadcast_to(np.asarray(gain, np.float64), shape)
    made = []
    for t in arriving.terms:
        check(map_shape(t.shape) == shape, f"{list(t.shape)} arrive at neurons of {shape}")
        check(t.op is not None or t.shape == t.map, "neurons take a flattened map without weights: flatten after them")
        op: Op = t.op or "identity"
        weight = np.ones(shape[2]) if t.weight is None else t.weight
        if op == "linear":
            weight = weight * by_neuron.reshape(-1, 1)
        else:
            channel = by_neuron[0, 0]
            check(bool((by_neuron == channel).all()), "neurons of one channel weigh their inputs apart")
            check(t.current_pool is None or t.current_pool.kind == "average" or t.gain > 0, "a maximum of negatives")
            weight = weight * channel.reshape(-1, *[1] * (weight.ndim - 1))
        made.append(
            FloatProjection(t.source, op, weight * t.gain, t.stride, t.padding, t.pools, t.current_pool, t.delay)
        )
    return tuple(made), least(np.broadcast_to(arriving.bias * by_neuron, shape))


def window(shape: tuple[int, ...], channels: int, kernel: Pair, stride: Pair, padding: Pair) -> tuple[int, ...]:
    """Channel-first shape of what windows over a map make."""
    places = (1, *shape[1:])[-2:]
    out = [(places[axis] + 2 * padding[axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1)]
    return (channels, *out[3 - len(shape) :])


def map_shape(shape: tuple[int, ...]) -> Shape:
    """(height, width, channels) of [channels], [channels, length] or [channels, height, width]."""
    check(1 <= len(shape) <= 3, f"a shape has 1 to 3 axes, not {list(shape)}")
    height, width = (1, 1, *shape[1:])[-2:]
    return height, width, shape[0]


def to_channel_last(array: np.ndarray) -> np.ndarray:
    """Values [channels, ...] as (height, width, channels)."""
    last: np.ndarray = np.moveaxis(array, 0, -1).reshape(map_shape(array.shape))
    return last


def least(array: np.ndarray) -> np.ndarray:
    """The same values as one number, or one for each channel, where they are."""
    if (array == array.flat[0]).all():
        return np.array(array.flat[0], dtype=np.float64)
    if array.ndim == 3 and (array == array[0, 0]).all():
        return np.ascontiguousarray(array[0, 0], np.float64)
    return np.ascontiguousarray(array, np.float64)
