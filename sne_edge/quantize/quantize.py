"""Quantisation: trained students as one ensemble of integers.

In: a trained `Ensemble`, or chains of modules with their readouts. Out: a `QuantEnsemble`, all students on one logit
scale.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn

from ..errors import SneError
from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.layers import Linear
from ..ir.policy import ActivationPolicy
from ..ir.student import QuantStudent
from ..ir.vectors import no_vectors
from ..learn.integers import fold_batch_norm
from ..learn.student import Ensemble, Student, folded_readout
from .chain import Chain, integers

GAIN_MAX = 2**12 - 1
GAIN_FINE = 2**10  # gains of which rounding leaves nothing to speak of
REACH_MAX = 2**29  # what all students together may add to a logit: half the format's limit


def quantize_ensemble(ensemble: Ensemble, name: str, classes: tuple[str, ...]) -> QuantEnsemble:
    """An ensemble in float form as integers. Its head is folded in the readouts: weight [classes, hidden] = A_k R_k.

    The order is 0, 1, ..., the policy `all`; nothing is measured yet (see `calibrate`).
    """
    readouts = []
    chains = []
    for student, head in zip(ensemble.students, ensemble.heads, strict=True):
        assert isinstance(student, Student) and isinstance(head, nn.Linear)
        weight, bias = (t.detach().double().numpy() for t in folded_readout(student, head))
        readouts.append((weight, bias))
        chains.append(list(fold_batch_norm(student.body)))
    features = [tuple(int(i) for i in ensemble.partition.chunk(k)) for k in range(len(chains))]
    bias = ensemble.bias.detach().double().numpy()
    return assemble(name, classes, ensemble.encoder, chains, readouts, features, bias, ensemble.sizes.bits)


def assemble(
    name: str,
    classes: tuple[str, ...],
    encoder: Encoder,
    chains: list[list[nn.Module]],
    readouts: list[tuple[np.ndarray, np.ndarray]],
    features: list[tuple[int, ...]],
    bias: np.ndarray,
    bits: int | Sequence[int],
) -> QuantEnsemble:
    """Students on one logit scale, from chains and float readouts (weight [classes, hidden] on mean spikes, bias).

    Gains of a readout that may reach far are small numbers; then its weights are rounded to scales that gains hold
    exactly.
    """
    try:
        bodies = [Chain(encoder, _bits_by_layer(bits, chain)).extend(chain) for chain in chains]
        lasts = [body.readout(weight) for body, (weight, _) in zip(bodies, readouts, strict=True)]
        scale = _logit_scale(lasts)
        if max(last.scale.max() for last in lasts) < GAIN_FINE * scale:
            held = [np.ceil(last.scale / scale) * scale for last in lasts]
            lasts = [body.readout(weight, s) for body, (weight, _), s in zip(bodies, readouts, held, strict=True)]
        students = []
        for body, last, (weight, offset), chunk in zip(bodies, lasts, readouts, features, strict=True):
            gain = np.maximum(1, np.rint(last.scale / scale)).astype(np.int32)
            offset = offset + body.readout_offset(weight)
            part = integers("the readout's bias", offset / scale)
            students.append(QuantStudent((*body.layers, last), chunk, gain, part))
        return QuantEnsemble(
            name=name,
            encoder=encoder,
            students=tuple(students),
            bias=integers("the head's bias", bias / scale),
            order=tuple(range(len(students))),
            classes=classes,
            logit_scale=scale,
            policy=ActivationPolicy("all"),
            vectors=no_vectors(encoder, len(classes), students),
        )
    except ValueError as error:
        raise SneError(f"{name} cannot be deployed: {error}", undeployable(len(classes))) from None


def undeployable(outputs: int) -> str:
    """The hint for a model that breaks a rule of the representation."""
    if outputs == 1:
        return "give two outputs, one for each class; or, if the one is a number, task='regression' (--regression)"
    return "see the limits in docs, or make the network smaller"


def check_bits(bits: Iterable[int]) -> None:
    """Raise `SneError` where weights cannot have so many bits."""
    if odd := [each for each in bits if each not in (4, 8)]:
        raise SneError(f"weights of {odd[0]} bits are not supported", "give 8 or 4")


def _bits_by_layer(bits: int | Sequence[int], chain: list[nn.Module]) -> tuple[int, ...]:
    """Bits of the weights of each layer of a chain that has some, then of the readout's."""
    weighted = [module for module in chain if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear)]
    count = len(weighted) + 1
    if isinstance(bits, int):
        depthwise = [not isinstance(m, nn.Linear) and m.groups > 1 for m in weighted[1:]]
        given = (8, *(8 if grouped else bits for grouped in depthwise), 8)[-count:]
    else:
        given = tuple(bits)
    check_bits((bits,) if isinstance(bits, int) else given)
    if len(given) != count:
        raise SneError(
            f"bits {bits} do not fit {count} layers with weights", "give 8 or 4, or one of them for each layer"
        )
    return given


def _logit_scale(readouts: list[Linear]) -> float:
    """The finest common unit of logits with gains below 2^12 and every possible logit far inside 2^30."""
    reach = sum(r.scale * max(-r.bound.low, r.bound.high, 1) for r in readouts)
    return float(max(max(r.scale.max() for r in readouts) / GAIN_MAX, np.max(reach) / REACH_MAX))
