"""A model made ready for a stream without end: readouts that forget, and golden vectors of theirs."""

from __future__ import annotations

import warnings

import msgspec
import numpy as np

from ..check.reference import run
from ..deploy.engine import HostEngine
from ..deploy.host import HostModel
from ..errors import SneWarning
from ..ir.ensemble import QuantEnsemble
from ..quantize.calibrate import golden_vectors
from ..quantize.streams import with_memory


def for_stream(ensemble: QuantEnsemble, *, window: int | None = None, leak: float | None = None) -> QuantEnsemble:
    """A model of raw events or frames whose readouts add up the last `window` timesteps, or keep the share `leak` of
    what they hold from timestep to timestep, instead of adding up for ever: a label and a margin at every timestep.

    A window as long as an inference changes no result of one. Margins keep their worth; early stops and a rejection are
    left out, for `sne-edge calibrate` to make anew. Raises `SneError` where neither or both are given, where inputs are
    no stream, where a decoder makes no sum (the first spike, say), and where no C compiler is installed.
    """
    made = with_memory(ensemble, window=window, leak=leak)
    if not len(ensemble.vectors.inputs):
        return made
    vectors = golden_vectors(HostEngine(HostModel(made)), ensemble.vectors.inputs, ensemble.vectors.labels)
    return msgspec.structs.replace(made, vectors=vectors)


def remembering(
    made: QuantEnsemble, whole: QuantEnsemble, inputs: np.ndarray, labels: np.ndarray, warn_below: float
) -> QuantEnsemble:
    """What `for_stream` made of `whole`, its provenance told of whole samples: the accuracy of now, and the share of
    labels that stay the same (`memory`). Warns (`SneWarning`) of less than `warn_below`.

    inputs as the device takes them, labels int [N].
    """
    before, after = (run(model, inputs).decisions.label for model in (whole, made))
    kept = float((before == after).mean())
    accuracy = whole.provenance["accuracy"] | {"integer": float((after == labels).mean())}
    if kept < warn_below:
        warnings.warn(
            f"with this memory {kept:.2%} of the labels of whole samples are what they were without",
            SneWarning,
            stacklevel=2,
        )
    provenance = made.provenance | {"accuracy": accuracy, "memory": {"labels_kept": kept}}
    return msgspec.structs.replace(made, provenance=provenance)
