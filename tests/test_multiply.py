"""Multiplication: each core's kernel against the equation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547")


@pytest.mark.parametrize("board", BOARDS)
def test_every_cores_multiplication_is_the_equation(
    board: str, require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    lines = dict(line.split() for line in run_on(board, HERE / "multiply_emulated.c").splitlines())
    assert int(lines["runs"]) > 300
    assert lines["wrong"] == "0"
