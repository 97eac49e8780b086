"""Forwards that could be taken for something else: each is refused, or read as what it does, on samples of all kinds.

The witness is the network's own forward, on samples that it was not followed on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from test_idioms import STEPS, Net, graph_says, moving, network, still, summed
from torch import Tensor, nn
from torch.nn import functional

from sne_edge.errors import SneError, SneWarning

RIGHT, REFUSED = "right", "refused"
Case = tuple[dict[str, Any], Callable[[Any], Tensor], str]


def same(made: Tensor) -> Tensor:
    return made


def changing(net: Net, x: Tensor, change: Callable[[Net, Tensor, Tensor, int], None]) -> Tensor:
    """The plain loop, with what `change` does to the first layer's spikes and membranes after each timestep."""
    one, two, spikes = net.rest(x, 20), net.rest(x, 4), []
    for t in range(STEPS):
        a, one = net.lif1(net.fc1(x), one)
        change(net, a, one, t)
        b, two = net.lif2(net.fc2(a), two)
        spikes.append(b)
    return torch.stack(spikes)


def loop(change: Any) -> dict[str, Any]:
    return {"forward": lambda s, x: changing(s, x, change)}


def weights(make: Callable[[Net, Tensor], Tensor]) -> dict[str, Any]:
    return {"current": lambda s, x: functional.linear(x, make(s, x), s.fc1.bias)}


def threshold_by_sample(s: Net, x: Tensor) -> Tensor:
    s.lif1.threshold = torch.tensor(1.0 + x.mean().item())
    return x


def grown(s: Net, hidden: Any, spikes: list[Tensor], membranes: list[Tensor]) -> Tensor:
    record = torch.zeros(STEPS + 1, len(spikes[0]), 4)
    for t, membrane in enumerate(membranes):
        record[t] = membrane
    return record.amax(0)


def apart(s: Net, hidden: Any, spikes: list[Tensor], membranes: list[Tensor]) -> Tensor:
    return torch.stack([*(h[:, :4] for h in hidden[:3]), *spikes[3:]])


STILL: dict[str, Case] = {
    "scaled, then shaped": (
        {"before": lambda s, x: (x / 2).view(-1, 1, 3, 4), "at": lambda s, x, t: x.flatten(1)}, summed, RIGHT),
    "shifted, then shaped": (
        {"before": lambda s, x: (x - 0.5)[:, None], "at": lambda s, x, t: x.flatten(1)}, summed, RIGHT),
    "negated, then repeated": (
        {"before": lambda s, x: (1 - x)[:, :, None].expand(-1, -1, STEPS), "at": lambda s, x, t: x[..., t]},
        summed, RIGHT),
    "scaled, repeated": (
        {"before": lambda s, x: (2 * x).unsqueeze(1).repeat(1, STEPS, 1), "at": lambda s, x, t: x[:, t]},
        summed, RIGHT),
    "shifted by channel, then shaped": (
        {"before": lambda s, x: (x - torch.linspace(0, 1, 12)).view(-1, 3, 4), "at": lambda s, x, t: x.flatten(1)},
        summed,
        REFUSED),
    "data of the input": ({"current": lambda s, x: (x.data.mul_(1.5), s.fc1(x))[1]}, summed, REFUSED),
    "data of the input replaced": ({"before": lambda s, x: (setattr(x, "data", x.data * 3), x)[1]}, summed, REFUSED),
    "data of spikes": (loop(lambda s, a, m, t: a.data.mul_(0.5)), summed, REFUSED),
    "data of membranes": (loop(lambda s, a, m, t: m.data.clamp_(max=0.5)), summed, REFUSED),
    "spikes in numpy": (loop(lambda s, a, m, t: a.numpy().__setitem__((slice(None), slice(10)), 0)), summed, REFUSED),
    "weighted by time": (
        {"returned": lambda s, h, r, m: torch.stack([0.5 ** (STEPS - t) * v for t, v in enumerate(r)])},
        summed, REFUSED),
    "weighted by time at once": (
        {"returned": lambda s, h, r, m: torch.stack(r) * torch.arange(1.0, STEPS + 1)[:, None, None]}, summed, REFUSED),
    "two layers in one record": ({"fc2": nn.Linear(20, 4), "returned": apart}, summed, REFUSED),
    "tanh of each timestep": ({"returned": lambda s, h, r, m: torch.tanh(3 * torch.stack(m)).mean(0)}, same, REFUSED),
    "softmax of each timestep": (
        {"returned": lambda s, h, r, m: torch.stack(m).softmax(-1)}, lambda m: m.mean(0), REFUSED),
    "softmax over time": (
        {"returned": lambda s, h, r, m: torch.stack(m).permute(1, 2, 0).softmax(-1).amax(-1)}, same, REFUSED),
    "weights by the sample": (weights(lambda s, x: s.fc1.weight * x.mean() * 2), summed, REFUSED),
    "a matrix by the sample": ({"current": lambda s, x: x @ (s.fc1.weight.t() * x.amax())}, summed, REFUSED),
    "statistics of the batch": (
        {"before": lambda s, x: functional.batch_norm(x, x.mean(0), x.var(0))}, summed, REFUSED),
    "weights that learn": (
        {"current": lambda s, x: (s.fc1.weight.data.add_(0.3 * x.mean(0)[None]), s.fc1(x))[1]}, summed, REFUSED),
    "a number of the sample": ({"before": lambda s, x: x / float(x.std())}, summed, REFUSED),
    "a threshold by the sample": ({"before": threshold_by_sample}, summed, REFUSED),
    "a decision by the batch": ({"before": lambda s, x: x * 2 if len(x) == 2 else x}, summed, REFUSED),
    "rounded": ({"before": lambda s, x: torch.div(x, 0.5, rounding_mode="floor")}, summed, REFUSED),
    "into a tensor that is there": (
        {"before": lambda s, x: torch.mul(x, 2.0, out=torch.empty_like(x))}, summed, REFUSED),
    "taken off a constant": (
        {"returned": lambda s, h, r, m: torch.ones(len(r[0]), 4).sub_(r[0]).sub_(r[1])}, same, REFUSED),
    "a record with a row too many": ({"returned": grown}, same, REFUSED),
    "doubled by delayed resets": (
        {"current": lambda s, x: (setattr(s.lif1, "reset_delay", bool(torch.rand(()) < 0.5)), s.fc1(x))[1]},
        summed, REFUSED),
    "graded in its forward": (
        {"before": lambda s, x: (setattr(s.lif1, "graded_spikes_factor", torch.tensor(2.0)), x)[1]}, summed, REFUSED),
    "stacked by its axis": ({"returned": lambda s, h, r, m: torch.stack(r, axis=1)}, lambda m: m.sum(1), RIGHT),
    "numbers by name": ({"before": lambda s, x: torch.mul(input=x, other=2.0)}, summed, RIGHT),
    "counted on the way": (
        {"current": lambda s, x: (s.gain.add_(x.mean()), s.fc1(x))[1]}, summed, RIGHT),
    "a gain that grows by the sample": (
        {"current": lambda s, x: s.fc1(x) * s.gain.add_(x.mean())}, summed, REFUSED),
    "one channel for three": (
        {"before": lambda s, x: x.view(-1, 1, 3, 4).repeat(1, 3, 1, 1)[:, 1].flatten(1)}, summed, RIGHT),
}  # fmt: skip
MOVING: dict[str, Case] = {
    "less its mean": ({"at": lambda s, x, t: (x - x.mean((0, 1), keepdim=True))[:, t]}, summed, REFUSED),
    "less its sample's mean": ({"at": lambda s, x, t: (x - 3 * x.mean(1, keepdim=True))[:, t]}, summed, REFUSED),
    "over its deviation": ({"at": lambda s, x, t: (x / x.std((0, 1), keepdim=True))[:, t]}, summed, REFUSED),
    "less a number of it": ({"at": lambda s, x, t: ((x - x.mean().item()) / x.std().item())[:, t]}, summed, REFUSED),
    "with its first timestep": ({"at": lambda s, x, t: (x + 3 * x[:, 0][:, None])[:, t]}, summed, REFUSED),
    "scaled, then shaped": ({"at": lambda s, x, t: (x[:, t] * 2 - 1).view(-1, 3, 4).flatten(1)}, summed, RIGHT),
    "folded, scaled and shaped": (
        {"before": lambda s, x: (x.flatten(0, 1) * 2 - 1).view(-1, 3, 4).flatten(1).view(-1, STEPS, 12),
         "at": lambda s, x, t: x[:, t]}, summed, RIGHT),
    "narrowed from its end": ({"at": lambda s, x, t: x.narrow(1, t - STEPS, 1).squeeze(1)}, summed, RIGHT),
    "unbound by name": ({"before": lambda s, x: x.unbind(dim=1), "at": lambda s, x, t: x[t]}, summed, RIGHT),
    "backwards": ({"at": lambda s, x, t: x.flip(1)[:, t]}, summed, REFUSED),
}  # fmt: skip


def found(methods: dict[str, Any], logits: Callable[[Any], Tensor], x: np.ndarray, encoder: str) -> str:
    """Whether a network is refused, or read as its own forward is on samples that it was not followed on."""
    own_methods = {name: method for name, method in methods.items() if not isinstance(method, nn.Module)}
    with torch.no_grad():
        own = logits(network(**own_methods)(torch.from_numpy(x.copy()))).double().numpy()
    try:
        made = graph_says(network(**own_methods), x, encoder)
    except SneError as error:
        assert error.hint and "internal" not in error.message
        return REFUSED
    scale = own.std() / max(made.std(), 1e-9)
    return RIGHT if (np.abs(made * scale - own).max(axis=1) < 1e-3).mean() >= 0.95 else "misread"


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
@pytest.mark.parametrize("name", STILL)
def test_a_network_is_never_read_as_another(name: str) -> None:
    methods, logits, want = STILL[name]
    assert found(methods, logits, still(), "direct") == want


@pytest.mark.parametrize("name", MOVING)
def test_a_network_of_rasters_is_never_read_as_another(name: str) -> None:
    methods, logits, want = MOVING[name]
    assert found(methods, logits, moving(), "frames") == want


@pytest.mark.parametrize("quiet", ["zeros", "equal"])
def test_the_first_samples_are_as_good_as_any(quiet: str) -> None:
    x = moving()
    x[:5] = 0 if quiet == "zeros" else x[5]
    for methods in (MOVING["with its first timestep"][0], MOVING["less its sample's mean"][0]):
        assert found(methods, summed, x, "frames") == REFUSED


@pytest.mark.parametrize("steps", [2, 3, 12])
def test_layers_along_time_are_no_layers_along_channels(steps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    class Along(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.weight, self.lif = nn.Parameter(torch.randn(steps, steps)), snn.Leaky(beta=0.8)

        def forward(self, x: Tensor) -> Tensor:  # [N, T, C]
            currents, membrane, spikes = 2 * (x.permute(0, 2, 1) @ self.weight), self.lif.init_leaky(), []
            for t in range(steps):
                spike, membrane = self.lif(currents[:, :, t], membrane)
                spikes.append(spike)
            return torch.stack(spikes)

    x = np.random.default_rng(0).random((40, steps, steps), np.float32)
    monkeypatch.setattr("test_idioms.STEPS", steps)
    with pytest.raises(SneError, match=r"across timesteps|cannot be deployed|changes"):
        graph_says(Along(), x, "frames")


def test_a_decision_by_spikes_that_follows_no_sample_is_told_of() -> None:
    net = network(**loop(lambda s, a, m, t: None if a.sum() >= 0 else a.mul_(2)))
    with pytest.warns(SneWarning, match="decides by what its neurons say"):
        graph_says(net, still(), "direct")
