"""The witness of what was read: the network itself, run by its own code on the samples as they were given.

In: a copy of a user's network (`modules.permanent_copy`) and its real inputs, not what int8 makes of them; a
`QuantEnsemble` made of it, and its inputs. Out: in how far the two say the same. `verify` proves that C does what the
integers say; only this tells whether the integers are the network.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import snntorch as snn
import torch
from torch import Tensor, nn

from ..check.reference import run_student
from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph
from ..ir.layers import SynapticLayer
from ..ir.schedule import decide


@dataclass(frozen=True)
class Comparison:
    """A network and its integers on N samples.

    agreement     share of the samples that both label likewise, 0..1
    accuracy      of the network, 0..1; `integers`: of its integers; None where labels are not known
    correlation   of their logits, over all samples and classes, the samples' means left out; 0 where one is constant
    saturated     by layer with a clamp, the share of its membranes, over samples and timesteps, that lie at it
    """

    agreement: float
    accuracy: float | None
    integers: float | None
    correlation: float
    saturated: dict[str, float]

    def record(self) -> dict[str, Any]:
        """As a model's provenance holds it."""
        return {
            "agreement": self.agreement,
            "correlation": round(self.correlation, 4),
            "accuracy": None if self.accuracy is None else {"float": self.accuracy, "integer": self.integers},
            "saturated": self.saturated,
        }


@dataclass(frozen=True)
class Values:
    """A network whose outputs are numbers, and its integers, on N samples.

    fit       R squared of the integers' outputs for the network's own, of the output where it is lowest: 1 is the same
    largest   difference of any output, and the `span` of the network's, both in the outputs' own units
    float_fit, integer_fit   R squared for the true values; None where these are not known
    saturated as `Comparison` has it
    """

    fit: float
    largest: float
    span: float
    float_fit: float | None
    integer_fit: float | None
    saturated: dict[str, float]

    def record(self) -> dict[str, Any]:
        """As a model's provenance holds it."""
        known = self.float_fit is not None
        return {
            "fit": self.fit,
            "largest_error": self.largest,
            "span": self.span,
            "r_squared": {"float": self.float_fit, "integer": self.integer_fit} if known else None,
            "saturated": self.saturated,
        }


def outputs(network: nn.Module, parts: Iterable[Tensor], timesteps: int | None) -> np.ndarray:
    """Outputs of a network, averaged over time, float64 [N, classes].

    parts: its inputs in batches, the same in each of `timesteps`, [n, ...], or with None a timestep each,
    [n, timesteps, ...]. The network is called as it is, once a timestep, its membranes at rest before the first one.
    Raises `SneError` where it fails.
    """
    found = []
    with torch.no_grad():
        for part in parts:
            for module in network.modules():
                if isinstance(module, snn.Leaky):
                    module.mem = torch.zeros(0)
            frames = part.unbind(1) if timesteps is None else [part] * timesteps
            try:
                each = [network(frame) for frame in frames]
                total = torch.stack(each).double().mean(dim=0)
                if total.ndim != 2 or len(total) != len(part):
                    raise ValueError(f"its outputs are of shape {list(total.shape)}, not [samples, classes]")
            except Exception as error:  # torch's modules have many ways to refuse an input
                raise SneError(
                    f"the network does not run on samples of shape {list(frames[0].shape[1:])}: {error}",
                    "check its layers, and the samples' layout: torch takes channels first",
                ) from None
            found.append(total.numpy())
    return np.concatenate(found)


def compare(
    made: QuantEnsemble, inputs: np.ndarray, expected: np.ndarray, labels: np.ndarray | None = None
) -> Comparison:
    """An ensemble of one student, on inputs uint8 [N, input_bytes], against what the network says, [N, classes]."""
    logits, saturated = _answers(made, inputs)
    label, own = decide(logits)[0], expected.argmax(axis=1)
    return Comparison(
        agreement=float((label == own).mean()),
        accuracy=None if labels is None else float((own == labels).mean()),
        integers=None if labels is None else float((label == labels).mean()),
        correlation=correlation(logits.astype(np.float64), expected),
        saturated=saturated,
    )


def compare_values(
    made: QuantEnsemble, inputs: np.ndarray, expected: np.ndarray, targets: np.ndarray | None = None
) -> Values:
    """The same of outputs that are numbers; `targets`: the true values, float [N, outputs], or None."""
    logits, saturated = _answers(made, inputs)
    values = logits * made.logit_scale
    return Values(
        fit=r_squared(values, expected),
        largest=float(np.abs(values - expected).max()),
        span=float(np.ptp(expected)),
        float_fit=None if targets is None else r_squared(expected, targets),
        integer_fit=None if targets is None else r_squared(values, targets),
        saturated=saturated,
    )


def r_squared(values: np.ndarray, targets: np.ndarray) -> float:
    """1 less the squared error over the targets' squared deviation from their mean, of the output [N, outputs] where it
    is lowest; of targets that are all the same 1 where they are met, else 0."""
    error = ((values - targets) ** 2).sum(axis=0)
    spread = ((targets - targets.mean(axis=0)) ** 2).sum(axis=0)
    return float(np.where(spread > 0, 1 - error / np.where(spread > 0, spread, 1), error == 0).min())


def _answers(made: QuantEnsemble, inputs: np.ndarray) -> tuple[np.ndarray, dict[str, float]]:
    """Logits int64 [N, classes], and the share of membranes at their clamp by layer that has one."""
    student = made.students[0]
    if isinstance(student.graph, Graph):
        neurons = {
            n: (population.name, population.neuron.clamp) for n, population in enumerate(student.graph.populations)
        }
    else:
        last = len(student.layers) - 1
        neurons = {
            n: ("the readout" if n == last else f"layer {n}", layer.neuron.clamp)
            for n, layer in enumerate(student.layers)
            if isinstance(layer, SynapticLayer)
        }
    held = {index: clamp for index, (_, clamp) in neurons.items() if clamp is not None}
    at = dict.fromkeys(held, 0)
    seen = dict.fromkeys(held, 0)

    def watch(_: int, index: int, __: Tensor | None, membranes: Tensor) -> None:
        if index in held:
            low, high = held[index]
            at[index] += int(((membranes <= low) | (membranes >= high)).sum())
            seen[index] += membranes.numel()

    logits = run_student(made, 0, inputs, watch=watch, states=False).part + made.bias.astype(np.int64)
    return logits, {neurons[i][0]: at[i] / seen[i] for i in held if at[i]}


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Of two tables of logits [N, classes], the samples' means left out; 0 where one is constant."""
    one, other = (x - x.mean(axis=1, keepdims=True) for x in (one, other))
    scale = float(np.sqrt((one**2).sum() * (other**2).sum()))
    return float((one * other).sum() / scale) if scale > 0 else 0.0
