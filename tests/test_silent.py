"""Neurons that never spike take no steps of int8 from the others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import Tensor, nn

from sne_edge import quantize_network
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange import graphs
from sne_edge.learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPool, FloatPopulation, FloatProjection
from sne_edge.quantize.silent import hold_silent

STEPS = 8


class Normed(nn.Module):
    """A batch norm behind spikes, of which one channel in four has never seen any: it divides by sqrt(1e-5)."""

    def __init__(self, pooled: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.lif = nn.Conv2d(1, 8, 3), snn.Leaky(beta=0.8, init_hidden=True)
        self.norm, self.pool = nn.BatchNorm2d(8), nn.AvgPool2d(2) if pooled else nn.Identity()
        self.fc = nn.Linear(8 * (4 if pooled else 16), 4)
        self.out = snn.Leaky(beta=0.9, init_hidden=True)
        with torch.no_grad():
            self.first.weight *= 3
            self.first.bias[::4] = -30.0  # type: ignore[index]
            self.norm.running_var.fill_(0.2)  # type: ignore[union-attr]
            self.norm.running_var[::4] = 0.0  # type: ignore[index]

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fc(self.pool(self.norm(self.lif(self.first(x)))).flatten(1)))  # type: ignore[no-any-return]


@pytest.mark.parametrize("pooled", [True, False])
def test_a_dead_channel_behind_a_batch_norm_costs_the_others_nothing(
    pooled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = np.random.default_rng(0).random((100, 1, 6, 6), np.float32)
    with pytest.warns(SneWarning, match="[23] channels of lif spike in none of the samples"):
        made = quantize_network(Normed(pooled).eval(), "dead", x, timesteps=STEPS)
    assert made.provenance["correlation"] > 0.97
    monkeypatch.setattr(graphs, "hold_silent", lambda graph, spoken: (graph, {}))
    try:
        worse: Any = quantize_network(Normed(pooled).eval(), "dead", x, timesteps=STEPS, fail_below=0, warn_below=0)
        assert worse.provenance["correlation"] < made.provenance["correlation"] - 0.1
    except SneError as error:
        assert "never" in error.message


def graph_of(weight: np.ndarray, pools: tuple[FloatPool, ...] = ()) -> FloatGraph:
    """An input of one value, four neurons [1, 2, 2], and two more that hear them."""
    one, decoder = np.ones(()), FloatDecoder("count")
    first = FloatPopulation(
        "a",
        (1, 2, 2),
        (FloatProjection(INPUT, "linear", np.ones((4, 1))),),
        one * 0.5,
        one,
        np.zeros(()),
        None,
        "subtract",
    )
    last = FloatPopulation(
        "b",
        (1, 1, 2),
        (FloatProjection("a", "linear", weight, pools=pools),),
        one * 0.5,
        one,
        np.zeros(()),
        None,
        "subtract",
    )
    return FloatGraph((1, 1, 1), (first, last), decoder)


def test_weights_of_silent_neurons_alone_are_held_row_by_row() -> None:
    weight = np.array([[1.0, -2.0, 90.0, -40.0], [0.5, 0.25, -70.0, 0.125]])
    spoken = [{"a": np.array([[[True, False], [False, False]]])}, {"a": np.array([[[False, True], [False, False]]])}]
    made, held = hold_silent(graph_of(weight), lambda: spoken)
    assert held == {"a": 2}
    assert made.populations[1].projections[0].weight.tolist() == [[1.0, -2.0, 2.0, -2.0], [0.5, 0.25, -0.5, 0.125]]


def test_nothing_is_asked_where_no_weight_stands_out_and_nobody_is_held_where_all_are_silent() -> None:
    def never() -> Iterator[Any]:
        raise AssertionError("simulated for nothing")

    even = graph_of(np.array([[1.5, -2.0, 3.0, -4.0], [0.5, 0.25, -0.7, 0.125]]))
    assert hold_silent(even, never) == (even, {})
    weight = np.array([[1.0, -2.0, 90.0, -40.0], [0.5, 0.25, -70.0, 0.125]])
    made, held = hold_silent(graph_of(weight), lambda: [{"a": np.zeros((1, 2, 2), bool)}])
    assert not held and np.array_equal(made.populations[1].projections[0].weight, weight)


def test_places_of_a_pooled_channel_are_silent_together() -> None:
    weight = np.array([[1.0, 90.0], [0.5, -70.0]])
    pools = (FloatPool("average", (1, 2), (1, 2), (0, 0)),)
    spoken = [{"a": np.array([[[False, False], [True, False]]])}]
    made, held = hold_silent(graph_of(weight, pools), lambda: spoken)
    assert held == {"a": 1} and made.populations[1].projections[0].weight.tolist() == [[1.0, 1.0], [0.5, -0.5]]
