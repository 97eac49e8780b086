"""The application that every command joins."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="sne-edge",
    help="Distil a teacher network into an ensemble of small spiking networks, and run it, bit-exact, on Cortex-M.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
