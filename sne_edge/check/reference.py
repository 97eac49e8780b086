"""The integer reference in PyTorch: what the numbers must be.

In: a `QuantEnsemble` and device bytes. Out: every spike, membrane, logit, decision and cost. Sums of products are
taken in float64, whose integers are exact up to 2^53; proven bounds stay far below. All else is int64. A student runs
where torch can compute, by a torch device's name: the numbers are the same everywhere.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace

import msgspec
import numpy as np
import torch
from torch import Tensor

from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.layers import SynapticLayer, rounding
from ..ir.limits import remembered
from ..ir.policy import ActivationPolicy, check_fits
from ..ir.rejection import NONE, Rejection
from ..ir.schedule import Decisions, schedule
from ..ir.student import QuantStudent
from .graph_reference import run_graph
from .synapses import current_of, pooled, work_of
from .trace import Fired, Read, StudentTrace, Watch

BATCH = 256


@dataclass(frozen=True)
class Inference:
    """An ensemble on N samples under one policy.

    decisions: see `ir.schedule.Decisions`; spikes int64 [N, spike layers] (0 for a student not run);
    synaptic_ops, macs, neuron_updates int64 [N]: of the students that ran.
    """

    decisions: Decisions
    spikes: np.ndarray
    synaptic_ops: np.ndarray
    macs: np.ndarray
    neuron_updates: np.ndarray


def run(ensemble: QuantEnsemble, inputs: np.ndarray, policy: ActivationPolicy | None = None) -> Inference:
    """Run `inputs`, uint8 [N, input_bytes], under `policy` (the ensemble's own by default)."""
    policy = policy or ensemble.policy
    check_fits(policy, ensemble)
    timesteps = policy.timesteps or ensemble.encoder.timesteps
    students = range(len(ensemble.students))
    traces = [run_student(ensemble, k, inputs, timesteps, states=False) for k in students]
    early = [run_early(ensemble, k, inputs, trace, timesteps) for k, trace in enumerate(traces) if policy.early]
    return combine(ensemble, traces, policy, early)


def run_stream(ensemble: QuantEnsemble, steps: np.ndarray) -> np.ndarray:
    """What a live stream reads, all students together, after each timestep: logits int64 [N, T, classes].

    `steps`: uint8 [N, T, bytes of a timestep], any number of timesteps, for a model of raw events or frames.
    """
    if not ensemble.encoder.streams or steps.ndim != 3 or steps.shape[2] != ensemble.encoder.row_bytes:
        raise SneError(
            f"a stream of shape {list(steps.shape)} for {ensemble.encoder.kind} inputs",
            "give [samples, timesteps, bytes of a timestep] of a model of raw events or frames",
        )
    whole = msgspec.structs.replace(ensemble.encoder, timesteps=steps.shape[1])
    logits = np.zeros((*steps.shape[:2], len(ensemble.classes)), np.int64) + ensemble.bias
    for number, student in enumerate(ensemble.students):

        def read(t: int, readout: Tensor, student: QuantStudent = student) -> None:
            logits[:, t] += student.bias + student.gain.astype(np.int64) * readout.cpu().numpy()

        _run_batch(ensemble, number, steps.reshape(len(steps), -1), whole.timesteps, encoder=whole, read=read)
    found: np.ndarray = logits
    return found


def run_early(
    ensemble: QuantEnsemble,
    student: int,
    inputs: np.ndarray,
    whole: StudentTrace,
    timesteps: int,
    where: str = "cpu",
) -> list[StudentTrace]:
    """A student's traces where it ends after 1, 2, ... of `timesteps`, but for the last; `whole` is that one's: they
    have membranes where it has."""
    states = bool(whole.membranes)
    traces = [run_student(ensemble, student, inputs, t, states=states, where=where) for t in range(1, timesteps)]
    if ensemble.encoder.kind != "direct" or isinstance(ensemble.students[student].graph, Graph):
        return traces
    first = ensemble.students[student].layers[0]  # it has run through all timesteps
    assert isinstance(first, SynapticLayer)
    return [
        replace(
            trace,
            spikes=np.concatenate([whole.spikes[:, :1], trace.spikes[:, 1:]], axis=1),
            membranes=(*whole.membranes[:1], *trace.membranes[1:]),
            neuron_updates=trace.neuron_updates + (timesteps - t) * first.neurons,
        )
        for t, trace in enumerate(traces, start=1)
    ]


def combine(
    ensemble: QuantEnsemble,
    traces: list[StudentTrace],
    policy: ActivationPolicy,
    early: Sequence[list[StudentTrace]] = (),
) -> Inference:
    """What `policy` makes of the students' traces (one a student, on the same inputs); `early`: by student, those that
    `run_early` makes, for a policy with early stops."""
    ops = np.stack([t.synaptic_ops + t.macs for t in traces], axis=1)
    parts = np.stack([t.part for t in traces], axis=1)
    partial = np.stack([_stack("part", steps, parts[:, 0]) for steps in early], axis=1) if early else None
    decisions = schedule(ensemble, policy, parts, ops, partial)
    ran = (decisions.active[:, None] >> np.arange(len(traces), dtype=np.uint32) & 1).astype(np.int64)

    def ended(name: str, k: int) -> np.ndarray:
        """Of student k as far as it ran, [N, ...]."""
        value = np.asarray(getattr(traces[k], name))
        value = np.broadcast_to(value, (len(ran), *value.shape[1:]))
        if policy.early:
            short = (decisions.last == k) & (decisions.timesteps <= len(early[k]))
            steps = _stack(name, early[k], value)
            value = value.copy()
            value[short] = steps[short, decisions.timesteps[short] - 1]
        return value * ran[:, k].reshape(-1, *[1] * (value.ndim - 1))

    students = range(len(traces))
    spikes = np.concatenate([ended("spikes", k) for k in students], axis=1)
    if isinstance(ensemble.rejection, Rejection):
        rejected = ensemble.rejection.rejects(
            decisions.logits, decisions.margin, spikes.sum(axis=1), decisions.students_run
        )
        decisions = replace(decisions, label=np.where(rejected, NONE, decisions.label))
    return Inference(
        decisions=decisions,
        spikes=spikes,
        synaptic_ops=np.sum([ended("synaptic_ops", k) for k in students], axis=0),
        macs=np.sum([ended("macs", k) for k in students], axis=0),
        neuron_updates=np.sum([ended("neuron_updates", k) for k in students], axis=0),
    )


def _stack(name: str, traces: list[StudentTrace], like: np.ndarray) -> np.ndarray:
    """A field of traces on N samples, [N, traces, ...], whose shape is that of `like`, [N, ...]."""
    found = [np.broadcast_to(getattr(trace, name), like.shape) for trace in traces]
    return np.stack(found, axis=1) if found else np.zeros((len(like), 0, *like.shape[1:]), dtype=np.int64)


def run_student(
    ensemble: QuantEnsemble,
    student: int,
    inputs: np.ndarray,
    timesteps: int | None = None,
    watch: Watch | None = None,
    fired: Fired | None = None,
    *,
    states: bool = True,
    where: str = "cpu",
) -> StudentTrace:
    """Run one student alone on `inputs`, uint8 [N, input_bytes], for `timesteps` (the encoder's by default).

    `watch` and `fired` see every timestep of each batch of up to `BATCH` inputs. Without `states` the trace has no
    membranes, which are most of its bytes: of a large student a megabyte an input. `where`: a torch device's name.
    """
    inputs = np.asarray(inputs)
    if inputs.dtype != np.uint8 or inputs.ndim != 2 or inputs.shape[1] != ensemble.encoder.input_bytes:
        raise SneError(
            f"inputs are {inputs.dtype}{list(inputs.shape)}, not uint8[N, {ensemble.encoder.input_bytes}]",
            "encode samples with the model's own encoder: ensemble.encoder.encode(x)",
        )
    steps = ensemble.encoder.timesteps if timesteps is None else timesteps
    parts = [inputs[i : i + BATCH] for i in range(0, len(inputs), BATCH)]
    batches = []
    for part in parts:
        batch = _run_batch(ensemble, student, part, steps, watch, fired, where=where)
        batches.append(batch if states else replace(batch, membranes=()))
    if len(batches) == 1:
        return batches[0]
    return StudentTrace(
        readout=np.concatenate([b.readout for b in batches]),
        part=np.concatenate([b.part for b in batches]),
        spikes=np.concatenate([b.spikes for b in batches]),
        membranes=tuple(np.concatenate(parts) for parts in zip(*(b.membranes for b in batches), strict=True)),
        layer_ops=np.concatenate([b.layer_ops for b in batches]),
        synaptic_ops=np.concatenate([b.synaptic_ops for b in batches]),
        macs=np.concatenate([b.macs for b in batches]),
        neuron_updates=batches[0].neuron_updates,
    )


class _Neurons:
    """The neurons of one layer, over a batch; see `neuron.Neuron` for the equations."""

    def __init__(self, layer: SynapticLayer, count: int, current: Tensor | None, where: str) -> None:
        self.neuron = layer.neuron
        self.threshold = torch.from_numpy(layer.threshold.astype(np.int64)).to(where)
        bias = torch.from_numpy(layer.bias.astype(np.int64)).to(where)
        whole = bias if current is None else bias + current
        self.constant = (whole + rounding(layer.current_shift)) >> layer.current_shift
        self.v = self.constant.expand(count, *layer.out_shape).clone()  # charged from v = 0
        self.settled = self.v  # as `Watch` sees it
        self.fresh = True
        window = layer.neuron.window
        self.recent = deque[Tensor](maxlen=window) if isinstance(window, int) else None

    def step(self, current: Tensor | None) -> Tensor:
        """Add `current` to the charged membranes, fire, reset, clamp and charge again; returns spikes 0/1."""
        v = self.v if current is None else self.v + current
        spike = v > self.threshold
        if not self.neuron.reset_delay:
            v = v - spike * self.threshold if self.neuron.reset == "subtract" else v * ~spike
        v = self._clamp(v)
        self.settled = v
        v = self._decay(v)
        if self.neuron.reset_delay:
            v = v - spike * self.threshold
        self.v = v + self.constant
        return spike.to(torch.int64)

    def integrate(self, current: Tensor | None) -> None:
        """A readout's timestep: charge, add, clamp; it never fires and is left uncharged."""
        if self.recent is not None:
            self.recent.append(self.constant + (0 if current is None else current) + torch.zeros_like(self.v))
            self.v = self.settled = torch.stack(list(self.recent)).sum(dim=0)
            return
        v = self.v if self.fresh else self._decay(self.v) + self.constant
        self.fresh = False
        self.v = self.settled = self._clamp(v if current is None else v + current)

    def _decay(self, v: Tensor) -> Tensor:
        decay = self.neuron.decay
        if decay.kind == "shift":
            return v - (v >> decay.value)
        return (v * decay.value) >> 15 if decay.kind == "q15" else v

    def _clamp(self, v: Tensor) -> Tensor:
        return v if self.neuron.clamp is None else v.clamp(*self.neuron.clamp)


def _run_batch(
    ensemble: QuantEnsemble,
    number: int,
    inputs: np.ndarray,
    timesteps: int,
    watch: Watch | None = None,
    fired: Fired | None = None,
    *,
    encoder: Encoder | None = None,
    read: Read | None = None,
    where: str = "cpu",
) -> StudentTrace:
    """`encoder`: how inputs are to be read, where that is not the ensemble's own way."""
    encoder, student, count = encoder or ensemble.encoder, ensemble.students[number], len(inputs)
    if isinstance(student.graph, Graph):
        return run_graph(ensemble, number, inputs, timesteps, watch, fired, encoder=encoder, read=read, where=where)
    direct = encoder.kind == "direct"
    raster = None if direct else torch.from_numpy(encoder.spikes(inputs).astype(np.int64)).to(where)
    neurons: dict[int, _Neurons] = {}
    ops = torch.zeros((count, len(student.layers)), dtype=torch.int64, device=where)
    totals = {}
    for index, layer in enumerate(student.layers):
        if isinstance(layer, SynapticLayer):
            current = None
            if direct and index == 0:
                analog = torch.from_numpy(encoder.analog(inputs).astype(np.int64)).to(where)
                current = current_of(layer, analog)
                ops[:, 0] = work_of(layer, analog != 0)
            neurons[index] = _Neurons(layer, count, current, where)
            totals[index] = torch.zeros(count, dtype=torch.int64, device=where)
    for t in range(timesteps):
        x = None if raster is None else raster[t]
        for index, layer in enumerate(student.layers):
            if not isinstance(layer, SynapticLayer):
                assert x is not None
                x = pooled(layer, x)
                continue
            came, incoming, looked = x, None, True
            if x is not None:
                incoming = current_of(layer, x)
                looked = t >= timesteps - (remembered(layer) or timesteps)  # what a window forgets by then is not
                ops[:, index] += work_of(layer, x) * looked
            if layer.neuron.kind == "li":
                neurons[index].integrate(incoming)
                came = came if looked else None
            else:
                x = neurons[index].step(incoming)
                totals[index] += x.sum(dim=(1, 2, 3))
                if fired is not None:
                    fired(t, index, x)
            if watch is not None:
                watch(t, index, came, neurons[index].settled)
        if read is not None:
            read(t, neurons[len(student.layers) - 1].v.reshape(count, -1))
    readout = neurons[len(student.layers) - 1].v.reshape(count, -1).cpu().numpy()
    spiking = [totals[i] for i, layer in enumerate(student.layers) if i in totals and layer is not student.readout]
    return StudentTrace(
        readout=readout,
        part=student.bias.astype(np.int64) + student.gain.astype(np.int64) * readout,
        spikes=torch.stack(spiking, dim=1).cpu().numpy() if spiking else np.zeros((count, 0), dtype=np.int64),
        membranes=tuple(n.v.reshape(count, -1).cpu().numpy() for n in neurons.values()),
        layer_ops=ops.cpu().numpy(),
        synaptic_ops=ops[:, int(direct) :].sum(dim=1).cpu().numpy(),
        macs=ops[:, : int(direct)].sum(dim=1).cpu().numpy(),
        neuron_updates=timesteps * sum(layer.neurons for layer in student.layers if isinstance(layer, SynapticLayer)),
    )
