"""What a blob is written with: bytes that grow, tables stored once, weights as a family of cores wants them.

runtime_c/sne_blob.h has the structures.
"""

from __future__ import annotations

import struct
from itertools import accumulate
from typing import Any

import numpy as np

SYNAPSES = struct.Struct("<6I14H")
ORDERS = ("plain", "by output", "dsp", "swar", "thumb1")  # as sne_load.h numbers them
WIDE = 256  # beside them: axes may have more than 65,535 pairs
KERNELS = ("gather", "sweep", "scatter", "overlap", "collect", "depthwise", "mac", "convolve", "maxpool")
DECAYS = ("none", "shift", "q15")
LISTED = ("gather", "sweep", "mac", "convolve")  # kernels that need no axes
Rows = tuple[tuple[tuple[int, int], ...], ...]  # an axis: pairs by position


class Parts:
    """Bytes of a blob behind `start` bytes of header, each part from a word on. `wraps`: sums might not fit in 32 bits
    (blob_sums)."""

    def __init__(self, start: int, axes: dict[Rows, str], order: str, wide: bool) -> None:
        self.order, self.wide, self.wraps = order, wide, False
        self._parts = [bytes(start)]
        self._length = start
        self._axes: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, Rows] = {name: rows for rows, name in axes.items()}

    def add(self, part: bytes) -> int:
        """Append a part; its offset."""
        place = self._length
        padded = part + bytes(-len(part) % 4)
        self._parts.append(padded)
        self._length += len(padded)
        return place

    def array(self, values: Any, kind: str) -> int:
        """Append numbers of a numpy type; their offset, or 0 where there are none."""
        numbers = np.asarray(values)
        return self.add(numbers.astype(kind).tobytes()) if numbers.size else 0

    def whole(self) -> bytes:
        return b"".join(self._parts)

    def axis(self, name: str) -> tuple[int, int]:
        """Offsets of an axis' starts and pairs, stored once."""
        if name not in self._axes:
            rows = self._rows[name]
            start = np.array(list(accumulate(map(len, rows), initial=0)), "<u4" if self.wide else "<u2")
            pairs = np.array([pair for row in rows for pair in row], "<u2")
            self._axes[name] = self.add(start.tobytes()), self.add(pairs.tobytes())
        return self._axes[name]

    def rows_of(self, name: str) -> Rows:
        """An axis' pairs, by position."""
        return self._rows[name]

    def rows_at_most(self, layer: dict[str, Any]) -> int:
        """Rows of weights that one position may be given in a timestep, at most, as sne_load_tables.c counts them."""
        height, width = layer["kernel"]
        taps: int = height * width
        if layer["axes"]:
            rows, columns = (self._rows[name] for name in layer["axes"])
            taps = max(map(len, rows)) * sum(map(len, columns))
        return taps * int(layer["input"][2])

    def synapses(self, layer: dict[str, Any], capacity: int, weight: int) -> bytes:
        """sne_blob_synapses of a layer, projection or pooling, whose weights are at an offset."""
        axes = (*self.axis(layer["axes"][0]), *self.axis(layer["axes"][1])) if layer["axes"] else (0, 0, 0, 0)
        sizes = (0,) * 6 if weight == 0 else (*layer["kernel"], *layer["stride"], *layer["padding"])
        return SYNAPSES.pack(weight, *axes, *layer["divide"], *layer["input"], *layer["output"], *sizes, capacity)


def packed_weights(layer: dict[str, Any], order: str) -> bytes:
    """A layer's weights as the kernels of an order want them: see sne_weights.h."""
    weight = np.array(layer["weight"], np.int16)
    if layer["weight_bits"] == 4:
        return weight.astype(np.uint8).tobytes()
    if layer["macro"] == "SNE_W4":
        four = weight.reshape(-1, 4)
        if order in ("dsp", "swar", "thumb1"):
            four = four[:, [0, 2, 1, 3]]
        return (four + (128 if order in ("swar", "thumb1") else 0)).astype(np.uint8).tobytes()
    if order == "by output" and "by_output" in layer:
        return np.array(layer["by_output"], np.int16).astype(np.uint8).tobytes()
    if order == "dsp" and layer["blocks"]:
        a, b, c, d, e, f, g, h = np.array(layer["blocks"], np.int16).reshape(-1, 8).T
        eight = np.stack([a, b - (a < 0), e, f - (e < 0), c, d - (c < 0), g, h - (g < 0)], axis=1)
        return eight.astype(np.uint8).tobytes()
    eight = weight.reshape(-1, 8)
    if order == "dsp":
        eight = eight[:, [0, 1, 4, 5, 2, 3, 6, 7]]
    return (eight + (128 if order == "thumb1" else 0)).astype(np.uint8).tobytes()
