"""CNNs in integers: against the equations in plain Python, against their torch twins, and against CMSIS-NN itself."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sne_edge.errors import SneError
from sne_edge.learn.baseline import Design, Layer, build_cnn, count_macs, int8_form
from sne_edge.learn.teacher import count_macs as counted_macs
from sne_edge.learn.views import to_torch
from sne_edge.quantize.cnn import QuantCnn, QuantLayer, fixed_point, quantize_cnn, requantize

ROOT = Path(__file__).parent.parent
DESIGNS: dict[str, tuple[tuple[int, int, int], Design]] = {
    "strided": ((1, 21, 1), (Layer("conv", 8, 8, 2), Layer("conv", 12, 5, 2), Layer("conv", 8, 3, 2))),
    "skipping": ((1, 64, 4), (Layer("conv", 4, 3, 4), Layer("conv", 8, 3, 2))),
    "separable": ((1, 30, 4), (Layer("depthwise", 0, 5, 4), Layer("conv", 12), Layer("average"))),
    "dense": ((1, 9, 2), (Layer("conv", 4, 3, 1), Layer("dense", 16), Layer("dense", 8))),
    "picture": (
        (9, 11, 2),
        (Layer("conv", 8, 3, 2), Layer("conv", 12, 3, 1), Layer("conv", 6), Layer("conv", 8, 5, 2)),
    ),
    "image": ((7, 6, 3), (Layer("conv", 4, 3, 2), Layer("depthwise", 0, 3, 1), Layer("average"))),
}


@pytest.fixture(autouse=True)
def _importable() -> Iterator[None]:
    """The benchmarks are scripts beside the package, not in it."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield
    sys.path.remove(str(ROOT / "benchmarks"))


def quantized(name: str, seed: int = 0) -> tuple[QuantCnn, torch.nn.Sequential, np.ndarray]:
    """A network of random weights whose activations fill their range, its torch twin, and inputs."""
    shape, design = DESIGNS[name]
    torch.manual_seed(seed)
    x = np.random.default_rng(seed).normal(0.3, 1, (64, *shape)).astype(np.float32)
    net = build_cnn(shape, design, 5, float(x.min()), float(x.max()))
    net.train()
    for _ in range(60):  # statistics of batch norms, ranges of ReLUs
        net(to_torch(x))
    twin = int8_form(net)
    return quantize_cnn(twin, shape, design, x), twin, x


def rounded_half_away(value: int, right: int) -> int:
    """value / 2^right to the nearest, halves away from zero."""
    quotient, rest = divmod(abs(value), 1 << right)
    return (1 if value >= 0 else -1) * (quotient + (2 * rest >= 1 << right))


def scalar_requantize(total: int, multiplier: int, shift: int) -> int:
    high = (total * 2 ** max(shift, 0) * multiplier + 2**30) // 2**31
    return rounded_half_away(high, max(-shift, 0))


def scalar_layer(layer: QuantLayer, x: np.ndarray) -> np.ndarray:
    """One sample through one layer, as the docstring of `QuantLayer` says it, number by number."""
    place, (height, width, channels) = layer.place, x.shape
    out = np.zeros(place.out_shape, np.int8)
    kernel = (height, width) if layer.kind == "dense" else place.kernel
    for row, column, channel in np.ndindex(*place.out_shape):
        total, seen = (0, 0) if layer.kind == "average" else (int(layer.bias[channel]), 0)
        for i, j in np.ndindex(*kernel):
            y = row * place.stride[0] + i - place.padding[0]
            z = column * place.stride[1] + j - place.padding[2]
            if not (0 <= y < height and 0 <= z < width):
                continue
            seen += 1
            if layer.kind == "average":
                total += int(x[y, z, channel])
            elif layer.kind == "depthwise":
                total += int(layer.weight[0, i, j, channel]) * (int(x[y, z, channel]) - layer.in_zero)
            else:
                for c in range(channels):
                    total += int(layer.weight[channel, i, j, c]) * (int(x[y, z, c]) - layer.in_zero)
        if layer.kind == "average":
            sign = 1 if total >= 0 else -1
            out[row, column, channel] = sign * ((abs(total) + seen // 2) // seen)
            continue
        made = scalar_requantize(total, int(layer.multiplier[channel]), int(layer.shift[channel])) + layer.out_zero
        out[row, column, channel] = min(127, max(-128, made))
    return out


def test_requantisation_is_cmsis_nns_at_every_edge() -> None:
    rng = np.random.default_rng(0)
    totals = np.concatenate([np.arange(-600, 601), rng.integers(-(2**30), 2**30, 3000), [-(2**31), 2**31 - 1]])
    examined = 0
    for shift in (-31, -20, -9, -8, -1, 0):
        for multiplier in (2**30, 2**30 + 1, 3 * 2**29, 2**31 - 1):
            found = requantize(totals[:, None], np.array([multiplier]), np.array([shift]))[:, 0]
            assert found.tolist() == [scalar_requantize(int(t), multiplier, shift) for t in totals]
            examined += len(totals)
    assert requantize(np.array([[5]]), np.array([2**30]), np.array([3])) == 20  # a left shift
    assert examined == 6 * 4 * len(totals)


def test_multipliers_stand_for_their_factors_to_31_bits() -> None:
    factors = np.concatenate([np.geomspace(1e-7, 0.99, 500), [0.5, 1 - 2.0**-34]])
    multiplier, shift = fixed_point(factors)
    assert ((multiplier >= 2**30) & (multiplier.astype(np.int64) < 2**31)).all()
    assert np.allclose(multiplier * 2.0 ** (shift - 31.0), factors, rtol=2.0**-30, atol=0)


@pytest.mark.parametrize("name", DESIGNS)
def test_a_cnn_in_integers_is_its_equations_number_by_number(name: str) -> None:
    net, _, x = quantized(name)
    inputs = net.encode(x[:3])
    levels = set()
    for sample, outputs in zip(inputs, zip(*net.run(inputs), strict=True), strict=True):
        for layer, out in zip(net.layers, outputs, strict=True):
            sample = scalar_layer(layer, sample)
            assert np.array_equal(sample, out), f"{name}: {layer.kind}"
            levels |= set(sample.reshape(-1).tolist())
    assert len(levels) > 50, "outputs that say something"


@pytest.mark.parametrize("name", DESIGNS)
def test_the_integers_are_what_was_trained(name: str) -> None:
    net, twin, x = quantized(name)
    shape, design = DESIGNS[name]
    logits = net.run(net.encode(x))[-1].reshape(len(x), -1)
    with torch.no_grad():
        real = twin(to_torch(x)).numpy()
    step = (max(real.max(), 0) - min(real.min(), 0)) / 255
    assert np.abs((logits.astype(int) - net.layers[-1].out_zero) * step - real).max() < 4 * step
    assert count_macs(shape, design, 5) == counted_macs(build_cnn(shape, design, 5), shape)


def test_what_no_cnn_has_is_refused() -> None:
    with pytest.raises(SneError, match="no layer 'lstm'"):
        Layer("lstm")


needs_cmsis = pytest.mark.skipif(
    "CMSIS_NN" not in os.environ, reason="CMSIS_NN and CMSIS_CORE name no checkouts of CMSIS-NN and CMSIS Core"
)


@needs_cmsis
@pytest.mark.parametrize("core", ["M0", "M3", "M4", "M55"])
def test_cmsis_nn_computes_the_references_numbers(core: str, tmp_path: Path) -> None:
    import cmsis_nn

    from sne_edge.study.lab import BOARDS

    nn, headers = (Path(os.environ[name]) for name in ("CMSIS_NN", "CMSIS_CORE"))
    variant = "C" if core == "M0" else "assembler"
    library = cmsis_nn.build_library(nn, headers, BOARDS[core], variant, tmp_path / "library")
    compared = 0
    for name in ("strided", "skipping", "separable", "picture", "image"):
        net, _, x = quantized(name)
        inputs = net.encode(x)
        probe = cmsis_nn.probe(net, inputs[:8], library, tmp_path / "run")
        run = cmsis_nn.run(net, inputs, library, probe.best, tmp_path / "run")
        assert run.wrong == 0 and run.counts.min() > 1000
        alone = sum(counts[way] for counts, way in zip(probe.counts, probe.best, strict=True))
        assert run.counts[:8].mean() == pytest.approx(alone, rel=0.02), "a network costs what its layers do"
        compared += len(inputs)
    assert compared == 320


def test_a_layer_is_run_in_the_cheapest_way_that_is_right() -> None:
    import cmsis_nn

    counts = [{"wrapper": 5.0, "direct": 9.0}, {"wrapper": 5.0, "direct": 4.0}, {"wrapper": 5.0}]
    right: list[dict[str, int]] = [{"wrapper": 1, "direct": 0}, {"wrapper": 0, "direct": 0}, {"wrapper": 0}]
    assert cmsis_nn.Probe(counts, right).best == ["direct", "direct", "wrapper"]
    with pytest.raises(SneError, match="layer 0"):
        print(cmsis_nn.Probe(counts, [{"wrapper": 1, "direct": 2}, *right[1:]]).best)


def test_counted_inputs_are_all_or_a_thousand_from_the_whole_test_set() -> None:
    import cnn

    assert cnn._spread(np.arange(300)).tolist() == [*range(300)]
    some = cnn._spread(np.arange(10_000))
    assert len(some) == 1000 and {*np.diff(some)} == {10}
    uneven = cnn._spread(np.arange(2_500))
    assert len({*uneven}) == 1000 and {*np.diff(uneven)} == {2, 3} and uneven[-1] == 2497


def test_sources_that_are_not_there_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import cnn

    assert cnn.main(["--cmsis-nn", str(tmp_path), "--cmsis-core", str(tmp_path), "--output", str(tmp_path)]) == 1
    assert capsys.readouterr().err.startswith(f"error: {tmp_path} is not a checkout of CMSIS-NN\nhint: ")
    assert cnn.main(["--output", str(tmp_path)]) == 1
    assert "cnn-mnist1d.json is missing" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.fixture(params=["mnist1d", "fsdd", "fashion-mnist"])
def record(request: pytest.FixtureRequest) -> dict[str, Any]:
    """What is stored of a data set."""
    text = (ROOT / f"docs/results/cnn-{request.param}.json").read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found


def test_published_tables_are_what_is_stored(record: dict[str, Any], tmp_path: Path) -> None:
    import fronts

    made = fronts.markdown(record, tmp_path)
    assert made.read_bytes() == (ROOT / "docs/results" / made.name).read_bytes()


def test_both_sides_are_means_of_the_same_seeds_and_of_all_test_samples(record: dict[str, Any]) -> None:
    seeds = len(record["seeds"])
    assert record["samples"] == {"mnist1d": 1000, "fsdd": 300, "fashion-mnist": 10000}[record["dataset"]]
    assert record["counted"] == min(1000, record["samples"]) and {"M4", "M55"} <= {*record["cores"]}
    students = sum("cascade" not in row["name"] for row in record["spiking"])
    assert len(record["cnns"]) >= 3 and students >= 3 and len(record["spiking"]) == students + 4
    assert seeds == 3 and sum(len(row["test"]) == seeds for row in record["cnns"]) >= 2
    assert all(len(row["test"]) == seeds for row in record["spiking"])
    assert all(len(row["cores"][core]) == seeds for row in record["spiking"] for core in ("M4", "M55"))


def test_names_in_the_picture_do_not_cover_each_other(
    record: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fronts

    placed: list[tuple[float, float, float, float]] = []
    overlaps: list[float] = []

    def place(figure: Any, axes: Any, words: Any, *rest: Any, **more: Any) -> list[tuple[float, float, float, float]]:
        boxes = original(figure, axes, words, *rest, **more)
        assert len(boxes) == len(words)
        for a, b in combinations(boxes, 2):
            overlaps.append(max(0.0, min(a[2], b[2]) - max(a[0], b[0])) * max(0.0, min(a[3], b[3]) - max(a[1], b[1])))
        placed.extend(boxes)
        return boxes

    original = fronts.annotate
    monkeypatch.setattr(fronts, "annotate", place)
    fronts.draw(record, tmp_path)
    assert len(placed) == 2 * (len(record["cnns"]) + len(record["spiking"])) and max(overlaps) == 0


def test_a_cascade_of_cnns_runs_the_larger_one_where_the_smaller_one_is_unsure_and_no_oftener_than_it_must() -> None:
    import cnn_cascades

    rng = np.random.default_rng(0)
    labels = rng.integers(0, 5, 400)
    right = np.eye(5, dtype=np.int32)[labels] * 60
    small, large = (right + rng.integers(-spread, spread, right.shape) for spread in (60, 40))
    alone = [(which.argmax(1) == labels).mean() for which in (small, large)]
    assert alone[0] < alone[1] < 1
    margins = [cnn_cascades.choose(small, large, labels, drop) for drop in (0, 1, 5, 100)]
    assert margins == sorted(margins, reverse=True) and margins[0] > margins[2] > margins[3] == 0
    for margin, drop in zip(margins, (0, 1, 5, 100), strict=True):
        label, more = cnn_cascades.decide(small, large, margin)
        ordered = np.sort(small, axis=1)
        assert (more == (ordered[:, -1] - ordered[:, -2] < margin)).all()
        assert (label == np.where(more, large.argmax(1), small.argmax(1))).all()
        assert (label == labels).mean() >= alone[1] - drop / 100
        below = cnn_cascades.decide(small, large, margin - 1)[0]
        assert margin == 0 or (below == labels).mean() < alone[1] - drop / 100
    never = cnn_cascades.choose(large, small, labels, -100)
    assert never == cnn_cascades.HIGHEST and cnn_cascades.decide(small, large, never)[1].all()


def test_a_cascade_of_cnns_costs_the_smaller_one_and_its_share_of_the_larger(record: dict[str, Any]) -> None:
    import fronts

    for core in record["cores"]:
        costs = {row["name"]: row["cores"][core]["instructions"] for row in record["cnns"]}
        points = fronts.cascade_points(record, core)
        assert len(points) >= 12
        for row, (_, _, counts) in zip(record["cascades"], points, strict=True):
            small, large = row["designs"]
            assert costs[small] < costs[large] and len(counts) == len(record["seeds"])
            assert all(0 <= share <= 1 for share in row["share"])
            assert np.allclose(counts, [costs[small] + share * costs[large] for share in row["share"]])
