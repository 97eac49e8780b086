"""Encoders: from real values to bytes to spikes, against the scalar oracle."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples

from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder, EncoderKind, Shape, rate_draws

SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3))


@pytest.mark.parametrize("kind", ["rate", "events"])
@examples(40)
@given(SHAPES, st.integers(1, 4), st.sampled_from([0, 1, 77, 2**32 - 1]), st.data())
def test_spikes_are_the_oracles_at_every_timestep(
    kind: EncoderKind, shape: tuple[int, int, int], timesteps: int, seed: int, data: st.DataObject
) -> None:
    encoder = Encoder(kind, shape, timesteps, seed=seed)
    raw = data.draw(st.binary(min_size=encoder.input_bytes, max_size=encoder.input_bytes))
    spikes = encoder.spikes(np.frombuffer(raw, np.uint8)[None])
    assert spikes.shape == (timesteps, 1, *shape)
    for t in range(timesteps):
        assert spikes[t].reshape(-1).tolist() == oracle.encoded(encoder, list(raw), t)


@examples(40)
@given(SHAPES, st.integers(1, 4), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_a_raster_survives_its_bytes(shape: tuple[int, int, int], timesteps: int, count: int, seed: int) -> None:
    encoder = Encoder("events", shape, timesteps)
    raster = np.random.default_rng(seed).integers(0, 2, (count, timesteps, *shape))
    packed = encoder.encode(raster)
    assert packed.shape == (count, encoder.input_bytes)
    np.testing.assert_array_equal(encoder.spikes(packed), raster.transpose(1, 0, 2, 3, 4))


@pytest.mark.parametrize("kind", ["direct", "rate", "events"])
@pytest.mark.parametrize("shape", [(3, 4, 2), (1, 5, 3), (4, 4, 1), (2, 5, 2)], ids=str)
def test_samples_with_channels_first_or_last_or_flat_are_the_same_bytes(kind: EncoderKind, shape: Shape) -> None:
    encoder = Encoder(kind, shape, 3)
    whole = np.random.default_rng(0).integers(0, 2, (4, *[3] * (kind == "events"), *shape))
    first = np.moveaxis(whole, -1, -3)
    expected = encoder.encode(whole.reshape(*whole.shape[:-3], -1))
    for samples in (whole, first, first.squeeze(-2) if shape[0] == 1 else first):
        np.testing.assert_array_equal(encoder.encode(samples), expected)


@pytest.mark.parametrize("shape", [(4, 3, 2), (2, 4, 3), (12, 2), (6, 4)], ids=str)
def test_samples_whose_axes_lie_otherwise_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(SneError, match="fits neither"):
        Encoder("direct", (3, 4, 2), 1).encode(np.zeros((5, *shape)))


def test_bits_beyond_the_inputs_are_not_spikes() -> None:
    encoder = Encoder("events", (1, 1, 3), 2)
    assert encoder.spikes(np.full((1, 8), 0xFF, np.uint8)).sum() == 6


@pytest.mark.parametrize(
    ("value", "quantised"),
    [
        (0.0, 4),
        (-2.0, 0),
        (-1.75, 0),
        (-1.25, 2),
        (1e300, 127),
        (-1e300, -128),
        (61.5, 127),
        (-66.0, -128),
        (61.0, 126),
    ],
)
def test_direct_values_are_rounded_half_to_even_and_limited(value: float, quantised: int) -> None:
    encoder = Encoder("direct", (1, 1, 1), 1, scale=0.5, offset=-2.0)
    assert encoder.encode(np.array([[value]])).view(np.int8).tolist() == [[quantised]]


def test_a_rate_of_zero_or_less_never_spikes_and_127_nearly_always() -> None:
    encoder = Encoder("rate", (1, 1, 256), 64)
    data = np.arange(256, dtype=np.uint8)[None]
    counts = encoder.spikes(data).sum(axis=(0, 1, 2, 3))
    assert counts[0] == 0
    assert not counts[128:].any()
    assert counts[127] > 60


def test_draws_are_uniform_on_0_to_127() -> None:
    draws = rate_draws(1, 400, 64)
    assert draws.shape == (400, 64)
    counts = np.bincount(draws.reshape(-1), minlength=128)
    assert len(counts) == 128
    assert abs(counts - 200).max() < 80


def test_draws_wrap_round_32_bits_and_repeat() -> None:
    np.testing.assert_array_equal(rate_draws(2**32 - 1, 2, 4)[1], rate_draws(0, 1, 4)[0])
    np.testing.assert_array_equal(rate_draws(5, 3, 7), rate_draws(5, 3, 7))


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        ("direct", np.zeros((2, 5)), "does not hold samples"),
        ("direct", np.zeros(()), "does not hold samples"),
        ("direct", np.zeros((0, 6)), "does not hold samples"),
        ("direct", np.full((1, 6), np.nan), "NaN"),
        ("rate", np.full((1, 6), np.inf), "NaN or infinite"),
        ("events", np.zeros((1, 6)), "does not hold samples"),
        ("events", np.full((1, 2, 6), 2), "0 and 1"),
        ("events", np.full((1, 2, 6), 0.5), "0 and 1"),
        ("events", np.full((1, 2, 6), np.nan), "0 and 1"),
    ],
)
def test_bad_inputs_are_refused_in_one_line(kind: EncoderKind, data: np.ndarray, message: str) -> None:
    encoder = Encoder(kind, (1, 2, 3), 2)
    with pytest.raises(SneError, match=message) as caught:
        encoder.encode(data)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "fields",
    [
        {"shape": (0, 1, 1)},
        {"shape": (1, 65536, 1)},
        {"shape": (256, 256, 1)},
        {"shape": (-1, -1, 1)},
        {"timesteps": 0},
        {"timesteps": 65536},
        {"scale": 0.0},
        {"scale": -1.0},
        {"scale": float("nan")},
        {"scale": float("inf")},
        {"offset": float("nan")},
        {"seed": -1},
        {"seed": 2**32},
    ],
    ids=str,
)
def test_impossible_encoders_are_refused(fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"must|is not in"):
        Encoder(**({"kind": "rate", "shape": (1, 2, 3), "timesteps": 4} | fields))  # type: ignore[arg-type]


def test_the_largest_input_is_accepted() -> None:
    assert Encoder("direct", (1, 65535, 1), 65535).input_bytes == 65535
