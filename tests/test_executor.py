"""Executors: one outcome wherever jobs run; and runs that go on where they were killed."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import ray
import torch
from torch import nn

from sne_edge.errors import SneError
from sne_edge.learn.executor import run_jobs
from sne_edge.learn.fit import Plan, Progress, fit, quiet, read_checkpoint, write_checkpoint


def solve(size: int, progress: Progress = quiet) -> tuple[float, int]:
    """A sum whose last bits depend on how threads divide it, and this process."""
    generator = torch.Generator().manual_seed(size)
    a = torch.randn(size, size, generator=generator)
    progress("solve", 1, 1, f"size {size}")
    return float((a @ a).tanh().sum()), os.getpid()


def refuse(size: int, progress: Progress = quiet) -> None:
    raise SneError(f"no {size}", "give another")


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A Ray cluster on this machine, whose workers can import this file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent))
        ray.init("local", num_cpus=2, log_to_driver=False, include_dashboard=False)
        yield
        ray.shutdown()


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("executor", ["processes", "processes:1", "ray"])
def test_every_executor_gives_what_inline_gives_in_order_elsewhere(executor: str):
    sizes = [300, 200, 100]
    expected, here = zip(*run_jobs(solve, sizes), strict=True)
    seen: list[tuple[str, int, int, str]] = []
    found, where = zip(*run_jobs(solve, sizes, executor, lambda *news: seen.append(news)), strict=True)
    assert found == expected
    assert set(here) == {os.getpid()} and os.getpid() not in where
    assert len(seen) == 3


def test_jobs_of_one_thread_leave_the_number_of_threads_as_it_was():
    before = torch.get_num_threads()
    run_jobs(solve, [3])
    assert torch.get_num_threads() == before


@pytest.mark.usefixtures("cluster")
@pytest.mark.parametrize("executor", ["inline", "processes", "ray"])
def test_what_a_job_raises_arrives(executor: str):
    with pytest.raises(SneError, match="no 7"):
        run_jobs(refuse, [7, 8], executor)


@pytest.mark.parametrize("executor", ["", "threads", "processes:0", "processes:x", "inline:2", "ray:here"])
def test_an_unknown_executor_is_refused(executor: str):
    with pytest.raises(SneError, match="no executor"):
        run_jobs(solve, [3], executor)


class Killed(Exception):
    """Stands for a kill signal."""


def learn(plan: Plan, checkpoint: Path | None = None, die_in: int = -1, scored: bool = True) -> dict[str, torch.Tensor]:
    """A small network with dropout and batch norm, trained; killed in the epoch after `die_in`."""
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.normal(size=(90, 6)).astype(np.float32))
    y = (x[:, :2].sum(dim=1) > 0).long()
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))

    def loss(pick: np.ndarray, generator: np.random.Generator) -> torch.Tensor:
        noise = torch.from_numpy(generator.normal(size=(len(pick), 6)).astype(np.float32))
        return nn.functional.cross_entropy(net(x[pick] + 0.1 * noise), y[pick])

    def score() -> tuple[float, str]:
        net.eval()
        with torch.no_grad():
            right = float((net(x).argmax(dim=1) == y).float().mean())
        return right, f"{right:.2f}"

    def report(stage: str, done: int, total: int, note: str) -> None:
        if done == die_in:
            raise Killed

    fit(net, loss, 90, plan, stage="net", score=score if scored else None, checkpoint=checkpoint, progress=report)
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


@pytest.mark.parametrize("plan", [Plan(6, batch=32), Plan(6, batch=32, sgd=True, rate=0.1)], ids=["adamw", "sgd"])
@pytest.mark.parametrize("die_in", [1, 4])
@pytest.mark.parametrize("scored", [True, False])
def test_a_killed_run_ends_as_one_that_was_not(plan: Plan, die_in: int, scored: bool, tmp_path: Path):
    expected = learn(plan, scored=scored)
    with pytest.raises(Killed):
        learn(plan, tmp_path / "net.pt", die_in, scored)
    found = learn(plan, tmp_path / "net.pt", scored=scored)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_budget_ends_training_early_with_a_rate_near_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    ticks = itertools.count()
    monkeypatch.setattr("sne_edge.learn.fit.time", SimpleNamespace(monotonic=lambda: next(ticks) / 1000))
    learn(Plan(100_000, batch=32, minutes=0.02), tmp_path / "net.pt")
    kept = read_checkpoint(tmp_path / "net.pt")
    assert kept is not None and 1 < kept["epoch"] < 100_000
    assert kept["optimizer"]["param_groups"][0]["lr"] < 0.05 * 8e-3


def test_patience_ends_training_when_nothing_gets_better(tmp_path: Path):
    learn(Plan(300, batch=32, rate=1e-9, patience=3), tmp_path / "net.pt")
    kept = read_checkpoint(tmp_path / "net.pt")
    assert kept is not None and kept["epoch"] < 30


def test_a_damaged_checkpoint_counts_as_none(tmp_path: Path):
    path = tmp_path / "net.pt"
    assert read_checkpoint(path) is None
    write_checkpoint(path, {"epoch": 3})
    assert read_checkpoint(path) == {"epoch": 3}
    for content in (b"", b"nonsense", path.read_bytes()[:40]):
        path.write_bytes(content)
        assert read_checkpoint(path) is None
    assert [p.name for p in tmp_path.iterdir()] == ["net.pt"]


def test_a_loss_that_is_no_number_is_an_error():
    net = nn.Linear(1, 1)
    with pytest.raises(SneError, match="loss is nan"):
        fit(net, lambda pick, generator: net(torch.full((2, 1), torch.nan)).sum(), 8, Plan(1, batch=4), stage="net")


def test_a_script_without_a_main_guard_is_told_what_to_do(tmp_path: Path):
    """New processes import the script that was started: it would start them again, without end."""
    script = tmp_path / "mine.py"
    script.write_text(
        "from sne_edge.errors import SneError\nfrom sne_edge.learn.executor import run_jobs\n"
        "try:\n    run_jobs(print, [1, 2], 'processes:2')\n"
        "except SneError as error:\n    print(error.message, '|', error.hint)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, check=True)
    assert "cannot start from this script" in done.stdout and "__main__" in done.stdout
