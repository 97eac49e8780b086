"""Every Python that the package says it runs on, as far as this computer has it: `make pythons`, or
`python tests/pythons.py [FOLDER]`.

For each of the versions that pyproject.toml names, an interpreter is looked for on the path and among pyenv's; the
wheel is installed with its dependencies into an environment of its own, in FOLDER (build/pythons), and a shipped model
is described, exported, compiled, checked, verified and measured there. Torch is left out: of its half of the
package each only compiles the syntax, and `make lint` says that its types are right. The exit code is 1 where one of
them fails, or none is there.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHECKOUT = Path(__file__).parents[1]
PIP = ("-m", "pip", "-q", "--disable-pip-version-check")
COMMANDS = (
    "--version", "--help", "doctor --json", "targets --json", "inspect mnist1d", "inspect fsdd --target cortex-m4",
    "export mnist1d fsdd --target host -o both", "export mnist1d --for cmake -o package", "verify mnist1d --on host",
    "bench mnist1d --on qemu:mps2-an386 --samples 2", "eval mnist1d", "report mnist1d -o page.html",
)  # fmt: skip


def versions() -> list[str]:
    """Those of pyproject.toml's classifiers: 3.10, 3.11, ..."""
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [found[1] for line in project["classifiers"] if (found := re.fullmatch(r".*Python :: (3\.\d+)", line))]


def interpreter(version: str) -> str | None:
    """A Python of this version that runs, or None."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    here = sorted(root.glob(f"versions/{version}.*/bin/python"))
    for candidate in (f"python{version}", *map(str, here), sys.executable):
        try:
            done = subprocess.run([candidate, "-VV"], capture_output=True, text=True, check=False)
        except OSError:
            continue
        if done.returncode == 0 and done.stdout.startswith(f"Python {version}."):
            return candidate
    return None


def run(folder: Path, *command: str) -> None:
    """A command in a folder, without what this environment would lend it; `CalledProcessError` where it fails."""
    lent = ("PYTHONPATH", "VIRTUAL_ENV")
    environment = {name: value for name, value in os.environ.items() if name not in lent}
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)


def examine(version: str, python: str, wheel: Path, folder: Path) -> None:
    """Install the wheel for an interpreter and use it."""
    run(folder, python, "-m", "venv", version)
    place = folder / version / "bin"
    run(folder, str(place / "python"), *PIP, "install", "--prefer-binary", str(wheel))
    (package,) = place.parent.glob("lib/*/site-packages/sne_edge")
    run(folder, str(place / "python"), "-m", "compileall", "-qq", "-f", str(package))
    work = folder / version / "work"
    work.mkdir(exist_ok=True)
    tool = (str(place / "python"), "-X", "dev", "-W", "error", "-m", "sne_edge")
    for command in COMMANDS:
        run(work, *tool, *command.split(), *_force(command))
    run(work, "make", "-C", "both", "check")


def _force(command: str) -> tuple[str, ...]:
    return ("--force",) if " -o " in command else ()


def main(folder: Path) -> int:
    folder.mkdir(parents=True, exist_ok=True)
    run(CHECKOUT, sys.executable, *PIP, "wheel", "--no-deps", "-w", str(folder), ".")
    wheel = max(folder.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    tried = failed = 0
    for version in versions():
        python = interpreter(version)
        if python is None:
            print(f"Python {version}: not here")
            continue
        tried += 1
        try:
            examine(version, python, wheel, folder)
            print(f"Python {version}: {len(COMMANDS)} commands, golden vectors exact", flush=True)
        except subprocess.CalledProcessError as error:
            failed += 1
            print(f"Python {version}: {' '.join(map(str, error.cmd))}\n{error.stdout}{error.stderr}", flush=True)
    return 1 if failed or not tried else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if len(sys.argv) > 1 else CHECKOUT / "build" / "pythons").absolute()))
