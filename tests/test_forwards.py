"""What people's forwards do around the layers: outputs added up, indexed, averaged, softened; the input put in another
order. Each is read as what it is, and gives the network's own answer up to a positive factor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sne_edge.errors import SneError
from sne_edge.interchange.graphs import quantize_traced, samples_for
from sne_edge.interchange.trace import trace

STEPS, INPUTS, CLASSES = 6, 12, 5


class Network(nn.Module):
    """Two layers of neurons; `end` makes the output of lists of spikes, currents and membranes [N, classes]."""

    def __init__(self, end: Callable[..., Tensor]) -> None:
        super().__init__()
        self.end = end
        self.fc1, self.fc2, self.fc3 = nn.Linear(INPUTS, 20), nn.Linear(20, CLASSES), nn.Linear(CLASSES, 4)
        self.lif1, self.lif2 = snn.Leaky(beta=0.9), snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:
        one, two = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, currents, membranes = [], [], []
        for t in range(STEPS):
            spk, one = self.lif1(self.fc1(self.step(x, t)), one)
            current = self.fc2(spk)
            spk, two = self.lif2(current, two)
            spikes.append(spk)
            currents.append(current)
            membranes.append(two)
        return self.end(self, spikes, currents, membranes)

    def step(self, x: Tensor, t: int) -> Tensor:
        return x


def in_place(values: list[Tensor]) -> Tensor:
    total = torch.zeros(len(values[0]), CLASSES)
    for value in values:
        total += value
    return total


def one_by_one(values: list[Tensor]) -> Tensor:
    total: Any = 0
    for value in values:
        total = total + value
    return total  # type: ignore[no-any-return]


ENDS: dict[str, tuple[str, str, Callable[..., Tensor]]] = {
    "spikes added to 0": ("count", "", lambda net, s, c, m: one_by_one(s)),
    "spikes added in place": ("count", "", lambda net, s, c, m: in_place(s)),
    "spikes added, over timesteps": ("count", "", lambda net, s, c, m: in_place(s) / STEPS),
    "spikes summed by Python": ("count", "", lambda net, s, c, m: sum(s)),
    "currents added": ("current", "", lambda net, s, c, m: one_by_one(c)),
    "currents averaged": ("current", "", lambda net, s, c, m: torch.stack(c).mean(0)),
    "membranes added": ("membrane", "mean", lambda net, s, c, m: in_place(m) / STEPS),
    "membranes stacked and summed": ("membrane", "mean", lambda net, s, c, m: torch.stack(m, 1).sum(1)),
    "the last membrane": ("membrane", "final", lambda net, s, c, m: torch.stack(m)[-1]),
    "the last membrane, batch first": ("membrane", "final", lambda net, s, c, m: torch.stack(m, 1)[:, -1]),
    "the highest membrane": ("membrane", "highest", lambda net, s, c, m: torch.stack(m).max(0)[0]),
    "the highest membrane by amax": ("membrane", "highest", lambda net, s, c, m: torch.stack(m).amax(0)),
    "half of the highest membrane": ("membrane", "highest", lambda net, s, c, m: torch.stack(m).amax(0) / 2),
    "a layer on counts": ("current", "", lambda net, s, c, m: net.fc3(one_by_one(s))),
    "a layer on rates": ("current", "", lambda net, s, c, m: net.fc3(torch.stack(s).mean(dim=0))),
    "softmax of counts": ("count", "", lambda net, s, c, m: F.softmax(torch.stack(s).sum(0), dim=1)),
    "log-softmax of a layer on counts": ("current", "", lambda net, s, c, m: F.log_softmax(net.fc3(one_by_one(s)), -1)),
}


def network(kind: type[Network], end: Callable[..., Tensor]) -> Network:
    torch.manual_seed(0)
    made = kind(end).eval()
    with torch.no_grad():
        made.fc1.weight.mul_(4)
        made.fc2.weight.mul_(3)
    return made


def maps(made: Any, x: Tensor) -> Tensor:
    """Samples [..., channels, height, width] or flat, as the graph takes them."""
    height, width, channels = made.graph.input_shape
    return x.reshape(*x.shape[:1], channels, height, width).permute(0, 2, 3, 1).double()


@pytest.mark.parametrize("name", ENDS)
def test_an_output_is_read_as_what_the_forward_makes_of_it(name: str) -> None:
    kind, take, end = ENDS[name]
    made = network(Network, end)
    x = torch.rand(64, INPUTS, generator=torch.Generator().manual_seed(1))
    read = trace(made, x, STEPS)
    assert (read.graph.decoder.kind, read.graph.decoder.take) == (kind, take or "final")
    own, graph = read.witness(x).double().detach(), read.graph.simulate(maps(read, x), STEPS).logits
    assert own.std() > 0
    if "softmax" in name:  # the order is the same, the numbers are not
        own = own.log() if name.startswith("softmax") else own
        own, graph = own - own.mean(1, keepdim=True), graph - graph.mean(1, keepdim=True)
    factor = float((own * graph).sum() / (graph * graph).sum())
    assert factor > 0
    torch.testing.assert_close(factor * graph, own, rtol=0, atol=1e-5)
    # currents, which may be numbers wanted for themselves, have the forward's own size
    assert kind != "current" or "softmax" in name or factor == pytest.approx(1)


@pytest.mark.parametrize(
    ("end", "message"),
    [
        (lambda net, s, c, m: m[2], "membranes of some timesteps"),
        (lambda net, s, c, m: torch.stack(m[2:]).mean(0), "membranes of some timesteps"),
        (lambda net, s, c, m: one_by_one(s[1:]), "outputs of one timestep, or of some, not of all"),
        (lambda net, s, c, m: F.softmax(one_by_one(s), 0), "softmax: over axis 0"),
        (lambda net, s, c, m: one_by_one([F.softmax(k, 1) for k in c]), "of what comes of softmax, in the middle"),
        (lambda net, s, c, m: in_place(m) - m[0], "of membranes and something else"),
        (lambda net, s, c, m: torch.stack(s).max(0)[0], "of what is no membrane"),
    ],
)
def test_an_output_that_would_be_read_as_another_one_is_refused(end: Callable[..., Tensor], message: str) -> None:
    with pytest.raises(SneError, match=message):
        trace(network(Network, end), torch.rand(4, INPUTS), STEPS)


class Frames(Network):
    """Takes a timestep of [T, N, inputs]."""

    def step(self, x: Tensor, t: int) -> Tensor:
        return x[t]


class BatchFirst(Frames):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(1, 0, 2))


class Transposed(Frames):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.transpose(0, 1))


class Maps(Frames):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(2).movedim(1, 0))


class Shuffled(Frames):
    """Swaps more than time."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.permute(1, 2, 0))


@pytest.mark.parametrize(
    ("kind", "shape", "axis"),
    [
        (Frames, (STEPS, 16, INPUTS), 0),
        (BatchFirst, (16, STEPS, INPUTS), 1),
        (Transposed, (16, STEPS, INPUTS), 1),
        (Maps, (16, STEPS, 2, 2, 3), 1),
    ],
)
def test_a_raster_is_read_in_any_order_of_time_and_batch(
    kind: type[Network], shape: tuple[int, ...], axis: int
) -> None:
    made = network(kind, lambda net, s, c, m: one_by_one(s))
    x = torch.rand(*shape, generator=torch.Generator().manual_seed(1))
    read = trace(made, x, STEPS, time_axis=axis)
    every = torch.stack([maps(read, part) for part in x.unbind(axis)])
    own = read.witness(x).double()
    assert own.std() > 0
    torch.testing.assert_close(read.graph.simulate(every).logits, own, rtol=0, atol=0)


def test_a_raster_whose_batch_is_moved_is_refused() -> None:
    with pytest.raises(SneError, match="permute: of more than time"):
        trace(network(Shuffled, lambda net, s, c, m: one_by_one(s)), torch.rand(INPUTS, STEPS, 7), STEPS, time_axis=1)


class Shifted(nn.Module):
    """Standardises its input in the forward, then convolves or flattens."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.lif, self.fc = first, snn.Leaky(beta=0.7), nn.LazyLinear(CLASSES)
        self.norm = nn.BatchNorm1d(2)
        self.norm.running_mean = torch.tensor([0.3, -0.2])
        self.norm.running_var = torch.tensor([0.5, 2.0])

    def forward(self, x: Tensor) -> Tensor:
        membrane, total = self.lif.init_leaky(), 0
        for _ in range(STEPS):
            spikes, membrane = self.lif(self.first((self.norm(x) - 0.1) / 0.3), membrane)
            total = total + self.fc(spikes.flatten(1))
        return total / STEPS  # type: ignore[return-value]


FIRST = {
    "flat": nn.Sequential(nn.Flatten(), nn.Linear(24, 16)),
    "not padded": nn.Conv1d(2, 6, 3),
    "groups": nn.Conv1d(2, 6, 3, groups=2),
    "padded": nn.Conv1d(2, 6, 5, padding=2),
    "padded groups": nn.Conv1d(2, 6, 3, padding=1, stride=2, groups=2),
}


@pytest.mark.parametrize("first", FIRST)
def test_a_shift_of_the_input_becomes_a_bias_or_the_encoders_offset(first: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(200, 2, 12)
    made = Shifted(FIRST[first]).eval()
    made(x)
    read = trace(made, x, STEPS)
    assert bool(read.graph.offset.any()) == first.startswith("padded")
    run = read.graph.simulate(maps(read, x), STEPS)
    assert 0 < run.spikes["lif"].double().mean() < 1
    torch.testing.assert_close(run.logits, read.witness(x).double().detach(), rtol=0, atol=1e-5)
    ensemble = quantize_traced(made, "shifted", x.numpy(), timesteps=STEPS)
    assert ensemble.encoder.shifted == first.startswith("padded")
    assert ensemble.provenance["agreement"] >= 0.95 and ensemble.provenance["correlation"] >= 0.99


def test_an_input_that_is_padded_with_two_shifts_is_refused() -> None:
    class Twice(Shifted):
        def forward(self, x: Tensor) -> Tensor:
            spikes, _ = self.lif(self.first(self.norm(x)) + self.first(x))
            return self.fc(spikes.flatten(1))  # type: ignore[no-any-return]

    made = Twice(nn.Conv1d(2, 6, 3, padding=1)).eval()
    x = torch.randn(4, 2, 12)
    made(x)
    with pytest.raises(SneError, match="padded with one shift here"):
        trace(made, x, 1)


def test_a_refusal_is_of_the_form_that_the_network_ran_on() -> None:
    """Of forms in which samples are tried, the one that says what is wrong with the network, not with the form."""
    made = nn.Sequential(nn.Conv1d(1, 4, 3), nn.ReLU(), snn.Leaky(beta=0.5, init_hidden=True))
    with pytest.raises(SneError, match="relu") as error:
        samples_for(made, np.zeros((4, 1, 12, 1), np.float32), "direct", STEPS)
    assert "snntorch.Leaky" in (error.value.hint or "")


def test_a_network_whose_spikes_are_added_up_becomes_integers() -> None:
    made = network(Network, lambda net, s, c, m: F.log_softmax(net.fc3(in_place(s)), 1))
    x = torch.rand(400, INPUTS, generator=torch.Generator().manual_seed(2))
    ensemble = quantize_traced(made, "added", x, timesteps=STEPS, classes=tuple("abcd"))
    assert ensemble.provenance["agreement"] >= 0.97
