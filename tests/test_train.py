"""The whole run at a small size, its figures and its picture; and the model that ships."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
import numpy as np
import pytest
import torch
from torch import nn

from sne_edge.check.evaluation import figures
from sne_edge.check.reference import run
from sne_edge.check.verify import ReferenceEngine
from sne_edge.data.dataset import load_dataset
from sne_edge.errors import SneError
from sne_edge.ir.artifact import ZOO, dumps, load, loads
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import format_policy
from sne_edge.learn import fit
from sne_edge.learn.augmentation import NONE
from sne_edge.learn.networks import as_teacher
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.teacher import extract
from sne_edge.learn.views import to_torch
from sne_edge.pipeline.config import TrainConfig, model_key
from sne_edge.pipeline.train import train
from sne_edge.study.pictures import draw


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(400, 16))
    path = tmp_path_factory.mktemp("data") / "My Waves_2.npz"
    np.savez(path, x_train=x, y_train=y)
    return TrainConfig(
        dataset=str(path), students=2, timesteps=3, body=Body((3, 4), (5, 3), (2, 2)),
        recipe=Recipe(alone=4, joint=4, rounded=1, batch=64), teacher_epochs=3, views=2, scheme="contiguous",
    )  # fmt: skip


@pytest.fixture(scope="module")
def made(config: TrainConfig) -> QuantEnsemble:
    return train(config)


def test_training_makes_a_calibrated_ensemble_that_classifies(made: QuantEnsemble):
    assert made.name == "my-waves-2"
    assert made.policy.kind == "cascade" and len(made.vectors.inputs) == 32
    assert made.provenance["integer"]["test"][1]["accuracy"] > 0.8
    assert loads(dumps(made)).provenance == made.provenance


def test_a_seed_makes_the_same_bytes(config: TrainConfig, made: QuantEnsemble):
    torch.rand(5)
    assert dumps(train(config)) == dumps(made)


def test_provenance_names_every_number_of_students_and_the_cascade(made: QuantEnsemble):
    record = made.provenance
    for part in ("validation", "test"):
        rows = record["integer"][part]
        assert [row["policy"] for row in rows] == ["first:1", "first:2", format_policy(made.policy)]
        assert len(record["float"][part]) == 2
        assert all(row["operations"] == pytest.approx(row["synaptic_ops"] + row["macs"], abs=0.2) for row in rows)
    assert record["config"]["seed"] == 0 and record["teacher"]["macs"] > 0


@pytest.mark.parametrize("scheme", ["class-affinity", "disentangled-tuned"])
def test_any_module_can_be_the_teacher(config: TrainConfig, scheme: str):
    torch.manual_seed(0)
    net = nn.Module()
    net.features, net.classifier = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU()), nn.Linear(12, 3)
    whole, data = nn.Sequential(net.features, net.classifier), load_dataset(config.dataset)
    optimizer = torch.optim.Adam(whole.parameters(), 0.01)
    for _ in range(100):
        loss = nn.functional.cross_entropy(whole(to_torch(data.x_train)), torch.from_numpy(data.y_train))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    record = train(replace(config, scheme=scheme), teacher=net).provenance
    assert record["teacher"]["macs"] == 16 * 12 + 12 * 3 and record["teacher"]["test"] > 0.9
    assert record["integer"]["test"][1]["accuracy"] > 0.8
    net.classifier = nn.Linear(12, 4)
    with pytest.raises(SneError, match="4 classes"):
        train(config, teacher=net)


def test_a_scheme_that_tunes_the_teacher_reports_both_teachers(
    config: TrainConfig, made: QuantEnsemble, tmp_path: Path
):
    stages: list[str] = []
    tuned = replace(config, scheme="disentangled-tuned", teacher_epochs=6)
    record = train(tuned, lambda stage, *_: stages.append(stage), cache=tmp_path).provenance
    assert stages.count("tuning the teacher") == 2
    assert (
        record["partition"]["backbone"] == "tuned" and record["teacher"]["macs"] == made.provenance["teacher"]["macs"]
    )
    assert record["partition"]["teacher"]["test"] > 0.8 and record["integer"]["test"][1]["accuracy"] > 0.8


def test_progress_reaches_the_end_of_every_stage(config: TrainConfig):
    seen: dict[str, tuple[int, int]] = {}
    train(config, lambda stage, done, total, note: seen.update({stage: (done, total)}))
    assert list(seen) == [
        "teacher", "features", "student 1", "student 2", "ensemble", "fine-tuning in int8", "calibration",
    ]  # fmt: skip
    assert all(done == total for done, total in seen.values())


def test_the_picture_is_drawn_from_the_models_own_figures(made: QuantEnsemble, tmp_path: Path):
    path = draw(made, tmp_path / "new" / "picture.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert [p.name for p in path.parent.iterdir()] == ["picture.png"]


def test_a_model_without_figures_cannot_be_drawn(made: QuantEnsemble, tmp_path: Path):
    with pytest.raises(SneError, match="figures"):
        draw(msgspec.structs.replace(made, provenance={}), tmp_path / "picture.png")
    assert not list(tmp_path.iterdir())


def test_bad_settings_are_refused_before_anything_runs():
    for bad in ({"scheme": "astrology"}, {"students": 0}, {"seed": -1}, {"views": 0}):
        with pytest.raises(SneError):
            TrainConfig(**bad)


def test_nothing_trained_is_found_again_by_other_settings_defaults_or_code(
    config: TrainConfig, monkeypatch: pytest.MonkeyPatch
):
    data = load_dataset(config.dataset)

    @dataclass(frozen=True)
    class Later(Recipe):
        """That of a later version, with another default."""

        joint: int = 200

    @dataclass(frozen=True)
    class Wider(Recipe):
        """That of a later version, with a new setting."""

        fresh: float = 0.0

    plain = TrainConfig()
    changed = {
        "scheme": "random", "students": 2, "timesteps": 2, "body": Body((4, 4), (5, 3), (2, 2)), "teacher": "large",
        "teacher_epochs": 1, "views": 1, "max_drop": 0.2, "vectors": 1, "seed": 1, "minutes": 1.0, "name": "mine",
        "recipe": Recipe(joint=66), "early": "exact", "input_scale": "per-channel", "noise": 1.0, "augmentation": NONE,
    }  # fmt: skip
    of_others = {"features", "logits", "weights", "teacher_input", "teacher_mean", "teacher_deviation", "fine_tune"}
    assert changed.keys() == {f.name for f in fields(TrainConfig)} - {"dataset"} - of_others
    configs = [plain, *(replace(plain, **{key: value}) for key, value in changed.items())]
    configs += [replace(plain, recipe=recipe) for recipe in (Later(), Wider())]
    keys = [model_key(c, data) for c in configs]
    assert len(set(keys)) == len(keys) == 20 and model_key(TrainConfig(), data) == keys[0]
    monkeypatch.setattr(fit, "digest", lambda *places: "other code")
    assert model_key(plain, data) not in keys


def test_a_teacher_of_other_code_is_another_teacher(config: TrainConfig, tmp_path: Path):
    class Own(nn.Module):
        """The same modules, and a function between them that no module shows."""

        def __init__(self, between: Callable[[torch.Tensor], torch.Tensor]) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.body, self.classifier, self.between = nn.Linear(16, 8), nn.Linear(8, 3), between

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return self.between(self.body(x.flatten(1)))

    x = load_dataset(config.dataset).x_val[None]
    found = [extract(as_teacher(Own(f)), x, tmp_path).features for f in (torch.relu, torch.tanh, torch.relu)]
    assert not np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])
    assert len(list(tmp_path.iterdir())) == 2


@pytest.fixture(scope="module")
def shipped() -> QuantEnsemble:
    return load("mnist1d")


def test_the_shipped_model_keeps_its_promises(shipped: QuantEnsemble):
    record = shipped.provenance
    rows = record["integer"]["test"]
    whole, cascade = rows[-2], rows[-1]
    assert (ZOO / "mnist1d.sne").stat().st_size < 300_000
    assert record["teacher"]["test"] >= 0.97
    assert whole["accuracy"] >= max(0.96, record["teacher"]["test"] - 0.02)
    assert whole["accuracy"] >= record["float"]["test"][-1] - 0.005
    assert cascade["accuracy"] >= whole["accuracy"] - 0.005
    assert whole["operations"] >= 1.5 * cascade["operations"]


def test_the_shipped_models_figures_are_what_it_does(shipped: QuantEnsemble):
    data = load_dataset("mnist1d", shipped.provenance["config"]["seed"])
    assert data.fingerprint == shipped.provenance["dataset"]["fingerprint"]
    found = figures(ReferenceEngine(shipped), shipped, shipped.encoder.encode(data.x_test), data.y_test)
    assert found == shipped.provenance["integer"]["test"]
    assert (run(shipped, shipped.vectors.inputs).decisions.logits == shipped.vectors.logits).all()
