"""Where words go in a picture, so that they cover neither each other nor what they stand beside.

In: what each word names, its size, and the points that curves go through, in one scale. Out: a centre for each word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

Place = tuple[float, float]
DIRECTIONS = tuple((float(np.cos(a)), float(np.sin(a))) for a in np.arange(16) * np.pi / 8)
DISTANCES = (1.0, 2.0, 3.5, 5.0, 7.0)  # in gaps


def place(
    anchors: Sequence[Place],
    sizes: Sequence[Place],
    obstacles: Sequence[Place],
    bounds: tuple[float, float, float, float],
    gap: float = 6.0,
) -> list[Place]:
    """A centre for each word, near the point that it names: within `bounds` (left, low, right, high), clear of words
    placed before it and of `obstacles`, as far as there is room. `sizes`: width and height."""
    points = np.array([*anchors, *obstacles], dtype=float).reshape(-1, 2)
    boxes: list[tuple[float, float, float, float]] = []
    centres: list[Place] = []
    for anchor, (width, height) in zip(anchors, sizes, strict=True):
        best, least = anchor, np.inf
        for far, (x, y) in ((far, direction) for far in DISTANCES for direction in DIRECTIONS):
            centre = (anchor[0] + x * (far * gap + width / 2), anchor[1] + y * (far * gap + height / 2))
            cost = _cost(centre, width, height, points, boxes, bounds) + 0.3 * far
            if cost < least:
                best, least = centre, cost
        centres.append(best)
        boxes.append(_box(best, width, height))
    return centres


def _box(centre: Place, width: float, height: float, more: float = 0.0) -> tuple[float, float, float, float]:
    x, y, half, tall = *centre, width / 2 + more, height / 2 + more
    return x - half, y - tall, x + half, y + tall


def _cost(
    centre: Place,
    width: float,
    height: float,
    points: np.ndarray,
    boxes: Sequence[tuple[float, float, float, float]],
    bounds: tuple[float, float, float, float],
) -> float:
    left, low, right, high = _box(centre, width, height, more=1.0)
    outside = max(0.0, bounds[0] - left) + max(0.0, bounds[1] - low)
    outside += max(0.0, right - bounds[2]) + max(0.0, high - bounds[3])
    covered = (points[:, 0] > left) & (points[:, 0] < right) & (points[:, 1] > low) & (points[:, 1] < high)
    met = sum(max(0.0, min(right, b[2]) - max(left, b[0])) * max(0.0, min(high, b[3]) - max(low, b[1])) for b in boxes)
    return 3.0 * outside + 4.0 * float(covered.sum()) + met


def along(line: Sequence[Place], step: float = 4.0) -> list[Place]:
    """Points of a line of segments, about `step` apart: what a word must not cover."""
    found: list[Place] = list(line[:1])
    for (x, y), (u, v) in pairwise(line):
        count = max(1, int(np.hypot(u - x, v - y) / step))
        found += [(x + (u - x) * k / count, y + (v - y) * k / count) for k in range(1, count + 1)]
    return found
