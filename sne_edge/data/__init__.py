"""Samples and labels: data sets by name, files, folders of images, and ways to spoil them."""

from ..moved import attributes

__getattr__ = attributes(__name__, "data.dataset")
