"""What counts of work are made of: numbers by name, the rates of spikes that they follow from, and the cores whose
kernels do it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..ir.limits import padded

Count = float | np.ndarray
# What sne_core.h chooses: the first Thumb instructions, Thumb-2, those with the DSP extension, vectors, words in C.
Kernels = Literal["thumb1", "thumb2", "dsp", "helium", "words"]


class Work(dict[str, float]):
    """Counts by name; of what is not there, none."""

    def __missing__(self, name: str) -> float:
        return 0.0

    def __add__(self, other: Work) -> Work:
        made = Work(self)
        for name, count in other.items():
            made[name] += count
        return made

    def times(self, factor: float) -> Work:
        """So many times as much of all."""
        return Work({name: count * factor for name, count in self.items()})


@dataclass(frozen=True)
class Rates:
    """Shares of one layer's inputs, in one timestep, that spike (of a direct input: that are not 0), and of its neurons
    that fire. `certain`: where some may, a window or a group of neurons holds one, as in a worst case; else n inputs
    are worth n^`apart` that are independent of each other, and n neurons n^`grouped`. `renewed`: where only what
    differs from the timestep before is looked at, inputs that come or go for each spike. `uneven`: how far places
    differ, as a share of the mean."""

    incoming: float
    outgoing: float
    certain: bool = False
    apart: float = 1.0
    grouped: float = 1.0
    renewed: float = 1.0
    uneven: float = 0.0

    def met(self, inputs: Count) -> Count:
        """Probability that one spikes of so many inputs."""
        return _any(self.incoming, inputs, self.apart, self.certain)

    def fired(self, neurons: Count) -> Count:
        """Probability that one fires of so many neurons."""
        return _any(self.outgoing, neurons, self.grouped, self.certain)


def _any(rate: float, inputs: Count, apart: float, certain: bool) -> Count:
    if certain and rate > 0:
        return np.minimum(inputs, 1)
    return 1 - (1 - rate) ** np.asarray(inputs, float) ** apart


def charged(work: Work, name: str, times: float, stride: int, width: int) -> None:
    """Membranes set to a position's drive, so often, in fours and twos of words."""
    words = stride * width // 32
    work[f"{name}.calls"] += times
    work[f"{name}.quads"] += times * (words // 4)
    work[f"{name}.twos"] += times * (words % 4 // 2)


def nibble_blocks(stride: int, kernels: Kernels) -> dict[str, int]:
    """A row of 4-bit weights in the portions that kernels take, by their outputs."""
    if kernels == "helium":
        wide, left = divmod(stride, 64)
        return {"64": wide, "32": left // 32, "few": int(left % 32 > 0)}
    whole, left = (stride // 32, stride % 32) if kernels in ("dsp", "thumb2") else (0, stride)
    few = left % 16
    return {"32": whole, "16": left // 16 + (few > 8), "8": int(0 < few <= 8)}


def byte_blocks(stride: int, kernels: Kernels) -> dict[str, int]:
    """A row of 8-bit weights in the portions that kernels take, by their outputs."""
    if kernels == "helium":
        return {"32": stride // 32, "8": -(-(stride % 32) // 8)}
    if kernels == "words":
        return {"32": stride // 32, "16": stride % 32 // 16, "8": stride % 16 // 8, "4": stride % 8 // 4}
    return {"16": stride // 16, "8": stride % 16 // 8, "4": stride % 8 // 4}


def added(work: Work, channels: int, width: int, bits: int, calls: float, rows: float, kernels: Kernels) -> None:
    """Rows of weights added to a position's membranes: a call brings several of them."""
    stride, key = padded(channels), f"add.{width}.{bits}"
    work[f"{key}.calls"] += calls
    if bits == 4:
        portions = nibble_blocks(stride, kernels)
        if calls:  # sums in bytes hold so many rows
            most = max(calls, rows / 16 + calls / 2 if rows > 16 * calls else calls)
            for block, count in portions.items():
                work[f"{key}.sums.{block}"] += most * count
        work[f"{key}.fours"] += calls * (stride // 4)
    elif width == 32:
        portions = dict.fromkeys(("32", "16", "8", "4"), 0)
        for part in [32] * (stride // 32) + [stride % 32] * (stride % 32 > 0):
            for block, count in byte_blocks(part, kernels).items():
                portions[block] += count
            work[f"{key}.tails"] += calls * (part % 16 > 0)
        work[f"{key}.wide"] += calls * -(-stride // 32)
        work[f"{key}.fours"] += calls * (stride // 4)
    else:
        portions = byte_blocks(stride, kernels)
        work[f"{key}.tails"] += calls * (stride % 16 > 0)
        work[f"{key}.wholes"] += calls * (stride >= 16)
    for block, count in portions.items():
        work[f"{key}.calls.{block}"] += calls * count
        work[f"{key}.rows.{block}"] += rows * count
