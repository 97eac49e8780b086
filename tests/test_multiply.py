"""Multiplication: each core's kernel against the equation."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sne_edge.resources import RUNTIME

HERE = Path(__file__).parent
# What turns each core's own kernel wrong: a file of the runtime, a text in it, another.
FAULTS = {
    "microbit": ("sne_multiply_thumb1.h", "128u * excess", "127u * excess"),
    "mps2-an385": ("sne_multiply_thumb2.h", "ldrsb r12, [r0, #7]", "ldrsb r12, [r0, #6]"),
    "mps2-an386": ("sne_multiply_dsp.h", "sxtb16 lr, lr, ror #8", "sxtb16 lr, lr"),
    "mps3-an547": ("sne_multiply_helium.h", "[%[row], #28]", "[%[row], #24]"),
}


def results(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *fault: str) -> dict[str, str]:
    """What the program prints; `fault`: one of `FAULTS`."""
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    program = Path(shutil.copy(HERE / "multiply_emulated.c", tmp_path))
    for path in RUNTIME.glob("sne*.h"):  # found before the runtime's own
        shutil.copy(path, tmp_path)
    if fault:
        name, right, wrong = fault
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert right in text, "the fault was not injected"
        (tmp_path / name).write_text(text.replace(right, wrong), encoding="utf-8")
    return dict(line.split() for line in run_on(board, program).splitlines())


@pytest.mark.parametrize("board", FAULTS)
def test_every_cores_multiplication_is_the_equation(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    lines = results(board, tmp_path, monkeypatch)
    assert int(lines["runs"]) > 300
    assert lines["wrong"] == "0"


@pytest.mark.parametrize("board", FAULTS)
def test_a_fault_in_a_multiplication_is_seen(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert int(results(board, tmp_path, monkeypatch, *FAULTS[board])["wrong"]) > 0
