"""Measurements on a device: what an inference costs under each policy, in instructions or cycles.

In: an ensemble, a device, inputs, labels. Out: a row per policy. Accuracy and operations are means over all inputs,
from the host build, which `verify` shows to compute the device's numbers; counts are of all inputs too, or of `samples`
of them that stand for all: evenly spaced in the order of the work that the host build found.
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
from ..deploy.host import Batch, HostModel
from ..files import write_whole
from ..ir.policy import ActivationPolicy
from .device import Device


@dataclass(frozen=True)
class Row:
    """One policy. `means`: over all inputs; `count_*`: `unit` per inference over `samples` inputs, and the standard
    error of their mean as the mean of all inputs (0 where all were counted, None where it is not known); `stack_bytes`:
    deepest stack of an inference; `inputs`, `counts`: which inputs were counted, and each one's count."""

    means: Evaluation
    samples: int
    count_mean: float
    count_error: float | None
    count_min: int
    count_max: int
    unit: str
    stack_bytes: int
    inputs: tuple[int, ...]
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Counted:
    """What a device said of one input under one policy: `runs` inferences counted `total` of `unit` together. With a
    pulse, `started` and `ended` are the host's seconds since 1970 around it; otherwise 0."""

    runs: int
    total: int
    unit: str
    stack_bytes: int
    started: float = 0.0
    ended: float = 0.0

    @property
    def count(self) -> int:
        """Of one inference, to the nearest."""
        return (2 * self.total + self.runs) // (2 * self.runs)


@dataclass(frozen=True)
class Plan:
    """What is to be counted: `inputs` uint8 [N, input_bytes], their `labels` [N] (-1 where unknown), `policies`, which
    of them is the model's `own`, and of each the inputs `chosen`, int64 [samples], in the order of their work; `means`:
    over all inputs. `pause`: None, or milliseconds with the board's pin low before each pulse of `repeat`
    inferences."""

    inputs: np.ndarray
    labels: np.ndarray
    policies: tuple[ActivationPolicy, ...]
    own: ActivationPolicy
    chosen: tuple[np.ndarray, ...]
    means: tuple[Evaluation, ...]
    pause: int | None = None
    repeat: int = 1

    def jobs(self) -> list[tuple[int, int]]:
        """Input and policy of each count, in the order in which they are made: by inputs, since loading takes time."""
        return sorted((int(number), index) for index, numbers in enumerate(self.chosen) for number in numbers)


Found = dict[tuple[int, int], Counted]
"""By input and policy."""


def plan(
    host: HostModel,
    inputs: np.ndarray,
    labels: np.ndarray,
    policies: Sequence[ActivationPolicy],
    samples: int,
    pause: int | None = None,
    repeat: int = 1,
) -> Plan:
    """What to count of uint8 inputs [N, input_bytes] with labels [N] (-1 where unknown): `samples` a policy."""
    return Plan(
        inputs=inputs,
        labels=labels,
        policies=tuple(policies),
        own=host.ensemble.policy,
        chosen=tuple(representative(host.run(inputs, policy), samples) for policy in policies),
        means=tuple(evaluate(HostEngine(host), inputs, labels, policies)),
        pause=pause,
        repeat=repeat,
    )


def count(
    what: Plan,
    device: Device,
    found: Found,
    keep: Callable[[int, int, Counted], None] = lambda number, index, counted: None,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> None:
    """Count on a device what `found` lacks, and add it there; `keep` is told of each, `progress` of how many there
    are."""
    jobs = what.jobs()
    loaded: int | None = None
    for done, (number, index) in enumerate(jobs):
        progress(done, len(jobs))
        if (number, index) in found:
            continue
        if number != loaded:
            device.load(what.inputs[number].tobytes())
            loaded = number
        policy = what.policies[index]
        counted = _count_one(what, device, None if policy == what.own else policy)
        found[number, index] = counted
        keep(number, index, counted)


def _count_one(what: Plan, device: Device, policy: ActivationPolicy | None) -> Counted:
    if what.pause is None:
        result = device.bench(what.repeat, policy)
        return Counted(result.runs, result.total, result.unit, result.stack_bytes)
    pulse = device.pulse(what.pause, what.repeat, policy)
    return Counted(pulse.runs, pulse.count, device.counter, 0, pulse.started, pulse.ended)


def rows(what: Plan, found: Found) -> list[Row]:
    """A row per policy, of everything that was planned."""
    made = []
    for index, (mean, numbers) in enumerate(zip(what.means, what.chosen, strict=True)):
        made.append(_row(mean, numbers.tolist(), {n: found[n, index] for n in numbers.tolist()}, len(what.inputs)))
    return made


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
    what, found = plan(host, inputs, labels, policies, samples), Found()
    count(what, device, found, progress=lambda done, of: progress(f"count {done + 1} of {of}"))
    return rows(what, found)


def _row(means: Evaluation, numbers: Sequence[int], results: dict[int, Counted], population: int) -> Row:
    """Of results by input; `numbers` are the inputs in the order of their work."""
    counts = np.array([results[number].count for number in numbers])
    ordered = tuple(sorted(numbers))
    return Row(
        means=means,
        samples=len(numbers),
        count_mean=float(counts.mean()),
        count_error=standard_error(counts, population),
        count_min=int(counts.min()),
        count_max=int(counts.max()),
        unit=results[ordered[0]].unit,
        stack_bytes=max(result.stack_bytes for result in results.values()),
        inputs=ordered,
        counts=tuple(results[number].count for number in ordered),
    )


def representative(batch: Batch, samples: int) -> np.ndarray:
    """At most `samples` indices int64 into a batch: evenly spaced in the order of students run, then of operations."""
    order = np.lexsort((batch.synaptic_ops + batch.macs, batch.students_run))
    count = min(samples, len(order))
    return order[(2 * np.arange(count) + 1) * len(order) // (2 * count)]


def standard_error(counts: np.ndarray, population: int) -> float | None:
    """Of the mean of counts [n] taken evenly spaced from `population` ordered ones: from their successive differences
    (Wolter 1984, the estimator v2). None where a single one of several was counted."""
    n = len(counts)
    if n == population:
        return 0.0
    if n < 2:
        return None
    return float(np.sqrt((1 - n / population) / n * np.square(np.diff(counts)).sum() / (2 * (n - 1))))


def write_csv(measured: dict[str, Sequence[Row]], labels: np.ndarray, path: Path) -> None:
    """One line for each place, policy and input that was counted: the input's index among those given, its label (empty
    where it is unknown) and its count. Raises `SneError` where the file cannot be written."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(("on", "policy", "input", "label", "count", "unit"))
    for where, found in measured.items():
        for row in found:
            for index, number in zip(row.inputs, row.counts, strict=True):
                label = int(labels[index])
                writer.writerow((where, row.means.policy, index, "" if label < 0 else label, number, row.unit))
    write_whole(path, lambda file: file.write(text.getvalue().encode()))
