"""The wheel: installed outside the checkout, it holds all it needs and works without torch."""

from __future__ import annotations

import os
import random
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
from strategies import random_ensemble

from sne_edge.deploy.export import export
from sne_edge.ir import artifact

CHECKOUT = Path(__file__).parents[1]
FOLDERS = ("sne_edge", "codegen", "runtime_c", "firmware")
DATA = (".j2", ".css", ".c", ".h", ".toml", ".ld", ".s", ".S")


def checked(*command: str, cwd: Path) -> str:
    """What a command prints; it must succeed."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from a copy of the checkout's sources."""
    source = tmp_path_factory.mktemp("source")
    for folder in FOLDERS:
        shutil.copytree(CHECKOUT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(CHECKOUT / file, source / file)
    try:
        here = int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        here = False
    flags = ["--no-build-isolation"] if here else []  # pip fetches setuptools where there is none
    checked(sys.executable, "-m", "pip", "wheel", "--no-deps", *flags, "-w", "dist", ".", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return built


def test_the_wheel_is_fit_to_be_published(wheel: Path, require_package: Callable[..., None]) -> None:
    require_package("twine", "check_wheel_contents")
    assert "PASSED" in checked(sys.executable, "-m", "twine", "check", "--strict", str(wheel), cwd=wheel.parent)
    alike = ("--ignore", "W002")  # templates of two packages may say the same
    assert "OK" in checked(sys.executable, "-m", "check_wheel_contents", *alike, str(wheel), cwd=wheel.parent)
    with zipfile.ZipFile(wheel) as archive:
        (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
        told = re.search(r"^Version: (.+)$", archive.read(metadata).decode(), re.M)
    project = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    assert told is not None and f'version = "{told[1]}"' in project  # the one place


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bin folder of a fresh environment with the wheel; other packages are seen from this one."""
    folder = tmp_path_factory.mktemp("fresh")
    venv.create(folder / "env", symlinks=True, with_pip=False)
    python = folder / "env" / "bin" / "python"
    place = Path(
        checked(str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    (place / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    pip = (sys.executable, "-m", "pip", "--python", str(python))
    checked(*pip, "install", "--no-deps", "--no-index", "--ignore-installed", str(wheel), cwd=folder)
    return python.parent


def test_the_wheel_holds_one_package_and_every_file_it_needs(wheel: Path) -> None:
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name.split("/")[0] for name in names} == {"sne_edge"}
    wanted = {"sne_edge/py.typed", "sne_edge/deploy/cost.json"}
    for folder in FOLDERS:
        prefix = "" if folder == "sne_edge" else "sne_edge/"
        for path in (CHECKOUT / folder).rglob("*"):
            if path.suffix in (".py", ".sne", *DATA) and "__pycache__" not in path.parts:
                wanted.add(prefix + path.relative_to(CHECKOUT).as_posix())
    assert names == wanted


def test_nothing_but_the_package_lands_in_site_packages(installed: Path, tmp_path: Path) -> None:
    place = checked(
        str(installed / "python"), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path
    )
    names = {path.name for path in Path(place.strip()).iterdir() if ".dist-info" not in path.name}
    assert names - {"__pycache__", "dependencies.pth"} == {"sne_edge"}


def test_an_installed_package_exports_the_same_bytes_without_torch(installed: Path, tmp_path: Path) -> None:
    ensemble = random_ensemble(random.Random(6), vectors=2)
    artifact.save(ensemble, tmp_path / "model.sne")
    want = export(ensemble, "cortex-m", tmp_path / "want")
    script = (
        "import sys, sne_edge, sne_edge.cli\n"
        "assert sne_edge.__file__.startswith(sys.prefix), sne_edge.__file__\n"
        "sys.argv = ['sne-edge', 'export', 'model.sne', '--target', 'cortex-m', '-o', 'got']\n"
        "try:\n"
        "    sne_edge.cli.main()\n"
        "except SystemExit as done:\n"
        "    assert not done.code, done.code\n"
        "heavy = {'torch', 'snntorch', 'matplotlib', 'onnx', 'mnist1d'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    checked(str(installed / "python"), "-c", script, cwd=tmp_path)
    files = [path for path in want.rglob("*") if path.is_file()]
    assert len(files) > 50
    for path in files:
        assert (tmp_path / "got" / path.relative_to(want)).read_bytes() == path.read_bytes()


def test_the_installed_command_exports_shipped_models_by_name(installed: Path, tmp_path: Path) -> None:
    assert "export" in checked(str(installed / "sne-edge"), "--help", cwd=tmp_path)
    for name in artifact.zoo_names():
        checked(str(installed / "sne-edge"), "export", name, "-o", name, cwd=tmp_path)
        assert (tmp_path / name / "manifest.json").is_file()


def test_an_installed_package_builds_for_the_host_and_a_board(
    installed: Path, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("cc", "arm-none-eabi-gcc")
    artifact.save(random_ensemble(random.Random(6), vectors=2), tmp_path / "model.sne")
    script = (
        "from sne_edge.deploy import build, export, host\n"
        "from sne_edge.ir import artifact\n"
        "model = artifact.load('model.sne')\n"
        "batch = host.HostModel(model).run(model.vectors.inputs)\n"
        "assert (batch.logits == model.vectors.logits).all()\n"
        "export.export(model, 'cortex-m4', 'c')\n"
        "assert build.build_firmware('c', 'mps2-an386', 'firmware').elf.is_file()\n"
    )
    checked(str(installed / "python"), "-c", script, cwd=tmp_path)
