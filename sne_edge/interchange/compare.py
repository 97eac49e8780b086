"""What became of a network: its float graph and the integers made of it, population by population, on real samples.

In: the network (torch, NIR, or a float graph), the model that was made of it, and samples as the network takes them.
Out: spike rates and where they part, what rounding did to weights, thresholds and leaks, and membranes at their clamp.
Where `quantize` says in how far labels agree, this says why they do not.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..check.reference import run_student
from ..errors import SneError
from ..ir.chain import as_graph, current_shift
from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import INPUT, Graph, Leak, Population, Projection, grid
from ..ir.layers import SynapticLayer
from ..ir.schedule import decide
from ..learn.graph import FloatGraph, FloatPopulation
from ..quantize.calibrate import check_labels
from ..quantize.graph import float_projection, grid_of
from .from_nir import Reading, read_nir
from .graphs import as_maps, followed
from .judge import array_of, known_labels
from .witness import correlation

BATCH = 16
DRAWN = 64  # neurons of a population in a picture


@dataclass(frozen=True)
class PopulationComparison:
    """One population, in the network and in integers.

    name, neurons
    float_rate, integer_rate   spikes per neuron and timestep; None where it never spikes
    first_difference           the first timestep, of any sample, at which a spike differs; None where none does
    differing                  of all spikes of either, the share that only one of them has
    weight_error               root mean square of the weights' roundings over that of the weights; None without weights
    threshold_error, leak_error   largest: of a threshold relative to it, of a leak's factor as it is
    saturated                  share of the membranes, over samples and timesteps, that lie at their clamp
    """

    name: str
    neurons: int
    float_rate: float | None
    integer_rate: float | None
    first_difference: int | None
    differing: float | None
    weight_error: float | None
    threshold_error: float | None
    leak_error: float
    saturated: float


@dataclass(frozen=True)
class NetworkComparison:
    """A network and its integers on N samples.

    agreement     share of the samples that both label alike, 0..1
    accuracy      of the network, 0..1, `integers`: of the integers; None without labels
    correlation   of their logits, the samples' means left out; 0 where one is constant
    input_error   root mean square of what int8 makes of the samples' values, over that of the values; 0 of spikes
    populations   in the order in which they run
    rasters       of the first sample: by population that spikes, the network's spikes and the integers', bool
                  [timesteps, neurons], at most 64 neurons, those that spike most
    """

    samples: int
    timesteps: int
    agreement: float
    accuracy: float | None
    integers: float | None
    correlation: float
    input_error: float
    populations: tuple[PopulationComparison, ...]
    rasters: dict[str, tuple[np.ndarray, np.ndarray]] = field(repr=False)

    def record(self) -> dict[str, Any]:
        """As JSON, without the rasters."""
        return {key: value for key, value in asdict(self).items() if key != "rasters"}


def compare_network(
    network: nn.Module, model: QuantEnsemble, samples: Any, *, labels: Any = None, decode: str | None = None
) -> NetworkComparison:
    """A network of torch and snnTorch against the model that `quantize_network` made of it.

    samples  as the network takes them, [N, ...]; of rasters and frames [N, timesteps, ...]
    labels   int [N], for accuracies
    decode   as it was given to `quantize_network`

    Raises `SneError` where the network cannot be read, or the model is not of its form.
    """
    given, encoder = array_of(samples), model.encoder
    graph = followed(network, given, encoder.kind, encoder.timesteps, decode)
    return compare_graph(graph, model, _maps(given, graph, encoder), labels=labels)


def compare_nir(
    file: Path | str, model: QuantEnsemble, samples: Any, *, labels: Any = None, reading: Reading | None = None
) -> NetworkComparison:
    """The network of a NIR file, its equations in double precision, against the model that `quantize_nir` made of it;
    samples in NIR's order, channels first. Otherwise as `compare_network`."""
    graph = read_nir(file, reading or Reading())
    return compare_graph(graph, model, _maps(array_of(samples), graph, model.encoder), labels=labels)


def _maps(samples: np.ndarray, graph: FloatGraph, encoder: Encoder) -> np.ndarray:
    return as_maps(samples, graph.input_shape, encoder.kind in ("events", "frames"))


def compare_graph(
    graph: FloatGraph, model: QuantEnsemble, samples: np.ndarray, *, labels: Any = None
) -> NetworkComparison:
    """A float graph against the model that was made of it; samples [N, (timesteps,) height, width, channels], real
    values or spikes. Otherwise as `compare_network`."""
    check_labels(model)
    pairs = _matched(graph, model)
    samples = samples.reshape(*samples.shape[:-3], *model.encoder.shape)
    inputs = model.encoder.encode(samples)
    known = known_labels(labels, len(samples), len(model.classes))
    seen = [_Seen(p.name, integer) for p, integer in pairs]
    logits, expected = [], []
    for start in range(0, len(samples), BATCH):
        rows = slice(start, start + BATCH)
        made = _run_integers(model, inputs[rows], seen)
        given = _float_samples(model.encoder, samples[rows], inputs[rows])
        trace = graph.simulate(given.reshape(*given.shape[:-3], *graph.input_shape))
        for each in seen:
            each.meet(trace.spikes[each.name].flatten(2).numpy() > 0, first=start == 0)
        logits.append(made)
        expected.append(trace.logits.numpy())
    own, label = np.concatenate(expected).argmax(axis=1), decide(np.concatenate(logits))[0]
    errors = [_rounded(graph, model, p, integer) for p, integer in pairs]
    return NetworkComparison(
        samples=len(samples),
        timesteps=model.encoder.timesteps,
        agreement=float((own == label).mean()),
        accuracy=None if known is None else float((own == known).mean()),
        integers=None if known is None else float((label == known).mean()),
        correlation=correlation(np.concatenate(logits).astype(np.float64), np.concatenate(expected)),
        input_error=_input_error(model.encoder, samples, inputs),
        populations=tuple(
            PopulationComparison(
                name=p.name,
                neurons=integer.neurons,
                float_rate=each.rate(0) if integer.neuron.spikes else None,
                integer_rate=each.rate(1) if integer.neuron.spikes else None,
                first_difference=each.first,
                differing=each.differing if integer.neuron.spikes else None,
                weight_error=weight,
                threshold_error=threshold,
                leak_error=leak,
                saturated=each.saturated / max(1, each.membranes),
            )
            for (p, integer), each, (weight, threshold, leak) in zip(pairs, seen, errors, strict=True)
        ),
        rasters={each.name: each.raster() for each in seen if each.integer.neuron.spikes},
    )


def _flat(shape: Shape) -> Shape | int:
    """A shape of a single axis as its length: a vector is the same along any axis."""
    return max(shape) if sorted(shape)[:2] == [1, 1] else shape


def _matched(graph: FloatGraph, model: QuantEnsemble) -> list[tuple[FloatPopulation, Population]]:
    """Each population of a network and its integers. Raises `SneError` where they are not of one form."""
    hint = "give the network, and the settings, that the model was made of with `sne-edge quantize`"
    if len(model.students) != 1:
        raise SneError(f"{model.name} has {len(model.students)} students, and none is the network", hint)
    integers = as_graph(model.students[0]).populations
    if _flat(graph.input_shape) != _flat(model.encoder.shape):
        raise SneError(f"{model.name} takes {model.encoder.shape}, and the network {graph.input_shape}", hint)
    if len(graph.populations) != len(integers):
        raise SneError(
            f"{model.name} has {len(integers)} populations, and the network {len(graph.populations)}: "
            f"{', '.join(p.name for p in graph.populations)}",
            hint,
        )
    for p, integer in zip(graph.populations, integers, strict=True):
        alike = p.shape == integer.shape and len(p.projections) == len(integer.projections)
        if not alike or (p.threshold is not None) != integer.neuron.spikes:
            raise SneError(
                f"{p.name} has the shape {p.shape} in the network, and {integer.name} {integer.shape} in {model.name}",
                hint,
            )
    return list(zip(graph.populations, integers, strict=True))


class _Seen:
    """What one population did so far, on both sides."""

    def __init__(self, name: str, integer: Population) -> None:
        self.name, self.integer = name, integer
        self.fired: list[np.ndarray] = []  # the integers' of this batch, bool [N, neurons] a timestep
        self.spikes = np.zeros(2, np.int64)
        self.places = self.apart = self.either = 0
        self.saturated = self.membranes = 0
        self.first: int | None = None
        self.sample: tuple[np.ndarray, np.ndarray] | None = None

    def meet(self, spikes: np.ndarray, first: bool) -> None:
        """The network's spikes of the same batch, bool [T, N, neurons]."""
        if not self.integer.neuron.spikes:
            return
        own, self.fired = np.stack(self.fired), []
        differ = spikes != own
        self.spikes += spikes.sum(), own.sum()
        self.places += own.size
        self.apart += int(differ.sum())
        self.either += int((spikes | own).sum())
        steps = np.flatnonzero(differ.any(axis=(1, 2)))
        if len(steps):
            self.first = int(steps[0]) if self.first is None else min(self.first, int(steps[0]))
        if first:
            self.sample = spikes[:, 0], own[:, 0]

    def rate(self, side: int) -> float:
        return float(self.spikes[side]) / max(1, self.places)

    @property
    def differing(self) -> float:
        return self.apart / self.either if self.either else 0.0

    def raster(self) -> tuple[np.ndarray, np.ndarray]:
        assert self.sample is not None
        most = np.sort(np.argsort(-(self.sample[0] | self.sample[1]).sum(axis=0), kind="stable")[:DRAWN])
        return self.sample[0][:, most], self.sample[1][:, most]


def _run_integers(model: QuantEnsemble, inputs: np.ndarray, seen: list[_Seen]) -> np.ndarray:
    """Logits int64 [N, classes] of a batch; what happens on the way goes to `seen`."""
    student = model.students[0]
    layers = list(range(len(seen)))
    if not isinstance(student.graph, Graph):
        layers = [n for n, layer in enumerate(student.layers) if isinstance(layer, SynapticLayer)]
    place = dict(zip(layers, seen, strict=True))

    def watch(_: int, layer: int, __: Tensor | None, membranes: Tensor) -> None:
        each, clamp = place[layer], place[layer].integer.neuron.clamp
        each.membranes += membranes.numel()
        if clamp is not None:
            each.saturated += int(((membranes <= clamp[0]) | (membranes >= clamp[1])).sum())

    def fired(_: int, layer: int, spikes: Tensor) -> None:
        place[layer].fired.append(spikes.flatten(1).numpy() > 0)

    return run_student(model, 0, inputs, watch=watch, fired=fired, states=False).part + model.bias.astype(np.int64)


def _float_samples(encoder: Encoder, samples: np.ndarray, inputs: np.ndarray) -> Tensor:
    """What the network is given, float64 [T, N, height, width, channels]: the samples themselves; of rates their
    spikes."""
    if encoder.kind == "rate":
        return torch.from_numpy(encoder.spikes(inputs).astype(np.float64))
    x = torch.from_numpy(np.ascontiguousarray(samples, np.float64))
    return x.expand(encoder.timesteps, *x.shape) if encoder.kind == "direct" else x.transpose(0, 1)


def _input_error(encoder: Encoder, samples: np.ndarray, inputs: np.ndarray) -> float:
    if not encoder.multiplies:
        return 0.0
    values = samples.astype(np.float64).reshape(len(samples), -1)
    held = encoder.real(encoder.analog(inputs)).reshape(len(samples), -1)
    return _relative(held - values, values)


def _relative(error: np.ndarray, of: np.ndarray) -> float:
    size = float(np.sqrt((of**2).sum()))
    return float(np.sqrt((error**2).sum())) / size if size else 0.0


def _rounded(
    graph: FloatGraph, model: QuantEnsemble, p: FloatPopulation, integer: Population
) -> tuple[float | None, float | None, float]:
    """Errors of weights, thresholds and leaks."""
    encoder, wanted, made = model.encoder, [], []
    shift = current_shift(model.students[0], 0 if p is graph.populations[0] else 1)
    mean = not isinstance(model.students[0].graph, Graph) and not integer.neuron.spikes
    for q, projection in zip(p.projections, integer.projections, strict=True):
        number = INPUT if q.source not in {other.name for other in graph.populations} else 0
        weight = float_projection(q, graph.shapes[q.source], encoder, number)
        wanted.append((weight / encoder.timesteps if mean else weight).ravel())
        made.append(_real(projection, integer).ravel() / 2.0**shift)
        if wanted[-1].shape != made[-1].shape:
            raise SneError(f"the weights of {p.name} are of another form in {model.name}", "quantize the network again")
    weights = None
    if wanted:
        weights = _relative(np.concatenate(made) - np.concatenate(wanted), np.concatenate(wanted))
    thresholds = None
    if p.threshold is not None and isinstance(integer.threshold, np.ndarray):
        real, got = grid_of(p.threshold, p.shape), grid(integer.threshold, integer.channels) * integer.scale
        thresholds = float((np.abs(got - real) / real).max())
    factors = _factor(integer.neuron.leak, integer.channels)
    leaks = float(np.abs(factors - grid_of(p.beta, p.shape)).max())
    if p.alpha is not None and isinstance(integer.neuron.current_leak, Leak):
        current = _factor(integer.neuron.current_leak, integer.channels)
        leaks = max(leaks, float(np.abs(current - grid_of(p.alpha, p.shape)).max()))
    return weights, thresholds, leaks


def _real(projection: Projection, p: Population) -> np.ndarray:
    """Integer weights in real values, of one unit of the source."""
    weight = projection.weight.astype(np.float64)
    unit = np.tile(p.scale, len(weight) // p.channels) if projection.op == "linear" else p.scale
    real: np.ndarray = weight * unit.reshape(-1, *[1] * (weight.ndim - 1))
    return real


def _factor(leak: Leak, channels: int) -> np.ndarray:
    if leak.kind == "q15":
        return grid(leak.value, channels) / 2.0**15
    return np.full((1, 1), 1.0 if leak.kind == "none" else 1 - 2.0 ** -int(leak.value[0]))
