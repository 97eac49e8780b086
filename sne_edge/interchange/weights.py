"""Weights of a network from a file: a `state_dict` as safetensors, or as `torch.save` writes it.

In: the network and a path. Out: the network with its weights. Nothing of a file is ever run: torch reads tensors alone.
"""

from __future__ import annotations

import io
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ..errors import SneError
from ..files import read_file

MAX_BYTES = 2**31  # of a file of weights
WRAPPERS = ("module.", "_orig_mod.")  # prefixes that DataParallel and torch.compile put before every name
HINT = "save them with torch.save(network.state_dict(), FILE), or safetensors.torch.save_file"


def load_weights(network: nn.Module, path: Path) -> None:
    """Load a file of the network's `state_dict`: safetensors, or `torch.save`'s, by itself or within a checkpoint, of
    the network as it is or as DataParallel or torch.compile wrap it. Raises `SneError` where it is none or doesn't fit.
    """
    tensors = _state(_read(path), path)
    for prefix in WRAPPERS:
        if tensors and all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        raise SneError(f"{path} does not fit the network: {str(error).splitlines()[-1].strip()}", HINT) from None


def _read(path: Path) -> Any:
    """What a file holds: tensors, and plain values around them."""
    data = read_file(path, MAX_BYTES, hint=HINT)
    zipped, pickled = data.startswith(b"PK"), data.startswith(b"\x80")  # torch.save of now, and of before 1.6
    try:
        if not zipped and not pickled:
            return safetensors.torch.load(data)
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except UnpicklingError:
        raise SneError(f"{path} holds more than tensors, a whole network perhaps", HINT) from None
    except (ValueError, RuntimeError, EOFError, KeyError, safetensors.SafetensorError) as error:
        raise SneError(f"cannot read {path}: {str(error).splitlines()[0]}", HINT) from None


def _state(found: Any, path: Path) -> dict[str, Tensor]:
    """The one `state_dict` in what a file holds."""
    if _is_state(found):
        return dict(found)
    inner = {key: value for key, value in found.items() if _is_state(value)} if isinstance(found, dict) else {}
    if len(inner) != 1:
        which = f"several: {', '.join(map(str, inner))}" if inner else "none"
        raise SneError(f"{path} should hold one state_dict, and holds {which}", HINT)
    return dict(next(iter(inner.values())))


def _is_state(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(key, str) and isinstance(tensor, Tensor) for key, tensor in value.items())
    )
