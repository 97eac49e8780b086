"""What tests of augmentation augment: small data of every layout, and a training that takes a second."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sne_edge.data.dataset import Dataset, split
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig

CONFIG = TrainConfig(
    body=Body((4, 4), (3, 3), (2, 2)), recipe=Recipe(joint=1, rounded=1, batch=64, anew=True), teacher_epochs=1,
    views=3, students=2, timesteps=2, scheme="contiguous", vectors=2,
)  # fmt: skip


def signals() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(160) % 3
    return split("waves", np.sin(np.arange(20) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(160, 20)), y)


def images() -> Dataset:
    x = np.random.default_rng(0).normal(size=(160, 8, 10, 2))
    return replace(split("pictures", x, np.arange(160) % 3, layout="NHWC"), mirrored=True)


def rasters() -> Dataset:
    x = np.random.default_rng(0).integers(0, 2, size=(160, 3, 16, 20, 2)).astype(np.float32)
    return split("events", x, np.arange(160) % 3, layout="NTHWC")


def flat() -> Dataset:
    x = np.random.default_rng(0).normal(size=(160, 1, 1, 6))
    return split("flat", x, np.arange(160) % 3, layout="NHWC")


LAYOUTS = {"signal": signals, "image": images, "events": rasters}
