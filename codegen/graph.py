"""What the templates print of a graph: tables, kernels chosen, places.

In: a `QuantEnsemble`, and the context that `context.build` made of it. Out: the same context with its graphs filled in.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sne_edge.codegen import context, layout
from sne_edge.codegen.graph_layout import (
    GraphLayout,
    ProjectionPlan,
    brought_width,
    has_values,
    source_shape,
    spread,
    target_width,
)

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import INPUT, Alpha, Graph, Leak, Population, Projection, grid
from sne_edge.ir.graph_proof import analog
from sne_edge.ir.layers import Conv, Linear, MaxPool, size
from sne_edge.ir.limits import UINT16, padded
from sne_edge.ir.neuron import INT16, INT32

RUNTIME_HEADERS = ("sne_cells.h", "sne_graph.h")


def extend(model: dict[str, Any], ensemble: QuantEnsemble) -> None:
    """Fill in the graphs of a model's context."""
    functions = _Functions()
    for number, student in enumerate(ensemble.students):
        if isinstance(student.graph, Graph):
            made = _Made(ensemble, number, student.graph, model["state"].graphs[number], model["tables"], functions)
            model["students"][number]["graph"] = made.context()
    model["wide"] = any(sum(map(len, axis)) > UINT16 for axis in model["tables"].axes)
    model["graph_functions"] = functions if functions.fires else None
    model["chains"] = not all(student["graph"] for student in model["students"])


class _Functions:
    """The specialised functions that graphs need, each once, by name."""

    def __init__(self) -> None:
        self.brings: dict[str, dict[str, Any]] = {}
        self.fires: dict[str, dict[str, Any]] = {}

    def add(self, kind: dict[str, dict[str, Any]], choices: list[str], printed: dict[str, Any]) -> str:
        """The name of the function of some choices, which `printed` has as C wants them."""
        name = "_".join(choices)
        kind[name] = printed
        return name


class _Made:
    """One graph."""

    def __init__(
        self,
        ensemble: QuantEnsemble,
        number: int,
        graph: Graph,
        plan: GraphLayout,
        tables: context.Tables,
        functions: _Functions,
    ) -> None:
        self.encoder, self.number, self.graph, self.plan = ensemble.encoder, number, graph, plan
        self.tables, self.functions = tables, functions
        owners = enumerate(ensemble.spike_layers)
        self.spike_index = {population: i for i, (owner, population) in owners if owner == number}

    def context(self) -> dict[str, Any]:
        return {
            "plan": self.plan,
            "populations": [self._population(n, p) for n, p in enumerate(self.graph.populations)],
            "decoder": _decoder(self.graph),
        }

    def _population(self, n: int, p: Population) -> dict[str, Any]:
        name, width, target = f"s{self.number}_p{n}", p.width, target_width(p)
        low, high = INT16 if width == 16 else INT32
        neuron = p.neuron
        values = sorted(range(len(p.projections)), key=lambda k: not analog(p.projections[k], self.encoder))
        threshold = np.full(1, high, np.int64)
        if isinstance(p.threshold, np.ndarray):
            threshold = np.clip(p.threshold.astype(np.int64), low, high)
        clamp = [max(low, neuron.clamp[0]), min(high, neuron.clamp[1])] if neuron.clamp else [low, high]
        leaks = {"leak": _table(neuron.leak, p)}
        if isinstance(neuron.current_leak, Leak):
            leaks["current_leak"] = _table(neuron.current_leak, p)
        return {
            "number": n,
            "name": name,
            "description": describe_population(p),
            "population": p,
            "positions": p.positions,
            "channels": p.channels,
            "neurons": p.neurons,
            "padded": padded(p.channels),
            "width": width,
            "current_width": p.current_width,
            "target": target,
            "threshold": _rows(np.broadcast_to(threshold, p.channels) if threshold.size == 1 else threshold, p, high),
            "bias": _rows(p.bias.astype(np.int64), p, 0),
            "leak": leaks["leak"],
            "current_leak": leaks.get("current_leak", []),
            "alpha": _alpha(neuron.alpha, p) if isinstance(neuron.alpha, Alpha) else None,
            "each_threshold": int(p.channels < p.neurons and threshold.size == p.neurons),
            "each_bias": int(p.channels < p.neurons and p.bias.size == p.neurons),
            "each_leak": int(len(leaks["leak"]) > padded(p.channels)),
            "each_current_leak": int(len(leaks.get("current_leak", [])) > padded(p.channels)),
            "clamp": clamp,
            "decay": int(neuron.leak.value[0]) if neuron.leak.value.size == 1 else 0,
            "membranes": self.plan.membranes[n],
            "currents": self.plan.currents[n],
            "drive": self.plan.drives[n],
            "spikes": self.spike_index.get(n, -1),
            "spiking": int(neuron.spikes),
            "n_values": sum(analog(q, self.encoder) for q in p.projections),
            "projections": [
                self._projection(f"{name}_q{k}", p, p.projections[k], self.plan.plans[n][k]) for k in values
            ],
            "fire": self._fire(n, p),
        }

    def _fire(self, n: int, p: Population) -> str:
        neuron = p.neuron
        leak, current = neuron.leak.decay, None
        if isinstance(neuron.current_leak, Leak):
            current = neuron.current_leak.decay
        each_drive = has_values(p, self.encoder) or (p.channels < p.neurons and p.bias.size == p.neurons)
        seen = n + 1 == len(self.graph.populations) and self.graph.decoder.sees_membranes
        usual = (neuron.reset == "subtract" or (neuron.reset == "zero" and not neuron.reset_delay)) and neuron.spikes
        alpha = f"s{self.number}_p{n}_alpha" if isinstance(neuron.alpha, Alpha) else ""
        by_channel = isinstance(p.threshold, np.ndarray) and p.threshold.size == p.channels
        plain = usual and by_channel and leak is not None and not p.current_width and not seen
        names = {"subtract": "RESET_SUBTRACT", "doubled": "DOUBLED", "zero": "RESET_ZERO", "none": "NO_RESET"}
        late = {"subtract": "RESET_DELAYED", "zero": "RESET_ZERO_LATE", "refractory": "REFRACTORY"}
        reset = (late if neuron.reset_delay else names)[neuron.reset]
        decay = "table" if leak is None else leak.kind
        shift = leak.value if leak is not None and leak.kind == "shift" else None
        current_decay = "table" if current is None else current.kind
        current_value = 0 if current is None else current.value
        clamp = neuron.clamp is not None
        choices = [
            "plain" if plain else "any" if neuron.spikes else "li",
            f"i{p.width}",
            f"{decay}{'' if shift is None else shift}",
            reset.lower().replace("no_reset", "stays"),
            *(["clamp"] if clamp else []),
            *(["each"] if each_drive else []),
            *([f"cuba_i{p.current_width}_{current_decay}_{current_value}"] if p.current_width else []),
            *([alpha] if alpha else []),
        ]
        factor = "cells->neurons.decay" if shift is None else shift
        printed = {
            "plain": plain,
            "alpha": alpha,
            "spiking": int(neuron.spikes),
            "neurons": f"{p.width}, {_decay(decay)}, {factor}, SNE_{reset}{'' if alpha else f', {int(clamp)}'}",
            "current": f"{p.current_width}, {_decay(current_decay)}, {current_value}",
            "each": int(each_drive),
            "choices": {
                "clamp": clamp,
                "width": p.width,
                "decay": "q15" if decay == "table" else decay,
                "shift": shift or 0,
                "reset": reset,
                "current_width": p.current_width,
                "current_decay": "q15" if current_decay == "table" else current_decay,
                "current_value": current_value,
            },
        }
        return self.functions.add(self.functions.fires, ["fire", *choices], printed)

    def _projection(self, name: str, p: Population, q: Projection, plan: ProjectionPlan) -> dict[str, Any]:
        layer, pools = q.synapses, spread(q.pools)
        values = plan.kernel == "mac"
        width = plan.current_width or target_width(p)
        weight = _packed(layer, p)
        if q.bits == 4:
            weight = layout.pack_nibbles(weight)
        if values:
            weight = layout.pack_pairs(weight)
        window = layer if isinstance(layer, Conv) else None
        taken = source_shape(q, layer)
        flat = window is None and not pools
        listed = plan.kernel in ("gather", "sweep", "mac")
        choices = ["bring", plan.kernel, *(["4"] if q.bits == 4 else []), f"i{width}"]
        printed = {"kernel": plan.kernel, "weight_bits": q.bits, "width": width}
        return {
            "name": name,
            "source": "the input" if q.source == INPUT else f"population {q.source}",
            "description": context.describe(layer),
            "ring": q.source + 1,
            "delay": q.delay,
            "weight": context.numbers(weight),
            "blocks": [],
            "weight_bits": q.bits,
            "macro": "SNE_P8" if values else "SNE_W4",
            "input": (1, 1, size(layer.in_shape)) if flat else taken,
            "output": layer.out_shape[:2],
            "kernel": window.kernel if window else layer.in_shape[:2] if pools else (1, 1),
            "stride": window.stride if window else (1, 1),
            "padding": window.padding if window else (0, 0),
            "axes": None if listed else context.axes_through(layer, pools, self.tables),
            "divide": context.divide_by_channels(taken),
            "capacity": plan.capacity,
            "position": plan.stride,
            "cost": 1 if plan.kernel == "depthwise" else layer.channels,
            "pools": [context.pooling(pool, (), self.tables) for pool in q.pools if isinstance(pool, MaxPool)],
            "largest": q.largest if isinstance(q.largest, MaxPool) else None,
            "width": width,
            "bring": self.functions.add(self.functions.brings, choices, printed),
        }


def _decay(kind: str) -> str:
    return "SNE_DECAY_Q15" if kind == "table" else f"SNE_DECAY_{kind.upper()}"


def _packed(layer: Linear | Conv, p: Population) -> np.ndarray:
    """Rows of weights, int8 [..., padded outputs]; a linear projection's as its population's positions lie."""
    if isinstance(layer, Conv):
        return layout.pack_conv(layer)
    if p.positions == 1:
        return layout.pack_linear(layer)
    rows = np.zeros((size(layer.in_shape), p.positions, padded(p.channels)), np.int8)
    rows[:, :, : p.channels] = layer.weight.T.reshape(-1, p.positions, p.channels)
    return rows.reshape(len(rows), -1)


def _rows(values: np.ndarray, p: Population, fill: int) -> list[int]:
    """Parameters of channels or neurons, padded as positions are."""
    wide = grid(values, p.channels)
    rows = np.full((len(wide), padded(p.channels)), fill, np.int64)
    rows[:, : p.channels] = wide
    return context.numbers(rows)


def _table(leak: Leak, p: Population) -> list[int]:
    """Leaks by channel or neuron, padded; none where all have the same."""
    return [] if leak.value.size == 1 else _rows(leak.value.astype(np.int64), p, 0)


def _alpha(alpha: Alpha, p: Population) -> dict[str, Any]:
    """Tables of alpha neurons."""
    share = alpha.share.value.astype(np.int64)
    return {
        "share": _rows(np.broadcast_to(share, p.channels) if share.size == 1 else share, p, 0),
        "drop": _rows(alpha.drop.astype(np.int64), p, 0),
        "each_share": int(p.channels < p.neurons and alpha.share.value.size == p.neurons),
        "each_drop": int(p.channels < p.neurons and alpha.drop.size == p.neurons),
    }


def _decoder(graph: Graph) -> dict[str, Any]:
    decoder = graph.decoder
    kinds = {"count": "COUNT", "first": "FIRST", "current": "FINAL"}
    low, high = decoder.clamp or (0, 0)
    return {
        "kind": kinds.get(decoder.kind, decoder.take.upper()),
        "decay": decoder.leak.kind,
        "value": decoder.leak.value,
        "clamp": int(decoder.clamp is not None),
        "low": low,
        "high": high,
        "window": decoder.window if isinstance(decoder.window, int) else 0,
        "width": brought_width(graph),
    }


def describe_population(p: Population) -> str:
    """A population in a few words, for comments and tables."""

    def source(q: Projection) -> str:
        back = f", {q.delay} late" if q.delay else ""
        pooled = "".join(f" through {context.describe(pool)}" for pool in q.pools)
        largest = f", largest of {q.largest.kernel[0]}x{q.largest.kernel[1]}" if isinstance(q.largest, MaxPool) else ""
        came = "the input" if q.source == INPUT else f"population {q.source}"
        return f"{context.describe(q.synapses)} of {came}{pooled}{largest}{back}"

    return " + ".join(map(source, p.projections)) or "biases alone"
