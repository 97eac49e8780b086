"""Inputs whose channels have units of their own: a scale and an offset each, from Python to C and to others' files."""

from __future__ import annotations

import dataclasses
import random
import re
import subprocess
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from command_line import called
from graph_strategies import random_graph_ensemble
from snntorch import utils
from strategies import random_ensemble
from test_exported_library import compile_and_run
from test_own_networks import exact_in_c
from test_student import CLASSES, make_ensemble, parts_of, samples
from torch import Tensor, nn

from sne_edge import SneError, SneWarning, quantize_network
from sne_edge.check import reference
from sne_edge.data.dataset import Dataset
from sne_edge.deploy.export import export
from sne_edge.interchange.from_nir import graph_from_nir
from sne_edge.interchange.inputs import make_encoder
from sne_edge.interchange.to_nir import to_nir
from sne_edge.ir import artifact
from sne_edge.ir.encoder import Encoder, input_channels
from sne_edge.learn.student import Body
from sne_edge.pipeline import stages
from sne_edge.pipeline.config import TrainConfig
from sne_edge.quantize.quantize import quantize_ensemble

replace = msgspec.structs.replace
UNITS = np.array([4.0, 4.0, 4.0, 2000.0, 2000.0, 2000.0])  # g of an accelerometer, degrees a second of a gyroscope
STEPS = 20


def motions(count: int, seed: int, glitch: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Samples [N, 6 axes, 20] in their units, and labels: of four motions two differ in the accelerometer alone. With
    `glitch`, one value of the gyroscope is a hundred times what it can be."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, count)
    time = np.arange(STEPS) / STEPS
    x = 0.05 * rng.normal(size=(count, 6, STEPS))
    for n, label in enumerate(labels):
        wave = np.sin(2 * np.pi * (time + rng.random() * 0.2)) * rng.uniform(0.7, 1)
        x[n, label % 2] += wave
        x[n, 3 + label // 2] += wave
    x *= UNITS[:, None] / 2
    if glitch:
        x[5, 4, 3] = 100 * 2000.0
    return x.astype(np.float32), labels


@pytest.fixture(scope="module")
def network() -> nn.Sequential:
    """Trained on motions of one size, then given weights for their units."""
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv1d(6, 16, 5), snn.Leaky(beta=0.5, init_hidden=True), nn.Flatten(), nn.Linear(16 * (STEPS - 4), 4)
    )
    per = torch.tensor(UNITS, dtype=torch.float32)[:, None]
    x, y = (torch.from_numpy(a) for a in motions(400, 0))
    optimizer = torch.optim.Adam(made.parameters(), 5e-3)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(50):
            utils.reset(made)
            loss = nn.functional.cross_entropy(sum(made(x[part] / per) for _ in range(4)) / 4, y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        made[0].weight /= per
    return made


@pytest.mark.parametrize("glitch", [False, True])
def test_units_of_one_channel_do_not_ruin_the_others(network: nn.Sequential, glitch: bool) -> None:
    """One scale of the whole input leaves the accelerometer hardly a step, and half of the motions alike."""
    x, y = motions(300, 1, glitch)
    made = {}
    for by in ("network", "per-channel"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SneWarning)
            made[by] = quantize_network(
                network, "own", x, timesteps=4, labels=y, input_scale=by, fail_below=0.0, warn_below=0.99
            )
    told = {by: (m.provenance["agreement"], m.provenance["accuracy"]["integer"]) for by, m in made.items()}
    assert made["per-channel"].provenance["accuracy"]["float"] > 0.97
    assert told["per-channel"][0] >= 0.99 and told["per-channel"][1] > 0.97, told
    assert told["network"][0] < 0.9, told
    scales = np.array(made["per-channel"].encoder.scale)
    assert (scales < 1.1 * UNITS / 127).all()
    assert exact_in_c(made["per-channel"], x) > 500


class Frames(nn.Module):
    """A value of each axis at every timestep."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(6, 24), nn.Linear(24, 4)
        self.one = snn.Leaky(beta=0.8)

    def forward(self, x: Tensor) -> Tensor:  # [N, T, 6]
        mem, record = self.one.init_leaky(), []
        for t in range(x.shape[1]):
            spikes, mem = self.one(self.fc1(x[:, t]), mem)
            record.append(self.fc2(spikes))
        return torch.stack(record).mean(0)


def test_frames_of_a_graph_have_a_scale_and_an_offset_by_axis() -> None:
    torch.manual_seed(1)
    network = Frames()
    with torch.no_grad():
        network.fc1.weight *= 4 / torch.tensor(UNITS, dtype=torch.float32)
        network.fc1.bias -= network.fc1.weight[:, 2] * 9.81
    x = motions(200, 2)[0].transpose(0, 2, 1).copy()
    x[:, :, 2] += 9.81
    offset = (0.0, 0.0, 9.81, 0.0, 0.0, 0.0)
    made = quantize_network(
        network, "own", x, timesteps=STEPS, encoder="frames", input_scale="per-channel", offset=offset, warn_below=0.9
    )
    assert made.provenance["correlation"] > 0.995
    assert made.encoder.offset == offset and made.encoder.shape == (1, 1, 6)
    assert np.array(made.encoder.scale)[2] < 0.1
    assert exact_in_c(made, x) > 500


def drawn(rng: random.Random, kind: Any, graphs: bool) -> Any:
    """A random model whose input has a scale and an offset for each channel."""
    while True:
        draw = partial(random_graph_ensemble, standard=True) if graphs else random_ensemble
        own = draw(rng, kind=kind, students=1)
        many = input_channels(own.encoder.shape)
        if many > 1:
            break
    numbers = np.random.default_rng(rng.getrandbits(32))
    scale = tuple(float(s) for s in 10.0 ** numbers.uniform(-3, 4, many))
    offset = tuple(float(o) for o in numbers.choice((0.0, 0.3, -700.0), many))
    return replace(own, encoder=replace(own.encoder, scale=scale, offset=offset))


@pytest.mark.examines(networks=20, spikes=300, logits=300)
def test_nir_takes_the_users_values_of_each_channel(examined: Counter[str]) -> None:
    for seed in range(150):
        rng = random.Random(seed)
        kind = rng.choice(("direct", "frames"))
        ensemble = drawn(rng, kind, graphs=kind == "frames" or rng.random() < 0.6)
        plain = replace(ensemble, encoder=replace(ensemble.encoder, scale=1.0, offset=0.0))
        try:
            own, other = (graph_from_nir(to_nir(m)[0]) for m in (ensemble, plain))
        except SneError:
            continue
        numbers, encoder = np.random.default_rng(seed), ensemble.encoder
        steps = (encoder.timesteps,) if encoder.kind == "frames" else ()
        q = numbers.integers(-128, 128, (5, *steps, *encoder.shape)).astype(np.float64)
        runs = []
        for graph, x in ((own, encoder.real(q)), (other, q)):
            given_x = torch.from_numpy(x)
            timed = (given_x.transpose(0, 1),) if steps else (given_x, encoder.timesteps)
            runs.append(graph.simulate(*timed))
        for name, spikes in runs[0].spikes.items():
            differing = (spikes != runs[1].spikes[name]).double().mean()
            assert differing < 0.02, (seed, name)  # what lies on a threshold, by the last bit of a real number
            examined["spikes"] += int(spikes.sum())
        examined["networks"] += 1
        examined["logits"] += runs[0].logits.numel()


def test_c_quantises_floats_of_each_channel_exactly_as_python_does(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    ensemble = replace(drawn(random.Random(3), "frames", graphs=True), name="tiny")
    encoder, many = ensemble.encoder, len(ensemble.encoder.scale)
    directory = export(ensemble, "host", tmp_path / "c")
    numbers = np.random.default_rng(0)
    count = 4000
    halves = numbers.integers(-300, 301, (count, encoder.timesteps, *encoder.shape)) / 2
    real = encoder.real(halves).astype(np.float32)
    near = np.nextafter(real, numbers.choice(np.array((-np.inf, np.inf), np.float32), real.shape))
    values = np.concatenate([real, near])[: 2000 * many].astype(np.float32)
    text = f"""#include <stdio.h>
#include "tiny_quantize.h"
static float values[{values.size}];
static int8_t made[{values.size}];
int main(void)
{{
    FILE *file = fopen("{tmp_path}/values", "rb");
    if (!file || fread(values, sizeof values, 1, file) != 1) return 1;
    if (tiny_quantize(values, {values.size}, made) != SNE_OK) return 1;
    fwrite(made, sizeof made, 1, stdout);
    return tiny_quantized((double)values[{many - 1}], {many - 1}) != made[{many - 1}] || TINY_N_SCALES != {many};
}}
"""
    (tmp_path / "values").write_bytes(values.tobytes())
    done = compile_and_run(directory, text, "-Wno-float-conversion")
    assert done.returncode == 0
    np.testing.assert_array_equal(np.frombuffer(done.stdout, np.uint8), encoder.encode(values).ravel())
    assert len(set(done.stdout)) > 250
    readme = (directory / "README.md").read_text()
    assert re.search(r"each channel by its own", readme)


def test_scales_by_channel_are_stored_as_of_a_version_that_others_refuse_and_old_files_keep_their_bits() -> None:
    made = drawn(random.Random(4), "direct", graphs=False)
    data = artifact.dumps(made)
    again = artifact.loads(data)
    assert again.encoder == made.encoder and artifact.dumps(again) == data
    assert artifact._manifest(data)["version"] == [2, 1]
    shipped = artifact.find("mnist1d").read_bytes()
    assert artifact.dumps(artifact.loads(shipped)) == shipped
    assert artifact._manifest(shipped)["version"] == [1, 4]


def test_a_newer_file_that_is_not_understood_says_so() -> None:
    made = drawn(random.Random(4), "direct", graphs=False)
    content, tensors = artifact._content(made)
    from safetensors.numpy import save

    content["encoder"]["scale"] = {"log": 2}
    manifest = {"format": artifact.FORMAT, "version": [2, 9], "ensemble": content}
    manifest["fingerprint"] = artifact._digest(content, tensors)
    with pytest.raises(SneError, match="invalid ensemble") as caught:
        artifact.loads(save(tensors, metadata={"sne": artifact._json(manifest)}))
    assert "update sne-edge" in caught.value.hint


@pytest.mark.parametrize(
    ("changed", "words"),
    [({"scale": (0.1, 0.2)}, "2 numbers for 3 channels"), ({"scale": (0.1, 0.2, -1.0)}, "must be positive"),
     ({"offset": (0.0, 0.0, float("inf"))}, "finite"), ({"kind": "events", "scale": (1.0, 1.0, 1.0)}, "of events"),
     ({"shape": (4, 5, 1), "scale": (1.0,) * 5}, "5 numbers for 1 channels")],
)  # fmt: skip
def test_scales_that_fit_no_input_are_refused(changed: dict[str, Any], words: str) -> None:
    fields: dict[str, Any] = {"kind": "direct", "shape": (4, 5, 3), "timesteps": 2} | changed
    with pytest.raises(ValueError, match=words):
        Encoder(**fields)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"input_scale": "rows"}, "no input scale 'rows'"), ({"input_scale": "per-channel", "scale": 0.1}, "nothing to"),
     ({"scale": [0.1, 0.2]}, "2 numbers for 6 channels"), ({"offset": [0.1, 0.2]}, "2 numbers for 6 channels"),
     ({"scale": []}, "is no scale"), ({"kind": "rate", "input_scale": "per-channel"}, "nothing to"),
     ({"shape": (20, 6, 1), "input_scale": "per-channel"}, "has one channel")],
)  # fmt: skip
def test_choices_of_scales_that_make_no_sense_are_refused(options: dict[str, Any], words: str) -> None:
    x = np.moveaxis(motions(20, 0)[0], 1, -1)[:, None]
    given: dict[str, Any] = {"kind": "direct", "shape": (1, 20, 6)} | options
    with pytest.raises(SneError, match=words):
        make_encoder(given.pop("kind"), x, 4, given.pop("shape"), **given)


def test_windows_over_flat_values_of_a_scale_each_are_refused() -> None:
    network = nn.Sequential(nn.Conv1d(1, 4, 3), snn.Leaky(beta=0.5, init_hidden=True), nn.Flatten(), nn.Linear(16, 2))
    with pytest.raises(SneError, match="places of a scale each"):
        quantize_network(
            network, "own", np.random.default_rng(0).normal(size=(30, 1, 6)), timesteps=2, input_scale="per-channel"
        )


@pytest.mark.parametrize("kind", ["2d", "dense", "both", "4-bit"])
def test_students_learn_from_each_channel_what_their_integers_compute(kind: str) -> None:
    ensemble, x = make_ensemble(kind), samples(kind, 40)
    many = input_channels(ensemble.encoder.shape)
    units = 10.0 ** np.linspace(-2, 3, many)
    ensemble.encoder = replace(ensemble.encoder, scale=tuple(0.03 * units))
    wide = np.broadcast_to(ensemble.encoder.spread(tuple(units)), ensemble.encoder.shape)
    with torch.no_grad():  # the same network, of inputs in other units
        for student in ensemble.students:
            first = next(m for m in student.modules() if isinstance(m, nn.Conv2d | nn.Linear))
            chw = torch.from_numpy(np.moveaxis(wide, -1, 0).astype(np.float32))
            first.weight /= chw.flatten() if isinstance(first, nn.Linear) else chw[:, :1, :1]
    values = (x * wide).astype(np.float32)
    made = quantize_ensemble(ensemble, "tiny", CLASSES)
    inputs = ensemble.encoder.encode(values)
    parts = parts_of(ensemble.integer_form(), values)
    for k, student in enumerate(made.students):
        trace = reference.run_student(made, k, inputs)
        expected = trace.readout * student.readout.scale + student.bias * made.logit_scale
        assert trace.spikes.sum() > 100
        assert np.allclose(parts[k], expected, atol=1e-3 * np.abs(expected).max())
    plain = make_ensemble(kind)
    same = quantize_ensemble(plain, "tiny", CLASSES)
    assert np.array_equal(same.encoder.encode(x), inputs)
    for k in range(len(made.students)):  # units are all that differs
        one, other = (reference.run_student(m, k, inputs).spikes for m in (made, same))
        assert abs(int(one.sum()) - int(other.sum())) <= 0.01 * one.sum()


def test_training_takes_a_scale_for_each_channel_where_there_are_some() -> None:
    x, y = motions(60, 3)
    maps = np.moveaxis(x, 1, -1)[:, None].astype(np.float32)
    dataset = Dataset("motions", maps, y, maps, y, maps, y, tuple("abcd"))
    scale = np.array(stages._steps_by_channel(dataset, Body()))
    np.testing.assert_allclose(scale * 127, np.abs(maps).max(axis=(0, 1, 2)), rtol=0.05)
    flat = with_samples(dataset, maps[:, :, :, :1])
    assert len(stages._steps_by_channel(flat, Body((), (), (), (8,)))) == STEPS
    with pytest.raises(SneError, match="one channel"):
        stages._steps_by_channel(flat, Body())
    with pytest.raises(SneError, match="no input scale"):
        TrainConfig(input_scale="rows")


def with_samples(dataset: Dataset, x: np.ndarray) -> Dataset:
    return dataclasses.replace(dataset, x_train=x, x_val=x, x_test=x)


def test_the_command_quantises_by_channel(tmp_path: Path, network: nn.Sequential) -> None:
    from safetensors.torch import save_file

    save_file(network.state_dict(), tmp_path / "w.safetensors")
    (tmp_path / "net.py").write_text(
        "import snntorch as snn\nfrom torch import nn\n\ndef build():\n"
        "    return nn.Sequential(nn.Conv1d(6, 16, 5), snn.Leaky(beta=0.5, init_hidden=True), nn.Flatten(),\n"
        f"                         nn.Linear({16 * (STEPS - 4)}, 4))\n"
    )
    (x, y), (z, w) = motions(200, 4), motions(50, 5)
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=z, y_test=w, layout="NCL")

    def quantize(*options: str) -> subprocess.CompletedProcess[str]:
        return called(
            "quantize", "net.py:build", "--data", "d.npz", "--timesteps", "4", "--weights", "w.safetensors",
            "-o", "own.sne", "--force", *options, cwd=tmp_path,
        )  # fmt: skip

    done = quantize("--input-scale", "per-channel")
    assert done.returncode == 0, done.stderr
    scale = artifact.load(tmp_path / "own.sne").encoder.scale
    assert isinstance(scale, tuple) and len(scale) == 6
    done = quantize("--scale", ",".join(map(str, UNITS / 127)), "--offset", "0,0,0.5,0,0,0")
    assert done.returncode == 0, done.stderr
    assert artifact.load(tmp_path / "own.sne").encoder.offset == (0, 0, 0.5, 0, 0, 0)
    done = quantize("--scale", "0.1,x")
    assert done.returncode == 1 and "--scale is '0.1,x'" in done.stderr and "Traceback" not in done.stderr
