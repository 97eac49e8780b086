"""Recordings of sensors: folders of CSV files, as loggers write them, from files to a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import called

from sne_edge.data import origin
from sne_edge.data.dataset import load_dataset
from sne_edge.data.folders import kind_of
from sne_edge.data.unknown import load_unknown
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load

CLASSES = ("circle", "flex", "punch")
NAMES = "time,aX,aY,aZ,gX"


def gesture(kind: str, rows: int, seed: int) -> np.ndarray:
    """Acceleration in g of three axes, one with gravity, and a rotation in degrees a second: float64 [rows, 4]."""
    rng = np.random.default_rng(seed)
    t, turns = np.arange(rows) / 40, {"circle": 1.0, "flex": 2.0, "punch": 4.0}[kind]
    wave = np.sin(2 * np.pi * turns * t + rng.uniform(0, 6))
    made: np.ndarray = np.stack([wave, 0.3 * wave, 1 + 0.2 * wave, 250 * wave], axis=1)
    return made + rng.normal(size=made.shape) * [0.3, 0.3, 0.1, 80]


def write(path: Path, values: np.ndarray, names: str = NAMES, separator: str = ",", decimal: str = ".") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [names.replace(",", separator)] if names else []
    for n, row in enumerate(values):
        cells = [f"{25 * n}", *(f"{v:.5f}" for v in row)]
        lines.append(separator.join(cells).replace(".", decimal))
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def gestures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "gestures"
    for n in range(210):
        kind = CLASSES[n % 3]
        write(folder / kind / f"{n}.csv", gesture(kind, 36 + n % 9, n))
    return folder


def test_a_folder_of_tables_becomes_samples_of_one_length(gestures: Path) -> None:
    assert kind_of(gestures) == "series"
    for _ in range(2):  # decoded, and from the cache
        data = load_dataset(gestures)
        assert data.classes == CLASSES and data.shape == (1, 40, 4) and data.own_test
        assert data.understood == "length 40, 4 channels (read as NLC): aX, aY, aZ, gX"
        assert len(data.x_train) + len(data.x_val) + len(data.x_test) == 210 and 20 < len(data.x_test) < 65
    seen = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0]
    for n in (0, 4, 8):  # shorter ones stay at their last row, of longer ones comes what is first
        own = np.round(gesture(CLASSES[n % 3], 36 + n % 9, n), 5).astype(np.float32)
        own = np.concatenate([own, np.repeat(own[-1:], 9, axis=0)])[:40]
        assert np.isclose(seen, own).all(axis=(1, 2)).sum() == 1


@pytest.mark.parametrize(
    ("names", "separator", "decimal"),
    [(NAMES, ",", "."), ("", ",", "."), ("Timestamp,a,b,c,d", ";", ","), ("", " ", "."), ("ms,a,b,c,d", "\t", ".")],
)
def test_however_a_logger_writes_its_numbers_are_the_same(
    names: str, separator: str, decimal: str, tmp_path: Path
) -> None:
    for n in range(30):
        write(tmp_path / CLASSES[n % 3] / f"{n}.csv", gesture(CLASSES[n % 3], 40, n), names, separator, decimal)
    data = load_dataset(tmp_path)
    assert data.shape == (1, 40, 4)  # without times
    seen = np.concatenate([data.x_train, data.x_val, data.x_test])[:, 0]
    expected = np.round(gesture("circle", 40, 0), 5).astype(np.float32)
    assert np.isclose(seen, expected).all(axis=(1, 2)).sum() == 1


LOGGED = {
    "a comma at the end": ("time,a,b,\n", "{t},{a},{b},\n", 2),
    "a comma at the end, no names": ("", "{t},{a},{b},\n", 2),
    "comments": ("# a board\ntime,a,b\n", "{t},{a},{b}\n", 2),
    "a unit": ("time_ms,a,b\n", "{t},{a},{b}\n", 2),
    "a unit in parentheses": ("Timestamp (ms),a,b\n", "{t},{a},{b}\n", 2),
    "dates": ("date,a,b\n", "2026-11-29T10:00:{t:02d},{a},{b}\n", 2),
    "times that jitter, no names": ("", "{j},{a},{b}\n", 2),
    "a temperature called t": ("t,a,b\n", "{b},{a},{b}\n", 3),
    "blank lines and quotes": ('"time","a","b"\n\n', "{t},{a},{b}\n\n", 2),
    "signs of Latin-1": ("time,a (m/s\u00b2),b\n", "{t},{a},{b}\n", 2),
}


@pytest.mark.parametrize("kind", LOGGED)
def test_what_loggers_write_beside_numbers_is_no_channel(kind: str, tmp_path: Path) -> None:
    names, line, channels = LOGGED[kind]
    rng = np.random.default_rng(0)
    for n in range(20):
        path = tmp_path / CLASSES[n % 2] / f"{n}.csv"
        path.parent.mkdir(exist_ok=True)
        a, b = rng.normal(size=(2, 12)).round(3)
        rows = [line.format(t=t, j=25 * t + rng.integers(9), a=a[t], b=b[t]) for t in range(12)]
        path.write_bytes((names + "".join(rows)).encode("utf-16" if n == 3 and "Latin" not in kind else "latin-1"))
    data = load_dataset(tmp_path)
    assert data.shape == (1, 12, channels) and len(data.columns) == (channels if names else 0)


def test_a_column_that_tells_the_class_is_refused(tmp_path: Path) -> None:
    for n in range(20):
        path = tmp_path / CLASSES[n % 2] / f"{n}.csv"
        path.parent.mkdir(exist_ok=True)
        path.write_text("a,label\n" + f"0.5,{n % 2}\n0.7,{n % 2}\n")
    with pytest.raises(SneError, match="a column label, which would tell the class"):
        load_dataset(tmp_path)


def test_a_model_is_judged_by_its_own_columns_and_lengths(gestures: Path, tmp_path: Path) -> None:
    data = load_dataset(gestures)
    record = {"dataset": origin.record(data), "config": {"seed": 0}}
    for name, names, rows in (("turned", "time,gX,aX,aY,aZ", 40), ("long", NAMES, 400), ("short", NAMES, 12)):
        for n in range(30):
            part = "test" if n % 2 else "train"
            write(tmp_path / name / part / CLASSES[n % 3] / f"{n}.csv", gesture(CLASSES[n % 3], rows, 2000 + n), names)
        told = "the columns of turned are gX" if name == "turned" else f"has {rows} rows, where 40 are usual"
        with pytest.raises(SneError, match=told):
            origin.load_for(record, data.classes, tmp_path / name, length=40)
        with pytest.raises(SneError, match="columns of" if name == "turned" else "rows, where 40"):
            load_unknown(tmp_path / name, data)


def test_parts_are_the_folders_or_the_names(tmp_path: Path) -> None:
    for n in range(40):
        part = "test" if n % 4 == 0 else "train"
        write(tmp_path / part / CLASSES[n % 2] / f"{n}.csv", gesture(CLASSES[n % 2], 20, n))
    assert len(load_dataset(tmp_path).x_test) == 10


def test_other_recordings_are_as_long_as_the_models(gestures: Path, tmp_path: Path) -> None:
    data = load_dataset(gestures)
    for n in range(30):
        part = "test" if n % 2 else "train"
        write(tmp_path / part / CLASSES[n % 3] / f"{n}.csv", gesture(CLASSES[n % 3], 60, 1000 + n))
    record = {"dataset": origin.record(data), "config": {"seed": 0}}
    found, note = origin.load_for(record, data.classes, tmp_path, length=40)
    assert found.shape == data.shape and note is not None and load_dataset(tmp_path).shape == (1, 60, 4)
    again, nothing = origin.load_for(record, data.classes, gestures, length=40)
    assert nothing is None and again.fingerprint == data.fingerprint


def test_what_is_no_folder_of_tables_is_told(tmp_path: Path) -> None:
    def folder(name: str) -> Path:
        for n in range(12):
            write(tmp_path / name / CLASSES[n % 2] / f"{n}.csv", gesture(CLASSES[n % 2], 20, n))
        return tmp_path / name

    words, short, empty, wide, other, long, latin, rows = (
        folder(name) for name in ("words", "short", "empty", "wide", "other", "long", "latin", "rows")
    )
    (words / "flex" / "x.csv").write_text(f"{NAMES}\n1,2,3,4,5\n6,7,none,9,0\n")
    (short / "flex" / "x.csv").write_text(f"{NAMES}\n1,2,3,4,5\n6,7,8\n")
    (empty / "flex" / "x.csv").write_text("")
    (wide / "flex" / "x.csv").write_text(f"{NAMES},gY\n1,2,3,4,5,6\n1,2,3,4,5,6\n")
    write(other / "flex" / "x.csv", gesture("flex", 20, 0), "time,gX,aX,aY,aZ")
    write(long / "flex" / "x.csv", gesture("flex", 400, 0))
    (latin / "flex" / "x.csv").write_bytes(b"\x80\x00\x01\x02")
    (rows / "flex" / "x.csv").write_text(f"{NAMES}\n1,2,3,4,inf\n1,2,3,4,5\n")
    cases = {
        words: "x.csv: line 3 holds 'none'", short: "x.csv: line 3 has 3 values, not 5", empty: "x.csv holds 0 rows",
        wide: "files of other columns", other: "files of other columns", long: "x.csv has 400 rows, where 20 are usual",
        latin: "x.csv is no text", rows: "x.csv: line 2 holds 'inf'",
    }  # fmt: skip
    for path, told in cases.items():
        with pytest.raises(SneError) as caught:
            load_dataset(path)
        assert told in caught.value.message and caught.value.hint, caught.value.message


def test_tables_beside_images_are_no_recordings(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"")
    (tmp_path / "labels.csv").write_text("a.png,3\n")
    assert kind_of(tmp_path) == "images"


@pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning")
def test_gestures_become_a_model_that_takes_what_the_sensor_gives(
    gestures: Path, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    model = tmp_path / "gestures.sne"
    done = called(
        "train", "--data", gestures, "-o", model, "--students", "2", "--epochs", "25", "--executor", "inline",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "length 40, 4 channels" in done.stderr, done.stderr
    assert "learned in units of the training samples" in done.stderr
    made = load(model)
    told = made.provenance["integer"]["test"][-1]["accuracy"]
    assert told > 0.85 and isinstance(made.encoder.scale, tuple)
    judged = called("eval", model, "--data", gestures, "--json")
    assert json.loads(judged.stdout)[-1]["accuracy"] == pytest.approx(told, abs=1e-4)
    for n in range(6):
        write(tmp_path / "other" / f"{n}.csv", np.zeros((30, 4)))
    assert load_unknown(tmp_path / "other", load_dataset(gestures)).shape == (6, 1, 40, 4)
