"""Channels that never spike, and do not decide how finely the weights of others are rounded.

In: a `FloatGraph` and typical samples. Out: the graph, whose weights from neurons that no sample makes spike are held
within the range of those that do. A batch norm behind neurons divides a dead channel by next to nothing: its weights,
hundreds of times as large as the rest, would take all steps of int8 from them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from ..learn.graph import INPUT, FloatGraph, FloatPopulation, FloatProjection

Spoken = dict[str, np.ndarray]  # by population, whether each neuron spiked, bool [height, width, channels]


def hold_silent(graph: FloatGraph, spoken: Callable[[], Iterable[Spoken]]) -> tuple[FloatGraph, dict[str, int]]:
    """The graph with weights of silent neurons held, and how many channels of which populations they were.

    `spoken` runs typical samples, batch by batch; it is asked only where some weights stand out.
    """
    if not any(_stands_out(q) for p in graph.populations for q in p.projections if q.source != INPUT):
        return graph, {}
    heard: Spoken = {}
    for batch in spoken():
        for name, spikes in batch.items():
            heard[name] = heard[name] | spikes if name in heard else spikes
    held: dict[str, int] = {}
    return replace(graph, populations=tuple(_held(p, heard, held) for p in graph.populations)), held


def _stands_out(projection: FloatProjection) -> bool:
    """Whether a channel's, or a neuron's, largest weight is far above those of others."""
    if projection.op not in ("linear", "conv"):
        return False
    largest = np.abs(_by_source(projection)).max(axis=(0, 2))
    return bool(largest.max() > 4 * np.sort(largest)[(len(largest) - 1) // 4])


def _by_source(projection: FloatProjection) -> np.ndarray:
    """A view of weights as [out, in, rest]."""
    return projection.weight.reshape(*projection.weight.shape[:2], -1)


def _held(population: FloatPopulation, heard: Spoken, held: dict[str, int]) -> FloatPopulation:
    """A population, the weights of whose silent sources go no further than those of the others, row by row."""
    made = []
    for q in population.projections:
        if q.source == INPUT or not _stands_out(q):
            made.append(q)
            continue
        spoke = heard[q.source]
        whole = q.op == "linear" and not q.pools
        alive = np.asarray(spoke.reshape(-1) if whole else spoke.any(axis=(0, 1)))
        if q.op == "linear" and len(alive) != q.weight.shape[1]:  # pooled: all places of a channel are one
            alive = np.tile(alive, q.weight.shape[1] // len(alive))
        rows = _by_source(q).copy()
        most = np.abs(rows[:, alive]).max(axis=(1, 2), initial=0.0)[:, None, None]
        over = (np.abs(rows) > most) & (most > 0)
        if over.any():
            rows = np.where(over, np.sign(rows) * most, rows)
            channels = over.any(axis=(0, 2)).nonzero()[0] % spoke.shape[2]
            held[q.source] = max(held.get(q.source, 0), len(set(channels.tolist())))
        made.append(replace(q, weight=rows.reshape(q.weight.shape)))
    return replace(population, projections=tuple(made))
