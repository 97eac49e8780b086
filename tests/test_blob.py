"""Models as data: a loaded blob gives what the reference gives, a hostile one is refused or stays in its memory, and
running from one costs little."""

from __future__ import annotations

import random
import re
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
import pytest
from graph_strategies import random_graph_ensemble
from strategies import ENCODERS, random_ensemble, random_inputs, with_early

from sne_edge.check.verify import ReferenceEngine
from sne_edge.cli import run
from sne_edge.deploy.blob import make_blob, read_blob, with_crc
from sne_edge.deploy.export import export
from sne_edge.deploy.loader import export_blobs
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, load
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy

HERE = Path(__file__).parent
SANITIZED = ("-std=c99", "-O1", "-g", "-DSNE_PORTABLE", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
MODELS = 9
BOARDS = {"microbit": "m0", "mps2-an386": "m4", "mps3-an547": "m55"}


class Host(NamedTuple):
    """Random models, their folder, and a program that loads any of them (blob_host.c)."""

    models: list[QuantEnsemble]
    folder: Path
    program: Path


def models() -> list[QuantEnsemble]:
    """Random chains of every encoder, some that end early; gains as small as those of trained ones."""
    made = []
    for number in range(MODELS):
        rng = random.Random(number)
        model = random_ensemble(rng, kind=ENCODERS[number % 3], students=1 + number % 2)
        if number % 3 == 2 or number == 3:
            model = with_early(rng, model)
        students = tuple(msgspec.structs.replace(s, gain=np.clip(s.gain, -500, 500)) for s in model.students)
        made.append(msgspec.structs.replace(model, name=f"model{number}", students=students))
    return made


@pytest.fixture(scope="module")
def host(require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Host:
    require_tool("gcc")
    folder, found = tmp_path_factory.mktemp("blobs"), models()
    export_blobs(found, "host", folder)
    sources = [*map(str, folder.glob("*.c")), str(HERE / "blob_host.c")]
    compiled = ["gcc", *SANITIZED, "-DKERNELS=models_kernels", f"-I{folder}", "-c", *sources]
    subprocess.run(compiled, cwd=folder, check=True)
    return Host(found, folder, linked(folder))


def linked(folder: Path) -> Path:
    """The program of a folder's objects."""
    program = folder / "blob_host"
    subprocess.run(["gcc", *SANITIZED, *map(str, folder.glob("*.o")), "-o", str(program)], check=True)
    return program


@pytest.mark.examines(direct=20, rate=20, events=20)
def test_a_loaded_model_gives_what_the_reference_gives(host: Host, examined: Counter[str], tmp_path: Path) -> None:
    for number, model in enumerate(host.models):
        inputs = random_inputs(random.Random(number), model, 4)[-4:]
        (tmp_path / "inputs").write_bytes(inputs.tobytes())
        command = [str(host.program), "run", str(host.folder / f"{model.identifier}.blob"), str(tmp_path / "inputs")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
        lines = iter(done.stdout.splitlines())
        policies = [model.policy, *(ActivationPolicy("mask", mask=1 << k) for k in range(len(model.students)))]
        ran = [ReferenceEngine(model).run(inputs, policy, None).values for policy in policies]
        for sample in range(len(inputs)):
            for want in ran:
                told = [int(word) for word in next(lines).split()]
                names = ("label", "margin", "active", "students_run", "stop", "timesteps", "synaptic_ops", "macs")
                assert told[:8] == [int(want[name][sample]) for name in names], (number, sample)
                assert told[9:] == [*map(int, want["logits"][sample]), *map(int, want["spikes"][sample])]
                examined[model.encoder.kind] += 1


@pytest.mark.examines(examined=20000, refused=5000, ran=2000)
def test_a_hostile_blob_is_refused_or_stays_in_its_memory(host: Host, examined: Counter[str]) -> None:
    """With a CRC that fits, under sanitizers, in memory of exactly the size that it asks for."""
    blobs = [str(path) for path in sorted(host.folder.glob("*.blob"))]
    command = [str(host.program), "fuzz", "1", "20000", *blobs]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    words = done.stdout.split()
    counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
    examined.update({name: counts[name] for name in ("examined", "refused", "ran")})


def test_the_sanitizers_see_a_check_that_is_missing(host: Host, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(host.folder, tmp_path / "copy"))
    check = folder / "sne_load_tables.c"
    text = check.read_text()
    right = "pairs[i].position >= positions || pairs[i].tap >= taps"
    assert right in text
    check.write_text(text.replace(right, "0"))
    subprocess.run(["gcc", *SANITIZED, f"-I{folder}", "-c", check.name], cwd=folder, check=True)
    blobs = [str(path) for path in sorted(folder.glob("*.blob"))]
    done = subprocess.run(
        [str(linked(folder)), "fuzz", "1", "20000", *blobs], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0 and ("AddressSanitizer" in done.stderr or "runtime error" in done.stderr)


@pytest.mark.parametrize("board", BOARDS)
def test_a_loaded_model_is_exact_and_takes_few_more_instructions_on_a_core(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import build_program, emulate

    model = load("mnist1d")
    compiled = export(model, BOARDS[board], tmp_path / "compiled")
    (path,) = export_blobs([model], BOARDS[board], tmp_path / "loaded")
    data = path.read_bytes()
    words = ", ".join(f"{word}u" for word in struct.unpack(f"<{len(data) // 4}I", data))
    (tmp_path / "model.h").write_text(
        f'#include "mnist1d.h"\n#define MODEL mnist1d_model\n#define VECTORS mnist1d_vectors\n'
        f"#define STATE_BYTES MNIST1D_STATE_BYTES\n#define INPUT_BYTES MNIST1D_INPUT_BYTES\n"
        f"static const uint32_t blob[] = {{{words}}};\n"
    )
    sources = [compiled / "mnist1d.c", compiled / "mnist1d_vectors.c", path.parent / "mnist1d_kernels.c"]
    sources += [*sorted(path.parent.glob("sne_load*.c")), HERE / "blob_emulated.c"]
    (tmp_path / "work").mkdir()
    elf = build_program(
        *(board, sources, tmp_path / "work"),
        includes=[tmp_path, compiled, path.parent],
        definitions=["KERNELS=mnist1d_kernels"],
    )
    told = {name: int(value) for name, value in (line.split() for line in emulate(board, elf).splitlines())}
    assert told["status"] == 0 and told["wrong"] == 0 and told["vectors"] >= 16
    assert told["loaded"] <= 1.1 * told["compiled"], told


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
        (with_crc(good[:4] + struct.pack("<H", 2) + good[6:]), "version 2"),
        (with_crc(good[:24] + struct.pack("<I", 1 << 30) + good[28:]), "out of range"),
        (with_crc(good[:52] + struct.pack("<I", 1 << 30) + good[56:]), "outside"),
    ):
        path.write_bytes(bad)
        with pytest.raises(SneError, match=why) as caught:
            read_blob(path)
        assert caught.value.hint
    assert run(["inspect", str(path)]) == 1
    assert re.search(r"error: .*\nhint: ", capsys.readouterr().err)


def test_what_cannot_be_a_blob_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    graph = random_graph_ensemble(random.Random(3))
    with pytest.raises(SneError, match="it is a graph") as caught:
        export_blobs([graph], "cortex-m4", tmp_path / "out")
    assert "--format c" in caught.value.hint
    assert not (tmp_path / "out").exists()


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
