"""Multiplication: each core's kernel against the equation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import printed

# What turns a core's own kernel wrong: a board, a file of the runtime, a text in it, another.
FAULTS = [
    ("microbit", "sne_multiply_thumb1.h", "lsls r5, r5, #7", "lsls r5, r5, #6"),
    ("microbit", "sne_multiply_thumb1.h", "ldrb r3, [r0, #15]", "ldrb r3, [r0, #14]"),
    ("mps2-an385", "sne_multiply_thumb2.h", "ldrsb r12, [r0, #7]", "ldrsb r12, [r0, #6]"),
    ("microbit", "sne_multiply_thumb1.h", 'mov r1, r8\\n mov r2, r9\\n"', 'mov r1, r8\\n mov r2, r8\\n"'),
    ("microbit", "sne_multiply_thumb1.h", "add r0, r10\\n", "adds r0, r0, #8\\n"),
    ("mps2-an385", "sne_multiply_thumb2.h", "add r11, r11, r3", "add r11, r11, r2"),
    ("mps2-an386", "sne_multiply_dsp.h", "sxtb16 r12, r12, ror #8", "sxtb16 r12, r12"),
    ("mps2-an386", "sne_multiply_dsp.h", "add r9, lr, r9, asr #8", "add r9, lr, r9, asr #7"),
    ("mps2-an386", "sne_multiply_dsp.h", "sxtb16 %[x], %[x], ror #8", "sxtb16 %[x], %[x]"),
    ("mps2-an386", "sne_convolve.h", "c->skip = 4u * c->words", "c->skip = 8u * c->words"),
    ("mps3-an547", "sne_multiply_helium.h", "[%[row], #28]", "[%[row], #24]"),
]
BOARDS = list(dict.fromkeys(board for board, *_ in FAULTS))
CONVOLVES = ("mps2-an386",)


def results(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *fault: str) -> dict[str, str]:
    """What the program prints; `fault`: of one of `FAULTS`, without the board."""
    text = printed(board, "multiply_emulated.c", tmp_path, monkeypatch, *fault)
    return dict(line.split() for line in text.splitlines())


@pytest.mark.parametrize("board", BOARDS)
def test_every_cores_multiplication_is_the_equation(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    lines = results(board, tmp_path, monkeypatch)
    assert int(lines["runs"]) > 300
    assert (int(lines["convolutions"]) >= 300) == (board in CONVOLVES)
    assert lines["wrong"] == "0"


@pytest.mark.parametrize(("board", "file", "right", "wrong"), FAULTS)
def test_a_fault_in_a_multiplication_is_seen(
    board: str,
    file: str,
    right: str,
    wrong: str,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert int(results(board, tmp_path, monkeypatch, file, right, wrong)["wrong"]) > 0
