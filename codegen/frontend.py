"""What the templates print of a front end: its sizes, its tables and its golden recordings.

In: a `QuantEnsemble`. Out: a dict of plain data, or None where the ensemble has no front end.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.frontend import LogMel

TABLES = {"hann": "uint16_t", "sine": "uint16_t", "edges": "uint16_t", "rise": "uint8_t"}


def build(ensemble: QuantEnsemble) -> dict[str, Any] | None:
    """The context of the front end's templates, under the name `frontend`."""
    if not isinstance(ensemble.frontend, LogMel):
        return None
    audio = ensemble.audio if isinstance(ensemble.audio, np.ndarray) else np.zeros((0, 0), np.int16)
    return {
        **describe(ensemble.frontend),
        "tables": {name: (kind, getattr(ensemble.frontend, name).ravel().tolist()) for name, kind in TABLES.items()},
        "recordings": len(audio),
        "audio": audio.ravel().tolist(),
    }


def describe(frontend: LogMel) -> dict[str, Any]:
    """Fields and sizes, in samples and bytes; what its tables take, `footprint` says."""
    return {
        "kind": "logmel",
        **msgspec.structs.asdict(frontend),
        "samples": frontend.samples,
        "state_bytes": 4 + 6 * frontend.window,
    }
