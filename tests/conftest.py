"""What the tests share: tools that may be missing, and one small model, exported and built once."""

from __future__ import annotations

import gc
import os
import shutil
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from builds import QUICK, optimised
from hypothesis import Phase, settings
from models import tiny_ensemble

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import Firmware, build_firmware
from sne_edge.deploy.export import export
from sne_edge.deploy.targets import resolve_target
from sne_edge.ir.ensemble import QuantEnsemble

Build = Callable[..., Firmware]

# For who only wants to know whether a test fails: --hypothesis-profile first-failure looks for no smaller example.
settings.register_profile("first-failure", phases=[Phase.explicit, Phase.generate])


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--require-tools", action="store_true", help="fail, not skip, tests whose tools are missing")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "examines(**least): what the test counts in `examined`, and how much at least")
    config.addinivalue_line("markers", "as_shipped: a module whose host builds are optimised as users' are")


def pytest_collection_finish() -> None:
    """What was imported, torch's million objects say, stays: it is no longer looked through for garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def examined(request: pytest.FixtureRequest) -> Counter[str]:
    """How often a test met what it is about, over all of its examples; `examines` says how often it must."""
    marker = request.node.get_closest_marker("examines")
    assert marker is not None and marker.kwargs, "say by @pytest.mark.examines(...) how much must be examined"
    return Counter()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Fail a test that passed without examining what `examines` promises: its cases came up empty."""
    result = yield
    marker = item.get_closest_marker("examines")
    if marker is not None:
        check_examined(marker.kwargs, item.funcargs["examined"])  # type: ignore[attr-defined]
    return result


def check_examined(least: dict[str, int], found: Counter[str]) -> None:
    """Fail where something was met less often than it must be, or is counted but not promised."""
    for name in sorted(least.keys() | found.keys()):
        if name not in least or found[name] < least[name]:
            pytest.fail(f"examined {found[name]} {name}, of at least {least.get(name, 'nothing')}", pytrace=False)


@pytest.fixture(scope="session", autouse=True)
def own_user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache folder of the tests' own, of all workers: what a user's keeps, trained teachers say, must not decide a
    test."""
    base = tmp_path_factory.getbasetemp()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(
            "XDG_CACHE_HOME", str((base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "user-cache")
        )
        yield


@pytest.fixture(scope="module", autouse=True)
def host_optimisation(request: pytest.FixtureRequest) -> Iterator[None]:
    """Host builds that compile quickly, but for modules that are marked `as_shipped`."""
    with optimised("-O3" if request.node.get_closest_marker("as_shipped") else QUICK):
        yield


@pytest.fixture(scope="session")
def require_tool(pytestconfig: pytest.Config) -> Callable[..., None]:
    """Call with the names of commands, or the paths of files, that a test needs: it is skipped where one is missing, or
    fails where pytest was called with --require-tools."""

    def require(*names: str) -> None:
        missing = [name for name in names if shutil.which(name) is None and not Path(name).is_file()]
        if missing and pytestconfig.getoption("--require-tools"):
            pytest.fail(f"not installed: {', '.join(missing)}")
        if missing:
            pytest.skip(f"not installed: {', '.join(missing)}")

    return require


@pytest.fixture(scope="session")
def require_package(pytestconfig: pytest.Config) -> Callable[..., None]:
    """The same of Python packages."""

    def require(*names: str) -> None:
        missing = [name for name in names if find_spec(name) is None]
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


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """One thread of torch: with others the order of sums, and by it the last bits, would be the machine's to choose,
    and networks as small as the tests' only lose."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def host_export(tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, exported for this computer."""
    return export(tiny, "host", tmp_path_factory.mktemp("host") / "tiny")


@pytest.fixture(scope="session")
def firmware(require_tool: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Build (once) firmware that serves an ensemble on a board: `firmware(ensemble, board, *definitions)`."""
    built: dict[tuple[str, ...], Firmware] = {}

    def build(ensemble: QuantEnsemble, board: str, *definitions: str) -> Firmware:
        tools = resolve_target(resolve_board(board).target).tools
        assert tools is not None
        require_tool(f"{tools.prefix}gcc", tools.emulator)
        key = (ensemble.encoder.kind, board, *definitions)
        if key not in built:
            folder = tmp_path_factory.mktemp(f"firmware-{board}")
            directory = export(ensemble, resolve_board(board).target, folder / "export")
            built[key] = build_firmware(directory, board, folder / "firmware", definitions=definitions)
        return built[key]

    return build


@pytest.fixture(scope="module")
def waves(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An .npz of 300 noisy waves of 16 samples, three classes told by frequency."""
    rng = np.random.default_rng(0)
    y = np.arange(300) % 3
    path = tmp_path_factory.mktemp("data") / "waves.npz"
    np.savez(path, x_train=np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(300, 16)), y_train=y)
    return path
