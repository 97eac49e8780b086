"""The command `study`: tables of the method."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import check_finite, check_output, need_training, numbers
from .options import DataDir, DeviceOption, Executor, Force, Precision
from .output import bars, print_table


@app.command(short_help="Train what a study of the method needs, write its table.")
def study(
    name: Annotated[
        str,
        typer.Argument(
            help="ensemble, partition, cascade, noise, baselines or timesteps.",
            autocompletion=complete.words(*complete.STUDIES),
        ),
    ],
    data: Annotated[
        str,
        typer.Option(help="A data set by name, an .npz, or a folder of images.", autocompletion=complete.data_sets),
    ] = "mnist1d",
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
    force: Force = False,
) -> None:
    """Train what a study needs and write its table. A study that was killed goes on where it was.

    Models that are not there yet are jobs of the executor, on a Ray cluster on all its machines, which must see the
    same cache (XDG_CACHE_HOME) and data; a lost machine's jobs run again on others.
    """
    need_training()
    check_finite(budget=budget)
    from ..learn.device import find_device
    from ..learn.executor import check_executor
    from ..learn.partition import SCHEMES
    from ..learn.teacher import default_cache
    from ..study.lab import Lab, cell
    from ..study.studies import check_study, run_study

    check_executor(executor)
    where = find_device(device, precision)
    check_study(name)
    for suffix in (".md", ".json", ".png"):
        check_output(output / f"{name}-{Path(data).stem}{suffix}", force)
    chosen = tuple(schemes.split(",")) if schemes else tuple(SCHEMES)
    if odd := [scheme for scheme in chosen if scheme not in SCHEMES]:
        raise SneError(f"there is no partition scheme {odd[0]!r}", f"schemes: {', '.join(sorted(SCHEMES))}")
    drawn = numbers("--seeds", seeds)
    if not all(0 <= seed < 2**31 for seed in drawn):
        raise SneError(f"--seeds is {seeds!r}", "give seeds in 0..2^31-1")
    with bars() as progress:
        changes = {} if budget is None else {"minutes": budget}
        lab = Lab(data, drawn, default_cache(), executor, progress, changes, data_dir, chosen, where)
        table = run_study(name, lab, output)
    print_table(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])
    print(f"wrote {output / f'{name}-{lab.label}.md'}")
