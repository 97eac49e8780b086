"""Random valid graphs: recurrence, skips, residual sums, delays, currents, every decoder, reset and leak, and edges."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any, Literal

import msgspec
import numpy as np
from hypothesis import strategies as st
from strategies import (
    CLAMPS,
    ENCODERS,
    OUTPUTS,
    _pool,
    _shape,
    _student,
    _weights,
    _window,
    random_policy,
    random_routes,
)

from sne_edge.ir.encoder import Encoder, EncoderKind, Shape
from sne_edge.ir.ensemble import LOGIT_LIMIT, QuantEnsemble
from sne_edge.ir.graph import INPUT, Alpha, Cell, Decoder, Graph, Leak, Population, Projection
from sne_edge.ir.graph_proof import prove_decoder, prove_population
from sne_edge.ir.layers import AvgPool, MaxPool, size
from sne_edge.ir.neuron import INT16, Bound, Decay
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

replace = msgspec.structs.replace
GRAPH_ENCODERS: tuple[EncoderKind, ...] = (*ENCODERS, "frames")
DECODERS = [("current", "final"), ("count", "final"), ("first", "final")] + [
    ("membrane", take) for take in ("final", "highest", "mean")
]
SUMS = [("current", "final"), ("count", "final"), ("membrane", "mean")]


def graph_ensembles(**options: Any) -> st.SearchStrategy[QuantEnsemble]:
    """Valid ensembles with a graph; `options` as of `random_graph_ensemble`."""
    sources = st.one_of(st.randoms(use_true_random=False), st.integers(0, 2**32 - 1).map(random.Random))
    return sources.map(lambda rng: random_graph_ensemble(rng, **options))


def random_graph_ensemble(
    rng: random.Random,
    kind: EncoderKind | None = None,
    students: int | None = None,
    chains: bool = True,
    standard: bool = False,
    sums: bool = False,
) -> QuantEnsemble:
    """One valid ensemble of graphs, and with `chains` perhaps of chains too; `standard`: without `OWN_FEATURES`;
    `sums`: with decoders that add up over time, and gains that leave room for more."""
    encoder = Encoder(
        kind or rng.choice(GRAPH_ENCODERS),
        _shape(rng),
        rng.choice((1, 2, 3, 5, 6)),
        seed=rng.choice((0, 12345, 2**32 - 1)),
    )
    classes, count = rng.choice((2, 3, 7, 10)), students or rng.choice((1, 1, 2, 3))
    members = [graph_student(rng, encoder, classes, count, standard, sums)]
    while len(members) < count:
        chain = chains and encoder.kind != "frames" and rng.random() < 0.4
        members.append(
            _chain(rng, encoder, classes, count)
            if chain
            else graph_student(rng, encoder, classes, count, standard, sums)
        )
    rng.shuffle(members)
    ensemble = QuantEnsemble(
        name="random-graph",
        encoder=encoder,
        students=tuple(members),
        bias=np.array([rng.randint(-1000, 1000) for _ in range(classes)], np.int32),
        order=tuple(rng.sample(range(count), count)),
        classes=tuple(f"class {c}" for c in range(classes)),
        logit_scale=1.0,
        policy=random_policy(rng, members, encoder.timesteps),
        vectors=no_vectors(encoder, classes, members),
    )
    if rng.random() < 0.5:
        ensemble = replace(ensemble, routes=random_routes(rng, classes, count))
    able = all(isinstance(s.graph, Graph) or len(s.layers) > 1 for s in members)
    if rng.random() < 0.4 and encoder.timesteps > 1 and able:
        policy = random_policy(rng, members, encoder.timesteps, "cascade")
        early = tuple(rng.choice((0, 1, 100, 10**4, 2**31 - 1)) for _ in range(count * (encoder.timesteps - 1)))
        ensemble = replace(ensemble, policy=replace(policy, early=early))
    return ensemble


def _chain(rng: random.Random, encoder: Encoder, classes: int, students: int) -> QuantStudent:
    return _student(rng, encoder, classes, students, None)


def graph_student(
    rng: random.Random, encoder: Encoder, classes: int, students: int, standard: bool = False, sums: bool = False
) -> QuantStudent:
    while True:
        try:
            graph = _graph(rng, encoder, classes, LOGIT_LIMIT // students - 10**5, standard, SUMS if sums else DECODERS)
            break
        except ValueError:
            continue
    reach = max(1, -graph.decoder.bound.low, graph.decoder.bound.high)
    room = (LOGIT_LIMIT // students - 10**4) // reach
    gains = (1,) if sums else (1, 1, 5, 2**31)
    gain = np.array([max(1, min(rng.choice(gains), room)) for _ in range(classes)], np.int32)
    bias = np.array([rng.randint(-500, 500) for _ in range(classes)], np.int32)
    return QuantStudent((), (), gain, bias, max_ops=rng.choice((0, 1000)), graph=graph)


def _graph(
    rng: random.Random, encoder: Encoder, classes: int, room: int, standard: bool, decoders: list[tuple[Any, Any]]
) -> Graph:
    count = rng.randint(1, 5)
    shapes: list[Shape] = [_population_shape(rng, encoder) for _ in range(count - 1)]
    shapes.append((1, 1, classes))
    kind, take = rng.choice(decoders)
    spiking = [True] * (count - 1) + [kind in ("count", "first") or (kind == "membrane" and rng.random() < 0.5)]
    mains = []
    for n in range(count):
        mains.append(_main(rng, encoder, n, shapes))
        shapes[n] = mains[n].out_shape if mains[n].op != "linear" else shapes[n]
    populations = []
    for n, shape in enumerate(shapes):
        extras = [_extra(rng, encoder, n, shapes, spiking) for _ in range(rng.choice((0, 0, 1, 1, 2)))]
        given = () if rng.random() < 0.05 else (mains[n], *extras)
        populations.append(_population(rng, encoder, n, shape, given, spiking[n], kind == "current", standard))
    decoder = Decoder(kind, take, clamp=None)
    if decoder.sums:
        leak = rng.choice((Decay(), Decay("shift", 2), Decay("q15", 30000)))
        clamp = rng.choice((None, (-3, 2), (-(2**14), 2**14)))
        clamp = (-(2**14), 2**14) if encoder.streams and leak.kind == "none" and clamp is None else clamp
        decoder = replace(decoder, leak=leak, clamp=clamp)
    bound = prove_decoder(decoder, populations[-1], encoder)
    if bound is None or max(-bound.low, bound.high) > room:
        raise ValueError("no room")
    return Graph(tuple(populations), replace(decoder, bound=bound))


def _population_shape(rng: random.Random, encoder: Encoder) -> Shape:
    if rng.random() < 0.4:
        return 1, 1, rng.choice(OUTPUTS)
    return rng.choice((1, 2, 3)), rng.choice((1, 3, 4)), rng.choice((1, 2, 4, 9, 16))


def _source_shape(encoder: Encoder, source: int, shapes: list[Shape]) -> Shape:
    return encoder.shape if source == INPUT else shapes[source]


def _main(rng: random.Random, encoder: Encoder, n: int, shapes: list[Shape]) -> Projection:
    """The projection that says which shape a population has, from the input or an earlier population."""
    source = INPUT if n == 0 else rng.choice([INPUT, *range(n), n - 1, n - 1])
    analog = source == INPUT and encoder.multiplies
    delay = 0 if analog else rng.choice((0, 0, 0, 1, 2, 4))
    shape = in_shape = _source_shape(encoder, source, shapes)
    pools: tuple[AvgPool | MaxPool, ...] = ()
    for kind in () if analog else rng.choice(((), (), (AvgPool,), (MaxPool,), (MaxPool, AvgPool), (AvgPool, AvgPool))):
        pools += (_pool(rng, kind, shape),)
        shape = pools[-1].out_shape
    last = n == len(shapes) - 1
    op = "linear" if last else rng.choice(["linear", "conv", "conv"] + ([] if analog else ["depthwise", "identity"]))
    shared: dict[str, Any] = {"source": source, "in_shape": in_shape, "pools": pools, "delay": delay}
    bits = rng.choice((8, 8, 4)) if op in ("linear", "conv") and not analog else 8
    if op == "linear":
        weight = _weights(rng, (size(shapes[n]), size(shape)))
    elif op == "identity":
        weight = _weights(rng, (shape[2],))
    else:
        kernel, stride, padding = _window(rng, shape)
        channels = shape[2] if op == "depthwise" else rng.choice(OUTPUTS[:6])
        weight = _weights(rng, (channels, 1 if op == "depthwise" else shape[2], *kernel))
        shared |= {"stride": stride, "padding": padding}
    projection = Projection(op=op, weight=weight if bits == 8 else weight >> 4, bits=bits, **shared)
    if op != "linear" and rng.random() < 0.35:
        projection = replace(projection, largest=_pool(rng, MaxPool, projection.out_shape))
    return projection


def _extra(rng: random.Random, encoder: Encoder, n: int, shapes: list[Shape], spiking: list[bool]) -> Projection:
    """One more projection: a skip, a residual, or recurrence from itself or later on."""
    shape = shapes[n]
    later = [source for source in (n, n, *range(n, len(shapes))) if spiking[source]]
    source = rng.choice([INPUT, *range(n), *later])
    analog = source == INPUT and encoder.multiplies
    delay = 0 if analog else rng.choice((1, 1, 3) if source >= n else (0, 0, 1, 3))
    given = _source_shape(encoder, source, shapes)
    ops = ["linear"]
    if given == shape and not analog:
        ops += ["identity", "identity", "depthwise"]
    if given[:2] == shape[:2]:
        ops += ["conv"]
    op = rng.choice(ops)
    near = {"stride": (1, 1), "padding": (1, 1)}
    if op == "linear":
        weight, near = _weights(rng, (size(shape), size(given))), {}
    elif op == "identity":
        weight, near = _weights(rng, (shape[2],)), {}
    else:
        weight = _weights(rng, (shape[2], 1 if op == "depthwise" else given[2], 3, 3))
    return Projection(source=source, in_shape=given, op=op, weight=weight, delay=delay, **near)


def _leak(rng: random.Random, channels: int, neurons: int) -> Leak:
    kind = rng.choice(("none", "shift", "shift", "q15", "each", "each"))
    if kind == "none":
        return Leak("none", np.zeros(1, np.int32))
    if kind == "shift":
        return Leak("shift", np.array([rng.choice((1, 2, 5, 15))], np.int32))
    numbers = np.random.default_rng(rng.getrandbits(32))
    many = 1 if kind == "q15" else rng.choice((channels, neurons))
    return Leak("q15", numbers.choice(np.array([0, 1, 16384, 20000, 31000, 32767], np.int32), many))


def _alpha(rng: random.Random, channels: int, neurons: int) -> Alpha:
    numbers = np.random.default_rng(rng.getrandbits(32))
    share = numbers.integers(0, 2**15, rng.choice((1, channels, neurons)), dtype=np.int32)
    return Alpha(Leak("q15", share), numbers.integers(0, 300, rng.choice((channels, neurons)), dtype=np.int32))


def _population(
    rng: random.Random,
    encoder: Encoder,
    n: int,
    shape: Shape,
    projections: tuple[Projection, ...],
    spikes: bool,
    readout: bool,
    standard: bool,
) -> Population:
    channels, neurons = shape[2], size(shape)
    numbers = np.random.default_rng(rng.getrandbits(32))
    analog = encoder.multiplies and any(p.source == INPUT for p in projections)
    last = not spikes and readout
    resets = ("subtract", "subtract", "zero", "none", *(() if standard else ("doubled", "refractory")))
    reset = rng.choice(resets) if spikes else "none"
    leak = Leak("none", np.zeros(1, np.int32)) if last else _leak(rng, channels, neurons)
    clamp = None if last else rng.choice((None, None, None, *CLAMPS[1:]))
    cell = Cell(
        leak,
        spikes,
        reset,
        reset == "refractory" or (reset not in ("none", "doubled") and rng.random() < 0.5),
        clamp,
        _leak(rng, channels, neurons) if not last and rng.random() < 0.4 else msgspec.UNSET,
    )
    if cell.current_leak is not msgspec.UNSET and not standard and rng.random() < 0.5:
        cell = replace(
            cell,
            reset="subtract" if cell.reset in ("zero", "doubled") else cell.reset,
            reset_delay=cell.reset != "none",
            clamp=None,
            alpha=_alpha(rng, channels, neurons),
        )
    reach = rng.choice((0, 50, 50, 2000)) * (20 if analog else 1)
    bias = numbers.integers(-reach, reach + 1, rng.choice((channels, channels, neurons)), dtype=np.int32)
    top = rng.choice((2, 60, 300, 300, 2**20)) * (40 if analog else 1)
    threshold = numbers.integers(max(1, top // 3), top, rng.choice((channels, channels, neurons)), dtype=np.int32)
    made = Population(
        name=f"p{n}",
        shape=shape,
        projections=projections,
        neuron=cell,
        bias=bias,
        scale=np.ones(channels),
        bound=Bound(0, 0),
        threshold=threshold if spikes else msgspec.UNSET,
        current_bound=Bound(0, 0) if cell.current_leak is not msgspec.UNSET else msgspec.UNSET,
    )
    return _fitted(rng, made, encoder, last)


def _fitted(rng: random.Random, made: Population, encoder: Encoder, readout: bool) -> Population:
    """The population with its proven bounds, given a clamp where it needs one, often right at the edge of 16 bits."""

    def bounded(changed: Population) -> Population:
        proof = prove_population(changed, encoder)
        if proof.membrane is None:
            raise ValueError("unbounded")
        bounds: dict[str, Any] = {"bound": proof.membrane}
        return replace(changed, **bounds | ({} if proof.current is None else {"current_bound": proof.current}))

    try:
        found = bounded(made)
    except ValueError:
        if readout:
            raise
        if made.neuron.alpha is not msgspec.UNSET:
            raise
        found = bounded(replace(made, neuron=replace(made.neuron, clamp=(-(2**20), 2**20))))
    edge: Literal["high", "low"] | None = rng.choice((None, None, "high", "low"))
    if edge is None or max(-found.bound.low, found.bound.high) > INT16[1]:
        return found
    sign, low, high = (1 if edge == "high" else -1), 0, 2**17
    while high - low > 1:
        middle = (low + high) // 2
        try:
            fits = bounded(replace(found, bias=(found.bias + sign * middle).astype(np.int32))).width == 16
        except ValueError:
            fits = False
        low, high = (middle, high) if fits else (low, middle)
    beyond = rng.choice((0, 0, 1))
    try:
        return bounded(replace(found, bias=(found.bias + sign * (low + beyond)).astype(np.int32)))
    except ValueError:
        return found


def features(ensemble: QuantEnsemble) -> Counter[str]:
    """What there is in an ensemble's graphs, for tests that must have met everything."""
    found: Counter[str] = Counter([f"input {ensemble.encoder.kind}"])
    found["early"] += bool(ensemble.policy.early)
    for student in ensemble.students:
        graph = student.graph
        if not isinstance(graph, Graph):
            found["chain beside"] += 1
            continue
        found[f"decoder {graph.decoder.kind} {graph.decoder.take}"] += 1
        found["decoder leak"] += graph.decoder.leak.kind != "none"
        for n, p in enumerate(graph.populations):
            cell = p.neuron
            found[f"reset {cell.reset} {'late' if cell.reset_delay else 'at once'}"] += 1
            found["cuba"] += bool(p.current_width)
            found[f"alpha {cell.reset}"] += cell.alpha is not msgspec.UNSET
            found["refractory cuba"] += cell.reset == "refractory" and bool(p.current_width)
            found["cuba li"] += bool(p.current_width) and not cell.spikes
            found["leak by neuron"] += 1 < p.channels < p.neurons and cell.leak.value.size == p.neurons
            found["leak by channel"] += p.channels > 1 and cell.leak.value.size == p.channels
            found["threshold by neuron"] += p.channels < p.neurons and np.size(p.threshold) == p.neurons
            found[f"{p.width} bits"] += 1
            found["at the edge"] += p.bound.high == INT16[1] or p.bound.low == INT16[0]
            found["clamp"] += cell.clamp is not None
            found["several projections"] += len(p.projections) > 1
            identities = [q for q in p.projections if q.op == "identity"]
            found["residual"] += bool(identities) and len(p.projections) > 1
            for q in p.projections:
                found[f"op {q.op}"] += 1
                found["4 bits"] += q.bits == 4
                found["recurrent"] += q.source == n
                found["feedback"] += q.source > n
                found["skip"] += INPUT < q.source < n - 1 or (q.source == INPUT and n > 0)
                found["delay"] += q.delay > 1
                found["pooled currents"] += q.largest is not msgspec.UNSET
                found["pooled spikes"] += bool(q.pools)
                found["linear into a map"] += q.op == "linear" and p.positions > 1
    return +found


OWN_FEATURES = {  # of snnTorch's neurons, which other formats have no words for
    "reset refractory late",
    "reset doubled at once",
    "refractory cuba",
    "alpha subtract",
    "alpha refractory",
    "alpha none",
}
EVERY_FEATURE = {
    *(f"decoder {kind} {take}" for kind, take in DECODERS),
    *(f"reset {reset} {when}" for reset in ("subtract", "zero") for when in ("late", "at once")),
    *OWN_FEATURES,
    *("reset none at once", "cuba", "cuba li", "leak by neuron", "leak by channel", "threshold by neuron", "16 bits"),
    *("32 bits", "at the edge", "clamp", "several projections", "residual", "op linear", "op conv", "op depthwise"),
    *(
        "op identity",
        "4 bits",
        "recurrent",
        "feedback",
        "skip",
        "delay",
        "pooled currents",
        "pooled spikes",
        "linear into a map",
    ),
    *("decoder leak", "chain beside", "early"),
}
