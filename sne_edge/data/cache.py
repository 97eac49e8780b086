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

from ..ir.frontend import LogMel
from ..resources import PACKAGE, digest
from ..store import Store
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


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


def _written(raw: Raw) -> bytes:
    arrays = {name: getattr(raw, name) for name in ARRAYS if getattr(raw, name) is not None}
    rest = {"classes": raw.classes, "frontend": raw.frontend, "standardise": raw.standardise, "mirrored": raw.mirrored}
    file = io.BytesIO()
    np.savez(file, rest=np.frombuffer(msgspec.json.encode(rest), np.uint8), **arrays)
    return file.getvalue()


def _read(content: bytes) -> Raw:
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        arrays = {name: file[name] for name in ARRAYS if name in file.files}
        rest = msgspec.json.decode(file["rest"].tobytes())
    frontend = None if rest["frontend"] is None else msgspec.convert(rest["frontend"], LogMel)
    made = Raw(**arrays, standardise=rest["standardise"], mirrored=rest["mirrored"])
    return replace(made, classes=tuple(rest["classes"]), frontend=frontend)
