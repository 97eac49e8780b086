"""Integer neurons: their equations, and the proof that a layer of them cannot overflow.

The arithmetic is normative; `reference` (PyTorch) and `runtime_c/sne_neuron.h` (C) restate it.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np

INT16 = (-(2**15), 2**15 - 1)
INT32 = (-(2**31), 2**31 - 1)
CLAMP_INT32 = (-(2**30), 2**30)  # what the quantiser declares where only a clamp bounds a membrane


class Decay(msgspec.Struct, frozen=True):
    """Leak of the membrane per timestep; `>>` is an arithmetic shift (floor).

    none: v      shift: v -= v >> value, value 1..15      q15: v = (v * value) >> 15, value 0..32767
    """

    kind: Literal["none", "shift", "q15"] = "none"
    value: int = 0

    def __post_init__(self) -> None:
        low, high = {"none": (0, 0), "shift": (1, 15), "q15": (0, 32767)}[self.kind]
        if not low <= self.value <= high:
            raise ValueError(f"decay {self.kind} takes a value in {low}..{high}, not {self.value}")

    @property
    def beta(self) -> float:
        """The leak as a factor in 0..1."""
        return {"none": 1.0, "shift": 1.0 - 2.0**-self.value, "q15": self.value / 32768.0}[self.kind]

    def apply(self, v: np.ndarray) -> np.ndarray:
        """Decayed membranes, int64, exact."""
        if self.kind == "shift":
            v = v - (v >> self.value)
        if self.kind == "q15":
            v = (v * self.value) >> 15
        return v


class Neuron(msgspec.Struct, frozen=True):
    """One timestep, for input current I (bias and weights of the spikes that arrive):

        v = decay(v) + I
        s = v > threshold                            (lif, if)
        v = v - s * threshold  |  v = s ? 0 : v      (reset `subtract` | `zero`)
        v = min(max(v, clamp[0]), clamp[1])          (where a clamp is declared)

    lif leaks, if does not (decay `none`), li never spikes: the readout. With `reset_delay` the subtraction
    happens one step later, between decay and current (snnTorch's default order): v = decay(v) - s_prev * threshold + I.
    The state an engine keeps between timesteps is the *charged* membrane, decay(v) (- s * threshold) + bias:
    what the next timestep finds before any spike arrives. A fresh state is charged from v = 0.
    """

    kind: Literal["lif", "if", "li"]
    decay: Decay = Decay()
    reset: Literal["subtract", "zero", "none"] = "subtract"
    reset_delay: bool = False
    clamp: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if (self.kind == "if" and self.decay.kind != "none") or (self.kind == "lif" and self.decay.kind == "none"):
            raise ValueError(
                f"neuron {self.kind} cannot have decay {self.decay.kind}: an IF neuron has none, a LIF neuron one"
            )
        if (self.kind == "li") != (self.reset == "none"):
            raise ValueError(
                f"neuron {self.kind} cannot have reset {self.reset}: only li, which never spikes, has none"
            )
        if self.reset_delay and self.reset != "subtract":
            raise ValueError("a delayed reset must be by subtraction")
        if self.clamp is not None and not (INT32[0] <= self.clamp[0] <= 0 <= self.clamp[1] <= INT32[1]):
            raise ValueError(f"clamp {self.clamp} must enclose 0 and fit in 32 bits")


class Bound(msgspec.Struct, frozen=True):
    """Proven range of everything a layer ever holds in a membrane, over all its neurons, inclusive."""

    low: int
    high: int

    @property
    def width(self) -> int:
        """Bits of the narrowest membrane that holds the range: 16, 32, or 64 (not supported)."""
        if INT16[0] <= self.low and self.high <= INT16[1]:
            return 16
        return 32 if INT32[0] <= self.low and self.high <= INT32[1] else 64


def prove_bound(
    neuron: Neuron,
    negative: np.ndarray,
    positive: np.ndarray,
    constant: np.ndarray,
    threshold: np.ndarray,
    steps: int | None,
) -> Bound | None:
    """Bound every membrane by interval arithmetic, whatever the input.

    All arrays int64 [channels]. `negative` / `positive`: the sums of the negative / positive weights that
    spikes can bring in one timestep. `constant` (shape [2, channels]): range of the current that is there at
    every timestep. `steps`: the timesteps of one inference, or None for a stream without end.
    Returns None where the membrane can grow without limit (declare a clamp).
    """
    low_current, high_current = constant

    def charge(after_low: np.ndarray, after_high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = neuron.decay.apply(after_low), neuron.decay.apply(after_high)
        if neuron.reset_delay:  # a neuron above threshold loses it now
            quiet = neuron.decay.apply(np.minimum(after_high, np.maximum(threshold, after_low)))
            high = np.maximum(quiet, high - threshold)
            low = np.minimum(low, neuron.decay.apply(np.minimum(threshold + 1, after_high)) - threshold)
        return low + low_current, high + high_current

    low, high = low_current, high_current  # charged from v = 0
    if neuron.clamp is not None:
        clamp_low, clamp_high = (np.full_like(threshold, value) for value in neuron.clamp)
        next_low, next_high = charge(clamp_low, clamp_high)
        low, high = np.minimum(low, next_low), np.maximum(high, next_high)
    # 0 is in the range: a fresh membrane is 0, and a clamp or a reset may leave any value between 0 and the sum.
    seen_low, seen_high = np.minimum(low, 0), np.maximum(high, 0)
    for _ in range(4096 if steps is None else steps):
        raw_low, raw_high = low + negative, high + positive
        seen_low, seen_high = np.minimum(seen_low, raw_low), np.maximum(seen_high, raw_high)
        after_low, after_high = raw_low, raw_high
        if neuron.kind != "li" and not neuron.reset_delay:
            quiet_high = np.minimum(raw_high, np.maximum(threshold, raw_low))
            if neuron.reset == "subtract":
                after_high = np.maximum(quiet_high, raw_high - threshold)
            else:
                after_low, after_high = np.minimum(raw_low, 0), np.maximum(quiet_high, 0)
        if neuron.clamp is not None:
            after_low, after_high = np.clip(after_low, *neuron.clamp), np.clip(after_high, *neuron.clamp)
        next_low, next_high = charge(after_low, after_high)
        next_low, next_high = np.minimum(next_low, low), np.maximum(next_high, high)
        converged = (next_low == low).all() and (next_high == high).all()
        low, high = next_low, next_high
        seen_low, seen_high = np.minimum(seen_low, low), np.maximum(seen_high, high)
        if converged:
            return Bound(int(seen_low.min()), int(seen_high.max()))
    return None if steps is None else Bound(int(seen_low.min()), int(seen_high.max()))
