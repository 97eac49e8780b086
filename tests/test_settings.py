"""Training settings as files: what is written is read again, and what is wrong in one is named."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from sne_edge.errors import SneError
from sne_edge.learn.student import Body
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.presets import PRESETS, preset


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_written_is_read_again(name: str, tmp_path: Path):
    for config in (
        PRESETS[name],
        preset(
            name, scheme="random", minutes=1.5, name="mine", seed=7, body=Body((4,), (3,), (1,), (9, 8), 2, 4, True)
        ),
        preset(name, teacher='C:\\a "b"\n.onnx', features="f", logits="l"),
    ):
        path = tmp_path / "run.toml"
        path.write_text(settings.write(config), encoding="utf-8")
        assert settings.read(path) == config


def test_what_a_file_leaves_out_is_the_presets(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('dataset = "fsdd"\n[recipe]\njoint = 3\n', encoding="utf-8")
    fsdd = PRESETS["fsdd"]
    assert settings.read(path) == replace(fsdd, recipe=replace(fsdd.recipe, joint=3))
    path.write_text("", encoding="utf-8")
    assert settings.read(path) == PRESETS["mnist1d"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("scheme = ", "is no TOML file"),
        ("shceme = 'random'", "no setting 'shceme'"),
        ("[recipe]\nepochs = 3", "no setting 'epochs' in .recipe."),
        ("students = 'four'", r"[Ee]xpected .*int.*students"),
        ("recipe = 3", "recipe is a table"),
        ("students = 77", "training setting is out of range"),
        ("scheme = 'best'", "no partition scheme"),
        ("dataset = 3", r"[Ee]xpected .*str.*dataset"),
        ("[body]\nchannels = [8, -1, 3]", "sizes are"),
        ("[recipe]\nbatch = 0", "recipe is out of range"),
        ("seed = 99999999999999999999999999", "seed"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(text: str, words: str, tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SneError, match=words) as caught:
        settings.read(path)
    assert caught.value.hint


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(SneError, match="cannot read"):
        settings.read(tmp_path / "none.toml")


def test_options_go_before_a_file():
    config = TrainConfig(students=3)
    assert settings.changed(config, students=None, seed=4) == replace(config, seed=4)
