"""Ensembles of one's own: finished models, chains and graphs, become one with a calibrated cascade, bit-exact in C."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
import snntorch as snn
import torch
from graph_strategies import random_graph_ensemble
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, random_inputs, random_policy
from test_own_networks import exact_in_c
from torch import nn
from typer.testing import CliRunner

from sne_edge import SneError, SneWarning, ensemble_of, load_dataset, quantize_network, save
from sne_edge.check import reference
from sne_edge.cli.app import app
from sne_edge.data.dataset import Dataset
from sne_edge.ir.artifact import load
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.schedule import STOPS
from sne_edge.learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPopulation, FloatProjection
from sne_edge.quantize.early import exact_table, with_table
from sne_edge.quantize.graph import assemble_graph
from sne_edge.quantize.join import join, shared_encoder, sharpness
from sne_edge.quantize.streams import with_memory

STEPS = 6


def problem(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples [N, 12] of three classes that lie close to each other."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    x = rng.normal(size=(count, 12))
    x[np.arange(count), 4 * labels + rng.integers(0, 4, count)] += 2.5
    return x.astype(np.float32), labels


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "near.npz"
    (x, y), (z, w) = problem(900, 0), problem(300, 1)
    np.savez(path, x_train=x, y_train=y, x_test=z, y_test=w)
    return path


@pytest.fixture(scope="module")
def dataset(data: Path) -> Dataset:
    return load_dataset(data)


def trained(dataset: Dataset, seed: int, *, chain: bool, decode: str | None = None) -> QuantEnsemble:
    """A small network: of hidden neurons and a linear readout, or one that ends in neurons."""
    torch.manual_seed(seed)
    hidden = snn.Leaky(beta=0.7, init_hidden=True)
    ends = [] if chain else [snn.Leaky(beta=0.9, init_hidden=True, output=True)]
    network = nn.Sequential(nn.Linear(12, 10 + seed), hidden, nn.Linear(10 + seed, 3), *ends)
    x, y = (torch.tensor(a) for a in (dataset.x_train.reshape(-1, 12), dataset.y_train))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(80):
        for module in network:
            if isinstance(module, snn.Leaky):
                module.reset_mem()
        made = [network(x) for _ in range(STEPS)]
        total = sum(out if chain else out[1] for out in made) / STEPS
        loss = nn.functional.cross_entropy(total, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)
        return quantize_network(
            network, f"m{seed}", dataset.x_val.reshape(-1, 12), timesteps=STEPS, labels=dataset.y_val, scale=0.04,
            decode=decode, fail_below=0.0,
        )  # fmt: skip


@pytest.fixture(scope="module")
def members(dataset: Dataset) -> list[QuantEnsemble]:
    """A chain, and graphs whose logits are counts and membranes."""
    return [
        trained(dataset, 0, chain=True),
        trained(dataset, 1, chain=False, decode="count"),
        trained(dataset, 2, chain=False, decode="membrane"),
    ]


@pytest.mark.parametrize("early", [None, "exact", "margin"])
def test_chains_and_graphs_become_one_ensemble_with_a_cascade_that_is_exact_in_c(
    members: list[QuantEnsemble], dataset: Dataset, early: str | None, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    made, promised = ensemble_of(members, "all", dataset, 1.0, early=early, other=True)
    assert [isinstance(s.graph, Graph) for s in made.students] == [False, True, True]
    assert made.policy.kind == "cascade"
    assert promised.students_run < 3
    assert bool(made.policy.early) == (early is not None)
    inputs = made.encoder.encode(dataset.x_test)
    decisions = reference.run(made, inputs).decisions
    assert (decisions.students_run < 3).mean() > 0.3
    if early is not None:
        assert (decisions.stop == STOPS.index("early")).any()
    assert exact_in_c(made, dataset.x_test) > 500
    alone = [
        float((reference.run(m, m.encoder.encode(dataset.x_val)).decisions.label == dataset.y_val).mean())
        for m in members
    ]  # fmt: skip
    assert promised.accuracy_of_all >= max(alone) - 0.01


def test_a_member_alone_keeps_its_labels(members: list[QuantEnsemble], dataset: Dataset) -> None:
    inputs = members[0].encoder.encode(dataset.x_val)
    own = [reference.run(member, inputs).decisions for member in members]
    joined = join(members, "all", [d.logits.astype(np.int64) for d in own], dataset.y_val)
    for number, decisions in enumerate(own):
        part = reference.run_student(joined, number, inputs).part
        assert (part.argmax(axis=1) == decisions.label).mean() > 0.99
    stretched = [d["factor"] for d in joined.provenance["members"]]
    assert all(factor > 0 for factor in stretched)


def test_gains_that_would_be_rounded_away_are_refused_with_what_to_do(dataset: Dataset) -> None:
    """Sums of events without end take nearly the whole range of a logit."""
    encoder, x = Encoder("events", (1, 1, 12), STEPS), dataset.x_val.reshape(-1, 1, 12)
    rasters = (np.repeat(x, STEPS, axis=1) > x.mean()).astype(np.float64).reshape(-1, STEPS, 1, 1, 12)
    weight = np.random.default_rng(0).normal(size=(3, 12))

    def member(threshold: np.ndarray | None, decoder: FloatDecoder, memory: bool) -> QuantEnsemble:
        arriving = (FloatProjection(INPUT, "linear", weight),)
        last = FloatPopulation(
            "last", (1, 1, 3), arriving, np.array(0.9), threshold, reset="subtract" if threshold is not None else "none"
        )
        made = assemble_graph(FloatGraph((1, 1, 12), (last,), decoder), decoder.kind, encoder)
        return with_memory(made, window=STEPS) if memory and decoder.kind == "count" else made

    for memory in (False, True):
        pair = [member(np.array(1.0), FloatDecoder("count"), memory), member(None, FloatDecoder("membrane"), memory)]
        decisions = [reference.run(model, encoder.encode(rasters)).decisions for model in pair]
        logits = [d.logits.astype(np.int64) for d in decisions]
        if not memory:
            with pytest.raises(SneError, match="would be rounded by up to") as refused:
                join(pair, "both", logits, dataset.y_val)
            assert "calibrate --window" in refused.value.hint
            continue
        joined = join(pair, "both", logits, dataset.y_val)
        for number, d in enumerate(decisions):
            part = reference.run_student(joined, number, encoder.encode(rasters)).part
            assert (part.argmax(axis=1) == d.label).mean() > 0.98


def test_logits_are_stretched_as_their_labels_are_likeliest() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 5))
    chances = np.exp(3 * logits)
    chances /= chances.sum(axis=1, keepdims=True)
    labels = np.array([rng.choice(5, p=row) for row in chances])
    assert sharpness(logits, labels) == pytest.approx(3, rel=0.15)
    assert sharpness(logits * 100, labels) == pytest.approx(0.03, rel=0.15)


def test_models_that_do_not_go_together_are_refused_by_what_differs(members: list[QuantEnsemble]) -> None:
    other = msgspec.structs.replace(members[0].encoder, scale=0.05)
    assert other != members[0].encoder
    none = members[0].vectors
    cases = {
        "scale 0.05": msgspec.structs.replace(members[0], encoder=other, name="other", vectors=none),
        "classes": msgspec.structs.replace(members[0], classes=("a", "b", "c")),
    }
    for message, model in cases.items():
        with pytest.raises(SneError, match=message) as error:
            shared_encoder([members[1], model])
        assert error.value.hint
    with pytest.raises(SneError, match="1 model"):
        shared_encoder(members[:1])


def test_the_command_makes_an_ensemble_and_refuses_mixed_inputs(
    members: list[QuantEnsemble], data: Path, tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    paths = [tmp_path / f"{member.name}.sne" for member in members]
    for path, member in zip(paths, members, strict=True):
        save(member, path)
    out = tmp_path / "both.sne"
    given = [*map(str, paths[:2]), "--data", str(data), "-o", str(out), "--max-drop", "1"]
    done = CliRunner().invoke(app, ["ensemble", *given], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    made = load(out)
    assert len(made.students) == 2 and made.name == "both" and len(made.vectors.inputs) == 32
    mixed = tmp_path / "mixed.sne"
    save(msgspec.structs.replace(members[2], encoder=msgspec.structs.replace(members[2].encoder, scale=0.05)), mixed)
    with pytest.raises(SneError, match="scale"):
        CliRunner().invoke(
            app, ["ensemble", str(paths[0]), str(mixed), "--data", str(data), "-o", str(tmp_path / "no.sne")],
            catch_exceptions=False,
        )  # fmt: skip
    assert not (tmp_path / "no.sne").exists()


def steady(rng: random.Random) -> QuantEnsemble:
    """One population of two classes that the input alone drives, timestep by timestep alike: its logits are soon as far
    apart as they can get."""
    kind, take = rng.choice((("count", "final"), ("first", "final"), ("membrane", "mean"), ("current", "final")))
    encoder = Encoder(rng.choice(("direct", "rate")), (1, 1, rng.choice((1, 3, 8))), rng.choice((5, 6)), scale=0.01)
    weight = np.random.default_rng(rng.getrandbits(32)).normal(size=(2, encoder.size))
    out = FloatPopulation(
        "out",
        (1, 1, 2),
        (FloatProjection("", "linear", weight),),
        np.ones(()) if kind == "current" else np.zeros(()),
        np.array(0.2) if kind in ("count", "first") else None,
        reset="zero" if kind in ("count", "first") else "none",
    )
    return assemble_graph(FloatGraph(encoder.shape, (out,), FloatDecoder(kind, take)), "steady", encoder)  # type: ignore[arg-type]


@pytest.mark.examines(networks=60, early=30, count=10, first=10, mean=10, current=10)
@examples(120)
@given(st.integers(0, 2**32 - 1))
def test_the_exact_rule_changes_no_decision_of_a_graph(examined: Counter[str], seed: int) -> None:
    """Whatever its decoder: of counts, first spikes, means of membranes, currents and highest membranes."""
    rng = random.Random(seed)
    if rng.random() < 0.5:
        plain = steady(rng)
    else:
        plain = random_graph_ensemble(rng, kind=rng.choice(("direct", "rate", "frames")), students=rng.choice((1, 2)))
    able = all(isinstance(s.graph, Graph) or len(s.layers) > 1 for s in plain.students)
    if plain.encoder.timesteps < 2 or not able:
        return
    students = tuple(msgspec.structs.replace(s, gain=np.ones_like(s.gain)) for s in plain.students)
    policy = random_policy(rng, list(students), plain.encoder.timesteps, "cascade")
    plain = msgspec.structs.replace(plain, students=students, policy=msgspec.structs.replace(policy, early=()))
    early = with_table(plain, exact_table(plain))
    inputs = random_inputs(rng, early, 12)
    got, want = (reference.run(x, inputs).decisions for x in (early, plain))
    np.testing.assert_array_equal(got.label, want.label)
    np.testing.assert_array_equal(got.active, want.active)
    examined["networks"] += 1
    stopped = got.stop == STOPS.index("early")
    examined["early"] += int(stopped.sum())
    graph = students[0].graph
    if len(students) == 1 and isinstance(graph, Graph):
        decoder = graph.decoder.take if graph.decoder.kind == "membrane" else graph.decoder.kind
        if decoder in ("count", "first", "mean", "current"):
            examined[decoder] += int(stopped.sum())
