"""What the generator works out for the C: axes, dividers and the plan of the state."""

from __future__ import annotations

import random
import re
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sne_edge.codegen.layout import (
    Stage,
    convolves,
    divider,
    from_inputs,
    pack_blocks,
    pack_nibbles,
    state_layout,
    through_pool,
    window_axis,
)
from sne_edge.codegen.sizes import MAX_ROWS
from strategies import ensembles, examples

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv
from sne_edge.ir.neuron import Bound, Neuron
from sne_edge.resources import RUNTIME


@examples(300)
@given(st.integers(1, 30), st.integers(1, 8), st.integers(1, 9), st.data())
def test_an_axis_pairs_each_output_with_the_inputs_under_its_taps(
    length: int, kernel: int, stride: int, data: st.DataObject
) -> None:
    padding = data.draw(st.integers(max(0, -(-(kernel - length) // 2)), max(kernel - 1, 0)))
    outputs = (length + 2 * padding - kernel) // stride + 1
    met = [
        [(o * stride + tap - padding, tap) for tap in range(kernel) if 0 <= o * stride + tap - padding < length]
        for o in range(outputs)
    ]
    pairs = window_axis(length, kernel, stride, padding)
    assert pairs == met
    inverse = from_inputs(pairs, length)
    assert {(i, o, tap) for i, row in enumerate(inverse) for o, tap in row} == {
        (i, o, tap) for o, row in enumerate(met) for i, tap in row
    }


@pytest.mark.parametrize("run", range(1, 10))
def test_blocks_hold_every_weight_once_in_the_order_of_the_windows_values(run: int) -> None:
    height, outputs = 3, 8
    numbered = np.arange(1, height * run * outputs + 1).reshape(height, run, outputs)
    blocks = pack_blocks(numbered)
    assert blocks.shape == (outputs // 4, height, -(-run // 2), 2, 4)
    order = []  # as sne_convolve.h lays them: of four, first and third, second and fourth
    for i in range(0, run, 4):
        left = min(run - i, 4)
        order += [(i, i + 1)] if left < 3 else [(i, i + 2), (i + 1, i + 3)]
    for pair, both in enumerate(order):
        for second, value in enumerate(both):
            want = numbered[:, value] if value < run else np.zeros((height, outputs))
            got = blocks[:, :, pair, second].transpose(1, 0, 2).reshape(height, outputs)
            assert np.array_equal(got, want)


def test_what_does_not_fit_is_not_convolved() -> None:
    def conv(channels: int, weights: np.ndarray | None = None, taps: int = 3, width: int = 8) -> Conv:
        rng = np.random.default_rng(1)
        weight = rng.integers(-127, 128, (channels, 2, 1, taps), dtype=np.int8) if weights is None else weights
        many = np.ones(channels, np.int32)
        shapes = (1, width, 2), (1, width - taps + 1, channels)
        return Conv(*shapes, weight, many, many, np.ones(channels), Neuron("if"), Bound(-1, 1))

    assert convolves(conv(8))
    assert not convolves(conv(6)), "rows of neurons would be filled up"
    assert not convolves(conv(8, taps=8)), "there are no two positions"
    assert not convolves(conv(8, taps=90, width=99)), "two windows do not fit"
    lowest, below = np.ones((4, 2, 1, 3), np.int8), np.ones((4, 2, 1, 3), np.int8)
    lowest[1] = below[1] = -128
    below[0] = -1
    assert convolves(conv(4, lowest))
    assert not convolves(conv(4, below)), "one less than -128 is no byte"


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(2, 2, 0), (3, 2, 1), (3, 1, 1)])
def test_an_axis_seen_through_average_pooling_counts_every_spike_of_a_window(
    kernel: int, stride: int, padding: int
) -> None:
    length = 12
    pooled = len(window_axis(length, kernel, stride, padding))
    pool = AvgPool((length, 1, 1), (pooled, 1, 1), (kernel, 1), (stride, 1), (padding, 0))
    above = window_axis(pooled, 3, 1, 1)
    rng = np.random.default_rng(kernel)
    spikes, weight = rng.integers(0, 2, length), rng.integers(-9, 10, 3)
    counts = [sum(spikes[i] for i, _ in row) for row in window_axis(length, kernel, stride, padding)]
    want = [sum(counts[i] * weight[tap] for i, tap in row) for row in above]
    assert [sum(spikes[i] * weight[tap] for i, tap in row) for row in through_pool(above, pool, 0)] == want


def test_no_list_of_rows_is_longer_than_the_contract_of_lanes_allows() -> None:
    header = (RUNTIME / "sne_accumulate_lanes.h").read_text(encoding="utf-8")
    assert re.findall(r"SNE_MOST_ROWS (\d+)u", header) == [str(MAX_ROWS)]


@pytest.mark.examines(products=40)
@pytest.mark.parametrize("count", [1, 2, 1000, 4096, 65535])
def test_division_by_a_constant_is_exact_in_32_bits(examined: Counter[str], count: int) -> None:
    rng = random.Random(count)
    i = np.arange(count, dtype=np.uint64)
    for divisor in {*range(1, 70), 641, 65535, 65534, 32768, 32767, *(rng.randint(1, 65535) for _ in range(60))}:
        multiplier, shift = divider(divisor, count)
        assert 0 <= shift < 32
        if multiplier:
            examined["products"] += 1
            products = i * np.uint64(multiplier)
            assert int(products.max()) < 2**32
            np.testing.assert_array_equal(products >> np.uint64(shift), i // np.uint64(divisor))


@examples(200)
@given(ensembles())
def test_what_a_layer_needs_at_once_does_not_overlap(ensemble: QuantEnsemble) -> None:
    layout = state_layout(ensemble)
    for stages in layout.stages:
        incoming = layout.arena if ensemble.encoder.kind != "rate" else stages[0].incoming
        for stage in stages:
            if incoming != layout.arena:
                assert stage.incoming == incoming, "spikes move between layers"
            assert stage.below + stage.above <= layout.arena
            assert all(place % 4 == 0 for place in (stage.incoming, stage.outgoing, stage.membranes, stage.rows))
            assert _places(stage) == sorted(_places(stage))
            assert stage.rows + 4 * stage.capacity <= layout.arena - stage.above
            incoming = stage.outgoing
    assert Counter(type(place) for stages in layout.stages for s in stages for place in _places(s)).keys() == {int}


def _places(stage: Stage) -> list[int]:
    return [stage.membranes, stage.current, stage.rows, stage.below]


@examples(200)
@given(ensembles())
def test_ram_is_within_a_tenth_of_the_lower_bound_and_a_word_for_each_timestep(ensemble: QuantEnsemble) -> None:
    layout = state_layout(ensemble)
    padding = 8 * ensemble.encoder.timesteps  # bits of a timestep start with a word, on both sides of a layer
    for early in layout.early:  # where steps take the two largest maps and rows of all layers, not of one
        padding = max(padding, 8 * ensemble.encoder.timesteps + early.kept - early.maps)
    assert layout.lower_bound <= layout.bytes <= 1.1 * layout.lower_bound + padding


@pytest.mark.examines(students=40)
@examples(200)
@given(ensembles())
def test_what_steps_need_does_not_overlap_with_the_timesteps_that_wait(
    examined: Counter[str], ensemble: QuantEnsemble
) -> None:
    layout, kind = state_layout(ensemble), ensemble.encoder.kind
    assert bool(layout.early) == bool(ensemble.policy.early)
    ends = [stages[0].kept for stages in layout.stages[1:]] + [layout.kept]
    for early, stages, end in zip(layout.early, layout.stages, ends, strict=False):
        steps = stages[1:] if kind == "direct" else stages
        waiting = 4 * early.words * ensemble.encoder.timesteps
        free = (waiting if kind == "rate" else 0, stages[0].outgoing if kind == "direct" else layout.arena)
        assert early.first == steps[0].kept
        assert free[0] <= early.maps and early.kept + end - early.first <= free[1]
        assert early.maps + 2 * early.map_bytes <= early.rows
        assert early.rows + max(4 * stage.capacity for stage in steps) <= early.kept
        examined["students"] += 1


@pytest.mark.parametrize("outputs", [4, 8, 12, 16])
def test_nibbles_lie_so_that_widened_bytes_are_in_order(outputs: int) -> None:
    rows = np.random.default_rng(outputs).integers(-8, 8, (5, outputs)).astype(np.int8)
    packed = pack_nibbles(rows)
    assert packed.dtype == np.uint8 and packed.shape == (5, -(-outputs // 8) * 4)
    words = packed.view("<u4")
    halves = [words & 0x0F0F0F0F, words >> 4 & 0x0F0F0F0F]
    lanes = [word >> shift & 0x00FF00FF for word in halves for shift in (0, 8)]
    pairs = np.stack([half for word in lanes for half in (word & 0xFFFF, word >> 16)], axis=2)
    found = pairs.reshape(5, -1).astype(int) - 8
    assert np.array_equal(found[:, :outputs], rows) and not found[:, outputs:].any()
