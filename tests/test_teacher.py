"""Teachers: training, adapters, and the feature cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sne_edge.data.dataset import Dataset, load_dataset, split
from sne_edge.errors import SneError
from sne_edge.learn.augmentation import Augmentation
from sne_edge.learn.networks import ConvTeacher, ModuleTeacher, as_teacher, build_teacher
from sne_edge.learn.teacher import PROBES, accuracy, count_macs, extract, fingerprint, train_teacher
from sne_edge.learn.views import Augmenter, to_torch, views

SHAPE = (1, 16, 1)


@pytest.fixture(scope="module")
def small() -> Dataset:
    """Three classes of 1-D samples, easily told apart."""
    rng = np.random.default_rng(0)
    y = np.arange(240) % 3
    x = np.sin(np.arange(16) * (y[:, None] + 1) / 3) + 0.1 * rng.normal(size=(240, 16))
    return split("waves", x, y)


@pytest.fixture
def teacher() -> ConvTeacher:
    torch.manual_seed(0)
    return ConvTeacher(SHAPE, 3, width=4, features=6).eval()


def test_the_teacher_learns_and_a_seed_makes_the_same_one(small: Dataset):
    first = train_teacher(small, epochs=4, seed=1)
    assert accuracy(first, small.x_test, small.y_test) > 0.9
    assert fingerprint(first) == fingerprint(train_teacher(small, epochs=4, seed=1))
    assert fingerprint(first) != fingerprint(train_teacher(small, epochs=4, seed=2))


def test_the_built_in_teacher_takes_images_too():
    net = ConvTeacher((8, 8, 3), 5, width=4, features=6).eval()
    assert net.features(torch.zeros(2, 3, 8, 8)).shape == (2, 6)
    assert net(torch.zeros(2, 3, 8, 8)).shape == (2, 5)


def test_macs_are_counted_by_hand_the_same(teacher: ConvTeacher):
    assert count_macs(teacher, SHAPE) == 16 * 4 * 5 + 8 * 4 * 20 + 4 * 4 * 20 + 16 * 6 + 6 * 3


def test_any_module_with_features_and_a_linear_classifier_is_a_teacher():
    module = nn.Module()
    module.features, module.classifier = nn.Flatten(), nn.Linear(16, 3)
    made = as_teacher(module)
    x = torch.randn(2, 1, 1, 16)
    assert torch.equal(made(x), module.classifier(x.flatten(1)))


def test_features_may_be_a_method():
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.dense, self.classifier = nn.Linear(16, 5), nn.Linear(5, 3)

        def features(self, x: torch.Tensor) -> torch.Tensor:
            return self.dense(x.flatten(1))

    net = Net()
    made, x = as_teacher(net), torch.randn(2, 1, 1, 16)
    assert torch.equal(made(x), net.classifier(net.dense(x.flatten(1))))


def test_a_module_that_cannot_teach_is_refused():
    with pytest.raises(SneError, match="features"):
        as_teacher(nn.Linear(2, 2))
    with pytest.raises(SneError, match="classifier"):
        ModuleTeacher(nn.Flatten(), nn.ReLU())  # type: ignore[arg-type]


def test_views_are_deterministic_and_the_first_is_the_sample_itself(small: Dataset):
    one = views(small.x_train, 3, seed=5)
    assert (one[0] == small.x_train).all()
    assert (one == views(small.x_train, 3, seed=5)).all()
    assert not np.array_equal(one[1], one[2])


def test_every_other_view_is_mirrored_where_that_keeps_the_class():
    ramp = np.broadcast_to(np.arange(16.0), (200, 1, 16))[..., None].astype(np.float32)
    made = Augmenter(Augmentation(mirror=True)).kept(ramp, np.random.default_rng(0))
    falling = int((made[:, 0, 12, 0] < made[:, 0, 3, 0]).sum())
    assert 70 < falling < 130
    assert (Augmenter().kept(ramp, np.random.default_rng(0))[:, 0, 12, 0] > 5).all()


def test_augmentation_keeps_the_shape_of_images(small: Dataset):
    image = np.random.default_rng(0).normal(size=(4, 6, 7, 2)).astype(np.float32)
    assert Augmenter().kept(image, np.random.default_rng(0)).shape == image.shape


def test_features_and_logits_are_the_teachers(small: Dataset, teacher: ConvTeacher):
    made = extract(teacher, views(small.x_val, 2, 0))
    with torch.no_grad():
        f = teacher.features(to_torch(small.x_val))
    assert made.features.shape == (2, len(small.x_val), 6)
    assert np.allclose(made.features[0], f.numpy(), atol=1e-5)


def test_features_are_read_back_from_the_cache(small: Dataset, teacher: ConvTeacher, tmp_path: Path, monkeypatch):
    x = small.x_val[None]
    first = extract(teacher, x, tmp_path)
    compute = ConvTeacher.features
    monkeypatch.setattr(  # a few samples tell whether the teacher is the same
        ConvTeacher, "features", lambda self, x: pytest.fail("computed again") if len(x) > PROBES else compute(self, x)
    )
    assert (extract(teacher, x, tmp_path).features == first.features).all()


def test_another_teacher_or_other_data_are_not_answered_from_the_cache(
    small: Dataset, teacher: ConvTeacher, tmp_path: Path
):
    extract(teacher, small.x_val[None], tmp_path)
    extract(teacher, small.x_val[None] + 1, tmp_path)
    extract(ConvTeacher(SHAPE, 3, width=4, features=6).eval(), small.x_val[None], tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("damage", [b"", b"\xff" * 64, None], ids=["empty", "garbage", "cut off"])
def test_a_damaged_cache_file_is_replaced(small: Dataset, teacher: ConvTeacher, tmp_path: Path, damage: bytes | None):
    x = small.x_val[None]
    first = extract(teacher, x, tmp_path)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:-10] if damage is None else damage)
    assert (extract(teacher, x, tmp_path).features == first.features).all()
    assert path.read_bytes() == whole and len(list(tmp_path.iterdir())) == 1


def test_a_cache_that_cannot_be_written_is_an_error_with_a_hint(small: Dataset, teacher: ConvTeacher, tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SneError, match="cache"):
        extract(teacher, small.x_val[None], tmp_path / "file" / "folder")


def test_mnist1d_is_what_the_built_in_teacher_is_sized_for():
    assert count_macs(ConvTeacher(load_dataset("mnist1d").shape, 10), (1, 40, 1)) == 668800


def test_attention_is_counted():
    """6 tokens of 8: projections in and out, queries by keys, weights by values, two linear layers of 16."""
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.layer(x.reshape(1, 6, 8))

    assert count_macs(Net(), (6, 8, 1)) == 6 * 8 * 8 * 4 + 2 * 6 * 6 * 8 + 2 * 6 * 8 * 16


@pytest.mark.parametrize("shape", [(1, 40, 1), (1, 64, 32), (8, 8, 1), (28, 28, 1), (32, 32, 3), (2, 20, 1)])
def test_teachers_of_two_sizes_fit_every_shape_and_the_large_one_is_larger(shape: tuple[int, int, int]):
    macs = []
    for size in ("small", "large"):
        net = build_teacher(size, shape, 10).eval()
        x = torch.zeros(2, shape[2], shape[0], shape[1])
        assert net(x).shape == (2, 10) and net.features(x).shape == (2, net.classifier.in_features)
        macs.append(count_macs(net, shape))
    assert macs[1] > 2 * macs[0]


def test_digits_are_not_mirrored_and_views_of_mirrored_data_have_a_cache_of_their_own(
    small: Dataset, teacher: ConvTeacher, tmp_path: Path
):
    assert not small.mirrored and not load_dataset("mnist1d").mirrored
    for mirrored in (False, True):
        extract(teacher, views(small.x_val, 2, 0, Augmentation(mirror=mirrored)), tmp_path)
    assert len(list(tmp_path.iterdir())) == 2
