"""Model cards: what they say was measured, and a model that is not exact gets none."""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from sne_edge.check import verify
from sne_edge.check.evaluation import evaluate
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.engine import HostEngine
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.study import card

PROVENANCE = {
    "dataset": {"name": "fsdd", "samples": {"train": 30, "test": 8}},
    "teacher": {"macs": 10**6, "parameters": 12345, "test": 0.5, "fingerprint": "0123456789abcdef"},
    "config": {
        "body": {"channels": [8, 4], "kernels": [3, 3], "strides": [1, 2]}, "scheme": "random", "seed": 7,
        "teacher": "small",
    },
}  # fmt: skip


def test_a_card_holds_what_was_measured(tiny: QuantEnsemble, require_tool: Callable[..., None]):
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    made = msgspec.structs.replace(tiny, provenance=PROVENANCE)
    inputs = made.vectors.inputs
    labels = HostModel(made).run(inputs).label
    record = card.measure(made, inputs, labels, ["microbit"])
    text = card.markdown(json.loads(json.dumps(record)))
    every = evaluate(HostEngine(HostModel(made)), inputs, labels, [ActivationPolicy("all")])[0]
    assert f"| all | {every.accuracy:.2%} | 3.00 | {every.operations:,.0f} |" in text
    assert f"| cascade:{','.join(map(str, made.policy.margins))} | 100.00% |" in text
    place = record["boards"][0]
    assert place["target"] == "cortex-m0" and place["unit"] == "instructions" and place["flash_bytes"] > 0
    assert f"| cortex-m0 | microbit | {place['instructions']['all']:,} |" in text
    assert {c["engine"] for c in record["verified"]} == {"reference", "host", "qemu:microbit"}
    for words in ("CC BY-SA 4.0", "built-in, small", "seed 7", "8-4", "estimates", "the teacher, were it int8"):
        assert words in text


def test_a_card_of_a_model_without_a_past_says_so(tiny: QuantEnsemble):
    record = card.measure(tiny, tiny.vectors.inputs, np.full(len(tiny.vectors.inputs), -1), [])
    text = card.markdown(record)
    assert "Its file does not say." in text and "| - |" in text and "Least reliable" not in text


def test_a_board_on_which_the_model_does_not_fit_is_named(tiny: QuantEnsemble, monkeypatch: pytest.MonkeyPatch):
    def refuse(*arguments: object, **options: object) -> None:
        raise SneError(f"tiny does not fit {resolve_board('microbit').name}", "take a larger board")

    monkeypatch.setattr(card, "connect", refuse)
    record = card.measure(tiny, tiny.vectors.inputs, tiny.vectors.labels, ["microbit"])
    assert "| cortex-m0 | microbit | tiny does not fit microbit |" in card.markdown(record)


def test_a_model_that_is_not_exact_gets_no_card(tiny: QuantEnsemble):
    wrong = tiny.vectors.logits.copy()
    wrong[0, 0] += 1
    broken = msgspec.structs.replace(tiny, vectors=msgspec.structs.replace(tiny.vectors, logits=wrong))
    with pytest.raises(SneError, match="differs from golden vectors"):
        card.measure(broken, tiny.vectors.inputs, tiny.vectors.labels, [])


def test_verification_follows_routes_that_the_model_s_own_policy_does_not():
    from models import tiny_ensemble

    made = tiny_ensemble()
    assert made.routes is not None and made.policy.kind != "routed"
    assert "routed" in {p.kind for p in verify.policies(made)}
    assert "routed" not in {p.kind for p in verify.policies(msgspec.structs.replace(made, routes=None))}
