"""Networks that are no chain, from torch or NIR, as an ensemble of one student that runs a graph.

In: a module or a `.nir` file, and typical samples as the network takes them. Out: a measured `QuantEnsemble` with
golden vectors, held against the network's own forward (`trace`), or, of NIR, against the file's equations in floating
point or a network of the writer's framework.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from ..check.verify import ReferenceEngine
from ..errors import SneError, SneWarning
from ..ir.encoder import Encoder, Shape
from ..ir.ensemble import QuantEnsemble
from ..learn.graph import INPUT, FloatDecoder, FloatGraph
from ..quantize.calibrate import golden_vectors, measure, with_costs
from ..quantize.graph import assemble_graph, float_inputs
from ..quantize.silent import hold_silent
from . import witness
from .from_nir import Reading, read_nir
from .inputs import Scaling, beyond
from .judge import FAIL_BELOW, WARN_BELOW, array_of, check_task, judge, judge_values, known_labels, known_values
from .trace import Refused, Traced, trace

Made = TypeVar("Made")
BATCH = 64
LOOKED = 4096  # samples among which those are that a network is followed on
OTHERWISE = "weights, thresholds and decisions that depend on the sample cannot be deployed: take them out of forward"
DECODERS = {
    "count": FloatDecoder("count"),
    "current": FloatDecoder("current"),
    "first": FloatDecoder("first"),
    "membrane": FloatDecoder("membrane", "mean"),
    "membrane-final": FloatDecoder("membrane", "final"),
    "membrane-highest": FloatDecoder("membrane", "highest"),
}


def decoder(text: str | None) -> FloatDecoder | None:
    """The decoder of a name in `DECODERS`; None leaves it to the network."""
    if text is None or text in DECODERS:
        return None if text is None else DECODERS[text]
    raise SneError(f"there is no decoder {text!r}", f"give one of: {', '.join(DECODERS)}")


def quantize_traced(
    network: nn.Module,
    name: str,
    calibration: Any,
    *,
    timesteps: int,
    labels: Any = None,
    encoder: Encoder | str | None = None,
    classes: tuple[str, ...] | None = None,
    decode: str | None = None,
    scale: float | Sequence[float] | None = None,
    offset: float | Sequence[float] | None = None,
    input_range: str = "max",
    input_scale: str = "auto",
    task: str | None = None,
    warn_below: float = WARN_BELOW,
    fail_below: float = FAIL_BELOW,
) -> QuantEnsemble:
    """A trained network of torch and snnTorch, whatever its forward does (`trace.SUPPORTED`), measured.

    calibration  samples as the network's forward takes them, [N, ...]; of rasters and frames [N, timesteps, ...], which
                 a forward may take with time first as well
    encoder      `direct`: the same sample at every timestep; `events`: rasters of 0 and 1; `frames`: values that
                 change; `rate`: values are a spike's probability
    decode       a name in `DECODERS`; by default what the forward returns says it: spikes are counted, membranes and
                 currents averaged

    The rest is as for `torch.quantize_network`, with the same provenance and the same judgement. Raises `SneError`
    where the network cannot be deployed, or its integers are not the network.
    """
    samples = array_of(calibration)
    kind = encoder.kind if isinstance(encoder, Encoder) else encoder or "direct"
    timed = kind in ("events", "frames", "rate")
    read, axis = _follow(network, samples, kind, timesteps, decoder(decode))
    if read.softened and check_task(task):
        raise SneError(
            f"the network's outputs are values of {read.softened}, of which integers have what comes before",
            f"take {read.softened} out of forward and do it to what the device answers",
        )
    maps = as_maps(samples, read.graph.input_shape, kind in ("events", "frames"))
    scaling = Scaling(scale, offset, input_range, input_scale)
    made, inputs = _quantized(read.graph, name, maps, encoder or kind, timesteps, scaling, classes, task)

    def asked(rows: slice) -> Tensor:
        """The network's own answer, to what it was trained with: of rates, to their spikes."""
        given = samples[rows]
        if kind == "rate":
            spikes = made.encoder.spikes(inputs[rows]).swapaxes(0, 1)  # [n, timesteps, height, width, channels]
            given = np.moveaxis(spikes, -1, 2).reshape(*spikes.shape[:2], *samples.shape[1:])
        x = torch.from_numpy(np.ascontiguousarray(given, np.float32))
        return read.witness(x.movedim(1, axis) if timed and axis is not None else x)

    return _measured(made, inputs, maps, asked, labels, warn_below, fail_below, "quantize_network")


def quantize_nir(
    file: Path | str | Any,
    name: str,
    calibration: Any,
    *,
    timesteps: int,
    reading: Reading | None = None,
    own: Callable[[Tensor], Tensor] | None = None,
    encoder: Encoder | str | None = None,
    **rest: Any,
) -> QuantEnsemble:
    """The network of a `.nir` file, or of a `nir.NIRGraph` as exporters make them, measured; `reading` says what it
    leaves open.

    calibration  samples in NIR's order, channels first: [N, ...], or [N, timesteps, ...] for `events` and `frames`
    own          the network in the framework that wrote it, from a batch of these samples to logits [n, classes]: the
                 witness; by default the file's equations in double precision

    `rest`: labels, classes, scale, offset, input_range, input_scale, task, warn_below, fail_below, as for
    `torch.quantize_network`.
    """
    graph = read_nir(file, reading or Reading())
    kind = encoder.kind if isinstance(encoder, Encoder) else encoder or "direct"
    samples = array_of(calibration)
    maps = as_maps(samples, graph.input_shape, kind in ("events", "frames"))

    def asked(rows: slice) -> Tensor:
        assert own is not None
        return own(torch.from_numpy(np.ascontiguousarray(samples[rows], np.float32)))

    return _from_graph(
        graph, name, maps, timesteps, encoder, None if own is None else asked, "quantize_nir", **rest
    )  # fmt: skip


def _from_graph(
    graph: FloatGraph,
    name: str,
    maps: np.ndarray,
    timesteps: int,
    encoder: Encoder | str | None,
    own: Callable[[slice], Tensor] | None,
    origin: str,
    *,
    labels: Any = None,
    classes: tuple[str, ...] | None = None,
    scale: float | Sequence[float] | None = None,
    offset: float | Sequence[float] | None = None,
    input_range: str = "max",
    input_scale: str = "auto",
    task: str | None = None,
    warn_below: float = WARN_BELOW,
    fail_below: float = FAIL_BELOW,
) -> QuantEnsemble:
    """Of maps in the package's order; `own` answers for rows of the samples, by default the graph does."""
    scaling = Scaling(scale, offset, input_range, input_scale)
    made, inputs = _quantized(graph, name, maps, encoder, timesteps, scaling, classes, task)
    kind = made.encoder.kind

    def simulated(rows: slice) -> Tensor:
        given = made.encoder.spikes(inputs[rows]) if kind == "rate" else maps[rows]
        x = torch.from_numpy(np.ascontiguousarray(given, np.float64))
        if kind == "direct":
            return graph.simulate(x, timesteps).logits
        return graph.simulate(x if kind == "rate" else x.transpose(0, 1)).logits

    return _measured(made, inputs, maps, own or simulated, labels, warn_below, fail_below, origin)


def channels_first(samples: np.ndarray) -> np.ndarray:
    """Samples [..., height, width, channels] as [..., channels, height, width]."""
    moved: np.ndarray = np.moveaxis(samples, -1, -3)
    return moved


def samples_for(
    network: nn.Module, samples: np.ndarray, encoder: str, timesteps: int, decode: str | None = None
) -> np.ndarray:
    """Samples in the package's order, [N, height, width, channels] or of rasters [N, timesteps, ...], in the form that
    a network's forward takes: channels first, without a height of 1, without a single channel, or flat.

    Raises `SneError` where it takes none of these: of a form that its forward ran on, if there is one.
    """
    timed = encoder in ("events", "frames")
    first = channels_first(samples)
    leading, (channels, height, width) = first.shape[: 1 + timed], first.shape[-3:]
    forms: list[tuple[int, ...]] = [(channels, height, width)]
    forms += [(channels, width)] if height == 1 else []
    forms += [(height, width)] if channels == 1 and height > 1 else []
    forms += [(channels * height * width,)]

    def read(form: tuple[int, ...]) -> np.ndarray:
        made = first.reshape(*leading, *form)
        _follow(network, made, encoder, timesteps, decoder(decode))
        return made

    return _first_that_fits(read, forms)


def followed(network: nn.Module, samples: np.ndarray, encoder: str, timesteps: int, decode: str | None) -> FloatGraph:
    """The float graph that a network's forward makes of samples in the form it takes; `decode` as of `DECODERS`.

    Raises `SneError` on what cannot be read.
    """
    return _follow(network, samples, encoder, timesteps, decoder(decode))[0].graph


def _follow(
    network: nn.Module, samples: np.ndarray, kind: str, timesteps: int, decode: FloatDecoder | None
) -> tuple[Traced, int | None]:
    """The network, followed on a few samples, and the axis of time that it takes. Followed on a few others, of another
    number, it has to be the same: what depends on the sample is no weight, and no decision either."""
    first, second = [count for count in (2, 3, 4) if count != timesteps][:2]  # so that time is not taken for samples
    looked = np.abs(samples[:LOOKED]).reshape(min(LOOKED, len(samples)), -1).sum(axis=1)
    order = np.argsort(-looked, kind="stable")  # the busiest first

    def taken(rows: np.ndarray) -> Tensor:
        few = torch.from_numpy(np.ascontiguousarray(samples[rows], np.float32))
        return few[:, None].expand(len(few), timesteps, *few.shape[1:]) if kind == "rate" else few

    def read(axis: int | None) -> tuple[Traced, int | None]:
        def traced(rows: np.ndarray) -> Traced:
            few = taken(rows)
            few = few if axis is None else few.movedim(1, axis).contiguous()
            return trace(network, few, timesteps, time_axis=axis, decode=decode)

        made = traced(np.arange(first) % len(samples))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SneWarning)  # which the first ones gave
            again = traced(order[np.arange(second) * (len(order) - 1) // (second - 1)])
        check_same(made.graph, again.graph)
        return made, axis

    if kind == "direct":
        return read(None)
    last = samples.ndim - 1 + (kind == "rate")  # of signals [N, C, T]
    return _first_that_fits(read, (0, 1, last) if last > 1 else (0, 1))  # snnTorch's order, that of tonic's batches


def check_same(one: FloatGraph, other: FloatGraph) -> None:
    """Raise `Refused` where a forward made another graph of other samples."""
    if [p.name for p in one.populations] != [p.name for p in other.populations]:
        raise Refused("the forward runs other neurons for other samples", OTHERWISE, len(one.populations))
    for p, q in zip(one.populations, other.populations, strict=True):
        if not _same(p, q):
            raise Refused(f"what {p.name} takes is something else for other samples", OTHERWISE, len(one.populations))
    if not _same(one, other):
        raise Refused("the forward does something else for other samples", OTHERWISE, len(one.populations))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are equal, arrays and all."""
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and np.array_equal(one, other, equal_nan=True)
    if is_dataclass(one) and type(one) is type(other):
        return all(_same(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def _first_that_fits(read: Callable[[Any], Made], forms: Iterable[Any]) -> Made:
    """What `read` makes of the first form of the samples that it takes. Raises the refusal that says most: of the form
    that led furthest."""
    refusals: list[Refused] = []
    for form in forms:
        try:
            return read(form)
        except Refused as error:
            refusals.append(error)
    raise max(refusals, key=lambda error: error.reached)


def _quantized(
    graph: FloatGraph,
    name: str,
    maps: np.ndarray,
    encoder: Encoder | str | None,
    timesteps: int,
    scaling: Scaling,
    classes: tuple[str, ...] | None,
    task: str | None,
) -> tuple[QuantEnsemble, np.ndarray]:
    """The integers, and samples [N, (timesteps,) height, width, channels] as device bytes."""
    kind = encoder.kind if isinstance(encoder, Encoder) else encoder or "direct"
    if graph.offset.any():
        if kind in ("events", "rate"):
            raise SneError("the network shifts its input, and spikes have no offset", "shift nothing before a layer")
        if not isinstance(encoder, Encoder) and not scaling.shifted:
            scaling = replace(scaling, offset=graph.offset.tolist())
    if not isinstance(encoder, Encoder):
        scaling = scaling.fixed if _padded(graph) else scaling
        encoder = scaling.encoder(encoder or "direct", maps, timesteps, graph.input_shape)
    elif scaling.said:
        raise SneError("an Encoder and a scale, offset or range are given", "give the scale and offset to the Encoder")
    if encoder.timesteps != timesteps or (encoder.kind in ("events", "frames") and maps.shape[1] != timesteps):
        raise SneError(f"{timesteps} timesteps are asked for, but the input has others", "give the same number")
    inputs = encoder.encode(maps)
    graph, held = hold_silent(graph, lambda: _spoken(graph, encoder, inputs))
    for population, channels in held.items():
        warnings.warn(
            f"{channels} channels of {population} spike in none of the samples, and their weights, far larger than the "
            "others', are held to the others' range: give samples in which they speak, if there are such",
            SneWarning,
            stacklevel=4,
        )
    return assemble_graph(graph, name, encoder, classes, regression=check_task(task)), inputs


def _padded(graph: FloatGraph) -> bool:
    """Whether zeros are put around the input, which an offset would have to reach."""
    taken = [p for population in graph.populations for p in population.projections if p.source == INPUT]
    pools = [pool for p in taken for pool in p.pools]
    return any(p.op != "linear" and any(p.padding) for p in taken) or any(any(pool.padding) for pool in pools)


def _spoken(graph: FloatGraph, encoder: Encoder, inputs: np.ndarray) -> Iterator[dict[str, np.ndarray]]:
    """Which neurons of each population spiked, for batches of samples."""
    for start in range(0, len(inputs), BATCH):
        run = graph.simulate(float_inputs(encoder, inputs[start : start + BATCH]).float())
        yield {name: spikes.any(dim=1).any(dim=0).numpy() for name, spikes in run.spikes.items()}


def as_maps(samples: np.ndarray, shape: Shape, timed: bool) -> np.ndarray:
    """Samples in torch's order, channels first, as [N, height, width, channels], with `timed` [N, timesteps, ...]."""
    height, width, channels = shape
    leading = samples.shape[: 1 + timed]
    if int(np.prod(samples.shape[1 + timed :])) != height * width * channels:
        raise SneError(
            f"samples of shape {list(samples.shape[1 + timed :])} do not fit the network's input {shape}, (height, "
            "width, channels)",
            "give samples as the network takes them",
        )
    maps: np.ndarray = np.moveaxis(samples.reshape(*leading, channels, height, width), -3, -1)
    return maps


def _measured(
    made: QuantEnsemble,
    inputs: np.ndarray,
    samples: np.ndarray,
    asked: Callable[[slice], Tensor],
    labels: Any,
    warn_below: float,
    fail_below: float,
    origin: str,
) -> QuantEnsemble:
    """The integers held against the network, with costs and golden vectors."""

    def answers() -> Iterator[np.ndarray]:
        for start in range(0, len(samples), BATCH):
            yield asked(slice(start, start + BATCH)).double().numpy()

    clipped, largest = beyond(made.encoder, samples), float(np.abs(samples).max())
    own, known = np.concatenate(list(answers())), None
    found: witness.Comparison | witness.Values
    if made.regression:
        found = witness.compare_values(made, inputs, own, known_values(labels, len(samples), len(made.classes)))
        judge_values(found, made.encoder, clipped, largest, len(samples), warn_below, fail_below)
    else:
        known = known_labels(labels, len(samples), len(made.classes))
        found = witness.compare(made, inputs, own, known)
        judge(found, made.encoder, clipped, largest, known, len(made.classes), len(samples), warn_below, fail_below)
    provenance = found.record() | {"source": origin, "samples": len(samples), "clipped": sum(clipped)}
    made = msgspec.structs.replace(made, provenance=provenance)
    engine = ReferenceEngine(made)
    made = with_costs(made, measure(made, engine, inputs))
    vectors = golden_vectors(ReferenceEngine(made), inputs[:32], None if known is None else known[:32])
    return msgspec.structs.replace(made, vectors=vectors)
