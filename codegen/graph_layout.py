"""How a graph lies in a microcontroller's memory, and with which kernel each of its projections is brought.

In: a graph. Out: places in bytes. A graph keeps all states and runs timestep by timestep, so there is nothing to fold:
kept states, work that lasts as they do (time, rings of spikes, constant currents, totals), and scratch.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sne_edge.codegen.sizes import Kernel, kept_entries, listed_rows, words

from sne_edge.ir.encoder import Encoder
from sne_edge.ir.graph import Graph, Population, Projection
from sne_edge.ir.graph_proof import analog, projection_range
from sne_edge.ir.layers import AvgPool, Conv, Depthwise, Linear, MaxPool, size
from sne_edge.ir.limits import UINT16, padded
from sne_edge.ir.neuron import Bound

GraphKernel = Kernel | Literal["mac"]


@dataclass(frozen=True)
class ProjectionPlan:
    """How one projection is brought. `stride` of a position's currents; `capacity` of its list of rows, in words;
    `pooled_words` of each map of pooled spikes; `current_bytes` of the map of currents that its maximum looks at, of
    `current_width` bits."""

    kernel: GraphKernel
    stride: int
    capacity: int
    pooled_words: int
    current_width: int
    current_bytes: int


@dataclass(frozen=True)
class Ring:
    """The last `length` maps, of `words` each, of one source's spikes, at word `place` of the work."""

    place: int
    words: int
    length: int


@dataclass(frozen=True)
class GraphLayout:
    """Memory of one graph, in bytes but for `rings`.

    membranes, currents   by population, from the start of all kept states (a current that there is not: 0)
    drives                by population, in the work; 0 where biases alone charge
    rings                 the input's, then by population
    maps, unpooled, settled   in the scratch: two maps of pooled spikes, of `map_bytes` each; currents before a maximum;
                          settled membranes (0: the decoder does not look at them)
    kept, work, scratch   in all; `first`: of the kept states; `stream`: place of the work in a stream's
    live                  bytes that must exist at once
    plans                 by population and projection
    """

    membranes: list[int]
    currents: list[int]
    drives: list[int]
    totals: int
    rings: list[Ring]
    maps: int
    unpooled: int
    settled: int
    map_bytes: int
    first: int
    kept: int
    work: int
    scratch: int
    stream: int
    live: int
    plans: list[list[ProjectionPlan]]

    @property
    def bytes(self) -> int:
        return self.kept + self.work + self.scratch

    def population_bytes(self, number: int, p: Population) -> int:
        """What one population keeps: its states, its spikes, its constant currents."""
        places = p.positions * padded(p.channels)
        ring = self.rings[number + 1]
        widths = p.width + p.current_width + (target_width(p) if self.drives[number] else 0)
        return places * widths // 8 + 4 * ring.words * ring.length


def has_values(population: Population, encoder: Encoder) -> bool:
    """Does a direct input's constant current flow into it?"""
    return encoder.kind == "direct" and any(analog(projection, encoder) for projection in population.projections)


def target_width(population: Population) -> int:
    """Bits of what a timestep's currents are added to."""
    return population.current_width or population.width


def spread(pools: tuple[AvgPool | MaxPool, ...]) -> tuple[AvgPool, ...]:
    """The average poolings, which kernels see through."""
    return tuple(pool for pool in pools if isinstance(pool, AvgPool))


def brought_width(graph: Graph) -> int:
    """Bits in which a decoder's window remembers what a timestep brought a class: 1 of a spike, or a membrane's."""
    return 1 if graph.decoder.kind == "count" else graph.populations[-1].width


def window_bytes(graph: Graph) -> int:
    """What a decoder's window remembers, with the place of the oldest; 0 without a window."""
    if not isinstance(graph.decoder.window, int):
        return 0
    return 4 + 4 * words(graph.classes * brought_width(graph)) * graph.decoder.window


def plan_projection(projection: Projection, population: Population, encoder: Encoder) -> ProjectionPlan:
    """Choose the kernel of a projection, and what it needs."""
    layer, pools = projection.synapses, spread(projection.pools)
    values = analog(projection, encoder)
    kernel: Kernel = "gather" if values else _kernel(layer, pools)
    channels = padded(population.channels)
    stride = channels * population.positions if projection.op == "linear" else channels
    maxima = [pool for pool in projection.pools if isinstance(pool, MaxPool)]
    width = current_bytes = 0
    if isinstance(projection.largest, MaxPool):
        low, high = projection_range(projection, encoder, population.channels)
        width = Bound(int(low.min()), int(high.max())).width
        current_bytes = layer.out_shape[0] * layer.out_shape[1] * channels * width // 8
    return ProjectionPlan(
        kernel="mac" if values else kernel,
        stride=stride,
        capacity=_capacity(layer, kernel, pools),
        pooled_words=max((words(size(pool.out_shape)) for pool in maxima), default=0),
        current_width=width,
        current_bytes=current_bytes,
    )


def _capacity(layer: Linear | Conv, kernel: Kernel, pools: tuple[AvgPool, ...]) -> int:
    """Words of a kernel's list of rows."""
    return listed_rows(layer, kernel) + kept_entries(layer, kernel, pools)


def _kernel(layer: Linear | Conv, pools: tuple[AvgPool, ...]) -> Kernel:
    """The kernel that brings spikes, as `layout.choose_kernel` chooses it for layers without a measured cost."""
    if isinstance(layer, Linear):
        return "collect" if pools else "gather"
    if isinstance(layer, Depthwise):
        return "depthwise"
    if pools:
        meets = any(pool.kernel[1] > pool.stride[1] for pool in pools)
        return "overlap" if meets or _capacity(layer, "scatter", pools) > UINT16 else "scatter"
    overlaps = layer.kernel[1] > layer.stride[1] and layer.out_shape[0] > 1
    return "sweep" if overlaps and _capacity(layer, "sweep", pools) <= UINT16 else "gather"


def plan_graph(graph: Graph, encoder: Encoder, first: int, stream: int) -> GraphLayout:
    """Place a graph's memory; `first` bytes are kept for students before it, and `stream` of their work."""
    plans = [[plan_projection(q, p, encoder) for q in p.projections] for p in graph.populations]
    kept, membranes, currents = first, [], []
    for p in graph.populations:
        places = p.positions * padded(p.channels)
        membranes.append(kept)
        kept += places * p.width // 8
        currents.append(kept if p.current_width else 0)
        kept += places * p.current_width // 8
    lengths = [int(not encoder.multiplies)] + [int(p.neuron.spikes) for p in graph.populations]
    for p in graph.populations:
        for projection in p.projections:
            if not analog(projection, encoder):
                lengths[projection.source + 1] = max(lengths[projection.source + 1], projection.delay + 1)
    for number, p in enumerate(graph.populations, start=1):
        if p.neuron.remembers:
            lengths[number] = max(lengths[number], 2)
    sizes = [encoder.size, *(p.neurons for p in graph.populations)]
    work = 4 * (1 + len(lengths))
    rings = []
    doubled = [False, *(p.neuron.reset == "doubled" for p in graph.populations)]
    for length, count, twice in zip(lengths, sizes, doubled, strict=True):
        rings.append(Ring(work // 4, words(count) * (1 + twice), length))
        work += 4 * rings[-1].words * length
    drives = []
    for p in graph.populations:
        drives.append(work if has_values(p, encoder) else 0)
        work += p.positions * padded(p.channels) * target_width(p) // 8 if drives[-1] else 0
    totals = work
    work += 4 * graph.classes + window_bytes(graph)
    every = [plan for population in plans for plan in population]
    maps = 4 * max(1, max((plan.capacity for plan in every), default=0))
    map_bytes = 4 * max((plan.pooled_words for plan in every), default=0)
    unpooled = maps + 2 * map_bytes
    settled = unpooled + max((plan.current_bytes for plan in every), default=0)
    sees = graph.decoder.sees_membranes
    packed = sum(n * -(-count // 8) * (1 + twice) for n, count, twice in zip(lengths, sizes, doubled, strict=True))
    busiest = max((4 * (q.capacity + 2 * q.pooled_words) + q.current_bytes for q in every), default=0)
    lasting = work + packed - 4 * sum(ring.words * ring.length for ring in rings)
    return GraphLayout(
        membranes=membranes,
        currents=currents,
        drives=drives,
        totals=totals,
        rings=rings,
        maps=maps,
        unpooled=unpooled,
        settled=settled if sees else 0,
        map_bytes=map_bytes,
        first=first,
        kept=kept - first,
        work=work,
        scratch=settled + (4 * graph.classes if sees else 0),
        stream=stream,
        live=kept - first + lasting + max(busiest, 4 * graph.classes if sees else 0),
        plans=plans,
    )


def source_shape(projection: Projection, layer: Linear | Conv) -> tuple[int, int, int]:
    """The map whose spikes the weights take: before the average poolings, after the maxima."""
    pools = spread(projection.pools)
    return pools[0].in_shape if pools else layer.in_shape
