"""Students of other sizes: a config's channels times a factor, and what an ensemble will take before it is trained.

In: a config, its data set. Out: configs of other channels, operations that are expected.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..data.dataset import Dataset
from ..deploy.rates import ASSUMED
from ..deploy.sketch import Sizes, sketch
from ..ir.encoder import Shape
from ..ir.ensemble import QuantEnsemble
from ..ir.proof import worst_ops
from ..pipeline.config import TrainConfig

HALVINGS = 10  # of the range in which a factor is sought


def scaled(config: TrainConfig, factor: float, **changes: Any) -> TrainConfig:
    """A config whose students have `factor` times the channels, in whole fours."""
    channels = tuple(4 * max(1, round(c * factor / 4)) for c in config.body.channels)
    return replace(config, body=replace(config.body, channels=channels), **changes)


def sketched(config: TrainConfig, shape: Shape, classes: int) -> QuantEnsemble:
    """A config's chains of layers before they are trained (`deploy.sketch`). Raises `SneError` where there are none."""
    body = config.body
    sizes = Sizes(
        body.channels, body.kernels, body.strides, body.dense, body.shift, body.bits, body.learn_decay
    )  # fmt: skip
    return sketch(shape, classes, config.timesteps, config.students, sizes)


def operations(config: TrainConfig, shape: Shape, classes: int, inputs: float = 1.0) -> float:
    """Operations of an inference of all students, as they are expected where spikes are as rare as the recipe wants
    them: the first layer takes its products `inputs` times, a direct input's once, the others those whose input spikes.
    """
    model = sketched(config, shape, classes)
    rate = config.recipe.target or ASSUMED
    found = [worst_ops(student, model.encoder) for student in model.students]
    return sum(inputs * first + rate * sum(others) for first, *others in found)


def large_student(config: TrainConfig, dataset: Dataset) -> TrainConfig:
    """A config of one student that is expected to take as many operations as the config's ensemble."""
    events = dataset.timesteps
    inputs = 1.0 if events is None else events * float((dataset.x_train != 0).mean())

    def expected(one: TrainConfig) -> float:
        return operations(one, dataset.shape, len(dataset.classes), inputs)

    wanted = expected(config)
    low, high = 1.0, float(config.students)  # operations grow with the channels at least, at most with their square
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        enough = expected(scaled(config, middle, students=1)) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    near = [scaled(config, factor, students=1) for factor in (low, high)]
    return min(near, key=lambda one: abs(expected(one) - wanted))
