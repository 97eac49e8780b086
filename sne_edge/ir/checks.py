"""What the types of the representation ask of their fields; each failure is a `ValueError`."""

from __future__ import annotations

import numpy as np


def check(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def check_array(name: str, array: np.ndarray, dtype: type, shape: tuple[int, ...]) -> None:
    check(
        array.dtype == dtype and array.shape == shape,
        f"{name} is {array.dtype}{list(array.shape)}, not {np.dtype(dtype)}{list(shape)}",
    )
    array.setflags(write=False)
