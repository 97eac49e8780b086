"""A device that all code takes for a GPU, and that computes here."""

from __future__ import annotations

from sne_edge.learn.device import Device


class Elsewhere(Device):
    """The processor, of which nothing may be read where it lies."""

    @property
    def host(self) -> bool:
        return False
