"""Networks of the Neuromorphic Intermediate Representation (NIR, Pedersen et al., Nature Communications 2024), read.

In: a `.nir` file, or a `nir.NIRGraph`, whose neurons are differential equations. Out: a `learn.graph.FloatGraph`, whose
neurons take timesteps of `dt` seconds. What a file does not say is a `Reading`'s to say.

    LIF      tau dv/dt = v_leak - v + r I            v' = beta v + (1 - beta) (v_leak + r I)
    LI       the same without spikes
    IF       dv/dt = r I                             v' = v + r I: writers count I in timesteps, but
                                                     SpikingJelly, whose r is 1 / dt: that is 1
    CubaLIF  tau_syn dI/dt = -I + w_in S             I' = alpha I + (1 - alpha) w_in S, then as LIF

with beta = 1 - dt / tau by Euler's method, as snnTorch and Norse have it, or exp(-dt / tau), exact for an input that is
constant in between. Membranes start at v_reset; NIR knows no initial state. What `to_nir` writes says the rest itself.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from ..errors import SneError
from ..ir.checks import check
from ..ir.encoder import Shape
from ..ir.layers import Pair, size
from ..learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPopulation, Reset, unused_name
from . import terms
from .terms import Sum

SUPPORTED = "Affine, Linear, Conv1d, Conv2d, Scale, SumPool2d, AvgPool2d, Flatten, IF, LIF, LI, CubaLIF, Delay, graphs"
PASSED = ("Input", "Output")
NEURONS = ("IF", "LIF", "LI", "CubaLIF")


@dataclass(frozen=True)
class Reading:
    """What a NIR file leaves open.

    dt      seconds of a timestep; needed where a node has a time constant or a delay (snnTorch writes for 1e-4)
    reset   what a spike does: `zero` (to v_reset, as NIR defines it) or `subtract` (what networks of snnTorch
            and sinabs mean, though their files say v_reset = 0)
    late    the reset takes effect in the next timestep (snnTorch)
    behind  timesteps by which a membrane's input lies behind (1 for Norse's current-based neurons)
    method  of discretisation: `euler` or `exact`
    decode  the decoder; default: spikes are counted, a membrane is taken at the end, weights alone average over time
    shape   (height, width, channels) of the input, where the file's is missing
    """

    dt: float | None = None
    reset: Literal["zero", "subtract"] = "zero"
    late: bool = False
    behind: int = 0
    method: Literal["euler", "exact"] = "euler"
    decode: FloatDecoder | None = None
    shape: Shape | None = None


def read_nir(file: Any, reading: Reading = Reading()) -> FloatGraph:
    """The network of a `.nir` file, or of a `nir.NIRGraph` that a framework's exporter made. Raises `SneError` on what
    cannot be read, naming the node."""
    nir = _library()
    if isinstance(file, nir.NIRGraph):
        return graph_from_nir(file, reading)
    try:
        graph = nir.read(file, type_check=False)  # older writers name shapes that the library now objects to
    except Exception as error:  # h5py and nir raise what they like on what is no file of theirs
        raise SneError(f"{file} is no NIR file: {error}", "write one with nir.write(FILE, graph)") from None
    return graph_from_nir(graph, reading)


def graph_from_nir(graph: Any, reading: Reading = Reading()) -> FloatGraph:
    """The network of a `nir.NIRGraph`. Raises `SneError` on what cannot be read, naming the node."""
    reading = _said(graph, reading)
    if reading.dt is not None and not 0 < reading.dt < 1e6:
        raise SneError(f"a timestep of {reading.dt} seconds is none", "give --dt in seconds, such as 1e-4")
    nodes, edges = _flat(graph)
    try:
        return _Reader(nodes, edges, reading).graph()
    except ValueError as error:
        raise SneError(f"the NIR graph makes no network: {error}", f"supported: {SUPPORTED}") from None


def _said(graph: Any, reading: Reading) -> Reading:
    """The reading with what `to_nir` has written into a file's metadata: the timestep and the decoder."""
    facts = getattr(graph, "metadata", None) or {}
    if facts.get("writer") != "sne-edge":
        return reading
    try:
        dt = float(facts["dt"])
        decode = FloatDecoder(*json.loads(facts["decoder"])) if "decoder" in facts else None
    except (KeyError, ValueError, TypeError) as error:
        raise SneError(f"the metadata of the NIR graph are damaged: {error}", "export it again") from None
    return replace(reading, dt=reading.dt or dt, decode=reading.decode or decode)


def _library() -> Any:
    try:
        import nir
    except ImportError:
        raise SneError("the package nir is not installed", "pip install 'sne-edge[nir]'") from None
    return nir


def _flat(graph: Any, prefix: str = "") -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Nodes by path and edges, those of nested graphs among them, whose inputs and outputs are passed through."""
    nodes: dict[str, Any] = {}
    entry: dict[str, str] = {}
    leaving: dict[str, str] = {}
    edges = []
    for key, node in graph.nodes.items():
        name = prefix + str(key)
        if _kind(node) != "NIRGraph":
            nodes[name] = node
            continue
        inner, within = _flat(node, f"{name}.")
        nodes |= inner
        edges += within
        own = {k: v for k, v in inner.items() if "." not in k[len(name) + 1 :]}
        for kind, ends in (("Input", entry), ("Output", leaving)):
            found = [k for k, v in own.items() if _kind(v) == kind]
            if len(found) != 1:
                raise _refuse(
                    name, node, f"it has {len(found)} nodes {kind}", "nest graphs of one input and one output"
                )
            ends[name] = found[0]
    for before, after in dict.fromkeys((prefix + str(a), prefix + str(b)) for a, b in graph.edges):
        edges.append((leaving.get(before, before), entry.get(after, after)))
    return nodes, edges


def _kind(node: Any) -> str:
    return type(node).__name__


def _refuse(name: str, node: Any, what: str, hint: str) -> SneError:
    return SneError(f"node {name!r}, {_kind(node)}: {what}", hint)


class _Reader:
    """Walks from the output back to the input, a population at a time."""

    def __init__(self, nodes: dict[str, Any], edges: list[tuple[str, str]], reading: Reading) -> None:
        self.nodes, self.reading = nodes, reading
        self.before: dict[str, list[str]] = {name: [] for name in nodes}
        for source, target in edges:
            for end in (source, target):
                if end not in nodes:
                    raise SneError(f"an edge names the node {end!r}, which is not there", "write the graph again")
            self.before[target].append(source)
        inputs = [n for n, node in nodes.items() if _kind(node) == "Input" and not self.before[n]]
        outputs = [n for n, node in nodes.items() if _kind(node) == "Output" and not any(a == n for a, _ in edges)]
        if len(inputs) != 1 or len(outputs) != 1:
            raise SneError(
                f"the graph has {len(inputs)} inputs and {len(outputs)} outputs",
                "read a graph of one input and one output",
            )
        self.input, self.output = inputs[0], outputs[0]
        self.shapes: dict[str, tuple[int, ...]] = {}
        given = reading.shape
        if given is not None:
            self.shapes[self.input] = (given[2],) if given[:2] == (1, 1) else (given[2], *given[given[0] == 1 : 2])
        else:
            shape = next(iter(getattr(nodes[self.input], "input_type", {}).values()), None)
            if shape is None or not len(shape) or not all(int(n) >= 1 for n in shape):
                raise SneError("the file does not say the input's shape", "give --shape HEIGHT,WIDTH,CHANNELS")
            self.shapes[self.input] = tuple(int(n) for n in shape)

    def graph(self) -> FloatGraph:
        found: dict[str, FloatPopulation] = {}
        last = self._source(self.output)
        if last is None:
            arriving, name = self._arriving(self.output), unused_name("readout", self.nodes)
            shape = terms.map_shape(arriving.shape)
            made, bias = terms.projections(arriving, shape)
            found[name] = FloatPopulation(name, shape, made, np.ones(()), None, bias, reset="none")
            decoder, waiting = FloatDecoder("current"), [t.source for t in arriving.terms]
        else:
            name, waiting = last, [last]
            spiking = _kind(self.nodes[last]) != "LI"
            decoder = FloatDecoder("count") if spiking else FloatDecoder("membrane")
        decoder = self.reading.decode or decoder
        if last is not None and decoder.kind == "membrane" and np.any(getattr(self.nodes[last], "v_reset", 0)):
            raise _refuse(
                last, self.nodes[last], "its membranes are decoded, and v_reset is not 0",
                "take v_reset off v_leak, v_threshold and itself: spikes stay the same, membranes are lower by it",
            )  # fmt: skip
        while waiting:
            source = waiting.pop()
            if source not in found and source != INPUT:
                found[source] = self._neurons(source)
                waiting += [projection.source for projection in found[source].projections]
        return FloatGraph(terms.map_shape(self.shapes[self.input]), _in_order(found, name), decoder)

    def _source(self, name: str) -> str | None:
        """The population whose spikes, and nothing else, a node passes on; None where there is more to it."""
        while _kind(self.nodes[name]) in PASSED:
            if len(self.before[name]) != 1:
                return None
            name = self.before[name][0]
        return name if _kind(self.nodes[name]) in NEURONS else None

    def _arriving(self, name: str, path: tuple[str, ...] = ()) -> Sum:
        """The sum of what the nodes before one give."""
        if name in path:
            raise _refuse(name, self.nodes[name], "it lies in a cycle without neurons", "put neurons in the cycle")
        if not self.before[name]:
            raise _refuse(name, self.nodes[name], "nothing leads to it", "connect it, or remove it")
        return terms.total([self._given(before, (*path, name)) for before in self.before[name]])

    def _given(self, name: str, path: tuple[str, ...]) -> Sum:
        """What a node gives: a population its spikes, anything else what it makes of what arrives."""
        if name == self.input or _kind(self.nodes[name]) in NEURONS:
            return terms.source(INPUT if name == self.input else name, self._shape_of(name))
        arriving = self._arriving(name, path)
        try:
            return self._made(name, self.nodes[name], arriving)
        except ValueError as error:
            raise _refuse(name, self.nodes[name], str(error), f"supported: {SUPPORTED}") from None

    def _shape_of(self, name: str, path: tuple[str, ...] = ()) -> tuple[int, ...]:
        """NIR's shape of what a node gives, channel first; through a cycle, by whatever else leads to it."""
        if name in self.shapes:
            return self.shapes[name]
        if name in path:
            return ()
        node, kind = self.nodes[name], _kind(self.nodes[name])
        if kind in ("Affine", "Linear"):
            shape: tuple[int, ...] = (len(node.weight),)
        else:
            known = (self._shape_of(before, (*path, name)) for before in self.before[name])
            shape = next((s for s in known if s), ())
            if shape and kind not in (*PASSED, *NEURONS, "Delay", "Scale"):
                shape = _shape_after(kind, node, shape)
        if shape and not path:
            self.shapes[name] = shape
        if not shape and not path:
            raise _refuse(name, node, "its shape follows from nothing", "give --shape HEIGHT,WIDTH,CHANNELS")
        return shape

    def _made(self, name: str, node: Any, arriving: Sum) -> Sum:
        """What a node without neurons makes of what arrives."""
        kind = _kind(node)
        if kind in PASSED:
            return arriving
        if kind in ("Affine", "Linear"):
            return terms.linear(arriving, node.weight, getattr(node, "bias", 0.0))
        if kind in ("Conv1d", "Conv2d"):
            flat = kind == "Conv1d"
            weight = np.asarray(node.weight, np.float64)
            check(weight.ndim == (3 if flat else 4), f"its weight has the shape {list(weight.shape)}")
            stride, padding, dilation = _geometry(kind, node)
            bias = 0.0 if node.bias is None else np.asarray(node.bias, np.float64).reshape(-1)
            shaped = weight[:, :, None] if flat else weight
            return terms.convolution(arriving, shaped, bias, stride, padding, dilation, int(node.groups))
        if kind == "Scale":
            whole = np.broadcast_to(np.asarray(node.scale, np.float64), arriving.shape).reshape(arriving.shape[0], -1)
            check(bool((whole == whole[:, :1]).all()), "it scales the places of a channel apart")
            return terms.scale(arriving, whole[:, 0])
        if kind in ("SumPool2d", "AvgPool2d"):
            kernel, stride, padding = (_pair(v) for v in (node.kernel_size, node.stride, node.padding))
            return terms.pool(
                arriving,
                "average",
                kernel,
                stride,
                padding,
                float(kernel[0] * kernel[1]) if kind == "SumPool2d" else 1.0,
            )
        if kind == "Flatten":
            axes = len(arriving.shape)
            every = (int(node.start_dim) % axes, int(node.end_dim) % axes) == (0, axes - 1)
            check(every, f"it flattens axes {node.start_dim} to {node.end_dim} of {axes}, not all")
            return terms.flat(arriving)
        if kind == "Delay":
            steps = np.unique(np.asarray(node.delay, np.float64) / self._dt(name, node))
            known = len(steps) == 1 and bool(np.isfinite(steps[0]))
            whole_number = known and abs(steps[0] - round(steps[0])) <= 1e-3 * max(1.0, abs(steps[0]))
            check(bool(whole_number), "its delays differ, or are no whole number of timesteps")
            late = round(float(steps[0]))
            check(not late or not arriving.bias.any(), "it delays a bias: delay spikes, before weights")
            return terms.late(arriving, late)
        raise _refuse(name, node, "no such node can be deployed", f"supported: {SUPPORTED}")

    def _dt(self, name: str, node: Any) -> float:
        if self.reading.dt is None:
            raise _refuse(
                name, node, "it knows seconds, and no timestep was given", "give --dt SECONDS (snnTorch: 1e-4)"
            )
        return self.reading.dt

    def _kept(self, name: str, node: Any, tau: np.ndarray) -> np.ndarray:
        """The share of a state that a timestep leaves."""
        dt = self._dt(name, node)
        if not (tau > 0).all():
            raise _refuse(name, node, "a time constant is not positive", "write the graph again")
        if self.reading.method == "exact":
            left: np.ndarray = np.exp(-dt / tau)
            return left
        if (tau < dt * (1 - 1e-6)).any():
            raise _refuse(
                name, node, f"its time constant of {tau.min():.3g} s is below the timestep of {dt:.3g} s",
                "give a smaller --dt, or the method `exact`",
            )  # fmt: skip
        return np.maximum(0.0, 1 - dt / tau)

    def _neurons(self, name: str) -> FloatPopulation:
        node, kind, reading = self.nodes[name], _kind(self.nodes[name]), self.reading
        arriving = self._arriving(name)
        shape = self._shape_of(name)
        place = terms.map_shape(shape)

        def values(field: str) -> np.ndarray:
            array = np.asarray(getattr(node, field), np.float64)
            if array.size not in (1, int(np.prod(shape))):
                raise _refuse(
                    name, node, f"{field} has {array.size} values for {list(shape)} neurons", "check the shapes"
                )
            return array.reshape(()) if array.size == 1 else terms.to_channel_last(array.reshape(shape))

        arriving = terms.late(arriving, reading.behind)
        beta, gain, alpha, leak = np.ones(()), np.ones(()), None, np.zeros(())
        if kind == "IF":
            gain = values("r")
            if reading.dt is not None and bool((np.abs(gain * reading.dt - 1) < 1e-3).all()):
                gain = np.ones(())
        else:
            tau, r = values("tau_mem" if kind == "CubaLIF" else "tau"), values("r")
            beta, leak = self._kept(name, node, tau), values("v_leak")
            endless = np.isinf(tau) & np.isinf(r)  # snnTorch's way to write a membrane that keeps all
            gain = np.where(endless, 1.0, (1 - beta) * np.where(endless, 1.0, r))
        rest = np.zeros(()) if kind == "LI" else values("v_reset")
        said = getattr(node, "metadata", None) or {}  # of `to_nir`
        subtracts = said.get("reset", reading.reset) == "subtract"
        reset: Reset = "none" if kind == "LI" else "subtract" if subtracts else "zero"
        late = said.get("reset_delay", json.dumps(reading.late)) == "true"
        if reset == "subtract" and rest.any():
            raise _refuse(name, node, "it resets by subtraction, but v_reset is not 0", "read it with the reset `zero`")
        push = (leak - rest) * (1 - beta)
        if kind == "CubaLIF":
            alpha = self._kept(name, node, values("tau_syn"))
            w_in, tau = values("w_in"), values("tau_syn")
            endless = np.isinf(tau) & np.isinf(w_in)
            gain = gain * np.where(endless, 1.0, (1 - alpha) * np.where(endless, 1.0, w_in))
            if push.any():
                raise _refuse(name, node, "it leaks to another value than it resets to", "set v_leak to v_reset")
        threshold = None if kind == "LI" else values("v_threshold") - rest
        made, bias = terms.projections(arriving, place, gain)
        return FloatPopulation(
            name, place, made, terms.least(beta), None if threshold is None else terms.least(threshold),
            terms.least(np.broadcast_to(bias + push, place)), None if alpha is None else terms.least(alpha),
            reset, late and reset != "none",
        )  # fmt: skip


def _in_order(found: dict[str, FloatPopulation], last: str) -> tuple[FloatPopulation, ...]:
    """Populations with their sources first and `last` last; a projection that closes a cycle, and would arrive in the
    timestep in which it starts, arrives one later, as every writer of recurrent networks has it."""
    distance, border = {INPUT: 0}, [INPUT]
    while border:
        border = [
            p.name for p in found.values()
            if p.name not in distance and any(q.source in border for q in p.projections)
        ]  # fmt: skip
        distance |= dict.fromkeys(border, max(distance.values()) + 1)
    waiting, done = dict(found), {INPUT: None}
    made: list[FloatPopulation] = []
    while waiting:

        def open_sources(p: FloatPopulation) -> bool:
            return any(q.delay == 0 and q.source not in (*done, p.name) for q in p.projections)

        others = [p for p in waiting.values() if p.name != last] or list(waiting.values())
        ready = [p for p in others if not open_sources(p)]
        chosen = min(ready or others, key=lambda p: distance.get(p.name, len(found)))
        projections = tuple(
            replace(q, delay=1) if q.delay == 0 and q.source not in done else q for q in chosen.projections
        )
        made.append(replace(chosen, projections=projections))
        done[chosen.name] = None
        del waiting[chosen.name]
    return tuple(made)


def _pair(value: Any, fill: int | None = None) -> Pair:
    """(vertical, horizontal) of a number or a list; of 1-D data the vertical one is `fill`."""
    numbers = [int(v) for v in np.ravel(value)]
    return (numbers[0] if fill is None else fill), numbers[-1]


def _geometry(kind: str, node: Any) -> tuple[Pair, Pair, Pair]:
    """Stride, padding and dilation of a convolution. Raises `ValueError` where `same` pads one side more."""
    flat = kind == "Conv1d"
    stride, dilation = (_pair(value, 1 if flat else None) for value in (node.stride, node.dilation))
    padding = node.padding
    if not isinstance(padding, str | bytes):
        return stride, _pair(padding, 0 if flat else None), dilation
    text = padding if isinstance(padding, str) else padding.decode()
    kernel = (1, *node.weight.shape[2:])[-2:]
    spans = [(kernel[axis] - 1) * dilation[axis] for axis in (0, 1)]
    same = text == "same" and not any(span % 2 for span in spans)
    check(text == "valid" or same, f"its padding is {text!r}: pad both sides alike, by an odd kernel or a number")
    return stride, ((spans[0] // 2, spans[1] // 2) if same else (0, 0)), dilation


def _shape_after(kind: str, node: Any, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that a node makes of another."""
    if kind == "Flatten":
        return (int(np.prod(shape)),)
    if kind in ("Conv1d", "Conv2d"):
        stride, padding, dilation = _geometry(kind, node)
        whole = (1, *node.weight.shape[2:])[-2:]
        kernel = tuple((whole[axis] - 1) * dilation[axis] + 1 for axis in (0, 1))
        return terms.window(shape, len(node.weight), (kernel[0], kernel[1]), stride, padding)
    kernel2, stride, padding = (_pair(value) for value in (node.kernel_size, node.stride, node.padding))
    return terms.window(shape, shape[0], kernel2, stride, padding)


def summary(graph: FloatGraph) -> Iterable[str]:
    """A line for each population: what was understood."""
    for population in graph.populations:
        sources = ", ".join(
            f"{q.op} of {q.source or 'the input'}" + (f", {q.delay} timesteps late" if q.delay else "")
            for q in population.projections
        )
        yield f"{population.name}: {size(population.shape)} neurons {population.shape} of {sources}"
