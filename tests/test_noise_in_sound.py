"""Noise in recordings: networks of sound learn under noise that the front end hears, and choose by clean sound."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sne_edge.data import corruptions
from sne_edge.data.corruptions import DEEPER, LIGHTEST, SEVERITIES, SNRS, babble, random_noise
from sne_edge.data.dataset import Dataset, divide
from sne_edge.data.raw import Raw
from sne_edge.errors import SneError
from sne_edge.ir.frontend import LogMel
from sne_edge.ir.layout import OWN
from sne_edge.learn.augmentation import NONE
from sne_edge.learn.heard import CLEAN, Heard
from sne_edge.learn.networks import build_teacher
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.teacher import fine_tune
from sne_edge.learn.views import Augmenter, views
from sne_edge.pipeline import cnn, stages
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import divide_features, find_teacher, train
from sne_edge.study import noise as study

FRONTEND = LogMel(window=128, hop=128, bands=8, frames=8)
LENGTH = FRONTEND.samples
COUNT = 96
CONFIG = TrainConfig(
    body=Body((4,), (5,), (2,)), recipe=Recipe(joint=1, rounded=1, batch=32), teacher_epochs=1, views=3, students=2,
    timesteps=1, noise=2.0, scheme="random",
)  # fmt: skip
pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning"),  # of how little is learnt in an epoch
]


def raw() -> Raw:
    """Recordings of a tone each, number n of 8 + n waves in all: what is heard of one is in a place of its own in the
    spectrum. The first of them are silent, and nothing is heard of these."""
    place = np.arange(LENGTH) / LENGTH
    audio = 1000 * np.sin(2 * np.pi * (8 + np.arange(COUNT)[:, None]) * place)
    audio[:3] = 0
    audio = np.rint(audio).astype(np.int16)
    frontend = FRONTEND.fitted(audio)
    return Raw(
        frontend.apply(audio).astype(np.float32), np.arange(COUNT) % 3, frontend=frontend, audio=audio, layout=OWN
    )


@pytest.fixture(scope="module")
def data() -> Dataset:
    return divide("tones", raw(), 0)


def tones(audio: np.ndarray) -> np.ndarray:
    """Which of the recordings of `raw` are in sound [N, samples], bool [N, COUNT]."""
    power = np.abs(np.fft.rfft(audio.astype(np.float64))[:, 8 : 8 + COUNT]) / LENGTH
    found: np.ndarray = power > 1
    return found


def numbers(audio: np.ndarray) -> set[int]:
    """Of the recordings of `raw`, those that are not silent."""
    heard = tones(audio)
    assert (heard.sum(axis=1) <= 1).all()
    return set(heard.nonzero()[1].tolist())


def test_the_recordings_of_each_part_are_those_that_its_samples_were_made_of(data: Dataset):
    own = raw()
    apart = divide("apart", replace(own, x_test=own.x[:20], y_test=own.y[:20], audio_test=own.audio[:20]), 1)
    for found in (data, apart):
        assert found.frontend is not None and len(found.audio_train) == len(found.x_train) > 50
        assert np.array_equal(found.frontend.apply(found.audio_train), found.x_train)
        assert np.array_equal(found.frontend.apply(found.audio_test), found.x_test)
    assert not numbers(data.audio_train) & numbers(data.audio_test)
    silent = divide("no sound", Raw(np.random.default_rng(0).normal(size=(30, 8)), np.arange(30) % 2), 0)
    assert silent.audio_train.shape == (0, 0) and Heard.of(silent, 2.0) is None


@pytest.mark.examines(recordings=1800)
@pytest.mark.parametrize("severity", [2.0, 5.0])
def test_each_recording_meets_white_noise_or_babble_at_a_ratio_drawn_evenly(severity: float, examined: Counter[str]):
    audio = raw().audio[3:]
    rows = np.tile(np.arange(len(audio)), 20)
    noisy = random_noise(audio, rows, severity, np.random.default_rng(0))
    noise = noisy.astype(np.float64) - audio[rows]
    power = (audio[rows].astype(np.float64) ** 2).mean(axis=1)
    ratio = np.sort(10 * np.log10(power / (noise**2).mean(axis=1)))
    deepest = LIGHTEST - DEEPER * severity
    assert deepest - 0.2 < ratio[0] and ratio[-1] < LIGHTEST + 0.2
    expected = np.linspace(deepest, LIGHTEST, len(ratio))
    assert np.abs(ratio - expected).max() < 0.05 * DEEPER * severity
    spectrum = np.abs(np.fft.rfft(noise)) ** 2
    few = np.sort(spectrum, axis=1)[:, -corruptions.TALKERS :].sum(axis=1) > 0.9 * spectrum.sum(axis=1)
    assert 0.46 < few.mean() < 0.54  # babble is of a few tones
    examined["recordings"] += len(rows)


def test_the_highest_severity_reaches_the_worst_that_is_tried():
    assert (SNRS[0], SNRS[-1]) == (LIGHTEST, LIGHTEST - DEEPER * SEVERITIES[-1])


@pytest.mark.examines(recordings=200, talkers=1500)
def test_babble_is_of_other_training_recordings_alone(
    data: Dataset, monkeypatch: pytest.MonkeyPatch, examined: Counter[str]
):
    monkeypatch.setattr(corruptions, "NOISES", {"babble": babble})
    said: list[np.ndarray] = []
    monkeypatch.setattr(LogMel, "apply", lambda self, audio: said.append(audio) or np.zeros((len(audio), *self.shape)))
    heard = Heard.of(data, 5.0)
    assert heard is not None
    for seed in range(4):
        heard.view(np.random.default_rng(seed))
    own, allowed = tones(data.audio_train), np.zeros(COUNT, bool)
    allowed[sorted(numbers(data.audio_train))] = True
    quiet = ~own.any(axis=1)
    assert quiet.any() and not said[0][quiet].any()  # silence has no power to hold noise against
    for noisy in said:
        noise = noisy[~quiet].astype(np.float64) - data.audio_train[~quiet]
        talkers = np.abs(np.fft.rfft(noise)[:, 8 : 8 + COUNT]) / LENGTH > 1
        assert not (talkers & own[~quiet]).any() and not talkers[:, ~allowed].any()
        examined["recordings"] += len(noise)
        examined["talkers"] += int(talkers.sum())


def test_a_view_is_what_the_front_end_makes_of_a_noisy_recording_and_the_first_is_clean(
    data: Dataset, monkeypatch: pytest.MonkeyPatch
):
    heard, apply = Heard.of(data, 2.0), LogMel.apply
    assert heard is not None and data.frontend is not None
    said: list[np.ndarray] = []
    monkeypatch.setattr(LogMel, "apply", lambda self, audio: said.append(audio.copy()) or apply(self, audio))
    made = views(data.x_train, 4, 0, NONE, 2.0, heard=heard)
    assert made.dtype == np.float32 and np.array_equal(made[0], data.x_train) and len(said) == 3
    sounds = data.audio_train.any(axis=1)
    for view, audio in zip(made[1:], said, strict=True):
        assert np.array_equal(view, apply(data.frontend, audio))  # nothing is added to its values
        assert (audio != data.audio_train)[sounds].any(axis=1).all() and audio.dtype == np.int16
    again = views(data.x_train, 4, 0, NONE, 2.0, heard=Heard.of(data, 2.0))
    assert np.array_equal(made, again) and not np.array_equal(made[1], made[2])
    assert not np.array_equal(made, views(data.x_train, 4, 1, NONE, 2.0, heard=heard))
    light = views(data.x_train, 4, 0, noise=2.0, heard=heard)
    assert np.array_equal(light[0], data.x_train) and not np.array_equal(light[1], made[1])


@pytest.mark.examines(recordings=1900)
def test_of_a_batch_an_eighth_stays_clean(data: Dataset, examined: Counter[str]):
    heard = Heard.of(data, 5.0)
    assert heard is not None
    rows = np.tile(np.flatnonzero(data.audio_train.any(axis=1)), 30)
    made = heard.batch(rows, np.random.default_rng(0))
    same = (made == data.x_train[rows]).all(axis=(1, 2, 3))
    assert made.dtype == np.float32 and abs(same.mean() - CLEAN) < 0.03
    assert np.array_equal(made, heard.batch(rows, np.random.default_rng(0)))
    assert np.array_equal(heard.batch(rows[:1], np.random.default_rng(3)).shape[1:], data.x_train.shape[1:])
    examined["recordings"] += len(rows)


def test_everyone_who_learns_under_noise_hears_it_in_the_sound(
    data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    met: Counter[str] = Counter()
    noise: list[float] = []
    view, batch, init = Heard.view, Heard.batch, Augmenter.__init__

    def started(self, how, n=0.0, heard=None):
        init(self, how, n, heard)
        noise.append(self.noise)

    monkeypatch.setattr(Heard, "view", lambda self, *a: met.update(["view"]) or view(self, *a))
    monkeypatch.setattr(Heard, "batch", lambda self, *a: met.update(["batch"]) or batch(self, *a))
    monkeypatch.setattr(Augmenter, "__init__", started)

    def told() -> dict[str, int]:
        found = dict(met)
        met.clear()
        return found

    batches = -(-len(data.x_train) // 128)
    net = find_teacher(CONFIG, data)
    assert told() == {"batch": batches}
    divide_features(CONFIG, net, data)
    assert told() == {"view": CONFIG.views - 1}
    fine_tune(build_teacher("small", data.shape, 3), data, epochs=1, noise=2.0)
    assert told() == {"batch": batches}
    design = cnn.baseline.student_design(CONFIG.body)
    learnt = cnn.find_cnn(CONFIG, data, design, net, tmp_path)
    assert told() == {"view": CONFIG.views - 1}
    kept = cnn.find_cnn(CONFIG, data, design, net, tmp_path)
    assert told() == {}  # views are not made again for one that is kept
    assert all(
        np.array_equal(a, b) for a, b in zip(learnt.state_dict().values(), kept.state_dict().values(), strict=True)
    )
    live = replace(CONFIG, recipe=replace(CONFIG.recipe, live=True))
    made = train(live, dataset=data)
    found = told()
    assert found["view"] == CONFIG.views - 1 and found["batch"] > batches  # students' batches beside the teacher's
    assert made.provenance["config"]["noise"] == 2.0 and set(noise) == {0.0}
    train(replace(CONFIG, noise=0.0), dataset=data)
    assert told() == {}


def test_margins_are_chosen_on_clean_recordings(data: Dataset, monkeypatch: pytest.MonkeyPatch):
    made: list[bytes] = []
    calibrate = stages.calibrate
    monkeypatch.setattr(stages, "calibrate", lambda e, x, *a, **o: made.append(x.tobytes()) or calibrate(e, x, *a, **o))
    for noise in (0.0, 5.0):
        train(replace(CONFIG, noise=noise, augmentation=NONE), dataset=data)
    assert len(made) == 2 and made[0] == made[1]


def test_noise_without_recordings_to_add_it_to_is_refused(data: Dataset):
    without = replace(data, audio_train=data.audio_train[:0])
    with pytest.raises(SneError, match="0 recordings"):
        train(CONFIG, dataset=without)
    assert Heard.of(without, 0.0) is None


def test_the_study_says_what_noise_networks_learnt_under(data: Dataset):
    assert "from 30 down to 18 dB" in study._learnt_under(data)
    assert "in the values" in study._learnt_under(replace(data, frontend=None))
