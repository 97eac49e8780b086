"""Routes: for each pair of classes, in which order students are asked to tell the two apart.

In: an ensemble and its students' parts of the logits of held-out samples. Out: the table that `routed` reads.

After the order's first student, sample i has logits L and top two classes {a, b}. Where its label y is one of them, and
z the other, student k with part p[k] of the logits would decide the pair as surely as

    gain[i, k] = 1 / (1 + exp(-((L[y] + p[k][y]) - (L[z] + p[k][z])) / s)),  s the samples' median margin

which is 1/2 where k leaves a tie, near 1 or 0 where it is sure, and right or wrong. With n such samples, the score of k

    score[k] = (sum over them of gain[i, k] + PRIOR * typical[k]) / (n + PRIOR)

for the pair, where typical[k] is the mean gain over the samples of all pairs, lowered where needed so that it never
rises along the ensemble's order. A row names students by falling score, equals in the ensemble's order: a pair that was
never seen has just that order, one that was seldom seen nearly always.
"""

from __future__ import annotations

import numpy as np

from ..ir.ensemble import QuantEnsemble
from ..ir.policy import pair_row
from ..ir.schedule import decide, route_rows, top_two

PRIOR = 50  # samples that the typical gain counts for


def find_routes(ensemble: QuantEnsemble, parts: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """`QuantEnsemble.routes`, uint8 [pairs, students], from parts int64 [N, students, classes] and labels int [N]."""
    logits = parts[:, ensemble.order[0]] + ensemble.bias.astype(np.int64)
    pair = np.stack(top_two(logits), axis=1)
    decided = (pair == labels[:, None]).any(axis=1)
    gain = _gain(logits[decided], parts[decided], labels[decided], pair[decided].sum(axis=1) - labels[decided])
    rows = route_rows(logits[decided])

    order = np.array(ensemble.order)
    typical = np.zeros(len(order))
    if len(gain):
        typical[order[1:]] = np.minimum.accumulate(gain.mean(axis=0)[order[1:]])
    pairs = pair_row(0, len(ensemble.classes))
    total = np.zeros((pairs, len(order)))
    np.add.at(total, rows, gain)
    seen = np.bincount(rows, minlength=pairs)[:, None]
    score = (total + PRIOR * typical) / (seen + PRIOR)
    score[:, order[0]] = np.inf
    routes: np.ndarray = order[np.argsort(-score[:, order], axis=1, kind="stable")].astype(np.uint8)
    return routes


def _gain(logits: np.ndarray, parts: np.ndarray, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
    """How surely each student's part decides for the label and against the other class: [N, students] in 0..1."""
    rows = np.arange(len(logits))
    after = logits[:, None] + parts
    margin = after[rows, :, labels] - after[rows, :, others]
    scale = max(1.0, float(np.median(decide(logits)[1]))) if len(logits) else 1.0
    surely: np.ndarray = 0.5 + 0.5 * np.tanh(margin / (2 * scale))
    return surely
