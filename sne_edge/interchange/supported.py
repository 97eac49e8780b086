"""What is read of torch, snnTorch and NIR, found out by reading it.

In: nothing. Out: rows of a table, each made by giving a small network to the reader: what it takes, and with which
words it refuses the rest. `sne-edge supported` prints them; docs/SUPPORTED.md is that.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from ..errors import SneError
from .from_nir import Reading, graph_from_nir
from .graphs import DECODERS
from .trace import NEURONS, trace

STEPS = 3
FLAT, LINE, MAP = (6,), (2, 8), (2, 8, 8)  # shapes of a sample
RESETS = (("subtract", True), ("zero", True), ("none", True), ("subtract", False), ("zero", False))


@dataclass(frozen=True)
class Row:
    """One thing: `of` torch, snnTorch, NIR or a decoder; `refused`: the error's words where it is not read."""

    of: str
    what: str
    refused: str = ""


def _lif(**options: Any) -> nn.Module:
    made: nn.Module = snn.Leaky(init_hidden=True, **({"beta": 0.5} | options))
    return made


class _Forward(nn.Module):
    """Modules, and what a forward does with them."""

    def __init__(self, run: Callable[..., Tensor], *modules: nn.Module) -> None:
        super().__init__()
        self.run, self.parts = run, nn.ModuleList(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x, *self.parts)


def _after(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A layer right before neurons."""
    return lambda: nn.Sequential(make(), _lif())


def _behind(make: Callable[[], nn.Module], *rest: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A layer that takes the spikes of neurons."""
    return lambda: nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), _lif(), make(), *(r() for r in rest), _lif())


class _Own(snn.Leaky):  # type: ignore[misc]
    """A subclass of snnTorch's neurons."""


def _ending(end: Callable[..., Tensor]) -> Callable[[], nn.Module]:
    """A loop over time, and what becomes of its spikes and membranes."""

    def run(x: Tensor, layer: nn.Module, neurons: nn.Module, other: nn.Module) -> Tensor:
        membrane, spikes, membranes = None, [], []
        for _ in range(STEPS):
            spike, membrane = neurons(layer(x), membrane)
            spikes.append(spike)
            membranes.append(membrane)
        return end(torch.stack(spikes), torch.stack(membranes), other)

    return lambda: _Forward(run, nn.Linear(6, 6), snn.Leaky(beta=0.5), nn.Linear(6, 4))


def _repeated() -> nn.Module:
    """One sample for all timesteps, in one tensor."""
    return _Forward(
        lambda x, layer, neurons: torch.stack([neurons(now) for now in layer(x.expand(STEPS, *x.shape))]),
        nn.Linear(6, 6), _lif(),
    )  # fmt: skip


def _folded() -> nn.Module:
    """A layer of all timesteps at once, as if they were samples."""

    def run(x: Tensor, layer: nn.Module, neurons: nn.Module) -> Tensor:
        currents = layer(x.repeat(STEPS, 1, 1).flatten(0, 1)).unflatten(0, (STEPS, -1))
        return torch.stack([neurons(now) for now in currents])

    return _Forward(run, nn.Linear(6, 6), _lif())


def _adapting() -> nn.Module:
    """A threshold that grows while the network runs."""

    def run(x: Tensor, layer: nn.Module, neurons: Any) -> Tensor:
        spikes = []
        for t in range(STEPS):
            neurons.threshold = torch.tensor(1 + 0.1 * t)
            spikes.append(neurons(layer(x)))
        return torch.stack(spikes)

    return _Forward(run, nn.Linear(6, 6), _lif())


def _pruned() -> nn.Module:
    layer = nn.Linear(6, 6)
    prune.l1_unstructured(layer, "weight", amount=0.5)  # type: ignore[no-untyped-call]
    return nn.Sequential(layer, _lif())


def _compiled() -> nn.Module:
    made: Any = torch.compile(nn.Sequential(nn.Linear(6, 6), _lif()))
    return made  # type: ignore[no-any-return]


def _hooked() -> nn.Module:
    neurons = _lif()
    neurons.register_forward_hook(lambda module, given, made: made)
    return nn.Sequential(nn.Linear(6, 6), neurons)


LAYERS: dict[str, tuple[tuple[int, ...], Callable[[], nn.Module]]] = {
    "Linear": (FLAT, _after(lambda: nn.Linear(6, 6))),
    "Linear on Linear, without neurons between": (
        FLAT,
        lambda: nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), _lif()),
    ),
    "Bilinear": (FLAT, lambda: _Forward(lambda x, a, b: b(a(x, x)), nn.Bilinear(6, 6, 6), _lif())),
    "Conv1d": (LINE, _after(lambda: nn.Conv1d(2, 4, 3))),
    "Conv2d": (MAP, _after(lambda: nn.Conv2d(2, 4, 3))),
    "Conv2d, stride and padding": (MAP, _after(lambda: nn.Conv2d(2, 4, 3, stride=2, padding=1))),
    "Conv2d, padding 'same', odd kernel": (MAP, _after(lambda: nn.Conv2d(2, 4, 3, padding="same"))),
    "Conv2d, padding 'same', even kernel": (MAP, _after(lambda: nn.Conv2d(2, 4, 4, padding="same"))),
    "Conv2d, circular padding": (MAP, _after(lambda: nn.Conv2d(2, 4, 3, padding=1, padding_mode="circular"))),
    "Conv2d, dilation": (MAP, _after(lambda: nn.Conv2d(2, 4, 3, dilation=2))),
    "Conv2d, groups": (MAP, _after(lambda: nn.Conv2d(2, 4, 3, groups=2))),
    "Conv3d": ((2, 4, 8, 8), _after(lambda: nn.Conv3d(2, 4, 3))),
    "ConvTranspose2d": (MAP, _after(lambda: nn.ConvTranspose2d(2, 4, 3))),
    "AvgPool2d of currents": (MAP, _after(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.AvgPool2d(2)))),
    "MaxPool2d of currents": (MAP, _after(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2)))),
    "AvgPool2d of spikes": (MAP, _behind(lambda: nn.AvgPool2d(2), lambda: nn.Conv2d(2, 4, 3))),
    "MaxPool2d of spikes": (MAP, _behind(lambda: nn.MaxPool2d(2), lambda: nn.Conv2d(2, 4, 3))),
    "MaxPool2d, ceil_mode": (MAP, _behind(lambda: nn.MaxPool2d(3, ceil_mode=True), lambda: nn.Conv2d(2, 4, 2))),
    "AdaptiveAvgPool2d, whole windows": (MAP, _behind(lambda: nn.AdaptiveAvgPool2d(4), lambda: nn.Conv2d(2, 4, 3))),
    "AdaptiveAvgPool2d, other windows": (MAP, _behind(lambda: nn.AdaptiveAvgPool2d(3), lambda: nn.Conv2d(2, 4, 2))),
    "LPPool2d": (MAP, _behind(lambda: nn.LPPool2d(2, 2), lambda: nn.Conv2d(2, 4, 3))),
    "BatchNorm2d": (MAP, _after(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)))),
    "BatchNorm2d without statistics": (
        MAP,
        _after(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4, track_running_stats=False))),
    ),
    "LayerNorm": (FLAT, _after(lambda: nn.Sequential(nn.Linear(6, 6), nn.LayerNorm(6)))),
    "GroupNorm": (MAP, _after(lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)))),
    "Flatten": (MAP, _behind(nn.Flatten, lambda: nn.Linear(128, 6))),
    "Dropout": (FLAT, _after(lambda: nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5)))),
    "sums of spikes or currents": (
        FLAT,
        lambda: _Forward(lambda x, a, b, c: c(a(s := b(a(x))) + s), nn.Linear(6, 6), _lif(), _lif()),
    ),
    "concatenated channels, then weights": (
        FLAT,
        lambda: _Forward(
            lambda x, a, b, c, d, e: e(d(torch.cat([b(a(x)), c(a(x))], 1))),
            nn.Linear(6, 6), _lif(), _lif(), nn.Linear(12, 6), _lif(),
        ),
    ),
    "a constant added, a factor": (
        FLAT, lambda: _Forward(lambda x, a, b: b(a(x) * 0.5 + 0.1), nn.Linear(6, 6), _lif())
    ),
    "product of two tensors": (FLAT, lambda: _Forward(lambda x, a, b: b(a(x) * a(x)), nn.Linear(6, 6), _lif())),
    "ReLU": (FLAT, _after(lambda: nn.Sequential(nn.Linear(6, 6), nn.ReLU()))),
    "Sigmoid": (FLAT, _after(lambda: nn.Sequential(nn.Linear(6, 6), nn.Sigmoid()))),
    "Softmax": (FLAT, _after(lambda: nn.Sequential(nn.Linear(6, 6), nn.Softmax(1)))),
    "attention": (
        LINE,
        lambda: _Forward(lambda x, a, b: b(a(x, x, x)[0].flatten(1)), nn.MultiheadAttention(8, 2), _lif()),
    ),
    "a network in float64": (FLAT, lambda: nn.Sequential(nn.Linear(6, 6), _lif()).double()),
    "a network in half precision": (FLAT, lambda: nn.Sequential(nn.Linear(6, 6), _lif()).half()),
    "a network in bfloat16": (FLAT, lambda: nn.Sequential(nn.Linear(6, 6), _lif()).bfloat16()),
    "pruned weights": (FLAT, _pruned),
    "parametrised weights": (FLAT, _after(lambda: parametrizations.weight_norm(nn.Linear(6, 6)))),
    "torch.compile": (FLAT, _compiled),
    "hooks on neurons": (FLAT, _hooked),
    "a neuron module used twice": (
        FLAT, lambda: _Forward(lambda x, a, b: b(a(b(a(x)))), nn.Linear(6, 6), _lif())
    ),
    "a sample repeated over time": (FLAT, _repeated),
    "layers of time and samples along one axis": (FLAT, _folded),
    "votes of a population (rows summed)": (FLAT, _ending(lambda s, m, fc: s.sum(0).view(-1, 3, 2).sum(2))),
    "settings of neurons that change in the loop": (FLAT, _adapting),
    "outputs added up or averaged over time": (FLAT, _ending(lambda s, m, fc: s[0] + s[1] + s[2])),
    "the last, mean or highest membrane": (FLAT, _ending(lambda s, m, fc: m.amax(0))),
    "a layer on spike counts or rates": (FLAT, _ending(lambda s, m, fc: fc(s.mean(0)))),
    "softmax as the last thing": (FLAT, _ending(lambda s, m, fc: torch.softmax(s.sum(0), 1))),
    "outputs of some timesteps only": (FLAT, _ending(lambda s, m, fc: s[1:].sum(0))),
    "no neurons": (FLAT, lambda: nn.Sequential(nn.Linear(6, 6))),
}  # fmt: skip

OPTIONS: dict[str, Callable[[], nn.Module]] = {
    "beta by neuron, learnt": lambda: _lif(beta=torch.rand(6), learn_beta=True),
    "threshold by neuron, learnt": lambda: _lif(threshold=torch.rand(6) + 0.5, learn_threshold=True),
    "states handed on by the forward (init_hidden=False)": lambda: snn.Leaky(beta=0.5),
    "inhibition": lambda: _lif(inhibition=True),
    "graded_spikes_factor": lambda: _lif(graded_spikes_factor=2.0),
    "state_quant": lambda: _lif(state_quant=torch.round),
    "spike_grad that is no step": lambda: _lif(spike_grad=torch.sigmoid),
    "a subclass": lambda: _Own(beta=0.5, init_hidden=True),
}


def rows() -> list[Row]:
    """All rows, in order. Nothing random; takes a few seconds."""
    others = list(snn.SpikingNeuron.instances)  # which `snntorch.utils.reset` goes through
    with torch.random.fork_rng([]), warnings.catch_warnings():
        torch.manual_seed(0)
        warnings.simplefilter("ignore")
        found = [Row("torch", name, _torch(make, shape)) for name, (shape, make) in LAYERS.items()]
        found += _neurons()
        found += [Row("snnTorch", f"Leaky, {name}", _torch(_wrapped(make), FLAT)) for name, make in OPTIONS.items()]
        found += _nodes()
    snn.SpikingNeuron.instances[:] = others
    return found + [Row("decoder", name) for name in DECODERS]


def _wrapped(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    def network() -> nn.Module:
        neurons = make()
        if getattr(neurons, "init_hidden", True):
            return nn.Sequential(nn.Linear(6, 6), neurons)
        return _Explicit(neurons)

    return network


class _Explicit(nn.Module):
    """States that the forward hands on, in a loop over time."""

    def __init__(self, neurons: nn.Module) -> None:
        super().__init__()
        self.fc, self.neurons = nn.Linear(6, 6), neurons

    def forward(self, x: Tensor) -> Tensor:
        mem, record = self.neurons.reset_mem(), []  # type: ignore[operator]
        for _ in range(STEPS):
            spikes, mem = self.neurons(self.fc(x), mem)
            record.append(spikes)
        return torch.stack(record)


def _torch(make: Callable[[], nn.Module], shape: tuple[int, ...]) -> str:
    try:
        network = make()
    except Exception as error:  # the framework itself refuses it
        return f"snnTorch itself: {str(error).splitlines()[0]}"
    try:
        trace(network, torch.rand(2, *shape), STEPS)
    except SneError as error:
        return _words(error)
    return ""


def _words(error: SneError) -> str:
    """An error and what to do; not the list of what is supported, which is this table."""
    hint = error.hint or ""
    return str(error) if hint.startswith("supported") else f"{error}: {hint}"


def _neurons() -> list[Row]:
    """Every neuron of snnTorch, with every reset that it takes."""
    found = []
    for name in sorted(n for n in dir(snn) if isinstance(getattr(snn, n), type)):
        kind = getattr(snn, name)
        if not issubclass(kind, nn.Module) or name in ("SpikingNeuron", "LIF", "GradedSpikes"):
            continue
        if kind not in NEURONS:
            found.append(Row("snnTorch", name, _torch(_instance(kind), FLAT)))
            continue
        for reset, late in RESETS:
            if not late and kind in (snn.Alpha, snn.Lapicque):
                continue  # they always reset late
            made = _instance(kind, reset_mechanism=reset, **({} if late else {"reset_delay": False}))
            when = "" if reset == "none" else ", late" if late else ", at once"
            found.append(Row("snnTorch", f"{name}, reset {reset}{when}", _torch(made, FLAT)))
    return found


def _instance(kind: Any, **options: Any) -> Callable[[], nn.Module]:
    needs = {"Alpha": {"alpha": 0.9, "beta": 0.5}, "Synaptic": {"alpha": 0.5, "beta": 0.5}}
    recurrent = {"linear_features": 6, "beta": 0.5}
    needs |= {
        "RLeaky": recurrent,
        "RSynaptic": recurrent | {"alpha": 0.5},
        "SLSTM": {"input_size": 6, "hidden_size": 6},
    }
    needs |= {"SConv2dLSTM": {"in_channels": 2, "out_channels": 2, "kernel_size": 3}}
    needs |= {"AssociativeLeaky": {"in_dim": 6, "d_value": 2, "d_key": 2, "num_spiking_neurons": 4}}
    needs |= {"LinearLeaky": {"beta": 0.5, "in_features": 6, "out_features": 6}}
    needs |= {"LeakyParallel": {"input_size": 6, "hidden_size": 6}, "StateLeaky": {"beta": 0.5, "channels": 6}}
    given = needs.get(kind.__name__, {"beta": 0.5})
    hidden = {} if kind not in NEURONS else {"init_hidden": True}
    return lambda: nn.Sequential(nn.Linear(6, 6), kind(**given, **hidden, **options))


def _nodes() -> list[Row]:
    """Every node of NIR."""
    import nir

    ones = np.ones(6)
    lif = {"tau": ones * 1e-3, "r": ones, "v_leak": ones * 0, "v_threshold": ones}
    cuba = {"tau_syn": ones * 1e-3, "tau_mem": ones * 1e-3, "r": ones, "v_leak": ones * 0}
    conv = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    made: dict[str, Callable[[], list[Any]]] = {
        "Affine": lambda: [nir.Affine(np.ones((6, 6)), ones), nir.LIF(**lif)],
        "Linear": lambda: [nir.Linear(np.ones((6, 6))), nir.LIF(**lif)],
        "Scale": lambda: [nir.Scale(ones), nir.Linear(np.ones((6, 6))), nir.LIF(**lif)],
        "IF": lambda: [nir.Linear(np.ones((6, 6))), nir.IF(ones, ones)],
        "LIF": lambda: [nir.Linear(np.ones((6, 6))), nir.LIF(**lif)],
        "LI": lambda: [nir.Linear(np.ones((6, 6))), nir.LI(ones * 1e-3, ones, ones * 0)],
        "CubaLIF": lambda: [nir.Linear(np.ones((6, 6))), nir.CubaLIF(**cuba, v_threshold=ones)],
        "CubaLI": lambda: [nir.Linear(np.ones((6, 6))), nir.CubaLI(**cuba)],
        "I": lambda: [nir.Linear(np.ones((6, 6))), nir.I(ones)],
        "Threshold": lambda: [nir.Linear(np.ones((6, 6))), nir.Threshold(ones)],
        "Delay": lambda: [nir.Linear(np.ones((6, 6))), nir.LIF(**lif), nir.Delay(ones * 2e-4),
                          nir.Linear(np.ones((6, 6))), nir.LIF(**lif)],
    }  # fmt: skip

    def maps(node: Any, shape: tuple[int, ...], out: tuple[int, ...]) -> list[Any]:
        return [node, nir.IF(np.ones(out), np.ones(out))]

    shaped: dict[str, tuple[tuple[int, ...], Callable[[], list[Any]]]] = {
        "Conv1d": (LINE, lambda: maps(
            nir.Conv1d(input_shape=8, weight=np.ones((2, 2, 3)), bias=np.zeros(2), **conv), LINE, (2, 6))),
        "Conv2d": (MAP, lambda: maps(
            nir.Conv2d(input_shape=(8, 8), weight=np.ones((2, 2, 3, 3)), bias=np.zeros(2),
                       stride=1, padding=0, dilation=1, groups=1), MAP, (2, 6, 6))),
        "AvgPool2d": (MAP, lambda: maps(_pool(nir.AvgPool2d), MAP, (2, 4, 4))),
        "SumPool2d": (MAP, lambda: maps(_pool(nir.SumPool2d), MAP, (2, 4, 4))),
        "Flatten": (MAP, lambda: [
            nir.Flatten({"input": np.array(MAP)}, start_dim=0, end_dim=-1), nir.Linear(np.ones((6, 128))),
            nir.IF(ones, ones)]),
    }  # fmt: skip
    cases = {name: (FLAT, nodes) for name, nodes in made.items()} | shaped
    rest = [
        n
        for n in sorted(dir(nir))
        if isinstance(getattr(nir, n), type) and issubclass(getattr(nir, n), nir.NIRNode) and n not in cases
    ]
    found = [Row("NIR", name, _nir(shape, nodes)) for name, (shape, nodes) in sorted(cases.items())]
    passed = ("Input", "NIRGraph", "NIRNode", "Output")
    found += [Row("NIR", "nested and recurrent graphs")]
    return found + [Row("NIR", name, "no such node can be deployed") for name in rest if name not in passed]


def _pool(kind: Any) -> Any:
    return kind(np.array([2, 2]), np.array([2, 2]), np.array([0, 0]))


def _nir(shape: tuple[int, ...], nodes: Callable[[], list[Any]]) -> str:
    import nir

    inner = {str(n): node for n, node in enumerate(nodes())}
    names = ["input", *inner, "output"]
    ends = {"input": nir.Input({"input": np.array(shape)}), "output": nir.Output({"output": np.array([6])})}
    graph = nir.NIRGraph(inner | ends, list(pairwise(names)), type_check=False)
    try:
        graph_from_nir(graph, Reading(dt=1e-4))
    except SneError as error:
        return _words(error)
    return ""


def markdown(found: list[Row]) -> str:
    """The rows as a page."""
    lines = [
        "# What is read, and what is refused",
        "",
        "Printed by `sne-edge supported`, which gives a small network to the reader for each row: the words in the",
        "last column are the reader's own. [Networks of your own](NETWORKS.md) says how to use it.",
    ]
    titles = {"torch": "torch", "snnTorch": f"snnTorch {snn.__version__}", "NIR": "NIR", "decoder": "Decoders"}
    for of, title in titles.items():
        lines += ["", f"## {title}", "", "| | | |", "|---|---|---|"]
        for row in found:
            if row.of == of:
                words = row.refused.replace("\n", " ").replace("|", "\\|")
                lines.append(f"| {row.what} | {'refused' if row.refused else 'read'} | {words} |")
    return "\n".join(lines) + "\n"
