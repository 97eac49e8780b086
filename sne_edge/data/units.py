"""Units: values as sensors give them, counts about 2,048 or volts beside degrees, made alike while networks learn.

In: a data set of a file's own values. Out: the same in units in which its channels vary about zero, and alike; and, of
an encoder of these, the one of the file's own values, which is what a device meets.
"""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np

from ..ir.encoder import Encoder, Scaled
from .dataset import Dataset, Units

OFF = 2.0  # times as far from zero as from its middle a channel may reach: beyond, int8 loses more than a bit
APART = 4.0  # times as far as another one a channel may reach: beyond, int8 loses two bits of that
USUAL = (0.02, 1000.0)  # deviations that networks learn from as they are: below, norms take them for nothing
REACH = 0.9999  # of magnitudes lie within what a channel is said to reach


def in_units(dataset: Dataset) -> Dataset:
    """The data set with each value less its channel's middle, over its channel's spread, both of training samples; the
    very same where that gains nothing: values that are standardised, spikes, and integers of a front end, too.

    A channel's middle stays 0 where that is not far off, so that what was zero needs no work; spreads are one where
    channels vary alike.
    """
    if dataset.units is not None or dataset.standard is not None or dataset.frontend or dataset.timesteps:
        return dataset
    x = dataset.x_train.reshape(-1, dataset.shape[2]).astype(np.float64)
    mean, reaches = x.mean(axis=0), _reach(x)
    about = np.where(reaches > OFF * _reach(x - mean), mean, 0.0)
    x -= about
    reach, spread = _reach(x), x.std(axis=0)
    varying = spread > 0
    if not varying.any():
        return dataset
    apart = reach[varying].max() > APART * reach[varying].min()
    whole = float(x.std())
    if not (apart or about.any() or not USUAL[0] <= whole <= USUAL[1]):
        return dataset
    units = Units(about, np.where(varying, spread, 1.0) if apart else np.full(len(spread), whole))
    return replace(
        dataset, x_train=units.of(dataset.x_train), x_val=units.of(dataset.x_val), x_test=units.of(dataset.x_test),
        units=units, given=dataset.fingerprint,
    )  # fmt: skip


def told(units: Units) -> str:
    """In words, what is done to a file's own values."""
    middle, spread = (
        f"{np.format_float_positional(v.min(), 3, fractional=False, trim='-')}"
        + (f" to {np.format_float_positional(v.max(), 3, fractional=False, trim='-')}" if np.ptp(v) else "")
        for v in (units.middle, units.spread)
    )
    apart = len(units.spread) > 1 and (np.ptp(units.middle) or np.ptp(units.spread))
    return f"values less {middle}, over {spread}" + (", by channel" if apart else "")


def encoder_of_given(encoder: Encoder, units: Units) -> Encoder:
    """The encoder of a file's own values that makes the same steps of them as `encoder`, of no offset, makes of them in
    units."""
    scale = encoder.spread(encoder.scale) * units.spread
    return msgspec.structs.replace(encoder, scale=_least(scale), offset=_least(units.middle))


def _reach(x: np.ndarray) -> np.ndarray:
    """What one magnitude in ten thousand exceeds, by channel, for values [N, channels]."""
    reach: np.ndarray = np.quantile(np.abs(x), REACH, axis=0)
    return reach


def _least(values: np.ndarray) -> Scaled:
    """One number, where all are alike."""
    found = tuple(float(v) for v in values)
    return found[0] if len(set(found)) == 1 else found
