"""What the templates print: every name, number and choice of kernel, worked out here.

In: a `QuantEnsemble`. Out: a dict of plain data for Jinja2; the same model makes the same context.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sne_edge.codegen import layout

from sne_edge.artifact import fingerprint
from sne_edge.model import AvgPool, Conv, Linear, MaxPool, QuantEnsemble, QuantStudent, SynapticLayer, size
from sne_edge.neuron import INT16, INT32

RUNTIME_VERSION = 1  # of the runtime these templates are written for; checked by the generated header


def build(ensemble: QuantEnsemble) -> dict[str, Any]:
    """The context of every template."""
    state = layout.state_layout(ensemble)
    tables = _Tables()
    students = [_student(ensemble, number, tables) for number in range(len(ensemble.students))]
    spike_index = {place: index for index, place in enumerate(ensemble.spike_layers)}
    offsets = {(number, f.name): f.offset for number, fields in enumerate(state.students) for f in fields}
    for number, student in enumerate(students):
        for layer in student["layers"]:
            layer["spike_index"] = spike_index.get((number, layer["number"]))
            layer["offset"] = offsets.get((number, f"v{layer['number']}"))
    policy = ensemble.policy
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
            "row_bytes": ensemble.encoder.row_bytes,
            "timesteps": ensemble.encoder.timesteps,
            "seed": ensemble.encoder.seed,
            "scale": ensemble.encoder.scale,
            "offset": ensemble.encoder.offset,
        },
        "state": state,
        "classes": list(ensemble.classes),
        "students": students,
        "order": list(ensemble.order),
        "bias": numbers(ensemble.bias),
        "logit_scale": ensemble.logit_scale,
        "policy": {
            "kind": policy.kind,
            "students": policy.students,
            "mask": policy.mask,
            "max_ops": policy.max_ops,
            "timesteps": policy.timesteps,
            "margins": list(policy.margins),
        },
        "tables": tables,
        "spike_layers": len(ensemble.spike_layers),
        "neuron_layers": sum(layer["kind"] != "pool" for student in students for layer in student["layers"]),
        "vectors": {
            "count": len(ensemble.vectors.inputs),
            "inputs": numbers(ensemble.vectors.inputs),
            "logits": numbers(ensemble.vectors.logits),
            "active": numbers(ensemble.vectors.active),
            "spikes": numbers(ensemble.vectors.spikes),
            "ops": numbers(ensemble.vectors.ops),
        },
    }


def numbers(array: np.ndarray) -> list[int]:
    """Flat list of Python ints."""
    return [int(value) for value in np.asarray(array).reshape(-1)]


class _Tables:
    """Const arrays and the specialised functions a model needs, each once."""

    def __init__(self) -> None:
        self.spans: dict[tuple[layout.Span, ...], str] = {}
        self.functions: dict[str, dict[str, Any]] = {}

    def span(self, spans: list[layout.Span]) -> str:
        return self.spans.setdefault(tuple(spans), f"spans{len(self.spans)}")

    def function(self, kernel: str, width: int, **choices: str) -> str:
        """The name of `kernel` specialised for a membrane width and the neuron's choices."""
        name = "_".join([kernel, f"i{width}", *(value for value in choices.values() if value)])
        self.functions[name] = {"kernel": kernel, "width": width, **choices}
        return name

    def of(self, *kernels: str) -> list[tuple[str, dict[str, Any]]]:
        """The specialisations of some kernels, by name."""
        return sorted((name, f) for name, f in self.functions.items() if f["kernel"] in kernels)


def _student(ensemble: QuantEnsemble, number: int, tables: _Tables) -> dict[str, Any]:
    student = ensemble.students[number]
    direct = ensemble.encoder.kind == "direct"
    layers, source = [], "events"
    for index, layer in enumerate(student.layers):
        prefix = f"s{number}_l{index}"
        entry: dict[str, Any] = {
            "number": index,
            "name": prefix,
            "source": source if index else "input",
            "description": describe(layer),
        }
        if isinstance(layer, SynapticLayer):
            entry |= _synaptic(layer, direct and index == 0, tables)
            source = "events"
        else:
            source = layout.other_buffer(source)
            entry |= _pool(layer, source, tables)
        layers.append(entry)
    return {
        "number": number,
        "layers": layers,
        "readout": layers[-1],
        "gain": numbers(student.gain),
        "bias": numbers(student.bias),
        "max_ops": student.max_ops,
        "updates": sum(layer.neurons for layer in student.layers if isinstance(layer, SynapticLayer)),
    }


def _synaptic(layer: Linear | Conv, analog: bool, tables: _Tables) -> dict[str, Any]:
    width, neuron = layer.width, layer.neuron
    low, high = INT16 if width == 16 else INT32
    op = "linear" if isinstance(layer, Linear) else "conv"
    reset = "delayed" if neuron.reset_delay else neuron.reset
    readout = neuron.kind == "li"
    shift = str(neuron.decay.value) if neuron.decay.kind == "shift" else ""
    clamp = neuron.clamp is not None
    entry: dict[str, Any] = {
        "kind": "readout" if readout else "spiking",
        "op": op,
        "analog": analog,
        "width": width,
        "neurons": layer.neurons,
        "positions": layer.out_shape[0] * layer.out_shape[1],
        "channels": layer.channels,
        "bias": numbers(layer.bias),
        "threshold": numbers(np.clip(layer.threshold, low, high)),  # one beyond the proven range never fires either way
        "decay": neuron.decay.value,
        # Of the membrane's own type: a value within its proven range never reaches beyond.
        "clamp": [max(low, neuron.clamp[0]), min(high, neuron.clamp[1])] if neuron.clamp else [low, high],
        "has_clamp": clamp,
        "charge": "" if readout and not analog else tables.function("charge", width),
        "add": tables.function(f"{op}_mac" if analog else f"{op}_add", width),
    }
    if readout:
        entry["leak"] = tables.function("leak", width, decay=neuron.decay.kind, shift=shift)
        if clamp:
            entry["bound"] = tables.function("clamp", width)
    else:
        entry["fire"] = tables.function(
            "fire", width, decay=neuron.decay.kind, shift=shift, reset=reset, clamp="clamp" if clamp else ""
        )
    if isinstance(layer, Linear):
        entry |= {
            "weight": numbers(layout.pack_linear(layer)),
            "inputs": size(layer.in_shape),
            "outputs": layer.channels,
        }
    else:
        entry |= {"weight": numbers(layout.pack_conv(layer)), "window": _window(layer, tables), "kernel": layer.kernel}
    return entry


def _pool(layer: AvgPool | MaxPool, target: str, tables: _Tables) -> dict[str, Any]:
    op = "avgpool" if isinstance(layer, AvgPool) else "maxpool"
    seen = (size(layer.out_shape) + 7) // 8
    return {
        "kind": "pool",
        "op": op,
        "analog": False,
        "window": _window(layer, tables),
        "target": target,
        "seen_bytes": seen,
    }


def _window(layer: Conv | AvgPool | MaxPool, tables: _Tables) -> dict[str, Any]:
    height, width, channels = layer.in_shape
    axes = [layout.axis_spans((height, width)[a], layer.kernel[a], layer.stride[a], layer.padding[a]) for a in (0, 1)]
    return {
        "rows": tables.span(axes[0]),
        "columns": tables.span(axes[1]),
        "channels": (*layout.divider(channels, height * width * channels), channels),
        "width": (*layout.divider(width, height * width), width),
        "inputs": height * width * channels,
        "out_width": layer.out_shape[1],
    }


def describe(layer: Linear | Conv | AvgPool | MaxPool) -> str:
    """A layer in a few words, for comments and tables."""

    def shape(s: tuple[int, int, int]) -> str:
        return "x".join(str(n) for n in (s[1:] if s[0] == 1 and s[1] > 1 else s[2:] if s[:2] == (1, 1) else s))

    text = f"{shape(layer.in_shape)} -> {shape(layer.out_shape)}"
    if isinstance(layer, Linear):
        return f"linear {text}"
    flat = layer.in_shape[0] == 1 and layer.kernel[0] == 1
    kernel, stride, padding = (
        str(pair[1]) if flat else "x".join(map(str, pair)) for pair in (layer.kernel, layer.stride, layer.padding)
    )
    op = ("conv1d" if flat else "conv2d") if isinstance(layer, Conv) else type(layer).__name__.lower()
    return f"{op} {text}, kernel {kernel}, stride {stride}, padding {padding}"


def weight_bytes(student: QuantStudent) -> int:
    """Bytes of a student's packed weights."""
    return sum(layer.weight.size for layer in student.layers if isinstance(layer, SynapticLayer))
