"""Flash that a model's code takes: which parts of the engine it brings along; `export.measure` has its tables."""

from __future__ import annotations

from typing import Any

from ..codegen import context
from ..ir.ensemble import QuantEnsemble


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
