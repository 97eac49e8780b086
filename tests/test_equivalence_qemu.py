"""Equivalence on emulated cores: the same random networks, at every timestep, with each set of kernels there is."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from sne_edge.codegen.layout import state_layout
from sne_edge.codegen.sizes import MAX_ROWS
from strategies import ENCODERS, every_policy, proven, random_ensemble, random_inputs, with_early
from test_equivalence import audio, depthwise, ensemble_of, linear, seldom, swept

from sne_edge.check.verify import ReferenceEngine
from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import Firmware, build_firmware
from sne_edge.deploy.export import export
from sne_edge.deploy.targets import resolve_target
from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import AvgPool, Conv, Layer, Linear, window_out
from sne_edge.ir.neuron import Bound, Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.vectors import no_vectors
from sne_edge.link.device import Device
from sne_edge.link.engine import DeviceEngine

replace = msgspec.structs.replace
BOARDS = ("microbit", "mps2-an385", "mps2-an386", "mps3-an547")


def assert_device(
    ensemble: QuantEnsemble,
    board: str,
    folder: Path,
    rng: random.Random,
    samples: int = 4,
    inputs: np.ndarray | None = None,
) -> None:
    """Firmware on `board` and reference agree: each student alone at every timestep, then every kind of policy."""
    directory = export(ensemble, resolve_board(board).target, folder / "export")
    if inputs is None:
        inputs = random_inputs(rng, ensemble, samples)[-samples:]
    traced: list[tuple[ActivationPolicy, int | None]] = [
        (ActivationPolicy("mask", mask=1 << number, timesteps=t), number)
        for number in range(len(ensemble.students))
        for t in range(1, ensemble.encoder.timesteps + 1)
    ]
    plain: list[tuple[ActivationPolicy, int | None]] = [(policy, None) for policy in every_policy(rng, ensemble)]
    for definitions, runs in ((("SNE_TRACE",), traced), ((), plain)):
        image = build_firmware(directory, board, folder / "firmware", definitions=definitions)
        compare(ensemble, board, image, inputs, runs)


def compare(
    ensemble: QuantEnsemble,
    board: str,
    image: Firmware,
    inputs: np.ndarray,
    runs: list[tuple[ActivationPolicy, int | None]],
) -> None:
    """Every number of every run, membranes where a student runs alone."""
    reference = ReferenceEngine(ensemble)
    with Device.open(f"qemu:{board}", image.elf, fingerprint=fingerprint(ensemble)) as device:
        engine = DeviceEngine(device, board)
        for policy, student in runs:
            got, want = engine.run(inputs, policy, student), reference.run(inputs, policy, student)
            for name, values in want.values.items():
                np.testing.assert_array_equal(got.values[name], values, err_msg=f"{name} under {policy}")
            for mine, theirs in zip(got.membranes, want.membranes, strict=True):
                np.testing.assert_array_equal(mine, theirs, err_msg=f"membranes under {policy}")


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_random_networks_are_exact_on_every_core(
    kind: EncoderKind, board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Membranes of 16 bits alone, or of any, in turn: each core and each encoder has both."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    width: Any = (None, 16)[(BOARDS.index(board) + ENCODERS.index(kind)) % 2]
    rng = random.Random(f"{kind} {board} {width}")
    assert_device(random_ensemble(rng, kind=kind, width=width, students=4), board, tmp_path, rng)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("kind", ENCODERS)
def test_early_stops_are_exact_on_every_core(
    kind: EncoderKind, board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """At margins of the size of the inputs' own, so that students end at different timesteps."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    rng = random.Random(f"{kind} {board}")
    ensemble = random_ensemble(rng, kind=kind, students=2)
    while not (early := with_early(rng, ensemble)).policy.early:
        ensemble = random_ensemble(rng, kind=kind, students=2)
    inputs = random_inputs(rng, early, 6)
    middle = int(np.median(ReferenceEngine(early).run(inputs, ActivationPolicy("all"), None).values["margin"]))
    table = tuple(rng.choice((middle // 2, middle, 2**31 - 1)) for _ in early.policy.early)
    early = replace(early, policy=replace(early.policy, early=table, timesteps=0))
    assert_device(early, board, tmp_path, rng, inputs=inputs)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("bits", [8, 4])
def test_every_number_of_outputs_is_exact_on_every_core(
    bits: int, board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Layers of 1 to 47 outputs at 16 bits: every remainder of every block of every kernel."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    encoder = Encoder("rate", (1, 1, 10), 2)
    lif, readout = Neuron("lif", Decay("shift", 2)), Neuron("li", Decay("shift", 1), "none")
    students: list[list[Layer]] = [
        [linear(encoder, True, encoder.shape, n, lif, bits=bits), linear(encoder, False, (1, 1, n), 3, readout)]
        for n in (*range(1, 20), 31, 32, 33, 39, 40, 47, *((63, 64, 65, 77, 128) if bits == 4 else ()))
    ]
    assert all(isinstance(x, Linear) and x.width == 16 for chain in students for x in chain)
    rng = random.Random(board)
    assert_device(ensemble_of(encoder, students), board, tmp_path, rng, samples=2)


@pytest.mark.parametrize("board", BOARDS)
def test_depthwise_convolutions_are_exact_on_every_core(
    board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    assert_device(depthwise(6), board, tmp_path, random.Random(board), samples=2)


def scattering(
    encoder: Encoder, channels: int, neuron: Neuron, pool: tuple[int, int] | None = None, bits: int = 8
) -> list[Layer]:
    """Convolutions of stride 1 and of 2, the first behind an average pooling of (kernel, stride)."""
    rng = np.random.default_rng(channels)
    shape, layers = encoder.shape, list[Layer]()
    if pool:
        window = ((pool[0], pool[0]), (pool[1], pool[1]), (0, 0))
        layers.append(AvgPool(shape, (*window_out(shape, *window), 5), *window))
        shape = layers[-1].out_shape
    for kernel, stride in (((3, 2), (1, 1)), ((2, 3), (2, 2))):
        weight = rng.integers(-128, 128, (channels, shape[2], *kernel), dtype=np.int8) >> (8 - bits)
        layer = Conv(
            in_shape=shape,
            out_shape=(*window_out(shape, kernel, stride, (1, 1)), channels),
            weight=weight >> 3 if pool else weight,
            bias=rng.integers(-20, 60, channels, dtype=np.int32),
            threshold=rng.integers(20, 400, channels, dtype=np.int32),
            scale=np.ones(channels),
            neuron=neuron,
            bound=Bound(0, 0),
            stride=stride,
            padding=(1, 1),
            bits=bits,
        )
        first = not any(isinstance(before, Conv) for before in layers)
        layers.append(proven(layer, encoder, not layers, pool[0] ** 2 if pool and first else 1))
        shape = layer.out_shape
    return [*layers, linear(encoder, False, shape, 2, Neuron("li", Decay("shift", 1), "none"))]


LIF = Neuron("lif", Decay("shift", 1))
SCATTERING = {
    "lif": (32, LIF),
    "48 channels": (48, Neuron("lif", Decay("shift", 3), reset="zero")),
    "11 channels": (11, LIF),
    "if": (16, Neuron("if", clamp=(-9000, 9000))),
    "q15": (32, Neuron("lif", Decay("q15", 21000))),
    "delayed": (16, Neuron("lif", Decay("shift", 2), reset_delay=True)),
    "pooled": (32, LIF, (2, 2)),
    "pooled, overlapping": (32, LIF, (3, 2)),
    "4 bits": (32, LIF, None, 4),
}


def scattered(*cases: str) -> QuantEnsemble:
    """A student for each case, which spikes little, as it says."""
    encoder = Encoder("events", (7, 6, 5), 3)
    ensemble = ensemble_of(encoder, [scattering(encoder, *SCATTERING[case]) for case in cases])
    students = (replace(s, max_ops=1, layer_ops=(0,) * len(s.layers)) for s in ensemble.students)
    return replace(ensemble, students=tuple(students))


TOGETHER = (  # in one model, as many as the smallest board has room for
    ("lif", "11 channels", "if", "pooled"),
    ("48 channels", "pooled, overlapping"),
    ("q15", "4 bits", "delayed"),
)


def test_every_case_of_scattering_is_in_a_model() -> None:
    assert sorted(case for cases in TOGETHER for case in cases) == sorted(SCATTERING)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("cases", TOGETHER, ids="; ".join)
def test_scattered_spikes_are_exact_on_every_core(
    cases: tuple[str, ...], board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    ensemble = scattered(*cases)
    for case, stages in zip(cases, state_layout(ensemble).stages, strict=True):
        kernels = [stage.kernel for stage in stages]
        assert kernels == ["overlap" if "overlapping" in case else "scatter", "scatter", "gather"]
    assert_device(ensemble, board, tmp_path, random.Random(cases[0]), samples=2)


@pytest.mark.parametrize("board", BOARDS)
def test_columns_that_no_position_sees_are_exact_on_every_core(
    board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """Their room in the list of rows lets more of them be added at once than the windows ask for."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    whole, narrow = (swept(149, 447, bits) for bits in (8, 4))
    ensemble = ensemble_of(whole.encoder, [list(one.students[0].layers) for one in (whole, narrow)])
    for first, _ in state_layout(ensemble).stages:
        assert (first.kernel, first.listed) == ("sweep", MAX_ROWS)
    inputs = np.full((1, ensemble.encoder.input_bytes), 0x7F, np.uint8)
    assert_device(ensemble, board, tmp_path, random.Random(0), inputs=inputs)


@pytest.mark.parametrize("kind", ["conv", "maxpool"])
def test_a_second_of_sound_is_exact_on_a_core(kind: str, require_tool: Callable[..., None], tmp_path: Path) -> None:
    """On a board with the memory that it takes: tables of more than 65,535 pairs, and hardly any spikes."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    ensemble = seldom(audio(kind, 24000, 3))
    inputs = random_inputs(random.Random(0), ensemble, 8)[-1:]
    assert_device(ensemble, "mps2-an385", tmp_path, random.Random(0), inputs=inputs)


@pytest.mark.parametrize("board", BOARDS)
def test_hundreds_of_events_at_once_are_exact_on_every_core(
    board: str, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    """More events than 16-bit lanes hold sums of bytes, or bytes sums of nibbles: they must be taken apart in time."""
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    encoder = Encoder("events", (1, 1, 600), 1)
    lif, readout = Neuron("lif", Decay("shift", 1)), Neuron("li", Decay("shift", 1), "none")
    students: list[list[Layer]] = [
        [
            linear(encoder, True, encoder.shape, outputs, lif, weight, bits),
            linear(encoder, False, (1, 1, outputs), 3, readout),
        ]
        for bits, outputs, weight in ((8, 28, 0), (4, 28, 0), (4, 101, 7), (4, 101, -8))
    ]
    ensemble = ensemble_of(encoder, students)
    active = np.array([[600], [515], [514], [513], [258], [257], [161], [160], [18], [17], [16], [4], [3]])
    inputs = encoder.encode((np.arange(600) < active)[:, None, :])
    assert_device(ensemble, board, tmp_path, random.Random(0), inputs=inputs)


@pytest.mark.parametrize(
    ("board", "outputs", "bits", "right", "wrong"),
    [
        ("mps2-an385", 32, 8, "and r12, lr, r12, lsr #8", "and r12, lr, r12, lsr #9"),
        ("mps2-an386", 33, 8, "ror #8", "ror #16"),
        ("mps3-an547", 33, 8, "vaddq_s16(", "vsubq_s16("),
        ("microbit", 33, 8, "odd += (w >> 8)", "odd += (w >> 9)"),
        ("mps2-an385", 32, 4, r"add r12, r12, \\high", r"sub r12, r12, \\high"),
        ("mps2-an386", 32, 4, "sxtab16 r3, r3", "sxtab16 r3, r2"),
        ("mps3-an547", 64, 4, "vshr.u8 %q[w], %q[w], #4", "vshr.u8 %q[w], %q[w], #5"),
        ("microbit", 33, 4, "high0 += (w[0] >> 4)", "high0 += (w[0] >> 3)"),
    ],
)
def test_a_fault_in_a_cores_own_kernels_is_seen(
    board: str,
    outputs: int,
    bits: int,
    right: str,
    wrong: str,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")

    original = export

    def faulty(ensemble: QuantEnsemble, target: str, directory: Path) -> Path:
        faults = 0
        for path in original(ensemble, target, directory).glob("sne_*.h"):
            text = path.read_text(encoding="utf-8")
            faults += text.count(right)
            path.write_text(text.replace(right, wrong), encoding="utf-8")
        assert faults, "the fault was not injected"
        return directory

    monkeypatch.setattr("test_equivalence_qemu.export", faulty)
    encoder = Encoder("rate", (1, 1, 10), 2)
    hidden = linear(encoder, True, encoder.shape, outputs, Neuron("lif", Decay("shift", 2)), bits=bits)
    readout = linear(encoder, False, (1, 1, outputs), 3, Neuron("li", Decay("shift", 1), "none"))
    with pytest.raises(AssertionError, match="Arrays are not equal"):
        assert_device(ensemble_of(encoder, [[hidden, readout]]), board, tmp_path, random.Random(0), samples=2)


@pytest.mark.parametrize("board", BOARDS)
def test_the_boards_of_this_file_have_the_kernels_that_it_says(board: str) -> None:
    kernels = resolve_target(resolve_board(board).target).kernels
    assert kernels == {"microbit": "swar", "mps2-an385": "swar", "mps2-an386": "dsp", "mps3-an547": "helium"}[board]


def test_firmware_takes_its_models_own_policy_however_many_early_stops_that_has(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    rng, board = random.Random(0), "mps2-an386"
    while not (early := with_early(rng, random_ensemble(rng, kind="events", students=1))).policy.early:
        pass
    steps = early.encoder.timesteps - 1
    count = min(32, 70 // steps + 1)
    student = replace(early.students[0], gain=np.ones_like(early.students[0].gain))
    policy = ActivationPolicy("cascade", margins=(2**31 - 1,) * (count - 1), early=(2**31 - 1,) * (count * steps))
    students, order = (student,) * count, tuple(range(count))
    none = no_vectors(early.encoder, len(early.classes), students)
    early = replace(early, students=students, order=order, routes=None, policy=policy, vectors=none)
    assert 4 * len(early.policy.early) > 256, "more than a request usually holds"
    image = build_firmware(
        export(early, resolve_board(board).target, tmp_path / "export"), board, tmp_path / "firmware"
    )
    compare(early, board, image, random_inputs(rng, early, 4), [(early.policy, None), (ActivationPolicy("all"), None)])
