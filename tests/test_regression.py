"""Regression: a network's outputs are numbers with a scale, one or more, held against the network's own."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from safetensors.torch import save_file
from test_graph_equivalence import BOARDS
from torch import Tensor, nn
from typer.testing import CliRunner

from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.cli import app
from sne_edge.cli.inputs import encoded_samples
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.from_nir import graph_from_nir
from sne_edge.interchange.onnx_engine import OnnxEngine, samples_of, session
from sne_edge.interchange.to_nir import to_nir
from sne_edge.interchange.to_onnx import to_onnx
from sne_edge.interchange.torch import quantize_network
from sne_edge.interchange.witness import r_squared
from sne_edge.ir import artifact
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.connect import connect
from sne_edge.link.engine import DeviceEngine

TIMESTEPS = 12


class Net(nn.Module):
    """As snnTorch's tutorial on regression has it: the last membranes, which never reset, are the answer."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(3, 48), snn.Leaky(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(48, outputs), snn.Leaky(beta=0.8, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        found = []
        for _ in range(TIMESTEPS):
            spikes, mem1 = self.lif1(self.fc1(x), mem1)
            _, mem2 = self.lif2(self.fc2(spikes), mem2)
            found.append(mem2)
        return torch.stack(found)


def samples(count: int, outputs: int, seed: int) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(np.random.default_rng(seed).uniform(-1, 1, (count, 3))).float()
    y = torch.stack([torch.sin(2 * x[:, 0]) + x[:, 1] ** 2, 40 + 30 * x[:, 2] * x[:, 0]], dim=1)
    return x, y[:, :outputs]


@pytest.fixture(scope="module", params=[1, 2])
def trained(request: pytest.FixtureRequest) -> tuple[Net, int]:
    """A network of one output, or of two of very different size, trained for some seconds."""
    torch.manual_seed(0)
    outputs = request.param
    network = Net(outputs)
    x, y = samples(512, outputs, 1)
    size = y.abs().max(dim=0).values
    with torch.no_grad():
        network.fc2.weight *= size[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(200):
        loss = (((network(x).mean(dim=0) - y) / size) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network, outputs


@pytest.fixture(scope="module")
def made(trained: tuple[Net, int]) -> QuantEnsemble:
    network, outputs = trained
    x, y = samples(200, outputs, 2)
    return quantize_network(
        network, "regressor", x, timesteps=TIMESTEPS, decode="membrane", task="regression", labels=y
    )


def test_values_in_c_are_those_of_the_network_itself(
    trained: tuple[Net, int], made: QuantEnsemble, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    network, outputs = trained
    x, y = samples(300, outputs, 3)
    host = HostModel(made)
    values = host.values(host.run(made.encoder.encode(x.numpy())))
    own = network(x).mean(dim=0).detach().double().numpy()
    assert values.shape == (300, outputs)
    for c in range(outputs):
        assert r_squared(values[:, c : c + 1], own[:, c : c + 1]) > 0.97
        assert r_squared(values[:, c : c + 1], y[:, c : c + 1].numpy()) > 0.6
    assert np.ptp(own[:, 0]) > 0.5


def test_the_witness_compares_numbers(made: QuantEnsemble) -> None:
    told = made.provenance
    assert told["fit"] > 0.97 and 0 < told["largest_error"] < 0.3 * told["span"]
    assert told["r_squared"]["float"] > 0.6 and "agreement" not in told


def test_the_fit_is_that_of_the_output_where_it_is_lowest() -> None:
    targets = np.array([[0.0, 0], [100, 1], [200, 2], [300, 3]])
    off = targets + np.array([0, 1])
    assert r_squared(off, targets) == pytest.approx(1 - 4 / 5)
    assert r_squared(targets, targets) == 1
    assert r_squared(np.ones((4, 1)), np.ones((4, 1))) == 1
    assert r_squared(np.ones((4, 1)), np.zeros((4, 1))) == 0


def test_a_network_whose_integers_say_something_else_is_refused(trained: tuple[Net, int]) -> None:
    network, outputs = trained
    x, _ = samples(100, outputs, 2)
    common = {
        "timesteps": TIMESTEPS,
        "decode": "membrane",
        "task": "regression",
        "scale": 1.0,
    }  # one step is all there is
    with pytest.raises(SneError, match="R squared of"):
        quantize_network(network, "coarse", x, **common)
    with pytest.warns(SneWarning, match="R squared of"):
        quantize_network(network, "coarse", x, fail_below=0.0, **common)


def test_every_engine_computes_the_same_numbers(made: QuantEnsemble, require_tool: Callable[..., None]) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    inputs = made.encoder.encode(samples(6, len(made.classes), 4)[0].numpy())
    engines = [HostEngine(HostModel(made)), OnnxEngine(made)]
    checks = verify(made, inputs, ReferenceEngine(made), engines)
    for board in BOARDS if len(made.classes) == 1 else BOARDS[:1]:
        with connect(made, f"qemu:{board}", trace=True) as (device, _):
            assert device.info().classes == len(made.classes)
            checks += verify(made, inputs, ReferenceEngine(made), [DeviceEngine(device, board)])
    assert [check.difference for check in checks] == [None] * len(checks)
    assert sum(check.compared for check in checks) > 500


def test_onnx_and_nir_give_the_outputs_in_their_own_units(
    made: QuantEnsemble, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    x = samples(60, len(made.classes), 4)[0].numpy()
    inputs, host = made.encoder.encode(x), HostModel(made)
    want = host.values(host.run(inputs))
    ready = session(to_onnx(made, encoded=True))
    given = {"input": samples_of(made.encoder, inputs)}
    found = dict(zip([output.name for output in ready.get_outputs()], ready.run(None, given), strict=True))
    assert found.keys() == {"logits", "values"}
    assert found["values"].tolist() == want.tolist()
    graph, notes = to_nir(made)
    held = torch.from_numpy(made.encoder.real(made.encoder.analog(inputs)))
    read = graph_from_nir(graph).simulate(held, TIMESTEPS).logits.numpy()
    for c in range(len(made.classes)):  # leaks are rounded on the device alone
        assert r_squared(read[:, c : c + 1], want[:, c : c + 1]) > 0.97
    assert any("membrane" in note for note in notes) and graph.metadata["task"] == "regression"


def test_the_scale_of_outputs_stands_in_the_header(
    made: QuantEnsemble, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("cc", "make")
    directory = export(made, "host", tmp_path / "c")
    header = (directory / "regressor.h").read_text()
    scale = re.search(r"^#define REGRESSOR_OUTPUT_SCALE (\S+)$", header, flags=re.M)
    assert scale and float(scale[1]) == made.logit_scale
    assert "Classes:" not in header and "compute(const int8_t" in (directory / "README.md").read_text()
    done = subprocess.run(["make", "-s", "check"], cwd=directory, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_regression_is_stored_and_read(made: QuantEnsemble) -> None:
    data = artifact.dumps(made)
    assert artifact.loads(data).regression and artifact.dumps(artifact.loads(data)) == data


def test_the_command_makes_one_from_numbers_and_refuses_labels_of_no_use(
    trained: tuple[Net, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, outputs = trained
    monkeypatch.chdir(tmp_path)
    save_file(network.state_dict(), "net.safetensors")
    Path("net.py").write_text(f"import test_regression\n\n\ndef net():\n    return test_regression.Net({outputs})\n")
    x, y = samples(400, outputs, 5)
    np.savez("data.npz", x_train=x.numpy(), y_train=y.numpy() if outputs == 2 else y.numpy()[:, 0])
    command = ["quantize", "net.py:net", "-o", "r.sne", "--timesteps", "12", "--decode", "membrane", "--regression"]
    command += ["--weights", "net.safetensors"]
    done = CliRunner().invoke(app, [*command, "--data", "data.npz", "--layout", "NL"])
    assert done.exit_code == 0, done.output
    assert "the network's own outputs by an R squared of 0.9" in done.output
    assert artifact.load("r.sne").regression
    for data, words in (("mnist1d", "no .npz"), ("bad.npz", "y_train")):
        np.savez("bad.npz", x_train=x.numpy(), y_train=y.numpy()[:9])
        refused = CliRunner().invoke(app, [*command, "--data", data, "--layout", "NL", "--force"])
        assert isinstance(refused.exception, SneError) and words in refused.exception.message
    ranged = [*command, "--data", "data.npz", "--layout", "NL", "--force", "--input-range", "median"]
    refused = CliRunner().invoke(app, ranged)  # what sets the input's scale is a regression's as well
    assert isinstance(refused.exception, SneError) and "no input range 'median'" in refused.exception.message


@pytest.mark.parametrize(
    "line", ["calibrate r.sne -o x.sne", "ensemble r.sne r.sne -o x.sne", "compare net.py:net r.sne"]
)
def test_commands_of_labels_say_that_a_regression_has_none(
    line: str, made: QuantEnsemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    artifact.save(made, "r.sne")
    refused = CliRunner().invoke(app, [*line.split(), "--data", "mnist1d"])
    assert isinstance(refused.exception, SneError) and "computes numbers, not labels" in refused.exception.message
    assert [path.name for path in tmp_path.iterdir()] == ["r.sne"]


def test_what_needs_labels_is_refused(made: QuantEnsemble, trained: tuple[Net, int]) -> None:
    network, outputs = trained
    x, y = samples(50, outputs, 2)
    with pytest.raises(SneError, match="computes numbers"):
        encoded_samples(made, "mnist1d", None)
    with pytest.raises(ValueError, match="no margin"):
        msgspec.structs.replace(made, policy=ActivationPolicy("cascade"))
    with pytest.raises(SneError, match="true values are"):
        quantize_network(network, "n", x, timesteps=TIMESTEPS, decode="membrane", task="regression", labels=y[:20])
    with pytest.raises(SneError, match="no task 'ranking'"):
        quantize_network(network, "n", x, timesteps=TIMESTEPS, task="ranking")
    if outputs == 1:
        with pytest.raises(SneError, match="1 classes"):
            quantize_network(network, "n", x, timesteps=TIMESTEPS, decode="membrane")
