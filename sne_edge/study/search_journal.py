"""The journal of a search: every trial, kept by Optuna beside the output; the same command goes on from there.

Trials come in rounds: all of a round are drawn before any of them is told, so that what is drawn depends on the seed
and on what is told, and not on how many of them are trained at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..errors import SneError
from ..pipeline.config import TrainConfig
from .search_space import Candidate, drawn, first_values

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

REDUCTION = 2  # of a rung's candidates, one in so many goes on
ROUND = 4  # trials that are drawn together
AT_RANDOM = 8  # trials before the sampler chooses


def check_optuna() -> None:
    """Raise `SneError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise SneError("the package optuna is not installed", "pip install 'sne-edge[search]'")


class Journal:
    """The journal in a file, which is made where it is missing. `key`: what two calls share that go on with one search;
    `size`: trials of a round after the first, by default as the journal has it.

    Raises `SneError` where Optuna is missing, or the journal is another search's or of other rounds.
    """

    def __init__(self, path: Path, key: str, size: int | None = None) -> None:
        check_optuna()
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = JournalFileOpenLock(str(path))
            self.study = optuna.create_study(
                storage=JournalStorage(JournalFileBackend(str(path), lock_obj=lock)), study_name="search",
                direction="maximize", load_if_exists=True,
            )  # fmt: skip
            known = self.study.user_attrs.get("key")
            if known is None:
                self.study.set_user_attr("round", size or ROUND)
                self.study.set_user_attr("key", key)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise SneError(f"{path} is no journal of a search: {error}", "remove it, or give another output") from None
        if known not in (None, key):
            raise SneError(
                f"{path} is the journal of another search: other data, limits, settings or another version",
                "remove it to start anew, or give another output",
            )
        self.size = int(self.study.user_attrs["round"])
        if size not in (None, self.size):
            raise SneError(
                f"{path} is of a search in rounds of {self.size}, not {size}",
                f"give --round {self.size}, or remove it to start anew",
            )

    def trials(self, *states: str) -> list[FrozenTrial]:
        """All trials in states by name, or all, in order."""
        return [t for t in self.study.get_trials(deepcopy=False) if not states or t.state.name in states]

    def candidates(self) -> list[Candidate]:
        """All that were trained, in the order of their trials."""
        kept = [trial.user_attrs.get("candidate") for trial in self.trials("COMPLETE", "PRUNED")]
        return [msgspec.convert(one, Candidate) for one in kept if one is not None]

    def failed(self) -> dict[int, str]:
        """By trial, why those failed that did."""
        return {t.number: t.user_attrs["failed"] for t in self.trials("FAIL") if "failed" in t.user_attrs}

    def tried(self) -> int:
        """How many were trained, or failed at it."""
        return len(self.candidates()) + len(self.failed())

    def seconds(self) -> dict[int, float]:
        """By trial, the seconds that all of its epochs would take."""
        return {t.number: t.user_attrs["seconds"] for t in self.trials() if "seconds" in t.user_attrs}

    def refused(self) -> int:
        """How many the cost model ruled out."""
        return sum("refused" in trial.user_attrs for trial in self.trials("PRUNED"))

    def round(self, base: TrainConfig, refusal: Callable[[TrainConfig], str], most: int | None) -> list[FrozenTrial]:
        """The trials of the round that was begun and is not over, else of a new one; none where `most` were tried.

        The first round is one trial, which tells how long they take. `refusal` says of a config why it cannot fit, or
        nothing.
        """
        for cut in self.trials("RUNNING"):
            if "round" not in cut.user_attrs:
                self.study.tell(cut.number, state=_states().FAIL)  # it was killed while it was drawn: drawn again
        rounds = [t.user_attrs["round"] for t in self.trials() if "round" in t.user_attrs]
        begun = [t.user_attrs["round"] for t in self.trials("RUNNING")]
        number = begun[0] if begun else max(rounds, default=-1) + 1
        before = sum(one < number for one in rounds)
        size = 1 if number == 0 else self.size
        size = size if most is None else min(size, most - before)
        while rounds.count(number) < size:
            trial = self._ask(base)
            beyond = refusal(drawn(trial, base))
            if beyond:
                trial.set_user_attr("refused", beyond)
                self.study.tell(trial, state=_states().PRUNED)
                continue
            trial.set_user_attr("round", number)
            rounds.append(number)
        return self.trials("RUNNING")

    def _ask(self, base: TrainConfig) -> optuna.Trial:
        """The next candidate: it follows from the seed and from those before it, however often that was resumed. Those
        of the round, of which nothing is known, count as bad ones, so that a round is of different candidates."""
        import optuna

        before = len(self.trials("COMPLETE", "PRUNED", "RUNNING")) + len(self.failed())
        seed = int(np.random.default_rng([base.seed, before]).integers(2**31))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.TPESampler(
                seed=seed, multivariate=True, n_startup_trials=AT_RANDOM, constant_liar=True
            )
        first = first_values(base) if not before else None
        if first is not None and not self.trials("WAITING"):
            self.study.enqueue_trial(first, skip_if_exists=False)
        return self.study.ask()

    def report(self, number: int, rung: int, candidate: Candidate, value: float, seconds: float) -> None:
        """Keep what a trial's rung found."""
        import optuna

        frozen = self.trials()[number]
        trial = optuna.trial.Trial(self.study, frozen._trial_id)
        trial.set_user_attr("candidate", msgspec.to_builtins(asdict(candidate)))
        trial.set_user_attr("seconds", seconds)
        if rung not in frozen.intermediate_values:
            trial.report(value, rung)

    def fail(self, number: int, why: str) -> None:
        """Keep that a trial failed; it is over."""
        import optuna

        optuna.trial.Trial(self.study, self.trials()[number]._trial_id).set_user_attr("failed", why)
        self.study.tell(number, state=_states().FAIL)

    def end(self, number: int, value: float | None = None) -> None:
        """A trial is over, with its value after the last rung, or without, where it was not among the better ones."""
        self.study.tell(number, value, state=_states().PRUNED if value is None else None)

    def among_the_better(self, number: int, rung: int) -> bool:
        """Whether a trial is among the better part of all that came to a rung so far."""
        values = {t.number: t.intermediate_values[rung] for t in self.trials() if rung in t.intermediate_values}
        least = sorted(values.values(), reverse=True)[max(1, len(values) // REDUCTION) - 1]
        return values[number] >= least


def _states() -> type[optuna.trial.TrialState]:
    import optuna

    return optuna.trial.TrialState
