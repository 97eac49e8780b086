"""A scalar oracle: the engine's arithmetic once more, in plain Python loops and integers.

Written from the equations alone (in the docstrings of `neuron`, `model` and `encoder`, and in `sne.h`), not from the
code that it judges: convolutions gather where the C scatters, neurons keep the plain membrane where the engine keeps
the charged one. It also asserts, at every single addition, that a membrane is within its layer's proven bound.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, SynapticLayer
from sne_edge.ir.neuron import Bound, Neuron
from sne_edge.ir.policy import ActivationPolicy

Counts = list[int]  # a map, flat in channel-last order: how many spikes (or which int8 value) at each place


@dataclass
class Step:
    """What is there after one timestep: by synaptic layer, the spikes of this timestep and the membranes kept."""

    spikes: list[int] = field(default_factory=list)
    membranes: list[list[int]] = field(default_factory=list)
    synaptic_ops: int = 0
    readout_ops: int = 0  # of a readout with a window, apart
    window: int = 1


def spent(steps: list[Step]) -> int:
    """Synaptic operations of an inference of these timesteps: what a window has forgotten by then is not looked at."""
    return sum(s.synaptic_ops for s in steps) + sum(s.readout_ops for s in steps[-steps[-1].window :])


@dataclass
class Trace:
    """One student on one sample. `steps` has an entry for each timestep; costs are of all of them."""

    steps: list[Step]
    part: list[int]
    synaptic_ops: int
    macs: int
    neuron_updates: int

    @property
    def spikes(self) -> list[int]:
        """By spiking layer, the sum over the timesteps."""
        return [sum(counts) for counts in zip(*(step.spikes for step in self.steps), strict=True)]


@dataclass
class Decision:
    """One inference of an ensemble under a policy; fields as in sne_result."""

    logits: list[int]
    label: int
    margin: int
    active: int
    students_run: int
    stop: str
    timesteps: int
    synaptic_ops: int
    macs: int
    neuron_updates: int


class Population:
    """The neurons of one layer: v, and whether each fired a timestep ago."""

    def __init__(self, layer: SynapticLayer, constant: list[int]) -> None:
        self.layer, self.constant = layer, constant
        self.threshold = layer.threshold.tolist() * (layer.neurons // layer.channels)
        self.v = [0] * layer.neurons
        self.fired = [False] * layer.neurons
        self.brought: list[list[int]] = []  # by timestep, where a window forgets it again

    def leaked(self, j: int) -> int:
        """The membrane as the next timestep finds it, before any current."""
        v = decayed(self.layer.neuron, self.v[j])
        if self.layer.neuron.reset_delay and self.fired[j]:
            v -= self.threshold[j]
        return v

    def step(self, arriving: list[list[int]]) -> Counts:
        """One timestep; `arriving` holds, for each neuron, the weights of its spikes. Returns the spikes, 0 or 1."""
        neuron, bound = self.layer.neuron, self.layer.bound
        if neuron.window is not msgspec.UNSET:
            self.brought.append([constant + sum(w) for constant, w in zip(self.constant, arriving, strict=True)])
            recent = self.brought[-neuron.window :]
            self.v = [within(bound, sum(values)) for values in zip(*recent, strict=True)]
            return [0] * len(self.v)
        for j, weights in enumerate(arriving):
            v = within(bound, self.leaked(j) + self.constant[j])
            for weight in weights:
                v = within(bound, v + weight)
            fired = neuron.kind != "li" and v > self.threshold[j]
            if fired and neuron.reset == "zero":
                v = 0
            elif fired and not neuron.reset_delay:
                v -= self.threshold[j]
            if neuron.clamp is not None:
                v = min(max(v, neuron.clamp[0]), neuron.clamp[1])
            self.v[j], self.fired[j] = within(bound, v) if neuron.kind == "li" else v, fired
        return [int(fired) for fired in self.fired]

    def kept(self) -> list[int]:
        """What an engine keeps: the charged membrane, or a readout as it stands."""
        if self.layer.neuron.kind == "li":
            return list(self.v)
        bound = self.layer.bound
        return [within(bound, self.leaked(j) + constant) for j, constant in enumerate(self.constant)]


def nearest(value: int, unit: int) -> int:
    """How many units `value` is nearest to, the higher number where two are."""
    return (2 * value + unit) // (2 * unit)


def decayed(neuron: Neuron, v: int) -> int:
    """The leak; Python's // floors, as an arithmetic shift does."""
    if neuron.decay.kind == "shift":
        return v - v // 2**neuron.decay.value
    if neuron.decay.kind == "q15":
        return v * neuron.decay.value // 2**15
    return v


def within(bound: Bound, value: int) -> int:
    """`value`, after checking the proof of overflow freedom on it."""
    assert bound.low <= value <= bound.high, f"membrane {value} leaves the proven range {bound}"
    lowest = -(2 ** (bound.width - 1))
    assert lowest <= value < -lowest, f"membrane {value} does not fit in {bound.width} bits"
    return value


def run_student(ensemble: QuantEnsemble, number: int, data: list[int], timesteps: int) -> Trace:
    """Run one student alone on one sample's bytes."""
    student, encoder = ensemble.students[number], ensemble.encoder
    direct = encoder.kind == "direct"
    populations: dict[int, Population] = {}
    fan_in = {index: list(met(layer)) for index, layer in enumerate(student.layers) if isinstance(layer, SynapticLayer)}
    macs = 0
    for index, layer in enumerate(student.layers):
        if isinstance(layer, SynapticLayer):
            constant = layer.bias.tolist() * (layer.neurons // layer.channels)
            if direct and index == 0:
                values = [signed(byte) for byte in data]
                unit = 2**layer.current_shift
                sums = layer.bound if unit == 1 else Bound(-(2**31), 2**31 - 1)
                for j, meetings in enumerate(fan_in[index]):
                    for weight, i in meetings:
                        constant[j] = within(sums, constant[j] + weight * values[i])
                        macs += values[i] != 0
                    constant[j] = within(layer.bound, nearest(constant[j], unit))
            populations[index] = Population(layer, constant)
    steps = []
    for t in range(timesteps):
        step = Step()
        spikes = [] if direct else encoded(encoder, data, t)
        for index, layer in enumerate(student.layers):
            if isinstance(layer, AvgPool | MaxPool):
                spikes = pooled(layer, spikes)
                continue
            if direct and index == 0:
                arriving: list[list[int]] = [[] for _ in range(layer.neurons)]
            else:
                arriving = [[w for w, i in meetings for _ in range(spikes[i])] for meetings in fan_in[index]]
            if layer.neuron.window is msgspec.UNSET:
                step.synaptic_ops += sum(map(len, arriving))
            else:
                step.readout_ops, step.window = sum(map(len, arriving)), layer.neuron.window
            spikes = populations[index].step(arriving)
            if layer.neuron.kind != "li":
                step.spikes.append(sum(spikes))
            step.membranes.append(populations[index].kept())
        steps.append(step)
    readout = steps[-1].membranes[-1]
    return Trace(
        steps=steps,
        part=[b + g * v for b, g, v in zip(student.bias.tolist(), student.gain.tolist(), readout, strict=True)],
        synaptic_ops=spent(steps),
        macs=macs,
        neuron_updates=timesteps * sum(len(population.v) for population in populations.values()),
    )


def decide(ensemble: QuantEnsemble, policy: ActivationPolicy, traces: list[Trace]) -> Decision:
    """What the scheduler does with the students' results, stage by stage."""
    logits = ensemble.bias.tolist()
    traces = list(traces)
    ran: list[int] = []
    stop, timesteps = "complete", policy.timesteps or ensemble.encoder.timesteps
    for stage, student in enumerate(ensemble.order):
        if policy.kind == "routed" and ran:
            student = routed(ensemble, logits, ran)
        spent = sum(traces[k].synaptic_ops + traces[k].macs for k in ran)
        if policy.kind == "first" and stage >= policy.students:
            break
        if policy.kind == "mask" and (policy.mask // 2**student) % 2 == 0:
            continue
        if policy.kind == "budget" and ran and spent + ensemble.students[student].max_ops > policy.max_ops:
            stop = "budget"
            break
        ran.append(student)
        short = ends_early(ensemble, policy, logits, len(ran) - 1, student, traces[student])
        if short is not None:
            traces[student] = short
            stop, timesteps = "early", len(short.steps)
            logits = [a + b for a, b in zip(logits, short.part, strict=True)]
            break
        logits = [a + b for a, b in zip(logits, traces[student].part, strict=True)]
        best, second = sorted(logits, reverse=True)[:2]
        margins = [*policy.margins, 2**31] if policy.kind in ("cascade", "routed") else [2**31] * len(ensemble.students)
        if best - second >= margins[len(ran) - 1]:
            stop = "margin"
            break
    best, second = sorted(logits, reverse=True)[:2]
    return Decision(
        logits=logits,
        label=logits.index(best),
        margin=best - second,
        active=sum(2**k for k in ran),
        students_run=len(ran),
        stop=stop,
        timesteps=timesteps,
        synaptic_ops=sum(traces[k].synaptic_ops for k in ran),
        macs=sum(traces[k].macs for k in ran),
        neuron_updates=sum(traces[k].neuron_updates for k in ran),
    )


def ends_early(
    ensemble: QuantEnsemble, policy: ActivationPolicy, logits: list[int], stage: int, number: int, trace: Trace
) -> Trace | None:
    """The trace up to the first timestep, before the last, at which the margin suffices; None where there is none."""
    student = ensemble.students[number]
    for t in range(1, len(trace.steps) if policy.early else 1):
        steps = trace.steps[:t]
        readout = zip(student.bias.tolist(), student.gain.tolist(), steps[-1].membranes[-1], strict=True)
        part = [b + g * v for b, g, v in readout]
        best, second = sorted((a + b for a, b in zip(logits, part, strict=True)), reverse=True)[:2]
        if best - second < policy.early[stage * (ensemble.encoder.timesteps - 1) + t - 1]:
            continue
        sizes = [len(membranes) for membranes in steps[-1].membranes]
        first = sizes[0] if ensemble.encoder.kind == "direct" else 0  # a direct input's layer has run to its end
        updates = t * sum(sizes) + (len(trace.steps) - t) * first
        return Trace(steps, part, spent(steps), trace.macs, updates)
    return None


def routed(ensemble: QuantEnsemble, logits: list[int], ran: list[int]) -> int:
    """Who runs next by the route of the two highest classes; the lower class is the higher one on a tie."""
    assert ensemble.routes is not None
    first, second = sorted(range(len(logits)), key=lambda c: (-logits[c], c))[:2]
    pairs = [{low, high} for high in range(len(logits)) for low in range(high)]
    route = ensemble.routes.tolist()[pairs.index({first, second})]
    return next(student for student in route if student not in ran)


def signed(byte: int) -> int:
    """A byte as int8."""
    return byte - 256 if byte >= 128 else byte


def encoded(encoder: Encoder, data: list[int], t: int) -> Counts:
    """The input's spikes at timestep t."""
    if encoder.kind == "events":
        row = data[t * encoder.row_bytes : (t + 1) * encoder.row_bytes]
        return [row[i // 8] // 2 ** (i % 8) % 2 for i in range(encoder.size)]
    words = -(-encoder.size // 4)
    spikes = []
    for i in range(encoder.size):
        draw = hashed((encoder.seed + t * words + i // 4) % 2**32) // 256 ** (i % 4) % 128
        spikes.append(int(draw < signed(data[i])))
    return spikes


def hashed(x: int) -> int:
    """Wellons' lowbias32."""
    x ^= x >> 16
    x = x * 0x7FEB352D % 2**32
    x ^= x >> 15
    x = x * 0x846CA68B % 2**32
    return x ^ x >> 16


def met(layer: Layer) -> Iterator[list[tuple[int, int]]]:
    """For each neuron of a layer, in order: the weights it has, each with the input that it belongs to."""
    if isinstance(layer, Linear):
        for row in layer.weight.tolist():
            yield [(weight, i) for i, weight in enumerate(row)]
        return
    assert isinstance(layer, Conv)
    weight = layer.weight.tolist()
    channels = layer.in_shape[2]
    for taps in windows(layer):
        for o in range(layer.channels):
            if isinstance(layer, Depthwise):
                yield [(weight[o][0][ky][kx], place * channels + o) for ky, kx, place in taps]
            else:
                yield [(weight[o][c][ky][kx], place * channels + c) for c in range(channels) for ky, kx, place in taps]


def windows(layer: Conv | AvgPool | MaxPool) -> Iterator[list[tuple[int, int, int]]]:
    """For each output position: the taps that lie within the input, as (row, column of the kernel, input position)."""
    height, width, _ = layer.in_shape
    for oy in range(layer.out_shape[0]):
        for ox in range(layer.out_shape[1]):
            taps = []
            for ky in range(layer.kernel[0]):
                for kx in range(layer.kernel[1]):
                    y = oy * layer.stride[0] + ky - layer.padding[0]
                    x = ox * layer.stride[1] + kx - layer.padding[1]
                    if 0 <= y < height and 0 <= x < width:
                        taps.append((ky, kx, y * width + x))
            yield taps


def pooled(layer: AvgPool | MaxPool, spikes: Counts) -> Counts:
    """Spikes in each window: their number (average), or whether there are any (max)."""
    channels = layer.in_shape[2]
    out = []
    for taps in windows(layer):
        for c in range(channels):
            count = sum(spikes[place * channels + c] for _, _, place in taps)
            out.append(count if isinstance(layer, AvgPool) else min(count, 1))
    return out
