"""Ensembles of one's own: several finished models become one, on one logit scale.

In: ensembles of the same input and classes, chains or graphs, and samples of known labels. Out: a `QuantEnsemble` of
all their students, without policy and golden vectors: `calibrate` chooses those.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from ..data.origin import origin
from ..errors import SneError
from ..ir.artifact import fingerprint
from ..ir.encoder import Encoder
from ..ir.ensemble import LOGIT_LIMIT, MAX_STUDENTS, QuantEnsemble
from ..ir.policy import ActivationPolicy
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from .calibrate import check_samples

ROUNDED = 0.1  # share by which rounding may change a gain, before labels are other ones
GAIN_MOST = 2**16  # fine enough that rounding a gain leaves nothing to speak of
SHARPEST = 64.0  # a member's logits, of deviation 1, are not stretched further, however right it always is
CANDIDATES = 61


def shared_encoder(members: Sequence[QuantEnsemble]) -> Encoder:
    """The encoder of all; shapes may differ that hold the same bytes in the same order: (1, 12, 1) and (1, 1, 12).

    Raises `SneError` where ensembles cannot become one: what differs, and in which.
    """
    if len(members) < 2:
        raise SneError(f"{len(members)} model makes no ensemble", "give at least two")
    students = sum(len(member.students) for member in members)
    if students > MAX_STUDENTS:
        raise SneError(f"the models have {students} students, more than {MAX_STUDENTS}", "give fewer")
    first = members[0]
    for number, member in enumerate(members[1:], start=2):
        for field in first.encoder.__struct_fields__:
            if field == "shape" and _same_order(first.encoder, member.encoder):
                continue
            one, other = getattr(first.encoder, field), getattr(member.encoder, field)
            if one != other:
                raise SneError(
                    f"model {number}, {member.name}, has an input of {field} {other}, {first.name} of {one}",
                    "students of one ensemble share their input: quantise all with the same encoder, "
                    "scale, offset and timesteps (--encoder, --scale, --offset, --timesteps)",
                )
        if first.frontend != member.frontend:
            raise SneError(
                f"model {number}, {member.name}, has another front end than {first.name}",
                "give models of one front end",
            )
        if first.classes != member.classes:
            raise SneError(
                f"model {number}, {member.name}, has classes {', '.join(member.classes[:9])}, {first.name} "
                f"{', '.join(first.classes[:9])}",
                "give models of the same classes in the same order",
            )
    shapes = [member.encoder.shape for member in members]
    return msgspec.structs.replace(first.encoder, shape=max(shapes, key=lambda shape: shape[:2]))


def _same_order(one: Encoder, other: Encoder) -> bool:
    """Whether two encoders' shapes hold the same values in the same order, whether channels come first or last."""
    plain = all(encoder.shape[2] == 1 or encoder.shape[:2] == (1, 1) for encoder in (one, other))
    return one.shape == other.shape or (plain and one.size == other.size)


def join(
    members: Sequence[QuantEnsemble], name: str, logits: Sequence[np.ndarray], labels: np.ndarray
) -> QuantEnsemble:
    """All students of `members` as one ensemble, the policy `all`.

    logits  of each member with all its students, int64 [N, classes], on samples of known labels int [N]: they are
            stretched by the one factor at which the probabilities that they stand for are likeliest (temperature
            scaling), since counts of spikes and means of membranes have no common scale of their own.

    A logit is then the sum of the members' stretched ones. A member alone keeps its labels, but for the rounding of
    gains and biases. Raises `SneError` where the models do not go together.
    """
    encoder = shared_encoder(members)
    check_samples(members[0], logits[0], labels)
    factors = [sharpness(made * member.logit_scale, labels) for member, made in zip(members, logits, strict=True)]
    reach = np.zeros(len(members[0].classes))
    most = 0.0
    for member, factor in zip(members, factors, strict=True):
        worth = member.logit_scale * factor
        reach += worth * (np.abs(member.bias.astype(np.int64)) + sum(s.logit_range() for s in member.students))
        most = max([most, *(worth * float(s.gain.max()) for s in member.students)])
    scale = max(most / GAIN_MOST, float(reach.max()) / (LOGIT_LIMIT // 2))
    students: list[QuantStudent] = []
    bias = np.zeros(len(members[0].classes))
    for member, factor in zip(members, factors, strict=True):
        worth = member.logit_scale * factor / scale
        bias += member.bias * worth
        students += [_scaled(student, worth, member) for student in member.students]
    first = members[0]
    try:
        return QuantEnsemble(
            name=name,
            encoder=encoder,
            students=tuple(students),
            bias=integers("the ensemble's bias", bias),
            order=tuple(range(len(students))),
            classes=first.classes,
            logit_scale=scale,
            policy=ActivationPolicy("all"),
            vectors=no_vectors(encoder, len(first.classes), students),
            provenance=_provenance(members, factors),
            frontend=first.frontend,
        )
    except ValueError as error:
        raise SneError(f"{name} cannot be deployed: {error}", "give fewer or smaller models") from None


def sharpness(logits: np.ndarray, labels: np.ndarray) -> float:
    """The factor of logits, float64 [N, classes], at which the labels int [N] are likeliest by softmax: the inverse of
    a calibrated temperature (Guo et al., ICML 2017)."""
    spread = float((logits - logits.mean(axis=1, keepdims=True)).std())
    if spread == 0:
        return 1.0
    tried = np.geomspace(1 / SHARPEST, SHARPEST, CANDIDATES) / spread
    rows = np.arange(len(labels))
    losses = []
    for factor in tried:
        z = factor * (logits - logits.max(axis=1, keepdims=True))
        losses.append(float((np.log(np.exp(z).sum(axis=1)) - z[rows, labels]).mean()))
    return float(tried[int(np.argmin(losses))])


def _scaled(student: QuantStudent, worth: float, member: QuantEnsemble) -> QuantStudent:
    """A student whose logits are `worth` times what they were. Raises `SneError` where whole gains are too coarse."""
    exact = student.gain * worth
    gain = np.maximum(1, np.rint(exact)).astype(np.int32)
    apart = float(np.abs(gain / exact - 1).max())
    if apart > ROUNDED:
        raise SneError(
            f"{member.name}'s outputs would be rounded by up to {apart:.0%}: next to the other models' they are worth "
            f"{float(exact.min()):.2g} units of the common logits",
            "sums without end take the range: give each model a memory first (`calibrate --window`, or --decode-leak), "
            "or decode all models alike, by counts say",
        )
    return msgspec.structs.replace(
        student, gain=gain, bias=integers("a student's bias", student.bias * worth), features=()
    )


def integers(what: str, values: np.ndarray) -> np.ndarray:
    """Values rounded to int32; `ValueError` where they do not fit."""
    rounded: np.ndarray = np.rint(values)
    if np.abs(rounded).max() >= LOGIT_LIMIT:
        raise ValueError(f"{what} reaches {np.abs(rounded).max():.3g} units of the logits, more than {LOGIT_LIMIT}")
    return rounded.astype(np.int32)


def _provenance(members: Sequence[QuantEnsemble], factors: Sequence[float]) -> dict[str, Any]:
    """Where it comes from; the members' data where all name the same."""
    record: dict[str, Any] = {
        "source": "ensemble",
        "members": [
            {
                "name": member.name,
                "fingerprint": fingerprint(member),
                "factor": factor,
                "students": len(member.students),
            }
            for member, factor in zip(members, factors, strict=True)
        ],
    }
    known = [origin(member.provenance) for member in members]
    if known[0] is not None and all(other == known[0] for other in known):
        record["dataset"] = members[0].provenance["dataset"] | {"seed": known[0].seed}
    return record
