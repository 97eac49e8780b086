"""What trains models as jobs of an executor: those whose outcome is not there yet, each at most once, teachers first.

In: configs, a cache that all machines see, an executor. Out: a study's models in the cache, or what trials of a search
leave there (`search_trial`), and how long it took. A job trains one model in one thread,
so the outcome is the same, byte for byte, wherever it ran and however many machines there were. What is done is kept as
soon as it is done; a job whose machine went away runs again elsewhere, and goes on from its last epoch.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from ..data.dataset import Dataset, load_dataset
from ..files import write_whole
from ..ir.artifact import save
from ..learn.device import CPU, Device
from ..learn.executor import run_jobs, worker_count
from ..learn.fit import Progress, quiet
from ..pipeline.config import TrainConfig, model_key
from ..pipeline.train import find_teacher, learnt, train

RETRIES = 2  # of a job whose process or machine was lost
Result = TypeVar("Result")


@dataclass(frozen=True)
class ModelJob:
    """One model to train: its config, the folder of data files, the cache, who trains its students, and where; the
    layout of a file's samples, or None where that says it."""

    config: TrainConfig
    folder: Path | None
    cache: Path
    executor: str = "inline"
    device: Device = CPU
    layout: str | None = None

    @property
    def data(self) -> Dataset:
        """Its data set."""
        config = self.config
        return load(config.dataset, config.seed, self.folder, self.layout, config.input_scale)

    @property
    def path(self) -> Path:
        """Where its model lies."""
        return self.cache / f"model-{model_key(self.config, self.data, self.device)}.sne"

    @property
    def work(self) -> float:
        """What it costs, in a measure of no unit: passes over the data times multiplications of a student's layers."""
        config, recipe = self.config, self.config.recipe
        channels = (self.data.shape[2], *config.body.channels)
        layers = sum(a * b * k for a, b, k in zip(channels[:-1], channels[1:], config.body.kernels, strict=True))
        epochs = recipe.alone + recipe.joint + recipe.rounded
        blocks = sum(c * c * k for c, k in zip(config.body.channels, config.body.kernels, strict=True))
        layers += config.body.residual * blocks
        return float(config.students * epochs * config.timesteps * max(1, layers))


Kept = TypeVar("Kept", bound=ModelJob)


@dataclass(frozen=True)
class Estimate:
    """How many models there are in all, how many of them there already; minutes of processor that one of the others
    takes and of wall time until all are there, by those of the same data that ran; None where none ran yet. `unknown`:
    how many of the others are of data of which none ran, and not among these minutes."""

    models: int
    there: int
    each: float | None
    wall: float | None
    unknown: int = 0

    def __str__(self) -> str:
        told = f"{self.models} models, {self.there} there already"
        if self.models == self.there:
            return told
        if self.each is None:
            return f"{told}; how long one takes is not known before one ran"
        told += f"; the others take about {minutes(self.each)} minutes each, {minutes(self.wall)} in all"
        return told + (f", but for {self.unknown} of data of which none ran yet" if self.unknown else "")


def minutes(value: float | None) -> str:
    """Minutes with the digits that an estimate deserves; nothing where it is not known."""
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def train_model(job: ModelJob, progress: Progress = quiet) -> None:
    """Train a job's model, save it in the cache, and how many seconds it took beside it."""
    path = job.path
    if path.exists():
        return
    start = time.monotonic()
    made = train(job.config, progress, dataset=job.data, cache=job.cache, executor=job.executor, device=job.device)
    save(made, path)
    keep(path.with_suffix(".json"), job, time.monotonic() - start)


def train_teacher(job: ModelJob, progress: Progress = quiet) -> None:
    """Train a job's teacher, which the cache keeps, for all models that it teaches."""
    find_teacher(job.config, job.data, job.cache, progress, job.device)


def train_all(jobs: Sequence[ModelJob], executor: str, progress: Progress = quiet) -> None:
    """Train the models that are not there yet, each of them once; those that one teacher teaches wait for it."""
    left = missing(jobs)
    if len(left) > 1:
        teachers = list({_taught_by(job.config): job for job in left}.values())
        run_jobs(train_teacher, teachers, executor, progress, stage="teachers", retries=RETRIES)
    run_missing(train_model, left, executor, progress, stage="models")


def missing(jobs: Sequence[Kept]) -> list[Kept]:
    """The jobs whose outcome is not there yet, each once."""
    return list({job.path: job for job in jobs if not job.path.exists()}.values())


def run_missing(
    work: Callable[[Kept, Progress], Result],
    jobs: Sequence[Kept],
    executor: str,
    progress: Progress = quiet,
    *,
    stage: str,
    ended: Callable[[Kept, Result], None] | None = None,
    lost: Callable[[Kept], Result] | None = None,
) -> dict[Path, Result]:
    """Run the jobs whose outcome is not there yet, each once, and what is lost again (`run_jobs`); what `work` returned
    by a job's path. Of one job alone the students share the executor."""
    left = missing(jobs)
    if len(left) == 1:
        results = run_jobs(work, [replace(left[0], executor=executor)], "inline", progress, ended=ended)
    else:
        results = run_jobs(
            work, left, executor, progress, stage=stage, retries=RETRIES, ended=ended, lost=lost
        )  # fmt: skip
    return {job.path: result for job, result in zip(left, results, strict=True)}


def estimate(jobs: Sequence[ModelJob], executor: str) -> Estimate:
    """What `train_all` would cost."""
    left = missing(jobs)
    rates = seconds_of_work(jobs[0].cache.glob("model-*.json") if left else ())
    known = [rates[job.data.name] * job.work / 60 for job in left if job.data.name in rates]
    each = wall = None
    if known:
        each, wall = sum(known) / len(known), sum(known) / min(len(known), worker_count(executor))
    total = len({job.path for job in jobs})
    return Estimate(total, total - len(left), each, wall, len(left) - len(known))


def keep(path: Path, job: ModelJob, seconds: float, **found: Any) -> None:
    """Write what a job found, and how many seconds it took for how much work on which data."""
    record = found | {"dataset": job.data.name, "seconds": seconds, "work": job.work}
    write_whole(path, lambda file: file.write(json.dumps(record).encode()))


def kept(path: Path) -> dict[str, Any] | None:
    """What `keep` wrote there; None where there is nothing or a damaged file."""
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found if {"dataset", "seconds", "work"} <= found.keys() else None
    except (OSError, ValueError, AttributeError):
        return None


def seconds_of_work(files: Iterable[Path]) -> dict[str, float]:
    """By data set, the seconds that one unit of `ModelJob.work` took in the mean of what was kept in files."""
    spent: dict[str, list[float]] = {}
    for file in files:
        if (record := kept(file)) is not None:
            before = spent.get(record["dataset"], [0.0, 0.0])
            spent[record["dataset"]] = [before[0] + record["seconds"], before[1] + record["work"]]
    return {name: seconds / work for name, (seconds, work) in spent.items() if work}


def _taught_by(config: TrainConfig) -> TrainConfig:
    """What decides the teacher of a config, as a config."""
    plain = TrainConfig()
    same = {name: getattr(plain, name) for name in ("scheme", "students", "timesteps", "body", "recipe", "views")}
    return replace(config, **same, max_drop=plain.max_drop, early=None, vectors=plain.vectors, name=None)


@lru_cache(maxsize=4)
def load(dataset: str, seed: int, folder: Path | None, layout: str | None = None, input_scale: str = "auto") -> Dataset:
    """A data set, split by a seed, as a `TrainConfig` of this `input_scale` learns it."""
    return learnt(load_dataset(dataset, seed, folder, layout=layout), input_scale)
