"""A student as a graph: populations of integer neurons, projections between them, and a decoder.

A graph is run timestep by timestep, every population once in a timestep, in their order. Shapes are (height, width,
channels), channel last; flattening is in that order. Every type checks itself on construction and raises `ValueError`.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from .checks import check, check_array
from .encoder import Shape
from .layers import AvgPool, Conv, Depthwise, Linear, MaxPool, Pair, check_shapes, size, window_out
from .neuron import INT32, Bound, Decay, Neuron, check_window_of

INPUT = -1  # the input, as a projection's source
MAX_DELAY = 1024
MAX_POPULATIONS = 1024
_NO_NEURON = Neuron("if")


class Leak(msgspec.Struct, frozen=True, eq=False):
    """Leak of a state per timestep, as `Decay` has it; `value`: int32, one number [1], or of kind q15 one for each
    channel [channels] or neuron [neurons]."""

    kind: Literal["none", "shift", "q15"]
    value: np.ndarray

    def __post_init__(self) -> None:
        check_array("a leak's value", self.value, np.int32, self.value.shape[:1])
        check(self.value.size >= 1, "a leak has a value")
        check(self.kind == "q15" or self.value.size == 1, f"a leak {self.kind} has one value")
        for value in (self.value.min(), self.value.max()):
            Decay(self.kind, int(value))

    @property
    def decay(self) -> Decay | None:
        """The leak of all neurons, or None where they differ."""
        return Decay(self.kind, int(self.value[0])) if self.value.size == 1 else None

    def apply(self, v: np.ndarray) -> np.ndarray:
        """Leaked states, int64, exact; `v` int64 [..., channels], or [positions, channels] where neurons differ."""
        leaked: np.ndarray = v
        if self.kind == "shift":
            leaked = v - (v >> int(self.value[0]))
        if self.kind == "q15":
            leaked = (v * self._kept(v)) >> 15
        return leaked

    def fade(self, i: np.ndarray) -> np.ndarray:
        """Leaked currents, int64, exact: as `apply`, but rounded towards 0."""
        most = np.abs(i)
        if self.kind == "shift":
            shift = int(self.value[0])
            most = most - ((most + 2**shift - 1) >> shift)
        if self.kind == "q15":
            most = (most * self._kept(i)) >> 15
        faded: np.ndarray = np.sign(i) * most
        return faded

    def _kept(self, states: np.ndarray) -> int | np.ndarray:
        return int(self.value[0]) if self.value.size == 1 else grid(self.value, states.shape[-1])


class Alpha(msgspec.Struct, frozen=True, eq=False):
    """What makes neurons alpha neurons (`Cell`): `share`, a leak of kind q15, and `drop`, int32, one number for each
    channel [channels] or neuron [neurons], at least 0: what a reset takes."""

    share: Leak
    drop: np.ndarray

    def __post_init__(self) -> None:
        check(self.share.kind == "q15", "an alpha neuron's share is of kind q15")
        check_array("drop", self.drop, np.int32, self.drop.shape[:1])
        check(bool((self.drop >= 0).all()), "drop must be at least 0")


class Cell(msgspec.Struct, frozen=True, eq=False):
    """One timestep of a neuron, for J, the bias and what its population's projections bring:

        i = fade(i) + J;  J = i                                 (cuba: where there is a `current_leak`)
        v = leak(v) + J                                         (no reset, or at once)
        v = leak(v) - s_prev * threshold + J                    (`subtract`, `reset_delay`)
        v = leak(s_prev ? 0 : v) + J                            (`zero`, `reset_delay`)
        v = s_prev ? 0 : leak(v) + J                            (`refractory`, `reset_delay`: J is lost)
        s = v > threshold                                       (where it spikes; others are li)
        s = v > (v_prev > threshold ? 2 * threshold : threshold)     (`doubled`, of v_prev as the last line left it)
        v = v - s * threshold  |  v = s ? 0 : v                 (`subtract` or `doubled` | `zero`, at once)
        v = min(max(v, clamp[0]), clamp[1])                     (where a clamp is declared)

    fade is the `current_leak`, rounded towards 0 where `leak` floors: a current ends, and does not stay below 0 for
    ever and hold the membrane down. States are 0 at first. What an engine keeps between timesteps are the *charged*
    states: i is fade(i) + bias, and v is leak(v) less a late reset, with the bias where there is no i; a direct
    input's constant current counts to the bias. What a decoder sees is v as the last line leaves it.

    Alpha neurons (where there is an `alpha`) take J twice, in the current i and in a counter-current h, whose leak is
    `leak`, rounded as fade is; v is their difference one timestep on, so that a spike's effect rises, then falls:

        v = fade(i) - leak(h) - s_prev * share(h)               (of i, h before; the last term: `subtract`)
        i = fade(i) + J - s_prev * drop;  h = s_prev ? 0 : leak(h) + J           (`subtract`)
        i = fade(i) + J;  h = leak(h) + J                       (`none`)
        v, i, h = 0 where s_prev, as otherwise for `none`       (`refractory`)

    Their charged states are i, less a drop, with the bias, and the v of the next timestep; h is i - v where no reset
    was, and needs no place.
    """

    leak: Leak
    spikes: bool = True
    reset: Literal["subtract", "doubled", "zero", "refractory", "none"] = "subtract"
    reset_delay: bool = False
    clamp: tuple[int, int] | None = None
    current_leak: Leak | msgspec.UnsetType = msgspec.UNSET
    alpha: Alpha | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        check(self.spikes or self.reset == "none", f"a neuron that never spikes has no reset {self.reset}")
        check(not self.reset_delay or self.reset != "none", "no reset cannot be late")
        check(self.reset_delay or self.reset != "refractory", "a reset refractory is late")
        check(not self.reset_delay or self.reset != "doubled", "a reset doubled is at once")
        if self.alpha is not msgspec.UNSET:
            check(self.current_leak is not msgspec.UNSET, "an alpha neuron's current has a leak")
            check(self.reset == "none" or (self.reset_delay and self.reset != "zero"), "an alpha neuron resets late")
            check(self.clamp is None, "an alpha neuron has no clamp")
        if self.clamp is not None:
            inside = INT32[0] <= self.clamp[0] <= 0 <= self.clamp[1] <= INT32[1]
            check(inside, f"clamp {self.clamp} must enclose 0 and fit in 32 bits")

    @property
    def remembers(self) -> bool:
        """Whether a timestep needs bits of the one before, beside the charged states: who fired, or of `doubled` whose
        membrane stayed above its threshold."""
        return self.reset in ("refractory", "doubled") or (self.alpha is not msgspec.UNSET and self.reset != "none")


class Projection(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Weighted connections from a population, or the input, to the population that lists it.

    source   number of a population, or `INPUT`
    in_shape the source's map as `pools`, or else the weights, take it; as many values as the source has
    op       linear: weight int8 [neurons, inputs]; conv: [channels, in channels, height, width], cross-correlation with
             zero padding; depthwise: [channels, 1, height, width], each channel by itself; identity: [channels], each
             neuron takes the spike of the one in its own place
    pools    poolings of the spikes, in front of the weights: `MaxPool`s, then `AvgPool`s
    largest  a maximum of the currents that the weights make, channel by channel, before the neurons
    delay    timesteps from a spike to its arrival
    bits     of a weight on the device: 8, or 4 (then weights are within -8..7)
    """

    source: int
    in_shape: Shape
    op: Literal["linear", "conv", "depthwise", "identity"]
    weight: np.ndarray
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pools: tuple[AvgPool | MaxPool, ...] = ()
    largest: MaxPool | msgspec.UnsetType = msgspec.UNSET
    delay: int = 0
    bits: int = 8

    def __post_init__(self) -> None:
        check_shapes(self.in_shape)
        shape = self.in_shape
        averaged = False
        for pool in self.pools:
            check(pool.in_shape == shape, f"a pooling takes {pool.in_shape}, but {shape} arrive")
            check(not (averaged and isinstance(pool, MaxPool)), "a maximum of spikes comes before averages")
            averaged, shape = isinstance(pool, AvgPool), pool.out_shape
        check(0 <= self.delay <= MAX_DELAY, f"a delay of {self.delay} is not in 0..{MAX_DELAY}")
        check(self.op in ("conv", "depthwise") or (self.stride, self.padding) == ((1, 1), (0, 0)), "only windows move")
        check(self.bits == 8 or self.op in ("linear", "conv"), f"{self.op} weights have 8 bits")
        made = self.synapses.out_shape
        if self.largest is not msgspec.UNSET:
            check(self.op != "linear", "a linear projection makes no map of currents")
            check(self.largest.in_shape == made, f"a maximum takes {self.largest.in_shape}, but {made} arrive")

    @cached_property
    def synapses(self) -> Linear | Conv:
        """The weights as a layer, without its neurons; a linear one's are in one row."""
        shape = self.pools[-1].out_shape if self.pools else self.in_shape
        axes = {"linear": 2, "identity": 1}.get(self.op, 4)
        check(self.weight.ndim == axes, f"{self.op} weights have {axes} axes, not {self.weight.ndim}")
        channels = self.weight.shape[0]
        check(channels >= 1, "a projection has weights")
        bare: dict[str, Any] = {
            "in_shape": shape,
            "bias": np.zeros(channels, np.int32),
            "threshold": np.ones(channels, np.int32),
            "scale": np.ones(channels),
            "neuron": _NO_NEURON,
            "bound": Bound(0, 0),
            "bits": self.bits,
        }
        if self.op == "linear":
            return Linear(out_shape=(1, 1, channels), weight=self.weight, **bare)
        if self.op == "identity":
            weight = np.ascontiguousarray(self.weight).reshape(-1, 1, 1, 1)
            return Depthwise(out_shape=(*shape[:2], channels), weight=weight, **bare)
        kernel = self.weight.shape[2], self.weight.shape[3]
        check(min(kernel) >= 1 and min(self.stride) >= 1, f"kernel {kernel} or stride {self.stride} is out of range")
        out = (*window_out(shape, kernel, self.stride, self.padding), channels)
        kind = Conv if self.op == "conv" else Depthwise
        return kind(out_shape=out, weight=self.weight, stride=self.stride, padding=self.padding, **bare)

    @property
    def out_shape(self) -> Shape:
        """Of the currents that arrive; a linear projection's are in one row, and take the population's shape."""
        return self.synapses.out_shape if self.largest is msgspec.UNSET else self.largest.out_shape

    @property
    def multiplicity(self) -> int:
        """Spikes that one input of the weights can bring in a timestep, of one at a place of the source."""
        count = 1
        for pool in self.pools:
            count *= pool.kernel[0] * pool.kernel[1] if isinstance(pool, AvgPool) else 1
        return count


class Population(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Neurons of one kind, and what comes in.

    name       for people
    bias       int32, one for each channel [channels] or neuron [neurons]
    threshold  likewise, at least 1; unset where none spikes
    scale      float64 [channels], the real value of one unit of all states, weights and thresholds; of alpha neurons,
               whose membranes and thresholds are divided by a gain, that of currents, weights and drops
    bound      proven range of the membranes; `current_bound`: of the currents, where neurons have one (cuba)
    """

    name: str
    shape: Shape
    projections: tuple[Projection, ...]
    neuron: Cell
    bias: np.ndarray
    scale: np.ndarray
    bound: Bound
    threshold: np.ndarray | msgspec.UnsetType = msgspec.UNSET
    current_bound: Bound | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        check_shapes(self.shape)
        check(1 <= len(self.name) <= 64, f"the name {self.name[:64]!r} does not have 1 to 64 characters")
        self._check_values("bias", self.bias)
        check_array("scale", self.scale, np.float64, (self.channels,))
        check(bool(np.isfinite(self.scale).all() and (self.scale > 0).all()), "scale must be positive and finite")
        spikes = self.threshold is not msgspec.UNSET
        check(spikes == self.neuron.spikes, "a threshold belongs to neurons that spike")
        if isinstance(self.threshold, np.ndarray):
            self._check_values("threshold", self.threshold)
            check(bool((self.threshold >= 1).all()), "threshold must be at least 1")
        cuba = self.neuron.current_leak is not msgspec.UNSET
        check(cuba == (self.current_bound is not msgspec.UNSET), "a current's bound belongs to neurons that have one")
        leaks = [("leak", self.neuron.leak)]
        if isinstance(self.neuron.current_leak, Leak):
            leaks.append(("current_leak", self.neuron.current_leak))
        if isinstance(self.neuron.alpha, Alpha):
            leaks.append(("share", self.neuron.alpha.share))
            self._check_values("drop", self.neuron.alpha.drop)
        for what, leak in leaks:
            fits = leak.value.size in (1, self.channels, self.neurons)
            check(fits, f"{what} has {leak.value.size} values for {self.channels} channels, {self.neurons} neurons")
        for bound in self.bounds:
            check(bound.width in (16, 32), f"states in {bound.low}..{bound.high} do not fit in 32 bits")
        for number, projection in enumerate(self.projections):
            same = projection.out_shape == self.shape
            if projection.op == "linear":
                same = size(projection.out_shape) == self.neurons
            check(same, f"projection {number} brings {projection.out_shape} to {self.shape}")

    def _check_values(self, what: str, array: np.ndarray) -> None:
        check_array(what, array, np.int32, array.shape[:1])
        check(
            array.size in (self.channels, self.neurons), f"{what} has {array.size} values for {self.channels} channels"
        )

    @property
    def channels(self) -> int:
        return self.shape[2]

    @property
    def neurons(self) -> int:
        return size(self.shape)

    @property
    def positions(self) -> int:
        return self.shape[0] * self.shape[1]

    @property
    def width(self) -> int:
        """Bits of a membrane: 16 or 32."""
        return self.bound.width

    @property
    def current_width(self) -> int:
        """Bits of a synaptic current: 16 or 32, 0 where there is none."""
        return self.current_bound.width if isinstance(self.current_bound, Bound) else 0

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """Of each state: the membrane, then the current where there is one."""
        return (self.bound, self.current_bound) if isinstance(self.current_bound, Bound) else (self.bound,)


class Decoder(msgspec.Struct, frozen=True):
    """What becomes of the last population: `total`, int32 for each of its neurons, the classes, in channel-last order.

    current    the sum over the timesteps of a linear readout's currents: the membrane of li without a leak at the end
    count      total = leak(total) + s
    membrane   final: v after the last timestep; highest: the largest v; mean: total = leak(total) + v, the sum
    first      timesteps of the model less those before the first spike; 0 where there is none: the earlier, the more

    `v` as `Cell` leaves it; totals are 0 at first. Sums may have a `leak` and a `clamp`, as a membrane has, or a
    `window`: the total is the sum over the last `window` timesteps. A stream without end needs one of the three.
    `bound`: the proven range. Of equal logits the lowest class wins.
    """

    kind: Literal["current", "count", "membrane", "first"] = "current"
    take: Literal["final", "highest", "mean"] = "final"
    leak: Decay = Decay()
    clamp: tuple[int, int] | None = None
    bound: Bound = Bound(0, 0)
    window: int | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        check_window_of(self.window, self.sums and self.leak.kind == "none" and self.clamp is None)
        check(self.take == "final" or self.kind == "membrane", f"a decoder {self.kind} takes no {self.take}")
        check(
            self.sums or (self.leak.kind == "none" and self.clamp is None),
            f"a decoder {self.kind} {self.take} makes no sum, and has neither leak nor clamp",
        )
        if self.clamp is not None:
            check(
                INT32[0] <= self.clamp[0] <= 0 <= self.clamp[1] <= INT32[1],
                f"clamp {self.clamp} must enclose 0 and fit in 32 bits",
            )
        check(self.bound.width in (16, 32), f"totals in {self.bound.low}..{self.bound.high} do not fit in 32 bits")

    @property
    def sums(self) -> bool:
        """Does it add something up over the timesteps?"""
        return self.kind == "count" or (self.kind == "membrane" and self.take == "mean")

    @property
    def sees_membranes(self) -> bool:
        return self.kind in ("current", "membrane")


class Graph(msgspec.Struct, frozen=True, eq=False, dict=True):
    """Populations in the order in which they run, the decoded one last. What arrives without delay comes from the input
    or an earlier population."""

    populations: tuple[Population, ...]
    decoder: Decoder

    def __post_init__(self) -> None:
        count = len(self.populations)
        check(1 <= count <= MAX_POPULATIONS, f"{count} populations are not in 1..{MAX_POPULATIONS}")
        for number, population in enumerate(self.populations):
            for projection in population.projections:
                where = f"population {number}, from {projection.source}"
                check(INPUT <= projection.source < count, f"{where}: there is no such population")
                if projection.source == INPUT:
                    continue
                source = self.populations[projection.source]
                check(projection.delay >= 1 or projection.source < number, f"{where}: a cycle needs a delay")
                check(source.neuron.spikes, f"{where}: that population never spikes")
                check(
                    size(projection.in_shape) == source.neurons,
                    f"{where}: {projection.in_shape} does not hold its {source.neurons} neurons",
                )
        last = self.populations[-1].neuron
        check(
            last.spikes or self.decoder.sees_membranes,
            f"a decoder {self.decoder.kind} needs neurons that spike in the last population",
        )
        plain = not last.spikes and last.leak.kind == "none" and last.current_leak is msgspec.UNSET
        check(
            self.decoder.kind != "current" or plain,
            "a decoder current needs a last population of li neurons without leak",
        )

    @property
    def classes(self) -> int:
        return self.populations[-1].neurons


def grid(values: np.ndarray, channels: int) -> np.ndarray:
    """Values of a population's channels or neurons, int64 [1, channels] or [positions, channels]; one number [1, 1]."""
    wide = values.astype(np.int64)
    return wide.reshape(1, 1) if wide.size == 1 else wide.reshape(-1, channels)
