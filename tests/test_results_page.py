"""The first table of docs/results/README.md says what the tables say that it stands for."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sne_edge.pipeline import settings
from sne_edge.pipeline.presets import PRESETS, preset

RESULTS = Path(__file__).parent.parent / "docs" / "results"
TABLES = {
    "MNIST-1D": "mnist1d", "FSDD, official split": "fsdd", "Fashion-MNIST": "fashion-mnist",
    "CIFAR-10, as JPEG": "cifar10-jpeg", "CIFAR-10, 1 MB of flash": "cifar10-1mb",
}  # fmt: skip
HEAD = "| question | goal |"
HALF_UP = 1e-9  # 76.55 is 76.6


def column(title: str) -> dict[str, str]:
    """Cells of the page's first table under a title, by the first words of their rows, without marks."""
    lines = (RESULTS / "README.md").read_text(encoding="utf-8").splitlines()
    start = next(n for n, line in enumerate(lines) if line.startswith(HEAD))
    rows = [[cell.strip().replace("*", "") for cell in line.strip("|").split("|")] for line in lines[start:]]
    place = rows[0].index(title)
    return {re.sub(r"[\[\]]|\(#.*?\)", "", row[0]): row[place] for row in rows[2 : rows.index([""])]}


def rows_of(study: str, name: str) -> dict[str, dict[str, Any]]:
    """A stored table's rows by their first cell, cells by their columns, the first of equal ones."""
    record = json.loads((RESULTS / f"{study}-{name}.json").read_text(encoding="utf-8"))
    made = {}
    for row in record["rows"]:
        cells = dict(reversed(list(zip(record["columns"], row, strict=True))))
        made[str(row[0])] = {key: np.atleast_1d(value) for key, value in cells.items()}
    return made


def spread(values: np.ndarray) -> str:
    """As the page has it: `97.8 ± 0.3 %`, of one seed `76.6 %`."""
    text = f"{values.mean() + HALF_UP:.1f}"
    return f"{text} %" if len(values) == 1 else f"{text} ± {values.std(ddof=1):.1f} %"


@pytest.mark.parametrize("title", TABLES)
def test_accuracies_and_compute_are_those_of_the_ensembles_table(title: str) -> None:
    told, rows = column(title), rows_of("ensemble", TABLES[title])
    teacher, cascade = rows["teacher, float32"], rows["margin cascade"]
    whole = [row for name, row in rows.items() if name.endswith(("student", "students"))][-1]
    assert told["accuracy of all students in int8"].startswith(spread(whole["accuracy, %"]))
    assert told["the teacher's"] == spread(teacher["accuracy, %"])
    compute = told["compute: teacher's MACs over the cascade's operations"]
    ratio = cascade["teacher / operations"].mean()
    assert float(compute.split(" x")[0]) in (round(ratio), round(ratio, 1))
    lost = float(teacher["accuracy, %"].mean() - cascade["accuracy, %"].mean())
    assert f"{lost:.1f} points" in compute if lost > 0.05 else "none lost" in compute


@pytest.mark.parametrize("title", TABLES)
def test_what_a_cascade_saves_is_what_its_table_says_at_the_drop_of_the_preset(title: str) -> None:
    record = json.loads((RESULTS / f"cascade-{TABLES[title]}.json").read_text(encoding="utf-8"))
    place = record["columns"].index("fixed number / cascade, equal accuracy")
    name = TABLES[title]
    drop = (preset(name) if name in PRESETS else settings.read(name)).max_drop
    (row,) = [r for r in record["rows"] if r[:2] == [drop, "fixed order"]]
    told = column(title)["cascade over a fixed number of students, equal accuracy"]
    assert told == f"{np.mean(row[place]) + HALF_UP:.1f} x"


def test_what_informed_partitions_gain_is_what_their_tables_say() -> None:
    examined = 0
    for title, name in TABLES.items():
        told = column(title)["partition: informed over the best uninformed, features alone, 1 student"]
        if told == "not run":
            assert not (RESULTS / f"partition-{name}.json").exists()
            continue
        record = json.loads((RESULTS / f"partition-{name}.json").read_text(encoding="utf-8"))
        found = {row[1]: float(np.mean(row[2])) for row in record["rows"] if row[0] == "features alone"}
        informed = max(value for scheme, value in found.items() if scheme.startswith("disentangled"))
        gained = informed - max(found["random"], found["contiguous"])
        assert float(told.removesuffix(" points")) == pytest.approx(gained, abs=0.051)
        examined += 1
    assert examined == 3
