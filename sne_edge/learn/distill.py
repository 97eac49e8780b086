"""Distillation: from a teacher's cached features and logits to a trained `Ensemble`.

Every student learns three things from the same input: its chunk of the teacher's features, the teacher's logits, and
the label. First each learns alone, wherever an executor runs it; then the prefixes of the ensemble learn together, so
that each stage of a cascade classifies well. The last epochs compute as the integers will.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SneError
from ..ir.encoder import Encoder
from .augmentation import LIGHT, Augmentation
from .course import Course
from .device import CPU, Device, back
from .executor import run_jobs, worker_count
from .fit import Plan, Progress, Told, fit, infer, quiet
from .heard import Heard
from .lessons import Lessons, Tutor
from .networks import TeacherNet
from .partition import Partition
from .recipe import Recipe
from .student import Body, Ensemble
from .views import batches


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
    device: Device = CPU
    teacher: TeacherNet | None = None
    augmentation: Augmentation = LIGHT
    noise: float = 0.0
    heard: Heard | None = None

    def course(self, ensemble: Ensemble, lessons: Lessons) -> Course:
        """The losses of an ensemble, which is moved to the device."""
        tutor = Tutor(
            lessons, self.recipe, self.device, self.teacher, self.augmentation, self.noise, self.heard, self.partition
        )
        return Course(self.device.place(ensemble, self.recipe.half), tutor)


def distill(
    ensemble: Ensemble,
    lessons: Lessons,
    recipe: Recipe,
    *,
    seed: int = 0,
    minutes: float | None = None,
    executor: str = "inline",
    folder: Path | None = None,
    device: Device = CPU,
    teacher: TeacherNet | None = None,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    heard: Heard | None = None,
    progress: Progress = quiet,
) -> Ensemble:
    """Train `ensemble` in place and return it in its float form, batch norms folded.

    `minutes` of wall time are shared by the phases as their epochs are, of which there then are as many as fit in.
    `folder` keeps the state of the run: the same call goes on from there. Executors other than inline need one. Of the
    last phase's epochs, the one best on the validation samples is kept. On a `device` other than the processor, what
    runs inline learns at once, from the same batches; starting their small kernels takes longer than computing them, so
    that students in processes of their own, which share the device, are sooner done. `teacher`, who answers a recipe
    that is `live`: in every process, or, where it cannot be sent there, inline; `augmentation`, `noise`, `heard`: of
    views made anew, as a `Tutor` has them. The ensemble is on the processor before and after.
    """
    torch.manual_seed(seed)
    if executor != "inline" and recipe.live and not _travels(teacher):
        executor = "inline"
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
        together_there = executor == "inline" and not device.host
        workers = len(ensemble.students) if together_there else min(len(ensemble.students), worker_count(executor))
        each = share(recipe.alone)
        jobs = [
            Job(
                ensemble.partition, ensemble.sizes, ensemble.encoder, recipe, k, where, seed,
                None if each is None else each * workers / len(ensemble.students), file(f"student-{k}.pt"),
                device, teacher if recipe.live else None, augmentation, noise,
                heard if recipe.live else None,
            )
            for k in range(len(ensemble.students))
        ]  # fmt: skip
        if together_there:
            taught = teach_all(jobs, file("students.pt"), progress)
        else:
            try:
                taught = run_jobs(teach, jobs, executor, progress)
            except torch.cuda.OutOfMemoryError:
                raise SneError(
                    f"the memory of {device.name} is too small for {workers} students at once",
                    "give --executor processes:N with fewer, or inline",
                ) from None
        for k, state in enumerate(taught):
            ensemble.students[k].load_state_dict(state["student"])
            ensemble.heads[k].load_state_dict(state["head"])
    tutor = Tutor(lessons, recipe, device, teacher, augmentation, noise, heard, ensemble.partition)
    course = Course(device.place(ensemble, recipe.half), tutor)

    def together(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        return course.together(course.draw(pick, generator))

    if recipe.joint:
        plan = Plan(
            recipe.joint, recipe.batch, recipe.rate / (4 if recipe.alone else 1), warm=0.1 if recipe.alone else 0.3,
            minutes=share(recipe.joint),
        )  # fmt: skip
        fit(
            ensemble, together, len(lessons.labels), plan, stage="ensemble", seed=seed,
            checkpoint=file("ensemble.pt"), progress=progress,
        )  # fmt: skip
    ensemble.integer_form()

    def score() -> tuple[float, str]:
        found = prefix_accuracy(ensemble, lessons.x_val, lessons.y_val)
        told = {"validation": found[-1], "validation of the first": found[0]}
        return sum(found) + found[-1], Told(f"validation {prefixes_text(found)}", told)

    plan = Plan(recipe.rounded, recipe.batch, recipe.rate / 8, warm=0.0, folded=True, minutes=share(recipe.rounded))
    fit(
        ensemble, together, len(lessons.labels), plan, stage=f"fine-tuning in int{ensemble.sizes.bits}",
        seed=seed, score=score, checkpoint=file("int8.pt"), progress=progress,
    )  # fmt: skip
    return back(ensemble.float_form())


def _travels(teacher: TeacherNet | None) -> bool:
    """Whether a teacher goes to another process, which knows no module of a user's own."""
    modules = () if teacher is None else teacher.modules()
    if not all(type(module).__module__.split(".")[0] in ("sne_edge", "torch") for module in modules):
        return False
    try:
        pickle.dumps(teacher)
    except Exception:  # of a session of onnxruntime, say
        return False
    return True


def teach(job: Job, progress: Progress = quiet) -> dict[str, dict[str, Tensor]]:
    """Train one student alone; its state and its head's. Depends on the job alone, wherever it runs."""
    job.device.prepare()
    lessons = Lessons.read(job.lessons) if isinstance(job.lessons, Path) else job.lessons
    torch.manual_seed(job.seed)
    ensemble = Ensemble(job.partition, job.body, job.encoder)
    course, k = job.course(ensemble, lessons), job.student
    pair = nn.ModuleDict({"student": ensemble.students[k], "head": ensemble.heads[k]})

    def score() -> tuple[float, str]:
        pair.eval()
        found = alone_accuracy(ensemble, k, lessons)
        return found, Told(f"validation {found:.1%}", {"validation": found})

    recipe = job.recipe
    plan = Plan(recipe.alone, recipe.batch, recipe.rate, minutes=job.minutes, patience=recipe.patience)
    fit(
        pair, lambda pick, generator: course.alone(k, course.draw(pick, generator)), len(lessons.labels), plan,
        stage=f"student {k + 1}", seed=job.seed + 1000 * (k + 1), score=score, checkpoint=job.checkpoint,
        progress=progress,
    )  # fmt: skip
    return {name: back(module).state_dict() for name, module in pair.items()}


def teach_all(
    jobs: Sequence[Job], checkpoint: Path | None = None, progress: Progress = quiet
) -> list[dict[str, dict[str, Tensor]]]:
    """Train students alone, but all at once, from the same batches: samples, views and a live teacher's answers are had
    once for all. States as `teach` returns them; the epoch best in the mean is kept. `progress` is told of
    each student, as where each learns alone."""
    job = jobs[0]
    lessons = Lessons.read(job.lessons) if isinstance(job.lessons, Path) else job.lessons
    torch.manual_seed(job.seed)
    ensemble = Ensemble(job.partition, job.body, job.encoder)
    course = job.course(ensemble, lessons)

    losses = [torch.zeros(len(jobs))]  # of the last batch, [students]
    found: list[float] = []

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        batch = course.draw(pick, generator)
        each = torch.stack([course.alone(k, batch) for k in range(len(jobs))])
        losses[:] = [each.detach()]
        return each.sum()

    def score() -> tuple[float, str]:
        ensemble.eval()
        parts = parts_of(ensemble, lessons.x_val) + ensemble.bias.detach().cpu().numpy()
        found[:] = [float((part.argmax(axis=1) == lessons.y_val).mean()) for part in parts]
        return float(np.mean(found)), f"validation {min(found):.1%} to {max(found):.1%}"

    def told(stage: str, done: int, total: int, note: str) -> None:
        for k, (lost, right) in enumerate(zip(losses[0].tolist(), found, strict=True)):
            words = f"loss {lost:.3f}, validation {right:.1%}"
            progress(f"student {k + 1}", done, total, Told(words, {"loss": lost, "validation": right}))

    recipe = job.recipe
    plan = Plan(recipe.alone, recipe.batch, recipe.rate, minutes=job.minutes, patience=recipe.patience)
    learning = nn.ModuleDict({"student": ensemble.students, "head": ensemble.heads})
    fit(
        learning, loss, len(lessons.labels), plan, stage="students", seed=job.seed, score=score, checkpoint=checkpoint,
        progress=told,
    )  # fmt: skip
    back(learning)
    pairs = zip(ensemble.students, ensemble.heads, strict=True)
    return [{"student": student.state_dict(), "head": head.state_dict()} for student, head in pairs]


def alone_accuracy(ensemble: Ensemble, student: int, lessons: Lessons) -> float:
    """Share of the validation samples, 0..1, that one student of an ensemble labels rightly by itself."""
    where = ensemble.bias.device
    parts = infer(lambda x: ensemble.part(student, x.to(where))[1] + ensemble.bias, batches(lessons.x_val))
    return float((parts.argmax(dim=1).cpu().numpy() == lessons.y_val).mean())


def parts_of(ensemble: Ensemble, x: np.ndarray) -> np.ndarray:
    """Each student's part of the logits, float32 [students, N, classes], of samples [N, height, width, channels]."""
    ensemble.eval()
    where = ensemble.bias.device
    found = infer(lambda part: ensemble(part.to(where))[1].transpose(0, 1), batches(x))
    return found.transpose(0, 1).cpu().numpy()


def prefix_accuracy(ensemble: Ensemble, x: np.ndarray, y: np.ndarray, order: Sequence[int] = ()) -> list[float]:
    """Accuracy 0..1 of the first 1, 2, ... students in `order` (default 0, 1, ...)."""
    parts = parts_of(ensemble, x)
    logits = parts[list(order or range(len(parts)))].cumsum(axis=0) + ensemble.bias.detach().cpu().numpy()
    return [float((z.argmax(axis=1) == y).mean()) for z in logits]


def prefixes_text(score: list[float]) -> str:
    """Accuracies as a line of text: `95.2 % to 97.8 %`."""
    return f"{score[0]:.1%} to {score[-1]:.1%}"
