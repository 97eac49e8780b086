"""The benchmark: its comparison with the baseline, and one row measured for real."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
BEFORE = {"linear": {"cortex-m4": {"instructions": 1000, "synaptic_ops": 50}}}


@pytest.fixture(autouse=True)
def _importable() -> Iterator[None]:
    """The benchmarks are scripts beside the package, not in it."""
    sys.path.insert(0, str(BENCHMARKS))
    yield
    sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize(("after", "fails"), [(900, False), (1000, False), (1020, False), (1021, True)])
def test_more_than_two_percent_worse_fails(after: float, fails: bool) -> None:
    import compare

    changes = compare.worse({"linear": {"cortex-m4": {"instructions": after}}}, BEFORE)
    assert bool(changes) == fails
    if fails:
        assert str(changes[0]) == "linear, cortex-m4: instructions 1,000 -> 1,021 (+2.1%)"


def test_a_model_that_no_longer_fits_fails_and_a_larger_workload_does_not() -> None:
    import compare

    changes = compare.worse({"linear": {"cortex-m4": {"instructions": None, "synaptic_ops": 500}}}, BEFORE)
    assert [str(change) for change in changes] == ["linear, cortex-m4: instructions 1,000 -> does not fit"]


def test_what_the_baseline_lacks_is_new_and_what_was_not_measured_is_ignored() -> None:
    import compare

    added = {"conv": {"cortex-m4": {"instructions": 9}}, "linear": {"cortex-m0": {"instructions": 9e9}}}
    assert not compare.worse(added, BEFORE)
    assert not compare.worse({}, BEFORE)
    assert not compare.worse({"linear": {"cortex-m4": {"instructions": 5}}}, {"linear": {"cortex-m4": {}}})


def test_a_partial_update_keeps_the_rest_of_the_baseline(tmp_path: Path) -> None:
    import compare

    path = tmp_path / "baseline.json"
    assert compare.read(path) == {}
    made = compare.merged(BEFORE, {"linear": {"cortex-m0": {"instructions": 7}}, "conv": {"cortex-m4": {"a": 1}}})
    compare.write(made, path)
    assert compare.read(path) == {
        "conv": {"cortex-m4": {"a": 1}},
        "linear": {"cortex-m0": {"instructions": 7}, **BEFORE["linear"]},
    }
    first = path.read_bytes()
    compare.write(json.loads(first), path)
    assert path.read_bytes() == first


def test_the_crossover_is_where_events_cost_as_much_as_the_dense_layer() -> None:
    import measure

    line = {measure.density_metric(share): 100 + 1000 * share for share in measure.DENSITIES}
    assert measure.crossover({**line, "instructions_dense": 400}) == pytest.approx(0.3)
    assert measure.crossover({**line, "instructions_dense": 5000}) is None


@pytest.mark.parametrize(
    ("channels", "share"), [(32, 1.0), (32, 0.5), (32, 0.02), (12, 1.0), (12, 0.1), (48, 1.0), (16, 1.0)]
)
def test_a_convolution_agrees_with_the_reference_however_many_inputs_spike(channels: int, share: float) -> None:
    pytest.importorskip("torch")
    import networks

    from sne_edge.check import reference
    from sne_edge.deploy.host import HostModel
    from sne_edge.ir.encoder import Encoder

    encoder = Encoder("events", (6, 7, channels), 3)
    ensemble = networks.assemble(encoder, [networks.convolution(encoder, 8, 200)])
    count = round(share * 42 * channels)
    inputs = np.frombuffer(networks.raster(encoder.shape, [count] * 3), np.uint8)[None]
    got, want = HostModel(ensemble).run(inputs), reference.run(ensemble, inputs)
    np.testing.assert_array_equal(got.spikes, want.spikes)
    np.testing.assert_array_equal(got.logits, want.decisions.logits)
    np.testing.assert_array_equal(got.synaptic_ops, want.synaptic_ops)


def test_a_profile_counts_what_the_emulator_ran(require_tool: Callable[..., None]) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    import networks
    import profiler

    ensemble, few = networks.classifier(16, 2, 2), networks.raster(networks.CLASSIFIER, [8, 8])
    none = networks.raster(networks.CLASSIFIER, [0, 0])
    counted = [sum(i.count for i in profiler.profile("mps2-an386", ensemble, data)) for data in (few, none)]
    assert counted[0] > counted[1] > 100
    text = profiler.report(profiler.profile("mps2-an386", ensemble, few), 0.01)
    assert text.startswith(f"{counted[0]:>10,}  instructions")
    assert "layer_gather" in text


def test_one_row_is_measured_compared_and_stored(
    require_tool: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    pytest.importorskip("matplotlib")
    import compare
    import speed

    baseline = tmp_path / "baseline.json"
    run = ["--rows", "accumulation", "--board", "mps2-an386", "--baseline", str(baseline), "--figures", str(tmp_path)]
    assert speed.main([*run, "--update-baseline", "--json", str(tmp_path / "results.json")]) == 0
    stored = compare.read(baseline)
    assert compare.read(tmp_path / "results.json") == stored
    cost = stored["accumulation"]["cortex-m4"]["instructions_per_op"]
    assert cost is not None
    assert 0.25 < cost < 2
    stored["accumulation"]["cortex-m4"]["instructions_per_op"] = cost / 1.1
    compare.write(stored, baseline)
    assert speed.main(run) == 1
    assert "accumulation, cortex-m4" in capsys.readouterr().out


def test_results_train_check_and_pack_an_ensemble_of_the_shipped_recipe_made_small(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import recipe

    from sne_edge.ir.artifact import load
    from sne_edge.pipeline import settings

    rng = np.random.default_rng(0)
    y = np.arange(160) % 2
    x = np.where(y[:, None, None, None] == 1, np.eye(12)[None, :, :, None], np.eye(12)[None, :, ::-1, None])
    np.savez(tmp_path / "crosses.npz", x_train=x + 0.3 * rng.normal(size=(160, 12, 12, 1)), y_train=y, layout="NHWC")
    shipped = settings.read("cifar10")
    assert shipped.recipe.live and shipped.recipe.each and len(shipped.body.channels) == 6
    text = settings.shipped()["cifar10"].read_text()
    text = text.replace("[32, 48, 64, 80, 88, 96]", "[4, 4, 6, 6, 8, 8]").replace("students = 4", "students = 2")
    (tmp_path / "small.toml").write_text(text)
    monkeypatch.setattr(recipe, "default_cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(sys, "argv", [
        "recipe.py", "--config", str(tmp_path / "small.toml"), "--data", str(tmp_path / "crosses.npz"), "--teacher",
        "small", "--epochs", "1", "--device", "cpu", "--executor", "inline", "-o", str(tmp_path / "made"),
    ])  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what so few epochs teach
        recipe.main()
    made = load(tmp_path / "made" / "crosses-0.sne")
    assert len(made.students) == 2 and len(made.students[0].layers) == 7
    record = json.loads((tmp_path / "made" / "crosses-0.json").read_text())
    assert record["checked"] == 32 and set(record["seconds"]) >= {"teacher", "student 1", "ensemble", "calibration"}
    assert "agree in every number on 32 test samples" in capsys.readouterr().out
    assert settings.read(tmp_path / "made" / "crosses-0.toml").recipe.live


def test_what_is_compiled_already_is_linked_as_it_is(require_tool: Callable[..., None], tmp_path: Path) -> None:
    """Rivals and CNNs bring objects and archives, which are no sources."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    from bare_metal import build_program, emulate

    from sne_edge.deploy.boards import resolve_board
    from sne_edge.deploy.build import compile_flags
    from sne_edge.deploy.targets import resolve_target
    from sne_edge.deploy.tools import run_tool

    target = resolve_target(resolve_board("mps2-an386").target)
    for name, value in (("six", 6), ("seven", 7)):
        (tmp_path / f"{name}.c").write_text(f"int {name}(void);\nint {name}(void) {{ return {value}; }}\n")
        run_tool([target.cc, *compile_flags(target), "-c", f"{name}.c"], tmp_path)
    run_tool([target.ar, "rcs", "libseven.a", "seven.o"], tmp_path)
    (tmp_path / "main.c").write_text(
        '#include "bare_metal.h"\nint six(void);\nint seven(void);\n'
        'int program(void)\n{\n    print_line("six times seven", six() * seven());\n    return 0;\n}\n'
    )
    work = tmp_path / "work"
    work.mkdir()
    elf = build_program("mps2-an386", [tmp_path / n for n in ("main.c", "six.o", "libseven.a")], work)
    assert emulate("mps2-an386", elf).strip() == "six times seven 42"


def test_the_page_of_models_says_what_the_models_and_their_cards_say() -> None:
    import shipped

    from sne_edge.ir.artifact import load, zoo_names

    page = (shipped.CARDS / "README.md").read_text(encoding="utf-8")
    assert shipped.renewed(page) == page
    names = zoo_names()
    assert len(names) >= 4 and page.count(".md) | ") == len(names)
    own = f"{load('fsdd').provenance['integer']['test'][-1]['accuracy']:.1%}"
    assert f"| **{own}** |" in next(line for line in page.splitlines() if line.startswith("| [fsdd]"))
