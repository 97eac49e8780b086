"""What the tests share: tools that may be missing, and one small model, exported and built once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from models import tiny_ensemble

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import Firmware, build_firmware
from sne_edge.deploy.export import export
from sne_edge.ir.ensemble import QuantEnsemble

Build = Callable[..., Firmware]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-tools", action="store_true", help="fail, not skip, tests whose tools are missing")


@pytest.fixture(scope="session", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests' own: what a user's keeps, trained teachers say, must not decide a test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("user-cache")))
        yield


@pytest.fixture(scope="session")
def require_tool(pytestconfig: pytest.Config) -> Callable[..., None]:
    """Call with the names of commands that a test needs: it is skipped where one is missing, or fails where pytest was
    called with --require-tools."""

    def require(*names: str) -> None:
        missing = [name for name in names if shutil.which(name) is None]
        if missing and pytestconfig.getoption("--require-tools"):
            pytest.fail(f"not installed: {', '.join(missing)}")
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")

    return require


@pytest.fixture(scope="session")
def tiny(require_tool: Callable[..., None]) -> QuantEnsemble:
    """A direct-input ensemble of three students, with golden vectors."""
    require_tool("cc")
    return tiny_ensemble()


@pytest.fixture(scope="session")
def tiny_events(require_tool: Callable[..., None]) -> QuantEnsemble:
    """The same for raw events: it takes a stream."""
    require_tool("cc")
    return tiny_ensemble("events")


@pytest.fixture(scope="session")
def host_export(tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, exported for this computer."""
    return export(tiny, "host", tmp_path_factory.mktemp("host") / "tiny")


@pytest.fixture(scope="session")
def firmware(require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build (once) firmware that serves an ensemble on a board: `firmware(ensemble, board, *definitions)`."""
    built: dict[tuple[str, ...], Firmware] = {}

    def build(ensemble: QuantEnsemble, board: str, *definitions: str) -> Firmware:
        require_tool("arm-none-eabi-gcc", "qemu-system-arm")
        key = (ensemble.encoder.kind, board, *definitions)
        if key not in built:
            folder = tmp_path_factory.mktemp(f"firmware-{board}")
            directory = export(ensemble, resolve_board(board).target, folder / "export")
            built[key] = build_firmware(directory, board, folder / "firmware", definitions=definitions)
        return built[key]

    return build
