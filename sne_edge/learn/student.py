"""Students: small networks of LIF neurons in torch, and the ensemble that sums their logits.

In: a body's sizes, a `Partition`. Out: modules that train with snnTorch's surrogate gradients and fire in the order of
`neuron.Neuron`, so that what is trained is what is deployed.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from ..ir.encoder import Encoder, Scaled, Shape
from ..ir.layers import rounding
from ..ir.neuron import Neuron
from .integers import direct_unit, fake_quantize, fold_batch_norm, membrane_unit, through, weight_limit
from .neurons import LIF, unroll
from .partition import Partition

MAX_SIZE = 4096  # of a body's channels, kernels, strides and dense layers
MAX_BLOCKS = 8  # behind a convolution


@dataclass(frozen=True)
class Body:
    """Sizes of a student: convolutions, then dense layers of neurons; `shift`: leak 1 - 2^-shift; `bits` of weights, 8
    or 4, but for the first layer and the readout: small and sensitive, they have 8.

    `learn_decay`: each layer learns its leak from there; a multiplication on the device in the shift's place.
    Thresholds are learnt in any case, by channel: weights over threshold are all that matters to a spike, and the gain
    and bias of the batch norm before the neurons scale them. Batch norms take their statistics over all timesteps.
    `pool`: the last map of spikes is averaged over its places, channel by channel, before what is dense.
    `residual`: blocks behind each convolution, each one more of the same channels with a stride of 1, whose spikes are
    added to those that it takes (spike-element-wise addition: Fang et al. 2021, arXiv 2102.04159). Such a student is
    deployed as a graph.

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
    pool: bool = False
    residual: int = 0

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.kernels) == len(self.strides) or not self.channels + self.dense:
            raise SneError(
                f"a student has {len(self.channels)} convolutions, {len(self.kernels)} kernels and "
                f"{len(self.strides)} strides",
                "give each convolution channels, a kernel and a stride (--channels, --kernels, --strides), or give at "
                "least one dense layer",
            )
        sizes = (*self.channels, *self.kernels, *self.strides, *self.dense)
        if not all(1 <= size <= MAX_SIZE for size in sizes):
            raise SneError(
                f"a student's sizes are {', '.join(map(str, sizes))}", f"give channels and sizes of 1 to {MAX_SIZE}"
            )
        if not 0 <= self.residual <= MAX_BLOCKS or (self.residual and not self.channels):
            raise SneError(
                f"a student of {len(self.channels)} convolutions has {self.residual} residual blocks behind each",
                f"give 0 to {MAX_BLOCKS}, and at least one convolution",
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
            same = kernel[0] | 1, kernel[1] | 1  # odd: the map keeps its size
            for _ in range(body.residual):
                layers += [
                    nn.Conv2d(out, out, same, 1, (same[0] // 2, same[1] // 2)),
                    nn.BatchNorm2d(out),
                    LIF(body.shift, learn=body.learn_decay, adds=True),
                ]
        if body.pool and body.channels and height * width > 1:
            layers.append(nn.AvgPool2d((height, width)))
            height = width = 1
        layers.append(nn.Flatten())
        hidden = height * width * channels
        for out in body.dense:
            layers += [nn.Linear(hidden, out), nn.BatchNorm1d(out), LIF(body.shift, learn=body.learn_decay)]
            hidden = out
        self.body = nn.Sequential(*layers)
        self.readout = nn.Linear(hidden, features)

    def forward(self, x: Tensor, timesteps: int, each: bool = False) -> tuple[Tensor, Tensor]:
        """Mean spikes [N, hidden] of what the readout reads, added up where blocks are residual, or those of `each`
        timestep [timesteps, N, hidden], and each layer's spike rate [layers].

        x is [N, channels, height, width], constant over time, or of events [N, timesteps, channels, height, width].
        """
        rates: list[Tensor] = []
        events = x.dim() == 5
        x = x.transpose(0, 1) if events else x
        spikes = unroll(self.body, x, timesteps, not events, watch=rates.append)
        return spikes if each else spikes.mean(dim=0), torch.stack(rates)


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

    def forward(self, x: Tensor, each: bool = False) -> tuple[list[Tensor], Tensor, Tensor]:
        """Features [N, m] by student, parts of logits [students, N, classes], spike rates [students, layers]; by `each`
        timestep as `part` has it."""
        features, parts, rates = zip(*(self.part(k, x, each) for k in range(len(self.students))), strict=True)
        return list(features), torch.stack(parts), torch.stack(rates)

    def part(self, student: int, x: Tensor, each: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """One student's features [N, m], part of the logits [N, classes] and spike rates [layers]; by `each` timestep
        features and part have an axis of timesteps in front, over which their means are these."""
        net, head = self.students[student], self.heads[student]
        assert isinstance(net, Student) and isinstance(head, nn.Linear)
        if self.rounded and self.encoder.kind == "direct":
            step = self._in_torch(self.encoder.scale, x)
            x = torch.round(x / step).clamp(-128, 127) * step
        spikes, rates = net(x, self.encoder.timesteps, each)
        weight, bias = folded_readout(net, head)
        part = functional.linear(spikes, fake_quantize(weight) if self.rounded else weight, bias)
        return net.readout(spikes), part, rates

    def _in_torch(self, values: Scaled, like: Tensor) -> Tensor | float:
        """An encoder's scale as it meets samples [N, channels, height, width]."""
        if not isinstance(values, tuple):
            return values
        wide = np.broadcast_to(self.encoder.spread(values), self.encoder.shape)
        return torch.from_numpy(np.moveaxis(wide, -1, 0).copy()).to(like)

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
            unit, bits, share = self.encoder.unit, 8, self.encoder.relative
            chain = self.encoder.kind == "direct" and not self.sizes.residual  # a graph's currents have no shift
            direct = self.encoder.timesteps if chain else None
            for n, layer in enumerate(layers):
                if isinstance(layer, nn.Conv2d | nn.Linear):
                    neurons = layers[n + 1]
                    assert isinstance(neurons, LIF)
                    shares = self._in_torch(share, layer.weight)
                    if isinstance(shares, Tensor):
                        shares = shares.flatten() if isinstance(layer, nn.Linear) else shares[:, :1, :1]
                    layers[n] = Rounded(layer, neurons, unit, bits, direct, shares)
                    unit, bits, direct, share = 1.0, self.sizes.bits, None, 1.0
                elif isinstance(layer, nn.AvgPool2d):
                    unit /= math.prod(layer.kernel_size)  # type: ignore[arg-type]
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


class Rounded(nn.Module):
    """A convolution or linear layer before LIF neurons, with the weights, biases and currents its integers will have.

    `direct`: the timesteps of an inference, where it takes the input itself, constant over time; `shares`: then each
    channel's step as a share of `input_unit`, as it meets the weights.
    """

    def __init__(
        self,
        layer: nn.Conv2d | nn.Linear,
        neurons: LIF,
        input_unit: float,
        bits: int = 8,
        direct: int | None = None,
        shares: Tensor | float = 1.0,
    ) -> None:
        super().__init__()
        self.layer, self.input_unit, self.bits, self.direct, self.shares = layer, input_unit, bits, direct, shares
        self._neurons = [neurons]  # in a list: they are a module of the chain already

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.layer.weight, self.layer.bias
        assert bias is not None  # folding a batch norm leaves one
        alike = weight if isinstance(self.shares, float) else weight * self.shares
        unit, shift = self._unit(alike.detach(), bias.detach())
        fine = unit / 2**shift
        step = (fine / self.input_unit).reshape(-1, *[1] * (weight.dim() - 1))
        limit = weight_limit(self.bits)
        weight = through(alike, torch.round(alike / step).clamp(-limit, limit) * step)
        weight = weight if isinstance(self.shares, float) else weight / self.shares
        bias = through(bias, torch.round(bias / fine) * fine)
        linear = isinstance(self.layer, nn.Linear)
        self._neurons[0].unit = unit = unit if linear else unit[:, None, None]
        if isinstance(self.layer, nn.Linear):
            current = functional.linear(x, weight, bias)
        else:
            current = functional.conv2d(x, weight, bias, self.layer.stride, self.layer.padding)
        if not shift:
            return current
        whole = torch.round(current.detach() / unit * 2**shift)  # exact: below 2^24
        return through(current, torch.floor((whole + rounding(shift)) / 2**shift) * unit)

    def _unit(self, weight: Tensor, bias: Tensor) -> tuple[Tensor, int]:
        """The unit of membranes, [channels], and the shift of a direct input's current."""
        neurons = self._neurons[0]
        if self.direct is None:
            return membrane_unit(weight, bias, neurons.level, self.input_unit, self.bits), 0
        neuron = Neuron("if" if neurons.decay.kind == "none" else "lif", neurons.decay, neurons.reset_mechanism)
        unit, shift = direct_unit(weight, bias, neurons.level, self.input_unit, neuron, self.direct)
        return unit.to(weight), shift
