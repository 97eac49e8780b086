"""Flashing and looking for boards: drives, tools and ports that are imitated, and the firmware behind a port asked."""

from __future__ import annotations

import json
import os
import pty
import re
import stat
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sne_edge.cli import app
from sne_edge.deploy.boards import all_boards, resolve_board
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint, save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.link import drives, flashing, survey
from sne_edge.link.drives import copy_image, find_drive, mounted
from sne_edge.link.flashing import plan_flashing, start_bootloader
from sne_edge.link.ports import SerialPort
from sne_edge.link.transport import HostLine


@pytest.fixture
def drive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Mount a drive: `drive("RPI-RP2", "INFO_UF2.TXT", "what it says")`."""
    table = tmp_path / "mounts"
    table.write_text("proc /proc proc rw 0 0\nshort\n")
    monkeypatch.setattr(drives, "MOUNTS", table)

    def mount(label: str, file: str = "", says: str = "") -> Path:
        folder = tmp_path / "media dir" / label
        folder.mkdir(parents=True)
        if file:
            (folder / file).write_text(says)
        escaped = str(folder).replace(" ", r"\040")
        with table.open("a") as mounts:
            mounts.write(f"/dev/sda1 {escaped} vfat rw 0 0\n")
        return folder

    return mount


@pytest.fixture
def no_tools(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str, str], Path]:
    """Neither pyOCD nor bossac is installed; call to install one: a shell script in its place."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setattr(flashing, "find_spec", lambda name: None)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}")

    def install(name: str, script: str) -> Path:
        tool = tmp_path / "bin" / name
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(tool.stat().st_mode | stat.S_IXUSR)
        return tool

    return install


def told(error: BaseException | None) -> tuple[str, str]:
    assert isinstance(error, SneError)
    return error.message, error.hint


def test_a_drive_is_found_by_its_label_and_must_say_that_it_is_the_boards(drive: Callable[..., Path]) -> None:
    board = resolve_board("microbit-v2")
    with pytest.raises(SneError, match="no drive MICROBIT is mounted"):
        find_drive(board, None)
    first = drive("MICROBIT", "DETAILS.TXT", "# DAPLink\r\nUnique ID: 9904360254524e45\r\n")
    assert mounted("MICROBIT") == [first] and find_drive(board, None) == first
    with pytest.raises(SneError, match="is not the drive of microbit"):
        find_drive(resolve_board("microbit"), None)  # of the other version, whose drive has the same label
    second = drive("MICROBIT1", "DETAILS.TXT", "Unique ID: 9901")
    with pytest.raises(SneError, match="2 drives could be"):
        find_drive(board, None)
    assert find_drive(board, first) == first
    assert find_drive(resolve_board("microbit"), second) == second
    with pytest.raises(SneError, match="not a folder"):
        find_drive(board, first / "none")
    (first / "DETAILS.TXT").unlink()
    with pytest.raises(SneError, match="says nothing of itself"):
        find_drive(board, first)
    assert find_drive(resolve_board("nucleo-f446re"), drive("NODE_F446RE"))  # one that is asked nothing


def test_every_way_to_flash_names_a_file_that_the_board_gets() -> None:
    flashable = [board for board in all_boards() if board.flashing]
    assert len(flashable) >= 9
    for board in flashable:
        found = board.flashing
        assert found and (found.volume or found.pyocd or found.bossac)
        assert found.file in ("hex", "bin", "uf2") and (found.file == "uf2") == (found.uf2_family is not None)
        assert board.usb and all(re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", usb) for usb in board.usb)


def test_an_image_is_copied_whole_and_a_drive_that_vanishes_has_taken_it(
    drive: Callable[..., Path], tmp_path: Path
) -> None:
    image, folder = tmp_path / "firmware.hex", drive("MICROBIT")
    image.write_bytes(bytes(range(256)) * 700)
    taken: list[bytes] = []

    def take() -> None:
        while not (folder / image.name).exists() or (folder / image.name).stat().st_size < 256 * 700:
            time.sleep(0.01)
        taken.append((folder / image.name).read_bytes())
        (folder / image.name).unlink()

    board = threading.Thread(target=take)
    board.start()
    copy_image(image, folder, patience=20)
    board.join()
    assert taken == [image.read_bytes()]


def test_what_a_drive_says_of_a_failure_is_the_error(drive: Callable[..., Path], tmp_path: Path) -> None:
    image, folder = tmp_path / "firmware.hex", drive("MICROBIT", "FAIL.TXT", "of another time")
    image.write_bytes(b":00000001FF\n")
    copy_image(image, folder, patience=0.3)

    def fail() -> None:
        while not (folder / image.name).exists():
            time.sleep(0.01)
        (folder / "FAIL.TXT").write_text("error: The hex file cannot be decoded.\r\nerror type: user\r\n\x1b[2J")

    (folder / image.name).unlink()
    board = threading.Thread(target=fail)
    board.start()
    with pytest.raises(
        SneError, match=r"could not flash firmware\.hex: error: The hex file cannot be decoded\. error type"
    ):
        copy_image(image, folder, patience=20)
    board.join()
    with pytest.raises(SneError, match="cannot write"):
        copy_image(image, tmp_path / "nothing", patience=0)


def test_a_board_is_flashed_by_its_drive_with_the_image_that_build_makes(
    drive: Callable[..., Path],
    tiny: QuantEnsemble,
    require_tool: Callable[..., None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    require_tool("arm-none-eabi-gcc")
    monkeypatch.setattr(drives.copy_image, "__defaults__", (0.2,))
    folder = drive("RPI-RP2", "INFO_UF2.TXT", "UF2 Bootloader v3.0\r\nModel: Raspberry Pi RP2\r\nBoard-ID: RPI-RP2\r\n")
    save(tiny, tmp_path / "tiny.sne")
    line = ["flash", str(tmp_path / "tiny.sne"), "--board", "pico"]
    dry = CliRunner().invoke(app, [*line, "--dry-run"])
    assert dry.exit_code == 0 and not (folder / "firmware.uf2").exists()
    assert dry.stdout.splitlines() == [
        "would build firmware that serves tiny-test for pico",
        f"would copy firmware.uf2 to {folder}, which flashes it and restarts the board",
    ]
    done = CliRunner().invoke(app, line)
    assert done.exit_code == 0, done.output
    assert "flashed pico by drive" in done.output
    built = CliRunner().invoke(app, ["build", *line[1:], "-o", str(tmp_path / "built")])
    assert built.exit_code == 0
    assert (folder / "firmware.uf2").read_bytes() == (tmp_path / "built" / "firmware.uf2").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "said", "hint"),
    [
        (("mps2-an386",), "exists only in QEMU", "qemu:mps2-an386"),
        (("netduinoplus2",), "no way to flash netduinoplus2", "build"),
        (("pico", "bossac"), "cannot be flashed by bossac", "drive or pyocd"),
        (("stm32f4-discovery", "drive"), "cannot be flashed by drive", "pyocd"),
        (("pico", None, None, "/dev/ttyACM0"), "cannot be flashed by bossac", "drive or pyocd"),
        (("pico", None, Path("x"), "/dev/ttyACM0"), "two ways", "one of them"),
        (("pico",), "no drive RPI-RP2 is mounted; pyOCD is not installed", "BOOTSEL"),
        (("nano33ble",), "bossac is not installed; pyOCD is not installed", "bossa-cli"),
        (("microbit-v2", "pyocd"), "pyOCD is not installed", "sne-edge[flash]"),
    ],
)
def test_what_cannot_be_flashed_is_said_before_anything_is_done(
    arguments: tuple[object, ...],
    said: str,
    hint: str,
    drive: Callable[..., Path],
    no_tools: Callable[[str, str], Path],
) -> None:
    name, *rest = arguments
    with pytest.raises(SneError) as caught:
        plan_flashing(resolve_board(str(name)), *rest)  # type: ignore[arg-type]
    message, advice = told(caught.value)
    assert said in message and hint in advice


def test_pyocd_is_told_the_chip_and_its_failure_is_the_error(
    no_tools: Callable[[str, str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = resolve_board("nucleo-l4r5zi")
    no_tools("pyocd", f'echo "$@" > {tmp_path}/asked')
    plan = plan_flashing(board, "pyocd")
    assert plan.steps() == ["run pyocd flash --target stm32l4r5zitx firmware.hex"]
    image = built(tmp_path)
    flashing.flash(plan, image)
    assert (tmp_path / "asked").read_text().split() == ["flash", "--target", "stm32l4r5zitx", str(image.hex)]
    no_tools("pyocd", 'echo "0000280 C Target type stm32l4r5zitx not recognized. Use pyocd list" >&2; exit 1')
    with pytest.raises(SneError, match=r"pyocd failed: .*not recognized") as caught:
        flashing.flash(plan, image)
    assert "pyocd pack install stm32l4r5zitx" in caught.value.hint
    no_tools("pyocd", "exit 3")
    with pytest.raises(SneError, match="pyocd failed: exit code 3"):
        flashing.flash(plan, image)


def built(folder: Path) -> flashing.Firmware:
    """What a build left, as far as flashing looks at it."""
    names = {"hex": folder / "firmware.hex", "binary": folder / "firmware.bin", "uf2": None}
    for path in names.values():
        if path is not None:
            path.write_bytes(b"image")
    made = object.__new__(flashing.Firmware)
    for name, path in names.items():
        object.__setattr__(made, name, path)
    return made


@pytest.fixture
def terminal() -> Iterator[tuple[int, str]]:
    """A serial port: the board's end of it, and its name."""
    master, slave = pty.openpty()
    tty.setraw(slave)
    yield master, os.ttyname(slave)
    for end in (master, slave):
        os.close(end)


def port(name: str, usb: str | None) -> SerialPort:
    return SerialPort(name, "a port", usb, "0001", "someone")


def test_arduinos_bootloader_is_started_and_bossac_gets_its_port(
    no_tools: Callable[[str, str], Path], terminal: tuple[int, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board, (_, name) = resolve_board("nano33ble"), terminal
    asked: list[int] = []

    def ports() -> list[SerialPort]:  # its program's, and once that was opened the bootloader's
        asked.append(1)
        return (
            [port(name, "2341:805a"), port("/dev/ttyS0", None)] if len(asked) < 4 else [port("/dev/boot", "2341:005a")]
        )

    monkeypatch.setattr(flashing, "serial_ports", ports)
    no_tools("bossac", f'echo "$@" > {tmp_path}/asked')
    plan = plan_flashing(board)
    assert plan.way == "bossac" and plan.where == name and "1200 baud" in plan.steps()[0]
    flashing.flash(plan, built(tmp_path))
    assert (tmp_path / "asked").read_text().split()[0] == "--port=/dev/boot"
    assert start_bootloader(board, "/dev/boot") == "/dev/boot"  # it runs already
    monkeypatch.setattr(flashing, "serial_ports", lambda: [port(name, "2341:805a")])
    with pytest.raises(SneError, match="bootloader of nano33ble did not start"):
        start_bootloader(board, name, seconds=0.3)
    monkeypatch.setattr(flashing, "serial_ports", lambda: [])
    with pytest.raises(SneError, match="no port is nano33ble's"):
        plan_flashing(board, "bossac")
    monkeypatch.setattr(flashing, "serial_ports", lambda: [port("a", "2341:805a"), port("b", "2341:805a")])
    with pytest.raises(SneError, match="2 ports could be nano33ble's: a, b"):
        plan_flashing(board, "bossac")


@pytest.fixture
def served(terminal: tuple[int, str], host_export: Path) -> str:
    """A port behind which the firmware of `tiny` answers."""
    master, name = terminal
    line = HostLine(host_export)

    def serve() -> None:
        try:
            while data := os.read(master, 4096):
                line.write(data, 1)
                os.write(master, line.read(0))
        except OSError:
            return

    threading.Thread(target=serve, daemon=True).start()
    return name


def test_ports_says_which_board_is_there_and_what_it_serves(
    served: str, tiny: QuantEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent, other = pty.openpty()
    here = [port(served, "0d28:0204"), port(os.ttyname(other), "2341:805a"), port("/dev/nothing", "10c4:ea60")]
    monkeypatch.setattr(survey, "serial_ports", lambda: [*here, port("/dev/ttyS9", None)])
    started = time.monotonic()
    done = CliRunner().invoke(app, ["ports", "--json"])
    assert time.monotonic() - started < 8
    first, second, third, last = json.loads(done.stdout)
    assert first["boards"] == ["microbit", "microbit-v2"]
    assert (first["port"], first["runs"], first["fingerprint"]) == (served, "tiny-test", fingerprint(tiny))
    assert (second["boards"], second["runs"]) == (["nano33ble"], None)
    assert (third["boards"], third["adapter"], third["runs"]) == ([], "a CP210x, as many ESP32 boards have", None)
    assert (last["usb_id"], last["boards"], last["adapter"]) == (None, [], None)
    table = CliRunner().invoke(app, ["ports"]).stdout
    assert f"tiny-test ({fingerprint(tiny)})" in table and "nano33ble" in table
    for end in (silent, other):
        os.close(end)


def test_a_port_of_no_known_board_is_opened_only_if_all_are_asked(
    served: str, tiny: QuantEnsemble, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(survey, "serial_ports", lambda: [port(served, "0403:6001")])
    (found,) = survey.survey()
    assert found.runs is None and found.adapter == "an FTDI adapter"
    (found,) = survey.survey(everyone=True)
    assert (found.runs, found.fingerprint) == ("tiny-test", fingerprint(tiny))


def test_no_port_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survey, "serial_ports", lambda: [])
    assert "no serial port is here" in CliRunner().invoke(app, ["ports"]).stdout
