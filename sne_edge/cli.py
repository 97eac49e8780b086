"""The command line: parse, call, print. No logic; every command imports what it needs when it runs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .errors import SneError

if TYPE_CHECKING:
    import numpy as np

    from .model import QuantEnsemble

app = typer.Typer(
    name="sne-edge",
    help="Distil a teacher network into an ensemble of small spiking networks, and run it, bit-exact, on Cortex-M.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Model = Annotated[str, typer.Argument(help="An .sne file, or the name of a model that ships with sne-edge.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of the files of named data sets.", envvar="SNE_EDGE_DATA"),
]
Data = Annotated[
    str | None,
    typer.Option(help="A data set by name (mnist1d), or an .npz with x_test and y_test. Default: the golden vectors."),
]
On = Annotated[
    list[str] | None,
    typer.Option(
        help="Where to run: host, qemu:BOARD, a serial port, or socket://HOST:PORT. May be repeated. "
        "Default: host, and QEMU with the target's board where the tools are installed."
    ),
]
Executor = Annotated[
    str, typer.Option(help="Where students learn: inline, processes, processes:N, ray or ray://ADDRESS.")
]
PolicyOption = Annotated[
    list[str] | None,
    typer.Option(
        "--policy", help="own, all, first:N, mask:M, cascade[:M1,...], routed[:M1,...] or budget:OPS. May be repeated."
    ),
]


def main() -> None:
    """Entry point: one place where errors become `error:` and `hint:` lines and an exit code."""
    try:
        app()
    except SneError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except KeyboardInterrupt:
        print("error: interrupted\nhint: nothing half-written was left; run the command again", file=sys.stderr)
        sys.exit(130)


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    dataset: Annotated[
        str, typer.Option(help="mnist1d, fashion-mnist, fsdd, cifar10-jpeg, cifar10, an .npz, or a folder of images.")
    ] = "mnist1d",
    data_dir: DataDir = None,
    scheme: Annotated[
        str,
        typer.Option(
            help="Partition of the teacher's features: contiguous, random, correlation, class-affinity, variance, "
            "disentangled, disentangled-tuned, or whole: none."
        ),
    ] = "disentangled",
    students: Annotated[int | None, typer.Option(help="Number of students; usually 4.", min=1, max=32)] = None,
    timesteps: Annotated[int | None, typer.Option(help="Timesteps of an inference; usually 4.", min=1)] = None,
    channels: Annotated[
        str | None, typer.Option(help="Channels of a student's three convolutions, such as 8,32,40.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs in which students learn; by default as the data set needs.", min=1)
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Minutes that training may take; by default the epochs decide.", min=0.01)
    ] = None,
    teacher: Annotated[
        str | None,
        typer.Option(
            help="Size of the built-in teacher, small or large, or an ONNX file (*.onnx). Its one input takes samples "
            "as students see them: named images of mean 0 and deviation 1, an .npz as it is; channels first or last or "
            "flat. Scale them in the file where it wants other values."
        ),
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="The ONNX file's output, or inner tensor, of features; by default its only output."),
    ] = None,
    logits: Annotated[
        str | None, typer.Option(help="The ONNX file's output of logits; by default a classifier is fitted.")
    ] = None,
    learn_decay: Annotated[
        bool, typer.Option("--learn-decay", help="Layers learn their leak: a product on the device, not a shift.")
    ] = False,
    executor: Executor = "processes",
    bits: Annotated[
        int | None, typer.Option(help="Bits of weights, 8 or 4; the first layer and the readout keep 8.")
    ] = None,
    spike_rate: Annotated[
        float | None, typer.Option(help="Spikes per neuron and timestep that cost a student nothing.", min=0)
    ] = None,
    max_drop: Annotated[float, typer.Option(help="Points of accuracy that the cascade may cost.", min=0)] = 0.1,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the data set's.")] = None,
    as_json: Json = False,
) -> None:
    """Train a teacher, distil it into spiking students, quantise and calibrate: a data set becomes an .sne file.

    A run that was killed goes on where it was when the same command is given again.
    """
    from dataclasses import replace

    from .artifact import check_writable, save
    from .data import load_dataset

    _need_training()
    check_writable(output)
    from .presets import preset
    from .teacher import default_cache
    from .train import train as run

    given = {
        "students": students, "timesteps": timesteps, "teacher": teacher, "features": features, "logits": logits,
        "minutes": budget,
    }  # fmt: skip
    config = preset(
        dataset, scheme=scheme, max_drop=max_drop, seed=seed, name=name,
        **{key: value for key, value in given.items() if value is not None},
    )  # fmt: skip
    if channels is not None:
        config = replace(config, body=replace(config.body, channels=_numbers("--channels", channels)))
    if bits is not None:
        config = replace(config, body=replace(config.body, bits=bits))
    if learn_decay:
        config = replace(config, body=replace(config.body, learn_decay=True))
    if epochs is not None:
        alone, joint = (epochs, config.recipe.joint) if config.recipe.alone else (0, epochs)
        config = replace(config, recipe=replace(config.recipe, alone=alone, joint=joint))
    if spike_rate is not None:
        config = replace(config, recipe=replace(config.recipe, target=spike_rate))
    with _bars() as progress:
        found = load_dataset(config.dataset, config.seed, data_dir)
        ensemble = run(config, progress, dataset=found, cache=default_cache(), executor=executor)
    save(ensemble, output)
    record = ensemble.provenance
    if as_json:
        _print_json(record)
        return
    _print_table(
        f"{ensemble.name}: test accuracy (teacher {record['teacher']['test']:.2%}, {record['teacher']['macs']:,} MACs)",
        ["policy", f"int{config.body.bits}", "float", "students", "operations"],
        [
            [
                row["policy"],
                f"{row['accuracy']:.2%}",
                f"{record['float']['test'][k]:.2%}" if row["policy"].startswith("first") else "-",
                f"{row['students_run']:.2f}",
                f"{row['operations']:,.0f}",
            ]
            for k, row in enumerate(record["integer"]["test"])
        ],
    )
    print(f"wrote {output} ({output.stat().st_size:,} bytes)")


@app.command()
def quantize(
    network: Annotated[str, typer.Argument(help="FILE.py:NAME, a torch.nn.Sequential or a function that returns one.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[str, typer.Option(help="A data set or .npz; its validation part sets scales and is measured.")],
    timesteps: Annotated[int, typer.Option(help="Timesteps of an inference.", min=1)],
    weights: Annotated[Path | None, typer.Option(help="A safetensors file of the network's state_dict.")] = None,
    encoder: Annotated[str, typer.Option(help="direct, rate or events.")] = "direct",
    shape: Annotated[
        str | None, typer.Option(help="HEIGHT,WIDTH,CHANNELS of the input; needed for events, whose data is a raster.")
    ] = None,
    bits: Annotated[
        str,
        typer.Option(help="Bits of weights, 8 or 4, between the first layer and the readout; or all layers': 8,4,8."),
    ] = "8",
    name: Annotated[str | None, typer.Option(help="Name of the model; default the output file's.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Quantise a network of your own, torch.nn.Sequential with snnTorch neurons. FILE.py is run: name one you trust."""
    from .artifact import check_writable, save
    from .data import load_dataset

    _need_training()
    check_writable(output)
    from .quantize import make_encoder, quantize_network
    from .script import load_network

    dataset = load_dataset(data, folder=data_dir)
    size = None if shape is None else _numbers("--shape", shape)
    widths = _numbers("--bits", bits)
    made = quantize_network(
        load_network(network, weights), name or output.stem.lower(), dataset.x_val, timesteps=timesteps,
        labels=dataset.y_val, encoder=make_encoder(encoder, dataset.x_val, timesteps, size), classes=dataset.classes,
        bits=widths[0] if len(widths) == 1 else widths,
    )  # fmt: skip
    save(made, output)
    print(f"wrote {output}: like the float network on {made.provenance['agreement']:.2%} of the validation samples")


@app.command()
def study(
    name: Annotated[str, typer.Argument(help="ensemble, partition, cascade, noise, baselines or timesteps.")],
    dataset: Annotated[str, typer.Option(help="A data set by name, an .npz, or a folder of images.")] = "mnist1d",
    data_dir: DataDir = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the runs, such as 0,1,2.")] = "0,1,2",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the tables.")] = Path("docs/results"),
    budget: Annotated[float | None, typer.Option(help="Minutes that each model's training may take.", min=0.01)] = None,
    schemes: Annotated[
        str | None, typer.Option(help="Partition schemes to compare, such as random,disentangled; default all.")
    ] = None,
    executor: Executor = "processes",
) -> None:
    """Train what a study needs and write its table. A study that was killed goes on where it was."""
    _need_training()
    from .partition import SCHEMES
    from .studies import run_study
    from .study import Lab, cell
    from .teacher import default_cache

    with _bars() as progress:
        changes = {} if budget is None else {"minutes": budget}
        chosen = tuple(schemes.split(",")) if schemes else tuple(SCHEMES)
        lab = Lab(dataset, _numbers("--seeds", seeds), default_cache(), executor, progress, changes, data_dir, chosen)
        table = run_study(name, lab, output)
    _print_table(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])
    print(f"wrote {output / f'{name}-{lab.label}.md'}")


@app.command()
def calibrate(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[str, typer.Option(help="A data set or .npz; its validation part chooses, its test part tells.")],
    data_dir: DataDir = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the policy may cost; default 0.1.", min=0)
    ] = None,
    target_ops: Annotated[
        float | None, typer.Option(help="Mean operations of an inference, at most; the most accurate policy wins.")
    ] = None,
    policy: Annotated[
        str, typer.Option(help="cascade, or routed: the top two classes choose who runs next.")
    ] = "cascade",
    early: Annotated[
        str | None,
        typer.Option(
            help="End a student's timesteps early: exact (no decision changes) or margin (within --max-drop)."
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Seed of the validation split; default the one of the model's training.", min=0)
    ] = None,
    as_json: Json = False,
) -> None:
    """Choose order and policy of a model anew, by accuracy or by operations, without training it."""
    from .artifact import check_writable, save
    from .calibrate import upper_bound
    from .data import load_dataset
    from .recalibrate import recalibrate

    if max_drop is not None and target_ops is not None:
        raise SneError("--max-drop and --target-ops are both given", "accuracy or operations: give one of them")
    ensemble = _load(model)
    check_writable(output)
    dataset = load_dataset(data, _split_seed(ensemble) if seed is None else seed, data_dir)
    made, promised = recalibrate(
        ensemble, dataset, 0.1 if max_drop is None else max_drop, target_ops=target_ops, kind=policy, early=early
    )
    save(made, output)
    if as_json:
        _print_json(made.provenance)
        return
    _print_table(
        f"{made.name}: {len(dataset.y_val):,} validation and {len(dataset.y_test):,} test samples",
        ["policy", "validation", "test", "students", "operations"],
        [
            [
                told["policy"],
                f"{chose['accuracy']:.2%}",
                f"{told['accuracy']:.2%}",
                f"{told['students_run']:.2f}",
                f"{told['operations']:,.0f}",
            ]
            for chose, told in zip(*(made.provenance["integer"][part] for part in ("validation", "test")), strict=True)
        ],
    )
    bound = upper_bound(round(promised.differing * len(dataset.y_val)), len(dataset.y_val))
    print(
        f"right or wrong unlike all students: {promised.differing:.2%} of the validation samples, "
        f"with 95 % confidence at most {bound:.2%} of others like them"
    )
    print(f"wrote {output} ({output.stat().st_size:,} bytes)")


@app.command()
def plot(
    model: Model,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The PNG to write; default NAME.png.")] = None,
) -> None:
    """Draw accuracy against operations, from the figures that training recorded in the model."""
    from .report import draw

    ensemble = _load(model)
    print(f"wrote {draw(ensemble, output or Path(f'{ensemble.name}.png'))}")


@app.command()
def inspect(model: Model, as_json: Json = False) -> None:
    """Show each layer's shape, memory, bounds and operations, without building anything."""
    from dataclasses import asdict

    from .analysis import analyze
    from .codegen.frontend import describe
    from .energy import DISCLAIMER, estimate_all
    from .frontend import LogMel

    ensemble = _load(model)
    report = analyze(ensemble)
    frontend = describe(ensemble.frontend) if isinstance(ensemble.frontend, LogMel) else None
    energy = estimate_all(ensemble)
    if as_json:
        extra: dict[str, Any] = {"frontend": frontend} if frontend else {}
        extra |= {"energy": energy.named() | {"note": DISCLAIMER}} if energy else {}
        _print_json(asdict(report) | extra | {"fingerprint": _fingerprint(ensemble), "provenance": ensemble.provenance})
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
    _print_table(
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
    )
    print(
        f"tables {report.table_bytes:,} bytes of flash, state {report.state_bytes:,} bytes of RAM"
        f" (no schedule of these layers needs less than {report.lower_bound:,})"
        + (f"; {report.stream_bytes:,} when streaming" if report.stream_bytes else "")
    )
    if frontend:
        print(
            "front end: log-mel of {rate} Hz audio, window {window}, hop {hop}, {frames} frames of {bands} bands; "
            "tables {table_bytes:,} bytes of flash, state {state_bytes:,} bytes of RAM".format(**frontend)
        )
    if energy:
        print(
            f"energy of all students: {energy.arithmetic / 1000:,.2f} nJ of arithmetic, {energy.total / 1000:,.2f} nJ "
            f"with memory; {DISCLAIMER}"
        )
    print(f"fingerprint {_fingerprint(ensemble)}")


@app.command()
def export(
    model: Model,
    target: Annotated[str, typer.Option(help="A target's name; see `sne-edge targets`.")] = "cortex-m",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write; default NAME-c.")] = None,
) -> None:
    """Write a model as a self-contained directory of C99."""
    from .export import export as write

    ensemble = _load(model)
    directory = write(ensemble, target, output or Path(f"{ensemble.name}-c"))
    print(f"wrote {directory}: include {ensemble.identifier}.h; `make check` in it runs the golden vectors")


@app.command()
def build(
    model: Annotated[str, typer.Argument(help="An .sne file, a shipped model's name, or an exported directory.")],
    board: Annotated[str, typer.Option(help="A board's name; see `sne-edge targets`.")] = "mps2-an386",
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Directory for the firmware; default NAME-BOARD.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build firmware that serves a model over a board's serial line."""
    from dataclasses import asdict

    from .build import build_firmware

    with _exported(model, board) as (name, directory):
        firmware = build_firmware(directory, board, output or Path(f"{name}-{board}"))
    if as_json:
        _print_json(asdict(firmware))
        return
    _print_table(
        f"{name} on {board}",
        ["flash B", "of it weights B", "static RAM B", "image"],
        [[f"{firmware.flash_bytes:,}", f"{firmware.weight_bytes:,}", f"{firmware.ram_bytes:,}", str(firmware.elf)]],
    )


@app.command(name="eval")
def evaluate(
    model: Model,
    data: Data = None,
    data_dir: DataDir = None,
    policy: PolicyOption = None,
    as_json: Json = False,
    jobs: Annotated[int | None, typer.Option(help="Threads that share the samples; default all cores.", min=1)] = None,
    energy: Annotated[
        bool,
        typer.Option("--energy", help="Also count as NeuroBench does, on up to 1,000 samples, and estimate energy."),
    ] = False,
) -> None:
    """Accuracy and mean operations of a data set on the host build, per policy."""
    from dataclasses import asdict

    from . import energy as energies
    from . import evaluate as evaluation
    from .host import HostModel
    from .policy import parse_policy

    ensemble = _load(model)
    inputs, labels = _samples(ensemble, data, data_dir)
    policies = [parse_policy(text, ensemble) for text in policy or []] or evaluation.default_policies(ensemble)
    results = evaluation.evaluate(HostModel(ensemble), inputs, labels, policies, jobs)
    if energy:
        _need_training()
    chosen = inputs[: energies.SAMPLES]
    accounts = energies.account(ensemble, chosen, policies) if energy else []
    if as_json:
        rows = [asdict(r) | {"operations": r.operations} for r in results]
        for row, found in zip(rows, accounts, strict=False):
            row["neurobench"] = found.counts.named()
            row["energy"] = found.estimate.named() | {"samples": len(chosen), "note": energies.DISCLAIMER}
        _print_json(rows)
        return
    _print_table(
        f"{ensemble.name}: {len(labels):,} samples",
        ["policy", "accuracy", "students", "operations", "synaptic", "MACs", "neuron updates"],
        [
            [
                r.policy,
                "-" if r.accuracy is None else f"{r.accuracy:.2%}",
                f"{r.students_run:.2f}",
                f"{r.operations:,.0f}",
                f"{r.synaptic_ops:,.0f}",
                f"{r.macs:,.0f}",
                f"{r.neuron_updates:,.0f}",
            ]
            for r in results
        ],
    )
    if not energy:
        return
    teacher = energies.estimate_teacher(ensemble)
    _print_table(
        f"as NeuroBench counts, and estimates of energy: means over {len(chosen):,} samples",
        [
            "policy",
            *("effective MACs", "effective ACs", "dense", "membrane updates", "activation sparsity"),
            "arithmetic, nJ",
            "teacher / it",
            "with memory, nJ",
            "teacher / it",
        ],
        [
            [
                r.policy,
                *(f"{n:,.0f}" for n in list(a.counts.named().values())[:4]),
                f"{a.counts.activation_sparsity:.3f}",
                f"{a.estimate.arithmetic / 1000:,.2f}",
                f"{teacher.arithmetic / a.estimate.arithmetic:,.1f}" if teacher else "-",
                f"{a.estimate.total / 1000:,.2f}",
                f"{teacher.total / a.estimate.total:,.1f}" if teacher else "-",
            ]
            for r, a in zip(results, accounts, strict=True)
        ],
    )
    counts = accounts[0].counts
    print(f"ConnectionSparsity {counts.connection_sparsity:.4f}, Footprint {counts.footprint:,} bytes")
    print(f"{energies.DISCLAIMER}; the teacher is taken as int8")


@app.command()
def verify(
    model: Model,
    on: On = None,
    data: Data = None,
    data_dir: DataDir = None,
    count: Annotated[int, typer.Option(help="How many samples to compare.", min=1)] = 32,
    as_json: Json = False,
) -> None:
    """Prove that reference, host build and devices agree in every spike count, membrane, logit and decision."""
    from dataclasses import asdict

    from . import verify as verification
    from .connect import connect
    from .host import HostModel

    ensemble = _load(model)
    inputs = _samples(ensemble, data, data_dir)[0][:count]
    checks: list[verification.Check] = []
    with _status() as say:
        say("compiling for this computer")
        host = HostModel(ensemble)
        expected = verification.expected_engine(ensemble, host)
        if expected.name == "host":
            print("note: torch is not installed; devices are held against the host build", file=sys.stderr)
        for where in on or _default_places(["host"]):
            if where == "host":
                checks += verification.verify(ensemble, inputs, expected, [verification.HostEngine(host)], say)
                continue
            with connect(ensemble, where, say, trace=True) as (device, _):
                engine = verification.DeviceEngine(device, where)
                checks += verification.verify(ensemble, inputs, expected, [engine], say)
    checks = list(dict.fromkeys(checks))
    if as_json:
        _print_json([asdict(c) for c in checks])
    else:
        _print_table(
            f"{ensemble.name}: every number compared for equality",
            ["engine", "against", "inputs", "policies", "numbers", "result"],
            [
                [
                    c.engine,
                    c.against,
                    str(c.inputs),
                    str(c.runs),
                    f"{c.compared:,}",
                    "equal" if c.difference is None else "DIFFERENT",
                ]
                for c in checks
            ],
            left=2,
        )
    for check in checks:
        if check.difference is not None:
            raise SneError(
                f"{check.engine} differs from {check.against}: {check.difference}",
                "build the firmware again from this model; if it still differs, please report it with the .sne file",
            )


@app.command()
def bench(
    model: Model,
    on: Annotated[
        str | None, typer.Option(help="qemu:BOARD, a serial port, or socket://HOST:PORT. Default: QEMU, Cortex-M4.")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    policy: PolicyOption = None,
    samples: Annotated[int, typer.Option(help="How many inputs to count on the device.", min=1)] = 32,
    as_json: Json = False,
) -> None:
    """Measure inferences on a device: instructions (emulator) or cycles (hardware), operations, memory, accuracy."""
    from dataclasses import asdict

    from . import evaluate as evaluation
    from .bench import bench as measure
    from .connect import connect
    from .host import HostModel
    from .policy import parse_policy

    ensemble = _load(model)
    inputs, labels = _samples(ensemble, data, data_dir)
    where = on or _default_places([])[0]
    policies = [parse_policy(text, ensemble) for text in policy or []] or evaluation.default_policies(ensemble)
    with _status() as say:
        host = HostModel(ensemble)
        with connect(ensemble, where, say) as (device, firmware):
            info = device.info()
            rows = measure(host, device, inputs, labels, policies, samples, say)
    if as_json:
        _print_json(
            {
                "on": where,
                "device": asdict(info),
                "firmware": asdict(firmware) if firmware else None,
                "rows": [asdict(row) | {"operations": row.means.operations} for row in rows],
            }
        )
        return
    unit = rows[0].unit
    _print_table(
        f"{ensemble.name} on {where} ({info.board}): {len(inputs):,} inputs, {unit} counted on {rows[0].samples}",
        ["policy", "accuracy", "students", f"{unit}, mean", "min", "max", "operations", "of it MACs", "stack B"],
        [
            [
                r.means.policy,
                "-" if r.means.accuracy is None else f"{r.means.accuracy:.2%}",
                f"{r.means.students_run:.2f}",
                f"{r.count_mean:,.0f}",
                f"{r.count_min:,}",
                f"{r.count_max:,}",
                f"{r.means.operations:,.0f}",
                f"{r.means.macs:,.0f}",
                f"{r.stack_bytes:,}",
            ]
            for r in rows
        ],
    )
    print(
        f"flash {info.flash_used:,} of {info.flash_size:,} bytes"
        + (
            f" (code {firmware.code_bytes:,}, model tables {firmware.weight_bytes:,}, "
            f"golden vectors {firmware.vector_bytes:,})"
            if firmware
            else ""
        )
        + f"; static RAM {info.ram_used:,} of {info.ram_size:,} bytes, of it the model's state {info.state_bytes:,}"
    )


@app.command()
def card(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The Markdown file to write; default NAME.md.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set by name, or an .npz. Default: the one that the model was made for.")
    ] = None,
    data_dir: DataDir = None,
    on: Annotated[
        list[str] | None, typer.Option(help="An emulated board. May be repeated. Default: Cortex-M0, M3, M4 and M55.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure and verify a model everywhere, and write what was found as its model card."""
    from .artifact import check_writable
    from .card import BOARDS, markdown, measure
    from .files import write_whole

    _need_training()
    ensemble = _load(model)
    path = output or Path(f"{ensemble.name}.md")
    check_writable(path)
    trained = ensemble.provenance.get("dataset")
    known = trained.get("name") if isinstance(trained, dict) else None
    inputs, labels = _samples(ensemble, data or (known if isinstance(known, str) else None), data_dir)
    _default_places([])
    with _status() as say:
        record = measure(ensemble, inputs, labels, [w.removeprefix("qemu:") for w in on or BOARDS], say)
    write_whole(path, lambda file: file.write(markdown(record).encode()))
    if as_json:
        _print_json(record)
        return
    print(f"wrote {path}")


@app.command()
def targets(as_json: Json = False) -> None:
    """List the targets that export knows, and the boards that firmware can be built for."""
    from .boards import all_boards
    from .targets import all_targets

    rows = [[t.name, ", ".join(t.aliases), t.kernels, " ".join(t.cflags)] for t in all_targets()]
    boards = [
        [b.name, b.target, b.description, f"{b.flash_bytes >> 10:,}", f"{b.ram_bytes >> 10:,}"] for b in all_boards()
    ]
    if as_json:
        keys = ["name", "target", "description", "flash_kib", "ram_kib"]
        _print_json(
            {
                "targets": [dict(zip(["name", "aliases", "kernels", "flags"], row, strict=True)) for row in rows],
                "boards": [dict(zip(keys, row, strict=True)) for row in boards],
            }
        )
        return
    _print_table("targets", ["name", "also", "kernels", "flags"], rows, left=4)
    _print_table("boards", ["name", "target", "description", "flash KiB", "RAM KiB"], boards, left=3)


@app.command()
def doctor(as_json: Json = False) -> None:
    """Check which tools and packages are installed, and say how to get the others."""
    from .doctor import examine

    findings = examine()
    if as_json:
        _print_json([{"what": f.what, "found": f.found, "need": f.need, "hint": f.hint} for f in findings])
        return
    rows = [[f.what, f.found or "missing", f.need, "" if f.found else f.hint] for f in findings]
    _print_table("what is here", ["tool", "found", "needed for", "how to get it"], rows, left=4)


@contextmanager
def _exported(model: str, board: str) -> Iterator[tuple[str, Path]]:
    """A model's name and an export of it for a board: the directory itself where `model` is one."""
    import tempfile

    from .boards import resolve_board
    from .export import export as write
    from .export import read_manifest

    target = resolve_board(board).target
    if Path(model).is_dir():
        yield read_manifest(model)["name"], Path(model)
        return
    ensemble = _load(model)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        yield ensemble.name, write(ensemble, target, Path(folder) / "model")


def _samples(ensemble: QuantEnsemble, data: str | None, folder: Path | None) -> tuple[np.ndarray, np.ndarray]:
    """Encoded test samples and labels (-1 where unknown): of a data set, or the golden vectors."""
    if data is None:
        if not len(ensemble.vectors.inputs):
            raise SneError(f"{ensemble.name} holds no golden vectors", "give samples with --data")
        return ensemble.vectors.inputs, ensemble.vectors.labels
    from .data import load_dataset

    dataset = load_dataset(data, folder=folder)
    return ensemble.encoder.encode(dataset.x_test), dataset.y_test


def _split_seed(ensemble: QuantEnsemble) -> int:
    """The seed that drew the validation samples of the model's training; 0 where none is known."""
    config = ensemble.provenance.get("config")
    seed = config.get("seed") if isinstance(config, dict) else None
    return seed if isinstance(seed, int) and seed >= 0 else 0


def _default_places(always: list[str]) -> list[str]:
    """Where to run when nothing is said: `always`, and an emulator; without its tools a note, or an error."""
    from .connect import default_emulator

    emulator = default_emulator()
    if emulator is not None:
        return [*always, emulator]
    hint = "apt-get install gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm, or name a device with --on"
    if not always:
        raise SneError("no ARM compiler or QEMU is installed, and no device was named", hint)
    print(f"note: no ARM compiler or QEMU is installed, so no device is checked; {hint}", file=sys.stderr)
    return always


def _need_training() -> None:
    from importlib.util import find_spec

    for package in ("torch", "snntorch"):
        if find_spec(package) is None:
            raise SneError(f"{package} is not installed", "pip install 'sne-edge[train]' (on Linux, a CPU torch first)")


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise SneError(f"{option} is {text!r}", "give whole numbers separated by commas, such as 8,32,40") from None


@contextmanager
def _bars() -> Iterator[Callable[[str, int, int, str], None]]:
    """A progress bar for each stage of a long run; where there is no terminal, a line for each tenth of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    if not sys.stderr.isatty():

        def tell(stage: str, done: int, total: int, text: str) -> None:
            if done * 10 // total != (done - 1) * 10 // total:
                print(f"{stage}: {done} of {total} {text}".rstrip(), file=sys.stderr, flush=True)

        yield tell
        return
    columns = [TextColumn("{task.description:20}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()]
    with Progress(*columns, TextColumn("{task.fields[text]}"), console=Console(stderr=True)) as bars:
        tasks: dict[str, Any] = {}

        def update(stage: str, done: int, total: int, text: str) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, text="")
            bars.update(tasks[stage], completed=done, total=total, text=text)

        yield update


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """A line on the terminal that says what is going on; nothing where there is no terminal."""
    from rich.console import Console

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(text)


def _load(model: str) -> QuantEnsemble:
    from .artifact import load

    return load(model)


def _fingerprint(ensemble: QuantEnsemble) -> str:
    from .artifact import fingerprint

    return fingerprint(ensemble)


def _print_json(value: Any) -> None:
    def plain(item: Any) -> Any:
        return item.item() if hasattr(item, "item") else str(item)

    print(json.dumps(value, indent=2, default=plain))


def _print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], left: int = 1) -> None:
    """A table on the terminal; the first `left` columns flush left."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, title_style="bold")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    width = None if sys.stdout.isatty() else 160
    Console(width=width).print(table)
