"""Data sets: samples, labels and their split.

In: a name, the path of an `.npz` file, or a folder of images. Out: a `Dataset`. Validation samples are held out of the
training data and serve every choice (early stopping, order, margins); test samples are used once, for the figures
reported.
"""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import SneError
from ..ir.encoder import Shape
from ..ir.frontend import LogMel
from ..ir.layout import OWN, OWN_RASTER, LayoutFinder, describe, stated_layout, to_samples, usual_layout
from .named import NAMED, Raw, images

DATASETS = ("mnist1d", *NAMED)
VALIDATION_SHARE = 0.125  # of the training data
TEST_SHARE = 0.2  # of a file that brings no test samples
NPZ_HINT = "an .npz data set holds x_train, y_train and, if you have them, x_test, y_test and layout (numpy.savez)"


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples float32 [N, height, width, channels], channel last, 1-D data having height 1; labels int64 [N].

    Rasters of events are [N, timesteps, height, width, channels]. `understood` says in words how samples were read.

    Of sound the samples are the integers of `frontend`, and `audio_test` are the test recordings, int16 [N, samples].
    `mirrored`: a sample seen in a mirror keeps its class, so augmented views may be mirrored.
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
    understood: str = ""

    @property
    def shape(self) -> Shape:
        """(height, width, channels) of a sample, or of a raster's timestep."""
        height, width, channels = self.x_train.shape[-3:]
        return height, width, channels

    @property
    def layout(self) -> str:
        """Of the samples as they are here: see `ir.layout`."""
        return OWN if self.x_train.ndim == 4 else OWN_RASTER

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all samples, labels and the split."""
        digest = hashlib.sha256()
        for part in (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]


def load_dataset(
    source: str | Path,
    seed: int = 0,
    folder: Path | None = None,
    *,
    layout: str | None = None,
    finder: LayoutFinder = usual_layout,
) -> Dataset:
    """The data set named or at `source`; `seed` draws the validation samples (and test samples, where a file has none).

    `folder`: where the files of named data sets lie; by default $SNE_EDGE_DATA. `layout`: of an .npz file's samples
    (`ir.layout`); else the file's own array `layout` says it, else `finder` finds it by their shape. Raises `SneError`
    for an unknown name, a missing or unreadable file, or arrays that make no data set.
    """
    path = Path(source)
    named = str(source) == "mnist1d" or str(source) in NAMED
    if layout is not None and (named or path.is_dir()):
        raise SneError(f"a layout is stated for {source}, which has its own", "leave it out")
    if str(source) == "mnist1d":
        return _mnist1d(seed)
    if named:
        return _split(str(source), NAMED[str(source)](folder), seed)
    if path.is_dir():
        return _split(path.name, images(path), seed)
    if path.suffix == ".npz":
        return _npz(path, seed, layout, finder)
    raise SneError(
        f"there is no data set {str(source)!r}",
        f"give {', '.join(DATASETS)}, a folder of images, or the path of an .npz file; {NPZ_HINT}",
    )


def _mnist1d(seed: int) -> Dataset:
    """MNIST-1D (Greydanus 2020, arXiv 2011.14439), its standard 4,000 + 1,000 samples, generated on the spot."""
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
    return split("mnist1d", raw["x"], raw["y"], raw["x_test"], raw["y_test"], seed=seed)


def _split(name: str, raw: Raw, seed: int) -> Dataset:
    layout = {3: "NHW", 4: OWN}[raw.x.ndim]
    made = split(name, raw.x, raw.y, raw.x_test, raw.y_test, seed=seed, layout=layout)
    return replace(made, classes=raw.classes, frontend=raw.frontend, audio_test=raw.audio_test, mirrored=raw.mirrored)


def _npz(path: Path, seed: int, layout: str | None, finder: LayoutFinder) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {key: archive[key] for key in archive.files}
    except OSError as error:
        raise SneError(f"cannot read {path}: {error.strerror or error}", "check the path") from None
    except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
        raise SneError(f"{path} is not a readable .npz file: {error}", NPZ_HINT) from None
    known = {"x_train", "y_train", "x_test", "y_test", "layout"}
    missing = {"x_train", "y_train"} - arrays.keys()
    if arrays.keys() & {"x_test", "y_test"}:
        missing |= {"x_test", "y_test"} - arrays.keys()
    if missing or arrays.keys() - known:
        odd = ", ".join(sorted(arrays.keys() - known))
        problem = f"has no {', '.join(sorted(missing))}" if missing else f"holds arrays of unknown names: {odd}"
        raise SneError(f"{path} {problem}", NPZ_HINT)
    if "layout" in arrays:
        own = arrays["layout"]
        if own.ndim or own.dtype.kind != "U" or layout not in (None, str(own)):
            against = "" if layout is None else f", and {layout} was stated"
            raise SneError(f"the layout in {path} is {own.tolist()!r}{against}", "let it be one text: layout='NCL'")
        layout = str(own)
    try:
        samples = (arrays.get(k) for k in ("x_train", "y_train", "x_test", "y_test"))
        return split(path.stem, *samples, seed=seed, layout=layout, finder=finder)
    except SneError as error:
        raise SneError(f"{path}: {error.message}", error.hint) from None


def split(
    name: str,
    x: np.ndarray | None,
    y: np.ndarray | None,
    x_test: np.ndarray | None = None,
    y_test: np.ndarray | None = None,
    *,
    seed: int = 0,
    layout: str | None = None,
    finder: LayoutFinder = usual_layout,
) -> Dataset:
    """A data set from arrays of samples and integer labels [N]; the samples' layout is stated, or `finder` finds it.

    Raises `SneError` where shapes, types or values make no data set, or the layout is open.
    """
    assert x is not None and y is not None
    _check_samples("x_train", x)
    layout = finder("x_train", x.shape) if layout is None else stated_layout("x_train", x.shape, layout)
    x = _samples("x_train", x, layout)
    y = _labels("y_train", y, len(x))
    generator = np.random.default_rng(seed)
    if x_test is None or y_test is None:
        order, held = generator.permutation(len(x)), max(1, round(TEST_SHARE * len(x)))
        x, x_test, y, y_test = x[order[held:]], x[order[:held]], y[order[held:]], y[order[:held]]
    else:
        x_test = _samples("x_test", x_test, layout)
        y_test = _labels("y_test", y_test, len(x_test))
    if x.shape[1:] != x_test.shape[1:]:
        raise SneError(f"x_test holds samples of {x_test.shape[1:]}, x_train of {x.shape[1:]}", NPZ_HINT)
    count = int(max(y.max(initial=0), y_test.max())) + 1
    if len(x) < 8 or count < 2 or len(np.unique(y)) < count:
        raise SneError(
            f"{len(x)} training samples of {len(np.unique(y))} classes, labels up to {count - 1}, are not enough",
            "label every class 0, 1, 2, ... and give each class training samples",
        )
    order, held = generator.permutation(len(x)), max(1, round(VALIDATION_SHARE * len(x)))
    val, train = np.sort(order[:held]), np.sort(order[held:])
    height, width, channels = x.shape[-3:]
    understood = describe((height, width, channels), layout)
    names = tuple(str(c) for c in range(count))
    return Dataset(name, x[train], y[train], x[val], y[val], x_test, y_test, names, understood=understood)


def _check_samples(key: str, array: np.ndarray) -> None:
    if array.dtype.kind not in "fiub" or array.ndim not in (2, 3, 4, 5) or array.size == 0:
        raise SneError(
            f"{key} is {array.dtype}{list(array.shape)}, not numbers: samples [N, ...] of one to three axes, "
            "or rasters of events [N, timesteps, ...]",
            NPZ_HINT,
        )


def _samples(key: str, array: np.ndarray, layout: str) -> np.ndarray:
    """Samples float32 in the package's order."""
    _check_samples(key, array)
    array = to_samples(array.astype(np.float32), stated_layout(key, array.shape, layout))
    if not np.isfinite(array).all():
        raise SneError(f"{key} holds NaN or infinite values", "clean the data first")
    return array


def _labels(key: str, array: np.ndarray, count: int) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.shape != (count,):
        raise SneError(
            f"{key} is {array.dtype}{list(array.shape)}, not one integer label for each of {count} samples", NPZ_HINT
        )
    if array.min() < 0 or array.max() >= 1024:
        raise SneError(f"{key} holds labels outside 0..1023", "label the classes 0, 1, 2, ...")
    return array.astype(np.int64)
