"""The search for an ensemble within a core's limits, at a small size."""

from __future__ import annotations

import importlib.util
import itertools
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from sne_edge.cli import run
from sne_edge.data.dataset import Dataset, load_dataset
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, load
from sne_edge.learn.augmentation import parse
from sne_edge.learn.course import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.study import search as searching
from sne_edge.study import search_journal
from sne_edge.study.search import Found, search
from sne_edge.study.search_space import Limits, pareto, shortened

LIMITS = Limits("cortex-m4", instructions=60_000, flash=48 * 1024, ram=8 * 1024)


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(400) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(400, 16))
    path = tmp_path_factory.mktemp("data") / "waves.npz"
    np.savez(path, x_train=x, y_train=y)
    return path


@pytest.fixture(scope="module")
def base(waves: Path) -> TrainConfig:
    return TrainConfig(
        dataset=str(waves), students=2, timesteps=2, body=Body((4, 8, 8), (5, 3, 3), (2, 2, 2)),
        recipe=Recipe(joint=4, rounded=1, batch=100), teacher_epochs=3, views=2, scheme="contiguous", vectors=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(base: TrainConfig) -> Dataset:
    return load_dataset(base.dataset)


@pytest.fixture(scope="module")
def found(base: TrainConfig, data: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Found:
    return search(base, data, LIMITS, tmp_path_factory.mktemp("search") / "found.journal", minutes=10, trials=4)


def test_candidates_are_taught_in_the_views_of_the_settings(
    base: TrainConfig, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: dict[str, tuple[object, object]] = {}

    def divide(*given: object, **named: object) -> None:
        met["divide"] = named["augmentation"], named["noise"]

    def teach(*given: object, **named: object) -> None:
        met["teach"] = named["augmentation"], named["noise"]
        raise SneError("far enough", "stop")

    monkeypatch.setattr(searching, "find_teacher", lambda *given: None)
    monkeypatch.setattr(searching.stages, "divide", divide)
    monkeypatch.setattr(searching.stages, "teach", teach)
    config = replace(base, augmentation=parse("shift=1,mirror"), noise=2.0)
    with pytest.raises(SneError, match="far enough"):
        search(config, data, LIMITS, tmp_path / "views.journal", minutes=1, trials=1)
    assert met == dict.fromkeys(("divide", "teach"), (config.augmentation, 2.0))
    with pytest.raises(SneError, match="no up and down"):
        search(replace(base, augmentation=parse("flip")), data, LIMITS, tmp_path / "flip.journal", minutes=1, trials=1)


def test_a_search_ends_in_a_calibrated_model_within_its_limits(found: Found) -> None:
    assert found.model.policy.kind == "cascade" and len(found.model.vectors.inputs) == 8
    assert found.needed.estimates[0].mean is not None and found.needed.estimates[0].mean <= 60_000
    assert found.needed.flash_bytes <= 48 * 1024 and not LIMITS.over(found.needed)
    assert len(found.candidates) == 4 and found.chosen in found.candidates
    body = found.model.provenance["config"]["body"]
    assert tuple(body["channels"]) == found.chosen.body.channels


def test_better_candidates_train_for_longer(found: Found) -> None:
    longer = [one for one in found.candidates if one.rung == 1]
    assert longer and found.chosen.rung == 1
    assert found.chosen.accuracy == max(one.accuracy for one in longer if one.instructions <= 60_000)


def test_the_same_seed_tries_the_same_candidates_however_often_it_was_stopped(
    found: Found, base: TrainConfig, data: Dataset, tmp_path: Path
) -> None:
    journal = tmp_path / "stopped.journal"
    with pytest.MonkeyPatch.context() as patch:
        calls = 0

        def killed(*_: object) -> None:
            nonlocal calls
            calls += 1
            if calls == 3:  # in the middle of a candidate
                raise KeyboardInterrupt

        patch.setattr(searching._Hunt, "_judged", _before(searching._Hunt._judged, killed))
        with pytest.raises(KeyboardInterrupt):
            search(base, data, LIMITS, journal, minutes=10, trials=4)
    resumed = search(base, data, LIMITS, journal, minutes=10, trials=4)
    plain = [replace(one, trial=0) for one in found.candidates]
    assert [replace(one, trial=0) for one in resumed.candidates] == plain
    assert fingerprint(resumed.model) == fingerprint(found.model)


def _before(method: object, first: object) -> object:
    def both(self: object, *arguments: object) -> object:
        first()  # type: ignore[operator]
        return method(self, *arguments)  # type: ignore[operator]

    return both


def test_poisoned_test_samples_change_no_choice(found: Found, base: TrainConfig, data: Dataset, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    poisoned = replace(
        data, x_test=rng.normal(0, 1e6, data.x_test.shape).astype(np.float32), y_test=(data.y_test + 1) % 3
    )
    other = search(base, poisoned, LIMITS, tmp_path / "poisoned.journal", minutes=10, trials=4)
    assert other.candidates == found.candidates and other.chosen == found.chosen
    for mine, theirs in zip(found.model.students, other.model.students, strict=True):
        assert all(
            np.array_equal(a.weight, b.weight) and np.array_equal(a.threshold, b.threshold)  # type: ignore[union-attr]
            for a, b in zip(mine.layers, theirs.layers, strict=True)
        )
    assert other.model.policy == found.model.policy and other.model.order == found.model.order


def test_what_does_not_fit_is_never_trained(base: TrainConfig, data: Dataset, tmp_path: Path) -> None:
    tight = Limits("cortex-m4", instructions=12_000)
    made = search(base, data, tight, tmp_path / "tight.journal", minutes=10, trials=2)
    assert made.refused > 0 and made.needed.estimates[0].mean is not None
    assert made.needed.estimates[0].mean <= 12_000
    with (
        pytest.raises(SneError, match="no candidate fits cortex-m4: the last one takes"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(searching, "REFUSED_AT_MOST", 20)
        search(base, data, Limits("cortex-m4", instructions=500), tmp_path / "none.journal", minutes=10)


def test_a_journal_serves_one_search_alone(found: Found, base: TrainConfig, data: Dataset, tmp_path: Path) -> None:
    journal = tmp_path / "a.journal"
    search_journal.open_journal(journal, "one")
    with pytest.raises(SneError, match="journal of another search"):
        search_journal.open_journal(journal, "other")
    (tmp_path / "b.journal").write_text("no journal\n")
    with pytest.raises(SneError, match="is no journal"):
        search_journal.open_journal(tmp_path / "b.journal", "one")


def test_nothing_on_the_front_is_beaten(found: Found) -> None:
    front = pareto(found.candidates)
    assert front and all(
        a.instructions < b.instructions and a.accuracy < b.accuracy for a, b in itertools.pairwise(front)
    )
    for one in found.candidates:
        assert any(f.accuracy >= one.accuracy and f.instructions <= one.instructions for f in front)


def test_a_short_recipe_keeps_every_phase() -> None:
    assert shortened(Recipe(alone=12, joint=4, rounded=2), 0.1) == Recipe(alone=1, joint=1, rounded=1)
    assert shortened(Recipe(alone=0, joint=60, rounded=0), 0.25) == Recipe(alone=0, joint=15, rounded=0)


def test_the_command_writes_a_model_a_table_and_a_picture(
    waves: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "best.sne"
    command = [
        "search", "--data", str(waves), "--target", "m4", "--max-instructions", "300000", "--max-flash", "64K",
        "--max-ram", "8K", "--budget", "5", "--trials", "1", "--epochs", "2", "-o", str(output),
    ]  # fmt: skip
    assert run([*command, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert load(str(output)).provenance["config"]["body"]["channels"] == told["chosen"]["body"]["channels"]
    table = (tmp_path / "best.md").read_text()
    assert "--max-flash 64K" in table and "chosen" in table and str(tmp_path) not in table
    assert (tmp_path / "best.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "best.journal").exists()
    assert settings.read(tmp_path / "best.toml").body.channels == tuple(told["chosen"]["body"]["channels"])
    assert run(command) == 1 and "is there already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--max-flash", "lots", "--max-flash is 'lots'"),
        ("--max-ram", "0", "a limit of 0 bytes of RAM"),
        ("--target", "host", "costs on host are not known"),
        ("--scheme", "nothing", "no partition scheme"),
    ],
)
def test_options_that_make_no_search_are_refused_before_any_data_is_read(
    option: str, value: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = {"--data": "no-such-data", "--target": "m4", option: value, "-o": str(tmp_path / "x.sne")}
    assert run(["search", *(part for pair in given.items() for part in pair)]) == 1
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_a_missing_optimiser_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(search_journal, "find_spec", lambda name: None if name == "optuna" else real(name))
    assert run(["search", "--target", "m4", "-o", str(tmp_path / "x.sne")]) == 1
    assert "optuna is not installed" in (said := capsys.readouterr().err) and "sne-edge[search]" in said
