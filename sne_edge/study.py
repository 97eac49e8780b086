"""Studies: what the method claims, one table each, on real data and with its spread over seeds.

In: a study's name, a data set, seeds. Out: `NAME-DATASET.json` and `.md`. Everything a study trains is kept in a
cache, so that a killed study goes on where it was, and studies share models. Validation data makes every choice; the
tables are of test data.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from . import baseline
from .artifact import fingerprint, load, save
from .calibrate import Stages, choose_policy, run_students, stages, with_costs
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .data import Dataset, load_dataset
from .evaluate import evaluate
from .files import write_whole
from .fit import Progress, quiet, read_checkpoint, write_checkpoint
from .host import HostModel
from .model import ActivationPolicy, QuantEnsemble
from .partition import SCHEMES
from .policy import format_policy
from .presets import preset
from .teacher import TeacherNet, accuracy, count_macs, extract, views
from .train import TrainConfig, find_teacher, model_key, train

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
        return find_teacher(self.config(seed), self.data(seed), self.cache, self.progress)

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
        x = views(dataset.x_train, config.views, config.seed, dataset.mirrored)
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


Study = Callable[[Lab], Table]
STUDIES: dict[str, Study] = {}


def study(function: Study) -> Study:
    """Register a study by its function's name."""
    STUDIES[function.__name__] = function
    return function


def percent(values: Sequence[float]) -> list[float]:
    """Shares as percent, rounded to hundredths."""
    return [round(100 * v, 2) for v in values]


@study
def ensemble(lab: Lab) -> Table:
    """Teacher, every number of students in float and int8, and the cascade: accuracy and operations."""
    records = [lab.model(lab.config(seed)).provenance for seed in lab.seeds]
    macs = records[0]["teacher"]["macs"]
    rows: list[list[Any]] = [["teacher (float)", percent([r["teacher"]["test"] for r in records]), "", macs, 1.0, ""]]
    for k, first in enumerate(records[0]["integer"]["test"]):
        own = [r["integer"]["test"][k] for r in records]
        fixed = first["policy"].startswith("first")
        ops = [row["operations"] for row in own]
        rows.append(
            [
                f"{k + 1} student{'s' if k else ''}" if fixed else "margin cascade",
                percent([row["accuracy"] for row in own]),
                percent([r["float"]["test"][k] for r in records]) if fixed else "",
                [round(n) for n in ops],
                [round(macs / n, 1) for n in ops],
                [row["students_run"] for row in own],
            ]
        )
    columns = ("", "accuracy, %", "as float, %", "operations", "teacher / operations", "students run")
    return Table(f"Teacher, ensemble and cascade on {lab.label}", columns, rows)


@study
def partition(lab: Lab) -> Table:
    """Every partition scheme after every number of students: int8 test accuracy, the order calibrated alike."""
    rows: list[list[Any]] = []
    for scheme in SCHEMES:
        records = [lab.model(lab.config(seed, scheme=scheme)).provenance for seed in lab.seeds]
        seen = [record["integer"]["test"] for record in records]
        fixed = [[row["accuracy"] for row in record if row["policy"].startswith("first")] for record in seen]
        teachers = [record["partition"].get("teacher", record["teacher"])["test"] for record in records]
        rows.append([scheme, *(percent(column) for column in zip(*fixed, strict=True)), percent(teachers)])
    count = len(rows[0]) - 2
    heads = [f"{k} student{'s' if k > 1 else ''}, %" for k in range(1, count + 1)]
    notes = [
        "For every scheme, the student that runs next is the one that makes the ensemble most accurate on validation "
        "data. disentangled-tuned has a teacher of its own."
    ]
    return Table(f"Partition schemes on {lab.label}", ("scheme", *heads, "its teacher, %"), rows, notes)


@study
def cascade(lab: Lab) -> Table:
    """The cascade at several allowed drops against a fixed number of students: operations at equal accuracy."""
    helds = [Held(lab.model(lab.config(seed)), lab.data(seed)) for seed in lab.seeds]
    works = []
    for held, seed in zip(helds, lab.seeds, strict=True):
        seen = views(held.data.x_val, 3, seed, held.data.mirrored)
        work = run_students(held.model, held.model.encoder.encode(seen.reshape(-1, *seen.shape[2:])))
        works.append((with_costs(held.model, work), work, np.tile(held.data.y_val, len(seen))))
    rows: list[list[Any]] = []
    for drop in (0.0, 0.1, 0.2, 0.5, 1.0, 2.0):
        accuracies, ops, run, ratio = [], [], [], []
        for held, (costed, work, labels) in zip(helds, works, strict=True):
            made = choose_policy(costed, work, labels, drop)
            found = Held(made, held.data).accuracy(made.policy)
            curve = held.test.correct.mean(axis=0), held.test.cost.mean(axis=0)
            accuracies.append(found[0])
            run.append(round(found[1], 2))
            ops.append(round(found[2]))
            ratio.append(round(cost_at(found[0], *curve) / found[2], 2))
        rows.append([drop, percent(accuracies), run, ops, ratio])
    columns = ("allowed drop, points", "accuracy, %", "students run", "operations", "fixed / cascade, equal accuracy")
    notes = ["Fixed: a straight line between the numbers of students; above their best accuracy, the cost of all."]
    return Table(f"Cascade against a fixed number of students on {lab.label}", columns, rows, notes)


def cost_at(accuracy: float, accuracies: np.ndarray, costs: np.ndarray) -> float:
    """What a fixed number of students costs for an accuracy, linear between numbers; at most what all cost."""
    if accuracy <= accuracies[0]:
        return float(costs[0])
    for k in range(1, len(costs)):
        if accuracies[k] >= accuracy:
            low, high = accuracies[k - 1], accuracies[k]
            part = (accuracy - low) / (high - low) if high > low else 1.0
            return float(costs[k - 1] + part * (costs[k] - costs[k - 1]))
    return float(costs[-1])


@study
def noise(lab: Lab) -> Table:
    """Points of accuracy lost under corruptions by the teacher, an int8 CNN, the ensemble and the cascade, and how many
    students the cascade runs."""
    subjects = []
    for seed in lab.seeds:
        held = Held(lab.model(lab.config(seed)), lab.data(seed))
        subjects.append((seed, held, lab.teacher(seed), lab.cnn(lab.config(seed))[0]))
    rows: list[list[Any]] = []
    for kind in ("none", *CORRUPTIONS):
        for severity in (1,) if kind == "none" else SEVERITIES:
            cells: list[list[float]] = [[] for _ in range(5)]
            for seed, held, teacher, cnn in subjects:
                data = held.data
                x = data.x_test if kind == "none" else corrupt(kind, data.x_test, severity, seed)
                own = held.accuracy(held.model.policy, x)
                cells[0].append(accuracy(teacher, x, data.y_test))
                cells[1].append(accuracy(cnn, x, data.y_test))
                cells[2].append(held.accuracy(ActivationPolicy("all"), x)[0])
                cells[3].append(own[0])
                cells[4].append(round(own[1], 2))
            rows.append([kind, severity if kind != "none" else "", *(percent(c) for c in cells[:4]), cells[4]])
    columns = ("corruption", "severity", "teacher, %", "int8 CNN, %", "ensemble, %", "cascade, %", "students run")
    return Table(f"Accuracy under corruption on {lab.label}", columns, rows)


@study
def baselines(lab: Lab) -> Table:
    """At the ensemble's cost: one large SNN, students without a partition, and an int8 CNN."""
    width = lab.config(0).students ** 0.5  # weights and operations grow with the square of the channels
    rows: list[list[Any]] = []

    def add(name: str, configs: list[TrainConfig]) -> None:
        found = []
        for config in configs:
            held = Held(lab.model(config), lab.data(config.seed))
            found.append((*held.accuracy(ActivationPolicy("all")), held))
        counts = [round(lab.instructions(h.model, ActivationPolicy("all"), h.inputs)) for *_, h in found]
        rows.append([name, percent([f[0] for f in found]), [round(f[2]) for f in found], counts])

    def scaled(config: TrainConfig, factor: float, **changes: Any) -> TrainConfig:
        channels = tuple(4 * max(1, round(c * factor / 4)) for c in config.body.channels)
        return replace(config, body=replace(config.body, channels=channels), **changes)

    add("ensemble", [lab.config(s) for s in lab.seeds])
    add("one student", [lab.config(s, students=1) for s in lab.seeds])
    add("one large student", [scaled(lab.config(s), width, students=1) for s in lab.seeds])
    add("ensemble without a partition", [lab.config(s, scheme="whole") for s in lab.seeds])
    for factor in (0.5, 1.0, width):
        found = []
        for seed in lab.seeds:
            data = lab.data(seed)
            net, macs = lab.cnn(scaled(lab.config(seed), factor))
            found.append((accuracy(net, data.x_test, data.y_test), macs))
        counts = [round(baseline.INSTRUCTIONS_PER_MAC * macs) for _, macs in found]
        rows.append([f"int8 CNN, {factor:g} x channels", percent([f[0] for f in found]), [f[1] for f in found], counts])
    columns = ("", "accuracy, %", "operations", "instructions, M4")
    notes = [
        f"Instructions: counted in QEMU, {COUNTED} inputs; the CNN's are {baseline.INSTRUCTIONS_PER_MAC} for each MAC, "
        "an estimate from a measurement of CMSIS-NN's convolution."
    ]
    return Table(f"Baselines on {lab.label}", columns, rows, notes)


@study
def timesteps(lab: Lab) -> Table:
    """Timesteps and target spike rates: accuracy and instructions on a Cortex-M4, all students and cascade."""
    rows: list[list[Any]] = []
    for steps in (1, 2, 4, 8):
        for target in (0.0, 0.05, 0.1):
            config = lab.config(0)
            recipe = replace(config.recipe, target=target)
            made = [Held(lab.model(lab.config(s, timesteps=steps, recipe=recipe)), lab.data(s)) for s in lab.seeds]
            every, own = ActivationPolicy("all"), [h.model.policy for h in made]
            rows.append(
                [
                    steps,
                    target,
                    percent([h.accuracy(every)[0] for h in made]),
                    [round(lab.instructions(h.model, every, h.inputs)) for h in made],
                    percent([h.accuracy(p)[0] for h, p in zip(made, own, strict=True)]),
                    [round(lab.instructions(h.model, p, h.inputs)) for h, p in zip(made, own, strict=True)],
                ]
            )
    columns = ("timesteps", "target rate", "all, %", "instructions", "cascade, %", "instructions, cascade")
    return Table(f"Timesteps and spike rates on {lab.label}", columns, rows)


def run_study(name: str, lab: Lab, folder: Path) -> Table:
    """Run a study and write its table to `folder`. Raises `SneError` where something it needs is missing."""
    table = STUDIES[name](lab)
    record = {"study": name, "dataset": lab.label, "seeds": lab.seeds} | msgspec.to_builtins(table)
    stem = f"{name}-{lab.label}"
    write_whole(folder / f"{stem}.json", lambda file: file.write(json.dumps(record, indent=1).encode()))
    write_whole(folder / f"{stem}.md", lambda file: file.write(markdown(table, lab).encode()))
    return table


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
