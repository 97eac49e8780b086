"""Folders of recordings of sensors: train/CLASS/ and, if there are any, test/CLASS/, or CLASS/ alone, of CSV files.

In: a path; each file is one sample, a row a time, a column a channel. Out: `Raw`, values as the sensors gave them, of
one length; decoded once, then in the cache under what all files hold.
"""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SneError, shortened
from .cache import decoded_files
from .formats import Members
from .places import held_out, labelled, layout_hint, places, set_aside
from .raw import Raw

SUFFIXES = (".csv", ".tsv")
LAYOUT = layout_hint("recordings, a file each,", SUFFIXES)
SEPARATORS = ("\t", ";", ",")  # or spaces
TIME = re.compile(
    r"(time|timestamps?|date|datetime|millis|micros|ticks?|seconds?|secs?|index|idx|row|sample|no|id|t|ms|us|ns|s)?"
    r"[ _]*[([]?(ms|us|ns|s|secs?|seconds?|millis(econds)?|micros(econds)?)?[])]?"
)  # a column's name in lower case
LABELS = {"label", "labels", "class", "target", "activity", "gesture"}
ORDER = "NLC"  # of samples
UNLIKE = 2.0  # times longer or shorter than the usual one a recording may be
HINT = "let every file be one sample: numbers, a row a time and a column a channel, with or without a line of names"


def series(where: Path, length: int | None = None) -> Raw:
    """Recordings of so many rows, by default as many as the median one has; of longer ones what comes first, shorter
    ones stay at their last row.

    A column of times or row numbers is left out: one whose name says so, or the first of those that have no names, and
    which rises in every file. Where there is no test/, a share of the files are the test part, by their names
    (`places.held_out`). Raises `SneError` for files that are no tables of numbers, of other columns than others, or
    much longer or shorter, or do not lie in classes' folders.
    """
    members = Members(where, SUFFIXES, "recordings")
    made = decoded_files("series", members, lambda files: _decode(files, length), more=str(length))
    return replace(made, layout=ORDER)


def recorded(where: Path, length: int, columns: tuple[str, ...]) -> np.ndarray:
    """All recordings of a folder, whatever folders they lie in, in so many rows and of these columns, if they have
    names: float32 [N, length, channels]."""
    members = Members(where, SUFFIXES, "recordings")
    tables, names = _read(members)
    if columns and names and names != columns:
        raise SneError(f"the columns of {where} are {', '.join(names)}, not {', '.join(columns)}", HINT)
    _check_lengths(members, tables, length)
    return _alike(tables, length)


def _decode(members: Members, length: int | None) -> Raw:
    tables, columns = _read(members)
    names = list(tables)
    parts = places(members, names, LAYOUT)
    (y, classes), test = labelled(parts), held_out(parts, names)
    length = length or round(float(np.median([len(table) for table in tables.values()])))
    _check_lengths(members, tables, length)
    x = _alike(tables, length)
    return Raw(x[~test], y[~test], x[test], y[test], classes, layout=ORDER, columns=columns)


def _check_lengths(members: Members, tables: dict[str, np.ndarray], length: int) -> None:
    """Raise `SneError` where a recording is much longer or shorter than a sample."""
    for name, table in tables.items():
        if not length / UNLIKE <= len(table) <= length * UNLIKE:
            raise SneError(
                f"{members.where}: {name} has {len(table)} rows, where {length} are usual",
                "cut recordings to samples of about one length, a file each",
            )


def _read(members: Members) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Each file's values, float32 [rows, channels], without times, by its name; and the channels' names, if any."""
    names, values = dict[str, tuple[str, ...]](), dict[str, np.ndarray]()
    for name, content in members:
        if not set_aside(name):
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
    telling = [column for column in names[first] if column.strip().lower() in LABELS]
    if telling:
        raise SneError(
            f"{members.where}: {first} has a column {telling[0]}, which would tell the class",
            "leave it out: the folder that a file lies in says the class",
        )
    named = [k for k, column in enumerate(names[first]) if _is_time(column)]
    timed = [k for k in named or ([] if names[first] else [0]) if all(_rises(t[:, k]) for t in values.values())]
    kept = [k for k in range(values[first].shape[1]) if k not in timed]
    if not kept:
        raise SneError(f"{members.where}: {first} holds times alone", HINT)
    channels = tuple(names[first][k] for k in kept) if names[first] else ()
    return {name: table[:, kept].astype(np.float32) for name, table in values.items()}, channels


def _table(name: str, content: bytes) -> tuple[tuple[str, ...], np.ndarray]:
    """A file's names of columns, or none, and its values, float64 [rows, columns]; a time that is written as text is
    the row's number."""
    lines = [(n, line.strip()) for n, line in enumerate(_text(name, content).splitlines(), 1)]
    lines = [(n, line) for n, line in lines if line and line[0] != "#"]
    last = lines[-1][1] if lines else ""
    separator = next((s for s in SEPARATORS if s in last), None)
    rows = [(n, _cells(line, separator)) for n, line in lines]
    titles: tuple[str, ...] = ()
    if rows and not any(map(_is_number, rows[0][1])):
        titles, rows = tuple(rows[0][1]), rows[1:]
    width = len(rows[0][1]) if rows else 0
    if titles and len(titles) != width:
        raise SneError(f"{name} has {len(titles)} names for {width} columns", HINT)
    texts = {k for k, title in enumerate(titles) if _is_time(title)}
    for count, (number, row) in enumerate(rows):
        row[:] = [str(count) if k in texts and not _is_number(cell) else cell for k, cell in enumerate(row)]
        wrong = next((cell for cell in row if not _is_number(cell)), None)
        if wrong is not None or len(row) != width:
            told = f"holds {shortened(wrong)!r}" if wrong is not None else f"has {len(row)} values, not {width}"
            raise SneError(f"{name}: line {number} {told}", HINT)
    if len(rows) < 2:
        raise SneError(f"{name} holds {len(rows)} rows of numbers", HINT)
    return titles, np.array([row for _, row in rows], dtype=np.float64)


def _text(name: str, content: bytes) -> str:
    """A file's text: UTF-8, UTF-16 where it says so, or Latin-1."""
    wide = content[:2] in (b"\xff\xfe", b"\xfe\xff")
    plain = ("utf-8-sig",) if b"\0" in content else ("utf-8-sig", "latin-1")
    encodings: tuple[str, ...] = ("utf-16",) if wide else plain
    for encoding in encodings:
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise SneError(f"{name} is no text", HINT)


def _cells(line: str, separator: str | None) -> list[str]:
    """A line's cells; what is behind a last separator is none. Where semicolons separate, commas are decimal."""
    cells = [cell.strip().strip('"') for cell in line.split(separator)]
    if separator is not None and len(cells) > 1 and not cells[-1]:
        cells.pop()
    return [cell.replace(",", ".") for cell in cells] if separator == ";" else cells


def _is_time(title: str) -> bool:
    """Whether a column is named as times or numbers of rows are."""
    return TIME.fullmatch(title.strip().lower()) is not None


def _is_number(cell: str) -> bool:
    try:
        return bool(np.isfinite(float(cell)))
    except ValueError:
        return False


def _rises(column: np.ndarray) -> bool:
    """Whether values rise from row to row, as times and numbers of rows do."""
    return bool((np.diff(column) > 0).all())


def _alike(tables: dict[str, np.ndarray], length: int) -> np.ndarray:
    """Tables in so many rows each."""
    rows = np.arange(length)
    return np.stack([table[np.minimum(rows, len(table) - 1)] for table in tables.values()])
