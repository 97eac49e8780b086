"""Ensembles of one's own: finished models of the same input and classes become one, with a calibrated cascade.

In: models, and a data set whose validation part chooses. Out: a `QuantEnsemble` with golden vectors and figures.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..data import origin
from ..data.dataset import Dataset
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..errors import SneError
from ..ir.artifact import fingerprint
from ..ir.ensemble import QuantEnsemble
from ..quantize.calibrate import Promise, check_goal, measure
from ..quantize.join import join, shared_encoder
from .recalibrate import recalibrate

GOLDEN = 32  # golden vectors of a new ensemble


def ensemble_of(
    models: Sequence[QuantEnsemble],
    name: str,
    dataset: Dataset,
    max_drop: float = 0.1,
    *,
    target_ops: float | None = None,
    kind: str = "cascade",
    early: str | None = None,
    other: bool = False,
) -> tuple[QuantEnsemble, Promise]:
    """All students of several models as one ensemble, and what its cascade does to the validation samples.

    The models, chains or graphs, share encoder, front end and classes. Each one's logits are stretched by one factor,
    chosen on the validation samples (`quantize.join.join`), and added up; order and margins are chosen on them as
    `recalibrate` does, which has the other arguments. Raises `SneError` where the models do not go together, and as
    `recalibrate` does.
    """
    shared_encoder(models)
    check_goal(max_drop, target_ops, kind)
    prints = [fingerprint(model) for model in models]
    if twice := next((m.name for k, m in enumerate(models) if prints[k] in prints[:k]), None):
        raise SneError(f"{twice} is given twice", "give each model once: it would only say the same again")
    for model in models:
        origin.check(model.provenance, model.classes, dataset, other=other, chooses=True)
    inputs, labels = models[0].encoder.encode(dataset.x_val), dataset.y_val
    steps = models[0].encoder.timesteps
    logits = [measure(m, HostEngine(HostModel(m)), inputs, steps).parts.sum(axis=1) + m.bias for m in models]
    joined = join(models, name, logits, labels)
    return recalibrate(
        joined, dataset, max_drop, target_ops=target_ops, kind=kind, early=early, other=other,
        golden=(inputs[:GOLDEN], labels[:GOLDEN]),
    )  # fmt: skip
