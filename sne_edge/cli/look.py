"""Commands that look without building: `inspect`, `targets`, `ports`, `doctor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import fingerprint, load
from .options import Baud, Json, Model, PolicyOption
from .output import print_json, print_table, tell

if TYPE_CHECKING:
    from ..deploy.cost import Need


@app.command(short_help="Show a model: layers, memory, bounds, operations, costs.")
def inspect(
    model: Model,
    target: Annotated[
        str | None,
        typer.Option(
            help="A core, such as cortex-m4: also its instructions for an inference under each policy, the mean as "
            "modelled and a bound that no input exceeds, and the flash, RAM and stack that the model takes.",
            autocompletion=complete.targets,
        ),
    ] = None,
    policy: PolicyOption = None,
    as_json: Json = False,
) -> None:
    """Show each layer's shape, memory, bounds and operations, and a core's instructions, without building anything."""
    from dataclasses import asdict

    from ..codegen.frontend import describe
    from ..deploy.analysis import analyze
    from ..ir.frontend import LogMel
    from ..study.energy import DISCLAIMER, estimate_all

    if policy and target is None:
        raise SneError("--policy is of what a core takes, and no core is named", "give --target, such as cortex-m4")
    if model.endswith(".blob"):
        if target is not None:
            raise SneError("what a blob takes on a core is not known", "inspect the model that it was made from")
        _inspect_blob(model, as_json)
        return
    ensemble = load(model)
    costs = None
    if target is not None:
        from ..check.evaluation import default_policies
        from ..deploy.cost import need
        from ..ir.policy import parse_policy

        chosen = [parse_policy(text, ensemble) for text in policy or []] or default_policies(ensemble)
        costs = need(ensemble, target, chosen)
    report = analyze(ensemble)
    frontend = None
    if isinstance(ensemble.frontend, LogMel):
        frontend = describe(ensemble.frontend) | {"table_bytes": report.flash.frontend}
    energy = estimate_all(ensemble)
    if as_json:
        extra: dict[str, Any] = {"frontend": frontend} if frontend else {}
        extra |= {"target": asdict(costs)} if costs else {}
        extra |= {"energy": energy.named() | {"note": DISCLAIMER}} if energy else {}
        print_json(asdict(report) | extra | {"fingerprint": fingerprint(ensemble), "provenance": ensemble.provenance})
        return
    rows = [
        [
            f"{r.student}.{r.layer}",
            r.description,
            r.neuron,
            f"{r.parameters:,}",
            f"{r.flash_bytes:,}",
            f"{r.ram_bytes:,}",
            f"int{r.membrane_bits}" if r.membrane_bits else "-",
            f"{r.bound[0]:,} .. {r.bound[1]:,}" if r.bound else "-",
            "-" if r.mean_ops is None else f"{r.mean_ops:,}",
            f"{r.max_ops:,}",
        ]
        for r in report.layers
    ]
    print_table(
        f"{report.name}: {report.students} students, {report.classes} classes, {report.timesteps} timesteps, "
        f"{report.encoder} input of {report.input_bytes} bytes, policy {report.policy}",
        [
            "layer",
            "shape",
            "neuron",
            "params",
            "flash B",
            "RAM B",
            "membrane",
            "proven range",
            "ops, mean",
            "ops, worst",
        ],
        rows,
        left=3,
        spare=("neuron", "proven range", "membrane"),
    )
    tell(
        f"tables {report.table_bytes:,} bytes of flash: weights {report.flash.weights:,}, padding "
        f"{report.flash.padding:,}, biases and thresholds {report.flash.thresholds:,}, structures "
        f"{report.flash.structures:,}"
        f"; golden vectors, where they are wanted, {report.flash.vectors:,}"
    )
    tell(
        f"state {report.state_bytes:,} bytes of RAM"
        f" (no schedule of these layers needs less than {report.lower_bound:,})"
        + (f"; {report.stream_bytes:,} when streaming" if report.stream_bytes else "")
    )
    if frontend:
        tell(
            "front end: log-mel of {rate} Hz audio, window {window}, hop {hop}, {frames} frames of {bands} bands; "
            "tables {table_bytes:,} bytes of flash, state {state_bytes:,} bytes of RAM".format(**frontend)
        )
    if energy:
        tell(
            f"energy of all students: {energy.arithmetic / 1000:,.2f} nJ of arithmetic, {energy.total / 1000:,.2f} nJ "
            f"with memory; {DISCLAIMER}"
        )
    if costs:
        _print_costs(costs)
    print(f"fingerprint {fingerprint(ensemble)}")


def _print_costs(costs: Need) -> None:
    print_table(
        f"{costs.target}: instructions of an inference",
        ["policy", "mean, modelled", "no input takes more than"],
        [[e.policy, "-" if e.mean is None else f"{e.mean:,}", f"{e.worst:,}"] for e in costs.estimates],
    )
    tell(
        f"{costs.target}: flash {costs.flash_bytes:,} bytes (tables {costs.table_bytes:,}, code {costs.code_bytes:,}), "
        f"RAM {costs.ram_bytes:,} for state and input, stack at most {costs.stack_bytes:,}"
    )


def _inspect_blob(path: str, as_json: bool) -> None:
    """What a blob says of itself, once it is found sound."""
    from dataclasses import asdict

    from ..deploy.blob import read_blob

    found = asdict(read_blob(path))
    if as_json:
        print_json(found)
        return
    print_table(
        path,
        ["", ""],
        [[name.replace("_", " "), f"{value:,}" if isinstance(value, int) else value] for name, value in found.items()],
    )


@app.command(short_help="List the cores that export knows, and the boards.")
def targets(as_json: Json = False) -> None:
    """List the targets that export knows, and the boards that firmware can be built for."""
    from ..deploy.boards import all_boards
    from ..deploy.targets import all_targets

    rows = [[t.name, ", ".join(t.aliases), t.kernels, " ".join(t.cflags)] for t in all_targets()]
    boards = [
        [b.name, b.target, b.description, f"{b.flash_bytes >> 10:,}", f"{b.ram_bytes >> 10:,}", b.tried]
        for b in all_boards()
    ]
    if as_json:
        keys = ["name", "target", "description", "flash_kib", "ram_kib", "tried"]
        print_json(
            {
                "targets": [dict(zip(["name", "aliases", "kernels", "flags"], row, strict=True)) for row in rows],
                "boards": [dict(zip(keys, row, strict=True)) for row in boards],
            }
        )
        return
    print_table("targets", ["name", "also", "kernels", "flags"], rows, left=4, spare=("kernels",))
    print_table(
        "boards", ["name", "target", "description", "flash KiB", "RAM KiB", "tried"], boards, left=3, spare=("tried",)
    )


@app.command(short_help="List serial ports, and the boards on them.")
def ports(
    everyone: Annotated[
        bool,
        typer.Option("--ask-all", help="Ask every USB port what it runs, not only known boards': it may reset one."),
    ] = False,
    baud: Baud = 115200,
    as_json: Json = False,
) -> None:
    """List the serial ports of this computer, the boards that USB says are there, and the models that they serve."""
    from ..link.survey import survey

    found = survey(everyone, baud)
    if as_json:
        from dataclasses import asdict

        print_json([asdict(each.port) | asdict(each) | {"port": each.port.port} for each in found])
        return
    rows = [
        [
            f.port.port,
            f.board or " or ".join(f.boards) or f.adapter or "-",
            "-" if f.runs is None else f"{f.runs} ({f.fingerprint})",
            f.port.description,
            f.port.usb_id or "-",
            f.port.serial_number or "-",
            f.port.manufacturer or "-",
        ]
        for f in found
    ]
    columns = ["port", "board", "runs", "description", "USB id", "serial number", "maker"]
    print_table("serial ports", columns, rows, left=7, spare=("maker", "serial number", "description"))
    if not rows:
        tell("no serial port is here; is the board plugged in, with a cable that carries data?")


@app.command(short_help="Check what is installed, and say how to get the rest.")
def doctor(as_json: Json = False) -> None:
    """Check which tools and packages are installed, and say how to get the others."""
    from ..deploy.doctor import examine

    findings = examine()
    if as_json:
        print_json([{"what": f.what, "found": f.found, "need": f.need, "hint": f.hint} for f in findings])
        return
    rows = [[f.what, f.found or "missing", f.need] for f in findings]
    print_table("what is here", ["tool", "found", "needed for"], rows, left=3)
    for hint in dict.fromkeys(f.hint for f in findings if f.found is None):
        print(f"{', '.join(f.what for f in findings if f.found is None and f.hint == hint)}: {hint}")
