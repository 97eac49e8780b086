"""The five stages of training, in order: teacher, partition, students, integers, calibration.

Each is a function from what it is given, plain values among it, to what it leaves for the next; none reads a config.
What takes long goes on where it was when it is called again with the same cache: a trained teacher, extracted
features, a tuned teacher, each student's epochs. Every choice is made on training or validation samples.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec
import numpy as np
import torch
from torch import nn

from ..check.verify import ReferenceEngine
from ..data.dataset import Dataset
from ..data.units import encoder_of_given
from ..errors import SneError
from ..interchange.script import load_network
from ..ir.encoder import Encoder, input_channels
from ..ir.ensemble import QuantEnsemble, with_frontend
from ..learn import partition as partitions
from ..learn.augmentation import LIGHT, Augmentation
from ..learn.device import CPU, Device
from ..learn.distill import distill
from ..learn.fit import Progress, outcome_key, quiet, read_checkpoint, write_checkpoint
from ..learn.heard import Heard
from ..learn.lessons import Lessons
from ..learn.networks import ScaledTeacher, TeacherNet, as_teacher, build_teacher, fitted
from ..learn.onnx_module import learnable
from ..learn.onnx_teacher import OnnxTeacher, onnx_teacher
from ..learn.recipe import Recipe
from ..learn.student import Body, Ensemble
from ..learn.teacher import check_trainable, extract, fine_tune, fingerprint, train_teacher
from ..learn.tuning import Tuning
from ..learn.views import to_torch, views
from ..quantize.calibrate import calibrate, golden_vectors
from ..quantize.quantize import quantize_ensemble
from ..quantize.residual import quantize_residual

CALIBRATION_SAMPLES = 20_000  # held-out samples, augmented views among them, that margins are chosen by
PROBED = 4  # samples that a teacher from elsewhere is tried on before it teaches
NORMED = 512  # samples by which norms of a network from elsewhere are restored
GOLDEN_AUDIO = 2  # recordings among the golden vectors


def built_in_teacher(
    dataset: Dataset,
    size: str,
    epochs: int,
    seed: int,
    *,
    minutes: float | None = None,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    cache: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> TeacherNet:
    """Stage 1: the built-in teacher of a `size` in `teacher.SIZES`: from `cache`, or trained, and then kept there.
    `augmentation`: of the views that it sees; `noise`: the severity of what they meet, at most."""
    how = augmentation.of(dataset).key
    key = outcome_key(size, epochs, seed, minutes, how, noise, dataset.fingerprint, dataset.units is None, *device.key)
    path = None if cache is None else cache / f"teacher-{key}.pt"
    kept = None if path is None else read_checkpoint(path)
    if kept is not None:
        teacher = build_teacher(size, dataset.shape, len(dataset.classes), dataset.timesteps).eval()
        teacher.load_state_dict(kept)
        return teacher
    state = None if path is None else path.with_suffix(".run.pt")
    teacher = train_teacher(
        dataset, epochs=epochs, size=size, seed=seed, minutes=minutes, augmentation=augmentation, noise=noise,
        checkpoint=state, device=device, progress=progress,
    )  # fmt: skip
    if path is not None and state is not None:
        write_checkpoint(path, teacher.state_dict())
        state.unlink(missing_ok=True)
    return teacher


def teacher_from_onnx(
    dataset: Dataset,
    file: str,
    features: str | None,
    logits: str | None,
    scaling: tuple[np.ndarray, np.ndarray] | None = None,
    *,
    learns: bool = False,
    progress: Progress = quiet,
) -> TeacherNet:
    """Stage 1, of an ONNX file: see `learn.onnx_teacher`; one that `learns` becomes a torch module."""
    progress("teacher", 0, 1, "")
    teacher = onnx_teacher(file, dataset, features, logits, scaling)
    if learns:
        scaled = teacher if isinstance(teacher, ScaledTeacher) else None
        inner = teacher if scaled is None else scaled.teacher
        assert isinstance(inner, OnnxTeacher)
        probe = to_torch(dataset.x_train[:: max(1, len(dataset.x_train) // NORMED)][:NORMED])
        made = learnable(inner, probe if scaled is None else scaled.scaled(probe))
        teacher = made if scaling is None else ScaledTeacher(made, *scaling)
    progress("teacher", 1, 1, "from an ONNX file")
    return teacher


def teacher_from_script(
    dataset: Dataset, where: str, weights: str | None, scaling: tuple[np.ndarray, np.ndarray] | None = None
) -> TeacherNet:
    """Stage 1, of FILE.py:NAME and perhaps a safetensors file of weights."""
    module = as_teacher(load_network(where, None if weights is None else Path(weights))).eval()
    return _scaled(module, dataset, where, scaling).eval()


def _scaled(
    module: TeacherNet, dataset: Dataset, name: str, scaling: tuple[np.ndarray, np.ndarray] | None
) -> TeacherNet:
    """A teacher of some name, tried on samples as it wants them."""
    samples = to_torch(dataset.x_train[:PROBED])
    if scaling is not None:
        samples = ScaledTeacher(module, *scaling).scaled(samples)
    teacher = fitted(module, samples, len(dataset.classes), name)
    return teacher if scaling is None else ScaledTeacher(teacher, *scaling)


def teacher_of_module(
    dataset: Dataset, module: nn.Module, scaling: tuple[np.ndarray, np.ndarray] | None = None
) -> TeacherNet:
    """Stage 1, of a module: see `learn.networks.as_teacher`; `scaling`: as `teacher_from_script` has it."""
    return _scaled(as_teacher(module), dataset, type(module).__name__, scaling)


def tuned_further(
    teacher: TeacherNet,
    dataset: Dataset,
    epochs: int,
    seed: int,
    *,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    cache: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> TeacherNet:
    """Stage 1, of a teacher from elsewhere that is trained on: from `cache`, or trained, and then kept there."""
    check_trainable(teacher)
    how = augmentation.of(dataset).key
    key = outcome_key("fine-tuned", fingerprint(teacher), epochs, seed, how, noise, dataset.fingerprint, *device.key)
    path = None if cache is None else cache / f"teacher-{key}.pt"
    kept = None if path is None else read_checkpoint(path)
    if kept is not None:
        teacher.load_state_dict(kept)
        return teacher.eval()
    state = None if path is None else path.with_suffix(".run.pt")
    teacher = fine_tune(
        teacher, dataset, epochs=epochs, seed=seed, augmentation=augmentation, noise=noise, checkpoint=state,
        device=device, progress=progress,
    )  # fmt: skip
    if path is not None and state is not None:
        write_checkpoint(path, teacher.state_dict())
        state.unlink(missing_ok=True)
    return teacher


@dataclass(frozen=True, eq=False)
class Taught:
    """What students are taught: the samples in views [views, N, ...]; by view and sample the targets of the partition's
    chunks and the teacher's logits; whose they are: the teacher, tuned where the scheme tunes it."""

    teacher: TeacherNet
    chunks: partitions.Partition
    samples: np.ndarray
    targets: np.ndarray
    logits: np.ndarray

    @property
    def digest(self) -> str:
        """32 hex digits over the teacher, targets and logits."""
        made = hashlib.sha256(fingerprint(self.teacher).encode())
        for array in (self.targets, self.logits):
            made.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
        return made.hexdigest()[:32]


def divide(
    teacher: TeacherNet,
    dataset: Dataset,
    scheme: str,
    students: int,
    seed: int,
    *,
    seen: int,
    tuning_epochs: int,
    tuning_minutes: float | None = None,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    cache: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> Taught:
    """Stage 2: the teacher's features on training samples in `seen` views of an `augmentation`, with `noise` of up to
    that severity, and their partition by a scheme.

    Raises `SneError` where the teacher is not the data's, or cannot be tuned and the scheme does that.
    """
    if teacher.classifier.out_features != len(dataset.classes):
        raise SneError(
            f"the teacher knows {teacher.classifier.out_features} classes, {dataset.name} has {len(dataset.classes)}",
            "give a teacher of this data set",
        )
    if scheme in partitions.TUNING:
        check_trainable(teacher)
    x = views(dataset.x_train, seen, seed, augmentation.of(dataset), noise, device, Heard.of(dataset, noise))
    progress("features", 0, 1, "")
    taught = extract(teacher, x, cache, device)
    bias = teacher.classifier.bias
    source = partitions.Source(
        features=taught.features[0],
        logits=taught.logits[0],
        labels=dataset.y_train,
        weight=teacher.classifier.weight.detach().numpy(),
        bias=np.zeros(len(dataset.classes), dtype=np.float32) if bias is None else bias.detach().numpy(),
        tuning=Tuning(teacher, x, taught.logits, tuning_epochs, tuning_minutes, cache, progress, device),
        device=device,
    )
    chunks = partitions.make_partition(scheme, source, students, seed)
    if chunks.tuned is not None:
        teacher, chunks = chunks.tuned, replace(chunks, tuned=None)
        taught = extract(teacher, x, cache, device)
    progress("features", 1, 1, f"{scheme} partition of {len(chunks.owner)} features")
    return Taught(teacher, chunks, x, chunks.targets(taught.features), taught.logits)


def teach(
    taught: Taught,
    dataset: Dataset,
    body: Body,
    timesteps: int,
    recipe: Recipe,
    seed: int,
    *,
    input_scale: str = "auto",
    minutes: float | None = None,
    augmentation: Augmentation = LIGHT,
    noise: float = 0.0,
    run: Path | None = None,
    executor: str = "inline",
    device: Device = CPU,
    progress: Progress = quiet,
) -> Ensemble:
    """Stage 3: students of a body, distilled; `run` is a folder for the state of their training, or None.

    `input_scale`: as a `TrainConfig` has it. Raises `SneError` where there is one channel, and each is to have a scale.
    """
    if dataset.timesteps is not None:
        encoder = Encoder("events", dataset.shape, dataset.timesteps)
    else:
        apart = dataset.units is not None and len({*dataset.units.spread.tolist()}) > 1
        by_channel = input_scale == "per-channel" or (input_scale == "auto" and apart)
        scale = _steps_by_channel(dataset, body) if by_channel else _step(dataset)
        encoder = Encoder("direct", dataset.shape, timesteps, scale=scale)
    torch.manual_seed(seed)
    ensemble = Ensemble(taught.chunks, body, encoder)
    lessons = Lessons(taught.samples, taught.targets, taught.logits, dataset.y_train, dataset.x_val, dataset.y_val)
    distill(
        ensemble, lessons, recipe, seed=seed, executor=executor, folder=run, progress=progress, minutes=minutes,
        device=device, teacher=taught.teacher, augmentation=augmentation.of(dataset), noise=noise,
        heard=Heard.of(dataset, noise),
    )  # fmt: skip
    return ensemble


def _step(dataset: Dataset) -> float:
    """The real value of one step of the input; a front end makes steps."""
    return 1.0 if dataset.frontend else _range(dataset.x_train) / 127 or 1.0


def _steps_by_channel(dataset: Dataset, body: Body) -> tuple[float, ...]:
    """The same of each channel; of flat values, which dense layers alone take, of each value."""
    many = dataset.shape[2] if body.channels else input_channels(dataset.shape)
    if dataset.frontend or many == 1:
        raise SneError(
            f"{dataset.name} has samples of {'a front end' if dataset.frontend else 'one channel'}, and so one scale",
            "leave --input-scale out, or state the layout, with the channels that there are",
        )
    return tuple(_range(column) / 127 or 1.0 for column in dataset.x_train.reshape(-1, many).T)


def _range(values: np.ndarray) -> float:
    """What one magnitude in ten thousand exceeds."""
    return float(np.quantile(np.abs(values), 0.9999))


def integers(ensemble: Ensemble, name: str, dataset: Dataset) -> QuantEnsemble:
    """Stage 4: the ensemble in integers, every bound proven; nothing is measured yet. It takes samples as the data
    set's file has them."""
    quantized = quantize_residual if ensemble.sizes.residual else quantize_ensemble
    made = quantized(ensemble, name, dataset.classes)
    if dataset.units is None:
        return made
    return msgspec.structs.replace(made, encoder=encoder_of_given(made.encoder, dataset.units))


def calibrated(
    ensemble: QuantEnsemble,
    dataset: Dataset,
    max_drop: float,
    vectors: int,
    seed: int,
    *,
    augmentation: Augmentation = LIGHT,
    device: Device = CPU,
    progress: Progress = quiet,
) -> QuantEnsemble:
    """Stage 5: costs, order and margins from validation samples; golden vectors are test samples."""
    progress("calibration", 0, 1, "")
    samples = calibration_samples(ensemble.encoder, dataset, seed, augmentation)
    made = calibrate(ensemble, *samples, max_drop, where=device.name)
    golden = ensemble.encoder.encode(dataset.as_given(dataset.x_test[:vectors]))
    found = golden_vectors(ReferenceEngine(made), golden, dataset.y_test[:vectors])
    made = msgspec.structs.replace(made, vectors=found)
    return (
        made if dataset.frontend is None else with_frontend(made, dataset.frontend, dataset.audio_test[:GOLDEN_AUDIO])
    )


def calibration_samples(
    encoder: Encoder, dataset: Dataset, seed: int, augmentation: Augmentation = LIGHT
) -> tuple[np.ndarray, np.ndarray]:
    """Validation samples in views of an augmentation, up to about `CALIBRATION_SAMPLES`, encoded, and their labels:
    more to choose margins by."""
    count = min(5, max(1, CALIBRATION_SAMPLES // len(dataset.x_val)))
    seen = views(dataset.x_val, count, seed, augmentation.of(dataset))
    return encoder.encode(dataset.as_given(seen.reshape(-1, *seen.shape[2:]))), np.tile(dataset.y_val, len(seen))
