"""From a model and the name of a place to a device that serves it there: exports, builds and starts what that takes.

In: an ensemble and a place: `host`, `qemu:BOARD`, a serial port, or `socket://HOST:PORT`. Out: an open `Device`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict

from ..codegen.layout import state_layout, streams
from ..deploy.boards import resolve_board
from ..deploy.build import PROFILED, Firmware, build_firmware
from ..deploy.export import export
from ..deploy.targets import resolve_target
from ..deploy.tools import check_tools
from ..errors import SneError
from ..files import workspace
from ..ir.artifact import fingerprint
from ..ir.ensemble import QuantEnsemble
from ..ir.student import states
from .device import Device
from .qemu import check_emulator
from .session import VERSION_HINT
from .trace import FrameLog
from .transport import BAUD, address, check_port

DEFAULT_TARGET = "cortex-m"
SERVER_BYTES = 4096  # more than firmware takes beside a model's memory


def default_emulator() -> str | None:
    """`qemu:BOARD` with the default target's board, where compiler and emulator are installed."""
    target = resolve_target(DEFAULT_TARGET)
    if target.tools is None or not shutil.which(target.cc) or not shutil.which(target.tools.emulator):
        return None
    return f"qemu:{target.board}"


def check_place(where: str) -> None:
    """Raise `SneError` now where `connect` cannot find `where`; nothing is built, opened or started for that."""
    if where == "host":
        return
    if where.startswith("qemu:"):
        board = resolve_board(where.removeprefix("qemu:"))
        check_emulator(board)
        check_tools(resolve_target(board.target))
    elif where.startswith("socket://"):
        address(where)
    else:
        check_port(where)


@contextmanager
def connect(
    ensemble: QuantEnsemble,
    where: str,
    progress: Callable[[str], None] = lambda text: None,
    trace: bool = False,
    *,
    profile: bool = False,
    baud: int = BAUD,
    rate: int | None = None,
    rtscts: bool = False,
    log: FrameLog | None = None,
    run_seconds: float = 30.0,
) -> Iterator[tuple[Device, Firmware | None]]:
    """The device at `where`, closed at the end, and the firmware built for it (None where it runs its own already).

    `trace`: have firmware built here keep all membranes, where the board has room; `profile`: have it count by layer;
    `baud`, `rate`, `rtscts`, `log`, `run_seconds`: see `Device.open`.
    Raises `SneError` where a tool is missing, the model does not fit, or the device serves another model.
    """
    check_place(where)
    print_of_model = fingerprint(ensemble)
    with workspace() as work:
        image, firmware = None, None
        if where == "host":
            progress("compiling for this computer")
            image = export(ensemble, "host", work / "model")
        elif where.startswith("qemu:"):
            board = resolve_board(where.removeprefix("qemu:"))
            progress(f"building firmware for {board.name}")
            directory = export(ensemble, board.target, work / "model")
            layout = state_layout(ensemble)
            need = layout.bytes + layout.kept + ensemble.encoder.input_bytes + board.stack_bytes + SERVER_BYTES
            definitions: tuple[str, ...] = ("SNE_TRACE",) if trace and need <= board.ram_bytes else ()
            definitions += (PROFILED,) if profile else ()
            firmware = build_firmware(directory, board, work / "firmware", definitions=definitions)
            image = firmware.elf
        progress(f"connecting to {where}")
        with Device.open(
            where,
            image,
            fingerprint=print_of_model,
            baud=baud,
            rate=rate,
            rtscts=rtscts,
            log=log,
            run_seconds=run_seconds,
        ) as device:
            _check_serves(device, ensemble)
            yield device, firmware


def _check_serves(device: Device, ensemble: QuantEnsemble) -> None:
    """Its fingerprint is the model's; what it says of itself must be, too, or every later answer would be misread."""
    info = asdict(device.info())
    expected = {
        "inputs": ensemble.encoder.size,
        "classes": len(ensemble.classes),
        "students": len(ensemble.students),
        "layers": len(states(ensemble.students)),
        "spike_layers": len(ensemble.spike_layers),
        "timesteps": ensemble.encoder.timesteps,
        "stream": streams(ensemble),
        "routes": ensemble.routes is not None,
        "input_bytes": ensemble.encoder.input_bytes,
    }
    for name, value in expected.items():
        if info[name] != value:
            raise SneError(
                f"{device.where} says it serves this model, but with {name} {info[name]}, not {value}", VERSION_HINT
            )
