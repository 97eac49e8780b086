"""None of these: which inputs get no label, decided by integers that every engine has at the end of an inference."""

from __future__ import annotations

import msgspec
import numpy as np

from .checks import check
from .neuron import INT32

WHOLE = 2**15  # a ratio of 1
NONE = -1  # the label of a rejected input
MOST = 2**32 - 1


class Rejection(msgspec.Struct, frozen=True):
    """An input is none of the classes where one of these holds:

        margin * 2^15 < ratio * (highest - lowest logit)
        margin < self.margin
        spikes < spikes[0] * students_run   or   spikes > spikes[1] * students_run

    margin is that of the decision, highest minus second highest logit; spikes are those of all neurons of the students
    that ran. Large inputs make large margins, whatever they are: what tells one class from none is how far the highest
    logit stands out from the others. A live stream, whose spikes have no end, is judged by ratio and margin alone.
    """

    ratio: int = 0
    spikes: tuple[int, int] = (0, MOST)
    margin: int = 0

    def __post_init__(self) -> None:
        check(0 <= self.ratio <= WHOLE + 1, f"a rejection's ratio {self.ratio} is not in 0..{WHOLE + 1}")
        check(0 <= self.margin <= INT32[1], f"a rejection's margin {self.margin} is not in 0..{INT32[1]}")
        check(0 <= self.spikes[0] <= self.spikes[1] <= MOST, f"a rejection's spikes {self.spikes} are out of order")

    def rejects(
        self, logits: np.ndarray, margin: np.ndarray, spikes: np.ndarray | None, students_run: np.ndarray
    ) -> np.ndarray:
        """Of N samples, bool [N]: logits int64 [N, classes], margin, spikes (or None: a stream's) and students_run
        int64 [N]."""
        logits, margin = logits.astype(np.int64), np.asarray(margin, np.int64)
        span = logits.max(axis=1) - logits.min(axis=1)
        rejected: np.ndarray = (margin * WHOLE < self.ratio * span) | (margin < self.margin)
        if spikes is not None:
            rejected |= (spikes < self.spikes[0] * students_run) | (spikes > self.spikes[1] * students_run)
        return rejected
