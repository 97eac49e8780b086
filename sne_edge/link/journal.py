"""What was counted, in a file that a measurement goes on from: a line for each count, kept as soon as it is made.

In: a plan, and counts of devices by place. Out: a file of JSON lines, the first of which says of what the others are.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from ..errors import SneError, shortened
from ..files import check_writable, read_file
from ..ir.policy import policy_key
from .bench import Counted, Found, Plan

FORMAT = "sne-edge counts 1"
LIMIT = 1 << 30
HINT = "give the file of this measurement, or a new one"


class Journal:
    """The file at `path`, made where it is not there; use it as a context manager. May be used by several threads.

    Raises `SneError` where it cannot be read or written, is no such file, or of another measurement: model, inputs,
    policies, pause or repeat.
    """

    def __init__(self, path: Path, fingerprint: str, plan: Plan) -> None:
        self.path = path
        self._about = {
            "format": FORMAT,
            "model": fingerprint,
            "inputs": hashlib.sha256(plan.inputs.tobytes()).hexdigest()[:16],
            "policies": [policy_key(policy) for policy in plan.policies],
            "pause": plan.pause,
            "repeat": plan.repeat,
        }
        self._lock = threading.Lock()
        self._found: dict[str, Found] = {}
        self._firmware: dict[str, str] = {}
        check_writable(path)
        existed = path.exists()
        whole = self._read() if existed else 0
        try:
            self._file: BinaryIO = path.open("r+b" if whole else "wb")
            self._file.truncate(whole)  # a line that was cut off when the measurement ended
            self._file.seek(whole)
            if not whole:
                self._write(self._about)
        except SneError:  # of the first line: there is nothing to go on from
            if not existed:
                path.unlink(missing_ok=True)
            raise
        except OSError as error:
            raise SneError(f"cannot write {shortened(path)}: {error.strerror}", HINT) from None

    def found(self, where: str, firmware: str | None) -> Found:
        """What is there of a place, in the order in which it was made. `firmware`: what identifies the program that
        runs there; None where it is not asked. Raises `SneError` where it is another one than was counted."""
        known = self._firmware.get(where)
        if firmware is not None and known not in (None, firmware):
            raise SneError(
                f"{where} runs other firmware than {shortened(self.path)} has counts of",
                "give a new file, or flash what was counted",
            )
        if firmware is not None and known is None:
            self._firmware[where] = firmware
            self._write({"on": where, "firmware": firmware})
        return self._found.setdefault(where, {})

    def keep(self, where: str, number: int, index: int, counted: Counted) -> None:
        """Write down one count."""
        self._write({"on": where, "input": number, "policy": index, **asdict(counted)})

    def close(self) -> None:
        """No more is written."""
        self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, entry: dict[str, Any]) -> None:
        with self._lock:
            try:
                self._file.write(json.dumps(entry).encode() + b"\n")
                self._file.flush()
                os.fsync(self._file.fileno())
            except OSError as error:
                raise SneError(f"cannot write {shortened(self.path)}: {error.strerror}", "free some space") from None

    def _read(self) -> int:
        """Take what the file has; how many of its bytes are whole lines."""
        data = read_file(self.path, LIMIT, hint=HINT)
        whole = data.rfind(b"\n") + 1
        for number, line in enumerate(data[:whole].splitlines()):
            try:
                entry = json.loads(line)
                if number == 0:
                    self._check(entry)
                elif "firmware" in entry:
                    self._firmware[str(entry["on"])] = str(entry["firmware"])
                else:
                    self._take(entry)
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
                raise SneError(f"{shortened(self.path)} is no measurement: line {number + 1}", HINT) from None
        return whole

    def _check(self, about: dict[str, Any]) -> None:
        if about.get("format") != FORMAT:
            raise ValueError
        for name, value in self._about.items():
            if about.get(name) != value:
                raise SneError(f"{shortened(self.path)} is of another measurement: its {name} differ", HINT)

    def _take(self, entry: dict[str, Any]) -> None:
        counted = Counted(
            runs=int(entry["runs"]),
            total=int(entry["total"]),
            unit=str(entry["unit"]),
            stack_bytes=int(entry["stack_bytes"]),
            started=float(entry["started"]),
            ended=float(entry["ended"]),
        )
        if counted.runs < 1 or counted.total < 0 or counted.unit not in ("none", "instructions", "cycles"):
            raise ValueError
        key = int(entry["input"]), int(entry["policy"])
        self._found.setdefault(str(entry["on"]), {})[key] = counted
