"""Training samples of sound as they are heard in noise: it is added to the recordings, before the front end.

In: a data set with a front end, the severity of the noise. Out: samples as networks take them, of noise drawn anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..data.corruptions import random_noise
from ..data.dataset import Dataset
from ..errors import SneError
from ..ir.frontend import LogMel

CLEAN = 1 / 8  # of the samples of a batch: a teacher meets these as a student meets the first of its usual eight views


@dataclass(frozen=True, eq=False)
class Heard:
    """Recordings int16 [N, samples] of the training samples, the front end that makes these of them, and the severity
    of the noise, at most: white noise or babble of other recordings among the N, as `corruptions.random_noise` has it.
    """

    audio: np.ndarray
    frontend: LogMel
    severity: float

    @classmethod
    def of(cls, dataset: Dataset, severity: float) -> Heard | None:
        """A data set's, or None where there is no noise, or no front end: then noise is in the samples' own values.
        Raises `SneError` where there is a front end and no recordings."""
        if not severity or dataset.frontend is None:
            return None
        if len(dataset.audio_train) != len(dataset.x_train):
            raise SneError(
                f"{dataset.name} has {len(dataset.x_train)} training samples of a front end, and "
                f"{len(dataset.audio_train)} recordings to add noise to",
                "give the recordings, audio_train, or train without noise",
            )
        return cls(dataset.audio_train, dataset.frontend, severity)

    def view(self, generator: np.random.Generator) -> np.ndarray:
        """All samples, each in noise of its own: float32 [N, 1, frames, bands]."""
        rows = np.arange(len(self.audio))
        return self._through(random_noise(self.audio, rows, self.severity, generator))

    def batch(self, rows: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """The samples `rows`, int64 [n], in noise but for a share `CLEAN` of them: float32 [n, 1, frames, bands]. Noise
        and front end take about a millisecond a recording: little enough to be had anew for every batch."""
        audio = self.audio[rows]
        noisy = generator.random(len(rows)) >= CLEAN
        audio[noisy] = random_noise(self.audio, rows[noisy], self.severity, generator)
        return self._through(audio)

    def _through(self, audio: np.ndarray) -> np.ndarray:
        made: np.ndarray = self.frontend.apply(audio).astype(np.float32)
        return made
