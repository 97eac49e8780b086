"""A test that examines nothing does not pass."""

from __future__ import annotations

from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest
from conftest import check_examined, pytest_runtest_call


@pytest.mark.parametrize("found", [{}, {"networks": 2}, {"networks": 3, "stops": 1}], ids=str)
def test_a_test_that_examined_too_little_or_something_else_fails(found: dict[str, int]) -> None:
    with pytest.raises(pytest.fail.Exception, match="examined"):
        check_examined({"networks": 3}, Counter(found))


def test_a_test_that_examined_enough_passes() -> None:
    check_examined({"networks": 3, "stops": 0}, Counter(networks=4))


@pytest.mark.examines(cases=2)
def test_the_counter_is_the_tests_own(examined: Counter[str]) -> None:
    assert not examined
    examined["cases"] += 2


def test_the_hook_fails_a_test_whose_cases_came_up_empty() -> None:
    item: Any = SimpleNamespace(
        get_closest_marker=lambda name: getattr(pytest.mark, name)(cases=1).mark, funcargs={"examined": Counter()}
    )
    hook = pytest_runtest_call(item)
    next(hook)
    with pytest.raises(pytest.fail.Exception, match="examined 0 cases"):
        hook.send(None)
