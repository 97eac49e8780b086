"""The float graph: a spiking network in floating point, as populations of neurons and projections between them.

In: weights and neuron parameters, as a reader of someone's framework finds them. Out: spikes, membranes and logits of a
simulation in torch, timestep by timestep; `quantize.graph` makes integers of the same graph.

Shapes are (height, width, channels), channel last, 1-D data having height 1; flattening is in that order
(`channel_last` reorders torch's). Every type checks itself on construction and raises `ValueError`.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..ir.checks import check
from ..ir.encoder import Shape
from ..ir.layers import Pair, check_shapes, check_window, size, window_out

Op = Literal["linear", "conv", "depthwise", "identity"]
Reset = Literal["subtract", "doubled", "zero", "refractory", "none"]
INPUT = ""  # the name of the input, as a source


@dataclass(frozen=True)
class FloatPool:
    """A pooling, channel by channel: `average` divides by the kernel's area, padding counted as 0; `maximum` looks at
    what lies within the map."""

    kind: Literal["average", "maximum"]
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def out(self, shape: Shape) -> Shape:
        """The shape of the pooled map. Raises `ValueError` where the window does not fit."""
        pooled: Shape = (*window_out(shape, self.kernel, self.stride, self.padding), shape[2])
        check_window(shape, pooled, self.kernel, self.stride, self.padding)
        return pooled

    def apply(self, x: Tensor) -> Tensor:
        """Of a map [N, height, width, channels]."""
        chw = x.permute(0, 3, 1, 2)
        if self.kind == "average":
            pooled = functional.avg_pool2d(chw, self.kernel, self.stride, self.padding)
        else:  # torch takes no padding of more than half a kernel
            (top, left), lowest = self.padding, float("-inf")
            chw = functional.pad(chw, (left, left, top, top), value=lowest)
            pooled = functional.max_pool2d(chw, self.kernel, self.stride)
        return pooled.permute(0, 2, 3, 1)


@dataclass(frozen=True, eq=False)
class FloatProjection:
    """Weighted connections from a population, or the input, to the population that lists it.

    source   the name of a population, or `INPUT`
    op       linear: weight [out, in]; conv (cross-correlation, zero padding): [out, in, height, width];
             depthwise (each channel by itself): [channels, 1, height, width]; identity: [channels], each neuron
             takes the spike of the one in its own place, weighted by channel. float64
    stride, padding   of conv and depthwise
    pools    poolings of the source's spikes (or values), in order, in front of the weights
    current_pool      a pooling of the currents that the weights make, before the neurons: conv, pool, neurons
    delay    timesteps between a spike and its arrival; at least 1 where the source is not an earlier population
    bits     of an integer weight: 8 or 4
    """

    source: str
    op: Op
    weight: np.ndarray
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    pools: tuple[FloatPool, ...] = ()
    current_pool: FloatPool | None = None
    delay: int = 0
    bits: Literal[8, 4] = 8

    def __post_init__(self) -> None:
        axes = {"linear": 2, "conv": 4, "depthwise": 4, "identity": 1}[self.op]
        check(self.weight.ndim == axes, f"the weight of a projection {self.op} has {axes} axes, not {self.weight.ndim}")
        check(bool(np.isfinite(self.weight).all()), f"the weights from {self.source or 'the input'} are not all finite")
        check(self.delay >= 0, f"a delay of {self.delay} timesteps is negative")

    def pooled_shape(self, source: Shape) -> Shape:
        """The map that the weights see, of a source's shape."""
        for pool in self.pools:
            source = pool.out(source)
        return source

    def current_shape(self, source: Shape) -> Shape:
        """The map of currents before `current_pool`. Raises `ValueError` where weights and shapes do not fit."""
        shape = self.pooled_shape(source)
        if self.op == "linear":
            check(
                self.weight.shape[1] == size(shape),
                f"a linear weight takes {self.weight.shape[1]} inputs, not {size(shape)}",
            )
            return 1, 1, self.weight.shape[0]
        depth = self.weight.shape[1] if self.op == "conv" else len(self.weight)
        check(depth == shape[2], f"a {self.op} weight takes {depth} channels, not {shape[2]}")
        if self.op == "identity":
            return shape
        check(self.op == "conv" or self.weight.shape[1] == 1, "a depthwise weight sees one channel")
        kernel = self.weight.shape[2], self.weight.shape[3]
        out: Shape = (*window_out(shape, kernel, self.stride, self.padding), len(self.weight))
        check_window(shape, out, kernel, self.stride, self.padding)
        return out

    def current(self, x: Tensor) -> Tensor:
        """The current [N, height, width, channels] of spikes or values of the source, of the same form."""
        for pool in self.pools:
            x = pool.apply(x)
        weight = torch.from_numpy(self.weight).to(x.dtype)
        if self.op == "linear":
            total = (x.flatten(1) @ weight.T)[:, None, None, :]
        elif self.op == "identity":
            total = x * weight
        else:
            groups = len(weight) if self.op == "depthwise" else 1
            total = functional.conv2d(
                x.permute(0, 3, 1, 2), weight, stride=self.stride, padding=self.padding, groups=groups
            ).permute(0, 2, 3, 1)
        return total if self.current_pool is None else self.current_pool.apply(total)


@dataclass(frozen=True, eq=False)
class FloatPopulation:
    """Neurons of one kind. At every timestep, for the current J = bias + what the projections bring:

        i = alpha * i + J;  J = i                                         (where `alpha` is given: CUBA)
        v = beta * v + J                                                  (reset `none`, or at once)
        v = beta * v + J - s_prev * threshold                             (reset `subtract`, `reset_delay`)
        v = beta * (0 where s_prev else v) + J                            (reset `zero`, `reset_delay`)
        v = 0 where s_prev else beta * v + J                              (reset `refractory`, `reset_delay`)
        s = v > threshold                                                 (where `threshold` is given)
        s = v > (2 * threshold where v_prev > threshold else threshold)   (reset `doubled`, at once)
        v = v - s * threshold  |  v = 0 where s                           (at once: `subtract`, `doubled` | `zero`)

    An alpha neuron (where there is a `gain`, which is positive) has a counter-current h that leaks by `beta`:

        v = gain * (alpha * i - beta * h) - h * s_prev                    (of i, h before; the last term: `subtract`)
        i = alpha * i + J - s_prev * threshold;  h = 0 where s_prev else beta * h + J                  (`subtract`)
        i = alpha * i + J;  h = beta * h + J                              (`none`)
        v, i, h = 0 where s_prev, as otherwise for `none`                 (`refractory`)

    States start at 0. `beta` 1 is an IF neuron; without a threshold it is LI and never spikes. `bias`, `beta`, `alpha`,
    `gain` and `threshold` are float64: one number [], one for each channel [channels], or for each neuron `shape`.
    A framework whose membrane takes the current of the timestep before (Norse) has delays longer by one.
    """

    name: str
    shape: Shape
    projections: tuple[FloatProjection, ...]
    beta: np.ndarray
    threshold: np.ndarray | None
    bias: np.ndarray = field(default_factory=lambda: np.zeros(()))
    alpha: np.ndarray | None = None
    reset: Reset = "subtract"
    reset_delay: bool = False
    gain: np.ndarray | None = None

    def __post_init__(self) -> None:
        check(self.name != INPUT, "a population has a name")
        check_shapes(self.shape)
        for what in ("bias", "beta", "alpha", "threshold", "gain"):
            array = getattr(self, what)
            if array is not None:
                check(
                    array.shape in ((), self.shape[2:], self.shape),
                    f"{self.name}: {what} has shape {array.shape}; give one number, {self.shape[2]} or {self.shape}",
                )
                check(bool(np.isfinite(array).all()), f"{self.name}: {what} is not finite")
        for what in ("beta", "alpha"):
            array = getattr(self, what)
            check(array is None or bool((array >= 0).all() and (array <= 1).all()), f"{self.name}: {what} is not 0..1")
        check(self.threshold is None or bool((self.threshold > 0).all()), f"{self.name}: a threshold must be positive")
        check(self.threshold is not None or self.reset == "none", f"{self.name} never spikes, so it has no reset")
        check(not self.reset_delay or self.reset != "none", f"{self.name}: no reset cannot be late")
        check(self.reset_delay or self.reset != "refractory", f"{self.name}: a reset refractory is late")
        check(not self.reset_delay or self.reset != "doubled", f"{self.name}: a reset doubled is at once")
        if self.gain is not None:
            check(bool((self.gain > 0).all()), f"{self.name}: a gain must be positive")
            check(self.alpha is not None, f"{self.name}: an alpha neuron's current has a leak alpha")
            late = self.reset == "none" or (self.reset_delay and self.reset != "zero")
            check(late, f"{self.name}: an alpha neuron resets late, by subtraction or refractory")


@dataclass(frozen=True)
class FloatDecoder:
    """What becomes of the last population; logits [N, classes], a class being a neuron of it.

    current   mean over the timesteps of a linear readout's current: the last population is LI with beta 1
    count     number of spikes
    membrane  after reset: of the last timestep (`final`), the highest, or the mean over the timesteps
    first     timesteps of the inference less those before the first spike, 0 where there is none: earlier is more

    `leak`: count and the mean membrane are leaking sums, y = leak * y + what a timestep adds, for streams without end
    (the mean is then that sum over the number of timesteps).
    """

    kind: Literal["current", "count", "membrane", "first"] = "current"
    take: Literal["final", "highest", "mean"] = "final"
    leak: float = 1.0

    def __post_init__(self) -> None:
        check(0 <= self.leak <= 1, f"a leak of {self.leak} is not in 0..1")
        sums = self.kind == "count" or (self.kind == "membrane" and self.take == "mean")
        check(self.leak == 1 or sums, f"a decoder {self.kind} {self.take} does not leak")


@dataclass(frozen=True)
class FloatTrace:
    """What a simulation of T timesteps made of N samples. logits [N, classes]; spikes (0/1) and membranes, after reset,
    by population: [T, N, height, width, channels]."""

    logits: Tensor
    spikes: dict[str, Tensor]
    membranes: dict[str, Tensor]


@dataclass(frozen=True, eq=False)
class FloatGraph:
    """A network: populations in an order in which what arrives without delay comes from earlier ones (`ordered`), the
    decoded one last.

    `offset`, float64 [] or [channels], is taken off the input first, so that what a convolution pads with is 0 of what
    is left.
    """

    input_shape: Shape
    populations: tuple[FloatPopulation, ...]
    decoder: FloatDecoder = FloatDecoder()
    offset: np.ndarray = field(default_factory=lambda: np.zeros(()))

    def __post_init__(self) -> None:
        check_shapes(self.input_shape)
        names = [population.name for population in self.populations]
        check(len(names) >= 1, "a network has at least one population")
        check(len(set(names)) == len(names), f"two populations have the same name: {', '.join(names)}")
        shapes = self.shapes
        for number, population in enumerate(self.populations):
            for projection in population.projections:
                where = f"{population.name}, from {projection.source or 'the input'}"
                check(projection.source in shapes, f"{where}: there is no such population")
                early = {INPUT, *names[:number]}
                check(projection.delay >= 1 or projection.source in early, f"{where}: a cycle needs a delay")
                try:
                    made = projection.current_shape(shapes[projection.source])
                    made = made if projection.current_pool is None else projection.current_pool.out(made)
                except ValueError as error:
                    raise ValueError(f"{where}: {error}") from None
                same = made == population.shape or (projection.op == "linear" and made[2] == size(population.shape))
                check(same, f"{where}: {made} arrive at {population.shape}")
        last = self.populations[-1]
        spikes = self.decoder.kind in ("count", "first")
        check(not spikes or last.threshold is not None, f"{last.name} never spikes: decode its membrane")
        plain = last.threshold is None and last.alpha is None and bool((last.beta == 1).all())
        check(self.decoder.kind != "current" or plain, f"{last.name} leaks or spikes, and is no linear readout")

    @property
    def shapes(self) -> dict[str, Shape]:
        """By name of the source."""
        return {INPUT: self.input_shape} | {p.name: p.shape for p in self.populations}

    @property
    def classes(self) -> int:
        return size(self.populations[-1].shape)

    def simulate(self, x: Tensor, timesteps: int | None = None) -> FloatTrace:
        """Run on x [T, N, height, width, channels], spikes or values; or, with `timesteps`, on the same values
        [N, height, width, channels] at every timestep. In x's own type: float64 for a witness."""
        x = x - torch.from_numpy(self.offset).to(x.dtype)
        inputs = x if timesteps is None else x.expand(timesteps, *x.shape)
        steps, count = len(inputs), len(inputs[0])
        neurons = [_Neurons(population, count, x.dtype) for population in self.populations]
        spikes: dict[str, list[Tensor]] = {population.name: [] for population in self.populations}
        membranes: dict[str, list[Tensor]] = {population.name: [] for population in self.populations}
        last = self.populations[-1].name
        output = _Output(self.decoder, steps)
        for t in range(steps):
            for population, cells in zip(self.populations, neurons, strict=True):
                current = cells.bias.expand(count, *population.shape)
                for projection in population.projections:
                    if t >= projection.delay:
                        source = inputs if projection.source == INPUT else spikes[projection.source]
                        arriving = projection.current(source[t - projection.delay])
                        current = current + arriving.reshape(current.shape)
                cells.step(current)
                spikes[population.name].append(cells.spikes)
                membranes[population.name].append(cells.membrane)
            output.add(spikes[last][t].flatten(1), membranes[last][t].flatten(1), t)
        return FloatTrace(
            output.logits(),
            {name: torch.stack(made) for name, made in spikes.items()},
            {name: torch.stack(made) for name, made in membranes.items()},
        )


class _Neurons:
    """The states of a population over a batch; `FloatPopulation` has the equations."""

    def __init__(self, population: FloatPopulation, count: int, dtype: torch.dtype) -> None:
        def values(array: np.ndarray) -> Tensor:
            return torch.from_numpy(np.array(array, np.float64)).to(dtype)

        self.population = population
        self.bias, self.beta = values(population.bias), values(population.beta)
        self.alpha = None if population.alpha is None else values(population.alpha)
        self.threshold = None if population.threshold is None else values(population.threshold)
        self.gain = None if population.gain is None else values(population.gain)
        self.membrane = torch.zeros((count, *population.shape), dtype=dtype)
        self.current = torch.zeros_like(self.membrane)
        self.counter = torch.zeros_like(self.membrane)
        self.spikes = torch.zeros_like(self.membrane)

    def step(self, current: Tensor) -> None:
        reset, late, v = self.population.reset, self.population.reset_delay, self.membrane
        if self.gain is not None:
            return self._step_alpha(self.gain, current)
        if self.alpha is not None:
            current = self.current = self.alpha * self.current + current
        if late and reset == "zero":
            v = v * (1 - self.spikes)
        v = self.beta * v + current
        if reset == "refractory":
            v = v * (1 - self.spikes)
        if self.threshold is not None:
            if late and reset == "subtract":
                v = v - self.spikes * self.threshold
            level = self.threshold
            if reset == "doubled":
                level = level * (1 + (self.membrane > level).to(v.dtype))
            self.spikes = (v > level).to(v.dtype)
            if reset == "doubled" or (not late and reset == "subtract"):
                v = v - self.spikes * self.threshold
            if not late and reset == "zero":
                v = v * (1 - self.spikes)
        self.membrane = v

    def _step_alpha(self, gain: Tensor, current: Tensor) -> None:
        assert self.alpha is not None
        kept, faded, counter = 1 - self.spikes, self.alpha * self.current, self.beta * self.counter
        v = gain * (faded - counter)
        i, h = faded + current, counter + current
        if self.population.reset == "subtract" and self.threshold is not None:
            v = v - self.spikes * self.counter
            i, h = i - self.spikes * self.threshold, h * kept
        if self.population.reset == "refractory":
            v, i, h = v * kept, i * kept, h * kept
        self.membrane, self.current, self.counter = v, i, h
        if self.threshold is not None:
            self.spikes = (v > self.threshold).to(v.dtype)


class _Output:
    """A decoder at work, on spikes and membranes [N, classes] of one timestep after the other."""

    def __init__(self, decoder: FloatDecoder, timesteps: int) -> None:
        self.decoder, self.timesteps = decoder, timesteps
        self.total: Tensor | None = None

    def add(self, spikes: Tensor, membrane: Tensor, t: int) -> None:
        kind, take = self.decoder.kind, self.decoder.take
        if kind == "first":
            made = spikes * (self.timesteps - t)
            self.total = made if self.total is None else torch.maximum(self.total, made)
        elif kind == "count" or (kind == "membrane" and take == "mean"):
            made = spikes if kind == "count" else membrane
            self.total = made if self.total is None else self.decoder.leak * self.total + made
        elif kind == "membrane" and take == "highest" and self.total is not None:
            self.total = torch.maximum(self.total, membrane)
        else:
            self.total = membrane

    def logits(self) -> Tensor:
        assert self.total is not None
        mean = self.decoder.kind == "current" or (self.decoder.kind == "membrane" and self.decoder.take == "mean")
        return self.total / self.timesteps if mean else self.total


def channel_last(weight: np.ndarray, shape: Shape) -> np.ndarray:
    """The columns of a linear weight [out, channels * height * width] from torch's order, channel first, to this one's
    for a source of (height, width, channels)."""
    height, width, channels = shape
    maps = weight.reshape(len(weight), channels, height, width)
    flat: np.ndarray = maps.transpose(0, 2, 3, 1).reshape(len(weight), -1)
    return flat


def dense_kernel(weight: np.ndarray, groups: int = 1, dilation: Pair = (1, 1)) -> np.ndarray:
    """A convolution's weight [out, in / groups, height, width] as one [out, in, height', width'] without groups and
    dilation."""
    out, depth, height, width = weight.shape
    full = np.zeros((out, depth * groups, (height - 1) * dilation[0] + 1, (width - 1) * dilation[1] + 1), weight.dtype)
    each = out // groups
    for group in range(groups):
        rows, columns = slice(group * each, (group + 1) * each), slice(group * depth, (group + 1) * depth)
        full[rows, columns, :: dilation[0], :: dilation[1]] = weight[rows]
    return full


def unused_name(wanted: str, taken: Container[str]) -> str:
    """A name for a population beside others: `wanted`, or so many underscores behind it as it takes."""
    while wanted in taken:
        wanted += "_"
    return wanted


def ordered(populations: Iterable[FloatPopulation], last: str) -> tuple[FloatPopulation, ...]:
    """The populations with sources of no delay first, the one named `last` last where that is possible.

    Raises `ValueError` where populations wait for each other: a cycle without delay.
    """
    waiting = {population.name: population for population in populations}
    done: list[FloatPopulation] = []
    while waiting:
        ready = [p for p in waiting.values() if not any(q.delay == 0 and q.source in waiting for q in p.projections)]
        check(bool(ready), f"a cycle without delay runs through {', '.join(sorted(waiting))}")
        chosen = next((p for p in ready if p.name != last), ready[0])
        done.append(waiting.pop(chosen.name))
    return tuple(done)
