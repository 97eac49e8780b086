"""What students learn, and what they have yet to: the recipe, the lessons, and the losses of a batch.

In: an ensemble, samples in views, what a teacher says of them. Out: a scalar for a training loop to lower.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SneError
from ..files import write_whole
from .augmentation import LIGHT, Augmentation
from .device import CPU, Device
from .fit import distillation_loss
from .heard import Heard
from .networks import TeacherNet
from .student import Ensemble
from .views import Augmenter, to_torch


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. Epochs are passes over the training samples, each in one of its views.

    alone        epochs in which students learn independently
    joint        epochs in which prefixes of the ensemble learn together
    rounded      epochs of quantisation-aware fine-tuning
    rate         highest learning rate of the first phase; joint epochs after others take a quarter, rounded an eighth
    feature, teacher, label   weights of the three losses
    own          weight of a student's own losses while prefixes learn
    spikes       weight of what each layer's mean spike rate has above `target`: spikes are what costs
    target       spike rate, spikes per neuron and timestep, that costs nothing
    temperature  softens logits in the teacher's loss (Hinton et al. 2015, arXiv 1503.02531)
    patience     epochs without a better validation score after which a student alone stops; 0: never
    half         convolutions of the float phases in bfloat16, on processors that have it
    each         share 0..1 of the losses of features, logits and labels that is taken at each timestep, not of means
                 over all (temporal efficient training, Deng et al. 2022, arXiv 2202.11946)
    anew         views are made anew for every batch, of a kept one, whose features and logits stay what is taught
    live         views are made anew of the sample itself, and the teacher answers to that very view (Beyer et al. 2022,
                 arXiv 2106.05237): it runs in the loop
    reach        places by which a view made anew is shifted, at most; None: as kept ones are, see `Augmentation`
    """

    alone: int = 0
    joint: int = 65
    rounded: int = 8
    batch: int = 256
    rate: float = 8e-3
    feature: float = 0.2
    teacher: float = 2.0
    label: float = 0.5
    own: float = 0.3
    spikes: float = 0.005
    target: float = 0.0
    temperature: float = 2.0
    patience: int = 0
    half: bool = False
    each: float = 0.0
    anew: bool = False
    live: bool = False
    reach: int | None = None

    def __post_init__(self) -> None:
        if min(self.alone, self.joint, self.rounded) < 0 or self.batch < 2 or self.rate <= 0:
            raise SneError(
                "a training recipe is out of range", "epochs are at least 0, batch at least 2, rate positive"
            )
        if not 0 <= self.each <= 1 or not 0 <= (self.reach or 0) <= 64:
            raise SneError("a training recipe is out of range", "each is in 0..1, reach in 0..64")


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


class Course:
    """The losses of one ensemble on one set of lessons, wherever the ensemble is.

    On the processor lessons stay as they are, mapped from files, perhaps; on any other device they are copied there
    once. `teacher`: who answers where the recipe wants that live. `augmentation`: by what views are made anew, and
    `noise`, the severity of what is added to them, at most, where they are of the samples themselves; these are
    `heard` in noise instead, where that is given.
    """

    def __init__(
        self,
        ensemble: Ensemble,
        lessons: Lessons,
        recipe: Recipe,
        device: Device = CPU,
        teacher: TeacherNet | None = None,
        augmentation: Augmentation = LIGHT,
        noise: float = 0.0,
        heard: Heard | None = None,
    ) -> None:
        self.ensemble, self.lessons, self.recipe = ensemble, lessons, recipe
        self.device = device
        # kept views have their noise
        self.heard = heard if recipe.live else None
        self.augmenter = Augmenter(augmentation.reaching(recipe.reach), noise if recipe.live else 0.0, self.heard)
        self.chunks = [device.put(ensemble.partition.chunk(k)) for k in range(ensemble.partition.students)]
        if recipe.live and teacher is None:
            raise SneError("the teacher is to answer live, and there is none", "leave `live` out of the recipe")
        self.teacher = None if teacher is None or not recipe.live else device.place(copy.deepcopy(teacher).eval())
        self.deviation = lessons.deviation if recipe.anew or recipe.live else 0.0
        if not device.host:
            self.x = device.put(np.stack([to_torch(view).numpy() for view in lessons.x]))
            self.targets, self.logits = device.put(np.array(lessons.targets)), device.put(np.array(lessons.logits))
            self.labels = device.put(np.array(lessons.labels))
        if self.teacher is not None:
            chunks = ensemble.partition
            self.projection, self.offset = device.put(chunks.projection.T.copy()), device.put(chunks.offset)

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
            with torch.no_grad(), self.device.autocast(self.teacher.images):
                features, logits = self.teacher.answers(x)
            targets, logits = features.float() @ self.projection + self.offset, logits.float()
        return Batch(x, targets, logits, labels)

    def alone(self, k: int, batch: Batch) -> Tensor:
        """What student k has yet to learn by itself."""
        each = self.recipe.each
        with self.device.autocast(self.recipe.half):
            feature, part, rates = self.ensemble.part(k, batch.x, each > 0)
        bias = self.ensemble.bias.detach()
        loss = self._spikes(rates)
        for share, f, z, b in self._shares(feature, part.float(), batch):
            loss = loss + share * self._feature(k, f, b)
            loss = loss + share * self._answer(z + bias, b)
        return loss

    def together(self, batch: Batch) -> Tensor:
        """What the students have yet to learn by themselves and as prefixes of the ensemble."""
        recipe, ensemble = self.recipe, self.ensemble
        with self.device.exact() if ensemble.rounded else self.device.autocast(recipe.half):
            features, parts, rates = ensemble(batch.x, recipe.each > 0)
        parts = parts.float()
        loss = self._spikes(rates)
        for k, feature in enumerate(features):
            for share, f, _, b in self._shares(feature, parts[k], batch):
                loss = loss + share * self._feature(k, f, b)
        last = len(parts) - 1
        for k in range(len(parts)):  # the first student and the whole ensemble count most
            own = self._answers(ensemble.logits(parts, [k]), batch)
            prefix = self._answers(ensemble.logits(parts, range(k + 1)), batch)
            loss = loss + recipe.own * own + (1.0 if k in (0, last) else 0.5) * prefix
        return loss

    def _shares(self, feature: Tensor, part: Tensor, batch: Batch) -> list[tuple[float, Tensor, Tensor, Batch]]:
        """Shares of the loss, with features, logits and lessons of each: all timesteps as samples, and their means."""
        each = self.recipe.each
        if not each:
            return [(1.0, feature, part, batch)]
        mean = [] if each == 1 else [(1 - each, feature.mean(dim=0), part.mean(dim=0), batch)]
        return [(each, feature.flatten(0, 1), part.flatten(0, 1), batch.repeated(len(part))), *mean]

    def _answers(self, logits: Tensor, batch: Batch) -> Tensor:
        shares = self._shares(logits, logits, batch)
        total = shares[0][0] * self._answer(shares[0][2], shares[0][3])
        for share, _, z, b in shares[1:]:
            total = total + share * self._answer(z, b)
        return total

    def _spikes(self, rates: Tensor) -> Tensor:
        return self.recipe.spikes * (rates - self.recipe.target).clamp_min(0).sum()

    def _feature(self, k: int, feature: Tensor, batch: Batch) -> Tensor:
        return self.recipe.feature * functional.mse_loss(feature.float(), batch.targets[:, self.chunks[k]])

    def _answer(self, logits: Tensor, batch: Batch) -> Tensor:
        recipe = self.recipe
        return distillation_loss(
            logits, batch.logits, batch.labels,
            temperature=recipe.temperature, teacher_weight=recipe.teacher, label_weight=recipe.label,
        )  # fmt: skip
