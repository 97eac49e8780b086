"""A student in ONNX: one timestep of its populations, as integer operators, and the loop over time.

In: a graph of populations (of a chain: `ir.chain.as_graph`), and names of tensors. Out: nodes, and names of what they
make. Inside, tensors are [N, channels], or [N, channels, height, width] where a map has more than one place. Weights
and values are uint8 with a zero point of 128: of int8 ones, some runtimes add pairs of products in saturating int16.

Every sum on the way lies within the population's proven bound, so nothing wraps.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.graph import INPUT, Graph, Leak, Population, Projection
from ..ir.graph_proof import analog, projection_range
from ..ir.layers import MaxPool, Pair
from ..ir.neuron import INT32
from .onnx_nodes import Nodes

ZERO = 128  # the zero point of weights and values


@dataclass(frozen=True)
class Map:
    """Integers of a map: uint8, or int32 where `most` is more; `zero` stands for 0."""

    name: str
    shape: Shape
    most: int = 1
    zero: int = 0

    @property
    def positions(self) -> int:
        return self.shape[0] * self.shape[1]


@dataclass(frozen=True)
class State:
    """What a timestep leaves to the next one: a tensor [N, *dims] that starts as `start` everywhere.

    membrane  int32: after leak and late reset; the device's has the bias, and a constant current, added already
    current   int32: likewise, where neurons have one (cuba)
    spikes    uint8, of the last timesteps, the newest first, where a projection has a delay
    total     int32, of the decoder
    """

    name: str
    dtype: Any
    dims: tuple[int, ...]
    start: int = 0


@dataclass
class Timestep:
    """What a timestep made: names by state, spike counts int64 [N, 1] of each population that fires, operations int64
    [N, 1] by projection, and the decoder's totals int32 [N, classes]."""

    states: dict[str, str] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    total: str = ""


def dims_of(shape: Shape) -> tuple[int, ...]:
    """The axes of a map behind the samples."""
    height, width, channels = shape
    return (channels,) if height * width == 1 else (channels, height, width)


def first(values: np.ndarray, shape: Shape) -> np.ndarray:
    """One value, or one for each channel or neuron of a map, as they meet its tensor."""
    height, width, channels = shape
    if height * width == 1 or values.size == 1:
        return values.reshape(-1)
    if values.size == channels:
        return values.reshape(-1, 1, 1)
    by_place: np.ndarray = values.reshape(height, width, channels).transpose(2, 0, 1)
    return by_place


class Student:
    """Writes one student; `where` goes before every name. With `counted`, operations are counted as well."""

    def __init__(self, graph: Graph, encoder: Encoder, where: str, counted: bool = False) -> None:
        self.graph, self.encoder, self.where, self.counted = graph, encoder, where, counted
        self.depth = [0] * (1 + len(graph.populations))  # timesteps for which spikes are wanted, the input's first
        for population in graph.populations:
            for projection in population.projections:
                self.depth[projection.source + 1] = max(self.depth[projection.source + 1], projection.delay)

    @property
    def states(self) -> list[State]:
        found = []
        for n, population in enumerate(self.graph.populations):
            dims = dims_of(population.shape)
            found.append(State(self._name(n, "membrane"), np.int32, dims))
            if population.current_width:
                found.append(State(self._name(n, "current"), np.int32, dims))
        for source, depth in enumerate(self.depth, start=INPUT):
            if depth:
                shape = self.encoder.shape if source == INPUT else self.graph.populations[source].shape
                found.append(State(self._name(source, "spikes"), np.uint8, (depth, *dims_of(shape))))
        decoder = self.graph.decoder
        lowest = INT32[0] if decoder.kind == "membrane" and decoder.take == "highest" else 0
        return [*found, State(self._name(None, "total"), np.int32, (self.graph.classes,), lowest)]

    @property
    def remembers_total(self) -> bool:
        """Does a timestep's total depend on the one before?"""
        decoder = self.graph.decoder
        return decoder.sums or decoder.kind == "first" or decoder.take == "highest"

    def constants(self, g: Nodes, values: Map | None, made: Timestep) -> list[str | None]:
        """By population, what arrives at every timestep: the bias, and the current of a direct input's `values`."""
        found: list[str | None] = []
        for n, population in enumerate(self.graph.populations):
            total = None
            if population.bias.any():
                total = g.constant(self._name(n, "bias"), first(population.bias, population.shape), np.int32)
            for number, q in enumerate(population.projections):
                if values is not None and analog(q, self.encoder):
                    where = self._name(n, f"input {number}")
                    total = self._arrive(g, total, q, population, values, where, made)
            found.append(total)
        return found

    def step(
        self, g: Nodes, came: Map | None, constants: list[str | None], states: dict[str, str], remaining: str
    ) -> Timestep:
        """One timestep of the input's spikes or values `came`; none where they are constants. `remaining`: timesteps
        of the model less those before this one, int32 [], for a decoder of first spikes."""
        made, spikes = Timestep(), dict[int, Map]()
        settled = ""
        if came is not None:
            spikes[INPUT] = came
        for n, population in enumerate(self.graph.populations):
            total = constants[n]
            held = states[self._name(n, "current" if population.current_width else "membrane")]
            total = held if total is None else g("Add", held, total, name=self._name(n, "charged"))
            for number, q in enumerate(population.projections):
                if analog(q, self.encoder) and self.encoder.kind == "direct":
                    continue
                where = self._name(n, f"from {'input' if q.source == INPUT else q.source} ({number})")
                x = spikes[q.source] if q.delay == 0 else self._earlier(g, q, states, where)
                total = self._arrive(g, total, q, population, x, where, made)
            assert total is not None
            if isinstance(population.neuron.current_leak, Leak):
                name = self._name(n, "current")
                made.states[name] = self._faded(g, population.neuron.current_leak, total, n)
                total = g("Add", states[self._name(n, "membrane")], total, name=self._name(n, "driven"))
            fired, settled = self._fire(g, n, population, total, made)
            if fired is not None:
                spikes[n] = fired
        self._remember(g, spikes, states, made)
        made.total = self._decode(g, spikes.get(len(self.graph.populations) - 1), settled, states, remaining)
        made.states[self._name(None, "total")] = made.total
        return made

    def shown(self, g: Nodes, states: dict[str, str], constants: list[str | None]) -> dict[str, str]:
        """The states of neurons as the device keeps them, by their names."""
        found = {}
        for n, population in enumerate(self.graph.populations):
            cuba, constant = bool(population.current_width), constants[n]
            for kind in ("membrane", "current")[: 1 + cuba]:
                name, plain = self._name(n, kind), (kind == "membrane") == cuba
                found[name] = states[name]
                if constant is not None and not plain:
                    found[name] = g("Add", states[name], constant, name=f"{name} with bias")
        return found

    def _name(self, n: int | None, what: str) -> str:
        place = "" if n is None else "input/" if n == INPUT else f"{n}/"
        return f"{self.where}{place}{what}"

    def _earlier(self, g: Nodes, q: Projection, states: dict[str, str], where: str) -> Map:
        """The spikes of a delay before this timestep."""
        shape = self.encoder.shape if q.source == INPUT else self.graph.populations[q.source].shape
        back = g.number(q.delay - 1, np.int64)
        return Map(g("Gather", states[self._name(q.source, "spikes")], back, axis=1, name=f"{where}/delayed"), shape)

    def _remember(self, g: Nodes, spikes: dict[int, Map], states: dict[str, str], made: Timestep) -> None:
        for source, depth in enumerate(self.depth, start=INPUT):
            if depth:
                name = self._name(source, "spikes")
                newest = g("Unsqueeze", spikes[source].name, g.vector(1), name=f"{name}/newest")
                kept = [newest]
                if depth > 1:
                    ends = (g.vector(0), g.vector(depth - 1), g.vector(1))
                    kept.append(g("Slice", states[name], *ends, name=f"{name}/kept"))
                made.states[name] = g("Concat", *kept, axis=1, name=f"{name}/next") if depth > 1 else newest

    def _current(self, g: Nodes, q: Projection, population: Population, x: Map, where: str, made: Timestep) -> str:
        """What a projection brings: int32, or int64 where its sums alone do not fit."""
        if q.pools or q.op != "linear":
            x = self._regrouped(g, x, q.in_shape, where)
        for number, pool in enumerate(q.pools):
            to, window = f"{where}/pool {number}", _window(pool.kernel, pool.stride, pool.padding)
            if isinstance(pool, MaxPool):
                pooled = g("MaxPool", self._places(g, x, to), name=f"{to}/maximum", **window)
                x = self._plain(g, pooled, pool.out_shape, to, x.most)
            else:
                most = x.most * min(pool.kernel[0], x.shape[0]) * min(pool.kernel[1], x.shape[1])
                if most > INT32[1]:
                    raise SneError(f"an average counts up to {most:,} spikes, over 32 bits", "export it as C")
                ones = g.constant(f"ones {x.shape[2]}x{pool.kernel}", np.ones((x.shape[2], 1, *pool.kernel)), np.uint8)
                total = self._convolved(g, x, ones, 0, window | {"group": x.shape[2]}, to, wide=False)
                x = self._narrow(g, self._plain(g, total, pool.out_shape, to, most), to)
        if self.counted:
            made.operations.append(self._operations(g, q, x, where))
        wide = self._wide(q, population)
        if q.op == "linear":
            return self._linear(g, q, population, x, where, wide)
        layer, shape = q.synapses, q.synapses.out_shape
        if q.op == "identity":
            kind = np.int64 if wide else np.int32
            weight = g.constant(f"{where}/weight", first(q.weight, shape), kind)
            total = g("Mul", g.cast(x.name, kind, f"{where}/spikes"), weight, name=f"{where}/current")
            return self._largest(g, q.largest, total, where) if isinstance(q.largest, MaxPool) else total
        shifted = g.constant(f"{where}/weight", q.weight.astype(np.int16) + ZERO, np.uint8)
        window = _window((q.weight.shape[2], q.weight.shape[3]), q.stride, q.padding)
        window |= {"group": layer.channels if q.op == "depthwise" else 1}
        total = self._convolved(g, x, shifted, ZERO, window, where, wide)
        if isinstance(q.largest, MaxPool):
            return self._largest(g, q.largest, total, where)
        return self._plain(g, total, shape, where, 0).name

    def _linear(self, g: Nodes, q: Projection, population: Population, x: Map, where: str, wide: bool) -> str:
        (height, width, channels), (rows, columns, many) = x.shape, population.shape
        weight = q.weight.reshape(len(q.weight), height, width, channels).transpose(0, 3, 1, 2)
        weight = weight.reshape(rows, columns, many, -1).transpose(2, 0, 1, 3).reshape(len(q.weight), -1)
        shifted = g.constant(f"{where}/weight", weight.T.astype(np.int16) + ZERO, np.uint8)
        flat = x.name if x.positions == 1 else g("Flatten", x.name, axis=1, name=f"{where}/flat")
        zero = g.number(x.zero, np.uint8), g.number(ZERO, np.uint8)

        def product(digit: str, to: str) -> str:
            return g("MatMulInteger", digit, shifted, *zero, name=to)

        total = self._by_digits(g, flat, x.most, product, where, wide)
        if population.positions == 1:
            return total
        return g("Reshape", total, g.vector(0, *dims_of(population.shape)), name=f"{where}/map")

    def _convolved(
        self, g: Nodes, x: Map, weight: str, zero: int, window: dict[str, Any], where: str, wide: bool
    ) -> str:
        """A convolution's sums [N, channels, height, width]."""
        zeros = g.number(x.zero, np.uint8), g.number(zero, np.uint8)

        def product(digit: str, to: str) -> str:
            return g("ConvInteger", digit, weight, *zeros, name=to, **window)

        return self._by_digits(g, self._places(g, x, where), x.most, product, where, wide)

    def _by_digits(
        self, g: Nodes, x: str, most: int, product: Callable[[str, str], str], where: str, wide: bool
    ) -> str:
        """Products with numbers up to `most`, of more than 8 bits digit by digit."""
        if most <= 255:
            total = product(x, f"{where}/current")
            return g.cast(total, np.int64, f"{where}/wide") if wide else total
        kind, parts = np.int64 if wide else np.int32, []
        for place in range((most.bit_length() + 7) // 8):
            to, digit = f"{where}/digit {place}", x
            if place:
                digit = g("Div", digit, g.number(256**place, np.int32), name=f"{to}/shifted")
            digit = g("Mod", digit, g.number(256, np.int32), name=f"{to}/value")
            part = product(g.cast(digit, np.uint8, f"{to}/byte"), f"{to}/current")
            part = g.cast(part, np.int64, f"{to}/wide") if wide else part
            parts.append(g("Mul", part, g.number(256**place, kind), name=f"{to}/worth") if place else part)
        total = parts[0]
        for place, part in enumerate(parts[1:]):
            total = g("Add", total, part, name=f"{where}/sum {place}")
        return total

    def _largest(self, g: Nodes, pool: MaxPool, total: str, where: str) -> str:
        """The largest current of each window, of those within the map."""
        (height, width, channels), out = pool.in_shape, pool.out_shape
        lines = []
        for axis, length in enumerate((height, width)):
            start = np.arange(out[axis]) * pool.stride[axis] - pool.padding[axis]
            places = start[:, None] + np.arange(pool.kernel[axis])
            lines.append(np.clip(places, 0, length - 1))  # what lies outside repeats a place of the same window
        windows = lines[0][:, None, :, None] * width + lines[1][None, :, None, :]
        taken = g.constant(f"{where}/windows", windows.reshape(out[0] * out[1], -1), np.int64)
        flat = g("Reshape", total, g.vector(0, channels, height * width), name=f"{where}/places")
        gathered = g("Gather", flat, taken, axis=2, name=f"{where}/windowed")
        highest = g("ReduceMax", gathered, axes=[3], keepdims=0, name=f"{where}/largest")
        return g("Reshape", highest, g.vector(0, *dims_of(out)), name=f"{where}/pooled")

    def _wide(self, q: Projection, p: Population) -> bool:
        """Do a projection's sums alone not fit in 32 bits? With the membrane that they meet they do."""
        low, high = projection_range(q, self.encoder, p.channels)
        return int(low.min()) < INT32[0] or int(high.max()) > INT32[1]

    def _arrive(
        self, g: Nodes, total: str | None, q: Projection, p: Population, x: Map, where: str, made: Timestep
    ) -> str:
        """What is there, and what a projection brings: int32."""
        current = self._current(g, q, p, x, where, made)
        if total is None:
            return current
        if not self._wide(q, p):
            return g("Add", total, current, name=f"{where}/added")
        added = g("Add", g.cast(total, np.int64, f"{where}/there"), current, name=f"{where}/wide sum")
        return g.cast(added, np.int32, f"{where}/added")

    def _operations(self, g: Nodes, q: Projection, x: Map, where: str) -> str:
        """Weights that meet a spike, or a value that is not 0: int64 [N, 1]."""
        met = x.name
        if x.zero:
            met = g("Not", g("Equal", met, g.number(x.zero, np.uint8), name=f"{where}/zero"), name=f"{where}/met")
        met = g.cast(met, np.int64, f"{where}/meetings")
        fan_out = g.constant(f"{where}/fan-out", first(q.synapses.fan_out().reshape(-1), x.shape), np.int64)
        work = g("Mul", met, fan_out, name=f"{where}/work")
        return self._summed(g, work, x.positions, f"{where}/operations")

    def _summed(self, g: Nodes, x: str, positions: int, to: str) -> str:
        flat = x if positions == 1 else g("Flatten", x, axis=1, name=f"{to} by place")
        return g("ReduceSum", flat, g.vector(1), keepdims=1, name=to)

    def _fire(self, g: Nodes, n: int, p: Population, v: str, made: Timestep) -> tuple[Map | None, str]:
        """Spikes and settled membranes of membranes `v`; the next timestep's are among the states."""
        cell, fired, threshold = p.neuron, "", ""
        if isinstance(p.threshold, np.ndarray):
            threshold = g.constant(self._name(n, "threshold"), first(p.threshold, p.shape), np.int32)
            fired = g("Greater", v, threshold, name=self._name(n, "fired"))

        def reset(v: str, to: str) -> str:
            if cell.reset == "zero":
                return g("Where", fired, g.number(0, np.int32), v, name=to)
            lost = g("Mul", g.cast(fired, np.int32, f"{to}/spikes"), threshold, name=f"{to}/lost")
            return g("Sub", v, lost, name=to)

        at_once = cell.reset != "none" and not cell.reset_delay
        if at_once:
            v = reset(v, self._name(n, "reset"))
        if cell.clamp is not None and cell.clamp != INT32:
            ends = (g.number(end, np.int32) for end in cell.clamp)
            v = g("Clip", v, *ends, name=self._name(n, "clamped"))
        settled = v
        if cell.reset_delay and cell.reset == "zero":
            v = reset(v, self._name(n, "reset"))
        v = self._leaked(g, cell.leak, v, p.shape, self._name(n, "leak"))
        if cell.reset_delay and cell.reset == "subtract":
            v = reset(v, self._name(n, "reset"))
        made.states[self._name(n, "membrane")] = v
        if not fired:
            return None, settled
        spikes = g.cast(fired, np.uint8, self._name(n, "spiking"))
        counted = g.cast(fired, np.int64, self._name(n, "spike"))
        made.counts.append(self._summed(g, counted, p.positions, self._name(n, "count")))
        return Map(spikes, p.shape), settled

    def _leaked(self, g: Nodes, leak: Leak, v: str, shape: Shape, to: str) -> str:
        if leak.kind == "shift":
            return g("Sub", v, _floored(g, v, 2 ** int(leak.value[0]), np.int32, f"{to}/loss"), name=to)
        if leak.kind == "q15":
            left = _floored(g, self._scaled(g, leak, v, shape, to), 2**15, np.int64, to)
            return g.cast(left, np.int32, f"{to}ed")
        return v

    def _faded(self, g: Nodes, leak: Leak, i: str, n: int) -> str:
        """Rounded towards 0, as integers are divided."""
        to = self._name(n, "fade")
        if leak.kind == "none":
            return i
        power = 2**15
        if leak.kind == "shift":
            power = 2 ** int(leak.value[0])
            leak = Leak("q15", np.array([power - 1], np.int32))
        scaled = self._scaled(g, leak, i, self.graph.populations[n].shape, to)
        return g.cast(g("Div", scaled, g.number(power, np.int64), name=to), np.int32, f"{to}d")

    def _scaled(self, g: Nodes, leak: Leak, v: str, shape: Shape, to: str) -> str:
        """States times the share that stays, of 2^15: int64, for a product has 46 bits."""
        factor = g.constant(f"{to}/factor", first(leak.value, shape), np.int64)
        return g("Mul", g.cast(v, np.int64, f"{to}/wide"), factor, name=f"{to}/scaled")

    def _decode(self, g: Nodes, spikes: Map | None, settled: str, states: dict[str, str], remaining: str) -> str:
        """The decoder's totals [N, classes], a class being a neuron in channel-last order."""
        decoder, last = self.graph.decoder, self.graph.populations[-1]
        name = self._name(None, "total")
        if decoder.sees_membranes:
            seen = self._classes(g, settled, last.shape, self._name(None, "membranes"))
        else:
            assert spikes is not None
            seen = self._classes(g, g.cast(spikes.name, np.int32, f"{name}/fired"), last.shape, f"{name}/spikes")
        if not self.remembers_total:
            return seen
        total = states[name]
        if decoder.kind == "first":
            worth = g("Mul", seen, remaining, name=f"{name}/worth")
            none = g("Equal", total, g.number(0, np.int32), name=f"{name}/none yet")
            return g("Where", none, worth, total, name=f"{name}/next")
        if not decoder.sums:
            return g("Max", total, seen, name=f"{name}/next")
        leak = Leak(decoder.leak.kind, np.array([decoder.leak.value], np.int32))
        left = self._leaked(g, leak, total, (1, 1, self.graph.classes), f"{name}/leak")
        total = g("Add", left, seen, name=f"{name}/sum")
        if decoder.clamp is None:
            return total
        return g("Clip", total, *(g.number(end, np.int32) for end in decoder.clamp), name=f"{name}/next")

    def _classes(self, g: Nodes, x: str, shape: Shape, to: str) -> str:
        if shape[0] * shape[1] == 1:
            return x
        moved = g("Transpose", x, perm=[0, 2, 3, 1], name=f"{to} by place")
        return g("Flatten", moved, axis=1, name=to)

    def _regrouped(self, g: Nodes, x: Map, shape: Shape, where: str) -> Map:
        """The same values as a map of another shape, in channel-last order."""
        if x.shape == shape:
            return x
        height, width, channels = shape
        last = x.name if x.positions == 1 else g("Transpose", x.name, perm=[0, 2, 3, 1], name=f"{where}/channel last")
        made = g("Reshape", last, g.vector(0, height, width, channels), name=f"{where}/regrouped")
        moved = g("Transpose", made, perm=[0, 3, 1, 2], name=f"{where}/channel first")
        return self._plain(g, moved, shape, f"{where}/regroup", x.most)

    def _places(self, g: Nodes, x: Map, where: str) -> str:
        """[N, channels, height, width], also of one place."""
        if x.positions > 1:
            return x.name
        return g("Reshape", x.name, g.vector(0, x.shape[2], 1, 1), name=f"{where}/place")

    def _plain(self, g: Nodes, x: str, shape: Shape, where: str, most: int) -> Map:
        """[N, channels] of a map of one place."""
        if shape[0] * shape[1] == 1:
            x = g("Flatten", x, axis=1, name=f"{where}/one place")
        return Map(x, shape, most)

    def _narrow(self, g: Nodes, x: Map, where: str) -> Map:
        return x if x.most > 255 else Map(g.cast(x.name, np.uint8, f"{where}/counts"), x.shape, x.most)


def _floored(g: Nodes, x: str, divisor: int, dtype: Any, to: str) -> str:
    """A quotient rounded down, as a shift to the right rounds; `Div` alone rounds towards 0."""
    by = g.number(divisor, dtype)
    whole = g("Sub", x, g("Mod", x, by, name=f"{to}/remainder"), name=f"{to}/whole")
    return g("Div", whole, by, name=to)


def _window(kernel: Pair, stride: Pair, padding: Pair) -> dict[str, Any]:
    """Attributes of a convolution or pooling."""
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *padding]}
