"""Small random ensembles for tests, made with numpy alone."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from sne_edge.deploy.host import HostModel
from sne_edge.ir.encoder import Encoder, EncoderKind, Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Conv, Layer, Linear, SynapticLayer, size, window_out
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy, pair_row
from sne_edge.ir.proof import prove_layer
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import Vectors, no_vectors

LIF = Neuron("lif", Decay("shift", 2))
READOUT = Neuron("li", Decay("q15", 30000), reset="none")


def tiny_ensemble(
    kind: EncoderKind = "direct",
    seed: int = 1,
    hidden: int = 12,
    classes: int = 4,
    students: int = 3,
    shape: Shape = (1, 16, 2),
) -> QuantEnsemble:
    """A conv - linear - readout student, times `students`, on an input of that shape, with four golden vectors."""
    rng = np.random.default_rng(seed)
    encoder = Encoder(kind=kind, shape=shape, timesteps=3, scale=0.05)
    members = tuple(_student(rng, encoder, hidden, classes) for _ in range(students))
    ensemble = QuantEnsemble(
        name="tiny-test",
        encoder=encoder,
        students=members,
        bias=rng.integers(-50, 50, classes, dtype=np.int32),
        order=tuple(int(k) for k in rng.permutation(students)),
        classes=tuple(f"class {c}" for c in range(classes)),
        logit_scale=0.01,
        policy=ActivationPolicy("cascade", margins=(200,) * (students - 1)),
        vectors=no_vectors(encoder, classes, members),
        routes=np.random.default_rng(seed).permuted(
            np.tile(np.arange(students, dtype=np.uint8), (pair_row(0, classes), 1)), axis=1
        ),
    )
    return with_vectors(ensemble, rng.integers(0, 256, (4, encoder.input_bytes), dtype=np.uint8))


def with_vectors(ensemble: QuantEnsemble, inputs: np.ndarray) -> QuantEnsemble:
    """The ensemble with golden vectors on `inputs`, as the host build computes them."""
    batch = HostModel(ensemble).run(inputs)
    vectors = Vectors(
        inputs=inputs,
        logits=batch.logits.astype(np.int32),
        active=batch.active.astype(np.uint32),
        spikes=batch.spikes.astype(np.uint32),
        ops=np.stack([batch.synaptic_ops, batch.macs], axis=1).astype(np.uint32),
        labels=np.full(len(inputs), -1, np.int32),
    )
    return msgspec.structs.replace(ensemble, vectors=vectors)


def proven(kind: type[SynapticLayer], encoder: Encoder, first: bool, **fields: Any) -> SynapticLayer:
    """A layer with the bound that is proved for it."""
    layer = kind(**fields, bound=Bound(0, 0))
    bound = prove_layer(layer, encoder, first)
    assert bound is not None
    return msgspec.structs.replace(layer, bound=bound)


def _student(rng: np.random.Generator, encoder: Encoder, hidden: int, classes: int) -> QuantStudent:
    channels, kernel, stride, padding = 6, (1, 3), (1, 2), (0, 1)
    middle: Shape = (*window_out(encoder.shape, kernel, stride, padding), channels)
    layers: list[Layer] = [
        _layer(
            rng,
            Conv,
            encoder,
            True,
            encoder.shape,
            middle,
            (channels, encoder.shape[2], *kernel),
            LIF,
            stride=stride,
            padding=padding,
        ),
        _layer(rng, Linear, encoder, False, middle, (1, 1, hidden), (hidden, size(middle)), LIF),
        _layer(rng, Linear, encoder, False, (1, 1, hidden), (1, 1, classes), (classes, hidden), READOUT),
    ]
    return QuantStudent(
        layers=tuple(layers),
        features=(),
        gain=np.ones(classes, np.int32),
        bias=rng.integers(-20, 20, classes, dtype=np.int32),
        mean_ops=500,
        max_ops=1000,
    )


def _layer(
    rng: np.random.Generator,
    kind: type[SynapticLayer],
    encoder: Encoder,
    first: bool,
    in_shape: Shape,
    out_shape: Shape,
    weight: tuple[int, ...],
    neuron: Neuron,
    **geometry: Any,
) -> Any:
    analog = first and encoder.kind == "direct"
    threshold = 0 if neuron.kind == "li" else 4000 if analog else 100
    return proven(
        kind,
        encoder,
        first,
        in_shape=in_shape,
        out_shape=out_shape,
        weight=rng.integers(-100, 101, weight, dtype=np.int8),
        bias=rng.integers(-30, 60, weight[0], dtype=np.int32),
        threshold=np.full(weight[0], threshold, np.int32),
        scale=np.ones(weight[0]),
        neuron=neuron,
        **geometry,
    )
