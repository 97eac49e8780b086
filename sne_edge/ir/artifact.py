"""The `.sne` file: one safetensors file, its manifest (JSON) in the metadata. No pickle.

In: a path. Out: a `QuantEnsemble` that passed every check, or an `SneError` that says what is wrong.
The same ensemble always makes the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from ..errors import SneError, nearest
from ..files import UNWRITABLE, read_file, write_whole
from ..files import check_writable as check_writable
from .ensemble import QuantEnsemble

FORMAT = "sne-edge ensemble"
# 1.1 adds front ends and routes, 1.2 weights of 4 bits, 1.3 early stops, 1.4 shifted currents; a reader refuses newer
# major versions, not newer minor ones
VERSION = (1, 4)
GRAPH_VERSION = (2, 0)  # of a file with what no reader of 1.x may pass over: `_version`; others go on as they are
SCALES_VERSION = (2, 1)  # of inputs whose channels have a scale or an offset each, graphs or not
MAX_BYTES = 64 * 2**20
MAX_NESTING = 64  # of the manifest's JSON
ZOO = Path(__file__).parents[1] / "zoo"


def save(ensemble: QuantEnsemble, path: Path | str) -> None:
    """Write `ensemble` to `path`: to a temporary file first, then renamed, so nothing half-written is left."""
    data = dumps(ensemble)
    write_whole(Path(path), lambda file: file.write(data), hint=UNWRITABLE)


def load(path: Path | str) -> QuantEnsemble:
    """Read and validate an ensemble; `path` may also name a model that ships with the package, such as `mnist1d`."""
    names = zoo_names()
    hint = f"{nearest(str(path), names)}give the path of an .sne file, or one of: {', '.join(names)}"
    path = find(path)
    return loads(read_file(path, MAX_BYTES, hint=hint), str(path))


def find(path: Path | str) -> Path:
    """The file that a path or the name of a shipped model means."""
    shipped = ZOO / f"{path}.sne"
    return shipped if str(path) in zoo_names() and not Path(path).is_file() else Path(path)


def zoo_names() -> list[str]:
    """Names of the models that ship with the package."""
    return sorted(p.stem for p in ZOO.glob("*.sne"))


def dumps(ensemble: QuantEnsemble) -> bytes:
    """The bytes of an `.sne` file."""
    from safetensors.numpy import save as save_tensors

    content, tensors = _content(ensemble)
    manifest = {
        "format": FORMAT,
        "version": list(_version(content)),
        "fingerprint": _digest(content, tensors),
        "ensemble": content,
    }
    return save_tensors(tensors, metadata={"sne": _json(manifest)})


def loads(data: bytes, source: str = "the data") -> QuantEnsemble:
    """Parse the bytes of an `.sne` file; `source` names them in errors."""
    from safetensors import SafetensorError, deserialize

    damaged = (
        "the file is damaged or was not written by sne-edge; make it again with `sne-edge train` or `sne-edge quantize`"
    )
    try:
        manifest = _manifest(data)
        entries = deserialize(data)  # type: ignore[no-untyped-call]
        tensors = {name: _tensor(entry) for name, entry in entries}
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise SneError(f"{source} is not a readable .sne file: {error}", damaged) from None
    if manifest.get("format") != FORMAT:
        raise SneError(f"{source} is not an .sne file: its format is {manifest.get('format')!r}", damaged)
    version = manifest.get("version")
    if not (isinstance(version, list) and len(version) == 2 and all(type(part) is int for part in version)):
        raise SneError(f"{source} has no valid format version: {version!r}", damaged)
    if not VERSION[0] <= version[0] <= GRAPH_VERSION[0]:
        known = f"{VERSION[0]} and {GRAPH_VERSION[0]}"
        raise SneError(
            f"{source} has format version {version[0]}.{version[1]}; this sne-edge reads versions {known}",
            "update sne-edge with `pip install -U sne-edge`"
            if version[0] > GRAPH_VERSION[0]
            else "make the file again with this sne-edge",
        )
    content = manifest.get("ensemble")
    if manifest.get("fingerprint") != _digest(content, tensors):
        raise SneError(f"{source} does not match its fingerprint", damaged)
    used: set[str] = set()

    def decode(kind: type, value: Any) -> Any:
        if kind is not np.ndarray or value not in tensors:
            raise ValueError(f"there is no tensor {value!r}")
        used.add(value)
        return tensors[value]

    try:
        ensemble = msgspec.convert(content, QuantEnsemble, dec_hook=decode)
    except (msgspec.ValidationError, ValueError, TypeError, OverflowError, RecursionError) as error:
        newer = tuple(version) > (SCALES_VERSION if version[0] == GRAPH_VERSION[0] else VERSION)
        told = f"it is of format version {version[0]}.{version[1]}: update sne-edge with `pip install -U sne-edge`"
        raise SneError(f"{source} holds an invalid ensemble: {error}", told if newer else damaged) from None
    if version[0] != _version(content)[0]:
        raise SneError(f"{source} has format version {version[0]}, which is not that of its students", damaged)
    if used != tensors.keys():
        raise SneError(f"{source} holds tensors that nothing uses: {', '.join(sorted(tensors.keys() - used))}", damaged)
    return ensemble


def fingerprint(ensemble: QuantEnsemble) -> str:
    """16 hex digits over an ensemble's whole content; it ties generated code and firmware to the model."""
    return _digest(*_content(ensemble))


def _content(ensemble: QuantEnsemble) -> tuple[Any, dict[str, np.ndarray]]:
    """The ensemble as JSON-able data with each array replaced by a tensor's name (its path), and the tensors."""
    arrays: list[np.ndarray] = []
    mark = secrets.token_hex(16)  # so that no text of the ensemble can pass for an array

    def take(value: Any) -> str:
        if not isinstance(value, np.ndarray):
            raise TypeError(f"cannot store a {type(value).__name__}")
        arrays.append(np.ascontiguousarray(value))
        return f"{mark}{len(arrays) - 1}"

    tensors: dict[str, np.ndarray] = {}

    def name(node: Any, path: str) -> Any:
        if isinstance(node, dict):
            return {key: name(value, f"{path}.{key}" if path else str(key)) for key, value in node.items()}
        if isinstance(node, list | tuple):
            return [name(value, f"{path}.{index}") for index, value in enumerate(node)]
        if isinstance(node, str) and node.startswith(mark):
            tensors[path] = arrays[int(node.removeprefix(mark))]
            return path
        return node

    content = msgspec.to_builtins(ensemble, enc_hook=take)
    if ensemble.routes is None:
        del content["routes"]  # as before version 1.1, so that a model without keeps its fingerprint
    for layer in (layer for student in content["students"] for layer in student["layers"]):
        if layer.get("bits") == 8:
            del layer["bits"]  # likewise, as before version 1.2
        if layer.get("current_shift") == 0:
            del layer["current_shift"]  # likewise, as before version 1.4
    if not ensemble.policy.early:
        del content["policy"]["early"]  # likewise, as before version 1.3
    return name(content, ""), tensors


def _version(content: Any) -> tuple[int, int]:
    """The version of the format that holds an ensemble's content: a graph, a window, a rejection and a regression are
    of 2.0, scales by channel of 2.1."""
    students = content["students"]
    if any(isinstance(content["encoder"][what], list | tuple) for what in ("scale", "offset")):
        return SCALES_VERSION
    window = any("window" in layer.get("neuron", {}) for student in students for layer in student["layers"])
    graph = any("graph" in student for student in students)
    return GRAPH_VERSION if graph or window or content.keys() & {"rejection", "task"} else VERSION


def _digest(content: Any, tensors: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256(_json(content).encode())
    for name in sorted(tensors):
        array = tensors[name]
        digest.update(f"\n{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def _manifest(data: bytes) -> dict[str, Any]:
    """The manifest from the header (8 bytes of length, then JSON); `deserialize` checks the rest."""
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > len(data) - 8:
        raise ValueError("the header is cut off")
    header = json.loads(data[8 : 8 + length])
    manifest = json.loads(header["__metadata__"]["sne"])
    if not isinstance(manifest, dict):
        raise ValueError("the manifest is not an object")
    level: list[Any] = [manifest]
    for _ in range(MAX_NESTING):
        level = [part for node in level for part in _parts(node)]
    if level:
        raise ValueError(f"the manifest is nested more than {MAX_NESTING} deep")
    return manifest


def _parts(node: Any) -> list[Any]:
    return list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else []


_DTYPES = {"I8": "<i1", "U8": "<u1", "I16": "<i2", "I32": "<i4", "U32": "<u4", "F64": "<f8"}


def _tensor(entry: dict[str, Any]) -> np.ndarray:
    if entry["dtype"] not in _DTYPES:
        raise ValueError(f"a tensor has the unexpected type {entry['dtype']}")
    array: np.ndarray = np.frombuffer(entry["data"], dtype=_DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return array
