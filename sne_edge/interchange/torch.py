"""Networks of one's own from torch: an `nn.Sequential` with snnTorch's neurons as an ensemble of one student.

In: the network, and typical samples as it takes them. Out: a measured `QuantEnsemble` with golden vectors, held against
the network itself (`witness`).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from ..check.verify import ReferenceEngine
from ..errors import SneError, SneWarning
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.layout import LayoutFinder, describe, sample_shape, stated_layout, to_samples
from ..learn.student import fold_batch_norm
from ..quantize.calibrate import golden_vectors, measure, with_costs
from ..quantize.quantize import assemble
from . import witness
from .inputs import beyond, fit_to, layout_for, make_encoder, network_input
from .modules import modules, permanent_copy

WARN_BELOW = 0.95
FAIL_BELOW = 0.8
BATCH = 256


def quantize_network(
    network: nn.Sequential,
    name: str,
    calibration: Any,
    *,
    timesteps: int,
    labels: Any = None,
    encoder: Encoder | str | None = None,
    classes: tuple[str, ...] | None = None,
    bits: int | Sequence[int] = 8,
    layout: str | None = None,
    scale: float | None = None,
    offset: float = 0.0,
    warn_below: float = WARN_BELOW,
    fail_below: float = FAIL_BELOW,
) -> QuantEnsemble:
    """A trained spiking network of one's own as an ensemble of one student, measured, with golden vectors.

    network      layers in order (`chain.SUPPORTED`), a `Linear` last: its outputs, averaged over time, are the logits.
                 Of any floating-point type, on any device, with parametrisations and pruning masks or not; it is left
                 as it is. `snn.Leaky` with either order of reset; `student.LIF` has exactly the deployed order for
                 immediate resets.
    calibration  samples as the network takes them, array or tensor, float [N, ...], or 0/1 [N, timesteps, ...] for raw
                 events. They set the input's scale where nothing else does, cost is measured on them, and the network
                 itself is run on them: give typical ones that were not trained on.
    labels       int [N], for the accuracies in the provenance and the golden vectors
    encoder      `direct`, the default: the same input at every timestep; `rate`: inputs are a spike's probability in
                 each timestep; `events`; or an `Encoder`
    classes      names, default "0", "1", ...
    bits         of weights, 8 or 4: one number for the layers between the first and the readout, which keep 8 (as
                 depthwise convolutions do), or one for each layer with weights, the readout last. A direct input's
                 layer has 8.
    layout       of the calibration samples (`ir.layout`: "NCHW", "NHWC", "NTCHW", ...), where it is not torch's own
                 order or cannot be told from the network's first layer; they are turned to torch's order
    scale        of one step of the int8 input, and its `offset`: q = (x - offset) / scale; see `inputs.make_encoder`
    warn_below   share of the samples that the integers must label like the network, run by its own code on the samples
                 themselves (of rates and events: on their spikes); a `SneWarning` below it, below `fail_below` an error

    The provenance holds that share, `agreement`, with the correlation of logits, both accuracies, and shares of values
    clipped and membranes saturated. In a raster of `timesteps` no membrane of raw events ever meets a clamp; a stream
    may go on for longer, until readouts, which only add, hold at theirs (2^22 or more).
    Raises `SneError` on a module, setting, shape or value that cannot be deployed.
    """
    for bound in (warn_below, fail_below):
        if not 0 <= bound <= 1:
            raise SneError(f"an agreement of {bound} cannot be asked for", "give shares in 0..1: 0.95 and 0.8, say")
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

    samples, understood = _samples(_array(calibration), first, encoder, layout)
    encoder = _encoder(encoder, samples, timesteps, scale, offset)
    samples = fit_to(encoder, samples, first)
    known = _labels(labels, len(samples), len(names))
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
    _judge(found, encoder, clipped, np.abs(samples).max(), known, len(samples), warn_below, fail_below)
    provenance = {
        "source": "quantize_network",
        "samples": len(samples),
        "input": understood,
        "agreement": found.agreement,
        "correlation": round(found.correlation, 4),
        "accuracy": None if found.accuracy is None else {"float": found.accuracy, "integer": found.integers},
        "clipped": sum(clipped),
        "saturated": found.saturated,
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


def _array(values: Any) -> np.ndarray:
    """An array or tensor, wherever it lies, as numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise SneError(f"the samples make no array: {error}", "give samples of one shape") from None
    if array.dtype.kind not in "fiub" or array.ndim < 2 or array.size == 0:
        raise SneError(f"the samples are {array.dtype}{list(array.shape)}", "give numbers [N, ...]")
    return array.astype(np.float32) if array.dtype == np.float16 else array


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
    given: Encoder | str | None, samples: np.ndarray, timesteps: int, scale: float | None, offset: float
) -> Encoder:
    if not isinstance(given, Encoder):
        encoder = make_encoder(given or "direct", samples, timesteps, samples.shape[-3:], scale=scale, offset=offset)
    elif scale is not None or offset:
        raise SneError("an Encoder and a scale or offset are given", "give the scale and offset to the Encoder")
    else:
        encoder = given
    if encoder.timesteps != timesteps or (encoder.kind == "events" and samples.shape[1] != timesteps):
        steps = samples.shape[1] if encoder.kind == "events" else encoder.timesteps
        raise SneError(f"{timesteps} timesteps are asked for, but the input has {steps}", "give the same number")
    return encoder


def _labels(labels: Any, count: int, classes: int) -> np.ndarray | None:
    if labels is None:
        return None
    array = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    if array.shape != (count,) or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= classes:
        raise SneError(
            f"labels are {array.dtype}{list(array.shape)}, for {count} samples of {classes} classes",
            f"give one whole number in 0..{classes - 1} for each sample",
        )
    return array.astype(np.int64)


def _judge(
    found: witness.Comparison,
    encoder: Encoder,
    clipped: tuple[float, float],
    largest: float,
    labels: np.ndarray | None,
    count: int,
    warn_below: float,
    fail_below: float,
) -> None:
    """Warnings of all that a user should know, and an error where the integers are not the network."""
    below, above = clipped
    if encoder.kind == "rate" and below:
        _warn(f"{below:.2%} of the values are negative as rates, and never spike; shift or scale the samples")
        below = 0.0
    if below + above:
        _warn(
            f"{below + above:.2%} of the values are beyond what the input holds and are clipped: the largest magnitude "
            f"is {largest:.4g}, a step of int8 {encoder.scale:.4g}; a scale of your own changes that"
        )
    for layer, share in found.saturated.items():
        _warn(f"{share:.2%} of the membranes of {layer} are at their clamp: they hold less than the network's")
    if labels is not None and found.accuracy is not None:
        chance = float(np.bincount(labels).max()) / count
        if found.accuracy <= 1.2 * chance and len(np.unique(labels)) > 1:
            _warn(
                f"the network itself is right on {found.accuracy:.1%} of the samples, where the commonest class makes "
                f"{chance:.1%}: are layout, scaling and labels those it was trained with?"
            )
    if found.agreement < fail_below:
        raise SneError(
            f"the integers label {found.agreement:.2%} of {count} samples like the network itself, less than "
            f"{fail_below:.0%}",
            "check the samples' layout and scale, and bits; fail_below=0 (--fail-below 0) makes the model all the same",
        )
    if found.agreement < warn_below:
        _warn(f"the integers label {found.agreement:.2%} of {count} samples like the network itself")


def _warn(text: str) -> None:
    warnings.warn(text, SneWarning, stacklevel=4)
