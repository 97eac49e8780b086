"""NIR graphs, written: what is read back spikes as the integers where they round nothing, in other frameworks too."""

from __future__ import annotations

import io
import itertools
import json
import random
import subprocess
import sys
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec
import nir
import numpy as np
import pytest
import torch
from graph_strategies import random_graph_ensemble
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples, random_ensemble, random_inputs
from test_quantize_graph import whole_graph

from sne_edge.check import reference
from sne_edge.check.synapses import current_of, pooled
from sne_edge.errors import SneError
from sne_edge.interchange.from_nir import graph_from_nir
from sne_edge.interchange.to_nir import save_nir, time_constant, to_nir
from sne_edge.ir.artifact import load, save
from sne_edge.ir.chain import as_graph, current_shift
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import INPUT, Cell, Decoder, Graph, Leak, Population, Projection, grid
from sne_edge.ir.graph_proof import proven
from sne_edge.ir.layers import AvgPool
from sne_edge.ir.neuron import Bound
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.learn.graph import FloatDecoder, FloatGraph, FloatPopulation, FloatProjection
from sne_edge.quantize.graph import assemble_graph, float_inputs, quantize_graph

Fired = dict[int, list[np.ndarray]]


def heard(graph: Graph) -> dict[int, Population]:
    """The populations that the last one depends on, by number: only they are written."""
    names = {len(graph.populations) - 1}
    while more := {q.source for n in names for q in graph.populations[n].projections} - names - {INPUT}:
        names |= more
    return {n: graph.populations[n] for n in sorted(names)}


def silent(graph: Graph, n: int) -> bool:
    """Are these spikes nothing but a threshold crossed, which nobody hears of and NIR leaves out?"""
    told = any(q.source == n for p in heard(graph).values() for q in p.projections)
    return graph.populations[n].neuron.reset == "none" and graph.decoder.sees_membranes and not told


def unrounded(graph: Graph, encoder: Encoder, inputs: np.ndarray, shift: int = 0) -> Fired:
    """Spikes by population that is heard of and timestep, [N, neurons], of the integers' equations in real numbers:
    leaks are not rounded, and there are no clamps."""
    came = float_inputs(msgspec.structs.replace(encoder, scale=1.0, offset=0.0), inputs)
    count, states = len(inputs), dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]()
    history: dict[int, deque[torch.Tensor]] = {n: deque(maxlen=1025) for n in range(-1, len(graph.populations))}
    populations = heard(graph)
    fired: Fired = {n: [] for n, p in populations.items() if p.neuron.spikes}
    for x in came:
        history[INPUT].appendleft(x)
        for n, p in populations.items():
            current = np.tile(spread(p.bias, p), (count, 1))
            for q in p.projections:
                back = q.delay - (q.source >= n)
                if back < len(history[q.source]):
                    current = current + arriving(q, history[q.source][back])
            current = current / 2.0 ** (shift if n == 0 else 0)
            v, i, last = states.get(n, (np.zeros_like(current),) * 3)
            if isinstance(p.neuron.current_leak, Leak):
                current = i = share(p.neuron.current_leak, p) * i + current
            threshold = spread(p.threshold, p) if isinstance(p.threshold, np.ndarray) else np.inf
            late, reset = p.neuron.reset_delay, p.neuron.reset
            if late and reset == "zero":
                v = v * (1 - last)
            v = share(p.neuron.leak, p) * v + current
            if late and reset == "subtract":
                v = v - last * threshold
            spikes = (v > threshold).astype(np.float64)
            if not late and reset != "none":
                v = np.where(spikes > 0, v - threshold if reset == "subtract" else 0.0, v)
            states[n] = v, i, spikes
            history[n].appendleft(torch.from_numpy(spikes))
            if n in fired:
                fired[n].append(spikes)
    return fired


def arriving(q: Any, x: torch.Tensor) -> np.ndarray:
    x = x.to(torch.int64).reshape(len(x), *q.in_shape)
    for pool in q.pools:
        x = pooled(pool, x)
    made: np.ndarray = current_of(q.synapses, x).reshape(len(x), -1).numpy().astype(np.float64)
    return made


def spread(values: np.ndarray, p: Population) -> np.ndarray:
    return np.broadcast_to(grid(values, p.channels), (p.positions, p.channels)).reshape(1, -1).astype(np.float64)


def share(leak: Leak, p: Population) -> np.ndarray:
    if leak.kind == "none":
        return np.ones((1, 1))
    return spread(leak.value, p) / 2.0**15 if leak.kind == "q15" else np.full((1, 1), 1 - 2.0 ** -int(leak.value[0]))


def read_back(ensemble: QuantEnsemble) -> FloatGraph:
    """Through a file; nir's own check of types takes it, but for kernels that it is known to misread."""
    graph, notes = to_nir(ensemble)
    file = io.BytesIO()
    nir.write(file, graph)
    return graph_from_nir(nir.read(file, type_check=not any("type_check=False" in note for note in notes)))


def spikes_of(read: FloatGraph, x: torch.Tensor) -> dict[str, np.ndarray]:
    made = read.simulate(x).spikes
    return {name: spikes.flatten(2).numpy() for name, spikes in made.items()}


def even(graph: Graph) -> bool:
    """Are all averages over 1, 2, 4, ... places? Others' ninths, say, are no exact numbers in between."""
    pools = [pool for p in graph.populations for q in p.projections for pool in q.pools if isinstance(pool, AvgPool)]
    return all((pool.kernel[0] * pool.kernel[1]).bit_count() == 1 for pool in pools)


@pytest.mark.examines(held=70, refused=50, chains=30, graphs=20, recurrent=8, delays=3, cuba=4, late=12, spikes=2000)
@examples(320)
@given(seed=st.integers(0, 2**32 - 1))
def test_what_is_read_back_spikes_as_the_equations_do(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    chain = rng.random() < 0.2
    ensemble = random_ensemble(rng, students=1) if chain else random_graph_ensemble(rng, standard=True, students=1)
    graph, encoder = as_graph(ensemble.students[0]), ensemble.encoder
    if not even(graph):
        return
    try:
        read = read_back(ensemble)
    except SneError as error:
        assert "NIR" in str(error) or "population" in str(error)
        examined["refused"] += 1
        return
    inputs = random_inputs(rng, ensemble)
    shift = current_shift(ensemble.students[0], 0)
    want, got = unrounded(graph, encoder, inputs, shift), spikes_of(read, float_inputs(encoder, inputs))
    assert {f"p{n}" for n in want} <= got.keys()
    for n, steps in want.items():
        if silent(graph, n):
            continue
        np.testing.assert_array_equal(got[f"p{n}"], np.stack(steps), err_msg=f"population {n}")
        examined["spikes"] += int(np.sum(steps))
    examined["held"] += 1
    examined["chains" if chain else "graphs"] += 1
    every = [(n, p, q) for n, p in heard(graph).items() for q in p.projections]
    examined["recurrent"] += any(q.source >= n for n, _, q in every)
    examined["delays"] += any(q.delay > 1 for _, _, q in every)
    examined["cuba"] += any(bool(p.current_width) for _, p, _ in every)
    examined["late"] += any(p.neuron.reset_delay for _, p, _ in every)


@pytest.mark.examines(held=15, spikes=2000)
def test_integers_that_round_nothing_spike_as_what_is_read_back(examined: Counter[str]) -> None:
    for seed in range(120):
        rng = random.Random(seed)
        kind = rng.choice(("direct", "rate", "events", "frames"))
        encoder = Encoder(kind, (4, 4, rng.choice((1, 2))), 5)
        numbers = np.random.default_rng(seed)
        steps = (5,) if kind in ("events", "frames") else ()
        x = numbers.integers(0, 2 if kind == "events" else 90, (6, *steps, encoder.size)).astype(np.float64)
        made = quantize_graph(whole_graph(rng, encoder), "whole", encoder, x)
        try:
            read = read_back(made)
        except SneError:
            continue
        inputs = encoder.encode(x)
        trace = read.simulate(float_inputs(encoder, inputs))
        got = reference.run_student(made, 0, inputs)
        firing = [n for n, p in enumerate(as_graph(made.students[0]).populations) if p.neuron.spikes]
        want = [trace.spikes[f"p{n}"].sum(dim=(0, 2, 3, 4)).tolist() for n in firing]
        assert got.spikes.T.tolist() == want
        examined["held"] += 1
        examined["spikes"] += int(got.spikes.sum())


def test_the_file_is_the_graph_and_says_what_nir_does_not(tmp_path: Path) -> None:
    ensemble = load("mnist1d")
    notes = save_nir(ensemble, tmp_path / "t.nir", dt=2e-3)
    assert any("mean of the output over time" in note for note in notes) and any("leaks" in note for note in notes)
    read, again = nir.read(tmp_path / "t.nir"), to_nir(ensemble, dt=2e-3)[0]
    assert sorted(read.edges) == sorted(again.edges) and read.nodes.keys() == again.nodes.keys()
    for name, node in again.nodes.items():
        for key, value in vars(node).items():
            if isinstance(value, np.ndarray):
                np.testing.assert_array_equal(getattr(read.nodes[name], key), value)
    assert read.metadata["dt"] == "0.002" and json.loads(read.metadata["notes"]) == notes
    assert any(node.metadata.get("reset_delay") for node in read.nodes.values())
    first = (tmp_path / "t.nir").read_bytes()
    save_nir(ensemble, tmp_path / "t.nir", dt=2e-3)
    assert (tmp_path / "t.nir").read_bytes() == first


def test_students_that_add_up_are_one_graph_whose_mean_is_the_logits_in_real_units() -> None:
    ensemble = load("mnist1d")
    read = read_back(ensemble)
    inputs = ensemble.vectors.inputs
    x = float_inputs(ensemble.encoder, inputs)
    logits = read.simulate(x).logits.numpy()
    got = reference.run(ensemble, inputs, msgspec.structs.replace(ensemble.policy, kind="all", margins=(), early=()))
    assert len(read.populations) == sum(1 for s in ensemble.students for p in as_graph(s).populations) - 3
    assert (logits.argmax(axis=1) == got.decisions.label).mean() >= 0.9  # leaks are rounded on the device alone
    real = got.decisions.logits * ensemble.logit_scale
    assert np.corrcoef(logits.ravel(), real.ravel())[0, 1] > 0.98
    np.testing.assert_allclose(logits.mean(), real.mean(), atol=0.3 * real.std())


@pytest.mark.parametrize("take", ["mean", "final", "highest"])
@pytest.mark.parametrize("alpha", [None, 0.5])
@pytest.mark.parametrize("task", ["classification", "regression"])
def test_membranes_of_neurons_that_spike_are_written_in_one_unit_of_all_channels(
    take: str, alpha: float | None, task: str
) -> None:
    """Channels of other sizes of weights, thresholds and leaks have units of their own in integers."""
    rng, encoder = np.random.default_rng(0), Encoder("events", (1, 1, 6), 15)
    into = FloatProjection("", "linear", rng.normal(size=(8, 6)))
    hidden = FloatPopulation("hidden", (1, 1, 8), (into,), np.array(0.75), np.array(0.5))
    out = FloatProjection("hidden", "linear", rng.normal(size=(3, 8)) * np.array([[0.3], [1], [3]]))
    last = FloatPopulation(
        "last", (1, 1, 3), (out,), np.array([0.5, 0.75, 0.875]), np.array([0.5, 1, 2]),
        alpha=None if alpha is None else np.array(alpha),
    )  # fmt: skip
    graph = FloatGraph((1, 1, 6), (hidden, last), FloatDecoder("membrane", take))  # type: ignore[arg-type]
    made = assemble_graph(graph, "own", encoder, regression=task == "regression")
    assert len(set(made.students[0].gain.tolist())) > 1 and made.regression == (task == "regression")
    inputs = (rng.random((200, 15, 6)) < 0.4).astype(np.uint8)
    inputs = encoder.encode(inputs.reshape(200, 15, 1, 1, 6))
    got = reference.run(made, inputs).decisions.logits * made.logit_scale
    logits = read_back(made).simulate(float_inputs(encoder, inputs)).logits.numpy()
    scale = 1.0 if task == "regression" else got.std() / logits.std()
    assert np.abs(scale * logits - got).mean() < 0.03 * got.std(), "leaks are rounded on the device alone"
    assert (logits.argmax(1) == got.argmax(1)).mean() > 0.95


def test_what_is_read_back_and_quantised_again_is_the_same_integers() -> None:
    examined = 0
    for seed in range(60):
        rng = random.Random(seed)
        encoder = Encoder(rng.choice(("direct", "events", "frames")), (4, 4, 2), 5)
        made = assemble_graph(whole_graph(rng, encoder), "whole", encoder)
        try:
            read = read_back(made)
        except SneError:
            continue
        again = assemble_graph(read, "whole", encoder)
        for one, other in zip(
            as_graph(made.students[0]).populations, as_graph(again.students[0]).populations, strict=True
        ):
            for a, b in zip(one.projections, other.projections, strict=True):
                assert (a.op, a.delay, a.stride, a.padding) == (b.op, b.delay, b.stride, b.padding)
                np.testing.assert_array_equal(a.weight, b.weight)
            np.testing.assert_array_equal(spread(one.bias, one), spread(other.bias, other))
            if isinstance(one.threshold, np.ndarray) and one.neuron.reset != "none":
                assert isinstance(other.threshold, np.ndarray)
                np.testing.assert_array_equal(spread(one.threshold, one), spread(other.threshold, other))
            assert (one.neuron.reset, one.neuron.reset_delay) == (other.neuron.reset, other.neuron.reset_delay)
        examined += 1
    assert examined >= 12


@pytest.mark.parametrize("dt", [1e-4, 1e-3, 2.0**-10, 0.3])
def test_a_time_constant_gives_every_leak_back(dt: float) -> None:
    exact = 0
    for value in range(32768):
        beta = value / 32768
        found = max(0.0, 1 - dt / time_constant(beta, dt))
        assert abs(found - beta) <= 2.0**-53
        exact += found == beta
    assert exact > 0.8 * 32768
    for shift in range(1, 16):
        assert 1 - 2.0**-10 / time_constant(1 - 2.0**-shift, 2.0**-10) == 1 - 2.0**-shift


def plain_chain(rng: random.Random) -> QuantEnsemble:
    """Linear layers of neurons that leak by a shift and reset to zero at once, alike within a layer: what every
    framework reads alike, and computes without rounding."""
    sizes, layers = [12, 10, 8], list[Population]()
    numbers = np.random.default_rng(rng.getrandbits(32))
    for n, (before, after) in enumerate(itertools.pairwise(sizes)):
        weight = numbers.integers(-60, 100, (after, before)).astype(np.int8)
        cell = Cell(Leak("shift", np.array([rng.choice((1, 2))], np.int32)), True, "zero")
        bias = numbers.integers(-5, 5, after).astype(np.int32)
        threshold = np.full(after, rng.choice((60, 100, 128)), np.int32)
        into = (Projection(n - 1, (1, 1, before), "linear", weight),)
        rest = {"bias": bias, "scale": np.ones(after), "bound": Bound(0, 0), "threshold": threshold}
        layers.append(Population(f"layer {n}", (1, 1, after), into, cell, **rest))
    encoder = Encoder("events", (1, 1, sizes[0]), 12)
    graph = proven(Graph(tuple(layers), Decoder("count", clamp=(-(2**14), 2**14))), encoder)
    classes = graph.classes
    student = QuantStudent((), (), np.ones(classes, np.int32), np.zeros(classes, np.int32), graph=graph)
    return QuantEnsemble(
        name="plain", encoder=encoder, students=(student,), bias=np.zeros(classes, np.int32), order=(0,),
        classes=tuple(map(str, range(classes))), logit_scale=1.0, policy=ActivationPolicy("all"),
        vectors=no_vectors(encoder, classes, [student]),
    )  # fmt: skip


@pytest.fixture
def double_precision() -> Any:
    """Frameworks make their states in torch's default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def assert_framework(examined: Counter[str], build: Any) -> None:
    """A framework's module, double, from [N, inputs] and a state to spikes and a state, against the equations."""
    for seed in range(8):
        ensemble = plain_chain(random.Random(seed))
        graph, encoder = as_graph(ensemble.students[0]), ensemble.encoder
        inputs = random_inputs(random.Random(seed), ensemble, 12)
        want = np.stack(unrounded(graph, encoder, inputs)[1])
        step, state, found = build(to_nir(ensemble, dt=1e-4)[0]), None, []
        for x in torch.from_numpy(encoder.spikes(inputs).reshape(encoder.timesteps, len(inputs), -1)).double():
            spikes, state = step(x, state)
            found.append(spikes.detach().numpy())
        np.testing.assert_array_equal(np.stack(found), want)
        examined["networks"] += 1
        examined["spikes"] += int(want.sum())


@pytest.mark.examines(networks=8, spikes=300)
def test_snntorch_reads_it_and_spikes_alike(examined: Counter[str]) -> None:
    from snntorch.import_nir import import_from_nir

    def build(graph: Any) -> Any:
        network = import_from_nir(graph)
        return lambda x, state: network(x.float(), state)

    assert_framework(examined, build)


def test_norse_reads_it_and_spikes_alike(double_precision: None) -> None:
    norse = pytest.importorskip("norse.torch")
    examined = Counter[str]()

    def build(graph: Any) -> Any:
        network = norse.from_nir(graph, dt=1e-4).double()
        return lambda x, state: network(x, state)

    assert_framework(examined, build)
    assert examined["spikes"] > 300


def command(*arguments: str | Path, before: str = "") -> subprocess.CompletedProcess[str]:
    script = f"{before}\nfrom sne_edge.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def test_the_command_writes_what_quantize_reads_again_without_being_told_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-90, 90, (60, 1, 4, 4)).astype(np.float32)
    np.savez(
        tmp_path / "d.npz", x_train=x, y_train=np.arange(60) % 4, x_test=x, y_test=np.arange(60) % 4, layout="NCHW"
    )
    found = None
    for seed in range(200):
        encoder = Encoder("direct", (4, 4, 1), 5)
        made = assemble_graph(whole_graph(random.Random(seed), encoder), "whole", encoder)
        try:
            to_nir(made)
        except SneError:
            continue
        found = made
        break
    assert found is not None
    save(found, tmp_path / "w.sne")
    hidden = "import sys; sys.modules['torch'] = None"
    done = command("export", tmp_path / "w.sne", "--format", "nir", "-o", tmp_path / "w.nir", before=hidden)
    assert done.returncode == 0, done.stderr
    done = command(
        "quantize", tmp_path / "w.nir", "--data", tmp_path / "d.npz", "--timesteps", "5", "--scale", "1", "-o",
        tmp_path / "again.sne",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = load(tmp_path / "again.sne")
    for one, other in zip(
        as_graph(found.students[0]).populations, as_graph(again.students[0]).populations, strict=True
    ):
        for a, b in zip(one.projections, other.projections, strict=True):
            np.testing.assert_array_equal(a.weight, b.weight)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--part", "student:7"], "there is no part 'student:7' for NIR"),
        (["--dt", "0"], "a timestep of 0.0 seconds is none"),
        (["--dt", "nan"], "a timestep of nan seconds is none"),
        (["--policy", "all"], "--policy has no meaning for the format nir"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_file(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = command("export", "mnist1d", "--format", "nir", *arguments, "-o", tmp_path / "m.nir")
    assert done.returncode == 1 and words in done.stderr and "\nhint: " in done.stderr
    assert not list(tmp_path.iterdir())


def test_what_nir_cannot_hold_is_refused_by_population(tmp_path: Path) -> None:
    words = Counter[str]()
    for seed in range(120):
        ensemble = random_graph_ensemble(random.Random(seed), standard=True, students=1)
        try:
            to_nir(ensemble)
        except SneError as error:
            assert error.message.startswith("population ") and error.hint
            words[error.message.split(": ", 1)[1].split(",")[0]] += 1
    assert {"a maximum of spikes", "a maximum of currents", "neurons that spike without a reset"} <= words.keys()
