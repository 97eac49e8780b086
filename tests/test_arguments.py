"""Every command with arguments that no one should give: one error and one hint, soon, and nothing left behind."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sne_edge.cli import run
from sne_edge.cli.output import print_json
from sne_edge.data.dataset import load_dataset
from sne_edge.errors import SneError
from sne_edge.files import workspace, write_all
from sne_edge.ir.artifact import save
from sne_edge.ir.ensemble import QuantEnsemble

SECONDS = 10.0  # for each case
LONG = "x" * 5000
READERS = {  # what reads a model, the rest of its arguments being right
    "inspect": "inspect {}",
    "export": "export {} -o made-c",
    "build": "build {} -o made",
    "eval": "eval {}",
    "verify": "verify {} --on host",
    "bench": "bench {} --on socket://127.0.0.1:1",
    "calibrate": "calibrate {} -o made.sne --data right.npz",
    "card": "card {} --data right.npz",
    "plot": "plot {}",
    "report": "report {}",
}
TAKERS = {  # what takes data
    "eval": "eval mnist1d --data {}",
    "verify": "verify mnist1d --on host --data {}",
    "bench": "bench mnist1d --on host --data {}",
    "calibrate": "calibrate mnist1d -o made.sne --data {}",
    "card": "card mnist1d --data {}",
    "report": "report mnist1d --data {}",
    "train": "train -o made.sne --data {}",
    "quantize": "quantize net.py:net -o made.sne --timesteps 2 --data {}",
    "study": "study ensemble -o made --data {}",
}
WRITERS = {  # what writes a file
    "train": "train -o {}",
    "quantize": "quantize net.py:net --timesteps 2 --data right.npz -o {}",
    "calibrate": "calibrate mnist1d --data right.npz -o {}",
    "card": "card mnist1d -o {}",
    "plot": "plot mnist1d -o {}",
    "report": "report mnist1d -o {}",
}
FOLDERS = {"export": "export mnist1d -o {}", "build": "build mnist1d -o {}", "study": "study ensemble -o {}"}
BAD_MODELS = ["nowhere.sne", LONG, "pipe", "/dev/zero", "folder", "''", "huge.sne", "text.npz", "mnist1", "listener"]
BAD_DATA = ["nowhere.npz", LONG, LONG + ".npz", "pipe.npz", "zero.npz", "folder", "folder.npz", "text.npz", "mnist1",
            "header.npz", "claim.npz", "zeros.npz", "words.npz", "odd.npz", "''"]  # fmt: skip
BAD_FILES = ["folder", "text.npz/x", "/dev/null", LONG, "pipe", f"new/{LONG}"]
BAD_FOLDERS = ["text.npz", "text.npz/x", "/dev/null", LONG, "pipe"]
REST = [
    *("", "nothing", "--nothing", "inspect", "inspect mnist1d more", "inspect --jsn mnist1d"),
    *(f"train -o made.sne --channels {c}" for c in ("0,1,2", "8,many", "8", "''", "8,-1,3", "9999999999,1,1", "8,,8")),
    *(f"train -o made.sne --kernels {k}" for k in ("0", "3,3", "''", "3,3,x", "9999999999")),
    *(f"train -o made.sne --strides {k}" for k in ("0", "2,2", "2,2,2,2", "-1")),
    *("train -o made.sne --channels 8,8", "train -o made.sne --live --no-anew"),
    *(f"train -o made.sne --timesteps {t}" for t in ("0", "-1", "70000", "9" * 400, "two")),
    *(f"train -o made.sne --students {n}" for n in ("0", "33", "1e3")),
    *(f"train -o made.sne --seed {n}" for n in ("-1", "2147483648", "9" * 30)),
    *(f"train -o made.sne --name {n}" for n in ("Upper", "1st", "''", "sne-x", LONG, "a/b", "é")),
    *(
        f"train -o made.sne --executor {e}"
        for e in ("threads", "processes:0", "processes:x", "ray:", "'inline '", LONG)
    ),
    *(f"train -o made.sne --bits {n}" for n in ("3", "16", "-8")),
    *(f"train -o made.sne --budget {n}" for n in ("nan", "0", "-1")),
    *(f"train -o made.sne --max-drop {n}" for n in ("nan", "-1", "inf")),
    *(f"train -o made.sne --spike-rate {n}" for n in ("nan", "-1")),
    *("train -o made.sne --epochs 0", "train -o made.sne --scheme best", "train -o made.sne --teacher huge", "train"),
    *(
        f"train -o made.sne --data right.npz --teacher {f}"
        for f in ("pipe.onnx", "zero.onnx", "folder.onnx", "nowhere.onnx", "text.onnx")
    ),
    "train -o made.sne --data right.npz --teacher text.onnx --features nothing",
    *("train -o made.sne --logits x", "train -o kept.sne"),
    *(
        f"quantize {n} -o made.sne --timesteps 2 --data right.npz"
        for n in ("net", "net.py:", "net.py:absent", "pipe.py:net", "folder.py:net", "bad.py:net", LONG + ".py:net")
    ),
    *(f"quantize net.py:net -o made.sne --data right.npz --timesteps {t}" for t in ("0", "70000", "x")),
    *(
        f"quantize net.py:net -o made.sne --data right.npz --timesteps 2 --weights {w}"
        for w in ("pipe", "nowhere", "folder")
    ),
    *(
        f"quantize net.py:net -o made.sne --data right.npz --timesteps 2 {o}"
        for o in (
            "--encoder fast",
            "--encoder events",
            "--shape 1,2",
            "--shape 0,1,40",
            "--bits 5",
            "--bits 8,8",
            "--name Up",
        )
    ),
    *(
        "quantize net.py:net -o 'My net.sne' --data right.npz --timesteps 2",
        "quantize net.py:net -o kept.sne --data right.npz --timesteps 2",
    ),
    *(
        f"calibrate mnist1d -o made.sne --data right.npz {o}"
        for o in (
            "--max-drop nan",
            "--max-drop -1",
            "--target-ops nan",
            "--target-ops -5",
            "--policy first",
            "--early late",
            "--seed -1",
            "--max-drop 1 --target-ops 9",
        )
    ),
    "calibrate mnist1d -o kept.sne --data right.npz",
    *(f"export mnist1d -o made --target {t}" for t in ("m99", "cortex-m4x", "''", LONG)),
    "export mnist1d -o folder",
    *(f"build mnist1d -o made --board {b}" for b in ("nothing", "microbits", "''", LONG, "../microbit")),
    "build folder -o made",
    *(
        f"eval mnist1d --policy {p}"
        for p in ("most", "first:9", "first:x", "mask:0", "cascade:1", "budget:" + "9" * 400, "''", LONG)
    ),
    *("eval mnist1d --jobs 0", "eval mnist1d --jobs -3"),
    *(
        f"verify mnist1d --on {w}"
        for w in (
            "qemu:nothing",
            "/dev/no-such-port",
            "text.npz",
            "folder",
            "pipe",
            LONG,
            "microbit",
            "''",
            "socket://",
            "socket://:1",
            "socket://127.0.0.1:1",
            "socket://127.0.0.1:99999",
            "socket://x:" + LONG,
            "qemu:netduinoplus2x",
            "/dev/null",
            "/dev/full",
        )
    ),
    *(
        f"bench mnist1d --on {w}"
        for w in (
            "qemu:nothing",
            "/dev/no-such-port",
            "text.npz",
            "folder",
            "mps2-an386",
            "/dev/null",
            "socket://[::1]:1",
            f"socket://{LONG}:1",
        )
    ),
    *("verify mnist1d --count 0", "bench mnist1d --samples 0", "bench mnist1d --baud 0", "bench mnist1d --baud fast"),
    *(
        f"bench mnist1d --on host --{o} {f}"
        for o in ("trace", "csv")
        for f in ("folder", "text.npz/x", "/dev/null", LONG)
    ),
    "verify mnist1d --on host --trace folder",
    *(f"study {s} -o made" for s in ("nothing", "''", "ensembles", LONG)),
    *(
        f"study ensemble -o made {o}"
        for o in ("--seeds x", "--seeds -1", "--seeds ''", "--schemes best", "--executor x", "--budget nan")
    ),
    *(
        "card mnist1d --on nothing",
        "card mnist1d --on qemu:nothing",
        "plot tiny.sne",
        "ports more",
        "ports --baud 0",
        "flash mnist1d",
        "flash mnist1d --board nothing",
        "flash mnist1d --board mps2-an386",
        "flash mnist1d --board pico --by nothing",
        "flash mnist1d --board pico --drive text.npz --dry-run",
        f"flash mnist1d --board pico --drive {LONG}",
        "export mnist1d --for nothing -o made",
        "export mnist1d --for cmake --package-name '' -o made",
        f"export mnist1d --for cmake --package-version {LONG} -o made",
        "export mnist1d --for cmake -o text.npz",
        "targets more",
        "doctor more",
    ),
]


@pytest.fixture(scope="module")
def place(tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of files that are not what they should be."""
    import onnxruntime  # noqa: F401  what imports take is not what is measured here

    import sne_edge.interchange.script
    import sne_edge.pipeline.recalibrate
    import sne_edge.study.studies  # noqa: F401

    folder = tmp_path_factory.mktemp("place")
    for name in ("pipe", "pipe.npz", "pipe.onnx", "pipe.py"):
        os.mkfifo(folder / name)
    for name in ("zero.npz", "zero.onnx"):
        (folder / name).symlink_to("/dev/zero")
    for name in ("folder", "folder.npz", "folder.onnx", "folder.py"):
        (folder / name).mkdir()
        (folder / name / "file.txt").write_text("x")
    with (folder / "huge.sne").open("wb") as file:
        file.truncate(10**12)
    for name in ("text.npz", "text.onnx"):
        (folder / name).write_text("not what its name says\n" * 100)
    (folder / "net.py").write_text("import snntorch, torch\nnet = torch.nn.Sequential(torch.nn.Linear(40, 10))\n")
    (folder / "bad.py").write_text("raise RuntimeError('no')\n")
    np.savez(folder / "words.npz", x_train=np.array(["a", "b"]), y_train=np.zeros(2, int))
    np.savez(folder / "odd.npz", **{"x_train": np.zeros((9, 4)), "y_train": np.zeros(9, int), "zz\x1b[1m": np.zeros(3)})
    rng = np.random.default_rng(0)
    np.savez(folder / "right.npz", x_train=rng.normal(size=(800, 40)).cumsum(1), y_train=np.arange(800) % 10)
    bombs(folder)
    for name in ("tiny.sne", "kept.sne"):
        save(tiny, folder / name)
    with socket.socket(socket.AF_UNIX) as listener:
        before = Path.cwd()
        os.chdir(folder)
        listener.bind("listener")
        os.chdir(before)
        yield folder


def bombs(folder: Path) -> None:
    """Small archives that hold, or claim to hold, a great deal."""

    def header(count: int) -> bytes:
        text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count}, 100), }}".ljust(117) + "\n"
        return b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text.encode()

    count, block = 1_000_000, bytes(1_000_000)
    whole = {
        "header.npz": (b"\x93NUMPY\2\0" + struct.pack("<I", 900_000_000), 900),
        "claim.npz": (header(2**40), 0),
        "zeros.npz": (header(count), count * 800 // len(block)),
    }
    for name, (start, blocks) in whole.items():
        with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            with archive.open("x_train.npy", "w", force_zip64=True) as file:
                file.write(start)
                for _ in range(blocks):
                    file.write(block)
            with archive.open("y_train.npy", "w") as file:
                np.lib.format.write_array(file, np.zeros(count if blocks else 3, np.int64))


CASES = [
    *(line.format(shlex.quote(bad) if bad != "''" else bad) for line in READERS.values() for bad in BAD_MODELS),
    *(line.format(bad) for line in TAKERS.values() for bad in BAD_DATA),
    *(line.format(bad) for line in WRITERS.values() for bad in BAD_FILES),
    *(line.format(bad) for line in FOLDERS.values() for bad in BAD_FOLDERS),
    *REST,
]


def test_every_command_is_swept() -> None:
    assert {case.split()[0] for case in CASES if case and case[0].isalpha()} >= {
        "train", "quantize", "inspect", "eval", "export", "build", "verify", "bench", "calibrate", "plot", "targets",
        "doctor", "card", "study", "ports", "flash",
    }  # fmt: skip
    assert len(CASES) > 400


@pytest.mark.parametrize("line", CASES, ids=lambda line: line.replace(LONG, "LONG")[:80])
def test_a_hostile_argument_is_one_error_and_one_hint_and_leaves_nothing(
    line: str, place: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.setenv("SNE_EDGE_TRACEBACK", "1")  # a fault of sne-edge itself is no answer
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    here = sorted(place.rglob("*"))
    started = time.monotonic()
    code = run(shlex.split(line))
    seconds = time.monotonic() - started
    said = capfd.readouterr()
    lines = [line for line in said.err.splitlines() if not line.startswith(("note: ", "samples: ", "teacher: "))]
    if line != "":  # without arguments: the help
        assert [line.partition(":")[0] for line in lines] == ["error", "hint"], said.err
        assert all(len(line) > 7 and line.isprintable() and len(line) < 1000 for line in lines)
    assert code != 0 and seconds < SECONDS
    assert not said.out
    assert sorted(place.rglob("*")) == here
    assert not list(temporary.iterdir())


def cli(*arguments: str | Path, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sne_edge", *map(str, arguments)]
    return subprocess.run(command, text=True, check=False, timeout=60, **options)


@pytest.mark.parametrize("arguments", [("inspect", "mnist1d"), ("inspect", "mnist1d", "--json"), ("targets",)])
def test_a_full_output_is_an_error_without_a_traceback(arguments: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = cli(*arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert [line.partition(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"], done.stderr


def test_a_closed_output_is_an_error_and_a_reader_that_leaves_is_none_worth_words() -> None:
    code = f"{shlex.quote(sys.executable)} -m sne_edge inspect mnist1d"
    done = subprocess.run(["sh", "-c", f"{code} >&-"], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1 and done.stderr.startswith("error: standard output is closed\nhint: ")
    piped = ["bash", "-c", f"{code} | true; exit ${{PIPESTATUS[0]}}"]
    done = subprocess.run(piped, capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr and "Exception" not in done.stderr


def test_version_short_help_and_running_as_a_module() -> None:
    assert cli("--version", stdout=subprocess.PIPE).stdout.startswith("sne-edge ")
    assert "Usage:" in cli("bench", "-h", stdout=subprocess.PIPE).stdout


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("inspect mnist1", "did you mean mnist1d?"),
        ("eval mnist1d --data mnist-1d", "did you mean mnist1d?"),
        ("export mnist1d --target cortex-m44", "did you mean cortex-m4"),
        ("build mnist1d --board microbits", "did you mean microbit?"),
        ("bench mnist1d --on qemu:microbits", "did you mean microbit?"),
    ],
)
def test_the_nearest_name_is_offered(
    line: str, hint: str, capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(line.split()) == 1
    assert hint in capfd.readouterr().err


def test_a_model_is_overwritten_only_by_force(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    np.savez("right.npz", x_train=rng.normal(size=(80, 40)).cumsum(1), y_train=np.arange(80) % 10)
    line = ["calibrate", "mnist1d", "--data", "right.npz", "-o", "made.sne", "--target-ops", "50000", "--other-data"]
    (tmp_path / "made.sne").write_text("precious")
    assert run(line) == 1 and "--force" in capfd.readouterr().err
    assert (tmp_path / "made.sne").read_text() == "precious"
    assert run([*line, "--force"]) == 0 and (tmp_path / "made.sne").stat().st_size > 1000


def test_json_has_null_where_a_number_is_none(capfd: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": [np.float32("inf"), np.int64(3)], "c": Path("x"), "d": np.arange(2), 4: True})
    said = json.loads(capfd.readouterr().out, parse_constant=pytest.fail)
    assert said == {"a": None, "b": [None, 3], "c": "x", "d": [0, 1], "4": True}


def test_a_zip_bomb_is_refused_at_once(place: Path) -> None:
    for name in ("header.npz", "claim.npz", "zeros.npz"):
        assert (place / name).stat().st_size < 2**23
        started = time.monotonic()
        with pytest.raises(SneError):
            load_dataset(place / name)
        assert time.monotonic() - started < 2, name


def test_a_killed_run_leaves_nothing_or_is_swept_up_by_the_next(tmp_path: Path) -> None:
    code = "from sne_edge.files import workspace; import sne_edge.cli, time, sys; sne_edge.cli.run = lambda a: hold()\n"
    code += "def hold():\n    with workspace() as w: print(w, flush=True); time.sleep(60)\nsne_edge.cli.main()"
    for number in (signal.SIGTERM, signal.SIGKILL):
        held = subprocess.Popen(
            [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(tmp_path)}
        )
        assert held.stdout is not None
        folder = Path(held.stdout.readline().strip())
        assert folder.is_dir()
        held.send_signal(number)
        assert held.wait(20) == (143 if number == signal.SIGTERM else -9)
        assert folder.exists() == (number == signal.SIGKILL)
    os.utime(folder, (0, 0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path))
        with workspace() as other, workspace() as another:
            os.utime(other, (0, 0))  # old, but in use
            assert other.is_dir() and another.is_dir() and not folder.exists()
            with workspace():
                assert other.is_dir()
    assert not list(tmp_path.iterdir())


def test_a_full_disk_leaves_no_half_written_file_nor_folder(tmp_path: Path) -> None:
    def fail(file: Any) -> None:
        file.write(b"x" * 1000)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    for number in (errno.ENOSPC, errno.EFBIG):
        with pytest.raises(SneError, match="cannot work in"), workspace():
            raise OSError(number, os.strerror(number))
    with pytest.raises(SneError, match="No space left"):
        write_all(tmp_path / "new" / "deep", {"one": lambda file: file.write(b"1"), "two": fail})
    assert not list(tmp_path.iterdir())
    (tmp_path / "one").write_text("before")
    with pytest.raises(SneError):
        write_all(tmp_path, {"one": lambda file: file.write(b"1"), "two": fail})
    assert [path.name for path in tmp_path.iterdir()] == ["one"] and (tmp_path / "one").read_text() == "before"
