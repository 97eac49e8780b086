"""The application that every command joins."""

from __future__ import annotations

from typing import Annotated

import typer

OLD_NAMES = {"dataset": "data"}  # of options: what scripts say still holds, and no help tells

app = typer.Typer(
    name="sne-edge",
    help="Distil a teacher into an ensemble of small spiking networks, and run it bit-exact on microcontrollers.",
    epilog="First steps: sne-edge doctor, inspect mnist1d, export mnist1d, bench mnist1d; each has --help.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "token_normalize_func": lambda option: OLD_NAMES.get(option, option),
    },
)


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"sne-edge {version('sne-edge')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Distil a teacher into an ensemble of small spiking networks, and run it bit-exact on microcontrollers."""
