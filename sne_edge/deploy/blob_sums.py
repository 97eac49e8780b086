"""How far sums of a loaded model get, as the runtime finds out, which knows no proof: where they might not fit in 32
bits, all must be compiled so that sums wrap.

runtime_c/sne_load_tables.c (`sne_reach`, `neurons_fit`) and sne_load_graph_check.c (`reached_by`, `check_decoder`) say
the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np

MOST_LOGIT = 1 << 30
MOST_SUM = 2**31 - 1
MOST_ALPHA = 1 << 29  # of an alpha neuron, two of whose states are subtracted
BEYOND = 1 << 62  # what might not fit


def reach(added: int, decay: str, factor: int, steps: int, most: int = 0) -> int:
    """How far from 0 a state gets that has at most `added` added in each timestep; `steps`: 0 where there is no end;
    `most`: one more than what it is clamped to, signs aside, or 0."""
    found = BEYOND
    if added > MOST_SUM:
        return found
    if steps:
        found = added * (steps + 1)
    if decay == "shift":
        found = min(found, (added + 1) << factor)
    elif decay == "q15":
        found = min(found, (added + 1) * 0x8000 // (0x8000 - factor) + 1)
    return min(found, most + added) if most else found


def layer_reach(layer: dict[str, Any], choices: dict[str, Any], rows: int, steps: int) -> int:
    """How far from 0 a layer's membranes get, or `BEYOND`; `rows`: that a position is given in a timestep."""
    direct = layer["macro"] == "SNE_P8"
    once = max(1, _size(layer["bias"])) + rows * (128 * 128 if direct else 128)
    factor = choices["shift"] if choices["decay"] == "shift" else layer["decay"]
    sums = reach(once, choices["decay"], factor, steps, _size(layer["clamp"]) + 1 if choices["clamp"] else 0)
    if (layer["width"] == 32 and sums > MOST_SUM) or (layer["current_shift"] and once > MOST_SUM):
        return BEYOND
    return sums if layer["width"] == 32 else min(sums, 1 << 15)


def population_reach(p: dict[str, Any], choices: dict[str, Any], added: int, steps: int) -> int:
    """How far from 0 a population's membranes get, or `BEYOND`; `added`: what its projections bring in a timestep."""
    leak, current_leak = (max(p[key], default=p[one]) for key, one in (("leak", "decay"), ("current_leak", "fading")))
    decay, fading = ("q15" if p[key] else choices[key_] for key, key_ in _DECAYS)
    factor = choices["shift"] if decay == "shift" else leak
    faded = choices["current_value"] if fading == "shift" else current_leak
    narrow, wide = choices["current_width"] == 16, choices["width"] == 32
    most = MOST_ALPHA if p["alpha"] else MOST_SUM
    added += _size(p["bias"]) + 1
    current = added
    if choices["current_width"]:
        if p["alpha"]:
            added += _size(p["alpha"]["drop"])
        current = reach(added, fading, faded, steps)
        if not narrow and current > most:
            return BEYOND
        current = min(current, 1 << 15) if narrow else current
    if p["alpha"]:
        found = current + 4 * reach(added + (1 << 16 if narrow else 0), decay, factor, steps)
    else:
        clamp = _size(p["clamp"]) + 1 if choices["clamp"] else 0
        found = reach(current, decay, factor, steps, clamp)
    if not wide:
        return min(found, 1 << 15)
    return found if found <= most else BEYOND


def decoder_reach(d: dict[str, Any], membranes: int, steps: int, timesteps: int) -> int:
    """How far from 0 a decoder's totals get, or `BEYOND`, of membranes that get so far."""
    once = 1 if d["kind"] == "COUNT" else membranes
    if d["kind"] == "FIRST":
        found = timesteps
    elif d["window"]:
        found = once * d["window"]
    elif d["kind"] in ("COUNT", "MEAN"):
        clamp = _size([d["low"], d["high"]]) + 1 if d["clamp"] else 0
        found = reach(once, d["decay"], d["value"], steps, clamp)
    else:
        found = membranes
    return found if found <= MOST_SUM else BEYOND


_DECAYS = (("leak", "decay"), ("current_leak", "current_decay"))


def _size(values: Any) -> int:
    """How far from 0 the largest is."""
    return int(np.abs(np.asarray(values, np.int64)).max(initial=0))
