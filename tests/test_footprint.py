"""What a model takes of flash: one breakdown, the same wherever it is told, and the linker's own."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from graph_strategies import random_graph_ensemble
from sne_edge.codegen.footprint import struct_bytes, tables
from sne_edge.codegen.graph import RUNTIME_HEADERS
from strategies import ENCODERS, random_ensemble
from test_export import fixed_ensemble
from typer.testing import CliRunner

from sne_edge.cli import app
from sne_edge.deploy.analysis import analyze
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import STRUCT_HEADERS, export, measure, read_manifest
from sne_edge.deploy.targets import resolve_target
from sne_edge.ir.artifact import load
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.resources import RUNTIME

BOARDS = ("microbit", "mps2-an386", "mps3-an547")


def models(board: str) -> list[QuantEnsemble]:
    """One of every kind of layer, shipped ones, and random chains and graphs, others for each board."""
    seed = BOARDS.index(board)
    made = [fixed_ensemble(), load("mnist1d"), load("fsdd")]
    made += [random_ensemble(random.Random(seed), kind=kind, vectors=2) for kind in ENCODERS]
    return made + [random_graph_ensemble(random.Random(2 * seed + n)) for n in range(2)]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.examines(models=8, frontends=1, graphs=2)
def test_the_breakdown_is_the_linkers(
    board: str, require_tool: Callable[..., None], tmp_path: Path, examined: Counter[str]
) -> None:
    require_tool("arm-none-eabi-gcc")
    target = resolve_board(board).target
    headers = (*STRUCT_HEADERS, *RUNTIME_HEADERS, "sne_logmel.h")
    sizes = struct_bytes(tuple((RUNTIME / name).read_text(encoding="utf-8") for name in headers))
    target_cc = resolve_target(target).cc
    for number, ensemble in enumerate(models(board)):
        told = measure(ensemble, resolve_target(target))
        directory = export(ensemble, target, tmp_path / f"model{number}")
        image = build_firmware(directory, board, tmp_path / f"firmware{number}")
        listing = subprocess.run(
            ["arm-none-eabi-size", "-A", str(image.elf)], capture_output=True, text=True, check=True
        ).stdout
        sections = {name: int(size) for name, size in re.findall(r"^(\.\w+)\s+(\d+)\s", listing, flags=re.M)}
        assert sections[".tables"] == image.table_bytes
        stored = subprocess.run(["arm-none-eabi-nm", str(image.elf)], capture_output=True, text=True, check=True).stdout
        text = (directory / f"{ensemble.identifier}.c").read_text()
        folded = [
            -(-size // 4) * 4
            for name, _, size in tables(text, sizes)
            if not re.search(rf" {name}$", stored, flags=re.M)
        ]
        assert image.table_bytes + sum(folded) == told.tables, number
        assert not folded or ensemble.name not in ("fixed", "mnist1d", "fsdd")
        assert sections.get(".golden", 0) == told.vectors == image.vector_bytes, number
        assert image.flash_bytes == image.table_bytes + image.vector_bytes + image.code_bytes
        examined["models"] += 1
        if told.frontend:
            command = [target_cc, *resolve_target(target).cflags, "-O2", "-std=c99", "-fdata-sections"]
            files = [str(directory / f"{ensemble.identifier}_frontend.c"), str(directory / "sne_logmel.c")]
            subprocess.run([*command, "-c", *files], cwd=tmp_path, check=True)
            objects = [tmp_path / f"{Path(file).stem}.o" for file in files]
            listing = subprocess.run(
                ["arm-none-eabi-size", "-A", *map(str, objects)], capture_output=True, text=True, check=True
            ).stdout
            found = [int(size) for size in re.findall(r"^\.rodata\S*\s+(\d+)\s", listing, flags=re.M)]
            assert sum(-(-size // 4) * 4 for size in found) == told.frontend
            examined["frontends"] += 1
        examined["graphs"] += any(student.graph is not None for student in ensemble.students)


def test_structures_have_the_compilers_sizes(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    headers = (*STRUCT_HEADERS, *RUNTIME_HEADERS, "sne_logmel.h")
    sizes = struct_bytes(tuple((RUNTIME / name).read_text(encoding="utf-8") for name in headers))
    names = [name for name in sizes if name.startswith("sne_") and name not in ("sne_start", "sne_weight")]
    assert {"sne_model", "sne_stage", "sne_synapses", "sne_cells", "sne_population", "sne_logmel"} <= set(names)
    text = "".join(f'#include "{name}"\n' for name in headers)
    text += "".join(f"typedef char is_{name}[sizeof({name}) == {sizes[name]} ? 1 : -1];\n" for name in names)
    (tmp_path / "sizes.c").write_text(text)
    flags = ("-std=c99", "-mthumb", "-mcpu=cortex-m4", "-fsyntax-only", "-iquote", str(RUNTIME))
    subprocess.run(["arm-none-eabi-gcc", *flags, str(tmp_path / "sizes.c")], check=True)


@pytest.mark.parametrize("name", ["mnist1d", "fsdd"])
def test_every_place_tells_the_same_sizes(name: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc")
    ensemble = load(name)
    told = measure(ensemble)
    parts = {**asdict(told), "tables": told.tables}
    assert told.tables == told.weights + told.padding + told.thresholds + told.structures
    directory = export(ensemble, "cortex-m4", tmp_path / "c")
    assert read_manifest(directory)["flash_bytes"] == parts
    readme = (directory / "README.md").read_text()
    line = f"{told.tables} bytes of flash: weights {told.weights}, padding {told.padding}, biases and thresholds"
    assert f"{line} {told.thresholds}, structures {told.structures}" in readme
    assert f"TABLE_BYTES {told.tables} " in (directory / f"{name}.h").read_text()
    report = analyze(ensemble)
    assert report.flash == told and report.table_bytes == told.tables
    run = CliRunner()
    inspected = json.loads(run.invoke(app, ["inspect", name, "--json"]).stdout)
    assert inspected["flash"] | {"tables": inspected["table_bytes"]} == parts
    built = json.loads(
        run.invoke(app, ["build", name, "--board", "mps2-an386", "-o", str(tmp_path / "f"), "--json"]).stdout
    )
    fields = {"weight": "weights", "padding": "padding", "threshold": "thresholds", "structure": "structures"}
    for field, part in (fields | {"table": "tables"}).items():
        assert built[f"{field}_bytes"] == parts[part]
    weights = sum(layer.weight.nbytes for s in ensemble.students for layer in s.layers if hasattr(layer, "weight"))
    assert told.weights == weights


def test_golden_vectors_are_in_a_build_that_asks_for_them_alone(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "make", "arm-none-eabi-nm")
    built = {
        flags: json.loads(
            CliRunner()
            .invoke(app, ["build", "fsdd", "--board", "mps2-an386", "-o", str(tmp_path / "f"), "--json", *flags])
            .stdout
        )
        for flags in ((), ("--vectors",))
    }
    assert built[()]["vector_bytes"] == 0
    assert built[("--vectors",)]["vector_bytes"] == measure(load("fsdd")).vectors > 60000
    directory = export(load("fsdd"), "cortex-m4", tmp_path / "c")
    for extra, expected in (((), False), (("VECTORS=1",), True)):
        subprocess.run(["make", "-s", "-C", str(directory), "clean"], check=True)
        subprocess.run(["make", "-s", "-C", str(directory), *extra], check=True)
        listing = subprocess.run(
            ["arm-none-eabi-nm", str(directory / "libfsdd.a")], capture_output=True, text=True, check=True
        ).stdout
        assert bool(re.search(r" R fsdd_vectors$", listing, flags=re.M)) is expected
        assert re.search(r" T fsdd_run$", listing, flags=re.M)
