"""Samples whose targets are numbers: an .npz for a regression.

In: the path of an .npz with x_train, y_train and perhaps layout. Out: the validation part, which no training has seen
where the network was trained on the other by the same seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import SneError
from ..ir.layout import LayoutFinder, describe, sample_shape, stated_layout, to_samples, usual_layout
from .dataset import VALIDATION_SHARE
from .npz import read_npz

HINT = "give an .npz with x_train [N, ...] and y_train, numbers [N] or [N, outputs], and layout if you like"


@dataclass(frozen=True, eq=False)
class Values:
    """Samples float32 [N, ...], channel last, and targets float64 [N, outputs]; `understood`: how samples were read."""

    x: np.ndarray
    y: np.ndarray
    understood: str


def load_values(
    source: str | Path, seed: int = 0, *, layout: str | None = None, finder: LayoutFinder = usual_layout
) -> Values:
    """The validation part of a file of samples and numbers, drawn by `seed`. Raises `SneError` where it holds none."""
    path = Path(source)
    if path.suffix != ".npz":
        raise SneError(f"{path} is no .npz: data sets have labels, and a regression wants numbers", HINT)
    arrays = read_npz(path, {"x_train", "y_train", "x_test", "y_test", "layout"})
    x, y, own = (arrays.get(name) for name in ("x_train", "y_train", "layout"))
    if x is None or y is None or x.ndim < 2 or {x.dtype.kind, y.dtype.kind} - set("fiub") or not x.size:
        raise SneError(f"{path} holds no x_train and y_train of numbers", HINT)
    if y.ndim not in (1, 2) or len(y) != len(x) or not y.size:
        raise SneError(f"y_train in {path} is {y.dtype}{list(y.shape)}, for {len(x)} samples", HINT)
    if not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise SneError(f"{path} holds NaN or infinite values", "clean the data first")
    stated = layout or (None if own is None else str(own))
    told = finder("x_train", x.shape) if stated is None else stated_layout("x_train", x.shape, stated)
    samples = to_samples(x.astype(np.float32), told)
    order, held = np.random.default_rng(seed).permutation(len(x)), max(1, round(VALIDATION_SHARE * len(x)))
    rows = np.sort(order[:held])
    return Values(
        samples[rows], y.astype(np.float64).reshape(len(y), -1)[rows], describe(sample_shape(x.shape, told), told)
    )
