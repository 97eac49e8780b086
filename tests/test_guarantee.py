"""The calibrated guarantee: a promise breaks no more often than its confidence allows, and says what it takes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from models import tiny_ensemble

from sne_edge.check.reference import run
from sne_edge.check.verify import ReferenceEngine
from sne_edge.data.dataset import split
from sne_edge.errors import SneError
from sne_edge.ir.policy import NEVER, ActivationPolicy
from sne_edge.pipeline.recalibrate import recalibrate
from sne_edge.quantize import calibrate
from sne_edge.quantize.calibrate import Stages, margin_by_drop, measure, promise, upper_bound
from sne_edge.quantize.guarantee import GRID, guaranteed_margin, guaranteed_policy, samples_needed

POPULATION, DRAWN, TRIALS, DROP = 30_000, 1000, 200, 2.0


def stages_of(rng: np.random.Generator, count: int, students: int = 3) -> Stages:
    """Samples whose margins say something about being right, and later stages are right more often."""
    ease = rng.normal(size=(count, 1)) + 0.4 * np.arange(students) + 0.4 * rng.normal(size=(count, students))
    margin = np.maximum(0, 1000 * (ease + 1 + 0.4 * rng.normal(size=ease.shape))).astype(np.int64)
    return Stages(ease > -0.8, margin, np.cumsum(np.full(ease.shape, 100), axis=1))


def differing(seen: Stages, margin: int) -> float:
    return promise(seen, (margin,) * (seen.students - 1)).differing


@pytest.mark.examines(trials=TRIALS, stopped=TRIALS, naive_breaks=8)
def test_a_promise_breaks_in_at_most_the_share_of_trials_that_its_confidence_leaves(examined: Counter[str]):
    rng = np.random.default_rng(3)
    whole = stages_of(rng, POPULATION)
    truth: dict[int, float] = {}
    breaks = 0
    for trial in range(TRIALS):
        rows = rng.choice(POPULATION, DRAWN, replace=False)
        drawn = Stages(whole.correct[rows], whole.margin[rows], whole.cost[rows])
        found = guaranteed_margin(drawn, DROP, 0.95)
        real = truth.setdefault(found.margin, differing(whole, found.margin))
        breaks += real > DROP / 100
        examined["trials"] += 1
        examined["stopped"] += found.margin < NEVER and found.bound <= DROP / 100
        if trial < 20:
            examined["naive_breaks"] += differing(whole, margin_by_drop(drawn, DROP)) > DROP / 100
    assert breaks <= 0.05 * TRIALS, breaks
    assert np.mean(list(truth.values())) > DROP / 100 / 3  # it is no promise of never stopping


def test_the_margin_is_the_lowest_of_the_grid_down_to_which_every_bound_holds():
    seen = stages_of(np.random.default_rng(0), 2000)
    found = guaranteed_margin(seen, DROP, 0.95)
    holds = {m: upper_bound(round(differing(seen, m) * 2000), 2000) <= DROP / 100 for m in GRID}
    assert all(holds[m] for m in GRID if m >= found.margin)
    assert not holds[max(m for m in GRID if m < found.margin)]


def test_too_few_samples_are_told_with_the_number_that_is_enough():
    few, enough = (stages_of(np.random.default_rng(0), n) for n in (598 - 1, 598))
    with pytest.raises(SneError, match="598 are enough"):
        guaranteed_margin(few, 0.5, 0.95)
    assert guaranteed_margin(enough, 0.5, 0.95).bound <= 0.005
    assert samples_needed(0.5, 0.95) == 598
    needed = samples_needed(0.5, 0.95, 0.002)
    assert upper_bound(int(np.ceil(0.002 * needed)), needed) <= 0.005 and needed > 1500
    with pytest.raises(SneError, match="cannot be promised"):
        samples_needed(0.2, 0.95, 0.01)
    with pytest.raises(SneError, match="no number is enough"):
        guaranteed_margin(enough, 0.0, 0.95)


def test_the_bound_by_hand_is_scipys():
    pairs = [(0, 1), (0, 598), (3, 20), (19, 20), (7, 300), (150, 6000)]
    for found, count in pairs:
        assert calibrate._upper_bound(found, count, 0.95) == pytest.approx(upper_bound(found, count), rel=1e-9)


def test_samples_that_choose_the_order_test_no_margin():
    ensemble = tiny_ensemble()
    inputs = np.random.default_rng(0).integers(0, 256, size=(300, ensemble.encoder.input_bytes), dtype=np.uint8)
    labels = run(ensemble, inputs, ActivationPolicy("all")).decisions.label
    work = measure(ensemble, ReferenceEngine(ensemble), inputs)
    made, found = guaranteed_policy(ensemble, work, labels, 5.0, 0.9)
    assert found.samples == 200 and made.policy.margins == (found.margin,) * (len(ensemble.students) - 1)
    with pytest.raises(SneError, match="confidence"):
        guaranteed_policy(ensemble, work, labels, 5.0, 1.0)


def test_recalibration_records_its_promise_and_refuses_what_it_cannot_promise(tmp_path: Path):
    ensemble = tiny_ensemble()
    shape = ensemble.encoder.shape
    rng = np.random.default_rng(0)
    x = rng.normal(size=(1600, *shape)).astype(np.float32) * 100 * ensemble.encoder.scale
    y = run(ensemble, ensemble.encoder.encode(x), ActivationPolicy("all")).decisions.label
    y[: len(ensemble.classes)] = np.arange(len(ensemble.classes))
    data = split("own", x, y, x[:50], y[:50], layout="NHWC")
    made, _ = recalibrate(ensemble, data, 6.0, other=True, confidence=0.9)
    told = made.provenance["calibration"]["guarantee"]
    assert told["confidence"] == 0.9 and told["bound"] <= 0.06 and told["margin"] == made.policy.margins[0]
    for wrong in ({"target_ops": 1e6}, {"early": "margin"}):
        with pytest.raises(SneError, match="a promise is of a drop"):
            recalibrate(ensemble, data, 6.0, other=True, confidence=0.9, **wrong)
