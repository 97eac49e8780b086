"""What the terminal shows: tables that fit it, words that a shell completes, files that nothing overwrites unasked,
arguments that are looked at before work begins."""

from __future__ import annotations

import ast
import fcntl
import io
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import typer
from msgspec.structs import replace

import sne_edge.cli
from sne_edge.cli import complete, output, run, table
from sne_edge.deploy import doctor
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import format_policy
from sne_edge.ir.vectors import no_vectors

CLI = Path(sne_edge.cli.__file__).parent
RESULTS = Path(__file__).parents[1] / "docs" / "results"
NET = "import snntorch as snn\nimport torch\nfrom torch import nn\n\ntorch.manual_seed(0)\nnet = nn.Sequential("
NET += "nn.Linear(12, 16), snn.Leaky(beta=0.9, init_hidden=True), nn.Linear(16, 3))\n"


@pytest.fixture(scope="module")
def place(tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model, a network, and data for either."""
    folder = tmp_path_factory.mktemp("terminal")
    save(tiny, folder / "tiny.sne")
    twin = replace(tiny, bias=tiny.bias + np.arange(len(tiny.bias), dtype=tiny.bias.dtype))
    save(replace(twin, vectors=no_vectors(twin.encoder, len(twin.classes), twin.students)), folder / "twin.sne")
    (folder / "net.py").write_text(NET)
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    np.savez(folder / "small.npz", x_train=rng.normal(0, 0.3, (150, 12)) + np.eye(3, 12)[y] * 3, y_train=y)
    np.savez(folder / "tiny.npz", x_train=rng.normal(size=(150, 16, 2)), y_train=np.arange(150) % 4, layout="NLC")
    return folder


class Terminal(io.TextIOWrapper):
    """Standard output on a pseudo-terminal of so many columns, in this process."""

    def __init__(self, columns: int) -> None:
        self._main, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        self._kept = io.BytesIO()
        super().__init__(os.fdopen(other, "wb", buffering=0), encoding="utf-8", write_through=True)  # type: ignore[arg-type]

    def write(self, text: str) -> int:
        self._kept.write(text.encode())
        return len(text)

    def said(self) -> str:
        return re.sub(r"\x1b\[[0-9;]*m", "", self._kept.getvalue().decode())


def _stored(name: str) -> tuple[list[str], list[list[Any]], str]:
    record = json.loads((RESULTS / f"{name}.json").read_text())
    return record["columns"], record["rows"], record["title"]


def commands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str] | Callable[[], int]]:
    """Lines that print every table there is; what trains is replaced by what it left in files."""
    from sne_edge.pipeline import train
    from sne_edge.study import claims, jobs, search, search_journal, search_report, search_space, studies
    from sne_edge.study.lab import Lab

    shipped, candidate = load("mnist1d"), []
    monkeypatch.setattr(train, "train", lambda *arguments, **options: shipped)
    body = train.TrainConfig().body
    candidate = [search_space.Candidate(12, 3, 4, 4, body, 0.98123, 1_234_567, 163_840, 65_536) for _ in range(2)]
    found = search.Found(
        shipped, train.TrainConfig(), candidate[0],
        SimpleNamespace(estimates=[SimpleNamespace(mean=1_234_567, worst=9_234_567)], flash_bytes=1, ram_bytes=1,
                        stack_bytes=1), candidate, 3,
    )  # fmt: skip
    monkeypatch.setattr(search, "search", lambda *arguments, **options: found)
    monkeypatch.setattr(search_journal, "check_optuna", lambda: None)
    monkeypatch.setattr(search_report, "draw", lambda *arguments: None)

    def stored(name: str, lab: Any, folder: Path) -> Any:
        there = sorted(path.stem for path in RESULTS.glob(f"{name}-*.json"))
        columns, rows, title = _stored(f"{name}-mnist1d" if f"{name}-mnist1d" in there else there[0])
        return SimpleNamespace(title=title, columns=columns, rows=rows)

    monkeypatch.setattr(studies, "run_study", stored)
    kept = [name for name in complete.STUDIES if any(RESULTS.glob(f"{name}-*.json"))]
    assert len(kept) >= 6, kept
    for name in kept:
        yield ["study", name, "-o", "studied"]
    cost = jobs.Estimate(24, 3, 7.5, 158.0, unknown=2)
    lab = Lab("fashion-mnist", (0,), Path("cache"))
    due = [claims.Claim("partition", lab, cost, False), claims.Claim("ensemble", lab, cost, True)]
    monkeypatch.setattr(claims, "planned", lambda *arguments: claims.Planned(due, {"nmnist": "not found"}, cost))
    yield ["study", "all", "--plan", "-o", "studied"]
    yield ["train", "-o", "trained.sne", "--data", "small.npz"]
    yield ["search", "-o", "searched.sne", "--target", "cortex-m4", "--data", "small.npz", "--max-instructions", "9"]
    yield from (["targets"], ["doctor"], ["ports"], ["inspect", "fashion-mnist", "--target", "cortex-m4"])
    yield ["eval", "mnist1d", "--energy"]
    yield ["quantize", "net.py:net", "-o", "net.sne", "--data", "small.npz", "--timesteps", "4", "--fail-below", "0"]
    yield ["compare", "net.py:net", "net.sne", "--data", "small.npz"]
    yield ["calibrate", "tiny.sne", "-o", "calibrated.sne", "--data", "tiny.npz", "--other-data"]
    yield ["ensemble", "tiny.sne", "twin.sne", "-o", "joined.sne", "--data", "tiny.npz", "--other-data"]
    yield ["verify", "tiny.sne", "--on", "host"]
    yield ["build", "mnist1d", "-o", "built"]
    yield ["bench", "mnist1d", "--on", "qemu:mps2-an386", "--samples", "1", "--layers"]
    yield ["export", "mnist1d", "--format", "blob", "-o", "blobs"]
    yield ["inspect", "blobs/mnist1d.blob"]
    yield measured_energy


def measured_energy() -> int:
    """The table of a power monitor's trace, which no emulator makes."""
    rows = [SimpleNamespace(means=SimpleNamespace(policy="cascade:1869380,1869380,1869380"))]
    told = {"rest_mw": 12.345, "pulses": 1000, "mean": 1234.567, "spread": 12.345, "least": 1.234, "most": 12345.678}
    energy = [SimpleNamespace(by="pin", above_rest=1222.222, **told)]
    sys.modules["sne_edge.cli.bench"]._print_energy(rows, energy)
    return 0


@pytest.mark.examines(places=14, tables=20, cells=450, lines=200)
def test_every_table_fits_80_columns_with_numbers_whole_and_words_unfolded(
    place: Path, monkeypatch: pytest.MonkeyPatch, examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.chdir(place)
    monkeypatch.delenv("COLUMNS", raising=False)
    printed: list[tuple[list[str], list[list[str]], str, str]] = []
    reached: set[tuple[str, int]] = set()
    for module in {name: sys.modules[name] for name in sys.modules if name.startswith("sne_edge.cli.")}.values():
        if getattr(module, "print_table", None) is table.print_table and module is not table:

            def spy(title: str, columns: Any, rows: Any, *rest: Any, **more: Any) -> None:
                caller = sys._getframe(1)
                reached.add((caller.f_code.co_filename, caller.f_code.co_firstlineno))
                before = len(terminal.said())
                table.print_table(title, columns, rows, *rest, **more)
                printed.append((list(columns), [list(row) for row in rows], title, terminal.said()[before:]))

            monkeypatch.setattr(module, "print_table", spy)
    terminal = Terminal(80)
    for line in commands(monkeypatch):
        printed.clear()
        terminal = Terminal(80)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", terminal)
            code = line() if callable(line) else run(line)
        said = terminal.said()
        assert code == 0 and (printed or callable(line) or line[0] in ("quantize", "export")), (line, said)
        assert all(len(text) <= 80 or len(text.split()) == 1 for text in said.splitlines()), (line, said)
        examined["lines"] += len(said.splitlines())
        for columns, rows, title, drawn in printed:
            examined["tables"] += 1
            note = re.search(r"not shown in 80 columns: (.*) \(a wider", drawn.replace("\n", " "))
            hidden = note[1].split("; ") if note else []
            given = {word for cell in (title, *columns, *(c for row in rows for c in row)) for word in cell.split()}
            words = [
                word
                for line in drawn.split("not shown in")[0].splitlines()
                if "──" not in line
                for word in line.split()
            ]
            for word in words:
                cut = word.endswith("…") and any(w.startswith(word[:-1]) for w in given)
                assert word in given or cut, (line, word, drawn)
            for row in rows:
                for column, cell in zip(columns, row, strict=True):
                    if re.fullmatch(r"[-+]?[\d,.]+ ?%?( ± [\d.]+)?", cell) and column not in hidden:
                        assert cell in drawn, (line, column, cell)
                        examined["cells"] += 1
    examined["places"] = len(reached)
    calls = {path.name: calling_functions(path) for path in CLI.glob("*.py")}
    missed = {
        (name, function)
        for name, functions in calls.items()
        for function, first, last in functions
        if not any(Path(file).name == name and first <= line <= last for file, line in reached)
    }
    assert not missed, f"no line prints the tables of {missed}"


def calling_functions(path: Path) -> list[tuple[str, int, int]]:
    """Functions of a file that print a table, with their lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            names = [c.func.id for c in ast.walk(node) if isinstance(c, ast.Call) and isinstance(c.func, ast.Name)]
            if "print_table" in names:
                first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
                found.append((node.name, first, node.end_lineno or 0))
    return found


def test_in_a_pipe_a_table_is_as_wide_as_it_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["eval", "mnist1d", "--policy", "cascade"]) == 0
    said = capsys.readouterr().out
    assert format_policy(load("mnist1d").policy) in said and "neuron updates" in said and "not shown" not in said
    assert not any(line.endswith(" ") for line in said.splitlines())
    columns, rows = [f"column {k}" for k in range(60)], [[f"{k:,}" for k in range(10**6, 10**6 + 60)]]
    table.print_table("wide", columns, rows)
    assert "1,000,059" in capsys.readouterr().out


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_columns_go_in_the_order_that_a_table_says(width: int) -> None:
    columns, rows = ["name", "first to go", "second", "kept"], [["x" * 30, "1,234,567", "7", "123,456"]]
    shown, widths = table.fitted(columns, rows, 1, ["first to go", "second"], width)
    assert shown[0] == 0 and sum(widths) + table.GAP * (len(shown) - 1) + table.EDGE <= max(width, 28)
    gone = [columns[k] for k in range(4) if k not in shown]
    assert gone == ["first to go", "second", "kept"][: len(gone)] or set(gone) == {"first to go", "second", "kept"}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("inspect mni", ["mnist1d"]),
        ("inspect ti", ["tiny.sne"]),
        ("eval mnist1d --data fas", ["fashion-mnist"]),
        ("train --data sma", ["small.npz"]),
        ("export mnist1d --target cortex-m3", ["cortex-m3", "cortex-m33"]),
        ("build mnist1d --board mps2-an5", ["mps2-an500", "mps2-an505"]),
        ("bench mnist1d --on qemu:mps3", ["qemu:mps3-an547"]),
        ("quantize n", ["net.py"]),
        ("train --scheme disen", ["disentangled", "disentangled-tuned"]),
        ("study ba", ["baselines"]),
        ("comp", ["compare"]),
    ],
)
def test_a_shell_completes_models_data_sets_boards_and_targets_soon_and_without_torch(
    words: str, offered: list[str], place: Path
) -> None:
    code = "import sys, atexit\natexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
    code += "from sne_edge.cli import main; main()"
    asked = {"_SNE_EDGE_COMPLETE": "complete_bash", "COMP_WORDS": f"sne-edge {words}"}
    environment = os.environ | asked | {"COMP_CWORD": str(len(words.split()))}
    started = time.monotonic()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=place,
                          check=False, timeout=60)  # fmt: skip
    assert done.stdout.split() == offered, done.stderr
    assert done.stderr.strip() == "False"
    assert time.monotonic() - started < 5


def test_what_is_offered_is_what_there_is() -> None:
    from sne_edge.learn.executor import check_executor
    from sne_edge.learn.partition import SCHEMES
    from sne_edge.study.studies import STUDIES

    assert sorted(complete.SCHEMES) == sorted(SCHEMES) and set(complete.STUDIES) == set(STUDIES)
    check_executor(complete.EXECUTORS[0])


def test_every_option_that_names_something_completes_it() -> None:
    """A model, data set, board, target or place that an option takes is offered."""
    named = {"model", "models", "data", "target", "board", "on", "network", "scheme", "policy"}
    group = typer.main.get_command(sne_edge.cli.app)
    seen, silent = 0, []
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        for parameter in command.params:
            if parameter.name in named and not (
                name in ("calibrate", "ensemble", "export") and parameter.name == "policy"
            ):
                seen += 1
                if parameter._custom_shell_complete is None:
                    silent.append((name, parameter.name))
    assert seen > 30 and not silent


def test_data_is_data_everywhere_and_dataset_still_means_it(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any):
    group = typer.main.get_command(sne_edge.cli.app)
    options = {option for command in group.commands.values() for p in command.params for option in p.opts}  # type: ignore[attr-defined]
    assert "--data" in options and "--dataset" not in options
    monkeypatch.chdir(place)
    assert run(["eval", "tiny.sne", "--dataset", "tiny.npz", "--other-data", "--json"]) == 0
    old = capsys.readouterr().out
    assert run(["eval", "tiny.sne", "--data", "tiny.npz", "--other-data", "--json"]) == 0
    assert capsys.readouterr().out == old


WRITING = [  # lines that write a file, and the file
    ("plot mnist1d -o there.png", "there.png"),
    ("card mnist1d -o there.md", "there.md"),
    ("report mnist1d -o there.html", "there.html"),
    ("train -o there.sne --data small.npz", "there.sne"),
    ("train -o new.sne --data small.npz", "new.toml"),
    ("train -o new.sne --data small.npz", "new.csv"),
    ("quantize net.py:net -o there.sne --data small.npz --timesteps 2", "there.sne"),
    ("calibrate tiny.sne -o there.sne --data tiny.npz", "there.sne"),
    ("ensemble tiny.sne tiny.sne -o there.sne --data tiny.npz", "there.sne"),
    *(("search -o new.sne --target cortex-m4 --data small.npz", f"new{end}") for end in (".md", ".png", ".toml")),
    *(("study cascade -o folder --data small.npz", f"folder/cascade-small{end}") for end in (".md", ".json", ".png")),
    ("compare net.py:net tiny.sne --data small.npz --plot there.png", "there.png"),
    ("bench mnist1d --on qemu:mps2-an386 --csv there.csv", "there.csv"),
    ("bench mnist1d --on qemu:mps2-an386 --trace there.txt", "there.txt"),
    ("verify mnist1d --on host --trace there.txt", "there.txt"),
    ("export mnist1d -o folder", "folder/mine.c"),
    ("export mnist1d --format onnx -o there.onnx", "there.onnx"),
    ("export mnist1d --format nir --part student:0 -o there.nir", "there.nir"),
]


@pytest.mark.parametrize(("line", "name"), WRITING)
def test_nothing_overwrites_a_file_unasked(
    line: str, name: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sne_edge.study import search_journal

    monkeypatch.setattr(search_journal, "check_optuna", lambda: None)
    monkeypatch.chdir(place)
    monkeypatch.setattr("sne_edge.data.dataset.load_dataset", _begun)
    path = place / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("precious")
    try:
        assert run(line.split()) == 1
        error = capsys.readouterr().err.splitlines()[-2:]
        assert "is there already" in error[0] and "--force" in error[1], error
        option = next((o for o in ("--plot", "--csv", "--trace") if f"{o} " in line), "-o")
        assert option == "-o" or error[1].endswith(f"another name with {option}"), error
        assert path.read_text() == "precious"
    finally:
        path.unlink()
    assert "--force" in {o for c in _commands(line.split()[0]).params for o in c.opts}


def _commands(name: str) -> Any:
    return typer.main.get_command(sne_edge.cli.app).commands[name]  # type: ignore[attr-defined]


class Begun(Exception):
    """Data was loaded, C compiled or firmware built."""


def _begun(*arguments: Any, **options: Any) -> Any:
    raise Begun


WRONG = [
    *(f"eval mnist1d --data mnist1d --policy {p}" for p in ("most", "first:9", "routed:1")),
    "eval mnist1d --data mnist1d --energy --policy cascade+early",
    "inspect mnist1d --policy all",
    "inspect mnist1d --policy all --target m99",
    "plot mnist1d -o picture.jpg",
    "compare net.py:net tiny.sne --data small.npz --plot picture.svg",
    *(f"bench mnist1d --data mnist1d --policy {p}" for p in ("most", "mask:0")),
    "bench mnist1d --data mnist1d --on qemu:nothing",
    "verify mnist1d --data mnist1d --on qemu:nothing",
    "verify mnist1d --data mnist1d --on nowhere",
    "verify mnist1d --data mnist1d --on host --trace no/such\0/file",
    *(f"calibrate mnist1d -o made.sne --data mnist1d {o}" for o in (
        "--policy first", "--early late", "--max-drop -1", "--max-drop nan", "--target-ops -5", "--window 4",
        "--decode-leak 0.5", "--max-false-alarms 0.1", "--max-false-alarms 7 --unknown tiny.npz")),
    *(f"ensemble tiny.sne tiny.sne -o made.sne --data tiny.npz {o}" for o in (
        "--policy first", "--early late", "--max-drop nan", "--target-ops -5", "--name Up")),
    *(f"quantize net.py:net -o made.sne --data small.npz --timesteps 2 {o}" for o in (
        "--encoder fast", "--bits 5", "--decode best", "--warn-below nan", "--fail-below 2", "--reset never",
        "--input-range widest", "--decode-leak 7", "--scale -1", "--scale nan", "--layout XYZ", "--window 0")),
    *(f"train -o made.sne --data small.npz {o}" for o in (
        "--scheme best", "--bits 5", "--executor threads", "--channels 8", "--budget nan", "--teacher huge",
        "--layout XYZ", "--name Up", "--features x", "--seed 2147483648", "--max-drop 100", "--early late")),
    *(f"study ensemble -o made --data small.npz {o}" for o in (
        "--seeds x", "--schemes best", "--executor threads", "--budget nan")),
    *(f"search -o made.sne --data small.npz --target cortex-m4 --max-ram 8K {o}" for o in (
        "--max-flash much", "--scheme best", "--teacher huge", "--target m99", "--name Up", "--layout XYZ")),
    *(f"compare net.py:net tiny.sne --data small.npz {o}" for o in (
        "--decode best", "--fail-below 2", "--reset no", "--layout XYZ")),
    *(f"card mnist1d --data mnist1d --on {b}" for b in ("nothing", "/dev/null")),
    *(f"report mnist1d --data mnist1d {o}" for o in ("--on qemu:nothing", "--on nowhere")),
]  # fmt: skip


@pytest.mark.parametrize("line", WRONG)
def test_arguments_are_checked_before_work_begins(
    line: str, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from sne_edge.study import search_journal

    monkeypatch.setattr(search_journal, "check_optuna", lambda: None)
    monkeypatch.chdir(place)
    monkeypatch.setenv("SNE_EDGE_TRACEBACK", "1")
    for name in ("data.dataset.divide", "data.values.load_values", "deploy.library.build_library"):
        monkeypatch.setattr(f"sne_edge.{name}", _begun)
    monkeypatch.setattr("sne_edge.data.dataset.npz", _begun)
    before = sorted(place.iterdir())
    assert run(line.split(" ")) in (1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert [text.partition(":")[0] for text in lines] == ["error", "hint"]
    assert sorted(place.iterdir()) == before


def test_doctor_knows_every_package_of_every_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import tomllib

    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = list(project["dependencies"])
    lines += [f'{need}; extra == "{extra}"' for extra, needs in extras.items() for need in needs]
    monkeypatch.setattr(doctor.metadata, "requires", lambda name: lines)
    found = {finding.what: finding for finding in doctor.examine()}
    assert set(extras) - set(doctor.NOT_FOR_USE) <= set(doctor.NEEDS)
    for extra, needs in extras.items():
        for need in needs:
            name = re.match(r"[\w.-]+", need)
            assert name is not None and (extra in doctor.NOT_FOR_USE or name[0] in found)
    assert found["optuna"].hint == "pip install 'sne-edge[search]'" and found["cc"].need


def test_progress_says_what_is_left_on_a_terminal_and_is_quiet_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with output.bars(brief=True) as told:
        told("evaluating", 1, 2, "")
    assert capsys.readouterr().err == ""
    with output.bars() as told:
        for done in range(1, 101):
            told("student 1", done, 100, "loss 1")
    assert len(capsys.readouterr().err.splitlines()) == 10
    terminal = Terminal(100)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with output.bars() as told:
        for done in range(1, 4):
            told("student 1", done, 100, f"loss {done}")
            time.sleep(0.15)
    assert re.search(r"student 1 .*3/100 .* left \d:\d\d:\d\d", terminal.said()), terminal.said()


def test_every_command_says_what_it_is_for_in_one_whole_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    said = capsys.readouterr().out
    group = typer.main.get_command(sne_edge.cli.app)
    assert len(group.commands) > 20  # type: ignore[attr-defined]
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        assert command.short_help and f"  {name:<9}  {command.short_help}\n" in said, name
    assert "First steps: " in said
