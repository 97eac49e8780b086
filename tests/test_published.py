"""Networks as they are published, in their published sizes, trained: the float graph gives what the network's own
forward gives, the integers its labels, and C the integers, on the host and on an emulated Cortex-M4.

MNIST, N-MNIST and SHD are not at hand: digits drawn at random places in noise, events of digits swept over, and rasters
of as many classes stand in. The networks for N-MNIST and SHD come with stored weights (`witness_networks`), the others
are trained here, for seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import test_regression
import torch
import witness_networks
from test_own_networks import exact_in_c, task
from torch import Tensor, nn
from witness_networks import SACCADES, Samples, Spoken, glyph, nmnist, saccades, spoken

from sne_edge import quantize_network
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.interchange.graphs import DECODERS
from sne_edge.interchange.trace import trace
from sne_edge.ir.artifact import fingerprint
from sne_edge.link.device import Device
from sne_edge.link.engine import DeviceEngine


@cache
def digits(side: int) -> tuple[Samples, Samples]:
    """Training and held-out samples [N, 1, side, side] in 0..1: digits of 5x7 pixels, enlarged, moved, in noise."""
    rng = np.random.default_rng(0)
    scale = max(1, side // 9)
    labels = rng.integers(0, 10, 900)
    x = rng.normal(scale=0.1, size=(len(labels), 1, side, side))
    for n, label in enumerate(labels):
        drawn = np.kron(glyph(label), np.ones((scale, scale))) * rng.uniform(0.6, 1)
        top, left = (side - drawn.shape[0]) // 2, (side - drawn.shape[1]) // 2
        reach = min(3, top)
        top, left = top + rng.integers(-reach, reach + 1), left + rng.integers(-reach, reach + 1)
        x[n, 0, top : top + drawn.shape[0], left : left + drawn.shape[1]] += drawn
    x = x.clip(0, 1).astype(np.float32)
    return (x[:700], labels[:700]), (x[700:], labels[700:])


class Tutorial5(nn.Module):
    """snnTorch's fifth tutorial: 784-1000-10, beta 0.95, 25 timesteps of the same image."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 1000), nn.Linear(1000, 10)
        self.lif1, self.lif2 = snn.Leaky(beta=0.95), snn.Leaky(beta=0.95)
        self.steps = 25

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


class Tutorial6(nn.Module):
    """The sixth, convolutional one: 12C5-MP2-64C5-MP2-1024FC10, beta 0.5."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2, self.fc1 = nn.Conv2d(1, 12, 5), nn.Conv2d(12, 64, 5), nn.Linear(64 * 4 * 4, 10)
        self.lif1, self.lif2, self.lif3 = snn.Leaky(beta=0.5), snn.Leaky(beta=0.5), snn.Leaky(beta=0.5)
        self.steps = 50

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2, mem3 = self.lif1.init_leaky(), self.lif2.init_leaky(), self.lif3.init_leaky()
        spikes, membranes = [], []
        for _ in range(self.steps):
            spk1, mem1 = self.lif1(nn.functional.max_pool2d(self.conv1(x), 2), mem1)
            spk2, mem2 = self.lif2(nn.functional.max_pool2d(self.conv2(spk1), 2), mem2)
            spk3, mem3 = self.lif3(self.fc1(spk2.view(len(x), -1)), mem3)
            spikes.append(spk3)
            membranes.append(mem3)
        return torch.stack(spikes), torch.stack(membranes)


class Sew(nn.Module):
    """A spike-element-wise residual block (Fang et al., NeurIPS 2021) between a stem and a global average."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm0 = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv1, self.norm1 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.conv2, self.norm2 = nn.Conv2d(16, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.lif0, self.lif1, self.lif2 = (snn.Leaky(beta=0.5, init_hidden=True) for _ in range(3))
        self.pool, self.fc = nn.AvgPool2d(2), nn.Linear(16 * 16, 10)
        self.steps = 4

    def forward(self, x: Tensor) -> Tensor:
        for neurons in (self.lif0, self.lif1, self.lif2):
            neurons.reset_mem()
        record = []
        for _ in range(self.steps):
            came = self.lif0(self.norm0(self.stem(x)))
            out = self.lif2(self.norm2(self.conv2(self.lif1(self.norm1(self.conv1(came)))))) + came
            record.append(self.fc(self.pool(out).flatten(1)))
        return torch.stack(record).mean(0)


class Chain(nn.Module):
    """12-24-3 of one kind of neurons, states hidden, one timestep a call."""

    def __init__(self, make: Callable[[int], nn.Module]) -> None:
        super().__init__()
        self.fc1, self.fc2, self.one, self.two = nn.Linear(12, 24), nn.Linear(24, 3), make(24), make(3)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        made: tuple[Tensor, ...] = self.two(self.fc2(self.one(self.fc1(x))))
        return made if isinstance(made, tuple) else (made,)


@dataclass(frozen=True)
class Case:
    """A network and its task. `shorter`: timesteps of the same image in training; `least`: the accuracy it needs;
    `epochs` 0: its weights are stored. `held`: samples that it is judged by."""

    make: Callable[[], nn.Module]
    data: Callable[[], tuple[Samples, Samples]]
    steps: int
    encoder: str
    least: float
    epochs: int
    rate: float = 2e-3
    batch: int = 64
    shorter: int | None = None
    decode: tuple[str | None, ...] = (None,)
    held: int = 200


def both(**kw: Any) -> dict[str, Any]:
    return {"init_hidden": True, "output": True} | kw


def chain(kind: Callable[[int], nn.Module]) -> Case:
    """One of the small chains on rasters of three classes."""

    def made() -> nn.Module:
        network = Chain(kind)
        network.one.output = False  # type: ignore[assignment]
        return network

    return Case(made, lambda: (task(600, 0), task(400, 1)), 20, "events", 0.9, 30, 5e-3, 100, decode=("membrane",))


def stored(data: Callable[[int, int], Samples]) -> tuple[Samples, Samples]:
    """No samples to train with, and some that no training has seen."""
    held = data(200, 1)
    return held, held


CASES = {
    "784-1000-10": Case(
        Tutorial5, lambda: digits(28), 25, "direct", 0.9, 8, 1e-3, shorter=10, decode=("count", "membrane")
    ),
    "convolutional": Case(Tutorial6, lambda: digits(28), 50, "direct", 0.85, 10, 3e-3, shorter=6, decode=("membrane",)),
    "SHD": Case(Spoken, lambda: stored(spoken), 100, "events", 0.9, 0),
    "N-MNIST": Case(nmnist, lambda: stored(saccades), SACCADES, "events", 0.9, 0, decode=("membrane",), held=120),
    "SEW block": Case(Sew, lambda: digits(8), 4, "direct", 0.9, 3, 5e-3),
    "Synaptic": chain(lambda n: snn.Synaptic(alpha=0.6, beta=0.8, **both())),
    "Lapicque": chain(lambda n: snn.Lapicque(beta=0.8, threshold=0.2, **both())),
    "Alpha": chain(lambda n: snn.Alpha(alpha=0.8, beta=0.5, **both())),
    "RLeaky": chain(lambda n: snn.RLeaky(beta=0.8, linear_features=n, **both())),
    "RSynaptic": chain(lambda n: snn.RSynaptic(alpha=0.5, beta=0.8, linear_features=n, **both())),
    "learnt beta by neuron": chain(lambda n: snn.Leaky(beta=torch.linspace(0.5, 0.95, n), learn_beta=True, **both())),
}


@cache
def trained(name: str) -> nn.Module:
    """The network of a case, trained by the mean of its last output over time."""
    case = CASES[name]
    if not case.epochs:
        return witness_networks.trained(name)
    torch.manual_seed(0)
    network, ((x, y), _) = case.make(), case.data()
    full = getattr(network, "steps", None)
    if case.shorter is not None:
        network.steps = case.shorter  # type: ignore[assignment]
    optimizer = torch.optim.Adam(network.parameters(), lr=case.rate)
    inputs, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(case.epochs):
        for part in torch.randperm(len(x)).split(case.batch):
            loss = nn.functional.cross_entropy(output(network, inputs[part], case), labels[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    if full is not None:
        network.steps = full
    return network.eval()


def output(network: nn.Module, x: Tensor, case: Case) -> Tensor:
    """Logits to train by: a mean over time of membranes, or what the network itself averages."""
    if isinstance(network, Chain):
        for neurons in (network.one, network.two):
            neurons.reset_mem()  # type: ignore[operator]
        return torch.stack([network(x[:, t])[-1] for t in range(case.steps)]).mean(0)
    made = network(x)
    made = made[-1] if isinstance(made, tuple) else made
    return made.mean(1 if isinstance(network, Spoken) else 0) if made.dim() == 3 else made


@pytest.mark.parametrize(("name", "decode"), [(name, how) for name, case in CASES.items() for how in case.decode])
def test_a_published_network_is_right_from_its_own_forward_to_c(
    name: str, decode: str | None, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    case, network = CASES[name], trained(name)
    _, (x, y) = case.data()
    held, known = x[: case.held], y[: case.held]

    axis = None if case.encoder == "direct" else 1 if isinstance(network, Spoken) else 0
    few = torch.from_numpy(held[:40]) if axis != 0 else torch.from_numpy(held[:40]).transpose(0, 1)
    read = trace(network, few, case.steps, time_axis=axis, decode=None if decode is None else DECODERS[decode])
    maps = few[None] if axis is None else few.movedim(axis, 0)
    height, width, channels = read.graph.input_shape
    maps = maps.reshape(*maps.shape[:2], channels, height, width).permute(0, 1, 3, 4, 2)
    run = read.graph.simulate(maps[0], case.steps) if axis is None else read.graph.simulate(maps)
    near = (run.logits - read.witness(few)).abs().amax(1) < 1e-3
    assert near.float().mean() >= 0.95  # a flipped spike by rounding in single precision, at most in a few samples

    made = quantize_network(
        network, "own", held, timesteps=case.steps, encoder=case.encoder, labels=known, decode=decode
    )
    assert made.provenance["accuracy"]["float"] >= case.least
    assert made.provenance["agreement"] >= 0.99
    assert exact_in_c(made, held) > 500
    board = "mps2-an386"
    directory = export(made, resolve_board(board).target, tmp_path / "export")
    image = build_firmware(directory, board, tmp_path / "firmware")
    with Device.open(f"qemu:{board}", image.elf, fingerprint=fingerprint(made)) as device:
        checks = verify(made, made.vectors.inputs[:2], ReferenceEngine(made), [DeviceEngine(device, board)])
    assert all(check.difference is None for check in checks), checks


def test_a_regression_on_membranes_is_right_from_its_own_forward_to_c(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Two outputs, a hundred times apart, as numbers; snnTorch's tutorial on regression, trained here."""
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    torch.manual_seed(0)
    network, (x, y) = test_regression.Net(2), test_regression.samples(400, 2, 1)
    size = y.abs().max(dim=0).values
    with torch.no_grad():
        network.fc2.weight *= size[:, None]
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(120):
        loss = (((network(x).mean(dim=0) - y) / size) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    held, known = test_regression.samples(100, 2, 2)
    steps = test_regression.TIMESTEPS
    read = trace(network, held, steps, decode=DECODERS["membrane"])
    run = read.graph.simulate(held.reshape(len(held), 1, 1, 3), steps)
    own = read.witness(held)
    flipped = ((run.logits - own).abs() > 1e-3 * size).any(dim=1).float().mean()
    assert flipped <= 0.05  # by rounding in single precision
    made = quantize_network(network, "own", held, timesteps=steps, decode="membrane", task="regression", labels=known)
    assert made.provenance["fit"] > 0.97 and made.provenance["r_squared"]["integer"] > 0.6
    host = HostModel(made)
    values = host.values(host.run(made.encoder.encode(held.numpy())))
    assert all(np.corrcoef(values[:, c], own[:, c].numpy())[0, 1] > 0.985 for c in range(2))
    assert exact_in_c(made, held.numpy()) > 500
    board = "mps2-an386"
    directory = export(made, resolve_board(board).target, tmp_path / "export")
    image = build_firmware(directory, board, tmp_path / "firmware")
    with Device.open(f"qemu:{board}", image.elf, fingerprint=fingerprint(made)) as device:
        checks = verify(made, made.vectors.inputs[:2], ReferenceEngine(made), [DeviceEngine(device, board)])
    assert all(check.difference is None for check in checks), checks
