"""Recalibration: another order and policy for a finished model, from data, without training or torch.

In: an ensemble and a data set, of which validation samples choose and test samples only tell. Out: the ensemble with
order, routes, policy, golden vectors and figures made anew by the host build; weights and measured costs stay. Or, the
other way round, in another form and with all else as it was.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import msgspec
import numpy as np

from ..check.evaluation import figures
from ..check.verify import ReferenceEngine
from ..data import origin
from ..data.dataset import Dataset
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..errors import SneError, SneWarning
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.policy import ActivationPolicy
from ..ir.vectors import no_vectors
from ..quantize.calibrate import (
    Promise,
    check_goal,
    check_labels,
    check_samples,
    choose_policy,
    golden_vectors,
    measure,
    promise,
    stages,
    with_costs,
)
from ..quantize.early import check_rule, exact_table, margin_table, partial_parts, with_table
from ..quantize.guarantee import guaranteed_policy
from ..quantize.reject import choose, report, seen, thirds
from ..quantize.streams import with_memory

MOST_REJECTED = 0.3  # of known samples, above which a rejection costs more than it is worth


def recalibrate(
    ensemble: QuantEnsemble,
    dataset: Dataset,
    max_drop: float = 0.1,
    *,
    target_ops: float | None = None,
    kind: str = "cascade",
    early: str | None = None,
    other: bool = False,
    golden: tuple[np.ndarray, np.ndarray] | None = None,
    window: int | None = None,
    leak: float | None = None,
    unknown: np.ndarray | None = None,
    max_false_alarms: float = 0.05,
    confidence: float | None = None,
) -> tuple[QuantEnsemble, Promise]:
    """The ensemble with a policy chosen as `calibrate.choose_policy` says, and what it does to the validation samples.

    `early`: the rule by which students end early, one of `early.RULES`; `margin` keeps to `max_drop`, too.
    `other`: the ensemble has seen none of this data, as `data.origin.check` takes it. `window`, `leak`: readouts forget
    from now on, as `quantize.streams.with_memory` has it. `unknown`: samples [N, ...] of none of the classes; two
    thirds of them, and the validation samples, choose a rejection of at most `max_false_alarms`
    (`quantize.reject.choose`), and the others, with the test samples, tell its limits. Without them a rejection of
    before is left out.
    `confidence`: the margin is the lowest of which the drop can be promised with it for new samples
    (`quantize.guarantee`), not that of these samples alone.
    `golden`: inputs and labels of the golden vectors; by default those that there are.
    Raises `SneError` where the goal or the data do not fit the ensemble, samples held out may be ones that it was
    trained with, or no C compiler is installed.
    """
    check_goal(max_drop, target_ops, kind)
    if confidence is not None and (target_ops is not None or early == "margin"):
        raise SneError(
            "a promise is of a drop in accuracy, made of the cascade alone",
            "give --confidence with --max-drop, and with no --early but exact",
        )
    check_labels(ensemble)
    origin.check(ensemble.provenance, ensemble.classes, dataset, other=other, chooses=True)
    kept = ensemble.vectors
    if window is not None or leak is not None:
        ensemble = with_memory(ensemble, window=window, leak=leak)
    inputs, labels = ensemble.encoder.encode(dataset.as_given(dataset.x_val)), dataset.y_val
    check_samples(ensemble, inputs, labels)
    steps = ensemble.policy.timesteps or ensemble.encoder.timesteps
    if early is not None:
        check_rule(early, steps)
        if any(not isinstance(s.graph, Graph) and len(s.layers) == 1 for s in ensemble.students):
            raise SneError("a student of a readout alone cannot end early", "leave --early out")
    bare = _bare(ensemble)
    plain = HostEngine(HostModel(bare))
    work = measure(bare, plain, inputs)
    guarantee = None
    if confidence is None:
        made = choose_policy(bare, work, labels, max_drop, target_ops=target_ops, kind=kind)
    else:
        made, guarantee = guaranteed_policy(bare, work, labels, max_drop, confidence, kind)
    promised = promise(stages(made, work, labels), made.policy.margins)
    if early == "exact":
        made = with_table(made, exact_table(made))
    elif early == "margin":
        table = margin_table(made, work.parts, partial_parts(bare, plain, inputs), labels, max_drop)
        made = with_table(made, table)
    if early is not None:
        promised = _promise(HostModel(made), inputs, labels, promised)
    rejected = None
    if unknown is not None:
        made, rejected = _with_rejection(made, dataset, unknown, max_false_alarms)
        promised = _promise(HostModel(made), inputs, labels, promised)
        if rejected["rejected"] > MOST_REJECTED:
            warnings.warn(
                f"{rejected['rejected']:.1%} of the known test samples get no label: the unknown ones are too much "
                "like them; a higher --max-false-alarms keeps more",
                SneWarning,
                stacklevel=2,
            )
    engine = HostEngine(HostModel(made))
    told = _told(engine, made, dataset, inputs)
    calibration: dict[str, Any] = {
        "dataset": {"name": dataset.name, "fingerprint": dataset.fingerprint, "samples": len(labels)},
        "policy": made.policy.kind,
        "early": early or "none",
        "goal": {"max_drop": max_drop} if target_ops is None else {"target_ops": target_ops},
        "promise": asdict(promised),
    }
    if window is not None or leak is not None:
        calibration["memory"] = {"leak": leak} if window is None else {"window": window}
    if guarantee is not None:
        calibration["guarantee"] = asdict(guarantee) | {"confidence": confidence}
    if rejected is not None:
        calibration["rejection"] = rejected
    provenance = ensemble.provenance | {"integer": told, "calibration": calibration}
    chosen, known = (kept.inputs, kept.labels) if golden is None else golden
    if len(chosen):
        vectors = golden_vectors(engine, chosen, known)
        made = msgspec.structs.replace(made, vectors=vectors, audio=ensemble.audio)
    return msgspec.structs.replace(made, provenance=provenance), promised


def _with_rejection(
    ensemble: QuantEnsemble, dataset: Dataset, unknown: np.ndarray, max_false_alarms: float
) -> tuple[QuantEnsemble, dict[str, Any]]:
    """The ensemble with a rejection for its own policy, and what that does to samples that did not choose it."""
    engine = HostEngine(HostModel(ensemble))

    def values(x: np.ndarray) -> dict[str, np.ndarray]:
        return engine.run(ensemble.encoder.encode(x), None, None).values

    strangers = seen(values(unknown))
    forming, setting, judging = thirds(len(unknown))
    known = seen(values(dataset.as_given(dataset.x_val)))
    rule = choose(known, strangers.picked(forming), strangers.picked(setting), max_false_alarms)
    test = values(dataset.as_given(dataset.x_test))
    told = report(rule, seen(test), test["label"] == dataset.y_test, strangers.picked(judging))
    made = msgspec.structs.replace(ensemble, rejection=rule)
    return made, told | {"asked": max_false_alarms, "chosen_on": len(forming) + len(setting)}


def renew(
    ensemble: QuantEnsemble,
    dataset: Dataset,
    change: Callable[[QuantEnsemble], QuantEnsemble],
    *,
    other: bool = False,
) -> QuantEnsemble:
    """The ensemble in another form, such as 16-bit membranes (`quantize.narrow.narrowed`) or channels in fours
    (`quantize.widen.widened`): order and policy stay, and costs, golden vectors and figures are measured anew; the very
    same where nothing changes. Takes torch.

    Raises `SneError` as `recalibrate` does.
    """
    origin.check(ensemble.provenance, ensemble.classes, dataset, other=other, chooses=True)
    inputs, labels = ensemble.encoder.encode(dataset.as_given(dataset.x_val)), dataset.y_val
    check_samples(ensemble, inputs, labels)
    made = change(ensemble)
    if made is ensemble:
        return ensemble
    made = with_costs(made, measure(made, ReferenceEngine(made), inputs))
    engine = HostEngine(HostModel(made))
    told = _told(engine, made, dataset, inputs)
    if len(ensemble.vectors.inputs):
        vectors = golden_vectors(engine, ensemble.vectors.inputs, ensemble.vectors.labels)
        made = msgspec.structs.replace(made, vectors=vectors)
    return msgspec.structs.replace(made, provenance=ensemble.provenance | {"integer": told})


def _told(engine: HostEngine, made: QuantEnsemble, dataset: Dataset, inputs: np.ndarray) -> dict[str, Any]:
    """The figures that a model carries; `inputs`: the validation samples, encoded."""
    return {
        "validation": figures(engine, made, inputs, dataset.y_val),
        "test": figures(engine, made, made.encoder.encode(dataset.as_given(dataset.x_test)), dataset.y_test),
    }


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


def _bare(ensemble: QuantEnsemble) -> QuantEnsemble:
    """Without golden vectors and rejection, which hold for the old policy, and the recordings of their inputs."""
    none = no_vectors(ensemble.encoder, len(ensemble.classes), ensemble.students)
    return msgspec.structs.replace(ensemble, vectors=none, audio=msgspec.UNSET, rejection=msgspec.UNSET)
