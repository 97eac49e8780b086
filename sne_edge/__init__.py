"""sne-edge: spiking ensembles from a teacher network to a microcontroller, proved bit-exact on the way.

Public names load when they are first used, so that importing the package is quick and needs no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import moved

if TYPE_CHECKING:
    from .data.dataset import load_dataset
    from .deploy.export import export as export_model
    from .deploy.host import HostModel
    from .deploy.packages import export_package
    from .errors import SneError, SneWarning
    from .interchange.compare import NetworkComparison, compare_graph, compare_network, compare_nir
    from .interchange.from_nir import Reading as NirReading
    from .interchange.graphs import quantize_nir
    from .interchange.to_nir import to_nir
    from .interchange.to_onnx import to_onnx
    from .interchange.torch import quantize_network
    from .ir.artifact import load, save
    from .ir.encoder import Encoder
    from .ir.ensemble import QuantEnsemble
    from .ir.policy import ActivationPolicy
    from .learn.graph import FloatDecoder, FloatGraph, FloatPool, FloatPopulation, FloatProjection
    from .link.device import Device
    from .pipeline.config import TrainConfig
    from .pipeline.ensemble import ensemble_of
    from .pipeline.stream import for_stream as stream_model
    from .pipeline.train import train as train_ensemble
    from .quantize.graph import quantize_graph

__all__ = [
    "ActivationPolicy",
    "Device",
    "Encoder",
    "FloatDecoder",
    "FloatGraph",
    "FloatPool",
    "FloatPopulation",
    "FloatProjection",
    "HostModel",
    "NetworkComparison",
    "NirReading",
    "QuantEnsemble",
    "SneError",
    "SneWarning",
    "TrainConfig",
    "compare_graph",
    "compare_network",
    "compare_nir",
    "ensemble_of",
    "export_model",
    "export_package",
    "load",
    "load_dataset",
    "quantize_graph",
    "quantize_network",
    "quantize_nir",
    "save",
    "stream_model",
    "to_nir",
    "to_onnx",
    "train_ensemble",
]
moved.install()

_HOME = {  # public name -> (module, name there); none has a module's name, which importing the module would hide
    "ActivationPolicy": ("ir.policy", "ActivationPolicy"),
    "Device": ("link.device", "Device"),
    "Encoder": ("ir.encoder", "Encoder"),
    "FloatDecoder": ("learn.graph", "FloatDecoder"),
    "FloatGraph": ("learn.graph", "FloatGraph"),
    "FloatPool": ("learn.graph", "FloatPool"),
    "FloatPopulation": ("learn.graph", "FloatPopulation"),
    "FloatProjection": ("learn.graph", "FloatProjection"),
    "HostModel": ("deploy.host", "HostModel"),
    "NetworkComparison": ("interchange.compare", "NetworkComparison"),
    "NirReading": ("interchange.from_nir", "Reading"),
    "QuantEnsemble": ("ir.ensemble", "QuantEnsemble"),
    "SneError": ("errors", "SneError"),
    "SneWarning": ("errors", "SneWarning"),
    "TrainConfig": ("pipeline.config", "TrainConfig"),
    "compare_graph": ("interchange.compare", "compare_graph"),
    "compare_network": ("interchange.compare", "compare_network"),
    "compare_nir": ("interchange.compare", "compare_nir"),
    "ensemble_of": ("pipeline.ensemble", "ensemble_of"),
    "export_model": ("deploy.export", "export"),
    "export_package": ("deploy.packages", "export_package"),
    "load": ("ir.artifact", "load"),
    "load_dataset": ("data.dataset", "load_dataset"),
    "quantize_graph": ("quantize.graph", "quantize_graph"),
    "quantize_nir": ("interchange.graphs", "quantize_nir"),
    "quantize_network": ("interchange.torch", "quantize_network"),
    "save": ("ir.artifact", "save"),
    "stream_model": ("pipeline.stream", "for_stream"),
    "to_nir": ("interchange.to_nir", "to_nir"),
    "to_onnx": ("interchange.to_onnx", "to_onnx"),
    "train_ensemble": ("pipeline.train", "train"),
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOME[name]
    return getattr(import_module(f".{module}", __name__), attribute)
