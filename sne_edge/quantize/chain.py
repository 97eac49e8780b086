"""From a chain of torch modules to integer layers, every membrane's bound proved.

In: the modules of a student's body, or of anyone's network, in order, as they are in evaluation. Out: `ir.layers`. A
spike is 0 or 1, so weight, bias and threshold of an output channel share one scale, the membrane's unit
(`integers.membrane_unit`): w_int = round(w / unit), likewise bias and threshold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import numpy as np
import snntorch as snn
import torch
from torch import nn

from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, Pair, SynapticLayer, size, window_out
from ..ir.neuron import CLAMP_INT32, Bound, Neuron, nearest_decay
from ..ir.proof import prove_layer
from ..learn.integers import direct_unit, membrane_unit, weight_limit

SUPPORTED = (
    "convolutions, Linear, AvgPool, MaxPool, Flatten, Dropout, Identity, a batch norm after weights, and snntorch.Leaky"
)
CLAMPS_INT16 = (2**14, 2**13, 2**12)  # that leave a timestep's current room in 16 bits
READOUT_LEAST, READOUT_MOST = 2**22, 2**26  # clamps of readouts: room for long streams; far inside the logits' limit


def integers(what: str, values: np.ndarray) -> np.ndarray:
    """Values rounded to int32; `ValueError` where they are not finite or reach 2^30."""
    rounded = np.rint(values)
    if not np.isfinite(rounded).all() or np.abs(rounded).max(initial=0) >= 2**30:
        raise ValueError(f"{what} reaches {np.abs(values).max():.3g} units of its scale, more than 2^30")
    found: np.ndarray = rounded.astype(np.int32)
    return found


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
    axes: int = 2  # of the module's outputs in torch, samples among them


class Chain:
    """Builds a student's layers from modules, keeping the map's shape, what one spike is worth, and how many an input
    can bring."""

    def __init__(self, encoder: Encoder, bits: tuple[int, ...]) -> None:
        """`bits` of each layer's weights, the readout's last."""
        self.encoder, self.bits = encoder, bits
        self.layers: list[Layer] = []
        self.shape: Shape = encoder.shape
        self.unit = encoder.unit if encoder.kind == "direct" else 1.0  # real value of one unit of input
        self.multiplicity = 1
        self.waiting: _Weights | None = None
        self.flat = False

    def extend(self, modules: list[nn.Module]) -> Chain:
        """Add modules in order."""
        for number, module in enumerate(modules):
            self._add(f"module {number}, {type(module).__name__}", module)
        if self.waiting is not None:
            raise SneError(f"no neurons follow {self.waiting.name}", "put snn.Leaky between layers with weights")
        return self

    def readout(self, weight: np.ndarray, scale: np.ndarray | None = None) -> Linear:
        """The last layer, weight float [classes, hidden] on mean spikes; `scale` [classes] of its membranes, by default
        the finest."""
        name = "the readout"
        self._check_finite(name, weight)
        weight = self._alike(name, self._flatten(name, weight)) / self.encoder.timesteps
        waiting = _Weights(name, weight, np.zeros(len(weight)), (1, 1, len(weight)))
        layer = self._layer(waiting, Neuron("li", reset="none"), None, scale)
        assert isinstance(layer, Linear)
        return layer

    def readout_offset(self, weight: np.ndarray) -> np.ndarray | float:
        """What the input's offset adds to each output of a readout of real weights that takes the input itself, float
        [classes]."""
        name = "the readout"
        return self._shifted(name, self._flatten(name, weight) if self.encoder.by_channel else weight)

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
            neuron, threshold = _neuron(name, module, self.waiting)
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
        weight = self._flatten(name, weight)
        bias = bias + self._shifted(name, weight)
        return _Weights(name, self._alike(name, weight), bias, (1, 1, module.out_features))

    def _shifted(self, name: str, weight: np.ndarray, padding: Pair = (0, 0)) -> np.ndarray | float:
        """What an input's offset, which the device leaves out, adds to each output, float [channels]."""
        if self.layers or self.encoder.kind != "direct" or not self.encoder.shifted:
            return 0.0
        if padding != (0, 0):
            raise SneError(
                f"{name} pads its input with zeros, which an offset of {self.encoder.offset} does not leave zeros",
                "use no offset, or no padding in the first layer",
            )
        return self._of_input(name, self.encoder.summed, self.encoder.offset, weight)

    def _alike(self, name: str, weight: np.ndarray) -> np.ndarray:
        """Weights that take one unit of every input alike: those of an input by its channel's share of `unit`."""
        if self.layers or self.encoder.kind != "direct" or not self.encoder.by_channel:
            return weight
        alike: np.ndarray = weight * self._of_input(name, self.encoder.facing, self.encoder.relative, weight)
        return alike

    @staticmethod
    def _of_input(name: str, told: Callable[..., np.ndarray], *given: Any) -> np.ndarray:
        try:
            return told(*given)
        except ValueError as error:
            raise SneError(f"{name}: {error}", "or give one scale and offset for all of the input") from None

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
        bias = bias + self._shifted(name, weight, padding)
        weight = self._alike(name, weight)
        return _Weights(name, weight, bias, (*out, len(weight)), stride, padding, module.groups > 1, 3 if one_d else 4)

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
        other = not average and (_pair(module.dilation, one_d, 1) != (1, 1) or module.return_indices)
        if self.flat or module.ceil_mode or partial or other:
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

    def _layer(
        self, w: _Weights, neuron: Neuron, threshold: np.ndarray | None, scale: np.ndarray | None = None
    ) -> Linear | Conv:
        """Integers on one scale a channel, with the proven bound; `scale` of a readout, by default the finest."""
        axes = tuple(range(1, w.weight.ndim))
        bits = self.bits[sum(isinstance(layer, SynapticLayer) for layer in self.layers)]
        limit = weight_limit(bits)
        shift = 0  # of a direct input's current
        if threshold is None:
            if scale is None:
                scale = np.maximum(np.abs(w.weight).max(axis=axes) / limit, 1e-12) * self.unit
            weight_scale = scale / self.unit
        else:
            kernel, constant, level = (torch.from_numpy(np.ascontiguousarray(a)) for a in (w.weight, w.bias, threshold))
            if self.encoder.kind == "direct" and not self.layers and bits == 8:
                unit, shift = direct_unit(kernel, constant, level, self.unit, neuron, self.encoder.timesteps)
            else:
                unit = membrane_unit(kernel, constant, level, self.unit, bits)
            scale = unit.numpy()
            weight_scale = scale / 2**shift / self.unit
        whole = np.rint(w.weight / weight_scale.reshape(-1, *[1] * len(axes)))
        weight = np.clip(whole, -limit, limit).astype(np.int8)
        bias = integers(f"the bias of {w.name}", w.bias / (scale / 2**shift))
        thresholds = np.zeros(len(scale), np.int32)
        if threshold is not None:
            thresholds = np.maximum(1, integers(f"the threshold after {w.name}", threshold / scale)).astype(np.int32)
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
            "current_shift": shift,
        }
        layer: Linear | Conv
        if w.weight.ndim == 4:
            layer = (Depthwise if w.depthwise else Conv)(**shared, stride=w.stride, padding=w.padding)
        else:
            layer = Linear(**shared)
        return _bounded(layer, self.encoder, not self.layers, self.multiplicity)


def _bounded(layer: Linear | Conv, encoder: Encoder, first: bool, multiplicity: int) -> Linear | Conv:
    """The layer with its proven bound, and with a clamp where weights alone give none that fits, or none at all: that
    of neurons without leak in a stream of events, which may go on for ever.

    No clamp is met within the encoder's timesteps, whatever the input, unless that takes membranes of more than 32 bits
    or, of a readout, more than `READOUT_MOST`. Streams that go on for longer find room for at least four thresholds, or
    `READOUT_LEAST` in a readout.
    """
    readout = layer.neuron.kind == "li"
    within = prove_layer(layer, encoder, first, multiplicity, buffered=True)
    assert within is not None
    reach = max(-within.low, within.high)
    proven = prove_layer(layer, encoder, first, multiplicity)
    if proven is not None and proven.width <= 32 and (not readout or reach <= READOUT_MOST):
        return msgspec.structs.replace(layer, bound=proven)
    room = max(reach, 4 * int(layer.threshold.max()))
    if readout:
        sides = [min(max(reach, READOUT_LEAST), READOUT_MOST)]
    else:
        sides = [side for side in CLAMPS_INT16 if side >= room] + [CLAMP_INT32[1]]
    for side in sides:
        held = msgspec.structs.replace(layer, neuron=msgspec.structs.replace(layer.neuron, clamp=(-side, side)))
        bound = prove_layer(held, encoder, first, multiplicity)
        if bound is not None and bound.width <= (16 if side in CLAMPS_INT16 else 32):
            return msgspec.structs.replace(held, bound=bound)
    raise ValueError("a layer's membranes cannot be kept in 32 bits")


def _neuron(name: str, leaky: snn.Leaky, weights: _Weights) -> tuple[Neuron, np.ndarray]:
    """The integer neuron of an `snn.Leaky` after `weights`, and its real threshold by channel, float64 [channels]."""
    if leaky.inhibition or leaky.state_quant or bool((leaky.graded_spikes_factor.detach() != 1).any()):
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
    decay = nearest_decay(float(beta[0]))
    kind: Literal["if", "lif"] = "if" if decay.kind == "none" else "lif"
    return Neuron(kind, decay, leaky.reset_mechanism, delay), _thresholds(name, leaky, weights)


def _thresholds(name: str, leaky: snn.Leaky, weights: _Weights) -> np.ndarray:
    """Real thresholds by channel, float64 [channels]: torch spreads them over its maps from the last axis on."""
    given = leaky.threshold.detach().double().numpy()
    height, width, channels = weights.out_shape
    maps = {2: (channels,), 3: (channels, width), 4: (channels, height, width)}[weights.axes]
    try:
        spread = np.broadcast_to(given, maps).reshape(channels, -1)
    except ValueError:
        spread = None
    if spread is None or (spread != spread[:, :1]).any():
        raise SneError(
            f"{name} has thresholds of shape {list(given.shape)} for outputs of shape {list(maps)}",
            "use one threshold for a layer, or one for each channel: of shape "
            f"{[channels] + [1] * (len(maps) - 1)}, as torch spreads them over the last axes",
        )
    if not (np.isfinite(spread).all() and (spread > 0).all()):
        raise SneError(f"{name} has a threshold that is not positive", "use thresholds above 0")
    found: np.ndarray = spread[:, 0].copy()
    return found


def _pair(value: int | tuple[int, ...], flat: bool, vertical: int) -> Pair:
    """A module's setting as (vertical, horizontal); that of a 1-D module (`flat`) lies along the width."""
    numbers = (value,) if isinstance(value, int) else tuple(value)
    if flat:
        return vertical, numbers[0]
    return numbers[0], numbers[-1]
