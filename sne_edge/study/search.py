"""Search: the most accurate ensemble within a core's limits, found by short trainings and trained in full at the end.

In: a data set, limits of instructions, flash and RAM on a target, and how long it may take. Out: a model, every
candidate that was tried, and which of them nothing else beats.

Candidates come from Optuna's TPE. The cost model refuses those that do not fit before anything is trained; the others
train for a fraction of their epochs, and those of the upper half for more (successive halving). Validation samples
choose; test samples are seen once, for the chosen model's figures. Every trial is in a journal beside the output: the
same command goes on where it was, and the same seed tries the same candidates.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..check.evaluation import evaluate
from ..check.verify import ReferenceEngine, verify
from ..data.dataset import Dataset
from ..deploy.cost import Need, need
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..learn.fit import Progress, outcome_key, quiet
from ..learn.networks import TeacherNet
from ..learn.views import check_augmentation
from ..pipeline import stages
from ..pipeline.config import TrainConfig
from ..pipeline.train import find_teacher, train
from ..quantize.calibrate import calibrate
from .search_journal import REDUCTION, open_journal
from .search_space import Candidate, Limits, drawn, first_values, refusal, shortened, sizes_text

if TYPE_CHECKING:
    import optuna

RUNGS = (0.08, 0.25)  # shares of a recipe's epochs that a candidate trains for, one after the other
REFUSED_AT_MOST = 2000  # candidates in a row that do not fit: nothing does, then
VERIFIED = 64  # validation samples
FINALISTS = 3  # that are trained in full, until one fits


@dataclass(frozen=True)
class Found:
    """What a search ends in: the model, the config that made it, which candidate it was, what it needs, and all that
    were trained; `refused`: how many the cost model ruled out."""

    model: QuantEnsemble
    config: TrainConfig
    chosen: Candidate
    needed: Need
    candidates: list[Candidate]
    refused: int


def search(
    base: TrainConfig,
    dataset: Dataset,
    limits: Limits,
    journal: Path,
    *,
    minutes: float,
    trials: int | None = None,
    cache: Path | None = None,
    progress: Progress = quiet,
) -> Found:
    """Search from a config, whose recipe, scheme, teacher and seed every candidate shares.

    `journal`: a file of every trial, made where it is missing. `minutes`: of wall time, this call's, the last training
    among them as far as can be foreseen; `trials`: at most so many candidates, all told. Raises `SneError` where Optuna
    is missing, the journal belongs to another search, or nothing fits.
    """
    if dataset.x_train.ndim != 4:
        raise SneError(f"{dataset.name} holds rasters of events", "training takes values; see sne-edge quantize")
    check_augmentation(base.augmentation, dataset)
    hunt = _Hunt(base, dataset, limits, journal, minutes, cache, progress)
    hunt.run(trials)
    return hunt.finish()


class _Hunt:
    """A search on its way."""

    def __init__(
        self, base: TrainConfig, dataset: Dataset, limits: Limits, journal: Path, minutes: float, cache: Path | None,
        progress: Progress,
    ) -> None:  # fmt: skip
        self.base, self.dataset, self.limits, self.cache, self.progress = base, dataset, limits, cache, progress
        self.end = time.monotonic() + 60 * minutes
        self.minutes = minutes
        self.blind = _without_test(dataset)
        self.study = open_journal(journal, self._key())
        self.teacher: TeacherNet | None = None
        self.taught: dict[int, stages.Taught] = {}

    def _key(self) -> str:
        """What two calls share that go on with one search."""
        base = asdict(self.base) | {"augmentation": self.base.augmentation.key}
        return outcome_key(base, asdict(self.limits), list(RUNGS), self.dataset.fingerprint)

    def run(self, trials: int | None) -> None:
        """Try candidates until time or their number is up."""
        import optuna

        states = optuna.trial.TrialState
        for stale in self.study.get_trials(deepcopy=False, states=(states.RUNNING,)):
            self.study.tell(stale.number, state=states.FAIL)  # what was killed is tried again
        refused = 0
        while trials is None or self._trained() < trials:
            if self._trained() and time.monotonic() + self._reserve() > self.end:
                break
            trial = self._ask()
            config = drawn(trial, self.base)
            beyond = refusal(config, self.dataset.shape, len(self.dataset.classes), self.limits)
            if beyond:
                refused += 1
                trial.set_user_attr("refused", beyond)
                self.study.tell(trial, state=states.PRUNED)
                if refused >= REFUSED_AT_MOST:
                    raise SneError(f"no candidate fits {self.limits.target}: the last one takes {beyond}", LIMITS_HINT)
                continue
            refused = 0
            self._try(trial, config)

    def _trained(self) -> int:
        return len(self.candidates())

    def _ask(self) -> optuna.Trial:
        """The next candidate: it follows from the seed and from those that are over, however often that was resumed."""
        import optuna

        over = [t for t in self.study.get_trials(deepcopy=False) if t.state.is_finished()]
        lived = [t for t in over if t.state != optuna.trial.TrialState.FAIL]
        seed = int(np.random.default_rng([self.base.seed, len(lived)]).integers(2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=8)
        first = first_values(self.base) if not lived else None
        if first is not None:
            self.study.enqueue_trial(first, skip_if_exists=False)
        return self.study.ask()

    def _try(self, trial: optuna.Trial, config: TrainConfig) -> None:
        """Train a candidate rung by rung, as long as it is among the better ones."""
        import optuna

        number = self._trained() + 1
        for rung, share in enumerate(RUNGS):
            left = max(0.0, self.end - time.monotonic()) / 60
            self._tell(f"candidate {number}, {sizes_text(config)}, {left:.0f} min left")
            taught = self._taught(config)
            started = time.monotonic()
            made = self._short(taught, config, share)
            spent = time.monotonic() - started
            candidate = self._judged(made, config, trial.number, rung)
            trial.set_user_attr("candidate", msgspec.to_builtins(asdict(candidate)))
            trial.set_user_attr("seconds", round(spent / share, 1))  # of all epochs
            value = self._value(candidate)
            trial.report(value, REDUCTION**rung)
            if rung + 1 < len(RUNGS) and trial.should_prune():
                self.study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                return
        self.study.tell(trial, value)

    def _value(self, candidate: Candidate) -> float:
        """Accuracy, less what it takes beyond the limit of instructions."""
        most = self.limits.instructions
        excess = 0.0 if most is None else max(0.0, candidate.instructions / most - 1)
        return candidate.accuracy - excess

    def _taught(self, config: TrainConfig) -> stages.Taught:
        """What so many students are taught, made once."""
        students = config.students
        if students not in self.taught:
            self.taught[students] = stages.divide(
                self._teacher(), self.blind, config.scheme, students, config.seed, seen=config.views,
                tuning_epochs=-(-config.teacher_epochs // 3), augmentation=config.augmentation, noise=config.noise,
                cache=self.cache,
            )  # fmt: skip
        return self.taught[students]

    def _short(self, taught: stages.Taught, config: TrainConfig, share: float) -> QuantEnsemble:
        """A candidate after a share of its epochs, in integers and calibrated; no test sample is in reach."""
        recipe = shortened(config.recipe, share)
        learnt = stages.teach(
            taught, self.blind, config.body, config.timesteps, recipe, config.seed, augmentation=config.augmentation,
            noise=config.noise,
        )  # fmt: skip
        integers = stages.integers(learnt, "candidate", self.dataset.classes)
        inputs = integers.encoder.encode(self.blind.x_val)
        return calibrate(integers, inputs, self.blind.y_val, config.max_drop)

    def _teacher(self) -> TeacherNet:
        if self.teacher is None:
            self.teacher = find_teacher(self.base, self.blind, self.cache, self.progress)
        return self.teacher

    def _judged(self, made: QuantEnsemble, config: TrainConfig, trial: int, rung: int) -> Candidate:
        inputs = made.encoder.encode(self.blind.x_val)
        row = evaluate(ReferenceEngine(made), inputs, self.blind.y_val, [made.policy])[0]
        needed = need(made, self.limits.target, [made.policy], students_run=row.students_run)
        return Candidate(
            trial, rung, config.students, config.timesteps, config.body, float(row.accuracy or 0.0),
            needed.estimates[0].mean or 0, needed.flash_bytes, needed.ram_bytes + needed.stack_bytes,
        )  # fmt: skip

    def candidates(self) -> list[Candidate]:
        """All that were trained, in the order of their trials."""
        made = []
        for trial in self.study.get_trials(deepcopy=False):
            kept = trial.user_attrs.get("candidate")
            if kept is not None and trial.state.is_finished() and trial.state.name != "FAIL":
                made.append(msgspec.convert(kept, Candidate))
        return made

    def _reserve(self) -> float:
        """Seconds that one more candidate and the last training take, as far as can be foreseen."""
        seconds = [t.user_attrs["seconds"] for t in self.study.get_trials(deepcopy=False) if "seconds" in t.user_attrs]
        ranked = self._ranked()
        chosen = self.study.trials[ranked[0].trial].user_attrs["seconds"] if ranked else max(seconds)
        return float(sum(RUNGS) * np.mean(seconds) + 1.1 * chosen)

    def _ranked(self) -> list[Candidate]:
        """Candidates that fit, those of the last rung first, the best first."""
        fitting = [c for c in self.candidates() if self.limits.allows(c)]
        return sorted(fitting, key=lambda c: (-c.rung, -c.accuracy, c.instructions, c.trial))

    def finish(self) -> Found:
        """The best candidate that fits, trained in full; the next one where it then does not fit."""
        ranked = self._ranked()
        beyond = "nothing was trained"
        if not ranked and self.candidates():
            least = min(self.candidates(), key=lambda c: c.instructions)
            beyond = f"the cheapest one takes {least.instructions:,} instructions"
        for chosen in ranked[:FINALISTS]:
            self._tell(f"training {sizes_text(chosen)} in full")
            config = replace(
                self.base, body=chosen.body, students=chosen.students, timesteps=chosen.timesteps,
            )  # fmt: skip
            model = train(
                config, self.progress, dataset=self.dataset, teacher=self._teacher(), cache=self.cache
            )  # fmt: skip
            needed = need(model, self.limits.target, [model.policy])
            beyond = self.limits.over(needed)
            if not beyond:
                _verify(model, self.dataset)
                return Found(model, config, chosen, needed, self.candidates(), self._refused())
        raise SneError(f"no candidate fits {self.limits.target}: {beyond}", LIMITS_HINT)

    def _refused(self) -> int:
        return sum("refused" in trial.user_attrs for trial in self.study.get_trials(deepcopy=False))

    def _tell(self, text: str) -> None:
        total = max(1, round(60 * self.minutes))
        done = min(total, max(0, round(total - (self.end - time.monotonic()))))
        self.progress("search", done, total, text)


LIMITS_HINT = "raise the limits, or give the search more minutes"


def _verify(model: QuantEnsemble, dataset: Dataset) -> None:
    """Hold the host build against the reference, on golden vectors and validation samples, in every number."""
    inputs = model.encoder.encode(dataset.x_val[:VERIFIED])
    for check in verify(model, inputs, ReferenceEngine(model), [HostEngine(HostModel(model))]):
        if check.difference:
            raise SneError(f"{model.name}: {check.engine} differs: {check.difference}", "please report this fault")


def _without_test(dataset: Dataset) -> Dataset:
    """The data set with its validation samples in the test samples' place: nothing that chooses can see those."""
    return replace(
        dataset, x_test=dataset.x_val, y_test=dataset.y_val, audio_test=np.zeros((0, 0), np.int16)
    )  # fmt: skip
