"""The examples run as they stand: a teacher and data of one's own, two models in one program."""

from __future__ import annotations

import csv
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sne_edge.ir.artifact import load

EXAMPLES = Path(__file__).parents[1] / "examples"


def make(folder: Path, *variables: str) -> str:
    """What `make run` prints in a copy of an example; it must succeed, without a warning."""
    command = ["make", "run", f"PYTHON={sys.executable}", f"SNE_EDGE={sys.executable} -m sne_edge", *variables]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent)}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0 and "warning" not in done.stderr, done.stderr[-2000:]
    return done.stdout


def test_data_of_ones_own_become_a_model_with_their_names_and_a_page(
    tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("make", "cc")
    folder = Path(shutil.copytree(EXAMPLES / "own_data", tmp_path / "own_data"))
    make(folder)
    model = load(folder / "motion.sne")
    assert model.classes == ("still", "walk", "turn") and model.encoder.shape == (1, 64, 6)
    assert model.provenance["integer"]["test"][-1]["accuracy"] > 0.9
    assert "walk" in (folder / "motion.html").read_text() and (folder / "motion.toml").is_file()
    with (folder / "motion.csv").open(newline="") as file:
        assert {row["stage"] for row in csv.DictReader(file)} >= {"teacher", "calibration"}


def test_two_models_share_a_runtime_and_memory(tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool("make", "cc")
    folder = Path(shutil.copytree(EXAMPLES / "two_models", tmp_path / "two_models"))
    said = make(folder, "CFLAGS=-O1 -Werror")
    found = {name: [int(n) for n in re.findall(rf"^{name}: label (\d+)", said, re.M)] for name in ("mnist1d", "fsdd")}
    for name, labels in found.items():
        golden = load(name).vectors.logits[:3].argmax(axis=1).tolist()
        assert labels == golden, name
    assert "6 inferences" in said


@pytest.mark.filterwarnings("ignore")
def test_a_teacher_of_ones_own_teaches_students(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES / "own_teacher"))
    monkeypatch.chdir(tmp_path)
    import train

    train.main()
    model = load(tmp_path / "students.sne")
    record = model.provenance
    assert len(model.students) == 3 and record["teacher"]["test"] > 0.6
    assert record["integer"]["test"][2]["accuracy"] > 0.35  # ten classes, five epochs
