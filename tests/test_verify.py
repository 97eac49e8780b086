"""Verification finds a difference and names it."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from strategies import random_ensemble

from sne_edge.check import reference
from sne_edge.check.verify import FIELDS, Outcome, ReferenceEngine, policies, verify
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.quantize.calibrate import measure


class Faulty(HostEngine):
    """The host build with one number changed by `change(outcome, policy, student)`."""

    name = "faulty"

    def __init__(self, model: HostModel, change: Callable[[Outcome, int, int | None], None]) -> None:
        super().__init__(model)
        self._change = change

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        outcome = super().run(inputs, policy, student)
        timesteps = policy.timesteps if policy else 0
        self._change(outcome, timesteps or 3, student)
        return outcome


@pytest.fixture(scope="module")
def host(tiny: QuantEnsemble) -> HostModel:
    return HostModel(tiny)


def test_the_host_build_is_equal_in_every_number(tiny: QuantEnsemble, host: HostModel) -> None:
    checks = verify(tiny, tiny.vectors.inputs, ReferenceEngine(tiny), [HostEngine(host)])
    assert [check.difference for check in checks] == [None] * 3
    assert checks[-1].runs == len(tiny.students) + len(policies(tiny))
    assert checks[-1].compared > 1000


def test_without_the_reference_the_host_build_is_held_against_the_golden_vectors_alone(
    tiny: QuantEnsemble, host: HostModel
) -> None:
    checks = verify(tiny, tiny.vectors.inputs, HostEngine(host), [HostEngine(host)])
    assert [(check.engine, check.against) for check in checks] == [("host", "golden vectors")]


def test_a_wrong_membrane_is_named_to_timestep_layer_and_neuron(tiny: QuantEnsemble, host: HostModel) -> None:
    def change(outcome: Outcome, timesteps: int, student: int | None) -> None:
        if student == 1 and timesteps >= 2:
            outcome.membranes[1][2, 5] += 1

    check = verify(tiny, tiny.vectors.inputs, ReferenceEngine(tiny), [Faulty(host, change)])[-1]
    assert check.difference is not None
    assert "timestep 1: student 1, layer 1, input 2: membrane[5] is" in check.difference


@pytest.mark.parametrize("field", FIELDS)
def test_a_wrong_number_of_any_kind_is_found(field: str, tiny: QuantEnsemble, host: HostModel) -> None:
    def change(outcome: Outcome, timesteps: int, student: int | None) -> None:
        outcome.values[field].reshape(-1)[-1] += 1

    check = verify(tiny, tiny.vectors.inputs, ReferenceEngine(tiny), [Faulty(host, change)])[-1]
    assert check.difference is not None and field in check.difference


def test_what_is_measured_keeps_no_membranes_which_would_take_all_memory_of_a_large_student(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = random_ensemble(random.Random(3), vectors=4)
    inputs = model.vectors.inputs
    ran: list[bool] = []
    kept = reference.run_student

    def run(*given: Any, states: bool = True, **more: Any) -> Any:
        ran.append(states)
        return kept(*given, states=states, **more)

    monkeypatch.setattr(reference, "run_student", run)
    engine = ReferenceEngine(model)
    work = measure(model, engine, inputs)
    assert ran == [False] * len(model.students)
    assert not any(trace.membranes for trace in engine._traces.values())
    outcome = engine.run(inputs, None, 0)  # who compares membranes has them, of that student
    whole = kept(model, 0, inputs)
    assert ran[-1] and len(outcome.membranes) == len(whole.membranes) > 0
    assert all(np.array_equal(one, other) for one, other in zip(outcome.membranes, whole.membranes, strict=True))
    assert np.array_equal(work.parts[:, 0], whole.part)
