"""Loaded models on this computer: chains, graphs, streams and front ends give what the reference gives, and a hostile
blob is refused or stays in its memory."""

from __future__ import annotations

import random
import shutil
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


@pytest.mark.examines(timesteps=300, windows=4, graphs=6, **{"streamed membranes": 300})
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


def fuzzed(program: Path, folder: Path, times: int) -> subprocess.CompletedProcess[str]:
    blobs = sorted(path.name for path in folder.glob("*.blob"))
    command = [str(program), "fuzz", "1", str(times), *blobs]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.mark.examines(examined=48000, refused=15000, ran=6000, streamed=2500, heard=300)
def test_a_hostile_blob_is_refused_or_stays_in_its_memory(hosts: dict[str, Host], examined: Counter[str]) -> None:
    """With a CRC that fits, under sanitizers, in memory of exactly the size that it asks for."""
    for host in hosts.values():
        done = fuzzed(host.program, host.folder, 12000)
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
    done = fuzzed(folder / "blob_host", folder, 12000)
    assert done.returncode != 0 and ("AddressSanitizer" in done.stderr or "runtime error" in done.stderr)
