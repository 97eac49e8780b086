"""Sizes that every plan of memory shares: maps in whole words, lists of rows, and which kernels have them."""

from __future__ import annotations

from typing import Literal

from sne_edge.ir.layers import AvgPool, Conv, SynapticLayer, size
from sne_edge.ir.limits import padded

# How a layer meets its spikes; sne_kernels.h explains each.
Kernel = Literal["gather", "sweep", "scatter", "overlap", "collect", "depthwise", "convolve"]
ROWS = 160  # that a list has room for, where a window has as many
MAX_ROWS = 256  # that may ever be added at once: so many times -128 is the least that 16-bit lanes hold


def words(bits: int) -> int:
    """32-bit words that hold so many bits."""
    return -(-bits // 32)


def window_inputs(layer: SynapticLayer) -> int:
    """Inputs that one output position sees."""
    if isinstance(layer, Conv):
        return layer.kernel[0] * layer.kernel[1] * layer.in_shape[2]
    return size(layer.in_shape)


def listed_rows(layer: SynapticLayer, kernel: Kernel) -> int:
    """Rows of weights that a kernel lists before they are added, never more than lanes can sum; 0 where none waits.

    Room for all that a window can bring, and for what a word of spikes overshoots by; in a sweep, for as many more as
    there are columns that no position sees.
    """
    rows = min(window_inputs(layer) + 31, ROWS)
    if kernel == "sweep" and isinstance(layer, Conv):
        unseen = layer.in_shape[1] + 2 * layer.padding[1] - _seen_columns(layer)
        return min(rows + unseen, MAX_ROWS)
    return rows if kernel in ("gather", "collect", "convolve") else 0


def _seen_columns(layer: Conv) -> int:
    """Input columns that any position sees, padding included: `span` in sne_sweep."""
    return (layer.out_shape[1] - 1) * layer.stride[1] + layer.kernel[1]


def kept_entries(layer: SynapticLayer, kernel: Kernel, pools: tuple[AvgPool, ...]) -> int:
    """What else a kernel keeps in its list of rows. `sweep`: where each seen column's rows start, and the last one's
    end; `scatter`: what each input column reaches, and a turned drive."""
    if kernel == "sweep" and isinstance(layer, Conv):
        return _seen_columns(layer) + 1
    if kernel == "scatter":
        return 3 * (pools[0].in_shape if pools else layer.in_shape)[1] + padded(layer.channels) // 2
    return 0
