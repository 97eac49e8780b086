"""Fit the cost model: what each count of `sne_edge.deploy.work` costs on every core, in instructions.

`make cost-model` makes small random networks with every kernel and kind of neuron, has an emulated core run their
layers one by one on inputs of chosen density, and fits what came out: coefficients that are right in the mean, and
others that no measurement exceeds. Writes sne_edge/deploy/cost.json.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import re
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from bare_metal import build_program, emulate
from networks import FEWEST
from scipy.optimize import linprog, nnls
from sne_edge.codegen import context
from sne_edge.codegen.layout import Stage, StateLayout, state_layout
from sne_edge.codegen.sizes import words

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.cost import COEFFICIENTS, runtime_digest, stack_key
from sne_edge.deploy.export import render
from sne_edge.deploy.flash import beside_parts, function_parts, shared_parts
from sne_edge.deploy.targets import resolve_target
from sne_edge.deploy.tools import run_tool
from sne_edge.deploy.work import Rates, Work, direct_kernel, fire_key, overhead, stage_work, stepping
from sne_edge.ir.encoder import Encoder, Shape
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Layer, Linear, MaxPool, SynapticLayer, size, window_out
from sne_edge.ir.limits import padded
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy, pair_row
from sne_edge.ir.proof import multiplicities, prove_layer, worst_ops
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors

HERE = Path(__file__).parent
# One for each core that has kernels of its own.
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547", "riscv32-virt")
CHANNELS = (3, 4, 7, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
DECAYS = (Decay(), Decay("shift", 1), Decay("q15", 30000))
DENSITIES = (0.0, 0.02, 0.06, 0.12, 0.25, 0.5, 1.0)
EAGER = (0, 16, 40, 128, 256)
POLICIES = ("all", "first", "mask", "cascade", "budget", "routed")  # as sne.h counts them
WHOLE = (0.0, 0.3, 1.0)  # densities of whole inferences
NAME = "cost-net"
ENGINE = r"layer_|student_\d|run_layers|sne_(?!wire)|decide|fits|next_student|is_cascade"  # its functions
MODELS = 24
RAM_BYTES = 10_000  # of the smallest board's
SHAPES = 1  # layers in which everything is met, at least
STEPS = 3  # timesteps, so that 16 bits hold what IF neurons gather
KINDS = [
    (decay, reset, clamp)
    for decay in DECAYS
    for reset in ("subtract", "zero", "delayed")
    for clamp in (None, (-20000, 20000))
]
Kind = tuple[Decay, str, tuple[int, int] | None]


@dataclass(frozen=True)
class Equation:
    """One measurement: its counts by name, the instructions that they took, bytes of stack, and the kind of a layer's
    call; of a whole inference, what is beside its layers."""

    work: Work
    instructions: int
    stack: int
    call: str = ""


@dataclass(frozen=True)
class Job:
    """A line of cost.c's, and what is needed to know its counts. `stage` None: a whole inference."""

    kind: int
    student: int
    number: int
    timesteps: int
    density: int = 0
    eager: int = 0
    bits: int = 0
    positions: int = 0
    channels: int = 0

    def packed(self) -> bytes:
        """As cost.c reads it."""
        return struct.pack(
            "<9I", self.kind, self.student, self.number, self.timesteps, self.density, self.eager, self.bits,
            self.positions, self.channels,
        )  # fmt: skip


def neuron(kind: Kind) -> Neuron:
    """The firing neuron of a kind."""
    decay, reset, clamp = kind
    kept: Any = "zero" if reset == "zero" else "subtract"
    return Neuron("if" if decay.kind == "none" else "lif", decay, kept, reset == "delayed", clamp)


def make_model(rng: random.Random, number: int) -> QuantEnsemble:
    """A random ensemble of small students: every other one of a direct input, neurons of three kinds."""
    direct = number % 3 == 0
    shape: Shape = rng.choice([(1, 24, 4), (1, 40, 1), (8, 8, 2), (6, 6, 3), (1, 32, 8), (1, 1, 150)])
    encoder = Encoder("direct" if direct else "rate", shape, STEPS, seed=1)
    kinds = [KINDS[(7 * number + 5 * i) % len(KINDS)] for i in range(2)]
    plain = [kind for kind in KINDS if kind[2] is None and kind[1] != "delayed"]
    kinds += [plain[(number // 3 + number) % len(plain)], (Decay("shift", 1), "subtract", None)]  # what is usual
    count = 4 if direct else 3
    classes = rng.choice((FEWEST, 5, 10))
    early = tuple([2**31 - 1] * (count * (STEPS - 1))) if number % 4 < 2 else ()
    least = 1 if early else 0  # a readout alone cannot end early
    members = tuple(_student(rng, encoder, kinds, classes, least) for _ in range(count))
    policy = ActivationPolicy("cascade", margins=(2**31 - 1,) * (count - 1), early=early)
    return QuantEnsemble(
        NAME, encoder, members, np.zeros(classes, np.int32), tuple(range(count)),
        tuple(str(c) for c in range(classes)), 1.0, policy, no_vectors(encoder, classes, members),
        routes=np.tile(np.arange(count, dtype=np.uint8), (pair_row(0, classes), 1)),
    )  # fmt: skip


def _student(rng: random.Random, encoder: Encoder, kinds: Sequence[Kind], classes: int, least: int) -> QuantStudent:
    layers: list[Layer] = []
    wanted: list[bool] = []
    shape = encoder.shape
    pooled = False
    for depth in range(rng.choice((least, 2, 3, 4, 5))):
        first = depth == 0
        analog = first and encoder.kind == "direct"
        flat = shape[:2] == (1, 1)
        ops = ["linear"] if flat else ["linear", *["conv"] * 5, "block"]
        if not analog and not flat:
            ops += ["depthwise", "avg", *([] if pooled else ["max"])]
        op = rng.choice(ops) if not (first and not flat and rng.random() < 0.5) else "conv"
        if op in ("avg", "max"):
            kernel, stride = rng.choice([((2, 2), (2, 2)), ((3, 3), (2, 2))])
            kernel, stride = (
                (kernel[0] if shape[0] > 3 else 1, kernel[1]),
                (stride[0] if shape[0] > 3 else 1, stride[1]),
            )
            out = window_out(shape, kernel, stride, (0, 0))
            if min(out) < 1 or (op == "max" and pooled):
                continue
            layers.append((AvgPool if op == "avg" else MaxPool)(shape, (*out, shape[2]), kernel, stride))
            wanted.append(False)
            pooled, shape = op == "avg", layers[-1].out_shape
            continue
        layers.append(_synaptic(rng, op, shape, encoder, layers, kinds))
        wanted.append(rng.random() < 0.4)
        pooled, shape = False, layers[-1].out_shape
    readout = Neuron("li", rng.choice(DECAYS), "none", False, rng.choice((None, None, (-(2**14), 2**14))))
    layers.append(_made(rng, Linear, shape, (1, 1, classes), (classes, size(shape)), readout, encoder, layers, 8))
    wanted.append(False)
    student = QuantStudent(
        tuple(layers), (), np.ones(classes, np.int32), np.zeros(classes, np.int32), 0, 0, (0,) * len(layers)
    )
    worst = worst_ops(student, encoder)
    measured = tuple(0 if want else most for want, most in zip(wanted, worst, strict=True))
    return msgspec.structs.replace(student, layer_ops=measured, max_ops=sum(measured))


def _synaptic(
    rng: random.Random, op: str, shape: Shape, encoder: Encoder, before: Sequence[Layer], kinds: Sequence[Kind]
) -> Layer:
    bits = 4 if before and op != "depthwise" and rng.random() < 0.3 else 8
    cell, channels = neuron(rng.choice(list(kinds))), rng.choice(CHANNELS)
    if cell.decay.kind == "shift" and rng.random() < 0.4:
        cell = msgspec.structs.replace(cell, decay=Decay("shift", rng.choice((2, 3, 5))))
    if op == "linear":
        return _made(rng, Linear, shape, (1, 1, channels), (channels, size(shape)), cell, encoder, before, bits)
    kernel = tuple(1 if n == 1 else min(n, rng.choice((2, 3, 3, 5))) for n in shape[:2])
    stride = tuple(
        1 if n == 1 else (k if op == "block" else rng.choice((1, 1, 2))) for n, k in zip(shape, kernel, strict=False)
    )
    padding = tuple(0 if op == "block" else k // 2 for k in kernel)
    out = window_out(shape, kernel, stride, padding)  # type: ignore[arg-type]
    while out[0] * out[1] * channels > 1500:
        channels = channels // 2
    if op == "depthwise":
        channels = shape[2]
        depth = 1
    else:
        depth = shape[2]
    kind: Any = Depthwise if op == "depthwise" else Conv
    weight = (channels, depth, *kernel)
    return _made(
        rng, kind, shape, (*out, channels), weight, cell, encoder, before, bits, stride=stride, padding=padding
    )


def _made(
    rng: random.Random, kind: type[SynapticLayer], shape: Shape, out: Shape, weight: tuple[int, ...], cell: Neuron,
    encoder: Encoder, before: Sequence[Layer], bits: int, **more: Any,
) -> Any:  # fmt: skip
    """A layer whose membranes have 16 or, now and then, 32 bits."""
    channels, numbers = out[2], np.random.default_rng(rng.getrandbits(32))
    fires = cell.kind != "li"
    layer = kind(
        in_shape=shape, out_shape=out, weight=numbers.integers(-1, 3, weight).astype(np.int8),
        bias=np.zeros(channels, np.int32), threshold=np.full(channels, 50 if fires else 0, np.int32),
        scale=np.ones(channels), neuron=cell, bound=Bound(0, 0), bits=bits, **more,
    )  # fmt: skip
    first = not before
    if first and fires and encoder.kind == "direct" and rng.random() < 0.5:
        layer = msgspec.structs.replace(layer, current_shift=3)
    if rng.random() < 0.4:  # one channel that starts beyond 16 bits
        bias = layer.bias.copy()
        bias[0] = 40000
        clamp = None if cell.clamp is None else (-(10**6), 10**6)
        layer = msgspec.structs.replace(layer, bias=bias, neuron=msgspec.structs.replace(cell, clamp=clamp))
    many = multiplicities((*before, layer))[-1]
    bound = prove_layer(layer, encoder, first, many, buffered=True)
    assert bound is not None and bound.width <= 32
    return msgspec.structs.replace(layer, bound=bound)


def jobs_of(rng: random.Random, model: QuantEnsemble, layout: StateLayout) -> list[Job]:
    """What to measure of a model."""
    made = []
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
                steps = rng.choice((1, 2, STEPS, STEPS))
                made.append(Job(1, number, place, steps, round(density * 65536), eager, **common))
            if model.policy.early and not (direct and place == 0):
                for density, eager in [(1.0, 256), *rng.sample(grid, 2)]:
                    made.append(Job(2, number, place, 1, round(density * 65536), eager, **common))
    for density, kind in itertools.product(WHOLE, POLICIES):
        made.append(Job(0, 0, POLICIES.index(kind) + 1, STEPS, round(density * 65536)))
    if model.policy.early:
        for density in WHOLE:
            made.append(_early_job(model, layout, density))
    return made


def _early_job(model: QuantEnsemble, layout: StateLayout, density: float) -> Job:
    """Rooms that are large enough for every student."""
    places = [place for place in layout.early if place is not None]
    return Job(
        3, 0, POLICIES.index("cascade") + 1, STEPS, round(density * 65536), 0, 0, max(p.map_bytes for p in places) // 4,
        max(p.kept - p.rows for p in places) // 4,
    )  # fmt: skip


def equation(model: QuantEnsemble, layout: StateLayout, job: Job, told: Sequence[int]) -> Equation:
    """The counts of a job, with what the core told of it: instructions, spikes in, groups of spikes out, spikes out."""
    count, incoming, groups, fired, deep = told
    if job.kind in (0, 3):
        students = range(len(model.students))
        rate = job.density / 65536 * 0.5  # values are drawn evenly from 1 .. 127
        work = overhead(model, POLICIES[job.number - 1], students, STEPS, job.kind == 3, rate)
        return Equation(work, count - incoming, deep)
    student, stage = model.students[job.student], layout.stages[job.student][job.number]
    layer = student.layers[stage.layer]
    direct = model.encoder.kind == "direct" and job.number == 0
    neurons = job.positions * job.channels * job.timesteps
    rates = Rates(incoming / (job.bits * (1 if direct else job.timesteps)), fired / neurons)
    work = stage_work(student, stage, direct, job.timesteps, rates)
    if job.kind == 2:
        work = stepping(student, stage, work)
    if isinstance(layer, SynapticLayer) and layer.neuron.kind != "li":
        work[f"{fire_key(layer, direct_kernel(stage) if direct else stage.kernel)}.firing"] = groups
    key = (
        stack_key(layer, direct_kernel(stage) if direct else stage.kernel)
        if isinstance(layer, SynapticLayer)
        else "maxpool"
    )
    return Equation(work, count, deep, key)


def measure(
    board: str, model: QuantEnsemble, jobs: Sequence[Job], folder: Path
) -> tuple[list[list[int]], dict[str, int]]:
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
    return [[int(number) for number in line.split()] for line in said[: len(jobs)]], {
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


# Counts of a direct input's layer that mean nothing to cores with these kernels: those with the DSP extension multiply
# windows whole (sne_convolve.h) unless they list values, Helium's take dot products, others look at each value.
LISTED = "twos|ones|listed|runs|calls.*|rows.*"
MEANINGLESS = {
    "dsp": rf"convolve\.(\d+\.)?({LISTED}|vectors)|mac\.\d+\.(dense|vectors)",
    "helium": r"(mac|convolve)\.(\d+\.)?(twos|ones|listed|calls.*|rows.*|dense)",
    "swar": r"(mac|convolve)\.\d+\.(dense|vectors)",
    "words": r"(mac|convolve)\.\d+\.(dense|vectors)",
}


def fit(equations: Sequence[Equation], kernels: str) -> tuple[dict[str, float], dict[str, float]]:
    """Coefficients, none negative, that make the squares of the relative errors least; and the least sum of others that
    no equation exceeds. `kernels`: a target's, which do not do all that is counted."""
    names = sorted({name for e in equations for name, count in e.work.items() if count})
    matrix = np.array([[e.work[name] for name in names] for e in equations], float)
    matrix[:, [bool(re.fullmatch(MEANINGLESS[kernels], name)) for name in names]] = 0.0
    counts = np.array([e.instructions for e in equations], float)
    weight = 1 / (counts + 200)  # a hundred instructions more or less do not matter
    scale = np.maximum((matrix * weight[:, None]).max(axis=0), 1e-12)
    scaled = matrix * weight[:, None] / scale
    mean = nnls(scaled, counts * weight, maxiter=50 * len(names))[0] / scale
    least = [(0.9 * m * s, None) for m, s in zip(mean, scale, strict=True)]
    found = linprog(scaled.sum(axis=0), A_ub=-scaled, b_ub=-counts * weight, bounds=least, method="highs")
    assert found.status == 0, found.message
    most = found.x / scale

    def named(values: np.ndarray) -> dict[str, float]:
        return {name: float(f"{value:.6g}") for name, value in zip(names, values, strict=True)}

    return named(mean), {name: float(f"{value * (1 + 1e-6):.7g}") for name, value in zip(names, most, strict=True)}


def errors(equations: Sequence[Equation], coefficients: dict[str, float]) -> np.ndarray:
    """Relative errors of what coefficients predict."""
    told = [sum(coefficients[n] * c for n, c in e.work.items() if c) for e in equations]
    return np.array(told) / np.array([e.instructions for e in equations]) - 1


def fit_code(models: Sequence[QuantEnsemble], symbols: Sequence[dict[str, int]]) -> dict[str, float]:
    """Bytes of each part of the engine: of functions, the mean of those of one kind; of what they share, what adds up
    best over all models."""
    sizes: dict[str, list[int]] = {}
    rows, rest = [], []
    for model, found in zip(models, symbols, strict=True):
        functions = context.build(model)["tables"].functions
        left = dict(found)
        for name, function in functions.items():
            for part, symbol in zip(function_parts(function), (name, f"{name}_fire"), strict=False):
                own = [s for s in left if s == symbol or s.startswith(f"{symbol}.")]
                sizes.setdefault(part, []).append(sum(left.pop(s) for s in own))
        row = Counter({"shared", *(part for f in functions.values() for part in shared_parts(f))})
        rows.append(row + Counter(beside_parts(model)))
        rest.append(sum(left.values()))
    names = sorted({name for row in rows for name in row})
    shared = nnls(np.array([[row[name] for name in names] for row in rows], float), np.array(rest, float))[0]
    means = {part: float(np.mean(found)) for part, found in sizes.items()}
    return {name: round(value, 1) for name, value in {**means, **dict(zip(names, shared, strict=True))}.items()}


def fit_stack(equations: Sequence[Sequence[Equation]]) -> dict[str, int]:
    """Bytes of stack, at most: of each kind of a layer's call, and of what is above it in an inference."""
    found: dict[str, int] = {}
    above = 0
    for of_model in equations:
        deepest = max(e.stack for e in of_model if e.call)
        above = max([above, *(e.stack - deepest for e in of_model if not e.call)])
        for e in of_model:
            if e.call:
                found[e.call] = max(found.get(e.call, 0), e.stack)
    return {"run": above} | dict(sorted(found.items()))


def make_models(count: int) -> list[QuantEnsemble]:
    """So many networks and, of those that come next, the ones that bring what has been rare: every kernel, and every
    kind of code that fires neurons, is met in several shapes."""
    kinds = [f"{decay.kind}.{reset}{'.clamp' if clamp else ''}" for decay, reset, clamp in KINDS]
    plain = [kind for kind in kinds if not kind.endswith(("clamp", "delayed"))]
    wanted = {"gather", "sweep", "scatter", "overlap", "collect", "depthwise", "mac", "maxpool"}
    wanted |= {f"fire.{place}.16.{kind}" for place in ("one", "row", "scatter", "steps") for kind in plain}
    wanted |= {f"fire.any.{width}.{kind}" for width in (16, 32) for kind in kinds if width == 32 or kind not in plain}
    models: list[QuantEnsemble] = []
    met = Counter[str]()
    for number in itertools.count():
        if len(models) >= count and all(met[name] >= SHAPES for name in wanted):
            return models
        model = make_model(random.Random(number), number)
        if _ram_bytes(model) > RAM_BYTES:
            continue
        found = list(_met(model))
        if len(models) < count or any(name in wanted and met[name] < SHAPES for name in found):
            models.append(model)
            met.update(found)
    raise AssertionError


def _ram_bytes(model: QuantEnsemble) -> int:
    """What it needs of a board, stack and firmware aside."""
    layout = state_layout(model)
    jobs = jobs_of(random.Random(1), model, layout)
    return layout.bytes + 4 * max((_room(model, layout, job) for job in jobs if job.kind in (2, 3)), default=0)


def _met(model: QuantEnsemble) -> Iterator[str]:
    for number, stages in enumerate(state_layout(model).stages):
        for place, stage in enumerate(stages):
            layer = model.students[number].layers[stage.layer]
            if not isinstance(layer, SynapticLayer):
                yield "maxpool"
                continue
            kernel = direct_kernel(stage) if model.encoder.kind == "direct" and place == 0 else stage.kernel
            yield kernel
            if layer.neuron.kind != "li":
                yield fire_key(layer, kernel)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boards", nargs="*", default=list(BOARDS), help="boards whose cores are measured")
    parser.add_argument("--models", type=int, default=MODELS, help="networks that are measured")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")
    options = parser.parse_args(arguments)
    started = time.monotonic()
    models = make_models(options.models)
    for board in options.boards:
        found = list(ThreadPoolExecutor(2).map(lambda m, b=board: _measured(b, m), models))  # type: ignore[misc]
        equations = [e for part, _ in found for e in part]
        mean, most = fit(equations, resolve_target(resolve_board(board).target).kernels)
        error, over = errors(equations, mean), errors(equations, most)
        large = np.array([e.instructions > 3000 for e in equations])
        print(
            f"{board}: {len(equations)} measurements, {len(mean)} coefficients, "
            f"error median {np.median(abs(error)):.2%}, 95 % {np.quantile(abs(error), 0.95):.2%}, "
            f"of the larger ones at most {abs(error[large]).max():.2%}; "
            f"bounds over by {np.median(over):.2%}, at least {over.min():.4%}; {time.monotonic() - started:.0f} s",
            flush=True,
        )
        core = {
            "instructions": {name: [value, most[name]] for name, value in mean.items()},
            "stack": fit_stack([part for part, _ in found]),
            "code": fit_code(models, [symbols for _, symbols in found]),
        }
        if not options.dry_run:
            store(resolve_board(board).target, core)
    return 0


def store(name: str, core: dict[str, Any]) -> None:
    """Put a core's costs, of this runtime, beside those of others."""
    stored = json.loads(COEFFICIENTS.read_text()) if COEFFICIENTS.exists() else {}
    text = json.dumps({**stored, name: {"runtime": runtime_digest(), **core}}, separators=(",", ":"))
    COEFFICIENTS.write_text(text.replace('],"', '],\n"') + "\n")


def _measured(board: str, model: QuantEnsemble) -> tuple[list[Equation], dict[str, int]]:
    layout = state_layout(model)
    jobs = jobs_of(random.Random(1), model, layout)
    with tempfile.TemporaryDirectory(prefix="sne-edge-") as folder:
        told, symbols = measure(board, model, jobs, Path(folder))
    return [equation(model, layout, job, line) for job, line in zip(jobs, told, strict=True)], symbols


if __name__ == "__main__":
    sys.exit(main())
