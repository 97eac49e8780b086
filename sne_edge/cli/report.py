"""The command that writes a page about a model: `report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import complete
from .app import app
from .inputs import check_output, check_places, encoded_samples, load
from .options import Data, DataDir, Force, Json, Model, OtherData
from .output import print_json, status


@app.command(short_help="Write one page about a model: accuracy, cost, spikes, proof.")
def report(
    model: Model,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="The HTML file to write; default NAME.html.")
    ] = None,
    data: Data = None,
    data_dir: DataDir = None,
    other_data: OtherData = False,
    on: Annotated[
        list[str] | None,
        typer.Option(
            help="Where to verify and count as well: qemu:BOARD, a serial port, or socket://HOST:PORT. May be "
            "repeated. Default: nowhere; instructions are modelled then.",
            autocompletion=complete.places,
        ),
    ] = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Write one page about a model: accuracy against cost, confusions, spikes, memory, energy, proof, origin.

    The page is one file, without scripts, that asks nothing of a network.
    """
    from ..files import holding, write_whole
    from ..study.page import html
    from ..study.report import gather, plain

    ensemble = load(model)
    path = output or Path(f"{ensemble.name}.html")
    check_output(path, force)
    check_places(on or [])
    bare = data is None and not len(ensemble.vectors.inputs)
    inputs, labels = (None, None) if bare else encoded_samples(ensemble, data, data_dir, other_data)
    with status() as say:
        made = gather(ensemble, inputs, labels, None if data is None else Path(data).name, on or [], say)
    write_whole(path, holding(html(made).encode()))
    if as_json:
        print_json(plain(made))
        return
    print(f"wrote {path} ({path.stat().st_size:,} bytes)")
