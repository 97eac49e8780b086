"""How fast the engine is: a 784-128-10 network, 10 timesteps of raw events, on every emulated core.

Prints instructions per inference at several input densities, and what one more synaptic operation costs (the slope of
the line through them): `python benchmarks/speed.py [--json]`. Weights are random.
"""

from __future__ import annotations

import argparse
import json

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from sne_edge.connect import connect
from sne_edge.encoder import Encoder
from sne_edge.model import ActivationPolicy, Linear, QuantEnsemble, QuantStudent, no_vectors, prove_layer
from sne_edge.neuron import Bound, Decay, Neuron

BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps2-an500", "mps2-an505", "mps3-an547")
DENSITIES = (0.02, 0.05, 0.10, 0.20)
INPUTS, HIDDEN, CLASSES, TIMESTEPS = 784, 128, 10, 10


def network() -> QuantEnsemble:
    """Normal weights that fill int8 as trained ones do; about one hidden neuron in ten fires at 10 % input."""
    rng = np.random.default_rng(0)
    encoder = Encoder("events", (1, 1, INPUTS), TIMESTEPS)
    hidden = _linear(rng, encoder, True, INPUTS, HIDDEN, Neuron("lif", Decay("shift", 1)), 400)
    readout = _linear(rng, encoder, False, HIDDEN, CLASSES, Neuron("li", Decay("shift", 4), reset="none"), 0)
    none = np.zeros(CLASSES, np.int32)
    student = QuantStudent((hidden, readout), (), np.ones(CLASSES, np.int32), none)
    vectors = no_vectors(encoder, CLASSES, [student])
    classes = tuple(str(c) for c in range(CLASSES))
    return QuantEnsemble("speed", encoder, (student,), none, (0,), classes, 1.0, ActivationPolicy("all"), vectors)


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


def measure(board: str, ensemble: QuantEnsemble) -> dict[str, object]:
    """Instructions per inference by density, and the slope against synaptic operations."""
    rng = np.random.default_rng(1)
    counts, ops = [], []
    with connect(ensemble, f"qemu:{board}") as (device, firmware):
        assert firmware is not None
        for density in DENSITIES:
            raster = rng.random((1, TIMESTEPS, INPUTS)) < density
            device.load(ensemble.encoder.encode(raster)[0].tobytes())
            ops.append(device.run().synaptic_ops)
            counts.append(device.bench(1).total)
    slope, constant = np.polyfit(ops, counts, 1)
    return {
        "board": board,
        "target": firmware.target,
        "instructions": dict(zip(map(str, DENSITIES), counts, strict=True)),
        "synaptic_ops": dict(zip(map(str, DENSITIES), ops, strict=True)),
        "per_synaptic_op": float(slope),
        "constant": float(constant),
        "membrane_bits": ensemble.students[0].layers[0].width,  # type: ignore[union-attr]
        "code_bytes": firmware.code_bytes,
        "ram_bytes": firmware.ram_bytes,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments = parser.parse_args()
    ensemble = network()
    rows = [measure(board, ensemble) for board in BOARDS]
    if arguments.json:
        print(json.dumps(rows, indent=2))
        return
    table = Table(title="784-128-10, 10 timesteps: instructions per inference (QEMU)", title_justify="left")
    for column in ("core", *(f"{d:.0%} input" for d in DENSITIES), "per synaptic op", "constant"):
        table.add_column(column, justify="left" if column == "core" else "right")
    for row in rows:
        instructions = row["instructions"]
        assert isinstance(instructions, dict)
        cells = [f"{count:,}" for count in instructions.values()]
        table.add_row(str(row["target"]), *cells, f"{row['per_synaptic_op']:.2f}", f"{row['constant']:,.0f}")
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
