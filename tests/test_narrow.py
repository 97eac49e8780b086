"""Narrower membranes of finished models: 16 bits, the same weights, and next to the same answers."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from models import proven, with_vectors

from sne_edge.check import reference
from sne_edge.data.dataset import Dataset
from sne_edge.ir.artifact import load
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Linear, SynapticLayer
from sne_edge.ir.neuron import Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.pipeline.recalibrate import recalibrate, renew
from sne_edge.quantize.narrow import narrowed


def wide(threshold: int, kind: EncoderKind = "direct", neuron: Neuron | None = None) -> QuantEnsemble:
    """Two students whose first layer has membranes of 32 bits."""
    encoder, rng = Encoder(kind, (1, 1, 60), 4, scale=0.05), np.random.default_rng(0)
    students = []
    for k in range(2):
        first = proven(
            Linear, encoder, True,
            in_shape=(1, 1, 60), out_shape=(1, 1, 24), weight=rng.integers(-127, 128, (24, 60), dtype=np.int8),
            bias=np.full(24, 40000, np.int32), threshold=rng.integers(threshold, 2 * threshold, 24, dtype=np.int32),
            scale=np.full(24, 0.25), neuron=neuron or Neuron("lif", Decay("shift", 1)),
        )  # fmt: skip
        readout = proven(
            Linear, encoder, False,
            in_shape=(1, 1, 24), out_shape=(1, 1, 4), weight=rng.integers(-127, 128, (4, 24), dtype=np.int8),
            bias=np.zeros(4, np.int32), threshold=np.zeros(4, np.int32), scale=np.ones(4),
            neuron=Neuron("li", Decay(), "none"),
        )  # fmt: skip
        students.append(QuantStudent((first, readout), (k,), np.ones(4, np.int32), np.zeros(4, np.int32)))
    made = QuantEnsemble(
        name="wide", encoder=encoder, students=tuple(students), bias=np.zeros(4, np.int32), order=(0, 1),
        classes=tuple("abcd"), logit_scale=1.0, policy=ActivationPolicy("cascade", margins=(900,)),
        vectors=no_vectors(encoder, 4, students),
    )  # fmt: skip
    return with_vectors(made, rng.integers(0, 256, (6, encoder.input_bytes), dtype=np.uint8))


def first_layers(ensemble: QuantEnsemble) -> list[SynapticLayer]:
    return [layer for s in ensemble.students if isinstance(layer := s.layers[0], SynapticLayer)]


@pytest.mark.parametrize("clamp", [None, (-400000, 500000)])
def test_membranes_get_16_bits_and_spikes_hardly_change(clamp: tuple[int, int] | None) -> None:
    model = wide(20000, neuron=Neuron("lif", Decay("shift", 1), clamp=clamp))
    made = narrowed(model)
    for before, after in zip(first_layers(model), first_layers(made), strict=True):
        assert (before.width, after.width) == (32, 16) and after.current_shift > 0
        assert max(-after.bound.low, after.bound.high) > 2**14, "a smaller shift would do"
        assert (after.weight == before.weight).all() and (after.bias == before.bias).all()
        np.testing.assert_allclose(after.threshold * after.scale, before.threshold * before.scale, rtol=1e-2)
    inputs = np.random.default_rng(1).integers(0, 256, (400, model.encoder.input_bytes), dtype=np.uint8)
    old, new = (reference.run(e, inputs, ActivationPolicy("all")) for e in (model, made))
    assert old.spikes.sum() > 10000
    assert np.abs(new.spikes - old.spikes).sum() < 0.01 * old.spikes.sum()
    assert (new.decisions.label == old.decisions.label).mean() > 0.97
    assert narrowed(made) is made


def test_what_cannot_be_narrowed_stays_as_it_is() -> None:
    for model in (wide(100), wide(20000, "rate")):  # a threshold of too few units; no current
        assert narrowed(model) is model


def test_a_narrowed_model_keeps_its_policy_and_has_all_else_measured_anew() -> None:
    model = wide(20000)
    rng = np.random.default_rng(2)
    x = (model.encoder.scale * rng.integers(-128, 128, (200, *model.encoder.shape))).astype(np.float32)
    y = reference.run(model, model.encoder.encode(x)).decisions.label
    dataset = Dataset("made", x[:10], y[:10], x[10:100], y[10:100], x[100:], y[100:], model.classes)
    made = renew(model, dataset, narrowed)
    assert (made.policy, made.order) == (model.policy, model.order)
    told = reference.run(made, made.encoder.encode(dataset.x_test))
    row = made.provenance["integer"]["test"][-1]
    assert row["accuracy"] == pytest.approx((told.decisions.label == dataset.y_test).mean(), abs=1e-4)
    assert all(abs(student.mean_ops - sum(student.layer_ops)) <= 2 and student.max_ops for student in made.students)
    out = reference.run(made, model.vectors.inputs)
    assert (made.vectors.logits == out.decisions.logits).all() and (made.vectors.spikes == out.spikes).all()
    assert renew(made, dataset, narrowed) is made


def test_a_model_that_hears_is_calibrated_and_keeps_its_recordings() -> None:
    model = load("fsdd")
    rng = np.random.default_rng(3)
    x = (model.encoder.scale * rng.integers(-128, 128, (60, *model.encoder.shape))).astype(np.float32)
    y = reference.run(model, model.encoder.encode(x), ActivationPolicy("all")).decisions.label
    made, _ = recalibrate(
        model, Dataset("made", x[:4], y[:4], x[4:40], y[4:40], x[40:], y[40:], model.classes), other=True
    )
    assert isinstance(made.audio, np.ndarray) and isinstance(model.audio, np.ndarray)
    assert (made.audio == model.audio).all() and msgspec.to_builtins(made.policy) != msgspec.to_builtins(model.policy)
