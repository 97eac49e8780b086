"""Layers as torch calls them, functions of tensors and weights, and what each makes of weighted sums (`terms`).

In: a function's name and arguments, and what its first argument is. Out: what it makes, or a `ValueError` in words.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..ir.checks import check
from ..ir.layers import Pair
from ..learn.graph import INPUT
from . import terms
from .terms import Sum

SHAPED = {"flatten", "unflatten", "view", "reshape", "squeeze", "unsqueeze", "ravel"}


@dataclass(frozen=True, eq=False)
class Joined:
    """Maps whose channels were concatenated."""

    parts: tuple[Sum, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(p.shape[0] for p in self.parts), *self.parts[0].shape[1:])


@dataclass(frozen=True, eq=False)
class Groups:
    """Values in rows, [rows, columns], which are good for a sum or a mean over either: votes of a population, say."""

    value: Sum
    shape: tuple[int, int]

    def reduced(self, axis: int, mean: bool) -> Sum:
        """Their sum, or mean, over an axis: 1, the rows, or 2, the columns."""
        rows, columns = self.shape
        one = np.ones((1, self.shape[axis - 1])) / (self.shape[axis - 1] if mean else 1)
        return terms.linear(self.value, np.kron(np.eye(rows), one) if axis == 2 else np.kron(one, np.eye(columns)))


def numpy_of(value: Any, missing: Any = None) -> Any:
    """A tensor or number in float64; `missing` for None."""
    return missing if value is None else torch.as_tensor(value).detach().double().cpu().numpy()


def layer(name: str, given: Sum | Joined | Groups, args: Sequence[Any], kwargs: dict[str, Any], made: Tensor) -> Any:
    """What a function of torch makes of values, `Sum`, `Joined` or `Groups`: a layer, a pooling, another shape.

    name    the function's
    given   what its first argument is
    args, kwargs  as it was called
    made    the tensor that it returned, for its shape
    Raises `ValueError` on a function, or a setting of it, that cannot be deployed.
    """

    def argument(place: int, key: str, default: Any = None) -> Any:
        return args[place] if len(args) > place else kwargs.get(key, default)

    if isinstance(given, Joined):
        return _of_joined(name, given, args, kwargs, made)
    if isinstance(given, Groups):
        axis = argument(1, "dim", argument(1, "axis"))
        axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
        if name in ("sum", "mean") and isinstance(axis, int) and axis % 3:
            check(made.dim() == 2, "with keepdim: return [samples, classes]")
            return given.reduced(axis % 3, name == "mean")
        check(name in SHAPED, "no such function can be deployed")
        return _reshaped(given.value, tuple(made.shape[1:]))
    if name == "linear":
        return terms.linear(given, numpy_of(argument(1, "weight")), numpy_of(argument(2, "bias"), 0.0))
    if name in ("conv1d", "conv2d"):
        flat = name == "conv1d"
        weight = numpy_of(argument(1, "weight"))
        stride, dilation = (_pair(argument(p, k, 1), 1 if flat else None) for p, k in ((3, "stride"), (5, "dilation")))
        shaped = weight[:, :, None] if flat else weight
        padding = _padding(argument(4, "padding", 0), flat, (shaped.shape[2], shaped.shape[3]), dilation)
        groups, bias = int(argument(6, "groups", 1)), numpy_of(argument(2, "bias"), 0.0)
        return terms.convolution(given, shaped, bias, stride, padding, dilation, groups)
    if name in ("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d"):
        fill = 1 if name.endswith("1d") else None
        kernel = _pair(argument(1, "kernel_size"), fill)
        stride = argument(2, "stride")
        padding = _pair(argument(3, "padding", 0), None if fill is None else 0)
        step = kernel if stride is None or stride == [] else _pair(stride, fill)
        if name.startswith("max"):
            check(_pair(argument(4, "dilation", 1), fill) == (1, 1), "with dilation")
            check(not argument(5, "ceil_mode", False), "with ceil_mode")
            return terms.pool(given, "maximum", kernel, step, padding)
        check(not argument(4, "ceil_mode", False), "with ceil_mode")
        check(argument(5, "count_include_pad", True) or padding == (0, 0), "without counting its padding")
        check(argument(6, "divisor_override") is None, "with a divisor of its own")
        return terms.pool(given, "average", kernel, step, padding)
    if name in ("adaptive_avg_pool1d", "adaptive_avg_pool2d"):
        places, out = (1, *given.shape[1:])[-2:], (1, *made.shape[2:])[-2:]
        check(all(a % b == 0 for a, b in zip(places, out, strict=True)), f"from {places} to {out}, no whole windows")
        kernel = (places[0] // out[0], places[1] // out[1])
        return terms.pool(given, "average", kernel, kernel, (0, 0))
    if name == "batch_norm":
        mean, variance, weight, bias, training, _, eps = (argument(i, k) for i, k in enumerate(
            ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), start=1
        ))  # fmt: skip
        check(mean is not None and not training, "without statistics of its own")
        gain = 1 / np.sqrt(numpy_of(variance) + float(eps)) * (1.0 if weight is None else numpy_of(weight))
        return terms.scale(given, gain, numpy_of(bias, 0.0) - numpy_of(mean) * gain)
    if name in ("matmul", "__matmul__", "mm"):
        weight = numpy_of(args[1])
        check(weight.ndim == 2, f"by a constant of {weight.ndim} axes")
        return terms.linear(given, weight.T)
    if name in ("mean", "amax"):
        axes = argument(1, "dim", argument(1, "axis"))
        axes = sorted(a % args[0].dim() for a in (axes if isinstance(axes, list | tuple) else [axes]) if a is not None)
        height, width = (1, 1, *given.shape[1:])[-2:]
        check(len(given.shape) > 1 and axes == [*range(2, args[0].dim())], "over other axes than those of a map")
        pooled = terms.pool(given, "average" if name == "mean" else "maximum", (height, width), (height, width), (0, 0))
        return pooled if made.dim() > 2 else _reshaped(pooled, tuple(made.shape[1:]))
    if name in SHAPED or (name == "__getitem__" and _only_adds_axes(args[1])):
        return _reshaped(given, tuple(made.shape[1:]))
    raise ValueError("no such function can be deployed")


def _of_joined(name: str, given: Joined, args: Sequence[Any], kwargs: dict[str, Any], made: Tensor) -> Any:
    """A layer on concatenated channels is a sum of layers on each, with its part of the weights."""
    if name in ("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d", *SHAPED):
        parts = (layer(name, p, args, kwargs, made) if p.terms else _zeros(p, made) for p in given.parts)
        return Joined(tuple(parts))
    if name in ("matmul", "__matmul__", "mm"):
        name, args = "linear", [args[0], args[1].T]
    check(name in ("linear", "conv1d", "conv2d"), "of concatenated channels")
    check(name == "linear" or int(args[6] if len(args) > 6 else kwargs.get("groups", 1)) == 1, "with groups")
    named = dict(zip(("weight", "bias"), args[1:3], strict=False)) | kwargs
    rest = {key: value for key, value in kwargs.items() if key not in ("weight", "bias")}
    weight, bias = named["weight"], named.get("bias")
    found: list[Any] = []
    start = 0
    for part in given.parts:
        end = start + part.shape[0]
        if part.terms:
            own = [args[0], weight[:, start:end], None if found else bias, *args[3:]]
            found.append(layer(name, part, own, rest, made))
        start = end
    return terms.total(found)


def _only_adds_axes(index: Any) -> bool:
    """Whether an index takes everything, and makes axes of one place."""
    every = index if isinstance(index, tuple) else (index,)
    return all(part is None or part is Ellipsis or (isinstance(part, slice) and part == slice(None)) for part in every)


def _zeros(part: Sum, made: Tensor) -> Sum:
    """A part of concatenated channels that is nothing yet, behind what made this of all parts: flat, or maps."""
    shape = tuple(made.shape[1:])
    return replace(part, alone=(int(np.prod(part.shape)),) if len(shape) == 1 else (part.shape[0], *shape[1:]))


def _reshaped(given: Sum, shape: tuple[int, ...]) -> Sum | Groups:
    """The same values in another shape: flat, in rows, or the input in any."""
    if shape == given.shape:
        return given
    raw = len(given.terms) == 1 and given.terms[0].source == INPUT and given.terms[0].op is None
    if raw and not given.terms[0].pools and not (len(shape) == 1 and len(given.shape) > 1):
        only = given.terms[0]
        check(len(only.shape) == len(only.map), "a flattened input is shaped again")
        return _input_shaped(given, shape)
    if len(shape) == 2 and shape[0] * shape[1] == np.prod(given.shape):
        return Groups(terms.flat(given), (shape[0], shape[1]))
    check(len(shape) == 1, f"from {list(given.shape)} to {list(shape)}")
    return terms.flat(given)


def _input_shaped(given: Sum, shape: tuple[int, ...]) -> Sum:
    """The input, scaled and shifted perhaps, in another shape."""
    only, bias = given.terms[0], np.asarray(given.bias)
    offset = only.offset
    if shape[0] != given.shape[0]:
        check(
            bool((bias == bias.flat[0]).all()) and len(set(offset)) < 2, "of an input whose channels are shifted apart"
        )
        bias, offset = np.asarray(bias.flat[0]), offset[:1] * shape[0]
    return Sum((replace(only, shape=shape, map=shape, origin=shape, offset=offset),), bias)


def _pair(value: Any, fill: int | None = None) -> Pair:
    numbers = [int(v) for v in (value if isinstance(value, list | tuple) else [value])]
    return (numbers[0] if fill is None else fill), numbers[-1]


def _padding(value: Any, flat: bool, kernel: Pair, dilation: Pair) -> Pair:
    if not isinstance(value, str):
        return _pair(value, 0 if flat else None)
    if value == "valid":
        return 0, 0
    spans = [(kernel[axis] - 1) * dilation[axis] for axis in (0, 1)]
    check(not any(span % 2 for span in spans), "its padding 'same' adds more on one side: use an odd kernel")
    return spans[0] // 2, spans[1] // 2
