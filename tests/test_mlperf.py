"""MLPerf Tiny's protocol: firmware on emulated boards and its parser on the host, against a host of the tests' own."""

from __future__ import annotations

import contextlib
import math
import os
import pty
import subprocess
import threading
import tty
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from debugger import debugged, symbol
from hypothesis import given
from hypothesis import strategies as st
from mlperf_client import Client, values
from models import tiny_ensemble
from strategies import examples

from sne_edge.cli import run
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import Firmware, build_firmware, render_mlperf_model
from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.mlperf import Mlperf, Samples
from sne_edge.deploy.targets import quoted, resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.qemu import Qemu
from sne_edge.link.transport import LineError, SocketLine
from sne_edge.resources import FIRMWARE

HERE = Path(__file__).parent
Parser = Callable[..., Client]


@pytest.fixture(scope="module")
def keywords(require_tool: Callable[..., None]) -> QuantEnsemble:
    """A model of the benchmark's keyword spotting's input, 49 x 10, and classes."""
    require_tool("cc")
    return tiny_ensemble(shape=(49, 10, 1), classes=12, hidden=8)


@pytest.fixture(scope="module")
def built(keywords: QuantEnsemble, require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Firmware of `keywords` on a board."""

    def build(board: str, mlperf: Mlperf) -> Firmware:
        tools = resolve_target(resolve_board(board).target).tools
        assert tools is not None
        require_tool(f"{tools.prefix}gcc", tools.emulator)
        folder = tmp_path_factory.mktemp("mlperf")
        directory = export(keywords, resolve_board(board).target, folder / "export")
        return build_firmware(directory, board, folder / "firmware", mlperf=mlperf)

    return build


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Parser:
    """A client of the firmware's parser in this process: `parser(ensemble, mlperf)`."""
    import cffi

    ffi: Any = cffi.FFI()
    ffi.cdef("void mlperf_host_open(uint64_t steepness);")
    ffi.cdef("size_t mlperf_host_exchange(const uint8_t *received, size_t n, uint8_t *answer, size_t capacity);")
    libraries: dict[tuple[str, Mlperf], Any] = {}

    def library(ensemble: QuantEnsemble, mlperf: Mlperf) -> Any:
        folder = tmp_path_factory.mktemp("parser")
        directory = export(ensemble, "host", folder / "export")
        sources = [directory / name for name in read_manifest(directory)["library"]]
        sources += [FIRMWARE / "mlperf.c", HERE / "mlperf_host.c", render_mlperf_model(directory, folder, mlperf)]
        command = [
            "cc",
            "-std=c99",
            "-Og",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-fPIC",
            "-shared",
            "-o",
            str(folder / "parser.so"),
        ]
        subprocess.run([*command, *quoted(directory, FIRMWARE), *map(str, sources)], check=True)
        return ffi.dlopen(str(folder / "parser.so"))

    def make(ensemble: QuantEnsemble, mlperf: Mlperf | None = None, steepness: int = 0) -> Client:
        key = (fingerprint(ensemble), mlperf or Mlperf())
        if key not in libraries:
            libraries[key] = library(ensemble, key[1])
        answer = ffi.new("uint8_t[]", 1 << 20)
        pending = bytearray()

        def send(data: bytes) -> None:
            count = libraries[key].mlperf_host_exchange(data, len(data), answer, 1 << 20)
            pending.extend(bytes(ffi.buffer(answer, count)))

        def receive() -> bytes:
            data = bytes(pending)
            pending.clear()
            return data

        libraries[key].mlperf_host_open(steepness)
        send(b"")
        client = Client(send, receive)
        assert client.lines()[0].startswith("m-timestamp-mode-")
        return client

    return make


@pytest.fixture(scope="module")
def keyword_parser(parser: Parser, keywords: QuantEnsemble) -> Client:
    return parser(keywords)


def probabilities(ensemble: QuantEnsemble, logits: np.ndarray) -> np.ndarray:
    """Softmax of integer logits at their real value."""
    real = (logits - logits.max()) * ensemble.logit_scale
    return np.exp(real) / np.exp(real).sum()


@pytest.mark.parametrize("board", ["microbit", "netduinoplus2", "riscv32-virt"])
def test_a_runner_gets_the_models_own_labels_and_times(board: str, keywords: QuantEnsemble, built: Any) -> None:
    qemu = Qemu(resolve_board(board), built(board, Mlperf()).elf)
    line = SocketLine(qemu.line)
    client = Client(lambda data: line.write(data, 5), lambda: line.read(20))
    try:
        boot = client.lines()
        assert boot[0] == "m-timestamp-mode-performance" and boot[2:] == ["m-init-done"]
        assert client.one("name", r"m-name-dut-\[(.+)\]") == board
        assert client.ask("profile") == ["m-profile-[ULPMark for tinyML Firmware V0.0.1]", "m-model-[kws01]"]
        assert client.ask("help")
        inputs = np.random.default_rng(3).integers(0, 256, (4, 490), dtype=np.uint8)
        batch = HostModel(keywords).run(inputs)
        for sample, label, logits in zip(inputs, batch.label, batch.logits, strict=True):
            client.load(sample.tobytes())
            found = client.infer(3, 1)
            assert (found.warmups, found.runs, len(found.laps), len(found.results)) == (1, 3, 2, 12)
            assert np.argmax(found.results) == label
            assert np.abs(np.array(found.results) - probabilities(keywords, logits)).max() <= 0.0015
            once = client.infer(1, 0)
            ratio = (found.laps[1] - found.laps[0]) / (once.laps[1] - once.laps[0])
            assert 2.9 < ratio < 3.1  # the laps enclose the three alone
            assert values(client.ask("results")[0]) == found.results
            before, after = (int(client.one("timestamp", r"m-lap-us-(\d+)")) for _ in range(2))
            assert found.laps[1] < once.laps[0] < before < after
    finally:
        qemu.close()


def test_in_energy_mode_a_pin_falls_before_and_after_the_inferences_and_no_time_is_printed(
    keywords: QuantEnsemble, built: Any
) -> None:
    board = resolve_board("mps2-an386")
    image = built("mps2-an386", Mlperf(energy=True)).elf
    level, pin, run = (symbol(image, name) for name in ("trigger_level", "trigger_set", "sne_run"))
    with debugged(board, image) as (qemu, machine):
        machine.stop_at(pin)
        machine.stop_at(run)
        seen: list[str] = []
        ended = threading.Event()

        def watch() -> None:
            while not ended.is_set():
                registers = machine.run_on()
                if registers[15] == pin & ~1:
                    seen.append("high" if registers[1] else "low")
                else:
                    seen.append("run" if machine.word(level) else "run while low")

        thread = threading.Thread(target=watch)
        thread.start()
        line = SocketLine(qemu.line)
        client = Client(lambda data: line.write(data, 5), lambda: line.read(20))
        assert client.lines() == ["m-timestamp-mode-energy", "m-init-done"]
        assert seen == ["low", "high"]
        client.load(bytes(490))
        seen.clear()
        assert client.infer(2, 1).laps == ()
        assert seen == ["run", "low", "high", "run", "run", "low", "high"]
        assert client.ask("timestamp") == []
        ended.set()
        line.write(b"timestamp%", 5)
        thread.join()
        assert machine.word(board.uart.base + 0x10) == board.uart.clock_hz // 9600  # BAUDDIV


def test_laps_go_on_beyond_32_bits(parser: Parser, tiny: QuantEnsemble) -> None:
    client = parser(tiny)
    laps = [int(client.one("timestamp", r"m-lap-us-(\d+)")) for _ in range(4)]
    assert laps == sorted(laps) and laps[0] < 2**32 < laps[-1]


@pytest.mark.parametrize(
    ("command", "answer"),
    [
        ("", "e-[Unknown command: ]"),
        ("name\r\n", "e-[Unknown command: name??]"),
        ("Name", "e-[Unknown command: Name]"),
        ("x] m-ready", "e-[Unknown command: x?]"),
        ("db", "e-[Command 'db' requires a subcommand]"),
        ("db load", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 12x", "e-[Command 'db load' requires the # of bytes]"),
        ("db load -1", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 4294967297", "e-[Command 'db load' requires the # of bytes]"),
        ("db load 0", "e-[Command 'db load' must be >0 bytes]"),
        ("db load 33", "e-[Supplied buffer size 33 exceeds maximum of 32]"),
        ("db 00", "e-[Nothing to load: 'db load' announces the # of bytes]"),
        ("infer 0", "e-[Inference iterations must be >0]"),
        ("infer -1", "e-[Inference iterations must be >0]"),
        ("infer 1 -1", "e-[Inference warmup must be >=0]"),
        ("infer 1 0", "e-[Input holds 0 of 32 bytes]"),
        ("results", "e-[No results: nothing has been inferred]"),
        ("x" * 81, "e-[Command longer than 80 characters]"),
        ("n" * 100_000, "e-[Command longer than 80 characters]"),
    ],
)  # fmt: skip
def test_what_is_wrong_draws_one_error_and_changes_nothing(
    command: str, answer: str, parser: Parser, tiny: QuantEnsemble
) -> None:
    client = parser(tiny)
    assert client.ask(command) == [answer]
    assert client.loaded() == b""
    client.load(tiny.vectors.inputs[0].tobytes())
    assert np.argmax(client.infer(1, 0).results) == HostModel(tiny).run(tiny.vectors.inputs[:1]).label[0]


def test_a_chunk_with_a_wrong_digit_is_not_taken_at_all(keyword_parser: Client) -> None:
    assert keyword_parser.ask("db load 4") == ["m-[Expecting 4 bytes]"]
    assert keyword_parser.ask("db 0aF") == ["e-[Insufficent number of hex digits]"]
    assert keyword_parser.ask("db 0a1g") == ["e-[Invalid hex digit '1g']"]
    assert keyword_parser.loaded() == b""
    assert keyword_parser.ask("db 0aFf") == []
    assert keyword_parser.ask("db 0102030405") == ["m-load-done"]  # what is too much is disregarded
    assert keyword_parser.loaded() == bytes.fromhex("0aff0102")
    assert keyword_parser.ask("db 01")[0].startswith("e-[")


def test_defaults_are_one_inference_after_ten_warmups(keyword_parser: Client) -> None:
    keyword_parser.load(bytes(490))
    assert [(found.runs, found.warmups) for found in (keyword_parser.infer(), keyword_parser.infer(2))] == [
        (1, 10),
        (2, 10),
    ]


@pytest.mark.examines(labels=5, close=3)
def test_probabilities_are_rounded_to_thousandths_and_the_label_stands_out(
    parser: Parser, keywords: QuantEnsemble, examined: Counter[str]
) -> None:
    inputs = np.random.default_rng(8).integers(0, 256, (12, 490), dtype=np.uint8)
    batch = HostModel(keywords).run(inputs)
    for scale in (1e-9, 0.0005, keywords.logit_scale, 3.0, 1e6):
        ensemble = msgspec.structs.replace(keywords, logit_scale=scale)
        steep = 0 if scale == keywords.logit_scale else round(min(scale / math.log(2), 32) * 2**40)
        client = parser(keywords, steepness=steep)
        for sample, label, logits in zip(inputs, batch.label, batch.logits, strict=True):
            client.load(sample.tobytes())
            results = np.array(client.infer(1, 0).results)
            assert np.argmax(results) == label
            exact = probabilities(ensemble, logits)
            raised = results[label] - exact[label] > 0.0006  # above others that rounding made as high
            examined["close"] += bool(raised)
            results[label] -= 0.001 * raised
            assert np.abs(results - exact).max() <= 0.0005 + 1e-7
        examined["labels"] += len(set(batch.label.tolist())) > 1


@pytest.mark.parametrize("samples", [Samples("int8", 100), Samples("uint8", 255)])
def test_samples_are_encoded_as_the_model_does(samples: Samples, parser: Parser, tiny: QuantEnsemble) -> None:
    client = parser(tiny, Mlperf(samples=samples))
    data = np.arange(0, 256, 8, dtype=np.uint8)
    encoded = tiny.encoder.encode(data.view(samples.type)[None].astype(np.float64) / samples.divisor)
    client.load(data.tobytes())
    results = client.infer(1, 0).results
    assert client.loaded() == data.tobytes()
    plain = parser(tiny)
    plain.load(encoded[0].tobytes())
    assert plain.infer(1, 0).results == results


def test_a_model_that_computes_numbers_tells_them(parser: Parser, tiny: QuantEnsemble) -> None:
    numbers = msgspec.structs.replace(tiny, task="regression", logit_scale=0.0123, policy=ActivationPolicy("all"))
    client = parser(numbers)
    batch = HostModel(numbers).run(tiny.vectors.inputs)
    for sample, logits in zip(tiny.vectors.inputs, batch.logits, strict=True):
        client.load(sample.tobytes())
        found = client.infer(1, 0).results
        assert np.abs(np.array(found) - logits * 0.0123).max() <= 0.0005 + 1e-9
    assert min(found) < 0


def test_which_benchmark_it_is_shows_in_the_inputs_size_or_is_said(
    parser: Parser, tiny: QuantEnsemble, tiny_events: QuantEnsemble
) -> None:
    assert parser(tiny).ask("profile")[1] == "m-model-[tiny-test]"
    assert Mlperf().context({"identifier": "x", "input_bytes": 3072, "headers": []})["id"] == "ic01"
    assert parser(tiny, Mlperf("vww01")).ask("profile")[1] == "m-model-[vww01]"
    with pytest.raises(SneError, match="cannot be a model's ID"):
        parser(tiny, Mlperf("a]b"))
    with pytest.raises(SneError, match="have no encoder"):
        parser(tiny_events, Mlperf(samples=Samples("int8")))


@pytest.mark.examines(commands=1000, errors=300, inferences=5)
def test_no_command_leaves_the_host_without_an_answer(keyword_parser: Client, examined: Counter[str]) -> None:
    words = st.sampled_from(
        [
            "name",
            "profile",
            "timestamp",
            "db",
            "load",
            "print",
            "infer",
            "results",
            "help",
            "1",
            "0",
            "490",
            "491",
            "-1",
        ]
    )
    text = st.text(st.characters(max_codepoint=255, exclude_characters="%"), max_size=90)
    digits = st.binary(max_size=40).map(bytes.hex)
    command = st.lists(words | digits | text, max_size=4).map(" ".join) | st.just("infer 1 0")

    @examples(300)
    @given(st.lists(command, min_size=1, max_size=8), st.booleans())
    def talk(commands: list[str], loaded: bool) -> None:
        if loaded:
            keyword_parser.load(bytes(490))
        for command in commands:
            lines = keyword_parser.ask(command)
            examined["commands"] += 1
            examined["errors"] += any(line.startswith("e-[") for line in lines)
            examined["inferences"] += "m-infer-done" in lines
        assert len(keyword_parser.loaded()) <= 490

    talk()


@pytest.mark.skipif("MLPERF_TINY" not in os.environ, reason="MLPERF_TINY names no checkout of mlcommons/tiny")
def test_mlcommons_own_runner_drives_it(keywords: QuantEnsemble, built: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(f"{os.environ['MLPERF_TINY']}/benchmark/runner")
    from device_under_test import DUT

    qemu = Qemu(resolve_board("mps2-an386"), built("mps2-an386", Mlperf()).elf)
    line = SocketLine(qemu.line)
    ours, theirs = pty.openpty()
    for end in (ours, theirs):
        tty.setraw(end)
    threading.Thread(
        target=_pump, args=(lambda: os.read(ours, 4096), lambda data: line.write(data, 5)), daemon=True
    ).start()
    threading.Thread(target=_pump, args=(lambda: line.read(60), lambda data: os.write(ours, data)), daemon=True).start()
    inputs = np.random.default_rng(4).integers(0, 256, (3, 490), dtype=np.uint8)
    labels = HostModel(keywords).run(inputs).label
    try:
        with DUT(os.ttyname(theirs), 115200) as device:
            assert (device.get_name(), device.get_model()) == ("mps2-an386", "kws01")
            for sample, label in zip(inputs, labels, strict=True):
                assert device.load(sample.tobytes()) == ["m-load-done", "m-ready"]
                said = device.infer(2, 1)
                assert np.argmax(values(said[-2])) == label and said[-1] == "m-ready"
    finally:
        qemu.close()


def _pump(take: Callable[[], bytes], give: Callable[[bytes], Any]) -> None:
    with contextlib.suppress(LineError, OSError):
        while data := take():
            give(data)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--protocol eembc", "no protocol 'eembc'"),
        ("--mlperf-id kws01", "no meaning for the protocol sne"),
        ("--protocol mlperf --mlperf-bytes int16", "--mlperf-bytes is 'int16'"),
        ("--protocol mlperf --mlperf-bytes uint8/0", "--mlperf-bytes is 'uint8/0'"),
        ("--protocol mlperf --mlperf-id kws%01", "cannot be a model's ID"),
    ],
)
def test_what_cannot_be_built_is_said(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], require_tool: Callable[..., None]
) -> None:
    require_tool("arm-none-eabi-gcc")
    assert run(["build", "mnist1d", "-o", str(tmp_path / "made"), *words.split()]) == 1
    assert message in capsys.readouterr().err and not (tmp_path / "made").exists()


def test_the_command_builds_it(tmp_path: Path, require_tool: Callable[..., None]) -> None:
    require_tool("arm-none-eabi-gcc")
    words = ["build", "mnist1d", "-o", str(tmp_path), "--protocol", "mlperf-energy", "--mlperf-id", "kws01"]
    assert run(words) == 0
    image = (tmp_path / "firmware.bin").read_bytes()
    assert b"kws01\0" in image and b"m-timestamp-mode-energy" in image
