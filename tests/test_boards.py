"""Boards that people own: each one's image boots on a model of its chip, at its speed, and serves; it lies where the
chip looks for it, in the format that its boot ROM and its drive want; a fault is reported and the board restarts."""

from __future__ import annotations

import re
import struct
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from board_chips import CHIPS, F4
from board_machine import Machine
from conftest import Build

from sne_edge.deploy.boards import BOARDS, all_boards, resolve_board
from sne_edge.deploy.build import Firmware, build_firmware, port_sources
from sne_edge.deploy.export import export
from sne_edge.deploy.images import boot_checksum, uf2
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.link.device import Device

REAL = [board.name for board in all_boards() if board.speed in CHIPS and board.name != "microbit"]
OWNED = {
    *(
        "nano33ble",
        "pico",
        "pico2",
        "nucleo-l4r5zi",
        "nucleo-f446re",
        "nucleo-h743zi",
        "stm32f4-discovery",
        "microbit-v2",
    ),
    *("netduinoplus2", "microbit"),
}


class Line:
    """The serial line of a machine."""

    def __init__(self, machine: Machine) -> None:
        self.machine, self.received = machine, b""

    def write(self, data: bytes, timeout: float) -> None:
        self.received += self.machine.exchange(data)

    def read(self, timeout: float) -> bytes:
        data, self.received = self.received, b""
        return data

    def close(self) -> None:
        self.received = b""


@pytest.fixture(scope="module")
def images(
    require_tool: Callable[..., None], tiny: QuantEnsemble, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Firmware]:
    """Build (once) firmware that serves `tiny` on a board."""
    require_tool("arm-none-eabi-gcc")
    made: dict[str, Firmware] = {}

    def build(name: str) -> Firmware:
        if name not in made:
            folder = tmp_path_factory.mktemp(name)
            directory = export(tiny, resolve_board(name).target, folder / "export")
            made[name] = build_firmware(directory, name, folder / "firmware")
        return made[name]

    return build


def test_the_boards_that_people_own_are_there_and_say_that_silicon_has_not_tried_them() -> None:
    assert {board.name for board in all_boards() if board.clock_hz} >= OWNED
    for board in all_boards():
        assert ("not tried on silicon" in board.tried) == (board.clock_hz > 0)
        assert ("QEMU" in board.tried) == (board.emulator is not None)
        assert board.tried


@pytest.mark.parametrize("name", REAL)
@pytest.mark.examines(vectors=4)
def test_an_image_boots_at_the_boards_speed_and_serves(
    name: str, images: Callable[[str], Firmware], tiny: QuantEnsemble, examined: Counter[str]
) -> None:
    board, image = resolve_board(name), images(name)
    machine = Machine(board, image.binary.read_bytes())
    machine.run()
    assert machine.chip.hz() == board.clock_hz
    with Device(Line(machine), name, fingerprint=fingerprint(tiny)) as device:
        info = device.info()
        assert (info.board, info.flash_used, info.stack_size) == (name, image.flash_bytes, board.stack_bytes)
        for index in range(info.vectors):
            assert device.run_vector(index).matches
            examined["vectors"] += 1
    assert abs(machine.chip.baud() / board.uart.baud - 1) < 0.01


@pytest.mark.parametrize("name", REAL)
def test_a_boards_pin_rests_low_and_is_high_while_an_inference_runs(
    name: str, images: Callable[[str], Firmware]
) -> None:
    board = resolve_board(name)
    assert board.trigger.driver != "memory"
    machine = Machine(board, images(name).binary.read_bytes())
    machine.run()
    assert machine.chip.levels == [None, 0]
    with Device(Line(machine), name) as device:
        device.run()
        assert machine.chip.levels == [None, 0]
        device.pulse(runs=2)
    assert machine.chip.levels == [None, 0, 1, 0]
    known = dict(board.constants)
    same_port = known.get("trigger_base") == known.get("gpio_base")
    assert not (same_port and board.trigger.pin in (known["tx_pin"], known["rx_pin"]))


def test_a_board_whose_oscillator_does_not_start_serves_at_resets_speed(
    images: Callable[[str], Firmware], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(F4, "follow", ())
    board = resolve_board("stm32f4-discovery")
    machine = Machine(board, images(board.name).binary.read_bytes())
    machine.run()
    assert not machine.chip.on_pll()  # type: ignore[attr-defined]
    with Device(Line(machine), board.name) as device:
        assert device.run_vector(0).matches
    assert abs(board.reset_hz / machine.chip[board.uart.base + 8] / board.uart.baud - 1) < 0.01


def test_the_model_of_a_chip_refuses_what_its_manual_forbids(images: Callable[[str], Firmware]) -> None:
    board = resolve_board("nucleo-f446re")
    code = images(board.name).binary.read_bytes()
    known = dict(board.constants)
    pllcfgr = struct.pack("<I", known["rcc_pllcfgr"])
    assert pllcfgr in code
    with pytest.raises(AssertionError, match="wait states"):  # VCO of 432 MHz
        Machine(board, code.replace(pllcfgr, struct.pack("<I", known["rcc_pllcfgr"] & ~0x7FC0 | 216 << 6))).run()


@pytest.mark.parametrize("name", sorted(OWNED))
def test_an_image_lies_where_its_chip_looks_for_it(name: str, images: Callable[[str], Firmware]) -> None:
    board, image = resolve_board(name), images(name)
    code = image.binary.read_bytes()
    vectors = 256 if board.boot == "rp2040" else 0
    stack, *handlers = struct.unpack_from(f"<{17 + board.uart.interrupt}I", code, vectors)
    assert stack == board.ram_origin + board.stack_bytes
    assert board.ram_origin < stack <= board.ram_origin + board.ram_bytes
    for handler in handlers:
        assert handler & 1 and board.flash_origin < handler < board.flash_origin + len(code)
    assert (board.flash_origin + vectors) % 256 == 0  # as VTOR wants it
    assert len(code) == image.flash_bytes <= board.flash_bytes
    assert first_address(image.hex.read_text()) == board.flash_origin


def first_address(text: str) -> int:
    """Where the first data of an Intel HEX file go."""
    base = 0
    for line in text.splitlines():
        kind, value = line[7:9], int(line[9:13] or "0", 16)
        if kind == "00":
            return base + int(line[3:7], 16)
        base = value << (16 if kind == "04" else 4)  # the upper half of addresses, or a segment
    raise AssertionError("no data")


def mirrored(value: int, bits: int) -> int:
    """The bits in the other order."""
    return int(f"{value:0{bits}b}"[::-1], 2)


def test_an_rp2040_finds_the_checksum_of_its_second_stage(images: Callable[[str], Firmware]) -> None:
    code = images("pico").binary.read_bytes()
    backwards = zlib.crc32(bytes(mirrored(byte, 8) for byte in code[:252]))  # zlib's begins at the lowest bit
    assert struct.unpack_from("<I", code, 252) == (mirrored(backwards ^ 0xFFFFFFFF, 32),)
    assert boot_checksum(code[:252]) == mirrored(backwards ^ 0xFFFFFFFF, 32)
    assert any(code[:252])
    with pytest.raises(ValueError, match="252"):
        boot_checksum(code[:256])


def test_an_rp2350_finds_what_kind_of_image_it_is(images: Callable[[str], Firmware]) -> None:
    code = images("pico2").binary.read_bytes()
    start = code.index(struct.pack("<I", 0xFFFFDED3))
    assert start % 4 == 0 and start < 4096
    marker, item, last, link, end = struct.unpack_from("<5I", code, start)
    assert (item & 0xFF, item >> 8 & 0xFF, item >> 16) == (0x42, 1, 0x1021)
    assert (last & 0xFF, last >> 8 & 0xFFFF) == (0xFF, 1)  # the items before it are one word long
    assert (marker, link, end) == (0xFFFFDED3, 0, 0xAB123579)


@pytest.mark.parametrize(("name", "family"), [("pico", 0xE48BFF56), ("pico2", 0xE48BFF59)])
def test_a_uf2_file_holds_the_image(name: str, family: int, images: Callable[[str], Firmware]) -> None:
    image = images(name)
    assert image.uf2 is not None
    content, code = image.uf2.read_bytes(), image.binary.read_bytes()
    assert len(content) % 512 == 0 and content == uf2(code, 0x10000000, family)
    found = b""
    for number in range(len(content) // 512):
        block = content[512 * number :][:512]
        one, two, flags, address, size, index, count, who = struct.unpack_from("<8I", block)
        assert (one, two, block[508:]) == (0x0A324655, 0x9E5D5157, struct.pack("<I", 0x0AB16F30))
        assert (flags, address, size) == (0x2000, 0x10000000 + len(found), 256)
        assert (index, count, who) == (number, len(content) // 512, family)
        found += block[32 : 32 + size]
    assert found == code.ljust(len(found), b"\0") and len(found) - len(code) < 256


@pytest.mark.parametrize("board", ["mps2-an386", "microbit"])
def test_a_fault_is_reported_and_the_board_restarts(board: str, tiny: QuantEnsemble, firmware: Build) -> None:
    with Device.open(f"qemu:{board}", firmware(tiny, board, "SNE_INJECT_FAULT").elf, run_seconds=5) as device:
        for _ in range(2):
            with pytest.raises(SneError, match="device faulted at pc="):
                device.run()
            assert device.info().board == board


@pytest.mark.parametrize("name", sorted(OWNED))
def test_a_board_says_where_its_constants_come_from(name: str) -> None:
    text = (BOARDS / name / "board.toml").read_text(encoding="utf-8")
    if name != "microbit":
        source = r"^# .*(RM0\d{3}|PS v?\d|datasheet|STM32F405).*\d"
        assert re.search(source, text, flags=re.M), text
    assert re.search(r"\[constants\]", text)


BOARD = (Path(__file__).parents[1] / "examples/own_board/lab-m4/board.toml").read_text(encoding="utf-8")


def described(folder: Path, text: str) -> str:
    """A folder with that board.toml, as a command takes it."""
    folder.mkdir(exist_ok=True)
    (folder / "board.toml").write_text(text, encoding="utf-8")
    return f"{folder}/"


def test_a_board_of_ones_own_has_drivers_of_its_own(tmp_path: Path) -> None:
    place = described(tmp_path / "lab", BOARD.replace('"cmsdk"', '"lab"'))
    with pytest.raises(SneError, match=r"there is no uart_lab.c; known: cmsdk, nrf51, "):
        resolve_board(place)
    (tmp_path / "lab" / "uart_lab.c").write_text("/* mine */\n")
    board = resolve_board(place)
    assert board.name == "lab" and board.ram_bytes == 0x8000
    sources = port_sources(board, ("main.c",))
    assert [path for path in sources if path.parent == tmp_path / "lab"] == [tmp_path / "lab" / "uart_lab.c"]
    assert all(path.is_file() for path in sources) and len(sources) > 5


@pytest.mark.parametrize(
    ("old", "new", "wrong"),
    [
        ("0x8000", '"32K"', r"Expected `int`, got `str`"),
        ("stack_bytes = 4096", "", "KeyError"),
        ('"cmsdk"', '"../../etc/x"', "there is no uart_"),
        ("baud = 115200", "baud = 115200\nparity = 1", "parity"),
        ("[flash]", "[flash", "not a board"),
        ("node, emulated", "node */ int x; /*", "description"),
        ("[flash]", "[constants]\n'a b' = 1\n[flash]", "a b = 1 cannot be a constant"),
        ("[flash]\norigin = 0x00000000\nlength = 0x40000", "flash = 3", "TypeError"),
    ],
)
def test_a_board_of_ones_own_that_is_none_is_refused_by_its_file(
    old: str, new: str, wrong: str, tmp_path: Path
) -> None:
    assert BOARD.count(old) == 1
    with pytest.raises(SneError, match=wrong) as refused:
        resolve_board(described(tmp_path / "lab", BOARD.replace(old, new)))
    assert f"{tmp_path}/lab/board.toml is not a board" in str(refused.value)


def test_a_board_of_ones_own_that_is_not_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(SneError, match=r"cannot read .*board.toml"):
        resolve_board(f"{tmp_path}/nothing")
    with pytest.raises(SneError, match="cannot be a board's name"):
        resolve_board(described(tmp_path / 'a"b', BOARD))
