"""Seconds that a batch takes one student and a live teacher, each in the ways that there are, in one run.

    python benchmarks/training.py --config cifar10-1mb

A student's layers of neurons operation by operation, fused, and fused with maps that lie channels last; a teacher of
ResNet-56's size as it is, and compiled. In: settings (TOML, or the name of shipped ones), whose student learns nothing
of worth from samples of chance.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable

import torch

from sne_edge.errors import SneError
from sne_edge.learn import neurons
from sne_edge.learn.answering import WORTH, Answering
from sne_edge.learn.device import CPU
from sne_edge.learn.networks import ResidualTeacher
from sne_edge.learn.student import Student
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig

SHAPE = (32, 32, 3)
FEATURES = 32
RESNET56 = (16, (9, 9, 9))  # channels of the first stage, and blocks of each
WARMING = 3  # batches, which compile


def median(step: Callable[[], object], batches: int) -> float:
    """The seconds of the median batch."""
    spent = []
    for _ in range(batches + WARMING):
        begun = time.perf_counter()
        step()
        spent.append(time.perf_counter() - begun)
    return sorted(spent[WARMING:])[batches // 2]


def student_seconds(config: TrainConfig, fused: bool, last: bool, batches: int) -> float:
    """A student's, forward, back and a step of AdamW, in bfloat16; its maps `last`: channels last."""
    torch.manual_seed(0)
    student = CPU.place(Student(SHAPE, config.body, FEATURES), last)
    optimizer = torch.optim.AdamW(student.parameters(), config.recipe.rate)
    x = torch.randn(config.recipe.batch, SHAPE[2], *SHAPE[:2])

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            spikes, rates = student(x, config.timesteps, each=True)
            loss = student.readout(spikes.flatten(0, 1)).float().square().mean() + rates.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    kept = neurons.suits
    neurons.suits = kept if fused else lambda currents: False
    try:
        return median(step, batches)
    finally:
        neurons.suits = kept


def teacher_seconds(config: TrainConfig, compiled: bool, batches: int) -> float:
    """A teacher's answers."""
    torch.manual_seed(0)
    teacher = Answering(ResidualTeacher(SHAPE, 10, *RESNET56), CPU, SHAPE, WORTH if compiled else 0)
    x = torch.randn(config.recipe.batch, SHAPE[2], *SHAPE[:2])
    spent = median(lambda: teacher(x), batches)
    if compiled and teacher.compiled is None:
        raise SneError("the teacher was not compiled", "install a C++ compiler; the processor needs bfloat16")
    return spent


def main(argv: list[str] | None = None) -> int:
    """Run as a script."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--config", default="cifar10-1mb", help="a TOML file of settings, or the name of one that ships"
    )
    parser.add_argument("--batches", type=int, default=20, help="that the median is of")
    options = parser.parse_args(argv)
    count = max(1, options.batches)
    try:
        config = settings.read(options.config)
        ways = ((False, False), (True, False), (True, True))
        apart, fused, last = (student_seconds(config, *way, count) for way in ways)
        plain, compiled = (teacher_seconds(config, way, count) for way in (False, True))
    except SneError as error:
        print(f"error: {error}\nhint: {error.hint}", file=sys.stderr)
        return 1
    print(
        f"student: {apart:.3f} s a batch operation by operation, {fused:.3f} s fused, {last:.3f} s channels last: "
        f"{apart / last:.2f} times as fast\n"
        f"teacher: {plain:.3f} s a batch, {compiled:.3f} s compiled: {plain / compiled:.2f} times as fast"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
