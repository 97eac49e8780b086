"""Augmentation: which random transforms views of samples are made by, and how strong each is.

In: a word of the command line, `shift=4,mirror`, or settings. Out: an `Augmentation`, held against the data's layout.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ..data.dataset import Dataset
from ..errors import SneError, nearest, shortened
from ..files import read_file

LONG = 4  # axes of more places than this are moved, resampled and erased; shorter ones are no space
STRENGTHS = {  # name -> the highest strength, and one to try
    "shift": (64, "4"),
    "scale": (1.0, "0.2"),
    "noise": (10.0, "0.05"),
    "stretch": (0.9, "0.1"),
    "crop": (0.9, "0.2"),
    "rotate": (180.0, "15"),
    "erase": (0.9, "0.25"),
}
FLAGS = ("mirror", "flip")
NAMES = (*STRENGTHS, *FLAGS)
ALIKE = {  # what torchvision, and who works with sound and motion, call them
    "hflip": "mirror", "randomhorizontalflip": "mirror", "reverse": "mirror", "vflip": "flip",
    "randomverticalflip": "flip", "jitter": "noise", "gaussiannoise": "noise", "scaling": "scale", "gain": "scale",
    "translate": "shift", "roll": "shift", "randomcrop": "shift", "randomresizedcrop": "crop", "timestretch": "stretch",
    "timewarp": "stretch", "randomrotation": "rotate", "randomerasing": "erase", "cutout": "erase", "mask": "erase",
}  # fmt: skip
HINT = (
    f"give light, none, FILE.py:NAME, or a list of {', '.join(f'{k}={v[1]}' for k, v in STRENGTHS.items())}, "
    f"{' and '.join(FLAGS)}"
)


@dataclass(frozen=True)
class Augmentation:
    """Random transforms, in the order in which a sample meets them; a strength of 0 is none. The default is `light`.

    mirror   every other sample left to right, a signal backwards; None: where the data set says that its classes stay
    flip     every other image upside down
    crop     share 0..0.9 of each axis, at most, that is cut off; the rest, anywhere in the sample, is brought to size
    stretch  each axis is stretched about its middle, by a factor of its own in 1 - stretch .. 1 + stretch
    rotate   degrees, at most, that images turn by
    shift    places, at most, that a sample moves by along each axis; edges repeat, and events that leave are lost
    scale    standard deviation, about 1, of a factor of all values of a sample
    noise    white noise, in standard deviations of the data
    erase    share 0..0.9 of a sample, at most, in a box that takes each channel's mean; in rasters, no events
    own      FILE.py:NAME, a callable of a user's, see `transforms.Own`; None: there is none

    Axes of `LONG` places or fewer are left as they are. Raises `SneError` where a strength is out of range.
    """

    shift: int = 2
    scale: float = 0.1
    noise: float = 0.03
    mirror: bool | None = None
    flip: bool = False
    stretch: float = 0.0
    crop: float = 0.0
    rotate: float = 0.0
    erase: float = 0.0
    own: str | None = None

    def __post_init__(self) -> None:
        for name, (highest, _) in STRENGTHS.items():
            value = getattr(self, name)
            if not 0 <= value <= highest:
                raise SneError(
                    f"the augmentation's {name} of {shortened(value)} is out of range", f"give 0 to {highest:g}"
                )
        if self.own is not None and not _is_file(self.own):
            raise SneError(f"the augmentation's own {shortened(self.own)!r} names no callable", "write FILE.py:NAME")

    @property
    def nothing(self) -> bool:
        """Whether samples stay as they are."""
        return not any(getattr(self, name) for name in (*NAMES, "own"))

    @property
    def moves(self) -> bool:
        """Whether samples are flipped or resampled: what `transforms.moved` does."""
        return bool(self.flip or self.crop or self.stretch or self.rotate)

    @property
    def word(self) -> str:
        """What `parse` makes this of."""
        if self == NONE:
            return "none"
        base, named = (LIGHT, ["light"]) if self.mirror is None else (NONE, [])
        for name in STRENGTHS:
            if getattr(self, name) != getattr(base, name):
                named.append(f"{name}={_number(getattr(self, name))}")
        named += [name for name in FLAGS if getattr(self, name)]
        return ",".join([*named, *([] if self.own is None else [self.own])])

    @property
    def key(self) -> dict[str, Any]:
        """All that decides views, JSON-able: the contents of a user's file, too."""
        if self.own is None:
            return asdict(self)
        path, _, name = self.own.rpartition(":")
        content = read_file(path, 2**31, hint="write FILE.py:NAME")
        return asdict(self) | {"own": [hashlib.sha256(content).hexdigest(), name]}

    def of(self, dataset: Dataset) -> Augmentation:
        """This one for a data set: mirrored as that says, where it is left open; a user's file by its whole path,
        as other processes need it."""
        mirror = dataset.mirrored and dataset.timesteps is None if self.mirror is None else self.mirror
        return replace(self, mirror=mirror, own=self.own and str(Path(self.own).absolute()))

    def reaching(self, reach: int | None) -> Augmentation:
        """This one, of another shift where it shifts at all and there is another."""
        return replace(self, shift=reach) if reach is not None and self.shift else self

    def check(self, dataset: Dataset) -> None:
        """Raise `SneError` where a transform makes no sense for a data set's samples; `light` does what does."""
        if self == LIGHT:
            return
        height, width, _ = dataset.shape
        long = [length for length in (height, width) if length > LONG]
        small = f"have no axis of more than {LONG} places"
        wrong: dict[str, str] = {}
        if dataset.timesteps is not None:
            wrong |= dict.fromkeys(("scale", "noise"), "are events, which are 0 or 1")
        if height == 1:
            wrong |= dict.fromkeys(("flip", "rotate"), "are signals over time, which have no up and down")
        if width == 1:
            wrong["mirror"] = "have one place in a row"
        if min(height, width) <= LONG:
            wrong.setdefault("rotate", f"have an axis of no more than {LONG} places")
        if not long:
            wrong |= dict.fromkeys(("shift", "stretch", "crop", "erase"), small)
        elif self.shift >= min(long):
            wrong["shift"] = f"have {min(long)} places along an axis, and would leave them"
        for name, why in wrong.items():
            strength = getattr(self, name)
            if strength and not (self.mirror is None and strength == getattr(LIGHT, name)):  # what `light` leaves out
                told = name if strength is True else f"{name}={_number(strength)}"
                raise SneError(
                    f"the augmentation {told} makes no sense for {dataset.name}: its samples {why}",
                    "leave it out of the augmentation",
                )


def parse(text: str) -> Augmentation:
    """The augmentation of a word: `light`, `none`, FILE.py:NAME, or a list of names, those with a strength as
    `shift=4`; a list that has `light` adds to it. Raises `SneError` for anything else."""
    if text == "none":
        return NONE
    parts = text.split(",")
    values: dict[str, Any] = asdict(LIGHT if "light" in parts else NONE)
    met = set[str]()
    for part in parts:
        name, equals, strength = part.strip().partition("=")
        name = "own" if _is_file(part) else name
        if name in met:
            raise SneError(f"the augmentation has {name} twice", "give it once")
        met.add(name)
        if name == "own":
            values["own"] = part
        elif name in FLAGS and not equals:
            values[name] = True
        elif name in STRENGTHS and equals:
            values[name] = _strength(name, strength)
        elif name != "light" or equals:
            raise _unknown(name, bool(equals))
    return Augmentation(**values)


def _strength(name: str, text: str) -> int | float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    whole = name == "shift"
    if not math.isfinite(value) or (whole and not value.is_integer()):
        kind = "whole number" if whole else "number"
        raise SneError(
            f"the augmentation has {name}={shortened(text)}", f"give it a {kind}, such as {name}={STRENGTHS[name][1]}"
        )
    return int(value) if whole else value


def _unknown(name: str, strength: bool) -> SneError:
    """The error for a part of a list that is none."""
    if name in STRENGTHS:
        return SneError(f"the augmentation has {name} without a strength", f"write {name}={STRENGTHS[name][1]}")
    if name in FLAGS or name == "light":
        return SneError(f"the augmentation gives {name} a strength", f"write {name} alone")
    if name == "none":
        return SneError("the augmentation has none beside others", "give none alone, or leave it out")
    if name.endswith(".py"):
        return SneError(f"the augmentation has a file alone, {shortened(name)}", f"write {shortened(name)}:NAME")
    meant = ALIKE.get(name.lower().replace("_", "").replace("-", ""))
    near = f"did you mean {meant}? " if meant else nearest(name.lower(), (*NAMES, "light", "none"))
    return SneError(f"there is no augmentation {shortened(name)!r}", near + HINT)


def _number(value: float) -> str:
    """Its shortest form."""
    return repr(int(value)) if float(value).is_integer() else repr(value)


def _is_file(text: str) -> bool:
    path, _, name = text.rpartition(":")
    return path.endswith(".py") and name.isidentifier()


LIGHT = Augmentation()
NONE = Augmentation(shift=0, scale=0.0, noise=0.0, mirror=False)
