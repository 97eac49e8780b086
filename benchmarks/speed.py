"""What the engine costs on every emulated core: instructions, RAM and code.

Prints a table with the targets, compares with the stored baseline, and draws the figures in docs/. Exit code 1: a
number is more than 2 % worse than the baseline's. See docs/MEASURING.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import compare
from figures import draw
from measure import BOARDS, CURVES, Row, all_rows, core, crossover, measure_row
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).parent
BASELINE = HERE / "baseline.json"
FIGURES = HERE.parent / "docs"
WIDTH = 150


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, report, compare; the exit code."""
    options = _options(arguments)
    rows = [row for row in all_rows() if options.rows is None or row.name in options.rows]
    results = measure(rows, options.board or BOARDS)
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(table(rows, results))
    for line in _crossovers(results):
        console.print(line, highlight=False)
    if options.json:
        compare.write(results, options.json)
    for path in draw(results, options.figures):
        console.print(f"drawn: {path}", highlight=False, soft_wrap=True)
    return _baseline(console, results, options, whole=options.rows is None and options.board is None)


def measure(rows: Sequence[Row], boards: Sequence[str]) -> compare.Results:
    """Every row on every board that it is for."""
    results: compare.Results = {}
    jobs = [(row, board) for row in rows for board in boards if board in row.boards]
    columns = (TextColumn("{task.description:32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=len(jobs))
        for row, board in jobs:
            progress.update(task, description=f"{row.name} on {board}")
            results.setdefault(row.name, {})[core(board)] = measure_row(row, board)
            progress.advance(task)
    return results


def table(rows: Sequence[Row], results: compare.Results) -> Table:
    """Measured numbers, each beside its target: green where it is met, red where not."""
    boards = [board for board in BOARDS if any(core(board) in cores for cores in results.values())]
    made = Table(title="Instructions (never cycles) and bytes, emulated; measured / target", title_justify="left")
    made.add_column("row")
    made.add_column("metric")
    for board in boards:
        made.add_column(core(board).removeprefix("cortex-").upper(), justify="right")
    for row in rows:
        for number, metric in enumerate(row.shown):
            cells = []
            for board in boards:
                metrics = results.get(row.name, {}).get(core(board))
                target = row.targets.get(board) if number == 0 else None
                cells.append("" if metrics is None else _cell(metrics[metric], target))
            if any(cells):
                title = f"{row.name}\n[dim]{row.title}[/dim]" if number == 0 else ""
                made.add_row(title, metric.replace("_", " "), *cells)
        made.add_section()
    return made


def _cell(value: float | None, target: float | None) -> str:
    if value is None:
        return "does not fit"
    text = _number(value)
    if target is None:
        return text
    colour = "green" if value <= target else "red"
    return f"[{colour}]{text}[/{colour}] / {_number(target)}"


def _number(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"


def _crossovers(results: compare.Results) -> list[str]:
    """Where events cost as much as the dense layer, for every density curve."""
    lines = []
    for row in ("density-linear", "density-conv"):
        for name in (core(board) for board in CURVES):
            metrics = results.get(row, {}).get(name)
            if metrics is None:
                continue
            meeting = crossover(metrics)
            text = "none: event-driven is cheaper even at 100 %" if meeting is None else f"{meeting:.1%} of inputs"
            lines.append(f"{row}, {name}: dense crossover: {text}")
    return lines


def _baseline(console: Console, results: compare.Results, options: argparse.Namespace, whole: bool) -> int:
    stored = compare.read(options.baseline)
    if options.update_baseline:
        compare.write(results if whole else compare.merged(stored, results), options.baseline)
        console.print(f"written: {options.baseline}", highlight=False, soft_wrap=True)
        return 0
    changes = compare.worse(results, stored)
    for change in changes:
        console.print(f"[red]worse[/red] {change}", highlight=False, soft_wrap=True)
    if not changes:
        console.print(f"nothing is more than {compare.TOLERANCE:.0%} worse than the baseline", highlight=False)
    return int(bool(changes))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--board", action="append", choices=BOARDS, help="measure this board only; may be repeated")
    parser.add_argument("--rows", nargs="+", choices=[row.name for row in all_rows()], help="measure these rows only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results")
    parser.add_argument(
        "--figures",
        type=Path,
        default=FIGURES,
        metavar="FOLDER",
        help="where the figures whose rows were all measured go (docs/)",
    )
    parser.add_argument("--baseline", type=Path, default=BASELINE, metavar="FILE", help="compare with this file")
    parser.add_argument("--update-baseline", action="store_true", help="store the results as the new baseline")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
