"""The journal of a search: every trial, kept by Optuna beside the output; the same command goes on from there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SneError

if TYPE_CHECKING:
    import optuna

REDUCTION = 2  # of a rung's candidates, one in so many goes on


def check_optuna() -> None:
    """Raise `SneError` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise SneError("the package optuna is not installed", "pip install 'sne-edge[search]'")


def open_journal(journal: Path, key: str) -> optuna.Study:
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
