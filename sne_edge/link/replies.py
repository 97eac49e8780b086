"""What a device says: every reply's fields, their types and ranges, and the values that they become.

In: the body of a reply whose checksum was right, and what INFO said. Out: numbers and texts within their ranges, or a
`ValueError` that names the field. A right checksum says only that the line brought what was sent: firmware of another
version, or another program altogether, may send anything. docs/PROTOCOL.md has the same tables; a test compares them.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from ..ir.ensemble import MAX_STUDENTS
from ..ir.schedule import STOPS
from .wire import C

TYPES = {"u8": "B", "u16": "H", "u32": "I", "u64": "Q", "i16": "h", "i32": "i", "8 bytes": "8s"}  # of struct
LEAST_BODY = 160  # SNE_WIRE_MAX_BODY is never less: a policy with the margins of 32 students must fit
MAX_CLASSES = 1024

CounterKind = Literal["none", "instructions", "cycles"]
COUNTERS: tuple[CounterKind, ...] = ("none", "instructions", "cycles")  # sne_counter in sne_wire.h
DIFFERENCES = ("logits", "active", "spikes", "ops")  # sne_difference in sne_wire.h


@dataclass(frozen=True)
class DeviceInfo:
    """What a device says of itself. Sizes in bytes, 0 where unknown; `stack_peak`: deepest use since power-on;
    `clock_hz`: of the core where cycles are counted, otherwise 0; `max_body`: longest body of a request."""

    protocol: int
    counter: CounterKind
    runtime_version: int
    max_body: int
    fingerprint: str
    inputs: int
    classes: int
    students: int
    layers: int
    spike_layers: int
    timesteps: int
    stream: bool
    traced: bool
    routes: bool
    input_bytes: int
    state_bytes: int
    vectors: int
    flash_size: int
    flash_used: int
    ram_size: int
    ram_used: int
    stack_size: int
    stack_peak: int
    clock_hz: int
    name: str
    board: str


@dataclass(frozen=True)
class RunResult:
    """One inference; fields as sne_result in sne.h. `label`: -1 for none of the classes; `active`: mask of students;
    `stop`: why no further one ran."""

    label: int
    margin: int
    active: int
    students_run: int
    stop: str
    timesteps: int
    synaptic_ops: int
    macs: int
    neuron_updates: int
    logits: tuple[int, ...]


@dataclass(frozen=True)
class VectorResult:
    """A stored vector against the reference. `differs`: what was different, of logits, active, spikes, ops;
    `first_class` and `first_spike_layer`: where first, or None."""

    index: int
    differs: tuple[str, ...]
    first_class: int | None
    first_spike_layer: int | None

    @property
    def matches(self) -> bool:
        """Whether everything was equal."""
        return not self.differs


@dataclass(frozen=True)
class BenchResult:
    """`runs` inferences of the loaded input. `total`, `min` and `max` count `unit` (per run, what counting itself costs
    taken off: `overhead`); `stack_bytes`: deepest stack of an inference; `stack_peak`: of everything since power-on."""

    runs: int
    total: int
    min: int
    max: int
    overhead: int
    unit: CounterKind
    stack_bytes: int
    stack_peak: int

    @property
    def mean(self) -> float:
        """Count per inference."""
        return self.total / self.runs


@dataclass(frozen=True)
class Pulse:
    """`runs` inferences with the pin high. `count`: of all, of what `DeviceInfo.counter` says, 0 where it counts
    nothing; `started`, `ended`: by the host's clock, seconds since 1970, when they were asked for and when the answer
    came."""

    runs: int
    count: int
    started: float
    ended: float


@dataclass(frozen=True)
class LayerCount:
    """What a layer took in one inference: how often it ran, and the count of all its
    runs."""

    calls: int
    count: int


Limit = int | Callable[[DeviceInfo], int]


@dataclass(frozen=True)
class Field:
    """One number, or raw bytes. `low` and `high`, both allowed: constants, or what INFO says; None: the type's own.
    `also`: one more that is allowed."""

    name: str
    type: str
    low: int | None = None
    high: Limit | None = None
    also: int | None = None

    def check(self, value: Any, info: DeviceInfo | None) -> None:
        """Raise `ValueError` where a value is out of range."""
        if value == self.also:
            return
        if self.low is not None and value < self.low:
            raise ValueError(f"{self.name} {value}, below {self.low}")
        high = self.high if info is None or not callable(self.high) else self.high(info)
        if isinstance(high, int) and value > high:
            raise ValueError(f"{self.name} {value}, above {high}")


@dataclass(frozen=True)
class Reply:
    """A body: `fields`, then `texts` (a length u8 and UTF-8 each), then a list of at least one row of `rows`, or none
    if it `may_be_empty`. `relation`: what must hold between fields, and the words for where it does not.
    """

    fields: tuple[Field, ...] = ()
    rows: tuple[Field, ...] = ()
    texts: tuple[str, ...] = ()
    may_be_empty: bool = False
    relation: tuple[Callable[[dict[str, Any]], bool], str] = (lambda values: True, "")


@dataclass(frozen=True)
class Decoded:
    """A reply's numbers and texts by name, and its rows, each with its numbers in order."""

    values: dict[str, Any] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)


_RESULT = Reply(
    fields=(
        Field("label", "u32", high=lambda info: info.classes - 1, also=2**32 - 1),  # SNE_NONE
        Field("margin", "i32", low=0),
        Field("active", "u32", high=lambda info: 2**info.students - 1),
        Field("students_run", "u32", high=lambda info: info.students),
        Field("stop", "u32", high=len(STOPS) - 1),
        Field("timesteps", "u32", high=lambda info: info.timesteps),
        Field("synaptic_ops", "u32"),
        Field("macs", "u32"),
        Field("neuron_updates", "u32"),
    ),
    rows=(Field("logit", "i32"),),
    relation=(lambda v: v["active"].bit_count() == v["students_run"], "a mask that names other students than ran"),
)
REPLIES: dict[str, Reply] = {
    "INFO": Reply(
        fields=(
            Field("protocol", "u8", low=C["SNE_WIRE_PROTOCOL"], high=C["SNE_WIRE_PROTOCOL"]),
            Field("counter", "u8", high=len(COUNTERS) - 1),
            Field("runtime_version", "u16", low=1),
            Field("max_body", "u16", low=LEAST_BODY),
            Field("fingerprint", "8 bytes"),
            Field("inputs", "u16", low=1),
            Field("classes", "u16", low=1, high=MAX_CLASSES),
            Field("students", "u16", low=1, high=MAX_STUDENTS),
            Field("layers", "u16", low=1),
            Field("spike_layers", "u16"),
            Field("timesteps", "u16", low=1),
            Field("flags", "u8", high=7),
            Field("input_bytes", "u32", low=1),
            Field("state_bytes", "u32", low=1),
            Field("vectors", "u32"),
            Field("flash_size", "u32"),
            Field("flash_used", "u32"),
            Field("ram_size", "u32"),
            Field("ram_used", "u32"),
            Field("stack_size", "u32"),
            Field("stack_peak", "u32"),
            Field("clock_hz", "u32"),
        ),
        texts=("name", "board"),
        relation=(lambda v: v["spike_layers"] <= v["layers"], "more layers that spike than layers"),
    ),
    "RESET": Reply(),
    "LOAD": Reply(),
    "RUN": _RESULT,
    "RESULT": _RESULT,
    "VECTOR": Reply(
        fields=(
            Field("differs", "u8", high=2 ** len(DIFFERENCES) - 1),
            Field("first_class", "u16", high=lambda info: info.classes),
            Field("first_spike_layer", "u16", high=lambda info: info.spike_layers),
        )
    ),
    "BENCH": Reply(
        fields=(
            Field("runs", "u32", low=1),
            Field("total", "u64"),
            Field("min", "u64"),
            Field("max", "u64"),
            Field("overhead", "u64"),
            Field("stack_bytes", "u32"),
            Field("stack_peak", "u32"),
        ),
        relation=(
            lambda v: v["min"] * v["runs"] <= v["total"] <= v["max"] * v["runs"],
            "a sum that its least and most cannot make",
        ),
    ),
    "SPIKES": Reply(rows=(Field("count", "u32"),)),
    "MEMBRANES": Reply(rows=(Field("membrane", "i16"),)),
    "LAYERS": Reply(
        rows=(
            Field("student", "u16", high=lambda info: info.students - 1),
            Field("layer", "u16"),
            Field("neurons", "u16", low=1),
            Field("channels", "u16", low=1),
            Field("width", "u8", low=16, high=32),
            Field("spiking", "u8", high=1),
            Field("offset", "u32", high=lambda info: info.state_bytes if info.traced else 2**32 - 1),
        )
    ),
    "STEP": _RESULT,
    "PULSE": Reply(fields=(Field("count", "u64"),)),
    "RATE": Reply(fields=(Field("baud", "u32", low=1),)),
    "IMAGE": Reply(fields=(Field("bytes", "u32", low=1), Field("crc", "u32"))),
    "PROFILE": Reply(rows=(Field("calls", "u32", low=1), Field("count", "u64")), may_be_empty=True),
    "FAULT": Reply(
        fields=tuple(Field(name, "u32") for name in ("exception", "pc", "lr", "xpsr", "cfsr", "hfsr", "address"))
    ),
}
MEMBRANES = {16: REPLIES["MEMBRANES"], 32: Reply(rows=(Field("membrane", "i32"),))}
"""By the width that LAYERS gives."""


def decode(reply: Reply, body: bytes, info: DeviceInfo | None = None, most: int | None = None) -> Decoded:
    """The values of a body. `info`: what the device said of itself; `most`: how many rows can be to come.

    Raises `ValueError` where the length, a number or a relation is not as described.
    """
    layout = _layout(reply.fields)
    if len(body) < layout.size:
        raise ValueError(f"{len(body)} bytes, where at least {layout.size} are due")
    found = layout.unpack_from(body)
    values: dict[str, Any] = {}
    for entry, value in zip(reply.fields, found, strict=True):
        entry.check(value, info)
        values[entry.name] = value
    rest = body[layout.size :]
    for name in reply.texts:
        if not rest or len(rest) <= rest[0]:
            raise ValueError(f"a {name} that is cut off")
        values[name] = plain_text(rest[1 : 1 + rest[0]])
        rest = rest[1 + rest[0] :]
    if not reply.relation[0](values):
        raise ValueError(reply.relation[1])
    return Decoded(values, _rows(reply, rest, info, most))


def plain_text(data: bytes) -> str:
    """A device's text, fit for a terminal: what cannot be printed, control codes say, becomes a question mark."""
    return "".join(c if c.isprintable() else "?" for c in data.decode("utf-8", errors="replace"))


def device_info(values: dict[str, Any]) -> DeviceInfo:
    """INFO's values as what they mean."""
    numbers = {name: value for name, value in values.items() if name not in ("flags", "counter", "fingerprint")}
    return DeviceInfo(
        counter=COUNTERS[values["counter"]],
        fingerprint=values["fingerprint"].hex(),
        stream=bool(values["flags"] & 1),
        traced=bool(values["flags"] & 2),
        routes=bool(values["flags"] & 4),
        **numbers,
    )


def _rows(reply: Reply, data: bytes, info: DeviceInfo | None, most: int | None) -> list[tuple[Any, ...]]:
    if not reply.rows:
        if data:
            raise ValueError(f"{len(data)} bytes too many")
        return []
    layout = _layout(reply.rows)
    count, odd = divmod(len(data), layout.size)
    if odd or not (count or reply.may_be_empty):
        raise ValueError(f"a list of {len(data)} bytes, where each entry takes {layout.size}")
    if most is not None and count > most:
        raise ValueError(f"{count} entries, where {most} are left")
    rows = list(layout.iter_unpack(data))
    for number, entry in enumerate(reply.rows):
        for row in rows:
            entry.check(row[number], info)
    return rows


def _layout(fields: tuple[Field, ...]) -> struct.Struct:
    return struct.Struct("<" + "".join(TYPES[entry.type] for entry in fields))
