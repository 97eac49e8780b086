"""The host build against other engines: the same networks at the same batch size, on one thread, in one run.

Prints inferences per second of CPU time, for a batch of one and of 1,024, and how many times as many the host build
makes; no test, for it depends on the computer. All get the quantised weights as floats and no gradients, a direct
input's current is computed once, and measurements take turns, of which the best counts. snnTorch (whose modules
torch.compile cannot trace) and a hand-written matrix product over all timesteps with a loop over the neurons, compiled
or not, reset in the models' own order; so do SpikingJelly and sinabs, where they are installed, but Norse's neurons
reset to zero. None of them floors, so that some labels differ.
"""

from __future__ import annotations

import importlib
import math
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
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

BATCHES = (1, 1024)
ROUNDS = 5
SECONDS = 0.3  # of CPU time, for each measurement of a round
SAMPLES = 1024
WIDTH = 120
Logits = Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Engine:
    """One of the engines: `run` takes a batch, from sample `first` on. `best`: seconds of CPU time a sample, by batch
    size. `failed`: why it could not run."""

    name: str
    run: Callable[[int, int], Any]
    labels: Callable[[], np.ndarray]
    best: dict[int, float]
    failed: str = ""


def main() -> int:
    """Measure and print."""
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    table = Table(title="Inferences per second of CPU time, one thread", title_justify="left")
    for heading in ("network", "engine", "batch of 1", "of 1,024", "ratio, 1", "ratio, 1,024", "same label"):
        table.add_column(heading, justify="left" if heading in ("network", "engine") else "right")
    for name, ensemble, inputs in (dense(), shipped("mnist1d")):
        mine, *others = engines(ensemble, inputs)
        for _ in range(ROUNDS):
            for engine in (mine, *others):
                measure(engine)
        label = mine.labels()
        for engine in (mine, *others):
            table.add_row(name if engine is mine else "", engine.name, *row(engine, mine, label))
        table.add_section()
    Console(width=None if sys.stdout.isatty() else WIDTH).print(table)
    return 0


def row(engine: Engine, mine: Engine, label: np.ndarray) -> list[str]:
    """What the table says of an engine."""
    if engine.failed:
        return [engine.failed]
    rates = [f"{1 / engine.best[batch]:,.0f}" for batch in BATCHES]
    if engine is mine:
        return rates
    ratios = [f"{engine.best[batch] / mine.best[batch]:.1f}" for batch in BATCHES]
    return [*rates, *ratios, f"{np.mean(engine.labels() == label):.0%}"]


def measure(engine: Engine) -> None:
    """One round; batches of one are other samples each time."""
    for batch in BATCHES:
        end, first = time.process_time() + SECONDS, 0
        calls = 16 if batch == 1 else 1  # between two looks at the clock
        while not engine.failed and time.process_time() < end:
            start = time.process_time()
            try:
                for _ in range(calls):
                    engine.run(first, batch)
                    first = (first + batch) % SAMPLES
            except Exception as error:  # a compiler that is missing or fails
                engine.failed = f"{type(error).__name__}"
                break
            took = (time.process_time() - start) / (calls * batch)
            engine.best[batch] = min(engine.best.get(batch, math.inf), took)


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


def engines(ensemble: QuantEnsemble, inputs: np.ndarray) -> Iterator[Engine]:
    """The host build, then the others."""
    model, policy = HostModel(ensemble), ActivationPolicy("all")

    def run(first: int, batch: int) -> Any:
        return model.run(inputs[first : first + batch], policy, threads=1)

    yield Engine("host build", run, lambda: run(0, SAMPLES).label, {})
    network = Network(ensemble)
    values = network.values(inputs)
    yield of_torch("snnTorch", network, values)
    if ensemble.encoder.kind != "events":
        return
    product = Product(ensemble)
    yield of_torch("torch, matrix product", product, values)
    yield of_torch("the same, torch.compile", torch.compile(product.__call__), values)
    for name, module, make in (
        ("SpikingJelly", "spikingjelly.activation_based.neuron", spikingjelly_neurons),
        ("sinabs", "sinabs.layers", sinabs_neurons),
        ("Norse", "norse.torch.functional.lif_box", norse_neurons),
    ):
        try:
            neurons = make(importlib.import_module(module), product.beta)
        except ImportError:
            continue
        yield of_torch(name, Product(ensemble, neurons), values)


def of_torch(name: str, logits: Logits, values: torch.Tensor) -> Engine:
    """An engine that takes floats."""

    def run(first: int, batch: int) -> torch.Tensor:
        with torch.inference_mode():
            return logits(values[first : first + batch])

    return Engine(name, run, lambda: run(0, SAMPLES).argmax(1).numpy(), {})


class Product:
    """A network of one hidden layer on events: its currents of all timesteps are one matrix product, and so are the
    readout's, whose leak is a weight of each timestep.

    `neurons`: from currents [N, timesteps, hidden], in thresholds, to spikes; by default a loop.
    """

    def __init__(self, ensemble: QuantEnsemble, neurons: Logits | None = None) -> None:
        student = ensemble.students[0]
        hidden, readout = student.layers
        self.beta, leak = (1 - 2.0**-layer.neuron.decay.value for layer in (hidden, readout))
        self.weight = torch.from_numpy(hidden.weight / hidden.threshold[:, None]).float().T.contiguous()
        self.bias = torch.from_numpy(hidden.bias / hidden.threshold).float()
        self.out = torch.from_numpy(readout.weight).float().T.contiguous()
        timesteps = ensemble.encoder.timesteps
        self.kept = leak ** torch.arange(timesteps - 1, -1, -1).float()
        self.offset = torch.from_numpy(readout.bias).float() * self.kept.sum()
        self.neurons = neurons or self._neurons

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """Logits [N, classes] of [N, timesteps, 1, 1, inputs] or the like."""
        spikes = self.neurons(values.flatten(2) @ self.weight + self.bias)
        kept: torch.Tensor = torch.einsum("nth,t->nh", spikes, self.kept) @ self.out + self.offset
        return kept

    def _neurons(self, currents: torch.Tensor) -> torch.Tensor:
        membrane, spikes = torch.zeros_like(currents[:, 0]), []
        for current in currents.unbind(1):
            membrane = membrane * self.beta + current
            spikes.append((membrane > 1).float())
            membrane = membrane - spikes[-1]
        return torch.stack(spikes, 1)


def spikingjelly_neurons(module: Any, beta: float) -> Logits:
    """SpikingJelly's, through all timesteps at once."""
    node = module.LIFNode(tau=1 / (1 - beta), decay_input=False, v_threshold=1.0, v_reset=None, step_mode="m").eval()

    def spikes(currents: torch.Tensor) -> torch.Tensor:
        node.reset()
        return node(currents.transpose(0, 1)).transpose(0, 1)

    return spikes


def sinabs_neurons(module: Any, beta: float) -> Logits:
    """sinabs', likewise; one spike a timestep at most."""
    activation = importlib.import_module("sinabs.activation")
    layer = module.LIF(tau_mem=-1 / math.log(beta), norm_input=False, spike_fn=activation.SingleSpike).eval()

    def spikes(currents: torch.Tensor) -> torch.Tensor:
        layer.reset_states()
        return layer(currents)

    return spikes


def norse_neurons(module: Any, beta: float) -> Logits:
    """Norse's simplest with a leak, timestep by timestep; they take a current's part of the membrane's step."""
    parameters = module.LIFBoxParameters(tau_mem_inv=torch.tensor(1 - beta), v_th=torch.tensor(1.0))

    def spikes(currents: torch.Tensor) -> torch.Tensor:
        state, all_spikes = module.LIFBoxFeedForwardState(v=torch.zeros_like(currents[:, 0])), []
        for current in currents.unbind(1):
            fired, state = module.lif_box_feed_forward_step(current / (1 - beta), state, parameters, dt=1.0)
            all_spikes.append(fired)
        return torch.stack(all_spikes, 1)

    return spikes


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
            delay = layer.neuron.reset_delay
            self.neurons.append(snntorch.Leaky(beta, reset_mechanism=reset, reset_delay=delay))
        self.gain, self.bias = torch.tensor(student.gain).float(), torch.tensor(student.bias).float()

    def __call__(self, values: torch.Tensor, steps: Sequence[torch.Tensor] | None, timesteps: int) -> torch.Tensor:
        """This student's part of the logits, [N, classes]."""
        constant = None if steps else self.synapses[0](values)
        membranes = [torch.zeros(1) for _ in self.neurons]  # they take the current's shape
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
