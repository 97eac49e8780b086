"""QEMU's debugger interface, as far as tests look through it: memory, and which functions run with what, in order."""

from __future__ import annotations

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sne_edge.deploy.boards import Board
from sne_edge.link.qemu import Qemu


def symbol(elf: Path, name: str) -> int:
    """A symbol's address."""
    listing = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    (address,) = [line.split()[0] for line in listing.splitlines() if line.split()[-1] == name]
    return int(address, 16)


class Debugger:
    """GDB's remote protocol over a connected socket. The machine stands still from the start; `go` lets it run."""

    def __init__(self, line: socket.socket) -> None:
        self._line = line
        self._line.settimeout(20)
        self._rest = b""
        self._stops: set[int] = set()

    def ask(self, packet: str) -> str:
        """Send a packet and return the answer to it."""
        self._send(packet)
        return self.answer()

    def word(self, address: int) -> int:
        """A word of memory, or a register of a peripheral."""
        return int.from_bytes(bytes.fromhex(self.ask(f"m{address:x},4")), "little")

    def stop_at(self, address: int) -> None:
        """Stop where an instruction is about to run."""
        assert self.ask(f"Z0,{address & ~1:x},2") == "OK"
        self._stops.add(address & ~1)

    def registers(self) -> list[int]:
        """r0 to r15."""
        data = bytes.fromhex(self.ask("g")[: 16 * 8])
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, 64, 4)]

    def run_on(self) -> list[int]:
        """Run to the next stop; the registers there."""
        self.go()
        self.answer()
        return self.registers()

    def go(self) -> None:
        """Let the machine run, past the stop that it stands at. (A step lets no interrupt in: asleep it would not
        end.)"""
        if self.registers()[15] in self._stops:
            self.ask("s")
        self._send("c")

    def halt(self) -> None:
        """Have it stand still."""
        self._line.sendall(b"\x03")
        self.answer()

    def answer(self) -> str:
        """The next packet: an answer, or why the machine stopped."""
        while True:
            start = self._rest.find(b"$")
            end = self._rest.find(b"#", start)
            if start >= 0 and 0 <= end <= len(self._rest) - 3:
                packet, self._rest = self._rest[start + 1 : end], self._rest[end + 3 :]
                self._line.sendall(b"+")
                return packet.decode()
            data = self._line.recv(4096)
            assert data, "the debugger went away"
            self._rest += data

    def _send(self, packet: str) -> None:
        self._line.sendall(f"${packet}#{sum(packet.encode()) % 256:02x}".encode())


@contextmanager
def debugged(board: Board, elf: Path) -> Iterator[tuple[Qemu, Debugger]]:
    """A board in QEMU that has run no instruction yet, and a debugger on it."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as line:
        place = f"{folder}/gdb"
        qemu = Qemu(board, elf, options=["-S", "-gdb", f"unix:{place},server=on,wait=off"])
        try:
            deadline = time.monotonic() + 20
            while True:
                try:
                    line.connect(place)
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.02)
            yield qemu, Debugger(line)
        finally:
            qemu.close()
