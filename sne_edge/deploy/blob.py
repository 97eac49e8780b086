"""A model as data: one relocatable block of bytes, that C checks and runs with the kernels that it needs.

In: a model and a target. Out: the bytes of a `.blob` file; or what such a file says of itself.
runtime_c/sne_blob.h has the structures, runtime_c/sne_load.h how they are used.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..codegen import context, graph
from ..errors import SneError, shortened
from ..files import read_file
from ..ir.ensemble import QuantEnsemble
from ..ir.frontend import LogMel
from . import blob_graph
from .blob_parts import DECAYS, KERNELS, ORDERS, WIDE, Parts, packed_weights
from .blob_sums import BEYOND, MOST_LOGIT, layer_reach
from .targets import Target

MAGIC, VERSION = b"SNEB", 2
HEADER = struct.Struct("<4sHHII8sIII6HI7I8I")
STREAM = struct.Struct("<5I")
STUDENT = struct.Struct("<16I")
STAGE = struct.Struct("<I52sII4H2i6Ii")
FRONTEND = struct.Struct("<5I6HhH")
CRC_FROM = 16  # all behind the CRC itself
MOST_BYTES = 1 << 28
ENCODERS = ("direct", "rate", "events", "frames")
POLICIES = ("all", "first", "mask", "cascade", "budget", "routed")  # from 1 on
CHAIN_RESETS = ("subtract", "zero", "delayed")


def kind_of(choices: dict[str, Any]) -> int:
    """A kernel's choices (`codegen.context.Tables.functions`) in the bits of sne_load.h."""
    if choices["kernel"] == "maxpool":
        return KERNELS.index("maxpool")
    bits: int = KERNELS.index(choices["kernel"]) | bool(choices["current"]) << 4 | (choices["weight_bits"] == 4) << 5
    bits |= (choices["width"] == "i32") << 6 | DECAYS.index(choices["decay"]) << 7
    bits |= (choices["shift"] or 0) << 9 | CHAIN_RESETS.index(choices["reset"] or "subtract") << 14
    return bits | bool(choices["clamp"]) << 16 | bool(choices["role"]) << 17


def order_of(target: Target) -> str:
    """How weights lie for a target's kernels."""
    if target.kernels == "swar":
        return "swar" if target.name == "cortex-m3" else "thumb1"
    return {"dsp": "dsp", "helium": "by output", "words": "swar"}.get(target.kernels, "plain")


@dataclass(frozen=True)
class Kinds:
    """The kernels that models need: by their functions' names, bits and choices; of graphs, choices by bits. `wide`:
    for axes of more than 65,535 pairs; `wraps`: compiled so that sums wrap."""

    layers: dict[str, tuple[int, dict[str, Any]]]
    brings: dict[int, dict[str, Any]]
    fires: dict[int, dict[str, Any]]
    wide: bool
    wraps: bool


def make_blob(ensemble: QuantEnsemble, target: Target) -> bytes:
    """The blob of a model for a target's kernels, with its own kernels alone in mind (`make_blobs`)."""
    return make_blobs([ensemble], target)[0][0]


def make_blobs(ensembles: Sequence[QuantEnsemble], target: Target) -> tuple[list[bytes], Kinds]:
    """The blobs of models for one build, and the kernels that it must hold."""
    contexts = []
    for ensemble in ensembles:
        contexts.append(context.build(ensemble))
        graph.extend(contexts[-1], ensemble)
    kinds = Kinds({}, {}, {}, any(made["wide"] for made in contexts), False)
    blobs = []
    for ensemble, made in zip(ensembles, contexts, strict=True):
        blob, wraps = _made(made, ensemble, target, kinds.wide)
        kinds = replace(kinds, wraps=kinds.wraps or wraps)
        blobs.append(blob)
        for name, choices in made["tables"].functions.items():
            kinds.layers[name] = kind_of(choices), choices
        if made["graph_functions"]:
            more = blob_graph.kinds_of(made["graph_functions"])
            kinds.brings.update(more[0])
            kinds.fires.update(more[1])
    return blobs, kinds


def _made(made: dict[str, Any], ensemble: QuantEnsemble, target: Target, wide: bool) -> tuple[bytes, bool]:
    """A blob, and whether sums of it might wrap."""
    order = order_of(target)
    blob = Parts(HEADER.size, made["tables"].axes, order, wide or made["wide"])
    students = [_student(blob, student, made) for student in made["students"]]
    bound = max(abs(value) for value in made["bias"]) + sum(reached for _, reached in students)
    blob.wraps |= bound > MOST_LOGIT
    early = made["policy"]["early"]
    rejection = made["rejection"]
    numbers = () if rejection is None else (rejection.ratio, rejection.margin, *rejection.spikes)
    policy = made["policy"]
    places = (
        blob.add(b"".join(part for part, _ in students)),
        blob.add(bytes(made["order"])),
        blob.array(made["bias"], "<i4"),
        blob.array(policy["margins"], "<i4"),
        blob.add(bytes(made["routes"])) if made["routes"] else 0,
        blob.array(early, "<i4"),
        blob.add(struct.pack("<iiII", *numbers)) if numbers else 0,
    )
    name = blob.add(made["name"].encode() + b"\0")
    encoder, state = made["encoder"], made["state"]
    more = (state.kept // 4, _stream(blob, state) if made["streams"] else 0, _frontend(blob, ensemble))
    body = blob.whole()
    header = HEADER.pack(
        *(MAGIC, VERSION, ORDERS.index(order) | (WIDE if blob.wide else 0), len(body), 0),
        *(bytes.fromhex(made["fingerprint"]), name, encoder["bytes"], state.bytes),
        *(encoder["size"], len(made["classes"]), len(students), made["spike_layers"], encoder["timesteps"]),
        *(ENCODERS.index(encoder["kind"]), encoder["seed"], *places, POLICIES.index(policy["kind"]) + 1),
        *(policy["students"], policy["mask"], policy["max_ops"], policy["timesteps"], *more),
    )
    return with_crc(header + body[HEADER.size :]), blob.wraps


def with_crc(blob: bytes) -> bytes:
    """The same bytes with the CRC that belongs to them."""
    return blob[: CRC_FROM - 4] + struct.pack("<I", zlib.crc32(blob[CRC_FROM:])) + blob[CRC_FROM:]


def _stream(blob: Parts, state: Any) -> int:
    """What a stream's state holds beside membranes."""
    incoming, maps, rows = state.step
    return blob.add(STREAM.pack(*(size // 4 for size in (state.graph_work, state.remembered, incoming, maps, rows))))


def _frontend(blob: Parts, ensemble: QuantEnsemble) -> int:
    """The front end's tables and numbers, or 0."""
    f = ensemble.frontend
    if not isinstance(f, LogMel):
        return 0
    tables = (
        blob.array(f.hann, "<u2"),
        blob.array(f.sine, "<u2"),
        blob.array(f.edges, "<u2"),
        blob.array(f.rise, "u1"),
    )
    numbers = (f.rate, f.window, f.hop, f.bands, f.frames, f.preemphasis, f.gain, f.offset, 0)
    return blob.add(FRONTEND.pack(*tables, *numbers))


def _student(blob: Parts, student: dict[str, Any], made: dict[str, Any]) -> tuple[bytes, int]:
    """A student's structure, its parts being in the blob already; and how far from 0 its part of a logit gets."""
    timesteps, window = made["encoder"]["timesteps"], student["window"]
    steps = 0 if made["streams"] else timesteps
    stages, place, most = [], 0, 0
    reached: Any
    if student["graph"]:
        place, reached = blob_graph.add_graph(blob, student, made)
    else:
        seen = min(window["length"], steps or window["length"]) if window else steps  # timesteps, by a readout
        for layer in student["layers"]:
            last = layer is student["readout"]
            function = window["function"] if last and window and window["function"] else layer["function"]
            packed, most = _stage(blob, layer, made["tables"].functions[function], seen if last else steps)
            stages.append(packed)
        reached = np.minimum(most, seen * _readout_sums(blob, student["readout"])) if seen else most
    gain, bias = np.array(student["gain"], np.int64), np.array(student["bias"], np.int64)
    early = made["state"].early[student["number"]] if made["state"].early else None
    places = [0] * 7
    if early is not None:
        places = [early.maps // 4, early.map_bytes // 4, early.rows // 4, early.kept // 4, early.first // 4]
        places += [early.words, early.whole_updates]
    remembers = (window["length"], window["place"] // 4) if window else (0, 0)
    packed = STUDENT.pack(
        *(blob.add(b"".join(stages)) if stages else 0, len(stages), student["updates"], student["max_ops"]),
        *(blob.array(gain, "<i4"), blob.array(bias, "<i4"), *places, *remembers, place),
    )
    return packed, max(
        int(abs(g)) * int(r) + int(abs(b))
        for g, r, b in zip(gain, np.broadcast_to(reached, gain.shape), bias, strict=True)
    )


def _stage(blob: Parts, layer: dict[str, Any], choices: dict[str, Any], steps: int) -> tuple[bytes, int]:
    """A stage's structure, and how far from 0 its membranes get within so many timesteps, 0: without end."""
    stage = layer["stage"]
    places = (stage.incoming, stage.outgoing, stage.membranes, stage.current, stage.rows, stage.kept)
    in_words = [place // 4 for place in places]
    if layer["kind"] == "pool":
        synapses, channels = blob.synapses(layer, stage.capacity, 0), layer["divide"][2]
        return STAGE.pack(kind_of(choices), synapses, 0, 0, channels, channels, 0, 0, 0, 0, *in_words, -1), 0
    reached = layer_reach(layer, choices, blob.rows_at_most(layer), steps)
    blob.wraps |= reached == BEYOND
    weight = blob.add(packed_weights(layer, blob.order))
    packed = STAGE.pack(
        *(kind_of(choices), blob.synapses(layer, stage.capacity, weight)),
        blob.array(layer["threshold"], f"<i{layer['width'] // 8}"),
        blob.array(layer["bias"], f"<i{layer['bias_width'] // 8}"),
        *(layer["channels"], layer["padded"], layer["decay"], layer["current_shift"], *layer["clamp"], *in_words),
        layer["spike_index"],
    )
    return packed, reached


def _readout_sums(blob: Parts, layer: dict[str, Any]) -> np.ndarray:
    """int64 [classes]: what a timestep adds to each where every input spikes, signs aside."""
    if layer["macro"] == "SNE_P8":  # of a direct input
        each = blob.rows_at_most(layer) * 128 * 128
        return np.abs(np.array(layer["bias"], np.int64))[: layer["channels"]] + each
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


@dataclass(frozen=True)
class BlobInfo:
    """What a blob says of itself. Bytes: `length`, `input_bytes`, `state_bytes` (without what a loader makes of
    graphs). `stages`: layers and populations."""

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
    graphs: int
    stages: int
    timesteps: int
    streams: bool
    frontend: bool


def read_blob(path: Path | str) -> BlobInfo:
    """Read and check a blob file: its header, CRC, and that its students lie in it. Raises `SneError`."""
    data = read_file(Path(path), MOST_BYTES, hint="make one with `sne-edge export MODEL --format blob`")
    hint = "make it again with `sne-edge export MODEL --format blob`"
    if len(data) < 8 or data[:4] != MAGIC:
        raise SneError(f"{shortened(path)} is no blob", hint)
    (version,) = struct.unpack_from("<H", data, 4)
    if version != VERSION:
        raise SneError(f"{shortened(path)} is a blob of version {version}, not {VERSION}", hint)
    if len(data) < HEADER.size:
        raise SneError(f"{shortened(path)} is damaged: its CRC or its length is wrong", hint)
    fields = HEADER.unpack_from(data)
    order, length, crc, mark, name, input_bytes, state_bytes = fields[2:9]
    inputs, classes, students, _, timesteps, encoder, _, place = fields[9:17]
    if not HEADER.size <= length <= len(data) or zlib.crc32(data[CRC_FROM:length]) != crc:
        raise SneError(f"{shortened(path)} is damaged: its CRC or its length is wrong", hint)
    family, extra = order % WIDE, order - order % WIDE
    sound = family < len(ORDERS) and extra in (0, WIDE) and encoder < len(ENCODERS)
    if not sound or not HEADER.size <= name < length or not students:
        raise SneError(f"{shortened(path)} is no sound blob: its header is out of range", hint)
    stages = graphs = 0
    for number in range(students):
        at = place + number * STUDENT.size
        if at + STUDENT.size > length:
            raise SneError(f"{shortened(path)} is no sound blob: student {number} lies outside of it", hint)
        student = STUDENT.unpack_from(data, at)
        first, count, each = *student[:2], STAGE.size
        if student[-1]:
            if student[-1] + blob_graph.GRAPH.size > length:
                raise SneError(f"{shortened(path)} is no sound blob: student {number} lies outside of it", hint)
            first, count = blob_graph.GRAPH.unpack_from(data, student[-1])[:2]
            each, graphs = blob_graph.POPULATION.size, graphs + 1
        if not count or first + count * each > length:
            raise SneError(f"{shortened(path)} is no sound blob: layers of student {number} lie outside of it", hint)
        stages += count
    text = data[name:length].split(b"\0")[0].decode(errors="replace")
    return BlobInfo(
        *(text, mark.hex(), ORDERS[family], ENCODERS[encoder], length, input_bytes, state_bytes, inputs, classes),
        *(students, graphs, stages, timesteps, fields[-2] != 0, fields[-1] != 0),
    )
