"""Cascades of two int8 CNNs, the rival that stops early as the ensembles do: a small one answers, and where its two
best logits are too close, a larger one answers instead (big/little networks, Park et al., CODES+ISSS 2015).

In: the integer networks of two designs by seed, and their data. Out: for each share of validation accuracy that may be
lost, test accuracy and how often the larger one runs.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from designs import DESIGNS, RIVALS

from sne_edge.ir import schedule
from sne_edge.learn.baseline import count_macs
from sne_edge.quantize.cnn import QuantCnn
from sne_edge.study.lab import Lab
from sne_edge.study.table import percent

HIGHEST = 256  # a margin that no two logits of int8 reach


def cascades(lab: Lab, drops: Sequence[float]) -> list[dict[str, Any]]:
    """Every pair of a data set's `RIVALS`, fewer MACs first, for each of `drops`, points of validation accuracy that
    the pair may have less than its larger network: name, both designs, test accuracy and `share`, how often the larger
    one runs on test samples, by seed."""
    designs, data = DESIGNS[lab.dataset], [lab.data(seed) for seed in lab.seeds]
    shape, classes = data[0].shape, len(data[0].classes)
    names = sorted(RIVALS[lab.dataset], key=lambda name: count_macs(shape, designs[name], classes))
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for name in names:
        nets = [lab.quantized(seed, designs[name]) for seed in lab.seeds]
        found[name] = [(logits(net, d.x_val), logits(net, d.x_test)) for net, d in zip(nets, data, strict=True)]
    made = []
    for small, large in combinations(names, 2):
        for drop in drops:
            tests, shares = [], []
            for d, one, other in zip(data, found[small], found[large], strict=True):
                margin = choose(one[0], other[0], d.y_val, drop)
                label, more = decide(one[1], other[1], margin)
                tests.append(float((label == d.y_test).mean()))
                shares.append(float(more.mean()))
            made.append(
                {
                    "name": f"{small}, then {large}, {drop:g}",
                    "designs": [small, large],
                    "test": percent(tests),
                    "share": [round(share, 4) for share in shares],
                }
            )
    return made


def logits(net: QuantCnn, x: np.ndarray) -> np.ndarray:
    """`QuantCnn.logits` as int32, a thousand samples at a time."""
    return np.concatenate([net.logits(part) for part in np.array_split(x, len(x) // 1000 + 1)]).astype(np.int32)


def decide(small: np.ndarray, large: np.ndarray, margin: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels [N], and where the larger network ran, of both networks' logits [N, classes]: the larger one runs where
    the best two of the smaller one are less than `margin` apart, and then alone decides."""
    label, apart = schedule.decide(small)
    more = apart < margin
    return np.where(more, large.argmax(1), label), more


def choose(small: np.ndarray, large: np.ndarray, labels: np.ndarray, drop: float) -> int:
    """The lowest margin at which both together are at most `drop` points less often right than the larger network
    alone, on the samples that these logits are of."""
    least = (large.argmax(1) == labels).mean() - drop / 100
    for margin in range(HIGHEST):
        if (decide(small, large, margin)[0] == labels).mean() >= least:
            return margin
    return HIGHEST
