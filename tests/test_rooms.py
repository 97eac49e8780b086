"""The house's map: rooms import one way (the layers are in pyproject.toml), and what must start quickly stays light."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from installed import CHECKOUT, lay_out

CONTRACT = CHECKOUT / "pyproject.toml"


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    options = [str(CONTRACT), "--no-cache"]
    return subprocess.run([*command, *options], cwd=folder, capture_output=True, text=True, check=False)


def test_every_room_imports_only_those_below_it(tmp_path: Path) -> None:
    done = lint(lay_out(tmp_path / "as-installed"))
    assert done.returncode == 0, done.stdout + done.stderr
    analyzed = re.search(r"Analyzed (\d+) files", done.stdout)
    assert analyzed is not None and int(analyzed[1]) > 80, "it looked at too little"


@pytest.mark.parametrize(
    ("file", "line"),
    [("ir/layers.py", "from ..check import reference"), ("codegen/layout.py", "import sne_edge.deploy.host")],
)
def test_an_import_that_climbs_is_seen(tmp_path: Path, file: str, line: str) -> None:
    folder = lay_out(tmp_path / "as-installed")
    path = folder / "sne_edge" / file
    room = path.parent.resolve()
    path.parent.unlink()
    path.parent.mkdir()
    for other in room.iterdir():
        (path.parent / other.name).symlink_to(other)
    text = path.read_text()
    path.unlink()
    path.write_text(f"{text}\n{line}\n")
    done = lint(folder)
    assert done.returncode != 0
    assert "BROKEN" in done.stdout


@pytest.mark.parametrize("room", ["ir", "deploy", "link", "cli", "codegen"])
def test_a_room_of_the_way_to_the_device_imports_without_torch(room: str) -> None:
    script = (
        "import sys, importlib, pkgutil\n"
        "class Refuse:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'snntorch', 'matplotlib', 'onnx'):\n"
        "            raise ImportError(f'{name} is not for this room')\n"
        "sys.meta_path.insert(0, Refuse())\n"
        f"room = importlib.import_module('sne_edge.{room}')\n"
        "names = [m.name for m in pkgutil.iter_modules(room.__path__)]\n"
        "for name in names: importlib.import_module(f'{room.__name__}.{name}')\n"
        "print(len(names))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) >= 2
