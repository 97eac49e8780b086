"""Transforms of batches that light views do without: resampling, erasing, and those of a user's own.

In: samples as torch takes them, where they are, an `Augmentation`, a generator (None: torch's own there). Out: the
same, transformed; one code for views that are kept and for those made anew.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from .augmentation import LONG, Augmentation
from .own import load_object, seeded

SEEDS = 2**31
CONTRACT = "it takes a float tensor [N, channels, height, width], and gives back one of that shape, finite"


def moved(x: Tensor, how: Augmentation, draws: torch.Generator | None = None) -> Tensor:
    """Samples float32 [N, ..., channels, height, width], flipped, cropped, stretched and rotated, each as it draws. All
    but flips are one resampling: linear between places, edges repeating; of rasters of events the nearest place, of
    which there is none beyond the edge. What a raster meets is the same in all timesteps."""
    count, (height, width), where, events = len(x), x.shape[-2:], x.device, x.dim() == 5
    if how.flip:
        turned = torch.randint(2, (count, *[1] * (x.dim() - 1)), device=where, generator=draws).bool()
        x = torch.where(turned, x.flip(-2), x)
    if not (how.crop or how.stretch or how.rotate):
        return x

    def even(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, device=where, generator=draws)

    zero = torch.zeros(count, device=where)
    gains, offsets = [], []  # of (width, height): where a place, -1..1, is taken from
    for length in (width, height):
        left = 1 - even(0, how.crop) if length > LONG else zero + 1
        offsets.append(even(-1, 1) * (1 - left))
        gains.append(left / even(1 - how.stretch, 1 + how.stretch) if length > LONG else left)
    angle = even(-how.rotate, how.rotate) * (torch.pi / 180)
    cos, sin = angle.cos(), angle.sin()
    rows = (
        torch.stack([gains[0] * cos, -gains[1] * sin * height / width, offsets[0]], dim=1),
        torch.stack([gains[0] * sin * width / height, gains[1] * cos, offsets[1]], dim=1),
    )
    flat = x.reshape(count, -1, height, width)
    grid = functional.affine_grid(torch.stack(rows, dim=1), list(flat.shape), align_corners=False)
    if not events:  # to the outermost places' middles: edges repeat
        edge = torch.tensor([1 - 1 / width, 1 - 1 / height], device=where)
        grid = grid.clamp(-edge, edge)
    mode = "nearest" if events else "bilinear"
    return functional.grid_sample(flat, grid, mode, "zeros", align_corners=False).reshape(x.shape)


def erased(x: Tensor, how: Augmentation, draws: torch.Generator | None = None) -> Tensor:
    """Samples float32 [N, ..., channels, height, width] of which a box, of a share between nothing and `how.erase`, is
    each channel's mean, or, in rasters, without events."""
    count, (height, width), where = len(x), x.shape[-2:], x.device

    def even() -> Tensor:
        return torch.rand(count, *[1] * (x.dim() - 1), device=where, generator=draws)

    share, aspect = how.erase * even(), 3 ** (2 * even() - 1)
    if min(height, width) > LONG:
        tall = (share * aspect).sqrt().clamp(max=1)
        wide = (share / tall).clamp(max=1)
    else:  # a strip across the short axis
        whole = torch.ones_like(share)
        tall, wide = (share, whole) if height > LONG else (whole, share)
    inside = torch.ones(1, device=where, dtype=torch.bool)
    for axis, length, part in ((-2, height, tall), (-1, width, wide)):
        shape = [1] * x.dim()
        shape[axis] = length
        middle = (torch.arange(length, device=where).reshape(shape) + 0.5) / length
        start = even() * (1 - part)
        inside = inside & (middle >= start) & (middle < start + part)
    fill = torch.zeros((), device=where) if x.dim() == 5 else x.mean(dim=(-2, -1), keepdim=True)
    return torch.where(inside, fill, x)


class Own:
    """A user's transform, of FILE.py:NAME: any callable on float32 [N, channels, height, width], or rasters [N,
    timesteps, channels, height, width]. torchvision's, which draw once a call, are called sample by sample.

    What it draws from the generators of torch, numpy and `random` that all share repeats with a run's seed. Raises
    `SneError` where the file has no such callable, and where what that gives back is not what it was given the like of.
    """

    def __init__(self, where: str) -> None:
        self.where, self.call = where, load_object(where, "transform")
        if not callable(self.call):
            raise SneError(f"{where} is a {type(self.call).__name__}, no callable", CONTRACT)
        inner = self.call.modules() if isinstance(self.call, nn.Module) else [self.call]
        self.single = any(type(part).__module__.startswith("torchvision.") for part in inner)

    def __call__(self, x: Tensor, draws: torch.Generator | None = None) -> Tensor:
        """`x`, transformed, float32, on its device; the same for a state of the generator."""
        with seeded(int(torch.randint(SEEDS, (), generator=draws)), x.device), torch.no_grad():
            parts = x.split(1) if self.single else [x]  # type: ignore[no-untyped-call]
            return torch.cat([self._called(part) for part in parts])

    def _called(self, x: Tensor) -> Tensor:
        try:
            made = self.call(x.clone())  # which it may change in place
        except SneError:
            raise
        except Exception as error:
            raise SneError(f"the augmentation {self.where} failed: {error!r}", CONTRACT) from error
        if not isinstance(made, Tensor):
            raise SneError(f"the augmentation {self.where} gave back a {type(made).__name__}", CONTRACT)
        if made.shape != x.shape:
            raise SneError(f"the augmentation {self.where} made {list(made.shape)} of {list(x.shape)}", CONTRACT)
        if not made.is_floating_point():
            raise SneError(f"the augmentation {self.where} gave back {made.dtype}", CONTRACT)
        made = made.to(x)
        if not bool(torch.isfinite(made).all()):
            raise SneError(f"the augmentation {self.where} gave back NaN or infinite values", CONTRACT)
        if x.dim() == 5 and not bool(((made == 0) | (made == 1)).all()):
            raise SneError(f"the augmentation {self.where} made rasters of other values than 0 and 1", CONTRACT)
        return made
