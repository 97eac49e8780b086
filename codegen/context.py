"""What the templates print: every name, number and choice of kernel, worked out here.

In: a `QuantEnsemble`. Out: a dict of plain data for Jinja2; the same model makes the same context.
"""

from __future__ import annotations

from itertools import repeat
from typing import Any

import numpy as np
from sne_edge.codegen import frontend, layout
from sne_edge.codegen.sizes import words

from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.encoder import Encoder
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Linear, MaxPool, SynapticLayer, rounding, size
from sne_edge.ir.limits import UINT16, padded, remembered
from sne_edge.ir.neuron import INT16, INT32
from sne_edge.ir.rejection import Rejection
from sne_edge.ir.student import QuantStudent, states

RUNTIME_VERSION = 6  # of the runtime these templates are written for; checked by the generated header


def build(ensemble: QuantEnsemble) -> dict[str, Any]:
    """The context of every template."""
    state = layout.state_layout(ensemble)
    tables = Tables()
    students = [_student(ensemble, number, state, tables) for number in range(len(ensemble.students))]
    policy = ensemble.policy
    events = ensemble.encoder.kind == "events"
    return {
        "name": ensemble.name,
        "id": ensemble.identifier,
        "upper": ensemble.identifier.upper(),
        "fingerprint": fingerprint(ensemble),
        "runtime_version": RUNTIME_VERSION,
        "encoder": {
            "kind": ensemble.encoder.kind,
            "size": ensemble.encoder.size,
            "shape": ensemble.encoder.shape,
            "bytes": ensemble.encoder.input_bytes,
            "words": words(ensemble.encoder.size),
            "row_bytes": ensemble.encoder.row_bytes,
            "timesteps": ensemble.encoder.timesteps,
            "seed": ensemble.encoder.seed,
            "scale": ensemble.encoder.scale,
            "offset": ensemble.encoder.offset,
            "by_channel": _by_channel(ensemble.encoder),
        },
        "streams": layout.streams(ensemble),
        "rejection": ensemble.rejection if isinstance(ensemble.rejection, Rejection) else None,
        "regression": ensemble.regression,
        "frontend": frontend.build(ensemble),
        "state": state,
        "classes": list(ensemble.classes),
        "students": students,
        "order": list(ensemble.order),
        "routes": [] if ensemble.routes is None else numbers(ensemble.routes),
        "bias": numbers(ensemble.bias),
        "logit_scale": ensemble.logit_scale,
        "policy": {
            "kind": policy.kind,
            "students": policy.students,
            "mask": policy.mask,
            "max_ops": policy.max_ops,
            "timesteps": policy.timesteps,
            "margins": list(policy.margins),
            "early": list(policy.early),
        },
        "tables": tables,
        "wide": any(sum(map(len, axis)) > UINT16 for axis in tables.axes),
        "spike_layers": len(ensemble.spike_layers),
        "neuron_layers": len(states(ensemble.students)),
        "vectors": {
            "count": len(ensemble.vectors.inputs),
            "inputs": numbers(ensemble.vectors.inputs.view("<u4") if events else ensemble.vectors.inputs),
            "logits": numbers(ensemble.vectors.logits),
            "active": numbers(ensemble.vectors.active),
            "spikes": numbers(ensemble.vectors.spikes),
            "ops": numbers(ensemble.vectors.ops),
        },
    }


def _by_channel(encoder: Encoder) -> list[tuple[float, float]]:
    """Scale and offset of each channel, or nothing where all have one."""
    if not encoder.by_channel:
        return []
    every = [values if isinstance(values, tuple) else repeat(values) for values in (encoder.scale, encoder.offset)]
    return [(float(scale), float(offset)) for scale, offset in zip(*every, strict=False)]


def numbers(array: np.ndarray) -> list[int]:
    """Flat list of Python ints."""
    return [int(value) for value in np.asarray(array).reshape(-1)]


class Tables:
    """Const arrays and the specialised functions a model needs, each once."""

    def __init__(self) -> None:
        self.axes: dict[tuple[tuple[tuple[int, int], ...], ...], str] = {}
        self.functions: dict[str, dict[str, Any]] = {}

    def axis(self, pairs: layout.Pairs) -> str:
        """The name of an axis: pairs by position."""
        return self.axes.setdefault(tuple(tuple(row) for row in pairs), f"axis{len(self.axes)}")

    def function(self, **choices: Any) -> str:
        """The name of the kernel specialised for some choices."""
        name = "_".join(["layer", *(str(value) for value in choices.values() if value != "")])
        self.functions[name] = choices
        return name


def _student(ensemble: QuantEnsemble, number: int, state: layout.StateLayout, tables: Tables) -> dict[str, Any]:
    student = ensemble.students[number]
    direct = ensemble.encoder.kind == "direct"
    length = remembered(student.readout) if student.layers else 0
    spike_index = {layer: i for i, (owner, layer) in enumerate(ensemble.spike_layers) if owner == number}
    layers = []
    for stage in state.stages[number]:
        layer = student.layers[stage.layer]
        entry: dict[str, Any] = {
            "number": stage.layer,
            "name": f"s{number}_l{stage.layer}",
            "description": ", ".join(map(describe, (*stage.pools, layer))),
            "stage": stage,
            "spike_index": spike_index.get(stage.layer, -1),
        }
        if isinstance(layer, SynapticLayer):
            entry |= _synaptic(layer, direct and stage.layer == 0, stage, tables)
        else:
            assert isinstance(layer, MaxPool)
            entry |= pooling(layer, stage.pools, tables) | {"function": tables.function(kernel="maxpool")}
        layers.append(entry)
    window = None
    if length:
        window = {"length": length, "width": student.readout.width, "place": state.windows[number], "function": ""}
        if length < ensemble.encoder.timesteps:  # what is forgotten by the end of an inference is not looked at
            last = layers[-1]
            window |= {"function": last["function"], "words": words(size(last["input"]))}
            last["function"] = f"s{number}_latest"
    return {
        "number": number,
        "layers": layers,
        "window": window,
        "graph": None,  # see graph.py
        "readout": layers[-1] if layers else None,
        "gain": numbers(student.gain),
        "bias": numbers(student.bias),
        "max_ops": student.max_ops,
        "updates": student.neurons,
    }


def _synaptic(layer: SynapticLayer, analog: bool, stage: layout.Stage, tables: Tables) -> dict[str, Any]:
    width, neuron = layer.width, layer.neuron
    low, high = INT16 if width == 16 else INT32
    readout = neuron.kind == "li"
    stride = padded(layer.channels)
    threshold = np.full(stride, high, np.int64)  # what pads a row never fires
    threshold[: layer.channels] = np.clip(layer.threshold, low, high)  # one beyond the proven range never fires either
    bias = np.zeros(stride, np.int64)
    bias[: layer.channels] = layer.bias.astype(np.int64) + rounding(layer.current_shift)
    assert isinstance(layer, Linear | Conv)
    linear = isinstance(layer, Linear)
    weight = layout.pack_linear(layer) if isinstance(layer, Linear) else layout.pack_conv(layer)
    if layer.bits == 4:
        weight = layout.pack_nibbles(weight)
    window = layer if isinstance(layer, Conv) else None
    kernel = "mac" if analog and stage.kernel == "gather" else stage.kernel
    blocks = None
    if kernel == "convolve":
        blocks = layout.pack_blocks(weight.reshape(weight.shape[0], -1, stride))
    by_output = np.zeros(0, np.int8)
    if analog:
        by_output = layout.pack_outputs(weight)
        weight = layout.pack_pairs(weight)
    return {
        "kind": "readout" if readout else "spiking",
        "width": width,
        "neurons": layer.neurons,
        "channels": layer.channels,
        "padded": stride,
        "bias": numbers(bias),
        "bias_width": 32 if layer.current_shift else width,
        "current_shift": layer.current_shift,
        "threshold": numbers(threshold) * (2 if kernel == "convolve" else 1),  # two positions are taken as one
        "decay": neuron.decay.value,
        # Of the membrane's own type: a value within its proven range never reaches beyond.
        "clamp": [max(low, neuron.clamp[0]), min(high, neuron.clamp[1])] if neuron.clamp else [low, high],
        "weight": numbers(weight),
        "blocks": [] if blocks is None else numbers(blocks),
        "by_output": numbers(by_output),
        "weight_bits": layer.bits,
        "macro": "SNE_P8" if analog else "SNE_W4",
        "function": tables.function(
            kernel=kernel,
            current="shifted" if layer.current_shift else "",
            weight_bits="" if layer.bits == 8 else layer.bits,
            role="readout" if readout else "",
            width=f"i{width}",
            decay=neuron.decay.kind,
            shift=neuron.decay.value if neuron.decay.kind == "shift" else "",
            reset="" if readout else "delayed" if neuron.reset_delay else neuron.reset,
            clamp="clamp" if neuron.clamp is not None else "",
        ),
        "input": (1, 1, size(layer.in_shape)) if linear and not stage.pools else stage_input(layer, stage.pools),
        "output": layer.out_shape[:2],
        "kernel": window.kernel if window else layer.in_shape[:2] if stage.pools else (1, 1),
        "stride": window.stride if window else (1, 1),
        "padding": window.padding if window else (0, 0),
        "axes": None if kernel in ("gather", "sweep", "mac", "convolve") else axes_through(layer, stage.pools, tables),
        "divide": divide_by_channels(stage_input(layer, stage.pools)),
    }


def stage_input(layer: SynapticLayer | MaxPool, pools: tuple[AvgPool, ...]) -> tuple[int, int, int]:
    """The map whose spikes a layer takes: that before the average poolings in front of it."""
    return pools[0].in_shape if pools else layer.in_shape


def axes_through(layer: Linear | Conv, pools: tuple[AvgPool, ...], tables: Tables) -> tuple[str, str]:
    """Input rows by output row, output columns by input column, poolings in between seen through."""
    rows, columns = (_pairs(layer, pools, axis) for axis in (0, 1))
    width = stage_input(layer, pools)[1]
    return tables.axis(rows), tables.axis(layout.from_inputs(columns, width))


def _pairs(layer: Linear | Conv | MaxPool, pools: tuple[AvgPool, ...], axis: int) -> layout.Pairs:
    """By output position of one axis, the input positions that it meets before the average poolings in front of it."""
    length = layer.in_shape[axis]
    if isinstance(layer, Linear):
        pairs = [[(position, position) for position in range(length)]]
    else:
        pairs = layout.window_axis(length, layer.kernel[axis], layer.stride[axis], layer.padding[axis])
    for pool in reversed(pools):
        pairs = layout.through_pool(pairs, pool, axis)
    return pairs


def divide_by_channels(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    return (*layout.divider(shape[2], size(shape)), shape[2])


def pooling(layer: MaxPool, pools: tuple[AvgPool, ...], tables: Tables) -> dict[str, Any]:
    """A maximum of spikes, average poolings in front of it seen through."""
    shape = stage_input(layer, pools)
    axes = [tables.axis(layout.from_inputs(_pairs(layer, pools, axis), shape[axis])) for axis in (0, 1)]
    return {
        "kind": "pool",
        "input": shape,
        "output": layer.out_shape[:2],
        "axes": tuple(axes),
        "divide": divide_by_channels(shape),
    }


def describe(layer: Linear | Conv | AvgPool | MaxPool) -> str:
    """A layer in a few words, for comments and tables."""

    def shape(s: tuple[int, int, int]) -> str:
        return "x".join(str(n) for n in (s[1:] if s[0] == 1 and s[1] > 1 else s[2:] if s[:2] == (1, 1) else s))

    narrow = ", 4-bit weights" if isinstance(layer, SynapticLayer) and layer.bits == 4 else ""
    text = f"{shape(layer.in_shape)} -> {shape(layer.out_shape)}"
    if isinstance(layer, Linear):
        return f"linear {text}{narrow}"
    flat = layer.in_shape[0] == 1 and layer.kernel[0] == 1
    kernel, stride, padding = (
        str(pair[1]) if flat else "x".join(map(str, pair)) for pair in (layer.kernel, layer.stride, layer.padding)
    )
    op = ("conv1d" if flat else "conv2d") if isinstance(layer, Conv) else type(layer).__name__.lower()
    op = f"depthwise {op}" if isinstance(layer, Depthwise) else op
    return f"{op} {text}, kernel {kernel}, stride {stride}, padding {padding}{narrow}"


def weight_bytes(student: QuantStudent) -> int:
    """Bytes of a student's packed weights, without what fills rows up."""
    if isinstance(student.graph, Graph):
        return sum(q.weight.size * q.bits // 8 for p in student.graph.populations for q in p.projections)
    return sum(layer.weight.size * layer.bits // 8 for layer in student.layers if isinstance(layer, SynapticLayer))
