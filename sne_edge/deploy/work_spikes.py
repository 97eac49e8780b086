"""What bringing spikes to membranes takes where positions list what they see: gather and sweep (sne_gather.h,
sne_sweep.h).
"""

from __future__ import annotations

import numpy as np

from ..codegen.layout import Stage
from ..ir.layers import Conv, Linear
from .work_counts import Kernels, Rates, Work, added
from .work_direct import clipped, geometry

SPREAD = ((-2, 0.06), (-1, 0.24), (0, 0.4), (1, 0.24), (2, 0.06))  # a normal distribution's parts, by deviations
LONG_RUN = 128  # inputs from which on a run is listed by whole words: sne_list.h


def _windows(layer: Linear | Conv) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of all output positions: runs of neighbouring inputs that each sees, inputs of a run, where the first run starts;
    and the inputs from one run to the next."""
    window = geometry(layer)
    top, runs, _ = clipped(window, 0)
    left, across, _ = clipped(window, 1)
    depth, step = window[0][2], window[0][1] * window[0][2]
    starts = (top[:, None] * step + left[None, :] * depth).ravel()
    return np.repeat(runs, len(across)), np.tile(across * depth, len(runs)), starts, step


def _lists(seen: np.ndarray, rate: float, room: int) -> np.ndarray:
    """How many lists the spikes of so many inputs take."""
    spikes = seen * rate
    return np.where(spikes <= room, 1.0, np.ceil(spikes / max(1, room + 16)))


def gather_work(layer: Linear | Conv, stage: Stage, rates: Rates, kernels: Kernels) -> Work:
    """One timestep: the spikes that each position sees, listed and added at once."""
    runs, counts, starts, step = _windows(layer)
    window = geometry(layer)
    seen = runs * counts
    visited = np.zeros(len(runs))
    for run in range(int(runs.max())):
        first = starts + run * step
        visited += np.where(run < runs, (first + counts - 1) // 32 - first // 32 + 1, 0)
    at_once = (runs * window[2][1] * window[0][2] <= stage.capacity) & (kernels != "words")
    lists = np.where(at_once, 1.0, _lists(seen, rates.incoming, stage.capacity - 32))
    work = Work()
    _listed(work, "list", at_once, lists, runs, visited, seen * rates.incoming)
    long = (counts > LONG_RUN) & (starts % 32 == 0)
    _listed(work, "scan", ~at_once, lists, runs, np.where(long, 0, visited), seen * rates.incoming)
    work["scan.long"] = float(visited[~at_once & long].sum())
    calls = float((lists - 1 + rates.met(np.minimum(seen, stage.capacity))).sum())
    added(work, layer.channels, layer.width, layer.bits, calls, float((seen * rates.incoming).sum()), kernels)
    return work


def _listed(
    work: Work, name: str, which: np.ndarray, lists: np.ndarray, runs: np.ndarray, words: np.ndarray, spikes: np.ndarray
) -> None:
    work[f"{name}.calls"] = float(lists[which].sum())
    work[f"{name}.runs"] = float(runs[which].sum())
    work[f"{name}.words"] = float(words[which].sum())
    work[f"{name}.spikes"] = float(spikes[which].sum())


def sweep_work(layer: Linear | Conv, stage: Stage, rates: Rates, kernels: Kernels) -> Work:
    """One timestep: the spikes that a row of positions sees, listed once."""
    assert isinstance(layer, Conv)
    window = geometry(layer)
    depth, width = layer.in_shape[2], layer.in_shape[1]
    span = (layer.out_shape[1] - 1) * layer.stride[1] + layer.kernel[1]
    columns = min(width + layer.padding[1], span) - layer.padding[1]
    room = stage.capacity - (span + 1)
    _, runs, _ = clipped(window, 0)
    _, across, _ = clipped(window, 1)
    fitting = depth <= 32 and depth & (depth - 1) == 0 and (width * depth) % 32 == 0
    begin = np.arange(layer.in_shape[0] * width) * depth
    parts = float(((begin % 32 + depth + 31) // 32).mean())  # words that a column's inputs of one row lie in
    work = Work()
    for seen, times in zip(*np.unique(runs, return_counts=True), strict=True):
        whole = fitting and seen * depth <= room
        column = seen * depth * rates.incoming  # its spikes
        full, looked = (room - seen * depth, 1.0) if whole else (room - 32, seen * parts)
        lists, listed, alone = _uneven_lists(layer, columns, column, full, looked, rates)
        windows = seen * depth * across
        rows = windows * rates.incoming
        calls = rates.met(windows) * (1 - alone) + alone * np.maximum(1.0, np.ceil(rows / max(1, room - 16)))
        once = Work(
            {
                "sweep.lists": lists,
                "sweep.columns": listed,
                f"sweep.{'words' if whole else 'loose'}": seen * listed,
                "sweep.parts": 0.0 if whole else seen * listed * parts,
                "sweep.spikes": column * listed,
                "sweep.windows": layer.out_shape[1],
                "sweep.padding": span - columns,
                "scan.calls": float(alone.sum()),
                "scan.runs": float(seen * alone.sum()),
                "scan.words": float(seen * (alone * (across * depth / 32 + 1)).sum()),
                "scan.spikes": float((rows * alone).sum()),
            }
        )
        added(once, layer.channels, layer.width, layer.bits, float(np.sum(calls)), float(rows.sum()), kernels)
        work += once.times(int(times))
    return work


def _uneven_lists(
    layer: Conv, columns: int, column: float, full: int, looked: float, rates: Rates
) -> tuple[float, float, np.ndarray]:
    """The same where places differ in how much they spike."""
    lists, listed, alone = 0.0, 0.0, np.zeros(layer.out_shape[1])
    for deviations, weight in SPREAD if rates.uneven else ((0, 1.0),):
        some = _sweep_lists(layer, columns, (1 + deviations * rates.uneven) * column, full, looked)
        lists, listed, alone = lists + weight * some[0], listed + weight * some[1], alone + weight * some[2]
    return lists, listed, alone


def _sweep_lists(layer: Conv, columns: int, column: float, full: int, looked: float) -> tuple[int, float, np.ndarray]:
    """How a row of positions is listed where every column has so many spikes: the lists, the columns that they visit,
    and which positions, 1.0 or 0.0, are so full that each is met by itself. As in sne_sweep, where a list of more than
    `full` spikes takes no more; that is seen `looked` times a column."""
    kernel, stride, padding = layer.kernel[1], layer.stride[1], layer.padding[1]
    positions = layer.out_shape[1]
    alone = np.zeros(positions)
    first, lists, listed = 0, 0, 0.0
    while first < positions:
        lists += 1
        begin = max(0, first * stride - padding)
        left = columns - begin
        most = (full + column / looked) / column if column else left
        fit = min(left, int(most))
        listed += min(left, most)
        end = begin + fit + padding  # columns that are complete, padding counted
        last = positions if fit == left else (end - kernel) // stride + 1
        if last <= first:
            alone[first] = 1.0
            last = first + 1
        first = last
    return lists, listed, alone
