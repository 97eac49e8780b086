"""A device as an engine of `check.verify`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check.verify import FIELDS, Outcome
from ..ir.policy import ActivationPolicy
from ..ir.schedule import STOPS
from .device import Device


class DeviceEngine:
    """Firmware at the other end of a `Device`."""

    def __init__(self, device: Device, name: str) -> None:
        self.name = name
        self._device = device
        self._layers = device.layers()

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        rows: dict[str, list[Any]] = {name: [] for name in FIELDS}
        asked = student is not None and self._device.info().traced
        wanted = [i for i, layer in enumerate(self._layers) if asked and layer.student == student]
        membranes: list[list[np.ndarray]] = [[] for _ in wanted]
        for sample in inputs:
            self._device.load(sample.tobytes())
            result = self._device.run(policy)
            for name in FIELDS:
                if name == "spikes":
                    rows[name].append(self._device.spikes())
                elif name == "stop":
                    rows[name].append(STOPS.index(result.stop) if isinstance(result.stop, str) else result.stop)
                else:
                    rows[name].append(getattr(result, name))
            for place, index in enumerate(wanted):
                membranes[place].append(np.asarray(self._device.membranes(index)))
        values = {name: np.array(values, dtype=np.int64) for name, values in rows.items()}
        return Outcome(values, [np.stack(parts).astype(np.int64) for parts in membranes])
