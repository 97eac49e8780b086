"""Augmentation: what is chosen is done everywhere; the default is what it always was; wrong words end early."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import light_views
import numpy as np
import pytest
import torch
from command_line import called
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from sne_edge.data.dataset import Dataset, split
from sne_edge.errors import SneError
from sne_edge.ir.artifact import dumps
from sne_edge.learn import course, teacher, transforms
from sne_edge.learn import views as views_module
from sne_edge.learn.augmentation import FLAGS, LIGHT, NONE, STRENGTHS, Augmentation, parse
from sne_edge.learn.course import Course, Lessons, Recipe
from sne_edge.learn.student import Body
from sne_edge.learn.views import Augmenter, check_augmentation, to_torch, views
from sne_edge.pipeline import cnn, stages
from sne_edge.pipeline import settings as files_of_settings
from sne_edge.pipeline.config import TrainConfig, model_key
from sne_edge.pipeline.presets import preset
from sne_edge.pipeline.train import train
from sne_edge.study.card import provenance_lines

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning"),  # of how little is learnt in an epoch
]
CONFIG = TrainConfig(
    body=Body((4, 4), (3, 3), (2, 2)), recipe=Recipe(joint=1, rounded=1, batch=64, anew=True), teacher_epochs=1,
    views=3, students=2, timesteps=2, scheme="contiguous", vectors=2,
)  # fmt: skip
EVERY = [*(f"{name}={tried}" for name, (_, tried) in STRENGTHS.items()), *FLAGS]
VALUES = ("scale", "noise")  # that events do without
TORCHVISION = """
import torch
class Flip:
    def __call__(self, x):
        return x.flip(-1) if torch.rand(()) < 0.5 else x
flip = Flip()
"""


def signals() -> Dataset:
    rng = np.random.default_rng(0)
    y = np.arange(160) % 3
    return split("waves", np.sin(np.arange(20) * (y[:, None] + 1) / 3) + 0.3 * rng.normal(size=(160, 20)), y)


def images() -> Dataset:
    x = np.random.default_rng(0).normal(size=(160, 8, 10, 2))
    return replace(split("pictures", x, np.arange(160) % 3, layout="NHWC"), mirrored=True)


def rasters() -> Dataset:
    x = np.random.default_rng(0).integers(0, 2, size=(160, 3, 16, 20, 2)).astype(np.float32)
    return split("events", x, np.arange(160) % 3, layout="NTHWC")


def flat() -> Dataset:
    x = np.random.default_rng(0).normal(size=(160, 1, 1, 6))
    return split("flat", x, np.arange(160) % 3, layout="NHWC")


LAYOUTS = {"signal": signals, "image": images, "events": rasters}


class Always:
    """The default augmentation, of `light_views`."""

    def __init__(self, how: Augmentation, noise: float = 0.0) -> None:
        assert not noise
        self.mirrored, self.reach, self.nothing = bool(how.mirror), how.shift, False

    def kept(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return light_views.kept(x, generator, self.mirrored)

    def anew(self, x: Tensor, deviation: float) -> Tensor:
        return light_views.anew(x, deviation, self.mirrored, self.reach)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_default_draws_what_it_always_drew(layout: str):
    data = LAYOUTS[layout]()
    x, how = data.x_train, LIGHT.of(data)
    ours, always = np.random.default_rng(5), np.random.default_rng(5)
    for _ in range(2):  # the second begins where the first left the generator
        assert np.array_equal(Augmenter(how).kept(x, ours), light_views.kept(x, always, data.mirrored))
    for reach in (None, 1, 3):
        torch.manual_seed(5)
        made = Augmenter(how.reaching(reach)).anew(to_torch(x), 0.7)
        torch.manual_seed(5)
        assert torch.equal(made, light_views.anew(to_torch(x), 0.7, data.mirrored, 2 if reach is None else reach))


@pytest.mark.parametrize("layout", ["image", "events"])
def test_by_default_training_makes_the_model_it_always_made(layout: str, monkeypatch: pytest.MonkeyPatch):
    data = LAYOUTS[layout]()
    made = dumps(train(CONFIG, dataset=data))
    for module in (views_module, teacher, course):
        monkeypatch.setattr(module, "Augmenter", Always)
    assert dumps(train(CONFIG, dataset=data)) == made


@pytest.mark.examines(places=6)
def test_none_leaves_samples_alone_in_every_place_that_augments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, examined: Counter[str]
):
    data, met = images(), Counter[tuple[str, bool]]()
    kept, anew = Augmenter.kept, Augmenter.anew

    def spy_kept(self, x, generator):
        made = kept(self, x, generator)
        met["kept", np.array_equal(made, x)] += 1
        return made

    def spy_anew(self, x, deviation):
        made = anew(self, x, deviation)
        met["anew", torch.equal(made, x)] += 1
        return made

    monkeypatch.setattr(Augmenter, "kept", spy_kept)
    monkeypatch.setattr(Augmenter, "anew", spy_anew)
    for who, module in (("students", stages), ("CNN", cnn)):

        def viewed(x, count, seed, how, noise=0.0, who=who):
            made = views(x, count, seed, how, noise)
            place = who if len(x) == len(data.x_train) else "calibration"
            met[place, len(made) == 1 and np.array_equal(made[0], x)] += 1
            return made

        monkeypatch.setattr(module, "views", viewed)
    for how, same in ((NONE, True), (LIGHT, False)):
        met.clear()
        config = replace(CONFIG, augmentation=how)
        check_augmentation(how, data)
        met.clear()
        net = stages.built_in_teacher(data, "small", 1, 0, augmentation=how)
        assert met.pop(("kept", same)) and not met
        stages.tuned_further(net, data, 1, 0, augmentation=how)
        assert met.pop(("kept", same)) and not met
        examined["places"] += 2 * same
        made = train(config, dataset=data, teacher=net)
        cnn.find_cnn(config, data, cnn.baseline.student_design(config.body), net, tmp_path)
        if same:  # no view is made at all but of a probe, which is the sample, and those anew, likewise
            assert met.pop(("kept", True)) == 1
        places = {("students", same), ("CNN", same), ("calibration", same), ("anew", same)}
        assert {key for key in met if key[0] != "kept"} == places
        examined["places"] += len(places) * same
        assert parse(how.word) == how and made.provenance["config"]["augmentation"] == asdict(how)


def test_none_under_noise_is_noise_alone():
    x = signals().x_train
    made = views(x, 3, 0, NONE, noise=2.0)
    assert len(made) == 3 and np.array_equal(made[0], x) and not np.array_equal(made[1], x)
    assert len(views(x, 3, 0, NONE)) == 1


@pytest.mark.examines(views=20)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_transform_keeps_shape_and_finiteness_and_changes_something(layout: str, examined: Counter[str]):
    data = LAYOUTS[layout]()
    x = data.x_train
    for word in EVERY:
        highest = Augmentation(**(asdict(NONE) | {name: top for name, (top, _) in STRENGTHS.items() if name in word}))
        for how in (parse(word), replace(highest, shift=min(highest.shift, 7))):
            if how.nothing:
                continue
            try:
                how.check(data)
            except SneError:
                continue
            made = (Augmenter(how).kept(x, np.random.default_rng(0)),
                    np.moveaxis(Augmenter(how).anew(to_torch(x), float(x.std())).numpy(), -3, -1))  # fmt: skip
            for view in made:
                assert view.shape == x.shape and view.dtype == np.float32 and np.isfinite(view).all(), word
                assert not np.array_equal(view, x), word
                if layout == "events":
                    assert set(np.unique(view)) <= {0.0, 1.0}, word
                examined["views"] += 1


@pytest.mark.examines(transforms=9)
def test_kept_views_and_those_made_anew_agree_in_distribution(examined: Counter[str]):
    torch.manual_seed(0)
    one = images().x_train[:1]
    x = np.repeat(one, 4000, axis=0)
    for word in EVERY:
        both = Augmenter(parse(word))
        kept = both.kept(x, np.random.default_rng(0)).transpose(0, 3, 1, 2)
        anew = both.anew(to_torch(x), float(x.std())).numpy()
        assert np.abs(kept.mean(0) - anew.mean(0)).max() < 0.12, word
        assert np.abs(kept.std(0) - anew.std(0)).max() < 0.12, word
        assert kept.std(0).max() > 0.03, word
        examined["transforms"] += 1


def test_what_a_raster_meets_is_the_same_in_all_timesteps():
    x = np.repeat(rasters().x_train[:, :1], 3, axis=1)
    made = Augmenter(parse("shift=2,mirror,flip,stretch=0.2,crop=0.2,rotate=20,erase=0.3")).kept(
        x, np.random.default_rng(0)
    )
    assert (made == made[:, :1]).all() and not np.array_equal(made, x)


def test_transforms_do_what_they_are_called():
    torch.manual_seed(0)
    x = torch.arange(20.0).repeat(2000, 1, 20, 1)  # a ramp to the right
    up = x.transpose(-1, -2)
    turned = transforms.moved(up, parse("flip"))
    flipped = (turned == up.flip(-2)).all(dim=(1, 2, 3))
    assert 0.45 < flipped.float().mean() < 0.55 and torch.equal(turned[~flipped], up[~flipped])
    stretched = transforms.moved(x, parse("stretch=0.2"))[:, 0, 10]
    slopes = stretched[:, 12] - stretched[:, 8]
    assert slopes.min() >= 4 / 1.21 and slopes.max() <= 4 / 0.79 and slopes.std() > 0.3
    assert torch.allclose((stretched[:, 9] + stretched[:, 10]) / 2, torch.tensor(9.5), atol=1e-4)  # about the middle
    cropped = transforms.moved(x, parse("crop=0.5"))[:, 0, 10]
    spans = cropped[:, 14] - cropped[:, 5]
    assert spans.min() >= 4.4 and spans.max() <= 9.01 and 6 < spans.mean() < 7.5
    assert cropped.min() >= 0 and cropped.max() <= 19 and cropped[:, 10].std() > 1  # inside, anywhere
    rotated = transforms.moved(x, replace(NONE, rotate=90.0))
    down, right = (rotated.diff(dim=axis)[:, 0, 9, 9] for axis in (-2, -1))
    assert torch.allclose(down**2 + right**2, torch.ones(()), atol=1e-2)  # as steep, in another direction
    assert down.abs().max() > 0.95 and right.min() > -0.01
    wide = transforms.moved(torch.arange(40.0).repeat(500, 1, 20, 1), replace(NONE, rotate=45.0))
    down, right = (wide.diff(dim=axis)[:, 0, 9, 19] for axis in (-2, -1))
    assert torch.allclose(down**2 + right**2, torch.ones(()), atol=1e-2)  # whatever the sides
    noise = torch.randn(2000, 2, 20, 20)
    gone = (transforms.erased(noise, parse("erase=0.4")) != noise).float()
    share = gone.mean(dim=(1, 2, 3))
    assert share.max() <= 0.46 and 0.15 < share.mean() < 0.22 and torch.equal(gone[:, 0], gone[:, 1])
    line = torch.randn(2000, 2, 1, 50)
    share = (transforms.erased(line, parse("erase=0.4")) != line).float().mean(dim=(1, 2, 3))
    assert share.max() <= 0.42 and 0.17 < share.mean() < 0.23


def test_the_strongest_crop_stretch_and_turn_stay_within_the_samples_values():
    x = images().x_train
    made = Augmenter(parse("crop=0.9,stretch=0.9,rotate=180")).kept(x, np.random.default_rng(0))
    low, high = x.min(axis=(1, 2)), x.max(axis=(1, 2))
    assert (made.min(axis=(1, 2)) >= low - 1e-5).all() and (made.max(axis=(1, 2)) <= high + 1e-5).all()


@pytest.mark.parametrize(
    ("layout", "word", "why"),
    [
        (signals, "flip", "no up and down"),
        (signals, "rotate=10", "no up and down"),
        (signals, "shift=20", "20 places along an axis"),
        (images, "shift=8", "8 places along an axis"),
        (rasters, "scale=0.2", "0 or 1"),
        (rasters, "shift=2,noise=0.1", "0 or 1"),
        (flat, "shift=1", "no axis of more than 4"),
        (flat, "erase=0.2", "no axis of more than 4"),
        (flat, "mirror", "one place in a row"),
    ],
)
def test_a_transform_without_sense_for_the_layout_is_refused(layout, word: str, why: str):
    data = layout()
    for asked in (word, f"{word},crop=0.1"):
        with pytest.raises(SneError, match=why):
            check_augmentation(parse(asked), data)
    with pytest.raises(SneError, match=why):
        train(replace(CONFIG, augmentation=parse(word)), dataset=data)
    check_augmentation(LIGHT, data)  # it does what does


def test_light_in_a_list_does_to_events_what_light_does():
    data = rasters()
    check_augmentation(parse("light,erase=0.2"), data)
    assert set(np.unique(Augmenter(parse("light,erase=0.2")).kept(data.x_train, np.random.default_rng(0)))) == {0, 1}


@pytest.mark.examines(words=200)
def test_a_word_says_the_augmentation(examined: Counter[str]):
    strengths = {
        name: st.one_of(
            st.just(0),
            st.integers(0, int(top)) if name == "shift" else st.floats(0, top),
        )
        for name, (top, _) in STRENGTHS.items()
    }
    owns = st.sampled_from([None, "own.py:f", "a folder/own.py:f"])

    @settings(max_examples=300, deadline=None, database=None)
    @given(st.builds(Augmentation, **strengths, mirror=st.sampled_from([None, True, False]), flip=st.booleans(),
                     own=owns))  # fmt: skip
    def says(how: Augmentation) -> None:
        assert parse(how.word) == how
        examined["words"] += 1

    says()
    assert [how.word for how in (LIGHT, NONE)] == ["light", "none"] and parse("light") == LIGHT


WRONG = {
    "mirorr": "did you mean mirror",
    "ligth": "did you mean light",
    "nonne": "did you mean none",
    "hflip": "did you mean mirror",
    "RandomErasing": "did you mean erase",
    "jitter=0.1": "did you mean noise",
    "": "give light",
    "shift": "shift=4",
    "shift=": "whole number",
    "shift=two": "whole number",
    "shift=1.5": "whole number",
    f"shift={'9' * 5000}": "whole number",
    "shift=65": "0 to 64",
    "shift=-1": "0 to 64",
    "scale=nan": "a number",
    "scale=1e400": "a number",
    "erase=2": "0 to 0.9",
    "mirror=1": "write mirror alone",
    "light=1": "write light alone",
    "none,shift=2": "none alone",
    "shift=2,shift=3": "once",
    "shift=2,": "give light",
    "own.py": "own.py:NAME",
    "own.py:1x": "NAME",
    "nowhere.py:f": "FILE.py:NAME",
}


@pytest.mark.parametrize("word", WRONG, ids=lambda word: word[:20] or "empty")
def test_a_wrong_word_ends_before_any_work(word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sne_edge.data.dataset.load_dataset", lambda *a, **o: pytest.fail("work began"))
    done = called("train", "-o", "made.sne", "--augment", word, cwd=tmp_path)
    assert done.returncode and done.stderr.startswith("error: ") and done.stderr.count("error:") == 1
    assert WRONG[word] in " ".join(done.stderr.split()) and "Traceback" not in done.stderr
    assert len(done.stderr) < 700 and not list(tmp_path.iterdir())


def test_options_of_views_that_say_nothing_are_refused(tmp_path: Path):
    for words in (("--reach", "3"), ("--anew", "--augment", "none", "--reach", "3"), ("--views", "0")):
        done = called("train", "-o", "made.sne", *words, cwd=tmp_path)
        assert done.returncode and words[-2] in done.stderr and not list(tmp_path.iterdir())


def test_settings_hold_an_augmentation_as_a_table_or_a_word(tmp_path: Path):
    path = tmp_path / "run.toml"
    path.write_text('augmentation = "shift=4,mirror"\n', encoding="utf-8")
    assert files_of_settings.read(path) == preset("mnist1d", augmentation=parse("shift=4,mirror"))
    path.write_text("[augmentation]\nerase = 0.25\n", encoding="utf-8")
    assert files_of_settings.read(path).augmentation == replace(LIGHT, erase=0.25)
    for word in ("light", "none", "light,crop=0.2", "shift=3,mirror", "own.py:f"):
        config = preset("mnist1d", augmentation=parse(word))
        path.write_text(files_of_settings.write(config), encoding="utf-8")
        assert files_of_settings.read(path) == config
    path.write_text('augmentation = "mirorr"\n', encoding="utf-8")
    with pytest.raises(SneError, match=r"run.toml: there is no augmentation"):
        files_of_settings.read(path)


def test_the_shift_of_views_made_anew_is_the_augmentations_or_the_reach_of_its_own():
    assert Recipe().reach is None and parse("shift=4").reaching(None).shift == 4
    assert parse("shift=4").reaching(7).shift == 7 and NONE.reaching(7) == NONE


def test_students_made_views_anew_follow_the_augmentation():
    data = images()
    x = data.x_train[None]
    taught = np.zeros((1, len(x[0]), 4), np.float32)
    lessons = Lessons(x, taught, taught[:, :, :3], data.y_train, data.x_val, data.y_val)

    class Nobody:
        partition = type("P", (), {"students": 0})

    for word in ("none", "flip"):
        made = Course(Nobody(), lessons, Recipe(anew=True), augmentation=parse(word)).draw(  # type: ignore[arg-type]
            np.arange(32), np.random.default_rng(0)
        )
        plain = to_torch(data.x_train[:32])
        same = torch.stack([(made.x == plain).all(dim=(1, 2, 3)), (made.x == plain.flip(-2)).all(dim=(1, 2, 3))])
        assert same.any(dim=0).all() and same[0].all() == (word == "none")


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "mine.py"
    path.write_text(
        "import random\nimport numpy as np\nimport torch\nfrom torch import nn\n"
        "def shake(x):\n    x += 0.1 * torch.randn(x.shape)\n    return x * (1 + random.random()) + np.random.rand()\n"
        "chain = nn.Sequential(nn.Dropout(0.3), nn.Identity())\n"
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
@pytest.mark.parametrize("name", ["shake", "chain"])
def test_a_callable_of_ones_own_is_what_views_are_made_by(own: Path, name: str, layout: str):
    data = LAYOUTS[layout]()
    before = data.x_train.copy()
    how = parse(f"{own}:{name}")
    if layout == "events" and name != "plain":
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
    for file, both in (("own.py", True), ("batch.py", False)):
        made = transforms.Own(f"{tmp_path / file}:flip")(x)
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


def file_of(data: Dataset, folder: Path, config: TrainConfig) -> Path:
    """A file of settings in a folder, for data of which a file is made there."""
    x = np.concatenate([data.x_train, data.x_val])[:, 0, :, 0]
    np.savez(folder / "waves.npz", x_train=x, y_train=np.concatenate([data.y_train, data.y_val]))
    path = folder / "settings.toml"
    path.write_text(files_of_settings.write(replace(config, dataset="waves.npz")), encoding="utf-8")
    return path


def test_train_says_what_is_not_the_default_and_its_settings_make_the_model_again(tmp_path: Path):
    quick = file_of(signals(), tmp_path, CONFIG)
    again = "train", "--config", "a.toml", "-o", "b.sne", "--executor", "inline"
    done = called(
        "train", "-o", "a.sne", "--config", quick, "--executor", "inline", "--augment", "none", "--views", "4",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0 and "augmentation: none; each sample is seen once, as it is\n" in done.stderr
    assert called(*again, cwd=tmp_path).returncode == 0
    assert (tmp_path / "a.sne").read_bytes() == (tmp_path / "b.sne").read_bytes()
    settings_of = files_of_settings.read(tmp_path / "a.toml")
    assert settings_of.augmentation == NONE and settings_of.views == 4


def test_nothing_is_said_of_the_default_and_options_of_views_reach_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    met: list[TrainConfig] = []

    def stop(config, *rest, **named):
        met.append(config)
        raise SneError("far enough", "stop")

    monkeypatch.setattr("sne_edge.pipeline.train.train", stop)
    plain = file_of(signals(), tmp_path, replace(CONFIG, recipe=Recipe()))
    options = ("--config", plain, "--views", "5", "--anew", "--augment", "light,shift=5", "--reach", "6")
    assert "augmentation: light,shift=5\n" in called("train", "-o", "a.sne", *options, cwd=tmp_path).stderr
    assert (met[0].views, met[0].recipe.anew, met[0].recipe.reach) == (5, True, 6)
    far = file_of(signals(), tmp_path, replace(CONFIG, recipe=Recipe(anew=True, reach=9)))
    called("train", "-o", "a.sne", "--config", far, "--augment", "shift=3", cwd=tmp_path)
    assert met[1].recipe.reach is None and met[1].augmentation.shift == 3  # the option goes before the file
    done = called("train", "-o", "a.sne", "--config", far, "--no-anew", cwd=tmp_path)
    assert "augmentation" not in done.stderr and met[2].recipe == replace(met[1].recipe, anew=False, reach=9)
