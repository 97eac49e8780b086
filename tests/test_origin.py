"""Which samples judge a model: those that its training held out, whatever made it and whatever command asks."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from command_line import called as run

from sne_edge.data import origin
from sne_edge.data.dataset import load_dataset, split
from sne_edge.data.units import in_units
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.recalibrate import recalibrate
from sne_edge.pipeline.train import train

SEED = 3
CLASSES = ("0", "1", "2")


def notes(done: subprocess.CompletedProcess[str]) -> list[str]:
    """What a command says beside its results, but how far it is, which a slow machine is told, and that noise teaches
    nothing."""
    told = done.stderr.splitlines()
    return [line for line in told if not line.startswith("evaluating: ") and "the commonest class makes" not in line]


def noise(path: Path, seed: int = 0, count: int = 240, **more: np.ndarray) -> Path:
    rng = np.random.default_rng(seed)
    np.savez(path, x_train=rng.normal(size=(count, 16)), y_train=np.arange(count) % 3, **more)
    return path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return noise(tmp_path_factory.mktemp("data") / "noise.npz")


@pytest.fixture(scope="module")
def trained(data: Path) -> QuantEnsemble:
    """A model that has learnt noise by heart: on samples that it has seen it is good, on others it guesses."""
    config = TrainConfig(
        dataset=str(data), students=1, timesteps=3, body=Body((12, 24), (5, 3), (1, 2)), scheme="contiguous",
        recipe=Recipe(joint=40, rounded=1, batch=32), teacher_epochs=30, views=1, seed=SEED,
    )  # fmt: skip
    return train(config)


@pytest.fixture(scope="module")
def model(trained: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "noise.sne"
    save(trained, path)
    return path


def test_eval_gives_the_figures_of_training_whatever_its_seed(data: Path, model: Path, trained: QuantEnsemble):
    (own,) = trained.provenance["integer"]["test"]
    done = run("eval", model, "--data", data, "--json")
    assert done.returncode == 0 and not notes(done), done.stderr
    assert json.loads(done.stdout)[0]["accuracy"] == pytest.approx(own["accuracy"], abs=1e-4)
    wrong = load_dataset(data, seed=0)
    learnt = recalibrate(trained, wrong, other=True)[0].provenance["integer"]["test"][0]["accuracy"]
    assert own["accuracy"] < 0.6 < learnt - 0.1, "the model has not learnt enough for this test to see a wrong split"


def test_calibrate_chooses_by_samples_that_were_held_out(data: Path, trained: QuantEnsemble):
    made, _ = recalibrate(trained, load_dataset(data, seed=SEED))
    assert made.provenance["integer"]["test"] == trained.provenance["integer"]["test"]
    with pytest.raises(SneError, match="split by seed 0, and the model was trained on the split of seed 3"):
        recalibrate(trained, load_dataset(data, seed=0))


COMMANDS: dict[str, list[str]] = {
    "eval": [], "verify": ["--on", "host"], "bench": [], "card": ["-o", "{out}.md"], "calibrate": ["-o", "{out}.sne"],
}  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_data_of_the_same_name_that_changed(command: str, model: Path, tmp_path: Path):
    changed = noise(tmp_path / "noise.npz", seed=1)
    arguments = [part.format(out=tmp_path / "out") for part in COMMANDS[command]]
    done = run(command, model, "--data", changed, *arguments)
    lines = done.stderr.strip().splitlines()
    assert done.returncode == 1 and len(lines) == 2, done.stderr
    assert "not what the model was trained with" in lines[0] and "--other-data" in lines[1]
    assert [p.name for p in tmp_path.iterdir()] == ["noise.npz"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_refuses_other_data_without_a_test_part(command: str, model: Path, tmp_path: Path):
    arguments = [part.format(out=tmp_path / "out") for part in COMMANDS[command]]
    done = run(command, model, "--data", noise(tmp_path / "field.npz", seed=1), *arguments)
    assert done.returncode == 1 and "has no test part of its own" in done.stderr and "--other-data" in done.stderr


def test_other_data_with_a_test_part_or_on_purpose_is_taken(model: Path, tmp_path: Path):
    rng = np.random.default_rng(5)
    with_test = noise(tmp_path / "field.npz", 1, x_test=rng.normal(size=(30, 16)), y_test=np.arange(30) % 3)
    done = run("eval", model, "--data", with_test, "--json")
    assert done.returncode == 0 and notes(done)[0].startswith("note: the model was trained with noise; field")
    assert json.loads(done.stdout)[0]["samples"] == 30
    done = run("eval", model, "--data", noise(tmp_path / "noise.npz", seed=1), "--other-data", "--json")
    assert done.returncode == 0 and not notes(done), done.stderr


def test_samples_that_a_model_has_learnt_are_known_under_another_name(data: Path, model: Path, tmp_path: Path):
    known = load_dataset(data, seed=SEED)
    taken, labels = known.x_train[:, 0, :, 0], known.y_train
    new = np.random.default_rng(5).normal(size=(120, 16)).astype(np.float32)
    other = np.arange(120) % 3
    path = tmp_path / "renamed.npz"
    np.savez(path, x_train=new, y_train=other, x_test=taken[:60], y_test=labels[:60])  # a third of what it has learnt
    for command in ("eval", "bench", "calibrate"):
        place = ["-o", tmp_path / "made.sne"] if command == "calibrate" else []
        done = run(command, model, "--data", path, *place)
        assert done.returncode == 1 and "samples for test that are, value for value, those" in done.stderr, done.stderr
        assert "--other-data" in done.stderr and not (tmp_path / "made.sne").exists()
    assert run("eval", model, "--data", path, "--other-data").returncode == 0
    mixed = tmp_path / "mixed.npz"  # its test samples are new, its validation samples are not
    np.savez(mixed, x_train=taken, y_train=labels, x_test=new, y_test=other)
    assert run("eval", model, "--data", mixed).returncode == 0
    done = run("calibrate", model, "--data", mixed, "-o", tmp_path / "made.sne")
    assert done.returncode == 1 and "samples for validation that are, value for value" in done.stderr


def test_a_sketch_tells_how_much_of_a_training_set_data_hold():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(4000, 6)).astype(np.float32), np.arange(4000) % 2
    whole = split("a", x, y)
    assert len(whole.sketch) == 64 and list(whole.sketch) == sorted(set(whole.sketch))
    for share in (0.0, 0.2, 0.5, 1.0):
        count = round(share * (len(whole.x_train) + len(whole.x_val)))
        known = np.concatenate([whole.x_train, whole.x_val])[:, 0, :, 0]
        held = np.concatenate([known[:count], rng.normal(size=(50, 6)).astype(np.float32)])
        other = split("b", x[:100] + 1, y[:100], held, np.arange(len(held)) % 2)
        assert abs(other.share_of(whole.sketch, "x_test") - share) < 0.2
        assert share not in (0.0, 1.0) or other.share_of(whole.sketch, "x_test") == share
    counts = split("c", 1000 + x, y)
    brought = in_units(counts)
    assert brought.units is not None and brought.sketch == counts.sketch != whole.sketch


def test_data_that_moved_are_known_by_what_they_hold(data: Path, model: Path, tmp_path: Path):
    moved = tmp_path / "renamed.npz"
    moved.write_bytes(data.read_bytes())
    done = run("eval", model, "--data", moved, "--json")
    assert done.returncode == 0 and not notes(done), done.stderr


def test_quantize_records_the_data_and_the_seed_of_its_split(data: Path, tmp_path: Path):
    (tmp_path / "net.py").write_text(
        "import snntorch as snn\nfrom torch import nn\n"
        "net = nn.Sequential(nn.Linear(16, 8), snn.Leaky(beta=0.9), nn.Linear(8, 3))\n"
    )
    made = tmp_path / "net.sne"
    done = run("quantize", f"{tmp_path / 'net.py'}:net", "-o", made, "--data", data, "--timesteps", "3", "--seed", "5")
    assert done.returncode == 0, done.stderr
    held = load_dataset(data, seed=5)
    assert origin.origin(load(made).provenance) == origin.Origin("noise", held.fingerprint, 5, held.sketch)
    ensemble = load(made)
    assert (ensemble.vectors.inputs == ensemble.encoder.encode(held.x_val[:32])).all()
    out = tmp_path / "again.sne"
    assert run("calibrate", made, "--data", data, "-o", out).returncode == 0
    assert load(out).provenance["calibration"]["dataset"]["fingerprint"] == held.fingerprint
    refused = run("calibrate", made, "--data", data, "-o", out, "--seed", "0", "--force")
    assert refused.returncode == 1 and "split by seed 0" in refused.stderr


X, Y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
PROVENANCE: dict[str, Any] = {
    "dataset": {"name": "mine", "fingerprint": split("mine", X, Y, seed=SEED).fingerprint}, "config": {"seed": SEED},
}  # fmt: skip


@pytest.mark.parametrize(
    "provenance", [{}, {"dataset": None}, {"dataset": {"name": 3, "fingerprint": "0"}, "config": 1}]
)
def test_of_a_model_that_does_not_name_its_data_a_note_says_what_cannot_be_told(provenance: dict[str, Any]):
    assert "may be among them" in str(origin.check(provenance, CLASSES, split("mine", X, Y)))
    assert origin.check(provenance, CLASSES, split("mine", X, Y, X[:9], Y[:9])) is None


def test_a_named_sets_test_part_is_official_and_only_noted_when_it_comes_out_otherwise():
    made = replace(split("mnist1d", X, Y, X[:9], Y[:9]), seed=SEED)
    known = PROVENANCE | {"dataset": {"name": "mnist1d", "fingerprint": "of another machine"}}
    assert "comes out otherwise here" in str(origin.check(known, CLASSES, made))
    with pytest.raises(SneError, match="split by seed 4"):
        origin.check(known, CLASSES, replace(made, seed=4))


def test_classes_of_another_meaning_are_refused():
    named = replace(split("mine", X, Y, seed=SEED), classes=("cat", "dog", "owl"))
    assert origin.check(PROVENANCE, CLASSES, named) is None
    assert origin.check(PROVENANCE, ("cat", "dog", "owl", "yak"), named) is None
    with pytest.raises(SneError, match="class 1 of mine is dog, the model's is cow"):
        origin.check(PROVENANCE, ("cat", "cow", "dog", "owl"), named, other=True)
    with pytest.raises(SneError, match="3 classes, the model 2"):
        origin.check({}, ("0", "1"), named)


def test_the_shipped_models_know_their_data(tmp_path: Path):
    names = ("mnist1d", "fsdd", "fashion-mnist", "cifar10-jpeg")
    found = [origin.origin(load(name).provenance) for name in names]
    assert [known.name for known in found if known is not None] == list(names)
    assert load_dataset("mnist1d").fingerprint == found[0].fingerprint  # type: ignore[union-attr]


def test_a_model_of_a_future_with_odd_provenance_is_still_judged(trained: QuantEnsemble, data: Path):
    odd = msgspec.structs.replace(trained, provenance={"dataset": {"name": "x"}, "config": {"seed": -1}})
    assert origin.origin(odd.provenance) is None
    dataset, note = origin.load_for(odd.provenance, odd.classes, data)
    assert dataset.seed == 0 and note is not None
