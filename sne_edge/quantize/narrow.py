"""Narrower membranes for a finished model: those of a direct input's layers, without its float network.

In: a `QuantEnsemble`. Out: the same with first layers' currents shifted (`ir.layers.SynapticLayer.current_shift`)
wherever that makes 16 bits of 32. Weights and biases stay, to the bit; thresholds become whole coarser units.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.layers import SynapticLayer
from ..ir.limits import coarser
from ..ir.proof import prove_layer
from ..ir.student import QuantStudent


def narrowed(ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble with 16-bit membranes in first layers; the very same where no layer changes. Costs, policy and
    golden vectors stay as they were: whoever keeps it measures them anew."""
    return each_student(ensemble, narrow_student)


def each_student(ensemble: QuantEnsemble, change: Callable[[QuantStudent, Encoder], QuantStudent]) -> QuantEnsemble:
    """An ensemble of a direct input with every student changed; the very same where none changes, and of other
    inputs."""
    if ensemble.encoder.kind != "direct":
        return ensemble
    students = tuple(change(student, ensemble.encoder) for student in ensemble.students)
    if all(mine is other for mine, other in zip(students, ensemble.students, strict=True)):
        return ensemble
    return msgspec.structs.replace(ensemble, students=students)


def narrow_student(student: QuantStudent, encoder: Encoder) -> QuantStudent:
    """A student of a direct input with its first layer's membranes in 16 bits, by the least shift with which these hold
    them; the very same where none does, or where they have 16 already."""
    if isinstance(student.graph, Graph) or not isinstance(student.layers[0], SynapticLayer):
        return student
    first = student.layers[0]
    if first.neuron.kind == "li" or first.width == 16:
        return student
    for shift in range(first.current_shift + 1, 16):
        more = shift - first.current_shift
        threshold = np.rint(first.threshold / 2**more).astype(np.int32)
        if coarser(shift, first.fan_in().shape[1], int(threshold.min())):
            break
        clamp = first.neuron.clamp
        neuron = first.neuron
        if clamp is not None:
            neuron = msgspec.structs.replace(neuron, clamp=(clamp[0] >> more, clamp[1] >> more))
        made = msgspec.structs.replace(
            first, threshold=threshold, neuron=neuron, current_shift=shift, scale=first.scale * 2**more
        )
        bound = prove_layer(made, encoder, True)
        if bound is not None and bound.width == 16:
            return msgspec.structs.replace(
                student, layers=(msgspec.structs.replace(made, bound=bound), *student.layers[1:])
            )
    return student
