"""From a model and the name of a place to a device that serves it there: exports, builds and starts what that takes.

In: an ensemble and a place: `host`, `qemu:BOARD`, a serial port, or `socket://HOST:PORT`. Out: an open `Device`.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..codegen.layout import state_layout
from ..deploy.boards import resolve_board
from ..deploy.build import Firmware, build_firmware
from ..deploy.export import export
from ..deploy.targets import resolve_target
from ..ir.artifact import fingerprint
from ..ir.ensemble import QuantEnsemble
from .device import Device
from .qemu import COMMAND

DEFAULT_TARGET = "cortex-m"
SERVER_BYTES = 4096  # more than firmware takes beside a model's memory


def default_emulator() -> str | None:
    """`qemu:BOARD` with the default target's board, where compiler and emulator are installed."""
    target = resolve_target(DEFAULT_TARGET)
    return f"qemu:{target.board}" if shutil.which(target.cc) and shutil.which(COMMAND) else None


@contextmanager
def connect(
    ensemble: QuantEnsemble, where: str, progress: Callable[[str], None] = lambda text: None, trace: bool = False
) -> Iterator[tuple[Device, Firmware | None]]:
    """The device at `where`, closed at the end, and the firmware built for it (None where it runs its own already).

    `trace`: have firmware built here keep all membranes, where the board has room. Raises `SneError` where a tool is
    missing, the model does not fit, or the device serves another model.
    """
    print_of_model = fingerprint(ensemble)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        image, firmware = None, None
        if where == "host":
            progress("compiling for this computer")
            image = export(ensemble, "host", Path(folder) / "model")
        elif where.startswith("qemu:"):
            board = resolve_board(where.removeprefix("qemu:"))
            progress(f"building firmware for {board.name}")
            directory = export(ensemble, board.target, Path(folder) / "model")
            layout = state_layout(ensemble)
            need = layout.bytes + layout.kept + ensemble.encoder.input_bytes + board.stack_bytes + SERVER_BYTES
            definitions = ("SNE_TRACE",) if trace and need <= board.ram_bytes else ()
            firmware = build_firmware(directory, board.name, Path(folder) / "firmware", definitions=definitions)
            image = firmware.elf
        progress(f"connecting to {where}")
        with Device.open(where, image, fingerprint=print_of_model) as device:
            yield device, firmware
