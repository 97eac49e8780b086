"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .errors import SneError


def write_whole(
    path: Path,
    write: Callable[[Any], object],
    *,
    hint: str = "free some space, or give another folder",
) -> None:
    """Make a file by `write(file)`, binary, with the permissions that a new file has; folders on the way are made.

    Raises `SneError`, with `hint`, where it cannot be written; then there is no trace of it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
        try:
            with os.fdopen(handle, "wb") as file:
                write(file)
            Path(temporary).chmod(0o666 & ~_umask())  # a temporary file is its owner's alone
            Path(temporary).replace(path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SneError(f"cannot write {path}: {error.strerror}", hint) from error


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
