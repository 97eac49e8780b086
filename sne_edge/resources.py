"""Where the files that ship with the package lie: templates, C runtime, firmware port."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def _folder(package: str) -> Path:
    spec = find_spec(f"sne_edge.{package}")
    assert spec is not None and spec.origin is not None, f"the installation lacks sne_edge.{package}"
    return Path(spec.origin).parent


TEMPLATES = _folder("codegen") / "templates"
RUNTIME = _folder("runtime_c")
FIRMWARE = _folder("firmware")
