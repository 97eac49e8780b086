"""A student over its timesteps in ONNX: the encoded input, and a `Scan`.

In: an ensemble, and the names of its input. Out: nodes, and the names of totals, spike counts, operations and states.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.encoder import Encoder, rate_draws
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.limits import remembered
from ..ir.student import QuantStudent
from .onnx_neurons import dims_of
from .onnx_nodes import Dims, Nodes
from .onnx_student import ZERO, Map, Student, Timestep

MOST_DRAWS = 2**28  # bytes of a rate input's table


@dataclass(frozen=True)
class Input:
    """An encoded input: `name`, uint8 with the zero point 128, 0/1 of events, or int32 rates; where it is `timed`, with
    the axis of time first."""

    name: str
    timed: bool
    declared: Any


def encode(g: Nodes, encoder: Encoder, samples: int | str, encoded: bool, steps: int | None) -> Input:
    """The model's input and what is made of it; `steps`: timesteps that are run, None of a single one."""
    timed = encoder.kind in ("events", "frames") and steps is not None
    axes = (samples, *([encoder.timesteps] if timed else []), *encoder.shape)
    kind: Any = np.uint8 if encoder.kind == "events" else np.int8 if encoded else np.float32
    declared, x = g.value("input", kind, axes), "input"
    if encoder.kind != "events":
        if not encoded:
            real = g.cast(x, np.float64, "input/real")
            each = (("offset", encoder.offset), ("scale", encoder.scale))
            known = {what: g.constant(f"input/{what}", encoder.spread(values), np.float64) for what, values in each}
            moved = g("Sub", real, known["offset"], name="input/moved")
            scaled = g("Div", moved, known["scale"], name="input/scaled")
            rounded = g("Round", scaled, name="input/rounded")
            ends = (g.constant(f"input/{end}", end, np.float64) for end in (-128, 127))
            x = g("Clip", rounded, *ends, name="input/clipped")
        x = g.cast(x, np.int32, "input/integer")
        if encoder.kind != "rate":
            x = g.cast(g("Add", x, g.number(ZERO, np.int32), name="input/shifted"), np.uint8, "input/value")
    if timed and steps is not None and steps < encoder.timesteps:
        x = g("Slice", x, g.vector(0), g.vector(steps), g.vector(1), name="input/begun")
    lead = [1, 0] if timed else [0]  # a loop goes over the first axis
    height, width, channels = (len(lead) + n for n in range(3))
    x = g("Transpose", x, perm=[*lead, channels, height, width], name="input/channel first")
    if encoder.shape[0] * encoder.shape[1] == 1:
        x = g("Reshape", x, g.vector(*[0] * len(lead), encoder.shape[2]), name="input/flat")
    return Input(x, timed, declared)


def map_of(encoder: Encoder, name: str) -> Map:
    values = encoder.multiplies
    return Map(name, encoder.shape, 255 if values else 1, ZERO if values else 0)


def fired_by(g: Nodes, encoder: Encoder, rate: str, draw: str, where: str) -> str:
    """A rate's spikes: a timestep's draws below the values."""
    drawn = g.cast(draw, np.int32, f"{where}drawn")
    return g.cast(g("Less", drawn, rate, name=f"{where}drawn below"), np.uint8, f"{where}input spikes")


def draws(g: Nodes, encoder: Encoder, steps: int) -> str:
    """A table of a rate's draws, uint8 [steps, ...]: the same for every sample."""
    if steps * encoder.size > MOST_DRAWS:
        raise SneError(
            f"a rate input of {encoder.size:,} values over {steps:,} timesteps draws too many numbers for a table",
            "export it as C, which draws them as it runs",
        )
    drawn = rate_draws(encoder.seed, steps, encoder.size).reshape(steps, *encoder.shape)
    moved = drawn.reshape(steps, -1) if encoder.size == encoder.shape[2] else drawn.transpose(0, 3, 1, 2)
    return g.constant(f"input/draws of {steps}", moved[:, None], np.uint8)


@dataclass(frozen=True)
class Ran:
    """A student's run of so many `steps`: names. `part`: int32 [N, classes] of the logits; `by_time`: int32
    [timesteps, N, classes], the same after every timestep; `counts`: int64 [N, populations that fire], `counts_by_time`
    in each timestep; `operations`: int64 [N]."""

    steps: int
    total: str
    part: str
    counts: str
    counts_by_time: str
    by_time: str
    operations: str
    states: dict[str, str]


def run(
    g: Nodes,
    ensemble: QuantEnsemble,
    number: int,
    given: Input,
    samples: int | str,
    steps: int,
    *,
    by_time: bool = False,
    counted: bool = False,
    shown: bool = False,
) -> Ran:
    """A student over `steps` timesteps: a `Scan`."""
    encoder, where = ensemble.encoder, f"student{number}/"
    student = Student(ensemble.students[number], encoder, where, counted, steps)
    direct, before = encoder.kind == "direct", Timestep()
    constants = student.constants(g, map_of(encoder, given.name) if direct else None, before)
    body = g.inner()
    held = {state.name: f"{state.name} before" for state in student.states}
    inputs = [body.value(held[s.name], s.dtype, (samples, *s.dims)) for s in student.states]
    came, scanned = None, ""
    if given.timed:
        scanned = given.name
        dims: Dims = (samples, *dims_of(encoder.shape))
        inputs.append(body.value(f"{where}input", np.uint8, dims))
        came = map_of(encoder, f"{where}input")
    elif encoder.kind == "rate":
        scanned = draws(g, encoder, steps)
        inputs.append(body.value(f"{where}draw", np.uint8, (1, *dims_of(encoder.shape))))
        came = map_of(encoder, fired_by(body, encoder, given.name, f"{where}draw", where))
    remaining = f"{where}remaining"
    scans = [scanned] if scanned else []
    if not scanned or student.graph.decoder.kind == "first":
        left = encoder.timesteps - np.arange(steps)
        scans.append(g.constant(f"timesteps left in {steps}", left, np.int32))
        inputs.append(body.value(remaining, np.int32, ()))
    looked = _looked(g, body, ensemble.students[number], steps, scans, inputs, where) if counted else ""
    made = student.step(body, came, constants, held, remaining, looked)
    scores: dict[str, tuple[str, type[np.signedinteger[Any]], int]] = {}
    if made.counts:
        counts = body("Concat", *made.counts, axis=1, name=f"{where}counts") if len(made.counts) > 1 else made.counts[0]
        scores["spikes"] = (counts, np.int64, len(made.counts))
    if by_time:
        scores["totals"] = (made.total, np.int32, student.graph.classes)
    if made.operations:
        scores["operations"] = (added(body, made.operations, f"{where}operations"), np.int64, 1)
    taken: set[str] = set(held.values())
    outputs = []
    for state in student.states:
        name = distinct(body, made.states[state.name], f"{state.name} after", taken)
        outputs.append(body.value(name, state.dtype, (samples, *state.dims)))
    for what, (name, kind, many) in scores.items():
        name = distinct(body, name, f"{where}{what} now", taken)
        outputs.append(body.value(name, kind, (samples, many)))
    starts = [start_of(g, given, samples, state.dtype, state.dims, state.start) for state in student.states]
    names = [state.name for state in student.states] + [f"{where}{what} by timestep" for what in scores]
    g.several(
        "Scan",
        *starts,
        *scans,
        names=names,
        body=body.graph(f"a timestep of student {number}", inputs, outputs),
        num_scan_inputs=len(scans),
    )
    states = {state.name: state.name for state in student.states}
    total = f"{where}total"
    operations = before.operations
    if "operations" in scores:
        name = g("ReduceSum", f"{where}operations by timestep", g.vector(0), keepdims=0, name=f"{where}run operations")
        operations = [*operations, name]
    return Ran(
        steps=steps,
        total=total,
        part=part_of(g, ensemble, number, total, f"{where}part"),
        counts=g("ReduceSum", f"{where}spikes by timestep", g.vector(0), keepdims=0, name=f"{where}spike counts")
        if "spikes" in scores
        else "",
        counts_by_time=f"{where}spikes by timestep" if "spikes" in scores else "",
        by_time=part_of(g, ensemble, number, f"{where}totals by timestep", f"{where}parts") if by_time else "",
        operations=added(g, operations, f"{where}all operations") if operations else "",
        states=student.shown(g, states, constants) if shown else {},
    )


def _looked(
    g: Nodes, body: Nodes, student: QuantStudent, steps: int, scans: list[str], inputs: list[Any], where: str
) -> str:
    """Whether a timestep's spikes meet a chain's readout, int64 [] 0 or 1: what a window forgets by the end does not;
    "" where all do."""
    window = 0 if isinstance(student.graph, Graph) else remembered(student.readout)
    if not 0 < window < steps:
        return ""
    scans.append(g.constant(f"the last {window} of {steps}", np.arange(steps) >= steps - window, np.int64))
    inputs.append(body.value(f"{where}looked", np.int64, ()))
    return f"{where}looked"


def part_of(g: Nodes, ensemble: QuantEnsemble, number: int, total: str, name: str) -> str:
    """bias + gain * total."""
    student, where = ensemble.students[number], f"student{number}"
    gained = total
    if (student.gain != 1).any():
        gained = g("Mul", total, g.constant(f"{where}/gain", student.gain, np.int32), name=f"{name} without bias")
    return g("Add", gained, g.constant(f"{where}/bias", student.bias, np.int32), name=name)


def added(g: Nodes, terms: list[str], name: str) -> str:
    total = terms[0]
    for n, term in enumerate(terms[1:], start=1):
        total = g("Add", total, term, name=f"{name} ({n})")
    return total


def distinct(g: Nodes, name: str, other: str, taken: set[str]) -> str:
    """A graph's output that no input and no other output is."""
    if name in taken or name in g.constants:
        name = g("Identity", name, name=other)
    taken.add(name)
    return name


def start_of(g: Nodes, given: Input, samples: int | str, dtype: Any, dims: tuple[int, ...], start: int) -> str:
    """A state at rest, for as many samples as there are."""
    if isinstance(samples, int):
        return g.constant(f"start {start} of {np.dtype(dtype)} {dims}", np.full((samples, *dims), start), dtype)
    name, size = f"start/{start} {np.dtype(dtype)} {'x'.join(map(str, dims))}", "start/samples"
    done = {node.output[0] for node in g.nodes}
    if size not in done:
        g("Shape", "input", start=0, end=1, name=size)
    if name not in done:
        shape = g("Concat", size, g.vector(*dims), axis=0, name=f"{name}/shape")
        g("Expand", g.number(start, dtype), shape, name=name)
    return name
