"""An exported directory as a library: several models with one runtime, the licence, and what C has beside it."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble
from test_export import hostile_names
from typer.testing import CliRunner

from sne_edge.cli import app
from sne_edge.deploy.export import LICENSE, export, read_manifest
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, save
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble

STRICT = ("-std=c99", "-O1", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")


def named(name: str, ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble under another name."""
    return msgspec.structs.replace(ensemble, name=name)


def test_several_models_share_a_directory_and_a_firmware(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc", "make", "arm-none-eabi-gcc")
    save(named("touch", tiny_ensemble("events")), tmp_path / "touch.sne")
    done = CliRunner().invoke(
        app, ["export", "mnist1d", str(tmp_path / "touch.sne"), "fsdd", "-o", str(tmp_path / "lib")]
    )
    assert done.exit_code == 0, done.output
    library = tmp_path / "lib"
    assert len(list(library.glob("sne_schedule.c"))) == 1 and not (library / "main.c").exists()
    checked = subprocess.run(["make", "-C", str(library), "check"], capture_output=True, text=True, check=True).stdout
    exact = re.findall(r"(\w+): (\d+) of (\d+) golden vectors exact", checked)
    assert [name for name, *_ in exact] == ["mnist1d", "touch", "fsdd"]
    assert all(good == of != "0" for _, good, of in exact)
    subprocess.run(["make", "-s", "-C", str(library)], check=True)
    program = tmp_path / "both.c"
    program.write_text(
        """#include "mnist1d.h"
#include "touch.h"
#include "fsdd_frontend.h"
#include "fsdd_quantize.h"
#include "mnist1d_quantize.h"
static mnist1d_state one;
static touch_state two;
static fsdd_state three;
static int8_t x[MNIST1D_INPUT_BYTES], y[FSDD_INPUT_BYTES];
static uint32_t raster[TOUCH_INPUT_BYTES / 4];
int main(void)
{
    sne_result r;
    return mnist1d_run(&one, x, NULL, &r) || touch_run(&two, raster, NULL, &r) || fsdd_run(&three, y, NULL, &r);
}
"""
    )
    image = tmp_path / "both.elf"
    link = ["arm-none-eabi-gcc", "-mthumb", "-mcpu=cortex-m4", "-mfloat-abi=hard", "-mfpu=fpv4-sp-d16"]
    link += [*STRICT, f"-I{library}", str(program), f"-L{library}", "-lmodels", "--specs=nosys.specs", "-o", str(image)]
    subprocess.run(link, check=True, capture_output=True)


@pytest.mark.parametrize(("one", "other"), [("model", "model"), ("model", "model-frontend"), ("a-b", "a_b")])
def test_models_whose_names_would_meet_in_c_are_refused(one: str, other: str, tmp_path: Path) -> None:
    models = [named(one, tiny_ensemble()), named(other, tiny_ensemble("rate"))]
    with pytest.raises(SneError, match="meet in C"):
        export(models, "host", tmp_path / "lib")
    assert list(tmp_path.iterdir()) == []


def test_a_directory_of_several_models_is_replaced_by_an_export_and_is_no_model(tmp_path: Path) -> None:
    models = [named("one", tiny_ensemble()), named("other", tiny_ensemble("rate"))]
    directory = export(models, "host", tmp_path / "lib")
    with pytest.raises(SneError, match="several models"):
        read_manifest(directory)
    assert read_manifest(export(models[0], "host", directory))["identifier"] == "one"
    done = CliRunner().invoke(app, ["export", "mnist1d", "fsdd"])
    assert done.exit_code != 0


def test_every_exported_file_says_its_licence(tmp_path: Path) -> None:
    models = [named("sound", load("fsdd")), named("touch", tiny_ensemble("events"))]
    files = [path for path in export(models, "host", tmp_path / "lib").rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        first = path.read_text().split("\n", 2)
        said = f"SPDX-License-Identifier: {LICENSE}" in first[0] or f'"license": "{LICENSE}"' in first[1]
        assert said, path


def compile_and_run(directory: Path, text: str, *flags: str) -> subprocess.CompletedProcess[bytes]:
    """Compile a program against an export, strictly, and run it."""
    source, program = directory.parent / "program.c", directory.parent / "program"
    source.write_text(text, encoding="utf-8")
    files = [str(directory / name) for name in read_manifest(directory)["library"]]
    command = ["gcc", *STRICT, *flags, f"-I{directory}", str(source), *files, "-o", str(program)]
    subprocess.run(command, check=True, capture_output=True)
    return subprocess.run([str(program)], capture_output=True, check=False)


def test_class_names_are_the_models_whatever_they_hold(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc")
    ensemble = hostile_names()
    directory, name = export(ensemble, "host", tmp_path / "c"), ensemble.identifier
    done = compile_and_run(
        directory,
        f"""#include <stdio.h>
#include "{name}.h"
int main(void)
{{
    uint32_t c;
    for (c = 0; c < {name.upper()}_N_CLASSES; c++) {{
        printf("%s\\n;", {name}_class_name(c));
    }}
    return {name}_class_name(c) != NULL;
}}
""",
    )
    shown = done.stdout.decode().split("\n;")[:-1]
    assert done.returncode == 0
    assert shown == [text.split("\0")[0] for text in ensemble.classes]  # a C string ends at a null


@pytest.mark.parametrize(
    ("scale", "offset"), [(0.05, 0.0), (0.5, -1.0), (1 / 127, 0.1), (3e-5, 1e5), (1e20, -3.0), (1.0, 0.0)]
)
def test_c_quantises_floats_exactly_as_python_does(
    scale: float, offset: float, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    encoder = Encoder("direct", (1, 1, 1), 1, scale=scale, offset=offset)
    ensemble = msgspec.structs.replace(tiny_ensemble(), name="tiny")
    ensemble = msgspec.structs.replace(
        ensemble, encoder=msgspec.structs.replace(ensemble.encoder, scale=scale, offset=offset)
    )
    directory = export(ensemble, "host", tmp_path / "c")
    ties = (np.arange(-131, 131) + 0.5) * scale + offset  # as near to two integers
    rng = np.random.default_rng(0)
    near = np.concatenate([np.nextafter(ties, -np.inf), ties, np.nextafter(ties, np.inf)])
    values = np.concatenate([near, near.astype(np.float32), rng.normal(offset, 60 * scale, 4000)])
    values = np.concatenate([values, [0.0, -0.0, 5e-324, -5e-324, 3e38, -3e38, 1e308, -1e308]])
    singles = np.clip(values, -3e38, 3e38).astype(np.float32)
    text = f"""#include <stdio.h>
#include "tiny_quantize.h"
static double values[{len(values)}];
static float singles[{len(values)}];
static int8_t made[{len(values)}];
int main(void)
{{
    size_t i;
    FILE *file = fopen("{tmp_path}/values", "rb");
    if (!file || fread(values, sizeof values, 1, file) != 1 || fread(singles, sizeof singles, 1, file) != 1) return 1;
    for (i = 0; i < {len(values)}; i++) made[i] = tiny_quantized(values[i]);
    fwrite(made, sizeof made, 1, stdout);
    if (tiny_quantize(singles, {len(values)}, made) != SNE_OK) return 1;
    fwrite(made, sizeof made, 1, stdout);
    singles[{len(values) - 1}] = singles[0] / 0.0f;
    if (tiny_quantize(singles, {len(values)}, made) != SNE_E_ARGUMENT) return 1;
    singles[{len(values) - 1}] = 0.0f / 0.0f;
    if (tiny_quantize(singles, {len(values)}, made) != SNE_E_ARGUMENT) return 1;
    return tiny_quantize(NULL, 1, made) != SNE_E_ARGUMENT;
}}
"""
    (tmp_path / "values").write_bytes(values.tobytes() + singles.tobytes())
    done = compile_and_run(directory, text, "-Wno-float-conversion", "-Wno-div-by-zero")
    assert done.returncode == 0
    made = np.frombuffer(done.stdout, np.int8).reshape(2, -1)
    with np.errstate(over="ignore"):
        for got, given in zip(made, (values, singles), strict=True):
            assert (got == encoder.encode(given.reshape(-1, 1)).view(np.int8)[:, 0]).all()
    assert len(set(made[0].tolist())) > 200 or scale == 1e20


def test_c_that_would_quantise_with_floats_does_not_compile(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc")
    directory = export(msgspec.structs.replace(tiny_ensemble(), name="tiny"), "host", tmp_path / "c")
    (tmp_path / "use.c").write_text('#include "tiny_quantize.h"\n')
    command = ["gcc", "-std=c99", f"-I{directory}", "-c", str(tmp_path / "use.c"), "-o", "/dev/null"]
    subprocess.run(command, check=True)
    for flag in ("-fsingle-precision-constant", "-ffast-math"):
        done = subprocess.run([*command, flag], capture_output=True, text=True, check=False)
        assert done.returncode and ("constants_are_doubles" in done.stderr or "needs doubles" in done.stderr)


@pytest.mark.parametrize("call", ["tiny_run(&state, input, NULL, &result)", "tiny_step(&stream, NULL, 0)"])
def test_a_result_that_is_not_looked_at_is_warned_of(
    call: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    ensemble = msgspec.structs.replace(tiny_ensemble("events"), name="tiny")
    directory = export(ensemble, "host", tmp_path / "c")
    (tmp_path / "calls.c").write_text(
        f"""#include "tiny.h"
extern tiny_state state;
extern tiny_stream_state stream;
extern uint32_t input[];
extern sne_result result;
void calls(void);
void calls(void)
{{
    {call};
}}
"""
    )
    command = ["gcc", "-std=c99", f"-I{directory}", "-c", str(tmp_path / "calls.c"), "-o", "/dev/null"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "warn_unused_result" in done.stderr or "unused-result" in done.stderr


def test_the_logit_scale_is_the_models(tmp_path: Path) -> None:
    for name in ("mnist1d", "fsdd"):
        ensemble = load(name)
        header = (export(ensemble, "host", tmp_path / name) / f"{name}.h").read_text()
        found = re.search(r"LOGIT_SCALE (\S+) ", header)
        assert found and float(found[1]) == ensemble.logit_scale
