"""What this machine has of the tools that sne-edge can use, and how to get the rest."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata

from .targets import ARM, RISCV


@dataclass(frozen=True)
class Finding:
    """One tool: the version found (None: missing), what it is needed for, and how to install it."""

    what: str
    found: str | None
    need: str
    hint: str


_COMMANDS = (
    ("cc", "host build, eval, verify", "apt-get install gcc libc6-dev"),
    ("arm-none-eabi-gcc", "firmware", f"apt-get install {ARM.packages}"),
    ("qemu-system-arm", "emulated boards", f"apt-get install {ARM.emulator_package}"),
    ("riscv64-unknown-elf-gcc", "firmware for RISC-V", f"apt-get install {RISCV.packages}"),
    ("qemu-system-riscv32", "emulated boards with RISC-V", f"apt-get install {RISCV.emulator_package}"),
    ("make", "an exported directory's Makefile", "apt-get install make"),
)
_PACKAGES = (
    ("torch", "train, quantize, the reference in verify", "pip install 'sne-edge[train]'"),
    ("snntorch", "train, quantize", "pip install 'sne-edge[train]'"),
    ("mnist1d", "the mnist1d data set", "pip install 'sne-edge[train]'"),
    ("matplotlib", "plot", "pip install 'sne-edge[train]'"),
    ("pyocd", "flash, by a debug probe", "pip install 'sne-edge[flash]'"),
)


def examine() -> list[Finding]:
    """Look for every tool; nothing is imported."""
    findings = [Finding(name, _command_version(name), need, hint) for name, need, hint in _COMMANDS]
    return findings + [Finding(name, _package_version(name), need, hint) for name, need, hint in _PACKAGES]


def _command_version(name: str) -> str | None:
    path = shutil.which(name)
    if path is None:
        return None
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    lines = done.stdout.splitlines()
    return lines[0].strip() if lines else path


def _package_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
