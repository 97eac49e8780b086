"""A measurement on several devices at once, each in a thread of its own.

In: open devices by place, and a plan. Out: what each has counted, or the error that it ended in; the others go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ..errors import SneError
from .bench import Found, Plan, count
from .device import Device
from .journal import Journal


@dataclass
class Outcome:
    """`found`: what a device has counted; `error`: what it ended in, None where all is counted."""

    found: Found = field(default_factory=dict)
    error: SneError | None = None


class _Stopped(Exception):
    """Nobody waits for the counts any more."""


def count_all(
    what: Plan,
    devices: Mapping[str, Device],
    journal: Journal | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> dict[str, Outcome]:
    """Count on all devices at once; `progress` gets a line of how far each is. An interruption ends all of them."""
    outcomes = {
        where: Outcome(journal.found(where, identity(device)) if journal else {}) for where, device in devices.items()
    }
    states = dict.fromkeys(devices, "0")
    stop = threading.Event()

    def serve(where: str, device: Device) -> None:
        def step(done: int, of: int) -> None:
            if stop.is_set():
                raise _Stopped
            states[where] = f"{done} of {of}"

        try:
            keep = (
                (lambda n, i, counted: journal.keep(where, n, i, counted)) if journal else (lambda n, i, counted: None)
            )
            count(what, device, outcomes[where].found, keep, step)
            states[where] = "done"
        except _Stopped:
            pass
        except SneError as error:
            outcomes[where].error, states[where] = error, "failed"

    threads = [threading.Thread(target=serve, args=pair, daemon=True) for pair in devices.items()]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():
                thread.join(0.1)
                progress("; ".join(f"{Path(where).name}: {state}" for where, state in states.items()))
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    return outcomes


def program(device: Device) -> tuple[int, int] | None:
    """Bytes and CRC-32 of the program that a board runs, None where it cannot read it."""
    try:
        return device.image()
    except SneError:
        return None


def identity(device: Device) -> str:
    """What tells one firmware from another: the board, the model, and the program, or its size where that is all."""
    info, found = device.info(), program(device)
    told = f"{found[0]} {found[1]:08x}" if found else str(info.flash_used)
    return f"{info.board} {info.fingerprint} {told}"
