"""A folder of generated files, which a user may have put files of their own beside.

In: rendered files, name -> text, one of them the manifest that names them all. Out: the folder holds them in place of
an earlier export's, and what else was in it is there as it was.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..errors import SneError, shortened
from ..files import read_file

MANIFEST = "manifest.json"
LONGEST = 200  # characters of a file's name, with its folders
ELSEWHERE = "move it elsewhere, or export to another directory with -o"


def install(files: dict[str, str], directory: Path, *, force: bool = False) -> Path:
    """Put rendered files in `directory`, in place of an earlier export; see `export.export`."""
    try:
        directory = directory.resolve() if directory.is_symlink() else directory
        taken = directory.exists() and not directory.is_dir()
    except OSError as error:
        raise SneError(f"cannot write {shortened(directory)}: {error.strerror}", "name another with -o") from None
    if taken:
        raise SneError(f"{directory} is a file", "name a directory for the export with -o")
    earlier: dict[str, str | None] = {}
    built: set[str] = set()
    try:
        if directory.is_dir() and any(directory.iterdir()):
            earlier, built = _earlier(directory, files)
            _check_places(directory, {*files, *earlier, *built})
            if not force:
                _check_unchanged(directory, earlier, files)
        directory.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            write_files(files, staging / "new")
            if _others(directory, {*earlier, *built}):
                _replace_files(staging / "new", directory, files, {*earlier, *built} - files.keys())
            else:
                _replace(staging / "new", directory, staging / "old")
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    except OSError as error:
        blocked = isinstance(error, FileExistsError | NotADirectoryError)
        why = "a part of its path is a file" if blocked else error.strerror
        raise SneError(
            f"cannot write {directory}: {why}", "check the folder, its permissions and the free space"
        ) from error
    return directory


def write_files(files: dict[str, str], folder: Path) -> None:
    """Write rendered files to a folder, which is made."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8", newline="\n")


def file_digest(content: bytes) -> str:
    """16 hex digits by which a file is known as it was written."""
    return hashlib.sha256(content).hexdigest()[:16]


def manifest_of(directory: Path | str) -> dict[str, Any]:
    """The manifest of an exported directory, of one model or several; `SneError` where there is none."""
    path, hint = Path(directory) / MANIFEST, "make one with `sne-edge export MODEL -o DIRECTORY`"
    try:
        manifest = json.loads(read_file(path, 2**20, hint=hint))
    except (SneError, ValueError, RecursionError) as error:
        raise SneError(f"{shortened(directory)} is not an exported model: {shortened(error)}", hint) from None
    named = isinstance(manifest, dict) and ("models" in manifest or {"identifier", "fingerprint"} <= manifest.keys())
    if not named or "sources" not in manifest:
        raise SneError(f"{path} is incomplete", "export the model again")
    return manifest  # type: ignore[no-any-return]


def _earlier(directory: Path, files: dict[str, str]) -> tuple[dict[str, str | None], set[str]]:
    """The files of the export in a directory with their digests, None where its manifest, of an older version, has
    none; and those that its Makefile makes."""
    try:
        manifest = manifest_of(directory)
        listed = manifest.get("files", None)
        if not isinstance(listed, dict):
            listed = dict.fromkeys([*manifest["sources"], *manifest.get("headers", []), *files])
        sources, identifier = manifest["sources"], manifest.get("identifier", "models")
        built = {"build/selftest", f"lib{identifier}.a", *(f"build/{Path(name).stem}.o" for name in sources)}
        for name in (*listed, *built):
            path = Path(name)
            if path.is_absolute() or ".." in path.parts or not 0 < len(name) <= LONGEST:
                raise ValueError(name)
    except (SneError, TypeError, ValueError):
        raise SneError(
            f"{directory} holds files that are not an export",
            "name an empty or new directory with -o, or remove it",
        ) from None
    return {**listed, MANIFEST: None}, built


def _check_places(directory: Path, names: Iterable[str]) -> None:
    """Raise `SneError` where a link, a folder or a file lies where generated files, or their folders, have to be."""
    for name in sorted(names):
        place = directory / name
        for folder in reversed(place.relative_to(directory).parents[:-1]):
            inner = directory / folder
            if inner.is_symlink() or (inner.exists() and not inner.is_dir()):
                kind = "link" if inner.is_symlink() else "file"
                raise SneError(f"{inner} is a {kind}, where an export has a folder", ELSEWHERE)
        if place.is_dir() and not place.is_symlink():
            raise SneError(f"{place} is a folder, where an export has a file", ELSEWHERE)


def _others(directory: Path, own: set[str]) -> bool:
    """Whether a directory holds more than an export and what its Makefile makes."""
    for place in directory.rglob("*"):
        name = place.relative_to(directory).as_posix()
        if place.is_symlink() or not place.is_dir():
            if name not in own:
                return True
        elif not any(place.iterdir()) and name != "build":
            return True
    return False


def _check_unchanged(directory: Path, earlier: dict[str, str | None], files: dict[str, str]) -> None:
    """Raise `SneError` where a file that would be written over or taken away is no longer what was exported."""
    changed = [
        name
        for name in sorted({*earlier, *files})
        if (directory / name).is_file()
        and (name not in earlier or earlier[name] not in (None, file_digest((directory / name).read_bytes())))
    ]
    if changed:
        raise SneError(
            f"{directory} holds files of an export that were changed since, or are your own: {', '.join(changed)}",
            "move them elsewhere, or write over them with force=True (--force)",
        )


def _replace(new: Path, directory: Path, old: Path) -> None:
    """A directory that holds nothing but an export, by a new one, at once."""
    if directory.exists():
        directory.rename(old)
    try:
        new.rename(directory)
    except OSError:
        if old.exists():
            old.rename(directory)
        raise


def _replace_files(new: Path, directory: Path, files: dict[str, str], gone: set[str]) -> None:
    """An export beside a user's own files, one after another, its manifest last; then what it no longer has goes."""
    for name in sorted(files, key=lambda name: name == MANIFEST):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (new / name).replace(directory / name)
    for name in gone:
        (directory / name).unlink(missing_ok=True)
        with suppress(OSError):  # it holds more, or never was
            (directory / name).parent.rmdir()
