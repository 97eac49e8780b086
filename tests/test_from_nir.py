"""NIR graphs, read: held against the frameworks that wrote them, and against NIR's equations in plain numbers."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from snntorch.export_nir import export_to_nir
from torch import nn

from sne_edge.errors import SneError
from sne_edge.interchange.from_nir import Reading, graph_from_nir, read_nir, summary
from sne_edge.learn.graph import FloatDecoder, FloatGraph

DT = 1e-4  # snnTorch's
SNNTORCH = Reading(dt=DT, reset="subtract", late=True)


def lif(n: int, **changes: Any) -> nir.LIF:
    fields = {
        "tau": np.full(n, 2.5e-3),
        "r": np.ones(n),
        "v_leak": np.zeros(n),
        "v_reset": np.zeros(n),
        "v_threshold": np.full(n, 0.1),
    }
    return nir.LIF(**(fields | changes))


def chain(*nodes: Any, shape: tuple[int, ...]) -> nir.NIRGraph:
    names = [f"{i}" for i in range(len(nodes))]
    every = ["input", *names, "output"]
    return nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array(shape)}),
            **dict(zip(names, nodes, strict=True)),
            "output": nir.Output({"output": np.array(shape)}),
        },
        edges=list(pairwise(every)),
        type_check=False,
    )


def spikes(graph: FloatGraph, raster: np.ndarray) -> np.ndarray:
    """[T, N, neurons] of the last population on [T, N, inputs], in torch's order."""
    height, width, channels = graph.input_shape
    steps, count = raster.shape[:2]
    x = torch.from_numpy(raster.reshape(steps, count, channels, height, width)).double().permute(0, 1, 3, 4, 2)
    made = graph.simulate(x).spikes[graph.populations[-1].name]
    return made.permute(0, 1, 4, 2, 3).flatten(2).numpy()


def test_a_lif_neuron_follows_nirs_equation_by_euler_and_spikes_like_a_loop_over_it() -> None:
    rng = np.random.default_rng(0)
    raster = (rng.random((1000, 8, 1)) < 0.3) * 0.7
    graph = graph_from_nir(chain(nir.Affine(np.array([[1.0]]), np.array([0.01])), lif(1), shape=(1,)), Reading(dt=DT))
    v, want = np.zeros((8, 1)), []
    for x in raster:
        v = v + DT / 2.5e-3 * (0 - v + (x + 0.01))
        want.append(v > 0.1)
        v = np.where(want[-1], 0, v)
    assert np.sum(want) > 100
    np.testing.assert_array_equal(spikes(graph, raster), np.array(want))


def test_an_exact_step_is_the_solution_for_a_constant_input() -> None:
    graph = graph_from_nir(
        chain(nir.Linear(np.array([[1.0]])), lif(1, v_threshold=np.array([9.0])), shape=(1,)),
        Reading(dt=DT, method="exact"),
    )
    made = graph.simulate(torch.ones(50, 1, 1, 1, 1, dtype=torch.float64)).membranes["1"].ravel().numpy()
    np.testing.assert_allclose(made, 1 - np.exp(-np.arange(1, 51) * DT / 2.5e-3), rtol=1e-12)


def test_resting_and_resetting_elsewhere_than_at_0_is_a_shift_of_the_membrane() -> None:
    rng = np.random.default_rng(1)
    raster = rng.random((400, 4, 1))
    node = lif(1, v_leak=np.array([-0.02]), v_reset=np.array([-0.05]), r=np.array([1.5]))
    graph = graph_from_nir(chain(nir.Linear(np.array([[0.4]])), node, shape=(1,)), Reading(dt=DT))
    v, want = np.full((4, 1), -0.05), []
    for x in raster:
        v = v + DT / 2.5e-3 * (-0.02 - v + 1.5 * 0.4 * x)
        want.append(v > 0.1)
        v = np.where(want[-1], -0.05, v)
    assert np.sum(want) > 20
    np.testing.assert_array_equal(spikes(graph, raster), np.array(want))


class Chain(nn.Module):
    """Layers with hidden states, in order."""

    def __init__(self, *layers: nn.Module) -> None:
        super().__init__()
        self.layers = nn.Sequential(*layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layers(x)
        return out


def run_snntorch(network: nn.Module, raster: np.ndarray) -> np.ndarray:
    """[T, N, neurons]: spikes of a network with hidden states."""
    for module in network.modules():
        for name in ("reset_mem", "reset_hidden"):
            if hasattr(module, name):
                getattr(module, name)()
    with torch.no_grad():
        out = [network(torch.from_numpy(x).float()) for x in raster]
    return torch.stack([o[0] if isinstance(o, tuple) else o for o in out]).flatten(2).numpy()


def leaky(**kw: Any) -> snn.Leaky:
    return snn.Leaky(init_hidden=True, **kw)


def each(value: float, n: int) -> torch.Tensor:
    """A parameter for every neuron: the exporter of snnTorch writes what NIR takes only of these."""
    return torch.full((n,), value)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (
            lambda: [
                nn.Linear(12, 20), leaky(beta=each(0.9, 20), threshold=each(1.0, 20)),
                nn.Linear(20, 5), leaky(beta=each(0.7, 5), threshold=each(0.6, 5)),
            ],
            (12,),
        ),
        (
            lambda: [
                nn.Linear(12, 20, bias=False), leaky(beta=torch.linspace(0.3, 0.95, 20), threshold=each(0.9, 20)),
                nn.Linear(20, 5), leaky(beta=each(0.5, 5), threshold=torch.linspace(0.05, 0.3, 5)),
            ],
            (12,),
        ),
        (
            lambda: [
                nn.Linear(12, 20),
                snn.Synaptic(alpha=each(0.8, 20), beta=each(0.6, 20), threshold=each(1.0, 20), init_hidden=True),
                nn.Linear(20, 5), leaky(beta=each(0.5, 5), threshold=each(1.0, 5)),
            ],
            (12,),
        ),
    ],
    ids=["leaky", "beta by neuron", "synaptic"],
)  # fmt: skip
def test_what_snntorch_writes_spikes_as_snntorch_does(make: Any, shape: tuple[int, ...]) -> None:
    torch.manual_seed(3)
    network = Chain(*make()).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(2.0)
    raster = (np.random.default_rng(4).random((30, 5, *shape)) < 0.4).astype(np.float64)
    want = run_snntorch(network, raster)
    written = export_to_nir(network, torch.from_numpy(raster[0, 0]).float())
    graph = graph_from_nir(written, SNNTORCH)
    assert want.sum() > 20
    np.testing.assert_array_equal(spikes(graph, raster.reshape(30, 5, -1)), want)


def test_a_convolutional_chain_spikes_as_snntorch_s_modules_do() -> None:
    torch.manual_seed(7)
    conv, dense = nn.Conv2d(2, 6, 3, padding=1, stride=2), nn.Linear(6 * 2 * 3, 5)
    network = Chain(
        conv, leaky(beta=0.8, threshold=0.5), nn.AvgPool2d(2), nn.Flatten(), dense, leaky(beta=0.9, threshold=0.2)
    )

    def plain(beta: float, threshold: float, shape: tuple[int, ...]) -> nir.LIF:
        tau = np.full(shape, DT / (1 - beta))
        return nir.LIF(tau, tau / DT, np.zeros(shape), np.full(shape, threshold), np.zeros(shape))

    own = [p.detach().double().numpy() for p in (conv.weight, conv.bias, dense.weight, dense.bias)]
    graph = chain(
        nir.Conv2d((8, 12), own[0], 2, 1, 1, 1, own[1]), plain(0.8, 0.5, (6, 4, 6)),
        nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([6, 2, 3])}, 0, 2), nir.Affine(own[2], own[3]), plain(0.9, 0.2, (5,)),
        shape=(2, 8, 12),
    )  # fmt: skip
    raster = (np.random.default_rng(8).random((30, 5, 2, 8, 12)) < 0.4).astype(np.float64)
    want = run_snntorch(network, raster)
    assert want.sum() > 20
    np.testing.assert_array_equal(spikes(graph_from_nir(graph, SNNTORCH), raster.reshape(30, 5, -1)), want)


def test_a_recurrent_population_hears_itself_one_timestep_later() -> None:
    rng = np.random.default_rng(5)
    into, back = rng.normal(size=(6, 4)) * 0.9, rng.normal(size=(6, 6)) * 0.5
    n = 6
    inner = nir.NIRGraph(
        nodes={
            "input": nir.Input({"input": np.array([n])}),
            "lif": lif(n, r=np.full(n, 25.0), v_threshold=np.ones(n)),
            "w_rec": nir.Linear(back),
            "output": nir.Output({"output": np.array([n])}),
        },
        edges=[("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")],
        type_check=False,
    )
    raster = (rng.random((40, 3, 4)) < 0.5).astype(np.float64)
    graph = graph_from_nir(chain(nir.Linear(into), inner, shape=(4,)), Reading(dt=DT))
    assert [(q.source, q.delay) for q in graph.populations[0].projections] == [("", 0), ("1.lif", 1)]
    v, s, want = np.zeros((3, n)), np.zeros((3, n)), []
    for x in raster:
        v = v * (1 - DT / 2.5e-3) + x @ into.T + s @ back.T
        s = (v > 1).astype(float)
        v = np.where(s > 0, 0, v)
        want.append(s)
    assert 20 < np.sum(want) < 40 * 3 * n * 0.9
    np.testing.assert_array_equal(spikes(graph, raster), np.array(want))


def test_skips_delays_scales_and_sum_pools_add_up() -> None:
    rng = np.random.default_rng(6)
    conv = rng.normal(size=(3, 2, 3, 3))
    skip, dense = rng.normal(size=(4, 2 * 4 * 4)), rng.normal(size=(4, 3 * 2 * 2))
    bias = rng.normal(size=4) * 0.1
    one = {"r": np.ones((3, 4, 4)), "v_threshold": np.full((3, 4, 4), 0.8), "v_reset": np.zeros((3, 4, 4))}
    graph = nir.NIRGraph(
        nodes={
            "in": nir.Input({"input": np.array([2, 4, 4])}),
            "conv": nir.Conv2d((4, 4), conv, 1, 1, 1, 1, np.zeros(3)),
            "if": nir.IF(**one),
            "scale": nir.Scale(np.array([0.5, 1.0, 2.0])[:, None, None] * np.ones((3, 4, 4))),
            "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            "flat": nir.Flatten({"input": np.array([3, 2, 2])}, 0, 2),
            "dense": nir.Affine(dense, bias),
            "late": nir.Delay(np.full(1, 3 * DT)),
            "flat2": nir.Flatten({"input": np.array([2, 4, 4])}, 0, 2),
            "skip": nir.Linear(skip),
            "last": nir.IF(r=np.ones(4), v_threshold=np.full(4, 2.0), v_reset=np.zeros(4)),
            "out": nir.Output({"output": np.array([4])}),
        },
        edges=[
            ("in", "conv"), ("conv", "if"), ("if", "scale"), ("scale", "pool"), ("pool", "flat"), ("flat", "dense"),
            ("dense", "last"), ("in", "late"), ("late", "flat2"), ("flat2", "skip"), ("skip", "last"), ("last", "out"),
        ],
        type_check=False,
    )  # fmt: skip
    raster = (rng.random((25, 2, 2, 4, 4)) < 0.4).astype(np.float64)
    made = graph_from_nir(graph, Reading(dt=DT))
    v, u, want = np.zeros((2, 3, 4, 4)), np.zeros((2, 4)), []
    for t, x in enumerate(raster):
        v = v + nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(conv), padding=1).numpy()
        s = (v > 0.8).astype(float)
        v = np.where(s > 0, 0, v)
        scaled = s * np.array([0.5, 1.0, 2.0])[:, None, None]
        pooled = scaled.reshape(2, 3, 2, 2, 2, 2).sum(axis=(3, 5)).reshape(2, -1)
        before = raster[t - 3].reshape(2, -1) if t >= 3 else np.zeros((2, 32))
        u = u + pooled @ dense.T + bias + before @ skip.T
        want.append(u > 2)
        u = np.where(want[-1], 0, u)
    assert np.sum(want) > 20
    np.testing.assert_array_equal(spikes(made, raster.reshape(25, 2, -1)), np.array(want))


def test_weights_alone_at_the_end_are_a_mean_over_time_and_a_leaky_integrator_a_membrane() -> None:
    head = chain(nir.Linear(np.ones((3, 2))), lif(3), nir.Affine(np.ones((2, 3)), np.zeros(2)), shape=(2,))
    assert graph_from_nir(head, Reading(dt=DT)).decoder == FloatDecoder("current")
    li = nir.LI(tau=np.full(3, 1e-2), r=np.ones(3), v_leak=np.zeros(3))
    assert graph_from_nir(chain(nir.Linear(np.ones((3, 2))), li, shape=(2,)), Reading(dt=DT)).decoder.kind == "membrane"
    count = graph_from_nir(chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)), Reading(dt=DT))
    assert count.decoder == FloatDecoder("count")
    assert len(list(summary(count))) == 1


def test_membranes_above_another_rest_are_not_decoded() -> None:
    raised = chain(nir.Linear(np.ones((3, 2))), lif(3, v_reset=np.array([-0.2, 0, 0.05])), shape=(2,))
    assert graph_from_nir(raised, Reading(dt=DT)).decoder == FloatDecoder("count")
    for take in ("mean", "final", "highest"):
        with pytest.raises(SneError, match="its membranes are decoded, and v_reset is not 0"):
            graph_from_nir(raised, Reading(dt=DT, decode=FloatDecoder("membrane", take)))  # type: ignore[arg-type]
    zero = chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,))
    assert graph_from_nir(zero, Reading(dt=DT, decode=FloatDecoder("membrane"))).decoder.kind == "membrane"


def test_a_node_named_readout_is_what_it_is() -> None:
    head = chain(nir.Linear(np.ones((3, 2))), lif(3), nir.Linear(np.ones((3, 3))), shape=(2,))
    nodes = {{"1": "readout"}.get(name, name): node for name, node in head.nodes.items()}
    edges = [tuple({"1": "readout"}.get(end, end) for end in edge) for edge in head.edges]
    named = graph_from_nir(nir.NIRGraph(nodes=nodes, edges=edges, type_check=False), Reading(dt=DT))
    assert [p.name for p in named.populations] == ["readout", "readout_"]
    assert named.populations[1].projections[0].source == "readout"


@pytest.mark.parametrize(
    ("graph", "reading", "message"),
    [
        (chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)), Reading(), "no timestep was given"),
        (chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)), Reading(dt=5e-3), "below the timestep"),
        (chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)), Reading(dt=-1), "is none"),
        (chain(nir.Linear(np.ones((3, 5))), lif(3), shape=(2,)), Reading(dt=DT), "weights"),
        (chain(nir.Linear(np.ones((3, 2))), lif(3, v_reset=np.ones(3) * 0.01), shape=(2,)), SNNTORCH, "v_reset"),
        (chain(nir.Linear(np.ones((3, 2))), nir.Threshold(np.ones(3)), shape=(2,)), Reading(dt=DT), "Threshold"),
        (chain(nir.Linear(np.ones((3, 2))), nir.I(np.ones(3)), shape=(2,)), Reading(dt=DT), "supported|no such node"),
        (
            chain(nir.Delay(np.full(2, np.inf)), nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)),
            Reading(dt=DT),
            "whole",
        ),
    ],
)
def test_what_cannot_be_read_is_refused_by_node_and_says_what_to_do(
    graph: nir.NIRGraph, reading: Reading, message: str
) -> None:
    with pytest.raises(SneError, match=message) as error:
        graph_from_nir(graph, reading)
    assert error.value.hint


def test_a_file_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.nir"
    path.write_bytes(b"no hdf5")
    with pytest.raises(SneError, match="no NIR file"):
        read_nir(path)
    nir.write(path, chain(nir.Linear(np.ones((3, 2))), lif(3), shape=(2,)))
    assert read_nir(path, Reading(dt=DT)).classes == 3
