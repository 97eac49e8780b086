"""What bringing spikes to membranes takes one by one, through tables that see through average poolings: scatter,
collect, depthwise (sne_scatter.h, sne_depthwise.h); and what pooling the largest takes (sne_pooling.h).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..codegen.context import stage_input
from ..codegen.layout import Stage, from_inputs, through_pool, window_axis
from ..ir.layers import AvgPool, Conv, Linear, MaxPool, size
from ..ir.limits import padded
from .work_counts import Kernels, Rates, Work, added
from .work_fire import turned


def _reached(layer: Linear | Conv, pools: Sequence[AvgPool], axis: int) -> list[list[tuple[int, int]]]:
    """By output position of one axis, the inputs that it meets before the average poolings in front of it."""
    if isinstance(layer, Conv):
        pairs = window_axis(layer.in_shape[axis], layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    else:
        pairs = [[(position, position) for position in range(layer.in_shape[axis])]]
    for pool in reversed(pools):
        pairs = through_pool(pairs, pool, axis)
    return pairs


def _row_words(rows: np.ndarray, length: int) -> int:
    """Words that rows of `length` bits, by their numbers, lie in."""
    first = rows * length
    return int(((first + length - 1) // 32 - first // 32 + 1).sum())


def _portions(layer: Linear | Conv, turn: bool, kernels: Kernels) -> dict[str, int]:
    """A row of a chain's weights in the portions that kernels take, by their outputs."""
    stride = padded(layer.channels)
    if layer.bits == 4:
        return {"32": -(-stride // 32)} if kernels == "helium" and layer.width == 16 else {"8": -(-stride // 8)}
    if layer.width == 32:
        return {"1": stride}
    if kernels == "helium":
        return {"32": stride // 32, "8": -(-(stride % 32) // 8)}
    if kernels == "words":
        return {"8": stride // 8, "4": stride % 8 // 4}
    if stride % 16 == 0 and (kernels == "dsp" or (kernels == "thumb2" and turn)):
        return {"32": 1} if kernels == "dsp" and stride == 32 else {"16": stride // 16}
    return {"4": stride // 4}


def scatter_work(layer: Linear | Conv, stage: Stage, rates: Rates, kernels: Kernels) -> Work:
    """One timestep: each spike brought to the positions that it reaches."""
    rate = rates.incoming
    shape = stage_input(layer, stage.pools)
    visits = np.array([source for row in _reached(layer, stage.pools, 0) for source, _ in row], np.int64)
    width, depth = shape[1], shape[2]
    pairs = from_inputs(_reached(layer, stage.pools, 1), width)
    reached = sum(map(len, pairs)) * depth * len(visits) * rate
    spikes = len(visits) * width * depth * rate
    kernel = stage.kernel
    work = Work(
        {
            "scatter.rows": len(visits),
            "scatter.words": _row_words(visits, width * depth),
            f"{kernel}.spikes": spikes,
        }
    )
    if kernel == "depthwise":
        work[f"depthwise.{layer.width}.rows"] = reached
    else:
        turn = turned(layer, kernel, kernels)
        key = f"chain.{layer.width}.{layer.bits}{'.turned' if turn else ''}"
        hit = sum(map(bool, pairs)) * depth * len(visits) * rate  # spikes that reach any
        work[f"{key}.calls"], work[f"{key}.rows"] = hit if kernel == "scatter" else reached, reached
        for block, count in _portions(layer, turn, kernels).items():
            if kernels == "helium":
                work[f"{key}.calls.{block}"] = work[f"{key}.calls"] * count
            work[f"{key}.rows.{block}"] = reached * count
    return work


def plan_work(layer: Linear | Conv, stage: Stage, kernel: str) -> Work:
    """What is prepared once for all timesteps."""
    if kernel != "scatter":
        return Work()
    return Work({"scatter.columns": stage_input(layer, stage.pools)[1], "scatter.drive": padded(layer.channels) // 2})


def collect_work(layer: Linear | Conv, stage: Stage, rates: Rates, kernels: Kernels) -> Work:
    """One timestep of a linear layer behind an average pooling."""
    rate = rates.incoming
    shape = stage_input(layer, stage.pools)
    visits = np.array([source for row in _reached(layer, stage.pools, 0) for source, _ in row], np.int64)
    pairs = sum(map(len, _reached(layer, stage.pools, 1)))
    spikes = len(visits) * shape[1] * shape[2] * rate
    rows = len(visits) * pairs * shape[2] * rate
    work = Work(
        {
            "collect.rows": len(visits),
            "collect.words": _row_words(visits, shape[1] * shape[2]),
            "collect.spikes": spikes,
            "collect.pairs": rows,
        }
    )
    some = rates.met(len(visits) * pairs * shape[2])
    calls = max(float(some), float(np.ceil(rows / stage.capacity))) if rate else 0.0
    added(work, layer.channels, layer.width, layer.bits, calls, rows, kernels)
    return work


def maxpool_work(layer: MaxPool, stage: Stage, timesteps: int, rates: Rates) -> Work:
    """All timesteps of a pooling."""
    shape = stage_input(layer, stage.pools)
    rows, columns = (sum(map(len, from_inputs(_pooled(layer, stage.pools, axis), shape[axis]))) for axis in (0, 1))
    return Work(
        {
            "layer": 1,
            "maxpool.steps": timesteps,
            "maxpool.words": timesteps * -(-size(shape) // 32),
            "clear": timesteps * -(-size(layer.out_shape) // 32),
            "maxpool.spikes": timesteps * size(shape) * rates.incoming,
            "maxpool.rows": timesteps * rows * shape[1] * shape[2] * rates.incoming,
            "maxpool.pairs": timesteps * rows * columns * shape[2] * rates.incoming,
        }
    )


def _pooled(layer: MaxPool, pools: Sequence[AvgPool], axis: int) -> list[list[tuple[int, int]]]:
    pairs = window_axis(layer.in_shape[axis], layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    for pool in reversed(pools):
        pairs = through_pool(pairs, pool, axis)
    return pairs
