"""What bringing spikes to membranes takes with vectors: the sums of all timesteps of a position
(sne_window_helium.h).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ..codegen.layout import Stage
from ..ir.layers import Conv, Linear
from ..ir.limits import padded
from .work_counts import Rates, Work
from .work_direct import KEPT, Geometry, clipped, geometry

GLIMPSE_WORDS = 3  # of a list's room
MOST_CHANNELS = 64  # for which it is better than listing
VECTORS = 5  # whose sums stay in registers


def windowed(layer: Linear | Conv, stage: Stage) -> int:
    """Words that a position's glimpses take where the kernel is taken; 0 where it is not (sne_window_room)."""
    if stage.kernel not in ("gather", "sweep") or layer.neuron.kind == "li" or layer.width != 16 or layer.bits != 8:
        return 0
    if layer.neuron.clamp is not None or layer.channels % 8 or layer.channels > MOST_CHANNELS:
        return 0
    source, out, kernel, stride, _ = geometry(layer)
    if out[0] * out[1] == 1 or (out[0] > 1 and kernel[1] > 2 * stride[1]):
        return 0
    words = kernel[0] * ((kernel[1] * source[2] + 62) >> 5) * GLIMPSE_WORDS
    return words if words + padded(layer.channels) // 2 <= stage.capacity else 0


@lru_cache(KEPT)
def _glimpses(window: Geometry) -> Work:
    """Words that all positions look at, and how often these are worked out: where those of the position before lay in
    other bits of their words, or were others."""
    source, out, _, _, _ = window
    depth, row = source[2], source[1] * source[2]
    top, down, _ = clipped(window, 0)
    left, across, before = clipped(window, 1)
    work = Work({"window.rows": out[0], "window.positions": out[0] * out[1]})
    clips = (before > 0) | (across < window[2][1])
    work["window.border"] = float(out[0] * clips.sum())
    for first, rows in zip(top, down, strict=True):
        known: tuple[int, int, int] | None = None
        count = 0
        for x in range(out[1]):
            start = int(first) * row + int(left[x]) * depth
            seen = (start % 32, int(before[x]), int(across[x]))
            if seen != known:
                at = start % 32 + np.arange(rows) * row
                count = int(((at % 32 + seen[2] * depth + 31) // 32).sum())
                known = seen
                work["window.builds"] += 1
                work["window.built.runs"] += float(rows)
                work["window.built"] += count
            work["window.glimpses"] += count
    return work


def window_work(layer: Linear | Conv, stage: Stage, room: int, timesteps: int, rates: Rates) -> Work:
    """All timesteps: what each position sees, summed up, and its neurons."""
    window = geometry(layer)
    work = Work(_glimpses(window))
    stride = padded(layer.channels)
    vectors = stride // 8
    blocks = 1 if vectors <= VECTORS else 1 + -(-(vectors - VECTORS) // 4)
    positions = work["window.positions"]
    chunks = -(-timesteps // ((stage.capacity - room) // (stride // 2)))
    later = timesteps - chunks  # timesteps that another one comes before, at hand
    _, down, _ = clipped(window, 0)
    _, across, _ = clipped(window, 1)
    inputs = float(down.sum() * across.sum() * window[0][2])
    looked = work.pop("window.glimpses")
    same = later > 0 and (rates.certain or rates.renewed <= 1)
    rows = inputs * rates.incoming * timesteps
    if same and not rates.certain:
        rows *= rates.renewed
    elif same:  # before it turns out that all changes
        rows += window[2][0] * window[2][1] * window[0][2] * rates.incoming * later
    return work + Work(
        {
            "window.chunks": positions * chunks,
            "window.calls": positions * chunks * blocks,
            "window.more": looked * chunks * (blocks > 1) * blocks,
            "window.steps": positions * timesteps * blocks,
            "window.step.vectors": positions * timesteps * vectors,
            "window.glimpses": looked * blocks * (chunks if same else timesteps),
            "window.glimpses.same": looked * blocks * (later if same else 0),
            "window.spikes": rows * blocks,
            "window.spike.vectors": rows * vectors,
            **_sums(layer, int(positions), chunks, timesteps, vectors),
        }
    )


def _sums(layer: Linear | Conv, positions: int, chunks: int, timesteps: int, vectors: int) -> dict[str, float]:
    neuron = layer.neuron
    key = f"sums.{neuron.decay.kind}.{'delayed' if neuron.reset_delay else neuron.reset}"
    updates = positions * timesteps
    return {
        f"{key}.calls": positions * chunks,
        f"{key}.steps": updates,
        f"{key}.eights": updates * vectors,
        f"{key}.more": updates * vectors * (neuron.decay.kind == "shift" and neuron.decay.value > 1),
    }
