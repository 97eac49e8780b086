"""What commands print: JSON, progress, warnings; tables are in `table`."""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .table import print_table, tell

__all__ = ["bars", "print_json", "print_table", "status", "tell", "warned"]


QUIET_SECONDS = 10.0  # before a brief thing says in a pipe how far it is


@contextmanager
def bars(brief: bool = False) -> Iterator[Callable[[str, int, int, str], None]]:
    """A progress bar, and the time that is left, for each stage of a long run; where there is no terminal, a line for
    each tenth of it. `brief`: mostly over at once, so that nothing is said in the first seconds and no bar stays."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    silent_until = time.monotonic() + (QUIET_SECONDS if brief else 0.0)

    if not sys.stderr.isatty():

        def tell(stage: str, done: int, total: int, text: str) -> None:
            if done * 10 // total != (done - 1) * 10 // total and time.monotonic() >= silent_until:
                print(f"{stage}: {done} of {total} {text}".rstrip(), file=sys.stderr, flush=True)

        yield tell
        return
    shown = Console(stderr=True)
    columns = [TextColumn("{task.description:20}"), BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn()]
    columns += [TextColumn("left"), TimeRemainingColumn(elapsed_when_finished=False)]
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=shown, transient=brief) as bars:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int, text: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, text="")
            bars.update(tasks[stage], completed=done, total=total, text=text)

        yield update


@contextmanager
def status() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is going on; nothing where there is no terminal."""
    from rich.console import Console
    from rich.text import Text

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(Text(text))  # as it is: brackets in a name are no style


@contextmanager
def warned() -> Iterator[None]:
    """Warnings of ours as `warning:` lines on stderr."""
    import warnings

    from ..errors import SneWarning

    with warnings.catch_warnings():
        warnings.simplefilter("always", SneWarning)
        usual = warnings.showwarning

        def show(message: Any, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, SneWarning):
                print(f"warning: {message}", file=sys.stderr)
            else:
                usual(message, category, *where, **more)

        warnings.showwarning = show
        yield


def print_json(value: Any) -> None:
    """Valid JSON: a number that is not finite is null."""

    def plain(item: Any) -> Any:
        if isinstance(item, dict):
            return {str(key): plain(part) for key, part in item.items()}
        if isinstance(item, list | tuple):
            return [plain(part) for part in item]
        if isinstance(item, float):
            return item if math.isfinite(item) else None
        if item is None or isinstance(item, str | int):
            return item
        return plain(item.tolist()) if hasattr(item, "tolist") else str(item)  # of numpy or torch, or a path

    print(json.dumps(plain(value), indent=2, allow_nan=False))
