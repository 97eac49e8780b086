"""How often a layer's inputs spike and its neurons fire: as calibration measured, as a search assumes, and at most."""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.layout import Stage, StateLayout, state_layout
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import SynapticLayer
from ..ir.proof import worst_ops
from ..ir.student import QuantStudent
from .work_counts import Rates

# How far spikes are independent (`work_counts.Rates`), as benchmarks/cost_spikes.py measures it of bodies that the
# model is not held against: those that a window sees come from few places and from neurons alike, and columns differ by
# a half and more. Who spikes goes on, the more so where weights are trained: 0.83 of bodies, 0.6 to 0.7 of the shipped
# models.
APART, GROUPED, RENEWED, UNEVEN = 0.7, 0.93, 0.7, 0.5
ASSUMED = 0.1  # spikes per neuron and timestep where nothing was measured


def firing_shares(student: QuantStudent) -> list[float]:
    """By layer, the share of its channels that some input makes fire: whose threshold lies below the proven range's
    end. Of a pooling, that of what it pools."""
    shares: list[float] = []
    for layer in student.layers:
        if isinstance(layer, SynapticLayer):
            fires = layer.neuron.kind != "li"
            shares.append(float((layer.threshold < layer.bound.high).mean()) if fires else 0.0)
        else:
            shares.append(shares[-1] if shares else 1.0)
    return shares


def measured_rates(ensemble: QuantEnsemble, layout: StateLayout, number: int) -> list[Rates] | None:
    """A student's rates as calibration measured them, by stage of its plan; None where it was not calibrated."""
    ops = ensemble.students[number].layer_ops
    return rates_of(ensemble, layout, number, ops) if any(ops) else None


def rates_of(ensemble: QuantEnsemble, layout: StateLayout, number: int, layer_ops: Sequence[float]) -> list[Rates]:
    """A student's rates, by stage of its plan, that make so many operations by layer.

    What a layer takes follows from its operations; what it fires, from those of the next one.
    """
    student, stages = ensemble.students[number], layout.stages[number]
    worst = worst_ops(student, ensemble.encoder)
    seen: list[float | None] = []
    for stage in stages:
        known = isinstance(student.layers[stage.layer], SynapticLayer) and worst[stage.layer] > 0
        seen.append(min(1.0, layer_ops[stage.layer] / worst[stage.layer]) if known else None)
    made: list[Rates] = []
    for k in range(len(stages)):
        after = seen[k + 1] if k + 1 < len(stages) else 0.0
        incoming = seen[k]
        if incoming is None:  # a maximum: what it takes fires as often as the layer before was thought to
            incoming = made[-1].outgoing if made else ASSUMED
        if after is None:  # a maximum follows: of all that its window holds, one is enough
            after = _thinned(student, stages, k, seen)
        made.append(_spiking(incoming, after))
    return made


def _spiking(incoming: float, outgoing: float) -> Rates:
    return Rates(incoming, outgoing, apart=APART, grouped=GROUPED, renewed=RENEWED, uneven=UNEVEN)


def _thinned(student: QuantStudent, stages: Sequence[Stage], k: int, seen: Sequence[float | None]) -> float:
    pool = student.layers[stages[k + 1].layer]
    after = seen[k + 2] if k + 2 < len(seen) else None
    if after is None or isinstance(pool, SynapticLayer):
        return ASSUMED
    return float(1 - (1 - min(after, 0.999)) ** (1 / (pool.kernel[0] * pool.kernel[1])))


def assumed_rates(ensemble: QuantEnsemble, rate: float = ASSUMED) -> list[list[Rates]]:
    """Rates of an ensemble that was not trained: every input of a direct encoder is there, a half of a rate-coded
    input's draws are spikes, neurons fire at `rate`."""
    first = {"direct": 1.0, "rate": 0.5}.get(ensemble.encoder.kind, rate)
    return [
        [_spiking(first if stage.source is None else rate, rate) for stage in stages]
        for stages in state_layout(ensemble).stages
    ]
