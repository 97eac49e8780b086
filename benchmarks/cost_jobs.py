"""Run single layers of a model, and whole inferences, on an emulated core, on inputs of chosen density: `cost.c`.

In: an ensemble and jobs. Out: what the core told of each, and the bytes of every function of the engine's.
"""

from __future__ import annotations

import itertools
import random
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bare_metal import build_program, emulate
from sne_edge.codegen.layout import Stage, StateLayout, state_layout
from sne_edge.codegen.sizes import words

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.export import render
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.ir.encoder import Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer, size
from sne_edge.ir.limits import padded

DENSITIES = (0.0, 0.02, 0.06, 0.12, 0.25, 0.5, 1.0)
EAGER = (0, 16, 40, 128, 256)
ALIKE = (0.0, 0.0, 0.5, 0.9)
POLICIES = ("all", "first", "mask", "cascade", "budget", "routed")  # as sne.h counts them
WHOLE = (0.0, 0.3, 1.0)  # densities of whole inferences
NAME = "cost-net"
ENGINE = r"layer_|student_\d|run_layers|sne_(?!wire)|decide|fits|next_student|is_cascade"  # its functions


@dataclass(frozen=True)
class Job:
    """A line of cost.c's, and what is needed to know its counts. `kind` 0: a whole inference, 1: a layer through all
    timesteps, 2: through one that keeps its membranes, 3: an inference step by step."""

    kind: int
    student: int
    number: int
    timesteps: int
    density: int = 0
    eager: int = 0
    alike: int = 0
    bits: int = 0
    positions: int = 0
    channels: int = 0

    def packed(self) -> bytes:
        """As cost.c reads it."""
        return struct.pack(
            "<10I", self.kind, self.student, self.number, self.timesteps, self.density, self.eager, self.alike,
            self.bits, self.positions, self.channels,
        )  # fmt: skip


@dataclass(frozen=True)
class Told:
    """What a core told of a job: instructions, the deepest stack; spikes in (of a whole inference: instructions of its
    layers), inputs that changed from a timestep to the next, spikes out; groups of four and of eight neurons that held
    one of these, but for the last timestep, and in it."""

    instructions: int
    stack: int
    incoming: int
    changed: int
    fired: int
    fours: int
    eights: int
    last_fours: int
    last_eights: int


def jobs_of(rng: random.Random, model: QuantEnsemble, layout: StateLayout) -> list[Job]:
    """What to measure of a model."""
    made: list[Job] = []
    direct = model.encoder.kind == "direct"
    for number, stages in enumerate(layout.stages):
        for place, stage in enumerate(stages):
            layer = model.students[number].layers[stage.layer]
            bits = size(stage.pools[0].in_shape if stage.pools else layer.in_shape)
            shape = layer.out_shape
            common = {"bits": bits, "positions": shape[0] * shape[1], "channels": shape[2]}
            grid = [(d, e) for d, e in itertools.product(DENSITIES, EAGER)]
            chosen = [(0.0, 0), (0.0, 256), (1.0, 256), *rng.sample(grid, 4)]
            for density, eager in chosen:
                most = model.encoder.timesteps
                steps, alike = rng.choice((1, min(2, most), most, most)), round(rng.choice(ALIKE) * 65536)
                made.append(Job(1, number, place, steps, round(density * 65536), eager, alike, **common))
            if model.policy.early and not (direct and place == 0):
                for density, eager in [(1.0, 256), *rng.sample(grid, 2)]:
                    made.append(Job(2, number, place, 1, round(density * 65536), eager, **common))
    for density, kind in itertools.product(WHOLE, POLICIES):
        made.append(Job(0, 0, POLICIES.index(kind) + 1, model.encoder.timesteps, round(density * 65536)))
    if model.policy.early:
        for density in WHOLE:
            made.append(_early_job(model, layout, density))
    return made


def _early_job(model: QuantEnsemble, layout: StateLayout, density: float) -> Job:
    """Rooms that are large enough for every student."""
    places = [place for place in layout.early if place is not None]
    return Job(
        3, 0, POLICIES.index("cascade") + 1, model.encoder.timesteps, round(density * 65536),
        positions=max(p.map_bytes for p in places) // 4, channels=max(p.kept - p.rows for p in places) // 4,
    )  # fmt: skip


def measure(board: str, model: QuantEnsemble, jobs: Sequence[Job], folder: Path) -> tuple[list[Told], dict[str, int]]:
    """Run the jobs on a board: what it told of each, and the bytes of every function of the engine's."""
    layout = state_layout(model)
    identifier = model.identifier
    files = render(model, resolve_target(resolve_board(board).target))
    for name in (f"{identifier}.c", f"{identifier}.h"):
        (folder / name).write_text(files[name])
    room = [_room(model, layout, job) for job in jobs if job.kind in (2, 3)]
    lanes = max(
        padded(layer.channels) * layer.width // 32
        for student in model.students for layer in student.layers if isinstance(layer, SynapticLayer)
    )  # fmt: skip
    rate = model.encoder.kind == "rate"
    lines = [
        f'#include "{identifier}.c"', f"#define MODEL {identifier}_model", f"#define STATE {identifier}_state",
        f"#define WORK_WORDS {max(room, default=1)}", f"#define INPUT_WORDS {words(8 * model.encoder.input_bytes)}",
        f"#define LANES {lanes}", f"#define DIRECT {int(not rate)}",
        *([f"#define RATE_INPUTS {model.encoder.size}", f"#define RATE_SEED {model.encoder.seed}u"] if rate else []),
        '#include "cost.c"',
    ]  # fmt: skip
    (folder / "measured.c").write_text("\n".join(lines) + "\n")
    elf = build_program(board, [folder / "measured.c"], folder)
    (folder / "jobs.bin").write_bytes(struct.pack("<I", len(jobs)) + b"".join(job.packed() for job in jobs))
    said = emulate(board, elf, seconds=300).split("\n")
    listing = run_tool([f"{resolve_target(resolve_board(board).target).prefix}nm", "-S", str(elf)], folder)
    symbols = re.findall(r"^\w+ (\w+) [tT] (\S+)$", listing, flags=re.M)
    return [Told(*map(int, line.split())) for line in said[: len(jobs)]], {
        name: int(bytes_, 16) for bytes_, name in symbols if re.match(ENGINE, name)
    }


def _room(model: QuantEnsemble, layout: StateLayout, job: Job) -> int:
    if job.kind == 3:
        kept = max(p.kept for p in layout.early if p is not None)
        membranes = max(sum(_kept(s.layers[n].out_shape) for n in range(len(s.layers))) for s in model.students)
        return 2 * job.positions + job.channels + membranes + kept // 4
    stage: Stage = layout.stages[job.student][job.number]
    out = words(job.positions * job.channels)
    return words(job.bits) + 2 * out + stage.capacity + _kept(model.students[job.student].layers[stage.layer].out_shape)


def _kept(shape: Shape) -> int:
    return shape[0] * shape[1] * padded(shape[2])


def ram_bytes(model: QuantEnsemble) -> int:
    """What it needs of a board, stack and firmware aside."""
    layout = state_layout(model)
    jobs = jobs_of(random.Random(1), model, layout)
    return layout.bytes + 4 * max((_room(model, layout, job) for job in jobs if job.kind in (2, 3)), default=0)
