"""Commands that tell of models: `study`, `card`, `plot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import SneError
from .app import app
from .inputs import check_finite, check_places, default_places, encoded_samples, load, need_training, numbers
from .options import DataDir, Executor, Json, Model, OtherData
from .output import bars, print_json, print_table, status

if TYPE_CHECKING:
    pass


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
    need_training()
    check_finite(budget=budget)
    from ..files import check_writable
    from ..learn.executor import check_executor
    from ..learn.partition import SCHEMES
    from ..learn.teacher import default_cache
    from ..study.lab import Lab, cell
    from ..study.studies import check_study, run_study

    check_executor(executor)
    check_study(name)
    check_writable(output / f"{name}.md")
    chosen = tuple(schemes.split(",")) if schemes else tuple(SCHEMES)
    if odd := [scheme for scheme in chosen if scheme not in SCHEMES]:
        raise SneError(f"there is no partition scheme {odd[0]!r}", f"schemes: {', '.join(sorted(SCHEMES))}")
    drawn = numbers("--seeds", seeds)
    if not all(0 <= seed < 2**31 for seed in drawn):
        raise SneError(f"--seeds is {seeds!r}", "give seeds in 0..2^31-1")
    with bars() as progress:
        changes = {} if budget is None else {"minutes": budget}
        lab = Lab(dataset, drawn, default_cache(), executor, progress, changes, data_dir, chosen)
        table = run_study(name, lab, output)
    print_table(table.title, table.columns, [[cell(value) for value in row] for row in table.rows])
    print(f"wrote {output / f'{name}-{lab.label}.md'}")


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
    other_data: OtherData = False,
    on: Annotated[
        list[str] | None, typer.Option(help="An emulated board. May be repeated. Default: Cortex-M0, M3, M4 and M55.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure and verify a model everywhere, and write what was found as its model card."""
    from ..files import check_writable, write_whole
    from ..study.card import BOARDS, markdown, measure

    need_training()
    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.md")
    check_writable(path)
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
) -> None:
    """Draw accuracy against operations, from the figures that training recorded in the model."""
    from ..files import check_writable
    from ..study.report import draw

    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.png")
    check_writable(path)
    print(f"wrote {draw(ensemble, path)}")
