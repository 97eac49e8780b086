"""Generated C under the address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from strategies import ENCODERS, every_policy, random_ensemble, random_inputs, with_vectors
from test_equivalence import EDGES

from sne_edge.deploy.export import export, read_manifest
from sne_edge.ir.ensemble import QuantEnsemble

HARNESS = Path(__file__).parent / "harness.c"
SANITIZE = ("-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-Wall", "-Werror")


def run_harness(ensemble: QuantEnsemble, folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the harness with an export of `ensemble`, sanitized, and run it."""
    directory = export(ensemble, "host", folder / "export")
    sources = [str(directory / name) for name in read_manifest(directory)["sources"]]
    program = folder / "harness"
    command = ["gcc", *SANITIZE, f"-DMODEL={ensemble.identifier}", f"-I{directory}", *sources, str(HARNESS)]
    subprocess.run([*command, "-o", str(program)], check=True, capture_output=True, text=True)
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}
    return subprocess.run([str(program)], capture_output=True, text=True, timeout=60, env=environment, check=False)


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("seed", range(3))
def test_random_models_are_clean_under_the_sanitizers(
    kind: str, seed: int, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    rng = random.Random(1000 * seed + len(kind))
    ensemble = random_ensemble(rng, kind=kind, students=3)  # type: ignore[arg-type]
    ensemble = msgspec.structs.replace(ensemble, policy=every_policy(rng, ensemble)[1 + seed])
    done = run_harness(with_vectors(ensemble, random_inputs(rng, ensemble, 8)), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("edge", ["average-pooling-chain", "readout-alone-direct", "q15-at-32-bits", "65535-inputs"])
def test_edges_are_clean_under_the_sanitizers(edge: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("gcc")
    ensemble = EDGES[edge]()
    inputs = random_inputs(random.Random(0), ensemble, 4)[:4]
    done = run_harness(with_vectors(ensemble, inputs), tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_sanitizers_see_a_fault(
    require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("gcc")
    ensemble = random_ensemble(random.Random(1), kind="rate", students=1, vectors=1)
    original = Path.write_text

    def faulty(path: Path, text: str, **options: str) -> int:
        return original(path, text.replace("memset(state", "memset((char *)state + 1"), **options)

    harness = tmp_path / "faulty.c"
    faulty(harness, HARNESS.read_text())
    monkeypatch.setattr("test_sanitizers.HARNESS", harness)
    done = run_harness(ensemble, tmp_path)
    assert done.returncode != 0
    assert "heap-buffer-overflow" in done.stderr
