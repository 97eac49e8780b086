"""Quantisation of students with residual blocks: graphs of integer populations, all on one logit scale.

In: a trained `Ensemble` whose spikes are added. Out: a `QuantEnsemble`. What takes added spikes has one projection from
each layer that spikes into the sum, all with the same weights: adding spikes and adding their currents is the same.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.policy import ActivationPolicy
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from ..learn.graph import INPUT, FloatGraph, FloatPool, FloatPopulation, FloatProjection, Op, channel_last
from ..learn.integers import fold_batch_norm
from ..learn.neurons import LIF
from ..learn.student import Ensemble, Student, folded_readout
from .chain import integers
from .graph import integer_graph, worth_of
from .quantize import GAIN_MAX, REACH_MAX


def quantize_residual(ensemble: Ensemble, name: str, classes: tuple[str, ...]) -> QuantEnsemble:
    """An ensemble in float form as integers, as `quantize.quantize_ensemble` has it, each student a graph."""
    try:
        graphs, biases = [], []
        for student, head in zip(ensemble.students, ensemble.heads, strict=True):
            assert isinstance(student, Student) and isinstance(head, nn.Linear)
            weight, bias = (t.detach().double().numpy() for t in folded_readout(student, head))
            chain = list(fold_batch_norm(student.body))
            graphs.append(
                integer_graph(float_graph(chain, weight, ensemble.encoder, ensemble.sizes.bits), ensemble.encoder)
            )
            biases.append(bias)
        worth = [worth_of(graph, ensemble.encoder) for graph in graphs]
        scale = _logit_scale(graphs, worth)
        students = []
        for k, (graph, own, bias) in enumerate(zip(graphs, worth, biases, strict=True)):
            chunk = tuple(int(i) for i in ensemble.partition.chunk(k))
            gain = np.maximum(1, np.rint(own / scale)).astype(np.int32)
            students.append(QuantStudent((), chunk, gain, integers("the readout's bias", bias / scale), graph=graph))
        return QuantEnsemble(
            name=name,
            encoder=ensemble.encoder,
            students=tuple(students),
            bias=integers("the head's bias", ensemble.bias.detach().double().numpy() / scale),
            order=tuple(range(len(students))),
            classes=classes,
            logit_scale=scale,
            policy=ActivationPolicy("all"),
            vectors=no_vectors(ensemble.encoder, len(classes), students),
        )
    except ValueError as error:
        raise SneError(
            f"{name} cannot be deployed: {error}", "see the limits in docs, or make the network smaller"
        ) from None


def float_graph(chain: list[nn.Module], readout: np.ndarray, encoder: Encoder, bits: int) -> FloatGraph:
    """A folded chain, of whose neurons some add their spikes to those before, and its readout's weight [classes,
    hidden] on mean spikes, as a graph; weights between the first layer and the readout have `bits`."""
    populations: list[FloatPopulation] = []
    taken: tuple[str, ...] = (INPUT,)  # whose spikes are added up
    shape = encoder.shape
    pools: tuple[FloatPool, ...] = ()
    weighted: nn.Conv2d | nn.Linear | None = None
    for module in chain:
        if isinstance(module, nn.Conv2d | nn.Linear):
            weighted = module
        elif isinstance(module, nn.AvgPool2d):
            pools = (FloatPool("average", module.kernel_size, module.kernel_size),)  # type: ignore[arg-type]
        elif isinstance(module, LIF):
            assert weighted is not None and weighted.bias is not None  # folding a batch norm leaves one
            projections = _projections(weighted, taken, shape, pools, 8 if not populations else bits)
            shape, pools = projections[0].current_shape(shape), ()
            made = FloatPopulation(
                f"layer {len(populations) + 1}",
                shape,
                projections,
                beta=np.array(_beta(module)),
                threshold=np.array(float(module.level)),
                bias=weighted.bias.detach().double().numpy(),
            )
            populations.append(made)
            taken = (*taken, made.name) if module.adds else (made.name,)
    for pool in pools:
        shape = pool.out(shape)
    weight = channel_last(readout, shape)
    last = tuple(FloatProjection(source, "linear", weight, pools=pools) for source in taken)
    ends = (1, 1, len(readout))
    populations.append(FloatPopulation("readout", ends, last, beta=np.ones(()), threshold=None, reset="none"))
    return FloatGraph(encoder.shape, tuple(populations))


def _projections(
    module: nn.Conv2d | nn.Linear, sources: tuple[str, ...], shape: Shape, pools: tuple[FloatPool, ...], bits: int
) -> tuple[FloatProjection, ...]:
    """What a layer takes from each of the sources that are added up, all of one shape."""
    weight = module.weight.detach().double().numpy()
    op: Op = "linear" if isinstance(module, nn.Linear) else "conv"
    places = {} if isinstance(module, nn.Linear) else {"stride": module.stride, "padding": module.padding}
    if isinstance(module, nn.Linear):
        for pool in pools:
            shape = pool.out(shape)
        weight = channel_last(weight, shape)
    return tuple(FloatProjection(s, op, weight, pools=pools, bits=bits, **places) for s in sources)  # type: ignore[arg-type]


def _beta(neurons: LIF) -> float:
    """The leak as the device has it."""
    decay = neurons.decay
    return {"none": 1.0, "shift": 1.0 - 2.0**-decay.value, "q15": decay.value / 2**15}[decay.kind]


def _logit_scale(graphs: list[Graph], worth: list[np.ndarray]) -> float:
    """The finest common unit of logits with gains below 2^12 and every possible logit far inside 2^30."""
    bounds = [max(-graph.decoder.bound.low, graph.decoder.bound.high, 1) for graph in graphs]
    reach = sum(own * bound for own, bound in zip(worth, bounds, strict=True))
    return float(max(max(own.max() for own in worth) / GAIN_MAX, np.max(reach) / REACH_MAX))
