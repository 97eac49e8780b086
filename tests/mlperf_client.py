"""A host of MLPerf Tiny's protocol, written from its description alone: what the benchmark's runners ask, and which
answers they take."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

MOST_BYTES = 31  # that a host loads at a time


@dataclass(frozen=True)
class Inference:
    """What `infer` said: laps in microseconds, none in energy mode; a value a class."""

    warmups: int
    runs: int
    laps: tuple[int, ...]
    results: tuple[float, ...]


class Client:
    """`send` bytes, `receive` some (empty: none came in time)."""

    def __init__(self, send: Callable[[bytes], None], receive: Callable[[], bytes]) -> None:
        self._send, self._receive = send, receive
        self._rest = b""

    def lines(self) -> list[str]:
        """Lines up to m-ready, which is left out; each must end in CR LF and be a message or an error."""
        found: list[str] = []
        while not found or found[-1] != "m-ready":
            while b"\n" not in self._rest:
                data = self._receive()
                assert data, f"no m-ready; so far {found}, and {self._rest!r}"
                self._rest += data
            line, self._rest = self._rest.split(b"\n", 1)
            assert line.endswith(b"\r") and line[:-1].isascii() and line[:-1].decode().isprintable(), line
            found.append(line[:-1].decode())
        assert not self._rest, f"the device goes on after m-ready: {self._rest!r}"
        return found[:-1]

    def ask(self, command: str) -> list[str]:
        """The lines that answer a command."""
        assert "%" not in command
        self._send(command.encode() + b"%")
        return self.lines()

    def one(self, command: str, pattern: str) -> str:
        """The single line that answers, which must match; its first group."""
        (line,) = self.ask(command)
        found = re.fullmatch(pattern, line)
        assert found, line
        return found[1]

    def load(self, data: bytes) -> None:
        """Load an input as hosts do."""
        assert self.one(f"db load {len(data)}", r"m-\[Expecting (\d+) bytes\]") == str(len(data))
        for start in range(0, len(data), MOST_BYTES):
            said = self.ask(f"db {data[start : start + MOST_BYTES].hex()}")
            assert said == (["m-load-done"] if start + MOST_BYTES >= len(data) else [])

    def loaded(self) -> bytes:
        """What `db print` shows: eight bytes a line, in small letters."""
        lines = self.ask("db print")
        assert all(re.fullmatch(r"m-buffer(-[0-9a-f]{2}){8}", line) for line in lines[:-1])
        assert not lines or re.fullmatch(r"m-buffer(-[0-9a-f]{2}){1,8}", lines[-1])
        return bytes.fromhex("".join(line.removeprefix("m-buffer").replace("-", "") for line in lines))

    def infer(self, *numbers: int) -> Inference:
        """`infer [N [W]]`, whose lines must come in the order that is written down."""
        words = [f"infer{''.join(f' {n}' for n in numbers)}", *self.ask("infer" + "".join(f" {n}" for n in numbers))]
        text = "\n".join(words[1:])
        found = re.fullmatch(
            r"m-warmup-start-(\d+)\nm-warmup-done\nm-infer-start-(\d+)\n((?:m-lap-us-\d+\n)*)m-infer-done\n(.*)", text
        )
        assert found, text
        laps = tuple(int(lap) for lap in re.findall(r"\d+", found[3]))
        return Inference(int(found[1]), int(found[2]), laps, values(found[4]))


def values(line: str) -> tuple[float, ...]:
    """Of m-results-[…]: three decimals each."""
    found = re.fullmatch(r"m-results-\[(-?\d+\.\d{3}(?:,-?\d+\.\d{3})*)\]", line)
    assert found, line
    return tuple(float(value) for value in found[1].split(","))
