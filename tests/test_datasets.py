"""Named data sets and folders of images, from small files made here."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
import shutil
import tarfile
import wave
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sne_edge.data import cache, images, origin
from sne_edge.data import named as datasets
from sne_edge.data.dataset import divide, load_dataset
from sne_edge.data.named import NEW_SPEAKERS
from sne_edge.data.raw import Raw
from sne_edge.errors import SneError


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
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


def test_the_published_files_of_fashion_mnist_are_taken(require_tool: Callable[..., None]):
    require_tool(*(str(datasets.FASHION_DEBIAN / name) for name in datasets.FASHION))
    raw = datasets.fashion_mnist(None)
    assert raw.x_test is not None and raw.y_test is not None
    assert raw.x.shape == (60_000, 28, 28, 1) and raw.x_test.shape == (10_000, 28, 28, 1)
    assert np.bincount(raw.y_test).tolist() == [1000] * 10


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
    assert np.array_equal(data.frontend.apply(data.audio_train), data.x_train)
    again = load_dataset("fsdd")  # as the cache has it
    assert np.array_equal(again.audio_train, data.audio_train) and np.array_equal(again.audio_test, data.audio_test)
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


def test_a_split_by_speaker_holds_out_all_of_some_voices_and_no_model_of_the_other_split_is_judged_by_it(
    tmp_path: Path,
):
    for speaker in ("george", "jackson", *NEW_SPEAKERS):
        for digit in range(10):
            for number in (0, 5):
                tone = 0.1 + 0.05 * digit + 0.002 * number + 0.0005 * len(speaker)
                record(tmp_path / "fsdd" / f"{digit}_{speaker}_{number}.wav", tone)
    official, new = (load_dataset(name, folder=tmp_path) for name in ("fsdd", "fsdd-speakers"))
    assert len(official.y_test) == len(new.y_test) == 40 and new.frontend is not None
    heard = {row.tobytes() for row in new.audio_test}
    theirs = load_dataset("fsdd", folder=tmp_path).audio_test
    assert len({row.tobytes() for row in theirs} & heard) == 2 * 10  # of number 0 of the two new voices
    assert np.array_equal(new.frontend.apply(new.audio_test), new.x_test)
    assert not {row.tobytes() for row in new.audio_train} & heard  # babble is of voices that may be learnt
    for known, other in ((official, new), (new, official)):
        provenance = {"dataset": origin.record(known), "config": {"seed": 0}}
        with pytest.raises(SneError, match="divides the samples"):
            origin.check(provenance, known.classes, other)
        assert origin.check(provenance, known.classes, known) is None


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


def rewrite(path: Path, content: bytes) -> None:
    """Other content in a file of the same name, and as far as possible the same size and times."""
    before = path.stat()
    path.write_bytes(content.ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_is_read_of_a_folder_is_what_its_files_hold_now(pictures: Path):
    seen = [load_dataset(pictures)]
    png = pictures / "train" / "cat" / "0.png"
    other = (pictures / "train" / "cat" / "2.png").read_bytes()
    folders = [p for p in pictures.rglob("*") if p.is_dir()]
    times = {p: p.stat() for p in [pictures, *folders]}
    for change in (
        lambda: rewrite(png, other),
        lambda: draw(pictures / "train" / "cat" / "99.png", 99),
        lambda: (pictures / "train" / "cat" / "99.png").rename(pictures / "train" / "dog" / "99.png"),
        lambda: (pictures / "test" / "dog" / "1.png").unlink(),
    ):
        change()
        for folder, stat in times.items():
            os.utime(folder, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        seen.append(load_dataset(pictures))
    assert len({data.fingerprint for data in seen}) == len(seen) == 5
    assert [len(d.y_train) + len(d.y_val) for d in seen] == [12, 12, 13, 13, 13] and len(seen[-1].y_test) == 11


def test_what_is_read_of_an_archive_is_what_it_holds_now(pictures: Path, tmp_path: Path):
    archive, prints = tmp_path / "cifar10-jpeg.tar.xz", []
    for colour in (1, 2):
        draw(pictures / "train" / "cat" / "0.png", colour)
        with tarfile.open(archive, "w:xz") as tar:
            tar.add(pictures, "any-name")
        os.utime(archive, ns=(10**18, 10**18))
        prints.append(load_dataset("cifar10-jpeg", folder=tmp_path).fingerprint)
    assert prints[0] != prints[1] == load_dataset("cifar10-jpeg", folder=pictures).fingerprint


def test_images_are_decoded_once_and_a_damaged_cache_is_made_anew(pictures: Path, monkeypatch: pytest.MonkeyPatch):
    first = load_dataset(pictures)
    (kept,) = cache.STORE.path.iterdir()
    whole = kept.read_bytes()
    spoilt = (whole[:-1], whole[: len(whole) // 2], b"", whole[:300] + b"?" + whole[301:])
    for content in spoilt:
        kept.write_bytes(content)
        assert load_dataset(pictures).fingerprint == first.fingerprint
        assert [p.read_bytes() for p in cache.STORE.path.iterdir()] == [whole]
    monkeypatch.setattr(images, "_decode", None)
    again = load_dataset(pictures)
    assert again.fingerprint == first.fingerprint and again.classes == first.classes
    monkeypatch.setattr(cache, "digest", lambda *places: "other code")
    with pytest.raises(TypeError):
        load_dataset(pictures)


def test_a_cache_that_cannot_be_written_only_costs_time(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    want = load_dataset(pictures).fingerprint
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert load_dataset(pictures).fingerprint == want


def test_grey_images_of_sixteen_bits_keep_their_steps(tmp_path: Path):
    values = np.linspace(0, 65535, 8 * 8).astype(np.uint16).reshape(8, 8)
    for n in range(12):
        path = tmp_path / "deep" / ("a", "b")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(values if n % 2 else values[::-1].copy()).save(path)
    raw = images.images(tmp_path / "deep")
    assert raw.x.shape == (12, 8, 8, 1) and raw.x.dtype == np.uint8
    assert np.array_equal(raw.x[-1, :, :, 0], np.rint(values / 257)) and len(np.unique(raw.x)) == 64


def test_grey_images_with_transparency_are_grey(tmp_path: Path):
    for n in range(12):
        path = tmp_path / ("a", "b")[n % 2] / f"{n}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("LA" if n < 6 else "L", (4, 4), (20 * n, 9) if n < 6 else 20 * n).save(path)
    assert load_dataset(tmp_path).shape == (4, 4, 1)


STRAY = {
    "at the top": ("preview.png", r"preview\.png does not lie in train/CLASS/"),
    "in a part": ("train/preview.png", r"train/preview\.png does not lie in"),
    "in another part": ("val/cat/0.png", r"val/cat/0\.png does not lie in"),
    "too deep": ("train/cat/more/0.png", r"train/cat/more/0\.png does not lie in"),
}


@pytest.mark.parametrize("name", STRAY)
def test_an_image_outside_a_classs_folder_is_refused(name: str, pictures: Path):
    place, words = STRAY[name]
    draw(pictures / place, 3)
    with pytest.raises(SneError, match=words) as caught:
        load_dataset(pictures)
    assert caught.value.hint


def test_images_beside_classes_alone_are_refused(pictures: Path):
    draw(pictures / "train" / "preview.png", 3)
    with pytest.raises(SneError, match=r"preview\.png does not lie in CLASS/"):
        load_dataset(pictures / "train")


def test_a_class_without_images_is_refused_and_hidden_files_are_nobodys(pictures: Path):
    for place in (pictures, pictures / "train"):
        want = load_dataset(place).fingerprint
        (place / ".cache" / "x").mkdir(parents=True)
        (place / "notes.txt").touch()
        hidden = (pictures / "train" / "cat" / "._0.png", pictures / "train" / "cat" / ".thumb.png")
        for path in hidden:
            path.write_bytes(b"no picture")
        assert load_dataset(place).fingerprint == want
    (pictures / "train" / "bird").mkdir()
    (pictures / "train" / "bird" / "readme.txt").touch()
    for place in (pictures, pictures / "train"):
        with pytest.raises(SneError, match=r"the class (train/)?bird holds no images"):
            load_dataset(place)
    draw(pictures / "test" / "bird" / "1.png", 1)
    (pictures / "train" / "bird" / "readme.txt").unlink()
    (pictures / "train" / "bird").rmdir()
    with pytest.raises(SneError, match=f"{pictures.name}.*classes"):
        load_dataset(pictures)


def test_a_test_part_alone_cannot_be_trained_with(pictures: Path):
    shutil.rmtree(pictures / "train")
    with pytest.raises(SneError, match="none to train with"):
        load_dataset(pictures)


def test_test_images_have_no_part_in_how_the_others_are_standardised(pictures: Path):
    def poisoned(raw: Raw) -> list[np.ndarray]:
        made = divide("own", raw, 0)
        return [made.x_train, made.x_val]

    raw = images.images(pictures / "train")
    order = np.random.default_rng(0).permutation(len(raw.x))
    drawn = order[: round(0.2 * len(raw.x))]
    spoilt = raw.x.copy()
    spoilt[drawn] = 255 - spoilt[drawn]
    assert (divide("own", raw, 0).x_test != divide("own", replace(raw, x=spoilt), 0).x_test).any()
    for one, two in zip(poisoned(raw), poisoned(replace(raw, x=spoilt)), strict=True):
        assert np.array_equal(one, two)


@pytest.mark.parametrize("content", [b"", b"\xfd7zXZ\0cut"])
def test_a_damaged_archive_is_refused(content: bytes, tmp_path: Path):
    (tmp_path / "cifar10-jpeg.tar.xz").write_bytes(content)
    with pytest.raises(SneError, match=r"cifar10-jpeg\.tar\.xz"):
        load_dataset("cifar10-jpeg", folder=tmp_path)


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
