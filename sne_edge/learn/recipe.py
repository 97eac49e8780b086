"""How long and how hard students learn: the settings of a training recipe.

In: numbers. Out: a `Recipe`, checked.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import SneError


@dataclass(frozen=True)
class Recipe:
    """How long and how hard to train. Epochs are passes over the training samples, each in one of its views.

    alone        epochs in which students learn independently
    joint        epochs in which prefixes of the ensemble learn together
    rounded      epochs of quantisation-aware fine-tuning
    rate         highest learning rate of the first phase; joint epochs after others take a quarter, rounded an eighth
    feature, teacher, label   weights of the three losses
    own          weight of a student's own losses while prefixes learn
    spikes       weight of what each layer's mean spike rate has above `target`: spikes are what costs
    target       spike rate, spikes per neuron and timestep, that costs nothing
    temperature  softens logits in the teacher's loss (Hinton et al. 2015, arXiv 1503.02531)
    patience     epochs without a better validation score after which a student alone stops; 0: never
    half         convolutions of the float phases in bfloat16, on processors that have it
    each         share 0..1 of the losses of features, logits and labels that is taken at each timestep, not of means
                 over all (temporal efficient training, Deng et al. 2022, arXiv 2202.11946)
    anew         views are made anew for every batch, of a kept one, whose features and logits stay what is taught
    live         views are made anew of the sample itself, and the teacher answers to that very view (Beyer et al. 2022,
                 arXiv 2106.05237): it runs in the loop
    reach        places by which a view made anew is shifted, at most; None: as kept ones are, see `Augmentation`
    """

    alone: int = 0
    joint: int = 65
    rounded: int = 8
    batch: int = 256
    rate: float = 8e-3
    feature: float = 0.2
    teacher: float = 2.0
    label: float = 0.5
    own: float = 0.3
    spikes: float = 0.005
    target: float = 0.0
    temperature: float = 2.0
    patience: int = 0
    half: bool = False
    each: float = 0.0
    anew: bool = False
    live: bool = False
    reach: int | None = None

    def __post_init__(self) -> None:
        if min(self.alone, self.joint, self.rounded) < 0 or self.batch < 2 or self.rate <= 0:
            raise SneError(
                "a training recipe is out of range", "epochs are at least 0, batch at least 2, rate positive"
            )
        if not 0 <= self.each <= 1 or not 0 <= (self.reach or 0) <= 64:
            raise SneError("a training recipe is out of range", "each is in 0..1, reach in 0..64")
