"""The int8 CNN that ensembles are held against: taught as their students are, by the same teacher, in the same views.

In: a config, its data set, a design, a teacher, a cache. Out: the network in its int8 form, trained once. All that
decides how it learns is here or in `learn`, and so part of its key.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torch import nn

from ..data.dataset import Dataset
from ..learn import baseline
from ..learn.device import CPU, Device
from ..learn.fit import Progress, quiet, read_checkpoint, write_checkpoint
from ..learn.heard import Heard
from ..learn.lessons import Lessons, Tutor
from ..learn.networks import TeacherNet
from ..learn.teacher import extract
from ..learn.views import views
from .config import TrainConfig, model_key

EPOCHS = 2  # times those of a student


def cnn_key(config: TrainConfig, dataset: Dataset, design: baseline.Design, device: Device = CPU) -> str:
    """16 hex digits over everything that a CNN's training depends on."""
    parts = (model_key(config, dataset, device), [vars(layer) for layer in design])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


def find_cnn(
    config: TrainConfig,
    dataset: Dataset,
    design: baseline.Design,
    teacher: TeacherNet,
    cache: Path,
    device: Device = CPU,
    progress: Progress = quiet,
) -> nn.Sequential:
    """The network of a design in its int8 form: taught in the views of a config's students, by a teacher who answers
    live where theirs does, for twice their epochs, the best of which is chosen on validation samples. From `cache`, or
    trained, and then kept there; `device` is where its teacher learnt."""
    recipe, how = config.recipe, config.augmentation.of(dataset)
    path = cache / f"cnn-{cnn_key(config, dataset, design, device)}.pt"
    kept = read_checkpoint(path)
    if kept is not None:
        made = baseline.int8_form(baseline.build_cnn(dataset.shape, design, len(dataset.classes)))
        made.load_state_dict(kept)
        return made.eval()
    heard = Heard.of(dataset, config.noise)
    x = views(dataset.x_train, config.views, config.seed, how, config.noise, heard=heard)
    net = baseline.build_cnn(dataset.shape, design, len(dataset.classes), float(x.min()), float(x.max()))
    taught = extract(teacher, x, cache)
    lessons = Lessons(x, taught.features, taught.logits, dataset.y_train, dataset.x_val, dataset.y_val)
    tutor = Tutor(lessons, recipe, teacher=teacher, augmentation=how, noise=config.noise, heard=heard)
    made = baseline.train_cnn(
        net, tutor, epochs=EPOCHS * (recipe.alone + recipe.joint), rounded=EPOCHS * recipe.rounded, batch=recipe.batch,
        rate=recipe.rate, seed=config.seed, checkpoint=path.with_suffix(".run.pt"), progress=progress,
    )  # fmt: skip
    write_checkpoint(path, made.state_dict())
    path.with_suffix(".run.pt").unlink(missing_ok=True)
    return made
