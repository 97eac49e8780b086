"""Energy of inferences: a power monitor's trace, and when a board ran.

In: a trace as CSV, as a Joulescope, an Otii, a PPK2 or an oscilloscope export it, and what was counted with the board's
pin as a pulse. Out: microjoules per inference. Pulses are found by the trace's own column of the pin, which is exact,
or by the clock.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Literal

import numpy as np

from ..errors import SneError, shortened
from ..files import read_file
from .bench import Counted, Found

LIMIT = 512 << 20
HINT = "give the monitor's CSV: a line of names, with a column of time and one of current or power"
PREFIXES = {"n": 1e-9, "u": 1e-6, "µ": 1e-6, "μ": 1e-6, "m": 1e-3}
PINS = re.compile(r"\b(trigger|gpi ?\d?|digital|d0( ?- ?d7)?)\b", re.IGNORECASE)


@dataclass(frozen=True)
class Trace:
    """`time`: seconds, ascending, float64 [N]; `power`: watts [N], each from its time to the next; `pin`: bool [N], or
    None; `absolute`: whether times count from 1970."""

    time: np.ndarray
    power: np.ndarray
    pin: np.ndarray | None
    absolute: bool


@dataclass(frozen=True)
class Pulses:
    """Joules per inference of each pulse, float64 [N]: `whole` while the pin is high, and `above` what the board takes
    at rest, `rest` watts, measured in the pauses. `by`: how pulses were found; by the clock a pulse's ends are not
    known, and `whole` is `above`."""

    whole: np.ndarray
    above: np.ndarray
    rest: float
    by: Literal["pin", "clock"]


@dataclass(frozen=True)
class Energy:
    """Microjoules per inference over `pulses` pulses: `mean`, `spread` (the sample's standard deviation, None of a
    single one), `least`, `most`; `above_rest`: the mean without what the board takes at rest, `rest_mw`. See
    `Pulses`."""

    pulses: int
    mean: float
    spread: float | None
    least: float
    most: float
    above_rest: float
    rest_mw: float
    by: Literal["pin", "clock"]


def read_trace(path: Path, volts: float | None = None, column: str | None = None) -> Trace:
    """A monitor's CSV file. Columns are known by their names and units, such as `Timestamp(ms)`, `Current (uA)`, `Main
    Voltage (V)`, `power`; `volts`: where there is neither voltage nor power; `column`: the name of the pin's, otherwise
    the first that is called trigger, GPI, digital or D0, or a PPK2's D0-D7, of whose bits the one that changes counts.

    Raises `SneError` where it cannot be read or understood.
    """
    text = read_file(path, LIMIT, hint=HINT).decode("utf-8-sig", errors="replace")
    lines = text.splitlines()
    start = next((i for i, line in enumerate(lines) if re.search(r"time", line, re.IGNORECASE)), None)
    if start is None:
        raise SneError(f"{shortened(path)} has no column of time", HINT)
    delimiter = max(",;\t", key=lines[start].count)
    names = [name.strip().lstrip("#").strip() for name in next(csv.reader([lines[start]], delimiter=delimiter))]
    body = [line for line in lines[start + 1 :] if line.strip() and not line.startswith("#")]
    if len(body) < 2:
        raise SneError(f"{shortened(path)} holds {len(body)} samples", "record while the board runs")
    cells = list(csv.reader(io.StringIO("\n".join(body)), delimiter=delimiter))
    at = {kind: _column(names, kind) for kind in ("time", "current", "voltage", "power")}
    pin_at = _pin_column(names, column)

    def numbers(kind: str) -> np.ndarray | None:
        place = at[kind]
        if place is None:
            return None
        return _numbers(path, cells, place, start + 2) * _factor(path, names[place], kind)

    time, absolute = _times(path, cells, at["time"], names, start + 2)
    current, voltage, power = numbers("current"), numbers("voltage"), numbers("power")
    if power is None:
        if current is None:
            raise SneError(f"{shortened(path)} has neither a column of current nor of power", HINT)
        if voltage is None and volts is None:
            raise SneError(f"{shortened(path)} has no column of voltage", "say the board's with --volts")
        power = current * (voltage if voltage is not None else volts)
    if not (np.diff(time) > 0).all():
        raise SneError(f"{shortened(path)}: its times do not ascend", "export one recording, whole")
    pin = None if pin_at is None else _pin(path, cells, pin_at, start + 2)
    return Trace(time, power, pin, absolute)


def join(trace: Trace, pulses: Sequence[Counted]) -> Pulses:
    """Energy per inference of pulses, which are in the order of time. Raises `SneError` where the trace does not show
    them."""
    if trace.pin is not None:
        return _by_pin(trace, pulses)
    if not trace.absolute:
        raise SneError(
            "the trace has no column of the pin, and its times do not count from 1970",
            "record the pin, or name its column with --pin; or export absolute times",
        )
    return _by_clock(trace, pulses)


def summary(pulses: Pulses, chosen: Sequence[int]) -> Energy:
    """Of some of them, by number."""
    micro = pulses.whole[list(chosen)] * 1e6
    return Energy(
        pulses=len(micro),
        mean=float(micro.mean()),
        spread=float(micro.std(ddof=1)) if len(micro) > 1 else None,
        least=float(micro.min()),
        most=float(micro.max()),
        above_rest=float(pulses.above[list(chosen)].mean() * 1e6),
        rest_mw=pulses.rest * 1e3,
        by=pulses.by,
    )


def energies(trace: Trace, found: Found, policies: int) -> list[Energy]:
    """Of all that one board has counted with pulses, by policy. Raises `SneError` where the trace does not show it."""
    keys = sorted(found, key=lambda key: found[key].started)
    pulses = join(trace, [found[key] for key in keys])
    return [summary(pulses, [i for i, key in enumerate(keys) if key[1] == index]) for index in range(policies)]


def integrate(trace: Trace, start: float, end: float) -> float:
    """Joules from `start` to `end`, seconds; outside of the trace there is nothing."""
    edges = np.append(
        trace.time, 2 * trace.time[-1] - trace.time[-2]
    )  # the last sample lasts as long as the one before
    overlap = np.clip(np.minimum(edges[1:], end) - np.maximum(edges[:-1], start), 0, None)
    return float((trace.power * overlap).sum())


def highs(pin: np.ndarray) -> list[tuple[int, int]]:
    """From and to which sample a pin is high, for each time that it is; one that is cut off at an end is not whole."""
    edges = np.flatnonzero(np.diff(pin.astype(np.int8)))
    rises, falls = [int(e) + 1 for e in edges if not pin[e]], [int(e) + 1 for e in edges if pin[e]]
    falls = [fall for fall in falls if rises and fall > rises[0]]
    return list(zip(rises, falls, strict=False))


def _by_pin(trace: Trace, pulses: Sequence[Counted]) -> Pulses:
    assert trace.pin is not None
    found = highs(trace.pin)
    if len(found) != len(pulses):
        raise SneError(
            f"the pin is high {len(found)} times in the trace, and there were {len(pulses)} pulses",
            "record from before the first to after the last, fast enough to see each; --repeat makes them longer",
        )
    edges = np.append(trace.time, 2 * trace.time[-1] - trace.time[-2])
    joules = trace.power * np.diff(edges)
    rest = _rest(trace.power[~trace.pin], np.diff(edges)[~trace.pin])
    each = [float(joules[a:b].sum()) / pulse.runs for (a, b), pulse in zip(found, pulses, strict=True)]
    above = [
        e - rest * float(edges[b] - edges[a]) / pulse.runs for e, (a, b), pulse in zip(each, found, pulses, strict=True)
    ]
    return Pulses(np.array(each), np.array(above), rest, "pin")


def _by_clock(trace: Trace, pulses: Sequence[Counted]) -> Pulses:
    end = 2 * trace.time[-1] - trace.time[-2]
    if not pulses or pulses[0].started < trace.time[0] or pulses[-1].ended > end:
        raise SneError(
            "the trace does not cover the measurement, or its clock is another",
            "record from before the first inference to after the last, on a clock that is set",
        )
    inside = np.zeros(len(trace.time), bool)
    for pulse in pulses:
        inside |= (trace.time >= pulse.started) & (trace.time < pulse.ended)
    # A pause is the greater part of what is inside: its power is the lower half's.
    rest = float(np.median(np.sort(trace.power[inside])[: max(1, int(inside.sum()) // 2)])) if inside.any() else 0.0
    above = [
        (integrate(trace, pulse.started, pulse.ended) - rest * (pulse.ended - pulse.started)) / pulse.runs
        for pulse in pulses
    ]
    return Pulses(np.array(above), np.array(above), rest, "clock")


def _rest(power: np.ndarray, lengths: np.ndarray) -> float:
    """The median power while the pin is low: loading an input is the lesser part of that."""
    if not len(power):
        return 0.0
    order = np.argsort(power)
    half = np.cumsum(lengths[order])
    return float(power[order][int(np.searchsorted(half, half[-1] / 2))])


def _column(names: Sequence[str], kind: str) -> int | None:
    """The first column whose name says what it is."""
    word = re.compile(rf"(^|[^a-z]){kind}(stamp)?([^a-z]|$)", re.IGNORECASE)
    return next((i for i, name in enumerate(names) if word.search(name)), None)


def _pin_column(names: Sequence[str], column: str | None) -> int | None:
    if column is None:
        return next((i for i, name in enumerate(names) if PINS.search(name)), None)
    for i, name in enumerate(names):
        if name.casefold() == column.casefold():
            return i
    raise SneError(f"the trace has no column {shortened(column)!r}", f"its columns: {shortened(', '.join(names), 200)}")


def _factor(path: Path, name: str, kind: str) -> float:
    """By what a column's numbers are multiplied to be seconds, amperes, volts or watts: its unit in brackets."""
    found = re.search(r"[(\[]\s*([^)\]\s]*)\s*[)\]]", name)
    unit = found[1] if found else ""
    base = {"time": "s", "current": "a", "voltage": "v", "power": "w"}[kind]
    if unit.lower() in ("", base):
        return 1.0
    if unit[1:].lower() == base and unit[0] in PREFIXES:
        return PREFIXES[unit[0]]
    raise SneError(
        f"{shortened(path)}: the unit of {shortened(name)!r} is not known", "units such as s, ms, A, mA, uA, V, mW"
    )


def _numbers(path: Path, cells: list[list[str]], place: int, first: int) -> np.ndarray:
    try:
        values = np.array([row[place] for row in cells], dtype=np.float64)
    except (ValueError, IndexError):
        line = next(first + i for i, row in enumerate(cells) if len(row) <= place or not _is_number(row[place]))
        raise SneError(f"{shortened(path)}: line {line} holds no number where one is due", HINT) from None
    if not np.isfinite(values).all():
        line = first + int(np.flatnonzero(~np.isfinite(values))[0])
        raise SneError(f"{shortened(path)}: line {line} holds NaN or an infinite value", "leave gaps out")
    return values


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _times(
    path: Path, cells: list[list[str]], place: int | None, names: Sequence[str], first: int
) -> tuple[np.ndarray, bool]:
    """Seconds, and whether from 1970: numbers, or dates as ISO 8601 writes them, UTC where no zone is said."""
    assert place is not None
    if cells[0] and len(cells[0]) > place and not _is_number(cells[0][place]):
        try:
            dates = [datetime.fromisoformat(row[place].strip().replace("Z", "+00:00")) for row in cells]
        except (ValueError, IndexError):
            raise SneError(f"{shortened(path)}: times are neither numbers nor dates", HINT) from None
        zoned = [date if date.tzinfo else date.replace(tzinfo=timezone.utc) for date in dates]
        return np.array([date.timestamp() for date in zoned]), True
    time = _numbers(path, cells, place, first) * _factor(path, names[place], "time")
    return time, bool(time[0] > 1e9)


def _pin(path: Path, cells: list[list[str]], place: int, first: int) -> np.ndarray:
    """Levels: numbers, of which the upper half of their range is high; or a PPK2's bits, of which one changes."""
    texts = [row[place].strip() if len(row) > place else "" for row in cells]
    if all(re.fullmatch(r"[01]{8}", text) for text in texts):
        bits = np.array([[c == "1" for c in text] for text in texts])
        moving = np.flatnonzero(bits.any(0) & ~bits.all(0))
        if len(moving) > 1:
            raise SneError(f"{shortened(path)}: several digital inputs change", "export the pin's channel alone")
        return bits[:, int(moving[0]) if len(moving) else 0]
    levels = _numbers(path, cells, place, first)
    high: np.ndarray = levels > (levels.min() + levels.max()) / 2
    return high
