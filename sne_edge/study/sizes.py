"""Students of other sizes: a config's channels times a factor, and what an ensemble takes, before it is trained.

In: a config, its data set. Out: configs of other channels, weights, operations that are expected.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..data.dataset import Dataset
from ..deploy.rates import ASSUMED
from ..deploy.sketch import Sizes, sketch
from ..ir.encoder import Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import SynapticLayer
from ..ir.proof import worst_ops
from ..pipeline.config import TrainConfig

HALVINGS = 10  # of the range in which a factor is sought


def scaled(config: TrainConfig, factor: float, **changes: Any) -> TrainConfig:
    """A config whose students have `factor` times the channels, in whole fours."""
    channels = tuple(4 * max(1, round(c * factor / 4)) for c in config.body.channels)
    return replace(config, body=replace(config.body, channels=channels), **changes)


def sketched(config: TrainConfig, shape: Shape, classes: int) -> QuantEnsemble:
    """A config's chains of layers before they are trained (`deploy.sketch`), without its residual blocks. Raises
    `SneError` where there are none."""
    body = config.body
    sizes = Sizes(
        body.channels, body.kernels, body.strides, body.dense, body.shift, body.bits, body.learn_decay
    )  # fmt: skip
    return sketch(shape, classes, config.timesteps, config.students, sizes)


def operations(config: TrainConfig, dataset: Dataset) -> float:
    """Operations of an inference of all students, as they are expected where spikes are as rare as the recipe wants
    them: a direct input's layer takes all of its products, once, the others those whose input spikes."""
    model = sketched(config, dataset.shape, len(dataset.classes))
    events = dataset.timesteps
    inputs = 1.0 if events is None else events * float((dataset.x_train != 0).mean())
    rate = config.recipe.target or ASSUMED
    found = [worst_ops(student, model.encoder) for student in model.students]
    return sum(inputs * first + rate * sum(others) for first, *others in found)


def weights(config: TrainConfig, dataset: Dataset) -> float:
    """Weights of all students."""
    model = sketched(config, dataset.shape, len(dataset.classes))
    layers = (layer for student in model.students for layer in student.layers)
    return float(sum(layer.weight.size for layer in layers if isinstance(layer, SynapticLayer)))


def large_student(
    config: TrainConfig, dataset: Dataset, measure: Callable[[TrainConfig, Dataset], float]
) -> TrainConfig:
    """A config of one student, of other channels, that takes as much as the config's ensemble: in a measure that grows
    with the channels at least, at most with their square, `operations` or `weights`."""
    wanted = measure(config, dataset)
    low, high = 1.0, float(config.students)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = measure(scaled(config, middle, students=1), dataset) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    near = [scaled(config, factor, students=1) for factor in (low, high)]
    return min(near, key=lambda one: abs(measure(one, dataset) - wanted))
