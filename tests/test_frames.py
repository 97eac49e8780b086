"""Frames as a user has them: counts of events as tonic bins them, columns of a spectrogram; whole and live."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import snntorch as snn
import torch
from test_streams import streamed
from torch import nn

from sne_edge.check import reference
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.interchange.torch import quantize_network
from sne_edge.link.connect import connect
from sne_edge.pipeline.stream import for_stream

TIMESTEPS = 12


def lif() -> snn.Leaky:
    return snn.Leaky(beta=0.75, init_hidden=True)


def counts() -> tuple[nn.Module, np.ndarray]:
    """Frames of two polarities [N, T, 2, 6, 6] that hold several events a pixel, and a network of maps."""
    torch.manual_seed(1)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), lif(), nn.AvgPool2d(2), nn.Conv2d(4, 8, 3, padding=1), lif(), nn.Flatten(),
        nn.Linear(72, 4),
    )  # fmt: skip
    return network, np.random.default_rng(2).poisson(0.7, (60, TIMESTEPS, 2, 6, 6)).astype(np.float32)


def columns() -> tuple[nn.Module, np.ndarray]:
    """Log-mel-like columns, a timestep each, [N, T, 16], of real values and either sign."""
    torch.manual_seed(3)
    network = nn.Sequential(nn.Linear(16, 24), lif(), nn.Linear(24, 5))
    return network, np.random.default_rng(4).normal(0.5, 2, (60, TIMESTEPS, 16)).astype(np.float32)


@pytest.mark.parametrize("made", [counts, columns])
def test_frames_are_run_as_the_network_runs_them_whole_and_live(
    made: Callable[[], tuple[nn.Module, np.ndarray]], require_tool: Callable[..., None]
) -> None:
    require_tool("cc")
    network, x = made()
    model = quantize_network(network, "frames", x, timesteps=TIMESTEPS, encoder="frames", fail_below=0.9)
    assert model.provenance["agreement"] >= 0.9
    assert (model.encoder.scale == 1) == (made is counts)  # counts are exact
    inputs = model.encoder.encode(np.moveaxis(x, 2, -1) if x.ndim == 5 else x)
    batch = HostModel(model).run(inputs[:6])
    assert batch.logits.tolist() == reference.run(model, inputs[:6]).decisions.logits.tolist()
    one = inputs[0].reshape(TIMESTEPS, -1)
    assert streamed(model, one)[-1].tolist() == batch.logits[0].tolist()  # a stream of one inference is that inference
    endless = for_stream(model, window=TIMESTEPS)
    steps = inputs[:3].reshape(3 * TIMESTEPS, -1)
    live = streamed(endless, steps)
    assert live.tolist() == reference.run_stream(endless, steps[None])[0].tolist()
    assert np.abs(live).max() <= 2 * np.abs(batch.logits).max()  # it does not add up for ever


def test_a_board_takes_frames_live(require_tool: Callable[..., None]) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    network, x = columns()
    model = for_stream(
        quantize_network(network, "frames", x, timesteps=TIMESTEPS, encoder="frames", fail_below=0.8), window=5
    )
    steps = model.encoder.encode(x[:2]).reshape(2 * TIMESTEPS, -1)
    want = reference.run_stream(model, steps[None])[0]
    with connect(model, "qemu:mps2-an386") as (device, _):
        assert device.info().stream
        found = [device.step_values(row.view(np.int8)).logits for row in steps]
        with pytest.raises(SneError, match=r"a frame is int8\[3\]"):
            device.step_values(np.zeros(3, np.int8))
    assert [list(row) for row in found] == want.tolist()


def test_counts_given_as_events_are_told_of_frames() -> None:
    network, x = counts()
    with pytest.raises(SneError, match="other than 0 and 1") as refused:
        quantize_network(network, "frames", x, timesteps=TIMESTEPS, encoder="events")
    assert "encoder='frames'" in refused.value.hint
