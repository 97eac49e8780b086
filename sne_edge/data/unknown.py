"""Samples of none of a model's classes, to calibrate and judge a rejection with.

In: an .npz with an array `x`, a folder or archive of images, or a folder of recordings, and the data set whose samples
they must look like. Out: samples as those of the data set.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SneError
from ..files import is_folder
from ..ir.layout import LayoutFinder, stated_layout, to_samples, usual_layout
from .dataset import Dataset
from .folders import kind_of
from .images import pictures
from .npz import read_npz
from .series import recorded
from .sounds import recordings

HINT = (
    "give an .npz with an array x (and layout), samples as in the data set, or a folder of images of its size, or of "
    "recordings"
)


def load_unknown(source: str | Path, dataset: Dataset, finder: LayoutFinder = usual_layout) -> np.ndarray:
    """Samples float32 [N, ...] of the data set's shape; pixels are standardised as the data set's were.

    `finder` finds the layout of an array that states none. Raises `SneError` where there are none, or of another shape.
    """
    path = Path(source)
    if path.suffix == ".npz":
        arrays = read_npz(path, {"x", "layout"})
        x = arrays.get("x")
        if x is None or x.dtype.kind not in "fiub" or x.ndim < 2 or not x.size:
            raise SneError(f"{path} holds no array x of samples", HINT)
        stated = arrays.get("layout")
        layout = finder("x", x.shape) if stated is None else stated_layout("x", x.shape, str(stated))
        samples = to_samples(x.astype(np.float32), layout)
    elif dataset.frontend is not None and is_folder(path):
        samples = dataset.frontend.apply(recordings(path, dataset.frontend)).astype(np.float32)
    elif is_folder(path) and kind_of(path) == "series":
        samples = to_samples(recorded(path, dataset.shape[1], dataset.columns), "NLC")
    elif is_folder(path) or path.is_file():
        samples = pictures(path).astype(np.float32)
    else:
        raise SneError(f"there are no samples at {path}", HINT)
    if samples.shape[1:] != dataset.x_val.shape[1:]:
        raise SneError(
            f"{path} holds samples of {samples.shape[1:]}, {dataset.name} of {dataset.x_val.shape[1:]}", HINT
        )
    if not np.isfinite(samples).all():
        raise SneError(f"{path} holds NaN or infinite values", "clean the data first")
    if dataset.standard is not None:
        mean, deviation = dataset.standard
        samples = (samples - mean) / deviation
    return samples
