"""Layers: integer weights into neurons, and poolings over spikes.

Shapes are (height, width, channels), channel last, 1-D data having height 1; flattening is in that order. Every type
checks itself on construction and raises `ValueError`.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .checks import check, check_array
from .encoder import MAX_NEURONS, Shape
from .neuron import Bound, Neuron

Pair = tuple[int, int]  # (vertical, horizontal)


def size(shape: Shape) -> int:
    """Number of values in a map."""
    return shape[0] * shape[1] * shape[2]


def window_out(shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Height and width of a convolution's or pooling's output (floor, as in torch)."""
    out = tuple((shape[a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1))
    return out[0], out[1]


def window_taps(length: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Along one axis, how many output positions each of `length` input positions reaches: int64 [length]."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    position = np.arange(padding, length + padding, dtype=np.int64)
    first = np.maximum(0, -((kernel - 1 - position) // stride))
    last = np.minimum(outputs - 1, position // stride)
    taps: np.ndarray = np.maximum(0, last - first + 1)
    return taps


def check_window(shape: Shape, out: Shape, kernel: Pair, stride: Pair, padding: Pair) -> None:
    check(
        min(kernel) >= 1 and min(stride) >= 1 and min(padding) >= 0,
        f"kernel {kernel}, stride {stride}, padding {padding} are out of range",
    )
    check(max(*kernel, *stride) <= 255, f"kernel {kernel} or stride {stride} is larger than 255")
    check(
        padding[0] < kernel[0] and padding[1] < kernel[1], f"padding {padding} must be smaller than the kernel {kernel}"
    )
    expected = window_out(shape, kernel, stride, padding)
    check(
        min(expected) >= 1 and out[:2] == expected,
        f"kernel {kernel}, stride {stride}, padding {padding} make {expected} of {shape[:2]}, not {out[:2]}",
    )


def check_shapes(*shapes: Shape) -> None:
    for shape in shapes:
        check(min(shape) >= 1 and size(shape) <= MAX_NEURONS, f"shape {shape} must hold 1 to {MAX_NEURONS} values")


def rounding(shift: int) -> int:
    """What is added to a current before it is shifted, so that the floor rounds to the nearest, halves up."""
    return 1 << shift >> 1


class SynapticLayer(msgspec.Struct, frozen=True, eq=False, tag_field="op", dict=True):
    """What `Linear` and `Conv` share: int8 weights into integer neurons (`Neuron` has the equations).

    weight     int8, see the subclass
    bias       int32 [channels], added at every timestep
    threshold  int32 [channels], >= 1 (0 for the readout, `li`, which has none)
    scale      float64 [channels], the real value of one unit of membrane and threshold
    bound      the proven range of the membranes; `width` follows from it
    bits       of a weight on the device: 8, or 4, two to a byte; then weights are within -8..7
    current_shift  of a direct input's layer, else 0: its constant current is bias + sum of weight * value, divided by
               2^current_shift and rounded to the nearest, halves up: (sum + `rounding`) >> current_shift. A unit of its
               weights and biases is worth scale / 2^current_shift
    """

    in_shape: Shape
    out_shape: Shape
    weight: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    scale: np.ndarray
    neuron: Neuron
    bound: Bound
    bits: int = 8
    current_shift: int = 0

    def __post_init__(self) -> None:
        check_shapes(self.in_shape, self.out_shape)
        channels = (self.channels,)
        check_array("bias", self.bias, np.int32, channels)
        check_array("threshold", self.threshold, np.int32, channels)
        check_array("scale", self.scale, np.float64, channels)
        check(bool(np.isfinite(self.scale).all() and (self.scale > 0).all()), "scale must be positive and finite")
        spiking = self.neuron.kind != "li"
        check(
            bool((self.threshold >= 1).all() if spiking else (self.threshold == 0).all()),
            "threshold must be at least 1 (0 for li)",
        )
        check(self.bits in (4, 8), f"weights have 8 or 4 bits, not {self.bits}")
        low, high = (int(self.weight.min(initial=0)), int(self.weight.max(initial=0)))
        check(self.bits == 8 or (low >= -8 and high <= 7), f"weights in {low}..{high} do not fit in 4 bits")
        check(0 <= self.current_shift <= 31, f"current_shift {self.current_shift} is not in 0..31")
        check(self.bound.width in (16, 32), f"membranes in {self.bound.low}..{self.bound.high} do not fit in 32 bits")

    @property
    def channels(self) -> int:
        return self.out_shape[2]

    @property
    def neurons(self) -> int:
        return size(self.out_shape)

    @property
    def width(self) -> int:
        """Bits of a membrane: 16 or 32."""
        return self.bound.width

    def fan_out(self) -> np.ndarray:
        """Weights one spike of each input meets, int64 of `in_shape`: the synaptic operations it costs."""
        raise TypeError("a layer is a Linear or a Conv")

    def fan_in(self) -> np.ndarray:
        """Weights by output channel, int64 [channels, fan-in]."""
        return self.weight.reshape(self.channels, -1).astype(np.int64)


class Linear(SynapticLayer, frozen=True, eq=False, tag="linear", dict=True):
    """Fully connected: I[o] = sum over spikes i of weight[o, i]; weight int8 [out, in], out_shape (1, 1, out)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.out_shape[:2] == (1, 1), f"a linear layer's output shape is (1, 1, n), not {self.out_shape}")
        check_array("weight", self.weight, np.int8, (self.channels, size(self.in_shape)))

    def fan_out(self) -> np.ndarray:
        return np.full(self.in_shape, self.channels, dtype=np.int64)


class Conv(SynapticLayer, frozen=True, eq=False, tag="conv", dict=True, kw_only=True):
    """Convolution (cross-correlation, as in torch) with zero padding; weight int8 [out, in, height, width].

    A 1-D convolution has height 1 and kernel height 1.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.weight.ndim == 4, "a convolution's weight has 4 axes")
        check_array("weight", self.weight, np.int8, (self.channels, self.depth, *self.kernel))
        check_window(self.in_shape, self.out_shape, self.kernel, self.stride, self.padding)

    @property
    def kernel(self) -> Pair:
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def depth(self) -> int:
        """Input channels that an output sees."""
        return self.in_shape[2]

    @property
    def reach(self) -> int:
        """Output channels that an input reaches."""
        return self.channels

    def fan_out(self) -> np.ndarray:
        rows, columns = (window_taps(self.in_shape[a], self.kernel[a], self.stride[a], self.padding[a]) for a in (0, 1))
        taps = rows[:, None, None] * columns[None, :, None] * self.reach
        return np.broadcast_to(taps, self.in_shape)


class Depthwise(Conv, frozen=True, eq=False, tag="depthwise", dict=True, kw_only=True):
    """Convolution of each channel by itself (torch's groups = channels); weight int8 [channels, 1, height, width].

    A direct input cannot be its input: it takes spikes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check(self.in_shape[2] == self.channels, "a depthwise convolution keeps the number of channels")
        check(self.bits == 8, "a depthwise convolution has 8-bit weights")

    @property
    def depth(self) -> int:
        return 1

    @property
    def reach(self) -> int:
        return 1


class Pool(msgspec.Struct, frozen=True, tag_field="op", dict=True):
    """What the poolings share: a window over spikes, channel by channel, without state."""

    in_shape: Shape
    out_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        check_shapes(self.in_shape, self.out_shape)
        check(self.in_shape[2] == self.out_shape[2], "pooling keeps the number of channels")
        check_window(self.in_shape, self.out_shape, self.kernel, self.stride, self.padding)


class AvgPool(Pool, frozen=True, tag="avgpool", dict=True):
    """Counts the spikes in its window: each one passes on, to its place in the smaller map.

    The division by the window's area is folded into the scale of the next layer, so this costs no arithmetic.
    """


class MaxPool(Pool, frozen=True, tag="maxpool", dict=True):
    """One spike where the window holds any; its input must be binary (not an `AvgPool`)."""


Layer = Linear | Conv | Depthwise | AvgPool | MaxPool
