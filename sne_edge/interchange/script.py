"""Networks from a user's own Python file.

In: `FILE.py:NAME`, and a file of weights. Out: the module that NAME is or returns.
"""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ..errors import SneError
from ..learn.own import USER, load_object, run_file
from .weights import load_weights


def load_network(where: str, weights: Path | None) -> nn.Module:
    """The network that `where` names, with `weights`, a file of its state_dict, loaded where given.

    The file is run: only name one you trust. Raises `SneError` where it, the name or the weights do not fit.
    """
    path, _, name = where.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise SneError(f"{where!r} does not name a network", _how(where))
    network = load_object(where, "network")
    if not isinstance(network, nn.Module):
        try:
            network = network()
        except Exception as error:
            raise SneError(f"{name}() in {path} failed: {error!r}", "it must take no arguments") from error
    if not isinstance(network, nn.Module):
        raise SneError(f"{where} is a {type(network).__name__}", "NAME is a torch.nn.Module, or returns one")
    if weights is not None:
        load_weights(network, weights)
    return network


def _how(where: str) -> str:
    """How to name a network of what is there."""
    if where.endswith((".pt", ".pth", ".safetensors", ".ckpt")):
        return f"weights alone are no network: write FILE.py:NAME --weights {where}"
    if where.endswith(".onnx"):
        return f"an ONNX network does not spike, but teaches: `sne-edge train --teacher {where} -o students.sne`"
    if where.endswith(".py") and Path(where).is_file():
        names = [name for name, value in vars(run_file(Path(where))).items() if _is_network(value)]
        return f"write {where}:NAME, of {', '.join(names)}" if names else f"{where} defines no torch.nn.Module"
    return "write FILE.py:NAME, NAME being a network or making one; or give a .nir file"


def _is_network(value: object) -> bool:
    made = isinstance(value, type) and issubclass(value, nn.Module) and value.__module__ == USER
    return made or isinstance(value, nn.Module)
