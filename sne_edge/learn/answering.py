"""A teacher that answers and no longer learns, compiled: its weights are constants, norms part of their convolutions.

In: a teacher, and how much it will be asked. Out: its answers; those of the teacher itself where torch has no compiler,
or the teacher does what torch does not compile.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from ..ir.encoder import Shape
from .device import Device
from .networks import TeacherNet
from .teacher import count_macs

WORTH = 10**12  # multiply-accumulates of an epoch: less is not worth ten to thirty seconds of a compiler
NEAR = 0.05  # of the largest answer: bfloat16 has eight bits, and what is folded is rounded elsewhere


class Answering:
    """A teacher's `answers` to batches of samples [N, channels, height, width], `count` of them an epoch.

    Compiled where it convolves images in half precision on a processor, and there is work enough: small kernels that
    read and write whole maps take longer there than convolutions do. The first answers are held against the teacher's
    own. The teacher is copied, and put on the device.
    """

    def __init__(self, teacher: TeacherNet, device: Device, shape: Shape, count: int) -> None:
        self.device = device
        self.teacher: TeacherNet = device.place(copy.deepcopy(teacher).eval())
        self.compiled: Callable[[Tensor], tuple[Tensor, Tensor]] | None = None
        self.held = False
        if device.host and device.halves(teacher.images) and count * count_macs(self.teacher, shape) >= WORTH:
            self.compiled = torch.compile(self.teacher.answers, fullgraph=True, dynamic=False)

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features float32 [N, d] and logits float32 [N, classes]."""
        with torch.no_grad(), self.device.autocast(self.teacher.images):
            features, logits = self._answers(x)
        return features.float(), logits.float()

    def _answers(self, x: Tensor) -> tuple[Tensor, Tensor]:
        if self.compiled is not None:
            import torch._inductor.config  # a second, which who does not compile need not wait for

            try:
                with torch._inductor.config.patch(freezing=True):  # as an option of torch.compile it has no effect
                    found = self.compiled(x)
            except Exception:  # of whatever compiler torch has
                self.compiled = None
            else:
                if self.held or self._near(found, self.teacher.answers(x)):
                    self.held = True
                    return found
                self.compiled = None
        return self.teacher.answers(x)

    @staticmethod
    def _near(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
        pairs = [(a.float(), b.float()) for a, b in zip(found, expected, strict=True)]
        return all(bool((a - b).abs().max() <= NEAR * b.abs().max()) for a, b in pairs)
