"""The serial protocol: frames, damage, limits; through the host build, which runs the device's own code."""

from __future__ import annotations

import re
import struct
import subprocess
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cobs import cobs
from hypothesis import given, settings
from hypothesis import strategies as st

from sne_edge.deploy.build import render_served_model
from sne_edge.deploy.export import export, read_manifest
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.device import Device
from sne_edge.link.replies import REPLIES, TYPES, decode, device_info, plain_text
from sne_edge.link.transport import HostLine
from sne_edge.link.wire import STATUSES, C, Deframer, Frame, parse_reply, policy_body, request
from sne_edge.resources import RUNTIME, WIRE

INFO_LAYOUT = "<BBHH8s6HB10I"
OPS = [value for name, value in C.items() if name.startswith("SNE_OP_") and value < C["SNE_OP_REPLY"]]


@pytest.fixture(scope="module")
def line(host_export: Path) -> Iterator[HostLine]:
    line = HostLine(host_export)
    yield line
    line.close()


def replies(line: HostLine, data: bytes) -> list[Frame]:
    """Everything the device answers to `data`; each answer must be a whole frame."""
    line.write(data, 1)
    frames = [parse_reply(part) for part in line.read(0).split(b"\0") if part]
    assert all(frame is not None for frame in frames)
    return [frame for frame in frames if frame is not None]


def ask(line: HostLine, name: str, body: bytes = b"") -> Frame:
    (frame,) = replies(line, request(C[f"SNE_OP_{name}"], 7, body))
    return frame


def still_serves(line: HostLine) -> bool:
    """A zero ends whatever came before; then INFO must be answered."""
    return replies(line, b"\0" + request(C["SNE_OP_INFO"], 99))[-1].sequence == 99


def test_a_reply_names_its_request(line: HostLine) -> None:
    frame = ask(line, "INFO")
    assert (frame.op, frame.sequence, frame.status) == (C["SNE_OP_INFO"] | C["SNE_OP_REPLY"], 7, 0)


def test_constants_are_read_from_the_headers() -> None:
    assert C["SNE_OP_FAULT"] == 255 and C["SNE_OK"] == 0 and C["SNE_WIRE_PROTOCOL"] == 1
    assert STATUSES[-17] == ("SNE_E_CRC", "the checksum does not match")
    header = (RUNTIME / "sne_wire.h").read_text()
    assert all(STATUSES[C[name]][0] == name for name in C if name.startswith("SNE_E_") and name in header)


def test_the_documented_example_is_the_request_sent() -> None:
    text = (Path(__file__).parents[1] / "docs" / "PROTOCOL.md").read_text()
    assert request(C["SNE_OP_INFO"], 7) == bytes.fromhex(text.split("On the line:")[1].split("###")[0])


def test_every_number_of_the_protocol_is_documented() -> None:
    text = (Path(__file__).parents[1] / "docs" / "PROTOCOL.md").read_text()
    names = [name for name in C if name.startswith(("SNE_OP_", "SNE_E_", "SNE_COUNTER_", "SNE_DIFFERS_"))]
    for name in names:
        short = name.removeprefix("SNE_OP_").removeprefix("SNE_COUNTER_").removeprefix("SNE_DIFFERS_")
        value = C[name] if C[name] < 128 else f"0x{C[name]:02X}"
        assert f"| {value} | {short} |" in text, name


@pytest.mark.parametrize(
    ("reply", "title", "last"), [("INFO", "**INFO**", 67), ("RUN", "**A result**", 36), ("BENCH", "**BENCH**", 44),
                                 ("FAULT", "**FAULT**", 28)],
)  # fmt: skip
def test_the_documented_tables_are_those_that_replies_are_read_by(reply: str, title: str, last: int) -> None:
    text = (Path(__file__).parents[1] / "docs" / "PROTOCOL.md").read_text().split(title)[1].split("\n**")[0]
    rows = re.findall(r"^\| (\d+) \| ([iu]\d+|8 bytes) \|", text, flags=re.M)
    offset = 0
    for field, row in zip(REPLIES[reply].fields, rows, strict=True):
        assert row == (str(offset), field.type), field
        offset += struct.calcsize(f"<{TYPES[field.type]}")
    assert offset == last and len(rows) > 6


def test_every_command_has_a_description_of_its_reply(line: HostLine) -> None:
    assert {C[f"SNE_OP_{name}"] for name in REPLIES} == {*OPS, C["SNE_OP_FAULT"]}


@given(st.sampled_from(sorted(REPLIES)), st.binary(max_size=200), st.integers(1, 20))
def test_no_body_makes_more_than_a_value_error(name: str, body: bytes, most: int) -> None:
    said = struct.pack(INFO_LAYOUT, 1, 0, 1, 256, b"12345678", *[3] * 6, 0, *[9] * 10) + b"\1a\1b"
    info = device_info(decode(REPLIES["INFO"], said).values)
    try:
        found = decode(REPLIES[name], body, info, most)
    except ValueError as error:
        assert str(error)
        return
    assert len(found.rows) <= most and found.values.keys() >= {field.name for field in REPLIES[name].fields}


def test_no_device_text_reaches_the_terminal_as_a_control_code() -> None:
    assert plain_text("a\x1b[31m\n\u202eb\x07é".encode()) == "a?[31m??b?é"
    assert plain_text(b"\xff\xfe") == "\ufffd\ufffd"


def test_what_comes_in_pieces_is_cut_at_its_zeros_and_never_kept_without_end() -> None:
    frames = Deframer()
    for byte in b"\0ab\0\0c\0d":
        frames.feed(bytes([byte]))
    assert [frames.next(), frames.next(), frames.next()] == [b"ab", b"c", None] and frames.pending == 1
    for _ in range(100):
        frames.feed(b"x" * 10_000)
    assert frames.pending < 80_000
    frames.feed(b"rest of it\0next\0")
    assert [frames.next(), frames.next()] == [b"next", None]


@pytest.mark.parametrize(
    ("damaged", "status"),
    [
        (cobs.encode(b"\x01\x07" + b"\0\0\0\0"), "SNE_E_CRC"),
        (cobs.encode(b"\x01\x07\x01"), "SNE_E_FRAME"),
        (b"\x05ab", "SNE_E_FRAME"),
        (b"\xff" + b"x" * 254 + b"\xff" + b"x" * 254, "SNE_E_TOO_LONG"),
    ],
)
def test_a_damaged_frame_draws_a_status_and_changes_nothing(line: HostLine, damaged: bytes, status: str) -> None:
    assert ask(line, "VECTOR", struct.pack("<I", 0)).status == 0
    before = ask(line, "RESULT", b"\0\0")
    (frame,) = replies(line, b"\0" + damaged + b"\0")
    assert (frame.op, frame.sequence, frame.status) == (C["SNE_OP_REJECT"], 0, C[status])
    assert ask(line, "RESULT", b"\0\0") == before


def test_an_unknown_command_is_rejected_by_its_sequence_number(line: HostLine) -> None:
    for op in sorted(set(range(256)) - set(OPS)):
        (frame,) = replies(line, request(op, 42))
        assert (frame.op, frame.sequence, frame.status) == (C["SNE_OP_REJECT"], 42, C["SNE_E_COMMAND"])


@pytest.mark.parametrize(
    ("name", "body", "status"),
    [
        ("INFO", b"x", "SNE_E_LENGTH"),
        ("RESET", b"x", "SNE_E_LENGTH"),
        ("LOAD", b"\0\0\0", "SNE_E_LENGTH"),
        ("LOAD", struct.pack("<I", 32) + b"x", "SNE_E_ARGUMENT"),
        ("LOAD", struct.pack("<I", 0xFFFFFFFF) + b"xx", "SNE_E_ARGUMENT"),
        ("LOAD", struct.pack("<I", 0) + b"x" * 33, "SNE_E_ARGUMENT"),
        ("RUN", b"\0" * 19, "SNE_E_LENGTH"),
        ("RUN", b"\0" * 22, "SNE_E_LENGTH"),
        ("RUN", struct.pack("<5I", 99, 0, 0, 0, 0), "SNE_E_POLICY"),
        ("RUN", struct.pack("<5I", C["SNE_POLICY_FIRST"], 4, 0, 0, 0), "SNE_E_POLICY"),
        ("RUN", struct.pack("<5I", C["SNE_POLICY_ALL"], 0, 0, 0, 4), "SNE_E_POLICY"),
        ("RUN", struct.pack("<6I", C["SNE_POLICY_CASCADE"], 0, 0, 0, 0, 1), "SNE_E_POLICY"),
        ("RUN", struct.pack("<7I", C["SNE_POLICY_CASCADE"], 0, 0, 0, 0, 1, 2**31), "SNE_E_POLICY"),
        ("RESULT", b"", "SNE_E_LENGTH"),
        ("RESULT", b"\x04\0", "SNE_E_ARGUMENT"),
        ("VECTOR", struct.pack("<I", 4), "SNE_E_ARGUMENT"),
        ("VECTOR", b"", "SNE_E_LENGTH"),
        ("BENCH", b"", "SNE_E_LENGTH"),
        ("BENCH", struct.pack("<I", 0), "SNE_E_ARGUMENT"),
        ("BENCH", struct.pack("<I", 1), "SNE_E_NO_COUNTER"),
        ("SPIKES", b"\x07\0", "SNE_E_ARGUMENT"),
        ("MEMBRANES", struct.pack("<HH", 9, 0), "SNE_E_ARGUMENT"),
        ("MEMBRANES", struct.pack("<HH", 0, 49), "SNE_E_ARGUMENT"),
        ("LAYERS", struct.pack("<H", 10), "SNE_E_ARGUMENT"),
        ("STEP", b"", "SNE_E_NO_STREAM"),
    ],
)
def test_a_wrong_body_draws_the_documented_status(line: HostLine, name: str, body: bytes, status: str) -> None:
    assert ask(line, "VECTOR", struct.pack("<I", 1)).status == 0
    before = ask(line, "RESULT", b"\0\0")
    assert ask(line, name, body).status == C[status]
    assert ask(line, "RESULT", b"\0\0") == before


@pytest.mark.parametrize("name", ["RESULT", "SPIKES", "MEMBRANES"])
def test_nothing_is_reported_before_anything_ran(line: HostLine, name: str) -> None:
    assert ask(line, "RESET").status == 0
    body = struct.pack("<HH", 0, 0) if name == "MEMBRANES" else b"\0\0"
    assert ask(line, name, body).status == C["SNE_E_NO_RESULT"]


def test_a_request_whose_bytes_were_lost_is_forgotten_at_the_next_zero(line: HostLine) -> None:
    whole, rejected = request(C["SNE_OP_LOAD"], 3, struct.pack("<I", 0) + bytes(range(28))), 0
    for lost in range(1, len(whole) - 1):
        frames = replies(line, whole[:lost] + whole[lost + 1 :])
        assert all(frame.status < 0 for frame in frames), lost
        assert still_serves(line)
        rejected += len(frames)
    assert rejected >= len(whole) - 3


def test_frames_of_every_length_survive_the_stuffing(line: HostLine) -> None:
    limit = 256
    for length in (0, 1, 247, 248, 249, 250, 254, 255, limit, limit + 1, limit + 300):
        for fill in (b"\0", b"\1", b"\xff"):
            (frame,) = replies(line, request(77, 5, fill * length))
            expected = "SNE_E_COMMAND" if length <= limit else "SNE_E_TOO_LONG"
            assert frame.status == C[expected], (length, fill)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=600) | st.tuples(st.sampled_from(OPS), st.binary(max_size=300)), max_size=6))
def test_noise_never_stops_the_device(line: HostLine, pieces: list[bytes | tuple[int, bytes]]) -> None:
    for piece in pieces:
        if isinstance(piece, bytes):
            replies(line, piece)
        elif piece[0] != C["SNE_OP_BENCH"]:
            replies(line, request(piece[0], 1, piece[1]))
    assert still_serves(line)
    assert ask(line, "VECTOR", struct.pack("<I", 0)).body[0] == 0


@given(st.integers(0, 255), st.integers(0, 255), st.integers(-128, 127), st.binary(max_size=600))
def test_replies_parse_to_what_was_sent(op: int, sequence: int, status: int, body: bytes) -> None:
    payload = bytes([op, sequence]) + status.to_bytes(1, "little", signed=True) + body
    encoded = cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little"))
    assert parse_reply(encoded) == Frame(op, sequence, status, body)


@given(st.binary(max_size=80), st.integers(0, 79))
def test_a_damaged_reply_is_never_taken_for_a_good_one(body: bytes, place: int) -> None:
    payload = b"\x81\x01\x00" + body
    encoded = bytearray(cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little")))
    encoded[place % len(encoded)] ^= 0x10
    assert parse_reply(bytes(encoded)) is None


def test_a_policy_is_five_numbers_and_its_margins() -> None:
    assert policy_body(None) == b""
    body = policy_body(ActivationPolicy("cascade", margins=(5, 6), timesteps=2))
    assert body == struct.pack("<7I", C["SNE_POLICY_CASCADE"], 0, 0, 0, 2, 5, 6)


def test_the_wire_compiles_without_a_warning(require_tool: Callable[..., None], tmp_path: Path) -> None:
    flags = ["-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror", "-c", "-o", str(tmp_path / "o")]
    require_tool("gcc", "g++", "clang", "arm-none-eabi-gcc")
    for command in (
        ["gcc", "-std=c99"],
        ["clang", "-std=c99"],
        ["arm-none-eabi-gcc", "-std=c99", "-mthumb", "-mcpu=cortex-m0"],
        ["g++", "-std=c++11", "-x", "c++"],
    ):
        for source in map(str, WIRE):
            done = subprocess.run([*command, *flags, source], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


def test_a_stream_gives_what_a_raster_gives(tiny_events: QuantEnsemble, tmp_path: Path) -> None:
    directory = export(tiny_events, "host", tmp_path / "events")
    raster = tiny_events.vectors.inputs[0]
    spikes = tiny_events.encoder.spikes(raster[None])[:, 0].reshape(tiny_events.encoder.timesteps, -1)
    with Device.open("host", directory) as device:
        device.load(raster.tobytes())
        whole = device.run(ActivationPolicy("all"))
        for _ in range(2):
            device.reset()
            for row in spikes:
                last = device.step([int(i) for i in row.nonzero()[0]])
            assert last.logits == whole.logits and last.label == whole.label


@pytest.mark.parametrize("command", ["RUN", "VECTOR", "RESET"])
def test_a_stream_ends_with_what_is_not_a_step(command: str, tiny_events: QuantEnsemble, tmp_path: Path) -> None:
    line = HostLine(export(tiny_events, "host", tmp_path / "events"))
    spikes = tiny_events.encoder.spikes(tiny_events.vectors.inputs[:1])[:, 0].reshape(3, -1)
    rows = [row.nonzero()[0].astype("<u2").tobytes() for row in spikes]
    fresh = [ask(line, "STEP", row).body for row in rows]
    assert len(set(fresh)) == 3
    assert ask(line, command, struct.pack("<I", 0) if command == "VECTOR" else b"").status == 0
    assert [ask(line, "STEP", row).body for row in rows] == fresh
    line.close()


@pytest.mark.parametrize("kind", ["direct", "events"])
def test_hostile_bytes_under_sanitizers(
    kind: str, tiny: QuantEnsemble, tiny_events: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    directory = export(tiny if kind == "direct" else tiny_events, "host", tmp_path / "export")
    served = render_served_model(directory, tmp_path)
    sources = [directory / name for name in read_manifest(directory)["sources"]]
    sources += [served, *WIRE, Path(__file__).parent / "fuzz_wire.c"]
    program = tmp_path / "fuzz"
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", *flags, f"-I{directory}", f"-I{RUNTIME}", "-o", str(program), *map(str, sources)]
    subprocess.run(command, check=True)
    done = subprocess.run([str(program)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
