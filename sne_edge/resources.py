"""Where the files that ship with the package lie: templates, C runtime, firmware port; and a hash of what they hold."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import jinja2


def c_templates(folder: Path) -> jinja2.Environment:
    """The environment in which a folder's templates become C: strict, and nothing escaped, so that what reaches a
    template has been checked before."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _folder(package: str) -> Path:
    spec = find_spec(f"sne_edge.{package}")
    assert spec is not None and spec.origin is not None, f"the installation lacks sne_edge.{package}"
    return Path(spec.origin).parent


@cache
def digest(*places: Path) -> str:
    """16 hex digits over the names and contents of files, and of all files in folders: what code makes is kept under
    the code's digest, so that other code does not find it."""
    made = hashlib.sha256()
    for place in places:
        files = sorted(p for p in place.rglob("*") if p.is_file()) if place.is_dir() else [place]
        for path in (p for p in files if p.suffix != ".pyc"):
            name, content = path.relative_to(place.parent).as_posix().encode(), path.read_bytes()
            made.update(f"{len(name)} {len(content)} ".encode() + name + content)
    return made.hexdigest()[:16]


PACKAGE = Path(__file__).parent
TEMPLATES = _folder("codegen") / "templates"
RUNTIME = _folder("runtime_c")
WIRE = tuple(RUNTIME / f"sne_wire{part}.c" for part in ("", "_frame", "_look", "_measure", "_run"))
FIRMWARE = _folder("firmware")
