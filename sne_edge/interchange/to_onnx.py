"""Models for ONNX runtimes: the same integers as the reference and C, by standard integer operators.

In: a `QuantEnsemble`. Out: an `onnx.ModelProto`, opset 17, without operators of anyone's own. Parts of it:

    whole       the ensemble under a policy. Students that a cascade, a route or a budget may leave out stand in the
                branches of `If` in a `Loop` over stages, for one sample at a time; other policies take any number.
    student:K   one student alone: a `Scan` over time, with its spike counts and the states that it ends in
    step:K      one timestep of a student, states in and out, for a stream: states that are not given are at rest

Inputs, axes in the package's order:

    direct, rate   float [N, height, width, channels], encoded inside; or, `encoded`, the int8 values
    frames         the same, [N, timesteps, height, width, channels]
    events         uint8 0 or 1, [N, timesteps, height, width, channels]; of a step without the axis of time

Outputs: `logits` int32 [N, classes] (of a student its part of them), `label` int64 [N], `margin` int32 [N], and
`active` (a mask of students), `students_run`, `stop` (an index into `ir.schedule.STOPS`), `timesteps` int64 [N] where a
policy decides them; of a student `total` int32 [N, classes], `spikes` int64 [N, populations that fire], and states by
name: of a student as the device keeps them, charged; of a step as it takes them again. A state is a tensor
[N, channels], or [N, channels, height, width] of a map. The metadata have the model's name, fingerprint, classes and
policy, and the states' shapes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.artifact import fingerprint
from ..ir.encoder import Encoder, rate_draws
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import NEVER, ActivationPolicy, check_fits, format_policy
from .onnx_nodes import Dims, Nodes
from .onnx_student import ZERO, Map, Student, Timestep, dims_of
from .outgoing import check_outgoing

MOST_DRAWS = 2**28  # bytes of a rate input's table


def to_onnx(
    ensemble: QuantEnsemble,
    part: str = "whole",
    *,
    policy: ActivationPolicy | None = None,
    timesteps: int | None = None,
    encoded: bool = False,
) -> Any:
    """The `onnx.ModelProto` of a part: `whole`, `student:K` or `step:K`.

    policy     of the whole; by default the ensemble's own
    timesteps  of a student; by default the encoder's, 1 to which it can be
    encoded    the input holds the int8 values that the encoder makes, not real ones

    Raises `SneError` for an unknown part, a policy that does not fit, and a model that one file cannot hold.
    """
    check_outgoing(ensemble, "ONNX")
    kind, _, number = part.partition(":")
    if kind == "whole" and not number:
        return _whole(ensemble, policy or ensemble.policy, encoded)
    if kind not in ("student", "step") or not number.isdecimal() or int(number) >= len(ensemble.students):
        raise SneError(
            f"there is no part {part!r} of {ensemble.name}",
            f"give whole, student:K or step:K, with K in 0..{len(ensemble.students) - 1}",
        )
    if timesteps is not None and not 1 <= timesteps <= ensemble.encoder.timesteps:
        raise SneError(f"{timesteps} timesteps are asked for", f"give 1 to the model's {ensemble.encoder.timesteps}")
    if kind == "step":
        return _step(ensemble, int(number), encoded)
    return _student(ensemble, int(number), timesteps or ensemble.encoder.timesteps, encoded)


def parts_of(ensemble: QuantEnsemble) -> list[str]:
    """The parts that there are of a model, the whole first."""
    return ["whole", *(f"{kind}:{k}" for k in range(len(ensemble.students)) for kind in ("student", "step"))]


@dataclass(frozen=True)
class _Input:
    """An encoded input: `name`, uint8 with the zero point 128, 0/1 of events, or int32 rates; where it is `timed`, with
    the axis of time first."""

    name: str
    timed: bool
    declared: Any


def _encode(g: Nodes, encoder: Encoder, samples: int | str, encoded: bool, steps: int | None) -> _Input:
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
    return _Input(x, timed, declared)


def _map(encoder: Encoder, name: str) -> Map:
    values = encoder.multiplies
    return Map(name, encoder.shape, 255 if values else 1, ZERO if values else 0)


def _fired(g: Nodes, encoder: Encoder, rate: str, draw: str, where: str) -> str:
    """A rate's spikes: a timestep's draws below the values."""
    drawn = g.cast(draw, np.int32, f"{where}drawn")
    return g.cast(g("Less", drawn, rate, name=f"{where}drawn below"), np.uint8, f"{where}input spikes")


def _draws(g: Nodes, encoder: Encoder, steps: int) -> str:
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
class _Ran:
    """A student's run: names. `part`: int32 [N, classes] of the logits; `by_time`: int32 [timesteps, N, classes], the
    same after every timestep; `operations`: int64 [N]."""

    total: str
    part: str
    counts: str
    by_time: str
    operations: str
    states: dict[str, str]


def _run(
    g: Nodes,
    ensemble: QuantEnsemble,
    number: int,
    given: _Input,
    samples: int | str,
    steps: int,
    *,
    by_time: bool = False,
    counted: bool = False,
    shown: bool = False,
) -> _Ran:
    """A student over `steps` timesteps: a `Scan`."""
    encoder, where = ensemble.encoder, f"student{number}/"
    student = Student(ensemble.students[number], encoder, where, counted)
    direct, before = encoder.kind == "direct", Timestep()
    constants = student.constants(g, _map(encoder, given.name) if direct else None, before)
    body = g.inner()
    held = {state.name: f"{state.name} before" for state in student.states}
    inputs = [body.value(held[s.name], s.dtype, (samples, *s.dims)) for s in student.states]
    came, scanned = None, ""
    if given.timed:
        scanned = given.name
        dims: Dims = (samples, *dims_of(encoder.shape))
        inputs.append(body.value(f"{where}input", np.uint8, dims))
        came = _map(encoder, f"{where}input")
    elif encoder.kind == "rate":
        scanned = _draws(g, encoder, steps)
        inputs.append(body.value(f"{where}draw", np.uint8, (1, *dims_of(encoder.shape))))
        came = _map(encoder, _fired(body, encoder, given.name, f"{where}draw", where))
    remaining = f"{where}remaining"
    scans = [scanned] if scanned else []
    if not scanned or student.graph.decoder.kind == "first":
        left = encoder.timesteps - np.arange(steps)
        scans.append(g.constant(f"timesteps left in {steps}", left, np.int32))
        inputs.append(body.value(remaining, np.int32, ()))
    made = student.step(body, came, constants, held, remaining)
    scores = {}
    if made.counts:
        counts = body("Concat", *made.counts, axis=1, name=f"{where}counts") if len(made.counts) > 1 else made.counts[0]
        scores["spikes"] = (counts, np.int64, len(made.counts))
    if by_time:
        scores["totals"] = (made.total, np.int32, student.graph.classes)
    if made.operations:
        scores["operations"] = (_sum(body, made.operations, f"{where}operations"), np.int64, 1)
    taken: set[str] = set(held.values())
    outputs = []
    for state in student.states:
        name = _distinct(body, made.states[state.name], f"{state.name} after", taken)
        outputs.append(body.value(name, state.dtype, (samples, *state.dims)))
    for what, (name, kind, many) in scores.items():
        name = _distinct(body, name, f"{where}{what} now", taken)
        outputs.append(body.value(name, kind, (samples, many)))
    starts = [_start(g, given, samples, state.dtype, state.dims, state.start) for state in student.states]
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
    return _Ran(
        total=total,
        part=_part(g, ensemble, number, total, f"{where}part"),
        counts=g("ReduceSum", f"{where}spikes by timestep", g.vector(0), keepdims=0, name=f"{where}spike counts")
        if "spikes" in scores
        else "",
        by_time=_part(g, ensemble, number, f"{where}totals by timestep", f"{where}parts") if by_time else "",
        operations=_sum(g, operations, f"{where}all operations") if operations else "",
        states=student.shown(g, states, constants) if shown else {},
    )


def _part(g: Nodes, ensemble: QuantEnsemble, number: int, total: str, name: str) -> str:
    """bias + gain * total."""
    student, where = ensemble.students[number], f"student{number}"
    gained = total
    if (student.gain != 1).any():
        gained = g("Mul", total, g.constant(f"{where}/gain", student.gain, np.int32), name=f"{name} without bias")
    return g("Add", gained, g.constant(f"{where}/bias", student.bias, np.int32), name=name)


def _sum(g: Nodes, terms: list[str], name: str) -> str:
    total = terms[0]
    for n, term in enumerate(terms[1:], start=1):
        total = g("Add", total, term, name=f"{name} ({n})")
    return total


def _distinct(g: Nodes, name: str, other: str, taken: set[str]) -> str:
    """A graph's output that no input and no other output is."""
    if name in taken or name in g.constants:
        name = g("Identity", name, name=other)
    taken.add(name)
    return name


def _start(g: Nodes, given: _Input, samples: int | str, dtype: Any, dims: tuple[int, ...], start: int) -> str:
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


def _student(ensemble: QuantEnsemble, number: int, steps: int, encoded: bool) -> Any:
    g, classes = Nodes(), len(ensemble.classes)
    given = _encode(g, ensemble.encoder, "N", encoded, steps)
    ran = _run(g, ensemble, number, given, "N", steps, shown=True)
    student = Student(ensemble.students[number], ensemble.encoder, f"student{number}/")
    outputs = _verdict(g, ran.part, "N", classes)
    outputs.append(_output(g, ran.total, "total", np.int32, ("N", classes)))
    if ran.counts:
        firing = sum(p.neuron.spikes for p in student.graph.populations)
        outputs.append(_output(g, ran.counts, "spikes", np.int64, ("N", firing)))
    layout = {}
    for state in student.states:
        if state.name in ran.states:
            name = state.name.removeprefix(student.where)
            outputs.append(_output(g, ran.states[state.name], name, state.dtype, ("N", *state.dims)))
            layout[name] = list(state.dims)
    return _finished(g, ensemble, f"student:{number}", [given.declared], outputs, layout, {})


def _step(ensemble: QuantEnsemble, number: int, encoded: bool) -> Any:
    g, encoder, where = Nodes(), ensemble.encoder, f"student{number}/"
    if encoder.kind == "rate":
        raise SneError(
            "a rate input draws its spikes over all timesteps, and has no single one",
            "export student:K, or make a model of raw events, which takes spikes",
        )
    student = Student(ensemble.students[number], encoder, where)
    given = _encode(g, encoder, 1, encoded, None)
    x, made = _map(encoder, given.name), Timestep()
    constants = student.constants(g, x if encoder.kind == "direct" else None, made)
    kept = [s for s in student.states if s.name != f"{where}total" or student.remembers_total]
    held = {s.name: s.name.removeprefix(where) for s in kept}
    first = student.graph.decoder.kind == "first"
    made = student.step(g, None if encoder.kind == "direct" else x, constants, held, "remaining")
    inputs, outputs, layout = [given.declared], [], {}
    starts = {}
    for s in kept:
        name = held[s.name]
        inputs.append(g.value(name, s.dtype, (1, *s.dims)))
        starts[name] = np.full((1, *s.dims), s.start, s.dtype)
        outputs.append(_output(g, made.states[s.name], f"{name}.next", s.dtype, (1, *s.dims)))
        layout[name] = list(s.dims)
    if first:
        inputs.append(g.value("remaining", np.int32, ()))
        starts["remaining"] = np.array(encoder.timesteps, np.int32)
        less = g("Sub", "remaining", g.number(1, np.int32), name="one less")
        outputs.append(g.value(g("Max", less, g.number(0, np.int32), name="remaining.next"), np.int32, ()))
        layout["remaining"] = []
    part = _part(g, ensemble, number, made.total, f"{where}part")
    scores = _verdict(g, part, 1, len(ensemble.classes))
    if made.counts:
        counts = g("Concat", *made.counts, axis=1, name="spikes")
        scores.append(g.value(counts, np.int64, (1, len(made.counts))))
    return _finished(g, ensemble, f"step:{number}", inputs, [*scores, *outputs], layout, starts)


def _output(g: Nodes, name: str, output: str, dtype: Any, dims: Dims) -> Any:
    return g.value(g("Identity", name, name=output), dtype, dims)


def _verdict(g: Nodes, logits: str, samples: int | str, classes: int) -> list[Any]:
    """The outputs `logits`, `label` and `margin`."""
    g("Identity", logits, name="logits")
    g("ArgMax", "logits", axis=1, keepdims=0, name="label")
    g("Squeeze", _margin(g, "logits", "highest two"), g.vector(1), name="margin")
    return [
        g.value("logits", np.int32, (samples, classes)),
        g.value("label", np.int64, (samples,)),
        g.value("margin", np.int32, (samples,)),
    ]


def _margin(g: Nodes, logits: str, name: str) -> str:
    """Highest minus second highest of the last axis, which stays."""
    highest, _ = g.several("TopK", logits, g.vector(2), axis=-1, names=(name, f"{name} classes"))
    ends = (g.number(k, np.int64) for k in (0, 1))
    one, two = (g("Gather", highest, end, axis=-1, name=f"{name}/{k}") for k, end in enumerate(ends))
    lead = g("Sub", one, two, name=f"{name}/lead")
    return g("Unsqueeze", lead, g.vector(-1), name=f"{name}/margin")


def _finished(
    g: Nodes,
    ensemble: QuantEnsemble,
    part: str,
    inputs: list[Any],
    outputs: list[Any],
    layout: dict[str, list[int]],
    starts: dict[str, np.ndarray],
    policy: ActivationPolicy | None = None,
) -> Any:
    encoder = ensemble.encoder
    described = {
        "model": ensemble.name,
        "fingerprint": fingerprint(ensemble),
        "part": part,
        "classes": json.dumps(ensemble.classes),
        "timesteps": str(encoder.timesteps),
        "encoder": json.dumps({"kind": encoder.kind, "scale": encoder.scale, "offset": encoder.offset}),
        "logit_scale": repr(ensemble.logit_scale),
    }
    if policy is not None:
        described["policy"] = format_policy(policy)
    if layout:
        described["states"] = json.dumps(layout)
    return g.model(f"{ensemble.name} {part}", inputs, outputs, described, starts)


def _whole(ensemble: QuantEnsemble, policy: ActivationPolicy, encoded: bool) -> Any:
    check_fits(policy, ensemble)
    g, classes = Nodes(), len(ensemble.classes)
    steps = policy.timesteps or ensemble.encoder.timesteps
    bias = g.constant("bias", ensemble.bias[None], np.int32)
    if policy.kind in ("cascade", "routed", "budget"):
        given = _encode(g, ensemble.encoder, 1, encoded, steps)
        ended = _stages(g, ensemble, policy, given, steps, bias)
        outputs = _verdict(g, ended["logits"], 1, classes)
        outputs += [_output(g, ended[name], name, np.int64, (1,)) for name in ended if name != "logits"]
    else:
        given = _encode(g, ensemble.encoder, "N", encoded, steps)
        count = policy.students if policy.kind == "first" else len(ensemble.students)
        chosen = [k for k in ensemble.order[:count] if policy.kind != "mask" or policy.mask >> k & 1]
        parts = [_run(g, ensemble, k, given, "N", steps).part for k in chosen]
        outputs = _verdict(g, _sum(g, [*parts, bias], "logits of all"), "N", classes)
    return _finished(g, ensemble, "whole", [given.declared], outputs, {}, {}, policy)


def _stages(
    g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, given: _Input, steps: int, bias: str
) -> dict[str, str]:
    """A loop that wakes one student after the other, of one sample, until there is a reason to end: `ir.schedule`."""
    students, classes = len(ensemble.students), len(ensemble.classes)
    body = g.inner()
    inputs = [
        body.value("stage", np.int64, ()),
        body.value("going on", np.bool_, ()),
        body.value("logits so far", np.int32, (1, classes)),
        body.value("ran so far", np.bool_, (students,)),
        body.value("spent so far", np.int64, (1,)),
        body.value("stop so far", np.int64, (1,)),
        body.value("timesteps so far", np.int64, (1,)),
    ]
    place = body("Unsqueeze", "stage", g.vector(0), name="stage as an index")
    student = _next_student(body, ensemble, policy, place)
    early = bool(policy.early) and steps > 1
    budget = policy.kind == "budget"
    woken = [_woken(body, ensemble, k, student, given, steps, early, budget) for k in range(students)]
    spent = "spent so far"
    run_steps = g.vector(steps)
    reasons = []  # (reason, bool [1]), the strongest first
    if early:
        logits, run_steps, sure = _early(body, ensemble, policy, woken, place, steps)
        reasons.append((3, sure))
    else:
        logits = _sum(body, ["logits so far", *(names["part"] for names in woken)], "logits now")
    if budget:
        spent = _sum(body, ["spent so far", *(names["operations"] for names in woken)], "spent now")
        most = [ensemble.students[k].max_ops for k in ensemble.order]
        table = g.constant("most operations of the next", [*most[1:], -(2**40)], np.int64)
        ahead = body("Add", spent, body("Gather", table, place, name="next operations"), name="operations ahead")
        reasons.append((2, body("Greater", ahead, g.number(policy.max_ops, np.int64), name="over budget")))
    else:
        table = g.constant("margins", [*policy.margins, NEVER], np.int32)
        margin = body("Squeeze", _margin(body, logits, "highest two now"), g.vector(1), name="margin now")
        enough = body("Gather", table, place, name="margin wanted")
        reasons.append((1, body("GreaterOrEqual", margin, enough, name="margin suffices")))
    stop = g.vector(0)
    for reason, met in reversed(reasons):
        stop = body("Where", met, g.vector(reason), stop, name=f"stop {reason}")
    complete = body("Equal", stop, g.vector(0), name="no reason")
    ran = body("Equal", g.constant("students", np.arange(students), np.int64), student, name="runs")
    taken = {"logits so far", "ran so far", "spent so far", "stop so far", "timesteps so far"}
    nexts = [
        (body("Squeeze", complete, g.vector(0), name="goes on"), np.bool_, ()),
        (logits, np.int32, (1, classes)),
        (body("Or", "ran so far", ran, name="ran now"), np.bool_, (students,)),
        (spent, np.int64, (1,)),
        (stop, np.int64, (1,)),
        (run_steps, np.int64, (1,)),
    ]
    outputs = [body.value(_distinct(body, name, f"{name} after", taken), kind, dims) for name, kind, dims in nexts]
    none = g.constant("no student", np.zeros(students), np.bool_)
    ends = ("logits at the end", "ran", "spent", "stop at the end", "timesteps at the end")
    g.several(
        "Loop",
        *(g.number(students, np.int64), g.constant("true", True, np.bool_)),
        *(bias, none, g.vector(0), g.vector(0), g.vector(0)),
        names=ends,
        body=body.graph("a stage", inputs, outputs),
    )
    ran_number = g.cast("ran", np.int64, "ran as numbers")
    bits = g.constant("bits", 2 ** np.arange(students, dtype=np.int64), np.int64)
    masked = g("Mul", ran_number, bits, name="bits of the mask")
    return {
        "logits": ends[0],
        "active": g("ReduceSum", masked, g.vector(0), keepdims=1, name="mask"),
        "students_run": g("ReduceSum", ran_number, g.vector(0), keepdims=1, name="number of students"),
        "stop": ends[3],
        "timesteps": ends[4],
    }


def _next_student(g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, place: str) -> str:
    """Who runs at a stage, int64 [1]: by the order, or the route of the two highest classes."""
    order = g.constant("order", ensemble.order, np.int64)
    if policy.kind != "routed":
        return g("Gather", order, place, name="student of the stage")
    assert ensemble.routes is not None
    _, classes = g.several("TopK", "logits so far", g.vector(2), axis=1, names=("highest two", "two classes"))
    low = g("ReduceMin", classes, axes=[1], keepdims=0, name="lower class")
    high = g("ReduceMax", classes, axes=[1], keepdims=0, name="higher class")
    less = g("Sub", high, g.number(1, np.int64), name="classes below")
    pairs = g("Div", g("Mul", high, less, name="twice the pairs"), g.number(2, np.int64), name="pairs below")
    row = g("Add", pairs, low, name="row of the routes")
    routes = g.constant("routes", ensemble.routes, np.int64)
    route = g("Squeeze", g("Gather", routes, row, axis=0, name="row"), g.vector(0), name="route")
    gone = g("Gather", "ran so far", route, name="gone")
    free = g.cast(g("Not", gone, name="free"), np.int32, "free as a number")
    wanted = g("Gather", route, g("ArgMax", free, axis=0, keepdims=1, name="first free"), name="wanted")
    beginning = g("Equal", place, g.vector(0), name="first stage")
    return g("Where", beginning, g.vector(ensemble.order[0]), wanted, name="student of the stage")


def _woken(
    g: Nodes,
    ensemble: QuantEnsemble,
    number: int,
    student: str,
    given: _Input,
    steps: int,
    early: bool,
    budget: bool,
) -> dict[str, str]:
    """A student that runs if it is its turn; else it gives zeros: `part` of the logits, or with `early` the `parts`
    after every timestep; with `budget` its `operations`."""
    where, classes = f"student{number}", len(ensemble.classes)
    awake, asleep = g.inner(), g.inner()
    ran = _run(awake, ensemble, number, given, 1, steps, by_time=early, counted=budget)
    dims: tuple[int, ...] = (steps, 1, classes) if early else (1, classes)
    results = [("parts", ran.by_time, np.int32, dims) if early else ("part", ran.part, np.int32, dims)]
    if budget:
        work = awake("Reshape", ran.operations or g.vector(0), g.vector(1), name=f"{where} operations awake")
        results.append(("operations", work, np.int64, (1,)))
    outputs: tuple[list[Any], list[Any]] = ([], [])
    for name, made, kind, dims in results:
        outputs[0].append(awake.value(made, kind, dims))
        none = g.constant(f"nothing {np.dtype(kind)} {dims}", np.zeros(dims), kind)
        outputs[1].append(asleep.value(asleep("Identity", none, name=f"{where} {name} asleep"), kind, dims))
    turn = g("Squeeze", g("Equal", student, g.vector(number), name=f"{where} turn"), g.vector(0), name=f"{where} wakes")
    names = [f"{where} {name}" for name, *_ in results]
    g.several(
        "If",
        turn,
        names=names,
        then_branch=awake.graph(f"student {number}", [], outputs[0]),
        else_branch=asleep.graph(f"student {number} asleep", [], outputs[1]),
    )
    return {result[0]: name for result, name in zip(results, names, strict=True)}


def _early(
    g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, woken: list[dict[str, str]], place: str, steps: int
) -> tuple[str, str, str]:
    """Logits int32 [1, classes], timesteps int64 [1] and whether a student ended early, bool [1]."""
    students, whole = len(ensemble.students), ensemble.encoder.timesteps - 1
    logits = _sum(g, ["logits so far", *(names["parts"] for names in woken)], "logits by timestep")
    table = np.array(policy.early).reshape(students, whole)[:, : steps - 1]
    limits = g("Gather", g.constant("early margins", table, np.int32), place, axis=0, name="early margins of the stage")
    before = g("Slice", logits, g.vector(0), g.vector(steps - 1), g.vector(0), name="logits before the end")
    margins = g("Squeeze", _margin(g, before, "highest two by timestep"), g.vector(1, 2), name="margins by timestep")
    sure = g.cast(
        g("GreaterOrEqual", margins, g("Squeeze", limits, g.vector(0), name="early limits"), name="sure by timestep"),
        np.int32,
        "sure as a number",
    )
    first = g("ArgMax", sure, axis=0, keepdims=1, name="first sure")
    ended = g.cast(g("ReduceMax", sure, axes=[0], keepdims=1, name="ever sure"), np.bool_, "ends early")
    last = g("Where", ended, first, g.vector(steps - 1), name="last timestep")
    return (
        g("Squeeze", g("Gather", logits, last, axis=0, name="logits then"), g.vector(0), name="logits now"),
        g("Add", last, g.number(1, np.int64), name="timesteps now"),
        ended,
    )
