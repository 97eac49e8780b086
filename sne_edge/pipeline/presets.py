"""What works for the data sets that sne-edge knows: sizes and training recipes.

In: a data set's name. Out: a `TrainConfig`. They were chosen on validation data, for few instructions on a Cortex-M4:
few timesteps, and few, well-used neurons.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..data.folders import kind_of
from ..files import is_folder
from ..learn.recipe import Recipe
from ..learn.student import Body
from .config import TrainConfig

IMAGES = Recipe(alone=12, joint=4, rounded=2, batch=128, rate=6e-3, spikes=0.02, target=0.1)
LIVE = Recipe(
    joint=30, rounded=2, batch=128, rate=4e-3, spikes=0.3, target=0.08, half=True, each=0.5, anew=True, live=True
)  # the teacher answers to every view
OWN = TrainConfig(timesteps=2, recipe=Recipe(spikes=1.0, target=0.1))  # where a data set of one's own starts
PRESETS = {
    "mnist1d": TrainConfig(
        "mnist1d",
        timesteps=2,
        body=Body((24, 32, 40), (7, 5, 3), (2, 2, 2)),
        recipe=Recipe(joint=200, spikes=1.0, target=0.05),
    ),
    "fashion-mnist": TrainConfig(
        "fashion-mnist",
        students=3,
        timesteps=2,
        body=Body((24, 32, 48, 64, 96), (3, 3, 3, 3, 3), (2, 1, 2, 1, 2)),
        recipe=LIVE,
        teacher="large",
        teacher_epochs=8,
        views=1,
    ),
    "fsdd": TrainConfig(
        "fsdd",
        timesteps=1,
        body=Body((12, 32, 40), (5, 3, 3), (5, 2, 2)),
        recipe=Recipe(joint=200, rounded=4, batch=128, rate=6e-3, spikes=1.0, target=0.05, anew=True),
        teacher_epochs=20,
        views=8,
        max_drop=0.5,  # one validation sample: with none, a single one decides how many students run
    ),
    "cifar10-jpeg": TrainConfig(
        "cifar10-jpeg",
        timesteps=2,
        body=Body((32, 64, 96), (3, 3, 3), (2, 2, 2)),
        recipe=replace(IMAGES, alone=8, joint=1, rounded=1, half=True),
        teacher="large",
        teacher_epochs=14,
        views=3,
    ),
}
PRESETS["fsdd-speakers"] = replace(PRESETS["fsdd"], dataset="fsdd-speakers")
PRESETS["fsdd-spikes"] = TrainConfig(
    "fsdd-spikes",
    body=Body((16, 32, 32), (5, 5, 3), (2, 2, 2)),
    recipe=Recipe(joint=30, rounded=4, batch=128, rate=6e-3, spikes=0.05, target=0.05, each=0.5),
    teacher_epochs=20,
    views=8,
    early="margin",
)
PRESETS["shd"] = replace(PRESETS["fsdd-spikes"], dataset="shd", views=4)
PRESETS["nmnist"] = replace(
    PRESETS["fsdd-spikes"], dataset="nmnist", body=Body((12, 24, 32), (3, 3, 3), (2, 2, 2)), views=2,
    recipe=replace(PRESETS["fsdd-spikes"].recipe, joint=8, rounded=1),
)  # fmt: skip
PRESETS["cifar10"] = replace(PRESETS["cifar10-jpeg"], dataset="cifar10")
SOUNDS = replace(PRESETS["fsdd"], recipe=replace(PRESETS["fsdd"].recipe, joint=60), max_drop=TrainConfig.max_drop)
SHORT = ("cifar10-jpeg", "cifar10")  # data sets whose many ensembles of a study learn for fewer epochs


def preset(dataset: str, **changes: Any) -> TrainConfig:
    """The config for a data set, with `changes`; one of a user's own starts from `OWN`, recordings from `SOUNDS`."""
    found = PRESETS.get(dataset)
    if found is None:  # a known one has no folder to look into
        found = SOUNDS if is_folder(dataset) and kind_of(dataset) == "sounds" else OWN
    return replace(found, dataset=dataset, **changes)


def shortened(config: TrainConfig) -> TrainConfig:
    """The config for a study that trains many ensembles: the same, but for `SHORT` data sets a few epochs."""
    if config.dataset not in SHORT:
        return config
    return replace(config, views=2, recipe=replace(config.recipe, alone=4, joint=0, rounded=1))
