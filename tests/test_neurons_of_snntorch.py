"""Every neuron of snnTorch that is read, with every reset it has: the float graph fires as the neuron's own forward does,
spike for spike, and its integers are exact in C."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import snntorch as snn
import torch
from test_own_networks import exact_in_c
from torch import Tensor, nn

from sne_edge import quantize_network
from sne_edge.errors import SneWarning
from sne_edge.interchange.trace import trace

WIDE = 16  # neurons of each kind
STEPS = 24


def leaks(low: float, high: float) -> Tensor:
    return torch.linspace(low, high, WIDE)


KINDS: dict[str, Callable[..., nn.Module]] = {
    "Leaky": lambda **kw: snn.Leaky(beta=0.8, **kw),
    "Lapicque": lambda **kw: snn.Lapicque(beta=0.8, **{"threshold": 0.1} | kw),
    "Lapicque of R and C": lambda **kw: snn.Lapicque(R=2.0, C=3.0, **{"threshold": 0.2} | kw),
    "Synaptic": lambda **kw: snn.Synaptic(alpha=0.7, beta=0.8, **kw),
    "Alpha": lambda **kw: snn.Alpha(alpha=0.9, beta=0.6, **kw),
    "RLeaky": lambda **kw: snn.RLeaky(beta=0.8, linear_features=WIDE, **kw),
    "RLeaky one to one": lambda **kw: snn.RLeaky(beta=0.8, all_to_all=False, V=-0.4, **kw),
    "RSynaptic": lambda **kw: snn.RSynaptic(alpha=0.7, beta=0.8, linear_features=WIDE, **kw),
    "Leaky by neuron": lambda **kw: snn.Leaky(
        beta=leaks(0.3, 0.99), learn_beta=True, **{"threshold": leaks(1, 2)} | kw
    ),
    "Synaptic by neuron": lambda **kw: snn.Synaptic(
        alpha=leaks(0.2, 0.9), beta=leaks(0.4, 0.95), learn_alpha=True, learn_beta=True, **kw
    ),
    "Alpha by neuron": lambda **kw: snn.Alpha(
        alpha=leaks(0.6, 0.97), beta=leaks(0.2, 0.8), learn_threshold=True, **{"threshold": leaks(0.7, 1.4)} | kw
    ),
}
RESETS = [("subtract", True), ("zero", True), ("none", True), ("subtract", False), ("zero", False)]
AT_ONCE = ("Leaky", "Synaptic", "RLeaky")  # those that take reset_delay, and do not fail with it
CASES = [
    (kind, reset, late) for kind in KINDS for reset, late in RESETS if late or kind.split()[0] in AT_ONCE
]  # fmt: skip


def step(x: Tensor) -> Tensor:
    """A surrogate that keeps to double precision, in which rounding flips no spike."""
    return (x > 0).to(x.dtype)


def network(kind: str, reset: str, late: bool, **kw: Any) -> nn.Module:
    """Two layers of a kind, hidden and decoded."""
    torch.manual_seed(3)
    kw |= {} if late else {"reset_delay": False}
    made = nn.Sequential(
        nn.Linear(20, WIDE), KINDS[kind](reset_mechanism=reset, init_hidden=True, **kw),
        nn.Linear(WIDE, WIDE), KINDS[kind](reset_mechanism=reset, init_hidden=True, **kw),
    )  # fmt: skip
    with torch.no_grad():
        for module in made:
            if isinstance(module, nn.Linear):
                module.weight.mul_(4)
    return made.eval()


def raster(samples: int) -> Tensor:
    return (torch.rand(STEPS, samples, 20, generator=torch.Generator().manual_seed(5)) < 0.25).float()


@pytest.mark.parametrize(("kind", "reset", "late"), CASES)
def test_the_float_graph_fires_as_the_neurons_own_forward_does(kind: str, reset: str, late: bool) -> None:
    own, x = network(kind, reset, late, spike_grad=step).double(), raster(32).double()
    made = trace(own, x.float(), STEPS, time_axis=0)
    run = made.graph.simulate(x[:, :, None, None, :])
    spikes: dict[int, list[Tensor]] = {1: [], 3: []}
    with torch.no_grad():
        for module in own:
            if hasattr(module, "reset_mem"):
                module.reset_mem()
        for now in x:
            for n, module in enumerate(own):
                now = module(now)
                if n in spikes:
                    spikes[n].append(now)
    for n, record in spikes.items():
        want = torch.stack(record)
        assert 50 < want.sum() < 0.95 * want.numel()
        assert torch.equal(run.spikes[str(n)].reshape(want.shape), want)


@pytest.mark.parametrize(("kind", "reset", "late"), CASES)
def test_its_integers_are_the_network_and_exact_in_c(
    kind: str, reset: str, late: bool, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    own, x = network(kind, reset, late), raster(200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)  # untrained logits lie close together
        made = quantize_network(
            own, "own", x.transpose(0, 1).numpy(), timesteps=STEPS, encoder="events", decode="count", fail_below=0.0
        )
    assert made.provenance["correlation"] > 0.97, made.provenance
    assert made.vectors.spikes.sum() > 500
    assert exact_in_c(made, x.numpy()) > 1000
