"""Charts as plain geometry, which a template draws as SVG: planes with points, curves and bars, and rasters.

In: numbers and words. Out: places in a drawing of `WIDTH` x `HEIGHT`, top left being 0, 0. A chart is made for a narrow
screen, so that its words can be read there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from .labels import DIRECTIONS, along, place

WIDTH, HEIGHT = 420.0, 300.0
LEFT, RIGHT, TOP, BOTTOM = 58.0, 14.0, 14.0, 46.0
LETTER, LINE = 6.2, 13.0  # width of a letter and height of a line, of words of 11 pixels
MOST_NEURONS, MOST_STEPS = 48, 96  # of a raster


@dataclass(frozen=True)
class Mark:
    """A point: where it is, what it is called, where its words are, and its class in the style sheet."""

    x: float
    y: float
    words: str
    word_x: float
    word_y: float
    kind: str


@dataclass(frozen=True)
class Bar:
    """A rectangle, with words that say what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    words: str = ""


@dataclass(frozen=True)
class Chart:
    """A drawing: its title and what it says in words, for who cannot see it; ticks are (place, words)."""

    title: str
    says: str
    x: str = ""
    y: str = ""
    x_ticks: list[tuple[float, str]] = field(default_factory=list)
    y_ticks: list[tuple[float, str]] = field(default_factory=list)
    curves: list[tuple[str, str]] = field(default_factory=list)  # points of a polyline, class
    marks: list[Mark] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    levels: list[tuple[float, str]] = field(default_factory=list)  # y and words
    uprights: list[tuple[float, str]] = field(default_factory=list)  # x and words
    keys: list[tuple[str, str]] = field(default_factory=list)  # class, words
    paths: list[tuple[str, str]] = field(default_factory=list)  # data of a path, class
    width: float = WIDTH
    height: float = HEIGHT
    left: float = LEFT
    right: float = RIGHT
    top: float = TOP
    bottom: float = BOTTOM


def short(value: float) -> str:
    """A number with as many digits as a tick deserves: 1.2 M, 350 k, 0.25."""
    for size, word in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{word}"
    return f"{value:.3g}"


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers in low..high, about `count`."""
    if not high > low:
        return [low]
    raw = (high - low) / count
    size = 10 ** math.floor(math.log10(raw))
    step = next(s * size for s in (1, 2, 2.5, 5, 10) if s * size >= raw)
    first = math.ceil(low / step - 1e-9)
    return [step * k for k in range(first, math.floor(high / step + 1e-9) + 1)]


def scaled(low: float, high: float, start: float, end: float, value: float) -> float:
    """`value` of low..high on start..end."""
    return start if high == low else start + (value - low) / (high - low) * (end - start)


def plane(
    title: str,
    x_name: str,
    points: Sequence[tuple[float, float, str, str]],
    faint: Sequence[tuple[float, float]] = (),
    level: tuple[float, str] | None = None,
) -> Chart:
    """Accuracy, 0..1, against a cost: points (cost, accuracy, words, class), those of class `fixed` joined by a curve;
    a `faint` curve beside them; a `level` of accuracy, with words."""
    costs = [p[0] for p in points] + [p[0] for p in faint]
    shares = [100 * p[1] for p in points] + [100 * p[1] for p in faint] + ([100 * level[0]] if level else [])
    room = max(0.15 * (max(shares) - min(shares)), 0.5)
    low, high, most = max(0.0, min(shares) - 1.6 * room), min(100.0, max(shares) + room), 1.12 * max(costs)

    def at(cost: float, share: float) -> tuple[float, float]:
        return (
            round(scaled(0, most, LEFT, WIDTH - RIGHT, cost), 1),
            round(scaled(low, high, HEIGHT - BOTTOM, TOP, 100 * share), 1),
        )

    fixed = [at(x, y) for x, y, _, kind in points if kind == "fixed"]
    beside = [at(x, y) for x, y in faint]
    anchors = [at(x, y) for x, y, _, _ in points]
    obstacles = along(fixed) + along(beside)
    obstacles += [(x + 6 * c, y + 6 * s) for x, y in anchors for c, s in DIRECTIONS]
    levels = []
    if level:
        height = at(0, level[0])[1]
        levels = [(height, level[1])]
        obstacles += along([(LEFT, height), (WIDTH - RIGHT, height)])
        obstacles += along([(WIDTH - RIGHT - LETTER * len(level[1]), height - 7), (WIDTH - RIGHT, height - 7)])
    sizes = [(LETTER * len(words), LINE) for _, _, words, _ in points]
    centres = place(anchors, sizes, obstacles, (LEFT, TOP, WIDTH, HEIGHT - BOTTOM), gap=9)
    marks = [
        Mark(*anchor, words, round(u, 1), round(v + 4, 1), kind)
        for anchor, (u, v), (_, _, words, kind) in zip(anchors, centres, points, strict=True)
    ]
    curves = [(_polyline(beside), "faint")] if len(beside) > 1 else []
    curves += [(_polyline(fixed), "fixed")] if len(fixed) > 1 else []
    said = "; ".join(f"{words}: {100 * y:.1f} % at {x:,.0f}" for x, y, words, _ in points)
    return Chart(
        title, said + ".", x_name, "accuracy, %",
        [(at(v, 0)[0], short(v)) for v in ticks(0, most)],
        [(at(0, v / 100)[1], f"{v:g}") for v in ticks(low, high)],
        curves, marks, levels=levels,
    )  # fmt: skip


def _polyline(points: Sequence[tuple[float, float]]) -> str:
    return " ".join(f"{x:g},{y:g}" for x, y in points)


def histogram(
    title: str, x_name: str, values: np.ndarray, right: np.ndarray | None, limit: float | None, words: str
) -> Chart:
    """How often values int [N] lie where; where `right`, bool [N], is known, wrong ones stacked on right ones. A
    `limit` is drawn as an upright line, which `words` name."""
    most = float(max(values.max(), limit or 0, 1)) * 1.02
    edges = np.linspace(min(0.0, float(values.min())), most, 25)
    parts = [("good", values)] if right is None else [("good", values[right]), ("bad", values[~right])]
    counts = [(kind, np.histogram(part, edges)[0]) for kind, part in parts]
    top = float(np.sum([count for _, count in counts], axis=0).max())
    base, bars = np.zeros(len(edges) - 1), []

    def across(value: float) -> float:
        return round(scaled(edges[0], most, LEFT, WIDTH - RIGHT, value), 1)

    def up(value: float) -> float:
        return round(scaled(0, top, HEIGHT - BOTTOM, TOP + 18, value), 1)  # words stand above

    for kind, count in counts:
        for k in np.flatnonzero(count):
            x, y = across(edges[k]), up(base[k] + count[k])
            bars.append(Bar(x + 0.5, y, across(edges[k + 1]) - x - 1, round(up(base[k]) - y, 1), kind))
        base = base + count
    keys = [("good", "samples")] if right is None else [("good", "right"), ("bad", "wrong")]
    said = f"Median {np.median(values):,.0f} of {len(values):,} samples"
    if right is not None and right.any() and (~right).any():
        said += (
            f"; {np.median(values[right]):,.0f} where the label is right, {np.median(values[~right]):,.0f} where not"
        )
    if limit is not None:
        said += f"; {(values >= limit).mean():.1%} are at least the limit"
    return Chart(
        title, said + ".", x_name, "samples",
        [(across(v), short(v)) for v in ticks(edges[0], most)], [(up(v), short(v)) for v in ticks(0, top)],
        bars=bars, uprights=[] if limit is None else [(across(limit), words)], keys=keys,
    )  # fmt: skip


def columns(title: str, x_name: str, y_name: str, values: Sequence[tuple[str, float]], percent: bool = False) -> Chart:
    """A column for each named value."""
    top = max([value for _, value in values] + [1e-9])
    width = (WIDTH - LEFT - RIGHT) / len(values)

    def up(value: float) -> float:
        return round(scaled(0, top, HEIGHT - BOTTOM, TOP + 14, value), 1)

    every = -(-len(values) // 10)  # so many names fit
    bars = [
        Bar(round(LEFT + k * width + 0.1 * width, 1), up(value), round(0.8 * width, 1),
            round(HEIGHT - BOTTOM - up(value), 1), "good", "" if len(values) > 8 else _said(value, percent))
        for k, (_, value) in enumerate(values)
    ]  # fmt: skip
    names = [(round(LEFT + (k + 0.5) * width, 1), name) for k, (name, _) in enumerate(values) if k % every == 0]
    said = "; ".join(f"{name}: {_said(value, percent)}" for name, value in values[:40])
    marks = [(up(v), _said(v, percent)) for v in ticks(0, top)]
    return Chart(title, said + ".", x_name, y_name, names, marks, bars=bars)


def _said(value: float, percent: bool) -> str:
    return f"{value:.1%}".replace(".0%", "%") if percent else short(value)


def raster(title: str, spikes: np.ndarray) -> Chart:
    """Which neurons fire at which timestep, of bool [timesteps, neurons]; at most `MOST_NEURONS`, those that fire
    most, and `MOST_STEPS`."""
    steps, neurons = min(len(spikes), MOST_STEPS), spikes.shape[1]
    chosen = np.sort(np.argsort(-spikes.sum(axis=0), kind="stable")[:MOST_NEURONS])
    drawn = spikes[:steps, chosen]
    row = max(2.0, min(6.0, 170 / max(1, len(chosen))))
    height, left = round(row * len(chosen) + 38, 1), 8.0
    column = (WIDTH - 2 * left) / steps
    data = "".join(
        f"M{left + t * column + 0.15 * column:.1f} {4 + (n + 0.5) * row:.1f}h{0.7 * column:.1f}"
        for t, n in np.argwhere(drawn)
    )
    said = f"{spikes.mean():.2%} of {neurons:,} neurons and {len(spikes):,} timesteps spike"
    if len(chosen) < neurons:
        said += f"; drawn: the {len(chosen)} that fire most"
    if steps < len(spikes):
        said += f", and the first {steps} timesteps"
    every = max(1, -(-steps // 8))
    names = [(round(left + (t + 0.5) * column, 1), str(t)) for t in range(0, steps, every)]
    return Chart(
        title, said + ".", "timestep", "", names, paths=[(data, f"{row * 0.7:.1f}")] if data else [],
        height=height, left=left, right=left, top=4, bottom=34,
    )  # fmt: skip
