"""Tables and sentences as wide as the terminal; in a pipe, as wide as they need.

On a terminal that is too narrow, columns go, those named as spare first, and words of text end in dots; numbers are
whole wherever they are shown, and no word is folded.
"""

from __future__ import annotations

import os
import sys
import textwrap
from collections.abc import Sequence

NARROW = 20  # columns to which text is wrapped at least, before other columns go
GAP, EDGE = 3, 4  # between columns; left and right of all


def terminal_width() -> int | None:
    """Columns of the terminal that standard output is; None where it is none."""
    if not sys.stdout.isatty():
        return None
    told = os.environ.get("COLUMNS", "")
    if told.isdecimal() and int(told):
        return int(told)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def tell(text: str) -> None:
    """A sentence, wrapped between words on a terminal."""
    width = terminal_width()
    if width is not None:
        text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
    print(text)


def print_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1, spare: Sequence[str] = ()
) -> None:
    """A table: the first `left` columns hold text, flush left, the others numbers. `spare`: the columns that go first
    where the terminal is too narrow, in this order; then the rightmost."""
    width = terminal_width()
    shown, widths = fitted(columns, rows, left, spare, width)
    _draw(title, [columns[k] for k in shown], [[row[k] for k in shown] for row in rows], left, widths)
    hidden = [column for k, column in enumerate(columns) if k not in shown]
    if hidden:
        tell(f"not shown in {width} columns: {'; '.join(hidden)} (a wider terminal, or a pipe, has them)")


def fitted(
    columns: Sequence[str], rows: Sequence[Sequence[str]], left: int, spare: Sequence[str], width: int | None
) -> tuple[list[int], list[int]]:
    """Which columns are shown, and how wide each is, so that all fit `width`."""
    cells = [[row[k] for row in rows] for k in range(len(columns))]
    least = [_least(columns[k], cells[k], k < left) for k in range(len(columns))]
    natural = [max(map(len, (columns[k], *cells[k]))) for k in range(len(columns))]
    shown = list(range(len(columns)))
    if width is None:
        return shown, natural
    going = [columns.index(name) for name in spare if name in columns]
    going += [k for k in reversed(shown) if k not in going and k > 0]

    def room() -> int:
        return width - EDGE - GAP * (len(shown) - 1) - sum(least[k] for k in shown)

    while room() < 0 and going:
        shown.remove(going.pop(0))
    free = room()
    widths = []
    for k in shown:  # what is left over goes to those that want it, from the left
        more = max(0, min(natural[k] - least[k], free))
        free -= more
        widths.append(least[k] + more)
    return shown, widths


def _least(column: str, cells: Sequence[str], text: bool) -> int:
    heading = max(map(len, column.split()), default=0)
    widest = max(map(len, cells), default=0)
    return max(heading, min(widest, NARROW) if text else widest)


def _draw(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int, widths: Sequence[int]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD)
    for index, (column, width) in enumerate(zip(columns, widths, strict=True)):
        justify = "left" if index < left else "right"
        table.add_column(column, justify=justify, overflow="ellipsis", width=width)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*row)
    console = Console(width=sum(widths) + GAP * (len(widths) - 1) + EDGE, markup=False, emoji=False, highlight=False)
    with console.capture() as drawn:
        console.print(table)
    tell(title)
    print("\n".join(line.rstrip() for line in drawn.get().splitlines()))  # rich fills lines up
