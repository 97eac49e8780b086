"""A C program of this folder on an emulated core, with the runtime as it is or with a fault in it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from sne_edge.resources import RUNTIME

HERE = Path(__file__).parent


def printed(
    board: str,
    program: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    *fault: str,
    definitions: Sequence[str] = (),
) -> str:
    """What `program`, a file of this folder, prints on a board; `fault`: a header of the runtime, a text in it, another
    in its place."""
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    copy = Path(shutil.copy(HERE / program, tmp_path))
    for path in RUNTIME.glob("sne*.h"):  # found before the runtime's own
        shutil.copy(path, tmp_path)
    if fault:
        name, right, wrong = fault
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert right in text, "the fault was not injected"
        (tmp_path / name).write_text(text.replace(right, wrong), encoding="utf-8")
    return run_on(board, copy, definitions=definitions)
