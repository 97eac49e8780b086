"""Where modules of the first release are now: their paths of before import for one more release, with a warning.

`sne_edge.model` and `sne_edge.policy` were split; every other module moved as it is. Four rooms have a former module's
name: these hand on its names by `attributes`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

ROOMS = {  # room -> modules that lay beside each other before
    "check": "reference",
    "data": "corruptions",
    "deploy": "analysis boards build doctor export host targets",
    "interchange": "script",
    "ir": "artifact encoder frontend neuron",
    "learn": "baseline distill executor fit onnx_teacher partition teacher tuning",
    "link": "bench connect device qemu transport wire",
    "pipeline": "presets recalibrate",
    "quantize": "calibrate early routes",
    "study": "card energy studies",
}
MOVED = {module: [f"{room}.{module}"] for room, modules in ROOMS.items() for module in modules.split()}
MOVED |= {
    "device": ["link.device", "link.replies"],
    "datasets": ["data.named", "data.raw", "data.images", "data.formats"],
    "evaluate": ["check.evaluation"],
    "host": ["deploy.host", "deploy.library"],
    "verify": ["check.verify", "deploy.engine", "link.engine"],
    "model": [
        "ir.ensemble",
        "ir.layers",
        "ir.student",
        "ir.proof",
        "ir.policy",
        "ir.vectors",
        "ir.encoder",
        "ir.neuron",
    ],
    "policy": ["ir.policy", "ir.schedule"],
    "teacher": ["learn.teacher", "learn.networks", "learn.views"],
    "report": ["study.pictures"],
    "student": ["learn.student", "learn.neurons", "learn.integers"],
    "train": ["pipeline.train", "pipeline.config", "pipeline.stages"],
}


class Finder(MetaPathFinder, Loader):
    """Finds `sne_edge.NAME` of before; asked after everything else, so it costs other imports nothing."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        package, _, module = name.rpartition(".")
        return ModuleSpec(name, self) if package == __package__ and module in MOVED else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        places = MOVED[spec.name.rpartition(".")[2]]
        module = ModuleType(spec.name, f"Moved to {', '.join(places)}.")
        module.__getattr__ = attributes(spec.name, *places)  # type: ignore[method-assign]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """All is done: names are looked up when they are asked for."""


def attributes(before: str, *places: str) -> Callable[[str], Any]:
    """A module's `__getattr__` that finds names of the module `before` where they are now, and warns."""

    def find(name: str) -> Any:
        if not name.startswith("__") and not _is_module(before, name):
            for place in places:
                module = import_module(f"{__package__}.{place}")
                if hasattr(module, name):
                    told = f"{before}.{name} is {module.__name__}.{name} now; the old path goes with the next release"
                    warnings.warn(told, DeprecationWarning, stacklevel=2)
                    return getattr(module, name)
        raise AttributeError(f"module {before!r} has no attribute {name!r}")

    return find


def _is_module(package: str, name: str) -> bool:
    """Whether a room has a module of the name, which is then meant."""
    path = vars(sys.modules[package]).get("__path__")
    return path is not None and PathFinder.find_spec(f"{package}.{name}", path) is not None


def install() -> None:
    """Let Python find them."""
    if not any(isinstance(finder, Finder) for finder in sys.meta_path):
        sys.meta_path.append(Finder())
