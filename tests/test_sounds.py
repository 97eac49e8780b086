"""Recordings of one's own: folders of WAV files of any rate, width, channels and length, from files to a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from command_line import called
from scipy.io import wavfile

from sne_edge.data import origin, sounds
from sne_edge.data.dataset import load_dataset
from sne_edge.data.places import held_out
from sne_edge.data.unknown import load_unknown
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load
from sne_edge.ir.frontend import LogMel
from sne_edge.pipeline.presets import OWN, PRESETS, preset

CLASSES = ("high", "low", "rising")


def tone(kind: str, seconds: float, rate: int, seed: int = 0) -> np.ndarray:
    """A sound of a class, float64 [n] in -1..1, in a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    pitch = {"high": 1500 + 0 * t, "low": 400 + 0 * t, "rising": 400 + 1100 * t / seconds}[kind]
    phase = 2 * np.pi * np.cumsum(pitch * rng.uniform(0.9, 1.1)) / rate
    made: np.ndarray = 0.3 * np.sin(phase) + 0.02 * rng.normal(size=len(t))
    return made


def write(path: Path, samples: np.ndarray, rate: int = 16_000, kind: str = "int16") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    if kind == "uint8":
        stored = np.rint(samples * 127 + 128).astype(np.uint8)
    elif kind.startswith("float"):
        stored = samples.astype(kind)
    else:
        stored = np.rint(samples * np.iinfo(kind).max).astype(kind)
    wavfile.write(path, rate, stored)
    return path


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 240 recordings of three classes, of three rates and four widths, mono and stereo."""
    folder, rng = tmp_path_factory.mktemp("data") / "words", np.random.default_rng(0)
    for n in range(240):
        kind, rate = CLASSES[n % 3], int(rng.choice([16_000, 22_050, 44_100]))
        samples = tone(kind, rng.uniform(0.3, 0.6), rate, n)
        stored = str(rng.choice(["uint8", "int16", "int32", "float32"]))
        write(folder / kind / f"{n}.wav", np.stack([samples] * 2, axis=1) if n % 2 else samples, rate, stored)
    return folder


def test_whatever_a_file_is_like_its_sound_is_the_same(tmp_path: Path) -> None:
    frontend, samples = LogMel(16_000, 512, 256, high=8000, frames=30), tone("rising", 0.4, 16_000)
    plain = sounds.recordings(write(tmp_path / "a" / "plain.wav", samples).parent, frontend)[0]
    expected = np.rint(samples * 32767).astype(np.int16)
    assert plain.dtype == np.int16 and (plain[: len(samples)] == expected).all() and not plain[len(samples) :].any()
    for kind, near in (("uint8", 300), ("int32", 2), ("float32", 2), ("float64", 2)):
        path = write(tmp_path / kind / "x.wav", samples, kind=kind)
        assert np.abs(sounds.recordings(path.parent, frontend)[0].astype(int) - plain).max() <= near, kind
    stereo = write(tmp_path / "stereo" / "x.wav", np.stack([2 * samples, 0 * samples], axis=1))
    assert np.abs(sounds.recordings(stereo.parent, frontend)[0].astype(int) - plain).max() <= 2
    faster = write(tmp_path / "faster" / "x.wav", tone("low", 0.4, 48_000), 48_000)
    found = sounds.recordings(faster.parent, frontend)[0].astype(float)
    spectrum = np.abs(np.fft.rfft(found[:6400]))
    assert abs(spectrum.argmax() / 0.4 - 400 * np.random.default_rng(0).uniform(0.9, 1.1)) < 5  # Hz, as it was


def test_of_what_is_longer_than_an_input_the_loudest_part_is_taken(tmp_path: Path) -> None:
    frontend = LogMel(16_000, 512, 256, high=8000, frames=20)
    quiet = 0.01 * np.random.default_rng(0).normal(size=48_000)
    quiet[30_000 : 30_000 + frontend.samples] += tone("high", frontend.samples / 16_000, 16_000)
    (found,) = sounds.recordings(write(tmp_path / "x.wav", quiet).parent, frontend)
    expected = np.rint(quiet * 32767).astype(np.int16)
    start = int(np.argmax([(expected[k : k + frontend.samples] == found).all() for k in range(48_000 - len(found))]))
    assert abs(start - 30_000) < 400 and (expected[start : start + frontend.samples] == found).all()


def test_a_folder_becomes_samples_of_a_front_end_that_suits_it(words: Path) -> None:
    data = load_dataset(words)
    frontend = data.frontend
    assert frontend is not None and data.classes == CLASSES and data.own_test
    assert frontend.rate == 16_000 and frontend.window == 512 and 0.5 < frontend.samples / frontend.rate < 0.7
    assert (
        data.understood == f"{frontend.samples / 16_000:.2f} s of sound at 16 kHz: {frontend.frames} frames of 32 bands"
    )
    assert data.shape == (1, frontend.frames, 32) and len(data.x_train) + len(data.x_val) + len(data.x_test) == 240
    for x, audio in ((data.x_test, data.audio_test), (data.x_train, data.audio_train)):
        assert audio.dtype == np.int16 and (frontend.apply(audio) == x).all()
    assert 0.1 < len(data.x_test) / 240 < 0.3
    slow = words.parent / "slow"
    for n in range(24):
        write(slow / CLASSES[n % 2] / f"{n}.wav", tone(CLASSES[n % 2], 5.0, 4000, n), 4000)
    found = load_dataset(slow).frontend
    assert found is not None and (found.rate, found.window) == (4000, 128) and found.samples / 4000 < 2.1


def test_the_front_end_knows_training_recordings_alone(words: Path, tmp_path: Path) -> None:
    made = []
    for loud in (0.05, 0.9):
        folder = tmp_path / str(loud)
        for n in range(60):
            part, scale = ("test", loud) if n % 4 == 0 else ("train", 0.3)
            write(folder / part / CLASSES[n % 3] / f"{n}.wav", scale * tone(CLASSES[n % 3], 0.4, 16_000, n))
        data = load_dataset(folder)
        assert len(data.x_test) == 15
        made.append(data.frontend)
    assert made[0] == made[1]


def test_a_share_of_each_class_is_held_out_and_a_speaker_never_torn() -> None:
    def held(names: list[str]) -> np.ndarray:
        return held_out([("", name.split("/")[0]) for name in names], names)

    many = [f"{word}/{n}.wav" for word in ("yes", "no") for n in range(2000)]
    large = held(many)
    assert 0.17 < large.mean() < 0.23
    more = [*many, *(f"yes/{n}.wav" for n in range(2000, 2400))]
    assert (held(more)[:4000] == large).all(), "files stay where they are when others come"
    for count in (2, 5, 10, 12, 20, 60):
        for words in (2, 4):
            names = [f"{w}/{count}-{n}.wav" for w in range(words) for n in range(count)]
            labels, test = np.array([name.split("/")[0] for name in names]), held(names)
            shares = [test[labels == str(w)].mean() for w in range(words)]
            assert min(shares) > 0 and max(shares) <= (0.5 if count < 5 else 0.35), (count, shares)
    examined = 0
    for speakers in (2, 3, 5, 8, 40):
        for seed in range(20):
            names = [f"{w}/{seed}s{s}_nohash_{n}.wav" for w in ("a", "b") for s in range(speakers) for n in range(6)]
            who, test = np.array([name.split("/")[1].split("_")[0] for name in names]), held(names)
            assert test.any() and not test.all()
            assert all(len({*test[who == w]}) == 1 for w in {*who})
            examined += 1
    assert examined == 100


def test_other_recordings_go_through_the_models_own_front_end(words: Path, tmp_path: Path) -> None:
    data = load_dataset(words)
    other = tmp_path / "other"
    for n in range(30):
        part = "test" if n % 2 else "train"
        write(other / part / CLASSES[n % 3] / f"{n}.wav", 0.05 * tone(CLASSES[n % 3], 1.5, 8000, n), 8000)
    own = load_dataset(other)
    assert own.frontend != data.frontend and own.shape != data.shape
    record = {"dataset": origin.record(data), "config": {"seed": 0}}
    found, note = origin.load_for(record, data.classes, other, frontend=data.frontend)
    assert found.frontend == data.frontend and found.shape == data.shape and note is not None
    again, nothing = origin.load_for(record, data.classes, words, frontend=data.frontend)
    assert nothing is None and again.fingerprint == data.fingerprint


def test_folders_that_are_no_classes_are_none(tmp_path: Path) -> None:
    for n in range(24):
        write(tmp_path / CLASSES[n % 2] / f"{n}.wav", tone(CLASSES[n % 2], 0.2, 8000, n), 8000)
    write(tmp_path / "_background_noise_" / "hum.wav", tone("low", 3.0, 8000), 8000)
    (tmp_path / "_empty").mkdir()
    data = load_dataset(tmp_path)
    assert data.classes == ("high", "low") and len(data.x_train) + len(data.x_val) + len(data.x_test) == 24
    assert len(sounds.recordings(tmp_path / "_background_noise_", data.frontend)) == 1
    for name in ("training", "Test"):
        write(tmp_path / "parts" / name / "high" / "x.wav", tone("low", 0.1, 8000), 8000)
        write(tmp_path / "flat" / name / "high.1.wav", tone("low", 0.1, 8000), 8000)
    for name, told in (("parts", "holds the parts Test, training"), ("flat", "holds parts, and no classes")):
        with pytest.raises(SneError, match=told):
            load_dataset(tmp_path / name)


def test_classes_are_known_by_name_though_the_names_are_numbers(tmp_path: Path) -> None:
    for name, digits in (("all", "0123"), ("some", "123")):
        for n in range(40):
            digit = digits[n % len(digits)]
            part = "test" if n % 8 > 5 else "train"
            samples = tone("low", 0.2, 8000, n + 100 * len(digits))
            write(tmp_path / name / part / digit / f"{n}.wav", samples, 8000)
    data = load_dataset(tmp_path / "all")
    record = {"dataset": origin.record(data), "config": {"seed": 0}}
    with pytest.raises(SneError, match="class 0 of some is 1, the model's is 0"):
        origin.load_for(record, data.classes, tmp_path / "some", frontend=data.frontend)


def test_what_is_no_folder_of_recordings_is_told(tmp_path: Path, words: Path) -> None:
    def folder(name: str) -> Path:
        for n in range(12):
            write(tmp_path / name / CLASSES[n % 2] / f"{n}.wav", tone("low", 0.1, 8000, n), 8000)
        return tmp_path / name

    broken = folder("broken")
    (broken / "low" / "cut.wav").write_bytes(b"RIFF\x00\x00")
    mixed = folder("mixed")
    (mixed / "low" / "a.png").write_bytes(b"")
    empty = folder("empty")
    (empty / "nothing").mkdir()
    astray = folder("astray")
    write(astray / "x.wav", tone("low", 0.1, 8000))
    odd = folder("odd")
    write(odd / "low" / "nan.wav", np.full(100, np.nan), 8000, "float32")
    loud = folder("loud")
    write(loud / "low" / "loud.wav", 30_000 * tone("low", 0.1, 8000), 8000, "float32")
    none = folder("none")
    write(none / "low" / "none.wav", np.zeros(0), 8000)
    packed = tmp_path / "packed"
    (packed / "low").mkdir(parents=True)
    (packed / "low" / "x.mp3").write_bytes(b"ID3")
    silent = tmp_path / "silent"
    for n in range(12):
        write(silent / CLASSES[n % 2] / f"{n}.wav", np.zeros(4000), 8000)
    cases = {
        broken: ("cut.wav is no readable recording", "ffmpeg"), mixed: ("recordings and images", "keep one"),
        empty: ("the class nothing holds no recordings", "fill"),
        astray: ("x.wav does not lie in CLASS/", "train/CLASS/"),
        packed: ("holds .mp3 files", "ffmpeg"),
        odd: ("nan.wav holds NaN", "remove"), loud: ("loud.wav holds real samples up to", "divide"),
        none: ("none.wav holds 0 samples", "remove"),
        silent: ("nothing but silence", "sound"),
    }  # fmt: skip
    for path, (told, hint) in cases.items():
        with pytest.raises(SneError) as caught:
            load_dataset(path)
        assert told in caught.value.message and hint in caught.value.hint, (path, caught.value.message)
    with pytest.raises(SneError, match="has its own"):
        load_dataset(words, layout="NCL")


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
def test_recordings_become_a_model_that_hears(words: Path, tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    assert preset(str(words)).body == PRESETS["fsdd"].body and preset(str(tmp_path)) == replace(
        OWN, dataset=str(tmp_path)
    )
    model = tmp_path / "words.sne"
    done = called(
        "train", "--data", words, "-o", model, "--students", "2", "--epochs", "25", "--executor", "inline", cwd=tmp_path
    )
    assert done.returncode == 0 and "s of sound at 16 kHz" in done.stderr, done.stderr
    made = load(model)
    told = made.provenance["integer"]["test"][-1]["accuracy"]
    assert told > 0.9 and isinstance(made.frontend, LogMel) and len(made.audio)
    judged = called("eval", model, "--data", words, "--json")
    assert json.loads(judged.stdout)[-1]["accuracy"] == pytest.approx(told, abs=1e-4)
    for n in range(6):
        write(tmp_path / "noise" / f"{n}.wav", np.random.default_rng(n).normal(size=9000) * 0.1)
    unknown = load_unknown(tmp_path / "noise", load_dataset(words))
    assert unknown.shape == (6, *load_dataset(words).shape) and np.abs(unknown).max() <= 127
