"""The intermediate representation refuses what cannot be: every check on construction, by its message."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sne_edge.codegen.layout import state_layout, through_pool, window_axis
from strategies import REFUSED, ensembles, examples, proven, random_ensemble, random_inputs, traits

from sne_edge.check.reference import run_student
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Layer, Linear, MaxPool, SynapticLayer, window_out, window_taps
from sne_edge.ir.limits import axis_pairs
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.proof import prove_layer, worst_ops
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

replace = msgspec.structs.replace
LIF = Neuron("lif", Decay("shift", 2))
READOUT = Neuron("li", Decay("shift", 2), "none")
ENCODER = Encoder("rate", (4, 5, 2), 3)


def conv(**changes: Any) -> Conv:
    fields: dict[str, Any] = {
        "in_shape": (4, 5, 2),
        "out_shape": (3, 4, 3),
        "weight": np.ones((3, 2, 2, 2), np.int8),
        "bias": np.zeros(3, np.int32),
        "threshold": np.full(3, 5, np.int32),
        "scale": np.ones(3),
        "neuron": LIF,
        "bound": Bound(0, 8),
    }
    return Conv(**(fields | changes))


def linear(inputs: int = 36, outputs: int = 2, **changes: Any) -> Linear:
    fields: dict[str, Any] = {
        "in_shape": (1, 1, inputs),
        "out_shape": (1, 1, outputs),
        "weight": np.ones((outputs, inputs), np.int8),
        "bias": np.zeros(outputs, np.int32),
        "threshold": np.zeros(outputs, np.int32),
        "scale": np.ones(outputs),
        "neuron": READOUT,
        "bound": Bound(0, 8),
    }
    return Linear(**(fields | changes))


def student(*layers: Layer, encoder: Encoder = ENCODER, **changes: Any) -> QuantStudent:
    chain = tuple(
        proven(x, encoder, n == 0) if isinstance(x, SynapticLayer) else x
        for n, x in enumerate(layers or (conv(), linear()))
    )
    classes = chain[-1].out_shape[2]
    fields: dict[str, Any] = {
        "layers": chain,
        "features": (),
        "gain": np.ones(classes, np.int32),
        "bias": np.zeros(classes, np.int32),
    }
    return QuantStudent(**(fields | changes))


def ensemble(*students: QuantStudent, encoder: Encoder = ENCODER, **changes: Any) -> QuantEnsemble:
    members = students or (student(), student())
    fields: dict[str, Any] = {
        "name": "model",
        "encoder": encoder,
        "students": members,
        "bias": np.zeros(2, np.int32),
        "order": tuple(range(len(members))),
        "classes": ("a", "b"),
        "logit_scale": 1.0,
        "policy": ActivationPolicy(),
        "vectors": no_vectors(encoder, 2, members),
    }
    return QuantEnsemble(**(fields | changes))


def pool(kind: Any, in_shape: Any, kernel: Any, stride: Any, padding: Any = (0, 0)) -> Any:
    return kind(in_shape, (*window_out(in_shape, kernel, stride, padding), in_shape[2]), kernel, stride, padding)


def with_vectors(**changes: np.ndarray) -> QuantEnsemble:
    good = ensemble()
    return ensemble(vectors=replace(good.vectors, **changes))


BAD_LAYERS: dict[str, tuple[Callable[[], Any], str]] = {
    "weights of another type": (lambda: conv(weight=np.ones((3, 2, 2, 2), np.int16)), "weight is int16"),
    "weights of another shape": (lambda: conv(weight=np.ones((3, 1, 2, 2), np.int8)), "weight is int8"),
    "weights of 5 bits": (lambda: conv(bits=5), "8 or 4 bits, not 5"),
    "weights beyond 4 bits": (lambda: linear(weight=np.full((2, 36), 8, np.int8), bits=4), "do not fit in 4 bits"),
    "weights below 4 bits": (lambda: conv(weight=np.full((3, 2, 2, 2), -9, np.int8), bits=4), "do not fit in 4 bits"),
    "weights of 3 axes": (lambda: conv(weight=np.ones((3, 2, 2), np.int8)), "4 axes"),
    "linear weights of another shape": (lambda: linear(weight=np.ones((3, 36), np.int8)), "weight is int8"),
    "bias of another type": (lambda: conv(bias=np.zeros(3, np.int64)), "bias is int64"),
    "bias of another length": (lambda: conv(bias=np.zeros(2, np.int32)), "bias is int32"),
    "threshold of another length": (lambda: conv(threshold=np.ones(4, np.int32)), "threshold is int32"),
    "threshold of 0": (lambda: conv(threshold=np.zeros(3, np.int32)), "at least 1"),
    "negative threshold": (lambda: conv(threshold=np.full(3, -1, np.int32)), "at least 1"),
    "readout with a threshold": (lambda: linear(threshold=np.ones(2, np.int32)), "0 for li"),
    "scale of another type": (lambda: conv(scale=np.ones(3, np.float32)), "scale is float32"),
    "scale of 0": (lambda: conv(scale=np.zeros(3)), "positive and finite"),
    "NaN scale": (lambda: conv(scale=np.full(3, np.nan)), "positive and finite"),
    "infinite scale": (lambda: conv(scale=np.full(3, np.inf)), "positive and finite"),
    "bound beyond 32 bits": (lambda: conv(bound=Bound(0, 2**31)), "do not fit in 32 bits"),
    "empty map": (lambda: linear(0), "1 to 65535"),
    "map of 65536": (lambda: linear(65536), "1 to 65535"),
    "negative shape": (lambda: linear(in_shape=(-1, -1, 36)), "1 to 65535"),
    "linear output of 2 axes": (lambda: linear(out_shape=(1, 2, 2)), r"\(1, 1, n\)"),
    "output that does not follow": (lambda: conv(out_shape=(4, 4, 3)), "make"),
    "kernel larger than the map": (lambda: conv(weight=np.ones((3, 2, 5, 2), np.int8)), "make"),
    "stride of 0": (lambda: conv(stride=(0, 1)), "out of range"),
    "stride of 256": (lambda: conv(stride=(1, 256)), "larger than 255"),
    "stride of 2^70": (lambda: conv(stride=(1, 2**70)), "larger than 255"),
    "negative padding": (lambda: conv(padding=(-1, 0)), "out of range"),
    "padding as large as the kernel": (lambda: conv(padding=(2, 0)), "smaller than the kernel"),
    "kernel of 256": (
        lambda: AvgPool((1, 300, 1), (1, 45, 1), (1, 256), (1, 1)),
        "larger than 255",
    ),
    "kernel of 0": (lambda: MaxPool((1, 3, 1), (1, 3, 1), (1, 0), (1, 1)), "out of range"),
    "pooling that changes channels": (lambda: AvgPool((2, 2, 2), (1, 1, 1), (2, 2), (2, 2)), "keeps the number"),
    "pooling of another size": (lambda: MaxPool((2, 2, 2), (2, 1, 2), (2, 2), (2, 2)), "make"),
}

BAD_STUDENTS: dict[str, tuple[Callable[[], Any], str]] = {
    "no layers": (lambda: QuantStudent((), (), np.ones(2, np.int32), np.ones(2, np.int32)), "at least one layer"),
    "shapes that do not chain": (lambda: student(conv(), linear(35)), "layer 1 takes"),
    "a convolution after another map": (
        lambda: student(linear(neuron=LIF, threshold=np.ones(2, np.int32)), conv()),
        "layer 1 takes",
    ),
    "no readout": (lambda: student(conv()), "must be a linear readout"),
    "a convolution for a readout": (
        lambda: student(conv(neuron=READOUT, threshold=np.zeros(3, np.int32))),
        "must be a linear readout",
    ),
    "a readout in the middle": (lambda: student(linear(40), linear(2)), "not the last layer"),
    "gain of 0": (lambda: student(gain=np.zeros(2, np.int32)), "gain must be at least 1"),
    "gain of another length": (lambda: student(gain=np.ones(3, np.int32)), "gain is int32"),
    "bias of another type": (lambda: student(bias=np.ones(2)), "bias is float64"),
    "a mean above the highest": (lambda: student(mean_ops=2, max_ops=1), "out of range"),
    "negative operations": (lambda: student(mean_ops=-1, max_ops=1), "out of range"),
    "operations beyond 32 bits": (lambda: student(max_ops=2**32), "out of range"),
    "operations of some layers": (lambda: student(layer_ops=(1,)), "every layer or none"),
}


def deep_pooling() -> QuantStudent:
    """Average poolings that multiply one spike to 65025^4."""
    pools = [pool(AvgPool, (1, 1, 2), (255, 255), (255, 255), (254, 254)) for _ in range(4)]
    return QuantStudent((*pools, linear(2)), (), np.ones(2, np.int32), np.zeros(2, np.int32))


DIRECT = Encoder("direct", (4, 5, 2), 3)
EVENTS = Encoder("events", (4, 5, 2), 3)
THREE = Encoder("rate", (1, 1, 3), 1)
LONG = Encoder("rate", (1, 60000, 1), 1)
SLOW = Encoder("direct", (100, 300, 1), 65535)


def slow_student() -> QuantStudent:
    """Few operations, but 30,000 neurons to update at each of 65535 timesteps."""
    first = Conv(
        in_shape=SLOW.shape,
        out_shape=SLOW.shape,
        weight=np.ones((1, 1, 1, 1), np.int8),
        bias=np.zeros(1, np.int32),
        threshold=np.ones(1, np.int32),
        scale=np.ones(1),
        neuron=LIF,
        bound=Bound(0, 0),
    )
    pools = [pool(MaxPool, (100, 300, 1), (100, 255), (100, 255))]
    return student(first, *pools, linear(1), encoder=SLOW)


BAD_ENSEMBLES: dict[str, tuple[Callable[[], Any], str]] = {
    **{
        f"name {name!r}": (lambda name=name: ensemble(name=name), "C identifier")  # type: ignore[misc]
        for name in ("", "Upper", "1st", "a b", "a/b", "../a", "a" * 33, "ä", "a\n", "_a", "-a")
    },
    **{
        f"name {name!r}": (lambda name=name: ensemble(name=name), "taken")  # type: ignore[misc]
        for name in ("sne", "sne-x")
    },
    "no students": (lambda: ensemble(students=(), order=()), "0 students"),
    "33 students": (lambda: ensemble(*[student()] * 33), "33 students"),
    "one class": (lambda: ensemble(classes=("a",)), "1 classes"),
    "1025 classes": (lambda: ensemble(classes=("a",) * 1025), "1025 classes"),
    "bias of another length": (lambda: ensemble(bias=np.zeros(3, np.int32)), "bias is int32"),
    "order that lacks a student": (lambda: ensemble(order=(0,)), "every student once"),
    "order that repeats one": (lambda: ensemble(order=(0, 0)), "every student once"),
    "order of another": (lambda: ensemble(order=(0, 2)), "every student once"),
    "logit scale of 0": (lambda: ensemble(logit_scale=0.0), "logit_scale"),
    "NaN logit scale": (lambda: ensemble(logit_scale=float("nan")), "logit_scale"),
    "a student of other classes": (lambda: ensemble(student(conv(), linear(36, 3))), "student 0: 3 outputs"),
    "an input of another shape": (lambda: ensemble(encoder=Encoder("rate", (5, 4, 2), 3)), "but the input is"),
    "pooling of a direct input": (
        lambda: ensemble(student(pool(AvgPool, (4, 5, 2), (2, 2), (2, 2)), linear(8)), encoder=DIRECT),
        "not pooling",
    ),
    "a bound that was tampered with": (
        lambda: ensemble(student(layers=(replace(student().layers[0], bound=Bound(0, 7)), student().layers[1]))),
        "layer 0: the stored bound",
    ),
    "a bound proved for fewer timesteps": (
        lambda: ensemble(student(encoder=Encoder("rate", (4, 5, 2), 1))),
        "the stored bound",
    ),
    "a stream without clamp": (
        lambda: ensemble(
            student(conv(neuron=Neuron("if"), weight=np.full((3, 2, 2, 2), -1, np.int8)), linear()), encoder=EVENTS
        ),
        "layer 0: its membranes can grow without limit",
    ),
    "a direct input into 4 bits": (
        lambda: ensemble(student(conv(bits=4), linear(), encoder=DIRECT), encoder=DIRECT),
        "needs weights of 8 bits",
    ),
    "a shifted current of spikes": (
        lambda: ensemble(student(conv(current_shift=1), linear())),
        "layer 0: only a direct input's layer has a current to shift",
    ),
    "a shifted current of a hidden layer": (
        lambda: ensemble(student(conv(), linear(current_shift=2), encoder=DIRECT), encoder=DIRECT),
        "layer 1: only a direct input's layer has a current to shift",
    ),
    "a shift beyond a word": (lambda: conv(current_shift=32), "current_shift 32 is not in 0..31"),
    "a current that wraps before it is shifted": (
        lambda: ensemble(
            student(conv(current_shift=20, bias=np.full(3, 2**31 - 1, np.int32)), linear(), encoder=DIRECT),
            encoder=DIRECT,
        ),
        "before it is shifted",
    ),
    "max pooling of counts": (
        lambda: ensemble(
            student(pool(AvgPool, (4, 5, 2), (2, 2), (1, 1)), pool(MaxPool, (3, 4, 2), (2, 2), (1, 1)), linear(12))
        ),
        "layer 1: max pooling needs binary spikes",
    ),
    "spikes that multiply without end": (
        lambda: ensemble(deep_pooling(), encoder=Encoder("rate", (1, 1, 2), 3)),
        "32-bit",
    ),
    "logits beyond 2^30": (
        lambda: ensemble(student(gain=np.full(2, 2**30 // 20, np.int32))),
        "logits can reach",
    ),
    "operations beyond a counter": (
        lambda: ensemble(
            *[student(linear(65535, 20, neuron=LIF, threshold=np.ones(20, np.int32)), linear(20), encoder=wide())] * 4,
            encoder=wide(),
        ),
        "operations, more than a 32-bit counter",
    ),
    "neuron updates beyond a counter": (
        lambda: ensemble(*[slow_student()] * 3, encoder=SLOW),
        "neuron updates, more than a 32-bit counter",
    ),
    "a policy that does not fit": (
        lambda: ensemble(policy=ActivationPolicy("first", students=3)),
        "policy first: 3 students",
    ),
    "margins that do not fit": (lambda: ensemble(policy=ActivationPolicy(margins=(1, 2))), "2 margins"),
    "a row beyond 16 bits": (
        lambda: ensemble(
            student(linear(3, 65533, neuron=LIF, threshold=np.ones(65533, np.int32)), linear(65533), encoder=THREE),
            encoder=THREE,
        ),
        "student 0: layer 0: a row of 65533 weights",
    ),
    "weights beyond 24 bits": (
        lambda: ensemble(student(linear(60000, 280, neuron=LIF, threshold=np.ones(280, np.int32)), linear(280))),
        "layer 0: 16800000 bytes of packed weights",
    ),
    "a table beyond all memories": (
        lambda: ensemble(
            student(pool(MaxPool, LONG.shape, (1, 40), (1, 1)), linear(59961), encoder=LONG), encoder=LONG
        ),
        "layer 0: its table of columns has 2398440 pairs",
    ),
    "a table beyond all memories after average pooling": (
        lambda: ensemble(
            student(
                pool(AvgPool, LONG.shape, (1, 6), (1, 1)),
                pool(AvgPool, (1, 59995, 1), (1, 6), (1, 1)),
                linear(59990),
                encoder=LONG,
            ),
            encoder=LONG,
        ),
        "layer 2: its table of columns has 2159640 pairs",
    ),
    "more layers than can be told apart": (
        lambda: ensemble(student(*[pool(MaxPool, (4, 5, 2), (1, 1), (1, 1))] * 1024, linear(40))),
        "student 0: 1025 layers",
    ),
    "vectors of another input": (lambda: with_vectors(inputs=np.zeros((0, 3), np.uint8)), "vectors.inputs"),
    "vectors of other logits": (lambda: with_vectors(logits=np.zeros((1, 2), np.int32)), "vectors.logits"),
    "vectors of other activity": (lambda: with_vectors(active=np.zeros(1, np.uint32)), "vectors.active"),
    "vectors of other spikes": (lambda: with_vectors(spikes=np.zeros((0, 9), np.uint32)), "vectors.spikes"),
    "vectors of other costs": (lambda: with_vectors(ops=np.zeros((0, 3), np.uint32)), "vectors.ops"),
    "vectors of other labels": (lambda: with_vectors(labels=np.zeros(0, np.int64)), "vectors.labels"),
}


def wide() -> Encoder:
    return Encoder("rate", (1, 1, 65535), 1000)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(*case, id=name)
        for cases in (BAD_LAYERS, BAD_STUDENTS, BAD_ENSEMBLES)
        for name, case in cases.items()
    ],
)
def test_what_cannot_be_is_refused_with_its_reason(make: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


def test_the_parts_of_these_tests_are_themselves_valid() -> None:
    assert ensemble().identifier == "model"
    assert ensemble(name="with-dashes-0").identifier == "with_dashes_0"
    assert [ensemble(name=name).identifier for name in ("run", "student-0", "string")] == [
        "run_net",
        "student_0_net",
        "string_net",
    ]
    assert ensemble(slow_student(), encoder=SLOW).students


def test_arrays_are_read_only_once_a_model_holds_them() -> None:
    layer = conv()
    with pytest.raises(ValueError, match="read-only"):
        layer.weight[0, 0, 0, 0] = 3


@pytest.mark.examines(layers=60, poolings=20)
@examples(40)
@given(ensembles())
def test_random_ensembles_name_their_spiking_layers_in_order(examined: Counter[str], made: QuantEnsemble) -> None:
    places = [(s, n) for s, member in enumerate(made.students) for n in range(len(member.layers) - 1)]
    poolings = [(s, n) for s, n in places if isinstance(made.students[s].layers[n], AvgPool | MaxPool)]
    assert made.spike_layers == [place for place in places if place not in poolings]
    examined["layers"] += len(made.spike_layers)
    examined["poolings"] += len(poolings)


@pytest.mark.examines(layers=100, reached=30)
@examples(40)
@given(ensembles(), st.integers(0, 2**32 - 1))
def test_no_input_takes_more_operations_than_the_worst_and_the_first_layer_can_take_as_many(
    examined: Counter[str], made: QuantEnsemble, seed: int
) -> None:
    inputs = random_inputs(random.Random(seed), made)  # among them all inputs at once
    for number, member in enumerate(made.students):
        worst = worst_ops(member, made.encoder)
        most = run_student(made, number, inputs).layer_ops.max(axis=0)
        assert (most <= worst).all()
        examined["layers"] += len(worst)
        if made.encoder.kind != "rate" and isinstance(member.layers[0], SynapticLayer):
            assert most[0] == worst[0]
            examined["reached"] += 1


@examples(200)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9), st.data())
def test_window_taps_counts_the_outputs_that_each_input_reaches(
    length: int, kernel: int, stride: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(0, kernel - 1))
    outputs = (length + 2 * padding - kernel) // stride + 1
    reached = [sum(0 <= i + padding - stride * o < kernel for o in range(outputs)) for i in range(length)]
    assert window_taps(length, kernel, stride, padding).tolist() == reached


def test_maps_of_65535_take_no_table_of_their_square() -> None:
    assert window_taps(65535, 3, 1, 1).sum() == 3 * 65535 - 2


def test_a_seed_always_makes_the_same_random_ensemble() -> None:
    first, second = (random_ensemble(random.Random(7)) for _ in range(2))
    assert msgspec.to_builtins(first, enc_hook=np.ndarray.tolist) == msgspec.to_builtins(
        second, enc_hook=np.ndarray.tolist
    )


def test_random_ensembles_have_every_kind_of_layer_and_order_that_there_can_be() -> None:
    seen, kinds = Counter[str](), Counter[str]()
    for seed in range(400):
        made = random_ensemble(random.Random(seed))
        seen.update(traits(made))
        kinds.update(stage.kernel for stages in state_layout(made).stages for stage in stages)
    names = ("linear", "conv", "depthwise", "avgpool", "maxpool")
    missing = {f"{a} {b}" for a in names for b in names} - seen.keys()
    assert seen["network"] == 400 and not missing, missing
    assert {"strided 1x1 avgpool maxpool", "strided 1x1 maxpool avgpool", "strided 1x1 avgpool avgpool"} <= seen.keys()
    assert seen["wide"] > 5
    assert kinds.keys() == {"gather", "sweep", "scatter", "overlap", "collect", "depthwise", "convolve"}
    assert REFUSED.total() <= 8, REFUSED


@examples(200)
@given(ensembles())
def test_pairs_of_an_axis_are_counted_without_making_them(made: QuantEnsemble) -> None:
    for student in made.students:
        pools: tuple[AvgPool, ...] = ()
        for layer in student.layers:
            if isinstance(layer, AvgPool):
                pools += (layer,)
                continue
            for axis in (0, 1):
                if isinstance(layer, Linear):
                    pairs = [[(place, place) for place in range(layer.in_shape[axis])]]
                else:
                    window = (layer.kernel[axis], layer.stride[axis], layer.padding[axis])
                    pairs = window_axis(layer.in_shape[axis], *window)
                for pool in reversed(pools):
                    pairs = through_pool(pairs, pool, axis)
                assert axis_pairs(layer, pools, axis) == sum(map(len, pairs))
            pools = ()


def test_a_proof_that_would_take_minutes_is_refused_before_it_begins() -> None:
    """1,000 channels with the slowest leak for 65,535 timesteps: seconds a layer, where it is tried."""
    encoder, rng = Encoder("direct", (1, 1, 1), 65535), np.random.default_rng(0)

    def layer(inputs: int, outputs: int, neuron: Neuron) -> Linear:
        return Linear(
            in_shape=(1, 1, inputs), out_shape=(1, 1, outputs),
            weight=rng.integers(-127, 128, (outputs, inputs), dtype=np.int8), bias=np.zeros(outputs, np.int32),
            threshold=np.full(outputs, 9 * (neuron.kind == "lif"), np.int32), scale=np.ones(outputs), neuron=neuron,
            bound=Bound(0, 0),
        )  # fmt: skip

    slow = Neuron("lif", Decay("shift", 15))
    chain = [layer(a, b, slow) for a, b in ((1, 1000), (1000, 1), (1, 1000), (1000, 1), (1, 1000), (1000, 1))]
    chain.append(layer(1, 2, Neuron("li", Decay("shift", 15), "none")))
    whole = QuantStudent(tuple(chain), (), np.ones(2, np.int32), np.zeros(2, np.int32))
    started = time.process_time()
    with pytest.raises(ValueError, match="more than can be proven"):
        QuantEnsemble(
            name="slow", encoder=encoder, students=(whole,), bias=np.zeros(2, np.int32), order=(0,), classes=("a", "b"),
            logit_scale=1.0, policy=ActivationPolicy("all"), vectors=no_vectors(encoder, 2, (whole,)),
        )  # fmt: skip
    assert time.process_time() - started < 2


def test_a_direct_input_reaches_from_minus_128_to_127() -> None:
    """Both ends of int8 count: -128 times a positive weight, and 127 times it."""
    encoder = Encoder("direct", (1, 1, 1), 1)
    neuron = Neuron("li", Decay(), "none")
    for weight, low, high in ((3, -768, 762), (-3, -762, 768)):  # a charged membrane holds the current once more
        layer = Linear(
            in_shape=(1, 1, 1), out_shape=(1, 1, 1), weight=np.array([[weight]], np.int8), bias=np.zeros(1, np.int32),
            threshold=np.zeros(1, np.int32), scale=np.ones(1), neuron=neuron, bound=Bound(0, 0),
        )  # fmt: skip
        assert prove_layer(layer, encoder, True) == Bound(low, high)


def test_a_shifted_current_is_rounded_to_the_nearest_and_so_is_its_bound() -> None:
    encoder = Encoder("direct", (1, 1, 1), 1)
    for shift, low, high in ((1, -190, 192), (3, -48, 48)):
        layer = Linear(
            in_shape=(1, 1, 1), out_shape=(1, 1, 2), weight=np.full((2, 1), 3, np.int8), current_shift=shift,
            bias=np.full(2, 3, np.int32), threshold=np.zeros(2, np.int32), scale=np.ones(2),
            neuron=Neuron("li", Decay(), "none"), bound=Bound(0, 0),
        )  # fmt: skip
        layer = replace(layer, bound=prove_layer(layer, encoder, True))
        made = ensemble(QuantStudent((layer,), (0,), np.ones(2, np.int32), np.zeros(2, np.int32)), encoder=encoder)
        found = run_student(made, 0, np.arange(256, dtype=np.uint8)[:, None]).readout[:, 0]
        exact = (3 * np.arange(256, dtype=np.uint8).view(np.int8).astype(np.int64) + 3) / 2**shift
        assert found.tolist() == np.floor(exact + 0.5).astype(int).tolist()
        assert (found.min(), found.max()) == (low, high)
        assert layer.bound == Bound(2 * low, 2 * high)
