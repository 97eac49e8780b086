"""Boards: real or emulated machines that firmware can be built for, each a folder with a `board.toml`.

In: a board's name, or the path of a folder of one's own. Out: its memory map, serial line and emulator.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import msgspec

from ..errors import SneError, nearest, shortened
from ..files import read_file
from ..resources import FIRMWARE

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

BOARDS = FIRMWARE / "boards"


@dataclass(frozen=True)
class Uart:
    """The serial line. `driver`: firmware/uart_<driver>.c; `base`: address of its registers; `interrupt`: its number
    in the NVIC, or RISC-V's PLIC; `clock_hz`: what its baud rate is divided from."""

    driver: str
    base: int
    interrupt: int
    clock_hz: int
    baud: int


@dataclass(frozen=True)
class Trigger:
    """The pin that is high during an inference. `driver`: firmware/trigger_<driver>.c; `memory`: a word in its
    place."""

    driver: str = "memory"
    pin: int = 0


@dataclass(frozen=True)
class Emulator:
    """QEMU's machine. `systick_hz`: of its SysTick, or of RISC-V's counter; `icount_shift`: an instruction takes
    2^shift ns of its time; `cpu`: where the machine's usual one is not meant; `serial`: which of its serial lines is
    the board's."""

    machine: str
    systick_hz: int
    icount_shift: int
    cpu: str = ""
    serial: int = 0

    @property
    def instructions_per_tick(self) -> Fraction:
        """Exact; below a half, so that counts round to the very instruction."""
        return Fraction(10**9, self.systick_hz << self.icount_shift)


@dataclass(frozen=True)
class Flashing:
    """Ways to put an image on the board. `volume`: the label of the USB drive that it shows and `file`, the image that
    is copied there, hex, bin or uf2; `drive_says`: a pattern of what the drive says of itself; `uf2_family`: which
    chips that is for; `pyocd`: pyOCD's name of the chip; `bossac`: Arduino's bootloader is there."""

    volume: str | None = None
    file: str = "hex"
    drive_says: str | None = None
    uf2_family: int | None = None
    pyocd: str | None = None
    bossac: bool = False


@dataclass(frozen=True)
class Board:
    """A machine. `target`: see `targets`; `clock_hz`: of the core when it serves, 0 for one that exists only emulated;
    `stack_bytes`: reserved for the stack; `reset_hz`: of the core before firmware/speed_<speed>.c has raised it;
    `boot`: firmware/boot_<boot>.c, what a boot ROM wants to find; `constants`: for drivers, BOARD_<NAME>; `usb`:
    VENDOR:PRODUCT of what shows up where it is plugged in; `folder`: where it is described, and where drivers of its
    own lie."""

    name: str
    description: str
    target: str
    flash_origin: int
    flash_bytes: int
    ram_origin: int
    ram_bytes: int
    stack_bytes: int
    clock_hz: int
    uart: Uart
    emulator: Emulator | None
    trigger: Trigger = Trigger()
    speed: str | None = None
    reset_hz: int = 0
    boot: str | None = None
    constants: tuple[tuple[str, int], ...] = ()
    usb: tuple[str, ...] = ()
    flashing: Flashing | None = None
    folder: str = ""

    def source(self, name: str) -> Path:
        """A file of its firmware: the board's own where its folder holds one of that name, else the one for all."""
        own = Path(self.folder) / name
        return own if own.is_file() else FIRMWARE / name

    @property
    def tried(self) -> str:
        """Where its firmware has run; no board's has run on silicon yet."""
        silicon = ["not tried on silicon"] if self.clock_hz else []
        return ", ".join((["QEMU"] if self.emulator else []) + silicon)


@cache
def all_boards() -> tuple[Board, ...]:
    """Every board, by name."""
    return tuple(read_board(path.parent) for path in sorted(BOARDS.glob("*/board.toml")))


def resolve_board(name: str) -> Board:
    """The board of that name, or in a folder of one's own, whose path has a slash; `SneError` lists the names where
    there is none."""
    if "/" in name:
        return read_board(Path(name))
    for board in all_boards():
        if board.name == name:
            return board
    names = [board.name for board in all_boards()]
    raise SneError(
        f"there is no board {shortened(name)!r}",
        f"{nearest(name, names)}boards are: {', '.join(names)}; or ./FOLDER, of your own",
    )


def read_board(folder: Path) -> Board:
    """Read a folder's `board.toml`. Raises `SneError` naming the file and what is wrong in it."""
    path = folder / "board.toml"
    text = read_file(path, 65536, hint="a board is a folder with a board.toml: compare it with another board's")
    name = folder.resolve().name
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", name) is None:
        raise SneError(f"{shortened(name)!r} cannot be a board's name", "name its folder by letters, digits, - and _")
    try:
        table: dict[str, Any] = tomllib.loads(text.decode())
        hardware = table.get("hardware", {})
        board = Board(
            name=name,
            description=table["description"],
            target=table["target"],
            flash_origin=table["flash"]["origin"],
            flash_bytes=table["flash"]["length"],
            ram_origin=table["ram"]["origin"],
            ram_bytes=table["ram"]["length"],
            stack_bytes=table["stack_bytes"],
            clock_hz=hardware.get("clock_hz", 0),
            uart=Uart(**table["uart"]),
            emulator=Emulator(**table["qemu"]) if "qemu" in table else None,
            trigger=Trigger(**table.get("trigger", {})),
            speed=hardware.get("speed"),
            reset_hz=hardware.get("reset_hz", 0),
            boot=hardware.get("boot"),
            constants=tuple(table.get("constants", {}).items()),
            usb=tuple(hardware.get("usb", ())),
            flashing=Flashing(**table["flashing"]) if "flashing" in table else None,
            folder=str(folder.resolve()),
        )
        msgspec.convert(msgspec.to_builtins(board), Board)  # every field is of its type
        _check(board)
    except (ValueError, KeyError, TypeError, AttributeError, msgspec.ValidationError) as error:
        raise SneError(f"{path} is not a board: {error!r}", "compare it with another board's board.toml") from None
    return board


def _check(board: Board) -> None:
    """Raise `ValueError` where C cannot be made of what the board says, or a driver that it names is a file neither of
    its own nor of the firmware's."""
    if not board.description.isprintable() or "*/" in board.description:
        raise ValueError("description is no line that a comment in C may hold")
    for name, value in board.constants:
        if not (name.isascii() and name.isidentifier()) or value < 0:
            raise ValueError(f"{name} = {value} cannot be a constant in C")
    named = {"uart": board.uart.driver, "trigger": board.trigger.driver, "speed": board.speed, "boot": board.boot}
    for part, driver in named.items():
        if driver is None or (driver.isidentifier() and board.source(f"{part}_{driver}.c").is_file()):
            continue
        known = sorted(path.stem.removeprefix(f"{part}_") for path in FIRMWARE.glob(f"{part}_*.c"))
        raise ValueError(f"there is no {part}_{driver}.c; known: {', '.join(known)}")
