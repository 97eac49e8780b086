"""Residual students: spikes are added as they are learnt, quantised to graphs, and run in C bit for bit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from trained_students import as_trained

from sne_edge.check.reference import run_student
from sne_edge.check.verify import ReferenceEngine
from sne_edge.cli import run
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load
from sne_edge.ir.graph import Graph
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.learn.baseline import student_design
from sne_edge.learn.distill import parts_of
from sne_edge.learn.neurons import LIF, fire, unroll
from sne_edge.learn.student import Body, Ensemble
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.quantize.graph import worth_of
from sne_edge.quantize.residual import quantize_residual

BODIES = {
    "1d": (Body((4, 5), (5, 3), (2, 1), residual=1), (1, 12, 1)),
    "two blocks": (Body((4, 6), (3, 3), (1, 2), pool=True, residual=2), (7, 8, 2)),
    "even kernel, then dense": (Body((5,), (4,), (2,), dense=(7,), residual=1, shift=2), (8, 6, 1)),
    "pooled, then dense": (Body((5,), (3,), (2,), dense=(7,), pool=True, residual=1), (8, 6, 1)),
    "learnt": (Body((3, 4), (5, 3), (2, 1), learn_decay=True, residual=1), (1, 12, 1)),
    "4-bit": (Body((3, 4), (3, 3), (1, 2), dense=(6,), bits=4, residual=1), (6, 5, 2)),
}


def make_ensemble(kind: str, students: int = 2) -> Ensemble:
    return as_trained(*BODIES[kind], students)


def samples(kind: str, count: int = 30) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(count, *BODIES[kind][1])).astype(np.float32)


def test_a_blocks_spikes_are_added_to_those_that_it_takes():
    torch.manual_seed(0)
    first, second = (nn.Conv1d(3, 3, 3, padding=1) for _ in range(2))
    second.weight.data *= 6
    x = 3 * torch.randn(5, 3, 8)
    made = unroll([first, LIF(1), second, LIF(2, adds=True)], x, 4)
    spikes = fire(LIF(1), first(x), 4)[0]
    added = spikes + fire(LIF(2), second(spikes.flatten(0, 1)).unflatten(0, (4, -1)))[0]
    assert torch.equal(made, added) and made.max() == 2


@pytest.mark.parametrize("kind", BODIES)
@pytest.mark.examines(spikes=100)
def test_the_integer_form_computes_what_the_integer_graph_does(kind: str, examined: Counter[str]):
    ensemble, x = make_ensemble(kind), samples(kind)
    integers = quantize_residual(ensemble, "tiny", ("a", "b", "c"))
    inputs = ensemble.encoder.encode(x)
    if not BODIES[kind][0].dense:  # else what is added lies further in
        ends = [unroll(s.body, torch.from_numpy(x).permute(0, 3, 1, 2), 4).detach() for s in ensemble.students]
        assert max(float(end.max()) for end in ends) > 1
    parts = parts_of(ensemble.integer_form(), x)
    for k, student in enumerate(integers.students):
        trace = run_student(integers, k, inputs)
        assert isinstance(student.graph, Graph)
        expected = trace.readout * worth_of(student.graph, integers.encoder) + student.bias * integers.logit_scale
        assert np.allclose(parts[k], expected, atol=2e-3 * np.abs(expected).max())
        assert np.allclose(trace.part * integers.logit_scale, expected, atol=2e-3 * np.abs(expected).max())
        examined["spikes"] += int(trace.spikes.sum())


@pytest.mark.parametrize("kind", ["1d", "two blocks", "4-bit"])
@pytest.mark.examines(logits=90)
def test_the_c_has_every_count_logit_and_decision_of_the_reference(
    kind: str, require_tool: Callable[..., None], examined: Counter[str]
):
    require_tool("cc")
    integers = quantize_residual(make_ensemble(kind), "tiny", ("a", "b", "c"))
    inputs = integers.encoder.encode(samples(kind))
    host, reference = HostEngine(HostModel(integers)), ReferenceEngine(integers)
    for policy in (ActivationPolicy("all"), ActivationPolicy("cascade", margins=(300,))):
        one, other = (engine.run(inputs, policy, None).values for engine in (reference, host))
        shared = one.keys() & other.keys()
        assert {"logits", "spikes", "label", "synaptic_ops"} <= shared
        assert all(np.array_equal(one[what], other[what]) for what in shared)
        examined["logits"] += one["logits"].size


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
def test_train_makes_residual_students_and_its_settings_make_them_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]
):
    require_tool("cc")
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2
    x = np.sin(np.arange(12) * (y[:, None] + 1)) + 0.3 * rng.normal(size=(200, 12))
    np.savez(tmp_path / "waves.npz", x_train=x, y_train=y)
    config = TrainConfig("mnist1d", views=1, teacher_epochs=2, students=2, body=Body((4,), (3,), (2,)))
    (tmp_path / "small.toml").write_text(settings.write(config))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    options = "--config small.toml --epochs 2 --residual 1 --executor inline --device cpu"
    command = ["train", "-o", "made.sne", "--data", "waves.npz", *options.split()]
    assert run(command) == 0
    made = load("made.sne")
    assert all(isinstance(s.graph, Graph) and len(s.graph.populations) == 3 for s in made.students)
    assert asdict(settings.read("made.toml").body)["residual"] == 1
    assert run(["verify", "made.sne", "--on", "host"]) == 0


def test_a_cnn_of_a_residual_students_layers_has_as_many():
    body = BODIES["even kernel, then dense"][0]
    assert [(layer.kind, layer.kernel, layer.stride) for layer in student_design(body)] == [
        ("conv", 4, 2), ("conv", 5, 1), ("dense", 1, 1)
    ]  # fmt: skip


def test_blocks_that_make_no_sense_are_refused():
    for wrong in ({"residual": -1}, {"residual": 9}, {"channels": (), "kernels": (), "strides": (), "dense": (4,)}):
        with pytest.raises(SneError, match="residual"):
            replace(Body(residual=1), **wrong)
