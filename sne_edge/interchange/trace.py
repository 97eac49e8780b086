"""Networks of torch and snnTorch, read by what they do: a forward pass is followed, tensor by tensor (`follow`).

In: any `nn.Module` whose neurons are snnTorch's, with a loop over time or of one timestep, with explicit or hidden
states, and a sample. Out: a `learn.graph.FloatGraph`, and the network's own forward as its witness.

All timesteps must do the same; what a population hears of an earlier timestep is a delay.
"""

from __future__ import annotations

import copy
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn

from ..errors import SneError, SneWarning
from ..ir.checks import check
from ..learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPopulation, Reset, ordered, unused_name
from . import terms
from .advice import SUPPORTED, advice
from .follow import Follower, Softened, Unknown, input_of, of_now, tensors
from .functional import numpy_of
from .modules import CAN_TEACH, check_framework, check_neurons, float_copy
from .states import State, instances
from .terms import Sum
from .timesteps import Raster, Record

NEURONS: tuple[type, ...] = (snn.Leaky, snn.Lapicque, snn.Synaptic, snn.Alpha, snn.RLeaky, snn.RSynaptic)

COUNTS = {"num_steps", "n_steps", "nb_steps", "steps", "timesteps", "time_steps", "num_timesteps", "n_timesteps"}
NO_OUTPUT = "its outputs are no spikes, membranes or currents over time: return the record of a layer"
What = Literal["count", "membrane", "current"]


class ForwardFailed(SneError):
    """The network's own forward raised an error on a sample, for its shape perhaps."""


class Refused(SneError):
    """A refusal of a network on a sample of some form. `reached`: how often neurons had run before, -1 where its own
    forward failed: of several forms, the one that led furthest says most."""

    def __init__(self, message: str, hint: str, reached: int = -1) -> None:
        super().__init__(message, hint)
        self.reached = reached


@dataclass(frozen=True)
class Traced:
    """A network that was read. `witness`: its own forward and decoder on raw inputs, as it takes them, to logits
    [N, classes]; `timesteps`: of one inference; `softened`: a function of its outputs that keeps their order, but not
    their values, or ""."""

    graph: FloatGraph
    witness: Callable[[Tensor], Tensor]
    timesteps: int
    softened: str = ""


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
    check_framework(network)
    own = float_copy(network)
    wanted = _required(own)
    if len(wanted) == 1 and wanted[0].lower() in COUNTS:
        own.forward = functools.partial(own.forward, **{wanted[0]: timesteps})
    names = {module: name or type(module).__name__ for name, module in own.named_modules()}
    neurons = {module: name for module, name in names.items() if _is_neuron(module)}
    _check_neurons(neurons)
    follower = Follower(neurons)
    try:
        return _traced(own, neurons, follower, sample, timesteps, time_axis, decode)
    except SneError as error:
        calls = sum(map(len, follower.calls.values()))
        raise Refused(error.message, error.hint, -1 if isinstance(error, ForwardFailed) else calls) from None


def _traced(
    own: nn.Module,
    neurons: dict[nn.Module, str],
    follower: Follower,
    sample: Tensor,
    timesteps: int,
    time_axis: int | None,
    decode: FloatDecoder | None,
) -> Traced:
    """A copy of a network, read; what its neurons did is in the follower, however it ends."""
    pristine = copy.deepcopy(own)  # whose own modules, not only snnTorch's, are at rest
    with torch.no_grad(), instances(own):
        steps = _axis_length(sample, time_axis, timesteps)
        looping = _loops(pristine, sample)
        if steps == 1 and time_axis is not None and not looping:  # one timestep tells nothing: what it takes does
            looping = _calls(pristine, sample.select(time_axis, 0)) is None
        _rest(own)
        with follower:
            if looping:
                sample = sample.clone()  # which a forward may change in place
                follower.know(sample, Raster(time_axis) if time_axis is not None else input_of(sample))
                made = _run(own, sample)
                outputs = [follower.value(tensor) for tensor in tensors(made, steps)]
            else:
                calls = []
                for t in range(steps):
                    x = sample if time_axis is None else sample.select(time_axis, t)
                    x = x.clone()
                    follower.know(x, input_of(x, None if time_axis is None else t))
                    calls.append([follower.value(tensor) for tensor in tensors(_run(own, x))])
                outputs = [Record(values, 0) for values in zip(*calls, strict=True)]
    follower.check_calls(steps)
    _check_neurons(neurons)  # a forward may have set what none may have
    if follower.branches:
        warnings.warn(
            "the forward decides by what its neurons say, and is read as it goes for the first two samples: see that "
            "samples of all kinds agree",
            SneWarning,
            stacklevel=2,
        )
    try:
        index, output, decoder = _choose(outputs, decode, steps, _heard(follower.calls))
        graph = _graph(follower.calls, neurons, output, decoder)
    except ValueError as error:
        raise SneError(f"the network cannot be deployed: {error}", advice(str(error))) from None
    witness = _witness(pristine, index, output, decoder, looping, steps, time_axis)
    return Traced(graph, witness, steps, _softening(outputs[index]))


def _is_neuron(module: nn.Module) -> bool:
    """Whether it is a neuron of snnTorch, supported or not, or derived from one."""
    public = getattr(snn, type(module).__name__, None) is type(module)
    return hasattr(module, "mem_reset") or (public and type(module).__module__.startswith("snntorch._neurons"))


def _check_neurons(neurons: dict[nn.Module, str]) -> None:
    if not neurons:
        raise SneError(
            "the network has no spiking neurons that are known",
            f"{CAN_TEACH}; neurons written by hand in a forward are not read: take snntorch's (Leaky, ...), or give a "
            "NIR file",
        )
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
        check_neurons(name, module)


def _loops(network: nn.Module, sample: Tensor) -> bool:
    """Whether one forward runs more than one timestep."""
    return (_calls(network, sample) or 0) > 1  # or takes one timestep of the sample, and fails


def _calls(network: nn.Module, sample: Tensor) -> int | None:
    """How often neurons run in one forward, of a copy, at most; None where it fails."""
    network = copy.deepcopy(network)
    neurons = [module for module in network.modules() if _is_neuron(module)]
    calls = dict.fromkeys(neurons, 0)

    def count(module: nn.Module, *_: Any) -> None:
        calls[module] += 1

    for module in neurons:
        module.register_forward_hook(count)
    _rest(network)
    with instances(network):
        try:
            network(sample.clone())
        except Exception:
            return None
    return max(calls.values())


def _run(network: nn.Module, x: Tensor) -> Any:
    """What the network's own forward returns."""
    try:
        return network(x)
    except SneError:
        raise
    except Exception as error:  # a forward is anyone's code
        raise ForwardFailed(
            f"the network's forward failed on samples of shape {list(x.shape)}{_handed_on(network)}: {error}",
            _wanted(network)
            or "run it by itself first, on samples of that shape; neurons in nn.Sequential need init_hidden=True",
        ) from None


def _wanted(network: nn.Module) -> str:
    """What to do where a forward wants more than samples; "" where it does not."""
    names = _required(network)
    if not names:
        return ""
    return (
        f"its forward wants {', '.join(names)}, too: give defaults, None of states to start from, or wrap it in a "
        "module whose forward(x) runs all timesteps; neurons with init_hidden=True keep their states themselves"
    )


def _required(network: nn.Module) -> list[str]:
    """Arguments without a default that a forward has beside the samples."""
    others = list(inspect.signature(network.forward).parameters.values())[1:]
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in others if p.kind in kinds and p.default is p.empty]


def _handed_on(network: nn.Module) -> str:
    """In words, the first neurons in an `nn.Sequential` that give the next module more than their spikes."""
    for path, chain in network.named_modules():
        if isinstance(chain, nn.Sequential):
            for name, module in list(chain.named_children())[:-1]:
                if _is_neuron(module) and (
                    not getattr(module, "init_hidden", True) or getattr(module, "output", False)
                ):
                    where = f"{path}.{name}" if path else name
                    return f", where module {where}, {type(module).__name__}, hands its states on"
    return ""


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


def _graph(
    calls: dict[str, list[Sum]], neurons: dict[nn.Module, str], output: Record, decoder: FloatDecoder
) -> FloatGraph:
    """The populations and the decoded one last."""
    modules = {name: module for module, name in neurons.items()}
    made = [_population(name, modules[name], calls[name]) for name in calls if calls[name]]
    last = output.values[-1]
    if decoder.kind == "current":
        assert isinstance(last, Sum)
        timed = [of_now(value, t) for t, value in enumerate(output.values)]
        every = _steady("the output", timed)
        shape = terms.map_shape(every.shape)
        arriving, bias = terms.projections(every, shape)
        name = unused_name("readout", modules)
        made.append(FloatPopulation(name, shape, arriving, np.ones(()), None, bias, reset="none"))
    else:
        name = last.terms[0].source if isinstance(last, Sum) else last.population
    sums = [s for every in (*calls.values(), output.values) for s in every if isinstance(s, Sum)]
    taken = [t for s in sums for t in s.terms if t.source == INPUT]
    inputs, offsets = {t.origin for t in taken}, {t.offset for t in taken}
    check(len(inputs) == 1, f"the input is taken in {len(inputs)} shapes: {sorted(map(list, inputs))}")
    check(len(offsets) == 1, "the input is padded with one shift here, and taken with another one there")
    offset = terms.least(np.array(offsets.pop() or 0.0))
    return FloatGraph(terms.map_shape(inputs.pop()), ordered(_needed(made, name), name), decoder, offset)


def _population(name: str, module: Any, calls: Sequence[Sum]) -> FloatPopulation:
    arriving = _steady(name, calls)
    shape = terms.map_shape(arriving.shape)

    def values(array: Any) -> np.ndarray:
        """A parameter as torch lays it over the neurons."""
        return terms.to_channel_last(np.broadcast_to(numpy_of(array), arriving.shape))

    beta, gain, alpha, share = values(torch.as_tensor(module.beta).clamp(0, 1)), np.ones(()), None, None
    reset: Reset = ("subtract", "zero", "none")[int(module.reset_mechanism_val)]
    late = bool(getattr(module, "reset_delay", True)) and reset != "none"
    kind = type(module)
    if kind is snn.Lapicque:
        rate = numpy_of(module.time_step) / numpy_of(module.C)
        beta, gain = values(1 - rate / numpy_of(module.R)), values(rate)
    if kind in (snn.Synaptic, snn.Alpha, snn.RSynaptic):
        alpha = values(torch.as_tensor(module.alpha).clamp(0, 1))
    if kind is snn.Alpha:
        assert alpha is not None
        check(bool((alpha > beta).all() and (beta > 0).all()), f"{name}: alpha must be above beta, and beta above 0")
        share = terms.least(np.log(beta) / (np.log(beta) - np.log(alpha)))
    if reset == "subtract" and not late:
        reset = "doubled"  # snnTorch asks a membrane that stayed above its threshold for twice as much
    if kind is not snn.Leaky and late and reset == "zero":
        reset = "refractory"  # snnTorch zeroes these with the timestep's current
    check(kind is not snn.RSynaptic or late or reset == "none", f"{name}: snnTorch itself fails without reset_delay")
    if kind in (snn.RLeaky, snn.RSynaptic):
        arriving = terms.total([arriving, _recurrence(name, module.recurrent, arriving.shape)])
    projections, bias = terms.projections(arriving, shape, gain)
    return FloatPopulation(
        name, shape, projections, terms.least(beta), terms.least(values(module.threshold)), bias,
        None if alpha is None else terms.least(alpha), reset, late, share,
    )  # fmt: skip


def _recurrence(name: str, weights: nn.Module, shape: tuple[int, ...]) -> Sum:
    """What a population hears of itself, one timestep later."""
    own = terms.late(terms.source(name, shape), 1)
    if type(weights) is nn.Linear:
        return terms.linear(own, numpy_of(weights.weight), numpy_of(weights.bias, 0.0))
    if type(weights) is nn.Conv2d:
        padding = (int(weights.padding[0]), int(weights.padding[1]))
        return terms.convolution(own, numpy_of(weights.weight), numpy_of(weights.bias, 0.0), (1, 1), padding)
    factor = np.broadcast_to(numpy_of(weights.V), shape).reshape(shape[0], -1)
    check(bool((factor == factor[:, :1]).all()), f"{name}: recurrent weights by place")
    return terms.scale(own, factor[:, 0])


def _steady(name: str, calls: Sequence[Sum]) -> Sum:
    """What arrives at every timestep, the same at all; at first, what comes late is missing."""

    def prints(value: Sum) -> dict[Any, Any]:
        return {(t.delay, *terms.likeness(t)): t for t in value.terms}

    if not calls[-1].terms:
        raise SneError(f"what {name} takes cannot be deployed: it does not depend on the input", advice(""))
    last = prints(calls[-1])
    for time, call in enumerate(calls):
        want = {key for key in last if key[0] <= time}
        same_bias = np.array_equal(
            np.broadcast_to(call.bias, calls[-1].bias.shape or (1,)), np.atleast_1d(calls[-1].bias), equal_nan=True
        )
        if set(prints(call)) != want or not same_bias:
            raise SneError(
                f"{name} takes something else at timestep {time} than at the last", "do the same at every timestep"
            )
    if any(key[0] < 0 for key in last):
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


def _heard(calls: dict[str, list[Sum]]) -> set[str]:
    """Populations that another one hears in the same timestep: they are not the network's last."""
    return {t.source for name, sums in calls.items() for s in sums[-1:] for t in s.terms if not t.delay} - {INPUT}


def _choose(
    outputs: list[Any], decode: FloatDecoder | None, steps: int, heard: set[str]
) -> tuple[int, Record, FloatDecoder]:
    """The output that is decoded, and how: of the network's last neurons, or weights behind them, the first one."""
    kinds: list[tuple[int, Record, What | None, str]] = []  # the last: why it cannot be taken, or ""
    for index, made in enumerate(outputs):
        output = _hardened(made)
        if isinstance(output, Sum) and (spread := terms.spread(output, steps)):
            output = Record(tuple(terms.scale(step, np.full(1, steps)) for step in spread), -1, "mean")
        record = output if isinstance(output, Record) else Record((output,), -1)
        last = record.values[-1]
        kind: What | None = None
        every = list(range(steps)) if record.axis >= 0 or record.reduced else [steps - 1]
        why = ""
        if isinstance(last, State) and last.which == "mem":
            kind = "membrane"
            times = [state.time for state in record.values if isinstance(state, State)]
            why = "" if times == every else "membranes of some timesteps, not of all"
            if len({(state.population, state.which) for state in record.values if isinstance(state, State)}) > 1:
                why = "membranes of one layer in some timesteps and of another one in others"
        elif isinstance(last, Sum):
            only = last.terms[0]
            spikes = len(last.terms) == 1 and only.op is None and only.source != INPUT and not last.bias.any()
            kind = "count" if spikes and not only.pools and only.gain > 0 else "current"
            if record.axis < 0 and not record.reduced:
                why = "outputs of one timestep, or of some, not of all"
            elif not record.reduced and (
                len(record.values) != steps or (kind == "count" and [_moment(v) for v in record.values] != every)
            ):
                why = "outputs of some timesteps, not of all"
            elif kind == "count" and not all(map(_alike(last), record.values)):
                why = "spikes that are not the same in every timestep"
        elif isinstance(last, Unknown):
            why = last.why
        if kind is not None or why:
            kinds.append((index, record, kind, why))
    kinds = [made for made in kinds if _speaker(made[1]) not in heard] or kinds
    wanted = None if decode is None else ("count" if decode.kind == "first" else decode.kind)
    for index, record, kind, why in kinds:
        if kind is not None and not why and (wanted is None or kind == wanted):
            take: Literal["final", "mean", "highest"] = "mean" if record.axis >= 0 or record.reduced else "final"
            take = "highest" if record.reduced == "highest" else take
            made = decode or (FloatDecoder(kind, take) if kind == "membrane" else FloatDecoder(kind))
            fixed = not record.reduced or made.kind != "membrane" or made.take == take
            check(fixed, f"the forward returns the {take} of the membranes already")
            return index, record, made
    reasons = sorted((kind is not None, why) for _, _, kind, why in kinds if why)  # what is no output at all first
    raise ValueError(reasons[0][1] if reasons else NO_OUTPUT)


def _alike(last: Sum) -> Callable[[Any], bool]:
    """Whether spikes are those of the last timestep's neurons, weighted alike."""
    want = [terms.likeness(t) for t in last.terms]

    def alike(value: Any) -> bool:
        return isinstance(value, Sum) and [terms.likeness(t) for t in value.terms] == want and not np.any(value.bias)

    return alike


def _moment(value: Any) -> int | None:
    """The timestep whose spikes something is, as they came."""
    return value.terms[0].time if isinstance(value, Sum) and len(value.terms) == 1 else None


def _speaker(output: Record) -> str:
    """The population whose spikes or states an output is; "" of currents."""
    last = output.values[-1]
    if isinstance(last, Sum):
        return last.terms[0].source if len(last.terms) == 1 and last.terms[0].op is None else ""
    return last.population if isinstance(last, State) else ""


def _softening(made: Any) -> str:
    """The function that softened an output last, or ""."""
    every = made.values if isinstance(made, Record) else (made,)
    return next((value.function for value in every if isinstance(value, Softened)), "")


def _hardened(made: Any) -> Any:
    """What was softened last, for whose label that does not matter: averages of softened timesteps have others."""
    if isinstance(made, Softened):
        if isinstance(made.value, Record) and not made.value.reduced and len(made.value.values) > 1:
            return Unknown(made.of_each)
        return made.value
    if isinstance(made, Record) and any(isinstance(value, Softened) for value in made.values):
        if len(made.values) > 1:
            return Unknown(next(value.of_each for value in made.values if isinstance(value, Softened)))
        return replace(made, values=tuple(getattr(value, "value", value) for value in made.values))
    return made


def _witness(
    network: nn.Module, index: int, output: Record, decoder: FloatDecoder, looping: bool, steps: int, axis: int | None
) -> Callable[[Tensor], Tensor]:
    """The network's own forward, of a copy at rest for each batch, and the decoder on what it returns."""
    pristine = network

    def run(x: Tensor) -> Tensor:
        network = copy.deepcopy(pristine)
        _rest(network)
        with torch.no_grad(), instances(network):
            if looping:
                made = tensors(_run(network, x.float().clone()), steps)[index]
                record = made if output.axis < 0 or output.reduced else made.movedim(output.axis, 0)
            else:
                each = [x if axis is None else x.select(axis, t) for t in range(steps)]
                record = torch.stack([tensors(_run(network, part.float().clone()))[index] for part in each])
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
