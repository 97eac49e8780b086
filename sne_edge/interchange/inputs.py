"""The input of a network of one's own: how its samples lie, and what int8 makes of them.

In: samples as a user has them, and the network's first layer. Out: samples in the package's order, an `Encoder` whose
scale suits them, and the same samples as torch's modules take them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from ..errors import SneError
from ..ir.encoder import RATE_SCALE, Encoder, Scaled, Shape, as_scaled, differ, input_channels, middles, reach, span
from ..ir.layers import size
from ..ir.layout import LayoutFinder, find_layout, to_samples, usual_layout

KINDS = ("direct", "rate", "events", "frames")
RANGES = ("max", "percentile", "mse")
SCALES = ("auto", "network", "per-channel")
SENSOR = 32  # channels, at most, that have units of their own: pixels and bands have one
TELLING = 64  # values of a channel, at least, that tell its unit
PERCENTILE = 0.999  # of the magnitudes, what `percentile` keeps
RANGES_TRIED = 100  # by `mse`, from a hundredth of the largest magnitude to all of it
GLITCH = 4.0  # a magnitude of so many times that of 99 % of the values is none of the signal's
RATE_OUTSIDE = 0.05  # the share of values outside 0..1 up to which samples are taken for probabilities


def layout_for(first: nn.Module, raster: bool, shape: Shape | None = None) -> LayoutFinder:
    """How to find the layout of samples that a network takes, by its first layer and, where it is known, the sample's
    shape (height, width, channels)."""
    one_d = isinstance(first, nn.Conv1d | nn.AvgPool1d | nn.MaxPool1d)
    maps = one_d or isinstance(first, nn.Conv2d | nn.AvgPool2d | nn.MaxPool2d)
    channels = getattr(first, "in_channels", None)
    if shape is not None and not maps and (shape[2] == 1 or shape[:2] == (1, 1)):
        shape = None  # flat is flat

    def find(name: str, found: Sequence[int]) -> str:
        plain = len(found) - raster
        if not maps and shape is None:  # torch flattens samples in the order they come in
            order = {2: "NL", 3: "NHW", 4: "NCHW"}.get(plain)
            if order is None:
                raise SneError(f"{name} is of shape {list(found)}", "give samples of 1 to 3 axes")
            return f"NT{order[1:]}" if raster else order
        if plain == 2 and shape is not None:
            return "NTL" if raster else "NL"

        def fits(layout: str, sample: Shape) -> bool:
            if shape is not None and sample != shape:
                return False
            if channels is not None and sample[2] != channels:
                return False
            return sample[0] == 1 if one_d else not maps or "L" not in layout

        takes = f"samples of shape {shape}" if shape else f"{type(first).__name__}, which takes {channels} channels"
        return find_layout(name, found, fits, takes, raster)

    return find


@dataclass(frozen=True)
class Scaling:
    """What a user says of the steps of an input: `make_encoder` has the words."""

    scale: float | Sequence[float] | None = None
    offset: float | Sequence[float] | None = None
    input_range: str = "max"
    input_scale: str = "auto"

    def encoder(
        self, kind: str, x: np.ndarray, timesteps: int, shape: tuple[int, ...], layers: Sequence[nn.Module] = ()
    ) -> Encoder:
        """`make_encoder`'s of samples in the package's order, for the `layers` of a chain, if it is one."""
        said = self.fixed if pads(layers) else self
        return make_encoder(
            kind, x, timesteps, shape, scale=said.scale, offset=said.offset, input_range=said.input_range,
            input_scale=said.input_scale, dense=is_dense(layers),
        )  # fmt: skip

    @property
    def fixed(self) -> Scaling:
        """The same, of no offset where none is given."""
        return self if self.offset is not None else replace(self, offset=0.0)

    @property
    def shifted(self) -> bool:
        """Whether an offset is given, and is not 0."""
        return self.offset is not None and bool(np.any(self.offset))

    @property
    def said(self) -> bool:
        """Whether anything is said."""
        ranged = (self.input_range, self.input_scale) != ("max", "auto")
        return self.scale is not None or self.shifted or ranged


def pads(layers: Sequence[nn.Module]) -> bool:
    """Whether the first of a chain's layers with weights, or what is before it, puts zeros around the input, which an
    offset would have to reach."""
    for layer in layers:
        padding = getattr(layer, "padding", 0)
        if padding == "same" or (not isinstance(padding, str) and bool(np.any(padding))):
            return True
        if hasattr(layer, "weight"):
            return False
    return False


def is_dense(layers: Sequence[nn.Module]) -> bool:
    """Whether the first of a chain's layers with weights takes every value by itself."""
    return isinstance(next((layer for layer in layers if hasattr(layer, "weight")), None), nn.Linear)


def make_encoder(
    kind: str,
    x: np.ndarray,
    timesteps: int,
    shape: tuple[int, ...] | None = None,
    *,
    layout: str | None = None,
    scale: float | Sequence[float] | None = None,
    offset: float | Sequence[float] | None = 0.0,
    input_range: str = "max",
    input_scale: str = "auto",
    dense: bool = False,
) -> Encoder:
    """An encoder for samples like `x`, float [N, ...] of one to three axes, with timesteps [N, timesteps, ...] for
    `frames`, and 0/1 for `events`; channel last where a `shape` is given.

    `shape` (height, width, channels): by default the samples', in `layout`, by default the usual one of their shape.
    `scale` of one step of the int8 input: by default that at which the largest magnitude becomes 127 (`direct`,
    `frames`), 1 where frames are whole numbers that int8 holds, counts of events say, or at which inputs are
    probabilities 0..1 (`rate`). It and `offset` are one number, or one for each channel (of flat samples, each value);
    an offset of None is that which values without a `scale` call for (`ir.encoder.middles`), each channel's own where
    there are up to `SENSOR`; of flat samples that a `dense` layer takes, each value is one.
    `input_range`, of values without a `scale`: what counts as the largest magnitude: `max`, of all but glitches
    beyond `GLITCH` times their 99th percentile; `percentile`, which 99.9 % do not exceed; `mse`, that at which clipping
    and rounding of all but glitches make the smallest mean squared error.
    `input_scale`, likewise: `network`, one scale for all, `per-channel`, each channel's own, or `auto`, that where up
    to `SENSOR` channels reach so differently that one would cost others their steps (`ir.encoder.differ`).
    Raises `SneError` where these make no encoder.
    """
    check_encoding(kind, input_range, input_scale, scale)
    x, given, found = np.asarray(x), None if scale is None else _scaled(scale), offset is None
    offset = 0.0 if offset is None else _scaled(offset)
    if shape is None:
        timed = kind in ("events", "frames")
        if layout is None and timed and x.ndim != 3:
            what = "an event input" if kind == "events" else "frames"
            raise SneError(f"the shape of {what} is not known", "give its (height, width, channels) or its layout")
        layout = layout or ("NTL" if timed else usual_layout("the samples", x.shape))
        x = to_samples(x, layout)
        shape = x.shape[-3:]
    if len(shape) != 3:
        raise SneError(f"the input's shape is {shape}", "give (height, width, channels); 1-D data has height 1")
    if x.size == 0 or not np.isfinite(x).all():
        raise SneError("the samples that set the input's scale hold NaN or nothing", "give clean, typical samples")
    if kind == "events":
        if given is not None or np.any(offset):
            raise SneError("events have no scale and no offset", "leave them out: a spike is a spike")
        given = 1.0
    elif kind == "rate" and given is None:
        moved = _centred(x, offset, shape)
        outside = float(((moved < 0) | (moved > 1)).mean())
        if outside > RATE_OUTSIDE:
            raise SneError(
                f"{outside:.1%} of the values are outside 0..1, and a rate is a spike's probability in each timestep",
                "scale the samples to 0..1, or give the scale and offset of a step: q = (x - offset) / scale, a spike "
                "having a probability of q / 128",
            )
        given = RATE_SCALE
    elif given is None:
        if found and not (kind == "frames" and _whole(x)):
            offset = as_scaled(middles(_by_channel(x, shape) if _of_sensors(x, shape, dense) else x.reshape(-1, 1)))
        given = _chosen(_centred(x, offset, shape), kind, input_range, input_scale, shape, dense)
        if np.any(offset) and found and not isinstance(given, tuple):
            given = max(given, float(reach(_centred(x, offset, shape).reshape(-1, 1))[0]) / 127)
    try:
        return Encoder(kind, (shape[0], shape[1], shape[2]), timesteps, scale=given, offset=offset)  # type: ignore[arg-type]
    except ValueError as error:
        raise SneError(str(error), "check the samples' shape, the timesteps, and scale and offset") from None


def _scaled(given: float | Sequence[float]) -> Scaled:
    """A user's number, or numbers: floats, a tuple where there are several."""
    values = np.asarray(given)
    if values.dtype.kind not in "fiu" or values.ndim > 1 or not values.size:
        raise SneError(f"{given!r} is no scale or offset", "give a number, or one for each channel")
    return float(values) if not values.ndim else tuple(float(value) for value in values)


def _centred(x: np.ndarray, offset: Scaled, shape: tuple[int, ...]) -> np.ndarray:
    """Samples [..., height, width, channels] less the offset, the same from channel to channel or not."""
    if not isinstance(offset, tuple):
        centred: np.ndarray = x - offset
        return centred
    apart: np.ndarray = _by_channel(x, shape) - np.array(_fitting(offset, shape))
    return apart.reshape(x.shape)


def _by_channel(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Samples in the package's order, by rows of one value of each of `input_channels`: [..., channels]."""
    return x.reshape(-1, input_channels((shape[0], shape[1], shape[2])))


def _fitting(values: tuple[float, ...], shape: tuple[int, ...]) -> tuple[float, ...]:
    many = input_channels((shape[0], shape[1], shape[2]))
    if len(values) != many:
        raise SneError(
            f"{len(values)} numbers for {many} channels of an input of {tuple(shape)} (height, width, channels)",
            "give one number for all, or one for each channel",
        )
    return values


def _chosen(
    x: np.ndarray, kind: str, input_range: str, input_scale: str, shape: tuple[int, ...], dense: bool
) -> Scaled:
    """The scale of samples less their offset: one, or one for each channel. What is chosen unasked cuts no more than
    one value in ten thousand, and leaves a channel that is constant the largest scale: what it may hold is not seen."""
    if input_scale == "auto":
        columns = _by_channel(x, shape)
        spans = span(columns)
        if not (_of_sensors(x, shape, dense) and differ(spans)) or (kind == "frames" and _whole(x)):
            return _step(x, kind, input_range)
        steps = [max(_step(c, kind, input_range), r / 127) for c, r in zip(columns.T, reach(columns), strict=True)]
        largest = max(s for s, far in zip(steps, spans, strict=True) if far)
        return tuple(float(s if far else max(s, largest)) for s, far in zip(steps, spans, strict=True))
    if input_scale == "network":
        return _step(x, kind, input_range)
    columns = _by_channel(x, shape).T
    if len(columns) == 1:
        raise SneError(
            f"an input of {tuple(shape)} (height, width, channels) has one channel, and so one scale",
            "leave --input-scale (input_scale) out, or state the layout, with the channels that there are",
        )
    return tuple(_step(column, kind, input_range) for column in columns)


def _of_sensors(x: np.ndarray, shape: tuple[int, ...], dense: bool) -> bool:
    """Whether channels may be of units of their own, and there are values enough to tell."""
    many = input_channels((shape[0], shape[1], shape[2]))
    return (shape[2] > 1 or dense) and 1 < many <= SENSOR and x.size // many >= TELLING


def _step(x: np.ndarray, kind: str, input_range: str) -> float:
    """The real value of one step of int8 for values of one unit; 1 for counts in frames."""
    if kind == "frames" and _whole(x):
        return 1.0
    return _range(np.abs(x), input_range) / 127 or 1.0


def check_encoding(kind: str, input_range: str, input_scale: str, scale: float | Sequence[float] | None) -> None:
    """Raise `SneError` where there is no such encoder, whatever the samples."""
    check_range(input_range, input_scale, kind, scale)
    if kind not in KINDS:
        raise SneError(f"there is no encoder {kind!r}", f"an encoder is one of: {', '.join(KINDS)}")
    if scale is not None and not all(np.isfinite(each) and each > 0 for each in np.ravel(_scaled(scale))):
        raise SneError(f"a scale of {scale}", "give the real value of one step of the int8 input, above 0")


def check_range(input_range: str, input_scale: str, kind: str, scale: object) -> None:
    """Raise `SneError` where an input's range cannot be chosen so."""
    if input_scale not in SCALES:
        raise SneError(f"there is no input scale {input_scale!r}", f"give one of: {', '.join(SCALES)}")
    if input_scale == "per-channel" and (scale is not None or kind in ("rate", "events")):
        raise SneError(
            f"an input scale {input_scale} is chosen where there is nothing to choose",
            "it finds the scales of a direct input or of frames: leave the scale, or this choice, out",
        )
    if input_range not in RANGES:
        raise SneError(f"there is no input range {input_range!r}", f"give one of: {', '.join(RANGES)}")
    if input_range != "max" and (scale is not None or kind in ("rate", "events")):
        raise SneError(
            f"an input range {input_range} is chosen where there is nothing to choose",
            "it sets the scale of a direct input or of frames: leave the scale, or the range, out",
        )


def _range(magnitudes: np.ndarray, input_range: str) -> float:
    """The magnitude that becomes 127."""
    if input_range == "max" or not magnitudes.any():
        return _largest(magnitudes)
    if input_range == "percentile":
        return float(np.quantile(magnitudes[magnitudes > 0], PERCENTILE, method="lower"))
    top = _largest(magnitudes)
    magnitudes = magnitudes[magnitudes <= top]
    best, least = top, np.inf
    for most in top * np.arange(RANGES_TRIED, 0, -1) / RANGES_TRIED:
        step = most / 127
        error = float(((np.minimum(np.rint(magnitudes / step), 127) * step - magnitudes) ** 2).mean())
        best, least = (most, error) if error < least else (best, least)
    return float(best)


def _whole(x: np.ndarray) -> bool:
    """Are these whole numbers that an int8 holds?"""
    return bool((np.rint(x) == x).all() and x.min() >= -128 and x.max() <= 127)


def _largest(magnitudes: np.ndarray) -> float:
    """The largest magnitude that is no glitch."""
    some = magnitudes[magnitudes > 0]
    if not len(some):
        return 0.0
    usual = GLITCH * float(np.quantile(some, 0.99, method="lower"))
    return float(some[some <= usual].max())


def beyond(encoder: Encoder, x: np.ndarray) -> tuple[float, float]:
    """Shares of values, samples in the package's order, below and above what the encoder holds: they are clipped, or
    below 0 never spike."""
    if encoder.kind == "events":
        return 0.0, 0.0
    q = np.rint(encoder.steps(np.asarray(x, np.float64).reshape(-1, *encoder.shape)))
    low, high = (0, 128) if encoder.kind == "rate" else (-128, 127)
    return float((q < low).mean()), float((q > high).mean())


def network_input(samples: np.ndarray, first: nn.Module) -> torch.Tensor:
    """Samples in the package's order, [..., height, width, channels], as a network with this first layer takes them,
    float32: [..., channels, length] or [..., channels, height, width], or flat for `nn.Linear`."""
    x = torch.from_numpy(np.ascontiguousarray(samples, dtype=np.float32)).movedim(-1, -3)
    if isinstance(first, nn.Conv1d | nn.AvgPool1d | nn.MaxPool1d):
        return x.squeeze(-2)
    return x.flatten(-3) if isinstance(first, nn.Linear) else x


def fit_to(encoder: Encoder, samples: np.ndarray, first: nn.Module) -> np.ndarray:
    """Samples in the shape of an encoder that was given; `SneError` where that leaves their order open."""
    height, width, channels = samples.shape[-3:]
    if isinstance(first, nn.Linear | nn.Flatten) and encoder.shape == (1, height * width * channels, 1):
        samples = np.moveaxis(samples, -1, -3)  # torch flattens channel first
        return samples.reshape(*samples.shape[:-3], *encoder.shape)
    flat = height == channels == 1 and (encoder.shape[2] == 1 or not isinstance(first, nn.Linear | nn.Flatten))
    if (height, width, channels) != encoder.shape and not (flat and width == size(encoder.shape)):
        raise SneError(
            f"samples of shape {(height, width, channels)} do not fit the encoder's {encoder.shape}, both (height, "
            "width, channels)",
            "give an encoder of the samples' shape, or state the samples' layout",
        )
    return samples.reshape(*samples.shape[:-3], *encoder.shape)
