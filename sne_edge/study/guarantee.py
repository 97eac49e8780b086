"""The study of guarantees: how often a cascade's promise breaks, repeated on many draws of samples.

In: a lab. Out: a table. The test samples, which chose nothing in a model, stand for all samples that there are: trials
draw from them, with replacement, those that calibrate, and what a calibrated cascade then does to all of them is known
exactly. Beside it, what a promise made by the validation samples does to the test samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.artifact import fingerprint
from ..ir.ensemble import QuantEnsemble
from ..quantize.calibrate import Promise, Work, choose_policy, measure, promise, stages
from ..quantize.guarantee import CHOOSING, guaranteed_policy, picked, samples_needed
from .lab import Held, Lab
from .table import Table, percent

PROMISED = (0.5, 1.0, 2.0, 5.0)  # points
CONFIDENCE = 0.95
TRIALS = 200
DRAWN = 1000  # samples that calibrate in a trial: enough for the smallest of `PROMISED`
WAYS = {"these samples alone": None, "95 % confidence": CONFIDENCE}


@dataclass(frozen=True)
class Repeated:
    """Of the trials, the share 0..1 in which more than was promised differs in all samples; means over the trials of
    that differing share, of students run and of operations; and the differing share of the test samples after the
    validation samples calibrated, or None where these are too few to promise it."""

    broken: float
    differing: float
    students_run: float
    operations: float
    unseen: float | None


def guarantee(lab: Lab) -> Table:
    """How often a promise on the drop breaks, by the drop and by how the margin was chosen."""
    helds = [lab.held(seed) for seed in lab.seeds]
    rows: list[list[Any]] = []
    asked = [(drop, way) for drop in PROMISED for way in WAYS]
    for number, (drop, way) in enumerate(asked):
        lab.progress("study", number, len(asked), f"{drop:g} points, {way}")
        found = [repeated(held, drop, WAYS[way]) for held in helds]
        unseen = [f.unseen for f in found if f.unseen is not None]
        rows.append(
            [
                drop,
                way,
                percent([f.broken for f in found]),
                percent([f.differing for f in found]),
                [round(f.students_run, 2) for f in found],
                [round(f.operations) for f in found],
                percent(unseen) if len(unseen) == len(found) else f"{samples_needed(drop, CONFIDENCE):,} needed",
            ]
        )
    data = helds[0].data
    testing = len(data.y_val) - round(CHOOSING * len(data.y_val))
    notes = [
        f"A promise: of all samples at most so many points are right with only one of cascade and all students. "
        f"{TRIALS} trials a seed; in each, {DRAWN:,} samples, drawn from the {len(data.y_test):,} test samples with "
        "replacement, calibrate; broken is where more differs in all of these, which is known exactly, not estimated.",
        f"These samples alone: the lowest margin that keeps to it on the samples that calibrate. {CONFIDENCE:.0%} "
        f"confidence: learn then test, see `sne-edge calibrate --confidence`, which may break in "
        f"{1 - CONFIDENCE:.0%} of trials.",
        f"The last column is of the test samples where the {len(data.y_val):,} validation samples calibrated, of which "
        f"{testing:,} test margins; where they are too few for a promise, how many must test it stands there.",
    ]
    columns = (
        "promised drop, points", "margin chosen by", "broken, % of trials", "differing, %", "students run",
        "operations", "differing, % of test samples, calibrated on validation",
    )  # fmt: skip
    return Table(f"Promises kept and broken on {lab.label}", columns, rows, notes)


def repeated(held: Held, drop: float, confidence: float | None) -> Repeated:
    """A promise of `drop` points made again and again, with a confidence or by the samples alone (None)."""
    key = ("promise", fingerprint(held.model), held.data.fingerprint, str(drop), str(confidence), f"{TRIALS} {DRAWN}")

    def make() -> list[float | None]:
        work, labels = held.test, held.data.y_test
        generator = np.random.default_rng([held.config.seed, 7])
        trials = []
        for _ in range(TRIALS):
            rows = generator.integers(len(labels), size=DRAWN)
            trials.append(judged(held.model, picked(work, rows), labels[rows], work, labels, drop, confidence))
        validation = measure(held.model, held.engine, held.encode(held.data.x_val))
        try:
            unseen = judged(held.model, validation, held.data.y_val, work, labels, drop, confidence).differing
        except SneError:  # too few
            unseen = None
        kept = [np.mean([getattr(t, what) for t in trials]) for what in ("differing", "students_run", "operations")]
        return [float(np.mean([t.differing > drop / 100 for t in trials])), *map(float, kept), unseen]

    return Repeated(*held.lab.remember(key, make))


def judged(
    model: QuantEnsemble,
    work: Work,
    labels: np.ndarray,
    whole: Work,
    truth: np.ndarray,
    drop: float,
    confidence: float | None,
) -> Promise:
    """What the cascade that some samples' work and labels choose does to all of them. Raises `SneError` where the
    samples are too few for a promise with a confidence."""
    if confidence is None:
        made = choose_policy(model, work, labels, drop)
    else:
        made, _ = guaranteed_policy(model, work, labels, drop, confidence)
    return promise(stages(made, whole, truth), made.policy.margins)
