"""Teachers from ONNX files: what the file says is what is taught; every way in which a file does not fit is told."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from sne_edge.data.dataset import Dataset, split
from sne_edge.errors import SneError
from sne_edge.learn.onnx_teacher import OnnxTeacher, onnx_teacher
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.teacher import accuracy, count_macs, extract, fingerprint
from sne_edge.learn.views import to_torch
from sne_edge.pipeline.config import TrainConfig, model_key
from sne_edge.pipeline.train import train

HIDDEN, CLASSES = 24, 3


@pytest.fixture(scope="module")
def waves() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(400) % CLASSES
    return split("waves", np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(400, 16)), y)


@pytest.fixture(scope="module")
def weights(waves: Dataset) -> dict[str, np.ndarray]:
    """Random features and the best linear classifier on them."""
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(16, HIDDEN)) / 4, rng.normal(size=HIDDEN) / 4
    f = np.maximum(0, waves.x_train.reshape(-1, 16) @ w + b)
    solved = np.linalg.lstsq(np.c_[f, np.ones(len(f))], 6 * np.eye(CLASSES)[waves.y_train], rcond=None)[0]
    return {"w": w, "b": b, "c": solved[:-1], "d": solved[-1]}


def write(path: Path, weights: dict[str, np.ndarray], dims: list[Any], outs: tuple[str, ...] = ("f", "z"), **changes):
    """flatten, dense, relu (f), dense (z): an ONNX file of one input `x` of `dims`; `outs` are its outputs."""
    kind = changes.get("kind", TensorProto.FLOAT)
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("Gemm", ["flat", "w", "b"], ["before"]),
        helper.make_node("Relu", ["before"], ["f"]),
        helper.make_node("MatMul", ["f", "c"], ["product"]),
        helper.make_node("Add", ["product", "d"], ["z"]),
    ]
    widths = {"f": HIDDEN, "z": CLASSES, "before": HIDDEN}
    dtype = helper.tensor_dtype_to_np_dtype(kind)
    graph = helper.make_graph(
        nodes, "teacher", [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info(o, kind, [dims[0], widths[o]]) for o in outs],
        [numpy_helper.from_array(a.astype(dtype), n) for n, a in weights.items()],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)
    return path


@pytest.fixture(scope="module")
def file(weights: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("onnx") / "teacher.onnx", weights, ["N", 1, 1, 16])


def computed(waves: Dataset, weights: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    f = np.maximum(0, waves.x_val.reshape(-1, 16) @ weights["w"] + weights["b"])
    return f, f @ weights["c"] + weights["d"]


@pytest.mark.parametrize("logits", ["z", None])
def test_features_and_logits_are_the_files(waves: Dataset, weights: dict[str, np.ndarray], file: Path, logits):
    teacher = onnx_teacher(file, waves, "f", logits)
    found = extract(teacher, waves.x_val[None])
    f, z = computed(waves, weights)
    assert np.allclose(found.features[0], f, atol=1e-4)
    if logits:
        assert np.allclose(found.logits[0], z, atol=1e-4)
        linear = found.features[0] @ teacher.classifier.weight.detach().numpy().T
        assert np.allclose(linear + teacher.classifier.bias.detach().numpy(), z, atol=1e-2)
    assert accuracy(teacher, waves.x_val, waves.y_val) > 0.85
    assert count_macs(teacher, waves.shape) == 16 * HIDDEN + HIDDEN * CLASSES


@pytest.mark.parametrize("dims", [["N", 1, 1, 16], ["N", 1, 16, 1], [None, 1, 16], ["N", 16], [7, 16], ["N", "d"]])
def test_samples_are_brought_in_the_shape_that_the_file_takes(
    dims: list[Any], waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path
):
    teacher = OnnxTeacher(write(tmp_path / "t.onnx", weights, dims), waves.shape, CLASSES, "f", "z")
    with torch.no_grad():
        found = teacher.answers(to_torch(waves.x_val))
    for got, want in zip(found, computed(waves, weights), strict=True):
        assert np.allclose(got.numpy(), want, atol=1e-4)


@pytest.mark.parametrize("last", [False, True])
def test_images_come_channels_first_or_last(last: bool, tmp_path: Path):
    shape, rng = (4, 4, 3), np.random.default_rng(0)
    x = rng.normal(size=(5, *shape)).astype(np.float32)
    weights = {"w": np.eye(48), "b": np.zeros(48), "c": np.zeros((48, 3)), "d": np.zeros(3)}
    dims = ["N", 4, 4, 3] if last else ["N", 3, 4, 4]
    teacher = OnnxTeacher(write(tmp_path / "t.onnx", weights, dims), shape, 3, "before")
    want = x if last else x.transpose(0, 3, 1, 2)
    assert np.allclose(teacher.features(to_torch(x)).numpy(), want.reshape(5, -1), atol=1e-6)


@pytest.mark.parametrize("kind", [TensorProto.FLOAT16, TensorProto.DOUBLE])
def test_other_floats_are_converted(kind: int, waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path):
    path = write(tmp_path / "t.onnx", weights, ["N", 16], kind=kind)
    found = extract(OnnxTeacher(path, waves.shape, CLASSES, "f", "z"), waves.x_val[None])
    assert found.features.dtype == np.float32
    assert np.allclose(found.features[0], computed(waves, weights)[0], atol=2e-2)


def test_a_tensor_inside_the_graph_can_hold_the_features(
    waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path
):
    path = write(tmp_path / "t.onnx", weights, ["N", 16], outs=("z",))
    assert np.allclose(
        extract(onnx_teacher(path, waves, "f", "z"), waves.x_val[None]).features[0],
        computed(waves, weights)[0], atol=1e-4,
    )  # fmt: skip


def test_the_only_output_is_the_features_where_none_is_named(
    waves: Dataset, weights: dict[str, np.ndarray], file: Path, tmp_path: Path
):
    assert onnx_teacher(file, waves, None, "z").names == ["f", "z"]
    assert onnx_teacher(write(tmp_path / "t.onnx", weights, ["N", 16], outs=("f",)), waves, None).names == ["f"]
    with pytest.raises(SneError, match="f, z") as caught:
        onnx_teacher(file, waves, None)
    assert "--features" in caught.value.hint


def test_a_name_that_is_not_there_lists_those_that_are(waves: Dataset, file: Path):
    with pytest.raises(SneError, match="'pool5'; it has f, z"):
        onnx_teacher(file, waves, "pool5")


def test_files_that_do_not_fit_are_refused(waves: Dataset, weights: dict[str, np.ndarray], file: Path, tmp_path: Path):
    wide = write(tmp_path / "wide.onnx", weights | {"w": np.zeros((17, HIDDEN))}, ["N", 1, 1, 17])
    with pytest.raises(SneError, match=r"takes \['N', 1, 1, 17\], the data's samples are of \(1, 16, 1\)"):
        onnx_teacher(wide, waves, "f")
    with pytest.raises(SneError, match="24 values, the data 3 classes"):
        onnx_teacher(file, waves, "f", "before")
    (tmp_path / "no.onnx").write_bytes(b"\xff\xfe" * 40)
    with pytest.raises(SneError, match="not an ONNX file"):
        onnx_teacher(tmp_path / "no.onnx", waves, "f")
    with pytest.raises(SneError, match="cannot read"):
        onnx_teacher(tmp_path / "missing.onnx", waves, "f")
    wrong = weights | {"w": np.zeros((15, HIDDEN))}
    with pytest.raises(SneError, match=r"wrong\.onnx"):
        onnx_teacher(write(tmp_path / "wrong.onnx", wrong, ["N", "d"]), waves, "f")


def test_features_that_are_not_numbers_are_refused(waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path):
    bad = write(tmp_path / "bad.onnx", weights | {"b": np.full(HIDDEN, np.nan)}, ["N", 16], outs=("f",))
    with pytest.raises(SneError, match="NaN"):
        onnx_teacher(bad, waves, "f")
    with pytest.raises(SneError, match="NaN"):
        extract(OnnxTeacher(bad, waves.shape, CLASSES, "f"), waves.x_val[None])


def test_features_are_cached_by_what_the_file_holds(
    waves: Dataset, weights: dict[str, np.ndarray], file: Path, tmp_path: Path
):
    same, other = tmp_path / "same.onnx", write(tmp_path / "other.onnx", weights | {"b": weights["b"] + 1}, ["N", 16])
    same.write_bytes(file.read_bytes())
    teachers = [onnx_teacher(path, waves, "f", "z") for path in (file, same, other)]
    marks = [fingerprint(t) for t in teachers]
    assert marks[0] == marks[1] != marks[2]
    assert fingerprint(onnx_teacher(file, waves, "before", "z")) != marks[0]
    for teacher, x in itertools.product(teachers, (waves.x_val[None], waves.x_val[None] + 1)):
        extract(teacher, x, tmp_path / "cache")
    assert len(list((tmp_path / "cache").iterdir())) == 4


@pytest.fixture
def beside(weights: dict[str, np.ndarray], tmp_path: Path) -> Path:
    """The file as torch writes it today: weights in another file, `net.onnx.data`."""
    folder = tmp_path / "exported"
    folder.mkdir()
    model = onnx.load(write(tmp_path / "whole.onnx", weights, ["N", 1, 1, 16]))
    onnx.save(model, folder / "net.onnx", save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    assert (folder / "net.onnx.data").stat().st_size > 4 * 16 * HIDDEN
    return folder / "net.onnx"


def test_weights_in_a_file_beside_are_read_wherever_one_stands(
    waves: Dataset, weights: dict[str, np.ndarray], beside: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "elsewhere").mkdir()
    for place, path in ((tmp_path / "elsewhere", beside), (beside.parent, Path("net.onnx"))):
        monkeypatch.chdir(place)
        found = extract(onnx_teacher(path, waves, "f", "z"), waves.x_val[None])
        for got, want in zip((found.features, found.logits), computed(waves, weights), strict=True):
            assert np.allclose(got[0], want, atol=1e-4)


def test_keys_cover_the_weights_beside(waves: Dataset, beside: Path, config: TrainConfig):
    config = replace(config, teacher=str(beside))
    before = fingerprint(onnx_teacher(beside, waves, "f", "z")), model_key(config, waves)
    data = beside.parent / "net.onnx.data"
    content = np.frombuffer(data.read_bytes(), np.float32).copy()
    content[0] += 1
    data.write_bytes(content.tobytes())
    after = fingerprint(onnx_teacher(beside, waves, "f", "z")), model_key(config, waves)
    assert before[0] != after[0] and before[1] != after[1]


def located(path: Path, **entries: str | None) -> Path:
    """The file with other entries for where its first tensor lies."""
    model = onnx.load(path, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key) or entry.value
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(
    "place", ["../secret", "a/../../secret", "{outside}", "C:\\secret", "link", "gone", "sub", "\0"]
)
def test_weights_outside_the_files_own_folder_are_refused(place: str, waves: Dataset, beside: Path):
    outside = beside.parent.parent / "secret"
    outside.write_bytes((beside.parent / "net.onnx.data").read_bytes())
    (beside.parent / "link").symlink_to(outside)
    (beside.parent / "sub").mkdir()
    with pytest.raises(SneError, match=r"net\.onnx") as caught:
        onnx_teacher(located(beside, location=place.format(outside=outside)), waves, "f", "z")
    assert "one folder" in caught.value.hint


@pytest.mark.parametrize("entries", [{"offset": "-4"}, {"offset": "10000000"}, {"length": "10000000"}, {"offset": "x"}])
def test_weights_beyond_their_file_are_refused(entries: dict[str, str], waves: Dataset, beside: Path):
    with pytest.raises(SneError, match=r"net\.onnx\.data holds \d+ bytes"):
        onnx_teacher(located(beside, **entries), waves, "f", "z")


def test_a_weights_file_below_the_folder_may_be_a_link_within_it(waves: Dataset, beside: Path):
    (beside.parent / "deep").mkdir()
    (beside.parent / "deep" / "w").symlink_to(beside.parent / "net.onnx.data")
    assert onnx_teacher(located(beside, location="deep/w"), waves, "f", "z").names == ["f", "z"]


def test_weights_of_another_size_than_their_tensor_are_refused(waves: Dataset, beside: Path):
    with pytest.raises(SneError, match=r"net\.onnx"):
        onnx_teacher(located(beside, length="8"), waves, "f", "z")


def test_a_batch_of_none_is_refused(waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path):
    with pytest.raises(SneError, match="batches of 0 samples") as caught:
        onnx_teacher(write(tmp_path / "t.onnx", weights, [0, 16]), waves, "f", "z")
    assert "dynamic_axes" in caught.value.hint


@pytest.fixture(scope="module")
def config(file: Path) -> TrainConfig:
    return TrainConfig(
        dataset="waves", students=2, timesteps=3, body=Body((3, 4), (5, 3), (2, 2)), views=2,
        recipe=Recipe(joint=6, rounded=1, batch=64), teacher=str(file), features="f", logits="z",
    )  # fmt: skip


@pytest.mark.parametrize("changes", [{}, {"logits": None, "scheme": "variance"}], ids=["logits", "fitted"])
def test_an_ensemble_learns_from_an_onnx_teacher(
    config: TrainConfig, waves: Dataset, changes: dict[str, Any], tmp_path
):
    made = train(replace(config, **changes), dataset=waves, cache=tmp_path)
    record = made.provenance
    assert record["integer"]["test"][1]["accuracy"] > 0.75 and record["teacher"]["test"] > 0.8
    assert record["teacher"]["macs"] == 456 and record["config"]["teacher"] == "teacher.onnx"
    assert record["teacher"]["parameters"] == 17 * HIDDEN + (HIDDEN + 1) * CLASSES


def test_an_onnx_teacher_cannot_be_tuned(config: TrainConfig, waves: Dataset):
    with pytest.raises(SneError, match="cannot be tuned") as caught:
        train(replace(config, scheme="disentangled-tuned"), dataset=waves)
    assert "--scheme disentangled," in caught.value.hint


def test_a_models_name_follows_the_files_content(
    config: TrainConfig, waves: Dataset, weights: dict[str, np.ndarray], tmp_path: Path
):
    other = write(tmp_path / "teacher.onnx", weights | {"b": weights["b"] + 1}, ["N", 1, 1, 16])
    assert model_key(config, waves) != model_key(replace(config, teacher=str(other)), waves)
    other.write_bytes(Path(config.teacher).read_bytes())
    assert model_key(config, waves) == model_key(replace(config, teacher=str(other)), waves)


def test_outputs_are_named_only_of_files():
    with pytest.raises(SneError, match="not an ONNX file"):
        TrainConfig(features="f")
    with pytest.raises(SneError, match=r"teacher\.pt"):
        TrainConfig(teacher="teacher.pt")
