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
        and not any(part[:1] in ("", ".") for part in parts)
    )
    if empty:
        raise SneError(f"{members.where}: the class {empty[0]} holds no {members.what}", "fill its folder or remove it")
    if parted and not any(path[0] == "train" for path in paths):
        raise SneError(f"{members.where} holds a test part, but none to train with", hint)
    return [("", *path)[-2:] for path in paths]  # type: ignore[misc]


def held_out(parts: Sequence[tuple[str, str]], names: Sequence[str]) -> np.ndarray:
    """Which files are the test part, bool [files]: those in test/, or, where there is none, a share of about `TEST`, by
    their names: a file stays where it is when others come, and so do all of a speaker, whose name comes before
    `SPEAKER`."""
    test = np.array([part == "test" for part, _ in parts])
    if not test.any():
        test = np.array([drawn(name) for name in names])
    if test.all() or not test.any():  # few files
        test = np.arange(len(names)) % round(1 / TEST) == 0
    return test


def drawn(name: str) -> bool:
    """Whether a file is of the test part, by its name, whatever its class."""
    who = Path(name).stem.partition(SPEAKER)[0]
    return int.from_bytes(hashlib.sha256(who.encode("utf-8", "surrogateescape")).digest()[:4], "big") < TEST * 2**32
