"""The studies: what the method claims, one table each, on real data and with its spread over seeds.

In: a study's name and a lab. Out: a table. Validation data makes every choice; the tables are of test data.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..data.dataset import Dataset
from ..errors import SneError, nearest
from ..ir.policy import ActivationPolicy
from ..learn.recipe import Recipe
from ..pipeline.config import TrainConfig
from ..pipeline.presets import SHORT, shortened
from ..quantize.calibrate import stages
from . import sizes
from .energy import Estimate, estimate_dense
from .guarantee import guarantee
from .lab import COUNTED, WEIGHED, Held, Lab
from .noise import noise, trained
from .pictures import Picture, Point
from .table import Table, percent, write_table

ALL = ActivationPolicy("all")
DROPS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0)  # points
TIMESTEPS = (1, 2, 4, 8)
TARGETS = (0.05, 0.1, 0.2)  # spikes per neuron and timestep
LARGE: dict[str, Callable[[TrainConfig, Dataset], float]] = {  # what one student may have as much of as an ensemble
    "one large student, as many weights": sizes.weights,
    "one large student, as many operations": sizes.operations,
}
STRICT = 1.0  # weight of the spikes above a target, where targets are swept


def ensemble(lab: Lab) -> Table:
    """Teacher, every number of students, cascade and routed cascade: accuracy, operations and energy."""
    helds = [lab.held(seed) for seed in lab.seeds]
    teachers = [held.model.provenance["teacher"] for held in helds]
    macs, parameters = teachers[0]["macs"], teachers[0]["parameters"]
    dense = estimate_dense(macs, parameters)
    rows: list[list[Any]] = [
        ["teacher, float32", percent([t["test"] for t in teachers]), "", macs, 1.0, "",
         *_energy([estimate_dense(macs, parameters, 32)], dense)],
        ["teacher, were it int8", "", "", macs, 1.0, "", *_energy([dense], dense)],
    ]  # fmt: skip
    curves: dict[str, list[Point]] = {"first k students, int8": []}
    points: dict[str, list[Point]] = {}
    count = len(helds[0].model.students)
    kinds = ["first"] * count + (["cascade", "routed"] if count > 1 else [])
    for k, kind in enumerate(kinds, start=1):
        lab.progress("study", k - 1, len(kinds), kind)
        accuracies, operations, students, weighed = [], [], [], []
        for held in helds:
            made = held.model
            if kind == "routed":
                made = held.calibrated(held.config.max_drop, "routed")
            policy = ActivationPolicy("first", students=k) if kind == "first" else made.policy
            found = held.promise(made) if kind == "routed" else held.figures(policy)
            accuracies.append(found.accuracy)
            operations.append(found.operations)
            students.append(round(found.students_run, 2))
            weighed.append(held.energy(made, policy))
        name = {"first": f"{k} student{'s' if k > 1 else ''}", "cascade": "margin cascade", "routed": "routed cascade"}
        as_float = percent([h.model.provenance["float"]["test"][k - 1] for h in helds]) if kind == "first" else ""
        ratio = [round(macs / n, 1) for n in operations]
        rows.append(
            [name[kind], percent(accuracies), as_float, [round(n) for n in operations], ratio, students,
             *_energy(weighed, dense)]
        )  # fmt: skip
        (curves["first k students, int8"] if kind == "first" else points.setdefault(name[kind], [])).append(
            _point(operations, percent(accuracies))
        )
    columns = (
        "", "accuracy, %", "as float, %", "operations", "teacher / operations", "students run",
        "arithmetic, nJ", "int8 teacher / it", "with memory, nJ", "int8 teacher / it",
    )  # fmt: skip
    notes = [
        "Operations: MACs of the teacher; synaptic operations and MACs of the ensemble. The cascades' margins and the "
        f"routes are chosen on validation samples for at most {helds[0].config.max_drop:g} points.",
        "Energies are **estimates** for 45 nm (Horowitz, ISSCC 2014; the models are those of `sne_edge.study.energy`), "
        f"over {min(WEIGHED, len(helds[0].data.x_test)):,} test samples: arithmetic alone, and with the memory that "
        "it moves. They are not measurements.",
    ]
    level = float(np.mean([100 * t["test"] for t in teachers]))
    picture = Picture(
        "synaptic operations + MACs per inference", "test accuracy, %", curves, points,
        {f"teacher {level:.1f} %, {macs:,} MACs": level},
    )  # fmt: skip
    return Table(f"Teacher, ensemble and cascades on {lab.label}", columns, rows, notes, picture)


def _energy(found: Sequence[Estimate], teacher: Estimate) -> list[Any]:
    """Cells: nJ of arithmetic, how many times the teacher's that is, and the same with memory."""
    return [
        [round(e.arithmetic / 1000, 3) for e in found],
        [round(teacher.arithmetic / e.arithmetic, 2) for e in found],
        [round(e.total / 1000, 3) for e in found],
        [round(teacher.total / e.total, 2) for e in found],
    ]


def _point(x: Sequence[float], y: Sequence[float]) -> Point:
    return float(np.mean(x)), float(np.mean(y)), float(np.std(y, ddof=1)) if len(y) > 1 else 0.0


def partition(lab: Lab) -> Table:
    """Partition schemes after every number of students, taught as usual and taught features alone: int8 test accuracy,
    the order calibrated alike."""
    rows: list[list[Any]] = []
    ways = _ways(lab)
    for number, ((taught, scheme), configs) in enumerate(ways.items()):
        lab.progress("study", number, len(ways), f"{scheme}, {taught}")
        records = [lab.model(config).provenance for config in configs]
        seen = [record["integer"]["test"] for record in records]
        fixed = [[row["accuracy"] for row in record if row["policy"].startswith("first")] for record in seen]
        teachers = [record["partition"].get("teacher", record["teacher"])["test"] for record in records]
        columns = (percent(column) for column in zip(*fixed, strict=True))
        rows.append([taught, scheme, *columns, percent(teachers)])
    count = len(rows[0]) - 3
    heads = [f"{k} student{'s' if k > 1 else ''}, %" for k in range(1, count + 1)]
    notes = [
        "For every scheme, the student that runs next is the one that makes the ensemble most accurate on validation "
        "data. disentangled-tuned has a teacher of its own. Taught features alone, students see neither labels nor the "
        "teacher's logits: the teacher's classifier reads their features.",
    ]
    if lab.dataset in SHORT:
        notes.append("Students learn for fewer epochs than those of `sne-edge train`.")
    titles = ("students learn", "scheme", *heads, "its teacher, %")
    return Table(f"Partition schemes on {lab.label}", titles, rows, notes)


def _ways(lab: Lab) -> dict[tuple[str, str], list[TrainConfig]]:
    """Models of `partition` by what students learn and by scheme, one a seed."""
    alone = {"feature": 1.0, "teacher": 0.0, "label": 0.0}
    courses: tuple[tuple[str, dict[str, Any]], ...] = (("features, logits, labels", {}), ("features alone", alone))
    made = {}
    for taught, weights in courses:
        for scheme in lab.schemes:
            configs = [shortened(lab.config(seed, scheme=scheme)) for seed in lab.seeds]
            made[taught, scheme] = [replace(c, recipe=replace(c.recipe, **weights)) for c in configs]
    return made


def cascade(lab: Lab) -> Table:
    """Cascades, in fixed and in routed order, at several allowed drops against a fixed number of students."""
    helds = [lab.held(seed) for seed in lab.seeds]
    rows: list[list[Any]] = []
    for number, drop in enumerate(DROPS):
        lab.progress("study", number, len(DROPS), f"allowed drop {drop:g}")
        found = [[held.promise(held.calibrated(drop, kind)) for held in helds] for kind in ("cascade", "routed")]
        curves = []
        for held in helds:
            plain = msgspec.structs.replace(held.calibrated(drop, "cascade"), policy=ALL)
            seen = stages(plain, held.test, held.data.y_test)
            curves.append((seen.correct.mean(axis=0), seen.cost.mean(axis=0)))
        for kind, promises in zip(("fixed order", "routed"), found, strict=True):
            ratio = [cost_at(p.accuracy, *curve) / p.operations for p, curve in zip(promises, curves, strict=True)]
            other = [first.operations / p.operations for first, p in zip(found[0], promises, strict=True)]
            rows.append(
                [
                    drop,
                    kind,
                    percent([p.accuracy for p in promises]),
                    [round(p.students_run, 2) for p in promises],
                    [round(p.operations) for p in promises],
                    [round(r, 2) for r in ratio],
                    [round(r, 2) for r in other],
                ]
            )
    columns = (
        "allowed drop, points", "cascade", "accuracy, %", "students run", "operations",
        "fixed number / cascade, equal accuracy", "fixed order / cascade",
    )  # fmt: skip
    notes = [
        "Margins and routes are chosen on validation samples: at most the allowed drop of them are right with only one "
        "of cascade and all students.",
        "Fixed number / cascade: operations that a fixed number of students takes for the cascade's test accuracy, on "
        "a straight line between numbers of students (above their best accuracy, the cost of all), over the "
        "cascade's.",
    ]
    return Table(f"Cascades against a fixed number of students on {lab.label}", columns, rows, notes)


def cost_at(accuracy: float, accuracies: np.ndarray, costs: np.ndarray) -> float:
    """What is paid for an accuracy along a row of ever larger networks, linear between them; the first one's cost below
    its accuracy, and the last one's above all."""
    if accuracy <= accuracies[0]:
        return float(costs[0])
    for k in range(1, len(costs)):
        if accuracies[k] >= accuracy:
            low, high = accuracies[k - 1], accuracies[k]
            part = (accuracy - low) / (high - low) if high > low else 1.0
            return float(costs[k - 1] + part * (costs[k] - costs[k - 1]))
    return float(costs[-1])


def baselines(lab: Lab) -> Table:
    """Spiking networks against one another: the ensemble, its cascade, one student, one large one of as many weights
    and one of as many operations as the ensemble, and students without a partition; where there are timesteps, also
    the cascade and the large ones that may end early. `make bench-cnn` holds ensembles against CNNs."""
    rows: list[list[Any]] = []
    kinds = _kinds(lab)
    timed = lab.config(0).timesteps > 1
    for number, (name, configs) in enumerate(kinds.items()):
        lab.progress("study", number, len(kinds), name)
        helds = [Held(lab, config) for config in configs]
        rows.append(_baseline(name, helds, ALL))
        stops = "its cascade" if name == "ensemble" else name
        if name == "ensemble":
            rows.append(_baseline(stops, helds, None))
        if timed and name in ("ensemble", *LARGE):
            rows.append(_baseline(f"{stops}, ending early", [held.ending_early() for held in helds], None))
        if timed and name in LARGE:
            rows.append(_baseline(f"{stops}, after one timestep", helds, ActivationPolicy("all", timesteps=1)))
    notes = [_ends_early(lab)] if timed else []
    return Table(f"Spiking baselines on {lab.label}", ("", "accuracy, %", "operations"), rows, notes)


def _kinds(lab: Lab) -> dict[str, list[TrainConfig]]:
    """Models of `baselines` by name, one a seed."""
    return {
        "ensemble": [lab.config(s) for s in lab.seeds],
        "one student": [lab.config(s, students=1) for s in lab.seeds],
        **{
            name: [sizes.large_student(lab.config(s), lab.data(s), measure) for s in lab.seeds]
            for name, measure in LARGE.items()
        },
        "ensemble without a partition": [lab.config(s, scheme="whole") for s in lab.seeds],
    }


def _baseline(name: str, helds: Sequence[Held], policy: ActivationPolicy | None) -> list[Any]:
    """A row: of a policy, or of each model's own."""
    found = [held.figures(policy or held.model.policy) for held in helds]
    return [name, percent([f.accuracy for f in found]), [round(f.operations) for f in found]]


def _ends_early(lab: Lab) -> str:
    return (
        "What ends early does so after a timestep at which its two best classes are far enough apart. That margin, as "
        f"the cascade's own, is chosen on validation samples for at most {lab.config(0).max_drop:g} points."
    )


def _counted(lab: Lab) -> str:
    samples = len(lab.data(lab.seeds[0]).y_test)
    which = f"all {samples:,}" if samples <= COUNTED else f"{COUNTED:,} of {samples:,}, spread over the work they take:"
    return f"Instructions: counted in QEMU, means of {which} test samples."


def timesteps(lab: Lab) -> Table:
    """Timesteps and target spike rates: accuracy and instructions on a Cortex-M4 of all students, of the cascade, and
    of the cascade whose students may end early."""
    settings = _swept(lab)
    rows: dict[tuple[int, Recipe], list[Any]] = {}  # the usual recipe may be one of the target rates
    curves: dict[str, list[Point]] = {}
    labels: dict[str, list[str]] = {}
    for number, (swept, steps, recipe) in enumerate(settings):
        lab.progress("study", number, len(settings), f"{steps} timesteps, target rate {recipe.target:g}")
        if (steps, recipe) not in rows:
            rows[steps, recipe] = _timed(lab, steps, recipe)
        *_, accuracy, instructions, early_accuracy, early_instructions = rows[steps, recipe]
        label = f"T = {steps}" if swept == "timesteps" else f"{recipe.target:g}"
        drawn = [(f"cascade, {swept}", instructions, accuracy)]
        if early_accuracy and swept == "timesteps":
            drawn.append(("ending early, timesteps", early_instructions, early_accuracy))
        for name, x, y in drawn:
            curves.setdefault(name, []).append(_point(x, y))
            labels.setdefault(name, []).append(label)
    columns = (
        "timesteps", "target rate", "spikes per neuron and timestep", "all, %", "instructions, M4", "cascade, %",
        "instructions, M4, cascade", "cascade ending early, %", "instructions, M4, ending early",
    )  # fmt: skip
    notes = [
        _counted(lab),
        _ends_early(lab),
        "Training adds, for each layer, the weight times what its spike rate is above the target.",
    ]
    picture = Picture("instructions on a Cortex-M4", "test accuracy, %", curves, {}, {}, labels)
    return Table(f"Timesteps and spike rates on {lab.label}", columns, list(rows.values()), notes, picture)


def _timed(lab: Lab, steps: int, recipe: Recipe) -> list[Any]:
    """A row of `timesteps`; its last six cells are accuracy and instructions, by policy."""
    helds = [lab.held(seed, timesteps=steps, recipe=recipe) for seed in lab.seeds]
    early = [held.ending_early() for held in helds] if steps > 1 else []
    cells: list[Any] = []
    for which, policy in ((helds, ALL), (helds, None), (early, None)):
        pairs = [(held, policy or held.model.policy) for held in which]
        cells.append(percent([held.figures(policy).accuracy for held, policy in pairs]) or "")
        cells.append([held.instructions([policy])[0][0] for held, policy in pairs] or "")
    rates = [round(held.spike_rate(), 3) for held in helds]
    return [steps, f"{recipe.target:g}, weight {recipe.spikes:g}", rates, *cells]


def _swept(lab: Lab) -> list[tuple[str, int, Recipe]]:
    """What `timesteps` sweeps: its name, timesteps, and the recipe."""
    usual = lab.config(0)
    settings = [("timesteps", steps, usual.recipe) for steps in TIMESTEPS]
    strict = [replace(usual.recipe, spikes=STRICT, target=target) for target in TARGETS]
    return [*settings, *(("target rates", usual.timesteps, recipe) for recipe in strict)]


def plan(name: str, lab: Lab) -> list[TrainConfig]:
    """The models that a study takes, but for the CNNs beside them."""
    check_study(name)
    if name == "partition":
        return [config for configs in _ways(lab).values() for config in configs]
    if name == "baselines":
        return [config for configs in _kinds(lab).values() for config in configs]
    if name == "noise":
        return [made.config(seed) for made in trained(lab).values() for seed in lab.seeds]
    if name == "timesteps":
        return [lab.config(s, timesteps=t, recipe=r) for _, t, r in _swept(lab) for s in lab.seeds]
    return [lab.config(seed) for seed in lab.seeds]


Study = Callable[[Lab], Table]
STUDIES: dict[str, Study] = {
    f.__name__: f for f in (ensemble, partition, cascade, noise, baselines, timesteps, guarantee)
}


def check_study(name: str) -> None:
    """Raise `SneError` where there is no such study."""
    if name not in STUDIES:
        raise SneError(f"there is no study {name[:80]!r}", f"{nearest(name, STUDIES)}studies: {', '.join(STUDIES)}")


def run_study(name: str, lab: Lab, folder: Path) -> Table:
    """Run a study and write its table to `folder`. Raises `SneError` where something it needs is missing."""
    lab.prepare(plan(name, lab))
    table = STUDIES[name](lab)
    lab.progress("study", 1, 1, "")
    write_table(name, table, lab, folder)
    return table
