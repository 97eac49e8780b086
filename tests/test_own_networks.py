"""Networks as people write them, all the way: read by following their forward, in integers, held against their own
forward on raw inputs, and bit-exact in C."""

from __future__ import annotations

import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import torch
from command_line import called
from test_from_nir import DT, chain, lif
from test_trace import Joined, OneToOne, Recurrent, Residual, Tutorial5, nmnist, subclassed
from torch import Tensor, nn

from sne_edge import quantize_network, quantize_nir
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.from_nir import Reading
from sne_edge.ir.artifact import dumps, load, loads
from sne_edge.ir.ensemble import QuantEnsemble


def scaled(make: Callable[[], nn.Module]) -> nn.Module:
    """A network whose weights make it spike."""
    torch.manual_seed(0)
    network = make().eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(2)
    return network


def spikes(*shape: int) -> np.ndarray:
    return (np.random.default_rng(1).random(shape) < 0.3).astype(np.float32)


CASES: dict[str, tuple[Callable[[], nn.Module], np.ndarray, int, str, str | None]] = {
    "tutorial 5, counts": (Tutorial5, np.random.default_rng(0).random((64, 1, 28, 28)), 25, "direct", None),
    "tutorial 5, membranes": (Tutorial5, np.random.default_rng(0).random((64, 1, 28, 28)), 25, "direct", "membrane"),
    "N-MNIST": (nmnist, spikes(16, 12, 2, 34, 34), 12, "events", "membrane"),
    "recurrent": (Recurrent, spikes(32, 20, 70), 20, "events", None),
    "residual": (Residual, spikes(48, 6, 2, 8, 8), 6, "events", None),
    "joined": (Joined, spikes(48, 6, 2, 8, 8), 6, "events", None),
    "one to one": (OneToOne, spikes(48, 15, 30), 15, "events", None),
    "own forward": (subclassed, np.random.default_rng(0).random((64, 6)), 9, "direct", None),
}


def exact_in_c(made: QuantEnsemble, samples: np.ndarray) -> int:
    """How many numbers the host build and the reference agree in, all."""
    assert dumps(loads(dumps(made))) == dumps(made)
    checks = verify(made, made.vectors.inputs[:16], ReferenceEngine(made), [HostEngine(HostModel(made))])
    assert all(check.difference is None for check in checks), checks
    return sum(check.compared for check in checks)


@pytest.mark.parametrize("case", CASES)
def test_a_network_as_published_becomes_a_model_that_is_exact_in_c(case: str) -> None:
    make, samples, steps, kind, decode = CASES[case]
    network = scaled(make)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)  # untrained logits lie close together
        made = quantize_network(
            network, "own", samples, timesteps=steps, encoder=kind, decode=decode, fail_below=0.0, warn_below=0.0
        )  # fmt: skip
    assert made.provenance["correlation"] > 0.97
    assert made.vectors.spikes.sum() > 0
    assert exact_in_c(made, samples) > 1000


class Trained(nn.Module):
    """A small recurrent classifier, one timestep a call."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch as snn

        self.fc1, self.fc2 = nn.Linear(12, 24), nn.Linear(24, 3)
        self.lif1 = snn.RLeaky(beta=0.8, linear_features=24, init_hidden=True)
        self.lif2 = snn.Leaky(beta=0.9, init_hidden=True, output=True)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        made: tuple[Tensor, Tensor] = self.lif2(self.fc2(self.lif1(self.fc1(x))))
        return made


def task(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rasters [N, 20, 12] of three classes, which differ in where they spike most, and when."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    rate = np.full((count, 20, 12), 0.1)
    for n, label in enumerate(labels):
        rate[n, :10, 4 * label : 4 * label + 4] = 0.45
        rate[n, 10:, (4 * label + 4) % 12 : (4 * label + 4) % 12 + 4] = 0.45
    return (rng.random(rate.shape) < rate).astype(np.float32), labels


def test_a_trained_recurrent_network_keeps_its_labels() -> None:
    from snntorch import utils

    torch.manual_seed(0)
    network, (x, y) = Trained(), task(600, 0)
    optimizer = torch.optim.Adam(network.parameters(), lr=5e-3)
    for _ in range(40):
        utils.reset(network)
        total = sum(network(torch.from_numpy(x[:, t]))[1] for t in range(20))
        loss = nn.functional.cross_entropy(total / 20, torch.from_numpy(y))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held, known = task(400, 1)
    made = quantize_network(network, "own", held, timesteps=20, encoder="events", labels=known, decode="membrane")
    assert made.provenance["accuracy"]["float"] > 0.95
    assert made.provenance["agreement"] >= 0.99
    assert exact_in_c(made, held) > 1000


def test_a_nir_file_becomes_a_model_held_against_its_equations_or_its_framework(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    graph = chain(
        nir.Affine(rng.normal(size=(20, 6)), rng.normal(size=20) * 0.1),
        lif(20, r=np.full(20, 25.0), v_threshold=np.ones(20)),
        nir.Linear(rng.normal(size=(3, 20))),
        lif(3, r=np.full(3, 25.0), v_threshold=np.ones(3)),
        shape=(6,),
    )
    nir.write(tmp_path / "net.nir", graph)
    raster = spikes(64, 25, 6)
    asked = []

    def framework(x: Tensor) -> Tensor:
        asked.append(len(x))
        v, u = torch.zeros(len(x), 20), torch.zeros(len(x), 3)
        count = torch.zeros(len(x), 3)
        first, second = graph.nodes["0"], graph.nodes["2"]
        for now in x.unbind(1):
            v = v * (1 - DT / 2.5e-3) + now @ torch.tensor(first.weight.T).float() + torch.tensor(first.bias).float()
            s = (v > 1).float()
            v = v * (1 - s)
            u = u * (1 - DT / 2.5e-3) + s @ torch.tensor(second.weight.T).float()
            fired = (u > 1).float()
            u, count = u * (1 - fired), count + fired
        return count

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)
        made = [
            quantize_nir(
                tmp_path / "net.nir", "own", raster, timesteps=25, encoder="events", reading=Reading(dt=DT), own=own
            )
            for own in (None, framework)
        ]  # fmt: skip
    assert sum(asked) == 64
    assert made[0].provenance["agreement"] == made[1].provenance["agreement"] >= 0.8
    assert made[0].provenance["correlation"] > 0.97
    assert exact_in_c(made[0], raster) > 1000


def test_integers_that_are_not_the_network_are_refused() -> None:
    network = scaled(Recurrent)
    wrong = spikes(32, 20, 70)

    def other(x: Any) -> Tensor:
        return torch.rand(len(x), 3)

    graph = chain(nir.Linear(np.eye(3)), lif(3, r=np.full(3, 25.0), v_threshold=np.ones(3)), shape=(3,))
    with pytest.raises(SneError, match="like the network itself"):
        from sne_edge.interchange.from_nir import graph_from_nir
        from sne_edge.interchange.graphs import _from_graph

        x = torch.from_numpy(spikes(300, 9, 3))
        maps = x.numpy().reshape(300, 9, 1, 1, 3)
        _from_graph(
            graph_from_nir(graph, Reading(dt=DT)), "own", maps, 9, "events", lambda rows: other(x[rows]), "test"
        )
    with pytest.raises(SneError, match="timesteps"):
        quantize_network(network, "own", wrong, timesteps=19, encoder="events")


SCRIPT = """
import torch
from test_own_networks import Trained
from test_trace import Tutorial5

def recurrent():
    torch.manual_seed(0)
    network = Trained()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2)
    return network
"""


def quantize(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return called("quantize", *arguments, cwd=tmp_path)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    (x, y), (z, w) = task(400, 2), task(60, 3)
    path = tmp_path / "data.npz"
    np.savez(path, x_train=x, y_train=y, x_test=z, y_test=w, layout=np.array("NTL"))
    return path


def test_the_command_reads_a_network_of_any_forward(tmp_path: Path, data: Path) -> None:
    (tmp_path / "net.py").write_text(SCRIPT)
    common = ["--data", str(data), "--timesteps", "20", "--encoder", "events", "--fail-below", "0.5"]
    done = quantize(tmp_path, "net.py:recurrent", *common, "--decode", "membrane", "-o", "own.sne")
    assert done.returncode == 0, done.stderr
    assert "like the network itself" in done.stdout
    made = load(tmp_path / "own.sne")
    assert made.provenance["source"] == "quantize_network"
    assert exact_in_c(made, made.vectors.inputs) > 1000


def test_the_command_reads_nir_and_asks_for_what_the_file_leaves_open(tmp_path: Path, data: Path) -> None:
    rng = np.random.default_rng(4)
    graph = chain(
        nir.Affine(rng.normal(size=(24, 12)), np.zeros(24)),
        lif(24, r=np.full(24, 25.0), v_threshold=np.ones(24)),
        nir.Affine(rng.normal(size=(3, 24)), np.zeros(3)),
        shape=(12,),
    )
    nir.write(tmp_path / "net.nir", graph)
    common = ["net.nir", "--data", str(data), "--timesteps", "20", "--encoder", "events", "-o", "own.sne"]
    refused = quantize(tmp_path, *common)
    assert refused.returncode == 1
    assert "--dt" in refused.stderr
    assert not (tmp_path / "own.sne").exists()
    done = quantize(tmp_path, *common, "--dt", "1e-4")
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "own.sne").provenance["agreement"] >= 0.8


def test_a_file_that_reads_options_or_ends_python_when_imported_is_told_of(tmp_path: Path) -> None:
    net = "from torch import nn\nimport snntorch as snn\n"
    net += "def net():\n"
    net += "    return nn.Sequential(nn.Linear(6, 8), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(8, 3))\n"
    options = "import argparse\np = argparse.ArgumentParser()\np.add_argument('--lr', type=float, default=1e-3)\n"
    (tmp_path / "options.py").write_text(net + options + "args = p.parse_args()\n")
    (tmp_path / "wanting.py").write_text(net + options + "p.add_argument('data')\nargs = p.parse_args()\n")
    np.savez(tmp_path / "d.npz", x_train=np.random.default_rng(0).random((60, 6)), y_train=np.arange(60) % 3)
    rest = ["--data", tmp_path / "d.npz", "--timesteps", "5", "-o", tmp_path / "n.sne", "--fail-below", "0"]
    done = called("quantize", f"{tmp_path}/options.py:net", *rest)
    assert done.returncode == 0, done.stderr
    wanting = called("quantize", f"{tmp_path}/wanting.py:net", *rest, "--force")
    assert wanting.returncode == 1 and "__main__" in wanting.stderr and "ended python" in wanting.stderr
