"""Training loops: one schedule, one checkpoint format, for teachers and students alike.

In: a module, a loss on picked samples, a plan. Out: the module, trained. With a checkpoint file, a run that was killed
goes on where its last epoch ended, with the outcome of a run that was not.
"""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..errors import SneError
from ..files import write_whole
from ..resources import PACKAGE, digest

SPARED = 20  # times as long as writing a checkpoint took, nothing is written, epochs being short
Progress = Callable[[str, int, int, str], None]  # (stage, steps done, steps in all, a word: `Told`)


class Told(str):
    """A word on how it goes that carries the numbers it was made of, by name."""

    values: dict[str, float]

    def __new__(cls, words: str, values: dict[str, float] | None = None) -> Told:
        made = super().__new__(cls, words)
        made.values = values or {}
        return made

    def __getnewargs__(self) -> tuple[str, dict[str, float]]:  # type: ignore[override]  # other processes say it, too
        return str(self), self.values


def quiet(stage: str, done: int, total: int, note: str) -> None:
    """A `Progress` that shows nothing."""


@dataclass(frozen=True)
class Plan:
    """How long and how fast to learn.

    epochs    passes over the samples; with `minutes`, the most there may be
    minutes   wall time after which learning ends, or None; the schedule follows whichever is nearer its end, so that
              the rate has fallen to nothing when time is up. A run of limited time repeats only roughly.
    rate      highest learning rate, of AdamW, or of SGD with Nesterov momentum where `sgd` is set
    warm      share of the schedule in which the rate rises; then it falls as a cosine
    patience  epochs without a better score after which learning ends; 0: never
    folded    batch norms are folded: AdamW's steps, which do not know how large weights are, shrink with small ones
    remedy    what to do where the loss is no number
    """

    epochs: int
    batch: int = 256
    rate: float = 8e-3
    decay: float = 1e-3
    warm: float = 0.3
    sgd: bool = False
    minutes: float | None = None
    patience: int = 0
    folded: bool = False
    remedy: str = "give a lower `rate` in the settings' [recipe] (--config)"


def fit(
    module: nn.Module,
    loss: Callable[[np.ndarray, np.random.Generator], Tensor],
    samples: int,
    plan: Plan,
    *,
    stage: str,
    seed: int = 0,
    score: Callable[[], tuple[float, str]] | None = None,
    checkpoint: Path | None = None,
    progress: Progress = quiet,
) -> None:
    """Train `module` in place.

    `loss` maps indices int64 [n] of samples and a generator to a scalar. Every epoch draws from generators of its own,
    seeded by `seed` and its number. `score`, asked after each epoch, says how good the module is and in what words; the
    best epoch is kept, the latest of equals. Without it the last epoch is.
    """
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimizer: torch.optim.Optimizer
    if plan.sgd:
        optimizer = torch.optim.SGD(parameters, plan.rate, momentum=0.9, weight_decay=plan.decay, nesterov=True)
    else:
        groups = [{"params": [p], "share": _share(p)} for p in parameters]
        whole = groups if plan.folded else parameters
        fused = parameters[0].is_cuda or None  # one kernel for all weights
        optimizer = torch.optim.AdamW(whole, plan.rate, weight_decay=plan.decay, fused=fused)
    begun, spent, best, since, state = 0, 0.0, -np.inf, 0, None
    found = None if checkpoint is None else read_checkpoint(checkpoint)
    if found is None:
        if score is not None:
            best, state = score()[0], _snapshot(module)
    else:
        module.load_state_dict(found["module"])
        optimizer.load_state_dict(found["optimizer"])
        begun, spent, best, since, state = (found[k] for k in ("epoch", "spent", "best", "since", "state"))
    batches = max(1, samples // plan.batch)
    start = time.monotonic() - spent
    written, writing = time.monotonic(), 0.0  # when the checkpoint was, and how long that took
    ended, kept = begun, True  # epochs so far, and whether the checkpoint has them

    def done(epoch: int, part: float) -> float:
        share = (epoch + part) / max(1, plan.epochs)
        if plan.minutes is not None:
            share = max(share, (time.monotonic() - start) / (60 * plan.minutes))
        return min(share, 1.0)

    def keep() -> None:
        nonlocal kept, written, writing
        kept = True
        if checkpoint is None:
            return
        began = time.monotonic()
        content = {
            "module": module.state_dict(),
            "optimizer": optimizer.state_dict(),
            "epoch": ended,
            "spent": time.monotonic() - start,
            "best": float(best),
            "since": since,
            "state": state,
        }
        write_checkpoint(checkpoint, content)
        written = time.monotonic()
        writing = written - began

    for epoch in range(begun, plan.epochs):
        if done(epoch, 0) >= 1 or (plan.patience and since >= plan.patience):
            break
        generator = np.random.default_rng([seed, 4, epoch])
        torch.manual_seed(int(generator.integers(2**31)))
        module.train()
        latest: Tensor | None = None
        for n, pick in enumerate(np.array_split(generator.permutation(samples), batches)):
            share = done(epoch, n / batches)
            if share >= 1:
                break
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * group.get("share", 1.0) * _cycle(share, plan.warm)
            if len(pick) < 2:  # batch norm needs two
                continue
            value = loss(pick, generator)
            optimizer.zero_grad()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            latest = value.detach()  # read once an epoch: a GPU goes on meanwhile
        last = 0.0 if latest is None else latest.item()
        note = Told(f"loss {last:.3f}", {"loss": last})
        if not np.isfinite(last):
            raise SneError(f"{stage}: the loss is {last} in epoch {epoch + 1}", plan.remedy)
        if score is not None:
            value_now, words = score()
            note = Told(f"{note}, {words}", note.values | (words.values if isinstance(words, Told) else {}))
            since += 1
            if value_now >= best:
                best, since, state = value_now, 0, _snapshot(module)
        ended, kept = epoch + 1, False
        if time.monotonic() - written >= SPARED * writing:
            keep()
        progress(stage, epoch + 1, plan.epochs, note)
    if not kept:
        keep()
    if state is not None:
        module.load_state_dict(state)
    module.eval()


def _cycle(share: float, warm: float) -> float:
    """The rate over its highest: from 1/25 up to 1 along a cosine, and down to nearly nothing along another."""
    if share < warm:
        return float(0.04 + 0.96 * 0.5 * (1 - np.cos(np.pi * share / warm)))
    return float(1e-4 + (1 - 1e-4) * 0.5 * (1 + np.cos(np.pi * (share - warm) / max(1e-9, 1 - warm))))


def _share(parameter: nn.Parameter) -> float:
    """A parameter's share of the rate once batch norms are folded: its root mean square in tenths, at most 1."""
    return min(1.0, 10 * float(parameter.detach().square().mean().sqrt()))


def _snapshot(module: nn.Module) -> dict[str, Tensor]:
    return copy.deepcopy(module.state_dict())


def outcome_key(*parts: Any) -> str:
    """16 hex digits over `parts`, JSON-able, that decide what is trained, and over what else does: the version of torch
    and the code of this package, by rooms, from data and models to the run. What is kept under it is another code's,
    another default's or another torch's never."""
    code = digest(*(PACKAGE / room for room in ("ir", "data", "check", "learn", "quantize", "pipeline")))
    return hashlib.sha256(json.dumps([*parts, code, str(torch.__version__)]).encode()).hexdigest()[:16]


def read_checkpoint(path: Path) -> dict[str, Any] | None:
    """What `write_checkpoint` wrote there, or None where there is nothing or a damaged file."""
    try:
        found: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, ValueError, KeyError, pickle.UnpicklingError):
        return None
    return found


def write_checkpoint(path: Path, content: dict[str, Any]) -> None:
    """Tensors and plain values to a file, whole or not at all."""
    write_whole(path, lambda file: torch.save(content, file))


def distillation_loss(
    logits: Tensor,
    teacher: Tensor,
    labels: Tensor,
    *,
    temperature: float = 2.0,
    teacher_weight: float = 2.0,
    label_weight: float = 0.5,
) -> Tensor:
    """Divergence from the teacher's logits, both softened, and cross-entropy (Hinton et al. 2015, arXiv 1503.02531).

    Logits [N, classes] of learner and teacher, labels int64 [N]; a scalar.
    """
    soft = functional.kl_div(
        functional.log_softmax(logits / temperature, dim=1),
        functional.softmax(teacher / temperature, dim=1),
        reduction="batchmean",
    )
    return teacher_weight * soft + label_weight * functional.cross_entropy(logits, labels)


def infer(module: Callable[[Tensor], Tensor], parts: Iterable[Tensor]) -> Tensor:
    """The module's answers on batches, one tensor, without gradients."""
    with torch.no_grad():
        return torch.cat([module(part) for part in parts])
