"""The command line, as a user meets it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from command_line import called as run

from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.learn.partition import SCHEMES

COMMANDS = (
    "train", "quantize", "inspect", "eval", "export", "build", "verify", "bench", "calibrate", "plot", "targets",
    "doctor", "card", "study", "ports", "compare", "flash", "report",
)  # fmt: skip


def process(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The outcome of a command in a process of its own."""
    command = [sys.executable, "-c", "from sne_edge.cli import main; main()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def parsed(*arguments: str | Path) -> object:
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def model(tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("cli") / "tiny.sne"
    save(tiny, path)
    return path


def test_help_names_every_command() -> None:
    done = process("--help")
    assert done.returncode == 0
    assert all(f"\n  {command} " in done.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    done = run(command, "--help")
    assert done.returncode == 0 and "Usage:" in done.stdout


def test_train_explains_every_partition_scheme() -> None:
    text = "".join(run("train", "--help").stdout.split())
    assert all(scheme in text for scheme in SCHEMES)


def test_inspect_reports_every_layer(model: Path, tiny: QuantEnsemble) -> None:
    report = parsed("inspect", model)
    assert isinstance(report, dict)
    assert len(report["layers"]) == sum(len(student.layers) for student in tiny.students)
    assert report["state_bytes"] > 0 and len(report["fingerprint"]) == 16
    assert "proven range" in run("inspect", model).stdout


def test_eval_prints_a_row_for_every_number_of_students_and_the_own_policy(model: Path, tiny: QuantEnsemble) -> None:
    rows = parsed("eval", model)
    assert isinstance(rows, list) and len(rows) == len(tiny.students) + 1
    assert [row["students_run"] for row in rows[: len(tiny.students)]] == [1, 2, 3]
    assert rows[-1]["policy"].startswith("cascade") and rows[0]["operations"] > 0


def test_eval_counts_as_neurobench_does_and_estimates_energy(model: Path) -> None:
    rows = parsed("eval", model, "--energy")
    assert isinstance(rows, list)
    assert all(0 < row["neurobench"]["Effective_ACs"] <= row["synaptic_ops"] for row in rows)
    assert all("estimate" in row["energy"]["note"] and row["energy"]["estimated_total_pj"] > 0 for row in rows)
    assert "estimates" in run("eval", model, "--energy").stdout


def test_a_folder_of_that_name_does_not_hide_a_shipped_model(tmp_path: Path) -> None:
    (tmp_path / "mnist1d").mkdir()
    assert run("inspect", "mnist1d", cwd=tmp_path).returncode == 0


def test_a_process_prints_and_returns_what_a_call_does(model: Path, tmp_path: Path) -> None:
    for words in (("inspect", model), ("eval", model, "--json"), ("inspect", tmp_path / "nowhere.sne"), ("nothing",)):
        there, here = process(*words), run(*words)
        assert (there.returncode, there.stdout) == (here.returncode, here.stdout)
        assert there.returncode == 0 or there.stderr == here.stderr  # what is said on the way is a matter of time


def test_eval_gives_the_same_for_any_number_of_jobs(model: Path) -> None:
    assert parsed("eval", model) == parsed("eval", model, "--jobs", 1) == parsed("eval", model, "--jobs", 3)


def test_eval_takes_policies_in_words(model: Path) -> None:
    rows = parsed("eval", model, "--policy", "mask:0x5", "--policy", "cascade:1,2", "--policy", "budget:900")
    assert isinstance(rows, list)
    assert [row["policy"] for row in rows] == ["mask:0x5", "cascade:1,2", "budget:900"]


def test_targets_and_doctor_answer_in_json() -> None:
    listed = parsed("targets")
    assert isinstance(listed, dict)
    assert {"cortex-m0", "cortex-m4", "cortex-m55", "host"} <= {target["name"] for target in listed["targets"]}
    assert {"microbit", "mps2-an386"} <= {board["name"] for board in listed["boards"]}
    findings = parsed("doctor")
    assert isinstance(findings, list) and {"cc", "qemu-system-arm"} <= {finding["what"] for finding in findings}


def test_cortex_m_means_m4(model: Path, tmp_path: Path) -> None:
    assert run("export", model, "--target", "cortex-m", "-o", tmp_path / "c").returncode == 0
    assert json.loads((tmp_path / "c" / "manifest.json").read_text())["target"] == "cortex-m4"


def test_a_shipped_model_exports_by_name(tmp_path: Path) -> None:
    done = run("export", "mnist1d", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mnist1d-c" / "mnist1d.h").is_file()


def test_build_verify_and_bench_on_an_emulated_board(
    model: Path, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    built = parsed("build", model, "--board", "microbit", "-o", tmp_path / "firmware")
    assert isinstance(built, dict) and Path(built["elf"]).is_file() and built["flash_bytes"] > built["weight_bytes"] > 0
    checks = parsed("verify", model, "--on", "host", "--on", "qemu:microbit", "--count", "2")
    assert isinstance(checks, list)
    assert {check["engine"] for check in checks} == {"reference", "host", "qemu:microbit"}
    assert all(check["difference"] is None and check["compared"] > 0 for check in checks)
    log, table = tmp_path / "frames.txt", tmp_path / "counts.csv"
    measured = parsed("bench", model, "--on", "qemu:microbit", "--samples", "1", "--trace", log, "--csv", table)
    assert isinstance(measured, dict)
    counts = [row["count_mean"] for row in measured["rows"]]
    assert measured["rows"][0]["unit"] == "instructions" and counts[0] < counts[1] < counts[2]
    lines = list(csv.DictReader(table.open()))
    assert [int(line["count"]) for line in lines] == counts and {line["unit"] for line in lines} == {"instructions"}
    frames = log.read_text().splitlines()
    assert "-> INFO #1" in frames[0] and any("<- BENCH" in frame and "status 0 44 bytes" in frame for frame in frames)
    assert measured["time_utc"].endswith("+00:00") and len(measured["firmware"]["sha256"]) == 64
    assert measured["device"]["ram_used"] > 0 and measured["rows"][0]["stack_bytes"] > 0


def test_bench_needs_a_device_that_counts(model: Path) -> None:
    assert_refused(run("bench", model, "--on", "host"), "count", "qemu:BOARD")


def assert_refused(done: subprocess.CompletedProcess[str], message: str, hint: str) -> None:
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 2 and lines[0].startswith("error: ") and lines[1].startswith("hint: "), done.stderr
    assert message in lines[0] and hint in lines[1]


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["inspect", "nowhere.sne"], "cannot read nowhere.sne", "mnist1d"),
        (["export", "{model}", "--target", "m99"], "no target 'm99'", "cortex-m4"),
        (["export", "{model}", "-o", "{model}"], "is a file", "-o"),
        (["build", "{model}", "--board", "nothing"], "no board 'nothing'", "microbit"),
        (["eval", "{model}", "--policy", "most"], "no policy 'most'", "cascade"),
        (["eval", "{model}", "--policy", "first:9"], "9 students", "first:N"),
        (["eval", "{model}", "--data", "unheard-of"], "unheard-of", "npz"),
        (["bench", "{model}", "--on", "/dev/no-such-port"], "/dev/no-such-port", ""),
        (["bench", "{model}", "--on", "qemu:nothing"], "no board 'nothing'", "microbit"),
        (["verify", "{model}", "--on", "socket://127.0.0.1:1"], "127.0.0.1:1", ""),
        (["plot", "{model}"], "holds no figures", "train"),
        (["calibrate", "{model}", "-o", "x.sne", "--data", "unheard-of"], "unheard-of", "npz"),
        (["calibrate", "{model}", "-o", "x.sne", "--data", "mnist1d"], "10 classes, the model 4", "the model's"),
        (["calibrate", "mnist1d", "-o", "x.sne", "--data", "mnist1d", "--policy", "first"], "'first'", "routed"),
        (["calibrate", "mnist1d", "-o", "x.sne", "--data", "mnist1d", "--target-ops", "9"], "alone takes", "at least"),
        (
            ["calibrate", "{model}", "-o", "x.sne", "--data", "mnist1d", "--max-drop", "1", "--target-ops", "9"],
            "both given",
            "one of them",
        ),
        (["train", "-o", "{model}/x.sne"], "cannot write", "permissions"),
        (["train", "-o", "x.sne", "--scheme", "best"], "best", "contiguous"),
        (["train", "-o", "x.sne", "--channels", "8,many"], "8,many", "8,32,40"),
        (["train", "-o", "x.sne", "--bits", "3"], "3 bits", "8 or 4"),
        (["quantize", "net", "-o", "x.sne", "--data", "mnist1d", "--timesteps", "4"], "'net'", "FILE.py:NAME"),
    ],
)
def test_what_a_user_gets_wrong_is_one_error_and_one_hint(
    arguments: list[str], message: str, hint: str, model: Path, tmp_path: Path
) -> None:
    done = run(*(part.format(model=model) for part in arguments), cwd=tmp_path)
    assert_refused(done, message, hint)
    assert not list(tmp_path.iterdir())


def test_a_missing_compiler_is_named(model: Path, tmp_path: Path) -> None:
    assert_refused(run("eval", model, path=str(tmp_path)), "no C compiler", "gcc")
    assert_refused(run("build", model, path=str(tmp_path), cwd=tmp_path), "arm-none-eabi-gcc", "apt-get install")
    assert_refused(run("bench", model, path=str(tmp_path)), "no ARM compiler", "apt-get install")


def test_a_damaged_model_is_refused_everywhere(model: Path, tmp_path: Path) -> None:
    data = bytearray(model.read_bytes())
    data[-9] ^= 1
    damaged = tmp_path / "damaged.sne"
    damaged.write_bytes(data)
    for command in ("inspect", "export", "eval", "build", "verify", "bench", "plot"):
        assert_refused(run(command, damaged, cwd=tmp_path), "fingerprint", "")


def small_data(path: Path) -> Path:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    x = rng.normal(0, 0.3, (150, 12)) + np.eye(3, 12)[y] * 3
    np.savez(path, x_train=x[:120], y_train=y[:120], x_test=x[120:], y_test=y[120:])
    return path


def test_train_and_plot_make_a_model_that_runs(tmp_path: Path) -> None:
    data = small_data(tmp_path / "small.npz")
    done = run("train", "-o", tmp_path / "small.sne", "--dataset", data, "--students", "2", "--epochs", "8",
               "--channels", "4,4,4", "--scheme", "contiguous")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "teacher: " in done.stderr  # progress, also without a terminal
    assert load(tmp_path / "small.sne").name == "small"
    settings = tmp_path / "small.toml"
    assert_refused(run("train", "-o", tmp_path / "small.sne", "--config", settings), "is there already", "--force")
    assert_refused(run("train", "-o", tmp_path / "small.new", "--config", data), "is no TOML file", "beside each model")
    written = settings.read_text(encoding="utf-8")
    again = run("train", "-o", tmp_path / "again.sne", "--config", settings)
    assert again.returncode == 0, again.stderr
    assert (tmp_path / "again.sne").read_bytes() == (tmp_path / "small.sne").read_bytes()
    assert settings.read_text(encoding="utf-8") == written == (tmp_path / "again.toml").read_text(encoding="utf-8")
    assert run("plot", tmp_path / "small.sne", "-o", tmp_path / "small.png").returncode == 0
    assert (tmp_path / "small.png").read_bytes().startswith(b"\x89PNG")


def test_calibrate_chooses_a_routed_policy_within_an_allowance(tmp_path: Path) -> None:
    made = tmp_path / "routed.sne"
    record = parsed(
        "calibrate", "mnist1d", "--data", "mnist1d", "-o", made, "--policy", "routed", "--target-ops", "50000"
    )
    assert isinstance(record, dict)
    rows = record["integer"]
    assert rows["validation"][-1]["policy"].startswith("routed:") and rows["validation"][-1]["operations"] <= 50000
    assert rows["validation"][0]["accuracy"] < rows["validation"][-1]["accuracy"]
    assert record["calibration"]["promise"]["accuracy"] == pytest.approx(rows["validation"][-1]["accuracy"])
    (told,) = parsed("eval", made, "--data", "mnist1d", "--policy", "own")  # type: ignore[misc]
    assert told["accuracy"] == pytest.approx(rows["test"][-1]["accuracy"])
    assert load(made).policy.kind == "routed" and load(made).routes is not None


def test_quantize_takes_a_network_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import snntorch as snn\nfrom torch import nn\n\n"
        "def build():\n"
        "    return nn.Sequential(nn.Linear(12, 16), snn.Leaky(beta=0.9), nn.Linear(16, 3))\n"
    )
    data = small_data(tmp_path / "small.npz")
    common = ("-o", tmp_path / "net.sne", "--data", data, "--timesteps", "5")
    done = run("quantize", f"{tmp_path / 'net.py'}:build", *common)
    assert done.returncode == 0, done.stderr
    assert load(tmp_path / "net.sne").encoder.timesteps == 5
    assert_refused(
        run("quantize", f"{tmp_path / 'net.py'}:absent", *common, "--force"), "absent", "NAME is a network in that file"
    )


def test_quantize_says_what_it_understood_and_refuses_what_is_not_the_network(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "import snntorch as snn\nimport torch\nfrom torch import nn\n\n"
        "def line():\n"
        "    torch.manual_seed(0)\n"
        "    return nn.Sequential(nn.Conv1d(6, 8, 3), snn.Leaky(beta=0.5), nn.Flatten(), nn.Linear(144, 3))\n\n"
        "class Turned(nn.Sequential):\n"
        "    def forward(self, x):\n"
        "        return -super().forward(x)\n\n"
        "def turned():\n"
        "    return Turned(*line())\n"
    )
    rng = np.random.default_rng(0)
    arrays = {"x_train": rng.normal(size=(160, 6, 20)), "y_train": np.arange(160) % 3}
    np.savez(tmp_path / "own.npz", **arrays)
    np.savez(tmp_path / "last.npz", **(arrays | {"x_train": arrays["x_train"].swapaxes(1, 2)}), layout="NLC")
    made = tmp_path / "net.sne"
    network, common = f"{tmp_path / 'net.py'}:line", ("-o", made, "--timesteps", "4", "--force", "--fail-below", "0.5")
    for file, layout in (("own.npz", "NCL"), ("last.npz", "NLC")):
        done = run("quantize", network, *common, "--data", tmp_path / file)
        assert done.returncode == 0, done.stderr
        assert f"length 20, 6 channels (read as {layout})" in done.stdout and "network itself" in done.stdout
        assert load(made).encoder.shape == (1, 20, 6)
        assert run("eval", made, "--data", tmp_path / file).returncode == 0
    seen = run("quantize", network, *common, "--data", tmp_path / "own.npz", "--scale", "0.01")
    assert seen.returncode == 0 and "warning: " in seen.stderr and "are clipped" in seen.stderr
    made.unlink()
    bad = ("-o", made, "--timesteps", "4", "--data", tmp_path / "own.npz")
    turned = run("quantize", f"{tmp_path / 'net.py'}:turned", *bad, "--layout", "NCL")
    assert_refused(turned, "forward failed", "by itself")  # its Leaky gives two tensors
    failed = run("quantize", network, *bad, "--fail-below", "1.0", "--scale", "2")
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    error, hint = failed.stderr.strip().splitlines()[-2:]  # after warnings
    assert error.startswith("error: ") and "network itself" in error
    assert hint.startswith("hint: ") and "--fail-below" in hint
    assert_refused(run("quantize", network, *bad, "--layout", "NLC"), "channels", "")
    assert_refused(run("quantize", network, *bad, "--layout", "XYZ"), "no layout", "NCHW")
    assert_refused(run("train", "-o", made, "--dataset", tmp_path / "own.npz"), "may be N", "--layout")
    assert not made.exists()
