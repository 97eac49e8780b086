"""A page that runs models: its module in node, against the host build's numbers; itself in a browser, as a person uses
it."""

from __future__ import annotations

import base64
import html
import json
import re
import subprocess
import wave
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from models import tiny_ensemble
from test_frontend import SHORT, hearing, recordings
from typer.testing import CliRunner

from sne_edge.cli import app
from sne_edge.deploy.host import HostModel
from sne_edge.deploy.packages import render_package
from sne_edge.errors import SneError
from sne_edge.ir.artifact import save
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.policy import ActivationPolicy

HOSTILE = "</script><b>a & b"
USER = Path(__file__).parent / "packages" / "page_user.js"
NODE = """\
const [module, values] = [process.argv[1], JSON.parse(require("fs").readFileSync(0, "utf8"))];
WebAssembly.instantiate(Buffer.from(require("fs").readFileSync(module, "utf8"), "base64")).then(({instance}) => {
    const code = instance.exports, told = [];
    values.forEach(({classes, policies, inputs}, model) => {
        for (const numbers of inputs) {
            new Float64Array(code.memory.buffer, code.values(model), numbers.length).set(numbers);
            const encoded = code.encode(model);
            for (const [kind, students] of policies) {
                const status = code.run(model, kind, students);
                told.push({
                    model, encoded, status,
                    result: [...new Int32Array(code.memory.buffer, code.result(), 9)],
                    logits: [...new Int32Array(code.memory.buffer, code.logits(model), classes)],
                });
            }
        }
    });
    console.log(JSON.stringify({wrong: values.map((none, model) => code.wrong(model)), told}));
});
"""


@pytest.fixture(scope="module")
def models() -> tuple[QuantEnsemble, ...]:
    """Values, values of channels with scales of their own, and spikes; one with a class named as no page expects."""
    channels = tiny_ensemble(seed=2, students=2)
    encoder = msgspec.structs.replace(channels.encoder, scale=(0.05, 0.3), offset=(0.0, -1.5))
    strange = (HOSTILE, "b", "c", "d")
    return (
        msgspec.structs.replace(tiny_ensemble(students=2), classes=strange),
        msgspec.structs.replace(channels, name="channels", encoder=encoder),
        msgspec.structs.replace(tiny_ensemble("events", students=2), name="touch"),
    )


@pytest.fixture(scope="module")
def page(models: tuple[QuantEnsemble, ...], require_tool: Callable[..., None]) -> str:
    """The page of these models."""
    require_tool("clang", "wasm-ld")
    return render_package(models, "web", "wasm32", name="three")["index.html"]


def drawn(ensemble: QuantEnsemble, count: int) -> np.ndarray:
    """Random samples in the input's own units, halves of steps and values beyond all steps among them."""
    rng, encoder = np.random.default_rng(3), ensemble.encoder
    if encoder.kind == "events":
        return rng.integers(0, 2, (count, encoder.timesteps, *encoder.shape)).astype(np.float64)
    steps = rng.integers(-300, 300, (count, *encoder.shape)) / 2.0
    return steps * np.asarray(encoder.scale) + np.asarray(encoder.offset)


@pytest.mark.examines(runs=60, labels=6)
def test_the_module_gives_the_numbers_of_the_host_build(
    page: str,
    models: tuple[QuantEnsemble, ...],
    require_tool: Callable[..., None],
    tmp_path: Path,
    examined: Counter[str],
) -> None:
    require_tool("node")
    found = re.search(r'id="module">([^<]*)<', page)
    assert found is not None
    assert base64.b64decode(found[1])[:4] == b"\0asm"
    (tmp_path / "module").write_text(found[1])
    policies = {(0, 0): None, (1, 0): ActivationPolicy("all"), (2, 1): ActivationPolicy("first", students=1)}
    samples = [drawn(model, 8) for model in models]
    asked = [
        {"classes": len(model.classes), "policies": [*policies], "inputs": some.reshape(len(some), -1).tolist()}
        for model, some in zip(models, samples, strict=True)
    ]
    command = ["node", "-e", NODE, str(tmp_path / "module")]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True, timeout=60)
    made = json.loads(done.stdout)
    assert made["wrong"] == [0] * len(models)
    told, labels = iter(made["told"]), set()
    for model, some in zip(models, samples, strict=True):
        batches = [HostModel(model).run(model.encoder.encode(some), policy) for policy in policies.values()]
        for index in range(len(some)):
            for batch in batches:
                run = next(told)
                label, margin, active, students, stop, timesteps, ops, macs, updates = run["result"]
                assert (run["encoded"], run["status"]) == (0, 0)
                assert run["logits"] == batch.logits[index].tolist()
                want = (batch.label, batch.margin, batch.active, batch.students_run, batch.stop, batch.timesteps)
                assert (label, margin, active, students, stop, timesteps) == tuple(int(value[index]) for value in want)
                work = (batch.synaptic_ops, batch.macs, batch.neuron_updates)
                assert (ops, macs, updates) == tuple(int(value[index]) for value in work)
                examined["runs"] += 1
                labels.add((model.name, label))
    examined["labels"] = len(labels)
    assert next(told, None) is None


def used(page: str, folder: Path, typed: list[list[str]], spoken: str = "") -> list[dict[str, Any]]:
    """What a person sees of each model on a page, without a network, who acts as page_user.js says."""
    script = f"const TYPED = {json.dumps(typed)}, SPOKEN = {json.dumps(spoken)};\n" + USER.read_text(encoding="utf-8")
    path = folder / "page.html"
    path.write_text(page.replace("</body>", f"<script>{script}</script></body>"), encoding="utf-8")
    command = [
        "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        f"--user-data-dir={folder / 'profile'}", "--enable-logging=stderr", "--host-resolver-rules=MAP * ~NOTFOUND",
        "--virtual-time-budget=20000", "--dump-dom", path.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    found = re.search(r"<title>TOLD(.*?)TOLD</title>", done.stdout)
    console = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    assert found is not None and not console, done.stdout[-1500:] + "\n".join(console)
    told: list[dict[str, Any]] = json.loads(html.unescape(found[1]))
    return told


def test_a_person_sees_golden_vectors_exact_and_runs_numbers_of_their_own(
    page: str, models: tuple[QuantEnsemble, ...], require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("chromium")
    samples = [drawn(model, 1) for model in models]
    wrong = ["1, 2, three", "[1, 2]", "[[null]]", ""]
    typed = [[json.dumps(some[0].tolist()), "\n".join(map(str, some.ravel())), *wrong] for some in samples]
    for model, some, seen in zip(models, samples, used(page, tmp_path, typed), strict=True):
        assert seen["exact"] == "4 of 4 golden vectors exact in this browser: PASS" and not seen["microphone"]
        first, second, word, short, nothing, empty = seen["runs"]
        run = HostModel(model).run(model.encoder.encode(some))
        golden = HostModel(model).run(model.vectors.inputs[:1])
        for shown, batch in ((first, run), (second, run), (seen["dropped"], run), (seen["golden"], golden)):
            assert shown["label"] == model.classes[batch.label[0]] and shown["time here"]
            assert shown["margin"].split()[0] == str(batch.margin[0])
            assert shown["students run"] == f"{batch.students_run[0]} of 2"
            assert shown["operations"] == f"{batch.synaptic_ops[0] + batch.macs[0]:,}"
            assert shown["logits"] == [str(logit) for logit in batch.logits[0]]
        assert word == "value 3 is no number: three" and nothing == "value 1 is no number: null"
        assert short.startswith(f"{model.name} takes {some.size} numbers (") and short.endswith("2 were given")
        assert empty == "value 1 is no number: "


def test_a_page_holds_all_it_needs_and_no_name_can_break_it(page: str) -> None:
    assert "Content-Security-Policy" in page and "default-src 'none'" in page
    assert not re.search(r"(src|href)=|https?:|@import|url\(|fetch\(|XMLHttp|import\(", page)
    assert "<b>a" not in page and page.count("</script>") == 3
    facts = re.search(r'id="facts">(.*?)</script>', page)
    assert facts is not None and json.loads(facts[1])[0]["classes"][0] == HOSTILE


def test_a_recording_that_is_dropped_is_heard_as_the_front_end_hears_it(
    require_tool: Callable[..., None], tmp_path: Path
) -> None:
    require_tool("clang", "wasm-ld", "chromium")
    audio = recordings(SHORT)[-3:]
    ensemble = hearing(SHORT, audio)
    text = render_package(ensemble, "web", "wasm32")["index.html"]
    with wave.open(str(tmp_path / "spoken.wav"), "wb") as file:
        file.setparams((1, 2, SHORT.rate, 0, "NONE", ""))
        file.writeframes(audio[0].astype("<i2").tobytes())
    spoken = base64.b64encode((tmp_path / "spoken.wav").read_bytes()).decode()
    (seen,) = used(text, tmp_path, [[]], spoken)
    exact = "3 of 3 golden vectors exact in this browser, 2 of 2 golden recordings from samples to logits: PASS"
    assert seen["exact"] == exact and seen["microphone"]
    run = HostModel(ensemble).run(SHORT.apply(audio[:1]).reshape(1, -1).view(np.uint8))
    assert seen["heard"]["label"] == ensemble.classes[run.label[0]]
    assert seen["heard"]["logits"] == [str(logit) for logit in run.logits[0]]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (None, "clang is not installed"),
        (
            "echo 'error: unable to create target: No available targets are compatible with wasm32' >&2; exit 1",
            "targets",
        ),
        ("echo 'clang: error: unable to execute command: wasm-ld does not exist' >&2; exit 1", "wasm-ld"),
    ],
)
def test_without_clang_for_webassembly_it_says_how_to_get_it_and_writes_nothing(
    script: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tiny_ensemble(students=1), tmp_path / "tiny.sne")
    tools = tmp_path / "tools"
    tools.mkdir()
    if script is not None:
        (tools / "clang").write_text(f"#!/bin/sh\n{script}\n")
        (tools / "clang").chmod(0o755)
    monkeypatch.setenv("PATH", str(tools))
    done = CliRunner().invoke(app, ["export", str(tmp_path / "tiny.sne"), "--for", "web", "-o", str(tmp_path / "made")])
    assert isinstance(done.exception, SneError)
    assert said in done.exception.message and "apt-get install clang lld" in done.exception.hint
    assert not (tmp_path / "made").exists()


def test_a_page_for_another_target_is_refused(tmp_path: Path) -> None:
    save(tiny_ensemble(students=1), tmp_path / "tiny.sne")
    given = ["export", str(tmp_path / "tiny.sne"), "--for", "web", "--target", "m4", "-o", str(tmp_path / "made")]
    done = CliRunner().invoke(app, given)
    assert isinstance(done.exception, SneError)
    assert "a page runs wasm32, not m4" in done.exception.message and not (tmp_path / "made").exists()
