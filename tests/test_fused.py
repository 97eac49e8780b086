"""Layers of neurons as one compiled kernel: the bits of what is not compiled, the spikes of neurons step by step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from sne_edge.learn import fused
from sne_edge.learn.neurons import ALPHA, LIF, _Unrolled, fire

CASES = 24


def drawn(case: int) -> tuple[Tensor, Tensor, LIF]:
    """Currents [timesteps, N, channels, height, width] of any scale, a weight for each spike, and neurons."""
    torch.manual_seed(case)
    shape = (int(torch.randint(1, 5, ())), *torch.randint(1, 24, (4,)).tolist())
    scale = (0.3, 1.5, 30.0)[case % 3]
    currents, weight = ((s * torch.randn(shape)).to(torch.bfloat16) for s in (scale, 1.0))
    return currents, weight, LIF(1 + case % 4, (1.0, 0.5)[case % 2])


def learnt(currents: Tensor, weight: Tensor, neurons: LIF) -> tuple[Tensor, Tensor]:
    """Spikes of fused neurons, and the gradient of their weighted sum."""
    taken = currents.clone().requires_grad_()
    made: Tensor = fused.Fused.apply(taken, neurons.level, 2.0**-neurons.shift, ALPHA)
    (made * weight).sum().backward()
    assert taken.grad is not None
    return made.detach(), taken.grad


def test_kernels_that_are_compiled_compute_the_bits_of_those_that_are_not(
    monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]
) -> None:
    require_tool("g++")
    assert fused.kernels() != (fused.advance, fused.retreat)
    examined, fired = 0, 0.0
    for case in range(0, CASES, 4):  # of one shift: each other one is compiled anew
        neurons = LIF(1)
        currents, weight, _ = drawn(case)
        currents, weight = currents[:2].expand(2, -1, -1, -1, -1), weight[:2].expand(2, -1, -1, -1, -1)
        spikes, gradient = learnt(currents, weight, neurons)
        with monkeypatch.context() as patch:
            patch.setattr(fused, "kernels", lambda: (fused.advance, fused.retreat))
            plain = learnt(currents, weight, neurons)
        assert torch.equal(spikes, plain[0]) and torch.equal(gradient, plain[1])
        examined, fired = examined + spikes.numel(), fired + float(spikes.sum())
    assert examined > 10_000 and 0.05 < fired / examined < 0.95


def test_fused_neurons_fire_and_learn_as_unrolled_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused, "kernels", lambda: (fused.advance, fused.retreat))
    examined = 0
    for case in range(CASES):
        currents, weight, neurons = drawn(case)
        spikes, gradient = learnt(currents, weight, neurons)
        taken = currents.clone().requires_grad_()
        expected = _Unrolled.apply(taken, neurons, neurons.beta)
        (expected * weight).sum().backward()
        assert torch.equal(spikes, expected.detach())
        assert gradient.dtype == torch.bfloat16
        assert taken.grad is not None
        torch.testing.assert_close(gradient, taken.grad, rtol=2**-7, atol=2**-9)  # a sum's last bit may round it
        examined += spikes.numel()
    assert examined > 100_000


def test_half_precision_on_a_processor_takes_the_fused_kernels_and_nothing_else_does() -> None:
    neurons = LIF(1)
    half = torch.randn(2, 3, 4, 5, 5).to(torch.bfloat16).requires_grad_()
    made = {
        "half": fire(neurons, half),
        "float": fire(neurons, half.float()),
        "learnt decay": fire(LIF(1, learn=True), half),
        "reset to zero": fire(LIF(1, reset_mechanism="zero"), half),
    }
    assert [name for name, out in made.items() if type(out.grad_fn).__name__ == "FusedBackward"] == ["half"]


def test_without_a_compiler_the_kernels_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> object:
        def call(*_: object) -> object:
            raise RuntimeError("No working C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", missing)
    assert fused.kernels.__wrapped__() == (fused.advance, fused.retreat)
