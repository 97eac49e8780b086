"""Activation policies: which students wake for an input, as a type and in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
import numpy as np

from ..errors import SneError, shortened
from .checks import check
from .neuron import INT32

if TYPE_CHECKING:
    from .ensemble import QuantEnsemble

Index = TypeVar("Index", int, np.ndarray)
NEVER = INT32[1]  # a margin that no logits reach
PolicyKind = Literal["all", "first", "mask", "cascade", "budget", "routed"]


class ActivationPolicy(msgspec.Struct, frozen=True):
    """Which students wake for an input. Students run in the ensemble's order, but for `routed`.

    all      every student
    first    the first `students` of the order
    mask     the students whose bit is set in `mask`
    cascade  stop after stage k (k + 1 students run) where top-1 minus top-2 logit >= margins[k]
    budget   start a student only while the operations so far plus its highest measured ones stay within
             `max_ops`; the first always runs
    routed   a cascade that chooses who comes next: the order's first student, then, while top-1 minus top-2 logit
             < margins[k] with k + 1 students run, the first of the ensemble's route for these two classes that has
             not run
    timesteps  run fewer timesteps than the encoder's; 0: all
    early      of a cascade, by stage and timesteps, flat [students * (the encoder's timesteps - 1)], or none: the
               student of stage k ends, and with it the cascade, after t timesteps where top-1 minus top-2 logit
               >= early[k * (timesteps - 1) + t - 1]. A direct input's first layer has run all of its timesteps by then
    """

    kind: PolicyKind = "all"
    students: int = 0
    mask: int = 0
    margins: tuple[int, ...] = ()
    max_ops: int = 0
    timesteps: int = 0
    early: tuple[int, ...] = ()


def pair_row(low: Index, high: Index) -> Index:
    """The row of `QuantEnsemble.routes` for two classes, low < high: (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    row: Index = high * (high - 1) // 2 + low
    return row


def check_policy(policy: ActivationPolicy, students: int, timesteps: int, routes: bool) -> None:
    """Raise `ValueError` where a policy does not fit an ensemble, which has `routes` or not; C refuses the same ones
    (SNE_E_POLICY)."""
    kind = policy.kind  # fields that it does not name are checked too: they reach the generated C
    margin = kind in ("cascade", "routed")
    check(routes or kind != "routed", "policy routed: the ensemble has no routes; `sne-edge calibrate` makes them")
    check(
        (kind == "first") <= policy.students <= students,
        f"policy {kind}: {policy.students} students are not in 1..{students}",
    )
    check(
        (kind == "mask") <= policy.mask < 2**students,
        f"policy {kind}: mask {policy.mask:#x} must name at least one of {students} students and no other",
    )
    check(
        len(policy.margins) == students - 1 or (not margin and not policy.margins),
        f"policy {kind}: {len(policy.margins)} margins for {students} students; one fewer than students is needed",
    )
    check(all(0 <= m <= INT32[1] for m in policy.margins), f"policy {kind}: margins must be in 0..2^31-1")
    check(
        (kind == "budget") <= policy.max_ops < 2**32,
        f"policy {kind}: {policy.max_ops} operations are not in 1..2^32-1",
    )
    check(0 <= policy.timesteps <= timesteps, f"{policy.timesteps} timesteps are not in 0..{timesteps}")
    check(margin or not policy.early, f"policy {kind}: only cascades end students early")
    check(
        len(policy.early) in (0, students * (timesteps - 1)),
        f"policy {kind}: {len(policy.early)} early margins for {students} students of {timesteps} timesteps",
    )
    check(all(0 <= m <= INT32[1] for m in policy.early), f"policy {kind}: early margins must be in 0..2^31-1")


def parse_policy(text: str, ensemble: QuantEnsemble) -> ActivationPolicy:
    """A policy from the command line's words.

    `own`, `all`, `first:2`, `mask:0x5`, `cascade` (calibrated margins), `cascade:900,400,100`, `budget:20000`;
    `routed` as `cascade`; both may end in `+early`: with the model's own early stops.
    Raises `SneError` where the words make no policy or it does not fit the ensemble.
    """
    words, plus, early = text.partition("+")
    kind, _, rest = words.partition(":")
    try:
        if plus and (early != "early" or kind not in ("cascade", "routed")):
            raise ValueError(f"there is no policy {shortened(text)!r}")
        if plus and not ensemble.policy.early:
            raise ValueError("the model has no early stops; `sne-edge calibrate --early exact` makes them")
        if kind == "own" and not rest:
            return ensemble.policy
        if kind in ("cascade", "routed"):
            margins = tuple(_number(m) for m in rest.split(",")) if rest else ensemble.policy.margins
            table = ensemble.policy.early if plus else ()
            policy = ActivationPolicy(kind, margins=margins, early=table)  # type: ignore[arg-type]
        elif kind == "all" and not rest:
            policy = ActivationPolicy("all")
        elif kind in ("first", "mask", "budget"):
            field = {"first": "students", "mask": "mask", "budget": "max_ops"}[kind]
            policy = ActivationPolicy(kind, **{field: _number(rest)})  # type: ignore[arg-type]
        else:
            raise ValueError(f"there is no policy {shortened(text)!r}")
        check_policy(policy, len(ensemble.students), ensemble.encoder.timesteps, ensemble.routes is not None)
    except ValueError as error:
        raise SneError(
            shortened(error, 300),
            "a policy is one of: own, all, first:N, mask:M, cascade, cascade:M1,M2,..., routed[:M1,...], budget:OPS; "
            "a cascade may end in +early",
        ) from None
    return policy


def _number(text: str) -> int:
    try:
        return int(text, 0)
    except ValueError:
        raise ValueError(f"{shortened(text)!r} is no whole number") from None


def format_policy(policy: ActivationPolicy) -> str:
    """The words that `parse_policy` understands."""
    rest = {
        "all": "",
        "first": str(policy.students),
        "mask": hex(policy.mask),
        "cascade": ",".join(map(str, policy.margins)),
        "routed": ",".join(map(str, policy.margins)),
        "budget": str(policy.max_ops),
    }[policy.kind]
    return (f"{policy.kind}:{rest}" if rest else policy.kind) + ("+early" if policy.early else "")


def policy_key(policy: ActivationPolicy) -> str:
    """All that decides what a policy does, to know it by: its words leave out timesteps and the margins of early
    stops."""
    return msgspec.json.encode(policy).decode()


def check_fits(policy: ActivationPolicy, ensemble: QuantEnsemble) -> None:
    """Raise `SneError` where the policy does not fit the ensemble."""
    try:
        check_policy(policy, len(ensemble.students), ensemble.encoder.timesteps, ensemble.routes is not None)
    except ValueError as error:
        raise SneError(str(error), "`sne-edge inspect` shows the model's students, timesteps and own policy") from None
    if policy.early and not ensemble.policy.early:
        raise SneError(
            "the model has no room for early stops",
            "only a model whose own policy has them does; `sne-edge calibrate --early exact` makes one",
        )
