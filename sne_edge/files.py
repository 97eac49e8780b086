"""Users' files: read whole after a look at what they are, written whole or not at all; and temporary folders."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from .errors import SneError, shortened

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None  # type: ignore[assignment]

SPACE_HINT = "free some space, or give another folder"
UNWRITABLE = "check the folder, its permissions and the free space"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFDIR: "a folder",
}
_STALE_SECONDS = 60.0  # by then a folder's maker has locked it


def open_file(path: Path | str, limit: int, *, hint: str) -> BinaryIO:
    """Open a user's file for reading. Raises `SneError`, with `hint`, where it cannot be opened, is longer than `limit`
    bytes, or no regular file: a pipe or a device may never end."""
    path = Path(path)
    try:
        _check_kind(path, path.stat().st_mode, "read", hint)  # a look first: to open a serial port resets a board
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
        file = os.fdopen(os.open(path, flags), "rb")
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise SneError(f"cannot read {shortened(path)}: {reason}", hint) from None
    try:
        found = os.fstat(file.fileno())
        _check_kind(path, found.st_mode, "read", hint)
        if found.st_size > limit:
            raise SneError(
                f"{shortened(path)} is larger than {limit >> 20:,} MiB", f"is it the file that was meant? {hint}"
            )
    except BaseException:
        file.close()
        raise
    return file


def read_file(path: Path | str, limit: int, *, hint: str) -> bytes:
    """The bytes of a user's file; see `open_file`."""
    with open_file(path, limit, hint=hint) as file:
        try:
            return file.read(limit + 1)
        except OSError as error:
            raise SneError(f"cannot read {shortened(path)}: {error.strerror}", hint) from None


def is_folder(path: Path | str) -> bool:
    """Whether there is a folder of that name; a name that cannot be one has none."""
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # too long, say
        return False


def check_writable(path: Path | str) -> None:
    """Raise `SneError` now where `write_whole` could not write `path` after a long run. Nothing is made for that."""
    path = Path(path)
    try:
        with contextlib.suppress(FileNotFoundError):
            _check_kind(path, path.stat().st_mode, "write", UNWRITABLE)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        with tempfile.TemporaryFile(dir=folder):
            pass
    except (OSError, ValueError) as error:
        raise _unwritable(path, error, UNWRITABLE) from error


def write_whole(path: Path, write: Callable[[Any], object], *, hint: str = SPACE_HINT) -> None:
    """Make a file by `write(file)`, binary, with the permissions that a new file has; folders on the way are made.

    Raises `SneError`, with `hint`, where it cannot be written; then there is no trace of it.
    """
    write_all(path.parent, {path.name: write}, hint=hint)


def holding(content: bytes) -> Callable[[BinaryIO], object]:
    """What `write_whole` and `write_all` take to write a file of this content."""
    return lambda file: file.write(content)


def write_all(folder: Path, files: Mapping[str, Callable[[Any], object]], *, hint: str = SPACE_HINT) -> None:
    """Make several files of a folder, in this order, as `write_whole` makes one: all of them or none."""
    made = [parent for parent in (folder, *folder.parents) if not os.path.lexists(parent)]
    staged: dict[Path, Path] = {}
    path = folder
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, write in files.items():
                path = folder / name
                with contextlib.suppress(FileNotFoundError):
                    _check_kind(path, path.stat().st_mode, "write", hint)
                handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name[:40]}-", suffix=".tmp")
                staged[path] = Path(temporary)
                with os.fdopen(handle, "wb") as file:
                    write(file)
                staged[path].chmod(0o666 & ~_umask())  # a temporary file is its owner's alone
            for path, temporary_path in staged.items():
                temporary_path.replace(path)
        except BaseException:
            for temporary_path in staged.values():
                temporary_path.unlink(missing_ok=True)
            for parent in made:
                with contextlib.suppress(OSError):
                    parent.rmdir()
            raise
    except OSError as error:
        raise _unwritable(path, error, hint) from error


@contextmanager
def workspace() -> Iterator[Path]:
    """A temporary folder for a while. What killed processes of the same user left is swept away on the way."""
    root = Path(tempfile.gettempdir())
    _sweep(root)
    try:
        with tempfile.TemporaryDirectory(prefix=_PREFIX, ignore_cleanup_errors=True) as made:
            folder = Path(made)
            with (folder / _LOCK).open("wb") as lock:  # held as long as this process lives
                if fcntl is not None:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                yield folder
    except OSError as error:
        if error.errno not in _FULL and not str(error.filename or "").startswith(str(root)):
            raise
        raise SneError(
            f"cannot work in {root}: {error.strerror}", "free some space there, or set TMPDIR to another folder"
        ) from error


_PREFIX, _LOCK = "sne-edge-", ".lock"


def _sweep(root: Path) -> None:
    """Remove folders of `workspace` that no living process holds."""
    if fcntl is None:
        return
    with contextlib.suppress(OSError):
        for folder in root.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                found = folder.lstat()
                aged = time.time() - found.st_mtime > _STALE_SECONDS
                if not (stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid() and aged):
                    continue
                with (folder / _LOCK).open("r+b") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(folder, ignore_errors=True)


def _check_kind(path: Path, mode: int, what: str, hint: str) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "something else")
        raise SneError(f"cannot {what} {shortened(path)}: it is {kind}, not a file", hint)


def _unwritable(path: Path, error: Exception, hint: str) -> SneError:
    return SneError(f"cannot write {shortened(path)}: {getattr(error, 'strerror', None) or error}", hint)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
