"""Which samples may judge a model: those of its own data that it was not trained with, or other data's.

In: a model's provenance, and data. Out: the data set, split as the model's training split it, or an `SneError` where
its test or validation samples may be ones that the model has learnt.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import SneError
from ..ir.frontend import LogMel
from ..ir.layout import LayoutFinder, usual_layout
from .dataset import Dataset, load_dataset
from .named import NAMED, OF_ONE_SOURCE

LEARNT = 0.04  # of a model's training set in other data is no coincidence: silence, say, is the same in all
NO_TEST = "give data with x_test and y_test (or a folder test/) that the model has not seen; --other-data judges anyway"


@dataclass(frozen=True)
class Origin:
    """The data that a model was made from, the seed of its split, and the sketch of what it was trained with; models of
    before have none."""

    name: str
    fingerprint: str
    seed: int
    sketch: tuple[str, ...] = ()


def origin(provenance: Mapping[str, Any]) -> Origin | None:
    """What a model's provenance says of its data; None where it does not."""
    data, config = (provenance.get(key) for key in ("dataset", "config"))
    if not isinstance(data, dict):
        return None
    seed = data.get("seed", config.get("seed") if isinstance(config, dict) else None)
    name, fingerprint = data.get("name"), data.get("fingerprint")
    if not (isinstance(name, str) and isinstance(fingerprint, str) and isinstance(seed, int) and seed >= 0):
        return None
    sketch = data.get("sketch", ())
    told = isinstance(sketch, list | tuple) and all(isinstance(digest, str) for digest in sketch)
    return Origin(name, fingerprint, seed, tuple(sketch) if told else ())


def record(dataset: Dataset) -> dict[str, Any]:
    """What a model's provenance says of a data set."""
    parts = {"train": dataset.y_train, "validation": dataset.y_val, "test": dataset.y_test}
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "samples": {part: len(labels) for part, labels in parts.items()},
        "sketch": list(dataset.sketch),
        **({"named": True} if dataset.named else {}),
        **({"columns": list(dataset.columns)} if dataset.columns else {}),
        **({"layout": dataset.stated} if dataset.stated else {}),
    }


def load_for(
    provenance: Mapping[str, Any],
    classes: tuple[str, ...],
    source: str | Path,
    folder: Path | None = None,
    *,
    seed: int | None = None,
    other: bool = False,
    finder: LayoutFinder = usual_layout,
    frontend: LogMel | None = None,
    length: int | None = None,
) -> tuple[Dataset, str | None]:
    """The data set at `source` for a model of this provenance and these classes, and a note for its user, if any.

    It is split by the seed of the model's training; `seed` replaces that where the model does not name its data, or for
    other data. `other`, `folder`, `finder`, `frontend`, `length`: as for `check` and `load_dataset`. Raises `SneError`
    as these.
    """
    known = origin(provenance)
    if seed is None:
        seed = 0 if known is None else known.seed
    stated = provenance["dataset"].get("layout") if known is not None else None

    def as_trained(name: str, shape: Sequence[int]) -> str:
        """The layout of a file, where its shape leaves it open that of the file that the model was trained with."""
        try:
            return finder(name, shape)
        except SneError as error:
            if " may be " not in error.message or not isinstance(stated, str) or len(stated) != len(shape):
                raise
            return stated

    dataset = load_dataset(source, seed, folder, finder=as_trained, frontend=frontend, length=length)
    return dataset, check(provenance, classes, dataset, other=other)


def check(
    provenance: Mapping[str, Any],
    classes: tuple[str, ...],
    dataset: Dataset,
    *,
    other: bool = False,
    chooses: bool = False,
) -> str | None:
    """Refuse data whose held-out samples a model may have been trained with; a note where that cannot be told.

    The data that the model was trained on are known by their fingerprint. Data of the same name and another content
    are refused, unless their test part is the official one of a named set. Data of another name are other data, unless
    both are of one source: they need a test part of their own, without samples that the model's sketch knows; and
    where something `chooses` by validation samples, these have to be as new. `other`: the user says that the model has
    seen none of these samples.
    """
    told = provenance.get("dataset")
    told = told if isinstance(told, dict) else {}
    _check_classes(classes, dataset, told.get("named") is True)
    if dataset.columns and told.get("columns") and list(dataset.columns) != told["columns"]:
        raise SneError(
            f"the columns of {dataset.name} are {', '.join(dataset.columns)}, the model's are "
            f"{', '.join(map(str, told['columns']))}",
            "put them in that order, under these names",
        )
    known = origin(provenance)
    if other or (known is not None and dataset.fingerprint == known.fingerprint):
        return None
    if known is None:
        if dataset.own_test:
            return None
        return (
            f"the model does not say what it was trained with; {len(dataset.y_test)} samples of {dataset.name}, drawn "
            f"by seed {dataset.seed}, stand for test samples, and may be among them"
        )
    if dataset.name == known.name:
        if dataset.seed != known.seed:
            raise SneError(
                f"{dataset.name} is split by seed {dataset.seed}, and the model was trained on the split of seed "
                f"{known.seed}: samples that it has learnt would be held out",
                f"split it by seed {known.seed}",
            )
        if dataset.name not in NAMED:
            raise SneError(
                f"{dataset.name} is not what the model was trained with: its fingerprint is {dataset.fingerprint}, not "
                f"{known.fingerprint}, so samples held out now may have been learnt then",
                "give the data as it was, or train again; if the model has seen none of these samples: --other-data",
            )
        return (
            f"{dataset.name} comes out otherwise here than where the model was trained (fingerprint "
            f"{dataset.fingerprint}, not {known.fingerprint}): another version of a package, or of the files"
        )
    if any({dataset.name, known.name} <= sets for sets in OF_ONE_SOURCE):
        raise SneError(
            f"{dataset.name} divides the samples of {known.name}, which the model was trained with, in another way: "
            "samples that it has learnt would be held out",
            f"judge it by {known.name}, or train one with {dataset.name}",
        )
    if not dataset.own_test:
        raise SneError(
            f"{dataset.name} has no test part of its own, and is not {known.name}, which the model was trained with",
            NO_TEST,
        )
    for part, told in (("x_test", "test"), *([("x_val", "validation")] if chooses else [])):
        learnt = dataset.share_of(known.sketch, part)
        if learnt >= LEARNT:
            raise SneError(
                f"{dataset.name} has samples for {told} that are, value for value, those that the model was trained "
                f"with, under the name of {known.name}: about {learnt:.0%} of all of these",
                NO_TEST,
            )
    count, whole = len(dataset.y_test), len(dataset.y_train) + len(dataset.y_val) + len(dataset.y_test)
    return (
        f"the model was trained with {known.name}; {dataset.name} is taken for data that it has not seen, of whose "
        f"{whole:,} samples {count:,} are the test part"
    )


def _check_classes(classes: tuple[str, ...], dataset: Dataset, named: bool) -> None:
    """Raise `SneError` where a label of the data means another class than the model's; `named`: its classes are names,
    though they be numbers."""
    numbers = tuple(str(n) for n in range(len(dataset.classes)))
    if len(dataset.classes) > len(classes):
        raise SneError(
            f"{dataset.name} has {len(dataset.classes)} classes, the model {len(classes)}",
            "give data of the model's classes",
        )
    both = dataset.classes != numbers and classes != tuple(str(n) for n in range(len(classes)))
    if (both or (named and dataset.named)) and dataset.classes != classes[: len(dataset.classes)]:
        wrong = next(k for k, name in enumerate(dataset.classes) if name != classes[k])
        raise SneError(
            f"class {wrong} of {dataset.name} is {dataset.classes[wrong]}, the model's is {classes[wrong]}",
            "name the classes' folders as those that the model was trained with, and leave none out",
        )
