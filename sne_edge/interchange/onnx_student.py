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
from ..ir.chain import as_graph, current_shift
from ..ir.encoder import Encoder, Shape
from ..ir.graph import INPUT, Population, Projection
from ..ir.graph_proof import analog, projection_range
from ..ir.layers import MaxPool, Pair, rounding
from ..ir.neuron import INT32
from ..ir.student import QuantStudent
from .onnx_decoder import Totals
from .onnx_neurons import Neurons, State, dims_of, first, floored
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


@dataclass
class Timestep:
    """What a timestep made: names by state, spike counts int64 [N, 1] of each population that fires, operations int64
    [N, 1] by projection, and the decoder's totals int32 [N, classes]."""

    states: dict[str, str] = field(default_factory=dict)
    counts: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)
    total: str = ""


class Student:
    """Writes one student; `where` goes before every name. With `counted`, operations are counted as well."""

    def __init__(
        self, student: QuantStudent, encoder: Encoder, where: str, counted: bool = False, most: int | None = None
    ) -> None:
        """`most`: timesteps that are run, None for a stream without end."""
        graph, self.shift = as_graph(student), current_shift(student, 0)
        self.graph, self.encoder, self.where, self.counted = graph, encoder, where, counted
        self.totals = Totals(graph, where, most)
        self.neurons = [Neurons(p, f"{where}{n}/") for n, p in enumerate(graph.populations)]
        self.depth = [0] * (1 + len(graph.populations))  # timesteps for which spikes are wanted, the input's first
        for population in graph.populations:
            for projection in population.projections:
                self.depth[projection.source + 1] = max(self.depth[projection.source + 1], projection.delay)

    @property
    def states(self) -> list[State]:
        found = [state for neurons in self.neurons for state in neurons.states]
        for source, depth in enumerate(self.depth, start=INPUT):
            if depth:
                shape = self.encoder.shape if source == INPUT else self.graph.populations[source].shape
                found.append(State(self._name(source, "spikes"), np.uint8, (depth, *dims_of(shape))))
        return [*found, *self.totals.states]

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
            if n == 0 and self.shift and total is not None:
                total = self._shifted(g, total, self._name(n, "constant"))
            found.append(total)
        return found

    def _shifted(self, g: Nodes, total: str, to: str) -> str:
        """A constant current over 2^shift, rounded to the nearest, halves up."""
        half = g.number(rounding(self.shift), np.int64)
        more = g("Add", g.cast(total, np.int64, f"{to}/wide"), half, name=f"{to}/and half")
        return g.cast(floored(g, more, 2**self.shift, np.int64, f"{to}/shift"), np.int32, to)

    def step(
        self,
        g: Nodes,
        came: Map | None,
        constants: list[str | None],
        states: dict[str, str],
        remaining: str,
        looked: str = "",
    ) -> Timestep:
        """One timestep of the input's spikes or values `came`; none where they are constants. `remaining`: timesteps
        of the model less those before this one, int32 [], for a decoder of first spikes; `looked`: int64 [], whether
        the last population's work counts."""
        made, spikes = Timestep(), dict[int, Map]()
        settled = ""
        if came is not None:
            spikes[INPUT] = came
        for n, population in enumerate(self.graph.populations):
            total, done = constants[n], len(made.operations)
            held = states[self._name(n, "current" if population.current_width else "membrane")]
            total = held if total is None else g("Add", held, total, name=self._name(n, "charged"))
            for number, q in enumerate(population.projections):
                if analog(q, self.encoder) and self.encoder.kind == "direct":
                    continue
                where = self._name(n, f"from {'input' if q.source == INPUT else q.source} ({number})")
                x = spikes[q.source] if q.delay == 0 else self._earlier(g, q, states, where)
                total = self._arrive(g, total, q, population, x, where, made)
            if looked and n + 1 == len(self.graph.populations):
                names = enumerate(made.operations[done:])
                made.operations[done:] = [g("Mul", x, looked, name=f"{self._name(n, f'work {k}')}") for k, x in names]
            assert total is not None
            fired, settled = self.neurons[n].step(g, total, states, made.states)
            if fired:
                spikes[n] = Map(g.cast(fired, np.uint8, self._name(n, "spiking")), population.shape)
                counted = g.cast(fired, np.int64, self._name(n, "spike"))
                made.counts.append(self._summed(g, counted, population.positions, self._name(n, "count")))
        self._remember(g, spikes, states, made)
        last = spikes.get(len(self.graph.populations) - 1)
        made.total = self.totals.step(g, None if last is None else last.name, settled, states, made.states, remaining)
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

    def _name(self, n: int, what: str) -> str:
        return f"{self.where}{'input' if n == INPUT else n}/{what}"

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
        maps = q.weight.reshape(len(q.weight), height, width, channels).transpose(0, 3, 1, 2)
        ordered = maps.reshape(rows, columns, many, -1).transpose(2, 0, 1, 3).reshape(len(q.weight), -1)
        shifted = g.constant(f"{where}/weight", ordered.T.astype(np.int16) + ZERO, np.uint8)
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


def _window(kernel: Pair, stride: Pair, padding: Pair) -> dict[str, Any]:
    """Attributes of a convolution or pooling."""
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *padding]}
