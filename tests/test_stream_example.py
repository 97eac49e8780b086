"""The example of a live stream in C: it compiles without a warning, names gestures back to back, decides on an emulated
core as on this computer, and without forgetting would be lost."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[1] / "examples" / "stream"
GESTURES = 80
STRICT = ["-std=c99", "-pedantic", "-Wall", "-Wextra", "-Wconversion", "-Wshadow", "-Werror"]
PROGRAM = r"""
#include "bare_metal.h"
#include "gesture.h"
#include "recording.h"

static gesture g;

int program(void)
{
    static const int16_t still[GESTURE_AXES] = {0, 0, 0};
    uint32_t label = SNE_NONE, t, i;
    gesture_start(&g);
    for (i = 0; i < GESTURE_RING; i++) {
        if (!gesture_push(&g, still)) {
            return 1;
        }
    }
    if (gesture_push(&g, still) || g.lost != 1) { /* full: the sample is lost, and counted */
        return 2;
    }
    while (gesture_poll(&g, &label)) {
    }
    gesture_start(&g);
    label = SNE_NONE;
    for (t = 0; t < RECORDED * GESTURE_SAMPLES;) {
        for (i = 0; i < 5 && t < RECORDED * GESTURE_SAMPLES; i++, t++) { /* the loop is late */
            gesture_push(&g, recording[t]);
        }
        while (gesture_poll(&g, &label)) {
            print_number((int64_t)label);
            print_text(" ");
        }
    }
    return g.lost != 0;
}
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, require_tool: Callable[..., None]) -> Path:
    """A copy of the example with its model trained and exported."""
    require_tool("cc")
    folder: Path = tmp_path_factory.mktemp("stream") / "example"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("gestures*", "recording.h", "stream"))
    train(folder)
    return folder


def train(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "model.py"], cwd=folder, capture_output=True, text=True, check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    share = re.search(r"with a reset before each gesture: ([\d.]+)% right", done.stdout)
    assert share and float(share[1]) >= 95


def run(folder: Path) -> tuple[int, list[str]]:
    """How many gestures the program names by their end, and all that it says is going on, in order."""
    sources = ["main.c", "gesture.c", "gestures-c/gestures.c", "gestures-c/sne_schedule.c"]
    subprocess.run(["cc", *STRICT, "-O2", "-Igestures-c", "-I.", "-o", "stream", *sources], cwd=folder, check=True)
    told = subprocess.run(["./stream"], cwd=folder, capture_output=True, text=True, check=True).stdout
    right = re.search(rf"^(\d+) of {GESTURES} gestures named by their end, 0 samples lost$", told, flags=re.M)
    assert right, told
    return int(right[1]), re.findall(r" s: (\w+)$", told, flags=re.M)


def test_gestures_back_to_back_are_named_while_they_happen(made: Path) -> None:
    right, said = run(made)
    assert right >= 0.95 * GESTURES
    assert len(said) >= GESTURES / 2  # each change of what is going on, and hardly more
    assert len(said) <= GESTURES


def test_an_emulated_core_says_the_same(
    made: Path, tmp_path: Path, require_tool: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    require_tool("arm-none-eabi-gcc", "qemu-system-arm")
    monkeypatch.syspath_prepend(str(EXAMPLE.parents[1] / "benchmarks"))
    from bare_metal import build_program, emulate

    (tmp_path / "program.c").write_text(PROGRAM)
    sources = [tmp_path / "program.c", made / "gesture.c", made / "gestures-c" / "gestures.c"]
    elf = build_program("mps2-an386", sources, tmp_path, includes=[made, made / "gestures-c"])
    names = ["rest", "shake", "circle", "tap"]
    assert [names[int(n)] for n in emulate("mps2-an386", elf).split()] == run(made)[1]


def test_without_forgetting_the_same_model_is_lost(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "for-ever"
    shutil.copytree(made, folder)
    text = (folder / "model.py").read_text()
    line = "    model = stream_model(model, window=TIMESTEPS // 2)\n"
    assert text.count(line) == 1
    (folder / "model.py").write_text(text.replace(line, ""))
    train(folder)
    assert run(folder)[0] < 0.6 * GESTURES


def test_the_makefile_names_what_is_there(made: Path, require_tool: Callable[..., None]) -> None:
    require_tool("make")
    done = subprocess.run(["make", "-s", "run"], cwd=made, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "gestures named" in done.stdout, done.stderr
