"""The figures in docs/, drawn from the benchmark's results.

In: results of a run. Out: PNGs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compare import Metrics, Results
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from measure import CURVES, DENSITIES, LAYERS, core, crossover, density_metric

COLOURS = ("#6b7280", "#2563a8", "#d9691c", "#3f8f5b")
TITLES = {"density-linear": "linear 784 -> 128", "density-conv": "conv 3x3, 16x16x16 -> 16x16x32"}
THOUSANDS = FuncFormatter(lambda value, _: f"{value / 1000:g} k")


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw every figure whose results are complete; returns the files."""
    drawn = []
    if all(set(results.get(row, {})) >= {core(board) for board in CURVES} for row in TITLES):
        drawn.append(_save(_density(results), folder / "density.png"))
    if core(LAYERS) in results.get("layers-mnist1d", {}):
        drawn.append(_save(_layers(results["layers-mnist1d"][core(LAYERS)]), folder / "layers.png"))
    return drawn


def _density(results: Results) -> Figure:
    """Instructions against input density, and the dense layer's as a horizontal line."""
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    for axes, (row, title) in zip(figure.subplots(1, 2), TITLES.items(), strict=True):
        for number, (board, colour) in enumerate(zip(CURVES, COLOURS, strict=False)):
            metrics = results[row][core(board)]
            costs = [metrics[density_metric(share)] for share in DENSITIES]
            axes.plot(DENSITIES, costs, "-o", color=colour, linewidth=2, markersize=4, label=f"{core(board)}, events")
            meeting = crossover(metrics)
            note = f"meets at {meeting:.0%}" if meeting is not None else "never met"
            axes.axhline(
                metrics["instructions_dense"], color=colour, linestyle=(4 * number, (4, 8)), linewidth=1.8,
                label=f"{core(board)}, dense int8 ({note})",
            )  # fmt: skip
        axes.set_title(title, loc="left", weight="bold")
        axes.set_xlabel("inputs that spike")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(bottom=0)
        _finish(axes)
    figure.supylabel("instructions per inference (one timestep)", fontsize=10)
    return figure


def _layers(metrics: Metrics) -> Figure:
    """Instructions, stacked by student, and the peak of RAM, layer by layer."""
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    keys = sorted((int(s), int(n)) for s, n in (key.split("_")[-2:] for key in metrics if key.startswith("instr")))
    layers = sorted({layer for _, layer in keys})
    names = [f"layer {layer}" for layer in layers[:-1]] + ["readout"]
    floor = dict.fromkeys(layers, 0.0)
    for student in sorted({student for student, _ in keys}):
        costs = [metrics.get(f"instructions_{student}_{layer}") or 0.0 for layer in layers]
        colour = COLOURS[student % len(COLOURS)]
        left.bar(names, costs, bottom=list(floor.values()), color=colour, label=f"student {student}")
        floor = {layer: base + cost for (layer, base), cost in zip(floor.items(), costs, strict=True)}
    left.set_ylabel("instructions per inference")
    left.set_title(f"mnist1d on {core(LAYERS)}, all students", loc="left", weight="bold")
    ram = [max(metrics.get(f"ram_bytes_{student}_{layer}") or 0 for student, _ in keys) for layer in layers]
    right.bar_label(right.bar(names, ram, color=COLOURS[1]))
    right.set_ylabel("bytes of state while it runs")
    right.set_title("RAM, largest student", loc="left", weight="bold")
    _finish(left)
    _finish(right)
    return figure


def _finish(axes: Any) -> None:
    axes.grid(color="#e5e7eb")
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if axes.get_legend_handles_labels()[0]:
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.legend(frameon=False, fontsize=8, handlelength=4)


def _save(figure: Figure, path: Path) -> Path:
    figure.savefig(path, dpi=130, metadata={"Software": None})
    return path
