"""What is proven of a student before it runs: the range of every membrane, and the most operations it can do."""

from __future__ import annotations

import numpy as np

from .encoder import Encoder
from .graph import Graph
from .graph_proof import worst_graph_ops
from .layers import AvgPool, Layer, SynapticLayer, rounding
from .neuron import Bound, prove_bound
from .student import QuantStudent


def multiplicities(layers: tuple[Layer, ...]) -> list[int]:
    """How many spikes one input of each layer can bring in one timestep (more than one after average pooling)."""
    counts, count = [], 1
    for layer in layers:
        counts.append(count)
        count = count * layer.kernel[0] * layer.kernel[1] if isinstance(layer, AvgPool) else 1
    return counts


def worst_ops(student: QuantStudent, encoder: Encoder) -> list[int]:
    """Most operations each layer, or population of a graph, can do in one inference: every input spiking at every
    timestep; 0 for pooling."""
    if isinstance(student.graph, Graph):
        return worst_graph_ops(student.graph, encoder)
    worst = []
    for number, (layer, multiplicity) in enumerate(zip(student.layers, multiplicities(student.layers), strict=True)):
        if not isinstance(layer, SynapticLayer):
            worst.append(0)
            continue
        once = number == 0 and encoder.kind == "direct"
        worst.append(int(layer.fan_out().sum()) * (1 if once else multiplicity * encoder.timesteps))
    return worst


def direct_current(weight: np.ndarray, bias: np.ndarray, shift: int = 0) -> np.ndarray:
    """The least and the most that int8 values can make of a current, int64 [2, channels]: weight int64 [channels,
    fan-in], bias int64 [channels], `shift` as `SynapticLayer.current_shift`."""
    negative, positive = (side(weight, 0).sum(axis=1) for side in (np.minimum, np.maximum))
    bias = bias + rounding(shift)
    whole = np.stack([bias + 127 * negative - 128 * positive, bias + 127 * positive - 128 * negative])
    current: np.ndarray = whole >> shift
    return current


def prove_layer(
    layer: SynapticLayer, encoder: Encoder, first: bool, multiplicity: int = 1, *, buffered: bool = False
) -> Bound | None:
    """The bound of one layer's membranes in its place in the chain; None where only a clamp would bound them.

    `first`: the layer takes the encoder's output (int8 values under `direct`, spikes otherwise). Raw events may come as
    a stream without end, and are bounded as one; `buffered`: over the encoder's timesteps alone, as one raster has.
    """
    weight = layer.fan_in()
    bias = layer.bias.astype(np.int64)
    negative = np.minimum(weight, 0).sum(axis=1) * multiplicity
    positive = np.maximum(weight, 0).sum(axis=1) * multiplicity
    constant = np.stack([bias, bias])
    if first and encoder.kind == "direct":
        constant = direct_current(weight, bias, layer.current_shift)
        negative = positive = np.zeros_like(bias)
    steps = None if encoder.kind == "events" and not buffered else encoder.timesteps
    return prove_bound(layer.neuron, negative, positive, constant, layer.threshold.astype(np.int64), steps)
