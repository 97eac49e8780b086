"""The search for an ensemble within a core's limits, at a small size."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import shutil
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster

from sne_edge.cli import run
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, load, save
from sne_edge.learn.augmentation import parse
from sne_edge.learn.fit import Progress, quiet
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.study import search as searching
from sne_edge.study import search_journal, search_plan, search_trial
from sne_edge.study.search import Found, Search, plan, search
from sne_edge.study.search_journal import Journal
from sne_edge.study.search_plan import RUNGS, Plan
from sne_edge.study.search_space import Limits, pareto, refusal, shortened
from sne_edge.study.search_trial import TrialJob, run_trial

LIMITS = Limits("cortex-m4", instructions=60_000, flash=48 * 1024, ram=8 * 1024)


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(0)
    y = np.arange(320) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(320, 16))
    path = tmp_path_factory.mktemp("data") / "waves.npz"
    np.savez(path, x_train=x[:260], y_train=y[:260], x_test=x[260:], y_test=y[260:])
    return path


@pytest.fixture(scope="module")
def base(waves: Path) -> TrainConfig:
    return TrainConfig(
        dataset=str(waves), students=2, timesteps=2, body=Body((4, 8, 8), (5, 3, 3), (2, 2, 2)),
        recipe=Recipe(joint=8, rounded=1, batch=100), teacher_epochs=3, views=2, scheme="contiguous", vectors=8,
    )  # fmt: skip


@pytest.fixture(scope="module")
def wanted(base: TrainConfig, tmp_path_factory: pytest.TempPathFactory) -> Search:
    folder = tmp_path_factory.mktemp("search")
    return Search(base, LIMITS, folder / "found.journal", folder, minutes=10, trials=4, size=3)


@pytest.fixture(scope="module")
def found(wanted: Search) -> Found:
    return search(wanted)


def test_candidates_are_taught_in_the_views_of_the_settings(
    wanted: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    met: dict[str, tuple[object, object]] = {}

    def divide(*given: object, **named: object) -> None:
        met["divide"] = named["augmentation"], named["noise"]

    def teach(*given: object, **named: object) -> None:
        met["teach"] = named["augmentation"], named["noise"]
        raise SneError("far enough", "stop")

    monkeypatch.setattr(search_trial, "find_teacher", lambda *given: None)
    monkeypatch.setattr(search_trial.stages, "divide", divide)
    monkeypatch.setattr(search_trial.stages, "teach", teach)
    config = replace(wanted.base, augmentation=parse("shift=1,mirror"), noise=2.0)
    with pytest.raises(SneError, match="all candidates of a round failed: far enough"):
        search(elsewhere(wanted, tmp_path, base=config))
    assert met == dict.fromkeys(("divide", "teach"), (config.augmentation, 2.0))
    with pytest.raises(SneError, match="no up and down"):
        search(replace(wanted, base=replace(wanted.base, augmentation=parse("flip"))))


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


def elsewhere(wanted: Search, folder: Path, **changes: Any) -> Search:
    """The same search with a journal and a cache of its own."""
    return replace(wanted, journal=folder / "own.journal", cache=folder, **changes)


def journalled(path: Path) -> list[dict[str, Any]]:
    """What a journal holds, but for times and for which process wrote it."""
    kept = []
    for line in path.read_text().splitlines():
        record = json.loads(line)
        if "seconds" in record.get("user_attr", {}):
            record["user_attr"]["seconds"] = 0
        kept.append({k: v for k, v in record.items() if k != "worker_id" and not k.startswith("datetime")})
    return kept


def test_several_processes_find_what_one_finds_byte_for_byte(found: Found, wanted: Search, tmp_path: Path) -> None:
    told: list[str] = []
    other = search(elsewhere(wanted, tmp_path, executor="processes:2"), lambda *news: told.append(news[3]))
    assert journalled(tmp_path / "own.journal") == journalled(wanted.journal)
    save(found.model, tmp_path / "a.sne")
    save(other.model, tmp_path / "b.sne")
    assert (tmp_path / "a.sne").read_bytes() == (tmp_path / "b.sne").read_bytes()
    assert sum(" instructions; " in text for text in told) > len(found.candidates)  # each, some of them twice


def slow_trial(job: TrialJob, progress: Progress = quiet) -> str:
    """`run_trial` that is under way for long enough to be met."""
    (job.cache / f"began-{job.path.stem}-{os.getpid()}").touch()
    time.sleep(1.0)
    return run_trial(job, progress)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are ended by a signal")
def test_two_machines_find_what_one_finds_though_one_is_lost_in_mid_round(
    found: Found, wanted: Search, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(searching, "run_trial", slow_trial)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    told: list[str] = []

    def lose() -> None:
        while sum(not path.name.endswith(f"-{os.getpid()}") for path in tmp_path.glob("began-*")) < 2:
            time.sleep(0.05)
        cluster.remove_node(lost, allow_graceful=False)

    try:
        cluster.wait_for_nodes()
        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        other = search(elsewhere(wanted, tmp_path, executor="ray"), lambda *news: told.append(news[3]))
        thread.join(timeout=30)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert journalled(tmp_path / "own.journal") == journalled(wanted.journal)
    assert fingerprint(other.model) == fingerprint(found.model)
    began = [path.name.rsplit("-", 1)[0] for path in tmp_path.glob("began-*")]
    assert len(began) > len(set(began))  # what the lost machine was at began again
    assert sum(" instructions; " in text for text in told) == len(set(began))  # seen where it was started


def test_a_search_that_was_killed_goes_on_with_the_rest_of_its_round(
    found: Found, wanted: Search, tmp_path: Path
) -> None:
    ran: list[Path] = []
    die_at = -1

    def counted(job: TrialJob, progress: Progress = quiet) -> str:
        if len(ran) == die_at:
            raise KeyboardInterrupt
        ran.append(job.path)
        return run_trial(job, progress)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "run_trial", counted)
        for die_at in (3, 4):  # in the second round
            with pytest.raises(KeyboardInterrupt):
                search(elsewhere(wanted, tmp_path))
            assert len(ran) == die_at
        die_at = -1
        resumed = search(elsewhere(wanted, tmp_path))
    assert len(ran) == len(set(ran)) == len(list(wanted.cache.glob("trial-*.json")))
    assert resumed.candidates == found.candidates and fingerprint(resumed.model) == fingerprint(found.model)


def test_a_search_that_was_killed_while_it_drew_draws_the_same_candidates(
    found: Found, wanted: Search, tmp_path: Path
) -> None:
    calls = 0

    def killed(*given: Any) -> str:
        nonlocal calls
        calls += 1
        if calls == 3:  # in the second round
            raise KeyboardInterrupt
        return refusal(*given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "refusal", killed)
        with pytest.raises(KeyboardInterrupt):
            search(elsewhere(wanted, tmp_path))
    shutil.copytree(
        wanted.cache, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.journal*")
    )  # what is trained already is the same
    resumed = search(elsewhere(wanted, tmp_path))
    plain = [replace(one, trial=0) for one in found.candidates]
    assert [replace(one, trial=0) for one in resumed.candidates] == plain


def test_a_candidate_that_fails_is_recorded_and_the_search_goes_on(wanted: Search, tmp_path: Path) -> None:
    shutil.copytree(wanted.cache, tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.journal*"))
    began = 0

    def failing(job: TrialJob, progress: Progress = quiet) -> str:
        nonlocal began
        began += 1
        with pytest.MonkeyPatch.context() as patch:
            if began == 3:  # the first of the second round
                patch.setattr(search_trial, "_made", lambda *_: np.zeros(1) @ np.zeros(2))
            return run_trial(job, progress)

    for path in tmp_path.glob("trial-*.json"):
        path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(searching, "run_trial", failing)
        made = search(elsewhere(wanted, tmp_path))
    (why,) = made.failed.values()
    assert why.startswith("ValueError: matmul") and len(made.candidates) == 3


def test_poisoned_test_samples_change_no_choice(found: Found, wanted: Search, waves: Path, tmp_path: Path) -> None:
    with np.load(waves) as arrays:
        kept = dict(arrays)
    shape = kept["x_test"].shape
    kept |= {"x_test": np.random.default_rng(1).normal(0, 1e3, shape), "y_test": (kept["y_test"] + 1) % 3}
    np.savez(tmp_path / "waves.npz", **kept)
    base = replace(wanted.base, dataset=str(tmp_path / "waves.npz"))
    other = search(elsewhere(wanted, tmp_path, base=base))
    assert other.candidates == found.candidates and other.chosen == found.chosen
    for mine, theirs in zip(found.model.students, other.model.students, strict=True):
        assert all(
            np.array_equal(a.weight, b.weight) and np.array_equal(a.threshold, b.threshold)  # type: ignore[union-attr]
            for a, b in zip(mine.layers, theirs.layers, strict=True)
        )
    assert other.model.policy == found.model.policy and other.model.order == found.model.order


def test_what_does_not_fit_is_never_trained(wanted: Search, tmp_path: Path) -> None:
    tight = Limits("cortex-m4", instructions=12_000)
    made = search(elsewhere(wanted, tmp_path, limits=tight, trials=2))
    assert made.refused > 0 and made.needed.estimates[0].mean is not None
    assert made.needed.estimates[0].mean <= 12_000
    none = replace(wanted, limits=Limits("cortex-m4", instructions=500), journal=tmp_path / "none.journal")
    with (
        pytest.raises(SneError, match="no candidate fits cortex-m4: the last one takes"),
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(searching, "REFUSED_AT_MOST", 20)
        search(none)


def test_what_a_search_takes_is_said_before_it_starts(found: Found, wanted: Search, tmp_path: Path) -> None:
    assert "not known" in str(plan(elsewhere(wanted, tmp_path))) and not list(tmp_path.iterdir())
    other = plan(replace(wanted, journal=tmp_path / "own.journal", trials=None))  # by what is in the cache
    assert other.tried == 0 and other.candidates is not None and other.candidates > 1
    assert (due := plan(wanted)).tried == 4 and due.candidates == 0
    assert str(due).startswith("4 candidates tried; about 0 more fit in 10 minutes")


def test_no_round_begins_that_does_not_end_in_time() -> None:
    def due(budget: float, tried: int = 4, workers: int = 1) -> Plan:
        return search_plan.plan(dict.fromkeys(range(tried), 100.0), 0, tried, 4, workers, budget, None)

    whole = 4 * sum(RUNGS) * 100 + 110  # of one worker, and the last training
    assert due(whole).fits and due(whole).candidates == 4 and not due(whole - 1).fits
    assert due(whole - 1, workers=2).fits and due(1, tried=0).fits


def test_a_search_keeps_the_rounds_that_it_began_with(tmp_path: Path) -> None:
    assert Journal(tmp_path / "a.journal", "one").size == 4
    assert Journal(tmp_path / "a.journal", "one").size == 4
    with pytest.raises(SneError, match="in rounds of 4, not 2"):
        Journal(tmp_path / "a.journal", "one", 2)


def test_a_journal_serves_one_search_alone(tmp_path: Path) -> None:
    journal = tmp_path / "a.journal"
    Journal(journal, "one")
    with pytest.raises(SneError, match="journal of another search"):
        Journal(journal, "other")
    (tmp_path / "b.journal").write_text("no journal\n")
    with pytest.raises(SneError, match="is no journal"):
        Journal(tmp_path / "b.journal", "one")


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
        "--max-ram", "8K", "--budget", "5", "--trials", "1", "--epochs", "2", "--executor", "inline", "-o", str(output),
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
