"""The host build: a model's C, compiled for this computer, called through cffi.

In: a `QuantEnsemble`. Out: results of whole batches, from the C that firmware runs.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import cffi
import numpy as np

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy, check_fits
from ..ir.rejection import NONE
from ..ir.student import states
from ..resources import RUNTIME
from .library import open_library


@dataclass(frozen=True)
class Layer:
    """Where a layer's membranes lie in the state; see sne_layer_info in sne_verify.h."""

    student: int
    layer: int
    neurons: int
    channels: int
    width: int
    spiking: bool
    offset: int

    def membranes(self, states: np.ndarray) -> np.ndarray:
        """Of states that keep them, uint8 [N, bytes]: int64 [N, neurons]."""
        stride = -(-self.channels // 4) * 4
        length = self.neurons // self.channels * stride * self.width // 8
        raw = np.ascontiguousarray(states[:, self.offset : self.offset + length]).view(f"<i{self.width // 8}")
        unpadded = raw.reshape(len(states), -1, stride)[:, :, : self.channels]
        return unpadded.reshape(len(states), -1).astype(np.int64)


@dataclass(frozen=True)
class Batch:
    """Results of N samples; fields as in sne_result, a rejected input's label being -1.

    logits int32 [N, classes]; spikes uint32 [N, spike layers]; states uint8 [N, state bytes] or None;
    all others int64 [N].
    """

    label: np.ndarray
    margin: np.ndarray
    active: np.ndarray
    students_run: np.ndarray
    stop: np.ndarray
    timesteps: np.ndarray
    synaptic_ops: np.ndarray
    macs: np.ndarray
    neuron_updates: np.ndarray
    logits: np.ndarray
    spikes: np.ndarray
    states: np.ndarray | None


def declarations(*headers: str) -> str:
    """What cffi needs of the runtime's headers: no comments, no preprocessor."""
    text = "\n".join((RUNTIME / header).read_text(encoding="utf-8") for header in headers)
    text = re.sub(r"/\*.*?\*/|SNE_CHECKED", "", text, flags=re.S)
    text = re.sub(r"#ifdef __cplusplus.*?#endif", "", text, flags=re.S)
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


class HostModel:
    """An ensemble compiled for this computer. Not for use from several threads at once; it uses threads itself.

    `trace`: keep every membrane in the state (as with SNE_TRACE), else memory is laid out as on a device.
    `portable`: take the portable kernels (as with SNE_PORTABLE), not this computer's vectors; results are the same.
    """

    def __init__(self, ensemble: QuantEnsemble, trace: bool = False, portable: bool = False) -> None:
        self.ensemble = ensemble
        self.trace = trace
        definitions = ("SNE_TRACE",) * trace + ("SNE_PORTABLE",) * portable
        self._ffi = cffi.FFI()
        self._ffi.cdef(declarations("sne.h", "sne_model.h", "sne_verify.h", "sne_batch.h"))
        name = ensemble.identifier
        count = len(states(ensemble.students))
        self._ffi.cdef(f"extern sne_model {name}_model; extern sne_layer_info {name}_layers[{count}];")
        self._lib: Any = open_library(ensemble, self._ffi.dlopen, definitions)
        self._model = getattr(self._lib, f"{name}_model")
        table = getattr(self._lib, f"{name}_layers")
        self.layers = [
            Layer(row.student, row.layer, row.neurons, row.channels, row.width, bool(row.spiking), row.offset)
            for row in (table[i] for i in range(count))
        ]

    def run(
        self,
        inputs: np.ndarray,
        policy: ActivationPolicy | None = None,
        states: bool = False,
        threads: int | None = None,
    ) -> Batch:
        """Run `inputs`, uint8 [N, input_bytes]; `states` keeps each sample's whole state for `membranes`.

        `threads`: how many share the work (all cores by default). Raises `SneError` on a wrong shape or policy.
        """
        inputs = np.ascontiguousarray(inputs, dtype=np.uint8)
        size = self.ensemble.encoder.input_bytes
        if inputs.ndim != 2 or inputs.shape[1] != size:
            raise SneError(
                f"inputs have shape {inputs.shape}, not (N, {size})",
                "encode samples with the model's own encoder: ensemble.encoder.encode(x)",
            )
        if policy is not None:
            check_fits(policy, self.ensemble)  # C believes that there are as many margins as it needs
        workers = max(1, min(threads or os.cpu_count() or 1, len(inputs) // 64))
        if workers == 1:  # a pool costs more than a sample
            return self._run(inputs, policy, states)
        parts = np.array_split(inputs, workers)
        with ThreadPoolExecutor(workers) as pool:  # cffi releases the GIL
            batches = list(pool.map(lambda part: self._run(part, policy, states), parts))
        return _concatenate(batches)

    def values(self, batch: Batch) -> np.ndarray:
        """Of a regression, the outputs as numbers in their own units, float64 [N, outputs]; else logits as those of the
        network."""
        values: np.ndarray = batch.logits * self.ensemble.logit_scale
        return values

    def membranes(self, batch: Batch) -> list[np.ndarray]:
        """Membranes of every layer of `layers` after each sample, int64 [N, neurons]; those of a student that did not
        run are left from before. Needs a traced model."""
        if batch.states is None or not self.trace:
            raise ValueError("make the model with trace=True and run it with states=True")
        return [layer.membranes(batch.states) for layer in self.layers]

    def _run(self, inputs: np.ndarray, policy: ActivationPolicy | None, states: bool) -> Batch:
        ffi, count = self._ffi, len(inputs)
        if self.ensemble.encoder.kind == "events":  # words, which are this computer's to the engine
            inputs = inputs.view("<u4").astype("=u4", copy=False).view(np.uint8)
        model = self._model
        state = ffi.new("uint64_t[]", (model.state_bytes + 7) // 8)
        results = np.zeros(count * ffi.sizeof("sne_result"), dtype=np.uint8)
        logits = np.zeros((count, model.n_classes), dtype=np.int32)
        spikes = np.zeros((count, model.n_spike_layers), dtype=np.uint32)
        kept = np.zeros((count, model.state_bytes), dtype=np.uint8) if states else None
        c_policy, keep_alive = self._policy(policy)
        status = self._lib.sne_batch(
            ffi.addressof(model),
            state,
            ffi.cast("uint8_t *", inputs.ctypes.data),
            count,
            c_policy,
            ffi.cast("sne_result *", results.ctypes.data),
            ffi.cast("int32_t *", logits.ctypes.data),
            ffi.cast("uint32_t *", spikes.ctypes.data),
            ffi.NULL if kept is None else ffi.cast("uint8_t *", kept.ctypes.data),
        )
        del keep_alive
        if status != self._lib.SNE_OK:
            raise SneError(f"the host build failed with status {status}", "this is a bug in sne-edge; please report it")
        fields = results.view(_RESULT)
        columns = {name: fields[name].astype(np.int64) for name in Batch.__dataclass_fields__ if name in _FIELDS}
        columns["label"][columns["label"] == 2**32 - 1] = NONE
        return Batch(**columns, logits=logits, spikes=spikes, states=kept)

    def _policy(self, policy: ActivationPolicy | None) -> tuple[Any, Any]:
        """The C struct of a policy (null: the model's own), and what must live as long."""
        if policy is None:
            return self._ffi.NULL, None
        margins = self._ffi.new("int32_t[]", list(policy.margins)) if policy.margins else self._ffi.NULL
        early = self._ffi.new("int32_t[]", list(policy.early)) if policy.early else self._ffi.NULL
        struct = self._ffi.new(
            "sne_policy *",
            {
                "kind": getattr(self._lib, f"SNE_POLICY_{policy.kind.upper()}"),
                "students": policy.students,
                "mask": policy.mask,
                "max_ops": policy.max_ops,
                "timesteps": policy.timesteps,
                "margins": margins,
                "early": early,
            },
        )
        return struct, (margins, early)


_FIELDS = {  # sne_result in sne.h
    "label": "<u4",
    "margin": "<i4",
    "active": "<u4",
    "students_run": "<u4",
    "stop": "<u4",
    "timesteps": "<u4",
    "synaptic_ops": "<u4",
    "macs": "<u4",
    "neuron_updates": "<u4",
}
_RESULT = np.dtype(list(_FIELDS.items()))


def _concatenate(batches: list[Batch]) -> Batch:
    def join(name: str) -> np.ndarray | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else np.concatenate(parts)

    return Batch(**{name: join(name) for name in Batch.__dataclass_fields__})  # type: ignore[arg-type]
