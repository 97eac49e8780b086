"""What decides a training run: its config, and the key under which caches keep what came of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..data.dataset import Dataset
from ..errors import SneError
from ..learn import partition as partitions
from ..learn.distill import Recipe
from ..learn.fit import outcome_key
from ..learn.onnx_file import read as read_onnx
from ..learn.student import Body
from ..learn.teacher import SIZES


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome, but for the machine's floating point.

    dataset   what `load_dataset` takes; scheme: a partition scheme; views: augmented views a sample is seen in
    teacher   size of the built-in one, or an ONNX file (*.onnx); then features and logits name its outputs, as
              `onnx_teacher.onnx_teacher` takes them
    max_drop  points (percent) of validation accuracy that the cascade may cost
    input_scale   `network`: one scale for the whole input; `per-channel`: one for each channel, of units of its own
    minutes   wall time that all training may take, or None: then the epochs decide, and runs repeat exactly
    name      of the ensemble; by default the data set's
    """

    dataset: str = "mnist1d"
    scheme: str = "disentangled"
    students: int = 4
    timesteps: int = 4
    body: Body = field(default_factory=Body)
    recipe: Recipe = field(default_factory=Recipe)
    teacher: str = "small"
    teacher_epochs: int = 40
    features: str | None = None
    logits: str | None = None
    views: int = 16
    max_drop: float = 0.1
    vectors: int = 32
    seed: int = 0
    input_scale: str = "network"
    minutes: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        if self.scheme not in partitions.SCHEMES:
            known = ", ".join(sorted(partitions.SCHEMES))
            raise SneError(f"there is no partition scheme {self.scheme!r}", f"schemes: {known}")
        if self.teacher not in SIZES and not self.onnx:
            hint = f"give {', '.join(SIZES)}, or an ONNX file (*.onnx)"
            raise SneError(f"there is no built-in teacher {self.teacher!r}", hint)
        if not self.onnx and (self.features or self.logits):
            raise SneError("outputs are named for a teacher that is not an ONNX file", "give --teacher FILE.onnx")
        if min(self.teacher_epochs, self.views, self.vectors, self.timesteps) < 1 or not 1 <= self.students <= 32:
            raise SneError(
                "a training setting is out of range", "give 1 to 32 students, and at least 1 of everything else"
            )
        if not 0 <= self.seed < 2**31:
            raise SneError(f"seed {self.seed} is out of range", "give a seed in 0..2^31-1")
        if self.input_scale not in ("network", "per-channel"):
            raise SneError(f"there is no input scale {self.input_scale!r}", "give one of: network, per-channel")
        if self.minutes is not None and not self.minutes > 0:
            raise SneError(f"a budget of {self.minutes} minutes is none", "give a positive number of minutes")

    @property
    def onnx(self) -> bool:
        """Whether the teacher is an ONNX file."""
        return self.teacher.endswith(".onnx")


def model_key(config: TrainConfig, dataset: Dataset) -> str:
    """16 hex digits over a config, every setting of it, its data, and the code that trains."""
    named = asdict(config) | {"dataset": dataset.name}
    if config.onnx:
        named["teacher"] = read_onnx(Path(config.teacher))[1]
    return outcome_key(named, dataset.mirrored, dataset.fingerprint)
