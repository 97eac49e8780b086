"""Weights that users have: files of `torch.save` as people write them, and safetensors; none of them is ever run."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from sne_edge.errors import SneError
from sne_edge.interchange.script import load_network
from sne_edge.interchange.weights import load_weights

State = dict[str, torch.Tensor]
NETWORK = """
from torch import nn
class Small(nn.Sequential):
    def __init__(self):
        super().__init__(nn.Linear(3, 2), nn.BatchNorm1d(2))
class Other(Small):
    pass
"""


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


FORMS: dict[str, Callable[[State], Any]] = {
    "a state_dict": lambda state: state,
    "a checkpoint": lambda state: {"epoch": 7, "model_state_dict": state, "best": 0.9, "optimizer": {"state": {}}},
    "a checkpoint of Lightning": lambda state: {"state_dict": state, "hyper_parameters": {"lr": 1e-3}},
    "of DataParallel": lambda state: {f"module.{name}": tensor for name, tensor in state.items()},
    "of torch.compile": lambda state: {f"_orig_mod.{name}": tensor for name, tensor in state.items()},
    "of both": lambda state: {f"module._orig_mod.{name}": tensor for name, tensor in state.items()},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_weights_are_read_as_people_save_them(form: str, old: bool, tmp_path: Path) -> None:
    want = network(1).state_dict()
    torch.save(FORMS[form](want), tmp_path / "w.pt", _use_new_zipfile_serialization=not old)
    made = network(2)
    load_weights(made, tmp_path / "w.pt")
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in want.items())


def test_safetensors_are_read_whatever_the_file_is_called(tmp_path: Path) -> None:
    want = network(1).state_dict()
    save_file(want, tmp_path / "w.pt")
    made = network(2)
    load_weights(made, tmp_path / "w.pt")
    assert all(torch.equal(made.state_dict()[name], tensor) for name, tensor in want.items())


class Bomb:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("ran"),)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lambda: pickle.dumps(Bomb()), "holds more than tensors"),
        (lambda: pickle.dumps({"state_dict": Bomb()}), "holds more than tensors"),
        (lambda: b"", "cannot read"),
        (lambda: b"PK\x03\x04" + bytes(100), "cannot read"),
        (lambda: b"\x80\x02" + bytes(100), "holds more than tensors|cannot read"),
        (lambda: b"1,2,3\n" * 20, "cannot read"),
    ],
    ids=["code", "code within", "empty", "a broken zip", "a broken pickle", "text"],
)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_is_no_weights_is_refused_and_never_run(
    content: Callable[[], bytes], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("w.pt").write_bytes(content())
    with pytest.raises(SneError, match=message):
        load_weights(network(0), Path("w.pt"))
    assert not Path("ran").exists()


@pytest.mark.parametrize(
    ("held", "message"),
    [
        ({"a": network(0).state_dict(), "b": network(0).state_dict()}, "several: a, b"),
        ({"epoch": 3}, "holds none"),
        ([torch.ones(3)], "holds none"),
        (nn.Linear(4, 2).state_dict(), "does not fit the network"),
    ],
)
def test_weights_of_which_it_is_not_clear_what_they_are_are_refused(held: Any, message: str, tmp_path: Path) -> None:
    torch.save(held, tmp_path / "w.pt")
    with pytest.raises(SneError, match=message) as error:
        load_weights(network(0), tmp_path / "w.pt")
    assert "state_dict" in (error.value.hint or "")


def test_what_names_no_network_is_told_how_to_name_one(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "empty.py").write_text("x = 1\n")
    for where, hint in (
        ("w.pt", "FILE.py:NAME --weights w.pt"),
        ("cnn.onnx", "train --teacher cnn.onnx"),
        (str(tmp_path / "net.py"), "net.py:NAME, of Small, Other"),
        (str(tmp_path / "empty.py"), "defines no torch.nn.Module"),
        ("nothing", r"FILE.py:NAME"),
    ):
        with pytest.raises(SneError, match="does not name a network") as error:
            load_network(where, None)
        assert hint in (error.value.hint or "")
