"""Pictures: a trained ensemble's accuracy against its operations, and what a study found.

In: an ensemble whose provenance holds its figures (`train`), or a `Picture`. Out: a PNG.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..files import write_whole
from ..ir.ensemble import QuantEnsemble

BLUE, ORANGE, GREY = "#2563a8", "#d9691c", "#6b7280"
COLOURS = (BLUE, ORANGE, "#2f8f5b", "#8b5cb8", "#b8862b")
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
        figure = _figure(ensemble, fixed, cascade, teacher)
    except (KeyError, TypeError, AttributeError, IndexError):
        raise SneError(
            f"{ensemble.name} holds no figures to draw",
            "draw a model that `sne-edge train` made: it carries its figures",
        ) from None
    return save_figure(figure, Path(path))


def draw_picture(picture: Picture, title: str, path: Path) -> Path:
    """Draw what a study found. Raises `SneError` where matplotlib is missing or the file cannot be written."""
    figure, axes = _plane()
    colours = iter(COLOURS * 4)
    for (name, line), style in [(item, "-o") for item in picture.curves.items()] + [
        (item, "*") for item in picture.points.items()
    ]:
        colour = next(colours)
        x, y, spread = (list(part) for part in zip(*line, strict=True))
        axes.errorbar(
            x, y, yerr=spread if any(spread) else None, fmt=style, color=colour, label=name, capsize=3, linewidth=1.8,
            markersize=15 if style == "*" else 6,
        )  # fmt: skip
        for place, text in zip(line, picture.labels.get(name, ()), strict=False):
            axes.annotate(text, place[:2], xytext=(5, -12), textcoords="offset points", color=colour, fontsize=9)
    for name, level in picture.levels.items():
        axes.axhline(level, color=GREY, linestyle=(0, (6, 4)), linewidth=1.4)
        axes.annotate(
            name, (1, level), xycoords=("axes fraction", "data"), xytext=(-4, 4), textcoords="offset points",
            ha="right", color=GREY, fontsize=9,
        )  # fmt: skip
    seen = [place[0] for line in (*picture.curves.values(), *picture.points.values()) for place in line]
    if max(seen) > 20 * min(seen) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.1 * max(seen))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.margins(y=0.15)
    axes.set_xlabel(picture.x)
    axes.set_ylabel(picture.y)
    axes.set_title(title, loc="left", weight="bold")
    axes.legend(loc="best", frameon=False)
    return save_figure(figure, path)


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure of matplotlib as a PNG, the same bytes each time; returns the path."""
    write_whole(
        path,
        lambda file: figure.savefig(file, dpi=160, format="png", metadata={"Software": None}),
        hint="check the folder and its permissions",
    )
    return path


def _plane() -> tuple[Any, Any]:
    """A figure and its axes."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SneError("the package matplotlib is not installed", "pip install 'sne-edge[train]'") from None
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _figure(
    ensemble: QuantEnsemble, fixed: list[dict[str, Any]], cascade: list[dict[str, Any]], teacher: dict[str, Any]
) -> Any:
    figure, axes = _plane()
    x, y = [row["operations"] for row in fixed], [100 * row["accuracy"] for row in fixed]
    line = 100 * teacher["test"]
    axes.axhline(line, color=GREY, linestyle=(0, (6, 4)), linewidth=1.4)
    axes.annotate(
        f"teacher {line:.1f} %, {teacher['macs']:,} MACs", (1, line), xycoords=("axes fraction", "data"),
        xytext=(-4, 5), textcoords="offset points", ha="right", color=GREY, fontsize=10,
    )  # fmt: skip
    axes.plot(x, y, "-o", color=BLUE, linewidth=2, markersize=7, label="first k students")
    for k, point in enumerate(zip(x, y, strict=True), start=1):
        text = f"{k} student{'s' if k > 1 else ''}\n{point[1]:.1f} %"
        axes.annotate(text, point, xytext=(0, -12), textcoords="offset points", ha="center", va="top", color=BLUE)
    for row in cascade:
        point = (row["operations"], 100 * row["accuracy"])
        axes.plot(*point, marker="*", color=ORANGE, markersize=19, linestyle="none", label="margin cascade")
        saved = f"{x[-1] / point[0]:.1f}x fewer operations than all"
        text = f"cascade {point[1]:.1f} %, {row['students_run']:.2f} students\n{saved}"
        axes.annotate(text, point, xytext=(12, 6), textcoords="offset points", color=ORANGE, fontweight="bold")
    span = line - min(y)
    axes.set_ylim(min(y) - 0.35 * span - 0.5, line + 0.25 * span + 0.3)
    axes.set_xlim(0, max(x) * 1.1)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
    axes.set_xlabel("synaptic operations + MACs per inference (mean over the test set)")
    axes.set_ylabel("test accuracy, %")
    data = ensemble.provenance["dataset"]["name"]
    axes.set_title(
        f"{ensemble.name}: int8 spiking ensemble of {len(fixed)} students on {data}", loc="left", weight="bold"
    )
    axes.legend(loc="lower right", frameon=False)
    return figure
