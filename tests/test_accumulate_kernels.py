"""Accumulation: each core's kernels against the equation, at every remainder of a block.

Rows of weights, which gathering adds, and the lists of these; chains of rows, which scattering adds.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import printed

# What turns each kernel wrong. Those that start in the wrong place of a loop never meet its end.
FAULTS = (
    ("chains", "microbit", "sne_accumulate_swar.h", "((w >> 8) & SNE_SWAR_LANES)", "((w >> 9) & SNE_SWAR_LANES)"),
    ("chains", "mps2-an385", "sne_accumulate_thumb2.h", "#0xff00ff00", "#0xfe00fe00"),
    ("chains", "mps2-an385", "sne_accumulate_swar.h", "^ sign)", "| sign)"),
    ("chains", "mps2-an386", "sne_accumulate_dsp.h", 'ldr r3, [r3, #4]\\n"', 'ldr r3, [r3]\\n"'),
    ("chains", "mps2-an386", "sne_accumulate_dsp.h", "sxtab16 r8, r8, r12", "sxtab16 r8, r8, lr"),
    ("chains", "mps2-an386", "sne_accumulate_dsp.h", "v[1] = sne_add_odd", "v[1] = sne_add_even"),
    ("chains", "mps3-an547", "sne_accumulate_helium.h", "SNE_EIGHT_HELIUM(24, 48)", "SNE_EIGHT_HELIUM(16, 48)"),
    ("chains", "mps3-an547", "sne_accumulate_helium.h", "weight -= chain->next", "weight += chain->next"),
    ("lists", "microbit", "sne_list_thumb1.h", "lsls r4, r6", "lsls r4, r4"),
    ("lists", "microbit", "sne_list_thumb1.h", "ldr r5, [r0, #16]", "ldr r5, [r0, #4]\\n adds r5, #1"),
    ("lists", "mps2-an385", "sne_list_thumb2.h", "mla r0, r2, lr, r10", "mla r0, r2, lr, r6"),
    ("lists", "mps2-an386", "sne_list_thumb2.h", "lsls r7, r7, r9", "movs r7, r7"),
    ("lists", "mps3-an547", "sne_list_thumb2.h", "mov r11, #32", "mov r11, #31"),
    ("rows", "microbit", "sne_accumulate_thumb1.h", r"mov r3, \\odd", r"mov r3, \\all"),
    ("rows", "microbit", "sne_accumulate_thumb1.h", "subs r7, r7, r3", "subs r7, r7, r1"),
    ("rows", "mps2-an385", "sne_accumulate_thumb2.h", "and lr, r8, lr, lsr #8", "and lr, r8, lr, lsr #7"),
    ("rows", "mps2-an386", "sne_accumulate_dsp.h", "lsls r12, r12, #29", "lsls r12, r12, #28"),
    ("rows", "mps2-an386", "sne_accumulate_dsp.h", "ubfx r3, r3, #2, #2", "ubfx r3, r3, #2, #1"),
    ("rows", "microbit", "sne_nibbles_word.h", "(uint32_t)n * SNE_LANE_BIAS", "(uint32_t)(n + 1u) * SNE_LANE_BIAS"),
    ("rows", "mps2-an385", "sne_accumulate_thumb2.h", "and r3, lr, r3, lsr #8", "and r3, lr, r3, lsr #7"),
    ("rows", "mps2-an386", "sne_accumulate_dsp.h", "sxtab16 r11, r11, lr, ror #8", "sxtab16 r11, r11, lr"),
    ("rows", "mps2-an385", "sne_nibbles_thumb2.h", r"and \\all, lr", r"and \\all, r1"),
    ("rows", "mps2-an386", "sne_nibbles_dsp.h", r"usub8 \\high, \\high", r"usub8 \\high, \\all"),
    ("rows", "mps2-an386", "sne_nibbles_word.h", "(w[0] >> 4)", "(w[0] >> 5)"),
    ("rows", "mps3-an547", "sne_accumulate_helium.h", "#24]", "#25]"),
    ("rows", "mps3-an547", "sne_accumulate_helium.h", "wls lr, %[next], 3f", "dls lr, %[next]"),
)


def results(what: str, board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *fault: str) -> dict[str, str]:
    """What the program prints; `fault`: a runtime file, a text in it, another."""
    text = printed(board, f"{what}_emulated.c", tmp_path, monkeypatch, *fault)
    return dict(line.split() for line in text.splitlines())


@pytest.mark.parametrize("board", sorted({board for _, board, *_ in FAULTS}))
@pytest.mark.parametrize("what", ["chains", "lists", "rows"])
def test_every_cores_kernels_are_the_equation(
    what: str, board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    lines = results(what, board, tmp_path, monkeypatch)
    assert int(lines["runs"]) > 400
    assert lines["wrong"] == "0"


@pytest.mark.parametrize(("what", "board", "name", "right", "wrong"), FAULTS)
def test_a_fault_in_a_kernel_is_seen(
    what: str,
    board: str,
    name: str,
    right: str,
    wrong: str,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    try:
        lines = results(what, board, tmp_path, monkeypatch, name, right, wrong)
    except RuntimeError as error:
        assert str(error) == f"{board}: exit code 1\nfault\n"  # it read where no memory is (bare_metal.c)
        return
    assert int(lines["wrong"]) > 0
