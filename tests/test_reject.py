"""None of these: the rule in every engine, its calibration, and what it promises."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
from graph_strategies import random_graph_ensemble
from models import tiny_ensemble
from strategies import every_policy, random_ensemble, random_inputs
from test_equivalence import Stream
from typer.testing import CliRunner

from sne_edge.check import reference
from sne_edge.check.evaluation import evaluate
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.cli import app
from sne_edge.data.dataset import Dataset
from sne_edge.data.unknown import load_unknown
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError, SneWarning
from sne_edge.ir import artifact
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.rejection import MOST, NONE, WHOLE, Rejection
from sne_edge.link.connect import connect
from sne_edge.link.engine import DeviceEngine
from sne_edge.pipeline.recalibrate import recalibrate
from sne_edge.quantize.calibrate import upper_bound
from sne_edge.quantize.reject import Seen, choose, report, seen, thirds

structs = msgspec.structs


def by_hand(rule: Rejection, logits: list[int], spikes: list[int], students: int) -> bool:
    """The rule once more, in plain Python."""
    first, second = sorted(logits, reverse=True)[:2]
    if first - second < rule.margin or (first - second) * 2**15 < rule.ratio * (first - min(logits)):
        return True
    return not rule.spikes[0] * students <= sum(spikes) <= rule.spikes[1] * students


def rule_of(rng: random.Random, ensemble: QuantEnsemble, inputs: np.ndarray) -> Rejection:
    """One whose limits lie exactly at, or just beyond, what some of the inputs do."""
    found = seen(ReferenceEngine(ensemble).run(inputs, None, None).values)
    at = rng.randrange(len(inputs))
    beyond = rng.choice((0, 1))
    kinds = [
        Rejection(ratio=min(WHOLE + 1, int(found.ratio[at]) + beyond)),
        Rejection(margin=int(found.margin[at]) + beyond),
        Rejection(spikes=(int(found.least[at]) + beyond, MOST)),
        Rejection(spikes=(0, max(0, int(found.most[at]) - beyond))),
    ]
    return rng.choice(kinds)


@pytest.mark.examines(runs=200, rejected=150, labelled=150)
def test_reference_and_c_reject_the_same_inputs_by_the_rule(
    examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    for seed in range(8):
        rng = random.Random(seed)
        own = random_graph_ensemble(rng, students=2) if seed % 2 else random_ensemble(rng, students=3)
        inputs = random_inputs(rng, own, 8)
        made = structs.replace(own, rejection=rule_of(rng, own, inputs))
        host = HostModel(made)
        for policy in every_policy(rng, made):
            got, want = host.run(inputs, policy), reference.run(made, inputs, policy)
            assert got.label.tolist() == want.decisions.label.tolist()
            assert got.margin.tolist() == want.decisions.margin.tolist()
            for i, label in enumerate(got.label.tolist()):
                students = int(got.students_run[i])
                rejected = by_hand(made.rejection, got.logits[i].tolist(), got.spikes[i].tolist(), students)  # type: ignore[arg-type]
                assert label == (NONE if rejected else got.logits[i].argmax())
                examined["rejected" if rejected else "labelled"] += 1
            examined["runs"] += len(inputs)


def test_devices_reject_as_the_reference_does(require_tool: Callable[..., None]) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    own = tiny_ensemble()
    inputs = random_inputs(random.Random(1), own, 12)
    limit = int(np.median(seen(ReferenceEngine(own).run(inputs, None, None).values).ratio)) + 1
    made = structs.replace(own, rejection=Rejection(limit))
    labels = reference.run(made, inputs).decisions.label
    assert 0 < (labels == NONE).sum() < len(labels)
    for board in ("microbit", "mps2-an386"):
        with connect(made, f"qemu:{board}", trace=True) as (device, _):
            checks = verify(made, inputs, ReferenceEngine(made), [DeviceEngine(device, board)])
        assert [check.difference for check in checks] == [None] * len(checks)


def test_a_stream_is_judged_by_its_logits_alone(require_tool: Callable[..., None]) -> None:
    """Its spikes add up without end."""
    require_tool("cc")
    own = tiny_ensemble("events")
    met = Counter[bool]()

    def followed(made: QuantEnsemble) -> list[tuple[int, list[int]]]:
        """Label and logits after each timestep."""
        stream, found = Stream(HostModel(made)), []
        stream.stream.reset(stream.state)
        for t in range(30):
            assert stream.step(list(range(t % 7, own.encoder.size, 1 + t % 3))) == 0
            found.append((int(stream.read().label), stream.logits()))
        return found

    logits = np.array([row for _, row in followed(own)])
    ordered = np.sort(logits, axis=1)
    margins = ordered[:, -1] - ordered[:, -2]
    ratios = margins * WHOLE // (ordered[:, -1] - ordered[:, 0])
    for rule in (
        Rejection(ratio=int(np.median(ratios)) + 1, spikes=(0, 0)),
        Rejection(margin=int(np.median(margins)) + 1, spikes=(10**6, MOST)),
    ):
        for label, row in followed(structs.replace(own, rejection=rule)):
            rejected = by_hand(structs.replace(rule, spikes=(0, MOST)), row, [0], 1)
            assert label == (2**32 - 1 if rejected else int(np.argmax(row)))
            met[rejected] += 1
    assert min(met[True], met[False]) >= 10


def test_a_rejection_is_stored_read_and_checked() -> None:
    made = structs.replace(tiny_ensemble(), rejection=Rejection(1000, (3, 900), 7))
    data = artifact.dumps(made)
    assert artifact.loads(data).rejection == Rejection(1000, (3, 900), 7)
    assert artifact._manifest(data)["version"] == [2, 0]
    for wrong in ({"ratio": WHOLE + 2}, {"ratio": -1}, {"margin": -1}, {"margin": 2**31}, {"spikes": (5, 4)}):
        with pytest.raises(ValueError, match="a rejection's"):
            Rejection(**wrong)


def drawn(rng: np.random.Generator, count: int, level: float, fired: float) -> Seen:
    ratio = np.clip(rng.normal(level, 3000, count), 0, WHOLE).astype(np.int64)
    spikes = rng.normal(fired, 100, count).clip(0).astype(np.int64)
    return Seen(ratio, ratio * 10, spikes, spikes)


@pytest.mark.examines(calibrations=200)
def test_the_promised_rate_of_false_alarms_is_kept_as_often_as_promised(examined: Counter[str]) -> None:
    """Of 200 calibrations by few samples, 95 % keep to the rate on any number of new ones."""
    rng = np.random.default_rng(0)
    broken = 0
    endless = drawn(rng, 20000, 9000, 1300)
    for _ in range(200):
        unknown = drawn(rng, 400, 9000, 1300)
        rule = choose(
            drawn(rng, 300, 16000, 1000), unknown.picked(np.arange(200)), unknown.picked(np.arange(200, 400)), 0.05
        )
        broken += float(endless.labelled(rule).mean()) > 0.05
        examined["calibrations"] += 1
    assert broken <= 18  # 10 are expected


def test_limits_of_spikes_are_found_where_they_tell_known_from_unknown() -> None:
    rng = np.random.default_rng(1)
    known, unknown = drawn(rng, 500, 12000, 1000), drawn(rng, 400, 12000, 2500)
    rule = choose(known, unknown.picked(np.arange(200)), unknown.picked(np.arange(200, 400)), 0.05)
    assert 1200 < rule.spikes[1] < 2300
    assert known.labelled(rule).mean() > 0.98 and unknown.labelled(rule).mean() <= 0.05


def test_two_classes_whose_ratio_says_nothing_are_told_by_the_margin() -> None:
    rng = np.random.default_rng(2)
    known, unknown = (replace(drawn(rng, 400, level, 1000), ratio=np.full(400, WHOLE)) for level in (20000, 8000))
    rule = choose(known, unknown.picked(np.arange(200)), unknown.picked(np.arange(200, 400)), 0.05)
    assert rule.margin > 0 and known.labelled(rule).mean() > 0.9 and unknown.labelled(rule).mean() <= 0.06


def test_too_few_unknown_samples_and_rates_that_are_none_are_refused() -> None:
    rng = np.random.default_rng(3)
    known = drawn(rng, 100, 16000, 1000)
    few = drawn(rng, 58, 9000, 1000)
    with pytest.raises(SneError, match="58 unknown samples") as refused:
        choose(known, few, few, 0.05)
    assert "at least 177" in refused.value.hint
    assert upper_bound(0, 59) <= 0.05 < upper_bound(0, 58)
    for rate in (0.0, 1.0, -1.0, float("nan")):
        with pytest.raises(SneError, match="a rate of false alarms"):
            choose(known, few, few, rate)


def test_parts_of_the_unknown_samples_share_none() -> None:
    parts = thirds(100)
    assert sorted(np.concatenate(parts).tolist()) == list(range(100))
    assert all(len(part) >= 33 for part in parts)


def data_of(model: QuantEnsemble, count: int = 600) -> Dataset:
    """Samples that the model itself labels, strong ones; and half as many for its test part."""
    rng = np.random.default_rng(4)
    x = rng.normal(0, 2.5, (2 * count, 1, 16, 2)).astype(np.float32)
    values = HostEngine(HostModel(model)).run(model.encoder.encode(x), None, None).values
    clear = np.argsort(-seen(values).ratio)[:count]
    x, y = x[clear], values["label"][clear]
    return Dataset("made", x[:20], y[:20], x[20:400], y[20:400], x[400:], y[400:], model.classes)


def test_calibrated_with_unknown_samples_a_model_says_its_limits(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    own = tiny_ensemble()
    dataset = data_of(own)
    unknown = np.random.default_rng(5).normal(0, 1.0, (600, 1, 16, 2)).astype(np.float32)
    made, promised = recalibrate(own, dataset, 2.0, unknown=unknown, max_false_alarms=0.1)
    told = made.provenance["calibration"]["rejection"]
    assert told["unknown"] == 200 and told["known"] == len(dataset.y_test) and told["asked"] == 0.1
    assert told["false_alarms"] <= told["false_alarms_at_most"] < 0.2
    assert 0 < told["rejected"] < 1
    engine = HostEngine(HostModel(made))
    judged = thirds(600)[2]
    labels = engine.run(made.encoder.encode(unknown[judged]), None, None).values["label"]
    assert round(float((labels != NONE).mean()), 4) == told["false_alarms"]
    row = evaluate(engine, made.encoder.encode(dataset.x_test), dataset.y_test, [made.policy])[0]
    assert round(row.rejected, 4) == told["rejected"]
    assert row.rejected > 0 and row.accuracy is not None and row.accuracy <= 1 - row.rejected
    chosen = made.encoder.encode(dataset.x_val)
    own_labels = engine.run(chosen, None, None).values["label"]
    whole = engine.run(chosen, ActivationPolicy("all"), None).values["label"]
    right, all_right = own_labels == dataset.y_val, whole == dataset.y_val
    assert promised.accuracy == right.mean() < 1 and promised.differing == (right != all_right).mean()
    assert made.provenance["calibration"]["promise"]["accuracy"] == promised.accuracy
    with pytest.warns(SneWarning, match="of the known test samples get no label"):
        recalibrate(own, dataset, 2.0, unknown=np.repeat(dataset.x_val, 3, axis=0), max_false_alarms=0.05)
    again, _ = recalibrate(made, dataset, 2.0)
    assert again.rejection is msgspec.UNSET and "rejection" not in again.provenance["calibration"]


def test_a_report_is_of_samples_and_bounds() -> None:
    rule = Rejection(ratio=100)
    known = Seen(np.array([50, 150, 200, 300]), *(np.full(4, 1),) * 3)
    unknown = Seen(np.array([10, 20, 30, 100]), *(np.full(4, 1),) * 3)
    told = report(rule, known, np.array([True, True, False, True]), unknown)
    assert (told["false_alarms"], told["rejected"], told["accuracy"]) == (0.25, 0.25, 0.75)
    assert told["accuracy_of_labelled"] == 0.6667
    assert told["false_alarms_at_most"] == round(upper_bound(1, 4), 4) > 0.7


def test_unknown_samples_are_read_or_refused(tmp_path: Path) -> None:
    dataset = data_of(tiny_ensemble())
    np.savez(tmp_path / "u.npz", x=np.zeros((5, 16, 2)), layout="NLC")
    assert load_unknown(tmp_path / "u.npz", dataset).shape == (5, 1, 16, 2)
    np.savez(tmp_path / "short.npz", x=np.zeros((5, 15, 2)), layout="NLC")
    np.savez(tmp_path / "none.npz", layout="NLC")
    np.savez(tmp_path / "nan.npz", x=np.full((5, 16, 2), np.nan), layout="NLC")
    for name, words in (("short.npz", r"samples of \(1, 15, 2\)"), ("none.npz", "no array x"), ("nan.npz", "NaN"),
                        ("missing", "no samples at")):  # fmt: skip
        with pytest.raises(SneError, match=words):
            load_unknown(tmp_path / name, dataset)


def test_images_of_no_class_are_standardised_as_the_data_sets_were(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(0)
    for n in range(3):
        (tmp_path / "deep" / str(n)).mkdir(parents=True)
        image.fromarray(rng.integers(0, 256, (4, 4), np.uint8)).save(tmp_path / "deep" / str(n) / f"{n}.png")
    pixels = np.zeros((1, 4, 4, 1), np.float32)
    dataset = replace(data_of(tiny_ensemble()), x_val=pixels, standard=(np.float32([100]), np.float32([50])))
    samples = load_unknown(tmp_path, dataset)
    first = np.asarray(image.open(tmp_path / "deep" / "0" / "0.png"), np.float32)
    np.testing.assert_allclose(samples[0, :, :, 0], (first - 100) / 50)


def test_the_command_rejects_and_the_card_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("noise.npz", x=rng.normal(0, 1, (300, 40)), layout="NL")
    command = ["calibrate", "mnist1d", "--data", "mnist1d", "-o", "r.sne", "--unknown", "noise.npz"]
    done = CliRunner().invoke(app, [*command, "--max-false-alarms", "0.1"])
    assert done.exit_code == 0, done.output
    assert "None of the classes: of 100 unknown samples" in done.output
    shown = CliRunner().invoke(app, ["eval", "r.sne", "--data", "mnist1d"])
    assert "no label" in shown.output
    told = artifact.load("r.sne").provenance["calibration"]["rejection"]
    assert told["rejected"] < 0.2 and told["false_alarms"] <= 0.15
    refused = CliRunner().invoke(
        app, ["calibrate", "mnist1d", "--data", "mnist1d", "-o", "s.sne", "--max-false-alarms", "0.1"]
    )
    assert isinstance(refused.exception, SneError) and "without --unknown" in refused.exception.message
