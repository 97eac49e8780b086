"""Building firmware: what is in the image, and what happens where it cannot be built."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Build
from models import tiny_ensemble

from sne_edge.deploy.boards import all_boards, resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble

HEAP_STDIO_FLOAT = (
    *("malloc", "_malloc_r", "free", "_free_r", "calloc", "realloc", "_sbrk", "printf", "puts", "sprintf", "fwrite"),
    *("__aeabi_fadd", "__aeabi_fsub", "__aeabi_fmul", "__aeabi_fdiv", "__aeabi_dadd", "__aeabi_dsub", "__aeabi_dmul"),
    *("__aeabi_ddiv", "__aeabi_i2f", "__aeabi_i2d", "__aeabi_f2iz", "__aeabi_d2iz", "__aeabi_ui2f", "__aeabi_f2d"),
)


def symbols(elf: Path) -> set[str]:
    listing = subprocess.run(["arm-none-eabi-nm", str(elf)], capture_output=True, text=True, check=True).stdout
    return {line.split()[-1] for line in listing.splitlines()}


@pytest.fixture
def exported(require_tool: Callable[..., None], tiny: QuantEnsemble, tmp_path: Path) -> Path:
    """`tiny`, exported for a Cortex-M0."""
    require_tool("arm-none-eabi-gcc")
    return export(tiny, "m0", tmp_path / "export")


@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps3-an547"])
def test_no_heap_stdio_or_soft_float_is_linked(board: str, tiny: QuantEnsemble, firmware: Build) -> None:
    found = symbols(firmware(tiny, board).elf)
    assert not found & set(HEAP_STDIO_FLOAT)
    assert "sne_run" in found


@pytest.mark.parametrize("board", [board.name for board in all_boards()])
def test_the_figures_add_up_and_the_image_lies_in_the_memory_map(
    board: str, tiny: QuantEnsemble, firmware: Build
) -> None:
    image, map_ = firmware(tiny, board), resolve_board(board)
    assert image.flash_bytes == image.code_bytes + image.table_bytes + image.vector_bytes
    assert image.binary.stat().st_size == image.flash_bytes
    assert image.stack_bytes == map_.stack_bytes
    parameters = sum(layer.weight.size for student in tiny.students for layer in student.layers)  # type: ignore[union-attr]
    assert image.weight_bytes == parameters and parameters < image.table_bytes < parameters + 2500
    script = (image.elf.parent / "firmware.ld").read_text()
    assert f"ORIGIN = {map_.flash_origin:#010x}, LENGTH = {map_.flash_bytes:#x}" in script
    assert f"ORIGIN = {map_.ram_origin:#010x}, LENGTH = {map_.ram_bytes:#x}" in script
    assert image.hex.read_text().startswith(":")


def test_the_same_model_makes_the_same_image(exported: Path, tmp_path: Path) -> None:
    one = build_firmware(exported, "microbit", tmp_path / "one").binary.read_bytes()
    assert one == build_firmware(exported, "microbit", tmp_path / "two").binary.read_bytes()


def test_a_state_too_large_for_the_board_is_refused_with_numbers(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc")
    directory = export(tiny_ensemble(hidden=8000, students=1), "m0", tmp_path / "export")
    with pytest.raises(
        SneError, match=r"tiny-test needs \d+\.\d KB of RAM \(state .*\), microbit has 16\.0 KB"
    ) as caught:
        build_firmware(directory, "microbit", tmp_path / "firmware")
    assert "boards with more: microbit-v2, mps2-an385" in caught.value.hint
    assert not (tmp_path / "firmware").exists()


def test_weights_too_large_for_the_board_are_refused_with_numbers(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc")
    directory = export(tiny_ensemble(hidden=1500, students=4), "m0", tmp_path / "export")
    with pytest.raises(SneError, match=r"needs \d+\.\d KB of flash \(weights .*\), microbit has 256\.0 KB"):
        build_firmware(directory, "microbit", tmp_path / "firmware")


@pytest.mark.parametrize(("memory", "field", "size"), [("RAM", "ram_bytes", 3600), ("flash", "flash_bytes", 8192)])
def test_an_overflow_that_only_the_linker_sees_is_refused_with_numbers(
    memory: str, field: str, size: int, exported: Path, tmp_path: Path
) -> None:
    board = replace(resolve_board("microbit"), **{field: size})  # type: ignore[arg-type]
    with pytest.raises(SneError, match=rf"needs \d+\.\d KB of {memory}, microbit has {size / 1024:.1f} KB"):
        build_firmware(exported, board, tmp_path / "firmware")
    assert not (tmp_path / "firmware").exists()


def test_a_missing_compiler_is_named_with_its_package(
    exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SneError, match="arm-none-eabi-gcc is not installed") as caught:
        build_firmware(exported, "microbit", tmp_path / "firmware")
    assert "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi" in caught.value.hint


def test_what_the_compiler_says_is_shown(exported: Path, tmp_path: Path) -> None:
    source = exported / "tiny_test.c"
    source.write_text(source.read_text() + "\nint broken = ;\n")
    with pytest.raises(
        SneError, match=r"(?s)arm-none-eabi-gcc failed: .*tiny_test.c:\d+:\d+: error: expected expression"
    ):
        build_firmware(exported, "microbit", tmp_path / "firmware")
    assert not (tmp_path / "firmware").exists()


def test_a_folder_that_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SneError, match="is not an exported model"):
        build_firmware(tmp_path, "microbit", tmp_path / "firmware")


def test_an_output_that_cannot_be_written_is_named(exported: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SneError, match="cannot write"):
        build_firmware(exported, "microbit", tmp_path / "file" / "firmware")


def test_a_missing_file_of_an_export_is_an_error(exported: Path, tmp_path: Path) -> None:
    shutil.move(exported / "sne_schedule.c", tmp_path / "gone.c")
    with pytest.raises(SneError, match=r"sne_schedule\.c: No such file"):
        build_firmware(exported, "microbit", tmp_path / "firmware")
