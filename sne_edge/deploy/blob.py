"""A model as data: one relocatable block of bytes, and the C that checks and runs it with the kernels that it needs.

In: chains of layers and a target. Out: the bytes of a `.blob` file; or what such a file says of itself.
runtime_c/sne_blob.h has the structures, runtime_c/sne_load.h how they are used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from ..codegen import context
from ..errors import SneError, shortened
from ..files import read_file
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from .targets import Target

MAGIC, VERSION = b"SNEB", 1
HEADER = struct.Struct("<4sHHII8sIII6HI7I5I")
STUDENT = struct.Struct("<13I")
STAGE = struct.Struct("<9I18H2i6Ii")
CRC_FROM = 16  # all behind the CRC itself
MOST_BYTES = 1 << 28
ORDERS = ("plain", "by output", "dsp", "swar", "thumb1")  # as sne_load.h numbers them
ENCODERS = ("direct", "rate", "events")
POLICIES = ("all", "first", "mask", "cascade", "budget", "routed")  # from 1 on
KERNELS = ("gather", "sweep", "scatter", "overlap", "collect", "depthwise", "mac", "convolve", "maxpool")
DECAYS, RESETS = ("none", "shift", "q15"), ("subtract", "zero", "delayed")
Rows = tuple[tuple[tuple[int, int], ...], ...]  # an axis: pairs by position
MOST_LOGIT = 1 << 30  # that the runtime takes; see sne_load_check.c


def kind_of(choices: dict[str, Any]) -> int:
    """A kernel's choices (`codegen.context.Tables.functions`) in the bits of sne_load.h."""
    if choices["kernel"] == "maxpool":
        return KERNELS.index("maxpool")
    bits: int = KERNELS.index(choices["kernel"]) | bool(choices["current"]) << 4 | (choices["weight_bits"] == 4) << 5
    bits |= (choices["width"] == "i32") << 6 | DECAYS.index(choices["decay"]) << 7
    bits |= (choices["shift"] or 0) << 9 | RESETS.index(choices["reset"] or "subtract") << 14
    return bits | bool(choices["clamp"]) << 16 | bool(choices["role"]) << 17


def order_of(target: Target) -> str:
    """How weights lie for a target's kernels."""
    if target.kernels == "swar":
        return "swar" if target.name == "cortex-m3" else "thumb1"
    return {"dsp": "dsp", "helium": "by output", "words": "swar"}.get(target.kernels, "plain")


def make_blob(ensemble: QuantEnsemble, target: Target) -> bytes:
    """The blob of a model for a target's kernels. Raises `SneError` where it cannot be one."""
    made = context.build(ensemble)
    _check_kind(ensemble, made)
    blob = _Blob(made, order_of(target))
    students = [_student(blob, student, made) for student in made["students"]]
    bound = max(abs(value) for value in made["bias"]) + sum(reached for _, reached in students)
    if bound > MOST_LOGIT:
        raise SneError(f"the logits of {ensemble.name} may be beyond what a loaded model can hold", _HINT)
    early = made["policy"]["early"]
    rejection = made["rejection"]
    numbers = () if rejection is None else (rejection.ratio, rejection.margin, *rejection.spikes)
    policy = made["policy"]
    places = (
        blob.add(b"".join(part for part, _ in students)),
        blob.add(bytes(made["order"])),
        blob.add(np.array(made["bias"], "<i4").tobytes()),
        blob.add(np.array(policy["margins"], "<i4").tobytes()) if policy["margins"] else 0,
        blob.add(bytes(made["routes"])) if made["routes"] else 0,
        blob.add(np.array(early, "<i4").tobytes()) if early else 0,
        blob.add(struct.pack("<iiII", *numbers)) if numbers else 0,
    )
    name = blob.add(made["name"].encode() + b"\0")
    encoder, state = made["encoder"], made["state"]
    body = blob.bytes()
    header = HEADER.pack(
        *(MAGIC, VERSION, ORDERS.index(blob.order), len(body), 0, bytes.fromhex(made["fingerprint"])),
        *(name, encoder["bytes"], state.bytes),
        *(encoder["size"], len(made["classes"]), len(students), made["spike_layers"], encoder["timesteps"]),
        *(ENCODERS.index(encoder["kind"]), encoder["seed"], *places, POLICIES.index(policy["kind"]) + 1),
        *(policy["students"], policy["mask"], policy["max_ops"], policy["timesteps"]),
    )
    return with_crc(header + body[HEADER.size :])


def with_crc(blob: bytes) -> bytes:
    """The same bytes with the CRC that belongs to them."""
    return blob[: CRC_FROM - 4] + struct.pack("<I", zlib.crc32(blob[CRC_FROM:])) + blob[CRC_FROM:]


_HINT = "export it as C instead: --format c"


def _check_kind(ensemble: QuantEnsemble, made: dict[str, Any]) -> None:
    why = ""
    if any(isinstance(student.graph, Graph) for student in ensemble.students) or ensemble.encoder.kind == "frames":
        why = "it is a graph, not a chain of layers"
    elif any(student["window"] for student in made["students"]):
        why = "its readout has a window"
    elif made["wide"]:
        why = "an axis of it has more than 65,535 pairs"
    if why:
        raise SneError(f"{ensemble.name} cannot be a blob: {why}", _HINT)


class _Blob:
    """Bytes that grow, each part from a word on."""

    def __init__(self, made: dict[str, Any], order: str) -> None:
        self.order = order
        self._parts = [bytes(HEADER.size)]
        self._length = HEADER.size
        self._axes: dict[str, tuple[int, int]] = {}
        self._rows: dict[str, Rows] = {name: rows for rows, name in made["tables"].axes.items()}
        self.functions: dict[str, dict[str, Any]] = made["tables"].functions

    def add(self, part: bytes) -> int:
        """Append a part; its offset."""
        place = self._length
        padded = part + bytes(-len(part) % 4)
        self._parts.append(padded)
        self._length += len(padded)
        return place

    def bytes(self) -> bytes:
        return b"".join(self._parts)

    def axis(self, name: str) -> tuple[int, int]:
        """Offsets of an axis' starts and pairs, stored once."""
        if name not in self._axes:
            rows = self._rows[name]
            start = np.array(list(accumulate(map(len, rows), initial=0)), "<u2")
            pairs = np.array([pair for row in rows for pair in row], "<u2")
            self._axes[name] = self.add(start.tobytes()), self.add(pairs.tobytes())
        return self._axes[name]

    def rows_of(self, name: str) -> Rows:
        """An axis' pairs, by position."""
        return self._rows[name]

    def rows_at_most(self, axes: tuple[str, str]) -> int:
        """Row pairs of the output row with most, times all column pairs."""
        rows, columns = (self._rows[name] for name in axes)
        return max(map(len, rows)) * sum(map(len, columns))


def _student(blob: _Blob, student: dict[str, Any], made: dict[str, Any]) -> tuple[bytes, int]:
    """A student's structure, its stages being in the blob already; and how far from 0 its part of a logit gets."""
    timesteps = made["encoder"]["timesteps"]
    stages, most = [], 0
    for layer in student["layers"]:
        packed, most = _stage(blob, layer, timesteps, made["name"])
        stages.append(packed)
    reached = np.minimum(most, timesteps * _readout_sums(blob, student["readout"]))
    gain, bias = np.array(student["gain"], np.int64), np.array(student["bias"], np.int64)
    early = made["state"].early[student["number"]] if made["state"].early else None
    steps = [0] * 7
    if early is not None:
        steps = [early.maps // 4, early.map_bytes // 4, early.rows // 4, early.kept // 4, early.first // 4]
        steps += [early.words, early.whole_updates]
    packed = STUDENT.pack(
        *(blob.add(b"".join(stages)), len(stages), student["updates"], student["max_ops"]),
        *(blob.add(gain.astype("<i4").tobytes()), blob.add(bias.astype("<i4").tobytes()), *steps),
    )
    return packed, int((np.abs(gain) * reached + np.abs(bias)).max())


def _stage(blob: _Blob, layer: dict[str, Any], timesteps: int, name: str) -> tuple[bytes, int]:
    """A stage's structure, and how far from 0 its membranes get."""
    stage, pool = layer["stage"], layer["kind"] == "pool"
    choices = blob.functions[layer["function"]]
    axes = (*blob.axis(layer["axes"][0]), *blob.axis(layer["axes"][1])) if layer["axes"] else (0, 0, 0, 0)
    places = (stage.incoming, stage.outgoing, stage.membranes, stage.current, stage.rows, stage.kept)
    in_words = (place // 4 for place in places)
    if pool:
        channels = layer["divide"][2]
        numbers = (*layer["input"], *layer["output"], *(0,) * 6, stage.capacity, channels, channels, 0, 0)
        packed = STAGE.pack(kind_of(choices), 0, 0, 0, *axes, *layer["divide"], *numbers, 0, 0, *in_words, -1)
        return packed, 0
    width, shifted = layer["width"], layer["current_shift"]
    threshold = np.array(layer["threshold"], f"<i{width // 8}")
    bias = np.array(layer["bias"], f"<i{layer['bias_width'] // 8}")
    reached = _sums(blob, layer, bias, timesteps, name)
    packed = STAGE.pack(
        *(kind_of(choices), blob.add(packed_weights(layer, blob.order)), blob.add(threshold.tobytes())),
        *(blob.add(bias.tobytes()), *axes, *layer["divide"], *layer["input"], *layer["output"], *layer["kernel"]),
        *(*layer["stride"], *layer["padding"], stage.capacity, layer["channels"], layer["padded"], layer["decay"]),
        *(shifted, *layer["clamp"], *in_words, layer["spike_index"]),
    )
    return packed, reached


def _sums(blob: _Blob, layer: dict[str, Any], bias: np.ndarray, timesteps: int, name: str) -> int:
    """How far from 0 a layer's membranes get, as the runtime sees it, which knows no proof; `SneError` where it would
    refuse that."""
    direct = layer["macro"] == "SNE_P8"
    height, width = layer["kernel"]
    rows: int = (blob.rows_at_most(layer["axes"]) if layer["axes"] else height * width) * layer["input"][2]
    once = max(1, int(np.abs(bias.astype(np.int64)).max())) + rows * (128 * 128 if direct else 128)
    sums = once * (timesteps + 1)
    if (layer["width"] == 32 and sums > MOST_LOGIT // 2) or once >= 2**31:
        raise SneError(f"sums of 32 bits in {name} may be beyond what a loaded model can hold", _HINT)
    return sums if layer["width"] == 32 else min(sums, 1 << 15)


def _readout_sums(blob: _Blob, layer: dict[str, Any]) -> np.ndarray:
    """int64 [classes]: what a timestep adds to each where every input spikes, signs aside."""
    weight = np.array(layer["weight"], np.int64)
    if layer["weight_bits"] == 4:
        four = np.stack([weight & 15, weight >> 4]).reshape(2, -1, 4)[:, :, [0, 2, 1, 3]] - 8
        weight = four.transpose(1, 0, 2).reshape(-1)
    rows = np.abs(weight).reshape(-1, layer["padded"] if layer["weight_bits"] == 8 else -(-layer["padded"] // 8) * 8)
    times = np.ones(len(rows), np.int64)
    if layer["axes"]:
        (down, height), (across, width) = zip(
            (blob.rows_of(name) for name in layer["axes"]), layer["kernel"], strict=True
        )
        taps = [
            np.bincount([tap for row in rows_ for _, tap in row], minlength=n)
            for rows_, n in ((down, height), (across, width))
        ]
        times = np.repeat(np.outer(*taps).reshape(-1), layer["input"][2])
    sums: np.ndarray = (rows * times[:, None]).sum(axis=0)[: layer["channels"]]
    return sums + np.abs(np.array(layer["bias"], np.int64))[: layer["channels"]]


def packed_weights(layer: dict[str, Any], order: str) -> bytes:
    """A layer's weights as the kernels of an order want them: see sne_weights.h."""
    weight = np.array(layer["weight"], np.int16)
    if layer["weight_bits"] == 4:
        return weight.astype(np.uint8).tobytes()
    if layer["macro"] == "SNE_W4":
        four = weight.reshape(-1, 4)
        if order in ("dsp", "swar", "thumb1"):
            four = four[:, [0, 2, 1, 3]]
        return (four + (128 if order in ("swar", "thumb1") else 0)).astype(np.uint8).tobytes()
    if order == "by output":
        return np.array(layer["by_output"], np.int16).astype(np.uint8).tobytes()
    if order == "dsp" and layer["blocks"]:
        a, b, c, d, e, f, g, h = np.array(layer["blocks"], np.int16).reshape(-1, 8).T
        eight = np.stack([a, b - (a < 0), e, f - (e < 0), c, d - (c < 0), g, h - (g < 0)], axis=1)
        return eight.astype(np.uint8).tobytes()
    eight = weight.reshape(-1, 8)
    if order == "dsp":
        eight = eight[:, [0, 1, 4, 5, 2, 3, 6, 7]]
    return (eight + (128 if order == "thumb1" else 0)).astype(np.uint8).tobytes()


def kinds_of(ensembles: Sequence[QuantEnsemble]) -> dict[str, tuple[int, dict[str, Any]]]:
    """The kernels that models need, by their functions' names: bits and choices."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for ensemble in ensembles:
        for name, choices in context.build(ensemble)["tables"].functions.items():
            found[name] = kind_of(choices), choices
    return found


@dataclass(frozen=True)
class BlobInfo:
    """What a blob says of itself. Bytes: `length`, `input_bytes`, `state_bytes`."""

    name: str
    fingerprint: str
    order: str
    encoder: str
    length: int
    input_bytes: int
    state_bytes: int
    inputs: int
    classes: int
    students: int
    stages: int
    timesteps: int


def read_blob(path: Path | str) -> BlobInfo:
    """Read and check a blob file: its header, CRC, and that students and stages lie in it. Raises `SneError`."""
    data = read_file(Path(path), MOST_BYTES, hint="make one with `sne-edge export MODEL --format blob`")
    hint = "make it again with `sne-edge export MODEL --format blob`"
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise SneError(f"{shortened(path)} is no blob", hint)
    fields = HEADER.unpack_from(data)
    version, order, length, crc, mark, name, input_bytes, state_bytes = fields[1:9]
    inputs, classes, students, _, timesteps, encoder, _, place = fields[9:17]
    if version != VERSION:
        raise SneError(f"{shortened(path)} is a blob of version {version}, not {VERSION}", hint)
    if not HEADER.size <= length <= len(data) or zlib.crc32(data[CRC_FROM:length]) != crc:
        raise SneError(f"{shortened(path)} is damaged: its CRC or its length is wrong", hint)
    if order >= len(ORDERS) or encoder >= len(ENCODERS) or not HEADER.size <= name < length or not students:
        raise SneError(f"{shortened(path)} is no sound blob: its header is out of range", hint)
    stages = 0
    for number in range(students):
        at = place + number * STUDENT.size
        if at + STUDENT.size > length:
            raise SneError(f"{shortened(path)} is no sound blob: student {number} lies outside of it", hint)
        first, count = STUDENT.unpack_from(data, at)[:2]
        if not count or first + count * STAGE.size > length:
            raise SneError(f"{shortened(path)} is no sound blob: layers of student {number} lie outside of it", hint)
        stages += count
    text = data[name:length].split(b"\0")[0].decode(errors="replace")
    return BlobInfo(
        *(text, mark.hex(), ORDERS[order], ENCODERS[encoder], length, input_bytes, state_bytes, inputs, classes),
        *(students, stages, timesteps),
    )
