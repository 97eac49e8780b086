"""Augmentation by a callable of one's own: called, checked, repeated, known by what its file holds."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from augmented import CONFIG, LAYOUTS, signals

from sne_edge.errors import SneError
from sne_edge.learn import transforms
from sne_edge.learn.augmentation import parse
from sne_edge.learn.views import Augmenter, check_augmentation, to_torch, views
from sne_edge.pipeline import stages
from sne_edge.pipeline.config import model_key
from sne_edge.pipeline.train import train
from sne_edge.study.card import provenance_lines

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning"),  # of how little is learnt in an epoch
]
TORCHVISION = """
import torch
class Flip(torch.nn.Module):
    def forward(self, x):
        return x.flip(-1) if torch.rand(()) < 0.5 else x
flip = Flip()
chain = torch.nn.Sequential(torch.nn.Identity(), flip)
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "import random\nimport numpy as np\nimport torch\nfrom torch import nn\n"
        "def shake(x):\n    x += 0.1 * torch.randn(x.shape)\n    return x * (1 + random.random()) + np.random.rand()\n"
        "chain = nn.Sequential(nn.Dropout(0.3), nn.Identity())\n"
        "def turn(x):\n    turned = torch.rand(len(x), *[1] * (x.dim() - 1)) < 0.5\n"
        "    return torch.where(turned, x.flip(-1), x)\n"
        "def longer(x): return x.repeat(1, 1, 1, 2)\n"
        "def hollow(x): return x / 0 * 0\n"
        "def whole(x): return x.long()\n"
        "def absent(x): return None\n"
        "def fails(x): raise RuntimeError('no such luck')\n"
        "number = 3\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["shake", "chain", "turn"])
def test_a_callable_of_ones_own_is_what_views_are_made_by(own: Path, name: str, layout: str):
    data = LAYOUTS[layout]()
    before = data.x_train.copy()
    how = parse(f"{own}:{name}")
    if layout == "events" and name != "turn":
        with pytest.raises(SneError, match="other values than 0 and 1"):
            check_augmentation(how, data)
        return
    states = random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # type: ignore[index]
    one, again, other = (views(data.x_train, 3, seed, how) for seed in (0, 0, 1))
    assert np.array_equal(one, again) and not np.array_equal(one, other) and not np.array_equal(one[1], one[2])
    assert one.shape == (3, *before.shape) and one.dtype == np.float32
    assert np.array_equal(one[0], before) and np.array_equal(data.x_train, before)  # whatever it does in place
    assert states[0] == random.getstate() and torch.equal(states[2], torch.get_rng_state())
    assert np.array_equal(states[1], np.random.get_state()[1])  # type: ignore[index]
    torch.manual_seed(3)
    first = Augmenter(how).anew(to_torch(before), 1.0)
    torch.manual_seed(3)
    assert torch.equal(first, Augmenter(how).anew(to_torch(before), 1.0))
    assert not torch.equal(first, Augmenter(how).anew(to_torch(before), 1.0))


def test_long_data_meet_draws_of_their_own_in_every_part(own: Path):
    x = np.zeros((1100, 1, 8, 1), np.float32)
    made = Augmenter(parse(f"{own}:shake")).kept(x, np.random.default_rng(0))
    parts = [made[start : start + 76] for start in (0, 512, 1024)]
    assert len({part.tobytes() for part in parts}) == 3


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("longer", r"made \[4, 1, 1, 40\] of \[4, 1, 1, 20\]"),
        ("hollow", "NaN or infinite"),
        ("whole", "torch.int64"),
        ("absent", "a NoneType"),
        ("fails", "no such luck"),
        ("number", "no callable"),
        ("nothing", "has no 'nothing'"),
    ],
)
def test_a_callable_that_breaks_its_contract_is_one_clear_error(own: Path, name: str, told: str):
    with pytest.raises(SneError, match=told) as caught:
        train(replace(CONFIG, augmentation=parse(f"{own}:{name}")), dataset=signals())
    assert caught.value.hint


@pytest.mark.examines(samples=200)
def test_a_transform_that_draws_once_a_call_is_called_for_each_sample(tmp_path: Path, examined: Counter[str]):
    (tmp_path / "own.py").write_text(TORCHVISION + 'Flip.__module__ = "torchvision.transforms.v2"\n', encoding="utf-8")
    (tmp_path / "batch.py").write_text(TORCHVISION, encoding="utf-8")
    x = torch.arange(20.0).repeat(200, 1, 1, 1)
    for file, name, both in (("own.py", "flip", True), ("own.py", "chain", True), ("batch.py", "flip", False)):
        made = transforms.Own(f"{tmp_path / file}:{name}")(x)
        flipped = (made == x.flip(-1)).all(dim=(1, 2, 3))
        assert (0.3 < flipped.float().mean() < 0.7) == both
        examined["samples"] += len(x) * both


def test_what_a_callables_file_holds_decides_every_key(own: Path, tmp_path: Path):
    data = signals()
    how = parse(f"{own}:chain")
    before = model_key(replace(CONFIG, augmentation=how), data), how.key
    stages.built_in_teacher(data, "small", 1, 0, augmentation=how, cache=tmp_path)
    own.write_text(own.read_text(encoding="utf-8").replace("0.3", "0.4"), encoding="utf-8")
    assert model_key(replace(CONFIG, augmentation=how), data) != before[0] and how.key != before[1]
    stages.built_in_teacher(data, "small", 1, 0, augmentation=how, cache=tmp_path)
    stages.built_in_teacher(data, "small", 1, 0, augmentation=how, cache=tmp_path)
    assert len(list(tmp_path.glob("teacher-*.pt"))) == 2


def test_a_model_says_how_its_views_were_made_and_no_path_of_the_machine(own: Path):
    config = replace(CONFIG, augmentation=replace(parse("light,crop=0.2"), own=f"{own}:chain"))
    record = train(config, dataset=signals()).provenance
    assert record["config"]["augmentation"]["own"] == "mine.py:chain" and str(own.parent) not in str(record)
    assert "augmentation `light,crop=0.2,mine.py:chain`" in " ".join(provenance_lines(record))
    assert "augmentation" not in " ".join(provenance_lines(train(CONFIG, dataset=signals()).provenance))
