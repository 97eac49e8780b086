"""How spikes lie beside each other, and from timestep to timestep: what `sne_edge.deploy.rates` assumes of them.

Of bodies that are neither fitted on nor held against the cost model, prints by layer of spikes: the exponents by which
groups of neurons, and what a window sees, count as independent; inputs that come or go for each spike; and how far the
columns of a window differ in their spikes.
"""

from __future__ import annotations

import itertools
import random
import sys

import numpy as np
from cost_heldout import SHAPES, HeldOut, make_body

from sne_edge.check.reference import run_student
from sne_edge.ir.layers import Conv

BODIES = 10
SEED = 90_000  # far from those of the bodies that are held out


def exponent(met: float, rate: float, count: int) -> float:
    """a in 1 - (1 - rate) ^ (count ^ a) = met; NaN where all or none are met."""
    if not 0 < met < 1:
        return float("nan")
    return float(np.log(np.log1p(-met) / np.log1p(-rate)) / np.log(count))


def windows(spikes: np.ndarray, layer: Conv) -> np.ndarray:
    """What a layer's positions see: [..., height, width, taps] of counts [..., height, width]."""
    (top, left), (down, across), (high, wide) = layer.padding, layer.stride, layer.out_shape[:2]
    padded = np.pad(spikes, [(0, 0)] * (spikes.ndim - 2) + [(top, top), (left, left)])
    taps = [
        padded[..., y : y + down * (high - 1) + 1 : down, x : x + across * (wide - 1) + 1 : across]
        for y, x in itertools.product(*map(range, layer.kernel))
    ]
    return np.stack(taps, axis=-1)


def layer_row(spikes: np.ndarray, layer: Conv) -> tuple[float, float, float, float]:
    """Exponents of eight neurons and of a window, the share renewed, and the relative deviation of columns, of bool
    [timesteps, N, height, width, channels] that a layer takes."""
    rate, eights = float(spikes.mean()), spikes.shape[-1] // 8 * 8
    groups = spikes[..., :eights].reshape(*spikes.shape[:-1], -1, 8).any(-1)
    taps = windows(spikes.sum(-1), layer)
    seen = taps.sum(-1)
    inputs = layer.kernel[0] * layer.kernel[1] * layer.in_shape[2]
    columns = taps.reshape(*seen.shape, *layer.kernel).sum(-2)
    changed = windows((spikes[1:] != spikes[:-1]).sum(-1), layer).sum()
    return (
        exponent(float(groups.mean()), rate, 8),
        exponent(float((seen > 0).mean()), rate, inputs),
        float((seen[0].sum() + changed) / seen.sum()) if len(spikes) > 1 else float("nan"),
        float(columns.std() / columns.mean()),
    )


def body_rows(one: HeldOut) -> list[tuple[float, float, float, float]]:
    """A body's layers of spikes that a convolution takes."""
    student, fired = one.model.students[0], dict[int, list[np.ndarray]]()
    run_student(one.model, 0, one.inputs, fired=lambda _, layer, x: fired.setdefault(layer, []).append(x.numpy() > 0))
    pairs = ((student.layers[number + 1], maps) for number, maps in fired.items())
    return [layer_row(np.stack(maps), after) for after, maps in pairs if isinstance(after, Conv)]


def main() -> int:
    drawn = (make_body(random.Random(SEED + n), SHAPES[n % len(SHAPES)], n) for n in itertools.count())
    found = np.array([row for one in itertools.islice(filter(None, drawn), BODIES) for row in body_rows(one)])
    for name, column in zip(("eight neurons", "a window", "renewed", "columns"), found.T, strict=True):
        kept = column[np.isfinite(column)]
        print(f"{name}: mean {kept.mean():.2f}, {kept.min():.2f} to {kept.max():.2f} of {len(kept)} layers")
    return 0


if __name__ == "__main__":
    sys.exit(main())
