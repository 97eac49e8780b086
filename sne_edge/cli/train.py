"""The command `train`: a data set becomes a model."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import check_finite, check_layout, check_name, check_output, need_training, numbers, reals
from .options import DataDir, DeviceOption, Executor, Force, Json, Layout, Precision
from .output import bars, print_json, print_table, tell

if TYPE_CHECKING:
    from ..learn.recipe import Recipe
    from ..learn.student import Body


@app.command(short_help="Make a model of a data set: teacher, students, integers.")
def train(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="mnist1d (the default), fashion-mnist, fsdd, fsdd-speakers, cifar10-jpeg, cifar10, of events "
            "fsdd-spikes, nmnist or shd, an .npz (also of rasters), or a folder of images, or of recordings (.wav, "
            ".csv).",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="A TOML file of settings, as is written beside each model, or the name of one that ships (cifar10, "
            "cifar10-1mb); options go before it."
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
        str | None,
        typer.Option(help="Channels of a student's convolutions, such as 8,32,40; by default as the data set needs."),
    ] = None,
    kernels: Annotated[str | None, typer.Option(help="Their kernels, such as 7,5,3, or one for all.")] = None,
    strides: Annotated[str | None, typer.Option(help="Their strides, such as 2,1,2, or one for all.")] = None,
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
        typer.Option(
            help="What has a scale of its own: auto (the default: as the samples need it, with an offset where they "
            "lie far from zero), network (the whole input), or per-channel."
        ),
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
    augment: Annotated[
        str | None,
        typer.Option(
            help="How views of samples are made, the teacher's, the students' and those that margins are chosen on: "
            "light (the default), none, or a list such as shift=4,mirror,scale=0.2: shift (places), scale, noise "
            "(deviations), stretch, crop, erase (shares), rotate (degrees), mirror (left to right, or backwards in "
            "time), flip (upside down); light in a list keeps what is light. Or FILE.py:NAME, any callable on a float "
            "tensor [N, channels, height, width], such as a torchvision.transforms.v2.Compose, which is run.",
            autocompletion=complete.words("light", "none"),
        ),
    ] = None,
    views: Annotated[
        int | None, typer.Option(help="Views of each sample that are kept, itself being one; usually 16.", min=1)
    ] = None,
    anew: Annotated[
        bool | None,
        typer.Option("--anew/--no-anew", help="Whether students see views made anew in every batch, of kept ones."),
    ] = None,
    live: Annotated[
        bool | None,
        typer.Option(
            "--live/--no-live",
            help="Whether views are made anew of the sample itself, and the teacher answers to each.",
        ),
    ] = None,
    reach: Annotated[
        int | None,
        typer.Option(help="Places that a view made anew is shifted by, at most; by default as others.", min=0, max=64),
    ] = None,
    noise: Annotated[
        float | None,
        typer.Option(
            help="Learn under noise of up to this severity, 0 to 5, by default 0, teacher and students alike: of data "
            "with a front end (FSDD) white noise and babble in the recordings, from 30 dB down to 6 dB less for each "
            "severity; else white noise and impulses in the values, as `study noise` has them.",
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
    from ..check.evaluation import commonest
    from ..data import units
    from ..data.dataset import load_dataset
    from ..files import open_file, write_whole
    from ..ir.artifact import save
    from ..learn.augmentation import LIGHT, parse

    need_training()
    check_output(output, force)
    check_finite(budget=budget, spike_rate=spike_rate, noise=noise, max_drop=max_drop)
    check_layout(layout)
    how = None if augment is None else parse(augment)
    if name is not None:
        check_name(name)
    from ..learn.device import find_device
    from ..learn.executor import check_executor
    from ..learn.teacher import default_cache
    from ..learn.transforms import Own
    from ..pipeline import settings, track
    from ..pipeline.presets import preset
    from ..pipeline.train import learnt
    from ..pipeline.train import train as run

    base = preset(data or "mnist1d") if config is None else settings.read(config)
    chosen = settings.changed(
        base, dataset=data, scheme=scheme, students=students, timesteps=timesteps, teacher=teacher,
        features=features, logits=logits, weights=None if weights is None else str(weights),
        teacher_input=teacher_input, teacher_mean=reals("--teacher-mean", teacher_mean),
        teacher_deviation=reals("--teacher-deviation", teacher_deviation), fine_tune=fine_tune,
        views=views, augmentation=how, minutes=budget, noise=noise, max_drop=max_drop, early=early, seed=seed,
        name=name, input_scale=input_scale,
    )  # fmt: skip
    chosen = replace(chosen, body=_convolutions(chosen.body, channels, kernels, strides))
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
    if how is not None or reach is not None:  # what is said of all views goes before a file's reach
        chosen = replace(chosen, recipe=replace(chosen.recipe, reach=reach))
    chosen = replace(chosen, recipe=_views(chosen.recipe, anew, live))
    if reach is not None and not (chosen.augmentation.shift and (chosen.recipe.anew or chosen.recipe.live)):
        why = "no views are made anew" if chosen.augmentation.shift else "the augmentation shifts nothing"
        raise SneError(f"--reach is {reach}, and {why}", "give --anew or --live, or --augment shift=PLACES, as well")
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
    if chosen.augmentation.own is not None:
        Own(chosen.augmentation.own)
    with bars() as shown, track.tracked(log, run_name, log_dir, shown) as progress:
        found = learnt(load_dataset(chosen.dataset, chosen.seed, data_dir, layout=layout), chosen.input_scale)
        print(f"samples: {found.understood}", file=sys.stderr)
        if found.units is not None:
            print(f"learned in units of the training samples: {units.told(found.units)}", file=sys.stderr)
        if chosen.augmentation != LIGHT:
            once = chosen.augmentation.of(found).nothing and not chosen.noise
            told = "; each sample is seen once, as it is" if once else ""
            print(f"augmentation: {chosen.augmentation.word}{told}", file=sys.stderr)
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
        f"`sne-edge train --config {recipe} -o again.sne` makes it again"
        + (
            ""
            if chosen.minutes is None
            else ", roughly: minutes end training, and a computer does more or less in them"
        )
    )


def _convolutions(body: Body, channels: str | None, kernels: str | None, strides: str | None) -> Body:
    """A body with other convolutions, by options; a single kernel or stride is that of all."""
    made = body.channels if channels is None else numbers("--channels", channels)

    def each(option: str, text: str | None, before: tuple[int, ...]) -> tuple[int, ...]:
        given = before if text is None else numbers(option, text)
        return given * len(made) if text is not None and len(given) == 1 else given

    sizes, steps = each("--kernels", kernels, body.kernels), each("--strides", strides, body.strides)
    return replace(body, channels=made, kernels=sizes, strides=steps)


def _views(recipe: Recipe, anew: bool | None, live: bool | None) -> Recipe:
    """A recipe with other views of a batch, by options. A teacher who answers live needs views that are made anew."""
    if live and anew is False:
        raise SneError("--live makes views anew, and --no-anew none", "leave one of them out")
    if live is not None:
        recipe = replace(recipe, live=live)
    if anew is not None:
        recipe = replace(recipe, anew=anew, live=recipe.live and anew)
    return recipe
