"""RISC-V: random models, every kernel and every fault on emulated 32-bit cores, with the bit manipulation extension and
without."""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conftest import Build
from debugger import debugged, symbol
from emulated import printed
from strategies import ENCODERS, random_ensemble
from test_equivalence import ensemble_of, linear
from test_equivalence_qemu import assert_device, scattered
from test_fire_kernels import KINDS

from sne_edge.deploy.boards import resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export
from sne_edge.deploy.targets import RISCV, all_targets, resolve_target
from sne_edge.errors import SneError
from sne_edge.ir.encoder import Encoder, EncoderKind
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.neuron import Decay, Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.device import Device
from sne_edge.link.transport import SocketLine

PLAIN, ZB = "riscv32-virt", "riscv32-virt-zb"
GCC = f"{RISCV.prefix}gcc"
STRICT = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Wconversion", "-pedantic", "-Werror")
# What turns a kernel wrong: the program that sees it, a file of the runtime, a text in it, another.
FAULTS = (
    ("rows", "sne_accumulate_words.h", "(w >> 8)", "(w >> 9)"),
    ("multiply", "sne_multiply_words.h", ": j + 4]", ": j + 3]"),
    ("fire", "sne_fire_words.h", "(0xffffu >> (factor & 15))", "(0x7fffu >> (factor & 15))"),
    ("last", "sne_fire_words.h", "both >> 15) & 15u", "both >> 14) & 15u"),
    ("steps", "sne_fire_words.h", "sne_bits_words(a2, a3) << 4", "sne_bits_words(a2, a3) << 3"),
)


@pytest.fixture(autouse=True)
def _tools(require_tool: Callable[..., None]) -> None:
    require_tool(GCC, RISCV.emulator)


@pytest.mark.parametrize(("kind", "board"), list(zip(ENCODERS, (PLAIN, ZB, PLAIN), strict=True)))
def test_random_networks_are_exact_on_riscv(kind: EncoderKind, board: str, tmp_path: Path) -> None:
    rng = random.Random(f"{kind} {board}")
    width = 16 if board == PLAIN else None
    assert_device(random_ensemble(rng, kind=kind, width=width, students=2), board, tmp_path, rng, samples=2)


@pytest.mark.parametrize("bits", [8, 4])
def test_every_number_of_outputs_is_exact_on_riscv(bits: int, tmp_path: Path) -> None:
    encoder = Encoder("rate", (1, 1, 10), 2)
    lif, readout = Neuron("lif", Decay("shift", 2)), Neuron("li", Decay("shift", 1), "none")
    students = [
        [linear(encoder, True, encoder.shape, n, lif, bits=bits), linear(encoder, False, (1, 1, n), 3, readout)]
        for n in (1, 4, 7, 8, 12, 13, 16, 20, 28, 31, 32, 36, 44, 60, 64)
    ]
    assert_device(ensemble_of(encoder, students), PLAIN, tmp_path, random.Random(bits), samples=1)


def test_scattered_spikes_are_exact_on_riscv(tmp_path: Path) -> None:
    assert_device(scattered("lif", "4 bits"), PLAIN, tmp_path, random.Random(1), samples=1)


def kernel_results(program: str, board: str, tmp_path: Path, patch: pytest.MonkeyPatch, *fault: str) -> dict[str, int]:
    """What a program of this folder finds out about kernels: a number of each name."""
    source = "fire_kernels.c" if program in ("fire", "last", "steps") else f"{program}_emulated.c"
    text = printed(board, source, tmp_path, patch, *fault, definitions=[f"CASES={4 if fault else 20}"])
    return {name: int(number) for name, number in (line.split() for line in text.splitlines())}


@pytest.mark.parametrize("program", ["rows", "chains", "multiply", "fire"])
def test_every_kernel_is_the_equation_on_riscv(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = kernel_results(program, PLAIN, tmp_path, monkeypatch)
    assert found["wrong"] == 0
    assert len(found) == KINDS + 1 if program == "fire" else found["runs"] > 300


@pytest.mark.parametrize(("program", "name", "right", "wrong"), FAULTS)
def test_a_fault_in_a_kernel_for_riscv_is_seen(
    program: str, name: str, right: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = kernel_results(program, PLAIN, tmp_path, monkeypatch, name, right, wrong)
    seen = [number for kind, number in found.items() if kind.startswith(program) or program not in ("last", "steps")]
    assert sum(seen) > 0 and found["wrong"] > 0


def test_kernels_for_riscv_pay(tiny: QuantEnsemble, firmware: Build) -> None:
    """Against the portable ones, in instructions."""
    counts = []
    for definitions in ((), ("SNE_PORTABLE",)):
        with Device.open(f"qemu:{PLAIN}", firmware(tiny, PLAIN, *definitions).elf) as device:
            device.load(tiny.vectors.inputs[0].tobytes())
            counts.append(device.bench(1, ActivationPolicy("all")).total)
    assert counts[0] < 0.85 * counts[1]


@pytest.mark.parametrize("board", [PLAIN, "sifive-e"])
@pytest.mark.parametrize(("definition", "what"), [("SNE_INJECT_FAULT", ""), ("SNE_INJECT_OVERFLOW", "store")])
def test_a_fault_on_riscv_is_reported_and_the_board_restarts(
    board: str, definition: str, what: str, tiny: QuantEnsemble, firmware: Build
) -> None:
    with Device.open(f"qemu:{board}", firmware(tiny, board, definition).elf, run_seconds=2) as device:
        for _ in range(2):
            device.load(tiny.vectors.inputs[0].tobytes())
            with pytest.raises(SneError, match=rf"device faulted at pc=.*{what}") as caught:
                device.run()
            assert f"{RISCV.prefix}addr2line" in caught.value.hint
            assert device.info().board == board


@pytest.mark.parametrize("board", [PLAIN, "sifive-e"])
def test_a_fault_while_an_interrupt_is_served_leaves_it_free_for_the_next(
    board: str, tiny: QuantEnsemble, firmware: Build
) -> None:
    image = firmware(tiny, board).elf
    serve = symbol(image, "uart_interrupt")
    with debugged(resolve_board(board), image) as (qemu, machine):
        machine.go()
        with Device(SocketLine(qemu.line), board) as device:
            machine.halt()
            machine.ask(f"Z0,{serve:x},2")
            machine.go()

            def astray() -> None:
                machine.answer()
                machine.ask(f"z0,{serve:x},2")
                found = machine.ask("g")
                assert int.from_bytes(bytes.fromhex(found[256:264]), "little") == serve  # the program counter
                machine.ask(f"G{found[:256]}000000a0{found[264:]}")  # to where no code can be
                machine.go()

            with ThreadPoolExecutor(1) as pool:
                done = pool.submit(astray)
                with pytest.raises(SneError, match="device faulted at pc=0xa0000000"):
                    device.run()
                done.result()
            assert device.run_vector(0).matches


def test_firmware_for_riscv_holds_no_soft_float_and_no_heap(tiny: QuantEnsemble, firmware: Build) -> None:
    elf = str(firmware(tiny, "sifive-e").elf)
    listing = subprocess.run([f"{RISCV.prefix}nm", elf], capture_output=True, text=True, check=True).stdout
    names = {line.split()[-1] for line in listing.splitlines()}
    assert "sne_run" in names
    assert not {name for name in names if re.fullmatch(r"malloc|free|_sbrk|printf|__\w+[sd]f\d?|__float\w+", name)}


@pytest.mark.parametrize("target", [target.name for target in all_targets() if target.tools is RISCV])
def test_every_riscv_target_builds_firmware_without_a_warning(target: str, tiny: QuantEnsemble, tmp_path: Path) -> None:
    directory = export(tiny, target, tmp_path / "export")
    chosen = resolve_target(target)
    command = [GCC, *chosen.cflags, *STRICT, "-c", "tiny_test.c", "-o", str(tmp_path / "model.o")]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert chosen.board is not None and resolve_board(chosen.board).emulator is not None
    if resolve_board(chosen.board).target == target:
        assert build_firmware(directory, chosen.board, tmp_path / "firmware").flash_bytes > 0


@pytest.mark.parametrize(
    ("chip", "target"),
    [("esp32-c3", "riscv32imc"), ("esp32-c6", "riscv32"), ("ch32v", "riscv32"), ("pico2-riscv", "riscv32zb")],
)
def test_chips_name_their_core(chip: str, target: str) -> None:
    assert resolve_target(chip).name == target
