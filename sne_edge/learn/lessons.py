"""What networks are taught: samples in views, what a teacher says of them, and the batches that a tutor makes of both.

In: arrays, a recipe, a teacher. Out: a `Batch` for losses to judge by.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ..errors import SneError
from ..files import write_whole
from .answering import Answering
from .augmentation import LIGHT, Augmentation
from .device import CPU, Device
from .heard import Heard
from .networks import TeacherNet
from .recipe import Recipe
from .views import Augmenter, to_torch

if TYPE_CHECKING:
    from .partition import Partition


@dataclass(frozen=True, eq=False)
class Lessons:
    """What students learn from, over views: x float [views, N, height, width, channels], targets [views, N, m] (the
    partition's features), teacher logits [views, N, classes], labels int64 [N]; and held-out samples x_val, y_val."""

    x: np.ndarray
    targets: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray

    @property
    def deviation(self) -> float:
        """Of the samples themselves, the first view."""
        return float(np.std(self.x[0]))

    def write(self, folder: Path) -> None:
        """One .npy file an array, for other processes to map."""
        for name, array in vars(self).items():
            write_whole(folder / f"{name}.npy", lambda file, array=array: np.save(file, array))  # type: ignore[misc]

    @classmethod
    def read(cls, folder: Path) -> Lessons:
        """What `write` wrote, mapped, not loaded."""
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Batch:
    """Samples x [n, channels, height, width] on a device, the partition's targets [n, m], the teacher's logits
    [n, classes], labels int64 [n]."""

    x: Tensor
    targets: Tensor
    logits: Tensor
    labels: Tensor

    def repeated(self, times: int) -> Batch:
        """What is taught, once for each of so many timesteps, [times * n, ...]; samples as they are."""
        return Batch(self.x, *(a.repeat(times, *[1] * (a.dim() - 1)) for a in (self.targets, self.logits, self.labels)))


class Tutor:
    """Batches of lessons in views, as a recipe wants them, wherever networks learn: kept views, or views made anew, to
    which the teacher answers where the recipe wants that live.

    On the processor lessons stay as they are, mapped from files, perhaps; on any other device they are copied there
    once. `augmentation`: by what views are made anew, and `noise`, the severity of what is added to them, at most,
    where they are of the samples themselves; these are `heard` in noise instead, where that is given. `chunks`: what is
    asked of the teacher's features; without, these themselves. Raises `SneError` where a live teacher is missing.
    """

    def __init__(
        self,
        lessons: Lessons,
        recipe: Recipe,
        device: Device = CPU,
        teacher: TeacherNet | None = None,
        augmentation: Augmentation = LIGHT,
        noise: float = 0.0,
        heard: Heard | None = None,
        chunks: Partition | None = None,
    ) -> None:
        self.lessons, self.recipe, self.device = lessons, recipe, device
        # kept views have their noise
        self.heard = heard if recipe.live else None
        self.augmenter = Augmenter(augmentation.reaching(recipe.reach), noise if recipe.live else 0.0, self.heard)
        if recipe.live and teacher is None:
            raise SneError("the teacher is to answer live, and there is none", "leave `live` out of the recipe")
        self.teacher: Answering | None = None
        if teacher is not None and recipe.live:
            self.teacher = Answering(teacher, device, lessons.x.shape[-3:], len(lessons.labels))
        self.deviation = lessons.deviation if recipe.anew or recipe.live else 0.0
        if not device.host:
            self.x = device.put(np.stack([to_torch(view).numpy() for view in lessons.x]))
            self.targets, self.logits = device.put(np.array(lessons.targets)), device.put(np.array(lessons.logits))
            self.labels = device.put(np.array(lessons.labels))
        self.projection: tuple[Tensor, Tensor] | None = None
        if self.teacher is not None and chunks is not None:
            self.projection = device.put(chunks.projection.T.copy()), device.put(chunks.offset)

    def draw(self, pick: np.ndarray, generator: np.random.Generator) -> Batch:
        """Samples in a view each, with their targets, teacher's logits and labels."""
        lessons, recipe = self.lessons, self.recipe
        view = generator.integers(len(lessons.x), size=len(pick))
        if recipe.live:
            view = np.zeros_like(view)
        if self.device.host:
            x = to_torch(lessons.x[view, pick])
            targets, logits = (torch.from_numpy(a[view, pick]) for a in (lessons.targets, lessons.logits))
            labels = torch.from_numpy(lessons.labels[pick])
        else:
            drawn, rows = self.device.put(view), self.device.put(pick)
            x, targets, logits = self.x[drawn, rows], self.targets[drawn, rows], self.logits[drawn, rows]
            labels = self.labels[rows]
        if self.heard is not None:
            x = self.device.put(to_torch(self.heard.batch(pick, generator)).numpy())
        if recipe.anew or recipe.live:
            x = self.augmenter.anew(x, self.deviation)
        if self.teacher is not None:
            targets, logits = self.teacher(x)
            if self.projection is not None:
                targets = targets @ self.projection[0] + self.projection[1]
        return Batch(x, targets, logits, labels)
