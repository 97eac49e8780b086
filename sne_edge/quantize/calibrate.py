"""Calibration: what an ensemble costs, in which order its students wake, and when a cascade may stop.

In: a `QuantEnsemble` and held-out samples as device bytes; never test samples, but for the golden vectors, which choose
nothing. Out: the ensemble with costs, order, policy and golden vectors filled in.

A cascade gets one margin for all of its stages. Margins of their own for each stage fit the held-out samples better,
but not new ones: with one number to choose, what it does to held-out samples is what it does to others. For the same
reason, accuracy is judged by every sample on which the cascade and all students together are not both right or both
wrong: where the cascade alone is right, it was lucky.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from ..check.verify import Engine, ReferenceEngine
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import NEVER, ActivationPolicy
from ..ir.schedule import decide, prefixes, sequence, stop_stages
from ..ir.vectors import Vectors
from .routes import find_routes

CANDIDATES = 1000  # margins that are tried, at most


@dataclass(frozen=True, eq=False)
class Stages:
    """What N samples look like after 1, 2, ... students in the order in which they run.

    correct bool [N, students]; margin int64 [N, students] (top-1 minus top-2 logit);
    cost int64 [N, students]: operations (synaptic and MAC) spent so far.
    """

    correct: np.ndarray
    margin: np.ndarray
    cost: np.ndarray

    @property
    def students(self) -> int:
        return int(self.correct.shape[1])


@dataclass(frozen=True, eq=False)
class Work:
    """Every student on N samples: parts int64 [N, students, classes] of the logits; ops int64 [N, students], operations
    (synaptic and MAC); layer_ops: by student int64 [N, layers], the same by layer."""

    parts: np.ndarray
    ops: np.ndarray
    layer_ops: tuple[np.ndarray, ...] = ()


@dataclass(frozen=True)
class Promise:
    """What a cascade does to held-out samples: accuracy and that of all students, 0..1; `differing`: the share that
    only one of the two gets right; mean students run and operations, and the operations of all students."""

    accuracy: float
    accuracy_of_all: float
    differing: float
    students_run: float
    operations: float
    operations_of_all: float


def calibrate(
    ensemble: QuantEnsemble,
    inputs: np.ndarray,
    labels: np.ndarray,
    max_drop: float = 0.1,
    *,
    target_ops: float | None = None,
    kind: str = "cascade",
    where: str = "cpu",
) -> QuantEnsemble:
    """Costs, order and a cascade from held-out samples uint8 [N, input_bytes], labels [N]; see `choose_policy`. The
    reference computes `where`, a torch device's name."""
    check_goal(max_drop, target_ops, kind)
    check_samples(ensemble, inputs, labels)
    work = measure(ensemble, ReferenceEngine(ensemble, where), inputs)
    return choose_policy(with_costs(ensemble, work), work, labels, max_drop, target_ops=target_ops, kind=kind)


def choose_policy(
    ensemble: QuantEnsemble,
    work: Work,
    labels: np.ndarray,
    max_drop: float,
    *,
    target_ops: float | None = None,
    kind: str = "cascade",
) -> QuantEnsemble:
    """The ensemble with order and policy chosen by `work` on samples of known labels; `kind` is `cascade` or `routed`,
    which adds routes.

    The margin is the lowest for which (and for all above it) at most `max_drop` percent of the samples are right with
    only one of cascade and all students. With `target_ops` it is the one of the highest accuracy among those of at most
    that many mean operations. Raises `SneError` where not even the first student stays within `target_ops`. An ensemble
    of one student gets the policy `all`. The policy keeps its number of timesteps.
    """
    steps = ensemble.policy.timesteps
    alone = ActivationPolicy("all", timesteps=steps)
    ensemble = msgspec.structs.replace(ensemble, policy=alone, order=best_order(ensemble, work, labels), routes=None)
    if len(ensemble.students) == 1:
        return ensemble
    if kind == "routed":
        ensemble = msgspec.structs.replace(ensemble, routes=find_routes(ensemble, work.parts, labels))
    seen = stages(ensemble, work, labels)
    margin = margin_by_drop(seen, max_drop) if target_ops is None else margin_by_ops(seen, target_ops)
    margins = (margin,) * (seen.students - 1)
    return msgspec.structs.replace(
        ensemble,
        policy=ActivationPolicy(kind, margins=margins, timesteps=steps),  # type: ignore[arg-type]
    )


def check_goal(max_drop: float, target_ops: float | None, kind: str) -> None:
    """Raise `SneError` for a goal that cannot be."""
    if not 0 <= max_drop < 100:
        raise SneError(f"max_drop is {max_drop}", "give a number of points (percent), 0 or more: 0.1, say")
    if target_ops is not None and not target_ops > 0:
        raise SneError(f"target_ops is {target_ops}", "give the mean operations of an inference, more than 0")
    if kind not in ("cascade", "routed"):
        raise SneError(f"policy {kind!r} has nothing to calibrate", "calibrate cascade or routed")


def check_labels(ensemble: QuantEnsemble) -> None:
    """Raise `SneError` for a model of numbers, where labels are compared or chosen by."""
    if ensemble.regression:
        raise SneError(
            f"{ensemble.name} computes numbers, not labels: there is no margin to calibrate, and no label to compare",
            "use it as it is; `sne-edge quantize --regression` says how near its numbers are to the network's",
        )


def check_samples(ensemble: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Raise `SneError` where samples and labels cannot calibrate the ensemble."""
    if len(inputs) != len(labels) or not len(inputs):
        raise SneError(
            f"{len(inputs)} samples for {len(labels)} labels", "give one label for each sample, at least one"
        )
    if np.min(labels) < 0 or np.max(labels) >= len(ensemble.classes):
        raise SneError(
            f"labels are in {np.min(labels)}..{np.max(labels)}, {ensemble.name} has {len(ensemble.classes)} classes",
            "give the data that the model was made for",
        )


def measure(ensemble: QuantEnsemble, engine: Engine, inputs: np.ndarray, timesteps: int | None = None) -> Work:
    """Every student alone on inputs uint8 [N, input_bytes] for `timesteps`, by default those of the model's own policy.

    The reference also tells operations by layer; the host build is quicker.
    """
    steps = ensemble.policy.timesteps if timesteps is None else timesteps
    one = [ActivationPolicy("mask", mask=1 << k, timesteps=steps) for k in range(len(ensemble.students))]
    alone = [engine.run(inputs, policy, None) for policy in one]
    parts = [outcome.values["logits"] - ensemble.bias for outcome in alone]
    ops = [outcome.values["synaptic_ops"] + outcome.values["macs"] for outcome in alone]
    return Work(np.stack(parts, axis=1), np.stack(ops, axis=1), alone[0].layer_ops)


def with_costs(ensemble: QuantEnsemble, work: Work) -> QuantEnsemble:
    """Each student's operations (synaptic and MAC) per inference filled in: mean, highest, and mean by layer."""
    students = tuple(
        msgspec.structs.replace(
            student,
            mean_ops=round(float(layers.sum(axis=1).mean())),
            max_ops=int(layers.sum(axis=1).max()),
            layer_ops=tuple(round(float(m)) for m in layers.mean(axis=0)),
        )
        for student, layers in zip(ensemble.students, work.layer_ops, strict=True)
    )
    return msgspec.structs.replace(ensemble, students=students)


def best_order(ensemble: QuantEnsemble, work: Work, labels: np.ndarray) -> tuple[int, ...]:
    """The order in which each next student makes the prefix as accurate as can be; of equals, the cheaper one first."""
    logits, left, order = ensemble.bias.astype(np.int64), list(range(len(ensemble.students))), []
    while left:
        score = [float((decide(logits + work.parts[:, k])[0] == labels).mean()) for k in left]
        best = min(zip(left, score, strict=True), key=lambda s: (-s[1], ensemble.students[s[0]].mean_ops, s[0]))[0]
        logits = logits + work.parts[:, best]
        order.append(best)
        left.remove(best)
    return tuple(order)


def stages(ensemble: QuantEnsemble, work: Work, labels: np.ndarray) -> Stages:
    """The samples after each student, in the ensemble's order or, where it has routes, in theirs."""
    running = sequence(ensemble, work.parts, ensemble.routes is not None)
    label, margin = decide(prefixes(ensemble, work.parts, running))
    cost = np.take_along_axis(work.ops, running, axis=1).cumsum(axis=1)
    return Stages(label == np.asarray(labels)[:, None], margin, cost)


def promise(seen: Stages, margins: tuple[int, ...]) -> Promise:
    """What a cascade of these margins does to the samples."""
    rows, last = np.arange(len(seen.margin)), stop_stages(seen.margin, margins)
    correct, whole = seen.correct[rows, last], seen.correct[:, -1]
    return Promise(
        accuracy=float(correct.mean()),
        accuracy_of_all=float(whole.mean()),
        differing=float((correct != whole).mean()),
        students_run=float(last.mean()) + 1,
        operations=float(seen.cost[rows, last].mean()),
        operations_of_all=float(seen.cost[:, -1].mean()),
    )


def upper_bound(found: int, samples: int, confidence: float = 0.95) -> float:
    """The highest share 0..1 that finding it `found` times in independent `samples` leaves possible: Clopper and
    Pearson's one-sided limit (Biometrika 1934)."""
    if found >= samples:
        return 1.0
    try:
        from scipy.special import betaincinv
    except ImportError:  # it comes with what trains
        return _upper_bound(found, samples, confidence)
    return float(betaincinv(found + 1, samples - found, confidence))


def _upper_bound(found: int, samples: int, confidence: float) -> float:
    """`upper_bound` of fewer than all samples, by bisection."""
    ways = [math.lgamma(samples + 1) - math.lgamma(i + 1) - math.lgamma(samples - i + 1) for i in range(found + 1)]
    low, high = found / samples, 1.0
    for _ in range(50):
        share = (low + high) / 2
        chance = sum(math.exp(w + i * math.log(share) + (samples - i) * math.log1p(-share)) for i, w in enumerate(ways))
        low, high = (share, high) if chance > 1 - confidence else (low, share)
    return high


def margin_by_drop(seen: Stages, max_drop: float) -> int:
    """The lowest margin down to which at most `max_drop` percent of the samples are right only with the cascade or only
    with all students; `NEVER` where any is too low."""
    stages = seen.students - 1
    return lowest_margin(_candidates(seen), lambda margin: promise(seen, (margin,) * stages).differing, max_drop)


def lowest_margin(candidates: Sequence[int], differing: Callable[[int], float], max_drop: float) -> int:
    """The lowest of rising candidates for which, and for all above it, `differing` (0..1) is at most `max_drop`
    percent; `NEVER` where it is for none."""
    best = NEVER
    for margin in reversed(candidates):
        if differing(margin) > max_drop / 100 + 1e-12:
            break
        best = margin
    return best


def margin_by_ops(seen: Stages, target_ops: float) -> int:
    """Of the margins of at most `target_ops` mean operations, the one of the highest accuracy, the higher of equals."""
    best, accuracy = None, -1.0
    for margin in (*_candidates(seen), NEVER):
        found = promise(seen, (margin,) * (seen.students - 1))
        if found.operations > target_ops:
            break
        if found.accuracy >= accuracy:
            best, accuracy = margin, found.accuracy
    if best is None:
        least = float(seen.cost[:, 0].mean())
        raise SneError(
            f"{target_ops:,.0f} operations are too few: the first student alone takes {least:,.0f}",
            f"give at least {np.ceil(least):,.0f}, or train smaller students",
        )
    return best


def _candidates(seen: Stages) -> list[int]:
    """Margins at which a cascade changes, from 0 on, rising."""
    return spread(np.append(seen.margin[:, :-1], 0), CANDIDATES)


def spread(values: np.ndarray, most: int) -> list[int]:
    """The different values, rising; where there are more than `most`, that many of them, evenly spread."""
    found = np.unique(values)
    return [int(value) for value in found[np.unique(np.linspace(0, len(found) - 1, most).round().astype(np.int64))]]


def golden_vectors(engine: Engine, inputs: np.ndarray, labels: np.ndarray | None = None) -> Vectors:
    """What an engine makes of inputs uint8 [N, input_bytes] under the model's own policy; labels int [N]."""
    found = engine.run(inputs, None, None).values
    return Vectors(
        inputs=np.ascontiguousarray(inputs),
        logits=found["logits"].astype(np.int32),
        active=found["active"].astype(np.uint32),
        spikes=found["spikes"].astype(np.uint32),
        ops=np.stack([found["synaptic_ops"], found["macs"]], axis=1).astype(np.uint32),
        labels=np.full(len(inputs), -1, np.int32) if labels is None else np.asarray(labels).astype(np.int32),
    )
