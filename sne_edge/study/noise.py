"""The study of noise: what a teacher, an int8 CNN, one student, the ensemble and its cascade lose under corruptions,
each trained without noise and under it, so that what the ensemble adds is told apart from what training adds.

In: a lab. Out: a table of test samples, corrupted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..data.corruptions import CORRUPTIONS, DEEPER, LIGHTEST, NOISES, SEVERITIES, SNRS, add_noise, corrupt
from ..data.dataset import Dataset
from ..ir.artifact import fingerprint
from ..ir.policy import ActivationPolicy
from ..learn.teacher import accuracy
from ..learn.teacher import fingerprint as print_of
from .lab import Held, Lab
from .table import Table, cell, percent

LIGHT = 2.0  # highest severity of what networks learn under: light, of sound 18 dB, for the worst tried is 0
CLEAN = "none: accuracy, %"
NETWORKS = ("teacher", "int8 CNN", "one student", "ensemble", "cascade")
TRAININGS = ("clean", "noise")


@dataclass(frozen=True)
class Found:
    """Under one condition: accuracy 0..1 of `NETWORKS`, and students and operations that the cascade takes."""

    accuracies: list[float]
    students: float
    operations: float


def trained(lab: Lab) -> dict[str, Lab]:
    """The lab, and the same one whose teachers, CNNs and students learn under noise, by `TRAININGS`."""
    return {"clean": lab, "noise": replace(lab, changes=lab.changes | {"noise": LIGHT})}


def noise(lab: Lab) -> Table:
    """Points of accuracy lost under corruptions by networks trained without noise and under it."""
    helds = {name: [Held(made, made.config(seed)) for seed in lab.seeds] for name, made in trained(lab).items()}
    wanted = float(np.mean([validated(held) for held in helds["clean"]]))
    cnns = lab.equal_cnn(wanted)
    width = list(cnns)[-1]
    reached = np.mean([c.validation for c in cnns[width]]) >= wanted
    conditions = list(conditions_of(helds["clean"][0].data))
    found: dict[tuple[str, Any, str], list[Found]] = {}
    for number, (kind, strength) in enumerate(conditions):
        lab.progress("study", number, len(conditions), f"{kind} {strength}".strip())
        for training, row in helds.items():
            found[kind, strength, training] = [_under(held, width, kind, strength) for held in row]
    data = helds["clean"][0].data
    notes = [
        "The first rows are accuracy in percent, the others **points lost** of it; students run and operations are the "
        "cascade's, whose margins are chosen on validation samples without noise.",
        _learnt_under(data),
        f"The int8 CNN has {width:g} x a student's channels: "
        + ("the narrowest with" if reached else "the widest tried, short of")
        + f" the clean cascade's validation accuracy, of {', '.join(f'{w:g}' for w in cnns)}; the same in both rows.",
        "Noise is added to the recordings, before the log-mel front end, at a ratio to each one's power; babble is "
        "eight other recordings."
        if data.frontend
        else "Severities are those of `sne_edge.data.corruptions`, in the data's standard deviations.",
        *_told(conditions, found),
    ]
    columns = ("corruption", "severity", "trained", *NETWORKS, "students run", "operations")
    return Table(f"Accuracy lost under noise on {lab.label}", columns, list(_rows(conditions, found)), notes)


def _learnt_under(data: Dataset) -> str:
    """The note that says what noise networks learnt under."""
    if data.frontend is None:
        noise = (
            f"white noise and impulses of a severity drawn evenly from 0 to {LIGHT:g}, in the values that networks see"
        )
        more = ""
    else:
        deepest = LIGHTEST - DEEPER * LIGHT
        noise = (
            "white noise or babble of other training recordings, as often, added to the recordings at a ratio drawn "
            f"evenly from {LIGHTEST:g} down to {deepest:g} dB"
        )
        more = " The teacher's are drawn anew for every batch. None learnt under louder noise."
    return (
        f"Trained on noise: teacher, CNN and students see every sample in views of which all but one have {noise}, "
        f"beside the light views of always; trained clean, in these alone. Nothing else differs.{more}"
    )


def validated(held: Held) -> float:
    """Accuracy, 0..1, of a model's own policy on validation samples."""
    return float(held.model.provenance["integer"]["validation"][-1]["accuracy"])


def conditions_of(data: Dataset) -> Iterator[tuple[str, Any]]:
    """Nothing, then every corruption of a data set in every severity: (kind, severity)."""
    yield CLEAN, ""
    if data.frontend is None:
        yield from ((kind, severity) for kind in CORRUPTIONS for severity in SEVERITIES)
    else:
        yield from ((kind, f"{snr} dB") for kind in NOISES for snr in SNRS)


def _under(held: Held, width: float, kind: str, strength: Any) -> Found:
    """What a model, its teacher and the CNN taught alike make of the test samples under a corruption."""
    lab, data, seed = held.lab, held.data, held.config.seed
    teacher, design = lab.teacher(seed), lab.like_student(width)

    def make() -> list[float]:
        x = data.x_test
        if kind in CORRUPTIONS:
            x = corrupt(kind, x, strength, seed)
        if kind in NOISES and data.frontend is not None:
            audio = add_noise(kind, data.audio_test, float(strength.split()[0]), seed)
            x = data.frontend.apply(audio).astype(np.float32)
        inputs = held.encode(x)
        first, every = ActivationPolicy("first", students=1), ActivationPolicy("all")
        one, whole, own = (held.run(policy, inputs) for policy in (first, every, held.model.policy))
        nets = [accuracy(net, x, data.y_test) for net in (teacher, lab.net(seed, design))]
        return [*nets, one.accuracy, whole.accuracy, own.accuracy, own.students_run, own.operations]

    key = ("noise", kind, str(strength), fingerprint(held.model), print_of(teacher), lab.design_key(seed, design))
    *accuracies, students, operations = lab.remember(key, make)
    return Found(accuracies, students, operations)


def _rows(conditions: Sequence[tuple[str, Any]], found: dict[tuple[str, Any, str], list[Found]]) -> Iterator[list[Any]]:
    """A row for each condition and training, and behind each kind's their means, and what training saved of them."""
    kinds = list(dict.fromkeys(kind for kind, _ in conditions))
    for kind in kinds:
        strengths = [strength for other, strength in conditions if other == kind]
        for strength in strengths:
            for training in TRAININGS:
                row = found[kind, strength, training]
                shares = [f.accuracies for f in row] if kind == CLEAN else _lost(found, training, [(kind, strength)])
                cells = [percent(column) for column in zip(*shares, strict=True)]
                yield [kind, strength, training, *cells, [round(f.students, 2) for f in row],
                       [round(f.operations) for f in row]]  # fmt: skip
        if kind != CLEAN:
            yield from _means(f"{kind}, mean", [(kind, strength) for strength in strengths], found)
    yield from _means("all, mean", conditions[1:], found)


def _means(
    name: str, of: Sequence[tuple[str, Any]], found: dict[tuple[str, Any, str], list[Found]]
) -> Iterator[list[Any]]:
    lost = {training: np.array(_lost(found, training, of)) for training in TRAININGS}
    lost["saved by training"] = lost["clean"] - lost["noise"]
    for training, shares in lost.items():
        yield [name, "", training, *(percent(column) for column in shares.T.tolist()), "", ""]


def _lost(
    found: dict[tuple[str, Any, str], list[Found]], training: str, of: Sequence[tuple[str, Any]]
) -> list[list[float]]:
    """Accuracy lost, 0..1, in the mean of some conditions: by model and network."""
    clean = np.array([f.accuracies for f in found[CLEAN, "", training]])
    under = np.mean([[f.accuracies for f in found[kind, strength, training]] for kind, strength in of], axis=0)
    made: list[list[float]] = (clean - under).tolist()
    return made


def _told(conditions: Sequence[tuple[str, Any]], found: dict[tuple[str, Any, str], list[Found]]) -> Iterator[str]:
    """What training saves, and what the ensemble does, over all corruptions."""
    lost = {training: np.array(_lost(found, training, conditions[1:])) for training in TRAININGS}
    columns = (lost["clean"] - lost["noise"]).T.tolist()
    saved = [f"{name} {cell(percent(column))}" for name, column in zip(NETWORKS, columns, strict=True)]
    yield f"**What training adds**, in points less lost, mean of all corruptions: {', '.join(saved)}."
    parts = []
    for training, shares in lost.items():
        _, cnn, one, whole, own = shares.T
        told = [cell(percent(column.tolist())) for column in (one - whole, cnn - whole, whole - own)]
        parts.append(f"trained {training}, the ensemble loses {told[0]} less than its first student and {told[1]} less "
                     f"than the CNN, and the cascade {told[2]} less than the ensemble")  # fmt: skip
    yield f"**What the ensemble adds**, likewise: {'; '.join(parts)}."
