"""The figures in docs/, drawn from the benchmark's results.

In: results of a run. Out: PNGs.
"""

from __future__ import annotations

from pathlib import Path

from compare import Metrics, Results
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, PercentFormatter
from measure import CURVES, DENSITIES, LAYERS, core, crossover, density_metric

from sne_edge.study.style import COLOURS, DASHES, MARKS, annotate, new_figure, save_figure, titled

TITLES = {"density-linear": "linear 784 -> 128", "density-conv": "conv 3x3, 16x16x16 -> 16x16x32"}
THOUSANDS = FuncFormatter(lambda value, _: f"{value / 1000:,.0f} k")


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw every figure whose results are complete; returns the files."""
    drawn = []
    if all(set(results.get(row, {})) >= {core(board) for board in CURVES} for row in TITLES):
        drawn.append(save_figure(_density(results), folder / "density.png", dots=130))
    if core(LAYERS) in results.get("layers-mnist1d", {}):
        drawn.append(save_figure(_layers(results["layers-mnist1d"][core(LAYERS)]), folder / "layers.png", dots=130))
    return drawn


def _density(results: Results) -> Figure:
    """Instructions against input density, and the dense layer's as a horizontal line."""
    figure, panels = new_figure((11, 4.8), 1, 2)
    named = []
    for axes, (row, title) in zip(panels[0], TITLES.items(), strict=True):
        words, strokes = [], []
        for board, colour, mark in zip(CURVES, COLOURS, MARKS, strict=False):
            metrics = results[row][core(board)]
            costs = [metrics[density_metric(share)] for share in DENSITIES]
            axes.plot(DENSITIES, costs, f"-{mark}", color=colour, markersize=4, label=f"{core(board)}, events")
            meeting = crossover(metrics)
            note = f"met at {meeting:.0%}" if meeting is not None else "never met"
            dense = metrics["instructions_dense"]
            axes.axhline(dense, color=colour, linestyle=DASHES, linewidth=1.4)
            words.append((0.16, dense, f"{core(board)}, dense int8: {note}", colour))
            strokes.append(list(zip(DENSITIES, costs, strict=True)))
        titled(axes, title, "inputs that spike", "")
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_formatter(PercentFormatter(1))
        axes.yaxis.set_major_formatter(THOUSANDS)
        axes.set_ylim(bottom=0)
        axes.margins(y=0.1)
        named.append((axes, words, strokes))
    figure.supylabel("instructions per inference (one timestep)", fontsize=10)
    handles = panels[0][0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=len(CURVES), frameon=False)
    for axes, words, strokes in named:
        annotate(figure, axes, words, strokes, size=8)
    return figure


def _layers(metrics: Metrics) -> Figure:
    """Instructions, stacked by student, and the peak of RAM, layer by layer."""
    figure, panels = new_figure((9, 4.4), 1, 2)
    left, right = panels[0]
    keys = sorted((int(s), int(n)) for s, n in (key.split("_")[-2:] for key in metrics if key.startswith("instr")))
    layers = sorted({layer for _, layer in keys})
    names = [f"layer {layer}" for layer in layers[:-1]] + ["readout"]
    floor = dict.fromkeys(layers, 0.0)
    for student in sorted({student for student, _ in keys}):
        costs = [metrics.get(f"instructions_{student}_{layer}") or 0.0 for layer in layers]
        colour = COLOURS[student % len(COLOURS)]
        left.bar(names, costs, bottom=list(floor.values()), color=colour, label=f"student {student}", edgecolor="white")
        floor = {layer: base + cost for (layer, base), cost in zip(floor.items(), costs, strict=True)}
    titled(left, f"mnist1d on {core(LAYERS)}, all students", "", "instructions per inference")
    left.yaxis.set_major_formatter(THOUSANDS)
    ram = [max(metrics.get(f"ram_bytes_{student}_{layer}") or 0 for student, _ in keys) for layer in layers]
    right.bar_label(right.bar(names, ram, color=COLOURS[1]))
    titled(right, "RAM, largest student", "", "bytes of state while it runs")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
