"""The intermediate representation: a quantised spiking ensemble, and its file, `.sne`.

Everything left of this module (torch) makes a `QuantEnsemble`, everything right of it reads one.
Shapes are (height, width, channels), channel last, 1-D data having height 1; flattening is in that order.
Every type checks itself on construction and raises `ValueError`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np

from .encoder import MAX_NEURONS, Encoder, Shape
from .frontend import LogMel
from .neuron import INT32, Bound, Neuron, prove_bound

Index = TypeVar("Index", int, np.ndarray)

MAX_STUDENTS = 32  # a mask of students is 32 bits
LOGIT_LIMIT = 2**30  # so that a difference of two logits fits in 32 bits
Pair = tuple[int, int]  # (vertical, horizontal)
# A model's name becomes C files and the prefix of C identifiers; these are the runtime's, the firmware's or C's own.
_TAKEN = re.compile(
    r"sne(_.*)?|stream|student_\d+|main|startup|counter|stack|served_model|board|port|uart.*|assert|complex|ctype|errno|fenv"
    r"|float|inttypes|iso646|limits|locale|math|setjmp|signal|std(arg|bool|def|int|io|lib)|string|tgmath|time|wchar|wctype"
)


def _check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    _check(
        array.dtype == dtype and array.shape == shape,
        f"{name} is {array.dtype}{list(array.shape)}, not {np.dtype(dtype)}{list(shape)}",
    )
    array.setflags(write=False)


def size(shape: Shape) -> int:
    """Number of values in a map."""
    return shape[0] * shape[1] * shape[2]


def window_out(shape: Shape, kernel: Pair, stride: Pair, padding: Pair) -> Pair:
    """Height and width of a convolution's or pooling's output (floor, as in torch)."""
    out = tuple((shape[a] + 2 * padding[a] - kernel[a]) // stride[a] + 1 for a in (0, 1))
    return out[0], out[1]


def window_taps(length: int, kernel: int, stride: int, padding: int) -> np.ndarray:
    """Along one axis, how many output positions each of `length` input positions reaches: int64 [length]."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    position = np.arange(padding, length + padding, dtype=np.int64)
    first = np.maximum(0, -((kernel - 1 - position) // stride))
    last = np.minimum(outputs - 1, position // stride)
    taps: np.ndarray = np.maximum(0, last - first + 1)
    return taps


def _check_window(shape: Shape, out: Shape, kernel: Pair, stride: Pair, padding: Pair) -> None:
    _check(
        min(kernel) >= 1 and min(stride) >= 1 and min(padding) >= 0,
        f"kernel {kernel}, stride {stride}, padding {padding} are out of range",
    )
    _check(max(*kernel, *stride) <= 255, f"kernel {kernel} or stride {stride} is larger than 255")
    _check(
        padding[0] < kernel[0] and padding[1] < kernel[1], f"padding {padding} must be smaller than the kernel {kernel}"
    )
    expected = window_out(shape, kernel, stride, padding)
    _check(
        min(expected) >= 1 and out[:2] == expected,
        f"kernel {kernel}, stride {stride}, padding {padding} make {expected} of {shape[:2]}, not {out[:2]}",
    )


def _check_shapes(*shapes: Shape) -> None:
    for shape in shapes:
        _check(min(shape) >= 1 and size(shape) <= MAX_NEURONS, f"shape {shape} must hold 1 to {MAX_NEURONS} values")


class SynapticLayer(msgspec.Struct, frozen=True, eq=False, tag_field="op", dict=True):
    """What `Linear` and `Conv` share: int8 weights into integer neurons (`Neuron` has the equations).

    weight     int8, see the subclass
    bias       int32 [channels], added at every timestep
    threshold  int32 [channels], >= 1 (0 for the readout, `li`, which has none)
    scale      float64 [channels], the real value of one unit of membrane, weight and threshold
    bound      the proven range of the membranes; `width` follows from it
    bits       of a weight on the device: 8, or 4, two to a byte; then weights are within -8..7
    """

    in_shape: Shape
    out_shape: Shape
    weight: np.ndarray
    bias: np.ndarray
    threshold: np.ndarray
    scale: np.ndarray
    neuron: Neuron
    bound: Bound
    bits: int = 8

    def __post_init__(self) -> None:
        _check_shapes(self.in_shape, self.out_shape)
        channels = (self.channels,)
        _check_array("bias", self.bias, np.int32, channels)
        _check_array("threshold", self.threshold, np.int32, channels)
        _check_array("scale", self.scale, np.float64, channels)
        _check(bool(np.isfinite(self.scale).all() and (self.scale > 0).all()), "scale must be positive and finite")
        spiking = self.neuron.kind != "li"
        _check(
            bool((self.threshold >= 1).all() if spiking else (self.threshold == 0).all()),
            "threshold must be at least 1 (0 for li)",
        )
        _check(self.bits in (4, 8), f"weights have 8 or 4 bits, not {self.bits}")
        low, high = (int(self.weight.min(initial=0)), int(self.weight.max(initial=0)))
        _check(self.bits == 8 or (low >= -8 and high <= 7), f"weights in {low}..{high} do not fit in 4 bits")
        _check(self.bound.width in (16, 32), f"membranes in {self.bound.low}..{self.bound.high} do not fit in 32 bits")

    @property
    def channels(self) -> int:
        return self.out_shape[2]

    @property
    def neurons(self) -> int:
        return size(self.out_shape)

    @property
    def width(self) -> int:
        """Bits of a membrane: 16 or 32."""
        return self.bound.width

    def fan_out(self) -> np.ndarray:
        """Weights one spike of each input meets, int64 of `in_shape`: the synaptic operations it costs."""
        raise TypeError("a layer is a Linear or a Conv")

    def fan_in(self) -> np.ndarray:
        """Weights by output channel, int64 [channels, fan-in]."""
        return self.weight.reshape(self.channels, -1).astype(np.int64)


class Linear(SynapticLayer, frozen=True, eq=False, tag="linear", dict=True):
    """Fully connected: I[o] = sum over spikes i of weight[o, i]; weight int8 [out, in], out_shape (1, 1, out)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.out_shape[:2] == (1, 1), f"a linear layer's output shape is (1, 1, n), not {self.out_shape}")
        _check_array("weight", self.weight, np.int8, (self.channels, size(self.in_shape)))

    def fan_out(self) -> np.ndarray:
        return np.full(self.in_shape, self.channels, dtype=np.int64)


class Conv(SynapticLayer, frozen=True, eq=False, tag="conv", dict=True, kw_only=True):
    """Convolution (cross-correlation, as in torch) with zero padding; weight int8 [out, in, height, width].

    A 1-D convolution has height 1 and kernel height 1.
    """

    stride: Pair = (1, 1)
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.weight.ndim == 4, "a convolution's weight has 4 axes")
        _check_array("weight", self.weight, np.int8, (self.channels, self.depth, *self.kernel))
        _check_window(self.in_shape, self.out_shape, self.kernel, self.stride, self.padding)

    @property
    def kernel(self) -> Pair:
        return self.weight.shape[2], self.weight.shape[3]

    @property
    def depth(self) -> int:
        """Input channels that an output sees."""
        return self.in_shape[2]

    @property
    def reach(self) -> int:
        """Output channels that an input reaches."""
        return self.channels

    def fan_out(self) -> np.ndarray:
        rows, columns = (window_taps(self.in_shape[a], self.kernel[a], self.stride[a], self.padding[a]) for a in (0, 1))
        taps = rows[:, None, None] * columns[None, :, None] * self.reach
        return np.broadcast_to(taps, self.in_shape)


class Depthwise(Conv, frozen=True, eq=False, tag="depthwise", dict=True, kw_only=True):
    """Convolution of each channel by itself (torch's groups = channels); weight int8 [channels, 1, height, width].

    A direct input cannot be its input: it takes spikes.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(self.in_shape[2] == self.channels, "a depthwise convolution keeps the number of channels")
        _check(self.bits == 8, "a depthwise convolution has 8-bit weights")

    @property
    def depth(self) -> int:
        return 1

    @property
    def reach(self) -> int:
        return 1


class Pool(msgspec.Struct, frozen=True, tag_field="op", dict=True):
    """What the poolings share: a window over spikes, channel by channel, without state."""

    in_shape: Shape
    out_shape: Shape
    kernel: Pair
    stride: Pair
    padding: Pair = (0, 0)

    def __post_init__(self) -> None:
        _check_shapes(self.in_shape, self.out_shape)
        _check(self.in_shape[2] == self.out_shape[2], "pooling keeps the number of channels")
        _check_window(self.in_shape, self.out_shape, self.kernel, self.stride, self.padding)


class AvgPool(Pool, frozen=True, tag="avgpool", dict=True):
    """Counts the spikes in its window: each one passes on, to its place in the smaller map.

    The division by the window's area is folded into the scale of the next layer, so this costs no arithmetic.
    """


class MaxPool(Pool, frozen=True, tag="maxpool", dict=True):
    """One spike where the window holds any; its input must be binary (not an `AvgPool`)."""


Layer = Linear | Conv | Depthwise | AvgPool | MaxPool


class QuantStudent(msgspec.Struct, frozen=True, eq=False, dict=True):
    """One spiking network of the ensemble, readout last; alone it makes logits, with others a part of their sum.

    features  indices of the teacher's features that it was taught
    gain      int32 [classes] >= 1: its logits are bias + gain * readout membrane (the head is folded in the readout)
    bias      int32 [classes], added where the student is active (it replaces its chunk's mean in `QuantEnsemble.bias`)
    mean_ops, max_ops   operations (synaptic and MAC) of one inference, measured on held-out data
    layer_ops  the mean by layer, rounded; empty where nothing was measured
    """

    layers: tuple[Layer, ...]
    features: tuple[int, ...]
    gain: np.ndarray
    bias: np.ndarray
    mean_ops: int = 0
    max_ops: int = 0
    layer_ops: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        _check(len(self.layers) >= 1, "a student has at least one layer")
        for number, (before, after) in enumerate(zip(self.layers, self.layers[1:], strict=False), start=1):
            same = (
                size(before.out_shape) == size(after.in_shape)
                if isinstance(after, Linear)
                else before.out_shape == after.in_shape
            )
            _check(same, f"layer {number} takes {after.in_shape}, but layer {number - 1} gives {before.out_shape}")
        readout = self.layers[-1]
        _check(
            isinstance(readout, Linear) and readout.neuron.kind == "li",
            "a student's last layer must be a linear readout of li neurons",
        )
        for number, layer in enumerate(self.layers[:-1]):
            spiking = not isinstance(layer, SynapticLayer) or layer.neuron.kind != "li"
            _check(spiking, f"layer {number} is a readout (li), but not the last layer")
        classes = (self.classes,)
        _check_array("gain", self.gain, np.int32, classes)
        _check_array("bias", self.bias, np.int32, classes)
        _check(bool((self.gain >= 1).all()), "gain must be at least 1")
        _check(
            0 <= self.mean_ops <= self.max_ops < 2**32,
            f"operations {self.mean_ops} (mean), {self.max_ops} (highest) are out of range",
        )

        _check(len(self.layer_ops) in (0, len(self.layers)), "layer_ops names every layer or none")

    @property
    def classes(self) -> int:
        return self.layers[-1].out_shape[2]

    @property
    def readout(self) -> Linear:
        readout = self.layers[-1]
        assert isinstance(readout, Linear)
        return readout

    def logit_range(self) -> np.ndarray:
        """int64 [classes]: the largest magnitude its part of each logit can have."""
        reach = max(-self.readout.bound.low, self.readout.bound.high, 0)
        return np.abs(self.bias.astype(np.int64)) + self.gain.astype(np.int64) * reach


def multiplicities(layers: tuple[Layer, ...]) -> list[int]:
    """How many spikes one input of each layer can bring in one timestep (more than one after average pooling)."""
    counts, count = [], 1
    for layer in layers:
        counts.append(count)
        count = count * layer.kernel[0] * layer.kernel[1] if isinstance(layer, AvgPool) else 1
    return counts


def worst_ops(student: QuantStudent, encoder: Encoder) -> list[int]:
    """Most operations each layer can do in one inference: every input spiking at every timestep; 0 for pooling."""
    worst = []
    for number, (layer, multiplicity) in enumerate(zip(student.layers, multiplicities(student.layers), strict=True)):
        if not isinstance(layer, SynapticLayer):
            worst.append(0)
            continue
        once = number == 0 and encoder.kind == "direct"
        worst.append(int(layer.fan_out().sum()) * (1 if once else multiplicity * encoder.timesteps))
    return worst


def prove_layer(layer: SynapticLayer, encoder: Encoder, first: bool, multiplicity: int = 1) -> Bound | None:
    """The bound of one layer's membranes in its place in the chain; None where only a clamp would bound them.

    `first`: the layer takes the encoder's output (int8 values under `direct`, spikes otherwise).
    """
    weight = layer.fan_in()
    bias = layer.bias.astype(np.int64)
    negative = np.minimum(weight, 0).sum(axis=1) * multiplicity
    positive = np.maximum(weight, 0).sum(axis=1) * multiplicity
    constant = np.stack([bias, bias])
    if first and encoder.kind == "direct":
        constant = np.stack([bias + 127 * negative - 128 * positive, bias + 127 * positive - 128 * negative])
        negative = positive = np.zeros_like(bias)
    steps = None if encoder.kind == "events" else encoder.timesteps
    return prove_bound(layer.neuron, negative, positive, constant, layer.threshold.astype(np.int64), steps)


PolicyKind = Literal["all", "first", "mask", "cascade", "budget", "routed"]


class ActivationPolicy(msgspec.Struct, frozen=True):
    """Which students wake for an input. Students run in the ensemble's order, but for `routed`.

    all      every student
    first    the first `students` of the order
    mask     the students whose bit is set in `mask`
    cascade  stop after stage k (k + 1 students run) where top-1 minus top-2 logit >= margins[k]
    budget   start a student only while the operations so far plus its highest measured ones stay within
             `max_ops`; the first always runs
    routed   a cascade that chooses who comes next: the order's first student, then, while top-1 minus top-2 logit
             < margins[k] with k + 1 students run, the first of the ensemble's route for these two classes that has
             not run
    timesteps  run fewer timesteps than the encoder's; 0: all
    early      of a cascade, by stage and timesteps, flat [students * (the encoder's timesteps - 1)], or none: the
               student of stage k ends, and with it the cascade, after t timesteps where top-1 minus top-2 logit
               >= early[k * (timesteps - 1) + t - 1]. A direct input's first layer has run all of its timesteps by then
    """

    kind: PolicyKind = "all"
    students: int = 0
    mask: int = 0
    margins: tuple[int, ...] = ()
    max_ops: int = 0
    timesteps: int = 0
    early: tuple[int, ...] = ()


class Vectors(msgspec.Struct, frozen=True, eq=False):
    """Golden vectors: inputs and what the reference made of them under the ensemble's own policy.

    inputs uint8 [N, input_bytes]; logits int32 [N, classes]; active uint32 [N] (mask of students run);
    spikes uint32 [N, spike layers] (sums over timesteps, by student, then layer; 0 for a student not run);
    ops uint32 [N, 2] (synaptic operations, MACs); labels int32 [N]: the true class, -1 where unknown.
    """

    inputs: np.ndarray
    logits: np.ndarray
    active: np.ndarray
    spikes: np.ndarray
    ops: np.ndarray
    labels: np.ndarray


def firing_layers(students: Iterable[QuantStudent]) -> list[tuple[int, int]]:
    """(student, layer) of every layer that fires, in the order in which spike counts are reported."""
    return [
        (s, n)
        for s, student in enumerate(students)
        for n, layer in enumerate(student.layers)
        if isinstance(layer, SynapticLayer) and layer.neuron.kind != "li"
    ]


def no_vectors(encoder: Encoder, classes: int, students: Iterable[QuantStudent]) -> Vectors:
    """Golden vectors of the right shapes, none of them."""
    spiking = len(firing_layers(students))
    return Vectors(
        inputs=np.zeros((0, encoder.input_bytes), np.uint8),
        logits=np.zeros((0, classes), np.int32),
        active=np.zeros(0, np.uint32),
        spikes=np.zeros((0, spiking), np.uint32),
        ops=np.zeros((0, 2), np.uint32),
        labels=np.zeros(0, np.int32),
    )


class QuantEnsemble(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A quantised spiking ensemble: all that `export` needs.

    logits = bias + sum over active students of (their bias + gain * readout membrane after the last timestep)

    bias         int32 [classes]
    order        the order in which policies wake students
    routes       uint8 [classes * (classes - 1) / 2, students], or None: for each pair of classes, at row `pair_row`,
                 every student once, the most wanted first
    logit_scale  real value of one unit of logit
    policy       the policy of an inference that names none
    provenance   free JSON: teacher, data, seeds, measured accuracies
    frontend     what makes inputs of audio; unset where inputs come from elsewhere
    audio        int16 [A, samples]: recordings of which the first A golden inputs were made
    """

    name: str
    encoder: Encoder
    students: tuple[QuantStudent, ...]
    bias: np.ndarray
    order: tuple[int, ...]
    classes: tuple[str, ...]
    logit_scale: float
    policy: ActivationPolicy
    vectors: Vectors
    provenance: dict[str, Any] = {}
    frontend: LogMel | msgspec.UnsetType = msgspec.UNSET  # unset fields leave no trace in a file or fingerprint
    audio: np.ndarray | msgspec.UnsetType = msgspec.UNSET
    routes: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check(
            re.fullmatch(r"[a-z][a-z0-9_]{0,31}", self.name.replace("-", "_")) is not None,
            f"name {self.name!r} must be a lower-case C identifier of at most 32 characters (dashes allowed)",
        )
        _check(_TAKEN.fullmatch(self.identifier) is None, f"name {self.name!r} is taken by the runtime or by C")
        _check(1 <= len(self.students) <= MAX_STUDENTS, f"{len(self.students)} students are not in 1..{MAX_STUDENTS}")
        count = len(self.classes)
        _check(2 <= count <= 1024, f"{count} classes are not in 2..1024")
        _check_array("bias", self.bias, np.int32, (count,))
        _check(
            sorted(self.order) == list(range(len(self.students))),
            f"order {self.order} does not name every student once",
        )
        _check(math.isfinite(self.logit_scale) and self.logit_scale > 0, "logit_scale must be positive and finite")
        worst = sum(sum(worst_ops(student, self.encoder)) for student in self.students)
        _check(worst < 2**32, f"an inference can take {worst} operations, more than a 32-bit counter holds")
        neurons = sum(x.neurons for s in self.students for x in s.layers if isinstance(x, SynapticLayer))
        updates = neurons * self.encoder.timesteps
        _check(updates < 2**32, f"an inference takes {updates} neuron updates, more than a 32-bit counter holds")
        for number, student in enumerate(self.students):  # after the counters: proofs are exact in 64 bits below them
            try:
                self._check_student(student)
            except ValueError as error:
                raise ValueError(f"student {number}: {error}") from None
        reach = np.abs(self.bias.astype(np.int64)) + sum(s.logit_range() for s in self.students)
        _check(int(reach.max()) < LOGIT_LIMIT, f"logits can reach {int(reach.max())}, over the limit of {LOGIT_LIMIT}")
        self._check_routes()
        check_policy(self.policy, len(self.students), self.encoder.timesteps, self.routes is not None)
        _check(
            not self.policy.early or all(len(student.layers) > 1 for student in self.students),
            f"policy {self.policy.kind}: a student of a readout alone cannot end early",
        )
        self._check_vectors()
        self._check_frontend()

    def _check_student(self, student: QuantStudent) -> None:
        _check(student.classes == len(self.classes), f"{student.classes} outputs for {len(self.classes)} classes")
        first = student.layers[0]
        same = (
            size(first.in_shape) == self.encoder.size
            if isinstance(first, Linear)
            else first.in_shape == self.encoder.shape
        )
        _check(same, f"layer 0 takes {first.in_shape}, but the input is {self.encoder.shape}")
        _check(
            self.encoder.kind != "direct" or (isinstance(first, SynapticLayer) and not isinstance(first, Depthwise)),
            "a direct input needs a linear layer or a full convolution first, not pooling or a depthwise one",
        )
        _check(
            self.encoder.kind != "direct" or not isinstance(first, SynapticLayer) or first.bits == 8,
            "a direct input's layer multiplies, and needs weights of 8 bits",
        )
        counts = multiplicities(student.layers)
        for number, (layer, multiplicity) in enumerate(zip(student.layers, counts, strict=True)):
            if isinstance(layer, SynapticLayer):
                proven = prove_layer(layer, self.encoder, number == 0, multiplicity)
                _check(proven is not None, f"layer {number}: its membranes can grow without limit; declare a clamp")
                _check(
                    proven == layer.bound,
                    f"layer {number}: the stored bound {layer.bound} is not the proven one, {proven}",
                )
            elif isinstance(layer, MaxPool):
                _check(
                    multiplicity == 1, f"layer {number}: max pooling needs binary spikes; put it before average pooling"
                )

    def _check_routes(self) -> None:
        if self.routes is not None:
            count = len(self.students)
            _check_array("routes", self.routes, np.uint8, (pair_row(0, len(self.classes)), count))
            whole = (np.sort(self.routes, axis=1) == np.arange(count)).all(axis=1)
            _check(bool(whole.all()), f"routes: row {int(whole.argmin())} does not name every student once")

    def _check_vectors(self) -> None:
        v, count = self.vectors, len(self.vectors.inputs)
        _check_array("vectors.inputs", v.inputs, np.uint8, (count, self.encoder.input_bytes))
        _check_array("vectors.logits", v.logits, np.int32, (count, len(self.classes)))
        _check_array("vectors.active", v.active, np.uint32, (count,))
        _check_array("vectors.spikes", v.spikes, np.uint32, (count, len(self.spike_layers)))
        _check_array("vectors.ops", v.ops, np.uint32, (count, 2))
        _check_array("vectors.labels", v.labels, np.int32, (count,))

    def _check_frontend(self) -> None:
        if not isinstance(self.frontend, LogMel):
            _check(self.audio is msgspec.UNSET, "there is audio, but no front end")
            return
        shape = self.frontend.shape
        _check(self.encoder.kind != "events", "a front end makes values, but the input is events")
        _check(self.encoder.shape == shape, f"the front end makes {shape}, but the input is {self.encoder.shape}")
        if isinstance(self.audio, np.ndarray):
            count = len(self.audio)
            _check_array("audio", self.audio, np.int16, (count, self.frontend.samples))
            _check(1 <= count <= len(self.vectors.inputs), f"{count} recordings for {len(self.vectors.inputs)} vectors")
            made = self.frontend.apply(self.audio).reshape(count, -1).view(np.uint8)
            _check(
                np.array_equal(made, self.vectors.inputs[:count]), "the audio does not make the golden vectors' inputs"
            )

    @cached_property
    def spike_layers(self) -> list[tuple[int, int]]:
        """(student, layer) of every layer that fires; see `firing_layers`."""
        return firing_layers(self.students)

    @property
    def identifier(self) -> str:
        """The C prefix."""
        return self.name.replace("-", "_")


def with_frontend(ensemble: QuantEnsemble, frontend: LogMel, samples: np.ndarray) -> QuantEnsemble:
    """The ensemble with its front end, and as golden audio the recordings, int16 [A, n], of its first A golden vectors.

    Raises `ValueError` where the front end does not make an input of the ensemble's shape, or not these.
    """
    audio = np.zeros((len(samples), frontend.samples), np.int16)
    count = min(frontend.samples, samples.shape[1])
    audio[:, :count] = samples[:, :count]
    return msgspec.structs.replace(ensemble, frontend=frontend, audio=audio)


def pair_row(low: Index, high: Index) -> Index:
    """The row of `QuantEnsemble.routes` for two classes, low < high: (0, 1), (0, 2), (1, 2), (0, 3), ..."""
    row: Index = high * (high - 1) // 2 + low
    return row


def check_policy(policy: ActivationPolicy, students: int, timesteps: int, routes: bool) -> None:
    """Raise `ValueError` where a policy does not fit an ensemble, which has `routes` or not; C refuses the same ones
    (SNE_E_POLICY)."""
    kind = policy.kind  # fields that it does not name are checked too: they reach the generated C
    margin = kind in ("cascade", "routed")
    _check(routes or kind != "routed", "policy routed: the ensemble has no routes; `sne-edge calibrate` makes them")
    _check(
        (kind == "first") <= policy.students <= students,
        f"policy {kind}: {policy.students} students are not in 1..{students}",
    )
    _check(
        (kind == "mask") <= policy.mask < 2**students,
        f"policy {kind}: mask {policy.mask:#x} must name at least one of {students} students and no other",
    )
    _check(
        len(policy.margins) == students - 1 or (not margin and not policy.margins),
        f"policy {kind}: {len(policy.margins)} margins for {students} students; one fewer than students is needed",
    )
    _check(all(0 <= m <= INT32[1] for m in policy.margins), f"policy {kind}: margins must be in 0..2^31-1")
    _check(
        (kind == "budget") <= policy.max_ops < 2**32,
        f"policy {kind}: {policy.max_ops} operations are not in 1..2^32-1",
    )
    _check(0 <= policy.timesteps <= timesteps, f"{policy.timesteps} timesteps are not in 0..{timesteps}")
    _check(margin or not policy.early, f"policy {kind}: only cascades end students early")
    _check(
        len(policy.early) in (0, students * (timesteps - 1)),
        f"policy {kind}: {len(policy.early)} early margins for {students} students of {timesteps} timesteps",
    )
    _check(all(0 <= m <= INT32[1] for m in policy.early), f"policy {kind}: early margins must be in 0..2^31-1")
