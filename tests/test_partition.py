"""Partitions: every scheme shares out all features evenly and changes no logit of the teacher."""

from __future__ import annotations

import numpy as np
import pytest

from sne_edge.errors import SneError
from sne_edge.partition import SCHEMES, Partition, Source, deal, make_partition, prefix_accuracy, scheme

CLASSES, D = 4, 12


@pytest.fixture(scope="module")
def source() -> Source:
    """Features of four noisy classes, with a least-squares classifier."""
    rng = np.random.default_rng(0)
    labels = np.arange(400) % CLASSES
    features = np.maximum(0, rng.normal(size=(CLASSES, D))[labels] * 2 + 0.5 * rng.normal(size=(400, D)) + 1)
    features = features.astype(np.float32)
    design = np.c_[features, np.ones(400)]
    solution = np.linalg.lstsq(design, 5 * np.eye(CLASSES)[labels], rcond=None)[0].astype(np.float32)
    weight, bias = solution[:-1].T.copy(), solution[-1].copy()
    return Source(features, (features @ weight.T + bias).astype(np.float32), labels.astype(np.int64), weight, bias)


@pytest.mark.parametrize("name", sorted(SCHEMES.keys() - {"whole"}))
@pytest.mark.parametrize("students", [1, 3, 5])
def test_every_feature_has_one_owner_and_chunks_are_balanced(name: str, students: int, source: Source):
    made = make_partition(name, source, students)
    counts = np.bincount(made.owner, minlength=students)
    assert counts.sum() == D and counts.max() - counts.min() <= 1
    assert sorted(np.concatenate([made.chunk(k) for k in range(students)])) == list(range(D))


def test_without_a_partition_every_student_learns_everything_and_all_sum_to_the_teacher(source: Source):
    made = make_partition("whole", source, 3)
    targets = made.targets(source.features)
    parts = [targets[:, made.chunk(k)] for k in range(3)]
    assert all(np.array_equal(part, parts[0]) and part.shape == (400, D) for part in parts)
    assert np.allclose(targets @ made.weight.T + made.bias, source.logits, atol=1e-3)


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_targets_have_mean_zero_and_deviation_one(name: str, source: Source):
    targets = make_partition(name, source, 3).targets(source.features)
    assert np.abs(targets.mean(axis=0)).max() < 1e-3
    assert np.abs(targets.std(axis=0) - 1).max() < 1e-2


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_a_seed_makes_the_same_partition(name: str, source: Source):
    one, same = make_partition(name, source, 3, seed=4), make_partition(name, source, 3, seed=4)
    assert (one.owner == same.owner).all() and (one.projection == same.projection).all()


@pytest.mark.parametrize("name", ["contiguous", "random", "correlation"])
def test_all_chunks_of_a_plain_partition_give_the_teachers_logits(name: str, source: Source):
    made = make_partition(name, source, 3)
    logits = made.targets(source.features) @ made.weight.T + made.bias
    assert np.allclose(logits, source.logits, atol=1e-3)


def test_correlated_features_end_up_together(source: Source):
    rng = np.random.default_rng(1)
    groups = rng.permutation(np.arange(D) % 3)
    base = rng.normal(size=(400, 3))
    features = (base[:, groups] + 0.1 * rng.normal(size=(400, D))).astype(np.float32)
    made = make_partition("correlation", Source(features, source.logits, source.labels, source.weight, source.bias), 3)
    assert all(len(set(made.owner[groups == g])) == 1 for g in range(3))


def test_the_first_disentangled_chunk_classifies_better_than_a_contiguous_one(source: Source):
    plain, informed = (make_partition(n, source, 4) for n in ("contiguous", "disentangled"))
    before, after = (prefix_accuracy(p, source.features, source.labels) for p in (plain, informed))
    assert after[0] > before[0] + 0.02
    assert after[-1] >= before[-1] - 0.01


def test_a_feature_that_never_changes_does_no_harm(source: Source):
    features = source.features.copy()
    features[:, 3] = 0
    for name in SCHEMES:
        made = make_partition(name, Source(features, source.logits, source.labels, source.weight, source.bias), 3)
        assert np.isfinite(made.targets(features)).all() and np.isfinite(made.weight).all()


def test_an_unknown_scheme_or_more_students_than_features_is_refused(source: Source):
    with pytest.raises(SneError, match="astrology") as caught:
        make_partition("astrology", source, 3)
    assert "disentangled" in caught.value.hint
    with pytest.raises(SneError, match="13 students"):
        make_partition("random", source, 13)


def test_a_partition_that_leaves_a_student_without_features_is_refused(source: Source):
    with pytest.raises(SneError, match="partition"):
        deal("own", source, np.zeros(D, dtype=np.int64), 2)


def test_a_scheme_is_one_registered_function(source: Source, monkeypatch):
    monkeypatch.setattr("sne_edge.partition.SCHEMES", dict(SCHEMES))
    from sne_edge import partition

    monkeypatch.setitem(partition.SCHEMES, "every-other", None)

    @scheme("every-other")
    def every_other(given: Source, students: int, generator: np.random.Generator) -> Partition:
        return deal("every-other", given, np.arange(D) % students, students)

    assert list(make_partition("every-other", source, 2).chunk(1)) == [1, 3, 5, 7, 9, 11]
