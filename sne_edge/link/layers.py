"""What each layer of a model takes on a device: its spikes, and instructions or cycles, one student after another.

In: a device whose firmware counts by layer, and inputs. Out: a row per layer, or population of a graph, and one per
student for the rest: encoding, the readout's head, decisions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..deploy.analysis import LayerReport, analyze
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from .device import Device


@dataclass(frozen=True)
class LayerRow:
    """Means per inference. `layer`: None for the rest of a student; `calls`: how often it ran, once, or at its start
    and each timestep; `count`: of what the device counts; `share`: of its student's count; `spikes`: made, None of a
    layer that makes none."""

    student: int
    layer: int | None
    description: str
    calls: float
    count: float
    share: float
    spikes: float | None


def layer_rows(
    ensemble: QuantEnsemble,
    device: Device,
    inputs: np.ndarray,
    progress: Callable[[str], None] = lambda text: None,
) -> list[LayerRow]:
    """Of every student, run alone on uint8 inputs [N, input_bytes]. Raises `SneError` where the firmware does not count
    by layer, or counts other layers than the model has."""
    reports = analyze(ensemble).layers
    layers = [[r for r in reports if r.student == student] for student in range(len(ensemble.students))]
    calls = [np.zeros(len(of)) for of in layers]
    counts = [np.zeros(len(of) + 1) for of in layers]
    spikes = np.zeros(len(ensemble.spike_layers))
    for number, sample in enumerate(inputs):
        progress(f"layers: input {number + 1} of {len(inputs)}")
        device.load(sample.tobytes())
        for student in range(len(layers)):
            alone = ActivationPolicy("mask", mask=1 << student)
            found = device.profile(alone)
            if len(found) != len(layers[student]):
                raise SneError(
                    f"{device.where} counted {len(found)} layers of student {student}, not {len(layers[student])}",
                    "build the firmware again from this model",
                )
            spikes += device.spikes()  # of the others, which did not run, none
            calls[student] += [entry.calls for entry in found]
            taken = [entry.count for entry in found]
            counts[student] += [*taken, device.bench(1, alone).total - sum(taken)]
    n, made = len(inputs), dict(zip(ensemble.spike_layers, spikes.tolist(), strict=True))
    rows = []
    for student, of in enumerate(layers):
        total = counts[student].sum() or 1.0
        rows += [
            LayerRow(
                student,
                r.layer,
                r.description,
                float(called / n),
                float(count / n),
                float(count / total),
                _made(made, r, n),
            )
            for r, called, count in zip(of, calls[student], counts[student][:-1], strict=True)
        ]
        rest = float(counts[student][-1])
        rows.append(LayerRow(student, None, "the rest", 1.0, rest / n, rest / float(total), None))
    return rows


def _made(made: dict[tuple[int, int], float], report: LayerReport, n: int) -> float | None:
    spikes = made.get((report.student, report.layer))
    return None if spikes is None else float(spikes / n)
