"""Shared libraries: a model's C compiled for this computer, and kept in the user's cache.

In: an exported directory, or a `QuantEnsemble`. Out: a library, on disk or opened. A library is kept under everything
that decides it: the generated C, the runtime's, flags, the compiler and this computer's processor.
"""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..files import workspace
from ..ir.ensemble import QuantEnsemble
from ..resources import RUNTIME, digest
from ..store import Store
from .export import read_manifest, render
from .folder import write_files
from .targets import quoted, resolve_target
from .tools import described, key_of

# gcc's unroll-and-jam undoes the vectorisation of the accumulation loops.
CFLAGS = ("-std=c99", "-O3", "-march=native", "-fPIC", "-shared", "-fvisibility=default")
GCC_ONLY = ("-fno-loop-unroll-and-jam",)
STORE = Store("host", ".so", limit=256 << 20)


def compiler() -> list[str]:
    """The host's C compiler: $CC, or the first of cc, gcc, clang. Raises `SneError` where there is none."""
    command = shlex.split(os.environ.get("CC", ""))
    for candidate in (command, ["cc"], ["gcc"], ["clang"]):
        if candidate and shutil.which(candidate[0]):
            return candidate
    raise SneError("no C compiler found (tried $CC, cc, gcc, clang)", "install one: apt-get install gcc")


def build_library(
    directory: Path | str, output: Path | str, extra_sources: Sequence[Path] = (), definitions: Sequence[str] = ()
) -> Path:
    """Compile an exported directory, `sne_batch.c` and `extra_sources` to the shared library `output`.

    `definitions`: preprocessor symbols, such as SNE_TRACE, which keeps all membranes.
    """
    directory = Path(directory)
    manifest = read_manifest(directory)
    sources = [directory / name for name in manifest["sources"]] + [RUNTIME / "sne_batch.c", *extra_sources]
    cc = compiler()
    base = [
        *cc,
        *CFLAGS,
        *(f"-D{name}" for name in definitions),
        *quoted(directory, RUNTIME),
        "-o",
        str(output),
        *map(str, sources),
    ]
    done = subprocess.run([*base, *GCC_ONLY], capture_output=True, text=True, check=False)
    if done.returncode:  # clang takes no gcc-only flag
        done = subprocess.run(base, capture_output=True, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stderr.strip().splitlines()[-3:])
        raise SneError(f"{cc[0]} cannot compile {directory}: {last}", "check the compiler; was the directory edited?")
    return Path(output)


def open_library(ensemble: QuantEnsemble, opener: Callable[[str], Any], definitions: Sequence[str] = ()) -> Any:
    """What `opener`, dlopen say, makes of the library of an ensemble: of the one kept, or of one compiled, and kept.

    Raises `SneError` where there is no compiler, or it fails.
    """
    files = render(ensemble, resolve_target("host"))
    key = _key(files, compiler(), definitions)
    kept = STORE.find(key)
    if kept is not None:
        try:
            return opener(str(kept[0]))
        except OSError:  # gone in this moment, or in a folder whose files may not run
            pass
    with workspace() as folder:
        write_files(files, Path(folder))
        library = build_library(folder, Path(folder) / "model.so", definitions=definitions)
        STORE.keep(key, library.read_bytes())
        return opener(str(library))


def _key(files: dict[str, str], cc: Sequence[str], definitions: Sequence[str]) -> str:
    """32 hex digits over what decides a library of exported files."""
    parts = [described(*cc), _processor(), digest(RUNTIME), *CFLAGS, *GCC_ONLY, *definitions]
    return key_of([*parts, *(part for name in sorted(files) for part in (name, files[name]))])


@cache
def _processor() -> str:
    """What `-march=native` may depend on."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0].splitlines()
    except OSError:  # not Linux: what the compiler takes it for
        asked = [*compiler(), *CFLAGS, "-dM", "-E", "-x", "c", os.devnull]
        lines = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.splitlines()
    varying = ("processor", "cpu MHz", "bogomips", "apicid", "initial apicid", "core id", "physical id")
    return "\n".join([platform.system(), platform.machine(), *(n for n in lines if not n.startswith(varying))])
