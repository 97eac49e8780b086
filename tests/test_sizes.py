"""Students of other sizes: what an ensemble is expected to take is what trained ones take, and a large student takes as
much."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sne_edge.data.dataset import Dataset, load_dataset
from sne_edge.ir.artifact import load
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.presets import preset
from sne_edge.study.sizes import large_student, operations, scaled

ZOO = Path(__file__).parents[1] / "sne_edge" / "zoo"


@pytest.fixture(scope="module")
def signals() -> Dataset:
    return load_dataset("mnist1d", 0)


@pytest.mark.examines(models=3)
def test_what_is_expected_is_what_shipped_models_took(examined: Counter[str]):
    for name in ("mnist1d", "fsdd", "fashion-mnist"):  # whose recipes make spikes dear
        model = load(ZOO / f"{name}.sne")
        rows = {row["policy"]: row["operations"] for row in model.provenance["integer"]["test"]}
        count = len(model.students)
        one, whole = (
            operations(c, model.encoder.shape, len(model.classes)) for c in (preset(name, students=1), preset(name))
        )
        assert one == pytest.approx(rows["first:1"], rel=0.06)
        assert whole == pytest.approx(rows[f"first:{count}"], rel=0.06)
        examined["models"] += 1


@pytest.mark.parametrize("students", [1, 2, 4, 9])
@pytest.mark.parametrize("channels", [(24, 32, 40), (96, 8, 8), (8, 64, 64)])
def test_a_large_student_takes_as_many_operations_as_the_ensemble(
    students: int, channels: tuple[int, ...], signals: Dataset
):
    config = preset("mnist1d", students=students, body=Body(channels, (7, 5, 3), (2, 2, 2)))
    found = large_student(config, signals)
    wanted, taken = (operations(c, signals.shape, len(signals.classes)) for c in (config, found))
    assert found.students == 1 and taken == pytest.approx(wanted, rel=0.05)
    assert found.body.channels == channels or students > 1
    assert replace(found, body=config.body, students=students) == config  # nothing else differs


def test_of_events_the_first_layer_takes_those_that_come(signals: Dataset):
    rng = np.random.default_rng(0)
    rasters = replace(signals, x_train=(rng.random((50, 6, *signals.shape)) < 0.25).astype(np.float32))
    config = TrainConfig(timesteps=6, body=Body((16, 8), (5, 3), (2, 2)))
    came = 6 * float(rasters.x_train.mean())
    found = large_student(config, rasters)
    wanted, taken = (operations(c, signals.shape, len(signals.classes), came) for c in (config, found))
    assert taken == pytest.approx(wanted, rel=0.05)
    assert found.body.channels != large_student(config, signals).body.channels


def test_channels_come_in_whole_fours():
    assert scaled(preset("mnist1d"), 0.1).body.channels == (4, 4, 4)
    assert scaled(preset("mnist1d"), 1.5, students=2).body.channels == (36, 48, 60)
