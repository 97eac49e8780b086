"""Random networks whose layers the cost model is fitted on: every kernel and kind of neuron, and many bodies of the
kind that a search tries.

Weights are such that membranes keep to 16 bits; thresholds do not matter, `cost.c` has its own.
"""

from __future__ import annotations

import itertools
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
from cost_jobs import NAME, ram_bytes
from networks import FEWEST
from sne_edge.codegen.layout import state_layout

from sne_edge.deploy.work import direct_kernel
from sne_edge.ir.encoder import Encoder, Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, SynapticLayer, size, window_out
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy, pair_row
from sne_edge.ir.proof import multiplicities, prove_layer, worst_ops
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

CHANNELS = (3, 4, 7, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
DECAYS = (Decay(), Decay("shift", 1), Decay("q15", 30000))
MODELS = 24
BODIES = 12  # networks of a search's bodies
STUDENTS = 6  # of each
RAM_BYTES = 10_000  # of the smallest board's
WEIGHTS = 190_000  # that its flash has room for
LEAST = 1  # layers in which everything is met, at least
STEPS = 3  # timesteps, so that 16 bits hold what IF neurons gather
KINDS = [
    (decay, reset, clamp)
    for decay in DECAYS
    for reset in ("subtract", "zero", "delayed")
    for clamp in (None, (-20000, 20000))
]
SHAPES: tuple[Shape, ...] = (
    *((1, 40, 1), (1, 64, 32), (1, 96, 3), (1, 50, 6), (14, 14, 1), (20, 20, 1), (12, 12, 3), (9, 9, 8)),
)
Kind = tuple[Decay, str, tuple[int, int] | None]


def neuron(kind: Kind) -> Neuron:
    """The firing neuron of a kind."""
    decay, reset, clamp = kind
    kept: Any = "zero" if reset == "zero" else "subtract"
    return Neuron("if" if decay.kind == "none" else "lif", decay, kept, reset == "delayed", clamp)


def make_model(rng: random.Random, number: int) -> QuantEnsemble:
    """A random ensemble of small students: every other one of a direct input, neurons of three kinds."""
    direct = number % 3 == 0
    shape: Shape = rng.choice([(1, 24, 4), (1, 40, 1), (8, 8, 2), (6, 6, 3), (1, 32, 8), (1, 1, 150)])
    encoder = Encoder("direct" if direct else "rate", shape, STEPS, seed=1)
    kinds = [KINDS[(7 * number + 5 * i) % len(KINDS)] for i in range(2)]
    plain = [kind for kind in KINDS if kind[2] is None and kind[1] != "delayed"]
    kinds += [plain[(number // 3 + number) % len(plain)], (Decay("shift", 1), "subtract", None)]  # what is usual
    count = 4 if direct else 3
    classes = rng.choice((FEWEST, 5, 10))
    early = tuple([2**31 - 1] * (count * (STEPS - 1))) if number % 4 < 2 else ()
    least = 1 if early else 0  # a readout alone cannot end early
    members = tuple(_student(rng, encoder, kinds, classes, least) for _ in range(count))
    policy = ActivationPolicy("cascade", margins=(2**31 - 1,) * (count - 1), early=early)
    return QuantEnsemble(
        NAME, encoder, members, np.zeros(classes, np.int32), tuple(range(count)),
        tuple(str(c) for c in range(classes)), 1.0, policy, no_vectors(encoder, classes, members),
        routes=np.tile(np.arange(count, dtype=np.uint8), (pair_row(0, classes), 1)),
    )  # fmt: skip


def _student(rng: random.Random, encoder: Encoder, kinds: Sequence[Kind], classes: int, least: int) -> QuantStudent:
    layers: list[Layer] = []
    wanted: list[bool] = []
    shape = encoder.shape
    pooled = False
    for depth in range(rng.choice((least, 2, 3, 4, 5))):
        first = depth == 0
        analog = first and encoder.kind == "direct"
        flat = shape[:2] == (1, 1)
        ops = ["linear"] if flat else ["linear", *["conv"] * 5, "block"]
        if not analog and not flat:
            ops += ["depthwise", "avg", *([] if pooled else ["max"])]
        op = rng.choice(ops) if not (first and not flat and rng.random() < 0.5) else "conv"
        if op in ("avg", "max"):
            kernel, stride = rng.choice([((2, 2), (2, 2)), ((3, 3), (2, 2))])
            kernel, stride = (
                (kernel[0] if shape[0] > 3 else 1, kernel[1]),
                (stride[0] if shape[0] > 3 else 1, stride[1]),
            )
            out = window_out(shape, kernel, stride, (0, 0))
            if min(out) < 1 or (op == "max" and pooled):
                continue
            layers.append((AvgPool if op == "avg" else MaxPool)(shape, (*out, shape[2]), kernel, stride))
            wanted.append(False)
            pooled, shape = op == "avg", layers[-1].out_shape
            continue
        layers.append(_synaptic(rng, op, shape, encoder, layers, kinds))
        wanted.append(rng.random() < 0.4)
        pooled, shape = False, layers[-1].out_shape
    readout = Neuron("li", rng.choice(DECAYS), "none", False, rng.choice((None, None, (-(2**14), 2**14))))
    layers.append(_made(rng, Linear, shape, (1, 1, classes), (classes, size(shape)), readout, encoder, layers, 8))
    wanted.append(False)
    return _measured(layers, encoder, wanted)


def _measured(layers: Sequence[Layer], encoder: Encoder, quiet: Sequence[bool]) -> QuantStudent:
    """The student of layers whose inputs all spike as it was measured, or of the quiet ones', none."""
    classes = layers[-1].out_shape[2]
    student = QuantStudent(tuple(layers), (), np.ones(classes, np.int32), np.zeros(classes, np.int32))
    worst = worst_ops(student, encoder)
    ops = tuple(0 if none else most for none, most in zip(quiet, worst, strict=True))
    return msgspec.structs.replace(student, layer_ops=ops, max_ops=sum(ops))


def _synaptic(
    rng: random.Random, op: str, shape: Shape, encoder: Encoder, before: Sequence[Layer], kinds: Sequence[Kind]
) -> Layer:
    bits = 4 if before and op != "depthwise" and rng.random() < 0.3 else 8
    cell, channels = neuron(rng.choice(list(kinds))), rng.choice(CHANNELS)
    if cell.decay.kind == "shift" and rng.random() < 0.4:
        cell = msgspec.structs.replace(cell, decay=Decay("shift", rng.choice((2, 3, 5))))
    if op == "linear":
        return _made(rng, Linear, shape, (1, 1, channels), (channels, size(shape)), cell, encoder, before, bits)
    kernel = tuple(1 if n == 1 else min(n, rng.choice((2, 3, 3, 5))) for n in shape[:2])
    stride = tuple(
        1 if n == 1 else (k if op == "block" else rng.choice((1, 1, 2))) for n, k in zip(shape, kernel, strict=False)
    )
    padding = tuple(0 if op == "block" else k // 2 for k in kernel)
    out = window_out(shape, kernel, stride, padding)  # type: ignore[arg-type]
    while out[0] * out[1] * channels > 1500:
        channels = channels // 2
    if op == "depthwise":
        channels = shape[2]
        depth = 1
    else:
        depth = shape[2]
    kind: Any = Depthwise if op == "depthwise" else Conv
    weight = (channels, depth, *kernel)
    return _made(
        rng, kind, shape, (*out, channels), weight, cell, encoder, before, bits, stride=stride, padding=padding
    )


def _made(
    rng: random.Random, kind: type[SynapticLayer], shape: Shape, out: Shape, weight: tuple[int, ...], cell: Neuron,
    encoder: Encoder, before: Sequence[Layer], bits: int, wide: float = 0.4, shifted: float = 0.5, **more: Any,
) -> Any:  # fmt: skip
    """A layer whose membranes have 16 or, now and then, 32 bits."""
    channels, numbers = out[2], np.random.default_rng(rng.getrandbits(32))
    fires = cell.kind != "li"
    layer = kind(
        in_shape=shape, out_shape=out, weight=numbers.integers(-1, 3, weight).astype(np.int8),
        bias=np.zeros(channels, np.int32), threshold=np.full(channels, 50 if fires else 0, np.int32),
        scale=np.ones(channels), neuron=cell, bound=Bound(0, 0), bits=bits, **more,
    )  # fmt: skip
    first = not before
    if first and fires and encoder.kind == "direct" and rng.random() < shifted:
        layer = msgspec.structs.replace(layer, current_shift=3)
    if rng.random() < wide:  # one channel that starts beyond 16 bits
        bias = layer.bias.copy()
        bias[0] = 40000
        clamp = None if cell.clamp is None else (-(10**6), 10**6)
        layer = msgspec.structs.replace(layer, bias=bias, neuron=msgspec.structs.replace(cell, clamp=clamp))
    many = multiplicities((*before, layer))[-1]
    bound = prove_layer(layer, encoder, first, many, buffered=True)
    assert bound is not None and bound.width <= 32
    return msgspec.structs.replace(layer, bound=bound)


def make_body_model(rng: random.Random, number: int) -> QuantEnsemble:
    """Students of bodies as a search draws them, in one kind of neuron: convolutions of a direct input with strides."""
    shape: Shape = rng.choice(SHAPES)
    encoder = Encoder("direct", shape, 1 + number % 4)
    decay = (Decay("shift", 1), Decay("shift", 2), Decay("q15", 30000), Decay("shift", 3))[number // 2 % 4]
    cell = Neuron("lif", decay, "zero" if number % 6 == 5 else "subtract")
    bits, classes = 4 if number % 3 == 1 else 8, rng.choice((2, 5, 10))
    members = tuple(_body_student(rng, encoder, cell, classes, bits) for _ in range(STUDENTS))
    policy = ActivationPolicy("cascade", margins=(2**31 - 1,) * (STUDENTS - 1))
    return QuantEnsemble(
        NAME, encoder, members, np.zeros(classes, np.int32), tuple(range(STUDENTS)), tuple(map(str, range(classes))),
        1.0, policy, no_vectors(encoder, classes, members), routes=np.tile(np.arange(STUDENTS, dtype=np.uint8),
        (pair_row(0, classes), 1)), )  # fmt: skip


def _body_student(rng: random.Random, encoder: Encoder, cell: Neuron, classes: int, bits: int) -> QuantStudent:
    layers: list[Layer] = []
    shape = encoder.shape
    for depth in range(rng.choice((1, 2, 2, 3))):
        kernel = tuple(1 if n == 1 else min(n, rng.randint(2, 8 if depth == 0 else 5)) for n in shape[:2])
        stride = tuple(1 if n == 1 else rng.randint(1, 4 if depth == 0 else 2) for n in shape[:2])
        if shape[0] > 1 and rng.random() < 0.8:  # square, mostly
            kernel, stride = (kernel[1],) * 2, (stride[1],) * 2
        padding = tuple(k // 2 for k in kernel)
        out = window_out(shape, kernel, stride, padding)  # type: ignore[arg-type]
        channels = 4 * rng.randint(1 if depth == 0 else 2, 8 if depth == 0 else 16)
        while out[0] * out[1] * channels > 4000:
            channels = 4 * max(1, channels // 8)
        weight = (channels, shape[2], *kernel)
        layers.append(
            _made(
                rng, Conv, shape, (*out, channels), weight, cell, encoder, layers, bits if layers else 8,
                wide=0.1, shifted=0.8, stride=stride, padding=padding,
            )
        )  # fmt: skip
        shape = layers[-1].out_shape
    if rng.random() < 0.2:
        outputs = 4 * rng.randint(2, 16)
        weight = (outputs, size(shape))
        layers.append(_made(rng, Linear, shape, (1, 1, outputs), weight, cell, encoder, layers, bits, wide=0.1))
        shape = layers[-1].out_shape
    weight = (classes, size(shape))
    readout = Neuron("li", Decay(), "none")
    layers.append(_made(rng, Linear, shape, (1, 1, classes), weight, readout, encoder, layers, 8, wide=0.3))
    return _measured(layers, encoder, [rng.random() < 0.15 for _ in layers])


def make_models(count: int, bodies: int) -> list[QuantEnsemble]:
    """So many networks and, of those that come next, the ones that bring what has been rare: every kernel, and every
    kind of code that fires neurons, is met. Behind them so many of a search's bodies."""
    kinds = [f"{decay.kind}.{reset}{'.clamp' if clamp else ''}" for decay, reset, clamp in KINDS]
    plain = [kind for kind in kinds if not kind.endswith(("clamp", "delayed"))]
    wanted = {"gather", "sweep", "scatter", "overlap", "collect", "depthwise", "mac", "maxpool"}
    wanted |= {f"{place}.16.{kind}" for place in ("one", "row", "scatter", "steps") for kind in plain}
    wanted |= {f"any.{width}.{kind}" for width in (16, 32) for kind in kinds if width == 32 or kind not in plain}
    models: list[QuantEnsemble] = []
    met = Counter[str]()
    for number in itertools.count():
        if len(models) >= count and all(met[name] >= LEAST for name in wanted):
            break
        model = make_model(random.Random(number), number)
        if ram_bytes(model) > RAM_BYTES:
            continue
        found = list(_met(model))
        if len(models) < count or any(name in wanted and met[name] < LEAST for name in found):
            models.append(model)
            met.update(found)
    some = (make_body_model(random.Random(1000 + number), number) for number in itertools.count())
    fitting = (model for model in some if ram_bytes(model) <= RAM_BYTES and _weights(model) <= WEIGHTS)
    return models + list(itertools.islice(fitting, bodies))


def _weights(model: QuantEnsemble) -> int:
    return sum(
        layer.weight.size for student in model.students for layer in student.layers
        if isinstance(layer, SynapticLayer)
    )  # fmt: skip


def _met(model: QuantEnsemble) -> Iterator[str]:
    """Its kernels, and its kinds of neurons by how they are brought their input."""
    for number, stages in enumerate(state_layout(model).stages):
        for place, stage in enumerate(stages):
            layer = model.students[number].layers[stage.layer]
            if not isinstance(layer, SynapticLayer):
                yield "maxpool"
                continue
            kernel = direct_kernel(stage) if model.encoder.kind == "direct" and place == 0 else stage.kernel
            yield kernel
            if layer.neuron.kind != "li":
                yield _neurons_met(layer, kernel)


def _neurons_met(layer: SynapticLayer, kernel: str) -> str:
    cell = layer.neuron
    reset = "delayed" if cell.reset_delay else cell.reset
    plain = layer.width == 16 and cell.clamp is None and reset != "delayed" and layer.bits == 8
    places = {"gather": "one", "mac": "one" if layer.channels % 8 else "steps", "scatter": "scatter"}
    place = places.get(kernel, "row") if plain else "any"
    return f"{place}.{layer.width}.{cell.decay.kind}.{reset}{'.clamp' if cell.clamp is not None else ''}"
