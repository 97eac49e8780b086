"""Model cards: what a model is, can do, costs and was proved to be, every number of it measured when the card is made.

In: an ensemble, samples and labels, boards. Out: a record, JSON-able, and its Markdown.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import msgspec
import numpy as np

from ..check import verify
from ..check.evaluation import default_policies, evaluate
from ..data.named import ORIGINS
from ..deploy.analysis import analyze
from ..deploy.boards import resolve_board
from ..deploy.engine import HostEngine, expected_engine
from ..deploy.host import HostModel
from ..errors import SneError
from ..ir.artifact import dumps, fingerprint
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from ..learn.augmentation import LIGHT, Augmentation
from ..link.bench import bench
from ..link.connect import connect
from ..link.engine import DeviceEngine
from ..quantize.reject import in_words
from . import energy

BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547")  # Cortex-M0, M3, M4, M55
VERIFIED = 16  # inputs that every engine runs
FEWEST = 100  # inputs whose instructions are counted, where all of them are not
EMULATED = 10**8  # operations up to which all inputs are counted; more take many minutes
ALL = ActivationPolicy("all")
Say = Callable[[str], None]


def measure(
    ensemble: QuantEnsemble,
    inputs: np.ndarray,
    labels: np.ndarray,
    boards: Sequence[str] = BOARDS,
    progress: Say = lambda text: None,
) -> dict[str, Any]:
    """Everything that a card says, of test samples uint8 [N, input_bytes] and labels [N]; needs torch, and QEMU for the
    boards. Raises `SneError` where an engine differs from the reference: such a model gets no card."""
    progress("evaluating on this computer")
    host = HostModel(ensemble)
    policies = default_policies(ensemble)
    rows = evaluate(HostEngine(host), inputs, labels, policies)
    weighed = [policy for policy in policies if not policy.early]
    accounts = {
        policy: {"neurobench": account.counts.named(), "energy": account.estimate.named()}
        for policy, account in zip(weighed, energy.account(ensemble, inputs[: energy.SAMPLES], weighed), strict=True)
    }
    teacher = energy.estimate_teacher(ensemble)
    reference = expected_engine(ensemble, host)
    checks = verify.verify(ensemble, inputs[:VERIFIED], reference, [HostEngine(host)], progress)
    places = []
    most = max(row.operations for row in rows)
    count = len(inputs) if most * len(inputs) <= EMULATED else FEWEST
    for board in boards:
        place, found = _on_board(ensemble, host, inputs, labels, board, count, progress)
        places.append(place)
        checks += [check for check in found if check.engine != reference.name]
    wrong = next((c for c in checks if c.difference is not None), None)
    if wrong is not None:
        raise SneError(
            f"{wrong.engine} differs from {wrong.against}: {wrong.difference}", "`sne-edge verify` tells more"
        )
    report = analyze(ensemble)
    own = host.run(inputs).label
    return {
        "name": ensemble.name,
        "fingerprint": fingerprint(ensemble),
        "file_bytes": len(dumps(ensemble)),
        "timesteps": ensemble.encoder.timesteps,
        "students": len(ensemble.students),
        "classes": list(ensemble.classes),
        "parameters": sum(int(layer.parameters) for layer in report.layers),
        "table_bytes": report.table_bytes,
        "state_bytes": report.state_bytes,
        "provenance": ensemble.provenance,
        "samples": len(labels),
        "weighed": min(len(inputs), energy.SAMPLES),
        "policies": [
            asdict(row) | {"operations": row.operations} | accounts.get(policy, {})
            for policy, row in zip(policies, rows, strict=True)
        ],
        "teacher_energy": teacher.named() if teacher else None,
        "by_class": {
            name: round(float((own[labels == c] == c).mean()), 4)
            for c, name in enumerate(ensemble.classes)
            if (labels == c).any()
        },
        "boards": places,
        "verified": [asdict(check) for check in checks],
    }


def _on_board(
    ensemble: QuantEnsemble,
    host: HostModel,
    inputs: np.ndarray,
    labels: np.ndarray,
    board: str,
    count: int,
    progress: Say,
) -> tuple[dict[str, Any], list[verify.Check]]:
    """What an emulated board says of `count` inputs: counts and memory, or why there are none; and its checks."""
    where, target = f"qemu:{board}", resolve_board(board).target
    policies = list(dict.fromkeys([ALL, ensemble.policy]))
    try:
        with connect(ensemble, where, progress) as (device, _):
            info = device.info()
            rows = bench(host, device, inputs, labels, policies, count, progress)
        with connect(ensemble, where, progress, trace=True) as (device, _):
            engine = DeviceEngine(device, where)
            reference = expected_engine(ensemble, host)
            checks = verify.verify(ensemble, inputs[:VERIFIED], reference, [engine], progress)
    except SneError as error:  # too small for the model, say; what went wrong stands in the card
        return {"board": board, "target": target, "problem": error.message}, []
    return {
        "board": board,
        "target": target,
        "instructions": {row.means.policy: round(row.count_mean) for row in rows},
        "errors": {row.means.policy: round(row.count_error or 0) for row in rows},
        "unit": rows[0].unit,
        "samples": rows[0].samples,
        "flash_bytes": info.flash_used,
        "ram_bytes": info.ram_used,
        "stack_bytes": max(row.stack_bytes for row in rows),
    }, checks


def markdown(record: dict[str, Any]) -> str:
    """A record as a model card."""
    sections = (_head, _origin, _accuracy, _cost, _boards, _limits, _proof)
    return "\n\n".join("\n".join(section(record)) for section in sections) + "\n"


def _head(record: dict[str, Any]) -> list[str]:
    return [
        f"# {record['name']}",
        "",
        f"A spiking ensemble of {record['students']} students, {record['parameters']:,} parameters in int8, "
        f"{record['timesteps']} timesteps, {len(record['classes'])} classes: {', '.join(record['classes'])}. "
        f"File {record['file_bytes']:,} bytes, fingerprint `{record['fingerprint']}`.",
        "",
        f"`sne-edge card {record['name']}` made this card: every number in it was measured then.",
    ]


def _origin(record: dict[str, Any]) -> list[str]:
    lines = [f"- {line}" for line in provenance_lines(record["provenance"])]
    return ["## Where it comes from", "", *(lines or ["Its file does not say."])]


def provenance_lines(provenance: dict[str, Any]) -> list[str]:
    """Where a model comes from, in sentences of Markdown."""
    lines: list[str] = []
    data, teacher, config = (provenance.get(key) or {} for key in ("dataset", "teacher", "config"))
    if data:
        parts = ", ".join(f"{n:,} {part}" for part, n in data["samples"].items())
        origin = ORIGINS.get(data["name"], "a data set of its maker's own, whose licence this card does not know")
        lines.append(f"Data: `{data['name']}` ({parts} samples), {origin}.")
    if teacher:
        lines.append(
            f"Teacher: {_teacher(config.get('teacher', ''))}, {teacher['macs']:,} MACs, {teacher['parameters']:,} "
            f"parameters, test accuracy {teacher['test']:.2%}, fingerprint `{teacher['fingerprint']}`."
        )
    if config:
        body = config["body"]
        lines.append(
            f"Students: channels {_list(body['channels'])}, kernels {_list(body['kernels'])}, strides "
            f"{_list(body['strides'])}; partition `{config['scheme']}`{_views(config)}, seed {config['seed']}, torch "
            f"{provenance.get('torch', 'unknown')}."
        )
    return lines


def _views(config: dict[str, Any]) -> str:
    """By what views of samples were made, where not by the light augmentation that every training is by."""
    how = msgspec.convert(config.get("augmentation", {}), Augmentation)
    return "" if how == LIGHT else f", augmentation `{how.word}`"


def _teacher(size: str) -> str:
    return f"built-in, {size}" if size in ("small", "large") else size or "built-in"


def _list(numbers: Sequence[int]) -> str:
    return "-".join(map(str, numbers))


def _accuracy(record: dict[str, Any]) -> list[str]:
    lines = [
        "## What it can do, and computes",
        "",
        f"Over {record['samples']:,} test samples, in the C that runs on the device.",
        "",
        "| policy | accuracy | students run | operations | of it MACs | neuron updates |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["policies"]:
        lines.append(
            f"| {row['policy']} | {_share(row['accuracy'])} | {row['students_run']:.2f} | {row['operations']:,.0f} "
            f"| {row['macs']:,.0f} | {row['neuron_updates']:,.0f} |"
        )
    return lines


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.2%}"


def _cost(record: dict[str, Any]) -> list[str]:
    teacher = record["teacher_energy"]
    lines = [
        "## Operations as NeuroBench counts them, and energy",
        "",
        f"Means over {record['weighed']:,} test samples. **{energy.DISCLAIMER[0].upper()}{energy.DISCLAIMER[1:]}.**",
        "",
        "| policy | Effective_MACs | Effective_ACs | Dense | Membrane_Updates | ActivationSparsity | arithmetic, nJ "
        "| with memory, nJ |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in record["policies"]:
        if "neurobench" not in row:  # early stops
            continue
        counts = row["neurobench"]
        numbers = [f"{counts[key]:,.0f}" for key in ("Effective_MACs", "Effective_ACs", "Dense", "Membrane_Updates")]
        lines.append(
            f"| {row['policy']} | {' | '.join(numbers)} | {counts['ActivationSparsity']:.3f} | {_nj(row['energy'])} |"
        )
    if teacher:
        lines.append(f"| the teacher, were it int8 | | | | | | {_nj(teacher)} |")
    counts = record["policies"][0]["neurobench"]
    sparse = f"ConnectionSparsity {counts['ConnectionSparsity']:.4f}, Footprint {counts['Footprint']:,} bytes."
    return [*lines, "", sparse]


def _nj(estimate: dict[str, float]) -> str:
    picojoules = estimate["estimated_arithmetic_pj"], estimate["estimated_total_pj"]
    return " | ".join(f"{n / 1000:,.2f}" for n in picojoules)


def _boards(record: dict[str, Any]) -> list[str]:
    lines = [
        "## On a microcontroller",
        "",
        f"Tables {record['table_bytes']:,} bytes of flash, state {record['state_bytes']:,} bytes of RAM. Firmware that "
        "serves the model, in QEMU; flash includes golden vectors, RAM is static.",
        "",
        "| core | board | instructions, all students | own policy | flash, bytes | RAM, bytes | stack, bytes |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["boards"]:
        if "problem" in row:
            lines.append(f"| {row['target']} | {row['board']} | {row['problem']} | | | | |")
            continue
        counts = list(row["instructions"].values())
        lines.append(
            f"| {row['target']} | {row['board']} | {counts[0]:,} | {counts[-1]:,} | {row['flash_bytes']:,} "
            f"| {row['ram_bytes']:,} | {row['stack_bytes']:,} |"
        )
    counted = [row for row in record["boards"] if "samples" in row]
    if not counted:
        return lines
    samples, error = counted[0]["samples"], max(max(row["errors"].values()) for row in counted)
    if samples == record["samples"]:
        return [*lines, "", f"Means over all {samples:,} test samples."]
    spread = f"spread over the work they take; standard errors at most {error:,}"
    return [*lines, "", f"Means over {samples:,} of {record['samples']:,} test samples, {spread}."]


def _limits(record: dict[str, Any]) -> list[str]:
    lines = ["## Limits", ""]
    worst = sorted(record["by_class"].items(), key=lambda item: item[1])[:3]
    if worst:
        lines.append(f"- Least reliable classes: {', '.join(f'{name} ({share:.1%})' for name, share in worst)}.")
    rejection = record["provenance"].get("calibration", {}).get("rejection")
    if rejection is not None:
        lines.append(f"- {in_words(rejection)}. Strangers of other kinds were not measured.")
    lines += [
        "- A margin is not a probability."
        if rejection is not None
        else "- It was trained on one data set and knows its classes alone: anything else gets one of their labels, "
        "too. A margin is not a probability.",
        "- Accuracy is that of the data set's test part, prepared as there. Noise and other sensors cost accuracy: "
        "`sne-edge study noise`.",
    ]
    return lines


def _proof(record: dict[str, Any]) -> list[str]:
    lines = [
        "## How it was verified",
        "",
        "Every label, margin, spike count, membrane, logit and cost was compared for equality (`sne-edge verify`).",
        "",
        "| engine | against | inputs | policies | numbers | result |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {c['engine']} | {c['against']} | {c['inputs']} | {c['runs']} | {c['compared']:,} | equal |"
        for c in record["verified"]
    ]
