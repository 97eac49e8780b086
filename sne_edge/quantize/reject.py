"""None of these: a rejection calibrated for a rate of false alarms, and what it does to samples that did not choose it.

In: what an engine makes of samples of known classes, and of some that are of none. Out: the `Rejection` that gives the
fewest known samples no label, among those that are promised to give at most so many unknown ones a label.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.rejection import MOST, WHOLE, Rejection
from .calibrate import upper_bound

TAILS = (0.0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1)  # of known samples, beyond a limit of spikes
CONFIDENCE = 0.95


@dataclass(frozen=True, eq=False)
class Seen:
    """What a model's own policy made of N samples, int64 [N]: an input gets a label where ratio >= `Rejection.ratio`,
    margin >= `.margin`, least >= `.spikes[0]` and most <= `.spikes[1]`."""

    ratio: np.ndarray
    margin: np.ndarray
    least: np.ndarray
    most: np.ndarray

    def labelled(self, rule: Rejection) -> np.ndarray:
        """Whether each gets a label, bool [N]."""
        ordinary = (self.least >= rule.spikes[0]) & (self.most <= rule.spikes[1])
        return ordinary & (self.ratio >= rule.ratio) & (self.margin >= rule.margin)

    def picked(self, rows: np.ndarray) -> Seen:
        """Some of the samples."""
        return Seen(self.ratio[rows], self.margin[rows], self.least[rows], self.most[rows])


def seen(values: dict[str, np.ndarray]) -> Seen:
    """From an engine's results by the names in `verify.FIELDS`."""
    logits, margin = values["logits"].astype(np.int64), values["margin"].astype(np.int64)
    span = logits.max(axis=1) - logits.min(axis=1)
    fired, students = values["spikes"].sum(axis=1).astype(np.int64), values["students_run"].astype(np.int64)
    ratio = np.where(span > 0, margin * WHOLE // np.maximum(span, 1), WHOLE)
    return Seen(ratio, margin, fired // students, -(-fired // students))


def thirds(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows of the unknown samples that choose a rule's form, that set its limit, and that judge it; a fixed shuffle."""
    order = np.random.default_rng(0).permutation(count)
    one, two, three = (np.sort(order[start::3]) for start in range(3))
    return one, two, three


def check_rate(max_false_alarms: float) -> None:
    """Raise `SneError` where no share of false alarms is so small, or so large."""
    if not 0 < max_false_alarms < 1:
        raise SneError(f"a rate of false alarms of {max_false_alarms}", "give a share above 0 and below 1: 0.05, say")


def choose(known: Seen, forming: Seen, setting: Seen, max_false_alarms: float) -> Rejection:
    """The rejection that labels the most known samples while, with 95 % confidence, at most the share
    `max_false_alarms` of inputs like the unknown ones would get a label.

    `forming` unknown samples choose between a ratio and a margin, and between limits of spikes, tried at a few tails of
    the known samples. Others then are `setting` the ratio or margin: of many rules the best looks better than it is, of
    one with a single number to set it does not. Raises `SneError` where the unknown samples are too few to tell.
    """
    check_rate(max_false_alarms)
    count = min(len(forming.ratio), len(setting.ratio))
    if count == 0 or upper_bound(0, count, CONFIDENCE) > max_false_alarms:
        least = int(np.ceil(np.log(1 - CONFIDENCE) / np.log(1 - max_false_alarms)))
        raise SneError(
            f"{count} unknown samples cannot show a rate of false alarms of {max_false_alarms:.2%}",
            f"give at least {3 * least}: a third chooses a rule, a third sets its limit, and a third judges",
        )
    best, most = (0, MOST, True), -1
    for low in [0, *(int(np.quantile(known.least, tail)) for tail in TAILS)]:
        for high in [MOST, *(int(np.ceil(np.quantile(known.most, 1 - tail))) for tail in TAILS)]:
            for relative in (True, False):
                if low > high:
                    continue
                rule = _limited(low, high, relative, forming, max_false_alarms)
                kept = int(known.labelled(rule).sum())
                if kept > most:
                    best, most = (low, high, relative), kept
    return _limited(*best, setting, max_false_alarms)


def _limited(low: int, high: int, relative: bool, unknown: Seen, share: float) -> Rejection:
    """The rule of these limits of spikes with the lowest ratio, or margin, at which so few get a label that, with
    confidence, at most the share of others like them do."""
    within = unknown.labelled(Rejection(0, (low, high)))
    values = (unknown.ratio if relative else unknown.margin)[within]
    limit = _limit(values, _allowed(len(unknown.ratio), share))
    return Rejection(limit, (low, high)) if relative else Rejection(0, (low, high), limit)


def report(rule: Rejection, known: Seen, right: np.ndarray, unknown: Seen) -> dict[str, Any]:
    """The limits of a rejection on samples that had no part in choosing it, JSON-able.

    `known`: of the classes, labelled rightly or not (`right`, bool [N], before any rejection); `unknown`: of none.
    """
    alarms, count = int(unknown.labelled(rule).sum()), len(unknown.ratio)
    labelled = known.labelled(rule)
    return {
        "rule": {"ratio": rule.ratio, "margin": rule.margin, "spikes": list(rule.spikes)},
        "unknown": count,
        "false_alarms": round(alarms / count, 4),
        "false_alarms_at_most": round(upper_bound(alarms, count, CONFIDENCE), 4),
        "known": len(right),
        "rejected": round(float(1 - labelled.mean()), 4),
        "rejected_at_most": round(upper_bound(int((~labelled).sum()), len(right), CONFIDENCE), 4),
        "accuracy": round(float(right.mean()), 4),
        "accuracy_of_labelled": round(float(right[labelled].mean()), 4) if labelled.any() else None,
    }


def in_words(told: dict[str, Any]) -> str:
    """What a rejection does, a `report`, in words."""
    labelled = told["accuracy_of_labelled"]
    return (
        f"None of the classes: of {told['unknown']:,} unknown samples that had no part in it "
        f"{told['false_alarms']:.2%} get a label all the same, with 95 % confidence at most "
        f"{told['false_alarms_at_most']:.2%} of others like them; of {told['known']:,} known test samples "
        f"{told['rejected']:.2%} get none (at most {told['rejected_at_most']:.2%}), and of the others "
        f"{'-' if labelled is None else f'{labelled:.2%}'} are right"
    )


@cache
def _allowed(count: int, share: float) -> int:
    """How many false alarms among `count` still show, with confidence, that there are at most `share` of them."""
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if upper_bound(middle, count, CONFIDENCE) <= share else (low, middle)
    return low


def _limit(values: np.ndarray, allowed: int) -> int:
    """The lowest limit that at most `allowed` of the values reach."""
    if len(values) <= allowed:
        return 0
    return int(np.sort(values)[::-1][allowed]) + 1
