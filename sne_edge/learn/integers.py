"""What the numbers of a network become as integers, known while it still learns.

In: weights, biases and thresholds of torch layers. Out: the unit of a membrane, rounded weights with a gradient,
layers without batch norms.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from ..errors import SneError

CLIPPED = (1.0, 0.93, 0.87, 0.81, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # shares of a channel's range to try with 4 bits
CONSTANT_MAX = 2**14  # largest bias or threshold in units of its membrane: leaves 16-bit membranes possible


def weight_limit(bits: int) -> int:
    """The largest magnitude that quantisation gives a weight: 127 or 7."""
    return (1 << bits - 1) - 1


def membrane_unit(
    weight: Tensor, bias: Tensor | None, threshold: Tensor | float, input_unit: float, bits: int = 8
) -> Tensor:
    """Real value of one unit of an integer membrane, [channels], for weight [channels, ...].

    The finest for which a channel's weights are within +-`weight_limit` times `input_unit` (the worth of one unit of
    input) and bias and threshold within `CONSTANT_MAX`, made a little coarser so that the threshold is a whole number.
    With 4 bits, that of a share of the channel's range, the largest weights being clipped, at which the weights'
    squared error is least.
    """
    level = torch.as_tensor(threshold, dtype=weight.dtype).expand(len(weight))
    constant = level if bias is None else torch.maximum(level, bias.abs())
    limit = weight_limit(bits)
    range_unit = weight.abs().flatten(1).amax(dim=1) * (input_unit / limit)

    def whole(unit: Tensor) -> Tensor:
        finest = torch.maximum(unit, constant / CONSTANT_MAX)
        steps = torch.floor(level / finest)
        return torch.where(steps >= 1, level / steps.clamp_min(1), finest)

    if bits == 8:
        return whole(range_unit)
    units = torch.stack([whole(range_unit * share) for share in CLIPPED])
    step = (units.double() / input_unit)[:, :, None]
    exact = weight.double().flatten(1)
    error = (torch.round(exact / step).clamp(-limit, limit) * step - exact).square().sum(dim=2)
    return units.gather(0, error.argmin(dim=0, keepdim=True))[0]


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
