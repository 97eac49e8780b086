"""Early stops: when a cascade's student may end before its last timestep.

In: an ensemble with a cascade, for the calibrated rule also held-out samples. Out: `ActivationPolicy.early`, margins by
stage and timestep. The exact rule changes no label and no number of students, whatever the input; the calibrated one
changes few.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

from ..check.verify import Engine
from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.graph_proof import arriving
from ..ir.policy import NEVER, ActivationPolicy
from ..ir.proof import multiplicities
from ..ir.schedule import decide, schedule
from ..ir.student import QuantStudent
from .calibrate import lowest_margin, measure, spread

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

    After t of T timesteps: the most by which what is left brings any class nearer to another (`left`), and what the
    margin must be in the end: the stage's own, at least 1 (a tie goes to the lower class).
    """
    policy, total = ensemble.policy, ensemble.encoder.timesteps
    steps = policy.timesteps or total
    table = []
    for stage in range(len(ensemble.students)):
        routed = policy.kind == "routed" and stage > 0
        able = ensemble.students if routed else [ensemble.students[ensemble.order[stage]]]
        last = policy.margins[stage] if stage < len(policy.margins) else 1
        for t in range(1, total):
            within = max(left(student, ensemble.encoder, t, steps) for student in able) if t < steps else NEVER
            table.append(min(max(last, 1) + within, NEVER))
    return tuple(table)


def left(student: QuantStudent, encoder: Encoder, t: int, steps: int) -> int:
    """The most by which timesteps t.. of `steps` can lower the difference of two logits; `NEVER` where there is no such
    bound: where readouts or sums leak or are clamped, and for membranes of the last timestep."""
    if not isinstance(student.graph, Graph):
        return (steps - t) * turn(student)
    decoder, last = student.graph.decoder, student.graph.populations[-1]
    gain = student.gain.astype(np.int64)
    low, high = min(last.bound.low, 0), max(last.bound.high, 0)
    if decoder.leak.kind != "none" or decoder.clamp is not None:
        return NEVER
    if decoder.kind == "count":
        return int(gain.max()) * (steps - t)
    if decoder.kind == "first":  # of which a spike at timestep t is worth so much, whatever comes later
        return int(gain.max()) * (encoder.timesteps - t)
    if decoder.kind == "membrane" and decoder.take != "final":
        return int(gain.max()) * (high - low) * (steps - t if decoder.take == "mean" else 1)
    if decoder.kind == "current" and last.neuron.clamp is None:
        given = arriving(last, encoder)
        grid = last.positions, last.channels
        most = np.broadcast_to(given.high + given.positive, grid).reshape(-1)
        least = np.broadcast_to(given.low + given.negative, grid).reshape(-1)
        return int((gain * most).max() - (gain * least).min()) * (steps - t)
    return NEVER


def turn(student: QuantStudent) -> int:
    """The most by which one timestep of a chain can lower the difference of two logits; `NEVER` where it has no such
    bound."""
    assert student.layers
    readout, most = student.readout, multiplicities(student.layers)[-1]
    if readout.neuron.decay.kind != "none" or readout.neuron.clamp is not None:
        return NEVER  # a window, which early stops only meet where it holds a whole inference, forgets nothing in one
    gain = student.gain.astype(np.int64)
    weight, bias = gain[:, None] * readout.weight.astype(np.int64), gain * readout.bias.astype(np.int64)
    nearer = [most * (weight - weight[a]).clip(0).sum(axis=1) + bias - bias[a] for a in range(len(gain))]
    return int(max(column.max() for column in nearer))


def partial_parts(ensemble: QuantEnsemble, engine: Engine, inputs: np.ndarray) -> np.ndarray:
    """What `margin_table` takes as `early`: each student's logits after every timestep but the last of the model's own
    policy, int64 [N, students, timesteps - 1, classes], on inputs uint8 [N, input_bytes]."""
    steps = ensemble.policy.timesteps or ensemble.encoder.timesteps
    return np.stack([measure(ensemble, engine, inputs, t).parts for t in range(1, steps)], axis=2)


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
