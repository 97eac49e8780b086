"""A device that lies in any reply: what it answers becomes a value within its range or one error, in bounded time."""

from __future__ import annotations

import itertools
import struct
import time
from collections import Counter
from collections.abc import Callable

import pytest
from cobs import cobs
from hypothesis import given
from hypothesis import strategies as st
from strategies import examples
from test_hostile import INFO, Zoo, frame

from sne_edge.errors import SneError
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.link.device import Device


class Liar:
    """A line to a device that is honest about itself; whatever else it is asked, it answers `answers`, in turn,
    None being the truth."""

    def __init__(self, model: QuantEnsemble, answers: list[tuple[int, bytes] | None]) -> None:
        self._zoo, self._answers, self._out = Zoo(model), itertools.cycle(answers), bytearray()

    def write(self, data: bytes, timeout: float) -> None:
        for part in filter(None, data.split(b"\0")):
            payload = cobs.decode(part)[:-4]
            if payload[0] == INFO:
                self._out += frame(INFO | 0x80, payload[1], 0, self._zoo.info(flags=6))
            else:
                lie = next(self._answers)
                truth = self._zoo.honest(payload[0], payload[1], payload[2:], {})
                self._out += frame(payload[0] | 0x80, payload[1], *lie) if lie else truth

    def read(self, timeout: float) -> bytes:
        data = bytes(self._out)
        self._out.clear()
        return data

    def set_rate(self, baud: int) -> None:
        pass

    def close(self) -> None:
        pass


ASKED: dict[str, Callable[[Device], object]] = {
    "load": lambda device: device.load(bytes(32)),
    "run": lambda device: device.run(),
    "result": lambda device: device.result(),
    "vector": lambda device: device.run_vector(0),
    "bench": lambda device: device.bench(3),
    "pulse": lambda device: device.pulse(0, 2),
    "profile": lambda device: device.profile(),
    "image": lambda device: device.image(),
    "rate": lambda device: device.change_rate(9600),
    "spikes": lambda device: device.spikes(),
    "layers": lambda device: device.layers(),
    "membranes": lambda device: device.membranes(0),
    "reset": lambda device: device.reset(),
}


@pytest.mark.examines(errors=300, values=100)
def test_whatever_a_device_answers_is_a_value_or_one_error_in_bounded_time(
    tiny: QuantEnsemble, examined: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sne_edge.link.device.SWITCH_SECONDS", 0)
    zoo = Zoo(tiny)
    sound = [
        zoo.result(),
        zoo.layers(),
        struct.pack("<IQQQQII", 1, 10, 10, 10, 1, 1, 1),
        struct.pack("<6I", *range(6)),
        b"",
    ]
    few = st.integers(0, 3).map(lambda n: bytes([n]))
    body = st.sampled_from(sound) | st.binary(max_size=600) | st.lists(few, max_size=120).map(b"".join)
    lie = st.tuples(st.sampled_from([0, 0, 0, 0, -1, -22, 99]), body)
    answers = st.lists(lie | st.none(), min_size=1, max_size=4)

    @examples(60)
    @given(answers)
    def ask(answers: list[tuple[int, bytes] | None]) -> None:
        started = time.monotonic()
        device = Device(Liar(tiny, answers), "liar")
        for name, question in ASKED.items():
            try:
                question(device)
                examined["values"] += 1
            except SneError as error:
                assert error.message.isprintable() and error.hint, name
                examined["errors"] += 1
        assert time.monotonic() - started < 5

    ask()
