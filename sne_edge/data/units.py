"""Units: values as sensors give them, counts about 2,048 or volts beside degrees, made alike while networks learn.

In: a data set of a file's own values. Out: the same in units in which its channels vary about zero, and alike; and, of
an encoder of these, the one of the file's own values, which is what a device meets.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from ..ir.encoder import Encoder, as_scaled, differ, in_words, middles, reach, span
from .dataset import Dataset, Known, Units

USUAL = (0.02, 1000.0)  # deviations that networks learn from as they are: below, norms take them for nothing


def in_units(dataset: Dataset) -> Dataset:
    """The data set with each value less its channel's middle, over its channel's spread, both of training samples; the
    very same where that gains nothing: values that are standardised, spikes, and integers of a front end, too.

    A channel's middle stays 0 where that is not far off, so that what was zero needs no work; spreads are one where
    channels vary alike.
    """
    if dataset.units is not None or dataset.standard is not None or dataset.frontend or dataset.timesteps:
        return dataset
    x = dataset.x_train.reshape(-1, dataset.shape[2]).astype(np.float64)
    about = middles(x)
    x -= about
    spans, reached = span(x), reach(x)
    x = x.clip(-reached, reached)  # one outlier does not make the unit
    spread, whole = x.std(axis=0), float(x.std())
    varying = (spans > 0) & (spread > 0)
    if not varying.any():
        return dataset
    apart = differ(spans)
    if not (apart or about.any() or not USUAL[0] <= whole <= USUAL[1]):
        return dataset
    units = Units(about, np.where(varying, spread, 1.0) if apart else np.full(len(spread), whole))
    return replace(
        dataset, x_train=units.of(dataset.x_train), x_val=units.of(dataset.x_val), x_test=units.of(dataset.x_test),
        units=units, given=Known(dataset.fingerprint, dataset.sketch),
    )  # fmt: skip


def told(units: Units) -> str:
    """In words, what is done to a file's own values."""
    apart = len(units.spread) > 1 and (np.ptp(units.middle) or np.ptp(units.spread))
    return f"values less {in_words(units.middle)}, over {in_words(units.spread)}" + (", by channel" if apart else "")


def encoder_of_given(encoder: Encoder, units: Units) -> Encoder:
    """The encoder of a file's own values that makes the same steps of them as `encoder`, of no offset, makes of them in
    units."""
    scale = encoder.spread(encoder.scale) * units.spread
    return msgspec.structs.replace(encoder, scale=as_scaled(scale), offset=as_scaled(units.middle))
