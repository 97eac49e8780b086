"""What an inference does, in counts that follow from the engine's structure: positions, lists, rows, products, updates.

In: a student's place in memory, how many of each layer's inputs and neurons spike, and whose kernels do it. Out:
numbers by name, which `cost` multiplies with instructions. A name says which code does the work: kernel, bits of
weights and membranes, kind of neuron. Where a count depends on which inputs spike, it is the expectation of spikes
that are independent; of all or none spiking it is exact, and it never falls where more spike.

`work_direct` has the layers that take int8 values, `work_spikes`, `work_window` and `work_pooled` those that take
spikes, `work_fire` the end of timesteps.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..codegen.layout import Stage
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import Conv, Linear, MaxPool, SynapticLayer
from ..ir.limits import padded
from ..ir.student import QuantStudent
from .work_counts import Kernels, Rates, Work
from .work_direct import product_work
from .work_fire import Firing, expected_firing, fire_work, fresh_work, turned
from .work_pooled import collect_work, maxpool_work, plan_work, scatter_work
from .work_spikes import gather_work, sweep_work
from .work_window import window_work, windowed


def direct_kernel(stage: Stage) -> str:
    """The kernel of a layer that takes int8 values."""
    return "mac" if stage.kernel == "gather" else stage.kernel


def stage_work(
    student: QuantStudent, stage: Stage, direct: bool, timesteps: int, rates: Rates, kernels: Kernels,
    *, kept: bool = False, firing: Firing | None = None,
) -> Work:  # fmt: skip
    """One layer through so many timesteps at once; `direct`: it takes int8 values; `kept`: its membranes are from the
    timestep before, and for the next. `firing`: of its neurons, by default as the rates let expect."""
    layer = student.layers[stage.layer]
    if isinstance(layer, MaxPool):
        return maxpool_work(layer, stage, timesteps, rates)
    assert isinstance(layer, Linear | Conv)
    kernel = direct_kernel(stage) if direct else stage.kernel
    work = Work({"layer": 1})
    fires = layer.neuron.kind != "li"
    if fires:
        work["clear.maps"], work["clear"] = timesteps, timesteps * -(-layer.neurons // 32)
    room = windowed(layer, stage) if kernels == "helium" and not direct else 0
    if room:
        work["window.layer"] = 1
        return work + window_work(layer, stage, room, timesteps, rates)
    rows, columns = layer.out_shape[:2]
    across = kernel in ("sweep", "scatter", "overlap", "depthwise")
    tiles = rows if across else rows * columns
    work += Work({f"{kernel}.layer": 1, f"{kernel}.rows": rows, f"{kernel}.tiles": tiles})
    work[f"{kernel}.steps"] = tiles * timesteps
    if not kept:
        work += fresh_work(layer, kernel, direct, kernels)
    if fires:
        told = firing or expected_firing(layer, timesteps, rates)
        work += fire_work(layer, kernel, direct, columns if across else 1, timesteps, kept, kernels, told)
    else:
        work += _readout_work(layer, timesteps)
    if direct:
        return work + product_work(layer, stage, kernel, rates, kernels)
    if kernel == "gather":
        each = gather_work(layer, stage, rates, kernels)
    elif kernel == "sweep":
        each = sweep_work(layer, stage, rates, kernels)
    elif kernel == "collect":
        each = collect_work(layer, stage, rates, kernels)
    else:
        each = scatter_work(layer, stage, rates, kernels)
    return work + each.times(timesteps) + plan_work(layer, stage, kernel)


def _readout_work(layer: Linear | Conv, timesteps: int) -> Work:
    positions = layer.neurons // layer.channels
    decay = layer.neuron.decay.kind
    work = Work({f"leak.{layer.width}.{decay}": positions * padded(layer.channels) * timesteps})
    work["leak.calls"] = positions * timesteps
    if layer.neuron.clamp is not None:
        work[f"clamp.{layer.width}"] = positions * layer.channels * timesteps
    return work


def step_work(
    student: QuantStudent, stage: Stage, rates: Rates, kernels: Kernels, firing: Firing | None = None
) -> Work:
    """One layer through a single timestep, its membranes kept from one to the next."""
    work = stage_work(student, stage, False, 1, rates, kernels, kept=True, firing=firing)
    layer = student.layers[stage.layer]
    if isinstance(layer, SynapticLayer):
        work["step"] = 1
        work["step.positions"] = layer.neurons // layer.channels
        if turned(layer, stage.kernel, kernels):
            work["turn"] = layer.neurons // layer.channels * padded(layer.channels)
            work["turn.calls"] = work[f"{stage.kernel}.tiles"]
    return work


def overhead(
    ensemble: QuantEnsemble, kind: str, students: Sequence[int], timesteps: int, early: bool, rate: float
) -> Work:
    """What an inference of these students does beside their layers under a kind of policy; `rate`: the share of the
    draws of a rate-coded input that make a spike."""
    encoder, classes, count = ensemble.encoder, len(ensemble.classes), len(students)
    work = Work(
        {
            "run": 1,
            "run.classes": classes,
            "run.spikes": len(ensemble.spike_layers),
            "run.students": count,
            "run.logits": count * classes,
            f"run.{kind}": count,
        }
    )
    if kind in ("cascade", "routed"):
        work["run.decided"] = (count - 1) * classes
    if encoder.kind == "rate":
        work["rate.inputs"] = count * timesteps * encoder.size
        work["rate.words"] = count * timesteps * -(-encoder.size // 32)
        work["rate.spikes"] = rate * work["rate.inputs"]
    if early:
        work["early"] = count
        work["early.steps"] = count * timesteps
        work["early.logits"] = count * timesteps * classes
        for number in students:
            for layer in _stepped(ensemble, number):
                place = "readout" if layer.neuron.kind == "li" else "neurons"
                work["rest.layers"] += 1
                work["rest.positions"] += layer.out_shape[0] * layer.out_shape[1]
                values = layer.out_shape[0] * layer.out_shape[1] * padded(layer.channels)
                work[f"rest.{place}.{layer.width}"] += values
    return work


def _stepped(ensemble: QuantEnsemble, number: int) -> list[SynapticLayer]:
    """A student's layers that go step by step where it may end early: all but one that takes int8 values."""
    layers = ensemble.students[number].layers
    first = 1 if ensemble.encoder.kind == "direct" else 0
    return [layer for layer in layers[first:] if isinstance(layer, SynapticLayer)]
