"""The activation scheduler in Python: which students wake for an input, and when to stop.

In: each student's part of the logits and its cost, for every sample. Out: the decisions, the same ones
that `sne_schedule.c` takes, bit for bit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .ensemble import QuantEnsemble
from .policy import ActivationPolicy, check_fits, pair_row

STOPS = ("complete", "margin", "budget", "early")  # sne_stop in sne.h


@dataclass(frozen=True)
class Decisions:
    """What a policy decided for N samples.

    logits int64 [N, classes]; label int64 [N]; margin int64 [N] (highest minus second highest logit);
    active uint32 [N] (mask of students run); students_run int64 [N]; stop int64 [N] (index into `STOPS`);
    last int64 [N]: the student that ran last; timesteps int64 [N]: how many it ran.
    """

    logits: np.ndarray
    label: np.ndarray
    margin: np.ndarray
    active: np.ndarray
    students_run: np.ndarray
    stop: np.ndarray
    last: np.ndarray
    timesteps: np.ndarray


def decide(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Label (lowest index on a tie) and margin of each row of integer logits [..., classes]."""
    top = np.partition(logits, -2, axis=-1)
    return logits.argmax(axis=-1), top[..., -1] - top[..., -2]


def top_two(logits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The class of the highest and of the second highest logit of each row [N, classes], each the lowest on a tie."""
    best = logits.argmax(axis=-1)
    others = np.where(np.arange(logits.shape[-1]) == best[..., None], np.iinfo(np.int64).min, logits)
    return best, others.argmax(axis=-1)


def route_rows(logits: np.ndarray) -> np.ndarray:
    """The row of `QuantEnsemble.routes` that is consulted with logits [N, classes]: int64 [N]."""
    best, second = top_two(logits)
    return pair_row(np.minimum(best, second), np.maximum(best, second))


def schedule(
    ensemble: QuantEnsemble,
    policy: ActivationPolicy,
    parts: np.ndarray,
    ops: np.ndarray,
    early: np.ndarray | None = None,
) -> Decisions:
    """Decide for N samples.

    `parts`: int64 [N, students, classes], each student's bias + gain * readout. `ops`: int64 [N, students],
    the operations (synaptic and MAC) each takes. `early`, for a policy with early stops: int64 [N, students, t,
    classes], the parts after 1, 2, ... timesteps but the last. Raises `SneError` where the policy does not fit the
    ensemble.
    """
    check_fits(policy, ensemble)
    if policy.early:
        assert early is not None
        return _schedule_early(ensemble, policy, parts, early)
    steps = policy.timesteps or ensemble.encoder.timesteps
    if policy.kind == "routed":
        return _schedule_routed(ensemble, policy, parts, steps)
    count, last = len(parts), len(ensemble.students) - 1
    latest = np.zeros(count, dtype=np.int64)
    logits = np.broadcast_to(ensemble.bias.astype(np.int64), (count, len(ensemble.classes))).copy()
    active = np.zeros(count, dtype=np.uint32)
    spent = np.zeros(count, dtype=np.int64)
    stop = np.zeros(count, dtype=np.int64)
    running = np.ones(count, dtype=bool)
    for stage, student in enumerate(ensemble.order):
        if policy.kind == "first" and stage == policy.students:
            break
        if policy.kind == "mask" and not policy.mask >> student & 1:
            continue
        if policy.kind == "budget" and stage > 0:
            over = running & (spent + ensemble.students[student].max_ops > policy.max_ops)
            stop[over] = STOPS.index("budget")
            running &= ~over
        logits[running] += parts[running, student]
        latest[running] = student
        active[running] |= np.uint32(1 << student)
        spent[running] += ops[running, student]
        if policy.kind == "cascade" and stage < last:
            sure = running & (decide(logits)[1] >= policy.margins[stage])
            stop[sure] = STOPS.index("margin")
            running &= ~sure
    return _decisions(logits, active, stop, latest, np.full(count, steps))


def routed_sequence(ensemble: QuantEnsemble, parts: np.ndarray) -> np.ndarray:
    """Who runs first, second, ... under `routed` while no margin stops it: int64 [N, students]."""
    assert ensemble.routes is not None
    count, students = parts.shape[:2]
    rows = np.arange(count)
    logits = np.broadcast_to(ensemble.bias.astype(np.int64), (count, len(ensemble.classes))).copy()
    ran = np.zeros((count, students), dtype=bool)
    sequence = np.full((count, students), ensemble.order[0])
    for stage in range(students):
        if stage > 0:
            wanted = ensemble.routes[route_rows(logits)].astype(np.int64)
            free = ~np.take_along_axis(ran, wanted, axis=1)
            sequence[:, stage] = wanted[rows, free.argmax(axis=1)]
        student = sequence[:, stage]
        logits += parts[rows, student]
        ran[rows, student] = True
    return sequence


def _schedule_early(
    ensemble: QuantEnsemble, policy: ActivationPolicy, parts: np.ndarray, early: np.ndarray
) -> Decisions:
    count, students = parts.shape[:2]
    rows, steps = np.arange(count), early.shape[2] + 1
    table = np.array(policy.early, dtype=np.int64).reshape(students, -1)
    sequence = np.broadcast_to(np.array(ensemble.order), (count, students))
    if policy.kind == "routed":
        sequence = routed_sequence(ensemble, parts)
    logits = np.broadcast_to(ensemble.bias.astype(np.int64), (count, len(ensemble.classes))).copy()
    active, stop = np.zeros(count, dtype=np.uint32), np.zeros(count, dtype=np.int64)
    last, timesteps = np.zeros(count, dtype=np.int64), np.full(count, steps)
    running = np.ones(count, dtype=bool)
    for stage in range(students):
        student = sequence[:, stage]
        last[running] = student[running]
        active[running] |= (np.uint32(1) << student.astype(np.uint32))[running]
        for t in range(1, steps):
            so_far = logits + early[rows, student, t - 1]
            sure = running & (decide(so_far)[1] >= table[stage, t - 1])
            logits[sure], timesteps[sure], stop[sure] = so_far[sure], t, STOPS.index("early")
            running &= ~sure
        logits[running] += parts[rows, student][running]
        if stage < students - 1:
            sure = running & (decide(logits)[1] >= policy.margins[stage])
            stop[sure] = STOPS.index("margin")
            running &= ~sure
    return _decisions(logits, active, stop, last, timesteps)


def _schedule_routed(ensemble: QuantEnsemble, policy: ActivationPolicy, parts: np.ndarray, steps: int) -> Decisions:
    sequence = routed_sequence(ensemble, parts)
    logits = np.take_along_axis(parts, sequence[:, :, None], axis=1).cumsum(axis=1) + ensemble.bias.astype(np.int64)
    last = stop_stages(decide(logits)[1], policy.margins)
    ran = np.arange(parts.shape[1]) <= last[:, None]
    active = ((ran << sequence).sum(axis=1)).astype(np.uint32)
    stop = np.where(last < parts.shape[1] - 1, STOPS.index("margin"), STOPS.index("complete"))
    rows = np.arange(len(logits))
    return _decisions(logits[rows, last], active, stop, sequence[rows, last], np.full(len(rows), steps))


def stop_stages(margin: np.ndarray, margins: tuple[int, ...]) -> np.ndarray:
    """The stage at which a cascade of `margins` stops, int64 [N], of margins after each stage, int64 [N, students]."""
    sure = margin >= np.array([*margins, 0])
    stages: np.ndarray = sure.argmax(axis=1)
    return stages


def _decisions(
    logits: np.ndarray, active: np.ndarray, stop: np.ndarray, last: np.ndarray, timesteps: np.ndarray
) -> Decisions:
    label, margin = decide(logits)
    students_run = np.array([int(mask).bit_count() for mask in active], dtype=np.int64)
    return Decisions(logits, label, margin, active, students_run, stop, last, timesteps)
