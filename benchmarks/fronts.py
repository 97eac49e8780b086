"""CNNs and ensembles in one table and one picture: test accuracy over seeds against instructions.

In: what `cnn.py` measured. Out: `cnn-DATASET.md` and `.png`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from sne_edge.files import write_whole
from sne_edge.study.studies import cost_at
from sne_edge.study.style import BLUE, FAINT, GREEN, ORANGE, Stroke, Word, annotate, new_figure, save_figure, titled
from sne_edge.study.table import cell

CNN, SPIKING, CASCADE = BLUE, ORANGE, GREEN
ROUNDED = 0.006  # points: what rounding to hundredths adds to an equal mean
Point = tuple[str, list[float], list[float]]  # name; by seed, test accuracy in percent and instructions


def cnn_points(record: dict[str, Any], core: str) -> list[Point]:
    """The CNNs on a core."""
    return [(c["name"], c["test"], [c["cores"][core]["instructions"]]) for c in record["cnns"]]


def spiking_points(record: dict[str, Any], core: str) -> list[Point]:
    """The spiking networks that fit a core."""
    found = [(row["name"], row["test"], row["cores"][core]) for row in record["spiking"]]
    return [point for point in found if point[2] is not None]


def cascade_points(record: dict[str, Any], core: str) -> list[Point]:
    """Cascades of two CNNs: the smaller one runs always, the larger one on its share of the test samples."""
    costs = {name: counts[0] for name, _, counts in cnn_points(record, core)}
    found = []
    for row in record["cascades"]:
        small, large = (costs[name] for name in row["designs"])
        found.append((row["name"], row["test"], [small + share * large for share in row["share"]]))
    return found


def front(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Mean instructions and mean accuracy of the points that no cheaper one reaches, cheapest first."""
    best: list[tuple[float, float]] = []
    for x, y in sorted(_middle(point) for point in points):
        if not best or y > best[-1][1]:
            best.append((x, y))
    return best


def rivals(record: dict[str, Any], core: str) -> list[Point]:
    """The CNNs of as many seeds as the ensembles."""
    return [point for point in cnn_points(record, core) if len(point[1]) == len(record["seeds"])]


def markdown(record: dict[str, Any], folder: Path) -> Path:
    """Write both tables; returns the file."""
    dataset, cores = record["dataset"], record["cores"]
    heads = ["test accuracy, %", *(f"instructions, {core}" for core in cores)]
    lines = [f"# Small int8 CNNs and spiking ensembles on {dataset}", ""]
    lines += _table(
        ["int8 CNN, on CMSIS-NN", *heads, "MACs", *(f"a MAC, {core}" for core in cores), "bytes of parameters"],
        [
            [c["name"], c["test"], *(c["cores"][core]["instructions"] for core in cores), c["macs"],
             *(round(c["cores"][core]["instructions"] / c["macs"], 2) for core in cores),
             c["parameter_bytes"]]
            for c in record["cnns"]
        ],
    )  # fmt: skip
    pairs = {core: cascade_points(record, core) for core in cores}
    single = {core: front(rivals(record, core)) for core in cores}
    best = {core: front(rivals(record, core) + pairs[core]) for core in cores}
    used = [n for n, row in enumerate(record["cascades"]) if any(row["share"])]
    kept = [n for n in used if any(_middle(pairs[core][n]) in best[core] for core in cores)]
    lines += ["", *_table(
        ["cascade of two int8 CNNs", *heads, "inputs that both see, %"],
        [
            [record["cascades"][n]["name"], record["cascades"][n]["test"], *(pairs[core][n][2] for core in cores),
             [100 * share for share in record["cascades"][n]["share"]]]
            for n in kept
        ],
    )]  # fmt: skip
    lines += ["", *_table(
        ["students of the ensemble", *heads, "operations", *(f"CNN / it, {core}" for core in cores),
         *(f"CNNs in cascade / it, {core}" for core in cores)],
        [
            [row["name"], row["test"], *(row["cores"][core] or "does not fit" for core in cores), row["operations"],
             *(_ratio(single[core], core, row) for core in cores),
             *(_ratio(best[core], core, row) for core in cores)]
            for row in record["spiking"]
        ],
    )]  # fmt: skip
    seeds = ", ".join(map(str, record["seeds"]))
    lines += [
        "",
        f"Seeds {seeds}; mean ± standard deviation. Accuracies are of all {record['samples']:,} test samples. "
        f"Instructions are counted in QEMU: means of {_counted(record)}. A cascade's number is the points of "
        "validation accuracy that its margins "
        "may cost. CNN / it: instructions that a CNN takes for the same mean test accuracy, on straight lines between "
        "the CNNs that no cheaper one reaches, over the spiking network's: above 1 the spiking network is cheaper "
        "(<, >: at most, at least: less or more accurate than all of them). CNNs without ± have one seed and are not "
        "in it. CNNs in cascade / it: the same with single CNNs and all cascades of two of them: a smaller one "
        "answers, and where its two best logits are closer than a margin, a larger one answers instead; margins are "
        "chosen as the ensembles' are, for as many points of validation accuracy below the larger one. Cascades of "
        "which another one, or a single CNN, is cheaper and more accurate on every core are left out of the table.",
        "",
        *_how(record),
        "",
        f"![Accuracy against instructions](cnn-{dataset}.png)",
        "",
        "`make bench-cnn CMSIS_NN=PATH CMSIS_CORE=PATH` measures this, `make bench-cnn` writes it from what is stored.",
    ]
    path = folder / f"cnn-{dataset}.md"
    write_whole(path, lambda file: file.write(("\n".join(lines) + "\n").encode()))
    return path


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    return [
        "| " + " | ".join(heads) + " |",
        "|---" * len(heads) + "|",
        *("| " + " | ".join(cell(value) for value in row) + " |" for row in rows),
    ]


def _ratio(best: list[tuple[float, float]], core: str, row: dict[str, Any]) -> str:
    """Instructions for the accuracy of a spiking network's row, along a front, over its own."""
    counts = row["cores"][core]
    if counts is None:
        return ""
    costs, accuracies = zip(*best, strict=True)
    wanted, own = float(np.mean(row["test"])), float(np.mean(counts))
    ratio = cost_at(wanted, np.array(accuracies), np.array(costs)) / own
    bound = "> " if wanted > accuracies[-1] + ROUNDED else "< " if wanted < accuracies[0] - ROUNDED else ""
    return f"{bound}{ratio:.2f}"


def _how(record: dict[str, Any]) -> list[str]:
    """How CNNs were trained and counted, and which kernels were wrong."""
    padded = "by rows of patches copied out of the map" if record["images"] else "straight on a padded map"
    spread = max(
        c["cores"][core]["most"] / c["cores"][core]["least"] - 1 for c in record["cnns"] for core in record["cores"]
    )
    wrong = [
        f"{c['name']}: layer {number} on {core}"
        for c in record["cnns"]
        for core in record["cores"]
        for number, ways in enumerate(c["cores"][core]["wrong"])
        if "wrapper" in ways
    ]
    lines = [
        "The CNNs are taught as students are: the same teacher's logits and labels, the same views, "
        f"{record['epochs']['cnn']} epochs (the students {record['epochs']['student']}), the best of which validation "
        "data chooses. Weights are int8 by channel, activations int8. Both kinds were sized with test accuracy of "
        "earlier runs in sight.",
        "",
        f"CMSIS-NN {record['cmsis_nn']}, CMSIS Core {record['cmsis_core']}, {record['compiler']}. Each layer runs in "
        "the cheaper of two ways, the wrapper function and `arm_nn_mat_mult_nt_t_s8` "
        f"{padded}, with the requantisation in C or in assembler, whichever is cheaper. Counted in QEMU on "
        f"{_counted(record)}, with the first seed's network; its counts differ by at most {spread:.2%}. "
        "Every logit of those inputs is the integer reference's, on every core, and so is every layer's output on the "
        f"first {record['probed']} inputs. Accuracies are the reference's.",
    ]
    if wrong:
        lines += [
            "",
            "The wrapper function's outputs are **not** the reference's, and the other way was taken, for "
            + "; ".join(wrong)
            + ".",
        ]
    layers = "; ".join(f"`{c['name']}` {_spelled(c['layers'])}" for c in record["cnns"])
    return [*lines, "", f"Layers (channels k kernel s stride): {layers}; then a linear classifier."]


def _counted(record: dict[str, Any]) -> str:
    """The inputs whose instructions are counted."""
    counted, samples = record["counted"], record["samples"]
    return f"all {samples:,} test samples" if counted == samples else f"{counted:,} of {samples:,} test samples"


def _spelled(layers: Sequence[dict[str, Any]]) -> str:
    words = []
    for layer in layers:
        size = f"k{layer['kernel']} s{layer['stride']}"
        if layer["kind"] == "conv":
            words.append(f"{layer['channels']} {size}")
        else:
            words.append(layer["kind"] if layer["kind"] == "average" else f"{layer['kind']} {size}")
    return ", ".join(words)


def draw(record: dict[str, Any], folder: Path) -> Path:
    """Draw accuracy against instructions, a panel for each core; returns the file."""
    count = len(record["cores"])
    figure, planes = new_figure((6 * count, 5.4), 1, count, sharey=True)
    panels = np.array(planes, ndmin=2)[0]
    named: list[tuple[Any, list[Word], list[Stroke]]] = []
    for axes, core in zip(panels, record["cores"], strict=True):
        cnn, own = cnn_points(record, core), spiking_points(record, core)
        cascades = [point for point in own if "cascade" in point[0]]
        fixed = [point for point in own if point not in cascades]
        axes.set_xscale("log")
        words: list[Word] = []
        strokes: list[Stroke] = []
        pairs = cascade_points(record, core)
        both = [point for point in pairs if _middle(point) in front(rivals(record, core) + pairs)]
        if both:
            x, y, _ = _means(both)
            axes.plot(x, y, "P", color=CNN, label="two int8 CNNs, cascade", alpha=0.6, markersize=7)
        for points, colour, mark, name in (
            (cnn, CNN, "o", "int8 CNN, CMSIS-NN"),
            (fixed, SPIKING, "s", "spiking, fixed number of students"),
            (cascades, CASCADE, "*", "spiking, cascade"),
        ):
            x, y, spread = _means(points)
            axes.errorbar(x, y, yerr=spread, fmt=mark, color=colour, label=name, capsize=2, linewidth=1,
                          markersize=11 if mark == "*" else 6)  # fmt: skip
            words += [(*_middle(point), point[0], colour) for point in points]
            strokes += [[(u, v - w), (u, v + w)] for u, v, w in zip(x, y, spread, strict=True)]
        strokes += [_front(axes, rivals(record, core), CNN), _front(axes, own, SPIKING)]
        titled(axes, f"Cortex-{core}", f"instructions per inference, mean of {_counted(record)}", "")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g} k")
        axes.xaxis.set_minor_formatter(lambda value, _: f"{value / 1000:g} k" if f"{value:e}"[0] in "25" else "")
        axes.grid(which="minor", color=FAINT)
        axes.margins(x=0.14, y=0.1)
        named.append((axes, words, strokes))
    panels[0].set_ylabel("test accuracy, %")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    figure.suptitle(f"{record['dataset']}: test accuracy, mean of {len(record['seeds'])} seeds ± standard deviation, "
                    "against instructions in QEMU", fontsize=12)  # fmt: skip
    for axes, words, strokes in named:
        annotate(figure, axes, words, strokes, size=7.5)
    return save_figure(figure, folder / f"cnn-{record['dataset']}.png", dots=130)


def _middle(point: Point) -> tuple[float, float]:
    return float(np.mean(point[2])), float(np.mean(point[1]))


def _means(points: Sequence[Point]) -> tuple[list[float], list[float], list[float]]:
    middles = [_middle(point) for point in points]
    spread = [float(np.std(p[1], ddof=1)) if len(p[1]) > 1 else 0.0 for p in points]
    return [x for x, _ in middles], [y for _, y in middles], spread


def _front(axes: Any, points: Sequence[Point], colour: str) -> Stroke:
    """A staircase through the points that no cheaper one reaches; returns its corners."""
    best = front(points)
    axes.step([x for x, _ in best], [y for _, y in best], where="post", color=colour, linewidth=1.2, alpha=0.5)
    corners = [*best[:1]]
    for (_, low), (x, y) in pairwise(best):
        corners += [(x, low), (x, y)]
    return corners
