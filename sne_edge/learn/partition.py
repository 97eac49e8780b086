"""Partitions of a teacher's feature space: which student learns which features.

In: a teacher's features and classifier. Out: a `Partition`. A scheme is one function, registered by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import SneError, nearest, shortened
from .own import load_object

if TYPE_CHECKING:
    from .device import Device
    from .networks import TeacherNet
    from .tuning import Tuning


@dataclass(frozen=True, eq=False)
class Source:
    """What a scheme may look at: features float32 [N, d] and logits [N, classes] of the teacher on training samples,
    labels int64 [N], and the teacher's classifier, weight [classes, d] and bias [classes]; for schemes that tune the
    teacher, what that takes; where those that learn may do so, None being the processor."""

    features: np.ndarray
    logits: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    tuning: Tuning | None = None
    device: Device | None = None


@dataclass(frozen=True, eq=False)
class Partition:
    """Feature index -> student, on standardised (and, by some schemes, rotated) teacher features.

    owner       int64 [m], the student of each feature; every student owns at least one
    projection  float32 [m, d], offset float32 [m]: a chunk's features are `projection @ f + offset`, of mean 0
    weight      float32 [classes, m]: the classifier on those features, bias float32 [classes]
    provenance  how it came to be, JSON-able
    tuned       the teacher whose features f are, where the scheme made one of its own; else None

    Student 0 is the first of the order in which prefixes of the ensemble learn together. Schemes whose chunks have an
    order put what tells most first; to the others all chunks are alike. Which student *runs* first is calibrated on
    held-out samples, in the same way for every scheme.
    """

    scheme: str
    students: int
    owner: np.ndarray
    projection: np.ndarray
    offset: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    provenance: dict[str, Any] = field(default_factory=dict)
    tuned: TeacherNet | None = None

    def __post_init__(self) -> None:
        m, classes = len(self.owner), len(self.bias)
        shapes = self.projection.shape[:1] == self.offset.shape == (m,) and self.weight.shape == (classes, m)
        if not shapes or sorted(set(self.owner.tolist())) != list(range(self.students)):
            raise SneError(
                f"partition {self.scheme}: {m} features do not go round {self.students} students",
                "give every student at least one feature, and no other",
            )

    def chunk(self, student: int) -> np.ndarray:
        """Indices of the features a student owns, int64, ascending."""
        indices: np.ndarray = np.flatnonzero(self.owner == student)
        return indices

    def targets(self, features: np.ndarray) -> np.ndarray:
        """What students learn, float32 [..., m], of teacher features [..., d]."""
        targets: np.ndarray = (features @ self.projection.T + self.offset).astype(np.float32)
        return targets


Scheme = Callable[[Source, int, np.random.Generator], Partition]
SCHEMES: dict[str, Scheme] = {}
ENTRY_POINTS = "sne_edge.schemes"  # where other packages offer theirs
OWN = "a scheme is a function of (source, students, generator) that returns a Partition: see `deal`"
TUNING: set[str] = set()  # the schemes that tune the teacher


def scheme(name: str, *, tunes: bool = False) -> Callable[[Scheme], Scheme]:
    """Register a scheme: a function of (source, number of students, generator). `tunes`: it tunes the teacher."""

    def register(function: Scheme) -> Scheme:
        SCHEMES[name] = function
        if tunes:
            TUNING.add(name)
        return function

    return register


def is_file(name: str) -> bool:
    """Whether a scheme's name is FILE.py:NAME."""
    return name.rpartition(":")[0].endswith(".py")


def check_scheme(name: str) -> None:
    """Raise `SneError` where there is no scheme of a name: here, in `FILE.py:NAME`, or of another package."""
    if name not in SCHEMES and not is_file(name) and not _offered(name):
        raise SneError(
            f"there is no partition scheme {shortened(name)!r}",
            f"{nearest(name, SCHEMES)}schemes: {', '.join(sorted(SCHEMES))}, or FILE.py:NAME",
        )


def find_scheme(name: str) -> Scheme:
    """The scheme of a name; a user's file is run. Raises `SneError` as `check_scheme`, and where it is no function."""
    check_scheme(name)
    if name in SCHEMES:
        return SCHEMES[name]
    found: object = load_object(name, "scheme") if is_file(name) else _offered(name)[0].load()
    if not callable(found):
        raise SneError(f"{shortened(name)} is a {type(found).__name__}, not a function", OWN)
    return found


def _offered(name: str) -> list[EntryPoint]:
    """Schemes of a name that other packages install."""
    return list(entry_points(group=ENTRY_POINTS, name=name))


def make_partition(name: str, source: Source, students: int, seed: int = 0) -> Partition:
    """The partition of scheme `name`; deterministic for a seed. Raises `SneError` on a bad name or number, and where a
    scheme of one's own returns something else."""
    chosen = find_scheme(name)
    if not 1 <= students <= min(32, source.features.shape[1]):
        raise SneError(
            f"{students} students cannot share {source.features.shape[1]} features",
            "give 1 to 32 students, and no more than the teacher has features",
        )
    try:
        made = chosen(source, students, np.random.default_rng([seed, 2]))
    except SneError:
        raise
    except Exception as error:
        if name in SCHEMES:
            raise
        raise SneError(f"the partition scheme {shortened(name)} failed: {error!r}", OWN) from error
    if not isinstance(made, Partition) or made.students != students:
        raise SneError(f"the partition scheme {shortened(name)} made no partition for {students} students", OWN)
    return made


def deal(
    name: str,
    source: Source,
    owner: np.ndarray,
    students: int,
    *,
    rotation: np.ndarray | None = None,
    tuned: TeacherNet | None = None,
    **provenance: Any,
) -> Partition:
    """A partition of the teacher's own features, standardised: f' = (f - mean) / sd, classifier W' = W sd.

    With `rotation`, orthogonal [d, d], of the rotated features R f, whose classifier is W R^T; `owner` is then of them.
    """
    r = np.eye(source.features.shape[1]) if rotation is None else rotation
    mean, sd = source.features.mean(axis=0) @ r.T, (source.features @ r.T).std(axis=0)
    sd = np.where(sd > 1e-3 * sd.max() + 1e-12, sd, 1.0)  # a feature that never changes stays at its mean, 0
    return Partition(
        scheme=name,
        students=students,
        owner=owner.astype(np.int64),
        projection=(r / sd[:, None]).astype(np.float32),
        offset=(-mean / sd).astype(np.float32),
        weight=(source.weight @ r.T * sd).astype(np.float32),
        bias=(source.bias + source.weight @ r.T @ mean).astype(np.float32),
        provenance={"scheme": name, **provenance},
        tuned=tuned,
    )


def balanced(features: int, students: int) -> np.ndarray:
    """Chunks of equal size (within one), in order: int64 [features]."""
    return np.arange(features) * students // features


@scheme("whole")
def whole(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """No partition, to be held against: every student learns all features, and has an equal part in the logits."""
    one = deal("whole", source, np.zeros(source.features.shape[1]), 1)
    return Partition(
        scheme="whole",
        students=students,
        owner=np.repeat(np.arange(students), len(one.owner)),
        projection=np.tile(one.projection, (students, 1)),
        offset=np.tile(one.offset, students),
        weight=np.tile(one.weight / students, (1, students)),
        bias=one.bias,
        provenance=one.provenance,
    )


@scheme("contiguous")
def contiguous(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """Neighbouring features together."""
    return deal("contiguous", source, balanced(source.features.shape[1], students), students)


@scheme("random")
def scattered(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """Features dealt out at random, in equal numbers."""
    owner = generator.permutation(balanced(source.features.shape[1], students))
    return deal("random", source, owner, students)


@scheme("correlation")
def correlation(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """Balanced communities of the co-activation graph: features, joined by the |correlation| of their activity.

    Swaps of two features between communities are made, best first, while they raise the weight inside communities
    (Kernighan and Lin 1970, one pair at a time); the best of eight starts is kept.
    """
    with np.errstate(invalid="ignore"):
        weight = np.abs(np.nan_to_num(np.corrcoef(source.features.T).reshape(source.features.shape[1], -1)))
    np.fill_diagonal(weight, 0)
    starts = [generator.permutation(balanced(len(weight), students)) for _ in range(8)]
    found = [_communities(weight, owner, students) for owner in starts]
    owner = max(found, key=lambda o: _inside(weight, o))
    inside = _inside(weight, owner) / max(float(weight.sum()), 1e-12)
    return deal("correlation", source, owner, students, weight_inside_communities=round(inside, 4))


def _inside(weight: np.ndarray, owner: np.ndarray) -> float:
    return float(weight[owner[:, None] == owner[None, :]].sum())


def _communities(weight: np.ndarray, owner: np.ndarray, students: int) -> np.ndarray:
    owner = owner.copy()
    for _ in range(len(owner) ** 2):
        pull = weight @ np.eye(students)[owner]  # [features, communities]
        stay = pull[np.arange(len(owner)), owner]
        move = pull[:, owner] - stay[:, None]  # what feature i gains in feature j's community
        gain = np.where(owner[:, None] != owner[None, :], move + move.T - 2 * weight, 0)
        i, j = np.unravel_index(int(gain.argmax()), gain.shape)
        if gain[i, j] <= 1e-9:
            break
        owner[i], owner[j] = owner[j], owner[i]
    return owner


@scheme("class-affinity")
def class_affinity(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """Features together that serve the same classes, in equal numbers.

    A feature's affinity to a class is what it adds, on the samples of the class, to the class's logit above its mean.
    Classes that live on the same features form as many balanced groups as there are students (the communities of
    `correlation`); where there are fewer classes than students, students share a class. Then features go to the groups
    such that the sum of their affinities is largest (an assignment problem).
    """
    from scipy.optimize import linear_sum_assignment

    classes, d = source.weight.shape
    mean = source.features.mean(axis=0)
    own = np.stack([source.features[source.labels == c].mean(axis=0) for c in range(classes)])  # [classes, d]
    affinity = source.weight * (own - mean)
    if students <= classes:
        unit = affinity / np.maximum(np.linalg.norm(affinity, axis=1, keepdims=True), 1e-12)
        alike = unit @ unit.T
        np.fill_diagonal(alike, 0)
        starts = [generator.permutation(balanced(classes, students)) for _ in range(8)]
        group = max((_communities(alike, o, students) for o in starts), key=lambda o: _inside(alike, o))
        serves = np.stack([affinity[group == k].max(axis=0) for k in range(students)])
        groups = [np.flatnonzero(group == k).tolist() for k in range(students)]
    else:
        serves, groups = affinity[np.arange(students) % classes], [[k % classes] for k in range(students)]
    seats = balanced(d, students)
    feature, seat = linear_sum_assignment(serves[seats].T, maximize=True)
    owner = np.empty(d, np.int64)
    owner[feature] = seats[seat]
    return deal("class-affinity", source, owner, students, classes=groups)


@scheme("variance")
def variance(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """Principal components of the features, dealt out to and fro (0, 1, 2, 2, 1, 0, ...), so that every student gets an
    equal share of the variance."""
    covariance = np.atleast_2d(np.cov(source.features.T.astype(np.float64)))
    rotation = np.linalg.eigh(covariance)[1].T[::-1]  # rows: components, of the largest variance first
    rotation = rotation * np.where(rotation.sum(axis=1, keepdims=True) < 0, -1, 1)  # a component's sign is arbitrary
    d = len(rotation)
    turn, place = np.divmod(np.arange(d), students)
    owner = np.where(turn % 2 == 0, place, students - 1 - place)
    return deal("variance", source, owner, students, rotation=rotation)


@scheme("disentangled")
def disentangled(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """A learnt projection of the features of a frozen teacher, trained with chunk dropout (arXiv 2502.14023).

    Half of the subsets drawn are prefixes, so that the order of the chunks means something: the first alone classifies
    well, each further one adds to it. The other half are arbitrary. Each subset's logits are taught the teacher's and
    the labels. The projected features are standardised afterwards, which changes no logit.
    """
    import torch

    from .device import CPU
    from .fit import distillation_loss

    start = deal("disentangled", source, balanced(source.features.shape[1], students), students)
    torch.manual_seed(int(generator.integers(2**31)))
    put, owner = (source.device or CPU).put, start.owner
    f, labels, teacher = put(start.targets(source.features)), put(source.labels), put(source.logits)
    d = f.shape[1]
    projection = torch.nn.Parameter(put(torch.linalg.qr(torch.randn(d, d))[0].numpy()))
    weight = torch.nn.Parameter(put(start.weight) @ projection.detach().T)
    bias = torch.nn.Parameter(put(start.bias))
    steps, batch = 1500, min(512, len(f))
    optimizer = torch.optim.Adam([projection, weight, bias], lr=3e-3)
    rate = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(steps):
        pick = put(generator.integers(len(f), size=batch))
        active = np.arange(students) <= generator.integers(students)
        if step % 2:
            active = generator.permutation(active)
        mask = put(active[owner].astype(np.float32))
        logits = (f[pick] @ projection.T * mask) @ weight.T + bias
        loss = distillation_loss(logits, teacher[pick], labels[pick], teacher_weight=4.0, label_weight=1.0)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        rate.step()
    p, w, b = (t.detach().cpu().numpy() for t in (projection, weight, bias))
    sd = (f.cpu().numpy() @ p.T).std(axis=0) + 1e-6
    rotated = (p / sd[:, None]) @ start.projection
    return Partition(
        scheme="disentangled",
        students=students,
        owner=owner,
        projection=rotated.astype(np.float32),
        offset=((p / sd[:, None]) @ start.offset).astype(np.float32),
        weight=(w * sd).astype(np.float32),
        bias=b.astype(np.float32),
        provenance={"scheme": "disentangled", "backbone": "frozen", "steps": steps},
    )


@scheme("disentangled-tuned", tunes=True)
def disentangled_tuned(source: Source, students: int, generator: np.random.Generator) -> Partition:
    """As `disentangled`, from where it ends; then backbone, projection and classifier are tuned together.

    More and more of the samples lose chunks as tuning goes on. The partition is of the tuned teacher, `tuned`; the
    students learn that one's features and logits.
    """
    from .teacher import check_trainable, extract
    from .tuning import TunedTeacher, tune

    if source.tuning is None:
        raise SneError(
            "there is no teacher that disentangled-tuned could tune", "use --scheme disentangled, or give one in torch"
        )
    check_trainable(source.tuning.teacher)
    frozen = disentangled(source, students, generator)
    start = TunedTeacher(source.tuning.teacher, frozen.projection, frozen.offset, frozen.weight, frozen.bias)
    net = tune(source.tuning, source.labels, frozen.owner, start, int(generator.integers(2**31)))
    classifier = net.classifier
    seen = Source(
        features=extract(net, source.tuning.x[:1], device=source.tuning.device).features[0],
        logits=source.logits,
        labels=source.labels,
        weight=classifier.weight.detach().numpy(),
        bias=classifier.bias.detach().numpy(),
    )
    epochs = source.tuning.epochs
    return deal("disentangled-tuned", seen, frozen.owner, students, tuned=net, backbone="tuned", epochs=epochs)


def prefix_accuracy(partition: Partition, features: np.ndarray, labels: np.ndarray) -> list[float]:
    """Accuracy 0..1 of the partition's own classifier on the first 1, 2, ... chunks of features [N, d]."""
    targets = partition.targets(features)
    kept = [targets * (partition.owner <= k) for k in range(partition.students)]
    return [float(((x @ partition.weight.T + partition.bias).argmax(axis=1) == labels).mean()) for x in kept]
