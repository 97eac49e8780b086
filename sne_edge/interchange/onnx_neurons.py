"""The neurons of a population in ONNX: who fires, and what is left for the next timestep; `ir.graph.Cell` has the
equations.

In: what arrives, int32 [N, *dims], and states by name. Out: spikes, settled membranes, the next states. All states are
less what the device adds in advance, the bias and a constant current.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.encoder import Shape
from ..ir.graph import Alpha, Leak, Population
from ..ir.neuron import INT32
from .onnx_nodes import Nodes


@dataclass(frozen=True)
class State:
    """What a timestep leaves to the next one: a tensor [N, *dims] that starts as `start` everywhere.

    membrane  int32: after leak and late reset; the device's has the bias, and a constant current, added already
    current   int32: likewise, where neurons have one (cuba)
    fired     uint8 0 or 1: who fired, or whose membrane stayed above its threshold (`doubled`), where that is asked for
    spikes    uint8, of the last timesteps, the newest first, where a projection has a delay
    total     int32, of the decoder
    recent    int32, what the decoder's window still holds, the newest first
    """

    name: str
    dtype: Any
    dims: tuple[int, ...]
    start: int = 0


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


class Neurons:
    """Writes one population's neurons; `where` goes before every name."""

    def __init__(self, population: Population, where: str) -> None:
        self.population, self.cell, self.where = population, population.neuron, where

    @property
    def states(self) -> list[State]:
        dims = dims_of(self.population.shape)
        found = [State(self.name("membrane"), np.int32, dims)]
        if self.population.current_width:
            found.append(State(self.name("current"), np.int32, dims))
        if self.cell.remembers:
            found.append(State(self.name("fired"), np.uint8, dims))
        return found

    def name(self, what: str) -> str:
        return f"{self.where}{what}"

    def step(self, g: Nodes, total: str, states: dict[str, str], made: dict[str, str]) -> tuple[str, str]:
        """One timestep of what arrives, `total`, with the state that it is added to in it: the current where there is
        one, else the membrane. Names of the spikes, bool, "" where none spikes, and of settled membranes; the next
        states go to `made`."""
        if isinstance(self.cell.alpha, Alpha):
            return self._step_alpha(g, self.cell.alpha, total, states, made)
        if isinstance(self.cell.current_leak, Leak):
            made[self.name("current")] = self._faded(g, self.cell.current_leak, total, "fade")
            total = g("Add", states[self.name("membrane")], total, name=self.name("driven"))
        return self._step_plain(g, total, states, made)

    def _step_plain(self, g: Nodes, v: str, states: dict[str, str], made: dict[str, str]) -> tuple[str, str]:
        cell, name = self.cell, self.name
        if cell.reset == "refractory":
            v = self._cleared(g, self._held(g, states), v, "refractory")
        fired, threshold = self._fired(g, v, states)

        def reset(v: str, to: str) -> str:
            if cell.reset in ("zero", "refractory"):
                return self._cleared(g, fired, v, to)
            lost = g("Mul", g.cast(fired, np.int32, f"{name(to)}/spikes"), threshold, name=f"{name(to)}/lost")
            return g("Sub", v, lost, name=name(to))

        at_once = cell.reset != "none" and not cell.reset_delay
        if at_once:
            v = reset(v, "reset")
        if cell.clamp is not None and cell.clamp != INT32:
            v = g("Clip", v, *(g.number(end, np.int32) for end in cell.clamp), name=name("clamped"))
        settled = v
        if cell.reset == "doubled":
            above = g("Greater", v, threshold, name=name("above"))
            made[name("fired")] = g.cast(above, np.uint8, name("stays above"))
        elif cell.remembers:
            made[name("fired")] = g.cast(fired, np.uint8, name("fires"))
        if cell.reset_delay and cell.reset != "subtract":
            v = reset(v, "reset")
        v = leaked(g, cell.leak, v, self.population.shape, name("leak"))
        if cell.reset_delay and cell.reset == "subtract":
            v = reset(v, "reset")
        made[name("membrane")] = v
        return fired, settled

    def _step_alpha(
        self, g: Nodes, alpha: Alpha, i: str, states: dict[str, str], made: dict[str, str]
    ) -> tuple[str, str]:
        cell, name, shape = self.cell, self.name, self.population.shape
        assert isinstance(cell.current_leak, Leak)
        v = states[name("membrane")]
        wide = (g.cast(x, np.int64, name(f"wide {what}")) for what, x in (("current", i), ("membrane", v)))
        h = g("Sub", *wide, name=name("counter-current"))  # of 32 bits only where nobody fired before
        if cell.remembers:
            held = self._held(g, states)
            h = self._cleared(g, held, h, "counter-current left", np.int64)
            if cell.reset == "refractory":
                v, i = (self._cleared(g, held, x, f"{what} left") for what, x in (("membrane", v), ("current", i)))
        fired, _ = self._fired(g, v, states)
        settled = v
        i = self._faded(g, cell.current_leak, i, "fade")
        v = g("Sub", i, self._faded(g, cell.leak, h, "counter-fade"), name=name("difference"))
        if cell.remembers:
            made[name("fired")] = g.cast(fired, np.uint8, name("fires"))
        if cell.reset == "refractory":
            v, i = (self._cleared(g, fired, x, f"{what} after") for what, x in (("membrane", v), ("current", i)))
        if cell.reset == "subtract":
            spikes = g.cast(fired, np.int32, name("reset/spikes"))
            shared = g("Mul", spikes, self._faded(g, alpha.share, h, "share"), name=name("reset/share"))
            v = g("Sub", v, shared, name=name("membrane reset"))
            drop = g.constant(name("drop"), first(alpha.drop, shape), np.int32)
            i = g("Sub", i, g("Mul", spikes, drop, name=name("reset/drop")), name=name("current reset"))
        made[name("membrane")], made[name("current")] = v, i
        return fired, settled

    def _fired(self, g: Nodes, v: str, states: dict[str, str]) -> tuple[str, str]:
        """Who fires, and the threshold; "" where none spikes."""
        p = self.population
        if not isinstance(p.threshold, np.ndarray):
            return "", ""
        level = first(p.threshold, p.shape)
        threshold = g.constant(self.name("threshold"), level, np.int32)
        if self.cell.reset != "doubled":
            return g("Greater", v, threshold, name=self.name("fired now")), threshold
        once, twice = (
            g.constant(self.name(f"{times} thresholds"), times * level.astype(np.int64), np.int64) for times in (1, 2)
        )
        wanted = g("Where", self._held(g, states), twice, once, name=self.name("threshold now"))
        wide = g.cast(v, np.int64, self.name("wide membrane"))
        return g("Greater", wide, wanted, name=self.name("fired now")), threshold

    def _held(self, g: Nodes, states: dict[str, str]) -> str:
        return g.cast(states[self.name("fired")], np.bool_, self.name("held"))

    def _cleared(self, g: Nodes, where: str, x: str, to: str, dtype: Any = np.int32) -> str:
        """0 where a condition holds."""
        return g("Where", where, g.number(0, dtype), x, name=self.name(to))

    def _faded(self, g: Nodes, leak: Leak, i: str, what: str) -> str:
        """Rounded towards 0, as integers are divided: int32."""
        to = self.name(what)
        if leak.kind == "none":
            return g.cast(i, np.int32, f"{to}/kept")
        power = 2**15
        if leak.kind == "shift":
            power = 2 ** int(leak.value[0])
            leak = Leak("q15", np.array([power - 1], np.int32))
        scaled = _scaled(g, leak, i, self.population.shape, to)
        return g.cast(g("Div", scaled, g.number(power, np.int64), name=to), np.int32, f"{to}d")


def leaked(g: Nodes, leak: Leak, v: str, shape: Shape, to: str) -> str:
    """Membranes or totals of a map after their leak, rounded down: int32."""
    if leak.kind == "shift":
        return g("Sub", v, floored(g, v, 2 ** int(leak.value[0]), np.int32, f"{to}/loss"), name=to)
    if leak.kind == "q15":
        left = floored(g, _scaled(g, leak, v, shape, to), 2**15, np.int64, to)
        return g.cast(left, np.int32, f"{to}ed")
    return v


def _scaled(g: Nodes, leak: Leak, v: str, shape: Shape, to: str) -> str:
    """States times the share that stays, of 2^15: int64, for a product has 46 bits."""
    factor = g.constant(f"{to}/factor", first(leak.value, shape), np.int64)
    return g("Mul", g.cast(v, np.int64, f"{to}/wide"), factor, name=f"{to}/scaled")


def floored(g: Nodes, x: str, divisor: int, dtype: Any, to: str) -> str:
    """A quotient rounded down, as a shift to the right rounds; `Div` alone rounds towards 0."""
    by = g.number(divisor, dtype)
    whole = g("Sub", x, g("Mod", x, by, name=f"{to}/remainder"), name=f"{to}/whole")
    return g("Div", whole, by, name=to)
