"""Drives that a board shows over USB and that flash what is copied onto them: found by their label, told apart by what
they say of themselves.

In: a label. Out: a folder that is that drive, and an image on it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import time
from pathlib import Path

from ..deploy.boards import Board
from ..errors import SneError, printable, shortened
from ..files import is_folder, read_file

MOUNTS = Path("/proc/self/mounts")
DESCRIPTIONS = ("INFO_UF2.TXT", "DETAILS.TXT", "MBED.HTM")
FAILURE = "FAIL.TXT"
FAILURE_SECONDS = 10.0  # within which a drive says that it could not flash
GONE = (errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT)


def mounted(label: str) -> list[Path]:
    """The mounted drives of that label, or of it and a number, as a second one gets; nothing is mounted for it."""
    named = re.compile(re.escape(label) + r"\d*")
    return sorted(path for name, path in _mounts() if named.fullmatch(name))


def _mounts() -> list[tuple[str, Path]]:
    """Where removable drives may be: labels and folders. On Linux and macOS a drive's folder is named by its label."""
    if os.name == "nt":
        return _drive_letters()
    if sys.platform == "darwin":
        return [(path.name, path) for path in Path("/Volumes").iterdir()]
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []
    fields = [line.split(" ")[1] for line in lines if line.count(" ") >= 2]
    paths = [Path(re.sub(r"\\(\d{3})", lambda octal: chr(int(octal[1], 8)), field)) for field in fields]
    return [(path.name, path) for path in paths]


def _drive_letters() -> list[tuple[str, Path]]:
    """The same on Windows, which names drives by letters."""
    import ctypes

    ask = ctypes.windll.kernel32.GetVolumeInformationW  # type: ignore[attr-defined]
    label, found = ctypes.create_unicode_buffer(261), []
    for letter in "DEFGHIJKLMNOPQRSTUVWXYZ":
        if ask(f"{letter}:\\", label, len(label), None, None, None, None, 0):
            found.append((label.value, Path(f"{letter}:\\")))
    return found


def find_drive(board: Board, given: Path | None) -> Path:
    """The drive of a board, or the one that is `given`, once it has said that it is that board's. Raises `SneError`
    where there is none, there are several, or it is another's."""
    assert board.flashing is not None and board.flashing.volume is not None
    label = board.flashing.volume
    if given is not None:
        if not is_folder(given):
            raise SneError(
                f"{shortened(given)} is not a folder", f"give the folder at which the drive {label} is mounted"
            )
        found = [given]
    else:
        found = mounted(label)
    if not found:
        raise SneError(f"no drive {label} is mounted", how_to_show(board))
    if len(found) > 1:
        raise SneError(
            f"{len(found)} drives could be {board.name}'s: {', '.join(map(str, found))}", "say which with --drive"
        )
    check_drive(board, found[0])
    return found[0]


def how_to_show(board: Board) -> str:
    """What makes the board show its drive."""
    if board.boot:
        return f"hold BOOTSEL while you plug {board.name} in, mount the drive that appears, or name it with --drive"
    return f"plug {board.name} in and mount the drive that appears, or name it with --drive"


def check_drive(board: Board, drive: Path) -> None:
    """Raise `SneError` where a drive says that it belongs to another board."""
    says = board.flashing.drive_says if board.flashing else None
    if says is None:
        return
    told = ""
    for name in DESCRIPTIONS:
        with contextlib.suppress(SneError):
            told += read_file(drive / name, 1 << 16, hint="").decode(errors="replace")
    if not re.search(says, told):
        what = "it says nothing of itself" if not told else f"it does not say {says!r}"
        raise SneError(f"{drive} is not the drive of {board.name}: {what}", "is another board plugged in? see --drive")


def copy_image(image: Path, drive: Path, patience: float = FAILURE_SECONDS) -> None:
    """Copy an image to a drive, and wait for what it says of it: it may vanish at once, which is well.

    Raises `SneError` where the drive takes no file, or says that it failed.
    """
    failure = drive / FAILURE
    before = _said(failure)
    content = image.read_bytes()
    written = 0
    try:
        with (drive / image.name).open("wb", buffering=0) as file:
            while written < len(content):
                written += file.write(content[written : written + (1 << 16)])
            os.fsync(file.fileno())
    except OSError as error:
        if written < len(content) or error.errno not in GONE:
            raise SneError(
                f"cannot write {image.name} to {drive}: {error.strerror}", "is the drive full, or write-protected?"
            ) from None
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline and drive.is_dir():
        said = _said(failure)
        if said and said != before:
            raise SneError(
                f"{drive} could not flash {image.name}: {printable(said)}", "copy it once more; or use pyOCD"
            )
        if not (drive / image.name).exists():  # taken
            return
        time.sleep(0.1)


def _said(path: Path) -> str:
    try:
        return " ".join(read_file(path, 1 << 12, hint="").decode(errors="replace").split())
    except SneError:
        return ""
