"""Data sets of events: N-MNIST and SHD from their own files, and spikes made of recordings.

In: the folder where files lie. Out: `Raw` rasters, uint8 0/1 [N, timesteps, height, width, channels]: in a timestep an
input has spiked, or it has not.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..errors import SneError
from ..files import read_file
from ..ir.layout import OWN_RASTER
from .formats import MAX_BYTES, Members
from .raw import Raw

NMNIST = (10, 17, 17, 2)  # timesteps, height, width (of 34, by twos), polarities
NMNIST_MICROSECONDS = 300_000  # of a recording: three saccades
SHD = (25, 1, 140, 1)  # timesteps, cochlear channels (of 700, by fives)
SHD_SECONDS = 1.0
SHD_CLASSES = tuple(f"{language} {digit}" for language in ("english", "german") for digit in range(10))
COCHLEA = (25, 1, 48, 1)  # timesteps of 40 ms, channels
TICKS = 4  # of integration, in a timestep
LOWEST, HIGHEST = 100.0, 3600.0  # Hz, the middles of the outermost channels
LOUDEST = 0.35  # spikes in a tick where a recording is loudest in any channel


def nmnist_sample(content: bytes) -> np.ndarray:
    """The raster of one N-MNIST recording (Orchard et al. 2015): events of five bytes, big-endian: x, y, polarity (a
    bit), microseconds (23 bits). Raises `ValueError` for another length, or events off the sensor."""
    if len(content) % 5:
        raise ValueError(f"{len(content)} bytes are no events of five")
    events = np.frombuffer(content, np.uint8).reshape(-1, 5).astype(np.int64)
    x, y, polarity = events[:, 0], events[:, 1], events[:, 2] >> 7
    time = (events[:, 2] & 0x7F) << 16 | events[:, 3] << 8 | events[:, 4]
    steps, height, width, _ = NMNIST
    if len(events) and max(x.max() // 2 - width, y.max() // 2 - height) >= 0:
        raise ValueError(f"events reach {x.max()}, {y.max()}, off a sensor of 34 x 34")
    made = np.zeros(NMNIST, np.uint8)
    step = time * steps // NMNIST_MICROSECONDS
    kept = step < steps
    made[step[kept], y[kept] // 2, x[kept] // 2, polarity[kept]] = 1
    return made


def read_nmnist(where: Path) -> Raw:
    """N-MNIST from its folders Train/DIGIT/*.bin and Test/DIGIT/*.bin. Raises `SneError` where they are none."""
    found: dict[str, list[tuple[np.ndarray, int]]] = {"Train": [], "Test": []}
    for name, content in Members(where, (".bin",)):
        parts = name.split("/")
        try:
            part, digit = parts[-3], int(parts[-2])
            found[part].append((nmnist_sample(content), digit))
        except (KeyError, ValueError, IndexError) as error:
            raise SneError(
                f"{where}: {name} is no recording of N-MNIST: {error}", "unpack Train.zip and Test.zip"
            ) from None
    if not (found["Train"] and found["Test"]):
        raise SneError(f"{where} holds no Train and Test of N-MNIST", "unpack Train.zip and Test.zip there")
    (x, y), (x_test, y_test) = (
        (np.stack([raster for raster, _ in rows]), np.array([digit for _, digit in rows])) for rows in found.values()
    )
    return Raw(x, y, x_test, y_test, tuple("0123456789"), layout=OWN_RASTER)


def read_shd(train: Path, test: Path) -> Raw:
    """The Spiking Heidelberg Digits (Cramer et al. 2020) from shd_train.h5 and shd_test.h5: `spikes/times` in seconds,
    `spikes/units` 0..699, `labels` 0..19. Raises `SneError` where they are none, or h5py is not installed."""
    (x, y), (x_test, y_test) = (_shd_part(path) for path in (train, test))
    return Raw(x, y, x_test, y_test, SHD_CLASSES, layout=OWN_RASTER)


def _shd_part(path: Path) -> tuple[np.ndarray, np.ndarray]:
    try:
        import h5py
    except ImportError:
        raise SneError("the package h5py is not installed", "pip install 'sne-edge[events]'") from None
    hint = "get shd_train.h5 and shd_test.h5 from zenkelab.org, unpacked"
    content = read_file(path, MAX_BYTES, hint=hint)
    steps, _, width, _ = SHD
    try:
        with h5py.File(io.BytesIO(content), "r") as file:
            times, units, labels = file["spikes"]["times"], file["spikes"]["units"], np.asarray(file["labels"])
            if not len(times) == len(units) == len(labels):
                raise ValueError(f"{len(times)} times, {len(units)} units and {len(labels)} labels")
            made = np.zeros((len(labels), *SHD), np.uint8)
            for number in range(len(labels)):
                when, where = np.asarray(times[number], np.float64), np.asarray(units[number], np.int64)
                if when.shape != where.shape or (len(where) and not 0 <= where.min() <= where.max() < 5 * width):
                    raise ValueError(f"sample {number} has units beyond 0..{5 * width - 1}")
                step = (when * steps / SHD_SECONDS).astype(np.int64)
                kept = (step >= 0) & (step < steps)
                made[number, step[kept], 0, where[kept] // 5, 0] = 1
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise SneError(f"{path} is no file of the Spiking Heidelberg Digits: {error}", hint) from None
    return made, labels.astype(np.int64)


def cochlea(audio: np.ndarray, rate: int) -> np.ndarray:
    """Spikes of recordings int16 [N, samples], uint8 0/1 [N, *COCHLEA]: a simple stand-in for a silicon cochlea.

    Channels are gammatone filters of the fourth order, by the power of their response in the frequency domain, a
    constant number of equivalent rectangular bandwidths apart (Glasberg and Moore 1990). The cube root of a channel's
    energy in a tick of 10 ms charges a neuron that fires at 1 and keeps the rest; a recording's loudest place charges
    `LOUDEST`. A timestep holds a spike where any of its ticks does.
    """
    steps, _, channels, _ = COCHLEA
    tick = rate // 100
    window = 4 * tick  # 40 ms: low channels ring that long
    middles = _bandwidths_apart(channels)
    frequencies = np.fft.rfftfreq(window, 1 / rate)
    bandwidth = 1.019 * 24.7 * (0.00437 * middles + 1)
    response = (1 + ((frequencies[None, :] - middles[:, None]) / bandwidth[:, None]) ** 2) ** -4.0
    needed = (steps * TICKS - 1) * tick + window
    made = np.zeros((len(audio), *COCHLEA), np.uint8)
    for number, samples in enumerate(audio):
        padded = np.zeros(needed)
        padded[: min(needed, len(samples))] = samples[:needed]
        frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::tick] * np.hanning(window)
        power = np.abs(np.fft.rfft(frames)) ** 2
        drive = np.cbrt(power @ response.T)
        charge = np.cumsum(drive * (LOUDEST / max(float(drive.max()), 1e-9)), axis=0)
        fired = np.diff(np.floor(charge), axis=0, prepend=0.0) > 0
        made[number, :, 0, :, 0] = fired.reshape(steps, TICKS, channels).any(axis=1)
    return made


def _bandwidths_apart(channels: int) -> np.ndarray:
    """Middles of channels in Hz, at equal steps of the scale of equivalent rectangular bandwidths."""
    low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (LOWEST, HIGHEST))
    made: np.ndarray = (10 ** (np.linspace(low, high, channels) / 21.4) - 1) / 0.00437
    return made
