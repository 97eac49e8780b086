"""Partitions: every scheme shares out all features evenly and changes no logit of the teacher."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from sne_edge.errors import SneError
from sne_edge.learn.networks import ModuleTeacher
from sne_edge.learn.partition import SCHEMES, Partition, Source, deal, make_partition, prefix_accuracy, scheme
from sne_edge.learn.teacher import extract
from sne_edge.learn.tuning import Tuning, keep_chunks

CLASSES, D = 4, 12
UNTUNED = sorted(SCHEMES.keys() - {"disentangled-tuned"})
ROTATING = ["variance"]


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
    logits = (features @ weight.T + bias).astype(np.float32)
    backbone, classifier = nn.Sequential(nn.Flatten(), nn.Linear(D, D), nn.ReLU()), nn.Linear(D, CLASSES)
    for layer, (w, b) in {backbone[1]: (np.eye(D), np.zeros(D)), classifier: (weight, bias)}.items():
        layer.weight.data, layer.bias.data = (torch.tensor(a, dtype=torch.float32) for a in (w, b))
    tuning = Tuning(ModuleTeacher(backbone, classifier), features[None, :, None, None, :], logits[None], epochs=3)
    return Source(features, logits, labels.astype(np.int64), weight, bias, tuning)


def taught(made: Partition, source: Source) -> np.ndarray:
    """What students learn, of the teacher whose features the partition is of."""
    return made.targets(source.features if made.tuned is None else extract(made.tuned, source.tuning.x).features[0])


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
    targets = taught(make_partition(name, source, 3), source)
    assert np.abs(targets.mean(axis=0)).max() < 1e-3
    assert np.abs(targets.std(axis=0) - 1).max() < 1e-2


@pytest.mark.parametrize("name", sorted(SCHEMES))
def test_a_seed_makes_the_same_partition(name: str, source: Source):
    one, same = make_partition(name, source, 3, seed=4), make_partition(name, source, 3, seed=4)
    assert (one.owner == same.owner).all() and (one.projection == same.projection).all()
    assert (one.weight == same.weight).all()


@pytest.mark.parametrize("name", ["contiguous", "random", "correlation", "class-affinity", "variance"])
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


@pytest.mark.parametrize("name", ROTATING)
def test_a_rotation_is_orthogonal_and_dealt_out_evenly(name: str, source: Source):
    made = make_partition(name, source, 4)
    rows = made.projection / np.linalg.norm(made.projection, axis=1, keepdims=True)
    assert np.allclose(rows @ rows.T, np.eye(D), atol=1e-4)
    spread = (1 / np.linalg.norm(made.projection, axis=1)) ** 2  # variances of the components
    assert spread.sum() == pytest.approx(source.features.var(axis=0).sum(), rel=1e-3)


def test_principal_components_are_shared_out_from_the_largest_on(source: Source):
    made = make_partition("variance", source, 3)
    variances = 1 / np.linalg.norm(made.projection, axis=1) ** 2
    assert (np.diff(variances) <= 1e-4).all()
    assert made.owner.tolist() == [0, 1, 2, 2, 1, 0, 0, 1, 2, 2, 1, 0]
    targets = made.targets(source.features)
    assert np.abs(np.corrcoef(targets.T) - np.eye(D)).max() < 1e-2


@pytest.mark.parametrize("students", [2, 4, 6])
def test_features_go_to_the_student_of_the_classes_that_they_serve(students: int):
    rng = np.random.default_rng(2)
    labels, serves = np.arange(600) % CLASSES, rng.permutation(np.arange(D) % CLASSES)
    features = ((labels[:, None] == serves) + 0.05 * rng.normal(size=(600, D))).astype(np.float32)
    weight = (serves == np.arange(CLASSES)[:, None]).astype(np.float32)
    source = Source(features, features @ weight.T, labels, weight, np.zeros(CLASSES, np.float32))
    made = make_partition("class-affinity", source, students)
    groups = made.provenance["classes"]
    assert len(groups) == students and {c for group in groups for c in group} == set(range(CLASSES))
    if students <= CLASSES:
        assert all(serves[j] in groups[made.owner[j]] for j in range(D))


def test_the_first_disentangled_chunk_classifies_better_than_a_contiguous_one(source: Source):
    plain, informed = (make_partition(n, source, 4) for n in ("contiguous", "disentangled"))
    before, after = (prefix_accuracy(p, source.features, source.labels) for p in (plain, informed))
    assert after[0] > before[0] + 0.02
    assert after[-1] >= before[-1] - 0.01


def test_a_tuned_teacher_has_chunks_that_classify_in_order_and_leaves_the_first_teacher_alone(source: Source):
    before = [p.clone() for p in source.tuning.teacher.parameters()]
    made = make_partition("disentangled-tuned", source, 4)
    assert all(torch.equal(p, q) for p, q in zip(before, source.tuning.teacher.parameters(), strict=True))
    assert any(not torch.equal(p, q) for p, q in zip(before, made.tuned.teacher.parameters(), strict=True))
    found = extract(made.tuned, source.tuning.x)
    accuracies = prefix_accuracy(made, found.features[0], source.labels)
    plain = prefix_accuracy(make_partition("contiguous", source, 4), source.features, source.labels)
    assert accuracies[0] > plain[0] + 0.02 and accuracies[-1] >= plain[-1] - 0.02
    logits = made.targets(found.features[0]) @ made.weight.T + made.bias
    assert np.allclose(logits, found.logits[0], atol=1e-2)


def test_tuning_is_kept_and_resumed(source: Source, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen: list[int] = []
    tuning = replace(source.tuning, cache=tmp_path, progress=lambda stage, done, total, note: seen.append(done))
    kept = replace(source, tuning=tuning)
    first, again = (make_partition("disentangled-tuned", kept, 3) for _ in range(2))
    assert seen == [1, 2, 3] and (first.weight == again.weight).all()
    assert (first.weight == make_partition("disentangled-tuned", source, 3).weight).all()


def test_a_teacher_that_cannot_learn_is_not_tuned(source: Source):
    still = ModuleTeacher(nn.Flatten(), source.tuning.teacher.classifier)
    for tuning in (None, replace(source.tuning, teacher=still)):
        with pytest.raises(SneError, match="tune") as caught:
            make_partition("disentangled-tuned", replace(source, tuning=tuning), 3)
        assert "disentangled" in caught.value.hint


def test_chunk_dropout_keeps_prefixes_and_subsets_of_every_size():
    kept = keep_chunks(4000, 4, 1.0, np.random.default_rng(0)).astype(int)
    sizes = np.bincount(kept.sum(axis=1), minlength=5)
    assert sizes[0] == 0 and sizes[1:].min() > 900
    prefixes = (np.diff(kept, axis=1) <= 0).all(axis=1).mean()
    assert 0.6 < prefixes < 0.8  # half of them drawn as prefixes, some of the others by chance
    assert keep_chunks(100, 4, 0.0, np.random.default_rng(0)).all()


def test_a_feature_that_never_changes_does_no_harm(source: Source):
    features = source.features.copy()
    features[:, 3] = 0
    for name in UNTUNED:
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
    monkeypatch.setattr("sne_edge.learn.partition.SCHEMES", dict(SCHEMES))
    from sne_edge.learn import partition

    monkeypatch.setitem(partition.SCHEMES, "every-other", None)

    @scheme("every-other")
    def every_other(given: Source, students: int, generator: np.random.Generator) -> Partition:
        return deal("every-other", given, np.arange(D) % students, students)

    assert list(make_partition("every-other", source, 2).chunk(1)) == [1, 3, 5, 7, 9, 11]
