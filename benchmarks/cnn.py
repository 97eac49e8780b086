"""Small int8 CNNs against the ensembles: test accuracy and instructions, CNNs on Arm's CMSIS-NN in QEMU.

With --cmsis-nn and --cmsis-core (checkouts of github.com/ARM-software/CMSIS-NN and CMSIS_6) it trains the CNNs of
`designs` and the ensembles of the data set's preset (Fashion-MNIST's take hours), runs both on every core over test
samples, 1,000 at most, and writes docs/results/cnn-DATASET.json. With --ensembles it measures those anew beside the
stored CNNs, whose counts do not follow this engine's. From what is stored it writes cnn-DATASET.md and cnn-DATASET.png
in any case. A run that was killed goes on where it was.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cmsis_nn
import numpy as np
import torch
from cnn_cascades import cascades
from designs import DESIGNS, RIVALS
from fronts import draw, markdown

from sne_edge.errors import SneError
from sne_edge.files import write_whole
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.learn.baseline import Design, count_macs
from sne_edge.learn.teacher import default_cache
from sne_edge.study.lab import BOARDS, COUNTED, Held, Lab
from sne_edge.study.table import percent

RESULTS = Path(__file__).parent.parent / "docs/results"
PROBED = 16  # inputs on which every layer is run in every way
DROPS = (0.1, 0.5, 1.0, 2.0)  # points of validation accuracy that cascades may lose
HERE = Path(__file__).parent


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure where CMSIS-NN is there, then write tables and pictures; the exit code."""
    options = _options(arguments)
    torch.set_num_threads(1)
    try:
        for dataset in options.dataset:
            stored = options.output / f"cnn-{dataset}.json"
            if options.cmsis_nn is not None or options.ensembles:
                found = again(_read(stored), options) if options.ensembles else measure(dataset, options)
                write_whole(stored, lambda file, found=found: file.write(json.dumps(found, indent=1).encode()))
            record = _read(stored)
            for path in (draw(record, options.output), markdown(record, options.output)):
                print(f"wrote {path}")
    except SneError as error:
        print(f"error: {error.message}\nhint: {error.hint}", file=sys.stderr)
        return 1
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise SneError(f"{path} is missing or damaged", "give --cmsis-nn and --cmsis-core to measure") from None
    return record


def measure(dataset: str, options: argparse.Namespace) -> dict[str, Any]:
    """Train and run every design of a data set, and its ensembles: what docs/results/cnn-DATASET.json holds."""
    nn, core = cmsis_nn.check_sources(options.cmsis_nn, options.cmsis_core)
    lab = Lab(dataset, options.seeds, options.cache, "inline", _progress, folder=options.data_dir)
    data = lab.data(lab.seeds[0])
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        bench = _Bench(lab, nn, core, Path(folder))
        cnns = []
        for name, design in DESIGNS[dataset].items():
            seeds = lab.seeds if name in RIVALS[dataset] else lab.seeds[:1]
            nets = [lab.cnn(seed, design) for seed in seeds]
            cnns.append(
                {
                    "name": name,
                    "layers": [vars(layer) for layer in design],
                    "macs": count_macs(data.shape, design, len(data.classes)),
                    "parameter_bytes": lab.quantized(lab.seeds[0], design).parameter_bytes,
                    "validation": percent([net.validation for net in nets]),
                    "test": percent([net.test for net in nets]),
                    "cores": {core: bench.count(design, core) for core in options.core},
                }
            )
    return {
        "dataset": dataset,
        "images": data.shape[0] > 1,
        "seeds": list(lab.seeds),
        "samples": len(data.y_test),
        "counted": len(_spread(data.y_test)),
        "cores": list(options.core),
        "probed": PROBED,
        "cmsis_nn": cmsis_nn.version(nn),
        "cmsis_core": cmsis_nn.version(core),
        "compiler": f"{cmsis_nn.compiler(BOARDS['M4'])}, {cmsis_nn.OPTIMISED[0]}",
        "epochs": epochs(lab),
        "cnns": cnns,
        "cascades": cascades(lab, DROPS),
        "spiking": spiking(lab, options.core),
    }


def again(record: dict[str, Any], options: argparse.Namespace) -> dict[str, Any]:
    """What is stored of a data set with its ensembles trained and counted by the code of now, on the cores stored."""
    lab = Lab(record["dataset"], tuple(record["seeds"]), options.cache, "inline", _progress, folder=options.data_dir)
    students = {"student": epochs(lab)["student"]}
    return record | {"epochs": record["epochs"] | students, "spiking": spiking(lab, record["cores"])}


def epochs(lab: Lab) -> dict[str, int]:
    """For how many a CNN and a student are taught."""
    recipe = lab.config(lab.seeds[0]).recipe
    own = recipe.alone + recipe.joint + recipe.rounded
    return {"cnn": 2 * own, "student": own}


def spiking(lab: Lab, cores: Sequence[str]) -> list[dict[str, Any]]:
    """The ensembles of a data set under every number of students and cascades of `DROPS`: test accuracy and operations
    by seed, and instructions on each of `cores`, None where they do not fit."""
    helds = [lab.held(seed) for seed in lab.seeds]
    firsts = [ActivationPolicy("first", students=k) for k in range(1, len(helds[0].model.students))]
    fixed = {f"first {p.students}": [p] * len(helds) for p in firsts}
    named = {**fixed, f"all {len(firsts) + 1}": [ActivationPolicy("all")] * len(helds)}
    for drop in DROPS:
        named[f"cascade, {drop:g}"] = [held.calibrated(drop, "cascade").policy for held in helds]
    counts = {core: _on_core(helds, list(named.values()), core) for core in cores}
    made = []
    for number, (name, policies) in enumerate(named.items()):
        found = [held.figures(policy) for held, policy in zip(helds, policies, strict=True)]
        made.append(
            {
                "name": name,
                "test": percent([f.accuracy for f in found]),
                "operations": [round(f.operations) for f in found],
                "cores": {core: column[number] for core, column in counts.items()},
            }
        )
    return made


def _on_core(helds: Sequence[Held], policies: Sequence[Sequence[ActivationPolicy]], core: str) -> list[Any]:
    """For each row of policies, one a model, the models' instructions; None where they are too large for the board."""
    try:
        own = [held.instructions([row[n] for row in policies], core) for n, held in enumerate(helds)]
    except SneError as error:
        if "make the model smaller" in (error.hint or ""):
            return [None] * len(policies)
        raise
    return [[mean for mean, _ in row] for row in zip(*own, strict=True)]


class _Bench:
    """Libraries, built once for each core and variant, and counts, kept in a lab's cache."""

    def __init__(self, lab: Lab, nn: Path, core: Path, work: Path) -> None:
        self.lab, self.nn, self.core, self.work = lab, nn, core, work
        self.libraries: dict[tuple[str, str], cmsis_nn.Library] = {}
        programs = b"".join((HERE / name).read_bytes() for name in ("cnn_program.c.j2", "cmsis_nn.py", "bare_metal.c"))
        self.prints = (
            hashlib.sha256(programs).hexdigest()[:16], cmsis_nn.version(nn), cmsis_nn.version(core),
            cmsis_nn.compiler(BOARDS["M4"]),
        )  # fmt: skip

    def count(self, design: Design, core: str) -> dict[str, Any]:
        """On one core, of the first seed's network (weights do not change a count) over test inputs in the cheapest
        way: mean, least and most instructions; that way, and by layer the ways whose outputs were wrong."""
        key = ("cmsis-nn", core, self.lab.design_key(self.lab.seeds[0], design), *self.prints)
        way = self.lab.remember(("ways", *key), lambda: self._choose(design, core))
        chosen = way["variant"], *way["ways"]
        mean, least, most = self.lab.remember((*key, *chosen), lambda: self._run(design, core, way))
        return {"instructions": mean, "least": least, "most": most} | way

    def _choose(self, design: Design, core: str) -> dict[str, Any]:
        """The cheapest build of the library and ways of the layers that are right on the first seed's network."""
        net = self.lab.quantized(self.lab.seeds[0], design)
        inputs = net.encode(self.lab.data(self.lab.seeds[0]).x_test[:PROBED])
        variants = [v for v in cmsis_nn.VARIANTS if not (core == "M0" and v == "assembler")]
        probes = {v: cmsis_nn.probe(net, inputs, self._library(core, v), self.work / "run") for v in variants}
        costs = {v: sum(p.counts[n][way] for n, way in enumerate(p.best)) for v, p in probes.items()}
        variant = min(costs, key=lambda v: costs[v])
        wrong = [[way for way, n in layer.items() if n] for layer in probes[variant].wrong]
        return {"variant": variant, "ways": probes[variant].best, "wrong": wrong}

    def _run(self, design: Design, core: str, way: dict[str, Any]) -> list[int]:
        """Instructions of the first seed's network over test inputs: mean, least, most. Raises `SneError` where any
        logit is not the reference's."""
        seed = self.lab.seeds[0]
        _progress("CMSIS-NN", 1, 1, f"{core}, {' '.join(way['ways'])}, {way['variant']}")
        net = self.lab.quantized(seed, design)
        inputs = net.encode(_spread(self.lab.data(seed).x_test))
        run = cmsis_nn.run(net, inputs, self._library(core, way["variant"]), way["ways"], self.work / "run")
        if run.wrong:
            raise SneError(
                f"CMSIS-NN's logits of {run.wrong} inputs are not the reference's on {core}",
                "the kernels chosen on the first inputs are wrong on others: probe more of them",
            )
        return [round(float(run.counts.mean())), int(run.counts.min()), int(run.counts.max())]

    def _library(self, core: str, variant: str) -> cmsis_nn.Library:
        key = core, variant
        if key not in self.libraries:
            where = self.work / f"{core}-{variant}"
            self.libraries[key] = cmsis_nn.build_library(self.nn, self.core, BOARDS[core], variant, where)
        return self.libraries[key]


def _spread(samples: np.ndarray) -> np.ndarray:
    """All of them, or `COUNTED`, evenly apart."""
    count = min(COUNTED, len(samples))
    return samples[np.arange(count) * len(samples) // count]


def _progress(stage: str, done: int, total: int, note: str) -> None:
    """A line for each thing that is finished."""
    if done == total:
        print(f"{stage}: {note}", file=sys.stderr, flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cmsis-nn", type=Path, help="a checkout of CMSIS-NN; without it, tables from stored results")
    parser.add_argument("--cmsis-core", type=Path, help="a checkout of CMSIS_6 or CMSIS_5, or the headers' folder")
    parser.add_argument("--ensembles", action="store_true", help="measure the ensembles only, beside the stored CNNs")
    parser.add_argument("--dataset", nargs="+", choices=sorted(DESIGNS), default=list(DESIGNS))
    parser.add_argument("--core", nargs="+", choices=sorted(BOARDS), default=["M4", "M55"], help="default M4 and M55")
    parser.add_argument("--data-dir", type=Path, help="where the data sets' files lie; default $SNE_EDGE_DATA")
    parser.add_argument("--seeds", type=lambda text: tuple(map(int, text.split(","))), default=(0, 1, 2))
    parser.add_argument("--cache", type=Path, default=default_cache(), help="where trained networks are kept")
    parser.add_argument("--output", type=Path, default=RESULTS, help="the folder of tables; default docs/results")
    options = parser.parse_args(arguments)
    if (options.cmsis_nn is None) != (options.cmsis_core is None):
        parser.error("give both --cmsis-nn and --cmsis-core, or neither")
    if options.ensembles and options.cmsis_nn is not None:
        parser.error("--ensembles keeps the stored CNNs: leave --cmsis-nn out, or --ensembles")
    return options


if __name__ == "__main__":
    sys.exit(main())
