"""The CNNs that the ensembles are held against: small ones, with a stride in the first layer, by data set.

Names are the channels of the convolutions, then what is particular. On FSDD they convolve over time, the log-mel bands
being channels, on Fashion-MNIST over the image. All are tried with one seed, the `RIVALS`, which are near the
ensembles' accuracy for the fewest instructions, with as many as the ensembles.
"""

from __future__ import annotations

from sne_edge.learn.baseline import Design, Layer


def _conv(*layers: tuple[int, int, int]) -> Design:
    """Convolutions of (channels, kernel, stride)."""
    return tuple(Layer("conv", *layer) for layer in layers)


def _separable(channels: int, kernel: int, stride: int) -> Design:
    return Layer("depthwise", 0, kernel, stride), Layer("conv", channels)


DESIGNS: dict[str, dict[str, Design]] = {
    "mnist1d": {
        "8-24-32": _conv((8, 8, 2), (24, 5, 2), (32, 3, 2)),
        "16-24-32": _conv((16, 8, 2), (24, 5, 2), (32, 3, 2)),
        "16-32-32": _conv((16, 8, 2), (32, 5, 2), (32, 3, 2)),
        "24-48-48": _conv((24, 8, 2), (48, 5, 2), (48, 3, 2)),
        "8-24-32 separable": (*_conv((8, 8, 2)), *_separable(24, 5, 2), *_separable(32, 3, 1)),
        "8-32-40 as a student": _conv((8, 5, 1), (32, 5, 2), (40, 3, 2)),
    },
    "fsdd": {
        "8-24-32": _conv((8, 4, 4), (24, 3, 2), (32, 3, 2)),
        "12-24-24": _conv((12, 3, 4), (24, 3, 2), (24, 3, 2)),
        "16-24-32": _conv((16, 3, 4), (24, 3, 2), (32, 3, 2)),
        "24-32-48": _conv((24, 3, 4), (32, 3, 2), (48, 3, 2)),
        "24-32 separable": (*_separable(24, 5, 4), *_separable(32, 5, 2), Layer("average")),
    },
    "fashion-mnist": {
        "16-32-48": _conv((16, 3, 2), (32, 3, 2), (48, 3, 2)),
        "24-32-64": _conv((24, 3, 2), (32, 3, 2), (64, 3, 2)),
        "16-24-32-48": _conv((16, 3, 2), (24, 3, 1), (32, 3, 2), (48, 3, 2)),
    },
}
RIVALS = {
    "mnist1d": ("8-24-32", "16-24-32", "16-32-32", "8-32-40 as a student"),
    "fsdd": ("8-24-32", "12-24-24", "16-24-32"),
    "fashion-mnist": ("16-32-48", "24-32-64", "16-24-32-48"),
}
