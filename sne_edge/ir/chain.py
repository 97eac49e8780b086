"""A chain of layers as the graph that it is the special case of: what goes out to other frameworks is written once."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np

from .graph import Cell, Decoder, Graph, Leak, Population, Projection
from .layers import AvgPool, Conv, Depthwise, MaxPool, SynapticLayer
from .student import QuantStudent


def as_graph(student: QuantStudent) -> Graph:
    """The student's graph; of a chain, one with a population for each layer that has neurons, and a projection each.

    A population's states are the layer's, charged; but a chain's engine shows its readout as it stands, which is what
    the graph's decoder takes. One with a window is a decoder's that adds up membranes of a single timestep's current.
    Populations of a chain have a threshold, a bias and a unit for each channel.
    """
    if isinstance(student.graph, Graph):
        return student.graph
    populations: list[Population] = []
    pools: tuple[AvgPool | MaxPool, ...] = ()
    for layer in student.layers:
        if not isinstance(layer, SynapticLayer):
            # An average of single places only thins out, as a maximum of them does, which other maxima may follow.
            averaged = layer.kernel != (1, 1) or any(isinstance(pool, AvgPool) for pool in pools)
            pools += (layer if averaged else _maximum(layer),)
            continue
        name = f"layer {len(populations)}" if layer.neuron.kind != "li" else "readout"
        populations.append(_population(name, layer, len(populations) - 1, pools))
        pools = ()
    window, bound = student.readout.neuron.window, student.readout.bound
    if not isinstance(window, int):
        return Graph(tuple(populations), Decoder("membrane", "final", bound=bound))
    gone = msgspec.structs.replace(populations[-1].neuron, leak=Leak("q15", np.zeros(1, np.int32)))
    last = msgspec.structs.replace(populations[-1], neuron=gone)
    return Graph((*populations[:-1], last), Decoder("membrane", "mean", bound=bound, window=window))


def current_shift(student: QuantStudent, population: int) -> int:
    """By how much a population's constant current is shifted: a chain's first layer may say so, a graph cannot."""
    first = student.layers[0] if student.layers else None
    return first.current_shift if population == 0 and isinstance(first, SynapticLayer) else 0


def _maximum(pool: AvgPool | MaxPool) -> MaxPool:
    return MaxPool(pool.in_shape, pool.out_shape, pool.kernel, pool.stride, pool.padding)


def _population(name: str, layer: SynapticLayer, source: int, pools: tuple[AvgPool | MaxPool, ...]) -> Population:
    windows: dict[str, Any] = {}
    op: Literal["linear", "conv", "depthwise"] = "linear"
    if isinstance(layer, Conv):
        op = "depthwise" if isinstance(layer, Depthwise) else "conv"
        windows = {"stride": layer.stride, "padding": layer.padding}
    in_shape = pools[0].in_shape if pools else layer.in_shape
    neuron, spikes = layer.neuron, layer.neuron.kind != "li"
    return Population(
        name=name,
        shape=layer.out_shape,
        projections=(Projection(source, in_shape, op, layer.weight, pools=pools, bits=layer.bits, **windows),),
        neuron=Cell(
            Leak(neuron.decay.kind, np.array([neuron.decay.value], np.int32)),
            spikes,
            neuron.reset,
            neuron.reset_delay,
            neuron.clamp,
        ),
        bias=layer.bias,
        scale=layer.scale,
        bound=layer.bound,
        threshold=layer.threshold if spikes else msgspec.UNSET,
    )
