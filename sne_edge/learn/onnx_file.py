"""ONNX files and the files of weights beside them, as `torch.onnx.export` writes both.

In: a path. Out: the model with all its weights inside, and a hash over everything that was read. A model names the
files of its weights; they may lie in its own folder or below it, and nowhere else.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path, PurePath, PureWindowsPath
from typing import Any

from ..errors import SneError
from ..files import read_file

EXPORT_HINT = "export the network with torch.onnx.export"
WHOLE_HINT = "keep the .onnx file and the files of weights that were exported with it in one folder, or export again"


def read(path: Path) -> tuple[Any, str]:
    """The file's `onnx.ModelProto`, weights from other files read into it, and 64 hex digits over all contents.

    Raises `SneError` where a file cannot be read, is no ONNX file, or names weights outside its folder.
    """
    try:
        import onnx
    except ImportError:
        raise SneError("the package onnx is not installed", "pip install 'sne-edge[train]'") from None
    try:
        content = read_file(path, 2**31, hint="give the path of an ONNX file")
        model = onnx.load_model_from_string(content)
    except SneError:
        raise
    except Exception as error:  # protobuf's DecodeError is not in its public names
        raise SneError(f"{path} is not an ONNX file: {error}", EXPORT_HINT) from None
    digest, files = hashlib.sha256(content), dict[str, bytes]()
    for tensor in tensors(model):
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            continue
        entries = {entry.key: entry.value for entry in tensor.external_data}
        place = entries.get("location", "")
        if place not in files:
            files[place] = _weights(path, place)
        tensor.raw_data = _part(path, place, files[place], entries)
        tensor.data_location = onnx.TensorProto.DEFAULT
        del tensor.external_data[:]
    for place in sorted(files):
        digest.update(f"\n{place}\n{len(files[place])}\n".encode() + files[place])
    return model, digest.hexdigest()


def _weights(path: Path, place: str) -> bytes:
    """The content of a file of weights at `place`, relative to the folder of the model at `path`."""
    parts = PurePath(place).parts
    if not parts or ".." in parts or PurePath(place).is_absolute() or PureWindowsPath(place).anchor:
        raise SneError(f"{path} names weights at {place!r}, which is not below its own folder", WHOLE_HINT)
    file = path.parent / place
    try:
        if not file.resolve().is_relative_to(path.parent.resolve()):
            raise SneError(f"{path} names weights at {place!r}, a link that leaves its folder", WHOLE_HINT)
        try:
            return read_file(file, 2**32, hint=WHOLE_HINT)
        except SneError as error:
            raise SneError(f"weights of {path}: {error.message}", WHOLE_HINT) from None
    except (OSError, ValueError, RuntimeError) as error:  # a name with a zero, a loop of links
        told = getattr(error, "strerror", None) or error
        raise SneError(f"cannot read {file}, weights of {path}: {told}", WHOLE_HINT) from None


def _part(path: Path, place: str, content: bytes, entries: dict[str, str]) -> bytes:
    """A tensor's bytes in a file of weights."""
    try:
        start = int(entries.get("offset", 0))
        length = int(entries.get("length", len(content) - start))
    except ValueError:
        start = length = -1
    if start < 0 or length < 0 or start + length > len(content):
        raise SneError(
            f"{path.parent / place} holds {len(content)} bytes, and {path} names weights at "
            f"{entries.get('offset', 0)}, {entries.get('length', 'all')} long",
            WHOLE_HINT,
        )
    return content[start : start + length]


def needed(graph: Any, names: list[str]) -> list[Any]:
    """The nodes of an `onnx.GraphProto` that named tensors depend on, in order."""
    wanted, found = set(names), []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            wanted |= set(node.input)
            found.append(node)
    return found[::-1]


def tensors(model: Any) -> Iterator[Any]:
    """Every tensor of a model that can hold weights: initializers and attributes, of inner graphs and functions too."""
    yield from _of_graph(model.graph)
    for function in model.functions:
        yield from _of_nodes(function.node)


def _of_graph(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Any) -> Iterator[Any]:
    for attribute in (a for node in nodes for a in node.attribute):
        yield from (t for t in (attribute.t, *attribute.tensors))
        for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
            yield from (sparse.values, sparse.indices)
        for graph in (attribute.g, *attribute.graphs):
            yield from _of_graph(graph)
