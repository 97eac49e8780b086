"""Energy: what an inference computes and moves, counted as NeuroBench counts, and what that would cost in a chip.

In: an ensemble and inputs, or what was measured before. Out: `Counts`, exact, and an `Estimate`.

Counts follow NeuroBench 2.3 (Yik et al. 2025, Nature Communications 16:1545; arXiv 2304.04640), under its names:

Effective_MACs, Effective_ACs   weights other than 0 that meet an input other than 0: accumulates where inputs are
                                spikes, multiply-accumulates where they are values. Biases are not counted.
Dense                           the same if no weight and no input were 0; padding is not counted
Membrane_Updates                membranes that a timestep changed, reset included; in the first timestep all. Of layers
                                that fire: a readout is a linear layer, and its membranes the sum of its outputs
ActivationSparsity              share of neurons and timesteps without a spike, of layers that fire
ConnectionSparsity              share of weights that are 0
Footprint                       bytes of parameters and of state

They differ from what the engine reports in this: its operations include weights of 0, which it adds like others, and
its neuron updates are all neurons in all timesteps. An average pooling passes on every spike, each an accumulate.

Estimates use Horowitz, "Computing's energy problem", ISSCC 2014, for 45 nm and 0.9 V. One 64-bit access takes 10 pJ in
8 KB, 20 pJ in 32 KB, 100 pJ in 1 MB, and 1.3 to 2.6 nJ in DRAM, of which the lower is used here; values lie side by
side, so that n bits take n / 64 of it. They rank designs on one such chip. They are not measurements, and no
microcontroller's energy, whose instruction fetches cost more than all of this.

*Arithmetic* is the optimistic model, which most papers on spiking networks use: additions and multiplications, memory
free. An accumulate is one 32-bit addition; a neuron update is four (leak, charge, compare, reset), and a multiplication
where the decay is one.

*Memory* adds what moves, in the smallest memory that holds all weights, or all state:

    accumulate       reads a weight, reads and writes a membrane
    MAC              reads a weight and an input, each shared by two MACs (the 2 x 2 tiles of CMSIS-NN, Lai et al. 2018,
                     arXiv 1801.06601); the sum stays in a register
    neuron update    reads and writes the membrane, reads bias and threshold, writes a bit and reads it once
    dense network    its MACs; what it writes is left out, in its favour
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..deploy.analysis import analyze
from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph, Leak
from ..ir.graph_proof import analog
from ..ir.layers import Conv, Depthwise, Linear, SynapticLayer
from ..ir.policy import ActivationPolicy
from ..quantize.calibrate import Work

ADD_INT32, MULTIPLY_INT8, MULTIPLY_INT32 = 0.1, 0.2, 3.1  # pJ, Horowitz 2014
ADD_FLOAT32, MULTIPLY_FLOAT32 = 0.9, 3.7
MEMORIES = ((8 << 10, 10.0), (32 << 10, 20.0), (1 << 20, 100.0))  # bytes, pJ for 64 bits
DRAM = 1300.0
TILE = 2  # MACs that share a weight or an input that was read
ADDITIONS = 4  # of a neuron update
BATCH = 256
SAMPLES = 1000  # inputs that means are taken over, where there are more
DISCLAIMER = "energies are estimates for 45 nm (Horowitz, ISSCC 2014; see sne_edge.study.energy), not measurements"


@dataclass(frozen=True)
class Counts:
    """Means per inference, in NeuroBench's terms (see above)."""

    effective_macs: float
    effective_acs: float
    dense: float
    membrane_updates: float
    activation_sparsity: float
    connection_sparsity: float
    footprint: int

    def named(self) -> dict[str, float]:
        """By NeuroBench's names."""
        return {
            "Effective_MACs": self.effective_macs,
            "Effective_ACs": self.effective_acs,
            "Dense": self.dense,
            "Membrane_Updates": self.membrane_updates,
            "ActivationSparsity": self.activation_sparsity,
            "ConnectionSparsity": self.connection_sparsity,
            "Footprint": self.footprint,
        }


@dataclass(frozen=True)
class Estimate:
    """An estimate, mean per inference: pJ of arithmetic and of memory; bytes of weights read, and of state (membranes,
    biases, thresholds, inputs, spikes) read or written."""

    arithmetic: float
    memory: float
    weight_bytes: float
    state_bytes: float

    @property
    def total(self) -> float:
        """pJ, memory included."""
        return self.arithmetic + self.memory

    def named(self) -> dict[str, float]:
        """JSON-able; the names say that these are estimates, and their units."""
        return {
            "estimated_arithmetic_pj": round(self.arithmetic, 1),
            "estimated_memory_pj": round(self.memory, 1),
            "estimated_total_pj": round(self.total, 1),
            "weight_bytes_read": round(self.weight_bytes, 1),
            "state_bytes_moved": round(self.state_bytes, 1),
        }


@dataclass(frozen=True)
class Account:
    """What a policy costs."""

    counts: Counts
    estimate: Estimate


def check_accountable(ensemble: QuantEnsemble, policies: Sequence[ActivationPolicy]) -> None:
    """Raise `SneError` for a policy with early stops, whose timesteps differ by student, and for graphs."""
    if any(policy.early for policy in policies):
        raise SneError("energy is not estimated under early stops", "give a policy without +early")
    if any(isinstance(student.graph, Graph) for student in ensemble.students):
        raise SneError(
            f"{ensemble.name} holds a graph, whose connections NeuroBench's counts have no place for",
            "leave --energy out; `sne-edge inspect` estimates the energy of all its students",
        )


def account(
    ensemble: QuantEnsemble,
    inputs: np.ndarray,
    policies: Sequence[ActivationPolicy],
    progress: Callable[[str, int, int, str], None] = lambda stage, done, total, text: None,
) -> list[Account]:
    """What each policy costs on inputs uint8 [N, input_bytes], by the reference in torch.

    Raises `SneError` where `check_accountable` does."""
    check_accountable(ensemble, policies)
    ledgers = [_Ledger(ensemble, policy) for policy in policies]
    for start in range(0, len(inputs), BATCH):
        progress("counting", start, len(inputs), "")
        seen: dict[int, list[_Seen]] = {}
        for ledger in ledgers:
            if ledger.steps not in seen:
                part = inputs[start : start + BATCH]
                seen[ledger.steps] = [_Seen(ensemble, k, part, ledger.steps) for k in range(len(ensemble.students))]
            ledger.add(seen[ledger.steps])
    progress("counting", len(inputs), len(inputs), "")
    return [ledger.close(len(inputs)) for ledger in ledgers]


class _Ledger:
    """The sums of one policy."""

    def __init__(self, ensemble: QuantEnsemble, policy: ActivationPolicy) -> None:
        self._ensemble, self._policy = ensemble, policy
        self.steps = policy.timesteps or ensemble.encoder.timesteps
        self._sums = np.zeros(6)  # MACs, ACs, dense, updates, spikes, neurons and timesteps
        self._runs = np.zeros(len(ensemble.students))
        self._ops = [np.zeros(len(student.layers)) for student in ensemble.students]

    def add(self, seen: Sequence[_Seen]) -> None:
        """A batch that all students have seen."""
        from ..check.reference import combine

        active = combine(self._ensemble, [s.trace for s in seen], self._policy).decisions.active
        for number, student in enumerate(seen):
            ran = (active >> np.uint32(number) & 1).astype(bool)
            self._sums += student.sums(ran)
            self._runs[number] += ran.sum()
            self._ops[number] += student.trace.layer_ops[ran].sum(axis=0)

    def close(self, samples: int) -> Account:
        """Means over all samples."""
        macs, acs, dense, updates, spikes, places = (float(n) for n in self._sums / samples)
        layers = [x for s in self._ensemble.students for x in s.layers if isinstance(x, SynapticLayer)]
        report = analyze(self._ensemble)
        counts = Counts(
            effective_macs=macs,
            effective_acs=acs,
            dense=dense,
            membrane_updates=updates,
            activation_sparsity=1 - spikes / places if places else 0.0,
            connection_sparsity=sum(int((x.weight == 0).sum()) for x in layers) / sum(x.weight.size for x in layers),
            footprint=report.parameter_bytes + report.state_bytes,
        )
        ops = [(by_layer / samples).tolist() for by_layer in self._ops]
        return Account(counts, estimate(self._ensemble, (self._runs / samples).tolist(), ops, self.steps))


class _Seen:
    """One student on one batch: its trace, and by sample and layer what NeuroBench counts."""

    def __init__(self, ensemble: QuantEnsemble, number: int, inputs: np.ndarray, steps: int) -> None:
        from ..check.reference import run_student

        self._layers, self._steps = ensemble.students[number].layers, steps
        self._direct = ensemble.encoder.kind == "direct"
        self._fan_out = {
            n: effective_fan_out(x).reshape(-1) for n, x in enumerate(self._layers) if isinstance(x, SynapticLayer)
        }
        self._ops, self._updates = np.zeros((2, len(inputs), len(self._layers)))
        self._before: dict[int, np.ndarray] = {}
        if self._direct:
            self._meet(0, ensemble.encoder.analog(inputs) != 0)
        self.trace = run_student(ensemble, number, inputs, steps, self._watch, states=False)

    def _meet(self, index: int, x: np.ndarray) -> None:
        self._ops[:, index] += x.reshape(len(x), -1) @ self._fan_out[index]

    def _watch(self, timestep: int, index: int, x: Any, membrane: Any) -> None:
        if x is not None:
            self._meet(index, x.numpy())
        if not _fires(self._layers[index]):
            return
        after = membrane.numpy().reshape(len(membrane), -1)
        changed = after != self._before[index] if timestep > 0 else np.ones(after.shape, bool)
        self._updates[:, index] += changed.sum(axis=1)
        self._before[index] = after

    def sums(self, ran: np.ndarray) -> np.ndarray:
        """Over the samples for which the student ran, bool [N]."""
        direct, firing = int(self._direct), [x for x in self._layers if _fires(x)]
        dense = sum(
            int(x.fan_out().sum()) * (1 if self._direct and n == 0 else self._steps)
            for n, x in enumerate(self._layers)
            if isinstance(x, SynapticLayer)
        )
        ops = self._ops[ran]
        return np.array(
            [
                ops[:, :direct].sum(),
                ops[:, direct:].sum(),
                dense * ran.sum(),
                self._updates[ran].sum(),
                self.trace.spikes[ran].sum(),
                sum(x.neurons for x in firing if isinstance(x, SynapticLayer)) * self._steps * ran.sum(),
            ]
        )


def _fires(layer: object) -> bool:
    return isinstance(layer, SynapticLayer) and layer.neuron.kind != "li"


def effective_fan_out(layer: SynapticLayer) -> np.ndarray:
    """Weights other than 0 that one spike of each input meets, int64 of `in_shape`."""
    used: np.ndarray = (layer.weight != 0).astype(np.int64)
    if isinstance(layer, Linear):
        by_input: np.ndarray = used.sum(axis=0).reshape(layer.in_shape)
        return by_input
    if not isinstance(layer, Conv):
        raise TypeError(f"{type(layer).__name__} is neither Linear nor Conv")
    fan_out = np.zeros(layer.in_shape, np.int64)
    for row, column in np.ndindex(*layer.kernel):
        places = []
        for axis, tap in ((0, row), (1, column)):
            place = np.arange(layer.out_shape[axis]) * layer.stride[axis] + tap - layer.padding[axis]
            places.append(place[(place >= 0) & (place < layer.in_shape[axis])])
        taps = used[:, :, row, column]
        fan_out[np.ix_(*places)] += taps[:, 0] if isinstance(layer, Depthwise) else taps.sum(axis=0)
    return fan_out


def estimate(
    ensemble: QuantEnsemble, runs: Sequence[float], layer_ops: Sequence[Sequence[float]], timesteps: int | None = None
) -> Estimate:
    """The energy of an inference in which student k runs `runs[k]` times (0..1, a mean) and layer n of it takes
    `layer_ops[k][n]` operations, weighted by how often it runs."""
    steps = timesteps or ensemble.encoder.timesteps
    report = analyze(ensemble)
    arithmetic, weights, state = 0.0, 0.0, 0.0
    for student, share, by_layer in zip(ensemble.students, runs, layer_ops, strict=True):
        if isinstance(student.graph, Graph):
            parts = _estimate_graph(student.graph, ensemble.encoder, share, by_layer, steps)
            arithmetic, weights, state = (a + b for a, b in zip((arithmetic, weights, state), parts, strict=True))
            continue
        for number, (layer, ops) in enumerate(zip(student.layers, by_layer, strict=True)):
            if not isinstance(layer, SynapticLayer):
                continue
            width, updates = layer.width / 8, share * steps * layer.neurons
            multiplied = number == 0 and ensemble.encoder.kind == "direct"
            multiply = MULTIPLY_INT32 if layer.neuron.decay.kind == "q15" else 0.0
            arithmetic += ops * (ADD_INT32 + multiplied * MULTIPLY_INT8) + updates * (ADDITIONS * ADD_INT32 + multiply)
            weights += ops / TILE if multiplied else ops
            state += ops / TILE if multiplied else ops * 2 * width
            state += updates * (4 * width + (2 / 8 if _fires(layer) else 0.0))
    memory = weights * access(report.parameter_bytes) + state * access(report.state_bytes)
    return Estimate(float(arithmetic), float(memory), float(weights), float(state))


def _estimate_graph(
    graph: Graph, encoder: Encoder, share: float, by_population: Sequence[float], steps: int
) -> tuple[float, float, float]:
    """Arithmetic (pJ), bytes of weights read and of states moved, of a student that is a graph; of the operations of a
    population that takes a direct input's values, as many are MACs as it has weights on them."""
    arithmetic = weights = state = 0.0
    for population, ops in zip(graph.populations, by_population, strict=True):
        projections = [q for q in population.projections if analog(q, encoder)]
        times = share if encoder.kind == "direct" else share * steps
        macs = min(ops, times * sum(int(q.synapses.fan_out().sum()) for q in projections))
        added, updates = ops - macs, share * steps * population.neurons
        widths = [width / 8 for width in (population.width, population.current_width) if width]
        leaks = [leak for leak in (population.neuron.leak, population.neuron.current_leak) if isinstance(leak, Leak)]
        each = len(widths) * ADDITIONS * ADD_INT32 + sum(MULTIPLY_INT32 for leak in leaks if leak.kind == "q15")
        arithmetic += ops * ADD_INT32 + macs * MULTIPLY_INT8 + updates * each
        weights += macs / TILE + added
        state += macs / TILE + added * 2 * widths[-1]
        state += updates * (4 * sum(widths) + (2 / 8 if population.neuron.spikes else 0.0))
    return arithmetic, weights, state


def estimate_runs(
    ensemble: QuantEnsemble, work: Work, active: np.ndarray, policy: ActivationPolicy | None = None
) -> Estimate:
    """The mean energy over N samples, of `work` on them (with its operations by layer) and masks of the students that
    ran, [N]."""
    ran = (active[:, None].astype(np.int64) >> np.arange(len(ensemble.students)) & 1).astype(np.float64)
    ops = [(layers * ran[:, [k]]).mean(axis=0).tolist() for k, layers in enumerate(work.layer_ops)]
    return estimate(ensemble, ran.mean(axis=0).tolist(), ops, (policy or ensemble.policy).timesteps)


def estimate_all(ensemble: QuantEnsemble) -> Estimate | None:
    """The energy of all students by the operations that calibration measured; None where nothing was."""
    if not all(student.layer_ops for student in ensemble.students):
        return None
    return estimate(ensemble, [1.0] * len(ensemble.students), [s.layer_ops for s in ensemble.students])


def estimate_dense(macs: float, parameters: int, bits: int = 8) -> Estimate:
    """The energy of a network without spikes: its MACs in int8 (`bits` 8) or float32 (32), its weights in the smallest
    memory that holds them, its values in 32 KB."""
    if bits not in (8, 32):
        raise ValueError(f"a dense network of {bits} bits is not int8 or float32")
    each = MULTIPLY_INT8 + ADD_INT32 if bits == 8 else MULTIPLY_FLOAT32 + ADD_FLOAT32
    moved = macs * bits / 8 / TILE
    memory = moved * (access(parameters * bits // 8) + access(32 << 10))
    return Estimate(macs * each, memory, moved, moved)


def access(capacity: int) -> float:
    """pJ to read or write a byte in the smallest memory of at least `capacity` bytes."""
    return next((energy for size, energy in MEMORIES if capacity <= size), DRAM) / 8


def estimate_teacher(ensemble: QuantEnsemble, bits: int = 8) -> Estimate | None:
    """The energy of the teacher that an ensemble's provenance names; None where it names none."""
    teacher = ensemble.provenance.get("teacher")
    macs, parameters = (teacher.get(key) if isinstance(teacher, dict) else None for key in ("macs", "parameters"))
    if not isinstance(macs, int) or not isinstance(parameters, int):
        return None
    return estimate_dense(macs, parameters, bits)
