"""LIF neurons in torch that fire in the order of `ir.neuron.Neuron`, and chains of them run over time.

In: layers and constant or timed inputs. Out: spikes and membranes, with a surrogate gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import snntorch as snn
import torch
from snntorch import surrogate
from torch import Tensor, nn

from ..ir.neuron import Decay, nearest_decay
from .fused import Fused, suits

ALPHA = 2.0  # of the arctangent surrogate gradient (Fang et al. 2021, arXiv 2007.05785)


class LIF(snn.Leaky):  # type: ignore[misc]
    """`snn.Leaky(reset_delay=False)` in the deployed order.

        v = beta v + I      s = v > threshold      v = v - s threshold, or (1 - s) v

    snnTorch's own differs from that order where a membrane still is above threshold after its reset: it takes another
    threshold off before it compares. `shift` k makes the leak beta = 1 - 2^-k, a shift on the device; with `learn` beta
    is a parameter that starts there, and a q15 factor on the device where it ends elsewhere. With `init_hidden` the
    neurons keep their membranes themselves, as snnTorch's do, and return spikes alone: a layer of `nn.Sequential`.
    `adds`: in a chain that is `unroll`ed, their spikes are added to those that the layer before them took.
    """

    def __init__(
        self,
        shift: int = 1,
        threshold: float = 1.0,
        reset_mechanism: str = "subtract",
        learn: bool = False,
        init_hidden: bool = False,
        adds: bool = False,
    ) -> None:
        super().__init__(
            beta=1.0 - 2.0**-shift,
            learn_beta=learn,
            threshold=threshold,
            spike_grad=surrogate.atan(alpha=ALPHA),
            reset_mechanism=reset_mechanism,
            reset_delay=False,
            init_hidden=init_hidden,
        )
        self.shift, self.level, self.learn, self.adds = shift, threshold, learn, adds
        self.unit: Tensor | None = None  # integer form: the real value of one membrane unit, [channels, 1, ...]

    @property
    def decay(self) -> Decay:
        """The leak as the device has it."""
        return nearest_decay(float(self.beta.detach())) if self.learn else Decay("shift", self.shift)

    def forward(self, current: Tensor, membrane: Tensor | None = None) -> tuple[Tensor, Tensor] | Tensor:
        """One timestep: spikes 0/1 and the membrane after the reset, both like `current`; with `init_hidden` the spikes
        alone."""
        if self.init_hidden:
            kept: Tensor = self.mem  # type: ignore[has-type]
            membrane = kept if kept.shape == current.shape else None
        beta = self.beta.clamp(0, 1) if self.learn else 1.0 - 2.0**-self.shift
        v = current if membrane is None else beta * membrane + current
        spike: Tensor = self.spike_grad(v - self.threshold)
        left = v - spike * self.threshold if self.reset_mechanism == "subtract" else v - spike * v
        if self.init_hidden:
            self.mem = left
            return spike
        return spike, left


class _Unrolled(torch.autograd.Function):
    """All timesteps of a `LIF` that resets by subtraction, with backpropagation through time in few operations."""

    @staticmethod
    def forward(ctx: Any, currents: Tensor, neurons: LIF, beta: Tensor) -> Tensor:
        """Spikes for currents, both [timesteps, N, ...]; beta is the neurons', for its gradient.

        In integer form the leak is floored as the device floors it, and a membrane must pass the threshold by more than
        float32's errors.
        """
        unit, threshold = neurons.unit, neurons.level
        level = threshold if unit is None else threshold + unit / 2
        membranes, spikes = torch.empty_like(currents, dtype=torch.float32), torch.empty_like(currents)
        v = currents[0]
        for t, current in enumerate(currents):
            if t > 0:
                left = torch.sub(membranes[t - 1], spikes[t - 1], alpha=threshold)
                if unit is not None:
                    v = current + left - _integer_leak(left, unit, neurons.decay)
                elif neurons.learn:
                    v = current + left * neurons.beta.clamp(0, 1)
                else:
                    v = current + left - left * 2.0**-neurons.shift
            membranes[t] = v
            spikes[t] = v > level
        ctx.save_for_backward(membranes)
        ctx.neurons = neurons
        return spikes

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, Tensor | None]:
        """dv = dm + ds s'(v); ds = gradient - threshold dm; dm = beta dv of the next timestep; s' is the surrogate.

        A learnt beta gets the sum of dv times the membrane that was left.
        """
        neurons: LIF = ctx.neurons
        factor = float(neurons.beta.clamp(0, 1)) if neurons.learn else 1.0 - 2.0**-neurons.shift
        learnt = _after_reset(ctx.saved_tensors[0], neurons) if ctx.needs_input_grad[2] else None
        x = ctx.saved_tensors[0].sub(neurons.level).mul_(torch.pi / 2 * ALPHA)
        slope = x.square_().add_(1).reciprocal_().mul_(ALPHA / 2)  # s' = (alpha / 2) / (1 + (pi alpha x / 2)^2)
        ds = torch.empty_like(slope).copy_(grads[0])  # one type and order of memory: mixed ones are slow
        result = slope
        dm = torch.zeros_like(slope[0])
        for t in reversed(range(len(slope))):
            dv = torch.addcmul(dm, ds[t].sub_(dm, alpha=neurons.level), slope[t], out=result[t])
            dm = torch.mul(dv, factor)
        if learnt is None:
            return result, None, None
        return result, None, (result[1:] * learnt[:-1]).sum().to(neurons.beta.dtype)


def _after_reset(membranes: Tensor, neurons: LIF) -> Tensor:
    """Membranes once those that spiked have lost a threshold."""
    unit = neurons.unit
    level = neurons.level if unit is None else neurons.level + unit / 2
    return membranes - (membranes > level) * neurons.level


def _integer_leak(membrane: Tensor, unit: Tensor, decay: Decay) -> Tensor:
    """What membranes, whole numbers of `unit`, lose to a leak that the device floors."""
    if decay.kind == "none":
        return torch.zeros_like(membrane)
    if decay.kind == "q15":
        whole = torch.round(membrane / unit).double()  # exact: products stay below 2^53
        return ((whole - torch.floor(whole * decay.value / 2**15)) * unit).to(membrane.dtype)
    return torch.floor(membrane * 2.0**-decay.value / unit + 0.5 * 2.0**-decay.value) * unit


def unroll(
    layers: Iterable[nn.Module],
    x: Tensor,
    timesteps: int,
    constant: bool = True,
    watch: Callable[[Tensor], None] | None = None,
) -> Tensor:
    """Run a chain layer by layer through all timesteps; [timesteps, N, ...].

    `x`: [N, ...] where it is `constant` over time (then what comes before the first neurons is computed once), else
    [timesteps, N, ...]. Neurons start at rest. `watch` is told the spike rate of each layer of neurons.
    """
    taken = x  # of the layers of neurons before, what the next ones may add to
    for layer in layers:
        if isinstance(layer, LIF):
            x, rate = fire(layer, x, timesteps if constant else None)
            constant = False
            if watch is not None:
                watch(rate)
            x = taken = x + taken if layer.adds else x
        elif constant:
            x = layer(x)
        else:
            x = layer(x.flatten(0, 1)).unflatten(0, (timesteps, -1))
    return x.expand(timesteps, *x.shape) if constant else x


def fire(neurons: LIF, currents: Tensor, timesteps: int | None = None) -> tuple[Tensor, Tensor]:
    """Spikes [timesteps, N, ...] of one layer of neurons, from rest, and their mean; for currents like them, or, where
    `timesteps` are given, [N, ...] in each of these."""
    if suits(currents) and neurons.reset_mechanism == "subtract" and neurons.unit is None and not neurons.learn:
        steps, leak = len(currents) if timesteps is None else timesteps, 2.0**-neurons.shift
        both: tuple[Tensor, Tensor] = Fused.apply(  # type: ignore[no-untyped-call]
            currents, steps, timesteps is not None, neurons.level, leak, ALPHA
        )
        return both
    currents = currents if timesteps is None else currents.expand(timesteps, *currents.shape)
    if neurons.reset_mechanism == "subtract":
        out: Tensor = _Unrolled.apply(currents, neurons, neurons.beta)  # type: ignore[no-untyped-call]
        return out, out.mean()
    spikes, membrane = [], None
    for current in currents:
        spike, membrane = neurons(current, membrane)
        spikes.append(spike)
    made = torch.stack(spikes)
    return made, made.mean()
