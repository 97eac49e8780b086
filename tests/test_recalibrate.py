"""Recalibration: another policy for a finished model, by the host build alone."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from models import proven, with_vectors

from sne_edge.check import reference
from sne_edge.check.verify import ReferenceEngine
from sne_edge.data.dataset import Dataset
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Linear
from sne_edge.ir.neuron import Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.schedule import STOPS
from sne_edge.ir.vectors import no_vectors
from sne_edge.pipeline.recalibrate import recalibrate
from sne_edge.quantize.calibrate import measure


@pytest.fixture(scope="module")
def dataset(tiny: QuantEnsemble) -> Dataset:
    """Labels are mostly what all students say."""
    rng = np.random.default_rng(0)
    x = (tiny.encoder.scale * rng.integers(-128, 128, (360, *tiny.encoder.shape))).astype(np.float32)
    y = reference.run(tiny, tiny.encoder.encode(x), ActivationPolicy("all")).decisions.label.copy()
    y[::9] = 0
    return Dataset("made", x[:20], y[:20], x[20:200], y[20:200], x[200:], y[200:], tiny.classes)


def test_the_host_measures_what_the_reference_does(tiny: QuantEnsemble, dataset: Dataset) -> None:
    inputs = tiny.encoder.encode(dataset.x_val)
    want, got = (measure(tiny, engine, inputs) for engine in (ReferenceEngine(tiny), HostEngine(HostModel(tiny))))
    np.testing.assert_array_equal(got.parts, want.parts)
    np.testing.assert_array_equal(got.ops, want.ops)


@pytest.mark.parametrize("kind", ["cascade", "routed"])
def test_everything_that_depends_on_the_policy_is_made_anew(kind: str, tiny: QuantEnsemble, dataset: Dataset) -> None:
    made, promised = recalibrate(tiny, dataset, 2.0, kind=kind)
    assert made.policy.kind == kind and (made.routes is not None) == (kind == "routed")
    out = reference.run(made, made.vectors.inputs)
    assert (made.vectors.inputs == tiny.vectors.inputs).all()
    assert (made.vectors.logits == out.decisions.logits).all() and (made.vectors.active == out.decisions.active).all()
    assert (made.vectors.spikes == out.spikes).all()
    for part, x, y in (("validation", dataset.x_val, dataset.y_val), ("test", dataset.x_test, dataset.y_test)):
        row = made.provenance["integer"][part][-1]
        told = reference.run(made, made.encoder.encode(x))
        assert row["accuracy"] == pytest.approx((told.decisions.label == y).mean(), abs=1e-4)
        assert row["operations"] == pytest.approx((told.synaptic_ops + told.macs).mean(), abs=0.1)
    assert made.provenance["calibration"]["promise"]["operations"] == promised.operations < promised.operations_of_all
    assert promised.accuracy >= promised.accuracy_of_all - 0.02
    assert made.students is tiny.students


@pytest.fixture(scope="module")
def adding(tiny: QuantEnsemble) -> QuantEnsemble:
    """`tiny` with readouts that only add up, of small weights: with the exact rule there is something to end."""
    students = []
    for student in tiny.students:
        readout = student.readout
        fields = {name: getattr(readout, name) for name in readout.__struct_fields__ if name != "bound"}
        fields |= {"weight": np.sign(readout.weight), "bias": np.zeros_like(readout.bias)}
        made = proven(Linear, tiny.encoder, False, **fields | {"neuron": Neuron("li", reset="none")})
        students.append(msgspec.structs.replace(student, layers=(*student.layers[:-1], made)))
    vectors = no_vectors(tiny.encoder, len(tiny.classes), students)
    return with_vectors(msgspec.structs.replace(tiny, students=tuple(students), vectors=vectors), tiny.vectors.inputs)


@pytest.mark.parametrize("kind", ["cascade", "routed"])
@pytest.mark.parametrize("rule", ["exact", "margin"])
def test_early_stops_keep_their_promise(rule: str, kind: str, adding: QuantEnsemble, dataset: Dataset) -> None:
    drop = 40.0 if rule == "margin" else 2.0  # random weights have no good margins
    plain, _ = recalibrate(adding, dataset, drop, kind=kind)
    made, promised = recalibrate(adding, dataset, drop, kind=kind, early=rule)
    inputs = made.encoder.encode(dataset.x_val)
    got, want = reference.run(made, inputs), reference.run(plain, inputs)
    right, every = got.decisions.label == dataset.y_val, reference.run(made, inputs, ActivationPolicy("all"))
    assert promised.differing == ((every.decisions.label == dataset.y_val) != right).mean() <= drop / 100
    assert promised.operations == pytest.approx((got.synaptic_ops + got.macs).mean())
    assert (got.decisions.stop == STOPS.index("early")).any()
    assert promised.operations < (want.synaptic_ops + want.macs).mean()
    if rule == "exact":
        assert (got.decisions.label == want.decisions.label).all()
        assert (got.decisions.active == want.decisions.active).all()


def test_early_stops_need_timesteps(tiny: QuantEnsemble, dataset: Dataset) -> None:
    short = msgspec.structs.replace(tiny, policy=ActivationPolicy("all", timesteps=1))
    with pytest.raises(SneError, match="one timestep"):
        recalibrate(short, dataset, early="exact")
    with pytest.raises(SneError, match="no rule 'sometimes'"):
        recalibrate(tiny, dataset, early="sometimes")


def test_test_samples_choose_nothing(tiny: QuantEnsemble, dataset: Dataset) -> None:
    from dataclasses import replace

    other = replace(dataset, x_test=dataset.x_test[::-1][:40], y_test=np.zeros(40, np.int64))
    one, two = (recalibrate(tiny, data, 2.0, kind="routed")[0] for data in (dataset, other))
    assert one.policy == two.policy and one.order == two.order
    assert one.routes is not None and two.routes is not None and (one.routes == two.routes).all()


def test_a_model_of_fewer_timesteps_is_calibrated_for_these(tiny: QuantEnsemble, dataset: Dataset) -> None:
    short = msgspec.structs.replace(tiny, policy=ActivationPolicy("all", timesteps=2))
    made, promised = recalibrate(short, dataset, 2.0)
    out = reference.run(made, made.encoder.encode(dataset.x_val))
    assert made.policy.timesteps == 2
    assert promised.accuracy == pytest.approx((out.decisions.label == dataset.y_val).mean())


def test_data_of_more_classes_is_refused(tiny: QuantEnsemble, dataset: Dataset) -> None:
    from dataclasses import replace

    with pytest.raises(SneError, match="4 classes"):
        recalibrate(tiny, replace(dataset, y_val=dataset.y_val + 1))
