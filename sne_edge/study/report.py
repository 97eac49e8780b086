"""A model's report: everything that can be found out about it on this computer, for one page to show.

In: an ensemble; inputs and labels of a data set, or its golden vectors; boards. Out: a `Report`, plain values and
charts, which `page` writes as HTML.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.util import find_spec
from typing import Any

import msgspec
import numpy as np

from ..check.evaluation import Evaluation, default_policies, evaluate
from ..check.verify import Check, ReferenceEngine, verify
from ..deploy.analysis import ModelReport, analyze
from ..deploy.cost import need
from ..deploy.engine import HostEngine, expected_engine
from ..deploy.host import HostModel
from ..errors import SneError
from ..ir.artifact import dumps, fingerprint
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.policy import ActivationPolicy, format_policy
from ..ir.rejection import NONE
from ..ir.schedule import decide
from . import energy
from .chart import Chart, columns, histogram, plane, raster

VERIFIED = 16  # inputs that every engine runs
WEIGHED = 256  # inputs whose energy is estimated
COUNTED = 32  # inputs whose instructions a board counts
SCALES = (0.25, 0.5, 0.75, 1.5, 2.0, 3.0)  # of a cascade's margins, for the curve around it
MODELLED = "cortex-m4"  # the core whose instructions are modelled where no board counts any
SHOWN = 20  # classes of a confusion matrix
RASTERS = 4  # students whose spikes are drawn
Say = Callable[[str], None]


@dataclass(frozen=True)
class Row:
    """One policy: figures of `evaluation`; instructions, and what tells them; pJ of arithmetic and in all, or None."""

    policy: str
    name: str
    evaluation: Evaluation
    own: bool
    instructions: int | None = None
    energy: energy.Estimate | None = None


@dataclass(frozen=True)
class Confusion:
    """Which labels samples of each class got: counts int [classes, labels], of at most `SHOWN` classes."""

    classes: list[str]
    labels: list[str]
    counts: list[list[int]]
    recall: list[float]
    left_out: int = 0


@dataclass(frozen=True)
class Report:
    """What the page shows; `notes` says what is not there, and why."""

    ensemble: QuantEnsemble
    fingerprint: str
    file_bytes: int
    source: str
    golden: bool
    samples: int
    structure: ModelReport
    rows: list[Row] = field(default_factory=list)
    counted: str = ""
    charts: dict[str, list[Chart]] = field(default_factory=dict)
    confusion: Confusion | None = None
    stops: list[tuple[int, float, float | None]] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    boards: list[dict[str, Any]] = field(default_factory=list)
    whole: energy.Estimate | None = None
    teacher: energy.Estimate | None = None
    weighed: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def own(self) -> Row | None:
        """The model's own policy."""
        return next((row for row in self.rows if row.own), None)


def gather(
    ensemble: QuantEnsemble,
    inputs: np.ndarray | None,
    labels: np.ndarray | None,
    source: str | None = None,
    places: Sequence[str] = (),
    say: Say = lambda text: None,
) -> Report:
    """Find out everything, of inputs uint8 [N, input_bytes] with labels [N], -1 where unknown, or of none.

    `source`: the data set's name; without one they are golden vectors. `places`: boards that also run it, `qemu:BOARD`
    say. Needs a C compiler; torch, for rasters, energy and the reference. Raises `SneError` where a tool is missing or
    an engine differs from the reference: such a model gets no report.
    """
    made = Report(
        ensemble, fingerprint(ensemble), len(dumps(ensemble)), source or "its own golden vectors", source is None,
        0 if inputs is None else len(inputs), analyze(ensemble), whole=energy.estimate_all(ensemble),
        teacher=energy.estimate_teacher(ensemble),
    )  # fmt: skip
    made.charts.update({name: [] for name in ("cost", "margins", "stops", "rates", "rasters")})
    if inputs is None or labels is None or not len(inputs):
        made.notes.append("The model holds no golden vectors and no data was given: nothing could be run (--data).")
        return made
    say("compiling for this computer")
    host = HostModel(ensemble)
    made = _run(made, host, inputs, labels, say)
    made = _verified(made, host, inputs, labels, places, say)
    return _drawn(made, host, inputs, labels)


def _run(made: Report, host: HostModel, inputs: np.ndarray, labels: np.ndarray, say: Say) -> Report:
    """Figures by policy, and what they cost."""
    ensemble, engine = made.ensemble, HostEngine(host)
    policies = default_policies(ensemble)
    say(f"running {len(inputs):,} samples on this computer")
    found = evaluate(engine, inputs, labels, policies)
    if ensemble.regression:
        found = [replace(one, accuracy=None) for one in found]
    accounts: dict[str, energy.Estimate] = {}
    weighed = inputs[:WEIGHED]
    if find_spec("torch") is None:
        made.notes.append("torch is not installed: no rasters and no energy by policy (pip install 'sne-edge[train]').")
    else:
        say("weighing operations")
        chosen = [p for p in policies if not p.early]
        if any(isinstance(student.graph, Graph) for student in ensemble.students):
            made.notes.append("Energy by policy is estimated for chains alone; that of all students is by population.")
        elif chosen:
            told = energy.account(ensemble, weighed, chosen)
            accounts = {format_policy(p): one.estimate for p, one in zip(chosen, told, strict=True)}
    rows = [
        Row(one.policy, policy.kind + (f" {policy.students}" if policy.kind == "first" else "")
            + (" +early" if policy.early else ""), one, policy == ensemble.policy, energy=accounts.get(one.policy))
        for policy, one in zip(policies, found, strict=True)
    ]  # fmt: skip
    try:
        means = {
            row.policy: need(ensemble, MODELLED, [policy], students_run=row.evaluation.students_run).estimates[0].mean
            for policy, row in zip(policies, rows, strict=True)
        }
        rows = [replace(row, instructions=means[row.policy]) for row in rows]
        counted = f"instructions of a {MODELLED}, modelled"
    except SneError as error:
        made.notes.append(f"Instructions are not modelled: {error.message}.")
        counted = ""
    return replace(made, rows=rows, counted=counted, weighed=len(weighed) if accounts else 0)


def _verified(
    made: Report, host: HostModel, inputs: np.ndarray, labels: np.ndarray, places: Sequence[str], say: Say
) -> Report:
    """The checks of every engine, and what boards count."""
    ensemble, reference = made.ensemble, expected_engine(made.ensemble, host)
    few = inputs[:VERIFIED]
    checks = verify(ensemble, few, reference, [HostEngine(host)], say)
    rows, boards, counted = made.rows, [], made.counted
    for where in places:
        from ..link.bench import bench
        from ..link.connect import connect
        from ..link.engine import DeviceEngine

        policies = default_policies(ensemble)
        with connect(ensemble, where, say) as (device, _):
            info = device.info()
            told = bench(host, device, inputs, labels, policies, COUNTED, say)
        with connect(ensemble, where, say, trace=True) as (device, _):
            checks += verify(ensemble, few, reference, [DeviceEngine(device, where)], say)
        counts = {row.means.policy: round(row.count_mean) for row in told}
        boards.append(
            {"where": where, "board": info.board, "unit": told[0].unit, "samples": told[0].samples, "counts": counts,
             "flash": info.flash_used, "ram": info.ram_used, "stack": max(row.stack_bytes for row in told)}
        )  # fmt: skip
        if len(boards) == 1:
            rows = [replace(row, instructions=counts.get(row.policy)) for row in rows]
            counted = f"{told[0].unit} on {where}, mean of {told[0].samples} samples"
    for check in checks:
        if check.difference is not None:
            raise SneError(
                f"{check.engine} differs from {check.against}: {check.difference}", "`sne-edge verify` tells more"
            )
    return replace(made, rows=rows, boards=boards, counted=counted, checks=list(dict.fromkeys(checks)))


def _drawn(made: Report, host: HostModel, inputs: np.ndarray, labels: np.ndarray) -> Report:
    """Charts, confusion and stops."""
    ensemble, known = made.ensemble, labels >= 0
    charts = dict(made.charts)
    charts["cost"] = _costs(made, host, inputs, labels)
    batch = host.run(inputs)
    confusion, stops = None, []
    if not ensemble.regression:
        charts["margins"] = [_margins(ensemble, host, inputs, labels)]
        for count in range(1, len(ensemble.students) + 1):
            here = batch.students_run == count
            right = (batch.label == labels)[here & known]
            stops.append((count, float(here.mean()), float(right.mean()) if len(right) else None))
        charts["stops"] = [
            columns("Where inferences stop", "students run", "samples", [(str(n), s) for n, s, _ in stops], True)
        ]
        if known.any():
            confusion = confused(ensemble, batch.label[known], labels[known])
    charts["rates"] = _rates(ensemble, host, inputs)
    if find_spec("torch") is not None:
        charts["rasters"] = _rasters(ensemble, inputs[:1])
    return replace(made, charts=charts, confusion=confusion, stops=stops)


def _costs(made: Report, host: HostModel, inputs: np.ndarray, labels: np.ndarray) -> list[Chart]:
    """Accuracy against operations and against instructions."""
    rows = [row for row in made.rows if row.evaluation.accuracy is not None]
    if not rows:
        return []
    ensemble, policy, faint = made.ensemble, made.ensemble.policy, []
    if policy.kind in ("cascade", "routed") and len(ensemble.students) > 1 and not policy.early:
        tried = [
            msgspec.structs.replace(policy, margins=tuple(min(round(s * m), 2**31 - 1) for m in policy.margins))
            for s in (*SCALES[:3], 1.0, *SCALES[3:])
        ]
        faint = [(one.operations, one.accuracy or 0.0) for one in evaluate(HostEngine(host), inputs, labels, tried)]
    teacher = ensemble.provenance.get("teacher")
    test = teacher.get("test") if isinstance(teacher, dict) and not made.golden else None
    level = (float(test), f"teacher {100 * float(test):.1f} %") if isinstance(test, int | float) else None

    def named(row: Row, cost: float) -> tuple[float, float, str, str]:
        kind = "own" if row.own else "fixed" if row.name.startswith("first") or row.name == "all" else "other"
        return cost, float(row.evaluation.accuracy or 0.0), row.name, kind

    charts = [
        plane(
            "Accuracy against operations",
            "operations an inference, mean",
            [named(row, row.evaluation.operations) for row in rows],
            faint,
            level,
        )
    ]
    counted = [named(row, row.instructions) for row in rows if row.instructions is not None]
    if counted:
        charts.append(plane("Accuracy against instructions", made.counted, counted, (), level))
    return charts


def _margins(ensemble: QuantEnsemble, host: HostModel, inputs: np.ndarray, labels: np.ndarray) -> Chart:
    """How sure the first student is, and where the cascade stops behind it."""
    first = host.run(inputs, ActivationPolicy("first", students=1))
    known = labels >= 0
    margin = decide(first.logits.astype(np.int64))[1]
    right = (first.logits.argmax(axis=1) == labels)[known] if known.any() else None
    cascade = ensemble.policy.kind in ("cascade", "routed") and ensemble.policy.margins
    limit = float(ensemble.policy.margins[0]) if cascade else None
    shown = margin[known] if right is not None else margin
    return histogram("Margin after the first student", "highest minus second logit", shown, right, limit, "stop here")


def confused(ensemble: QuantEnsemble, got: np.ndarray, labels: np.ndarray) -> Confusion:
    """The confusion of labels int [N], `NONE` where there was none; of many classes, those confused most."""
    count = len(ensemble.classes)
    table = np.zeros((count, count + 1), np.int64)
    np.add.at(table, (labels, np.where(got == NONE, count, got)), 1)
    totals = table.sum(axis=1)
    wrong = totals - np.diagonal(table)
    rejects = bool(table[:, count].any())
    order = np.arange(count)
    if count > SHOWN:
        order = np.sort(np.argsort(-(wrong + table[:, :count].sum(axis=0) - np.diagonal(table)), kind="stable")[:SHOWN])
    chosen = [*order.tolist(), *([count] if rejects else [])]
    names = [*ensemble.classes, "none"]
    return Confusion(
        [names[k] for k in order], [names[k] for k in chosen], table[np.ix_(order, chosen)].tolist(),
        [float(table[k, k] / totals[k]) if totals[k] else 0.0 for k in order], count - len(order),
    )  # fmt: skip


def _rates(ensemble: QuantEnsemble, host: HostModel, inputs: np.ndarray) -> list[Chart]:
    """Spikes by neuron and timestep of each layer that fires, all students running."""
    layers = ensemble.spike_layers
    if not layers:
        return []
    steps = ensemble.encoder.timesteps
    spikes = host.run(inputs, ActivationPolicy("all")).spikes.mean(axis=0)
    rates = [
        (f"{student}.{layer}", float(spikes[k]) / (ensemble.students[student].neurons_of(layer) * steps))
        for k, (student, layer) in enumerate(layers)
    ]
    return [columns("Spike rates by layer", "student.layer", "spikes a neuron and timestep", rates, percent=True)]


def _rasters(ensemble: QuantEnsemble, inputs: np.ndarray) -> list[Chart]:
    """The spikes of one sample, by layer, of the students that run first."""
    from ..check.reference import run_student

    charts = []
    for student in ensemble.order[:RASTERS]:
        seen: dict[int, list[np.ndarray]] = {}

        def fired(t: int, layer: int, spikes: Any, seen: dict[int, list[np.ndarray]] = seen) -> None:
            seen.setdefault(layer, []).append(spikes.numpy().reshape(-1) > 0)

        run_student(ensemble, student, inputs, fired=fired, states=False)
        charts += [raster(f"Student {student}, layer {layer}", np.stack(rows)) for layer, rows in sorted(seen.items())]
    return charts


def reference_name() -> str:
    """What other engines are held against on this computer."""
    return ReferenceEngine.name if find_spec("torch") else "the host build"


def plain(made: Report) -> dict[str, Any]:
    """The report's figures, JSON-able, without its charts."""
    found = {
        "name": made.ensemble.name,
        "fingerprint": made.fingerprint,
        "data": made.source,
        "golden_vectors": made.golden,
        "samples": made.samples,
        "policies": [
            asdict(row.evaluation)
            | {"operations": row.evaluation.operations, "own": row.own, "instructions": row.instructions}
            | {"energy": row.energy.named() if row.energy else None}
            for row in made.rows
        ],
        "instructions_are": made.counted,
        "confusion": asdict(made.confusion) if made.confusion else None,
        "stops": [{"students_run": n, "share": share, "accuracy": right} for n, share, right in made.stops],
        "structure": asdict(made.structure),
        "boards": made.boards,
        "verified": [asdict(check) for check in made.checks],
        "notes": made.notes,
        "provenance": made.ensemble.provenance,
    }
    as_plain: dict[str, Any] = json.loads(json.dumps(found, default=lambda value: value.tolist()))  # numpy's numbers
    return as_plain
