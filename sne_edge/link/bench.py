"""Measurements on a device: what an inference costs under each policy, in instructions or cycles.

In: an ensemble, a device, inputs, labels. Out: a row per policy. Accuracy and operations are means over all inputs,
from the host build, which `verify` shows to compute the device's numbers; counts are of the first `samples` inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..check.evaluation import Evaluation, evaluate
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..ir.policy import ActivationPolicy, format_policy
from .device import Device


@dataclass(frozen=True)
class Row:
    """One policy. `means`: over all inputs; `count_*`: `unit` per inference over `samples` inputs; `stack_bytes`:
    deepest stack of an inference."""

    means: Evaluation
    samples: int
    count_mean: float
    count_min: int
    count_max: int
    unit: str
    stack_bytes: int


def bench(
    host: HostModel,
    device: Device,
    inputs: np.ndarray,
    labels: np.ndarray,
    policies: Sequence[ActivationPolicy],
    samples: int,
    progress: Callable[[str], None] = lambda text: None,
) -> list[Row]:
    """Measure each policy on uint8 inputs [N, input_bytes] with labels [N] (-1 where unknown)."""
    rows, chosen = [], inputs[:samples]
    for policy, means in zip(policies, evaluate(HostEngine(host), inputs, labels, policies), strict=True):
        results = []
        for index, sample in enumerate(chosen):
            progress(f"policy {format_policy(policy)}: input {index + 1} of {len(chosen)}")
            device.load(sample.tobytes())
            results.append(device.bench(1, None if policy == host.ensemble.policy else policy))
        counts = [result.mean for result in results]
        rows.append(
            Row(
                means=means,
                samples=len(chosen),
                count_mean=float(np.mean(counts)),
                count_min=round(min(counts)),
                count_max=round(max(counts)),
                unit=results[0].unit,
                stack_bytes=max(result.stack_bytes for result in results),
            )
        )
    return rows
