"""Firmware on emulated boards: boots, serves, agrees with the host, counts repeatably."""

from __future__ import annotations

import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import Build
from models import tiny_ensemble

from sne_edge.deploy.boards import Board, all_boards, read_board, resolve_board
from sne_edge.deploy.build import build_firmware
from sne_edge.deploy.export import export
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.device import Device
from sne_edge.link.qemu import Qemu
from sne_edge.link.transport import SocketLine
from sne_edge.link.wire import C, parse_reply, request

EMULATED = [board.name for board in all_boards() if board.emulator]


def on(board: Board, elf: Path) -> Device:
    """A device on an emulator of a board that need not have a folder."""
    qemu = Qemu(board, elf)

    class Line(SocketLine):
        def close(self) -> None:
            qemu.close()

    return Device(Line(qemu.line), board.name)


@pytest.mark.parametrize("board", EMULATED)
def test_each_board_boots_and_computes_what_the_reference_did(board: str, tiny: QuantEnsemble, firmware: Build) -> None:
    image = firmware(tiny, board)
    with Device.open(f"qemu:{board}", image.elf, fingerprint=fingerprint(tiny)) as device:
        info = device.info()
        assert (info.board, info.name, info.counter) == (board, "tiny-test", "instructions")
        assert info.flash_used == image.flash_bytes and info.ram_used == image.ram_bytes
        assert info.stack_size == image.stack_bytes
        golden = tiny.vectors
        for index in range(info.vectors):
            vector = device.run_vector(index)
            assert vector.matches, vector
            assert list(device.result().logits) == golden.logits[index].tolist()
            assert device.spikes().tolist() == golden.spikes[index].tolist()


@pytest.mark.parametrize("board", EMULATED)
def test_counting_is_repeatable_to_the_instruction(board: str, tiny: QuantEnsemble, firmware: Build) -> None:
    image = firmware(tiny, board)
    counts = set()
    for _ in range(2):
        with Device.open(f"qemu:{board}", image.elf) as device:
            device.load(tiny.vectors.inputs[0].tobytes())
            for n in (1, 20):
                bench = device.bench(n, ActivationPolicy("all"))
                counts |= {bench.min, bench.max, bench.mean}
                assert bench.unit == "instructions" and bench.runs == n
    assert len(counts) == 1
    assert 5_000 < counts.pop() < 200_000


@pytest.mark.parametrize("board", EMULATED)
def test_the_stack_figure_is_plausible(board: str, tiny: QuantEnsemble, firmware: Build) -> None:
    with Device.open(f"qemu:{board}", firmware(tiny, board).elf) as device:
        bench = device.bench(1)
        assert 64 <= bench.stack_bytes < 1024
        assert bench.stack_bytes < bench.stack_peak < resolve_board(board).stack_bytes // 2
        assert device.bench(1).stack_bytes == bench.stack_bytes
        assert device.info().stack_peak >= bench.stack_peak


def test_membranes_and_policies_agree_with_the_host(tiny: QuantEnsemble, host_export: Path, firmware: Build) -> None:
    image = firmware(tiny, "mps2-an386", "SNE_TRACE").elf
    with Device.open("qemu:mps2-an386", image) as board, Device.open("host", host_export) as host:
        assert board.layers() == host.layers()
        for policy in (
            ActivationPolicy("mask", mask=2),
            ActivationPolicy("cascade", margins=(50, 100)),
            ActivationPolicy("budget", max_ops=2000),
            ActivationPolicy("all", timesteps=2),
        ):
            for sample in tiny.vectors.inputs:
                for device in (board, host):
                    device.load(sample.tobytes())
                assert board.run(policy) == host.run(policy)
                for layer in range(len(host.layers())):
                    assert board.membranes(layer).tolist() == host.membranes(layer).tolist()


def test_wraps_of_the_counter_do_not_change_the_count(require_tool: Callable[..., None], tmp_path: Path) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")
    ensemble = tiny_ensemble(hidden=2000, students=4)
    counts = set()
    for shift in (7, 10):  # at 10, SysTick wraps every 655,360 instructions
        board = resolve_board("mps2-an386")
        assert board.emulator is not None
        board = replace(board, emulator=replace(board.emulator, icount_shift=shift))
        directory = export(ensemble, board.target, tmp_path / "export")
        with on(board, build_firmware(directory, board, tmp_path / "firmware").elf) as device:
            device.load(ensemble.vectors.inputs[0].tobytes())
            counts.add(device.bench(2, ActivationPolicy("all")).total)
    assert len(counts) == 1
    assert counts.pop() > 2 * 655_360


def test_an_emulator_with_another_clock_than_the_board_says_counts_nothing(
    tiny: QuantEnsemble, firmware: Build
) -> None:
    board = resolve_board("mps2-an386")
    assert board.emulator is not None
    wrong = replace(board, emulator=replace(board.emulator, icount_shift=4))
    with on(wrong, firmware(tiny, "mps2-an386").elf) as device:
        assert device.info().counter == "none"
        assert device.run_vector(0).matches
        with pytest.raises(SneError, match="cannot count"):
            device.bench(1)


def test_damaged_frames_do_not_stop_the_firmware(tiny: QuantEnsemble, firmware: Build) -> None:
    qemu = Qemu(resolve_board("microbit"), firmware(tiny, "microbit").elf)
    line = SocketLine(qemu.line)
    with Device(line, "microbit") as device:
        good = request(C["SNE_OP_LOAD"], 9, struct.pack("<I", 0) + bytes(28))
        line.write(good[:20] + b"\0" + good[3:] + b"\x05\0" + b"y" * 1000 + b"\0", 5)
        assert device.run_vector(0).matches
    qemu.close()


def test_the_emulator_ends_with_its_device(tiny: QuantEnsemble, firmware: Build) -> None:
    qemu = Qemu(resolve_board("mps2-an386"), firmware(tiny, "mps2-an386").elf)
    assert qemu.failure() is None
    process = qemu._process
    qemu.close()
    qemu.close()
    assert process.poll() is not None


def test_an_emulator_that_dies_in_mid_run_is_an_error(tiny: QuantEnsemble, firmware: Build) -> None:
    with Device.open("qemu:mps2-an386", firmware(tiny, "mps2-an386").elf) as device:
        device._transport._emulator._process.kill()  # type: ignore[attr-defined]
        with pytest.raises(SneError, match="went away during VECTOR: QEMU ended"):
            device.run_vector(0)


def test_missing_images_and_emulators_are_named(
    tmp_path: Path, tiny: QuantEnsemble, firmware: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = firmware(tiny, "mps2-an386").elf
    with pytest.raises(SneError, match="no firmware at"):
        Device.open("qemu:mps2-an386", tmp_path / "none.elf")
    with pytest.raises(SneError, match="needs a firmware image"):
        Device.open("qemu:mps2-an386")
    with pytest.raises(SneError, match="no board 'z80'") as caught:
        Device.open("qemu:z80", image)
    assert "mps2-an386" in caught.value.hint
    with pytest.raises(SneError, match="QEMU could not start"):
        board = resolve_board("mps2-an386")
        assert board.emulator is not None
        Qemu(replace(board, emulator=replace(board.emulator, machine="no-such")), image)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SneError, match="qemu-system-arm is not installed") as caught:
        Device.open("qemu:mps2-an386", image)
    assert "apt-get install qemu-system-arm" in caught.value.hint


def test_a_broken_board_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text("description = 'x'")
    with pytest.raises(SneError, match=r"board.toml is not a board: KeyError"):
        read_board(tmp_path)


def test_a_stack_that_runs_out_is_reported_as_a_fault(tiny: QuantEnsemble, firmware: Build) -> None:
    for name in ("mps2-an386", "mps2-an505"):
        image = firmware(tiny, name, "SNE_INJECT_OVERFLOW").elf
        device = Device.open(f"qemu:{name}", image, run_seconds=2)
        with device, pytest.raises(SneError, match="device faulted at pc="):
            device.run()


def test_replies_come_as_whole_frames(tiny: QuantEnsemble, firmware: Build) -> None:
    qemu = Qemu(resolve_board("mps2-an386"), firmware(tiny, "mps2-an386").elf)
    line = SocketLine(qemu.line)
    with Device(line, "mps2-an386"):
        line.write(b"".join(request(C["SNE_OP_INFO"], n) for n in range(20)), 5)
        data = b""
        while data.count(b"\0") < 40:
            data += line.read(5)
        frames = [parse_reply(part) for part in data.split(b"\0") if part]
        assert [frame.sequence for frame in frames if frame] == list(range(20))
    qemu.close()


def test_port_code_compiles_without_a_warning(require_tool: Callable[..., None], tmp_path: Path) -> None:
    from sne_edge.deploy.build import MLPERF_SOURCES, SERVER, compile_flags, port_sources, render_board
    from sne_edge.deploy.targets import resolve_target
    from sne_edge.resources import FIRMWARE, RUNTIME

    for board in all_boards():
        render_board(board, "x", tmp_path)
        sources = [str(path) for path in port_sources(board, (*SERVER, *MLPERF_SOURCES))]
        flags = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow"]
        includes = [f"-I{folder}" for folder in (tmp_path, RUNTIME, FIRMWARE)]
        target = resolve_target(board.target)
        require_tool(target.cc)
        command = [target.cc, *compile_flags(target), *flags, "-Werror", *includes, "-c", *sources]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_a_stream_on_a_board_gives_what_the_raster_gives(tiny_events: QuantEnsemble, firmware: Build) -> None:
    raster = tiny_events.vectors.inputs[0]
    spikes = tiny_events.encoder.spikes(raster[None])[:, 0].reshape(tiny_events.encoder.timesteps, -1)
    with Device.open("qemu:microbit", firmware(tiny_events, "microbit").elf) as device:
        assert device.info().stream
        device.load(raster.tobytes())
        whole = device.run(ActivationPolicy("all"))
        for row in spikes:
            last = device.step([int(i) for i in row.nonzero()[0]])
        assert (last.label, last.logits) == (whole.label, whole.logits)
        with pytest.raises(SneError, match="events must be in"):
            device.step([32])
