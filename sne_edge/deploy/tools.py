"""Tools of a toolchain: whether they are there, what decides how they work, and what they say when they fail."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from ..errors import SneError
from .targets import TOOLCHAINS, Target


def check_tools(target: Target) -> None:
    """Raise `SneError` where the target's compiler is not installed."""
    if shutil.which(target.cc) is None:
        raise SneError(f"{target.cc} is not installed", _hint(target.cc))


def run_tool(command: Sequence[str], work: Path) -> str:
    """Run a tool in `work` and return what it printed. Raises `SneError` where it is missing or fails."""
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise SneError(f"{command[0]} is not installed", _hint(command[0])) from None
    if done.returncode:
        lines = [line for line in done.stderr.strip().splitlines() if line.strip()]
        chosen = [x for x in lines if "error" in x or "overflowed" in x or "undefined" in x] or lines
        missing = any("nano.specs" in line or "picolibc.specs" in line or "string.h" in line for line in lines)
        raise SneError(
            f"{command[0]} failed: " + "\n".join(chosen[-5:]).replace(f"{work}/", ""),
            _hint(command[0]) if missing else "was the exported directory edited? export the model again",
        )
    return done.stdout


def _hint(command: str) -> str:
    """How to get the toolchain that a command belongs to."""
    return next((tools.hint for tools in TOOLCHAINS if command.startswith(tools.prefix)), "install it")


def described(*cc: str) -> str:
    """A compiler's command, place, version, and what of the environment decides how it works."""
    names = ("PATH", "CPATH", "C_INCLUDE_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX")
    return _described(cc, *(f"{name}={os.environ.get(name, '')}" for name in names))


@cache
def _described(cc: tuple[str, ...], *settings: str) -> str:
    done = subprocess.run([*cc, "--version"], capture_output=True, text=True, check=False)
    path = Path(shutil.which(cc[0]) or cc[0]).resolve()
    return "\n".join([shlex.join(cc), str(path), done.stdout, *settings[1:]])


def key_of(parts: Iterable[str | bytes]) -> str:
    """32 hex digits over all that decides what a compiler makes; what is kept is kept under them."""
    made = hashlib.sha256()
    for part in (p.encode() if isinstance(p, str) else p for p in parts):
        made.update(f"{len(part)} ".encode() + part)
    return made.hexdigest()[:32]
