"""How tests compile: quickly, where what the compiler makes of the C is not the subject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

import pytest

from sne_edge.deploy import build, library

QUICK = "-Og"  # compiles in half the time of the levels that users get


@contextmanager
def host_at(level: str) -> Iterator[None]:
    """Libraries for this computer at this level, in place of -O3."""
    with _at(level, library, "-O3"):
        yield


@contextmanager
def firmware_at(level: str) -> Iterator[None]:
    """Firmware at this level, in place of -O2."""
    with _at(level, build, "-O2"):
        yield


@contextmanager
def _at(level: str, module: ModuleType, shipped: str) -> Iterator[None]:
    flags = SHIPPED[module]
    assert flags.count(shipped) == 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "CFLAGS", tuple(level if flag == shipped else flag for flag in flags))
        yield


SHIPPED = {module: module.CFLAGS for module in (library, build)}
