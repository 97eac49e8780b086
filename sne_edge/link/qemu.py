"""QEMU: an emulated board, started with an image and always ended.

In: a board and an ELF. Out: a connected socket to its serial line. Virtual time advances by a fixed amount an
instruction (-icount), which is what makes counting repeatable.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Queue
from typing import IO

from ..deploy.boards import Board, Emulator
from ..deploy.targets import RISCV, resolve_target
from ..errors import SneError

START_SECONDS = 20.0


def check_emulator(board: Board) -> Emulator:
    """The board's emulator. Raises `SneError` where it has none, or QEMU is missing."""
    if board.emulator is None:
        raise SneError(f"QEMU does not emulate {board.name}", "connect the board and give its serial port")
    tools = resolve_target(board.target).tools
    assert tools is not None  # firmware is not built for this computer
    if shutil.which(tools.emulator) is None:
        raise SneError(f"{tools.emulator} is not installed", tools.emulator_hint)
    return board.emulator


def start_command(board: Board) -> list[str]:
    """The command that starts a board's emulator, to which its serial line and its program are to be added."""
    emulator, tools = board.emulator, resolve_target(board.target).tools
    assert emulator is not None and tools is not None
    return [
        *(tools.emulator, "-M", emulator.machine, *(("-cpu", emulator.cpu) if emulator.cpu else ())),
        *(("-bios", "none") if tools is RISCV else ()),
        *("-nographic", "-monitor", "none", "-icount", f"shift={emulator.icount_shift}"),
        *(("-serial", "null") * emulator.serial),
    ]


class Qemu:
    """A running emulator; `line` is its serial line. `close` ends it, and so does the end of this process."""

    def __init__(self, board: Board, elf: Path | str, *, options: Sequence[str] = ()) -> None:
        """Start it; `options`: more of QEMU's own, such as a debugger's. Raises `SneError` where QEMU is missing, the
        board has no emulator or the image is not there."""
        self.board = board
        elf = Path(elf)
        check_emulator(board)
        if not elf.is_file():
            raise SneError(f"there is no firmware at {elf}", "build it with `sne-edge build`")
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the emulator)
        # QEMU connects to us, not we to it: there is no port to guess and no moment to wait for.
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
            self._process = _launch(
                [
                    *start_command(board),
                    *("-serial", f"tcp:127.0.0.1:{port},nodelay=on"),
                    *("-kernel", str(elf)),
                    *options,
                ],
                self._errors,
            )
            atexit.register(self.close)
            try:
                self.line = self._accept(listener)
            except BaseException:
                self.close()
                raise

    def failure(self, patience: float = 0.0) -> str | None:
        """Why it has ended by itself, waiting at most `patience` seconds for that, or None while it runs."""
        try:
            self._process.wait(patience)
        except subprocess.TimeoutExpired:
            return None
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        said = [line for line in lines if line.startswith("qemu")] or lines  # before a dump of registers
        return said[0] if said else f"exit code {self._process.returncode}"

    def close(self) -> None:
        """End the emulator. May be called again."""
        atexit.unregister(self.close)
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        if hasattr(self, "line"):
            with contextlib.suppress(OSError):
                self.line.close()
        self._errors.close()

    def _accept(self, listener: socket.socket) -> socket.socket:
        deadline = time.monotonic() + START_SECONDS
        listener.settimeout(0.1)
        while time.monotonic() < deadline:
            try:
                line, _ = listener.accept()
            except TimeoutError:
                failure = self.failure()
                if failure is not None:
                    raise SneError(
                        f"QEMU could not start {self.board.name}: {failure}", "QEMU 7.2 or newer is needed"
                    ) from None
                continue
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return line
        raise SneError(
            f"QEMU did not start {self.board.name} within {START_SECONDS:.0f} s", "is the machine overloaded?"
        )


def _launch(command: list[str], errors: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a process that ends with this one, even where this one is killed and cannot end it.

    On Linux the kernel sees to that, but it watches the *thread* that started it: so one that never ends starts them.
    """

    def start() -> subprocess.Popen[bytes]:
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, stdin=quiet, stdout=quiet, stderr=errors, preexec_fn=_die_with_parent())

    if not sys.platform.startswith("linux"):
        return start()
    global _launcher
    with _launcher_lock:
        if _launcher is None:
            _launcher = Queue()
            threading.Thread(target=_launch_all, args=(_launcher,), name="launcher", daemon=True).start()
    started: Future[subprocess.Popen[bytes]] = Future()
    _launcher.put((start, started))
    return started.result()


_Job = tuple[Callable[[], "subprocess.Popen[bytes]"], "Future[subprocess.Popen[bytes]]"]
_launcher: Queue[_Job] | None = None
_launcher_lock = threading.Lock()


def _launch_all(jobs: Queue[_Job]) -> None:
    while True:
        start, started = jobs.get()
        try:
            started.set_result(start())
        except BaseException as error:  # the thread that waits for it raises it
            started.set_exception(error)


def _forget_launcher() -> None:
    """A forked process has none of its parent's threads."""
    global _launcher, _launcher_lock
    _launcher, _launcher_lock = None, threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_launcher)


def _die_with_parent() -> Callable[[], object] | None:
    """On Linux, have the kernel end the emulator even where this process is killed and cannot."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl
    set_parent_death_signal, kill = 1, 9
    return lambda: prctl(set_parent_death_signal, kill)
