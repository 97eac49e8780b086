"""The log-mel front end: int16 audio to the int8 input of a network, in integers that C repeats bit for bit.

In: int16 samples. Out: int8 [1, frames, bands], the bytes that a `direct` or `rate` encoder would make. Only the tables
are worked out in floating point, once; they are rounded to integers before anything uses them.
"""

from __future__ import annotations

from functools import cached_property

import msgspec
import numpy as np

from ..errors import SneError
from .encoder import Shape

FRACTION_BITS = 8  # of the logarithm
LOG_SEGMENTS = 32
_CHUNK = 256  # frames worked on at once: they fit a core's cache


class LogMel(msgspec.Struct, frozen=True, dict=True):
    """Logarithms of the energy in mel bands, frame by frame.

    rate         samples per second
    window       samples of a frame: a power of two, 32 to 512
    hop          samples from one frame to the next, 1 to `window`
    bands        mel bands (`low`..`high` Hz, triangles, O'Shaughnessy's 2595 log10(1 + f / 700))
    frames       frames of an input; what is missing of `samples` is zero, what is beyond is left out
    preemphasis  of 32: the share of the sample before that is taken off, 0 (none) to 31
    offset, gain  q8 and q16: what logarithm becomes 0, and how many steps an octave of energy is, / 256

    One frame, N = `window`, M = N / 2, all in int32; >> is an arithmetic shift, round(x, n) = (x + (1 << n >> 1)) >> n:

    1. y[n] = 32 s[n] - preemphasis s[n-1], but y[0] = 0, as hann[0] is. y has b bits: the fewest for which
       -2^b <= y[n] < 2^b, all n. y is scaled by 2^(15-b): shifted left, or round(., b - 15).  e = b - 20
    2. x[n] = round(y[n] hann[n], 15);  z[n] = x[2n] + i x[2n+1]
    3. a radix-2 FFT of M points, decimation in time. Before each stage with values of b bits, s = max(0, b - 15);
       every value becomes round(., s), e grows by s. A butterfly is a + t, a - t, t = round(b w, 15), the real and the
       imaginary part each rounded once. w = cos - i sin in q15, 32768 being 1
    4. s = max(0, b - 14) in the same way. With Z[M] = Z[0], E = Z[k] + conj Z[M-k], D = Z[k] - conj Z[M-k],
       P = round(w[k] D, 15), w[k] = exp(-2 pi i k / N): X[k] = (round(Re E + Im P, 1), round(Im E - Re P, 1))
    5. power[k] = Re X^2 + Im X^2, which fits in uint32.  T[band] = sum of weight[band, k] power[k], in uint64. Between
       the centres of two bands the weights of a bin add up to 256: rise[k] for the upper, 256 - rise[k] for the lower
    6. L = max(256 log2(T) + 512 e - 2048, -8192); log2 is the position of T's highest bit, and of the 16 bits below it
       (zeros shifted in, or bits dropped) a linear interpolation between 33 entries of a table, see `log2`
    7. q = clip(round((L - offset) gain, 16), -127, 127); with 127 the highest magnitude, an encoder of scale 1 keeps it

    Nothing overflows: |y| < 2^21 (1), |y hann| <= 2^30 (2), |Re b w| <= 2^30 sqrt 2 (3, 4), |Re X| <= 39556 (4),
    -2^13 <= L < 2^14 (6).
    Raises `ValueError` where a field is out of range or a band holds no bin.
    """

    rate: int = 8000
    window: int = 256
    hop: int = 128
    bands: int = 32
    frames: int = 64
    low: float = 60.0
    high: float = 4000.0
    preemphasis: int = 31
    offset: int = 5504
    gain: int = 2048

    def __post_init__(self) -> None:
        for name, lowest, highest in (
            ("rate", 1000, 192000),
            ("window", 32, 512),
            ("hop", 1, self.window),
            ("bands", 1, 128),
            ("frames", 1, 4096),
            ("preemphasis", 0, 31),
            ("offset", -16384, 16383),
            ("gain", 1, 65535),
        ):
            value = getattr(self, name)
            if not lowest <= value <= highest:
                raise ValueError(f"front end: {name} {value} is not in {lowest}..{highest}")
        if self.window & (self.window - 1):
            raise ValueError(f"front end: window {self.window} is not a power of two")
        if not 0 <= self.low < self.high <= self.rate / 2:
            raise ValueError(f"front end: {self.low}..{self.high} Hz is not within 0..{self.rate / 2}")
        if self.bands * self.frames > 65535:
            raise ValueError(f"front end: {self.frames} frames of {self.bands} bands are more than 65535 values")
        upper, lower = np.split(self._band_weights > 0, 2)
        if not (upper.any(axis=1) | lower.any(axis=1)).all():
            raise ValueError(
                f"front end: {self.bands} bands are too narrow for a window of {self.window}: one holds no bin"
            )

    @property
    def shape(self) -> Shape:
        """The shape of an input: (1, frames, bands)."""
        return 1, self.frames, self.bands

    @property
    def samples(self) -> int:
        """Samples that an input is made of."""
        return self.window + self.hop * (self.frames - 1)

    @property
    def told(self) -> str:
        """What an input is, for a line of text."""
        seconds = f"{self.samples / self.rate:.2f} s of sound at {self.rate / 1000:g} kHz"
        return f"{seconds}: {self.frames} frames of {self.bands} bands"

    @cached_property
    def hann(self) -> np.ndarray:
        """q15 window up to its middle, uint16 [window / 2 + 1]; hann[window - n] = hann[n]."""
        return _q15(np.sin(np.pi * np.arange(self.window // 2 + 1) / self.window) ** 2)

    @cached_property
    def sine(self) -> np.ndarray:
        """q15 sin(2 pi n / window) of the first quarter, uint16 [window / 4 + 1]."""
        return _q15(np.sin(2 * np.pi * np.arange(self.window // 4 + 1) / self.window))

    @cached_property
    def edges(self) -> np.ndarray:
        """The first bin at or above each band edge, uint16 [bands + 2]; band b rises from edge b and falls
        to edge b + 2."""
        edges: np.ndarray = np.ceil(self._edge_bins).astype(np.uint16)
        return edges

    @cached_property
    def rise(self) -> np.ndarray:
        """uint8 [edges[-1] - edges[0]]: 256 times how far each bin is from the edge below it to the one above."""
        bins = np.arange(int(self.edges[0]), int(self.edges[-1]))
        position = np.interp(bins, self._edge_bins, np.arange(self.bands + 2))
        segment = np.repeat(np.arange(self.bands + 1), np.diff(self.edges))
        rise: np.ndarray = np.minimum(np.rint(256 * (position - segment)), 255).astype(np.uint8)
        return rise

    @property
    def _edge_bins(self) -> np.ndarray:
        low, high = (2595 * np.log10(1 + frequency / 700) for frequency in (self.low, self.high))
        hertz = 700 * (10 ** (np.linspace(low, high, self.bands + 2) / 2595) - 1)
        edges: np.ndarray = np.minimum(hertz * self.window / self.rate, self.window // 2)
        edges[[0, -1]] = self.low * self.window / self.rate, self.high * self.window / self.rate
        return edges

    @property
    def _band_weights(self) -> np.ndarray:
        """[2 bands, bins]: the rising, then the falling weights of each band."""
        rising, falling = self._weights()
        return np.concatenate([rising[:-1], falling[1:]])

    def _weights(self) -> tuple[np.ndarray, np.ndarray]:
        """int64 [bands + 1, bins] twice: what each segment between two edges adds to the band above and below."""
        segment = np.repeat(np.arange(self.bands + 1), np.diff(self.edges))
        rising, falling = np.zeros((2, self.bands + 1, self.window // 2 + 1), np.int64)
        bins = np.arange(int(self.edges[0]), int(self.edges[-1]))
        rising[segment, bins], falling[segment, bins] = self.rise, 256 - self.rise.astype(np.int64)
        return rising, falling

    def apply(self, samples: np.ndarray) -> np.ndarray:
        """Recordings, int16 [N, n], to int8 [N, 1, frames, bands]; raises `SneError` for anything else."""
        frames = self._frames(samples)
        level = self._levels(frames)
        q = ((level - self.offset) * self.gain + (1 << 15)) >> 16
        inputs: np.ndarray = np.clip(q, -127, 127).astype(np.int8).reshape(len(samples), *self.shape)
        return inputs

    def fitted(self, samples: np.ndarray, spread: float = 2.5) -> LogMel:
        """The same with `offset` and `gain` chosen on recordings, int16 [N, n], without their digital silence: 0 is
        the mean logarithm, and `spread` standard deviations are 127 steps."""
        frames = self._frames(samples)
        level = self._levels(frames[frames.any(axis=1)])
        if not len(level):
            raise SneError("the recordings hold nothing but silence", "give recordings with sound to fit a front end")
        gain = round(127 * 65536 / (spread * max(float(level.std()), 1.0)))
        return msgspec.structs.replace(self, offset=round(float(level.mean())), gain=min(gain, 65535))

    def _frames(self, samples: np.ndarray) -> np.ndarray:
        """int16 [N frames, window]."""
        samples = np.asarray(samples)
        if samples.dtype != np.int16 or samples.ndim != 2 or not samples.size:
            raise SneError(
                f"audio is {samples.dtype}{list(samples.shape)}, not int16 [recordings, samples]",
                "give 16-bit samples, one recording a row",
            )
        padded = np.zeros((len(samples), self.samples), np.int16)
        count = min(self.samples, samples.shape[1])
        padded[:, :count] = samples[:, :count]
        windows = np.lib.stride_tricks.sliding_window_view(padded, self.window, axis=1)[:, :: self.hop]
        cut: np.ndarray = windows.reshape(-1, self.window)
        return cut

    def _levels(self, frames: np.ndarray) -> np.ndarray:
        """L, int64 [F, bands], of frames, int16 [F, window]."""
        rising, falling = self._weights()
        weights = (rising[:-1] + falling[1:]).astype(np.float64)  # sums stay below 2^53, so products in float are exact
        energy = np.empty((len(frames), self.bands), np.int64)
        exponent = np.empty(len(frames), np.int64)
        for start in range(0, len(frames), _CHUNK):
            part = slice(start, start + _CHUNK)
            power, exponent[part] = self._spectrum(frames[part])
            energy[part] = power @ weights.T
        return np.maximum(log2(energy) + 512 * exponent[:, None] - 2048, -8192)

    def _spectrum(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Power, float64 [F, window / 2 + 1] of whole numbers, and e (int64 [F]) of frames."""
        hann = np.concatenate([self.hann, self.hann[-2:0:-1]]).astype(np.int32)
        s = frames.T.astype(np.int32)  # frames last: numpy's inner loops run over them
        y = np.zeros_like(s)
        y[1:] = 32 * s[1:] - self.preemphasis * s[:-1]
        shift = _bits(y) - 15
        y = np.where(shift > 0, _round(y, np.maximum(shift, 0)), y << np.maximum(-shift, 0))
        exponent = shift - 5
        x = _round(y * hann[:, None], 15)
        half = self.window // 2
        order = _bit_reversed(half)
        re, im = x[0::2][order], x[1::2][order]
        cosine, sine = self._twiddles()
        span = 1
        while span < half:
            re, im = self._scaled(re, im, 15, exponent)
            w = np.arange(span) * (half // span)
            re, im = _butterflies(re, im, cosine[w], sine[w])
            span *= 2
        re, im = self._scaled(re, im, 14, exponent)
        k = np.arange(half + 1)
        zr, zi, mr, mi = re[k % half], im[k % half], re[-k % half], im[-k % half]
        c, w = cosine[:, None], sine[:, None]
        pr = _round(c * (zr - mr) + w * (zi + mi), 15)
        pi = _round(c * (zi + mi) - w * (zr - mr), 15)
        xr, xi = _round(zr + mr + pi, 1), _round(zi - mi - pr, 1)
        power = xr.astype(np.float64) ** 2 + xi.astype(np.float64) ** 2
        return power.T, exponent.astype(np.int64)

    def _twiddles(self) -> tuple[np.ndarray, np.ndarray]:
        """cos and sin of 2 pi n / window, n = 0 .. window / 2, int32."""
        sine = self.sine.astype(np.int32)
        return np.concatenate([sine[::-1], -sine[1:]]), np.concatenate([sine, sine[-2::-1]])

    @staticmethod
    def _scaled(re: np.ndarray, im: np.ndarray, bits: int, exponent: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Each frame's values shifted to fit in `bits`; adds the shifts to `exponent`."""
        shift = np.maximum(0, np.maximum(_bits(re), _bits(im)) - bits).astype(np.int32)
        exponent += shift
        return _round(re, shift), _round(im, shift)


def log2(value: np.ndarray) -> np.ndarray:
    """256 log2 of integers in 0 .. 2^53 - 1, int64, rounded; that of 0 is -256, as if it were 1/2.

    f is the 16 bits below the highest one, i = f >> 11, r = f & 2047, table[i] = 32768 log2(1 + i / 32):
    256 position + round(table[i] + round((table[i+1] - table[i]) r, 11), 7).
    """
    value = np.asarray(value, np.int64)
    position = np.frexp(value.astype(np.float64))[1].astype(np.int64) - 1
    fraction = (value << np.maximum(16 - position, 0) >> np.maximum(position - 16, 0)) & 0xFFFF
    table = log_table().astype(np.int64)
    i, rest = fraction >> 11, fraction & 2047
    part = table[i] + (((table[i + 1] - table[i]) * rest + 1024) >> 11)
    level: np.ndarray = np.where(value > 0, 256 * position + ((part + 64) >> 7), -256)
    return level


def log_table() -> np.ndarray:
    """q15 log2(1 + i / 32), uint16 [33]."""
    return _q15(np.log2(1 + np.arange(LOG_SEGMENTS + 1) / LOG_SEGMENTS))


def _q15(values: np.ndarray) -> np.ndarray:
    rounded: np.ndarray = np.rint(32768 * values).astype(np.uint16)
    return rounded


def _round(x: np.ndarray, shift: int | np.ndarray) -> np.ndarray:
    half = (np.int32(1) << np.asarray(shift, np.int32)) >> 1
    result: np.ndarray = (x + half) >> np.asarray(shift, np.int32)
    return result


def _bits(x: np.ndarray) -> np.ndarray:
    """The fewest b for which -2^b <= x < 2^b, of each column: int32 [F]."""
    bits: np.ndarray = np.frexp((x ^ (x >> 31)).max(axis=0).astype(np.float64))[1].astype(np.int32)
    return bits


def _bit_reversed(count: int) -> np.ndarray:
    order = np.zeros(1, np.int64)
    while len(order) < count:
        order = np.concatenate([2 * order, 2 * order + 1])
    return order


def _butterflies(re: np.ndarray, im: np.ndarray, cosine: np.ndarray, sine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """One stage of the FFT over the first axis; the tables hold the stage's twiddles."""
    shape = (-1, 2, len(cosine), re.shape[1])
    re, im = re.reshape(shape), im.reshape(shape)
    c, s = cosine[:, None], sine[:, None]
    ar, ai, br, bi = re[:, 0], im[:, 0], re[:, 1], im[:, 1]
    tr, ti = _round(br * c + bi * s, 15), _round(bi * c - br * s, 15)
    out_re, out_im = np.stack([ar + tr, ar - tr], axis=1), np.stack([ai + ti, ai - ti], axis=1)
    return out_re.reshape(-1, shape[-1]), out_im.reshape(-1, shape[-1])
