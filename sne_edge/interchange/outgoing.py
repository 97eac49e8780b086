"""What no other framework's file says yet: a model that has it is refused, and never exported as something else."""

from __future__ import annotations

import msgspec

from ..errors import SneError
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Graph


def check_outgoing(ensemble: QuantEnsemble, form: str) -> None:
    """Raise `SneError` for a model with a window, a rejection, or outputs that are numbers; `form`: NIR or ONNX."""
    windows = [
        student.graph.decoder.window if isinstance(student.graph, Graph) else student.readout.neuron.window
        for student in ensemble.students
    ]
    if any(isinstance(window, int) for window in windows):
        what, hint = "a window", "export the model that it was made of, or one with a leak (--decode-leak)"
    elif ensemble.rejection is not msgspec.UNSET:
        what, hint = "a rejection", "export the model without it: calibrate it anew without --unknown"
    elif ensemble.regression:
        what, hint = "outputs that are numbers", "run its C, or quantise it as a classification of as many classes"
    else:
        return
    raise SneError(f"{ensemble.name} has {what}, which {form} files of this package do not hold", hint)
