"""Objects kept for firmware: found again only for the very same code, flags and compiler, and whole."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

from sne_edge.deploy import objects, tools
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble

BOARD, TARGET = "mps2-an386", "cortex-m4"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]) -> None:
    require_tool("arm-none-eabi-gcc")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The sources that are compiled from now on, by name."""
    names: list[str] = []

    def counted(command: Sequence[str], work: Path) -> str:
        names.append(Path(command[command.index("-c") + 1]).name)
        return tools.run_tool(command, work)

    monkeypatch.setattr(objects, "run_tool", counted)
    return names


def image(ensemble: QuantEnsemble, folder: Path, **how: object) -> bytes:
    directory = export(ensemble, TARGET, folder / "export")
    return build_firmware(directory, BOARD, folder / "firmware", **how).elf.read_bytes()  # type: ignore[arg-type]


def test_a_second_build_compiles_nothing_and_is_the_same_image(
    tiny: QuantEnsemble, compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image(tiny, tmp_path / "a")
    assert len(set(compiled)) == len(compiled) > 10
    compiled.clear()
    assert image(tiny, tmp_path / "elsewhere") == first and not compiled
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "empty"))
    assert image(tiny, tmp_path / "b") == first and compiled


def test_another_model_or_definition_compiles_what_it_changes_alone(
    tiny: QuantEnsemble, compiled: list[str], tmp_path: Path
) -> None:
    image(tiny, tmp_path / "a")
    compiled.clear()
    image(msgspec.structs.replace(tiny, bias=tiny.bias + 1), tmp_path / "b")
    assert {"tiny_test.c"} <= set(compiled) <= {"tiny_test.c", "tiny_test_vectors.c", "served_model.c"}
    compiled.clear()
    image(tiny, tmp_path / "c", definitions=("SNE_TRACE",))
    assert "tiny_test.c" in compiled


@pytest.mark.examines(changes=6)
def test_whatever_decides_an_object_is_in_its_key(
    compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: dict[str, int]
) -> None:
    near, far, work = (tmp_path / name for name in ("near", "far", "work"))
    for folder in (near, far, work):
        folder.mkdir()
    (source := tmp_path / "one.c").write_text('#include "number.h"\nint f(void) { return N + sizeof(long); }\n')
    (far / "number.h").write_text("#define N 1\n")

    def made(*flags: str) -> bytes:
        (path,) = objects.compile_objects("arm-none-eabi-gcc", ["-mthumb", *flags], [near, far], [source], work)
        return path.read_bytes()

    assert made() == made() and compiled == ["one.c"]
    changes: list[tuple[Callable[[], object], tuple[str, ...]]] = [
        (lambda: (far / "number.h").write_text("#define N 2\n"), ()),
        (lambda: (near / "number.h").write_text("#define N 3\n"), ()),  # found before the other
        (lambda: None, ("-O2",)),
        (lambda: None, ("-O1", "-DM=4")),
        (lambda: source.write_text(source.read_text().replace("int f", "int g")), ()),
        (lambda: monkeypatch.setattr(objects, "described", lambda *cc: "another"), ()),
    ]
    for change, flags in changes:
        compiled.clear()
        change()
        assert made(*flags) == made(*flags) and compiled == ["one.c"]
        examined["changes"] += 1


def test_a_compiler_is_described_anew_where_the_environment_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    here = tools.described("arm-none-eabi-gcc")
    monkeypatch.setenv("CPATH", "/elsewhere")
    assert tools.described("arm-none-eabi-gcc") != here
    monkeypatch.undo()
    assert tools.described("arm-none-eabi-gcc") == here != tools.described("cc")


def test_damaged_objects_and_a_folder_that_cannot_be_used_only_cost_time(
    tiny: QuantEnsemble, compiled: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = image(tiny, tmp_path / "a")
    whole = len(compiled)
    for path in objects.STORE.path.iterdir():
        path.write_bytes(path.read_bytes()[:100])
    compiled.clear()
    assert image(tiny, tmp_path / "b") == first and len(compiled) == whole
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    compiled.clear()
    assert image(tiny, tmp_path / "c") == first and len(compiled) == whole


def test_builds_at_the_same_time_do_not_disturb_each_other(tiny: QuantEnsemble, tmp_path: Path) -> None:
    want, found = image(tiny, tmp_path / "first"), []
    shutil.rmtree(objects.STORE.path)
    builds = [lambda n=n: found.append(image(tiny, tmp_path / str(n))) for n in range(3)]
    threads = [threading.Thread(target=build) for build in builds]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [want] * 3
    assert not [path for path in objects.STORE.path.iterdir() if path.suffix == ".tmp"]


def test_what_fails_is_not_kept_and_says_the_same_again(
    tiny: QuantEnsemble, compiled: list[str], tmp_path: Path
) -> None:
    directory = export(tiny, TARGET, tmp_path / "export")
    source = directory / "tiny_test.c"
    source.write_text(source.read_text() + "\nint broken = ;\n")
    said = []
    for _ in range(2):
        with pytest.raises(SneError, match=r"tiny_test.c:\d+:\d+: error: expected expression") as error:
            build_firmware(directory, BOARD, tmp_path / "firmware")
        said.append((error.value.message, error.value.hint))
    assert said[0] == said[1] and compiled.count("tiny_test.c") == 2
