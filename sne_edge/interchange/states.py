"""What neurons keep from one timestep to the next, in a network that is followed: theirs, and nobody changed it.

In: snnTorch's modules, as a forward calls them. Out: nothing, or a refusal of a forward that gives neurons another
state than the one that they left: a reset in the midst, a factor, a clamp. Such a network cannot be deployed, and to
read it as if the line were not there would be wrong.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import snntorch as snn
import torch
from torch import Tensor, nn

from ..errors import SneError
from .terms import Sum

SET = (
    "beta", "alpha", "threshold", "V", "R", "C", "time_step", "reset_mechanism_val", "reset_delay",
    "graded_spikes_factor", "inhibition",
)  # fmt: skip
KEPT = ("mem", "syn", "syn_exc", "syn_inh", "spk")  # attributes of snnTorch's neurons


@dataclass(frozen=True, eq=False)
class State:
    """A population's state after a timestep: `mem`, or another of `KEPT`."""

    population: str
    time: int
    which: str


class Settings:
    """What neurons are made with, thresholds, decays and recurrent weights, as they were at first: a forward that
    adapts them would be read with the last ones."""

    def __init__(self, name: str, module: nn.Module) -> None:
        self.name, self.module = name, module
        self.first: dict[str, Tensor] | None = None

    def _now(self) -> dict[str, Tensor]:
        recurrent = getattr(self.module, "recurrent", None)
        found = {name: getattr(self.module, name) for name in SET if hasattr(self.module, name)}
        found |= {} if recurrent is None else dict(recurrent.named_parameters(prefix="recurrent"))
        return {name: torch.as_tensor(value).detach().clone() for name, value in found.items() if value is not None}

    def check(self, time: int) -> None:
        """Raise `SneError` where they are others by a timestep than they were the first time."""
        now = self._now()
        if self.first is None:
            self.first = now
        for name, value in now.items():
            first = self.first.get(name)
            if first is None or not torch.equal(torch.nan_to_num(value), torch.nan_to_num(first)):
                raise SneError(
                    f"{self.name}'s {name.removesuffix('_val')} changes while the network runs (timestep {time})",
                    "integers have one of each for all timesteps: set it before, and leave it",
                )


def hidden(module: nn.Module) -> dict[str, Tensor]:
    """The states that neurons hold themselves."""
    return {name: value for name in KEPT if isinstance(value := getattr(module, name, None), Tensor)}


def check_states(name: str, values: Sequence[Any], tensors: Sequence[Any], time: int) -> None:
    """Raise `SneError` unless states, given or hidden, are those that the neurons left at the timestep before, or at
    rest before the first one. `values`: what a `Follower` knows of each of the `tensors`."""
    for value, tensor in zip(values, tensors, strict=True):
        if value is None and time == 0 and (tensor is None or not bool(torch.as_tensor(tensor).any())):
            continue
        if isinstance(value, State) and (value.population, value.time) == (name, time - 1):
            continue
        if isinstance(value, Sum) and len(value.terms) == 1:
            only = value.terms[0]
            if only.source == name and only.op is None and only.time == time - 1:
                continue
        raise SneError(
            f"{name} is given a state at timestep {time} that is not its own of the timestep before",
            "start at rest, and leave states as they are between timesteps: reset them before the first one only, not "
            "in a forward that is called once a timestep",
        )


@contextmanager
def instances(network: nn.Module) -> Iterator[None]:
    """Let `snntorch.utils.reset`, which looks in a list of all neurons ever made, find this network's, a copy perhaps,
    and no others."""
    before = snn.SpikingNeuron.instances
    snn.SpikingNeuron.instances = [m for m in network.modules() if isinstance(m, snn.SpikingNeuron)]
    try:
        yield
    finally:
        snn.SpikingNeuron.instances = before
