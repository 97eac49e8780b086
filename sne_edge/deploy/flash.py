"""Flash that a model takes: its tables, to the byte, and which parts of the engine it brings along."""

from __future__ import annotations

from typing import Any

from ..codegen import context
from ..ir.ensemble import QuantEnsemble

# Bytes of the structures that generated tables are made of, on a core of 32 bits: sne_tables.h, sne_neuron.h,
# sne_student.h, sne_model.h, sne_verify.h, sne.h.
SYNAPSES, NEURONS, POOLING, STAGE, LAYERS = 52, 24, 32, 40, 12
STUDENT, POLICY, MODEL, STREAM, LAYER_INFO, PAIR = 12, 28, 64, 16, 16, 4


def table_bytes(ensemble: QuantEnsemble) -> int:
    """Bytes of a model's constants: weights, thresholds, what names them; without what only graphs have."""
    model = context.build(ensemble)
    classes, students = len(model["classes"]), model["students"]
    parts: list[int] = []
    for axis in model["tables"].axes:
        parts += [(len(axis) + 1) * (4 if model["wide"] else 2), max(1, sum(map(len, axis))) * PAIR]
    for student in students:
        for layer in student["layers"]:
            parts += _layer(layer)
        parts += [4 * classes, 4 * classes, STAGE * len(student["layers"])]
        if model["policy"]["early"]:
            parts += [LAYERS] * (2 if model["encoder"]["kind"] == "direct" else 1)
    parts += [LAYERS * len(students), STUDENT * len(students), len(students), 4 * classes, POLICY, MODEL]
    parts += [4 * len(model["policy"]["margins"]), 4 * len(model["policy"]["early"]), len(model["routes"])]
    parts += [STREAM if model["encoder"]["kind"] == "events" else 0]
    parts += [LAYER_INFO * model["neuron_layers"], len(model["name"]) + 1]
    return sum(-(-part // 4) * 4 for part in parts)


def _layer(layer: dict[str, Any]) -> list[int]:
    if layer["kind"] == "pool":
        return [POOLING]
    lanes = layer["padded"] / 8
    synapses = SYNAPSES + 4 * bool(layer["current_shift"])
    return [len(layer["weight"]), int(lanes * layer["width"]), int(lanes * layer["bias_width"]), synapses, NEURONS]


def code_bytes(ensemble: QuantEnsemble, known: dict[str, float]) -> int:
    """Bytes of code that a model brings along, of parts whose sizes are known: the scheduler, its functions, what these
    share. A function like none that is known counts as the largest that is."""
    functions = context.build(ensemble)["tables"].functions.values()
    total = sum(known.get(part, 0.0) for part in {"shared", *(part for f in functions for part in shared_parts(f))})
    total += sum(known.get(part, 0.0) for part in beside_parts(ensemble))
    for function in functions:
        for part in function_parts(function):
            alike = [size for name, size in known.items() if name.split(".")[:2] == part.split(".")[:2]]
            total += known.get(part, max(alike, default=0.0))
    return round(total)


def beside_parts(ensemble: QuantEnsemble) -> list[str]:
    """Parts that a model has beside its kernels' functions, once or once a student."""
    students = ["student"] * len(ensemble.students)
    return [
        *students,
        *(["early"] * len(students) if ensemble.policy.early else []),
        f"encoder.{ensemble.encoder.kind}",
    ]


def function_parts(function: dict[str, Any]) -> list[str]:
    """What a specialised function consists of: itself, and the one that fires its neurons."""
    if function["kernel"] == "maxpool":
        return ["layer.maxpool"]
    width, decay, reset = function["width"], function["decay"], function["reset"]
    bits = function["weight_bits"] or 8
    made = [f"layer.{function['kernel']}.{width}.{bits}.{function['current']}.{function['role'] and decay}"]
    if not function["role"]:
        met = {"gather": "one", "mac": "one", "scatter": "scatter"}.get(function["kernel"], "row")
        made.append(f"fire.{width}.{decay}.{reset}.{function['clamp']}.{met}")
    return made


def shared_parts(function: dict[str, Any]) -> list[str]:
    """What specialised functions of this kind call, each once a model."""
    if function["kernel"] == "maxpool":
        return []
    width, bits = function["width"], function["weight_bits"] or 8
    kernel = function["kernel"]
    chained = kernel in ("scatter", "overlap")
    added = {"mac": "multiply", "depthwise": "one"}.get(kernel, "chain" if chained else "add")
    return [f"shared.{kernel}", f"shared.{added}.{width}.{bits}"]
