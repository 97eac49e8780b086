"""Networks from a user's own Python file.

In: `FILE.py:NAME`, and weights as safetensors. Out: the module that NAME is or returns.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from ..errors import SneError
from ..files import open_file, read_file

MAX_BYTES = 2**31  # of a file of weights


def load_network(where: str, weights: Path | None) -> nn.Module:
    """The network that `where` names, with `weights` (a safetensors file of its state_dict) loaded where given.

    The file is run: only name one you trust. Raises `SneError` where it, the name or the weights do not fit.
    """
    path, _, name = where.rpartition(":")
    if not path.endswith(".py") or not name.isidentifier():
        raise SneError(f"{where!r} does not name a network", "write FILE.py:NAME, NAME being a network or making one")
    network = getattr(_run(Path(path)), name, None)
    if network is None:
        raise SneError(f"{path} has no {name!r}", "NAME is a torch.nn.Module, or a function that returns one")
    if not isinstance(network, nn.Module):
        try:
            network = network()
        except Exception as error:
            raise SneError(f"{name}() in {path} failed: {error!r}", "it must take no arguments") from error
    if not isinstance(network, nn.Module):
        raise SneError(f"{where} is a {type(network).__name__}", "NAME is a torch.nn.Module, or returns one")
    if weights is not None:
        _load(network, weights)
    return network


def _run(path: Path) -> object:
    spec = importlib.util.spec_from_file_location("sne_edge_user_network", path)
    open_file(path, MAX_BYTES, hint="write FILE.py:NAME").close()
    if spec is None or spec.loader is None:
        raise SneError(f"{path} is no Python file", "write FILE.py:NAME")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    written, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # a user's folder stays as it is
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SneError(f"{path} failed: {error!r}", "run it with python first") from error
    finally:
        sys.path.pop(0)
        sys.dont_write_bytecode = written
    return module


def _load(network: nn.Module, weights: Path) -> None:
    hint = "save them with safetensors.torch.save_file(network.state_dict(), FILE)"
    try:
        tensors = safetensors.torch.load(read_file(weights, MAX_BYTES, hint=hint))
    except (ValueError, safetensors.SafetensorError) as error:
        raise SneError(f"cannot read {weights}: {error}", hint) from None
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise SneError(f"{weights} does not fit the network: {str(error).splitlines()[-1].strip()}", hint) from None
