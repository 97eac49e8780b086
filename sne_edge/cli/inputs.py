"""What commands read before they call: models, samples, places, numbers."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..errors import SneError, shortened

if TYPE_CHECKING:
    import numpy as np

    from ..data.dataset import Dataset
    from ..ir.ensemble import QuantEnsemble
    from ..link.trace import FrameLog


def load(model: str) -> QuantEnsemble:
    from ..ir.artifact import load

    return load(model)


def fingerprint(ensemble: QuantEnsemble) -> str:
    from ..ir.artifact import fingerprint

    return fingerprint(ensemble)


@contextmanager
def exported(model: str, board: str) -> Iterator[tuple[str, Path]]:
    """A model's name and an export of it for a board: the directory itself where `model` is one."""
    from ..deploy.boards import resolve_board
    from ..deploy.export import export as write
    from ..deploy.export import read_manifest
    from ..files import is_folder, workspace

    target = resolve_board(board).target
    if is_folder(model):
        yield read_manifest(model)["name"], Path(model)
        return
    ensemble = load(model)
    with workspace() as work:
        yield ensemble.name, write(ensemble, target, work / "model")


def data_for(
    ensemble: QuantEnsemble, data: str, folder: Path | None, other: bool = False, seed: int | None = None
) -> Dataset:
    """A data set split as the model's training split it; a note where it can't be told what the model has seen of it.

    Raises `SneError` where samples that it holds out may be ones that the model was trained with, as
    `data.origin.check` says.
    """
    from ..data.origin import load_for
    from ..ir.frontend import LogMel
    from ..ir.layout import encoder_layout

    finder = encoder_layout(ensemble.encoder)
    dataset, note = load_for(
        ensemble.provenance, ensemble.classes, data, folder, seed=seed, other=other, finder=finder,
        frontend=ensemble.frontend if isinstance(ensemble.frontend, LogMel) else None,
        length=ensemble.encoder.shape[1],
    )  # fmt: skip
    if note is not None:
        print(f"note: {note}", file=sys.stderr)
    return dataset


def encoded_samples(
    ensemble: QuantEnsemble, data: str | None, folder: Path | None, other: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Encoded test samples and labels (-1 where unknown): of a data set, see `data_for`, or the golden vectors."""
    if data is None:
        if not len(ensemble.vectors.inputs):
            raise SneError(f"{ensemble.name} holds no golden vectors", "give samples with --data")
        return ensemble.vectors.inputs, ensemble.vectors.labels
    if ensemble.regression:
        raise SneError(
            f"{ensemble.name} computes numbers, and data sets have labels",
            "leave --data out; in Python, `HostModel.values` gives the numbers of a batch",
        )
    dataset = data_for(ensemble, data, folder, other)
    return ensemble.encoder.encode(dataset.x_test), dataset.y_test


def described(data: str | None, count: int) -> str:
    """What `encoded_samples` gave, for a table's title: golden vectors are no test set."""
    return f"{count:,} samples" if data else f"its own {count:,} golden vectors, no test set (give --data)"


def default_places(always: list[str]) -> list[str]:
    """Where to run when nothing is said: `always`, and an emulator; without its tools a note, or an error."""
    from ..link.connect import default_emulator

    emulator = default_emulator()
    if emulator is not None:
        return [*always, emulator]
    hint = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm, or name a device with --on"
    if not always:
        raise SneError("no ARM compiler or QEMU is installed, and no device was named", hint)
    print(f"note: no ARM compiler or QEMU is installed, so no device is checked; {hint}", file=sys.stderr)
    return always


def need_training() -> None:
    from importlib.util import find_spec

    for package in ("torch", "snntorch"):
        if find_spec(package) is None:
            raise SneError(f"{package} is not installed", "pip install 'sne-edge[train]' (on Linux, a CPU torch first)")


def check_output(path: Path, force: bool, option: str = "-o") -> None:
    """Raise `SneError` now where a file could not be written to `path`, or would overwrite one unasked. `option`: that
    names it."""
    from ..files import check_writable

    check_writable(path)
    if path.exists() and not force:
        raise SneError(f"{path} is there already", f"--force overwrites it; or give another name with {option}")


def check_picture(path: Path, force: bool, option: str = "-o") -> None:
    """Raise `SneError` now where a picture could not be written to `path` as its name says; see `check_output`."""
    check_output(path, force, option)
    if path.suffix.lower() != ".png":
        raise SneError(
            f"{shortened(path)} is no name of a PNG, which pictures are", f"give one that ends in .png with {option}"
        )


def check_folder(path: Path, force: bool) -> None:
    """Raise `SneError` where an export would replace what a directory holds, unasked."""
    from ..files import is_folder

    if not force and is_folder(path) and any(path.iterdir()):
        raise SneError(f"{path} is there already", "--force replaces an export; or give another directory with -o")


def check_name(name: str) -> None:
    """Raise `SneError` where a model cannot have that name."""
    from ..ir.ensemble import check_name

    try:
        check_name(name)
    except ValueError as error:
        raise SneError(str(error), "give another with --name") from None


def check_finite(**options: float | None) -> None:
    """Raise `SneError` where an option's number is NaN or infinite, which no limit refuses."""
    for option, value in options.items():
        if value is not None and not math.isfinite(value):
            raise SneError(f"--{option.replace('_', '-')} is {value}", "give a number")


def check_layout(layout: str | None) -> None:
    """Raise `SneError` where an option names no layout."""
    from ..ir.layout import parse_layout

    if layout is not None:
        parse_layout(layout)


def check_memory(ensemble: QuantEnsemble | None, window: int | None, leak: float | None) -> None:
    """Raise `SneError` where readouts cannot forget as two options say; `ensemble`: whose, where there is one yet."""
    from ..quantize.streams import memory, with_memory

    check_finite(decode_leak=leak)
    if window is None and leak is None:
        return
    if ensemble is None:
        memory(window, leak)
    else:
        with_memory(ensemble, window=window, leak=leak)


def check_places(places: Iterable[str]) -> None:
    """Raise `SneError` now where one of the places is no place to run, before anything is compiled."""
    from ..link.connect import check_place

    for place in places:
        check_place(place)


@contextmanager
def frame_log(path: Path | None) -> Iterator[FrameLog | None]:
    """A log of frames in the file at `path`, or none."""
    if path is None:
        yield None
        return
    from ..files import check_writable
    from ..link.trace import FrameLog

    check_writable(path)
    with path.open("w", encoding="utf-8") as file:
        yield FrameLog(file)


def numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SneError(
            f"{option} is {shortened(text)!r}", "give whole numbers separated by commas, such as 8,32,40"
        ) from None


def scaled(option: str, text: str) -> float | tuple[float, ...]:
    """A real number, or several separated by commas, one for each channel."""
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SneError(
            f"{option} is {shortened(text)!r}", "give a number, or one for each channel, such as 0.1,0.1,15.7"
        ) from None
    return values if len(values) > 1 else values[0]


def reals(option: str, text: str | None) -> tuple[float, ...] | None:
    """Numbers separated by commas; None where there is no text."""
    if text is None:
        return None
    try:
        found = tuple(map(float, text.split(",")))
    except ValueError:
        found = (math.nan,)
    if not all(math.isfinite(value) for value in found):
        raise SneError(f"{option} is {shortened(text)!r}", "give numbers separated by commas, such as 0.5,0.5,0.5")
    return found


def reset_kind(text: str) -> Literal["zero", "subtract"]:
    """The reset of a NIR file's neurons that an option names."""
    if text == "zero":
        return "zero"
    if text == "subtract":
        return "subtract"
    raise SneError(f"--reset is {text!r}", "give zero or subtract")


def byte_size(option: str, text: str | None) -> int | None:
    """Bytes that an option's words mean: 8192, 8K or 1M."""
    if text is None:
        return None
    factor = {"K": 1024, "M": 1024**2}.get(text[-1:].upper(), 1)
    digits = text[:-1] if factor > 1 else text
    if not digits.isascii() or not digits.isdecimal() or len(digits) > 9:
        raise SneError(f"{option} is {shortened(text)!r}", "give bytes, or kilobytes or megabytes such as 64K or 1M")
    return int(digits) * factor
