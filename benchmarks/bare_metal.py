"""Run a C program on an emulated core, for measurements and tests of single kernels.

In: C sources that define `program` (see bare_metal.h). Out: an ELF, and what it printed. Programs are compiled, started
and counted as firmware is.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import compile_flags, link_flags, port_sources, render_board
from sne_edge.deploy.objects import compile_objects
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.link.qemu import start_command
from sne_edge.resources import FIRMWARE, RUNTIME, WIRE

HERE = Path(__file__).parent
# One board for each core.
BOARDS = (
    *("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"),
    *("riscv32-virt", "riscv32-virt-zb"),
)


def run_on(board: str, *sources: Path, definitions: Sequence[str] = (), seconds: float = 120) -> str:
    """Build `sources` for a board, run them in its emulator and return their output; raises where they fail."""
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        return emulate(board, build_program(board, sources, Path(folder), definitions=definitions), seconds=seconds)


def build_program(
    board_name: str,
    sources: Sequence[Path],
    work: Path,
    *,
    includes: Sequence[Path] = (),
    definitions: Sequence[str] = (),
) -> Path:
    """Compile and link `sources` for a board in the folder `work`, objects and archives among them as they are; returns
    the ELF."""
    board = resolve_board(board_name)
    target = resolve_target(board.target)
    render_board(board, "program", work)
    linked = [path.resolve() for path in sources if path.suffix in (".o", ".a")]
    files = [path for path in sources if path.suffix not in (".o", ".a")]
    files += [HERE / "bare_metal.c", *port_sources(board), *WIRE, RUNTIME / "sne_schedule.c"]
    folders = (work, *includes, HERE, RUNTIME, FIRMWARE)
    flags = (*compile_flags(target), *(f"-D{name}" for name in definitions))
    made = compile_objects(target.cc, flags, folders, [path.resolve() for path in files], work)
    command = [target.cc, *target.cflags, *link_flags(target), "-Tfirmware.ld", *map(str, [*made, *linked])]
    run_tool([*command, "-o", "program.elf"], work)
    return work / "program.elf"


def emulate(board_name: str, elf: Path, *flags: str, seconds: float = 120) -> str:
    """Run a program in a board's emulator, in the folder where it lies, with further flags of QEMU's; its output.
    Raises where it fails."""
    board = resolve_board(board_name)
    done = subprocess.run(
        [
            *(*start_command(board), "-serial", "none", *flags),
            *("-semihosting-config", "enable=on,target=native", "-kernel", str(elf.resolve())),
        ],
        cwd=elf.parent,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    output = done.stdout + done.stderr
    if done.returncode:
        raise RuntimeError(f"{board_name}: exit code {done.returncode}\n{output}")
    return output
