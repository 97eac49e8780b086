"""What users bring, checked, and how what was made of it is judged: the same for chains and graphs."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import torch

from ..check.evaluation import commonest, of_no_use
from ..errors import SneError, SneWarning
from ..ir.encoder import Encoder, Scaled
from . import witness

WARN_BELOW = 0.95
FAIL_BELOW = 0.8
FOLLOWED = 0.5  # correlation of outputs, far below that of any network whose labels mean something


def check_shares(*shares: float) -> None:
    """Raise `SneError` where an agreement is asked for that cannot be."""
    for share in shares:
        if not 0 <= share <= 1:
            raise SneError(f"an agreement of {share} cannot be asked for", "give shares in 0..1: 0.95 and 0.8, say")


def array_of(values: Any) -> np.ndarray:
    """An array or tensor, wherever it lies, as numbers."""
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        values = values.float() if values.dtype == torch.bfloat16 else values
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise SneError(f"the samples make no array: {error}", "give samples of one shape") from None
    if array.dtype.kind not in "fiub" or array.ndim < 2 or array.size == 0:
        raise SneError(f"the samples are {array.dtype}{list(array.shape)}", "give numbers [N, ...]")
    return array.astype(np.float32) if array.dtype == np.float16 else array


def known_labels(labels: Any, count: int, classes: int) -> np.ndarray | None:
    """A user's labels as int64 [count], or None; `SneError` where they are not one of `classes` for each sample."""
    if labels is None:
        return None
    array = np.asarray(labels.detach().cpu() if isinstance(labels, torch.Tensor) else labels)
    if array.shape != (count,) or array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= classes:
        raise SneError(
            f"labels are {array.dtype}{list(array.shape)}, for {count} samples of {classes} classes",
            f"give one whole number in 0..{classes - 1} for each sample",
        )
    return array.astype(np.int64)


def known_values(values: Any, count: int, outputs: int) -> np.ndarray | None:
    """A user's true values as float64 [count, outputs], or None; `SneError` where they are no numbers of that shape."""
    if values is None:
        return None
    array = np.asarray(values.detach().cpu() if isinstance(values, torch.Tensor) else values)
    if array.shape not in ((count, outputs), *([(count,)] if outputs == 1 else [])) or array.dtype.kind not in "fiub":
        raise SneError(
            f"true values are {array.dtype}{list(array.shape)}, for {count} samples of {outputs} outputs",
            f"give numbers [{count}, {outputs}], one for each output of each sample",
        )
    return array.astype(np.float64).reshape(count, outputs)


def check_task(task: str | None) -> bool:
    """Whether outputs are numbers; `SneError` for a task that there is not."""
    if task not in (None, "classification", "regression"):
        raise SneError(f"there is no task {task!r}", "give classification or regression")
    return task == "regression"


def judge(
    found: witness.Comparison,
    encoder: Encoder,
    clipped: tuple[float, float],
    largest: float,
    labels: np.ndarray | None,
    outputs: int,
    count: int,
    warn_below: float,
    fail_below: float,
) -> None:
    """Warnings of all that a user should know, and an error where the integers are not the network."""
    _tell_input(encoder, clipped, largest, found.saturated)
    if labels is not None and found.accuracy is not None:
        chance = commonest(labels)
        if of_no_use(found.accuracy, labels):
            _warn(
                f"the network itself is right on {found.accuracy:.1%} of the samples, where the commonest class makes "
                f"{chance:.1%}: are layout, scaling and labels those it was trained with?{_votes(labels, outputs)}"
            )
    if found.agreement < fail_below:
        raise SneError(
            f"the integers label {found.agreement:.2%} of {count} samples like the network itself, less than "
            f"{fail_below:.0%}",
            "check the samples' layout and scale, and that weights of a layer are of one size; fail_below=0 "
            "(--fail-below 0) makes the model all the same",
        )
    if found.agreement < warn_below:
        _warn(f"the integers label {found.agreement:.2%} of {count} samples like the network itself")
    elif found.agreement >= WARN_BELOW and found.correlation < FOLLOWED:
        _warn(
            f"labels agree, but outputs follow the network's own by a correlation of {found.correlation:.2f} only: are "
            "they all alike, of neurons that hardly spike? decode='membrane' (--decode membrane) takes membranes"
        )


def judge_values(
    found: witness.Values,
    encoder: Encoder,
    clipped: tuple[float, float],
    largest: float,
    count: int,
    warn_below: float,
    fail_below: float,
) -> None:
    """The same of outputs that are numbers, by R squared."""
    _tell_input(encoder, clipped, largest, found.saturated)
    told = (
        f"on {count} samples the integers' outputs are those of the network itself by an R squared of {found.fit:.4f}, "
        f"with an error of up to {found.largest:.4g} where they span {found.span:.4g}"
    )
    if found.fit < fail_below:
        raise SneError(
            f"{told}: less than {fail_below:.2f}",
            "check the samples' layout and scale; fail_below=0 (--fail-below 0) makes the model all the same",
        )
    if found.fit < warn_below:
        _warn(told)


def _votes(labels: np.ndarray, outputs: int) -> str:
    """What to do where a network has several outputs for each class, as snnTorch's population codes have."""
    classes = int(labels.max()) + 1
    if outputs < 2 * classes or outputs % classes:
        return ""
    each = outputs // classes
    return (
        f" It has {outputs} outputs for {classes} classes: where each class is voted for by {each} neurons, return "
        f"spk_rec.view(timesteps, -1, {classes}, {each}).sum(-1)"
    )


def _tell_input(encoder: Encoder, clipped: tuple[float, float], largest: float, saturated: dict[str, float]) -> None:
    below, above = clipped
    if encoder.kind == "rate" and below:
        _warn(f"{below:.2%} of the values are negative as rates, and never spike; shift or scale the samples")
        below = 0.0
    if below + above:
        _warn(
            f"{below + above:.2%} of the values are beyond what the input holds and are clipped: the largest magnitude "
            f"is {largest:.4g}, a step of int8 {_steps(encoder.scale)}; a scale of your own changes that"
        )
    for layer, share in saturated.items():
        _warn(f"{share:.2%} of the membranes of {layer} are at their clamp: they hold less than the network's")


def _steps(scale: Scaled) -> str:
    return f"{min(scale):.4g} to {max(scale):.4g}, by channel" if isinstance(scale, tuple) else f"{scale:.4g}"


def _warn(text: str) -> None:
    warnings.warn(text, SneWarning, stacklevel=4)
