"""What the generator works out for the C: spans, the order of taps, dividers and the state's layout."""

from __future__ import annotations

import random
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sne_edge.codegen.layout import axis_spans, divider, state_layout, tap_order
from strategies import ENCODERS, ensembles, examples, random_ensemble

from sne_edge.export import export
from sne_edge.model import QuantEnsemble


@examples(300)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9), st.data())
def test_spans_are_what_each_position_reaches(length: int, kernel: int, stride: int, data: st.DataObject) -> None:
    padding = data.draw(st.integers(0, kernel - 1))
    outputs = (length + 2 * padding - kernel) // stride + 1
    order = tap_order(kernel, stride)
    assert sorted(order) == list(range(kernel))
    for position, (first, count, tap) in enumerate(axis_spans(length, kernel, stride, padding)):
        reached = [o for o in range(outputs) if 0 <= position + padding - o * stride < kernel]
        assert list(range(first, first + count)) == reached or count == 0 == len(reached)
        assert order[tap : tap + count] == [position + padding - o * stride for o in reached]


def test_spans_of_the_largest_map_are_quick() -> None:
    assert sum(count for _, count, _ in axis_spans(65535, 255, 1, 254)) == 65535 * 255


@pytest.mark.parametrize("count", [1, 2, 1000, 4096, 65535])
def test_division_by_a_constant_is_exact_in_32_bits(count: int) -> None:
    rng = random.Random(count)
    i = np.arange(count, dtype=np.uint64)
    for divisor in {*range(1, 70), 641, 65535, 65534, 32768, 32767, *(rng.randint(1, 65535) for _ in range(60))}:
        multiplier, shift = divider(divisor, count)
        assert 0 <= shift < 32
        if multiplier:
            products = i * np.uint64(multiplier)
            assert int(products.max()) < 2**32
            np.testing.assert_array_equal(products >> np.uint64(shift), i // np.uint64(divisor))


@examples(150)
@given(ensembles())
def test_arrays_of_the_state_do_not_overlap_unless_students_share(ensemble: QuantEnsemble) -> None:
    layout = state_layout(ensemble)
    assert layout.shared == (ensemble.encoder.kind != "events")
    students = layout.students if layout.shared else [[field for fields in layout.students for field in fields]]
    for own in students:
        end = 0
        for field in (*layout.head, *own, *layout.tail):
            assert field.offset >= end
            assert field.offset % (field.bytes // field.length) == 0, "misaligned"
            end = field.offset + field.bytes
        assert end <= layout.bytes
    assert layout.bytes % 4 == 0


@pytest.mark.parametrize("kind", ENCODERS)
@pytest.mark.parametrize("seed", range(4))
def test_the_compiler_lays_the_state_out_in_the_same_places(
    kind: str, seed: int, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc", "arm-none-eabi-gcc")
    ensemble = random_ensemble(random.Random(seed), kind=kind, width=(16, None)[seed % 2], students=3)  # type: ignore[arg-type]
    directory, layout = export(ensemble, "host", tmp_path / "model"), state_layout(ensemble)
    places = {field.name: field.offset for field in (*layout.head, *layout.tail)}
    places |= {f"students.s{n}.{f.name}": f.offset for n, fields in enumerate(layout.students) for f in fields}
    name = ensemble.identifier
    checks = [
        f"typedef char at_{i}[offsetof({name}_state, {place}) == {offset} ? 1 : -1];\n"
        for i, (place, offset) in enumerate(places.items())
    ]
    (directory / "check.c").write_text(f'#include "{name}.h"\n{"".join(checks)}')
    for compiler in ("gcc", "arm-none-eabi-gcc"):
        subprocess.run([compiler, "-std=c99", "-fsyntax-only", "check.c"], cwd=directory, check=True)
