"""Loaded models on this computer: chains, graphs, streams and front ends give what the reference gives, and a hostile
blob is refused or stays in its memory."""

from __future__ import annotations

import random
import shutil
import struct
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from blobs import (
    HERE,
    SANITIZED,
    TRACED,
    WRAPPING,
    Host,
    assert_inferences,
    assert_raster,
    assert_stream,
    build,
    chains,
    graphs,
    named,
)
from sne_edge.codegen.layout import streams
from strategies import random_inputs
from test_equivalence import EDGES
from test_frontend import SHORT, hearing, recordings
from test_streams import drawn, window_of

from sne_edge.deploy.blob import HEADER, STUDENT, with_crc
from sne_edge.link.wire import C


@pytest.fixture(scope="module")
def hosts(require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Host]:
    require_tool("gcc")
    folder = tmp_path_factory.mktemp("blobs")
    return {
        "chains": build(chains(), folder / "chains"),
        "graphs": build(graphs(wrapping=False), folder / "graphs", *TRACED),
        "wrapping": build(graphs(wrapping=True), folder / "wrapping", *WRAPPING),
        "audio": build([hearing(SHORT, recordings(SHORT))], folder / "audio", "-DFRONTEND"),
    }


@pytest.mark.examines(direct=60, rate=50, events=60, frames=20, membranes=2000, rejected=10)
def test_a_loaded_model_gives_what_the_reference_gives(hosts: dict[str, Host], examined: Counter[str]) -> None:
    for host in hosts.values():
        for number, model in enumerate(host.models):
            assert_inferences(host, model, random_inputs(random.Random(number), model, 4)[-4:], examined)


EDGES_TRIED = (
    *("readout-alone-direct", "readout-alone-rate", "readout-alone-events", "32-students", "the-longest-row"),
    *("a-second-of-sound-average-pooled", "q15-at-32-bits", "shifted-currents-at-32-bits"),
)


@pytest.mark.examines(models=8, direct=20, rate=40, events=4)
def test_chains_at_every_edge_are_blobs_too(
    examined: Counter[str], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Axes of more than 65,535 pairs, 32 students, readouts alone, the longest row, sums of 32 bits."""
    require_tool("gcc")
    host = build(named([EDGES[name]() for name in EDGES_TRIED]), tmp_path, "-DSNE_LOAD_STUDENTS=32")
    assert "SNE_WIDE" in (tmp_path / "models_kernels.c").read_text()
    for model in host.models:
        assert_inferences(host, model, random_inputs(random.Random(1), model, 2)[-2:], examined)
        examined["models"] += 1


@pytest.mark.examines(timesteps=250, windows=4, graphs=6, **{"streamed membranes": 300})
def test_a_loaded_stream_gives_what_the_reference_gives(hosts: dict[str, Host], examined: Counter[str]) -> None:
    for host in hosts.values():
        for number, model in enumerate(host.models):
            if not streams(model):
                continue
            rng = random.Random(number)
            assert_stream(host, model, drawn(rng, model), examined)
            windows = [w for w in map(window_of, model.students) if w]
            examined["windows"] += len(windows)
            examined["graphs"] += sum(not student.layers for student in model.students)
            if not windows:  # whose inferences look at some timesteps alone
                assert_raster(host, model, random_inputs(rng, model, 1)[-1], examined)


@pytest.mark.examines(frames=60)
def test_a_loaded_front_end_hears_what_the_reference_hears(hosts: dict[str, Host], examined: Counter[str]) -> None:
    host = hosts["audio"]
    for samples in recordings(SHORT)[::2]:
        (host.folder / "samples").write_bytes(samples.tobytes())
        command = [str(host.program), "hear", f"{host.models[0].identifier}.blob", "samples"]
        done = subprocess.run(command, cwd=host.folder, capture_output=True, check=False)
        assert (done.returncode, done.stderr) == (0, b"")
        heard = np.frombuffer(done.stdout, np.int8)
        assert heard.tolist() == SHORT.apply(samples[None]).ravel().tolist()
        examined["frames"] += len(heard) // SHORT.bands


def refusal(host: Host, blob: bytes) -> int:
    """What sne_load says of a blob."""
    (host.folder / "refused.bin").write_bytes(blob)
    command = [str(host.program), "run", "refused.bin", "refused.bin"]
    done = subprocess.run(command, cwd=host.folder, capture_output=True, text=True, check=False)
    assert done.returncode == 4, done.stderr
    return int(done.stderr.split()[1])


def test_a_refusal_has_a_code_for_its_reason(hosts: dict[str, Host]) -> None:
    host = hosts["chains"]
    good = (host.folder / "model0.blob").read_bytes()
    fields = dict(enumerate(HEADER.unpack_from(good)))

    def header(**changed: int | bytes) -> bytes:
        places = {"magic": 0, "version": 1, "order": 2, "state_bytes": 8, "classes": 10, "students": 11}
        new = fields | {places[name]: value for name, value in changed.items()}
        return with_crc(HEADER.pack(*new.values()) + good[HEADER.size :])

    def word(place: int, value: int, count: int = 1) -> bytes:
        return with_crc(good[:place] + struct.pack("<I", value) * count + good[place + 4 * count :])

    student = STUDENT.unpack_from(good, fields[16])
    assert refusal(host, header(magic=b"SNEX")) == refusal(host, b"SNEB") == C["SNE_E_BLOB"]
    assert refusal(host, header(version=1)) == refusal(host, header(version=3)) == C["SNE_E_VERSION"]
    assert refusal(host, good[:-4]) == refusal(host, good[:-1] + b"?") == C["SNE_E_DAMAGED"]
    assert refusal(host, header(order=fields[2] + 2)) == refusal(host, header(order=256)) == C["SNE_E_ORDER"]
    assert refusal(host, header(students=9)) == C["SNE_E_STUDENTS"]
    assert refusal(host, word(student[0], 0x1FFFF)) == C["SNE_E_KERNELS"]
    assert refusal(host, (hosts["graphs"].folder / "model0.blob").read_bytes()) == C["SNE_E_KERNELS"]
    assert refusal(host, header(classes=0)) == C["SNE_E_TABLES"]
    assert refusal(host, header(state_bytes=4 * (fields[10] + max(1, fields[12])))) == C["SNE_E_PLACES"]
    assert refusal(host, word(student[4], 0x7FFFFFFF, fields[10])) == C["SNE_E_SUMS"]


def fuzzed(program: Path, folder: Path, times: int) -> subprocess.CompletedProcess[str]:
    blobs = sorted(path.name for path in folder.glob("*.blob"))
    command = [str(program), "fuzz", "1", str(times), *blobs]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.examines(examined=32000, refused=10000, ran=5000, streamed=2000, heard=200)
def test_a_hostile_blob_is_refused_or_stays_in_its_memory(hosts: dict[str, Host], examined: Counter[str]) -> None:
    """With a CRC that fits, under sanitizers, in memory of exactly the size that it asks for."""
    for host in hosts.values():
        done = fuzzed(host.program, host.folder, 8000)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr[-3000:]
        words = done.stdout.split()
        counts = dict(zip(words[::2], map(int, words[1::2]), strict=True))
        examined.update({name: counts[name] for name in ("examined", "refused", "ran", "streamed", "heard")})


@pytest.mark.parametrize(
    "kind, file, right, wrong",
    [
        ("chains", "sne_load_tables.c", "pairs[i].position >= positions || pairs[i].tap >= taps", "0"),
        ("graphs", "sne_load_graph_check.c", "place < *taken || place > room || n > room - place", "0"),
    ],
)
def test_the_sanitizers_see_a_check_that_is_missing(
    kind: str, file: str, right: str, wrong: str, hosts: dict[str, Host], tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(hosts[kind].folder, tmp_path / "copy"))
    text = (folder / file).read_text()
    assert text.count(right) == 1
    (folder / file).write_text(text.replace(right, wrong))
    flags = TRACED if hosts[kind].traced else ()
    sources = [*sorted(path.name for path in folder.glob("*.c")), str(HERE / "blob_host.c")]
    command = ["gcc", *SANITIZED, *flags, "-DKERNELS=models_kernels", f"-I{folder}", "-o", "blob_host", *sources]
    subprocess.run(command, cwd=folder, check=True)
    done = fuzzed(folder / "blob_host", folder, 8000)
    assert done.returncode != 0 and ("AddressSanitizer" in done.stderr or "runtime error" in done.stderr)
