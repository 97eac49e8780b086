"""Devices: everything that learns is where it was sent, loops read nothing back, and a processor's outcome stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from sne_edge.data.dataset import Dataset, split
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder
from sne_edge.learn.augmentation import Augmentation
from sne_edge.learn.course import Course
from sne_edge.learn.device import CPU, Device, find_device
from sne_edge.learn.distill import Job, distill, teach, teach_all
from sne_edge.learn.fit import Plan, fit
from sne_edge.learn.lessons import Lessons, Tutor
from sne_edge.learn.networks import ResidualTeacher, TeacherNet
from sne_edge.learn.partition import Source, make_partition
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.student import Body, Ensemble
from sne_edge.learn.teacher import accuracy, extract, train_teacher
from sne_edge.learn.views import Augmenter, to_torch

SHAPE, CLASSES, COUNT = (12, 12, 2), 3, 48
RECIPE = Recipe(alone=1, joint=1, rounded=1, batch=16, each=0.5, anew=True, half=True)
EVERYTHING = Augmentation(mirror=True, flip=True, stretch=0.1, crop=0.1, rotate=9.0, erase=0.2)
BODY = Body((4, 6), (3, 3), (2, 2), pool=True)


pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Stripes of three directions, easily told apart."""
    rng = np.random.default_rng(0)
    y = np.arange(160) % CLASSES
    rows, columns = np.mgrid[:12, :12]
    phase = np.stack([rows, columns, rows + columns])[y] * 1.2 + rng.uniform(0, 6, (160, 1, 1))
    x = np.stack([np.sin(phase), np.cos(phase)], axis=-1) + 0.2 * rng.normal(size=(160, *SHAPE))
    return replace(split("stripes", x, y, layout="NHWC"), mirrored=True)


@pytest.fixture(scope="module")
def teacher() -> TeacherNet:
    torch.manual_seed(0)
    return ResidualTeacher(SHAPE, CLASSES, width=4).eval()


@pytest.fixture(scope="module")
def lessons(data: Dataset, teacher: TeacherNet) -> tuple[Ensemble, Lessons]:
    x = data.x_train[None]
    said = extract(teacher, x)
    weight, bias = (t.detach().numpy() for t in (teacher.classifier.weight, teacher.classifier.bias))
    source = Source(said.features[0], said.logits[0], data.y_train, weight, bias)
    partition = make_partition("contiguous", source, 2)
    torch.manual_seed(0)
    ensemble = Ensemble(partition, BODY, Encoder("direct", SHAPE, 2, scale=0.02))
    taught = Lessons(x, partition.targets(said.features), said.logits, data.y_train, data.x_val, data.y_val)
    return ensemble, taught


class Nowhere(Device):
    """Torch's device of tensors without contents, for which it has no autocast."""

    def autocast(self, wanted: bool) -> torch.autocast:
        return torch.autocast("cpu", torch.bfloat16, enabled=False)


def test_lessons_views_live_teacher_and_losses_lie_on_the_device_alone(
    lessons: tuple[Ensemble, Lessons], teacher: TeacherNet
):
    """Tensors without contents cannot be read back, nor be mixed with those of the processor."""
    given, taught = lessons
    examined = 0
    device = Nowhere("meta")
    for recipe in (RECIPE, replace(RECIPE, live=True, each=0.0), replace(RECIPE, anew=False, each=1.0)):
        ensemble = Ensemble(given.partition, BODY, given.encoder).to("meta")
        course = Course(ensemble, Tutor(taught, recipe, device, teacher, EVERYTHING, chunks=ensemble.partition))
        batch = course.draw(np.arange(16), np.random.default_rng(0))
        assert batch.x.shape == (16, 2, 12, 12) and batch.targets.shape == (16, 16)
        for loss in (course.alone(1, batch), course.together(batch)):
            assert loss.device.type == "meta"
            loss.backward()
            examined += 1
        assert all(p.grad is None or p.grad.device.type == "meta" for p in ensemble.parameters())
    assert examined == 6
    with pytest.raises(RuntimeError):  # what the test relies on
        batch.x + torch.zeros(batch.x.shape)


class Read(TorchDispatchMode):
    """Counts values that are read back from tensors, as `.item()` does, which make a GPU wait."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_a_loop_reads_nothing_back_between_batches(lessons: tuple[Ensemble, Lessons], teacher: TeacherNet):
    given, taught = lessons
    counts = []
    for batch in (64, 8):
        torch.manual_seed(0)
        ensemble = Ensemble(given.partition, BODY, given.encoder)
        course = Course(ensemble, Tutor(taught, replace(RECIPE, live=True), CPU, teacher, chunks=ensemble.partition))
        steps = 0

        def loss(pick: np.ndarray, generator: np.random.Generator, course: Course = course) -> torch.Tensor:
            nonlocal steps
            steps += 1
            return course.together(course.draw(pick, generator))

        with Read() as read:
            fit(ensemble, loss, COUNT, Plan(1, batch, sgd=True), stage="test")
        assert steps == max(1, COUNT // batch)
        counts.append(read.count)
    assert counts[0] == counts[1] == 1  # the epoch's loss, which is told


def test_students_taught_at_once_learn_what_each_alone_would_learn_from_the_same_batches(
    lessons: tuple[Ensemble, Lessons],
):
    given, taught = lessons
    jobs = [
        Job(given.partition, BODY, given.encoder, replace(RECIPE, half=False, anew=False), k, taught, -1000 * (k + 1),
            None, None)
        for k in range(2)
    ]  # fmt: skip
    jobs = [replace(job, seed=7) for job in jobs]
    both = teach_all(jobs)
    for k, job in enumerate(jobs):
        torch.manual_seed(7)
        ensemble = Ensemble(job.partition, job.body, job.encoder)
        course = job.course(ensemble, taught)
        pair = torch.nn.ModuleDict({"student": ensemble.students[k], "head": ensemble.heads[k]})

        def loss(pick: np.ndarray, generator: np.random.Generator, k: int = k, course: Course = course) -> torch.Tensor:
            return course.alone(k, course.draw(pick, generator))

        fit(pair, loss, len(taught.labels), Plan(1, 16, job.recipe.rate), stage="test", seed=7)
        for name, value in pair["student"].state_dict().items():
            assert torch.equal(value, both[k]["student"][name]), name


def test_a_job_is_taught_the_same_wherever_its_device_is_the_processor(lessons: tuple[Ensemble, Lessons]):
    given, taught = lessons
    job = Job(given.partition, BODY, given.encoder, RECIPE, 0, taught, 3, None, None)
    first, second = teach(job), teach(replace(job, device=Device("cpu", "auto")))
    assert all(torch.equal(v, second["student"][k]) for k, v in first["student"].items())


def test_an_ensemble_comes_back_to_the_processor_in_float_form(lessons: tuple[Ensemble, Lessons]):
    given, taught = lessons
    torch.manual_seed(0)
    ensemble = Ensemble(given.partition, BODY, given.encoder)
    made = distill(ensemble, taught, replace(RECIPE, live=False), device=Device("cpu", "bfloat16"))
    assert {p.device.type for p in made.parameters()} == {"cpu"} and not made.rounded


def test_views_made_where_samples_are_have_the_spread_of_those_that_are_kept(data: Dataset):
    torch.manual_seed(0)
    x = np.repeat(data.x_train[:1], 4000, axis=0)
    both = Augmenter(Augmentation(mirror=True))
    kept = to_torch(both.kept(x, np.random.default_rng(0)))
    anew = both.anew(to_torch(x), float(x.std()))
    assert torch.allclose(kept.mean(0), anew.mean(0), atol=0.1) and torch.allclose(kept.std(0), anew.std(0), atol=0.1)
    far = Augmenter(Augmentation(shift=0)).anew(to_torch(x[:64]), 0.0)
    assert torch.allclose(far / far.abs().amax((1, 2, 3), keepdim=True), far[:1] / far[:1].abs().max(), atol=1e-5)


def test_a_teacher_in_bfloat16_learns_what_one_in_float32_does(data: Dataset):
    found = [
        accuracy(train_teacher(data, epochs=25, seed=1, device=Device("cpu", precision)), data.x_test, data.y_test)
        for precision in ("float32", "bfloat16")
    ]
    assert min(found) > 0.9


@pytest.mark.parametrize(
    ("name", "precision", "told"),
    [
        ("gpu", "auto", "there is no device"),
        ("cpu", "half", "there is no precision"),
        ("cuda:99", "auto", "torch finds"),
    ],
)
def test_devices_that_are_not_here_are_refused_before_anything_learns(name: str, precision: str, told: str):
    with pytest.raises(SneError, match=told):
        find_device(name, precision)


def test_a_processor_is_found_where_there_is_nothing_else():
    assert find_device("cpu") == CPU and CPU.key == () and Device("cpu", "float32").key == ("cpu", "float32")
