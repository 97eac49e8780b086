"""The command line: parse, call, print. No logic; every command imports what it needs when it runs."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Any, NoReturn

from ..errors import SneError, printable
from .app import app
from .output import warned

# isort: off
from . import (  # noqa: F401  each adds its commands; the help keeps this order
    train, quantize, calibrate, ensemble, look, deploy, measure, bench, compare, report, search, study, card,
)  # fmt: skip
# isort: on

__all__ = ["app", "main", "run"]

PIPE, INTERRUPTED = 128 + 13, 128 + 2  # exit codes: 128 and the signal's number


def main() -> None:
    """Entry point: one place where errors become `error:` and `hint:` lines and an exit code."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) is signal.SIG_DFL:
            signal.signal(getattr(signal, name), _ended)
    if sys.stdout is None:  # closed by who called: nothing that is asked for could be said
        _complain("standard output is closed", "redirect it to a file, or to /dev/null")
        sys.exit(1)
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        code = PIPE
    except OSError as error:
        code = code or _complain(f"cannot write to standard output: {error.strerror}", "free some space there")
    _seal_stdout()
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Run a command and return its exit code; errors are two lines on standard error, warnings of ours one."""
    try:
        with warned():
            result = app(list(arguments), prog_name="sne-edge", standalone_mode=False)
        if result == INTERRUPTED:
            raise KeyboardInterrupt
        return result if isinstance(result, int) else 0
    except SneError as error:
        return _complain(error.message, error.hint)
    except KeyboardInterrupt:
        _complain("interrupted", "nothing half-written was left; run the command again")
        return INTERRUPTED
    except BrokenPipeError:
        return PIPE
    except MemoryError:
        return _complain("out of memory", "give fewer samples, or a smaller model")
    except Exception as error:
        if hasattr(error, "format_message"):  # what the parser of arguments raises, whose module differs by version
            return _usage(error)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return _complain(
                f"cannot write {error.filename or 'to standard output'}: {error.strerror}", "free some space"
            )
        if os.environ.get("SNE_EDGE_TRACEBACK"):
            raise
        return _complain(
            f"internal error: {type(error).__name__}: {error}",
            "this is a fault of sne-edge: please report it, with what SNE_EDGE_TRACEBACK=1 prints",
        )


def _usage(error: Any) -> int:
    """A command line that does not parse."""
    context = getattr(error, "ctx", None)
    if context is not None and type(error).__name__ == "NoArgsIsHelpError":
        print(context.get_help(), file=sys.stderr)
        return 2
    command = context.command_path if context is not None else "sne-edge"
    message = " ".join(error.format_message().split()).rstrip(".")
    _complain(message[:1].lower() + message[1:], f"`{command} --help` lists what it takes")
    return int(error.exit_code)


def _complain(message: str, hint: str) -> int:
    if sys.stderr is not None:
        print(printable(f"error: {message}\nhint: {hint}"), file=sys.stderr)
    return 1


def _ended(number: int, frame: FrameType | None) -> NoReturn:
    """Leave as an exception does, so that emulators end and temporary files go; processes that train end first."""
    signal.signal(number, signal.SIG_DFL)  # a second one ends at once
    if "multiprocessing" in sys.modules:
        from multiprocessing import active_children

        for child in active_children():
            if "Manager" not in child.name:  # it ends with us, and in order
                child.terminate()
    raise SystemExit(128 + number)


def _seal_stdout() -> None:
    """Let the interpreter's own last flush, of what could not be written, go nowhere and say nothing."""
    with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
        try:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
        except (OSError, ValueError, AttributeError):  # no file of its own: replaced by a caller
            return
