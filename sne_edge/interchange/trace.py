"""Networks of torch and snnTorch, read by what they do: a forward pass is followed, tensor by tensor.

In: any `nn.Module` whose neurons are snnTorch's, with a loop over time or of one timestep, with explicit or hidden
states, and a sample. Out: a `learn.graph.FloatGraph`, and the network's own forward as its witness.

Every tensor that depends on the sample is known as what it is: the input, a population's spikes or state in a timestep,
or a sum of weighted sources (`terms`). Functions that are not known make a tensor unknown, which is refused where it
matters, by the function's name. All timesteps must do the same; what a population hears of an earlier timestep is a
delay.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..errors import SneError
from ..ir.checks import check
from ..ir.layers import Pair
from ..learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPopulation, Reset, ordered
from . import terms
from .terms import Sum

NEURONS: tuple[type, ...] = (snn.Leaky, snn.Lapicque, snn.Synaptic, snn.RLeaky, snn.RSynaptic)
SUPPORTED = (
    "snntorch Leaky, Lapicque, Synaptic, RLeaky, RSynaptic between linear layers, convolutions, poolings, batch norms, "
    "Flatten, sums, and concatenated channels"
)
SAME = {  # functions that leave values as they are
    "clone", "contiguous", "detach", "float", "to", "type_as", "dropout", "dropout1d", "dropout2d", "requires_grad_",
    "feature_dropout", "alias", "cpu", "__copy__", "__deepcopy__",
}  # fmt: skip
SHAPED = {"flatten", "view", "reshape", "squeeze", "unsqueeze", "ravel"}
LOOKS = {
    "size",
    "dim",
    "__len__",
    "numel",
    "is_floating_point",
    "stride",
    "__get__",
    "__set__",
    "get_device",
    "__bool__",
}

What = Literal["count", "membrane", "current"]


@dataclass(frozen=True)
class Traced:
    """A network that was read. `witness`: its own forward and decoder on raw inputs, as it takes them, to logits
    [N, classes]; `timesteps`: of one inference."""

    graph: FloatGraph
    witness: Callable[[Tensor], Tensor]
    timesteps: int


@dataclass(frozen=True, eq=False)
class _Raster:
    """The input of all timesteps, before one is taken."""

    axis: int


@dataclass(frozen=True, eq=False)
class _State:
    """A population's state after a timestep: `mem` or `syn`."""

    population: str
    time: int
    which: str


@dataclass(frozen=True, eq=False)
class _Record:
    """Values of timesteps in order, along an axis; `reduced`: summed or averaged over it."""

    values: tuple[Any, ...]
    axis: int
    reduced: str = ""


@dataclass(frozen=True, eq=False)
class _Joined:
    """Maps whose channels were concatenated."""

    parts: tuple[Sum, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        return (sum(p.shape[0] for p in self.parts), *self.parts[0].shape[1:])


@dataclass(frozen=True, eq=False)
class _Unknown:
    """What a function made that cannot be deployed."""

    why: str


def trace(
    network: nn.Module,
    sample: Tensor,
    timesteps: int,
    *,
    time_axis: int | None = None,
    decode: FloatDecoder | None = None,
) -> Traced:
    """Read a network by following it on `sample`, a batch of at least one as its forward takes it.

    `time_axis`: of the sample, where it has one (0 in snnTorch's [T, N, ...], 1 in tonic's [N, T, ...]); else the same
    sample is shown at every timestep. A network that does one timestep is called `timesteps` times.
    `decode`: what becomes of the outputs; by default spikes are counted, membranes averaged, and currents of a last
    layer without neurons averaged. Raises `SneError`, naming module or function, where it cannot be deployed.
    """
    own = _prepared(network)
    names = {module: name or type(module).__name__ for name, module in own.named_modules()}
    neurons = {m: n for m, n in names.items() if hasattr(m, "mem_reset") or isinstance(m, snn.SLSTM | snn.SConv2dLSTM)}
    _check_neurons(neurons)
    with torch.no_grad():
        looping = _loops(own, sample, neurons)
        steps = _axis_length(sample, time_axis, timesteps)
        follower = _Follower(neurons)
        _rest(own)
        with follower:
            if looping:
                follower.know(sample, _Raster(time_axis) if time_axis is not None else _input(sample))
                made = _run(own, sample)
                outputs = [follower.value(tensor) for tensor in _tensors(made)]
            else:
                calls = []
                for t in range(steps):
                    x = sample if time_axis is None else sample.select(time_axis, t)
                    x = x.clone()
                    follower.know(x, _input(x, None if time_axis is None else t))
                    calls.append([follower.value(tensor) for tensor in _tensors(_run(own, x))])
                outputs = [_Record(values, 0) for values in zip(*calls, strict=True)]
    follower.check_calls(steps)
    try:
        index, output, decoder = _choose(outputs, decode)
        graph = follower.graph(output, decoder)
    except ValueError as error:
        raise SneError(f"the network cannot be deployed: {error}", f"supported: {SUPPORTED}") from None
    return Traced(graph, _witness(own, index, output, decoder, looping, steps, time_axis), steps)


def _prepared(network: nn.Module) -> nn.Module:
    """A copy in evaluation, in single precision, on the CPU; the network's own is left alone."""
    _rest(network)  # membranes of the last training step hang on a graph that cannot be copied
    memo: dict[int, Any] = {}  # nor can weights that a parametrisation or pruning has computed: these stand for them
    for module in network.modules():
        for value in vars(module).values():
            if isinstance(value, Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach().clone()
    return copy.deepcopy(network, memo).float().cpu().eval()


def _check_neurons(neurons: dict[nn.Module, str]) -> None:
    if not neurons:
        raise SneError("the network has no spiking neurons", f"supported: {SUPPORTED}")
    for module, name in neurons.items():
        kind = type(module)
        if kind not in NEURONS:
            raise SneError(f"{name} is a {kind.__module__}.{kind.__name__}", f"supported: {SUPPORTED}")
        if module._forward_hooks or module._forward_pre_hooks:
            raise SneError(f"{name} has hooks, which may change what it does", "remove them before quantising")
        for field, fine in (("inhibition", False), ("state_quant", False)):
            if getattr(module, field, fine):
                raise SneError(f"{name} has {field}", f"make it without {field}")
        factor = torch.as_tensor(getattr(module, "graded_spikes_factor", 1.0))
        if bool((factor != 1).any()):
            raise SneError(f"{name} has graded spikes", "put the factor into the weights of the next layer")


def _loops(network: nn.Module, sample: Tensor, neurons: dict[nn.Module, str]) -> bool:
    """Whether one forward runs more than one timestep."""
    calls = dict.fromkeys(neurons, 0)

    def count(module: nn.Module, *_: Any) -> None:
        calls[module] += 1

    handles = [module.register_forward_hook(count) for module in neurons]
    _rest(network)
    try:
        network(sample)
    except Exception:
        return False  # it takes one timestep of the sample
    finally:
        for handle in handles:
            handle.remove()
    return max(calls.values()) > 1


def _run(network: nn.Module, x: Tensor) -> Any:
    """What the network's own forward returns."""
    try:
        return network(x)
    except SneError:
        raise
    except Exception as error:  # a forward is anyone's code
        raise SneError(
            f"the network's forward failed on samples of shape {list(x.shape)}: {error}",
            "run it by itself first, on samples of that shape; neurons in nn.Sequential need init_hidden=True",
        ) from None


def _axis_length(sample: Tensor, time_axis: int | None, timesteps: int) -> int:
    if time_axis is not None and sample.shape[time_axis] != timesteps:
        raise SneError(
            f"samples have {sample.shape[time_axis]} timesteps, not {timesteps}", "give the timesteps that the data has"
        )
    return timesteps


def _rest(network: nn.Module) -> None:
    """Put hidden states to rest."""
    for module in network.modules():
        if hasattr(module, "reset_mem"):
            module.reset_mem()  # type: ignore[operator]


def _input(x: Tensor, time: int | None = None) -> Sum:
    return terms.source(INPUT, tuple(x.shape[1:]), time)


def _tensors(value: Any) -> list[Tensor]:
    """Tensors of an output, in order."""
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for item in value for t in _tensors(item)] if isinstance(value, list | tuple) else []


class _Follower(TorchFunctionMode):
    """Knows what every tensor is while a network runs."""

    def __init__(self, neurons: dict[nn.Module, str]) -> None:
        super().__init__()
        self.neurons = neurons
        self.known: dict[int, Any] = {}
        self.kept: list[Tensor] = []  # so that no id comes back
        self.inside = 0
        self.calls: dict[str, list[Sum]] = {name: [] for name in neurons.values()}
        self.handles: list[Any] = []

    def __enter__(self) -> _Follower:
        for module in self.neurons:
            self.handles.append(module.register_forward_pre_hook(self._enter))
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
        self.known[id(tensor)] = value

    def value(self, tensor: Any) -> Any:
        """What a tensor is; None where it does not depend on the sample."""
        return self.known.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        made = func(*args, **kwargs)
        name = getattr(func, "__name__", str(func))
        if self.inside or name in LOOKS:
            return made
        if not any(self.value(t) is not None for t in _tensors([*args, *kwargs.values()])):
            return made
        try:
            self._follow(name, args, kwargs, made)
        except ValueError as error:
            self._unknown(made, f"{name}: {error}")
        return made

    def _unknown(self, made: Any, why: str) -> None:
        for tensor in _tensors(made):
            self.know(tensor, _Unknown(why))

    def _follow(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        """Say what a function made."""
        first = self.value(args[0]) if args else None
        if isinstance(first, _Unknown):
            return self._unknown(made, first.why)
        if name in SAME and first is not None:
            return self.know(made, first)
        if name in ("__getitem__", "select", "unbind", "__iter__") and isinstance(first, _Raster):
            return self._take(name, first, args, made)
        if name in ("stack", "cat", "concat"):
            return self._collect(name, args, kwargs, made)
        if name in ("sum", "mean") and isinstance(first, _Record) and not first.reduced:
            axis = kwargs.get("dim", args[1] if len(args) > 1 else None)
            check(axis == first.axis, f"over axis {axis} of values by timestep")
            return self.know(made, replace(first, reduced=name))
        if name in ("add", "__add__", "__radd__", "add_", "__iadd__", "sub", "__sub__"):
            return self.know(made, self._added(args[0], args[1], kwargs, -1.0 if "sub" in name else 1.0))
        if name in ("mul", "__mul__", "__rmul__", "div", "__truediv__"):
            return self.know(made, self._times(args[0], args[1], "div" in name))
        if isinstance(first, Sum | _Joined):
            result = self._layer(name, first, list(args), kwargs, made)
            check(result.shape == tuple(made.shape[1:]), f"it makes {list(made.shape)}, which was not foreseen")
            return self.know(made, result)
        raise ValueError("no such function can be deployed")

    def _take(self, name: str, raster: _Raster, args: Sequence[Any], made: Any) -> None:
        """One timestep of the input, or all of them in turn."""
        if name in ("unbind", "__iter__"):
            axis = args[1] if len(args) > 1 else 0
            check(name == "__iter__" or axis == raster.axis, f"along axis {axis}, which is not time")
            for t, tensor in enumerate(made if isinstance(made, tuple | list) else ()):
                self.know(tensor, _input(tensor, t))
            check(isinstance(made, tuple | list), "index the input by the timestep instead")
            return
        if name == "select":
            axis, place = args[1], args[2]
        else:
            index = args[1] if isinstance(args[1], tuple) else (args[1],)
            axis = len(index) - 1
            check(all(i == slice(None) for i in index[:-1]) and isinstance(index[-1], int), "index one timestep")
            place = index[-1]
        check(axis == raster.axis, f"along axis {axis}, which is not time")
        self.know(made, _input(made, int(place)))

    def _collect(self, name: str, args: Sequence[Any], kwargs: dict[str, Any], made: Any) -> None:
        parts = [self.value(t) for t in args[0]]
        axis = kwargs.get("dim", args[1] if len(args) > 1 else 0)
        if name == "stack":
            return self.know(made, _Record(tuple(parts), axis))
        if all(isinstance(part, Sum) for part in parts) and axis in (1, 1 - made.dim()):
            return self.know(made, _Joined(tuple(parts)))
        raise ValueError(f"along axis {axis}: concatenate channels")

    def _added(self, one: Any, other: Any, kwargs: dict[str, Any], sign: float) -> Sum:
        check(kwargs.get("alpha", 1) == 1, "with a factor alpha")
        values: list[Sum | float] = []
        for tensor, factor in ((one, 1.0), (other, sign)):
            value = self.value(tensor)
            if value is None:
                constant = torch.as_tensor(tensor).detach().double().numpy()
                check(constant.size == 1, "a constant by place")
                values.append(float(constant.reshape(-1)[0]) * factor)
                continue
            check(isinstance(value, Sum), "of what is no current and no spikes")
            values.append(value if factor == 1 else terms.scale(value, np.full(1, factor)))
        sums = [v for v in values if isinstance(v, Sum)]
        shift = sum(v for v in values if not isinstance(v, Sum))
        found = terms.total(sums)
        return replace(found, bias=found.bias + shift) if shift else found

    def _times(self, one: Any, other: Any, divide: bool) -> Sum:
        value, factor = (self.value(one), other) if self.value(one) is not None else (self.value(other), one)
        check(isinstance(value, Sum) and self.value(factor) is None, "of two tensors of the network")
        constant = torch.as_tensor(factor).detach().double().numpy()
        check(constant.size == 1, "by a constant by place")
        number = float(constant.reshape(-1)[0])
        return terms.scale(value, np.full(1, 1 / number if divide else number))

    def _layer(self, name: str, given: Any, args: list[Any], kwargs: dict[str, Any], made: Tensor) -> Any:
        def argument(place: int, key: str, default: Any = None) -> Any:
            return args[place] if len(args) > place else kwargs.get(key, default)

        if isinstance(given, _Joined):
            return self._layer_of_joined(name, given, args, kwargs, made)
        if name == "linear":
            return terms.linear(given, _numpy(args[1]), _numpy(argument(2, "bias"), 0.0))
        if name in ("conv1d", "conv2d"):
            flat = name == "conv1d"
            weight = _numpy(argument(1, "weight"))
            stride, dilation = (
                _pair(argument(p, k, 1), 1 if flat else None) for p, k in ((3, "stride"), (5, "dilation"))
            )
            shaped = weight[:, :, None] if flat else weight
            padding = _padding(argument(4, "padding", 0), flat, (shaped.shape[2], shaped.shape[3]), dilation)
            groups, bias = int(argument(6, "groups", 1)), _numpy(argument(2, "bias"), 0.0)
            return terms.convolution(given, shaped, bias, stride, padding, dilation, groups)
        if name in ("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d"):
            fill = 1 if name.endswith("1d") else None
            kernel = _pair(args[1], fill)
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
            check(
                all(a % b == 0 for a, b in zip(places, out, strict=True)), f"from {places} to {out}, no whole windows"
            )
            kernel = (places[0] // out[0], places[1] // out[1])
            return terms.pool(given, "average", kernel, kernel, (0, 0))
        if name == "batch_norm":
            mean, variance, weight, bias, training, _, eps = (argument(i, k) for i, k in enumerate(
                ("running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), start=1
            ))  # fmt: skip
            check(mean is not None and not training, "without statistics of its own")
            gain = 1 / np.sqrt(_numpy(variance) + float(eps)) * (1.0 if weight is None else _numpy(weight))
            return terms.scale(given, gain, _numpy(bias, 0.0) - _numpy(mean) * gain)
        if name in SHAPED:
            return _reshaped(given, tuple(made.shape[1:]))
        raise ValueError("no such function can be deployed")

    def _layer_of_joined(self, name: str, given: _Joined, args: list[Any], kwargs: dict[str, Any], made: Tensor) -> Any:
        """A layer on concatenated channels is a sum of layers on each, with its part of the weights."""
        if name in ("avg_pool1d", "avg_pool2d", "max_pool1d", "max_pool2d", *SHAPED):
            return _Joined(tuple(self._layer(name, part, args, kwargs, made) for part in given.parts))
        check(name in ("linear", "conv1d", "conv2d"), "of concatenated channels")
        check(name == "linear" or int(args[6] if len(args) > 6 else kwargs.get("groups", 1)) == 1, "with groups")
        found, start = [], 0
        for number, part in enumerate(given.parts):
            end = start + part.shape[0]
            own = [*args]
            own[1] = args[1][:, start:end]
            if number and len(own) > 2:
                own[2] = None
            found.append(self._layer(name, part, own, kwargs if not number else {**kwargs, "bias": None}, made))
            start = end
        return terms.total(found)

    def _enter(self, module: nn.Module, args: Any) -> None:
        self.inside += 1

    def _leave(self, module: nn.Module, args: Any, kwargs: dict[str, Any], made: Any) -> None:
        self.inside -= 1
        name = self.neurons[module]
        time = len(self.calls[name])
        given = [*args, *kwargs.values()]
        current = self.value(given[0])
        if isinstance(current, _Joined):
            raise SneError(f"{name} takes concatenated channels without weights", "put a layer in between")
        if not isinstance(current, Sum):
            why = current.why if isinstance(current, _Unknown) else "it does not depend on the input"
            raise SneError(f"what {name} takes cannot be deployed: {why}", f"supported: {SUPPORTED}")
        for state in given[1:]:
            self._check_state(name, state, time)
        self.calls[name].append(_of_now(current, time))
        outputs = _tensors(made)
        self.know(outputs[0], terms.source(name, current.shape, time))
        for which, tensor in zip(("mem",) if len(outputs) == 2 else ("syn", "mem"), outputs[1:], strict=False):
            self.know(tensor, _State(name, time, which))

    def _check_state(self, name: str, state: Any, time: int) -> None:
        """A state that a network hands to its neurons is the one that they left, or nothing yet."""
        value = self.value(state)
        if value is None:
            rest = state is None or not bool(torch.as_tensor(state).any())
            if rest and time == 0:
                return
        if isinstance(value, _State) and value.population == name and value.time == time - 1:
            return
        if isinstance(value, Sum) and len(value.terms) == 1:
            only = value.terms[0]
            if only.source == name and only.op is None and only.time == time - 1:
                return
        raise SneError(
            f"{name} is given a state at timestep {time} that is not its own of the timestep before",
            "start at rest, and leave states as they are between timesteps",
        )

    def check_calls(self, steps: int) -> None:
        """Every population took every timestep."""
        for name, calls in self.calls.items():
            if len(calls) != steps:
                raise SneError(
                    f"{name} ran {len(calls)} times in {steps} timesteps",
                    "use each neuron module once a timestep, and give --timesteps as the network has them",
                )

    def graph(self, output: _Record, decoder: FloatDecoder) -> FloatGraph:
        """The populations and the decoded one last."""
        modules = {name: module for module, name in self.neurons.items()}
        made = [self._population(name, modules[name]) for name in self.calls]
        last = output.values[-1]
        if decoder.kind == "current":
            assert isinstance(last, Sum)
            timed = [_of_now(value, t) for t, value in enumerate(output.values)]
            every = _steady("the output", timed)
            shape = terms.map_shape(every.shape)
            arriving, bias = terms.projections(every, shape)
            made.append(FloatPopulation("readout", shape, arriving, np.ones(()), None, bias, reset="none"))
            name = "readout"
        else:
            name = last.terms[0].source if isinstance(last, Sum) else last.population
        inputs = {t.origin for calls in self.calls.values() for s in calls for t in s.terms if t.source == INPUT}
        inputs |= {t.origin for s in output.values if isinstance(s, Sum) for t in s.terms if t.source == INPUT}
        check(len(inputs) == 1, f"the input is taken in {len(inputs)} shapes: {sorted(map(list, inputs))}")
        return FloatGraph(terms.map_shape(inputs.pop()), ordered(_needed(made, name), name), decoder)

    def _population(self, name: str, module: Any) -> FloatPopulation:
        arriving = _steady(name, self.calls[name])
        shape = terms.map_shape(arriving.shape)

        def values(array: Any) -> np.ndarray:
            """A parameter as torch lays it over the neurons."""
            return terms.to_channel_last(np.broadcast_to(_numpy(array), arriving.shape))

        beta, gain, alpha = values(torch.as_tensor(module.beta).clamp(0, 1)), np.ones(()), None
        reset: Reset = ("subtract", "zero", "none")[int(module.reset_mechanism_val)]
        late = bool(getattr(module, "reset_delay", True)) and reset != "none"
        kind = type(module)
        if kind is snn.Lapicque:
            rate = _numpy(module.time_step) / _numpy(module.C)
            beta, gain = values(1 - rate / _numpy(module.R)), values(rate)
        if kind in (snn.Synaptic, snn.RSynaptic):
            alpha = values(torch.as_tensor(module.alpha).clamp(0, 1))
        check(kind is snn.Leaky or not (late and reset == "zero"), f"{name} resets to zero late, and loses the current")
        check(
            kind is not snn.RSynaptic or late or reset == "none", f"{name}: snnTorch itself fails without reset_delay"
        )
        if kind in (snn.RLeaky, snn.RSynaptic):
            arriving = terms.total([arriving, _recurrence(name, module.recurrent, arriving.shape)])
        projections, bias = terms.projections(arriving, shape, gain)
        return FloatPopulation(
            name, shape, projections, terms.least(beta), terms.least(values(module.threshold)), bias,
            None if alpha is None else terms.least(alpha), reset, late,
        )  # fmt: skip


def _recurrence(name: str, weights: nn.Module, shape: tuple[int, ...]) -> Sum:
    """What a population hears of itself, one timestep later."""
    own = terms.late(terms.source(name, shape), 1)
    if type(weights) is nn.Linear:
        return terms.linear(own, _numpy(weights.weight), _numpy(weights.bias, 0.0))
    if type(weights) is nn.Conv2d:
        padding = (int(weights.padding[0]), int(weights.padding[1]))
        return terms.convolution(own, _numpy(weights.weight), _numpy(weights.bias, 0.0), (1, 1), padding)
    factor = np.broadcast_to(_numpy(weights.V), shape).reshape(shape[0], -1)
    check(bool((factor == factor[:, :1]).all()), f"{name}: recurrent weights by place")
    return terms.scale(own, factor[:, 0])


def _of_now(value: Sum, time: int) -> Sum:
    """Terms by how long ago they started instead of when."""
    return replace(
        value,
        terms=tuple(t if t.time is None else replace(t, delay=t.delay + time - t.time, time=None) for t in value.terms),
    )


def _steady(name: str, calls: Sequence[Sum]) -> Sum:
    """What arrives at every timestep, the same at all; at first, what comes late is missing."""

    def prints(value: Sum) -> dict[Any, Any]:
        return {
            (t.source, t.delay, t.op, t.stride, t.padding, t.pools, t.current_pool, t.gain,
             None if t.weight is None else t.weight.tobytes()): t
            for t in value.terms
        }  # fmt: skip

    last = prints(calls[-1])
    for time, call in enumerate(calls):
        want = {key for key in last if key[1] <= time}
        same_bias = np.array_equal(
            np.broadcast_to(call.bias, calls[-1].bias.shape or (1,)), np.atleast_1d(calls[-1].bias)
        )
        if set(prints(call)) != want or not same_bias:
            raise SneError(
                f"{name} takes something else at timestep {time} than at the last", "do the same at every timestep"
            )
    if any(key[1] < 0 for key in last):
        raise SneError(f"{name} takes what comes only later", "use spikes of this timestep or an earlier one")
    return calls[-1]


def _needed(populations: Iterable[FloatPopulation], last: str) -> list[FloatPopulation]:
    """Those that the last one depends on."""
    by_name = {p.name: p for p in populations}
    found: list[str] = []
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name != INPUT and name not in found:
            found.append(name)
            waiting += [q.source for q in by_name[name].projections]
    return [p for name, p in by_name.items() if name in found]


def _choose(outputs: list[Any], decode: FloatDecoder | None) -> tuple[int, _Record, FloatDecoder]:
    """The output that is decoded, and how."""
    kinds: list[tuple[int, _Record, What | None]] = []
    for index, output in enumerate(outputs):
        record = output if isinstance(output, _Record) else _Record((output,), -1)
        last = record.values[-1]
        kind: What | None = None
        if isinstance(last, _State) and last.which == "mem":
            kind = "membrane"
        elif isinstance(last, Sum):
            spikes = len(last.terms) == 1 and last.terms[0].op is None and last.terms[0].source != INPUT
            kind = "count" if spikes and not last.terms[0].pools else "current"
        if kind is not None and (record.axis >= 0 or kind == "membrane"):
            kinds.append((index, record, kind))
        elif isinstance(last, _Unknown):
            kinds.append((index, record, None))
    wanted = None if decode is None else ("count" if decode.kind == "first" else decode.kind)
    for index, record, kind in kinds:
        if kind is not None and (wanted is None or kind == wanted):
            take: Literal["final", "mean"] = "mean" if record.axis >= 0 else "final"
            made = decode or (FloatDecoder(kind, take) if kind == "membrane" else FloatDecoder(kind))
            check(
                not record.reduced or made.kind != "membrane" or made.take == "mean", "membranes are averaged already"
            )
            return index, record, made
    why = next((r.values[-1].why for _, r, kind in kinds if kind is None), "")
    check(False, why or "its outputs are no spikes, membranes or currents over time: return the record of a layer")
    raise AssertionError


def _witness(
    network: nn.Module, index: int, output: _Record, decoder: FloatDecoder, looping: bool, steps: int, axis: int | None
) -> Callable[[Tensor], Tensor]:
    """The network's own forward and the decoder on what it returns."""

    def run(x: Tensor) -> Tensor:
        _rest(network)
        with torch.no_grad():
            if looping:
                made = _tensors(network(x.float()))[index]
                record = made if output.axis < 0 or output.reduced else made.movedim(output.axis, 0)
            else:
                each = [x if axis is None else x.select(axis, t) for t in range(steps)]
                record = torch.stack([_tensors(network(part.float()))[index] for part in each])
        if output.reduced or output.axis < 0:
            return record.flatten(1)
        record = record.flatten(2)
        if decoder.kind == "count":
            return record.sum(0)
        if decoder.kind == "first":
            times = torch.arange(steps, 0, -1, dtype=record.dtype).reshape(-1, 1, 1)
            return (record * times).amax(0)
        if decoder.kind == "membrane" and decoder.take != "mean":
            return record[-1] if decoder.take == "final" else record.amax(0)
        return record.mean(0)

    return run


def _reshaped(given: Sum, shape: tuple[int, ...]) -> Sum:
    """The same values in another shape: flat, or the input in any."""
    if shape == given.shape:
        return given
    raw = len(given.terms) == 1 and given.terms[0].source == INPUT and given.terms[0].op is None
    if raw and not given.terms[0].pools and not (len(shape) == 1 and len(given.shape) > 1):
        only = given.terms[0]
        check(len(only.shape) == len(only.map), "a flattened input is shaped again")
        return terms.source(INPUT, shape, only.time)
    check(len(shape) == 1, f"from {list(given.shape)} to {list(shape)}")
    return terms.flat(given)


def _numpy(value: Any, missing: Any = None) -> Any:
    return missing if value is None else torch.as_tensor(value).detach().double().cpu().numpy()


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
