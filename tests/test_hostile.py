"""Sixty devices that misbehave: each ends in one error that says what to do, in bounded time, and none in a traceback.

They talk over sockets on this machine, all at once. A few only look hostile, being slow or repetitive: these must work.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from cobs import cobs

from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.connect import connect

INFO, LOAD, RUN, RESULT, VECTOR, BENCH, SPIKES, MEMBRANES, LAYERS = 1, 3, 4, 5, 6, 7, 8, 9, 10
SECONDS = 60.0  # for all of them
Behaviour = Callable[[socket.socket], object]
Answer = bytes | Callable[[int, bytes], bytes]


def frame(op: int, sequence: int, status: int = 0, body: bytes = b"") -> bytes:
    payload = bytes([op, sequence, status & 255]) + body
    return b"\0" + cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little")) + b"\0"


def requests(line: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    left = b""
    while data := line.recv(4096):
        *whole, left = (left + data).split(b"\0")
        for part in filter(None, whole):
            with contextlib.suppress(cobs.DecodeError):
                payload = cobs.decode(part)[:-4]
                yield payload[0], payload[1], payload[2:]


class Zoo:
    """The devices of a model, by what is wrong with them."""

    def __init__(self, model: QuantEnsemble) -> None:
        self._fingerprint = bytes.fromhex(fingerprint(model))
        self._held: list[bytes] = []
        self.over = threading.Event()
        self.devices = self._all()

    def info(self, **changes: Any) -> bytes:
        says = {
            "protocol": 1, "counter": 2, "runtime": 5, "max_body": 256, "fingerprint": self._fingerprint, "inputs": 32,
            "classes": 4, "students": 3, "layers": 9, "spike": 6, "timesteps": 3, "flags": 4, "input_bytes": 32,
            "state": 900, "vectors": 1, "name": b"tiny-test", "board": b"evil", "tail": None,
        }  # fmt: skip
        says |= changes
        texts = b"".join(bytes([len(says[key])]) + says[key] for key in ("name", "board"))
        numbers = list(says.values())[:15]
        return struct.pack("<BBHH8s6HB3I", *numbers) + bytes(28) + (texts if says["tail"] is None else says["tail"])

    def result(self, label: int = 1, stop: int = 0, logits: int = 4, active: int = 7) -> bytes:
        return struct.pack("<Ii7I", label, 5, active, 3, stop, 3, 9, 9, 9) + struct.pack(f"<{logits}i", *range(logits))

    def layers(self, width: int = 16, channels: int = 4) -> bytes:
        return b"".join(struct.pack("<HHHHBBI", i // 3, i % 3, 8, channels, width, i % 3 < 2, 100) for i in range(9))

    def honest(self, op: int, sequence: int, body: bytes, changed: dict[int, Answer]) -> bytes:
        usual: dict[int, bytes] = {
            INFO: self.info(),
            LOAD: b"",
            RUN: self.result(),
            RESULT: self.result(),
            VECTOR: struct.pack("<BHH", 0, 4, 6),
            BENCH: struct.pack("<IQQQQII", 1, 10, 10, 10, 1, 100, 100),
            SPIKES: struct.pack("<6I", *range(6)),
            MEMBRANES: bytes(16),
            LAYERS: self.layers(),
        }
        answer = changed.get(op, usual.get(op))
        if answer is None:
            return frame(0x80, sequence, -19)
        return answer(sequence, body) if callable(answer) else frame(op | 0x80, sequence, 0, answer)

    def serve(
        self,
        changed: dict[int, Answer] | None = None,
        delay: float = 0,
        limit: int = 10**9,
        send: Callable[[socket.socket, bytes], object] = lambda line, data: line.sendall(data),
    ) -> Behaviour:
        def run(line: socket.socket) -> None:
            for number, (op, sequence, body) in enumerate(requests(line)):
                if number >= limit:
                    return
                time.sleep(delay)
                send(line, self.honest(op, sequence, body, changed or {}))

        return run

    def flood(self, data: bytes, pause: float = 0) -> Behaviour:
        def run(line: socket.socket) -> None:
            while not self.over.wait(pause) if pause else not self.over.is_set():
                line.sendall(data)

        return run

    def drip(self, pause: float) -> Callable[[socket.socket, bytes], object]:
        def send(line: socket.socket, data: bytes) -> None:
            for byte in data:
                line.sendall(bytes([byte]))
                if self.over.wait(pause):
                    return

        return send

    def silent(self, line: socket.socket) -> None:
        self.over.wait()

    def deaf(self, line: socket.socket) -> None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
        self.over.wait()

    def echo(self, line: socket.socket) -> None:
        while data := line.recv(999):
            line.sendall(data)

    def reorder(self, line: socket.socket, data: bytes) -> None:
        self._held.append(data)
        if len(self._held) >= 2:
            line.sendall(self._held.pop() + self._held.pop())

    def _all(self) -> dict[str, tuple[Behaviour, str | None]]:
        """Name -> what it does, and the error that is due; None: it must work."""
        serve, info, result, flood = self.serve, self.info, self.result, self.flood
        fault = struct.pack("<7I", 3, 0x100, 0, 0, 0, 0, 0)
        text = b"$GPGGA,123519,4807.038,N\r\n"
        return {
            "silent": (self.silent, "did not answer INFO"),
            "close": (lambda line: None, "went away"),
            "garbage": (flood(os.urandom(4000), 0.001), "no reply to INFO among them"),
            "garbage-fast": (flood(os.urandom(60000)), "no reply to INFO among them"),
            "text-fast": (flood(text * 2000), "no reply to INFO among them"),
            "text-115200": (flood(text * 4, 0.0104), "are no reply"),
            "zeros": (flood(b"\0" * 60000), "no reply to INFO"),
            "valid-other-fast": (flood(frame(0x83, 77) * 2000), "no reply to INFO"),
            "valid-other-slow": (flood(frame(0x83, 77), 0.05), "are no reply"),
            "reject-flood": (flood(frame(0x80, 0, -17) * 2000), "damaged requests|no reply to INFO"),
            "echo": (self.echo, "are no reply"),
            "honest": (serve(), None),
            "dup": (serve(send=lambda line, data: line.sendall(data * 3)), None),
            "frag": (serve(send=self.drip(0.002)), None),
            "1B/s": (serve(send=self.drip(1)), "did not answer INFO"),
            "reorder": (serve(send=self.reorder), None),
            "delay.5": (serve(delay=0.5), None),
            "late": (serve(delay=1.4), None),
            "reset-mid": (serve(limit=3), "went away during RUN"),
            "info-short": (serve({INFO: b"\1"}), "1 bytes, where"),
            "info-empty": (serve({INFO: b""}), "0 bytes, where"),
            "info-truncated": (serve({INFO: info()[:40]}), "40 bytes, where"),
            "info-text-missing": (serve({INFO: info(tail=b"")}), "name that is cut off"),
            "info-text-cut": (serve({INFO: info(tail=b"\x3fab")}), "name that is cut off"),
            "proto2": (serve({INFO: info(protocol=2)}), "protocol 2"),
            "counter9": (serve({INFO: info(counter=9)}), "counter 9"),
            "wrongfp": (serve({INFO: info(fingerprint=b"12345678")}), "fingerprint 3132"),
            "maxbody0": (serve({INFO: info(max_body=0)}), "max_body 0"),
            "maxbody4": (serve({INFO: info(max_body=4)}), "max_body 4"),
            "maxbody3": (serve({INFO: info(max_body=3)}), "max_body 3"),
            "inputbytes-4G": (serve({INFO: info(input_bytes=2**32 - 1)}), "input_bytes 4294967295, not 32"),
            "classes65535": (serve({INFO: info(classes=65535)}), "classes 65535"),
            "classes2": (serve({INFO: info(classes=2)}), "classes 2, not 4"),
            "spike65535": (serve({INFO: info(spike=65535)}), "more layers that spike"),
            "layers65535": (serve({INFO: info(layers=65535)}), "layers 65535, not 9"),
            "runtime9": (serve({INFO: info(runtime=9)}), None),
            "traced": (serve({INFO: info(flags=6)}), None),
            "stop9": (serve({RUN: result(stop=9)}), "stop 9"),
            "result-short": (serve({RUN: b"\0" * 10}), "10 bytes, where"),
            "result-odd": (serve({RUN: result()[:-2]}), "list of 14 bytes"),
            "result-long": (serve({RUN: result(logits=30)}), "30 entries"),
            "bench-short": (serve({BENCH: b"\0" * 8}), "8 bytes, where"),
            "bench-zero": (serve({BENCH: bytes(44)}), "runs 0"),
            "spikes-odd": (serve({SPIKES: b"\1\2\3"}), "list of 3 bytes"),
            "spikes-1": (serve({SPIKES: b"\1"}), "list of 1 bytes"),
            "status-unknown": (serve({RUN: lambda sequence, body: frame(0x84, sequence, -99)}), "status -99"),
            "status-positive": (serve({RUN: lambda sequence, body: frame(0x84, sequence, 5)}), "status 5"),
            "body0": (serve({RUN: b""}), "0 bytes, where"),
            "fault": (serve({RUN: lambda sequence, body: frame(0xFF, 0, 0, fault)}), "faulted at pc=0x00000100"),
            "fault-short": (serve({RUN: lambda sequence, body: frame(0xFF, 0, 0, b"ab")}), "reported 2 bytes"),
            "reject-always": (serve({RUN: lambda sequence, body: frame(0x80, 0, -17)}), "4 damaged requests"),
            "oversize": (serve({RUN: b"\1" * 70000}), "label 16843009|no reply to RUN"),
            "name-esc": (serve({INFO: info(name=b"\x1b[31mx\n", fingerprint=b"12345678")}), r"runs \?\[31mx\? with"),
            "never-reads": (self.deaf, "did not answer INFO"),
            "traced-width0": (serve({INFO: info(flags=6), LAYERS: self.layers(width=0)}), "width 0"),
            "traced-odd": (serve({INFO: info(flags=6), MEMBRANES: b"\0"}), "list of 1 bytes"),
            "label-out": (serve({RUN: result(label=4)}), "label 4"),
            "mask-out": (serve({RUN: result(active=15)}), "active 15"),
            "vector-out": (serve({VECTOR: struct.pack("<BHH", 16, 5, 7)}), "differs 16"),
            "channels-odd": (serve({LAYERS: self.layers(channels=3)}), "layer that cannot be"),
        }  # fmt: skip


def served(behave: Behaviour) -> socket.socket:
    """A listener whose first connection meets such a device."""

    def listen() -> None:
        with contextlib.suppress(OSError):
            line, _ = server.accept()
            with line:
                behave(line)

    server = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=listen, daemon=True).start()
    return server


def url(server: socket.socket) -> str:
    return f"socket://127.0.0.1:{server.getsockname()[1]}"


def use(model: QuantEnsemble, behave: Behaviour) -> SneError | None:
    """Every command once on such a device: the error that it ended in."""

    server = served(behave)
    try:
        with connect(model, url(server), run_seconds=1) as (device, _):
            device.load(bytes(32))
            assert device.run(ActivationPolicy("all")).stop == "complete"
            assert len(device.spikes()) == 6
            assert len(device.layers()) == 9
            assert not device.info().traced or len(device.membranes(0)) == 8
            assert device.result().label == 1 and device.run_vector(0).matches
            assert device.bench(1).mean == 10
        return None
    except SneError as error:
        return error
    finally:
        server.close()


def test_every_hostile_device_ends_in_one_error_and_every_slow_one_works(tiny: QuantEnsemble) -> None:
    zoo = Zoo(tiny)
    assert len(zoo.devices) == 60
    started = time.monotonic()
    try:
        with ThreadPoolExecutor(len(zoo.devices)) as pool:
            ends = dict(zip(zoo.devices, pool.map(lambda d: use(tiny, d[0]), zoo.devices.values()), strict=True))
    finally:
        zoo.over.set()
    assert time.monotonic() - started < SECONDS
    examined = 0
    for name, error in ends.items():
        due = zoo.devices[name][1]
        assert (error is None) == (due is None), (name, error)
        if error is not None and due is not None:
            assert re.search(due, error.message), (name, error.message)
            assert error.message.isprintable() and error.hint.isprintable() and error.hint, name
            examined += 1
    assert examined == 52


def test_the_command_line_says_it_in_two_lines_without_a_control_code(tiny: QuantEnsemble, tmp_path: Path) -> None:
    save(tiny, tmp_path / "tiny.sne")
    zoo = Zoo(tiny)
    for name in ("name-esc", "text-fast", "bench-short", "status-positive"):
        server = served(zoo.devices[name][0])
        code = "import sys; from sne_edge.cli import main; main()"
        command = [
            sys.executable,
            "-c",
            code,
            "bench",
            str(tmp_path / "tiny.sne"),
            "--on",
            url(server),
            "--samples",
            "1",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        lines = done.stderr.splitlines()
        if name == "status-positive":  # `bench` does not ask RUN
            assert done.returncode == 0 and not lines
            continue
        assert done.returncode == 1 and [line.partition(":")[0] for line in lines] == ["error", "hint"], done.stderr
        assert all(line.isprintable() for line in lines)
        server.close()
    zoo.over.set()
