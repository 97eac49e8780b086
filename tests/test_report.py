"""The page about a model, looked at in a browser: every kind of model, light and dark, narrow and wide."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from builds import optimised
from graph_strategies import random_graph_ensemble
from models import tiny_ensemble, with_vectors

from sne_edge.cli import run
from sne_edge.cli.inputs import encoded_samples
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.vectors import no_vectors
from sne_edge.study.page import html
from sne_edge.study.report import Report, confused, gather, plain

KINDS = ("graph", "stream", "regression", "hostile", "bare", "data")


@pytest.fixture(scope="module")
def reports(require_tool: Callable[..., None]) -> dict[str, Report]:
    """A report of each kind of model, their C compiled in haste."""
    require_tool("cc")
    with optimised("-O0"):
        return made_reports()


def made_reports() -> dict[str, Report]:
    rng = np.random.default_rng(0)
    graph = random_graph_ensemble(random.Random(3), kind="direct", students=2, chains=False)
    graph = with_vectors(graph, rng.integers(0, 256, (3, graph.encoder.input_bytes), dtype=np.uint8))
    tiny = tiny_ensemble()
    regression = msgspec.structs.replace(
        tiny_ensemble(students=1), task="regression", policy=ActivationPolicy("all"), routes=None
    )
    models = {
        "graph": graph,
        "stream": tiny_ensemble("events"),
        "regression": regression,
    }
    found = {name: gather(model, model.vectors.inputs, model.vectors.labels) for name, model in models.items()}
    found["bare"] = gather(
        msgspec.structs.replace(tiny, vectors=no_vectors(tiny.encoder, 4, tiny.students)), None, None
    )
    shipped = load("mnist1d")
    inputs, labels = encoded_samples(shipped, "mnist1d", None)
    found["data"] = gather(shipped, inputs[:200], labels[:200], "mnist1d")
    script = "<script>alert(1)</script>"
    names = [script, '"><img src=x>', "`a`", "&amp;" * 60, *"456789"]
    provenance = {"dataset": script, "teacher": {"test": script, "macs": "x"}, "config": [script]}
    hostile = msgspec.structs.replace(shipped, classes=tuple(names), provenance=provenance)
    table = found["data"].confusion
    assert table is not None
    table = replace(table, classes=names, labels=names)
    found["hostile"] = replace(found["data"], ensemble=hostile, confusion=table, notes=[script])
    return found


class Page(HTMLParser):
    """What stands in a page: tags with their attributes, and whether they close."""

    VOID = ("meta", "link", "line", "rect", "circle", "polyline", "path", "br")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, tag


@pytest.mark.examines(pages=6, tables=30, charts=30)
def test_a_page_is_whole_self_contained_and_says_in_words_what_it_draws(
    reports: dict[str, Report], examined: Counter[str]
) -> None:
    for name in KINDS:
        text = html(reports[name])
        page = Page(text)
        examined["pages"] += 1
        assert not {tag for tag, _ in page.tags} & {"script", "img", "iframe", "object", "audio", "video", "form"}
        for tag, attributes in page.tags:
            assert "src" not in attributes and not [a for a in attributes if a.startswith("on")], (name, tag)
            if "href" in attributes:
                assert tag == "a" or attributes["href"] == "data:,"
        assert "url(" not in text and "@import" not in text and "default-src &#39;none&#39;" not in text
        assert "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\"" in text
        ids = [a["id"] for _, a in page.tags if "id" in a]
        assert len(ids) == len(set(ids))
        charts = [a for tag, a in page.tags if tag == "svg"]
        for chart in charts:
            assert chart["role"] == "img" and set((chart["aria-labelledby"] or "").split()) <= set(ids)
            examined["charts"] += 1
        kinds = Counter(tag for tag, _ in page.tags)
        assert kinds["caption"] == kinds["table"] and kinds["h1"] == 1 and kinds["main"] == 1
        examined["tables"] += kinds["table"]
        assert all(a.get("scope") in ("col", "row") for tag, a in page.tags if tag == "th")
        headings = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h\d", tag)]
        assert all(b - a <= 1 for a, b in pairwise(headings))
        assert json.loads(json.dumps(plain(reports[name])))["name"] == reports[name].ensemble.name


def test_golden_vectors_are_said_to_be_no_test_set_and_data_is_not(reports: dict[str, Report]) -> None:
    for name in KINDS:
        told = "golden vectors, no test set" in html(reports[name])
        assert told == (name in ("graph", "stream", "regression"))
    assert "nothing could be run" in html(reports["bare"])
    assert "1,000 samples" not in html(reports["data"]) and "200 samples" in html(reports["data"])


def test_the_figures_of_a_page_are_those_of_the_engines(reports: dict[str, Report]) -> None:
    made = reports["data"]
    model = made.ensemble
    inputs, labels = (part[:200] for part in encoded_samples(model, "mnist1d", None))
    from sne_edge.check.reference import run as reference

    found = reference(model, inputs).decisions
    own = made.own
    assert own is not None and own.evaluation.accuracy == pytest.approx(float((found.label == labels).mean()))
    assert [round(200 * share) for _, share, _ in made.stops] == [
        int((found.students_run == n).sum()) for n in (1, 2, 3, 4)
    ]
    table = np.array(made.confusion.counts)  # type: ignore[union-attr]
    assert table.sum() == 200 and np.trace(table) == (found.label == labels).sum()
    assert made.checks and all(check.difference is None for check in made.checks)
    assert made.counted.endswith("modelled") and all(row.instructions for row in made.rows)
    drawn = html(made)
    assert f"{100 * own.evaluation.accuracy:.1f} %" in drawn and made.fingerprint in drawn
    rasters = made.charts["rasters"]
    assert len(rasters) == 12 and all(chart.paths for chart in rasters)


def test_what_is_not_there_is_not_shown(reports: dict[str, Report]) -> None:
    regression = reports["regression"]
    assert regression.confusion is None and regression.own is not None and regression.own.evaluation.accuracy is None
    assert "Which classes it confuses" not in html(regression) and "is a number" not in html(regression)
    assert "Energy by policy is estimated for chains alone" in html(reports["graph"])
    assert "takes live streams" in html(reports["stream"])
    assert "Where it comes from" in html(reports["hostile"]) and "<script" not in html(reports["hostile"])


def test_of_many_classes_the_most_confused_are_shown_and_a_rejected_input_has_a_column() -> None:
    tiny = tiny_ensemble(classes=40)
    labels = np.repeat(np.arange(40), 3)
    got = labels.copy()
    got[[0, 3, 6]] = [5, 7, -1]
    found = confused(tiny, got, labels)
    assert len(found.classes) == 20 and found.left_out == 20 and found.labels[-1] == "none"
    assert {"class 0", "class 1", "class 2", "class 5", "class 7"} <= set(found.classes)
    assert sum(map(sum, found.counts)) == 60 and found.recall[0] == pytest.approx(2 / 3)


def colours(text: str, dark: bool) -> dict[str, str]:
    """The variables of the style sheet."""
    light, _, rest = text.partition("@media (prefers-color-scheme: dark)")
    part = rest.split("}")[0] if dark else light
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", part))


def luminance(colour: str) -> float:
    linear = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in linear]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("dark", [False, True])
def test_words_and_marks_stand_out_from_the_paper(dark: bool, reports: dict[str, Report]) -> None:
    found = colours(html(reports["bare"]), dark)

    def contrast(a: str, b: str) -> float:
        high, low = sorted((luminance(found[a]), luminance(found[b])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    for words, paper in product(("ink", "soft", "blue", "orange"), ("paper", "faint")):
        assert contrast(words, paper) >= 4.5, (words, paper)  # WCAG 2.1, 1.4.3
    for mark in ("good", "bad", "green"):
        assert contrast(mark, "paper") >= 3.0, mark  # 1.4.11


MEASURE = """<script>
addEventListener('load', () => {
  const wide = [...document.querySelectorAll('body *')].filter(e => !e.closest('.scroll') || e.matches('.scroll'))
    .filter(e => !e.closest('svg') || e.matches('svg')).filter(e => e.getBoundingClientRect().right > innerWidth + 0.5);
  const small = [...document.querySelectorAll('svg text')].filter(e => e.getBoundingClientRect().height < 9);
  const out = [...document.querySelectorAll('svg')].filter(s => { const b = s.getBoundingClientRect();
    return [...s.querySelectorAll('text')].some(t => { const r = t.getBoundingClientRect();
      return r.left < b.left - 1 || r.right > b.right + 1 || r.top < b.top - 1 || r.bottom > b.bottom + 1; }); });
  const told = {width: innerWidth, page: document.documentElement.scrollWidth, small: small.length,
    wide: wide.map(e => e.outerHTML.slice(0, 80)), out: out.map(s => s.getAttribute('aria-labelledby')),
    texts: document.querySelectorAll('svg text').length, paper: getComputedStyle(document.body).backgroundColor,
    requests: performance.getEntriesByType('resource').map(r => r.name)};
  document.title = 'TOLD' + JSON.stringify(told) + 'TOLD';
});
</script></head>"""


def browse(page: Path, width: int, dark: bool, folder: Path) -> tuple[dict[str, Any], str]:
    """What a browser makes of a page in a frame of a width, and what it says on its console."""
    frame = folder / f"frame-{width}-{dark}.html"  # a window has a least width, a frame has none
    scheme = "dark" if dark else "light"
    frame.write_text(
        f'<html style="color-scheme: {scheme}"><title>no</title><iframe id="f" src="{page.as_uri()}" '
        f'style="width:{width}px;height:2000px;border:0;color-scheme:{scheme}"></iframe>'
        "<script>setInterval(() => { document.title = f.contentDocument.title }, 20)</script></html>"
    )
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--allow-file-access-from-files", f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr",
        "--host-resolver-rules=MAP * ~NOTFOUND", f"--blink-settings=preferredColorScheme={0 if dark else 1}",
        "--window-size=1400,2200", "--virtual-time-budget=3000", "--dump-dom", frame.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    found = re.search(r"TOLD(.*?)TOLD", done.stdout)
    assert found is not None, done.stdout[-2000:] + done.stderr[-2000:]
    told: dict[str, Any] = json.loads(found[1].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))
    return told, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


@pytest.mark.examines(looks=9, texts=600)
def test_a_browser_shows_it_without_errors_requests_or_anything_wider_than_the_window(
    reports: dict[str, Report], tmp_path: Path, examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    require_tool("chromium")
    looks = [(name, 360, name in ("graph", "stream")) for name in KINDS]
    looks += [("data", 360, True), ("data", 1280, False), ("data", 1280, True)]
    papers = set()
    for name, width, dark in looks:
        page = tmp_path / f"{name}.html"
        text = html(reports[name])
        policy = re.search(r"<meta http-equiv=.*\n", text)
        assert policy is not None
        page.write_text(text.replace(policy[0], "").replace("</head>", MEASURE))
        told, console = browse(page, width, dark, tmp_path)
        assert told["width"] == width and told["page"] <= width and not told["wide"], (name, told)
        assert not console and not told["requests"] and not told["out"], (name, console, told)
        assert told["small"] == 0, (name, told)
        papers.add((dark, told["paper"]))
        examined["looks"] += 1
        examined["texts"] += told["texts"]
    assert papers == {(False, "rgb(255, 255, 255)"), (True, "rgb(20, 23, 31)")}
    own = tmp_path / "own.html"  # as it is, with its policy that forbids everything
    own.write_text(html(reports["data"]))
    _, console = browse_plain(own, tmp_path)
    assert not console


def browse_plain(page: Path, folder: Path) -> tuple[str, str]:
    """A page as it is: what stands in it, and what the browser says."""
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
               f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--dump-dom",
               page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "</html>" in done.stdout
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_the_command_writes_a_page_with_what_a_board_counts(
    tmp_path: Path,
    tiny: QuantEnsemble,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    require_tool: Callable[..., None],
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.chdir(tmp_path)
    save(tiny, tmp_path / "tiny.sne")
    assert run(["report", "tiny.sne", "--on", "qemu:mps2-an386", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["golden_vectors"] and len(record["policies"]) == 4 and record["structure"]["table_bytes"] > 0
    text = (tmp_path / "tiny-test.html").read_text()
    assert text.startswith("<!DOCTYPE html>") and "instructions on qemu:mps2-an386" in text
    counts = record["boards"][0]["counts"]
    assert [row["instructions"] for row in record["policies"]] == [counts[row["policy"]] for row in record["policies"]]
    assert any(check["engine"] == "qemu:mps2-an386" for check in record["verified"])
