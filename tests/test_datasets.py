"""Named data sets and folders of images, from small files made here."""

from __future__ import annotations

import gzip
import hashlib
import pickle
import tarfile
import wave
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sne_edge.data import named as datasets
from sne_edge.data.dataset import load_dataset
from sne_edge.errors import SneError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(datasets, "_cache", lambda: folder)
    monkeypatch.delenv("SNE_EDGE_DATA", raising=False)


def idx(array: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(head + array.astype(np.uint8).tobytes(), mtime=0)


@pytest.fixture
def fashion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    rng = np.random.default_rng(0)
    files = [rng.integers(0, 256, (40, 28, 28)), np.arange(40) % 10, rng.integers(0, 256, (10, 28, 28)), np.arange(10)]
    contents = dict(zip(datasets.FASHION, map(idx, files), strict=True))
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    monkeypatch.setattr(datasets, "FASHION", {n: hashlib.sha256(c).hexdigest() for n, c in contents.items()})
    monkeypatch.setattr(datasets, "FASHION_DEBIAN", tmp_path / "none")
    return tmp_path


def test_fashion_mnist_is_read_standardised_and_keeps_its_official_test_part(fashion: Path):
    data = load_dataset("fashion-mnist", folder=fashion)
    assert data.shape == (28, 28, 1) and data.classes[5] == "sandal"
    assert data.y_test.tolist() == list(range(10)) and len(data.y_train) + len(data.y_val) == 40
    both = np.concatenate([data.x_train, data.x_val])
    assert abs(both.mean()) < 1e-4 and abs(both.std() - 1) < 1e-4


def test_a_damaged_file_is_refused(fashion: Path):
    path = fashion / next(iter(datasets.FASHION))
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(SneError, match="or damaged"):
        load_dataset("fashion-mnist", folder=fashion)


def test_where_nothing_is_found_the_error_says_what_goes_where(fashion: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(datasets, "FASHION_URL", "http://127.0.0.1:9/")
    (fashion / next(iter(datasets.FASHION))).unlink()
    with pytest.raises(SneError, match="train-images") as caught:
        load_dataset("fashion-mnist", folder=fashion)
    assert "--data-dir" not in caught.value.hint and "SNE_EDGE_DATA" in caught.value.hint
    for name in ("fsdd", "cifar10-jpeg", "cifar10"):
        with pytest.raises(SneError, match="not found") as caught:
            load_dataset(name)
        assert "SNE_EDGE_DATA" in caught.value.hint


def record(path: Path, tone: float, rate: int = 8000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((8000 * np.sin(tone * np.arange(3000))).astype("<i2").tobytes())


def test_spoken_digits_come_as_the_front_ends_integers_with_their_recordings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for digit in range(10):
        for number in (0, 4, 5, 6, 7):
            record(tmp_path / "fsdd" / f"{digit}_ann_{number}.wav", 0.1 + 0.05 * digit + 0.001 * number)
    monkeypatch.setenv("SNE_EDGE_DATA", str(tmp_path))
    data = load_dataset("fsdd")
    assert len(data.y_test) == 20 and len(data.y_train) + len(data.y_val) == 30
    assert data.frontend is not None and data.shape == data.frontend.shape
    assert np.array_equal(data.frontend.apply(data.audio_test), data.x_test)
    archive = tmp_path / "fsdd.tar.xz"
    with tarfile.open(archive, "w:xz") as tar:
        tar.add(tmp_path / "fsdd", "fsdd")
    other = tmp_path / "other"
    other.mkdir()
    archive.rename(other / "fsdd.tar.xz")
    assert load_dataset("fsdd", folder=other).fingerprint == data.fingerprint
    record(tmp_path / "fsdd" / "3_bob_9.wav", 0.2, rate=16000)
    with pytest.raises(SneError, match="3_bob_9"):
        load_dataset("fsdd")


def draw(path: Path, colour: int, size: tuple[int, int] = (6, 5)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (colour, 255 - colour, 7)).save(path)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for n in range(12):
        draw(tmp_path / "own" / "train" / ("cat", "dog")[n % 2] / f"{n}.png", 20 * n)
        draw(tmp_path / "own" / "test" / ("cat", "dog")[n % 2] / f"{n}.png", 20 * n + 5)
    return tmp_path / "own"


def test_a_folder_of_images_is_a_data_set(pictures: Path):
    data = load_dataset(pictures)
    assert data.name == "own" and data.shape == (5, 6, 3) and data.classes == ("cat", "dog")
    assert len(data.y_test) == 12 and len(data.y_train) + len(data.y_val) == 12
    assert np.array_equal(load_dataset(pictures).x_train, data.x_train)
    assert load_dataset("cifar10-jpeg", folder=pictures).shape == (5, 6, 3)


def test_classes_alone_are_split(pictures: Path):
    data = load_dataset(pictures / "train")
    assert len(data.y_test) + len(data.y_train) + len(data.y_val) == 12


def test_images_of_two_sizes_and_broken_ones_are_refused(pictures: Path):
    draw(pictures / "train" / "cat" / "odd.png", 3, (7, 5))
    with pytest.raises(SneError, match="holds images of"):
        load_dataset(pictures)
    (pictures / "train" / "cat" / "odd.png").write_bytes(b"no picture")
    with pytest.raises(SneError, match="is no readable image"):
        load_dataset(pictures)


def test_python_batches_are_read_and_can_run_nothing(tmp_path: Path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"):
        batch = {b"data": rng.integers(0, 256, (20, 3072)).astype(np.uint8), b"labels": (np.arange(20) % 10).tolist()}
        (folder / name).write_bytes(pickle.dumps(batch, protocol=2))
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [b"c%d" % n for n in range(10)]}, protocol=2))
    data = load_dataset("cifar10", folder=tmp_path)
    assert data.shape == (32, 32, 3) and data.classes[3] == "c3" and len(data.y_test) == 20
    (folder / "test_batch").write_bytes(pickle.dumps(print))
    with pytest.raises(SneError, match="has no place"):
        load_dataset("cifar10", folder=tmp_path)
