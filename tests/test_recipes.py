"""Shipped recipes keep what they say of themselves, before anybody trains for hours."""

from __future__ import annotations

import pytest
from trained_students import as_trained

from sne_edge.deploy.cost import need
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.pipeline import settings
from sne_edge.quantize.quantize import quantize_ensemble

IMAGE = (32, 32, 3)


@pytest.mark.parametrize("name", ["cifar10", "cifar10-1mb"])
def test_students_of_recipes_for_1_mb_of_flash_fit_there_and_in_64_kb_of_ram(name: str) -> None:
    config = settings.read(name)
    ensemble = as_trained(config.body, IMAGE, config.students).integer_form().float_form()
    made = quantize_ensemble(ensemble, "recipe", ("a", "b", "c"))
    needed = need(made, "cortex-m4", [ActivationPolicy("all")])
    more = 7 * sum(student.layers[-1].weight.shape[1] for student in made.students)  # readouts of ten classes
    assert 700_000 < needed.flash_bytes + more < 2**20
    assert needed.ram_bytes + needed.stack_bytes < 2**16
