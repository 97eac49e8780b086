"""A study's models as jobs: one outcome on one machine and on several, each at most once, whatever is lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import ray
from ray.cluster_utils import Cluster

from sne_edge.learn.executor import run_jobs
from sne_edge.learn.fit import Progress, quiet
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.pipeline.config import TrainConfig
from sne_edge.study import jobs
from sne_edge.study.jobs import ModelJob, estimate, train_all
from sne_edge.study.lab import Lab
from sne_edge.study.studies import plan

SEEDS = (0, 1)


def jobs_in(cache: Path, waves: Path) -> list[ModelJob]:
    """Two schemes by two seeds, of which each seed's two share a teacher; one of them twice."""
    config = TrainConfig(
        str(waves), students=2, timesteps=2, body=Body((4,), (5,), (2,)), recipe=Recipe(alone=1, joint=1, rounded=1),
        teacher_epochs=2, views=1,
    )  # fmt: skip
    configs = [replace(config, seed=seed, scheme=scheme) for scheme in ("contiguous", "random") for seed in SEEDS]
    return [ModelJob(c, None, cache) for c in (*configs, configs[0])]


@pytest.fixture(scope="module")
def expected(waves: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one machine makes, one job after another."""
    cache = tmp_path_factory.mktemp("one")
    seen: list[str] = []
    train_all(jobs_in(cache, waves), "inline", lambda stage, done, *rest: seen.append(f"{stage} {done}"))
    assert seen.count("teacher 2") == len(SEEDS)  # both schemes of a seed are taught by one
    return {path.name: path.read_bytes() for path in cache.glob("model-*.sne")}


def slow_train(job: ModelJob, progress: Progress = quiet) -> None:
    """`jobs.train_model` that is under way for long enough to be met."""
    (job.cache / f"began-{job.config.scheme}-{job.config.seed}-{os.getpid()}").touch()
    time.sleep(1.0)
    jobs.train_model(job, progress)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="processes are ended by a signal")
def test_two_machines_make_what_one_makes_though_one_is_lost_in_mid_run(
    waves: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    lost = cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    try:
        cluster.wait_for_nodes()
        listed = {job.path: job for job in jobs_in(tmp_path, waves)}
        told: list[tuple[str, int, int]] = []

        def lose() -> None:
            while len(list(tmp_path.glob("began-*"))) < 2:
                time.sleep(0.05)
            cluster.remove_node(lost, allow_graceful=False)

        thread = threading.Thread(target=lose, daemon=True)
        thread.start()
        run_jobs(
            slow_train, list(listed.values()), "ray", lambda stage, done, total, _: told.append((stage, done, total)),
            stage="models", retries=jobs.RETRIES,
        )  # fmt: skip
        thread.join(timeout=30)
    finally:
        ray.shutdown()
        cluster.shutdown()
    assert {path.name: path.read_bytes() for path in tmp_path.glob("model-*.sne")} == expected
    assert told[-1] == ("models", len(expected), len(expected))
    began = [path.name.rsplit("-", 1)[0] for path in tmp_path.glob("began-*")]
    assert len(began) > len(set(began)) == len(expected)  # what the lost machine was at began again


def die_once(job: tuple[Path, int], progress: Progress = quiet) -> int:
    """Ends its process by force, the first time."""
    mark, number = job
    if number == 1 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number


def test_a_job_whose_process_was_killed_runs_again_and_the_others_results_stay(tmp_path: Path):
    work: Callable[..., int] = die_once
    given = [(tmp_path / "mark", number) for number in range(3)]
    assert run_jobs(work, given, "processes:1", retries=1) == [0, 10, 20]


def die(number: int, progress: Progress = quiet) -> int:
    """Ends its process by force, every time, where it is job 1."""
    if number == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return 10 * number


def test_a_job_that_always_ends_its_process_ends_no_other_where_that_is_asked_for():
    told: list[tuple[int, int]] = []
    found = run_jobs(die, [0, 1, 2], "processes:1", ended=lambda *news: told.append(news), lost=lambda job: -job)
    assert found == [0, -1, 20]
    assert sorted(told) == [(0, 0), (2, 20)]


def test_a_study_trains_nothing_that_is_there_and_says_what_it_will_cost(
    waves: Path, expected: dict[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    given = jobs_in(tmp_path, waves)
    none = estimate(given, "inline")
    assert (none.models, none.there, none.each) == (4, 0, None) and "not known" in str(none)
    train_all(given[:1], "inline")
    some = estimate(given, "processes:2")
    assert (some.models, some.there) == (4, 1) and some.each is not None and some.wall == pytest.approx(1.5 * some.each)
    made = given[0].path
    assert made.read_bytes() == expected[made.name]
    monkeypatch.setattr(jobs, "train", None)
    train_all([given[0], given[-1]], "inline")
    assert str(estimate(given[:1], "inline")) == "1 models, 1 there already"


@pytest.mark.parametrize(("name", "count"), [("ensemble", 2), ("partition", 8), ("baselines", 10), ("timesteps", 14)])
def test_the_plan_of_a_study_names_its_models(name: str, count: int, waves: Path, tmp_path: Path):
    lab = Lab(str(waves), (0, 1), tmp_path, schemes=("random", "whole"))
    configs = plan(name, lab)
    assert len(configs) == count and {c.seed for c in configs} == {0, 1}
