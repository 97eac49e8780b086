"""Mutation testing: one small fault at a time is put into a copy of the tree, and the tests that should notice are run.

In: `mutants.toml`, a list of edits: a file, an exact text in it that occurs once, the text in its place, and the tests
that should fail. Out: the mutants that survived, and the share that was killed. `make mutants` runs a sample,
`make mutants MUTANTS=all` all of them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Queue
from typing import Literal

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
LIST = Path(__file__).with_name("mutants.toml")
LEAST_KILLED = 0.95
Outcome = Literal["killed", "survived", "timed out"]
LEFT_OUT = (".git", ".venv", ".hypothesis", "*_cache", "__pycache__", "*.egg-info", "build", "dist", "demo", "zoo")
# What makes Python take the package, parts that lie beside it included, from the folder that this file is in,
# however the package is installed.
TAKE_FROM_HERE = """
import importlib.util, sys
from pathlib import Path

HERE = Path(__file__).parent
PLACES = {"sne_edge": HERE / "sne_edge"} | {"sne_edge." + p: HERE / p for p in ("codegen", "runtime_c", "firmware")}


class Here:
    @staticmethod
    def find_spec(name, path=None, target=None):
        place = PLACES.get(name)
        if place is not None:
            init, within = str(place / "__init__.py"), [str(place)]
            return importlib.util.spec_from_file_location(name, init, submodule_search_locations=within)


sys.meta_path.insert(0, Here)
"""


@dataclass(frozen=True)
class Mutant:
    """One edit: `old`, found once in `file`, becomes `new`; `tests`: what pytest is given; `area`: what it is about."""

    name: str
    area: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, root: Path) -> str:
        """The text of the file under `root` with the edit. Raises `ValueError` where it does not apply."""
        text = (root / self.file).read_text(encoding="utf-8")
        if text.count(self.old) != 1 or self.old == self.new:
            raise ValueError(f"mutant {self.name!r}: {self.file} holds its text {text.count(self.old)} times, not once")
        return text.replace(self.old, self.new)


def read_mutants(path: Path = LIST) -> list[Mutant]:
    """All mutants of a list. Raises `ValueError` where two have one name."""
    rows = tomllib.loads(path.read_text(encoding="utf-8"))["mutant"]
    mutants = [Mutant(**row | {"tests": tuple(row["tests"])}) for row in rows]
    names = [mutant.name for mutant in mutants]
    if len(set(names)) < len(names):
        raise ValueError(f"two mutants are called {next(n for n in names if names.count(n) > 1)!r}")
    return mutants


def copy_tree(to: Path) -> None:
    """A copy of the tree from which Python takes the package, where it is on the path."""
    shutil.copytree(ROOT, to, ignore=shutil.ignore_patterns(*LEFT_OUT))
    (to / "sne_edge" / "zoo").symlink_to(ROOT / "sne_edge" / "zoo")
    (to / "sitecustomize.py").write_text(TAKE_FROM_HERE, encoding="utf-8")


def run_tests(root: Path, tests: Iterable[str], seconds: float, *options: str) -> Outcome:
    """What pytest makes of a tree, up to the first test that fails."""
    environment = os.environ | {"PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", "--hypothesis-profile", "first-failure", "--require-tools"]
    command += [*options, *tests]
    try:
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except subprocess.TimeoutExpired:
        return "timed out"
    if done.returncode == 0:
        return "survived"
    if done.returncode in (1, 2):  # 2: modules that cannot be imported any more
        return "killed"
    raise RuntimeError(f"pytest ended with {done.returncode} on {' '.join(tests)}:\n{done.stdout[-1000:]}")


@contextmanager
def planted(mutant: Mutant, root: Path) -> Iterator[None]:
    """The tree with the mutant in it, for as long as the context lasts."""
    path = root / mutant.file
    before, changed = path.read_text(encoding="utf-8"), mutant.apply(root)
    path.write_text(changed, encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")


def judge(mutant: Mutant, root: Path, seconds: float) -> tuple[Outcome, list[str]]:
    """What became of a mutant, and the tests that failed with it, as pytest names them."""
    with planted(mutant, root):
        outcome = run_tests(root, mutant.tests, seconds, "--cache-clear")
    failed = root / ".pytest_cache" / "v" / "cache" / "lastfailed"
    return outcome, list(json.loads(failed.read_text(encoding="utf-8"))) if outcome == "killed" else []


def check_without(tests: Iterable[str], root: Path, seconds: float) -> None:
    """Raise `RuntimeError` where tests that failed with a mutant fail without one, too, so that they prove nothing."""
    names = sorted(set(tests))
    if names and run_tests(root, names, seconds * len(names)) != "survived":
        raise RuntimeError(f"without a mutant, too, one of these fails: {', '.join(names)}")


def hunt(mutants: list[Mutant], jobs: int, seconds: float) -> dict[str, Outcome]:
    """What became of each mutant, by name; `jobs` trees at once. Raises `RuntimeError` as `check_without` does."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder, ThreadPoolExecutor(jobs) as pool:
        trees: Queue[Path] = Queue()
        for job in range(jobs):
            copy_tree(Path(folder) / str(job))
            trees.put(Path(folder) / str(job))

        killers: list[str] = []

        def one(mutant: Mutant) -> Outcome:
            root, start = trees.get(), time.monotonic()
            try:
                outcome, failed = judge(mutant, root, seconds)
            finally:
                trees.put(root)
            killers.extend(failed)
            print(f"{outcome:9} {time.monotonic() - start:4.0f} s  {mutant.area}: {mutant.name}", flush=True)
            return outcome

        found = dict(zip((mutant.name for mutant in mutants), pool.map(one, mutants), strict=True))
        check_without(killers, trees.get(), seconds)
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mutants", default="12", help="how many, drawn at random, or `all`")
    parser.add_argument("--only", nargs="*", default=[""], help="those of whose name, area or file one is a part")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="draws the sample")
    parser.add_argument("--jobs", type=int, default=2, help="trees at once")
    parser.add_argument("--seconds", type=float, default=300, help="that the tests of one mutant may take")
    options = parser.parse_args()
    mutants = read_mutants()
    for mutant in mutants:
        mutant.apply(ROOT)
    chosen = [m for m in mutants if any(part in text for part in options.only for text in (m.name, m.area, m.file))]
    if not chosen:
        raise ValueError(f"no mutant has {' or '.join(options.only)} in its name, area or file")
    if options.mutants != "all" and options.only == [""]:
        chosen = random.Random(options.seed).sample(chosen, min(int(options.mutants), len(chosen)))
        print(f"{len(chosen)} of {len(mutants)} mutants, seed {options.seed}")
    outcomes = hunt(chosen, options.jobs, options.seconds)
    survivors = [mutant for mutant in chosen if outcomes[mutant.name] == "survived"]
    for mutant in survivors:
        print(f"\nsurvived: {mutant.name}\n  {mutant.file}\n  - {mutant.old}\n  + {mutant.new}")
    rate = 1 - len(survivors) / len(chosen)
    print(f"\n{len(chosen) - len(survivors)} of {len(chosen)} killed ({rate:.0%})")
    return 0 if rate >= LEAST_KILLED else 1


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (RuntimeError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
