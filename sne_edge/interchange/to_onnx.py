"""Models for ONNX runtimes: the same integers as the reference and C, by standard integer operators.

In: a `QuantEnsemble`. Out: an `onnx.ModelProto`, opset 17, without operators of anyone's own. Parts of it:

    whole       the ensemble under a policy. Students that a cascade, a route or a budget may leave out stand in the
                branches of `If` in a `Loop` over stages, for one sample at a time; other policies take any number.
    student:K   one student alone: a `Scan` over time, with its spike counts and the states that it ends in
    step:K      one timestep of a student, states in and out, for a stream: states that are not given are at rest; of a
                rate the draws begin anew after the model's timesteps

Inputs, axes in the package's order:

    direct, rate   float [N, height, width, channels], encoded inside; or, `encoded`, the int8 values
    frames         the same, [N, timesteps, height, width, channels]
    events         uint8 0 or 1, [N, timesteps, height, width, channels]; of a step without the axis of time

Outputs: `logits` int32 [N, classes] (of a student its part of them), `label` int64 [N] (of the whole -1 where a
rejection gives none), `margin` int32 [N], or of a regression in place of these two `values` float64 [N, outputs], and
`active` (a mask of students), `students_run`, `stop` (an index into `ir.schedule.STOPS`), `timesteps` int64 [N] where a
policy decides them; of a student `total` int32 [N, classes], `spikes` int64 [N, populations that fire], and states by
name: of a student as the device keeps them, charged; of a step as it takes them again. A state is a tensor
[N, channels], or [N, channels, height, width] of a map. The metadata have the model's name, fingerprint, classes and
policy, and the states' shapes.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ..errors import SneError
from ..ir.artifact import fingerprint
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy, format_policy
from .onnx_nodes import Nodes
from .onnx_policy import output, verdict, whole
from .onnx_run import draws, encode, fired_by, map_of, part_of, run
from .onnx_student import Student, Timestep


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
    kind, _, number = part.partition(":")
    if kind == "whole" and not number:
        g, chosen = Nodes(), policy or ensemble.policy
        declared, outputs = whole(g, ensemble, chosen, encoded)
        return _finished(g, ensemble, part, [declared], outputs, {}, {}, chosen)
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


def _student(ensemble: QuantEnsemble, number: int, steps: int, encoded: bool) -> Any:
    g, classes = Nodes(), len(ensemble.classes)
    given = encode(g, ensemble.encoder, "N", encoded, steps)
    ran = run(g, ensemble, number, given, "N", steps, shown=True)
    student = Student(ensemble.students[number], ensemble.encoder, f"student{number}/")
    outputs = _scores(g, ensemble, ran.part, "N")
    outputs.append(output(g, ran.total, "total", np.int32, ("N", classes)))
    if ran.counts:
        firing = sum(p.neuron.spikes for p in student.graph.populations)
        outputs.append(output(g, ran.counts, "spikes", np.int64, ("N", firing)))
    layout = {}
    for state in student.states:
        if state.name in ran.states:
            name = state.name.removeprefix(student.where)
            outputs.append(output(g, ran.states[state.name], name, state.dtype, ("N", *state.dims)))
            layout[name] = list(state.dims)
    return _finished(g, ensemble, f"student:{number}", [given.declared], outputs, layout, {})


def _step(ensemble: QuantEnsemble, number: int, encoded: bool) -> Any:
    g, encoder, where = Nodes(), ensemble.encoder, f"student{number}/"
    student = Student(ensemble.students[number], encoder, where)
    given = encode(g, encoder, 1, encoded, None)
    x, made = map_of(encoder, given.name), Timestep()
    counters: dict[str, tuple[type[np.signedinteger[Any]], int]] = {}
    if encoder.kind == "rate":
        counters["timestep"] = (np.int64, 0)
        place = g("Mod", "timestep", g.number(encoder.timesteps, np.int64), name="timestep of the model")
        draw = g("Gather", draws(g, encoder, encoder.timesteps), place, axis=0, name="draw")
        x = map_of(encoder, fired_by(g, encoder, given.name, draw, where))
    constants = student.constants(g, x if encoder.kind == "direct" else None, made)
    kept = [s for s in student.states if s.name != f"{where}total" or student.totals.remembers_total]
    held = {s.name: s.name.removeprefix(where) for s in kept}
    if student.graph.decoder.kind == "first":
        counters["remaining"] = (np.int32, encoder.timesteps)
    made = student.step(g, None if encoder.kind == "direct" else x, constants, held, "remaining")
    inputs, outputs, layout = [given.declared], [], {}
    starts = {}
    for s in kept:
        name = held[s.name]
        inputs.append(g.value(name, s.dtype, (1, *s.dims)))
        starts[name] = np.full((1, *s.dims), s.start, s.dtype)
        outputs.append(output(g, made.states[s.name], f"{name}.next", s.dtype, (1, *s.dims)))
        layout[name] = list(s.dims)
    for name, (kind, start) in counters.items():
        inputs.append(g.value(name, kind, ()))
        starts[name], layout[name] = np.array(start, kind), []
        moved = g("Add", name, g.number(1 if start == 0 else -1, kind), name=f"{name} after")
        outputs.append(g.value(g("Max", moved, g.number(0, kind), name=f"{name}.next"), kind, ()))
    part = part_of(g, ensemble, number, made.total, f"{where}part")
    scores = _scores(g, ensemble, part, 1)
    if made.counts:
        counts = g("Concat", *made.counts, axis=1, name="spikes")
        scores.append(g.value(counts, np.int64, (1, len(made.counts))))
    return _finished(g, ensemble, f"step:{number}", inputs, [*scores, *outputs], layout, starts)


def _scores(g: Nodes, ensemble: QuantEnsemble, part: str, samples: int | str) -> list[Any]:
    """The outputs of a student's part of the logits; of a regression the part alone, for they add up."""
    classes = len(ensemble.classes)
    if ensemble.regression:
        return [output(g, part, "logits", np.int32, (samples, classes))]
    return verdict(g, part, samples, classes)


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
