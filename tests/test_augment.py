"""Augmentation in words: options and settings; a wrong word ends before any work."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from augmented import CONFIG, signals
from command_line import called
from hypothesis import given, settings
from hypothesis import strategies as st

from sne_edge.data.dataset import Dataset
from sne_edge.errors import SneError
from sne_edge.learn.augmentation import LIGHT, NONE, STRENGTHS, Augmentation, parse
from sne_edge.learn.recipe import Recipe
from sne_edge.pipeline import settings as files_of_settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.presets import preset

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning"),  # of how little is learnt in an epoch
]


@pytest.mark.examines(words=200)
def test_a_word_says_the_augmentation(examined: Counter[str]):
    strengths = {
        name: st.one_of(
            st.just(0),
            st.integers(0, int(top)) if name == "shift" else st.floats(0, top),
        )
        for name, (top, _) in STRENGTHS.items()
    }
    owns = st.sampled_from([None, "own.py:f", "a folder/own.py:f"])

    @settings(max_examples=300, deadline=None, database=None)
    @given(st.builds(Augmentation, **strengths, mirror=st.sampled_from([None, True, False]), flip=st.booleans(),
                     own=owns))  # fmt: skip
    def says(how: Augmentation) -> None:
        assert parse(how.word) == how
        examined["words"] += 1

    says()
    assert [how.word for how in (LIGHT, NONE)] == ["light", "none"] and parse("light") == LIGHT


WRONG = {
    "mirorr": "did you mean mirror",
    "ligth": "did you mean light",
    "nonne": "did you mean none",
    "hflip": "did you mean mirror",
    "RandomErasing": "did you mean erase",
    "jitter=0.1": "did you mean noise",
    "": "give light",
    "shift": "shift=4",
    "shift=": "whole number",
    "shift=two": "whole number",
    "shift=1.5": "whole number",
    f"shift={'9' * 5000}": "whole number",
    "shift=65": "0 to 64",
    "shift=-1": "0 to 64",
    "scale=nan": "a number",
    "scale=1e400": "a number",
    "erase=2": "0 to 0.9",
    "mirror=1": "write mirror alone",
    "light=1": "write light alone",
    "none,shift=2": "none alone",
    "shift=2,shift=3": "once",
    "shift=2,": "give light",
    "own.py": "own.py:NAME",
    "own.py:1x": "NAME",
    "nowhere.py:f": "FILE.py:NAME",
}


@pytest.mark.parametrize("word", WRONG, ids=lambda word: word[:20] or "empty")
def test_a_wrong_word_ends_before_any_work(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sne_edge.data.dataset.load_dataset", lambda *a, **o: pytest.fail("work began"))
    done = called("train", "-o", "made.sne", "--augment", word, cwd=tmp_path)
    assert done.returncode and done.stderr.startswith("error: ") and done.stderr.count("error:") == 1
    assert WRONG[word] in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    assert len(done.stderr) < 700 and not list(tmp_path.iterdir())


def test_options_of_views_that_say_nothing_are_refused(tmp_path: Path):
    for words in (("--reach", "3"), ("--anew", "--augment", "none", "--reach", "3"), ("--views", "0")):
        done = called("train", "-o", "made.sne", *words, cwd=tmp_path)
        assert done.returncode and words[-2] in done.stderr and not list(tmp_path.iterdir())


def test_settings_hold_an_augmentation_as_a_table_or_a_word(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('augmentation = "shift=4,mirror"\n', encoding="utf-8")
    assert files_of_settings.read(path) == preset("mnist1d", augmentation=parse("shift=4,mirror"))
    path.write_text("[augmentation]\nerase = 0.25\n", encoding="utf-8")
    assert files_of_settings.read(path).augmentation == replace(LIGHT, erase=0.25)
    for word in ("light", "none", "light,crop=0.2", "shift=3,mirror", "own.py:f"):
        config = preset("mnist1d", augmentation=parse(word))
        path.write_text(files_of_settings.write(config), encoding="utf-8")
        assert files_of_settings.read(path) == config
    path.write_text('augmentation = "mirorr"\n', encoding="utf-8")
    with pytest.raises(SneError, match=r"run.toml: there is no augmentation"):
        files_of_settings.read(path)


def file_of(data: Dataset, folder: Path, config: TrainConfig) -> Path:
    """A file of settings in a folder, for data of which a file is made there."""
    x = np.concatenate([data.x_train, data.x_val])[:, 0, :, 0]
    np.savez(folder / "waves.npz", x_train=x, y_train=np.concatenate([data.y_train, data.y_val]))
    path = folder / "settings.toml"
    path.write_text(files_of_settings.write(replace(config, dataset="waves.npz")), encoding="utf-8")
    return path


def test_train_says_what_is_not_the_default_and_its_settings_make_the_model_again(tmp_path: Path):
    quick = file_of(signals(), tmp_path, CONFIG)
    again = "train", "--config", "a.toml", "-o", "b.sne", "--executor", "inline"
    done = called(
        "train", "-o", "a.sne", "--config", quick, "--executor", "inline", "--augment", "none", "--views", "4",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "augmentation: none; each sample is seen once, as it is\n" in done.stderr
    assert called(*again, cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.sne").read_bytes() == (tmp_path / "b.sne").read_bytes()
    settings_of = files_of_settings.read(tmp_path / "a.toml")
    assert settings_of.augmentation == NONE and settings_of.views == 4


@pytest.fixture
def met(monkeypatch: pytest.MonkeyPatch) -> list[TrainConfig]:
    """The settings that `train` was called with, which then trains nothing."""
    found: list[TrainConfig] = []

    def stop(config: TrainConfig, *rest: object, **named: object) -> None:
        found.append(config)
        raise SneError("far enough", "stop")

    monkeypatch.setattr("sne_edge.pipeline.train.train", stop)
    return found


def test_nothing_is_said_of_the_default_and_options_of_views_reach_the_settings(tmp_path: Path, met: list[TrainConfig]):
    plain = file_of(signals(), tmp_path, replace(CONFIG, recipe=Recipe()))
    options = ("--config", plain, "--views", "5", "--anew", "--augment", "light,shift=5", "--reach", "6")
    assert "augmentation: light,shift=5\n" in called("train", "-o", "a.sne", *options, cwd=tmp_path).stderr
    assert (met[0].views, met[0].recipe.anew, met[0].recipe.reach) == (5, True, 6)
    far = file_of(signals(), tmp_path, replace(CONFIG, recipe=Recipe(anew=True, reach=9)))
    called("train", "-o", "a.sne", "--config", far, "--augment", "shift=3", cwd=tmp_path)
    assert met[1].recipe.reach is None and met[1].augmentation.shift == 3  # the option goes before the file
    done = called("train", "-o", "a.sne", "--config", far, "--no-anew", cwd=tmp_path)
    assert "augmentation" not in done.stderr and met[2].recipe == replace(met[1].recipe, anew=False, reach=9)


def test_options_of_a_students_convolutions_and_of_who_answers_reach_the_settings(
    tmp_path: Path, met: list[TrainConfig]
):
    live = file_of(signals(), tmp_path, replace(CONFIG, recipe=Recipe(anew=True, live=True)))
    for options in (
        ("--channels", "4,6", "--kernels", "5,3", "--strides", "2"),
        ("--channels", "4,6,8,10", "--kernels", "3", "--strides", "1,2,1,2"),
        ("--no-live",), ("--no-anew",), ("--anew",),
    ):  # fmt: skip
        assert "far enough" in called("train", "-o", "a.sne", "--config", live, *options, cwd=tmp_path).stderr
    bodies = [(made.body.channels, made.body.kernels, made.body.strides) for made in met]
    assert bodies[:2] == [((4, 6), (5, 3), (2, 2)), ((4, 6, 8, 10), (3, 3, 3, 3), (1, 2, 1, 2))]
    assert [(made.recipe.anew, made.recipe.live) for made in met[2:]] == [(True, False), (False, False), (True, True)]
    done = called("train", "-o", "a.sne", "--config", live, "--channels", "4,6,8,9,9", cwd=tmp_path)
    assert "--kernels" in done.stderr and len(met) == 5
