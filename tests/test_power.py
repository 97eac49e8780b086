"""Energy of inferences from traces whose answer is known, as monitors write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from sne_edge.cli import run
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.bench import Counted, Plan, plan
from sne_edge.link.journal import Journal
from sne_edge.link.power import energies, highs, integrate, join, read_trace, summary

VOLTS, REST, BUSY = 3.0, 0.002, (0.020, 0.030)  # amperes; of pulses in turn
STEP = 0.0005


def recording(pulses: int = 4, start: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, currents and the pin: 20 ms at rest, 10 ms busy, in turn."""
    time = start + np.arange(0, pulses * 0.03 + 0.02, STEP)
    phase = (time - start + STEP / 4) % 0.03
    pin = (phase >= 0.02) & (time - start < pulses * 0.03 - STEP / 4)
    number = ((time - start + STEP / 4) / 0.03).astype(int)
    return time, np.where(pin, np.take(BUSY, number % 2), REST), pin


def joulescope(time: np.ndarray, current: np.ndarray, pin: np.ndarray) -> str:
    lines = (f"{t:.6f},{i:.6f},{VOLTS},{i * VOLTS:.7f},{int(p)}" for t, i, p in zip(time, current, pin, strict=True))
    return "#time,current,voltage,power,gpi0\n" + "\n".join(lines)


def otii(time: np.ndarray, current: np.ndarray, pin: np.ndarray) -> str:
    lines = (f"{t:.6f};{i:.6f};{VOLTS};{int(p)}" for t, i, p in zip(time, current, pin, strict=True))
    return "Timestamp (s);Main Current (A);Main Voltage (V);GPI1\n" + "\n".join(lines)


def ppk2(time: np.ndarray, current: np.ndarray, pin: np.ndarray) -> str:
    lines = (f"{t * 1e3:.4f},{i * 1e6:.3f},00{int(p)}00100" for t, i, p in zip(time, current, pin, strict=True))
    return "\ufeffTimestamp(ms),Current(uA),D0-D7\n" + "\n".join(lines)


def oscilloscope(time: np.ndarray, current: np.ndarray, pin: np.ndarray) -> str:
    lines = (f"{t:.6f}\t{i * VOLTS * 1e3:.6f}\t{3.3 * p:.2f}" for t, i, p in zip(time, current, pin, strict=True))
    return "Time [s]\tPower [mW]\tTrigger [V]\n" + "\n".join(lines)


def counted(number: int, start: float = 0.0, runs: int = 1) -> Counted:
    begin = start + number * 0.03
    return Counted(runs, 1000 * runs, "cycles", 0, begin + 0.0001, begin + 0.0302)


@pytest.mark.parametrize("kind", [joulescope, otii, ppk2, oscilloscope])
def test_every_monitors_file_gives_the_energy_that_was_put_into_it(kind: Callable[..., str], tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(kind(*recording()), encoding="utf-8")
    trace = read_trace(path, VOLTS if kind is ppk2 else None)
    pulses = join(trace, [counted(n, runs=5) for n in range(4)])
    expected = np.array([20e-3, 30e-3, 20e-3, 30e-3]) * VOLTS * 0.01 / 5
    assert pulses.by == "pin" and pulses.whole == pytest.approx(expected, rel=1e-9)
    assert pulses.above == pytest.approx(expected - REST * VOLTS * 0.01 / 5, rel=1e-9) and pulses.rest == pytest.approx(
        0.006
    )
    all_of_them = summary(pulses, range(4))
    assert all_of_them.mean == pytest.approx(150.0) and all_of_them.spread == pytest.approx(expected.std(ddof=1) * 1e6)
    assert (all_of_them.least, all_of_them.most) == (pytest.approx(120.0), pytest.approx(180.0))


def test_without_the_pin_the_clock_finds_what_comes_above_rest(tmp_path: Path) -> None:
    start = 1.7e9
    time, current, _ = recording(start=start)
    path = tmp_path / "trace.csv"
    dates = (datetime.fromtimestamp(t, timezone.utc).isoformat() for t in time)
    path.write_text(
        "time,current,voltage\n" + "\n".join(f"{d},{i},{VOLTS}" for d, i in zip(dates, current, strict=True))
    )
    pulses = join(read_trace(path), [counted(n, start) for n in range(4)])
    expected = (np.array([20e-3, 30e-3, 20e-3, 30e-3]) - REST) * VOLTS * 0.01
    assert pulses.by == "clock" and pulses.above == pytest.approx(expected, rel=1e-4)
    assert summary(pulses, [0]).spread is None
    with pytest.raises(SneError, match="does not cover"):
        join(read_trace(path), [counted(n, start - 1) for n in range(4)])
    relative = replace(read_trace(path), absolute=False)
    with pytest.raises(SneError, match="no column of the pin"):
        join(relative, [counted(0, start)])


def test_policies_are_told_apart_by_the_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(joulescope(*recording()))
    found = {(5, 0): counted(0), (5, 1): counted(1), (9, 0): counted(2), (9, 1): counted(3)}
    one, two = energies(read_trace(path), dict(reversed(found.items())), 2)
    assert (one.mean, two.mean) == (pytest.approx(600.0), pytest.approx(900.0)) and one.spread == pytest.approx(
        0, abs=1e-6
    )


def test_a_pin_that_is_high_at_an_end_is_no_whole_pulse() -> None:
    pin = np.array([1, 1, 0, 1, 1, 0, 0, 1, 0, 1], bool)
    assert highs(pin) == [(3, 5), (7, 8)]
    assert highs(np.ones(4, bool)) == highs(np.zeros(4, bool)) == []


def test_integrals_take_parts_of_samples(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text("time,power\n0,1\n1,2\n3,4\n")
    trace = read_trace(path)
    assert integrate(trace, 0, 5) == 1 + 2 * 2 + 4 * 2
    assert integrate(trace, 0.5, 2) == 0.5 + 2 and integrate(trace, -9, 0.25) == 0.25 and integrate(trace, 7, 9) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column of time"),
        ("a,b\n1,2\n3,4\n", "no column of time"),
        ("time,volume\n1,2\n3,4\n", "neither a column of current nor of power"),
        ("time,current\n1,2\n3,4\n", "no column of voltage"),
        ("time,power\n1,2\n", "1 samples"),
        ("time,power\n1,2\n1,4\n", "do not ascend"),
        ("time,power\n1,2\n2,x\n", "line 3 holds no number"),
        ("time,power\n1,2\n2\n", "line 3 holds no number"),
        ("time,power\n1,2\n2,nan\n", "line 3 holds NaN"),
        ("time,power (horses)\n1,2\n2,3\n", "unit of 'power (horses)'"),
        ("time,power,D0-D7\n1,2,00000000\n2,3,11000000\n", "several digital inputs"),
        ("time,power\nyesterday,2\ntoday,3\n", "neither numbers nor dates"),
    ],
)
def test_what_is_no_trace_is_refused_by_what_is_wrong(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(text)
    with pytest.raises(SneError) as caught:
        read_trace(path)
    assert message in caught.value.message
    with pytest.raises(SneError, match=r"no column 'D9'|no column of time|samples"):
        read_trace(path, column="D9")


def test_other_numbers_of_pulses_than_were_made_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "trace.csv"
    path.write_text(joulescope(*recording()))
    with pytest.raises(SneError, match="high 4 times in the trace, and there were 3 pulses"):
        join(read_trace(path), [counted(n) for n in range(3)])


def test_the_command_joins_what_was_measured_with_a_trace(
    tiny: QuantEnsemble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, kept, csv = tmp_path / "tiny.sne", tmp_path / "kept.jsonl", tmp_path / "trace.csv"
    save(tiny, model)
    what: Plan = plan(
        HostModel(tiny), tiny.vectors.inputs, tiny.vectors.labels, [ActivationPolicy("all")], 4, pause=20, repeat=10
    )
    words = ["bench", str(model), "--on", "/dev/ttyGONE", "--policy", "all", "--trigger", "20", "--repeat", "10"]
    words += ["--resume", str(kept), "--energy", str(csv)]
    csv.write_text(joulescope(*recording()))
    assert run(words) == 1 and "lacks 4 counts of /dev/ttyGONE" in capsys.readouterr().err
    with Journal(kept, fingerprint(tiny), what) as journal:
        for number, (sample, index) in enumerate(what.jobs()):
            journal.keep("/dev/ttyGONE", sample, index, counted(number, runs=10))
    assert run([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["energy"][0]["mean"] == pytest.approx(75.0) and report["energy"][0]["pulses"] == 4
    assert report["rows"][0]["count_mean"] == 1000 and report["device"] is None
    assert run(words) == 0
    assert "75.000" in capsys.readouterr().out
