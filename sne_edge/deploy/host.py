"""The host build: a model's C, compiled for this computer, called through cffi.

In: a `QuantEnsemble`. Out: results of whole batches, from the C that firmware runs.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

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


class _Types(NamedTuple):
    """C types, looked up once."""

    bytes: Any
    signed: Any
    words: Any
    results: Any
    state: Any


class _Sizes(NamedTuple):
    """Of a model: numbers, and bytes of its state."""

    classes: int
    spike_layers: int
    state: int


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
        model = getattr(self._lib, f"{name}_model")
        self._model_at = self._ffi.addressof(model)
        arrays = ("uint8_t", "int32_t", "uint32_t", "sne_result", "uint64_t")
        self._types = _Types(*(self._ffi.typeof(f"{name}[]") for name in arrays))
        self._last_policy: tuple[ActivationPolicy | None, Any] = None, None
        self._sizes = _Sizes(model.n_classes, model.n_spike_layers, model.state_bytes)
        assert self._ffi.sizeof("sne_result") == 4 * len(_FIELDS)
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
        if policy is not None and policy is not self._last_policy[0]:
            check_fits(policy, self.ensemble)  # C believes that there are as many margins as it needs
        most = len(inputs) // 64
        workers = 1 if most <= 1 else min(threads or os.cpu_count() or 1, most)
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
        ffi, count, types = self._ffi, len(inputs), self._types
        if self.ensemble.encoder.kind == "events":  # words, which are this computer's to the engine
            inputs = inputs.view("<u4").astype("=u4", copy=False).view(np.uint8)
        at: Any = ffi.from_buffer
        results = np.empty((count, len(_FIELDS)), dtype=np.uint32)
        logits = np.empty((count, self._sizes.classes), dtype=np.int32)
        spikes = np.empty((count, self._sizes.spike_layers), dtype=np.uint32)
        kept = np.empty((count, self._sizes.state), dtype=np.uint8) if states else None
        c_policy, keep_alive = self._policy(policy)
        status = self._lib.sne_batch(
            self._model_at,
            ffi.new(types.state, (self._sizes.state + 7) // 8),
            at(types.bytes, inputs),
            count,
            c_policy,
            at(types.results, results),
            at(types.signed, logits),
            at(types.words, spikes),
            ffi.NULL if kept is None else at(types.bytes, kept),
        )
        del keep_alive
        if status != self._lib.SNE_OK:
            raise SneError(f"the host build failed with status {status}", "this is a bug in sne-edge; please report it")
        columns = dict(zip(_FIELDS, results.T.astype(np.int64, order="C"), strict=True))
        columns["margin"] = results[:, _FIELDS.index("margin")].view(np.int32).astype(np.int64)
        columns["label"][columns["label"] == 2**32 - 1] = NONE
        return Batch(**columns, logits=logits, spikes=spikes, states=kept)

    def _policy(self, policy: ActivationPolicy | None) -> tuple[Any, Any]:
        """The C struct of a policy (null: the model's own), and what must live as long; the last one's is kept."""
        if policy is None:
            return self._ffi.NULL, None
        last, made = self._last_policy
        if policy is not last:
            made = self._new_policy(policy)
            self._last_policy = policy, made
        struct, alive = made
        return struct, alive

    def _new_policy(self, policy: ActivationPolicy) -> tuple[Any, Any]:
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


# sne_result in sne.h: words, of which the margin alone has a sign.
_FIELDS = (
    *("label", "margin", "active", "students_run", "stop"),
    *("timesteps", "synaptic_ops", "macs", "neuron_updates"),
)


def _concatenate(batches: list[Batch]) -> Batch:
    def join(name: str) -> np.ndarray | None:
        parts = [getattr(batch, name) for batch in batches]
        return None if parts[0] is None else np.concatenate(parts)

    return Batch(**{name: join(name) for name in Batch.__dataclass_fields__})  # type: ignore[arg-type]
