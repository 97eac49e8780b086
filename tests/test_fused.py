"""Layers of neurons as one compiled kernel: the bits of what is not compiled, the spikes of neurons step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator

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


def learnt(currents: Tensor, weight: Tensor, neurons: LIF, constant: bool = False) -> tuple[Tensor, Tensor, Tensor]:
    """Spikes of fused neurons, their rate, and the gradient of their weighted sum and of a hundred times the rate; for
    currents that are `constant` the first timestep's."""
    taken = (currents[0] if constant else currents).clone().requires_grad_()
    settings = len(currents), constant, neurons.level, 2.0**-neurons.shift, ALPHA
    spikes, rate = fused.Fused.apply(taken, *settings)
    ((spikes * weight).sum() + 100 * rate).backward()
    assert taken.grad is not None
    return spikes.detach(), rate.detach(), taken.grad


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setattr(fused, "kernels", lambda: (fused.advance, fused.retreat))
        yield


@pytest.mark.parametrize("constant", [False, True])
def test_kernels_that_are_compiled_compute_the_bits_of_those_that_are_not(
    constant: bool, monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]
) -> None:
    require_tool("g++")
    assert fused.kernels() != (fused.advance, fused.retreat)
    examined, fired = 0, 0.0
    for case in range(0, CASES, 4):  # two timesteps and one leak: kernels of others are compiled anew
        currents, weight, _ = drawn(case)
        currents, weight = (
            a[:1].repeat(2, 1, 1, 1, 1) * torch.tensor([1, 0.7]).view(2, 1, 1, 1, 1).to(a) for a in (currents, weight)
        )
        made = learnt(currents, weight, LIF(1), constant)
        with monkeypatch.context() as patch:
            patch.setattr(fused, "kernels", lambda: (fused.advance, fused.retreat))
            expected = learnt(currents, weight, LIF(1), constant)
        assert all(torch.equal(one, other) for one, other in zip(made, expected, strict=True))
        examined, fired = examined + made[0].numel(), fired + float(made[0].sum())
    assert examined > 10_000 and 0.05 < fired / examined < 0.95


@pytest.mark.parametrize("constant", [False, True])
def test_fused_neurons_fire_and_learn_as_unrolled_ones_do(constant: bool, plain: None) -> None:
    examined = 0
    for case in range(CASES):
        currents, weight, neurons = drawn(case)
        spikes, rate, gradient = learnt(currents, weight, neurons, constant)
        taken = (currents[0] if constant else currents).float().requires_grad_()
        all_of_them = taken.expand(currents.shape) if constant else taken
        expected = _Unrolled.apply(all_of_them, neurons, neurons.beta)
        ((expected * weight.float()).sum() + 100 * expected.mean()).backward()
        assert torch.equal(spikes, expected.detach().to(torch.bfloat16))
        torch.testing.assert_close(rate, expected.detach().mean())
        assert gradient.dtype == torch.bfloat16 and taken.grad is not None
        torch.testing.assert_close(gradient.float(), taken.grad, rtol=2**-7, atol=2**-9)
        examined += spikes.numel()
    assert examined > 100_000


def test_half_precision_on_a_processor_takes_the_fused_kernels_and_nothing_else_does(plain: None) -> None:
    neurons = LIF(1)
    half = torch.randn(2, 3, 4, 5, 5).to(torch.bfloat16).requires_grad_()
    made = {
        "half": fire(neurons, half),
        "constant": fire(neurons, half[0], 3),
        "float": fire(neurons, half.float()),
        "learnt decay": fire(LIF(1, learn=True), half),
        "reset to zero": fire(LIF(1, reset_mechanism="zero"), half),
    }
    found = [name for name, (out, _) in made.items() if type(out.grad_fn).__name__ == "FusedBackward"]
    assert found == ["half", "constant"]


def test_without_a_compiler_the_kernels_are_plain(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(*_: object, **__: object) -> object:
        def call(*_: object) -> object:
            raise RuntimeError("No working C++ compiler found")

        return call

    monkeypatch.setattr(torch, "compile", missing)
    assert fused.kernels.__wrapped__() == (fused.advance, fused.retreat)
