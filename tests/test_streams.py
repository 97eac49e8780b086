"""Streams that never end: a window or a leak forgets what was, exactly, in reference, oracle and C."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import graph_oracle
import msgspec
import numpy as np
import oracle
import pytest
import snntorch as snn
import torch
from graph_strategies import random_graph_ensemble
from sne_edge.codegen.layout import streams
from strategies import random_ensemble, random_inputs
from test_equivalence import Stream, assert_host, assert_student
from test_equivalence_qemu import BOARDS, assert_device
from test_to_onnx import assert_students, outputs
from torch import nn

from sne_edge.check import reference
from sne_edge.deploy.export import render
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError, SneWarning
from sne_edge.interchange.onnx_engine import samples_of, session
from sne_edge.interchange.to_nir import to_nir
from sne_edge.interchange.to_onnx import to_onnx
from sne_edge.interchange.torch import quantize_network
from sne_edge.ir import artifact
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.graph_proof import prove_decoder, prove_population
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.rejection import Rejection
from sne_edge.ir.schedule import decide
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.learn.graph import INPUT, FloatDecoder, FloatGraph, FloatPopulation, FloatProjection
from sne_edge.pipeline.stream import for_stream, remembering
from sne_edge.quantize.graph import assemble_graph, quantize_graph
from sne_edge.quantize.streams import COUNT_UNITS, with_memory

replace = msgspec.structs.replace
LONG = 24  # timesteps of a stream: many times those of the models here


class FrameStream(Stream):
    """Live frames of a host build."""

    def step(self, values: np.ndarray) -> int:  # type: ignore[override]
        status: int = self.stream.take(self.state, self._ffi.from_buffer("int8_t[]", np.ascontiguousarray(values)))
        return status


def streamed(ensemble: QuantEnsemble, steps: np.ndarray) -> np.ndarray:
    """Logits [T, classes] that the C reads after each timestep, uint8 [T, bytes of a timestep]."""
    model = (FrameStream if ensemble.encoder.kind == "frames" else Stream)(HostModel(ensemble))
    model.stream.reset(model.state)
    found = []
    for row in steps:
        values = row.view(np.int8) if ensemble.encoder.kind == "frames" else events(ensemble.encoder, row)
        assert model.step(values) == 0
        result = model.read()
        logits = model.logits()
        label, margin = decide(np.array([logits]))
        assert (result.label, result.margin) == (label[0], margin[0])
        found.append(logits)
    return np.array(found)


def events(encoder: Encoder, row: np.ndarray) -> list[int]:
    found: list[int] = np.flatnonzero(np.unpackbits(row, bitorder="little", count=encoder.size)).tolist()
    return found


def by_oracle(ensemble: QuantEnsemble, steps: np.ndarray) -> list[list[int]]:
    """The same by plain Python."""
    data = steps.reshape(-1).tolist()
    long = replace(ensemble.encoder, timesteps=len(steps))
    logits = [ensemble.bias.tolist() for _ in steps]
    for number, student in enumerate(ensemble.students):
        endless = _Long(ensemble.students, long)
        if isinstance(student.graph, Graph):
            trace = graph_oracle.run_student(endless, number, data, len(steps), ensemble.encoder.timesteps)  # type: ignore[arg-type]
        else:
            trace = oracle.run_student(endless, number, data, len(steps))  # type: ignore[arg-type]
        for row, step in zip(logits, trace.steps, strict=True):
            totals = step.totals if isinstance(student.graph, Graph) else step.membranes[-1]
            for c, total in enumerate(totals):
                row[c] += student.bias.tolist()[c] + student.gain.tolist()[c] * total
    return logits


class _Long:
    """What the oracles look at, for more timesteps than the ensemble's."""

    def __init__(self, students: object, encoder: Encoder) -> None:
        self.students, self.encoder = students, encoder


def drawn(rng: random.Random, ensemble: QuantEnsemble) -> np.ndarray:
    """A stream of random timesteps, some empty: uint8 [LONG, bytes]."""
    encoder = ensemble.encoder
    if encoder.kind == "frames":
        numbers = np.random.default_rng(rng.getrandbits(32))
        values = numbers.integers(-128, 128, (LONG, encoder.size), dtype=np.int8)
        return (values * (numbers.random((LONG, 1)) < 0.8)).astype(np.int8).view(np.uint8)
    raster = np.random.default_rng(rng.getrandbits(32)).random((LONG, encoder.size)) < rng.choice((0.1, 0.5, 0.9))
    bits = np.packbits(raster, axis=1, bitorder="little")
    return np.pad(bits, ((0, 0), (0, encoder.row_bytes - bits.shape[1])))


Forms = tuple[QuantEnsemble, dict[int, QuantEnsemble], dict[float, QuantEnsemble]]
WINDOWS_TRIED, LEAKS_TRIED = (1, 2, 3, 7, 40), (0.0, 0.5, 0.9, 0.97)


@cache
def forms(seed: int, kind: EncoderKind, graphs: bool) -> Forms:
    """A random model whose sums may be any, with each window and with each leak: shorter or longer than an
    inference."""
    rng = random.Random(f"forms {seed} {kind} {graphs}")
    while True:
        if graphs:
            own = random_graph_ensemble(rng, kind=kind, students=2, chains=False, sums=True)
        else:
            own = random_ensemble(rng, kind=kind, students=2)
        try:
            return (
                own,
                {window: with_memory(own, window=window) for window in WINDOWS_TRIED},
                {leak: with_memory(own, leak=leak) for leak in LEAKS_TRIED},
            )
        except SneError as error:
            assert re.search("limit|32 bits|add up over", error.message)


CASES = [(seed, "events", False) for seed in range(12)]
CASES += [(seed, kind, True) for seed in range(3) for kind in ("events", "frames")]


@pytest.mark.examines(streams=170, windows=170, leaks=140, forgotten=2000, in_c=4)
def test_a_stream_of_any_length_is_the_oracles_and_its_windows_hold_the_last_timesteps(
    examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    """Chains and graphs, events and frames, windows of all lengths and leaks: at every timestep."""
    require_tool("cc")
    for seed, kind, graphs in CASES:
        own, windows, faded = forms(seed, kind, graphs)  # type: ignore[arg-type]
        rng = random.Random(f"streams {seed} {kind}")
        for ensemble in (own, *windows.values(), *faded.values()):
            steps = drawn(rng, ensemble)
            want = reference.run_stream(ensemble, steps[None])[0]
            assert want.tolist() == by_oracle(ensemble, steps)
            examined["streams"] += 1
            held = [w for w in map(window_of, ensemble.students) if w]
            examined["windows"] += len(held)
            examined["leaks"] += sum(map(leaks, ensemble.students))
            examined["forgotten"] += sum(max(0, LONG - w) for w in held)
        if seed == 0:
            for chosen in (windows[3], faded[0.9]):
                steps = drawn(rng, chosen)
                assert streamed(chosen, steps).tolist() == reference.run_stream(chosen, steps[None])[0].tolist()
                examined["in_c"] += 1


@pytest.mark.examines(chains=100, graphs=50, cut=30)
def test_an_inference_of_a_window_is_exact_in_oracle_reference_and_c(
    examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    """What a window has forgotten by the end is not looked at, and costs nothing."""
    require_tool("cc")
    for seed, kind, graphs in CASES:
        for window, ensemble in forms(seed, kind, graphs)[1].items():  # type: ignore[arg-type]
            rng = random.Random(f"windows {seed} {kind} {window}")
            inputs = random_inputs(rng, ensemble, 4)
            for number, student in enumerate(ensemble.students):
                if isinstance(student.graph, Graph):
                    row = inputs[rng.randrange(len(inputs))]
                    trace = graph_oracle.run_student(ensemble, number, row.tolist(), ensemble.encoder.timesteps)
                    assert trace.part == reference.run_student(ensemble, number, row[None]).part[0].tolist()
                else:
                    assert_student(ensemble, number, inputs[:3])
                    examined["cut"] += window_of(student) < ensemble.encoder.timesteps
                examined["graphs" if isinstance(student.graph, Graph) else "chains"] += 1
            if seed == 0 and window == 2:
                assert_host(ensemble, HostModel(ensemble), inputs, rng)


@pytest.mark.parametrize("board", BOARDS)
def test_windows_are_exact_on_every_core(board: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    rng = random.Random(board)
    assert_device(forms(1, "events", board.endswith("6"))[1][2], board, tmp_path, rng, samples=3)


def window_of(student: QuantStudent) -> int:
    """Timesteps of a student's window, 0 where it has none."""
    window = student.graph.decoder.window if isinstance(student.graph, Graph) else student.readout.neuron.window
    return window if isinstance(window, int) else 0


def leaks(student: QuantStudent) -> bool:
    decay = student.graph.decoder.leak if isinstance(student.graph, Graph) else student.readout.neuron.decay
    return decay.kind != "none"


GESTURES, TIMESTEPS, INPUTS = 4, 20, 24
WINDOWS = 80


def gestures(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Rasters 0/1 [count, TIMESTEPS, INPUTS] and labels: each gesture has busier inputs of its own."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, GESTURES, count)
    rate = np.full((count, TIMESTEPS, INPUTS), 0.08)
    for row, label in zip(rate, labels, strict=True):
        row[:, label::GESTURES] += 0.12
    return (rng.random(rate.shape) < rate).astype(np.uint8), labels


def gesture_model() -> QuantEnsemble:
    """A hidden layer of leaky neurons and a readout, of weights that need no training."""
    hidden, readout = nn.Linear(INPUTS, 2 * INPUTS, bias=False), nn.Linear(2 * INPUTS, GESTURES)
    with torch.no_grad():
        hidden.weight.copy_(torch.eye(INPUTS).repeat(2, 1) * 1.1)
        mine = torch.arange(2 * INPUTS) % GESTURES == torch.arange(GESTURES)[:, None]
        readout.weight.copy_(mine * 1.0 - 0.25)
        readout.bias.copy_(torch.tensor([0.02, -0.01, 0.0, 0.01]))
    network = nn.Sequential(hidden, snn.Leaky(beta=0.5, init_hidden=True), readout)
    rasters, labels = gestures(64, seed=1)
    return quantize_network(network, "gestures", rasters, timesteps=TIMESTEPS, encoder="events", labels=labels)


def right(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether each timestep of a stream of gestures back to back, [WINDOWS * TIMESTEPS, classes], names the one it is
    in: bool [WINDOWS, TIMESTEPS]."""
    return decide(logits)[0].reshape(len(labels), TIMESTEPS) == labels[:, None]


def test_gestures_back_to_back_are_named_as_with_a_reset_before_each_and_without_forgetting_they_are_not(
    require_tool: Callable[..., None],
) -> None:
    require_tool("cc")
    model = gesture_model()
    rasters, labels = gestures(WINDOWS, seed=2)
    bytes_ = model.encoder.encode(rasters)
    alone = float((HostModel(model).run(bytes_).label == labels).mean())
    steps = bytes_.reshape(WINDOWS * TIMESTEPS, -1)
    ends = {}
    for name, made in {
        "for ever": model,
        "window": for_stream(model, window=TIMESTEPS),
        "leak": for_stream(model, leak=0.9),
    }.items():
        found = reference.run_stream(made, steps[None])[0]
        assert streamed(made, steps).tolist() == found.tolist()
        ends[name] = float(right(found, labels)[:, -1].mean())
    print(f"with a reset before each: {alone:.1%}; at the end of each: {ends}")
    assert alone >= 0.95
    assert ends["for ever"] < 0.5
    assert ends["window"] >= alone - 0.02
    assert ends["leak"] >= alone - 0.05


def test_a_window_of_an_inference_changes_nothing_of_a_raster() -> None:
    model = gesture_model()
    inputs = model.encoder.encode(gestures(50, seed=3)[0])
    made = for_stream(model, window=TIMESTEPS)
    for engine in (model, made):
        assert engine.students[0].bias.tolist() == model.students[0].bias.tolist()
    one, other = (reference.run(m, inputs) for m in (model, made))
    assert one.decisions.logits.tolist() == other.decisions.logits.tolist()
    assert made.vectors.logits.tolist() == model.vectors.logits.tolist()


@pytest.mark.parametrize("memory", [{"window": 10}, {"window": 60}, {"leak": 0.9}])
def test_biases_keep_their_part_of_the_logits_however_long_the_memory_is(memory: dict[str, float]) -> None:
    """A steady input makes the same decision, and logits of the same real value, whatever is summed."""
    model = gesture_model()
    raster = np.zeros((1, TIMESTEPS, INPUTS), np.uint8)
    raster[:, :, ::5] = 1
    steps = np.tile(model.encoder.encode(raster).reshape(1, TIMESTEPS, -1), (1, 8, 1))
    whole = reference.run_stream(for_stream(model, window=TIMESTEPS), steps)[0, -TIMESTEPS:].mean(axis=0)
    made = for_stream(model, **memory)  # type: ignore[arg-type]
    short = reference.run_stream(made, steps)[0, -TIMESTEPS:].mean(axis=0)
    np.testing.assert_allclose(short * made.logit_scale, whole * model.logit_scale, atol=0.05)
    assert np.ptp(whole * model.logit_scale) > 0.1


def test_a_window_is_stored_and_read_and_no_reader_of_before_takes_it_for_a_sum() -> None:
    made = for_stream(gesture_model(), window=9)
    data = artifact.dumps(made)
    again = artifact.loads(data)
    assert again.students[0].readout.neuron.window == 9
    assert artifact.dumps(again) == data
    assert artifact._manifest(data)["version"] == [2, 0]
    assert artifact._manifest(artifact.dumps(gesture_model()))["version"][0] == 1


@pytest.mark.parametrize("kind", ["events", "frames"])
def test_a_mean_current_forgets_timestep_by_timestep(kind: EncoderKind) -> None:
    """A graph's linear readout: logits are the weights' sums over the last timesteps, to the integer."""
    rng = np.random.default_rng(5)
    readout = FloatPopulation(
        "out", (1, 1, 3), (FloatProjection("", "linear", rng.normal(size=(3, 6))),), np.ones(()), None, reset="none"
    )
    encoder = Encoder(kind, (1, 1, 6), 8)
    samples = rng.integers(0, 2 if kind == "events" else 20, (5, 8, 6)).astype(float)
    own = quantize_graph(FloatGraph((1, 1, 6), (readout,)), "means", encoder, samples)
    assert own.students[0].graph.decoder.kind == "current"  # type: ignore[union-attr]
    made = for_stream(own, window=4)
    steps = encoder.encode(samples).reshape(1, 40, -1)
    graph = made.students[0].graph
    assert isinstance(graph, Graph)
    currents = samples.reshape(40, 6).astype(np.int64) @ graph.populations[0].projections[0].weight.astype(np.int64).T
    sums = np.array([currents[max(0, t - 3) : t + 1].sum(axis=0) for t in range(40)])
    assert reference.run_stream(made, steps)[0].tolist() == (sums * made.students[0].gain).tolist()


@pytest.mark.parametrize(
    ("memory", "words"),
    [({}, "a window or a leak"), ({"window": 3, "leak": 0.5}, "a window or a leak"), ({"window": 0}, "a window of 0"),
     ({"window": 70000}, "a window of 70000"), ({"leak": 1.0}, "never forgets"), ({"leak": -0.1}, "never forgets"),
     ({"leak": float("nan")}, "never forgets")],
)  # fmt: skip
def test_what_cannot_forget_is_refused(memory: dict[str, float], words: str) -> None:
    with pytest.raises(SneError, match=words):
        with_memory(gesture_model(), **memory)  # type: ignore[arg-type]


def test_a_decoder_that_makes_no_sum_and_an_input_that_is_no_stream_are_refused() -> None:
    with pytest.raises(SneError, match="no stream"):
        with_memory(random_ensemble(random.Random(1), kind="direct"), window=3)
    refused = 0
    for seed in range(12):
        made = random_graph_ensemble(random.Random(seed), kind="events", students=1, chains=False)
        if not made.students[0].graph.decoder.sums and made.students[0].graph.decoder.kind != "current":  # type: ignore[union-attr]
            with pytest.raises(SneError, match="makes no sum"):
                with_memory(made, window=3)
            refused += 1
    assert refused >= 2


def test_frames_of_bounds_for_an_inference_alone_are_read_and_have_no_stream() -> None:
    """As models were made before frames had a stream."""
    rng = random.Random(4)
    made = random_graph_ensemble(rng, kind="frames", students=1, chains=False)
    assert streams(made)
    graph = made.students[0].graph
    assert isinstance(graph, Graph)
    populations = []
    for population in graph.populations:
        proof = prove_population(population, made.encoder, buffered=True)
        current = {} if proof.current is None else {"current_bound": proof.current}
        populations.append(replace(population, bound=proof.membrane, **current))
    bound = prove_decoder(graph.decoder, populations[-1], made.encoder, buffered=True)
    short = Graph(tuple(populations), replace(graph.decoder, bound=bound))
    assert short.populations[-1].bounds != graph.populations[-1].bounds or bound != graph.decoder.bound
    old = replace(made, students=(replace(made.students[0], graph=short),))
    assert not streams(artifact.loads(artifact.dumps(old)))
    assert "_stream_state" not in render(old, resolve_target("host"))["random_graph.h"]


@pytest.mark.parametrize("what", ["a window", "a rejection"])
def test_what_nir_does_not_hold_is_refused_and_not_left_out(what: str) -> None:
    model = gesture_model()
    model = for_stream(model, window=5) if what == "a window" else replace(model, rejection=Rejection(5))
    with pytest.raises(SneError, match=f"{what}, which no node of NIR holds"):
        to_nir(model)


@pytest.mark.examines(windows=30, cut=6, budgets=10, numbers=5000, timesteps=800)
def test_a_window_is_the_same_in_onnx_whole_and_step_by_step(examined: Counter[str]) -> None:
    for seed, kind, graphs in CASES:
        rng = random.Random(f"onnx {seed} {kind}")
        ensemble = forms(seed, kind, graphs)[1][rng.choice((1, 2, 2, 3, 7))]  # type: ignore[arg-type]
        inputs = random_inputs(rng, ensemble, 10)
        assert_students(ensemble, inputs, examined)
        if not graphs:  # work that a window forgets costs no budget
            spent = reference.run(ensemble, inputs, ActivationPolicy("first", students=1))
            limit = int(np.median(spent.synaptic_ops)) + ensemble.students[ensemble.order[1]].max_ops
            budget = ActivationPolicy("budget", max_ops=max(1, limit))
            want = reference.run(ensemble, inputs, budget).decisions
            found = outputs(to_onnx(ensemble, policy=budget, encoded=True), samples_of(ensemble.encoder, inputs))
            assert found["active"].tolist() == want.active.tolist()
            examined["budgets"] += 1
        steps = drawn(rng, ensemble)
        want_stream = reference.run_stream(ensemble, steps[None])[0]
        logits = np.zeros_like(want_stream) + ensemble.bias
        one = replace(ensemble.encoder, timesteps=1)
        for number, student in enumerate(ensemble.students):
            ready = session(to_onnx(ensemble, f"step:{number}", encoded=True))
            names, states = [output.name for output in ready.get_outputs()], dict[str, np.ndarray]()
            for t, row in enumerate(steps):
                given = {"input": samples_of(one, row[None])[:, 0], **states}
                made = dict(zip(names, ready.run(None, given), strict=True))
                states = {name.removesuffix(".next"): value for name, value in made.items() if name.endswith(".next")}
                logits[t] += made["logits"][0]
                examined["timesteps"] += 1
            examined["windows"] += 1
            examined["cut"] += window_of(student) < ensemble.encoder.timesteps
        assert logits.tolist() == want_stream.tolist()


def counting_model(leak: float = 1.0) -> QuantEnsemble:
    """Eight inputs, each of which a neuron of its own repeats; four neurons count them in pairs."""
    pairs = np.kron(np.eye(4), np.ones((1, 2)))
    repeated, added = FloatProjection(INPUT, "identity", np.ones(8)), FloatProjection("each", "linear", pairs)
    each = FloatPopulation("each", (1, 1, 8), (repeated,), np.zeros(()), np.array(0.5), reset="zero")
    counted = FloatPopulation("pairs", (1, 1, 4), (added,), np.zeros(()), np.array(0.5), reset="zero")
    graph = FloatGraph((1, 1, 8), (each, counted), FloatDecoder("count", leak=leak))
    return assemble_graph(graph, "counts", Encoder("events", (1, 1, 8), 10))


@pytest.mark.parametrize("leak", [0.25, 0.8, 0.9375, 0.99])
@pytest.mark.parametrize("when", ["in the graph", "for a stream"])
def test_counts_that_leak_keep_the_share_of_each_timestep_and_forget(
    leak: float, when: str, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    made = counting_model(leak) if when == "in the graph" else for_stream(counting_model(), leak=leak)
    rng = np.random.default_rng(0)
    rasters = (rng.random((5, 400, 8)) < rng.random((5, 400, 8)) / 2).astype(np.uint8)
    rasters[:, 300:] = 0
    steps = np.stack([counting_model().encoder.encode(r.reshape(40, 10, 1, 1, 8)).reshape(400, -1) for r in rasters])
    plain = np.diff(reference.run_stream(for_stream(counting_model(), window=1000), steps), axis=1, prepend=0)
    total, exact = np.zeros((5, 4)), []
    for t in range(400):
        total = leak * total + plain[:, t]
        exact.append(total)
    found = reference.run_stream(made, steps)
    units = np.rint(found * (made.logit_scale * COUNT_UNITS) if when == "in the graph" else found)
    assert streamed(made, steps[0]).tolist() == found[0].tolist()
    wanted = COUNT_UNITS * np.stack(exact, axis=1)
    rounded = 2 / (1 - leak)  # a unit of each timestep, and the leak's own rounding
    assert np.abs(units - wanted).max() < rounded
    assert wanted[:, 299].max() > 100 and units[:, -1].max() < rounded + wanted[:, -1].max(), "it forgets"
    best = np.sort(wanted, axis=2)
    clear = best[:, :, -1] - best[:, :, -2] > 2 * rounded
    assert clear.sum() > 100 and (found.argmax(2) == wanted.argmax(2))[clear].all()


def test_a_population_named_total_is_no_other_ones_count() -> None:
    repeated = FloatProjection(INPUT, "identity", np.ones(8))
    total = FloatPopulation("total", (1, 1, 8), (repeated,), np.zeros(()), np.array(0.5))
    graph = FloatGraph((1, 1, 8), (total,), FloatDecoder("count", leak=0.5))
    made = assemble_graph(graph, "counts", Encoder("events", (1, 1, 8), 10)).students[0].graph
    assert [p.name for p in made.populations] == ["total", "total_"]  # type: ignore[union-attr]
    assert made.populations[1].projections[0].source == 0  # type: ignore[union-attr]


def test_students_of_other_memories_are_not_given_one_together() -> None:
    one, other = gesture_model(), for_stream(gesture_model(), window=5)
    students = (one.students[0], other.students[0])
    none = no_vectors(one.encoder, len(one.classes), students)
    mixed = msgspec.structs.replace(one, students=students, order=(0, 1), vectors=none)
    with pytest.raises(SneError, match="add up over 5 and 20 timesteps"):
        with_memory(mixed, window=10)


def test_what_a_memory_changes_of_whole_samples_is_told() -> None:
    model, labels = gesture_model(), gestures(80, seed=4)[1]
    inputs = model.encoder.encode(gestures(80, seed=4)[0])
    whole = msgspec.structs.replace(model, provenance=model.provenance | {"accuracy": {"float": 1.0, "integer": 1.0}})
    same = remembering(for_stream(whole, window=TIMESTEPS), whole, inputs, labels, 0.95)
    assert same.provenance["memory"] == {"labels_kept": 1.0}
    with pytest.warns(SneWarning, match="of the labels of whole samples"):
        short = remembering(for_stream(whole, window=1), whole, inputs, labels, 0.95)
    label = reference.run(short, inputs).decisions.label
    assert short.provenance["accuracy"] == {"float": 1.0, "integer": float((label == labels).mean())}
    assert short.provenance["memory"]["labels_kept"] < 0.95
