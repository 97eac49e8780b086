"""The arrays of an `.npz` file, read only after a look at their headers: a small file can claim, or hold, terabytes.

In: a path and the names of arrays. Out: arrays of numbers.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from ..errors import SneError, shortened
from ..files import open_file

MAX_FILE_BYTES = 16 * 2**30
MAX_ARRAY_BYTES = 4 * 2**30  # of all arrays, unpacked
EMPTY_BYTES, EMPTY_RATIO = 2**28, 100  # arrays that large which pack that well hold no samples
MAX_HEADER_BYTES = 10_000  # numpy's own limit, which it looks at only after it has read the header
HINT = "an .npz data set holds x_train, y_train and, if you have them, x_test, y_test, layout and classes (numpy.savez)"


def read_npz(path: Path, names: frozenset[str] | set[str]) -> dict[str, np.ndarray]:
    """The file's arrays by name. Raises `SneError` where it cannot be read, holds other arrays than those of `names`,
    or headers that are damaged, of no numbers, or of more than `MAX_ARRAY_BYTES` in all."""
    with open_file(path, MAX_FILE_BYTES, hint=HINT) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                members = {info.filename.removesuffix(".npy"): info for info in archive.infolist()}
                if len(members) != len(archive.infolist()):
                    raise ValueError("it holds two arrays of one name")
                if odd := sorted(members.keys() - names):
                    more = ", ..." if len(odd) > 3 else ""
                    raise SneError(
                        f"{shortened(path)} holds arrays of unknown names: "
                        f"{', '.join(shortened(name, 40) for name in odd[:3])}{more}",
                        HINT,
                    )
                total = sum(_claimed(archive, info, name) for name, info in members.items())
                if total > MAX_ARRAY_BYTES:
                    raise SneError(
                        f"{shortened(path)} holds {total:,} bytes of arrays, more than {MAX_ARRAY_BYTES:,}",
                        "give fewer samples, or numbers of fewer bits",
                    )
                packed = max(1, sum(info.compress_size for info in members.values()))
                if total > EMPTY_BYTES and total > EMPTY_RATIO * packed:
                    raise SneError(
                        f"{shortened(path)} holds {total:,} bytes of arrays in {packed:,}: almost nothing but zeros",
                        "is it the file that was meant? numpy.savez writes arrays as they are",
                    )
                return {name: _read(archive, info) for name, info in members.items()}
        except SneError:
            raise
        except Exception as error:  # zipfile, zlib and numpy each have their own for a damaged file
            raise SneError(f"{shortened(path)} is not a readable .npz file: {shortened(error)}", HINT) from None


def _claimed(archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> int:
    """Bytes of an array by its header; `ValueError` where the archive differs, or it is neither numbers nor text."""
    with archive.open(info) as file:
        _check_length(file, name)
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file, max_header_size=MAX_HEADER_BYTES)
        start = file.tell()
    if dtype.kind not in "fiubU":  # a word of text is one number a letter; who wants numbers asks for them
        raise ValueError(f"{name} holds {dtype}, neither numbers nor text")
    size = math.prod(shape) * dtype.itemsize
    if info.file_size - start != size:
        raise ValueError(f"{name} should hold {size:,} bytes, but has {info.file_size - start:,}")
    return size


def _check_length(file: IO[bytes], name: str) -> None:
    start = file.read(12)
    version = start[6:8]
    if start[:6] != b"\x93NUMPY" or version not in (b"\1\0", b"\2\0"):
        raise ValueError(f"{name} is no array of numpy's format 1.0 or 2.0")
    length = int.from_bytes(start[8:10] if version == b"\1\0" else start[8:12], "little")
    if length > MAX_HEADER_BYTES:
        raise ValueError(f"{name} has a header of {length:,} bytes")


def _read(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> np.ndarray:
    with archive.open(info) as file:
        array: np.ndarray = np.lib.format.read_array(file, allow_pickle=False, max_header_size=MAX_HEADER_BYTES)
    return array
