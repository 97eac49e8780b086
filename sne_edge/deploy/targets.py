"""The table of targets: what an exported model is compiled with, and which kernels it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import SneError, nearest, shortened


@dataclass(frozen=True)
class Target:
    """A core. `cflags`: for gcc; `kernels`: what sne_accumulate.h picks under these flags; `board`: the default one."""

    name: str
    description: str
    cflags: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    kernels: str = "portable"
    board: str | None = None
    prefix: str = "arm-none-eabi-"

    @property
    def cc(self) -> str:
        """The C compiler's command."""
        return f"{self.prefix}gcc" if self.prefix else "cc"

    @property
    def ar(self) -> str:
        """The archiver's command."""
        return f"{self.prefix}ar"


def _cortex(
    core: str, description: str, board: str, *flags: str, aliases: tuple[str, ...] = (), kernels: str = "portable"
) -> Target:
    return Target(
        f"cortex-{core}", description, ("-mthumb", f"-mcpu=cortex-{core}", *flags), (core, *aliases), kernels, board
    )


_HARD = "-mfloat-abi=hard"
_TARGETS = (
    _cortex("m0", "ARMv6-M", "microbit", kernels="swar"),
    Target("cortex-m0plus", "ARMv6-M", ("-mthumb", "-mcpu=cortex-m0plus"), ("m0plus", "m0+"), "swar", "microbit"),
    _cortex("m3", "ARMv7-M", "mps2-an385", kernels="swar"),
    _cortex(
        "m4",
        "ARMv7E-M, DSP, FPU",
        "mps2-an386",
        _HARD,
        "-mfpu=fpv4-sp-d16",
        aliases=("cortex-m", "cortex-m4f"),
        kernels="dsp",
    ),
    _cortex("m7", "ARMv7E-M, DSP, FPU", "mps2-an500", _HARD, "-mfpu=fpv5-d16", kernels="dsp"),
    _cortex("m33", "ARMv8-M, DSP, FPU", "mps2-an505", _HARD, "-mfpu=fpv5-sp-d16", kernels="dsp"),
    _cortex("m55", "ARMv8.1-M, Helium", "mps3-an547", _HARD, "-mfpu=auto", kernels="helium"),
    Target("host", "this computer", (), prefix=""),
)


def all_targets() -> tuple[Target, ...]:
    """Every target, smallest core first, the host last."""
    return _TARGETS


def resolve_target(name: str) -> Target:
    """The target that a name or an alias means; `SneError` lists the names where there is none."""
    for target in _TARGETS:
        if name == target.name or name in target.aliases:
            return target
    names = [target.name for target in _TARGETS]
    say = nearest(name, [*names, *(alias for target in _TARGETS for alias in target.aliases)])
    raise SneError(
        f"there is no target {shortened(name)!r}", f"{say}targets are: {', '.join(names)}; cortex-m means cortex-m4"
    )


def quoted(*folders: Path) -> list[str]:
    """Flags that find `#include "..."` in these folders, but no `#include <...>`: a model's header may be called as
    one of the system's is."""
    return [part for folder in folders for part in ("-iquote", str(folder))]
