"""What a search tries, and within which limits: candidates' sizes, what the cost model says of them before they are
trained, and which of those that were trained nothing else beats.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..deploy.cost import Need, core_costs, need
from ..deploy.rates import ASSUMED, assumed_rates
from ..errors import SneError
from ..ir.encoder import Shape
from ..learn.recipe import Recipe
from ..learn.student import Body
from ..pipeline.config import TrainConfig
from .sizes import sketched

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

SPACE_CHANNELS = ((4, 32), (8, 48), (8, 64))
CASCADED = 1.35  # students that a cascade runs in the mean, until a model says how many
HOPEFUL = 0.8  # of the assumed spike rate: a candidate that does not fit even so is refused


@dataclass(frozen=True)
class Limits:
    """What a model may take of a target, None where it does not matter: mean `instructions` of an inference under its
    own policy; bytes of `flash` for tables and code; bytes of `ram` for state, input and stack."""

    target: str
    instructions: int | None = None
    flash: int | None = None
    ram: int | None = None

    def __post_init__(self) -> None:
        core_costs(self.target)
        given = {"instructions": self.instructions, "bytes of flash": self.flash, "bytes of RAM": self.ram}
        for name, value in given.items():
            if value is not None and value < 1:
                raise SneError(f"a limit of {value} {name} leaves nothing", "give a positive number")

    def over(self, needed: Need) -> str:
        """What of a model's need is beyond the limits, in words; nothing where it fits."""
        mean = needed.estimates[0].mean
        parts = [
            ("instructions", mean, self.instructions),
            ("bytes of flash", needed.flash_bytes, self.flash),
            ("bytes of RAM", needed.ram_bytes + needed.stack_bytes, self.ram),
        ]
        beyond = [f"{has:,} {name}, of {most:,}" for name, has, most in parts if has and most and has > most]
        return "; ".join(beyond)

    def allows(self, candidate: Candidate) -> bool:
        """Does a candidate that was trained fit?"""
        pairs = (
            (candidate.instructions, self.instructions),
            (candidate.flash, self.flash),
            (candidate.ram, self.ram),
        )
        return all(most is None or has <= most for has, most in pairs)


@dataclass(frozen=True)
class Candidate:
    """One that was trained: its sizes; accuracy on validation samples under its own policy, 0..1, after the last rung
    that it reached; mean instructions as modelled with its own spike rates; its trial and rung."""

    trial: int
    rung: int
    students: int
    timesteps: int
    body: Body
    accuracy: float
    instructions: int
    flash: int
    ram: int


def pareto(candidates: list[Candidate]) -> list[Candidate]:
    """Those that no other beats in accuracy without more instructions, cheapest first."""
    front: list[Candidate] = []
    for one in sorted(candidates, key=lambda c: (c.instructions, -c.accuracy, c.trial)):
        if not front or one.accuracy > front[-1].accuracy:
            front.append(one)
    return front


def first_values(base: TrainConfig) -> dict[str, Any] | None:
    """The config that the search starts from, where the space holds it."""
    body = base.body
    if body.dense or len(body.channels) != len(SPACE_CHANNELS):
        return None
    values: dict[str, Any] = {"students": base.students, "timesteps": base.timesteps, "bits": body.bits}
    values["decay"] = "learnt" if body.learn_decay else str(body.shift)
    values["layers"] = len(body.channels)
    for k in range(len(body.channels)):
        values |= {f"channels{k}": body.channels[k], f"kernel{k}": body.kernels[k], f"stride{k}": body.strides[k]}
    return values


def drawn(trial: BaseTrial, base: TrainConfig) -> TrainConfig:
    """The config of a trial that is drawn by this, or was. Sizes of 1-D and 2-D data have the same space."""
    layers = trial.suggest_int("layers", 2, 3)
    channels = tuple(trial.suggest_int(f"channels{k}", *SPACE_CHANNELS[k], step=4) for k in range(layers))
    kernels = tuple(trial.suggest_int(f"kernel{k}", 3, 9 if k == 0 else 5, step=2) for k in range(layers))
    strides = tuple(trial.suggest_int(f"stride{k}", 1, 4 if k == 0 else 2) for k in range(layers))
    decay = trial.suggest_categorical("decay", ("1", "2", "3", "learnt"))
    body = Body(
        channels, kernels, strides, shift=1 if decay == "learnt" else int(decay),
        bits=trial.suggest_categorical("bits", (8, 4)), learn_decay=decay == "learnt",
    )  # fmt: skip
    timesteps, students = trial.suggest_int("timesteps", 1, 4), trial.suggest_int("students", 1, 4)
    return replace(base, body=body, timesteps=timesteps, students=students)


def refusal(config: TrainConfig, shape: Shape, classes: int, limits: Limits) -> str:
    """Why a candidate cannot fit, by its sizes alone; nothing where it may."""
    try:
        model = sketched(config, shape, classes)
    except SneError as error:
        return error.message
    rates = assumed_rates(model, HOPEFUL * (config.recipe.target or ASSUMED))
    run = min(float(config.students), CASCADED)
    return limits.over(need(model, limits.target, [model.policy], rates, run))


def shortened(recipe: Recipe, share: float) -> Recipe:
    """A recipe of a share of the epochs, one at least of every phase that it has."""

    def part(epochs: int) -> int:
        return max(1, round(epochs * share)) if epochs else 0

    return replace(recipe, alone=part(recipe.alone), joint=part(recipe.joint), rounded=part(recipe.rounded))


def sizes_text(one: TrainConfig | Candidate) -> str:
    """In a line of progress."""
    return f"{one.students} x {'-'.join(map(str, one.body.channels))}"
