"""Studies on a small data set: what they train is kept, what they write can be read; corruptions and the int8 CNN."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sne_edge.cli import run
from sne_edge.data.corruptions import CORRUPTIONS, NOISES, SEVERITIES, SNRS, add_noise, corrupt
from sne_edge.errors import SneError
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.learn.distill import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline import presets, settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.study import guarantee, jobs, studies
from sne_edge.study import lab as study
from sne_edge.study.noise import conditions_of
from sne_edge.study.table import command, table_key


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> study.Lab:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(400, 16))
    folder = tmp_path_factory.mktemp("study")
    np.savez(folder / "waves.npz", x_train=x, y_train=y)
    small = TrainConfig(
        body=Body((4, 4), (5, 3), (2, 2)), recipe=Recipe(joint=4, rounded=1, batch=64), teacher_epochs=3, views=2,
        students=2, timesteps=3, scheme="contiguous",
    )  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(presets, "OWN", small)
        patch.setattr(study, "WIDTHS", (0.5, 1.0))
        patch.setattr(studies, "TIMESTEPS", (1, 3))
        patch.setattr(studies, "TARGETS", (0.1,))
        patch.setattr(guarantee, "TRIALS", 20)
        patch.setattr(guarantee, "PROMISED", (2.0, 5.0))
        yield study.Lab(str(folder / "waves.npz"), (0, 1), folder / "cache", executor="inline")


@pytest.mark.parametrize("name", ["ensemble", "cascade", "noise", "baselines", "timesteps", "guarantee"])
def test_a_study_writes_a_table_of_means_and_spreads_and_trains_nothing_twice(
    name: str, lab: study.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    table = studies.run_study(name, replace(lab, dataset=lab.dataset), tmp_path)
    files = sorted(p.name for p in tmp_path.rglob("*") if p.is_file())
    assert files == [f"{name}-waves{end}" for end in (".json", ".md", ".png") if end != ".png" or table.picture]
    plain = tmp_path / "plain"
    plain.touch()
    assert {p.stat().st_mode for p in tmp_path.rglob("*") if p.is_file()} == {plain.stat().st_mode}
    text = (tmp_path / f"{name}-waves.md").read_text()
    assert text.count("\n|") == len(table.rows) + 2 and "±" in text and "Seeds 0, 1" in text
    record = json.loads((tmp_path / f"{name}-waves.json").read_text())
    assert record["rows"] == json.loads(json.dumps(table.rows)) and record["seeds"] == [0, 1]
    monkeypatch.setattr(jobs, "train", None)  # another run reads what this one kept
    again = studies.run_study(name, lab, tmp_path)
    assert again.rows == table.rows


def test_settings_of_ones_own_are_studied_in_the_presets_place(
    lab: study.Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    mine = replace(presets.OWN, dataset=lab.dataset, students=1, timesteps=2)
    (tmp_path / "mine.toml").write_text(settings.write(mine))
    monkeypatch.setattr("sne_edge.learn.teacher.default_cache", lambda: lab.cache)
    monkeypatch.chdir(tmp_path)
    given = ["study", "ensemble", "--config", "mine.toml", "--seeds", "0", "--executor", "inline", "-o", "made"]
    assert run(given) == 0
    record = json.loads(Path("made/ensemble-mine.json").read_text())
    assert [row[0] for row in record["rows"][2:]] == ["1 student"]
    assert record["command"] == "sne-edge study ensemble --config mine.toml --seeds 0"
    elsewhere = replace(lab, settings=replace(mine, dataset="mnist1d"), source="mine.toml")
    assert command(
        "ensemble", elsewhere
    ) == "sne-edge study ensemble --config mine.toml --data mnist1d --seeds 0,1".replace("mnist1d", lab.dataset)
    assert elsewhere.label == "waves" and replace(elsewhere, dataset="mnist1d").label == "mine"
    assert len({table_key("ensemble", replace(lab, settings=own)) for own in (None, mine, replace(mine, noise=1))}) == 3
    capsys.readouterr()
    assert run(["study", "all", *given[2:]]) == 1
    assert "error: all studies are of the presets" in capsys.readouterr().err


def test_large_students_are_held_against_the_cascade_as_they_end_early(lab: study.Lab):
    rows = {row[0]: row[2] for row in studies.STUDIES["baselines"](lab).rows}  # operations by seed
    for measured in ("weights", "operations"):
        large = f"one large student, as many {measured}"
        once, early, whole = rows[f"{large}, after one timestep"], rows[f"{large}, ending early"], rows[large]
        assert all(a <= b <= c and a < c for a, b, c in zip(once, early, whole, strict=True))
    assert all(a <= b for a, b in zip(rows["its cascade, ending early"], rows["its cascade"], strict=True))
    still = replace(lab, seeds=(0,), changes={"timesteps": 1})
    assert not any("early" in row[0] or "timestep" in row[0] for row in studies.STUDIES["baselines"](still).rows)


def test_figures_of_fewer_timesteps_are_not_those_of_all(lab: study.Lab):
    held = lab.held(0)
    found = [held.figures(ActivationPolicy("all", timesteps=steps)).operations for steps in (0, 1)]
    assert 0 < found[1] < found[0]


def test_what_was_measured_by_other_code_is_measured_again(lab: study.Lab, monkeypatch: pytest.MonkeyPatch):
    made: list[int] = []

    def measure() -> int:
        made.append(len(made))
        return len(made)

    assert [lab.remember(("key",), measure) for _ in range(2)] == [1, 1]
    monkeypatch.setattr(study, "digest", lambda *places: "other code")
    assert [lab.remember(("key",), measure) for _ in range(2)] == [2, 2]


def test_partitions_are_compared_at_every_number_of_students_and_in_both_ways_of_teaching(lab: study.Lab):
    table = studies.STUDIES["partition"](replace(lab, schemes=("random", "whole")))
    assert [row[1] for row in table.rows] == ["random", "whole"] * 2
    assert len({row[0] for row in table.rows}) == 2 and all(len(row) == len(table.columns) == 5 for row in table.rows)


@pytest.mark.parametrize(("accuracy", "cost"), [(0.5, 10), (0.8, 10), (0.85, 15), (0.9, 20), (0.99, 40)])
def test_the_cost_of_a_fixed_number_is_linear_between_numbers(accuracy: float, cost: float):
    assert studies.cost_at(accuracy, np.array([0.8, 0.9, 0.9]), np.array([10, 20, 40])) == pytest.approx(cost)


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


@pytest.fixture
def recordings() -> np.ndarray:
    """Sixteen tones of half a second and another half of silence."""
    rng = np.random.default_rng(0)
    time = np.arange(2000) / 8000
    tones = 3000 * np.sin(2 * np.pi * rng.uniform(200, 2000, size=(16, 1)) * time)
    return np.pad(tones, ((0, 0), (0, 2000))).astype(np.int16)


@pytest.mark.parametrize("kind", sorted(NOISES))
def test_noise_has_the_ratio_to_the_sound_that_was_asked_for(kind: str, recordings: np.ndarray):
    for snr in SNRS:
        noisy = add_noise(kind, recordings, snr)
        assert noisy.dtype == np.int16 and np.array_equal(noisy, add_noise(kind, recordings, snr))
        noise = noisy.astype(np.float64) - recordings
        power = (recordings[:, :2000].astype(np.float64) ** 2).mean(axis=1)
        assert 10 * np.log10(power / (noise**2).mean(axis=1)) == pytest.approx(snr, abs=0.1)
    assert np.abs(noise[:, 2000:]).max() > 0, "silence is noisy, too"


def test_babble_is_other_recordings_and_never_the_recording_itself(recordings: np.ndarray):
    noise = add_noise("babble", recordings, 0).astype(np.float64) - recordings
    spectra, own = np.abs(np.fft.rfft(noise[:, :2000])), np.abs(np.fft.rfft(recordings[:, :2000].astype(np.float64)))
    peaks = own.argmax(axis=1)
    heard = spectra[:, peaks] > 0.1 * spectra.max(axis=1, keepdims=True)  # [recording, whose tone]
    assert not heard.diagonal().all() and (heard.sum(axis=1) >= 3).all()


def test_noise_on_silence_or_one_recording_alone_is_defined():
    assert not add_noise("babble", np.zeros((3, 100), np.int16), 10).any()
    assert add_noise("white", np.full((1, 100), 20000, np.int16), 0).max() == 2**15 - 1
    assert add_noise("babble", np.full((1, 100), 100, np.int16), 0).shape == (1, 100)
    with pytest.raises(SneError, match="no noise"):
        add_noise("wind", np.zeros((1, 4), np.int16), 10)


def test_sound_is_made_noisy_before_the_front_end(lab: study.Lab):
    from sne_edge.data.dataset import Dataset
    from sne_edge.ir.frontend import LogMel

    x = np.zeros((2, 1, 4, 2), np.float32)
    sound = Dataset("s", x, np.zeros(2), x, np.zeros(2), x, np.zeros(2), ("0", "1"), LogMel())
    assert list(conditions_of(sound))[:2] == [("none: accuracy, %", ""), ("white", "30 dB")]
    assert len(list(conditions_of(sound))) == 1 + len(NOISES) * len(SNRS)
    assert len(list(conditions_of(lab.data(0)))) == 1 + len(CORRUPTIONS) * len(SEVERITIES)
