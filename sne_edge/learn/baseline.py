"""The baseline to be held against: convolutional networks with int8 weights and activations, taught as students are.

In: a design, a data set's views, a teacher's logits on them. Out: a torch module that learns with the roundings of
int8, of which `quantize.cnn` makes integers.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from ..ir.encoder import Shape
from .fit import Plan, Progress, Told, distillation_loss, fit, quiet
from .integers import fake_quantize, fold_batch_norm, through
from .lessons import Tutor
from .student import Body
from .teacher import accuracy

LOW, HIGH = -128, 127  # an activation
KINDS = ("conv", "depthwise", "average", "dense")


@dataclass(frozen=True)
class Layer:
    """A layer of a design. `kind`: conv, depthwise (its channels are its input's), average (over the whole map) or
    dense. A kernel and a stride span an axis only where the map has more than one value along it. Convolutions pad with
    zeros to ceil(size / stride) outputs, the odd one behind, and each layer but average ends in a ReLU."""

    kind: str
    channels: int = 0
    kernel: int = 1
    stride: int = 1

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SneError(f"there is no layer {self.kind!r} in a CNN", f"layers: {', '.join(KINDS)}")


Design = tuple[Layer, ...]  # what comes before the linear classifier


def student_design(body: Body) -> Design:
    """A student's layers, with ReLUs in place of neurons; those of residual blocks follow, and add nothing up."""
    convolutions: list[Layer] = []
    for channels, kernel, stride in zip(body.channels, body.kernels, body.strides, strict=True):
        block = [Layer("conv", channels, kernel | 1)] * body.residual
        convolutions += [Layer("conv", channels, kernel, stride), *block]
    return (*convolutions, *(Layer("dense", width) for width in body.dense))


@dataclass(frozen=True)
class Geometry:
    """A layer's map: heights, widths and channels before and behind, kernel and stride (height, width), padding (top,
    bottom, left, right)."""

    in_shape: Shape
    out_shape: Shape
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)


def geometry(layer: Layer, shape: Shape) -> Geometry:
    """Of a layer on a map `shape`, (height, width, channels)."""
    height, width, channels = shape
    if layer.kind == "average":
        return Geometry(shape, (1, 1, channels), (height, width), (height, width))
    if layer.kind == "dense":
        return Geometry(shape, (1, 1, layer.channels), (height, width))
    sizes = (height, width)
    kernel_h, kernel_w = (layer.kernel if n > 1 else 1 for n in sizes)
    stride_h, stride_w = (layer.stride if n > 1 else 1 for n in sizes)
    out_h, out_w = -(-height // stride_h), -(-width // stride_w)
    spare_h = max(0, (out_h - 1) * stride_h + kernel_h - height)
    spare_w = max(0, (out_w - 1) * stride_w + kernel_w - width)
    padding = (spare_h // 2, spare_h - spare_h // 2, spare_w // 2, spare_w - spare_w // 2)
    made = channels if layer.kind == "depthwise" else layer.channels
    return Geometry(shape, (out_h, out_w, made), (kernel_h, kernel_w), (stride_h, stride_w), padding)


class Int8Input(nn.Module):
    """Inputs rounded to 256 levels from the lowest to the highest that training showed; zero is one of them."""

    def __init__(self, low: float = -1.0, high: float = 1.0) -> None:
        super().__init__()
        self.register_buffer("scale", torch.tensor(max(max(high, 0) - min(low, 0), 1e-6) / 255))
        self.register_buffer("zero", torch.round(LOW - min(low, 0) / self.scale).clamp(LOW, HIGH))

    scale: Tensor
    zero: Tensor

    def forward(self, x: Tensor) -> Tensor:
        return ((torch.round(x / self.scale) + self.zero).clamp(LOW, HIGH) - self.zero) * self.scale


class Int8ReLU(nn.Module):
    """max(0, x), rounded to 8 bits of the highest value that training batches showed (a running mean of it)."""

    highest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("highest", torch.zeros(()))
        self.rounded = False

    @property
    def scale(self) -> Tensor:
        """The value of one step."""
        return self.highest.clamp_min(1e-6) / 255

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        if self.training:
            top = x.detach().amax()
            self.highest.copy_(top if self.highest == 0 else 0.95 * self.highest + 0.05 * top)
        if not self.rounded:
            return x
        return through(x, torch.round(x / self.scale).clamp(0, 255) * self.scale)


class Int8Layer(nn.Module):
    """A convolution or linear layer with weights rounded to int8 by channel."""

    def __init__(self, layer: nn.Conv2d | nn.Linear) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        layer = self.layer
        weight = fake_quantize(layer.weight.flatten(1)).reshape(layer.weight.shape)
        if isinstance(layer, nn.Linear):
            return functional.linear(x, weight, layer.bias)
        return functional.conv2d(x, weight, layer.bias, layer.stride, groups=layer.groups)


def build_cnn(shape: Shape, design: Design, classes: int, low: float = -1.0, high: float = 1.0) -> nn.Sequential:
    """The network of a design on maps `shape` whose values lie in low..high, with a linear classifier."""
    layers: list[nn.Module] = [Int8Input(low, high)]
    flat = False
    for layer in design:
        place = geometry(layer, shape)
        channels, made = place.in_shape[2], place.out_shape[2]
        top, bottom, left, right = place.padding
        if layer.kind == "average":
            layers.append(nn.AvgPool2d(place.kernel))
        elif layer.kind == "dense":
            layers += [] if flat else [nn.Flatten()]
            flat = True
            layers += [nn.Linear(int(np.prod(shape)), made), nn.BatchNorm1d(made), Int8ReLU()]
        else:
            groups = channels if layer.kind == "depthwise" else 1
            layers += [
                nn.ZeroPad2d((left, right, top, bottom)),
                nn.Conv2d(channels, made, place.kernel, place.stride, groups=groups),
                nn.BatchNorm2d(made),
                Int8ReLU(),
            ]
        shape = place.out_shape
    layers += [] if flat else [nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(int(np.prod(shape)), classes))


def count_macs(shape: Shape, design: Design, classes: int) -> int:
    """Multiply-accumulates of one inference, padding included."""
    macs = 0
    for layer in design:
        place = geometry(layer, shape)
        each = int(np.prod(place.kernel)) * (1 if layer.kind == "depthwise" else place.in_shape[2])
        macs += 0 if layer.kind == "average" else int(np.prod(place.out_shape)) * each
        shape = place.out_shape
    return macs + int(np.prod(shape)) * classes


def train_cnn(
    net: nn.Sequential,
    tutor: Tutor,
    *,
    epochs: int,
    rounded: int,
    batch: int,
    rate: float,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
) -> nn.Sequential:
    """The trained network in its int8 form: of `epochs` as float and `rounded` in int8, each time the best by
    validation accuracy. The loss is the students' of the teacher's logits and the labels that `tutor` gives, on the
    processor."""
    lessons = tutor.lessons

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        taught = tutor.draw(pick, generator)
        return distillation_loss(net(taught.x), taught.logits, taught.labels)

    def score() -> tuple[float, str]:
        share = accuracy(net, lessons.x_val, lessons.y_val)
        return share, Told(f"validation {share:.1%}", {"validation": share})

    count = len(lessons.labels)
    plan = Plan(epochs, batch, rate)
    fit(net, loss, count, plan, stage="CNN", seed=seed, score=score, checkpoint=checkpoint, progress=progress)
    net = int8_form(net)
    plan = Plan(rounded, batch, rate / 8, warm=0.0, folded=True)
    fit(net, loss, count, plan, stage="CNN in int8", seed=seed, score=score, progress=progress)
    return net.eval()


def int8_form(net: nn.Sequential) -> nn.Sequential:
    """The network with batch norms folded and, from now on, the roundings of int8."""
    made = nn.Sequential(
        *(Int8Layer(m) if isinstance(m, nn.Conv2d | nn.Linear) else m for m in fold_batch_norm(net.eval()))
    )
    for module in made.modules():
        if isinstance(module, Int8ReLU):
            module.rounded = True
    return made
