"""What a search will take, before it starts and as it goes on: how many candidates fit in its minutes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .jobs import minutes

RUNGS = (0.08, 0.25)  # shares of a recipe's epochs that a candidate trains for, one after the other
LAST = 1.1  # times a training in full: calibrated on more samples, verified


@dataclass(frozen=True)
class Plan:
    """A search as far as can be foreseen. `tried`: candidates that were; `size`: of a round; `workers`: jobs at once;
    `budget`, `each` (all epochs of one candidate) and `last` (the last training): seconds, None where none ran yet;
    `most`: candidates, or None."""

    tried: int
    size: int
    workers: int
    budget: float
    each: float | None
    last: float | None
    most: int | None = None

    @property
    def round(self) -> float | None:
        """Seconds of a round whose candidates all go through every rung."""
        size = self.size if self.most is None else min(self.size, self.most - self.tried)
        return None if self.each is None else self.each_tried * -(-max(0, size) // self.workers)

    @property
    def fits(self) -> bool:
        """Whether one more round and the last training end in time; the first round has to show it."""
        return not self.tried or self.round is None or self.last is None or self.round + self.last <= self.budget

    @property
    def candidates(self) -> int | None:
        """How many more will be tried; None where that is not known."""
        if self.round is None or self.last is None:
            return None
        first = int(not self.tried)  # of which there is always one, a round of its own
        rounds = max(0, int((self.budget - self.last - first * self.each_tried) // self.round)) if self.round else 0
        more = first + rounds * self.size
        return more if self.most is None else min(more, max(0, self.most - self.tried))

    @property
    def each_tried(self) -> float:
        """Seconds of one candidate through every rung."""
        return (self.each or 0.0) * sum(RUNGS)

    def __str__(self) -> str:
        told = f"{self.tried} candidates tried" if self.tried else "no candidate tried yet"
        if self.candidates is None or self.each is None or self.last is None:
            return f"{told}; how long one takes is not known before one ran"
        shares = " and ".join(minutes(self.each * share / 60) for share in RUNGS)
        jobs = f"jobs of {shares} minutes, {self.workers} at once, in rounds of {self.size}"
        more = f"about {self.candidates} more fit in {minutes(self.budget / 60)} minutes: up to "
        return f"{told}; {more}{self.candidates * len(RUNGS)} {jobs}; the last training takes {minutes(self.last / 60)}"


def plan(
    seconds: dict[int, float], chosen: int | None, tried: int, size: int, workers: int, budget: float, most: int | None,
    otherwise: float | None = None,
) -> Plan:  # fmt: skip
    """By the seconds that all epochs of trials would take, by their number, and the number of the one that would be
    chosen now; `otherwise`: where there are none, the seconds that others of this data lead to expect."""
    each = float(np.mean([*seconds.values()])) if seconds else otherwise
    last = seconds[chosen] if chosen in seconds else max(seconds.values(), default=otherwise)
    return Plan(tried, size, workers, budget, each, None if last is None else LAST * last, most)
