"""Event data: the files of N-MNIST and SHD, spikes made of sound, and an ensemble trained on rasters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from sne_edge.check.verify import ReferenceEngine
from sne_edge.data import events
from sne_edge.data.dataset import Dataset, load_dataset, split
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.views import Augmenter
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train


def packed(rows: list[tuple[int, int, int, int]]) -> bytes:
    """Events (x, y, polarity, microseconds) as N-MNIST's files hold them."""
    return b"".join(bytes((x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255)) for x, y, p, t in rows)


def test_a_recording_of_nmnist_becomes_a_raster_of_its_events():
    rows = [(0, 0, 0, 0), (33, 32, 1, 29_999), (5, 4, 1, 30_000), (4, 5, 1, 31_000), (10, 20, 0, 299_999)]
    late = [(1, 1, 1, 300_000), (1, 1, 1, 2**23 - 1)]  # beyond the three saccades
    made = events.nmnist_sample(packed(rows + late))
    assert made.shape == (10, 17, 17, 2) and made.dtype == np.uint8
    assert {tuple(place) for place in np.argwhere(made).tolist()} == {
        (0, 0, 0, 0), (0, 16, 16, 1), (1, 2, 2, 1), (9, 10, 5, 0)
    }  # fmt: skip
    for wrong in (packed(rows) + b"x", packed([(34, 0, 0, 0)])):
        with pytest.raises(ValueError, match="events"):
            events.nmnist_sample(wrong)


def test_nmnist_is_read_from_its_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for part, count in (("Train", 4), ("Test", 2)):
        for digit in range(10):
            folder = tmp_path / "N-MNIST" / part / str(digit)
            folder.mkdir(parents=True)
            for n in range(count):
                (folder / f"{n:05}.bin").write_bytes(packed([(digit, n, 1, 1000 * n), (3 * digit, 7, 0, 200_000)]))
    data = load_dataset("nmnist", 0, tmp_path)
    assert len(data.x_train) + len(data.x_val) == 40 and len(data.x_test) == 20 and data.own_test
    assert data.timesteps == 10 and data.shape == (17, 17, 2) and set(np.unique(data.x_test)) == {0, 1}
    row = data.x_test[data.y_test == 4][0]
    assert row[6, 3, 6, 0] == 1 and row.sum() == 2
    (tmp_path / "N-MNIST" / "Test" / "3" / "bad.bin").write_bytes(b"1234")
    with pytest.raises(SneError, match="is no recording of N-MNIST"):
        load_dataset("nmnist", 0, tmp_path)


def write_shd(path: Path, labels: list[int], units: int = 700) -> None:
    rng = np.random.default_rng(len(labels))
    with h5py.File(path, "w") as file:
        group = file.create_group("spikes")
        times = group.create_dataset("times", (len(labels),), dtype=h5py.vlen_dtype(np.float16))
        where = group.create_dataset("units", (len(labels),), dtype=h5py.vlen_dtype(np.uint16))
        for n, label in enumerate(labels):
            times[n] = np.array([0.0, 0.5, 0.9, 1.3], np.float16)
            where[n] = np.array([label, 35 * label, units - 1, rng.integers(units)], np.uint16)
        file["labels"] = np.array(labels, np.uint16)


def test_shd_is_read_from_its_files(tmp_path: Path):
    write_shd(tmp_path / "shd_train.h5", list(range(20)) * 2)
    write_shd(tmp_path / "shd_test.h5", list(range(20)))
    data = load_dataset("shd", 0, tmp_path)
    assert data.timesteps == 25 and data.shape == (1, 140, 1) and data.classes[10] == "german 0"
    row = data.x_test[data.y_test == 7][0][:, 0, :, 0]
    assert row[0, 7 // 5] == 1 and row[12, 7 * 7] == 1 and row[22, 139] == 1 and row.sum() == 3
    write_shd(tmp_path / "shd_test.h5", list(range(20)), units=800)
    with pytest.raises(SneError, match="no file of the Spiking Heidelberg Digits"):
        load_dataset("shd", 0, tmp_path)
    (tmp_path / "shd_test.h5").write_bytes(b"not hdf5")
    with pytest.raises(SneError, match="no file of the Spiking Heidelberg Digits"):
        load_dataset("shd", 0, tmp_path)
    with pytest.raises(SneError, match="not found"):
        load_dataset("shd", 0, tmp_path / "elsewhere")


def test_a_tone_makes_the_channel_of_its_pitch_spike_most():
    rate, seconds = 8000, np.arange(8000) / 8000
    pitches = (200.0, 700.0, 2500.0)
    audio = np.stack([12_000 * np.sin(2 * np.pi * f * seconds) for f in pitches]).astype(np.int16)
    made = events.cochlea(np.concatenate([audio, audio[:1] // 16, 0 * audio[:1]]), rate)
    middles = events._bandwidths_apart(48)
    for pitch, raster in zip(pitches, made, strict=False):
        counts = raster[:, 0, :, 0].sum(axis=0)
        assert abs(int(np.median(np.flatnonzero(counts == counts.max()))) - int(abs(middles - pitch).argmin())) <= 1
    assert (made[3] == made[0]).mean() > 0.99  # loudness is no part of it
    assert not made[4].any() and made.dtype == np.uint8


@pytest.fixture(scope="module")
def moving() -> Dataset:
    """A bar that moves left, right or not at all, of which single timesteps tell nothing."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    start = rng.integers(12, size=300)
    place = (start[:, None] + (y - 1)[:, None] * np.arange(6)[None, :]) % 12
    x = (rng.random((300, 6, 1, 12, 1)) < 0.03).astype(np.uint8)
    x[np.arange(300)[:, None], np.arange(6)[None, :], 0, place, 0] = 1
    return split("moving", x[:240], y[:240], x[240:], y[240:], layout="NTHWC")


def test_views_of_rasters_are_rasters_shifted_alike_in_all_timesteps(moving: Dataset):
    made = Augmenter().kept(moving.x_train, np.random.default_rng(0))
    assert set(np.unique(made)) == {0, 1} and made.shape == moving.x_train.shape and (made != moving.x_train).any()
    for before, after in zip(moving.x_train[:50], made[:50], strict=True):
        padded = np.pad(before[:, 0, :, 0], ((0, 0), (2, 2)))
        assert any((after[:, 0, :, 0] == padded[:, k : k + 12]).all() for k in range(5))


def test_an_ensemble_learns_rasters_and_its_cascade_ends_over_students_and_timesteps(moving: Dataset):
    config = TrainConfig(
        students=2, body=Body((8, 8), (5, 3), (1, 2)), views=1, teacher_epochs=20, early="margin", max_drop=3.0,
        recipe=Recipe(joint=14, rounded=2, batch=32, rate=2e-2, each=0.5, spikes=0.0), vectors=16,
    )  # fmt: skip
    made = train(config, dataset=moving)
    assert made.encoder.kind == "events" and made.encoder.timesteps == 6
    told = made.provenance["integer"]["test"]
    assert told[-1]["accuracy"] > 0.6, told
    assert made.policy.early and told[-1]["operations"] < told[-2]["operations"]
    inputs = made.encoder.encode(moving.x_test)
    whole = ActivationPolicy("all")
    one, other = (
        engine.run(inputs, whole, None).values for engine in (ReferenceEngine(made), HostEngine(HostModel(made)))
    )
    assert all((one[key] == other[key]).all() for key in ("logits", "synaptic_ops", "label"))


def test_counts_of_events_are_refused_before_anything_learns(moving: Dataset):
    counts = replace(moving, x_train=2 * moving.x_train)
    with pytest.raises(SneError, match="counts of events"):
        train(TrainConfig(), dataset=counts)
