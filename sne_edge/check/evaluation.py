"""Evaluation: what a policy makes of samples of known labels, and what it costs, whichever engine ran them.

In: results of an engine. Out: accuracy and mean work by policy, as rows that commands print and models carry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy, format_policy
from ..ir.rejection import NONE
from .verify import Engine

CHANCE = 0.2  # of the commonest class's share, or of all others': who is not ahead by as much learned nothing of use


def commonest(labels: np.ndarray) -> float:
    """The share of the commonest class among labels int [N]: the accuracy of whoever always names it."""
    return float(np.bincount(labels).max()) / len(labels)


def of_no_use(accuracy: float, labels: np.ndarray) -> bool:
    """Whether an accuracy on labels int [N] is hardly that of whoever always names the commonest class: for classes of
    which one makes a tenth, up to 12 %, for one that makes nine tenths, up to 92 %."""
    floor = commonest(labels)
    return bool(floor < 1 and accuracy <= floor + CHANCE * min(floor, 1 - floor))


@dataclass(frozen=True)
class Evaluation:
    """One policy over N samples. `accuracy` in 0..1, None where no label is known; `rejected`: the share that got no
    label, which counts as wrong; the rest are means per inference."""

    policy: str
    samples: int
    accuracy: float | None
    students_run: float
    synaptic_ops: float
    macs: float
    neuron_updates: float
    rejected: float = 0.0

    @property
    def operations(self) -> float:
        """Weights applied: synaptic operations and MACs."""
        return self.synaptic_ops + self.macs

    def record(self) -> dict[str, Any]:
        """The row of figures that a model carries, rounded: accuracy 0..1, means per inference."""
        return {
            "policy": self.policy,
            "accuracy": round(self.accuracy or 0.0, 4),
            "students_run": round(self.students_run, 3),
            "synaptic_ops": round(self.synaptic_ops, 1),
            "macs": round(self.macs, 1),
            "operations": round(self.operations, 1),
        }


def default_policies(ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """Every number of students, and the ensemble's own policy."""
    every = [ActivationPolicy("first", students=k) for k in range(1, len(ensemble.students))]
    return list(dict.fromkeys([*every, ActivationPolicy("all"), ensemble.policy]))


def recorded_policies(ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """The policies whose figures a model carries: every number of students, then its own where that is a cascade."""
    fixed = [ActivationPolicy("first", students=k) for k in range(1, len(ensemble.students) + 1)]
    return [*fixed, ensemble.policy] if ensemble.policy.kind in ("cascade", "routed") else fixed


def evaluate(
    engine: Engine, inputs: np.ndarray, labels: np.ndarray, policies: Sequence[ActivationPolicy]
) -> list[Evaluation]:
    """Run uint8 [N, input_bytes] with labels [N], -1 where unknown, under each policy."""
    if len(inputs) != len(labels) or not len(inputs):
        raise SneError(f"{len(inputs)} inputs for {len(labels)} labels", "give one label for each input, at least one")
    return [summarize(policy, engine.run(inputs, policy, None).values, labels) for policy in policies]


def summarize(policy: ActivationPolicy, values: dict[str, np.ndarray], labels: np.ndarray) -> Evaluation:
    """Accuracy and mean work of N results by the names in `verify.FIELDS`; labels [N], -1 where unknown."""
    known = labels >= 0
    means = {name: float(values[name].mean()) for name in ("students_run", "synaptic_ops", "macs", "neuron_updates")}
    right = (values["label"] == labels)[known]
    accuracy = float(right.mean()) if known.any() else None
    rejected = float((values["label"] == NONE).mean())
    return Evaluation(format_policy(policy), len(labels), accuracy, **means, rejected=rejected)


def figures(engine: Engine, ensemble: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """The rows that a model carries, of one part of its data: see `recorded_policies`."""
    return [row.record() for row in evaluate(engine, inputs, labels, recorded_policies(ensemble))]
