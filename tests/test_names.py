"""A model may have any name: what generated C is called by meets nothing of C's, the compiler's or the firmware's."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from strategies import random_ensemble, random_inputs, with_vectors
from test_equivalence import readout_alone
from test_frontend import SHORT, hearing, recordings

from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export, render
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.targets import quoted, resolve_target
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.resources import FIRMWARE, RUNTIME, WIRE

# Words of C and C++, of its library, of POSIX, newlib, CMSIS and Arm, macros among them, and of our own C.
TEXT = """
    auto break class const default double errno explicit export extern float goto inline int namespace new operator
    register return short signed static struct template this typename union virtual void and not xor true nullptr asm
    abort aio assert atexit clock complex ctype environ exit features free index isnan j0 limits linux locale log math
    memcpy memory mmap null offsetof puts read regex rename sbrk search select setjmp signal size-t stdin stdint stdio
    string strings time tgmath unix wchar write yn i386 noreturn thread-local int8 int32 uint16 intptr min max ssize
    arm armv7 thumb m4 cortex arm-acle arm-cmse arm-common-tables arm-math arm-mve arm-mve-types arm-neon cmsis
    cmsis-compiler cmsis-gcc core-cm4 dsp dwt fpu gpio helium isb itm mpu mve nop nvic rcc scb spi svc sys systick tim
    usart wfi crt0 edata heap libc nano newlib reent reset reset-handler vectors main startup counter stack board port
    uart served-model host firmware link run run-layers layers students student student-0 student-31 order bias margins
    early routes policy stream stream-reset room room-of axis axis0 layer s0 s0-l0 state input arena weight threshold
    model selftest frontend logmel check clean build test e hedule wire
"""
WORDS = TEXT.split()
COMPILERS = {
    "gcc": ("gcc", "-std=gnu99"),
    "g++": ("g++", "-x", "c++", "-std=gnu++11"),
    "cortex-m3": ("arm-none-eabi-gcc", "-std=gnu99", *resolve_target("cortex-m3").cflags),
}


def small(name: str) -> QuantEnsemble:
    """A model with a stream: it has the most names."""
    return msgspec.structs.replace(readout_alone("events"), name=name)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_model_named_by_any_word_compiles(compiler: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    """As C or C++, in one unit with a program that includes the system's headers before and after the model's."""
    command = COMPILERS[compiler]
    require_tool(command[0])
    units: list[str] = []
    flags = quoted(tmp_path, RUNTIME)
    files = render(small("xyzzy"), resolve_target("host"))
    for word in WORDS:
        name = small(word).identifier
        for end in (".h", ".c", "_selftest.c", "_vectors.c"):
            text = files[f"xyzzy{end}"].replace("xyzzy", name).replace("XYZZY", name.upper())
            text = text.replace("model_name[6]", f"model_name[{len(name) + 1}]")
            (tmp_path / f"{name}{end}").write_text(text, encoding="utf-8")
        unit = tmp_path / f"unit-{word}.c"
        unit.write_text(
            "#include <stdio.h>\n#include <string.h>\n#include <math.h>\n#include <time.h>\n#include <signal.h>\n"
            f'#include <errno.h>\n#include "{name}.h"\n#include <stdlib.h>\n#include <limits.h>\n#include <ctype.h>\n'
            f'#include "{name}.c"\n#include "{name}_selftest.c"\n#include "{name}_vectors.c"\n'
            f"int main(void)\n{{\n    static {name}_state state;\n    sne_result result;\n"
            f"    static uint32_t input[{name.upper()}_INPUT_BYTES / 4];\n"
            f"    return (int){name}_run(&state, input, NULL, &result) + (int){name}_selftest(&state);\n}}\n"
        )
        units.append(str(unit))
    done = subprocess.run([*command, "-fsyntax-only", *flags, *units], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(units) == len(WORDS) > 150


@pytest.mark.parametrize("name", ["run", "features", "arm-mve", "stream", "main", "board", "port", "stack", "counter"])
def test_a_model_named_as_ours_or_the_systems_files_are_runs(
    name: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "make")
    ensemble = small(name)
    inputs = random_inputs(random.Random(0), ensemble, 6)
    ensemble = with_vectors(ensemble, inputs)
    assert (HostModel(ensemble).run(inputs).logits == ensemble.vectors.logits).all()
    directory = export(ensemble, "cortex-m55", tmp_path / "model")
    build_firmware(directory, "mps3-an547", tmp_path / "firmware")
    done = subprocess.run(["make", "-C", str(directory), "check"], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "6 of 6 golden vectors exact" in done.stdout, done.stderr


def file_scope(text: str) -> set[str]:
    """Names that C defines or declares at the start of a line, and macros."""
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    words = re.findall(r"^#define (\w+)", text, flags=re.M)
    words += re.findall(r"^} (\w+);", text, flags=re.M)
    for line in re.findall(
        r"^(?:static|extern|const|uint32_t|int|void|sne_status|SNE_OUTLINE)\b[^\n=;{]*", text, flags=re.M
    ):
        head = line.split("(")[0] if "(" in line else line
        words += re.findall(r"(\w+)\s*(?:\[[^\]]*\])?\s*$", head.strip())
    return set(words)


def test_no_name_of_ours_begins_with_a_models_own() -> None:
    """Every name and file that a model's C might meet, against every suffix that a model's own names have."""
    models = [random_ensemble(random.Random(seed), name="xyzzy", students=3) for seed in range(12)]
    sound = hearing(SHORT, recordings(SHORT))
    models += [small("xyzzy"), msgspec.structs.replace(sound, name="xyzzy")]
    own, fixed = set[str](), set[str]()
    for ensemble in models:
        for file, text in render(ensemble, resolve_target("host")).items():
            if file.endswith((".c", ".h")) and not file.startswith("sne_"):
                names = file_scope(text)
                own |= {name for name in names if name.lower().startswith("xyzzy")}
                fixed |= names - own
    suffixes = {name.lower().removeprefix("xyzzy") for name in own} | {""}
    assert {"_run", "_state", "_layers", "_stream_state", "_h", "_state_bytes", "_frontend_push"} <= suffixes
    assert {"run_layers", "stream_reset", "student_0_run", "axis0", "s0_gain", "policy"} <= fixed
    stems = {path.name.split(".")[0] for folder in (RUNTIME, FIRMWARE) for path in folder.glob("*.[ch]*")} - {
        "host",
        "model",
    }
    fixed |= stems
    for path in [*FIRMWARE.glob("*.[ch]"), *WIRE]:
        fixed |= file_scope(path.read_text(encoding="utf-8"))
    beside = {stem for stem in stems if not stem.startswith("sne_") and stem != "sne"}
    assert len(beside) > 25
    assert [stem for stem in sorted(beside) if small(stem).identifier == stem] == []
    met = 0
    for taken in fixed:
        for suffix in suffixes:
            word = taken.lower().removesuffix(suffix)
            if taken.lower().endswith(suffix) and re.fullmatch(r"(?!sne(_|$))[a-z][a-z0-9_]{0,31}", word) and suffix:
                assert small(word).identifier != word, f"{word} makes {taken}"
                met += 1
    assert met > 3
