"""An `nn.Sequential` is read whatever its layers are, as the same layers in any other module: as a chain where a chain
has all of their settings, else by following it. The witness is the network's own forward, called once a timestep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from test_own_networks import exact_in_c
from torch import nn

from sne_edge import quantize_network
from sne_edge.check.reference import run
from sne_edge.errors import SneError
from sne_edge.interchange.graphs import as_maps
from sne_edge.interchange.modules import is_plain_chain
from sne_edge.interchange.witness import correlation
from sne_edge.ir.ensemble import QuantEnsemble

STEPS = 8


def lif(**options: Any) -> nn.Module:
    made: nn.Module = snn.Leaky(init_hidden=True, **({"beta": 0.8} | options))
    return made


def dense(neurons: nn.Module, *more: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Linear(12, 24), neurons, *more, nn.Linear(24, 4))


def mapped(*layers: nn.Module, places: int) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(places, 4))


def conv(**options: Any) -> nn.Module:
    return nn.Conv2d(2, 4, 3, **options)


class Doubled(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


class Skipping(nn.Sequential):
    """Adds what its second layer takes to what it gives."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for n, module in enumerate(self):
            x = module(x) + x if n == 2 else module(x)
        return x


FOLLOWED: dict[str, Callable[[], nn.Sequential]] = {
    "a late reset to zero": lambda: dense(lif(reset_mechanism="zero")),
    "no reset": lambda: dense(lif(reset_mechanism="none")),
    "a beta by neuron": lambda: dense(lif(beta=torch.linspace(0.1, 0.9, 24))),
    "a threshold by neuron of a map": lambda: mapped(conv(), lif(threshold=torch.rand(4, 8, 12) + 0.5), places=384),
    "linear on linear": lambda: nn.Sequential(nn.Linear(12, 24), nn.Linear(24, 24), lif(), nn.Linear(24, 4)),
    "dilation": lambda: mapped(conv(dilation=2), lif(), places=240),
    "groups": lambda: mapped(conv(groups=2), lif(), places=384),
    "a maximum behind a batch norm": lambda: mapped(conv(), nn.BatchNorm2d(4), nn.MaxPool2d(2), lif(), places=96),
    "an average behind a batch norm": lambda: mapped(conv(), nn.BatchNorm2d(4), nn.AvgPool2d(2), lif(), places=96),
    "a batch norm of the input": lambda: mapped(nn.BatchNorm2d(2), conv(), lif(), places=384),
    "a batch norm of spikes": lambda: dense(lif(), nn.BatchNorm1d(24)),
    "a batch norm last": lambda: nn.Sequential(*dense(lif()), nn.BatchNorm1d(4)),
    "an adaptive average": lambda: mapped(conv(), lif(), nn.AdaptiveAvgPool2d(1), places=4),
    "a subclass of Linear": lambda: nn.Sequential(Doubled(12, 24), lif(), nn.Linear(24, 4)),
    "a subclass of Sequential": lambda: Skipping(nn.Linear(12, 24), lif(), nn.Linear(24, 24), lif(), nn.Linear(24, 4)),
    "thresholds over the width": lambda: mapped(conv(), lif(threshold=torch.linspace(0.5, 2, 12)), places=384),
    "neurons on neurons": lambda: dense(lif(), lif()),
    "neurons on the input": lambda: nn.Sequential(lif(), *dense(lif())),
}
CHAINS: dict[str, Callable[[], nn.Sequential]] = {
    "weights and neurons": lambda: dense(lif()),
    "a batch norm behind weights": lambda: mapped(conv(), nn.BatchNorm2d(4), lif(), nn.AvgPool2d(2), places=96),
    "a threshold by channel": lambda: mapped(conv(), lif(threshold=torch.rand(4, 1, 1) + 0.5), places=384),
    "a reset to zero at once": lambda: dense(lif(reset_mechanism="zero", reset_delay=False)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Linear(12, 24), lif()), nn.Dropout(), nn.Linear(24, 4)),
}


def network(make: Callable[[], nn.Sequential]) -> tuple[nn.Sequential, np.ndarray]:
    """With weights that make it spike and batch norms that do something, and samples as it takes them."""
    torch.manual_seed(0)
    made = make().eval()
    with torch.no_grad():
        for module in made.modules():
            if isinstance(module, nn.Linear | nn.Conv2d):
                module.weight *= 2.5
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.running_mean = torch.rand_like(module.running_mean) - 0.3  # type: ignore[arg-type]
                module.weight.copy_(torch.rand_like(module.weight) + 0.5)
    flat = not any(isinstance(module, nn.Conv2d) for module in made.modules())
    return made, np.random.default_rng(0).random((100, 12) if flat else (100, 2, 10, 14), np.float32)


def own_answers(made: nn.Sequential, samples: np.ndarray) -> np.ndarray:
    for module in made.modules():
        if isinstance(module, snn.Leaky):
            module.reset_mem()
    with torch.no_grad():
        answers = [made(torch.from_numpy(samples)) for _ in range(STEPS)]
    return torch.stack(answers).mean(0).numpy()


def integers(made: QuantEnsemble, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    found = run(made, made.encoder.encode(as_maps(samples, made.encoder.shape, False))).decisions
    return found.label, found.logits


@pytest.mark.parametrize("name", [*FOLLOWED, *CHAINS])
def test_a_sequential_of_any_layers_is_its_own_forward(name: str) -> None:
    made, samples = network((FOLLOWED | CHAINS)[name])
    own = own_answers(made, samples)
    assert own.std(axis=0).max() > 0.01, "a network that says something"
    quantised = quantize_network(made, "own", samples, timesteps=STEPS, warn_below=0.8)
    assert (quantised.students[0].layers == ()) == (name in FOLLOWED), "a chain where it can be one"
    label, logits = integers(quantised, samples)
    assert correlation(logits.astype(float), own.astype(float)) > 0.99
    assert (label == own.argmax(1)).mean() >= 0.9
    assert abs(quantised.provenance["agreement"] - (label == own.argmax(1)).mean()) < 0.011


@pytest.mark.parametrize("name", ["a late reset to zero", "a maximum behind a batch norm", "a batch norm of the input"])
def test_what_was_followed_is_exact_in_c(name: str) -> None:
    made, samples = network(FOLLOWED[name])
    quantised = quantize_network(made, "own", samples, timesteps=STEPS, warn_below=0.8)
    assert exact_in_c(quantised, samples) > 1000


def test_a_chain_is_only_what_has_all_of_a_chains_settings() -> None:
    assert [name for name, make in FOLLOWED.items() if is_plain_chain(make())] == []
    assert [name for name, make in CHAINS.items() if not is_plain_chain(make())] == []


def test_bits_are_refused_and_a_layout_is_obeyed_where_a_sequential_is_followed() -> None:
    made, samples = network(FOLLOWED["dilation"])
    with pytest.raises(SneError, match="weights have 8 bits"):
        quantize_network(made, "own", samples, timesteps=STEPS, bits=4)
    usual = quantize_network(made, "own", samples, timesteps=STEPS)
    turned = np.ascontiguousarray(np.moveaxis(samples, 1, -1))
    other = quantize_network(made, "own", turned, timesteps=STEPS, layout="NHWC")
    assert other.provenance["agreement"] == usual.provenance["agreement"]
    assert np.array_equal(other.vectors.inputs, usual.vectors.inputs)


class Readout(nn.Module):
    """Membranes of neurons that are not to fire."""

    def __init__(self, threshold: float, reset: str = "subtract") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc1, self.fc2 = nn.Linear(12, 24), nn.Linear(24, 4)
        self.lif1 = snn.Leaky(beta=0.8)
        self.lif2 = snn.Leaky(beta=0.9, threshold=threshold, reset_mechanism=reset)
        with torch.no_grad():
            for layer in (self.fc1, self.fc2):
                layer.weight *= 2.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        one, two, membranes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(STEPS):
            spikes, one = self.lif1(self.fc1(x), one)
            _, two = self.lif2(self.fc2(spikes), two)
            membranes.append(two)
        return torch.stack(membranes)


def test_a_threshold_that_is_never_met_costs_a_readout_no_precision() -> None:
    samples = np.random.default_rng(0).random((100, 12), np.float32)
    plain = quantize_network(Readout(1.0, "none"), "own", samples, timesteps=STEPS)
    for threshold in (1e2, 1e4, 1e9):
        made = quantize_network(Readout(threshold), "own", samples, timesteps=STEPS)
        assert made.provenance["correlation"] > 0.999
        assert made.provenance["agreement"] >= plain.provenance["agreement"] - 0.02
    fires = quantize_network(Readout(1.0), "own", samples, timesteps=STEPS, fail_below=0, warn_below=0)
    assert fires.students[0].graph.populations[-1].neuron.spikes  # type: ignore[union-attr]


def test_one_output_is_told_of_two_and_of_regression() -> None:
    one = nn.Sequential(nn.Linear(12, 24), lif(), nn.Linear(24, 1))
    with pytest.raises(SneError, match="1 classes") as refused:
        quantize_network(one, "own", np.random.default_rng(0).random((20, 12)), timesteps=STEPS)
    assert "two outputs" in refused.value.hint and "--regression" in refused.value.hint


@pytest.mark.parametrize("steps", [1, STEPS])
def test_a_softmax_of_one_timestep_is_read_and_an_average_of_many_is_refused(steps: int) -> None:
    made = nn.Sequential(*network(lambda: dense(lif()))[0], nn.Softmax(1))
    samples = np.random.default_rng(0).random((50, 12), np.float32)
    if steps == 1:
        assert quantize_network(made, "own", samples, timesteps=1).provenance["agreement"] > 0.9
        return
    with pytest.raises(SneError, match="softmax: of each timestep"):
        quantize_network(made, "own", samples, timesteps=steps)
