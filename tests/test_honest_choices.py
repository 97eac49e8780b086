"""Honest choices: what test samples may not decide, and validation samples may choose but not teach.

Each test trains or calibrates twice on data of which one part is poisoned (noise for samples, random labels), and
compares all that part has no say in, bit for bit.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
import torch

from sne_edge.data.dataset import Dataset, split
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.recalibrate import recalibrate
from sne_edge.pipeline.train import train

CLASSES = 3
CONFIG = TrainConfig(
    students=3, timesteps=2, body=Body((3, 4), (5, 3), (2, 2)),
    recipe=Recipe(alone=2, joint=2, rounded=6, batch=64, rate=2e-2, patience=1), teacher_epochs=2, views=2,
    max_drop=4.0,
)  # fmt: skip


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Hard enough that epochs differ in accuracy, and students in what they know."""
    rng = np.random.default_rng(0)
    y = np.arange(720) % CLASSES
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.9 * rng.normal(size=(720, 16))
    return split("waves", x[:480], y[:480], x[480:], y[480:])


def poisoned(data: Dataset, part: str, seed: int) -> Dataset:
    """The data with noise of another scale in place of a part's samples, and random labels."""
    rng = np.random.default_rng(seed)
    x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
    noise = rng.normal(0, 3 * x.std(), x.shape).astype(np.float32)
    return replace(data, **{f"x_{part}": noise, f"y_{part}": rng.integers(0, CLASSES, len(y))})


def say_nothing(data: Dataset, seed: int) -> Dataset:
    """The data with validation samples by which every network is equally good: one sample, many times, each class
    equally often."""
    rng = np.random.default_rng(seed)
    one = rng.normal(size=(1, *data.shape)).astype(np.float32)
    count = len(data.y_val) // CLASSES * CLASSES
    return replace(data, x_val=np.repeat(one, count, axis=0), y_val=np.arange(count) % CLASSES)


def learnt(model: QuantEnsemble) -> dict[str, Any]:
    """All numbers of a model that are trained or chosen; costs are measured, and stay out."""
    plain = msgspec.to_builtins(model, enc_hook=lambda array: (array.dtype.str, array.shape, array.tobytes()))
    for key in ("vectors", "provenance", "order", "policy", "routes"):
        del plain[key]
    for student in plain["students"]:
        for key in ("mean_ops", "max_ops", "layer_ops"):
            del student[key]
    return plain


def chosen(model: QuantEnsemble) -> dict[str, Any]:
    """What calibration chooses and measures: order, margins, routes, early stops, costs."""
    plain = msgspec.to_builtins(model, enc_hook=lambda array: (array.dtype.str, array.shape, array.tobytes()))
    costs = [[student[key] for key in ("mean_ops", "max_ops", "layer_ops")] for student in plain["students"]]
    return {key: plain[key] for key in ("order", "policy", "routes")} | {"costs": costs}


def without_test(record: dict[str, Any]) -> dict[str, Any]:
    """Provenance but for what is told of test samples, and the prints of data that hold them."""
    return {
        key: without_test(value) if isinstance(value, dict) else value
        for key, value in record.items()
        if key not in ("test", "dataset")
    }


@pytest.fixture(scope="module")
def made(data: Dataset) -> QuantEnsemble:
    torch.set_num_threads(1)
    return train(CONFIG, dataset=data)


def test_test_samples_decide_nothing_in_training(data: Dataset, made: QuantEnsemble):
    bad = poisoned(data, "test", 1)
    other = train(CONFIG, dataset=bad)
    assert learnt(other) == learnt(made)
    assert chosen(other) == chosen(made)
    assert without_test(other.provenance) == without_test(made.provenance)
    assert other.provenance["integer"]["test"] != made.provenance["integer"]["test"]  # the poison was looked at


def test_the_choices_that_test_samples_could_make_are_real_ones(data: Dataset, made: QuantEnsemble):
    """Of the same samples in the place of validation samples, another epoch and another policy are chosen: a mistaken
    part would show."""
    bad = poisoned(data, "test", 1)
    other = train(CONFIG, dataset=replace(bad, x_val=bad.x_test, y_val=bad.y_test))
    assert learnt(other)["students"] != learnt(made)["students"]
    assert chosen(other)["policy"] != chosen(made)["policy"]


@pytest.mark.parametrize("scheme", ["disentangled", "class-affinity", "disentangled-tuned"])
def test_the_teacher_and_its_partition_are_made_of_training_samples_alone(data: Dataset, scheme: str):
    prints = []
    for dataset in (data, poisoned(poisoned(data, "val", 2), "test", 3)):
        seen: list[Any] = []
        config = replace(CONFIG, scheme=scheme, recipe=replace(CONFIG.recipe, alone=0, joint=1, rounded=0))
        model = train(config, lambda *event, seen=seen: seen.append(event), dataset=dataset)
        record = {k: v for k, v in model.provenance["partition"].items() if k != "teacher"}
        losses = [note for stage, _, _, note in seen if "teacher" in stage]
        prints.append(
            (model.provenance["teacher"]["fingerprint"], record, losses, [s.features for s in model.students])
        )
    assert prints[0] == prints[1] and len(prints[0][2]) >= 2


def test_students_learn_nothing_from_validation_samples(data: Dataset, made: QuantEnsemble):
    one, two = (train(CONFIG, dataset=say_nothing(data, seed)) for seed in (4, 5))
    assert learnt(one) == learnt(two)
    assert one.provenance["integer"]["validation"] != two.provenance["integer"]["validation"]


@pytest.mark.parametrize("early", [None, "exact", "margin"])
@pytest.mark.parametrize("kind", ["cascade", "routed"])
def test_test_samples_decide_nothing_in_calibration(kind: str, early: str | None, data: Dataset, made: QuantEnsemble):
    bad, made = poisoned(data, "test", 6), msgspec.structs.replace(made, provenance={})  # it takes whatever data
    one, two = (recalibrate(made, d, 4.0, kind=kind, early=early) for d in (data, bad))
    assert chosen(one[0]) == chosen(two[0]) and one[1] == two[1]
    assert without_test(one[0].provenance["integer"]) == without_test(two[0].provenance["integer"])
    assert one[0].provenance["integer"]["test"] != two[0].provenance["integer"]["test"]
    moved = replace(data, x_val=bad.x_test, y_val=bad.y_test)
    assert chosen(recalibrate(made, moved, 4.0, kind=kind, early=early)[0]) != chosen(one[0])


def test_golden_vectors_come_of_test_samples_and_choose_nothing(data: Dataset, made: QuantEnsemble):
    count = len(made.vectors.inputs)
    assert count == CONFIG.vectors and (made.vectors.inputs == made.encoder.encode(data.x_test[:count])).all()
    fewer = train(replace(CONFIG, vectors=3), dataset=data)
    assert learnt(fewer) == learnt(made) and chosen(fewer) == chosen(made)
