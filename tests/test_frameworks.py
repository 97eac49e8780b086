"""Networks of Norse, sinabs and SpikingJelly, by what their own exporters write: each fires as it does there, and its
integers are held against the framework's own answer. Skipped where a framework is not installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sne_edge import NirReading, SneError, quantize_network, quantize_nir
from sne_edge.interchange.from_nir import graph_from_nir
from sne_edge.interchange.trace import trace

STEPS, SAMPLES = 30, 64
Made = tuple[nn.Module, Any, NirReading, Callable[[Tensor], Tensor]]


def norse(neuron: str) -> Made:
    library = pytest.importorskip("norse.torch", exc_type=ImportError)
    network = library.SequentialState(
        nn.Linear(12, 24), getattr(library, neuron)(), nn.Linear(24, 3), getattr(library, neuron)()
    )
    strengthen(network, 30)

    def run(x: Tensor) -> Tensor:
        state, count = None, torch.zeros(len(x), 3)
        for now in x.unbind(1):
            out, state = network(now, state)
            count = count + out
        return count

    graph = library.to_nir(network, torch.zeros(12))
    for node in graph.nodes.values():  # Norse adds inputs to a current whole, and does not write that
        if type(node).__name__ == "CubaLIF":
            node.w_in = node.w_in * node.tau_syn / 1e-6
    return network, graph, NirReading(dt=1e-6), run


def sinabs(neuron: str) -> Made:
    layers = pytest.importorskip("sinabs.layers", exc_type=ImportError)
    exporter = pytest.importorskip("sinabs.nir", exc_type=ImportError)
    from sinabs.activation import SingleSpike  # type: ignore[import-not-found]

    options = {"tau_mem": 20.0, "spike_threshold": 0.2} if neuron.startswith("LIF") else {}

    def made() -> Any:
        return getattr(layers, neuron)(num_timesteps=STEPS, spike_fn=SingleSpike, **options)

    network = nn.Sequential(nn.Linear(12, 24), made(), nn.Linear(24, 3), made())
    strengthen(network, 4)

    def run(x: Tensor) -> Tensor:
        for module in network:
            if hasattr(module, "reset_states"):
                module.reset_states(randomize=False)
        out: Tensor = network(x.reshape(-1, 12)).reshape(len(x), STEPS, 3)
        return out.sum(1)

    graph = exporter.to_nir(network, torch.zeros(STEPS, 12))
    return network, graph, NirReading(dt=1.0, reset="subtract", method="exact"), run


def spikingjelly(neuron: str) -> Made:
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange", exc_type=ImportError)
    from spikingjelly.activation_based import functional, layer  # type: ignore[import-not-found]
    from spikingjelly.activation_based import neuron as neurons

    def made() -> Any:
        return getattr(neurons, neuron)()

    network = nn.Sequential(layer.Linear(12, 24), made(), layer.Linear(24, 3), made()).eval()
    strengthen(network, 8)

    def run(x: Tensor) -> Tensor:
        functional.reset_net(network)
        return torch.stack([network(now) for now in x.unbind(1)]).sum(0)

    graph = exchange.export_to_nir(network, torch.zeros(1, 12), dt=1e-4)
    return network, graph, NirReading(dt=1e-4), run


def strengthen(network: nn.Module, factor: float) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1:
                parameter.mul_(factor)


CASES = [
    (norse, "LIFBoxCell"), (norse, "LIFCell"), (sinabs, "IAFSqueeze"), (sinabs, "LIFSqueeze"),
    (spikingjelly, "LIFNode"), (spikingjelly, "IFNode"),
]  # fmt: skip


@pytest.mark.parametrize(("framework", "neuron"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_what_a_framework_exports_fires_as_it_does_there(framework: Callable[[str], Made], neuron: str) -> None:
    torch.manual_seed(0)
    network, exported, reading, run = framework(neuron)
    x = (torch.rand(SAMPLES, STEPS, 12, generator=torch.Generator().manual_seed(1)) < 0.3).float()
    with torch.no_grad():
        want = run(x)
    graph = graph_from_nir(exported, reading)
    spikes = graph.simulate(x.transpose(0, 1)[:, :, None, None, :].double()).spikes[graph.populations[-1].name]
    assert 100 < want.sum() < 0.9 * want.numel() * STEPS
    got = spikes.flatten(2).sum(0)
    assert torch.equal(got, want.double())
    with torch.no_grad():
        made = quantize_nir(
            exported, "own", x.numpy(), timesteps=STEPS, reading=reading, own=run, encoder="events", fail_below=0.0
        )
    assert made.provenance["correlation"] > 0.97
    with pytest.raises(SneError, match="is not followed") as error:
        quantize_network(network, "own", x.numpy(), timesteps=STEPS, encoder="events")
    assert "quantize_nir" in (error.value.hint or "")


class Foreign(nn.Module):
    """A neuron of a framework that has an exporter of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return x


@pytest.mark.parametrize("framework", ["norse", "sinabs", "spikingjelly"])
def test_a_network_of_another_framework_is_told_how_it_comes_in(framework: str, monkeypatch: Any) -> None:
    monkeypatch.setattr(Foreign, "__module__", f"{framework}.neurons")
    with pytest.raises(SneError, match=framework) as error:
        trace(nn.Sequential(nn.Linear(3, 3), Foreign()), torch.from_numpy(np.zeros((2, 3), np.float32)), 3)
    assert "quantize_nir" in (error.value.hint or "")
