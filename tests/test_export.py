"""Export: the same model makes the same bytes, and what is exported compiles everywhere and stands alone."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from strategies import ENCODERS, proven, random_ensemble, with_vectors
from test_equivalence import EDGES, LIF, READOUT

from sne_edge.deploy.export import export, read_manifest, render
from sne_edge.deploy.folder import write_files
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir import artifact
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Layer, Linear, MaxPool
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

GOLDEN = Path(__file__).parent / "golden" / "fixed"
WARNINGS = ("-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror")
COMPILERS = {
    "gcc": ("gcc", "-std=c99"),
    "gcc at -O3": ("gcc", "-std=c99", "-O3"),
    "clang": ("clang", "-std=c99"),
    "g++": ("g++", "-x", "c++", "-std=c++11"),
    "clang++": ("clang++", "-x", "c++", "-std=c++11"),
    **{
        f"arm-none-eabi-gcc for {core}": ("arm-none-eabi-gcc", "-std=c99", *resolve_target(core).cflags)
        for core in ("m0", "m4", "m55")
    },
}
INTEGER_HELPERS = re.compile(
    r"memcpy|memset|memmove|__c[lt]zsi2|__aeabi_(u?idiv(mod)?|lmul|lasr|llsl|llsr)|__gnu_thumb1_case_\w+"
)


def pattern(*shape: int, step: int = 37, reach: int = 256) -> np.ndarray:
    """Integers in -reach/2 .. reach/2 - 1 that no version of a random generator can change."""
    count = int(np.prod(shape))
    return ((np.arange(count) * step + 11) % reach - reach // 2).reshape(shape)


def fixed_ensemble() -> QuantEnsemble:
    """Two students with every kind of layer, made of formulas; its generated C is in tests/golden/fixed."""
    encoder = Encoder("rate", (3, 6, 2), 3, scale=0.5, offset=-1.0, seed=7)
    conv = Conv(
        in_shape=(3, 6, 2),
        out_shape=(3, 3, 4),
        weight=pattern(4, 2, 3, 2).astype(np.int8),
        bias=pattern(4, reach=40).astype(np.int32),
        threshold=np.array([40, 90, 150, 70000], np.int32),
        scale=np.full(4, 0.25),
        neuron=LIF,
        bound=Bound(0, 0),
        stride=(1, 2),
        padding=(1, 0),
    )
    hidden = dense(12, 5, Neuron("lif", Decay("q15", 28000), "zero", clamp=(-500, 500)), conv_map=(1, 3, 4))
    first: list[Layer] = [
        proven(conv, encoder),
        MaxPool((3, 3, 4), (1, 3, 4), (3, 1), (3, 1)),
        proven(hidden, encoder, False),
        proven(dense(5, 3, READOUT), encoder, False),
    ]
    pool = AvgPool((3, 6, 2), (2, 3, 2), (2, 2), (1, 2))
    wide = dense(12, 6, Neuron("if", reset_delay=True), conv_map=(2, 3, 2), bias=30000)
    second: list[Layer] = [pool, proven(wide, encoder, False, 4), proven(dense(6, 3, READOUT), encoder, False)]
    students = tuple(
        QuantStudent(
            tuple(layers), (k,), np.array([1, 2, 3], np.int32), pattern(3, reach=20).astype(np.int32), 100, 400
        )
        for k, layers in enumerate((first, second))
    )
    made = QuantEnsemble(
        name="fixed",
        encoder=encoder,
        students=students,
        bias=np.array([5, -5, 0], np.int32),
        order=(1, 0),
        classes=("rest", "walk */ run", "fall"),
        logit_scale=0.125,
        policy=ActivationPolicy("cascade", margins=(40,)),
        vectors=no_vectors(encoder, 3, students),
    )
    return with_vectors(made, (pattern(3, encoder.input_bytes) % 256).astype(np.uint8))


def dense(inputs: int, outputs: int, neuron: Neuron, conv_map: Any = None, bias: int = 0) -> Linear:
    """A linear layer of formulas."""
    return Linear(
        in_shape=conv_map or (1, 1, inputs),
        out_shape=(1, 1, outputs),
        weight=pattern(outputs, inputs, step=53).astype(np.int8),
        bias=(pattern(outputs, reach=30) + bias).astype(np.int32),
        threshold=np.full(outputs, 0 if neuron.kind == "li" else 60 + bias, np.int32),
        scale=np.full(outputs, 0.5),
        neuron=neuron,
        bound=Bound(0, 0),
    )


def hostile_names() -> QuantEnsemble:
    """Class names that would end a comment, a line or a string."""
    names = ("*/ int x;", "/*", 'a"b', "back\\slash\\", "line\nbreak", "??/", "??-", "日本 é", "\0", "")
    seeds = (random_ensemble(random.Random(seed), kind="rate", vectors=2) for seed in range(50))
    made = next(made for made in seeds if len(made.classes) == len(names))
    return msgspec.structs.replace(made, classes=names)


MODELS: dict[str, Callable[[], QuantEnsemble]] = {
    "fixed": fixed_ensemble,
    "hostile class names": hostile_names,
    "readout alone": lambda: EDGES["readout-alone-direct"](),
    **{
        f"random, {kind}": lambda kind=kind: random_ensemble(  # type: ignore[misc]
            random.Random(kind), kind=kind, name="with-dashes", students=4, vectors=2
        )
        for kind in ENCODERS
    },
}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The directory of one of `MODELS`, exported once; not to be written to."""
    directories: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in directories:
            folder = tmp_path_factory.mktemp("export")
            directories[name] = export(MODELS[name](), "cortex-m4", folder / "model")
        return directories[name]

    return get


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


# ---- what is written


def test_export_is_byte_identical_across_runs(tmp_path: Path) -> None:
    first = contents(export(fixed_ensemble(), "cortex-m4", tmp_path / "a"))
    assert contents(export(fixed_ensemble(), "cortex-m4", tmp_path / "b" / "c")) == first


def test_export_is_byte_identical_across_processes_hash_seeds_and_places(tmp_path: Path) -> None:
    ensemble = random_ensemble(random.Random(4), students=4, vectors=2)
    artifact.save(ensemble, tmp_path / "model.sne")
    want = contents(export(ensemble, "cortex-m55", tmp_path / "here"))
    script = (
        "import sys; from sne_edge.ir import artifact; from sne_edge.deploy.export import export; "
        "export(artifact.load(sys.argv[1]), 'cortex-m55', sys.argv[2])"
    )
    for seed in ("0", "1", "4294967295"):
        place = tmp_path / f"seed-{seed}"
        environment = os.environ | {"PYTHONHASHSEED": seed, "TZ": "Asia/Tokyo", "LC_ALL": "C"}
        command = [sys.executable, "-c", script, str(tmp_path / "model.sne"), str(place)]
        subprocess.run(command, check=True, env=environment, cwd=tmp_path)
        assert contents(place) == want


def test_generated_c_is_the_golden_one() -> None:
    """After a change that is meant, UPDATE_GOLDEN=1 python -m pytest tests/test_export.py -k golden; read the diff."""
    runtime = ("sne.h", "sne_")
    files = {
        name: text
        for name, text in render(fixed_ensemble(), resolve_target("cortex-m4")).items()
        if not name.startswith(runtime)
    }
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.mkdir(parents=True, exist_ok=True)
        write_files(files, GOLDEN)
    assert contents(GOLDEN).keys() == files.keys()
    for name, text in files.items():
        assert (GOLDEN / name).read_text(encoding="utf-8") == text, f"{name} is not the golden one"


@pytest.mark.parametrize("model", MODELS)
def test_no_date_path_or_unrendered_template_is_in_the_output(
    model: str, exported: Callable[[str], Path], tmp_path: Path
) -> None:
    for name, data in contents(exported(model)).items():
        text = data.decode()
        assert "\r" not in text
        assert not re.search(r"__DATE__|__TIME__|\b20\d\d-\d\d-\d\d\b|/tmp/|/home/|/root/|/usr/|\{\{|\{%", text), name
        assert str(Path(__file__).parents[1]) not in text


def test_the_manifest_names_every_file_it_lists(exported: Callable[[str], Path]) -> None:
    manifest, files = read_manifest(exported("fixed")), contents(exported("fixed"))
    assert set(manifest["sources"]) | set(manifest["headers"]) <= files.keys()
    assert manifest["fingerprint"] == artifact.fingerprint(fixed_ensemble())
    assert manifest["state_bytes"] == int(re.search(rb"STATE_BYTES (\d+)", files["fixed.h"])[1])  # type: ignore[index]


@pytest.mark.parametrize("core", ["cortex-m0", "m7", "cortex-m", "host"])
def test_targets_share_the_c_and_differ_in_the_build(core: str) -> None:
    m4, other = (render(fixed_ensemble(), resolve_target(name)) for name in ("cortex-m4", core))
    same = {"Makefile", "README.md", "manifest.json"}
    assert {n: t for n, t in m4.items() if n not in same} == {n: t for n, t in other.items() if n not in same}


# ---- where it is written


def test_an_earlier_export_is_replaced_whole(tmp_path: Path) -> None:
    directory = export(random_ensemble(random.Random(1), name="older"), "host", tmp_path / "out")
    (directory / "build").mkdir()
    (directory / "build" / "older.o").write_bytes(b"")
    want = contents(export(fixed_ensemble(), "host", tmp_path / "fresh"))
    assert contents(export(fixed_ensemble(), "host", directory)) == want
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh", "out"]


@pytest.mark.parametrize(
    "files",
    [{"notes.txt": "mine"}, {"manifest.json": '{"name": "web app"}', "app.js": "mine"}, {"manifest.json": "not JSON"}],
    ids=["a file", "another manifest", "a broken manifest"],
)
def test_a_directory_of_anything_else_is_refused_untouched(files: dict[str, str], tmp_path: Path) -> None:
    directory = tmp_path / "mine"
    directory.mkdir()
    for name, text in files.items():
        (directory / name).write_text(text)
    before = contents(directory)
    with pytest.raises(SneError, match="not an export"):
        export(fixed_ensemble(), "host", directory)
    assert contents(directory) == before


def test_an_empty_directory_is_taken_and_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert (export(fixed_ensemble(), "host", tmp_path / "empty") / "fixed.c").is_file()
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(SneError, match="is a file"):
        export(fixed_ensemble(), "host", tmp_path / "file")
    with pytest.raises(SneError, match="cannot write"):
        export(fixed_ensemble(), "host", tmp_path / "file" / "below")
    assert (tmp_path / "file").read_bytes() == b"mine"


@pytest.mark.parametrize("call", ["write_text", "rename"])
def test_a_failed_write_leaves_the_earlier_export_and_nothing_else(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = export(random_ensemble(random.Random(1), name="older"), "host", tmp_path / "out")
    before, original = contents(directory), getattr(Path, call)
    calls = 0

    def fail(path: Path, *args: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == (5 if call == "write_text" else 2):
            raise OSError(28, "No space left on device")
        return original(path, *args, **options)

    monkeypatch.setattr(Path, call, fail)
    with pytest.raises(SneError, match="No space left"):
        export(fixed_ensemble(), "host", directory)
    assert contents(directory) == before
    assert list(tmp_path.iterdir()) == [directory]


def test_an_unknown_target_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SneError, match="no target"):
        export(fixed_ensemble(), "z80", tmp_path / "out")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"identifier": "x"}', "\xff", "null"])
def test_a_manifest_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    with pytest.raises(SneError):
        read_manifest(tmp_path)


# ---- what it compiles to


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("model", MODELS)
def test_every_compiler_takes_the_c_without_a_warning(
    model: str, compiler: str, exported: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    command = COMPILERS[compiler]
    require_tool(command[0])
    directory = exported(model)
    sources = [str(directory / name) for name in read_manifest(directory)["sources"]]
    done = subprocess.run(
        [*command, *WARNINGS, *(() if "-O3" in command else ("-O1",)), "-c", *sources],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("core", ["m0", "m4", "m55"])
@pytest.mark.parametrize("model", ["fixed", *(f"random, {kind}" for kind in ENCODERS)])
def test_no_stray_symbol_no_heap_no_stdio_no_float_no_mutable_data(
    model: str, core: str, exported: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "arm-none-eabi-nm")
    directory = exported(model)
    manifest = read_manifest(directory)
    sources = [str(directory / name) for name in manifest["sources"]]
    flags = resolve_target(core).cflags
    subprocess.run(["arm-none-eabi-gcc", "-std=c99", "-O2", *flags, "-c", *sources], cwd=tmp_path, check=True)
    objects = [str(path) for path in sorted(tmp_path.glob("*.o"))]
    listing = subprocess.run(["arm-none-eabi-nm", *objects], capture_output=True, text=True, check=True).stdout
    symbols = re.findall(r"^[0-9a-f ]{8} (\w) (\S+)$", listing, flags=re.M)
    assert symbols
    defined = {name for kind, name in symbols if kind.isupper() and kind != "U"}
    undefined = {name for kind, name in symbols if kind == "U"} - defined
    assert all(name.startswith((f"{manifest['identifier']}_", "sne_")) for name in defined), defined
    assert all(INTEGER_HELPERS.fullmatch(name) for name in undefined), undefined
    assert not [name for kind, name in symbols if kind in "dDbBcC"], "mutable data"


@pytest.mark.parametrize("compiler", ["gcc", "clang"])
@pytest.mark.parametrize("model", ["fixed", *(f"random, {kind}" for kind in ENCODERS)])
def test_make_check_passes_in_an_exported_directory(
    model: str, compiler: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("make", compiler)
    directory = export(MODELS[model](), "cortex-m4", tmp_path / "model")
    done = subprocess.run(
        ["make", "-C", str(directory), "check", f"CC={compiler}"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "golden vectors exact" in done.stdout
    assert "warning" not in done.stderr


def test_make_builds_the_library_for_the_target(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("make", "arm-none-eabi-gcc")
    directory = export(fixed_ensemble(), "cortex-m4", tmp_path / "model")
    done = subprocess.run(["make", "-C", str(directory)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert (directory / "libfixed.a").stat().st_size > 1000


@pytest.mark.parametrize(("name", "exact"), [("fixed_vectors.c", 2), ("fixed.c", 0)])
def test_make_check_fails_on_a_changed_number(
    name: str, exact: int, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("make", "gcc")
    directory = export(fixed_ensemble(), "host", tmp_path / "model")
    path = directory / name
    table = "logits" if name == "fixed_vectors.c" else "bias"
    text, count = re.subn(
        rf"(int32_t SNE_WORD_ALIGNED {table}\[\d+\] = \{{\s*)(-?\d+)",
        lambda m: f"{m[1]}{int(m[2]) + 1}",
        path.read_text(),
    )
    assert count == 1
    path.write_text(text)
    done = subprocess.run(["make", "-C", str(directory), "check"], capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert f"{exact} of 3 golden vectors exact" in done.stdout


def test_another_runtime_version_is_refused_by_the_header(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc")
    directory = export(fixed_ensemble(), "host", tmp_path / "model")
    header = directory / "sne.h"
    header.write_text(re.sub(r"(SNE_RUNTIME_VERSION) \d+", r"\1 99", header.read_text()))
    done = subprocess.run(["gcc", "-c", "fixed.c"], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "export it again" in done.stderr


@pytest.mark.parametrize("language", ["c", "c++"])
def test_a_caller_needs_no_header_but_sne_h(
    language: str, exported: Callable[[str], Path], require_tool: Callable[..., None]
) -> None:
    require_tool("gcc", "g++")
    header = (exported("fixed") / "sne.h").read_text(encoding="utf-8")
    assert not re.search(r"#include \"|sne_layer_info|sne_vectors|sne_student|SNE_TRACE", header)
    source = """#include "sne.h"
    extern const sne_model some_model;
    sne_status call(void *state, const int8_t *input, sne_result *result)
    {
        const sne_policy policy = {SNE_POLICY_FIRST, 1, 0, 0, 0, NULL, NULL};
        return sne_run(&some_model, state, input, &policy, result);
    }
    """
    command = ["gcc", "-x", language, "-Wall", "-Wextra", "-Werror", f"-I{exported('fixed')}", "-fsyntax-only", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("compiler", ["g++", "clang++"])
def test_headers_of_c_are_no_old_casts_of_cpp(
    compiler: str, exported: Callable[[str], Path], require_tool: Callable[..., None]
) -> None:
    require_tool(compiler)
    strict = ["-Wall", "-Wextra", "-Wold-style-cast", "-Werror"]
    source = '#include "fixed.h"\n#include "fixed_quantize.h"\nint main() { return 0; }\n'
    command = [compiler, "-x", "c++", "-std=c++11", *strict, f"-I{exported('fixed')}", "-fsyntax-only", "-"]
    done = subprocess.run(command, input=source, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("model", ["fixed", "random, events"])
def test_the_readmes_example_compiles(
    model: str, exported: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    blocks = re.findall(r"```c\n(.*?)```", (exported(model) / "README.md").read_text(encoding="utf-8"), flags=re.S)
    assert len(blocks) == 2
    (tmp_path / "example.c").write_text("\n".join(blocks))
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{exported(model)}", "-c", "example.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
