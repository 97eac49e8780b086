"""What a training said, epoch by epoch: a CSV file beside the model, and event files for TensorBoard.

In: what a `Progress` is told. Out: rows, written as they come, so that a run can be looked at while it goes and a
killed one leaves what it had; the same run goes on in the same file.
"""

from __future__ import annotations

import csv
import hashlib
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..files import check_writable
from ..learn.fit import Progress, Told

COLUMNS = ("run", "time_utc", "stage", "epoch", "epochs", "loss", "validation", "validation of the first")
LAST = "calibration"  # the stage that ends a run


def run_name(settings: str) -> str:
    """8 hex digits that name a run of these settings."""
    return hashlib.sha256(settings.encode()).hexdigest()[:8]


def check_log(path: Path, run: str, force: bool) -> None:
    """Raise `SneError` where a file is there that neither this run began nor may be overwritten."""
    check_writable(path)
    if path.exists() and not force and not unfinished(path, run):
        raise SneError(f"{path} is there already", "--force overwrites it; or give another name with -o")


def check_tensorboard(folder: Path | None) -> None:
    """Raise `SneError` where event files are asked for and cannot be written."""
    if folder is None:
        return
    if find_spec("tensorboard") is None:
        raise SneError("the package tensorboard is not installed", "pip install 'sne-edge[tensorboard]'")
    check_writable(folder / "events")


def unfinished(path: Path, run: str) -> bool:
    """Whether a file holds rows of this run, which did not come to its end."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):
        return False
    return bool(rows) and all(row.get("run") == run for row in rows) and rows[-1].get("stage") != LAST


@contextmanager
def tracked(path: Path, run: str, log_dir: Path | None, then: Progress) -> Iterator[Progress]:
    """A progress that writes a row for each epoch to `path`, and scalars to `log_dir`, and hands on to `then`.

    `run`: what names the run in its rows. A file of the same run that was killed is gone on with.
    """
    going_on = path.exists() and unfinished(path, run)
    rows: list[Any] = []  # the writer, once there is a row: a run that never begins leaves no file
    with ExitStack() as stack:

        def write(row: dict[str, Any]) -> None:
            if not rows:
                path.parent.mkdir(parents=True, exist_ok=True)
                mode = "a" if going_on else "w"
                file = stack.enter_context(path.open(mode, buffering=1, newline="", encoding="utf-8"))
                rows.append(csv.DictWriter(file, COLUMNS))
                if not going_on:
                    rows[0].writeheader()
            rows[0].writerow(row)

        events: Any = None
        if log_dir is not None:
            from torch.utils.tensorboard import SummaryWriter

            events = SummaryWriter(str(log_dir))
            stack.callback(events.close)

        def told(stage: str, done: int, total: int, note: str) -> None:
            values = note.values if isinstance(note, Told) else {}
            if values or (stage == LAST and done == total):
                row = {name: f"{value:.6g}" for name, value in values.items()}
                now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                write({"run": run, "time_utc": now, "stage": stage, "epoch": done, "epochs": total} | row)
            if events is not None:
                for name, value in values.items():
                    events.add_scalar(f"{stage}/{name}", value, done)
            then(stage, done, total, note)

        yield told
