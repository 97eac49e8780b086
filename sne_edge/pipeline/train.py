"""The whole run: teacher, partition, distillation, quantisation, calibration.

In: a `TrainConfig`. Out: a calibrated `QuantEnsemble` that carries its figures in its provenance.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from ..check.evaluation import figures
from ..check.verify import ReferenceEngine
from ..data.dataset import Dataset, load_dataset
from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble, with_frontend
from ..learn import partition as partitions
from ..learn.distill import Lessons, Recipe, distill, prefix_accuracy
from ..learn.fit import Progress, quiet, read_checkpoint, write_checkpoint
from ..learn.onnx_teacher import onnx_teacher
from ..learn.student import Body, Ensemble
from ..learn.teacher import (
    SIZES,
    TeacherNet,
    accuracy,
    as_teacher,
    build_teacher,
    count_macs,
    extract,
    fingerprint,
    train_teacher,
    views,
)
from ..learn.tuning import Tuning, check_tunable
from ..quantize.calibrate import calibrate, golden_vectors
from ..quantize.quantize import quantize_ensemble

CALIBRATION_SAMPLES = 20_000  # held-out samples, augmented views among them, that margins are chosen by
GOLDEN_AUDIO = 2  # recordings among the golden vectors
TEACHER_SHARE = 0.25  # of a budget of time
TUNING_SHARE = 0.1  # of it, where the scheme tunes the teacher


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome, but for the machine's floating point.

    dataset   what `load_dataset` takes; scheme: a partition scheme; views: augmented views a sample is seen in
    teacher   size of the built-in one, or an ONNX file (*.onnx); then features and logits name its outputs, as
              `onnx_teacher.onnx_teacher` takes them
    max_drop  points (percent) of validation accuracy that the cascade may cost
    minutes   wall time that all training may take, or None: then the epochs decide, and runs repeat exactly
    name      of the ensemble; by default the data set's
    """

    dataset: str = "mnist1d"
    scheme: str = "disentangled"
    students: int = 4
    timesteps: int = 4
    body: Body = field(default_factory=Body)
    recipe: Recipe = field(default_factory=Recipe)
    teacher: str = "small"
    teacher_epochs: int = 40
    features: str | None = None
    logits: str | None = None
    views: int = 16
    max_drop: float = 0.1
    vectors: int = 32
    seed: int = 0
    minutes: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.scheme not in partitions.SCHEMES:
            known = ", ".join(sorted(partitions.SCHEMES))
            raise SneError(f"there is no partition scheme {self.scheme!r}", f"schemes: {known}")
        if self.teacher not in SIZES and not self.onnx:
            hint = f"give {', '.join(SIZES)}, or an ONNX file (*.onnx)"
            raise SneError(f"there is no built-in teacher {self.teacher!r}", hint)
        if not self.onnx and (self.features or self.logits):
            raise SneError("outputs are named for a teacher that is not an ONNX file", "give --teacher FILE.onnx")
        if min(self.teacher_epochs, self.views, self.vectors, self.timesteps) < 1 or not 1 <= self.students <= 32:
            raise SneError(
                "a training setting is out of range", "give 1 to 32 students, and at least 1 of everything else"
            )
        if not 0 <= self.seed < 2**31:
            raise SneError(f"seed {self.seed} is out of range", "give a seed in 0..2^31-1")
        if self.minutes is not None and not self.minutes > 0:
            raise SneError(f"a budget of {self.minutes} minutes is none", "give a positive number of minutes")

    @property
    def onnx(self) -> bool:
        """Whether the teacher is an ONNX file."""
        return self.teacher.endswith(".onnx")


def train(
    config: TrainConfig,
    progress: Progress = quiet,
    *,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    cache: Path | None = None,
    executor: str = "inline",
) -> QuantEnsemble:
    """Train, quantise and calibrate an ensemble; `teacher` replaces the config's, `dataset` the named one.

    `teacher`: any module with `features` (a module or method, float [N, channels, height, width] -> [N, d]) and a
    linear `classifier`; see `teacher.as_teacher`.
    `cache`: a folder (`teacher.default_cache()`, say), or None. It keeps teachers, their features, and the state of a
    run until it is over: a run that was killed goes on where it was. `executor`: where students learn alone, see
    `executor.run_jobs`.
    Deterministic for a config on one machine with one number of threads, whatever the executor. Every choice is made on
    validation samples; test samples are used at the end, for the figures in the provenance. Raises `SneError` on
    anything the data or the config do not allow.
    """
    dataset = dataset or load_dataset(config.dataset, config.seed)
    teacher = find_teacher(config, dataset, cache, progress) if teacher is None else as_teacher(teacher)
    if teacher.classifier.out_features != len(dataset.classes):
        raise SneError(
            f"the teacher knows {teacher.classifier.out_features} classes, {dataset.name} has {len(dataset.classes)}",
            "give a teacher of this data set",
        )
    if config.scheme in partitions.TUNING:
        check_tunable(teacher)
    x = views(dataset.x_train, config.views, config.seed, dataset.mirrored)
    progress("features", 0, 1, "")
    taught = extract(teacher, x, cache)
    source = partitions.Source(
        features=taught.features[0],
        logits=taught.logits[0],
        labels=dataset.y_train,
        weight=teacher.classifier.weight.detach().numpy(),
        bias=_bias(teacher),
        tuning=_tuning(config, teacher, x, taught.logits, cache, progress),
    )
    chunks = partitions.make_partition(config.scheme, source, config.students, config.seed)
    original, spent = teacher, TEACHER_SHARE
    if chunks.tuned is not None:
        teacher, spent, chunks = chunks.tuned, TEACHER_SHARE + TUNING_SHARE, replace(chunks, tuned=None)
        taught = extract(teacher, x, cache)
    progress("features", 1, 1, f"{config.scheme} partition of {len(chunks.owner)} features")

    scale = 1.0 if dataset.frontend else float(np.quantile(np.abs(dataset.x_train), 0.9999)) / 127 or 1.0
    encoder = Encoder("direct", dataset.shape, config.timesteps, scale=scale)
    torch.manual_seed(config.seed)
    ensemble = Ensemble(chunks, config.body, encoder)
    lessons = Lessons(x, chunks.targets(taught.features), taught.logits, dataset.y_train, dataset.x_val, dataset.y_val)
    run = None if cache is None else cache / f"run-{model_key(config, dataset)}-{fingerprint(teacher)}"
    distill(
        ensemble, lessons, config.recipe, seed=config.seed, executor=executor, folder=run, progress=progress,
        minutes=None if config.minutes is None else config.minutes * (1 - spent),
    )  # fmt: skip

    progress("calibration", 0, 1, "")
    integers = quantize_ensemble(ensemble, config.name or _identifier(dataset.name), dataset.classes)
    count = min(5, max(1, CALIBRATION_SAMPLES // len(dataset.x_val)))
    seen = views(
        dataset.x_val, count, config.seed, dataset.mirrored
    )  # more samples to choose margins by: held-out ones, augmented
    held_out = encoder.encode(seen.reshape(-1, *seen.shape[2:]))
    integers = calibrate(integers, held_out, np.tile(dataset.y_val, len(seen)), config.max_drop)
    test = encoder.encode(dataset.x_test)
    engine = ReferenceEngine(integers)
    vectors = golden_vectors(engine, test[: config.vectors], dataset.y_test[: config.vectors])
    if teacher is not original:
        chunks.provenance["teacher"] = _scores(teacher, dataset)
    provenance = _provenance(config, dataset, original, chunks) | {
        "float": {
            "validation": _rounded(prefix_accuracy(ensemble, dataset.x_val, dataset.y_val, integers.order)),
            "test": _rounded(prefix_accuracy(ensemble, dataset.x_test, dataset.y_test, integers.order)),
        },
        "integer": {
            "validation": figures(engine, integers, encoder.encode(dataset.x_val), dataset.y_val),
            "test": figures(engine, integers, test, dataset.y_test),
        },
    }
    made = msgspec.structs.replace(integers, vectors=vectors, provenance=provenance)
    if dataset.frontend is not None:
        made = with_frontend(made, dataset.frontend, dataset.audio_test[:GOLDEN_AUDIO])
    best = provenance["integer"]["test"][-1]
    progress("calibration", 1, 1, f"test accuracy {best['accuracy']:.1%} at {best['operations']:,.0f} operations")
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)
    return made


def find_teacher(
    config: TrainConfig, dataset: Dataset, cache: Path | None = None, progress: Progress = quiet
) -> TeacherNet:
    """The teacher that a config names: of an ONNX file, or built in."""
    if not config.onnx:
        return built_in_teacher(config, dataset, cache, progress)
    progress("teacher", 0, 1, "")
    teacher = onnx_teacher(config.teacher, dataset, config.features, config.logits)
    progress("teacher", 1, 1, "from an ONNX file")
    return teacher


def built_in_teacher(
    config: TrainConfig, dataset: Dataset, cache: Path | None = None, progress: Progress = quiet
) -> TeacherNet:
    """The built-in teacher that a config names: from `cache`, or trained, and then kept there."""
    minutes = None if config.minutes is None else config.minutes * TEACHER_SHARE
    key = _key(config.teacher, config.teacher_epochs, config.seed, minutes, dataset.mirrored, dataset.fingerprint)
    path = None if cache is None else cache / f"teacher-{key}.pt"
    kept = None if path is None else read_checkpoint(path)
    if kept is not None:
        teacher = build_teacher(config.teacher, dataset.shape, len(dataset.classes)).eval()
        teacher.load_state_dict(kept)
        return teacher
    state = None if path is None else path.with_suffix(".run.pt")
    teacher = train_teacher(
        dataset, epochs=config.teacher_epochs, size=config.teacher, seed=config.seed, minutes=minutes,
        checkpoint=state, progress=progress,
    )  # fmt: skip
    if path is not None and state is not None:
        write_checkpoint(path, teacher.state_dict())
        state.unlink(missing_ok=True)
    return teacher


def model_key(config: TrainConfig, dataset: Dataset) -> str:
    """16 hex digits over a config and its data. Settings at their defaults don't count, so that a setting that is new
    leaves what was trained before it its name."""
    named: dict[str, Any] = _changed(config) | {"dataset": dataset.name}
    if config.onnx:
        named["teacher"] = hashlib.sha256(Path(config.teacher).read_bytes()).hexdigest()
    return _key(named, dataset.mirrored, dataset.fingerprint)


def _changed(config: Any) -> dict[str, Any]:
    """The fields of a dataclass, and of dataclasses in it, that are not at their defaults."""
    plain = type(config)()
    pairs = ((f.name, getattr(config, f.name), getattr(plain, f.name)) for f in fields(config))
    return {name: _changed(value) if is_dataclass(value) else value for name, value, usual in pairs if value != usual}


def _key(*parts: Any) -> str:
    """16 hex digits over what decides an outcome."""
    return hashlib.sha256(json.dumps([*parts, str(torch.__version__)]).encode()).hexdigest()[:16]


def _provenance(
    config: TrainConfig, dataset: Dataset, teacher: TeacherNet, chunks: partitions.Partition
) -> dict[str, Any]:
    return {
        "source": "train",
        # a path differs by machine
        "config": json.loads(json.dumps(asdict(config)))
        | {"dataset": dataset.name, "teacher": Path(config.teacher).name},
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
            "parameters": teacher.parameter_count or sum(p.numel() for p in teacher.parameters()),
            **_scores(teacher, dataset),
        },
        "partition": chunks.provenance,
        "torch": str(torch.__version__),
    }


def _scores(teacher: TeacherNet, dataset: Dataset) -> dict[str, float]:
    return {
        "validation": round(accuracy(teacher, dataset.x_val, dataset.y_val), 4),
        "test": round(accuracy(teacher, dataset.x_test, dataset.y_test), 4),
    }


def _tuning(
    config: TrainConfig, teacher: TeacherNet, x: np.ndarray, logits: np.ndarray, cache: Path | None, progress: Progress
) -> Tuning:
    """What a scheme may tune the teacher with: a third of the epochs that the built-in one learns."""
    minutes = None if config.minutes is None else config.minutes * TUNING_SHARE
    return Tuning(teacher, x, logits, -(-config.teacher_epochs // 3), minutes, cache, progress)


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
