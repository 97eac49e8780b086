"""The host build as an engine of `check.verify`."""

from __future__ import annotations

from functools import cached_property
from importlib.util import find_spec

import numpy as np

from ..check.verify import FIELDS, Engine, Outcome, ReferenceEngine
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from .host import HostModel


class HostEngine:
    """The generated C, compiled for this computer; `threads` share the inputs, all cores by default."""

    name = "host"

    def __init__(self, model: HostModel, threads: int | None = None) -> None:
        self._model, self._threads = model, threads

    @cached_property
    def _traced(self) -> HostModel:
        """The same C, keeping membranes."""
        return HostModel(self._model.ensemble, trace=True)

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        batch = self._model.run(inputs, policy, threads=self._threads)
        values = {name: getattr(batch, name).astype(np.int64) for name in FIELDS}
        membranes: list[np.ndarray] = []
        if student is not None:
            traced = self._traced.run(inputs, policy, states=True)
            pairs = zip(self._traced.layers, self._traced.membranes(traced), strict=True)
            membranes = [membrane for layer, membrane in pairs if layer.student == student]
        return Outcome(values, membranes)


def expected_engine(ensemble: QuantEnsemble, host: HostModel) -> Engine:
    """The reference where torch is installed; else the host build, itself held against the golden vectors."""
    return ReferenceEngine(ensemble) if find_spec("torch") else HostEngine(host)
