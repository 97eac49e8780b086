"""Channels in fours: neurons that never fire beside those of a first convolution of int8 values, since kernels
take four channels at a time, and what is left over in slower ways.

In: a `QuantEnsemble`. Out: one of the same spikes, membranes and logits, neuron by neuron; only its operations count
the weights, all zero, that were added.
"""

from __future__ import annotations

from typing import TypeGuard

import msgspec
import numpy as np

from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.layers import Conv, Depthwise, Layer, Linear, SynapticLayer
from ..ir.proof import multiplicities, prove_layer
from ..ir.student import QuantStudent
from .narrow import each_student

FOUR = 4


def widened(ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble with channels in fours in first convolutions of a direct input; the very same where nothing changes,
    as where students are graphs. Costs, policy and golden vectors stay as they were: whoever keeps it measures them
    anew."""
    return each_student(ensemble, widen_student)


def missing_channels(student: QuantStudent) -> int:
    """How many channels the convolution that a student starts with is short of a multiple of four; 0 where it starts
    otherwise, and of a graph."""
    first = None if isinstance(student.graph, Graph) else student.layers[0]
    return -first.channels % FOUR if _mixes(first) else 0


def _mixes(layer: Layer | None) -> TypeGuard[Conv]:
    """Whether a layer is a convolution whose channels each take all channels of its input."""
    return isinstance(layer, Conv) and not isinstance(layer, Depthwise)


def widen_student(student: QuantStudent, encoder: Encoder) -> QuantStudent:
    """One student of it; the very same where nothing changes, and where membranes would have to be wider: a clamp
    bounds what never leaves 0 as loosely as all else."""
    more = missing_channels(student)
    if not more:
        return student
    layers: list[Layer] = [_with_channels(student.layers[0], 0, more)]
    for before, layer in zip(student.layers, student.layers[1:], strict=False):
        if isinstance(layer, Linear):
            layer, more = _with_inputs(layer, before.out_shape, more) if more else layer, 0
        elif more:
            own = 0 if _mixes(layer) else more
            layer, more = _with_channels(layer, more, own), own
        layers.append(layer)
    for number, brought in enumerate(multiplicities(tuple(layers))):
        made, old = layers[number], student.layers[number]
        if isinstance(made, SynapticLayer) and made is not old:
            bound = prove_layer(made, encoder, number == 0, brought)
            if bound is None or bound.width != made.width:
                return student
            layers[number] = msgspec.structs.replace(made, bound=bound)
    return msgspec.structs.replace(student, layers=tuple(layers))


def _with_inputs(layer: Linear, came: Shape, more: int) -> Linear:
    """A linear layer of a map of shape `came` and so many channels more, whose weights are zero."""
    weight = np.pad(layer.weight.reshape(layer.channels, *came), ((0, 0), (0, 0), (0, 0), (0, more)))
    shape = (*came[:2], came[2] + more) if layer.in_shape == came else (1, 1, weight[0].size)
    return msgspec.structs.replace(layer, in_shape=shape, weight=weight.reshape(layer.channels, -1))


def _with_channels(layer: Layer, more: int, own: int) -> Layer:
    """A layer of a map of so many channels `more`, with so many of its `own` more: neurons whose membranes stay 0,
    below any threshold."""
    in_shape, out_shape = ((*s[:2], s[2] + n) for s, n in ((layer.in_shape, more), (layer.out_shape, own)))
    if not isinstance(layer, Conv):
        return msgspec.structs.replace(layer, in_shape=in_shape, out_shape=out_shape)
    depth = more if _mixes(layer) else 0
    return msgspec.structs.replace(
        layer,
        in_shape=in_shape,
        out_shape=out_shape,
        weight=np.pad(layer.weight, ((0, own), (0, depth), (0, 0), (0, 0))),
        bias=np.pad(layer.bias, (0, own)),
        threshold=np.pad(layer.threshold, (0, own), mode="maximum"),
        scale=np.pad(layer.scale, (0, own), mode="edge"),
    )
