"""What every tensor is while a network runs: the functions of torch that are known, and what each makes.

A tensor that depends on the sample is the input, a population's spikes or state in a timestep, values of timesteps in
order, or a sum of weighted sources (`terms`). Functions that are not known make a tensor unknown, which is refused
where it matters, by the function's name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import SneError
from ..ir.checks import check
from ..learn.graph import INPUT
from . import terms
from .advice import advice
from .functional import SHAPED, Groups, Joined, layer, numpy_of
from .states import Settings, State, check_states, hidden
from .terms import Sum
from .timesteps import (
    SPREAD,
    TURNED,
    Folded,
    Raster,
    Record,
    accumulated,
    adds_first_axis,
    folds,
    is_slice,
    parts_of,
    reduced,
    spread,
    taken_at,
    turned,
    unreduced,
    without_time,
)

SAME = {  # functions that leave values as they are
    "clone", "contiguous", "detach", "float", "to", "type", "type_as", "requires_grad_", "alias", "cpu", "__copy__",
    "__deepcopy__", "detach_", "data",
}  # fmt: skip
DROPOUTS = {"dropout", "dropout1d", "dropout2d", "feature_dropout"}
LOOKS = {
    "size", "dim", "__len__", "numel", "is_floating_point", "stride", "get_device", "__bool__", "retain_grad",
    "register_hook", "zeros_like", "ones_like", "full_like", "empty_like", "new_zeros", "new_ones", "new_full",
    "new_empty",
}  # fmt: skip
# functions after which the highest output is still the highest
ORDERED = {"softmax": "by class", "log_softmax": "by class", "sigmoid": "each", "logsigmoid": "each", "tanh": "each"}
ADDED = {  # by what the second of two tensors is multiplied, and the first
    "add": (1, 1), "__add__": (1, 1), "__radd__": (1, 1), "add_": (1, 1), "__iadd__": (1, 1), "sub": (1, -1),
    "__sub__": (1, -1), "sub_": (1, -1), "__isub__": (1, -1), "subtract": (1, -1), "rsub": (-1, 1),
    "__rsub__": (-1, 1),
}  # fmt: skip
MULTIPLIED = {"mul", "__mul__", "__rmul__", "mul_", "__imul__", "multiply"}
DIVIDED = {"div", "__truediv__", "div_", "__itruediv__", "__idiv__", "true_divide", "divide"}
NEGATED = {"neg", "__neg__", "negative"}
IN_PLACE = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__ipow__", "__ifloordiv__", "__setitem__"}
SHARING = {"data", "numpy", "__array__", "__dlpack__", "data_ptr", "untyped_storage", "storage"}
ARITHMETIC = {*ADDED, *MULTIPLIED, *DIVIDED, *NEGATED}


@dataclass(frozen=True, eq=False)
class Softened:
    """What `ORDERED` functions made: good for a label, and for nothing else."""

    value: Any
    function: str

    @property
    def why(self) -> str:
        """It cannot be deployed where the network goes on."""
        return f"{self.function}: in the middle of a network"

    @property
    def of_each(self) -> str:
        """It cannot be deployed timestep by timestep."""
        return f"{self.function}: of each timestep, which are then averaged: leave it out, and averages are of logits"


@dataclass(frozen=True, eq=False)
class Unknown:
    """What a function made that cannot be deployed; `neurons`: of what they said, and not of the input alone."""

    why: str
    neurons: bool = False


def name_of(function: Any) -> str:
    """What a function of torch is called; of an attribute that is read, the attribute."""
    name = getattr(function, "__name__", str(function))
    attribute = getattr(getattr(function, "__self__", None), "__name__", name)
    return str(attribute if name == "__get__" else f"{attribute} =" if name == "__set__" else name)


def input_of(x: Tensor, time: int | None = None) -> Sum:
    return terms.source(INPUT, tuple(x.shape[1:]), time)


def tensors(value: Any, steps: int = 0) -> list[Tensor]:
    """Tensors of an output, in order; a list of `steps` of them, one a timestep, is one of all."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, list) and len(value) == steps > 1:
        shapes = {item.shape if isinstance(item, Tensor) else None for item in value}
        if len(shapes) == 1 and None not in shapes:
            return [torch.stack(value)]
    if isinstance(value, dict):
        value = [*value.values()]
    return [t for item in value for t in tensors(item, steps)] if isinstance(value, list | tuple) else []


class Follower(TorchFunctionMode):
    """Knows what every tensor is while a network runs."""

    def __init__(self, neurons: dict[nn.Module, str]) -> None:
        super().__init__()
        self.neurons = neurons
        self.shared: list[tuple[Tensor, Tensor]] = []  # whose memory was given away, and what was in it
        self.known: dict[int, tuple[Any, int]] = {}  # what it is, and how often it had been changed in place by then
        self.given: dict[int, Any] = {}  # what a function's arguments were before it, where it changes them
        self.kept: list[Tensor] = []  # so that no id comes back
        self.inside = 0
        self.calls: dict[str, list[Sum]] = {name: [] for name in neurons.values()}
        self.settings = {module: Settings(name, module) for module, name in neurons.items()}
        self.branches = False  # whether a forward decides by what its neurons say
        self.handles: list[Any] = []

    def __enter__(self) -> Follower:
        for module in self.neurons:
            self.handles.append(module.register_forward_pre_hook(self._enter, with_kwargs=True))
            self.handles.append(module.register_forward_hook(self._leave, with_kwargs=True))
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for handle in self.handles:
            handle.remove()

    def know(self, tensor: Tensor, value: Any) -> None:
        """Say what a tensor is."""
        self.kept.append(tensor)
        self.known[id(tensor)] = value, tensor._version

    def value(self, tensor: Any) -> Any:
        """What a tensor is; None where it does not depend on the sample. What was changed in place since then, by a
        view of it perhaps, is unknown."""
        if not isinstance(tensor, Tensor) or id(tensor) not in self.known:
            return None
        if id(tensor) in self.given:
            return self.given[id(tensor)]
        value, version = self.known[id(tensor)]
        return value if tensor._version == version else Unknown("it is changed in place: make a new tensor of it")

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = name_of(func)
        before = {} if self.inside else {id(t): self.value(t) for t in tensors([*args, *kwargs.values()])}
        ours = any(value is not None for value in before.values())
        own = ours and _in_place(name) and self.value(args[0]) is None
        given = (args[0].clone(), *args[1:]) if own and name != "__setitem__" else args  # before it is changed in place
        if ours and name in SHARING and isinstance(args[0], Tensor):
            self.shared.append((args[0], args[0].detach().clone()))
        made = func(*args, **kwargs)
        self.branches |= name == "__bool__" and any(_of_neurons(value) for value in before.values())
        if self.inside or name in LOOKS or not ours:
            return made
        if not tensors(made) and (made is not None or getattr(func, "__name__", "") == "__get__"):
            return made  # a question about it, whose answer is no tensor of its own
        self.given = before
        try:
            self._follow(name, *_bound(given, kwargs), made)
        except SneError:
            raise
        except Exception as error:  # an argument of another kind than is known
            why = str(error) if isinstance(error, ValueError) else "its arguments are not understood"
            # what returns nothing, an assignment, changed its own
            self._unknown(args[0] if made is None else made, f"{name}: {why}")
        finally:
            self.given = {}
        return made

    def check_shared(self) -> None:
        """Raise `SneError` where memory that was given away, as `.data` or to numpy, was written to: torch says nothing
        of that."""
        for tensor, before in self.shared:
            if not torch.equal(torch.nan_to_num(tensor.detach()), torch.nan_to_num(before)):
                raise SneError(
                    "the forward writes into a tensor's .data, or into an array of numpy's that shares its memory",
                    "make a new tensor of it, so that what it does is seen",
                )

    def _unknown(self, made: Any, why: str) -> None:
        neurons = any(map(_of_neurons, self.given.values()))
        for tensor in tensors(made):
            self.know(tensor, Unknown(why, neurons))

    def _follow(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """Say what a function made."""
        first = self.value(args[0]) if args else None
        check("out" not in kwargs, "into a tensor that is there (out=)")
        if name.endswith(" ="):
            check(name != "data =", "it is given another tensor's values")
            return None  # requires_grad, grad
        if isinstance(first, Unknown):
            return self._unknown(made, first.why)
        if name in SAME and first is None:
            return None  # a constant, made like something else
        if name in DROPOUTS and first is not None:
            rate, training = (
                kwargs.get(key, args[place] if len(args) > place else default)
                for place, key, default in ((1, "p", 0.5), (2, "training", True))
            )
            check(not training or rate == 0, "it is active after training, too: give it training=self.training")
            return self.know(made, first)
        if name in SAME:
            check(made.is_floating_point() and made.itemsize > 1, "to whole numbers, or to true and false")
            return self.know(made, first)
        timed = [value for value in map(self.value, args[:2]) if isinstance(value, Raster) or unreduced(value)]
        if timed and (name in ARITHMETIC or name in ("linear", "matmul", "__matmul__")):
            return self._of_each(name, timed[0].axis, args, kwargs, made)
        if any(isinstance(value, Folded) for value in map(self.value, args[:2])):
            return self._of_folded(name, args, kwargs, made)
        if name in SHAPED and unreduced(first) and without_time(first, args[0], made):
            return self.know(made, _reshaped(first.values[0], made))
        if isinstance(first, Raster) or unreduced(first):
            if name in SHAPED and folds(args[0], first.axis, made):
                return self._fold(first, args[0], made)
            if is_slice(name, args):
                return self._part(name, first, args, kwargs, made)
        if isinstance(first, Raster):
            return self._of_raster(name, first, args, kwargs, made)
        if isinstance(first, Sum | State) and adds_first_axis(name, args):
            return self.know(made, Record((first,), 0))
        if name in SPREAD and isinstance(first, Sum | Record):
            return self.know(made, spread(first, tuple(args[0].shape), tuple(made.shape)))
        if name in SHAPED and unreduced(first):
            return self._shape_each(first, args[0], made)
        if name in ("__getitem__", "select") and unreduced(first):
            axis, place = (args[1] % args[0].dim(), args[2]) if name == "select" else taken_at(args[1], args[0])
            check(axis == first.axis, f"along axis {axis} of values by timestep")
            return self.know(made, first.values[place % args[0].shape[axis]])
        if name in ("unbind", "__iter__") and unreduced(first):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else 0) % args[0].dim()
            check(isinstance(made, tuple | list) and axis == first.axis, "not along time: index timesteps instead")
            for tensor, value in zip(made, first.values, strict=True):
                self.know(tensor, value)
            return None
        if name in TURNED and unreduced(first):
            return self.know(made, replace(first, axis=turned(name, first.axis, args)))
        if name == "__setitem__" and (first is None or isinstance(first, Record)):
            return self._put(first, args)
        if name in ("stack", "cat", "concat"):
            return self._collect(name, args, kwargs, made)
        if name in ("sum", "mean", "amax", "max") and isinstance(first, Record) and not first.reduced:
            axis = kwargs.get("dim", kwargs.get("axis", args[1] if len(args) > 1 else None))
            axis = axis[0] if isinstance(axis, list | tuple) and len(axis) == 1 else axis
            axis = axis % args[0].dim() if isinstance(axis, int) else axis
            if name in ("sum", "mean") and isinstance(axis, int) and axis > 1 and first.axis not in (-1, axis):
                return self._reduce_each(name, first, axis, args[0], made)
            check(axis == first.axis, f"over axis {axis} of values by timestep")
            check(first.axis < 0 or args[0].shape[axis] == len(first.values), "of timesteps that were never put there")
            if unknown := next((value for value in first.values if isinstance(value, Unknown)), None):
                return self._unknown(made, unknown.why)
            check(tensors(made)[0].dim() < args[0].dim(), "with keepdim: return [samples, classes]")
            return self.know(tensors(made)[0], reduced(first, name))
        if name in ORDERED and isinstance(first, Sum | Record | State):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            classes = made.dim() - (2 if unreduced(first) and first.axis == made.dim() - 1 else 1)
            check(
                ORDERED[name] == "each" or axis in (classes, classes - made.dim()),
                f"over axis {axis}, which is not that of the classes",
            )
            return self.know(made, Softened(first, name))
        if name in ADDED:
            return self.know(made, self._added(args[0], args[1], kwargs, ADDED[name]))
        if name in MULTIPLIED or name in DIVIDED or name in NEGATED:
            check(kwargs.get("rounding_mode") is None, "to whole numbers")
            result = self._times(args[0], -1.0 if name in NEGATED else args[1], name in DIVIDED)
            alike = not isinstance(result, Sum) or result.shape == tuple(made.shape[1:])
            check(alike, f"it makes {list(made.shape)} of samples of {list(getattr(result, 'shape', ()))}")
            return self.know(made, result)
        if isinstance(first, Sum | Joined | Groups):
            self._check_constant(args, kwargs)
            result = layer(name, first, list(args), kwargs, made)
            check(result.shape == tuple(made.shape[1:]), f"it makes {list(made.shape)}, which was not foreseen")
            return self.know(made, result)
        raise ValueError(_no_current(first) if isinstance(first, State) else "no such function can be deployed")

    def _check_constant(self, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
        """Raise `ValueError` where weights, or other arguments of a layer, depend on the sample."""
        others = tensors([*args[1:], *kwargs.values()])
        check(all(self.value(t) is None for t in others), "by what depends on the sample")

    def _of_raster(self, name: str, raster: Raster, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """The input of all timesteps: in another order of axes or another shape of a timestep, or taken from."""
        if name in TURNED:
            return self.know(made, Raster(turned(name, raster.axis, args)))
        if name in SHAPED:
            kept = raster.axis + 1
            check(made.shape[:kept] == args[0].shape[:kept] and made.dim() > kept, "across timesteps")
            check(kept > 1 or made.shape[1] == args[0].shape[1], "across samples")
            return self.know(made, raster)
        check(name in ("__getitem__", "select", "unbind", "__iter__"), "no such function can be deployed")
        return self._take(name, raster, args, kwargs, made)

    def _take(self, name: str, raster: Raster, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """One timestep of the input, or all of them in turn."""
        if name in ("unbind", "__iter__"):
            axis = kwargs.get("dim", args[1] if len(args) > 1 else 0) % args[0].dim()
            check(axis == raster.axis, f"along axis {axis}, which is not time")
            for t, tensor in enumerate(made if isinstance(made, tuple | list) else ()):
                self.know(tensor, input_of(tensor, t))
            check(isinstance(made, tuple | list), "index the input by the timestep instead")
            return
        if name == "select":
            axis, place = args[1], args[2]
        else:
            axis, place = taken_at(args[1], args[0])
        check(axis % args[0].dim() == raster.axis, f"along axis {axis}, which is not time")
        self.know(made, input_of(made, int(place) % args[0].shape[raster.axis]))

    def _fold(self, given: Raster | Record, tensor: Tensor, made: Tensor) -> None:
        """Timesteps and samples along one axis, each sample perhaps in another shape."""
        values = [_reshaped(self._of_time(given, tensor, t), made) for t in range(tensor.shape[given.axis])]
        self.know(made, Folded(tuple(values), given.axis))

    def _part(self, name: str, given: Raster | Record, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """Some of the timesteps, in one tensor or in several."""
        for part, (axis, *places) in zip(tensors(made), parts_of(name, args[0], args, kwargs, made), strict=True):
            check(axis == given.axis, f"along axis {axis}, which is not time")
            self.know(part, Record(tuple(self._of_time(given, args[0], t) for t in places), axis))

    @staticmethod
    def _of_time(given: Raster | Record, tensor: Tensor, time: int) -> Any:
        """What a tensor of all timesteps is at one."""
        return input_of(tensor.select(given.axis, time), time) if isinstance(given, Raster) else given.values[time]

    def _of_folded(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: Tensor) -> None:
        """A function of timesteps and samples along one axis is one of each timestep; in time's own axis again, they
        are a record."""
        folded = next(value for value in map(self.value, args[:2]) if isinstance(value, Folded))
        steps, axis, given = len(folded.values), folded.axis, next(a for a in args if self.value(a) is folded)
        if name in SHAPED and made.dim() > 2 and made.shape[:2] == folded.apart(given).shape[:2]:
            values = [_reshaped(value, made[0]) for value in folded.values]
            return self.know(made, Record(tuple(values), axis))
        check(made.shape[:1] == given.shape[:1], "across timesteps and samples")
        known = []
        for t in range(steps):
            now = []
            for argument in args:
                value = self.value(argument)
                check(value is None or (isinstance(value, Folded) and value.axis == axis), "of other timesteps")
                now.append(argument if value is None else self._known(value.at(argument, t), value.values[t]))
            known.append(self._made(name, now, kwargs, folded.at(made, t)))
        self.know(made, Folded(tuple(known), axis))

    def _known(self, part: Tensor, value: Any) -> Tensor:
        """A timestep's part of a tensor, which is from now on known as a value."""
        self.know(part, value)
        return part

    def _made(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], part: Tensor) -> Any:
        """What a function makes of one timestep, whose part of what it made `part` is."""
        self._follow(name, args, kwargs, part)
        return self.value(part)

    def _shape_each(self, record: Record, given: Tensor, made: Tensor) -> None:
        """Values of timesteps, each in another shape."""
        kept = record.axis + 1
        check(made.shape[:kept] == given.shape[:kept] and made.dim() > kept, "across timesteps")
        check(kept > 1 or made.shape[1] == given.shape[1], "across samples")
        values = tuple(_reshaped(value, made.select(record.axis, 0)) for value in record.values)
        self.know(made, replace(record, values=values))

    def _reduce_each(self, name: str, record: Record, axis: int, given: Tensor, made: Tensor) -> None:
        """A sum or mean over another axis than time is one of each timestep."""
        check(made.dim() == given.dim() - 1 and record.axis < axis, "over an axis before that of time")
        values = []
        for t in range(len(record.values)):
            part = self._known(given.select(record.axis, t), record.values[t])
            values.append(self._made(name, [part], {"dim": axis - 1}, made.select(record.axis, t)))
        self.know(made, Record(tuple(values), record.axis))

    def _of_each(self, name: str, axis: int, args: Sequence[Any], kwargs: dict[str, Any], made: Tensor) -> None:
        """A function of all timesteps at once, along `axis`, is one of each."""
        dims = made.dim()
        check(all(not isinstance(t, Tensor) or t.dim() <= dims for t in args) and axis < dims, "across timesteps")
        check(name in ARITHMETIC or axis < dims - 1, "across timesteps")
        values = []
        for t in range(made.shape[axis]):
            now = [self._at(t, axis, dims, name, a) for a in args]
            values.append(self._made(name, now, kwargs, made.select(axis, t)))
        self.know(made, Record(tuple(values), axis))

    def _at(self, time: int, axis: int, dims: int, name: str, argument: Any) -> Any:
        """An argument of a function of all timesteps, as that of one."""
        value = self.value(argument)
        if isinstance(value, Raster | Record):
            check(value.axis == axis and argument.dim() == dims, "of other timesteps")
            return self._known(argument.select(axis, time), self._of_time(value, argument, time))
        check(value is None, "of what has timesteps and what has none: give both the same")
        own = axis - dims + argument.dim() if isinstance(argument, Tensor) and name in ARITHMETIC else -1
        return argument if own < 0 else argument.select(own, time if argument.shape[own] > 1 else 0)

    def _put(self, record: Record | None, args: Sequence[Any]) -> None:
        """A timestep's values into a tensor that is there to hold them all."""
        axis, place = taken_at(args[1], args[0])
        values = () if record is None else record.values
        check(
            place == len(values) and (record is None or record.axis == axis), "put timesteps in order, from the first"
        )
        self.know(args[0], Record((*values, self.value(args[2])), axis))

    def _collect(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        parts = [self.value(t) for t in args[0]]
        axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if name == "stack":
            return self.know(made, Record(tuple(parts), axis % made.dim()))
        axis %= made.dim()
        if all(unreduced(part) and part.axis == axis for part in parts):
            return self.know(made, Record(tuple(value for part in parts for value in part.values), axis))
        check(axis == 1, f"along axis {axis}: concatenate channels")
        # spikes that come late are zeros at first
        parts = [self._constant(t) if value is None else value for t, value in zip(args[0], parts, strict=True)]
        parts = [only for part in parts for only in (part.parts if isinstance(part, Joined) else (part,))]
        check(*next(((False, _no_current(p)) for p in parts if not isinstance(p, Sum)), (True, "")))
        check(all(part.terms or not part.bias.any() for part in parts), "of a constant that is not zero")
        return self.know(made, Joined(tuple(parts)))

    def _added(self, one: Any, other: Any, kwargs: dict[str, Any], factors: tuple[int, int]) -> Any:
        check(kwargs.get("alpha", 1) == 1, "with a factor alpha")
        values: list[Sum] = []
        both = [self.value(one), self.value(other)]
        if any(isinstance(value, State | Record) for value in both):
            rest = next((t for t, value in zip((one, other), both, strict=True) if value is None), 0.0)
            check(
                min(factors) > 0 and _number(rest) == 0, "of membranes and something else: add those of all timesteps"
            )
            return accumulated([value for value in both if value is not None])
        shape = next((value.shape for value in both if isinstance(value, Sum)), ())
        for tensor, value, factor in ((one, both[0], factors[0]), (other, both[1], factors[1])):
            value = self._constant(tensor, shape) if value is None else value
            check(isinstance(value, Sum), _no_current(value))
            values.append(value if factor == 1 else terms.scale(value, np.full(1, factor)))
        return terms.total(values)

    @staticmethod
    def _constant(value: Any, shape: tuple[int, ...] | None = None) -> Sum:
        """A tensor that does not depend on the sample, spread over samples of a shape: the same for all of them."""
        found = numpy_of(value)
        if shape is None:
            return terms.constant(found)
        if found.size == 1:  # nothing to spread
            return Sum((), found.reshape(()), shape)
        batch = len(found) if found.ndim > len(shape) else 1
        return terms.constant(np.broadcast_to(found, (batch, *shape)))

    def _times(self, one: Any, other: Any, divide: bool) -> Any:
        value, factor = (self.value(one), other) if self.value(one) is not None else (self.value(other), one)
        check(self.value(factor) is None, "of two tensors of the network")
        check(not divide or factor is other, "of a constant by a tensor of the network")
        if isinstance(value, Record) and value.reduced:
            number = _number(factor)
            check(number > 0, "of membranes by a number that is not positive")
            return replace(value, reduced="mean") if value.reduced == "sum" else value
        check(isinstance(value, Sum), _no_current(value))
        factors = _by_channel(factor, value.shape)
        return terms.scale(value, 1 / factors if divide else factors)

    def _enter(self, module: nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        name, given = self.neurons[module], [*args, *kwargs.values()][1:]
        self.settings[module].check(len(self.calls[name]))
        self.check_shared()
        states = given if any(state is not None for state in given) else [*hidden(module).values()]
        check_states(name, [self.value(state) for state in states], states, len(self.calls[name]))
        self.inside += 1

    def _leave(self, module: nn.Module, args: Any, kwargs: dict[str, Any], made: Any) -> None:
        self.inside -= 1
        name = self.neurons[module]
        time = len(self.calls[name])
        taken = [*args, *kwargs.values()][0]
        current = self.value(taken)
        if isinstance(current, Joined):
            raise SneError(f"{name} takes concatenated channels without weights", "put a layer in between")
        try:
            current = self._constant(taken) if current is None else current  # what comes late is missing at first
        except ValueError as error:
            current = Unknown(str(error))
        if not isinstance(current, Sum):
            why = getattr(current, "why", "no current and no spikes")
            raise SneError(f"what {name} takes cannot be deployed: {why}", advice(why))
        self.calls[name].append(of_now(current, time))
        outputs = tensors(made)
        self.know(outputs[0], terms.source(name, current.shape, time))
        for tensor in outputs[1:]:
            self.know(tensor, State(name, time, "mem" if tensor is outputs[-1] else "syn"))
        for which, tensor in hidden(module).items():
            if self.value(tensor) is None:
                self.know(tensor, State(name, time, which))

    def check_calls(self, steps: int) -> None:
        """Every population took every timestep, with the settings of the first one; neurons that are not used are
        none."""
        self.check_shared()
        for module, name in self.neurons.items():
            calls = self.calls[name]
            self.settings[module].check(len(calls))
            if calls and len(calls) != steps:
                raise SneError(
                    f"{name} ran {len(calls)} times in {steps} timesteps",
                    "use each neuron module once a timestep, and give --timesteps as the network has them",
                )


def _in_place(name: str) -> bool:
    """Whether a function of torch changes what it is given first."""
    return (name.endswith("_") and not name.startswith("__")) or name in IN_PLACE


def _of_neurons(value: Any) -> bool:
    """Whether something depends on what neurons said."""
    if isinstance(value, Sum):
        return any(t.source != INPUT for t in value.terms)
    if isinstance(value, Record | Folded):
        return any(map(_of_neurons, value.values))
    return isinstance(value, State | Softened) or (isinstance(value, Unknown) and value.neurons)


def _bound(args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[Sequence[Any], dict[str, Any]]:
    """Arguments with what a function works on first, whatever it is called by."""
    kwargs = {"dim" if key == "axis" else key: value for key, value in kwargs.items()}  # torch takes both
    first = next((key for key in ("input", "self", "tensors") if not args and key in kwargs), None)
    args = args if first is None else (kwargs.pop(first),)
    return ((*args, kwargs.pop("other")) if len(args) == 1 and "other" in kwargs else args), kwargs


def of_now(value: Sum, time: int) -> Sum:
    """Terms by how long ago they started instead of when."""
    return replace(
        value,
        terms=tuple(t if t.time is None else replace(t, delay=t.delay + time - t.time, time=None) for t in value.terms),
    )


def _reshaped(value: Any, made: Tensor) -> Any:
    """Spikes or currents of samples in the shape of those of `made`."""
    check(isinstance(value, Sum | Groups), _no_current(value))
    return layer("reshape", value, [], {}, made)


def _no_current(value: Any) -> str:
    """In words, what something is that should have been spikes or currents."""
    if isinstance(value, Softened):
        return f"of what comes of {value.function}, in the middle of a network"
    if isinstance(value, State):
        return "of a membrane, where spikes alone pass between layers"
    return getattr(value, "why", "of what is no current and no spikes")


def _number(value: Any) -> float:
    """The number that a number is, or a tensor of equal ones."""
    found = torch.as_tensor(value).detach().double().cpu().numpy().reshape(-1)
    check(bool(found.size and (found == found[0]).all()), "of a constant by place")
    return float(found[0])


def _by_channel(value: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A factor of samples of a shape, one number for all [1] or by channel [channels]."""
    found: np.ndarray = numpy_of(value)
    if found.size == 1:
        return found.reshape(1)
    check(found.ndim <= len(shape) + 1, "of a constant of more axes")
    spread = np.broadcast_to(found, (1, *shape)) if found.shape[:1] == (1,) or found.ndim <= len(shape) else found
    by_channel = spread.reshape(len(spread), shape[0], -1)
    check(bool((by_channel == by_channel[:1, :, :1]).all()), "of a constant by place")
    factors: np.ndarray = by_channel[0, :, 0]
    return factors
