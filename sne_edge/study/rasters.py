"""A picture of spikes: a network's and its integers', population by population. In: a comparison. Out: a PNG."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..errors import SneError
from ..interchange.compare import NetworkComparison
from .style import BLUE, GREY, ORANGE, new_figure, save_figure


def draw_rasters(found: NetworkComparison, title: str, path: Path) -> Path:
    """Draw the first sample's spikes: the network's on the left, the integers' on the right, those that only one of
    them has in another colour. Returns the path.

    Raises `SneError` where nothing spikes, matplotlib is missing, or the file cannot be written.
    """
    if not found.rasters:
        raise SneError("no population of the network spikes", "there are no rasters to draw; leave --plot out")
    count = len(found.rasters)
    figure, grid = new_figure((9, 1 + 2.2 * count), count, 2, sharex=True, sharey="row")
    from matplotlib.ticker import MaxNLocator

    for row, (name, sides) in zip(grid, found.rasters.items(), strict=True):
        for axes, mine, other in zip(row, sides, sides[::-1], strict=True):
            for which, colour in ((mine & other, BLUE), (mine & ~other, ORANGE)):
                step, neuron = np.nonzero(which)
                axes.scatter(step, neuron, s=9, marker="|", color=colour, linewidths=1.4)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_xlim(-0.5, len(mine) - 0.5)
            axes.set_ylim(-0.5, mine.shape[1] - 0.5)
            axes.grid(False)
        row[0].set_ylabel(f"{name}\nneuron", color=GREY)
    grid[0, 0].set_title("network")
    grid[0, 1].set_title("integers")
    for axes in grid[-1]:
        axes.set_xlabel("timestep", color=GREY)
    figure.suptitle(f"{title}: spikes of one sample; orange ones only one side has")
    return save_figure(figure, path)
