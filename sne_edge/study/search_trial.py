"""A search's trials as jobs of an executor: a candidate trained for a share of its epochs, and judged.

In: a candidate's config, its recipe shortened, and a target. Out: a file in the cache, of accuracy on validation
samples and what the model takes of the target; it is there as soon as the trial is over. No test sample is in reach.
"""

from __future__ import annotations

import hashlib
import shutil
import time
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..check.evaluation import evaluate
from ..check.verify import ReferenceEngine
from ..data.dataset import Dataset
from ..deploy.cost import need
from ..errors import SneError, shortened
from ..ir.ensemble import QuantEnsemble
from ..learn.fit import Progress, quiet
from ..pipeline import stages
from ..pipeline.config import TrainConfig, model_key
from ..pipeline.train import divide_features, find_teacher, teach_students
from ..quantize.calibrate import calibrate
from . import jobs
from .lab import code_of_now


@dataclass(frozen=True)
class TrialJob(jobs.ModelJob):
    """One rung of one candidate: as a model's job, for a `target`, on data without test samples."""

    target: str = ""

    @property
    def data(self) -> Dataset:
        """Its data set, without test samples."""
        config = self.config
        return blind(config.dataset, config.seed, self.folder, self.layout, config.input_scale)

    @property
    def path(self) -> Path:
        """Where what it finds lies."""
        named = f"{model_key(self.config, self.data, self.device)} {self.target} {code_of_now()}"
        return self.cache / f"trial-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"


@dataclass(frozen=True)
class Outcome:
    """Of a trial: accuracy 0..1 on validation samples under the model's own policy; mean instructions as modelled, with
    its own spike rates; bytes of flash and RAM; seconds that its training took."""

    accuracy: float
    instructions: int
    flash: int
    ram: int
    seconds: float


def run_trial(job: TrialJob, progress: Progress = quiet) -> str:
    """Train and judge a candidate, and keep what that finds; why it failed, or nothing. Single epochs are not told of:
    the search says what has ended."""
    try:
        taught = _taught(_divided_by(job.config), job.folder, job.layout, job.cache)
        started = time.monotonic()
        made = _made(job, taught)
        seconds = time.monotonic() - started
        outcome = _judged(made, job)
    except Exception as error:  # whatever a candidate ends in, it is one of many
        return shortened(error.message if isinstance(error, SneError) else f"{type(error).__name__}: {error}", 200)
    jobs.keep(job.path, job, seconds, **outcome)
    return ""


def outcome(job: TrialJob) -> Outcome | None:
    """What a trial found; None where it is not over. A file that is damaged goes: the trial runs again."""
    record, names = jobs.kept(job.path), Outcome.__dataclass_fields__
    if record is None or not names.keys() <= record.keys():
        job.path.unlink(missing_ok=True)
        return None
    return Outcome(**{name: record[name] for name in names})


def divide(config: TrainConfig, data: Dataset, cache: Path, progress: Progress = quiet) -> stages.Taught:
    """What the students of a config are taught; the cache keeps the teacher, tuned where the scheme does that, and its
    features."""
    teacher = find_teacher(config, data, cache, progress)
    return divide_features(config, teacher, data, cache=cache, progress=progress)


@lru_cache(maxsize=2)
def blind(dataset: str, seed: int, folder: Path | None, layout: str | None, input_scale: str) -> Dataset:
    """A data set with its validation samples in the test samples' place: nothing that chooses can see those."""
    data = jobs.load(dataset, seed, folder, layout, input_scale)
    return replace(data, x_test=data.x_val, y_test=data.y_val, audio_test=np.zeros((0, 0), np.int16))


@lru_cache(maxsize=4)
def _taught(config: TrainConfig, folder: Path | None, layout: str | None, cache: Path) -> stages.Taught:
    """For candidates of one number of students, one after the other in this process."""
    return divide(config, blind(config.dataset, config.seed, folder, layout, config.input_scale), cache)


def _divided_by(config: TrainConfig) -> TrainConfig:
    """What decides what the students of a config are taught, as a config."""
    plain = TrainConfig()
    return replace(config, timesteps=plain.timesteps, body=plain.body, recipe=plain.recipe)


def _made(job: TrialJob, taught: stages.Taught) -> QuantEnsemble:
    """The candidate in integers and calibrated; a training that was killed goes on from its last epoch."""
    run = job.path.with_suffix(".run")
    learnt = teach_students(job.config, taught, job.data, run=run, executor=job.executor)
    data = job.data
    integers = stages.integers(learnt, "candidate", data)
    inputs = integers.encoder.encode(data.as_given(data.x_val))
    made = calibrate(integers, inputs, data.y_val, job.config.max_drop)
    shutil.rmtree(run, ignore_errors=True)
    return made


def _judged(made: QuantEnsemble, job: TrialJob) -> dict[str, float]:
    data = job.data
    inputs = made.encoder.encode(data.as_given(data.x_val))
    row = evaluate(ReferenceEngine(made), inputs, data.y_val, [made.policy])[0]
    needed = need(made, job.target, [made.policy], students_run=row.students_run)
    return {
        "accuracy": float(row.accuracy or 0.0),
        "instructions": needed.estimates[0].mean or 0,
        "flash": needed.flash_bytes,
        "ram": needed.ram_bytes + needed.stack_bytes,
    }
