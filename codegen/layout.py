"""How a model lies in a microcontroller's memory: packed weights, lookup tables, the state.

In: parts of a `QuantEnsemble`. Out: plain Python numbers and lists in the order in which the C runtime reads them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sne_edge.model import AvgPool, Conv, Linear, MaxPool, QuantEnsemble, SynapticLayer, size

Span = tuple[int, int, int]  # sne_span: first output, count, first tap


def tap_order(kernel: int, stride: int) -> list[int]:
    """The taps of one axis in the order in which consecutive outputs meet them.

    An input at padded position u reaches output o through tap u - o * stride: taps of one phase (mod stride),
    descending. Stored in that order, one spike reads one contiguous run of taps.
    """
    return [tap for phase in range(stride) for tap in reversed(range(phase, kernel, stride))]


def axis_spans(length: int, kernel: int, stride: int, padding: int) -> list[Span]:
    """For every input position of one axis, the outputs it reaches and where its taps start in `tap_order`."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    place = {tap: index for index, tap in enumerate(tap_order(kernel, stride))}
    spans = []
    for position in range(padding, length + padding):
        first = max(0, -((kernel - 1 - position) // stride))
        count = min(outputs - 1, position // stride) - first + 1
        spans.append((first, count, place[position - first * stride]) if count > 0 else (0, 0, 0))
    return spans


def pack_linear(layer: Linear) -> np.ndarray:
    """int8 [inputs, outputs]: one spike reads one row."""
    packed: np.ndarray = layer.weight.T
    return packed


def pack_conv(layer: Conv) -> np.ndarray:
    """int8 [input channels, vertical taps, horizontal taps, output channels], taps in `tap_order`."""
    rows, columns = (tap_order(layer.kernel[a], layer.stride[a]) for a in (0, 1))
    packed: np.ndarray = layer.weight[:, :, rows][:, :, :, columns].transpose(1, 2, 3, 0)
    return packed


def divider(divisor: int, count: int) -> tuple[int, int]:
    """(multiplier, shift) with (i * multiplier) >> shift == i // divisor for all 0 <= i < count in 32 bits.

    Multiplier 0 where there is none: the runtime then divides. Most cores here divide slowly or not at all.
    """
    i = np.arange(count, dtype=np.uint64)
    for shift in range(25):
        multiplier = -(-(1 << shift) // divisor)
        if (count - 1) * multiplier < 2**32 and ((i * np.uint64(multiplier)) >> np.uint64(shift) == i // divisor).all():
            return multiplier, shift
    return 0, 0


@dataclass(frozen=True)
class Field:
    """One array of the state: its C type, name, length and place."""

    ctype: str
    name: str
    length: int
    offset: int

    @property
    def bytes(self) -> int:
        return self.length * _BYTES[self.ctype]


_BYTES = {"int32_t": 4, "uint32_t": 4, "int16_t": 2, "uint16_t": 2, "uint8_t": 1}


@dataclass(frozen=True)
class StateLayout:
    """The state struct. `students`: each one's own arrays; `shared`: they overlap, only one student lives at a time."""

    head: list[Field]
    students: list[list[Field]]
    shared: bool
    tail: list[Field]
    bytes: int


def state_layout(ensemble: QuantEnsemble) -> StateLayout:
    """Place every array of the state; the C compiler checks the total."""
    head = _place(
        0, [("int32_t", "logits", len(ensemble.classes)), ("uint32_t", "spikes", max(1, len(ensemble.spike_layers)))]
    )
    shared = ensemble.encoder.kind != "events"
    start = end = _end(head, 4)
    students, widest = [], 1
    for student in ensemble.students:
        arrays = []
        for number, layer in enumerate(student.layers):
            if isinstance(layer, SynapticLayer):
                ctype = f"int{layer.width}_t"
                arrays.append((ctype, f"v{number}", layer.neurons))
                if number == 0 and ensemble.encoder.kind == "direct":
                    arrays.append((ctype, "current", layer.neurons))
        arrays.sort(key=lambda array: -_BYTES[array[0]])
        alignment = _BYTES[arrays[0][0]]
        widest = max(widest, alignment)
        fields = _place(_aligned(start, alignment), arrays)
        students.append(fields)
        end = max(end, _end(fields, alignment))
        if not shared:
            start = end
    sizes = event_buffers(ensemble)
    tail = _place(_aligned(end, widest), [(ctype, name, length) for ctype, name, length in sizes if length])
    return StateLayout(head, students, shared, tail, _end(tail, 4))


def event_buffers(ensemble: QuantEnsemble) -> list[tuple[str, str, int]]:
    """Scratch that all students share: event lists, the second one only for pooling, and max pooling's bits."""
    events = 0 if ensemble.encoder.kind == "direct" else ensemble.encoder.size
    pooled = seen = 0
    for student in ensemble.students:
        lengths = {"events": events, "pooled": 0}
        current, most = "events", ensemble.encoder.size
        for layer in student.layers:
            if isinstance(layer, AvgPool | MaxPool):
                current = other_buffer(current)
                if isinstance(layer, AvgPool):
                    reach = [
                        max(
                            c
                            for _, c, _ in axis_spans(
                                layer.in_shape[a], layer.kernel[a], layer.stride[a], layer.padding[a]
                            )
                        )
                        for a in (0, 1)
                    ]
                    most = most * reach[0] * reach[1]
                else:
                    most = size(layer.out_shape)
                    seen = max(seen, (most + 7) // 8)
                lengths[current] = max(lengths[current], most)
            elif layer.neuron.kind != "li":
                current, most = "events", layer.neurons
                lengths[current] = max(lengths[current], most)
        events, pooled = max(events, lengths["events"]), max(pooled, lengths["pooled"])
    return [("uint16_t", "events", max(1, events)), ("uint16_t", "pooled", pooled), ("uint8_t", "seen", seen)]


def other_buffer(name: str) -> str:
    """The buffer that pooling writes to when it reads `name`."""
    return "pooled" if name == "events" else "events"


def _place(start: int, arrays: list[tuple[str, str, int]]) -> list[Field]:
    fields = []
    for ctype, name, length in arrays:
        field = Field(ctype, name, length, start)
        fields.append(field)
        start += field.bytes
    return fields


def _end(fields: list[Field], alignment: int) -> int:
    """The end of a struct: its last member's, rounded up to the struct's alignment."""
    return _aligned(fields[-1].offset + fields[-1].bytes, alignment)


def _aligned(offset: int, alignment: int) -> int:
    return -(-offset // alignment) * alignment
