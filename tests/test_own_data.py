"""Data of one's own, as people keep them: what a model was told of a file when it was trained, it knows later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from command_line import called

from sne_edge.data.dataset import split
from sne_edge.errors import SneError

QUICK = [
    "--students",
    "1",
    "--channels",
    "4",
    "--kernels",
    "3",
    "--strides",
    "2",
    "--epochs",
    "2",
    "--executor",
    "inline",
]


@pytest.fixture(scope="module")
def signals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight channels of eight places, which may be eight places of eight channels; a class in fifty is rare."""
    folder = tmp_path_factory.mktemp("signals")
    rng = np.random.default_rng(0)
    y = (np.arange(400) % 50 == 0).astype(np.int64)
    x = rng.normal(size=(400, 8, 8)).astype(np.float32)
    np.savez(folder / "sq.npz", x_train=x, y_train=y)
    done = called("train", "--data", folder / "sq.npz", "--layout", "NCL", *QUICK, "-o", folder / "sq.sne")
    assert done.returncode == 0, done.stderr
    return folder


def test_a_layout_that_was_stated_in_training_is_known_afterwards(signals: Path) -> None:
    for command in (["eval", signals / "sq.sne"], ["calibrate", signals / "sq.sne", "-o", signals / "again.sne"]):
        done = called(*command, "--data", signals / "sq.npz")
        assert done.returncode == 0, done.stderr
    x = np.load(signals / "sq.npz")
    np.savez(signals / "long.npz", x_train=x["x_train"][:, :, :5], y_train=x["y_train"])
    other = called("eval", signals / "sq.sne", "--data", signals / "long.npz")
    assert other.returncode == 1 and "does not fit" in other.stderr


def test_a_model_that_names_the_commonest_class_is_told_of_by_eval(signals: Path) -> None:
    done = called("eval", signals / "sq.sne", "--data", signals / "sq.npz")
    assert "where the commonest class makes 9" in done.stderr


@pytest.mark.parametrize(
    ("labels", "hint"),
    [
        (np.eye(3)[np.arange(90) % 3], "argmax(1)"),
        (np.array(["cat", "dog", "owl"])[np.arange(90) % 3], "return_inverse=True"),
        ((np.arange(90) % 3).astype(float), "return_inverse=True"),
        (np.arange(90) % 3 + 1, "take 1 off"),
        (np.array([0, 2])[np.arange(90) % 2], "label every class 0, 1, 2"),
    ],
    ids=["one-hot", "words", "floats", "from one", "a gap"],
)
def test_labels_of_another_kind_are_told_how_to_become_whole_numbers(labels: np.ndarray, hint: str) -> None:
    with pytest.raises(SneError) as refused:
        split("mine", np.random.default_rng(0).normal(size=(90, 6)), labels)
    assert hint in refused.value.hint


def test_a_model_that_is_given_twice_makes_no_ensemble(signals: Path) -> None:
    twice = [signals / "sq.sne", signals / "sq.sne"]
    done = called("ensemble", *twice, "--data", signals / "sq.npz", "-o", signals / "both.sne")
    assert done.returncode == 1 and "given twice" in done.stderr and not (signals / "both.sne").exists()
