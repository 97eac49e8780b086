"""The serial ports of this computer, and what USB says of the boards behind them."""

from __future__ import annotations

import os
from dataclasses import dataclass

from ..errors import printable


@dataclass(frozen=True)
class SerialPort:
    """A port. `usb_id`: VENDOR:PRODUCT in hexadecimal; None, like all else, where USB says nothing."""

    port: str
    description: str
    usb_id: str | None
    serial_number: str | None
    manufacturer: str | None


def serial_ports() -> list[SerialPort]:
    """All of them, by name."""
    from serial.tools import list_ports

    return [
        SerialPort(
            port=found.device,
            description=_text(found.description) or "-",
            usb_id=None if found.vid is None or found.pid is None else f"{found.vid:04x}:{found.pid:04x}",
            serial_number=_text(found.serial_number),
            manufacturer=_text(found.manufacturer),
        )
        for found in sorted(list_ports.comports())
    ]


def port_of(where: str) -> SerialPort | None:
    """What is known of the port that `where` names, be it by a link to it; None where it names none."""
    real = os.path.realpath(where)
    return next((port for port in serial_ports() if port.port in (where, real)), None)


def _text(said: str | None) -> str | None:
    """A device wrote it."""
    return None if said is None or said == "n/a" else printable(said).replace("\n", "?")
