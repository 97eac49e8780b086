"""Early stops: when a cascade's student may end before its last timestep.

In: an ensemble with a cascade, for the calibrated rule also held-out samples. Out: `ActivationPolicy.early`, margins by
stage and timestep. The exact rule changes no label and no number of students, whatever the input; the calibrated one
changes few.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.policy import NEVER, ActivationPolicy
from ..ir.proof import multiplicities
from ..ir.schedule import decide, schedule
from ..ir.student import QuantStudent
from .calibrate import lowest_margin, spread

CANDIDATES = 200  # margins that are tried, at most
Rule = Literal["exact", "margin"]
RULES: tuple[Rule, ...] = ("exact", "margin")


def check_rule(rule: str, timesteps: int) -> None:
    """Raise `SneError` where no student of so many timesteps can end by the rule."""
    if rule not in RULES:
        raise SneError(f"there is no rule {rule!r} for early stops", f"give one of: {', '.join(RULES)}")
    if timesteps < 2:
        raise SneError("the model runs one timestep: there is nothing to end early", "leave --early out")


def with_table(ensemble: QuantEnsemble, table: tuple[int, ...]) -> QuantEnsemble:
    """The ensemble with early stops; one of a single student, whose policy is `all`, gets a cascade without margins."""
    policy = ensemble.policy
    if policy.kind == "all" and len(ensemble.students) == 1:
        policy = ActivationPolicy("cascade", timesteps=policy.timesteps)
    return msgspec.structs.replace(ensemble, policy=msgspec.structs.replace(policy, early=table))


def exact_table(ensemble: QuantEnsemble) -> tuple[int, ...]:
    """Margins at which what a student may still do changes neither the label nor who runs.

    After t of T timesteps: (T - t) times the most by which one timestep brings any class nearer to another, and what
    the margin must be in the end: the stage's own, at least 1 (a tie goes to the lower class). `NEVER` for readouts
    that leak or are clamped.
    """
    policy, total = ensemble.policy, ensemble.encoder.timesteps
    steps = policy.timesteps or total
    turns = [turn(student) for student in ensemble.students]
    table = []
    for stage in range(len(ensemble.students)):
        within = max(turns) if policy.kind == "routed" and stage > 0 else turns[ensemble.order[stage]]
        last = policy.margins[stage] if stage < len(policy.margins) else 1
        for t in range(1, total):
            margin = max(last, 1) + (steps - t) * within if t < steps else NEVER
            table.append(min(margin, NEVER))
    return tuple(table)


def turn(student: QuantStudent) -> int:
    """The most by which one timestep can lower the difference of two logits; `NEVER` where it has no such bound."""
    if isinstance(student.graph, Graph):
        return NEVER  # what comes back, or late, is not in a readout's weights
    readout, most = student.readout, multiplicities(student.layers)[-1]
    if readout.neuron.decay.kind != "none" or readout.neuron.clamp is not None:
        return NEVER  # a window, which early stops only meet where it holds a whole inference, forgets nothing in one
    gain = student.gain.astype(np.int64)
    weight, bias = gain[:, None] * readout.weight.astype(np.int64), gain * readout.bias.astype(np.int64)
    nearer = [most * (weight - weight[a]).clip(0).sum(axis=1) + bias - bias[a] for a in range(len(gain))]
    return int(max(column.max() for column in nearer))


def margin_table(
    ensemble: QuantEnsemble, parts: np.ndarray, early: np.ndarray, labels: np.ndarray, max_drop: float
) -> tuple[int, ...]:
    """One margin for every stage and timestep, chosen on N samples of known labels.

    The lowest at which, and at all tried above it, at most `max_drop` percent of the samples are right with only one of
    the cascade and all students; `NEVER` where any is too low. `parts` int64 [N, students, classes], `early` int64
    [N, students, timesteps - 1, classes]: as for `ir.schedule.schedule`.
    """
    count = len(ensemble.students) * (ensemble.encoder.timesteps - 1)
    right = (parts.sum(axis=1) + ensemble.bias).argmax(axis=1) == labels
    ops = np.zeros(parts.shape[:2], dtype=np.int64)

    def differing(margin: int) -> float:
        tried = with_table(ensemble, (margin,) * count)
        label = schedule(tried, tried.policy, parts, ops, early).label
        return float(((label == labels) != right).mean())

    return (lowest_margin(spread(decide(early + ensemble.bias)[1], CANDIDATES), differing, max_drop),) * count
