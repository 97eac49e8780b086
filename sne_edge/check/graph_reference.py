"""The integer reference of a graph, in PyTorch: what its numbers must be, timestep by timestep.

All is int64, wherever it is told to compute.
"""

from __future__ import annotations

from collections import deque

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..ir.encoder import Encoder
from ..ir.ensemble import QuantEnsemble
from ..ir.graph import Alpha, Graph, Leak, Population, Projection, grid
from ..ir.graph_proof import analog
from ..ir.layers import MaxPool
from .synapses import current_of, pooled, work_of
from .trace import Fired, Read, StudentTrace, Watch


def run_graph(
    ensemble: QuantEnsemble,
    number: int,
    inputs: np.ndarray,
    timesteps: int,
    watch: Watch | None = None,
    shown: Fired | None = None,
    *,
    encoder: Encoder,
    read: Read | None = None,
    where: str = "cpu",
) -> StudentTrace:
    """Run a student that is a graph on `inputs`, uint8 [N, input_bytes].

    Of the trace, `readout` are the decoder's totals, and `membranes` every population's membranes, then its currents
    where it has some, both charged. `watch` is shown no input, since a population has several; `shown`, spikes.
    `encoder`: how the inputs are to be read; `where`: a torch device's name.
    """
    student, count = ensemble.students[number], len(inputs)
    graph = student.graph
    assert isinstance(graph, Graph)
    direct = encoder.kind == "direct"
    raster = values = None  # [T, N, ...], a direct input's [N, ...]
    if encoder.multiplies:
        values = torch.from_numpy(encoder.analog(inputs).astype(np.int64)).to(where)
        values = values if direct else values.transpose(0, 1)
    else:
        raster = torch.from_numpy(encoder.spikes(inputs).astype(np.int64)).to(where)
    ops = torch.zeros((count, len(graph.populations)), dtype=torch.int64, device=where)
    macs = torch.zeros(count, dtype=torch.int64, device=where)
    cells = []
    for n, population in enumerate(graph.populations):
        constant = torch.zeros((count, *population.shape), dtype=torch.int64, device=where)
        for projection in population.projections:
            if direct and analog(projection, encoder):
                assert values is not None
                current, work = _bring(projection, values, values != 0)
                constant += current.reshape(constant.shape)
                ops[:, n] += work
                macs += work
        cells.append(_Cells(population, constant))
    history: list[deque[Tensor]] = [deque(maxlen=depth) for depth in _memory(graph)]
    output = _Output(graph, count, where)
    spikes = torch.zeros((count, len(graph.populations)), dtype=torch.int64, device=where)
    for t in range(timesteps):
        if raster is not None:
            history[0].appendleft(raster[t])
        for n, population in enumerate(graph.populations):
            current = torch.zeros((count, *population.shape), dtype=torch.int64, device=where)
            for projection in population.projections:
                if values is not None and not direct and analog(projection, encoder):
                    brought, work = _bring(projection, values[t], values[t] != 0)
                    current += brought.reshape(current.shape)
                    ops[:, n] += work
                    macs += work
                # What this timestep's spikes of a later population, or its own, will be is not there yet.
                back = projection.delay - (projection.source >= n)
                if t >= projection.delay and not analog(projection, encoder):
                    came = history[projection.source + 1][back]
                    brought, work = _bring(projection, came, came)
                    current += brought.reshape(current.shape)
                    ops[:, n] += work
            fired = cells[n].step(current)
            history[n + 1].appendleft(fired)
            spikes[:, n] += fired.sum(dim=(1, 2, 3))
            if shown is not None and population.neuron.spikes:
                shown(t, n, fired)
            if watch is not None:
                watch(t, n, None, cells[n].settled)
        output.step(fired.flatten(1), cells[-1].settled.flatten(1), t, ensemble.encoder)
        if read is not None:
            read(t, output.totals)
    firing = [n for n, population in enumerate(graph.populations) if population.neuron.spikes]
    readout = output.totals.cpu().numpy()
    return StudentTrace(
        readout=readout,
        part=student.bias.astype(np.int64) + student.gain.astype(np.int64) * readout,
        spikes=spikes[:, firing].cpu().numpy(),
        membranes=tuple(state.flatten(1).cpu().numpy() for cell in cells for state in cell.states),
        layer_ops=ops.cpu().numpy(),
        synaptic_ops=(ops.sum(dim=1) - macs).cpu().numpy(),
        macs=macs.cpu().numpy(),
        neuron_updates=timesteps * student.neurons,
    )


class _Output:
    """A decoder's totals, int64 [N, classes]; `Decoder` has the equations."""

    def __init__(self, graph: Graph, count: int, where: str) -> None:
        self.decoder = graph.decoder
        self.totals = torch.zeros((count, graph.classes), dtype=torch.int64, device=where)
        window = graph.decoder.window
        self.recent = deque[Tensor](maxlen=window) if isinstance(window, int) else None

    def step(self, spikes: Tensor, membranes: Tensor, t: int, encoder: Encoder) -> None:
        """Take what the last population made of timestep `t`, int64 [N, classes]."""
        decoder = self.decoder
        brought = spikes if decoder.kind == "count" else membranes
        if decoder.kind == "first":
            self.totals = torch.where(self.totals == 0, spikes * max(0, encoder.timesteps - t), self.totals)
        elif self.recent is not None:
            self.recent.append(brought)
            self.totals = torch.stack(list(self.recent)).sum(dim=0)
        elif decoder.sums:
            leak = Leak(decoder.leak.kind, np.array([decoder.leak.value], np.int32))
            totals = _leaked(leak, self.totals) + brought
            self.totals = totals if decoder.clamp is None else totals.clamp(*decoder.clamp)
        else:
            self.totals = torch.maximum(self.totals, membranes) if decoder.take == "highest" and t else membranes


def _memory(graph: Graph) -> list[int]:
    """For how many timesteps the spikes of the input, then of each population, are still wanted."""
    depths = [1] * (1 + len(graph.populations))
    for population in graph.populations:
        for projection in population.projections:
            depths[projection.source + 1] = max(depths[projection.source + 1], projection.delay + 1)
    return depths


def _bring(projection: Projection, x: Tensor, met: Tensor) -> tuple[Tensor, Tensor]:
    """The current of spikes or values `x` of the source, and the work it takes, int64 [N]; `met`: how often each place
    meets its weights."""
    current, meetings = (_pooled(projection, map_) for map_ in (x, met))
    layer = projection.synapses
    current, work = current_of(layer, current), work_of(layer, meetings)
    return (_largest(projection.largest, current) if isinstance(projection.largest, MaxPool) else current), work


def _pooled(projection: Projection, x: Tensor) -> Tensor:
    x = x.reshape(len(x), *projection.in_shape)
    for pool in projection.pools:
        x = pooled(pool, x)
    return x


def _largest(pool: MaxPool, current: Tensor) -> Tensor:
    """The largest current of each window, of those within the map."""
    lowest = torch.iinfo(torch.int64).min
    (top, left), chw = pool.padding, current.permute(0, 3, 1, 2)
    chw = functional.pad(chw, (left, left, top, top), value=lowest)
    windows = chw.unfold(2, pool.kernel[0], pool.stride[0]).unfold(3, pool.kernel[1], pool.stride[1])
    return windows.amax(dim=(-2, -1)).permute(0, 2, 3, 1)


def _leaked(leak: Leak, v: Tensor) -> Tensor:
    if leak.kind == "shift":
        return v - (v >> int(leak.value[0]))
    return (v * _spread(leak.value, v) >> 15) if leak.kind == "q15" else v


def _faded(leak: Leak, i: Tensor) -> Tensor:
    most = i.abs()
    if leak.kind == "shift":
        shift = int(leak.value[0])
        most = most - (most + 2**shift - 1 >> shift)
    if leak.kind == "q15":
        most = most * _spread(leak.value, i) >> 15
    return i.sign() * most


def _spread(values: np.ndarray, like: Tensor) -> Tensor:
    """Parameters as they meet states [N, height, width, channels]."""
    wide = torch.from_numpy(grid(values, like.shape[-1])).to(like.device)
    return wide.reshape(like.shape[1:]) if wide.numel() == like[0].numel() and wide.numel() > 1 else wide.reshape(-1)


class _Cells:
    """The neurons of one population, over a batch; `Cell` has the equations."""

    def __init__(self, population: Population, constant: Tensor) -> None:
        self.neuron = population.neuron
        self.constant = constant + _spread(population.bias, constant)
        self.v = torch.zeros_like(constant)
        self.current: Tensor | None = None
        self.threshold: Tensor | None = None
        if isinstance(population.threshold, np.ndarray):
            self.threshold = _spread(population.threshold, constant)
        if isinstance(self.neuron.current_leak, Leak):
            self.current = self.constant
        else:
            self.v = self.constant
        self.settled = torch.zeros_like(self.v)
        self.fired = torch.zeros_like(self.v)

    @property
    def states(self) -> tuple[Tensor, ...]:
        return (self.v,) if self.current is None else (self.v, self.current)

    def step(self, arriving: Tensor) -> Tensor:
        """One timestep, then charge; returns the spikes, 0 or 1."""
        neuron = self.neuron
        if isinstance(neuron.alpha, Alpha):
            return self._step_alpha(neuron.alpha, arriving)
        if isinstance(neuron.current_leak, Leak):
            assert self.current is not None
            arriving = self.current + arriving
            self.current = _faded(neuron.current_leak, arriving) + self.constant
        v = self.v + arriving
        if neuron.reset == "refractory":
            v = v * (1 - self.fired)
        fired = torch.zeros_like(v)
        if self.threshold is not None:
            over = self.settled > self.threshold if neuron.reset == "doubled" else torch.zeros_like(v, dtype=torch.bool)
            fired = (v > self.threshold * (1 + over.to(torch.int64))).to(torch.int64)
        if not neuron.reset_delay:
            v = self._reset(v, fired)
        self.settled = v if neuron.clamp is None else v.clamp(*neuron.clamp)
        v = self.settled
        if neuron.reset_delay and neuron.reset in ("zero", "refractory"):
            v = v * (1 - fired)
        v = _leaked(neuron.leak, v)
        if neuron.reset_delay and neuron.reset == "subtract":
            v = self._reset(v, fired)
        self.v = v if self.current is not None else v + self.constant
        self.fired = fired
        return fired

    def _step_alpha(self, alpha: Alpha, arriving: Tensor) -> Tensor:
        neuron, kept = self.neuron, 1 - self.fired
        assert self.current is not None and isinstance(neuron.current_leak, Leak)
        v, i = self.v, self.current + arriving
        h = i - v
        if neuron.reset == "refractory":
            v, i, h = v * kept, i * kept, h * kept
        if neuron.reset == "subtract":
            h = h * kept
        fired = torch.zeros_like(v) if self.threshold is None else (v > self.threshold).to(torch.int64)
        self.settled = v
        self.current, self.v = _faded(neuron.current_leak, i), _faded(neuron.current_leak, i) - _faded(neuron.leak, h)
        if neuron.reset == "refractory":
            self.current, self.v = self.current * (1 - fired), self.v * (1 - fired)
        if neuron.reset == "subtract":
            self.v = self.v - fired * _faded(alpha.share, h)
            self.current = self.current - fired * _spread(alpha.drop, h)
        self.current = self.current + self.constant
        self.fired = fired
        return fired

    def _reset(self, v: Tensor, fired: Tensor) -> Tensor:
        if self.neuron.reset == "none" or self.threshold is None:
            return v
        subtracts = self.neuron.reset in ("subtract", "doubled")
        return v - fired * self.threshold if subtracts else v * (1 - fired)
