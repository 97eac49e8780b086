"""Light views of samples, written down once more: what the default augmentation has to make, draw by draw."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def kept(x: np.ndarray, generator: np.random.Generator, mirrored: bool) -> np.ndarray:
    """One light view of each sample [N, height, width, channels] or raster [N, timesteps, ...], by numpy."""
    if x.ndim == 5:
        made = x.astype(np.float32)
        for axis in (2, 3):
            length = x.shape[axis]
            if length > 4:
                place = np.arange(length)[None, :] + generator.integers(-2, 3, size=(len(x), 1))
                index, inside = np.clip(place, 0, length - 1), (place >= 0) & (place < length)
                wide = (len(x), *(length if a == axis else 1 for a in range(1, 5)))
                made = np.take_along_axis(made, index.reshape(wide), axis=axis) * inside.reshape(wide)
        return made.astype(np.float32)
    count, height, width, _ = x.shape
    if mirrored:
        x = np.where(generator.integers(2, size=(count, 1, 1, 1)) == 1, x[:, :, ::-1], x)
    for axis, length in ((1, height), (2, width)):
        if length > 4:
            shift = generator.integers(-2, 3, size=(count, 1))
            index = np.clip(np.arange(length)[None, :] + shift, 0, length - 1)
            x = np.take_along_axis(x, index[:, :, None, None] if axis == 1 else index[:, None, :, None], axis=axis)
    scale = 1 + 0.1 * generator.standard_normal((count, 1, 1, 1))
    fine = 0.03 * x.std() * generator.standard_normal(x.shape)
    return (x * scale + fine).astype(np.float32)


def anew(x: Tensor, deviation: float, mirrored: bool, reach: int) -> Tensor:
    """The same of [N, channels, height, width] or [N, timesteps, ...], by torch's generator."""
    count, events = len(x), x.dim() == 5
    if mirrored and not events:
        x = torch.where(torch.randint(2, (count, 1, 1, 1)).bool(), x.flip(-1), x)
    for axis in (-2, -1):
        length = x.shape[axis]
        if length > 4:
            place = torch.arange(length)[None, :] + torch.randint(-reach, reach + 1, (count, 1))
            wide = [count, *[1] * (x.dim() - 1)]
            wide[axis] = length
            index = place.clamp(0, length - 1).reshape(wide)
            x = x.gather(axis, index.expand(*(n if a != x.dim() + axis else length for a, n in enumerate(x.shape))))
            if events:
                x = x * ((place >= 0) & (place < length)).reshape(wide)
    if events:
        return x
    scale = 1 + 0.1 * torch.randn(count, 1, 1, 1)
    return x * scale + 0.03 * deviation * torch.randn(x.shape)
