"""The cost model: what it says before anything is built, held against firmware on emulated cores."""

from __future__ import annotations

import contextlib
import importlib
import json
import random
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
from graph_strategies import random_graph_ensemble
from sne_edge.codegen.layout import state_layout
from strategies import every_policy, random_ensemble, random_inputs

from sne_edge.cli import run
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.cost import COEFFICIENTS as STORED
from sne_edge.deploy.cost import (
    Need,
    core_costs,
    need,
    runtime_digest,
)
from sne_edge.deploy.rates import assumed_rates, firing_shares
from sne_edge.deploy.sketch import Sizes, sketch
from sne_edge.deploy.targets import RISCV, all_targets
from sne_edge.deploy.work import stage_work
from sne_edge.errors import SneError
from sne_edge.ir.artifact import load, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import SynapticLayer
from sne_edge.ir.policy import ActivationPolicy

ALL = ActivationPolicy("all")
BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
DOCS = Path(__file__).parent.parent / "docs"
ARM = ("arm-none-eabi-gcc", "qemu-system-arm")
WITHIN = 0.05  # how far the modelled mean may be from the emulator's
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
    ((14, 14, 1), 2, Sizes((16, 24), (3, 3), (2, 2), bits=4)),
    ((10, 10, 3), 2, Sizes((8, 16, 28), (3, 3, 3), (1, 2, 2), q15=True)),
]


@pytest.fixture
def need_board(board: str, require_tool: Callable[..., None]) -> None:
    """The tools of a board's core."""
    require_tool(*((f"{RISCV.prefix}gcc", RISCV.emulator) if board.startswith("riscv") else ARM))


@pytest.fixture(scope="module")
def heldout() -> Iterator[ModuleType]:
    """benchmarks/cost_heldout.py: scripts beside the package, not in it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("cost_heldout")


@pytest.fixture(scope="module")
def bodies(heldout: ModuleType) -> list[QuantEnsemble]:
    return [heldout.firing(sketch(shape, 10, timesteps, 1, sizes), 0.12) for shape, timesteps, sizes in BODIES]


@pytest.mark.parametrize("board", CORES)
@pytest.mark.examines(bodies=3)
def test_modelled_instructions_are_within_a_twentieth_of_the_emulators(
    board: str,
    heldout: ModuleType,
    bodies: list[QuantEnsemble],
    need_board: None,
    examined: Counter[str],
) -> None:
    for model in bodies:
        if state_layout(model).bytes > 6000 and board == "microbit":
            continue
        one = heldout.HeldOut("body", model, heldout.inputs_of(model, 4), "")
        ops = heldout.operations(one)
        counts, stack, tables = heldout.counted(model, board, one.inputs, [ALL])
        error = heldout.compare(one, board, counts[0], ops)
        assert abs(error.relative) < WITHIN and error.most <= error.worst, error
        told = need(model, CORES[board], [ALL])
        assert stack <= told.stack_bytes <= stack + 320
        assert abs(told.table_bytes - tables) <= 64  # the compiler leaves out what no code names, and aligns
        examined["bodies"] += 1


@pytest.mark.parametrize("board", CORES)
def test_outputs_left_over_cost_no_more_than_a_whole_group(board: str, need_board: None, heldout: ModuleType) -> None:
    """Kernels take outputs in groups of 8, 16 or 24; where fewer are left, they are not dearer than a whole one."""
    counts = []
    for channels in (12, 16):
        model = sketch((1, 24, 16), 10, 1, 1, Sizes((channels,), (5,), (3,)))
        counts.append(heldout.counted(model, board, heldout.inputs_of(model, 1), [ALL])[0].item())
    assert 0 < counts[0] <= counts[1]


def test_what_a_searchs_bodies_do_was_measured_on_every_core(bodies: list[QuantEnsemble]) -> None:
    for target in CORES.values():
        core = core_costs(target)
        for model in bodies:
            for stages, rates in zip(state_layout(model).stages, assumed_rates(model), strict=True):
                for k, (stage, some) in enumerate(zip(stages, rates, strict=True)):
                    work = stage_work(model.students[0], stage, k == 0, model.encoder.timesteps, some, core.kernels)
                    assert not {name for name, count in work.items() if count} - set(core.mean), (target, stage)


def test_the_documented_errors_are_those_that_were_counted() -> None:
    found = json.loads((DOCS / "results" / "cost-model.json").read_text())
    text = (DOCS / "MEASURING.md").read_text()
    assert set(found) == set(CORES.values())
    for core, rows in found.items():
        errors = [abs(row["modelled"] / row["counted"] - 1) for row in rows]
        assert len(errors) >= 20 and all(row["most"] <= row["worst"] for row in rows)
        within = sum(error <= 0.05 for error in errors)
        said = f"| {core} | {np.median(errors):.1%} | {max(errors):.1%} | {within} of {len(errors)} |"
        assert said in text, said


@pytest.mark.parametrize("board", ("microbit", "mps2-an386", "mps3-an547", "riscv32-virt"))
@pytest.mark.examines(inferences=80, full=20)
def test_no_input_takes_more_instructions_or_stack_than_the_bound(
    board: str, heldout: ModuleType, need_board: None, examined: Counter[str]
) -> None:
    ratios = []
    for seed in range(100, 104):
        rng = random.Random(seed)
        model = random_ensemble(rng)
        if seed % 2:
            model = _eager(model, heldout)
        inputs = random_inputs(rng, model)
        policies = [ALL, *{p.kind: p for p in every_policy(rng, model)}.values()]
        told = need(model, CORES[board], policies)
        counts, stack, _ = heldout.counted(model, board, inputs, policies)
        for policy, row, estimate in zip(policies, counts, told.estimates, strict=True):
            assert row.max() <= estimate.worst, (seed, policy, row.max(), estimate.worst)
            examined["inferences"] += len(row)
        assert stack <= told.stack_bytes
        ratios.append(told.estimates[0].worst / counts[0].max())
        examined["full"] += len(policies)
    assert min(ratios) < 1.25 and float(np.median(ratios)) < 2.0, ratios


def _eager(ensemble: QuantEnsemble, heldout: ModuleType) -> QuantEnsemble:
    """The ensemble with every threshold at its least and no weight below 0, where that can be proven."""
    students = []
    for student in ensemble.students:
        for number, layer in enumerate(student.layers[:-1]):
            if isinstance(layer, SynapticLayer):
                weight = np.maximum(layer.weight, 0)
                with contextlib.suppress(ValueError):
                    student = heldout.with_threshold(ensemble, student, number, 1, weight=weight)
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


def test_neurons_that_no_input_makes_fire_lower_the_bound(heldout: ModuleType) -> None:
    model = load("mnist1d")

    silent = tuple(heldout.with_threshold(model, student, 1, 30_000) for student in model.students)
    quiet = msgspec.structs.replace(model, students=silent)
    assert firing_shares(quiet.students[0])[1] == 0 < firing_shares(model.students[0])[1]
    assert need(quiet, "cortex-m4", [ALL]).estimates[0].worst < 0.8 * need(model, "cortex-m4", [ALL]).estimates[0].worst


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
