"""A graph in a blob: its populations, projections, rings and decoder.

In: a graph's context (codegen/graph.py). Out: the structure's offset in the blob, its parts being in it already.
"""

from __future__ import annotations

import struct
from typing import Any

from ..codegen.graph_layout import GraphLayout
from ..ir.graph import Leak
from . import blob_sums
from .blob_parts import DECAYS, KERNELS, Parts, packed_weights

GRAPH = struct.Struct("<15I3i3I")
POPULATION = struct.Struct("<11I3i14H")
PROJECTION = struct.Struct("<I52s4I4H")
RING = struct.Struct("<IIHxx")
LARGEST = struct.Struct("<11H")
DECODERS = ("COUNT", "FIRST", "FINAL", "HIGHEST", "MEAN")  # as sne_graph.h numbers them
RESETS = (
    *("RESET_SUBTRACT", "RESET_ZERO", "RESET_DELAYED", "NO_RESET"),
    *("RESET_ZERO_LATE", "REFRACTORY", "DOUBLED"),
)  # as sne_neuron.h and sne_cells.h number them


def bring_kind(f: dict[str, Any]) -> int:
    """A projection's kernel in the bits of sne_load.h."""
    bits: int = KERNELS.index(f["kernel"]) | (f["weight_bits"] == 4) << 5 | (f["width"] == 32) << 6
    bits |= (f["kernel"] == "mac") << 18
    return bits


def fire_kind(f: dict[str, Any]) -> int:
    """What fires a population, in the bits of sne_load_graph.h."""
    c = f["choices"]
    bits: int = int(f["plain"]) | f["spiking"] << 1 | bool(f["alpha"]) << 2 | f["each"] << 3 | (c["width"] == 32) << 6
    bits |= DECAYS.index(c["decay"]) << 7 | c["shift"] << 9 | bool(c["clamp"] and not f["alpha"]) << 16
    bits |= RESETS.index(c["reset"]) << 17 | c["current_width"] // 16 << 20
    if c["current_width"]:
        bits |= DECAYS.index(c["current_decay"]) << 22
        bits |= (c["current_value"] if c["current_decay"] == "shift" else 0) << 24
    return bits


def kinds_of(functions: Any) -> tuple[dict[int, dict[str, Any]], dict[int, dict[str, Any]]]:
    """The kernels of graphs' functions (`codegen.graph`), each kind once: those that bring, and those that fire."""
    return {bring_kind(f): f for f in functions.brings.values()}, {fire_kind(f): f for f in functions.fires.values()}


def add_graph(parts: Parts, student: dict[str, Any], model: dict[str, Any]) -> tuple[int, int]:
    """Append a student's graph; its offset, and how far from 0 its decoder's totals get."""
    graph, functions = student["graph"], model["graph_functions"]
    steps = 0 if model["streams"] else model["encoder"]["timesteps"]
    plan: GraphLayout = graph["plan"]
    packed, reached = [], 0
    for p in graph["populations"]:
        made, reached = _population(parts, p, functions, plan, steps)
        packed.append(made)
        parts.wraps |= reached == blob_sums.BEYOND
    d = graph["decoder"]
    totals = blob_sums.decoder_reach(d, reached, steps, model["encoder"]["timesteps"])
    parts.wraps |= totals == blob_sums.BEYOND
    places = (plan.totals, plan.maps, plan.map_bytes, plan.unpooled, plan.settled)
    structure = GRAPH.pack(
        *(parts.add(b"".join(packed)), len(packed)),
        parts.add(b"".join(RING.pack(ring.place, ring.words, ring.length) for ring in plan.rings)),
        *(place // 4 for place in (plan.first, plan.kept, plan.stream, plan.work, plan.scratch, *places)),
        *(DECODERS.index(d["kind"]), DECAYS.index(d["decay"]), d["value"], d["low"], d["high"]),
        *(d["clamp"], d["window"], d["width"]),
    )
    return parts.add(structure), totals


def _population(parts: Parts, p: dict[str, Any], functions: Any, plan: GraphLayout, steps: int) -> tuple[bytes, int]:
    """A population's structure, and how far from 0 its membranes get."""
    fire = functions.fires[p["fire"]]
    choices = fire["choices"]
    projections, added = [], 0
    for q in p["projections"]:
        projections.append(_projection(parts, q, functions))
        added += parts.rows_at_most(q) * (128 * 128 if q["macro"] == "SNE_P8" else 128)
    current_leak = p["population"].neuron.current_leak
    fading = 0
    if isinstance(current_leak, Leak) and current_leak.value.size == 1 and choices["current_decay"] == "q15":
        fading = int(current_leak.value[0])
    reached = blob_sums.population_reach(p | {"fading": fading}, choices, added, steps)
    alpha = p["alpha"] or {"share": [], "drop": [], "each_share": 0, "each_drop": 0}
    packed = POPULATION.pack(
        *(fire_kind(fire), parts.array(p["threshold"], f"<i{p['width'] // 8}")),
        *(parts.array(p["bias"], f"<i{p['target'] // 8}"), parts.array(p["leak"], "<u2")),
        *(parts.array(p["current_leak"], "<u2"), parts.array(alpha["share"], "<u2"), parts.array(alpha["drop"], "<i4")),
        parts.add(b"".join(projections)) if projections else 0,
        (p["membranes"] - plan.first) // 4,
        (p["currents"] - plan.first) // 4 if p["current_width"] else 0,
        *(p["drive"] // 4, p["spikes"], *p["clamp"], p["channels"], p["padded"], p["positions"]),
        *(p["decay"] if choices["decay"] == "q15" else 0, fading),
        *(p["each_threshold"], p["each_bias"], p["each_leak"], p["each_current_leak"]),
        *(alpha["each_share"], alpha["each_drop"], len(projections), p["n_values"], 0),
    )
    return packed, reached


def _projection(parts: Parts, q: dict[str, Any], functions: Any) -> bytes:
    weight = parts.add(packed_weights(q, parts.order))
    pools = b"".join(parts.synapses(pool, 0, 0) for pool in q["pools"])
    largest = q["largest"]
    seen = 0
    if largest:
        shapes = (*largest.in_shape[:2], *largest.out_shape[:2], *largest.kernel, *largest.stride, *largest.padding)
        seen = parts.add(LARGEST.pack(*shapes, q["width"]))
    return PROJECTION.pack(
        *(bring_kind(functions.brings[q["bring"]]), parts.synapses(q, q["capacity"], weight)),
        *(parts.add(pools) if pools else 0, seen, q["position"], q["cost"], q["ring"], q["delay"], len(q["pools"]), 0),
    )
