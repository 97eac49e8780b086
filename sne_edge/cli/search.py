"""The command `search`: the most accurate ensemble within a core's limits."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import byte_size, check_finite, check_layout, check_name, check_output, need_training
from .options import DataDir, Force, Json, Layout
from .output import bars, print_json, print_table, tell


@app.command(short_help="Find the most accurate ensemble within a core's limits.")
def search(
    output: Annotated[Path, typer.Option("-o", "--output", help="The .sne file to write.")],
    target: Annotated[
        str, typer.Option(help="The core that the model is for, such as cortex-m4.", autocompletion=complete.targets)
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="A data set by name (mnist1d the default), an .npz, or a folder of images or recordings.",
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
    round_size: Annotated[
        int | None,
        typer.Option(
            "--round",
            help="Candidates that are drawn together and may train at once; by default 4, or as the journal has it.",
            min=1,
            max=1000,
        ),
    ] = None,
    executor: Annotated[
        str,
        typer.Option(
            help="Where candidates train: inline, processes, processes:N, ray or ray://ADDRESS.",
            autocompletion=complete.words(*complete.EXECUTORS),
        ),
    ] = "processes",
    plan: Annotated[
        bool,
        typer.Option("--plan", help="Say how many candidates would fit in the budget and what they take, and stop."),
    ] = False,
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

    Candidates are jobs of the executor, on a Ray cluster on all its machines, which must see the same cache
    (XDG_CACHE_HOME) and data; what is found does not depend on how many they are. A lost machine's jobs run again on
    others; one that fails is recorded, and the search goes on.
    """
    from dataclasses import asdict

    from ..files import check_writable, open_file, write_whole
    from ..ir.artifact import save

    need_training()
    check_output(output, force)
    check_finite(budget=budget, max_drop=max_drop)
    check_layout(layout)
    if name is not None:
        check_name(name)
    from ..learn.executor import check_executor
    from ..learn.teacher import default_cache
    from ..pipeline import settings
    from ..pipeline.presets import preset
    from ..study.search import Search
    from ..study.search import plan as foreseen
    from ..study.search import search as run
    from ..study.search_journal import check_optuna
    from ..study.search_report import COLUMNS, draw, rows, write_report
    from ..study.search_space import Limits

    check_optuna()
    check_executor(executor)
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
    wanted = Search(
        base, limits, beside[".journal"], default_cache(), budget, trials, executor, round_size, data_dir, layout
    )  # fmt: skip
    if plan:
        print(foreseen(wanted))
        return
    with bars() as progress:
        found = run(wanted, progress)
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
                    "failed": found.failed,
                    "candidates": [asdict(one) for one in found.candidates]})  # fmt: skip
        return
    print_table(
        f"{found.model.name} for {target}: {len(found.candidates)} candidates trained, {found.refused} refused"
        + (f", {len(found.failed)} failed" if found.failed else ""),
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
        f"`sne-edge train --config {beside['.toml']} -o again.sne` makes the model again"
    )
