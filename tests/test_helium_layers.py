"""Whole layers on the emulated Cortex-M55, which has ways of its own: equal to the equations on random shapes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from emulated import printed

# What turns a kernel wrong: a file of the runtime, a text in it, another.
FAULTS = (
    ("sne_direct_helium.h", 'SNE_DOT_HELIUM("s3", "r3")', 'SNE_DOT_HELIUM("s3", "r2")'),
    (
        "sne_direct_helium.h",
        "vmov %q[sums][3], %q[sums][1], %[s1], %[s3]",
        "vmov %q[sums][3], %q[sums][1], %[s3], %[s1]",
    ),
    ("sne_direct_helium.h", "if (rows * run < s->window) {", "if (rows * run + 1u < s->window && !rows) {"),
    ("sne_direct_helium.h", "s->dots.weight += s->low * s->run + before", "s->dots.weight += s->low * s->run"),
    ("sne_fire_helium.h", "0x10010, 0x10020", "0x10020, 0x10010"),
    ("sne_window_helium.h", "bic r5, r5, r8", "and r5, r5, r8"),
    ("sne_window_helium.h", "w->at != (from & 31u)", "w->at == 32u"),
    ("sne_window_helium.h", "w->glimpses[i].end -= done", "w->glimpses[i].end -= 0u * done"),
    ("sne_window_helium.h", "w->sums.same = 0", "w->sums.total = 0"),
)


def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cases: int, *fault: str) -> dict[str, int]:
    """What the program prints of so many cases of each kind; `fault`: one of `FAULTS`."""
    text = printed("mps3-an547", "layers_emulated.c", tmp_path, monkeypatch, *fault, definitions=[f"CASES={cases}"])
    return {name: int(number) for name, number in (line.split() for line in text.splitlines())}


def test_layers_with_helium_are_the_equations(
    require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    found = results(tmp_path, monkeypatch, 60)
    assert found["wrong"] == 0
    least = {"tried": 400, "gathered": 60, "together": 100, "short": 30, "row_by_row": 3, "apart": 60}
    assert {name: found[name] for name in least if found[name] < least[name]} == {}


@pytest.mark.parametrize(("name", "right", "wrong"), FAULTS)
def test_a_fault_in_a_layer_with_helium_is_seen(
    name: str,
    right: str,
    wrong: str,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert results(tmp_path, monkeypatch, 30, name, right, wrong)["wrong"] > 0
