"""A device that serves a model: one interface over a serial port, a socket, an emulator and the host build.

In: inputs and policies. Out: results, spike counts, membranes and measurements, as the device computed them.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import numpy as np

from ..deploy.host import Layer
from ..errors import SneError
from ..ir.policy import ActivationPolicy
from ..ir.schedule import STOPS
from .transport import LineError, Transport, open_transport
from .wire import STATUSES, C, Frame, parse_reply, policy_body, request

QUICK_SECONDS = 1.0  # for a request that computes nothing
HELLO_SECONDS = 0.3  # for the first one: a board may still be starting, so ask again soon
ATTEMPTS = 4
HELLO_ATTEMPTS = 30
SETTLE_SECONDS = 0.1  # for replies that are still on their way
BENCH_SECONDS = 2.0  # one request's share of a benchmark
BENCH_CHUNK = 10_000

CounterKind = Literal["none", "instructions", "cycles"]
_COUNTERS: tuple[CounterKind, ...] = ("none", "instructions", "cycles")  # sne_counter in sne_wire.h


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
    """One inference; fields as sne_result in sne.h. `active`: mask of students; `stop`: why no further one ran."""

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


class Device:
    """A connection to a device; use as a context manager, or `close` it. Not for several threads at once.

    Every method raises `SneError` where the line breaks, the device does not answer, faults, or refuses.
    """

    def __init__(
        self, transport: Transport, where: str, *, fingerprint: str | None = None, run_seconds: float = 30.0
    ) -> None:
        """Greet the device behind `transport`; `where` names it in errors. See `open`."""
        self.where = where
        self._transport = transport
        self._run_seconds = run_seconds
        self._received = b""
        self._sequence = 0
        self._layers: list[Layer] | None = None
        try:
            self._info = self._read_info(HELLO_SECONDS, HELLO_ATTEMPTS)
            if fingerprint is not None and self._info.fingerprint != fingerprint:
                raise SneError(
                    f"{where} runs {self._info.name} with fingerprint {self._info.fingerprint}, not {fingerprint}",
                    "build the firmware again from this model and flash it, or give the model it was built from",
                )
        except BaseException:
            transport.close()
            raise

    @classmethod
    def open(
        cls,
        where: str,
        image: Path | str | None = None,
        *,
        fingerprint: str | None = None,
        run_seconds: float = 30.0,
    ) -> Device:
        """Connect to `where`: a serial port, socket://HOST:PORT, qemu:BOARD (starts QEMU with `image`, an ELF), or host
        (compiles `image`, an exported directory).

        `fingerprint`: refuse a device that serves another model; `run_seconds`: longest time one inference may take.
        """
        return cls(open_transport(where, image), where, fingerprint=fingerprint, run_seconds=run_seconds)

    def info(self) -> DeviceInfo:
        """Ask what the device is and what it serves."""
        self._info = self._read_info(QUICK_SECONDS, ATTEMPTS)
        return self._info

    def reset(self) -> None:
        """Clear input, state and result, and end a stream."""
        self._exchange("RESET")

    def load(self, data: bytes) -> None:
        """Load a whole input, `info().input_bytes` bytes."""
        if len(data) != self._info.input_bytes:
            raise SneError(
                f"the input has {len(data)} bytes, {self._info.name} takes {self._info.input_bytes}",
                "encode samples with the model's own encoder: ensemble.encoder.encode(x)",
            )
        step = self._info.max_body - 4
        for offset in range(0, len(data), step):
            self._exchange("LOAD", struct.pack("<I", offset) + data[offset : offset + step])

    def run(self, policy: ActivationPolicy | None = None) -> RunResult:
        """Run the loaded input under `policy` (the model's own by default)."""
        return self._result(self._exchange("RUN", policy_body(policy), self._run_seconds, attempts=2))

    def result(self) -> RunResult:
        """The result of the last run once more."""
        return self._result(self._exchange("RESULT", struct.pack("<H", 0)))

    def run_vector(self, index: int) -> VectorResult:
        """Run stored vector `index` under the model's own policy; the device compares with the reference."""
        if not 0 <= index < self._info.vectors:
            raise SneError(
                f"there is no vector {index}: {self._info.name} has {self._info.vectors}", "count from 0 below that"
            )
        body = self._exchange("VECTOR", struct.pack("<I", index), self._run_seconds, attempts=2)
        mask, first_class, first_layer = struct.unpack("<BHH", body)
        differs = tuple(
            name for name in ("logits", "active", "spikes", "ops") if mask & C[f"SNE_DIFFERS_{name.upper()}"]
        )
        return VectorResult(
            index,
            differs,
            first_class if "logits" in differs else None,
            first_layer if "spikes" in differs else None,
        )

    def bench(self, n: int = 1, policy: ActivationPolicy | None = None) -> BenchResult:
        """Run the loaded input `n` times (at least 1) and count; instructions in an emulator, cycles on hardware."""
        if n < 1:
            raise SneError(f"cannot benchmark {n} runs", "ask for at least 1")
        parts: list[tuple[int, ...]] = []
        left, chunk = n, 1
        while left:
            started = time.monotonic()
            count = min(chunk, left)
            body = struct.pack("<I", count) + policy_body(policy)
            # One run more than counted: the device watches its stack in a run of its own.
            timeout = self._run_seconds * 2 + BENCH_SECONDS * 5
            parts.append(struct.unpack("<IQQQQII", self._exchange("BENCH", body, timeout, attempts=2)))
            per_run = (time.monotonic() - started) / (count + 1)
            chunk = max(1, min(BENCH_CHUNK, int(BENCH_SECONDS / max(per_run, 1e-6))))
            left -= count
        return BenchResult(
            runs=sum(part[0] for part in parts),
            total=sum(part[1] for part in parts),
            min=min(part[2] for part in parts),
            max=max(part[3] for part in parts),
            overhead=parts[-1][4],
            unit=self._info.counter,
            stack_bytes=max(part[5] for part in parts),
            stack_peak=parts[-1][6],
        )

    def spikes(self) -> np.ndarray:
        """Spikes of every spiking layer in the last run, summed over timesteps: int64 [spike layers]."""
        data = b""
        while len(data) < 4 * self._info.spike_layers:
            data += self._chunk("SPIKES", struct.pack("<H", len(data) // 4))
        return np.frombuffer(data, dtype="<u4").astype(np.int64)

    def membranes(self, layer: int) -> np.ndarray:
        """Membranes of entry `layer` of `layers()` after the last run, int64 [neurons], where they are kept:
        they are those of the student that ran last."""
        table = self.layers()
        if not 0 <= layer < len(table):
            raise SneError(f"there is no layer {layer}: {self._info.name} has {len(table)}", "see Device.layers()")
        entry, data = table[layer], b""
        width = entry.width // 8
        while len(data) < width * entry.neurons:
            data += self._chunk("MEMBRANES", struct.pack("<HH", layer, len(data) // width))
        return np.frombuffer(data, dtype=f"<i{width}").astype(np.int64)

    def layers(self) -> list[Layer]:
        """Every layer that has membranes, readouts included."""
        if self._layers is None:
            data = b""
            while len(data) < 14 * self._info.layers:
                data += self._chunk("LAYERS", struct.pack("<H", len(data) // 14))
            rows = struct.iter_unpack("<HHHHBBI", data)
            self._layers = [
                Layer(student, layer, neurons, channels, width, bool(fires), at)
                for student, layer, neurons, channels, width, fires, at in rows
            ]
        return self._layers

    def step(self, events: Sequence[int]) -> RunResult:
        """Feed one timestep of a live stream: the inputs that spiked, in any order, at most `info().max_body` / 2.
        Returns label and logits as of now. The first step after a run or a reset starts a new stream."""
        events = sorted(set(events))
        limit = self._info.max_body // 2
        if len(events) > limit:
            raise SneError(
                f"{len(events)} events in one timestep do not fit in a request of {limit}",
                "build the firmware with a larger SNE_WIRE_MAX_BODY, or load a raster and run it",
            )
        if any(not 0 <= event < self._info.inputs for event in events):
            raise SneError(f"events must be in 0..{self._info.inputs - 1}", "an event is the index of an input")
        body = struct.pack(f"<{len(events)}H", *events)
        return self._result(self._exchange("STEP", body, self._run_seconds, attempts=1))

    def close(self) -> None:
        """Give the line back, and end the emulator if it is ours. May be called again."""
        self._transport.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _read_info(self, timeout: float, attempts: int) -> DeviceInfo:
        body = self._exchange("INFO", b"", timeout, attempts)
        if body[:1] != bytes([C["SNE_WIRE_PROTOCOL"]]):
            raise SneError(
                f"{self.where} speaks protocol {body[0] if body else '?'}, not {C['SNE_WIRE_PROTOCOL']}",
                "build the firmware with this version of sne-edge",
            )
        layout = struct.Struct("<BBHH8s6HB10I")
        fields = layout.unpack_from(body)
        texts, rest = [], body[layout.size :]
        for _ in range(2):
            texts.append(rest[1 : 1 + rest[0]].decode("utf-8", errors="replace"))
            rest = rest[1 + rest[0] :]
        protocol, counter, runtime, max_body, fingerprint, *numbers = fields
        shape, flags, sizes = numbers[:6], numbers[6], numbers[7:]
        values: list[Any] = [
            protocol,
            _COUNTERS[counter],
            runtime,
            max_body,
            fingerprint.hex(),
            *shape,
            bool(flags & 1),
            bool(flags & 2),
            bool(flags & 4),
        ]
        values += [*sizes, *texts]
        return DeviceInfo(*values)

    def _result(self, body: bytes) -> RunResult:
        label, margin, active, ran, stop, timesteps, synaptic_ops, macs, updates = struct.unpack_from("<Ii7I", body)
        data = body[36:]
        while len(data) < 4 * self._info.classes:
            data += self._chunk("RESULT", struct.pack("<H", len(data) // 4), skip=36)
        logits = struct.unpack(f"<{self._info.classes}i", data)
        return RunResult(label, margin, active, ran, STOPS[stop], timesteps, synaptic_ops, macs, updates, logits)

    def _chunk(self, command: str, body: bytes, skip: int = 0) -> bytes:
        data = self._exchange(command, body)[skip:]
        if not data:
            raise SneError(f"{self.where} sent less than it announced", "build the firmware again and flash it")
        return data

    def _exchange(
        self, command: str, body: bytes = b"", timeout: float = QUICK_SECONDS, attempts: int = ATTEMPTS
    ) -> bytes:
        """Send a request and return its reply's body.

        A damaged request was not executed and goes out again; one without an answer only while `attempts` last, since
        it may have been executed (repeating it is harmless but for STEP, which is tried once).
        """
        op = C[f"SNE_OP_{command}"]
        if body and len(body) > self._info.max_body:
            raise SneError(
                f"{command} takes {len(body)} bytes, {self.where} at most {self._info.max_body}",
                "build the firmware with a larger SNE_WIRE_MAX_BODY",
            )
        silent = rejected = 0
        while silent < attempts and rejected < ATTEMPTS:
            self._sequence = (self._sequence + 1) % 256
            try:
                self._transport.write(request(op, self._sequence, body), max(timeout, QUICK_SECONDS))
                reply = self._reply(op, timeout, attempts > 1)
            except TimeoutError:
                silent += 1
                continue
            except LineError as error:
                raise SneError(
                    f"{self.where} went away during {command}: {error}", "check the cable and the board's power"
                ) from None
            if reply is None:
                rejected += 1
                continue
            if reply.status:
                name, meaning = STATUSES.get(reply.status, (f"status {reply.status}", "this version does not know it"))
                raise SneError(f"{self.where} refused {command}: {meaning} ({name})", _hint(name))
            return reply.body
        if rejected:
            raise SneError(
                f"{self.where} received {rejected} damaged requests in a row",
                "the line is too noisy, or set to another speed than 115200 baud",
            )
        raise SneError(
            f"{self.where} did not answer {command} ({attempts} x {timeout:g} s)",
            "is sne-edge firmware running there? reset the board, and check that nothing else uses the line",
        )

    def _reply(self, op: int, timeout: float, repeatable: bool) -> Frame | None:
        """The reply to the last request, or None where that was rejected as damaged. `TimeoutError`: none came.

        A rejection may be of earlier noise, so that the reply can still come; one that must not be repeated gets all
        its time for that.
        """
        deadline, rejected = time.monotonic() + timeout, False
        while True:
            try:
                frame = self._await(op, deadline, repeatable)
            except TimeoutError:
                if rejected:
                    return None
                raise
            if frame.op != C["SNE_OP_REJECT"] or frame.status == C["SNE_E_COMMAND"]:
                return frame
            rejected = True
            if repeatable:
                deadline = min(deadline, time.monotonic() + SETTLE_SECONDS)

    def _await(self, op: int, deadline: float, repeatable: bool) -> Frame:
        """The reply to the last request. `TimeoutError`: none came in time, or a damaged one and it may be repeated."""
        while True:
            encoded, found, rest = self._received.partition(b"\0")
            if not found:
                left = deadline - time.monotonic()
                data = self._transport.read(max(0.0, left))
                if not data and time.monotonic() >= deadline - 0.001:
                    raise TimeoutError
                if not data and left > 0:
                    time.sleep(min(0.01, left))
                self._received += data
                continue
            self._received = rest
            if not encoded:
                continue
            frame = parse_reply(encoded)
            if frame is None:
                if repeatable:
                    raise TimeoutError
            elif frame.op == C["SNE_OP_FAULT"]:
                raise _fault(self.where, frame.body)
            else:
                ours = frame.sequence == self._sequence and frame.op in (op | C["SNE_OP_REPLY"], C["SNE_OP_REJECT"])
                damaged = frame.op == C["SNE_OP_REJECT"] and frame.status != C["SNE_E_COMMAND"]
                if ours or damaged:
                    return frame


def _fault(where: str, body: bytes) -> SneError:
    exception, pc, lr, _, cfsr, hfsr, address = struct.unpack("<7I", body[:28].ljust(28, b"\0"))
    kinds = {3: "hard fault", 4: "memory fault", 5: "bus fault", 6: "usage fault", 7: "security fault"}
    kind = kinds.get(exception, f"exception {exception}")
    return SneError(
        f"{where}: device faulted at pc={pc:#010x} ({kind}, lr={lr:#010x}, cfsr={cfsr:#010x}, hfsr={hfsr:#010x}, "
        f"address={address:#010x})",
        "arm-none-eabi-addr2line -f -e firmware.elf names the function; reset the board to go on",
    )


def _hint(name: str) -> str:
    hints = {
        "SNE_E_COMMAND": "the firmware is of another version: build it again and flash it",
        "SNE_E_LENGTH": "the firmware is of another version: build it again and flash it",
        "SNE_E_POLICY": "`sne-edge inspect` shows the model's students, timesteps and own policy",
        "SNE_E_NO_RESULT": "run an inference first",
        "SNE_E_NO_STREAM": "only models of raw events take a stream; load an input and run it",
        "SNE_E_NOT_KEPT": "build the firmware with SNE_TRACE, as `sne-edge verify --on qemu:BOARD` does",
        "SNE_E_NO_COUNTER": "instructions are counted on qemu:BOARD, cycles on hardware",
    }
    return hints.get(name, "see docs/PROTOCOL.md")
