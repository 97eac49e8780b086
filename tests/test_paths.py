"""The paths of the documentation, walked: what their pages tell to run runs, in their order, from an empty folder.

A small data set and small networks stand for the reader's own, an emulated board for the one on a serial port.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from command_line import called
from page_commands import ROOT, commands, fault

from sne_edge.ir.artifact import fingerprint, load

pytestmark = pytest.mark.usefixtures("one_thread")

MARK = "<!-- tests/test_paths.py runs this -->\n"
PORT = {"/dev/ttyACM0": "qemu:mps2-an386"}
SMALLER = {  # options that the tests add, so that what takes a reader minutes takes seconds
    "train": {"--epochs": "2", "--students": "2", "--channels": "4,4,4", "--executor": "inline"},
    "bench": {"--samples": "4"},
}
NOT_HERE = {"pip": "the network's", "flash": "a board's"}  # what only parses, and whose it is
NETWORK = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv1d(2, 8, 5, 2), nn.ReLU(), nn.AdaptiveAvgPool1d(2), nn.Flatten())
        self.classifier = nn.Linear(16, 3)

    def forward(self, x):
        features = self.features(x)
        return features, self.classifier(features)
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a reader's data: two axes over 24 timesteps, three classes; and 600 recordings of none."""
    folder, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(0)
    y = np.arange(240) % 3
    t = np.arange(24) * (y[:, None, None] + 1) / 3 + np.array([[0], [1]])
    x = (np.sin(t) + 0.2 * rng.normal(size=(240, 2, 24))).astype(np.float32)
    told = {"layout": "NCL", "classes": np.array(["idle", "walk", "run"])}
    np.savez(folder / "mine.npz", x_train=x[:180], y_train=y[:180], x_test=x[180:], y_test=y[180:], **told)
    np.savez(folder / "other.npz", x=3 * rng.normal(size=(600, 2, 24)).astype(np.float32), layout="NCL")
    return folder


def blocks(page: str, language: str) -> Iterator[str]:
    text = (ROOT / "docs/paths" / page).read_text(encoding="utf-8")
    yield from re.findall(rf"{re.escape(MARK)}```{language}\n(.*?)```", text, re.S)


def walk(page: str, folder: Path, examined: Counter[str], first: Callable[[list[str]], None] = lambda words: None):
    """Run a page's marked blocks; what a command tells to run next must parse. `first` is called before each."""
    for block in blocks(page, "sh"):
        for command in commands(f"```sh\n{block}```\n"):
            assert fault(command) is None, command
            words = [PORT.get(word, word) for word in command.words]
            if words[0] in NOT_HERE or words[1] in NOT_HERE:
                continue
            assert words[0] == "sne-edge", command
            for option, value in SMALLER.get(words[1], {}).items():
                words += [] if option in words else [option, value]
            words = ["2" if before == "--repeat" else word for before, word in zip(["", *words], words, strict=False)]
            first(words)
            done = called(*words[1:], cwd=folder)
            assert done.returncode == 0, (str(command), done.stderr)
            for told in commands(done.stdout + done.stderr):
                assert fault(told) is None, (str(command), told)
            examined["commands"] += 1


@pytest.mark.examines(commands=12)
def test_the_labs_path_leads_from_recordings_to_counts_of_a_board(
    lab: Path, examined: Counter[str], require_tool: Callable[..., None]
) -> None:
    require_tool("cc", "arm-none-eabi-gcc", "qemu-system-arm")

    def recorded(words: list[str]) -> None:
        """The trace of a power monitor: 3.3 V, 1 mA and 3 mA while the pin is high, a pulse of 5 ms for each count."""
        if "--energy" in words:
            pulses = (lab / "run.jsonl").read_text(encoding="utf-8").count('"started"')
            pin = np.tile(np.repeat([0, 1, 0], [20, 5, 5]), pulses)
            rows = [f"{k / 1000},{0.003 if high else 0.001},3.3,{high}" for k, high in enumerate(pin)]
            (lab / "trace.csv").write_text("\n".join(["Time (s),Current (A),Voltage (V),trigger", *rows, ""]))

    walk("lab.md", lab, examined, recorded)
    assert load(lab / "mine.sne").classes == ("idle", "walk", "run")
    assert load(lab / "careful.sne").rejection is not None
    assert "walk" in (lab / "mine.html").read_text(encoding="utf-8")
    assert (lab / "mine-nucleo-f446re" / "firmware.elf").is_file()
    assert "instructions" in (lab / "counts.csv").read_text(encoding="utf-8")


@pytest.mark.examines(commands=15)
def test_the_researchers_path_leads_from_a_teacher_to_other_frameworks(
    lab: Path, tmp_path: Path, examined: Counter[str], require_package: Callable[..., None]
) -> None:
    require_package("onnx", "onnxruntime", "nir")
    import torch

    (tmp_path / "mine.npz").write_bytes((lab / "mine.npz").read_bytes())
    (tmp_path / "net.py").write_text(NETWORK)
    (tmp_path / "schemes.py").write_text("".join(blocks("researcher.md", "python")))
    space: dict[str, type[torch.nn.Module]] = {}
    exec(NETWORK, space)
    torch.manual_seed(0)
    network, data = space["Net"](), np.load(tmp_path / "mine.npz")
    x, y = torch.from_numpy(data["x_train"]), torch.from_numpy(data["y_train"])
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(40):
        loss = torch.nn.functional.cross_entropy(network(x)[1], y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    torch.save(network.state_dict(), tmp_path / "net.pt")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            network.eval(), (x[:2],), str(tmp_path / "net.onnx"), input_names=["x"], output_names=["pool", "logits"],
            dynamic_axes={"x": {0: "N"}}, dynamo=False,
        )  # fmt: skip

    walk("researcher.md", tmp_path, examined)
    own, again, back = (load(tmp_path / f"{name}.sne") for name in ("own", "again", "back"))
    assert fingerprint(own) == fingerprint(again)
    assert back.provenance["agreement"] > 0.9
    assert load(tmp_path / "halves.sne").provenance["config"]["scheme"].endswith("schemes.py:halves")
    for model in tmp_path.glob("*.sne"):
        assert load(model).classes == ("idle", "walk", "run")


@pytest.mark.parametrize("page", sorted((ROOT / "docs/paths").glob("*.md")), ids=lambda page: page.stem)
def test_a_path_is_walked_or_says_that_it_takes_long(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    walked = sum(1 for _ in blocks(page.name, "[a-z]+"))
    assert len(re.findall(r"^```[a-z]", text, re.M)) - walked <= text.count("minutes to hours"), page
