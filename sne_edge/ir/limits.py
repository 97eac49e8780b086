"""What generated C can hold: how large a row, a table and a model may be.

In: layers of a student in their order. Out: nothing, or a `ValueError` that names the layer and what is too large.
Beside these limits, every field of the runtime's types holds whatever a map of `MAX_NEURONS` values can ask of it. They
keep the proofs that follow, and the generator, in bounded time and within 64 bits.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .checks import check
from .encoder import Shape
from .layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, SynapticLayer, size

UINT16 = 2**16 - 1
MAX_ROW = UINT16 - 3  # outputs of a row of weights, rounded up to whole words: uint16_t sne_neurons.stride
MAX_WEIGHT_BYTES = 2**24 - 1  # of a layer: times a stride of at most 255, offsets fit in 32 bits (sne_chain)
MAX_PAIRS = 2**20  # of an axis' table, 4 bytes each: with more of them a model fits no microcontroller
MAX_LAYERS = 1024  # of a student; times 32 students, uint16_t sne_layer_info.layer and sne_model.n_layers hold it
MAX_PROOF = 2**27  # channels times timesteps: what slow leaks take to prove, some ten seconds at most
LEAST_THRESHOLD = 32  # units of membrane that a shifted current leaves it
MAX_MEMBRANE_BYTES = 2**29  # of all layers: with all maps of spikes, a state stays below 2^31 bytes


def coarser(shift: int, fan_in: int, threshold: int) -> bool:
    """Would a current shifted so far (`SynapticLayer.current_shift`) tell less than the weights do?

    Where it leaves a threshold, `threshold`, fewer than `LEAST_THRESHOLD` units of membrane, or makes a larger error
    than rounded weights make anyway: `fan_in` weights, of inputs whose root mean square is a quarter of their range,
    fan_in * 32^2 / 12 units squared; a shifted current, 4^shift / 12.
    """
    return threshold < LEAST_THRESHOLD or 4**shift > 1024 * fan_in


def padded(channels: int) -> int:
    """Weights of one row: output channels rounded up to whole words."""
    return -(-channels // 4) * 4


def row_bytes(layer: SynapticLayer) -> int:
    """Bytes of one row of weights: whole words."""
    return padded(layer.channels) if layer.bits == 8 else -(-layer.channels // 8) * 4


def weight_rows(layer: SynapticLayer) -> int:
    """Rows of weights: one for each input that an output sees, taps apart."""
    if isinstance(layer, Conv):
        return layer.kernel[0] * layer.kernel[1] * layer.depth
    return size(layer.in_shape)


def axis_pairs(layer: Layer, pools: Sequence[AvgPool], axis: int) -> int:
    """Pairs of (input, output) positions along one axis, average poolings in front of the layer seen through."""
    shape: Shape = pools[0].in_shape if pools else layer.in_shape
    reached = np.ones(shape[axis], np.int64)
    for pool in pools:
        reached = _window_sums(reached, pool.kernel[axis], pool.stride[axis], pool.padding[axis])
        check(int(reached.max()) < 2**32, f"average poolings that multiply a spike by {int(reached.max())}")
    if not isinstance(layer, Linear):
        reached = _window_sums(reached, layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    return int(reached.sum())


def _window_sums(values: np.ndarray, kernel: int, stride: int, padding: int) -> np.ndarray:
    """For each window along an axis, the sum of the values in it, int64."""
    first = np.arange((len(values) + 2 * padding - kernel) // stride + 1) * stride - padding
    total = np.concatenate([[0], np.cumsum(values)])
    sums: np.ndarray = total[np.clip(first + kernel, 0, len(values))] - total[np.clip(first, 0, len(values))]
    return sums


def check_limits(layers: Sequence[Layer]) -> None:
    """Raise `ValueError` where a student's layers are more than generated C holds."""
    check(len(layers) <= MAX_LAYERS, f"{len(layers)} layers are more than {MAX_LAYERS}")
    pools: tuple[AvgPool, ...] = ()
    for number, layer in enumerate(layers):
        if isinstance(layer, AvgPool):
            pools += (layer,)
            continue
        try:
            check_layer(layer, pools)
        except ValueError as error:
            raise ValueError(f"layer {number}: {error}") from None
        pools = ()


def check_layer(layer: Layer, pools: tuple[AvgPool, ...]) -> None:
    """Raise `ValueError` where one layer, average poolings in front of it, is more than generated C holds."""
    if isinstance(layer, SynapticLayer):
        check(
            layer.channels <= MAX_ROW,
            f"a row of {layer.channels} weights, one for each output channel, is longer than {MAX_ROW}",
        )
        count = weight_rows(layer) * row_bytes(layer)
        check(
            count <= MAX_WEIGHT_BYTES,
            f"{count} bytes of packed weights are more than {MAX_WEIGHT_BYTES}, the most that offsets reach",
        )
    if pools or isinstance(layer, MaxPool | Depthwise):  # what else has tables can do without: `choose_kernel`
        for axis, name in enumerate(("rows", "columns")):
            count = axis_pairs(layer, pools, axis)
            check(
                count <= MAX_PAIRS,
                f"its table of {name} has {count} pairs of input and output positions, more than {MAX_PAIRS}; "
                "make the map or the kernel smaller, or the stride larger",
            )


def kept_bytes(layers: Sequence[Layer]) -> int:
    """The most that the membranes of all these layers, and what a window remembers, can take where all are kept."""
    return sum(
        layer.out_shape[0] * layer.out_shape[1] * padded(layer.channels) * layer.width // 8 * (1 + remembered(layer))
        for layer in layers
        if isinstance(layer, SynapticLayer)
    )


def remembered(layer: SynapticLayer) -> int:
    """Timesteps that a readout's window looks back; 0 where it has none."""
    return layer.neuron.window if isinstance(layer.neuron.window, int) else 0
