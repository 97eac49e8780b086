"""The cost model: instructions, flash, RAM and stack of a model on a core, before anything is built or run.

In: an ensemble, a target, and how often its neurons fire: as measured at calibration, or as assumed. Out: the mean of
an inference, and a bound that no input exceeds. Instructions are counts by `work` times what each takes on that core;
`make cost-model` measures that, with the emulator, and stores it in cost.json. Sizes follow from the layout.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from ..codegen.layout import Stage, StateLayout, state_layout
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.layers import Conv, Layer, Linear
from ..ir.policy import ActivationPolicy, check_fits, format_policy
from ..resources import RUNTIME, TEMPLATES, digest
from .export import measure
from .flash import code_bytes
from .rates import firing_shares, measured_rates
from .targets import resolve_target
from .work import direct_kernel, overhead, stage_work, step_work
from .work_counts import Kernels, Rates, Work
from .work_fire import firing_key
from .work_window import windowed

COEFFICIENTS = Path(__file__).parent / "cost.json"
ALIKE = {  # the same kernels
    "cortex-m0plus": "cortex-m0",
    "cortex-m23": "cortex-m0",
    "cortex-m7": "cortex-m4",
    "cortex-m33": "cortex-m4",
    "cortex-m52": "cortex-m55",
    "cortex-m55-nofp": "cortex-m55",
    "cortex-m85": "cortex-m55",
    "riscv32imc": "riscv32",
    "riscv32zb": "riscv32",
}
# Whose kernels a measured core has: what sne_core.h chooses.
KERNELS: dict[str, Kernels] = {
    "cortex-m0": "thumb1",
    "cortex-m3": "thumb2",
    "cortex-m4": "dsp",
    "cortex-m55": "helium",
    "riscv32": "words",
}
SPARE_ALIKE = 1.02  # more of their bounds: what the compiler makes of the rest is a little different
SPARE = 1.02  # of a bound: what counts alone do not tell, such as where in a word a run of bits starts
SPARE_CALL = 250  # instructions of a layer's call: what surrounds it is compiled now this way, now that
# what begins so is run by no inference of a compiled chain; what graphs cost is not modelled
BESIDE = ("sne_wire", "sne_batch", "sne_blob", "sne_load", "sne_graph", "sne_cells")
LEVELS = (1.0, 0.8, 0.6, 0.45, 0.3, 0.2, 0.1, 0.03, 0.0)  # shares of the most spikes at which a bound is sought


@dataclass(frozen=True)
class Core:
    """What a core takes: whose kernels it has; instructions of each count in the mean and at most; bytes of stack
    below a layer's call by its kind, and above it; bytes of code of each part."""

    kernels: Kernels
    mean: dict[str, float]
    most: dict[str, float]
    stack: dict[str, int]
    code: dict[str, float]


@dataclass(frozen=True)
class Estimate:
    """One policy's instructions for an inference: the mean, None where no spike rates are known, and a bound that no
    input exceeds."""

    policy: str
    mean: int | None
    worst: int


@dataclass(frozen=True)
class Need:
    """What a model takes of a core. Bytes: `table_bytes` and `code_bytes` of flash, the engine alone, without golden
    vectors; `ram_bytes` of one state and one input; `stack_bytes`, at most, of an inference."""

    target: str
    table_bytes: int
    code_bytes: int
    ram_bytes: int
    stack_bytes: int
    estimates: tuple[Estimate, ...]

    @property
    def flash_bytes(self) -> int:
        """Tables and code."""
        return self.table_bytes + self.code_bytes


def runtime_digest() -> str:
    """16 hex digits over the C whose costs are stored."""
    engine = (path for path in RUNTIME.glob("sne*.[ch]") if not path.stem.startswith(BESIDE))
    return digest(*sorted(engine), TEMPLATES / "model.c.j2", TEMPLATES / "kernels.c.j2")


def core_costs(target: str) -> Core:
    """What the core of a target takes. Raises `SneError` where it was not measured."""
    name = resolve_target(target).name
    cores = _stored()
    found = cores.get(ALIKE.get(name, name))
    if found is None:
        known = [*cores, *(alias for alias, core in ALIKE.items() if core in cores)]
        raise SneError(f"costs on {name} are not known", f"give one of {', '.join(sorted(known))}")
    if name in ALIKE:
        return replace(found, most={key: SPARE_ALIKE * value for key, value in found.most.items()})
    return found


def forget_costs() -> None:
    """Read them anew: they were measured again."""
    _stored.cache_clear()


@cache
def _stored() -> dict[str, Core]:
    content: dict[str, Any] = json.loads(COEFFICIENTS.read_text(encoding="utf-8"))
    return {
        name: Core(
            KERNELS[name],
            {key: pair[0] for key, pair in core["instructions"].items()},
            {key: pair[1] for key, pair in core["instructions"].items()},
            core["stack"],
            core["code"],
        )
        for name, core in content.items()
    }


def need(
    ensemble: QuantEnsemble,
    target: str,
    policies: Sequence[ActivationPolicy],
    rates: Sequence[Sequence[Rates]] | None = None,
    students_run: float | None = None,
) -> Need:
    """What a model takes of a target's core, under each policy.

    `rates`: by student and stage of its plan; by default those of calibration. `students_run`: by a cascade in the
    mean; by default as the model's figures on held-out samples say. Raises `SneError` where a policy does not fit, the
    target was not measured, or a student is a graph, whose costs are not modelled.
    """
    core, layout = core_costs(target), state_layout(ensemble)
    if any(isinstance(student.graph, Graph) for student in ensemble.students):
        raise SneError(f"{ensemble.name} has a student that is a graph: costs of graphs are not modelled", GRAPH_HINT)
    estimates = tuple(_estimate(core, ensemble, layout, policy, rates, students_run) for policy in policies)
    return Need(
        resolve_target(target).name,
        measure(ensemble, resolve_target(target)).tables,
        code_bytes(ensemble, core.code),
        layout.bytes + ensemble.encoder.input_bytes,
        _stack(core, ensemble, layout),
        estimates,
    )


GRAPH_HINT = "measure it: sne-edge bench MODEL --on qemu:BOARD"


def _estimate(
    core: Core,
    ensemble: QuantEnsemble,
    layout: StateLayout,
    policy: ActivationPolicy,
    rates: Sequence[Sequence[Rates]] | None,
    students_run: float | None,
) -> Estimate:
    check_fits(policy, ensemble)
    steps = policy.timesteps or ensemble.encoder.timesteps
    running = _running(ensemble, policy)
    early = bool(policy.early)
    worst = _told(core.most, overhead(ensemble, policy.kind, running, steps, early, 1.0))
    worst += sum(_worst_student(core, ensemble, layout, number, steps, early) for number in running)
    name = format_policy(policy)
    if early:  # how soon students end is not in a model's figures
        return Estimate(name, None, round(worst * SPARE))
    known = [measured_rates(ensemble, layout, n) if rates is None else rates[n] for n in running]
    found = [one for one in known if one is not None]
    share = _shares(ensemble, policy, len(running), students_run)
    if share is None or len(found) < len(running):
        return Estimate(name, None, round(worst * SPARE))
    direct = ensemble.encoder.kind == "direct"
    first = found[0][0].incoming if found[0] else 0.0
    beside = [_told(core.mean, overhead(ensemble, policy.kind, running[:k], steps, False, first)) for k in (1, 2)]
    mean = beside[0] - (beside[1] - beside[0])
    for number, some, part in zip(running, found, share, strict=True):
        student, stages = ensemble.students[number], layout.stages[number]
        one = sum(
            _told(core.mean, stage_work(student, stage, direct and k == 0, steps, rate, core.kernels))
            for k, (stage, rate) in enumerate(zip(stages, some, strict=True))
        )
        mean += part * (one + beside[1] - beside[0])
    return Estimate(name, round(mean), round(worst * SPARE))


def _running(ensemble: QuantEnsemble, policy: ActivationPolicy) -> list[int]:
    """The students that may run, in the ensemble's order."""
    order = list(ensemble.order)
    if policy.kind == "first":
        return order[: policy.students]
    if policy.kind == "mask":
        return [number for number in order if policy.mask >> number & 1]
    if policy.kind == "budget":
        return order[:1] + [number for number in order[1:] if ensemble.students[number].max_ops <= policy.max_ops]
    return order


def _shares(
    ensemble: QuantEnsemble, policy: ActivationPolicy, running: int, students_run: float | None
) -> list[float] | None:
    """How often each of them runs; None where that is not known. Past the first, a cascade's run alike often."""
    if policy.kind in ("all", "first", "mask") or running == 1:
        return [1.0] * running
    if students_run is None:
        students_run = _recorded(ensemble, policy)
    if students_run is None:
        return None
    return [1.0] + [(students_run - 1) / (running - 1)] * (running - 1)


def _recorded(ensemble: QuantEnsemble, policy: ActivationPolicy) -> float | None:
    """Students that a policy runs on held-out samples, as the model's own figures have it."""
    figures = ensemble.provenance.get("integer")
    rows = figures.get("validation") if isinstance(figures, dict) else None
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, dict) and row.get("policy") == format_policy(policy):
            found = row.get("students_run")
            return float(found) if isinstance(found, int | float) else None
    return None


def _told(costs: dict[str, float], work: Work) -> float:
    return sum(_cost_of(costs, name) * count for name, count in work.items() if count)


def _cost_of(costs: dict[str, float], name: str) -> float:
    """What a count takes; where it was not measured, as much as any of its kind."""
    known = costs.get(name)
    if known is not None:
        return known
    kind, *_, last = name.split(".")
    alike = [cost for other, cost in costs.items() if other.startswith(f"{kind}.") and other.endswith(f".{last}")]
    if not alike:
        raise SneError(f"the cost model knows no {name!r}", "measure the runtime anew: make cost-model")
    return max(alike)


def _worst_student(
    core: Core, ensemble: QuantEnsemble, layout: StateLayout, number: int, steps: int, early: bool
) -> float:
    student, direct = ensemble.students[number], ensemble.encoder.kind == "direct"
    firing = firing_shares(student)
    total = 0.0
    for k, stage in enumerate(layout.stages[number]):
        analog = direct and k == 0
        whole = analog or not early
        incoming = 1.0 if stage.source is None else firing[stage.source]
        most = 0.0
        for level in LEVELS:
            for outgoing in {0.0, 1.0 if firing[stage.layer] else 0.0}:
                rates = Rates(level * incoming, outgoing, certain=True)
                if whole:
                    work = stage_work(student, stage, analog, steps, rates, core.kernels)
                else:
                    work = step_work(student, stage, rates, core.kernels)
                most = max(most, _told(core.most, work))
        calls = 1 if whole else steps
        total += (most + SPARE_CALL) * calls
    return total


def stack_key(layer: Layer, stage: Stage, direct: bool, kernels: Kernels) -> str:
    """The kind of a layer's call, as stacks are measured."""
    if not isinstance(layer, Linear | Conv):
        return "maxpool"
    kernel = direct_kernel(stage) if direct else stage.kernel
    vectors = kernels == "helium" and not direct and windowed(layer, stage) > 0
    fires = "readout" if layer.neuron.kind == "li" else firing_key(layer, kernel, direct, vectors, kernels)
    return f"{kernel}.{layer.width}.{layer.bits} {fires}"


def _stack(core: Core, ensemble: QuantEnsemble, layout: StateLayout) -> int:
    """At most: what was measured of the very kind, else of any with its kernel, else of any."""
    deepest = 0
    for student, stages in zip(ensemble.students, layout.stages, strict=True):
        for k, stage in enumerate(stages):
            direct = ensemble.encoder.kind == "direct" and k == 0
            key = stack_key(student.layers[stage.layer], stage, direct, core.kernels)
            kernel = key.split(".")[0]
            alike = [value for name, value in core.stack.items() if name.split(".")[0] == kernel]
            deepest = max(deepest, core.stack.get(key, max(alike, default=max(core.stack.values()))))
    classes = 4 * len(ensemble.classes) if ensemble.policy.early else 0
    return deepest + core.stack["run"] + classes
