"""Corrupted inputs, by kind and severity, to see what robustness a model has.

In: samples float [N, height, width, channels], or recordings int16 [N, samples]. Out: the same, worse. A kind is one
function, registered by its name.

Strengths are in units of the samples' standard deviation, so that one scale serves every data set; they follow the idea
of Hendrycks and Dietterich (2019, arXiv 1903.12261): five severities, each used on every sample.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..errors import SneError

SEVERITIES = (1, 2, 3, 4, 5)
WHITE = 0.1  # standard deviations of white noise in each severity
HIT = 0.02  # share of the values that impulses hit in each severity
Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]


def gaussian(x: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """White noise of 0.1 to 0.5 standard deviations."""
    noisy: np.ndarray = x + WHITE * severity * x.std() * generator.standard_normal(x.shape)
    return noisy


def impulse(x: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """2 % to 10 % of the values at the lowest or highest value of all samples."""
    hit = generator.random(x.shape) < HIT * severity
    return np.where(hit, np.where(generator.random(x.shape) < 0.5, x.min(), x.max()), x)


def brightness(x: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """Every value of a sample moved by the same 0.15 to 0.75 standard deviations, up or down."""
    sign = generator.choice([-1.0, 1.0], size=(len(x), 1, 1, 1))
    moved: np.ndarray = x + 0.15 * severity * x.std() * sign
    return moved


def blur(x: np.ndarray, severity: int, generator: np.random.Generator) -> np.ndarray:
    """A Gaussian of 0.3 to 1.5 pixels over height and width, edges repeated."""
    sigma, taps = 0.3 * severity, np.arange(-5, 6)
    kernel = np.exp(-0.5 * (taps / sigma) ** 2)
    kernel /= kernel.sum()
    for axis in (1, 2):
        if x.shape[axis] > 1:
            padded = np.pad(x, [(5, 5) if a == axis else (0, 0) for a in range(4)], mode="edge")
            windows = np.lib.stride_tricks.sliding_window_view(padded, 11, axis=axis)
            x = windows @ kernel
    return x


CORRUPTIONS: dict[str, Corruption] = {f.__name__: f for f in (gaussian, impulse, brightness, blur)}


def corrupt(kind: str, x: np.ndarray, severity: int, seed: int = 0) -> np.ndarray:
    """Samples float32 [N, height, width, channels] under a corruption of severity 1..5; deterministic for a seed."""
    if kind not in CORRUPTIONS or severity not in SEVERITIES:
        known = ", ".join(CORRUPTIONS)
        raise SneError(f"there is no corruption {kind!r} of severity {severity}", f"kinds: {known}; severities 1 to 5")
    made: np.ndarray = CORRUPTIONS[kind](x.astype(np.float64), severity, np.random.default_rng([seed, 5, severity]))
    return made.astype(np.float32)


SNRS = (30, 20, 15, 10, 5, 0)  # dB
LIGHTEST = 30.0  # dB of the lightest noise that networks learn under
DEEPER = 6.0  # dB by which each severity reaches deeper: 5 reaches the last of `SNRS`
TALKERS = 8
Noise = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]


def white(audio: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """White noise."""
    return generator.standard_normal((len(rows), audio.shape[1]))


def babble(audio: np.ndarray, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """`TALKERS` other recordings at once, equally loud, each repeated from a place of its own."""
    heard = np.flatnonzero(audio.any(axis=1))
    noise = np.zeros((len(rows), audio.shape[1]))
    for number, row in zip(rows, noise, strict=True):
        others = heard[heard != number] if len(heard) > 1 else heard
        for n in generator.choice(others, min(TALKERS, len(others)), replace=False) if len(others) else ():
            sound = audio[n, : _length(audio[n])].astype(np.float64)
            loud = sound / np.sqrt((sound**2).mean())
            row += np.resize(np.roll(loud, generator.integers(len(loud))), len(row))
    return noise


NOISES: dict[str, Noise] = {f.__name__: f for f in (white, babble)}


def add_noise(kind: str, audio: np.ndarray, snr: float, seed: int = 0) -> np.ndarray:
    """Recordings int16 [N, samples] with noise that is `snr` dB below each one's power, as `mixed` has it; babble is of
    the others among them. Deterministic for a seed.

    Raises `SneError` for an unknown kind.
    """
    if kind not in NOISES:
        raise SneError(f"there is no noise {kind!r}", f"kinds: {', '.join(NOISES)}")
    generator = np.random.default_rng([seed, 6, round(10 * snr) + 1000])
    return mixed(audio, NOISES[kind](audio, np.arange(len(audio)), generator), snr)


def random_noise(audio: np.ndarray, rows: np.ndarray, severity: float, generator: np.random.Generator) -> np.ndarray:
    """The recordings `rows`, int64 [n], of int16 [N, samples], each in noise of its own: of `NOISES`, evenly chosen, at
    a ratio drawn evenly, in dB, from `LIGHTEST` down to `DEEPER` less for each severity. Babble is of others of the N.
    """
    kinds = generator.integers(len(NOISES), size=len(rows))
    snr = LIGHTEST - DEEPER * severity * generator.random(len(rows))
    noise = np.zeros((len(rows), audio.shape[1]))
    for kind, make in enumerate(NOISES.values()):
        noise[kinds == kind] = make(audio, rows[kinds == kind], generator)
    return mixed(audio[rows], noise, snr)


def mixed(audio: np.ndarray, noise: np.ndarray, snr: float | np.ndarray) -> np.ndarray:
    """Recordings int16 [N, samples] with noise of that shape, `snr` dB, one for all or [N], below each one's power from
    its first sample to its last but zeros; over all of the input, padding too, as a microphone would hear it."""
    sound = audio.astype(np.float64)
    power = (sound**2).sum(axis=1) / _length(audio)
    scale = np.sqrt(power / np.maximum((noise**2).mean(axis=1), 1e-12) / 10 ** (snr / 10))
    made: np.ndarray = np.clip(np.rint(sound + scale[:, None] * noise), -(2**15), 2**15 - 1).astype(np.int16)
    return made


def _length(audio: np.ndarray) -> np.ndarray:
    """Samples of each recording [..., samples] without the zeros that it ends in; all, where it is silent."""
    length: np.ndarray = audio.shape[-1] - np.argmax(audio[..., ::-1] != 0, axis=-1)
    return length
