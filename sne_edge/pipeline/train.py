"""The whole run: teacher, partition, distillation, quantisation, calibration.

In: a `TrainConfig`. Out: a calibrated `QuantEnsemble` that carries its figures in its provenance.
"""

from __future__ import annotations

import json
import re
import shutil
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import torch
from torch import nn

from ..check.evaluation import figures
from ..check.verify import ReferenceEngine
from ..data import origin
from ..data.dataset import Dataset, load_dataset
from ..data.units import in_units
from ..errors import SneError, SneWarning
from ..ir.ensemble import QuantEnsemble
from ..learn import partition as partitions
from ..learn.device import CPU, Device
from ..learn.distill import prefix_accuracy
from ..learn.fit import Progress, Told, quiet
from ..learn.networks import TeacherNet, wanted_values
from ..learn.own import seeded
from ..learn.student import Ensemble
from ..learn.teacher import accuracy, count_macs, fingerprint
from ..learn.views import check_augmentation
from ..quantize.early import check_rule
from . import stages, verdict
from .config import TrainConfig, model_key
from .recalibrate import recalibrate

TEACHER_SHARE = 0.25  # of a budget of time
TUNING_SHARE = 0.1  # of it, where the scheme tunes the teacher


def train(
    config: TrainConfig,
    progress: Progress = quiet,
    *,
    dataset: Dataset | None = None,
    teacher: nn.Module | None = None,
    cache: Path | None = None,
    executor: str = "inline",
    device: Device = CPU,
) -> QuantEnsemble:
    """Train, quantise and calibrate an ensemble; `teacher` replaces the config's, `dataset` the named one.

    `teacher`: any module with `features` (a module or method, float [N, channels, height, width] -> [N, d], of 1-D
    samples also [N, channels, length]) and a linear `classifier`; see `learn.networks.as_teacher`.
    `cache`: a folder (`teacher.default_cache()`, say), or None. It keeps teachers, their features, and the state of a
    run until it is over: a run that was killed goes on where it was. `executor`: where students learn alone, see
    `executor.run_jobs`. `device`: where everything learns (`device.find_device`); on a GPU all students learn at once
    in this process, and the executor has no say.
    Deterministic for a config on one machine with one number of threads, whatever the executor; on one kind of GPU.
    Every choice is made on validation samples; test samples are used at the end, for the figures in the provenance.
    Warns (`SneWarning`) of a teacher or students that learned little; raises `SneError` on anything the data or the
    config do not allow.
    """
    dataset = dataset or load_dataset(config.dataset, config.seed)
    check_events(dataset)
    given, dataset = dataset, learnt(dataset, config.input_scale)
    if config.early is not None:
        check_rule(config.early, dataset.timesteps or config.timesteps)
    check_augmentation(config.augmentation, dataset)
    for text in verdict.doubts_of_data(dataset):
        warnings.warn(text, SneWarning, stacklevel=2)
    if teacher is None:
        original = find_teacher(config, dataset, cache, progress, device)
    else:
        brought = None if dataset is given else dataset.units  # the module takes samples as they were given
        scaling = None if brought is None else (brought.spread, brought.middle)
        original = stages.teacher_of_module(dataset, teacher, scaling)
    taught = divide_features(
        config, original, dataset, minutes=_share(config, TUNING_SHARE), cache=cache, device=device, progress=progress
    )
    tuned = taught.teacher is not original
    run = None if cache is None else cache / f"run-{model_key(config, dataset, device)}-{taught.digest}"
    ensemble = teach_students(
        config, taught, dataset, minutes=_share(config, 1 - TEACHER_SHARE - TUNING_SHARE * tuned), run=run,
        executor=executor, device=device, progress=progress,
    )  # fmt: skip
    integers = stages.integers(ensemble, config.name or _identifier(dataset.name), dataset)
    made = stages.calibrated(
        integers, dataset, config.max_drop, config.vectors, config.seed, augmentation=config.augmentation,
        device=device, progress=progress,
    )  # fmt: skip

    if tuned:
        taught.chunks.provenance["teacher"] = _scores(taught.teacher, dataset, device)
    parts = {"validation": (dataset.x_val, dataset.y_val), "test": (dataset.x_test, dataset.y_test)}
    held = {"validation": given.x_val, "test": given.x_test}
    encoded = {part: made.encoder.encode(given.as_given(x)) for part, x in held.items()}
    engine = ReferenceEngine(made, device.name)
    ensemble.to(device.name)
    provenance = _provenance(config, dataset, original, taught.chunks, device) | {
        **({"device": list(device.key)} if device.key else {}),
        "float": {part: _rounded(prefix_accuracy(ensemble, x, y, made.order)) for part, (x, y) in parts.items()},
        "integer": {part: figures(engine, made, encoded[part], y) for part, (_, y) in parts.items()},
    }
    made = msgspec.structs.replace(made, provenance=provenance)
    if config.early is not None:
        made = recalibrate(made, given, config.max_drop, early=config.early)[0]
        provenance = made.provenance
    for text in verdict.doubts(provenance, dataset.y_val):
        warnings.warn(text, SneWarning, stacklevel=2)
    best = provenance["integer"]["test"][-1]
    words = f"test accuracy {best['accuracy']:.1%} at {best['operations']:,.0f} operations"
    progress("calibration", 1, 1, Told(words, {"validation": provenance["integer"]["validation"][-1]["accuracy"]}))
    if run is not None:
        shutil.rmtree(run, ignore_errors=True)
    return made


def learnt(dataset: Dataset, input_scale: str) -> Dataset:
    """A data set as networks learn it, for the `input_scale` of a `TrainConfig`."""
    return in_units(dataset) if input_scale == "auto" else dataset


def divide_features(
    config: TrainConfig,
    teacher: TeacherNet,
    dataset: Dataset,
    *,
    minutes: float | None = None,
    cache: Path | None = None,
    device: Device = CPU,
    progress: Progress = quiet,
) -> stages.Taught:
    """Stage 2, `stages.divide`, as a config has it; `minutes` that the teacher may be tuned for."""
    return stages.divide(
        teacher, dataset, config.scheme, config.students, config.seed, seen=config.views,
        tuning_epochs=-(-config.teacher_epochs // 3),  # a third of what the built-in one learns
        tuning_minutes=minutes, augmentation=config.augmentation, noise=config.noise, cache=cache, device=device,
        progress=progress,
    )  # fmt: skip


def teach_students(
    config: TrainConfig,
    taught: stages.Taught,
    dataset: Dataset,
    *,
    minutes: float | None = None,
    run: Path | None = None,
    executor: str = "inline",
    device: Device = CPU,
    progress: Progress = quiet,
) -> Ensemble:
    """Stage 3, `stages.teach`, as a config has it, in so many `minutes`."""
    return stages.teach(
        taught, dataset, config.body, config.timesteps, config.recipe, config.seed, input_scale=config.input_scale,
        minutes=minutes, augmentation=config.augmentation, noise=config.noise, run=run, executor=executor,
        device=device, progress=progress,
    )  # fmt: skip


def find_teacher(
    config: TrainConfig,
    dataset: Dataset,
    cache: Path | None = None,
    progress: Progress = quiet,
    device: Device = CPU,
) -> TeacherNet:
    """The teacher that a config names: of an ONNX file, of a user's own, both perhaps fine-tuned, or built in."""
    if config.onnx or config.script:
        scaling = wanted_values(
            config.teacher_input, config.teacher_mean, config.teacher_deviation, dataset.standard, dataset.shape[2],
            dataset.units,
        )  # fmt: skip
        if config.script:
            with seeded(config.seed):  # a class of a user's own draws its first weights
                found = stages.teacher_from_script(dataset, config.teacher, config.weights, scaling)
        else:
            found = stages.teacher_from_onnx(
                dataset, config.teacher, config.features, config.logits, scaling, learns=config.fine_tune > 0,
                progress=progress,
            )  # fmt: skip
        if not config.fine_tune:
            return found
        return stages.tuned_further(
            found, dataset, config.fine_tune, config.seed, augmentation=config.augmentation, noise=config.noise,
            cache=cache, device=device, progress=progress,
        )  # fmt: skip
    return stages.built_in_teacher(
        dataset, config.teacher, config.teacher_epochs, config.seed, minutes=_share(config, TEACHER_SHARE),
        augmentation=config.augmentation, noise=config.noise, cache=cache, device=device, progress=progress,
    )  # fmt: skip


def check_events(dataset: Dataset) -> None:
    """Raise `SneError` where rasters hold other values than 0 and 1."""
    if dataset.timesteps is not None and not np.isin(dataset.x_train, (0, 1)).all():
        raise SneError(
            f"{dataset.name} holds rasters of values, or of counts of events",
            "train takes values that stay the same over time, or events: 0 or 1 per input and timestep",
        )


def _share(config: TrainConfig, share: float) -> float | None:
    """Minutes of a share of the budget; None where there is none."""
    return None if config.minutes is None else config.minutes * share


def _provenance(
    config: TrainConfig, dataset: Dataset, teacher: TeacherNet, chunks: partitions.Partition, device: Device
) -> dict[str, Any]:
    named = json.loads(json.dumps(asdict(config))) | {"dataset": dataset.name}
    for settings, name in ((named, "teacher"), (named, "scheme"), (named, "weights"), (named["augmentation"], "own")):
        settings[name] = settings[name] and Path(settings[name]).name  # a path differs by machine
    return {
        "source": "train",
        "config": named,
        "dataset": origin.record(dataset),
        "teacher": {
            "fingerprint": fingerprint(teacher),
            "macs": count_macs(teacher, dataset.shape, dataset.timesteps),
            "parameters": teacher.parameter_count or sum(p.numel() for p in teacher.parameters()),
            **_scores(teacher, dataset, device),
        },
        "partition": chunks.provenance,
        "torch": str(torch.__version__),
    }


def _scores(teacher: TeacherNet, dataset: Dataset, device: Device) -> dict[str, float]:
    return {
        "validation": round(accuracy(teacher, dataset.x_val, dataset.y_val, device), 4),
        "test": round(accuracy(teacher, dataset.x_test, dataset.y_test, device), 4),
    }


def _rounded(values: list[float]) -> list[float]:
    return [round(v, 4) for v in values]


def _identifier(name: str) -> str:
    """A data set's name as an ensemble's: lower case, letters, digits and dashes, at most 32 characters."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:32].strip("-")
    return plain if plain[:1].isalpha() else f"model-{plain}"[:32].strip("-")
