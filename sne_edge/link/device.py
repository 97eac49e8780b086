"""A device that serves a model: one interface over a serial port, a socket, an emulator and the host build.

In: inputs and policies. Out: results, spike counts, membranes and measurements, as the device computed them.
"""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import numpy as np

from ..deploy.host import Layer
from ..errors import SneError
from ..ir.policy import ActivationPolicy
from ..ir.rejection import NONE
from ..ir.schedule import STOPS
from .replies import (
    DIFFERENCES,
    MEMBRANES,
    BenchResult,
    CounterKind,
    Decoded,
    DeviceInfo,
    LayerCount,
    Pulse,
    Reply,
    RunResult,
    VectorResult,
    device_info,
)
from .session import Session
from .trace import FrameLog
from .transport import BAUD, LineError, Transport, open_transport
from .wire import C, policy_body

BENCH_SECONDS = 2.0  # one request's share of a benchmark
BENCH_CHUNK = 10_000
MOST_PAUSE = 10_000  # milliseconds
PULSE_RUNS = 100  # that surely take no longer than the longest inference may
MOST_LAYERS = 128  # that firmware keeps counts of
IMAGE_SECONDS = 10.0  # that a slow core may take for a megabyte of its own program
SWITCH_SECONDS = 0.02  # a board is done with its answer, and with the change, within a few milliseconds
SWITCHED_SECONDS = 0.3
FALL_BACK_SECONDS = 1.2  # a board that hears nobody at a new speed goes back after a second


class Device:
    """A connection to a device; use as a context manager, or `close` it. Not for several threads at once.

    Every method raises `SneError` where the line breaks, the device does not answer, faults, or refuses.
    """

    def __init__(
        self,
        transport: Transport,
        where: str,
        *,
        fingerprint: str | None = None,
        run_seconds: float = 30.0,
        baud: int = BAUD,
        log: FrameLog | None = None,
    ) -> None:
        """Greet the device behind `transport`; `where` names it in errors. See `open`."""
        self.where = where
        self._transport = transport
        self._session = Session(transport, where, log)
        self._run_seconds = run_seconds
        self._layers: list[Layer] | None = None
        self._baud = self._first_baud = baud
        try:
            self._info = self._keep(self._session.hello())
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
        baud: int = BAUD,
        rate: int | None = None,
        rtscts: bool = False,
        log: FrameLog | None = None,
    ) -> Device:
        """Connect to `where`: a serial port, socket://HOST:PORT, qemu:BOARD (starts QEMU with `image`, an ELF), or host
        (compiles `image`, an exported directory).

        `fingerprint`: refuse a device that serves another model; `run_seconds`: longest time one inference may take;
        `baud`: of a serial port, at which the board starts; `rate`: another, which it is asked for, see `change_rate`;
        `rtscts`: the port has flow control by hardware; `log`: where every frame is written down.
        """
        line = open_transport(where, image, baud, rtscts)
        device = cls(line, where, fingerprint=fingerprint, run_seconds=run_seconds, baud=baud, log=log)
        try:
            if rate is not None and rate != baud:
                device.change_rate(rate)
        except BaseException:
            device.close()
            raise
        return device

    def info(self) -> DeviceInfo:
        """Ask what the device is and what it serves."""
        return self._keep(self._session.ask("INFO"))

    def reset(self) -> None:
        """Clear input, state and result, and end a stream."""
        self._session.ask("RESET")

    def load(self, data: bytes) -> None:
        """Load a whole input, `info().input_bytes` bytes."""
        if len(data) != self._info.input_bytes:
            raise SneError(
                f"the input has {len(data)} bytes, {self._info.name} takes {self._info.input_bytes}",
                "encode samples with the model's own encoder: ensemble.encoder.encode(x)",
            )
        step = self._info.max_body - 4
        for offset in range(0, len(data), step):
            self._session.ask("LOAD", struct.pack("<I", offset) + data[offset : offset + step])

    def run(self, policy: ActivationPolicy | None = None) -> RunResult:
        """Run the loaded input under `policy` (the model's own by default)."""
        return self._computed("RUN", policy_body(policy))

    def result(self) -> RunResult:
        """The result of the last run once more."""
        return self._result(self._session.ask("RESULT", struct.pack("<H", 0), most=self._info.classes))

    def run_vector(self, index: int) -> VectorResult:
        """Run stored vector `index` under the model's own policy; the device compares with the reference."""
        if not 0 <= index < self._info.vectors:
            raise SneError(
                f"there is no vector {index}: {self._info.name} has {self._info.vectors}", "count from 0 below that"
            )
        found = self._session.ask("VECTOR", struct.pack("<I", index), timeout=self._run_seconds, attempts=2).values
        differs = tuple(name for name in DIFFERENCES if found["differs"] & C[f"SNE_DIFFERS_{name.upper()}"])
        return VectorResult(
            index,
            differs,
            found["first_class"] if "logits" in differs else None,
            found["first_spike_layer"] if "spikes" in differs else None,
        )

    def bench(self, n: int = 1, policy: ActivationPolicy | None = None) -> BenchResult:
        """Run the loaded input `n` times (at least 1) and count; instructions in an emulator, cycles on hardware."""
        if n < 1:
            raise SneError(f"cannot benchmark {n} runs", "ask for at least 1")
        parts: list[dict[str, int]] = []
        left, chunk = n, 1
        while left:
            started = time.monotonic()
            count = min(chunk, left)
            body = struct.pack("<I", count) + policy_body(policy)
            # One run more than counted: the device watches its stack in a run of its own.
            timeout = self._run_seconds * 2 + BENCH_SECONDS * 5
            parts.append(self._session.ask("BENCH", body, timeout=timeout, attempts=2).values)
            if parts[-1]["runs"] != count:
                raise self._session.wrong("BENCH", f"{parts[-1]['runs']} runs, where {count} were asked for")
            per_run = (time.monotonic() - started) / (count + 1)
            chunk = max(1, min(BENCH_CHUNK, int(BENCH_SECONDS / max(per_run, 1e-6))))
            left -= count
        return BenchResult(
            runs=sum(part["runs"] for part in parts),
            total=sum(part["total"] for part in parts),
            min=min(part["min"] for part in parts),
            max=max(part["max"] for part in parts),
            overhead=parts[-1]["overhead"],
            unit=self._info.counter,
            stack_bytes=max(part["stack_bytes"] for part in parts),
            stack_peak=parts[-1]["stack_peak"],
        )

    def pulse(self, pause: int = 0, runs: int = 1, policy: ActivationPolicy | None = None) -> Pulse:
        """Run the loaded input `runs` times with the board's pin high, after `pause` milliseconds, up to 10,000, with
        it low and the core asleep."""
        if not 0 <= pause <= MOST_PAUSE or not 1 <= runs < 2**32:
            raise SneError(
                f"cannot run {runs} times after {pause} ms", f"give at least one run, and 0 to {MOST_PAUSE} ms"
            )
        body = struct.pack("<II", pause, runs) + policy_body(policy)
        # A board's clock may be off by a factor of two. Tried once: a power monitor sees every pulse.
        timeout = self._run_seconds * max(1.0, runs / PULSE_RUNS) + pause / 500
        started = time.time()
        count = self._session.ask("PULSE", body, timeout=timeout, attempts=1).values["count"]
        return Pulse(runs, count, started, time.time())

    def profile(self, policy: ActivationPolicy | None = None) -> list[LayerCount]:
        """Run the loaded input once and count by layer, in the order in which layers run first, where the firmware was
        built for that: of one student (a policy `mask`) those of `student.layers`, or a graph's populations."""
        rows: list[tuple[int, ...]] = []
        while len(rows) < MOST_LAYERS:
            body = struct.pack("<H", len(rows)) + policy_body(policy)
            more = self._session.ask(
                "PROFILE", body, timeout=self._run_seconds, attempts=2, most=MOST_LAYERS - len(rows)
            ).rows
            if not more:
                break
            rows += more
        return [LayerCount(*row) for row in rows]

    def image(self) -> tuple[int, int]:
        """Bytes of the program in the board's flash, and their CRC-32, as the board reads them."""
        found = self._session.ask("IMAGE", timeout=IMAGE_SECONDS).values
        return found["bytes"], found["crc"]

    @property
    def counter(self) -> CounterKind:
        """What it counts."""
        return self._info.counter

    @property
    def rate(self) -> int:
        """Baud of the line at present."""
        return self._baud

    def change_rate(self, baud: int) -> bool:
        """Ask the board for another speed, switch to it, and see whether it answers there; where it does not, both go
        back, and this returns False. Raises `SneError` where the board cannot have that speed."""
        before = self._baud
        told = self._session.ask("RATE", struct.pack("<I", baud)).values["baud"]
        if told != baud:
            raise self._session.wrong("RATE", f"{told} baud, where {baud} were asked for")
        time.sleep(SWITCH_SECONDS)
        try:
            self._transport.set_rate(baud)
            self._session.ask("INFO", timeout=SWITCHED_SECONDS, attempts=2)
        except LineError as error:
            raise SneError(f"{self.where}: {error}", "give another --rate") from None
        except SneError:
            self._transport.set_rate(before)
            time.sleep(FALL_BACK_SECONDS)
            self.info()
            return False
        self._baud = baud
        return True

    def spikes(self) -> np.ndarray:
        """Spikes of every spiking layer in the last run, summed over timesteps: int64 [spike layers]."""
        rows = self._list("SPIKES", b"", self._info.spike_layers)
        return np.array([count for (count,) in rows], dtype=np.int64)

    def membranes(self, layer: int) -> np.ndarray:
        """Membranes of entry `layer` of `layers()` after the last run, int64 [neurons], where they are kept:
        they are those of the student that ran last."""
        table = self.layers()
        if not 0 <= layer < len(table):
            raise SneError(f"there is no layer {layer}: {self._info.name} has {len(table)}", "see Device.layers()")
        entry = table[layer]
        rows = self._list("MEMBRANES", struct.pack("<H", layer), entry.neurons, MEMBRANES[entry.width])
        return np.array([membrane for (membrane,) in rows], dtype=np.int64)

    def layers(self) -> list[Layer]:
        """Every layer that has membranes, readouts included."""
        if self._layers is None:
            rows = self._list("LAYERS", b"", self._info.layers)
            made = [
                Layer(student, layer, neurons, channels, width, bool(fires), offset)
                for student, layer, neurons, channels, width, fires, offset in rows
            ]
            strange = next((e for e in made if e.width not in MEMBRANES or e.neurons % e.channels), None)
            if strange is not None:
                raise self._session.wrong("LAYERS", f"a layer that cannot be: {strange}")
            self._layers = made
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
        return self._computed("STEP", body, attempts=1)

    def step_values(self, values: np.ndarray) -> RunResult:
        """The same for frames: one timestep's values, int8 [inputs], at most `info().max_body` of them."""
        values = np.asarray(values)
        if values.dtype != np.int8 or values.shape != (self._info.inputs,):
            raise SneError(
                f"a frame is {values.dtype}{list(values.shape)}, not int8[{self._info.inputs}]",
                "give the values of one timestep, encoded as the model's encoder does",
            )
        if len(values) > self._info.max_body:
            raise SneError(
                f"{len(values)} values do not fit in a request of {self._info.max_body}",
                "build the firmware with a larger SNE_WIRE_MAX_BODY, or load all frames and run them",
            )
        return self._computed("STEP", values.tobytes(), attempts=1)

    def close(self) -> None:
        """Give the line back, at the speed that it was found at, and end the emulator if it is ours. May be called
        again."""
        if self._baud != self._first_baud:
            with contextlib.suppress(SneError):
                self._session.ask("RATE", struct.pack("<I", self._first_baud), attempts=1)
            self._baud = self._first_baud
        self._transport.close()

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _keep(self, answer: Decoded) -> DeviceInfo:
        self._info = self._session.info = device_info(answer.values)
        return self._info

    def _computed(self, command: str, body: bytes, attempts: int = 2) -> RunResult:
        """A command that computes, and its result."""
        answer = self._session.ask(command, body, timeout=self._run_seconds, attempts=attempts, most=self._info.classes)
        return self._result(answer)

    def _result(self, answer: Decoded) -> RunResult:
        logits = [logit for (logit,) in answer.rows]
        logits += [logit for (logit,) in self._list("RESULT", b"", self._info.classes, first=len(logits))]
        label = answer.values["label"]
        told = {"stop": STOPS[answer.values["stop"]], "label": label if label < self._info.classes else NONE}
        return RunResult(**answer.values | told, logits=tuple(logits))

    def _list(
        self, command: str, body: bytes, count: int, reply: Reply | None = None, first: int = 0
    ) -> list[tuple[int, ...]]:
        """Entries `first` to `count` of a list, as many at a time as fit in a reply."""
        rows: list[tuple[int, ...]] = []
        while (left := count - first - len(rows)) > 0:
            at = struct.pack("<H", first + len(rows))
            rows += self._session.ask(command, body + at, reply=reply, most=left).rows
        return rows
