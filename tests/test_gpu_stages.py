# ruff: noqa: F811  (fixtures of another file, imported)
"""The stages on a GPU: each computes there, and what is exact is the same there; shown where there is none."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from elsewhere import Elsewhere
from graph_strategies import random_graph_ensemble
from strategies import random_ensemble
from test_devices import BODY, CLASSES, RECIPE, SHAPE, data, lessons, teacher  # noqa: F401  (fixtures)

from sne_edge.check import reference
from sne_edge.check.verify import ReferenceEngine
from sne_edge.data.dataset import Dataset
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.learn import distill as distilling
from sne_edge.learn.augmentation import Augmentation
from sne_edge.learn.device import CPU, Device
from sne_edge.learn.distill import Job, distill, teach
from sne_edge.learn.executor import run_jobs
from sne_edge.learn.fit import Plan, fit
from sne_edge.learn.lessons import Lessons
from sne_edge.learn.networks import TeacherNet
from sne_edge.learn.partition import Source, make_partition
from sne_edge.learn.student import Ensemble
from sne_edge.learn.teacher import accuracy, extract
from sne_edge.learn.views import views
from sne_edge.pipeline import stages

pytestmark = pytest.mark.usefixtures("one_thread")
GPU = Elsewhere("cpu")


@contextmanager
def strayed() -> Iterator[list[str]]:
    """What is read back of tensors without contents, which mix with no others, by the end."""
    seen: list[str] = []
    try:
        yield seen
    except NotImplementedError as error:
        seen.append(str(error))


def test_the_reference_computes_nothing_but_there_until_it_reads_its_results() -> None:
    """Of tensors without contents nothing can be read back, nor be mixed with those of the processor."""
    examined, rng = {"chain": 0, "graph": 0}, random.Random(7)
    for number in range(16):
        made: QuantEnsemble = random_graph_ensemble(rng, chains=False) if number % 2 else random_ensemble(rng)
        inputs = np.zeros((3, made.encoder.input_bytes), np.uint8)
        with strayed() as told:
            reference.run_student(made, 0, inputs, where="meta")
        assert len(told) == 1 and "out of meta tensor" in told[0]
        examined["graph" if number % 2 else "chain"] += 1
    assert examined == {"chain": 8, "graph": 8}


def test_figures_and_margins_of_the_reference_do_not_depend_on_where_it_computes(
    data: Dataset,
    lessons: tuple[Ensemble, Lessons],
) -> None:
    given, taught = lessons
    torch.manual_seed(0)
    made = distill(Ensemble(given.partition, BODY, given.encoder), taught, RECIPE)
    integers = stages.integers(made, "stripes", data)
    here, there = (stages.calibrated(integers, data, 0.5, 4, 0, device=device) for device in (CPU, GPU))
    assert here.policy == there.policy and here.order == there.order
    assert [s.layer_ops for s in here.students] == [s.layer_ops for s in there.students]
    inputs = here.encoder.encode(data.x_test)
    one, other = (ReferenceEngine(here, where).run(inputs, None, None).values for where in ("cpu", "cpu:0"))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_a_teacher_is_judged_there_and_comes_back(data: Dataset, teacher: TeacherNet) -> None:
    assert accuracy(teacher, data.x_test, data.y_test) == accuracy(teacher, data.x_test, data.y_test, GPU)
    with strayed() as told:
        accuracy(teacher, data.x_test[:8], data.y_test[:8], Device("meta"))
    assert len(told) == 1
    teacher.to_empty(device="cpu")
    torch.manual_seed(0)
    teacher.load_state_dict(type(teacher)(SHAPE, CLASSES, width=4).state_dict())


def test_views_are_made_there_the_first_being_the_sample(data: Dataset) -> None:
    how = Augmentation(mirror=True)
    one, same, other = (views(data.x_train, 3, seed, how, device=GPU) for seed in (1, 1, 2))
    assert one.shape == (3, *data.x_train.shape) and one.dtype == np.float32
    assert np.array_equal(one[0], data.x_train.astype(np.float32)) and np.array_equal(one, same)
    assert not np.array_equal(one[1], one[2]) and not np.array_equal(one[1:], other[1:])
    assert abs(float(one[1].std() / one[0].std()) - 1) < 0.05
    with strayed() as told:
        views(data.x_train, 2, 1, how, device=Device("meta"))
    assert len(told) == 1


def test_the_learnt_partition_is_the_same_there(data: Dataset, teacher: TeacherNet) -> None:
    said = extract(teacher, data.x_train[None])
    weight, bias = (t.detach().numpy() for t in (teacher.classifier.weight, teacher.classifier.bias))
    source = Source(said.features[0], said.logits[0], data.y_train, weight, bias)
    one, other = (make_partition("disentangled", replace(source, device=device), 2) for device in (None, GPU))
    assert np.array_equal(one.projection, other.projection) and np.array_equal(one.weight, other.weight)


@pytest.mark.parametrize("live", [False, True])
def test_students_of_a_gpu_learn_in_processes_what_they_learn_one_after_another(
    lessons: tuple[Ensemble, Lessons],
    teacher: TeacherNet,
    tmp_path: Path,
    live: bool,
) -> None:
    """One process that starts all students' small kernels is slower than a GPU computes them."""
    given, taught = lessons
    recipe = replace(RECIPE, live=live, joint=0, rounded=0)
    jobs = [
        Job(given.partition, BODY, given.encoder, recipe, k, taught, 3, None, None, GPU, teacher if live else None)
        for k in range(2)
    ]
    wanted = run_jobs(teach, jobs)
    torch.manual_seed(3)
    ensemble = Ensemble(given.partition, BODY, given.encoder)
    made = distill(
        ensemble, taught, recipe, seed=3, executor="processes:2", folder=tmp_path, device=GPU, teacher=teacher
    )
    weights = 0
    for k, state in enumerate(wanted):
        readout = made.students[k].state_dict()
        for name in ("readout.weight", "readout.bias"):
            assert torch.equal(readout[name], state["student"][name])
            weights += readout[name].numel()
    assert weights > 100 and (tmp_path / "lessons" / "x.npy").exists()


def test_a_teacher_of_a_users_own_answers_in_this_process(teacher: TeacherNet) -> None:
    class Own(TeacherNet):
        """Known here alone."""

    assert distilling._travels(teacher) and distilling._travels(None) and not distilling._travels(Own())


def test_too_small_a_memory_says_what_to_do(
    lessons: tuple[Ensemble, Lessons],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given, taught = lessons

    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(distilling, "run_jobs", full)
    with pytest.raises(SneError, match="too small for 2 students at once") as told:
        distill(
            Ensemble(given.partition, BODY, given.encoder), taught, RECIPE, executor="processes:2", folder=tmp_path,
            device=GPU,
        )  # fmt: skip
    assert "inline" in told.value.hint


def test_a_checkpoint_is_written_for_a_twentieth_of_the_time_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long to write, and would be written each short epoch, is written seldom; what is quick, always."""
    from sne_edge.learn import fit as fitting

    clock, written = [0.0], {"slow": 0, "quick": 0}
    monkeypatch.setattr(fitting.time, "monotonic", lambda: clock[0])
    for kind, seconds in (("slow", 3.0), ("quick", 0.01)):
        net = torch.nn.Linear(2, 2)

        def write(path: Path, content: object, kind: str = kind, seconds: float = seconds) -> None:
            clock[0] += seconds
            written[kind] += 1

        def loss(pick: np.ndarray, generator: np.random.Generator, net: torch.nn.Linear = net) -> torch.Tensor:
            clock[0] += 1.0
            return net.weight.square().sum()

        monkeypatch.setattr(fitting, "write_checkpoint", write)
        fit(net, loss, 4, Plan(100, 4), stage="test", checkpoint=tmp_path / f"{kind}.pt")
    assert written["quick"] == 100 and written["slow"] == 3  # the last epoch is always kept
