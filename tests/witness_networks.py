"""Networks of published sizes on data of published shapes, trained once: weights, float16, lie in `tests/witnesses`.

SHD and N-MNIST themselves are not at hand. `spoken` stands in for SHD: rasters of 700 channels and 20 classes, each a
path of activity over the channels, at random moments early or late. `saccades` stands in for N-MNIST: what a camera of
34 x 34 pixels sees of digits that it sweeps over, as events of either polarity.

    python tests/witness_networks.py     # trains both and writes them: about two minutes on a core
"""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import Tensor, nn

FOLDER = Path(__file__).parent / "witnesses"
Samples = tuple[np.ndarray, np.ndarray]

GLYPHS = [  # rows of five pixels
    "0E 11 13 15 19 11 0E",
    "04 0C 04 04 04 04 0E",
    "0E 11 01 02 04 08 1F",
    "1F 02 04 02 01 11 0E",
    "02 06 0A 12 1F 02 02",
    "1F 10 1E 01 01 11 0E",
    "06 08 10 1E 11 11 0E",
    "1F 01 02 04 08 08 08",
    "0E 11 11 0E 11 11 0E",
    "0E 11 11 0F 01 02 0C",
]
SACCADES, SIDE = 12, 34  # timesteps, pixels


def glyph(digit: int) -> np.ndarray:
    """A digit's pixels, 0 or 1 [7, 5]."""
    return np.array([[int(row, 16) >> (4 - k) & 1 for k in range(5)] for row in GLYPHS[digit].split()])


def spoken(count: int, seed: int) -> Samples:
    """Rasters float32 [N, 100, 700] and labels of 20 classes."""
    paths = np.random.default_rng(3).integers(0, 640, (20, 5))
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 20, count)
    x = rng.random((count, 100, 700)) < 0.002
    for n, label in enumerate(labels):
        late = rng.integers(-3, 4)
        for part, start in enumerate(paths[label]):
            first, begin = max(0, start + rng.integers(-8, 9)), max(0, 20 * part + late)
            end = min(100, begin + 20)
            x[n, begin:end, first : first + 40] |= rng.random((end - begin, min(40, 700 - first))) < 0.15
    return x.astype(np.float32), labels


def saccades(count: int, seed: int, steps: int = SACCADES) -> Samples:
    """Events float32 0 or 1 [N, steps, 2, 34, 34], brighter and darker, of digits swept over along a triangle, and
    labels; one event in five is lost, and noise adds some."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 10, count)
    x = rng.random((count, steps, 2, SIDE, SIDE)) < 0.002
    corners = np.array([[0, 0], [4, 2], [0, 4], [0, 0]])
    for n, label in enumerate(labels):
        drawn = np.kron(glyph(label), np.ones((3, 3)))
        place = np.array([rng.integers(2, 7), rng.integers(6, 12)])
        seen = []
        for t in range(steps + 1):
            leg, share = divmod(3 * t / (steps + 1), 1)
            top, left = place + np.rint(corners[int(leg)] * (1 - share) + corners[int(leg) + 1] * share).astype(int)
            image = np.zeros((SIDE, SIDE))
            image[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
            seen.append(image)
        moved = np.diff(np.array(seen), axis=0)
        kept = rng.random(moved.shape) < 0.8
        x[n, :, 0] |= (moved > 0) & kept
        x[n, :, 1] |= (moved < 0) & kept
    return x.astype(np.float32), labels


class Spoken(nn.Module):
    """700-128-20, recurrent, the mean of the readout's membranes: SHD's usual network, over 100 timesteps."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(700, 128), nn.Linear(128, 20)
        self.lif1 = snn.RLeaky(beta=0.9, linear_features=128)
        self.lif2 = snn.Leaky(beta=0.95, reset_mechanism="none")

    def forward(self, x: Tensor) -> Tensor:
        spk1, mem1 = self.lif1.init_rleaky()
        mem2, record = self.lif2.init_leaky(), []
        for t in range(x.shape[1]):
            spk1, mem1 = self.lif1(self.fc1(x[:, t]), spk1, mem1)
            _, mem2 = self.lif2(self.fc2(spk1), mem2)
            record.append(mem2)
        return torch.stack(record, dim=1)


def hidden(**options: bool) -> snn.Leaky:
    return snn.Leaky(beta=0.95, spike_grad=surrogate.atan(), init_hidden=True, **options)


def nmnist() -> nn.Sequential:
    """The network of snnTorch's tutorial on N-MNIST, of one timestep."""
    return nn.Sequential(
        nn.Conv2d(2, 12, 5), nn.MaxPool2d(2), hidden(), nn.Conv2d(12, 32, 5), nn.MaxPool2d(2), hidden(),
        nn.Flatten(), nn.Linear(32 * 5 * 5, 10), hidden(output=True),
    )  # fmt: skip


def membranes(network: nn.Module, x: Tensor) -> Tensor:
    """The last layer's membranes, averaged over time, [N, classes]."""
    if isinstance(network, Spoken):
        made: Tensor = network(x).mean(1)
        return made
    utils.reset(network)
    return torch.stack([network(x[:, t])[1] for t in range(x.shape[1])]).mean(0)


NETWORKS = {"SHD": (Spoken, spoken), "N-MNIST": (nmnist, saccades)}
RECIPES = {"SHD": (500, 14, 8e-3, 40), "N-MNIST": (300, 6, 5e-3, 30)}  # samples, epochs, learning rate, batch


@cache
def trained(name: str) -> nn.Module:
    """A network with its stored weights."""
    network = NETWORKS[name][0]()
    with np.load(FOLDER / f"{name}.npz") as arrays:
        known = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays.files}
    network.load_state_dict(known, strict=False)
    return network.eval()


def train(name: str, count: int, epochs: int, rate: float, batch: int) -> None:
    torch.manual_seed(0)
    network, data = NETWORKS[name][0](), NETWORKS[name][1]
    x, y = (torch.from_numpy(a) for a in data(count, 0))
    optimizer = torch.optim.Adam(network.parameters(), lr=rate)
    planned = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for epoch in range(epochs):
        right = 0
        for part in torch.randperm(len(x)).split(batch):
            logits = membranes(network, x[part])
            loss = nn.functional.cross_entropy(logits, y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            right += int((logits.argmax(1) == y[part]).sum())
        planned.step()
        print(f"{name}, epoch {epoch + 1}: {right / len(x):.1%}", file=sys.stderr, flush=True)
    kept = {key: value.detach().half().numpy() for key, value in network.named_parameters()}
    np.savez_compressed(FOLDER / f"{name}.npz", **kept)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in sys.argv[1:] or NETWORKS:
        train(name, *RECIPES[name])
