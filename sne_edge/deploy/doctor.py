"""What this machine has of the tools that sne-edge can use, and how to get the rest.

Commands are named here. Packages are those that the installed package's metadata names, by extra, so that none is
forgotten.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from importlib import metadata

from .targets import ARM, RISCV

OURS = "sne-edge"


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
NEEDS = {  # by extra
    "": "everything",
    "train": "train, quantize, the reference in verify",
    "ray": "--executor ray",
    "nir": "NIR files",
    "onnx": "ONNX files",
    "frameworks": "networks of Norse, sinabs, SpikingJelly",
    "search": "search",
    "events": "the shd data set",
    "flash": "flash, by a debug probe",
    "tensorboard": "train --log-dir",
}
BY_PACKAGE = {
    "matplotlib": "pictures",
    "mnist1d": "the mnist1d data set",
    "onnx": "ONNX files",
    "onnxruntime": "ONNX files",
    "pillow": "folders of images",
    "pooch": "downloads of data sets",
}
NOT_FOR_USE = ("dev", "docs")  # extras of who works on sne-edge itself


def examine() -> list[Finding]:
    """Look for every tool; nothing is imported."""
    findings = [Finding(name, _command_version(name), need, hint) for name, need, hint in _COMMANDS]
    for name, extra in packages().items():
        need = BY_PACKAGE.get(name) or NEEDS.get(extra, f"the extra {extra}")
        findings.append(
            Finding(name, _package_version(name), need, f"pip install '{OURS}{f'[{extra}]' if extra else ''}'")
        )
    return findings


def packages() -> dict[str, str]:
    """Packages that ours asks for on this machine, and the first extra that does ("": always)."""
    found: dict[str, str] = {}
    for line in metadata.requires(OURS) or []:
        requirement, _, marker = line.partition(";")
        name = re.match(r"[\w.-]+", requirement)
        extra = re.search(r"extra == [\"']([\w-]+)[\"']", marker)
        elsewhere = "python_version" in marker  # tomli: of older interpreters, whose installer got it
        if name is None or elsewhere or (extra is not None and extra[1] in NOT_FOR_USE):
            continue
        found.setdefault(name[0], extra[1] if extra else "")
    return found


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
