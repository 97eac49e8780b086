"""An ensemble under a policy in ONNX: who wakes, when it ends, and the decision; `ir.schedule` in standard operators.

In: an ensemble and a policy. Out: nodes, and what the model's outputs are declared as.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.policy import NEVER, ActivationPolicy, check_fits
from ..ir.rejection import MOST, NONE, WHOLE, Rejection
from ..ir.student import QuantStudent
from .onnx_nodes import Dims, Nodes
from .onnx_run import Input, Ran, added, distinct, encode, run


@dataclass(frozen=True)
class Decision:
    """What a policy made of samples: names. `logits` int32 [N, classes], `students_run` int64 [N], `fired` int64 [N],
    all spikes of the students that ran, where a rejection asks for them; `others`: outputs int64 [N] by name."""

    logits: str
    students_run: str
    fired: str
    others: dict[str, str]


def output(g: Nodes, name: str, output: str, dtype: Any, dims: Dims) -> Any:
    return g.value(g("Identity", name, name=output), dtype, dims)


def verdict(g: Nodes, logits: str, samples: int | str, classes: int, rejected: str = "") -> list[Any]:
    """The outputs `logits`, `label` and `margin`; where `rejected`, bool [N], the label is `NONE`."""
    label = "best class" if rejected else "label"
    g("Identity", logits, name="logits")
    g("ArgMax", "logits", axis=1, keepdims=0, name=label)
    if rejected:
        g("Where", rejected, g.number(NONE, np.int64), label, name="label")
    g("Squeeze", margin_of(g, "logits", "highest two"), g.vector(1), name="margin")
    return [
        g.value("logits", np.int32, (samples, classes)),
        g.value("label", np.int64, (samples,)),
        g.value("margin", np.int32, (samples,)),
    ]


def numbers(g: Nodes, logits: str, samples: int | str, classes: int, scale: float) -> list[Any]:
    """The outputs `logits` and `values`, float64, what they stand for."""
    g("Identity", logits, name="logits")
    g(
        "Mul",
        g.cast("logits", np.float64, "logits as numbers"),
        g.constant("logit scale", scale, np.float64),
        name="values",
    )
    return [g.value("logits", np.int32, (samples, classes)), g.value("values", np.float64, (samples, classes))]


def margin_of(g: Nodes, logits: str, name: str) -> str:
    """Highest minus second highest of the last axis, which stays."""
    highest, _ = g.several("TopK", logits, g.vector(2), axis=-1, names=(name, f"{name} classes"))
    ends = (g.number(k, np.int64) for k in (0, 1))
    one, two = (g("Gather", highest, end, axis=-1, name=f"{name}/{k}") for k, end in enumerate(ends))
    lead = g("Sub", one, two, name=f"{name}/lead")
    return g("Unsqueeze", lead, g.vector(-1), name=f"{name}/margin")


def whole(g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, encoded: bool) -> tuple[Any, list[Any]]:
    """The ensemble under a policy: its input and its outputs, as they are declared."""
    check_fits(policy, ensemble)
    classes = len(ensemble.classes)
    steps = policy.timesteps or ensemble.encoder.timesteps
    bias = g.constant("bias", ensemble.bias[None], np.int32)
    waits = policy.kind in ("cascade", "routed", "budget")
    samples: int | str = 1 if waits else "N"
    given = encode(g, ensemble.encoder, samples, encoded, steps)
    made = (_stages if waits else _together)(g, ensemble, policy, given, steps, bias)
    if ensemble.regression:
        outputs = numbers(g, made.logits, samples, classes, ensemble.logit_scale)
    else:
        rule = ensemble.rejection
        rejected = _rejected(g, made, rule) if isinstance(rule, Rejection) else ""
        outputs = verdict(g, made.logits, samples, classes, rejected)
    return given.declared, [*outputs, *(output(g, made.others[name], name, np.int64, (1,)) for name in made.others)]


def _together(
    g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, given: Input, steps: int, bias: str
) -> Decision:
    """Students of whom none is left out, of any number of samples."""
    count = policy.students if policy.kind == "first" else len(ensemble.students)
    chosen = [k for k in ensemble.order[:count] if policy.kind != "mask" or policy.mask >> k & 1]
    ran = [run(g, ensemble, k, given, "N", steps) for k in chosen]
    counts = [student.counts for student in ran if student.counts] if _looks_at_spikes(ensemble) else []
    fired = [g("ReduceSum", name, g.vector(1), keepdims=0, name=f"{name} in all") for name in counts]
    return Decision(
        logits=added(g, [*(student.part for student in ran), bias], "logits of all"),
        students_run=g.number(len(chosen), np.int64),
        fired=added(g, fired, "spikes of all") if fired else g.vector(0),
        others={},
    )


def _looks_at_spikes(ensemble: QuantEnsemble) -> bool:
    return isinstance(ensemble.rejection, Rejection) and ensemble.rejection.spikes != (0, MOST)


def _rejected(g: Nodes, made: Decision, rule: Rejection) -> str:
    """Whether an input gets no label, bool [N]: `ir.rejection.Rejection` has the rule."""
    logits = g.cast(made.logits, np.int64, "wide logits")
    ends = (g(f"Reduce{end}", logits, axes=[1], keepdims=0, name=f"{end} logit") for end in ("Max", "Min"))
    margin = g("Squeeze", margin_of(g, logits, "highest two at the end"), g.vector(1), name="wide margin")
    span = g("Mul", g("Sub", *ends, name="span"), g.number(rule.ratio, np.int64), name="ratio of the span")
    lead = g("Mul", margin, g.number(WHOLE, np.int64), name="lead")
    reasons = [
        g("Less", lead, span, name="ratio is low"),
        g("Less", margin, g.number(rule.margin, np.int64), name="margin is low"),
    ]
    if rule.spikes != (0, MOST):
        least, most = (
            g("Mul", made.students_run, g.number(limit, np.int64), name=f"{what} spikes")
            for what, limit in zip(("least", "most"), rule.spikes, strict=True)
        )
        reasons += [
            g("Less", made.fired, least, name="fires little"),
            g("Greater", made.fired, most, name="fires much"),
        ]
    rejected = reasons[0]
    for n, reason in enumerate(reasons[1:]):
        rejected = g("Or", rejected, reason, name=f"rejected ({n})")
    return rejected


def _stages(
    g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, given: Input, steps: int, bias: str
) -> Decision:
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
        body.value("fired so far", np.int64, (1,)),
    ]
    place = body("Unsqueeze", "stage", g.vector(0), name="stage as an index")
    student = _next_student(body, ensemble, policy, place)
    early = bool(policy.early) and steps > 1
    budget = policy.kind == "budget"
    woken = [_woken(body, ensemble, k, student, given, steps, early, budget) for k in range(students)]
    spent = "spent so far"
    run_steps = g.vector(steps)
    reasons = []  # (reason, bool [1]), the strongest first
    now = [names["fired"] for names in woken if "fired" in names]
    if early:
        logits, run_steps, sure, now = _early(body, ensemble, policy, woken, place, steps)
        reasons.append((3, sure))
    else:
        logits = added(body, ["logits so far", *(names["part"] for names in woken)], "logits now")
    if budget:
        spent = added(body, ["spent so far", *(names["operations"] for names in woken)], "spent now")
        most = [ensemble.students[k].max_ops for k in ensemble.order]
        table = g.constant("most operations of the next", [*most[1:], -(2**40)], np.int64)
        ahead = body("Add", spent, body("Gather", table, place, name="next operations"), name="operations ahead")
        reasons.append((2, body("Greater", ahead, g.number(policy.max_ops, np.int64), name="over budget")))
    else:
        table = g.constant("margins", [*policy.margins, NEVER], np.int32)
        margin = body("Squeeze", margin_of(body, logits, "highest two now"), g.vector(1), name="margin now")
        enough = body("Gather", table, place, name="margin wanted")
        reasons.append((1, body("GreaterOrEqual", margin, enough, name="margin suffices")))
    stop = g.vector(0)
    for reason, met in reversed(reasons):
        stop = body("Where", met, g.vector(reason), stop, name=f"stop {reason}")
    complete = body("Equal", stop, g.vector(0), name="no reason")
    ran = body("Equal", g.constant("students", np.arange(students), np.int64), student, name="runs")
    fired = added(body, ["fired so far", *now], "fired now")
    taken = {"logits so far", "ran so far", "spent so far", "stop so far", "timesteps so far", "fired so far"}
    nexts = [
        (body("Squeeze", complete, g.vector(0), name="goes on"), np.bool_, ()),
        (logits, np.int32, (1, classes)),
        (body("Or", "ran so far", ran, name="ran now"), np.bool_, (students,)),
        (spent, np.int64, (1,)),
        (stop, np.int64, (1,)),
        (run_steps, np.int64, (1,)),
        (fired, np.int64, (1,)),
    ]
    outputs = [body.value(distinct(body, name, f"{name} after", taken), kind, dims) for name, kind, dims in nexts]
    none = g.constant("no student", np.zeros(students), np.bool_)
    ends = ("logits at the end", "ran", "spent", "stop at the end", "timesteps at the end", "fired")
    g.several(
        "Loop",
        *(g.number(students, np.int64), g.constant("true", True, np.bool_)),
        *(bias, none, g.vector(0), g.vector(0), g.vector(0), g.vector(0)),
        names=ends,
        body=body.graph("a stage", inputs, outputs),
    )
    ran_number = g.cast("ran", np.int64, "ran as numbers")
    bits = g.constant("bits", 2 ** np.arange(students, dtype=np.int64), np.int64)
    masked = g("Mul", ran_number, bits, name="bits of the mask")
    others = {
        "active": g("ReduceSum", masked, g.vector(0), keepdims=1, name="mask"),
        "students_run": g("ReduceSum", ran_number, g.vector(0), keepdims=1, name="number of students"),
        "stop": ends[3],
        "timesteps": ends[4],
    }
    return Decision(ends[0], others["students_run"], ends[5], others)


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
    given: Input,
    steps: int,
    early: bool,
    budget: bool,
) -> dict[str, str]:
    """A student that runs if it is its turn; else it gives zeros: `part` of the logits, or with `early` the `parts`
    after every timestep; with `budget` its `operations`; where a rejection looks at spikes, how often it `fired`, with
    `early` after every timestep."""
    where, classes = f"student{number}", len(ensemble.classes)
    awake, asleep = g.inner(), g.inner()
    ran = run(awake, ensemble, number, given, 1, steps, by_time=early, counted=budget)
    dims: tuple[int, ...] = (steps, 1, classes) if early else (1, classes)
    results: list[tuple[str, str, type[np.signedinteger[Any]], tuple[int, ...]]]
    results = [("parts", ran.by_time, np.int32, dims) if early else ("part", ran.part, np.int32, dims)]
    if budget:
        work = awake("Reshape", ran.operations or g.vector(0), g.vector(1), name=f"{where} operations awake")
        results.append(("operations", work, np.int64, (1,)))
    if _looks_at_spikes(ensemble):
        fired = _firing(awake, ensemble.students[number], ensemble.encoder, ran, where, early)
        results.append(("fired", fired, np.int64, (steps, 1) if early else (1,)))
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


def _firing(awake: Nodes, student: QuantStudent, encoder: Encoder, ran: Ran, where: str, early: bool) -> str:
    """A student's spikes, int64 [1]; with `early` those until after each timestep, [timesteps, 1], where the first
    layer of a chain of a constant input has run through all of them by then."""
    if not ran.counts:
        none = awake.constant(f"{where} never fires", np.zeros((1,) if not early else (ran.steps, 1)), np.int64)
        return awake("Identity", none, name=f"{where} fires")
    if not early:
        return awake("ReduceSum", ran.counts, awake.vector(1), keepdims=0, name=f"{where} fires")
    known, begun = ran.counts_by_time, awake.vector(0)
    if encoder.kind == "direct" and not isinstance(student.graph, Graph):
        ends = awake.vector(1), awake.vector(2**31), awake.vector(2)
        known = awake("Slice", known, *ends, name=f"{where} later layers")
        begun = awake("Gather", ran.counts, awake.vector(0), axis=1, name=f"{where} first layer")
    each = awake("ReduceSum", known, awake.vector(2), keepdims=0, name=f"{where} fires by timestep")
    until = awake("CumSum", each, awake.number(0, np.int64), name=f"{where} fires until")
    return awake("Add", until, awake("Reshape", begun, awake.vector(1), name=f"{where} begun"), name=f"{where} fires")


def _early(
    g: Nodes, ensemble: QuantEnsemble, policy: ActivationPolicy, woken: list[dict[str, str]], place: str, steps: int
) -> tuple[str, str, str, list[str]]:
    """Logits int32 [1, classes], timesteps int64 [1], whether a student ended early, bool [1], and each student's
    spikes until then, int64 [1], where they are looked at."""
    students, whole = len(ensemble.students), ensemble.encoder.timesteps - 1
    logits = added(g, ["logits so far", *(names["parts"] for names in woken)], "logits by timestep")
    table = np.array(policy.early).reshape(students, whole)[:, : steps - 1]
    limits = g("Gather", g.constant("early margins", table, np.int32), place, axis=0, name="early margins of the stage")
    before = g("Slice", logits, g.vector(0), g.vector(steps - 1), g.vector(0), name="logits before the end")
    margins = g("Squeeze", margin_of(g, before, "highest two by timestep"), g.vector(1, 2), name="margins by timestep")
    sure = g.cast(
        g("GreaterOrEqual", margins, g("Squeeze", limits, g.vector(0), name="early limits"), name="sure by timestep"),
        np.int32,
        "sure as a number",
    )
    first = g("ArgMax", sure, axis=0, keepdims=1, name="first sure")
    ended = g.cast(g("ReduceMax", sure, axes=[0], keepdims=1, name="ever sure"), np.bool_, "ends early")
    last = g("Where", ended, first, g.vector(steps - 1), name="last timestep")
    fired = [names["fired"] for names in woken if "fired" in names]
    until = [g("Gather", name, last, axis=0, name=f"{name} then") for name in fired]
    return (
        g("Squeeze", g("Gather", logits, last, axis=0, name="logits then"), g.vector(0), name="logits now"),
        g("Add", last, g.number(1, np.int64), name="timesteps now"),
        ended,
        [g("Squeeze", name, g.vector(0), name=f"{name} by then") for name in until],
    )
