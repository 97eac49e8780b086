"""Distillation: from a teacher's cached features and logits to a trained `Ensemble`.

Every student learns three things from the same input: its chunk of the teacher's features, the teacher's logits, and
the label: for itself, and in the prefixes of the ensemble it is part of, so that each stage of a cascade classifies
well. The last epochs compute as the integers will.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from .errors import SneError
from .student import Ensemble
from .teacher import Progress, batches, quiet, to_torch


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. Epochs are passes over the training samples, each in one of its views.

    alone        epochs in which students learn independently
    joint        epochs in which prefixes of the ensemble learn together
    rounded      epochs of quantisation-aware fine-tuning
    feature, teacher, label   weights of the three losses
    own          weight of a student's own losses while prefixes learn
    spikes       weight of the mean spike rate of each layer: what a spike costs
    temperature  softens logits in the teacher's loss (Hinton et al. 2015, arXiv 1503.02531)
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
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if min(self.alone, self.joint, self.rounded) < 0 or self.batch < 2 or self.rate <= 0:
            raise SneError(
                "a training recipe is out of range", "epochs are at least 0, batch at least 2, rate positive"
            )


@dataclass(frozen=True, eq=False)
class Lessons:
    """What students learn from, over views: x float [views, N, height, width, channels], targets [views, N, m] (the
    partition's features), teacher logits [views, N, classes], labels int64 [N]."""

    x: np.ndarray
    targets: np.ndarray
    logits: np.ndarray
    labels: np.ndarray


def distill(
    ensemble: Ensemble,
    lessons: Lessons,
    x_val: np.ndarray,
    y_val: np.ndarray,
    recipe: Recipe,
    *,
    seed: int = 0,
    progress: Progress = quiet,
) -> Ensemble:
    """Train `ensemble` in place and return it in its float form, batch norms folded.

    Of the last phase's epochs, the one best on the validation samples [N, height, width, channels] is kept.
    """
    torch.manual_seed(seed)
    generator = np.random.default_rng([seed, 3])
    course = _Course(ensemble, lessons, recipe, generator)
    course.run("students", recipe.alone + recipe.joint, recipe.rate, progress, recipe.alone)
    ensemble.integer_form()
    best, state = prefix_accuracy(ensemble, x_val, y_val), copy.deepcopy(ensemble.state_dict())
    for epoch in course.epochs(recipe.rounded, recipe.rate / 8, warm=False):
        score = prefix_accuracy(ensemble, x_val, y_val)
        progress("fine-tuning in int8", epoch + 1, recipe.rounded, f"validation {prefixes_text(score)}")
        if sum(score) + score[-1] >= sum(best) + best[-1]:
            best, state = score, copy.deepcopy(ensemble.state_dict())
    ensemble.load_state_dict(state)
    ensemble.eval()
    return ensemble.float_form()


class _Course:
    """One ensemble on one set of lessons."""

    def __init__(self, ensemble: Ensemble, lessons: Lessons, recipe: Recipe, generator: np.random.Generator) -> None:
        self.ensemble, self.recipe, self.generator = ensemble, recipe, generator
        shape = lessons.x.shape[:2]
        x = to_torch(lessons.x.reshape(-1, *lessons.x.shape[2:]))
        self.x = x.reshape(*shape, *x.shape[1:])
        self.targets, self.logits = torch.from_numpy(lessons.targets), torch.from_numpy(lessons.logits)
        self.labels = torch.from_numpy(lessons.labels)
        students = range(ensemble.partition.students)
        self.chunks = [torch.from_numpy(ensemble.partition.chunk(k)) for k in students]
        self.together = True

    def run(self, stage: str, count: int, rate: float, progress: Progress, alone: int) -> None:
        self.together = alone == 0
        for epoch in self.epochs(count, rate, warm=True):
            self.together = epoch + 1 >= alone
            progress(stage, epoch + 1, count, f"loss {self.loss:.3f}")

    def epochs(self, count: int, rate: float, *, warm: bool) -> Iterator[int]:
        """Train for `count` epochs, one at a time."""
        views, total = self.x.shape[:2]
        batches = max(1, total // self.recipe.batch)
        optimizer = torch.optim.AdamW(self.ensemble.parameters(), lr=rate, weight_decay=1e-3)
        schedule: torch.optim.lr_scheduler.LRScheduler
        if warm:
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=max(1, count) * batches)
        else:
            schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, max(1, count) * batches)
        for epoch in range(count):
            self.ensemble.train()
            for pick in np.array_split(self.generator.permutation(total), batches):
                samples = torch.from_numpy(pick)
                loss = self._loss(torch.from_numpy(self.generator.integers(views, size=len(pick))), samples)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
            self.loss = loss.item()
            yield epoch

    def _loss(self, view: Tensor, samples: Tensor) -> Tensor:
        recipe, ensemble = self.recipe, self.ensemble
        features, parts, rates = ensemble(self.x[view, samples])
        targets, logits, labels = self.targets[view, samples], self.logits[view, samples], self.labels[samples]
        loss: Tensor = recipe.spikes * rates.sum()
        for chunk, feature in zip(self.chunks, features, strict=True):
            loss = loss + recipe.feature * functional.mse_loss(feature, targets[:, chunk])
        last = len(parts) - 1
        for k in range(len(parts)):
            own = self._answer(ensemble.logits(parts, [k]), logits, labels)
            loss = loss + (recipe.own if self.together else 1.0) * own
            if self.together:  # the first student and the whole ensemble count most
                prefix = self._answer(ensemble.logits(parts, range(k + 1)), logits, labels)
                loss = loss + (1.0 if k in (0, last) else 0.5) * prefix
        return loss

    def _answer(self, logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        t = self.recipe.temperature
        soft = functional.kl_div(
            functional.log_softmax(logits / t, dim=1), functional.softmax(teacher / t, dim=1), reduction="batchmean"
        )
        return self.recipe.teacher * soft + self.recipe.label * functional.cross_entropy(logits, labels)


def parts_of(ensemble: Ensemble, x: np.ndarray) -> np.ndarray:
    """Each student's part of the logits, float32 [students, N, classes], of samples [N, height, width, channels]."""
    ensemble.eval()
    with torch.no_grad():
        return torch.cat([ensemble(part)[1] for part in batches(x)], dim=1).numpy()


def prefix_accuracy(ensemble: Ensemble, x: np.ndarray, y: np.ndarray, order: Sequence[int] = ()) -> list[float]:
    """Accuracy 0..1 of the first 1, 2, ... students in `order` (default 0, 1, ...)."""
    parts = parts_of(ensemble, x)
    logits = parts[list(order or range(len(parts)))].cumsum(axis=0) + ensemble.bias.detach().numpy()
    return [float((z.argmax(axis=1) == y).mean()) for z in logits]


def prefixes_text(score: list[float]) -> str:
    """Accuracies as a line of text: `95.2 % to 97.8 %`."""
    return f"{score[0]:.1%} to {score[-1]:.1%}"
