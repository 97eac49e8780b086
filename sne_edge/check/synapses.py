"""What layers make of integer spikes or values, exactly: weighted sums, their cost, poolings.

Sums of products are taken in float64, whose integers are exact up to 2^53; proven bounds stay far below. All is
computed where the inputs are.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..ir.encoder import Shape
from ..ir.layers import AvgPool, Conv, Layer, Linear, MaxPool, SynapticLayer


def _nchw(x: Tensor, shape: Shape) -> Tensor:
    return x.reshape(len(x), *shape).permute(0, 3, 1, 2).to(torch.float64)


def current_of(layer: Layer, x: Tensor) -> Tensor:
    """Weighted sums of integer inputs, int64 [N, *out_shape]."""
    if isinstance(layer, Linear):
        weight = torch.from_numpy(layer.weight.astype(np.float64)).to(x.device)
        total = x.reshape(len(x), -1).to(torch.float64) @ weight.T
        return total.to(torch.int64).reshape(len(x), *layer.out_shape)
    assert isinstance(layer, Conv)
    weight = torch.from_numpy(layer.weight.astype(np.float64)).to(x.device)
    groups = layer.in_shape[2] // layer.depth
    image = _nchw(x, layer.in_shape)
    total = functional.conv2d(image, weight, stride=layer.stride, padding=layer.padding, groups=groups)
    return total.permute(0, 2, 3, 1).round().to(torch.int64)


def work_of(layer: SynapticLayer, x: Tensor) -> Tensor:
    """Weights that meet a spike (or a non-zero value), int64 [N]."""
    fan_out = torch.from_numpy(layer.fan_out().reshape(-1).copy()).to(x.device)
    return (x.reshape(len(x), -1).to(torch.int64) * fan_out).sum(dim=1)


def pooled(layer: AvgPool | MaxPool, x: Tensor) -> Tensor:
    """Spikes in each window, counted (average) or any (max), int64 [N, *out_shape]."""
    channels = layer.in_shape[2]
    ones = torch.ones(channels, 1, *layer.kernel, dtype=torch.float64, device=x.device)
    counts = functional.conv2d(
        _nchw(x, layer.in_shape), ones, stride=layer.stride, padding=layer.padding, groups=channels
    )
    counts = counts.permute(0, 2, 3, 1).round().to(torch.int64)
    return counts if isinstance(layer, AvgPool) else (counts > 0).to(torch.int64)
