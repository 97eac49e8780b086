"""The models of `to_onnx` in onnxruntime, as an engine of `check.verify`."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..check.verify import Outcome
from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.policy import ActivationPolicy
from ..ir.student import states
from .to_onnx import to_onnx

EXTREMES = 24  # inputs of `hard_inputs`


class OnnxEngine:
    """An ensemble's ONNX models on this computer's processor: its whole under each policy, and its students alone.

    Of what `verify` compares it gives what the models have as outputs: no counts of operations.
    """

    name = "onnx"

    def __init__(self, ensemble: QuantEnsemble, threads: int = 1) -> None:
        """`threads` of onnxruntime, 0: as many as it likes."""
        self._ensemble, self._threads = ensemble, threads
        self._sessions: dict[Any, Any] = {}

    def run(self, inputs: np.ndarray, policy: ActivationPolicy | None, student: int | None) -> Outcome:
        policy = policy or self._ensemble.policy
        given = samples_of(self._ensemble.encoder, inputs)
        values = self._run("whole", given, policy=policy)
        if student is None:
            return Outcome(values, [])
        alone = self._run(f"student:{student}", given, timesteps=policy.timesteps or None)
        layers = self._ensemble.spike_layers
        values["spikes"] = np.zeros((len(inputs), len(layers)), np.int64)
        if "spikes" in alone:
            values["spikes"][:, [n for n, layer in enumerate(layers) if layer[0] == student]] = alone["spikes"]
        return Outcome(values, self._membranes(student, alone))

    def _membranes(self, student: int, alone: dict[str, np.ndarray]) -> list[np.ndarray]:
        layers = self._ensemble.students[student].layers
        kept = [state for state in states(self._ensemble.students) if state.student == student]
        found = []
        for n, state in enumerate(kept):
            if layers and n + 1 == len(kept):  # a chain's readout, as it stands
                found.append(alone["total"])
                continue
            population = n if layers else state.layer  # of a chain, those with neurons alone
            found.append(_channel_last(alone[f"{population}/{'current' if state.current else 'membrane'}"]))
        return found

    def _run(self, part: str, given: np.ndarray, **options: Any) -> dict[str, np.ndarray]:
        """Outputs by name, int64."""
        key = part, *options.items()
        if key not in self._sessions:
            self._sessions[key] = session(to_onnx(self._ensemble, part, encoded=True, **options), self._threads)
        ready = self._sessions[key]
        one = ready.get_inputs()[0].shape[0] == 1
        batches = [given[n : n + 1] for n in range(len(given))] if one else [given]
        rows = [ready.run(None, {"input": batch}) for batch in batches]
        names = [output.name for output in ready.get_outputs()]
        made = {name: np.concatenate([row[n] for row in rows]) for n, name in enumerate(names)}
        return {name: values.astype(np.int64) for name, values in made.items() if values.dtype.kind in "iu"}


def session(model: Any, threads: int = 1) -> Any:
    """An `onnxruntime.InferenceSession` of an `onnx.ModelProto`. Raises `SneError` where there is no onnxruntime."""
    try:
        import onnxruntime
    except ImportError:
        raise SneError("the package onnxruntime is not installed", "pip install 'sne-edge[onnx]'") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def samples_of(encoder: Encoder, inputs: np.ndarray) -> np.ndarray:
    """Device bytes as a model with an `encoded` input takes them: int8 [N, (timesteps,) height, width, channels], of
    events uint8."""
    if encoder.kind == "events":
        return np.ascontiguousarray(encoder.spikes(inputs).swapaxes(0, 1))
    return encoder.analog(inputs)


def hard_inputs(encoder: Encoder) -> np.ndarray:
    """Inputs at the ends of their range and random ones, sparse and dense, always the same: uint8 [24, input_bytes]."""
    rng, length = np.random.default_rng(0), encoder.input_bytes
    rows = [np.full(length, byte, np.uint8) for byte in (0x80, 0x7F, 0xFF, 0x00)]
    while len(rows) < EXTREMES:
        drawn = rng.integers(0, 256, length, dtype=np.uint8)
        share = (0.02, 0.1, 0.5, 1.0)[len(rows) % 4]
        rows.append(np.where(rng.random(length) < share, drawn, 0).astype(np.uint8))
    return np.stack(rows)


def _channel_last(state: np.ndarray) -> np.ndarray:
    """[N, neurons] of a state [N, channels] or [N, channels, height, width]."""
    return (np.moveaxis(state, 1, -1) if state.ndim == 4 else state).reshape(len(state), -1)
