"""Models that the cost model was not fitted on, and what they take on emulated cores: how far off its mean is.

The shipped models, on golden inputs, and bodies as a search draws them, of random weights whose thresholds let a chosen
share of neurons fire, on sound, signals and images. The model is given the operations of each layer that these inputs
make, as calibration measures them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from sne_edge.codegen.layout import state_layout

from sne_edge.check.verify import ReferenceEngine
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.cost import need
from sne_edge.deploy.rates import rates_of
from sne_edge.deploy.sketch import Sizes, sketch
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, zoo_names
from sne_edge.ir.encoder import Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.proof import multiplicities, prove_layer
from sne_edge.ir.student import QuantStudent
from sne_edge.link.connect import connect

ALL = ActivationPolicy("all")
GOLDEN = 8  # inputs of a shipped model
INPUTS = 4  # of a body
BODIES = 24
SHAPES: tuple[Shape, ...] = (
    *((1, 40, 1), (1, 64, 32), (1, 40, 1), (28, 28, 1), (1, 64, 32), (1, 128, 3), (16, 16, 3), (1, 40, 1)),
)
NEURONS = 40_000  # updates of a body, at most: what an emulator has done soon


@dataclass(frozen=True)
class HeldOut:
    """A model, uint8 inputs [N, input_bytes], and what is said of it."""

    name: str
    model: QuantEnsemble
    inputs: np.ndarray
    about: str


@dataclass(frozen=True)
class Error:
    """Mean instructions of an inference by all students, counted on an emulated core and as modelled; and the most that
    one input took, and the bound."""

    name: str
    about: str
    counted: float
    modelled: int
    most: int
    worst: int

    @property
    def relative(self) -> float:
        """Of the mean: how much the model is over."""
        return self.modelled / self.counted - 1


def held_out(bodies: int = BODIES) -> list[HeldOut]:
    """The shipped models, and so many bodies."""
    shipped = [load(name) for name in zoo_names()]
    made = [HeldOut(m.name, m, m.vectors.inputs[:GOLDEN], "shipped") for m in shipped]
    number = 0
    while len(made) < len(shipped) + bodies:
        one = make_body(random.Random(7000 + number), SHAPES[number % len(SHAPES)], len(made) - len(shipped))
        made += [one] if one is not None else []
        number += 1
    return made


def make_body(rng: random.Random, shape: Shape, number: int) -> HeldOut | None:
    """A body of random sizes, weights and rate of firing; None where these make no network, or a large one."""
    layers = rng.choice((2, 3, 3))
    channels = tuple(4 * rng.randint(*((2, 8), (2, 12), (2, 16))[k]) for k in range(layers))
    kernels = tuple(rng.randint(3, 8 if k == 0 else 5) for k in range(layers))
    strides = tuple(rng.randint(1, 4 if k == 0 else 2) for k in range(layers))
    decay = rng.choice((1, 1, 2, 3, 0))
    bits, timesteps, rate = rng.choice((8, 8, 4)), rng.randint(1, 4), rng.uniform(0.04, 0.25)
    sizes = Sizes(channels, kernels, strides, shift=max(1, decay), bits=bits, q15=decay == 0)
    try:
        model = sketch(shape, 10, timesteps, 1, sizes)
    except SneError:
        return None
    if timesteps * sum(layer.neurons for layer in model.students[0].layers) > NEURONS:  # type: ignore[union-attr]
        return None
    model = firing(model, rate)
    lists = (",".join(map(str, part)) for part in (channels, kernels, strides))
    about = "x".join(map(str, shape)) + ": channels {}, kernels {}, strides {}".format(*lists)
    about += f", {bits} bits, T = {timesteps}, {'q15' if decay == 0 else f'shift {decay}'}, {rate:.0%}"
    return HeldOut(f"body {number}", model, inputs_of(model, INPUTS), about)


def with_threshold(
    ensemble: QuantEnsemble, student: QuantStudent, number: int, threshold: int, **more: object
) -> QuantStudent:
    """The student with one threshold for a layer, its range proven anew. Raises `ValueError` where it has none."""
    layers = list(student.layers)
    layer = layers[number]
    assert isinstance(layer, SynapticLayer)
    changed = msgspec.structs.replace(layer, threshold=np.full(layer.channels, threshold, np.int32), **more)
    bound = prove_layer(changed, ensemble.encoder, number == 0, multiplicities(tuple(layers))[number])
    if bound is None or bound.width > 32:
        raise ValueError("no such layer")
    layers[number] = msgspec.structs.replace(changed, bound=bound)
    return msgspec.structs.replace(student, layers=tuple(layers))


def firing(ensemble: QuantEnsemble, rate: float) -> QuantEnsemble:
    """The ensemble with thresholds at which about that share of each layer's neurons fires."""
    students = []
    for student in ensemble.students:
        for number in range(len(student.layers) - 1):
            low, high = 1, 2**20
            while high - low > 1 + low // 8:
                middle = int((low * high) ** 0.5) + 1 if low > 4 else (low + high) // 2
                student = with_threshold(ensemble, student, number, middle)
                if _rate(ensemble, student, number) > rate:
                    low = middle
                else:
                    high = middle
        students.append(student)
    return msgspec.structs.replace(ensemble, students=tuple(students))


def _rate(ensemble: QuantEnsemble, student: QuantStudent, number: int) -> float:
    model = msgspec.structs.replace(ensemble, students=(student,), order=(0,), policy=ALL)
    ran = ReferenceEngine(model).run(inputs_of(model, 8), ALL, None)
    place = model.spike_layers.index((0, number))
    return float(ran.values["spikes"][:, place].mean()) / (student.neurons_of(number) * model.encoder.timesteps)


def inputs_of(model: QuantEnsemble, count: int) -> np.ndarray:
    """Random inputs, uint8 [count, input_bytes]."""
    rng = np.random.default_rng(7)
    values = rng.normal(0, 40, (count, model.encoder.input_bytes)).clip(-127, 127)
    return np.rint(values).astype(np.int8).view(np.uint8)


def counted(
    ensemble: QuantEnsemble, board: str, inputs: np.ndarray, policies: Sequence[ActivationPolicy]
) -> tuple[np.ndarray, int, int]:
    """Instructions [policies, inputs], the deepest stack, and the bytes of tables in the image."""
    counts = np.zeros((len(policies), len(inputs)), np.int64)
    stack = 0
    with connect(ensemble, f"qemu:{board}", run_seconds=120.0) as (device, firmware):
        assert firmware is not None
        for n, row in enumerate(inputs):
            device.load(row.tobytes())
            for k, policy in enumerate(policies):
                found = device.bench(1, policy)
                assert found.unit == "instructions"
                counts[k, n], stack = found.total, max(stack, found.stack_bytes)
    return counts, stack, firmware.table_bytes


def operations(one: HeldOut) -> list[list[float]]:
    """Mean operations by student and layer."""
    return [list(found.mean(axis=0)) for found in ReferenceEngine(one.model).run(one.inputs, ALL, None).layer_ops]


def compare(one: HeldOut, board: str, counts: np.ndarray, ops: Sequence[Sequence[float]]) -> Error:
    """What was counted of the inputs, beside what is modelled with these operations."""
    layout = state_layout(one.model)
    rates = [rates_of(one.model, layout, number, of) for number, of in enumerate(ops)]
    told = need(one.model, resolve_board(board).target, [ALL], rates).estimates[0]
    assert told.mean is not None
    return Error(one.name, one.about, float(counts.mean()), told.mean, int(counts.max()), told.worst)
