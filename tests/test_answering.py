"""Teachers that answer live: compiled where that is worth it, and their own answers in any case."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from sne_edge.learn import answering
from sne_edge.learn.answering import Answering
from sne_edge.learn.device import CPU
from sne_edge.learn.networks import ConvTeacher, ResidualTeacher, ScaledTeacher, TeacherNet

SHAPE = (12, 12, 3)
half = pytest.mark.skipif(not CPU.halves(True), reason="this processor has no bfloat16")


def teacher_of(seed: int) -> TeacherNet:
    """A residual network whose norms have seen images, of values 0..255."""
    torch.manual_seed(seed)
    net = ResidualTeacher(SHAPE, 5, 8)
    with torch.no_grad():
        net(torch.randn(64, 3, 12, 12))
    return ScaledTeacher(net.eval(), np.full(3, 1 / 64), np.full(3, -2.0))


def samples(count: int, seed: int = 0) -> Tensor:
    return 256 * torch.rand(count, 3, 12, 12, generator=torch.Generator().manual_seed(seed))


def asked(net: TeacherNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """What the teacher itself says, in half precision."""
    with torch.no_grad(), CPU.autocast(True):
        features, logits = net.answers(x)
    return features.float(), logits.float()


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@half
def test_a_compiled_teacher_gives_its_own_answers_to_batches_of_any_number(
    monkeypatch: pytest.MonkeyPatch, require_tool: Callable[..., None]
) -> None:
    require_tool("g++")
    monkeypatch.setattr(answering, "WORTH", 1)
    net = teacher_of(1)
    made = Answering(net, CPU, SHAPE, 64)
    for count in (16, 17, 16):
        x = samples(count, count)
        found, (features, logits) = made(x), asked(net, x)
        assert found[0].dtype == found[1].dtype == torch.float32
        torch.testing.assert_close(found[0], features, rtol=0, atol=0.02 * float(features.abs().max()))
        torch.testing.assert_close(found[1], logits, rtol=0, atol=0.02 * float(logits.abs().max()))
    assert made.compiled is not None and made.held


def test_little_work_is_not_worth_a_compiler() -> None:
    net = teacher_of(2)
    made = Answering(net, CPU, SHAPE, 1000)
    assert made.compiled is None and same(made(samples(8)), asked(net, samples(8)))
    assert (Answering(net, CPU, SHAPE, 10**9).compiled is not None) == CPU.halves(True)
    assert Answering(ConvTeacher(SHAPE, 5), CPU, SHAPE, 10**9).compiled is None  # no images, so in single precision


@half
@pytest.mark.parametrize("fault", ["no compiler", "other answers"])
def test_what_does_not_compile_or_answers_otherwise_answers_as_it_is(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answering, "WORTH", 1)
    net = teacher_of(3)
    calls = 0

    def broken(x: Tensor) -> Any:
        nonlocal calls
        calls += 1
        if fault == "no compiler":
            raise RuntimeError("there is no compiler here")
        features, logits = net.answers(x)
        return features, logits + 0.1 * logits.abs().max()

    monkeypatch.setattr(torch, "compile", lambda *_, **__: broken)
    made = Answering(net, CPU, SHAPE, 64)
    for seed in (1, 2):
        assert same(made(samples(8, seed)), asked(net, samples(8, seed)))
    assert calls == 1 and made.compiled is None  # asked once


def test_a_teacher_that_is_asked_elsewhere_stays_as_it_was() -> None:
    net = teacher_of(4).train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    Answering(net, CPU, SHAPE, 64)(samples(8))
    assert net.training and all(torch.equal(before[name], value) for name, value in net.state_dict().items())
