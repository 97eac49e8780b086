"""The list of mutants is whole: each applies to the tree as it is, and is run by tests that are there."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mutants.run import ROOT, Mutant, check_without, copy_tree, judge, read_mutants, run_tests

AREAS = {
    "arithmetic", "scheduler", "calibration", "encoder", "artifact", "layout", "protocol", "choices", "data",
    "command line", "costs", "networks", "boards", "blobs",
}  # fmt: skip

LIMIT = 600  # seconds, of which a quiet machine needs few


def test_every_mutant_applies_once_to_the_tree_as_it_is() -> None:
    mutants = read_mutants()
    assert len(mutants) >= 60
    for mutant in mutants:
        assert mutant.apply(ROOT) != (ROOT / mutant.file).read_text(encoding="utf-8")


def test_every_area_has_its_mutants_in_python_and_c() -> None:
    mutants = read_mutants()
    areas = Counter(mutant.area for mutant in mutants)
    assert areas.keys() == AREAS and min(areas.values()) >= 4
    assert sum(mutant.file.endswith((".c", ".h")) for mutant in mutants) >= 20


def test_the_tests_that_should_kill_a_mutant_are_there() -> None:
    for mutant in read_mutants():
        files = [test for test in mutant.tests if test.startswith("tests/")]
        assert files and all((ROOT / file).is_file() for file in files), mutant.name


def test_an_edit_that_no_longer_applies_is_an_error_by_name() -> None:
    for old in ("no such text", "e"):
        with pytest.raises(ValueError, match=r"'stale'.*not once"):
            Mutant("stale", "data", "README.md", old, "x", ()).apply(ROOT)


def test_a_mutant_in_a_copy_is_what_its_tests_see_and_is_gone_afterwards(tmp_path: Path) -> None:
    root = tmp_path / "tree"
    copy_tree(root)
    (root / "tests" / "test_version.py").write_text(
        "from sne_edge.ir.artifact import VERSION\nfrom sne_edge.resources import RUNTIME\n"
        f"def test_it():\n    assert VERSION[0] == 1 and str(RUNTIME) == {str(root / 'runtime_c')!r}\n"
    )
    tests = ("tests/test_version.py",)
    mutant = Mutant("version", "artifact", "sne_edge/ir/artifact.py", "VERSION = (1,", "VERSION = (2,", tests)
    assert run_tests(root, tests, LIMIT) == "survived"
    assert judge(mutant, root, LIMIT) == ("killed", ["tests/test_version.py::test_it"])
    check_without(["tests/test_version.py::test_it"], root, LIMIT)
    harmless = Mutant("minor", "artifact", "sne_edge/ir/artifact.py", "VERSION = (1,", "VERSION = (1 ,", tests)
    assert judge(harmless, root, LIMIT) == ("survived", [])
    assert judge(mutant, root, 0.01) == ("timed out", [])
    assert (root / mutant.file).read_text() == (ROOT / mutant.file).read_text()
    with pytest.raises(RuntimeError, match="pytest ended with 4"):
        run_tests(root, ("tests/test_nothing.py",), LIMIT)
    (root / "tests" / "test_version.py").write_text("def test_it():\n    assert False\n")
    with pytest.raises(RuntimeError, match="without a mutant, too"):
        check_without(["tests/test_version.py::test_it"], root, LIMIT)


def test_the_command_refuses_a_list_that_is_empty_of_what_is_asked_for() -> None:
    command = [sys.executable, str(ROOT / "tests" / "mutants" / "run.py"), "--only", "no such mutant"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.startswith("error: no mutant")
