"""A model before it is trained: random weights with the statistics of trained ones, in the shapes of a body.

In: sizes. Out: a `QuantEnsemble` whose layout, ranges and counts are those of a trained one, for the cost model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import Conv, Layer, Linear, Pair, SynapticLayer, size, window_out
from ..ir.neuron import Bound, Decay, Neuron
from ..ir.policy import NEVER, ActivationPolicy
from ..ir.proof import prove_layer
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from ..quantize.narrow import narrow_student

# Standard deviations of trained weights, and thresholds, of the shipped models: of the first layer, of those between,
# and of the readout. Those of 4 bits are a sixteenth.
FIRST, BETWEEN, READOUT = 65.0, 42.0, 30.0
FIRST_THRESHOLD, THRESHOLD = 10_000, 200


@dataclass(frozen=True)
class Sizes:
    """Sizes of a student, as `learn.student.Body` has them; `q15`: decays are learnt, else 1 - 2^-shift."""

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    strides: tuple[int, ...]
    dense: tuple[int, ...] = ()
    shift: int = 1
    bits: int = 8
    q15: bool = False


def sketch(shape: Shape, classes: int, timesteps: int, students: int, sizes: Sizes) -> QuantEnsemble:
    """An ensemble of one body for a direct input, under a cascade. Raises `SneError` where there is none."""
    try:
        return _sketch(shape, classes, timesteps, students, sizes)
    except ValueError as error:
        raise SneError(
            f"these sizes make no network: {error}", "give smaller kernels, strides or fewer layers"
        ) from None


def _sketch(shape: Shape, classes: int, timesteps: int, students: int, sizes: Sizes) -> QuantEnsemble:
    encoder, rng = Encoder("direct", shape, timesteps), np.random.default_rng(0)
    cell = Neuron("lif", Decay("q15", 2**15 - 2 ** (15 - sizes.shift)) if sizes.q15 else Decay("shift", sizes.shift))
    layers: list[Layer] = []
    for channels, kernel, stride in zip(sizes.channels, sizes.kernels, sizes.strides, strict=True):
        axes = [(kernel, stride, kernel // 2) if n > 1 else (1, 1, 0) for n in shape[:2]]
        spans, steps, padding = ((axes[0][k], axes[1][k]) for k in range(3))
        out = (*window_out(shape, spans, steps, padding), channels)
        weight = (channels, shape[2], *spans)
        layers.append(_made(rng, Conv, encoder, layers, shape, out, weight, cell, sizes, stride=steps, padding=padding))
        shape = out
    for outputs in sizes.dense:
        layers.append(_made(rng, Linear, encoder, layers, shape, (1, 1, outputs), (outputs, size(shape)), cell, sizes))
        shape = layers[-1].out_shape
    readout = Neuron("li", reset="none")
    layers.append(_made(rng, Linear, encoder, layers, shape, (1, 1, classes), (classes, size(shape)), readout, sizes))
    none, one = np.zeros(classes, np.int32), np.ones(classes, np.int32)
    student = narrow_student(QuantStudent(tuple(layers), (), one, none), encoder)  # as training does
    members = (student,) * students
    policy = ActivationPolicy("cascade", margins=(NEVER,) * (students - 1))
    names = tuple(map(str, range(classes)))
    vectors = no_vectors(encoder, classes, members)
    return QuantEnsemble("sketch", encoder, members, none, tuple(range(students)), names, 1.0, policy, vectors)


def _made(
    rng: np.random.Generator, kind: Any, encoder: Encoder, before: Sequence[Layer], shape: Shape, out: Shape,
    weight: tuple[int, ...], cell: Neuron, sizes: Sizes, **window: Pair,
) -> Any:  # fmt: skip
    channels, fires, first = out[2], cell.kind != "li", not before
    bits = 8 if first or not fires else sizes.bits
    limit, down = (127, 1) if bits == 8 else (7, 16)
    spread = (FIRST if first else BETWEEN if fires else READOUT) / down
    threshold = (FIRST_THRESHOLD if first else THRESHOLD // down) if fires else 0
    layer: SynapticLayer = kind(
        in_shape=shape, out_shape=out, bits=bits, neuron=cell, bound=Bound(0, 0), scale=np.ones(channels),
        weight=np.rint(rng.normal(0, spread, weight)).clip(-limit, limit).astype(np.int8),
        bias=np.zeros(channels, np.int32), threshold=np.full(channels, threshold, np.int32), **window,
    )  # fmt: skip
    bound = prove_layer(layer, encoder, first)
    if bound is None:
        raise ValueError("membranes grow without limit")
    return msgspec.structs.replace(layer, bound=bound)
