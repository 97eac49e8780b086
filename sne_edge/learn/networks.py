"""Networks that teach: what a teacher is, those that are built in, and any module as one.

In: the shape of samples, or a module. Out: a `TeacherNet`: features and the linear classifier on them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.dataset import Units
from ..errors import SneError

SIZES = ("small", "large", "resnet18")
RESNET18 = (64, (2, 2, 2, 2))  # channels of the first stage, and blocks of each; its stem is one for small images


INPUTS = ("standard", "0..1", "0..255")  # what a teacher's samples may be


class TeacherNet(nn.Module):
    """A teacher: `features(x)` float [N, d] and `classifier`, linear, float [N, d] -> [N, classes].

    x is float [N, channels, height, width], of events [N, timesteps, channels, height, width]. `macs` of one inference
    and the number of parameters are given where the modules do not tell. `images`: it convolves maps of many channels,
    which lie in memory channels last and may be halved in precision.
    """

    classifier: nn.Linear
    images: bool = False
    macs: int | None = None
    parameter_count: int | None = None

    def features(self, x: Tensor) -> Tensor:
        raise TypeError("a teacher defines features()")

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features [N, d] and logits [N, classes]."""
        features = self.features(x)
        return features, self.classifier(features)

    def forward(self, x: Tensor) -> Tensor:
        return self.answers(x)[1]


class ConvTeacher(TeacherNet):
    """Three convolutions (stride 1, 2, 2) with batch norm and ReLU, and a dense layer of `features` units."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 64, features: int = 64) -> None:
        super().__init__()
        height, length, channels = shape
        kernel = (1 if height == 1 else 3, 1 if length == 1 else 5 if height == 1 else 3)
        blocks: list[nn.Module] = []
        for stride, inputs in ((1, channels), (2, width), (2, width)):
            step = stride if kernel[0] > 1 else 1, stride if kernel[1] > 1 else 1
            padding = kernel[0] // 2, kernel[1] // 2
            blocks += [nn.Conv2d(inputs, width, kernel, step, padding), nn.BatchNorm2d(width), nn.ReLU()]
            height, length = ((n - 1) // s + 1 for n, s in zip((height, length), step, strict=True))
        self.body = nn.Sequential(
            *blocks, nn.Flatten(), nn.Dropout(0.3), nn.Linear(width * height * length, features), nn.ReLU()
        )
        self.classifier = nn.Linear(features, classes)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class ResidualTeacher(TeacherNet):
    """A residual network for images (He et al. 2016, arXiv 1512.03385): a convolution of `width` channels, stages of
    `blocks` blocks of two convolutions each, every stage after the first with twice the channels and half the size, and
    global average pooling: as many features as the last stage has channels."""

    images = True

    def __init__(
        self, shape: tuple[int, int, int], classes: int, width: int = 16, blocks: tuple[int, ...] = (1, 1, 1)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [*_convolution(shape[2], width, 3, 1), nn.ReLU()]
        inputs = width
        for stage, count in enumerate(blocks):
            for block in range(count):
                outputs = width << stage
                layers.append(_Block(inputs, outputs, 2 if stage and not block else 1))
                inputs = outputs
        self.body = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(inputs, classes)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


class RasterTeacher(TeacherNet):
    """A teacher of rasters of events, [N, timesteps, channels, height, width]: another one, to which each timestep's
    channels are channels of their own."""

    def __init__(self, teacher: TeacherNet) -> None:
        super().__init__()
        self.teacher, self.classifier = teacher, teacher.classifier

    def features(self, x: Tensor) -> Tensor:
        return self.teacher.features(x.flatten(1, 2))


class _Block(nn.Module):
    """relu(x + conv(relu(conv(x)))), batch-normalised; the shortcut is a 1x1 convolution where sizes differ."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(
            *_convolution(inputs, outputs, 3, stride), nn.ReLU(), *_convolution(outputs, outputs, 3, 1)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else nn.Sequential(*_convolution(inputs, outputs, 1, stride))

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.shortcut(x) + self.inner(x))


def _convolution(inputs: int, outputs: int, kernel: int, stride: int) -> tuple[nn.Module, nn.Module]:
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)


def build_teacher(size: str, shape: tuple[int, int, int], classes: int, timesteps: int | None = None) -> TeacherNet:
    """The built-in teacher of a `size` in `SIZES`: residual for images, plain convolutions for 1-D data; `timesteps` of
    rasters of events."""
    if size not in SIZES:
        raise SneError(f"there is no built-in teacher {size!r}", f"sizes: {', '.join(SIZES)}; or give an ONNX file")
    if timesteps is not None:
        height, width, channels = shape
        return RasterTeacher(build_teacher(size, (height, width, channels * timesteps), classes))
    large = size == "large"
    if size == "resnet18":
        if min(shape[:2]) < 8:
            raise SneError(
                f"resnet18 is for images, not samples of {shape} (height, width, channels)", "give small or large"
            )
        return ResidualTeacher(shape, classes, *RESNET18)
    if min(shape[:2]) >= 12:
        return ResidualTeacher(shape, classes, 32 if large else 16)
    return ConvTeacher(shape, classes, *(128, 128) if large else (64, 64))


class ScaledTeacher(TeacherNet):
    """A teacher that wants other values than samples hold: it sees gain x + offset, by channel, float32 [channels]."""

    gain: Tensor
    offset: Tensor

    def __init__(self, teacher: TeacherNet, gain: np.ndarray, offset: np.ndarray) -> None:
        super().__init__()
        self.teacher, self.classifier, self.images = teacher, teacher.classifier, teacher.images
        self.macs, self.parameter_count = teacher.macs, teacher.parameter_count
        for name, values in (("gain", gain), ("offset", offset)):
            self.register_buffer(name, torch.from_numpy(values.astype(np.float32)).reshape(-1, 1, 1))

    def features(self, x: Tensor) -> Tensor:
        return self.teacher.features(self.scaled(x))

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.teacher.answers(self.scaled(x))

    def scaled(self, x: Tensor) -> Tensor:
        """What the other teacher sees of samples."""
        return x * self.gain + self.offset


def wanted_values(
    wants: str,
    mean: Sequence[float] | None,
    deviation: Sequence[float] | None,
    standard: tuple[np.ndarray, np.ndarray] | None,
    channels: int,
    units: Units | None = None,
) -> tuple[np.ndarray, np.ndarray] | None:
    """Gain and offset [channels] from samples, which were standardised by `standard` from 0..255 (None: they are as
    their file has them), to what a teacher wants: one of `INPUTS`, less a mean and over a deviation, each of one number
    or one a channel. `units`: those that a file's own values were brought to; it wants the values. None where that is
    the samples themselves. Raises `SneError` where it cannot be."""
    gain, offset = (np.ones(channels), np.zeros(channels)) if units is None else (units.spread, units.middle)
    if wants != "standard":
        if standard is None:
            raise SneError(
                f"a teacher of values {wants} wants images, and these samples are as their file has them",
                "leave --teacher-input out; --teacher-mean and --teacher-deviation scale the file's own values",
            )
        mean_of, deviation_of = (np.asarray(a, np.float64) for a in standard)
        scale = 255.0 if wants == "0..1" else 1.0
        gain, offset = deviation_of / scale, mean_of / scale
    for what, values in (("mean", mean), ("deviation", deviation)):
        if values is not None and len(values) not in (1, channels):
            raise SneError(
                f"the teacher's {what} has {len(values)} numbers for {channels} channels", "give one, or one a channel"
            )
    divisor = np.asarray(deviation or (1.0,), np.float64)
    if not (np.isfinite(divisor).all() and (divisor > 0).all()):
        raise SneError("the teacher's deviation is not positive", "give positive numbers")
    gain, offset = gain / divisor, (offset - np.asarray(mean or (0.0,), np.float64)) / divisor
    return None if (gain == 1).all() and (offset == 0).all() else (gain, offset)


class ModuleTeacher(TeacherNet):
    """Any module as a teacher: `backbone` maps x to features [N, d], `classifier` is the linear layer on them."""

    backbone: nn.Module

    def __init__(self, backbone: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        if not isinstance(classifier, nn.Linear):
            raise SneError(
                f"the teacher's classifier is a {type(classifier).__name__}, not nn.Linear",
                "give the backbone up to the penultimate layer, and the last linear layer",
            )
        self.backbone, self.classifier = backbone, classifier

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.backbone(x)
        return out


class _Method(nn.Module):
    """The `features` method of a module, as a module."""

    def __init__(self, owner: nn.Module) -> None:
        super().__init__()
        self.owner = owner

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.owner.features(x)  # type: ignore[operator]
        return out


def as_teacher(module: nn.Module) -> TeacherNet:
    """A module with `features` (a method or submodule) and a linear `classifier`, as a teacher."""
    if isinstance(module, TeacherNet):
        return module
    backbone, classifier = getattr(module, "features", None), getattr(module, "classifier", None)
    if not callable(backbone) or not isinstance(classifier, nn.Linear):
        raise SneError(
            f"{type(module).__name__} has no `features` (a module or method) and `classifier` (linear)",
            "wrap it: ModuleTeacher(backbone, classifier)",
        )
    return ModuleTeacher(backbone if isinstance(backbone, nn.Module) else _Method(module), classifier)


class _Flat(nn.Module):
    """A backbone of 1-D samples, [N, channels, length], given those of height 1."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.backbone(x.squeeze(-2))
        return out


def fitted(teacher: TeacherNet, samples: Tensor, classes: int, name: str) -> TeacherNet:
    """A user's teacher as it takes `samples`, float [N, channels, height, width]: so, or those of height 1 as
    [N, channels, length], or of one axis, signals of one channel and rows of tables, as [N, values]. Raises `SneError`
    in the name of `name` where it takes none of these, and where what it makes of them is no features [N, d] that its
    classifier takes, or no logit a class."""
    if not isinstance(teacher, ModuleTeacher):
        return teacher
    if teacher.classifier.out_features != classes:
        raise SneError(
            f"the teacher {name} tells {teacher.classifier.out_features} classes, the data have {classes}",
            "give its classifier an output for each class",
        )
    training, ways = teacher.training, [(teacher, list(samples.shape))]
    if samples.shape[-2] == 1:
        flat = ModuleTeacher(_Flat(teacher.backbone), teacher.classifier)
        ways.append((flat, [*samples.shape[:-2], samples.shape[-1]]))
    if samples.dim() == 4 and samples[0].numel() == max(samples.shape[1:]):
        row = ModuleTeacher(nn.Sequential(nn.Flatten(), teacher.backbone), teacher.classifier)
        ways.append((row, [len(samples), samples[0].numel()]))
    refused = []
    for way, shape in ways:
        try:
            with torch.no_grad():
                _check_features(way.eval().features(samples), way.classifier, len(samples))
            return way
        except Exception as error:  # whatever a user's module raises
            refused.append(f"{shape}: {' '.join(str(error).split()) or type(error).__name__}")
        finally:
            teacher.train(training)
    raise SneError(
        f"the teacher {name} does not take the samples as {'; nor as '.join(refused)}",
        "`features`, a method or module, takes float samples, channels first, and gives [N, d] for `classifier`",
    )


def _check_features(features: object, classifier: nn.Linear, samples: int) -> None:
    """Raise `ValueError` where they are not float [samples, d], d as the classifier takes."""
    if not isinstance(features, Tensor):
        raise ValueError(f"its features are a {type(features).__name__}, no tensor")
    if features.shape != (samples, classifier.in_features):
        wanted = [samples, classifier.in_features]
        raise ValueError(f"its features are {list(features.shape)}, its classifier takes {wanted}")
