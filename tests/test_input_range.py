"""The range of an input's values: what one glitch, or a long tail, costs, and how it is chosen."""

from __future__ import annotations

import numpy as np
import pytest
import snntorch as snn
import torch
from torch import nn

from sne_edge import SneError, quantize_network
from sne_edge.interchange.inputs import PERCENTILE, RANGES, make_encoder


def tailed(count: int = 4000) -> np.ndarray:
    """Values of which a few are many times as large as most, though none is a glitch."""
    return np.random.default_rng(0).laplace(size=(count, 12)).astype(np.float32)


def error(x: np.ndarray, scale: float) -> float:
    return float(((np.clip(np.rint(x / scale), -128, 127) * scale - x) ** 2).mean())


def test_the_mean_squared_error_is_the_smallest_of_all_scales_there_are() -> None:
    x = tailed()
    scales = {kind: make_encoder("direct", x, 4, input_range=kind).scale for kind in RANGES}
    errors = {kind: error(x, scale) for kind, scale in scales.items()}
    assert errors["mse"] <= min(errors.values())
    others = [error(x, float(np.abs(x).max()) / 127 * part) for part in np.linspace(0.02, 1, 50)]
    assert errors["mse"] <= min(others) * 1.02


def test_a_percentile_is_exceeded_by_one_value_in_a_thousand() -> None:
    x = tailed()
    scale = make_encoder("direct", x, 4, input_range="percentile").scale
    assert (np.abs(x) > 127.001 * scale).mean() == pytest.approx(1 - PERCENTILE, abs=2e-4)


@pytest.mark.parametrize("kind", RANGES)
def test_one_glitch_ruins_no_model(kind: str) -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(1).normal(size=(600, 12)).astype(np.float32)
    network = nn.Sequential(nn.Linear(12, 32), snn.Leaky(beta=0.8, init_hidden=True), nn.Linear(32, 3))
    glitched = x.copy()
    glitched[7, 3] = 500.0
    with pytest.warns(UserWarning, match="clipped|like the network"):
        made = quantize_network(network, "own", glitched, timesteps=6, input_range=kind)
    assert made.provenance["agreement"] > 0.95
    assert made.encoder.scale < 4 * np.abs(x).max() / 127


def test_values_that_change_at_every_timestep_make_a_graph_of_frames() -> None:
    torch.manual_seed(0)
    x = np.random.default_rng(1).normal(size=(200, 6, 12)).astype(np.float32)
    network = nn.Sequential(nn.Linear(12, 32), snn.Leaky(beta=0.8, init_hidden=True), nn.Linear(32, 3))
    made = quantize_network(network, "own", x, timesteps=6, encoder="frames", input_range="percentile")
    assert made.encoder.kind == "frames"
    assert made.students[0].graph is not None
    assert made.provenance["agreement"] > 0.97


def test_a_range_where_there_is_nothing_to_choose_is_refused() -> None:
    x = tailed(50)
    for options in ({"scale": 0.1, "input_range": "mse"}, {"input_range": "least"}):
        with pytest.raises(SneError, match="range"):
            make_encoder("direct", x, 4, **options)  # type: ignore[arg-type]
    with pytest.raises(SneError, match="range"):
        make_encoder("events", np.zeros((5, 4, 6)), 4, input_range="percentile")
