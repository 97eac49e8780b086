"""Energy: operations counted as NeuroBench counts them, and estimates that follow from them by hand."""

from __future__ import annotations

import copy
import random
from dataclasses import astuple

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from hypothesis import given
from models import tiny_ensemble
from strategies import ENCODERS, ensembles, examples, proven, random_inputs, random_policy
from test_quantize import binary, dense, grid, leaky
from torch import nn

from sne_edge.check.reference import run
from sne_edge.check.verify import ReferenceEngine
from sne_edge.interchange.inputs import make_encoder
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.quantize.calibrate import measure, with_costs
from sne_edge.study import energy

STEPS = 5
NEURONS = {
    "if, delayed reset": lambda: leaky(beta=1.0, reset_delay=True, threshold=3.0),
    "if, reset to zero": lambda: leaky(beta=1.0, reset_mechanism="zero", threshold=3.0),
    "no memory": lambda: leaky(beta=0.0, threshold=2.0, reset_delay=True),
}


class Stepped(nn.Module):
    """A network as NeuroBench runs it: one timestep a call, membranes kept by the neurons."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.body = copy.deepcopy(network)
        for neuron in self.body:
            if isinstance(neuron, snn.Leaky):
                neuron.init_hidden = True
                neuron._init_mem()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.body(x), None


def neurobench_says(network: nn.Sequential, raster: np.ndarray, require: bool) -> dict[str, float]:
    """NeuroBench's own figures for inputs [N, timesteps, ...]."""
    if not require:
        pytest.importorskip("neurobench")
    from neurobench.metrics.manager.workload_manager import WorkloadMetricManager
    from neurobench.metrics.static import ConnectionSparsity
    from neurobench.metrics.workload import ActivationSparsity, MembraneUpdates, SynapticOperations
    from neurobench.models import SNNTorchModel

    model = SNNTorchModel(Stepped(network))
    model.add_activation_module(snn.SpikingNeuron)
    manager = WorkloadMetricManager([SynapticOperations, ActivationSparsity, MembraneUpdates])
    manager.register_hooks(model)
    manager.initialize_metrics()
    x = torch.from_numpy(raster.astype(np.float32))
    with torch.no_grad():
        found = manager.run_metrics(model, model(x), (x, None), len(x), len(x))
    return {
        **found["SynapticOperations"],
        "Membrane_Updates": found["MembraneUpdates"],
        "ActivationSparsity": found["ActivationSparsity"],
        "ConnectionSparsity": ConnectionSparsity()(model),
    }


@pytest.fixture
def require(pytestconfig: pytest.Config) -> bool:
    return bool(pytestconfig.getoption("--require-tools"))


def same(
    network: nn.Sequential, encoder: Encoder, samples: np.ndarray, raster: np.ndarray, require: bool
) -> SynapticLayer:
    """Our counts are NeuroBench's; returns the first layer."""
    made = quantize_network(network, "own", samples, timesteps=STEPS, encoder=encoder)
    inputs = made.encoder.encode(samples)
    ours = energy.account(made, inputs, [made.policy])[0].counts.named()
    theirs = neurobench_says(network, raster, require)
    once = STEPS if encoder.kind == "direct" else 1  # a constant input's sums are taken once, not in every timestep
    first = made.students[0].layers[0]
    assert isinstance(first, SynapticLayer)
    assert ours["Effective_ACs"] == pytest.approx(theirs["Effective_ACs"])
    assert ours["Effective_MACs"] * once == pytest.approx(theirs["Effective_MACs"])
    assert ours["Dense"] + (once - 1) * first.fan_out().sum() == pytest.approx(theirs["Dense"])
    assert ours["ActivationSparsity"] == pytest.approx(theirs["ActivationSparsity"])
    assert round(ours["ConnectionSparsity"], 4) == theirs["ConnectionSparsity"] > 0
    assert ours["Membrane_Updates"] == pytest.approx(theirs["Membrane_Updates"])
    assert 0 < ours["ActivationSparsity"] < 1
    return first


@pytest.mark.parametrize("neuron", NEURONS)
def test_counts_are_neurobench_s_own(neuron: str, require: bool):
    network = grid(dense(NEURONS[neuron](), NEURONS[neuron]()))
    raster = binary(20, STEPS, 12)
    same(network, Encoder("events", (1, 12, 1), STEPS), raster, raster, require)


@pytest.mark.parametrize("stride", [1, 2])
def test_counts_of_convolutions_are_neurobench_s_own(stride: int, require: bool):
    torch.manual_seed(0)
    neuron = NEURONS["if, delayed reset"]
    first = nn.Conv2d(2, 4, 3, stride=stride, padding=1)
    width = nn.Sequential(first, nn.Conv2d(4, 5, (2, 3), padding=(1, 0)), nn.Flatten())(torch.zeros(1, 2, 7, 6)).shape[
        1
    ]
    network = grid(
        nn.Sequential(
            first, neuron(), nn.Conv2d(4, 5, (2, 3), padding=(1, 0)), neuron(), nn.Flatten(), nn.Linear(width, 3)
        )
    )
    raster = binary(20, STEPS, 7 * 6 * 2).reshape(20, STEPS, 7, 6, 2)
    same(network, Encoder("events", (7, 6, 2), STEPS), raster, np.moveaxis(raster, -1, 2), require)


@pytest.mark.parametrize(("step", "scale", "shift"), [(1.0, 1.0, 0), (1 / 4, 1 / 64, 4)])
def test_values_are_multiplied_once_where_neurobench_repeats_them_in_every_timestep(
    step: float, scale: float, shift: int, require: bool
):
    """Inputs are multiples of 2^shift units, and so are biases: a shifted current is not rounded either."""
    network = grid(dense(NEURONS["if, delayed reset"]()))
    x = np.random.default_rng(3).integers(-7, 8, size=(20, 12)) * step
    encoder = Encoder("direct", (1, 12, 1), STEPS, scale=scale)
    first = same(network, encoder, x, np.repeat(x[:, None], STEPS, axis=1), require)
    assert first.current_shift == shift
    assert not (first.bias % 2**shift).any()


@examples(25)
@given(ensembles())
def test_the_engine_s_operations_are_the_effective_ones_and_those_of_weights_of_zero(ensemble: QuantEnsemble):
    rng = random.Random(1)
    inputs = random_inputs(rng, ensemble)
    policy = random_policy(rng, ensemble.students, ensemble.encoder.timesteps)
    counts, engine = energy.account(ensemble, inputs, [policy])[0].counts, run(ensemble, inputs, policy)
    macs, acs = engine.macs.mean(), engine.synaptic_ops.mean()
    assert counts.effective_macs <= macs and counts.effective_acs <= acs
    assert counts.membrane_updates <= engine.neuron_updates.mean()
    assert 0 <= counts.activation_sparsity <= 1


@pytest.mark.parametrize("kind", ENCODERS)
def test_where_no_weight_is_zero_all_of_the_engine_s_operations_are_effective(kind: EncoderKind):
    made = tiny_ensemble(kind)
    students = []
    for student in made.students:
        filled = [msgspec.structs.replace(x, weight=np.where(x.weight == 0, 1, x.weight)) for x in student.layers]
        layers = tuple(proven(layer, made.encoder, n == 0) for n, layer in enumerate(filled))
        students.append(msgspec.structs.replace(student, layers=layers))
    whole = msgspec.structs.replace(made, students=tuple(students))
    inputs, policy = random_inputs(random.Random(1), whole), ActivationPolicy("first", students=2)
    counts, engine = energy.account(whole, inputs, [policy])[0].counts, run(whole, inputs, policy)
    assert counts.connection_sparsity == 0 < counts.effective_acs
    assert counts.effective_macs == pytest.approx(engine.macs.mean())
    assert counts.effective_acs == pytest.approx(engine.synaptic_ops.mean())


@examples(25)
@given(ensembles())
def test_effective_fan_out_counts_the_weights_that_are_not_zero(ensemble: QuantEnsemble):
    for student in ensemble.students:
        for layer in student.layers:
            if isinstance(layer, SynapticLayer):
                found = energy.effective_fan_out(layer)
                assert found.shape == layer.in_shape and (found <= layer.fan_out()).all()
                whole = msgspec.structs.replace(layer, weight=np.ones_like(layer.weight))
                assert np.array_equal(energy.effective_fan_out(whole), layer.fan_out())


def test_an_estimate_is_what_its_docstring_says():
    """A direct linear layer 4 -> 3 and a readout 3 -> 2, two timesteps, 16-bit membranes, all in 8 KB."""
    made = small()
    steps, macs, acs = 2, 10.0, 4.0
    found = energy.estimate(made, [1.0], [[macs, acs]])
    assert [layer.width for layer in made.students[0].layers] == [16, 16]  # type: ignore[union-attr]
    additions = macs + acs + 4 * steps * (3 + 2)
    assert found.arithmetic == pytest.approx(0.1 * additions + 0.2 * macs)
    weights = macs / 2 + acs
    state = macs / 2 + acs * 2 * 2 + steps * (3 + 2) * 4 * 2 + steps * 3 * 2 / 8
    assert (found.weight_bytes, found.state_bytes) == pytest.approx((weights, state))
    assert found.memory == pytest.approx((weights + state) * 10 / 8)
    half = energy.estimate(made, [0.5], [[macs / 2, acs / 2]])
    assert 2 * np.array(astuple(half)) == pytest.approx(np.array(astuple(found)))


def small() -> QuantEnsemble:
    network = nn.Sequential(nn.Linear(4, 3), NEURONS["if, delayed reset"](), nn.Linear(3, 2))
    x = np.random.default_rng(0).normal(size=(20, 4)) / 8
    return quantize_network(network, "own", x, timesteps=2, encoder=make_encoder("direct", x, 2))


def test_a_student_that_does_not_run_costs_nothing():
    made = tiny_ensemble()
    inputs = made.vectors.inputs
    work = measure(made, ReferenceEngine(made), inputs)
    every = energy.estimate_runs(made, work, np.full(len(inputs), 0b111, np.uint32))
    parts = [energy.estimate_runs(made, work, np.full(len(inputs), 1 << k, np.uint32)).total for k in range(3)]
    assert sum(parts) == pytest.approx(every.total) and min(parts) > 0
    policies = [ActivationPolicy("mask", mask=1 << k) for k in range(3)]
    assert [a.estimate.total for a in energy.account(made, inputs, policies)] == pytest.approx(parts)
    assert energy.estimate_all(made) is None or made.students[0].layer_ops
    measured = energy.estimate_all(with_costs(made, work))
    assert measured is not None and measured.total == pytest.approx(every.total, rel=0.02)


def test_half_the_timesteps_are_half_the_updates():
    made = small()
    whole, half = (energy.estimate(made, [1.0], [[0.0, 0.0]], steps).arithmetic for steps in (2, 1))
    assert whole == pytest.approx(2 * half)


def test_memory_costs_by_what_it_must_hold():
    assert [8 * energy.access(n) for n in (1, 8192, 8193, 40_000, 2**20 + 1)] == [10, 10, 20, 100, 1300]
    narrow, wide = energy.estimate_dense(1000, 100, 8), energy.estimate_dense(1000, 100, 32)
    assert narrow.arithmetic == pytest.approx(300) and wide.arithmetic == pytest.approx(4600)
    assert narrow.memory == pytest.approx(500 * (10 + 20) / 8) and wide.memory == pytest.approx(4 * narrow.memory)
    with pytest.raises(ValueError, match="bits"):
        energy.estimate_dense(1, 1, 4)
