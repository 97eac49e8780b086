"""What the end of every timestep takes: leaking, comparing, resetting and charging a layer's neurons, and marking
spikes.

Each core has its passes: over a position's neurons at one timestep, over those of a last one, whose membranes nobody
needs any more, and through all timesteps of a constant drive at once (sne_fire.h).
"""

from __future__ import annotations

from dataclasses import dataclass

from ..ir.layers import SynapticLayer
from ..ir.limits import padded
from .work_counts import Kernels, Rates, Work, charged

ADDED = ("gather", "mac", "convolve")  # kernels that bring all of a position at once
SHIFTED_AT_ONCE = 4  # the largest shift that the DSP extension's halving additions make


@dataclass(frozen=True)
class Firing:
    """Of all positions: spikes; groups of four, and of eight, neurons that hold one, in all timesteps but the last, and
    in that."""

    spikes: float
    fours: float
    eights: float
    last_fours: float
    last_eights: float


def expected_firing(layer: SynapticLayer, timesteps: int, rates: Rates) -> Firing:
    """Of a layer whose neurons fire at those rates."""
    channels, positions = layer.channels, layer.neurons // layer.channels
    fours = positions * (channels // 4 * float(rates.fired(4)) + float(rates.fired(channels % 4)))
    eights = positions * (channels // 8 * float(rates.fired(8)) + float(rates.fired(channels % 8)))
    spikes = layer.neurons * timesteps * rates.outgoing
    return Firing(spikes, fours * (timesteps - 1), eights * (timesteps - 1), fours, eights)


def plain_neurons(layer: SynapticLayer, kernels: Kernels) -> bool:
    """Has the core a pass of its own for 16-bit membranes of this kind?"""
    neuron = layer.neuron
    if layer.width != 16 or neuron.clamp is not None or neuron.reset_delay:
        return False
    return kernels in ("dsp", "thumb2") or (kernels in ("thumb1", "words") and neuron.decay.kind != "q15")


def turned(layer: SynapticLayer, kernel: str, kernels: Kernels) -> bool:
    """Do membranes have turned signs while the kernel works on them (sne_turned in sne_layer.h)?"""
    if layer.bits != 8 or not plain_neurons(layer, kernels):
        return False
    decay = layer.neuron.decay
    if kernels == "thumb2":
        return kernel == "scatter" and (decay.kind == "none" or (decay.kind == "shift" and decay.value < 8))
    return (kernels in ("thumb1", "words") and kernel in ADDED) or (kernels == "words" and kernel == "scatter")


def steps_at_once(layer: SynapticLayer, direct: bool, kernels: Kernels) -> bool:
    """Does a direct input's layer take a position through all timesteps at once?"""
    if not direct or layer.channels % 8 or layer.neuron.kind == "li":
        return False
    if kernels == "helium":
        return layer.neuron.clamp is None
    return kernels != "thumb2" and plain_neurons(layer, kernels)


def firing_key(layer: SynapticLayer, kernel: str, direct: bool, windowed: bool, kernels: Kernels) -> str:
    """Which code fires a layer's neurons."""
    neuron = layer.neuron
    reset = "delayed" if neuron.reset_delay else neuron.reset
    if windowed:
        place = "sums"
    elif steps_at_once(layer, direct, kernels):
        place = "steps"
    else:
        place = "turned" if turned(layer, kernel, kernels) else "fire"
    clamp = ".clamp" if neuron.clamp is not None else ""
    return f"{place}.{layer.width}.{neuron.decay.kind}.{reset}{clamp}"


def fire_work(
    layer: SynapticLayer, kernel: str, direct: bool, across: int, timesteps: int, kept: bool, kernels: Kernels,
    firing: Firing,
) -> Work:  # fmt: skip
    """Of all positions and timesteps; `across`: positions whose neurons are taken by one call; `kept`: membranes are
    needed after the last timestep as well."""
    key = firing_key(layer, kernel, direct, False, kernels)
    positions = layer.neurons // layer.channels
    if steps_at_once(layer, direct, kernels):
        return _steps(layer, key, positions, kernel == "convolve", timesteps, kernels, firing)
    work = Work()
    stride = padded(layer.channels)
    pairs = 0
    if kernel == "convolve" and kernels == "dsp":  # two positions as one
        pairs = layer.out_shape[0] * (layer.out_shape[1] // 2)
    has_last = layer.width == 16 and kernels != "helium" and not kept
    regular = timesteps - 1 if has_last else timesteps
    for count, each in ((pairs, 2 * stride), (positions - 2 * pairs, stride)):
        if count:
            work += _pass(layer, key, count, count // across, each, regular, kernels)
            if has_last:
                work += _last(count, count // across, each, kernels, key.startswith("turned"))
    work[f"{key}.firing"] = firing.fours + (0 if has_last else firing.last_fours)
    if not plain_neurons(layer, kernels) and not _wide(layer, kernels):
        work[f"{key}.spikes"] = firing.spikes * (1 if not has_last else regular / max(1, timesteps))
    if has_last:
        work["last.firing"] = firing.last_eights if kernels in ("dsp", "thumb2") else firing.last_fours
    return work


def _wide(layer: SynapticLayer, kernels: Kernels) -> bool:
    neuron = layer.neuron
    able = neuron.clamp is None and not neuron.reset_delay and neuron.decay.kind != "q15"
    return layer.width == 32 and kernels in ("dsp", "thumb2") and able


def _pass(
    layer: SynapticLayer, key: str, positions: int, calls: int, stride: int, timesteps: int, kernels: Kernels
) -> Work:
    """Regular timesteps of so many positions, `stride` neurons each."""
    times = positions * timesteps
    work = Work({f"{key}.calls": calls * timesteps, f"{key}.positions": times})
    shift = layer.neuron.decay.value if layer.neuron.decay.kind == "shift" else 0
    if kernels == "helium":
        work[f"{key}.eights"] = times * (-(-stride // 8) if layer.width == 16 else stride // 8)
        work[f"{key}.fours"] = times * (stride % 8 // 4) * (layer.width == 32)
        work[f"{key}.more"] = times * -(-stride // 4) * (shift > 1)
        work[f"{key}.apart"] = times * (layer.channels % 8 > 0)
    elif plain_neurons(layer, kernels) and kernels in ("dsp", "thumb2"):
        work[f"{key}.eights"] = times * (stride // 8)
        work[f"{key}.fours"] = times * (stride % 8 // 4)
        if kernels == "dsp" and shift:
            _shifted(work, key, times * (stride // 2), shift)
    else:
        work[f"{key}.fours"] = times * (stride // 4)
    return work


def _shifted(work: Work, key: str, words: float, shift: int) -> None:
    """What a larger shift takes beyond the least, of so many words of membranes."""
    if shift > SHIFTED_AT_ONCE:
        work[f"{key}.far"] = words
    else:
        work[f"{key}.shift"] = words * (shift - 1)


def _last(positions: int, calls: int, stride: int, kernels: Kernels, turn: bool) -> Work:
    key = "last.turned" if turn else "last"
    fours = stride % 8 // 4 if kernels in ("dsp", "thumb2") else stride // 4
    eights = stride // 8 if kernels in ("dsp", "thumb2") else 0
    return Work(
        {
            f"{key}.calls": calls,
            f"{key}.positions": positions,
            f"{key}.eights": positions * eights,
            f"{key}.fours": positions * fours,
        }
    )


def _steps(
    layer: SynapticLayer, key: str, positions: int, paired: bool, timesteps: int, kernels: Kernels, firing: Firing
) -> Work:
    """All timesteps of a position at once; `paired`: of two."""
    eights = positions * (layer.channels // 8)
    shift = layer.neuron.decay.value if layer.neuron.decay.kind == "shift" else 0
    if kernels == "helium":
        updates = eights * timesteps
        return Work(
            {f"{key}.calls": positions, f"{key}.eights": eights, f"{key}.updates": updates,
             f"{key}.more": updates * (layer.width // 16) * (shift > 1)}
        )  # fmt: skip
    calls = layer.out_shape[0] * -(-layer.out_shape[1] // 2) if paired and kernels == "dsp" else positions
    updates = eights * (timesteps - 1)
    work = Work({f"{key}.calls": calls, f"{key}.eights": eights, f"{key}.updates": updates})
    work["count.words"] = timesteps * -(-layer.neurons // 32)
    if kernels == "dsp" and shift:
        _shifted(work, key, updates * 4, shift)
    elif kernels == "thumb1":
        work[f"{key}.firing"], work[f"{key}.last"] = firing.fours, firing.last_fours
    elif kernels == "words":
        work[f"{key}.firing"], work[f"{key}.last"] = firing.eights, firing.last_eights
    return work


def fresh_work(layer: SynapticLayer, kernel: str, direct: bool, kernels: Kernels) -> Work:
    """Membranes before the first timestep."""
    work = Work()
    positions, stride = layer.neurons // layer.channels, padded(layer.channels)
    if layer.neuron.kind == "li":
        work[f"rest.{layer.width}.positions"] = positions
        work[f"rest.{layer.width}.fours"] = positions * (stride // 4)
    elif not steps_at_once(layer, direct, kernels):
        pairs = layer.out_shape[0] * (layer.out_shape[1] // 2) if kernel == "convolve" and kernels == "dsp" else 0
        key = "fresh.turned" if turned(layer, kernel, kernels) else "fresh"
        charged(work, key, pairs, 2 * stride, layer.width)
        charged(work, key, positions - 2 * pairs, stride, layer.width)
    return work
