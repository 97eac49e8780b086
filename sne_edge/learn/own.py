"""Objects from a user's own Python file.

In: `FILE.py:NAME`. Out: what NAME is there; the generators that its code draws from, seeded. The file is run: only one
that is trusted should be named.
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..errors import SneError
from ..files import open_file

MAX_BYTES = 2**31  # of a Python file
CPU = torch.device("cpu")
USER = "sne_edge_user_network"  # what a user's file is called as a module


def load_object(where: str, what: str) -> Any:
    """What `where` names, not None; `what` it is to be, in a word, for errors. Raises `SneError` where the file cannot
    be run or has no such name."""
    path, _, name = where.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise SneError(f"{where!r} does not name a {what}", f"write FILE.py:NAME, NAME being a {what} or making one")
    found = getattr(run_file(Path(path)), name, None)
    if found is None:
        raise SneError(f"{path} has no {name!r}", f"NAME is a {what} in that file, or makes one")
    return found


def run_file(path: Path) -> Any:
    """A user's Python file, run, as a module named `USER`."""
    spec = importlib.util.spec_from_file_location(USER, path)
    open_file(path, MAX_BYTES, hint="write FILE.py:NAME").close()
    if spec is None or spec.loader is None:
        raise SneError(f"{path} is no Python file", "write FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a user's folder stays as it is
    given, sys.argv = sys.argv, [str(path)]  # which a file that takes options would take for its own
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SneError(f"{path} failed: {error!r}", "run it with python first") from error
    except SystemExit as error:
        raise SneError(
            f"{path} ended python ({error.code}) when it was imported",
            "put what it does, options and training, below if __name__ == '__main__':",
        ) from None
    finally:
        sys.path.pop(0)
        sys.dont_write_bytecode = written
        sys.argv = given
    return module


@contextmanager
def seeded(seed: int, device: torch.device = CPU) -> Iterator[None]:
    """The generators that all share, and a user's code may draw from, seeded, and afterwards as they were."""
    before, of_numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(before)
            np.random.set_state(of_numpy)
