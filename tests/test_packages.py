"""Packages for build systems: each taken by its ecosystem's own tool where one installs, else built as that would build
it, and its golden vectors run."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from models import tiny_ensemble
from typer.testing import CliRunner

from sne_edge.cli import app
from sne_edge.deploy.export import LICENSE, make_library, read_manifest
from sne_edge.deploy.packages import ECOSYSTEMS, FOLDER, export_package, render_package
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble

HERE = Path(__file__).parent / "packages"
NAME, VERSION = "pair", "2.10.3"
QUICK = ("-DCMAKE_BUILD_TYPE=Debug",)  # to compile
CROSS = "-DCMAKE_SYSTEM_NAME=Generic", "-DCMAKE_TRY_COMPILE_TARGET_TYPE=STATIC_LIBRARY"
SDK = Path("/usr/share/arduino/hardware/arduino/avr")  # Debian's
PIO = """import sys
from platformio.package.manifest.schema import ManifestSchema
licenses = {"licenses": [{"licenseId": "Apache-2.0"}]}  # a list that it would fetch
ManifestSchema.load_spdx_licenses = staticmethod(lambda: licenses)
from platformio.__main__ import main
sys.exit(main(["platformio", "pkg", "pack", *sys.argv[1:]]))
"""
COMPOTE = "from idf_component_manager.cli import safe_cli; safe_cli()"


@cache
def models() -> tuple[QuantEnsemble, ...]:
    """Two, of bytes and of events."""
    events = tiny_ensemble("events", students=2)
    return tiny_ensemble(students=2), msgspec.structs.replace(events, name="touch")


@pytest.fixture
def package(require_tool: Callable[..., None], tmp_path: Path) -> Callable[[str], Path]:
    """The package of both models for an ecosystem."""
    require_tool("cc")
    return lambda kind: export_package(models(), kind, "cortex-m", tmp_path / NAME, name=NAME, version=VERSION)


def run(*command: str | Path, cwd: Path | None = None, **environment: str) -> str:
    """Run a command and return what it printed; fails where it does."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(source: Path, folder: Path, *options: str) -> None:
    """Configure and build a CMake project with Ninja."""
    run("cmake", "-S", source, "-B", folder, "-G", "Ninja", *options)
    run("cmake", "--build", folder)


def imitated(listing: str, package: Path, folder: Path, *options: str) -> str:
    """What the check prints, of a package built by one of the imitations."""
    (folder / "CMakeLists.txt").write_text((HERE / listing).read_text(encoding="utf-8"), encoding="utf-8")
    build(folder, folder / "build", f"-DPACKAGE={package}", f"-DNAME={NAME}", *QUICK, *options)
    return run(folder / "build" / "app")


def assert_exact(printed: str) -> None:
    """A check of both models, which passed."""
    assert re.findall(r"^(.*): 4 of 4 golden vectors exact$", printed, flags=re.M) == ["tiny-test", "touch"], printed
    assert printed.splitlines()[-1] == "PASS"


def test_a_cmake_package_is_a_project_whose_check_runs(
    package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cmake", "ninja", "mips-linux-gnu-gcc", "qemu-mips", "arm-none-eabi-gcc")
    made = package("cmake")
    build(made, tmp_path / "host", *QUICK)
    assert_exact(run(tmp_path / "host" / f"{NAME}_check"))
    mips = (*QUICK, "-DCMAKE_C_COMPILER=mips-linux-gnu-gcc", "-DCMAKE_EXE_LINKER_FLAGS=-static")
    build(made, tmp_path / "mips", *CROSS, *mips, "-DCMAKE_CROSSCOMPILING_EMULATOR=qemu-mips")
    assert "100% tests passed, 0 tests failed out of 1" in run("ctest", "--test-dir", tmp_path / "mips")
    arm = ("-DCMAKE_C_COMPILER=arm-none-eabi-gcc", f"-DCMAKE_C_FLAGS={' '.join(resolve_target('m4').cflags)}")
    build(made, tmp_path / "arm", *CROSS, *arm)
    listing = run("arm-none-eabi-objdump", "-f", tmp_path / "arm" / f"lib{NAME}.a")
    assert listing.count("architecture: armv7e-m") == len(read_sources(made)) > 5


def read_sources(package: Path) -> list[str]:
    """The C files that a package's manifest names, which are all of its `src` that no ecosystem adds."""
    named: list[str] = json.loads((package / "manifest.json").read_text())["sources"]
    found = {f"src/{path.name}" for path in (package / "src").glob("*.c")}
    assert set(named) == {name for name in found if not name.endswith("_micropython.c")}
    return named


CONSUMERS = {
    "add_subdirectory": "add_subdirectory({package} pair)",
    "FetchContent": """include(FetchContent)
FetchContent_Declare(pair URL {package}.tar)
FetchContent_MakeAvailable(pair)""",
    "find_package": "find_package(pair 2.1 CONFIG REQUIRED)",
}


@pytest.mark.parametrize("way", CONSUMERS)
def test_a_cmake_package_is_used_in_each_way_from_a_project_of_cpp(
    way: str, package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cmake", "ninja", "g++")
    made, user = package("cmake"), tmp_path / "user"
    user.mkdir()
    if way == "FetchContent":
        with tarfile.open(f"{made}.tar", "w") as archive:
            archive.add(made, NAME)
    if way == "find_package":
        build(made, tmp_path / "library", *QUICK)
        run("cmake", "--install", tmp_path / "library", "--prefix", tmp_path / "installed")
    lines = ["cmake_minimum_required(VERSION 3.20)", "project(user LANGUAGES CXX C)"]
    lines += [CONSUMERS[way].format(package=made), "add_executable(user main.cpp)"]
    lines += ["target_link_libraries(user PRIVATE pair::pair)"]
    (user / "CMakeLists.txt").write_text("\n".join(lines) + "\n")
    (user / "main.cpp").write_text(
        '#include "tiny_test.h"\n#include "touch.h"\nstatic tiny_test_state one;\nstatic touch_state two;\n'
        "int main() { return (int)(tiny_test_selftest(&one) + touch_selftest(&two)); }\n"
    )
    build(user, tmp_path / "built", *QUICK, f"-DCMAKE_PREFIX_PATH={tmp_path / 'installed'}")
    run(tmp_path / "built" / "user")


def test_an_arduino_library_is_built_by_arduino_builder_and_its_example_passes_on_a_mega(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc", "arduino-builder", "arduino-ctags", "avr-gcc", "simavr", str(SDK / "boards.txt"))
    made = export_package(models()[0], "arduino", "cortex-m", tmp_path / "libraries" / "tiny_test")
    told = dict(
        line.split("=", 1) for line in (made / "library.properties").read_text().splitlines() if line and line[0] != "#"
    )
    assert {"name", "version", "author", "maintainer", "sentence", "paragraph", "category", "url", "architectures"} <= {
        *told
    }
    assert (told["name"], told["version"], told["includes"]) == ("tiny_test", "1.0.0", "tiny_test.h")
    built = tmp_path / "built"
    built.mkdir()
    settings = {
        "runtime.tools.ctags.path": "/usr/bin",
        "tools.ctags.cmd.path": "/usr/bin/arduino-ctags",
        "runtime.tools.avr-gcc.path": "/usr",
        "compiler.cpp.extra_flags": "-DDECIMAL_DIG=17",  # which Debian's avr-libc has for C alone
    }
    folders = (
        "-hardware",
        "/usr/share/arduino-builder",
        "-hardware",
        "/usr/share/arduino/hardware",
        "-tools",
        "/usr/bin",
    )
    run(
        *(
            "arduino-builder",
            "-compile",
            *folders,
            "-libraries",
            made.parent,
            "-fqbn",
            "arduino:avr:mega:cpu=atmega2560",
        ),
        *("-build-path", built),
        *(part for name, value in settings.items() for part in ("-prefs", f"{name}={value}")),
        made / "examples" / "check" / "check.ino",
    )
    command = ["simavr", "-m", "atmega2560", "-f", "16000000", str(built / "check.ino.elf")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as board:
        assert board.stdout is not None
        printed = []
        for line in board.stdout:
            printed.append(line)
            if "PASS" in line or "FAIL" in line or len(printed) > 50:
                break
        board.kill()
    assert "tiny-test: 4 of 4 golden vectors exact" in printed[0] and "PASS" in printed[-1], printed


def test_a_platformio_package_is_packed_by_pio(package: Callable[[str], Path], tmp_path: Path) -> None:
    made, archive = package("platformio"), tmp_path / "packed.tar.gz"
    (tmp_path / "pio.py").write_text(PIO)
    home = {"PLATFORMIO_CORE_DIR": str(tmp_path / "home"), "PLATFORMIO_SETTING_ENABLE_TELEMETRY": "no"}
    run(sys.executable, tmp_path / "pio.py", "-o", archive, cwd=made, **home)
    with tarfile.open(archive) as packed:
        assert {*read_sources(made), "library.json", "examples/check/main.c"} <= {*packed.getnames()}
    told = json.loads((made / "library.json").read_text())
    assert (told["name"], told["version"], told["license"]) == (NAME, VERSION, LICENSE)
    for example in told["examples"]:
        assert all((made / example["base"] / file).is_file() for file in example["files"])
    sources = [made / name for name in read_sources(made)]
    run(
        "cc",
        f"-I{made / told['build']['includeDir']}",
        *sources,
        made / "examples/check/main.c",
        "-o",
        tmp_path / "it",
    )
    assert_exact(run(tmp_path / "it"))


def test_a_zephyr_module_has_options_that_kconfiglib_reads_and_its_check_runs(
    package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cmake", "ninja")
    import kconfiglib
    from ruamel.yaml import YAML

    made = package("zephyr")
    told = YAML(typ="safe").load((made / "zephyr" / "module.yml").read_text())
    assert told["name"] == NAME and told.keys() <= {"name", "build", "samples", "tests", "boards", "blobs"}
    assert (made / told["build"]["cmake"] / "CMakeLists.txt").is_file()
    assert all((made / sample / "sample.yaml").is_file() for sample in told["samples"])
    options = kconfiglib.Kconfig(str(made / told["build"]["kconfig"]))
    assert options.warnings == [] and [*options.syms] == ["MODULES", "PAIR", "PAIR_SPEED"]
    assert options.syms["PAIR"].str_value == options.syms["PAIR_SPEED"].str_value == "n"
    options.load_config(str(made / "examples" / "check" / "prj.conf"))
    chosen = [f"-DCONFIG_{name}={options.syms[name].str_value}" for name in ("PAIR", "PAIR_SPEED")]
    assert chosen == ["-DCONFIG_PAIR=y", "-DCONFIG_PAIR_SPEED=y"]
    assert_exact(imitated("zephyr.cmake", made, tmp_path, *chosen))


def test_an_esp_idf_component_is_packed_by_its_manager_and_its_check_runs(
    package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cmake", "ninja")
    made = package("esp-idf")
    script = ("-c", COMPOTE, "component", "pack", "--name", NAME, "--dest-dir", str(tmp_path / "packed"))
    run(sys.executable, *script, cwd=made, IDF_COMPONENT_CACHE_PATH=str(tmp_path / "cache"))
    with tarfile.open(tmp_path / "packed" / f"{NAME}_{VERSION}.tgz") as packed:
        assert {*read_sources(made), "CMakeLists.txt"} <= {name.removeprefix("./") for name in packed.getnames()}
    assert_exact(imitated("esp_idf.cmake", made, tmp_path))


def test_a_micropython_module_is_built_both_ways_and_its_functions_answer(
    package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc", "make")
    made, headers = package("micropython"), tmp_path / "py"
    headers.mkdir()
    for name in ("obj.h", "objtuple.h", "runtime.h"):
        (headers / name).write_text((HERE / "micropython.h").read_text())
    rules = f"USERMOD_DIR = {made}\ninclude {made}/micropython.mk\n"
    rules += "all:\n\t@echo $(SRC_USERMOD_C) $(SRC_USERMOD_LIB_C)\n\t@echo $(CFLAGS_USERMOD)\n"
    (tmp_path / "Makefile").write_text(rules)
    sources, flags = run("make", "-s", "-C", tmp_path).splitlines()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(imitated LANGUAGES NONE)\nadd_library(usermod INTERFACE)\n"
        f"include({made}/micropython.cmake)\nget_target_property(found usermod_{NAME} INTERFACE_SOURCES)\n"
        'message(NOTICE "${found}")\n'
    )
    listed = subprocess.run(
        ["cmake", "-S", tmp_path, "-B", tmp_path / "cmake"], capture_output=True, text=True, check=True
    )
    assert sorted(listed.stderr.strip().split(";")) == sorted(sources.split())
    strict = ("-std=gnu99", "-Wall", "-Wextra", "-Werror", "-DSNE_SELFTEST", f"-I{tmp_path}")
    for model in models():
        program = tmp_path / model.identifier
        run(
            "cc",
            *strict,
            *flags.split(),
            f"-DMODEL={model.identifier}",
            *sources.split(),
            HERE / "micropython.c",
            "-o",
            program,
        )
        vectors, ran, name, refused = run(program).splitlines()
        assert vectors == "0 of 4 differ" and name == "class 0, 1"
        assert re.fullmatch(r"tuple of 2, label [0-3], 4 logits of 4", ran)
        assert refused == f"{model.identifier}.run takes {model.encoder.input_bytes} bytes"
    plain = run("cc", "-E", f"-I{tmp_path}", *flags.split(), made / "src" / "touch_micropython.c")
    assert "py_selftest" not in plain  # and with it the golden vectors


def test_a_cmsis_pack_names_its_files_once_and_what_it_names_builds(
    package: Callable[[str], Path], tmp_path: Path
) -> None:
    made = package("cmsis-pack")
    root = ElementTree.parse(made / f"sne-edge.{NAME}.pdsc").getroot()
    assert (root.findtext("vendor"), root.findtext("name")) == ("sne-edge", NAME)
    release = root.find("releases/release")
    assert release is not None and release.get("version") == VERSION
    conditions = {c.get("id") for c in root.findall("conditions/condition")}
    components = root.findall("components/component")
    assert {c.get("condition") for c in components} - {None} == conditions
    names = {(c.get("Cclass"), c.get("Cgroup"), c.get("Csub")) for c in components}
    assert len(names) == len(components) == 2 and {c.get("Cversion") for c in components} == {VERSION}
    needed = [
        tuple(r.get(key) for key in ("Cclass", "Cgroup", "Csub")) for r in root.findall("conditions/condition/require")
    ]
    assert needed and set(needed) <= names
    files = [file.get("name", "") for file in root.iter("file")]
    assert len(files) == len(set(files)) and all((made / name).exists() for name in files)
    assert (made / str(root.findtext("license"))).is_file()
    includes = [f"-I{made / file.get('name', '')}" for file in root.iter("file") if file.get("category") == "include"]
    sources = [made / file.get("name", "") for file in root.iter("file") if file.get("category") == "sourceC"]
    run("cc", *includes, *sources, "-o", tmp_path / "it")
    assert_exact(run(tmp_path / "it"))


def test_a_crate_is_built_by_cargo_and_its_example_passes(
    package: Callable[[str], Path], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cargo", "/usr/share/doc/librust-cc-dev/copyright")
    made = package("rust")
    (made / ".cargo").mkdir()
    (made / ".cargo" / "config.toml").write_text(
        '[source.crates-io]\nreplace-with = "debian"\n[source.debian]\ndirectory = "/usr/share/cargo/registry"\n'
    )
    (made / "examples" / "runs.rs").write_text(
        "fn main() {\n    let mut state = pair::tiny_test::State::new();\n"
        "    let result = state.run(&[0; pair::tiny_test::INPUT]).unwrap();\n"
        "    assert!(result.label < 4 && result.students_run > 0 && result.neuron_updates > 0);\n"
        "    let best = state.logits()[result.label as usize];\n"
        "    assert!(state.logits().iter().all(|logit| *logit <= best));\n"
        "    assert!(pair::touch::State::new().run(&[0; pair::touch::INPUT]).is_ok());\n}\n"
    )
    run("cargo", "build", "--offline", "--examples", cwd=made, CARGO_TARGET_DIR=str(tmp_path / "target"))
    run(tmp_path / "target/debug/examples/runs")
    assert run(tmp_path / "target/debug/examples/check") == "PASS\n"


@pytest.mark.parametrize("kind", ECOSYSTEMS)
def test_a_package_holds_the_exported_c_and_says_name_version_and_licence(
    kind: str, require_tool: Callable[..., None]
) -> None:
    if kind == "web":
        require_tool("clang", "wasm-ld")
    files = render_package(models(), kind, "cortex-m", name=NAME, version=VERSION)
    assert files == render_package(models(), kind, "cortex-m", name=NAME, version=VERSION)
    assert len(files) > len(list((FOLDER / kind).rglob("*.j2")))
    for name, text in make_library(models(), resolve_target("cortex-m")).files.items():
        assert files[f"src/{name}"].split("\n", 1)[1] == text
    for name, text in files.items():
        head = "\n".join(text.split("\n", 2)[:2]) if not name.endswith("library.json") else text
        assert f"SPDX-License-Identifier: {LICENSE}" in head or f'"license": "{LICENSE}"' in head, name
        assert not re.search(r"\{\{|\{%|MODEL|VENDOR", text + name) or name.startswith("src/sne"), name
    readme = files["README.md"]
    assert f"version {VERSION}" in readme and "PASS or FAIL" in readme
    assert len(re.findall(r"^\d\. ", readme.split("## Use it")[1].split("##")[0], flags=re.M)) == 5
    manifest = json.loads(files["manifest.json"])
    assert (manifest["package"], manifest["package_name"], manifest["package_version"]) == (kind, NAME, VERSION)


def test_a_package_of_the_sound_model_checks_its_recordings_too(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc")
    made = export_package(load("fsdd"), "platformio", "cortex-m", tmp_path / "fsdd")
    sources = [made / name for name in read_sources(made)]
    run("cc", f"-I{made / 'src'}", *sources, made / "examples/check/main.c", "-o", tmp_path / "it")
    printed = run(tmp_path / "it")
    assert "golden recordings exact" in printed and printed.endswith("PASS\n")
    assert "fsdd_frontend_selftest" in render_package(load("fsdd"), "arduino", "cortex-m")["examples/check/check.ino"]


def test_the_command_writes_a_package_with_the_options_of_export_and_replaces_one(tmp_path: Path) -> None:
    touch, folder = tmp_path / "touch.sne", tmp_path / "made"
    save(models()[1], touch)
    for kind in ("cmake", "zephyr"):
        command = ["export", str(touch), "mnist1d", "--for", kind, "--package-name", "both", "--target", "m55"]
        done = CliRunner().invoke(app, [*command, "-o", str(folder), *(["--force"] if folder.exists() else [])])
        assert done.exit_code == 0, done.output
    assert not (folder / "CMakeLists.txt").exists() and (folder / "zephyr" / "Kconfig").exists()
    assert json.loads((folder / "manifest.json").read_text())["target"] == "cortex-m55"
    with pytest.raises(SneError, match="several models"):
        read_manifest(folder)
    (folder / "manifest.json").unlink()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    refused = CliRunner().invoke(app, [*command, "-o", str(folder), "--force"])
    assert isinstance(refused.exception, SneError) and "not an export" in refused.exception.message
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert [*tmp_path.iterdir()] == [touch, folder] or {*tmp_path.iterdir()} == {touch, folder}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--for", "cmak"], "no packages for 'cmak'"),
        (["--for", "cmake", "--format", "onnx"], "--for has no meaning"),
        (["--package-name", "x"], "only packages have a name"),
        (["--for", "cmake", "--package-name", "A b"], "no name of a package"),
        (["--for", "cmake", "--package-name", "test"], "keep the name test"),
        (["--for", "cmake", "--package-version", "1.0"], "no version of a package"),
        (["--for", "cmake", "--package-version", "01.0.0"], "no version of a package"),
        (["--for", "rust", "--package-name", "fn"], "a word of Rust's own"),
        (["--for", "rust", "--package-name", "crate"], "a word of Rust's own"),
        (["fsdd", "--for", "cmake"], "needs a name of its own"),
    ],
)
def test_what_is_no_package_is_said_and_nothing_is_written(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", "mnist1d", *arguments])
    assert isinstance(done.exception, SneError) and said in done.exception.message and done.exception.hint
    assert list(tmp_path.iterdir()) == []


def test_names_that_would_hide_a_header_or_a_module_are_refused() -> None:
    for name, kind in (("regex", "cmake"), ("arduino", "arduino"), ("machine", "micropython"), ("json", "micropython")):
        model = msgspec.structs.replace(models()[0], name=name)
        with pytest.raises(SneError, match=name):
            render_package(model, kind, "cortex-m", name="fine")
    render_package(msgspec.structs.replace(models()[0], name="machine"), "cmake", "cortex-m")


def test_a_model_of_a_word_of_rusts_is_no_crate() -> None:
    model = msgspec.structs.replace(models()[0], name="match")
    with pytest.raises(SneError, match="match is a word of Rust's own"):
        render_package(model, "rust", "cortex-m", name="fine")
    render_package(model, "cmake", "cortex-m")
