"""Fuzzing: the targets run from their corpus, and a fault in a parser is found."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fuzz import TARGETS, build, compiler, fuzz, library

from sne_edge.resources import RUNTIME, WIRE


@pytest.mark.parametrize("target", TARGETS)
def test_no_bytes_on_the_line_break_a_parser(target: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("clang")
    require_tool(str(library(compiler())))
    done = fuzz(target, build(target, tmp_path), "-runs=3000", "-seed=1", "-max_total_time=20")
    assert done.returncode == 0, done.stderr[-3000:]
    runs = re.search(r"number_of_executed_units: (\d+)", done.stderr)
    assert runs is not None and int(runs[1]) > 1000


def test_a_write_beyond_the_input_is_found(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("clang")
    require_tool(str(library(compiler())))
    text = (RUNTIME / "sne_wire_run.c").read_text()
    right = "if (offset > size || n - 4 > size - offset) {"
    assert right in text
    runtime = tmp_path / "runtime"
    runtime.mkdir()
    for path in (*WIRE, RUNTIME / "sne_wire.h", RUNTIME / "sne_wire_parts.h"):
        shutil.copy(path, runtime)
    (runtime / "sne_wire_run.c").write_text(text.replace(right, "if (offset > size) {"))
    done = fuzz("wire", build("wire", tmp_path, runtime), "-runs=200000", "-seed=1", "-max_total_time=60")
    assert done.returncode != 0 and "AddressSanitizer" in done.stderr, done.stderr[-3000:]
