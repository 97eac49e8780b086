"""Students: small networks of LIF neurons in torch, and the ensemble that sums their logits.

In: a body's sizes, a `Partition`. Out: modules that train with snnTorch's surrogate gradients and fire in the order of
`neuron.Neuron`, so that what is trained is what is deployed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from ..ir.encoder import Encoder, Shape
from ..ir.neuron import Decay
from .partition import Partition

ALPHA = 2.0  # of the arctangent surrogate gradient (Fang et al. 2021, arXiv 2007.05785)
CLIPPED = (1.0, 0.93, 0.87, 0.81, 0.75, 0.7, 0.65, 0.6, 0.55, 0.5)  # shares of a channel's range to try with 4 bits
MAX_SIZE = 4096  # of a body's channels, kernels, strides and dense layers
CONSTANT_MAX = 2**14  # largest bias or threshold in units of its membrane: leaves 16-bit membranes possible


class LIF(snn.Leaky):  # type: ignore[misc]
    """`snn.Leaky(reset_delay=False)` in the deployed order.

        v = beta v + I      s = v > threshold      v = v - s threshold, or (1 - s) v

    snnTorch's own differs from that order where a membrane still is above threshold after its reset: it takes another
    threshold off before it compares. `shift` k makes the leak beta = 1 - 2^-k, a shift on the device; with `learn` beta
    is a parameter that starts there, and a q15 factor on the device where it ends elsewhere. With `init_hidden` the
    neurons keep their membranes themselves, as snnTorch's do, and return spikes alone: a layer of `nn.Sequential`.
    """

    def __init__(
        self,
        shift: int = 1,
        threshold: float = 1.0,
        reset_mechanism: str = "subtract",
        learn: bool = False,
        init_hidden: bool = False,
    ) -> None:
        super().__init__(
            beta=1.0 - 2.0**-shift,
            learn_beta=learn,
            threshold=threshold,
            spike_grad=surrogate.atan(alpha=ALPHA),
            reset_mechanism=reset_mechanism,
            reset_delay=False,
            init_hidden=init_hidden,
        )
        self.shift, self.level, self.learn = shift, threshold, learn
        self.unit: Tensor | None = None  # integer form: the real value of one membrane unit, [channels, 1, ...]

    @property
    def decay(self) -> Decay:
        """The leak as the device has it."""
        return nearest_decay(float(self.beta.detach())) if self.learn else Decay("shift", self.shift)

    def forward(self, current: Tensor, membrane: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """One timestep: spikes 0/1 and the membrane after the reset, both like `current`; with `init_hidden` the spikes
        alone."""
        if self.init_hidden:
            kept: Tensor = self.mem  # type: ignore[has-type]
            membrane = kept if kept.shape == current.shape else None
        beta = self.beta.clamp(0, 1) if self.learn else 1.0 - 2.0**-self.shift
        v = current if membrane is None else beta * membrane + current
        spike: Tensor = self.spike_grad(v - self.threshold)
        left = v - spike * self.threshold if self.reset_mechanism == "subtract" else v - spike * v
        if self.init_hidden:
            self.mem = left
            return spike
        return spike, left


class _Unrolled(torch.autograd.Function):
    """All timesteps of a `LIF` that resets by subtraction, with backpropagation through time in few operations."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, neurons: LIF, beta: Tensor) -> Tensor:
        """Spikes for currents, both [timesteps, N, ...]; beta is the neurons', for its gradient.

        In integer form the leak is floored as the device floors it, and a membrane must pass the threshold by more than
        float32's errors.
        """
        unit, threshold = neurons.unit, neurons.level
        level = threshold if unit is None else threshold + unit / 2
        membranes, spikes = torch.empty_like(currents, dtype=torch.float32), torch.empty_like(currents)
        v = currents[0]
        for t, current in enumerate(currents):
            if t > 0:
                left = torch.sub(membranes[t - 1], spikes[t - 1], alpha=threshold)
                if unit is not None:
                    v = current + left - _integer_leak(left, unit, neurons.decay)
                elif neurons.learn:
                    v = current + left * neurons.beta.clamp(0, 1)
                else:
                    v = current + left - left * 2.0**-neurons.shift
            membranes[t] = v
            spikes[t] = v > level
        ctx.save_for_backward(membranes)
        ctx.neurons = neurons
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor | None]:
        """dv = dm + ds s'(v); ds = gradient - threshold dm; dm = beta dv of the next timestep; s' is the surrogate.

        A learnt beta gets the sum of dv times the membrane that was left.
        """
        neurons: LIF = ctx.neurons
        factor = float(neurons.beta.clamp(0, 1)) if neurons.learn else 1.0 - 2.0**-neurons.shift
        learnt = _after_reset(ctx.saved_tensors[0], neurons) if ctx.needs_input_grad[2] else None
        x = ctx.saved_tensors[0].sub(neurons.level).mul_(torch.pi / 2 * ALPHA)
        slope = x.square_().add_(1).reciprocal_().mul_(ALPHA / 2)  # s' = (alpha / 2) / (1 + (pi alpha x / 2)^2)
        ds = torch.empty_like(slope).copy_(grads[0])  # one type and order of memory: mixed ones are slow
        result = slope
        dm = torch.zeros_like(slope[0])
        for t in reversed(range(len(slope))):
            dv = torch.addcmul(dm, ds[t].sub_(dm, alpha=neurons.level), slope[t], out=result[t])
            dm = torch.mul(dv, factor)
        if learnt is None:
            return result, None, None
        return result, None, (result[1:] * learnt[:-1]).sum().to(neurons.beta.dtype)


def _after_reset(membranes: Tensor, neurons: LIF) -> Tensor:
    """Membranes once those that spiked have lost a threshold."""
    unit = neurons.unit
    level = neurons.level if unit is None else neurons.level + unit / 2
    return membranes - (membranes > level) * neurons.level


def _integer_leak(membrane: Tensor, unit: Tensor, decay: Decay) -> Tensor:
    """What membranes, whole numbers of `unit`, lose to a leak that the device floors."""
    if decay.kind == "none":
        return torch.zeros_like(membrane)
    if decay.kind == "q15":
        whole = torch.round(membrane / unit).double()  # exact: products stay below 2^53
        return ((whole - torch.floor(whole * decay.value / 2**15)) * unit).to(membrane.dtype)
    return torch.floor(membrane * 2.0**-decay.value / unit + 0.5 * 2.0**-decay.value) * unit


def nearest_decay(beta: float) -> Decay:
    """A shift where beta is 1 - 2^-k to float32's precision, none at 1, else the nearest q15."""
    for k in range(1, 16):
        if abs(beta - (1.0 - 2.0**-k)) < 1e-7:
            return Decay("shift", k)
    return Decay() if beta >= 1.0 - 2.0**-16 else Decay("q15", max(0, min(32767, round(beta * 32768))))


def unroll(
    layers: Iterable[nn.Module],
    x: Tensor,
    timesteps: int,
    constant: bool = True,
    watch: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Run a chain layer by layer through all timesteps; [timesteps, N, ...].

    `x`: [N, ...] where it is `constant` over time (then what comes before the first neurons is computed once), else
    [timesteps, N, ...]. Neurons start at rest. `watch` is shown the spikes of each layer of neurons.
    """
    for layer in layers:
        if isinstance(layer, LIF):
            x = fire(layer, x.expand(timesteps, *x.shape) if constant else x)
            constant = False
            if watch is not None:
                watch(x)
        elif constant:
            x = layer(x)
        else:
            x = layer(x.flatten(0, 1)).unflatten(0, (timesteps, -1))
    return x.expand(timesteps, *x.shape) if constant else x


def fire(neurons: LIF, currents: Tensor) -> Tensor:
    """Spikes of one layer of neurons, from rest, for currents [timesteps, N, ...]."""
    if neurons.reset_mechanism == "subtract":
        out: Tensor = _Unrolled.apply(currents, neurons, neurons.beta)  # type: ignore[no-untyped-call]
        return out
    spikes, membrane = [], None
    for current in currents:
        spike, membrane = neurons(current, membrane)
        spikes.append(spike)
    return torch.stack(spikes)


@dataclass(frozen=True)
class Body:
    """Sizes of a student: convolutions, then dense layers of neurons; `shift`: leak 1 - 2^-shift; `bits` of weights, 8
    or 4, but for the first layer and the readout: small and sensitive, they have 8.

    `learn_decay`: each layer learns its leak from there; a multiplication on the device in the shift's place.
    Thresholds are learnt in any case, by channel: weights over threshold are all that matters to a spike, and the gain
    and bias of the batch norm before the neurons scale them.

    A layer's kernel spans an axis only where the map has more than one value along it, so that one body serves 1-D and
    2-D data.
    """

    channels: tuple[int, ...] = (8, 32, 40)
    kernels: tuple[int, ...] = (5, 5, 3)
    strides: tuple[int, ...] = (1, 2, 2)
    dense: tuple[int, ...] = ()
    shift: int = 1
    bits: int = 8
    learn_decay: bool = False

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernels) == len(self.strides) or not self.channels + self.dense:
            raise SneError(
                f"a student has {len(self.channels)} convolutions, {len(self.kernels)} kernels and "
                f"{len(self.strides)} strides",
                "give each convolution channels, a kernel and a stride, or give at least one dense layer",
            )
        sizes = (*self.channels, *self.kernels, *self.strides, *self.dense)
        if not all(1 <= size <= MAX_SIZE for size in sizes):
            raise SneError(
                f"a student's sizes are {', '.join(map(str, sizes))}", f"give channels and sizes of 1 to {MAX_SIZE}"
            )
        if self.bits not in (4, 8):
            raise SneError(f"weights of {self.bits} bits are not supported", "give 8 or 4")


class Student(nn.Module):
    """A spiking network, `body`, and a linear `readout` of its mean spikes to its chunk of the teacher's features."""

    def __init__(self, shape: Shape, body: Body, features: int) -> None:
        super().__init__()
        height, width, channels = shape
        layers: list[nn.Module] = []
        for out, size, step in zip(body.channels, body.kernels, body.strides, strict=True):
            kernel = size if height > 1 else 1, size if width > 1 else 1
            stride = step if height > 1 else 1, step if width > 1 else 1
            padding = kernel[0] // 2, kernel[1] // 2
            layers += [
                nn.Conv2d(channels, out, kernel, stride, padding),
                nn.BatchNorm2d(out),
                LIF(body.shift, learn=body.learn_decay),
            ]
            spans = zip((height, width), kernel, stride, padding, strict=True)
            height, width = ((n + 2 * p - k) // s + 1 for n, k, s, p in spans)
            channels = out
        layers.append(nn.Flatten())
        hidden = height * width * channels
        for out in body.dense:
            layers += [nn.Linear(hidden, out), nn.BatchNorm1d(out), LIF(body.shift, learn=body.learn_decay)]
            hidden = out
        self.body = nn.Sequential(*layers)
        self.readout = nn.Linear(hidden, features)

    def forward(self, x: Tensor, timesteps: int) -> tuple[Tensor, Tensor]:
        """Mean spikes [N, hidden] of the last layer, and each layer's spike rate [layers].

        x is [N, channels, height, width].
        """
        rates: list[Tensor] = []
        spikes = unroll(self.body, x, timesteps, watch=lambda s: rates.append(s.mean()))
        return spikes.mean(dim=0), torch.stack(rates)


class Ensemble(nn.Module):
    """Students, one a chunk of the partition, and their heads.

    Features are measured from their means, so an absent student counts as the mean of its chunk:
    logits = sum over active students k of A_k f_k + b_k.
    """

    def __init__(self, partition: Partition, body: Body, encoder: Encoder) -> None:
        super().__init__()
        self.partition, self.sizes, self.encoder = partition, body, encoder
        chunks = [partition.chunk(k) for k in range(partition.students)]
        self.students = nn.ModuleList(Student(encoder.shape, body, len(chunk)) for chunk in chunks)
        self.heads = nn.ModuleList(nn.Linear(len(chunk), partition.weight.shape[0]) for chunk in chunks)
        for head, chunk in zip(self.heads, chunks, strict=True):
            assert isinstance(head, nn.Linear)
            head.weight.data = torch.from_numpy(partition.weight[:, chunk].copy())
            head.bias.data.zero_()
        self.bias = nn.Parameter(torch.from_numpy(partition.bias.copy()))
        self.rounded = False

    def forward(self, x: Tensor) -> tuple[list[Tensor], Tensor, Tensor]:
        """Features [N, m] by student, parts of logits [students, N, classes], spike rates [students, layers]."""
        features, parts, rates = zip(*(self.part(k, x) for k in range(len(self.students))), strict=True)
        return list(features), torch.stack(parts), torch.stack(rates)

    def part(self, student: int, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """One student's features [N, m], part of the logits [N, classes] and spike rates [layers]."""
        net, head = self.students[student], self.heads[student]
        assert isinstance(net, Student) and isinstance(head, nn.Linear)
        if self.rounded:
            x = torch.round(x / self.encoder.scale).clamp(-128, 127) * self.encoder.scale
        spikes, rates = net(x, self.encoder.timesteps)
        weight, bias = folded_readout(net, head)
        part = functional.linear(spikes, fake_quantize(weight) if self.rounded else weight, bias)
        return net.readout(spikes), part, rates

    def logits(self, parts: Tensor, active: Iterable[int]) -> Tensor:
        """Logits [N, classes] of a set of active students."""
        return parts[list(active)].sum(dim=0) + self.bias

    def integer_form(self) -> Ensemble:
        """Fold every batch norm, in place, and compute what the integers will, spike for spike; returns itself.

        Gradients pass the roundings: this is the form for quantisation-aware training.
        """
        for student in self.students:
            assert isinstance(student, Student)
            layers = list(fold_batch_norm(student.body))
            unit, bits = self.encoder.scale, 8
            for n, layer in enumerate(layers):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    neurons = layers[n + 1]
                    assert isinstance(neurons, LIF)
                    layers[n] = Rounded(layer, neurons, unit, bits)
                    unit, bits = 1.0, self.sizes.bits
            student.body = nn.Sequential(*layers)
        self.rounded = True
        return self

    def float_form(self) -> Ensemble:
        """Undo the roundings of `integer_form`, in place: the float twin of the integer ensemble; returns itself."""
        for student in self.students:
            assert isinstance(student, Student)
            for layer in student.body:
                if isinstance(layer, LIF):
                    layer.unit = None
            student.body = nn.Sequential(*(x.layer if isinstance(x, Rounded) else x for x in student.body))
        self.rounded = False
        return self


def folded_readout(student: Student, head: nn.Linear) -> tuple[Tensor, Tensor]:
    """Readout and head as one linear map of mean spikes to logits: A (R s + r) + a = (A R) s + (A r + a)."""
    return head.weight @ student.readout.weight, head.weight @ student.readout.bias + head.bias


def weight_limit(bits: int) -> int:
    """The largest magnitude that quantisation gives a weight: 127 or 7."""
    return (1 << bits - 1) - 1


def membrane_unit(
    weight: Tensor, bias: Tensor | None, threshold: Tensor | float, input_unit: float, bits: int = 8
) -> Tensor:
    """Real value of one unit of an integer membrane, [channels], for weight [channels, ...].

    The finest for which a channel's weights are within +-`weight_limit` times `input_unit` (the worth of one unit of
    input) and bias and threshold within `CONSTANT_MAX`, made a little coarser so that the threshold is a whole number.
    With 4 bits, that of a share of the channel's range, the largest weights being clipped, at which the weights'
    squared error is least.
    """
    level = torch.as_tensor(threshold, dtype=weight.dtype).expand(len(weight))
    constant = level if bias is None else torch.maximum(level, bias.abs())
    limit = weight_limit(bits)
    range_unit = weight.abs().flatten(1).amax(dim=1) * (input_unit / limit)

    def whole(unit: Tensor) -> Tensor:
        finest = torch.maximum(unit, constant / CONSTANT_MAX)
        steps = torch.floor(level / finest)
        return torch.where(steps >= 1, level / steps.clamp_min(1), finest)

    if bits == 8:
        return whole(range_unit)
    units = torch.stack([whole(range_unit * share) for share in CLIPPED])
    step = (units.double() / input_unit)[:, :, None]
    exact = weight.double().flatten(1)
    error = (torch.round(exact / step).clamp(-limit, limit) * step - exact).square().sum(dim=2)
    return units.gather(0, error.argmin(dim=0, keepdim=True))[0]


def through(value: Tensor, rounded: Tensor) -> Tensor:
    """`rounded`, with the gradient of `value` (straight-through estimator)."""
    return value + (rounded - value).detach()


class Rounded(nn.Module):
    """A convolution or linear layer before LIF neurons, with the weights and biases its integers will have."""

    def __init__(self, layer: nn.Conv2d | nn.Linear, neurons: LIF, input_unit: float, bits: int = 8) -> None:
        super().__init__()
        self.layer, self.input_unit, self.bits = layer, input_unit, bits
        self._neurons = [neurons]  # in a list: they are a module of the chain already

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        assert bias is not None  # folding a batch norm leaves one
        unit = membrane_unit(weight.detach(), bias.detach(), self._neurons[0].level, self.input_unit, self.bits)
        self._neurons[0].unit = unit if isinstance(self.layer, nn.Linear) else unit[:, None, None]
        step = (unit / self.input_unit).reshape(-1, *[1] * (weight.dim() - 1))
        limit = weight_limit(self.bits)
        weight = through(weight, torch.round(weight / step).clamp(-limit, limit) * step)
        bias = through(bias, torch.round(bias / unit) * unit)
        if isinstance(self.layer, nn.Linear):
            return functional.linear(x, weight, bias)
        return functional.conv2d(x, weight, bias, self.layer.stride, self.layer.padding)


def fake_quantize(weight: Tensor) -> Tensor:
    """Weights [channels, n] rounded to int8 by channel, scale max|w| / 127."""
    scale = weight.detach().abs().amax(dim=1, keepdim=True).clamp_min(1e-12) / 127
    return through(weight, torch.round(weight / scale) * scale)


def fold_batch_norm(layers: nn.Sequential) -> nn.Sequential:
    """The chain as it is in evaluation, with each batch norm folded in the layer before it.

    w' = w g / sd, b' = (b - mean) g / sd + beta. Folded layers are copies.
    Raises `SneError` where a batch norm follows neither a convolution nor a linear layer.
    """
    folded: list[nn.Module] = []
    for layer in layers:
        if not isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            folded.append(layer)
            continue
        before = folded[-1] if folded else None
        if not isinstance(before, nn.Conv1d | nn.Conv2d | nn.Linear) or layer.running_var is None:
            raise SneError(
                "a batch norm follows neither a convolution nor a linear layer, or keeps no statistics",
                "put it right after the weights it normalises, with track_running_stats=True",
            )
        folded[-1] = _absorb(before, layer)
    return nn.Sequential(*folded)


def _absorb(layer: nn.Conv1d | nn.Conv2d | nn.Linear, norm: nn.BatchNorm1d | nn.BatchNorm2d) -> nn.Module:
    import copy

    assert norm.running_mean is not None and norm.running_var is not None
    with torch.no_grad():
        gain = torch.rsqrt(norm.running_var + norm.eps)
        shift = -norm.running_mean * gain
        if norm.affine:
            gain, shift = gain * norm.weight, shift * norm.weight + norm.bias
        merged = copy.deepcopy(layer)
        merged.weight = nn.Parameter(layer.weight * gain.reshape(-1, *[1] * (layer.weight.dim() - 1)))
        merged.bias = nn.Parameter(shift if layer.bias is None else layer.bias * gain + shift)
    return merged
