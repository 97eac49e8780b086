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
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..check.evaluation import evaluate
from ..check.verify import ReferenceEngine, verify
from ..data.dataset import Dataset
from ..deploy import cost
from ..deploy.cost import Need, assumed_rates, need
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..deploy.sketch import Sizes, sketch
from ..errors import SneError
from ..files import write_whole
from ..ir.ensemble import QuantEnsemble
from ..learn.course import Recipe
from ..learn.fit import Progress, outcome_key, quiet
from ..learn.networks import TeacherNet
from ..learn.student import Body
from ..pipeline import settings, stages
from ..pipeline.config import TrainConfig
from ..pipeline.train import find_teacher, train
from ..quantize.calibrate import calibrate
from .pictures import Picture, draw_picture

if TYPE_CHECKING:
    import optuna

RUNGS = (0.08, 0.25)  # shares of a recipe's epochs that a candidate trains for, one after the other
REDUCTION = 2  # of a rung's candidates, one in so many goes on
CASCADED = 1.35  # students that a cascade runs in the mean, until a model says how many
HOPEFUL = 0.8  # of the assumed spike rate: a candidate that does not fit even so is refused
REFUSED_AT_MOST = 2000  # candidates in a row that do not fit: nothing does, then
VERIFIED = 64  # validation samples
FINALISTS = 3  # that are trained in full, until one fits


@dataclass(frozen=True)
class Limits:
    """What a model may take of a target, None where it does not matter: mean `instructions` of an inference under its
    own policy; bytes of `flash` for tables and code; bytes of `ram` for state, input and stack."""

    target: str
    instructions: int | None = None
    flash: int | None = None
    ram: int | None = None

    def __post_init__(self) -> None:
        cost.core_costs(self.target)
        given = {"instructions": self.instructions, "bytes of flash": self.flash, "bytes of RAM": self.ram}
        for name, value in given.items():
            if value is not None and value < 1:
                raise SneError(f"a limit of {value} {name} leaves nothing", "give a positive number")

    def over(self, needed: Need) -> str:
        """What of a model's need is beyond the limits, in words; nothing where it fits."""
        mean = needed.estimates[0].mean
        parts = [
            ("instructions", mean, self.instructions),
            ("bytes of flash", needed.flash_bytes, self.flash),
            ("bytes of RAM", needed.ram_bytes + needed.stack_bytes, self.ram),
        ]
        beyond = [f"{has:,} {name}, of {most:,}" for name, has, most in parts if has and most and has > most]
        return "; ".join(beyond)


@dataclass(frozen=True)
class Candidate:
    """One that was trained: its sizes; accuracy on validation samples under its own policy, 0..1, after the last rung
    that it reached; mean instructions as modelled with its own spike rates; its trial and rung."""

    trial: int
    rung: int
    students: int
    timesteps: int
    body: Body
    accuracy: float
    instructions: int
    flash: int
    ram: int


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
    hunt = _Hunt(base, dataset, limits, journal, minutes, cache, progress)
    hunt.run(trials)
    return hunt.finish()


def pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in accuracy without more instructions, cheapest first."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (c.instructions, -c.accuracy, c.trial)):
        if not front or one.accuracy > front[-1].accuracy:
            front.append(one)
    return front


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
        self.study = _open(journal, self._key())
        self.teacher: TeacherNet | None = None
        self.taught: dict[int, stages.Taught] = {}

    def _key(self) -> str:
        """What two calls share that go on with one search."""
        return outcome_key(asdict(self.base), asdict(self.limits), list(RUNGS), self.dataset.fingerprint)

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
            config = self._config(trial)
            beyond = self._refusal(config)
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
        first = self._first() if not lived else None
        if first is not None:
            self.study.enqueue_trial(first, skip_if_exists=False)
        return self.study.ask()

    def _first(self) -> dict[str, Any] | None:
        """The config that the search starts from, where the space holds it."""
        body = self.base.body
        if body.dense or len(body.channels) != len(SPACE_CHANNELS):
            return None
        values: dict[str, Any] = {"students": self.base.students, "timesteps": self.base.timesteps, "bits": body.bits}
        values["decay"] = "learnt" if body.learn_decay else str(body.shift)
        values["layers"] = len(body.channels)
        for k in range(len(body.channels)):
            values |= {f"channels{k}": body.channels[k], f"kernel{k}": body.kernels[k], f"stride{k}": body.strides[k]}
        return values

    def _config(self, trial: optuna.Trial) -> TrainConfig:
        """A candidate's config. Sizes of 1-D and 2-D data have the same space."""
        layers = trial.suggest_int("layers", 2, 3)
        channels = tuple(trial.suggest_int(f"channels{k}", *SPACE_CHANNELS[k], step=4) for k in range(layers))
        kernels = tuple(trial.suggest_int(f"kernel{k}", 3, 9 if k == 0 else 5, step=2) for k in range(layers))
        strides = tuple(trial.suggest_int(f"stride{k}", 1, 4 if k == 0 else 2) for k in range(layers))
        decay = trial.suggest_categorical("decay", ("1", "2", "3", "learnt"))
        body = Body(
            channels, kernels, strides, shift=1 if decay == "learnt" else int(decay),
            bits=trial.suggest_categorical("bits", (8, 4)), learn_decay=decay == "learnt",
        )  # fmt: skip
        timesteps, students = trial.suggest_int("timesteps", 1, 4), trial.suggest_int("students", 1, 4)
        return replace(self.base, body=body, timesteps=timesteps, students=students)

    def _refusal(self, config: TrainConfig) -> str:
        """Why a candidate cannot fit, by its sizes alone; nothing where it may."""
        body = config.body
        sizes = Sizes(
            body.channels, body.kernels, body.strides, body.dense, body.shift, body.bits, body.learn_decay
        )  # fmt: skip
        try:
            model = sketch(self.dataset.shape, len(self.dataset.classes), config.timesteps, config.students, sizes)
        except SneError as error:
            return error.message
        rates = assumed_rates(model, HOPEFUL * (config.recipe.target or cost.ASSUMED))
        run = min(float(config.students), CASCADED)
        return self.limits.over(need(model, self.limits.target, [model.policy], rates, run))

    def _try(self, trial: optuna.Trial, config: TrainConfig) -> None:
        """Train a candidate rung by rung, as long as it is among the better ones."""
        import optuna

        number = self._trained() + 1
        for rung, share in enumerate(RUNGS):
            left = max(0.0, self.end - time.monotonic()) / 60
            self._tell(f"candidate {number}, {_sizes(config)}, {left:.0f} min left")
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
                tuning_epochs=-(-config.teacher_epochs // 3), cache=self.cache,
            )  # fmt: skip
        return self.taught[students]

    def _short(self, taught: stages.Taught, config: TrainConfig, share: float) -> QuantEnsemble:
        """A candidate after a share of its epochs, in integers and calibrated; no test sample is in reach."""
        recipe = shortened(config.recipe, share)
        learnt = stages.teach(taught, self.blind, config.body, config.timesteps, recipe, config.seed)
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
        fitting = [c for c in self.candidates() if self._fits(c)]
        return sorted(fitting, key=lambda c: (-c.rung, -c.accuracy, c.instructions, c.trial))

    def _fits(self, candidate: Candidate) -> bool:
        limits = self.limits
        pairs = (
            (candidate.instructions, limits.instructions),
            (candidate.flash, limits.flash),
            (candidate.ram, limits.ram),
        )
        return all(most is None or has <= most for has, most in pairs)

    def finish(self) -> Found:
        """The best candidate that fits, trained in full; the next one where it then does not fit."""
        ranked = self._ranked()
        beyond = "nothing was trained"
        if not ranked and self.candidates():
            least = min(self.candidates(), key=lambda c: c.instructions)
            beyond = f"the cheapest one takes {least.instructions:,} instructions"
        for chosen in ranked[:FINALISTS]:
            self._tell(f"training {_sizes(chosen)} in full")
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
SPACE_CHANNELS = ((4, 32), (8, 48), (8, 64))


def _verify(model: QuantEnsemble, dataset: Dataset) -> None:
    """Hold the host build against the reference, on golden vectors and validation samples, in every number."""
    inputs = model.encoder.encode(dataset.x_val[:VERIFIED])
    for check in verify(model, inputs, ReferenceEngine(model), [HostEngine(HostModel(model))]):
        if check.difference:
            raise SneError(f"{model.name}: {check.engine} differs: {check.difference}", "please report this fault")


def shortened(recipe: Recipe, share: float) -> Recipe:
    """A recipe of a share of the epochs, one at least of every phase that it has."""

    def part(epochs: int) -> int:
        return max(1, round(epochs * share)) if epochs else 0

    return replace(recipe, alone=part(recipe.alone), joint=part(recipe.joint), rounded=part(recipe.rounded))


def _without_test(dataset: Dataset) -> Dataset:
    """The data set with its validation samples in the test samples' place: nothing that chooses can see those."""
    return replace(
        dataset, x_test=dataset.x_val, y_test=dataset.y_val, audio_test=np.zeros((0, 0), np.int16)
    )  # fmt: skip


def check_optuna() -> None:
    """Raise `SneError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise SneError("the package optuna is not installed", "pip install 'sne-edge[search]'")


def _open(journal: Path, key: str) -> optuna.Study:
    """The study of a journal. Raises `SneError` where Optuna is missing or the journal is another's."""
    check_optuna()
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        journal.parent.mkdir(parents=True, exist_ok=True)
        lock = JournalFileOpenLock(str(journal))
        storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=lock))
        study = optuna.create_study(
            storage=storage, study_name="search", direction="maximize", load_if_exists=True,
            pruner=optuna.pruners.SuccessiveHalvingPruner(min_resource=1, reduction_factor=REDUCTION),
        )  # fmt: skip
        known = study.user_attrs.get("key")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SneError(f"{journal} is no journal of a search: {error}", "remove it, or give another output") from None
    if known is None:
        study.set_user_attr("key", key)
    elif known != key:
        raise SneError(
            f"{journal} is the journal of another search: other data, limits, settings or another version",
            "remove it to start anew, or give another output",
        )
    return study


def _sizes(one: TrainConfig | Candidate) -> str:
    return f"{one.students} x {'-'.join(map(str, one.body.channels))}"


def rows(found: Found) -> Iterator[list[str]]:
    """The candidates that nothing beats, and the chosen one, as a table's rows."""
    for one in pareto([*found.candidates]):
        yield row(one, "chosen" if one == found.chosen else "")
    if found.chosen not in pareto(found.candidates):
        yield row(found.chosen, "chosen")


COLUMNS = (
    *("trial", "students", "timesteps", "channels", "kernels", "strides", "bits", "decay"),
    *("validation", "instructions", "flash B", "RAM B", ""),
)


def row(one: Candidate, note: str) -> list[str]:
    """One candidate's row."""
    body = one.body
    decay = "learnt" if body.learn_decay else f"1-2^-{body.shift}"
    lists = (",".join(map(str, part)) for part in (body.channels, body.kernels, body.strides))
    return [
        *(str(one.trial), str(one.students), str(one.timesteps), *lists, str(body.bits), decay),
        *(f"{one.accuracy:.2%}", f"{one.instructions:,}", f"{one.flash:,}", f"{one.ram:,}", note),
    ]


def draw(found: Found, limits: Limits, path: Path) -> Path:
    """Validation accuracy after the short trainings against modelled instructions."""
    front = pareto(found.candidates)
    picture = Picture(
        x=f"instructions of an inference on {limits.target}, modelled",
        y="validation accuracy after a short training, %",
        curves={"nothing beats these": [(c.instructions, 100 * c.accuracy, 0.0) for c in front]},
        points={
            "chosen": [(found.chosen.instructions, 100 * found.chosen.accuracy, 0.0)],
            **({"others": others} if (others := _others(found, front)) else {}),
        },
    )
    return draw_picture(picture, f"{found.model.name}: {len(found.candidates)} candidates", path)


def _others(found: Found, front: list[Candidate]) -> list[tuple[float, float, float]]:
    return [(c.instructions, 100 * c.accuracy, 0.0) for c in found.candidates if c not in front and c != found.chosen]


def write_report(found: Found, limits: Limits, command: str, path: Path) -> None:
    """The table of all candidates, the command and the chosen one's settings, as Markdown."""
    estimate = found.needed.estimates[0]
    lines = [
        f"# {found.model.name} for {limits.target}", "", f"`{command}`", "",
        f"{len(found.candidates)} candidates were trained, {found.refused} refused by the cost model. The chosen one, "
        f"trained in full, takes {estimate.mean:,} instructions as modelled and {estimate.worst:,} at most, "
        f"{found.needed.flash_bytes:,} bytes of flash and {found.needed.ram_bytes + found.needed.stack_bytes:,} of RAM "
        "with its stack.", "", "| " + " | ".join(COLUMNS) + " |", "|---" * len(COLUMNS) + "|",
    ]  # fmt: skip
    order = sorted(found.candidates, key=lambda c: (-c.rung, -c.accuracy, c.instructions, c.trial))
    lines += ["| " + " | ".join(row(one, "chosen" if one == found.chosen else "")) + " |" for one in order]
    lines += [
        "",
        "Its settings, for `sne-edge train --config`:",
        "",
        "```toml",
        settings.write(found.config).rstrip(),
        "```",
    ]
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))
