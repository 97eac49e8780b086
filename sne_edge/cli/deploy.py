"""Commands that write C and firmware: `export`, `build`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .app import app
from .inputs import exported, load
from .options import Json, Model
from .output import print_json, print_table

if TYPE_CHECKING:
    pass


@app.command()
def export(
    model: Model,
    target: Annotated[str, typer.Option(help="A target's name; see `sne-edge targets`.")] = "cortex-m",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="Directory to write; default NAME-c.")] = None,
) -> None:
    """Write a model as a self-contained directory of C99."""
    from ..deploy.export import export as write
    from ..deploy.targets import resolve_target

    resolve_target(target)
    ensemble = load(model)
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

    from ..deploy.boards import resolve_board
    from ..deploy.build import build_firmware, check_tools
    from ..deploy.targets import resolve_target
    from ..files import check_writable

    check_tools(resolve_target(resolve_board(board).target))
    if output is not None:
        check_writable(output / "firmware.elf")
    with exported(model, board) as (name, directory):
        firmware = build_firmware(directory, board, output or Path(f"{name}-{board}"))
    if as_json:
        print_json(asdict(firmware))
        return
    print_table(
        f"{name} on {board}",
        ["flash B", "of it weights B", "static RAM B", "image"],
        [[f"{firmware.flash_bytes:,}", f"{firmware.weight_bytes:,}", f"{firmware.ram_bytes:,}", str(firmware.elf)]],
    )
