"""ONNX networks as torch modules, so that what onnxruntime only runs can learn.

In: the file that an `OnnxTeacher` read. Out: a `TeacherNet` with parameters, held against onnxruntime's own answers.
Operators are those of convolutional and dense networks, in their definitions of opset 13 and later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from ..files import workspace
from .networks import TeacherNet
from .onnx_file import needed
from .onnx_teacher import OnnxTeacher

LEARNING = ("Conv", "Gemm", "MatMul", "BatchNormalization")  # whose weights learn; others are constants
NEAR = 1e-3  # of the largest answer: sums come in another order
Values = Sequence[Any]
Attributes = dict[str, Any]


def learnable(teacher: OnnxTeacher, samples: Tensor) -> TeacherNet:
    """The teacher as a torch module from its file's input to the features, with its fitted classifier.

    `samples` [N, channels, height, width], some hundreds, are what its norms are restored by (`_Learnable.normalise`),
    and are given to both: raises `SneError` for an operator that is not known here, and where answers differ.
    """
    made = _Learnable(teacher).eval()
    with torch.no_grad():
        made.normalise(samples)
        mine, theirs = made.features(samples), teacher.features(samples)
    if mine.shape != theirs.shape or float((mine - theirs).abs().max()) > NEAR * float(theirs.abs().max() + 1):
        raise SneError(
            f"{teacher.path} answers otherwise in torch than in onnxruntime, so it cannot be fine-tuned",
            "leave --fine-tune out, or give the network as FILE.py:NAME",
        )
    return made


class _Learnable(TeacherNet):
    """An ONNX graph up to its features, and the classifier.

    Exporters fold batch norms into the convolutions before them, and a deep network without any learns badly or not at
    all: each convolution has one here, which changes no answer until it learns.
    """

    images = True

    def __init__(self, teacher: OnnxTeacher) -> None:
        super().__init__()
        self.layout, self.digest = teacher.layout, teacher.extra_repr()
        self.classifier = nn.Linear(teacher.classifier.in_features, teacher.classifier.out_features)
        self.classifier.load_state_dict(teacher.classifier.state_dict())
        self.macs, self.parameter_count = teacher.macs, teacher.parameter_count
        graph = _folded(teacher)
        self.input, self.output = teacher.input, teacher.names[0]
        self.constants: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.nodes = needed(graph, [self.output])
        self.norms = nn.ModuleDict()
        self.steps: list[tuple[str, list[str], str, Attributes, str]] = []  # operator, inputs, output, and norm's name
        self.settling = False
        self._take(graph)
        odd = sorted({node.op_type for node in self.nodes} - OPERATORS.keys())
        if odd:
            raise SneError(
                f"{teacher.path} has operators that do not learn here: {', '.join(odd)}",
                f"known are {', '.join(OPERATORS)}; or give the network as FILE.py:NAME",
            )

    def _take(self, graph: Any) -> None:
        import onnx

        values = {w.name: onnx.numpy_helper.to_array(w) for w in graph.initializer}
        learning = {name for node in self.nodes if node.op_type in LEARNING for name in node.input}
        filling = {node.input[2] for node in self.nodes if node.op_type == "Pad" and len(node.input) > 2}
        filling -= {name for node in self.nodes for k, name in enumerate(node.input) if (node.op_type, k) != ("Pad", 2)}
        for name in dict.fromkeys(name for node in self.nodes for name in node.input if name in values):
            value = values[name]
            if value.dtype.kind != "f" or name in filling:
                self.constants[name] = value.tolist()
                continue
            place = self.places[name] = f"value{len(self.places)}"
            tensor = torch.from_numpy(value.astype(np.float32))
            if name in learning:
                self.register_parameter(place, nn.Parameter(tensor))
            else:
                self.register_buffer(place, tensor)
        for k, node in enumerate(self.nodes):
            if node.op_type == "Conv" and node.input[1] in values:
                weights = values[node.input[1]]
                norm = nn.BatchNorm1d if weights.ndim == 3 else nn.BatchNorm2d
                self.norms[str(k)] = norm(len(weights))
            attributes = {a.name: _attribute(a) for a in node.attribute}
            self.steps.append((node.op_type, list(node.input), node.output[0], attributes, str(k)))

    def normalise(self, samples: Tensor) -> None:
        """Give the norm behind each convolution the mean and deviation that `samples` have there, as statistics and as
        what it scales to: it takes away what it adds."""
        self.settling = True
        self.features(samples)
        self.settling = False

    def _normalised(self, norm: nn.Module, x: Tensor) -> Tensor:
        if not self.settling:
            out: Tensor = norm(x)
            return out
        assert isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d)
        variance, mean = torch.var_mean(x.transpose(0, 1).flatten(1), dim=1, correction=0)
        for kept, found in (
            (norm.running_mean, mean), (norm.running_var, variance),
            (norm.bias, mean), (norm.weight, (variance + norm.eps).sqrt()),
        ):  # fmt: skip
            assert kept is not None
            kept.copy_(found)
        return x

    def extra_repr(self) -> str:
        """Part of the teacher's fingerprint: the graph."""
        return f"{self.digest}, {[step[0] for step in self.steps]}"

    def features(self, x: Tensor) -> Tensor:
        if len(self.layout) == 3 and self.layout != tuple(x.shape[1:]):
            x = x.permute(0, 2, 3, 1)
        known: dict[str, Any] = {self.input: x.reshape(len(x), *self.layout)}
        known.update(self.constants)
        known.update({name: getattr(self, place) for name, place in self.places.items()})
        for operator, inputs, output, attributes, place in self.steps:
            given = [known[name] if name else None for name in inputs]
            made = OPERATORS[operator](given, attributes)
            known[output] = self._normalised(self.norms[place], made) if place in self.norms else made
        found: Tensor = known[self.output]
        return found.flatten(1)


def _folded(teacher: OnnxTeacher) -> Any:
    """The file's graph with what is constant in it computed, by onnxruntime."""
    import onnx
    import onnxruntime

    from .onnx_file import read

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.log_severity_level = 3
    with workspace() as work:
        options.optimized_model_filepath = str(work / "folded.onnx")
        content = teacher.content(read(teacher.path)[0])
        onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        return onnx.load(work / "folded.onnx").graph


def _attribute(attribute: Any) -> Any:
    import onnx

    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value


def _padded(x: Tensor, attributes: Attributes, value: float = 0.0) -> tuple[Tensor, tuple[int, ...]]:
    """A map with what padding torch's layers cannot do themselves, and what is left for them."""
    axes = x.dim() - 2
    if attributes.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID"):
        raise SneError("an ONNX file pads automatically (auto_pad)", "export it with explicit pads")
    pads = attributes.get("pads", [0] * 2 * axes)
    first, last = pads[:axes], pads[axes:]
    if list(first) == list(last) and value == 0.0:
        return x, tuple(first)
    widths = [p for pair in zip(reversed(first), reversed(last), strict=True) for p in pair]
    return functional.pad(x, widths, value=value), (0,) * axes


def _conv(v: Values, a: Attributes) -> Tensor:
    x, padding = _padded(v[0], a)
    axes = x.dim() - 2
    convolve: Callable[..., Tensor] = functional.conv2d if axes == 2 else functional.conv1d
    ones = [1] * axes
    return convolve(
        x, v[1], v[2] if len(v) > 2 else None, a.get("strides", ones), padding, a.get("dilations", ones),
        a.get("group", 1),
    )  # fmt: skip


def _gemm(v: Values, a: Attributes) -> Tensor:
    left, right = (x.T if a.get(f"trans{name}", 0) else x for x, name in zip(v[:2], "AB", strict=True))
    made: Tensor = left @ right * a.get("alpha", 1.0)
    return made if len(v) < 3 else made + v[2] * a.get("beta", 1.0)


def _norm(v: Values, a: Attributes) -> Tensor:
    return functional.batch_norm(v[0], v[3].detach(), v[4].detach(), v[1], v[2], eps=a.get("epsilon", 1e-5))


def _max_pool(v: Values, a: Attributes) -> Tensor:
    x, padding = _padded(v[0], a, float("-inf"))
    pool: Callable[..., Tensor] = functional.max_pool2d if x.dim() == 4 else functional.max_pool1d
    kernel = a["kernel_shape"]
    return pool(x, kernel, a.get("strides", [1] * len(kernel)), padding)


def _average_pool(v: Values, a: Attributes) -> Tensor:
    x, padding = _padded(v[0], a)
    kernel = a["kernel_shape"]
    pool: Callable[..., Tensor] = functional.avg_pool2d if x.dim() == 4 else functional.avg_pool1d
    return pool(x, kernel, a.get("strides", [1] * len(kernel)), padding, False, bool(a.get("count_include_pad", 0)))


def _mean(v: Values, a: Attributes) -> Tensor:
    axes = v[1] if len(v) > 1 else a.get("axes")
    x: Tensor = v[0]
    return x.mean(dim=axes or list(range(x.dim())), keepdim=bool(a.get("keepdims", 1)))


def _slice(v: Values, a: Attributes) -> Tensor:
    x: Tensor = v[0]
    axes = v[3] if len(v) > 3 and v[3] is not None else list(range(len(v[1])))
    steps = v[4] if len(v) > 4 else [1] * len(v[1])
    for start, end, axis, step in zip(v[1], v[2], axes, steps, strict=True):
        x = x[(slice(None),) * (axis % x.dim()) + (slice(start, min(end, 2**31), step),)]
    return x


def _pad(v: Values, a: Attributes) -> Tensor:
    x: Tensor = v[0]
    axes = [axis % x.dim() for axis in v[3]] if len(v) > 3 and v[3] is not None else list(range(x.dim()))
    pads = {axis: (v[1][k], v[1][k + len(axes)]) for k, axis in enumerate(axes)}
    widths = [p for axis in reversed(range(x.dim())) for p in pads.get(axis, (0, 0))]
    value = v[2] if len(v) > 2 and v[2] is not None else 0.0
    value = value[0] if isinstance(value, list) else float(value)
    mode = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}[a.get("mode", "constant")]
    return functional.pad(x, widths, mode, value) if mode == "constant" else functional.pad(x, widths[:4], mode)


def _clip(v: Values, a: Attributes) -> Tensor:
    low, high = (v[k] if len(v) > k else None for k in (1, 2))
    return torch.clamp(v[0], low, high)


def _reshape(v: Values, a: Attributes) -> Tensor:
    x: Tensor = v[0]
    shape = [x.shape[k] if n == 0 else n for k, n in enumerate(v[1])]
    return x.reshape(len(x), *shape[1:]) if len(shape) > 1 and -1 not in shape[1:] else x.reshape(shape)


OPERATORS: dict[str, Callable[[Values, Attributes], Tensor]] = {
    "Add": lambda v, a: v[0] + v[1],
    "AveragePool": _average_pool,
    "BatchNormalization": _norm,
    "Clip": _clip,
    "Concat": lambda v, a: torch.cat(list(v), dim=a["axis"]),
    "Conv": _conv,
    "Div": lambda v, a: v[0] / v[1],
    "Dropout": lambda v, a: v[0],
    "Flatten": lambda v, a: v[0].flatten(a.get("axis", 1)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda v, a: v[0].mean(dim=list(range(2, v[0].dim())), keepdim=True),
    "HardSigmoid": lambda v, a: (v[0] * a.get("alpha", 0.2) + a.get("beta", 0.5)).clamp(0, 1),
    "HardSwish": lambda v, a: functional.hardswish(v[0]),
    "Identity": lambda v, a: v[0],
    "LeakyRelu": lambda v, a: functional.leaky_relu(v[0], a.get("alpha", 0.01)),
    "MatMul": lambda v, a: v[0] @ v[1],
    "MaxPool": _max_pool,
    "Mul": lambda v, a: v[0] * v[1],
    "Pad": _pad,
    "ReduceMean": _mean,
    "Relu": lambda v, a: v[0].relu(),
    "Reshape": _reshape,
    "Sigmoid": lambda v, a: v[0].sigmoid(),
    "Slice": _slice,
    "Sub": lambda v, a: v[0] - v[1],
    "Tanh": lambda v, a: v[0].tanh(),
    "Transpose": lambda v, a: v[0].permute(a["perm"]),
}
