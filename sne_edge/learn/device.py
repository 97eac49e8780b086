"""Where networks learn and how precisely: the processor, or a GPU that torch knows.

In: the words of `--device` and `--precision`. Out: a `Device`: tensors there, and the contexts that loops compute in.
The same seed gives the same outcome on one kind of device; on the processor, the outcome of always.
"""

from __future__ import annotations

import os
import re
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import SneError

PRECISIONS = ("auto", "float32", "bfloat16")
KINDS = ("cpu", "cuda", "mps")
Module = TypeVar("Module", bound=nn.Module)


def back(module: Module) -> Module:
    """A module, on the processor again, its weights in the usual order of memory."""
    return module.to("cpu", memory_format=torch.contiguous_format)  # type: ignore[call-overload,no-any-return]


@dataclass(frozen=True)
class Device:
    """A torch device by name, and the precision of convolutions and products while networks learn in floating point.

    precision   auto: bfloat16 where the device computes it faster and the recipe wants it on a processor, always on
                CUDA; float32; bfloat16
    """

    name: str = "cpu"
    precision: str = "auto"

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise SneError(f"there is no precision {self.precision[:40]!r}", f"give one of: {', '.join(PRECISIONS)}")

    @property
    def kind(self) -> str:
        """cpu, cuda or mps."""
        return self.name.partition(":")[0]

    @property
    def host(self) -> bool:
        """Whether it is the processor, which reads samples where they are."""
        return self.kind == "cpu"

    @property
    def key(self) -> tuple[str, ...]:
        """What an outcome depends on beside its settings: nothing on a processor that chooses its precision."""
        return () if self == CPU else (self.kind, self.precision)

    def prepare(self) -> None:
        """What a process that computes there does first, so that the same seeds give the same outcome."""
        if self.kind == "cuda":
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # or its sums come out in any order
            torch.backends.cudnn.benchmark = False
            torch.use_deterministic_algorithms(True, warn_only=True)
            torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]

    def put(self, array: np.ndarray) -> Tensor:
        """A numpy array as a tensor on the device."""
        made = torch.from_numpy(array)
        return made if self.host else made.to(self.name, non_blocking=True)  # what a loop sends it does not wait for

    def place(self, module: Module, wanted: bool = False) -> Module:
        """A module, moved to the device; a GPU is quickest where maps lie in memory channels last, and a processor
        where it halves their precision, if that is `wanted`."""
        last = self.kind == "cuda" or (self.host and self.halves(wanted))
        layout = {"memory_format": torch.channels_last} if last else {}
        return module.to(self.name, **layout)  # type: ignore[call-overload,no-any-return]

    def halves(self, wanted: bool) -> bool:
        """Whether convolutions and products are in bfloat16: where `wanted` on a processor that has instructions for
        it, always on CUDA, or as the precision says."""
        if self.precision != "auto":
            return self.precision == "bfloat16"
        if self.host:
            return wanted and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
        return self.kind == "cuda"

    def autocast(self, wanted: bool) -> torch.autocast:
        """The context of convolutions and products that are `halves`, or not."""
        return torch.autocast(self.kind, torch.bfloat16, enabled=self.halves(wanted))

    def exact(self) -> AbstractContextManager[Any]:
        """Convolutions in whole float32: sums of integers, as rounded networks make them, come out exact."""
        return torch.backends.cudnn.flags(allow_tf32=False) if self.kind == "cuda" else nullcontext()


CPU = Device()


def find_device(name: str = "auto", precision: str = "auto") -> Device:
    """The device of a name: `auto` (CUDA where there is one, then Apple's GPU, else the processor), cpu, cuda, cuda:N
    or mps. Raises `SneError` where there is no such device here."""
    made = Device("cpu" if name == "auto" else name, precision)
    if name != "auto" and re.fullmatch(r"cpu|mps|cuda(:[0-9]{1,3})?", name) is None:
        raise SneError(f"there is no device {name[:40]!r}", f"give auto, {', '.join(KINDS)} or cuda:N")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    apple = torch.backends.mps.is_available()
    if name == "auto":
        made = Device("cuda" if count else "mps" if apple else "cpu", precision)
    elif made.kind == "cuda" and int(name.partition(":")[2] or 0) >= count:
        has = f"torch finds {count} CUDA device{'s' * (count != 1)}"
        raise SneError(f"there is no device {name} here: {has}", "give --device cpu, or install a torch with CUDA")
    elif made.kind == "mps" and not apple:
        raise SneError("there is no device mps here: torch finds no Apple GPU", "give --device cpu")
    made.prepare()
    return made
