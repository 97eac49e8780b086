"""How tests compile for this computer: quickly, where what the compiler makes of the C is not the subject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from sne_edge.deploy import library

AS_SHIPPED = library.CFLAGS
QUICK = "-Og"  # compiles in half the time of the -O3 that users get


@contextmanager
def optimised(level: str) -> Iterator[None]:
    """Host builds at this level, such as `QUICK`, in place of -O3."""
    with pytest.MonkeyPatch.context() as patch:
        assert AS_SHIPPED.count("-O3") == 1
        patch.setattr(library, "CFLAGS", tuple(level if flag == "-O3" else flag for flag in AS_SHIPPED))
        yield
