"""Students: neurons fire in the deployed order, and the integer form computes what the integers do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from msgspec.structs import replace
from torch import nn
from trained_students import as_trained

from sne_edge.check.reference import run_student
from sne_edge.check.synapses import current_of
from sne_edge.errors import SneError
from sne_edge.ir.layers import Conv, SynapticLayer, rounding
from sne_edge.ir.neuron import Decay, Neuron, nearest_decay
from sne_edge.ir.proof import prove_layer
from sne_edge.learn.course import Course
from sne_edge.learn.distill import distill, parts_of, prefix_accuracy
from sne_edge.learn.integers import direct_unit, fold_batch_norm, membrane_unit
from sne_edge.learn.lessons import Lessons, Tutor
from sne_edge.learn.neurons import LIF, fire, unroll
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body, Ensemble
from sne_edge.quantize.quantize import quantize_ensemble

CLASSES = ("a", "b", "c")
BODIES = {
    "1d": (Body((3, 4), (5, 3), (2, 1)), (1, 12, 1)),
    "2d": (Body((3, 4), (3, 3), (1, 2)), (6, 5, 2)),
    "dense": (Body((), (), (), dense=(7, 5), shift=2), (1, 9, 1)),
    "learnt": (Body((3, 4), (5, 3), (2, 1), learn_decay=True), (1, 12, 1)),
    "both": (Body((3,), (3,), (2,), dense=(6,), shift=3), (1, 10, 2)),
    "pooled": (Body((4, 6), (3, 3), (1, 2), pool=True), (7, 8, 2)),
    "pooled, then dense": (Body((4, 5), (3, 3), (2, 1), dense=(7,), pool=True), (8, 6, 1)),
    "deep": (Body((4, 5, 4, 6, 5, 6), (3,) * 6, (1, 2, 1, 2, 1, 2), pool=True), (12, 12, 2)),
    "4-bit": (Body((3, 4), (3, 3), (1, 2), dense=(6,), bits=4), (6, 5, 2)),
}


def make_ensemble(kind: str = "1d", students: int = 2) -> Ensemble:
    return as_trained(*BODIES[kind], students)


def samples(kind: str = "1d", count: int = 30) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *BODIES[kind][1])).astype(np.float32)


@pytest.mark.parametrize("reset", ["subtract", "zero"])
@pytest.mark.parametrize("shift", [1, 3])
def test_neurons_decay_add_fire_on_strictly_more_and_then_reset(reset: str, shift: int):
    torch.manual_seed(0)
    currents = torch.randn(6, 50) * 2
    currents[0, 0] = 1.0  # exactly at threshold: silent
    beta, v = Decay("shift", shift).beta, torch.zeros(50)
    expected = []
    for current in currents:
        v = beta * v + current
        spike = (v > 1.0).float()
        v = v - spike if reset == "subtract" else v * (1 - spike)
        expected.append(spike)
    assert expected[0][0] == 0
    assert torch.equal(fire(LIF(shift, reset_mechanism=reset), currents)[0], torch.stack(expected))


def test_unrolled_neurons_have_the_spikes_and_gradients_of_single_steps():
    torch.manual_seed(0)
    once, steps = (2 * torch.randn(5, 40)).requires_grad_(), None
    steps = once.detach().clone().requires_grad_()
    weight, neurons, membrane, spikes = torch.randn(5, 40), LIF(2), None, []
    for current in steps:
        spike, membrane = neurons(current, membrane)
        spikes.append(spike)
    (torch.stack(spikes) * weight).sum().backward()
    unrolled = fire(neurons, once)[0]
    (unrolled * weight).sum().backward()
    assert torch.equal(unrolled, torch.stack(spikes))
    assert torch.allclose(once.grad, steps.grad, atol=1e-5)


@pytest.mark.parametrize("beta", [0.2, 0.77, 1.0])
def test_a_learnt_decay_has_the_spikes_and_gradients_of_single_steps(beta: float):
    torch.manual_seed(0)
    currents, weight, found = 2 * torch.randn(5, 40), torch.randn(5, 40), []
    for unrolled in (False, True):
        neurons, membrane, spikes = LIF(2, learn=True), None, []
        neurons.beta.data.fill_(beta)
        for current in currents:
            spike, membrane = neurons(current, membrane)
            spikes.append(spike)
        out = fire(neurons, currents.requires_grad_())[0] if unrolled else torch.stack(spikes)
        (out * weight).sum().backward()
        found.append((out, neurons.beta.grad))
    assert torch.equal(found[0][0], found[1][0])
    assert found[0][1].abs() > 1e-3 and torch.allclose(found[0][1], found[1][1], rtol=1e-4)


def test_a_threshold_is_the_gain_and_bias_of_the_batch_norm_before_it():
    torch.manual_seed(0)
    currents, threshold = 2 * torch.randn(6, 50), 2.0  # a power of two: exact
    assert torch.equal(fire(LIF(2, threshold), currents)[0], fire(LIF(2), currents / threshold)[0])


@pytest.mark.parametrize(("beta", "kind"), [(0.5, "shift"), (0.51, "q15"), (0.0, "q15"), (-0.1, "q15"), (1.2, "none")])
def test_a_decay_is_deployed_as_the_nearest_that_the_device_has(beta: float, kind: str):
    decay = nearest_decay(beta)
    assert decay.kind == kind and abs(decay.beta - min(max(beta, 0), 1)) <= 2**-16


def test_a_constant_input_is_the_same_as_one_given_at_every_timestep():
    layers = make_ensemble().students[0].body
    x = torch.randn(4, 1, 1, 12)
    assert torch.allclose(unroll(layers, x, 3), unroll(layers, x.expand(3, *x.shape), 3, constant=False))


@pytest.mark.parametrize("kind", BODIES)
def test_folding_batch_norms_changes_no_output(kind: str):
    body = make_ensemble(kind).students[0].body
    plain = [m for m in body if not isinstance(m, LIF)]
    x = torch.randn(5, BODIES[kind][1][2], *BODIES[kind][1][:2])
    folded = fold_batch_norm(nn.Sequential(*plain))
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in folded)
    assert torch.allclose(folded(x), nn.Sequential(*plain)(x), atol=1e-5)


def test_a_batch_norm_without_weights_before_it_is_refused():
    with pytest.raises(SneError, match="batch norm"):
        fold_batch_norm(nn.Sequential(nn.Flatten(), nn.BatchNorm1d(3)))


def test_logits_are_the_sum_over_active_students_and_the_bias():
    ensemble = make_ensemble()
    features, parts, rates = ensemble(torch.from_numpy(samples()).permute(0, 3, 1, 2))
    head = ensemble.heads[1]
    assert torch.allclose(parts[1], head(features[1]), atol=1e-5)
    assert torch.allclose(ensemble.logits(parts, [0, 1]), parts.sum(dim=0) + ensemble.bias, atol=1e-5)
    assert torch.allclose(ensemble.logits(parts, [1]), parts[1] + ensemble.bias)
    assert rates.shape == (2, 2)


@pytest.mark.parametrize("kind", BODIES)
def test_the_integer_form_computes_what_the_integer_reference_does(kind: str):
    ensemble, x = make_ensemble(kind), samples(kind)
    integers = quantize_ensemble(ensemble, "tiny", CLASSES)
    inputs = ensemble.encoder.encode(x)
    parts = parts_of(ensemble.integer_form(), x)
    for k, student in enumerate(integers.students):
        trace = run_student(integers, k, inputs)
        expected = trace.readout * student.readout.scale + student.bias * integers.logit_scale
        assert trace.spikes.sum() > 0
        assert np.allclose(parts[k], expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("beta", [0.5, 0.3333, 0.9, 1.0, 0.0])
def test_a_learnt_decay_floors_as_the_integers_do(beta: float):
    ensemble, x = make_ensemble("learnt"), samples("learnt", 60)
    for module in ensemble.modules():
        if isinstance(module, LIF):
            module.beta.data.fill_(beta)
    integers = quantize_ensemble(ensemble, "tiny", CLASSES)
    expected = [run_student(integers, k, ensemble.encoder.encode(x)).readout for k in range(2)]
    parts = parts_of(ensemble.integer_form(), x)
    for k, student in enumerate(integers.students):
        assert {layer.neuron.decay for layer in student.layers[:-1]} == {nearest_decay(beta)}
        real = expected[k] * student.readout.scale + student.bias * integers.logit_scale
        assert expected[k].std() > 0
        assert np.allclose(parts[k], real, atol=1e-3 * np.abs(real).max())


def test_a_direct_inputs_membranes_fill_16_bits_without_a_coarser_network():
    """The constant current is shifted as far as the proof asks and no further; thresholds stay whole, and exact."""
    shifts = set()
    for kind in BODIES:
        ensemble = make_ensemble(kind)
        for student in quantize_ensemble(ensemble, "tiny", CLASSES).students:
            first = student.layers[0]
            assert isinstance(first, SynapticLayer)
            assert first.width == 16 and max(-first.bound.low, first.bound.high) > 2**14, kind
            finer = replace(first, current_shift=first.current_shift - 1, threshold=2 * first.threshold)
            wider = prove_layer(finer, ensemble.encoder, True)
            assert wider is not None and wider.width == 32
            assert np.allclose(first.threshold * first.scale, 1.0, rtol=1e-6)
            assert np.abs(first.weight).max() / 127 > 0.9
            shifts.add(first.current_shift)
    assert len(shifts) > 1


def test_shifted_currents_are_learnt_as_they_are_deployed():
    ensemble, x = make_ensemble(), samples(count=60)
    integers = quantize_ensemble(ensemble, "tiny", CLASSES)
    values = ensemble.encoder.encode(x).view(np.int8).astype(np.int64).reshape(60, *x.shape[1:])
    ensemble.integer_form()
    for net, student in zip(ensemble.students, integers.students, strict=True):
        first = student.layers[0]
        assert isinstance(first, Conv) and first.current_shift > 0
        whole = current_of(first, torch.from_numpy(values)) + torch.from_numpy(first.bias.astype(np.int64))
        exact = (whole + rounding(first.current_shift)) >> first.current_shift
        given = torch.from_numpy(values * ensemble.encoder.scale).permute(0, 3, 1, 2).float()
        learnt = net.body[0](given).permute(0, 2, 3, 1) / torch.tensor(first.scale)
        assert torch.allclose(learnt, exact.double(), rtol=1e-6, atol=1e-3)


def test_a_current_is_not_shifted_where_that_would_be_coarser_than_rounded_weights():
    """Many timesteps without leak reach far: shifted into 16 bits, a current would lose what weights tell."""
    weight = torch.randn(4, 9, generator=torch.Generator().manual_seed(0))
    cases = {steps: direct_unit(weight, None, 1.0, 0.02, Neuron("if"), steps) for steps in (1, 4, 1000)}
    assert 0 < cases[1][1] < cases[4][1] and cases[1000][1] == 0
    assert torch.equal(cases[1000][0], membrane_unit(weight.double(), None, torch.tensor(1.0).double(), 0.02))
    high = {steps: direct_unit(weight, None, 5.0, 0.02, Neuron("if"), steps)[1] for steps in (16, 100)}
    assert 4 < high[16] < 7 and high[100] == 0  # with a shift of 8, thresholds would still have more than enough units
    small = direct_unit(weight, None, 0.01, 0.02, Neuron("if"), 1)  # a threshold of a few units
    assert small[1] == 0


def test_integer_form_and_back_is_the_folded_float_network():
    ensemble, x = make_ensemble(), samples()
    before = parts_of(ensemble, x)
    assert not np.allclose(before, parts_of(ensemble.integer_form(), x), atol=1e-6)
    assert np.allclose(before, parts_of(ensemble.float_form(), x), atol=1e-5)


def test_a_threshold_is_a_whole_number_of_membrane_units_and_weights_fit_int8():
    weight = torch.randn(50, 9) * torch.logspace(-6, 5, 50)[:, None]
    unit = membrane_unit(weight, torch.randn(50), 1.0, 0.02)
    steps = 1.0 / unit
    fine = steps >= 1
    assert 10 < fine.sum() < 50
    assert torch.allclose(steps[fine], steps[fine].round(), rtol=1e-5)
    assert (weight.abs().amax(dim=1) / (unit / 0.02) <= 127.01).all()
    assert (steps <= 2**14 + 1).all()


def test_4_bit_weights_are_clipped_where_that_brings_them_nearer():
    torch.manual_seed(0)
    weight = torch.randn(50, 200)
    weight[:, 0] = 7  # one far from the others
    step = membrane_unit(weight, torch.zeros(50), 40.0, 1.0, bits=4)[:, None]
    clipped, whole = (((weight / s).round().clamp(-7, 7) * s - weight).square().sum(dim=1) for s in (step, 1.0))
    assert (clipped < whole).float().mean() > 0.9
    even = torch.full((1, 9), 7.0)
    assert membrane_unit(even, None, 40.0, 1.0, bits=4) == 1


def test_distillation_teaches_every_prefix_and_every_single_student():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = (np.eye(3)[y][:, [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]] + 0.1 * rng.normal(size=(300, 12))).astype(np.float32)
    x = x[:, None, :, None]
    ensemble = make_ensemble()
    targets = np.eye(3)[y][:, [0, 1, 2, 0, 1, 2]].astype(np.float32) - 1 / 3
    lessons = Lessons(x[None], targets[None], 6 * np.eye(3, dtype=np.float32)[y][None], y, x[:60], y[:60])
    seen = []
    recipe = Recipe(alone=16, joint=8, rounded=2, batch=50)
    distill(ensemble, lessons, recipe, progress=lambda *event: seen.append(event))
    assert min(prefix_accuracy(ensemble, x, y)) > 0.9
    assert prefix_accuracy(ensemble, x, y, [1])[0] > 0.8
    counted = [(stage, done) for stage, done, _, _ in seen]
    assert counted == [
        *(("student 1", n + 1) for n in range(16)),
        *(("student 2", n + 1) for n in range(16)),
        *(("ensemble", n + 1) for n in range(8)),
        *(("fine-tuning in int8", n + 1) for n in range(2)),
    ]
    assert not any(isinstance(m, nn.BatchNorm2d) for m in ensemble.modules())


def test_training_moves_learnt_decays_and_the_integers_have_them():
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = rng.normal(size=(300, 1, 12, 1)).astype(np.float32) + y[:, None, None, None]
    ensemble = make_ensemble("learnt")
    before = [float(m.beta.detach()) for m in ensemble.modules() if isinstance(m, LIF)]
    targets = np.eye(3)[y][:, [0, 1, 2, 0, 1, 2]].astype(np.float32) - 1 / 3
    lessons = Lessons(x[None], targets[None], 6 * np.eye(3, dtype=np.float32)[y][None], y, x[:60], y[:60])
    distill(ensemble, lessons, Recipe(alone=2, joint=3, rounded=1, batch=50))
    after = [float(m.beta.detach()) for m in ensemble.modules() if isinstance(m, LIF)]
    assert all(abs(a - b) > 1e-3 for a, b in zip(before, after, strict=True))
    integers = quantize_ensemble(ensemble, "tiny", CLASSES)
    deployed = [layer.neuron.decay.beta for s in integers.students for layer in s.layers[:-1]]
    assert np.allclose(deployed, np.clip(after, 0, 1), atol=2**-15)


def test_the_loss_of_each_timestep_is_that_of_their_mean_where_there_is_one_and_no_other_where_not():
    """Temporal efficient training: with several timesteps, equal means of unequal timesteps cost more."""
    ensemble, x = make_ensemble("pooled"), samples("pooled", 16)
    rng = np.random.default_rng(0)
    lessons = Lessons(
        x[None], rng.normal(size=(1, 16, 6)).astype(np.float32), rng.normal(size=(1, 16, 3)).astype(np.float32),
        np.arange(16) % 3, x, np.arange(16) % 3,
    )  # fmt: skip
    losses = {}
    for timesteps in (1, 4):
        ensemble.encoder = replace(ensemble.encoder, timesteps=timesteps)
        for each in (0.0, 0.5, 1.0):
            course = Course(ensemble, Tutor(lessons, Recipe(each=each)))
            batch = course.draw(np.arange(16), np.random.default_rng(0))
            with torch.no_grad():
                losses[timesteps, each] = float(course.together(batch)), float(course.alone(1, batch))
    assert np.allclose(losses[1, 0.0], losses[1, 1.0], rtol=1e-5) and np.allclose(
        losses[1, 0.0], losses[1, 0.5], rtol=1e-5
    )
    assert all(a < b for a, b in zip(losses[4, 0.0], losses[4, 1.0], strict=True))  # both losses are convex
    halves = np.add(losses[4, 0.0], losses[4, 1.0]) / 2
    assert np.allclose(losses[4, 0.5], halves, rtol=1e-5)


def test_a_body_or_recipe_that_makes_no_sense_is_refused():
    with pytest.raises(SneError, match="convolutions"):
        Body((3, 4), (5,), (1, 1))
    with pytest.raises(SneError, match="5 bits"):
        Body(bits=5)
    with pytest.raises(SneError, match="recipe"):
        Recipe(batch=1)
