"""sne-edge: spiking ensembles from a teacher network to a microcontroller, proved bit-exact on the way.

Public names load when they are first used, so that importing the package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .artifact import load, save
    from .data import load_dataset
    from .device import Device
    from .encoder import Encoder
    from .errors import SneError
    from .export import export as export_model
    from .host import HostModel
    from .model import ActivationPolicy, QuantEnsemble
    from .quantize import quantize_network
    from .train import TrainConfig
    from .train import train as train_ensemble

__all__ = [
    "ActivationPolicy",
    "Device",
    "Encoder",
    "HostModel",
    "QuantEnsemble",
    "SneError",
    "TrainConfig",
    "export_model",
    "load",
    "load_dataset",
    "quantize_network",
    "save",
    "train_ensemble",
]

_HOME = {  # public name -> (module, name there); none has a module's name, which importing the module would hide
    "ActivationPolicy": ("model", "ActivationPolicy"),
    "Device": ("device", "Device"),
    "Encoder": ("encoder", "Encoder"),
    "HostModel": ("host", "HostModel"),
    "QuantEnsemble": ("model", "QuantEnsemble"),
    "SneError": ("errors", "SneError"),
    "TrainConfig": ("train", "TrainConfig"),
    "export_model": ("export", "export"),
    "load": ("artifact", "load"),
    "load_dataset": ("data", "load_dataset"),
    "quantize_network": ("quantize", "quantize_network"),
    "save": ("artifact", "save"),
    "train_ensemble": ("train", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(f".{module}", __name__), attribute)
