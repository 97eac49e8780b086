"""Studies on a small data set: what they train is kept, what they write can be read; corruptions and the int8 CNN."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sne_edge import presets, study
from sne_edge.corruptions import CORRUPTIONS, SEVERITIES, corrupt
from sne_edge.distill import Recipe
from sne_edge.errors import SneError
from sne_edge.student import Body
from sne_edge.train import TrainConfig


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> study.Lab:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(400, 16))
    folder = tmp_path_factory.mktemp("study")
    np.savez(folder / "waves.npz", x_train=x, y_train=y)
    small = TrainConfig(
        body=Body((4, 4), (5, 3), (2, 2)), recipe=Recipe(joint=4, rounded=1, batch=64), teacher_epochs=3, views=2,
        students=2, timesteps=3,
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(presets.PRESETS, "mnist1d", small)
        yield study.Lab(str(folder / "waves.npz"), (0, 1), folder / "cache", executor="inline")


@pytest.mark.parametrize("name", ["ensemble", "cascade", "noise"])
def test_a_study_writes_a_table_of_means_and_spreads_and_trains_nothing_twice(
    name: str, lab: study.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = study.run_study(name, replace(lab, dataset=lab.dataset), tmp_path)
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert files == [f"{name}-waves.json", f"{name}-waves.md"]
    text = (tmp_path / f"{name}-waves.md").read_text()
    assert text.count("\n|") == len(table.rows) + 2 and "±" in text and "Seeds 0, 1" in text
    record = json.loads((tmp_path / f"{name}-waves.json").read_text())
    assert record["rows"] == json.loads(json.dumps(table.rows)) and record["seeds"] == [0, 1]
    monkeypatch.setattr(study, "train", None)  # another run reads what this one kept
    again = study.run_study(name, lab, tmp_path)
    assert again.rows == table.rows


def test_partitions_are_compared_at_every_number_of_students(lab: study.Lab, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(study, "SCHEMES", ("random", "whole"))
    table = study.STUDIES["partition"](lab)
    assert [row[0] for row in table.rows] == ["random", "whole"] and len(table.rows[0]) == 4


@pytest.mark.parametrize(("accuracy", "cost"), [(0.5, 10), (0.8, 10), (0.85, 15), (0.9, 20), (0.99, 40)])
def test_the_cost_of_a_fixed_number_is_linear_between_numbers(accuracy: float, cost: float):
    assert study.cost_at(accuracy, np.array([0.8, 0.9, 0.9]), np.array([10, 20, 40])) == pytest.approx(cost)


@pytest.mark.parametrize("kind", sorted(CORRUPTIONS))
@pytest.mark.parametrize("shape", [(1, 30, 2), (9, 8, 3)])
def test_corruption_grows_with_its_severity_and_repeats(kind: str, shape: tuple[int, int, int]):
    x = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    change = [np.abs(corrupt(kind, x, s) - x).mean() for s in SEVERITIES]
    assert change == sorted(change) and change[0] > 0
    assert np.array_equal(corrupt(kind, x, 3), corrupt(kind, x, 3))
    assert corrupt(kind, x, 3).dtype == np.float32 and corrupt(kind, x, 3).shape == x.shape


def test_an_unknown_corruption_is_refused():
    with pytest.raises(SneError, match="no corruption"):
        corrupt("rain", np.zeros((1, 1, 4, 1)), 1)
