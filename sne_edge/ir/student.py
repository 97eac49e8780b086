"""A student: a chain of layers that ends in a readout, or a graph of populations."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import numpy as np

from .checks import check, check_array
from .graph import Graph
from .layers import Layer, Linear, SynapticLayer, size


class QuantStudent(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One spiking network of the ensemble, readout last; alone it makes logits, with others a part of their sum.

    layers    the chain; empty where the student is a graph
    features  indices of the teacher's features that it was taught
    gain      int32 [classes] >= 1: its logits are bias + gain * readout membrane (the head is folded in the readout)
    bias      int32 [classes], added where the student is active (it replaces its chunk's mean in `QuantEnsemble.bias`)
    mean_ops, max_ops   operations (synaptic and MAC) of one inference, measured on held-out data
    layer_ops  the mean by layer (of a graph: by population), rounded; empty where nothing was measured
    graph     populations and a decoder instead of layers: its totals are what `gain` multiplies
    """

    layers: tuple[Layer, ...]
    features: tuple[int, ...]
    gain: np.ndarray
    bias: np.ndarray
    mean_ops: int = 0
    max_ops: int = 0
    layer_ops: tuple[int, ...] = ()
    graph: Graph | msgspec.UnsetType = msgspec.UNSET  # unset, it leaves no trace in a file or fingerprint

    def __post_init__(self) -> None:
        if self.graph is msgspec.UNSET:
            self._check_chain()
        else:
            check(not self.layers, "a student is a chain of layers or a graph, not both")
        classes = (self.classes,)
        check_array("gain", self.gain, np.int32, classes)
        check_array("bias", self.bias, np.int32, classes)
        check(bool((self.gain >= 1).all()), "gain must be at least 1")
        check(
            0 <= self.mean_ops <= self.max_ops < 2**32,
            f"operations {self.mean_ops} (mean), {self.max_ops} (highest) are out of range",
        )
        check(len(self.layer_ops) in (0, self.stages), "layer_ops names every layer or none")

    def _check_chain(self) -> None:
        check(len(self.layers) >= 1, "a student has at least one layer")
        for number, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), start=1):
            same = (
                size(before.out_shape) == size(after.in_shape)
                if isinstance(after, Linear)
                else before.out_shape == after.in_shape
            )
            check(same, f"layer {number} takes {after.in_shape}, but layer {number - 1} gives {before.out_shape}")
        readout = self.layers[-1]
        check(
            isinstance(readout, Linear) and readout.neuron.kind == "li",
            "a student's last layer must be a linear readout of li neurons",
        )
        for number, layer in enumerate(self.layers[:-1]):
            spiking = not isinstance(layer, SynapticLayer) or layer.neuron.kind != "li"
            check(spiking, f"layer {number} is a readout (li), but not the last layer")

    @property
    def classes(self) -> int:
        return self.graph.classes if isinstance(self.graph, Graph) else self.layers[-1].out_shape[2]

    @property
    def stages(self) -> int:
        """Layers of a chain, populations of a graph."""
        return len(self.graph.populations) if isinstance(self.graph, Graph) else len(self.layers)

    @property
    def neurons(self) -> int:
        """Of all layers or populations."""
        return sum(map(self.neurons_of, range(self.stages)))

    @property
    def readout(self) -> Linear:
        readout = self.layers[-1]
        assert isinstance(readout, Linear)
        return readout

    def neurons_of(self, stage: int) -> int:
        """Of one layer or population."""
        if isinstance(self.graph, Graph):
            return self.graph.populations[stage].neurons
        layer = self.layers[stage]
        return layer.neurons if isinstance(layer, SynapticLayer) else 0

    def logit_range(self) -> np.ndarray:
        """int64 [classes]: the largest magnitude its part of each logit can have."""
        bound = self.graph.decoder.bound if isinstance(self.graph, Graph) else self.readout.bound
        reach = max(-bound.low, bound.high, 0)
        return np.abs(self.bias.astype(np.int64)) + self.gain.astype(np.int64) * reach


def firing_layers(students: Iterable[QuantStudent]) -> list[tuple[int, int]]:
    """(student, layer or population) of every one that fires, in the order in which spike counts are reported."""
    return [(s, n) for s, student in enumerate(students) for n in _firing(student)]


def _firing(student: QuantStudent) -> list[int]:
    if isinstance(student.graph, Graph):
        return [n for n, population in enumerate(student.graph.populations) if population.neuron.spikes]
    return [
        n for n, layer in enumerate(student.layers) if isinstance(layer, SynapticLayer) and layer.neuron.kind != "li"
    ]


class State(msgspec.Struct, frozen=True):
    """Where an engine reports one state of neurons: of which student and layer or population; of a graph, the membrane
    or the synaptic current."""

    student: int
    layer: int
    current: bool = False


def states(students: Iterable[QuantStudent]) -> list[State]:
    """Every state that an engine keeps, in the order in which it reports them."""
    found = []
    for number, student in enumerate(students):
        if isinstance(student.graph, Graph):
            for n, population in enumerate(student.graph.populations):
                found += [State(number, n, current) for current in (False, True)[: len(population.bounds)]]
        else:
            layers = enumerate(student.layers)
            found += [State(number, n) for n, layer in layers if isinstance(layer, SynapticLayer)]
    return found
