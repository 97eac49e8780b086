"""Calibration: what an ensemble costs, in which order its students wake, and when a cascade may stop.

In: a `QuantEnsemble` and held-out samples as device bytes; never test samples, but for the golden vectors, which choose
nothing. Out: the ensemble with costs, order, policy and golden vectors filled in.
"""

from __future__ import annotations

from dataclasses import dataclass

import msgspec
import numpy as np

from .errors import SneError
from .model import ActivationPolicy, QuantEnsemble, Vectors
from .neuron import INT32
from .policy import decide

NEVER = INT32[1]  # a margin no logits reach


@dataclass(frozen=True, eq=False)
class Stages:
    """What N samples look like after 1, 2, ... students in order.

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
    """Every student on N samples: parts int64 [N, students, classes] of the logits, layer_ops by student int64
    [N, layers]."""

    parts: np.ndarray
    layer_ops: tuple[np.ndarray, ...]

    @property
    def ops(self) -> np.ndarray:
        """Operations (synaptic and MAC), int64 [N, students]."""
        return np.stack([layers.sum(axis=1) for layers in self.layer_ops], axis=1)


def calibrate(ensemble: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray, max_drop: float = 0.1) -> QuantEnsemble:
    """Costs, order and a margin cascade from held-out samples uint8 [N, input_bytes], labels [N].

    The cascade becomes the ensemble's policy: the cheapest found whose accuracy on these samples is at most `max_drop`
    points (percent) below that of all students. An ensemble of one student keeps the policy `all`.
    """
    if not 0 <= max_drop < 100:
        raise SneError(f"max_drop is {max_drop}", "give a number of points (percent), 0 or more: 0.1, say")
    if len(inputs) != len(labels) or not len(inputs):
        raise SneError(
            f"{len(inputs)} samples for {len(labels)} labels", "give one label for each sample, at least one"
        )
    work = run_students(ensemble, inputs)
    ensemble = with_costs(ensemble, work)
    ensemble = msgspec.structs.replace(
        ensemble, order=best_order(ensemble, work, labels), policy=ActivationPolicy("all")
    )
    if len(ensemble.students) == 1:
        return ensemble
    margins = cascade_margins(stages(ensemble, work, labels), max_drop)
    return msgspec.structs.replace(ensemble, policy=ActivationPolicy("cascade", margins=margins))


def run_students(ensemble: QuantEnsemble, inputs: np.ndarray) -> Work:
    """Every student on inputs uint8 [N, input_bytes], by the integer reference."""
    from .reference import run_student

    traces = [run_student(ensemble, k, inputs) for k in range(len(ensemble.students))]
    return Work(np.stack([t.part for t in traces], axis=1), tuple(t.layer_ops for t in traces))


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
    """Every prefix of the ensemble's order."""
    order = list(ensemble.order)
    logits = work.parts[:, order].cumsum(axis=1) + ensemble.bias.astype(np.int64)
    label, margin = decide(logits)
    return Stages(label == np.asarray(labels)[:, None], margin, work.ops[:, order].cumsum(axis=1))


def cascade_margins(seen: Stages, max_drop: float) -> tuple[int, ...]:
    """Margins of a cascade, one a stage but the last.

    For a price on an error, margins are found by coordinate descent, each step exact: samples that reach a stage are
    sorted by margin, and the cut with the least operations + price x errors is taken. Of the cascades found over a
    range of prices, the cheapest is chosen whose accuracy is within `max_drop` points of all students.
    """
    allowed = seen.correct[:, -1].mean() - max_drop / 100 - 1e-9
    best, least = (NEVER,) * (seen.students - 1), float(seen.cost[:, -1].mean())
    for price in np.geomspace(0.1, 1000, 60) * least:
        margins = _descend(seen, float(price))
        last = _stop_stage(seen, margins)
        rows = np.arange(len(last))
        cost = float(seen.cost[rows, last].mean())
        if seen.correct[rows, last].mean() >= allowed and cost < least:
            best, least = margins, cost
    return best


def _stop_stage(seen: Stages, margins: tuple[int, ...]) -> np.ndarray:
    """The stage at which each sample stops, int64 [N]."""
    sure = np.concatenate(
        [seen.margin[:, :-1] >= np.array(margins), np.ones((len(seen.margin), 1), dtype=bool)], axis=1
    )
    stage: np.ndarray = sure.argmax(axis=1)
    return stage


def _descend(seen: Stages, price: float) -> tuple[int, ...]:
    """Margins that make operations + price x errors least, from those that never stop."""
    loss = seen.cost + price * ~seen.correct
    margins = [NEVER] * (seen.students - 1)
    for _ in range(20):
        before = list(margins)
        for stage in reversed(range(len(margins))):
            never = tuple(NEVER if k == stage else m for k, m in enumerate(margins))
            stop = _stop_stage(seen, never)
            here = np.flatnonzero(stop > stage)  # those that this stage may stop
            if not len(here):
                continue
            margins[stage] = _cut(seen.margin[here, stage], loss[here, stop[here]] - loss[here, stage])
        if margins == before:
            break
    return tuple(margins)


def _cut(margin: np.ndarray, gain: np.ndarray) -> int:
    """The threshold on `margin` at which stopping all samples at or above it gains most; NEVER if none gains."""
    order = np.argsort(-margin, kind="stable")
    total = gain[order].cumsum()
    ends = np.append(np.diff(margin[order]) != 0, True)  # samples of equal margin stop together
    best = int(np.where(ends, total, -np.inf).argmax())
    if total[best] <= 0:
        return NEVER
    low = margin[order[best]]
    below = margin[order[best + 1]] if best + 1 < len(order) else low
    return int((low + below + 1) // 2)


def golden_vectors(ensemble: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray | None = None) -> Vectors:
    """What the reference makes of inputs uint8 [N, input_bytes] under the ensemble's own policy; labels int [N]."""
    from .reference import run

    out = run(ensemble, inputs)
    known = np.full(len(inputs), -1) if labels is None else np.asarray(labels)
    return Vectors(
        inputs=np.ascontiguousarray(inputs),
        logits=out.decisions.logits.astype(np.int32),
        active=out.decisions.active.astype(np.uint32),
        spikes=out.spikes.astype(np.uint32),
        ops=np.stack([out.synaptic_ops, out.macs], axis=1).astype(np.uint32),
        labels=known.astype(np.int32),
    )
