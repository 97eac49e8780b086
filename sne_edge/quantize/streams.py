"""Readouts for streams without end: what was a sum since the start forgets, by a window or a leak.

In: an ensemble whose readouts or decoders add up. Out: the same with another way to add up, its bounds proven anew and
all that is added once an inference, its biases, in proportion to the timesteps that the sums now hold.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import LOGIT_LIMIT, QuantEnsemble
from ..ir.graph import Cell, Decoder, Graph, Leak, Population, Projection
from ..ir.graph_proof import prove_decoder, prove_population
from ..ir.layers import Linear
from ..ir.neuron import INT32, MAX_WINDOW, Bound, Decay, Neuron, nearest_decay
from ..ir.policy import NEVER, ActivationPolicy
from ..ir.proof import multiplicities, prove_layer
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors

COUNT_UNITS = 127  # of a spike, in counts that leak: in whole spikes a leak would be rounded away
FINE = 64  # a gain at least so large is rounded by less than 1 %


def with_memory(ensemble: QuantEnsemble, *, window: int | None = None, leak: float | None = None) -> QuantEnsemble:
    """The ensemble with readouts that add up the last `window` timesteps, or that keep the share `leak` (0..1, of each
    timestep) of what they hold.

    Logits are as large as sums over so many timesteps make them (a leak counts as 1 / (1 - leak)); `logit_scale` and a
    cascade's margins follow. Golden vectors, early stops and a rejection, which held for the sums of before, are left
    out. Raises `SneError` where neither or both are given, or a decoder makes no sum that could forget.
    """
    if not ensemble.encoder.streams:
        raise SneError(
            f"{ensemble.name} takes {ensemble.encoder.kind} inputs, which are no stream: nothing has to be forgotten",
            "a window or a leak is for models of raw events or frames",
        )
    neuron = memory(window, leak)
    length = float(neuron.window) if isinstance(neuron.window, int) else 1 / (1 - neuron.decay.beta)
    try:
        students = [_student(student, neuron, ensemble.encoder) for student in ensemble.students]
        finer = [_counts(student) and window is None for student in ensemble.students]
        if any(finer):  # one scale for all logits
            gains = [s.gain if fine else s.gain * COUNT_UNITS for s, fine in zip(students, finer, strict=True)]
            students = [msgspec.structs.replace(s, gain=gain) for s, gain in zip(students, gains, strict=True)]
        longer = length / _held(ensemble) * (COUNT_UNITS if any(finer) else 1)
        return _rescaled(ensemble, students, longer)
    except ValueError as error:
        raise SneError(
            f"{ensemble.name} cannot forget like that: {error}", "take a shorter window, or a stronger leak"
        ) from None


def memory(window: int | None, leak: float | None) -> Neuron:
    """A readout's neuron."""
    if (window is None) == (leak is None):
        raise SneError("a stream's readout needs a window or a leak", "give one of them: --window or --decode-leak")
    if window is not None:
        if not 1 <= window <= MAX_WINDOW:
            raise SneError(f"a window of {window} timesteps", f"give a number of timesteps in 1..{MAX_WINDOW}")
        return Neuron("li", reset="none", window=window)
    assert leak is not None
    decay = nearest_decay(leak) if 0 <= leak < 1 else Decay()
    if decay.kind == "none":
        raise SneError(
            f"a leak of {leak} never forgets",
            "give the share that is left after a timestep, 0 or more and less than 1: 0.9, say",
        )
    return Neuron("li", decay, reset="none")


def _held(ensemble: QuantEnsemble) -> float:
    """For how many timesteps the ensemble's own readouts add up, which its biases stand for. Raises `ValueError` where
    students differ in it: their biases, and what each weighs, were chosen for sums of their own lengths."""
    found = {_length(student, ensemble.encoder.timesteps) for student in ensemble.students}
    if len(found) > 1:
        lengths = " and ".join(f"{length:g}" for length in sorted(found))
        raise ValueError(f"its students add up over {lengths} timesteps; give each model its memory, then join them")
    return found.pop()


def _length(student: QuantStudent, timesteps: int) -> float:
    """For how many timesteps a student's readout adds up."""
    if isinstance(student.graph, Graph):
        window, decay = student.graph.decoder.window, student.graph.decoder.leak
    else:
        window, decay = student.readout.neuron.window, student.readout.neuron.decay
    if isinstance(window, int):
        return float(window)
    return float(timesteps) if decay.kind == "none" else 1 / (1 - decay.beta)


def _counts(student: QuantStudent) -> bool:
    """Whether spikes of a graph are counted."""
    return isinstance(student.graph, Graph) and student.graph.decoder.kind == "count"


def _student(student: QuantStudent, neuron: Neuron, encoder: Encoder) -> QuantStudent:
    if isinstance(student.graph, Graph):
        made = _graph(student.graph, neuron, encoder)
        known = student.layer_ops if len(made.populations) == len(student.graph.populations) else ()
        return msgspec.structs.replace(student, graph=made, layer_ops=known)
    readout, count = msgspec.structs.replace(student.readout, neuron=neuron), len(student.layers)
    bound = prove_layer(readout, encoder, count == 1, multiplicities(student.layers)[-1])
    if bound is None or bound.width > 32:
        raise ValueError("its readout's sums do not fit in 32 bits")
    held = msgspec.structs.replace(readout, bound=bound)
    assert isinstance(held, Linear)
    return msgspec.structs.replace(student, layers=(*student.layers[:-1], held))


def _graph(graph: Graph, neuron: Neuron, encoder: Encoder) -> Graph:
    """A graph whose decoder forgets; a mean current becomes the sum of membranes that hold one timestep's current, and
    a count that leaks the membranes of neurons that do."""
    decoder, last = graph.decoder, graph.populations[-1]
    kind: Any = decoder.kind
    if kind == "count" and not isinstance(neuron.window, int):
        return _leaking_count(graph, neuron.decay, encoder)
    if kind == "current":
        gone = Leak("q15", np.zeros(1, np.int32))
        last = msgspec.structs.replace(last, neuron=msgspec.structs.replace(last.neuron, leak=gone, clamp=None))
        proof = prove_population(last, encoder)
        if proof.membrane is None:
            raise ValueError("the last population's currents have no bound")
        last, kind = msgspec.structs.replace(last, bound=proof.membrane), "membrane"
    elif not decoder.sums:
        raise ValueError(f"its decoder {kind}{f' {decoder.take}' if kind == 'membrane' else ''} makes no sum")
    made = Decoder(kind, "mean" if kind == "membrane" else "final", leak=neuron.decay, window=neuron.window)
    bound = prove_decoder(made, last, encoder)
    if bound is None or bound.width > 32:
        raise ValueError("its decoder's sums do not fit in 32 bits")
    made = msgspec.structs.replace(made, bound=bound)
    return Graph((*graph.populations[:-1], last), made)


def _leaking_count(graph: Graph, decay: Decay, encoder: Encoder) -> Graph:
    """A graph whose spikes are counted by neurons without spikes, in units of 1 / `COUNT_UNITS`."""
    last = graph.populations[-1]
    channels = last.shape[2]
    weight = np.full(channels, COUNT_UNITS, np.int8)
    total = Population(
        name="total",
        shape=last.shape,
        projections=(Projection(len(graph.populations) - 1, last.shape, "identity", weight),),
        neuron=Cell(leak=Leak(decay.kind, np.array([decay.value], np.int32)), spikes=False, reset="none"),
        bias=np.zeros(channels, np.int32),
        scale=np.full(channels, 1 / COUNT_UNITS),
        bound=Bound(0, 0),
    )
    proof = prove_population(total, encoder)
    if proof.membrane is None or proof.membrane.width > 32:
        raise ValueError("its counts do not fit in 32 bits")
    total = msgspec.structs.replace(total, bound=proof.membrane)
    made = Decoder("membrane", "final")
    bound = prove_decoder(made, total, encoder)
    if bound is None or bound.width > 32:
        raise ValueError("its counts do not fit in 32 bits")
    return Graph((*graph.populations, total), msgspec.structs.replace(made, bound=bound))


def _rescaled(ensemble: QuantEnsemble, students: list[QuantStudent], longer: float) -> QuantEnsemble:
    """The ensemble of these students, whose sums are `longer` times what biases and margins were made for."""
    biases = [ensemble.bias, *(student.bias for student in students)]
    moved = [np.rint(bias.astype(np.float64) * longer) for bias in biases]
    if max(np.abs(bias).max() for bias in moved) > INT32[1]:
        raise ValueError("its biases do not fit in 32 bits")
    bias, *offsets = (bias.astype(np.int32) for bias in moved)
    students = [msgspec.structs.replace(s, bias=b) for s, b in zip(students, offsets, strict=True)]
    reach = int((np.abs(bias.astype(np.int64)) + sum(s.logit_range() for s in students)).max())
    finer = 1.0
    if reach >= LOGIT_LIMIT:
        finer = LOGIT_LIMIT / 2 / reach
        if min(int(student.gain.min()) for student in students) * finer < FINE:
            raise ValueError(f"its logits would reach {reach}, and the limit is {LOGIT_LIMIT}")
        bias = np.rint(bias * finer).astype(np.int32)
        students = [
            msgspec.structs.replace(
                s, gain=np.rint(s.gain * finer).astype(np.int32), bias=np.rint(s.bias * finer).astype(np.int32)
            )
            for s in students
        ]
    policy = ensemble.policy
    margins = tuple(m if m == NEVER else min(NEVER, round(m * longer * finer)) for m in policy.margins)
    if policy.early and len(students) == 1:
        policy = ActivationPolicy("all", timesteps=policy.timesteps)
    return msgspec.structs.replace(
        ensemble,
        students=tuple(students),
        bias=bias,
        logit_scale=ensemble.logit_scale / (longer * finer),
        policy=msgspec.structs.replace(policy, margins=margins, early=()),
        vectors=no_vectors(ensemble.encoder, len(ensemble.classes), students),
    )
