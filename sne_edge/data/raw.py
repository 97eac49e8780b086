"""Arrays as files have them, before their split."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..ir.frontend import LogMel


def no_audio() -> np.ndarray:
    """The recordings of what is no sound: int16 [0, 0]."""
    return np.zeros((0, 0), np.int16)


@dataclass(frozen=True, eq=False)
class Raw:
    """x [N, ...], labels [N], the official test part or None, class names (none: their numbers); for sound the front
    end that made x, and the recordings int16 [N, samples] that the rows of x and x_test were made of.

    standardise  values are to have mean 0 and deviation 1, by those of each channel of the samples that are not tests
    mirrored     a mirrored sample keeps its class
    layout       of the samples, see `ir.layout`; None where their shape says it
    columns      names of the channels, if they have any
    """

    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    frontend: LogMel | None = None
    audio: np.ndarray = field(default_factory=no_audio)
    audio_test: np.ndarray = field(default_factory=no_audio)
    standardise: bool = False
    mirrored: bool = False
    layout: str | None = None
    columns: tuple[str, ...] = ()


def standardised(train: np.ndarray, test: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, np.ndarray]]:
    """Both parts [N, height, width, channels] as float32, by the mean and deviation of each channel of `train`, and
    these, float32 [channels]."""
    axes = tuple(range(train.ndim - 1))
    mean = train.mean(axis=axes, dtype=np.float64).astype(np.float32)
    deviation = (train.std(axis=axes, dtype=np.float64) + 1e-6).astype(np.float32)
    a, b = ((part.astype(np.float32) - mean) / deviation for part in (train, test))
    return a, b, (mean, deviation)
