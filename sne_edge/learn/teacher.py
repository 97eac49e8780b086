"""Teachers that learn, and what they say: training, fine-tuning, and extraction of features, cached on disk.

In: a data set, a `TeacherNet`. Out: it trained, its features and logits on any views.
"""

from __future__ import annotations

import hashlib
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
from .augmentation import LIGHT, Augmentation
from .device import CPU, Device
from .fit import Plan, Progress, fit, infer, quiet
from .heard import Heard
from .networks import ResidualTeacher, TeacherNet, build_teacher
from .views import Augmenter, batches, to_torch

DIVERGED = "say what it was trained on (--teacher-input, --teacher-mean, --teacher-deviation), or leave --fine-tune out"
UNSTABLE = "see whether samples hold values of another scale than others, or give another --teacher"
PROBES = 16  # samples by whose answers a teacher's code is told from another's


def train_teacher(
    dataset: Dataset,
    *,
    epochs: int = 40,
    size: str = "small",
    seed: int = 0,
    minutes: float | None = None,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    checkpoint: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> TeacherNet:
    """Train a built-in network on the training samples; deterministic for a seed on one machine, but for `minutes`.

    It sees samples in views of an `augmentation`, with `noise` of up to that severity: of sound in the recordings, anew
    for every batch (`heard.Heard`), else in the values (`views.noisy`). A `checkpoint` file lets a killed run go on. It
    learns on `device`, and is handed back on the processor.
    """
    torch.manual_seed(seed)
    net = build_teacher(size, dataset.shape, len(dataset.classes), dataset.timesteps)
    if isinstance(net, ResidualTeacher):
        plan = Plan(epochs, batch=128, rate=0.15, decay=5e-4, sgd=True, minutes=minutes, remedy=UNSTABLE)
    else:
        plan = Plan(epochs, batch=128, rate=4e-3, decay=1e-2, minutes=minutes, remedy=UNSTABLE)
    return _taught(net, dataset, plan, "teacher", seed, augmentation, noise, checkpoint, device, progress)


def fine_tune(
    net: TeacherNet,
    dataset: Dataset,
    *,
    epochs: int,
    rate: float = 0.01,
    seed: int = 0,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    checkpoint: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> TeacherNet:
    """A teacher from elsewhere, trained on in place for a few `epochs` of the training samples in views made anew, by
    SGD from a highest `rate` down, under `augmentation` and `noise` as `train_teacher` has them. Raises `SneError`
    where it has nothing to train."""
    check_trainable(net)
    torch.manual_seed(seed)
    plan = Plan(epochs, batch=128, rate=rate, decay=5e-4, sgd=True, remedy=DIVERGED)
    return _taught(
        net, dataset, plan, "fine-tuning the teacher", seed, augmentation, noise, checkpoint, device, progress
    )


def check_trainable(teacher: TeacherNet) -> None:
    """Raise `SneError` where a teacher's backbone has nothing to train, as one that onnxruntime runs."""
    trainable = {id(p) for p in teacher.parameters() if p.requires_grad}
    if trainable <= {id(p) for p in teacher.classifier.parameters()}:
        raise SneError(
            "the teacher cannot be tuned: its backbone has no parameters that learn",
            "use --scheme disentangled, which leaves the teacher as it is, or a teacher in torch",
        )


def _taught(
    net: TeacherNet,
    dataset: Dataset,
    plan: Plan,
    stage: str,
    seed: int,
    augmentation: Augmentation,
    noise: float,
    checkpoint: Path | None,
    device: Device,
    progress: Progress,
) -> TeacherNet:
    """`net`, trained in place by a plan on augmented training samples and their labels."""
    images = net.images
    if images:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    net = net.to(device.name)
    labels = device.put(dataset.y_train)
    samples = None if device.host else device.put(to_torch(dataset.x_train).numpy())
    spread = 0.0 if device.host else float(dataset.x_train.std())
    heard = Heard.of(dataset, noise)
    augmenter = Augmenter(augmentation.of(dataset), noise, heard)

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        rows = device.put(pick)
        noisy = None if heard is None else heard.batch(pick, generator)
        if samples is None:
            x = to_torch(augmenter.kept(dataset.x_train[pick] if noisy is None else noisy, generator))
        else:
            x = augmenter.anew(samples[rows] if noisy is None else device.put(to_torch(noisy).numpy()), spread)
        with device.autocast(images):
            logits = net(x.contiguous(memory_format=torch.channels_last) if images else x)
        return functional.cross_entropy(logits.float(), labels[rows], label_smoothing=0.05)

    fit(net, loss, len(labels), plan, stage=stage, seed=seed, checkpoint=checkpoint, progress=progress)
    return net.to("cpu")


def accuracy(net: nn.Module, x: np.ndarray, y: np.ndarray, device: Device = CPU) -> float:
    """Share of samples [N, height, width, channels] that a classifier labels as `y`, 0..1; it computes on `device`, and
    is on the processor afterwards."""
    net.eval().to(device.name)
    with device.exact():
        label = infer(lambda part: net(part if device.host else part.to(device.name)), batches(x)).argmax(dim=1)
    net.to("cpu")
    return float((label.cpu().numpy() == y).mean())


def count_macs(net: nn.Module, shape: tuple[int, int, int], timesteps: int | None = None) -> int:
    """Multiply-accumulates of one inference: of convolutions, matrix products and attention, as torch counts them; of
    rasters of `timesteps` where given."""
    if isinstance(net, TeacherNet) and net.macs is not None:
        return net.macs
    # without gradients, or with a fused kernel, attention takes ways that are not counted
    with torch.enable_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        steps = () if timesteps is None else (timesteps,)
        net.eval()(torch.zeros(1, *steps, shape[2], shape[0], shape[1]))
    return int(counter.get_total_flops()) // 2


@dataclass(frozen=True, eq=False)
class Features:
    """What a teacher says: `features` float32 [views, N, d], `logits` float32 [views, N, classes]."""

    features: np.ndarray
    logits: np.ndarray


def extract(teacher: TeacherNet, x: np.ndarray, cache: Path | None = None, device: Device = CPU) -> Features:
    """Features and logits of views [views, N, height, width, channels].

    With `cache`, a folder, they are read from there where a file for this teacher and these samples is whole, else
    written there; a damaged file is replaced.
    """
    kind = "" if device.host else f"-{device.kind}"
    path = None if cache is None else cache / f"features-{features_key(teacher, x)}{kind}.safetensors"
    found = None if path is None else _read(path, x.shape[:2], teacher.classifier)
    if found is not None:
        return found
    teacher.eval().to(device.name)
    parts: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad(), device.exact():
        for part in batches(x.reshape(-1, *x.shape[2:])):
            parts.append(teacher.answers(part if device.host else part.to(device.name)))
    teacher.to("cpu")
    made = Features(*(torch.cat(p).cpu().numpy().reshape(*x.shape[:2], -1) for p in zip(*parts, strict=True)))
    check_finite(torch.from_numpy(made.features), torch.from_numpy(made.logits))
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
