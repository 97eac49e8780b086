"""The public interface: what `sne_edge.__all__` names, there, documented, and quick to import."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sne_edge

DOCUMENT = Path(__file__).parents[1] / "docs" / "API.md"


@pytest.mark.parametrize("name", sne_edge.__all__)
def test_a_public_name_says_what_it_is(name: str) -> None:
    told = inspect.getdoc(getattr(sne_edge, name))
    assert told and len(told.splitlines()[0]) > 10
    if inspect.isfunction(value := getattr(sne_edge, name)):
        hints = inspect.signature(value)
        assert hints.return_annotation is not inspect.Signature.empty
        assert all(p.annotation is not inspect.Parameter.empty for p in hints.parameters.values())


def test_the_document_names_what_is_public_and_nothing_else() -> None:
    named = re.findall(r"^\| `(\w+)` \|", DOCUMENT.read_text(encoding="utf-8"), flags=re.M)
    assert sorted(named) == sorted(sne_edge.__all__)


def test_importing_the_package_loads_none_of_it() -> None:
    script = "import sys, sne_edge; print(sorted(m for m in sys.modules if m.startswith('sne_edge.') or m == 'torch'))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "['sne_edge.moved']"


def test_an_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nothing_like_it"):
        _ = sne_edge.nothing_like_it
