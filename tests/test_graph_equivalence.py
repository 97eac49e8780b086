"""Graphs in C: every state, spike count, logit and decision is the reference's, on the host and on emulated cores."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import msgspec
import numpy as np
import pytest
from graph_strategies import EVERY_FEATURE, GRAPH_ENCODERS, features, random_graph_ensemble
from sne_edge.codegen.layout import state_layout
from strategies import random_inputs, with_vectors
from test_equivalence import LIF, READOUT, Stream, assert_host, ensemble_of, linear
from test_equivalence_qemu import BOARDS, assert_device
from test_sanitizers import run_harness

from sne_edge.check import reference
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.deploy.analysis import analyze
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.ir import artifact
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Cell, Decoder, Graph, Leak, Population, Projection
from sne_edge.ir.graph_proof import proven
from sne_edge.ir.neuron import Bound
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.link.device import Device

pytestmark = pytest.mark.as_shipped

MANY = 10  # students of one model, since compiling takes longer than running
SEEDS = (0, 1)


def graphs_of(ensemble: QuantEnsemble) -> int:
    return sum(isinstance(student.graph, Graph) for student in ensemble.students)


@cache
def many(kind: EncoderKind, seed: int) -> QuantEnsemble:
    """Many graphs in one model."""
    return random_graph_ensemble(random.Random(f"{kind} {seed}"), kind=kind, students=MANY, chains=seed == 0)


def test_the_graphs_that_the_host_runs_have_every_feature() -> None:
    drawn = [many(kind, seed) for kind in GRAPH_ENCODERS for seed in SEEDS]
    assert sum(map(graphs_of, drawn)) >= 65
    met = sum(map(features, drawn), Counter[str]())
    assert met.keys() >= EVERY_FEATURE, EVERY_FEATURE - met.keys()


@pytest.mark.parametrize("kind", GRAPH_ENCODERS)
def test_host_c_equals_the_reference_at_every_timestep(kind: EncoderKind, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    for seed in SEEDS:
        rng, ensemble = random.Random(f"{kind} {seed}"), many(kind, seed)
        portable = seed % 2 == 1
        assert_host(ensemble, HostModel(ensemble, portable=portable), random_inputs(rng, ensemble, 8), rng, portable)


@pytest.mark.parametrize("seed", range(3))
def test_streaming_step_by_step_equals_running_the_raster(seed: int, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    rng = random.Random(seed)
    ensemble = random_graph_ensemble(rng, kind="events", students=1 + 3 * seed)
    model = Stream(HostModel(ensemble))
    encoder = ensemble.encoder
    for row in random_inputs(rng, ensemble):
        model.stream.reset(model.state)
        raster = encoder.spikes(row[None]).reshape(encoder.timesteps, encoder.size)
        for t in range(encoder.timesteps):
            assert model.step(np.flatnonzero(raster[t]).tolist()) == 0
            want = reference.run(ensemble, row[None], ActivationPolicy("all", timesteps=t + 1))
            result = model.read()
            assert model.logits() == want.decisions.logits[0].tolist()
            assert (result.label, result.margin) == (want.decisions.label[0], want.decisions.margin[0])
            assert model.spikes() == want.spikes[0].tolist()
        traces = [reference.run_student(ensemble, k, row[None]) for k in range(len(ensemble.students))]
        assert model.membranes() == [kept[0].tolist() for trace in traces for kept in trace.membranes]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", GRAPH_ENCODERS)
def test_random_graphs_are_exact_on_every_core(
    kind: EncoderKind, board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    rng = random.Random(f"{kind} {board}")
    ensemble = random_graph_ensemble(rng, kind=kind, students=4)
    assert graphs_of(ensemble) >= 1
    assert_device(ensemble, board, tmp_path, rng, samples=3)


def test_students_that_are_graphs_share_the_code_of_their_timesteps(
    tmp_path: Path, require_tool: Callable[..., None]
) -> None:
    """A copy of it for every student, and for each way of running one, had made code the larger part of a model."""
    require_tool("arm-none-eabi-gcc")
    nine = random_graph_ensemble(random.Random(1), kind="events", students=9, chains=False)
    code = {}
    for count in (1, 9):
        students = nine.students[:1] * count
        alike = msgspec.structs.replace(
            nine, students=students, order=tuple(range(count)), policy=ActivationPolicy("all"), routes=None,
            vectors=no_vectors(nine.encoder, len(nine.classes), students),
        )  # fmt: skip
        made = export(alike, "cortex-m4", tmp_path / str(count))
        code[count] = build_firmware(made, BOARDS[0], tmp_path / f"built{count}", vectors=False).code_bytes
    assert 8 * 100 < code[9] - code[1] < 8 * 700, code


def test_verify_names_the_population_at_which_engines_differ(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    rng = random.Random(5)
    ensemble = random_graph_ensemble(rng, kind="rate", students=2, chains=False)
    inputs = random_inputs(rng, ensemble, 6)
    checks = verify(ensemble, inputs, ReferenceEngine(ensemble), [HostEngine(HostModel(ensemble))])
    assert [check.difference for check in checks] == [None] * len(checks)
    assert sum(check.compared for check in checks) > 500

    class Wrong(ReferenceEngine):
        name = "wrong"

        def run(self, inputs, policy, student):  # type: ignore[no-untyped-def]
            outcome = super().run(inputs, policy, student)
            if student == 1:
                outcome.membranes[-1][0, 0] += 1
            return outcome

    checks = verify(ensemble, inputs, ReferenceEngine(ensemble), [Wrong(ensemble)])
    last = len(ensemble.students[1].graph.populations) - 1  # type: ignore[union-attr]
    assert f"student 1, layer {last}, input 0: " in (checks[-1].difference or "")


def test_analysis_has_a_row_for_every_population_and_the_bytes_that_the_compiler_finds(
    require_tool: Callable[..., None],
) -> None:
    require_tool("cc")
    for seed in range(20):
        ensemble = random_graph_ensemble(random.Random(seed), chains=False)
        report = analyze(ensemble)
        rows = [(n, k) for n, s in enumerate(ensemble.students) for k, _ in enumerate(s.graph.populations)]  # type: ignore[union-attr]
        assert [(row.student, row.layer) for row in report.layers] == rows
        assert report.lower_bound <= report.state_bytes
    HostModel(ensemble)  # compiles only where the state has the bytes that were planned


@pytest.mark.parametrize("kind", GRAPH_ENCODERS)
def test_graphs_are_clean_under_the_sanitizers(
    kind: EncoderKind, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Every buffer at its exact size, a state that was never cleared, errors, and a stream's wrong events."""
    require_tool("gcc")
    rng = random.Random(f"sanitized {kind}")
    ensemble = random_graph_ensemble(rng, kind=kind, students=3)
    ensemble = with_vectors(ensemble, random_inputs(rng, ensemble, 6)[:6])
    assert graphs_of(ensemble) >= 1
    done = run_harness(ensemble, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_neurons_whose_membranes_no_decoder_sees_write_none_beside_their_state(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Spiking outputs with a synaptic current, more of them than a list of rows has entries."""
    require_tool("gcc")
    rng, encoder, classes = np.random.default_rng(0), Encoder("events", (1, 1, 2), 3), 90
    outputs = Population(
        name="outputs",
        shape=(1, 1, classes),
        neuron=Cell(Leak("shift", np.array([1], np.int32)), current_leak=Leak("shift", np.array([1], np.int32))),
        bias=np.zeros(classes, np.int32),
        threshold=np.full(classes, 50, np.int32),
        scale=np.ones(classes),
        projections=(
            Projection(
                source=-1, op="linear", weight=rng.integers(0, 100, (classes, 2)).astype(np.int8), in_shape=(1, 1, 2)
            ),
        ),
        bound=Bound(0, 0),
        current_bound=Bound(0, 0),
    )
    graph = proven(Graph((outputs,), Decoder("count", clamp=(0, 100), bound=Bound(0, 0))), encoder)
    gain, bias = np.ones(classes, np.int32), np.zeros(classes, np.int32)
    students = (QuantStudent((), (), gain, bias, graph=graph),)
    ensemble = QuantEnsemble(
        name="unseen",
        encoder=encoder,
        students=students,
        bias=bias,
        order=(0,),
        classes=tuple(f"class {c}" for c in range(classes)),
        logit_scale=1.0,
        policy=ActivationPolicy("all"),
        vectors=no_vectors(encoder, classes, students),
    )
    ensemble = with_vectors(ensemble, random_inputs(random.Random(0), ensemble, 6)[:6])
    assert ensemble.vectors.spikes.any()
    done = run_harness(ensemble, tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]


def test_a_device_lists_membranes_that_lie_beyond_the_state_of_untraced_firmware(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """A chain's tiles share their place, where no membranes are kept; where they are listed to lie is further on."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    encoder = Encoder("rate", (1, 1, 10), 2)
    hidden = [linear(encoder, n == 0, (1, 1, 10 if n == 0 else 60), 60, LIF) for n in range(6)]
    ensemble = ensemble_of(encoder, [[*hidden, linear(encoder, False, (1, 1, 60), 3, READOUT)]])
    layout = state_layout(ensemble)
    assert layout.head + layout.stages[0][-1].kept > layout.bytes
    board = "mps2-an386"
    directory = export(ensemble, resolve_board(board).target, tmp_path / "export")
    image = build_firmware(directory, board, tmp_path / "firmware")
    with Device.open(f"qemu:{board}", image.elf, fingerprint=artifact.fingerprint(ensemble)) as device:
        assert [layer.neurons for layer in device.layers()] == [*[60] * 6, 3]
