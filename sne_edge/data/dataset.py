"""Data sets: samples, labels and their split.

In: a name, the path of an `.npz` file, or a folder of images or recordings. Out: a `Dataset`. Validation samples are
held out of the training data and serve every choice (early stopping, order, margins); test samples are used once, for
the figures reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..errors import SneError, nearest, shortened
from ..files import is_folder
from ..ir.encoder import Shape
from ..ir.frontend import LogMel
from ..ir.layout import OWN, OWN_RASTER, LayoutFinder, describe, stated_layout, to_samples, usual_layout
from .folders import kind_of
from .formats import npz
from .images import images
from .named import NAMED
from .npz import HINT as NPZ_HINT
from .raw import Raw, no_audio, standardised
from .series import series
from .sounds import sounds

DATASETS = tuple(NAMED)
VALIDATION_SHARE = 0.125  # of the training data
TEST_SHARE = 0.2  # of data that bring no test samples
SKETCHED, DIGITS = 64, 12  # samples that tell one training set, and hex digits of each
LARGEST = 1e15  # magnitude of a value: sums of squares of as many as memory holds stay inside float32


@dataclass(frozen=True)
class Known:
    """What data are known by: the `fingerprint` and `sketch` of a `Dataset`."""

    fingerprint: str
    sketch: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Units:
    """What values are measured by: float64 [channels], `middle`, and `spread`, which is positive."""

    middle: np.ndarray
    spread: np.ndarray

    def of(self, x: np.ndarray) -> np.ndarray:
        """A file's own values [..., channels] in these units, float32."""
        values: np.ndarray = ((x.astype(np.float64) - self.middle) / self.spread).astype(np.float32)
        return values

    def given(self, x: np.ndarray) -> np.ndarray:
        """The values that they were, float64."""
        values: np.ndarray = x.astype(np.float64) * self.spread + self.middle
        return values


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples float32 [N, height, width, channels], channel last, 1-D data having height 1; labels int64 [N].

    Rasters of events are [N, timesteps, height, width, channels]. `understood` says in words how samples were read.

    Of sound the samples are the integers of `frontend`; `audio_train` and `audio_test` are the recordings that the rows
    of `x_train` and `x_test` were made of, int16 [N, samples], [0, 0] where there is no front end.
    `mirrored`: a sample seen in a mirror keeps its class, so augmented views may be mirrored. `seed` drew the
    validation samples and, unless `own_test`, the test samples. `standard`: mean and deviation of each channel, float32
    [channels], by which samples were standardised, or None. `stated`: the layout that a user stated for a file that
    leaves it open, or "". `units`: those that samples were brought to (`data.units`) from what the file holds, which is
    known as `given`; None where they are the file's own. `named`: classes are names, though they be numbers; `columns`:
    the channels' names, if they have any.
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
    audio_test: np.ndarray = field(default_factory=no_audio)
    mirrored: bool = False
    seed: int = 0
    own_test: bool = True
    understood: str = ""
    standard: tuple[np.ndarray, np.ndarray] | None = None
    audio_train: np.ndarray = field(default_factory=no_audio)
    stated: str = ""
    units: Units | None = None
    given: Known | None = None
    named: bool = False
    columns: tuple[str, ...] = ()

    @property
    def shape(self) -> Shape:
        """(height, width, channels) of a sample, or of a raster's timestep."""
        height, width, channels = self.x_train.shape[-3:]
        return height, width, channels

    @property
    def timesteps(self) -> int | None:
        """Timesteps of rasters of events; None of other samples."""
        return int(self.x_train.shape[1]) if self.x_train.ndim == 5 else None

    @property
    def layout(self) -> str:
        """Of the samples as they are here: see `ir.layout`."""
        return OWN if self.x_train.ndim == 4 else OWN_RASTER

    def as_given(self, x: np.ndarray) -> np.ndarray:
        """Samples as they are here, in the values that a model's encoder takes: those of the file."""
        return x if self.units is None else self.units.given(x)

    @cached_property
    def known(self) -> int:
        """How many test samples are, value for value, samples of the training data."""
        return sum(digest in self._seen for digest in _digests(self.x_test))

    @cached_property
    def repeated(self) -> int:
        """How many validation samples are, value for value, samples that are trained with."""
        return sum(digest in self._trained for digest in _digests(self.x_val))

    @cached_property
    def _trained(self) -> frozenset[bytes]:
        """What the samples that are trained with are known by."""
        return frozenset(_digests(self.x_train))

    @cached_property
    def _seen(self) -> frozenset[bytes]:
        """What the samples that train or choose are known by."""
        return self._trained.union(_digests(self.x_val))

    @cached_property
    def fingerprint(self) -> str:
        """16 hex digits over all samples, as they were given, labels and the split."""
        if self.given is not None:
            return self.given.fingerprint
        digest = hashlib.sha256()
        for part in (self.x_train, self.y_train, self.x_val, self.y_val, self.x_test, self.y_test):
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]

    @cached_property
    def sketch(self) -> tuple[str, ...]:
        """The least `SKETCHED` of what samples, as they were given, that train or choose are known by, `DIGITS` each:
        other data that hold many of these hold some of those (Broder 1997, On the resemblance and containment of
        documents)."""
        if self.given is not None:
            return self.given.sketch
        return tuple(sorted(digest.hex()[:DIGITS] for digest in self._seen)[:SKETCHED])

    def share_of(self, sketch: Sequence[str], part: str) -> float:
        """The share 0..1 of a sketch's samples, and so about that of all samples that it is of, in `x_val` or `x_test`
        of data as they were given."""
        here = {digest.hex()[:DIGITS] for digest in _digests(getattr(self, part))}
        return len(here.intersection(sketch)) / max(1, len(sketch))


def _digests(part: np.ndarray) -> list[bytes]:
    """What samples are known by."""
    return [hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in part]


def load_dataset(
    source: str | Path,
    seed: int = 0,
    folder: Path | None = None,
    *,
    layout: str | None = None,
    finder: LayoutFinder = usual_layout,
    frontend: LogMel | None = None,
    length: int | None = None,
) -> Dataset:
    """The data set named or at `source`; `seed` draws the validation samples (and test samples, where a file has none).

    `folder`: where the files of named data sets lie; by default $SNE_EDGE_DATA. `layout`: of an .npz file's samples
    (`ir.layout`); else the file's own array `layout` says it, else `finder` finds it by their shape. Raises `SneError`
    for an unknown name, a missing or unreadable file, or arrays that make no data set. `frontend`: what a folder of
    sound goes through; by default one that is fitted to it; `length`: rows of a folder of tables; by default the usual.
    """
    path = Path(source)
    named = str(source) in NAMED
    if layout is not None and (named or is_folder(path)):
        raise SneError(f"a layout is stated for {source}, which has its own", "leave it out")
    if named:
        return divide(str(source), NAMED[str(source)](folder), seed, _own_layout)
    if is_folder(path):
        kind = kind_of(path)
        raw = sounds(path, frontend) if kind == "sounds" else series(path, length) if kind == "series" else images(path)
        return _told(path, path.resolve().name, raw, seed, _own_layout)
    if path.suffix == ".npz":
        (x, y, x_test, y_test), own, classes = npz(path)
        if layout is not None and own not in (None, layout):
            raise SneError(f"the layout in {path} is {own!r}, and {layout} was stated", "leave one of them out")
        found = _told(path, path.stem, Raw(x, y, x_test, y_test, classes, layout=layout or own), seed, finder)
        return replace(found, stated=layout or "")
    if path.suffix.lower() in (".csv", ".tsv", ".txt") and path.is_file():
        raise SneError(
            f"{path} is text, and data are read from .npz files",
            "in Python: rows = numpy.loadtxt(FILE, delimiter=',', skiprows=1); numpy.savez('data.npz', "
            "x_train=rows[:, :-1], y_train=rows[:, -1].astype(int), layout='NC'), where the last column is the label",
        )
    raise SneError(
        f"there is no data set {shortened(source)!r}",
        f"{nearest(str(source), DATASETS)}give {', '.join(DATASETS)}, a folder of images or recordings, or the path of "
        f"an .npz file; {NPZ_HINT}",
    )


def _own_layout(name: str, shape: Sequence[int]) -> str:
    """Of named sets and images, which come in the package's own order."""
    return {2: "NL", 3: "NHW", 4: OWN, 5: OWN_RASTER}[len(shape)]


def _told(path: Path, name: str, raw: Raw, seed: int, finder: LayoutFinder = usual_layout) -> Dataset:
    """The data set of a file or folder, which errors name."""
    try:
        return divide(name, raw, seed, finder)
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
    layout: str | None = None,
    finder: LayoutFinder = usual_layout,
) -> Dataset:
    """A data set from arrays of samples and integer labels [N]; the samples' layout is stated, or `finder` finds it.

    Raises `SneError` where shapes, types or values make no data set, or the layout is open.
    """
    return divide(name, Raw(x, y, x_test, y_test, layout=layout), seed, finder)


def divide(name: str, raw: Raw, seed: int, finder: LayoutFinder = usual_layout) -> Dataset:
    """The parts of a data set; see `split`. Test samples have no part in how values are standardised."""
    _check_samples("x_train", raw.x)
    shape = raw.x.shape
    layout = finder("x_train", shape) if raw.layout is None else stated_layout("x_train", shape, raw.layout)
    x = _samples("x_train", raw.x, layout)
    y = _labels("y_train", raw.y, len(x))
    generator = np.random.default_rng(seed)
    own_test = raw.x_test is not None and raw.y_test is not None
    audio, audio_test = raw.audio, raw.audio_test
    if raw.x_test is not None and raw.y_test is not None:
        x_test = _samples("x_test", raw.x_test, layout)
        y_test = _labels("y_test", raw.y_test, len(x_test))
    else:
        order, held = generator.permutation(len(x)), max(1, round(TEST_SHARE * len(x)))
        x, x_test, y, y_test = x[order[held:]], x[order[:held]], y[order[held:]], y[order[:held]]
        if len(audio):
            audio, audio_test = audio[order[held:]], audio[order[:held]]
    if x.shape[1:] != x_test.shape[1:]:
        raise SneError(f"x_test holds samples of {x_test.shape[1:]}, x_train of {x.shape[1:]}", NPZ_HINT)
    count = int(max(y.max(initial=0), y_test.max())) + 1
    if len(x) < 8 or count < 2 or len(np.unique(y)) < count:
        hint = "label every class 0, 1, 2, ... and give each class training samples"
        if raw.classes:
            few = [name for k, name in enumerate(raw.classes) if k not in y]
            hint = f"give more files of {', '.join(few[:5])}" if few else "give more files, of two classes at least"
        if not own_test and len(np.unique([*y, *y_test])) == count:
            hint = "give each class more samples: those drawn for testing left one without"
        elif len(np.unique(y)) == count - 1 and y.min() == 1:
            hint = "labels begin at 0: take 1 off all of them"
        raise SneError(
            f"{len(x)} training samples of {len(np.unique(y))} classes, labels up to {count - 1}, are not enough", hint
        )
    standard = None
    if raw.standardise:
        x, x_test, standard = standardised(x, x_test)
    order, held = generator.permutation(len(x)), max(1, round(VALIDATION_SHARE * len(x)))
    lost = [k for k in range(count) if k not in y[order[held:]]]  # classes whose few samples were all drawn
    back = np.isin(y[order[:held]], lost)
    val, train = np.sort(order[:held][~back]), np.sort(np.concatenate([order[held:], order[:held][back]]))
    if not len(val):
        raise SneError("no sample is left for validation", "give each class at least two samples")
    if raw.classes and len(raw.classes) != count:
        raise SneError(
            f"{len(raw.classes)} names for {count} classes, of labels up to {count - 1}", "give one for each class"
        )
    classes = raw.classes or tuple(str(c) for c in range(count))
    height, width, channels = x.shape[-3:]
    understood = describe((height, width, channels), layout) if raw.frontend is None else raw.frontend.told
    understood += f": {', '.join(raw.columns)}" if raw.columns else ""
    return Dataset(
        name, x[train], y[train], x[val], y[val], x_test, y_test, classes, raw.frontend, audio_test, raw.mirrored, seed,
        own_test, understood, standard, audio[train] if len(audio) else audio, named=bool(raw.classes),
        columns=raw.columns,
    )  # fmt: skip


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
    if not np.isfinite(array).all():
        raise SneError(f"{key} holds NaN or infinite values", "clean the data first")
    largest = max(abs(float(array.min())), abs(float(array.max())))
    if largest > LARGEST:
        raise SneError(
            f"{key} holds values of a magnitude of {largest:.3g}; networks calculate with at most {LARGEST:g}",
            "scale the data; a value that stands for a missing one has to be replaced",
        )
    return to_samples(array.astype(np.float32), stated_layout(key, array.shape, layout))


def _labels(key: str, array: np.ndarray, count: int) -> np.ndarray:
    if array.dtype.kind not in "iu" or array.shape != (count,):
        hint = NPZ_HINT
        if array.ndim == 2 and len(array) == count:
            hint = f"one-hot labels become whole numbers by {key}.argmax(1)"
        elif array.dtype.kind in "fbUS" and array.shape == (count,):
            hint = f"where they are classes, number them: classes, {key} = numpy.unique({key}, return_inverse=True)"
        raise SneError(
            f"{key} is {array.dtype}{list(array.shape)}, not one integer label for each of {count} samples", hint
        )
    if array.min() < 0 or array.max() >= 1024:
        raise SneError(f"{key} holds labels outside 0..1023", "label the classes 0, 1, 2, ...")
    return array.astype(np.int64)
