"""The rows of the benchmark: what each measures on one board.

In: a board's name. Out: metrics by name, None where the model does not fit; docs/MEASURING.md says what each row
subtracts. Everything goes through `connect` and `Device`, so that nothing here depends on how the C is built inside.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import networks
import numpy as np
from compare import Metrics

from sne_edge.deploy.analysis import analyze
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import CFLAGS, Firmware
from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, zoo_names
from sne_edge.ir.encoder import Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer, size
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.connect import connect
from sne_edge.resources import RUNTIME

# One board for each core.
BOARDS = (
    *("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547"),
    *("riscv32-virt", "riscv32-virt-zb"),
)
CURVES = ("mps2-an385", "mps2-an386", "mps3-an547")  # boards of the density curves
LAYERS = "mps2-an386"  # board of the costs by layer
SHORT, LONG = 2, 12  # timesteps of the two inferences whose difference is a slope
CONV_LONG = 6  # the same for the convolution, whose spikes take a kilobyte a timestep
DENSITIES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0)
SAMPLES = 4  # inputs of a whole model
EVENTS = 78
GRAPHS = 4  # students that are graphs

Job = tuple[bytes, ActivationPolicy]


@dataclass(frozen=True)
class Count:
    """One inference: instructions, operations, deepest stack in bytes, spikes of each spiking layer."""

    instructions: int
    synaptic_ops: int
    macs: int
    stack_bytes: int
    spikes: np.ndarray


@dataclass(frozen=True)
class Row:
    """`shown`: the metrics in the table; `targets`: by board, for the first of them; `boards`: where it is measured."""

    name: str
    title: str
    measure: Callable[[str], Metrics]
    shown: tuple[str, ...]
    targets: dict[str, float]
    boards: tuple[str, ...] = BOARDS


def core(board: str) -> str:
    """The core of a board: what results go by."""
    return resolve_board(board).target


def run_jobs(board: str, ensemble: QuantEnsemble, jobs: Sequence[Job]) -> tuple[list[Count], Firmware]:
    """Build firmware once, then count one inference of each job, an input and a policy."""
    counts = []
    with connect(ensemble, f"qemu:{board}") as (device, firmware):
        assert firmware is not None
        for data, policy in jobs:
            device.load(data)
            run, spikes, bench = device.run(policy), device.spikes(), device.bench(1, policy)
            if bench.unit != "instructions":
                raise SneError(f"{board} counts {bench.unit}, not instructions", "is this QEMU started with -icount?")
            counts.append(Count(bench.total, run.synaptic_ops, run.macs, bench.stack_bytes, spikes))
    return counts, firmware


def count_one(board: str, ensemble: QuantEnsemble, data: bytes) -> int:
    """Instructions of one inference."""
    return run_jobs(board, ensemble, [(data, _policy())])[0][0].instructions


def layer_per_timestep(board: str, ensemble: QuantEnsemble, data: bytes) -> tuple[float, float]:
    """Instructions and synaptic operations that the hidden layer takes in one timestep: the slope over timesteps of
    the network, less that of its readout alone, which is given as many spikes as the hidden layer fired."""
    longest = ensemble.encoder.timesteps
    (short, long), _ = run_jobs(board, ensemble, [(data, _policy(SHORT)), (data, _policy(longest))])
    early, late = int(short.spikes.sum()), int(long.spikes.sum() - short.spikes.sum())
    hidden = ensemble.students[0].layers[0].out_shape
    spikes = [*networks.spread(early, SHORT), *networks.spread(late, longest - SHORT)]
    seen = networks.raster((1, 1, size(hidden)), spikes)
    readout = networks.readout_only(size(hidden), longest)
    (first, last), _ = run_jobs(board, readout, [(seen, _policy(SHORT)), (seen, _policy(longest))])
    steps = longest - SHORT
    instructions = long.instructions - short.instructions - (last.instructions - first.instructions)
    operations = long.synaptic_ops - short.synaptic_ops - (last.synaptic_ops - first.synaptic_ops)
    return instructions / steps, operations / steps


def accumulation(board: str, bits: int = 8) -> Metrics:
    """What one more weight added costs: 128 against 64 outputs, with and without the same 78 events."""
    some, none = (networks.raster(networks.CLASSIFIER, [count]) for count in (EVENTS, 0))
    cost = {}
    for hidden in (64, 128):
        ensemble = networks.classifier(hidden, networks.FEWEST, 1, networks.SILENT, bits)
        (events, empty), _ = run_jobs(board, ensemble, [(some, _policy()), (none, _policy())])
        cost[hidden] = events.instructions - empty.instructions
    return {"instructions_per_op": round((cost[128] - cost[64]) / (64 * EVENTS), 4)}


def linear(board: str, bits: int = 8) -> Metrics:
    """The 784-128 layer with 78 events in every timestep, everything included."""
    data = networks.raster(networks.CLASSIFIER, [EVENTS] * LONG)
    instructions, operations = layer_per_timestep(
        board, networks.classifier(128, networks.FEWEST, LONG, bits=bits), data
    )
    return {"instructions_per_op": round(instructions / operations, 4), "instructions": round(instructions, 1)}


def convolution(density: float, threshold: int) -> Callable[[str], Metrics]:
    """The 3 x 3 convolution with so many of its inputs spiking, everything included."""

    def measure(board: str) -> Metrics:
        data = networks.raster(networks.IMAGE, [round(density * size(networks.IMAGE))] * CONV_LONG)
        ensemble = networks.image_network(CONV_LONG, density, threshold)
        instructions, operations = layer_per_timestep(board, ensemble, data)
        return {"instructions": round(instructions, 1), "synaptic_ops": round(operations, 1)}

    return measure


def lif(board: str) -> Metrics:
    """What one more neuron costs in a timestep: 1024 against 256 that receive nothing."""
    few, many = 256, 1024
    data = networks.raster((1, 1, 4), [0] * LONG)
    cost = {n: layer_per_timestep(board, networks.lif_population(n, LONG), data)[0] for n in (few, many)}
    return {"instructions_per_neuron": round((cost[many] - cost[few]) / (many - few), 4)}


def classifier(board: str) -> Metrics:
    """One inference of 784-128-10 at 10 % input, ten timesteps."""
    data = networks.raster(networks.CLASSIFIER, [EVENTS] * 10)
    (count,), firmware = run_jobs(board, networks.classifier(128, 10, 10), [(data, _policy())])
    return {"instructions": count.instructions, "synaptic_ops": count.synaptic_ops, **_sizes(firmware, [count])}


def model(name: str) -> Callable[[str], Metrics]:
    """A shipped model under `all` and under its own policy: means over its first golden inputs."""

    def measure(board: str) -> Metrics:
        ensemble = load(name)
        inputs = [row.tobytes() for row in ensemble.vectors.inputs[:SAMPLES]]
        policies = {"all": _policy(), "own": ensemble.policy}
        jobs = [(data, policy) for policy in policies.values() for data in inputs]
        counts, firmware = run_jobs(board, ensemble, jobs)
        metrics: Metrics = {}
        for number, kind in enumerate(policies):
            part = counts[number * len(inputs) : (number + 1) * len(inputs)]
            metrics[f"instructions_{kind}"] = _mean([c.instructions for c in part])
            metrics[f"synaptic_ops_{kind}"] = _mean([c.synaptic_ops for c in part])
            metrics[f"macs_{kind}"] = _mean([c.macs for c in part])
        return metrics | _sizes(firmware, counts)

    return measure


def code(board: str) -> Metrics:
    """Bytes of machine code that a convolution and a linear layer bring into a program: all of the export's objects,
    without their constants, golden vectors and self-test."""
    target = resolve_target(resolve_board(board).target)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        directory = export(networks.both_kinds(), target.name, Path(folder) / "model")
        names = [n for n in read_manifest(directory)["sources"] if not n.endswith(("_selftest.c", "_vectors.c"))]
        sources = [str((directory / name).resolve()) for name in names]
        includes = [f"-I{directory.resolve()}", f"-I{RUNTIME}"]
        run_tool([target.cc, *target.cflags, *CFLAGS, *includes, "-c", *sources], Path(folder))
        objects = [f"{Path(name).stem}.o" for name in names]
        listing = run_tool([f"{target.prefix}size", "-A", *objects], Path(folder))
    sections = (line.split() for line in listing.splitlines() if line.startswith(".text"))
    return {"code_bytes": sum(int(section[1]) for section in sections)}


def graphs(board: str) -> Metrics:
    """Recurrent students of T = 10 with 10 % of their inputs spiking."""
    ensemble = networks.recurrent(GRAPHS, 10)
    data = networks.raster(networks.RECURRENT, [round(0.1 * size(networks.RECURRENT))] * 10)
    counts, firmware = run_jobs(board, ensemble, [(data, _policy())])
    return {"instructions": counts[0].instructions, **_sizes(firmware, counts)}


def density(shape: Shape, conv: bool) -> Callable[[str], Metrics]:
    """One timestep at every input density, and the same layer computed densely, from int8 inputs none of them zero."""

    def measure(board: str) -> Metrics:
        metrics: Metrics = {}
        inputs = {share: networks.raster(shape, [round(share * size(shape))]) for share in DENSITIES}
        if conv:  # as calibration would store them for few events and for many
            sparse = [share for share in DENSITIES if share < 0.05]
            parts = [(networks.image_network(1, 0.02, networks.SILENT), sparse)]
            dense = [share for share in DENSITIES if share not in sparse]
            parts.append((networks.image_network(1, 0.1, networks.SILENT), dense))
        else:
            parts = [(networks.classifier(128, networks.FEWEST, 1, networks.SILENT), list(DENSITIES))]
        for ensemble, shares in parts:
            counts, _ = run_jobs(board, ensemble, [(inputs[share], _policy()) for share in shares])
            for share, count in zip(shares, counts, strict=True):
                metrics[density_metric(share)] = count.instructions
        values = np.random.default_rng(3).integers(1, 128, size(shape), np.uint8)
        metrics["instructions_dense"] = count_one(board, networks.direct(shape, conv), values.tobytes())
        return metrics

    return measure


def density_metric(share: float) -> str:
    """The name of a point of a density curve."""
    return f"instructions_at_{round(100 * share):03}"


def crossover(metrics: Metrics) -> float | None:
    """The input density at which the events of a density row cost as much as the dense layer; None: never."""
    dense = metrics["instructions_dense"]
    costs = [metrics[density_metric(share)] for share in DENSITIES]
    for below, above, low, high in zip(DENSITIES, DENSITIES[1:], costs, costs[1:], strict=False):
        assert dense is not None and low is not None and high is not None
        if low <= dense <= high:
            return below + (above - below) * (dense - low) / (high - low)
    return None


def by_layer(name: str) -> Callable[[str], Metrics]:
    """Every layer of every student of a shipped model. A layer's instructions: those of the student cut off behind it
    with a small readout, less those of that readout alone, given as many spikes; less the same for the layers before.
    The readout's are the rest of the student's inference. Pooling counts to the layer behind it."""

    def measure(board: str) -> Metrics:
        ensemble = load(name)
        inputs = [row.tobytes() for row in ensemble.vectors.inputs[:SAMPLES]]
        ram = {(r.student, r.layer): getattr(r, "ram_bytes", 0) for r in analyze(ensemble).layers}
        masks = [ActivationPolicy("mask", mask=1 << number) for number in range(len(ensemble.students))]
        whole, _ = run_jobs(board, ensemble, [(data, mask) for mask in masks for data in inputs])
        metrics: Metrics = {}
        for number, student in enumerate(ensemble.students):
            before = 0.0
            total = _mean([c.instructions for c in whole[number * len(inputs) : (number + 1) * len(inputs)]])
            for index, layer in enumerate(student.layers):
                if not isinstance(layer, SynapticLayer):
                    continue
                upto = total
                if index + 1 < len(student.layers):
                    cut = networks.truncated(ensemble, number, index + 1)
                    counts, _ = run_jobs(board, cut, [(data, _policy()) for data in inputs])
                    upto = _mean([c.instructions for c in counts])
                    upto -= _readout(board, layer, ensemble.encoder.timesteps, counts)
                metrics[f"instructions_{number}_{index}"] = round(upto - before, 1)
                metrics[f"ram_bytes_{number}_{index}"] = ram[number, index]
                before = upto
        return metrics

    return measure


def _readout(board: str, layer: SynapticLayer, timesteps: int, counts: Sequence[Count]) -> float:
    """Mean instructions of a readout alone that receives as many spikes as a layer fired."""
    readout = networks.readout_only(layer.neurons, timesteps)
    seen = [networks.spread(int(count.spikes[-1]), timesteps) for count in counts]
    jobs = [(networks.raster((1, 1, layer.neurons), spikes), _policy()) for spikes in seen]
    return _mean([count.instructions for count in run_jobs(board, readout, jobs)[0]])


def _sizes(firmware: Firmware, counts: Sequence[Count]) -> Metrics:
    return {
        "ram_bytes": firmware.ram_bytes,
        "stack_used_bytes": max(count.stack_bytes for count in counts),
        "code_bytes": firmware.code_bytes,
        "table_bytes": firmware.table_bytes,
    }


def _policy(timesteps: int = 0) -> ActivationPolicy:
    return ActivationPolicy("all", timesteps=timesteps)


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), 1)


def _targets(m0: float | None, m3: float, dsp: float, m55: float, words: float) -> dict[str, float]:
    values = (m0, m3, dsp, dsp, dsp, m55, words, words)
    return {board: value for board, value in zip(BOARDS, values, strict=True) if value is not None}


MODEL_METRICS = (
    *(f"{what}_{kind}" for kind in ("all", "own") for what in ("instructions", "synaptic_ops", "macs")),
    *("ram_bytes", "stack_used_bytes", "code_bytes", "table_bytes"),
)
CURVE_METRICS = (*(density_metric(share) for share in (0.02, 0.1, 1.0)), "instructions_dense")


def all_rows() -> list[Row]:
    """Every row, in the order of the table."""
    op, total = ("instructions_per_op",), ("instructions",)
    return [
        Row("accumulation", "linear 784-128, accumulation only", accumulation, op, _targets(2.2, 1.2, 0.85, 0.35, 1.5)),
        Row("linear", "linear 784-128, everything", linear, op, _targets(2.8, 1.5, 1.1, 0.5, 2)),
        Row("accumulation-4bit", "the same of 4 bits, accumulation", partial(accumulation, bits=4), op, {}),
        Row("linear-4bit", "the same of 4 bits, everything", partial(linear, bits=4), op, {}),
        Row("conv-10", "conv 3x3, 10 % input, a timestep", convolution(0.1, 200), total,
            _targets(None, 380e3, 230e3, 100e3, 400e3)),
        Row("conv-2", "conv 3x3, 2 % input, a timestep", convolution(0.02, 100), total,
            _targets(None, 120e3, 75e3, 45e3, 190e3)),
        Row("lif", "LIF pass", lif, ("instructions_per_neuron",), _targets(9, 8, 5, 2, 10.5)),
        Row("classifier", "784-128-10, T = 10, 10 % input", classifier, total,
            _targets(None, 190e3, 130e3, 60e3, 200e3)),
        Row("graphs", "4 graphs, 64-48-10, recurrent, T = 10", graphs, ("instructions", "code_bytes"), {}),
        Row("code", "runtime for linear and conv", code, ("code_bytes",), {"mps2-an386": 7168}),
        *(Row(f"model-{name}", name, model(name), MODEL_METRICS, {}) for name in zoo_names()),
        Row("density-linear", "linear 784-128", density(networks.CLASSIFIER, False), CURVE_METRICS, {}, CURVES),
        Row("density-conv", "conv 3x3", density(networks.IMAGE, True), CURVE_METRICS, {}, CURVES),
        Row("layers-mnist1d", "mnist1d by layer", by_layer("mnist1d"), (), {}, (LAYERS,)),
    ]  # fmt: skip


def measure_row(row: Row, board: str) -> Metrics:
    """A row's metrics on a board; every one shown is None where its model does not fit."""
    try:
        return row.measure(board)
    except SneError as error:
        if "make the model smaller" in (error.hint or ""):
            return dict.fromkeys(row.shown)
        raise
