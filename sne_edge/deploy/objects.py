"""Objects: C compiled for a core, and kept in the user's cache, so that what did not change is not compiled again.

In: a compiler, its flags, and sources. Out: objects. An object is kept under everything that decides it: its source as
the preprocessor leaves it, the flags, and the compiler. What cannot be preprocessed or kept is compiled, as ever.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..store import Store
from .targets import quoted
from .tools import described, key_of, run_tool

STORE = Store("objects", ".o", limit=64 << 20)


def compile_objects(
    cc: str, flags: Sequence[str], folders: Sequence[Path], sources: Sequence[Path], work: Path
) -> list[Path]:
    """The objects of sources, in `work`, each with its source's name; several are compiled at once.

    `flags`: what decides the code; `folders`: where `#include "..."` looks, first to last.
    Raises `SneError` where the compiler is missing or complains.
    """

    def one(source: Path) -> Path:
        made = work / f"{source.stem}.o"
        command = [cc, *flags, *quoted(*folders)]
        key = _key(cc, flags, [*command, "-E", "-P", str(source)], source, work)
        kept = STORE.find(key) if key else None
        if kept:
            made.write_bytes(kept[1])
        else:
            run_tool([*command, "-c", str(source), "-o", made.name], work)
            if key:
                STORE.keep(key, made.read_bytes())
        return made

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, sources))


def _key(cc: str, flags: Sequence[str], preprocess: Sequence[str], source: Path, work: Path) -> str | None:
    """The key of a source's object, or None where the preprocessor fails: the compiler will say why."""
    try:
        done = subprocess.run(preprocess, cwd=work, capture_output=True, check=False)
    except FileNotFoundError:
        return None
    return key_of([described(cc), *flags, source.name, done.stdout]) if done.returncode == 0 else None
