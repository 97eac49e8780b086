"""One command from settings to a verified model and its tables: trains an ensemble, checks the C against the reference,
and writes the `.sne`, its settings, and a table with the time of each stage.

In: settings (TOML, or the name of shipped ones), a device. Out: a folder. A run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from sne_edge.check.verify import ReferenceEngine
from sne_edge.data.dataset import load_dataset
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.files import write_whole
from sne_edge.ir.artifact import save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.learn.device import find_device
from sne_edge.learn.executor import check_executor
from sne_edge.learn.teacher import default_cache
from sne_edge.pipeline import settings
from sne_edge.pipeline.config import TrainConfig
from sne_edge.pipeline.train import train

CHECKED = 256  # test samples on which host build and reference are compared, in every logit
HEAD = "| policy | validation, % | test, % | students run | operations | teacher's MACs / operations |"


class Clock:
    """Seconds by stage, as progress tells of them."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.last = time.monotonic()

    def __call__(self, stage: str, done: int, total: int, note: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + now - self.last
        self.last = now
        print(f"{stage}: {done} of {total} {note}", file=sys.stderr, flush=True)


def check(made: QuantEnsemble, x: np.ndarray) -> int:
    """How many test samples the host build and the reference agree on, bit for bit; `SneError` where they do not."""
    inputs, whole = made.encoder.encode(x[:CHECKED]), ActivationPolicy("all")
    one, other = (e.run(inputs, whole, None).values for e in (ReferenceEngine(made), HostEngine(HostModel(made))))
    for what in one.keys() & other.keys():
        if not np.array_equal(one[what], other[what]):
            raise SneError(f"{made.name}: {what} of the host build is not the reference's", "report this")
    return len(inputs)


def table(record: dict[str, Any], seconds: dict[str, float], device: str, checked: int, command: str) -> str:
    """A model's figures as Markdown."""
    teacher, parts = record["teacher"], record["integer"]
    lines = [f"# {record['config']['dataset']}", "", HEAD, "|---" * 6 + "|"]
    for chose, told in zip(parts["validation"], parts["test"], strict=True):
        share = teacher["macs"] / told["operations"]
        lines.append(
            f"| {told['policy']} | {100 * chose['accuracy']:.2f} | {100 * told['accuracy']:.2f} | "
            f"{told['students_run']:.2f} | {told['operations']:,.0f} | {share:.1f} |"
        )
    spent = ", ".join(f"{stage} {value:,.0f} s" for stage, value in seconds.items())
    lines += [
        "",
        f"Teacher: validation {100 * teacher['validation']:.2f} %, test {100 * teacher['test']:.2f} %, "
        f"{teacher['macs']:,} MACs. One run, seed {record['config']['seed']}. Trained on {device}: {spent}. "
        f"Host build and reference agree in every number on {checked} test samples.",
        "",
        f"`{command}` makes this table.",
    ]
    return "\n".join(lines) + "\n"


def shorter(config: TrainConfig, epochs: int | None) -> TrainConfig:
    """Settings with at most so many epochs in each phase, of the teacher as well."""
    if epochs is None:
        return config
    recipe = config.recipe
    phases = {phase: min(epochs, getattr(recipe, phase)) for phase in ("alone", "joint", "rounded")}
    return replace(config, teacher_epochs=min(epochs, config.teacher_epochs), recipe=replace(recipe, **phases))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", default="cifar10", help="settings: a TOML file, or the name of shipped ones")
    parser.add_argument("--data", help="a data set in place of the settings'")
    parser.add_argument("--data-dir", type=Path, help="folder of the files of named data sets")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps")
    parser.add_argument("--precision", default="auto", help="auto, float32 or bfloat16")
    parser.add_argument("--executor", default="processes", help="inline or processes[:N]: where students learn")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, help="at most so many in each phase: to try it")
    parser.add_argument("--minutes", type=float, help="that all training may take, fewer epochs then being made")
    parser.add_argument("--teacher", help="a teacher in place of the settings'")
    parser.add_argument("-o", "--output", type=Path, default=Path("build/results"))
    args = parser.parse_args()
    config = settings.read(args.config)
    config = replace(config, seed=args.seed, minutes=args.minutes or config.minutes)
    config = replace(config, dataset=args.data or config.dataset, teacher=args.teacher or config.teacher)
    config = shorter(config, args.epochs)
    check_executor(args.executor)
    device, clock = find_device(args.device, args.precision), Clock()
    data = load_dataset(config.dataset, config.seed, args.data_dir)
    made = train(config, clock, dataset=data, cache=default_cache(), executor=args.executor, device=device)
    checked = check(made, data.x_test)
    stem = args.output / f"{made.name}-{config.seed}"
    stem.parent.mkdir(parents=True, exist_ok=True)
    save(made, stem.with_suffix(".sne"))
    write_whole(stem.with_suffix(".toml"), lambda file: file.write(settings.write(config).encode()))
    limit = "" if args.minutes is None else f" --minutes {args.minutes:g}"
    command = f"make recipe RECIPE_FLAGS='--config {Path(args.config).name} --seed {args.seed}{limit}'"
    text = table(made.provenance, clock.seconds, device.name, checked, command)
    write_whole(stem.with_suffix(".md"), lambda file: file.write(text.encode()))
    record = made.provenance | {"seconds": clock.seconds, "device": device.name, "checked": checked}
    write_whole(stem.with_suffix(".json"), lambda file: file.write(json.dumps(record, indent=1).encode()))
    print(text)


if __name__ == "__main__":
    try:
        main()
    except SneError as error:
        sys.exit(f"error: {error.message}\nhint: {error.hint}")
