"""Nodes of an ONNX model, written one after the other: a graph, the graphs inside it, and constants that all use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..errors import SneError

OPSET, IR_VERSION = 17, 8  # of 2022: what runtimes of all kinds read
MOST_BYTES = 2**31 - 2**20  # of a protobuf message
Dims = Sequence[int | str]


def library() -> Any:
    """The package onnx. Raises `SneError` where it is not installed."""
    try:
        import onnx
    except ImportError:
        raise SneError("the package onnx is not installed", "pip install 'sne-edge[onnx]'") from None
    return onnx


class Nodes:
    """One graph. Called with an operator and the names of its inputs it adds a node, and returns its output's name."""

    def __init__(self, outer: Nodes | None = None) -> None:
        self.onnx: Any = outer.onnx if outer else library()
        self.nodes: list[Any] = []
        self.constants: dict[str, np.ndarray] = outer.constants if outer else {}

    def __call__(self, op: str, *inputs: str, name: str, **attributes: Any) -> str:
        """Add a node of one output, of the same name."""
        return self.several(op, *inputs, names=(name,), **attributes)[0]

    def several(self, op: str, *inputs: str, names: Sequence[str], **attributes: Any) -> Sequence[str]:
        """Add a node of several outputs, named as the first of them."""
        self.nodes.append(self.onnx.helper.make_node(op, list(inputs), list(names), name=names[0], **attributes))
        return names

    def cast(self, x: str, dtype: Any, name: str) -> str:
        """The same numbers in another type."""
        return self("Cast", x, name=name, to=self._kind(dtype))

    def constant(self, name: str, values: Any, dtype: Any) -> str:
        """A constant of the whole model, by its name: one that is there already is the same."""
        array = np.asarray(values, dtype)
        known = self.constants.setdefault(name, array)
        assert known.dtype == array.dtype and np.array_equal(known, array), f"two constants are called {name}"
        return name

    def number(self, value: int, dtype: Any) -> str:
        """A constant without axes."""
        return self.constant(f"{np.dtype(dtype).name} {value}", value, dtype)

    def vector(self, *values: int) -> str:
        """A constant int64 [n]: a shape, an axis."""
        return self.constant(f"[{', '.join(map(str, values))}]", values, np.int64)

    def inner(self) -> Nodes:
        """A graph inside: a loop's body, a branch. It sees what this one made before."""
        return Nodes(self)

    def graph(self, name: str, inputs: Sequence[Any], outputs: Sequence[Any]) -> Any:
        return self.onnx.helper.make_graph(self.nodes, name, list(inputs), list(outputs))

    def value(self, name: str, dtype: Any, dims: Dims) -> Any:
        """What a graph's input or output is."""
        return self.onnx.helper.make_tensor_value_info(name, self._kind(dtype), list(dims))

    def _kind(self, dtype: Any) -> Any:
        return self.onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype))

    def model(
        self,
        name: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        metadata: dict[str, str],
        starts: dict[str, np.ndarray],
    ) -> Any:
        """The whole as an `onnx.ModelProto`; `starts`: values of inputs that a caller may leave out."""
        onnx, tensor = self.onnx, self.onnx.numpy_helper.from_array
        total = sum(array.nbytes for array in (*self.constants.values(), *starts.values()))
        if total > MOST_BYTES:
            raise SneError(f"the constants take {total:,} bytes, more than one ONNX file holds", "export it as C")
        graph = self.graph(name, inputs, outputs)
        for key, array in (*self.constants.items(), *starts.items()):
            graph.initializer.append(tensor(array, key))
        made = onnx.helper.make_model(
            graph,
            opset_imports=[onnx.helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="sne-edge",
        )
        onnx.helper.set_model_props(made, metadata)
        return made
