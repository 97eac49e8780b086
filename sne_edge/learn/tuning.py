"""Tuning of a teacher with chunk dropout: its features fall into chunks of which any few classify well.

In: a teacher, its samples and logits, and a start: a linear map of its features, shared out to students. Out: another
teacher, whose features are the chunks.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from .device import CPU, Device
from .fit import Plan, Progress, distillation_loss, fit, outcome_key, quiet
from .networks import TeacherNet
from .teacher import features_key
from .views import to_torch

FIRST_DROPOUT = 0.5  # share of the samples that lose chunks at the start; it rises to all of them in the first half


@dataclass(frozen=True, eq=False)
class Tuning:
    """What it takes to tune a teacher: the teacher, samples x float32 [views, N, height, width, channels], its logits
    [views, N, classes] on them, epochs or minutes to do it in, and a folder that keeps what was tuned, or None."""

    teacher: TeacherNet
    x: np.ndarray
    logits: np.ndarray
    epochs: int
    minutes: float | None = None
    cache: Path | None = None
    progress: Progress = quiet
    device: Device = CPU


class TunedTeacher(TeacherNet):
    """Features g = norm(P f + o) of another teacher's f, of mean 0 and deviation 1, and a classifier on them."""

    def __init__(
        self, teacher: TeacherNet, projection: np.ndarray, offset: np.ndarray, weight: np.ndarray, bias: np.ndarray
    ) -> None:
        super().__init__()
        self.teacher = copy.deepcopy(teacher)
        self.projection, self.classifier = nn.Linear(*projection.T.shape), nn.Linear(*weight.T.shape)
        self.norm = nn.BatchNorm1d(len(projection), affine=False)
        given = {self.projection: (projection, offset), self.classifier: (weight, bias)}
        for layer, (matrix, constant) in given.items():
            layer.weight.data, layer.bias.data = torch.from_numpy(matrix.copy()), torch.from_numpy(constant.copy())

    def features(self, x: Tensor) -> Tensor:
        out: Tensor = self.norm(self.projection(self.teacher.features(x)))
        return out


def tune(tuning: Tuning, labels: np.ndarray, owner: np.ndarray, start: TunedTeacher, seed: int) -> TunedTeacher:
    """`start`, trained in place, backbone and all; labels int64 [N], owner int64 [m] the student of each feature.

    Each sample of a batch keeps chunks of its own: see `keep_chunks`.
    """
    students, images, device = int(owner.max()) + 1, tuning.teacher.images, tuning.device
    plan = Plan(tuning.epochs, batch=128, rate=1e-3, decay=1e-3, warm=0.1, minutes=tuning.minutes)
    steps = tuning.epochs * max(1, len(labels) // plan.batch)
    truth, chunks, known = device.put(labels), device.put(owner), device.put(tuning.logits)
    samples = None if device.host else device.put(np.stack([to_torch(view).numpy() for view in tuning.x]))
    batches_done: int | None = None

    def loss(pick: np.ndarray, generator: np.random.Generator) -> Tensor:
        nonlocal batches_done
        if batches_done is None:
            batches_done = int(start.norm.num_batches_tracked or 0)  # it counts through resumptions, too
        dropout = min(1.0, FIRST_DROPOUT + batches_done / steps)
        batches_done += 1
        kept = keep_chunks(len(pick), students, dropout, generator)
        view = generator.integers(len(tuning.x), size=len(pick))
        rows, drawn = device.put(pick), device.put(view)
        x = to_torch(tuning.x[view, pick]) if samples is None else samples[drawn, rows]
        with device.autocast(images):
            features = start.features(x.contiguous(memory_format=torch.channels_last) if images else x)
        logits = start.classifier(features.float() * device.put(kept)[:, chunks])
        return distillation_loss(logits, known[drawn, rows], truth[rows], teacher_weight=4.0, label_weight=1.0)

    taught = hashlib.sha256(np.ascontiguousarray(tuning.logits).tobytes() + labels.tobytes() + owner.tobytes())
    key = outcome_key(
        features_key(start, tuning.x), taught.hexdigest(), tuning.epochs, tuning.minutes, seed, *device.key
    )
    name = f"tuned-{key}"
    checkpoint = None if tuning.cache is None else tuning.cache / f"{name}.pt"
    start.to(device.name)
    fit(
        start, loss, len(labels), plan, stage="tuning the teacher", seed=seed, checkpoint=checkpoint,
        progress=tuning.progress,
    )  # fmt: skip
    return start.to("cpu")


def keep_chunks(samples: int, students: int, dropout: float, generator: np.random.Generator) -> np.ndarray:
    """Which chunks each sample keeps, float32 0/1 [samples, students].

    A share `dropout` of the samples keeps k chunks, k = 1..students alike; half of these the first k, so that the order
    of chunks means something, half of them any k. The others keep all.
    """
    kept = np.arange(students) <= generator.integers(students, size=(samples, 1))
    kept = np.where(generator.random((samples, 1)) < 0.5, generator.permuted(kept, axis=1), kept)
    whole = generator.random((samples, 1)) >= dropout
    made: np.ndarray = (kept | whole).astype(np.float32)
    return made
