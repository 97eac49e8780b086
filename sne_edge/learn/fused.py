"""All timesteps of a layer of LIF neurons as one kernel there and one back, on a GPU: `neurons._Unrolled`'s equations,
compiled by torch.

In: currents of all timesteps. Out: spikes, with a surrogate gradient. Kernels that do one small thing each would read
and write every membrane a dozen times.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor


def advance(currents: Tensor, level: float, leak: float) -> tuple[Tensor, Tensor]:
    """Membranes float32 before the reset, and spikes 0/1 in the currents' type, for currents [timesteps, n]; thresholds
    are `level`, and a timestep takes `leak` of a membrane."""
    membranes, spikes = [], []
    left = torch.zeros_like(currents[0], dtype=torch.float32)
    for current in currents.unbind():
        v = current + left - left * leak
        fired = v > level
        membranes.append(v)
        spikes.append(fired.to(currents.dtype))
        left = torch.where(fired, v - level, v)
    return torch.stack(membranes), torch.stack(spikes)


def retreat(ds: Tensor, membranes: Tensor, level: float, leak: float, alpha: float) -> Tensor:
    """The gradient of the currents, float32 [timesteps, n], for that of the spikes, `ds`: dv = dm + ds s'(v), where
    ds = gradient - threshold dm, dm = (1 - leak) dv of the next timestep, and s' is the arctangent's derivative."""
    found = []
    dm = torch.zeros_like(membranes[0])
    for t in range(len(membranes) - 1, -1, -1):
        x = (membranes[t] - level) * (torch.pi / 2 * alpha)
        dv = dm + (ds[t] - dm * level) * (alpha / 2 / (x * x + 1))
        dm = dv * (1 - leak)
        found.append(dv)
    return torch.stack(found[::-1])


@cache
def compiled(where: torch.device) -> tuple[Callable[..., Any], Callable[..., Any]] | None:
    """`advance` and `retreat` as kernels of a GPU; None where torch cannot compile there: without Triton, say."""
    if where.type != "cuda":
        return None
    made = torch.compile(advance, dynamic=True), torch.compile(retreat, dynamic=True)
    try:
        membranes, spikes = made[0](torch.zeros(2, 8, device=where), 1.0, 0.5)
        made[1](spikes, membranes, 1.0, 0.5, 2.0)
    except Exception:  # of whatever compiler torch has
        return None
    return made


class Fused(torch.autograd.Function):
    """Spikes for currents, both [timesteps, N, ...], of neurons that reset by subtraction of a threshold.

    What lies dense in memory timestep by timestep is taken in its own order, channels first or last.
    """

    @staticmethod
    def forward(
        ctx: Any, currents: Tensor, level: float, leak: float, alpha: float, kernels: tuple[Callable[..., Any], ...]
    ) -> Tensor:
        ctx.order = _order(currents[0])
        membranes, spikes = kernels[0](_flat(currents, ctx.order), level, leak)
        ctx.save_for_backward(membranes)
        ctx.settings, ctx.kernels = (level, leak, alpha), kernels
        return _shaped(spikes, currents[0].shape, ctx.order)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None, None]:
        found = ctx.kernels[1](_flat(grads[0], ctx.order), ctx.saved_tensors[0], *ctx.settings)
        return _shaped(found, grads[0].shape[1:], ctx.order), None, None, None, None


def _order(x: Tensor) -> list[int]:
    """The axes of a tensor from the one of the widest stride to that of the narrowest."""
    return sorted(range(x.dim()), key=lambda axis: (-x.stride(axis), axis))


def _flat(x: Tensor, order: list[int]) -> Tensor:
    """[timesteps, ...] as [timesteps, n], the other axes in an order; without a copy where that is the memory's."""
    return x.permute(0, *(axis + 1 for axis in order)).flatten(1)


def _shaped(x: Tensor, shape: torch.Size, order: list[int]) -> Tensor:
    """What `_flat` made, in a shape again."""
    back = sorted(range(len(order)), key=lambda axis: order[axis])
    return x.reshape(len(x), *(shape[axis] for axis in order)).permute(0, *(axis + 1 for axis in back))
