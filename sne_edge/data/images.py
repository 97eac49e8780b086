"""Folders of images: train/CLASS/ and, if there are any, test/CLASS/, or CLASS/ alone; a folder or a tar archive.

In: a path. Out: `Raw` pixels, uint8, of one size; decoded once, then in the cache under what all files hold.
"""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from ..errors import SneError
from .cache import decoded_files
from .formats import Members
from .places import in_test, labelled, layout_hint, places
from .raw import Raw

SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
GREY = ("1", "L", "LA")  # Pillow's modes; all others but those of 16 bits become RGB
LAYOUT = layout_hint("images", SUFFIXES)


def images(where: Path) -> Raw:
    """Grey or colour images, of which colour is RGB; grey ones of 16 bits are scaled to 8.

    Raises `SneError` for files that are no images, are of several sizes or colours, or do not lie in classes' folders.
    """
    return decoded_files("images", Members(where, SUFFIXES, "images"), _decode, ("pillow",))


def pictures(where: Path) -> np.ndarray:
    """All images of a folder or archive, whatever folders they lie in: uint8 [N, height, width, channels]."""
    return np.stack(_read(Members(where, SUFFIXES, "images"))[0])


def _read(members: Members) -> tuple[list[np.ndarray], list[str]]:
    """Pixels and names of images of one size."""
    pixels, names = [], []
    for name, content in members:
        pixels.append(_pixels(f"{members.where}: {name}", content))
        names.append(name)
    if not pixels:
        raise SneError(f"{members.where} holds no images", LAYOUT)
    first = {array.shape: name for array, name in zip(reversed(pixels), reversed(names), strict=True)}
    if len(first) > 1:
        (shape, one), (other, two) = list(first.items())[:2]
        told = f"{_size(shape)} ({one}) and {_size(other)} ({two})"
        raise SneError(f"{members.where} holds images of {told}", "make all of one size, all grey or all colour")
    return pixels, names


def _decode(members: Members) -> Raw:
    pixels, names = _read(members)
    found = places(members, names, LAYOUT)
    (y, classes), test, x = labelled(found), in_test(found), np.stack(pixels)
    if not test.any():
        return Raw(x, y, classes=classes, standardise=True)
    return Raw(x[~test], y[~test], x[test], y[test], classes, standardise=True)


def _pixels(name: str, content: bytes) -> np.ndarray:
    """An image's uint8 [height, width, channels]."""
    try:
        from PIL import Image
    except ImportError:
        raise SneError("the package pillow is not installed", "pip install 'sne-edge[train]'") from None
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode.startswith("I"):  # 16 bits; Pillow would cut what is above 255
                array = _eight_bits(np.asarray(image, dtype=np.int64))
            else:
                array = np.asarray(image.convert("L" if image.mode in GREY else "RGB"))
    except Exception as error:  # Pillow's decoders each have their own
        raise SneError(f"{name} is no readable image: {error}", "remove or repair it") from None
    return array.reshape(*array.shape[:2], -1)


def _eight_bits(array: np.ndarray) -> np.ndarray:
    """Values 0..65535 as the nearest of 0..255, 65535 being 255."""
    if array.min() < 0 or array.max() > 65535:
        raise ValueError(f"values {array.min()}..{array.max()} are beyond 16 bits")
    return ((array * 255 + 32767) // 65535).astype(np.uint8)


def _size(shape: tuple[int, ...]) -> str:
    height, width, channels = shape
    return f"{width}x{height} {'grey' if channels == 1 else 'colour'}"
