"""Data sets: samples, labels and their split.

In: a name, the path of an `.npz` file, or a folder of images. Out: a `Dataset`. Validation samples are held out of the
training data and serve every choice (early stopping, order, margins); test samples are used once, for the figures
reported.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import SneError, nearest, shortened
from ..files import is_folder
from ..ir.encoder import Shape
from ..ir.frontend import LogMel
from .formats import NPZ_NAMES, npz
from .images import images
from .named import NAMED
from .npz import HINT as NPZ_HINT
from .raw import Raw, standardised

DATASETS = tuple(NAMED)
VALIDATION_SHARE = 0.125  # of the training data
TEST_SHARE = 0.2  # of data that bring no test samples


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples float32 [N, height, width, channels], channel last, 1-D data having height 1; labels int64 [N].

    Of sound the samples are the integers of `frontend`, and `audio_test` are the test recordings, int16 [N, samples].
    `mirrored`: a sample seen in a mirror keeps its class, so augmented views may be mirrored. `seed` drew the
    validation samples and, unless `own_test`, the test samples.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_val: np.ndarray
    y_val: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    classes: tuple[str, ...]
    frontend: LogMel | None = None
    audio_test: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), np.int16))
    mirrored: bool = False
    seed: int = 0
    own_test: bool = True

    @property
    def shape(self) -> Shape:
        """(height, width, channels) of a sample."""
        height, width, channels = self.x_train.shape[1:]
        return height, width, channels

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all samples, labels and the split."""
        digest = hashlib.sha256()
        for part in (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]


def load_dataset(source: str | Path, seed: int = 0, folder: Path | None = None) -> Dataset:
    """The data set named or at `source`; `seed` draws the validation samples (and test samples, where a file has none).

    `folder`: where the files of named data sets lie; by default $SNE_EDGE_DATA. Raises `SneError` for an unknown name,
    a missing or unreadable file, or arrays that make no data set.
    """
    if str(source) in NAMED:
        return divide(str(source), NAMED[str(source)](folder), seed)
    path = Path(source)
    if is_folder(path):
        return _told(path, path.resolve().name, images(path), seed)
    if path.suffix == ".npz":
        arrays = npz(path)
        return _told(path, path.stem, Raw(*(arrays.get(key) for key in NPZ_NAMES)), seed)  # type: ignore[arg-type]
    raise SneError(
        f"there is no data set {shortened(source)!r}",
        f"{nearest(str(source), DATASETS)}give {', '.join(DATASETS)}, a folder of images, or the path of an .npz file; "
        + NPZ_HINT,
    )


def _told(path: Path, name: str, raw: Raw, seed: int) -> Dataset:
    """The data set of a file or folder, which errors name."""
    try:
        return divide(name, raw, seed)
    except SneError as error:
        raise SneError(f"{path}: {error.message}", error.hint) from None


def split(
    name: str,
    x: np.ndarray,
    y: np.ndarray,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> Dataset:
    """A data set from arrays: [N, length], [N, height, width] or [N, height, width, channels], and integer labels [N].

    Raises `SneError` where shapes, types or values make no data set.
    """
    return divide(name, Raw(x, y, x_test, y_test), seed)


def divide(name: str, raw: Raw, seed: int) -> Dataset:
    """The parts of a data set; see `split`. Test samples have no part in how values are standardised."""
    x, y = _samples("x_train", raw.x), _labels("y_train", raw.y, len(raw.x))
    generator = np.random.default_rng(seed)
    own_test = raw.x_test is not None and raw.y_test is not None
    if raw.x_test is not None and raw.y_test is not None:
        x_test = _samples("x_test", raw.x_test)
        y_test = _labels("y_test", raw.y_test, len(x_test))
    else:
        order, held = generator.permutation(len(x)), max(1, round(TEST_SHARE * len(x)))
        x, x_test, y, y_test = x[order[held:]], x[order[:held]], y[order[held:]], y[order[:held]]
    if x.shape[1:] != x_test.shape[1:]:
        raise SneError(f"x_test holds samples of {x_test.shape[1:]}, x_train of {x.shape[1:]}", NPZ_HINT)
    count = int(max(y.max(initial=0), y_test.max())) + 1
    if len(x) < 8 or count < 2 or len(np.unique(y)) < count:
        raise SneError(
            f"{len(x)} training samples of {len(np.unique(y))} classes, labels up to {count - 1}, are not enough",
            "label every class 0, 1, 2, ... and give each class training samples",
        )
    if raw.standardise:
        x, x_test = standardised(x, x_test)
    order, held = generator.permutation(len(x)), max(1, round(VALIDATION_SHARE * len(x)))
    val, train = np.sort(order[:held]), np.sort(order[held:])
    classes = raw.classes or tuple(str(c) for c in range(count))
    return Dataset(
        name, x[train], y[train], x[val], y[val], x_test, y_test, classes, raw.frontend, raw.audio_test, raw.mirrored,
        seed, own_test,
    )  # fmt: skip


def _samples(key: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3, 4) or array.size == 0:
        raise SneError(
            f"{key} is {array.dtype}{list(array.shape)}, not numbers [N, length], [N, height, width] "
            "or [N, height, width, channels]",
            NPZ_HINT,
        )
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise SneError(f"{key} holds NaN or infinite values", "clean the data first")
    if array.ndim == 2:
        return array[:, None, :, None]
    return array[..., None] if array.ndim == 3 else array


def _labels(key: str, array: np.ndarray, count: int) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise SneError(
            f"{key} is {array.dtype}{list(array.shape)}, not one integer label for each of {count} samples", NPZ_HINT
        )
    if array.min() < 0 or array.max() >= 1024:
        raise SneError(f"{key} holds labels outside 0..1023", "label the classes 0, 1, 2, ...")
    return array.astype(np.int64)
