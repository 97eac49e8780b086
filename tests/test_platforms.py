"""Generated C on machines that are not like the usual ones: an int of 16 bits, big-endian words, a compiler that takes
types at their word or does not optimise. Each runs the golden vectors of random chains and graphs."""

from __future__ import annotations

import random
import re
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from graph_strategies import random_graph_ensemble
from models import tiny_ensemble
from sne_edge.codegen.layout import state_layout
from strategies import ENCODERS, random_ensemble, random_inputs, with_vectors
from test_equivalence import EDGES
from test_export import fixed_ensemble
from test_firmware import on

from sne_edge.deploy import build
from sne_edge.deploy.boards import Board, resolve_board
from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.loader import export_blobs
from sne_edge.deploy.targets import RISCV, resolve_target
from sne_edge.ir.artifact import load
from sne_edge.ir.ensemble import QuantEnsemble

HERE = Path(__file__).parent
STRICT = ("-std=c99", "-pedantic-errors", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
AVR = ("avr-gcc", *STRICT, "-Os", "-mmcu=atmega2560", "-ffunction-sections", "-fdata-sections", "-Wl,--gc-sections")
AVR_RAM, AVR_STACK = 8192, 1024  # bytes of an ATmega2560, and of what a run may need of them
BIG_ENDIAN = {"mips": "mips-linux-gnu-gcc", "s390x": "s390x-linux-gnu-gcc"}
TYPED = {"portable": ("-DSNE_PORTABLE",), "vectors": ("-march=native",), "no compiler's types": ("-U__GNUC__",)}


def chains_and_graphs(seeds: int) -> Iterator[tuple[str, QuantEnsemble]]:
    """Random ensembles with golden vectors: one for each encoder and a graph for each seed; what kind each is."""
    for seed in range(seeds):
        for kind in (*ENCODERS, "graph"):
            yield kind, of_seed(kind, seed)


@cache
def of_seed(kind: str, seed: int) -> QuantEnsemble:
    """A small ensemble, with golden vectors."""
    rng = random.Random(10 * seed + len(kind))
    if kind == "graph":
        graph = random_graph_ensemble(rng)
        return with_vectors(graph, random_inputs(rng, graph, 6)[:6])
    return random_ensemble(rng, kind=kind, students=1 + seed % 2, vectors=4)  # type: ignore[arg-type]


def sources(directory: Path) -> list[str]:
    """The C that a model is compiled from."""
    return [str(directory / name) for name in read_manifest(directory)["sources"]]


def run_host(directory: Path, command: list[str], program: Path, emulator: tuple[str, ...] = ()) -> str:
    """Compile the self-test of an export and run it; what it prints."""
    main = next(directory.rglob("main.c"))
    subprocess.run([*command, f"-I{directory}", *sources(directory), str(main), "-o", str(program)], check=True)
    done = subprocess.run([*emulator, str(program)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def exact_vectors(output: str) -> int:
    """The number of golden vectors that a self-test found exact; fails where one was not."""
    found = re.search(r"(\d+) of (\d+) golden vectors exact", output)
    assert found and found[1] == found[2] != "0", output
    return int(found[1])


@pytest.mark.examines(direct=10, rate=10, events=10, graph=6, vectors=150)
def test_models_are_exact_where_an_int_has_16_bits(
    require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]
) -> None:
    require_tool("avr-gcc", "simavr", "avr-size")
    for number, (kind, ensemble) in enumerate(chains_and_graphs(12)):
        directory = export(ensemble, "host", tmp_path / f"model{number}")
        program = tmp_path / f"{number}.elf"
        files = [*sources(directory), str(HERE / "selftest_avr.c")]
        command = [*AVR, f"-I{directory}", f"-DMODEL={ensemble.identifier}", *files, "-o", str(program)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if "region `data' overflowed" in done.stderr or "is not within region" in done.stderr:
            continue
        assert (done.returncode, done.stderr) == (0, "")
        sizes = subprocess.run(["avr-size", str(program)], capture_output=True, text=True, check=True).stdout.split()
        if int(sizes[7]) + int(sizes[8]) > AVR_RAM - AVR_STACK:
            continue
        run = ("simavr", "-m", "atmega2560", "-f", "16000000", str(program))
        ran = subprocess.run(run, capture_output=True, text=True, timeout=60, check=True)
        shown = ran.stdout + ran.stderr
        result = re.search(r"(\d+)/(\d+)\.", shown)
        assert result and result[1] == "0", (kind, number, shown)
        examined[kind] += 1
        examined["vectors"] += int(result[2])


def test_a_model_that_a_platform_cannot_hold_is_refused_when_it_is_compiled(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("avr-gcc")
    directory = export(load("fashion-mnist"), "host", tmp_path / "large")
    name = read_manifest(directory)["identifier"]
    command = ["avr-gcc", "-std=c99", "-mmcu=atmega2560", "-fsyntax-only", str(directory / f"{name}.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f'#error "{name} needs more memory than this processor can address"' in done.stderr


@pytest.mark.parametrize("machine", BIG_ENDIAN)
@pytest.mark.examines(direct=2, rate=2, events=2, graph=2, vectors=30)
def test_models_are_exact_on_a_big_endian_machine(
    machine: str, require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]
) -> None:
    gcc, emulator = BIG_ENDIAN[machine], f"qemu-{machine}"
    if machine == "s390x" and not (shutil.which(gcc) and shutil.which(emulator)):
        pytest.skip("one such machine is enough: mips is always there")
    require_tool(gcc, emulator)
    for number, (kind, ensemble) in enumerate(chains_and_graphs(2)):
        directory = export(ensemble, "host", tmp_path / f"model{number}")
        command = [gcc, *STRICT, "-O1", "-static"]
        output = run_host(directory, command, tmp_path / f"{number}", (emulator,))
        examined[kind] += 1
        examined["vectors"] += exact_vectors(output)


def typed(directory: Path, flags: tuple[str, ...], program: Path) -> tuple[int, str]:
    """Exit code and messages of a harness run with every access held against the type of what lies there."""
    clang = next((name for n in range(30, 19, -1) if shutil.which(name := f"clang-{n}")), None)
    if clang is None:
        pytest.skip("no clang has a type sanitizer before 20")
    name = read_manifest(directory)["identifier"]
    command = [clang, "-std=c99", "-O1", "-g", "-fsanitize=type", *flags, f"-DMODEL={name}", f"-I{directory}"]
    command += [*sources(directory), str(HERE / "harness.c"), "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stderr


@pytest.mark.parametrize("build", TYPED)
@pytest.mark.examines(direct=2, rate=2, events=2, graph=2)
def test_memory_is_read_as_what_it_was_written_as(build: str, tmp_path: Path, examined: Counter[str]) -> None:
    for number, (kind, ensemble) in enumerate(chains_and_graphs(2)):
        directory = export(ensemble, "host", tmp_path / f"model{number}")
        assert typed(directory, TYPED[build], tmp_path / f"{number}") == (0, ""), (kind, number)
        examined[kind] += 1


def test_the_type_sanitizer_sees_a_membrane_in_an_arena_of_words(tmp_path: Path) -> None:
    directory = export(fixed_ensemble(), "host", tmp_path / "fixed")
    core = directory / "sne_core.h"
    core.write_text(core.read_text().replace("__attribute__((may_alias))", ""))
    code, said = typed(directory, TYPED["portable"], tmp_path / "fixed.elf")
    assert code == 0 and "type-aliasing-violation" in said


@pytest.mark.examines(models=8)
def test_types_change_nothing_for_an_optimising_compiler(
    require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]
) -> None:
    require_tool("gcc")
    for number, (_, ensemble) in enumerate(chains_and_graphs(1)):
        directory = export(ensemble, "host", tmp_path / f"model{number}")
        for flag in ("-fstrict-aliasing", "-fno-strict-aliasing"):
            command = ["gcc", *STRICT, "-Wstrict-aliasing", "-O2", "-DSNE_PORTABLE", flag]
            exact_vectors(run_host(directory, command, tmp_path / f"{number}"))
            examined["models"] += 1


@pytest.mark.examines(models=20, streams_without_maps=1)
def test_every_model_is_c99(require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]) -> None:
    require_tool("gcc")
    small = (name for name in EDGES if "65535" not in name and "second-of-sound" not in name and "longest" not in name)
    models = [made for _, made in chains_and_graphs(3)] + [EDGES[name]() for name in small]
    for ensemble in models:
        directory = export(ensemble, "host", tmp_path / "model")
        for trace in ((), ("-DSNE_TRACE",)):
            files = [name for name in sources(directory) if not name.endswith("_vectors.c")]
            subprocess.run(["gcc", *STRICT, *trace, "-fsyntax-only", f"-I{directory}", *files], check=True)
        examined["models"] += 1
        maps = state_layout(ensemble).step[1]
        examined["streams_without_maps"] += ensemble.encoder.kind == "events" and maps == 0


def test_a_state_that_is_not_at_a_word_is_an_error(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc")
    directory = export(tiny_ensemble("events"), "host", tmp_path / "tiny")
    name = read_manifest(directory)["identifier"]
    program = tmp_path / "places"
    (tmp_path / "places.c").write_text(
        f"""#include "{name}.h"
#include "sne_model.h"
static uint32_t memory[{name.upper()}_STATE_BYTES / 4 + 1], raster[{name.upper()}_INPUT_BYTES / 4 + 1];
int main(void)
{{
    sne_result result;
    uint8_t *state = (uint8_t *)memory, *input = (uint8_t *)raster;
    int place, wrong = 0;
    for (place = 0; place < 4; place++) {{
        const sne_status want = place ? SNE_E_ARGUMENT : SNE_OK;
        wrong += sne_run(&{name}_model, state + place, input, NULL, &result) != want;
        wrong += sne_run(&{name}_model, state, input + place, NULL, &result) != want;
    }}
    wrong += sne_run(&{name}_model, NULL, input, NULL, &result) != SNE_E_ARGUMENT;
    return wrong;
}}
"""
    )
    command = ["gcc", "-std=c99", f"-I{directory}", *sources(directory), str(tmp_path / "places.c"), "-o", str(program)]
    subprocess.run(command, check=True)
    assert subprocess.run([str(program)], check=False).returncode == 0


def text_bytes(directory: Path, compiler: tuple[str, ...], core: str, level: str, *names: str) -> int:
    """What the functions of an export's files take, compiled without the optimisations of others."""
    flags = (*resolve_target(core).cflags, "-std=c99", level, "-ffreestanding", "-ffunction-sections")
    subprocess.run([*compiler, *flags, "-c", *names], cwd=directory, check=True)
    objects = [f"{Path(name).stem}.o" for name in names]
    command = ["arm-none-eabi-size", "-A", *objects]
    listing = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=True).stdout
    return sum(int(size) for size in re.findall(r"^\.text\S*\s+(\d+)", listing, flags=re.M))


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("core", ["m0", "m4"])
def test_a_build_that_does_not_optimise_is_not_many_times_larger(
    core: str, compiler: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "arm-none-eabi-size", "clang")
    directory = export(load("mnist1d"), core, tmp_path / "model")
    headers = ("-isystem", str(Path(sysroot()) / "include"))
    command = ("arm-none-eabi-gcc",) if compiler == "gcc" else ("clang", "--target=arm-none-eabi", *headers)
    plain, optimised = (text_bytes(directory, command, core, level, "mnist1d.c") for level in ("-O0", "-O2"))
    assert 0 < optimised < plain < (2 if compiler == "gcc" else 3) * optimised


def sysroot() -> str:
    """Where the Arm toolchain has its C library."""
    command = ["arm-none-eabi-gcc", "-print-sysroot"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def instructions(
    ensemble: QuantEnsemble, board: Board, level: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[int]:
    """What the first golden vectors take in firmware compiled so; fails where one is not exact."""
    directory = export(ensemble, board.target, folder / "model")
    with monkeypatch.context() as patch:
        patch.setattr(build, "CFLAGS", tuple(level if flag == "-O2" else flag for flag in build.CFLAGS))
        image = build.build_firmware(directory, board, folder / f"firmware{level}")
    with on(board, image.elf) as device:
        for index, sample in enumerate(ensemble.vectors.inputs[:2]):
            assert device.run_vector(index).matches
            device.load(sample.tobytes())
            yield device.bench().total


@pytest.mark.parametrize("name", ["microbit", "mps2-an386", "mps3-an547", "riscv32-virt"])
def test_firmware_that_is_not_optimised_is_exact_and_not_many_times_slower(
    name: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = resolve_board(name)
    target = resolve_target(board.target)
    assert target.tools
    require_tool(target.cc, target.tools.emulator)
    plain, optimised = (
        sum(instructions(load("mnist1d"), board, level, tmp_path, monkeypatch)) for level in ("-O0", "-O2")
    )
    assert 0 < optimised < plain < (4 if target.tools is RISCV else 2) * optimised


def test_a_callers_own_file_is_not_optimised_where_it_asks_for_no_optimisation(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc")
    directory = tmp_path / "loader"
    export_blobs([load("mnist1d")], "cortex-m4", directory)
    (directory / "caller.c").write_text('#include "mnist1d_kernels.h"\nint caller;\n')
    engine = ("mnist1d_kernels.c", "sne_load.c", "sne_load_check.c", "sne_load_places.c", "sne_load_tables.c")
    for name in ("caller.c", *engine):
        text = (directory / name).read_text()
        wrong = "defined(__OPTIMIZE__)" if name == "caller.c" else "!defined(__OPTIMIZE__)"
        (directory / name).write_text(f"{text}#if {wrong}\n#error wrong\n#endif\n")
        flags = (*resolve_target("m4").cflags, *STRICT, "-O0", "-ffreestanding")
        subprocess.run(["arm-none-eabi-gcc", *flags, "-fsyntax-only", name], cwd=directory, check=True)


@pytest.mark.examines(direct=2, rate=2, events=2, graph=2)
def test_a_build_that_does_not_optimise_is_exact(
    require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]
) -> None:
    require_tool("gcc", "clang")
    for number, (kind, ensemble) in enumerate(chains_and_graphs(2)):
        directory = export(ensemble, "host", tmp_path / f"model{number}")
        compiler = ("gcc", "clang")[number % 2]
        exact_vectors(run_host(directory, [compiler, *STRICT, "-O0"], tmp_path / f"{number}"))
        examined[kind] += 1
