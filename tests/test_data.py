"""Data sets: what is split, what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sne_edge.data.dataset import load_dataset, split
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.layout import encoder_layout

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(40, 12)), np.arange(40) % 4


def save(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)
    return path


def test_mnist1d_has_its_standard_sizes_and_validation_comes_out_of_the_training_data():
    data = load_dataset("mnist1d")
    assert data.shape == (1, 40, 1)
    assert (len(data.y_train), len(data.y_val), len(data.y_test)) == (3500, 500, 1000)
    assert data.x_train.dtype == np.float32 and data.y_train.dtype == np.int64
    assert data.classes == tuple("0123456789")


def test_mnist1d_is_the_same_each_time_and_leaves_global_generators_alone():
    state = np.random.get_state()[1].copy()
    first = load_dataset("mnist1d")
    assert (np.random.get_state()[1] == state).all()
    assert first.fingerprint == load_dataset("mnist1d").fingerprint


def test_another_seed_moves_validation_samples_but_never_test_samples():
    one, other = load_dataset("mnist1d", seed=0), load_dataset("mnist1d", seed=1)
    assert one.fingerprint != other.fingerprint
    assert (one.x_test == other.x_test).all()
    assert not np.array_equal(one.x_val, other.x_val)


def test_parts_of_a_split_share_no_sample():
    data = split("own", np.arange(80.0).reshape(40, 2), Y)
    seen = [set(part[:, 0, 0, 0].tolist()) for part in (data.x_train, data.x_val, data.x_test)]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 40


@pytest.mark.parametrize(
    ("shape", "layout", "expected"),
    [
        ((12,), None, (1, 12, 1)),
        ((6, 6), None, (6, 6, 1)),
        ((12, 1), None, (1, 12, 1)),
        ((1, 12), None, (1, 12, 1)),
        ((5, 6, 3), None, (5, 6, 3)),
        ((3, 5, 6), None, (5, 6, 3)),
        ((1, 6, 6), None, (6, 6, 1)),
        ((1, 12, 1), None, (1, 12, 1)),
        ((6, 4), "NHW", (6, 4, 1)),
        ((6, 4), "NCL", (1, 4, 6)),
        ((6, 4), "nlc", (1, 6, 4)),
        ((3, 5, 3), "NCHW", (5, 3, 3)),
    ],
    ids=str,
)
@pytest.mark.parametrize("inside", [True, False])
def test_samples_are_read_in_the_layout_stated_or_that_their_shape_leaves(
    tmp_path: Path, shape: tuple[int, ...], layout: str | None, expected: tuple[int, ...], inside: bool
) -> None:
    x = RNG.normal(size=(40, *shape))
    arrays = {"layout": np.array(layout)} if inside and layout else {}
    path = save(tmp_path / "own.npz", x_train=x, y_train=Y, x_test=x[:8], y_test=Y[:8], **arrays)
    data = load_dataset(path, layout=None if inside else layout)
    assert data.shape == expected and data.name == "own" and len(data.y_test) == 8
    turned = {"NCL": (0, 2, 1), "NCHW": (0, 2, 3, 1)}
    found = layout or {(3, 5, 6): "NCHW", (1, 6, 6): "NCHW"}.get(shape, "")
    last = x.transpose(turned[found]) if found in turned else x
    assert np.array_equal(data.x_test, last[:8].reshape(8, *expected).astype(np.float32))
    assert not layout or layout.upper() in data.understood


@pytest.mark.parametrize("shape", [(64, 6), (6, 64), (3, 5, 3), (64, 6, 9), (1, 64, 6), (2, 3, 2)], ids=str)
def test_a_layout_that_a_shape_leaves_open_is_asked_for(tmp_path: Path, shape: tuple[int, ...]) -> None:
    with pytest.raises(SneError, match="may be N") as caught:
        load_dataset(save(tmp_path / "own.npz", x_train=RNG.normal(size=(40, *shape)), y_train=Y))
    assert "--layout" in caught.value.hint and "own.npz" in caught.value.message


def test_a_models_input_says_how_samples_for_it_lie(tmp_path: Path) -> None:
    x = RNG.normal(size=(40, 6, 64))
    path = save(tmp_path / "own.npz", x_train=x, y_train=Y)
    for shape, axes in (((1, 64, 6), (0, 2, 1)), ((6, 64, 1), (0, 1, 2))):
        data = load_dataset(path, finder=encoder_layout(Encoder("direct", shape, 4)))
        assert data.shape == shape
        whole = np.concatenate([data.x_train, data.x_val, data.x_test])
        mine = x.transpose(axes).reshape(40, *shape).astype(np.float32)
        assert {row.tobytes() for row in whole} == {row.tobytes() for row in mine}
    with pytest.raises(SneError, match="does not fit inputs"):
        load_dataset(path, finder=encoder_layout(Encoder("direct", (1, 63, 6), 4)))


def test_rasters_of_events_have_timesteps_in_their_layout(tmp_path: Path) -> None:
    x = (RNG.random((40, 7, 2, 3, 5)) < 0.5).astype(np.uint8)
    data = load_dataset(save(tmp_path / "own.npz", x_train=x, y_train=Y, layout=np.array("NTCHW")))
    assert data.shape == (3, 5, 2) and data.x_train.shape[1:] == (7, 3, 5, 2) and data.layout == "NTHWC"
    whole = np.concatenate([data.x_train, data.x_val, data.x_test]).astype(np.uint8)
    assert {row.tobytes() for row in whole} == {row.tobytes() for row in np.moveaxis(x, 2, -1)}


def test_an_npz_without_test_samples_holds_some_out(tmp_path: Path):
    data = load_dataset(save(tmp_path / "own.npz", x_train=X, y_train=Y))
    assert (len(data.y_train), len(data.y_val), len(data.y_test)) == (28, 4, 8)


BAD = {
    "no labels": ({"x_train": X}, "y_train"),
    "half a test set": ({"x_train": X, "y_train": Y, "x_test": X}, "y_test"),
    "unknown names": ({"x_train": X, "y_train": Y, "images": X}, "images"),
    "NaN": ({"x_train": np.where(X > 1, np.nan, X), "y_train": Y}, "NaN"),
    "values past all sums": ({"x_train": X * 1e300, "y_train": Y}, "magnitude"),
    "huge values": ({"x_train": X * 1e30, "y_train": Y}, "magnitude"),
    "too many axes": ({"x_train": X.reshape(40, 1, 3, 2, 2), "y_train": Y}, "x_train"),
    "a layout of other axes": ({"x_train": X, "y_train": Y, "layout": np.array("NCHW")}, "names 4 axes"),
    "a layout that is none": ({"x_train": X, "y_train": Y, "layout": np.array("NX")}, "no layout"),
    "a layout that is a number": ({"x_train": X, "y_train": Y, "layout": np.array(3)}, "layout in"),
    "labels of another length": ({"x_train": X, "y_train": Y[:39]}, "y_train"),
    "float labels": ({"x_train": X, "y_train": Y * 1.0}, "y_train"),
    "negative labels": ({"x_train": X, "y_train": Y - 1}, "labels"),
    "a class without samples": ({"x_train": X, "y_train": Y * 2}, "classes"),
    "test samples of another shape": ({"x_train": X, "y_train": Y, "x_test": X[:, :6], "y_test": Y}, "x_test"),
    "text": ({"x_train": X.astype(str), "y_train": Y}, "x_train"),
    "pickled objects": ({"x_train": np.array([{}] * 40), "y_train": Y}, "npz"),
}


@pytest.mark.parametrize("name", BAD)
def test_an_npz_that_is_no_data_set_is_refused_by_name(tmp_path: Path, name: str):
    arrays, word = BAD[name]
    with pytest.raises(SneError, match=word) as caught:
        load_dataset(save(tmp_path / "own.npz", **arrays))
    assert "own.npz" in caught.value.message and caught.value.hint


def test_a_file_that_is_missing_or_damaged_or_unknown_is_refused(tmp_path: Path):
    (tmp_path / "bad.npz").write_bytes(b"PK not a zip")
    for source in (tmp_path / "none.npz", tmp_path / "bad.npz", "imagenet"):
        with pytest.raises(SneError):
            load_dataset(source)


def test_names_of_classes_come_from_the_file(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 8)), np.arange(60) % 3
    np.savez(tmp_path / "named.npz", x_train=x, y_train=y, classes=["still", "walk", "turn"])
    assert load_dataset(tmp_path / "named.npz").classes == ("still", "walk", "turn")
    np.savez(tmp_path / "plain.npz", x_train=x, y_train=y)
    assert load_dataset(tmp_path / "plain.npz").classes == ("0", "1", "2")


@pytest.mark.parametrize(
    "classes",
    [["a", "b"], ["a", "a", "b"], ["a", "", "b"], [["a", "b", "c"]], [1, 2, 3], ["a", "b", "c\x1b[1m"], "abc"],
)
def test_names_that_are_none_are_refused(classes: Any, tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).normal(size=(60, 8)), np.arange(60) % 3
    np.savez(tmp_path / "odd.npz", x_train=x, y_train=y, classes=classes)
    with pytest.raises(SneError, match=r"classes|names for 3 classes"):
        load_dataset(tmp_path / "odd.npz")
