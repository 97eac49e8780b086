"""What is plugged in: each serial port, the boards that its USB id may belong to, and what their firmware serves.

In: this computer's ports. Out: a `Found` for each.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ..deploy.boards import all_boards
from ..errors import SneError
from .flashing import boards_of
from .ports import SerialPort, serial_ports
from .replies import device_info
from .session import Session
from .transport import BAUD, open_transport

ASK_SECONDS, ASK_ATTEMPTS = 0.4, 3  # a board that was reset by opening its port gets the time to start
# Ports that say who made them, not which board it is; those are reached by packages.
ADAPTERS = {
    "0483:374b": "an ST-Link",
    "0483:374e": "an ST-Link",
    "0483:374f": "an ST-Link",
    "2e8a:000c": "a Raspberry Pi Debug Probe",
    "2e8a:000a": "a Raspberry Pi Pico with another program",
    "10c4:ea60": "a CP210x, as many ESP32 boards have",
    "1a86:7523": "a CH340, as many ESP32 boards have",
    "0403:6001": "an FTDI adapter",
    "303a:1001": "an ESP32 (C3, C6, S3)",
    "16c0:0483": "a Teensy",
}


@dataclass(frozen=True)
class Found:
    """A port. `boards`: names of boards that it may be; `adapter`: what else its USB id says; `runs`: the model that
    its firmware serves, with `board` and `fingerprint`, where it was asked and answered."""

    port: SerialPort
    boards: tuple[str, ...]
    adapter: str | None
    runs: str | None = None
    board: str | None = None
    fingerprint: str | None = None


def survey(everyone: bool = False, baud: int = BAUD) -> list[Found]:
    """All ports. Those of known boards are asked what they run, at the same time and for two seconds at most; with
    `everyone` all that are USB's are: to open a port resets some boards."""
    boards = all_boards()
    found = [
        Found(port, tuple(board.name for board in boards_of(port, boards)), ADAPTERS.get(port.usb_id or ""))
        for port in serial_ports()
    ]
    asked = [each for each in found if each.boards or (everyone and each.port.usb_id)]
    if not asked:
        return found
    with ThreadPoolExecutor(max_workers=min(16, len(asked))) as pool:
        told = dict(zip((each.port.port for each in asked), pool.map(lambda f: _ask(f, baud), asked), strict=True))
    return [told.get(each.port.port, each) for each in found]


def _ask(found: Found, baud: int) -> Found:
    """Ask one, with little patience: another program may run there, or none."""
    try:
        line = open_transport(found.port.port, None, baud)
    except SneError:
        return found
    try:
        session = Session(line, found.port.port)
        answer = session.ask("INFO", timeout=ASK_SECONDS, attempts=ASK_ATTEMPTS)
        info = device_info(answer.values)
    except SneError:
        return found
    finally:
        line.close()
    return Found(found.port, found.boards, found.adapter, info.name, info.board, info.fingerprint)
