"""The baseline to be held against: a convolutional network with int8 weights and activations, taught as students are.

In: a data set, a teacher's logits, sizes. Out: a module that computes with the roundings of int8, and its cost. It is
simulated, not generated: its instructions are its MACs times what Arm's CMSIS-NN was measured to take.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from .fit import Plan, Progress, distillation_loss, fit, quiet
from .student import Body, fake_quantize, fold_batch_norm, through
from .teacher import count_macs, to_torch

CONVOLUTION, LINEAR = 2.1, 1.94  # instructions for each MAC, measured: CMSIS-NN's int8 layers, emulated Cortex-M4


class Int8ReLU(nn.Module):
    """max(0, x), rounded to 8 bits of the highest value that training batches showed (a running mean of it)."""

    highest: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("highest", torch.zeros(()))
        self.rounded = False

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(x)
        if self.training:
            top = x.detach().amax()
            self.highest.copy_(top if self.highest == 0 else 0.95 * self.highest + 0.05 * top)
        if not self.rounded:
            return x
        scale = self.highest.clamp_min(1e-6) / 255
        return through(x, torch.round(x / scale).clamp(0, 255) * scale)


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
        return functional.conv2d(x, weight, layer.bias, layer.stride, layer.padding)


def build_cnn(shape: tuple[int, int, int], body: Body, classes: int) -> nn.Sequential:
    """A student's layers with ReLUs in place of neurons, and a linear classifier."""
    from .student import LIF, Student

    student = Student(shape, body, classes)
    layers = [Int8ReLU() if isinstance(layer, LIF) else layer for layer in student.body]
    return nn.Sequential(*layers, student.readout)


def cost(shape: tuple[int, int, int], body: Body, classes: int) -> tuple[int, int]:
    """MACs of the CNN of a body, and the instructions that they take on a Cortex-M4."""
    net = build_cnn(shape, body, classes)
    macs, last = count_macs(net, shape), net[-1]
    assert isinstance(last, nn.Linear)
    linear = last.weight.numel()
    return macs, round(CONVOLUTION * (macs - linear) + LINEAR * linear)


def train_cnn(
    net: nn.Sequential,
    x: np.ndarray,
    logits: np.ndarray,
    labels: np.ndarray,
    *,
    epochs: int,
    rounded: int,
    rate: float,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
) -> nn.Sequential:
    """The trained network in its int8 form.

    Views x [views, N, height, width, channels], the teacher's logits on them [views, N, classes], labels [N]. The loss
    is the students' of the teacher's logits and the labels.
    """

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        view = generator.integers(len(x), size=len(pick))
        out, target = net(to_torch(x[view, pick])), torch.from_numpy(logits[view, pick])
        return distillation_loss(out, target, torch.from_numpy(labels[pick]))

    plan = Plan(epochs, 128, rate)
    fit(net, loss, len(labels), plan, stage="CNN", seed=seed, checkpoint=checkpoint, progress=progress)
    net = int8_form(net)
    plan = Plan(rounded, 128, rate / 8, warm=0.0, folded=True)
    fit(net, loss, len(labels), plan, stage="CNN in int8", seed=seed, progress=progress)
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
