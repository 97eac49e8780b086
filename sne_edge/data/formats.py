"""File formats of data sets: archives and folders, NumPy's .npz, IDX, WAV, CIFAR's Python batches.

In: paths or bytes. Out: names and contents, or arrays. What cannot be read raises `SneError`; no format runs code.
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
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..errors import SneError
from ..files import read_file
from .npz import HINT as NPZ_HINT
from .npz import read_npz

MAX_BYTES = 2**31  # of a file
NPZ_NAMES = ("x_train", "y_train", "x_test", "y_test")


class Members:
    """The files with one of some suffixes in a folder or a tar archive, hidden ones left out, ordered by name.

    Iterating gives names, as in the archive or relative to the folder, and contents. `what` they are, in a word, for
    errors. Raises `SneError` where something cannot be read.
    """

    def __init__(self, where: Path, suffixes: tuple[str, ...], what: str = "files") -> None:
        self.where, self.suffixes, self.what = where, suffixes, what
        self.packed = not where.is_dir()
        self._archive = _content(where) if self.packed else b""

    def __iter__(self) -> Iterator[tuple[str, bytes]]:
        return self._from_archive() if self.packed else self._from_folder()

    def print(self) -> str:
        """64 hex digits over all names and contents, folders' names too; of an archive, over the file."""
        digest = hashlib.sha256(self._archive + "\n".join(sorted(self.folders())).encode("utf-8", "surrogateescape"))
        for name, content in () if self.packed else self:
            digest.update(f"{name}\n{len(content)}\n".encode("utf-8", "surrogateescape") + content)
        return digest.hexdigest()

    def folders(self) -> set[str]:
        """Names of all folders in a folder; none of an archive, which need not list them."""
        return set() if self.packed else {name for name, _ in _walk(self.where)}

    def _from_folder(self) -> Iterator[tuple[str, bytes]]:
        names = [f"{folder}/{file}" if folder else file for folder, files in _walk(self.where) for file in files]
        for name in sorted(filter(self._wanted, names), key=_parts):
            yield name, _content(self.where / name)

    def _from_archive(self) -> Iterator[tuple[str, bytes]]:
        found = []
        try:
            with tarfile.open(fileobj=io.BytesIO(self._archive)) as archive:
                for member in archive:
                    name = str(PurePosixPath(member.name))
                    file = archive.extractfile(member) if self._wanted(name) else None
                    if file is not None:
                        found.append((name, file.read()))
        except Exception as error:  # tarfile, lzma, zlib and bz2 each have their own
            raise SneError(f"cannot read {self.where}: {error}", "is the archive whole? get it again") from None
        yield from sorted(found, key=lambda member: _parts(member[0]))

    def _wanted(self, name: str) -> bool:
        parts = _parts(name)
        hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
        return not hidden and PurePosixPath(name).suffix.lower() in self.suffixes


def _walk(where: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder below `where`, relative to it, and its files; links to folders are followed, once each."""
    seen = set()
    for top, folders, files in os.walk(where, followlinks=True, onerror=_refuse):
        real = os.path.realpath(top)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        relative = os.path.relpath(top, where).replace(os.sep, "/")
        yield "" if relative == "." else relative, files


def _refuse(error: OSError) -> None:
    raise SneError(f"cannot read {error.filename}: {error.strerror}", "check the path and its permissions")


def _parts(name: str) -> tuple[str, ...]:
    return tuple(name.split("/"))


def _content(path: Path) -> bytes:
    return read_file(path, MAX_BYTES, hint="check the path and its permissions")


def npz(path: Path) -> tuple[tuple[Any, ...], str | None, tuple[str, ...]]:
    """The arrays of an .npz data set by `NPZ_NAMES`, the last two or None; the layout that it states, or None; and the
    names of its classes, or none."""
    arrays = read_npz(path, {*NPZ_NAMES, "layout", "classes"})
    missing = {"x_train", "y_train"} - arrays.keys()
    if arrays.keys() & {"x_test", "y_test"}:
        missing |= {"x_test", "y_test"} - arrays.keys()
    if missing:
        raise SneError(f"{path} has no {', '.join(sorted(missing))}", NPZ_HINT)
    layout = arrays.get("layout")
    if layout is not None and (layout.ndim or layout.dtype.kind != "U"):
        raise SneError(f"the layout in {path} is {layout.tolist()!r}", "let it be one text: layout='NCL'")
    classes = _class_names(path, arrays.get("classes"))
    return tuple(arrays.get(name) for name in NPZ_NAMES), None if layout is None else str(layout), classes


def _class_names(path: Path, given: np.ndarray | None) -> tuple[str, ...]:
    """Names of classes in an array of text; `SneError` where it is something else."""
    if given is None:
        return ()
    hint = "let it be texts, one for each class: classes=['still', 'walk', 'turn']"
    if given.ndim != 1 or given.dtype.kind != "U":
        raise SneError(f"the classes in {path} are {given.dtype}{list(given.shape)}", hint)
    names = tuple(str(name) for name in given)
    odd = [name for name in names if not name.isprintable() or not 0 < len(name.strip()) <= 60]
    if odd or len(set(names)) < len(names):
        raise SneError(f"the classes in {path} are not different names of 1 to 60 letters", hint)
    return names


def idx(content: bytes) -> np.ndarray:
    """An array of bytes in the gzipped IDX format: 0, 0, 8 (bytes), dimensions, their sizes, big-endian."""
    plain = gzip.decompress(content)
    rank = plain[3]
    shape = np.frombuffer(plain, ">u4", rank, 4)
    return np.frombuffer(plain, np.uint8, offset=4 + 4 * rank).reshape(shape)


def recording(content: bytes, rate: int) -> np.ndarray:
    """The samples, int16, of a mono WAV file of 16 bits and a `rate` in Hz. Raises `ValueError` where it is none."""
    try:
        with wave.open(io.BytesIO(content)) as file:
            if (file.getframerate(), file.getsampwidth(), file.getnchannels()) != (rate, 2, 1):
                raise ValueError(f"not {rate / 1000:g} kHz, 16 bits, mono")
            return np.frombuffer(file.readframes(file.getnframes()), "<i2")
    except (wave.Error, EOFError) as error:
        raise ValueError(str(error) or "it is cut off") from None


def cifar_batch(path: Path) -> dict[bytes, Any]:
    """A Python batch of CIFAR-10: a pickled dict of arrays and plain values."""
    try:
        made: dict[bytes, Any] = _Batch(io.BytesIO(_content(path)), encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError) as error:
        raise SneError(f"cannot read {path}: {error}", "unpack cifar-10-python.tar.gz again") from None
    return made


class _Batch(pickle.Unpickler):
    """Unpickles arrays and plain values, nothing that runs."""

    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] == "numpy" and name in ("_reconstruct", "ndarray", "dtype"):
            return super().find_class(module, name)
        if (module, name) == ("_codecs", "encode"):
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a data set")
