"""What the numbers of a network become as integers, known while it still learns.

In: weights, biases and thresholds of torch layers. Out: the unit of a membrane, rounded weights with a gradient,
layers without batch norms.
"""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SneError
from ..ir.limits import coarser
from ..ir.neuron import Neuron, prove_bound
from ..ir.proof import direct_current

CLIPPED = (1.0, 0.93, 0.87, 0.81, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # shares of a channel's range to try with 4 bits
CONSTANT_MAX = 2**14  # largest bias or threshold in units of its membrane: leaves 16-bit membranes possible


def weight_limit(bits: int) -> int:
    """The largest magnitude that quantisation gives a weight: 127 or 7."""
    return (1 << bits - 1) - 1


def membrane_unit(
    weight: Tensor,
    bias: Tensor | None,
    threshold: Tensor | float,
    input_unit: float,
    bits: int = 8,
    multiple: int = 1,
) -> Tensor:
    """Real value of one unit of an integer membrane, [channels], for weight [channels, ...].

    The finest for which a channel's weights are within +-`weight_limit` times `input_unit` (the worth of one unit of
    input) and bias and threshold within `CONSTANT_MAX`, made a little coarser so that the threshold is a whole number,
    and one that `multiple` divides.
    With 4 bits, that of a share of the channel's range, the largest weights being clipped, at which the weights'
    squared error is least.
    """
    level = torch.as_tensor(threshold, dtype=weight.dtype, device=weight.device).expand(len(weight))
    constant = level if bias is None else torch.maximum(level, bias.abs())
    limit = weight_limit(bits)
    range_unit = weight.abs().flatten(1).amax(dim=1) * (input_unit / limit)

    def whole(unit: Tensor) -> Tensor:
        finest = torch.maximum(unit, constant / CONSTANT_MAX)
        steps = torch.floor(level / finest / multiple) * multiple
        return torch.where(steps >= 1, level / steps.clamp_min(1), finest)

    if bits == 8:
        return whole(range_unit)
    units = torch.stack([whole(range_unit * share) for share in CLIPPED])
    step = (units.double() / input_unit)[:, :, None]
    exact = weight.double().flatten(1)
    error = (torch.round(exact / step).clamp(-limit, limit) * step - exact).square().sum(dim=2)
    return units.gather(0, error.argmin(dim=0, keepdim=True))[0]


def direct_unit(
    weight: Tensor, bias: Tensor | None, threshold: Tensor | float, input_unit: float, neuron: Neuron, timesteps: int
) -> tuple[Tensor, int]:
    """Of a direct input's layer of 8-bit weights [channels, ...]: the real value of one unit of a membrane, float64
    [channels], and the shift of its current (`ir.layers.SynapticLayer`).

    A unit of weight and bias is 2^shift times finer than one of membrane and threshold. The shift is the least with
    which membranes are proven to fit 16 bits; 0 where they do without, and where that would be too coarse
    (`ir.limits.coarser`).
    """
    kernel = weight.cpu().double()  # the proof is the processor's; some GPUs have no float64
    constant = None if bias is None else bias.cpu().double()
    level = torch.as_tensor(threshold).cpu().double()
    fan_in = kernel[0].numel()
    for shift in range(16):
        fine = membrane_unit(kernel, constant, level, input_unit, multiple=1 << shift)
        thresholds = torch.round(level / fine).numpy() / 2**shift
        if shift and coarser(shift, fan_in, int(thresholds.min())):
            break
        steps = torch.round(kernel / (fine / input_unit).reshape(-1, *[1] * (kernel.dim() - 1)))
        whole = torch.zeros(len(fine)) if constant is None else torch.round(constant / fine)
        current = direct_current(steps.flatten(1).numpy().astype(np.int64), whole.numpy().astype(np.int64), shift)
        none = np.zeros(len(fine), np.int64)
        bound = prove_bound(neuron, none, none, current, np.maximum(thresholds, 1).astype(np.int64), timesteps)
        assert bound is not None
        if bound.width == 16:
            return fine * 2**shift, shift
    return membrane_unit(kernel, constant, level, input_unit), 0


def through(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, with the gradient of `value` (straight-through estimator)."""
    return value + (rounded - value).detach()


def fake_quantize(weight: Tensor) -> Tensor:
    """Weights [channels, n] rounded to int8 by channel, scale max|w| / 127."""
    scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
    return through(weight, torch.round(weight / scale) * scale)


def fold_batch_norm(layers: nn.Sequential) -> nn.Sequential:
    """The chain as it is in evaluation, with each batch norm folded in the layer before it.

    w' = w g / sd, b' = (b - mean) g / sd + beta. Folded layers are copies.
    Raises `SneError` where a batch norm follows neither a convolution nor a linear layer.
    """
    folded: list[nn.Module] = []
    for layer in layers:
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            folded.append(layer)
            continue
        before = folded[-1] if folded else None
        if not isinstance(before, nn.Conv1d | nn.Conv2d | nn.Linear) or layer.running_var is None:
            raise SneError(
                "a batch norm follows neither a convolution nor a linear layer, or keeps no statistics",
                "put it right after the weights it normalises, with track_running_stats=True",
            )
        folded[-1] = _absorb(before, layer)
    return nn.Sequential(*folded)


def _absorb(layer: nn.Conv1d | nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        gain = torch.rsqrt(norm.running_var + norm.eps)
        shift = -norm.running_mean * gain
        if norm.affine:
            gain, shift = gain * norm.weight, shift * norm.weight + norm.bias
        merged = copy.deepcopy(layer)
        merged.weight = nn.Parameter(layer.weight * gain.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        merged.bias = nn.Parameter(shift if layer.bias is None else layer.bias * gain + shift)
    return merged
