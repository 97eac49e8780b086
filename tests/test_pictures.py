"""Pictures: words that cover nothing, colours that everyone tells apart, and all of them drawn from what is stored."""

from __future__ import annotations

import json
import sys
from collections import Counter
from itertools import combinations
from pathlib import Path

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble

from sne_edge.errors import SneError
from sne_edge.study import style
from sne_edge.study.labels import along, place
from sne_edge.study.pictures import Picture, draw, draw_picture

ROOT = Path(__file__).parents[1]


@pytest.mark.examines(words=300)
def test_words_cover_neither_each_other_nor_a_curve_where_there_is_room(examined: Counter[str]) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        x = np.sort(rng.uniform(40, 760, 6))
        line = list(zip(x.tolist(), np.cumsum(rng.uniform(0, 60, 6)).tolist(), strict=True))
        obstacles = along(line)
        sizes = [(float(rng.uniform(30, 70)), 12.0) for _ in line]
        centres = place(line, sizes, obstacles, (0, 0, 800, 480))
        boxes = [(u - w / 2, v - h / 2, u + w / 2, v + h / 2) for (u, v), (w, h) in zip(centres, sizes, strict=True)]
        for a, b in combinations(boxes, 2):
            assert min(a[2], b[2]) <= max(a[0], b[0]) or min(a[3], b[3]) <= max(a[1], b[1])
        for left, low, right, high in boxes:
            assert left >= 0 and low >= 0 and right <= 800 and high <= 480
            assert not [p for p in obstacles if left < p[0] < right and low < p[1] < high]
            examined["words"] += 1


def test_the_words_of_a_picture_are_where_they_were_put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def spy(figure, axes, words, strokes, size=9):  # type: ignore[no-untyped-def]
        boxes = original(figure, axes, words, strokes, size)
        texts = list(axes.texts)
        figure.canvas.draw()
        found = [text.get_window_extent(figure.canvas.get_renderer()).extents for text in texts]
        seen.extend(zip(boxes, found, strict=True))
        return boxes

    original = style.annotate
    monkeypatch.setattr("sne_edge.study.pictures.annotate", spy)
    curve = [(10.0, 90.0, 1.0), (20.0, 95.0, 0.5), (30.0, 96.0, 0.2)]
    picture = Picture(
        "x", "y", {"one": curve}, {"two": [(15.0, 96.0, 0.0)]}, {"teacher": 97.0}, {"one": ["a", "b", "c"]}
    )
    draw_picture(picture, "title", tmp_path / "made.png")
    assert len(seen) == 4
    for said, found in seen:
        assert np.allclose(said, found, atol=1.5)


def _seen(colour: str, lost: int) -> np.ndarray:
    """Linear RGB as an eye without one kind of cone sees it, roughly (Vienot et al. 1999)."""
    rgb = np.array([int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]) ** 2.2
    lms = np.array([[17.8824, 43.5161, 4.11935], [3.45565, 27.1554, 3.86714], [0.0299566, 0.184309, 1.46709]])
    cones = lms @ rgb
    if lost == 0:
        cones[0] = 2.02344 * cones[1] - 2.52581 * cones[2]
    elif lost == 1:
        cones[1] = 0.494207 * cones[0] + 1.24827 * cones[2]
    return np.clip(np.linalg.solve(lms, cones), 0, 1) ** (1 / 2.2)


def test_a_model_without_operations_is_said_to_have_nothing_to_draw(tmp_path: Path) -> None:
    row = {"accuracy": 0.5, "operations": 0.0, "students_run": 1.0}
    figures = {"test": [row | {"policy": "first:1"}, row | {"policy": "cascade:1"}]}
    provenance = {"integer": figures, "teacher": {"test": 0.5, "macs": 1}, "dataset": {"name": "none"}}
    with pytest.raises(SneError, match="takes no operations"):
        draw(msgspec.structs.replace(tiny_ensemble(), provenance=provenance), tmp_path / "none.png")
    assert not list(tmp_path.iterdir())


def test_colours_are_told_apart_without_red_or_green_cones_and_are_dark_enough_to_read() -> None:
    for lost in (-1, 0, 1):
        for a, b in combinations(style.COLOURS[:3], 2):
            assert np.abs(_seen(a, lost) - _seen(b, lost)).max() > 0.2, (a, b, lost)
    for colour in (*style.COLOURS, style.GREY):
        linear = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
        luminance = float(np.dot([0.2126, 0.7152, 0.0722], linear))
        assert 1.05 / (luminance + 0.05) > 3.0, colour  # WCAG 2.1, 1.4.11


def test_every_picture_of_the_docs_is_drawn_from_what_is_stored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import pictures
    from matplotlib.figure import Figure

    save = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda figure, file, **more: save(figure, file, **(more | {"dpi": 20})))
    for module in ("sne_edge.study.pictures", "fronts", "figures"):
        monkeypatch.setattr(sys.modules[module], "annotate", lambda *arguments, **options: [])
    drawn = {path.relative_to(tmp_path) for path in pictures.redraw(ROOT / "docs", tmp_path)}
    assert drawn == {path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.png")}
    stored = [p for p in (ROOT / "docs" / "results").glob("*.json") if "picture" in json.loads(p.read_text())]
    assert len(drawn) >= 9 and len(stored) >= 4
