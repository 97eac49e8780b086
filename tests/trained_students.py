"""Small ensembles of students, as after some training."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from sne_edge.ir.encoder import Encoder
from sne_edge.learn.neurons import LIF
from sne_edge.learn.partition import Partition
from sne_edge.learn.student import Body, Ensemble


def as_trained(body: Body, shape: tuple[int, int, int], students: int = 2) -> Ensemble:
    """Students of a body, three classes, four timesteps: batch norms as after some training, and currents strong enough
    to spike. The same on every call."""
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    owner = np.arange(6) * students // 6
    partition = Partition(
        "own", students, owner, np.eye(6, dtype=np.float32), np.zeros(6, np.float32),
        rng.normal(size=(3, 6)).astype(np.float32), rng.normal(size=3).astype(np.float32),
    )  # fmt: skip
    made = Ensemble(partition, body, Encoder("direct", shape, 4, scale=0.03))
    with torch.no_grad():  # batch norms as after some training, currents strong enough to spike
        for module in made.modules():
            if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
                module.weight.uniform_(0.5, 2)
                module.bias.uniform_(-0.2, 0.8)
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2)
            if isinstance(module, LIF) and module.learn:
                module.beta.uniform_(0.4, 0.95)
    return made.eval()
