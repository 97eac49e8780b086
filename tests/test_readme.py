"""The examples in the README and in docs run as they stand."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sne_edge.ir.artifact import load

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.parametrize(
    ("document", "agreement"), [("README.md", 0.9), ("docs/GRAPHS.md", 0.85), ("docs/NETWORKS.md", 0.95)]
)
def test_the_example_runs(document: str, agreement: float, tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool("cc", "make")
    block = re.search(r"```python\n(.*?)```", (CHECKOUT / document).read_text(encoding="utf-8"), flags=re.S)
    assert block is not None
    (tmp_path / "example.py").write_text(block[1], encoding="utf-8")
    done = subprocess.run([sys.executable, "example.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "mine.sne").provenance["agreement"] > agreement
    check = subprocess.run(["make", "-C", tmp_path / "mine-c", "check"], capture_output=True, text=True, check=False)
    assert check.returncode == 0 and "golden vectors exact" in check.stdout, check.stderr


def test_the_figures_of_the_shipped_model_are_those_that_it_and_its_card_say() -> None:
    text = (CHECKOUT / "README.md").read_text(encoding="utf-8")
    card = (CHECKOUT / "docs" / "models" / "mnist1d.md").read_text(encoding="utf-8")
    made = load("mnist1d").provenance
    one, *_, whole, own = made["integer"]["test"]
    names = {"int8, one student": one, "int8, all four": whole, "int8, margin cascade": own}
    examined = 0
    for name, figures in names.items():
        told = next(line for line in text.splitlines() if name in line)
        cells = [cell.strip(" *") for cell in told.strip("|").split("|")]
        assert cells[1] == f"{figures['accuracy']:.1%}".replace("%", " %"), name
        assert float(cells[2]) == round(figures["students_run"], 2)
        assert cells[3] == f"{figures['operations']:,.0f}"
        examined += 1
        for core, cell in zip(("cortex-m0", "cortex-m4", "cortex-m55"), cells[4:], strict=True):
            measured = next(line for line in card.splitlines() if line.startswith(f"| {core} |")).split("|")
            if figures is not one:
                assert cell == measured[3 if figures is whole else 4].strip()
                examined += 1
    assert examined == 9 and f"| {made['teacher']['macs']:,} MACs |" in text
