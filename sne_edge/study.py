"""What a study is made of: a lab that trains each model once, and the table that comes out.

In: a data set, seeds, a folder. Out: `NAME-DATASET.json` and `.md`. Everything a lab trains is kept in its cache, so
that a killed study goes on where it was, and studies share models. The studies are in `studies`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from . import baseline
from .artifact import fingerprint, load, save
from .calibrate import Stages, run_students, stages
from .data import Dataset, load_dataset
from .evaluate import evaluate
from .files import write_whole
from .fit import Progress, quiet, read_checkpoint, write_checkpoint
from .host import HostModel
from .model import ActivationPolicy, QuantEnsemble
from .policy import format_policy
from .presets import preset
from .teacher import TeacherNet, count_macs, extract, views
from .train import TrainConfig, built_in_teacher, model_key, train

BOARD = "mps2-an386"  # a Cortex-M4
COUNTED = 16  # inputs whose instructions are counted


@dataclass(frozen=True)
class Table:
    """What a study found: rows of text and numbers under columns, each number the values over seeds."""

    title: str
    columns: tuple[str, ...]
    rows: list[list[Any]]
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Lab:
    """What studies share: a cache of models, an executor, where news goes."""

    dataset: str
    seeds: tuple[int, ...]
    cache: Path
    executor: str = "processes"
    progress: Progress = quiet
    changes: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The data set's name, of a file without its folder and ending."""
        return Path(self.dataset).stem

    def config(self, seed: int, **changes: Any) -> TrainConfig:
        """The data set's preset with a seed and changes."""
        return preset(self.dataset, seed=seed, **(self.changes | changes))

    def data(self, seed: int) -> Dataset:
        """The data set, split by a seed."""
        return _load(self.dataset, seed)

    def teacher(self, seed: int) -> TeacherNet:
        """The teacher of a seed."""
        return built_in_teacher(self.config(seed), self.data(seed), self.cache, self.progress)

    def model(self, config: TrainConfig) -> QuantEnsemble:
        """The ensemble of a config: from the cache, or trained."""
        dataset = self.data(config.seed)
        path = self.cache / f"model-{model_key(config, dataset)}.sne"
        if path.exists():
            return load(path)
        made = train(config, self.progress, dataset=dataset, cache=self.cache, executor=self.executor)
        save(made, path)
        return made

    def cnn(self, config: TrainConfig) -> tuple[Any, int]:
        """An int8 network with the layers of a config's student, and its MACs; trained as long as students are."""
        dataset, recipe = self.data(config.seed), config.recipe
        net = baseline.build_cnn(dataset.shape, config.body, len(dataset.classes))
        macs = count_macs(net, dataset.shape)
        path = self.cache / f"cnn-{model_key(config, dataset)}.pt"
        kept = read_checkpoint(path)
        if kept is not None:
            made = baseline.int8_form(net)
            made.load_state_dict(kept)
            return made, macs
        x = views(dataset.x_train, config.views, config.seed)
        taught = extract(self.teacher(config.seed), x, self.cache)
        made = baseline.train_cnn(
            net, x, taught.logits, dataset.y_train, epochs=recipe.alone + recipe.joint, rounded=recipe.rounded,
            rate=4e-3, seed=config.seed, progress=self.progress,
        )  # fmt: skip
        write_checkpoint(path, made.state_dict())
        return made, macs

    def instructions(self, model: QuantEnsemble, policy: ActivationPolicy, inputs: np.ndarray) -> float:
        """Mean instructions of an inference on an emulated Cortex-M4, over the first `COUNTED` inputs."""
        from .bench import bench
        from .connect import connect

        path = self.cache / f"count-{fingerprint(model)}-{format_policy(policy).replace(':', '-')}.json"
        if not path.exists():
            unknown = np.full(COUNTED, -1)
            with connect(model, f"qemu:{BOARD}") as (device, _):
                row = bench(HostModel(model), device, inputs[:COUNTED], unknown, [policy], COUNTED)[0]
            write_whole(path, lambda file: file.write(json.dumps(row.count_mean).encode()))
        return float(json.loads(path.read_text()))


@dataclass(frozen=True)
class Held:
    """A model on the validation and test samples of its data set, after every number of students."""

    model: QuantEnsemble
    data: Dataset

    @cached_property
    def host(self) -> HostModel:
        """The model, compiled for this computer."""
        return HostModel(self.model)

    @cached_property
    def inputs(self) -> np.ndarray:
        """Test samples as the device takes them."""
        return self.model.encoder.encode(self.data.x_test)

    @cached_property
    def test(self) -> Stages:
        """Of the test samples."""
        return stages(self.model, run_students(self.model, self.inputs), self.data.y_test)

    def accuracy(self, policy: ActivationPolicy, x: np.ndarray | None = None) -> tuple[float, float, float]:
        """Accuracy 0..1, mean students run and operations of a policy on test samples or `x` in their place."""
        inputs = self.inputs if x is None else self.model.encoder.encode(x)
        row = evaluate(self.host, inputs, self.data.y_test, [policy])[0]
        return float(row.accuracy or 0), row.students_run, row.operations


@lru_cache(maxsize=4)
def _load(dataset: str, seed: int) -> Dataset:
    return load_dataset(dataset, seed)


def percent(values: Sequence[float]) -> list[float]:
    """Shares as percent, rounded to hundredths."""
    return [round(100 * v, 2) for v in values]


def write_table(name: str, table: Table, lab: Lab, folder: Path) -> None:
    """Write a study's table to `folder`, as JSON and as Markdown."""
    record = {"study": name, "dataset": lab.label, "seeds": lab.seeds} | msgspec.to_builtins(table)
    stem = f"{name}-{lab.label}"
    write_whole(folder / f"{stem}.json", lambda file: file.write(json.dumps(record, indent=1).encode()))
    write_whole(folder / f"{stem}.md", lambda file: file.write(markdown(table, lab).encode()))


def markdown(table: Table, lab: Lab) -> str:
    """A table as Markdown."""
    lines = [f"# {table.title}", "", "| " + " | ".join(table.columns) + " |", "|---" * len(table.columns) + "|"]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in table.rows]
    seeds = ", ".join(map(str, lab.seeds))
    spread = "; mean ± standard deviation" if len(lab.seeds) > 1 else ", one run"
    lines += ["", f"Test data. Seeds {seeds}{spread}.", *table.notes]
    return "\n".join(lines) + "\n"


def cell(value: Any) -> str:
    """A cell: text, a number, or the mean and spread of numbers over seeds."""
    if not isinstance(value, list):
        return number(value) if isinstance(value, int | float) else str(value)
    if len(value) == 1:
        return number(value[0])
    return f"{number(float(np.mean(value)), value)} ± {number(float(np.std(value, ddof=1)), value)}"


def number(value: float, like: Sequence[float] = ()) -> str:
    """A number with the digits it deserves: whole thousands with commas, else two places."""
    whole = all(float(v).is_integer() for v in (like or [value])) and max(map(abs, like or [value])) >= 100
    return f"{value:,.0f}" if whole or abs(value) >= 1000 else f"{value:.2f}".rstrip("0").rstrip(".")
