"""Teachers and partition schemes from elsewhere: a user's Python file, an ONNX file that learns, another package; and
what each wants to see of a sample."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn import functional

from sne_edge.data.dataset import Dataset, divide
from sne_edge.data.raw import Raw
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint as fingerprint_of
from sne_edge.learn import partition
from sne_edge.learn.networks import build_teacher, wanted_values
from sne_edge.learn.onnx_module import learnable
from sne_edge.learn.onnx_teacher import OnnxTeacher
from sne_edge.learn.partition import Source, make_partition
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.teacher import accuracy, count_macs, fine_tune, fingerprint
from sne_edge.learn.views import to_torch
from sne_edge.pipeline.config import TrainConfig, model_key
from sne_edge.pipeline.stages import teacher_of_module
from sne_edge.pipeline.train import find_teacher, train

CLASSES = 3
NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.classifier = nn.Linear(24, 3)

    def features(self, x):
        assert x.min() >= 0 and x.max() <= 1.001, "values 0..1 are wanted"
        return self.body(x)

whole = Net
number = 7
"""
SCHEMES = """
import numpy as np
from sne_edge.learn.partition import deal

def halves(source, students, generator):
    return deal("halves", source, np.arange(source.features.shape[1]) % students, students)

def wrong(source, students, generator):
    return 3

def broken(source, students, generator):
    return 1 / 0
"""


@pytest.fixture(scope="module")
def photos() -> Dataset:
    """Images 0..255 of three colours, standardised as named images are."""
    rng = np.random.default_rng(0)
    y = np.arange(200) % CLASSES
    x = rng.integers(0, 120, size=(200, 12, 12, 3))
    x[np.arange(200), :, :, y] += 100
    return divide("photos", Raw(x.astype(np.uint8), y, standardise=True, layout="NHWC"), 0)


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "net.py"
    path.write_text(NET)
    return path


class Residual(nn.Module):
    """What convolutional teachers are made of: padding, strides, poolings, norms, additions, a mean of the map."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2))
        self.inner = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=2), nn.BatchNorm2d(8), nn.Hardswish())
        self.linear = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem((x - 0.5) / 0.25)
        x = nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, 0)) + nn.functional.avg_pool2d(self.inner(x), 2)
        features = x.clamp(-4, 4).mean((2, 3))
        return features, self.linear(features)


def export(net: nn.Module, path: Path) -> None:
    """A network of images, as torch writes it: features f and logits z of x, of any number of samples."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            net.eval(), (torch.rand(2, 3, 12, 12),), str(path), input_names=["x"], output_names=["f", "z"],
            dynamic_axes={"x": {0: "N"}, "f": {0: "N"}, "z": {0: "N"}}, opset_version=17, dynamo=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("onnx") / "residual.onnx"
    export(Residual(), path)
    return path


def test_a_teacher_of_a_users_file_sees_the_values_that_it_wants(photos: Dataset, net: Path, tmp_path: Path):
    config = TrainConfig(teacher=f"{net}:whole", teacher_input="0..1")
    torch.manual_seed(1)
    found = find_teacher(config, photos)
    assert found(to_torch(photos.x_val)).shape == (len(photos.x_val), CLASSES)
    with pytest.raises(SneError, match=r"does not take the samples as \[4, 3, 12, 12\]: values 0..1 are wanted"):
        find_teacher(replace(config, teacher_input="standard"), photos)
    safetensors.torch.save_file(found.teacher.backbone.owner.state_dict(), tmp_path / "w.safetensors")
    again = find_teacher(replace(config, weights=str(tmp_path / "w.safetensors")), photos)
    x = to_torch(photos.x_val)
    assert torch.equal(again(x), found(x)) and fingerprint(again) == fingerprint(found)


def test_what_a_users_files_hold_decides_the_key_of_a_model(photos: Dataset, net: Path):
    config = TrainConfig(teacher=f"{net}:whole", teacher_input="0..1")
    before = model_key(config, photos)
    assert before == model_key(config, photos)
    net.write_text(NET + "\n# changed\n")
    assert before != model_key(config, photos)


SIGNALS = """
import torch
from torch import nn

class Natural(nn.Module):  # as torch has signals: [N, channels, length]
    def __init__(self, channels=2, classes=3, features=8):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv1d(channels, features, 3), nn.BatchNorm1d(features), nn.ReLU(),
            nn.AdaptiveAvgPool1d(1), nn.Flatten(),
        )
        self.classifier = nn.Linear(8, classes)

class Maps(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(2, 8, (1, 3)), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classifier = nn.Linear(8, 3)

def other_channels(): return Natural(channels=5)
def other_classes(): return Natural(classes=4)
def other_features(): return Natural(features=7)

class Tuple(nn.Module):
    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(32, 3)

    def features(self, x):
        return (x.flatten(1),)
"""


@pytest.fixture
def signals(tmp_path: Path) -> tuple[Dataset, str]:
    rng = np.random.default_rng(0)
    (tmp_path / "signals.py").write_text(SIGNALS)
    raw = Raw(rng.normal(size=(60, 2, 16)).astype(np.float32), np.arange(60) % 3, layout="NCL")
    return divide("signals", raw, 0), f"{tmp_path}/signals.py"


def test_a_teacher_of_signals_takes_them_as_torch_has_them(signals: tuple[Dataset, str]):
    data, path = signals
    x = to_torch(data.x_val)
    assert x.shape[2] == 1
    torch.manual_seed(0)
    found = find_teacher(TrainConfig(teacher=f"{path}:Natural"), data)
    own = found.teacher.backbone if hasattr(found, "teacher") else found.backbone
    assert torch.equal(found.features(x), own.backbone(x[:, :, 0])) and not found.training
    assert find_teacher(TrainConfig(teacher=f"{path}:Maps"), data)(x).shape == (len(x), 3)
    network = copy.deepcopy(found)  # given to the library, statistics of its norms stay as they are
    before = [b.clone() for b in network.buffers()]
    teacher_of_module(data, network.train())
    assert all(map(torch.equal, before, network.buffers())) and network.training


@pytest.mark.parametrize("layout", ["NL", "NC"])
def test_a_teacher_of_rows_takes_them_as_rows(layout: str):
    rng = np.random.default_rng(0)
    data = divide("rows", Raw(rng.normal(size=(60, 7)).astype(np.float32), np.arange(60) % 3, layout=layout), 0)
    net = nn.Module()
    net.features, net.classifier = nn.Sequential(nn.Linear(7, 5), nn.ReLU()), nn.Linear(5, 3)
    x = to_torch(data.x_val)
    found = teacher_of_module(data, net)(x)
    assert torch.equal(found, net.classifier(net.features(x.flatten(1))))


def test_a_teacher_that_does_not_fit_the_samples_is_told_with_its_own_words(signals: tuple[Dataset, str]):
    data, path = signals
    cases = {
        "other_channels": r"\[4, 2, 1, 16\]: .*; nor as \[4, 2, 16\]: .*5 channels",
        "other_classes": "tells 4 classes, the data have 3",
        "other_features": r"its features are \[4, 7\], its classifier takes \[4, 8\]",
        "Tuple": "its features are a tuple",
    }
    for name, told in cases.items():
        with pytest.raises(SneError, match=told) as caught:
            find_teacher(TrainConfig(teacher=f"{path}:{name}"), data)
        assert f"signals.py:{name}" in caught.value.message and "\n" not in caught.value.message


def test_wanted_values_are_those_that_the_pixels_had(photos: Dataset):
    assert photos.standard is not None
    mean, deviation = photos.standard
    pixels = photos.x_val * deviation + mean
    for wants, scale in (("0..1", 255.0), ("0..255", 1.0)):
        found = wanted_values(wants, (0.5, 0.4, 0.3), (0.2,), photos.standard, 3)
        assert found is not None
        gain, offset = found
        assert np.allclose(photos.x_val * gain + offset, (pixels / scale - [0.5, 0.4, 0.3]) / 0.2, atol=1e-3)
    assert wanted_values("standard", None, None, photos.standard, 3) is None


def test_an_onnx_teacher_answers_alike_in_torch_and_learns(photos: Dataset, exported: Path):
    teacher = OnnxTeacher(exported, photos.shape, CLASSES, "f", "z")
    made = learnable(teacher, to_torch(photos.x_train[:8]))
    x = to_torch(photos.x_val)
    assert torch.allclose(made.features(x), teacher.features(x), atol=1e-4)
    learning = [p for p in made.parameters() if p.requires_grad]
    assert len(learning) >= 6 and count_macs(made, photos.shape) == count_macs(teacher, photos.shape)
    config = TrainConfig(teacher=str(exported), features="f", logits="z", teacher_input="0..1")
    before = find_teacher(config, photos)
    after = find_teacher(replace(config, fine_tune=60), photos)
    scores = [accuracy(t, photos.x_val, photos.y_val) for t in (before, after)]
    assert scores[0] < 0.8 < 0.9 < scores[1]


class Deep(nn.Module):
    """Two dozen blocks of sums, as wide as at first: what no rate teaches well once its norms are folded."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU(),
                nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8),
            )
            for _ in range(24)
        )  # fmt: skip
        self.linear = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.stem(x).relu()
        for block in self.blocks:
            x = (x + block(x)).relu()
        features = x.mean((2, 3))
        return features, self.linear(features)


def test_norms_that_an_exporter_folded_are_there_again_when_a_teacher_learns(photos: Dataset, tmp_path: Path):
    torch.manual_seed(0)
    path, net = tmp_path / "deep.onnx", Deep()
    with torch.no_grad():
        for _ in range(20):
            net.train()(torch.rand(64, 3, 12, 12))  # statistics to fold
    export(net, path)
    assert not any(node.op_type == "BatchNormalization" for node in onnx.load(path).graph.node)
    teacher = OnnxTeacher(path, photos.shape, CLASSES, "f", "z")
    x = to_torch(photos.x_train)
    made = learnable(teacher, x)
    norms = [m for m in made.modules() if isinstance(m, nn.BatchNorm2d)]
    assert len(norms) == 49 and torch.allclose(made.features(x), teacher.features(x), rtol=1e-3, atol=1e-3)
    plain = learnable(teacher, x)
    plain.norms = nn.ModuleDict()
    with pytest.raises(SneError, match="the loss is nan") as caught:
        fine_tune(plain, photos, epochs=4, rate=0.1)
    assert "--teacher-input" in caught.value.hint
    fine_tune(made, photos, epochs=4, rate=0.1)
    assert accuracy(made, photos.x_val, photos.y_val) > 0.6


class Constants(nn.Module):
    """Operators that take their places, widths and shapes from constants of the graph."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3), nn.Conv2d(8, 6, 3, stride=2)
        self.linear = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = functional.pad(self.first(x), (1, 2, 0, 1), value=0.5).clamp(0, 6)
        x = self.second(x[:, :, 1:-1:2, -9:])
        x = torch.cat([x.mean((2, 3)), x.reshape(-1, 6, 8)[:, :, 1:2].flatten(1)], 1)
        return x, self.linear(x)


def test_constants_of_a_graph_are_values_so_that_torch_compiles_it_whole(photos: Dataset, tmp_path: Path):
    torch.manual_seed(0)
    path = tmp_path / "constants.onnx"
    export(Constants(), path)
    taken = {node.op_type for node in onnx.load(path).graph.node}
    assert {"Pad", "Slice", "Reshape", "ReduceMean", "Clip", "Concat"} <= taken
    made, x = learnable(OnnxTeacher(path, photos.shape, CLASSES, "f", "z"), to_torch(photos.x_train)), photos.x_val
    with torch.no_grad():
        compiled = torch.compile(made.answers, fullgraph=True, backend="eager")(to_torch(x))
        assert all(torch.equal(a, b) for a, b in zip(compiled, made.answers(to_torch(x)), strict=True))


def test_pads_of_some_axes_and_values_that_others_share_are_onnxruntimes(tmp_path: Path):
    rng = np.random.default_rng(0)
    nodes = [
        onnx.helper.make_node("Pad", ["x", "pads", "", "axes"], ["wide"]),
        onnx.helper.make_node("Pad", ["wide", "one", "half", "last"], ["wider"]),
        onnx.helper.make_node("Mul", ["wider", "half"], ["less"]),
        onnx.helper.make_node("Conv", ["less", "w"], ["c"], strides=[3, 3]),
        onnx.helper.make_node("Flatten", ["c"], ["f"]),
        onnx.helper.make_node("MatMul", ["f", "m"], ["z"]),
    ]
    arrays = {
        "pads": np.array([1, 2, 2, 1]), "axes": np.array([3, 2]), "one": np.array([1, 0]), "last": np.array([-1]),
        "half": np.full(1, 0.5, np.float32), "w": rng.normal(size=(4, 3, 3, 3)).astype(np.float32),
        "m": rng.normal(size=(100, CLASSES)).astype(np.float32),
    }  # fmt: skip
    graph = onnx.helper.make_graph(
        nodes, "g", [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 12, 12])],
        [onnx.helper.make_tensor_value_info(o, onnx.TensorProto.FLOAT, None) for o in "fz"],
        [onnx.numpy_helper.from_array(a, name) for name, a in arrays.items()],
    )  # fmt: skip
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, tmp_path / "pads.onnx")
    teacher, x = OnnxTeacher(tmp_path / "pads.onnx", (12, 12, 3), CLASSES, "f", "z"), torch.rand(9, 3, 12, 12)
    assert torch.allclose(learnable(teacher, x).features(x), teacher.features(x), atol=1e-4)


@pytest.mark.filterwarnings("ignore:the students are right")
@pytest.mark.filterwarnings("ignore:the teacher is right")
def test_an_onnx_teacher_answers_live_whatever_the_executor(photos: Dataset, exported: Path, tmp_path: Path):
    config = TrainConfig(
        students=2, timesteps=1, body=Body((3,), (3,), (2,)), teacher=str(exported), features="f", logits="z",
        recipe=Recipe(alone=1, joint=1, rounded=1, batch=64, live=True), views=1, vectors=2,
    )  # fmt: skip
    one, other = (
        train(config, dataset=photos, cache=tmp_path / executor[:2], executor=executor)
        for executor in ("inline", "processes:2")
    )
    assert fingerprint_of(one) == fingerprint_of(other)
    teacher = OnnxTeacher(exported, photos.shape, CLASSES, "f", "z")
    twin = copy.deepcopy(teacher)
    x = to_torch(photos.x_val[:4])
    assert torch.equal(twin(x), teacher(x)) and twin.classifier is not teacher.classifier


def test_a_class_of_a_users_own_starts_from_the_seed(photos: Dataset, net: Path) -> None:
    config = TrainConfig(teacher=f"{net}:Net", teacher_input="0..1")
    torch.manual_seed(1)
    first = find_teacher(config, photos)
    torch.manual_seed(2)
    assert fingerprint(find_teacher(config, photos)) == fingerprint(first)
    assert fingerprint(find_teacher(replace(config, seed=1), photos)) != fingerprint(first)


def test_fine_tuning_is_kept_and_found_again(photos: Dataset, exported: Path, tmp_path: Path):
    config = TrainConfig(teacher=str(exported), features="f", logits="z", teacher_input="0..1", fine_tune=2)
    first = find_teacher(config, photos, tmp_path)
    seen: list[str] = []
    again = find_teacher(config, photos, tmp_path, lambda stage, *rest: seen.append(stage))
    assert fingerprint(first) == fingerprint(again) and "fine-tuning the teacher" not in seen


def test_resnet18_is_of_its_class():
    net = build_teacher("resnet18", (32, 32, 3), 10)
    assert count_macs(net, (32, 32, 3)) == 555_422_720 and net.classifier.in_features == 512
    assert sum(p.numel() for p in net.parameters()) == 11_173_962  # as published for CIFAR-10


@pytest.fixture(scope="module")
def source() -> Source:
    rng = np.random.default_rng(0)
    f = rng.normal(size=(60, 8)).astype(np.float32)
    w, b = rng.normal(size=(3, 8)).astype(np.float32), np.zeros(3, np.float32)
    return Source(f, f @ w.T, np.arange(60) % 3, w, b)


def test_a_scheme_of_a_users_file_and_one_of_another_package_share_out_features(
    source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "schemes.py"
    path.write_text(SCHEMES)
    made = make_partition(f"{path}:halves", source, 2)
    assert made.owner.tolist() == [0, 1] * 4
    TrainConfig(scheme=f"{path}:halves")
    offered = [EntryPoint("contiguous-too", "sne_edge.learn.partition:contiguous", partition.ENTRY_POINTS)]
    monkeypatch.setattr(partition, "entry_points", lambda group, name: [e for e in offered if e.name == name])
    assert make_partition("contiguous-too", source, 2).owner.tolist() == [0] * 4 + [1] * 4
    for name, told in (("wrong", "made no partition"), ("broken", "failed"), ("none", "has no")):
        with pytest.raises(SneError, match=told):
            make_partition(f"{path}:{name}", source, 2)
    with pytest.raises(SneError, match="there is no partition scheme"):
        make_partition("contiguous-to", source, 2)


BAD = {
    "weights of a built-in teacher": ({"weights": "w"}, "no FILE.py:NAME"),
    "what a built-in teacher wants": ({"teacher_input": "0..1"}, "learns from the samples as they are"),
    "fine-tuning a built-in teacher": ({"fine_tune": 2}, "learns from the samples as they are"),
    "an unknown input": ({"teacher": "a.onnx", "teacher_input": "0-1"}, "no teacher's input"),
    "no epochs": ({"teacher": "a.onnx", "fine_tune": -1}, "are none"),
    "no such scheme": ({"scheme": "disentagled"}, "no partition scheme"),
}


@pytest.mark.parametrize("case", BAD)
def test_settings_that_contradict_each_other_are_refused_at_once(case: str):
    changes, told = BAD[case]
    with pytest.raises(SneError, match=told):
        TrainConfig(**changes)


def test_a_file_that_holds_no_teacher_is_told(photos: Dataset, net: Path):
    for name, told in (("number", "failed"), ("absent", "has no")):
        with pytest.raises(SneError, match=told):
            find_teacher(TrainConfig(teacher=f"{net}:{name}"), photos)
    bare = replace(photos, standard=None)
    with pytest.raises(SneError, match="wants images"):
        find_teacher(TrainConfig(teacher=f"{net}:whole", teacher_input="0..1"), bare)
    with pytest.raises(SneError, match="2 numbers for 3 channels"):
        find_teacher(TrainConfig(teacher=f"{net}:whole", teacher_mean=(0.1, 0.2)), photos)
