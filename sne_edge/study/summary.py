"""What all tables together say: the figures that claims rest on, one line each, from the tables as they are stored.

In: a folder of tables. Out: `summary.json` and `summary.md` there. A figure says data, split, seeds, spread and
command, and whether the code of now made its table.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..resources import c_templates
from .lab import code_of_now
from .table import cell

NAME = "summary"


@dataclass(frozen=True)
class Figure:
    """One figure: of which study and data set, what it is of, its values by seed and their unit; the split, seeds and
    command of its table, and whether the code of now made that, or None where the table does not say."""

    study: str
    dataset: str
    what: str
    values: list[float]
    unit: str
    split: str
    seeds: list[int]
    command: str
    by_this_code: bool | None


Found = Iterator[tuple[str, list[float], str]]  # what it is of, values by seed, unit


def _values(value: Any) -> list[float]:
    return [float(v) for v in (value if isinstance(value, list) else [value])]


def _ensemble(rows: dict[str, dict[str, Any]]) -> Found:
    whole = [name for name in rows if name.endswith(("student", "students"))][-1]
    for name in ("teacher, float32", whole, "margin cascade", "routed cascade"):
        if name in rows:
            yield f"{name}: accuracy", _values(rows[name]["accuracy, %"]), "%"
    if "margin cascade" in rows:
        yield "teacher's MACs / cascade's operations", _values(rows["margin cascade"]["teacher / operations"]), "x"


def _cascade(rows: dict[str, dict[str, Any]]) -> Found:
    row = next(row for name, row in rows.items() if name.startswith("0.1,"))
    yield (
        "fixed number of students / cascade at equal accuracy, 0.1 points allowed",
        _values(row["fixed number / cascade, equal accuracy"]), "x",
    )  # fmt: skip


def _partition(rows: dict[str, dict[str, Any]]) -> Found:
    uninformed, informed = ("random", "contiguous"), ("disentangled", "disentangled-tuned")
    for taught in ("features alone", "features, logits, labels"):
        for count in ("1 student, %", "2 students, %"):
            found = {key.rpartition(", ")[2]: _values(row[count]) for key, row in rows.items()
                     if key.startswith(taught) and count in row}  # fmt: skip
            known = [name for name in informed if name in found]
            others = [name for name in uninformed if name in found]
            if known and others:
                best = max(others, key=lambda name: sum(found[name]))
                for name in known:
                    lead = [a - b for a, b in zip(found[name], found[best], strict=True)]
                    yield f"{taught}, {count.removesuffix(', %')}: {name} over {best}", lead, "points"


def _noise(rows: dict[str, dict[str, Any]]) -> Found:
    networks = ("teacher", "int8 CNN", "one student", "ensemble", "cascade")
    for key, row in rows.items():
        if key.startswith("all, mean"):
            for name in networks:
                yield f"{name}, {key.rpartition(', ')[2]}: lost under noise", _values(row[name]), "points"


def _baselines(rows: dict[str, dict[str, Any]]) -> Found:
    for name, row in rows.items():
        yield f"{name}: accuracy", _values(row["accuracy, %"]), "%"
        yield f"{name}: operations", _values(row["operations"]), ""


def _timesteps(rows: dict[str, dict[str, Any]]) -> Found:
    for name, row in rows.items():
        yield f"T = {name.replace(', ', ', target rate ', 1)}: cascade", _values(row["cascade, %"]), "%"


def _guarantee(rows: dict[str, dict[str, Any]]) -> Found:
    for name, row in rows.items():
        drop, _, way = name.partition(", ")
        yield f"promise of {drop} points by {way}: broken", _values(row["broken, % of trials"]), "% of trials"


READERS: dict[str, tuple[int, Callable[[dict[str, dict[str, Any]]], Found]]] = {  # columns that name a row, and figures
    "ensemble": (1, _ensemble),
    "cascade": (2, _cascade),
    "partition": (2, _partition),
    "noise": (3, _noise),
    "baselines": (1, _baselines),
    "timesteps": (2, _timesteps),
    "guarantee": (2, _guarantee),
}


def figures(record: dict[str, Any]) -> list[Figure]:
    """The figures of a study's table as it is stored; none of one of another shape."""
    if record.get("study") not in READERS:
        return []
    named, read = READERS[record["study"]]
    columns = record["columns"]
    rows = {
        ", ".join(cell(value) for value in row[:named] if value != ""): dict(zip(columns, row, strict=True))
        for row in record["rows"]
    }
    seeds = ",".join(map(str, record["seeds"]))
    plain = f"sne-edge study {record['study']} --data {record['dataset']} --seeds {seeds}"
    made = record.get("code")
    try:
        return [
            Figure(record["study"], record["dataset"], what, values, unit, record.get("split", "test part"),
                   record["seeds"], record.get("command", plain), None if made is None else made == code_of_now())
            for what, values, unit in read(rows)
        ]  # fmt: skip
    except (KeyError, StopIteration, IndexError):  # a table of an earlier shape
        return []


def summarise(folder: Path, skipped: dict[str, str] | None = None) -> list[Figure]:
    """Write what the tables in `folder` say together; `skipped`: data sets that were left out, and why."""
    found: list[Figure] = []
    without = []
    for study in READERS:
        for path in sorted(folder.glob(f"{study}-*.json")):
            told = figures(json.loads(path.read_text(encoding="utf-8")))
            found += told
            without += [] if told else [path.stem]
    record = {"figures": [asdict(f) for f in found], "skipped": skipped or {}, "without": without}
    write_whole(folder / f"{NAME}.json", lambda file: file.write(json.dumps(record, indent=1).encode()))
    text = markdown(found, skipped or {}, without)
    write_whole(folder / f"{NAME}.md", lambda file: file.write(text.encode()))
    return found


def markdown(found: list[Figure], skipped: dict[str, str], without: list[str]) -> str:
    """The figures as Markdown, by study."""
    by_study = {study: [f for f in found if f.study == study] for study in dict.fromkeys(f.study for f in found)}
    template = c_templates(Path(__file__).parent / "templates").get_template("summary.md.j2")
    return template.render(studies=by_study, skipped=skipped, without=without, cell=cell)
