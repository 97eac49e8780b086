"""Equivalence: scalar oracle, integer reference and generated C agree on every number at every timestep."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import oracle
import pytest
from builds import QUICK, optimised
from hypothesis import given
from hypothesis import strategies as st
from sne_edge.codegen.layout import state_layout
from sne_edge.codegen.sizes import MAX_ROWS
from strategies import (
    ENCODERS,
    ensembles,
    every_policy,
    examples,
    proven,
    random_ensemble,
    random_inputs,
    random_routes,
    traits,
)

from sne_edge.check import reference
from sne_edge.deploy import host, library
from sne_edge.deploy.export import render
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.targets import Target
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder, EncoderKind, Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, Pair, size, window_out
from sne_edge.ir.limits import MAX_ROW
from sne_edge.ir.neuron import INT16, Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.schedule import STOPS
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

WIDTHS = (None, 16, 32)
SEEDS = st.integers(0, 2**32 - 1)
LIF = Neuron("lif", Decay("shift", 2))
READOUT = Neuron("li", Decay("q15", 30000), reset="none")


pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.as_shipped]


def assert_student(ensemble: QuantEnsemble, number: int, inputs: np.ndarray) -> list[oracle.Trace]:
    """Oracle and reference agree on one student, at every timestep of every sample; returns the oracle's traces."""
    traces = [oracle.run_student(ensemble, number, row.tolist(), ensemble.encoder.timesteps) for row in inputs]
    for t in range(1, ensemble.encoder.timesteps + 1):
        got = reference.run_student(ensemble, number, inputs, t)
        for i, trace in enumerate(traces):
            steps = trace.steps[:t]
            assert [membrane[i].tolist() for membrane in got.membranes] == steps[-1].membranes
            assert got.spikes[i].tolist() == [sum(counts) for counts in zip(*(s.spikes for s in steps), strict=True)]
            assert got.synaptic_ops[i] == oracle.spent(steps)
            assert got.macs[i] == trace.macs
    assert got.part.tolist() == [trace.part for trace in traces]
    assert got.layer_ops.sum(axis=1).tolist() == [trace.synaptic_ops + trace.macs for trace in traces]
    assert got.neuron_updates == traces[0].neuron_updates
    return traces


def assert_decisions(ensemble: QuantEnsemble, policy: ActivationPolicy, inputs: np.ndarray) -> None:
    """Oracle and reference take the same decisions."""
    timesteps = policy.timesteps or ensemble.encoder.timesteps
    got = reference.run(ensemble, inputs, policy)
    for i, row in enumerate(inputs):
        traces = [oracle.run_student(ensemble, k, row.tolist(), timesteps) for k in range(len(ensemble.students))]
        want = oracle.decide(ensemble, policy, traces)
        assert got.decisions.logits[i].tolist() == want.logits
        assert STOPS[got.decisions.stop[i]] == want.stop
        for name in ("label", "margin", "active", "students_run", "timesteps"):
            assert getattr(got.decisions, name)[i] == getattr(want, name), name
        for name in ("synaptic_ops", "macs", "neuron_updates"):
            assert getattr(got, name)[i] == getattr(want, name), name


def assert_host(
    ensemble: QuantEnsemble, model: HostModel, inputs: np.ndarray, rng: random.Random, portable: bool = False
) -> None:
    """Generated C and reference agree: each student alone at every timestep, then every kind of policy. C that keeps
    membranes is compiled quickly, and agrees with `model`, as users have it."""
    with optimised(QUICK):
        traced = HostModel(ensemble, trace=True, portable=portable)
    for number in range(len(ensemble.students)):
        for t in range(1, ensemble.encoder.timesteps + 1):
            policy = ActivationPolicy("mask", mask=1 << number, timesteps=t)
            batch, kept = model.run(inputs, policy), traced.run(inputs, policy, states=True)
            np.testing.assert_array_equal(batch.logits, kept.logits)
            want = reference.run_student(ensemble, number, inputs, t)
            pairs = zip(traced.layers, traced.membranes(kept), strict=True)
            got = [membranes for layer, membranes in pairs if layer.student == number]
            for mine, theirs in zip(got, want.membranes, strict=True):
                np.testing.assert_array_equal(mine, theirs)
            spiking = [i for i, (student, _) in enumerate(ensemble.spike_layers) if student == number]
            np.testing.assert_array_equal(batch.spikes[:, spiking], want.spikes)
            np.testing.assert_array_equal(batch.logits, want.part + ensemble.bias)
    for policy in every_policy(rng, ensemble):
        batch, result = model.run(inputs, policy), reference.run(ensemble, inputs, policy)
        for name in ("logits", "label", "margin", "active", "students_run", "stop", "timesteps"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(result.decisions, name), err_msg=name)
        for name in ("spikes", "synaptic_ops", "macs", "neuron_updates"):
            np.testing.assert_array_equal(getattr(batch, name), getattr(result, name), err_msg=name)


@pytest.mark.parametrize("width", WIDTHS)
def test_reference_equals_the_scalar_oracle_at_every_timestep(width: Any) -> None:
    seen = Counter[str]()

    @examples(40)
    @given(ensembles(width=width), SEEDS)
    def check(ensemble: QuantEnsemble, seed: int) -> None:
        inputs = random_inputs(random.Random(seed), ensemble, 6)
        for number in range(len(ensemble.students)):
            assert_student(ensemble, number, inputs)
        seen.update(traits(ensemble))

    check()
    assert seen["network"] >= 40 and seen.keys() >= {"linear", "conv", "depthwise", "avgpool", "maxpool"}, seen
    assert seen["shifted to 16"] + seen["shifted to 32"] > 4, seen


def test_reference_takes_the_oracles_decisions_under_every_policy() -> None:
    seen = Counter[str]()

    @examples(25)
    @given(ensembles(), SEEDS)
    def check(ensemble: QuantEnsemble, seed: int) -> None:
        rng = random.Random(seed)
        inputs = random_inputs(rng, ensemble, 6)[:6]
        for policy in every_policy(rng, ensemble):
            assert_decisions(ensemble, policy, inputs)
            seen[policy.kind] += 1

    check()
    assert seen["all"] >= 25 and seen.keys() == {"all", "first", "mask", "cascade", "budget", "routed"}, seen


@pytest.mark.parametrize("width", WIDTHS)
def test_host_c_equals_the_reference_at_every_timestep(width: Any, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    seen = Counter[str]()

    @examples(9)
    @given(ensembles(width=width), SEEDS, st.booleans())
    def check(ensemble: QuantEnsemble, seed: int, portable: bool) -> None:
        rng = random.Random(seed)
        model = HostModel(ensemble, portable=portable)
        assert_host(ensemble, model, random_inputs(rng, ensemble, 8), rng, portable)
        seen.update(traits(ensemble))

    check()
    assert seen["network"] >= 9 and seen.keys() >= {"linear", "conv"}, seen


POOLINGS = {"avg": AvgPool, "max": MaxPool}


@pytest.mark.parametrize("order", ["am", "ma", "aam", "ama", "mam", "aamma", "maa"])
def test_poolings_in_any_order_are_exact(order: str, require_tool: Callable[..., None]) -> None:
    """Average poolings before a maximum take every second or third input alone: what they pass on must be binary."""
    require_tool("cc")
    encoder = Encoder("events", (9, 90, 1), 3)
    ensemble = ensemble_of(encoder, [pooled(encoder, order, then) for then in ("linear", "conv", "depthwise")])
    rng = random.Random(order)
    inputs = random_inputs(rng, ensemble, 8)
    model = HostModel(ensemble)
    for number in range(3):
        assert_student(ensemble, number, inputs[:3])
        assert model.run(inputs, ActivationPolicy("mask", mask=1 << number)).synaptic_ops.any()
    assert_host(ensemble, model, inputs, rng)


def pooled(encoder: Encoder, order: str, then: str) -> list[Layer]:
    """Poolings in that order, a layer, and a readout."""
    rng = random.Random(order + then)
    shape, layers, multiplicity = encoder.shape, list[Layer](), 1
    for place, kind in enumerate(order):
        single = kind == "a" and "m" in order[place:]
        kernel = (1, 1) if single else (1, rng.choice((2, 3)))
        stride = (rng.choice((1, 2)), rng.choice((2, 3))) if single else (1, rng.choice((1, 2)))
        out = (*window_out(shape, kernel, stride, (0, 0)), 1)
        layers.append(POOLINGS["avg" if kind == "a" else "max"](shape, out, kernel, stride))
        multiplicity = multiplicity * kernel[1] if kind == "a" else 1
        shape = out
    if then != "linear":
        kind_of = Conv if then == "conv" else Depthwise
        layer = kind_of(
            in_shape=shape,
            out_shape=shape,
            weight=np.random.default_rng(1).integers(-60, 61, (1, 1, 1, 1), dtype=np.int8),
            bias=np.full(1, 3, np.int32),
            threshold=np.full(1, 40, np.int32),
            scale=np.ones(1),
            neuron=LIF,
            bound=Bound(0, 0),
        )
        layers.append(proven(layer, encoder, False, multiplicity))
        multiplicity = 1
    readout = msgspec.structs.replace(READOUT, clamp=(-(2**20), 2**20))
    return [*layers, proven(linear(encoder, False, shape, 3, readout), encoder, False, multiplicity)]


BLOCKS = 252  # outputs that every block of the host's kernels gets a part of
WIDE = {
    "subtract": Neuron("lif", Decay("shift", 1)),
    "zero": Neuron("lif", Decay("q15", 21000), reset="zero", clamp=(-900, 500)),
    "delayed": Neuron("lif", Decay("q15", 32767), reset_delay=True, clamp=(-3000, 2000)),
    "if": Neuron("if", clamp=(-9000, 9000)),
    "32 bits": Neuron("lif", Decay("q15", 32767), clamp=(-70000, 70000)),
}


@pytest.mark.parametrize("portable", [False, True])
@pytest.mark.parametrize("kind", ["direct", "events"])
def test_wide_layers_are_exact_in_the_host_kernels_and_the_portable_ones(
    kind: EncoderKind, portable: bool, require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    rng = random.Random(2)
    encoder = Encoder(kind, (1, 1, 60), 4)
    students: list[list[Layer]] = []
    for neuron in WIDE.values():
        first = linear(encoder, True, encoder.shape, BLOCKS, neuron)
        weight = first.weight // (100 if kind == "direct" else 4)
        first = proven(msgspec.structs.replace(first, weight=weight), encoder)
        readout = linear(encoder, False, first.out_shape, 20, READOUT)
        students.append([first, readout])
    shape = (1, 3, 20)  # positions that begin at any bit of a word
    image = Encoder(kind, shape, 4)
    assert {student[0].bound.width for student in students} == {16, 32}
    conv = Conv(
        in_shape=shape,
        out_shape=(1, 3, 44),
        weight=np.random.default_rng(1).integers(-30, 31, (44, 20, 1, 3), dtype=np.int8),
        bias=np.arange(44, dtype=np.int32),
        threshold=np.full(44, 70, np.int32),
        scale=np.ones(44),
        neuron=WIDE["subtract"],
        bound=Bound(0, 0),
        padding=(0, 1),
    )
    convolved = [proven(conv, image), linear(image, False, conv.out_shape, 20, READOUT)]
    for ensemble in (ensemble_of(encoder, students), ensemble_of(image, [convolved])):
        inputs = random_inputs(rng, ensemble, 8)
        model = HostModel(ensemble, portable=portable)
        assert_host(ensemble, model, inputs, rng, portable)
        assert model.run(inputs).spikes.any()


def test_results_are_the_same_for_any_number_of_threads(three_students: tuple[QuantEnsemble, HostModel]) -> None:
    ensemble, model = three_students
    inputs = np.resize(random_inputs(random.Random(3), ensemble, 8), (451, ensemble.encoder.input_bytes))
    one = model.run(inputs, threads=1)
    for threads in (2, 3, 7, None):
        many = model.run(inputs, threads=threads)
        for name in host.Batch.__dataclass_fields__.keys() - {"states"}:
            np.testing.assert_array_equal(getattr(one, name), getattr(many, name), err_msg=name)


@pytest.mark.parametrize("seed", range(6))
def test_streaming_step_by_step_equals_running_the_raster(seed: int, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    rng = random.Random(seed)
    ensemble = random_ensemble(rng, kind="events")
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
        want_membranes = [membranes[0].tolist() for trace in traces for membranes in trace.membranes]
        assert model.membranes() == want_membranes


def test_streaming_refuses_bad_events_and_leaves_the_state(require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    ensemble = random_ensemble(random.Random(3), kind="events")
    model = Stream(HostModel(ensemble))
    model.stream.reset(model.state)
    assert model.step([0]) == 0
    before = model.bytes()
    for events in ([ensemble.encoder.size], [0, 65535], [0] * (ensemble.encoder.size + 1)):
        assert model.step(events) < 0
        assert model.bytes() == before


class Stream:
    """The streaming half of a host build, called through its function pointers."""

    def __init__(self, model: HostModel) -> None:
        self._host, self._ffi, self._model = model, model._ffi, model._model_at[0]
        self.stream = self._model.stream
        self.state = self._ffi.new("uint64_t[]", self.stream.state_bytes // 8 + 1)

    def step(self, events: list[int]) -> int:
        status: int = self.stream.step(self.state, self._ffi.new("uint16_t[]", events), len(events))
        return status

    def read(self) -> Any:
        result = self._ffi.new("sne_result *")
        self.stream.read(self.state, result)
        return result

    def bytes(self) -> bytes:
        return bytes(self._ffi.buffer(self.state, self.stream.state_bytes))

    def logits(self) -> list[int]:
        return np.frombuffer(self.bytes(), "<i4", self._model.n_classes).tolist()

    def spikes(self) -> list[int]:
        return np.frombuffer(self.bytes(), "<u4", self._model.n_spike_layers, 4 * self._model.n_classes).tolist()

    def membranes(self) -> list[list[int]]:
        state = np.frombuffer(self.bytes(), np.uint8)[None]
        return [layer.membranes(state)[0].tolist() for layer in self._host.layers]


# ---- one network for each edge


def linear(
    encoder: Encoder, first: bool, shape: Shape, outputs: int, neuron: Neuron, weight: int = 0, bits: int = 8
) -> Linear:
    """A linear layer of random weights of 8 or 4 bits, or of all the same."""
    rng = np.random.default_rng(outputs)
    weights = rng.integers(-128, 128, (outputs, size(shape)), dtype=np.int8) >> (8 - bits)
    layer = Linear(
        in_shape=shape,
        out_shape=(1, 1, outputs),
        weight=np.full_like(weights, weight) if weight else weights,
        bias=np.arange(outputs, dtype=np.int32) % 7,
        threshold=np.full(outputs, 0 if neuron.kind == "li" else 90 >> (8 - bits), np.int32),
        scale=np.ones(outputs),
        neuron=neuron,
        bound=Bound(0, 0),
        bits=bits,
    )
    layer = proven(layer, encoder, first)
    assert isinstance(layer, Linear)
    return layer


def ensemble_of(
    encoder: Encoder, students: list[list[Layer]], name: str = "edge", policy: ActivationPolicy | None = None
) -> QuantEnsemble:
    """An ensemble of chains that end in a readout."""
    classes = students[0][-1].out_shape[2]
    ones = np.ones(classes, np.int32)
    members = tuple(QuantStudent(tuple(layers), (), ones, ones * k) for k, layers in enumerate(students))
    return QuantEnsemble(
        name=name,
        encoder=encoder,
        students=members,
        bias=np.zeros(classes, np.int32),
        order=tuple(reversed(range(len(students)))),
        classes=tuple(map(str, range(classes))),
        logit_scale=1.0,
        policy=policy or ActivationPolicy(),
        vectors=no_vectors(encoder, classes, members),
    )


def readout_alone(kind: EncoderKind) -> QuantEnsemble:
    encoder = Encoder(kind, (1, 1, 5), 4)
    return ensemble_of(encoder, [[linear(encoder, True, encoder.shape, 2, READOUT)]])


def most_students() -> QuantEnsemble:
    encoder = Encoder("rate", (1, 1, 9), 3)
    chain: list[Layer] = [
        linear(encoder, True, encoder.shape, 5, LIF),
        linear(encoder, False, (1, 1, 5), 2, READOUT),
    ]
    return ensemble_of(encoder, [chain] * 32, "thirty-two", ActivationPolicy("cascade", margins=(300,) * 31))


def largest_map(stride: int) -> QuantEnsemble:
    """65535 inputs; with stride 1, also 65535 neurons."""
    encoder = Encoder("rate", (1, 65535, 1), 2)
    conv = Conv(
        in_shape=encoder.shape,
        out_shape=(*window_out(encoder.shape, (1, 3), (1, stride), (0, 1)), 1),
        weight=np.array([[[[90, -80, 70]]]], np.int8),
        bias=np.array([1], np.int32),
        threshold=np.array([60], np.int32),
        scale=np.ones(1),
        neuron=LIF,
        bound=Bound(0, 0),
        stride=(1, stride),
        padding=(0, 1),
    )
    pool_shape = (*window_out(conv.out_shape, (1, 255), (1, 255), (0, 0)), 1)
    pool = MaxPool(conv.out_shape, pool_shape, (1, 255), (1, 255))
    layers: list[Layer] = [proven(conv, encoder), pool, linear(encoder, False, pool_shape, 2, READOUT)]
    return ensemble_of(encoder, [layers])


def audio(kind: str, samples: int, kernel: int) -> QuantEnsemble:
    """A second of sound, sample by sample: tables of more than 65,535 pairs where the first layer needs any."""
    encoder = Encoder("events" if kind == "maxpool" else "rate", (1, samples, 1), 2)
    out = (1, samples - kernel + 1, 1)
    if kind == "maxpool":
        first: Layer = MaxPool(encoder.shape, out, (1, kernel), (1, 1))
    elif kind == "avgpool":
        first = AvgPool(encoder.shape, out, (1, kernel), (1, 1))
    else:
        weight = np.arange(kernel, dtype=np.int8).reshape(1, 1, 1, kernel) * 9 - 7
        first = proven(
            {"conv": Conv, "depthwise": Depthwise}[kind](
                in_shape=encoder.shape,
                out_shape=out,
                weight=weight,
                bias=np.zeros(1, np.int32),
                threshold=np.full(1, 9, np.int32),
                scale=np.ones(1),
                neuron=LIF,
                bound=Bound(0, 0),
            ),
            encoder,
        )
    pooled = (1, out[1] // 128, 1)
    pool = MaxPool(out, pooled, (1, 128), (1, 128))
    if kind == "avgpool":
        pool = AvgPool(out, pooled, (1, 128), (1, 128))
    readout = linear(encoder, False, pooled, 2, msgspec.structs.replace(READOUT, clamp=(-(2**20), 2**20)))
    last = proven(readout, encoder, False, 128 * kernel if kind == "avgpool" else 1)
    return ensemble_of(encoder, [[first, pool, last]])


def seldom(ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble, measured with hardly a spike."""
    members = tuple(
        msgspec.structs.replace(student, mean_ops=1, max_ops=10, layer_ops=(1,) * len(student.layers))
        for student in ensemble.students
    )
    return msgspec.structs.replace(ensemble, students=members)


def swept(stride: int, width: int, bits: int = 8) -> QuantEnsemble:
    """A sweep of long windows over many columns that no position sees."""
    encoder = Encoder("rate", (3, width, 1), 1)
    kernel = stride + 1
    conv = Conv(
        in_shape=encoder.shape,
        out_shape=(2, (width - kernel) // stride + 1, 4),
        weight=np.full((4, 1, 2, kernel), 127 if bits == 8 else 7, np.int8),
        bias=np.zeros(4, np.int32),
        threshold=np.full(4, 30000, np.int32),
        scale=np.ones(4),
        neuron=Neuron("lif", Decay("shift", 2)),
        bound=Bound(0, 0),
        stride=(1, stride),
        bits=bits,
    )
    readout = linear(encoder, False, conv.out_shape, 2, READOUT)
    return ensemble_of(encoder, [[proven(conv, encoder), readout]])


def longest_row() -> QuantEnsemble:
    encoder = Encoder("rate", (1, 1, 3), 2)
    hidden = linear(encoder, True, encoder.shape, MAX_ROW, LIF)
    return ensemble_of(encoder, [[hidden, linear(encoder, False, hidden.out_shape, 2, READOUT)]])


def pooling_chain() -> QuantEnsemble:
    """Overlapping, padded average poolings, one after the other: the events of one spike multiply."""
    encoder = Encoder("events", (6, 5, 2), 3)
    shape, multiplicity = encoder.shape, 1
    layers: list[Layer] = []
    for kernel, stride, padding in (((3, 3), (1, 1), (2, 2)), ((2, 3), (1, 2), (1, 0)), ((3, 2), (2, 1), (0, 1))):
        out = (*window_out(shape, kernel, stride, padding), shape[2])
        layers.append(AvgPool(shape, out, kernel, stride, padding))
        shape, multiplicity = out, multiplicity * kernel[0] * kernel[1]
    readout = msgspec.structs.replace(
        linear(encoder, False, shape, 3, msgspec.structs.replace(READOUT, clamp=(-(2**20), 2**20)))
    )
    layers.append(proven(readout, encoder, False, multiplicity))
    return ensemble_of(encoder, [layers])


def depthwise(channels: int, kind: EncoderKind = "events", pooled: bool = False) -> QuantEnsemble:
    """Convolutions of each channel by itself, of several strides and both widths, then one over channels alone."""
    rng = np.random.default_rng(channels)
    encoder = Encoder(kind, (6, 7, channels), 3)
    shape, layers = encoder.shape, list[Layer]()
    if pooled:
        layers.append(AvgPool(shape, (3, 3, channels), (2, 3), (2, 2)))
        shape = (3, 3, channels)
    windows: tuple[tuple[Pair, Pair, Pair], ...] = (((3, 3), (1, 1), (1, 1)), ((2, 3), (2, 1), (1, 2)))
    for kernel, stride, padding in (*windows, ((1, 1), (1, 1), (0, 0))):
        kind_of = Conv if kernel == (1, 1) else Depthwise
        layer = kind_of(
            in_shape=shape,
            out_shape=(*window_out(shape, kernel, stride, padding), channels),
            weight=rng.integers(-128, 128, (channels, channels if kind_of is Conv else 1, *kernel), dtype=np.int8),
            bias=rng.integers(-20, 60, channels, dtype=np.int32) * (1 if stride == (1, 1) else 1000),
            threshold=np.full(channels, 60 if stride == (1, 1) else 2000, np.int32),
            scale=np.ones(channels),
            neuron=LIF,
            bound=Bound(0, 0),
            stride=stride,
            padding=padding,
        )
        layers.append(proven(layer, encoder, False, 6 if pooled and len(layers) == 1 else 1))
        shape = layer.out_shape
    last = linear(encoder, False, shape, 2, msgspec.structs.replace(READOUT, clamp=(-(2**20), 2**20)))
    return ensemble_of(encoder, [[*layers, last]])


def q15_at_32_bits() -> QuantEnsemble:
    """A membrane near 2^31 times a factor near 1: the product needs 64 bits."""
    encoder = Encoder("rate", (1, 1, 40), 5)
    hidden = linear(encoder, True, encoder.shape, 9, Neuron("lif", Decay("q15", 32767), reset="zero"))
    bias = np.full(9, 2**29 - 40000, np.int32) * np.array([1, -1, 1, -1, 1, -1, 1, -1, 1], np.int32)
    hidden = msgspec.structs.replace(hidden, bias=bias, threshold=np.full(9, 2**31 - 1, np.int32))
    hidden_shape = hidden.out_shape
    narrowed = msgspec.structs.replace(hidden, neuron=msgspec.structs.replace(hidden.neuron, clamp=(-(2**30), 2**30)))
    return ensemble_of(encoder, [[proven(narrowed, encoder), linear(encoder, False, hidden_shape, 2, READOUT)]])


def exactly_int16(high: bool, analog: bool) -> QuantEnsemble:
    """A bound of exactly 32767, or -32768, that an input reaches."""
    encoder = Encoder("direct" if analog else "rate", (1, 1, 1 if analog else 200), 1)
    forgetful = Neuron("lif", Decay("q15", 0))
    layer = linear(encoder, True, encoder.shape, 4, forgetful, 127 if high else -127)
    layer = msgspec.structs.replace(layer, bias=np.zeros(4, np.int32), threshold=np.full(4, 2**31 - 1, np.int32))
    reach = proven(layer, encoder).bound
    bias = INT16[1] - reach.high if high else INT16[0] - reach.low
    edge = proven(msgspec.structs.replace(layer, bias=np.full(4, bias, np.int32)), encoder)
    assert (edge.bound.high == INT16[1] if high else edge.bound.low == INT16[0]) and edge.width == 16
    return ensemble_of(encoder, [[edge, linear(encoder, False, layer.out_shape, 2, READOUT)]])


def shifted(width: int) -> QuantEnsemble:
    """Currents shifted by little and by much, up to the edges of 16 bits or beyond, into every kind of neuron."""
    encoder = Encoder("direct", (3, 5, 2), 3)
    students: list[list[Layer]] = []
    for shift, neuron in enumerate(SHIFTED, start=1):
        rng = np.random.default_rng(shift)
        conv = Conv(
            in_shape=encoder.shape,
            out_shape=(2, 4, 9),
            weight=rng.integers(-128, 128, (9, 2, 2, 2), dtype=np.int8) >> max(0, 5 - shift),
            bias=rng.integers(-200, 200, 9, dtype=np.int32) << shift,
            threshold=rng.integers(1, 1 + 16000 // 2**shift, 9, dtype=np.int32),
            scale=np.ones(9),
            neuron=neuron,
            bound=Bound(0, 0),
            current_shift=shift,
        )
        if width == 32:
            conv = msgspec.structs.replace(conv, bias=conv.bias + (40000 << shift))
        for step in range(15, -1, -1):  # up to the edge of 16 bits
            more = msgspec.structs.replace(conv, bias=conv.bias + (1 << step + shift))
            conv = more if proven(more, encoder).width == 16 else conv
        first = proven(conv, encoder)
        assert first.width == width
        students.append([first, linear(encoder, False, first.out_shape, 3, READOUT)])
    whole = proven(msgspec.structs.replace(linear(encoder, True, encoder.shape, 3, READOUT), current_shift=4), encoder)
    return ensemble_of(encoder, [*students, [whole]])


SHIFTED = (
    Neuron("if", clamp=(-28000, 28000)),
    Neuron("lif", Decay("shift", 1), clamp=(-32768, 32767)),
    Neuron("lif", Decay("shift", 1)),
    Neuron("lif", Decay("q15", 20000), reset="zero"),
    Neuron("if"),
    Neuron("lif", Decay("shift", 4), reset_delay=True),
)
EDGES: dict[str, Callable[[], QuantEnsemble]] = {
    **{f"readout-alone-{kind}": lambda kind=kind: readout_alone(kind) for kind in ENCODERS},  # type: ignore[misc]
    "32-students": most_students,
    "65535-neurons": lambda: largest_map(1),
    "65535-inputs": lambda: largest_map(7),
    "average-pooling-chain": pooling_chain,
    "a-second-of-sound": lambda: audio("depthwise", 16000, 5),
    "a-second-of-sound-max-pooled": lambda: audio("maxpool", 48000, 3),
    "a-second-of-sound-average-pooled": lambda: audio("avgpool", 16000, 5),
    "a-second-of-sound-hardly-any-spikes": lambda: seldom(audio("conv", 48000, 5)),
    "the-longest-row": longest_row,
    "columns-that-no-position-sees": lambda: swept(149, 447),
    "columns-that-no-position-sees-4-bits": lambda: swept(149, 447, 4),
    "depthwise": lambda: depthwise(6),
    "depthwise-after-average-pooling": lambda: depthwise(3, pooled=True),
    "depthwise-on-rates": lambda: depthwise(33, "rate"),
    "q15-at-32-bits": q15_at_32_bits,
    "shifted-currents": lambda: shifted(16),
    "shifted-currents-at-32-bits": lambda: shifted(32),
    "highest-int16": lambda: exactly_int16(True, False),
    "lowest-int16": lambda: exactly_int16(False, False),
    "highest-int16-direct": lambda: exactly_int16(True, True),
    "lowest-int16-direct": lambda: exactly_int16(False, True),
}


@pytest.mark.parametrize("edge", EDGES)
def test_every_edge_is_exact_in_oracle_reference_and_c(edge: str, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    ensemble, rng = EDGES[edge](), random.Random(1)
    inputs = random_inputs(rng, ensemble, 6)
    if ensemble.encoder.size < 1000:
        for number in range(min(4, len(ensemble.students))):
            assert_student(ensemble, number, inputs)
        assert_decisions(ensemble, ensemble.policy, inputs)
    assert_host(ensemble, HostModel(ensemble), inputs, rng)


# ---- the comparison can fail

FAULTS = {
    "a weight is one more": (
        "{id}.c",
        r"(l1_weight\[\d+\][^{]*\{\s*SNE_W4\()(-?\d+)",
        lambda m: f"{m[1]}{int(m[2]) + 1}",
    ),
    "a bias is one more": ("{id}.c", r"(l0_bias\[\d+\] = \{\s*)(-?\d+)", lambda m: f"{m[1]}{int(m[2]) + 1}"),
    "a neuron fires at its threshold": ("sne_neuron.h", r"m > threshold", "m >= threshold"),
    "the leak rounds toward zero": ("sne_neuron.h", r"v - \(v >> value\)", "v - v / (1 << value)"),
    "the reset forgets what is left": ("sne_neuron.h", r": m - threshold", ": 0"),
    "one timestep too few": ("sne_layer.h", r"t < timesteps", "t + 1 < timesteps"),
    "a tie of margins goes on": ("sne_schedule.c", r"r.margin >= margins", "r.margin > margins"),
    "the last of equal logits wins": ("sne_schedule.c", r"logits\[c\] > logits\[best", "logits[c] >= logits[best"),
    "an operation is not counted": (
        "sne_layer.h",
        r"SNE_DEPTHWISE \? rows : rows",
        "SNE_DEPTHWISE ? rows : 1u + rows",
    ),
}


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_an_injected_fault_is_seen(
    fault: str | None, require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("cc")

    def faulty(ensemble: QuantEnsemble, target: Target) -> dict[str, str]:
        files = render(ensemble, target)
        if fault is not None:
            name, pattern, replacement = FAULTS[fault]
            name = name.format(id=ensemble.identifier)
            files[name], count = re.subn(pattern, replacement, files[name], count=1)  # type: ignore[call-overload]
            assert count == 1, "the fault was not injected"
        return files

    monkeypatch.setattr(library, "render", faulty)
    encoder = Encoder("rate", (1, 1, 6), 4)
    wide, readout = linear(encoder, True, encoder.shape, 8, LIF), linear(encoder, False, (1, 1, 8), 2, READOUT)
    small = msgspec.structs.replace(
        wide,
        weight=(wide.weight // 40).astype(np.int8),
        bias=np.zeros(8, np.int32),
        threshold=np.full(8, 2, np.int32),
    )
    readout = msgspec.structs.replace(readout, bias=np.zeros(2, np.int32))
    ensemble = ensemble_of(encoder, [[proven(small, encoder), proven(readout, encoder, False)]] * 2)
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, 128, (40, 6), dtype=np.uint8)
    inputs[0] = 0
    first = reference.run(ensemble, inputs, ActivationPolicy("first", students=1)).decisions.margin
    policies = (ActivationPolicy("all"), ActivationPolicy("cascade", margins=(int(np.median(first[first > 0])),)))
    model, traced = HostModel(ensemble), HostModel(ensemble, trace=True)

    def compare() -> None:
        for policy in policies:
            batch, want = model.run(inputs, policy), reference.run(ensemble, inputs, policy)
            for name in ("logits", "label", "active"):
                np.testing.assert_array_equal(getattr(batch, name), getattr(want.decisions, name))
            for name in ("spikes", "synaptic_ops"):
                np.testing.assert_array_equal(getattr(batch, name), getattr(want, name))
        state = traced.run(inputs, ActivationPolicy("mask", mask=2), states=True)
        theirs = reference.run_student(ensemble, 1, inputs).membranes
        pairs = zip(traced.layers, traced.membranes(state), strict=True)
        for mine, want in zip([m for layer, m in pairs if layer.student == 1], theirs, strict=True):
            np.testing.assert_array_equal(mine, want)

    if fault is None:
        compare()
    else:
        with pytest.raises(AssertionError):
            compare()


def test_no_kernel_adds_more_rows_at_once_than_lanes_can_sum(
    require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The C itself, which here drops a list that is too long, on networks that spike as much as they can."""
    require_tool("cc")

    def dropping(ensemble: QuantEnsemble, target: Target) -> dict[str, str]:
        files = render(ensemble, target)
        line = "const size_t n = (size_t)(end - rows);\n"
        assert files["sne_nibbles.h"].count(line) == 1
        files["sne_nibbles.h"] = files["sne_nibbles.h"].replace(line, f"{line}    if (n > {MAX_ROWS}) return;\n")
        return files

    monkeypatch.setattr(library, "render", dropping)
    kernels = Counter[str]()
    models = [random_ensemble(random.Random(seed)) for seed in range(4)]
    models += [swept(149, 447), swept(149, 447, 4), swept(120, 1000), pooling_chain(), depthwise(6, pooled=True)]
    for ensemble in models:
        stages = [stage for stages in state_layout(ensemble).stages for stage in stages]
        assert max(stage.listed for stage in stages) <= MAX_ROWS
        kernels.update(stage.kernel for stage in stages)
        inputs = random_inputs(random.Random(0), ensemble, 6)
        got, want = HostModel(ensemble).run(inputs), reference.run(ensemble, inputs)
        np.testing.assert_array_equal(got.logits, want.decisions.logits)
    assert kernels.keys() >= {"gather", "sweep", "collect"}, kernels  # those that list rows


ROUTE_FAULTS = {
    "the last of equal second logits is second": (r"logits\[c\] > logits\[second", "logits[c] >= logits[second"),
    "rows are counted from the higher class": (r"\+ low\)", "+ high - 1u - low)"),
    "a route starts at its second student": (r"n_students;\n    while", "n_students + 1u;\n    while"),
    "the order decides instead": (r"SNE_POLICY_ROUTED \? next", "SNE_POLICY_ALL ? next"),
}


@pytest.mark.parametrize("fault", [None, *ROUTE_FAULTS])
def test_an_injected_fault_in_routing_is_seen(
    fault: str | None, require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four students of small weights, so that logits tie often, and every pair of classes has a route of its own."""
    require_tool("cc")

    def faulty(ensemble: QuantEnsemble, target: Target) -> dict[str, str]:
        files = render(ensemble, target)
        if fault is not None:
            files["sne_schedule.c"], count = re.subn(*ROUTE_FAULTS[fault], files["sne_schedule.c"])
            assert count == 1, "the fault was not injected"
        return files

    monkeypatch.setattr(library, "render", faulty)
    rng, encoder = np.random.default_rng(0), Encoder("rate", (1, 1, 6), 2)
    students: list[list[Layer]] = []
    for _ in range(4):
        readout = linear(encoder, True, encoder.shape, 5, READOUT)
        weight = rng.integers(-2, 3, readout.weight.shape, dtype=np.int8)
        students.append([proven(msgspec.structs.replace(readout, weight=weight, bias=np.zeros(5, np.int32)), encoder)])
    ensemble = ensemble_of(encoder, students)
    ensemble = msgspec.structs.replace(ensemble, routes=random_routes(random.Random(0), 5, 4))
    inputs = rng.integers(0, 128, (200, 6), dtype=np.uint8)
    model, policy = HostModel(ensemble), ActivationPolicy("routed", margins=(4, 3, 2))
    got, want = model.run(inputs, policy), reference.run(ensemble, inputs, policy).decisions
    assert len(set(want.active.tolist())) > 4
    same = all((getattr(got, name) == getattr(want, name)).all() for name in ("logits", "label", "active", "stop"))
    assert same == (fault is None)


@pytest.mark.parametrize(
    "policy",
    [
        ActivationPolicy("first", students=4),
        ActivationPolicy("first", students=-1),
        ActivationPolicy("mask", mask=0),
        ActivationPolicy("mask", mask=8),
        ActivationPolicy("mask", mask=2**40),
        ActivationPolicy("cascade", margins=(1,)),
        ActivationPolicy("cascade", margins=(1, -1)),
        ActivationPolicy("cascade", margins=(1, 2**31)),
        ActivationPolicy("routed", margins=(1,)),
        ActivationPolicy("budget", max_ops=0),
        ActivationPolicy("budget", max_ops=2**32),
        ActivationPolicy("all", timesteps=99),
        ActivationPolicy("all", timesteps=-1),
    ],
    ids=str,
)
def test_host_and_reference_refuse_the_same_policies(
    policy: ActivationPolicy, three_students: tuple[QuantEnsemble, HostModel]
) -> None:
    ensemble, model = three_students
    inputs = np.zeros((1, ensemble.encoder.input_bytes), np.uint8)
    with pytest.raises(SneError):
        reference.run(ensemble, inputs, policy)
    with pytest.raises(SneError):
        model.run(inputs, policy)


@pytest.fixture(scope="module")
def three_students(require_tool: Callable[..., None]) -> tuple[QuantEnsemble, HostModel]:
    require_tool("cc")
    ensemble = random_ensemble(random.Random(5), students=3)
    return ensemble, HostModel(ensemble)


@pytest.mark.parametrize("portable", [False, True])
def test_a_membrane_one_beyond_its_clamp_is_put_back(portable: bool, require_tool: Callable[..., None]) -> None:
    """Spikes of weight -1 and 1 at every timestep: the 11th is the first that a clamp of 10 meets, by one."""
    require_tool("cc")
    encoder = Encoder("events", (1, 1, 1), 11)
    neuron = Neuron("li", Decay(), "none", clamp=(-10, 10))
    readout = Linear(
        in_shape=encoder.shape, out_shape=(1, 1, 2), weight=np.array([[-1], [1]], np.int8), bias=np.zeros(2, np.int32),
        threshold=np.zeros(2, np.int32), scale=np.ones(2), neuron=neuron, bound=Bound(0, 0),
    )  # fmt: skip
    ensemble = ensemble_of(encoder, [[proven(readout, encoder)]])
    inputs = encoder.encode(np.ones((1, 11, 1)))
    logits = ensemble.students[0].gain * np.array([-10, 10]) + ensemble.students[0].bias + ensemble.bias
    assert HostModel(ensemble, portable=portable).run(inputs).logits.tolist() == [logits.tolist()]
    assert reference.run(ensemble, inputs).decisions.logits.tolist() == [logits.tolist()]
