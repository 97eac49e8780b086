"""Samples as networks take them, and views of them, as an augmentation has them.

In: samples, channel last. Out: batches in torch's order, channels first; views by numpy, kept, or by torch, made anew
wherever the samples are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from ..data.corruptions import HIT, WHITE
from ..data.dataset import Dataset
from .augmentation import LIGHT, LONG, Augmentation
from .device import CPU, Device
from .heard import Heard
from .transforms import SEEDS, Own, erased, moved

PROBES = 4  # samples that a user's transform is tried on
PART = 4096  # samples that a GPU makes views of at a time


def to_torch(x: np.ndarray) -> Tensor:
    """Samples [N, ..., height, width, channels] as float32 [N, ..., channels, height, width]."""
    return torch.from_numpy(np.require(np.moveaxis(x, -1, -3), np.float32, ["C", "W"]))


def batches(x: np.ndarray, count: int = 512) -> Iterator[Tensor]:
    """`to_torch` of `count` samples at a time."""
    for start in range(0, len(x), count):
        yield to_torch(x[start : start + count])


class Augmenter:
    """An augmentation at work: one random view of each sample, kept or made anew. A user's transform is loaded here.

    `noise`: up to that severity white noise and impulses are added, see `noisy`; none where samples are `heard` in
    noise, of which `views` and batches are then made. `how` says whether samples are mirrored; what it leaves to a data
    set is not done: see `Augmentation.of`.
    """

    def __init__(self, how: Augmentation = LIGHT, noise: float = 0.0, heard: Heard | None = None) -> None:
        self.how, self.noise, self.heard = how, noise if heard is None else 0.0, heard
        self.own = None if how.own is None else Own(how.own)

    @property
    def nothing(self) -> bool:
        """Whether samples stay as they are."""
        return self.how.nothing and not self.noise and self.heard is None

    def source(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What one view of all samples x is made of: x, or what is heard of it in noise this time."""
        return x if self.heard is None else self.heard.view(generator)

    def kept(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """A view float32 of each sample [N, height, width, channels] or raster [N, timesteps, ...], which meets the
        same in all timesteps and keeps its values."""
        how, count, events = self.how, len(x), x.ndim == 5
        one = (count, *[1] * (x.ndim - 1))
        if how.mirror:
            x = np.where(generator.integers(2, size=one) == 1, x[..., ::-1, :], x)
        if how.moves:
            x = _in_torch(x, generator, lambda part, draws: moved(part, how, draws))
        for axis in (x.ndim - 3, x.ndim - 2):
            length = x.shape[axis]
            if how.shift and length > LONG:
                place = np.arange(length)[None, :] + generator.integers(-how.shift, how.shift + 1, size=(count, 1))
                wide = (count, *(length if a == axis else 1 for a in range(1, x.ndim)))
                x = np.take_along_axis(x, place.clip(0, length - 1).reshape(wide), axis=axis)
                if events:
                    x = x * ((place >= 0) & (place < length)).reshape(wide)
        spread = x.std()
        if how.scale and not events:
            x = x * (1 + how.scale * generator.standard_normal(one))
        if how.noise and not events:
            x = x + how.noise * spread * generator.standard_normal(x.shape)
        if how.erase:
            x = _in_torch(x, generator, lambda part, draws: erased(part, how, draws))
        if self.own is not None:
            x = _in_torch(x, generator, self.own)
        return noisy(x.astype(np.float32, copy=False), self.noise, generator)

    def anew(self, x: Tensor, deviation: float) -> Tensor:
        """A view of each sample [N, channels, height, width] or raster [N, timesteps, ...], made where they are, by
        torch's own generator there, as `kept` has it; `deviation`: the data's standard deviation."""
        how, count, where, events = self.how, len(x), x.device, x.dim() == 5
        one = (count, *[1] * (x.dim() - 1))
        if how.mirror:
            x = torch.where(torch.randint(2, one, device=where).bool(), x.flip(-1), x)
        if how.moves:
            x = moved(x, how)
        for axis in (-2, -1):
            length = x.shape[axis]
            if how.shift and length > LONG:
                shift = torch.randint(-how.shift, how.shift + 1, (count, 1), device=where)
                place = torch.arange(length, device=where)[None, :] + shift
                wide = list(one)
                wide[axis] = length
                index = place.clamp(0, length - 1).reshape(wide)
                x = x.gather(axis, index.expand(*(n if a != x.dim() + axis else length for a, n in enumerate(x.shape))))
                if events:
                    x = x * ((place >= 0) & (place < length)).reshape(wide)
        if how.scale and not events:
            x = x * (1 + how.scale * torch.randn(one, device=where))
        if how.noise and not events:
            x = x + how.noise * deviation * torch.randn(x.shape, device=where)
        if how.erase:
            x = erased(x, how)
        if self.own is not None:
            x = self.own(x)
        return noisy_there(x, deviation, self.noise) if self.noise else x


def _in_torch(
    x: np.ndarray, generator: np.random.Generator, transform: Callable[[Tensor, torch.Generator], Tensor]
) -> np.ndarray:
    """Samples, channel last, by a transform of torch's, part by part; its draws follow from a generator of numpy's."""
    draws = torch.Generator().manual_seed(int(generator.integers(SEEDS)))
    parts = [np.moveaxis(transform(part, draws).numpy(), -3, -1) for part in batches(x)]
    made: np.ndarray = np.ascontiguousarray(np.concatenate(parts))
    return made


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


def noisy_there(x: Tensor, deviation: float, severity: float) -> Tensor:
    """`noisy`, where the samples are."""
    where, low, high = x.device, x.amin(), x.amax()
    strength = severity * torch.rand(len(x), *[1] * (x.dim() - 1), device=where)
    if x.dim() == 4:
        x = x + WHITE * strength * deviation * torch.randn(x.shape, device=where)
    hit = torch.rand(x.shape, device=where) < HIT * strength
    return torch.where(hit, torch.where(torch.rand(x.shape, device=where) < 0.5, low, high), x)


def _views_there(
    x: np.ndarray, count: int, generator: np.random.Generator, augmenter: Augmenter, device: Device
) -> Iterator[np.ndarray]:
    torch.manual_seed(int(generator.integers(SEEDS)))
    deviation = float(x.std())
    for _ in range(count):
        here = augmenter.source(x, generator)
        parts = [augmenter.anew(device.put(part.numpy()), deviation).cpu() for part in batches(here, PART)]
        yield np.moveaxis(torch.cat(parts).numpy(), -3, -1)


def check_augmentation(how: Augmentation, dataset: Dataset) -> None:
    """Raise `SneError` where an augmentation does not go with a data set: by its layout, or, of a user's transform, by
    what becomes of a few samples."""
    how.check(dataset)
    Augmenter(how.of(dataset)).kept(dataset.x_train[:PROBES], np.random.default_rng(0))


def views(
    x: np.ndarray,
    count: int,
    seed: int,
    how: Augmentation = LIGHT,
    noise: float = 0.0,
    device: Device = CPU,
    heard: Heard | None = None,
) -> np.ndarray:
    """`count` views of each sample, float32 [count, N, height, width, channels]; the first is the sample itself, the
    only one where nothing is done to it. On a GPU they are made there, by its own generator. Where samples are `heard`
    in noise, the others are made of what is heard, each time anew, and `noise` adds nothing to its values."""
    augmenter, generator = Augmenter(how, noise, heard), np.random.default_rng([seed, 1])
    more = 0 if augmenter.nothing else count - 1
    if not device.host:
        return np.stack([x.astype(np.float32, copy=False), *_views_there(x, more, generator, augmenter, device)])
    seen = (augmenter.kept(augmenter.source(x, generator), generator) for _ in range(more))
    return np.stack([x, *seen]).astype(np.float32)
