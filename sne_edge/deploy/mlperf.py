"""MLPerf Tiny's protocol in firmware: which of the benchmark's models it stands for, and what the host's bytes mean.

In: words of the command line, an exported model's manifest. Out: the C file that binds the model to the protocol.
docs/PROTOCOL.md describes the protocol; firmware/mlperf.c speaks it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any

from ..errors import SneError, shortened
from .boards import Board

BENCHMARKS = {490: "kws01", 27648: "vww01", 3072: "ic01", 640: "ad01"}
"""The benchmark's models by the bytes of their input: 49 x 10, 96 x 96 x 3, 32 x 32 x 3, 5 x 128."""
ENERGY_BAUD = 9600  # of the benchmark, in energy mode
SOURCES = ("main_mlperf.c", "mlperf.c")


@dataclass(frozen=True)
class Samples:
    """Bytes that are samples, not yet encoded: `type` int8 or uint8, each value divided by `divisor`."""

    type: str
    divisor: int = 1


@dataclass(frozen=True)
class Mlperf:
    """How firmware speaks the protocol. `id`: the benchmark's model that it stands for, None: by the input's size, else
    the model's name; `energy`: a pin in place of printed times, at 9600 baud; `samples`: what the host loads, None: the
    input as the model's encoder makes it."""

    id: str | None = None
    energy: bool = False
    samples: Samples | None = None

    def context(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """What the template prints, of an exported model. Raises `SneError` where samples cannot be encoded."""
        identifier = manifest["identifier"]
        if self.samples is not None and f"{identifier}_quantize.h" not in manifest["headers"]:
            raise SneError(f"{manifest['name']} takes events, which have no encoder", "leave --mlperf-bytes out")
        name = self.id or BENCHMARKS.get(manifest["input_bytes"]) or manifest["name"]
        if not re.fullmatch(r"[\w.-]{1,63}", name, flags=re.ASCII):
            raise SneError(
                f"{shortened(name)!r} cannot be a model's ID", "give --mlperf-id: letters, digits, dots and dashes"
            )
        return {"identifier": identifier, "id": name, "sample": self.samples}

    def on(self, board: Board) -> Board:
        """The board at the protocol's rate."""
        return replace(board, uart=replace(board.uart, baud=ENERGY_BAUD)) if self.energy else board

    @property
    def definitions(self) -> tuple[str, ...]:
        """Preprocessor symbols."""
        return ("MLPERF_ENERGY",) if self.energy else ()


def parse_samples(words: str) -> Samples | None:
    """What --mlperf-bytes says: encoded (None), int8, uint8, or these divided, such as uint8/255."""
    if words == "encoded":
        return None
    found = re.fullmatch(r"(u?int8)(?:/([1-9]\d{0,5}))?", words, flags=re.ASCII)
    if found is None:
        raise SneError(f"--mlperf-bytes is {shortened(words)!r}", "give encoded, int8, uint8, or such as uint8/255")
    return Samples(found[1], int(found[2] or 1))
