"""Augmentation: what is chosen is done everywhere, and the default is what it always was."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, replace
from pathlib import Path

import light_views
import numpy as np
import pytest
import torch
from augmented import CONFIG, LAYOUTS, flat, images, rasters, signals
from torch import Tensor

from sne_edge.errors import SneError
from sne_edge.ir.artifact import dumps
from sne_edge.learn import lessons as lessons_module
from sne_edge.learn import teacher, transforms
from sne_edge.learn import views as views_module
from sne_edge.learn.augmentation import FLAGS, LIGHT, NONE, STRENGTHS, Augmentation, parse
from sne_edge.learn.lessons import Lessons, Tutor
from sne_edge.learn.recipe import Recipe
from sne_edge.learn.views import Augmenter, check_augmentation, to_torch, views
from sne_edge.pipeline import cnn, stages
from sne_edge.pipeline.train import train

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::sne_edge.errors.SneWarning"),  # of how little is learnt in an epoch
]
EVERY = [*(f"{name}={tried}" for name, (_, tried) in STRENGTHS.items()), *FLAGS]


class Always:
    """The default augmentation, of `light_views`."""

    def __init__(self, how: Augmentation, noise: float = 0.0, heard: None = None) -> None:
        assert not noise and heard is None
        self.mirrored, self.reach, self.nothing = bool(how.mirror), how.shift, False

    def source(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        return x

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
    for module in (views_module, teacher, lessons_module):
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

        def viewed(x, count, seed, how, noise=0.0, *more, who=who, **named):
            made = views(x, count, seed, how, noise, *more, **named)
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


def test_the_shift_of_views_made_anew_is_the_augmentations_or_the_reach_of_its_own():
    assert Recipe().reach is None and parse("shift=4").reaching(None).shift == 4
    assert parse("shift=4").reaching(7).shift == 7 and NONE.reaching(7) == NONE


def test_students_made_views_anew_follow_the_augmentation():
    data = images()
    x = data.x_train[None]
    taught = np.zeros((1, len(x[0]), 4), np.float32)
    lessons = Lessons(x, taught, taught[:, :, :3], data.y_train, data.x_val, data.y_val)
    for word in ("none", "flip"):
        made = Tutor(lessons, Recipe(anew=True), augmentation=parse(word)).draw(np.arange(32), np.random.default_rng(0))
        plain = to_torch(data.x_train[:32])
        same = torch.stack([(made.x == plain).all(dim=(1, 2, 3)), (made.x == plain.flip(-2)).all(dim=(1, 2, 3))])
        assert same.any(dim=0).all() and same[0].all() == (word == "none")


def test_a_cnn_is_taught_by_a_teacher_who_answers_live_where_students_are(tmp_path: Path):
    data = images()

    class Counted(teacher.TeacherNet):
        """Answers as another does, and counts the samples."""

        def __init__(self, net: teacher.TeacherNet) -> None:
            super().__init__()
            self.net, self.classifier = net, net.classifier

        def features(self, x: Tensor) -> Tensor:
            asked.append(len(x))
            return self.net.features(x)

    asked: list[int] = []
    net, answered = Counted(stages.built_in_teacher(data, "small", 1, 0)), {}
    recipe, design = CONFIG.recipe, cnn.baseline.student_design(CONFIG.body)
    for live in (False, True):
        asked.clear()
        cnn.find_cnn(replace(CONFIG, recipe=replace(recipe, live=live)), data, design, net, tmp_path / str(live))
        answered[live] = sum(asked)
    epochs = cnn.EPOCHS * (recipe.alone + recipe.joint + recipe.rounded)
    assert answered[True] - answered[False] == epochs * len(data.x_train)  # beside features of the kept views
