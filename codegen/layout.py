"""How a model lies in a microcontroller's memory: packed weights, lookup tables, the state and its plan.

In: parts of a `QuantEnsemble`. Out: plain Python numbers and lists in the order in which the C runtime reads them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from sne_edge.codegen.graph_layout import GraphLayout, plan_graph
from sne_edge.codegen.sizes import Kernel, kept_entries, listed_rows, words

from sne_edge.ir.ensemble import QuantEnsemble
from sne_edge.ir.graph import Graph
from sne_edge.ir.graph_proof import endless
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Linear, SynapticLayer, size
from sne_edge.ir.limits import MAX_PAIRS, UINT16, axis_pairs, padded, remembered
from sne_edge.ir.student import QuantStudent

# Where fewer inputs than this share spike in a timestep, a convolution takes them one by one. Measured with a 3 x 3
# kernel and 32 channels, sweeping and scattering cost the same at 4.1 % (Cortex-M3, M55) and 6.1 % (M4), with 16 or 64
# channels at 2.2 % or more; Cortex-M0 has no kernel of its own for this, and would rather sweep from 1.5 % on.
SCATTER_BELOW = 0.025
SCATTER_BELOW_OTHERWISE = 0.01  # where some other core has none either: `scatters_well`
Pairs = list[list[tuple[int, int]]]


def window_axis(length: int, kernel: int, stride: int, padding: int) -> Pairs:
    """For each output position of one axis, the (input position, tap) pairs within the input."""
    outputs = (length + 2 * padding - kernel) // stride + 1
    inside = [range(max(0, padding - o * stride), min(kernel, length + padding - o * stride)) for o in range(outputs)]
    return [[(o * stride + tap - padding, tap) for tap in inside[o]] for o in range(outputs)]


def through_pool(pairs: Pairs, pool: AvgPool, axis: int) -> Pairs:
    """The same pairs seen from before an average pooling: each spike of its window counts as one of the output's."""
    below = window_axis(pool.in_shape[axis], pool.kernel[axis], pool.stride[axis], pool.padding[axis])
    return [[(source, tap) for position, tap in row for source, _ in below[position]] for row in pairs]


def from_inputs(pairs: Pairs, length: int) -> Pairs:
    """The same pairs by input position: for each of `length`, its (output position, tap) pairs."""
    inverse: Pairs = [[] for _ in range(length)]
    for output, row in enumerate(pairs):
        for position, tap in row:
            inverse[position].append((output, tap))
    return inverse


def pack_linear(layer: Linear) -> np.ndarray:
    """int8 [inputs, padded outputs]: one spike reads one row."""
    return _padded_rows(layer.weight.T)


def pack_conv(layer: Conv) -> np.ndarray:
    """int8 [kernel height, kernel width, input channels that an output sees, padded output channels]."""
    return _padded_rows(layer.weight.transpose(2, 3, 1, 0))


def pack_nibbles(rows: np.ndarray) -> np.ndarray:
    """Rows of 4-bit weights, int8 [..., padded outputs], two to a byte: uint8 [..., bytes of a row].

    sne_nibbles.h says in which order.
    """
    fill = -rows.shape[-1] % 8
    stored = (np.pad(rows, [(0, 0)] * (rows.ndim - 1) + [(0, fill)]) + 8).astype(np.uint8)
    words = stored.reshape(*rows.shape[:-1], -1, 8)[..., [0, 2, 1, 3, 4, 6, 5, 7]]
    packed = words[..., :4] | words[..., 4:] << 4
    return np.ascontiguousarray(packed.reshape(*rows.shape[:-1], -1))


def pack_pairs(rows: np.ndarray) -> np.ndarray:
    """int8 [pairs of inputs, padded outputs / 4, 2, 4] of [..., padded outputs]: multiplied inputs come in twos."""
    inputs = rows.reshape(-1, rows.shape[-1])
    even: np.ndarray = np.pad(inputs, ((0, len(inputs) % 2), (0, 0)))
    pairs: np.ndarray = even.reshape(-1, 2, rows.shape[-1] // 4, 4).transpose(0, 2, 1, 3)
    return pairs


def pack_blocks(rows: np.ndarray) -> np.ndarray:
    """int8 [padded outputs / 4, kernel rows, pairs, 2, 4] of [kernel rows, values of one, padded outputs].

    Pairs of values are in the order of sne_convolve.h: of four, the first and third, and the second and fourth.
    """
    height, run, outputs = rows.shape
    pairs = -(-run // 2)
    values = [4 * (pair // 2) + pair % 2 + 2 * second for pair in range(pairs) for second in range(2)]
    if run % 4 in (1, 2):
        values[-2:] = [run - run % 4, run - run % 4 + 1]
    even: np.ndarray = np.pad(rows, ((0, 0), (0, 4), (0, 0)))[:, values]
    blocks: np.ndarray = even.reshape(height, pairs, 2, outputs // 4, 4).transpose(3, 0, 1, 2, 4)
    return blocks


def convolves(layer: SynapticLayer) -> bool:
    """Does a direct input's layer multiply windows side by side (sne_convolve.h)?

    Rows of neurons must not be filled up: two positions' are taken as those of one. Two windows must fit where values
    are listed otherwise. And SNE_D8 takes 1 from weights beside negative ones.
    """
    if not isinstance(layer, Conv) or layer.out_shape[1] == 1 or layer.channels % 4 or 2 * layer.channels > UINT16:
        return False
    rows = pack_conv(layer)
    borrows = (rows[..., 0::2] < 0) & (rows[..., 1::2] == np.iinfo(np.int8).min)
    run = layer.kernel[1] * layer.in_shape[2]
    return layer.kernel[0] * (run + run % 2) <= listed_rows(layer, "convolve") and not borrows.any()


def pack_outputs(rows: np.ndarray) -> np.ndarray:
    """int8 [padded outputs, inputs, filled up to vectors of 16] of [..., padded outputs]: for dot products."""
    outputs = rows.reshape(-1, rows.shape[-1]).T
    return np.pad(outputs, ((0, 0), (0, -outputs.shape[1] % 16)))


def _padded_rows(weight: np.ndarray) -> np.ndarray:
    rows: np.ndarray = np.zeros((*weight.shape[:-1], padded(weight.shape[-1])), weight.dtype)
    rows[..., : weight.shape[-1]] = weight
    return rows


def divider(divisor: int, count: int) -> tuple[int, int]:
    """(multiplier, shift) with (i * multiplier) >> shift == i // divisor for all 0 <= i < count in 32 bits.

    Multiplier 0 where there is none: the runtime then divides. Most cores here divide slowly or not at all.
    """
    i = np.arange(count, dtype=np.uint64)
    for shift in range(25):
        multiplier = -(-(1 << shift) // divisor)
        if (count - 1) * multiplier < 2**32 and ((i * np.uint64(multiplier)) >> np.uint64(shift) == i // divisor).all():
            return multiplier, shift
    return 0, 0


@dataclass(frozen=True)
class Stage:
    """One layer's part of the plan: what it reads and where its memory lies, in bytes from the start of the arena.

    source    the layer whose spikes it takes (None: the input), past any average poolings
    pools     the average poolings in between
    kernel    how it meets its spikes
    tile      positions whose membranes exist at one time
    incoming, outgoing, membranes, current, rows   places (of something empty, any)
    capacity  entries of `rows`: `listed` rows of weights, after what else its kernel keeps there
    listed    rows of weights that are added at once at most
    below, above   bytes that it needs at the arena's start and at its end
    live      bytes that must exist at once while it runs, however they were placed
    kept      place of all its membranes, from the first layer's, where they are kept (streaming)
    """

    layer: int
    source: int | None
    pools: tuple[AvgPool, ...]
    kernel: Kernel
    tile: int
    incoming: int
    outgoing: int
    membranes: int
    current: int
    rows: int
    capacity: int
    listed: int
    below: int
    above: int
    live: int
    kept: int


@dataclass(frozen=True)
class EarlyLayout:
    """Where a student that may end early runs timestep by timestep: bytes from the start of the arena.

    maps, rows, kept   places of two maps of spikes, of rows, and of the membranes of all layers taken in steps
    map_bytes          of one of the maps
    first              `Stage.kept` of the first of these layers
    words              of one timestep's spikes that it takes
    whole_updates      neurons of a direct input's layer, which runs through all timesteps at once
    """

    maps: int
    rows: int
    kept: int
    map_bytes: int
    first: int
    words: int
    whole_updates: int


@dataclass(frozen=True)
class StateLayout:
    """The memory of a model. All in bytes.

    head         logits and spike counts, with which every state starts
    arena        what the students' layers share, one after the other
    lower_bound  of head and arena: the least that these layers need at once
    kept         all membranes of all students (streaming)
    step         spikes in, two maps of spikes and rows of one timestep (streaming)
    stages       by student
    early        by student, where the model's own policy may end them early (a graph: none, it runs in steps anyway)
    graphs       by student; none for a chain
    windows      by student, the place of what its readout's window remembers; None where it has none
    remembered   of all of these (streaming)
    """

    head: int
    arena: int
    lower_bound: int
    kept: int
    step: tuple[int, int, int]
    stages: list[list[Stage]]
    early: list[EarlyLayout | None]
    graphs: list[GraphLayout | None]
    windows: list[int | None]
    remembered: int

    @property
    def bytes(self) -> int:
        """Of the state of buffered inference."""
        return self.head + self.arena

    @property
    def graph_work(self) -> int:
        """Of all graphs' work, which a stream keeps."""
        return sum(graph.work for graph in self.graphs if graph is not None)

    @property
    def stream_bytes(self) -> int:
        """Of the state of streaming."""
        return (
            self.head + self.kept + self.graph_work + self.remembered + self.step[0] + 2 * self.step[1] + self.step[2]
        )


def state_layout(ensemble: QuantEnsemble) -> StateLayout:
    """Place every array of the state; the C compiler checks the total.

    Layers run one after the other, each through all timesteps, so that only the spikes on both sides of a layer and
    the membranes of one tile exist. Spikes lie at the two ends of the arena in turn, the rest beside the lower ones:
    the arena is exactly as large as its hungriest layer.
    """
    head = 4 * (len(ensemble.classes) + max(1, len(ensemble.spike_layers)))
    drafts, kept, ends = [], 0, []
    graphs: list[GraphLayout | None] = []
    for student in ensemble.students:
        graph, stages = None, list[Stage]()
        if isinstance(student.graph, Graph):
            graph = plan_graph(student.graph, ensemble.encoder, kept, sum(g.work for g in graphs if g is not None))
            kept += graph.kept
        else:
            stages, kept = _draft(ensemble, student, kept)
        graphs.append(graph)
        drafts.append(stages)
        ends.append(kept)
    stages = [stage for draft in drafts for stage in draft]
    present = [graph for graph in graphs if graph is not None]
    arena = max([stage.below + stage.above for stage in stages] + [graph.bytes for graph in present])
    step = (
        0 if ensemble.encoder.kind == "frames" else 4 * words(ensemble.encoder.size),
        max([4 * words(size(s.layers[n].out_shape)) for s, n in _firing(ensemble)] + [4 for _ in present], default=0),
        max([4 * stage.capacity for stage in stages] + [graph.scratch for graph in present]),
    )
    live = max([stage.live for stage in stages] + [graph.live for graph in present])
    early: list[EarlyLayout | None] = []
    if ensemble.policy.early:
        for student, draft, end in zip(ensemble.students, drafts, ends, strict=True):
            if not draft:
                early.append(None)
                continue
            place, needed, least = _early(ensemble, student, draft, end)
            early.append(place)
            arena, live = max(arena, needed), max(live, least)
    settled = [[_settled(s, arena) for s in draft] for draft in drafts]
    windows, total = [], 0
    for student in ensemble.students:
        length = remembered(student.readout) if student.layers else 0
        windows.append(total if length else None)
        total += 4 + 4 * words(length * student.classes * student.readout.width) if length else 0
    return StateLayout(head, arena, head + live, kept, step, settled, early, graphs, windows, total)


def streams(ensemble: QuantEnsemble) -> bool:
    """Can the model take a live stream, without end?"""
    if ensemble.encoder.kind != "frames":
        return ensemble.encoder.streams
    return all(isinstance(s.graph, Graph) and endless(s.graph, ensemble.encoder) for s in ensemble.students)


def _early(
    ensemble: QuantEnsemble, student: QuantStudent, stages: list[Stage], end: int
) -> tuple[EarlyLayout, int, int]:
    """A student's layout for steps; the bytes of arena that it needs; the least that must exist at once.

    All timesteps of the input's spikes (of a direct input: of the first layer's) stay where they are for running layer
    by layer: at the arena's start (direct: at its end). Steps have what lies beside them.
    """
    encoder, first = ensemble.encoder, student.layers[0]
    direct = encoder.kind == "direct"
    steps = stages[1:] if direct else stages
    bits = size(first.out_shape) if direct else encoder.size
    buffered = 0 if encoder.kind == "events" else 4 * words(bits) * encoder.timesteps
    outputs = [0 if stage is steps[-1] else size(student.layers[stage.layer].out_shape) for stage in steps]
    map_bytes, rows_bytes = max(4 * words(n) for n in outputs), max(4 * stage.capacity for stage in steps)
    maps = 0 if direct else buffered
    rows = maps + 2 * map_bytes
    kept = rows + rows_bytes
    membranes = end - steps[0].kept
    updates = first.neurons if direct and isinstance(first, SynapticLayer) else 0
    place = EarlyLayout(maps, rows, kept, map_bytes, steps[0].kept, words(bits), updates)
    sides = [-(-a // 8) + -(-b // 8) for a, b in zip([0, *outputs], outputs, strict=False)]
    moving = max(side + 4 * stage.capacity for side, stage in zip(sides, steps, strict=True))
    least = (0 if encoder.kind == "events" else encoder.timesteps * -(-bits // 8)) + membranes + moving
    return place, kept + membranes + (buffered if direct else 0), least


def _firing(ensemble: QuantEnsemble) -> list[tuple[QuantStudent, int]]:
    """Every layer whose spikes are stored: all but average poolings and readouts."""
    return [
        (student, number)
        for student in ensemble.students
        for number, layer in enumerate(student.layers[:-1])
        if not isinstance(layer, AvgPool)
    ]


def _draft(ensemble: QuantEnsemble, student: QuantStudent, kept: int) -> tuple[list[Stage], int]:
    """The stages of a student; upper spikes are placed as if the arena ended at 0. `kept`: bytes kept so far."""
    encoder, stages = ensemble.encoder, []
    source: int | None = None
    pools: tuple[AvgPool, ...] = ()
    bits_in = encoder.size if encoder.kind == "rate" else 0
    low = True  # where the incoming spikes lie
    for number, layer in enumerate(student.layers):
        if isinstance(layer, AvgPool):
            pools += (layer,)
            continue
        bits_out = size(layer.out_shape) if number + 1 < len(student.layers) else 0
        bytes_in, bytes_out = (4 * words(n) * encoder.timesteps for n in (bits_in, bits_out))
        spikes_below, spikes_above = (bytes_in, bytes_out) if low else (bytes_out, bytes_in)
        kernel: Kernel = "gather"
        tile = block = drive = capacity = listed = kept_here = 0
        if isinstance(layer, SynapticLayer):
            direct = number == 0 and encoder.kind == "direct"
            if direct:
                kernel = "convolve" if convolves(layer) else "gather"
            else:
                kernel = choose_kernel(student, number, pools, encoder.timesteps)
            tile = layer.out_shape[1]
            if kernel in ("gather", "collect", "convolve"):
                tile = 2 if kernel == "convolve" else 1
            membrane_bytes = padded(layer.channels) * layer.width // 8
            block = tile * membrane_bytes
            shifted = 4 * padded(layer.channels) if layer.current_shift else 0
            drive = block + shifted if direct else 0
            if kernel == "convolve":  # two positions' sums, or their currents and one's sums
                drive = max(8 * padded(layer.channels), block + shifted)
            listed = listed_rows(layer, kernel)
            capacity = listed + kept_entries(layer, kernel, pools)
            kept_here = layer.out_shape[0] * layer.out_shape[1] * membrane_bytes
        working = block + drive + 4 * capacity
        stages.append(
            Stage(
                layer=number,
                source=source,
                pools=pools,
                kernel=kernel,
                tile=tile,
                incoming=0 if low else -bytes_in,
                outgoing=-bytes_out if low else 0,
                membranes=spikes_below,
                current=spikes_below + block,
                rows=spikes_below + block + drive,
                capacity=capacity,
                listed=listed,
                below=spikes_below + working,
                above=spikes_above,
                live=encoder.timesteps * (-(-bits_in // 8) + -(-bits_out // 8)) + working,
                kept=kept,
            )
        )
        kept += kept_here
        source, pools, bits_in, low = number, (), bits_out, not low
    return stages, kept


def _settled(stage: Stage, arena: int) -> Stage:
    """The stage with its upper spikes at the end of the arena."""
    return replace(
        stage,
        incoming=stage.incoming + arena if stage.incoming < 0 else stage.incoming,
        outgoing=stage.outgoing + arena if stage.outgoing < 0 else stage.outgoing,
    )


def choose_kernel(student: QuantStudent, number: int, pools: tuple[AvgPool, ...], timesteps: int) -> Kernel:
    """Which kernel a layer gets: see sne_kernels.h."""
    layer = student.layers[number]
    assert isinstance(layer, SynapticLayer)

    def fits(kernel: Kernel) -> bool:  # uint16_t sne_synapses.capacity
        return listed_rows(layer, kernel) + kept_entries(layer, kernel, pools) <= UINT16

    if isinstance(layer, Linear):
        return "collect" if pools else "gather"
    if isinstance(layer, Depthwise):
        return "depthwise"
    if pools:
        meets = any(pool.kernel[1] > pool.stride[1] for pool in pools)
        return "overlap" if meets or not fits("scatter") else "scatter"
    if layer.out_shape[:2] == (1, 1):
        return "gather"
    assert isinstance(layer, Conv)
    worst = int(layer.fan_out().sum()) * timesteps
    below = SCATTER_BELOW if scatters_well(layer) else SCATTER_BELOW_OTHERWISE
    few = bool(student.layer_ops) and student.layer_ops[number] < below * worst
    if few and fits("scatter") and max(axis_pairs(layer, (), axis) for axis in (0, 1)) <= MAX_PAIRS:
        return "scatter"
    overlaps = layer.kernel[1] > layer.stride[1] and layer.out_shape[0] > 1
    return "sweep" if overlaps and fits("sweep") else "gather"


def scatters_well(layer: Conv) -> bool:
    """Has every core but the M0 assembler for scattering this layer? See sne_accumulate.h, and sne_fire_thumb2.h."""
    neuron = layer.neuron
    lanes = layer.bits == 8 and layer.width == 16 and padded(layer.channels) % 16 == 0
    leaks = neuron.decay.kind == "none" or (neuron.decay.kind == "shift" and neuron.decay.value < 8)
    return lanes and leaks and neuron.clamp is None and not neuron.reset_delay
