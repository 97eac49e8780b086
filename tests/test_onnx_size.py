"""Multiply-accumulates and parameters of ONNX files: counted by shapes that were seen, held against torch's count."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch.utils.flop_counter import FlopCounterMode

from sne_edge.errors import SneWarning
from sne_edge.learn.onnx_module import learnable
from sne_edge.learn.onnx_teacher import OnnxTeacher

SHAPE, CLASSES = (8, 8, 2), 3
RNG = np.random.default_rng(0)
WEIGHTS = {
    "w": RNG.normal(size=(4, 2, 3, 3)),
    "u": RNG.normal(size=(5, 4, 3, 3)),
    "c": RNG.normal(size=(5 * 8 * 8, CLASSES)),
}
OF_CONVOLUTIONS = 8 * 8 * 4 * 2 * 9 + 8 * 8 * 5 * 4 * 9


def written(path: Path, middle: list[Any], batch: Any = "N", **more: np.ndarray) -> OnnxTeacher:
    """Convolution, `middle` (from `a` to `b`), features `f` [N, 320], a matrix product to logits `z`."""
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], pads=[1, 1, 1, 1]),
        *middle,
        helper.make_node("Flatten", ["b"], ["f"], axis=1),
        helper.make_node("MatMul", ["f", "c"], ["z"]),
    ]
    arrays = {name: a.astype(np.float32) for name, a in WEIGHTS.items()} | more
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 8, 8])],
        [helper.make_tensor_value_info(o, TensorProto.FLOAT, None) for o in "fz"],
        [numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return OnnxTeacher(path, SHAPE, CLASSES, "f", "z")


def padded_by_computed_places() -> tuple[list[Any], dict[str, np.ndarray]]:
    """What shape inference leaves open: how far `a` is padded is computed."""
    nodes = [
        helper.make_node("Add", ["few", "few"], ["pads"]),
        helper.make_node("Pad", ["a", "pads"], ["wide"]),
        helper.make_node("Conv", ["wide", "u"], ["far"]),
        helper.make_node("Slice", ["far", "start", "end", "axes"], ["b"]),
    ]
    few = np.array([0, 0, 1, 1, 0, 0, 1, 1])
    return nodes, {"few": few, "start": np.array([1, 1]), "end": np.array([9, 9]), "axes": np.array([2, 3])}


@pytest.mark.parametrize("batch", ["N", 3])
def test_what_shape_inference_leaves_open_is_counted(batch: Any, tmp_path: Path):
    nodes, more = padded_by_computed_places()
    teacher = written(tmp_path / "t.onnx", nodes, batch, **more)
    inferred = onnx.shape_inference.infer_shapes(onnx.load(tmp_path / "t.onnx")).graph
    open_ones = {"wide", "far"} - {
        v.name for v in inferred.value_info if any(d.dim_value for d in v.type.tensor_type.shape.dim[2:])
    }
    assert open_ones, "the file is to have a tensor whose shape cannot be inferred"
    assert teacher.macs == 8 * 8 * 4 * 2 * 9 + 10 * 10 * 5 * 4 * 9 + 320 * CLASSES


def test_the_count_is_torchs(tmp_path: Path):
    nodes, more = padded_by_computed_places()
    teacher = written(tmp_path / "t.onnx", nodes, **more)
    module = learnable(teacher, torch.zeros(2, 2, 8, 8))
    with FlopCounterMode(display=False) as counter:
        module(torch.zeros(1, 2, 8, 8))
    assert teacher.macs == counter.get_total_flops() // 2


def test_parameters_are_counted_wherever_a_file_has_them(tmp_path: Path):
    constant = helper.make_node("Constant", [], ["u2"], value=numpy_helper.from_array(WEIGHTS["u"].astype(np.float32)))
    nodes = [constant, helper.make_node("Conv", ["a", "u2"], ["b"], pads=[1, 1, 1, 1])]
    teacher = written(tmp_path / "t.onnx", nodes)
    assert teacher.macs == OF_CONVOLUTIONS + 320 * CLASSES
    assert teacher.parameter_count == sum(a.size for a in WEIGHTS.values()) + WEIGHTS["u"].size  # `u` is there, too


def test_transposed_convolutions_and_quantised_ones_count(tmp_path: Path):
    up = helper.make_node("ConvTranspose", ["a", "v"], ["b"], pads=[1, 1, 1, 1])
    teacher = written(tmp_path / "t.onnx", [up], v=RNG.normal(size=(4, 5, 3, 3)).astype(np.float32))
    assert teacher.macs == OF_CONVOLUTIONS + 320 * CLASSES
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["a"], ["q", "scale", "zero"]),
        helper.make_node("ConvInteger", ["q", "v", "zero"], ["many"], pads=[1, 1, 1, 1]),
        helper.make_node("Cast", ["many"], ["b"], to=TensorProto.FLOAT),
    ]
    teacher = written(tmp_path / "q.onnx", nodes, v=RNG.integers(-9, 9, (5, 4, 3, 3)).astype(np.int8))
    assert teacher.macs == OF_CONVOLUTIONS + 320 * CLASSES


def test_what_is_not_counted_is_said(tmp_path: Path):
    einsum = helper.make_node("Einsum", ["a", "m"], ["b"], equation="nchw,cd->ndhw")
    mix = RNG.normal(size=(4, 5)).astype(np.float32)
    with pytest.warns(SneWarning, match="counted without those of Einsum: take them for a lower bound"):
        teacher = written(tmp_path / "t.onnx", [einsum], m=mix)
    assert teacher.macs == 8 * 8 * 4 * 2 * 9 + 320 * CLASSES
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        written(tmp_path / "u.onnx", [helper.make_node("Conv", ["a", "u"], ["b"], pads=[1, 1, 1, 1])])
