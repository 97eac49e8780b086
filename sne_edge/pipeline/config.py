"""What decides a training run: its config, and the key under which caches keep what came of it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..data.corruptions import SEVERITIES
from ..data.dataset import Dataset
from ..errors import SneError
from ..files import read_file
from ..learn import partition as partitions
from ..learn.augmentation import Augmentation
from ..learn.device import CPU, Device
from ..learn.fit import outcome_key
from ..learn.networks import INPUTS, SIZES
from ..learn.onnx_file import read as read_onnx
from ..learn.recipe import Recipe
from ..learn.student import Body
from ..quantize.calibrate import check_goal
from ..quantize.early import check_rule

INPUT_SCALES = ("auto", "network", "per-channel")


@dataclass(frozen=True)
class TrainConfig:
    """Everything that decides the outcome, but for the machine's floating point.

    dataset   what `load_dataset` takes; scheme: a partition scheme; views: augmented views a sample is seen in, the
              sample itself being one; where neither augmentation nor noise change it, it is the only one
    augmentation   by which views are made, kept or anew: the teacher's, students', and those that margins are chosen on
    noise     severity 0..5, at most, of the noise in these views (`data.corruptions`): with a front end white noise and
              babble in the recordings, else white noise and impulses in the values; the teacher and the students learn
              under it; the first view is the sample itself, and choices are made without it
    teacher   size of the built-in one; an ONNX file (*.onnx), whose outputs features and logits name, as
              `onnx_teacher.onnx_teacher` takes them; or FILE.py:NAME, a torch module or a function that makes one, with
              weights, a file of its state_dict
    teacher_input   the values that a teacher from elsewhere wants: 0..1, 0..255, or standard: as students see them;
              less teacher_mean and over teacher_deviation, one number or one a channel, where these are given
    fine_tune epochs that a teacher from elsewhere is trained on for
    max_drop  points (percent) of validation accuracy that the cascade may cost
    input_scale   `auto`: as the training samples need it, with an offset where they lie far from zero, see
              `data.units`; `network`: one scale for the whole input; `per-channel`: one for each channel
    early     rule by which students end before their last timestep (`quantize.early.RULES`), or None
    timesteps of samples that are constant over time; rasters of events have their own
    minutes   wall time that all training may take, or None: then the epochs decide, and runs repeat exactly
    name      of the ensemble; by default the data set's
    """

    dataset: str = "mnist1d"
    scheme: str = "disentangled"
    students: int = 4
    timesteps: int = 4
    body: Body = field(default_factory=Body)
    recipe: Recipe = field(default_factory=Recipe)
    augmentation: Augmentation = field(default_factory=Augmentation)
    teacher: str = "small"
    teacher_epochs: int = 40
    features: str | None = None
    logits: str | None = None
    weights: str | None = None
    teacher_input: str = "standard"
    teacher_mean: tuple[float, ...] | None = None
    teacher_deviation: tuple[float, ...] | None = None
    fine_tune: int = 0
    views: int = 16
    noise: float = 0.0
    max_drop: float = 0.1
    early: str | None = None
    vectors: int = 32
    seed: int = 0
    input_scale: str = "auto"
    minutes: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        partitions.check_scheme(self.scheme)
        if self.teacher not in SIZES and not self.onnx and not self.script:
            hint = f"give {', '.join(SIZES)}, an ONNX file (*.onnx), or FILE.py:NAME"
            raise SneError(f"there is no built-in teacher {self.teacher!r}", hint)
        if self.weights is not None and not self.script:
            raise SneError("weights are given for a teacher that is no FILE.py:NAME", "give --teacher FILE.py:NAME")
        if self.teacher_input not in INPUTS:
            raise SneError(f"there is no teacher's input {self.teacher_input!r}", f"give one of: {', '.join(INPUTS)}")
        scaled = self.teacher_input != "standard" or self.teacher_mean or self.teacher_deviation
        if self.teacher in SIZES and (scaled or self.fine_tune):
            raise SneError(
                f"the built-in teacher {self.teacher} learns from the samples as they are",
                "give what it wants, and --fine-tune, for a teacher from elsewhere",
            )
        if self.fine_tune < 0:
            raise SneError(f"{self.fine_tune} epochs of fine-tuning are none", "give 0 or more")
        if not self.onnx and (self.features or self.logits):
            raise SneError("outputs are named for a teacher that is not an ONNX file", "give --teacher FILE.onnx")
        if min(self.teacher_epochs, self.views, self.vectors, self.timesteps) < 1 or not 1 <= self.students <= 32:
            raise SneError(
                "a training setting is out of range", "give 1 to 32 students, and at least 1 of everything else"
            )
        if not 0 <= self.noise <= SEVERITIES[-1]:
            raise SneError(f"a noise of severity {self.noise:g} is out of range", f"give 0 to {SEVERITIES[-1]}")
        check_goal(self.max_drop, None, "cascade")
        if self.early is not None:
            check_rule(self.early, 2)  # of the timesteps that the data has, when that is known
        if not 0 <= self.seed < 2**31:
            raise SneError(f"seed {self.seed} is out of range", "give a seed in 0..2^31-1")
        if self.input_scale not in INPUT_SCALES:
            raise SneError(f"there is no input scale {self.input_scale!r}", f"give one of: {', '.join(INPUT_SCALES)}")
        if self.minutes is not None and not self.minutes > 0:
            raise SneError(f"a budget of {self.minutes} minutes is none", "give a positive number of minutes")

    @property
    def onnx(self) -> bool:
        """Whether the teacher is an ONNX file."""
        return self.teacher.endswith(".onnx")

    @property
    def script(self) -> bool:
        """Whether the teacher is FILE.py:NAME."""
        return self.teacher.rpartition(":")[0].endswith(".py")


def model_key(config: TrainConfig, dataset: Dataset, device: Device = CPU) -> str:
    """16 hex digits over a config, every setting of it and what the files hold that it names, its data, the kind of
    device, and the code that trains."""
    named = asdict(config) | {"dataset": dataset.name, "augmentation": config.augmentation.key}
    if config.onnx:
        named["teacher"] = read_onnx(Path(config.teacher))[1]
    files = [config.teacher.rpartition(":")[0]] if config.script else []
    files += [config.scheme.rpartition(":")[0]] if partitions.is_file(config.scheme) else []
    files += [config.weights] if config.weights is not None else []
    contents = [hashlib.sha256(read_file(file, 2**31, hint="give the path of a file")).hexdigest() for file in files]
    return outcome_key(named, dataset.mirrored, dataset.fingerprint, *contents, *device.key)
