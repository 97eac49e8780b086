"""The contracts beside portable C, comments that start with @, proven by Frama-C from the harnesses in tests/proofs.

WP proves a function for every input that its contract allows; Eva runs a harness on all inputs of one size at once.
On 32 bits, as on the microcontrollers: no access out of bounds, no overflow of a lane or of a signed number.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from sne_edge.resources import RUNTIME

PROOFS = Path(__file__).parent / "proofs"
TOOLS = ("frama-c", "why3", "cvc4")
# Harness, definitions, functions with a contract, and the least number of goals that they have.
PROVEN = {
    "16-bit lanes": (
        "add_rows.c",
        ("WIDTH=16",),
        ("proof", "sne_add_rows_portable", "sne_add_row_portable", "sne_get", "sne_put", "sne_weight_of_four"),
        150,
    ),
    "32-bit lanes": (
        "add_rows.c",
        ("WIDTH=32",),
        ("proof", "sne_add_rows_portable", "sne_add_row_portable", "sne_get", "sne_put", "sne_weight_of_four"),
        150,
    ),
    "axis": ("clip.c", (), ("proof", "sne_clip"), 15),
    "scheduler": ("schedule.c", (), ("decide", "is_cascade", "fits", "sne_check_events"), 80),
}


def frama_c(harness: str, definitions: tuple[str, ...], *flags: str) -> str:
    """What Frama-C prints about a harness."""
    folders = f"-I{RUNTIME} -I{PROOFS} " + " ".join(f"-D{name}" for name in ("SNE_PORTABLE", *definitions))
    command = ("frama-c", "-machdep", "gcc_x86_32", f"-cpp-extra-args={folders}", str(PROOFS / harness))
    checks = ("-warn-signed-downcast", *flags)
    done = subprocess.run([*command, *checks], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def goals(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """How many goals WP proved, and of how many."""
    monkeypatch.setenv("WHY3CONFIG", str(tmp_path / "why3.conf"))
    subprocess.run(["why3", "config", "detect"], env=os.environ, capture_output=True, check=True)
    harness, definitions, functions, _ = PROVEN[name]
    # None of these goals takes CVC4 a second; the rest is for what else the computer has to do.
    provers = ("-wp-prover", "cvc4", "-wp-timeout", "30", "-wp-par", str(os.cpu_count() or 1))
    flags = ("-wp", "-wp-fct", ",".join(functions), "-wp-rte", "-wp-model", "Typed+Cast", *provers)
    report = re.search(r"Proved goals:\s+(\d+) / (\d+)", frama_c(harness, definitions, *flags))
    assert report
    return int(report[1]), int(report[2])


@pytest.mark.parametrize("name", PROVEN)
def test_portable_c_keeps_its_contracts(
    name: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool(*TOOLS)
    proved, all_of_them = goals(name, tmp_path, monkeypatch)
    assert proved == all_of_them >= PROVEN[name][-1]


def rows_in_lanes(*definitions: str) -> tuple[int, list[str]]:
    """Statements that Eva reached and what it holds against the harness: alarms, and contracts that are broken."""
    flags = ("-eva", "-eva-precision", "0", "-eva-slevel", "6000", "-eva-no-print")
    text = frama_c("rows_in_lanes.c", definitions, *flags)
    reached, alarms = re.search(r"(\d+) statements reached", text), re.search(r"(\d+) alarms? generated", text)
    assert reached and alarms
    broken = re.findall(r"function (\w+): precondition (?:(?!\[eva).)*?got status invalid", text, flags=re.S)
    return int(reached[1]), [*broken, *["alarm"] * int(alarms[1])]


def test_as_many_rows_as_a_list_may_have_fit_in_lanes_and_one_more_does_not(require_tool: Callable[..., None]) -> None:
    require_tool(*TOOLS)
    reached, broken = rows_in_lanes()
    assert reached > 100 and broken == []
    assert rows_in_lanes("ROWS=257")[1] == ["sne_add_rows_32"]
    assert rows_in_lanes("SNE_MOST_ROWS=257")[1] == ["sne_add_rows_portable"]
