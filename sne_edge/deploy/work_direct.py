"""What a direct input's layer multiplies: int8 values times weights, once for all timesteps (sne_gather.h,
sne_convolve.h, sne_direct_helium.h).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..codegen.layout import Stage
from ..ir.layers import Conv, Linear, size
from ..ir.limits import padded
from .work_counts import Kernels, Rates, Work, charged

KEPT = 256  # layers whose counts are at hand: a cost is asked for at many rates
SHORT = 16  # weights of a window that lie in one vector


def product_work(layer: Linear | Conv, stage: Stage, kernel: str, rates: Rates, kernels: Kernels) -> Work:
    """The constant currents of all positions, shifted where they are."""
    shifted, paired = layer.current_shift > 0, kernels == "dsp" and kernel == "convolve"
    sums = 32 if shifted else layer.width
    if kernels == "helium":
        work = _panes(layer, stage, sums)
    elif paired:
        work = _convolved(layer, sums, rates)
    elif kernels == "dsp":
        work = _listed(layer, stage, sums, rates)
    else:
        work = _seen(layer, sums, rates)
    positions, stride = layer.neurons // layer.channels, padded(layer.channels)
    if kernels != "helium" and not paired:
        charged(work, "fresh", positions, stride, sums)
    if shifted or (paired and layer.width == 16):
        if paired:  # of two positions, even where there is one
            positions = layer.out_shape[0] * -(-layer.out_shape[1] // 2) * 2
        work[f"shift.{layer.width}.calls"] += positions
        work[f"shift.{layer.width}.fours"] += positions * (stride // 4)
    return work


Geometry = tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, int], tuple[int, int], tuple[int, int]]


def geometry(layer: Linear | Conv) -> Geometry:
    """Shapes of input and output, kernel, stride and padding; a linear layer is one position that sees one row."""
    if isinstance(layer, Conv):
        return layer.in_shape, layer.out_shape, layer.kernel, layer.stride, layer.padding
    return (1, 1, size(layer.in_shape)), (1, 1, layer.channels), (1, 1), (1, 1), (0, 0)


def clipped(window: Geometry, axis: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By output position of one axis: the first input position in its window, how many lie within the input, and how
    many lie before it."""
    source, out, kernel, stride, padding = window
    first = np.arange(out[axis]) * stride[axis] - padding[axis]
    low = np.maximum(first, 0)
    return low, np.minimum(first + kernel[axis], source[axis]) - low, low - first


@lru_cache(KEPT)
def _inside(window: Geometry) -> tuple[int, float, float]:
    """Positions; runs of values, and values, that they see in all."""
    _, runs, _ = clipped(window, 0)
    _, across, _ = clipped(window, 1)
    return len(runs) * len(across), float(runs.sum() * len(across)), float(runs.sum() * across.sum() * window[0][2])


def _seen(layer: Linear | Conv, sums: int, rates: Rates) -> Work:
    """Values where they lie, eight outputs at a time, then four; those that are 0 are passed over."""
    positions, runs, values = _inside(geometry(layer))
    stride = padded(layer.channels)
    eights, key = stride // 8, f"seen.{sums}"
    work = Work(
        {
            f"{key}.positions": positions,
            f"{key}.eights": positions * eights,
            f"{key}.fours": positions * (stride % 8 // 4),
            "seen.runs": runs * eights,
            "seen.values": values * eights,
            "seen.products": values * rates.incoming * eights,
        }
    )
    if stride % 8:
        work["seen.four.runs"], work["seen.four.values"] = runs, values
        work["seen.four.products"] = values * rates.incoming
    work["seen.rows"] = layer.out_shape[0]
    return work


@lru_cache(KEPT)
def _twos(window: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """By output position: runs, values, whole twos of values, and single ones; places of weights come in twos."""
    source, _, kernel, _, _ = window
    _, down, above = clipped(window, 0)
    _, across, left = clipped(window, 1)
    depth, runs = source[2], np.repeat(down, len(across))
    counts = np.tile(across * depth, len(down))
    places = (above[:, None] * kernel[1] * depth + left[None, :] * depth).ravel()
    twos, ones = np.zeros(len(runs)), np.zeros(len(runs))
    for run in range(int(runs.max())):
        odd = (places + run * kernel[1] * depth) % 2
        inside = run < runs
        twos += np.where(inside, (counts - odd) // 2, 0)
        ones += np.where(inside, odd + (counts - odd) % 2, 0)
    return runs, runs * counts, twos, ones


def _listed(layer: Linear | Conv, stage: Stage, sums: int, rates: Rates) -> Work:
    """Twos of values that are not both 0, listed and then multiplied."""
    runs, values, twos, ones = _twos(geometry(layer))
    listed = twos * rates.met(2) + ones * rates.met(1)
    room = (stage.capacity & ~1) // 2
    calls = np.maximum(rates.met(values), np.ceil(listed / max(1, room)) * (listed > room))
    stride, key = padded(layer.channels), f"mac.{sums}"
    return Work(
        {
            "mac.positions": len(runs),
            "mac.runs": float(runs.sum()),
            "mac.twos": float(twos.sum()),
            "mac.ones": float(ones.sum()),
            "mac.listed": float(listed.sum()),
            f"{key}.calls": float(calls.sum()),
            f"{key}.calls.8": float(calls.sum()) * (stride // 8),
            f"{key}.calls.4": float(calls.sum()) * (stride % 8 // 4),
            "mac.rows.8": float(listed.sum()) * (stride // 8),
            "mac.rows.4": float(listed.sum()) * (stride % 8 // 4),
        }
    )


@lru_cache(KEPT)
def _laid(window: Geometry) -> tuple[Work, np.ndarray, np.ndarray, np.ndarray]:
    """What two positions' windows, laid side by side, are laid from: those within the input row, and those that are
    not. And by pair of positions: inputs that both see, entries of the window, and rounds of four of them."""
    source, out, kernel, stride, padding = window
    depth = source[2]
    run, length, step = kernel[1] * depth, source[1] * depth, stride[1] * depth
    room = max(0, length - step - run + 1)
    _, rows, _ = clipped(window, 0)
    firsts = np.arange(0, out[1], 2)
    starts, paired = (firsts * stride[1] - padding[1]) * depth, firsts + 1 < out[1]
    inside = paired & (starts >= 0) & (starts < room)
    work = Work()
    inner, border = int(inside.sum()), int((~inside).sum())
    total = float(rows.sum())
    work["convolve.inside"], work["convolve.border"] = inner * len(rows), border * len(rows)
    work["convolve.inside.rows"] = inner * total
    work["convolve.inside.fours"] = inner * total * (run // 4)
    work[f"convolve.inside.rest.{run % 4}"] = inner * total * (run % 4 > 0)
    for start, two in zip(starts[~inside], paired[~inside], strict=True):
        work["convolve.border.rows"] += total
        for place in range(0, run, 4):
            count = min(4, run - place)
            work["convolve.border.words"] += total
            for at in (start + place, start + place + (step if two else 0)):
                if count == 4 and at >= 0 and at + 3 < length:
                    work["convolve.border.loaded"] += total
                elif at <= -count or at >= length:
                    work["convolve.border.none"] += total
                else:
                    work["convolve.border.parts"] += total
                    work["convolve.border.bytes"] += total * count
                    work["convolve.border.seen"] += total * sum(0 <= at + k < length for k in range(count))
    work["convolve.pairs"], work["convolve.rows"] = len(firsts) * len(rows), len(rows)
    low = np.maximum(starts, 0)
    high = np.minimum(starts + run + np.where(paired, step, 0), length)
    entries = rows * -(-run // 2)
    shape = (len(rows), len(firsts))
    each = (np.broadcast_to(part[:, None], shape) for part in (entries, -(-entries // 4)))
    return work, rows[:, None] * (high - low)[None, :], *each


def _convolved(layer: Linear | Conv, sums: int, rates: Rates) -> Work:
    laid, inputs, entries, rounds = _laid(geometry(layer))
    fours = padded(layer.channels) // 4
    met = rates.met(inputs)  # where all are 0, the bias is copied
    work = Work(laid)
    work["convolve.entries"] = float((entries * met).sum()) * fours
    work["convolve.rounds"] = float((rounds * met).sum()) * fours
    work["convolve.met"] = float(np.sum(met))
    work["convolve.fours"] = work["convolve.met"] * fours
    work["convolve.none.fours"] = (work["convolve.pairs"] - work["convolve.met"]) * fours
    if sums == 16:
        work["convolve.base"] = work["convolve.pairs"] * fours
    return work


@lru_cache(KEPT)
def _pane_counts(window: Geometry, room: int) -> Work:
    """Windows of dot products: what is copied together, and vectors of it."""
    source, _, kernel, _, _ = window
    depth = source[2]
    run = kernel[1] * depth
    whole = kernel[0] * run
    copied = whole <= room
    _, down, _ = clipped(window, 0)
    _, across, _ = clipped(window, 1)
    work = Work({"pane.rows": len(down), "pane.positions": len(down) * len(across)})
    for rows, times in zip(*np.unique(down, return_counts=True), strict=True):
        for columns, each in zip(*np.unique(across, return_counts=True), strict=True):
            count, part = int(times) * int(each), int(columns) * depth
            work["pane.border"] += count * (columns < kernel[1])
            dots, inputs = 1, whole
            if rows * part < whole or kernel[0] > 1:
                if copied:
                    work["pane.copied"] += count
                    work["pane.copies"] += count * int(rows)
                    work["pane.copy.vectors"] += count * int(rows) * -(-part // 16)
                    if rows * part < whole:
                        work["pane.clears"] += count
                        work["pane.clear"] += count * (whole + 3) // 4
                else:
                    dots, inputs = int(rows), part
            work["pane.dots"] += count * dots
            work["pane.vectors"] += count * dots * -(-inputs // 16)
    return work


def _panes(layer: Linear | Conv, stage: Stage, sums: int) -> Work:
    window = geometry(layer)
    work = Work(_pane_counts(window, 4 * stage.capacity))
    fours = padded(layer.channels) // 4
    short = window[2][0] * window[2][1] * window[0][2] <= SHORT
    kind = "short" if short else "long"
    work[f"pane.{kind}.{sums}.fours"] = work["pane.dots"] * fours
    work["pane.long.vectors"] = 0.0 if short else work["pane.vectors"] * fours
    return work
