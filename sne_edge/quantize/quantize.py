"""Quantisation: torch networks to the integer representation, every accumulator's bound proved.

In: a trained `Ensemble`, or anyone's `nn.Sequential` of convolutions, linear layers, poolings and `snn.Leaky`.
Out: a `QuantEnsemble`. A spike is 0 or 1, so weight, bias and threshold of an output channel share one scale, the
membrane's unit (`student.membrane_unit`): w_int = round(w / unit), likewise bias and threshold.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import snntorch as snn
import torch
from torch import nn

from ..check.verify import ReferenceEngine
from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, Pair, SynapticLayer, size, window_out
from ..ir.neuron import CLAMP_INT32, Bound, Neuron
from ..ir.policy import ActivationPolicy
from ..ir.proof import prove_layer
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from ..learn.student import (
    Ensemble,
    Student,
    fold_batch_norm,
    folded_readout,
    membrane_unit,
    nearest_decay,
    unroll,
    weight_limit,
)
from .calibrate import golden_vectors, measure, with_costs

GAIN_MAX = 2**12 - 1
REACH_MAX = 2**29  # what all students together may add to a logit: half the format's limit
SUPPORTED = (
    "convolutions, Linear, AvgPool, MaxPool, Flatten, Dropout, Identity, a batch norm after weights, and snntorch.Leaky"
)


def quantize_ensemble(ensemble: Ensemble, name: str, classes: tuple[str, ...]) -> QuantEnsemble:
    """An ensemble in float form as integers. Its head is folded in the readouts: weight [classes, hidden] = A_k R_k.

    The order is 0, 1, ..., the policy `all`; nothing is measured yet (see `calibrate`).
    """
    readouts = []
    chains = []
    for student, head in zip(ensemble.students, ensemble.heads, strict=True):
        assert isinstance(student, Student) and isinstance(head, nn.Linear)
        weight, bias = (t.detach().double().numpy() for t in folded_readout(student, head))
        readouts.append((weight, bias))
        chains.append(list(fold_batch_norm(student.body)))
    features = [tuple(int(i) for i in ensemble.partition.chunk(k)) for k in range(len(chains))]
    bias = ensemble.bias.detach().double().numpy()
    return _assemble(name, classes, ensemble.encoder, chains, readouts, features, bias, ensemble.sizes.bits)


def quantize_network(
    network: nn.Sequential,
    name: str,
    calibration: np.ndarray,
    *,
    timesteps: int,
    labels: np.ndarray | None = None,
    encoder: Encoder | None = None,
    classes: tuple[str, ...] | None = None,
    bits: int | Sequence[int] = 8,
) -> QuantEnsemble:
    """A trained spiking network of one's own as an ensemble of one student, measured, with golden vectors.

    network      layers in order (`SUPPORTED`), a `Linear` last: its outputs, averaged over time, are the logits.
                 1-D networks take [N, channels, length], 2-D ones [N, channels, height, width]. `snn.Leaky` with
                 either order of reset; `student.LIF` has exactly the deployed order for immediate resets.
    calibration  float samples [N, length], [N, height, width] or [N, height, width, channels] (channel last); for an
                 encoder of raw events 0/1 [N, timesteps, ...]. They set the input's scale where no encoder is given,
                 and cost is measured on them: give typical ones that were not trained on.
    labels       int [N], stored with the golden vectors
    encoder      default: `direct`, the same input at every timestep, the largest calibration value at 127
    classes      names, default "0", "1", ...
    bits         of weights, 8 or 4: one number for the layers between the first and the readout, which keep 8 (as
                 depthwise convolutions do), or one for each layer with weights, the readout last. A direct input's
                 layer has 8.

    The provenance holds `agreement`, the share of calibration samples that the float network labels likewise.
    Raises `SneError` on a module, setting, shape or value that cannot be deployed.
    """
    encoder = encoder or make_encoder("direct", calibration, timesteps)
    inputs = encoder.encode(calibration)
    if not isinstance(network, nn.Sequential):
        raise SneError(
            f"the network is a {type(network).__name__}, not nn.Sequential", "chain its layers in nn.Sequential"
        )
    network = nn.Sequential(*_modules(_copy(network)))
    modules = list(fold_batch_norm(network))
    last = modules.pop() if modules else None
    if not isinstance(last, nn.Linear):
        raise SneError(
            f"the network ends in {type(last).__name__}, not Linear",
            "end it with nn.Linear(hidden, classes): the readout",
        )
    names = classes or tuple(str(c) for c in range(last.out_features))
    if len(names) != last.out_features:
        raise SneError(f"{len(names)} class names for {last.out_features} outputs", "give one name for each output")
    bias = np.zeros(last.out_features) if last.bias is None else last.bias.detach().double().numpy()
    readout = (last.weight.detach().double().numpy(), bias)
    made = _assemble(name, names, encoder, [modules], [readout], [()], np.zeros(len(names)), bits)
    agreement = float((_float_labels(network, encoder, inputs, modules) == _integer_labels(made, inputs)).mean())
    made = msgspec.structs.replace(made, provenance={"source": "quantize_network", "agreement": agreement})
    made = with_costs(made, measure(made, ReferenceEngine(made), inputs))
    vectors = golden_vectors(ReferenceEngine(made), inputs[:32], None if labels is None else np.asarray(labels)[:32])
    return msgspec.structs.replace(made, vectors=vectors)


def _copy(network: nn.Sequential) -> nn.Sequential:
    """The network in evaluation, its own left alone but for hidden membranes: those of the last training step hang on a
    graph that cannot be copied, and are put to rest."""
    for module in network.modules():
        if isinstance(module, snn.Leaky):
            module.reset_mem()
    return copy.deepcopy(network).eval()


def make_encoder(kind: str, x: np.ndarray, timesteps: int, shape: tuple[int, ...] | None = None) -> Encoder:
    """An encoder for samples like `x`, whose largest magnitude becomes 127 (`direct`, `rate`).

    `x`: float [N, length], [N, height, width] or [N, height, width, channels]; for `events` 0/1 [N, timesteps, ...],
    whose `shape` (height, width, channels) must be given. Raises `SneError` where these make no encoder.
    """
    x = np.asarray(x)
    if kind not in ("direct", "rate", "events"):
        raise SneError(f"there is no encoder {kind!r}", "an encoder is one of: direct, rate, events")
    if shape is None:
        if kind == "events":
            raise SneError("the shape of an event input is not known", "give its (height, width, channels)")
        if x.ndim not in (2, 3, 4):
            raise SneError(
                f"samples of shape {x.shape} say nothing about the input's shape",
                "give samples [N, length], [N, height, width] or [N, height, width, channels]",
            )
        shape = {2: (1, *x.shape[1:], 1), 3: (*x.shape[1:], 1), 4: x.shape[1:]}[x.ndim]
    if len(shape) != 3:
        raise SneError(f"the input's shape is {shape}", "give (height, width, channels); 1-D data has height 1")
    if x.size == 0 or not np.isfinite(x).all():
        raise SneError("the samples that set the input's scale hold NaN or nothing", "give clean, typical samples")
    scale = 1.0 if kind == "events" else float(np.abs(x).max()) / 127 or 1.0
    try:
        return Encoder(kind, (shape[0], shape[1], shape[2]), timesteps, scale=scale)  # type: ignore[arg-type]
    except ValueError as error:
        raise SneError(str(error), "check the samples' shape and the timesteps") from None


def _float_labels(network: nn.Sequential, encoder: Encoder, inputs: np.ndarray, modules: list[nn.Module]) -> np.ndarray:
    """Labels [N] that the float network gives the encoded inputs."""
    constant = encoder.kind == "direct"
    raw = encoder.analog(inputs) * encoder.scale + encoder.offset if constant else encoder.spikes(inputs)
    x = torch.from_numpy(raw.astype(np.float32)).movedim(-1, -3)
    if any(isinstance(m, nn.Conv1d | nn.AvgPool1d | nn.MaxPool1d) for m in modules):
        x = x.squeeze(-2)
    elif isinstance(network[0], nn.Linear):
        x = x.flatten(-3)
    with torch.no_grad():
        outputs = unroll(network, x, encoder.timesteps, constant)
    labels: np.ndarray = outputs.mean(dim=0).argmax(dim=1).numpy()
    return labels


def _integer_labels(ensemble: QuantEnsemble, inputs: np.ndarray) -> np.ndarray:
    from ..check.reference import run

    labels: np.ndarray = run(ensemble, inputs).decisions.label
    return labels


def _modules(network: nn.Sequential) -> list[nn.Module]:
    """The chain flat, without what does nothing in evaluation."""
    flat: list[nn.Module] = []
    for module in network:
        if isinstance(module, nn.Sequential):
            flat += _modules(module)
        elif not isinstance(module, nn.Dropout | nn.Dropout1d | nn.Dropout2d | nn.Identity):
            flat.append(module)
    return flat


def _assemble(
    name: str,
    classes: tuple[str, ...],
    encoder: Encoder,
    chains: list[list[nn.Module]],
    readouts: list[tuple[np.ndarray, np.ndarray]],
    features: list[tuple[int, ...]],
    bias: np.ndarray,
    bits: int | Sequence[int],
) -> QuantEnsemble:
    """Students on one logit scale, from chains and float readouts (weight [classes, hidden] on mean spikes, bias)."""
    try:
        bodies = [_Chain(encoder, _bits_by_layer(bits, chain)).extend(chain) for chain in chains]
        lasts = [body.readout(weight) for body, (weight, _) in zip(bodies, readouts, strict=True)]
        scale = _logit_scale(lasts)
        students = []
        for body, last, (_, offset), chunk in zip(bodies, lasts, readouts, features, strict=True):
            gain = np.maximum(1, np.rint(last.scale / scale)).astype(np.int32)
            part = _integers("the readout's bias", offset / scale)
            students.append(QuantStudent((*body.layers, last), chunk, gain, part))
        return QuantEnsemble(
            name=name,
            encoder=encoder,
            students=tuple(students),
            bias=_integers("the head's bias", bias / scale),
            order=tuple(range(len(students))),
            classes=classes,
            logit_scale=scale,
            policy=ActivationPolicy("all"),
            vectors=no_vectors(encoder, len(classes), students),
        )
    except ValueError as error:
        raise SneError(
            f"{name} cannot be deployed: {error}", "see the limits in docs, or make the network smaller"
        ) from None


def _bits_by_layer(bits: int | Sequence[int], chain: list[nn.Module]) -> tuple[int, ...]:
    """Bits of the weights of each layer of a chain that has some, then of the readout's."""
    weighted = [module for module in chain if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)]
    count = len(weighted) + 1
    if isinstance(bits, int):
        depthwise = [not isinstance(m, nn.Linear) and m.groups > 1 for m in weighted[1:]]
        given = (8, *(8 if grouped else bits for grouped in depthwise), 8)[-count:]
    else:
        given = tuple(bits)
    asked = {bits} if isinstance(bits, int) else set(given)
    if len(given) != count or not asked <= {4, 8}:
        raise SneError(
            f"bits {bits} do not fit {count} layers with weights", "give 8 or 4, or one of them for each layer"
        )
    return given


def _logit_scale(readouts: list[Linear]) -> float:
    """The finest common unit of logits with gains below 2^12 and every possible logit far inside 2^30."""
    reach = sum(r.scale * max(-r.bound.low, r.bound.high, 1) for r in readouts)
    return float(max(max(r.scale.max() for r in readouts) / GAIN_MAX, np.max(reach) / REACH_MAX))


def _integers(what: str, values: np.ndarray) -> np.ndarray:
    rounded = np.rint(values)
    if not np.isfinite(rounded).all() or np.abs(rounded).max(initial=0) >= 2**30:
        raise ValueError(f"{what} reaches {np.abs(values).max():.3g} units of its scale, more than 2^30")
    integers: np.ndarray = rounded.astype(np.int32)
    return integers


@dataclass(frozen=True)
class _Weights:
    """A convolution or linear layer that waits for its neurons: weight float64 as the representation orders it."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    out_shape: Shape
    stride: Pair = (1, 1)
    padding: Pair = (0, 0)
    depthwise: bool = False


class _Chain:
    """Builds a student's layers from modules, keeping the map's shape, what one spike is worth, and how many an input
    can bring."""

    def __init__(self, encoder: Encoder, bits: tuple[int, ...]) -> None:
        """`bits` of each layer's weights, the readout's last."""
        self.encoder, self.bits = encoder, bits
        self.layers: list[Layer] = []
        self.shape: Shape = encoder.shape
        self.unit = encoder.scale if encoder.kind == "direct" else 1.0  # real value of one unit of input
        self.multiplicity = 1
        self.waiting: _Weights | None = None
        self.flat = False

    def extend(self, modules: list[nn.Module]) -> _Chain:
        """Add modules in order."""
        for number, module in enumerate(modules):
            self._add(f"module {number}, {type(module).__name__}", module)
        if self.waiting is not None:
            raise SneError(f"no neurons follow {self.waiting.name}", "put snn.Leaky between layers with weights")
        return self

    def readout(self, weight: np.ndarray) -> Linear:
        """The last layer, weight float [classes, hidden] on mean spikes."""
        name = "the readout"
        self._check_finite(name, weight)
        weight = self._flatten(name, weight) / self.encoder.timesteps
        waiting = _Weights(name, weight, np.zeros(len(weight)), (1, 1, len(weight)))
        layer = self._layer(waiting, Neuron("li", reset="none"), None)
        assert isinstance(layer, Linear)
        return layer

    def _add(self, name: str, module: nn.Module) -> None:
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            if self.waiting is not None:
                raise SneError(
                    f"{name} follows {self.waiting.name} without neurons between", "put snn.Leaky between them"
                )
            self.waiting = self._linear(name, module) if isinstance(module, nn.Linear) else self._conv(name, module)
        elif isinstance(module, snn.Leaky):
            if self.waiting is None:
                raise SneError(f"{name} follows no convolution or linear layer", "put weights right before the neurons")
            neuron, threshold = _neuron(name, module, self.waiting.out_shape[2])
            self.layers.append(self._layer(self.waiting, neuron, threshold))
            self.shape, self.unit, self.multiplicity = self.waiting.out_shape, 1.0, 1
            self.waiting = None
        elif isinstance(module, nn.AvgPool1d | nn.AvgPool2d | nn.MaxPool1d | nn.MaxPool2d):
            self._pool(name, module)
        elif isinstance(module, nn.Flatten):
            if (module.start_dim, module.end_dim) != (1, -1) or self.waiting is not None:
                raise SneError(
                    f"{name} does not flatten whole samples of spikes",
                    "put nn.Flatten() after the neurons or the pooling",
                )
            self.flat = True
        else:
            raise SneError(f"{name} cannot be deployed", f"supported: {SUPPORTED}")

    def _linear(self, name: str, module: nn.Linear) -> _Weights:
        weight, bias = self._parameters(name, module)
        if not self.flat and self.shape[:2] != (1, 1) and not (self.shape[0] == 1 and self.shape[2] == 1):
            raise SneError(
                f"{name} takes a map of {self.shape} (height, width, channels)", "put nn.Flatten() before it"
            )
        return _Weights(name, self._flatten(name, weight), bias, (1, 1, module.out_features))

    def _flatten(self, name: str, weight: np.ndarray) -> np.ndarray:
        """Columns from torch's order (channel first) to the representation's (channel last)."""
        height, width, channels = self.shape
        if weight.shape[1] != size(self.shape):
            raise SneError(
                f"{name} takes {weight.shape[1]} inputs, but {self.shape} (height, width, channels) arrive",
                "make the layers' shapes fit",
            )
        maps = weight.reshape(-1, channels, height, width)
        flat: np.ndarray = maps.transpose(0, 2, 3, 1).reshape(len(weight), -1)
        return flat

    def _conv(self, name: str, module: nn.Conv1d | nn.Conv2d) -> _Weights:
        weight, bias = self._parameters(name, module)
        values = not self.layers and self.encoder.kind == "direct"
        depthwise = module.groups == module.in_channels == module.out_channels and not values
        usual = {"groups": module.groups if depthwise else 1, "padding_mode": "zeros"}
        odd = [key for key, value in usual.items() if getattr(module, key) != value]
        if odd or any(d != 1 for d in module.dilation):
            raise SneError(
                f"{name} has {odd[0] if odd else 'dilation'} {getattr(module, odd[0]) if odd else module.dilation}",
                "use dilation=1, zero padding, and groups=1 or, on spikes, a group for each channel",
            )
        if self.flat or (isinstance(module, nn.Conv1d) and self.shape[0] != 1):
            raise SneError(
                f"{name} cannot take a map of {self.shape} (height, width, channels)", "check the layers' order"
            )
        if weight.ndim == 3:
            weight = weight[:, :, None, :]
        if module.in_channels != self.shape[2]:
            raise SneError(
                f"{name} takes {module.in_channels} channels, but {self.shape[2]} arrive", "make the layers' shapes fit"
            )
        one_d = isinstance(module, nn.Conv1d)
        stride = _pair(module.stride, one_d, 1)
        if module.padding == "same":
            padding: Pair = (weight.shape[2] // 2, weight.shape[3] // 2)
            if not (weight.shape[2] % 2 and weight.shape[3] % 2):
                raise SneError(
                    f"{name} pads an even kernel to the same size", "use an odd kernel, or padding by number"
                )
        else:
            padding = (0, 0) if isinstance(module.padding, str) else _pair(module.padding, one_d, 0)
        out = self._window(name, (weight.shape[2], weight.shape[3]), stride, padding)
        return _Weights(name, weight, bias, (*out, len(weight)), stride, padding, module.groups > 1)

    def _window(self, name: str, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
        out = window_out(self.shape, kernel, stride, padding)
        if min(out) < 1:
            raise SneError(
                f"{name} has a kernel of {kernel}, larger than its input of {self.shape} (height, width, channels)",
                "use a smaller kernel, or more padding",
            )
        return out

    def _parameters(self, name: str, module: nn.Linear | nn.Conv1d | nn.Conv2d) -> tuple[np.ndarray, np.ndarray]:
        weight = module.weight.detach().double().cpu().numpy()
        bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().double().cpu().numpy()
        self._check_finite(name, weight, bias)
        return weight, bias

    @staticmethod
    def _check_finite(name: str, *arrays: np.ndarray) -> None:
        if not all(np.isfinite(a).all() for a in arrays):
            raise SneError(f"{name} has NaN or infinite weights", "train it again, with a lower learning rate")

    def _pool(self, name: str, module: Any) -> None:
        average = isinstance(module, nn.AvgPool1d | nn.AvgPool2d)
        if self.waiting is not None or not self.layers:
            raise SneError(f"{name} does not pool spikes", "put poolings after neurons: weights, snn.Leaky, pooling")
        one_d = isinstance(module, nn.AvgPool1d | nn.MaxPool1d)
        kernel, stride = (_pair(v, one_d, 1) for v in (module.kernel_size, module.stride or module.kernel_size))
        padding = _pair(module.padding, one_d, 0)
        partial = average and padding != (0, 0) and not module.count_include_pad
        if self.flat or module.ceil_mode or partial or (not average and _pair(module.dilation, one_d, 1) != (1, 1)):
            raise SneError(
                f"{name} uses an option that cannot be deployed",
                "pool maps with ceil_mode=False, count_include_pad=True, dilation=1",
            )
        out: Shape = (*self._window(name, kernel, stride, padding), self.shape[2])
        self.layers.append((AvgPool if average else MaxPool)(self.shape, out, kernel, stride, padding))
        if average:
            self.unit /= getattr(module, "divisor_override", None) or kernel[0] * kernel[1]
            self.multiplicity *= kernel[0] * kernel[1]
        self.shape = out

    def _layer(self, w: _Weights, neuron: Neuron, threshold: np.ndarray | None) -> Linear | Conv:
        """Integers on one scale a channel, with the proven bound."""
        axes = tuple(range(1, w.weight.ndim))
        bits = self.bits[sum(isinstance(layer, SynapticLayer) for layer in self.layers)]
        limit = weight_limit(bits)
        if threshold is None:
            weight_scale = np.maximum(np.abs(w.weight).max(axis=axes) / limit, 1e-12)
            scale = weight_scale * self.unit
        else:
            kernel, constant, level = (torch.from_numpy(np.ascontiguousarray(a)) for a in (w.weight, w.bias, threshold))
            scale = membrane_unit(kernel, constant, level, self.unit, bits).numpy()
            weight_scale = scale / self.unit
        whole = np.rint(w.weight / weight_scale.reshape(-1, *[1] * len(axes)))
        weight = np.clip(whole, -limit, limit).astype(np.int8)
        bias = _integers(f"the bias of {w.name}", w.bias / scale)
        thresholds = np.zeros(len(scale), np.int32)
        if threshold is not None:
            thresholds = np.maximum(1, _integers(f"the threshold after {w.name}", threshold / scale)).astype(np.int32)
        shared: dict[str, Any] = {
            "in_shape": self.shape,
            "out_shape": w.out_shape,
            "weight": weight,
            "bias": bias,
            "threshold": thresholds,
            "scale": scale,
            "neuron": neuron,
            "bound": Bound(0, 0),
            "bits": bits,
        }
        layer: Linear | Conv
        if w.weight.ndim == 4:
            layer = (Depthwise if w.depthwise else Conv)(**shared, stride=w.stride, padding=w.padding)
        else:
            layer = Linear(**shared)
        return _bounded(layer, self.encoder, not self.layers, self.multiplicity)


def _bounded(layer: Linear | Conv, encoder: Encoder, first: bool, multiplicity: int) -> Linear | Conv:
    """The layer with its proven bound; where weights alone give none that fits, with a clamp, in 16 bits if that leaves
    four thresholds of room."""
    room = max(1, 4 * int(layer.threshold.max()))
    candidates: list[tuple[int, int] | None] = [
        None,
        (-(2**14), 2**14),
        (-(2**13), 2**13),
        (-(2**12), 2**12),
        CLAMP_INT32,
    ]
    for clamp in candidates:
        if clamp is not None and clamp[1] < room:
            continue
        held = msgspec.structs.replace(layer, neuron=msgspec.structs.replace(layer.neuron, clamp=clamp))
        bound = prove_layer(held, encoder, first, multiplicity)
        if bound is not None and bound.width <= (16 if clamp is not None and clamp != CLAMP_INT32 else 32):
            return msgspec.structs.replace(held, bound=bound)
    raise ValueError("a layer's membranes cannot be kept in 32 bits")


def _neuron(name: str, leaky: snn.Leaky, channels: int) -> tuple[Neuron, np.ndarray]:
    """The integer neuron of an `snn.Leaky`, and its real threshold by channel, float64 [channels]."""
    if leaky.inhibition or leaky.state_quant or float(torch.as_tensor(leaky.graded_spikes_factor).max()) != 1.0:
        raise SneError(f"{name} uses inhibition, state_quant or graded spikes", "use a plain snn.Leaky")
    if leaky.reset_mechanism not in ("subtract", "zero"):
        raise SneError(f"{name} has reset_mechanism {leaky.reset_mechanism!r}", 'use "subtract" or "zero"')
    delay = bool(leaky.reset_delay)
    if delay and leaky.reset_mechanism == "zero":
        raise SneError(
            f"{name} resets to zero one step late",
            'use reset_delay=False with reset_mechanism="zero", or "subtract" with either',
        )
    beta = np.unique(leaky.beta.detach().double().clamp(0, 1).numpy())
    if len(beta) != 1 or not np.isfinite(beta).all():
        raise SneError(f"{name} has {len(beta)} different or invalid betas", "use one beta in 0..1 for a layer")
    threshold = leaky.threshold.detach().double().numpy().reshape(-1)
    if len(threshold) not in (1, channels) or not (np.isfinite(threshold).all() and (threshold > 0).all()):
        raise SneError(
            f"{name} has {len(threshold)} thresholds for {channels} channels, or one that is not positive",
            "use one positive threshold for a layer, or one for each channel",
        )
    decay = nearest_decay(float(beta[0]))
    kind: Literal["if", "lif"] = "if" if decay.kind == "none" else "lif"
    return Neuron(kind, decay, leaky.reset_mechanism, delay), np.broadcast_to(threshold, (channels,)).astype(np.float64)


def _pair(value: int | tuple[int, ...], flat: bool, vertical: int) -> Pair:
    """A module's setting as (vertical, horizontal); that of a 1-D module (`flat`) lies along the width."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if flat:
        return vertical, numbers[0]
    return numbers[0], numbers[-1]
