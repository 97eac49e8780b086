"""What studies share: a lab that trains and measures each thing once.

In: a data set, seeds, a cache. Out: models, and what they do to test samples. All is kept in the cache, so that a
killed study goes on where it was, and studies share models. The studies are in `studies`, their tables in `table`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from ..check.evaluation import evaluate
from ..check.verify import ReferenceEngine
from ..data import origin
from ..data.dataset import Dataset
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..files import write_whole
from ..ir.artifact import fingerprint, load
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy, policy_key
from ..ir.schedule import schedule
from ..learn import baseline
from ..learn.device import CPU, Device
from ..learn.fit import Progress, quiet
from ..learn.networks import TeacherNet
from ..learn.partition import SCHEMES
from ..pipeline.cnn import cnn_key, find_cnn
from ..pipeline.config import TrainConfig
from ..pipeline.presets import preset
from ..pipeline.stages import calibration_samples
from ..pipeline.train import find_teacher
from ..quantize.calibrate import Promise, Work, choose_policy, measure, promise, stages
from ..quantize.cnn import QuantCnn, quantize_cnn
from ..quantize.early import margin_table, partial_parts, with_table
from ..resources import FIRMWARE, PACKAGE, RUNTIME, TEMPLATES, digest
from . import energy, jobs
from .sizes import scaled

BOARDS = {"M0": "microbit", "M3": "mps2-an385", "M4": "mps2-an386", "M55": "mps3-an547"}  # by core
COUNTED = 1000  # inputs whose instructions are counted: all, or so many that stand for more
WEIGHED = energy.SAMPLES  # inputs whose energy is estimated
WIDTHS = (0.25, 0.35, 0.5, 0.7, 1.0, 1.4, 2.0)  # of int8 CNNs, in channels of a student


@dataclass(frozen=True)
class Cnn:
    """An int8 CNN's accuracy, 0..1, on validation and test samples."""

    validation: float
    test: float


@dataclass(frozen=True)
class Lab:
    """What studies share: a cache of models and measurements, an executor, where news goes; the `folder` of data files;
    the partition `schemes` to compare; the device that models learn on. `settings`: studied in place of the data set's
    preset, from a file, or shipped ones, of the name `source`."""

    dataset: str
    seeds: tuple[int, ...]
    cache: Path
    executor: str = "processes"
    progress: Progress = quiet
    changes: dict[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    schemes: tuple[str, ...] = tuple(SCHEMES)
    device: Device = CPU
    settings: TrainConfig | None = None
    source: str = ""

    @property
    def label(self) -> str:
        """The name of the settings, or of the data set; of a file without its folder and ending."""
        return Path(self.dataset if self.names_data else self.source).stem

    @property
    def names_data(self) -> bool:
        """Whether the data set was named, and is not that of the settings."""
        return self.settings is None or self.settings.dataset != self.dataset

    def table(self, study: str) -> str:
        """The name of a study's table, of whose files it is the stem."""
        return f"{study}-{self.label}"

    def config(self, seed: int, **changes: Any) -> TrainConfig:
        """The settings, or the data set's preset, with a seed and changes."""
        base = preset(self.dataset) if self.settings is None else replace(self.settings, dataset=self.dataset)
        return replace(base, seed=seed, **(self.changes | changes))

    def data(self, seed: int) -> Dataset:
        """The data set, split by a seed."""
        return jobs.load(self.dataset, seed, self.folder, input_scale=self.config(seed).input_scale)

    def teacher(self, seed: int) -> TeacherNet:
        """The teacher of a seed."""
        return find_teacher(self.config(seed), self.data(seed), self.cache, self.progress, self.device)

    def model(self, config: TrainConfig) -> QuantEnsemble:
        """The ensemble of a config: from the cache, or trained."""
        job = self.job(config)
        jobs.train_all([job], self.executor, self.progress)
        kept = load(job.path)
        origin.check(kept.provenance, kept.classes, job.data)
        return kept

    def job(self, config: TrainConfig) -> jobs.ModelJob:
        """What trains the ensemble of a config."""
        return jobs.ModelJob(config, self.folder, self.cache, device=self.device)

    def prepare(self, configs: Sequence[TrainConfig]) -> None:
        """Train the ensembles of configs that are not there yet, wherever the executor runs them."""
        planned = [self.job(config) for config in configs]
        self.progress("study", 0, 1, str(jobs.estimate(planned, self.executor)))
        jobs.train_all(planned, self.executor, self.progress)

    def held(self, seed: int, **changes: Any) -> Held:
        """The preset's ensemble with a seed and changes, and its data."""
        return Held(self, self.config(seed, **changes))

    def net(self, seed: int, design: baseline.Design) -> nn.Sequential:
        """The network of a design in its int8 form: taught as students are, in the same views, for twice their epochs,
        the best of which is chosen on validation samples."""
        config, data = self.config(seed), self.data(seed)
        return find_cnn(config, data, design, self.teacher(seed), self.cache, self.device, self.progress)

    def quantized(self, seed: int, design: baseline.Design) -> QuantCnn:
        """The network of a design in integers."""
        data = self.data(seed)
        return quantize_cnn(self.net(seed, design), data.shape, design, data.x_train)

    def cnn(self, seed: int, design: baseline.Design) -> Cnn:
        """What the integer network of a design can do."""
        data = self.data(seed)

        def make() -> list[Any]:
            made = self.quantized(seed, design)
            return [made.accuracy(data.x_val, data.y_val), made.accuracy(data.x_test, data.y_test)]

        found = self.remember(("int8 cnn", self.design_key(seed, design)), make)
        return Cnn(*found)

    def equal_cnn(self, wanted: float) -> dict[float, list[Cnn]]:
        """The int8 CNNs of the student's layers by width and by seed, up to the narrowest of `WIDTHS` at which their
        mean validation accuracy is at least `wanted`, or all."""
        found: dict[float, list[Cnn]] = {}
        for width in WIDTHS:
            found[width] = [self.cnn(seed, self.like_student(width)) for seed in self.seeds]
            if np.mean([c.validation for c in found[width]]) >= wanted:
                break
        return found

    def like_student(self, width: float) -> baseline.Design:
        """A student's layers with `width` times its channels, as a CNN."""
        return baseline.student_design(scaled(self.config(self.seeds[0]), width).body)

    def design_key(self, seed: int, design: baseline.Design) -> str:
        """16 hex digits over everything that a CNN's training depends on."""
        return cnn_key(self.config(seed), self.data(seed), design, self.device)

    def remember(self, key: tuple[str, ...], make: Callable[[], Any]) -> Any:
        """What `make` measured, JSON-able: made once for a key, then kept, for this code alone."""
        named = json.dumps([*key, code_of_now()])
        path = self.cache / f"measured-{hashlib.sha256(named.encode()).hexdigest()[:16]}.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            made = make()
            write_whole(path, lambda file: file.write(json.dumps(made).encode()))
            return made


def code_of_now() -> str:
    """16 hex digits over all code that makes or measures a model."""
    return digest(PACKAGE, RUNTIME, TEMPLATES.parent, FIRMWARE)


@dataclass(frozen=True)
class Figures:
    """Accuracy 0..1; means per inference of students run, and of operations (synaptic and MAC)."""

    accuracy: float
    students_run: float
    operations: float


@dataclass(frozen=True)
class Held:
    """A model on the validation and test samples of its data set; `form`: what it has become since it was trained."""

    lab: Lab
    config: TrainConfig
    form: QuantEnsemble | None = None

    @cached_property
    def model(self) -> QuantEnsemble:
        """The model, trained where it has not been."""
        return self.form or self.lab.model(self.config)

    @property
    def data(self) -> Dataset:
        """Its data set."""
        return self.lab.data(self.config.seed)

    @cached_property
    def host(self) -> HostModel:
        """The model, compiled for this computer."""
        return HostModel(self.model)

    @property
    def engine(self) -> HostEngine:
        """What runs it there."""
        return HostEngine(self.host)

    @cached_property
    def inputs(self) -> np.ndarray:
        """Test samples as the device takes them."""
        return self.encode(self.data.x_test)

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Samples in the data set's units as the device takes them."""
        return self.model.encoder.encode(self.data.as_given(x))

    @cached_property
    def test(self) -> Work:
        """Of the test samples."""
        return measure(self.model, self.engine, self.inputs)

    @cached_property
    def held_out(self) -> tuple[np.ndarray, np.ndarray]:
        """The validation samples as the device takes them, in as many views as training calibrates with, and labels."""
        return calibration_samples(self.model.encoder, self.data, self.config.seed, self.config.augmentation)

    @cached_property
    def validation(self) -> tuple[Work, np.ndarray]:
        """Of the validation samples, and their labels."""
        inputs, labels = self.held_out
        return measure(self.model, self.engine, inputs), labels

    @cached_property
    def weighed(self) -> Work:
        """Of the first `WEIGHED` test samples, by layer."""
        return measure(self.model, ReferenceEngine(self.model), self.inputs[:WEIGHED])

    def calibrated(self, drop: float, kind: str) -> QuantEnsemble:
        """The model with a policy chosen on validation samples."""
        return choose_policy(self.model, *self.validation, drop, kind=kind)

    def ending_early(self) -> Held:
        """The model, whose students may end before their last timestep: by margins chosen on validation samples for the
        drop that the cascade may have, too."""
        inputs, labels = self.held_out
        early = partial_parts(self.model, self.engine, inputs)
        table = margin_table(self.model, self.validation[0].parts, early, labels, self.config.max_drop)
        return replace(self, form=with_table(self.model, table))

    def promise(self, made: QuantEnsemble) -> Promise:
        """What the policy, `cascade` or `routed`, of a form of the model does to the test samples."""
        return promise(stages(made, self.test, self.data.y_test), made.policy.margins)

    def figures(self, policy: ActivationPolicy) -> Figures:
        """Of a policy on the test samples."""
        key = ("figures", fingerprint(self.model), policy_key(policy), self.data.fingerprint)

        def make() -> list[float]:
            found = self.run(policy, self.inputs)
            return [found.accuracy, found.students_run, found.operations]

        return Figures(*self.lab.remember(key, make))

    def run(self, policy: ActivationPolicy, inputs: np.ndarray) -> Figures:
        """Of a policy on other forms of the test samples, uint8 [N, input_bytes]."""
        row = evaluate(self.engine, inputs, self.data.y_test, [policy])[0]
        return Figures(float(row.accuracy or 0), row.students_run, row.operations)

    def spike_rate(self) -> float:
        """Spikes per neuron and timestep of all students on the first `WEIGHED` test samples."""
        model = self.model

        def make() -> float:
            spikes = self.host.run(self.inputs[:WEIGHED], ActivationPolicy("all")).spikes.sum(axis=1).mean()
            neurons = sum(model.students[student].neurons_of(layer) for student, layer in model.spike_layers)
            return float(spikes) / (neurons * model.encoder.timesteps)

        return float(self.lab.remember(("spike rate", fingerprint(model), self.data.fingerprint), make))

    def energy(self, made: QuantEnsemble, policy: ActivationPolicy) -> energy.Estimate:
        """Of a form of the model under a policy, over the first `WEIGHED` test samples."""
        active = schedule(made, policy, self.weighed.parts, self.weighed.ops).active
        return energy.estimate_runs(made, self.weighed, active, policy)

    def instructions(
        self, policies: Sequence[ActivationPolicy], core: str = "M4", samples: int = COUNTED
    ) -> list[tuple[int, int]]:
        """Instructions of an inference under each policy on an emulated core of `BOARDS`: the mean of all test samples,
        or of as many that stand for all, and its standard error. Raises `SneError` where the model does not fit."""
        from ..link.bench import bench
        from ..link.connect import connect

        def make() -> list[list[int]]:
            unknown = np.full(len(self.inputs), -1)
            with connect(self.model, f"qemu:{BOARDS[core]}") as (device, _):
                rows = bench(self.host, device, self.inputs, unknown, policies, samples)
            return [[round(row.count_mean), round(row.count_error or 0)] for row in rows]

        parts = fingerprint(self.model), *map(policy_key, policies), self.data.fingerprint
        found = self.lab.remember(("instructions", core, str(samples), *parts), make)
        return [(mean, error) for mean, error in found]
