"""The command line, called in this process: what one of its own prints and returns, without the seconds that starting
Python and importing torch take. That they are the same is tested in `test_cli.py`."""

from __future__ import annotations

import io
import subprocess
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from sne_edge.cli import run


def called(
    *arguments: str | Path, cwd: Path | None = None, path: str | None = None
) -> subprocess.CompletedProcess[str]:
    """The outcome of a command in the folder `cwd`; `path`: where it finds tools, in place of $PATH and $CC."""
    words, out, err = [str(word) for word in arguments], io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        if cwd is not None:
            patch.chdir(cwd)
        if path is not None:
            patch.setenv("PATH", path)
            patch.setenv("CC", "")
        code = run(words)
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
