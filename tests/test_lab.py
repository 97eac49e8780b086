"""Measurements over the line: several devices at once, kept and gone on with; a pin, speeds, early stops, layers."""

from __future__ import annotations

import errno
import json
import os
import random
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from conftest import Build
from debugger import debugged, symbol
from graph_strategies import random_graph_ensemble
from models import tiny_ensemble
from strategies import random_inputs

from sne_edge.cli import run
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.artifact import save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.bench import Plan, plan, rows
from sne_edge.link.connect import connect
from sne_edge.link.device import Device
from sne_edge.link.journal import Journal
from sne_edge.link.layers import layer_rows
from sne_edge.link.replies import BenchResult, Pulse
from sne_edge.link.several import count_all
from sne_edge.link.transport import SocketLine
from sne_edge.quantize.early import exact_table, with_table

ALL = ActivationPolicy("all")


class Fake:
    """A device that counts 1,000 and the number of bytes that it was given, until `fails` runs are over."""

    counter = "instructions"

    def __init__(self, fails: int | None = None, flash_used: int = 7, wait: threading.Barrier | None = None) -> None:
        self.runs, self.loads, self._fails, self._flash, self._wait = 0, 0, fails, flash_used, wait

    def load(self, data: bytes) -> None:
        self.loads += 1
        self._sum = sum(data)

    def _run(self) -> int:
        if self._wait:
            self._wait.wait(10)  # only where the others run at the same time does it go on
        if self.runs == self._fails:
            raise SneError("it went away", "plug it in")
        self.runs += 1
        return 1000 + self._sum

    def bench(self, n: int, policy: ActivationPolicy | None) -> BenchResult:
        count = self._run()
        return BenchResult(n, n * count, count, count, 0, "instructions", 300, 400)

    def pulse(self, pause: int, runs: int, policy: ActivationPolicy | None) -> Pulse:
        return Pulse(runs, runs * self._run(), time.time(), time.time())

    def image(self) -> tuple[int, int]:
        return self._flash, 1

    def info(self) -> Any:
        class Info:
            board, fingerprint, flash_used = "fake", "f", 7

        return Info


@pytest.fixture(scope="module")
def host(tiny: QuantEnsemble) -> HostModel:
    return HostModel(tiny)


@pytest.fixture(scope="module")
def what(tiny: QuantEnsemble, host: HostModel) -> Plan:
    return plan(host, tiny.vectors.inputs, tiny.vectors.labels, [ALL, tiny.policy], 3)


def test_several_devices_are_measured_at_the_same_time(what: Plan) -> None:
    together = threading.Barrier(3)
    outcomes = count_all(what, {f"port{n}": Fake(wait=together) for n in range(3)})  # type: ignore[misc]
    assert all(outcome.error is None and len(outcome.found) == 6 for outcome in outcomes.values())
    assert [row.counts for row in rows(what, outcomes["port0"].found)] == [
        tuple(1000 + int(what.inputs[n].sum()) for n in sorted(numbers.tolist())) for numbers in what.chosen
    ]


def test_one_that_fails_does_not_end_the_others(what: Plan) -> None:
    outcomes = count_all(what, {"good": Fake(), "bad": Fake(fails=2)})  # type: ignore[dict-item]
    assert outcomes["good"].error is None and len(outcomes["good"].found) == 6
    assert outcomes["bad"].error is not None and len(outcomes["bad"].found) == 2


def test_a_measurement_goes_on_from_what_was_kept(what: Plan, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with Journal(path, "model", what) as journal:
        assert count_all(what, {"port": Fake(fails=4)}, journal)["port"].error is not None  # type: ignore[dict-item]
    with path.open("ab") as file:
        file.write(b'{"on": "port", "input": 3, "pol')  # killed while it wrote
    rest = Fake()
    with Journal(path, "model", what) as journal:
        outcome = count_all(what, {"port": rest}, journal)["port"]  # type: ignore[dict-item]
    assert rest.runs == 2 and outcome.error is None
    whole = Fake()
    assert rows(what, outcome.found) == rows(what, count_all(what, {"x": whole})["x"].found)  # type: ignore[dict-item]
    with Journal(path, "model", what) as journal:
        again = Fake(fails=0)
        assert count_all(what, {"port": again}, journal)["port"].error is None  # type: ignore[dict-item]
        assert again.loads == 0


def test_a_journal_that_could_not_be_begun_is_not_there(
    what: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(number: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("sne_edge.link.journal.os.fsync", full)
    with pytest.raises(SneError, match="No space left"):
        Journal(tmp_path / "new", "model", what)
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_measurement_or_firmware_is_refused(what: Plan, tmp_path: Path) -> None:
    path = tmp_path / "kept.jsonl"
    with Journal(path, "model", what) as journal:
        count_all(what, {"port": Fake()}, journal)  # type: ignore[dict-item]
    before = path.read_bytes()
    with pytest.raises(SneError, match="its model differ"):
        Journal(path, "other", what)
    with pytest.raises(SneError, match="its repeat differ"):
        Journal(path, "model", _with(what, repeat=2))
    shorter = [msgspec.structs.replace(policy, timesteps=1) for policy in what.policies]
    with pytest.raises(SneError, match="its policies differ"):  # though their words do not
        Journal(path, "model", _with(what, policies=shorter))
    with Journal(path, "model", what) as journal, pytest.raises(SneError, match="other firmware"):
        count_all(what, {"port": Fake(flash_used=8)}, journal)  # type: ignore[dict-item]
    assert path.read_bytes() == before
    for content in (
        b"hello\n",
        b"{}\n",
        b'{"format": 3}\n',
        b"[]\n",
        before + b'{"on": "port", "runs": 0}\n',
        b"[" * 10**5 + b"\n",
    ):
        path.write_bytes(content)
        with pytest.raises(SneError, match="is no measurement"):
            Journal(path, "model", what)
        assert path.read_bytes() == content


def _with(what: Plan, **changes: Any) -> Plan:
    from dataclasses import replace

    return replace(what, **changes)


def test_the_command_measures_two_boards_at_once_and_resumes(
    tiny: QuantEnsemble, tmp_path: Path, capsys: pytest.CaptureFixture[str], require_tool: Callable[..., None]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    model, kept, log = tmp_path / "tiny.sne", tmp_path / "kept.jsonl", tmp_path / "frames.txt"
    save(tiny, model)
    words = [
        "bench",
        str(model),
        "--port",
        "qemu:microbit",
        "--on",
        "qemu:mps2-an386",
        "--samples",
        "2",
        "--policy",
        "all",
    ]
    words += ["--resume", str(kept), "--csv", str(tmp_path / "counts.csv"), "--json"]
    assert run([*words, "--trace", str(log)]) == 0
    first = json.loads(capsys.readouterr().out)
    assert [report["on"] for report in first] == ["qemu:microbit", "qemu:mps2-an386"]
    assert len(kept.read_text().splitlines()) == 1 + 2 + 4
    assert all(report["program"]["bytes"] == report["firmware"]["flash_bytes"] for report in first)
    assert first[0]["program"]["crc32"] != first[1]["program"]["crc32"]
    text = log.read_text()
    assert "qemu:microbit -> BENCH" in text and "qemu:mps2-an386 <- BENCH" in text
    lines = (tmp_path / "counts.csv").read_text().splitlines()
    assert len(lines) == 5 and {line.split(",")[0] for line in lines[1:]} == {"qemu:microbit", "qemu:mps2-an386"}
    words.remove("--on"), words.remove("qemu:mps2-an386")
    assert run([*words, "--trace", str(log)]) == 0
    assert json.loads(capsys.readouterr().out)["rows"] == first[0]["rows"]
    assert "IMAGE" in log.read_text() and "BENCH" not in log.read_text()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--on /dev/no-such-port --on qemu:microbit", "/dev/no-such-port"),
        ("--on qemu:microbit --on qemu:nothing", "no board 'nothing'"),
        ("--on socket://a:1 --on socket://a:1", "named twice"),
        ("--on qemu:microbit --on qemu:microbit", "named twice"),
        ("--volts 3", "are of --energy"),
        ("--energy x.csv", "what was measured before"),
        ("--energy x.csv --trigger 5 --resume r --on a:b --on a:c", "of one board"),
        ("--energy nothing.csv --trigger 5 --resume r", "cannot read nothing.csv"),
    ],
)
def test_options_that_do_not_go_together_are_said_before_anything_compiles(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sne_edge.deploy.library.compiler", lambda: pytest.fail("something was compiled"))
    assert run(["bench", "mnist1d", *words.split()]) == 1
    assert message in capsys.readouterr().err and not list(tmp_path.iterdir())


def test_the_pin_is_high_while_an_inference_runs_and_low_otherwise(tiny: QuantEnsemble, firmware: Build) -> None:
    board, image = resolve_board("mps2-an386"), firmware(tiny, "mps2-an386").elf
    level, pin, ran = (symbol(image, name) for name in ("trigger_level", "trigger_set", "sne_run"))
    with debugged(board, image) as (qemu, machine):
        machine.go()
        with Device(SocketLine(qemu.line), "it") as device:
            machine.halt()
            assert machine.word(level) == 0
            machine.stop_at(pin)
            machine.stop_at(ran)
            seen: list[str] = []

            def watch() -> None:
                while seen.count("low") < 2:
                    registers = machine.run_on()
                    at_pin = registers[15] == pin & ~1
                    seen.append(("high" if registers[1] else "low") if at_pin else f"run at {machine.word(level)}")
                machine.go()

            thread = threading.Thread(target=watch)
            thread.start()
            device.pulse(1, 2, ALL)
            device.pulse(0, 1, ALL)
            thread.join()
            assert seen == ["high", "run at 1", "run at 1", "low", "high", "run at 1", "low"]


def test_a_real_pin_is_driven_where_the_board_has_one(tiny: QuantEnsemble, firmware: Build) -> None:
    board, image = resolve_board("microbit"), firmware(tiny, "microbit").elf
    out, direction = 0x50000504, 0x50000514
    with debugged(board, image) as (qemu, machine):
        machine.go()
        with Device(SocketLine(qemu.line), "it") as device:
            machine.halt()
            assert machine.word(direction) >> 3 & 1 and not machine.word(out) >> 3 & 1
            machine.stop_at(symbol(image, "sne_run"))
            thread = threading.Thread(target=lambda: device.pulse(0, 1, ALL))
            machine.go()
            thread.start()
            machine.answer()
            assert machine.word(out) >> 3 & 1
            machine.go()
            thread.join()
            machine.halt()
            assert not machine.word(out) >> 3 & 1


def test_a_pause_comes_before_the_pulse(tiny: QuantEnsemble, firmware: Build) -> None:
    with Device.open("qemu:mps2-an386", firmware(tiny, "mps2-an386").elf) as device:
        device.load(tiny.vectors.inputs[0].tobytes())
        pulse = device.pulse(150)
        assert 0.1 < pulse.ended - pulse.started < 5
        assert device.pulse(0, 3, ALL).count == 3 * device.bench(1, ALL).total
        with pytest.raises(SneError, match="cannot run"):
            device.pulse(10_001)


def test_a_speed_is_asked_for_confirmed_and_given_up_where_nobody_is_heard(
    tiny: QuantEnsemble, firmware: Build
) -> None:
    board, image = resolve_board("mps2-an386"), firmware(tiny, "mps2-an386").elf

    class Line(SocketLine):
        deaf = 0

        def set_rate(self, baud: int) -> None:
            self.lost = baud == self.deaf

        lost = False

        def write(self, data: bytes, timeout: float) -> None:
            if not self.lost:
                super().write(data, timeout)

    with debugged(board, image) as (qemu, machine):
        line = Line(qemu.line)

        def rate() -> int:
            machine.halt()
            divisor = machine.word(board.uart.base + 0x10)  # BAUDDIV
            machine.go()
            return divisor

        usual = board.uart.clock_hz // 115200
        machine.go()
        device = Device(line, "it")
        assert device.change_rate(57600) and device.rate == 57600 and rate() == board.uart.clock_hz // 57600
        assert device.run_vector(0).matches
        for _ in range(3):  # what another speed looks like
            line.write(b"\0\x05ab\0", 1)
        assert device.run_vector(1).matches and rate() == usual
        device._baud = 115200
        line.deaf = 230400
        assert not device.change_rate(230400)
        assert device.rate == 115200 and rate() == usual and device.run_vector(0).matches
        with pytest.raises(SneError, match="cannot have that rate"):
            device.change_rate(5_000_000)
        assert device.change_rate(57600)
        device.close()  # as it was found
        time.sleep(0.3)
        assert rate() == usual


def test_a_board_reads_its_own_program_and_takes_another_speed(tiny: QuantEnsemble, firmware: Build) -> None:
    for board in ("microbit", "mps2-an386", "riscv32-virt"):
        built = firmware(tiny, board)
        with Device.open(f"qemu:{board}", built.elf, rate=57600) as device:
            binary = built.binary.read_bytes()
            assert device.image() == (len(binary), zlib.crc32(binary)) and len(binary) == built.flash_bytes
            assert device.rate == 57600 and device.run_vector(0).matches
            with pytest.raises(SneError, match="cannot have that rate"):
                device.change_rate(77_000_000)


def test_early_stops_of_a_policy_travel(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("cc")
    plain = tiny_ensemble(seed=4)
    early = with_table(plain, exact_table(plain))
    tables = [(0,) * 6, (40,) * 6, (2**31 - 1,) * 6, (2**31 - 1, 0) * 3]
    stops = set()
    with Device.open("host", export(early, "host", tmp_path / "early")) as device:
        for table in tables:
            policy = msgspec.structs.replace(early.policy, margins=(500, 500), early=table)
            batch = HostModel(early).run(early.vectors.inputs, policy)
            for number, sample in enumerate(early.vectors.inputs):
                device.load(sample.tobytes())
                ran = device.run(policy)
                assert list(ran.logits) == batch.logits[number].tolist()
                assert (ran.label, ran.synaptic_ops) == (batch.label[number], batch.synaptic_ops[number])
                stops.add(ran.stop)
        with pytest.raises(SneError, match="SNE_E_POLICY"):
            device.run(msgspec.structs.replace(early.policy, margins=(500, 500), early=(1,) * 5))
    assert "early" in stops and len(stops) > 1


def test_layers_are_counted_and_sum_up_to_the_inference(tiny: QuantEnsemble, firmware: Build) -> None:
    inputs = tiny.vectors.inputs[:2]
    with Device.open("qemu:mps2-an386", firmware(tiny, "mps2-an386", "SNE_PROFILE").elf) as device:
        found = layer_rows(tiny, device, inputs)
        alone = [ActivationPolicy("mask", mask=1 << student) for student in range(3)]
        totals = np.zeros(3)
        for sample in inputs:
            device.load(sample.tobytes())
            totals += [device.bench(1, policy).total / 2 for policy in alone]
    assert [(row.student, row.layer) for row in found] == [(s, n) for s in range(3) for n in (0, 1, 2, None)]
    spikes = HostModel(tiny).run(inputs, ALL).spikes.mean(0)
    assert [row.spikes for row in found if row.spikes is not None] == spikes.tolist()
    for student in range(3):
        of = [row for row in found if row.student == student]
        assert sum(row.count for row in of) == totals[student] and sum(row.share for row in of) == pytest.approx(1)
        assert of[0].count > of[2].count > 0 and of[3].count < 0.2 * totals[student]
    plain = Device.open("qemu:mps2-an386", firmware(tiny, "mps2-an386").elf)
    with plain, pytest.raises(SneError, match="SNE_E_NO_PROFILE"):
        plain.profile()


def test_populations_of_a_graph_are_counted_like_layers(require_tool: Callable[..., None]) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    rng = random.Random(2)
    ensemble = random_graph_ensemble(rng, kind="direct", students=2)
    graphs = [isinstance(student.graph, Graph) for student in ensemble.students]
    assert any(graphs) and not all(graphs)
    with connect(ensemble, "qemu:mps2-an386", profile=True) as (device, _):
        found = layer_rows(ensemble, device, random_inputs(rng, ensemble, 1))
    for student, is_graph in enumerate(graphs):
        of = [row for row in found if row.student == student and row.layer is not None]
        assert {row.calls for row in of} == {ensemble.encoder.timesteps + 1.0 if is_graph else 1.0}
        assert all(row.count > 0 for row in of)


def test_counting_layers_changes_no_other_count(tiny: QuantEnsemble, firmware: Build) -> None:
    counts = []
    for definitions in ((), ("SNE_PROFILE",)):
        with Device.open("qemu:mps2-an386", firmware(tiny, "mps2-an386", *definitions).elf) as device:
            device.load(tiny.vectors.inputs[0].tobytes())
            device.bench(1, ALL)
            counts.append(device.bench(1, ALL).total)
    assert counts[0] < counts[1] < counts[0] * 1.02  # the hooks' own calls, 9 layers
