"""Verification: the same inputs through the reference, the host build and devices; every number must be equal.

In: an ensemble, inputs and engines. Out: how many numbers were compared, and the first difference, named to the neuron.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from ..ir.student import states

FIELDS = (
    "label",
    "margin",
    "active",
    "students_run",
    "stop",
    "timesteps",
    "synaptic_ops",
    "macs",
    "neuron_updates",
    "logits",
    "spikes",
)


@dataclass(frozen=True)
class Outcome:
    """What an engine made of N samples: `values` by the names in `FIELDS`, int64 [N] or [N, n], all that it knows;
    `membranes` of one student by layer with neurons, int64 [N, neurons], or none where not asked for; `layer_ops`:
    by student, int64 [N, layers], where the engine counts operations by layer."""

    values: dict[str, np.ndarray]
    membranes: list[np.ndarray]
    layer_ops: tuple[np.ndarray, ...] = ()


class Engine(Protocol):
    """Anything that runs an ensemble."""

    name: str

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        """Run inputs uint8 [N, input_bytes]; with `student`, the policy runs it alone and its membranes are read."""
        ...


class ReferenceEngine:
    """The integer reference in PyTorch, which computes `where`: a torch device's name."""

    name = "reference"

    def __init__(self, ensemble: QuantEnsemble, where: str = "cpu") -> None:
        self._ensemble, self._where = ensemble, where
        self._traces: dict[tuple[int, int, bytes], Any] = {}

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        from . import reference

        policy = policy or self._ensemble.policy
        steps, where = policy.timesteps or self._ensemble.encoder.timesteps, self._where
        key = inputs.tobytes()
        traces, early = [], []
        for k in range(len(self._ensemble.students)):  # policies share the students' traces
            trace, states = self._traces.get((k, steps, key)), student == k
            if trace is None or (states and not trace.membranes):
                trace = reference.run_student(self._ensemble, k, inputs, steps, states=states, where=where)
                self._traces[k, steps, key] = trace
            traces.append(trace)
            if policy.early:
                early.append(reference.run_early(self._ensemble, k, inputs, traces[k], steps, where))
        result = reference.combine(self._ensemble, traces, policy, early)
        values = {name: getattr(result.decisions, name) for name in FIELDS if hasattr(result.decisions, name)}
        values |= {name: getattr(result, name) for name in FIELDS if name not in values}
        found = {name: values[name].astype(np.int64) for name in FIELDS}
        membranes = [] if student is None else list(traces[student].membranes)
        return Outcome(found, membranes, tuple(trace.layer_ops for trace in traces))


@dataclass(frozen=True)
class Check:
    """One engine's comparison. `difference`: the first one in words, or None where all was equal."""

    engine: str
    against: str
    inputs: int
    runs: int
    compared: int
    difference: str | None


def policies(ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """The policies that verification runs: every kind, with numbers at which decisions differ between inputs."""
    count = len(ensemble.students)
    chosen = [ensemble.policy, ActivationPolicy("all")]
    chosen += [ActivationPolicy("first", students=k) for k in range(1, count)]
    typical = sum(student.mean_ops for student in ensemble.students)
    if typical > 1:
        chosen.append(ActivationPolicy("budget", max_ops=typical))
        chosen.append(ActivationPolicy("budget", max_ops=max(1, typical // 2)))
    if ensemble.policy.kind == "cascade":
        chosen.append(ActivationPolicy("cascade", margins=tuple(m // 2 for m in ensemble.policy.margins)))
    if ensemble.routes is not None and ensemble.policy.kind != "routed":
        margins = ensemble.policy.margins or (max(1, int(np.abs(ensemble.bias).max())),) * (count - 1)
        chosen.append(ActivationPolicy("routed", margins=margins))
    return list(dict.fromkeys(chosen))


def verify(
    ensemble: QuantEnsemble,
    inputs: np.ndarray,
    expected: Engine,
    engines: Sequence[Engine],
    progress: Callable[[str], None] = lambda text: None,
) -> list[Check]:
    """Compare every engine with `expected` on uint8 [N, input_bytes], and all of them with the golden vectors."""
    others = [engine for engine in engines if engine.name != expected.name]
    checks = [_check_golden(ensemble, engine, progress) for engine in (expected, *others)]
    for engine in others:
        checks.append(_check_engine(ensemble, inputs, expected, engine, progress))
    return checks


def _check_golden(ensemble: QuantEnsemble, engine: Engine, progress: Callable[[str], None]) -> Check:
    golden = ensemble.vectors
    progress(f"{engine.name}: golden vectors")
    if not len(golden.inputs):
        return Check(engine.name, "golden vectors", 0, 0, 0, None)
    outcome = engine.run(golden.inputs, None, None)
    stored = {
        "logits": golden.logits,
        "active": golden.active,
        "spikes": golden.spikes,
        "synaptic_ops": golden.ops[:, 0],
        "macs": golden.ops[:, 1],
    }
    stored = {name: want for name, want in stored.items() if name in outcome.values}
    difference = None
    for name, want in stored.items():
        difference = difference or _first(name, outcome.values[name], want.astype(np.int64))
    compared = sum(array.size for array in stored.values())
    return Check(engine.name, "golden vectors", len(golden.inputs), 1, compared, difference)


def _check_engine(
    ensemble: QuantEnsemble, inputs: np.ndarray, expected: Engine, engine: Engine, progress: Callable[[str], None]
) -> Check:
    runs: list[tuple[ActivationPolicy, int | None]] = [
        (ActivationPolicy("mask", mask=1 << k), k) for k in range(len(ensemble.students))
    ]
    runs += [(policy, None) for policy in policies(ensemble)]
    compared, difference, done = 0, None, 0
    for policy, student in runs:
        progress(f"{engine.name}: {f'student {student} alone' if student is not None else f'policy {policy.kind}'}")
        got, want = engine.run(inputs, policy, student), expected.run(inputs, policy, student)
        compared += sum(v.size for v in got.values.values()) + sum(m.size for m in got.membranes)
        difference, done = _compare(ensemble, got, want, student), done + 1
        if difference is not None:
            if student is not None:
                difference = _locate(ensemble, inputs, expected, engine, student) or difference
            difference = f"policy {policy.kind}: {difference}"
            break
    return Check(engine.name, expected.name, len(inputs), done, compared, difference)


def _compare(ensemble: QuantEnsemble, got: Outcome, want: Outcome, student: int | None) -> str | None:
    if student is not None and got.membranes and want.membranes:
        kept = [state for state in states(ensemble.students) if state.student == student]
        for state, mine, theirs in zip(kept, got.membranes, want.membranes, strict=True):
            found = _first("current" if state.current else "membrane", mine, theirs)
            if found:
                return f"student {student}, layer {state.layer}, {found}"
    for name in (name for name in FIELDS if name in got.values):
        found = _first(name, got.values[name], want.values[name])
        if found:
            return found
    return None


def _first(name: str, got: np.ndarray, want: np.ndarray) -> str | None:
    """The first difference of two arrays [N] or [N, n] in words."""
    if got.shape != want.shape:
        return f"{name}: shape {got.shape} instead of {want.shape}"
    places = np.argwhere(got != want)
    if not len(places):
        return None
    place = tuple(places[0])
    index = f"[{', '.join(str(int(i)) for i in place[1:])}]" if len(place) > 1 else ""
    return f"input {place[0]}: {name}{index} is {got[place]} instead of {want[place]}"


def _locate(ensemble: QuantEnsemble, inputs: np.ndarray, expected: Engine, engine: Engine, student: int) -> str | None:
    """The first timestep, layer and neuron at which a student differs."""
    for timesteps in range(1, ensemble.encoder.timesteps + 1):
        policy = ActivationPolicy("mask", mask=1 << student, timesteps=timesteps)
        found = _compare(ensemble, engine.run(inputs, policy, student), expected.run(inputs, policy, student), student)
        if found:
            return f"timestep {timesteps - 1}: {found}"
    return None
