"""The host build against snnTorch: the same networks, on one thread, in one run.

Prints inferences per second of CPU time of both, and their ratio; no test, for it depends on the computer. snnTorch
gets the quantised weights as floats, no gradients, and its best batch size; a direct input's current is computed once,
as in the host build. Its neurons reset one timestep later than the models' own and do not floor, so some labels differ.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import networks
import numpy as np
import snntorch
import torch
from rich.console import Console
from rich.table import Table

from sne_edge.deploy.host import HostModel
from sne_edge.ir import artifact
from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.layers import Conv
from sne_edge.ir.policy import ActivationPolicy
from sne_edge.ir.student import QuantStudent

BATCHES = (1, 8, 32, 128, 256, 1024)
SECONDS = 1.0  # for each measurement
SAMPLES = 1024
WIDTH = 120


def main() -> int:
    """Measure and print."""
    torch.set_num_threads(1)
    table = Table(title="Inferences per second of CPU time, one thread", title_justify="left")
    for heading in (
        "network",
        "host build",
        "snnTorch, batch 1",
        "snnTorch, best",
        "its batch",
        "ratio, 1",
        "ratio, best",
        "same label",
    ):
        table.add_column(heading, justify="left" if heading == "network" else "right")
    for name, ensemble, inputs in (dense(), shipped("mnist1d")):
        mine, label = host_rate(ensemble, inputs)
        network = Network(ensemble)
        values = network.values(inputs)
        rates = {batch: rate(partial(network, values[:batch]), batch) for batch in BATCHES}
        best = max(rates, key=lambda batch: rates[batch])
        with torch.inference_mode():
            same = np.mean(network(values).argmax(1).numpy() == label)
        table.add_row(
            name,
            *(f"{number:,.0f}" for number in (mine, rates[1], rates[best], best)),
            f"{mine / rates[1]:.0f}",
            f"{mine / rates[best]:.1f}",
            f"{same:.0%}",
        )
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    return 0


def dense() -> tuple[str, QuantEnsemble, np.ndarray]:
    """784-128-10, T = 10, 10 % of inputs spiking."""
    ensemble = networks.classifier(128, 10, 10)
    rasters = [networks.raster(networks.CLASSIFIER, networks.spread(784, 10), seed) for seed in range(SAMPLES)]
    return "784-128-10, T = 10, 10 %", ensemble, np.stack([np.frombuffer(raster, np.uint8) for raster in rasters])


def shipped(name: str) -> tuple[str, QuantEnsemble, np.ndarray]:
    """A model of the zoo, all students; its golden inputs over and over."""
    ensemble = artifact.load(artifact.find(name))
    inputs = np.resize(ensemble.vectors.inputs, (SAMPLES, ensemble.encoder.input_bytes))
    return f"{name}, T = {ensemble.encoder.timesteps}, {len(ensemble.students)} students", ensemble, inputs


def host_rate(ensemble: QuantEnsemble, inputs: np.ndarray) -> tuple[float, np.ndarray]:
    """Inferences per second, and the labels."""
    model, policy = HostModel(ensemble), ActivationPolicy("all")
    label = model.run(inputs, policy, threads=1).label
    return rate(lambda: model.run(inputs, policy, threads=1), len(inputs)), label


def rate(run: Callable[[], Any], samples: int) -> float:
    """Samples per second of CPU time, the best of the calls that fit in `SECONDS` (at least three)."""
    best, end, calls = math.inf, time.process_time() + SECONDS, 0
    with torch.inference_mode():
        run()
        while calls < 3 or time.process_time() < end:
            start = time.process_time()
            run()
            best = min(best, time.process_time() - start)
            calls += 1
    return samples / best


class Network:
    """An ensemble in snnTorch; thresholds are 1, and weights in their units. For direct inputs and events."""

    def __init__(self, ensemble: QuantEnsemble) -> None:
        self.encoder = ensemble.encoder
        self.bias = torch.tensor(ensemble.bias).float()
        self.students = [Student(student) for student in ensemble.students]

    def values(self, inputs: np.ndarray) -> torch.Tensor:
        """Encoded inputs, uint8 [N, input_bytes], as floats: [N, C, H, W], or of events [N, timesteps, C, H, W]."""
        height, width, channels = self.encoder.shape
        if self.encoder.kind == "events":
            bits = np.unpackbits(inputs.reshape(len(inputs), self.encoder.timesteps, -1), axis=2, bitorder="little")
            values = bits[:, :, : self.encoder.size].reshape(-1, self.encoder.timesteps, height, width, channels)
        else:
            values = inputs.view(np.int8).reshape(-1, height, width, channels)
        return torch.from_numpy(np.moveaxis(values, -1, -3).astype(np.float32))

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes]."""
        steps = values.unbind(1) if self.encoder.kind == "events" else None
        parts = [student(values, steps, self.encoder.timesteps) for student in self.students]
        return self.bias + torch.stack(parts).sum(0)


class Student:
    """One student: its synapses and neurons in turn."""

    def __init__(self, student: QuantStudent) -> None:
        self.synapses: list[Any] = []
        self.neurons: list[Any] = []
        for layer in student.layers:
            last = layer is student.layers[-1]
            unit = np.ones_like(layer.threshold, np.float32) if last else layer.threshold.astype(np.float32)
            self.synapses.append(synapse(layer, unit))
            decay = layer.neuron.decay
            beta = {"none": 1.0, "shift": 1 - 2.0**-decay.value, "q15": decay.value / 32768}[decay.kind]
            reset = "none" if last else {"subtract": "subtract", "zero": "zero"}[layer.neuron.reset]
            self.neurons.append(snntorch.Leaky(beta, reset_mechanism=reset))
        self.gain, self.bias = torch.tensor(student.gain).float(), torch.tensor(student.bias).float()

    def __call__(self, values: torch.Tensor, steps: Sequence[torch.Tensor] | None, timesteps: int) -> torch.Tensor:
        """This student's part of the logits, [N, classes]."""
        constant = None if steps else self.synapses[0](values)
        membranes = [neuron.reset_mem() for neuron in self.neurons]
        for t in range(timesteps):
            spikes = steps[t] if steps else values
            for i, (apply, neuron) in enumerate(zip(self.synapses, self.neurons, strict=True)):
                current = constant if i == 0 and constant is not None else apply(spikes)
                spikes, membranes[i] = neuron(current, membranes[i])
        return self.gain * membranes[-1] + self.bias


def synapse(layer: Any, unit: np.ndarray) -> Callable[[torch.Tensor], torch.Tensor]:
    """A layer's currents, in multiples of `unit` [channels]: of spikes [N, C, H, W]."""
    bias = torch.from_numpy(layer.bias / unit).float()
    if isinstance(layer, Conv):
        weight = torch.from_numpy(layer.weight / unit[:, None, None, None]).float()
        stride, padding = layer.stride, layer.padding
        return lambda spikes: torch.nn.functional.conv2d(spikes, weight, bias, stride, padding)
    height, width, channels = layer.in_shape
    inputs = (layer.weight / unit[:, None]).reshape(-1, height, width, channels)
    flat = torch.from_numpy(np.moveaxis(inputs, -1, 1).reshape(len(inputs), -1)).float()
    return lambda spikes: torch.nn.functional.linear(spikes.flatten(1), flat, bias)


if __name__ == "__main__":
    sys.exit(main())
