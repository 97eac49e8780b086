"""The examples run as they stand; those that are notebooks, too, as such."""

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
PROMISES = {  # what a notebook must have found
    "own_network/network.py": [r"\b(9[5-9]|100)\.\d% of the samples get", r"32 of 32 golden vectors exact"],
    "stream/live.py": [r"(9[5-9]|100)\.\d% right", r"the last 20 timesteps: 1[12] of 12 gestures"],
}


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


def test_a_board_of_ones_own_is_built_for_verified_and_measured(
    tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("make", "cc", "arm-none-eabi-gcc", "qemu-system-arm")
    folder = Path(shutil.copytree(EXAMPLES / "own_board", tmp_path / "own_board"))
    said = make(folder)
    assert "mnist1d on lab-m4" in said and "mnist1d on qemu:./lab-m4" in said
    assert "instructions, mean" in said and "of 262,144 bytes" in said and "of 32,768 bytes" in said
    assert (folder / "firmware" / "firmware.elf").is_file()


def test_words_are_heard_where_they_begin_and_nothing_is_run_in_between(
    tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("make", "cc")
    folder = Path(shutil.copytree(EXAMPLES / "audio", tmp_path / "audio"))
    said = make(folder, "CFLAGS=-O1 -Werror")
    assert "2 of 2 digits heard, 2 inferences in 4.5 s of audio" in said
    heard = [float(time) for time in re.findall(r"^ *([\d.]+) s: \d$", said, re.M)]
    for time, began in zip(heard, (0.8, 2.64), strict=True):  # a window of 64 frames of 16 ms after the word begins
        assert began + 1 <= time <= began + 1.2


@pytest.mark.parametrize("script", ["own_network/network.py", "stream/live.py"])
def test_a_notebook_is_its_script_and_runs(
    script: str, tmp_path: Path, require_tool: Callable[..., None], require_package: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    require_tool("make", "cc")
    require_package("jupytext", "nbclient", "ipykernel")
    import nbformat
    from nbclient import NotebookClient

    monkeypatch.syspath_prepend(str(EXAMPLES))
    from notebooks import SCRIPTS, notebook

    path = EXAMPLES / script
    assert path in SCRIPTS and len(SCRIPTS) == len(list(EXAMPLES.rglob("*.ipynb")))
    text = path.with_suffix(".ipynb").read_text(encoding="utf-8")
    assert text == notebook(path), "make notebooks"
    made = nbformat.reads(text, as_version=4)
    code = [cell for cell in made.cells if cell.cell_type == "code"]
    assert len(code) > 4 and not any(cell.outputs or cell.execution_count for cell in code)
    folder = shutil.copytree(path.parent, tmp_path / "example")
    for name, value in {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(EXAMPLES.parent), "MPLBACKEND": "agg"}.items():
        monkeypatch.setenv(name, value)
    done = NotebookClient(made, timeout=600, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in done.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert "Warning" not in said, said
    for promise in PROMISES[script]:
        assert re.search(promise, said), said
