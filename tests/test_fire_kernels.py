"""Firing kernels one by one, on every emulated core that has its own: each kind of neuron equals the portable pass, on
random layers and at the edges of int16."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import printed

KINDS = 77
# What turns each core's own pass wrong: a lane, a threshold, a place, a rounding.
FAULTS = {
    "microbit": ("sne_fire_thumb1.h", "lsrs r4, r4, #28", "lsrs r4, r4, #29"),
    "mps2-an385": ("sne_fire_thumb2.h", "#0x00010001", "#0x00010000"),
    "mps2-an386": ("sne_fire_dsp.h", "#13, #4", "#13, #3"),
    "mps3-an547": ("sne_fire_helium.h", "vrshr.s", "vshr.s"),
}
# The same of passes for last timesteps, for all of them at once, for 32 bits, and for shifted currents.
OTHER_FAULTS = {
    "last, microbit": ("sne_fire_last_thumb1.h", "lsrs r4, r4, #28", "lsrs r4, r4, #29"),
    "last, mps2-an385": ("sne_fire_last_thumb2.h", "#0x00010001", "#0x00010000"),
    "last, mps2-an386": ("sne_fire_last_thumb2.h", "ubfx r7, r7, #9, #8", "ubfx r7, r7, #9, #7"),
    "steps, microbit": ("sne_fire_steps_thumb1.h", "lsrs r2, r2, #2", "lsrs r2, r2, #3"),
    "steps, mps2-an386": ("sne_fire_dsp.h", "movt r3, #0x0080", "movt r3, #0x0040"),
    "32 bits, mps2-an386": ("sne_fire_wide_thumb2.h", "and r4, r4, #5", "and r4, r4, #4"),
    "shift, mps2-an386": ("sne_fire.h", "bfi %[e], %[d], #0, #16", "bfi %[e], %[d], #0, #15"),
}


def differing(board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *fault: str) -> dict[str, int]:
    """Cases that differ from the portable pass, by kind of neuron; `fault`: a runtime file, a text in it, another."""
    few = ["CASES=10"] if fault else []
    text = printed(board, "fire_kernels.c", tmp_path, monkeypatch, *fault, definitions=few)
    return {name: int(number) for name, number in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("board", FAULTS)
def test_every_kind_of_neuron_fires_as_portable_c_does(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    wrong = differing(board, tmp_path, monkeypatch)
    assert len(wrong) == KINDS + 1
    assert {name: number for name, number in wrong.items() if number} == {}


@pytest.mark.parametrize("board", FAULTS)
def test_a_fault_in_a_firing_kernel_is_seen(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert differing(board, tmp_path, monkeypatch, *FAULTS[board])["wrong"] > 0


@pytest.mark.parametrize("fault", OTHER_FAULTS)
def test_a_fault_in_another_pass_is_seen(
    fault: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    kind, board = fault.split(", ")
    wrong = differing(board, tmp_path, monkeypatch, *OTHER_FAULTS[fault])
    named = {"last": "last", "steps": "steps", "32 bits": "32", "shift": "shift"}[kind]
    assert sum(number for name, number in wrong.items() if name.startswith(named)) > 0
