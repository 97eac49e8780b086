"""What an inference does, in counts that follow from the engine's structure: positions, lists, rows, products, updates.

In: a student's place in memory and how many of each layer's inputs and neurons spike. Out: numbers by name, which
`cost` multiplies with instructions. A name says which code does the work: kernel, bits of weights and membranes, kind
of neuron. Where a count depends on which inputs spike, it is the expectation of spikes that are independent; of all
or none spiking it is exact, and it never falls where more spike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..codegen.context import stage_input
from ..codegen.layout import Stage, from_inputs, through_pool, window_axis
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import AvgPool, Conv, Linear, MaxPool, SynapticLayer, size
from ..ir.limits import padded
from ..ir.student import QuantStudent

Count = float | np.ndarray
LONG_RUN = 128  # inputs from which on a run is listed by whole words: sne_list.h


class Work(dict[str, float]):
    """Counts by name; of what is not there, none."""

    def __missing__(self, name: str) -> float:
        return 0.0

    def __add__(self, other: Work) -> Work:
        made = Work(self)
        for name, count in other.items():
            made[name] += count
        return made


@dataclass(frozen=True)
class Rates:
    """Shares of one layer's inputs, in one timestep, that spike (of a direct input: that are not 0), and of its neurons
    that fire. `certain`: where some may, a window or a group of neurons holds one, as in a worst case; else n of
    them are worth n^`apart` that are independent of each other."""

    incoming: float
    outgoing: float
    certain: bool = False
    apart: float = 1.0

    def met(self, inputs: Count) -> Count:
        """Probability that one spikes of so many inputs."""
        return _any(self.incoming, inputs, self)

    def fired(self, neurons: Count) -> Count:
        """Probability that one fires of so many neurons."""
        return _any(self.outgoing, neurons, self)


def blocks(stride: int) -> dict[str, int]:
    """A row of weights in the portions that kernels take: of 32, 16, 8 and 4 outputs, or of 32 and the rest at once."""
    few = {"16": stride % 32 // 16, "8": stride % 16 // 8, "4": stride % 8 // 4}
    return {"32": stride // 32, **few, "rest": min(1, stride % 32)}


def stage_work(student: QuantStudent, stage: Stage, direct: bool, timesteps: int, rates: Rates) -> Work:
    """One layer through so many timesteps at once; `direct`: it takes int8 values."""
    layer = student.layers[stage.layer]
    if isinstance(layer, MaxPool):
        return _maxpool(layer, stage, timesteps, rates)
    assert isinstance(layer, Linear | Conv)
    kernel = direct_kernel(stage) if direct else stage.kernel
    stride, width = padded(layer.channels), layer.width
    rows, columns = layer.out_shape[:2]
    across = kernel in ("sweep", "scatter", "overlap", "depthwise")
    tiles, positions = (rows, columns) if across else (rows * columns, 1)
    readout = layer.neuron.kind == "li"
    words = tiles * positions * stride * width // 32
    work = Work({"layer": 1, f"{kernel}.layer": 1, f"{kernel}.tiles": tiles, f"{kernel}.steps": tiles * timesteps})
    work[f"fresh.{'readout' if readout else kernel}.{width}"] = words
    work["fresh.positions"] = tiles * positions
    if readout:
        decay = layer.neuron.decay.kind
        work[f"leak.{width}.{decay}"] = tiles * positions * stride * timesteps
        if layer.neuron.clamp is not None:
            work[f"clamp.{width}"] = tiles * positions * layer.channels * timesteps
    else:
        work["clear"] = timesteps * -(-layer.neurons // 32)
        work += fire_work(layer, kernel, tiles * positions, tiles, timesteps, rates)
    if direct:
        return work + _products(layer, stage, kernel, rates)
    met = {
        "gather": _gather, "sweep": _sweep, "scatter": _scatter, "overlap": _scatter, "depthwise": _scatter,
        "collect": _collect,
    }[kernel]  # fmt: skip
    each = met(layer, stage, rates)
    return work + Work({name: count * timesteps for name, count in each.items()}) + _plan(layer, stage, kernel)


def direct_kernel(stage: Stage) -> str:
    """The kernel of a layer that takes int8 values."""
    return "mac" if stage.kernel == "gather" else stage.kernel


def fire_key(layer: SynapticLayer, kernel: str) -> str:
    """Which code fires a layer's neurons: of membranes with turned signs (sne_fire.h), the kernel's."""
    neuron = layer.neuron
    reset = "delayed" if neuron.reset_delay else neuron.reset
    kinds = {"gather": "one", "mac": "one" if layer.channels % 8 else "steps", "scatter": "scatter"}
    plain = layer.width == 16 and neuron.clamp is None and reset != "delayed" and layer.bits == 8
    met = kinds.get(kernel, "row") if plain else "any"
    clamp = ".clamp" if neuron.clamp is not None else ""
    return f"fire.{met}.{layer.width}.{neuron.decay.kind}.{reset}{clamp}"


def fire_work(layer: SynapticLayer, kernel: str, positions: int, tiles: int, timesteps: int, rates: Rates) -> Work:
    """The end of every timestep: all neurons' updates, and what spikes add."""
    key, channels = fire_key(layer, kernel), layer.channels
    fours = padded(channels) // 4
    firing = channels // 4 * float(rates.fired(4)) + float(rates.fired(channels % 4))
    updates = positions * timesteps
    work = Work(
        {
            "fire": tiles * timesteps,
            f"{key}.positions": updates,
            f"{key}.eights": (updates - positions) * (fours // 2),
            f"{key}.fours": (updates - positions) * (fours % 2),
            f"{key}.last.eights": positions * (fours // 2),  # the last timestep's membranes are no longer needed
            f"{key}.last.fours": positions * (fours % 2),
            f"{key}.firing": updates * firing,
            f"{key}.spikes": updates * channels * rates.outgoing,
            f"{key}.quiet": updates * channels * (1 - rates.outgoing),
        }
    )
    decay = layer.neuron.decay
    if decay.kind == "shift" and layer.width == 16:
        work[f"{key}.shift"] = updates * fours * (min(decay.value, 4) - 1)
        work[f"{key}.far"] = updates * fours * (decay.value > 4)
    return work


def _any(rate: float, inputs: Count, rates: Rates) -> Count:
    if rates.certain and rate > 0:
        return np.minimum(inputs, 1)
    return 1 - (1 - rate) ** np.asarray(inputs, float) ** rates.apart


def _clipped(layer: Conv, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """By output position of one axis: the first input position in its window, and how many lie within the input."""
    first = np.arange(layer.out_shape[axis]) * layer.stride[axis] - layer.padding[axis]
    low = np.maximum(first, 0)
    return low, np.minimum(first + layer.kernel[axis], layer.in_shape[axis]) - low


def _windows(layer: Linear | Conv) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Of all output positions: runs of neighbouring inputs that each sees, inputs of a run, where the first run starts;
    and the inputs from one run to the next."""
    if isinstance(layer, Linear):
        ones = np.ones(1, np.int64)
        return ones, ones * size(layer.in_shape), ones * 0, size(layer.in_shape)
    top, runs = _clipped(layer, 0)
    left, across = _clipped(layer, 1)
    depth, step = layer.in_shape[2], layer.in_shape[1] * layer.in_shape[2]
    starts = top[:, None] * step + left[None, :] * depth
    counts = np.broadcast_to(across[None, :] * depth, starts.shape)
    return np.broadcast_to(runs[:, None], starts.shape).ravel(), counts.ravel(), starts.ravel(), step


def _add(work: Work, layer: SynapticLayer, calls: float, rows: float, name: str = "add") -> None:
    """Rows of weights added: a call brings several of them to the same outputs."""
    key = f"{name}.{layer.width}.{layer.bits}"
    work[f"{key}.calls"] += calls
    work[f"{key}.each"] += rows
    for block, count in blocks(padded(layer.channels)).items():
        work[f"{key}.calls.{block}"] += calls * count
        work[f"{key}.rows.{block}"] += rows * count


def _lists(seen: np.ndarray, rate: float, room: int) -> np.ndarray:
    """How many lists the spikes of so many inputs take."""
    spikes = seen * rate
    return np.where(spikes <= room, 1.0, np.ceil(spikes / max(1, room + 16)))


def _gather(layer: Linear | Conv, stage: Stage, rates: Rates) -> Work:
    rate = rates.incoming
    runs, counts, starts, step = _windows(layer)
    seen = runs * counts
    long = counts > LONG_RUN
    visited = np.zeros(len(runs))
    for run in range(int(runs.max())):
        first = starts + run * step
        visited += np.where(run < runs, (first + counts - 1) // 32 - first // 32 + 1, 0)
    lists = _lists(seen, rate, stage.capacity - 32)
    spikes = float((seen * rate).sum())
    work = Work(
        {
            "list.calls": float(lists.sum()),
            "list.runs": float(runs.sum()),
            "list.words": float(visited[~long].sum()),
            "list.long": float(visited[long].sum()),
            "list.spikes": spikes,
        }
    )
    _add(work, layer, float((lists - 1 + rates.met(np.minimum(seen, stage.capacity))).sum()), spikes)
    return work


def _sweep(layer: Linear | Conv, stage: Stage, rates: Rates) -> Work:
    assert isinstance(layer, Conv)
    depth, width = layer.in_shape[2], layer.in_shape[1]
    span = (layer.out_shape[1] - 1) * layer.stride[1] + layer.kernel[1]
    columns = min(width + layer.padding[1], span) - layer.padding[1]
    room = stage.capacity - (span + 1)
    _, runs = _clipped(layer, 0)
    _, across = _clipped(layer, 1)
    fitting = depth <= 32 and depth & (depth - 1) == 0 and (width * depth) % 32 == 0
    work = Work()
    for seen, times in zip(*np.unique(runs, return_counts=True), strict=True):
        whole = fitting and seen * depth <= room
        column = seen * depth * rates.incoming  # its spikes
        lists, listed, alone = _sweep_lists(layer, columns, column, room - (seen * depth if whole else 32))
        windows = seen * depth * across
        rows = windows * rates.incoming
        calls = rates.met(windows) * (1 - alone) + alone * np.maximum(1.0, np.ceil(rows / max(1, room - 16)))
        once = Work(
            {
                "sweep.lists": lists,
                "sweep.columns": listed,
                f"sweep.{'words' if whole else 'loose'}": seen * listed,
                "sweep.spikes": column * listed,
                "sweep.windows": layer.out_shape[1],
                "sweep.padding": span - columns,
                "list.calls": float(alone.sum()),
                "list.runs": float(seen * alone.sum()),
                "list.words": float(seen * (alone * (across * depth / 32 + 1)).sum()),
                "list.spikes": float((rows * alone).sum()),
            }
        )
        _add(once, layer, float(np.sum(calls)), float(rows.sum()))
        work += Work({name: count * int(times) for name, count in once.items()})
    return work


def _sweep_lists(layer: Conv, columns: int, column: float, full: int) -> tuple[int, int, np.ndarray]:
    """How a row of positions is listed where every column has so many spikes: the lists, the columns that they visit,
    and which positions, 1.0 or 0.0, are so full that each is met by itself. As in sne_sweep."""
    kernel, stride, padding = layer.kernel[1], layer.stride[1], layer.padding[1]
    positions = layer.out_shape[1]
    alone = np.zeros(positions)
    first = lists = listed = 0
    while first < positions:
        lists += 1
        begin = max(0, first * stride - padding)
        fit = columns - begin if column <= 0 else min(columns - begin, int(full // column) + 1)
        listed += fit
        end = begin + fit + padding  # columns that are complete, padding counted
        last = positions if begin + fit == columns else (end - kernel) // stride + 1
        if last <= first:
            alone[first] = 1.0
            last = first + 1
        first = last
    return lists, listed, alone


def _reached(layer: Linear | Conv, pools: Sequence[AvgPool], axis: int) -> list[list[tuple[int, int]]]:
    """By output position of one axis, the inputs that it meets before the average poolings in front of it."""
    if isinstance(layer, Conv):
        pairs = window_axis(layer.in_shape[axis], layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    else:
        pairs = [[(position, position) for position in range(layer.in_shape[axis])]]
    for pool in reversed(pools):
        pairs = through_pool(pairs, pool, axis)
    return pairs


def _row_words(rows: np.ndarray, length: int) -> int:
    """Words that rows of `length` bits, by their numbers, lie in."""
    first = rows * length
    return int(((first + length - 1) // 32 - first // 32 + 1).sum())


def _scatter(layer: Linear | Conv, stage: Stage, rates: Rates) -> Work:
    rate = rates.incoming
    shape = stage_input(layer, stage.pools)
    visits = np.array([source for row in _reached(layer, stage.pools, 0) for source, _ in row], np.int64)
    width, depth = shape[1], shape[2]
    pairs = from_inputs(_reached(layer, stage.pools, 1), width)
    reached = sum(map(len, pairs)) * depth * len(visits) * rate
    spikes = len(visits) * width * depth * rate
    kernel = stage.kernel
    work = Work(
        {
            "scatter.rows": len(visits),
            "scatter.words": _row_words(visits, width * depth),
            f"{kernel}.spikes": spikes,
        }
    )
    if kernel == "depthwise":
        work[f"depthwise.{layer.width}.rows"] = reached
    else:
        calls = spikes if kernel == "scatter" else reached
        _add(work, layer, calls, reached, "chain")
    return work


def _plan(layer: Linear | Conv, stage: Stage, kernel: str) -> Work:
    if kernel != "scatter":
        return Work()
    return Work({"scatter.columns": stage_input(layer, stage.pools)[1], "scatter.drive": padded(layer.channels) // 2})


def _collect(layer: Linear | Conv, stage: Stage, rates: Rates) -> Work:
    rate = rates.incoming
    shape = stage_input(layer, stage.pools)
    visits = np.array([source for row in _reached(layer, stage.pools, 0) for source, _ in row], np.int64)
    pairs = sum(map(len, _reached(layer, stage.pools, 1)))
    spikes = len(visits) * shape[1] * shape[2] * rate
    rows = len(visits) * pairs * shape[2] * rate
    work = Work(
        {
            "collect.rows": len(visits),
            "collect.words": _row_words(visits, shape[1] * shape[2]),
            "collect.spikes": spikes,
            "collect.pairs": rows,
        }
    )
    some = rates.met(len(visits) * pairs * shape[2])
    _add(work, layer, max(float(some), float(np.ceil(rows / stage.capacity))) if rate else 0.0, rows)
    return work


def _products(layer: Linear | Conv, stage: Stage, kernel: str, rates: Rates) -> Work:
    """A direct input's values times weights: listed where they are not 0, in twos, or a window's all."""
    runs, counts, _, _ = _windows(layer)
    if isinstance(layer, Conv):  # places of weights, which come in twos
        depth = layer.in_shape[2]
        first = np.arange(layer.out_shape[1]) * layer.stride[1] - layer.padding[1]
        top = np.arange(layer.out_shape[0]) * layer.stride[0] - layer.padding[0]
        low = np.maximum(-top, 0)[:, None] * layer.kernel[1] * depth + np.maximum(-first, 0)[None, :] * depth
        places, each = low.ravel(), layer.kernel[1] * depth
    else:
        places, each = np.zeros(1, np.int64), size(layer.in_shape)
    twos, ones = np.zeros(len(runs)), np.zeros(len(runs))
    for run in range(int(runs.max())):
        odd = (places + run * each) % 2
        inside = run < runs
        twos += np.where(inside, (counts - odd) // 2, 0)
        ones += np.where(inside, odd + (counts - odd) % 2, 0)
    listed = twos * rates.met(2) + ones * rates.met(1)
    room = (stage.capacity & ~1) // 2
    calls = np.maximum(rates.met(runs * counts), np.ceil(listed / max(1, room)) * (listed > room))
    stride, key = padded(layer.channels), f"{kernel}.{32 if layer.current_shift else layer.width}"
    wide = -(-stride // 24)
    return Work(
        {
            f"{kernel}.pairs": float(layer.out_shape[0] * -(-layer.out_shape[1] // 2)),  # of positions
            f"{key}.outputs": len(runs) * stride,
            f"shift.{layer.width}": len(runs) * stride if layer.current_shift else 0,
            f"{key}.dense": float((runs * -(-counts // 2) * rates.met(2 * runs * counts)).sum()) * (stride // 4),
            f"{key}.vectors": float((-(-runs * counts // 16)).sum()) * stride,
            f"{kernel}.runs": float(runs.sum()),
            f"{kernel}.twos": float(twos.sum()),
            f"{kernel}.ones": float(ones.sum()),
            f"{kernel}.listed": float(listed.sum()),
            f"{kernel}.charge": len(runs) * stride * layer.width // 32,
            f"{key}.calls": float(calls.sum()),
            f"{key}.calls.24": float(calls.sum()) * wide,
            f"{key}.calls.8": float(calls.sum()) * (stride // 8),
            f"{key}.calls.4": float(calls.sum()) * (stride % 8 // 4),
            f"{key}.rows.24": float(listed.sum()) * wide,
            f"{key}.rows.8": float(listed.sum()) * (stride // 8),
            f"{key}.rows.4": float(listed.sum()) * (stride % 8 // 4),
        }
    )


def _maxpool(layer: MaxPool, stage: Stage, timesteps: int, rates: Rates) -> Work:
    shape = stage_input(layer, stage.pools)
    rows, columns = (sum(map(len, from_inputs(_pooled(layer, stage.pools, axis), shape[axis]))) for axis in (0, 1))
    return Work(
        {
            "layer": 1,
            "maxpool.steps": timesteps,
            "maxpool.words": timesteps * -(-size(shape) // 32),
            "clear": timesteps * -(-size(layer.out_shape) // 32),
            "maxpool.spikes": timesteps * size(shape) * rates.incoming,
            "maxpool.rows": timesteps * rows * shape[1] * shape[2] * rates.incoming,
            "maxpool.pairs": timesteps * rows * columns * shape[2] * rates.incoming,
        }
    )


def _pooled(layer: MaxPool, pools: Sequence[AvgPool], axis: int) -> list[list[tuple[int, int]]]:
    pairs = window_axis(layer.in_shape[axis], layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    for pool in reversed(pools):
        pairs = through_pool(pairs, pool, axis)
    return pairs


def stepping(student: QuantStudent, stage: Stage, work: Work) -> Work:
    """Of one layer through a single timestep, the same where its membranes are kept from one to the next."""
    layer = student.layers[stage.layer]
    if not isinstance(layer, SynapticLayer):
        return work
    fresh = {name for name in work if name.startswith("fresh.")}
    kept = Work({name: count for name, count in work.items() if name not in fresh})
    kept["step"] = 1
    kept["step.tiles"] = work["fresh.positions"]
    if layer.neuron.kind != "li":
        key = fire_key(layer, stage.kernel)
        if not key.startswith(("fire.any", "fire.row")):
            kept[f"turn.{key.split('.')[1]}"] = work["fresh.positions"] * padded(layer.channels) // 2
    return kept


def overhead(
    ensemble: QuantEnsemble, kind: str, students: Sequence[int], timesteps: int, early: bool, rate: float
) -> Work:
    """What an inference of these students does beside their layers under a kind of policy; `rate`: the share of the
    draws of a rate-coded input that make a spike."""
    encoder, classes, count = ensemble.encoder, len(ensemble.classes), len(students)
    work = Work(
        {
            "run": 1,
            "run.classes": classes,
            "run.spikes": len(ensemble.spike_layers),
            "run.students": count,
            "run.logits": count * classes,
            f"run.{kind}": count,
        }
    )
    if kind in ("cascade", "routed"):
        work["run.decided"] = (count - 1) * classes
    if encoder.kind == "rate":
        work["rate.inputs"] = count * timesteps * encoder.size
        work["rate.words"] = count * timesteps * -(-encoder.size // 32)
        work["rate.spikes"] = rate * work["rate.inputs"]
    if early:
        work["early"] = count
        work["early.steps"] = count * timesteps
        work["early.logits"] = count * timesteps * classes
        for number in students:
            for layer in _stepped(ensemble, number):
                place = "readout" if layer.neuron.kind == "li" else "neurons"
                work["rest.layers"] += 1
                work["rest.positions"] += layer.out_shape[0] * layer.out_shape[1]
                values = layer.out_shape[0] * layer.out_shape[1] * padded(layer.channels)
                work[f"rest.{place}.{layer.width}"] += values
    return work


def _stepped(ensemble: QuantEnsemble, number: int) -> list[SynapticLayer]:
    """A student's layers that go step by step where it may end early: all but one that takes int8 values."""
    layers = ensemble.students[number].layers
    first = 1 if ensemble.encoder.kind == "direct" else 0
    return [layer for layer in layers[first:] if isinstance(layer, SynapticLayer)]
