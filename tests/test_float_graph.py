"""The float graph computes what the frameworks compute whose networks it holds, and refuses what it cannot be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from sne_edge.learn.graph import (
    INPUT,
    FloatDecoder,
    FloatGraph,
    FloatPool,
    FloatPopulation,
    FloatProjection,
    channel_last,
    dense_kernel,
    ordered,
)

STEPS = 12


@pytest.fixture(autouse=True)
def double_precision() -> Any:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def array(x: Any) -> np.ndarray:
    return torch.as_tensor(x).detach().double().numpy()


def dense(name: str, layer: nn.Linear, neurons: snn.SpikingNeuron, *more: FloatProjection) -> FloatPopulation:
    reset = neurons.reset_mechanism
    return FloatPopulation(
        name=name,
        shape=(1, 1, layer.out_features),
        projections=(FloatProjection(INPUT, "linear", array(layer.weight)), *more),
        beta=array(neurons.beta),
        alpha=array(neurons.alpha) if isinstance(neurons, snn.Synaptic) else None,
        threshold=array(neurons.threshold),
        bias=array(layer.bias),
        reset=reset,
        reset_delay=bool(neurons.reset_delay) and reset != "none",
    )


def assert_same(graph: FloatGraph, x: torch.Tensor, spikes: torch.Tensor, membranes: torch.Tensor) -> None:
    trace = graph.simulate(x)
    last = graph.populations[-1].name
    assert 0.02 < float(spikes.mean()) < 0.98
    assert torch.equal(trace.spikes[last].flatten(2), spikes)
    torch.testing.assert_close(trace.membranes[last].flatten(2), membranes, rtol=0, atol=1e-12)
    torch.testing.assert_close(trace.logits, spikes.sum(0))


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("kind", ["leaky", "synaptic"])
def test_neurons_spike_as_snntorchs_do(kind: str, reset: str, delay: bool) -> None:
    if kind == "synaptic" and not (reset != "zero" and delay):
        delay, reset = True, "subtract"
    layer = nn.Linear(6, 9)
    # high where the reset is at once: snnTorch takes a threshold off before the next test of a membrane still above it
    shared = {"threshold": torch.rand(9) * 0.4 + (0.1 if delay else 0.8), "reset_mechanism": reset}
    beta = torch.rand(9)
    neurons = (
        snn.Leaky(beta, reset_delay=delay, **shared)
        if kind == "leaky"
        else snn.Synaptic(alpha=torch.rand(9), beta=beta, **shared)
    )
    if kind == "synaptic":
        neurons.reset_delay = True
    x = torch.randn(STEPS, 4, 6)
    state = neurons.reset_mem()
    state = state if isinstance(state, tuple) else (state,)
    spikes, membranes = [], []
    for t in range(STEPS):
        spike, *state = neurons(layer(x[t]), *state)
        spikes.append(spike.double())
        membranes.append(state[-1])
    graph = FloatGraph((1, 1, 6), (dense("a", layer, neurons),), FloatDecoder("count"))
    assert_same(graph, x[:, :, None, None], torch.stack(spikes).detach(), torch.stack(membranes).detach())


def test_recurrence_is_snntorchs_own_spikes_a_timestep_later() -> None:
    layer, neurons = nn.Linear(6, 9), snn.RLeaky(0.75, linear_features=9, threshold=0.25, reset_delay=True)
    back = FloatProjection("a", "linear", array(neurons.recurrent.weight), delay=1)
    population = dense("a", layer, neurons, back)
    bias = population.bias  # snnTorch's recurrent layer brings its bias at every timestep too
    population = FloatPopulation(
        **{**population.__dict__, "bias": bias + array(neurons.recurrent.bias)}  # type: ignore[arg-type]
    )
    x = torch.randn(STEPS, 4, 6)
    spike, membrane = neurons.init_rleaky()
    spikes, membranes = [], []
    for t in range(STEPS):
        spike, membrane = neurons(layer(x[t]), spike.double(), membrane)
        spikes.append(spike.double())
        membranes.append(membrane)
    graph = FloatGraph((1, 1, 6), (population,), FloatDecoder("count"))
    assert_same(graph, x[:, :, None, None], torch.stack(spikes).detach(), torch.stack(membranes).detach())


@pytest.mark.parametrize("kind", ["average", "maximum"])
def test_pooling_before_neurons_and_grouped_dilated_convolutions_are_torchs(kind: str) -> None:
    """snnTorch's tutorial: convolution, pooling, Leaky, then a linear layer on the flattened spikes."""
    conv = nn.Conv2d(4, 6, 3, padding=2, groups=2, dilation=2)
    pool: nn.Module = nn.AvgPool2d(2) if kind == "average" else nn.MaxPool2d(2)
    first, second = snn.Leaky(0.625, threshold=0.25), snn.Leaky(0.875, threshold=0.25)
    linear = nn.Linear(6 * 3 * 2, 5)
    x = torch.randn(STEPS, 3, 4, 6, 5)
    mem1, mem2 = first.reset_mem(), second.reset_mem()
    spikes, membranes = [], []
    for t in range(STEPS):
        spike, mem1 = first(pool(conv(x[t])), mem1)
        spike, mem2 = second(linear(spike.double().flatten(1)), mem2)
        spikes.append(spike.double())
        membranes.append(mem2)
    shape = (3, 2, 6)
    shared: dict[str, Any] = {"reset": "subtract", "reset_delay": True, "threshold": np.array(0.25)}
    into = FloatProjection(
        INPUT,
        "conv",
        dense_kernel(array(conv.weight), groups=2, dilation=(2, 2)),
        padding=(2, 2),
        current_pool=FloatPool(kind, (2, 2), (2, 2)),  # type: ignore[arg-type]
    )
    populations = (
        FloatPopulation("conv", shape, (into,), np.array(0.625), bias=array(conv.bias), **shared),
        FloatPopulation(
            "out",
            (1, 1, 5),
            (FloatProjection("conv", "linear", channel_last(array(linear.weight), shape)),),
            np.array(0.875),
            bias=array(linear.bias),
            **shared,
        ),
    )
    graph = FloatGraph((6, 5, 4), populations, FloatDecoder("count"))
    assert_same(graph, x.movedim(2, -1), torch.stack(spikes).detach(), torch.stack(membranes).detach())


@pytest.mark.parametrize(
    ("decoder", "want"),
    [
        (FloatDecoder("count"), [1.0, 2.0]),
        (FloatDecoder("count", leak=0.5), [0.5, 1.5]),
        (FloatDecoder("first"), [2.0, 3.0]),
        (FloatDecoder("membrane", "final"), [0.75, 0.0]),
        (FloatDecoder("membrane", "highest"), [0.75, 0.25]),
        (FloatDecoder("membrane", "mean"), [(0.75 + 0.0 + 0.75) / 3, (0.25 + 0.0 + 0.0) / 3]),
    ],
)
def test_decoders_give_what_their_docstring_says(decoder: FloatDecoder, want: list[float]) -> None:
    shared: dict[str, Any] = {"beta": np.array(1.0), "threshold": np.array(1.0), "reset": "zero"}
    weight = np.array([[0.75], [1.25]])
    population = FloatPopulation("out", (1, 1, 2), (FloatProjection(INPUT, "linear", weight),), **shared)
    x = torch.tensor([1.0, 1.0, 1.0]).reshape(3, 1, 1, 1, 1)
    if decoder.kind == "membrane":  # second neuron: 0.25, then spikes twice
        x = x.expand(3, 1, 1, 1, 2).clone()
        x[0, ..., 1] = 0.2
        diagonal = FloatProjection(INPUT, "identity", np.array([0.75, 1.25]))
        population = FloatPopulation("out", (1, 1, 2), (diagonal,), **shared)
    elif decoder.kind != "membrane":  # second neuron: silent at first only under `count`
        x[0] = 1.0 if decoder.kind == "first" else 0.5
    graph = FloatGraph((1, 1, x.shape[-1]), (population,), decoder)
    np.testing.assert_allclose(graph.simulate(x).logits[0].numpy(), want)


def test_the_mean_current_of_a_linear_readout_are_the_logits_of_a_chain() -> None:
    layer, readout, neurons = nn.Linear(6, 9), nn.Linear(9, 3), snn.Leaky(0.5, threshold=0.2)
    graph = FloatGraph(
        (1, 1, 6),
        (
            dense("hidden", layer, neurons),
            FloatPopulation(
                "out",
                (1, 1, 3),
                (FloatProjection("hidden", "linear", array(readout.weight)),),
                np.ones(()),
                None,
                array(readout.bias),
                reset="none",
            ),
        ),
    )
    x = torch.randn(4, 6)
    trace = graph.simulate(x[:, None, None], timesteps=STEPS)
    want = readout(trace.spikes["hidden"].flatten(2)).mean(0).detach()
    torch.testing.assert_close(trace.logits, want)


def population(name: str, *projections: FloatProjection, **changes: Any) -> FloatPopulation:
    given = {"beta": np.array(0.5), "threshold": np.array(1.0)} | changes
    return FloatPopulation(name, (1, 1, 3), projections, **given)


def one(source: str, delay: int = 0) -> FloatProjection:
    return FloatProjection(source, "identity", np.ones(3), delay=delay)


def test_populations_are_put_in_order_and_a_cycle_without_delay_is_refused() -> None:
    a, b, c = population("a", one(INPUT), one("c", 1)), population("b", one("a")), population("c", one("b"), one("a"))
    assert [p.name for p in ordered((c, b, a), "c")] == ["a", "b", "c"]
    assert FloatGraph((1, 1, 3), ordered((b, c, a), "c"), FloatDecoder("count")).classes == 3
    with pytest.raises(ValueError, match="cycle without delay runs through a, b"):
        ordered((population("a", one("b")), population("b", one("a"))), "b")
    with pytest.raises(ValueError, match="a cycle needs a delay"):
        FloatGraph((1, 1, 3), (population("a", one("a")),), FloatDecoder("count"))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: population("a", beta=np.array(1.5)), "beta is not 0..1"),
        (lambda: population("a", threshold=np.zeros(3)), "threshold must be positive"),
        (lambda: population("a", threshold=np.ones(2)), "give one number, 3 or"),
        (lambda: population("a", bias=np.full(3, np.nan)), "bias is not finite"),
        (lambda: population("a", threshold=None), "never spikes, so it has no reset"),
        (lambda: population(INPUT), "has a name"),
        (lambda: FloatGraph((1, 1, 3), (population("a", one("b", 1)),)), "there is no such population"),
        (lambda: FloatGraph((1, 1, 2), (population("a", one(INPUT)),)), "takes 3 channels, not 2"),
        (lambda: FloatGraph((1, 1, 3), (population("a", one(INPUT)),)), "is no linear readout"),
        (lambda: FloatGraph((1, 1, 3), (population("a"), population("a"))), "the same name"),
        (lambda: FloatProjection(INPUT, "linear", np.full((1, 1), np.inf)), "not all finite"),
        (lambda: FloatProjection(INPUT, "conv", np.ones((1, 1))), "has 4 axes"),
        (lambda: FloatDecoder("first", leak=0.5), "does not leak"),
    ],
)
def test_what_cannot_be_a_graph_is_refused_when_it_is_made(make: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()
