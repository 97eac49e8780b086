"""A scalar oracle of graphs: the arithmetic of `Cell`, `Projection` and `Decoder` once more, in plain Python integers.

Written from the equations alone, with the plain states where the engine keeps charged ones. It asserts at every single
addition that a state is within its proven bound. What maps mean is `oracle`'s.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from oracle import Counts, encoded, met, pooled, signed, windows, within

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Alpha, Decoder, Graph, Leak, Population, Projection


@dataclass
class Step:
    """After one timestep: by population its number of spikes (of those that can spike) and work; every charged state;
    the decoder's totals."""

    spikes: list[int] = field(default_factory=list)
    states: list[list[int]] = field(default_factory=list)
    ops: list[int] = field(default_factory=list)
    macs: int = 0
    totals: list[int] = field(default_factory=list)


@dataclass
class Trace:
    """One student on one sample. `seen`: what happened at all, for tests that must not come up empty."""

    steps: list[Step]
    part: list[int]
    seen: set[str]


def spread(values: list[int], population: Population) -> list[int]:
    """A parameter for each neuron."""
    if len(values) == 1:
        return values * population.neurons
    return values if len(values) == population.neurons else values * population.positions


class Leaky:
    """A leak by neuron; Python's // floors."""

    def __init__(self, leak: Leak, population: Population) -> None:
        self.kind, self.values = leak.kind, spread(leak.value.tolist(), population)

    def __call__(self, j: int, v: int) -> int:
        if self.kind == "shift":
            return v - v // 2 ** self.values[j]
        return v * self.values[j] // 2**15 if self.kind == "q15" else v


class Fading(Leaky):
    """The leak of a current: int() cuts towards 0."""

    def __call__(self, j: int, v: int) -> int:
        whole = {"none": 1, "shift": 2 ** min(self.values[j], 15), "q15": 2**15}[self.kind]
        kept = {"none": 1, "shift": whole - 1, "q15": self.values[j]}[self.kind]
        return abs(v) * kept // whole * (1 if v >= 0 else -1)


class Cells:
    """Neurons of one population: i, v and whether each fired a timestep ago."""

    def __init__(self, population: Population, constant: list[int]) -> None:
        self.population, self.neuron = population, population.neuron
        self.constant = [a + b for a, b in zip(spread(population.bias.tolist(), population), constant, strict=True)]
        self.leak = Leaky(self.neuron.leak, population)
        self.current_leak = None
        if isinstance(self.neuron.current_leak, Leak):
            self.current_leak = Fading(self.neuron.current_leak, population)
        self.threshold = spread(population.threshold.tolist(), population) if self.neuron.spikes else []
        self.i = [0] * population.neurons
        self.v = [0] * population.neurons
        self.fired = [False] * population.neurons
        self.alpha = self.neuron.alpha if isinstance(self.neuron.alpha, Alpha) else None
        if self.alpha is not None:
            self.counter_leak, self.share = Fading(self.neuron.leak, population), Fading(self.alpha.share, population)
            self.drop = spread(self.alpha.drop.tolist(), population)
            self.h = [0] * population.neurons

    def waiting(self, j: int) -> int:
        """The membrane as the next timestep finds it, before any current."""
        late = self.neuron.reset_delay and self.fired[j]
        v = self.leak(j, 0 if late and self.neuron.reset in ("zero", "refractory") else self.v[j])
        return v - self.threshold[j] if late and self.neuron.reset == "subtract" else v

    def step(self, arriving: list[list[int]], seen: set[str]) -> Counts:
        """One timestep; `arriving` holds for each neuron the terms of its current. Returns the spikes, 0 or 1."""
        bounds = self.population.bounds
        if self.alpha is not None:
            return self.step_alpha(arriving, seen)
        for j, terms in enumerate(arriving):
            held = self.fired[j] and self.neuron.reset == "refractory"
            v = self.waiting(j)
            if self.current_leak is None:
                v = within(bounds[0], v + self.constant[j])
                for term in terms:
                    v = within(bounds[0], v + term)
            else:
                i = within(bounds[1], self.current_leak(j, self.i[j]) + self.constant[j])
                for term in terms:
                    i = within(bounds[1], i + term)
                self.i[j] = i
                v = within(bounds[0], v + i)
            if held:
                seen.add("held")
                v = 0
            fired = self.neuron.spikes and v > self.threshold[j]
            if self.neuron.reset == "doubled" and fired and self.v[j] > self.threshold[j]:
                fired = v > 2 * self.threshold[j]
                seen.add("doubled, fired" if fired else "doubled, quiet")
            if fired:
                seen.add(f"fired {self.neuron.reset} {'late' if self.neuron.reset_delay else 'at once'}")
            if fired and not self.neuron.reset_delay:
                v = {"subtract": v - self.threshold[j], "doubled": v - self.threshold[j], "zero": 0, "none": v}[
                    self.neuron.reset
                ]
            if self.neuron.clamp is not None:
                clamped = min(max(v, self.neuron.clamp[0]), self.neuron.clamp[1])
                if clamped != v:
                    seen.add("clamped")
                v = clamped
            self.v[j], self.fired[j] = within(bounds[0], v), fired
        return [int(fired) for fired in self.fired]

    def step_alpha(self, arriving: list[list[int]], seen: set[str]) -> Counts:
        """The same of alpha neurons, by their own equations: i, h and v, none of them charged."""
        assert self.alpha is not None and self.current_leak is not None
        bounds, reset, before = self.population.bounds, self.neuron.reset, self.fired
        self.fired = []
        for j, terms in enumerate(arriving):
            i, h = self.current_leak(j, self.i[j]), self.counter_leak(j, self.h[j])
            v = within(bounds[0], i - h)
            if before[j] and reset == "subtract":
                v = within(bounds[0], v - self.share(j, self.h[j]))
                i -= self.drop[j]
            i = within(bounds[1], i + self.constant[j])
            for term in terms:
                i = within(bounds[1], i + term)
            h = h + self.constant[j] + sum(terms)
            if before[j] and reset in ("subtract", "refractory"):
                h = 0
            if before[j] and reset == "refractory":
                seen.add("held")
                v = i = 0
            fired = self.neuron.spikes and v > self.threshold[j]
            if fired:
                seen.add(f"alpha fired {reset}")
            self.i[j], self.h[j], self.v[j] = i, h, v
            self.fired.append(fired)
        return [int(fired) for fired in self.fired]

    def kept_alpha(self, j: int) -> tuple[int, int]:
        """The membrane of the next timestep, and the charged current."""
        assert self.alpha is not None and self.current_leak is not None
        i, h = self.current_leak(j, self.i[j]), self.counter_leak(j, self.h[j])
        if self.fired[j] and self.neuron.reset == "refractory":
            i = h = 0
        v = i - h
        if self.fired[j] and self.neuron.reset == "subtract":
            v, i = v - self.share(j, self.h[j]), i - self.drop[j]
        return v, i + self.constant[j]

    def kept(self) -> list[list[int]]:
        """What an engine keeps: the charged states."""
        neurons = range(self.population.neurons)
        bounds = self.population.bounds
        if self.alpha is not None:
            pairs = [self.kept_alpha(j) for j in neurons]
            return [[within(bounds[0], v) for v, _ in pairs], [within(bounds[1], i) for _, i in pairs]]
        if self.current_leak is None:
            return [[within(bounds[0], self.waiting(j) + self.constant[j]) for j in neurons]]
        currents = [within(bounds[1], self.current_leak(j, self.i[j]) + self.constant[j]) for j in neurons]
        return [[within(bounds[0], self.waiting(j)) for j in neurons], currents]


def terms_of(projection: Projection, x: Counts, meets: list[list[tuple[int, int]]], values: bool) -> list[list[int]]:
    """For each neuron of the map of currents: the terms that spikes, or values, of the source bring."""
    for pool in projection.pools:
        x = pooled(pool, x)
    if values:
        return [[weight * x[i] for weight, i in meetings if x[i]] for meetings in meets]
    return [[weight for weight, i in meetings for _ in range(x[i])] for meetings in meets]


def largest_of(projection: Projection, terms: list[list[int]]) -> list[list[int]]:
    """Of each window the terms of the neuron with the largest sum."""
    pool = projection.largest
    channels = pool.in_shape[2]
    return [
        max((terms[place * channels + c] for _, _, place in taps), key=sum)
        for taps in windows(pool)
        for c in range(channels)
    ]


def run_student(
    ensemble: QuantEnsemble, number: int, data: list[int], timesteps: int, counted: int | None = None
) -> Trace:
    """Run one student that is a graph alone on one sample's bytes; `counted`: a first spike's timesteps, by default the
    encoder's."""
    student, encoder = ensemble.students[number], ensemble.encoder
    graph = student.graph
    assert isinstance(graph, Graph)
    direct = encoder.kind == "direct"
    meets = {
        (n, k): list(met(q.synapses)) for n, p in enumerate(graph.populations) for k, q in enumerate(p.projections)
    }
    seen: set[str] = set()
    macs, first_ops, populations = 0, [0] * len(graph.populations), []
    for n, population in enumerate(graph.populations):
        constant = [0] * population.neurons
        for k, projection in enumerate(population.projections):
            if direct and projection.source < 0:  # the same at every timestep
                terms = terms_of(projection, [signed(byte) for byte in data], meets[n, k], True)
                macs += sum(map(len, terms))
                first_ops[n] += sum(map(len, terms))
                terms = terms if projection.largest is msgspec.UNSET else largest_of(projection, terms)
                constant = [a + sum(b) for a, b in zip(constant, terms, strict=True)]
        populations.append(Cells(population, constant))
    past: list[list[Counts]] = [[] for _ in range(1 + len(graph.populations))]
    totals = [0] * graph.classes
    brought: list[Counts] = []
    steps = []
    for t in range(timesteps):
        step = Step(ops=list(first_ops), macs=macs) if t == 0 else Step(ops=[0] * len(first_ops))
        if encoder.kind == "frames":
            past[0].append([signed(byte) for byte in data[t * encoder.size : (t + 1) * encoder.size]])
        elif not direct:
            past[0].append(encoded(encoder, data, t))
        for n, population in enumerate(graph.populations):
            arriving: list[list[int]] = [[] for _ in range(population.neurons)]
            for k, projection in enumerate(population.projections):
                when = t - projection.delay
                if when < 0 or (direct and projection.source < 0):
                    continue
                values = encoder.kind == "frames" and projection.source < 0
                terms = terms_of(projection, past[projection.source + 1][when], meets[n, k], values)
                step.ops[n] += sum(map(len, terms))
                step.macs += sum(map(len, terms)) if values else 0
                if any(terms):
                    seen.add(f"{projection.op} spikes arrive")
                    if projection.delay:
                        seen.add("late spikes arrive")
                    if projection.source >= n:
                        seen.add("recurrent spikes arrive")
                if projection.largest is not msgspec.UNSET:
                    terms = largest_of(projection, terms)
                for j, mine in enumerate(terms):
                    arriving[j] += mine
            spikes = populations[n].step(arriving, seen)
            past[n + 1].append(spikes)
            if population.neuron.spikes:
                step.spikes.append(sum(spikes))
            step.states += populations[n].kept()
        brought.append(spikes if graph.decoder.kind == "count" else list(populations[-1].v))
        if graph.decoder.window is msgspec.UNSET:
            totals = [
                decoded(graph.decoder, total, spikes[j], populations[-1].v[j], t, counted or encoder.timesteps)
                for j, total in enumerate(totals)
            ]
        else:
            totals = [sum(values) for values in zip(*brought[-graph.decoder.window :], strict=True)]
            if t >= graph.decoder.window:
                seen.add("a window forgets")
        for total in totals:
            within(graph.decoder.bound, total)
        step.totals = totals
        steps.append(step)
    part = [b + g * total for b, g, total in zip(student.bias.tolist(), student.gain.tolist(), totals, strict=True)]
    return Trace(steps, part, seen)


def decoded(decoder: Decoder, total: int, spike: int, v: int, t: int, timesteps: int) -> int:
    """A class's total after timestep t."""
    if decoder.kind == "first":
        return timesteps - t if spike and not total and t < timesteps else total
    if decoder.kind == "count" or decoder.take == "mean":
        if decoder.leak.kind == "shift":
            total -= total // 2**decoder.leak.value
        if decoder.leak.kind == "q15":
            total = total * decoder.leak.value // 2**15
        total += spike if decoder.kind == "count" else v
        return total if decoder.clamp is None else min(max(total, decoder.clamp[0]), decoder.clamp[1])
    return max(total, v) if decoder.take == "highest" and t > 0 else v
