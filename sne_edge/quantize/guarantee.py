"""A cascade whose promise holds for new samples, with a stated confidence.

In: an ensemble, what its students make of held-out samples, a drop, a confidence. Out: the lowest margin of which the
promise can be made. Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052), by fixed-sequence testing: margins of
a grid that no sample decides, from the highest down, each tested at the whole level, up to the first that fails. Order
and routes are chosen on other samples than those that test.

What is promised is the share of samples that only one of cascade and all students gets right; accuracy can drop by no
more. It holds for new samples of the same kind where the held-out ones had no part in the students. A model's own
validation samples chose its best epoch: strictly, a promise takes samples that chose nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import NEVER, ActivationPolicy
from .calibrate import Stages, Work, choose_policy, promise, stages, upper_bound

FINE = 16  # margins of the grid in each doubling
GRID = (*sorted({round(2 ** (k / FINE)) for k in range(30 * FINE)}, reverse=True), 0)
CHOOSING = 1 / 3  # of the samples choose order and routes, the others test margins


@dataclass(frozen=True)
class Guarantee:
    """What was tested: the margin; of how many samples the cascade and all students differ on how many; the share 0..1
    of new samples that can be, at most, with the confidence."""

    margin: int
    samples: int
    differing: int
    bound: float


def check_confidence(confidence: float) -> None:
    """Raise `SneError` for a confidence that is none."""
    if not 0.5 <= confidence <= 0.9999:
        raise SneError(f"a confidence of {confidence} is not in 0.5..0.9999", "give 0.95, say")


def samples_needed(max_drop: float, confidence: float, differing: float = 0.0) -> int:
    """The fewest samples with which a drop of `max_drop` points can be promised where a share `differing` 0..1 of them
    differs. Raises `SneError` where no number does."""
    share = max_drop / 100
    if share <= differing:
        raise SneError(f"a share of {differing} differs: {max_drop} points cannot be promised", "allow more")
    low, high = 0, 1
    while upper_bound(math.ceil(differing * high), high, confidence) > share:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        holds = upper_bound(math.ceil(differing * middle), middle, confidence) <= share
        low, high = (low, middle) if holds else (middle, high)
    return high


def guaranteed_margin(seen: Stages, max_drop: float, confidence: float) -> Guarantee:
    """The lowest margin of `GRID` for which, and for all above it, the bound on the differing share is at most
    `max_drop` percent. Raises `SneError`, with the number that it takes, where the samples are too few for any."""
    count = len(seen.margin)
    if not max_drop > 0 or upper_bound(0, count, confidence) > max_drop / 100:
        least = "no number is" if not max_drop > 0 else f"{samples_needed(max_drop, confidence):,} are"
        raise SneError(
            f"{count:,} tested samples cannot promise a drop of at most {max_drop:g} points with a confidence of "
            f"{confidence:g}: {least} enough",
            "give more validation samples, two thirds of which test, a larger --max-drop or a lower --confidence",
        )
    best = Guarantee(NEVER, count, 0, upper_bound(0, count, confidence))
    highest = int(seen.margin[:, :-1].max(initial=0))
    for margin in GRID:
        if margin > highest:  # no sample stops before its end: as `best`
            best = Guarantee(margin, count, 0, best.bound)
            continue
        differing = round(promise(seen, (margin,) * (seen.students - 1)).differing * count)
        bound = upper_bound(differing, count, confidence)
        if bound > max_drop / 100:
            break
        best = Guarantee(margin, count, differing, bound)
    return best


def guaranteed_policy(
    ensemble: QuantEnsemble, work: Work, labels: np.ndarray, max_drop: float, confidence: float, kind: str = "cascade"
) -> tuple[QuantEnsemble, Guarantee]:
    """The ensemble with order and policy, and what the margin's test found; arguments as for `choose_policy`.

    A third of the samples, drawn by a fixed seed, choose the order (and routes), the others test margins. Raises
    `SneError` where there is one student, or where they are too few.
    """
    check_confidence(confidence)
    if len(ensemble.students) == 1:
        raise SneError(f"{ensemble.name} has one student: no cascade to promise anything of", "leave --confidence out")
    drawn = np.random.default_rng(0).permutation(len(labels))
    cut = round(CHOOSING * len(labels))
    choosing, testing = np.sort(drawn[:cut]), np.sort(drawn[cut:])
    ordered = choose_policy(ensemble, picked(work, choosing), labels[choosing], max_drop, kind=kind)
    found = guaranteed_margin(stages(ordered, picked(work, testing), labels[testing]), max_drop, confidence)
    margins = (found.margin,) * (len(ensemble.students) - 1)
    policy = ActivationPolicy(kind, margins=margins, timesteps=ensemble.policy.timesteps)  # type: ignore[arg-type]
    return msgspec.structs.replace(ordered, policy=policy), found


def picked(work: Work, rows: np.ndarray) -> Work:
    """What students do on some of the samples, `rows` int64 [n]."""
    return Work(work.parts[rows], work.ops[rows], tuple(layer[rows] for layer in work.layer_ops))
