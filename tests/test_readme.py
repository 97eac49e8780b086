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
