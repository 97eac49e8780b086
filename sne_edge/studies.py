"""The studies: what the method claims, one table each, on real data and with its spread over seeds.

In: a study's name and a lab. Out: a table. Validation data makes every choice; the tables are of test data.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from . import baseline
from .calibrate import choose_policy, run_students, with_costs
from .corruptions import CORRUPTIONS, SEVERITIES, corrupt
from .errors import SneError
from .model import ActivationPolicy
from .partition import SCHEMES
from .study import COUNTED, Held, Lab, Table, percent, write_table
from .teacher import accuracy, views
from .train import TrainConfig


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


def partition(lab: Lab) -> Table:
    """Every partition scheme after every number of students: int8 test accuracy in order 0, 1, 2, ..."""
    rows: list[list[Any]] = []
    for scheme in SCHEMES:
        seen = [lab.model(lab.config(seed, scheme=scheme)).provenance["integer"]["test"] for seed in lab.seeds]
        fixed = [[row["accuracy"] for row in record if row["policy"].startswith("first")] for record in seen]
        rows.append([scheme, *(percent(column) for column in zip(*fixed, strict=True))])
    count = len(rows[0]) - 1
    heads = [f"{k} student{'s' if k > 1 else ''}, %" for k in range(1, count + 1)]
    return Table(f"Partition schemes on {lab.label}", ("scheme", *heads), rows)


def cascade(lab: Lab) -> Table:
    """The cascade at several allowed drops against a fixed number of students: operations at equal accuracy."""
    helds = [Held(lab.model(lab.config(seed)), lab.data(seed)) for seed in lab.seeds]
    works = []
    for held, seed in zip(helds, lab.seeds, strict=True):
        seen = views(held.data.x_val, 3, seed)
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


Study = Callable[[Lab], Table]
STUDIES: dict[str, Study] = {f.__name__: f for f in (ensemble, partition, cascade, noise, baselines, timesteps)}


def run_study(name: str, lab: Lab, folder: Path) -> Table:
    """Run a study and write its table to `folder`. Raises `SneError` where something it needs is missing."""
    if name not in STUDIES:
        raise SneError(f"there is no study {name!r}", f"studies: {', '.join(STUDIES)}")
    table = STUDIES[name](lab)
    write_table(name, table, lab, folder)
    return table
