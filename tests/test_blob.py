"""Models as data: what an export holds, what a blob says of itself, and which one is refused."""

from __future__ import annotations

import random
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from graph_strategies import random_graph_ensemble
from test_frontend import SHORT, hearing, recordings

from sne_edge.cli import run
from sne_edge.deploy.blob import make_blob, read_blob, with_crc
from sne_edge.deploy.loader import FRONTEND_FILES, GRAPH_FILES, export_blobs
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, load

HERE = Path(__file__).parent


def test_a_blob_says_what_it_is_and_a_damaged_one_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = load("mnist1d")
    path = tmp_path / "mnist1d.blob"
    good = make_blob(model, resolve_target("cortex-m4"))
    assert good == make_blob(model, resolve_target("cortex-m4"))
    path.write_bytes(good)
    info = read_blob(path)
    assert (info.name, info.fingerprint, info.order, info.students) == ("mnist1d", fingerprint(model), "dsp", 4)
    assert run(["inspect", str(path)]) == 0
    assert "mnist1d" in capsys.readouterr().out
    for bad, why in (
        (b"", "no blob"),
        (b"SNEX" + good[4:], "no blob"),
        (good[:-1], "damaged"),
        (good[:500] + bytes([good[500] ^ 1]) + good[501:], "damaged"),
        (with_crc(good[:4] + struct.pack("<H", 3) + good[6:]), "version 3"),
        (with_crc(good[:24] + struct.pack("<I", 1 << 30) + good[28:]), "out of range"),
        (with_crc(good[:52] + struct.pack("<I", 1 << 30) + good[56:]), "outside"),
    ):
        path.write_bytes(bad)
        with pytest.raises(SneError, match=why) as caught:
            read_blob(path)
        assert caught.value.hint
    assert run(["inspect", str(path)]) == 1
    assert re.search(r"error: .*\nhint: ", capsys.readouterr().err)


def test_every_kind_of_model_is_a_blob_that_says_what_it_holds(tmp_path: Path) -> None:
    """Chains, graphs, streams and front ends; and a newer or older version is refused by name."""
    sound = hearing(SHORT, recordings(SHORT))
    graph = random_graph_ensemble(random.Random(3), kind="events", students=1)
    paths = export_blobs([sound, msgspec.structs.replace(graph, name="graph")], "cortex-m4", tmp_path / "out")
    heard, drawn = map(read_blob, paths)
    assert (heard.frontend, heard.streams, heard.graphs) == (True, False, 0)
    assert (drawn.frontend, drawn.streams, drawn.graphs, drawn.encoder) == (False, True, 1, "events")
    assert drawn.stages == len(graph.students[0].graph.populations)  # type: ignore[union-attr]
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {*GRAPH_FILES, *FRONTEND_FILES, "sne_load_stream.c"} <= names
    for version in (1, 3):
        data = paths[0].read_bytes()
        paths[0].write_bytes(with_crc(data[:4] + struct.pack("<H", version) + data[6:]))
        with pytest.raises(SneError, match=f"version {version}, not 2"):
            read_blob(paths[0])


def test_a_build_of_chains_alone_has_no_code_of_graphs(tmp_path: Path) -> None:
    export_blobs([load("mnist1d")], "cortex-m4", tmp_path)
    assert not {path.name for path in tmp_path.iterdir()} & {*GRAPH_FILES, *FRONTEND_FILES}
    assert "NULL, NULL" in (tmp_path / "mnist1d_kernels.c").read_text()


def test_the_command_writes_blobs_and_their_loader(
    require_tool: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """With which the example in docs/EXPORT.md compiles."""
    require_tool("gcc")
    command = ["export", "mnist1d", "fsdd", "--format", "blob", "--target", "m4", "-o", str(tmp_path / "out")]
    assert run(command) == 0
    assert "mnist1d.blob" in capsys.readouterr().out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"mnist1d.blob", "fsdd.blob", "models_kernels.c", "models_kernels.h", "sne_load.c"} <= names
    (example,) = re.findall(r"```c\n(.*?)```", (HERE.parent / "docs" / "EXPORT.md").read_text(encoding="utf-8"), re.S)
    (tmp_path / "out" / "example.c").write_text(example)
    strict = ("-std=c99", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-pedantic", "-Werror")
    sources = sorted(path.name for path in (tmp_path / "out").glob("*.c"))
    subprocess.run(["gcc", *strict, "-fsyntax-only", *sources], cwd=tmp_path / "out", check=True)
    assert run(["export", "mnist1d", "--format", "blob", "--part", "whole"]) == 1
    assert "--part has no meaning" in capsys.readouterr().err
