"""Search: the most accurate ensemble within a core's limits, found by short trainings and trained in full at the end.

In: a data set, limits of instructions, flash and RAM on a target, and how long it may take. Out: a model, every
candidate that was tried, and which of them nothing else beats.

Candidates come from Optuna's TPE, in rounds. The cost model refuses those that do not fit before anything is trained;
the others are jobs of an executor that train for a fraction of their epochs, and those of the better half for more
(successive halving). Validation samples choose; test samples are seen once, for the chosen model's figures. Every trial
is in a journal beside the output: the same command goes on where it was, and the same seed tries the same candidates,
however many are trained at once.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..check.verify import ReferenceEngine, verify
from ..data.dataset import Dataset
from ..deploy.cost import Need, need
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..learn.executor import connected, worker_count
from ..learn.fit import Progress, outcome_key, quiet
from ..learn.partition import TUNING
from ..learn.views import check_augmentation
from ..pipeline.config import TrainConfig
from ..pipeline.train import find_teacher, train
from . import jobs, search_plan
from .lab import code_of_now
from .search_journal import ROUND, Journal
from .search_plan import RUNGS, Plan
from .search_space import Candidate, Limits, drawn, refusal, shortened, sizes_text
from .search_trial import Outcome, TrialJob, blind, divide, outcome, run_trial

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

REFUSED_AT_MOST = 2000  # candidates in a row that do not fit: nothing does, then
VERIFIED = 64  # validation samples
FINALISTS = 3  # that are trained in full, until one fits


@dataclass(frozen=True)
class Search:
    """What a search is asked for. `base`: the config whose recipe, scheme, teacher and seed every candidate shares.

    `journal`: a file of every trial, made where it is missing; `cache`: a folder that all machines of the executor see,
    as they do the data, for teachers and what trials find. `minutes`: of wall time, this call's, the last training
    among them as far as can be foreseen; `trials`: at most so many candidates, all told; `size`: candidates of a round,
    by default as the journal has it. `folder`, `layout`: of the data, as `load_dataset` has them.
    """

    base: TrainConfig
    limits: Limits
    journal: Path
    cache: Path
    minutes: float
    trials: int | None = None
    executor: str = "inline"
    size: int | None = None
    folder: Path | None = None
    layout: str | None = None

    @property
    def data(self) -> Dataset:
        """The data set, whole."""
        return jobs.load(self.base.dataset, self.base.seed, self.folder, self.layout, self.base.input_scale)

    @property
    def blind(self) -> Dataset:
        """The data set without test samples."""
        return blind(self.base.dataset, self.base.seed, self.folder, self.layout, self.base.input_scale)

    def open(self) -> Journal:
        """The journal. Raises `SneError` where Optuna is missing, or it belongs to another search."""
        base = asdict(self.base) | {"augmentation": self.base.augmentation.key}
        parts = base, asdict(self.limits), list(RUNGS), "in rounds"
        return Journal(self.journal, outcome_key(*parts, self.data.fingerprint, code_of_now()), self.size)


@dataclass(frozen=True)
class Found:
    """What a search ends in: the model, the config that made it, which candidate it was, what it needs, and all that
    were trained; `refused`: how many the cost model ruled out; `failed`: by trial, why its training failed."""

    model: QuantEnsemble
    config: TrainConfig
    chosen: Candidate
    needed: Need
    candidates: list[Candidate]
    refused: int
    failed: dict[int, str] = field(default_factory=dict)


def search(wanted: Search, progress: Progress = quiet) -> Found:
    """Search. Raises `SneError` where Optuna is missing, the journal belongs to another search, all candidates of a
    round failed, or nothing fits."""
    _check(wanted)
    with connected(wanted.executor):
        hunt = _Hunt(wanted, progress)
        hunt.run()
        return hunt.finish()


def plan(wanted: Search) -> Plan:
    """What a search would take, by the trials in its journal, else by others of this data; nothing is written but what
    opens a journal that is there."""
    _check(wanted)
    with connected(wanted.executor):
        if wanted.journal.exists():
            return _Hunt(wanted, quiet).plan()
        return search_plan.plan({}, None, 0, wanted.size or ROUND, worker_count(wanted.executor),
                                60 * wanted.minutes, wanted.trials, _expected(wanted))  # fmt: skip


def _check(wanted: Search) -> None:
    data = wanted.data
    if data.x_train.ndim != 4:
        raise SneError(f"{data.name} holds rasters of events", "training takes values; see sne-edge quantize")
    check_augmentation(wanted.base.augmentation, data)


def _expected(wanted: Search) -> float | None:
    """Seconds that all epochs of the base's body take, by what other trials on this data took."""
    rates = jobs.seconds_of_work(wanted.cache.glob("trial-*.json"))
    rate = rates.get(wanted.data.name)
    return None if rate is None else rate * jobs.ModelJob(
        wanted.base, wanted.folder, wanted.cache, layout=wanted.layout
    ).work  # fmt: skip


class _Hunt:
    """A search on its way."""

    def __init__(self, wanted: Search, progress: Progress) -> None:
        self.wanted, self.progress = wanted, progress
        self.base, self.limits = wanted.base, wanted.limits
        self.end = time.monotonic() + 60 * wanted.minutes
        self.journal = wanted.open()
        self.workers = worker_count(wanted.executor)
        self.refused_in_a_row = 0
        self.divided: set[int] = set()  # numbers of students whose teacher the cache has

    def plan(self) -> Plan:
        """What is to come, as far as can be foreseen."""
        seconds, ranked = self.journal.seconds(), self._ranked()
        return search_plan.plan(
            seconds, ranked[0].trial if ranked else None, self.journal.tried(), self.journal.size, self.workers,
            self.end - time.monotonic(), self.wanted.trials, None if seconds else _expected(self.wanted),
        )  # fmt: skip

    def run(self) -> None:
        """Try candidates, round by round, until time or their number is up."""
        self._tell(str(self.plan()))
        while self.plan().fits:
            trials = self.journal.round(self.base, self._refusal, self.wanted.trials)
            if not trials:
                return
            self._round(trials)

    def _refusal(self, config: TrainConfig) -> str:
        data = self.wanted.blind
        beyond = refusal(config, data.shape, len(data.classes), self.limits)
        self.refused_in_a_row = self.refused_in_a_row + 1 if beyond else 0
        if self.refused_in_a_row >= REFUSED_AT_MOST:
            raise SneError(f"no candidate fits {self.limits.target}: the last one takes {beyond}", LIMITS_HINT)
        return beyond

    def _round(self, trials: list[FrozenTrial]) -> None:
        """Train candidates rung by rung, each as long as it is among the better ones; tell what came of them in their
        order. What was trained before the search was killed is not trained again."""
        live = {trial.number: drawn(trial, self.base) for trial in trials}
        failures = []
        for rung, share in enumerate(RUNGS):
            values: dict[int, float] = {}
            for number, result in self._trained(live, share).items():
                if isinstance(result, str):
                    failures.append(result)
                    self.journal.fail(number, result)
                    self._tell(f"{sizes_text(live[number])} failed: {result}")
                    continue
                candidate = self._candidate(number, rung, live[number], result)
                values[number] = self._value(candidate)
                self.journal.report(number, rung + 1, candidate, values[number], round(result.seconds / share, 1))
            last = rung + 1 == len(RUNGS)
            better = [n for n in values if not last and self.journal.among_the_better(n, rung + 1)]
            for number, value in values.items():
                if last:
                    self.journal.end(number, value)
                elif number not in better:
                    self.journal.end(number)
            live = {number: live[number] for number in better}
        if len(failures) == len(trials):
            raise SneError(f"all candidates of a round failed: {failures[0]}", "the journal has them")

    def _trained(self, live: dict[int, TrainConfig], share: float) -> dict[int, Outcome | str]:
        """What a share of the epochs makes of candidates, by trial; or why it failed."""
        for config in live.values():
            self._divide(config)
        due = {number: self._job(config, share) for number, config in live.items()}
        for job in due.values():
            outcome(job)  # a damaged file goes
        self._tell(f"{len(due)} candidates in {share:.0%} of their epochs")
        failed = jobs.run_missing(
            run_trial, list(due.values()), self.wanted.executor, self.progress, stage="candidates", ended=self._ended,
            lost=lambda job: f"its process or machine was lost, {jobs.RETRIES + 1} times",
        )  # fmt: skip
        return {number: outcome(job) or failed.get(job.path) or "its outcome is gone" for number, job in due.items()}

    def _job(self, config: TrainConfig, share: float) -> TrialJob:
        short = replace(config, recipe=shortened(config.recipe, share))
        wanted = self.wanted
        return TrialJob(short, wanted.folder, wanted.cache, layout=wanted.layout, target=self.limits.target)

    def _ended(self, job: TrialJob, failure: str) -> None:
        found = None if failure else outcome(job)
        if found is not None:
            self._tell(f"{sizes_text(job.config)}: {found.accuracy:.1%}, {found.instructions:,} instructions")

    def _divide(self, config: TrainConfig) -> None:
        """See that the cache has the teacher of candidates, before jobs look for it: it learns here, on all cores, as
        the one of `train` does."""
        students = config.students if config.scheme in TUNING else 0
        if students not in self.divided:
            divide(config, self.wanted.blind, self.wanted.cache, self.progress)
            self.divided.add(students)

    def _candidate(self, trial: int, rung: int, config: TrainConfig, found: Outcome) -> Candidate:
        return Candidate(
            trial, rung, config.students, config.timesteps, config.body, found.accuracy, found.instructions,
            found.flash, found.ram,
        )  # fmt: skip

    def _value(self, candidate: Candidate) -> float:
        """Accuracy, less what it takes beyond the limit of instructions."""
        most = self.limits.instructions
        excess = 0.0 if most is None else max(0.0, candidate.instructions / most - 1)
        return candidate.accuracy - excess

    def _ranked(self) -> list[Candidate]:
        """Candidates that fit, those of the last rung first, the best first."""
        fitting = [c for c in self.journal.candidates() if self.limits.allows(c)]
        return sorted(fitting, key=lambda c: (-c.rung, -c.accuracy, c.instructions, c.trial))

    def finish(self) -> Found:
        """The best candidate that fits, trained in full; the next one where it then does not fit."""
        ranked, tried = self._ranked(), self.journal.candidates()
        beyond = "nothing was trained"
        if not ranked and tried:
            least = min(tried, key=lambda c: c.instructions)
            beyond = f"the cheapest one takes {least.instructions:,} instructions"
        wanted = self.wanted
        for chosen in ranked[:FINALISTS]:
            self._tell(f"training {sizes_text(chosen)} in full")
            config = replace(self.base, body=chosen.body, students=chosen.students, timesteps=chosen.timesteps)
            teacher = find_teacher(self.base, wanted.blind, wanted.cache, self.progress)
            model = train(
                config, self.progress, dataset=wanted.data, teacher=teacher, cache=wanted.cache,
                executor=wanted.executor,
            )  # fmt: skip
            needed = need(model, self.limits.target, [model.policy])
            beyond = self.limits.over(needed)
            if not beyond:
                _verify(model, wanted.data)
                failed = self.journal.failed()
                return Found(model, config, chosen, needed, tried, self.journal.refused(), failed)
        raise SneError(f"no candidate fits {self.limits.target}: {beyond}", LIMITS_HINT)

    def _tell(self, text: str) -> None:
        total = max(1, round(60 * self.wanted.minutes))
        left = max(0.0, self.end - time.monotonic())
        self.progress("search", min(total, max(0, round(total - left))), total, f"{text}; {left / 60:.0f} min left")


LIMITS_HINT = "raise the limits, or give the search more minutes"


def _verify(model: QuantEnsemble, dataset: Dataset) -> None:
    """Hold the host build against the reference, on golden vectors and validation samples, in every number."""
    inputs = model.encoder.encode(dataset.as_given(dataset.x_val[:VERIFIED]))
    for check in verify(model, inputs, ReferenceEngine(model), [HostEngine(HostModel(model))]):
        if check.difference:
            raise SneError(f"{model.name}: {check.engine} differs: {check.difference}", "please report this fault")
