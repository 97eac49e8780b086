"""Device: what happens when the line, the board or the model is not what it should be."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
from conftest import Build

from sne_edge.check import reference
from sne_edge.deploy.export import export
from sne_edge.deploy.host import HostModel
from sne_edge.errors import SneError
from sne_edge.ir.artifact import fingerprint
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.link.device import Device
from sne_edge.link.transport import HostLine, SocketLine


class Server:
    """A TCP device: answers with the host build until told to misbehave."""

    def __init__(self, directory: Path) -> None:
        self._line = HostLine(directory)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"socket://127.0.0.1:{self._listener.getsockname()[1]}"
        self.mangle: Callable[[bytes], bytes] = lambda data: data
        self.stalled = threading.Event()
        self.hang_up = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        try:
            connection, _ = self._listener.accept()
            with connection:
                while data := connection.recv(4096):
                    if self.hang_up.is_set():
                        return
                    if self.stalled.is_set():
                        time.sleep(30)
                        return
                    self._line.write(data, 1)
                    connection.sendall(self.mangle(self._line.read(0)))
        except OSError:
            return

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def server(host_export: Path) -> Iterator[Server]:
    server = Server(host_export)
    yield server
    server.close()


def test_the_host_is_a_device_like_any_other(tiny: QuantEnsemble, host_export: Path) -> None:
    with Device.open("host", host_export, fingerprint=fingerprint(tiny)) as device:
        info = device.info()
        assert (info.name, info.board, info.fingerprint) == ("tiny-test", "host", fingerprint(tiny))
        assert (info.inputs, info.classes, info.students, info.timesteps) == (32, 4, 3, 3)
        assert info.routes and not info.stream
        golden = tiny.vectors
        for index in range(info.vectors):
            assert device.run_vector(index).matches
            device.load(golden.inputs[index].tobytes())
            result = device.run()
            assert result == device.result()
            assert list(result.logits) == golden.logits[index].tolist()
            assert result.active == golden.active[index]
            assert device.spikes().tolist() == golden.spikes[index].tolist()
        assert [layer.neurons for layer in device.layers()] == [48, 12, 4] * 3
        assert [len(device.membranes(layer)) for layer in range(9)] == [48, 12, 4] * 3


def test_membranes_come_over_the_line_as_the_reference_has_them(tiny: QuantEnsemble, host_export: Path) -> None:
    inputs = tiny.vectors.inputs[:1]
    with Device.open("host", host_export) as device:
        device.load(inputs[0].tobytes())
        layers = device.layers()
        assert any(layer.channels % 4 for layer in layers if layer.neurons > layer.channels)  # padding in between
        for student in range(len(tiny.students)):
            device.run(ActivationPolicy("mask", mask=1 << student))
            got = [device.membranes(n).tolist() for n, layer in enumerate(layers) if layer.student == student]
            assert got == [m[0].tolist() for m in reference.run_student(tiny, student, inputs).membranes]


def test_two_host_devices_do_not_share_state(tiny: QuantEnsemble, host_export: Path) -> None:
    with Device.open("host", host_export) as one, Device.open("host", host_export) as other:
        one.load(tiny.vectors.inputs[0].tobytes())
        other.load(tiny.vectors.inputs[1].tobytes())
        assert list(one.run().logits) == tiny.vectors.logits[0].tolist()
        assert list(other.run().logits) == tiny.vectors.logits[1].tolist()


def test_every_policy_reaches_the_device(tiny: QuantEnsemble, host_export: Path) -> None:
    with Device.open("host", host_export) as device:
        device.load(tiny.vectors.inputs[2].tobytes())
        assert device.run(ActivationPolicy("all")).students_run == 3
        assert device.run(ActivationPolicy("first", students=2)).students_run == 2
        assert device.run(ActivationPolicy("mask", mask=0b100)).active == 0b100
        assert device.run(ActivationPolicy("cascade", margins=(0, 0))).stop == "margin"
        assert device.run(ActivationPolicy("cascade", margins=(2**31 - 1, 2**31 - 1))).students_run == 3
        assert device.run(ActivationPolicy("budget", max_ops=1)).stop == "budget"
        assert device.run(ActivationPolicy("routed", margins=(0, 0))).active == 1 << tiny.order[0]
        assert device.run(ActivationPolicy("routed", margins=(2**31 - 1, 2**31 - 1))).students_run == 3
        two = HostModel(tiny).run(tiny.vectors.inputs[2:3], ActivationPolicy("routed", margins=(2**31 - 1, 0)))
        assert device.run(ActivationPolicy("routed", margins=(2**31 - 1, 0))).active == two.active[0]
        assert device.run(ActivationPolicy("all", timesteps=1)).timesteps == 1
        for wrong in (
            ActivationPolicy("first", students=4),
            ActivationPolicy("mask", mask=8),
            ActivationPolicy("cascade", margins=(1,)),
            ActivationPolicy("cascade", margins=(1, -1)),
            ActivationPolicy("cascade", margins=(1,) * 200),
            ActivationPolicy("routed", margins=(1,)),
            ActivationPolicy("all", timesteps=4),
        ):
            with pytest.raises(SneError):
                device.run(wrong)


def test_a_model_without_routes_says_so_and_refuses_the_policy(tiny: QuantEnsemble, tmp_path: Path) -> None:
    directory = export(msgspec.structs.replace(tiny, routes=None), "host", tmp_path / "plain")
    with Device.open("host", directory) as device:
        assert not device.info().routes
        with pytest.raises(SneError, match="SNE_E_POLICY"):
            device.run(ActivationPolicy("routed", margins=(1, 1)))
        assert device.run_vector(0).matches


def test_a_wrong_input_is_refused_before_it_is_sent(host_export: Path) -> None:
    with Device.open("host", host_export) as device:
        with pytest.raises(SneError, match="31 bytes, tiny-test takes 32"):
            device.load(b"x" * 31)
        with pytest.raises(SneError, match="no vector 4"):
            device.run_vector(4)
        with pytest.raises(SneError, match="does not take a stream"):
            device.step([0])
        with pytest.raises(SneError, match="cannot count") as caught:
            device.bench(3)
        assert "qemu:BOARD" in caught.value.hint


def test_another_model_than_expected_is_refused(host_export: Path) -> None:
    with pytest.raises(SneError, match=r"fingerprint .* not 0123456789abcdef"):
        Device.open("host", host_export, fingerprint="0123456789abcdef")


def test_a_port_that_is_not_there_is_named() -> None:
    with pytest.raises(SneError, match="cannot open /dev/ttyNOTHERE") as caught:
        Device.open("/dev/ttyNOTHERE")
    assert "port" in caught.value.hint
    with pytest.raises(SneError) as caught:
        Device.open("mps2-an386")
    assert "qemu:mps2-an386" in caught.value.hint


@pytest.mark.parametrize("address", ["socket://nowhere", "socket://127.0.0.1:x", "socket://127.0.0.1:99999"])
def test_a_malformed_address_is_refused(address: str) -> None:
    with pytest.raises(SneError, match="is not an address"):
        Device.open(address)


def test_a_socket_that_nobody_listens_on_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"socket://127.0.0.1:{listener.getsockname()[1]}"
    with pytest.raises(SneError, match="cannot connect to " + url):
        Device.open(url)


def test_a_socket_serves_like_the_host(server: Server, tiny: QuantEnsemble) -> None:
    with Device.open(server.url) as device:
        assert device.run_vector(1).matches


def test_a_connection_that_goes_away_in_mid_run_is_an_error(server: Server) -> None:
    with Device.open(server.url) as device:
        server.hang_up.set()
        with pytest.raises(SneError, match=f"{server.url} went away during RUN"):
            device.run()


def test_a_stalled_device_is_given_up(server: Server) -> None:
    with Device.open(server.url, run_seconds=0.2) as device:
        server.stalled.set()
        started = time.monotonic()
        with pytest.raises(SneError, match=r"did not answer RUN"):
            device.run()
        assert time.monotonic() - started < 5


def test_a_write_to_a_device_that_does_not_read_is_bounded() -> None:
    ours, theirs = socket.socketpair()
    line = SocketLine(ours)
    started = time.monotonic()
    with pytest.raises(TimeoutError):
        for _ in range(1000):
            line.write(b"x" * 65536, 0.2)
    assert time.monotonic() - started < 10
    line.close()
    theirs.close()


def test_damaged_replies_are_asked_for_again(server: Server) -> None:
    with Device.open(server.url) as device:
        left = [2]

        def mangle(data: bytes) -> bytes:
            left[0] -= 1
            return data.replace(b"tiny", b"tinx") if left[0] >= 0 else data

        server.mangle = mangle
        assert device.info().name == "tiny-test"


def test_an_answer_to_an_earlier_request_is_not_taken(server: Server, tiny: QuantEnsemble) -> None:
    kept: list[bytes] = []

    def keep(data: bytes) -> bytes:
        kept.append(data)
        return data

    with Device.open(server.url) as device:
        device.load(tiny.vectors.inputs[0].tobytes())
        server.mangle = keep
        earlier = device.run()
        server.mangle = lambda data: data
        device.load(tiny.vectors.inputs[1].tobytes())
        server.mangle = lambda data: kept[-1] + data
        later = device.run()
    assert later != earlier and list(later.logits) == tiny.vectors.logits[1].tolist()


def test_a_fault_report_ends_the_run(server: Server) -> None:
    with Device.open(server.url) as device:
        import struct
        import zlib

        from cobs import cobs

        payload = b"\xff\0\0" + struct.pack("<7I", 3, 0x1234, 0x5678, 0, 1, 2, 0)
        fault = b"\0" + cobs.encode(payload + zlib.crc32(payload).to_bytes(4, "little")) + b"\0"
        server.mangle = lambda data: fault
        with pytest.raises(SneError, match="device faulted at pc=0x00001234"):
            device.run()


def test_an_unplugged_port_is_an_error(host_export: Path) -> None:
    controller, device_end = pty.openpty()
    line = HostLine(host_export)
    served = [0]

    def serve() -> None:
        while served[0] < 2:
            line.write(os.read(controller, 4096), 1)
            served[0] += 1
            os.write(controller, line.read(0))
        os.read(controller, 4096)
        os.close(controller)

    import tty

    tty.setraw(device_end)
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    name = os.ttyname(device_end)
    with Device.open(name, run_seconds=2) as device:
        assert device.run_vector(0).matches
        os.close(device_end)
        with pytest.raises(SneError, match=f"{name} went away during RUN"):
            device.run()


def test_firmware_that_faults_fails_the_run(tiny: QuantEnsemble, firmware: Build) -> None:
    for board in ("microbit", "mps2-an385", "mps2-an505", "mps3-an547"):
        image = firmware(tiny, board, "SNE_INJECT_FAULT").elf
        with Device.open(f"qemu:{board}", image, run_seconds=1) as device:
            device.load(tiny.vectors.inputs[0].tobytes())
            with pytest.raises(SneError, match=rf"qemu:{board}: device faulted at pc=0xa000000\d"):
                device.run()
            if board == "microbit":  # it starts again: what it is asked next, it does
                with pytest.raises(SneError, match=rf"qemu:{board}: device faulted at pc=0xa000000\d"):
                    device.run(ActivationPolicy("all"))


def test_an_emulator_outlives_the_thread_that_opened_it_but_not_the_process(
    tiny: QuantEnsemble, firmware: Build
) -> None:
    image = firmware(tiny, "mps2-an386").elf
    with ThreadPoolExecutor(1) as pool:
        device = pool.submit(Device.open, "qemu:mps2-an386", image).result()
    time.sleep(0.5)  # the thread has ended; its emulator, were it bound to that, would be gone by now
    with device:
        assert device.run_vector(0).matches
    code = (
        "import os, sys; from sne_edge.link.device import Device; from sne_edge.link import qemu\n"
        "started = []; launch = qemu._launch\n"
        "qemu._launch = lambda *a: started.append(launch(*a)) or started[-1]\n"
        "device = Device.open('qemu:mps2-an386', sys.argv[1])\n"
        "print(started[0].pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(image)], capture_output=True, text=True, check=False)
    assert done.returncode == -9, done.stderr
    emulator = Path(f"/proc/{int(done.stdout)}/cmdline")
    for _ in range(100):
        if not emulator.exists() or b"qemu" not in emulator.read_bytes():  # gone, or a zombie that nobody fetched
            return
        time.sleep(0.05)
    pytest.fail("the emulator outlives the process that was killed")


@pytest.mark.parametrize(
    ("field", "differs"), [("logits", "logits"), ("active", "active"), ("spikes", "spikes"), ("ops", "ops")]
)
def test_a_vector_that_does_not_match_says_what_differs(
    field: str, differs: str, tiny: QuantEnsemble, tmp_path: Path
) -> None:
    changed = getattr(tiny.vectors, field).copy()
    changed[(1, 2)[: changed.ndim] if field != "ops" else (1, 1)] += 1
    vectors = msgspec.structs.replace(tiny.vectors, **{field: changed})
    directory = export(msgspec.structs.replace(tiny, vectors=vectors), "host", tmp_path / "changed")
    with Device.open("host", directory) as device:
        assert device.run_vector(0).matches
        result = device.run_vector(1)
        assert result.differs == (differs,)
        assert result.first_class == (2 if field == "logits" else None)
        assert result.first_spike_layer == (2 if field == "spikes" else None)
