"""The package in the shape that it has when installed, by links: `codegen` and the C inside `sne_edge`.

`python tests/installed.py FOLDER` makes it anew, for tools that read files instead of importing them.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parents[1]


def lay_out(folder: Path) -> Path:
    """Make `folder`, which holds the package `sne_edge` whole."""
    shutil.rmtree(folder, ignore_errors=True)
    package = folder / "sne_edge"
    package.mkdir(parents=True)
    inside = [path for path in (CHECKOUT / "sne_edge").iterdir() if path.name != "__pycache__"]
    for path in (*inside, *(CHECKOUT / name for name in ("codegen", "runtime_c", "firmware"))):
        (package / path.name).symlink_to(path)
    return folder


if __name__ == "__main__":
    lay_out(Path(sys.argv[1]))
