"""What a folder holds: images, sound, or recordings of sensors.

In: a path. Out: the kind of its files, which says who reads it.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from ..errors import SneError
from . import images, series, sounds

PACKED = (".mp3", ".flac", ".ogg", ".m4a", ".opus", ".aac", ".aiff")


def kind_of(where: Path | str) -> Literal["images", "sounds", "series"]:
    """The kind of files in a folder, in whatever folders below; tables beside images or sound are no recordings. A
    folder that holds none of these is one of images, which says what it lacks. Raises `SneError` where there are images
    and sound, or sound that is not read."""
    found = {Path(name).suffix.lower() for _, _, names in os.walk(where, followlinks=True) for name in names}
    pictures, sound, tables = (not found.isdisjoint(m.SUFFIXES) for m in (images, sounds, series))
    if pictures and sound:
        raise SneError(f"{where} holds recordings and images", "keep one of both in it")
    packed = sorted(found.intersection(PACKED))
    if packed and not pictures and not sound:
        raise SneError(f"{where} holds {packed[0]} files, and sound is read of {sounds.SUFFIXES[0]}", sounds.CONVERT)
    if sound:
        return "sounds"
    return "series" if tables and not pictures else "images"
