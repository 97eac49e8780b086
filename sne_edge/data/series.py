"""Folders of recordings of sensors: train/CLASS/ and, if there are any, test/CLASS/, or CLASS/ alone, of CSV files.

In: a path; each file is one sample, a row a time, a column a channel. Out: `Raw`, values as the sensors gave them, of
one length; decoded once, then in the cache under what all files hold.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SneError, shortened
from .cache import decoded_files
from .formats import Members
from .places import held_out, layout_hint, places
from .raw import Raw

SUFFIXES = (".csv", ".tsv")
LAYOUT = layout_hint("recordings, a file each,", SUFFIXES)
SEPARATORS = ("\t", ";", ",")  # or spaces
TIMES = {"time", "timestamp", "timestamps", "t", "ms", "us", "millis", "seconds", "sec", "date", "index", "sample", ""}
ORDER = "NLC"  # of samples
UNLIKE = 2.0  # times longer or shorter than the usual one a recording may be
HINT = "let every file be one sample: numbers, a row a time and a column a channel, with or without a line of names"


def series(where: Path, length: int | None = None) -> Raw:
    """Recordings of so many rows, by default as many as the median one has; of longer ones what comes first, shorter
    ones stay at their last row.

    A column of times or row numbers, by its name or by steps that are all alike, is left out. Where there is no test/,
    a share of the files are the test part, by their names (`places.held_out`). Raises `SneError` for files that are no
    tables of numbers, of other columns than others, or much longer or shorter, or do not lie in classes' folders.
    """
    members = Members(where, SUFFIXES, "recordings")
    made = decoded_files("series", members, lambda files: _decode(files, length), more=str(length))
    return replace(made, layout=ORDER)


def recorded(where: Path, length: int) -> np.ndarray:
    """All recordings of a folder, whatever folders they lie in, in so many rows: float32 [N, length, channels]."""
    return _alike(_read(Members(where, SUFFIXES, "recordings")), length)


def _decode(members: Members, length: int | None) -> Raw:
    tables = _read(members)
    names = list(tables)
    parts = places(members, names, LAYOUT)
    classes, y = np.unique([label for _, label in parts], return_inverse=True)
    test = held_out(parts, names)
    usual = round(float(np.median([len(table) for table in tables.values()])))
    length = length or usual
    for name, table in tables.items():
        if not usual / UNLIKE <= len(table) <= usual * UNLIKE:
            raise SneError(
                f"{members.where}: {name} has {len(table)} rows, where {usual} are usual",
                "cut recordings to samples of about one length, a file each",
            )
    x, y = _alike(tables, length), y.astype(np.int64)
    known = tuple(str(name) for name in classes)
    return Raw(x[~test], y[~test], x[test], y[test], known, layout=ORDER)


def _read(members: Members) -> dict[str, np.ndarray]:
    """Each file's values, float32 [rows, channels], without times, by its name."""
    names, values = dict[str, tuple[str, ...]](), dict[str, np.ndarray]()
    for name, content in members:
        names[name], values[name] = _table(f"{members.where}: {name}", content)
    if not values:
        raise SneError(f"{members.where} holds no recordings", LAYOUT)
    first = next(iter(values))
    for name, table in values.items():
        if table.shape[1] != values[first].shape[1] or names[name] != names[first]:
            told = " and ".join(
                f"{', '.join(names[n]) or f'{values[n].shape[1]} columns'} ({n})" for n in (first, name)
            )
            raise SneError(f"{members.where} holds files of other columns: {shortened(told, 200)}", HINT)
    timed = [k for k, column in enumerate(names[first]) if column.strip().lower() in TIMES]
    if not names[first] and values[first].shape[1] > 1 and all(_steady(table[:, 0]) for table in values.values()):
        timed = [0]
    kept = [k for k in range(values[first].shape[1]) if k not in timed]
    if not kept:
        raise SneError(f"{members.where}: {first} holds times alone", HINT)
    return {name: table[:, kept].astype(np.float32) for name, table in values.items()}


def _table(name: str, content: bytes) -> tuple[tuple[str, ...], np.ndarray]:
    """A file's names of columns, or none, and its values, float64 [rows, columns]."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SneError(f"{name} is no text", HINT) from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    separator = next((s for s in SEPARATORS if lines and s in lines[0]), None)
    rows = [[cell.strip().strip('"') for cell in line.split(separator)] for line in lines]
    if separator == ";":  # where commas are decimal
        rows = [[cell.replace(",", ".") for cell in row] for row in rows]
    titles: tuple[str, ...] = ()
    if rows and not all(map(_is_number, rows[0])):
        titles, rows = tuple(rows[0]), rows[1:]
    width = len(rows[0]) if rows else 0
    for number, row in enumerate(rows, 1 + bool(titles)):
        wrong = next((cell for cell in row if not _is_number(cell)), None)
        if wrong is not None or len(row) != width or (titles and len(titles) != width):
            told = f"holds {shortened(wrong)!r}" if wrong is not None else f"has {len(row)} values, not {width}"
            raise SneError(f"{name}: row {number} {told}", HINT)
    if len(rows) < 2:
        raise SneError(f"{name} holds {len(rows)} rows of numbers", HINT)
    return titles, np.array(rows, dtype=np.float64)


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _steady(column: np.ndarray) -> bool:
    """Whether values grow in steps that are all alike, as times and numbers of rows do."""
    steps = np.diff(column)
    return bool(steps.min() > 0 and np.ptp(steps) <= 0.01 * steps.mean())


def _alike(tables: dict[str, np.ndarray], length: int) -> np.ndarray:
    """Tables in so many rows each."""
    rows = np.arange(length)
    return np.stack([table[np.minimum(rows, len(table) - 1)] for table in tables.values()])
