"""The command `study`: tables of the method."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError
from . import complete
from .app import app
from .inputs import check_finite, check_output, need_training, numbers
from .options import DataDir, DeviceOption, Executor, Force, Precision
from .output import bars, print_table, tell

if TYPE_CHECKING:
    from ..study.lab import Lab


@app.command(short_help="Train what a study of the method needs, write its table.")
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
            help="A data set by name (mnist1d the default), an .npz, or a folder of images or recordings; of all, "
            "several with commas (default: those that are at hand).",
            autocompletion=complete.data_sets,
        ),
    ] = None,
    config: Annotated[
        str | None,
        typer.Option(
            help="Study settings of one's own, a TOML file or shipped ones, in place of the data set's preset; not all."
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
    from ..pipeline import settings
    from ..study import jobs, studies
    from ..study.lab import Lab
    from ..study.table import cell

    check_executor(executor)
    where = find_device(device, precision)
    whole, own = name == "all", None if config is None else settings.read(config)
    if whole and own is not None:
        raise SneError(
            "all studies are of the presets, and settings are given", "name one study, or leave out --config"
        )
    if not whole:
        studies.check_study(name)
    usual = "mnist1d" if own is None else own.dataset
    one = usual if data is None else data
    chosen = tuple(schemes.split(",")) if schemes else tuple(SCHEMES)
    if odd := [scheme for scheme in chosen if scheme not in SCHEMES]:
        raise SneError(f"there is no partition scheme {odd[0]!r}", f"schemes: {', '.join(sorted(SCHEMES))}")
    drawn = numbers("--seeds", seeds)
    if not all(0 <= seed < 2**31 for seed in drawn):
        raise SneError(f"--seeds is {seeds!r}", "give seeds in 0..2^31-1")
    changes = {} if budget is None else {"minutes": budget}
    lab = Lab(
        one, drawn, default_cache(), executor, changes=changes, folder=data_dir, schemes=chosen, device=where,
        settings=own, source=config or "",
    )  # fmt: skip
    if whole:
        _study_all(lab, [] if data is None else data.split(","), output, plan, force)
        return
    for suffix in () if plan else (".md", ".json", ".png"):
        check_output(output / f"{lab.table(name)}{suffix}", force)
    if plan:
        print(jobs.estimate([lab.job(config) for config in studies.plan(name, lab)], executor))
        return
    with bars() as progress:
        table = studies.run_study(name, replace(lab, progress=progress), output)
    print_table(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])
    print(f"wrote {output / f'{lab.table(name)}.md'}")


def _study_all(lab: Lab, datasets: list[str], output: Path, plan: bool, force: bool) -> None:
    """Every claim: what there is to do, then, unless that is asked for alone, all tables and their summary."""
    from ..study import claims
    from ..study.jobs import minutes

    found = claims.planned(lab, datasets, output)
    rows = [
        [
            claim.name,
            "yes" if claim.done else "no",
            str(due.models),
            str(due.there),
            minutes(due.each),
            minutes(due.wall),
        ]
        for claim in found.claims
        for due in [claim.estimate]
    ]
    columns = ("table", "there", "models", "of them there", "minutes each", "in all")
    print_table(f"{len(rows)} tables of seeds {', '.join(map(str, lab.seeds))}", columns, rows)
    for name, why in found.skipped.items():
        tell(f"left out: {name}: {why}")
    tell(f"all together: {found.total}; CNNs and what is measured come on top")
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
