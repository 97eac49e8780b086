"""Cores that no emulated machine has: compiled for, and run on the nearest that executes their instructions. And others
without kernels of their own: what is exported compiles, and is exact, there."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from models import tiny_ensemble
from test_firmware import on

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.targets import all_targets, resolve_target
from sne_edge.ir.artifact import load
from sne_edge.ir.ensemble import QuantEnsemble

STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
# A core without a machine of its own, the board that runs its code, what the compiler must choose for it.
NEAR = {
    "cortex-m23": ("mps2-an505", "SNE_THUMB1"),
    "cortex-m52": ("mps3-an547", "SNE_HELIUM"),
    "cortex-m55-nofp": ("mps3-an547", "SNE_HELIUM"),
    "cortex-m85": ("mps3-an547", "SNE_HELIUM"),
}
WASM = """\
#include "{name}.h"
static {name}_state state;
__attribute__((export_name("wrong"))) uint32_t wrong(void) {{ return {name}_selftest(&state); }}
__attribute__((export_name("vectors"))) uint32_t vectors(void) {{ return {name}_vectors.count; }}
"""
NODE = """\
const bytes = require("fs").readFileSync(process.argv[1]);
WebAssembly.instantiate(bytes).then(({instance}) =>
    console.log(instance.exports.wrong(), instance.exports.vectors()));
"""


def test_every_arm_core_has_a_machine_or_a_near_one() -> None:
    without = {target.name for target in all_targets() if target.tools and target.board is None}
    assert without == set(NEAR)


@pytest.mark.parametrize("core", NEAR)
def test_a_core_without_a_machine_is_exact_on_the_nearest(
    core: str, tiny: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    name, kernels = NEAR[core]
    target = resolve_target(core)
    directory = export(tiny, core, tmp_path / "export")
    command = [target.cc, *target.cflags, *STRICT, "-dD", "-E", "tiny_test.c"]
    shown = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^#define {kernels}\b", shown, flags=re.M)
    board = replace(resolve_board(name), target=core)
    with on(board, build_firmware(directory, board, tmp_path / "firmware").elf) as device:
        vectors = [device.run_vector(index) for index in range(device.info().vectors)]
    assert vectors and all(vector.matches for vector in vectors)


@pytest.mark.parametrize("core", ["cortex-m0", "cortex-m3", "cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_a_program_whose_functions_are_traced_compiles(
    core: str, level: str, tiny: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc")
    target = resolve_target(core)
    directory = export(tiny, core, tmp_path / "export")
    for source in read_manifest(directory)["sources"]:
        command = [target.cc, *target.cflags, *STRICT, level, "-finstrument-functions", "-c", source, "-o", "/dev/null"]
        subprocess.run(command, cwd=directory, check=True)


def test_a_core_whose_data_is_found_by_a_register_is_portable(
    tiny: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("clang")
    directory = export(tiny, "cortex-m4", tmp_path / "export")
    command = ["clang", "--target=arm-none-eabi", "-mcpu=cortex-m4", "-dM", "-E", "sne_core.h"]
    for flags, portable in ((["-fropi"], False), (["-frwpi"], True)):
        found = subprocess.run([*command, *flags, "-ffreestanding"], cwd=directory, capture_output=True, check=True)
        assert (b"#define SNE_PORTABLE" in found.stdout) == portable
        assert (b"#define SNE_DSP" in found.stdout) != portable


@pytest.mark.parametrize("name", ["esp8266", "avr", "wasm32", "pi-zero", "esp32-s3"])
def test_machines_without_kernels_of_their_own_are_generic(name: str) -> None:
    assert resolve_target(name).name == "generic"


def test_models_compile_for_an_esp8266(require_tool: Callable[..., None], tmp_path: Path) -> None:
    gcc = "xtensa-lx106-elf-gcc"
    require_tool(gcc)
    directory = export(load("mnist1d"), "esp8266", tmp_path / "model")
    for source in ("mnist1d.c", "sne_schedule.c"):
        flags = (*resolve_target("esp8266").cflags, *STRICT, "-ffreestanding", "-mlongcalls")
        subprocess.run([gcc, *flags, "-c", source, "-o", str(tmp_path / "model.o")], cwd=directory, check=True)


def test_models_are_exact_as_webassembly(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("clang", "wasm-ld", "node")
    directory = export(tiny_ensemble("rate"), "wasm32", tmp_path / "model")
    manifest = read_manifest(directory)
    (tmp_path / "main.c").write_text(WASM.format(name=manifest["identifier"]))
    flags = ("--target=wasm32", "-std=c99", "-O2", "-ffreestanding", "-nostdlib", "-mbulk-memory", "-Wl,--no-entry")
    sources = [str(directory / name) for name in manifest["sources"]]
    module = tmp_path / "model.wasm"
    command = ["clang", *flags, f"-I{directory}", *sources, str(tmp_path / "main.c"), "-o", str(module)]
    subprocess.run(command, check=True)
    done = subprocess.run(["node", "-e", NODE, str(module)], capture_output=True, text=True, check=True)
    wrong, count = map(int, done.stdout.split())
    assert wrong == 0 and count > 0
