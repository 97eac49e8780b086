"""All claims by one command: each table made once by the code of now, what is not at hand named, one summary."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from sne_edge.cli import run
from sne_edge.errors import SneError
from sne_edge.learn import fit
from sne_edge.learn.baseline import student_design
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline import presets
from sne_edge.pipeline.cnn import cnn_key
from sne_edge.pipeline.config import TrainConfig, model_key
from sne_edge.study import claims, guarantee, studies, summary, table
from sne_edge.study.lab import Lab

RESULTS = Path(__file__).parent.parent / "docs" / "results"
SMALL = TrainConfig(
    body=Body((4, 4), (5, 3), (2, 2)), recipe=Recipe(joint=2, rounded=1, batch=64), teacher_epochs=2, views=1,
    students=2, timesteps=2,
)  # fmt: skip


@pytest.fixture
def lab(waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lab:
    monkeypatch.setattr(presets, "OWN", SMALL)
    monkeypatch.setattr(guarantee, "TRIALS", 5)
    monkeypatch.setattr(guarantee, "PROMISED", (5.0,))
    monkeypatch.delenv("SNE_EDGE_DATA", raising=False)
    asked = {"cascade": (str(waves),), "guarantee": (str(waves), "nmnist")}
    monkeypatch.setattr(claims, "CLAIMS", asked)
    return Lab("mnist1d", (0, 1), tmp_path / "cache", "inline")


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")  # so few epochs teach little
def test_every_table_is_made_once_by_the_code_of_now_and_what_is_not_at_hand_is_named(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = tmp_path / "tables"
    first = claims.planned(lab, [], folder)
    assert [(c.name, c.done) for c in first.claims] == [("cascade-waves", False), ("guarantee-waves", False)]
    assert list(first.skipped) == ["nmnist"] and "not found" in first.skipped["nmnist"]
    assert (first.total.models, first.total.there, first.total.unknown) == (2, 0, 2)
    whole = studies.STUDIES["guarantee"]

    def broken(lab: Lab) -> table.Table:
        raise SneError("it broke", "mend it")

    monkeypatch.setitem(studies.STUDIES, "guarantee", broken)
    assert claims.run_claims(first, folder) == {"guarantee-waves": "it broke"}

    monkeypatch.setitem(studies.STUDIES, "guarantee", whole)
    second = claims.planned(lab, [], folder)
    assert [c.done for c in second.claims] == [True, False]
    assert all((c.estimate.models, c.estimate.there) == (2, 2) for c in second.claims)
    before = (folder / "cascade-waves.json").stat().st_mtime_ns
    assert claims.run_claims(second, folder) == {}
    assert (folder / "cascade-waves.json").stat().st_mtime_ns == before
    assert all(c.done for c in claims.planned(lab, [], folder).claims)
    assert not any(c.done for c in claims.planned(replace(lab, seeds=(0,)), [], folder).claims)

    told = json.loads((folder / "summary.json").read_text())
    assert {f["study"] for f in told["figures"]} == {"cascade", "guarantee"} and "nmnist" in told["skipped"]
    for f in told["figures"]:
        assert f["seeds"] == [0, 1] and len(f["values"]) == 2 and f["by_this_code"] is True
        assert "drawn by the seed, 60 samples" in f["split"] and f["command"].startswith(f"sne-edge study {f['study']}")
    text = (folder / "summary.md").read_text()
    assert text.count("`sne-edge study ") == len(told["figures"]) + 1 and "* nmnist: " in text and "±" in text
    for module in (table, summary):
        monkeypatch.setattr(module, "code_of_now", lambda: "other code")
    assert not any(c.done for c in claims.planned(lab, [], folder).claims)
    assert {f.by_this_code for f in summary.summarise(folder)} == {False}


def test_a_data_set_that_was_asked_for_and_is_not_at_hand_is_an_error(lab: Lab, tmp_path: Path):
    with pytest.raises(SneError, match="not found"):
        claims.planned(lab, ["nmnist"], tmp_path)


def test_data_of_ones_own_get_every_study(lab: Lab, waves: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(claims, "CLAIMS", {"cascade": ("mnist1d",)})
    found = claims.planned(lab, [str(waves)], tmp_path)
    assert [c.study for c in found.claims] == list(studies.STUDIES)


def test_what_it_would_take_is_said_before_anything_is_trained(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(claims, "run_claims", lambda *arguments: pytest.fail("it ran"))
    monkeypatch.setattr("sne_edge.learn.teacher.default_cache", lambda: lab.cache)
    assert run(["study", "all", "--plan", "--seeds", "0,1", "-o", str(tmp_path / "made")]) == 0
    told = capsys.readouterr().out
    assert "cascade-waves" in told and "left out: nmnist" in told and "2 models, 0 there already" in told
    assert not (tmp_path / "made").exists()


def test_nothing_that_other_code_other_defaults_or_another_noise_trained_is_found_again(
    waves: Path, monkeypatch: pytest.MonkeyPatch
):
    data = Lab(str(waves), (0,), waves.parent).data(0)
    design = student_design(SMALL.body)

    def keys(config: TrainConfig) -> set[str]:
        return {model_key(config, data), cnn_key(config, data, design)}

    plain = keys(SMALL)
    others = [keys(replace(SMALL, noise=1.0)), keys(replace(SMALL, recipe=replace(SMALL.recipe, own=0.31)))]
    monkeypatch.setattr(fit, "digest", lambda *places: "other code")
    others.append(keys(SMALL))
    assert all(len(found) == 2 and not found & plain for found in others)


def test_figures_are_read_of_every_stored_table_of_todays_shape(examined_tables: list[Path]):
    read = {path.stem: summary.figures(json.loads(path.read_text())) for path in examined_tables}
    without = [name for name, found in read.items() if not found]
    assert all(name.startswith("noise-") for name in without), without
    assert {f.study for found in read.values() for f in found} >= {"ensemble", "cascade", "partition", "baselines"}


@pytest.fixture
def examined_tables() -> list[Path]:
    """The tables in the documentation."""
    found = [path for study in summary.READERS for path in RESULTS.glob(f"{study}-*.json")]
    assert len(found) >= 15
    return found
