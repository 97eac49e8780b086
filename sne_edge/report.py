"""The picture of a trained ensemble: accuracy against operations.

In: an ensemble whose provenance holds its figures (`train`). Out: a PNG.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .errors import SneError
from .files import write_whole
from .model import QuantEnsemble

BLUE, ORANGE, GREY = "#2563a8", "#d9691c", "#6b7280"


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
    path = Path(path)
    write_whole(
        path,
        lambda file: figure.savefig(file, dpi=160, format="png", metadata={"Software": None}),
        hint="check the folder and its permissions",
    )
    return path


def _figure(
    ensemble: QuantEnsemble, fixed: list[dict[str, Any]], cascade: list[dict[str, Any]], teacher: dict[str, Any]
) -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise SneError("the package matplotlib is not installed", "pip install 'sne-edge[train]'") from None
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    axes = figure.add_subplot()
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
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="lower right", frameon=False)
    return figure
