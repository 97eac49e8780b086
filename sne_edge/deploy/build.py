"""Firmware: an exported model, the wire protocol and a board's port, compiled and linked.

In: an exported directory and a board's name. Out: an image, and how much of the board it takes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..files import UNWRITABLE, holding, workspace, write_all
from ..resources import FIRMWARE, RUNTIME, WIRE, c_templates
from .boards import Board, all_boards, resolve_board
from .export import read_manifest
from .images import checksum_source, uf2
from .mlperf import SOURCES as MLPERF_SOURCES
from .mlperf import Mlperf
from .objects import compile_objects
from .targets import Target, resolve_target
from .tools import check_tools, run_tool

CFLAGS = ("-std=c99", "-O2", "-ffreestanding", "-ffunction-sections", "-fdata-sections")
LDFLAGS = ("-nostartfiles", "-Wl,--gc-sections")
SERVER = ("main.c",)
PROFILED = "SNE_PROFILE"
WIRE_BODY = 256  # bytes of a request, SNE_WIRE_MAX_BODY, where nothing else is said


@dataclass(frozen=True)
class Firmware:
    """A built image. Sizes in bytes: `flash_bytes` is all that is stored, `table_bytes` the model's tables and
    `vector_bytes` the golden vectors in it, `code_bytes` the rest; of the tables, `weight_bytes`, `padding_bytes`,
    `threshold_bytes` and `structure_bytes` are as `codegen.footprint.Footprint` has them; `ram_bytes`
    is static data, `stack_bytes` reserved beside it. `elf` is for a debugger and QEMU, `binary` and `hex` for flashing
    tools, `uf2` for boards that show a drive which takes it; `sha256`: hex, of the binary."""

    board: str
    target: str
    model: str
    fingerprint: str
    elf: Path
    binary: Path
    hex: Path
    flash_bytes: int
    code_bytes: int
    table_bytes: int
    weight_bytes: int
    padding_bytes: int
    threshold_bytes: int
    structure_bytes: int
    vector_bytes: int
    ram_bytes: int
    stack_bytes: int
    board_flash_bytes: int
    board_ram_bytes: int
    sha256: str
    uf2: Path | None = None


def build_firmware(
    directory: Path | str,
    board: Board | str,
    output: Path | str,
    *,
    definitions: Sequence[str] = (),
    vectors: bool = True,
    mlperf: Mlperf | None = None,
) -> Firmware:
    """Compile and link `directory` (an export) for `board` into `output`: firmware.elf, .bin, .hex and .ld.

    `definitions`: preprocessor symbols: SNE_TRACE keeps membranes, SNE_PROFILE counts layers, SNE_INJECT_FAULT makes
    every inference fault, for tests; `vectors`: whether the golden vectors are in it; `mlperf`: speak MLPerf Tiny's
    protocol, not our own, which has no use for them.
    Raises `SneError` where the model does not fit the board, a tool is missing or the compiler complains; then
    nothing is left in `output`.
    """
    directory, output = Path(directory), Path(output)
    manifest = read_manifest(directory)
    chosen = resolve_board(board) if isinstance(board, str) else board
    target = resolve_target(chosen.target)
    vectors = vectors and mlperf is None
    _check_fits(manifest, chosen, vectors)
    check_tools(target)
    with workspace() as work:
        render_board(mlperf.on(chosen) if mlperf else chosen, manifest["identifier"], work)
        objects = _compile(directory, manifest, chosen, target, work, definitions, vectors, mlperf)
        _link(manifest, chosen, target, objects, work)
        _convert(target, chosen, work)
        firmware = _report(manifest, chosen, target, work, output)
        _install(work, output)
    return firmware


def port_sources(board: Board, server: Sequence[str] = ()) -> list[Path]:
    """The firmware's own files for a board: what any program needs; for a `server`, its own and those it stands on."""
    tools = resolve_target(board.target).tools
    port = tools.port if tools else ""
    names = [f"startup{port}.c", f"counter{port}.c", "stack.c", f"uart_{board.uart.driver}.c"]
    names += [f"{part}_{name}.c" for part, name in (("speed", board.speed), ("boot", board.boot)) if name]
    if server:
        names += ["serial.c", f"timer{port}.c", f"trigger_{board.trigger.driver}.c", *server]
    return [board.source(name) for name in names]


def compile_flags(target: Target) -> tuple[str, ...]:
    """What firmware for a target is compiled with."""
    return (*target.cflags, *CFLAGS, *(target.tools.includes if target.tools else ()))


def link_flags(target: Target) -> tuple[str, ...]:
    """What firmware for a target is linked with, beside its board's script."""
    return (*LDFLAGS, *(target.tools.specs if target.tools else ()), *target.libraries)


def _check_fits(manifest: dict[str, Any], board: Board, with_vectors: bool) -> None:
    """What the model alone needs, before anything is compiled; the linker has the last word."""
    state, inputs = manifest.get("state_bytes", 0), manifest.get("input_bytes", 0)
    flash = manifest.get("flash_bytes", {})
    tables, vectors = flash.get("tables", 0), flash.get("vectors", 0) if with_vectors else 0
    ram = state + inputs + board.stack_bytes
    if ram > board.ram_bytes:
        detail = f"state {_kib(state)}, input {_kib(inputs)}, stack {_kib(board.stack_bytes)}"
        raise _too_large(manifest, board, "RAM", ram, board.ram_bytes, f" ({detail})")
    if tables + vectors > board.flash_bytes:
        weights = flash["weights"]
        detail = f"weights {_kib(weights)}, other tables {_kib(tables - weights)}, golden vectors {_kib(vectors)}"
        raise _too_large(manifest, board, "flash", tables + vectors, board.flash_bytes, f" ({detail})")


def _too_large(manifest: dict[str, Any], board: Board, memory: str, need: int, have: int, detail: str = "") -> SneError:
    larger = [
        other.name
        for other in all_boards()
        if need <= (other.ram_bytes if memory == "RAM" else other.flash_bytes) and other.name != board.name
    ]
    hint = f"boards with more: {', '.join(larger)}; or " if larger else ""
    return SneError(
        f"{manifest['name']} needs {_kib(need)} of {memory}{detail}, {board.name} has {_kib(have)}",
        f"{hint}make the model smaller; `sne-edge inspect` shows what each layer takes",
    )


def _kib(count: int) -> str:
    return f"{count / 1024:.1f} KB"


def render_served_model(directory: Path | str, work: Path, vectors: bool = True) -> Path:
    """Write to `work` the C file that binds an exported model to the wire protocol, with its golden vectors or without,
    and return it."""
    path = work / "served_model.c"
    _write(path, "model.c.j2", {"identifier": read_manifest(directory)["identifier"], "vectors": vectors})
    return path


def render_mlperf_model(directory: Path | str, work: Path, mlperf: Mlperf) -> Path:
    """The same for MLPerf Tiny's protocol."""
    path = work / "mlperf_model.c"
    _write(path, "mlperf_model.c.j2", mlperf.context(read_manifest(directory)))
    return path


def render_board(board: Board, identifier: str, work: Path) -> None:
    """Write a board's header and linker script, for an image that serves the model `identifier`, to `work`."""
    ticks = board.emulator.instructions_per_tick if board.emulator else None
    tick = {"numerator": ticks.numerator if ticks else 0, "denominator": ticks.denominator if ticks else 1}
    context = {"board": board, "tick": tick, "identifier": identifier}
    _write(work / "board.h", "board.h.j2", context)
    _write(work / "firmware.ld", "link.ld.j2", context)


def _write(path: Path, template: str, context: dict[str, Any]) -> None:
    text = c_templates(FIRMWARE).get_template(template).render(context)
    path.write_text(text, encoding="utf-8", newline="\n")


def _compile(
    directory: Path,
    manifest: dict[str, Any],
    board: Board,
    target: Target,
    work: Path,
    definitions: Sequence[str],
    vectors: bool,
    mlperf: Mlperf | None,
) -> list[Path]:
    """Compile every source that was not compiled before; each object has its source's name."""
    names = [*manifest["library"], *([f"{manifest['identifier']}_vectors.c"] if vectors else [])]
    sources = [directory.resolve() / name for name in names]
    if mlperf is None:
        sources += [render_served_model(directory, work, vectors), *WIRE]
        if manifest.get("policy_bytes", 0) > WIRE_BODY:
            definitions = (*definitions, f"SNE_WIRE_MAX_BODY={manifest['policy_bytes']}")
    else:
        sources.append(render_mlperf_model(directory, work, mlperf))
        definitions = (*definitions, *mlperf.definitions)
    server = SERVER if mlperf is None else MLPERF_SOURCES
    flags: list[str] = []
    if PROFILED in definitions:
        flags, server = ["-include", "profile.h"], (*server, "profile.c")
    sources += port_sources(board, server)
    flags += [*compile_flags(target), *(f"-D{name}" for name in definitions)]
    folders = (work, directory.resolve(), RUNTIME, FIRMWARE)
    objects = compile_objects(target.cc, flags, folders, sources, work)
    return [*objects, _checksum(target, work)] if board.boot == "rp2040" else objects


def _checksum(target: Target, work: Path) -> Path:
    """Compile the checksum of an RP2040's second stage, which lies in an object already."""
    run_tool([f"{target.prefix}objcopy", "-O", "binary", "-j", ".boot2", "boot_rp2040.o", "boot2.bin"], work)
    source = work / "boot_checksum.c"
    source.write_text(checksum_source((work / "boot2.bin").read_bytes()), encoding="utf-8")
    run_tool([target.cc, *compile_flags(target), "-c", source.name], work)
    return source.with_suffix(".o")


def _link(manifest: dict[str, Any], board: Board, target: Target, objects: list[Path], work: Path) -> None:
    command = [target.cc, *target.cflags, *link_flags(target), "-Tfirmware.ld", *(path.name for path in objects)]
    try:
        run_tool([*command, "-o", "firmware.elf"], work)
    except SneError as error:
        overflow = re.search(r"region `(FLASH|RAM)' overflowed by (\d+) bytes", error.message)
        if overflow is None:
            raise
        memory, have = ("flash", board.flash_bytes) if overflow[1] == "FLASH" else ("RAM", board.ram_bytes)
        raise _too_large(manifest, board, memory, have + int(overflow[2]), have) from None


def _convert(target: Target, board: Board, work: Path) -> None:
    for form, suffix in (("binary", "bin"), ("ihex", "hex")):
        run_tool([f"{target.prefix}objcopy", "-O", form, "firmware.elf", f"firmware.{suffix}"], work)
    if board.flashing and board.flashing.uf2_family is not None:
        image = (work / "firmware.bin").read_bytes()
        (work / "firmware.uf2").write_bytes(uf2(image, board.flash_origin, board.flashing.uf2_family))


def _report(manifest: dict[str, Any], board: Board, target: Target, work: Path, output: Path) -> Firmware:
    listing = run_tool([f"{target.prefix}size", "-A", "firmware.elf"], work)
    sections = {m[1]: int(m[2]) for m in re.finditer(r"^(\.\w+)\s+(\d+)\s", listing, flags=re.M)}
    tables, vectors = sections.get(".tables", 0), sections.get(".golden", 0)
    told = manifest["flash_bytes"]
    flash = (work / "firmware.bin").stat().st_size
    return Firmware(
        board=board.name,
        target=target.name,
        model=manifest["name"],
        fingerprint=manifest["fingerprint"],
        elf=output / "firmware.elf",
        binary=output / "firmware.bin",
        hex=output / "firmware.hex",
        uf2=output / "firmware.uf2" if (work / "firmware.uf2").exists() else None,
        flash_bytes=flash,
        code_bytes=flash - tables - vectors,
        table_bytes=tables,
        weight_bytes=told["weights"],
        padding_bytes=told["padding"],
        threshold_bytes=told["thresholds"],
        structure_bytes=tables - told["weights"] - told["padding"] - told["thresholds"],
        vector_bytes=vectors,
        ram_bytes=sections.get(".data", 0) + sections.get(".bss", 0),
        stack_bytes=sections.get(".stack", 0),
        board_flash_bytes=board.flash_bytes,
        board_ram_bytes=board.ram_bytes,
        sha256=hashlib.sha256((work / "firmware.bin").read_bytes()).hexdigest(),
    )


def _install(work: Path, output: Path) -> None:
    """Move the results to `output`, all or none, the image last."""
    names = ("firmware.ld", "firmware.hex", "firmware.bin", "firmware.uf2", "firmware.elf")
    made = {name: holding((work / name).read_bytes()) for name in names if (work / name).exists()}
    write_all(output, made, hint=UNWRITABLE)
