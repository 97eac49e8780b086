"""Commands that write models for elsewhere: `export`, as C, ONNX or NIR, and `build`, firmware."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError, shortened
from . import complete
from .app import app
from .inputs import check_folder, check_output, exported, load
from .options import Force, Json
from .output import print_json, print_table, tell

if TYPE_CHECKING:
    from ..ir.ensemble import QuantEnsemble


@app.command(short_help="Write a model's C, a package of it, a blob, ONNX or NIR.")
def export(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...", help="One or several .sne files or shipped models.", autocompletion=complete.models
        ),
    ],
    target: Annotated[
        str | None,
        typer.Option(
            help="Of C and blobs: a target's name, see `sne-edge targets`; default cortex-m, of web wasm32.",
            autocompletion=complete.targets,
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Default: the directory NAME-c or NAME-blob, or the file NAME.onnx or NAME.nir."
        ),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="c: C99; blob: the model as data, and C that loads it; onnx: integer operators for ONNX runtimes; "
            "nir: NIR, of one student.",
        ),
    ] = "c",
    part: Annotated[
        str | None,
        typer.Option(
            help="Of ONNX: whole (the default), student:K, step:K (one timestep, with its states), or all of these, "
            "into a folder; of NIR: student:K."
        ),
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="Of ONNX's whole: a policy, as of `eval`; default the model's own.")
    ] = None,
    int8_input: Annotated[
        bool, typer.Option("--int8-input", help="Of ONNX: the input holds int8 values, encoded outside.")
    ] = False,
    dt: Annotated[float | None, typer.Option(help="Of NIR: seconds of a timestep; default 1e-3.")] = None,
    ecosystem: Annotated[
        str | None,
        typer.Option(
            "--for",
            help="Of C: as a package for cmake, arduino, platformio, zephyr, esp-idf, micropython, cmsis-pack or rust; "
            "or for web, a page that runs it in a browser.",
        ),
    ] = None,
    package_name: Annotated[
        str | None, typer.Option("--package-name", help="Of a package: its name; default the model's.")
    ] = None,
    package_version: Annotated[
        str | None, typer.Option("--package-version", help="Of a package: MAJOR.MINOR.PATCH; default 1.0.0.")
    ] = None,
    force: Force = False,
) -> None:
    """Write a model, or several with one runtime, as a self-contained directory of C99, or as a package for a build
    system; or one as ONNX, or as NIR."""
    given = {"--target": target, "--part": part, "--policy": policy, "--int8-input": int8_input or None, "--dt": dt}
    packaged = {"--for": ecosystem, "--package-name": package_name, "--package-version": package_version}
    given |= packaged
    takes = {
        "c": ["--target", *packaged],
        "blob": ["--target"],
        "onnx": ["--part", "--policy", "--int8-input"],
        "nir": ["--part", "--dt"],
    }
    if kind not in takes:
        raise SneError(f"there is no format {kind!r}", "give c, blob, onnx or nir")
    for option, value in given.items():
        if value is not None and option not in takes[kind]:
            raise SneError(f"{option} has no meaning for the format {kind}", f"it takes {', '.join(takes[kind])}")
    if kind not in ("c", "blob") and len(models) > 1:
        raise SneError(f"a file of the format {kind} holds one model", "several are for C: --format c, or blob")
    ensembles = [load(model) for model in models]
    ensemble = ensembles[0]
    if kind == "onnx":
        _export_onnx(models[0], ensemble, part or "whole", output, policy, int8_input, force)
        return
    if kind == "nir":
        _export_nir(ensemble, part, output, 1e-3 if dt is None else dt, force)
        return
    from ..deploy.export import export as write
    from ..deploy.targets import resolve_target

    if target is None:
        target = "wasm32" if ecosystem == "web" else "cortex-m"
    if ecosystem == "web" and resolve_target(target) is not resolve_target("wasm32"):
        raise SneError(f"a page runs wasm32, not {target}", "leave --target out: --for web")
    if ecosystem is not None:
        _export_package(ensembles, ecosystem, target, output, package_name, package_version, force)
        return
    if package_name is not None or package_version is not None:
        raise SneError("only packages have a name and a version of their own", "say what it is for: --for cmake")
    if output is None and len(ensembles) > 1:
        raise SneError("several models need a directory that none of them names", "name it with -o")
    folder = output or Path(f"{ensemble.name}-{'blob' if kind == 'blob' else 'c'}")
    check_folder(folder, force)
    if kind == "blob":
        from ..deploy.loader import export_blobs

        blobs = export_blobs(ensembles, target, folder)
        print(f"wrote {', '.join(map(str, blobs))}; sne_load.h beside it says how to load a model")
        return
    directory = write(ensembles, target, folder, force=force)
    headers = " and ".join(f"{member.identifier}.h" for member in ensembles)
    for name, member in zip(models, ensembles, strict=True):
        _advise(name, member, target)
    print(f"wrote {directory}: include {headers}; `make check` in it runs the golden vectors")


def _advise(model: str, ensemble: QuantEnsemble, target: str) -> None:
    """Tell of what would be quicker on a target and computes the same."""
    from ..deploy.targets import resolve_target
    from ..quantize.widen import widened

    if resolve_target(target).kernels == "dsp" and widened(ensemble) is not ensemble:
        print(
            "note: a first convolution's channels are no multiple of four, which Cortex-M4, M7 and M33 want; the same "
            f"model on up to 0.6 of the instructions: sne-edge calibrate {model} --fours --data DATA -o FILE",
            file=sys.stderr,
        )


def _export_package(
    ensembles: list[QuantEnsemble],
    ecosystem: str,
    target: str,
    output: Path | None,
    name: str | None,
    version: str | None,
    force: bool,
) -> None:
    from ..deploy.packages import ECOSYSTEMS, VERSION, check_ecosystem, export_package

    check_ecosystem(ecosystem)
    folder = output or Path(f"{name or ensembles[0].identifier}-{ecosystem}")
    check_folder(folder, force)
    made = export_package(ensembles, ecosystem, target, folder, name=name, version=version or VERSION, force=force)
    print(f"wrote {made}: a package for {ECOSYSTEMS[ecosystem]}; README.md in it says how to use it and to check it")


def _export_onnx(
    model: str,
    ensemble: QuantEnsemble,
    part: str,
    output: Path | None,
    words: str | None,
    int8_input: bool,
    force: bool,
) -> None:
    from ..files import holding, write_all
    from ..interchange.to_onnx import parts_of, to_onnx
    from ..ir.policy import parse_policy

    path = output or Path(f"{ensemble.name}-onnx" if part == "all" else f"{ensemble.name}.onnx")
    policy = None if words is None else parse_policy(words, ensemble)
    if policy is not None and part not in ("whole", "all"):
        raise SneError(f"--policy has no meaning for {shortened(part)}", "it chooses among students: --part whole")
    if part == "all":
        ends = {each: "" if each == "whole" else "-" + each.replace(":", "-") for each in parts_of(ensemble)}
        names, folder = {each: f"{ensemble.name}{end}.onnx" for each, end in ends.items()}, path
    else:
        names, folder = {part: path.name}, path.parent
    for name in names.values():
        check_output(folder / name, force)
    files = {}
    for each, name in names.items():
        chosen = policy if each == "whole" else None
        files[name] = to_onnx(ensemble, each, policy=chosen, encoded=int8_input).SerializeToString(deterministic=True)
    write_all(folder, {name: holding(content) for name, content in files.items()})
    wrote = ", ".join(str(folder / name) for name in files)
    print(f"wrote {wrote}; `sne-edge verify {model} --on onnx` holds it against the reference")


def _export_nir(ensemble: QuantEnsemble, part: str | None, output: Path | None, dt: float, force: bool) -> None:
    from ..interchange.to_nir import save_nir

    path = output or Path(f"{ensemble.name}.nir")
    check_output(path, force)
    for line in save_nir(ensemble, path, part=part, dt=dt):
        print(f"note: {line}", file=sys.stderr)
    print(f"wrote {path}")


@app.command(short_help="Build firmware that serves a model over a serial line.")
def build(
    model: Annotated[
        str,
        typer.Argument(
            help="An .sne file, a shipped model's name, or an exported directory.", autocompletion=complete.models
        ),
    ],
    board: Annotated[
        str,
        typer.Option(
            help="A board's name; see `sne-edge targets`; or ./FOLDER, of your own, with a board.toml.",
            autocompletion=complete.boards,
        ),
    ] = "mps2-an386",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Directory for the firmware; default NAME-BOARD.")
    ] = None,
    vectors: Annotated[bool, typer.Option(help="Keep the golden vectors in the image, for a self-test.")] = False,
    profile: Annotated[bool, typer.Option("--profile", help="Let it count each layer, for `bench --layers`.")] = False,
    protocol: Annotated[
        str,
        typer.Option(
            help="sne: what `verify` and `bench` speak; mlperf: MLPerf Tiny's, for MLCommons' runner; mlperf-energy: "
            "its energy mode, 9600 baud and a pin."
        ),
    ] = "sne",
    mlperf_id: Annotated[
        str | None,
        typer.Option(
            help="Of mlperf: the benchmark's model, such as kws01. Default: by the input's size, else the name."
        ),
    ] = None,
    mlperf_bytes: Annotated[
        str | None,
        typer.Option(
            help="Of mlperf: what the host loads: encoded (the default: the model's input as it is), or samples to "
            "encode, int8, uint8 or such as uint8/255."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build firmware that serves a model over a board's serial line."""
    from dataclasses import asdict

    from ..deploy.boards import resolve_board
    from ..deploy.build import PROFILED, build_firmware
    from ..deploy.mlperf import Mlperf, parse_samples
    from ..deploy.targets import resolve_target
    from ..deploy.tools import check_tools
    from ..files import check_writable

    protocols = ("sne", "mlperf", "mlperf-energy")
    if protocol not in protocols:
        raise SneError(f"there is no protocol {shortened(protocol)!r}", f"protocols are: {', '.join(protocols)}")
    for option, value in (("--mlperf-id", mlperf_id), ("--mlperf-bytes", mlperf_bytes)):
        if protocol == "sne" and value is not None:
            raise SneError(f"{option} has no meaning for the protocol sne", "give --protocol mlperf")
    if profile and protocol != "sne":
        raise SneError(f"--profile has no meaning for the protocol {protocol}", "`bench --layers` speaks sne")
    mlperf = None
    if protocol != "sne":
        mlperf = Mlperf(mlperf_id, protocol == "mlperf-energy", parse_samples(mlperf_bytes or "encoded"))
    chosen = resolve_board(board)
    check_tools(resolve_target(chosen.target))
    if output is not None:
        check_writable(output / "firmware.elf")
    with exported(model, board) as (name, directory):
        firmware = build_firmware(
            directory,
            chosen,
            output or Path(f"{name}-{chosen.name}"),
            definitions=(PROFILED,) if profile else (),
            vectors=vectors,
            mlperf=mlperf,
        )
    if as_json:
        print_json(asdict(firmware))
        return
    print_table(
        f"{name} on {chosen.name}",
        ["flash B", "of it tables B", "golden vectors B", "static RAM B"],
        [[f"{n:,}" for n in (firmware.flash_bytes, firmware.table_bytes, firmware.vector_bytes, firmware.ram_bytes)]],
        left=0,
    )
    tell(
        f"tables: weights {firmware.weight_bytes:,}, padding {firmware.padding_bytes:,}, biases and thresholds "
        f"{firmware.threshold_bytes:,}, structures {firmware.structure_bytes:,}"
    )
    images = [firmware.elf.name, ".bin", ".hex", *([".uf2"] if firmware.uf2 else [])]
    print(f"wrote {', '.join(images)} in {firmware.elf.parent}")


@app.command(short_help="Build that firmware and put it on a board.")
def flash(
    model: Annotated[
        str,
        typer.Argument(
            help="An .sne file, a shipped model's name, or an exported directory.", autocompletion=complete.models
        ),
    ],
    board: Annotated[
        str,
        typer.Option(
            help="A board's name; see `sne-edge targets`; or ./FOLDER, of your own, with a board.toml.",
            autocompletion=complete.boards,
        ),
    ],
    way: Annotated[
        str | None,
        typer.Option("--by", help="drive, pyocd or bossac; by default the first that board and computer have."),
    ] = None,
    drive: Annotated[
        Path | None, typer.Option(help="Where the board's USB drive is mounted; found by its label.")
    ] = None,
    port: Annotated[str | None, typer.Option(help="The serial port of a board that bossac flashes.")] = None,
    vectors: Annotated[bool, typer.Option(help="Keep the golden vectors in the image, for a self-test.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
) -> None:
    """Build firmware that serves a model, and put it on a board: by its USB drive, pyOCD, or Arduino's bootloader."""
    from ..deploy.boards import resolve_board
    from ..deploy.build import build_firmware
    from ..deploy.targets import resolve_target
    from ..deploy.tools import check_tools
    from ..files import workspace
    from ..link.flashing import WAYS, plan_flashing
    from ..link.flashing import flash as carry_out

    if way is not None and way not in WAYS:
        raise SneError(f"there is no way to flash {shortened(way)!r}", f"give {', '.join(WAYS)}")
    chosen = resolve_board(board)
    check_tools(resolve_target(chosen.target))
    plan = plan_flashing(chosen, way, drive, port)
    with exported(model, board) as (name, directory):
        if dry_run:
            for step in (f"build firmware that serves {name} for {board}", *plan.steps()):
                print(f"would {step}")
            return
        with workspace() as work:
            firmware = build_firmware(directory, chosen, work / "firmware", vectors=vectors)
            carry_out(plan, firmware)
    print(f"flashed {board} by {plan.way}: {firmware.flash_bytes:,} bytes that serve {name}")
    if chosen.tried != "QEMU":
        print("note: this board has not been tried on silicon; `sne-edge ports` asks it what it runs", file=sys.stderr)
