"""What a torch network really is: a copy of it to read and to run, and the modules in it.

In: anyone's `nn.Sequential`, on any device, of any floating-point type. Out: a copy in float32 on the CPU, in
evaluation, at rest, its parametrisations and pruning masks made permanent; and its modules in order. A module is read
only if its code is that of the class it is read as: subclasses, hooks and replaced methods compute something else, and
are refused by name.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import nn
from torch.nn.utils import parametrize, prune
from torch.nn.utils.spectral_norm import SpectralNorm, remove_spectral_norm
from torch.nn.utils.weight_norm import WeightNorm, remove_weight_norm

from ..errors import SneError
from ..learn.neurons import LIF
from ..quantize.chain import SUPPORTED

IDLE = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Identity)  # what does nothing in evaluation
NEURONS = (snn.Leaky, LIF)
WEIGHTS = (nn.Conv1d, nn.Conv2d, nn.Linear)
POOLS = (nn.AvgPool1d, nn.AvgPool2d, nn.MaxPool1d, nn.MaxPool2d)
READ = (*WEIGHTS, *NEURONS, *POOLS, nn.BatchNorm1d, nn.BatchNorm2d, nn.Flatten)

CAN_TEACH = "a network that does not spike can teach students: `sne-edge train --teacher`"

EXPORTERS = {  # how networks of other frameworks come in: by what they write themselves
    "norse": "norse.torch.to_nir(network, sample); NirReading(dt=1e-6), Norse's dt of 1e-3 times itself",
    "sinabs": "sinabs.nir.to_nir(network, sample), of layers ...Squeeze; NirReading(dt=1.0, reset='subtract')",
    "spikingjelly": "spikingjelly.activation_based.nir_exchange.export_to_nir(network, sample, dt=1e-4); "
    "NirReading(dt=1e-4)",
}


def check_framework(network: nn.Module) -> None:
    """Raise `SneError` for a network with modules of a framework whose own exporter is the way in."""
    for module in network.modules():
        framework = type(module).__module__.partition(".")[0]
        if framework in EXPORTERS:
            raise SneError(
                f"the network is one of {framework}, whose {type(module).__name__} is not followed",
                f"give quantize_nir what its own exporter makes: {EXPORTERS[framework]}",
            )


def becomes_chain(network: nn.Module, encoder: str | None) -> bool:
    """Whether a network is deployed as a chain of layers, and not as a graph: a plain chain, unless its input is one of
    frames, which chains do not take."""
    return encoder != "frames" and is_plain_chain(network)


def is_plain_chain(network: nn.Module) -> bool:
    """Whether a network is an `nn.Sequential` of layers that a chain of the representation can be, a `Linear` last.
    Everything else is read by following it (`trace`), which reads more. Raises `SneError` for what has to come by its
    framework's own exporter."""
    check_framework(network)
    network = uncompiled(network)
    if not _is_chain(network) or any(tensor.is_meta for tensor in network.state_dict().values()):
        return False
    return _makes_chain([m for m in _leaves(network) if type(m) not in IDLE])


def _leaves(network: nn.Module) -> Iterator[nn.Module]:
    """All modules in order that are no chains themselves, one that is used twice twice."""
    if _is_chain(network):
        for module in network._modules.values():
            if module is not None:
                yield from _leaves(module)
    else:
        yield network


def _makes_chain(flat: Sequence[nn.Module]) -> bool:
    """Whether modules in order are weights, perhaps a batch norm, neurons, and poolings of spikes, over and over, and a
    `Linear` last, all with the settings that `quantize.chain` has; what is wrong with any other is said where it is
    followed."""
    if not flat or not isinstance(flat[-1], nn.Linear):
        return False
    if any(parametrize.type_before_parametrizations(module) not in READ for module in flat):
        return False
    waiting: nn.Module | None = None  # weights without neurons yet
    normed = spiked = False
    for module in flat[:-1]:
        if isinstance(module, WEIGHTS):
            if waiting is not None or not _is_plain(module, spiked):
                return False
            waiting, normed = module, False
        elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            if waiting is None or normed or module.running_mean is None:
                return False
            normed = True
        elif isinstance(module, NEURONS):
            if waiting is None or not _fires_as_chains_do(module, waiting):
                return False
            waiting, spiked = None, True
        elif isinstance(module, POOLS):
            if waiting is not None or not spiked:
                return False
        elif not isinstance(module, nn.Flatten) or waiting is not None or (module.start_dim, module.end_dim) != (1, -1):
            return False
    return waiting is None


def _is_plain(weights: Any, spiked: bool) -> bool:
    """Whether a convolution has no dilation, zeros around it and one group, or on spikes a group for each channel."""
    if isinstance(weights, nn.Linear):
        return True
    single = weights.groups == 1 or (spiked and weights.groups == weights.in_channels == weights.out_channels)
    return single and all(d == 1 for d in weights.dilation) and weights.padding_mode == "zeros"


def _fires_as_chains_do(neurons: Any, weights: Any) -> bool:
    """Whether neurons have one beta, a reset that chains have, and a threshold for all or for each channel."""
    channels = weights.out_features if isinstance(weights, nn.Linear) else weights.out_channels
    shape = (channels, *[1] * (0 if isinstance(weights, nn.Linear) else weights.weight.dim() - 2))
    late = bool(getattr(neurons, "reset_delay", False))
    return (
        neurons.reset_mechanism in ("subtract", "zero")
        and not (late and neurons.reset_mechanism == "zero")
        and len(np.unique(neurons.beta.detach().double().clamp(0, 1).cpu().numpy())) == 1
        and (neurons.threshold.numel() == 1 or tuple(neurons.threshold.shape) == shape)
    )


def permanent_copy(network: nn.Module) -> nn.Sequential:
    """A copy of the network that computes the same by its modules alone, each `snn.Leaky` keeping its membranes.

    The network itself is left as it is. Raises `SneError` where it is no chain, or cannot be copied.
    """
    network = uncompiled(network)
    if not _is_chain(network):
        raise SneError(
            f"the network is a {type(network).__name__}, not nn.Sequential, or has a forward of its own",
            "chain its layers in nn.Sequential",
        )
    made = float_copy(network)
    try:
        for module in list(made.modules()):
            _make_permanent(module)
            if type(module) in NEURONS:
                module.mem = torch.zeros(0)
                module.init_hidden, module.output = True, False  # type: ignore[assignment]
    except SneError:
        raise
    except Exception as error:  # parametrisations are anyone's code
        raise _no_copy(error) from error
    assert isinstance(made, nn.Sequential)
    return made


def uncompiled(network: nn.Module) -> nn.Module:
    """The module that `torch.compile` was given, or the network itself."""
    while type(network).__module__ == "torch._dynamo.eval_frame":
        network = network._modules["_orig_mod"]  # type: ignore[assignment]
    return network


def float_copy(network: nn.Module) -> nn.Module:
    """A copy in float32 on the CPU, in evaluation, nothing of it compiled; the network itself is left as it is.

    Raises `SneError` where it cannot be copied.
    """
    held = {}
    for module in network.modules():  # tensors on a graph can't be copied: membranes, masked or normalised weights
        for tensor in (*vars(module).values(), *module._buffers.values()):
            if isinstance(tensor, torch.Tensor) and not tensor.is_leaf:
                held[id(tensor)] = tensor.detach().clone()
    try:
        made = copy.deepcopy(uncompiled(network), held).to("cpu", torch.float32).eval()
    except Exception as error:  # a network is anyone's code
        raise _no_copy(error) from error
    for module in list(made.modules()):
        module._compiled_call_impl = None
        for name, child in module.named_children():
            module._modules[name] = uncompiled(child)
    return made


def _no_copy(error: Exception) -> SneError:
    return SneError(
        f"the network cannot be copied to float32 on the CPU: {error}",
        "give it with its weights, as plain modules: network.float().cpu()",
    )


def modules(network: nn.Sequential) -> list[nn.Module]:
    """The modules of a copy in the order in which they run, without what does nothing in evaluation.

    Raises `SneError` for one that is not what its class says, and for neurons that are used twice.
    """
    found: list[nn.Module] = []
    spikes = any(isinstance(module, NEURONS) for module in network.modules())
    for name, module in _chained(network, ""):
        if type(module) in IDLE:
            continue
        if type(module) not in READ:
            hint = f"supported: {SUPPORTED}, each of that very class"
            raise SneError(f"{name} cannot be deployed", hint if spikes else f"{CAN_TEACH}; {hint}")
        if type(module) in NEURONS:
            if any(module is other for other in found):
                raise SneError(
                    f"{name} is used twice, so that two layers share their membranes", "give each layer its own"
                )
            check_neurons(name, module)
        found.append(module)
    return found


def _is_chain(module: nn.Module) -> bool:
    """Whether it runs its children in order: `nn.Sequential`, or a subclass that adds no code to that."""
    kind = type(module)
    return isinstance(module, nn.Sequential) and all(
        getattr(kind, method) is getattr(nn.Sequential, method) for method in ("forward", "__call__", "__iter__")
    )


def _chained(network: nn.Module, path: str) -> Iterator[tuple[str, nn.Module]]:
    """Name and module of all that is not a chain itself; everything is looked at for hooks."""
    name = f"module {path or 'of the network'}, {type(network).__name__}"
    if network._forward_hooks or network._forward_pre_hooks:
        raise SneError(f"{name} has forward hooks", "remove them: handle.remove()")
    _check_methods(name, network)
    if _is_chain(network):
        for key, module in network._modules.items():
            if module is not None:
                yield from _chained(module, f"{path}.{key}" if path else key)
    elif isinstance(network, nn.Sequential):
        raise SneError(f"{name} has a forward of its own", "chain its layers in nn.Sequential")
    else:
        yield name, network


def _make_permanent(module: nn.Module) -> None:
    """What computes a module's tensors before each use, used once and taken away."""
    if parametrize.is_parametrized(module):  # `remove_parametrizations` would change the class that the original has
        names = list(module.parametrizations)  # type: ignore[arg-type]
        values = {name: getattr(module, name).detach() for name in names}
        kind = parametrize.type_before_parametrizations(module)
        del module._modules["parametrizations"]
        module.__class__ = kind
        for name, value in values.items():
            module.register_parameter(name, nn.Parameter(value))
    for hook in list(module._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(module, hook._tensor_name)  # type: ignore[no-untyped-call]
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(module, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(module, hook.name)


def _check_methods(name: str, module: nn.Module) -> None:
    """Raise `SneError` where a method of the class was replaced in this one module."""
    replaced = [key for key in vars(module) if callable(getattr(type(module), key, None))]
    if replaced:
        raise SneError(f"{name} has a {replaced[0]} of its own", "give modules as their classes are")


def _check_step(name: str, neurons: nn.Module) -> None:
    """Raise `SneError` where neurons do not fire at strictly more than the threshold: their surrogate decides."""
    try:
        probe = torch.tensor([-2.0, -1e-3, 0.0, 1e-3, 2.0])
        fires = neurons.spike_grad(probe).detach().tolist() == [0, 0, 0, 1, 1]  # type: ignore[operator]
    except Exception:  # anyone's code
        fires = False
    if not fires:
        raise SneError(f"{name} has a spike_grad that is no step from 0 to 1", "use a surrogate of snntorch.surrogate")


def check_neurons(name: str, neurons: nn.Module) -> None:
    """Raise `SneError` where neurons do not fire at strictly more than the threshold, or do not fire or reset as they
    say: all of it may be changed after a neuron of snnTorch is made, a reset by loading a checkpoint, too."""
    _check_methods(name, neurons)
    _check_step(name, neurons)
    if not hasattr(neurons, "state_function"):
        return
    mechanism = neurons.reset_mechanism
    known = {"subtract": (0, "_base_sub"), "zero": (1, "_base_zero"), "none": (2, "_base_int")}
    value, method = known.get(str(mechanism), (-1, ""))
    does = getattr(neurons.state_function, "__name__", "")
    if int(neurons.reset_mechanism_val) != value or does != method:  # type: ignore[arg-type]
        raise SneError(
            f"{name} says reset_mechanism {mechanism!r}, but was made with another, or its checkpoint was",
            f"make it anew: snn.{type(neurons).__name__}(..., reset_mechanism=...)",
        )
