"""Float graphs become integers: exactly where their numbers are whole, and as chains do where they are chains."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from sne_edge.check import reference
from sne_edge.errors import SneError
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.graph import Graph
from sne_edge.ir.layers import Conv
from sne_edge.learn.graph import (
    INPUT,
    FloatDecoder,
    FloatGraph,
    FloatPool,
    FloatPopulation,
    FloatProjection,
    channel_last,
)
from sne_edge.quantize.graph import float_inputs, quantize_graph


def whole(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    """Whole weights that reach 127 in every output channel, so that one is one unit."""
    weight = np.random.default_rng(rng.getrandbits(32)).integers(-40, 60, shape).astype(np.float64)
    weight.reshape(len(weight), -1)[:, 0] = rng.choice((127.0, -127.0))
    return weight


def whole_graph(rng: random.Random, encoder: Encoder) -> FloatGraph:
    """A graph of whole weights without leaks, or with leaks that keep nothing: its integers lose nothing."""
    height, width, depth = encoder.shape
    pool = None if rng.random() < 0.3 else FloatPool(rng.choice(("average", "maximum")), (2, 2), (2, 2))  # type: ignore[arg-type]
    op = rng.choice(("conv", "depthwise"))
    reach = 1 if pool and pool.kind == "average" else 3  # overlapping taps of an average would add up to other units
    weight = whole(rng, (depth if op == "depthwise" else 3, 1 if op == "depthwise" else depth, reach, reach))
    padding = (reach // 2, reach // 2)
    into = FloatProjection(INPUT, op, weight, padding=padding, current_pool=pool)  # type: ignore[arg-type]
    shape = (height // 2, width // 2, len(weight)) if pool else (height, width, len(weight))
    around = [
        FloatProjection("a", "identity", np.full(shape[2], 1.0), delay=1),
        FloatProjection("a", "conv", whole(rng, (shape[2], shape[2], 1, 1)), delay=rng.choice((1, 2))),
    ]

    def neurons(
        name: str, shape: tuple[int, int, int], *projections: FloatProjection, **changes: Any
    ) -> FloatPopulation:
        each = rng.choice(((), (shape[2],), shape))
        threshold = np.random.default_rng(rng.getrandbits(32)).integers(100, 400, each).astype(np.float64)
        reset = rng.choice(("subtract", "zero", "none"))
        fields: dict[str, Any] = {
            "beta": np.array(rng.choice((0.0, 1.0))),
            "alpha": rng.choice((None, None, np.zeros(()), np.array(float(encoder.kind != "events")))),
            "threshold": np.round(threshold),
            "bias": np.array(float(rng.randint(-30, 30))),
            "reset": reset,
            "reset_delay": reset != "none" and rng.random() < 0.5,
        }
        return FloatPopulation(name, shape, projections, **fields | changes)

    first = neurons("a", shape, into, *rng.sample(around, rng.randint(0, 2)))
    pools = rng.choice(((), (FloatPool("average", (2, 2), (1, 1)),), (FloatPool("maximum", (2, 1), (1, 1)),)))
    pooled = FloatProjection("a", "identity", np.ones(shape[2]), pools=pools).pooled_shape(shape)
    out = FloatProjection("a", "linear", whole(rng, (4, int(np.prod(pooled)))), pools=pools)
    kind = rng.choice(("current", "count", "membrane", "first"))
    if kind == "current":
        plain: dict[str, Any] = {"beta": np.ones(()), "alpha": None, "threshold": None, "reset": "none"}
        last = neurons("out", (1, 1, 4), out, **plain, reset_delay=False)
    else:
        last = neurons("out", (1, 1, 4), out)
    take = rng.choice(("final", "highest", "mean")) if kind == "membrane" else "final"
    return FloatGraph(encoder.shape, (first, last), FloatDecoder(kind, take))  # type: ignore[arg-type]


def test_whole_weights_without_leaks_lose_nothing() -> None:
    examined: Counter[str] = Counter()
    fired = 0
    for seed in range(80):
        rng = random.Random(seed)
        kind = rng.choice(("direct", "rate", "events", "frames"))
        encoder = Encoder(kind, (4, 4, rng.choice((1, 2))), 5)
        graph = whole_graph(rng, encoder)
        numbers = np.random.default_rng(seed)
        steps = (5,) if kind in ("events", "frames") else ()
        low, high = (0, 2) if kind == "events" else (-3, 90)
        x = numbers.integers(low, high, (6, *steps, encoder.size)).astype(np.float64)
        made = quantize_graph(graph, "whole", encoder, x)
        inputs = encoder.encode(x)
        trace = graph.simulate(float_inputs(encoder, inputs))
        got = reference.run_student(made, 0, inputs)
        want = [
            trace.spikes[p.name].sum(dim=(0, 2, 3, 4)).tolist() for p in graph.populations if p.threshold is not None
        ]
        assert got.spikes.T.tolist() == want
        logits = got.part * made.logit_scale
        tolerance = 0 if made.students[0].gain.max() == 1 else 1e-3
        np.testing.assert_allclose(logits, trace.logits.numpy(), rtol=tolerance + 1e-12, atol=1e-6)
        assert made.provenance["agreement"] == 1.0
        fired += int(got.spikes.sum())
        cuba = any(p.alpha is not None for p in graph.populations)
        examined.update([kind, graph.decoder.kind, *(["cuba"] if cuba else [])])
        examined.update(q.current_pool.kind for q in graph.populations[0].projections if q.current_pool)
    assert fired > 10_000
    names = (
        "direct",
        "rate",
        "events",
        "frames",
        "current",
        "count",
        "membrane",
        "first",
        "cuba",
        "average",
        "maximum",
    )
    assert min(examined[name] for name in names) >= 6, examined


def test_a_chain_as_a_graph_makes_the_chains_own_spikes_and_labels() -> None:
    torch.manual_seed(0)
    conv, linear = nn.Conv1d(2, 6, 3, padding=1), nn.Linear(6 * 5, 4)
    lif = snn.Leaky(1 - 2**-6, init_hidden=True, threshold=1.0)
    network = nn.Sequential(conv, lif, nn.AvgPool1d(2), nn.Flatten(), linear)
    x = np.random.default_rng(0).normal(size=(40, 1, 10, 2))
    chain = quantize_network(network, "chain", x, timesteps=60)
    first = chain.students[0].layers[0]
    assert isinstance(first, Conv)
    assert (first.current_shift, first.width) == (0, 32)  # currents reach too far to be shifted, as a graph's never are
    shape = (1, 10, 6)
    pool = FloatPool("average", (1, 2), (1, 2))
    populations = (
        FloatPopulation(
            "hidden",
            shape,
            (FloatProjection(INPUT, "conv", conv.weight.detach().double().numpy()[:, :, None], padding=(0, 1)),),
            np.array(1 - 2**-6),
            np.array(float(lif.threshold)),
            conv.bias.detach().double().numpy(),
            reset_delay=True,
        ),
        FloatPopulation(
            "out",
            (1, 1, 4),
            (
                FloatProjection(
                    "hidden",
                    "linear",
                    channel_last(linear.weight.detach().double().numpy(), (1, 5, 6)),
                    pools=(pool,),
                ),
            ),
            np.ones(()),
            None,
            linear.bias.detach().double().numpy(),
            reset="none",
        ),
    )
    made = quantize_graph(FloatGraph((1, 10, 2), populations), "graph", chain.encoder, x)
    inputs = chain.encoder.encode(x)
    want, got = reference.run(chain, inputs), reference.run(made, inputs)
    assert want.spikes.sum() > 1000
    np.testing.assert_array_equal(got.spikes, want.spikes)
    np.testing.assert_array_equal(got.macs, want.macs)
    assert (got.decisions.label == want.decisions.label).mean() >= 0.95  # biases of the readouts round apart
    scale = np.abs(want.decisions.logits * chain.logit_scale).max()
    difference = np.abs(got.decisions.logits * made.logit_scale - want.decisions.logits * chain.logit_scale).max()
    assert difference < 0.01 * scale


def test_leaks_by_neuron_and_recurrence_agree_with_the_float_graph() -> None:
    """A leaking recurrent CUBA network whose states are rounded: most samples keep their label and their spikes."""
    rng = np.random.default_rng(3)
    x = (rng.random((64, 20, 12)) < 0.25).astype(np.float64)
    encoder = Encoder("events", (1, 1, 12), 20)
    hidden = FloatPopulation(
        "hidden",
        (1, 1, 24),
        (
            FloatProjection(INPUT, "linear", rng.normal(size=(24, 12)) * 0.6),
            FloatProjection("hidden", "linear", rng.normal(size=(24, 24)) * 0.15, delay=1),
        ),
        beta=rng.uniform(0.6, 0.95, 24),
        alpha=rng.uniform(0.3, 0.7, 24),
        threshold=np.ones(24),
        reset_delay=True,
    )
    out = FloatPopulation(
        "out", (1, 1, 3), (FloatProjection("hidden", "linear", rng.normal(size=(3, 24))),), np.array(0.9), np.array(1.0)
    )
    graph = FloatGraph((1, 1, 12), (hidden, out), FloatDecoder("count"))
    made = quantize_graph(graph, "net", encoder, x)
    integers = made.students[0].graph
    assert isinstance(integers, Graph) and integers.populations[0].neuron.leak.value.size == 24
    assert made.provenance["agreement"] >= 0.9
    inputs = encoder.encode(x)
    want = graph.simulate(float_inputs(encoder, inputs)).spikes["hidden"].sum(dim=(0, 2, 3, 4)).numpy()
    got = reference.run_student(made, 0, inputs).spikes[:, 0]
    assert want.sum() > 2000
    assert abs(int(got.sum()) - want.sum()) < 0.02 * want.sum()


@pytest.mark.parametrize(
    ("projection", "words"),
    [
        (FloatProjection(INPUT, "linear", np.ones((3, 4)), delay=1), "cannot be late"),
        (FloatProjection(INPUT, "linear", np.ones((3, 1)), pools=(FloatPool("average", (1, 4), (1, 4)),)), "pooled"),
        (
            FloatProjection(
                INPUT, "conv", np.ones((3, 1, 1, 1)), current_pool=FloatPool("average", (1, 4), (1, 4), (0, 2))
            ),
            "has padding",
        ),
    ],
)
def test_what_no_integer_graph_holds_is_refused_by_name(projection: FloatProjection, words: str) -> None:
    shape = (1, 1, 3) if projection.op == "linear" else (1, 2, 3)
    population = FloatPopulation("cells", shape, (projection,), np.array(0.5), np.array(1.0))
    graph = FloatGraph((1, 4, 1), (population,), FloatDecoder("count"))
    with pytest.raises(SneError, match=words) as caught:
        quantize_graph(graph, "net", Encoder("direct", (1, 4, 1), 3), np.ones((2, 4)))
    assert "cells, from the input" in caught.value.message and caught.value.hint


def test_a_current_without_leak_in_a_stream_is_refused() -> None:
    into = FloatProjection(INPUT, "linear", np.ones((3, 4)))
    population = FloatPopulation("cells", (1, 1, 3), (into,), np.array(0.5), np.array(1.0), alpha=np.array(1.0))
    graph = FloatGraph((1, 1, 4), (population,), FloatDecoder("count"))
    with pytest.raises(SneError, match="stream's current without a leak"):
        quantize_graph(graph, "net", Encoder("events", (1, 1, 4), 3), np.ones((2, 3, 4)))
