"""How large the network of an ONNX file is: multiply-accumulates of one inference, and parameters.

In: a model, and the shapes that its tensors had when it ran. Out: counts. Shapes are not inferred: a tensor whose shape
inference leaves open would count as nothing, and a network as smaller than it is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

from ..errors import SneWarning
from .onnx_file import needed, tensors

Shapes = Callable[[list[str]], dict[str, tuple[int, ...]]]

WEIGHTS = {"Conv": 1, "ConvInteger": 1, "ConvTranspose": 1, "QLinearConv": 3}  # which input, [channels, ...]
PRODUCTS = ("Gemm", "MatMul", "MatMulInteger", "QLinearMatMul")
UNCOUNTED = ("Attention", "DeformConv", "Einsum", "GRU", "If", "LSTM", "Loop", "RNN", "Scan")
OF_PARAMETERS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE", "INT8", "UINT8", "INT4", "UINT4", "INT32")


def multiply_accumulates(model: Any, names: list[str], shapes: Shapes) -> int:
    """Of convolutions and matrix products that the named tensors of an `onnx.ModelProto` depend on.

    `shapes` gives those of tensors of its graph. Warns of operators that compute more than is counted.
    """
    nodes = needed(model.graph, names)
    if odd := sorted({n.op_type for n in nodes if n.op_type in UNCOUNTED or n.domain not in ("", "ai.onnx")}):
        text = f"the teacher's MACs are counted without those of {', '.join(odd)}: take them for a lower bound"
        warnings.warn(text, SneWarning, stacklevel=2)
    counted = [n for n in nodes if n.op_type in WEIGHTS or n.op_type in PRODUCTS]
    known = shapes(list(dict.fromkeys(name for n in counted for name in (*n.input[:4], n.output[0]) if name)))
    return sum(_of_node(n, known) for n in counted)


def parameters(model: Any) -> int:
    """Numbers in a model's tensors that can be weights: those of at least one axis, but of no 64-bit integers, which
    are shapes and indices."""
    from onnx import TensorProto

    kinds = {TensorProto.DataType.Value(kind) for kind in OF_PARAMETERS}
    return sum(math.prod(t.dims) for t in tensors(model) if t.dims and t.data_type in kinds)


def _of_node(node: Any, known: dict[str, tuple[int, ...]]) -> int:
    values = math.prod(known[node.output[0]])
    if node.op_type == "ConvTranspose":  # each value that comes meets all weights of its channel
        values = math.prod(known[node.input[0]])
    if node.op_type in WEIGHTS:
        return values * math.prod(known[node.input[WEIGHTS[node.op_type]]][1:])
    left = known[node.input[0]]
    flipped = any(a.name == "transA" and a.i for a in node.attribute)
    return values * (left[0] if flipped else left[-1])
