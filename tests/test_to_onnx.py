"""ONNX models: checked in full, run by onnxruntime to the reference's integers, and ordinary enough for any reader."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx
import pytest
from graph_strategies import EVERY_FEATURE, features, random_graph_ensemble
from hypothesis import given
from hypothesis import strategies as st
from models import tiny_ensemble
from onnx.reference import ReferenceEvaluator
from strategies import every_policy, examples, random_ensemble, random_inputs

from sne_edge.check import reference
from sne_edge.check.verify import ReferenceEngine, verify
from sne_edge.errors import SneError
from sne_edge.interchange import onnx_engine
from sne_edge.interchange.onnx_engine import OnnxEngine, hard_inputs, samples_of, session
from sne_edge.interchange.onnx_nodes import Nodes
from sne_edge.interchange.onnx_run import draws
from sne_edge.interchange.to_onnx import parts_of, to_onnx
from sne_edge.ir.artifact import fingerprint, load, save
from sne_edge.ir.chain import as_graph
from sne_edge.ir.encoder import Encoder, input_channels
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import INPUT, Cell, Decoder, Graph, Leak, Population, Projection
from sne_edge.ir.graph_proof import proven
from sne_edge.ir.layers import AvgPool
from sne_edge.ir.neuron import Bound
from sne_edge.ir.policy import ActivationPolicy, format_policy
from sne_edge.ir.rejection import MOST, NONE, WHOLE, Rejection
from sne_edge.ir.schedule import STOPS
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

CHAINS, GRAPHS = 100, 80
SAMPLES = 40  # what takes time is to make a model and to open it, not to run it


def checked(model: Any) -> Any:
    """A model that the checker accepts, with strict inference of every type and shape."""
    onnx.checker.check_model(model, full_check=True)
    return model


def outputs(model: Any, inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Outputs by name; of a model for one sample, of one after the other."""
    ready = session(checked(model))
    rows = [inputs[n : n + 1] for n in range(len(inputs))] if ready.get_inputs()[0].shape[0] == 1 else [inputs]
    found = [ready.run(None, {"input": row}) for row in rows]
    return {o.name: np.concatenate([f[n] for f in found]) for n, o in enumerate(ready.get_outputs())}


def nodes_of(graph: Any) -> Iterator[Any]:
    """Every node, of inner graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from nodes_of(attribute.g)


def assert_students(ensemble: QuantEnsemble, inputs: np.ndarray, examined: Counter[str]) -> None:
    """Every student's membranes, currents, spikes and logits, and the ensemble's decisions under its own policy."""
    got, want = OnnxEngine(ensemble), ReferenceEngine(ensemble)
    alone = [(ActivationPolicy("mask", mask=1 << k), k) for k in range(len(ensemble.students))]
    for policy, student in [*alone, (ensemble.policy, None)]:
        found, expected = (engine.run(inputs, policy, student) for engine in (got, want))
        for name, values in found.values.items():
            np.testing.assert_array_equal(values, expected.values[name], err_msg=f"student {student} {name}")
            examined["numbers"] += values.size
        for mine, theirs in zip(found.membranes, expected.membranes, strict=student is not None):
            np.testing.assert_array_equal(mine, theirs, err_msg=f"student {student}")
            examined["numbers"] += mine.size


def assert_policies(ensemble: QuantEnsemble, rng: random.Random, inputs: np.ndarray, examined: Counter[str]) -> None:
    """Decisions under the ensemble's own policy and one of each kind, and a cascade whose margin a sample just has."""
    first = reference.run(ensemble, inputs, ActivationPolicy("first", students=1)).decisions.margin
    exact = ActivationPolicy("cascade", margins=(int(rng.choice(first)),) * (len(ensemble.students) - 1))
    for policy in (*every_policy(rng, ensemble), exact):
        want = reference.run(ensemble, inputs, policy).decisions
        found = outputs(to_onnx(ensemble, policy=policy, encoded=True), samples_of(ensemble.encoder, inputs))
        for name, values in found.items():
            np.testing.assert_array_equal(values, getattr(want, name), err_msg=f"{format_policy(policy)} {name}")
        examined[policy.kind] += 1
        for stop in want.stop if "stop" in found else ():
            examined[f"ended: {STOPS[stop]}"] += 1
        if ensemble.rejection is not msgspec.UNSET:
            examined["rejected"] += int((want.label == NONE).sum())
            examined["accepted"] += int((want.label != NONE).sum())


KINDS = dict.fromkeys(("all", "first", "mask", "cascade", "budget", "routed"), 20)


@pytest.mark.examines(networks=CHAINS, numbers=300_000)
@examples(CHAINS)
@given(seed=st.integers(0, 2**32 - 1))
def test_chains_give_the_reference_s_spikes_membranes_and_logits(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    ensemble = random_ensemble(rng)
    assert_students(ensemble, random_inputs(rng, ensemble, SAMPLES), examined)
    examined["networks"] += 1


@pytest.mark.examines(networks=GRAPHS, numbers=300_000, **dict.fromkeys(EVERY_FEATURE, 2))
@examples(GRAPHS)
@given(seed=st.integers(0, 2**32 - 1))
def test_graphs_give_the_reference_s_spikes_states_and_logits(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    ensemble = random_graph_ensemble(rng)
    assert_students(ensemble, random_inputs(rng, ensemble, SAMPLES), examined)
    for feature in EVERY_FEATURE & features(ensemble).keys():
        examined[feature] += 1
    examined["networks"] += 1


def with_rejection(rng: random.Random, ensemble: QuantEnsemble, inputs: np.ndarray) -> QuantEnsemble:
    """The ensemble with a rule whose limits are right at what its own policy makes of some of the inputs."""
    made = reference.run(ensemble, inputs)
    span = np.ptp(made.decisions.logits, axis=1)
    ratio = made.decisions.margin * WHOLE // np.maximum(span, 1)
    fired = made.spikes.sum(axis=1) // made.decisions.students_run

    def at(values: np.ndarray, otherwise: int) -> int:
        return int(rng.choice(values)) if rng.random() < 0.4 else otherwise

    low, high = at(fired, 0), at(fired, MOST)
    rule = Rejection(at(ratio, 0), (min(low, high), max(low, high)), at(made.decisions.margin, 0))
    return msgspec.structs.replace(ensemble, rejection=rule)


@pytest.mark.examines(networks=30, rejected=100, accepted=100, **KINDS, **{f"ended: {stop}": 25 for stop in STOPS})
@examples(30)
@given(seed=st.integers(0, 2**32 - 1))
def test_every_policy_decides_as_the_scheduler(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    while True:
        ensemble = random_ensemble(rng) if rng.random() < 0.5 else random_graph_ensemble(rng, students=3)
        if ensemble.routes is not None and len(ensemble.students) > 1:
            break
    inputs = random_inputs(rng, ensemble)
    if rng.random() < 0.5:
        ensemble = with_rejection(rng, ensemble, inputs)
    assert_policies(ensemble, rng, inputs, examined)
    examined["networks"] += 1


@pytest.mark.examines(samples=400, **{"by channel": 10})
@examples(40)
@given(seed=st.integers(0, 2**32 - 1))
def test_raw_samples_are_encoded_as_on_the_way_to_the_device(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    ensemble = random_graph_ensemble(rng, kind=rng.choice(("direct", "rate", "frames")), chains=False)
    scale, offset = rng.choice((1.0, 0.1, 0.037, 1 / 128)), rng.choice((0.0, 0.3, -7.0))
    many = input_channels(ensemble.encoder.shape)
    if many > 1 and rng.random() < 0.6:  # of units of their own
        scale, offset = tuple(scale * 3.7**n for n in range(many)), rng.choice((offset, (offset,) * many))
        examined["by channel"] += 1
    encoder = msgspec.structs.replace(ensemble.encoder, scale=scale, offset=offset)
    ensemble = msgspec.structs.replace(ensemble, encoder=encoder)
    steps = (encoder.timesteps,) if encoder.kind == "frames" else ()
    numbers = np.random.default_rng(rng.getrandbits(32))
    halves = numbers.integers(-300, 301, (10, *steps, *encoder.shape)) / 2  # rint's ties, and values beyond the ends
    raw = encoder.real(halves).astype(np.float32)
    want = reference.run(ensemble, encoder.encode(raw), ActivationPolicy("all")).decisions
    found = outputs(to_onnx(ensemble, policy=ActivationPolicy("all")), raw)
    np.testing.assert_array_equal(found["logits"], want.logits)
    np.testing.assert_array_equal(found["label"], want.label)
    examined["samples"] += len(raw)


@pytest.mark.examines(timesteps=200, states=200, resting=40, delays=8, rates=30)
@examples(40)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_step_at_a_time_is_the_whole_run_and_starts_at_rest(examined: Counter[str], seed: int) -> None:
    rng = random.Random(seed)
    ensemble = random_graph_ensemble(rng, kind=rng.choice(("events", "frames", "direct", "rate")))
    encoder = ensemble.encoder
    for number in range(len(ensemble.students)):
        inputs = random_inputs(rng, ensemble)[rng.randrange(6) :][:1]
        ready = session(checked(to_onnx(ensemble, f"step:{number}", encoded=True)))
        graph, states = as_graph(ensemble.students[number]), dict[str, np.ndarray]()
        row, spikes = samples_of(encoder, inputs), 0
        for t in range(encoder.timesteps):
            x = row[:, t] if encoder.streams else row
            examined["rates"] += encoder.kind == "rate"
            names = [output.name for output in ready.get_outputs()]
            made = dict(zip(names, ready.run(None, {"input": x, **states}), strict=True))
            states = {name.removesuffix(".next"): value for name, value in made.items() if name.endswith(".next")}
            want = reference.run_student(ensemble, number, inputs, t + 1)
            np.testing.assert_array_equal(made["logits"], want.part)
            if "spikes" in made:
                spikes = spikes + made["spikes"]
                np.testing.assert_array_equal(spikes, want.spikes)
            if encoder.kind != "direct" and isinstance(ensemble.students[number].graph, Graph):
                assert_states(graph, states, want.membranes)
                examined["states"] += len(want.membranes)
            examined["timesteps"] += 1
        examined["resting"] += 1
        examined["delays"] += any(name.endswith("/spikes") and value.shape[1] > 1 for name, value in states.items())


def assert_states(graph: Graph, states: dict[str, np.ndarray], want: tuple[np.ndarray, ...]) -> None:
    """What a step leaves is what the device keeps, less the bias."""
    expected = iter(want)
    for n, population in enumerate(graph.populations):
        cuba = bool(population.current_width)
        for kind in ("membrane", "current")[: 1 + cuba]:
            state = states[f"{n}/{kind}"]
            flat = (np.moveaxis(state, 1, -1) if state.ndim == 4 else state).reshape(1, -1)
            bias = (
                0
                if (kind == "membrane") == cuba
                else np.tile(population.bias, population.neurons // population.bias.size)
            )
            np.testing.assert_array_equal(flat + bias, next(expected))


def counting(pools: tuple[AvgPool, ...], weight: np.ndarray, bias: int, threshold: int, steps: int) -> QuantEnsemble:
    """Spikes through average poolings into neurons that leak, and a readout of these."""
    shape, neurons = pools[0].in_shape, len(weight)
    encoder = Encoder("events" if steps > 1 else "rate", shape, steps)
    hidden = Population(
        "hidden", (1, 1, neurons), (Projection(INPUT, shape, "linear", weight, pools=pools),),
        Cell(Leak("shift", np.array([1], np.int32)), True, "zero"), np.full(neurons, bias, np.int32), np.ones(neurons),
        Bound(0, 0), np.full(neurons, threshold, np.int32),
    )  # fmt: skip
    last = Population(
        "out", (1, 1, neurons), (Projection(0, hidden.shape, "linear", np.eye(neurons, dtype=np.int8)),),
        Cell(Leak("shift", np.array([3], np.int32)), False, "none"), np.zeros(neurons, np.int32), np.ones(neurons),
        Bound(0, 0),
    )  # fmt: skip
    made = proven(Graph((hidden, last), Decoder("membrane", "final")), encoder)
    student = QuantStudent((), (), np.ones(neurons, np.int32), np.zeros(neurons, np.int32), graph=made)
    return QuantEnsemble(
        name="counts", encoder=encoder, students=(student,), bias=np.zeros(neurons, np.int32), order=(0,),
        classes=tuple(map(str, range(neurons))), logit_scale=1.0, policy=ActivationPolicy("all"),
        vectors=no_vectors(encoder, neurons, [student]),
    )  # fmt: skip


@pytest.mark.parametrize(("kernel", "times"), [(16, 1), (17, 1), (20, 2)])
def test_counts_of_more_than_a_byte_are_exact(kernel: int, times: int) -> None:
    shape, pools = (40, 40, 1), ()
    for _ in range(times):
        out = (shape[0] - kernel + 1, shape[1] - kernel + 1, 1)
        pools += (AvgPool(shape, out, (kernel, kernel), (1, 1)),)
        shape = out
    rng = np.random.default_rng(kernel)
    weight = rng.integers(-128, 128, (3, shape[0] * shape[1]), dtype=np.int8)
    ensemble = counting(pools, weight >> (4 * (times - 1)), 5, 20 * kernel ** (2 * times - 1), 2)
    inputs = hard_inputs(ensemble.encoder)
    most = kernel ** (2 * times)
    assert most > 255 and 10 < reference.run(ensemble, inputs).spikes.sum() < 2 * 3 * len(inputs) - 10
    model = to_onnx(ensemble, "student:0", encoded=True)
    digits = [node for node in nodes_of(model.graph) if node.op_type == "Mod" and "digit" in node.name]
    assert len(digits) >= (2 if times == 1 else 3)
    assert_students(ensemble, inputs, Counter())


def test_sums_that_fit_only_together_with_the_bias_are_exact() -> None:
    shape, pools = (60, 60, 1), ()
    for _ in range(3):
        out = (shape[0] - 19, shape[1] - 19, 1)
        pools += (AvgPool(shape, out, (20, 20), (1, 1)),)
        shape = out
    weight = np.zeros((2, 9), np.int8)
    weight[0, 4], weight[1, 4] = 34, -4
    ensemble = counting(pools, weight, -(2**30) + 1, 2**29, 1)
    model = to_onnx(ensemble, "student:0", encoded=True)
    assert any(node.name.endswith("/wide sum") for node in nodes_of(model.graph))
    inputs = hard_inputs(ensemble.encoder)
    assert 0 < reference.run(ensemble, inputs).spikes.sum() < 2 * len(inputs)
    assert_students(ensemble, inputs, Counter())


def test_weights_and_values_are_unsigned_so_that_no_runtime_adds_them_in_16_bits() -> None:
    model = to_onnx(tiny_ensemble(), encoded=True)
    known = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    products = [node for node in nodes_of(model.graph) if node.op_type in ("MatMulInteger", "ConvInteger")]
    assert len(products) >= 3
    for node in products:
        assert known[node.input[1]].dtype == known[node.input[3]].dtype == np.uint8
        assert known[node.input[3]] == 128


@pytest.mark.examines(nodes=300)
def test_a_model_is_ordinary_named_and_small(examined: Counter[str], tiny: QuantEnsemble) -> None:
    for part in parts_of(tiny):
        model = checked(to_onnx(tiny, part))
        every = list(nodes_of(model.graph))
        assert [opset.domain for opset in model.opset_import] == [""] and not model.functions
        names = [node.name for node in every]
        assert all(names) and len(set(names)) == len(names)
        assert len(every) < 130 * len(tiny.students)
        assert not {node.op_type for node in every} & {"MatMul", "Conv", "Gemm", "QLinearConv", "QLinearMatMul"}
        examined["nodes"] += len(every)
        facts = {entry.key: entry.value for entry in model.metadata_props}
        assert facts["fingerprint"] == fingerprint(tiny) and tuple(json.loads(facts["classes"])) == tiny.classes
        assert facts["part"] == part and "encoder" in facts
        assert ("states" in facts) == (part != "whole") and ("policy" in facts) == (part == "whole")
        assert model.SerializeToString(deterministic=True) == to_onnx(tiny, part).SerializeToString(deterministic=True)


def test_a_cascade_runs_no_student_that_it_does_not_wake(tiny: QuantEnsemble) -> None:
    model = to_onnx(tiny, policy=ActivationPolicy("cascade", margins=(0,) * (len(tiny.students) - 1)), encoded=True)
    loops = [node for node in model.graph.node if node.op_type == "Loop"]
    assert len(loops) == 1 and not any(node.op_type == "Scan" for node in model.graph.node)
    inside = next(a.g for a in loops[0].attribute if a.name == "body")
    branches = [node for node in inside.node if node.op_type == "If"]
    assert len(branches) == len(tiny.students)
    for branch in branches:
        graphs = {a.name: a.g for a in branch.attribute}
        assert any(n.op_type == "Scan" for n in graphs["then_branch"].node)
        assert {n.op_type for n in graphs["else_branch"].node} == {"Identity"}
    found = outputs(model, samples_of(tiny.encoder, tiny.vectors.inputs))
    assert set(found["students_run"]) == {1} and set(found["stop"]) == {STOPS.index("margin")}


def padded(node: Any) -> bool:
    return any(any(attribute.ints) for attribute in node.attribute if attribute.name == "pads")


@pytest.mark.examines(students=40, logits=2000)
def test_another_runtime_gives_the_same_integers(examined: Counter[str]) -> None:
    for seed in range(24):
        rng = random.Random(seed)
        ensemble = random_graph_ensemble(rng) if seed % 2 else random_ensemble(rng)
        inputs = random_inputs(rng, ensemble)
        for number in range(len(ensemble.students)):
            model = to_onnx(ensemble, f"student:{number}", encoded=True)
            if any(node.op_type == "MaxPool" and padded(node) for node in nodes_of(model.graph)):
                continue  # onnx's own runtime takes the paddings of the two axes for each other's
            runtime = ReferenceEvaluator(model)
            given = {"input": samples_of(ensemble.encoder, inputs)}
            found = dict(zip(runtime.output_names, runtime.run(None, given), strict=True))
            want = reference.run_student(ensemble, number, inputs)
            np.testing.assert_array_equal(found["logits"], want.part)
            if "spikes" in found:
                np.testing.assert_array_equal(found["spikes"], want.spikes)
            examined["students"] += 1
            examined["logits"] += want.part.size


@pytest.mark.parametrize("timesteps", [0, -1, 4])
def test_timesteps_that_a_model_does_not_have_are_refused(tiny: QuantEnsemble, timesteps: int) -> None:
    with pytest.raises(SneError, match=f"{timesteps} timesteps are asked for"):
        to_onnx(tiny, "student:0", timesteps=timesteps)


def test_a_difference_is_found_and_named(tiny: QuantEnsemble, monkeypatch: pytest.MonkeyPatch) -> None:
    def damaged(ensemble: QuantEnsemble, part: str = "whole", **options: Any) -> Any:
        model = to_onnx(ensemble, part, **options)
        for tensor in model.graph.initializer:
            if tensor.name == "student0/0/threshold":
                raised = onnx.numpy_helper.to_array(tensor) + 1
                tensor.CopyFrom(onnx.numpy_helper.from_array(raised, tensor.name))
        return model

    monkeypatch.setattr(onnx_engine, "to_onnx", damaged)
    checks = verify(tiny, hard_inputs(tiny.encoder), ReferenceEngine(tiny), [OnnxEngine(tiny)])
    assert "student 0" in (checks[-1].difference or "")


@pytest.mark.parametrize("part", ["student:3", "student", "step:-1", "students", "whole:1", "student:x", ""])
def test_a_part_that_is_not_there_is_refused(tiny: QuantEnsemble, part: str) -> None:
    with pytest.raises(SneError, match="there is no part"):
        to_onnx(tiny, part)


def test_what_one_file_cannot_hold_is_refused() -> None:
    encoder = Encoder("rate", (1, 255, 255), 65535)
    with pytest.raises(SneError, match="too many numbers for a table"):
        draws(Nodes(), encoder, encoder.timesteps)


def command(*arguments: str | Path, before: str = "") -> subprocess.CompletedProcess[str]:
    script = f"{before}\nfrom sne_edge.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=300
    )


def test_the_command_writes_a_file_that_gives_the_golden_logits_and_needs_no_torch(
    tmp_path: Path, tiny: QuantEnsemble
) -> None:
    save(tiny, tmp_path / "tiny.sne")
    hidden = "import sys; sys.modules['torch'] = None"
    made = command(
        "export", tmp_path / "tiny.sne", "--format", "onnx", "-o", tmp_path / "t.onnx", "--int8-input", before=hidden
    )
    assert made.returncode == 0, made.stderr
    found = outputs(onnx.load(tmp_path / "t.onnx"), samples_of(tiny.encoder, tiny.vectors.inputs))
    np.testing.assert_array_equal(found["logits"], tiny.vectors.logits)
    np.testing.assert_array_equal(found["active"], tiny.vectors.active)
    made = command(
        "export", tmp_path / "tiny.sne", "--format", "onnx", "--part", "all", "-o", tmp_path / "all", before=hidden
    )
    assert made.returncode == 0, made.stderr
    assert len(list((tmp_path / "all").iterdir())) == len(parts_of(tiny)) == 1 + 2 * len(tiny.students)


def test_verify_on_onnx_compares_and_says_so(tmp_path: Path, tiny: QuantEnsemble) -> None:
    save(tiny, tmp_path / "tiny.sne")
    done = command("verify", tmp_path / "tiny.sne", "--on", "onnx", "--json")
    assert done.returncode == 0, done.stderr
    checks = json.loads(done.stdout)
    assert [check["engine"] for check in checks] == ["reference", "onnx", "onnx"]
    assert all(check["difference"] is None for check in checks) and checks[-1]["compared"] > 8_000
    assert checks[-1]["inputs"] == len(tiny.vectors.inputs) + len(hard_inputs(tiny.encoder))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--format", "tflite"], "there is no format 'tflite'"),
        (["--format", "onnx", "--target", "cortex-m4"], "--target has no meaning for the format onnx"),
        (["--part", "whole"], "--part has no meaning for the format c"),
        (["--format", "onnx", "--part", "student:9"], "there is no part 'student:9'"),
        (["--format", "onnx", "--part", "student:0", "--policy", "all"], "--policy has no meaning"),
        (["--format", "onnx", "--policy", "first:9"], "9 students are not in 1.."),
        (["--format", "onnx", "-o", "/dev/null/x.onnx"], "cannot write"),
    ],
)
def test_what_makes_no_sense_is_refused_and_leaves_no_file(tmp_path: Path, arguments: list[str], words: str) -> None:
    output = [] if "-o" in arguments else ["-o", str(tmp_path / "out")]
    done = command("export", "mnist1d", *arguments, *output)
    assert done.returncode == 1 and done.stderr.startswith("error: ") and "\nhint: " in done.stderr
    assert words in done.stderr and "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_shipped_model_is_the_same_in_onnx() -> None:
    ensemble = load("mnist1d")
    every = samples_of(ensemble.encoder, ensemble.vectors.inputs)
    found = outputs(to_onnx(ensemble, encoded=True), every)
    np.testing.assert_array_equal(found["logits"], ensemble.vectors.logits)
    np.testing.assert_array_equal(found["active"], ensemble.vectors.active)


def test_the_example_in_the_documents_runs(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "docs" / "EXPORT.md").read_text(encoding="utf-8")
    block = text.split("```python\n")[1].split("```")[0]
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
