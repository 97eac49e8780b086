"""Blobs on this computer: models, the program that loads any of them (blob_host.c), and what it says of inputs."""

from __future__ import annotations

import random
import subprocess
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from graph_strategies import GRAPH_ENCODERS, random_graph_ensemble
from sne_edge.codegen.layout import state_layout
from strategies import ENCODERS, random_ensemble, random_inputs, with_early, with_vectors

from sne_edge.check import reference
from sne_edge.check.verify import FIELDS, ReferenceEngine
from sne_edge.deploy.blob import make_blobs
from sne_edge.deploy.loader import export_blobs
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Cell, Decoder, Graph, Leak, Population, Projection
from sne_edge.ir.graph_proof import proven
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.neuron import Bound
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.rejection import Rejection
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.quantize.streams import with_memory

HERE = Path(__file__).parent
SANITIZED = ("-std=c99", "-O0", "-g", "-DSNE_PORTABLE", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
TRACED, WRAPPING = ("-DSNE_TRACE",), ("-DSNE_TRACE", "-fwrapv")
TOLD = FIELDS[:9]


class Host(NamedTuple):
    """Models, the folder of their blobs, and a program that loads them; `traced`: it keeps all membranes."""

    models: list[QuantEnsemble]
    folder: Path
    program: Path
    traced: bool


def named(models: list[QuantEnsemble]) -> list[QuantEnsemble]:
    """The same, each with a name of its own."""
    return [msgspec.structs.replace(model, name=f"model{number}") for number, model in enumerate(models)]


def chains() -> list[QuantEnsemble]:
    """Random chains of every encoder, some that end early, reject, or see a window of timesteps; gains as small as
    those of trained ones."""
    made = []
    for number in range(9):
        rng = random.Random(number)
        model = random_ensemble(rng, kind=ENCODERS[number % 3], students=1 + number % 2)
        students = tuple(msgspec.structs.replace(s, gain=np.clip(s.gain, -500, 500)) for s in model.students)
        model = msgspec.structs.replace(model, students=students)
        if number % 3 == 2 or number == 3:
            model = with_early(rng, model)
        else:
            model = msgspec.structs.replace(model, rejection=Rejection(margin=200, spikes=(1, 20)))
        made.append(model)
    seed = 0
    while len(made) < 12:
        found = remembering(random.Random(f"remembering {seed}"), window=1 + seed % 3)
        made += [] if found is None else [found]
        seed += 1
    return named(made)


def remembering(rng: random.Random, window: int) -> QuantEnsemble | None:
    """A random chain of events with readouts that forget; None where their sums have no room for that."""
    model = random_ensemble(rng, kind="events", students=2)
    students = tuple(msgspec.structs.replace(s, gain=np.clip(s.gain, -500, 500)) for s in model.students)
    policy = ActivationPolicy("all")  # without early stops, which such a one has not
    try:
        return with_memory(msgspec.structs.replace(model, students=students, policy=policy), window=window)
    except SneError as error:
        assert any(words in error.message for words in ("limit", "32 bits", "add up over"))
        return None


def graphs(*, wrapping: bool) -> list[QuantEnsemble]:
    """Random graphs of every encoder, chains beside some; `wrapping`: some have sums that no loader can bound."""
    made: list[QuantEnsemble] = []
    seed = 0
    while len(made) < (1 if wrapping else 2) * len(GRAPH_ENCODERS):
        rng = random.Random(f"blobs {seed} {wrapping}")
        model = random_graph_ensemble(
            rng, kind=GRAPH_ENCODERS[len(made) % 4], students=1 + seed % 2, sums=seed % 4 == 3
        )
        bounded = not make_blobs([model], resolve_target("host"))[1].wraps
        if bounded or wrapping:
            made.append(model)
        seed += 1
    return named(made)


def build(models: list[QuantEnsemble], folder: Path, *flags: str) -> Host:
    """Blobs, and the program of their loader under sanitizers. Of one model, the table of kernels has its name."""
    export_blobs(models, "host", folder)
    sources = [*sorted(path.name for path in folder.glob("*.c")), str(HERE / "blob_host.c")]
    name = models[0].identifier if len(models) == 1 else "models"
    command = ["gcc", *SANITIZED, *flags, f"-DKERNELS={name}_kernels", f"-I{folder}"]
    subprocess.run([*command, "-o", "blob_host", *sources], cwd=folder, check=True)
    return Host(models, folder, folder / "blob_host", "-DSNE_TRACE" in flags)


def rows(host: Host, how: str, model: QuantEnsemble, data: np.ndarray, kept: bool) -> np.ndarray:
    """What the program says of a model's inputs, or of a stream's timesteps: int32 [rows, numbers]."""
    (host.folder / "inputs").write_bytes(data.tobytes())
    command = [str(host.program), how, f"{model.identifier}.blob", "inputs"]
    done = subprocess.run(command, cwd=host.folder, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b""), done.stderr.decode()[-2000:]
    width = len(TOLD) + len(model.classes) + max(1, len(model.spike_layers)) + kept * state_layout(model).kept // 4
    return np.frombuffer(done.stdout, "<i4").reshape(-1, width)


def split(model: QuantEnsemble, row: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, spike counts and words of membranes of a row."""
    logits, spikes, kept = np.split(row[len(TOLD) :], np.cumsum([len(model.classes), max(1, len(model.spike_layers))]))
    return logits, spikes[: len(model.spike_layers)], kept


def membranes(model: QuantEnsemble, number: int, kept: np.ndarray) -> list[list[int]]:
    """A student's states, by layer or population, of all words of membranes."""
    layout, student = state_layout(model), model.students[number]
    places: list[tuple[int, int, int, int]] = []  # byte, neurons, channels, bits
    plan = layout.graphs[number]
    if plan is not None:
        assert isinstance(student.graph, Graph)
        for p, membrane, current in zip(student.graph.populations, plan.membranes, plan.currents, strict=True):
            places.append((membrane, p.neurons, p.channels, p.width))
            places += [(current, p.neurons, p.channels, p.current_width)] if p.current_width else []
    for stage in layout.stages[number]:
        layer = student.layers[stage.layer]
        if isinstance(layer, SynapticLayer):
            places.append((stage.kept, layer.neurons, layer.channels, layer.width))
    found = []
    for place, neurons, channels, bits in places:
        stride = -(-channels // 4) * 4
        data = kept.tobytes()[place : place + neurons // channels * stride * bits // 8]
        found.append(np.frombuffer(data, f"<i{bits // 8}").reshape(-1, stride)[:, :channels].ravel().tolist())
    return found


def assert_inferences(host: Host, model: QuantEnsemble, inputs: np.ndarray, examined: Counter[str]) -> None:
    """The model's own policy and its students one by one: every number is the reference's."""
    alone = [ActivationPolicy("mask", mask=1 << k) for k in range(len(model.students))]
    told = rows(host, "run", model, inputs, host.traced).reshape(len(inputs), 1 + len(alone), -1)
    engine = ReferenceEngine(model)
    for number, policy in enumerate([model.policy, *alone]):
        want = engine.run(inputs, policy, number - 1 if number else None)
        for sample, row in enumerate(told[:, number]):
            logits, spikes, kept = split(model, row)
            assert row[: len(TOLD)].tolist() == [
                int(np.int64(want.values[name][sample]).astype(np.int32)) for name in TOLD
            ]
            assert logits.tolist() == want.values["logits"][sample].tolist()
            assert spikes.tolist() == want.values["spikes"][sample].tolist()
            examined[model.encoder.kind] += 1
            if row[0] == -1:
                examined["rejected"] += 1
            if host.traced and number:
                found = membranes(model, number - 1, kept)
                assert found == [layer[sample].tolist() for layer in want.membranes]
                examined["membranes"] += sum(map(len, found))


def assert_stream(host: Host, model: QuantEnsemble, steps: np.ndarray, examined: Counter[str]) -> None:
    """A stream of any length: after every timestep, logits are the reference's."""
    told = rows(host, "stream", model, steps, True)
    want = reference.run_stream(model, steps[None])[0]
    assert [split(model, row)[0].tolist() for row in told] == want.tolist()
    examined["timesteps"] += len(steps)


def assert_raster(host: Host, model: QuantEnsemble, sample: np.ndarray, examined: Counter[str]) -> None:
    """An inference's timesteps as a stream: spike counts and states are those of the inference."""
    steps = sample.reshape(model.encoder.timesteps, -1)
    logits, spikes, kept = split(model, rows(host, "stream", model, steps, True)[-1])
    del logits  # of all students, whatever the policy
    engine = ReferenceEngine(model)
    want = engine.run(sample[None], ActivationPolicy("all"), None).values["spikes"][0]
    assert spikes.tolist() == want.tolist()
    for number in range(len(model.students)):
        found = membranes(model, number, kept)
        alone = engine.run(sample[None], ActivationPolicy("mask", mask=1 << number), number)
        assert found == [layer[0].tolist() for layer in alone.membranes]
        examined["streamed membranes"] += sum(map(len, found))


def recurrent() -> QuantEnsemble:
    """96 inputs of events, 128 LIF neurons that see their own spikes, 10 of a synaptic current, whose spikes count."""
    rng, encoder = np.random.default_rng(3), Encoder("events", (1, 1, 96), 8)
    leak, still = Leak("q15", np.array([29000], np.int32)), Bound(0, 0)

    def weights(outputs: int, inputs: int, most: int) -> np.ndarray:
        made: np.ndarray = rng.integers(-most // 2, most, (outputs, inputs)).astype(np.int8)
        return made

    def population(name: str, neurons: int, threshold: int, cell: Cell, *projections: Projection) -> Population:
        return Population(
            name=name,
            shape=(1, 1, neurons),
            neuron=cell,
            bias=np.zeros(neurons, np.int32),
            threshold=np.full(neurons, threshold, np.int32),
            scale=np.ones(neurons),
            projections=projections,
            bound=still,
            **({"current_bound": still} if isinstance(cell.current_leak, Leak) else {}),  # type: ignore[arg-type]
        )

    hidden = population(
        *("hidden", 128, 4000, Cell(Leak("shift", np.array([3], np.int32)))),
        Projection(source=-1, op="linear", weight=weights(128, 96, 100), in_shape=(1, 1, 96)),
        Projection(source=0, op="linear", weight=weights(128, 128, 20), in_shape=(1, 1, 128), delay=1),
    )
    outputs = population(
        *("outputs", 10, 1200, Cell(leak, current_leak=leak)),
        Projection(source=0, op="linear", weight=weights(10, 128, 60), in_shape=(1, 1, 128)),
    )
    decoder = Decoder("count", clamp=(0, 1000), bound=still)
    graph = proven(Graph((hidden, outputs), decoder), encoder)
    students = (QuantStudent((), (), np.ones(10, np.int32), np.zeros(10, np.int32), graph=graph),)
    model = QuantEnsemble(
        name="recurrent",
        encoder=encoder,
        students=students,
        bias=np.zeros(10, np.int32),
        order=(0,),
        classes=tuple(map(str, range(10))),
        logit_scale=1.0,
        policy=ActivationPolicy("all"),
        vectors=no_vectors(encoder, 10, students),
    )
    return with_vectors(model, random_inputs(random.Random(1), model, 8)[:8])
