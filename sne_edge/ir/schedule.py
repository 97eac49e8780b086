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
    """Label (lowest index on a tie) and margin of each row of integer logits [..., classes], 0 and 0 of one."""
    if logits.shape[-1] == 1:
        return np.zeros(logits.shape[:-1], np.int64), np.zeros(logits.shape[:-1], np.int64)
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


def sequence(ensemble: QuantEnsemble, parts: np.ndarray, routed: bool) -> np.ndarray:
    """Who runs first, second, ... while nothing ends it: int64 [N, students], in the ensemble's order or by its routes.

    `parts`: int64 [N, students, classes], each student's bias + gain * readout.
    """
    count, students = parts.shape[:2]
    if not routed:
        return np.broadcast_to(np.array(ensemble.order), (count, students))
    assert ensemble.routes is not None
    rows = np.arange(count)
    logits = ensemble.bias + np.zeros_like(parts[:, 0])
    ran = np.zeros((count, students), dtype=bool)
    found = np.full((count, students), ensemble.order[0])
    for stage in range(students):
        if stage > 0:
            wanted = ensemble.routes[route_rows(logits)].astype(np.int64)
            free = ~np.take_along_axis(ran, wanted, axis=1)
            found[:, stage] = wanted[rows, free.argmax(axis=1)]
        student = found[:, stage]
        logits += parts[rows, student]
        ran[rows, student] = True
    return found


def prefixes(ensemble: QuantEnsemble, parts: np.ndarray, running: np.ndarray) -> np.ndarray:
    """Logits after each student of `running`, int64 [N, stages]: int64 [N, stages, classes]."""
    logits: np.ndarray = np.take_along_axis(parts, running[:, :, None], axis=1).cumsum(axis=1) + ensemble.bias
    return logits


def stop_stages(margin: np.ndarray, margins: tuple[int, ...]) -> np.ndarray:
    """The stage at which a cascade of `margins` stops, int64 [N], of margins after each stage, int64 [N, students]."""
    return _first(margin >= np.array([*margins, 0]))


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

    Every policy is a sequence of students and a reason to end it: the first stage with one is the last that runs.
    """
    check_fits(policy, ensemble)
    rows, steps = np.arange(len(parts)), policy.timesteps or ensemble.encoder.timesteps
    running = sequence(ensemble, parts, policy.kind == "routed")
    if policy.kind == "mask":
        running = running[:, [policy.mask >> student & 1 == 1 for student in ensemble.order]]
    elif policy.kind == "first":
        running = running[:, : policy.students]
    logits = prefixes(ensemble, parts, running)
    stages = running.shape[1]
    reasons = np.zeros((len(parts), stages), dtype=np.int64)  # indices into `STOPS` for ending after a stage
    if policy.kind == "budget":
        spent = np.take_along_axis(ops, running, axis=1).cumsum(axis=1)
        most = np.array([student.max_ops for student in ensemble.students], dtype=np.int64)
        reasons[:, :-1][spent[:, :-1] + most[running[:, 1:]] > policy.max_ops] = STOPS.index("budget")
    elif policy.kind in ("cascade", "routed") and stages > 1:
        reasons[:, :-1][decide(logits[:, :-1])[1] >= np.array(policy.margins)] = STOPS.index("margin")
    timesteps = np.full((len(parts), stages), steps)
    if policy.early and steps > 1:  # of a single timestep there is nothing to end
        assert early is not None
        table = np.array(policy.early, dtype=np.int64).reshape(stages, -1)[:, : early.shape[2]]
        before = logits - np.take_along_axis(parts, running[:, :, None], axis=1)
        partial = before[:, :, None] + np.take_along_axis(early, running[:, :, None, None], axis=1)
        sure = decide(partial)[1] >= table
        ended, at = np.nonzero(sure.any(axis=2)), _first(sure)
        reasons[ended], timesteps[ended] = STOPS.index("early"), at[ended] + 1
        logits[ended] = partial[ended[0], ended[1], at[ended]]
    ends = reasons > 0
    ends[:, -1] = True
    last = _first(ends)
    ran = np.arange(stages) <= last[:, None]
    label, margin = decide(logits[rows, last])
    return Decisions(
        logits=logits[rows, last],
        label=label,
        margin=margin,
        active=(ran << running).sum(axis=1).astype(np.uint32),
        students_run=last + 1,
        stop=reasons[rows, last],
        last=running[rows, last],
        timesteps=timesteps[rows, last],
    )


def _first(found: np.ndarray) -> np.ndarray:
    """Along the last axis, the index of the first that is true, 0 where none is."""
    index: np.ndarray = found.argmax(axis=-1)
    return index
