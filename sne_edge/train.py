"""The whole run: teacher, partition, distillation, quantisation, calibration.

In: a `TrainConfig`. Out: a calibrated `QuantEnsemble` that carries its figures in its provenance.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch

from . import partition as partitions
from . import reference
from .calibrate import calibrate, golden_vectors
from .data import Dataset, load_dataset
from .distill import Lessons, Recipe, distill, prefix_accuracy
from .encoder import Encoder
from .errors import SneError
from .model import ActivationPolicy, QuantEnsemble
from .policy import format_policy
from .quantize import quantize_ensemble
from .student import Body, Ensemble
from .teacher import Progress, TeacherNet, accuracy, count_macs, extract, fingerprint, quiet, train_teacher, views


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome, but for the machine's floating point.

    dataset   what `data.load_dataset` takes; scheme: a partition scheme; views: augmented views a sample is seen in
    max_drop  points (percent) of validation accuracy that the cascade may cost
    name      of the ensemble; by default the data set's
    """

    dataset: str = "mnist1d"
    scheme: str = "disentangled"
    students: int = 4
    timesteps: int = 4
    body: Body = field(default_factory=Body)
    recipe: Recipe = field(default_factory=Recipe)
    teacher_epochs: int = 40
    views: int = 16
    max_drop: float = 0.1
    vectors: int = 32
    seed: int = 0
    name: str | None = None

    def __post_init__(self) -> None:
        if self.scheme not in partitions.SCHEMES:
            known = ", ".join(sorted(partitions.SCHEMES))
            raise SneError(f"there is no partition scheme {self.scheme!r}", f"schemes: {known}")
        if min(self.teacher_epochs, self.views, self.vectors, self.timesteps) < 1 or not 1 <= self.students <= 32:
            raise SneError(
                "a training setting is out of range", "give 1 to 32 students, and at least 1 of everything else"
            )
        if not 0 <= self.seed < 2**31:
            raise SneError(f"seed {self.seed} is out of range", "give a seed in 0..2^31-1")


def train(
    config: TrainConfig, progress: Progress = quiet, *, teacher: TeacherNet | None = None, cache: Path | None = None
) -> QuantEnsemble:
    """Train, quantise and calibrate an ensemble; `teacher` replaces the built-in one.

    `cache`: a folder for the teacher's features (`teacher.default_cache()`, say), or None. Deterministic for a config
    on one machine with one number of threads. Every choice is made on validation samples; test samples are used at
    the end, for the figures in the provenance. Raises `SneError` on anything the data or the config do not allow.
    """
    dataset = load_dataset(config.dataset, config.seed)
    teacher = teacher or train_teacher(dataset, epochs=config.teacher_epochs, seed=config.seed, progress=progress)
    x = views(dataset.x_train, config.views, config.seed)
    progress("features", 0, 1, "")
    taught = extract(teacher, x, cache)
    source = partitions.Source(
        features=taught.features[0],
        logits=taught.logits[0],
        labels=dataset.y_train,
        weight=teacher.classifier.weight.detach().numpy(),
        bias=_bias(teacher),
    )
    chunks = partitions.make_partition(config.scheme, source, config.students, config.seed)
    progress("features", 1, 1, f"{config.scheme} partition of {len(chunks.owner)} features")

    scale = float(np.quantile(np.abs(dataset.x_train), 0.9999)) / 127 or 1.0
    encoder = Encoder("direct", dataset.shape, config.timesteps, scale=scale)
    torch.manual_seed(config.seed)
    ensemble = Ensemble(chunks, config.body, encoder)
    lessons = Lessons(x, chunks.targets(taught.features), taught.logits, dataset.y_train)
    distill(ensemble, lessons, dataset.x_val, dataset.y_val, config.recipe, seed=config.seed, progress=progress)

    progress("calibration", 0, 1, "")
    integers = quantize_ensemble(ensemble, config.name or _identifier(dataset.name), dataset.classes)
    seen = views(dataset.x_val, 5, config.seed)  # more samples to choose margins by: held-out ones, augmented
    held_out = encoder.encode(seen.reshape(-1, *seen.shape[2:]))
    integers = calibrate(integers, held_out, np.tile(dataset.y_val, len(seen)), config.max_drop)
    test = encoder.encode(dataset.x_test)
    vectors = golden_vectors(integers, test[: config.vectors], dataset.y_test[: config.vectors])
    provenance = _provenance(config, dataset, teacher, chunks) | {
        "float": {
            "validation": _rounded(prefix_accuracy(ensemble, dataset.x_val, dataset.y_val, integers.order)),
            "test": _rounded(prefix_accuracy(ensemble, dataset.x_test, dataset.y_test, integers.order)),
        },
        "integer": {
            "validation": figures(integers, encoder.encode(dataset.x_val), dataset.y_val),
            "test": figures(integers, test, dataset.y_test),
        },
    }
    made = msgspec.structs.replace(integers, vectors=vectors, provenance=provenance)
    best = provenance["integer"]["test"][-1]
    progress("calibration", 1, 1, f"test accuracy {best['accuracy']:.1%} at {best['operations']:,.0f} operations")
    return made


def figures(ensemble: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """Accuracy (0..1) and mean cost per inference for every number of students in order, then the cascade's.

    Inputs are uint8 [N, input_bytes], labels [N]; the integer reference runs them.
    """
    traces = [reference.run_student(ensemble, k, inputs) for k in range(len(ensemble.students))]
    policies = [ActivationPolicy("first", students=k + 1) for k in range(len(traces))]
    if ensemble.policy.kind == "cascade":
        policies.append(ensemble.policy)
    rows = []
    for policy in policies:
        out = reference.combine(ensemble, traces, policy)
        rows.append(
            {
                "policy": format_policy(policy),
                "accuracy": round(float((out.decisions.label == labels).mean()), 4),
                "students_run": round(float(out.decisions.students_run.mean()), 3),
                "synaptic_ops": round(float(out.synaptic_ops.mean()), 1),
                "macs": round(float(out.macs.mean()), 1),
                "operations": round(float((out.synaptic_ops + out.macs).mean()), 1),
            }
        )
    return rows


def _provenance(
    config: TrainConfig, dataset: Dataset, teacher: TeacherNet, chunks: partitions.Partition
) -> dict[str, Any]:
    return {
        "source": "train",
        "config": json.loads(json.dumps(asdict(config))) | {"dataset": dataset.name},  # a path differs by machine
        "dataset": {
            "name": dataset.name,
            "fingerprint": dataset.fingerprint,
            "samples": {
                "train": len(dataset.y_train),
                "validation": len(dataset.y_val),
                "test": len(dataset.y_test),
            },
        },
        "teacher": {
            "fingerprint": fingerprint(teacher),
            "macs": count_macs(teacher, dataset.shape),
            "parameters": sum(p.numel() for p in teacher.parameters()),
            "validation": round(accuracy(teacher, dataset.x_val, dataset.y_val), 4),
            "test": round(accuracy(teacher, dataset.x_test, dataset.y_test), 4),
        },
        "partition": chunks.provenance,
        "torch": str(torch.__version__),
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(v, 4) for v in values]


def _bias(teacher: TeacherNet) -> np.ndarray:
    bias = teacher.classifier.bias
    if bias is None:
        return np.zeros(teacher.classifier.out_features, dtype=np.float32)
    made: np.ndarray = bias.detach().numpy()
    return made


def _identifier(name: str) -> str:
    """A data set's name as an ensemble's: lower case, letters, digits and dashes, at most 32 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
    return plain if plain[:1].isalpha() else f"model-{plain}"[:32].strip("-")
