"""The command line: parse, call, print. No logic; every command imports what it needs when it runs."""

from __future__ import annotations

import sys

from ..errors import SneError
from .app import app

# isort: off
from . import make, look, deploy, measure, study  # noqa: F401  each adds its commands; the help keeps this order
# isort: on

__all__ = ["app", "main"]


def main() -> None:
    """Entry point: one place where errors become `error:` and `hint:` lines and an exit code."""
    try:
        app()
    except SneError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        sys.exit(1)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except KeyboardInterrupt:
        print("error: interrupted\nhint: nothing half-written was left; run the command again", file=sys.stderr)
        sys.exit(130)
