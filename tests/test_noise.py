"""Training under noise: who meets it, how strong it is, and what stays without."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from sne_edge.data.corruptions import HIT, WHITE
from sne_edge.data.dataset import Dataset, split
from sne_edge.errors import SneError
from sne_edge.learn import teacher
from sne_edge.learn.augmentation import LIGHT
from sne_edge.learn.distill import distill
from sne_edge.learn.lessons import Lessons, Tutor
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.views import Augmenter, noisy, noisy_there, to_torch, views
from sne_edge.pipeline import cnn, stages
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train
from sne_edge.study import noise as study

SEVERITY = 4.0
CONFIG = TrainConfig(
    body=Body((4,), (5,), (2,)), recipe=Recipe(joint=1, rounded=1, batch=64), teacher_epochs=1, views=3, students=2,
    timesteps=2, noise=SEVERITY,
)  # fmt: skip


@pytest.fixture(scope="module")
def data() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    return split("waves", np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(240, 16)), y)


@pytest.mark.examines(samples=500)
@pytest.mark.parametrize("where", ["kept", "anew"])
def test_each_sample_meets_a_strength_of_its_own_up_to_the_severity(where: str, examined: Counter[str]):
    x = np.random.default_rng(1).normal(size=(500, 1, 1000, 1)).astype(np.float32)
    torch.manual_seed(0)
    made = (
        noisy(x, SEVERITY, np.random.default_rng(2))
        if where == "kept"
        else noisy_there(torch.from_numpy(x), float(x.std()), SEVERITY).numpy()
    )
    hit = (made == x.min()) | (made == x.max())
    moved = np.where(hit, np.nan, made - x).reshape(len(x), -1)
    strengths = np.sort(np.nanstd(moved, axis=1) / (WHITE * x.std()))
    expected = SEVERITY * (np.arange(len(x)) + 0.5) / len(x)  # evenly from nothing up
    assert np.abs(strengths - expected).max() < 0.1 * SEVERITY
    assert 0.9 < hit.mean() / (HIT * SEVERITY / 2) < 1.1 and made.dtype == np.float32
    examined["samples"] += len(x)


def test_impulses_take_the_lowest_and_the_highest_value_and_spare_most():
    x = np.random.default_rng(1).integers(0, 2, size=(400, 3, 1, 50, 1)).astype(np.float32)
    made = noisy(x, SEVERITY, np.random.default_rng(2))
    assert set(np.unique(made)) == {0.0, 1.0}  # a raster stays one
    share = float((made != x).mean())
    assert 0.3 * HIT * SEVERITY / 2 < share < HIT * SEVERITY / 2  # half of the hits change nothing


def test_without_noise_views_are_what_they_were():
    x = np.random.default_rng(1).normal(size=(8, 1, 16, 1)).astype(np.float32)
    plain = Augmenter().kept(x, np.random.default_rng(3))
    assert np.array_equal(plain, Augmenter(noise=0.0).kept(x, np.random.default_rng(3)))
    assert not np.array_equal(plain, Augmenter(noise=1.0).kept(x, np.random.default_rng(3)))
    assert np.array_equal(views(x, 3, 0, noise=2.0)[0], x)  # the sample itself is among them


def test_teacher_cnn_and_students_meet_the_same_noise(data: Dataset, tmp_path, monkeypatch: pytest.MonkeyPatch):
    met: list[tuple[str, float]] = []
    monkeypatch.setattr(
        teacher, "Augmenter", lambda how, n, heard: met.append(("teacher", n)) or Augmenter(how, n, heard)
    )
    for who, module in (("students", stages), ("CNN", cnn)):

        def viewed(x, count, seed, how, noise=0.0, *more, who=who, **named):
            met.append((who if len(x) == len(data.x_train) else "calibration", noise))
            return views(x, count, seed, how, noise, *more, **named)

        monkeypatch.setattr(module, "views", viewed)
    monkeypatch.setattr(stages, "distill", lambda *a, noise, **o: met.append(("live", noise)) or distill(*a, **o))
    made = train(CONFIG, dataset=data)
    assert made.provenance["config"]["noise"] == SEVERITY
    found = stages.built_in_teacher(data, CONFIG.teacher, 1, 0, noise=SEVERITY)
    cnn.find_cnn(CONFIG, data, cnn.baseline.student_design(CONFIG.body), found, tmp_path)
    assert set(met) == {("teacher", 4.0), ("students", 4.0), ("CNN", 4.0), ("live", 4.0), ("calibration", 0.0)}


def test_views_that_a_live_teacher_answers_to_are_noisy_and_kept_ones_get_no_more(data: Dataset):
    x = data.x_train[None]
    lessons = Lessons(x, np.zeros((1, len(x[0]), 4)), np.zeros((1, len(x[0]), 3)), data.y_train, data.x_val, data.y_val)
    for live in (True, False):
        recipe = Recipe(live=live, anew=not live)
        net = teacher.build_teacher("small", data.shape, 3)
        tutor = Tutor(lessons, recipe, teacher=net, noise=SEVERITY)
        assert tutor.augmenter.noise == (SEVERITY if live else 0.0) and tutor.augmenter.how == LIGHT


def test_a_noise_that_is_none_is_refused():
    for wrong in (-0.1, 5.1):
        with pytest.raises(SneError, match="severity"):
            replace(CONFIG, noise=wrong)


def test_torch_and_numpy_make_the_same_noise():
    torch.manual_seed(0)
    x = np.random.default_rng(1).normal(size=(1, 1, 16, 1)).astype(np.float32).repeat(6000, axis=0)
    both = Augmenter(noise=SEVERITY)
    kept, anew = both.kept(x, np.random.default_rng(0)), both.anew(to_torch(x), float(x.std()))
    a, b = kept.transpose(0, 3, 1, 2), anew.numpy()
    assert np.allclose(a.mean(0), b.mean(0), atol=0.08) and np.allclose(a.std(0), b.std(0), atol=0.08)


@pytest.mark.examines(rows=10)
def test_what_training_saves_and_what_the_ensemble_adds_are_told_apart(examined: Counter[str]):
    """Two seeds; under noise every network loses a share of its own, the ones trained on it half of that."""
    loses = {"teacher": 0.4, "int8 CNN": 0.3, "one student": 0.2, "ensemble": 0.1, "cascade": 0.1}
    conditions = [(study.CLEAN, ""), ("white", 1), ("white", 2), ("blur", 1)]
    found = {
        (kind, strength, training): [
            study.Found([0.9 - (0 if kind == study.CLEAN else part * share) for share in loses.values()], 1.5, 1000)
            for part in ((1.0, 0.9) if training == "clean" else (0.5, 0.5))
        ]
        for kind, strength in conditions
        for training in study.TRAININGS
    }
    rows = list(study._rows(conditions, found))
    means = {(row[0], row[2]): row[3:8] for row in rows if row[0].endswith("mean")}
    assert [len(row) for row in rows] == [10] * len(rows) and len(rows) == 2 * 4 + 3 * 3
    for number, share in enumerate(loses.values()):
        for kind in ("white, mean", "blur, mean", "all, mean"):
            assert means[kind, "clean"][number] == pytest.approx([100 * share, 90 * share])
            assert means[kind, "saved by training"][number] == pytest.approx([50 * share, 40 * share])
        examined["rows"] += 2
    training, ensemble = study._told(conditions, found)
    assert "teacher 18 ± 2.83" in training and "ensemble 4.5 ± 0.71" in training
    assert "trained clean, the ensemble loses 9.5 ± 0.71 less than its first student and 19 ± 1.41 less" in ensemble
