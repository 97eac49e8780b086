"""A CNN in integers alone, in the arithmetic of Arm's CMSIS-NN (weights by channel, activations with a scale and a zero
point; that of TensorFlow Lite).

In: a network of `learn.baseline` in its int8 form. Out: a `QuantCnn`, and what it computes, layer by layer.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..ir.encoder import Shape
from ..learn.baseline import HIGH, LOW, Design, Geometry, Int8Input, Int8Layer, Int8ReLU, Layer, geometry
from ..learn.views import to_torch


@dataclass(frozen=True, eq=False)
class QuantLayer:
    """A layer in integers: out = clamp(requantize(bias + sum weight (in - in_zero)) + out_zero, -128, 127).

    Behind a ReLU out_zero is -128, so that the clamp is the ReLU.

    weight       int8 [out channels, kernel height, kernel width, in channels]; [1, ..., channels] of a depthwise
                 convolution; empty of an average
    bias         int32 [out channels]
    multiplier, shift   int32 [out channels], see `requantize`
    """

    kind: str
    place: Geometry
    weight: np.ndarray
    bias: np.ndarray
    multiplier: np.ndarray
    shift: np.ndarray
    in_zero: int
    out_zero: int

    def run(self, x: np.ndarray) -> np.ndarray:
        """Outputs int8 [N, height, width, channels] of inputs int8 [N, height, width, channels]."""
        if self.kind == "average":
            return _average(x)
        found: np.ndarray
        if self.kind == "dense":
            total = x.reshape(len(x), -1).astype(np.int64) - self.in_zero
            found = (total @ self.weight.reshape(len(self.weight), -1).T.astype(np.int64))[:, None, None]
        else:
            found = self._convolve(x)
        found = requantize(found + self.bias, self.multiplier, self.shift) + self.out_zero
        out: np.ndarray = found.clip(LOW, HIGH).astype(np.int8)
        return out

    def _convolve(self, x: np.ndarray) -> np.ndarray:
        """Sums int64 [N, height, width, channels], in float64, which is exact below 2^53."""
        top, bottom, left, right = self.place.padding
        depthwise = self.kind == "depthwise"
        weight = torch.from_numpy(self.weight.astype(np.float64))
        weight = weight.permute(3, 0, 1, 2) if depthwise else weight.permute(0, 3, 1, 2)
        moved = torch.from_numpy(x.astype(np.float64) - self.in_zero).permute(0, 3, 1, 2)
        padded = functional.pad(moved, (left, right, top, bottom))
        groups = x.shape[3] if depthwise else 1
        out = functional.conv2d(padded, weight, stride=self.place.stride, groups=groups)
        sums: np.ndarray = out.permute(0, 2, 3, 1).round().numpy().astype(np.int64)
        return sums


def _average(x: np.ndarray) -> np.ndarray:
    """Means over the map, halves away from zero, int8 [N, 1, 1, channels]."""
    total, count = x.sum(axis=(1, 2), keepdims=True, dtype=np.int64), x.shape[1] * x.shape[2]
    mean: np.ndarray = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return mean.astype(np.int8)


def requantize(total: np.ndarray, multiplier: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """total x multiplier / 2^31 x 2^shift, rounded twice as `arm_nn_requantize` does: to the nearest, halves up, then
    after a right shift to the nearest, halves away from zero. `total` int64 [..., channels] within int32."""
    high = ((total << np.maximum(shift, 0)) * multiplier.astype(np.int64) + 2**30) >> 31
    right = np.maximum(-shift, 0)
    mask = (np.int64(1) << right) - 1
    short = high >> right
    result: np.ndarray = short + ((high & mask) > (mask >> 1) + (short < 0))
    return result


def fixed_point(factor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Multipliers in 2^30..2^31 and shifts, both int32, that stand for positive factors."""
    part, power = np.frexp(factor)
    multiplier = np.rint(part * 2.0**31).astype(np.int64)
    over = multiplier == 2**31
    multiplier, power = np.where(over, 2**30, multiplier), np.where(over, power + 1, power)
    return multiplier.astype(np.int32), power.astype(np.int32)


@dataclass(frozen=True, eq=False)
class QuantCnn:
    """A CNN in integers. `scale`, `zero`: an input x becomes round(x / scale) + zero, clamped to int8."""

    layers: tuple[QuantLayer, ...]
    scale: float
    zero: int

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Samples [N, height, width, channels] as int8."""
        whole: np.ndarray = (np.rint(x / np.float32(self.scale)) + self.zero).clip(LOW, HIGH).astype(np.int8)
        return whole

    def run(self, inputs: np.ndarray) -> list[np.ndarray]:
        """The int8 outputs of every layer, logits last, of encoded inputs int8 [N, height, width, channels]."""
        outputs = []
        for layer in self.layers:
            inputs = layer.run(inputs)
            outputs.append(inputs)
        return outputs

    def logits(self, x: np.ndarray) -> np.ndarray:
        """What it says of samples [N, height, width, channels], int8 [N, classes]."""
        return self.run(self.encode(x))[-1].reshape(len(x), -1)

    def accuracy(self, x: np.ndarray, labels: np.ndarray) -> float:
        """Share of samples labelled right, 0..1; the first of equal logits wins."""
        logits = self.logits(x)
        return float((logits.argmax(axis=1) == labels).mean())

    @property
    def parameter_bytes(self) -> int:
        """Weights, biases, multipliers and shifts."""
        return sum(a.nbytes for q in self.layers for a in (q.weight, q.bias, q.multiplier, q.shift))


def quantize_cnn(net: nn.Sequential, shape: Shape, design: Design, x: np.ndarray) -> QuantCnn:
    """The integers of a network in its int8 form; training samples x [N, height, width, channels] say how far logits
    reach."""
    first = net[0]
    assert isinstance(first, Int8Input)
    with torch.no_grad():
        logits = net.eval()(to_torch(x))
    low, high = min(0.0, float(logits.min())), max(0.0, float(logits.max()))
    classes = logits.shape[1]
    modules = iter(list(net)[1:])
    scale, zero = float(first.scale), int(first.zero)
    layers = []
    for layer in (*design, Layer("dense", classes)):
        place = geometry(layer, shape)
        if layer.kind == "average":
            none = np.zeros(0, np.int32)
            layers.append(QuantLayer("average", place, none.astype(np.int8), none, none, none, zero, zero))
            shape = place.out_shape
            continue
        linear = next(m.layer for m in modules if isinstance(m, Int8Layer))
        last = len(layers) == len(design)
        if last:
            out_scale = max(high - low, 1e-6) / 255
            out_zero = int(np.clip(round(LOW - low / out_scale), LOW, HIGH))
        else:
            relu = next(m for m in modules if isinstance(m, Int8ReLU))
            out_scale, out_zero = float(relu.scale), LOW
        layers.append(_quantized(layer.kind, place, linear, scale, zero, out_scale, out_zero))
        shape, scale, zero = place.out_shape, out_scale, out_zero
    return QuantCnn(tuple(layers), float(first.scale), int(first.zero))


def _quantized(
    kind: str,
    place: Geometry,
    layer: nn.Conv2d | nn.Linear,
    scale: float,
    zero: int,
    out_scale: float,
    out_zero: int,
) -> QuantLayer:
    """One layer's integers; torch keeps weights channels first, `QuantLayer` last."""
    real = layer.weight.detach().numpy().astype(np.float64)
    units = np.maximum(np.abs(real.reshape(len(real), -1)).max(axis=1), 1e-12) / 127
    whole = np.rint(real / units.reshape(-1, *[1] * (real.ndim - 1))).astype(np.int8)
    if kind == "dense":
        height, width, channels = place.in_shape
        whole = whole.reshape(-1, channels, height, width)
    whole = whole.transpose(1, 2, 3, 0) if kind == "depthwise" else whole.transpose(0, 2, 3, 1)
    bias = np.zeros(len(real)) if layer.bias is None else layer.bias.detach().numpy().astype(np.float64)
    multiplier, shift = fixed_point(units * scale / out_scale)
    return QuantLayer(
        kind, place, np.ascontiguousarray(whole), np.rint(bias / (units * scale)).astype(np.int32), multiplier, shift,
        zero, out_zero,
    )  # fmt: skip
