"""A model of gestures for a live stream: synthetic recordings of an accelerometer, a small network, its C.

Writes `gestures.sne`, the C in `gestures-c`, and `recording.h`: gestures back to back, to run the C on.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import snntorch as snn
import torch
from snntorch import utils
from torch import nn

from sne_edge import export_model, quantize_network, save, stream_model

NAMES = ("rest", "shake", "circle", "tap")
AXES, TIMESTEPS = 3, 40  # 40 samples of three axes: 0.8 s at 50 Hz
LEVELS = (6, 24, 72)  # a change above each of them is an event of its own, as gesture.c has it
INPUTS = 2 * AXES * len(LEVELS)


def recorded(labels: np.ndarray, seed: int) -> np.ndarray:
    """Samples int16 [len(labels) * TIMESTEPS, AXES], a gesture after the other, of random size, speed and phase."""
    rng, pieces = np.random.default_rng(seed), []
    t = np.arange(TIMESTEPS)
    for label in labels:
        piece = rng.normal(0, 3, (TIMESTEPS, AXES))
        size, phase = rng.uniform(0.7, 1.4), rng.uniform(0, 2 * np.pi)
        if NAMES[label] == "shake":
            piece[:, 0] += size * 160 * np.sin(2 * np.pi * t / rng.uniform(5, 7) + phase)
        elif NAMES[label] == "circle":
            turn = 2 * np.pi * t / rng.uniform(18, 24) + phase
            piece[:, 0] += size * 150 * np.sin(turn)
            piece[:, 1] += size * 150 * np.cos(turn)
        elif NAMES[label] == "tap":
            for at in np.arange(rng.integers(2, 8), TIMESTEPS, 9):
                piece[at : at + 3, 2] += size * np.array([220, -140, 60])[: TIMESTEPS - at]
        pieces.append(piece)
    return np.rint(np.concatenate(pieces)).astype(np.int16)


def events(samples: np.ndarray) -> np.ndarray:
    """Rasters 0/1 [N, TIMESTEPS, INPUTS]: input 6 * level + 2 * axis (+ 1: falling) is a change above a level."""
    change = np.diff(samples.astype(np.int32), axis=0, prepend=samples[:1])
    rises = np.stack([change, -change], axis=2)  # [T, axis, rising or falling]
    raster = np.stack([rises > level for level in LEVELS], axis=1)  # [T, level, axis, direction]
    return raster.reshape(-1, TIMESTEPS, INPUTS).astype(np.float32)


def train(x: torch.Tensor, y: torch.Tensor) -> nn.Module:
    network = nn.Sequential(nn.Linear(INPUTS, 32), snn.Leaky(beta=0.75, init_hidden=True), nn.Linear(32, len(NAMES)))
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    for _ in range(12):
        for part in torch.randperm(len(x)).split(64):
            utils.reset(network)
            logits = sum(network(x[part, t]) for t in range(TIMESTEPS)) / TIMESTEPS
            loss = nn.functional.cross_entropy(logits, y[part])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return network


def main() -> None:
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    labels, held, shown = (rng.integers(0, len(NAMES), count) for count in (512, 128, 80))
    network = train(torch.from_numpy(events(recorded(labels, 1))), torch.from_numpy(labels))
    model = quantize_network(
        network,
        "gestures",
        events(recorded(held, 2)),
        timesteps=TIMESTEPS,
        encoder="events",
        labels=held,
        classes=NAMES,
    )
    print(f"with a reset before each gesture: {model.provenance['accuracy']['integer']:.1%} right")
    # Without this line sums go on for ever, and what was seldom seen is never named.
    model = stream_model(model, window=TIMESTEPS // 2)
    save(model, "gestures.sne")
    export_model(model, "cortex-m4", "gestures-c")
    rows = ",\n    ".join("{" + ", ".join(map(str, row)) + "}" for row in recorded(shown, 3).tolist())
    Path("recording.h").write_text(
        "/* Gestures back to back. Made by model.py. */\n"
        f"enum {{ GESTURE_SAMPLES = {TIMESTEPS}, RECORDED = {len(shown)} }};\n\n"
        f"static const uint8_t truth[RECORDED] = {{{', '.join(map(str, shown))}}};\n\n"
        f"static const int16_t recording[RECORDED * GESTURE_SAMPLES][{AXES}] = {{\n    {rows}}};\n"
    )


if __name__ == "__main__":
    main()
