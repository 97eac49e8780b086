"""A student's decoder in ONNX: `ir.graph.Decoder` has the equations.

In: the last population's spikes and settled membranes of a timestep. Out: totals int32 [N, classes], and what the next
timestep needs of them.
"""

from __future__ import annotations

import numpy as np

from ..ir.encoder import Shape
from ..ir.graph import Graph, Leak
from ..ir.neuron import INT32
from .onnx_neurons import State, leaked
from .onnx_nodes import Nodes


class Totals:
    """Writes the decoder of a graph; `where` goes before every name. `most`: timesteps that are run, None without an
    end: a window remembers no more."""

    def __init__(self, graph: Graph, where: str, most: int | None) -> None:
        self.decoder, self.last, self.where = graph.decoder, graph.populations[-1], where
        self.classes = graph.classes
        window = self.decoder.window
        self.window = 0 if not isinstance(window, int) else window if most is None else min(window, most)

    @property
    def states(self) -> list[State]:
        lowest = INT32[0] if self.decoder.kind == "membrane" and self.decoder.take == "highest" else 0
        found = [State(self._name("total"), np.int32, (self.classes,), lowest)]
        if self.window > 1:
            found.append(State(self._name("recent"), np.int32, (self.window - 1, self.classes)))
        return found

    @property
    def remembers_total(self) -> bool:
        """Does a timestep's total depend on the one before?"""
        sums = self.decoder.sums and not self.window
        return sums or self.decoder.kind == "first" or self.decoder.take == "highest"

    def step(
        self, g: Nodes, spikes: str | None, settled: str, states: dict[str, str], made: dict[str, str], remaining: str
    ) -> str:
        """The totals after a timestep, a class being a neuron in channel-last order; the next states go to `made`.

        `spikes`: uint8, of the last population, where it spikes; `remaining`: timesteps of the model less those before
        this one, int32 [], for a decoder of first spikes.
        """
        decoder, shape, name = self.decoder, self.last.shape, self._name("total")
        if decoder.sees_membranes:
            seen = self._classes(g, settled, shape, self._name("membranes"))
        else:
            assert spikes is not None
            seen = self._classes(g, g.cast(spikes, np.int32, f"{name}/fired"), shape, f"{name}/spikes")
        made[name] = self._total(g, seen, states, made, remaining)
        return made[name]

    def _total(self, g: Nodes, seen: str, states: dict[str, str], made: dict[str, str], remaining: str) -> str:
        decoder, name = self.decoder, self._name("total")
        if self.window:
            return self._windowed(g, seen, states, made)
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
        left = leaked(g, leak, total, (1, 1, self.classes), f"{name}/leak")
        total = g("Add", left, seen, name=f"{name}/sum")
        if decoder.clamp is None:
            return total
        return g("Clip", total, *(g.number(end, np.int32) for end in decoder.clamp), name=f"{name}/next")

    def _windowed(self, g: Nodes, seen: str, states: dict[str, str], made: dict[str, str]) -> str:
        """The sum of this timestep and those that the window still holds."""
        if self.window == 1:
            return seen
        recent, kept = self._name("recent"), [g("Unsqueeze", seen, g.vector(1), name=f"{self._name('recent')}/newest")]
        if self.window > 2:
            ends = (g.vector(0), g.vector(self.window - 2), g.vector(1))
            kept.append(g("Slice", states[recent], *ends, name=f"{recent}/kept"))
        made[recent] = g("Concat", *kept, axis=1, name=f"{recent}/next") if len(kept) > 1 else kept[0]
        before = g("ReduceSum", states[recent], g.vector(1), keepdims=0, name=f"{recent}/sum")
        return g("Add", before, seen, name=f"{self._name('total')}/next")

    def _name(self, what: str) -> str:
        return f"{self.where}{what}"

    def _classes(self, g: Nodes, x: str, shape: Shape, to: str) -> str:
        if shape[0] * shape[1] == 1:
            return x
        moved = g("Transpose", x, perm=[0, 2, 3, 1], name=f"{to} by place")
        return g("Flatten", moved, axis=1, name=to)
