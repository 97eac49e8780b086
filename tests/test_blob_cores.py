"""Loaded models on emulated cores, from flash and from RAM: what the compiled model says, for few more instructions."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blobs import HERE, recurrent

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.export import export
from sne_edge.deploy.loader import export_blobs
from sne_edge.ir.artifact import load
from sne_edge.ir.ensemble import QuantEnsemble

BOARDS = ("microbit", "mps2-an386", "mps3-an547")


def emulated(model: QuantEnsemble, board: str, folder: Path) -> dict[str, int]:
    """What blob_emulated.c prints of a model."""
    from bare_metal import build_program, emulate

    target = resolve_board(board).target
    compiled = export(model, target, folder / "compiled")
    (path,) = export_blobs([model], target, folder / "loaded")
    data = path.read_bytes()
    words = ", ".join(f"{word}u" for word in struct.unpack(f"<{len(data) // 4}I", data))
    name, upper = model.identifier, model.identifier.upper()
    stream = f"{upper}_STREAM_BYTES" if f"{upper}_STREAM_BYTES" in (compiled / f"{name}.h").read_text() else "0"
    (folder / "model.h").write_text(
        f'#include "{name}.h"\n#define MODEL {name}_model\n#define VECTORS {name}_vectors\n'
        f"#define STATE_BYTES {upper}_STATE_BYTES\n#define INPUT_BYTES {upper}_INPUT_BYTES\n"
        f"#define STREAM_BYTES {stream}\n#define MODEL_INPUTS {upper}_N_INPUTS\n"
        f"static const uint32_t blob[] = {{{words}}};\n"
    )
    sources = [compiled / f"{name}.c", compiled / f"{name}_vectors.c", path.parent / f"{name}_kernels.c"]
    sources += [*sorted(path.parent.glob("sne_load*.c")), HERE / "blob_emulated.c"]
    (folder / "work").mkdir()
    elf = build_program(
        *(board, sources, folder / "work"),
        includes=[folder, compiled, path.parent],
        definitions=[
            f"KERNELS={name}_kernels",
            *(["IN_RAM"] if resolve_board(board).ram_bytes > 2 * len(data) else []),
        ],
    )
    told = {name: int(value) for name, value in (line.split() for line in emulate(board, elf).splitlines())}
    assert told["status"] == 0 and told["wrong"] == 0 and told["needs"] == 1 and told["vectors"] >= 8
    assert [told.get(name, 0) for name in ("status_in_ram", "wrong_in_ram")] == [0, 0]
    assert told["loaded"] <= 1.1 * told["compiled"], told
    return told


@pytest.fixture
def tools(require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))


@pytest.mark.parametrize("board", BOARDS)
def test_a_loaded_model_is_exact_and_takes_few_more_instructions_on_a_core(
    board: str, tools: None, tmp_path: Path
) -> None:
    assert emulated(load("mnist1d"), board, tmp_path)["made"] == 0


def test_a_loaded_graph_is_exact_and_takes_few_more_instructions_live_too(tools: None, tmp_path: Path) -> None:
    model = recurrent()
    assert np.count_nonzero(model.vectors.spikes) >= 8 and len(np.unique(model.vectors.logits)) > 4
    told = emulated(model, "mps2-an386", tmp_path)
    assert "wrong_in_ram" in told
    assert told["steps"] > 50 and told["wrong_steps"] == 0
    assert told["loaded_steps"] <= 1.1 * told["compiled_steps"], told
