"""Random networks with the statistics of trained ones, and inputs for them.

In: layer sizes, numbers of timesteps, densities. Out: `QuantEnsemble`s of one student with a readout, and encoded
inputs. The same arguments always give the same network and input.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from sne_edge.ir.encoder import Encoder, Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import INPUT, Cell, Decoder, Graph, Leak, Population, Projection
from sne_edge.ir.graph_proof import proven
from sne_edge.ir.layers import Conv, Layer, Linear, SynapticLayer, size
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.proof import prove_layer
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

SILENT = 2**30  # a threshold that no membrane here reaches
CLASSIFIER = (1, 1, 784)
FIRES = 400  # a threshold at which about one neuron in ten fires at 10 % input
RECURRENT = (1, 1, 64)
IMAGE = (16, 16, 16)
IMAGE_CHANNELS = 32
FEWEST = 2  # classes that a model must have


def classifier(hidden: int, classes: int, timesteps: int, threshold: int = FIRES, bits: int = 8) -> QuantEnsemble:
    """784 - hidden - classes on raw events; `bits` of the hidden layer's weights."""
    encoder = Encoder("events", CLASSIFIER, timesteps)
    return assemble(encoder, [linear(encoder, hidden, threshold, bits=bits)], classes)


def image_network(timesteps: int, density: float, threshold: int) -> QuantEnsemble:
    """A 3 x 3 convolution, 16 x 16 x 16 to 16 x 16 x 32, on raw events, and a readout of two classes.

    `density`: input spikes that the model's stored measurements say to expect, as calibration would store them."""
    encoder = Encoder("events", IMAGE, timesteps)
    layer = convolution(encoder, IMAGE_CHANNELS, threshold)
    expected = round(density * int(layer.fan_out().sum()) * timesteps)
    return assemble(encoder, [layer], layer_ops=(expected, 0))


def readout_only(inputs: int, timesteps: int) -> QuantEnsemble:
    """A readout that takes `inputs` raw events itself: what is left of a network without its hidden layers."""
    return assemble(Encoder("events", (1, 1, inputs), timesteps), [])


def lif_population(neurons: int, timesteps: int) -> QuantEnsemble:
    """LIF neurons that fire now and then because of their biases alone, without any input, and a readout of one
    class: shift decay, subtract reset, int16 membranes."""
    encoder = Encoder("events", (1, 1, 4), timesteps)
    return assemble(encoder, [linear(encoder, neurons, threshold=32)])


def both_kinds() -> QuantEnsemble:
    """A convolution, a linear layer and a readout: what the runtime's code is measured for."""
    encoder = Encoder("events", (8, 8, 8), 10)
    conv = convolution(encoder, 16, FIRES)
    return assemble(encoder, [conv, linear(encoder, 32, FIRES, conv.out_shape)])


def direct(shape: Shape, conv: bool) -> QuantEnsemble:
    """A dense first layer, every input an int8 value, on one timestep: the shape of `classifier` or `image_network`."""
    encoder = Encoder("direct", shape, 1)
    layer = convolution(encoder, IMAGE_CHANNELS, SILENT) if conv else linear(encoder, 128, SILENT)
    return assemble(encoder, [layer])


def recurrent(students: int, timesteps: int, classes: int = 10) -> QuantEnsemble:
    """Students that are graphs: 64 raw events a timestep to 48 recurrent LIF neurons, whose spikes `classes` LIF
    neurons take, whose spikes are counted."""
    encoder = Encoder("events", RECURRENT, timesteps)
    rng = np.random.default_rng(students)

    def made(name: str, outputs: int, *sources: tuple[int, int, int]) -> Population:
        brought = tuple(
            Projection(source, (1, 1, inputs), "linear", _weights(rng, (outputs, inputs)), delay=delay)
            for source, inputs, delay in sources
        )
        return Population(
            name=name,
            shape=(1, 1, outputs),
            projections=brought,
            neuron=Cell(Leak("shift", np.array([1], np.int32))),
            bias=rng.integers(-20, 21, outputs, dtype=np.int32),
            threshold=np.full(outputs, FIRES // 4, np.int32),
            scale=np.ones(outputs),
            bound=Bound(0, 0),
        )

    members, decoder = [], Decoder("count", clamp=(0, timesteps), bound=Bound(0, 0))
    for _ in range(students):
        hidden = made("hidden", 48, (INPUT, size(RECURRENT), 0), (0, 48, 1))
        graph = Graph((hidden, made("outputs", classes, (0, 48, 0))), decoder)
        gain, bias = np.ones(classes, np.int32), np.zeros(classes, np.int32)
        members.append(QuantStudent((), (), gain, bias, graph=proven(graph, encoder)))
    return _ensemble(encoder, members, classes)


def linear(encoder: Encoder, outputs: int, threshold: int, shape: Shape | None = None, bits: int = 8) -> Linear:
    """A layer of LIF neurons, fully connected to `shape`, or to the encoder's inputs. With 4 bits, `threshold` is that
    of the weights of 8 bits of which they are the upper halves."""
    rng = np.random.default_rng(outputs)
    taken = shape or encoder.shape
    weight, low = _weights(rng, (outputs, size(taken))), 8 - bits
    return _proven(
        Linear, encoder, shape is None, taken, (1, 1, outputs), weight >> low, threshold >> low, rng, bits=bits
    )


def convolution(encoder: Encoder, channels: int, threshold: int) -> Conv:
    """A first layer of LIF neurons, 3 x 3 with padding 1."""
    rng = np.random.default_rng(channels)
    weight = _weights(rng, (channels, encoder.shape[2], 3, 3))
    out = (*encoder.shape[:2], channels)
    return _proven(Conv, encoder, True, encoder.shape, out, weight, threshold, rng, padding=(1, 1))


def assemble(
    encoder: Encoder, hidden: list[Any], classes: int = FEWEST, layer_ops: tuple[int, ...] = ()
) -> QuantEnsemble:
    """A network of `hidden` layers (the first of them takes the encoder's output) and a readout."""
    rng = np.random.default_rng(classes)
    shape = hidden[-1].out_shape if hidden else encoder.shape
    weight = _weights(rng, (classes, size(shape)))
    readout = _proven(Linear, encoder, not hidden, shape, (1, 1, classes), weight, 0, rng)
    layers: tuple[Layer, ...] = (*hidden, readout)
    none = np.zeros(classes, np.int32)
    student = QuantStudent(layers, (), np.ones(classes, np.int32), none, sum(layer_ops), sum(layer_ops), layer_ops)
    return _ensemble(encoder, [student], classes)


def _ensemble(encoder: Encoder, students: Sequence[QuantStudent], classes: int) -> QuantEnsemble:
    none, vectors = np.zeros(classes, np.int32), no_vectors(encoder, classes, students)
    names, order = tuple(str(number) for number in range(classes)), tuple(range(len(students)))
    return QuantEnsemble("bench", encoder, tuple(students), none, order, names, 1.0, ActivationPolicy("all"), vectors)


def truncated(ensemble: QuantEnsemble, student: int, layers: int) -> QuantEnsemble:
    """One student of an ensemble, up to its first `layers` layers, and a readout of two classes."""
    member = ensemble.students[student]
    ops = (*member.layer_ops[:layers], 0) if member.layer_ops else ()
    return assemble(ensemble.encoder, list(member.layers[:layers]), layer_ops=ops)


def raster(shape: Shape, spikes: Sequence[int], seed: int = 1) -> bytes:
    """An encoded input with so many spikes in each timestep, each time at other places."""
    rng, inputs = np.random.default_rng(seed), size(shape)
    rows = np.zeros((1, len(spikes), inputs), np.uint8)
    for row, count in zip(rows[0], spikes, strict=True):
        row[rng.permutation(inputs)[:count]] = 1
    return Encoder("events", shape, len(spikes)).encode(rows)[0].tobytes()


def spread(total: int, timesteps: int) -> list[int]:
    """`total` spikes over timesteps, as evenly as they go."""
    return [(t + 1) * total // timesteps - t * total // timesteps for t in range(timesteps)]


def _weights(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Normal weights that fill int8 as trained ones do."""
    weights: np.ndarray = np.rint(rng.normal(0, 32, shape)).clip(-127, 127).astype(np.int8)
    return weights


def _proven(
    kind: type[SynapticLayer],
    encoder: Encoder,
    first: bool,
    in_shape: Shape,
    out_shape: Shape,
    weight: np.ndarray,
    threshold: int,
    rng: np.random.Generator,
    **more: Any,
) -> Any:
    """A layer with the bound that is proved for it; `threshold` 0 makes it a readout."""
    channels = out_shape[2]
    neuron = Neuron("lif", Decay("shift", 1)) if threshold else Neuron("li", Decay("shift", 4), reset="none")
    if not threshold and weight.shape[1] > 4000:  # a readout's long memory would take 32 bits
        neuron = Neuron("li", Decay("shift", 1), reset="none")
        weight = (weight >> 4).astype(np.int8)
    layer = kind(
        in_shape=in_shape,
        out_shape=out_shape,
        weight=weight,
        bias=rng.integers(-20, 21, channels, dtype=np.int32),
        threshold=np.full(channels, threshold, np.int32),
        scale=np.ones(channels),
        neuron=neuron,
        bound=Bound(0, 0),
        **more,
    )
    bound = prove_layer(layer, encoder, first)
    assert bound is not None
    return msgspec.structs.replace(layer, bound=bound)
