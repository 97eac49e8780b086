"""The command `bench`: what inferences take on devices, one or several at once, and what energy."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import check_output, check_places, default_places, described, encoded_samples, frame_log, load
from .options import Baud, Data, DataDir, Force, Json, Model, OtherData, PolicyOption, Rate, Rtscts, Trace
from .output import print_json, print_table, status, tell

if TYPE_CHECKING:
    from ..deploy.build import Firmware
    from ..ir.ensemble import QuantEnsemble
    from ..link.bench import Row
    from ..link.layers import LayerRow
    from ..link.power import Energy
    from ..link.replies import DeviceInfo


@app.command(short_help="Count instructions (emulator) or cycles (board), and memory.")
def bench(
    model: Model,
    on: Annotated[
        list[str] | None,
        typer.Option(
            "--on",
            "--port",
            help="qemu:BOARD, a serial port, or socket://HOST:PORT; repeated, all at once. Default: QEMU, Cortex-M4.",
            autocompletion=complete.places,
        ),
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    other_data: OtherData = False,
    policy: PolicyOption = None,
    samples: Annotated[
        int, typer.Option(help="How many inputs to count on the device, spread over the work they take.", min=1)
    ] = 32,
    resume: Annotated[
        Path | None,
        typer.Option(help="Keep each count in this file as it is made, and go on from what is there already."),
    ] = None,
    layers: Annotated[
        bool,
        typer.Option("--layers", help="Also count each layer, on up to 8 of the inputs. Firmware: `build --profile`."),
    ] = False,
    trigger: Annotated[
        int | None,
        typer.Option(
            help="For a power monitor: rest so many milliseconds, then run with the board's pin high.", min=0, max=10000
        ),
    ] = None,
    repeat: Annotated[int, typer.Option(help="Inferences of an input in a row, of which the mean counts.", min=1)] = 1,
    energy: Annotated[
        Path | None,
        typer.Option(
            help="A power monitor's CSV of what --trigger and --resume measured before: energy per inference."
        ),
    ] = None,
    volts: Annotated[float | None, typer.Option(help="Of --energy, where the CSV has no voltage.", min=0)] = None,
    pin: Annotated[str | None, typer.Option(help="Of --energy: the CSV's column of the pin.")] = None,
    baud: Baud = 115200,
    rate: Rate = None,
    rtscts: Rtscts = False,
    trace: Trace = None,
    table: Annotated[
        Path | None, typer.Option("--csv", help="Also write each input's count to this file, a line each.")
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure inferences on devices: instructions (emulator) or cycles (hardware), memory, accuracy, energy."""
    from datetime import datetime, timezone

    from ..check.evaluation import default_policies
    from ..deploy.host import HostModel
    from ..ir.artifact import fingerprint
    from ..ir.policy import parse_policy
    from ..link.bench import plan, rows, write_csv
    from ..link.connect import connect
    from ..link.journal import Journal
    from ..link.layers import layer_rows
    from ..link.power import energies, read_trace
    from ..link.several import count_all, program

    ensemble = load(model)
    places = list(on or default_places([])[:1])
    _check_words(places, resume, trigger, energy, volts, pin)
    if energy is None:
        check_places(places)
    going_on = resume is not None and resume.exists()  # then these are the run's own of before
    for path, option in ((table, "--csv"), (trace, "--trace")):
        if path is not None:
            check_output(path, force or going_on, option)
    policies = [parse_policy(text, ensemble) for text in policy or []] or default_policies(ensemble)
    recorded = read_trace(energy, volts, pin) if energy is not None else None
    inputs, labels = encoded_samples(ensemble, data, data_dir, other_data)
    started = datetime.now(timezone.utc)
    reports: dict[str, dict[str, Any]] = {where: {} for where in places}
    errors: dict[str, SneError] = {}
    with status() as say, frame_log(trace) as log, ExitStack() as opened:
        devices = {}
        for where in places if recorded is None else ():
            own = log.of(where) if log and len(places) > 1 else log
            device, firmware = opened.enter_context(
                connect(ensemble, where, say, baud=baud, rate=rate, rtscts=rtscts, log=own)
            )
            devices[where] = device
            reports[where] = {
                "device": device.info(),
                "firmware": firmware,
                "baud": device.rate,
                "program": program(device),
            }
            if rate is not None and device.rate != rate:
                print(f"note: {where} was not heard at {rate} baud: it stays at {device.rate}", file=sys.stderr)
        say("compiling for this computer")  # once the devices have answered: a wrong port or model is known by now
        what = plan(HostModel(ensemble), inputs, labels, policies, samples, trigger, repeat)
        journal = opened.enter_context(Journal(resume, fingerprint(ensemble), what)) if resume is not None else None
        if recorded is None:
            outcomes = count_all(what, devices, journal, say)
            errors = {where: outcome.error for where, outcome in outcomes.items() if outcome.error is not None}
            found = {where: outcome.found for where, outcome in outcomes.items() if where not in errors}
        else:
            assert journal is not None
            found = {where: journal.found(where, None) for where in places}
            for where, done in found.items():
                if missing := len(set(what.jobs()) - done.keys()):
                    raise SneError(
                        f"{resume} lacks {missing} counts of {where}",
                        "measure first, with --trigger, then give --energy",
                    )
                planned = {job: done[job] for job in what.jobs()}
                reports[where]["energy"] = energies(recorded, planned, len(policies))
        for where in found:
            reports[where]["rows"] = rows(what, found[where])
            if layers and where in devices:
                few = inputs[sorted({int(number) for number in what.chosen[0]})[:8]]
                if where.startswith("qemu:"):
                    with connect(ensemble, where, say, profile=True) as (profiled, _):
                        reports[where]["layers"] = layer_rows(ensemble, profiled, few, say)
                else:
                    reports[where]["layers"] = layer_rows(ensemble, devices[where], few, say)
    measured = {where: report for where, report in reports.items() if "rows" in report}
    if table is not None:
        write_csv({where: report["rows"] for where, report in measured.items()}, labels, table)
    if as_json:
        made = [_as_json(where, started.isoformat(timespec="seconds"), report) for where, report in measured.items()]
        print_json(made[0] if len(places) == 1 and made else made)
    else:
        for where, report in measured.items():
            _print(ensemble, where, described(data, len(inputs)), **report)
    if errors:
        error = next(iter(errors.values()))
        names = "" if len(places) == 1 else f"{', '.join(errors)} failed: "
        kept = f"; what was counted is in {resume}" if resume is not None else ""
        raise SneError(names + error.message, error.hint + kept)


def _check_words(
    places: Sequence[str],
    resume: Path | None,
    trigger: int | None,
    energy: Path | None,
    volts: float | None,
    pin: str | None,
) -> None:
    """Raise `SneError` where options do not go together."""
    real = [where if ":" in where else os.path.realpath(where) for where in places]
    twice = next((where for where, name in zip(places, real, strict=True) if real.count(name) > 1), None)
    if twice is not None:
        raise SneError(f"{twice} is named twice", "name each place once")
    if energy is None and (volts is not None or pin is not None):
        raise SneError("--volts and --pin are of --energy", "name the power monitor's CSV")
    if energy is not None and (resume is None or trigger is None):
        raise SneError(
            "--energy wants what was measured before", "give the same --trigger and --resume as then, and --energy"
        )
    if energy is not None and len(places) > 1:
        raise SneError("a trace is of one board", "name it with --on")


def _as_json(where: str, started: str, report: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    from ..link.ports import port_of

    port = port_of(where)
    return {
        "on": where,
        "time_utc": started,
        "port": asdict(port) if port else None,
        "baud": report.get("baud"),
        "program": {"bytes": found[0], "crc32": f"{found[1]:08x}"} if (found := report.get("program")) else None,
        "device": asdict(report["device"]) if "device" in report else None,
        "firmware": asdict(report["firmware"]) if report.get("firmware") else None,
        "rows": [asdict(row) | {"operations": row.means.operations} for row in report["rows"]],
        **{name: [asdict(entry) for entry in report[name]] for name in ("energy", "layers") if name in report},
    }


def _print(
    ensemble: QuantEnsemble,
    where: str,
    samples: str,
    rows: Sequence[Row],
    device: DeviceInfo | None = None,
    firmware: Firmware | None = None,
    baud: int | None = None,
    program: tuple[int, int] | None = None,
    energy: Sequence[Energy] = (),
    layers: Sequence[LayerRow] = (),
) -> None:
    import msgspec

    unit = rows[0].unit
    rejects = ensemble.rejection is not msgspec.UNSET
    board = f" ({device.board})" if device else ""
    print_table(
        f"{ensemble.name} on {where}{board}: {samples}, {unit} counted on {rows[0].samples}",
        [
            *(
                "policy",
                "accuracy",
                *(["no label"] if rejects else []),
                "students",
                f"{unit}, mean",
                "± error",
                "min",
                "max",
            ),
            *("operations", "of it MACs", "stack B"),
        ],
        [
            [
                r.means.policy,
                "-" if r.means.accuracy is None else f"{r.means.accuracy:.2%}",
                *([f"{r.means.rejected:.2%}"] if rejects else []),
                f"{r.means.students_run:.2f}",
                f"{r.count_mean:,.0f}",
                "-" if r.count_error is None else f"{r.count_error:,.0f}",
                f"{r.count_min:,}",
                f"{r.count_max:,}",
                f"{r.means.operations:,.0f}",
                f"{r.means.macs:,.0f}",
                f"{r.stack_bytes:,}" if r.stack_bytes else "-",
            ]
            for r in rows
        ],
        spare=("min", "max", "of it MACs", "± error", "operations"),
    )
    if energy:
        _print_energy(rows, energy)
    if layers:
        _print_layers(unit, layers)
    if device is None:
        return
    tell(
        f"flash {device.flash_used:,} of {device.flash_size:,} bytes"
        + (
            f" (code {firmware.code_bytes:,}, model tables {firmware.table_bytes:,}, "
            f"golden vectors {firmware.vector_bytes:,})"
            if firmware
            else ""
        )
        + f"; static RAM {device.ram_used:,} of {device.ram_size:,} bytes, "
        + f"of it the model's state {device.state_bytes:,}"
    )


def _print_energy(rows: Sequence[Row], energy: Sequence[Energy]) -> None:
    by = "pulses found by the pin" if energy[0].by == "pin" else "pulses found by the clock, energy above rest"
    print_table(
        f"energy per inference, {by}; at rest the board takes {energy[0].rest_mw:,.3f} mW",
        ["policy", "pulses", "µJ, mean", "spread", "min", "max", "above rest"],
        [
            [
                row.means.policy,
                str(e.pulses),
                f"{e.mean:,.3f}",
                "-" if e.spread is None else f"{e.spread:,.3f}",
                f"{e.least:,.3f}",
                f"{e.most:,.3f}",
                f"{e.above_rest:,.3f}",
            ]
            for row, e in zip(rows, energy, strict=True)
        ],
        spare=("spread", "pulses"),
    )


def _print_layers(unit: str, layers: Sequence[LayerRow]) -> None:
    print_table(
        "each student alone, by layer: means per inference",
        ["layer", "what", "runs", unit, "share", "spikes"],
        [
            [
                f"{r.student}" if r.layer is None else f"{r.student}.{r.layer}",
                r.description,
                f"{r.calls:,.0f}",
                f"{r.count:,.0f}",
                f"{r.share:.1%}",
                "-" if r.spikes is None else f"{r.spikes:,.1f}",
            ]
            for r in layers
        ],
        left=2,
        spare=("runs", "spikes"),
    )
