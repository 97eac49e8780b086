"""Measurements on a device: what an inference costs under each policy, in instructions or cycles.

In: an ensemble, a device, inputs, labels. Out: a row per policy. Accuracy and operations are means over all inputs,
from the host build, which `verify` shows to compute the device's numbers; counts are of the first `samples` inputs.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..check.evaluation import Evaluation, evaluate
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..files import write_whole
from ..ir.policy import ActivationPolicy, format_policy
from .device import Device


@dataclass(frozen=True)
class Row:
    """One policy. `means`: over all inputs; `count_*`: `unit` per inference over `samples` inputs; `stack_bytes`:
    deepest stack of an inference; `inputs`, `counts`: which inputs were counted, and each one's count."""

    means: Evaluation
    samples: int
    count_mean: float
    count_min: int
    count_max: int
    unit: str
    stack_bytes: int
    inputs: tuple[int, ...]
    counts: tuple[int, ...]


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
        counts = [result.total for result in results]
        rows.append(
            Row(
                means=means,
                samples=len(chosen),
                count_mean=float(np.mean(counts)),
                count_min=min(counts),
                count_max=max(counts),
                unit=results[0].unit,
                stack_bytes=max(result.stack_bytes for result in results),
                inputs=tuple(range(len(chosen))),
                counts=tuple(counts),
            )
        )
    return rows


def write_csv(rows: Sequence[Row], labels: np.ndarray, path: Path) -> None:
    """One line for each policy and input that was counted: the input's index among those given, its label (empty where
    it is unknown) and its count. Raises `SneError` where the file cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("policy", "input", "label", "count", "unit"))
    for row in rows:
        for index, count in zip(row.inputs, row.counts, strict=True):
            label = int(labels[index])
            writer.writerow((row.means.policy, index, "" if label < 0 else label, count, row.unit))
    write_whole(path, lambda file: file.write(text.getvalue().encode()))
