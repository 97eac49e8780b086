"""The commands `card` and `plot`: what was measured of a model, written and drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import complete
from .app import app
from .inputs import check_output, check_picture, check_places, default_places, encoded_samples, load, need_training
from .options import DataDir, Force, Json, Model, OtherData
from .output import print_json, status


@app.command(short_help="Measure and verify a model everywhere: its model card.")
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


@app.command(short_help="Draw a model's accuracy against its operations.")
def plot(
    model: Model,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The PNG to write; default NAME.png.")] = None,
    force: Force = False,
) -> None:
    """Draw accuracy against operations, from the figures that training recorded in the model."""
    from ..study.pictures import draw

    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.png")
    check_picture(path, force)
    print(f"wrote {draw(ensemble, path)}")
