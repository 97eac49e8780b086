"""From learnt to integers: weights and thresholds, measured costs, calibrated policies."""

from ..moved import attributes

__getattr__ = attributes(__name__, "quantize.quantize", "interchange.torch", "interchange.inputs")
