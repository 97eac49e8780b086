"""The table of targets: what an exported model is compiled with, and which kernels it gets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..errors import SneError, nearest, shortened


@dataclass(frozen=True)
class Toolchain:
    """What compiles for a family of cores, and what emulates these. `prefix`: of its commands; `specs`: flags of its
    linker, for the C library; `includes`: of its compiler, for that; `emulator`: QEMU's command; `packages`,
    `emulator_package`: Debian's; `port`: what stands behind the names of the firmware's files that are this family's
    own, startup and counter."""

    prefix: str
    specs: tuple[str, ...]
    includes: tuple[str, ...]
    packages: str
    emulator: str
    emulator_package: str
    port: str = ""

    @property
    def hint(self) -> str:
        """How to get the compiler."""
        return f"install it: apt-get install {self.packages}"

    @property
    def emulator_hint(self) -> str:
        """How to get the emulator."""
        return f"install it: apt-get install {self.emulator_package}"


ARM = Toolchain(
    "arm-none-eabi-",
    ("--specs=nano.specs",),
    (),
    "gcc-arm-none-eabi libnewlib-arm-none-eabi",
    "qemu-system-arm",
    "qemu-system-arm",
)
RISCV = Toolchain(
    "riscv64-unknown-elf-",
    ("--specs=picolibc.specs",),
    ("--specs=picolibc.specs",),
    "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf",
    "qemu-system-riscv32",
    "qemu-system-misc",
    "_riscv",
)
TOOLCHAINS = (ARM, RISCV)


@dataclass(frozen=True)
class Target:
    """A core. `cflags`: for gcc; `kernels`: what sne_accumulate.h picks under these flags; `board`: the default one;
    `tools`: what builds firmware for it, None for this computer; `libraries`: flags that choose the compiler's own
    libraries, where it has none for exactly these `cflags`."""

    name: str
    description: str
    cflags: tuple[str, ...]
    aliases: tuple[str, ...] = ()
    kernels: str = "portable"
    board: str | None = None
    tools: Toolchain | None = ARM
    libraries: tuple[str, ...] = ()

    @property
    def prefix(self) -> str:
        """Of the toolchain's commands."""
        return self.tools.prefix if self.tools else ""

    @property
    def cc(self) -> str:
        """The C compiler's command."""
        return f"{self.prefix}gcc" if self.prefix else "cc"

    @property
    def ar(self) -> str:
        """The archiver's command."""
        return f"{self.prefix}ar"


def _cortex(
    core: str,
    description: str,
    board: str | None,
    *flags: str,
    aliases: tuple[str, ...] = (),
    kernels: str = "portable",
) -> Target:
    return Target(
        f"cortex-{core}", description, ("-mthumb", f"-mcpu=cortex-{core}", *flags), (core, *aliases), kernels, board
    )


def _riscv(name: str, description: str, extensions: str, board: str | None, *aliases: str) -> Target:
    """Integers alone: what has registers for floating point runs it as well."""
    flags = (f"-march=rv32{extensions}_zicsr", "-mabi=ilp32", "-mcmodel=medany", "-msmall-data-limit=0")
    libraries = ("-march=rv32imac" if "a" in extensions.partition("_")[0] else "-march=rv32im",)
    return Target(name, description, (*flags, "-ffreestanding"), aliases, "words", board, RISCV, libraries)


_HARD = "-mfloat-abi=hard"
_HELIUM = "ARMv8.1-M, Helium"
_V81M = ("-march=armv8.1-m.main+dsp+mve.fp+fp.dp",)  # cores that not every compiler knows by name
_TARGETS = (
    _cortex("m0", "ARMv6-M", "microbit", kernels="swar"),
    Target("cortex-m0plus", "ARMv6-M", ("-mthumb", "-mcpu=cortex-m0plus"), ("m0plus", "m0+"), "swar", "microbit"),
    _cortex("m23", "ARMv8-M baseline", None, kernels="swar"),
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
    _cortex("m55", _HELIUM, "mps3-an547", _HARD, "-mfpu=auto", kernels="helium"),
    Target(
        "cortex-m55-nofp",
        "ARMv8.1-M, Helium of integers alone",
        ("-mthumb", "-mcpu=cortex-m55+nofp", _HARD),
        ("m55-nofp",),
        "helium",
    ),
    Target("cortex-m52", _HELIUM, ("-mthumb", *_V81M, _HARD, "-mfpu=auto"), ("m52",), "helium"),
    Target("cortex-m85", _HELIUM, ("-mthumb", *_V81M, _HARD, "-mfpu=auto"), ("m85",), "helium"),
    _riscv(
        "riscv32", "RV32IMAC", "imac", "riscv32-virt", "rv32imac", "esp32-c6", "esp32-h2", "ch32v", "gd32v", "fe310"
    ),
    _riscv("riscv32imc", "RV32IMC", "imc", "riscv32-virt", "rv32imc", "esp32-c3", "esp32-c2"),
    _riscv(
        "riscv32zb",
        "RV32IMAC, Zba, Zbb",
        "imac_zba_zbb",
        "riscv32-virt-zb",
        *("rv32imac_zba_zbb", "hazard3", "rp2350-riscv", "pico2-riscv"),
    ),
    Target(
        "generic",
        "any other core: C99 alone",
        ("-DSNE_PORTABLE",),
        ("cortex-a", "pi-zero", "esp32", "esp32-s3", "esp8266", "xtensa", "avr", "wasm32"),
        tools=None,
    ),
    Target("host", "this computer", (), tools=None),
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
