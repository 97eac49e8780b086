"""The host build's kernels for each kind of processor that this computer can stand for: equal to portable C."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from strategies import random_inputs
from test_equivalence import ensemble_of, linear

from sne_edge.deploy import library
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Layer
from sne_edge.ir.neuron import Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy

pytestmark = pytest.mark.as_shipped

# gcc's name of a processor, and what it needs here, as /proc/cpuinfo says it.
PROCESSORS = {
    "skylake-avx512": {"avx512f", "avx512bw", "avx512vl", "avx512dq", "avx512cd"},
    "haswell": {"avx2", "bmi2", "fma", "movbe", "abm"},
    "znver1": {"avx2", "bmi2", "fma", "movbe", "abm", "sha_ni", "sse4a", "clzero", "xsavec"},
    "x86-64": {"sse2"},
}
NEURONS = (
    Neuron("lif", Decay("shift", 1)),
    Neuron("lif", Decay("shift", 3), reset_delay=True),
    Neuron("lif", Decay("q15", 30000), clamp=(-300, 500)),
    Neuron("lif", Decay("q15", 12345), "zero"),
    Neuron("if", Decay(), "zero", clamp=(-200, 90)),
)


def flags() -> set[str]:
    """Of this computer's processor."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return set()
    found = re.search(r"^flags\s*:(.*)$", text, re.MULTILINE)
    return set(found[1].split()) if found else set()


def wide(rest: int) -> QuantEnsemble:
    """130 inputs; for each kind of neuron a student of two layers, `rest` wider than whole vectors, and a readout."""
    encoder = Encoder("events", (1, 1, 130), 5)
    students: list[list[Layer]] = []
    for number, neuron in enumerate(NEURONS):
        outputs = 32 * (1 + number % 3) + rest + number
        readout = linear(encoder, False, (1, 1, outputs), 3, Neuron("li", Decay("shift", 2), "none"))
        first = linear(encoder, True, encoder.shape, outputs, neuron)
        students.append([first, linear(encoder, False, (1, 1, outputs), outputs, neuron), readout])
    return ensemble_of(encoder, students)


@pytest.mark.examines(networks=2, spikes=2000)
@pytest.mark.parametrize("processor", PROCESSORS)
def test_each_processors_kernels_equal_portable_c(
    processor: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, examined: dict[str, int]
) -> None:
    if not PROCESSORS[processor] <= flags():
        pytest.skip(f"this processor cannot run what is compiled for {processor}")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    native = f"-march={processor}"
    monkeypatch.setattr(library, "CFLAGS", tuple(native if f == "-march=native" else f for f in library.CFLAGS))
    rng = random.Random(5)
    for rest in (0, 17):
        ensemble = wide(rest)
        inputs = random_inputs(rng, ensemble, 16)
        mine, portable = (HostModel(ensemble, portable=p).run(inputs, ActivationPolicy("all")) for p in (False, True))
        for name in ("logits", "spikes", "synaptic_ops", "neuron_updates", "label", "margin"):
            np.testing.assert_array_equal(getattr(mine, name), getattr(portable, name), err_msg=name)
        examined["networks"] += 1
        examined["spikes"] += int(mine.spikes.sum())


@pytest.mark.parametrize("processor", PROCESSORS)
def test_each_processors_c_compiles_without_a_warning(
    processor: str, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("gcc")
    folder = export(wide(17), "host", tmp_path / "c")
    strict = ["-Wall", "-Wextra", "-Wconversion", "-Wsign-conversion", "-Wshadow", "-Werror"]
    sources = json.loads((folder / "manifest.json").read_text())["library"]
    command = ["gcc", "-std=c99", "-O2", f"-march={processor}", *strict, "-fsyntax-only", *sources]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
