"""What can be made anew, kept: files in the user's cache folder, by key, checked when read, bounded in size.

In: a key over everything that decides a file's bytes, and the bytes. Out: the file, or None where there is none that is
whole. A file's name holds its key and a hash of its content, so a damaged one is told, and one rename makes it appear.
Where the folder cannot be written nothing is kept, which is no error: what is kept is never the only copy.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from .errors import SneError
from .files import write_whole

LEFT_OVER = 86_400  # seconds after which a temporary file is one of a process that died


def user_cache() -> Path:
    """The user's cache folder for this package."""
    from platformdirs import user_cache_path

    return Path(user_cache_path("sne-edge"))


@dataclass(frozen=True)
class Store:
    """Files of one kind in a folder of the user's cache; the least recently used go when they exceed `limit` bytes."""

    folder: str
    suffix: str
    limit: int

    @property
    def path(self) -> Path:
        """Where its files lie."""
        return user_cache() / self.folder

    def find(self, key: str) -> tuple[Path, bytes] | None:
        """The file of a key and its content, whose hash is right, or None; damaged files go."""
        for path in self.path.glob(f"{key}-*{self.suffix}"):
            try:
                content = path.read_bytes()
                if path.name != self._name(key, content):
                    path.unlink(missing_ok=True)
                    continue
                os.utime(path)  # it is in use
            except OSError:  # gone since, or another user's
                continue
            return path, content
        return None

    def keep(self, key: str, content: bytes) -> Path | None:
        """Write the file of a key, and return where it is, or None where that cannot be."""
        path = self.path / self._name(key, content)
        try:
            write_whole(path, lambda file: file.write(content))
            self._trim(path)
        except (SneError, OSError):
            return None
        return path

    def _name(self, key: str, content: bytes) -> str:
        return f"{key}-{hashlib.sha256(content).hexdigest()[:32]}{self.suffix}"

    def _trim(self, newest: Path) -> None:
        """Remove the least recently used files beyond the limit, but never `newest`, and what dead processes left."""
        room, now = self.limit, time.time()
        for path, size, used in sorted(_files(self.path), key=lambda f: (f[0] != str(newest), -f[2])):
            room -= size
            dead = path.endswith(".tmp") and now - used > LEFT_OVER
            if dead or (room < 0 and path.endswith(self.suffix) and path != str(newest)):
                Path(path).unlink(missing_ok=True)


def _files(folder: Path) -> Iterator[tuple[str, int, float]]:
    """Files of a folder: path, size, time of last use; by strings, since there may be thousands."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                stat = entry.stat()
            except OSError:  # gone since
                continue
            yield entry.path, stat.st_size, stat.st_mtime
