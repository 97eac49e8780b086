"""Students of other sizes: what an ensemble is expected to take is what trained ones take, and a large student takes as
much."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from sne_edge.data.dataset import Dataset, load_dataset
from sne_edge.ir.artifact import load
from sne_edge.ir.encoder import Shape
from sne_edge.ir.layers import SynapticLayer
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.presets import preset
from sne_edge.study.sizes import large_student, operations, scaled, weights


@pytest.fixture(scope="module")
def signals() -> Dataset:
    return load_dataset("mnist1d", 0)


def of_shape(shape: Shape, classes: tuple[str, ...]) -> Dataset:
    """A data set of one empty sample."""
    x, y = np.zeros((1, *shape), np.float32), np.zeros(1, np.int64)
    return Dataset("empty", x, y, x, y, x, y, classes)


@pytest.mark.examines(models=3)
def test_what_is_expected_is_what_shipped_models_took(examined: Counter[str]):
    for name in ("mnist1d", "fsdd", "fashion-mnist"):  # whose recipes make spikes dear
        model = load(name)
        took = {row["policy"]: row["operations"] for row in model.provenance["integer"]["test"]}
        data, count = of_shape(model.encoder.shape, model.classes), len(model.students)
        assert operations(preset(name, students=1), data) == pytest.approx(took["first:1"], rel=0.06)
        assert operations(preset(name), data) == pytest.approx(took[f"first:{count}"], rel=0.06)
        synaptic = [x for student in model.students for x in student.layers if isinstance(x, SynapticLayer)]
        assert weights(preset(name), data) == sum(layer.weight.size for layer in synaptic)
        examined["models"] += 1


@pytest.mark.parametrize("measure", [operations, weights])
@pytest.mark.parametrize("students", [1, 2, 4, 9])
@pytest.mark.parametrize("channels", [(24, 32, 40), (96, 8, 8), (8, 64, 64)])
def test_a_large_student_takes_as_much_as_the_ensemble(
    channels: tuple[int, ...], students: int, measure: Callable[[TrainConfig, Dataset], float], signals: Dataset
):
    config = preset("mnist1d", students=students, body=Body(channels, (7, 5, 3), (2, 2, 2)))
    found = large_student(config, signals, measure)
    assert found.students == 1 and measure(found, signals) == pytest.approx(measure(config, signals), rel=0.08)
    assert found.body.channels == channels or students > 1  # channels come in whole fours
    assert replace(found, body=config.body, students=students) == config  # nothing else differs


def test_of_events_the_first_layer_takes_those_that_come(signals: Dataset):
    rng = np.random.default_rng(0)
    rasters = replace(signals, x_train=(rng.random((50, 6, *signals.shape)) < 0.25).astype(np.float32))
    config = TrainConfig(timesteps=6, body=Body((16, 8), (5, 3), (2, 2)))
    direct, events = operations(config, signals), operations(config, rasters)
    first = 16 * (20 * 5 - 2 - 1)  # products of a student's: 20 places, the outer ones with fewer
    assert events - direct == pytest.approx(4 * first * (6 * float(rasters.x_train.mean()) - 1))


def test_channels_come_in_whole_fours():
    assert scaled(preset("mnist1d"), 0.1).body.channels == (4, 4, 4)
    assert scaled(preset("mnist1d"), 1.5, students=2).body.channels == (36, 48, 60)
