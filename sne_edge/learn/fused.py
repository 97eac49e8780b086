"""All timesteps of a layer of LIF neurons as one kernel there and one back, compiled by torch: `neurons._Unrolled`'s
equations, for half-precision currents on a processor.

In: currents of all timesteps. Out: spikes, with a surrogate gradient. Kernels that do one small thing each read and
write every membrane a dozen times. What is not compiled, where there is no compiler, computes the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


def suits(currents: Tensor) -> bool:
    """Whether a layer's currents are worth a compiler's time: bfloat16 is for large maps (`Recipe.half`)."""
    return currents.dtype == torch.bfloat16 and currents.device.type == "cpu"


def advance(currents: Tensor, level: float, leak: float) -> tuple[Tensor, Tensor]:
    """Membranes float32 before the reset, and spikes 0/1 in the currents' type, for currents [timesteps, n]; thresholds
    are `level`, and a timestep takes `leak` of a membrane."""
    membranes, spikes = [], []
    left: Tensor | None = None  # not zeros, which torch would lay out in memory and read
    for current in currents.unbind():
        v = current.float() if left is None else current + left - left * leak
        fired = v > level
        membranes.append(v)
        spikes.append(fired.to(currents.dtype))
        left = torch.where(fired, v - level, v)
    return torch.stack(membranes), torch.stack(spikes)


def retreat(ds: Tensor, membranes: Tensor, level: float, leak: float, alpha: float) -> Tensor:
    """The gradient of the currents, [timesteps, n] in the type of that of the spikes, `ds`: dv = dm + ds s'(v), where
    ds = gradient - threshold dm, dm = (1 - leak) dv of the next timestep, and s' is the arctangent's derivative."""
    found = []
    dm = torch.zeros_like(membranes[0])
    for t in range(len(membranes) - 1, -1, -1):
        x = (membranes[t] - level) * (torch.pi / 2 * alpha)
        dv = dm + (ds[t] - dm * level) * (alpha / 2 / (x * x + 1))
        dm = dv * (1 - leak)
        found.append(dv.to(ds.dtype))
    return torch.stack(found[::-1])


@cache
def kernels() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`advance` and `retreat`, compiled where torch finds a compiler for C++, which takes seconds, once a machine."""
    made = torch.compile(advance, dynamic=True), torch.compile(retreat, dynamic=True)
    try:
        membranes, spikes = made[0](torch.zeros(2, 8, dtype=torch.bfloat16), 1.0, 0.5)
        made[1](spikes, membranes, 1.0, 0.5, 2.0)
    except Exception:  # of whatever compiler torch has
        return advance, retreat
    return made


class Fused(torch.autograd.Function):
    """Spikes for currents, both [timesteps, N, ...], of neurons that reset by subtraction of a threshold."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, level: float, leak: float, alpha: float) -> Tensor:
        """`level`, `leak`: as `advance` has them; `alpha`: the surrogate's."""
        membranes, spikes = kernels()[0](currents.flatten(1), level, leak)
        ctx.save_for_backward(membranes)
        ctx.settings = level, leak, alpha
        made: Tensor = spikes.reshape(currents.shape)
        return made

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        """The gradient of the currents, as `retreat` has it."""
        found = kernels()[1](grads[0].flatten(1), ctx.saved_tensors[0], *ctx.settings)
        return found.reshape(grads[0].shape), None, None, None
