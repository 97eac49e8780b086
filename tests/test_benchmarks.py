"""The benchmark's comparison with its baseline."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import speed


@pytest.mark.parametrize(
    ("now", "complaints"),
    [
        ({"board": {"row": 1020.0}}, 0),
        ({"board": {"row": 1021.0}}, 1),
        ({"board": {"row": 10.0}}, 0),
        ({"board": {"new": 1e9}, "another": {"row": 1e9}}, 0),
    ],
)
def test_only_what_got_worse_by_over_two_percent_is_named(now: dict[str, dict[str, float]], complaints: int) -> None:
    found = speed.worse({"board": {"row": 1000.0}}, now)
    assert len(found) == complaints
    assert all("row on board: 1,021" in text for text in found)


def test_every_row_has_a_target_or_none_for_every_core() -> None:
    assert {len(targets) for targets in speed.TARGETS.values()} == {len(speed.BOARDS)}
