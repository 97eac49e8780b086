"""Evaluation: a data set through the host build, under every policy asked for.

In: an ensemble, encoded inputs and labels. Out: accuracy and mean work per policy. Exact for the device, too: `verify`
shows that it computes the same numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy, format_policy
from .host import Batch, HostModel


@dataclass(frozen=True)
class Evaluation:
    """One policy over N samples. `accuracy` in 0..1, None where no label is known; the rest are means per inference."""

    policy: str
    samples: int
    accuracy: float | None
    students_run: float
    synaptic_ops: float
    macs: float
    neuron_updates: float

    @property
    def operations(self) -> float:
        """Weights applied: synaptic operations and MACs."""
        return self.synaptic_ops + self.macs


def default_policies(ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """Every number of students, and the ensemble's own policy."""
    every = [ActivationPolicy("first", students=k) for k in range(1, len(ensemble.students))]
    return list(dict.fromkeys([*every, ActivationPolicy("all"), ensemble.policy]))


def recorded_policies(ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """The policies whose figures a model carries: every number of students, then its own where that is a cascade."""
    fixed = [ActivationPolicy("first", students=k) for k in range(1, len(ensemble.students) + 1)]
    return [*fixed, ensemble.policy] if ensemble.policy.kind in ("cascade", "routed") else fixed


def record(
    policy: str, accuracy: float, students_run: float, synaptic_ops: float, macs: float, operations: float
) -> dict[str, Any]:
    """A row of the figures that a model carries: accuracy 0..1, means per inference."""
    return {
        "policy": policy,
        "accuracy": round(accuracy, 4),
        "students_run": round(students_run, 3),
        "synaptic_ops": round(synaptic_ops, 1),
        "macs": round(macs, 1),
        "operations": round(operations, 1),
    }


def evaluate(
    model: HostModel,
    inputs: np.ndarray,
    labels: np.ndarray,
    policies: Sequence[ActivationPolicy],
    jobs: int | None = None,
) -> list[Evaluation]:
    """Run uint8 [N, input_bytes] with labels [N] under each policy, shared by `jobs` threads (all cores by default).

    The results are the same for any number of jobs."""
    if len(inputs) != len(labels) or not len(inputs):
        raise SneError(f"{len(inputs)} inputs for {len(labels)} labels", "give one label for each input, at least one")
    return [summarize(policy, model.run(inputs, policy, threads=jobs), labels) for policy in policies]


def summarize(policy: ActivationPolicy, batch: Batch, labels: np.ndarray) -> Evaluation:
    """Accuracy and mean work of a batch; labels [N], -1 where unknown."""
    known = labels >= 0
    return Evaluation(
        policy=format_policy(policy),
        samples=len(labels),
        accuracy=float((batch.label == labels)[known].mean()) if known.any() else None,
        students_run=float(batch.students_run.mean()),
        synaptic_ops=float(batch.synaptic_ops.mean()),
        macs=float(batch.macs.mean()),
        neuron_updates=float(batch.neuron_updates.mean()),
    )
