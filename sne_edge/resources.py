"""Where the files that ship with the package lie: templates, C runtime, firmware port."""

from __future__ import annotations

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


TEMPLATES = _folder("codegen") / "templates"
RUNTIME = _folder("runtime_c")
FIRMWARE = _folder("firmware")
