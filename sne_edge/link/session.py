"""Requests and replies on a line: numbered, repeated where they were lost, bounded in time and in bytes.

In: a command and its body. Out: the values of its reply, checked, or an `SneError`, whatever the other end sends.
"""

from __future__ import annotations

import time

from ..deploy.targets import ARM, RISCV
from ..errors import SneError
from .replies import REPLIES, Decoded, DeviceInfo, Reply, decode
from .trace import FrameLog
from .transport import LineError, Transport
from .wire import STATUSES, C, Deframer, Frame, parse_reply, request

QUICK_SECONDS = 1.0  # for a request that computes nothing
HELLO_SECONDS = 0.3  # for the first one: a board may still be starting, so ask again soon
SLOWEST_SECONDS = 8.0  # that a reply may be under way: a modem, a tunnel
ATTEMPTS = 4
HELLO_ATTEMPTS = 30
SETTLE_SECONDS = 0.1  # for replies that are still on their way
FLOOD_BYTES = 1 << 20  # of what is no reply, in one exchange: more than a line of 115200 baud brings in its time

NOISE_HINT = "is sne-edge firmware running there, at this speed (--baud)? another program may print to the same line"
VERSION_HINT = "the firmware is of another version, or not sne-edge's: build it again and flash it"
_KINDS = {3: "hard fault", 4: "memory fault", 5: "bus fault", 6: "usage fault", 7: "security fault"}
_RISCV = 64  # RISC-V's exceptions are numbered from here on
_KINDS |= {
    _RISCV + 1: "no instructions there",
    _RISCV + 2: "illegal instruction",
    _RISCV + 4: "load at an odd place",
    _RISCV + 5: "load where nothing is",
    _RISCV + 6: "store at an odd place",
    _RISCV + 7: "store where nothing is",
}
_HINTS = {
    "SNE_E_COMMAND": VERSION_HINT,
    "SNE_E_LENGTH": VERSION_HINT,
    "SNE_E_POLICY": "`sne-edge inspect` shows the model's students, timesteps and own policy",
    "SNE_E_NO_RESULT": "run an inference first",
    "SNE_E_NO_STREAM": "only models of raw events take a stream; load an input and run it",
    "SNE_E_NOT_KEPT": "build the firmware with SNE_TRACE, as `sne-edge verify --on qemu:BOARD` does",
    "SNE_E_NO_PIN": "a board's pin is in its board.toml, `[trigger]`; `host` has none",
    "SNE_E_RATE": "give another --rate, or none: the board's own stays",
    "SNE_E_NO_PROFILE": "build the firmware with `--profile`, as `sne-edge bench --layers --on qemu:BOARD` does",
    "SNE_E_NO_COUNTER": "instructions are counted on qemu:BOARD, cycles on hardware",
}


class Session:
    """One end of a line. `where` names it in errors. `hello` comes first; it learns how slow the line is."""

    def __init__(self, transport: Transport, where: str, log: FrameLog | None = None) -> None:
        self.where = where
        self.info: DeviceInfo | None = None  # bounds what later replies may say
        self._transport = transport
        self._log = log
        self._frames = Deframer()
        self._sequence = 0
        self._delay = 0.0  # seconds that a reply was under way
        self._left = FLOOD_BYTES
        self._noise = 0  # bytes of the exchange that were no frame

    def hello(self) -> Decoded:
        """Ask INFO until it is answered: the board may be starting, the line slow."""
        started = time.monotonic()
        answer = self.ask("INFO", timeout=HELLO_SECONDS, attempts=HELLO_ATTEMPTS)
        self._delay = min(time.monotonic() - started, SLOWEST_SECONDS / 4)
        return answer

    def ask(
        self,
        command: str,
        body: bytes = b"",
        *,
        timeout: float | None = None,
        attempts: int = ATTEMPTS,
        reply: Reply | None = None,
        most: int | None = None,
    ) -> Decoded:
        """Send a request and return what its reply holds, by `reply` (the command's own by default); see `decode`.

        `timeout`: seconds that the device may take to compute. A damaged request was not executed and goes out again;
        one without an answer only while `attempts` last, since it may have been executed (repeating it is harmless but
        for STEP, which is tried once). A repeated request keeps its number, so that a late answer serves as well.
        """
        if self.info is not None and len(body) > self.info.max_body:
            raise SneError(
                f"{command} takes {len(body)} bytes, {self.where} at most {self.info.max_body}",
                "build the firmware with a larger SNE_WIRE_MAX_BODY",
            )
        frame = self._exchange(command, body, timeout if timeout is not None else self._quick, attempts)
        if frame.status:
            name, meaning = STATUSES.get(frame.status, (f"status {frame.status}", "this version does not know why"))
            raise SneError(
                f"{self.where} refused {command}: {meaning} ({name})", _HINTS.get(name, "see docs/PROTOCOL.md")
            )
        try:
            return decode(reply or REPLIES[command], frame.body, self.info, most)
        except ValueError as error:
            raise self.wrong(command, str(error)) from None

    def wrong(self, command: str, what: str) -> SneError:
        """The error of a reply that makes no sense."""
        return SneError(f"{self.where} answered {command} with {what}", VERSION_HINT)

    @property
    def _quick(self) -> float:
        return max(QUICK_SECONDS, 4 * self._delay)

    def _exchange(self, command: str, body: bytes, timeout: float, attempts: int) -> Frame:
        op = C[f"SNE_OP_{command}"]
        self._sequence = (self._sequence + 1) % 256
        self._left, self._noise = FLOOD_BYTES, 0
        silent = rejected = 0
        while silent < attempts and rejected < ATTEMPTS:
            try:
                if self._log:
                    self._log.sent(op, self._sequence, body)
                self._transport.write(request(op, self._sequence, body), max(timeout, QUICK_SECONDS))
                reply = self._reply(command, op, timeout + self._delay, attempts > 1)
            except TimeoutError:
                silent += 1
                continue
            except LineError as error:
                raise SneError(
                    f"{self.where} went away during {command}: {error}", "check the cable and the board's power"
                ) from None
            if reply is not None:
                return reply
            rejected += 1
        if rejected:
            raise SneError(
                f"{self.where} received {rejected} damaged requests in a row",
                "the line is too noisy, or the board's is of another speed (--baud)",
            )
        strange = self._noise + self._frames.pending
        noise = f", but sent {strange:,} bytes that are no reply" if strange else ""
        raise SneError(
            f"{self.where} did not answer {command} ({attempts} x {timeout:g} s){noise}",
            NOISE_HINT
            if noise
            else "is sne-edge firmware running there? reset the board, and check that nothing else uses the line",
        )

    def _reply(self, command: str, op: int, timeout: float, repeatable: bool) -> Frame | None:
        """The reply to the last request, or None where that was rejected as damaged. `TimeoutError`: none came.

        A rejection or a damaged frame may be of earlier noise, so that the reply can still come: a little later where
        the request can be repeated, otherwise in all its time.
        """
        deadline, rejected, late = time.monotonic() + timeout, False, False
        while True:
            encoded = self._frames.next()
            if encoded is None:
                if late:
                    break
                left = deadline - time.monotonic()
                late = left <= 0  # then what has come by now is the last that counts
                data = self._transport.read(max(0.0, left))
                self._take(command, data)
                if not data and left > 0:
                    time.sleep(min(0.01, left))
                continue
            frame = parse_reply(encoded)
            if self._log:
                self._log.received(encoded, frame)
            if frame is not None and frame.op == C["SNE_OP_FAULT"]:
                raise self._fault(frame.body)
            if frame is not None and self._answers(frame, op):
                return frame
            self._noise += len(encoded)
            if frame is None or frame.op == C["SNE_OP_REJECT"]:
                rejected |= frame is not None
                if repeatable:
                    deadline = min(deadline, time.monotonic() + SETTLE_SECONDS)
        if rejected:
            return None
        raise TimeoutError

    def _answers(self, frame: Frame, op: int) -> bool:
        """Whether a frame answers the last request, be it that there is no such command."""
        unknown = frame.op == C["SNE_OP_REJECT"] and frame.status == C["SNE_E_COMMAND"]
        return frame.sequence == self._sequence and (frame.op == op | C["SNE_OP_REPLY"] or unknown)

    def _take(self, command: str, data: bytes) -> None:
        self._left -= len(data)
        if self._left < 0:
            raise SneError(
                f"{self.where} sent {FLOOD_BYTES - self._left:,} bytes, and no reply to {command} among them",
                NOISE_HINT,
            )
        self._frames.feed(data)

    def _fault(self, body: bytes) -> SneError:
        try:
            fault = decode(REPLIES["FAULT"], body).values
        except ValueError as error:
            return SneError(f"{self.where}: device faulted, and reported {error}", "reset the board")
        kind = _KINDS.get(fault["exception"], f"exception {fault['exception']}")
        tools = RISCV if fault["exception"] >= _RISCV else ARM
        registers = ", ".join(f"{name}={fault[name]:#010x}" for name in ("lr", "cfsr", "hfsr", "address"))
        return SneError(
            f"{self.where}: device faulted at pc={fault['pc']:#010x} ({kind}, {registers})",
            f"{tools.prefix}addr2line -f -e firmware.elf names the function; the board starts again by itself",
        )
