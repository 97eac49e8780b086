"""Models as graphs of the Neuromorphic Intermediate Representation (NIR), for what it can hold.

In: a `QuantEnsemble`. Out: a `nir.NIRGraph` whose nodes are differential equations in real numbers, with what they mean
in timesteps of `dt` seconds as `from_nir` reads it, and what it cannot say in words and as metadata.

Weights, biases and thresholds are the integers, times a power of two for each population, so that they are exact in
float32 too. The integers' rounding down of a leak, and clamps, have no place in NIR. A
direct input's nodes take the user's samples, not the int8 steps. A readout that only adds up is no neuron but weights,
whose mean over time is the logits in real units; so several students of this kind make one graph, summed at its output.
"""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..errors import SneError, shortened
from ..files import write_whole
from ..ir.artifact import fingerprint
from ..ir.chain import as_graph, current_shift
from ..ir.encoder import Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import INPUT, Alpha, Graph, Leak, Projection
from ..ir.layers import MaxPool, Pair

MISREAD = "which nir's own check of types misreads: read it with nir.read(FILE, type_check=False)"


def save_nir(ensemble: QuantEnsemble, path: Path, *, part: str | None = None, dt: float = 1e-3) -> list[str]:
    """Write `to_nir`'s graph to a file, whole or not at all; returns what NIR does not say, in words."""
    graph, notes = to_nir(ensemble, part, dt)
    buffer = io.BytesIO()
    _library().write(buffer, graph)
    write_whole(path, lambda file: file.write(buffer.getvalue()))
    return notes


def to_nir(ensemble: QuantEnsemble, part: str | None = None, dt: float = 1e-3) -> tuple[Any, list[str]]:
    """The `nir.NIRGraph` of one student, `student:K`, or by default of all, and what NIR does not say, in words.

    Raises `SneError` on what NIR cannot hold, naming the population.
    """
    nir = _library()
    if not 0 < dt < 1e6:
        raise SneError(f"a timestep of {dt} seconds is none", "give --dt in seconds, such as 1e-3")
    _check_held(ensemble)
    chosen = _chosen(ensemble, part)
    writer = _Writer(nir, ensemble, chosen, dt)
    for number in chosen:
        _Student(writer, number).write()
    return writer.graph(part or "whole"), writer.notes


def _library() -> Any:
    try:
        import nir
    except ImportError:
        raise SneError("the package nir is not installed", "pip install 'sne-edge[nir]'") from None
    return nir


def _chosen(ensemble: QuantEnsemble, part: str | None) -> list[int]:
    count = len(ensemble.students)
    if part is not None:
        kind, _, number = part.partition(":")
        if kind != "student" or not number.isdecimal() or int(number) >= count:
            raise SneError(f"there is no part {shortened(part)!r} for NIR", f"give student:K, with K in 0..{count - 1}")
        return [int(number)]
    if count > 1 and not all(_adds_up(as_graph(student)) for student in ensemble.students):
        raise SneError(
            "students that end in neurons, and not in weights alone, make no sum in NIR", "give one: --part student:0"
        )
    return list(range(count))


def _check_held(ensemble: QuantEnsemble) -> None:
    """Raise `SneError` for a model with a window or a rejection, which NIR has no node for."""
    graphs = [as_graph(student) for student in ensemble.students]
    if any(isinstance(graph.decoder.window, int) for graph in graphs):
        what, hint = "a window", "export the model that it was made of, or one with a leak (--decode-leak), or ONNX"
    elif ensemble.rejection is not msgspec.UNSET:
        what, hint = "a rejection", "calibrate it anew without --unknown, or export ONNX, which holds it"
    else:
        return
    raise SneError(f"{ensemble.name} has {what}, which no node of NIR holds", hint)


def _adds_up(graph: Graph) -> bool:
    """Is the last population a readout that only adds up?"""
    last, decoder = graph.populations[-1].neuron, graph.decoder
    plain = not last.spikes and last.leak.kind == "none" and not isinstance(last.current_leak, Leak)
    return plain and decoder.sees_membranes and decoder.take == "final"


def _needed(graph: Graph) -> list[int]:
    """The populations that the last one hears of, and that one, in order. `nir` gives others outputs of their own when
    it checks types, and a graph of several outputs is read as no model."""
    found, waiting = set[int](), [len(graph.populations) - 1]
    while waiting:
        n = waiting.pop()
        if n not in found:
            found.add(n)
            waiting += [q.source for q in graph.populations[n].projections if q.source != INPUT]
    return sorted(found)


class _Writer:
    """Nodes and edges of one graph, of all students."""

    def __init__(self, nir: Any, ensemble: QuantEnsemble, chosen: list[int], dt: float) -> None:
        self.nir, self.ensemble, self.encoder, self.dt, self.chosen = nir, ensemble, ensemble.encoder, dt, chosen
        self.nodes: dict[str, Any] = {}
        self.edges: list[tuple[str, str]] = []
        self.notes: list[str] = []
        self.decoded: dict[str, str] = {}
        height, width, channels = self.encoder.shape
        graphs = [as_graph(ensemble.students[k]) for k in chosen]
        met = [q for graph in graphs for n in _needed(graph) for q in graph.populations[n].projections]
        windows = any(q.source == INPUT and (q.pools or q.op in ("conv", "depthwise")) for q in met)
        self.flat = height * width == 1 and not windows
        shape = (channels,) if self.flat else (channels, height, width)
        self.add("input", nir.Input({"input": np.array(shape)}))

    def add(self, name: str, node: Any, *before: str, **metadata: Any) -> str:
        assert name not in self.nodes, name
        node.metadata = {key: value if isinstance(value, str) else json.dumps(value) for key, value in metadata.items()}
        self.nodes[name] = node
        self.edges += [(source, name) for source in before]
        return name

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def graph(self, part: str) -> Any:
        encoder, ensemble = self.encoder, self.ensemble
        facts = {
            "writer": "sne-edge",
            "model": ensemble.name,
            "fingerprint": fingerprint(ensemble),
            "part": part,
            "dt": repr(self.dt),
            "timesteps": str(encoder.timesteps),
            "encoder": encoder.kind,
            "input": json.dumps({"scale": encoder.scale, "offset": encoder.offset}),
            "classes": json.dumps(ensemble.classes),
            "task": "regression" if ensemble.regression else "classification",
            "notes": json.dumps(self.notes),
        } | self.decoded
        return self.nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=facts, type_check=False)


class _Student:
    """Writes one student's populations; its nodes' names begin with its number where there are several."""

    def __init__(self, writer: _Writer, number: int) -> None:
        self.w, self.number = writer, number
        self.student = writer.ensemble.students[number]
        self.graph = as_graph(self.student)
        self.needed = _needed(self.graph)
        self.flat: list[bool] = []  # by population
        for n in range(len(self.graph.populations)):
            self.flat.append(n in self.needed and self._is_flat(n))

    def write(self) -> None:
        last = len(self.graph.populations) - 1
        for n in self.needed:
            if n == last and _adds_up(self.graph):
                self._readout(n)
            else:
                self._neurons(n)
        if "output" not in self.w.nodes:
            self.w.add("output", self.w.nir.Output({"output": np.array([self.graph.classes])}))
        if not _adds_up(self.graph):
            self.w.edges.append((self._name(last), "output"))
            self._decoder_note()
        if len(self.needed) <= last:
            self.w.note("populations that no output hears of are left out")

    def _name(self, n: int) -> str:
        return f"s{self.number}_{n}" if len(self.w.chosen) > 1 else f"p{n}"

    def _where(self, n: int) -> str:
        return f"population {n}, {shortened(self.graph.populations[n].name, 40)}"

    def _refuse(self, n: int, what: str, hint: str = "export it as C, or as ONNX, which holds every model") -> SneError:
        return SneError(f"{self._where(n)}: {what}", hint)

    def _is_flat(self, n: int) -> bool:
        """Is a population a vector in NIR? Where weights of its own for each neuron lead to it: those make no map."""
        p = self.graph.populations[n]
        if p.positions > 1 and any(q.op == "linear" for q in p.projections):
            after = [q for k in self.needed for q in self.graph.populations[k].projections if q.source == n]
            if not all(q.op == "linear" and not q.pools for q in (*p.projections, *after)):
                raise self._refuse(n, "weights of its own for each neuron make a map, which NIR does not shape")
        if any(q.op == "linear" for q in p.projections):
            return True
        before = [q for q in p.projections if q.source != n]
        return all(self._comes_flat(q) and not q.pools and p.positions == 1 for q in before)

    def _comes_flat(self, q: Projection) -> bool:
        """Is a projection's source a vector? One that runs later is taken for a map until it is written."""
        return self.w.flat if q.source == INPUT else q.source < len(self.flat) and self.flat[q.source]

    # -- what arrives

    def _arriving(self, n: int, factor: np.ndarray, bias: np.ndarray) -> tuple[list[str], np.ndarray]:
        """Nodes whose sum arrives at a population: weights times `factor` and `bias`, float64 by neuron [positions or
        1, channels]; and the bias that no node can hold."""
        p = self.graph.populations[n]
        made = []
        for q in p.projections:
            if q.source == INPUT and self.w.encoder.multiplies:
                bias = bias + self._offset(n, q, factor)
        for number, q in enumerate(p.projections):
            here = bias if self._holds_bias(n, q, bias) else np.zeros_like(bias)
            bias = bias - here
            made.append(self._weights(n, number, q, factor, here))
        return made, bias

    def _holds_bias(self, n: int, q: Projection, bias: np.ndarray) -> bool:
        return bool(bias.any()) and (q.op == "linear" or (q.op != "identity" and len(bias) == 1))

    def _offset(self, n: int, q: Projection, factor: np.ndarray) -> np.ndarray:
        """What an input's offset adds: q = (x - offset) / scale."""
        encoder, p = self.w.encoder, self.graph.populations[n]
        if not encoder.shifted:
            return np.zeros((1, p.channels))
        if q.padding != (0, 0):
            raise self._refuse(n, "the input's offset would have to reach a padding, whose values are 0")
        try:
            sums = encoder.summed(encoder.offset_steps, q.weight)
        except ValueError as error:
            raise self._refuse(n, str(error)) from None
        shifted: np.ndarray = -sums.reshape(-1, p.channels) * factor
        return shifted

    def _weights(self, n: int, number: int, q: Projection, factor: np.ndarray, bias: np.ndarray) -> str:
        """The nodes of one projection, the last one's name."""
        nir, w, p = self.w.nir, self.w, self.graph.populations[n]
        encoder, values = w.encoder, q.source == INPUT and w.encoder.multiplies
        source = "input" if q.source == INPUT else self._name(q.source)
        shape = encoder.shape if q.source == INPUT else self.graph.populations[q.source].shape
        flat = self._comes_flat(q)
        name = f"{self._name(n)}_from_{source}_{number}"
        if isinstance(q.largest, MaxPool):
            raise self._refuse(n, "a maximum of currents, which NIR has no node for")
        if q.in_shape != shape and (q.op != "linear" or q.pools):
            raise self._refuse(n, f"what comes as {shape} is taken as a map {q.in_shape}, and NIR shapes no vector")
        if q.delay and not (q.delay == 1 and q.source == n):  # to itself a spike takes a timestep anyhow
            seconds = np.full(self._dims(shape, flat), q.delay * w.dt)
            source = w.add(f"{name}_delay", nir.Delay(seconds), source, timesteps=q.delay)
        for place, pool in enumerate(q.pools):
            if isinstance(pool, MaxPool) and pool.kernel != (1, 1):
                raise self._refuse(n, "a maximum of spikes, which NIR has no node for")
            windows = (np.array(pair) for pair in (pool.kernel, pool.stride, pool.padding))
            if flat:
                raise self._refuse(n, "windows over what is a vector in NIR")
            source = w.add(f"{name}_pool{place}", nir.SumPool2d(*windows), source)
            shape = pool.out_shape
        scaled, own = (factor / encoder.unit, self._own(n, q)) if values else (factor, q.weight)
        if q.op == "linear":
            return self._linear(name, source, own, q.bits, shape, flat, scaled, bias)
        by_channel = scaled[0]
        if flat != self.flat[n]:
            raise self._refuse(n, "what comes is a vector in NIR where a map is wanted, or the other way round")
        if q.op == "identity":
            weight = (q.weight * by_channel).reshape(-1, *[1] * (0 if self.flat[n] else 2))
            return w.add(name, nir.Scale(np.broadcast_to(weight, self._dims(p.shape, self.flat[n])).copy()), source)
        if flat:  # of one place, a window's weights are those that lie on it
            weight = own[:, :, q.padding[0], q.padding[1]]
            matrix = np.diag(weight[:, 0]) if q.op == "depthwise" else weight
            return self._affine(name, source, matrix * by_channel[:, None], bias[0], q.bits)
        if q.op == "depthwise" and p.channels > 1:
            w.note(f"convolutions of groups, {MISREAD}")
        weight, padding = self._square(own * by_channel.reshape(-1, 1, 1, 1), q.padding)
        return w.add(
            name,
            nir.Conv2d(
                input_shape=shape[:2],
                weight=weight,
                stride=q.stride,
                padding=padding,
                dilation=(1, 1),
                groups=p.channels if q.op == "depthwise" else 1,
                bias=np.broadcast_to(bias[0], (p.channels,)).copy(),
            ),
            source,
            bits=q.bits,
        )

    def _own(self, n: int, q: Projection) -> np.ndarray:
        """Weights of the input as they meet what its coarsest channel's step is worth, in every channel."""
        encoder = self.w.encoder
        try:
            return q.weight / encoder.facing(encoder.relative, q.weight) if encoder.by_channel else q.weight
        except ValueError as error:
            raise self._refuse(n, str(error)) from None

    def _square(self, weight: np.ndarray, padding: Pair) -> tuple[np.ndarray, Pair]:
        """The same convolution with a square kernel, zeros around, where that can be: `nir` takes a kernel's height for
        its width when it checks types, and refuses the file."""
        side = max(weight.shape[2:])
        more = [side - length for length in weight.shape[2:]]
        if any(n % 2 for n in more):
            self.w.note(f"kernels that are not square, {MISREAD}")
            return weight, padding
        around = [n // 2 for n in more]
        wide = np.pad(weight, ((0, 0), (0, 0), (around[0],) * 2, (around[1],) * 2))
        return wide, (padding[0] + around[0], padding[1] + around[1])

    def _linear(
        self,
        name: str,
        source: str,
        given: np.ndarray,
        bits: int,
        shape: Shape,
        flat: bool,
        factor: np.ndarray,
        bias: np.ndarray,
    ) -> str:
        w, (height, width, channels) = self.w, shape
        if not flat:
            node = w.nir.Flatten({"input": np.array(self._dims(shape, False))}, 0, -1)
            source = w.add(f"{name}_flat", node, source)
        weight = given.reshape(len(given), height, width, channels)
        if not flat:
            weight = weight.transpose(0, 3, 1, 2)
        by_neuron = np.broadcast_to(factor, (len(given) // factor.shape[1], factor.shape[1])).reshape(-1, 1)
        made = weight.reshape(len(given), -1) * by_neuron
        held = np.broadcast_to(bias, (len(given) // bias.shape[1], bias.shape[1])).reshape(-1)
        return self._affine(name, source, made, held, bits)

    def _affine(self, name: str, source: str, weight: np.ndarray, bias: np.ndarray, bits: int) -> str:
        nir = self.w.nir
        node = nir.Affine(weight, bias.copy()) if bias.any() else nir.Linear(weight)
        return self.w.add(name, node, source, bits=bits)

    def _dims(self, shape: Shape, flat: bool) -> tuple[int, ...]:
        height, width, channels = shape
        return (height * width * channels,) if flat else (channels, height, width)

    # -- neurons

    def _spikes(self, n: int) -> bool:
        """Are a population's spikes more than a threshold that nobody hears of? Without a reset nothing comes of it."""
        cell = self.graph.populations[n].neuron
        heard = any(q.source == n for k in self.needed for q in self.graph.populations[k].projections)
        return cell.spikes and (cell.reset != "none" or heard or not self.graph.decoder.sees_membranes)

    def _neurons(self, n: int) -> None:
        nir, w, p = self.w.nir, self.w, self.graph.populations[n]
        cell, cuba, spikes = p.neuron, isinstance(p.neuron.current_leak, Leak), self._spikes(n)
        if cell.remembers or isinstance(cell.alpha, Alpha):
            raise self._refuse(n, "alpha neurons" if isinstance(cell.alpha, Alpha) else f"a reset {cell.reset}")
        if spikes and cell.reset == "none":
            raise self._refuse(n, "neurons that spike without a reset, which NIR has no node for")
        if cuba and not spikes:
            raise self._refuse(n, "neurons with a synaptic current that never spike")
        threshold = p.threshold if spikes and isinstance(p.threshold, np.ndarray) else None
        largest = max((int(np.abs(q.weight.astype(int)).max(initial=0)) for q in p.projections), default=0)
        size = int(threshold.max()) if threshold is not None else largest
        factor = np.full((1, p.channels), 2.0 ** -int(np.ceil(np.log2(max(size, 1)))))
        power = float(factor[0, 0])
        decoded = n == len(self.graph.populations) - 1 and self.graph.decoder.sees_membranes
        if decoded:  # in the units of the logits, by channel
            if w.ensemble.regression:  # its membranes are the outputs themselves, or so many times their mean
                summed = w.encoder.timesteps if self.graph.decoder.take == "mean" else 1
                power = w.ensemble.logit_scale * summed
                factor = np.full((1, p.channels), power)
            factor = factor * self.student.gain.reshape(-1, p.channels)
        arrives = factor / 2.0 ** current_shift(self.student, n)
        bias = p.bias.astype(np.float64).reshape(-1, p.channels) * arrives
        before, left = self._arriving(n, arrives, bias)
        leaks = cell.leak.kind != "none"
        tau, r, shrunk = self._time_constant(cell.leak, n)
        v_leak = np.zeros(self._dims(p.shape, self.flat[n]))
        if not before:
            raise self._refuse(n, "nothing arrives at it")
        if left.any():  # what no weights hold, the membrane leaks to
            if cuba or not leaks:
                raise self._refuse(n, "a bias that differs from place to place, or without weights")
            v_leak = self._values(left, n)
        still = np.zeros_like(v_leak)
        said = {"reset": cell.reset, "reset_delay": cell.reset_delay, "unit": list(map(float, p.scale)), "power": power}
        name = self._name(n)
        v_threshold = still
        if threshold is not None:
            v_threshold = self._values((threshold.reshape(-1, p.channels) * factor).ravel(), n) * shrunk
        if not spikes:
            if not leaks:
                raise self._refuse(n, "a readout without a leak whose highest or mean membrane counts")
            w.add(name, nir.LI(tau, 1 / shrunk, v_leak / shrunk), *before, **said)
        elif isinstance(cell.current_leak, Leak):
            tau_syn, w_in, less = self._time_constant(cell.current_leak, n)
            if decoded:  # membranes are read in their own units
                r, v_threshold = r / less, v_threshold / less
            v_threshold = v_threshold / shrunk * less  # snnTorch wants an r that undoes 1 - beta here
            w.add(name, nir.CubaLIF(tau_syn, tau, r / shrunk, v_leak, v_threshold, still, w_in), *before, **said)
        elif leaks and decoded:  # in the membranes' own units, too
            w.add(name, nir.LIF(tau, r / shrunk, v_leak / shrunk, v_threshold / shrunk, still), *before, **said)
        elif leaks:
            w.add(name, nir.LIF(tau, r, v_leak, v_threshold, still), *before, **said)
        else:
            w.add(name, nir.IF(np.ones_like(still), v_threshold, still), *before, **said)
        self._neuron_notes(n, leaks)

    def _neuron_notes(self, n: int, leaks: bool) -> None:
        cell = self.graph.populations[n].neuron
        if cell.spikes and cell.reset == "subtract":
            self.w.note(
                "a spike subtracts the threshold, where NIR resets to v_reset: read it with the reset `subtract`"
            )
        if cell.reset_delay:
            self.w.note("resets take effect a timestep later: read it with late resets")
        if cell.clamp is not None:
            self.w.note("clamps of membranes are left out")
        if leaks or isinstance(cell.current_leak, Leak):
            self.w.note("leaks are real numbers, where the device rounds them down to its units")
        every = [self.graph.populations[k].neuron for k in self.needed if self._spikes(k)]
        kinds = {(each.reset, each.reset_delay) for each in every}
        if len(kinds) > 1:
            self.w.note("populations differ in their resets: each node's metadata say which")

    def _decoder_note(self) -> None:
        decoder, bias = self.graph.decoder, self.student.bias.astype(np.int64) + self.w.ensemble.bias
        what = {"membrane": f"the {decoder.take} membrane", "count": "the number of spikes", "first": "the first spike"}
        self.w.note(f"the logits are made of {what[decoder.kind]}")
        self.w.decoded["decoder"] = json.dumps([decoder.kind, decoder.take, decoder.leak.beta])
        if bias.any():
            self.w.note(f"to the totals come {bias.tolist()}, in units of {self.w.ensemble.logit_scale}")
        counted = not decoder.sees_membranes
        if counted and self.w.ensemble.regression:
            worth = (self.student.gain * self.w.ensemble.logit_scale).tolist()
            self.w.note(f"outputs are numbers: the totals times {worth}")
        elif counted and len(set(self.student.gain.tolist())) > 1:
            self.w.note(f"the totals are multiplied by {self.student.gain.tolist()}")
        if decoder.leak.kind != "none":
            self.w.note(f"the totals leak by {decoder.leak.beta} in each timestep")

    def _readout(self, n: int) -> None:
        """Weights whose mean over time is the logits."""
        w, p, ensemble = self.w, self.graph.populations[n], self.w.ensemble
        steps = w.encoder.timesteps
        factor = (
            ensemble.logit_scale
            / 2.0 ** current_shift(self.student, n)
            * steps
            * self.student.gain.astype(np.float64).reshape(-1, p.channels)
        )
        constant = self.student.bias + (ensemble.bias if self.number == w.chosen[0] else 0)
        bias = p.bias.astype(np.float64).reshape(-1, p.channels) * factor
        bias = bias + ensemble.logit_scale * constant.astype(np.float64).reshape(-1, p.channels)
        made, left = self._arriving(n, factor, bias)
        if left.any() or not made:
            raise self._refuse(n, "a readout's bias without weights")
        if "output" not in w.nodes:
            w.add("output", w.nir.Output({"output": np.array([self.graph.classes])}))
        w.edges += [(name, "output") for name in made]
        w.note("the logits are the mean of the output over time")
        if p.neuron.clamp is not None:
            w.note("clamps of membranes are left out")

    def _values(self, values: np.ndarray, n: int) -> np.ndarray:
        """One number, or one for each channel or neuron, for each neuron of a population in NIR's shape."""
        p = self.graph.populations[n]
        wide = np.broadcast_to(values.reshape(-1, p.channels) if values.size > 1 else values, (p.positions, p.channels))
        by_place = wide.reshape(p.shape).astype(np.float64)
        made: np.ndarray = by_place.reshape(-1).copy() if self.flat[n] else np.moveaxis(by_place, -1, 0).copy()
        return made

    def _time_constant(self, leak: Leak, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """tau, r (or w_in) of each neuron, and how much smaller states are than the integers': what arrives is times
        1 - beta in NIR, and an r that undoes it exactly need not be there; a threshold that follows is exact."""
        if leak.kind == "none":  # as snnTorch writes what keeps all
            endless = self._values(np.array(np.inf), n)
            return endless, endless.copy(), np.ones_like(endless)
        shares = 1 - 2.0**-leak.value if leak.kind == "shift" else leak.value / 2.0**15
        tau = np.array([time_constant(float(share), self.w.dt) for share in np.ravel(shares)])
        return self._values(tau, n), self._values(np.ones(1), n), self._values(1 - np.ravel(shares), n)


def time_constant(share: float, dt: float) -> float:
    """The tau, near by, for which 1 - dt / tau is a share to the last bit; the nearest one where float64 has none."""
    tau = dt / (1 - share)
    for candidate in (tau, float(np.nextafter(tau, 0)), float(np.nextafter(tau, np.inf))):
        if max(0.0, 1 - dt / candidate) == share:
            return candidate
    return tau
