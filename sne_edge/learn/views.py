"""Samples as networks take them, and views of them: shifted, scaled, mirrored, noisy.

In: samples, channel last. Out: batches in torch's order, channels first; views by numpy, kept, or by torch, made anew
wherever the samples are.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ..data.corruptions import HIT, WHITE


def to_torch(x: np.ndarray) -> Tensor:
    """Samples [N, ..., height, width, channels] as float32 [N, ..., channels, height, width]."""
    return torch.from_numpy(np.require(np.moveaxis(x, -1, -3), np.float32, ["C", "W"]))


def batches(x: np.ndarray, count: int = 512) -> Iterator[Tensor]:
    """`to_torch` of `count` samples at a time."""
    for start in range(0, len(x), count):
        yield to_torch(x[start : start + count])


def augment(x: np.ndarray, generator: np.random.Generator, mirrored: bool = False, noise: float = 0.0) -> np.ndarray:
    """One light random view of each sample [N, height, width, channels]: shifted by up to 2 (edges repeat), scaled by
    10 %, with noise of 3 % of the data's standard deviation; every other one `mirrored` left to right. Rasters of
    events, [N, timesteps, ...], are shifted alone, all timesteps alike. Then, up to a severity `noise`, white noise and
    impulses, see `noisy`."""
    if x.ndim == 5:
        return noisy(_shifted_events(x, generator), noise, generator)
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
    return noisy((x * scale + fine).astype(np.float32), noise, generator)


def noisy(x: np.ndarray, severity: float, generator: np.random.Generator) -> np.ndarray:
    """Samples float32 [N, ...] with the white noise and impulses of `data.corruptions`, each sample of a strength of
    its own between nothing and `severity`; rasters [N, timesteps, ...] with impulses alone: spikes lost and added."""
    if not severity:
        return x
    low, high, deviation = x.min(), x.max(), x.std()
    strength = severity * generator.random((len(x), *[1] * (x.ndim - 1)))
    if x.ndim == 4:
        x = x + WHITE * strength * deviation * generator.standard_normal(x.shape)
    hit = generator.random(x.shape) < HIT * strength
    made: np.ndarray = np.where(hit, np.where(generator.random(x.shape) < 0.5, low, high), x).astype(np.float32)
    return made


def _shifted_events(x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Rasters moved by up to 2 places along each axis of more than 4; what leaves the map is lost."""
    made = x.astype(np.float32)
    for axis in (2, 3):
        length = x.shape[axis]
        if length > 4:
            place = np.arange(length)[None, :] + generator.integers(-2, 3, size=(len(x), 1))
            index, inside = np.clip(place, 0, length - 1), (place >= 0) & (place < length)
            wide = (len(x), *(length if a == axis else 1 for a in range(1, 5)))
            made = np.take_along_axis(made, index.reshape(wide), axis=axis) * inside.reshape(wide)
    return made.astype(np.float32)


def seen(x: Tensor, deviation: float, mirrored: bool = False, reach: int = 2, noise: float = 0.0) -> Tensor:
    """One light random view of each sample [N, channels, height, width], made where the samples are, by torch's own
    generator there: the distribution of `augment`, shifted by up to `reach`; `deviation` is the data's standard
    deviation. Rasters of events, [N, timesteps, ...], are shifted alone. `noise` as there."""
    count, where = len(x), x.device
    events = x.dim() == 5
    if mirrored and not events:
        flip = torch.randint(2, (count, 1, 1, 1), device=where).bool()
        x = torch.where(flip, x.flip(-1), x)
    for axis in (-2, -1):
        length = x.shape[axis]
        if length > 4:
            shift = torch.randint(-reach, reach + 1, (count, 1), device=where)
            place = torch.arange(length, device=where)[None, :] + shift
            wide = [count, *[1] * (x.dim() - 1)]
            wide[axis] = length
            index = place.clamp(0, length - 1).reshape(wide)
            x = x.gather(axis, index.expand(*(n if a != x.dim() + axis else length for a, n in enumerate(x.shape))))
            if events:
                x = x * ((place >= 0) & (place < length)).reshape(wide)
    if not events:
        scale = 1 + 0.1 * torch.randn(count, 1, 1, 1, device=where)
        x = x * scale + 0.03 * deviation * torch.randn(x.shape, device=where)
    return noisy_there(x, deviation, noise) if noise else x


def noisy_there(x: Tensor, deviation: float, severity: float) -> Tensor:
    """`noisy`, where the samples are."""
    where, low, high = x.device, x.amin(), x.amax()
    strength = severity * torch.rand(len(x), *[1] * (x.dim() - 1), device=where)
    if x.dim() == 4:
        x = x + WHITE * strength * deviation * torch.randn(x.shape, device=where)
    hit = torch.rand(x.shape, device=where) < HIT * strength
    return torch.where(hit, torch.where(torch.rand(x.shape, device=where) < 0.5, low, high), x)


def views(x: np.ndarray, count: int, seed: int, mirrored: bool = False, noise: float = 0.0) -> np.ndarray:
    """`count` views of each sample, float32 [count, N, height, width, channels]; the first is the sample itself."""
    generator = np.random.default_rng([seed, 1])
    return np.stack([x, *(augment(x, generator, mirrored, noise) for _ in range(count - 1))]).astype(np.float32)
