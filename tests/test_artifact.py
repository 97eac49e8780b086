"""The `.sne` file: the same bytes for the same model, and one kind of error for whatever else a file may hold."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors
from strategies import ensembles, examples, random_ensemble, random_routes

from sne_edge.errors import SneError
from sne_edge.ir import artifact
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy

replace = msgspec.structs.replace


@pytest.fixture(scope="module")
def model() -> QuantEnsemble:
    """Two students with convolution, routes, and three golden vectors."""
    made = random_ensemble(random.Random(3), kind="rate", students=2, vectors=3)
    return replace(made, routes=random_routes(random.Random(3), len(made.classes), 2))


@pytest.fixture(scope="module")
def data(model: QuantEnsemble) -> bytes:
    return artifact.dumps(model)


def forge(
    model: QuantEnsemble,
    change: Callable[[dict[str, Any], dict[str, np.ndarray]], None] = lambda content, tensors: None,
    **manifest: Any,
) -> bytes:
    """A file whose content was changed, with a fingerprint that fits it."""
    content, tensors = artifact._content(model)
    content = json.loads(artifact._json(content))
    change(content, tensors)
    fields = {
        "format": artifact.FORMAT,
        "version": list(artifact.VERSION),
        "fingerprint": artifact._digest(content, tensors),
        "ensemble": content,
    }
    return save_tensors(tensors, metadata={"sne": artifact._json(fields | manifest)})


def refused(data: bytes) -> SneError:
    """The `SneError` that loading raises; anything else fails the test. A file that loads is usable, then."""
    with pytest.raises(SneError) as caught:
        artifact.loads(data, "x.sne")
    assert caught.value.message.startswith("x.sne")
    assert caught.value.hint
    return caught.value


@examples(60)
@given(ensembles())
def test_a_model_makes_the_same_bytes_after_a_round_trip(made: QuantEnsemble) -> None:
    data = artifact.dumps(made)
    assert artifact.dumps(artifact.loads(data)) == data
    assert artifact.dumps(made) == data
    assert artifact.fingerprint(made) == artifact.fingerprint(artifact.loads(data))


@pytest.mark.parametrize(
    "provenance",
    [
        {"nan": float("nan"), "huge": 10**300, "text": "\0 \ud800 */ \n", "nested": [[{"a": None}]]},
        {"looks like a tensor": "students.0.gain", "marks": ["\0000", "\0x"]},
    ],
    ids=["strange", "names"],
)
def test_free_provenance_survives(model: QuantEnsemble, provenance: dict[str, Any]) -> None:
    data = artifact.dumps(replace(model, provenance=provenance))
    assert artifact.dumps(artifact.loads(data)) == data


@pytest.mark.parametrize(
    "name", ["*/ int main(){}", 'a"b\\', "line\nbreak", "\0", "\0000", "", "日本", "\ud800", "??/"]
)
def test_any_class_name_survives(model: QuantEnsemble, name: str) -> None:
    classes = (name, *model.classes[1:])
    data = artifact.dumps(replace(model, classes=classes))
    assert artifact.loads(data).classes == classes


def test_forged_files_of_these_tests_are_otherwise_valid(model: QuantEnsemble, data: bytes) -> None:
    assert forge(model) == data


def test_every_truncation_is_refused(data: bytes) -> None:
    for length in [*range(64), *range(64, len(data), 37), len(data) - 1]:
        refused(data[:length])


def test_appended_bytes_are_refused(data: bytes) -> None:
    refused(data + b"\0")


def test_every_flipped_bit_is_refused(data: bytes) -> None:
    rng = random.Random(0)
    places = [*range(600), *rng.sample(range(600, len(data)), min(1200, len(data) - 600))]
    unseen = 0
    for place in places:
        damaged = bytearray(data)
        damaged[place] ^= 1 << rng.randrange(8)
        try:
            loaded = artifact.loads(bytes(damaged), "x.sne")
        except SneError:
            continue
        assert artifact.dumps(loaded) == data, f"a flipped bit in byte {place} changed the model"
        unseen += 1
    assert unseen < len(places) / 100


@examples(200)
@given(st.binary(max_size=400))
def test_noise_is_refused(noise: bytes) -> None:
    refused(noise)


@pytest.mark.examines(refused=120)
@examples(150)
@given(st.integers(0, 2**32 - 1), st.binary(min_size=1, max_size=12))
def test_noise_inside_a_file_changes_nothing_unseen(
    examined: Counter[str], data: bytes, place: int, noise: bytes
) -> None:
    place %= len(data)
    damaged = data[:place] + noise + data[place + len(noise) :]
    try:
        loaded = artifact.loads(damaged)
    except SneError:
        examined["refused"] += 1
        return
    assert artifact.dumps(loaded) == data


@pytest.mark.parametrize("version", [[3, 0], [0, 9], [10**30, 0]])
def test_another_major_version_is_refused_with_a_hint(model: QuantEnsemble, version: list[int]) -> None:
    error = refused(forge(model, version=version))
    assert "format version" in error.message
    assert ("update" in error.hint) == (version[0] > 1)


def test_a_newer_minor_version_is_read(model: QuantEnsemble, data: bytes) -> None:
    newer = forge(model, lambda content, tensors: content.update(novelty=1), version=[1, 7])
    assert artifact.dumps(artifact.loads(newer)) == data


def test_a_file_from_before_routes_keeps_its_content_and_fingerprint(model: QuantEnsemble) -> None:
    plain = replace(model, routes=None, policy=ActivationPolicy())
    content, tensors = artifact._content(plain)
    assert "routes" not in content and "routes" not in tensors
    old = artifact.loads(forge(plain, version=[1, 0]))
    assert old.routes is None and artifact.fingerprint(old) == artifact.fingerprint(plain)
    shipped = artifact.find("mnist1d").read_bytes()
    assert artifact._manifest(shipped)["fingerprint"] == artifact.fingerprint(artifact.load("mnist1d"))


def test_weights_of_4_bits_survive_and_those_of_8_leave_no_trace(model: QuantEnsemble) -> None:
    made = random_ensemble(random.Random(5), kind="events", students=4)
    layers = [layer for student in made.students for layer in student.layers]
    bits = [getattr(layer, "bits", None) for layer in layers]
    assert {4, 8} <= set(bits)
    loaded = artifact.loads(artifact.dumps(made))
    assert [getattr(layer, "bits", None) for student in loaded.students for layer in student.layers] == bits
    content, _ = artifact._content(made)
    assert [layer.get("bits") for student in content["students"] for layer in student["layers"]] == [
        4 if n == 4 else None for n in bits
    ]


def test_a_shifted_current_survives_and_none_leaves_no_trace() -> None:
    seen = set()
    for seed in range(30):
        made = random_ensemble(random.Random(seed), kind="direct")
        loaded = artifact.loads(artifact.dumps(made))
        content, _ = artifact._content(made)
        for student, again, stored in zip(made.students, loaded.students, content["students"], strict=True):
            first, same = student.layers[0], again.layers[0]
            assert isinstance(first, SynapticLayer) and isinstance(same, SynapticLayer)
            assert same.current_shift == first.current_shift
            assert [layer.get("current_shift") for layer in stored["layers"]] == [
                first.current_shift or None,
                *[None] * (len(student.layers) - 1),
            ]
            seen.add(first.current_shift)
    assert {0, 1, 5} <= seen


def test_routes_survive(model: QuantEnsemble) -> None:
    routes = random_routes(random.Random(4), len(model.classes), 2)
    loaded = artifact.loads(artifact.dumps(replace(model, routes=routes)))
    assert loaded.routes is not None and loaded.routes.tolist() == routes.tolist()


@pytest.mark.parametrize("version", [None, "1.0", 1, [1], [1, 0, 0], [1.0, 0], [True, 0], ["1", "0"], {}])
def test_no_version_is_refused(model: QuantEnsemble, version: Any) -> None:
    assert "no valid format version" in refused(forge(model, version=version)).message


@pytest.mark.parametrize("name", [None, "other", 1, ["sne-edge ensemble"]])
def test_another_format_is_refused(model: QuantEnsemble, name: Any) -> None:
    assert "format" in refused(forge(model, format=name)).message


@pytest.mark.parametrize("fingerprint", [None, "", "0" * 16, 0, []])
def test_another_fingerprint_is_refused(model: QuantEnsemble, fingerprint: Any) -> None:
    assert "fingerprint" in refused(forge(model, fingerprint=fingerprint)).message


def nest(depth: int, kind: Callable[[Any], Any]) -> Any:
    node: Any = 0
    for _ in range(depth):
        node = kind(node)
    return node


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    """Replace one value of the manifest."""

    def change(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        node: Any = content
        for key in path[:-1]:
            node = node[key]
        node[path[-1]] = value

    return change


def put_tensor(name: str, make: Callable[[np.ndarray], np.ndarray]) -> Callable[..., None]:
    """Replace one tensor."""

    def change(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
        tensors[name] = make(tensors[name])

    return change


def drop_tensor(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    del tensors["bias"]


def lose_routes(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    del content["routes"], tensors["routes"]
    content["policy"]["kind"], content["policy"]["margins"] = "routed", [1]


def extra_tensor(content: dict[str, Any], tensors: dict[str, np.ndarray]) -> None:
    tensors["extra"] = np.zeros(3, np.int8)


LAYER = ("students", 0, "layers", 0)
HOSTILE: dict[str, Callable[..., None]] = {
    "a missing tensor": drop_tensor,
    "an extra tensor": extra_tensor,
    "a tensor of floats": put_tensor("bias", lambda a: a.astype(np.float32)),
    "a tensor of int64": put_tensor("bias", lambda a: a.astype(np.int64)),
    "a tensor of another type": put_tensor("bias", lambda a: a.astype(np.uint32)),
    "a tensor of another shape": put_tensor("bias", lambda a: a.reshape(1, -1)),
    "an empty tensor": put_tensor("bias", lambda a: a[:0]),
    "a tensor of no axes": put_tensor("bias", lambda a: np.array(0, np.int32)),
    "a NaN scale": put_tensor("students.0.layers.0.scale", lambda a: a * np.nan),
    "an infinite scale": put_tensor("students.0.layers.0.scale", lambda a: a * np.inf),
    "a gain of -1": put_tensor("students.0.gain", lambda a: np.full_like(a, -1)),
    "an enormous gain": put_tensor("students.0.gain", lambda a: np.full_like(a, 2**31 - 1)),
    "the name of no tensor": put("bias", value="nothing"),
    "a list for a tensor": put("bias", value=[1, 2]),
    "an object for a tensor": put("bias", value={}),
    "a number for a tensor": put("bias", value=7),
    "null for a tensor": put("bias", value=None),
    "a tensor for a name": put("name", value=["bias"]),
    "routes of another shape": put_tensor("routes", lambda a: a[:-1]),
    "routes of another type": put_tensor("routes", lambda a: a.view(np.int8)),
    "a route to no student": put_tensor("routes", lambda a: a + np.uint8(1)),
    "a route that names a student twice": put_tensor("routes", lambda a: a * np.uint8(0)),
    "a routed policy without routes": lose_routes,
    "a name with a path": put("name", value="../../etc/passwd"),
    "a name with a line break": put("name", value="a\n#include <x>"),
    "a name of 33 letters": put("name", value="a" * 33),
    "a name of the runtime's": put("name", value="sne"),
    "a huge shape": put(*LAYER, "in_shape", value=[2**40, 2**40, 2**40]),
    "a shape beyond 64 bits": put(*LAYER, "in_shape", value=[10**40, 1, 1]),
    "a negative shape": put(*LAYER, "in_shape", value=[-1, -1, 1]),
    "a shape of two": put(*LAYER, "in_shape", value=[1, 1]),
    "a shape of floats": put(*LAYER, "in_shape", value=[1.5, 1, 1]),
    "a huge encoder": put("encoder", "shape", value=[65535, 65535, 65535]),
    "an unknown encoder": put("encoder", "kind", value="morse"),
    "timesteps of 2^40": put("encoder", "timesteps", value=2**40),
    "timesteps of true": put("encoder", "timesteps", value=True),
    "a NaN encoder": put("encoder", "scale", value=float("nan")),
    "an infinite encoder": put("encoder", "offset", value=float("inf")),
    "a NaN logit scale": put("logit_scale", value=float("nan")),
    "a layer of another kind": put(*LAYER, "op", value="exec"),
    "a layer of no kind": put(*LAYER, value={}),
    "a layer that is a number": put(*LAYER, value=3),
    "no layers": put("students", 0, "layers", value=[]),
    "no students": put("students", value=[]),
    "students that are text": put("students", value="all"),
    "a decay of 99": put(*LAYER, "neuron", "decay", value={"kind": "shift", "value": 99}),
    "an unknown decay": put(*LAYER, "neuron", "decay", value={"kind": "magic", "value": 0}),
    "an unknown neuron": put(*LAYER, "neuron", "kind", value="hodgkin-huxley"),
    "a clamp beyond 32 bits": put(*LAYER, "neuron", "clamp", value=[-(2**40), 2**40]),
    "a clamp of one": put(*LAYER, "neuron", "clamp", value=[0]),
    "a tampered bound": put(*LAYER, "bound", value={"low": -1, "high": 1}),
    "an enormous bound": put(*LAYER, "bound", value={"low": -(2**80), "high": 2**80}),
    "an order out of range": put("order", value=[0, 7]),
    "an order of floats": put("order", value=[0.0, 1.0]),
    "classes of numbers": put("classes", value=[1, 2]),
    "one class": put("classes", value=["a"]),
    "a policy for more students": put("policy", "students", value=9),
    "a policy of another kind": put("policy", "kind", value="none"),
    "margins of another number": put("policy", "margins", value=[1, 2, 3]),
    "a mask beyond 32 bits": put("policy", "mask", value=2**40),
    "a budget beyond 32 bits": put("policy", "max_ops", value=2**40),
    "negative operations": put("students", 0, "max_ops", value=-1),
    "operations of too many layers": put("students", 0, "layer_ops", value=[1] * 99),
    "provenance of text": put("provenance", value="mine"),
    "provenance 100 lists deep": put("provenance", value={"a": nest(100, lambda node: [node])}),
    "provenance 400 objects deep": put("provenance", value={"a": nest(400, lambda node: {"a": node})}),
    "vectors of another shape": put_tensor("vectors.logits", lambda a: a[:-1]),
    "vectors of another type": put_tensor("vectors.inputs", lambda a: a.view(np.int8)),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_content_is_refused_even_with_a_fitting_fingerprint(case: str, model: QuantEnsemble) -> None:
    refused(forge(model, HOSTILE[case]))


@pytest.mark.parametrize("stride", [256, 2**31, 2**62, 2**70])
def test_a_stride_that_would_take_for_ever_is_refused(stride: int) -> None:
    seeds = (random_ensemble(random.Random(seed), kind="rate") for seed in range(50))
    made, layer = next((m, m.students[0].layers[0]) for m in seeds if hasattr(m.students[0].layers[0], "stride"))
    assert layer
    refused(forge(made, put(*LAYER, "stride", value=[stride, stride])))


def tensor(dtype: str, shape: list[int], offsets: list[int]) -> bytes:
    """A header with one tensor."""
    entry = {"dtype": dtype, "shape": shape, "data_offsets": offsets}
    return json.dumps({"__metadata__": {"sne": "{}"}, "a": entry}).encode()


HEADERS: dict[str, bytes] = {
    "no header": b"",
    "a length of 2^64 - 1": b"\xff" * 8 + b"{}",
    "a list": b"[]",
    "no metadata": b"{}",
    "metadata of text": b'{"__metadata__":"x"}',
    "metadata of numbers": b'{"__metadata__":{"sne":1}}',
    "another program's": b'{"__metadata__":{"format":"pt"}}',
    "a manifest that is no JSON": b'{"__metadata__":{"sne":"{"}}',
    "a manifest that is a list": b'{"__metadata__":{"sne":"[]"}}',
    "a manifest of numbers without end": b'{"__metadata__":{"sne":"' + b"1" * 10000 + b'"}}',
    "lists without end": b"[" * 100000,
    "a manifest of lists without end": b'{"__metadata__":{"sne":"' + b"[" * 100000 + b'"}}',
    "no UTF-8": b'{"\xff\xfe":0}',
    "a tensor beyond the end": tensor("I8", [9], [0, 9]),
    "a tensor of 2^96 values": tensor("I8", [2**32] * 3, [0, 0]),
    "a tensor of 2^70 values": tensor("I8", [2**70], [0, 0]),
    "a tensor of -1 values": tensor("I8", [-1], [0, 0]),
    "a tensor that ends before it starts": tensor("I8", [1], [1, 0]),
    "a tensor of an unknown type": tensor("PICKLE", [0], [0, 0]),
    "a tensor of bfloats": tensor("BF16", [0], [0, 0]),
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers_are_refused(case: str) -> None:
    header = HEADERS[case]
    data = header if case in ("no header", "a length of 2^64 - 1") else len(header).to_bytes(8, "little") + header
    refused(data)


def test_a_pickle_is_refused_unopened() -> None:
    refused(b"\x80\x04cos\nsystem\n(S'false'\ntR.")


# ---- files


def test_save_and_load_through_a_file(model: QuantEnsemble, data: bytes, tmp_path: Path) -> None:
    artifact.save(model, tmp_path / "new" / "model.sne")
    assert (tmp_path / "new" / "model.sne").read_bytes() == data
    assert artifact.dumps(artifact.load(tmp_path / "new" / "model.sne")) == data


@pytest.mark.parametrize("call", ["replace", "fdopen"])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    call: str, model: QuantEnsemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.sne"
    path.write_bytes(b"old")

    def fail(*args: Any, **kwargs: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((Path, "replace") if call == "replace" else (os, "fdopen")), fail)
    with pytest.raises(SneError, match="No space left"):
        artifact.save(model, path)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_made_is_an_error(model: QuantEnsemble, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(SneError, match="cannot write"):
        artifact.save(model, tmp_path / "file" / "model.sne")


@pytest.mark.parametrize("name", ["missing.sne", ".", "no/such/folder.sne"])
def test_what_cannot_be_read_is_an_error(name: str, tmp_path: Path) -> None:
    with pytest.raises(SneError, match="cannot read"):
        artifact.load(tmp_path / name)


def test_an_enormous_file_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "big.sne").open("wb") as file:
        file.truncate(artifact.MAX_BYTES + 1)
    with pytest.raises(SneError, match="larger than 64 MiB"):
        artifact.load(tmp_path / "big.sne")


def test_shipped_models_load_by_name_and_are_small() -> None:
    for name in artifact.zoo_names():
        assert artifact.load(name).name
        assert artifact.find(name).stat().st_size < 1_000_000
