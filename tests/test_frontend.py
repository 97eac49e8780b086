"""The front end: numpy, a scalar oracle and the C agree on every value, on the host and on emulated cores."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import frontend_oracle
import msgspec
import numpy as np
import pytest
from models import LIF, READOUT, proven, with_vectors
from test_export import COMPILERS, INTEGER_HELPERS, WARNINGS

from sne_edge.deploy.export import export, read_manifest
from sne_edge.deploy.targets import resolve_target
from sne_edge.errors import SneError
from sne_edge.ir import artifact
from sne_edge.ir.encoder import Encoder, Shape
from sne_edge.ir.ensemble import QuantEnsemble, with_frontend
from sne_edge.ir.frontend import LogMel, log2
from sne_edge.ir.layers import Layer, Linear, size
from sne_edge.ir.neuron import Neuron
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent
from sne_edge.ir.vectors import no_vectors
from sne_edge.resources import RUNTIME

HERE = Path(__file__).parent
SHORT = LogMel(frames=5)
CONFIGS = {
    "the default's": SHORT,
    "no pre-emphasis": LogMel(frames=5, preemphasis=0),
    "the strongest pre-emphasis": LogMel(frames=5, preemphasis=31, gain=1500, offset=5000),
    "the highest gain and lowest offset": LogMel(frames=3, preemphasis=31, gain=65535, offset=-16384),
    "the highest gain and offset": LogMel(frames=3, preemphasis=0, gain=65535, offset=16383),
    "32 samples": LogMel(frames=9, window=32, hop=11, bands=5),
    "64 samples, hop of a frame": LogMel(frames=4, window=64, hop=64, bands=10, offset=16383, gain=300),
    "512 samples": LogMel(frames=3, window=512, hop=160, rate=16000, high=8000.0, bands=40),
    "512 samples, one band from 0": LogMel(frames=3, window=512, hop=512, bands=1, low=0.0, preemphasis=0),
    "a narrow range": LogMel(frames=4, low=900.0, high=1300.0, bands=7),
}


def recordings(config: LogMel) -> np.ndarray:
    """int16 [N, samples]: extremes, tones and noise of every loudness."""
    count = config.samples
    n = np.arange(count)
    rng = np.random.default_rng(7)
    square = [np.where(n // half % 2, 32767, -32768) for half in (1, 2, 3, 8, 128)]
    loud = [np.full(count, value) for value in (0, 1, -1, 32767, -32768)]
    tones = [level * np.sin(0.3 * k * n) for k in (1, 2, 7) for level in (1, 40, 32767)]
    noise = [rng.normal(size=count) * level for level in (0.4, 3, 100, 9000, 90000)]
    impulses = [np.where(n == count // 2, value, 0) for value in (1, -32768)]
    fading = [32767 * np.sin(0.05 * n * n / 100) * np.exp(-n / count * 8)]
    alternating = [np.where(rng.random(count) < 0.5, 32767, -32768)]
    cases = [*loud, *square, *tones, *noise, *impulses, *fading, *alternating]
    return np.clip(np.rint(np.stack(cases)), -32768, 32767).astype(np.int16)


def hearing(config: LogMel, audio: np.ndarray, golden: int = 2) -> QuantEnsemble:
    """An ensemble behind a front end, with golden vectors of `audio`, the first `golden` of them as recordings."""
    encoder, rng = Encoder("direct", config.shape, 3), np.random.default_rng(1)

    def linear(inputs: Shape, outputs: int, threshold: int, neuron: Neuron) -> Layer:
        weight = rng.integers(-100, 101, (outputs, size(inputs)), dtype=np.int8)
        fields = {"in_shape": inputs, "out_shape": (1, 1, outputs), "weight": weight, "neuron": neuron}
        fields |= {"bias": np.zeros(outputs, np.int32), "scale": np.ones(outputs)}
        first = inputs == config.shape
        return proven(Linear, encoder, first, threshold=np.full(outputs, threshold, np.int32), **fields)  # type: ignore[return-value]

    layers = linear(config.shape, 12, 20000, LIF), linear((1, 1, 12), 4, 0, READOUT)
    student = QuantStudent(layers, (), np.ones(4, np.int32), np.zeros(4, np.int32), 500, 10000)
    ensemble = QuantEnsemble(
        name="hear",
        encoder=encoder,
        students=(student,),
        bias=np.zeros(4, np.int32),
        order=(0,),
        classes=tuple("abcd"),
        logit_scale=0.01,
        policy=ActivationPolicy(),
        vectors=no_vectors(encoder, 4, [student]),
    )
    ensemble = with_vectors(ensemble, config.apply(audio).reshape(len(audio), -1).view(np.uint8))
    return with_frontend(ensemble, config, audio[:golden]) if golden else replace(ensemble, frontend=config)


def replace(ensemble: QuantEnsemble, **fields: object) -> QuantEnsemble:
    return msgspec.structs.replace(ensemble, **fields)


@pytest.fixture(scope="module")
def ensemble(require_tool: Callable[..., None]) -> QuantEnsemble:
    require_tool("cc")
    return hearing(SHORT, recordings(SHORT)[-3:])


def run(program: Path, audio: np.ndarray, config: LogMel, *arguments: str) -> np.ndarray:
    done = subprocess.run([str(program), *arguments], input=audio.tobytes(), capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    return np.frombuffer(done.stdout, np.int8).reshape(len(audio), *config.shape)


# ---- the arithmetic


@pytest.mark.parametrize("name", CONFIGS)
def test_numpy_equals_the_scalar_oracle(name: str) -> None:
    config = CONFIGS[name]
    audio = recordings(config)
    made = config.apply(audio)
    assert config.gain == 65535 or len(np.unique(made)) > 20
    for number, recording in enumerate(audio):
        assert made[number, 0].tolist() == frontend_oracle.apply(config, recording.tolist()), number


@pytest.mark.parametrize("sanitized", [False, True], ids=["as it ships", "sanitized"])
@pytest.mark.parametrize("name", CONFIGS)
def test_c_equals_numpy_whole_and_streamed(
    name: str, sanitized: bool, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    config = CONFIGS[name]
    audio = recordings(config)
    directory = export(hearing(config, audio[:1]), "host", tmp_path / "hear")
    sources = [directory / source for source in read_manifest(directory)["sources"]]
    flags = ["-fsanitize=undefined,address", "-fno-sanitize-recover=all", "-O1"] if sanitized else ["-O2"]
    program = tmp_path / "filter"
    command = [
        "gcc",
        "-std=c99",
        *WARNINGS,
        *flags,
        f"-I{directory}",
        *map(str, sources),
        str(HERE / "frontend_host.c"),
    ]
    subprocess.run([*command, "-o", str(program)], check=True)
    expected = config.apply(audio)
    assert np.array_equal(run(program, audio, config), expected)
    for chunk in (1, 77, config.samples):
        assert np.array_equal(run(program, audio, config, str(chunk)), expected), chunk


@pytest.mark.parametrize("board", ["microbit", "mps2-an386", "mps3-an547"])
def test_emulated_cores_equal_numpy_in_bounded_time(
    board: str, require_tool: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.syspath_prepend(str(HERE.parent / "benchmarks"))
    from bare_metal import run_on

    audio = recordings(SHORT)
    directory = export(hearing(SHORT, audio[:1]), "cortex-m", tmp_path / "hear")
    rows = ",\n".join("{" + ", ".join(map(str, row)) + "}" for row in audio.tolist())
    table = f"static const int16_t recordings[RECORDINGS][HEAR_SAMPLES] = {{\n{rows}}};\n"
    (directory / "recordings.h").write_text(f"#define RECORDINGS {len(audio)}\n{table}")
    (directory / "program.c").write_text((HERE / "frontend_emulated.c").read_text())
    out = run_on(board, directory / "program.c", directory / "hear_frontend.c", RUNTIME / "sne_logmel.c")
    lines = [line.split() for line in out.splitlines()]
    assert [int(v) for k, v in lines if k == "hash"] == [fnv(made) for made in SHORT.apply(audio)]
    values = {k: int(v) for k, v in lines}
    assert values["state"] == read_manifest(directory)["frontend"]["state_bytes"] == 1540
    assert 10_000 < values["instructions"] / SHORT.frames < 90_000


def fnv(made: np.ndarray) -> int:
    value = 2166136261
    for byte in made.tobytes():
        value = ((value ^ byte) * 16777619) % 2**32
    return value


def real_logmel(config: LogMel, audio: np.ndarray) -> np.ndarray:
    """The same in floating point: log2 of mel energies, [N, frames, bands]."""
    edges = 2595 * np.log10(1 + np.array([config.low, config.high]) / 700)
    hertz = 700 * (10 ** (np.linspace(*edges, config.bands + 2) / 2595) - 1)
    bins = np.arange(config.window // 2 + 1) * config.rate / config.window
    left, middle, right = hertz[:-2, None], hertz[1:-1, None], hertz[2:, None]
    mel = np.maximum(0, np.minimum((bins - left) / (middle - left), (right - bins) / (right - middle)))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.window) / config.window)
    views = np.lib.stride_tricks.sliding_window_view(audio.astype(np.float64), config.window, axis=1)[:, :: config.hop]
    sound = views - config.preemphasis / 32 * np.roll(views, 1, axis=2)
    return np.log2(np.abs(np.fft.rfft(sound * hann)) ** 2 @ mel.T + 1e-9)


@pytest.mark.parametrize("preemphasis", [0, 31])
def test_it_is_close_to_a_log_mel_in_floating_point(preemphasis: int) -> None:
    """Formants that move, noise, and a decay of 50 dB. In octaves of energy (3 dB): 0.005 on average; at most 0.25 in
    bands up to 30 dB below the frame's strongest, and half an int8 step."""
    config = LogMel(preemphasis=preemphasis)
    rng = np.random.default_rng(3)
    n = np.arange(config.samples)
    voice = sum(np.sin(2 * np.pi * f / 8000 * n + 3 * np.sin(n / 900)) for f in (130, 390, 720, 1240, 2600))
    loud = np.exp(-np.linspace(0, 5.8, config.samples))
    audio = np.rint((2500 * voice + 1500 * rng.normal(size=(2, len(n)))) * loud).astype(np.int16)
    real = real_logmel(config, audio)
    finest = _octaves(config, audio)
    error = np.abs(finest - real)
    assert error.mean() < 0.005
    assert error[real > real.max(axis=2, keepdims=True) - 10].max() < 0.25
    assert np.corrcoef(finest.ravel(), real.ravel())[0, 1] > 0.99999
    steps = np.clip((real * 256 - config.offset) * config.gain / 65536, -127, 127)
    made = config.apply(audio)[:, 0]
    assert np.abs(made - steps).mean() < 0.3
    assert np.corrcoef(made.ravel(), steps.ravel())[0, 1] > 0.9999


def _octaves(config: LogMel, audio: np.ndarray) -> np.ndarray:
    """log2 of mel energies before they become int8: what the highest gain shows, half an octave at a time."""
    values = np.full((len(audio), config.frames, config.bands), np.nan)
    for offset in range(-8192, 12800, 128):
        seen = msgspec.structs.replace(config, offset=offset, gain=65535).apply(audio)[:, 0].astype(int)
        values = np.where(np.abs(seen) < 127, (offset + seen) / 256, values)
    return values


def test_a_quiet_band_beside_a_full_scale_tone_is_heard_down_to_75_decibels() -> None:
    config = LogMel(preemphasis=0, offset=0, gain=256)
    n = np.arange(config.samples)
    tone = np.rint(32767 * np.sin(2 * np.pi * 1000 / 8000 * n)).astype(np.int16)[None]
    octaves = config.apply(tone)[0, 0, 5].astype(float)
    assert octaves.max() - np.median(octaves) > 75 / 10 / np.log10(2)


def test_the_logarithm_is_within_half_a_step_and_a_quarter() -> None:
    values = np.unique(np.concatenate([np.arange(1, 70000), 2 ** np.linspace(17, 52, 4000).astype(np.float64)]))
    error = log2(values.astype(np.int64)) - 256 * np.log2(np.floor(values))
    assert np.abs(error).max() < 0.75
    assert log2(np.array([0, 1, 2, 2**50])).tolist() == [-256, 0, 256, 50 * 256]


def test_the_tables_are_those_that_files_were_made_with() -> None:
    config = LogMel()
    tables = b"".join(table.tobytes() for table in (config.hann, config.sine, config.edges, config.rise))
    assert hashlib.sha256(tables).hexdigest()[:16] == "b12e789c89a431cb"
    exact = [0.5 - 0.5 * np.cos(2 * np.pi * n / 256) for n in range(129)]
    assert np.abs(config.hann / 32768 - exact).max() < 2**-15
    assert np.abs(config.sine / 32768 - np.sin(np.arange(65) * np.pi / 128)).max() < 2**-15


# ---- its use


def test_recordings_are_padded_with_silence_and_cropped() -> None:
    audio = recordings(SHORT)
    longer = np.concatenate([audio, audio], axis=1)
    assert np.array_equal(SHORT.apply(longer), SHORT.apply(audio))
    silent = audio.copy()
    silent[:, 300:] = 0
    assert np.array_equal(SHORT.apply(audio[:, :300]), SHORT.apply(silent))


def test_an_encoder_of_scale_1_hands_the_values_on() -> None:
    made = SHORT.apply(recordings(SHORT))
    encoder = Encoder("direct", SHORT.shape, 1)
    assert np.array_equal(encoder.analog(encoder.encode(made.astype(np.float32))), made)


def test_a_fitted_front_end_uses_the_range() -> None:
    audio = recordings(SHORT)[10:24]
    made = SHORT.fitted(audio).apply(audio)
    assert abs(float(made.mean())) < 8
    assert 40 < float(made.std()) < 60
    with pytest.raises(SneError, match="silence"):
        SHORT.fitted(np.zeros((2, 500), np.int16))


@pytest.mark.parametrize("audio", [np.zeros((2, 9)), np.zeros(9, np.int16), np.zeros((0, 9), np.int16)])
def test_what_is_no_audio_is_refused(audio: np.ndarray) -> None:
    with pytest.raises(SneError, match="audio is"):
        SHORT.apply(audio)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"window": 200}, "power of two"),
        ({"window": 1024}, "window 1024"),
        ({"hop": 257}, "hop"),
        ({"high": 4001.0}, "Hz"),
        ({"low": -1.0}, "Hz"),
        ({"low": float("nan")}, "Hz"),
        ({"bands": 120}, "holds no bin"),
        ({"frames": 4000}, "65535"),
        ({"preemphasis": 32}, "preemphasis"),
        ({"gain": 65536}, "gain"),
        ({"offset": 16384}, "offset"),
    ],
)
def test_a_field_out_of_range_is_refused(fields: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LogMel(**fields)  # type: ignore[arg-type]


# ---- in an ensemble


def test_a_file_keeps_the_front_end(ensemble: QuantEnsemble) -> None:
    again = artifact.loads(artifact.dumps(ensemble))
    assert again.frontend == ensemble.frontend
    assert np.array_equal(np.asarray(again.audio), np.asarray(ensemble.audio))
    assert artifact.fingerprint(again) == artifact.fingerprint(ensemble)


def test_an_ensemble_without_one_keeps_its_fingerprint() -> None:
    model = artifact.load("mnist1d")
    assert b"frontend" not in artifact.dumps(model)
    assert artifact.fingerprint(model).encode() in artifact.find("mnist1d").read_bytes()


def test_what_does_not_fit_is_refused(ensemble: QuantEnsemble) -> None:
    assert isinstance(ensemble.audio, np.ndarray)
    with pytest.raises(ValueError, match="the front end makes"):
        replace(ensemble, frontend=LogMel(frames=6))
    with pytest.raises(ValueError, match="does not make the golden"):
        replace(ensemble, audio=ensemble.audio // 2)
    with pytest.raises(ValueError, match="does not make the golden"):
        replace(ensemble, frontend=LogMel(frames=5, offset=0))
    with pytest.raises(ValueError, match="audio is"):
        replace(ensemble, audio=ensemble.audio.astype(np.int32))
    with pytest.raises(ValueError, match="recordings for"):
        replace(ensemble, audio=np.concatenate([ensemble.audio] * 3))
    with pytest.raises(ValueError, match="no front end"):
        replace(ensemble, frontend=msgspec.UNSET)


@pytest.mark.parametrize("golden", [0, 2])
@pytest.mark.parametrize("compiler", COMPILERS)
def test_every_compiler_takes_the_c_without_a_warning(
    compiler: str, golden: int, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    command = COMPILERS[compiler]
    require_tool(command[0])
    directory = export(hearing(SHORT, recordings(SHORT)[-3:], golden), "host", tmp_path / "hear")
    sources = [str(directory / name) for name in read_manifest(directory)["sources"]]
    flags = [*command, *WARNINGS, *(() if "-O3" in command else ("-O1",))]
    done = subprocess.run([*flags, "-c", *sources], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_make_check_goes_from_samples_to_logits(
    ensemble: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("make", "gcc")
    directory = export(ensemble, "cortex-m4", tmp_path / "hear")
    command = ["make", "-C", str(directory), "check", "CC=gcc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 of 3 golden vectors exact" in done.stdout
    assert "2 of 2 golden recordings exact" in done.stdout
    path = directory / "hear_frontend.c"
    text, count = re.subn(
        r"(hann\[\d+\] = \{(?:\s*\d+,){60}\s*)(\d+)", lambda m: f"{m[1]}{int(m[2]) - 900}", path.read_text()
    )
    assert count == 1
    path.write_text(text)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "3 of 3 golden vectors exact" in done.stdout
    assert "1 of 2 golden recordings exact" in done.stdout


@pytest.mark.parametrize("core", ["m0", "m4", "m55"])
def test_no_float_no_heap_no_mutable_data(
    core: str, ensemble: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("arm-none-eabi-gcc", "arm-none-eabi-nm")
    directory = export(ensemble, "host", tmp_path / "hear")
    sources = [str(directory / name) for name in read_manifest(directory)["sources"]]
    flags = resolve_target(core).cflags
    subprocess.run(["arm-none-eabi-gcc", "-std=c99", "-O2", *flags, "-c", *sources], cwd=tmp_path, check=True)
    objects = [str(path) for path in sorted(tmp_path.glob("*.o"))]
    listing = subprocess.run(["arm-none-eabi-nm", *objects], capture_output=True, text=True, check=True).stdout
    symbols = re.findall(r"^[0-9a-f ]{8} (\w) (\S+)$", listing, flags=re.M)
    defined = {name for kind, name in symbols if kind.isupper() and kind != "U"}
    undefined = {name for kind, name in symbols if kind == "U"} - defined
    assert {"hear_frontend", "sne_logmel_push"} <= defined
    assert all(name.startswith(("hear_", "sne_")) for name in defined), defined
    assert all(INTEGER_HELPERS.fullmatch(name) for name in undefined), undefined
    assert not [name for kind, name in symbols if kind in "dDbBcC"], "mutable data"


def test_the_readmes_examples_compile(
    ensemble: QuantEnsemble, require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("gcc")
    directory = export(ensemble, "host", tmp_path / "hear")
    blocks = re.findall(r"```c\n(.*?)```", (directory / "README.md").read_text(encoding="utf-8"), flags=re.S)
    (tmp_path / "example.c").write_text(blocks[0] + blocks[1])
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", f"-I{directory}", "-c", "example.c"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "hear_frontend(" in blocks[1]


def test_inspect_and_the_manifest_tell_what_it_takes(ensemble: QuantEnsemble, tmp_path: Path) -> None:
    path = tmp_path / "hear.sne"
    artifact.save(ensemble, path)
    command = [sys.executable, "-c", "from sne_edge.cli import main; main()", "inspect", str(path)]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "front end: log-mel of 8000 Hz audio, window 256, hop 128, 5 frames of 32 bands" in text
    assert "tables 688 bytes of flash, state 1,540 bytes of RAM" in text
    shown = msgspec.json.decode(subprocess.run([*command, "--json"], capture_output=True, check=True).stdout)
    manifest = read_manifest(export(ensemble, "host", tmp_path / "hear-c"))
    assert shown["frontend"].items() <= manifest["frontend"].items()
    assert manifest["frontend"]["recordings"] == 2
