"""All timesteps of a layer of LIF neurons as one kernel there and one back, compiled by torch: `neurons._Unrolled`'s
equations, for half-precision currents on a processor.

In: currents of all timesteps. Out: spikes, with a surrogate gradient. Kernels that do one small thing each read and
write every membrane a dozen times. What is not compiled, where there is no compiler, computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor

VARIANTS = 64  # of a kernel: each number of timesteps and each leak has its own


def suits(currents: Tensor) -> bool:
    """Whether a layer's currents are worth a compiler's time: bfloat16 is for large maps (`Recipe.half`)."""
    return currents.dtype == torch.bfloat16 and currents.device.type == "cpu"


def advance(currents: Tensor, timesteps: int, level: float, leak: float) -> tuple[list[Tensor], list[Tensor]]:
    """Membranes float32 before the reset, and spikes 0/1 in the currents' type, [n] in each timestep, for currents
    [timesteps, n], or [n] in every timestep; thresholds are `level`, and a timestep takes `leak` of a membrane.

    Not stacked: torch compiles that to a kernel that is three times as slow.
    """
    membranes: list[Tensor] = []
    spikes: list[Tensor] = []
    left: Tensor | None = None  # not zeros, which torch would lay out in memory and read
    for t in range(timesteps):
        current = currents if currents.dim() == 1 else currents[t]
        v = current.float() if left is None else current + left - left * leak
        fired = v > level
        membranes.append(v)
        spikes.append(fired.to(currents.dtype))
        left = torch.where(fired, v - level, v)
    return membranes, spikes


def retreat(
    ds: Tensor, each: Tensor, membranes: Sequence[Tensor], level: float, leak: float, alpha: float, constant: bool
) -> Tensor:
    """The gradient of the currents, [timesteps, n], or [n] where they were `constant`, for that of the spikes, which is
    `ds` and `each`, of every spike: dv = dm + ds s'(v), where ds = gradient - threshold dm, dm = (1 - leak) dv of the
    next timestep, and s' is the arctangent's derivative."""
    found = []
    dm: Tensor | None = None
    for t in range(len(membranes) - 1, -1, -1):
        x = (membranes[t] - level) * (torch.pi / 2 * alpha)
        slope, gradient = alpha / 2 / (x * x + 1), ds[t].float() + each
        dv = gradient * slope if dm is None else dm + (gradient - dm * level) * slope
        dm = dv * (1 - leak)
        found.append(dv)
    if not constant:
        return torch.stack([dv.to(ds.dtype) for dv in reversed(found)])
    total = found[0]
    for dv in found[1:]:
        total = total + dv
    return total.to(ds.dtype)


@cache
def kernels() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`advance` and `retreat`, compiled where torch finds a compiler for C++, which takes seconds, once a machine."""
    made = torch.compile(advance, dynamic=True), torch.compile(retreat, dynamic=True)
    try:
        torch._dynamo.config.recompile_limit = VARIANTS
        membranes, spikes = made[0](torch.zeros(2, 8, dtype=torch.bfloat16), 2, 1.0, 0.5)
        made[1](torch.stack(spikes), torch.zeros(()), membranes, 1.0, 0.5, 2.0, False)
    except Exception:  # of whatever compiler torch has
        return advance, retreat
    return made


class Fused(torch.autograd.Function):
    """Spikes [timesteps, N, ...] and their mean, a float32 scalar, of neurons that reset by subtraction of a threshold.

    Their currents are [timesteps, N, ...], or [N, ...] in every timestep.
    """

    @staticmethod
    def forward(
        ctx: Any, currents: Tensor, timesteps: int, constant: bool, level: float, leak: float, alpha: float
    ) -> tuple[Tensor, Tensor]:
        """`level`, `leak`: as `advance` has them; `alpha`: the surrogate's."""
        order = memory_order(currents)
        lying = currents.permute(order)
        shape = lying.shape if constant else lying.shape[1:]
        membranes, fired = kernels()[0](lying.flatten(0 if constant else 1), timesteps, level, leak)
        spikes = torch.stack(fired)
        ctx.save_for_backward(*membranes)
        ctx.settings, ctx.order, ctx.constant = (level, leak, alpha, constant), order, constant
        rate = spikes.sum(dtype=torch.float32) / spikes.numel()
        return spikes.view(timesteps, *shape).permute(_inverse(_timed(order, constant))), rate

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None, None]:
        """The gradient of the currents, as `retreat` has it."""
        lying = grads[0].permute(_timed(ctx.order, ctx.constant))
        found = kernels()[1](lying.flatten(1), grads[1] / lying.numel(), ctx.saved_tensors, *ctx.settings)
        shape = lying.shape[1:] if ctx.constant else lying.shape
        return found.view(shape).permute(_inverse(ctx.order)), None, None, None, None, None


def memory_order(x: Tensor) -> tuple[int, ...]:
    """The axes of maps [..., channels, height, width] as they lie in memory: channels last, where convolutions are
    quickest, or as they are."""
    axes = tuple(range(x.dim()))
    last = (*axes[:-3], *axes[-2:], axes[-3]) if x.dim() > 3 else axes
    return last if not x.is_contiguous() and x.permute(last).is_contiguous() else axes


def _timed(order: tuple[int, ...], constant: bool) -> tuple[int, ...]:
    """The order of axes with timesteps in front, where they were not there yet."""
    return (0, *(axis + 1 for axis in order)) if constant else order


def _inverse(order: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(order.index(axis) for axis in range(len(order)))
