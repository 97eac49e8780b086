"""The table that a study ends in: text and numbers by seed, as JSON, as Markdown and as a picture.

In: a table, and the lab that it was made in. Out: `NAME-DATASET.json` and `.md`, and a `.png` where there is a picture.
"""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..data.dataset import Dataset
from ..files import write_whole
from ..learn.partition import SCHEMES
from ..pipeline.config import model_key
from .lab import Lab, code_of_now
from .pictures import Picture, draw_picture


@dataclass(frozen=True)
class Table:
    """What a study found: rows of text and numbers under columns, each number the values over seeds."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)
    picture: Picture | None = None


def percent(values: Sequence[float]) -> list[float]:
    """Shares as percent, rounded to hundredths."""
    return [round(100 * v, 2) for v in values]


def write_table(name: str, table: Table, lab: Lab, folder: Path) -> None:
    """Write a study's table to `folder`, as JSON and as Markdown."""
    told = {"study": name, "dataset": lab.label, "seeds": lab.seeds, "key": table_key(name, lab), "code": code_of_now(),
            "split": split_of(lab.data(lab.seeds[0])), "command": command(name, lab)}  # fmt: skip
    record = told | msgspec.to_builtins(table)
    stem = lab.table(name)
    write_whole(folder / f"{stem}.json", lambda file: file.write(json.dumps(record, indent=1).encode()))
    if table.picture is not None:
        draw_picture(table.picture, table.title, folder / f"{stem}.png")
    write_whole(folder / f"{stem}.md", lambda file: file.write(markdown(name, table, lab).encode()))


def table_key(name: str, lab: Lab) -> str:
    """16 hex digits over everything that a study's table depends on: its study, data, seeds, settings, and all code."""
    prints = [lab.data(seed).fingerprint for seed in lab.seeds]
    model = model_key(lab.config(lab.seeds[0]), lab.data(lab.seeds[0]), lab.device)
    parts = [name, lab.label, prints, lab.seeds, lab.schemes, model, code_of_now()]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def split_of(data: Dataset) -> str:
    """Which samples judge, in words."""
    whose = "the set's own test part" if data.own_test else "a test part drawn by the seed"
    return f"{whose}, {len(data.y_test):,} samples"


def markdown(name: str, table: Table, lab: Lab) -> str:
    """A study's table as Markdown."""
    lines = [f"# {table.title}", "", "| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in table.rows]
    seeds = ", ".join(map(str, lab.seeds))
    spread = "; mean ± standard deviation" if len(lab.seeds) > 1 else ", one run"
    lines += ["", f"Test data. Seeds {seeds}{spread}."]
    if lab.changes.get("minutes"):
        lines[-1] += f" Each model was trained for at most {lab.changes['minutes']:g} minutes."
    lines += [part for note in table.notes for part in ("", note)]
    if table.picture is not None:
        lines += ["", f"![{table.title}]({lab.table(name)}.png)"]
    lines += ["", f"`{command(name, lab)}` makes this table."]
    return "\n".join(lines) + "\n"


def command(name: str, lab: Lab) -> str:
    """What makes a study's table."""
    given = [] if lab.settings is None else [f"--config {lab.source}"]
    if lab.names_data:
        given.append(f"--data {shlex.quote(lab.dataset)}")
    made = f"sne-edge study {name} {' '.join(given)} --seeds {','.join(map(str, lab.seeds))}"
    made += "" if lab.schemes == tuple(SCHEMES) else f" --schemes {','.join(lab.schemes)}"
    return made + (f" --budget {lab.changes['minutes']:g}" if lab.changes.get("minutes") else "")


def cell(value: Any) -> str:
    """A cell: text, a number, or the mean and spread of numbers over seeds."""
    if not isinstance(value, list):
        return number(value) if isinstance(value, int | float) else str(value)
    if len(value) == 1:
        return number(value[0])
    return f"{number(float(np.mean(value)), value)} ± {number(float(np.std(value, ddof=1)), value)}"


def number(value: float, like: Sequence[float] = ()) -> str:
    """A number with the digits it deserves: whole thousands with commas, else two places."""
    whole = all(float(v).is_integer() for v in (like or [value])) and max(map(abs, like or [value])) >= 100
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:.2f}".rstrip("0").rstrip(".")
