"""What a training leaves of its epochs: rows while it goes, the same file after a kill, TensorBoard's files."""

from __future__ import annotations

import csv
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sne_edge.errors import SneError
from sne_edge.learn import distill
from sne_edge.learn.device import Device
from sne_edge.learn.fit import Told
from sne_edge.pipeline import track
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def config(tmp_path: Path) -> TrainConfig:
    from sne_edge.learn.distill import Recipe
    from sne_edge.learn.student import Body

    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(300, 16))
    np.savez(tmp_path / "waves.npz", x_train=x, y_train=y)
    return TrainConfig(
        str(tmp_path / "waves.npz"), body=Body((4, 4), (5, 3), (2, 2)), students=2, timesteps=2, teacher_epochs=2,
        recipe=Recipe(alone=2, joint=2, rounded=1, batch=64), views=1,
    )  # fmt: skip


class Elsewhere(Device):
    """A device that is not the processor, as far as training asks: there all students learn at once."""

    host = property(lambda self: False)  # type: ignore[assignment]


@pytest.mark.parametrize("device", [Device(), Elsewhere()], ids=["in turn", "at once"])
def test_every_epoch_of_every_stage_is_a_row(device: Device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    taught_at_once = []
    whole = distill.teach_all
    monkeypatch.setattr(distill, "teach_all", lambda *given: taught_at_once.append(1) or whole(*given))
    seen: list[tuple[str, int, int, str]] = []
    log = tmp_path / "log.csv"
    with track.tracked(log, "abc", None, lambda *news: seen.append(news)) as told:
        train(config(tmp_path), told, cache=tmp_path / "cache", device=device)
    assert bool(taught_at_once) != device.host
    found = rows(log)
    stages = {(row["stage"], int(row["epoch"])) for row in found}
    assert stages == {
        *(("teacher", n) for n in (1, 2)), *((f"student {k}", n) for k in (1, 2) for n in (1, 2)),
        *(("ensemble", n) for n in (1, 2)), ("fine-tuning in int8", 1), ("calibration", 1),
    }  # fmt: skip
    assert all(row["run"] == "abc" and row["time_utc"].endswith("Z") for row in found)
    assert all(float(row["loss"]) > 0 for row in found if row["stage"] != "calibration")
    assert all(0 <= float(row["validation"]) <= 1 for row in found if row["stage"].startswith(("student", "fine")))
    assert len(seen) > len(found)  # other news went on, too


def test_a_killed_run_goes_on_in_its_file_and_no_other_overwrites_it(tmp_path: Path) -> None:
    log = tmp_path / "log.csv"
    with (
        pytest.raises(KeyboardInterrupt),
        track.tracked(log, "abc", None, lambda *news: None) as told,
    ):
        told("teacher", 1, 2, Told("loss 1", {"loss": 1.0}))
        raise KeyboardInterrupt
    assert len(rows(log)) == 1
    track.check_log(log, "abc", force=False)
    with pytest.raises(SneError, match="is there already"):
        track.check_log(log, "other", force=False)
    with track.tracked(log, "abc", None, lambda *news: None) as told:
        told("teacher", 2, 2, Told("loss 0.5", {"loss": 0.5}))
        told("calibration", 1, 1, Told("done", {"validation": 0.9}))
    assert [row["loss"] for row in rows(log)] == ["1", "0.5", ""]
    with pytest.raises(SneError, match="is there already"):
        track.check_log(log, "abc", force=False)
    track.check_log(log, "abc", force=True)


def test_what_is_told_keeps_its_numbers_between_processes() -> None:
    told = Told("loss 1.0, validation 90 %", {"loss": 1.0, "validation": 0.9})
    again = pickle.loads(pickle.dumps(told))
    assert again == told and again.values == told.values and f"{again}" == "loss 1.0, validation 90 %"


def test_tensorboard_has_the_same_numbers(tmp_path: Path, require_package: Callable[..., None]) -> None:
    require_package("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with track.tracked(tmp_path / "log.csv", "abc", tmp_path / "events", lambda *news: None) as told:
        for epoch in (1, 2, 3):
            told("teacher", epoch, 3, Told("", {"loss": 1 / epoch}))
    found = EventAccumulator(str(tmp_path / "events")).Reload()
    assert [(s.step, round(s.value, 4)) for s in found.Scalars("teacher/loss")] == [(1, 1.0), (2, 0.5), (3, 0.3333)]


def test_tensorboard_that_is_missing_is_named_before_work_begins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(track, "find_spec", lambda name: None)
    track.check_tensorboard(None)
    with pytest.raises(SneError, match="tensorboard is not installed"):
        track.check_tensorboard(tmp_path)
