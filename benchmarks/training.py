"""Seconds that a batch teaches one student for, its layers of neurons fused or operation by operation, in one run.

    python benchmarks/training.py --config cifar10-1mb

In: settings (TOML, or the name of shipped ones), whose student learns nothing of worth from samples of chance.
"""

from __future__ import annotations

import argparse
import sys
import time

import torch

from sne_edge.errors import SneError
from sne_edge.learn import neurons
from sne_edge.learn.student import Student
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig

SHAPE = (32, 32, 3)
FEATURES = 32


def seconds(config: TrainConfig, fused: bool, batches: int) -> float:
    """The median batch's, forward, back and a step of AdamW, in bfloat16."""
    torch.manual_seed(0)
    student, batch = Student(SHAPE, config.body, FEATURES), config.recipe.batch
    optimizer = torch.optim.AdamW(student.parameters(), config.recipe.rate)
    x = torch.randn(batch, SHAPE[2], *SHAPE[:2])
    kept, spent = neurons.suits, []
    neurons.suits = kept if fused else lambda currents: False
    try:
        for _ in range(batches + 3):  # the first ones compile
            begun = time.perf_counter()
            with torch.autocast("cpu", torch.bfloat16):
                spikes, rates = student(x, config.timesteps, each=True)
                loss = student.readout(spikes.flatten(0, 1)).float().square().mean() + rates.sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            spent.append(time.perf_counter() - begun)
    finally:
        neurons.suits = kept
    return sorted(spent[3:])[batches // 2]


def main(argv: list[str] | None = None) -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--config", default="cifar10-1mb", help="a TOML file of settings, or the name of one that ships"
    )
    parser.add_argument("--batches", type=int, default=20, help="that the median is of")
    options = parser.parse_args(argv)
    try:
        config = settings.read(options.config)
    except SneError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    apart, fused = (seconds(config, way, max(1, options.batches)) for way in (False, True))
    print(f"{apart:.3f} s a batch operation by operation, {fused:.3f} s fused: {apart / fused:.2f} times as fast")
    return 0


if __name__ == "__main__":
    sys.exit(main())
