"""Distillation: from a teacher's cached features and logits to a trained `Ensemble`.

Every student learns three things from the same input: its chunk of the teacher's features, the teacher's logits, and
the label. First each learns alone, wherever an executor runs it; then the prefixes of the ensemble learn together, so
that each stage of a cascade classifies well. The last epochs compute as the integers will.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..errors import SneError
from ..files import write_whole
from ..ir.encoder import Encoder
from .executor import run_jobs, worker_count
from .fit import Plan, Progress, Told, distillation_loss, fit, infer, quiet
from .partition import Partition
from .student import Body, Ensemble
from .teacher import batches, half_precision, to_torch


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

    def __post_init__(self) -> None:
        if min(self.alone, self.joint, self.rounded) < 0 or self.batch < 2 or self.rate <= 0:
            raise SneError(
                "a training recipe is out of range", "epochs are at least 0, batch at least 2, rate positive"
            )


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

    def write(self, folder: Path) -> None:
        """One .npy file an array, for other processes to map."""
        for name, array in vars(self).items():
            write_whole(folder / f"{name}.npy", lambda file, array=array: np.save(file, array))  # type: ignore[misc]

    @classmethod
    def read(cls, folder: Path) -> Lessons:
        """What `write` wrote, mapped, not loaded."""
        return cls(**{name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in cls.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Job:
    """One student to teach, in a form that goes to another process."""

    partition: Partition
    body: Body
    encoder: Encoder
    recipe: Recipe
    student: int
    lessons: Lessons | Path
    seed: int
    minutes: float | None
    checkpoint: Path | None


def distill(
    ensemble: Ensemble,
    lessons: Lessons,
    recipe: Recipe,
    *,
    seed: int = 0,
    minutes: float | None = None,
    executor: str = "inline",
    folder: Path | None = None,
    progress: Progress = quiet,
) -> Ensemble:
    """Train `ensemble` in place and return it in its float form, batch norms folded.

    `minutes` of wall time are shared by the phases as their epochs are, of which there then are as many as fit in.
    `folder` keeps the state of the run: the same call goes on from there. Executors other than inline need one. Of the
    last phase's epochs, the one best on the validation samples is kept.
    """
    torch.manual_seed(seed)
    course = _Course(ensemble, lessons, recipe)
    total = max(1, recipe.alone + recipe.joint + recipe.rounded)

    def share(epochs: int) -> float | None:
        return None if minutes is None else minutes * epochs / total

    def file(name: str) -> Path | None:
        return None if folder is None else folder / name

    if recipe.alone:
        where: Lessons | Path = lessons
        if executor != "inline":
            if folder is None:
                raise SneError(f"the executor {executor} needs a folder for the run", "give one (--run), or use inline")
            where = folder / "lessons"
            lessons.write(where)
        workers = min(len(ensemble.students), worker_count(executor))
        each = share(recipe.alone)
        jobs = [
            Job(
                ensemble.partition, ensemble.sizes, ensemble.encoder, recipe, k, where, seed,
                None if each is None else each * workers / len(ensemble.students), file(f"student-{k}.pt"),
            )
            for k in range(len(ensemble.students))
        ]  # fmt: skip
        for k, state in enumerate(run_jobs(teach, jobs, executor, progress)):
            ensemble.students[k].load_state_dict(state["student"])
            ensemble.heads[k].load_state_dict(state["head"])
    if recipe.joint:
        plan = Plan(
            recipe.joint, recipe.batch, recipe.rate / (4 if recipe.alone else 1), warm=0.1 if recipe.alone else 0.3,
            minutes=share(recipe.joint),
        )  # fmt: skip
        fit(
            ensemble, course.together, len(lessons.labels), plan, stage="ensemble", seed=seed,
            checkpoint=file("ensemble.pt"), progress=progress,
        )  # fmt: skip
    ensemble.integer_form()

    def score() -> tuple[float, str]:
        found = prefix_accuracy(ensemble, lessons.x_val, lessons.y_val)
        told = {"validation": found[-1], "validation of the first": found[0]}
        return sum(found) + found[-1], Told(f"validation {prefixes_text(found)}", told)

    plan = Plan(recipe.rounded, recipe.batch, recipe.rate / 8, warm=0.0, folded=True, minutes=share(recipe.rounded))
    fit(
        ensemble, course.together, len(lessons.labels), plan, stage=f"fine-tuning in int{ensemble.sizes.bits}",
        seed=seed, score=score, checkpoint=file("int8.pt"), progress=progress,
    )  # fmt: skip
    return ensemble.float_form()


def teach(job: Job, progress: Progress = quiet) -> dict[str, dict[str, Tensor]]:
    """Train one student alone; its state and its head's. Depends on the job alone, wherever it runs."""
    lessons = Lessons.read(job.lessons) if isinstance(job.lessons, Path) else job.lessons
    torch.manual_seed(job.seed)
    ensemble = Ensemble(job.partition, job.body, job.encoder)
    course, k = _Course(ensemble, lessons, job.recipe), job.student
    pair = torch.nn.ModuleDict({"student": ensemble.students[k], "head": ensemble.heads[k]})

    def score() -> tuple[float, str]:
        pair.eval()
        parts = infer(lambda x: ensemble.part(k, x)[1] + ensemble.bias, batches(lessons.x_val))
        found = float((parts.argmax(dim=1).numpy() == lessons.y_val).mean())
        return found, Told(f"validation {found:.1%}", {"validation": found})

    recipe = job.recipe
    plan = Plan(recipe.alone, recipe.batch, recipe.rate, minutes=job.minutes, patience=recipe.patience)
    fit(
        pair, lambda pick, generator: course.alone(k, pick, generator), len(lessons.labels), plan,
        stage=f"student {k + 1}", seed=job.seed + 1000 * (k + 1), score=score, checkpoint=job.checkpoint,
        progress=progress,
    )  # fmt: skip
    return {name: module.state_dict() for name, module in pair.items()}


class _Course:
    """The losses of one ensemble on one set of lessons."""

    def __init__(self, ensemble: Ensemble, lessons: Lessons, recipe: Recipe) -> None:
        self.ensemble, self.lessons, self.recipe = ensemble, lessons, recipe
        self.chunks = [ensemble.partition.chunk(k) for k in range(ensemble.partition.students)]

    def _draw(self, pick: np.ndarray, generator: np.random.Generator) -> tuple[Tensor, np.ndarray, Tensor, Tensor]:
        """Samples in a view each, with their targets, teacher's logits and labels."""
        lessons = self.lessons
        view = generator.integers(len(lessons.x), size=len(pick))
        x = to_torch(lessons.x[view, pick])
        return (
            x,
            lessons.targets[view, pick],
            torch.from_numpy(lessons.logits[view, pick]),
            torch.from_numpy(lessons.labels[pick]),
        )

    def _spikes(self, rates: Tensor) -> Tensor:
        return self.recipe.spikes * (rates - self.recipe.target).clamp_min(0).sum()

    def _feature(self, k: int, feature: Tensor, targets: np.ndarray) -> Tensor:
        return self.recipe.feature * functional.mse_loss(feature.float(), torch.from_numpy(targets[:, self.chunks[k]]))

    def alone(self, k: int, pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        """What student k has yet to learn by itself."""
        x, targets, logits, labels = self._draw(pick, generator)
        with half_precision(self.recipe.half):
            feature, part, rates = self.ensemble.part(k, x)
        loss = self._spikes(rates) + self._feature(k, feature, targets)
        return loss + self._answer(part.float() + self.ensemble.bias.detach(), logits, labels)

    def together(self, pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        """What the students have yet to learn by themselves and as prefixes of the ensemble."""
        recipe, ensemble = self.recipe, self.ensemble
        x, targets, logits, labels = self._draw(pick, generator)
        with half_precision(recipe.half and not ensemble.rounded):
            features, parts, rates = ensemble(x)
        parts = parts.float()
        loss = self._spikes(rates)
        for k, feature in enumerate(features):
            loss = loss + self._feature(k, feature, targets)
        last = len(parts) - 1
        for k in range(len(parts)):  # the first student and the whole ensemble count most
            own = self._answer(ensemble.logits(parts, [k]), logits, labels)
            prefix = self._answer(ensemble.logits(parts, range(k + 1)), logits, labels)
            loss = loss + recipe.own * own + (1.0 if k in (0, last) else 0.5) * prefix
        return loss

    def _answer(self, logits: Tensor, teacher: Tensor, labels: Tensor) -> Tensor:
        recipe = self.recipe
        return distillation_loss(
            logits, teacher, labels,
            temperature=recipe.temperature, teacher_weight=recipe.teacher, label_weight=recipe.label,
        )  # fmt: skip


def parts_of(ensemble: Ensemble, x: np.ndarray) -> np.ndarray:
    """Each student's part of the logits, float32 [students, N, classes], of samples [N, height, width, channels]."""
    ensemble.eval()
    return infer(lambda part: ensemble(part)[1].transpose(0, 1), batches(x)).transpose(0, 1).numpy()


def prefix_accuracy(ensemble: Ensemble, x: np.ndarray, y: np.ndarray, order: Sequence[int] = ()) -> list[float]:
    """Accuracy 0..1 of the first 1, 2, ... students in `order` (default 0, 1, ...)."""
    parts = parts_of(ensemble, x)
    logits = parts[list(order or range(len(parts)))].cumsum(axis=0) + ensemble.bias.detach().numpy()
    return [float((z.argmax(axis=1) == y).mean()) for z in logits]


def prefixes_text(score: list[float]) -> str:
    """Accuracies as a line of text: `95.2 % to 97.8 %`."""
    return f"{score[0]:.1%} to {score[-1]:.1%}"
