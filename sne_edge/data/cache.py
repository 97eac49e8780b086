"""Data sets decoded once: arrays in the user's cache, by the contents of what they were decoded from.

In: a kind, a key over the contents, and how to decode. Out: `Raw`. The code that decodes and the versions of the
packages that it calls are part of every key.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.frontend import LogMel
from ..resources import PACKAGE, digest
from ..store import Store
from .formats import Members
from .raw import Raw

STORE = Store("data", ".npz", limit=2 << 30)
ARRAYS = ("x", "y", "x_test", "y_test", "audio", "audio_test")


def decoded(kind: str, key: str, decode: Callable[[], Raw], packages: tuple[str, ...] = ()) -> Raw:
    """What `decode` makes of contents with a `key`: from the cache, or made and kept there. `packages`: those whose
    code decodes."""
    code = digest(PACKAGE / "data", PACKAGE / "ir" / "frontend.py")
    decides = "\n".join((key, code, np.__version__, *map(_version, packages)))
    name = f"{kind}-{hashlib.sha256(decides.encode()).hexdigest()[:24]}"
    kept = STORE.find(name)
    if kept is not None:
        try:
            return _read(kept[1])
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile, msgspec.MsgspecError):
            pass  # not what this package writes
    made = decode()
    STORE.keep(name, _written(made))
    return made


def decoded_files(
    kind: str, members: Members, decode: Callable[[Members], Raw], packages: tuple[str, ...] = (), more: str = ""
) -> Raw:
    """What `decode` makes of the files of a folder or archive, by what all of them hold, and `more` that decides it.
    Raises `SneError` where they change meanwhile."""
    before = members.print()

    def whole() -> Raw:
        made = decode(members)
        if members.print() != before:
            raise SneError(f"{members.where} changed while it was read", "try again when nothing writes to it")
        return made

    return decoded(kind, before + more, whole, packages)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _written(raw: Raw) -> bytes:
    arrays = {name: getattr(raw, name) for name in ARRAYS if getattr(raw, name) is not None}
    names = ("classes", "frontend", "standardise", "mirrored", "columns")
    rest = {name: getattr(raw, name) for name in names}
    file = io.BytesIO()
    np.savez(file, rest=np.frombuffer(msgspec.json.encode(rest), np.uint8), **arrays)
    return file.getvalue()


def _read(content: bytes) -> Raw:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in ARRAYS if name in file.files}
        rest = msgspec.json.decode(file["rest"].tobytes())
    frontend = None if rest["frontend"] is None else msgspec.convert(rest["frontend"], LogMel)
    made = Raw(**arrays, standardise=rest["standardise"], mirrored=rest["mirrored"])
    return replace(made, classes=tuple(rest["classes"]), frontend=frontend, columns=tuple(rest["columns"]))
