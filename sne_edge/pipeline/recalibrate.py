"""Recalibration: another order and policy for a finished model, from data, without training or torch.

In: an ensemble and a data set, of which validation samples choose and test samples only tell. Out: the ensemble with
order, routes, policy, golden vectors and figures made anew by the host build; weights and measured costs stay.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import msgspec
import numpy as np

from ..data.dataset import Dataset
from ..deploy.evaluate import evaluate, record, recorded_policies
from ..deploy.host import HostModel
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from ..ir.vectors import Vectors, no_vectors
from ..quantize.calibrate import Promise, Work, as_vectors, check_goal, check_samples, choose_policy, promise, stages
from ..quantize.early import check_rule, exact_table, margin_table, with_table


def recalibrate(
    ensemble: QuantEnsemble,
    dataset: Dataset,
    max_drop: float = 0.1,
    *,
    target_ops: float | None = None,
    kind: str = "cascade",
    early: str | None = None,
) -> tuple[QuantEnsemble, Promise]:
    """The ensemble with a policy chosen as `calibrate.choose_policy` says, and what it does to the validation samples.

    `early`: the rule by which students end early, one of `early.RULES`; `margin` keeps to `max_drop`, too.
    Raises `SneError` where the goal or the data do not fit the ensemble, or no C compiler is installed.
    """
    check_goal(max_drop, target_ops, kind)
    inputs, labels = ensemble.encoder.encode(dataset.x_val), dataset.y_val
    check_samples(ensemble, inputs, labels)
    steps = ensemble.policy.timesteps or ensemble.encoder.timesteps
    if early is not None:
        check_rule(early, steps)
    plain = HostModel(_bare(ensemble))
    work = measure(plain, inputs)
    made = choose_policy(_bare(ensemble), work, labels, max_drop, target_ops=target_ops, kind=kind)
    promised = promise(stages(made, work, labels), made.policy.margins)
    if early == "exact":
        made = with_table(made, exact_table(made))
    elif early == "margin":
        partial = [measure(plain, inputs, t).parts for t in range(1, steps)]
        table = margin_table(made, work.parts, np.stack(partial, axis=2), labels, max_drop)
        made = with_table(made, table)
    host = HostModel(made)
    if early is not None:
        promised = _promise(host, inputs, labels, promised)
    figures = {
        "validation": _figures(host, inputs, labels),
        "test": _figures(host, made.encoder.encode(dataset.x_test), dataset.y_test),
    }
    calibration = {
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "samples": len(labels)},
        "policy": made.policy.kind,
        "early": early or "none",
        "goal": {"max_drop": max_drop} if target_ops is None else {"target_ops": target_ops},
        "promise": asdict(promised),
    }
    provenance = ensemble.provenance | {"integer": figures, "calibration": calibration}
    vectors = golden(host, ensemble.vectors.inputs, ensemble.vectors.labels)
    return msgspec.structs.replace(made, vectors=vectors, provenance=provenance), promised


def measure(host: HostModel, inputs: np.ndarray, timesteps: int | None = None) -> Work:
    """Every student on inputs uint8 [N, input_bytes], alone, for `timesteps`, by default those of the model's own
    policy."""
    ensemble = host.ensemble
    steps = ensemble.policy.timesteps if timesteps is None else timesteps
    alone = [
        host.run(inputs, ActivationPolicy("mask", mask=1 << k, timesteps=steps)) for k in range(len(ensemble.students))
    ]
    parts = [batch.logits - ensemble.bias.astype(np.int64) for batch in alone]
    return Work(np.stack(parts, axis=1), np.stack([batch.synaptic_ops + batch.macs for batch in alone], axis=1))


def _promise(host: HostModel, inputs: np.ndarray, labels: np.ndarray, cascade: Promise) -> Promise:
    """What a model's own policy does to inputs of known labels; `cascade`: what it does without early stops."""
    own = host.run(inputs)
    every = host.run(inputs, ActivationPolicy("all", timesteps=host.ensemble.policy.timesteps))
    correct, whole = own.label == labels, every.label == labels
    return replace(
        cascade,
        accuracy=float(correct.mean()),
        differing=float((correct != whole).mean()),
        students_run=float(own.students_run.mean()),
        operations=float((own.synaptic_ops + own.macs).mean()),
    )


def golden(host: HostModel, inputs: np.ndarray, labels: np.ndarray) -> Vectors:
    """What the host build makes of inputs uint8 [N, input_bytes] under the model's own policy; labels int [N]."""
    if not len(inputs):
        return host.ensemble.vectors
    batch = host.run(inputs)
    return as_vectors(inputs, labels, batch.logits, batch.active, batch.spikes, batch.synaptic_ops, batch.macs)


def _bare(ensemble: QuantEnsemble) -> QuantEnsemble:
    """Without golden vectors, which hold for the old policy."""
    none = no_vectors(ensemble.encoder, len(ensemble.classes), ensemble.students)
    return msgspec.structs.replace(ensemble, vectors=none)


def _figures(host: HostModel, inputs: np.ndarray, labels: np.ndarray) -> list[dict[str, Any]]:
    """As training records them."""
    rows = evaluate(host, inputs, labels, recorded_policies(host.ensemble))
    return [record(r.policy, r.accuracy or 0.0, r.students_run, r.synaptic_ops, r.macs, r.operations) for r in rows]
