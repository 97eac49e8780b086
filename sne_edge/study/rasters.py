"""A picture of spikes: a network's and its integers', population by population. In: a comparison. Out: a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SneError
from ..interchange.compare import NetworkComparison
from .report import BLUE, GREY, ORANGE, save_figure


def draw_rasters(found: NetworkComparison, title: str, path: Path) -> Path:
    """Draw the first sample's spikes: the network's on the left, the integers' on the right, those that only one of
    them has in another colour. Returns the path.

    Raises `SneError` where nothing spikes, matplotlib is missing, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import MaxNLocator
    except ImportError:
        raise SneError("the package matplotlib is not installed", "pip install 'sne-edge[train]'") from None
    if not found.rasters:
        raise SneError("no population of the network spikes", "there are no rasters to draw; leave --plot out")
    figure = Figure(figsize=(9, 1 + 2.2 * len(found.rasters)), layout="constrained")
    grid = figure.subplots(len(found.rasters), 2, sharex=True, sharey="row", squeeze=False)
    for row, (name, sides) in zip(grid, found.rasters.items(), strict=True):
        for axes, mine, other in zip(row, sides, sides[::-1], strict=True):
            for which, colour in ((mine & other, BLUE), (mine & ~other, ORANGE)):
                step, neuron = np.nonzero(which)
                axes.scatter(step, neuron, s=9, marker="|", color=colour, linewidths=1.4)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlim(-0.5, len(mine) - 0.5)
            axes.set_ylim(-0.5, mine.shape[1] - 0.5)
            axes.spines[["top", "right"]].set_visible(False)
        row[0].set_ylabel(f"{name}\nneuron", color=GREY)
    grid[0, 0].set_title("network")
    grid[0, 1].set_title("integers")
    for axes in grid[-1]:
        axes.set_xlabel("timestep", color=GREY)
    figure.suptitle(f"{title}: spikes of one sample; orange ones only one side has")
    return save_figure(figure, path)
