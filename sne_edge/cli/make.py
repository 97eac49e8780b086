"""Commands that make a model: `train`, `quantize`, `ensemble`, `calibrate`; and what can be quantised."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import (
    check_finite,
    check_layout,
    check_memory,
    check_name,
    check_output,
    data_for,
    load,
    need_training,
    numbers,
    reals,
    reset_kind,
    scaled,
)
from .options import (
    ChoosingData,
    DataDir,
    DecodeLeak,
    DeviceOption,
    Executor,
    Force,
    Json,
    Layout,
    Model,
    OtherData,
    Precision,
    Window,
)
from .output import bars, print_json, print_table, tell, warned

if TYPE_CHECKING:
    from ..data.dataset import Dataset
    from ..ir.ensemble import QuantEnsemble
    from ..quantize.calibrate import Promise


@app.command()
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist1d (the default), fashion-mnist, fsdd, fsdd-speakers, cifar10-jpeg, cifar10, of events "
            "fsdd-spikes, nmnist or shd, an .npz (also of rasters), or a folder of images.",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of settings, as is written beside each model, or the name of one that ships (cifar10); "
            "options go before it."
        ),
    ] = None,
    data_dir: DataDir = None,
    layout: Layout = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Partition of the teacher's features: contiguous, random, correlation, class-affinity, variance, "
            "disentangled (the default), disentangled-tuned, or whole: none; one of another package, or FILE.py:NAME.",
            autocompletion=complete.words(*complete.SCHEMES),
        ),
    ] = None,
    students: Annotated[int | None, typer.Option(help="Number of students; usually 4.", min=1, max=32)] = None,
    timesteps: Annotated[
        int | None, typer.Option(help="Timesteps of an inference; usually 4.", min=1, max=65535)
    ] = None,
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
            help="The built-in one, small, large or resnet18 (images); an ONNX file (*.onnx) of one input, channels "
            "first, last or flat; or FILE.py:NAME, a torch module with `features` and a linear `classifier`, which "
            "is run: name one you trust."
        ),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="A file of the state_dict of a teacher FILE.py:NAME.")] = None,
    teacher_input: Annotated[
        str | None,
        typer.Option(
            help="What a teacher from elsewhere wants of images: 0..1, 0..255, or standard (the default): as students "
            "see samples, named images of mean 0 and deviation 1, an .npz as it is."
        ),
    ] = None,
    teacher_mean: Annotated[
        str | None, typer.Option(help="Taken off that, one number or one a channel, such as 0.49,0.48,0.45.")
    ] = None,
    teacher_deviation: Annotated[str | None, typer.Option(help="What it is then divided by, likewise.")] = None,
    fine_tune: Annotated[
        int | None, typer.Option(help="Epochs that a teacher from elsewhere is trained on for, on this data.", min=0)
    ] = None,
    features: Annotated[
        str | None,
        typer.Option(help="The ONNX file's output, or inner tensor, of features; by default its only output."),
    ] = None,
    logits: Annotated[
        str | None, typer.Option(help="The ONNX file's output of logits; by default a classifier is fitted.")
    ] = None,
    input_scale: Annotated[
        str | None,
        typer.Option(help="What has a scale of its own: network (default), the whole input, or per-channel."),
    ] = None,
    learn_decay: Annotated[
        bool, typer.Option("--learn-decay", help="Layers learn their leak: a product on the device, not a shift.")
    ] = False,
    residual: Annotated[
        int | None,
        typer.Option(help="Residual blocks behind each convolution, whose spikes are added; by default 0.", min=0),
    ] = None,
    executor: Executor = "processes",
    device: DeviceOption = "auto",
    precision: Precision = "auto",
    bits: Annotated[
        int | None, typer.Option(help="Bits of weights, 8 or 4; the first layer and the readout keep 8.")
    ] = None,
    spike_rate: Annotated[
        float | None, typer.Option(help="Spikes per neuron and timestep that cost a student nothing.", min=0)
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Learn under white noise and impulses of up to this severity, 0 to 5 as `study noise` has them; by "
            "default 0. Teacher and students alike.",
            min=0,
            max=5,
        ),
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the cascade may cost; by default 0.1.", min=0)
    ] = None,
    early: Annotated[
        str | None,
        typer.Option(
            help="End a student's timesteps early, as `calibrate` has it: exact, or margin (events' default)."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; by default 0.", min=0)] = None,
    log_dir: Annotated[
        Path | None, typer.Option("--log-dir", help="Also write TensorBoard's event files into this folder.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the data set's.")] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Train a teacher, distil it into spiking students, quantise and calibrate: a data set becomes an .sne file.

    A run that was killed goes on where it was when the same command is given again. Beside the model lie its settings
    (.toml) and what each epoch reached (.csv).
    """
    from dataclasses import replace

    from ..check.evaluation import commonest
    from ..data.dataset import load_dataset
    from ..files import open_file, write_whole
    from ..ir.artifact import save

    need_training()
    check_output(output, force)
    check_finite(budget=budget, spike_rate=spike_rate, noise=noise, max_drop=max_drop)
    check_layout(layout)
    if name is not None:
        check_name(name)
    from ..learn.device import find_device
    from ..learn.executor import check_executor
    from ..learn.teacher import default_cache
    from ..pipeline import settings, track
    from ..pipeline.presets import preset
    from ..pipeline.train import train as run

    base = preset(data or "mnist1d") if config is None else settings.read(config)
    chosen = settings.changed(
        base, dataset=data, scheme=scheme, students=students, timesteps=timesteps, teacher=teacher,
        features=features, logits=logits, weights=None if weights is None else str(weights),
        teacher_input=teacher_input, teacher_mean=reals("--teacher-mean", teacher_mean),
        teacher_deviation=reals("--teacher-deviation", teacher_deviation), fine_tune=fine_tune,
        minutes=budget, noise=noise, max_drop=max_drop, early=early, seed=seed, name=name, input_scale=input_scale,
    )  # fmt: skip
    if channels is not None:
        chosen = replace(chosen, body=replace(chosen.body, channels=numbers("--channels", channels)))
    if bits is not None:
        chosen = replace(chosen, body=replace(chosen.body, bits=bits))
    if residual is not None:
        chosen = replace(chosen, body=replace(chosen.body, residual=residual))
    if learn_decay:
        chosen = replace(chosen, body=replace(chosen.body, learn_decay=True))
    if epochs is not None:
        chosen = settings.with_epochs(chosen, epochs)
    if spike_rate is not None:
        chosen = replace(chosen, recipe=replace(chosen.recipe, target=spike_rate))
    check_executor(executor)
    where = find_device(device, precision)
    recipe = output.with_suffix(".toml")
    given = config is not None and recipe.resolve() == config.resolve()  # what the user wrote stays as it is
    if not given:
        check_output(recipe, force)
    text = settings.write(chosen)
    log, run_name = output.with_suffix(".csv"), track.run_name(text)
    track.check_log(log, run_name, force)
    track.check_tensorboard(log_dir)
    if chosen.onnx:
        open_file(chosen.teacher, 2**31, hint="give the path of an ONNX file").close()
    if chosen.script:
        open_file(chosen.teacher.rpartition(":")[0], 2**31, hint="write FILE.py:NAME").close()
    with bars() as shown, track.tracked(log, run_name, log_dir, shown) as progress:
        found = load_dataset(chosen.dataset, chosen.seed, data_dir, layout=layout)
        print(f"samples: {found.understood}", file=sys.stderr)
        ensemble = run(chosen, progress, dataset=found, cache=default_cache(), executor=executor, device=where)
    save(ensemble, output)
    if not given:
        write_whole(recipe, lambda file: file.write(text.encode()))
    record = ensemble.provenance
    if as_json:
        print_json(record)
        return
    print_table(
        f"{ensemble.name}: test accuracy (teacher {record['teacher']['test']:.2%}, {record['teacher']['macs']:,} MACs; "
        f"commonest class {commonest(found.y_test):.2%})",
        ["policy", f"int{chosen.body.bits}", "float", "students", "operations"],
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
    tell(
        f"wrote {output} ({output.stat().st_size:,} bytes) and {log}, its epochs; "
        f"`sne-edge train --config {recipe}` makes it again"
    )


@app.command()
def quantize(
    network: Annotated[
        str,
        typer.Argument(
            help="FILE.py:NAME, a torch.nn.Module or a function that returns one; or FILE.nir.",
            autocompletion=complete.networks,
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[
        str,
        typer.Option(
            help="A data set or .npz; on its validation part scales are set and the network is run.",
            autocompletion=complete.data_sets,
        ),
    ],
    timesteps: Annotated[int, typer.Option(help="Timesteps of an inference.", min=1, max=65535)],
    weights: Annotated[
        Path | None, typer.Option(help="A file of the network's state_dict: .pt as torch saves it, or safetensors.")
    ] = None,
    encoder: Annotated[
        str,
        typer.Option(
            help="direct; rate: inputs 0..1 are a spike's probability in each timestep; events: 0/1 rasters; frames: "
            "values that change at every timestep.",
            autocompletion=complete.words("direct", "rate", "events", "frames"),
        ),
    ] = "direct",
    layout: Layout = None,
    shape: Annotated[
        str | None, typer.Option(help="HEIGHT,WIDTH,CHANNELS of the input, where the data holds flat samples of it.")
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(
            help="Real value of one step of the int8 input; or one for each channel: 0.1,0.1,15.7. Default: the "
            "largest magnitude, glitches aside, is 127 steps; with rate, 1/128."
        ),
    ] = None,
    offset: Annotated[
        str, typer.Option(help="Real value of the int8 input's 0, or of each channel's: q = (x - offset) / scale.")
    ] = "0",
    input_range: Annotated[
        str,
        typer.Option(
            help="What sets the scale where none is given: max; percentile: what 99.9 % of the magnitudes do not "
            "exceed; mse: the smallest mean squared error of clipping and rounding."
        ),
    ] = "max",
    input_scale: Annotated[
        str,
        typer.Option(
            help="What has a scale of its own: network, the whole input, or per-channel: axes of other units."
        ),
    ] = "network",
    bits: Annotated[
        str,
        typer.Option(help="Bits of weights, 8 or 4, between the first layer and the readout; or all layers': 8,4,8."),
    ] = "8",
    decode: Annotated[
        str | None,
        typer.Option(
            help="What becomes of the outputs: count, current, first, membrane (its mean), membrane-final or "
            "membrane-highest. Default: as the network returns them."
        ),
    ] = None,
    dt: Annotated[
        float | None, typer.Option(help="Seconds of a timestep of a NIR file (snnTorch writes 1e-4).")
    ] = None,
    reset: Annotated[
        str, typer.Option(help="What a spike does in a NIR file: zero, as NIR has it, or subtract (snnTorch, sinabs).")
    ] = "zero",
    late_reset: Annotated[
        bool, typer.Option("--late-reset", help="A NIR file's resets take effect a timestep later (snnTorch).")
    ] = False,
    seed: Annotated[
        int,
        typer.Option(help="Seed of the split; of `load_dataset`, if the network was trained on its samples.", min=0),
    ] = 0,
    warn_below: Annotated[
        float,
        typer.Option(help="Warn where fewer samples than this share get the network's own label."),
    ] = 0.95,
    fail_below: Annotated[float, typer.Option(help="Write nothing where fewer than this share do.")] = 0.8,
    window: Window = None,
    decode_leak: DecodeLeak = None,
    regression: Annotated[
        bool,
        typer.Option(
            "--regression",
            help="Outputs, one or more, are numbers; --data is an .npz whose y_train holds them, [N] or [N, outputs].",
        ),
    ] = False,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the output file's.")] = None,
    data_dir: DataDir = None,
    force: Force = False,
) -> None:
    """Quantise a network of your own, of torch and snnTorch or from a NIR file, and hold it against the network.

    FILE.py is run: name one you trust. The network takes torch's order, channels first, whatever the data's.
    """
    import msgspec

    from ..data.dataset import load_dataset
    from ..data.origin import record
    from ..data.values import load_values
    from ..ir.artifact import save

    need_training()
    check_output(output, force)
    check_name(name or output.stem.lower())
    from ..interchange import graphs
    from ..interchange.from_nir import Reading
    from ..interchange.graphs import channels_first
    from ..interchange.inputs import check_encoding, make_encoder
    from ..interchange.judge import check_shares
    from ..interchange.modules import becomes_chain
    from ..interchange.script import load_network
    from ..interchange.torch import input_layout, quantize_network
    from ..pipeline.stream import for_stream
    from ..quantize.quantize import check_bits

    size = None if shape is None else numbers("--shape", shape)
    widths = numbers("--bits", bits)
    ranged: dict[str, Any] = {
        "scale": None if scale is None else scaled("--scale", scale), "offset": scaled("--offset", offset),
        "input_range": input_range, "input_scale": input_scale,
    }  # fmt: skip
    check_encoding(encoder, input_range, input_scale, ranged["scale"])
    check_bits(widths)
    check_shares(warn_below, fail_below)
    check_layout(layout)
    check_memory(None, window, decode_leak)
    reading = Reading(dt, reset_kind(reset), late_reset, decode=graphs.decoder(decode))
    own = None if network.endswith(".nir") else load_network(network, weights)
    chain = own is not None and becomes_chain(own, encoder)
    finder = {"finder": input_layout(own, encoder, size)} if chain and own is not None else {}
    if regression:
        if widths != (8,) or window is not None or decode_leak is not None:
            raise SneError("a regression is a graph of 8-bit weights", "leave --bits, --window, --decode-leak")
        told = load_values(data, seed, layout=layout, **finder)
        asked: dict[str, Any] = {
            "timesteps": timesteps, "labels": told.y, "encoder": encoder, "task": "regression", **ranged,
            "warn_below": warn_below, "fail_below": fail_below,
        }  # fmt: skip
        title = name or output.stem.lower()
        with warned():
            if own is None:
                made = graphs.quantize_nir(network, title, channels_first(told.x), reading=reading, **asked)
            else:
                fitting = graphs.samples_for(own, told.x, encoder, timesteps, decode)
                made = graphs.quantize_traced(own, title, fitting, decode=decode, **asked)
        save(made, output)
        fits, found = made.provenance["r_squared"], made.provenance
        print(f"samples: {told.understood}")
        tell(
            f"R squared on {len(told.y):,} validation samples: {fits['integer']:.4f}, the network itself "
            f"{fits['float']:.4f}"
        )
        tell(
            f"wrote {output}: the network's own outputs by an R squared of {found['fit']:.4f}, with an error of "
            f"at most {found['largest_error']:.4g} where they span {found['span']:.4g}"
        )
        return
    dataset = load_dataset(data, seed, data_dir, layout=layout, **finder)
    common: dict[str, Any] = {
        "timesteps": timesteps, "labels": dataset.y_val, "classes": dataset.classes, "warn_below": warn_below,
        "fail_below": fail_below,
    }  # fmt: skip
    title, x = name or output.stem.lower(), dataset.x_val
    if not chain and widths != (8,):
        raise SneError("a graph has weights of 8 bits", "leave --bits out")
    with warned():
        if own is None:
            made = graphs.quantize_nir(
                network, title, channels_first(x), reading=reading, encoder=encoder, **ranged, **common
            )
        elif chain:
            given = make_encoder(encoder, x, timesteps, size or dataset.shape, **ranged)
            made = quantize_network(
                own, title, x, encoder=given, bits=widths[0] if len(widths) == 1 else widths, layout=dataset.layout,
                **common,
            )  # fmt: skip
        else:
            fitting = graphs.samples_for(own, x, encoder, timesteps, decode)
            made = graphs.quantize_traced(own, title, fitting, encoder=encoder, decode=decode, **ranged, **common)
    if window is not None or decode_leak is not None:
        made = for_stream(made, window=window, leak=decode_leak)
    provenance = made.provenance | {"dataset": record(dataset) | {"seed": seed}}
    save(msgspec.structs.replace(made, provenance=provenance), output)
    right, count = made.provenance["accuracy"], f"{len(dataset.y_val):,} validation samples"
    print(f"samples: {dataset.understood}")
    print(f"accuracy on {count}: {right['integer']:.2%}, the network itself {right['float']:.2%}")
    print(f"wrote {output}: like the network itself on {made.provenance['agreement']:.2%} of them")


@app.command()
def supported() -> None:
    """Print what `quantize` reads of torch, snnTorch and NIR, and with which words it refuses the rest, as Markdown.

    Found out by giving a small network to the reader for each row; takes some seconds.
    """
    need_training()
    from ..interchange.supported import markdown, rows

    print(markdown(rows()), end="")


@app.command()
def calibrate(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: ChoosingData,
    data_dir: DataDir = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the policy may cost; default 0.1.", min=0)
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Promise --max-drop for new samples, with this confidence, such as 0.95: the margin is the lowest of "
            "which that can be said. Default: --max-drop is of the validation samples."
        ),
    ] = None,
    target_ops: Annotated[
        float | None, typer.Option(help="Mean operations of an inference, at most; the most accurate policy wins.")
    ] = None,
    policy: Annotated[
        str | None, typer.Option(help="cascade (default), or routed: the top two classes choose who runs next.")
    ] = None,
    early: Annotated[
        str | None,
        typer.Option(
            help="End a student's timesteps early: exact (no decision changes) or margin (within --max-drop)."
        ),
    ] = None,
    window: Window = None,
    decode_leak: DecodeLeak = None,
    unknown: Annotated[
        str | None,
        typer.Option(
            help="Samples of none of the classes, an .npz with an array x or a folder of images: two thirds "
            "of them choose which inputs get no label, the others tell how well."
        ),
    ] = None,
    max_false_alarms: Annotated[
        float | None,
        typer.Option(help="With --unknown: the share of such inputs that may get a label all the same; default 0.05."),
    ] = None,
    narrow: Annotated[
        bool,
        typer.Option(
            "--narrow",
            help="Keep order and policy; give first layers 16-bit membranes, as models before 1.4 lack them.",
        ),
    ] = False,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split, of a model that does not name its data; others know theirs.", min=0),
    ] = None,
    other_data: OtherData = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Choose order and policy of a model anew, by accuracy or by operations, without training it; what its live stream
    remembers; and which inputs are none of its classes."""
    from ..data.unknown import load_unknown
    from ..ir.artifact import save
    from ..ir.layout import encoder_layout
    from ..pipeline.recalibrate import recalibrate, renew_narrow
    from ..quantize.reject import check_rate

    _check_goals(max_drop, target_ops)
    others = (max_drop, confidence, target_ops, policy, early, window, decode_leak, unknown)
    if narrow and others != (None,) * len(others):
        raise SneError(
            "--narrow keeps the policy and all else",
            "give --max-drop, --target-ops, --policy, --early, --window, --decode-leak or --unknown without it",
        )
    if max_false_alarms is not None and unknown is None:
        raise SneError("--max-false-alarms is given without --unknown", "give samples of none of the classes, too")
    check_finite(max_false_alarms=max_false_alarms, confidence=confidence)
    if max_false_alarms is not None:
        check_rate(max_false_alarms)
    ensemble = load(model)
    check_output(output, force)
    _check_policy(ensemble, max_drop, target_ops, policy, early)
    check_memory(ensemble, window, decode_leak)
    dataset = data_for(ensemble, data, data_dir, other_data, seed)
    strangers = None if unknown is None else load_unknown(unknown, dataset, encoder_layout(ensemble.encoder))
    promised = None
    if narrow:
        made = renew_narrow(ensemble, dataset, other=other_data)
    else:
        made, promised = recalibrate(
            ensemble, dataset, 0.1 if max_drop is None else max_drop, target_ops=target_ops, kind=policy or "cascade",
            early=early, other=other_data, window=window, leak=decode_leak, unknown=strangers,
            max_false_alarms=0.05 if max_false_alarms is None else max_false_alarms, confidence=confidence,
        )  # fmt: skip
    save(made, output)
    _print_policy(made, promised, dataset, output, as_json)


@app.command()
def ensemble(
    models: Annotated[
        list[str],
        typer.Argument(
            help="Two or more .sne files: of one input, encoder and classes.", autocompletion=complete.models
        ),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: ChoosingData,
    data_dir: DataDir = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the cascade may cost; default 0.1.", min=0)
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
    name: Annotated[str | None, typer.Option(help="Name of the model; default the output file's.")] = None,
    seed: Annotated[
        int | None,
        typer.Option(help="Seed of the split, of models that do not name their data; others know theirs.", min=0),
    ] = None,
    other_data: OtherData = False,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Make several models one ensemble: their logits add up, and a calibrated cascade wakes as many as an input needs.

    Networks of your own, chains or graphs, as `quantize` makes them; each one's logits are stretched by a factor that
    the validation samples choose.
    """
    from ..ir.artifact import save
    from ..pipeline.ensemble import ensemble_of
    from ..quantize.join import shared_encoder

    _check_goals(max_drop, target_ops)
    check_output(output, force)
    check_name(name or output.stem.lower())
    members = [load(model) for model in models]
    shared_encoder(members)
    _check_policy(members[0], max_drop, target_ops, policy, early)
    dataset = data_for(members[0], data, data_dir, other_data, seed)
    made, promised = ensemble_of(
        members, name or output.stem.lower(), dataset, 0.1 if max_drop is None else max_drop, target_ops=target_ops,
        kind=policy, early=early, other=other_data,
    )  # fmt: skip
    save(made, output)
    _print_policy(made, promised, dataset, output, as_json)


def _check_goals(max_drop: float | None, target_ops: float | None) -> None:
    if max_drop is not None and target_ops is not None:
        raise SneError("--max-drop and --target-ops are both given", "accuracy or operations: give one of them")
    check_finite(max_drop=max_drop, target_ops=target_ops)


def _check_policy(
    ensemble: QuantEnsemble, max_drop: float | None, target_ops: float | None, kind: str | None, early: str | None
) -> None:
    from ..quantize.calibrate import check_goal
    from ..quantize.early import check_rule

    check_goal(0.1 if max_drop is None else max_drop, target_ops, kind or "cascade")
    if early is not None:
        check_rule(early, ensemble.policy.timesteps or ensemble.encoder.timesteps)


def _print_policy(made: QuantEnsemble, promised: Promise | None, dataset: Dataset, output: Path, as_json: bool) -> None:
    """What a calibrated policy does to validation and test samples; `promised`: where it was chosen now."""
    from ..quantize.calibrate import upper_bound
    from ..quantize.guarantee import samples_needed
    from ..quantize.reject import in_words

    if as_json:
        print_json(made.provenance)
        return
    print_table(
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
    guarantee = made.provenance.get("calibration", {}).get("guarantee")
    if promised is not None and guarantee is not None:
        asked, sure = made.provenance["calibration"]["goal"]["max_drop"], guarantee["confidence"]
        print(
            f"promised: at most {asked:g} points of new samples are right or wrong unlike all students, with "
            f"{sure:.4g} confidence ({guarantee['differing']} of {guarantee['samples']:,} tested were); half of that "
            f"takes {samples_needed(asked / 2, sure):,} samples or more to test"
        )
    elif promised is not None:
        bound = upper_bound(round(promised.differing * len(dataset.y_val)), len(dataset.y_val))
        tell(
            f"right or wrong unlike all students: {promised.differing:.2%} of the validation samples, "
            f"with 95 % confidence at most {bound:.2%} of others like them"
        )
    rejection = made.provenance.get("calibration", {}).get("rejection")
    if rejection is not None:
        tell(in_words(rejection))
    print(f"wrote {output} ({output.stat().st_size:,} bytes)")
