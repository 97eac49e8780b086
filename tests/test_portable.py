"""The portable build, in C alone: what SNE_PORTABLE leaves out, and who gets it without asking."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from test_export import fixed_ensemble

from sne_edge.deploy.export import export
from sne_edge.deploy.targets import resolve_target
from sne_edge.ir.artifact import load

HERE = Path(__file__).parent
GCC = "arm-none-eabi-gcc"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
ASSEMBLER = re.compile(r"\b(__asm__|__asm|asm)\b|arm_mve|immintrin|__builtin_(arm|ia32|mve)|vector_size")
# Instructions on two lanes a word. No C becomes these, unlike SMLABB, a product of two int16.
LANES = re.compile(r"\t([su]xtab16|[su]xtb16|sml[as]d|smu[as]d|[qsu]h?(add|sub)(8|16)|pkh(bt|tb)|sel)\b")
CORES = ("m0", "m3", "m4", "m33", "m55")
ARM_STATE = ("-march=armv6 -marm", "-mcpu=arm7tdmi -marm", "-mcpu=cortex-a7 -marm", "-mcpu=cortex-r5 -marm")
OTHER_STATES = ("-march=armv4t -mthumb", "-march=armv6 -mthumb", "-mcpu=cortex-m4 -mthumb -mbig-endian")


@pytest.fixture(scope="module")
def models(require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Exports of a model of every kind of layer, weights of 4 bits included, and of one that multiplies."""
    require_tool(GCC)
    folder = tmp_path_factory.mktemp("portable")
    made = (fixed_ensemble(), load("mnist1d"))
    return [export(ensemble, "cortex-m4", folder / ensemble.name) for ensemble in made]


def compiled(model: Path, *flags: str, kind: str = "-S") -> str:
    """What GCC makes of a model's C, or (`kind` -E) what it is to compile."""
    command = [GCC, *STRICT, *flags, kind, f"{model.name}.c", "-o", "-"]
    done = subprocess.run(command, cwd=model, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), flags
    return done.stdout


@pytest.mark.parametrize("core", CORES)
def test_a_portable_build_holds_neither_assembler_nor_intrinsics(core: str, models: list[Path]) -> None:
    flags = resolve_target(core).cflags
    for model in models:
        assert ASSEMBLER.search(compiled(model, *flags, kind="-E")), "the search finds none where there is some"
        assert not ASSEMBLER.search(compiled(model, *flags, "-DSNE_PORTABLE", kind="-E"))


@pytest.mark.parametrize("core", ["m4", "m7", "m33"])
def test_a_portable_build_has_no_instruction_of_the_dsp_extension(core: str, models: list[Path]) -> None:
    flags = resolve_target(core).cflags
    for model in models:
        assert LANES.search(compiled(model, *flags)), "the search finds none where there is some"
        assert not LANES.search(compiled(model, *flags, "-DSNE_PORTABLE"))


@pytest.mark.parametrize("flags", [*ARM_STATE, *OTHER_STATES])
def test_a_core_that_is_not_a_cortex_m_in_its_own_state_gets_the_portable_build(flags: str, models: list[Path]) -> None:
    for model in models:
        assert not ASSEMBLER.search(compiled(model, *flags.split(), kind="-E"))
        assert compiled(model, *flags.split())


def test_a_compiler_that_is_not_gcc_or_clang_gets_the_portable_build(models: list[Path]) -> None:
    # Not all is inlined then, and GCC no longer sees that what it warns of is set wherever it is read.
    quiet = ("-Wno-unused-function", "-Wno-maybe-uninitialized")
    flags = (*resolve_target("m4").cflags, "-U__GNUC__", "-ffreestanding", *quiet)
    for model in models:
        text = compiled(model, *flags, kind="-E")
        assert not ASSEMBLER.search(text)
        assert "__attribute__" not in text.split("sne.h", 1)[1].replace("__attribute__ ((__mode__", "")
        assert compiled(model, *flags)


@pytest.mark.parametrize(
    ("flags", "cpu"),
    [("-march=armv6 -marm", "arm1176"), ("-march=armv6 -mthumb", "arm1176"), ("-mcpu=arm926ej-s -marm", "arm926")],
)
def test_a_model_is_exact_on_an_application_core(
    flags: str, cpu: str, models: list[Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("qemu-system-arm")
    for model in models:
        sources = (
            f"{model.name}.c",
            f"{model.name}_selftest.c",
            f"{model.name}_vectors.c",
            "sne_schedule.c",
            "examples/main.c",
        )
        program = tmp_path / f"{model.name}.elf"
        command = [GCC, "-std=c99", "-O2", *flags.split(), "--specs=rdimon.specs", *sources, "-o", str(program)]
        subprocess.run(command, cwd=model, check=True)
        emulator = [
            *("qemu-system-arm", "-M", "versatilepb", "-cpu", cpu, "-nographic", "-monitor", "none", "-serial", "none"),
            *("-audiodev", "none,id=none", "-semihosting-config", "enable=on,target=native", "-kernel", str(program)),
        ]
        done = subprocess.run(
            emulator, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        exact = re.search(r"(\d+) of (\d+) golden vectors exact", done.stdout)
        assert exact and exact[1] == exact[2] != "0"


@pytest.mark.parametrize("what", ["chains", "rows", "multiply"])
def test_portable_kernels_are_the_equation_on_a_core_with_better_ones(
    what: str, require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool(GCC, "qemu-system-arm")
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    output = run_on("mps2-an386", HERE / f"{what}_emulated.c", definitions=["SNE_PORTABLE"])
    lines = dict(line.split() for line in output.splitlines())
    assert int(lines["runs"]) > 300
    assert lines["wrong"] == "0"
