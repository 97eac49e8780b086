"""Random valid ensembles and inputs, small but with every kind of layer, neuron, encoder and policy, edges included.

`ensembles()` is a Hypothesis strategy; `random_ensemble(random.Random(seed))` makes the same kind from a seed.
"""

from __future__ import annotations

import itertools
import os
import random
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any, Literal

import msgspec
import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from sne_edge.check.verify import ReferenceEngine
from sne_edge.ir.encoder import Encoder, EncoderKind, Shape
from sne_edge.ir.ensemble import LOGIT_LIMIT, QuantEnsemble
from sne_edge.ir.graph import INPUT, Graph
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, Pair, SynapticLayer, size, window_out
from sne_edge.ir.neuron import INT16, INT32, Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy, pair_row
from sne_edge.ir.proof import prove_layer, worst_ops
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.quantize.calibrate import golden_vectors

ENCODERS: tuple[EncoderKind, ...] = ("direct", "rate", "events")
OUTPUTS = (1, 2, 3, 5, 8, 9, 16, 19, 33, 40)  # around the block sizes of the accumulation kernels
CLAMPS = ((0, 0), (-5, 9), (-5000, 300), INT16, (-(2**15), 2**15), (-(2**30), 2**30), INT32)


def examples(count: int) -> settings:
    """Settings for `count` examples, always the same ones; with EXPLORE=1 in the environment, new ones at every run."""
    return settings(
        max_examples=count,
        deadline=None,
        derandomize=not os.environ.get("EXPLORE"),
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def ensembles(**options: Any) -> st.SearchStrategy[QuantEnsemble]:
    """Valid ensembles; `options` as of `random_ensemble`. Shrinks toward few, small layers."""
    sources = st.one_of(st.randoms(use_true_random=False), st.integers(0, 2**32 - 1).map(random.Random))
    return sources.map(lambda rng: random_ensemble(rng, **options))


REFUSED = Counter[str]()  # what `random_ensemble` drew and had to draw again, and why: no more than one in a hundred


def random_ensemble(
    rng: random.Random,
    kind: EncoderKind | None = None,
    width: Literal[16, 32] | None = None,
    students: int | None = None,
    name: str = "random-net",
    vectors: int = 0,
) -> QuantEnsemble:
    """One valid ensemble. `width`: all membranes have that many bits; `vectors`: how many golden vectors it carries.

    It always makes one: what the representation refuses is drawn anew, and counted in `REFUSED`.
    """
    while True:
        try:
            made = _drawn(rng, kind, width, students, name, vectors)
        except ValueError as error:
            REFUSED[str(error)] += 1
            assert REFUSED.total() < 100, f"hardly any network is valid: {REFUSED.most_common(5)}"
        else:
            return made


def traits(ensemble: QuantEnsemble) -> set[str]:
    """What occurs in an ensemble: kinds of layers, which follows which, 1x1 poolings with a stride, and the widths that
    shifted currents have."""
    found = {"network"}
    for student in ensemble.students:
        kinds = [type(layer).__name__.lower() for layer in student.layers]
        first = student.layers[0]
        if isinstance(first, SynapticLayer) and first.current_shift:
            found.add(f"shifted to {first.width}")
        found |= {*kinds, *(f"{a} {b}" for a, b in itertools.pairwise(kinds))}
        for layer, kind, after in zip(student.layers, kinds, kinds[1:], strict=False):
            if not isinstance(layer, SynapticLayer) and layer.kernel == (1, 1) and max(layer.stride) > 1:
                found.add(f"strided 1x1 {kind} {after}")
        if ensemble.encoder.shape[1] > 60:
            found.add("wide")
    return found


def _drawn(
    rng: random.Random,
    kind: EncoderKind | None,
    width: Literal[16, 32] | None,
    students: int | None,
    name: str,
    vectors: int,
) -> QuantEnsemble:
    encoder = Encoder(
        kind or rng.choice(ENCODERS), _shape(rng), rng.choice((1, 2, 3, 5)), seed=rng.choice((0, 1, 12345, 2**32 - 1))
    )
    classes = rng.choice((2, 3, 7, 10))
    count = students or rng.randint(1, 4)
    members = tuple(_student(rng, encoder, classes, count, width) for _ in range(count))
    ensemble = QuantEnsemble(
        name=name,
        encoder=encoder,
        students=members,
        bias=np.array([rng.randint(-1000, 1000) for _ in range(classes)], np.int32),
        order=tuple(rng.sample(range(count), count)),
        classes=tuple(f"class {c}" for c in range(classes)),
        logit_scale=1.0,
        policy=random_policy(rng, members, encoder.timesteps),
        vectors=no_vectors(encoder, classes, members),
    )
    if rng.random() < 0.7:
        ensemble = msgspec.structs.replace(ensemble, routes=random_routes(rng, classes, count))
        if rng.random() < 0.3:
            policy = random_policy(rng, members, encoder.timesteps, "routed")
            ensemble = msgspec.structs.replace(ensemble, policy=policy)
    if rng.random() < 0.3:
        ensemble = with_early(rng, ensemble)
    return with_vectors(ensemble, random_inputs(rng, ensemble, vectors)[:vectors]) if vectors else ensemble


def random_routes(rng: random.Random, classes: int, students: int) -> np.ndarray:
    """A route for each pair of classes, uint8 [pairs, students]."""
    numbers = np.random.default_rng(rng.getrandbits(32))
    routes: np.ndarray = numbers.permuted(
        np.tile(np.arange(students, dtype=np.uint8), (pair_row(0, classes), 1)), axis=1
    )
    return routes


def with_early(rng: random.Random, ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble under a cascade that may end its students early; itself where one is a readout alone."""
    count, steps = len(ensemble.students), ensemble.encoder.timesteps - 1
    if steps == 0 or any(len(student.layers) < 2 for student in ensemble.students):
        return ensemble
    kind = "cascade" if ensemble.routes is None else rng.choice(("cascade", "routed"))
    policy = random_policy(rng, ensemble.students, ensemble.encoder.timesteps, kind)
    early = tuple(rng.choice((0, 1, 100, 1000, 10**4, 10**6, 2**31 - 1)) for _ in range(count * steps))
    return msgspec.structs.replace(ensemble, policy=msgspec.structs.replace(policy, early=early))


def random_policy(
    rng: random.Random, students: Iterable[QuantStudent], timesteps: int, kind: str | None = None
) -> ActivationPolicy:
    """A policy that fits; its figures are of the size at which they matter."""
    members = tuple(students)
    count = len(members)
    kind = kind or rng.choice(("all", "first", "mask", "cascade", "budget"))
    steps = rng.choice((0, 0, rng.randint(1, timesteps)))
    if kind == "first":
        return ActivationPolicy("first", students=rng.randint(1, count), timesteps=steps)
    if kind == "mask":
        return ActivationPolicy("mask", mask=rng.randint(1, 2**count - 1), timesteps=steps)
    if kind in ("cascade", "routed"):
        margins = tuple(rng.choice((0, 1, 50, 5000, 10**6, 2**31 - 1)) for _ in range(count - 1))
        return ActivationPolicy(kind, margins=margins, timesteps=steps)  # type: ignore[arg-type]
    if kind == "budget":
        total = sum(member.max_ops for member in members)
        return ActivationPolicy("budget", max_ops=rng.choice((1, max(1, total // 2), 2**32 - 1)), timesteps=steps)
    return ActivationPolicy("all", timesteps=steps)


def every_policy(rng: random.Random, ensemble: QuantEnsemble) -> list[ActivationPolicy]:
    """The ensemble's own policy and one of each kind that it can follow."""
    kinds = ("all", "first", "mask", "cascade", "budget", *(() if ensemble.routes is None else ("routed",)))
    return [
        ensemble.policy,
        *(random_policy(rng, ensemble.students, ensemble.encoder.timesteps, kind) for kind in kinds),
    ]


def random_inputs(rng: random.Random, ensemble: QuantEnsemble, count: int = 8) -> np.ndarray:
    """At least six samples, uint8 [N, input_bytes]: constant extremes, worst cases of the first layer, random ones."""
    encoder, length = ensemble.encoder, ensemble.encoder.input_bytes
    numbers = np.random.default_rng(rng.getrandbits(32))
    rows = [np.full(length, byte, np.uint8) for byte in (0x80, 0x7F, 0xFF, 0x00)]
    rows += worst_inputs(ensemble, rng.randrange(len(ensemble.students)))
    while len(rows) < count:
        row = numbers.integers(0, 256, length, dtype=np.uint8)
        if encoder.kind == "events":
            row &= numbers.integers(0, 256, length, dtype=np.uint8) & numbers.integers(0, 256, length, dtype=np.uint8)
        rows.append(np.where(numbers.random(length) < rng.choice((0.2, 1.0)), row, 0).astype(np.uint8))
    return np.stack(rows)


def worst_inputs(ensemble: QuantEnsemble, student: int) -> list[np.ndarray]:
    """Two samples that drive one neuron of a student's first layer as high and as low as they can."""
    encoder, layer = ensemble.encoder, _first_weights(ensemble.students[student])
    if layer is None:
        return []
    received = np.zeros(encoder.size, dtype=np.int64)  # what the middle neuron's weight on each input is
    if isinstance(layer, Linear):
        received += layer.weight[layer.channels // 2]
    else:
        weight = np.zeros((1, *layer.in_shape), dtype=np.int64)
        top, left = (layer.out_shape[a] // 2 * layer.stride[a] - layer.padding[a] for a in (0, 1))
        for y in range(layer.kernel[0]):
            for x in range(layer.kernel[1]):
                if 0 <= top + y < layer.in_shape[0] and 0 <= left + x < layer.in_shape[1]:
                    weight[0, top + y, left + x, : layer.depth] = layer.weight[0, :, y, x]
        received += weight.reshape(-1)
    samples = []
    for sign in (1, -1):
        wanted = sign * received > 0
        if encoder.kind == "events":
            samples.append(encoder.encode(np.broadcast_to(wanted, (1, encoder.timesteps, encoder.size)))[0])
        else:
            frames = encoder.input_bytes // encoder.size
            samples.append(np.tile(np.where(wanted, 127, -128).astype(np.int8).view(np.uint8), frames))
    return samples


def _first_weights(student: QuantStudent) -> Linear | Conv | None:
    """What meets the input, where no pooling is in between."""
    if isinstance(student.graph, Graph):
        projections = [q for p in student.graph.populations for q in p.projections]
        met = [q.synapses for q in projections if q.source == INPUT and not q.pools and q.op != "identity"]
        return met[0] if met else None
    return student.layers[0] if isinstance(student.layers[0], Linear | Conv) else None


def with_vectors(ensemble: QuantEnsemble, inputs: np.ndarray) -> QuantEnsemble:
    """The ensemble with golden vectors on `inputs`, as the reference computes them."""
    return msgspec.structs.replace(ensemble, vectors=golden_vectors(ReferenceEngine(ensemble), inputs))


def proven(layer: SynapticLayer, encoder: Encoder, first: bool = True, multiplicity: int = 1) -> SynapticLayer:
    """The layer with the bound that is proved for it; `ValueError` where there is none in 32 bits."""
    bound = prove_layer(layer, encoder, first, multiplicity)
    if bound is None:
        raise ValueError("unbounded")
    return msgspec.structs.replace(layer, bound=bound)


def _shape(rng: random.Random) -> Shape:
    if rng.random() < 0.06:
        return 1, rng.choice((63, 64, 65, 130)), 1
    if rng.random() < 0.5:
        return 1, rng.choice((1, 4, 9, 14)), rng.choice((1, 2, 3))
    return rng.choice((2, 3, 5)), rng.choice((2, 4, 6)), rng.choice((1, 2, 3))


def _student(
    rng: random.Random, encoder: Encoder, classes: int, students: int, width: Literal[16, 32] | None
) -> QuantStudent:
    layers: list[Layer] = []
    shape, multiplicity = encoder.shape, 1
    for _ in range(rng.randint(0, 4)):
        first = not layers
        kinds = ["linear", "conv", "conv"] + ([] if first and encoder.kind == "direct" else ["avg", "depthwise"])
        if "avg" in kinds and multiplicity == 1:
            kinds.append("max")
        op = rng.choice(kinds)
        layer: Layer
        if op in ("avg", "max"):
            layer = _pool(rng, AvgPool if op == "avg" else MaxPool, shape)
            multiplicity *= layer.kernel[0] * layer.kernel[1] if op == "avg" else 1
        else:
            layer = _synaptic(rng, op, shape, encoder, first, multiplicity, width)
            multiplicity = 1
        layers.append(layer)
        shape = layer.out_shape
    layers.append(_readout(rng, shape, classes, encoder, not layers, multiplicity, students, width))
    bias = np.array([rng.randint(-500, 500) for _ in range(classes)], np.int32)
    room = LOGIT_LIMIT // students - 10**4
    reach = max(1, -layers[-1].bound.low, layers[-1].bound.high)  # type: ignore[union-attr]
    gain = np.array([rng.choice((1, 1, min(3, room // reach), room // reach)) for _ in range(classes)], np.int32)
    student = QuantStudent(layers=tuple(layers), features=(), gain=gain, bias=bias)
    most = sum(worst_ops(student, encoder))
    measured = tuple(rng.choice((0, 10**6)) for _ in layers)  # few spikes or many: another kernel
    return msgspec.structs.replace(student, mean_ops=0, max_ops=rng.choice((0, most // 8, most)), layer_ops=measured)


def _window(rng: random.Random, shape: Shape, most: int = 4) -> tuple[Pair, Pair, Pair]:
    """Kernel, stride (also beyond the kernel) and padding of a window that fits."""

    def axis(length: int) -> tuple[int, int, int]:
        if length == 1 and rng.random() < 0.7:
            return 1, 1, 0
        padding = rng.choice((0, 0, 1, 2))
        kernel = rng.randint(min(padding + 1, most), max(1, min(most, length + 2 * padding)))
        return kernel, rng.choice((1, 1, 2, 3, 5)), min(padding, kernel - 1)

    rows, columns = axis(shape[0]), axis(shape[1])
    kernel, stride, padding = ((rows[i], columns[i]) for i in range(3))
    if min(window_out(shape, kernel, stride, padding)) < 1:
        return (1, 1), stride, (0, 0)
    return kernel, stride, padding


def _pool(rng: random.Random, kind: type[AvgPool] | type[MaxPool], shape: Shape) -> AvgPool | MaxPool:
    kernel, stride, padding = _window(rng, shape, 3)
    if rng.random() < 0.3:  # as it is, but thinned out
        kernel, padding = (1, 1), (0, 0)
    return kind(shape, (*window_out(shape, kernel, stride, padding), shape[2]), kernel, stride, padding)


def _neuron(rng: random.Random, steps: bool) -> Neuron:
    """A firing neuron; `steps`: the number of timesteps is limited, so that one without a clamp can be proved."""
    clamp = rng.choice((None, None, *CLAMPS))
    reset: Literal["subtract", "zero"] = rng.choice(("subtract", "zero"))
    delay = reset == "subtract" and rng.random() < 0.5
    decay = rng.choice((Decay("shift", rng.choice((1, 2, 5, 15))), Decay("q15", rng.choice((0, 1, 20000, 32767)))))
    if rng.random() < 0.3:
        return Neuron("if", reset=reset, reset_delay=delay, clamp=clamp if steps else clamp or (-(2**20), 2**20))
    return Neuron("lif", decay, reset, delay, clamp)


def _weights(rng: random.Random, shape: tuple[int, ...]) -> np.ndarray:
    numbers = np.random.default_rng(rng.getrandbits(32))
    style = rng.choice(("small", "wide", "wide", "low", "high", "extremes", "zero"))
    if style in ("low", "high", "zero"):
        return np.full(shape, {"low": -128, "high": 127, "zero": 0}[style], np.int8)
    if style == "extremes":
        return numbers.choice(np.array([-128, 127], np.int8), shape)
    reach = 3 if style == "small" else 128
    return numbers.integers(-reach, reach, shape, dtype=np.int8)


def _narrowed(rng: random.Random, weight: np.ndarray, wide: bool) -> tuple[np.ndarray, int]:
    """The weights and their bits: often 4, unless they must be `wide`."""
    if wide or rng.random() < 0.5:
        return weight, 8
    return weight >> 4, 4


def _synaptic(
    rng: random.Random,
    op: str,
    shape: Shape,
    encoder: Encoder,
    first: bool,
    multiplicity: int,
    width: Literal[16, 32] | None,
) -> SynapticLayer:
    channels = shape[2] if op == "depthwise" else rng.choice(OUTPUTS if op == "linear" else OUTPUTS[:6])
    neuron = _neuron(rng, encoder.kind != "events")
    analog = first and encoder.kind == "direct"
    if op == "linear":
        weight, geometry, out = _weights(rng, (channels, size(shape))), {}, (1, 1)
    else:
        kernel, stride, padding = _window(rng, shape)
        depth = 1 if op == "depthwise" else shape[2]
        weight, out = _weights(rng, (channels, depth, *kernel)), window_out(shape, kernel, stride, padding)
        geometry = {"stride": stride, "padding": padding}
    weight, bits = _narrowed(rng, weight, analog or op == "depthwise")
    numbers = np.random.default_rng(rng.getrandbits(32))
    top = rng.choice((2, 60, 600, 600, 2**20, 2**31 - 1)) * (40 if analog else 1)
    threshold = numbers.integers(max(1, min(top, 2**31) // 3), min(top, 2**31), channels, dtype=np.int32)
    layer = {"linear": Linear, "conv": Conv, "depthwise": Depthwise}[op](
        in_shape=shape,
        out_shape=(*out, channels),
        weight=weight,
        bias=_bias(rng, channels, analog),
        threshold=threshold,
        scale=np.ones(channels),
        neuron=neuron,
        bound=Bound(0, 0),
        bits=bits,
        current_shift=int(numbers.choice((0, 0, 1, 2, 5, 9, 14))) if analog else 0,
        **geometry,
    )
    return _fitted(rng, layer, encoder, first, multiplicity, width)


def _readout(
    rng: random.Random,
    shape: Shape,
    classes: int,
    encoder: Encoder,
    first: bool,
    multiplicity: int,
    students: int,
    width: Literal[16, 32] | None,
) -> SynapticLayer:
    decay = rng.choice((Decay(), Decay("shift", 3), Decay("q15", 29000)))
    clamp = rng.choice((None, *CLAMPS[:5]))
    if encoder.kind == "events" and decay.kind == "none":
        clamp = clamp or (-(2**20), 2**20)
    analog = first and encoder.kind == "direct"
    weight, bits = _narrowed(rng, _weights(rng, (classes, size(shape))), analog)
    bias = _bias(rng, classes, analog)
    layer = Linear(
        in_shape=shape,
        out_shape=(1, 1, classes),
        weight=weight,
        bias=bias,
        threshold=np.zeros(classes, np.int32),
        scale=np.ones(classes),
        neuron=Neuron("li", decay, reset="none", clamp=clamp),
        bound=Bound(0, 0),
        bits=bits,
        current_shift=int(bias[0]) % 4 if analog else 0,
    )
    room = LOGIT_LIMIT // students - 10**4
    return _fitted(rng, layer, encoder, first, multiplicity, width, room)


def _bias(rng: random.Random, channels: int, analog: bool) -> np.ndarray:
    numbers = np.random.default_rng(rng.getrandbits(32))
    reach = rng.choice((0, 50, 50, 2000, 2**22)) * (20 if analog else 1)
    return numbers.integers(-reach, reach + 1, channels, dtype=np.int32)


def _fitted(
    rng: random.Random,
    layer: SynapticLayer,
    encoder: Encoder,
    first: bool,
    multiplicity: int,
    width: Literal[16, 32] | None,
    room: int = INT32[1],
) -> SynapticLayer:
    """`layer` with its proven bound, changed where needed to fit in `width` bits, and often right at a width's edge."""

    def bound(changed: SynapticLayer) -> Bound | None:
        return prove_layer(changed, encoder, first, multiplicity)

    if bound(layer) is None:
        layer = msgspec.structs.replace(layer, neuron=msgspec.structs.replace(layer.neuron, clamp=(-(2**20), 2**20)))
    limit = INT16[1] if width == 16 else room
    for attempt in range(40):
        found = bound(layer)
        assert found is not None
        if max(-found.low, found.high) <= limit:
            break
        weight = layer.weight // 2 if attempt % 2 else layer.weight
        neuron = layer.neuron
        if neuron.clamp is not None:
            neuron = msgspec.structs.replace(neuron, clamp=(-(-neuron.clamp[0] // 2), neuron.clamp[1] // 2))
        threshold = np.maximum(layer.threshold // 2, 0 if neuron.kind == "li" else 1).astype(np.int32)
        bias = (layer.bias // 2 if attempt < 30 else layer.bias * 0).astype(np.int32)
        layer = msgspec.structs.replace(layer, weight=weight, neuron=neuron, threshold=threshold, bias=bias)
    edge = rng.choice((None, None, "high", "low"))
    if width != 32 and edge and max(-found.low, found.high) <= INT16[1]:
        layer = _to_edge(layer, bound, edge, rng.choice((0, 0, 1)) if width is None else 0)
    if width == 32:
        layer = _widened(layer, bound)
    return proven(layer, encoder, first, multiplicity)


def _to_edge(
    layer: SynapticLayer, bound: Callable[[SynapticLayer], Bound | None], side: str, beyond: int
) -> SynapticLayer:
    """Shift the biases so that the bound comes as near to int16's edge as it can, or just `beyond` it."""

    def shifted(offset: int) -> SynapticLayer:
        sign = 1 if side == "high" else -1
        return msgspec.structs.replace(layer, bias=(layer.bias + sign * offset).astype(np.int32))

    def inside(offset: int) -> bool:
        found = bound(shifted(offset))
        return found is not None and (found.high <= INT16[1] if side == "high" else found.low >= INT16[0])

    low, high = 0, 2**17
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if inside(middle) else (low, middle)
    moved = shifted(low + beyond)
    found = bound(moved)
    return moved if found is not None and (beyond or found.width == 16) else layer


def _widened(layer: SynapticLayer, bound: Callable[[SynapticLayer], Bound | None]) -> SynapticLayer:
    found = bound(layer)
    if found is not None and found.width == 16:
        bias = layer.bias.copy()
        bias[0] = 40000 << layer.current_shift
        changed = msgspec.structs.replace(layer, bias=bias)
        return changed
    return layer
