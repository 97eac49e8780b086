"""Runs that learned little say so."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sne_edge.check.evaluation import commonest, of_no_use
from sne_edge.data.dataset import split
from sne_edge.errors import SneError, SneWarning
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train
from sne_edge.pipeline.verdict import doubts, doubts_of_data

LABELS = np.array([0] * 40 + [1] * 30 + [2] * 30)


def record(teacher: float, students: float, integers: float) -> dict[str, Any]:
    return {
        "teacher": {"validation": teacher},
        "float": {"validation": [0.1, students]},
        "integer": {"validation": [{"accuracy": 0.1}, {"accuracy": integers}]},
        "config": {"body": {"bits": 4}},
    }


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        ((0.98, 0.95, 0.95), []),
        ((0.98, 0.88, 0.881), []),
        ((0.98, 0.33, 0.33), ["students are right on 33.0%.*commonest class makes 40.0%"]),
        ((0.42, 0.41, 0.40), ["the teacher is right on 42.0%", "students are right on 40.0%"]),
        ((0.98, 0.80, 0.79), ["their teacher on 98.0%"]),
        ((0.90, 0.95, 0.84), ["integers are right on 84.0%.*95.0%.*4 bits"]),
    ],
)
def test_doubts_name_what_learned_too_little(figures: tuple[float, float, float], words: list[str]):
    found = doubts(record(*figures), LABELS)
    assert len(found) == len(words)
    assert pytest.approx(0.4) == commonest(LABELS)
    for text, pattern in zip(found, words, strict=True):
        assert re.search(pattern, text)


@pytest.mark.parametrize(
    ("share", "accuracy", "useless"),
    [
        (0.1, 0.12, True), (0.1, 0.13, False), (0.5, 0.6, True), (0.5, 0.61, False), (0.9, 0.92, True),
        (0.9, 0.93, False), (0.98, 0.98, True), (0.98, 1.0, False), (1.0, 1.0, False),
    ],
)  # fmt: skip
def test_what_is_of_no_use_goes_by_the_commonest_class_and_by_all_others(
    share: float, accuracy: float, useless: bool
) -> None:
    commoner = round(100 * share)
    labels = np.array([0] * commoner + [1 + k % 9 for k in range(100 - commoner)])
    assert of_no_use(accuracy, labels) == useless


def test_validation_samples_that_are_training_samples_are_told_of() -> None:
    x, y = np.repeat(np.random.default_rng(0).normal(size=(60, 6)).cumsum(1), 8, axis=0), np.arange(480) % 2
    data = split("often", x, y, np.random.default_rng(1).normal(size=(100, 6)), np.arange(100) % 2)
    assert data.repeated == len(data.x_val)
    assert re.search("60 of 60 validation samples are training samples.*learned by heart", *doubts_of_data(data))


def test_classes_that_no_part_holds_are_told_of_and_none_is_lost_to_training() -> None:
    rng = np.random.default_rng(0)
    y = np.array([0] * 40 + [1] * 39 + [2])
    tests = (rng.normal(size=(60, 6)), np.arange(60) % 3)
    seen = set()
    for seed in range(40):
        data = split("rare", rng.normal(size=(80, 6)).cumsum(1), y, *tests, seed=seed)
        assert {*data.y_train.tolist()} == {0, 1, 2} and len(data.y_train) + len(data.y_val) == 80
        assert re.search("there is no validation sample of 2", *doubts_of_data(data))
        seen.add(len(data.y_val))
    assert seen == {9, 10}, "the sample was drawn for validation by some seeds, and given back"
    with pytest.raises(SneError, match="not enough") as refused:
        split("fewer", rng.normal(size=(12, 6)), np.arange(12))
    assert "drawn for testing" in refused.value.hint


def test_test_samples_that_are_training_samples_are_told_of() -> None:
    x, y = np.random.default_rng(0).normal(size=(400, 6)).cumsum(1), np.arange(400) % 2
    apart = split("apart", x[:300], y[:300], x[300:], y[300:])
    assert (apart.known, doubts_of_data(apart)) == (0, [])
    shared = split("shared", x[:300], y[:300], x[280:380], y[280:380])
    assert shared.known == 20, "whether they were held out for validation or not"
    assert re.search("20 of 100 test samples are training samples", *doubts_of_data(shared))


def test_students_at_chance_do_not_end_in_silence(tmp_path: Path):
    """A data set with nothing to learn: whatever is trained on it guesses."""
    rng = np.random.default_rng(0)
    path = tmp_path / "noise.npz"
    np.savez(path, x_train=rng.normal(size=(2000, 16)), y_train=np.arange(2000) % 3)
    config = TrainConfig(
        dataset=str(path), students=2, timesteps=2, body=Body((3, 4), (5, 3), (2, 2)),
        recipe=Recipe(alone=1, joint=1, rounded=1, batch=64), teacher_epochs=1, views=1, scheme="contiguous",
    )  # fmt: skip
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made = train(config)
    texts = [str(w.message) for w in caught if issubclass(w.category, SneWarning)]
    best = max(row["accuracy"] for row in made.provenance["integer"]["validation"])
    assert best < 0.4 and any("students are right on" in text for text in texts)
