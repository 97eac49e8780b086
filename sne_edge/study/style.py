"""How every picture looks: colours that those who see few of them tell apart, type, lines; and how one is saved.

Colours are those of Okabe and Ito, "Color Universal Design" (2008): told apart under every common kind of colour
blindness, and of different lightness. Curves differ by their marks as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SneError
from ..files import write_whole
from .labels import DIRECTIONS, along, place

BLUE, ORANGE, GREEN, PURPLE, YELLOW = "#0072B2", "#D55E00", "#009E73", "#A3568A", "#B07800"
GREY, FAINT = "#5F6672", "#E5E7EB"
COLOURS = (BLUE, ORANGE, GREEN, PURPLE, YELLOW)
MARKS = ("o", "s", "^", "D", "v")
GAP = 10.0  # pixels between a point and its words, at least
DASHES = (0, (6, 4))  # a level
HINT = "pip install 'sne-edge[train]'"
SETTINGS = {
    "font.size": 10,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "grid.color": FAINT,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
}


def new_figure(size: tuple[float, float] = (8, 4.8), rows: int = 1, columns: int = 1, **share: Any) -> tuple[Any, Any]:
    """A figure and its axes, one or an array [rows, columns]. Raises `SneError` where matplotlib is missing."""
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        raise SneError("the package matplotlib is not installed", HINT) from None
    with rc_context(SETTINGS):  # type: ignore[arg-type]
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(rows, columns, squeeze=rows * columns == 1, **share)
    return figure, axes


def titled(axes: Any, title: str, x: str, y: str) -> None:
    """A title and the names of both axes."""
    axes.set_title(title, loc="left", weight="bold")
    axes.set_xlabel(x)
    axes.set_ylabel(y)


def level(axes: Any, value: float) -> None:
    """A dashed line at `value`."""
    axes.axhline(value, color=GREY, linestyle=DASHES, linewidth=1.4)


def legend_above(axes: Any, columns: int = 3) -> None:
    """A legend above the plane and below the title, where it covers nothing."""
    handles, labels = axes.get_legend_handles_labels()
    count = min(columns, max(1, len(labels)))
    axes.legend(handles, labels, loc="lower left", bbox_to_anchor=(0.0, 1.0), ncols=count, frameon=False, borderpad=0.2)
    axes.set_title(axes.get_title(loc="left"), loc="left", weight="bold", pad=10 + 17 * -(-len(labels) // count))


Word = tuple[float, float, str, str]  # x, y, text, colour
Stroke = Sequence[tuple[float, float]]  # points of a line, in the plane's own numbers


def annotate(
    figure: Any, axes: Any, words: Sequence[Word], strokes: Sequence[Stroke], size: float = 9
) -> list[tuple[float, float, float, float]]:
    """Words beside the points that they name, clear of each other, of every mark, of `strokes` (curves, error bars)
    and of levels; a thin line leads to one that is far. The plane's limits must be what they will be. Returns the
    words' boxes, in pixels."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer, to_pixels = canvas.get_renderer(), axes.transData.transform
    made = [
        axes.annotate(text, (x, y), xytext=(0, 0), textcoords="offset points", ha="center", va="center",
                      color=colour, fontsize=size)
        for x, y, text, colour in words
    ]  # fmt: skip
    extents = [text.get_window_extent(renderer) for text in made]
    box = axes.get_window_extent(renderer)
    lines = [[(float(u), float(v)) for u, v in to_pixels(np.array(stroke))] for stroke in strokes]
    obstacles = [point for line in lines for point in along(line)]
    for line in axes.lines:
        x, y = line.get_xdata(), line.get_ydata()
        if len(y) == 2 and y[0] == y[1] and tuple(x) == (0, 1):  # a level
            height = float(to_pixels((0, y[0]))[1])
            obstacles += along([(box.x0, height), (box.x1, height)])
        elif line.get_marker() not in ("None", "none", "", None):
            radius = line.get_markersize() / 2 * figure.dpi / 72
            for u, v in to_pixels(np.column_stack([x, y]).astype(float)):
                obstacles += [(u + radius * c, v + radius * s) for c, s in DIRECTIONS]
    pixels = [to_pixels((x, y)) for x, y, _, _ in words]
    anchors = [(float(u), float(v)) for u, v in pixels]
    centres = place(anchors, [(e.width, e.height) for e in extents], obstacles, box.extents, gap=GAP)
    points = 72 / figure.dpi
    boxes = []
    for text, (x, y), (u, v), e in zip(made, anchors, centres, extents, strict=True):
        text.set_position(((u - x) * points, (v - y) * points))
        boxes.append((u - e.width / 2, v - e.height / 2, u + e.width / 2, v + e.height / 2))
        if max(abs(u - x) - e.width / 2, abs(v - y) - e.height / 2) > 2 * GAP:
            ends = axes.transData.inverted().transform([(x, y), (u, v)])
            axes.plot(ends[:, 0], ends[:, 1], color=text.get_color(), linewidth=0.6, alpha=0.5, zorder=1)
            text.set_bbox({"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5})
    return boxes


def save_figure(figure: Any, path: Path, dots: int = 160) -> Path:
    """Write a figure of matplotlib as a PNG, `dots` an inch, the same bytes each time; returns the path."""
    write_whole(
        path,
        lambda file: figure.savefig(file, dpi=dots, format="png", metadata={"Software": None}),
        hint="check the folder and its permissions",
    )
    return path
