"""Which part and class a file is of: the folders that it lies in, train/CLASS/ and test/CLASS/, or CLASS/ alone.

In: the files of a folder or archive. Out: a part and a class each, and which are held out for testing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..errors import SneError
from .formats import Members

PARTS = ("train", "test")
TEST = 0.2  # of recordings that lie in no test/
FAIR = (0.1, 0.35)  # of a class held out
LIKE_PARTS = {"train", "test", "training", "testing", "validation", "val", "valid", "dev", "eval"}
SPEAKER = "_nohash_"  # what follows it in a name is a number: Speech Commands (Warden 2018, arXiv 1804.03209)


def layout_hint(what: str, suffixes: Sequence[str]) -> str:
    """How files are to lie."""
    return f"put {what} in train/CLASS/ and test/CLASS/, or all in CLASS/: {', '.join(suffixes)}"


def places(members: Members, names: Sequence[str], hint: str) -> list[tuple[str, str]]:
    """Each file's part (`train`, `test`, or none) and class, from the folders that it lies in. Raises `SneError`, with
    `hint`, for one that lies elsewhere, and for classes without any."""
    paths = [tuple(name.split("/")[:-1]) for name in names]
    if members.packed:  # an archive may hold the folder, not what is in it
        while paths[0] and paths[0][0] not in PARTS and {p[:1] for p in paths} == {paths[0][:1]}:
            paths = [p[1:] for p in paths]
    parted = any(path[:1] in (("train",), ("test",)) for path in paths)
    first = {path[0] for path in paths if len(path) > 1} - {*PARTS}
    if not parted and first and {name.lower() for name in first} <= LIKE_PARTS:
        told = ", ".join(sorted(first))
        raise SneError(f"{members.where} holds the parts {told}", f"name them train and test: {hint}")
    for name, path in zip(names, paths, strict=True):
        if len(path) != 1 + parted or (parted and path[0] not in PARTS):
            wanted = "train/CLASS/ or test/CLASS/" if parted else "CLASS/"
            raise SneError(
                f"{members.where}: {name} does not lie in {wanted}",
                "move or remove it; validation samples are drawn from train/" if parted else hint,
            )
    filled = {"/".join(path) for path in paths}
    empty = sorted(
        folder
        for folder in members.folders() - filled
        if len(parts := folder.split("/")) == 1 + parted
        and (not parted or parts[0] in PARTS)
        and not any(part[:1] in ("", ".", "_") for part in parts)
    )
    if empty:
        raise SneError(f"{members.where}: the class {empty[0]} holds no {members.what}", "fill its folder or remove it")
    if parted and not any(path[0] == "train" for path in paths):
        raise SneError(f"{members.where} holds a test part, but none to train with", hint)
    found: list[tuple[str, str]] = [("", *path)[-2:] for path in paths]  # type: ignore[misc]
    if {label.lower() for _, label in found} <= LIKE_PARTS:
        raise SneError(f"{members.where} holds parts, and no classes in them", hint)
    return found


def labelled(parts: Sequence[tuple[str, str]]) -> tuple[np.ndarray, tuple[str, ...]]:
    """Each file's class, int64 [files], and the classes' names in order."""
    names, y = np.unique([label for _, label in parts], return_inverse=True)
    return y.astype(np.int64), tuple(str(name) for name in names)


def in_test(parts: Sequence[tuple[str, str]]) -> np.ndarray:
    """Which files lie in test/, bool [files]."""
    return np.array([part == "test" for part, _ in parts])


def set_aside(name: str) -> bool:
    """Whether a file lies in a folder that is no class of recordings: _background_noise_, say."""
    return any(folder.startswith("_") for folder in name.split("/")[:-1])


def held_out(parts: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """Which files are the test part, bool [files]: those in test/, or, where there is none, a share of about `TEST`, by
    their names, all of a speaker or none, whose name comes before `SPEAKER`.

    A file stays where it is when others come, unless few files would leave the share, or a class, far from `TEST`: then
    the first by a digest of their names are taken, of speakers, or of each class.
    """
    test = in_test(parts)
    if test.any():
        return test
    (y, classes), who = labelled(parts), [_who(name) for name in names]
    drawn = np.array([_rank(name) < TEST for name in who])
    groups = [y == k for k in range(len(classes))]
    if all(FAIR[0] <= drawn[group].mean() <= FAIR[1] for group in groups):
        return drawn
    speakers = sorted({*who}, key=_rank)
    if any(SPEAKER in name for name in names) and len(speakers) > 1:
        for speaker in speakers[:-1]:
            test |= np.array([name == speaker for name in who])
            if test.mean() >= TEST:
                break
        return test
    for group in groups:
        first = sorted(np.flatnonzero(group), key=lambda k: _rank(who[k]))
        test[first[: max(1, round(TEST * len(first))) if len(first) > 1 else 0]] = True
    return test


def _who(name: str) -> str:
    """Who speaks, or the file's own name, whatever its class."""
    return Path(name).stem.partition(SPEAKER)[0]


def _rank(who: str) -> float:
    """A name's place in 0..1, by a digest."""
    return int.from_bytes(hashlib.sha256(who.encode("utf-8", "surrogateescape")).digest()[:4], "big") / 2**32
