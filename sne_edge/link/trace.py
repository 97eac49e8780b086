"""A log of every frame on a line: what `bench --trace` and `verify --trace` write, to see what a board really said.

In: frames as they go out and come in. Out: a line of text each: seconds, direction, command, number, status, bytes.
"""

from __future__ import annotations

import time
from typing import TextIO

from .wire import C, Frame

_NAMES = {value: name.removeprefix("SNE_OP_") for name, value in C.items() if name.startswith("SNE_OP_")}


class FrameLog:
    """Writes to `file`, and at once: the last frame before a failure is the one that is looked for."""

    def __init__(self, file: TextIO, name: str = "") -> None:
        self._file = file
        self._name = f"{name} " if name else ""
        self._started = time.monotonic()

    def of(self, name: str) -> FrameLog:
        """The same log for one of several devices, whose lines begin with its name."""
        log = FrameLog(self._file, name)
        log._started = self._started
        return log

    def sent(self, op: int, sequence: int, body: bytes) -> None:
        """A request."""
        self._write("->", _NAMES.get(op, f"op {op:#04x}"), f"#{sequence}", body)

    def received(self, encoded: bytes, frame: Frame | None) -> None:
        """What stood between two zeros, and the frame that it is, or None where it is damaged."""
        if frame is None:
            self._write("<-", "DAMAGED", "", encoded)
            return
        fixed = {C["SNE_OP_REJECT"]: "REJECT", C["SNE_OP_FAULT"]: "FAULT"}
        name = fixed.get(frame.op) or _NAMES.get(frame.op & 0x7F, f"op {frame.op:#04x}")
        self._write("<-", name, f"#{frame.sequence} status {frame.status}", frame.body)

    def _write(self, arrow: str, name: str, detail: str, data: bytes) -> None:
        elapsed = time.monotonic() - self._started
        self._file.write(
            f"{elapsed:10.6f} {self._name}{arrow} {name} {detail} {len(data)} bytes {data.hex(' ')}".rstrip() + "\n"
        )
        self._file.flush()
