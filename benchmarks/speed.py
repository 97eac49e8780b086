"""How fast the engine is, on every emulated core: instructions of layers and networks beside what they should take.

`python benchmarks/speed.py [--json] [--update-baseline]`. Weights are random. Exits with 1 where a figure is over 2 %
worse than in baseline.json. A layer's figure is the difference between inferences of one and of three timesteps,
halved: one timestep with all that belongs to it (finding spikes, adding weights, firing), and that of a silent readout.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import msgspec
import numpy as np
from bare_metal import BOARDS
from rich.console import Console
from rich.table import Table

from sne_edge.connect import connect
from sne_edge.encoder import Encoder, Shape
from sne_edge.model import ActivationPolicy, Conv, Linear, QuantEnsemble, QuantStudent, no_vectors, prove_layer
from sne_edge.neuron import Bound, Decay, Neuron

BASELINE = Path(__file__).with_name("baseline.json")
TOLERANCE = 0.02
LIF, READOUT = Neuron("lif", Decay("shift", 1)), Neuron("li", Decay("shift", 4), reset="none")
NEVER = 30000  # a threshold that is not reached
NETWORK, LINEAR, CONV, SPARSE = "784-128-10", "linear 784-128", "conv 3x3, 10 %", "conv 3x3, 2 %"
# What each should take at most, by row: M0, M3, M4, M7, M33, M55.
TARGETS: dict[str, tuple[float | None, ...]] = {
    NETWORK: (None, 190e3, 130e3, 130e3, 130e3, 60e3),
    LINEAR: (2.8, 1.5, 1.1, 1.1, 1.1, 0.5),
    CONV: (None, 380e3, 230e3, 230e3, 230e3, 100e3),
    SPARSE: (None, 120e3, 75e3, 75e3, 75e3, 45e3),
}


def network(timesteps: int, classes: int, threshold: int) -> QuantEnsemble:
    """784-128-`classes`: normal weights that fill int8 as trained ones do."""
    rng = np.random.default_rng(0)
    encoder = Encoder("events", (1, 1, 784), timesteps)
    hidden = _linear(rng, encoder, True, 784, 128, LIF, threshold)
    return _ensemble(encoder, hidden, _linear(rng, encoder, False, 128, classes, READOUT, 0), ())


def convolution(timesteps: int, density: float) -> QuantEnsemble:
    """3x3 on 16x16x16, 32 channels out; `density` is what it is told to expect."""
    rng = np.random.default_rng(0)
    encoder = Encoder("events", (16, 16, 16), timesteps)
    layer = Conv(
        in_shape=(16, 16, 16),
        out_shape=(16, 16, 32),
        weight=np.rint(rng.normal(0, 20, (32, 16, 3, 3))).clip(-127, 127).astype(np.int8),
        bias=np.zeros(32, np.int32),
        threshold=np.full(32, NEVER, np.int32),
        scale=np.ones(32),
        neuron=LIF,
        bound=Bound(0, 0),
        padding=(1, 1),
    )
    layer = msgspec.structs.replace(layer, bound=prove_layer(layer, encoder, True))
    expected = round(int(layer.fan_out().sum()) * timesteps * density)
    return _ensemble(encoder, layer, _linear(rng, encoder, False, 16 * 16 * 32, 2, READOUT, 0), (expected, 0))


def _linear(
    rng: np.random.Generator, encoder: Encoder, first: bool, inputs: int, outputs: int, neuron: Neuron, threshold: int
) -> Linear:
    layer = Linear(
        in_shape=(1, 1, inputs),
        out_shape=(1, 1, outputs),
        weight=np.rint(rng.normal(0, 32, (outputs, inputs))).clip(-127, 127).astype(np.int8),
        bias=rng.integers(-20, 21, outputs, dtype=np.int32),
        threshold=np.full(outputs, threshold, np.int32),
        scale=np.ones(outputs),
        neuron=neuron,
        bound=Bound(0, 0),
    )
    bound = prove_layer(layer, encoder, first)
    assert bound is not None
    return msgspec.structs.replace(layer, bound=bound)


def _ensemble(encoder: Encoder, hidden: Linear | Conv, readout: Linear, ops: tuple[int, ...]) -> QuantEnsemble:
    classes = readout.channels
    none = np.zeros(classes, np.int32)
    student = QuantStudent((hidden, readout), (), np.ones(classes, np.int32), none, layer_ops=ops)
    vectors = no_vectors(encoder, classes, [student])
    names = tuple(map(str, range(classes)))
    return QuantEnsemble("speed", encoder, (student,), none, (0,), names, 1.0, ActivationPolicy("all"), vectors)


def measure(board: str, ensemble: QuantEnsemble, density: float) -> tuple[int, int]:
    """Instructions and synaptic operations of one inference, the same number of inputs spiking in every timestep."""
    rng = np.random.default_rng(1)
    encoder = ensemble.encoder
    raster = np.zeros((1, encoder.timesteps, encoder.size), np.uint8)
    for row in raster[0]:
        row[rng.permutation(encoder.size)[: round(density * encoder.size)]] = 1
    with connect(ensemble, f"qemu:{board}") as (device, _):
        device.load(encoder.encode(raster)[0].tobytes())
        return device.bench(1).total, device.run().synaptic_ops


def timestep(board: str, shape: Shape, density: float) -> tuple[float, float]:
    """Instructions and synaptic operations of one timestep of a layer."""
    linear = shape == (1, 1, 784)
    one, three = (measure(board, network(t, 2, NEVER) if linear else convolution(t, density), density) for t in (1, 3))
    return (three[0] - one[0]) / 2, (three[1] - one[1]) / 2


def rows(board: str) -> dict[str, float]:
    """Every figure of one board."""
    instructions, ops = timestep(board, (1, 1, 784), 78 / 784)
    figures = {NETWORK: float(measure(board, network(10, 10, 400), 0.10)[0]), LINEAR: round(instructions / ops, 3)}
    if board != "microbit":  # its 16 KB of RAM hold no such input
        figures |= {CONV: timestep(board, (16, 16, 16), 0.10)[0], SPARSE: timestep(board, (16, 16, 16), 0.02)[0]}
    return figures


def worse(before: dict[str, dict[str, float]], now: dict[str, dict[str, float]]) -> list[str]:
    """What got worse by more than the tolerance, in words; a figure without a baseline is new."""
    return [
        f"{name} on {board}: {figure:,g}, was {before[board][name]:,g}"
        for board, figures in now.items()
        for name, figure in figures.items()
        if figure > before.get(board, {}).get(name, np.inf) * (1 + TOLERANCE)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--update-baseline", action="store_true", help="store these figures as the ones to hold")
    arguments = parser.parse_args()
    results = {board: rows(board) for board in BOARDS}
    if arguments.json:
        print(json.dumps(results, indent=2))
    else:
        table = Table(title="Instructions (QEMU); in brackets the target", title_justify="left")
        for column in ("core", NETWORK, f"{LINEAR}, per op", CONV, SPARSE):
            table.add_column(column, justify="left" if column == "core" else "right")
        for place, (board, figures) in enumerate(results.items()):
            table.add_row(board, *(_cell(figures.get(name), TARGETS[name][place]) for name in TARGETS))
        Console(width=120).print(table)
    if arguments.update_baseline:
        BASELINE.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
    elif complaints := worse(json.loads(BASELINE.read_text(encoding="utf-8")), results):
        raise SystemExit("\n".join(["worse than benchmarks/baseline.json:", *complaints]))


def _cell(figure: float | None, target: float | None) -> str:
    if figure is None:
        return ""
    return f"{figure:,.10g}" + (f" ({target:,.10g})" if target else "")


if __name__ == "__main__":
    main()
