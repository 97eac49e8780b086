"""Paths of the first release: each still imports, gives the very same objects, and warns."""

from __future__ import annotations

import importlib

import pytest

from sne_edge.moved import MOVED

ROOMS_OF_A_MODULES_NAME = {"data": "load_dataset", "quantize": "quantize_network", "study": "Lab"}


@pytest.mark.parametrize("name", sorted(MOVED))
def test_every_moved_module_imports_by_its_old_path(name: str) -> None:
    old = importlib.import_module(f"sne_edge.{name}")
    found = 0
    for place in MOVED[name]:
        new = importlib.import_module(f"sne_edge.{place}")
        own = [key for key, value in vars(new).items() if getattr(value, "__module__", None) == new.__name__]
        for key in own:
            with pytest.warns(DeprecationWarning, match=f"{key} is sne_edge"):
                assert getattr(old, key) is getattr(new, key)
        found += len(own)
    assert found > 0


@pytest.mark.parametrize(("room", "name"), sorted(ROOMS_OF_A_MODULES_NAME.items()))
def test_a_room_hands_on_the_names_of_the_module_that_was_called_like_it(room: str, name: str) -> None:
    with pytest.warns(DeprecationWarning, match=name):
        assert callable(getattr(importlib.import_module(f"sne_edge.{room}"), name))


def test_what_never_was_is_not_found() -> None:
    with pytest.raises(ImportError):
        importlib.import_module("sne_edge.nothing_like_it")
    with pytest.raises(AttributeError, match="never_was"):
        _ = importlib.import_module("sne_edge.model").never_was
