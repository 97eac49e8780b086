"""Values of all timesteps, and where time is in the tensors that hold them.

The input before a timestep is taken, records of what neurons made, and both with the samples along one axis; what
torch's functions of shape and order make of them. In words: a `ValueError` on what is no timestep's own.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np
import torch
from torch import Tensor

from ..ir.checks import check
from . import terms
from .functional import layer
from .states import State
from .terms import Sum

TURNED = {"permute", "transpose", "swapaxes", "swapdims", "movedim", "moveaxis"}
PARTS = {"narrow", "index_select", "split", "chunk", "tensor_split", "split_with_sizes"}  # and slices
SPREAD = {"expand", "expand_as", "repeat", "tile", "broadcast_to"}


@dataclass(frozen=True, eq=False)
class Raster:
    """The input of all timesteps, before one is taken."""

    axis: int


@dataclass(frozen=True, eq=False)
class Record:
    """Values of timesteps in order, along an axis; `reduced`: their `sum`, `mean` or `highest` over it."""

    values: tuple[Any, ...]
    axis: int
    reduced: str = ""


@dataclass(frozen=True, eq=False)
class Folded:
    """Values of timesteps along one axis, the first, with samples: time is before (`axis` 0) or behind them (1)."""

    values: tuple[Any, ...]
    axis: int

    def at(self, tensor: Tensor, time: int) -> Tensor:
        """A timestep's part of a tensor whose first axis is so."""
        return self.apart(tensor).select(self.axis, time)

    def apart(self, tensor: Tensor) -> Tensor:
        """A tensor whose first axis is so, with two instead."""
        steps = len(self.values)
        return tensor.reshape(*((steps, -1) if self.axis == 0 else (-1, steps)), *tensor.shape[1:])


def is_slice(name: str, args: Sequence[Any]) -> bool:
    """Whether a function takes some timesteps, or some of something else."""
    index = args[1] if len(args) > 1 else None
    every = index if isinstance(index, tuple) else (index,)
    return name in PARTS or (
        name == "__getitem__" and any(isinstance(part, slice) and part != slice(None) for part in every)
    )


def unreduced(value: Any) -> TypeGuard[Record]:
    """Whether it is a record of timesteps as they came."""
    return isinstance(value, Record) and not value.reduced and value.axis >= 0


def folds(given: Tensor, axis: int, made: Tensor) -> bool:
    """Whether another shape has the axes of time and samples as one, and of what follows all."""
    return axis < 2 < given.dim() and made.dim() > 1 and made.shape[0] == given.shape[0] * given.shape[1]


def without_time(record: Record, given: Tensor, made: Tensor) -> bool:
    """Whether another shape of a record of one timestep is that timestep's own."""
    samples = given.shape[1 if record.axis == 0 else 0]
    keeps = made.shape[: record.axis + 1] == given.shape[: record.axis + 1] and made.dim() > record.axis + 1
    return len(record.values) == 1 and made.dim() > 1 and made.shape[0] == samples and not keeps


def parts_of(name: str, given: Tensor, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> list[list[int]]:
    """Axis, and then the places along it, of each tensor that `PARTS` make; what takes one place has none but it."""
    if name == "__getitem__":
        axis, taken = _taken(args[1], given)
        check(isinstance(taken, slice), "index one timestep by its number, or a slice, and nothing else")
        return [[axis, *range(given.shape[axis])[taken]]]

    def argument(place: int, key: str, default: Any = 0) -> Any:
        return args[place] if len(args) > place else kwargs.get(key, default)

    if name in ("narrow", "index_select"):
        axis = argument(1, "dim") % given.dim()
        if name == "index_select":
            return [[axis, *map(int, argument(2, "index"))]]
        start = int(argument(2, "start")) % given.shape[axis]
        return [[axis, *range(start, start + int(argument(3, "length")))]]
    axis, found, start = argument(2, "dim") % given.dim(), [], 0
    for part in made:
        found.append([axis, *range(start, start + part.shape[axis])])
        start += part.shape[axis]
    return found


def adds_first_axis(name: str, args: Sequence[Any]) -> bool:
    """Whether a function puts an axis before that of the samples, which can only be time."""
    index = args[1][0] if len(args) > 1 and isinstance(args[1], tuple) else args[1] if len(args) > 1 else 0
    if name == "unsqueeze":
        return isinstance(index, int) and index in (0, -1 - args[0].dim())
    return name == "__getitem__" and index is None


def spread(value: Sum | Record, given: tuple[int, ...], made: tuple[int, ...]) -> Record:
    """What is the same in all timesteps, which a tensor of shape `given` becomes along a new axis, or one of one
    place."""
    if isinstance(value, Record):
        axis = value.axis
        check(axis >= 0 and not value.reduced and len(value.values) == 1, "of what has timesteps already")
    elif len(made) == len(given) + 1:
        axis, given = 0, (1, *given)
    else:
        axis = next((n for n, (a, b) in enumerate(zip(given, made, strict=False)) if a == 1 != b), 0)
        check(axis > 0, "of what is no time")
    check(made == (*given[:axis], made[axis], *given[axis + 1 :]), "along more axes than that of time")
    if isinstance(value, Sum) and axis:
        value = layer("reshape", value, [], {}, torch.empty(made[:axis] + made[axis + 1 :], device="meta"))
    return Record((value.values[0] if isinstance(value, Record) else value,) * made[axis], axis)


def turned(name: str, axis: int, args: Sequence[Any]) -> int:
    """Where the axis of time is in what `permute` and its like make; no other axes may change places."""
    order = _order(name, args[0].dim(), args[1:])
    check([a for a in order if a != axis] == sorted(set(order) - {axis}), "of more than time")
    return order.index(axis)


def _order(name: str, axes: int, asked: Sequence[Any]) -> list[int]:
    """Which axis of a tensor each axis of what `permute` and its like make was."""
    given = [a for part in asked for a in (part if isinstance(part, list | tuple) else [part])]
    if name == "permute":
        return [a % axes for a in given]
    check(len(given) == 2, "of several axes")
    one, other = (a % axes for a in given)
    order = list(range(axes))
    if name.startswith("move"):
        order.insert(other, order.pop(one))
    else:
        order[one], order[other] = other, one
    return order


def reduced(record: Record, how: str) -> Any:
    """What a sum, a mean or the highest over time is: of spikes or currents, everything that arrived; of states, their
    record."""
    highest = how.endswith("max")
    if highest or not all(isinstance(value, Sum) for value in record.values):
        check(all(isinstance(value, State) for value in record.values), "the highest of what is no membrane")
        return replace(record, reduced="highest" if highest else how)
    found = terms.total(record.values)
    return found if how == "sum" else terms.scale(found, np.full(1, 1 / len(record.values)))


def accumulated(values: Sequence[Any]) -> Any:
    """States of timesteps, added one after another."""
    parts: list[Any] = []
    for value in values:
        check(
            isinstance(value, State) or (isinstance(value, Record) and value.axis < 0 and value.reduced == "sum"),
            "of membranes and something else: add those of all timesteps",
        )
        parts += [value] if isinstance(value, State) else value.values
    return parts[0] if len(parts) == 1 else Record(tuple(parts), -1, "sum")


def taken_at(index: Any, tensor: Tensor) -> tuple[int, int]:
    """Axis and place of an index that takes one timestep of a tensor: 3, or :, 3, or ..., 3, or 3, :."""
    axis, taken = _taken(index, tensor)
    why = "index one timestep by its number, and nothing else"
    check(not isinstance(taken, bool), why)
    try:
        return axis, operator.index(taken)
    except TypeError:
        raise ValueError(why) from None


def _taken(index: Any, tensor: Tensor) -> tuple[int, Any]:
    """The one axis of which an index does not take all, and what it takes of it."""
    every = list(index) if isinstance(index, tuple) else [index]
    for n, part in enumerate(every):
        if part is Ellipsis:
            every[n : n + 1] = [slice(None)] * (tensor.dim() - len(every) + 1)
            break
    taken = [n for n, part in enumerate(every) if not isinstance(part, slice) or part != slice(None)]
    check(len(taken) == 1, "index one timestep by its number, and nothing else")
    return taken[0], every[taken[0]]
