"""Teachers: a network's penultimate features f and the linear classifier on them; extraction, cached on disk.

In: a data set. Out: a teacher (`TeacherNet`: the built-in CNN or any module), its features and logits on any views.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from ..data.dataset import Dataset
from ..errors import SneError
from ..files import write_whole
from .fit import Plan, Progress, fit, infer, quiet

SIZES = ("small", "large")
PROBES = 16  # samples by whose answers a teacher's code is told from another's


class TeacherNet(nn.Module):
    """A teacher: `features(x)` float [N, d] and `classifier`, linear, float [N, d] -> [N, classes].

    x is float [N, channels, height, width]. `macs` of one inference and the number of parameters are given where the
    modules do not tell.
    """

    classifier: nn.Linear
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
    """A small residual network for images (He et al. 2016, arXiv 1512.03385): a convolution, three stages of one block
    of two convolutions each with `width`, 2 `width` and 4 `width` channels, and global average pooling: 4 `width`
    features."""

    def __init__(self, shape: tuple[int, int, int], classes: int, width: int = 16) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *_convolution(shape[2], width, 3, 1),
            nn.ReLU(),
            _Block(width, width, 1),
            _Block(width, 2 * width, 2),
            _Block(2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
        )
        self.classifier = nn.Linear(4 * width, classes)

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.body(x)
        return out


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


def build_teacher(size: str, shape: tuple[int, int, int], classes: int) -> TeacherNet:
    """The built-in teacher of a `size` in `SIZES`: residual for images, plain convolutions for 1-D data."""
    if size not in SIZES:
        raise SneError(f"there is no built-in teacher {size!r}", f"sizes: {', '.join(SIZES)}; or give an ONNX file")
    large = size == "large"
    if min(shape[:2]) >= 12:
        return ResidualTeacher(shape, classes, 32 if large else 16)
    return ConvTeacher(shape, classes, *(128, 128) if large else (64, 64))


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


def to_torch(x: np.ndarray) -> Tensor:
    """Samples [N, height, width, channels] as float32 [N, channels, height, width]."""
    return torch.from_numpy(np.require(x.transpose(0, 3, 1, 2), np.float32, ["C", "W"]))


def batches(x: np.ndarray, count: int = 512) -> Iterator[Tensor]:
    """`to_torch` of `count` samples at a time."""
    for start in range(0, len(x), count):
        yield to_torch(x[start : start + count])


def augment(x: np.ndarray, generator: np.random.Generator, mirrored: bool = False) -> np.ndarray:
    """One light random view of each sample [N, height, width, channels]: shifted by up to 2 (edges repeat), scaled by
    10 %, with noise of 3 % of the data's standard deviation; every other one `mirrored` left to right."""
    count, height, width, _ = x.shape
    if mirrored:
        x = np.where(generator.integers(2, size=(count, 1, 1, 1)) == 1, x[:, :, ::-1], x)
    for axis, length in ((1, height), (2, width)):
        if length > 4:
            shift = generator.integers(-2, 3, size=(count, 1))
            index = np.clip(np.arange(length)[None, :] + shift, 0, length - 1)
            x = np.take_along_axis(x, index[:, :, None, None] if axis == 1 else index[:, None, :, None], axis=axis)
    scale = 1 + 0.1 * generator.standard_normal((count, 1, 1, 1))
    noise = 0.03 * x.std() * generator.standard_normal(x.shape)
    made: np.ndarray = (x * scale + noise).astype(np.float32)
    return made


def train_teacher(
    dataset: Dataset,
    *,
    epochs: int = 40,
    size: str = "small",
    seed: int = 0,
    minutes: float | None = None,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
) -> TeacherNet:
    """Train the built-in CNN on the training samples; deterministic for a seed on one machine, but for `minutes`.

    A `checkpoint` file lets a killed run go on.
    """
    torch.manual_seed(seed)
    net = build_teacher(size, dataset.shape, len(dataset.classes))
    labels = torch.from_numpy(dataset.y_train)
    images = isinstance(net, ResidualTeacher)
    if images:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        plan = Plan(epochs, batch=128, rate=0.15, decay=5e-4, sgd=True, minutes=minutes)
    else:
        plan = Plan(epochs, batch=128, rate=4e-3, decay=1e-2, minutes=minutes)

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        x = to_torch(augment(dataset.x_train[pick], generator, dataset.mirrored))
        with half_precision(images):
            logits = net(x.contiguous(memory_format=torch.channels_last) if images else x)
        return functional.cross_entropy(logits.float(), labels[pick], label_smoothing=0.05)

    fit(net, loss, len(labels), plan, stage="teacher", seed=seed, checkpoint=checkpoint, progress=progress)
    return net


def half_precision(wanted: bool) -> torch.autocast:
    """Convolutions in bfloat16, where that is wanted and the processor has instructions for it."""
    return torch.autocast("cpu", torch.bfloat16, enabled=wanted and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


def accuracy(net: nn.Module, x: np.ndarray, y: np.ndarray) -> float:
    """Share of samples [N, height, width, channels] that a classifier labels as `y`, 0..1."""
    label = infer(net.eval(), batches(x)).argmax(dim=1)
    return float((label.numpy() == y).mean())


def count_macs(net: nn.Module, shape: tuple[int, int, int]) -> int:
    """Multiply-accumulates of one inference: of convolutions, matrix products and attention, as torch counts them."""
    if isinstance(net, TeacherNet) and net.macs is not None:
        return net.macs
    # without gradients, or with a fused kernel, attention takes ways that are not counted
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        net.eval()(torch.zeros(1, shape[2], shape[0], shape[1]))
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True, eq=False)
class Features:
    """What a teacher says: `features` float32 [views, N, d], `logits` float32 [views, N, classes]."""

    features: np.ndarray
    logits: np.ndarray


def views(x: np.ndarray, count: int, seed: int, mirrored: bool = False) -> np.ndarray:
    """`count` views of each sample, float32 [count, N, height, width, channels]; the first is the sample itself."""
    generator = np.random.default_rng([seed, 1])
    return np.stack([x, *(augment(x, generator, mirrored) for _ in range(count - 1))]).astype(np.float32)


def extract(teacher: TeacherNet, x: np.ndarray, cache: Path | None = None) -> Features:
    """Features and logits of views [views, N, height, width, channels].

    With `cache`, a folder, they are read from there where a file for this teacher and these samples is whole, else
    written there; a damaged file is replaced.
    """
    path = None if cache is None else cache / f"features-{features_key(teacher, x)}.safetensors"
    found = None if path is None else _read(path, x.shape[:2], teacher.classifier)
    if found is not None:
        return found
    teacher.eval()
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        for part in batches(x.reshape(-1, *x.shape[2:])):
            parts.append(teacher.answers(part))
            check_finite(*parts[-1])
    made = Features(*(torch.cat(p).numpy().reshape(*x.shape[:2], -1) for p in zip(*parts, strict=True)))
    if path is not None:
        _write(path, made)
    return made


def check_finite(*answers: Tensor) -> None:
    """Raise `SneError` where a teacher's features or logits hold NaN or infinite values."""
    if not all(bool(torch.isfinite(a).all()) for a in answers):
        raise SneError(
            "the teacher's features or logits hold NaN or infinite values",
            "give it samples scaled as those that it was trained on, or another teacher",
        )


def default_cache() -> Path:
    """The user's cache folder for features."""
    from platformdirs import user_cache_path

    return user_cache_path("sne-edge") / "features"


def fingerprint(net: nn.Module) -> str:
    """16 hex digits over a network's structure, parameters and buffers."""
    digest = hashlib.sha256(repr(net).encode())
    for name, tensor in sorted(net.state_dict().items()):
        digest.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def features_key(teacher: TeacherNet, x: np.ndarray) -> str:
    """What a teacher says of samples [views, N, ...], augmented ones as they are, is known by: hex digits over both,
    and over its answers to a few of them, since the code of a module of one's own decides, too."""
    probe = next(iter(batches(x.reshape(-1, *x.shape[2:])[:: max(1, x.shape[0] * x.shape[1] // PROBES)][:PROBES])))
    with torch.no_grad():
        answers = teacher.eval().answers(probe)
    said = hashlib.sha256(b"".join(a.numpy().tobytes() for a in answers)).hexdigest()[:8]
    data = hashlib.sha256(f"{x.dtype.str}{x.shape}".encode() + np.ascontiguousarray(x).tobytes()).hexdigest()[:16]
    return f"{fingerprint(teacher)}-{data}-{said}"


def _read(path: Path, lead: tuple[int, ...], classifier: nn.Linear) -> Features | None:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        tensors = load(path.read_bytes())
        features, logits = tensors["features"], tensors["logits"]
    except (OSError, SafetensorError, ValueError, KeyError, TypeError):
        return None
    shapes = (*lead, classifier.in_features), (*lead, classifier.out_features)
    whole = (features.shape, logits.shape) == shapes and features.dtype == logits.dtype == np.float32
    return Features(features, logits) if whole else None


def _write(path: Path, made: Features) -> None:
    from safetensors.numpy import save

    write_whole(path, lambda file: file.write(save({"features": made.features, "logits": made.logits})))
