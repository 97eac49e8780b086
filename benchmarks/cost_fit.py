"""Fit coefficients to measurements: instructions of each count of work, bytes of each part of the code, bytes of
stack.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from cost_jobs import POLICIES, Job, Told
from scipy.optimize import linprog, nnls
from sne_edge.codegen import context
from sne_edge.codegen.layout import StateLayout

from sne_edge.deploy.cost import stack_key
from sne_edge.deploy.flash import beside_parts, function_parts, shared_parts
from sne_edge.deploy.work import overhead, stage_work, step_work
from sne_edge.deploy.work_counts import Kernels, Rates, Work
from sne_edge.deploy.work_fire import Firing
from sne_edge.ir.ensemble import QuantEnsemble


@dataclass(frozen=True)
class Equation:
    """One measurement: its counts by name, the instructions that they took, bytes of stack, and the kind of a layer's
    call; of a whole inference, what is beside its layers."""

    work: Work
    instructions: int
    stack: int
    call: str = ""


def equation(model: QuantEnsemble, layout: StateLayout, job: Job, told: Told, kernels: Kernels) -> Equation:
    """The counts of a job, with what the core told of its spikes."""
    if job.kind in (0, 3):
        students = range(len(model.students))
        rate = job.density / 65536 * 0.5  # values are drawn evenly from 1 .. 127
        work = overhead(model, POLICIES[job.number - 1], students, model.encoder.timesteps, job.kind == 3, rate)
        return Equation(work, told.instructions - told.incoming, told.stack)
    student, stage = model.students[job.student], layout.stages[job.student][job.number]
    direct = model.encoder.kind == "direct" and job.number == 0
    seen = job.bits if direct else job.bits * job.timesteps
    renewed = 1 / job.timesteps + told.changed / max(1, told.incoming)
    rates = Rates(
        told.incoming / seen, told.fired / (job.positions * job.channels * job.timesteps), renewed=renewed
    )  # fmt: skip
    firing = Firing(told.fired, told.fours, told.eights, told.last_fours, told.last_eights)
    if job.kind == 2:
        work = step_work(student, stage, rates, kernels, firing)
    else:
        work = stage_work(student, stage, direct, job.timesteps, rates, kernels, firing=firing)
    key = stack_key(student.layers[stage.layer], stage, direct, kernels)
    return Equation(work, told.instructions, told.stack, key)


def fit(equations: Sequence[Equation]) -> tuple[dict[str, float], dict[str, float]]:
    """Coefficients, none negative, that make the squares of the relative errors least; and the least sum of others that
    no equation exceeds."""
    names = sorted({name for e in equations for name, count in e.work.items() if count})
    matrix = np.array([[e.work[name] for name in names] for e in equations], float)
    counts = np.array([e.instructions for e in equations], float)
    weight = 1 / (counts + 200)  # a hundred instructions more or less do not matter
    scale = np.maximum((matrix * weight[:, None]).max(axis=0), 1e-12)
    scaled = matrix * weight[:, None] / scale
    mean = nnls(scaled, counts * weight, maxiter=50 * len(names))[0] / scale
    least = [(0.9 * m * s, None) for m, s in zip(mean, scale, strict=True)]
    found = linprog(scaled.sum(axis=0), A_ub=-scaled, b_ub=-counts * weight, bounds=least, method="highs")
    assert found.status == 0, found.message
    most = found.x / scale

    def named(values: np.ndarray) -> dict[str, float]:
        return {name: float(f"{value:.6g}") for name, value in zip(names, values, strict=True)}

    return named(mean), {name: float(f"{value * (1 + 1e-6):.7g}") for name, value in zip(names, most, strict=True)}


def errors(equations: Sequence[Equation], coefficients: dict[str, float]) -> np.ndarray:
    """Relative errors of what coefficients predict."""
    told = [sum(coefficients[n] * c for n, c in e.work.items() if c) for e in equations]
    return np.array(told) / np.array([e.instructions for e in equations]) - 1


def fit_code(models: Sequence[QuantEnsemble], symbols: Sequence[dict[str, int]]) -> dict[str, float]:
    """Bytes of each part of the engine: of functions, the mean of those of one kind; of what they share, what adds up
    best over all models."""
    sizes: dict[str, list[int]] = {}
    rows, rest = [], []
    for model, found in zip(models, symbols, strict=True):
        functions = context.build(model)["tables"].functions
        left = dict(found)
        for name, function in functions.items():
            for part, symbol in zip(function_parts(function), (name, f"{name}_fire"), strict=False):
                own = [s for s in left if s == symbol or s.startswith(f"{symbol}.")]
                sizes.setdefault(part, []).append(sum(left.pop(s) for s in own))
        row = Counter({"shared", *(part for f in functions.values() for part in shared_parts(f))})
        rows.append(row + Counter(beside_parts(model)))
        rest.append(sum(left.values()))
    names = sorted({name for row in rows for name in row})
    shared = nnls(np.array([[row[name] for name in names] for row in rows], float), np.array(rest, float))[0]
    means = {part: float(np.mean(found)) for part, found in sizes.items()}
    return {name: round(value, 1) for name, value in {**means, **dict(zip(names, shared, strict=True))}.items()}


def fit_stack(equations: Sequence[Sequence[Equation]]) -> dict[str, int]:
    """Bytes of stack, at most: of each kind of a layer's call, and of what is above it in an inference."""
    found: dict[str, int] = {}
    above = 0
    for of_model in equations:
        deepest = max(e.stack for e in of_model if e.call)
        above = max([above, *(e.stack - deepest for e in of_model if not e.call)])
        for e in of_model:
            if e.call:
                found[e.call] = max(found.get(e.call, 0), e.stack)
    return {"run": above} | dict(sorted(found.items()))
