"""Teachers from ONNX files: a network trained anywhere, with a named output of features, run by onnxruntime.

In: a file, the names of its outputs, training data. Out: a `TeacherNet`. The file's own logits are taught where it has
them; the linear classifier that partitions need is fitted to them, or to the labels.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..data.dataset import Dataset
from ..errors import SneError
from ..ir.encoder import Shape
from .networks import ScaledTeacher, TeacherNet
from .onnx_file import read
from .onnx_size import multiply_accumulates, parameters
from .teacher import check_finite
from .views import batches

TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}
LAYOUTS = "[N, channels, height, width], [N, height, width, channels], [N, channels, length] or flat [N, values]"
STRENGTH = 1e-3  # of the fitted classifier's weight decay, on standardised features


class OnnxTeacher(TeacherNet):
    """An ONNX file's features and logits; its parameters do not learn.

    shape     (height, width, channels) of the samples. The file's one input takes them as float, in the first of
              `LAYOUTS` that its shape allows. They arrive as students see them: named images standardised over the
              training set, a file's arrays as they are. A teacher that wants other values scales them itself.
    features  the output, or any tensor of the graph, that holds the features: [N, d], or a map, which is flattened
    logits    the output that holds logits [N, classes], or None: then `classifier` makes them

    Raises `SneError` where the file cannot be read or run, or has not what is named.
    """

    def __init__(self, path: str | Path, shape: Shape, classes: int, features: str, logits: str | None = None) -> None:
        super().__init__()
        self.path, self.shape = Path(path), shape
        self.names = [features] if logits is None else [features, logits]
        model, digest = read(self.path)
        self.digest = digest[:16]
        self.session = _session(self.path, _with_outputs(model, self.names, self.path))
        inputs = self.session.get_inputs()
        if len(inputs) != 1 or inputs[0].type not in TYPES:
            told = ", ".join(f"{i.name} {i.type}" for i in inputs)
            raise SneError(f"{path} takes {told}, not one input of floats", "export it with one float input, a batch")
        self.input, self.dtype = inputs[0].name, TYPES[inputs[0].type]
        self.layout, self.batch = _layout(self.path, list(inputs[0].shape), shape)
        found = self._run(np.zeros((2, *shape), np.float32).transpose(0, 3, 1, 2))
        if logits is not None and found[1].shape[1] != classes:
            raise SneError(
                f"the output {logits} of {path} has {found[1].shape[1]} values, the data {classes} classes",
                "name the output of the logits with --logits, or none: then a classifier is fitted",
            )
        self.classifier = nn.Linear(found[0].shape[1], classes)
        self.macs = multiply_accumulates(model, self.names, lambda names: self._shapes(model, names))
        self.macs //= self.batch or 1
        self.parameter_count = parameters(model)
        if logits is None:
            self.macs += self.classifier.weight.numel()

    def __deepcopy__(self, memo: dict[int, Any]) -> OnnxTeacher:
        """Another with a classifier of its own, which may go to another device, and the same session."""
        made = copy.copy(self)
        made._modules = {"classifier": copy.deepcopy(self.classifier, memo)}
        memo[id(self)] = made
        return made

    def content(self, model: Any) -> bytes:
        """The file's `onnx.ModelProto`, with its named outputs, in bytes."""
        return _with_outputs(model, self.names, self.path)

    def extra_repr(self) -> str:
        """Part of the teacher's fingerprint: what its answers depend on."""
        return f"{self.digest}, {self.names}, {self.layout}"

    def features(self, x: Tensor) -> Tensor:
        return torch.from_numpy(self._run(x.cpu().numpy())[0]).to(x.device)

    def answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        found = [torch.from_numpy(a).to(x.device) for a in self._run(x.cpu().numpy())]
        return (found[0], found[1]) if len(found) > 1 else (found[0], self.classifier(found[0]))

    def _run(self, x: np.ndarray) -> list[np.ndarray]:
        """The named outputs, float32 [N, ...], of samples [N, channels, height, width]."""
        parts = [self._once(part) for part in _parts(x, self.batch)]
        return [np.concatenate(p)[: len(x)] for p in zip(*parts, strict=True)]

    def _shapes(self, model: Any, names: list[str]) -> dict[str, tuple[int, ...]]:
        """The shapes that tensors of the graph have while it runs on one batch, of one sample where that is free."""
        weights = {w.name: tuple(w.dims) for w in model.graph.initializer}
        given = np.zeros((self.batch or 1, *self.layout), self.dtype)
        inner = [name for name in names if name not in weights and name != self.input]
        found = _session(self.path, _with_outputs(model, inner, self.path)).run(inner, {self.input: given})
        return weights | {self.input: given.shape} | {n: np.shape(a) for n, a in zip(inner, found, strict=True)}

    def _once(self, x: np.ndarray) -> list[np.ndarray]:
        given = np.ascontiguousarray(_arranged(x, self.layout), self.dtype)
        try:
            found = self.session.run(self.names, {self.input: given})
        except Exception as error:  # onnxruntime has an exception for each of its status codes
            reason = str(error).splitlines()[0]
            raise SneError(f"{self.path} does not run on {list(given.shape)}: {reason}", "check it by itself") from None
        if any(np.ndim(a) < 2 or len(a) != len(x) for a in found):
            shapes = ", ".join(f"{n} {list(np.shape(a))}" for n, a in zip(self.names, found, strict=True))
            raise SneError(
                f"{self.path} makes {shapes} of {len(x)} samples",
                "name outputs with a row for each sample, [N, values]",
            )
        return [np.asarray(a).reshape(len(x), -1).astype(np.float32) for a in found]


def onnx_teacher(
    path: str | Path,
    dataset: Dataset,
    features: str | None,
    logits: str | None = None,
    scaling: tuple[np.ndarray, np.ndarray] | None = None,
) -> TeacherNet:
    """The teacher of a file, its classifier fitted on the training samples.

    Without a name, `features` is the file's only output. `scaling`: gain and offset [channels] of its input, as
    `networks.ScaledTeacher` takes them. Raises `SneError`, also for features that are not finite.
    """
    if features is None:
        others = [name for name in outputs(Path(path)) if name != logits]
        if len(others) != 1:
            raise SneError(f"{path} has the outputs {', '.join(outputs(Path(path)))}", "name the features: --features")
        features = others[0]
    teacher: TeacherNet = OnnxTeacher(path, dataset.shape, len(dataset.classes), features, logits)
    if scaling is not None:
        teacher = ScaledTeacher(teacher, *scaling)
    found = [teacher.answers(part) for part in batches(dataset.x_train)]
    f, z = (torch.cat(part).detach() for part in zip(*found, strict=True))
    check_finite(f, z)
    target = z if logits is not None else torch.from_numpy(dataset.y_train)
    (fit_to_logits if logits is not None else fit_to_labels)(teacher.classifier, f, target)
    return teacher


def fit_to_logits(classifier: nn.Linear, features: Tensor, logits: Tensor) -> None:
    """Least squares: exact where the logits are a linear map of the features."""
    design = torch.cat([features, torch.ones(len(features), 1)], dim=1).double()
    found = torch.linalg.lstsq(design, logits.double(), driver="gelsd").solution.float()
    classifier.weight.data, classifier.bias.data = found[:-1].T.contiguous(), found[-1].clone()


def fit_to_labels(classifier: nn.Linear, features: Tensor, labels: Tensor) -> None:
    """Logistic regression on standardised features, with weight decay; features [N, d], labels int64 [N]."""
    mean, sd = features.mean(dim=0), features.std(dim=0).clamp_min(1e-6)
    z = (features - mean) / sd
    weight = torch.zeros_like(classifier.weight, requires_grad=True)
    bias = torch.zeros_like(classifier.bias, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.cross_entropy(z @ weight.T + bias, labels) + STRENGTH * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    classifier.weight.data = (weight / sd).detach()
    classifier.bias.data = (bias - (weight / sd) @ mean).detach()


def outputs(path: Path) -> list[str]:
    """Names of a file's outputs."""
    return [str(o.name) for o in read(path)[0].graph.output]


def _with_outputs(model: Any, names: list[str], path: Path) -> bytes:
    """The model with tensors of the graph made outputs where they are named and are none."""
    import onnx

    made = onnx.ModelProto()
    made.CopyFrom(model)
    have = [o.name for o in made.graph.output]
    inner = {name for node in made.graph.node for name in node.output}
    for name in names:
        if name not in have and name not in inner:
            raise SneError(
                f"{path} has no output {name!r}; it has {', '.join(have)}",
                "name one of them, or a tensor inside the graph (Netron shows them)",
            )
        if name not in have:
            made.graph.output.append(onnx.ValueInfoProto(name=name))
    try:
        content: bytes = made.SerializeToString()
    except ValueError as error:  # protobuf's limit
        raise SneError(f"{path} is larger than 2 GiB with its weights: {error}", "give a smaller teacher") from None
    return content


def _session(path: Path, content: bytes) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise SneError("the package onnxruntime is not installed", "pip install 'sne-edge[train]'") from None
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # torch needs the processor in between
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as for running
        raise SneError(
            f"onnxruntime cannot load {path}: {str(error).splitlines()[0]}", "check the file with onnx.checker"
        ) from None


def _layout(path: Path, dims: list[Any], shape: Shape) -> tuple[tuple[int, ...], int | None]:
    """The shape of a sample that an input of `dims` takes, of those that a sample's can be brought in, and the number
    of samples that it takes at a time, None where that is free."""
    height, width, channels = shape
    ways: list[tuple[int, ...]] = [(channels, height, width), (height, width, channels)]
    if height == 1:
        ways += [(channels, width)]
    ways += [(height * width * channels,)]
    if dims[:1] == [0]:
        raise SneError(
            f"{path} takes {dims}: batches of 0 samples",
            "export it with a free batch dimension, as torch.onnx.export's dynamic_axes or dynamic_shapes make one",
        )
    for way in ways:
        if len(dims) == len(way) + 1 and all(
            not isinstance(d, int) or d == n for d, n in zip(dims[1:], way, strict=True)
        ):
            return way, dims[0] if isinstance(dims[0], int) else None
    raise SneError(
        f"{path} takes {dims}, the data's samples are of {shape} (height, width, channels)",
        f"export it for {LAYOUTS} of this size",
    )


def _arranged(x: np.ndarray, layout: tuple[int, ...]) -> np.ndarray:
    """Samples [N, channels, height, width] in a layout."""
    if len(layout) == 3 and layout != x.shape[1:]:
        x = x.transpose(0, 2, 3, 1)
    return x.reshape(len(x), *layout)


def _parts(x: np.ndarray, batch: int | None) -> Iterator[np.ndarray]:
    """Batches of the size that the file takes; the last one is filled up."""
    if batch is None:
        yield x
        return
    for start in range(0, len(x), batch):
        yield np.resize(x[start : start + batch], (batch, *x.shape[1:]))
