"""Encoders: from real-valued inputs to the bytes a device receives, and from those to spikes.

In: float arrays (`direct`, `rate`) or binary rasters (`events`). Out: uint8 arrays of
`Encoder.input_bytes` per sample. The same bytes go to the reference, the host build and the device.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np

from ..errors import SneError
from .checks import check

Shape = tuple[int, int, int]  # (height, width, channels), channel last; 1-D data has height 1
Scaled = float | tuple[float, ...]  # one number for all inputs, or one for each of `input_channels`
EncoderKind = Literal["direct", "rate", "events", "frames"]

MAX_NEURONS = 65535  # event indices are uint16
RATE_SCALE = 1 / 128  # of a rate whose inputs are probabilities
OFF = 2.0  # times as far from zero as from their middle values may reach: beyond, int8 loses more than a bit of them
APART = 4.0  # times as far as another one a channel may reach: beyond, int8 loses two bits of that
ROUNDING = 1e-6  # of their magnitude, by which values differ that are one
MANY = 64  # values, from which on one of them may be a glitch
REACH = 0.9999  # of magnitudes lie within what values are said to reach


class Encoder(msgspec.Struct, frozen=True):
    """How an input becomes spikes.

    direct  q = clip(rint((x - offset) / scale), -128, 127) is the first layer's input, the same at every
            timestep; the first layer's currents are computed once.
    rate    the same q as a firing rate: a spike at timestep t where draw[t, i] < q[i], draws being uniform
            on 0..127 (`rate_draws`), so with a probability of q / 128; q <= 0 never spikes. With `RATE_SCALE` and no
            offset an input is its probability of a spike in each timestep, 0..1.
    events  the input is a binary raster [timesteps, inputs], one bit an input, least significant first,
            each timestep padded to whole 32-bit words.
    frames  values as of `direct`, others at every timestep, [timesteps, inputs]; with scale 1 also counts of events.
            For graphs.

    `scale` and `offset` are one number each, or one for each of `input_channels(shape)`: of sensors whose axes have
    units of their own.
    """

    kind: EncoderKind
    shape: Shape
    timesteps: int
    scale: Scaled = 1.0
    offset: Scaled = 0.0
    seed: int = 1

    def __post_init__(self) -> None:
        if min(self.shape) < 1 or self.size > MAX_NEURONS:
            raise ValueError(f"input shape {self.shape} must hold 1 to {MAX_NEURONS} values")
        if not 1 <= self.timesteps <= 65535:
            raise ValueError(f"timesteps {self.timesteps} is not in 1..65535")
        for what, given in (("scale", self.scale), ("offset", self.offset)):
            many = input_channels(self.shape)
            if isinstance(given, tuple):
                fits = len(given) == many > 1 and self.kind != "events"
                check(fits, f"{what} has {len(given)} numbers for {many} channels of {self.kind}")
        if not (np.isfinite(self.scale).all() and np.min(self.scale) > 0 and np.isfinite(self.offset).all()):
            raise ValueError(f"scale {self.scale} must be positive and offset {self.offset} finite")
        if not 0 <= self.seed < 2**32:
            raise ValueError(f"seed {self.seed} is not in 0..2^32-1")

    @property
    def size(self) -> int:
        """Number of input values."""
        return self.shape[0] * self.shape[1] * self.shape[2]

    @property
    def input_bytes(self) -> int:
        """Bytes of one sample as the device receives it."""
        return self.timesteps * self.row_bytes if self.kind in ("events", "frames") else self.size

    @property
    def row_bytes(self) -> int:
        """Bytes of one timestep of a raster (`events`) or of frames."""
        return self.size if self.kind == "frames" else -(-self.size // 32) * 4

    @property
    def multiplies(self) -> bool:
        """Does an input hold values that weights are multiplied by, and no spikes?"""
        return self.kind in ("direct", "frames")

    @property
    def by_channel(self) -> bool:
        """Have channels a scale or an offset of their own?"""
        return isinstance(self.scale, tuple) or isinstance(self.offset, tuple)

    @property
    def unit(self) -> float:
        """The real value of one step of the input, of the coarsest channel where they differ: see `relative`."""
        return max(self.scale) if isinstance(self.scale, tuple) else self.scale

    @property
    def relative(self) -> Scaled:
        """Each channel's step as a share of `unit`: what weights are multiplied by so that all inputs count alike."""
        return tuple(s / self.unit for s in self.scale) if isinstance(self.scale, tuple) else 1.0

    @property
    def offset_steps(self) -> Scaled:
        """The offset in steps of the input."""
        if not isinstance(self.offset, tuple) and not isinstance(self.scale, tuple):
            return self.offset / self.scale
        steps = self.spread(self.offset) / self.spread(self.scale)
        return tuple(float(step) for step in steps.ravel())

    def spread(self, values: Scaled) -> np.ndarray:
        """A scale, or what is like one, as it meets maps [..., height, width, channels]: float64 [], [channels], or of
        flat inputs [width, 1]."""
        return np.asarray(values, np.float64).reshape(_grid(self.shape) if isinstance(values, tuple) else ())

    def facing(self, values: Scaled, weight: np.ndarray) -> np.ndarray:
        """The same as it meets weights that take the input, channel last: linear [outputs, inputs], or windows
        [outputs, channels, height, width]. Raises `ValueError` where windows would meet places of a scale each."""
        wide = self.spread(values)
        if weight.ndim == 2 or not wide.ndim:
            whole: np.ndarray = np.broadcast_to(wide, self.shape).reshape(-1) if wide.ndim else wide
            return whole
        check(wide.ndim == 1, f"windows move over {len(wide)} places of a scale each; state the layout, with channels")
        by_channel: np.ndarray = wide.reshape(-1, 1, 1)
        return by_channel

    def summed(self, values: Scaled, weight: np.ndarray) -> np.ndarray:
        """What inputs of these values bring to each output of weights as of `facing`: float64 [outputs]."""
        if not isinstance(values, tuple):
            alike: np.ndarray = values * weight.reshape(len(weight), -1).sum(axis=1, dtype=np.float64)
            return alike
        brought = weight * self.facing(values, weight)
        apart: np.ndarray = brought.reshape(len(weight), -1).sum(axis=1)
        return apart

    @property
    def shifted(self) -> bool:
        """Is there an offset?"""
        return bool(np.any(self.offset))

    @property
    def streams(self) -> bool:
        """May inputs come timestep by timestep, without an end?"""
        return self.kind in ("events", "frames")

    def encode(self, x: np.ndarray) -> np.ndarray:
        """Samples to device bytes, uint8 [N, input_bytes].

        `x`: float [N, ...] (`direct`, `rate`) or [N, timesteps, ...] (`frames`), or 0/1 [N, timesteps, ...] (`events`),
        a sample being height, width, channels, or channels, height, width (told apart by their sizes; of equal ones the
        former), axes of size 1 left out or not, or `size` values in the former order. Raises `SneError` on another
        shape, NaN, or a raster that is not binary.
        """
        x = np.asarray(x)
        if self.kind in ("events", "frames"):
            want: tuple[int, ...] = (self.timesteps, self.size)
        else:
            want = (self.size,)
        count = len(x) if x.ndim else 0
        if x.ndim < 1 or x.size != count * int(np.prod(want)) or count == 0:
            raise SneError(
                f"input of shape {x.shape} does not hold samples of {' x '.join(map(str, want))} values",
                f"give an array of shape (N, {', '.join(map(str, want))})",
            )
        x = self._channel_last(x).reshape(count, *want)
        if self.kind == "events":
            if not np.isin(x, (0, 1)).all():
                raise SneError(
                    "the input raster holds values other than 0 and 1",
                    "give one 0 or 1 per input and timestep; counts of events are for encoder='frames'",
                )
            bits = np.packbits(x.astype(np.uint8), axis=2, bitorder="little")
            padding = self.row_bytes - bits.shape[2]
            return np.pad(bits, ((0, 0), (0, 0), (0, padding))).reshape(count, self.input_bytes)
        x = x.astype(np.float64)
        if not np.isfinite(x).all():
            raise SneError("the input holds NaN or infinite values", "clean the data before encoding it")
        q: np.ndarray = np.clip(np.rint(self.steps(x.reshape(-1, *self.shape))), -128, 127).astype(np.int8)
        return q.reshape(count, -1).view(np.uint8)

    def steps(self, x: np.ndarray) -> np.ndarray:
        """Real values [..., height, width, channels] in steps of the input, not yet whole: float64."""
        scaled: np.ndarray = (x - self.spread(self.offset)) / self.spread(self.scale)
        return scaled

    def real(self, q: np.ndarray) -> np.ndarray:
        """What steps [..., height, width, channels] stand for, float64."""
        values: np.ndarray = q * self.spread(self.scale) + self.spread(self.offset)
        return values

    def _channel_last(self, x: np.ndarray) -> np.ndarray:
        """Samples [N, ...] of the right size with their channels last."""
        height, width, channels = self.shape
        leading = 2 if self.kind in ("events", "frames") and x.ndim > 2 and x.shape[1] == self.timesteps else 1
        given = [n for n in x.shape[leading:] if n > 1]
        flat = int(np.prod(x.shape[leading:])) != self.size or len(given) < 2
        if flat or given == [n for n in self.shape if n > 1]:
            return x
        if given != [n for n in (channels, height, width) if n > 1]:
            raise SneError(
                f"input of shape {x.shape} fits neither {self.shape} (height, width, channels) nor channels first",
                "give samples in one of these orders",
            )
        return np.moveaxis(x.reshape(*x.shape[:leading], channels, height, width), leading, -1)

    def analog(self, data: np.ndarray) -> np.ndarray:
        """Device bytes of a `direct` or `rate` input as int8 [N, height, width, channels]; those of `frames` as
        [N, timesteps, height, width, channels]."""
        steps = (self.timesteps,) if self.kind == "frames" else ()
        return np.ascontiguousarray(data).view(np.int8).reshape(len(data), *steps, *self.shape)

    def spikes(self, data: np.ndarray) -> np.ndarray:
        """Input spikes of a `rate` or `events` input, uint8 0/1 [timesteps, N, height, width, channels]."""
        data = np.ascontiguousarray(data, dtype=np.uint8)
        count = len(data)
        if self.kind == "events":
            rows = data.reshape(count, self.timesteps, self.row_bytes)
            raster = np.unpackbits(rows, axis=2, bitorder="little", count=self.size).transpose(1, 0, 2)
        else:
            rate = self.analog(data).reshape(1, count, self.size).astype(np.int16)
            draws = rate_draws(self.seed, self.timesteps, self.size)[:, None, :]
            raster = (draws.astype(np.int16) < rate).astype(np.uint8)
        return np.ascontiguousarray(raster).reshape(self.timesteps, count, *self.shape)


def input_channels(shape: Shape) -> int:
    """How many scales an input can have: one for each channel, or of flat inputs (1, n, 1) for each value."""
    return int(np.prod(_grid(shape)))


def _grid(shape: Shape) -> tuple[int, ...]:
    height, width, channels = shape
    return (width, 1) if height == channels == 1 else (channels,)


def as_scaled(values: np.ndarray) -> Scaled:
    """One number, where all are alike."""
    found = tuple(float(value) for value in values.reshape(-1))
    return found[0] if len(set(found)) == 1 else found


def in_words(values: Scaled | np.ndarray) -> str:
    """A scale or offset, or what is like one, from the least to the largest: `2048`, `0 to 9.81`."""
    ends = dict.fromkeys(
        np.format_float_positional(end, 4, fractional=False, trim="-") for end in (np.min(values), np.max(values))
    )
    return " to ".join(ends)


def reach(x: np.ndarray) -> np.ndarray:
    """What one magnitude in ten thousand, and at least one of many, exceeds, float64 [channels], for values
    [N, channels]: a glitch tells nothing."""
    beyond = max(1, math.ceil((1 - REACH) * len(x))) if len(x) >= MANY else 0
    place = len(x) - 1 - beyond
    reached: np.ndarray = np.partition(np.abs(x), place, axis=0)[place].astype(np.float64)
    return reached


def span(x: np.ndarray) -> np.ndarray:
    """How far values [N, channels] reach from their mean, float64 [channels]; 0 where that is rounding alone."""
    x = x.astype(np.float64)
    found = reach(x - x.mean(axis=0))
    spans: np.ndarray = np.where(found > ROUNDING * reach(x), found, 0.0)
    return spans


def differ(spans: np.ndarray) -> bool:
    """Whether channels of these spans, float [channels], need a scale each; those that are constant do not count."""
    varying = spans[spans > 0]
    return len(varying) > 1 and bool(varying.max() > APART * varying.min())


def middles(x: np.ndarray) -> np.ndarray:
    """The offsets that values [N, channels] call for, float64 [channels]: where zero is far off their mean, one for
    all, or each channel's own where that lets them have finer steps; else 0, so that what is zero needs no work."""
    x = x.astype(np.float64)
    reaches, mean, own = reach(x), x.mean(axis=0), span(x)
    alike = np.full(len(mean), mean.mean())
    common = reach(x - alike).max()
    if own.any() and reaches.max() > OFF * common and common <= OFF * own.max():
        return alike
    apart: np.ndarray = np.where((own > 0) & (reaches > OFF * own), mean, 0.0)
    return apart


def rate_draws(seed: int, timesteps: int, size: int) -> np.ndarray:
    """Uniform draws on 0..127, uint8 [timesteps, size]; `sne_rate_word` in C computes the same.

    One 32-bit hash of (seed + t * words + i / 4) serves four inputs, one a byte. The mixer is
    Wellons' lowbias32 (github.com/skeeto/hash-prospector).
    """
    words = (size + 3) // 4
    x = np.arange(timesteps * words, dtype=np.uint64) + np.uint64(seed)
    x = (x & np.uint64(0xFFFFFFFF)).astype(np.uint32)
    x ^= x >> np.uint32(16)
    x *= np.uint32(0x7FEB352D)
    x ^= x >> np.uint32(15)
    x *= np.uint32(0x846CA68B)
    x ^= x >> np.uint32(16)
    draws: np.ndarray = x.astype("<u4").view(np.uint8).reshape(timesteps, words * 4)[:, :size]
    draws &= np.uint8(127)
    return draws
