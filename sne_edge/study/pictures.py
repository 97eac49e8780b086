"""Pictures: a trained ensemble's accuracy against its operations, and what a study found.

In: an ensemble whose provenance holds its figures (`train`), or a `Picture`. Out: a PNG.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from .style import (
    BLUE,
    COLOURS,
    GREY,
    MARKS,
    ORANGE,
    annotate,
    legend_above,
    level,
    new_figure,
    save_figure,
    titled,
)

Point = tuple[float, float, float]  # x, y, spread of y


@dataclass(frozen=True)
class Picture:
    """What a study draws: named curves and points over one plane, and levels, which are named values of y.

    `labels`: words beside the points of a curve.
    """

    x: str
    y: str
    curves: dict[str, list[Point]] = field(default_factory=dict)
    points: dict[str, list[Point]] = field(default_factory=dict)
    levels: dict[str, float] = field(default_factory=dict)
    labels: dict[str, list[str]] = field(default_factory=dict)


def draw(ensemble: QuantEnsemble, path: Path | str) -> Path:
    """Draw test accuracy against mean operations (synaptic operations and MACs) per inference, for every number of
    active students and for the cascade, with the teacher's accuracy as a line. Returns the path.

    Raises `SneError` where the ensemble holds no figures, matplotlib is missing, or the file cannot be written.
    """
    try:
        rows, teacher = ensemble.provenance["integer"]["test"], ensemble.provenance["teacher"]
        fixed = [row for row in rows if row["policy"].startswith("first")]
        cascade = [row for row in rows if row["policy"].startswith("cascade")]
        if not fixed[-1]["operations"] or not all(row["operations"] for row in cascade):
            raise SneError(f"{ensemble.name} takes no operations: there is nothing to draw", "train it for longer")
        figure = _figure(ensemble, fixed, cascade, teacher)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise SneError(
            f"{ensemble.name} holds no figures to draw",
            "draw a model that `sne-edge train` made: it carries its figures",
        ) from None
    return save_figure(figure, Path(path))


def draw_picture(picture: Picture, title: str, path: Path) -> Path:
    """Draw what a study found. Raises `SneError` where matplotlib is missing or the file cannot be written."""
    figure, axes = new_figure()
    words: list[tuple[float, float, str, str]] = []
    lines = []
    named = [(name, line, True) for name, line in picture.curves.items()]
    named += [(name, line, False) for name, line in picture.points.items()]
    for number, (name, line, curve) in enumerate(named):
        colour = COLOURS[number % len(COLOURS)]
        x, y, spread = (list(part) for part in zip(*line, strict=True))
        axes.errorbar(
            x, y, yerr=spread if any(spread) else None, fmt=f"-{MARKS[number % len(MARKS)]}" if curve else "*",
            color=colour, label=name, capsize=3, markersize=6 if curve else 15,
        )  # fmt: skip
        words += [(p[0], p[1], text, colour) for p, text in zip(line, picture.labels.get(name, ()), strict=False)]
        lines.append([(p[0], p[1]) for p in line] if curve else [(line[0][0], line[0][1])])
        lines += [[(u, v - w), (u, v + w)] for u, v, w in line if w]
    seen = [place[0] for _, line, _ in named for place in line]
    if max(seen) > 20 * min(seen) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.1 * max(seen))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(y=0.15)
    points = [p for _, line, _ in named for p in line]
    for name, value in picture.levels.items():
        level(axes, value)
        words.append((_side(axes.get_xlim(), points, value), value, name, GREY))
    titled(axes, title, picture.x, picture.y)
    legend_above(axes)
    annotate(figure, axes, words, lines)
    return save_figure(figure, path)


def _side(limits: tuple[float, float], points: list[Point], value: float) -> float:
    """Left or right, whichever end of a level has its nearest point farther away; right where both are alike."""
    middle = sum(limits) / 2
    left, right = (
        min((abs(y - value) for x, y, _ in points if (x > middle) == beyond), default=float("inf"))
        for beyond in (False, True)
    )
    return limits[0] if left > right else limits[1]


def _figure(
    ensemble: QuantEnsemble, fixed: list[dict[str, Any]], cascade: list[dict[str, Any]], teacher: dict[str, Any]
) -> Any:
    figure, axes = new_figure()
    x, y = [row["operations"] for row in fixed], [100 * row["accuracy"] for row in fixed]
    line = 100 * teacher["test"]
    level(axes, line)
    axes.plot(x, y, "-o", color=BLUE, markersize=7, label="first k students")
    words = []
    for k, point in enumerate(zip(x, y, strict=True), start=1):
        words.append((*point, f"{k} student{'s' if k > 1 else ''}\n{point[1]:.1f} %", BLUE))
    for row in cascade:
        point = (row["operations"], 100 * row["accuracy"])
        axes.plot(*point, marker="*", color=ORANGE, markersize=19, linestyle="none", label="margin cascade")
        saved = f"{x[-1] / point[0]:.1f}x fewer operations than all"
        words.append((*point, f"cascade {point[1]:.1f} %, {row['students_run']:.2f} students\n{saved}", ORANGE))
    words.append((max(x), line, f"teacher {line:.1f} %, {teacher['macs']:,} MACs", GREY))
    span = line - min(y)
    axes.set_ylim(min(y) - 0.35 * span - 0.5, line + 0.25 * span + 0.3)
    axes.set_xlim(0, max(x) * 1.1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
    data = ensemble.provenance["dataset"]["name"]
    titled(
        axes, f"{ensemble.name}: int8 spiking ensemble of {len(fixed)} students on {data}",
        "synaptic operations + MACs per inference (mean over the test set)", "test accuracy, %",
    )  # fmt: skip
    legend_above(axes)
    annotate(
        figure,
        axes,
        words,
        [list(zip(x, y, strict=True)), *([(r["operations"], 100 * r["accuracy"])] for r in cascade)],
    )
    return figure
