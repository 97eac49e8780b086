"""What a shell offers for the words of a command: models, data sets, boards, targets, places, files.

In: the start of a word. Out: the words that begin with it. A completion is waited for: nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

SCHEMES = ("class-affinity", "contiguous", "correlation", "disentangled", "disentangled-tuned", "random", "variance",
           "whole")  # fmt: skip
STUDIES = ("ensemble", "partition", "cascade", "noise", "baselines", "timesteps", "guarantee")
POLICIES = ("own", "all", "first:", "mask:", "cascade", "cascade+early", "routed", "budget:")
EXECUTORS = ("inline", "processes", "processes:", "ray", "ray://")
PORTS = ("ttyACM*", "ttyUSB*", "cu.usb*")

Completer = Callable[[str], list[str]]


def words(*known: str) -> Completer:
    """Of a fixed list."""
    return lambda incomplete: _begin(known, incomplete)


def models(incomplete: str) -> list[str]:
    """Models that ship, .sne files, and folders on the way to them."""
    from ..ir.artifact import zoo_names

    return _begin(zoo_names(), incomplete) + files(".sne")(incomplete)


def networks(incomplete: str) -> list[str]:
    """What `quantize` reads."""
    return files(".py", ".nir")(incomplete)


def data_sets(incomplete: str) -> list[str]:
    """Data sets by name, .npz files, and folders."""
    from ..data.named import NAMED

    return _begin(NAMED, incomplete) + files(".npz")(incomplete)


def targets(incomplete: str) -> list[str]:
    """Cores."""
    from ..deploy.targets import all_targets

    return _begin([target.name for target in all_targets()], incomplete)


def boards(incomplete: str) -> list[str]:
    """Boards."""
    from ..deploy.boards import all_boards

    return _begin([board.name for board in all_boards()], incomplete)


def places(incomplete: str) -> list[str]:
    """Where a model may run: this computer, emulated boards, serial ports, a socket."""
    ports = sorted(str(port) for pattern in PORTS for port in Path("/dev").glob(pattern))
    return _begin(["host", "onnx", "socket://", *(f"qemu:{board}" for board in boards("")), *ports], incomplete)


def files(*suffixes: str) -> Completer:
    """Files of these endings, and folders, which a slash ends."""

    def complete(incomplete: str) -> list[str]:
        folder, slash, name = incomplete.rpartition("/")
        try:
            found = sorted(Path(f"{folder}{slash}" or ".").iterdir())
        except OSError:
            return []
        return [
            f"{folder}{slash}{path.name}{'/' if path.is_dir() else ''}"
            for path in found
            if path.name.startswith(name) and (name or not path.name.startswith("."))
            if path.is_dir() or path.suffix in suffixes
        ]

    return complete


def _begin(known: Iterable[str], incomplete: str) -> list[str]:
    return [word for word in known if word.startswith(incomplete)]
