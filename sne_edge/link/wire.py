"""The serial protocol's frames and numbers; docs/PROTOCOL.md describes them byte by byte.

Opcodes, statuses and their meanings are read from the C headers, their one source.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from dataclasses import dataclass

from cobs import cobs

from ..errors import SneError
from ..ir.policy import ActivationPolicy
from ..resources import RUNTIME


def _constants() -> dict[str, int]:
    text = "".join((RUNTIME / name).read_text(encoding="utf-8") for name in ("sne.h", "sne_wire.h"))
    found = re.findall(r"^\s*(?:#define )?(SNE_\w+)(?: =|) (-?\d+)\b", text, flags=re.M)
    return {name: int(value) for name, value in found}


def _meanings() -> dict[int, tuple[str, str]]:
    text = "".join((RUNTIME / name).read_text(encoding="utf-8") for name in ("sne.h", "sne_wire.h"))
    found = re.findall(r"(SNE_E_\w+) = (-\d+),? +/\* (.*?) \*/", text)
    return {int(value): (name, meaning) for name, value, meaning in found}


C = _constants()
"""Every SNE_ constant of the headers, by its C name."""

STATUSES = _meanings()
"""Error status -> (C name, what it means)."""


@dataclass(frozen=True)
class Frame:
    """A frame from the device. `status`: 0 or an SNE_E_ code; `body` without checksum."""

    op: int
    sequence: int
    status: int
    body: bytes


class Deframer:
    """Cuts what arrives at its zeros. It never keeps more than the longest frame and what one `feed` brought."""

    _LONGEST = 66_000  # encoded: a body of 65,535 bytes, its header and checksum

    def __init__(self) -> None:
        self._whole: deque[bytes] = deque()
        self._part = b""
        self._skip = False  # the frame under way is longer than any can be

    @property
    def pending(self) -> int:
        """Bytes of a frame whose end has not come."""
        return len(self._part)

    def feed(self, data: bytes) -> None:
        """Take what arrived."""
        first, *others = data.split(b"\0")
        self._part += first
        for part in others:
            self._end()
            self._part = part
        if len(self._part) > self._LONGEST:
            self._part, self._skip = b"", True

    def next(self) -> bytes | None:
        """The encoded bytes of the next whole frame, or None."""
        return self._whole.popleft() if self._whole else None

    def _end(self) -> None:
        if self._part and not self._skip:
            self._whole.append(self._part)
        self._skip = False


def request(op: int, sequence: int, body: bytes = b"") -> bytes:
    """The bytes of a request on the line; the zero in front ends whatever noise came before."""
    payload = bytes([op, sequence]) + body
    encoded: bytes = cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little"))
    return b"\0" + encoded + b"\0"


def parse_reply(encoded: bytes) -> Frame | None:
    """A reply from the bytes between two zeros; None where they are damaged."""
    try:
        payload = cobs.decode(encoded)
    except cobs.DecodeError:
        return None
    if len(payload) < 7 or zlib.crc32(payload[:-4]) != int.from_bytes(payload[-4:], "little"):
        return None
    return Frame(payload[0], payload[1], int.from_bytes(payload[2:3], "little", signed=True), payload[3:-4])


def policy_body(policy: ActivationPolicy | None) -> bytes:
    """A policy as RUN and BENCH take it; empty for the model's own. `SneError` where a number does not fit."""
    if policy is None:
        return b""
    kind = C[f"SNE_POLICY_{policy.kind.upper()}"]
    words = (kind, policy.students, policy.mask, policy.max_ops, policy.timesteps, *policy.margins, *policy.early)
    if not all(0 <= word < 2**32 for word in words):
        raise SneError(f"the policy {policy} holds a number out of range", "all of them are in 0..2^32-1")
    return b"".join(word.to_bytes(4, "little") for word in words)
