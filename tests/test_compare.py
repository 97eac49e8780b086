"""The comparison of a network with its integers: what differs is found, where it differs, and by how much."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import nir
import numpy as np
import pytest
import snntorch as snn
import torch
from command_line import called as command
from strategies import proven
from test_from_nir import chain, lif
from test_quantize_graph import whole_graph
from torch import nn

from sne_edge import compare_graph, compare_network, compare_nir, load, quantize_network, quantize_nir, save
from sne_edge.check import reference
from sne_edge.errors import SneError
from sne_edge.interchange import witness
from sne_edge.interchange.compare import NetworkComparison
from sne_edge.interchange.from_nir import Reading
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.graph_proof import endless
from sne_edge.ir.graph_proof import proven as proven_graph
from sne_edge.ir.vectors import no_vectors
from sne_edge.learn.graph import FloatGraph
from sne_edge.quantize.graph import assemble_graph, float_inputs

replace = msgspec.structs.replace


def drawn(seed: int) -> tuple[FloatGraph, QuantEnsemble, np.ndarray]:
    """A graph whose integers round nothing, they, and samples."""
    rng = random.Random(seed)
    kind = rng.choice(("direct", "events", "frames"))
    encoder = Encoder(kind, (4, 4, rng.choice((1, 2))), 5)
    graph = whole_graph(rng, encoder)
    while any(q.current_pool and q.current_pool.kind == "average" for p in graph.populations for q in p.projections):
        graph = whole_graph(rng, encoder)  # a fourth of a weight, beside whole ones, is rounded
    steps = (5,) if kind != "direct" else ()
    low, high = (0, 2) if kind == "events" else (-3, 90)
    x = np.random.default_rng(seed).integers(low, high, (6, *steps, *encoder.shape)).astype(np.float64)
    return graph, assemble_graph(graph, "whole", encoder), x


def changed(model: QuantEnsemble, population: int, **fields: Any) -> QuantEnsemble:
    """The model with something else in one population of its graph."""
    graph = model.students[0].graph
    assert isinstance(graph, Graph)
    populations = list(graph.populations)
    populations[population] = replace(populations[population], **fields)
    buffered = model.encoder.kind == "frames" and not endless(graph, model.encoder)
    made = proven_graph(Graph(tuple(populations), graph.decoder), model.encoder, buffered=buffered)
    return replace(model, students=(replace(model.students[0], graph=made),))


def by_timestep(model: QuantEnsemble, inputs: np.ndarray) -> np.ndarray:
    """Spike counts of all samples, by timestep and population that fires, as the reference gives fewer timesteps."""
    steps = model.encoder.timesteps
    sums = [reference.run_student(model, 0, inputs, t).spikes.sum(axis=0) for t in range(1, steps + 1)]
    found: np.ndarray = np.diff(np.array(sums), axis=0, prepend=0)
    return found


@pytest.mark.examines(networks=30, spikes=3000)
def test_integers_that_round_nothing_differ_in_nothing(examined: Counter[str]) -> None:
    for seed in range(30):
        graph, model, x = drawn(seed)
        found = compare_graph(graph, model, x)
        counts = by_timestep(model, model.encoder.encode(x))
        firing = [p for p in found.populations if p.integer_rate is not None]
        for p, count in zip(firing, counts.sum(axis=0), strict=True):
            places = len(x) * 5 * p.neurons
            assert p.integer_rate == p.float_rate == pytest.approx(count / places)
            assert (p.differing, p.first_difference, p.threshold_error) == (0.0, None, pytest.approx(0.0, abs=1e-12))
            examined["spikes"] += int(count)
        assert all(
            p.weight_error == pytest.approx(0.0, abs=1e-12) and p.leak_error <= 2**-15 for p in found.populations
        )
        assert found.agreement == 1.0 and found.input_error == 0.0
        for name, (own, integer) in found.rasters.items():
            np.testing.assert_array_equal(own, integer, err_msg=name)
        examined["networks"] += 1


@pytest.mark.examines(networks=25, located=15)
def test_a_changed_threshold_is_found_where_it_is_and_not_before(examined: Counter[str]) -> None:
    for seed in range(60):
        graph, model, x = drawn(seed)
        integers = model.students[0].graph
        assert isinstance(integers, Graph)
        last = integers.populations[1]
        if not isinstance(last.threshold, np.ndarray):
            continue
        raised = changed(model, 1, threshold=(last.threshold * 3).astype(np.int32))
        found = compare_graph(graph, raised, x)
        first, second = found.populations
        assert (first.differing, first.first_difference) == (0.0, None)
        assert second.threshold_error == pytest.approx(2.0)
        was, now = (by_timestep(m, model.encoder.encode(x))[:, -1] for m in (model, raised))
        unlike = np.flatnonzero(was != now)
        if len(unlike):
            assert second.first_difference is not None and second.first_difference <= unlike[0]
            assert second.differing is not None and 0 < second.differing <= 1
            assert second.float_rate != second.integer_rate
            examined["located"] += 1
        examined["networks"] += 1


def test_the_share_that_differs_and_errors_are_what_they_say() -> None:
    graph, model, x = drawn(3)
    integers = model.students[0].graph
    assert isinstance(integers, Graph)
    p = integers.populations[0]
    inputs = model.encoder.encode(x)
    weight = p.projections[0].weight.copy()
    weight.reshape(-1)[1:] //= 2
    other = changed(model, 0, projections=(replace(p.projections[0], weight=weight), *p.projections[1:]))
    found = compare_graph(graph, other, x).populations[0]
    of = np.concatenate([q.weight.ravel() for q in p.projections]).astype(float)
    off = np.concatenate([weight.ravel(), *(q.weight.ravel() for q in p.projections[1:])]) - of
    assert found.weight_error == pytest.approx(np.sqrt((off**2).sum() / (of**2).sum()))
    fired: list[np.ndarray] = []
    reference.run_student(other, 0, inputs, fired=lambda t, n, s: fired.append(s.numpy() > 0) if n == 0 else None)
    own = graph.simulate(float_inputs(model.encoder, inputs)).spikes[graph.populations[0].name].numpy() > 0
    differ = own != np.stack(fired)
    assert found.differing == pytest.approx(differ.sum() / (own | np.stack(fired)).sum())
    assert found.differing > 0
    assert found.first_difference == np.flatnonzero(differ.any(axis=(1, 2, 3, 4)))[0]


def test_membranes_at_a_clamp_are_counted_as_quantize_counts_them() -> None:
    graph, model, x = drawn(8)
    held = changed(model, 0, neuron=replace(model.students[0].graph.populations[0].neuron, clamp=(-40, 60)))  # type: ignore[union-attr]
    found = compare_graph(graph, held, x)
    told = witness.compare(held, held.encoder.encode(x), np.eye(len(held.classes))[np.zeros(len(x), int)])
    assert found.populations[0].saturated > 0
    assert found.populations[0].saturated == pytest.approx(told.saturated[graph.populations[0].name])
    assert found.populations[1].saturated == 0


def network() -> nn.Sequential:
    torch.manual_seed(0)

    def neurons() -> snn.Leaky:
        return snn.Leaky(beta=0.5, init_hidden=True)

    return nn.Sequential(
        nn.Conv1d(1, 8, 5, padding=2), neurons(), nn.AvgPool1d(2), nn.Conv1d(8, 16, 5, stride=4), neurons(),
        nn.Flatten(), nn.Linear(64, 4),
    )  # fmt: skip


def test_a_chain_is_compared_layer_by_layer() -> None:
    x = np.random.default_rng(0).random((40, 1, 40)) * 40
    model = quantize_network(network(), "mine", x, timesteps=6, fail_below=0)
    found = compare_network(network(), model, x, labels=np.zeros(40, int))
    assert [p.neurons for p in found.populations] == [320, 64, 4]
    rates = by_timestep(model, model.encoder.encode(x[:, 0, :, None])).sum(axis=0) / (40 * 6 * np.array([320, 64]))
    assert [p.integer_rate for p in found.populations[:2]] == pytest.approx(rates.tolist())
    assert all(r > 0.01 for r in rates)
    for p in found.populations[:2]:
        assert p.float_rate is not None and abs(p.float_rate - p.integer_rate) < 0.02  # type: ignore[operator]
        assert p.differing is not None and 0 < p.differing < 0.4
    assert all(0 < p.weight_error < 0.01 for p in found.populations if p.weight_error is not None)
    assert found.agreement >= 0.9 and found.correlation > 0.99 and 0 < found.input_error < 0.01
    assert found.accuracy is not None and found.integers is not None


def test_a_nir_file_is_compared_like_the_network_that_it_is(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    nodes = (
        nir.Affine(rng.normal(0, 1, (16, 8)), np.zeros(16)),
        lif(16),
        nir.Linear(rng.normal(0, 2, (3, 16))),
        lif(3),
    )
    nir.write(tmp_path / "n.nir", chain(*nodes, shape=(8,)))
    x = (rng.random((20, 30, 8)) < 0.4).astype(float)
    reading = Reading(dt=1e-4)
    model = quantize_nir(tmp_path / "n.nir", "n", x, timesteps=30, reading=reading, encoder="events", fail_below=0)
    found = compare_nir(tmp_path / "n.nir", model, x, reading=reading)
    assert [p.name for p in found.populations] == ["1", "3"]
    assert all(p.float_rate and p.differing is not None and p.differing < 0.3 for p in found.populations)
    assert found.input_error == 0


def test_a_model_of_another_network_is_refused() -> None:
    x = np.random.default_rng(0).random((20, 1, 40))
    model = quantize_network(network(), "mine", x, timesteps=4, fail_below=0)
    wider = network()
    wider[3], wider[6] = nn.Conv1d(8, 12, 5, stride=4), nn.Linear(48, 4)
    with pytest.raises(SneError, match="has the shape"):
        compare_network(wider, model, x)
    shorter = nn.Sequential(nn.Flatten(), nn.Linear(40, 20), snn.Leaky(beta=0.5, init_hidden=True), nn.Linear(20, 4))
    with pytest.raises(SneError, match="populations, and the network"):
        compare_network(shorter, model, x)
    with pytest.raises(SneError, match="4 students"):
        compare_network(network(), load("mnist1d"), x)


FILE = """
import snntorch as snn, torch
from torch import nn

def build():
    torch.manual_seed(0)
    lif = lambda: snn.Leaky(beta=0.5, init_hidden=True)
    return nn.Sequential(nn.Conv1d(1, 8, 5, padding=2), lif(), nn.Conv1d(8, 16, 5, stride=4), lif(), nn.Flatten(),
                         nn.Linear(144, 4))
"""


def test_the_command_prints_draws_and_fails_where_it_is_told_to(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(FILE)
    rng = np.random.default_rng(0)
    x, y = rng.random((200, 40)).astype(np.float32) * 6, np.arange(200) % 4
    np.savez(tmp_path / "d.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    net, model, data = f"{tmp_path}/net.py:build", tmp_path / "m.sne", ("--data", tmp_path / "d.npz")
    done = command("quantize", net, *data, "--timesteps", "5", "-o", model, "--fail-below", "0")
    assert done.returncode == 0, done.stderr
    done = command("compare", net, model, *data, "--plot", tmp_path / "r.png", "--fail-below", "0.5")
    assert done.returncode == 0, done.stderr
    assert "spikes that differ" in done.stdout and "the same label on" in done.stdout
    assert (tmp_path / "r.png").read_bytes().startswith(b"\x89PNG") and (tmp_path / "r.png").stat().st_size > 5000
    done = command("compare", net, model, *data, "--json", "--samples", "10")
    told = json.loads(done.stdout)
    assert told["samples"] == 10 and len(told["populations"]) == 3 and "rasters" not in told
    assert told["populations"][0]["integer_rate"] > 0 and "made of?" not in done.stderr
    spoilt = load(model)
    student = spoilt.students[0]
    *before, last = student.layers
    student = replace(
        student, layers=(*before, proven(replace(last, weight=-last.weight), spoilt.encoder, first=False))
    )
    spoilt = replace(spoilt, students=(student,), vectors=no_vectors(spoilt.encoder, 4, [student]))
    save(spoilt, tmp_path / "bad.sne")
    done = command("compare", net, tmp_path / "bad.sne", *data, "--fail-below", "0.9")
    assert done.returncode == 1 and "less than 90.00%" in done.stderr and "spikes that differ" in done.stdout
    assert "warning: weights are off by up to 200%" in done.stderr and "made of?" in done.stderr
    for arguments, words in (
        (("--fail-below", "1.5"), "cannot be asked for"),
        (("--plot", tmp_path), "it is a folder"),
        (("--decode", "sum"), "there is no decoder"),
    ):
        done = command("compare", net, model, *data, *arguments)
        assert done.returncode == 1 and words in done.stderr and "Traceback" not in done.stderr, done.stderr


def test_the_record_is_json(tmp_path: Path) -> None:
    graph, model, x = drawn(1)
    found = compare_graph(graph, model, x)
    assert isinstance(found, NetworkComparison)
    told = json.loads(json.dumps(found.record()))
    assert told["populations"][0]["name"] == "a" and told["agreement"] == 1.0
