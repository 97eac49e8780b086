"""What a model needs and does, layer by layer, before anything is built.

In: a `QuantEnsemble`. Out: plain numbers: shapes, bounds, bytes of flash and RAM, operations.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..codegen.context import describe
from ..codegen.footprint import Footprint
from ..codegen.graph import describe_population
from ..codegen.graph_layout import GraphLayout, ProjectionPlan, target_width
from ..codegen.layout import state_layout, streams
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph, Leak, Population
from ..ir.layers import Layer, SynapticLayer
from ..ir.limits import padded, row_bytes
from ..ir.proof import worst_ops
from ..ir.student import QuantStudent
from .export import measure


@dataclass(frozen=True)
class LayerReport:
    """One layer, or population of a graph. Bytes of flash are its weights, biases and thresholds; of RAM, all that
    exists while it runs: spikes in and out, the membranes of a tile, the list of rows; a population's, what it keeps.

    `mean_ops`: measured at calibration, None where the model was never measured; `max_ops`: every input spiking.
    """

    student: int
    layer: int
    description: str
    neuron: str
    parameters: int
    flash_bytes: int
    ram_bytes: int
    membrane_bits: int
    bound: tuple[int, int] | None
    mean_ops: int | None
    max_ops: int


@dataclass(frozen=True)
class ModelReport:
    """A whole model. `flash`: bytes of its constants, by what they are; `table_bytes`: all of them but the golden
    vectors; `parameter_bytes`: of weights, biases, thresholds and routes; `state_bytes`: RAM of one state, at its peak;
    `lower_bound`: what its hungriest layer needs at once; `stream_bytes`: RAM of a stream's state, 0 where the model
    takes none."""

    name: str
    classes: int
    students: int
    timesteps: int
    encoder: str
    input_bytes: int
    state_bytes: int
    lower_bound: int
    stream_bytes: int
    flash: Footprint
    table_bytes: int
    parameter_bytes: int
    policy: str
    layers: list[LayerReport]


def analyze(ensemble: QuantEnsemble) -> ModelReport:
    """Report on every layer of every student."""
    layout, flash = state_layout(ensemble), measure(ensemble)
    stages = [{stage.layer: stage for stage in stages} for stages in layout.stages]
    reports = []
    for number, student in enumerate(ensemble.students):
        worst = worst_ops(student, ensemble.encoder)
        plan = layout.graphs[number]
        if isinstance(student.graph, Graph) and plan is not None:
            reports += _populations(number, student, student.graph, plan, worst)
        for index, layer in enumerate(student.layers):
            reports.append(
                LayerReport(
                    student=number,
                    layer=index,
                    description=describe(layer),
                    neuron=neuron_text(layer),
                    parameters=_parameters(layer),
                    flash_bytes=_flash(layer),
                    ram_bytes=stages[number][index].live if index in stages[number] else 0,
                    membrane_bits=layer.width if isinstance(layer, SynapticLayer) else 0,
                    bound=(layer.bound.low, layer.bound.high) if isinstance(layer, SynapticLayer) else None,
                    mean_ops=student.layer_ops[index] if student.layer_ops else None,
                    max_ops=worst[index],
                )
            )
    return ModelReport(
        name=ensemble.name,
        classes=len(ensemble.classes),
        students=len(ensemble.students),
        timesteps=ensemble.encoder.timesteps,
        encoder=ensemble.encoder.kind,
        input_bytes=ensemble.encoder.input_bytes,
        state_bytes=layout.bytes,
        lower_bound=layout.lower_bound,
        stream_bytes=layout.stream_bytes if streams(ensemble) else 0,
        flash=flash,
        table_bytes=flash.tables,
        parameter_bytes=sum(report.flash_bytes for report in reports)
        + (0 if ensemble.routes is None else ensemble.routes.nbytes),
        policy=ensemble.policy.kind,
        layers=reports,
    )


def _populations(
    number: int, student: QuantStudent, graph: Graph, plan: GraphLayout, worst: list[int]
) -> list[LayerReport]:
    """A graph's rows, one a population: RAM is what lasts, its states, spikes and constant currents."""
    return [
        LayerReport(
            student=number,
            layer=index,
            description=f"{population.name}: {describe_population(population)}",
            neuron=cell_text(population),
            parameters=sum(q.weight.size for q in population.projections) + int(np.count_nonzero(population.bias)),
            flash_bytes=_population_flash(population, plan.plans[index]),
            ram_bytes=plan.population_bytes(index, population),
            membrane_bits=population.width,
            bound=(population.bound.low, population.bound.high),
            mean_ops=student.layer_ops[index] if student.layer_ops else None,
            max_ops=worst[index],
        )
        for index, population in enumerate(graph.populations)
    ]


def cell_text(population: Population) -> str:
    """A population's neurons in a few words."""
    cell = population.neuron

    def leak_text(leak: Leak) -> str:
        if leak.decay is None:
            return f"{leak.value.min() / 2**15:.4f}..{leak.value.max() / 2**15:.4f}"
        return f"1-2^-{leak.decay.value}" if leak.kind == "shift" else f"{leak.decay.beta:.4f}"

    kind = "li" if not cell.spikes else "if" if cell.leak.kind == "none" else "lif"
    if isinstance(cell.current_leak, Leak):
        kind = f"cuba {kind}, current decay {leak_text(cell.current_leak)}"
    decay = "" if cell.leak.kind == "none" else f", decay {leak_text(cell.leak)}"
    reset = f", reset {cell.reset}{' (delayed)' if cell.reset_delay else ''}" if cell.spikes else ""
    return kind + decay + reset


def _population_flash(population: Population, plans: list[ProjectionPlan]) -> int:
    rows = 0
    for projection, plan in zip(population.projections, plans, strict=True):
        count = projection.weight.size // projection.weight.shape[0]
        rows += count * (plan.stride if projection.bits == 8 else -(-plan.stride // 8) * 4)
    places, channels = population.positions * padded(population.channels), padded(population.channels)

    def table(values: int, width: int) -> int:
        return width // 8 * (places if population.channels < values == population.neurons else channels)

    cell = population.neuron
    threshold = population.threshold.size if isinstance(population.threshold, np.ndarray) else population.channels
    tables = table(threshold, population.width) + table(population.bias.size, target_width(population))
    for leak in (cell.leak, cell.current_leak):
        tables += table(leak.value.size, 16) if isinstance(leak, Leak) and leak.value.size > 1 else 0
    return rows + tables


def neuron_text(layer: Layer) -> str:
    """A layer's neuron in a few words."""
    if not isinstance(layer, SynapticLayer):
        return "-"
    neuron = layer.neuron
    decay = {"none": "", "shift": f", decay 1-2^-{neuron.decay.value}", "q15": f", decay {neuron.decay.beta:.4f}"}
    reset = "" if neuron.kind == "li" else f", reset {neuron.reset}{' (delayed)' if neuron.reset_delay else ''}"
    window = f", window {neuron.window}" if isinstance(neuron.window, int) else ""
    return neuron.kind + decay[neuron.decay.kind] + reset + window


def _parameters(layer: Layer) -> int:
    return layer.weight.size + int(np.count_nonzero(layer.bias)) if isinstance(layer, SynapticLayer) else 0


def _flash(layer: Layer) -> int:
    if not isinstance(layer, SynapticLayer):
        return 0
    rows, channels = layer.weight.size // layer.channels, padded(layer.channels)
    bias = 4 if layer.current_shift else layer.width // 8
    return int(rows * row_bytes(layer) + (layer.width // 8 + bias) * channels)
