"""Files of NIR that others wrote, in the folder that SNE_EDGE_NIR_DIR names: each becomes a model that is exact in C,
and one LIF network answers a published input when snnTorch, Norse and an exact solution do (Pedersen et al., 2024)."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from test_own_networks import exact_in_c
from witness_networks import saccades

from sne_edge import HostModel, NirReading, SneWarning, quantize_nir
from sne_edge.interchange.from_nir import read_nir
from sne_edge.interchange.witness import correlation

FOLDER = Path(os.environ.get("SNE_EDGE_NIR_DIR", "nowhere"))
FILES = sorted(FOLDER.glob("*.nir"))
pytestmark = pytest.mark.skipif(not FILES, reason="SNE_EDGE_NIR_DIR names no folder of NIR files")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_a_file_of_others_becomes_a_model_that_is_exact_in_c(file: Path, require_tool: Callable[..., None]) -> None:
    require_tool("cc")
    reading = NirReading(dt=1e-4, reset="subtract" if "sinabs" in file.name else "zero")
    graph = read_nir(file, reading)
    height, width, channels = graph.input_shape
    steps = 8 if height > 1 else 60
    raster = np.random.default_rng(0).random((6, steps, channels, height, width)) < (0.1 if height > 1 else 0.7)
    if graph.classes < 2:
        pytest.skip("a model has at least two classes: its spikes are compared below")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)  # what answers noise lies close together
        made = quantize_nir(
            file, "own", raster.astype(np.float32), timesteps=steps, reading=reading, encoder="events", fail_below=0.0
        )
    assert made.provenance["correlation"] > 0.9  # of noise, which a network of events does not know
    assert made.vectors.spikes.sum() > 100
    assert exact_in_c(made, raster) > 100


def test_a_published_convolutional_network_keeps_its_labels_wherever_it_is_sure(
    require_tool: Callable[..., None],
) -> None:
    """Trained on N-MNIST, which is not at hand, it knows seven in ten of our digits, as events swept over, and often
    leads by so few spikes that one decides; where it leads by four, integers say the same but for one in fifty."""
    require_tool("cc")
    reading, steps = NirReading(dt=1e-4, reset="subtract"), 30
    x, y = saccades(100, 5, steps)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SneWarning)
        made = quantize_nir(
            FOLDER / "cnn_sinabs.nir", "own", x[:4], timesteps=steps, reading=reading, encoder="events", fail_below=0.0
        )
    graph = read_nir(FOLDER / "cnn_sinabs.nir", reading)
    own = graph.simulate(torch.from_numpy(x).permute(1, 0, 3, 4, 2)).logits.numpy()
    found = HostModel(made).run(made.encoder.encode(x))
    lead = np.diff(np.sort(own, axis=1)[:, -2:], axis=1)[:, 0]
    same, sure = own.argmax(axis=1) == found.label, lead >= 4
    assert (own.argmax(axis=1) == y).mean() > 0.6  # chance is 0.1
    assert sure.mean() > 0.75 and same[sure].mean() >= 0.98 and same.mean() >= 0.94
    assert correlation(found.logits.astype(np.float64), own) > 0.99


@pytest.mark.parametrize("writer", ["norse", "rockpool"])
def test_a_published_network_fires_when_other_simulators_have_it_fire(writer: str) -> None:
    rows = np.genfromtxt(FOLDER / "lif_snntorch.csv", delimiter=",")
    assert rows.shape == (1000, 3)
    graph = read_nir(FOLDER / f"lif_{writer}.nir", NirReading(dt=1e-4))
    x = torch.from_numpy(np.nan_to_num(rows[:, 0])).reshape(-1, 1, 1, 1, 1)
    fired = np.flatnonzero(graph.simulate(x).spikes[graph.populations[-1].name].flatten().numpy())
    want = {name: np.flatnonzero(np.genfromtxt(FOLDER / f"lif_{name}.csv", delimiter=",")[:, 2])
            for name in ("snntorch", "norse")}  # fmt: skip
    if writer == "norse":
        assert fired.tolist() == [460, 510, 710, 760] == want["snntorch"].tolist()
    assert len(fired) == len(want["snntorch"])
