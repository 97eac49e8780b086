"""Commands that try and tell: `search`, `study`, `card`, `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import (
    byte_size,
    check_finite,
    check_layout,
    check_name,
    check_output,
    check_places,
    default_places,
    encoded_samples,
    load,
    need_training,
    numbers,
)
from .options import DataDir, DeviceOption, Executor, Force, Json, Layout, Model, OtherData, Precision
from .output import bars, print_json, print_table, status, tell

if TYPE_CHECKING:
    from ..study.lab import Lab


@app.command()
def search(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    target: Annotated[
        str, typer.Option(help="The core that the model is for, such as cortex-m4.", autocompletion=complete.targets)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set by name (mnist1d the default), an .npz, or a folder of images.",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A TOML file of settings, as `train` writes one, to search from; options go before it."),
    ] = None,
    max_instructions: Annotated[
        int | None, typer.Option(help="Mean instructions of an inference, at most.", min=1)
    ] = None,
    max_flash: Annotated[
        str | None, typer.Option(help="Flash for the model's tables and the engine's code, at most, such as 64K.")
    ] = None,
    max_ram: Annotated[str | None, typer.Option(help="RAM for state, input and stack, at most, such as 8K.")] = None,
    budget: Annotated[
        float, typer.Option(help="Minutes that the search may take, the last training among them.", min=0.01)
    ] = 60,
    trials: Annotated[int | None, typer.Option(help="Candidates to train, at most.", min=1)] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Epochs of the last training; by default as the data set needs.", min=1)
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option(
            help="Partition of the teacher's features, as `train` has it.",
            autocompletion=complete.words(*complete.SCHEMES),
        ),
    ] = None,
    teacher: Annotated[
        str | None, typer.Option(help="Size of the built-in teacher, small or large, or an ONNX file (*.onnx).")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(help="Points of accuracy that the cascade may cost; by default 0.1.", min=0)
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random; by default 0.", min=0)] = None,
    name: Annotated[str | None, typer.Option(help="Name of the model; default the data set's.")] = None,
    data_dir: DataDir = None,
    layout: Layout = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Find the most accurate ensemble that a core's limits allow: sizes, timesteps, bits, decay, number of students.

    A cost model refuses what does not fit before it is trained; the rest train briefly, the better ones for longer, and
    the best one in full. Beside the .sne lie a table (.md), a picture (.png), the settings (.toml) and a journal, with
    which the same command goes on where it was. Validation samples choose.
    """
    from dataclasses import asdict

    from ..data.dataset import load_dataset
    from ..files import check_writable, open_file, write_whole
    from ..ir.artifact import save

    need_training()
    check_output(output, force)
    check_finite(budget=budget, max_drop=max_drop)
    check_layout(layout)
    if name is not None:
        check_name(name)
    from ..learn.teacher import default_cache
    from ..pipeline import settings
    from ..pipeline.presets import preset
    from ..study.search import search as run
    from ..study.search_journal import check_optuna
    from ..study.search_report import COLUMNS, draw, rows, write_report
    from ..study.search_space import Limits

    check_optuna()
    limits = Limits(target, max_instructions, byte_size("--max-flash", max_flash), byte_size("--max-ram", max_ram))
    base = preset(data or "mnist1d") if config is None else settings.read(config)
    base = settings.changed(
        base, dataset=data, scheme=scheme, teacher=teacher, max_drop=max_drop, seed=seed, name=name
    )  # fmt: skip
    if epochs is not None:
        base = settings.with_epochs(base, epochs)
    if base.body.residual:
        raise SneError("a search knows no residual blocks", "leave `residual` out of the settings; `train` takes it")
    if base.onnx:
        open_file(base.teacher, 2**31, hint="give the path of an ONNX file").close()
    beside = {suffix: output.with_suffix(suffix) for suffix in (".md", ".png", ".toml", ".journal")}
    if config is not None and beside[".toml"].resolve() == config.resolve():
        raise SneError(f"{config} would be overwritten", "give another name with -o")
    check_writable(beside[".journal"])  # which a search goes on with
    for suffix in (".md", ".png", ".toml"):
        check_output(beside[suffix], force)
    with bars() as progress:
        found = run(
            base, load_dataset(base.dataset, base.seed, data_dir, layout=layout), limits, beside[".journal"],
            minutes=budget, trials=trials, cache=default_cache(), progress=progress,
        )  # fmt: skip
    limited = [("instructions", max_instructions), ("flash", max_flash), ("ram", max_ram)]
    command = f"sne-edge search --data {Path(base.dataset).name} --target {target}"
    command += "".join(f" --max-{what} {value}" for what, value in limited if value is not None)
    command += f" --budget {budget:g} --seed {base.seed}" + (f" --epochs {epochs}" if epochs else "")
    save(found.model, output)
    write_whole(beside[".toml"], lambda file: file.write(settings.write(found.config).encode()))
    write_report(found, limits, command, beside[".md"])
    draw(found, limits, beside[".png"])
    if as_json:
        print_json({"chosen": asdict(found.chosen), "need": asdict(found.needed), "refused": found.refused,
                    "candidates": [asdict(one) for one in found.candidates]})  # fmt: skip
        return
    print_table(
        f"{found.model.name} for {target}: {len(found.candidates)} candidates trained, {found.refused} refused",
        COLUMNS, list(rows(found)), left=0, spare=("kernels", "strides", "decay", "bits", "flash B", "timesteps"),
    )  # fmt: skip
    told = found.model.provenance["integer"]
    estimate = found.needed.estimates[0]
    tell(
        f"trained in full: validation {told['validation'][-1]['accuracy']:.2%}, "
        f"test {told['test'][-1]['accuracy']:.2%}; "
        f"{estimate.mean:,} instructions as modelled, no input takes more than {estimate.worst:,}"
    )
    tell(
        f"wrote {output} ({output.stat().st_size:,} bytes), {beside['.md']} and {beside['.png']}; "
        f"`sne-edge train --config {beside['.toml']}` makes the model again"
    )


@app.command()
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="ensemble, partition, cascade, noise, baselines, timesteps or guarantee; or all: each on every data "
            "set that a claim is made on.",
            autocompletion=complete.words(*complete.STUDIES, "all"),
        ),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set by name (mnist1d the default), an .npz, or a folder of images; of all, several with "
            "commas (default: those that are at hand).",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    data_dir: DataDir = None,
    seeds: Annotated[str, typer.Option(help="Seeds of the runs, such as 0,1,2.")] = "0,1,2",
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the tables.")] = Path("docs/results"),
    budget: Annotated[float | None, typer.Option(help="Minutes that each model's training may take.", min=0.01)] = None,
    schemes: Annotated[
        str | None, typer.Option(help="Partition schemes to compare, such as random,disentangled; default all.")
    ] = None,
    executor: Executor = "processes",
    device: DeviceOption = "cpu",
    precision: Precision = "auto",
    plan: Annotated[
        bool, typer.Option("--plan", help="Say which models there would be and what they take, and stop.")
    ] = False,
    force: Force = False,
) -> None:
    """Train what a study needs and write its table. A study that was killed goes on where it was.

    `all` makes every table that is not there by the code of now, then summary.md of them; data sets that are not at
    hand are left out and named.

    Models that are not there yet are jobs of the executor, on a Ray cluster on all its machines, which must see the
    same cache (XDG_CACHE_HOME) and data; a lost machine's jobs run again on others.
    """
    from dataclasses import replace

    need_training()
    check_finite(budget=budget)
    from ..learn.device import find_device
    from ..learn.executor import check_executor
    from ..learn.partition import SCHEMES
    from ..learn.teacher import default_cache
    from ..study import jobs, studies
    from ..study.lab import Lab
    from ..study.table import cell

    check_executor(executor)
    where = find_device(device, precision)
    whole, one = name == "all", data or "mnist1d"
    if not whole:
        studies.check_study(name)
    for suffix in () if whole or plan else (".md", ".json", ".png"):
        check_output(output / f"{name}-{Path(one).stem}{suffix}", force)
    chosen = tuple(schemes.split(",")) if schemes else tuple(SCHEMES)
    if odd := [scheme for scheme in chosen if scheme not in SCHEMES]:
        raise SneError(f"there is no partition scheme {odd[0]!r}", f"schemes: {', '.join(sorted(SCHEMES))}")
    drawn = numbers("--seeds", seeds)
    if not all(0 <= seed < 2**31 for seed in drawn):
        raise SneError(f"--seeds is {seeds!r}", "give seeds in 0..2^31-1")
    changes = {} if budget is None else {"minutes": budget}
    lab = Lab(one, drawn, default_cache(), executor, changes=changes, folder=data_dir, schemes=chosen, device=where)
    if whole:
        _study_all(lab, data.split(",") if data else [], output, plan, force)
        return
    if plan:
        print(jobs.estimate([lab.job(config) for config in studies.plan(name, lab)], executor))
        return
    with bars() as progress:
        table = studies.run_study(name, replace(lab, progress=progress), output)
    print_table(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])
    print(f"wrote {output / f'{name}-{lab.label}.md'}")


def _study_all(lab: Lab, datasets: list[str], output: Path, plan: bool, force: bool) -> None:
    """Every claim: what there is to do, then, unless that is asked for alone, all tables and their summary."""
    from ..study import claims

    found = claims.planned(lab, datasets, output)
    rows = [[claim.name, "there" if claim.done else str(claim.estimate)] for claim in found.claims]
    print_table(f"{len(rows)} tables of seeds {', '.join(map(str, lab.seeds))}", ["table", "models"], rows)
    for name, why in found.skipped.items():
        print(f"left out: {name}: {why}")
    print(f"all together: {found.total}; CNNs and what is measured come on top")
    if plan:
        return
    for claim in found.claims:
        for suffix in () if claim.done else (".md", ".json", ".png"):
            check_output(output / f"{claim.name}{suffix}", force)
    with bars() as progress:
        failed = claims.run_claims(found, output, progress)
    print(f"wrote {output / 'summary.md'}")
    if failed:
        raise SneError(
            f"{len(failed)} of {len(rows)} tables could not be made: "
            + "; ".join(f"{name}: {why}" for name, why in failed.items()),
            "the same command makes those that are missing",
        )


@app.command()
def card(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The Markdown file to write; default NAME.md.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set by name, or an .npz. Default: the one that the model was made for.",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    data_dir: DataDir = None,
    other_data: OtherData = False,
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="An emulated board. May be repeated. Default: Cortex-M0, M3, M4 and M55.",
            autocompletion=complete.boards,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Measure and verify a model everywhere, and write what was found as its model card."""
    from ..files import write_whole
    from ..study.card import BOARDS, markdown, measure

    need_training()
    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.md")
    check_output(path, force)
    boards = [where.removeprefix("qemu:") for where in on or BOARDS]
    default_places([])
    check_places(f"qemu:{board}" for board in boards)
    trained = ensemble.provenance.get("dataset")
    known = trained.get("name") if isinstance(trained, dict) else None
    inputs, labels = encoded_samples(
        ensemble, (known if isinstance(known, str) else None) if data is None else data, data_dir, other_data
    )
    with status() as say:
        record = measure(ensemble, inputs, labels, boards, say)
    write_whole(path, lambda file: file.write(markdown(record).encode()))
    if as_json:
        print_json(record)
        return
    print(f"wrote {path}")


@app.command()
def plot(
    model: Model,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The PNG to write; default NAME.png.")] = None,
    force: Force = False,
) -> None:
    """Draw accuracy against operations, from the figures that training recorded in the model."""
    from ..study.pictures import draw

    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.png")
    check_output(path, force)
    print(f"wrote {draw(ensemble, path)}")
