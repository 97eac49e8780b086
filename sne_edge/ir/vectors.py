"""Golden vectors: inputs and what the reference made of them."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from .encoder import Encoder
from .student import QuantStudent, firing_layers


class Vectors(msgspec.Struct, frozen=True, eq=False):
    """Golden vectors: inputs and what the reference made of them under the ensemble's own policy.

    inputs uint8 [N, input_bytes]; logits int32 [N, classes]; active uint32 [N] (mask of students run);
    spikes uint32 [N, spike layers] (sums over timesteps, by student, then layer; 0 for a student not run);
    ops uint32 [N, 2] (synaptic operations, MACs); labels int32 [N]: the true class, -1 where unknown.
    """

    inputs: np.ndarray
    logits: np.ndarray
    active: np.ndarray
    spikes: np.ndarray
    ops: np.ndarray
    labels: np.ndarray


def no_vectors(encoder: Encoder, classes: int, students: Iterable[QuantStudent]) -> Vectors:
    """Golden vectors of the right shapes, none of them."""
    spiking = len(firing_layers(students))
    return Vectors(
        inputs=np.zeros((0, encoder.input_bytes), np.uint8),
        logits=np.zeros((0, classes), np.int32),
        active=np.zeros(0, np.uint32),
        spikes=np.zeros((0, spiking), np.uint32),
        ops=np.zeros((0, 2), np.uint32),
        labels=np.zeros(0, np.int32),
    )
