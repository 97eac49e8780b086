"""The training loop: steps once batch norms are folded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from sne_edge.learn.fit import Plan, fit


@pytest.mark.parametrize("size", [1e-3, 1e-2])
def test_folded_weights_move_by_their_size_and_plain_ones_by_the_rate(size: float):
    def moved(folded: bool) -> float:
        net = nn.Linear(50, 4, bias=False)
        nn.init.normal_(net.weight, std=size, generator=torch.Generator().manual_seed(0))
        before = net.weight.detach().clone()
        plan = Plan(1, batch=8, rate=1e-3, warm=0.0, folded=folded)
        fit(net, lambda pick, generator: net(torch.ones(8, 50)).square().mean(), 8, plan, stage="net")
        return float((net.weight.detach() - before).abs().max())

    step = 1e-3  # AdamW's first one is the rate, whatever the gradient
    assert moved(folded=False) == pytest.approx(step, rel=0.01)
    assert moved(folded=True) == pytest.approx(step * 10 * size, rel=0.2)


def test_large_folded_weights_move_by_the_rate():
    net = nn.Linear(4, 4, bias=False)
    nn.init.constant_(net.weight, 0.5)
    plan = Plan(1, batch=8, rate=1e-3, warm=0.0, folded=True)
    fit(net, lambda pick, generator: net(torch.ones(8, 4)).square().mean(), 8, plan, stage="net")
    assert np.allclose(0.5 - net.weight.detach().numpy(), 1e-3, rtol=0.01)


@pytest.mark.parametrize(
    ("scores", "kept"),
    [((0.1, 0.2, 0.9, 0.5), 2), ((0.1, 0.5, 0.9, 0.9), 3), ((0.9, 0.1, 0.2, 0.3), 0), ((0.1, 0.9, 0.2, 0.3), 1)],
    ids=str,
)
def test_the_best_epoch_is_kept_and_the_latest_of_equals(scores: tuple[float, ...], kept: int):
    """The first score is that of the network as it was given."""
    net, asked = nn.Linear(4, 1), list(scores)
    seen: list[torch.Tensor] = []

    def score() -> tuple[float, str]:
        seen.append(net.weight.detach().clone())
        return asked.pop(0), ""

    plan = Plan(3, batch=8, rate=1e-2)
    fit(net, lambda pick, generator: net(torch.ones(8, 4)).square().mean(), 16, plan, stage="net", score=score)
    assert not asked and len({tuple(weight.flatten().tolist()) for weight in seen}) == 4
    assert torch.equal(net.weight, seen[kept])
