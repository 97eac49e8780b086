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
MAX_WINDOW = 65535  # timesteps


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

    def step(self, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The lowest and the highest value, int64, that lose as much as each of `v` does."""
        if self.kind == "shift":
            bottom = v >> self.value << self.value
            return bottom, bottom + 2**self.value - 1
        if self.kind == "q15":
            lost = 2**15 - self.value  # of 2^15; v loses ceil(v * lost / 2^15)
            part = -((-v * lost) >> 15)
            return ((part - 1) << 15) // lost + 1, (part << 15) // lost
        return np.full_like(v, -(2**62)), np.full_like(v, 2**62)


def nearest_decay(beta: float) -> Decay:
    """A shift where beta is 1 - 2^-k to float32's precision, none at 1, else the nearest q15."""
    for k in range(1, 16):
        if abs(beta - (1.0 - 2.0**-k)) < 1e-7:
            return Decay("shift", k)
    return Decay() if beta >= 1.0 - 2.0**-16 else Decay("q15", max(0, min(32767, round(beta * 32768))))


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

    An li neuron may have a `window` instead of a leak and a clamp: v is the sum of the last `window` timesteps' I.
    """

    kind: Literal["lif", "if", "li"]
    decay: Decay = Decay()
    reset: Literal["subtract", "zero", "none"] = "subtract"
    reset_delay: bool = False
    clamp: tuple[int, int] | None = None
    window: int | msgspec.UnsetType = msgspec.UNSET  # unset, it leaves no trace in a file or fingerprint

    def __post_init__(self) -> None:
        check_window_of(self.window, self.kind == "li" and self.decay.kind == "none" and self.clamp is None)
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


def check_window_of(window: int | msgspec.UnsetType, plain: bool) -> None:
    """Raise `ValueError` for a window of no length, or one over anything but a plain sum."""
    if isinstance(window, int):
        if not plain:
            raise ValueError("a window is over a plain sum: it goes with neither spikes nor a leak nor a clamp")
        if not 1 <= window <= MAX_WINDOW:
            raise ValueError(f"a window of {window} timesteps is not in 1..{MAX_WINDOW}")


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
    every timestep. `steps`: the timesteps of one inference, or None for a stream without end; a window's at most.
    The range grows timestep by timestep, and many in a row by the same: those are taken in one.
    Returns None where the membrane can grow without limit (declare a clamp).
    """
    if isinstance(neuron.window, int):
        steps = neuron.window if steps is None else min(steps, neuron.window)
    low, high = constant  # charged from v = 0
    if neuron.clamp is not None:
        bottom, top = (np.full_like(threshold, value) for value in neuron.clamp)
        ends = [neuron.decay.apply(bottom), neuron.decay.apply(top)]
        if neuron.reset_delay:
            ends = _delayed(neuron, bottom, top, threshold, None, [])
        low, high = np.minimum(low, ends[0] + constant[0]), np.maximum(high, ends[1] + constant[1])
    # 0 is in the range: a fresh membrane is 0, and a clamp or a reset may leave any value between 0 and the sum.
    seen_low, seen_high = min(0, int(low.min())), max(0, int(high.max()))
    limit = 4096 if steps is None else steps
    left = np.full_like(threshold, limit)
    channel = np.stack([negative, positive, *constant, threshold])
    pause = 0
    while left.size:
        for _ in range(min(pause, int(left.min()) - 1)):
            low, high, _, _ = _timestep(neuron, low, high, channel, noted=False)
            left = left - 1
        next_low, next_high, choices, leaks = _timestep(neuron, low, high, channel)
        move_low, move_high = next_low - low, next_high - high
        settled = (move_low == 0) & (move_high == 0)
        count = _same_steps(neuron, low, high, (move_low, move_high), choices, leaks, channel, left)
        # Where most jumps are short, they are not worth their search: timesteps in between grow in number.
        pause = 0 if np.median(count) > 8 else min(2 * pause + 1, 255)
        raw_low = low + (count - 1) * move_low + channel[0]
        raw_high = high + (count - 1) * move_high + channel[1]
        low, high, left = low + count * move_low, high + count * move_high, left - count
        over = settled | (left == 0)
        if over.any():
            if steps is None and not settled[over].all():
                return None
            seen_low = min(seen_low, int(raw_low[over].min()), int(low[over].min()))
            seen_high = max(seen_high, int(raw_high[over].max()), int(high[over].max()))
            low, high, left, channel = low[~over], high[~over], left[~over], channel[:, ~over]
    return Bound(seen_low, seen_high)


Arrays = list[np.ndarray]


def _timestep(
    neuron: Neuron, low: np.ndarray, high: np.ndarray, channel: np.ndarray, noted: bool = True
) -> tuple[np.ndarray, np.ndarray, Arrays, Arrays]:
    """The range of the charged membranes after one more timestep: it never shrinks.

    Also, where they are `noted`, every choice taken on the way, bool, and every value that leaked, in order:
    `_same_steps` compares them.
    """
    negative, positive, low_current, high_current, threshold = channel
    choices: Arrays | None = [] if noted else None
    leaks = Arrays()
    after_low, after_high = low + negative, high + positive
    if neuron.kind != "li" and not neuron.reset_delay:
        quiet = _lower(after_high, _higher(threshold, after_low, choices), choices)
        if neuron.reset == "subtract":
            after_high = _higher(quiet, after_high - threshold, choices)
        else:
            zero = np.zeros_like(threshold)
            after_low, after_high = _lower(after_low, zero, choices), _higher(quiet, zero, choices)
    if neuron.clamp is not None:
        bottom, top = (np.full_like(threshold, value) for value in neuron.clamp)
        after_low = _lower(_higher(after_low, bottom, choices), top, choices)
        after_high = _lower(_higher(after_high, bottom, choices), top, choices)
    if neuron.reset_delay:
        next_low, next_high = _delayed(neuron, after_low, after_high, threshold, choices, leaks)
    else:
        leaks += [after_low, after_high]
        next_low, next_high = neuron.decay.apply(after_low), neuron.decay.apply(after_high)
    next_low = _lower(next_low + low_current, low, choices)
    next_high = _higher(next_high + high_current, high, choices)
    return next_low, next_high, choices or [], leaks


def _delayed(
    neuron: Neuron, low: np.ndarray, high: np.ndarray, threshold: np.ndarray, choices: Arrays | None, leaks: Arrays
) -> Arrays:
    """What is left of low .. high after the leak, where a neuron above threshold loses it now."""
    quiet = _lower(high, _higher(threshold, low, choices), choices)
    fired = _lower(threshold + 1, high, choices)
    leaks += [low, high, quiet, fired]
    apply = neuron.decay.apply
    return [
        _lower(apply(low), apply(fired) - threshold, choices),
        _higher(apply(quiet), apply(high) - threshold, choices),
    ]


def _lower(a: np.ndarray, b: np.ndarray, choices: Arrays | None) -> np.ndarray:
    if choices is not None:
        choices.append(a < b)
    lower: np.ndarray = np.minimum(a, b)
    return lower


def _higher(a: np.ndarray, b: np.ndarray, choices: Arrays | None) -> np.ndarray:
    if choices is not None:
        choices.append(a > b)
    higher: np.ndarray = np.maximum(a, b)
    return higher


def _same_steps(
    neuron: Neuron,
    low: np.ndarray,
    high: np.ndarray,
    move: tuple[np.ndarray, np.ndarray],
    choices: Arrays,
    leaks: Arrays,
    channel: np.ndarray,
    left: np.ndarray,
) -> np.ndarray:
    """For each channel, a number of timesteps, `left` at most, that are all the same as the next one, which moves its
    range by `move`; int64, at least 1.

    Along equal moves every value on the way is linear in time while no choice changes and what leaks, a staircase of
    the value, stays on its step. So where both are alike at the first and at the last of these timesteps, and the last
    one's move is the first one's, they are alike in between.
    """
    count: np.ndarray = left.copy()
    for place, value in enumerate(leaks):
        moved = move[place % 2] if len(leaks) == 2 else (move[0] if place == 0 else move[1])
        bottom, top = neuron.decay.step(value)
        room = np.where(moved > 0, top - value, value - bottom)
        count = np.where(moved == 0, count, np.minimum(count, room // np.maximum(np.abs(moved), 1) + 1))
    while True:  # a choice may change sooner: half as many, then, till they are alike
        last_low, last_high = low + (count - 1) * move[0], high + (count - 1) * move[1]
        next_low, next_high, there, leak = _timestep(neuron, last_low, last_high, channel)
        alike = (next_low - last_low == move[0]) & (next_high - last_high == move[1])
        for mine, other in zip(choices, there, strict=True):
            alike &= mine == other
        for mine, other in zip(leaks, leak, strict=True):
            alike &= mine - neuron.decay.apply(mine) == other - neuron.decay.apply(other)
        if alike.all():
            return count
        count = np.where(alike, count, np.maximum(count // 2, 1))
