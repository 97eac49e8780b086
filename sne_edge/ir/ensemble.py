"""The intermediate representation, `QuantEnsemble`: all that `export` needs, and what the file `.sne` holds."""

from __future__ import annotations

import math
import re
from functools import cached_property
from typing import Any, Literal

import msgspec
import numpy as np

from ..errors import shortened
from .checks import check, check_array
from .encoder import Encoder
from .frontend import LogMel
from .graph import Graph
from .graph_proof import check_graph, kept_graph_bytes
from .layers import Depthwise, Linear, MaxPool, SynapticLayer, rounding, size
from .limits import MAX_MEMBRANE_BYTES, MAX_PROOF, check_limits, kept_bytes, remembered
from .neuron import INT32
from .policy import ActivationPolicy, check_policy, pair_row
from .proof import direct_current, multiplicities, prove_layer, worst_ops
from .rejection import Rejection
from .student import QuantStudent, firing_layers
from .vectors import Vectors

MAX_STUDENTS = 32  # a mask of students is 32 bits


LOGIT_LIMIT = 2**30  # so that a difference of two logits fits in 32 bits


# Names that the generated C, the firmware and C itself have for files and functions of their own: a model's C called by
# one would meet it. The prefixes sne and sne_ are the runtime's.
_MET = re.compile(
    r"run|stream|student_\d+|main(_.*)?|startup(_.*)?|counter(_.*)?|stack|served(_model)?|board|port|uart(_.*)?|assert|complex"
    r"|ctype|errno|fenv|float|inttypes|iso646|limits|locale|math|setjmp|signal"
    r"|std(align|arg|atomic|bool|def|int|io|lib|noreturn)|string|tgmath|threads|time|uchar|wchar|wctype|serial|timer(_.*)?|clock"
    r"|trigger(_.*)?|profile|mlperf(_.*)?|speed(_.*)?|boot(_.*)?|stm32_pins"
)
_ASIDE = "_net"


def check_name(name: str) -> None:
    """Raise `ValueError` where an ensemble cannot have that name."""
    identifier = name.replace("-", "_")
    check(
        re.fullmatch(r"[a-z][a-z0-9_]{0,31}", identifier) is not None,
        f"name {shortened(name)!r} must be a lower-case C identifier of at most 32 characters (dashes allowed)",
    )
    check(re.fullmatch(r"sne(_.*)?", identifier) is None, f"name {name!r} is taken by the runtime")


class QuantEnsemble(msgspec.Struct, frozen=True, eq=False, dict=True):
    """A quantised spiking ensemble: all that `export` needs.

    logits = bias + sum over active students of (their bias + gain * readout membrane after the last timestep;
    of a graph, gain * the totals of its decoder)

    bias         int32 [classes]
    order        the order in which policies wake students
    routes       uint8 [classes * (classes - 1) / 2, students], or None: for each pair of classes, at row `pair_row`,
                 every student once, the most wanted first
    logit_scale  real value of one unit of logit
    policy       the policy of an inference that names none
    provenance   free JSON: teacher, data, seeds, measured accuracies
    frontend     what makes inputs of audio; unset where inputs come from elsewhere
    audio        int16 [A, samples]: recordings of which the first A golden inputs were made
    rejection    which inputs are none of the classes; unset where every input gets a label
    task         `regression`: the classes are outputs, and logits times `logit_scale` their values; labels and margins
                 mean nothing. Unset: a label
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
    rejection: Rejection | msgspec.UnsetType = msgspec.UNSET
    task: Literal["regression"] | msgspec.UnsetType = msgspec.UNSET

    def __post_init__(self) -> None:
        check_name(self.name)
        check(1 <= len(self.students) <= MAX_STUDENTS, f"{len(self.students)} students are not in 1..{MAX_STUDENTS}")
        count = len(self.classes)
        least = 1 if self.regression else 2
        check(least <= count <= 1024, f"{count} classes are not in {least}..1024")
        check(
            not self.regression or (self.rejection is msgspec.UNSET and self.policy.kind in ("all", "first", "mask")),
            "outputs that are numbers have no margin: no cascade and no rejection",
        )
        check_array("bias", self.bias, np.int32, (count,))
        check(
            sorted(self.order) == list(range(len(self.students))),
            f"order {self.order} does not name every student once",
        )
        check(math.isfinite(self.logit_scale) and self.logit_scale > 0, "logit_scale must be positive and finite")
        for number, student in enumerate(self.students):
            try:
                check_limits(student.layers)
            except ValueError as error:
                raise ValueError(f"student {number}: {error}") from None
        kept = sum(kept_bytes(student.layers) for student in self.students)
        kept += sum(kept_graph_bytes(student.graph) for student in self.students if isinstance(student.graph, Graph))
        check(kept <= MAX_MEMBRANE_BYTES, f"membranes of {kept} bytes are more than {MAX_MEMBRANE_BYTES}")
        worst = sum(sum(worst_ops(student, self.encoder)) for student in self.students)
        check(worst < 2**32, f"an inference can take {worst} operations, more than a 32-bit counter holds")
        updates = sum(student.neurons for student in self.students) * self.encoder.timesteps
        check(updates < 2**32, f"an inference takes {updates} neuron updates, more than a 32-bit counter holds")
        proof = self.encoder.timesteps * sum(
            student.neurons
            if isinstance(student.graph, Graph)
            else sum(layer.channels for layer in student.layers if isinstance(layer, SynapticLayer))
            for student in self.students
        )
        check(proof <= MAX_PROOF, f"{proof} channels times timesteps are more than can be proven, {MAX_PROOF}")
        for number, student in enumerate(self.students):  # after the counters: proofs are exact in 64 bits below them
            try:
                self._check_student(student)
            except ValueError as error:
                raise ValueError(f"student {number}: {error}") from None
        reach = np.abs(self.bias.astype(np.int64)) + sum(s.logit_range() for s in self.students)
        check(int(reach.max()) < LOGIT_LIMIT, f"logits can reach {int(reach.max())}, over the limit of {LOGIT_LIMIT}")
        self._check_routes()
        check_policy(self.policy, len(self.students), self.encoder.timesteps, self.routes is not None)
        check(
            not self.policy.early or all(len(s.layers) > 1 or isinstance(s.graph, Graph) for s in self.students),
            f"policy {self.policy.kind}: a student of a readout alone cannot end early",
        )
        cut = any(0 < remembered(s.readout) < self.encoder.timesteps for s in self.students if s.layers)
        check(not (self.policy.early and cut), "a chain whose window is shorter than an inference has no early stops")
        self._check_vectors()
        self._check_frontend()

    def _check_student(self, student: QuantStudent) -> None:
        check(student.classes == len(self.classes), f"{student.classes} outputs for {len(self.classes)} classes")
        if isinstance(student.graph, Graph):
            check_graph(student.graph, self.encoder)
            return
        check(self.encoder.kind != "frames", "a chain takes no frames; make it a graph")
        first = student.layers[0]
        same = (
            size(first.in_shape) == self.encoder.size
            if isinstance(first, Linear)
            else first.in_shape == self.encoder.shape
        )
        check(same, f"layer 0 takes {first.in_shape}, but the input is {self.encoder.shape}")
        check(
            self.encoder.kind != "direct" or (isinstance(first, SynapticLayer) and not isinstance(first, Depthwise)),
            "a direct input needs a linear layer or a full convolution first, not pooling or a depthwise one",
        )
        check(
            self.encoder.kind != "direct" or not isinstance(first, SynapticLayer) or first.bits == 8,
            "a direct input's layer multiplies, and needs weights of 8 bits",
        )
        for number, layer in enumerate(student.layers):
            if isinstance(layer, SynapticLayer) and layer.current_shift:
                check(
                    number == 0 and self.encoder.kind == "direct",
                    f"layer {number}: only a direct input's layer has a current to shift, by {layer.current_shift}",
                )
                bias = layer.bias.astype(np.int64) + rounding(layer.current_shift)
                reach = direct_current(layer.fan_in(), bias)
                check(
                    INT32[0] <= reach.min() and reach.max() <= INT32[1],
                    f"layer {number}: its current reaches {reach.min()}..{reach.max()} before it is shifted, which "
                    "does not fit in 32 bits",
                )
        counts = multiplicities(student.layers)
        for number, (layer, multiplicity) in enumerate(zip(student.layers, counts, strict=True)):
            if isinstance(layer, SynapticLayer):
                proven = prove_layer(layer, self.encoder, number == 0, multiplicity)
                check(proven is not None, f"layer {number}: its membranes can grow without limit; declare a clamp")
                check(
                    proven == layer.bound,
                    f"layer {number}: the stored bound {layer.bound} is not the proven one, {proven}",
                )
            elif isinstance(layer, MaxPool):
                check(
                    multiplicity == 1, f"layer {number}: max pooling needs binary spikes; put it before average pooling"
                )

    def _check_routes(self) -> None:
        if self.routes is not None:
            count = len(self.students)
            check_array("routes", self.routes, np.uint8, (pair_row(0, len(self.classes)), count))
            whole = (np.sort(self.routes, axis=1) == np.arange(count)).all(axis=1)
            check(bool(whole.all()), f"routes: row {int(whole.argmin())} does not name every student once")

    def _check_vectors(self) -> None:
        v, count = self.vectors, len(self.vectors.inputs)
        check_array("vectors.inputs", v.inputs, np.uint8, (count, self.encoder.input_bytes))
        check_array("vectors.logits", v.logits, np.int32, (count, len(self.classes)))
        check_array("vectors.active", v.active, np.uint32, (count,))
        check_array("vectors.spikes", v.spikes, np.uint32, (count, len(self.spike_layers)))
        check_array("vectors.ops", v.ops, np.uint32, (count, 2))
        check_array("vectors.labels", v.labels, np.int32, (count,))

    def _check_frontend(self) -> None:
        if not isinstance(self.frontend, LogMel):
            check(self.audio is msgspec.UNSET, "there is audio, but no front end")
            return
        shape = self.frontend.shape
        check(
            self.encoder.kind not in ("events", "frames"),
            f"a front end makes one map of values, but the input is {self.encoder.kind}",
        )
        check(self.encoder.shape == shape, f"the front end makes {shape}, but the input is {self.encoder.shape}")
        if isinstance(self.audio, np.ndarray):
            count = len(self.audio)
            check_array("audio", self.audio, np.int16, (count, self.frontend.samples))
            check(1 <= count <= len(self.vectors.inputs), f"{count} recordings for {len(self.vectors.inputs)} vectors")
            made = self.frontend.apply(self.audio).reshape(count, -1).view(np.uint8)
            check(
                np.array_equal(made, self.vectors.inputs[:count]), "the audio does not make the golden vectors' inputs"
            )

    @property
    def regression(self) -> bool:
        """Are the outputs numbers, and no classes?"""
        return self.task == "regression"

    @cached_property
    def spike_layers(self) -> list[tuple[int, int]]:
        """(student, layer) of every layer that fires; see `firing_layers`."""
        return firing_layers(self.students)

    @property
    def identifier(self) -> str:
        """The prefix of C names and files: the name, with `_net` behind it where C alike would meet another's."""
        plain = self.name.replace("-", "_")
        return plain + _ASIDE if _MET.fullmatch(plain) else plain


def with_frontend(ensemble: QuantEnsemble, frontend: LogMel, samples: np.ndarray) -> QuantEnsemble:
    """The ensemble with its front end, and as golden audio the recordings, int16 [A, n], of its first A golden vectors.

    Raises `ValueError` where the front end does not make an input of the ensemble's shape, or not these.
    """
    audio = np.zeros((len(samples), frontend.samples), np.int16)
    count = min(frontend.samples, samples.shape[1])
    audio[:, :count] = samples[:, :count]
    return msgspec.structs.replace(ensemble, frontend=frontend, audio=audio)
