"""Layouts: which axis of an array of samples is which.

A layout names an array's axes in order, a letter each: N samples, T timesteps (of rasters of events), C channels, and
L length or H height and W width; NC is a table, whose columns are channels of one place. The package's own order is
channel last, N (T) H W C, 1-D data having height 1 and its length along the width; torch's is channel first. A layout
is stated, or found where an array's shape leaves one meaning only; everything else is an error that says how to state
it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..errors import SneError
from .encoder import Encoder, Shape

LayoutFinder = Callable[[str, Sequence[int]], str]  # an array's name and shape to its layout; raises SneError

OWN = "NHWC"
OWN_RASTER = "NTHWC"
LAYOUTS = {2: ("NL",), 3: ("NHW", "NCL", "NLC"), 4: ("NHWC", "NCHW")}
FEW_CHANNELS = 4  # of an image: grey, with alpha, colour, with alpha
HINT = (
    "state it by a letter an axis: --layout NCL, layout='NCL' or an array `layout` in the .npz; N samples, "
    "T timesteps, C channels, L length, H height, W width"
)


def parse_layout(text: str) -> str:
    """The layout that `text` names: N once, L or HW, and C and T at most once, in any order, or NC; `SneError` else."""
    layout = text.strip().upper()
    rest = set(layout) - set("NTC")
    spans = rest in ({"L"}, {"H", "W"}) or set(layout) == {"N", "C"}
    if len(set(layout)) != len(layout) or "N" not in layout or not spans:
        raise SneError(f"{text!r} is no layout", "give NL, NC, NCL, NLC, NHW, NCHW or NHWC; of events with a T: NTCHW")
    return layout


def sample_shape(shape: Sequence[int], layout: str) -> Shape:
    """(height, width, channels) of the samples in an array."""
    sizes = dict(zip(layout, shape, strict=True))
    return sizes.get("H", 1), sizes["L"] if "L" in sizes else sizes.get("W", 1), sizes.get("C", 1)


def to_samples(array: np.ndarray, layout: str) -> np.ndarray:
    """An array in the package's own order, [N, height, width, channels] or [N, timesteps, height, width, channels]."""
    order = [axis for axis in "NTHLWC" if axis in layout]
    moved = array.transpose([layout.index(axis) for axis in order])
    leading = moved.shape[: 2 if "T" in layout else 1]
    samples: np.ndarray = moved.reshape(*leading, *sample_shape(array.shape, layout))
    return samples


def stated_layout(name: str, shape: Sequence[int], text: str) -> str:
    """The layout that a user states for an array; `SneError` where it has other axes."""
    layout = parse_layout(text)
    if len(layout) != len(shape):
        raise SneError(f"{name} is of shape {list(shape)}, but layout {layout} names {len(layout)} axes", HINT)
    return layout


def find_layout(
    name: str, shape: Sequence[int], fits: Callable[[str, Shape], bool], wanted: str, raster: bool = False
) -> str:
    """The one layout of an array in which its samples fit: `fits(layout, sample's shape)`; `wanted` says to what.

    Layouts that differ in the place of axes of size 1 alone are one. Raises `SneError` where none fits, or several.
    """
    ways: dict[tuple[object, ...], str] = {}
    for plain in LAYOUTS.get(len(shape) - raster, ()):
        layout = f"NT{plain[1:]}" if raster else plain
        found = sample_shape(shape, layout)
        if fits(layout, found):
            order = [layout.index(axis) for axis in "NTHLWC" if axis in layout]
            ways.setdefault((found, *(axis for axis in order if shape[axis] > 1)), layout)
    if len(ways) == 1:
        return next(iter(ways.values()))
    if ways:
        raise SneError(f"{name} of shape {list(shape)} may be {' or '.join(ways.values())} for {wanted}", HINT)
    raise SneError(f"{name} is of shape {list(shape)}, which does not fit {wanted}", HINT)


def usual_layout(name: str, shape: Sequence[int]) -> str:
    """The layout of samples of which nothing else is known; `SneError` where their shape leaves a choice.

    [N, length]; square [N, height, width]; [N, height, width, channels] and [N, channels, height, width] where one of
    the two has at most `FEW_CHANNELS` channels.
    """
    if len(shape) == 2:
        return "NL"
    inner = tuple(shape[1:])
    if len(shape) == 3:
        if inner[0] == inner[1]:
            return "NHW"
        if 1 in inner:
            return "NCL" if inner[0] == 1 else "NLC"
        raise SneError(
            f"{name} of shape {list(shape)} may be NHW (grey images), NCL or NLC (1-D data of several channels)", HINT
        )
    if len(shape) == 4:
        first, last = inner[0] <= FEW_CHANNELS, inner[2] <= FEW_CHANNELS
        if (last and not first) or inner[0] == inner[2] == 1:
            return "NHWC"
        if first and not last and (inner[0] > 1 or inner[1] == inner[2]):
            return "NCHW"
        raise SneError(f"{name} of shape {list(shape)} may be NHWC or NCHW", HINT)
    raise SneError(f"{name} is of shape {list(shape)}, not samples [N, ...] of 1 to 3 axes", HINT)


def encoder_layout(encoder: Encoder) -> LayoutFinder:
    """How to find the layout of samples for a model's encoder."""

    def find(name: str, shape: Sequence[int]) -> str:
        raster = encoder.streams
        if len(shape) - raster == 2:
            return "NTL" if raster else "NC" if encoder.shape[:2] == (1, 1) else "NL"
        wanted = f"inputs of shape {encoder.shape} (height, width, channels)"
        return find_layout(name, shape, lambda _, sample: sample == encoder.shape, wanted, raster)

    return find


def describe(shape: Shape, layout: str) -> str:
    """What was understood, for a line of text: the samples' shape and the layout they were read in."""
    height, width, channels = shape
    if layout == "NC":
        return f"{channels} columns of a table (read as NC)"
    what = f"length {width}" if height == 1 else f"{height} x {width}"
    return f"{what}, {channels} channel{'s' if channels > 1 else ''} (read as {layout})"
