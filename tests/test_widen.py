"""Channels in fours: neurons beside those of a first convolution that never fire, and everything else as it was."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from command_line import called
from strategies import random_ensemble

from sne_edge.check import reference
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.data.dataset import Dataset
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.sketch import Sizes, sketch
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.connect import connect
from sne_edge.pipeline.recalibrate import renew
from sne_edge.quantize.widen import missing_channels, widened


def test_every_neuron_that_was_there_does_what_it_did() -> None:
    """Spikes, membranes and logits of random students, which begin with every kind of convolution and pooling."""
    rng, examined, stayed, behind = random.Random(11), 0, 0, Counter[str]()
    while examined < 24:
        model = random_ensemble(rng, "direct", students=1)
        made = widened(model)
        if made is model:
            stayed += any(map(missing_channels, model.students))
            continue
        inputs = np.random.default_rng(examined).integers(0, 256, (4, model.encoder.input_bytes), dtype=np.uint8)
        for number, (old, new) in enumerate(zip(model.students, made.students, strict=True)):
            if new is old:
                continue
            assert not missing_channels(new)
            one, other = (reference.run_student(m, number, inputs) for m in (model, made))
            assert np.array_equal(one.readout, other.readout) and np.array_equal(one.spikes, other.spikes)
            kept = zip(*([x for x in s.layers if isinstance(x, SynapticLayer)] for s in (old, new)), strict=True)
            for (before, after), mine, theirs in zip(kept, one.membranes, other.membranes, strict=True):
                wide = theirs.reshape(4, *after.out_shape)
                assert np.array_equal(mine.reshape(4, *before.out_shape), wide[..., : before.channels])
                assert not wide[..., before.channels :].any()
            behind.update(type(layer).__name__ for layer in old.layers[1:])
        examined += 1
        if examined % 8:  # what is compiled takes a second
            continue
        checks = verify(made, inputs, ReferenceEngine(made), [HostEngine(HostModel(made))])
        assert all(check.difference is None for check in checks), checks
    assert stayed < 6  # clamps of 16 bits' whole range
    assert min(behind[name] for name in ("Conv", "Depthwise", "AvgPool", "MaxPool", "Linear")) >= 2, behind


def test_what_has_nothing_to_gain_stays_the_very_same() -> None:
    rng = random.Random(3)
    models = [random_ensemble(rng, kind) for kind in ("rate", "events") for _ in range(5)]
    for model in (*models, load("fsdd"), load("mnist1d")):
        assert widened(model) is model


@pytest.fixture(scope="module")
def ten() -> QuantEnsemble:
    return sketch((1, 24, 16), 4, 1, 2, Sizes((10, 8), (5, 3), (3, 2)))


def test_a_cortex_m4_takes_a_first_convolution_of_ten_channels_as_quickly_as_one_of_twelve(
    ten: QuantEnsemble, require_tool: Callable[..., None]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    counts, logits = [], []
    row = np.random.default_rng(0).integers(0, 256, ten.encoder.input_bytes, dtype=np.uint8)
    for model in (ten, widened(ten)):
        with connect(model, "qemu:mps2-an386") as (device, _):
            device.load(row.tobytes())
            counts.append(device.bench(1, ActivationPolicy("all")).total)
            logits.append(reference.run(model, row[None], ActivationPolicy("all")).decisions.logits)
    assert np.array_equal(*logits) and 0 < counts[1] < 0.75 * counts[0], counts


def test_order_policy_and_answers_stay_and_costs_are_measured_anew(ten: QuantEnsemble) -> None:
    rng = np.random.default_rng(2)
    x = (ten.encoder.scale * rng.integers(-128, 128, (60, *ten.encoder.shape))).astype(np.float32)
    y = reference.run(ten, ten.encoder.encode(x)).decisions.label
    made = renew(ten, Dataset("made", x[:4], y[:4], x[4:30], y[4:30], x[30:], y[30:], ten.classes), widened)
    assert (made.policy, made.order) == (ten.policy, ten.order)
    assert made.provenance["integer"]["test"][-1]["accuracy"] == 1.0
    assert all(s.layers[0].out_shape[2] == 12 and s.mean_ops for s in made.students)


def test_export_tells_of_it_and_calibrate_does_it(ten: QuantEnsemble, tmp_path: Path) -> None:
    named = msgspec.structs.replace(ten, name="ten")
    save(named, tmp_path / "ten.sne")
    rng = np.random.default_rng(5)
    x = (ten.encoder.scale * rng.integers(-128, 128, (200, 24, 16))).astype(np.float32)
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=rng.integers(4, size=200), layout="NLC")
    told = called("export", tmp_path / "ten.sne", "--target", "cortex-m4", "-o", tmp_path / "c")
    assert "sne-edge calibrate" in told.stderr and "--fours" in told.stderr
    for target in ("m0", "m3", "m55", "riscv32", "host"):  # whose kernels gain nothing
        other = called("export", tmp_path / "ten.sne", "--target", target, "-o", tmp_path / target)
        assert other.returncode == 0 and "--fours" not in other.stderr
    done = called(
        "calibrate", tmp_path / "ten.sne", "--fours", "--data", tmp_path / "mine.npz", "--other-data", "-o",
        tmp_path / "twelve.sne",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    quiet = called("export", tmp_path / "twelve.sne", "--target", "cortex-m4", "-o", tmp_path / "c12")
    assert quiet.returncode == 0 and "--fours" not in quiet.stderr
    both = called(
        "calibrate", tmp_path / "ten.sne", "--fours", "--max-drop", "1", "--data", tmp_path / "mine.npz", "-o",
        tmp_path / "no.sne",
    )  # fmt: skip
    assert both.returncode == 1 and "--fours keeps the policy" in both.stderr and not (tmp_path / "no.sne").exists()
