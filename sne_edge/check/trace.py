"""What the reference shows of one student."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from torch import Tensor

# Shown each timestep of a layer with neurons: timestep, layer, its input int64 [N, ...] (None where it has none, or was
# added as a constant), its membranes after the reset and before the next leak, int64 [N, *out_shape].
Watch = Callable[[int, int, Tensor | None, Tensor], None]
# Shown each timestep of a layer or population that fires: timestep, layer, its spikes int64 0/1 [N, *out_shape].
Fired = Callable[[int, int, Tensor], None]

# Shown the readout, or a decoder's totals, after each timestep: timestep, int64 [N, classes].
Read = Callable[[int, Tensor], None]


@dataclass(frozen=True)
class StudentTrace:
    """One student on N samples.

    readout int64 [N, classes]: membranes of the readout after the last timestep; part int64 [N, classes]: its share
    of the logits; spikes int64 [N, spiking layers]; membranes: per layer with neurons, int64 [N, neurons], charged
    (readout: as it stands); layer_ops int64 [N, layers]: synaptic operations or MACs by layer, 0 for pooling;
    synaptic_ops, macs int64 [N]; neuron_updates: int.
    """

    readout: np.ndarray
    part: np.ndarray
    spikes: np.ndarray
    membranes: tuple[np.ndarray, ...]
    layer_ops: np.ndarray
    synaptic_ops: np.ndarray
    macs: np.ndarray
    neuron_updates: int
