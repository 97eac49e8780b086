"""Chains of rows, which scattering adds: each core's kernels against the equation, at every remainder of a block."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from sne_edge.resources import RUNTIME

HERE = Path(__file__).parent
# What turns each kernel wrong.
FAULTS = (
    ("microbit", "sne_accumulate_swar.h", "((w >> 8) & SNE_SWAR_LANES)", "((w >> 9) & SNE_SWAR_LANES)"),
    ("mps2-an385", "sne_accumulate_swar.h", "#0xff00ff00", "#0xfe00fe00"),
    ("mps2-an385", "sne_accumulate_swar.h", "^ sign)", "| sign)"),
    ("mps2-an386", "sne_accumulate_dsp.h", 'ldr r3, [r3, #4]\\n"', 'ldr r3, [r3]\\n"'),
    ("mps2-an386", "sne_accumulate_dsp.h", "sxtab16 r8, r8, r12", "sxtab16 r8, r8, lr"),
    ("mps2-an386", "sne_accumulate_dsp.h", "v[1] = sne_add_odd", "v[1] = sne_add_even"),
    ("mps3-an547", "sne_accumulate_helium.h", "SNE_EIGHT_HELIUM(24, 48)", "SNE_EIGHT_HELIUM(16, 48)"),
    ("mps3-an547", "sne_accumulate_helium.h", "weight -= chain->next", "weight += chain->next"),
)


def results(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *fault: str) -> dict[str, str]:
    """What the program prints; `fault`: a runtime file, a text in it, another."""
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    program = Path(shutil.copy(HERE / "chains_emulated.c", tmp_path))
    for path in RUNTIME.glob("sne*.h"):  # found before the runtime's own
        shutil.copy(path, tmp_path)
    if fault:
        name, right, wrong = fault
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert right in text, "the fault was not injected"
        (tmp_path / name).write_text(text.replace(right, wrong), encoding="utf-8")
    return dict(line.split() for line in run_on(board, program).splitlines())


@pytest.mark.parametrize("board", sorted({board for board, *_ in FAULTS}))
def test_every_cores_chains_are_the_equation(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    lines = results(board, tmp_path, monkeypatch)
    assert int(lines["runs"]) > 400
    assert lines["wrong"] == "0"


@pytest.mark.parametrize(("board", "name", "right", "wrong"), FAULTS)
def test_a_fault_in_a_chain_is_seen(
    board: str,
    name: str,
    right: str,
    wrong: str,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert int(results(board, tmp_path, monkeypatch, name, right, wrong)["wrong"]) > 0
