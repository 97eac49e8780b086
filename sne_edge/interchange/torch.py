"""Networks of one's own from torch: an `nn.Sequential` with snnTorch's neurons as an ensemble of one student.

In: the network, and typical samples as it takes them. Out: a measured `QuantEnsemble` with golden vectors, held against
the network itself (`witness`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from ..check.verify import ReferenceEngine
from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.layout import LayoutFinder, describe, sample_shape, stated_layout, to_samples
from ..learn.integers import fold_batch_norm
from ..quantize.calibrate import golden_vectors, measure, with_costs
from ..quantize.quantize import assemble
from . import witness
from .graphs import quantize_traced, samples_for
from .inputs import Scaling, beyond, fit_to, layout_for, network_input
from .judge import FAIL_BELOW, WARN_BELOW, array_of, check_shares, check_task, judge, known_labels
from .modules import becomes_chain, modules, permanent_copy

BATCH = 256


def quantize_network(
    network: nn.Module,
    name: str,
    calibration: Any,
    *,
    timesteps: int,
    labels: Any = None,
    encoder: Encoder | str | None = None,
    classes: tuple[str, ...] | None = None,
    bits: int | Sequence[int] = 8,
    layout: str | None = None,
    scale: float | Sequence[float] | None = None,
    offset: float | Sequence[float] | None = None,
    input_range: str = "max",
    input_scale: str = "auto",
    decode: str | None = None,
    task: str | None = None,
    warn_below: float = WARN_BELOW,
    fail_below: float = FAIL_BELOW,
) -> QuantEnsemble:
    """A trained spiking network of one's own as an ensemble of one student, measured, with golden vectors.

    network      a `nn.Sequential` of layers in order (`chain.SUPPORTED`), a `Linear` last: its outputs, averaged over
                 time, are the logits. Any other module, also a chain of other layers, is read by what its forward
                 does, as a graph: see `graphs.quantize_traced`, which takes samples as the network does.
                 Of any floating-point type, on any device, with parametrisations and pruning masks or not; it is left
                 as it is. `snn.Leaky` with either order of reset; `neurons.LIF` has exactly the deployed order for
                 immediate resets.
    calibration  samples as the network takes them, array or tensor, float [N, ...], or 0/1 [N, timesteps, ...] for raw
                 events. They set the input's scale where nothing else does, cost is measured on them, and the network
                 itself is run on them: give typical ones that were not trained on.
    labels       int [N], for the accuracies in the provenance and the golden vectors
    encoder      `direct`, the default: the same input at every timestep; `rate`: inputs are a spike's probability in
                 each timestep; `events`; `frames`: values, or counts of events, that change at every timestep, as a
                 graph; or an `Encoder`
    classes      names, default "0", "1", ...
    bits         of weights, 8 or 4: one number for the layers between the first and the readout, which keep 8 (as
                 depthwise convolutions do), or one for each layer with weights, the readout last. A direct input's
                 layer has 8, and so have graphs.
    layout       of the calibration samples (`ir.layout`: "NCHW", "NHWC", "NTCHW", ...), where it is not torch's own
                 order or cannot be told from the network's first layer; they are turned to torch's order
    scale        of one step of the int8 input, and its `offset`: q = (x - offset) / scale, numbers or one for each
                 channel; by default 0, or, where that is far off the samples and nothing pads them with zeros, their
                 middle; see `inputs.make_encoder`
    input_range  what sets the scale where none is given: `max`, `percentile` or `mse`, likewise
    input_scale  `network`: one scale for the whole input; `per-channel`: of sensors whose axes have units of their own;
                 `auto`: as the samples need it
    decode       of a graph: what becomes of its outputs, a name in `graphs.DECODERS`
    task         `classification`, the default; `regression`: the outputs, one or more, are numbers, logits times
                 `logit_scale` (`HostModel.values`). Then labels, float [N, outputs], are true values, the network is
                 read as a graph, and R squared for its own outputs stands for the agreement below
    warn_below   share of the samples that the integers must label like the network, run by its own code on the samples
                 themselves (of rates and events: on their spikes); a `SneWarning` below it, below `fail_below` an error

    The provenance holds that share, `agreement`, with the correlation of logits, both accuracies, and shares of values
    clipped and membranes saturated. In a raster of `timesteps` no membrane of raw events ever meets a clamp; a stream
    may go on for longer, until readouts, which only add, hold at theirs (2^22 or more).
    Raises `SneError` on a module, setting, shape or value that cannot be deployed.
    """
    check_shares(warn_below, fail_below)
    kind = encoder.kind if isinstance(encoder, Encoder) else encoder
    if check_task(task) or not becomes_chain(network, kind):
        if bits != 8:
            raise SneError("the network is deployed as a graph, whose weights have 8 bits", "leave bits out")
        samples = array_of(calibration)
        if layout is not None:
            plain = to_samples(samples, stated_layout("the calibration data", samples.shape, layout))
            samples = samples_for(network, plain, kind or "direct", timesteps, decode)
        return quantize_traced(
            network, name, samples, timesteps=timesteps, labels=labels, encoder=encoder, classes=classes,
            decode=decode, scale=scale, offset=offset, input_range=input_range, input_scale=input_scale, task=task,
            warn_below=warn_below, fail_below=fail_below,
        )  # fmt: skip
    own = permanent_copy(network)
    read = modules(own)
    last = read[-1] if read else None
    if type(last) is not nn.Linear:
        raise SneError(
            f"the network ends in {type(last).__name__}, not Linear",
            "end it with nn.Linear(hidden, classes): the readout",
        )
    first = read[0]
    names = classes or tuple(str(c) for c in range(last.out_features))
    if len(names) != last.out_features:
        raise SneError(f"{len(names)} class names for {last.out_features} outputs", "give one name for each output")

    samples, understood = _samples(array_of(calibration), first, encoder, layout)
    encoder = _encoder(encoder, samples, timesteps, Scaling(scale, offset, input_range, input_scale), read)
    samples = fit_to(encoder, samples, first)
    known = known_labels(labels, len(samples), len(names))
    inputs = encoder.encode(samples)

    folded = list(fold_batch_norm(nn.Sequential(*read)))
    readout = folded.pop()
    assert isinstance(readout, nn.Linear)
    bias = np.zeros(last.out_features) if readout.bias is None else readout.bias.detach().double().numpy()
    weight = readout.weight.detach().double().numpy()
    made = assemble(name, names, encoder, [folded], [(weight, bias)], [()], np.zeros(len(names)), bits)

    constant = encoder.kind == "direct"
    expected = witness.outputs(own, _batches(samples, inputs, encoder, first), timesteps if constant else None)
    found = witness.compare(made, inputs, expected, known)
    clipped = beyond(encoder, samples)
    judge(
        found, encoder, clipped, np.abs(samples).max(), known, len(made.classes), len(samples), warn_below, fail_below
    )
    provenance = found.record() | {
        "source": "quantize_network",
        "samples": len(samples),
        "input": understood,
        "clipped": sum(clipped),
    }
    made = msgspec.structs.replace(made, provenance=provenance)
    made = with_costs(made, measure(made, ReferenceEngine(made), inputs))
    vectors = golden_vectors(ReferenceEngine(made), inputs[:32], None if known is None else known[:32])
    return msgspec.structs.replace(made, vectors=vectors)


def input_layout(network: nn.Module, encoder: str, shape: tuple[int, ...] | None = None) -> LayoutFinder:
    """How to find the layout of data for a network: by its first layer and, where it is known, the input's shape
    (height, width, channels). Raises `SneError` for a network that cannot be read."""
    read = modules(permanent_copy(network))
    if not read or (shape is not None and len(shape) != 3):
        problem = f"the input's shape is {shape}" if read else "the network holds no layer"
        raise SneError(problem, "give HEIGHT,WIDTH,CHANNELS of the input, and layers in nn.Sequential")
    known = None if shape is None else (shape[0], shape[1], shape[2])
    return layout_for(read[0], encoder == "events", known)


def _samples(
    given: np.ndarray, first: nn.Module, encoder: Encoder | str | None, layout: str | None
) -> tuple[np.ndarray, str]:
    """Samples in the package's order, and what was understood in words."""
    raster = (encoder.kind if isinstance(encoder, Encoder) else encoder) == "events"
    if layout is not None:
        layout = stated_layout("the calibration data", given.shape, layout)
        if ("T" in layout) != raster:
            hint = "rasters of events, and they alone, have timesteps: encoder='events' and a T in the layout"
            raise SneError(f"layout {layout} does not go with encoder {'events' if raster else 'direct or rate'}", hint)
    else:
        shape = encoder.shape if isinstance(encoder, Encoder) else None
        layout = layout_for(first, raster, shape)("the calibration data", given.shape)
    return to_samples(given, layout), describe(sample_shape(given.shape, layout), layout)


def _batches(samples: np.ndarray, inputs: np.ndarray, encoder: Encoder, first: nn.Module) -> Iterator[torch.Tensor]:
    """What the network takes: samples as they are, of rates and events their spikes, [n, timesteps, ...]."""
    for start in range(0, len(samples), BATCH):
        rows = slice(start, start + BATCH)
        direct = encoder.kind == "direct"
        yield network_input(samples[rows] if direct else encoder.spikes(inputs[rows]).swapaxes(0, 1), first)


def _encoder(
    given: Encoder | str | None, samples: np.ndarray, timesteps: int, scaling: Scaling, layers: Sequence[nn.Module]
) -> Encoder:
    if not isinstance(given, Encoder):
        encoder = scaling.encoder(given or "direct", samples, timesteps, samples.shape[-3:], layers)
    elif scaling.said:
        raise SneError("an Encoder and a scale, offset or range are given", "give the scale and offset to the Encoder")
    else:
        encoder = given
    if encoder.timesteps != timesteps or (encoder.kind == "events" and samples.shape[1] != timesteps):
        steps = samples.shape[1] if encoder.kind == "events" else encoder.timesteps
        raise SneError(f"{timesteps} timesteps are asked for, but the input has {steps}", "give the same number")
    return encoder
