"""The cost model: what it says before anything is built, held against firmware on emulated cores."""

from __future__ import annotations

import contextlib
import json
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from graph_strategies import random_graph_ensemble
from sne_edge.codegen.layout import state_layout
from strategies import every_policy, random_ensemble, random_inputs

from sne_edge.check.verify import ReferenceEngine
from sne_edge.cli import run
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.cost import COEFFICIENTS as STORED
from sne_edge.deploy.cost import (
    Need,
    assumed_rates,
    core_costs,
    firing_shares,
    need,
    rates_of,
    runtime_digest,
)
from sne_edge.deploy.sketch import Sizes, sketch
from sne_edge.deploy.targets import all_targets
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.proof import multiplicities, prove_layer
from sne_edge.ir.student import QuantStudent
from sne_edge.link.connect import connect

ALL = ActivationPolicy("all")
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547")
# How far the modelled mean may be from the emulator's, as docs/MEASURING.md says: of bodies that no fit has seen.
WITHIN = {"microbit": 0.20, "mps2-an385": 0.40, "mps2-an386": 0.15, "mps3-an547": 0.22}
CORES = {
    "microbit": "cortex-m0",
    "mps2-an385": "cortex-m3",
    "mps2-an386": "cortex-m4",
    "mps3-an547": "cortex-m55",
    "riscv32-virt": "riscv32",
}
# Bodies that the model was not fitted on: as a search draws them, on sound, signals and images.
BODIES = [
    ((1, 40, 1), 2, Sizes((8, 32, 40), (5, 5, 3), (1, 2, 2))),
    ((1, 64, 32), 1, Sizes((8, 24, 32), (3, 5, 5), (2, 2, 2))),
    ((1, 40, 1), 3, Sizes((12, 20), (7, 3), (3, 2), shift=2)),
    ((14, 14, 1), 2, Sizes((16, 24), (3, 3), (2, 2), bits=4)),
    ((10, 10, 3), 2, Sizes((8, 16, 28), (3, 3, 3), (1, 2, 2), q15=True)),
]


def with_threshold(
    ensemble: QuantEnsemble, student: QuantStudent, number: int, threshold: int, **more: object
) -> QuantStudent:
    """The student with one threshold for a layer, its range proven anew."""
    layers = list(student.layers)
    layer = layers[number]
    assert isinstance(layer, SynapticLayer)
    changed = msgspec.structs.replace(layer, threshold=np.full(layer.channels, threshold, np.int32), **more)
    bound = prove_layer(changed, ensemble.encoder, number == 0, multiplicities(tuple(layers))[number])
    if bound is None or bound.width > 32:
        raise ValueError("no such layer")
    layers[number] = msgspec.structs.replace(changed, bound=bound)
    return msgspec.structs.replace(student, layers=tuple(layers))


def firing(ensemble: QuantEnsemble, rate: float) -> QuantEnsemble:
    """The ensemble with thresholds at which about that share of each layer's neurons fires."""
    students = []
    for student in ensemble.students:
        for number in range(len(student.layers) - 1):
            low, high = 1, 2**20
            while high - low > 1 + low // 8:
                middle = int((low * high) ** 0.5) + 1 if low > 4 else (low + high) // 2
                student = with_threshold(ensemble, student, number, middle)
                if _rate(ensemble, student, number) > rate:
                    low = middle
                else:
                    high = middle
        students.append(student)
    return msgspec.structs.replace(ensemble, students=tuple(students))


def _rate(ensemble: QuantEnsemble, student: QuantStudent, number: int) -> float:
    model = msgspec.structs.replace(ensemble, students=(student,), order=(0,), policy=ALL)
    ran = ReferenceEngine(model).run(_inputs(model, 8), ALL, None)
    place = model.spike_layers.index((0, number))
    return float(ran.values["spikes"][:, place].mean()) / (student.neurons_of(number) * model.encoder.timesteps)


def _inputs(model: QuantEnsemble, count: int) -> np.ndarray:
    rng = np.random.default_rng(7)
    values = rng.normal(0, 40, (count, model.encoder.input_bytes)).clip(-127, 127)
    return np.rint(values).astype(np.int8).view(np.uint8)


def counted(
    ensemble: QuantEnsemble, board: str, inputs: np.ndarray, policies: Sequence[ActivationPolicy]
) -> tuple[np.ndarray, int, int]:
    """Instructions [policies, inputs], the deepest stack, and the bytes of tables in the image."""
    counts = np.zeros((len(policies), len(inputs)), np.int64)
    stack = 0
    with connect(ensemble, f"qemu:{board}") as (device, firmware):
        assert firmware is not None
        for n, row in enumerate(inputs):
            device.load(row.tobytes())
            for k, policy in enumerate(policies):
                found = device.bench(1, policy)
                assert found.unit == "instructions"
                counts[k, n], stack = found.total, max(stack, found.stack_bytes)
    return counts, stack, firmware.table_bytes


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.examines(bodies=4)
def test_modelled_instructions_are_as_near_the_emulators_as_documented(
    board: str, require_tool: Callable[..., None], examined: Counter[str]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    errors = []
    for shape, timesteps, sizes in BODIES:
        model = firing(sketch(shape, 10, timesteps, 1, sizes), 0.12)
        if state_layout(model).bytes > 6000 and board == "microbit":
            continue
        inputs = _inputs(model, 4)
        ops = ReferenceEngine(model).run(inputs, ALL, None).layer_ops[0].mean(axis=0)
        rates = [rates_of(model, state_layout(model), 0, list(ops))]
        told = need(model, CORES[board], [ALL], rates)
        counts, stack, tables = counted(model, board, inputs, [ALL])
        errors.append(told.estimates[0].mean / counts.mean() - 1)
        assert stack <= told.stack_bytes <= stack + 320
        assert abs(told.table_bytes - tables) <= 64  # the compiler leaves out what no code names, and aligns
        examined["bodies"] += 1
    assert max(map(abs, errors)) < WITHIN[board] and float(np.median(np.abs(errors))) < 0.20, errors


@pytest.mark.parametrize("board", ("microbit", "mps2-an386", "mps3-an547", "riscv32-virt"))
@pytest.mark.examines(inferences=80, full=20)
def test_no_input_takes_more_instructions_or_stack_than_the_bound(
    board: str, require_tool: Callable[..., None], examined: Counter[str]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    ratios = []
    for seed in range(100, 104):
        rng = random.Random(seed)
        model = random_ensemble(rng)
        if seed % 2:
            model = _eager(model)
        inputs = random_inputs(rng, model)
        policies = [ALL, *{p.kind: p for p in every_policy(rng, model)}.values()]
        told = need(model, CORES[board], policies)
        counts, stack, _ = counted(model, board, inputs, policies)
        for policy, row, estimate in zip(policies, counts, told.estimates, strict=True):
            assert row.max() <= estimate.worst, (seed, policy, row.max(), estimate.worst)
            examined["inferences"] += len(row)
        assert stack <= told.stack_bytes
        ratios.append(told.estimates[0].worst / counts[0].max())
        examined["full"] += len(policies)
    assert min(ratios) < 1.25 and float(np.median(ratios)) < 2.0, ratios


def _eager(ensemble: QuantEnsemble) -> QuantEnsemble:
    """The ensemble with every threshold at its least and no weight below 0, where that can be proven."""
    students = []
    for student in ensemble.students:
        for number, layer in enumerate(student.layers[:-1]):
            if isinstance(layer, SynapticLayer):
                weight = np.maximum(layer.weight, 0)
                with contextlib.suppress(ValueError):
                    student = with_threshold(ensemble, student, number, 1, weight=weight)
        students.append(student)
    with contextlib.suppress(ValueError):
        return msgspec.structs.replace(ensemble, students=tuple(students))
    return ensemble


def test_a_bound_holds_at_every_share_of_spikes_and_grows_with_the_students() -> None:
    model = load("mnist1d")
    first, second, every = (
        need(model, "cortex-m4", [policy]).estimates[0]
        for policy in (ActivationPolicy("first", students=1), ActivationPolicy("first", students=2), ALL)
    )
    assert first.worst < second.worst < every.worst
    for rate in (0.0, 0.01, 0.1, 0.3, 0.7, 1.0):
        shares = [list(part) for part in assumed_rates(model, rate)]
        mean = need(model, "cortex-m4", [ALL], shares).estimates[0].mean
        assert mean is not None and 0 < mean < every.worst


def test_neurons_that_no_input_makes_fire_lower_the_bound() -> None:
    model = load("mnist1d")

    silent = tuple(with_threshold(model, student, 1, 30_000) for student in model.students)
    quiet = msgspec.structs.replace(model, students=silent)
    assert firing_shares(quiet.students[0])[1] == 0 < firing_shares(model.students[0])[1]
    assert need(quiet, "cortex-m4", [ALL]).estimates[0].worst < 0.8 * need(model, "cortex-m4", [ALL]).estimates[0].worst


@pytest.mark.parametrize("name", ("mnist1d", "fsdd"))
def test_trained_models_are_within_a_tenth(name: str, require_tool: Callable[..., None]) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    model = load(name)
    inputs, layout = model.vectors.inputs[:6], state_layout(model)
    ops = ReferenceEngine(model).run(inputs, ALL, None).layer_ops
    rates = [rates_of(model, layout, k, list(found.mean(axis=0))) for k, found in enumerate(ops)]
    told = need(model, "cortex-m4", [ALL], rates).estimates[0]
    counts, _, _ = counted(model, "mps2-an386", inputs, [ALL])
    assert told.mean is not None and abs(told.mean / counts.mean() - 1) < 0.10, (told, counts.mean())
    assert counts.max() <= told.worst


def test_every_core_that_firmware_is_built_for_is_known() -> None:
    for target in all_targets():
        if target.tools is None:
            with pytest.raises(SneError, match=f"costs on {target.name} are not known"):
                core_costs(target.name)
        else:
            assert core_costs(target.name).mean


def test_the_stored_costs_belong_to_this_runtime() -> None:
    for name, core in json.loads(STORED.read_text()).items():
        assert core["runtime"] == runtime_digest(), (
            f"the runtime has changed, and {name} was not measured: make cost-model"
        )


def test_inspect_prints_the_mean_beside_the_bound(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run(["inspect", "mnist1d", "--target", "m4", "--policy", "all", "--policy", "own", "--json"]) == 0
    told = msgspec.convert(json.loads(capsys.readouterr().out)["target"], Need)
    assert told.target == "cortex-m4" and [e.policy.split(":")[0] for e in told.estimates] == ["all", "cascade"]
    assert all(e.mean is not None and e.mean < e.worst for e in told.estimates)
    assert run(["inspect", "mnist1d", "--target", "cortex-m4"]) == 0
    out = capsys.readouterr().out
    assert "no input takes more than" in out and f"{told.estimates[0].worst:,}" in out
    assert run(["inspect", "mnist1d", "--target", "cortex-m99"]) == 1
    assert "hint: " in capsys.readouterr().err
    path = tmp_path / "graph.sne"
    save(random_graph_ensemble(random.Random(3)), path)
    assert run(["inspect", str(path), "--target", "cortex-m4"]) == 1
    assert "graph" in capsys.readouterr().err


def test_sizes_that_make_no_network_are_refused() -> None:
    with pytest.raises(SneError, match="no network"):
        sketch((1, 40, 1), 10, 2, 1, Sizes((8,), (300,), (1,)))


def test_a_board_is_named_for_each_core() -> None:
    assert {board: resolve_board(board).target for board in CORES} == CORES


def test_a_cascades_mean_lies_between_one_student_and_all() -> None:
    model = load("mnist1d")
    policies = [ActivationPolicy("first", students=1), model.policy, ALL]
    one, cascade, every = (e.mean for e in need(model, "cortex-m4", policies).estimates)
    assert one is not None and cascade is not None and every is not None and one < cascade < every
