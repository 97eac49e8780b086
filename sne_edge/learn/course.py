"""What students have yet to learn: the losses of a batch.

In: an ensemble, batches of lessons. Out: a scalar for a training loop to lower.
"""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional

from .fit import distillation_loss
from .lessons import Batch, Tutor
from .student import Ensemble


class Course:
    """The losses of one ensemble in the batches of a tutor, who knows its partition; where both are."""

    def __init__(self, ensemble: Ensemble, tutor: Tutor) -> None:
        self.ensemble, self.tutor, self.recipe, self.device = ensemble, tutor, tutor.recipe, tutor.device
        self.chunks = [self.device.put(ensemble.partition.chunk(k)) for k in range(ensemble.partition.students)]

    def draw(self, pick: np.ndarray, generator: np.random.Generator) -> Batch:
        """The samples `pick`, int64 [n], as the tutor gives them."""
        return self.tutor.draw(pick, generator)

    def alone(self, k: int, batch: Batch) -> Tensor:
        """What student k has yet to learn by itself."""
        each = self.recipe.each
        with self.device.autocast(self.recipe.half):
            feature, part, rates = self.ensemble.part(k, batch.x, each > 0)
        bias = self.ensemble.bias.detach()
        loss = self._spikes(rates)
        for share, f, z, b in self._shares(feature, part.float(), batch):
            loss = loss + share * self._feature(k, f, b)
            loss = loss + share * self._answer(z + bias, b)
        return loss

    def together(self, batch: Batch) -> Tensor:
        """What the students have yet to learn by themselves and as prefixes of the ensemble."""
        recipe, ensemble = self.recipe, self.ensemble
        with self.device.exact() if ensemble.rounded else self.device.autocast(recipe.half):
            features, parts, rates = ensemble(batch.x, recipe.each > 0)
        parts = parts.float()
        loss = self._spikes(rates)
        for k, feature in enumerate(features):
            for share, f, _, b in self._shares(feature, parts[k], batch):
                loss = loss + share * self._feature(k, f, b)
        last = len(parts) - 1
        for k in range(len(parts)):  # the first student and the whole ensemble count most
            own = self._answers(ensemble.logits(parts, [k]), batch)
            prefix = self._answers(ensemble.logits(parts, range(k + 1)), batch)
            loss = loss + recipe.own * own + (1.0 if k in (0, last) else 0.5) * prefix
        return loss

    def _shares(self, feature: Tensor, part: Tensor, batch: Batch) -> list[tuple[float, Tensor, Tensor, Batch]]:
        """Shares of the loss, with features, logits and lessons of each: all timesteps as samples, and their means."""
        each = self.recipe.each
        if not each:
            return [(1.0, feature, part, batch)]
        mean = [] if each == 1 else [(1 - each, feature.mean(dim=0), part.mean(dim=0), batch)]
        return [(each, feature.flatten(0, 1), part.flatten(0, 1), batch.repeated(len(part))), *mean]

    def _answers(self, logits: Tensor, batch: Batch) -> Tensor:
        shares = self._shares(logits, logits, batch)
        total = shares[0][0] * self._answer(shares[0][2], shares[0][3])
        for share, _, z, b in shares[1:]:
            total = total + share * self._answer(z, b)
        return total

    def _spikes(self, rates: Tensor) -> Tensor:
        return self.recipe.spikes * (rates - self.recipe.target).clamp_min(0).sum()

    def _feature(self, k: int, feature: Tensor, batch: Batch) -> Tensor:
        return self.recipe.feature * functional.mse_loss(feature.float(), batch.targets[:, self.chunks[k]])

    def _answer(self, logits: Tensor, batch: Batch) -> Tensor:
        recipe = self.recipe
        return distillation_loss(
            logits, batch.logits, batch.labels,
            temperature=recipe.temperature, teacher_weight=recipe.teacher, label_weight=recipe.label,
        )  # fmt: skip
