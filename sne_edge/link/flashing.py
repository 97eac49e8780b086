"""Flashing: an image goes to a board by a way that board and computer have: a USB drive, pyOCD, Arduino's bootloader.

In: a board, and what was asked for. Out: a plan, whose steps can be told or carried out.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ..deploy.boards import Board
from ..deploy.build import Firmware
from ..errors import SneError, printable
from .drives import copy_image, find_drive
from .ports import SerialPort, serial_ports

WAYS = ("drive", "pyocd", "bossac")
BOOTLOADER_SECONDS = 10.0  # for it to show its port
TOOL_SECONDS = 180.0
PYOCD_HINT = "install it: pip install 'sne-edge[flash]'"
BOSSAC_HINT = "install it: apt-get install bossa-cli, or take the one that came with the Arduino IDE"


@dataclass(frozen=True)
class Plan:
    """How an image gets to a board. `way`: of `WAYS`; `image`: firmware.<image> is what goes there; `where`: the drive,
    or the port; `command`: of the tool, {image} for the file."""

    board: Board
    way: str
    image: str
    where: str | None = None
    command: tuple[str, ...] = ()

    def steps(self) -> list[str]:
        """What carrying it out does, a line each."""
        file = f"firmware.{self.image}"
        if self.way == "drive":
            return [f"copy {file} to {self.where}, which flashes it and restarts the board"]
        steps = [f"run {' '.join(self.command).format(image=file)}"]
        if self.way == "bossac":
            steps.insert(0, f"open {self.where} at 1200 baud and close it, which starts the bootloader, unless it runs")
        return steps


def plan_flashing(board: Board, way: str | None = None, drive: Path | None = None, port: str | None = None) -> Plan:
    """The way that was asked for, or the first that computer and board have. Nothing is built, opened or written.

    Raises `SneError` where the board exists only in QEMU, or no way is there: then it says what each lacks.
    """
    if board.clock_hz == 0:
        raise SneError(
            f"{board.name} exists only in QEMU: there is nothing to flash", f"run it there: --on qemu:{board.name}"
        )
    known = _ways(board)
    if not known:
        raise SneError(
            f"no way to flash {board.name} is known", "build the firmware and use the tool that you have for the board"
        )
    if drive is not None and port is not None:
        raise SneError("--drive and --port are two ways to flash", "give one of them")
    if way is None:
        way = "drive" if drive is not None else "bossac" if port is not None else None
    if way is not None and way not in known:
        raise SneError(f"{board.name} cannot be flashed by {way}", f"it takes {' or '.join(known)}")
    makers: dict[str, Callable[[], Plan]] = {
        "drive": lambda: _by_drive(board, drive),
        "pyocd": lambda: _by_pyocd(board),
        "bossac": lambda: _by_bossac(board, port),
    }
    lacks = []
    for each in known if way is None else [way]:
        try:
            return makers[each]()
        except SneError as error:
            if way is not None:
                raise
            lacks.append(error)
    raise SneError(
        f"{board.name} cannot be flashed from here: " + "; ".join(error.message for error in lacks),
        "; or ".join(error.hint for error in lacks),
    )


def _ways(board: Board) -> list[str]:
    if board.flashing is None:
        return []
    has = {"drive": board.flashing.volume, "bossac": board.flashing.bossac, "pyocd": board.flashing.pyocd}
    return [name for name, there in has.items() if there]


def _by_drive(board: Board, given: Path | None) -> Plan:
    assert board.flashing is not None
    return Plan(board, "drive", board.flashing.file, str(find_drive(board, given)))


def _by_pyocd(board: Board) -> Plan:
    assert board.flashing is not None
    if find_spec("pyocd") is not None:
        tool = (sys.executable, "-m", "pyocd")
    elif shutil.which("pyocd"):
        tool = ("pyocd",)  # type: ignore[assignment]
    else:
        raise SneError("pyOCD is not installed", PYOCD_HINT)
    return Plan(board, "pyocd", "hex", None, (*tool, "flash", "--target", str(board.flashing.pyocd), "{image}"))


def _by_bossac(board: Board, port: str | None) -> Plan:
    if shutil.which("bossac") is None:
        raise SneError("bossac is not installed", BOSSAC_HINT)
    if port is None:
        found = [each.port for each in serial_ports() if each.usb_id in board.usb]
        if len(found) != 1:
            what = f"{len(found)} ports could be {board.name}'s: {', '.join(found)}" if found else "no port is"
            raise SneError(what if found else f"{what} {board.name}'s", "plug it in, or say which port with --port")
        port = found[0]
    return Plan(
        board, "bossac", "bin", port, ("bossac", f"--port={port}", "-i", "-d", "-U", "-e", "-w", "{image}", "-R")
    )


def flash(plan: Plan, firmware: Firmware) -> None:
    """Carry a plan out with firmware that was built for its board. Raises `SneError` where that fails."""
    image = {"hex": firmware.hex, "bin": firmware.binary, "uf2": firmware.uf2}[plan.image]
    assert image is not None, f"the board has no {plan.image}"
    if plan.way == "drive":
        assert plan.where is not None
        copy_image(image, Path(plan.where))
        return
    command = plan.command
    if plan.way == "bossac":
        assert plan.where is not None
        port = start_bootloader(plan.board, plan.where)
        command = tuple(part.replace(plan.where, port) for part in command)
    _run([str(image) if part == "{image}" else part for part in command], plan)


def start_bootloader(board: Board, port: str, seconds: float = BOOTLOADER_SECONDS) -> str:
    """Have Arduino's bootloader run, which 1200 baud ask for, and return the port that it has."""
    boot = board.usb[-1]
    here = {each.port: each for each in serial_ports()}
    if port in here and here[port].usb_id == boot:
        return port
    import serial

    try:
        serial.Serial(port, 1200).close()
    except (OSError, ValueError) as error:
        raise SneError(
            f"cannot open {port}: {getattr(error, 'strerror', None) or error}", "is it plugged in?"
        ) from None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = [each.port for each in serial_ports() if each.usb_id == boot]
        if found:
            return found[0]
        time.sleep(0.2)
    raise SneError(f"the bootloader of {board.name} did not start", "press its button twice, quickly, and try again")


def _run(command: list[str], plan: Plan) -> None:
    """Run a tool whose failure is an error with the last that it said."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TOOL_SECONDS, check=False)
    except OSError as error:
        raise SneError(f"cannot run {command[0]}: {error.strerror}", "is it installed?") from None
    except subprocess.TimeoutExpired:
        raise SneError(
            f"{plan.way} did not end within {TOOL_SECONDS:.0f} s", "unplug the board and try again"
        ) from None
    if done.returncode:
        said = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        last = printable(said[-1])[:300] if said else f"exit code {done.returncode}"
        unknown = any("not recognized" in line for line in said)
        install = (
            f"install its chip's pack: pyocd pack install {plan.board.flashing.pyocd if plan.board.flashing else ''}"
        )
        raise SneError(
            f"{plan.way} failed: {last}", install if unknown else "is the board plugged in, and its probe free?"
        )


def boards_of(port: SerialPort, boards: tuple[Board, ...]) -> list[Board]:
    """The boards that a port's USB id may belong to."""
    return [board for board in boards if port.usb_id is not None and port.usb_id in board.usb]
