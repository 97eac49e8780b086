"""Ways to a device: a serial port, a TCP socket, an emulator of our own, the host build in this process.

In and out: bytes. Every read and write is bounded in time.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import stat
import sys
import time
from pathlib import Path
from typing import Any, Protocol

from ..deploy.boards import all_boards, resolve_board
from ..errors import SneError, nearest, shortened
from .ports import serial_ports

BAUD = 115200


class LineError(Exception):
    """The line broke; the message says how."""


class Transport(Protocol):
    """A line to a device. Errors on it are `LineError`; `TimeoutError` where it takes no bytes in time."""

    def write(self, data: bytes, timeout: float) -> None:
        """Send all of `data` within `timeout` seconds."""
        ...

    def read(self, timeout: float) -> bytes:
        """What has arrived, waiting at most `timeout` seconds for the first byte; empty if none did."""
        ...

    def set_rate(self, baud: int) -> None:
        """Talk at another speed from here on; where there is none, nothing happens."""
        ...

    def close(self) -> None:
        """Give the line back."""
        ...


def open_transport(where: str, image: Path | str | None, baud: int = BAUD, rtscts: bool = False) -> Transport:
    """The transport that `where` names: a port (at `baud`, with `rtscts` flow control), socket://HOST:PORT, qemu:BOARD
    (`image`: its ELF) or host (`image`: an exported directory). Raises `SneError` where it cannot be opened."""
    if where == "host":
        if image is None:
            raise SneError("the host device needs an exported directory", "give the one that `sne-edge export` wrote")
        return HostLine(Path(image))
    if where.startswith("qemu:"):
        if image is None:
            raise SneError(f"{where} needs a firmware image", "build it with `sne-edge build` and give firmware.elf")
        return EmulatorLine(where.removeprefix("qemu:"), Path(image))
    if where.startswith("socket://"):
        return SocketLine(_connect(where))
    return SerialLine(where, baud, rtscts)


class SerialLine:
    """A serial port, 8N1."""

    def __init__(self, port: str, baud: int = BAUD, rtscts: bool = False) -> None:
        import serial

        try:
            self._port = serial.Serial(port, baud, timeout=0.1, write_timeout=1.0, rtscts=rtscts, exclusive=True)
        except (OSError, ValueError) as error:  # SerialException is an OSError
            raise SneError(f"cannot open {port}: {_reason(error)}", _ports_hint(port)) from None

    def write(self, data: bytes, timeout: float) -> None:
        import serial

        try:
            self._port.write_timeout = timeout
            self._port.write(data)
        except serial.SerialTimeoutException:
            raise TimeoutError from None
        except (OSError, TypeError) as error:  # pyserial raises TypeError on a port closed under it
            raise LineError(_reason(error)) from None

    def read(self, timeout: float) -> bytes:
        try:
            self._port.timeout = timeout
            first: bytes = self._port.read(1)
            return first + self._port.read(self._port.in_waiting) if first else b""
        except (OSError, TypeError) as error:
            raise LineError(_reason(error)) from None

    def set_rate(self, baud: int) -> None:
        try:
            self._port.baudrate = baud
        except (OSError, ValueError, TypeError) as error:
            raise LineError(f"it cannot have {baud} baud: {_reason(error)}") from None

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._port.close()


class SocketLine:
    """A connected TCP socket."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.setblocking(False)

    def write(self, data: bytes, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        view = memoryview(data)
        while view:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([], [self._line], [], left)[1]:
                raise TimeoutError
            try:
                view = view[self._line.send(view) :]
            except BlockingIOError:
                continue
            except OSError as error:
                raise LineError(_reason(error)) from None

    def read(self, timeout: float) -> bytes:
        try:
            if not select.select([self._line], [], [], max(0.0, timeout))[0]:
                return b""
            data = self._line.recv(65536)
        except OSError as error:
            raise LineError(_reason(error)) from None
        if not data:
            raise LineError("the other end closed the connection")
        return data

    def set_rate(self, baud: int) -> None:
        pass

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._line.close()


class EmulatorLine(SocketLine):
    """The serial line of an emulator that lives as long as this."""

    def __init__(self, board: str, elf: Path) -> None:
        from .qemu import Qemu

        self._emulator = Qemu(resolve_board(board), elf)
        super().__init__(self._emulator.line)

    def read(self, timeout: float) -> bytes:
        try:
            return super().read(timeout)
        except LineError as error:
            raise LineError(f"QEMU ended: {self._emulator.failure(patience=2) or error}") from None

    def close(self) -> None:
        self._emulator.close()


class HostLine:
    """The host build of an exported model behind the device's own protocol code, in this process."""

    _CHUNK, _CAPACITY = 256, 1 << 16  # so many bytes cannot draw replies of more than the capacity

    def __init__(self, directory: Path) -> None:
        import cffi

        from ..deploy.build import render_served_model
        from ..deploy.library import build_library
        from ..files import workspace
        from ..resources import FIRMWARE, WIRE

        with workspace() as work:
            served = render_served_model(directory, work)
            extra = (*WIRE, FIRMWARE / "host.c", served)
            library = build_library(directory, work / "device.so", extra, ("SNE_TRACE",))
            ffi: Any = cffi.FFI()
            ffi.cdef(
                "void sne_host_open(void);"
                "size_t sne_host_exchange(const uint8_t *received, size_t n, uint8_t *answer, size_t capacity);"
            )
            self._library: Any = ffi.dlopen(str(library))
            self._ffi = ffi
        self._answer = self._ffi.new("uint8_t[]", self._CAPACITY)
        self._received = bytearray()
        self._library.sne_host_open()

    def write(self, data: bytes, timeout: float) -> None:
        for start in range(0, len(data), self._CHUNK):
            chunk = data[start : start + self._CHUNK]
            count = self._library.sne_host_exchange(chunk, len(chunk), self._answer, self._CAPACITY)
            self._received += self._ffi.buffer(self._answer, count)

    def read(self, timeout: float) -> bytes:
        data = bytes(self._received)
        self._received.clear()
        return data

    def set_rate(self, baud: int) -> None:
        pass

    def close(self) -> None:
        self._received.clear()


def address(where: str) -> tuple[str, int]:
    """Host and port of socket://HOST:PORT. Raises `SneError` where it is no such address."""
    host, _, port = where.removeprefix("socket://").rpartition(":")
    if not host or len(host) > 255 or not (port.isascii() and port.isdecimal() and len(port) < 6 and int(port) < 65536):
        raise SneError(
            f"{shortened(where)} is not an address", "write it as socket://HOST:PORT, such as socket://127.0.0.1:5555"
        )
    return host.strip("[]"), int(port)


def check_port(port: str) -> None:
    """Raise `SneError` where there is no such serial port, or it is none. Nothing is opened: that may reset a board."""
    if os.name != "posix":
        if port not in (found.port for found in serial_ports()):
            raise SneError(f"cannot open {shortened(port)}: there is no such port", _ports_hint(port))
        return
    try:
        found = Path(port).stat()
    except (OSError, ValueError) as error:
        raise SneError(f"cannot open {shortened(port)}: {_reason(error)}", _ports_hint(port)) from None
    memory = sys.platform.startswith("linux") and os.major(found.st_rdev) == 1  # /dev/null, /dev/full and the like
    if memory or not stat.S_ISCHR(found.st_mode):
        raise SneError(f"cannot open {shortened(port)}: it is not a serial port", _ports_hint(port))
    if not os.access(port, os.R_OK | os.W_OK):
        raise SneError(
            f"cannot open {shortened(port)}: permission denied",
            "join the port's group, on Debian `sudo adduser $USER dialout`, and log in again",
        )


def _connect(where: str) -> socket.socket:
    try:
        line = socket.create_connection(address(where), timeout=5)
    except (OSError, UnicodeError) as error:
        raise SneError(
            f"cannot connect to {where}: {_reason(error)}", "is the emulator or the serial server running there?"
        ) from None
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _ports_hint(port: str) -> str:
    if any(board.name == port for board in all_boards()):
        return f"to emulate that board, say qemu:{port}"
    here = [found.port for found in serial_ports()]
    say = nearest(port.rpartition("/")[2], ["host", *(f"qemu:{board.name}" for board in all_boards()), *here])
    return say + (
        f"ports here: {', '.join(here)}; `sne-edge ports` says more"
        if here
        else "no serial port is here; is the board plugged in?"
    )
