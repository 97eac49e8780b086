"""Folders of recordings: train/CLASS/ and, if there are any, test/CLASS/, or CLASS/ alone, of WAV files.

In: a path. Out: `Raw`, the integers of a log-mel front end that is fitted to the training recordings, or of a given
one, and the recordings, int16, of one rate and length; decoded once, then in the cache under what all files hold.
"""

from __future__ import annotations

import io
import warnings
from math import gcd
from pathlib import Path

import msgspec
import numpy as np

from ..errors import SneError
from ..ir.frontend import LogMel
from .cache import decoded_files
from .formats import Members
from .places import held_out, labelled, layout_hint, places, set_aside
from .raw import Raw

SUFFIXES = (".wav",)
LAYOUT = layout_hint("recordings", SUFFIXES)
CONVERT = "convert them: ffmpeg -i FILE -ac 1 -ar 16000 -c:a pcm_s16le FILE.wav"
RATE = 16_000  # samples per second, at most: above 8 kHz there is little to tell, and much to calculate
WINDOW = 0.033  # seconds of a frame, at most
HIGHEST = 4.0  # magnitude of real samples: a little more than 1 is cut
LONGEST = 2.0  # seconds of an input, at most
COVERED = 0.9  # of the recordings are no longer than an input


def sounds(where: Path, frontend: LogMel | None = None) -> Raw:
    """Recordings of any rate, length and number of channels; of what is longer than an input the loudest part.

    `frontend`: a model's, as it is; by default one whose rate is the files' (`RATE` at most), as long as `COVERED` of
    them are (`LONGEST` seconds at most), fitted to the training recordings. Where there is no test/, a share of the
    files are the test part, by their names (`places.held_out`). Raises `SneError` for files that are no recordings, or
    do not lie in classes' folders.
    """
    members, given = Members(where, SUFFIXES, "recordings"), msgspec.json.encode(frontend).decode()
    return decoded_files("sounds", members, lambda files: _decode(files, frontend), ("scipy",), given)


def recordings(where: Path, frontend: LogMel) -> np.ndarray:
    """All recordings of a folder, whatever folders they lie in, as a front end takes them: int16 [N, samples]."""
    found = _read(Members(where, SUFFIXES, "recordings"))[0]
    return np.stack([_fitting(_at_rate(rate, samples, frontend.rate), frontend.samples) for rate, samples in found])


def _decode(members: Members, frontend: LogMel | None) -> Raw:
    found, names = _read(members)
    parts = places(members, names, LAYOUT)
    (y, classes), test = labelled(parts), held_out(parts, names)
    fits = frontend is None
    if frontend is None:
        frontend = _suiting(found)
    audio = np.stack([_fitting(_at_rate(rate, x, frontend.rate), frontend.samples) for rate, x in found])
    if fits:
        frontend = frontend.fitted(audio[~test])
    x = frontend.apply(audio).astype(np.float32)
    return Raw(x[~test], y[~test], x[test], y[test], classes, frontend, audio[~test], audio[test])


def _read(members: Members) -> tuple[list[tuple[int, np.ndarray]], list[str]]:
    """Rates and samples, float32 [n] in -1..1, and the files' names."""
    found, names = [], []
    for name, content in members:
        if not set_aside(name):
            found.append(_samples(f"{members.where}: {name}", content))
            names.append(name)
    if not found:
        raise SneError(f"{members.where} holds no recordings", LAYOUT)
    return found, names


def _samples(name: str, content: bytes) -> tuple[int, np.ndarray]:
    """A file's rate in Hz and its samples, float32 [n], the mean of its channels; 1 is the highest magnitude."""
    try:
        from scipy.io import wavfile
    except ImportError:
        raise SneError("the package scipy is not installed", "pip install 'sne-edge[train]'") from None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # chunks that are no sound
            rate, samples = wavfile.read(io.BytesIO(content))
    except Exception as error:  # whatever a decoder raises
        told = " ".join(str(error).split()) or type(error).__name__
        told = "its header is not whole" if isinstance(error, UnboundLocalError) else told  # scipy's own
        raise SneError(f"{name} is no readable recording: {told}", CONVERT) from None
    if not samples.size or not 1000 <= rate <= 192_000:
        raise SneError(f"{name} holds {len(samples)} samples at {rate} Hz", "remove it, or " + CONVERT)
    if samples.dtype.kind == "u":  # 8 bits
        samples = (samples.astype(np.float32) - 128) / 128
    elif samples.dtype.kind == "i":
        samples = samples.astype(np.float32) / -float(np.iinfo(samples.dtype).min)
    samples = samples.astype(np.float32)
    if not np.isfinite(samples).all():
        raise SneError(f"{name} holds NaN or infinite samples", "remove or repair it")
    highest = float(np.abs(samples).max())
    if highest > HIGHEST:
        raise SneError(
            f"{name} holds real samples up to {highest:,.0f}, where 1 is the highest", "divide them by 32768, say"
        )
    return int(rate), samples.reshape(len(samples), -1).mean(axis=1)


def _suiting(found: list[tuple[int, np.ndarray]]) -> LogMel:
    """The front end of a rate and length that suit recordings."""
    rate = min(RATE, *(rate for rate, _ in found))
    window = 2 ** int(np.log2(WINDOW * rate))
    window = int(np.clip(window, 32, 512))
    seconds = min(LONGEST, float(np.quantile([len(x) / rate for rate, x in found], COVERED)))
    hop = window // 2
    frames = max(1, 1 + round((seconds * rate - window) / hop))
    for bands in (32, 24, 16, 8, 4):
        try:
            return LogMel(rate, window, hop, bands, frames, high=rate / 2)
        except ValueError:  # too narrow for this window
            continue
    raise SneError(f"recordings of {rate} Hz are too coarse for a front end", "record at 4 kHz or more")


def _at_rate(rate: int, samples: np.ndarray, wanted: int) -> np.ndarray:
    """Samples in -1..1 of a rate as int16 of another one."""
    if rate != wanted:
        from scipy.signal import resample_poly

        step = gcd(rate, wanted)
        samples = resample_poly(samples, wanted // step, rate // step)
    whole: np.ndarray = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return whole


def _fitting(samples: np.ndarray, count: int) -> np.ndarray:
    """The loudest `count` samples in a row, or all, and silence behind them."""
    if len(samples) > count:
        power = np.concatenate([[0.0], np.cumsum((samples - samples.mean(dtype=np.float64)) ** 2)])
        start = int(np.argmax(power[count:] - power[:-count]))
        samples = samples[start : start + count]
    return np.pad(samples, (0, count - len(samples)))
