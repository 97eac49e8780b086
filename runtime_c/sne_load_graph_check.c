/* What a blob's graph says of itself, held against what sne_graph.h relies on: tables within the blob, maps and states within the
 * state and apart, and no sum of 32 bits that could run over. */
#include "sne_load_graph.h"

enum { MOST_POOLS = 16 };

/* A graph while it is checked: words taken of its states and its work, in order, and what its scratch must hold. */
typedef struct {
    sne_checked *c;
    const sne_blob_graph *graph;
    const sne_ring *rings;
    uint64_t kept, work;
    uint64_t list, currents;
    uint64_t projections, pools;
} graph_check;

/* Take `n` words from place `place` on, behind what was taken, of `room`. */
static int take(uint64_t *taken, uint32_t place, uint64_t n, uint64_t room)
{
    if (place < *taken || place > room || n > room - place) {
        return 0;
    }
    *taken = place + n;
    return 1;
}

/* Does a map of so many words lie in a ring? */
static int holds(const sne_ring *ring, uint64_t words)
{
    return ring->length != 0 && words <= ring->words;
}

static int is_q15(uint32_t factor)
{
    return factor <= 0x7fffu;
}

static int rings_fit(graph_check *g)
{
    const sne_blob *const head = g->c->head;
    const int spikes = head->encoder == SNE_BLOB_RATE || head->encoder == SNE_BLOB_EVENTS;
    uint32_t i;
    g->work = (uint64_t)g->graph->n_populations + 2u;
    for (i = 0; i <= g->graph->n_populations; i++) {
        const sne_ring *const ring = g->rings + i;
        if (!take(&g->work, ring->place, (uint64_t)ring->words * ring->length, g->graph->work_words)) {
            return 0;
        }
    }
    return spikes ? holds(g->rings, sne_words(head->n_inputs)) : g->rings->length == 0;
}

static int largest_fits(const sne_largest *p)
{
    return (p->width == 16u || p->width == 32u) &&
           sne_windows_fit(p->in_height, p->out_height, p->kernel_height, p->stride_height, p->padding_height) &&
           sne_windows_fit(p->in_width, p->out_width, p->kernel_width, p->stride_width, p->padding_width);
}

/* A projection's source, poolings in between, and what its scratch must hold. `value`: it takes an input's. */
static sne_status source_fits(graph_check *g, const sne_blob_projection *q, int value)
{
    const sne_checked *const c = g->c;
    const sne_blob_synapses *const pools = (const sne_blob_synapses *)(const void *)(c->blob + q->pools);
    const sne_ring *source;
    uint64_t words; /* of the map that comes next */
    uint32_t i;
    if (value) {
        const uint64_t inputs = (uint64_t)q->synapses.in_height * q->synapses.in_width * q->synapses.in_channels;
        return q->n_pools == 0 && inputs == c->head->n_inputs ? SNE_OK : SNE_E_TABLES;
    }
    if (q->ring > g->graph->n_populations || q->n_pools > MOST_POOLS ||
        (q->n_pools && !sne_lies(c, q->pools, q->n_pools * sizeof(sne_blob_synapses)))) {
        return SNE_E_TABLES;
    }
    source = g->rings + q->ring;
    if (q->delay >= source->length) {
        return SNE_E_PLACES;
    }
    words = source->words;
    for (i = 0; i < q->n_pools; i++) {
        const uint32_t channels = pools[i].in_channels;
        if (!sne_synapses_fit(c, pools + i, SNE_MAXPOOL, channels, channels)) {
            return SNE_E_TABLES;
        }
        if (sne_in_words(pools + i) > words ||
            sne_words_of((uint64_t)pools[i].out_height * pools[i].out_width * channels) > g->graph->map_words) {
            return SNE_E_PLACES;
        }
        words = g->graph->map_words;
    }
    return sne_in_words(&q->synapses) <= words ? SNE_OK : SNE_E_PLACES;
}

/* A projection into currents of `width` bits of population `p`; adds to `added` what it brings at most. */
static sne_status check_projection(graph_check *g, const sne_blob_population *p, const sne_blob_projection *q, int value,
                                   uint32_t width, uint64_t *added)
{
    const sne_checked *const c = g->c;
    const uint64_t target = (uint64_t)p->positions * p->stride;
    const uint64_t brought = (uint64_t)q->synapses.out_height * q->synapses.out_width * q->stride;
    const sne_largest *const largest = (const sne_largest *)(const void *)(c->blob + q->largest);
    uint32_t brings = width;
    uint64_t most;
    sne_status status;
    if (!sne_find_bring(c->kernels->graphs, q->kind)) {
        return SNE_E_KERNELS;
    }
    if ((SNE_KIND_KERNEL(q->kind) == SNE_MAC) != value || q->stride == 0 || q->stride > 0xffffu || (q->stride & 3u) != 0 ||
        !sne_synapses_fit(c, &q->synapses, q->kind, p->channels, q->stride)) {
        return SNE_E_TABLES;
    }
    if (q->largest) {
        if (!sne_lies(c, q->largest, sizeof(sne_largest)) || !largest_fits(largest) ||
            (uint64_t)largest->in_height * largest->in_width * q->stride != brought ||
            (uint64_t)largest->out_height * largest->out_width * q->stride != target) {
            return SNE_E_TABLES;
        }
        brings = largest->width;
        most = brought * brings / 32u;
        g->currents = most > g->currents ? most : g->currents;
    } else if (brought != target) {
        return SNE_E_TABLES;
    }
    if ((SNE_KIND_WIDE(q->kind) ? 32u : 16u) != brings) {
        return SNE_E_TABLES;
    }
    status = source_fits(g, q, value);
    g->list = q->synapses.capacity > g->list ? q->synapses.capacity : g->list;
    g->projections++;
    g->pools += q->n_pools;
    most = sne_most_added(c, &q->synapses, q->kind, value);
    *added += most;
    return status == SNE_OK && most > SNE_MOST_SUM && !c->kernels->wraps ? SNE_E_SUMS : status;
}

/* Does a table of `bytes` an entry lie in the blob, of `stride` entries, or as many a position where `each`? */
static int table_lies(const sne_checked *c, const sne_blob_population *p, uint32_t offset, uint32_t each, uint32_t bytes)
{
    return sne_lies(c, offset, (uint64_t)(each ? p->positions : 1u) * p->stride * bytes);
}

static uint32_t entries(const sne_blob_population *p, uint32_t each)
{
    return (each ? (uint32_t)p->positions : 1u) * p->stride;
}

/* The slowest of a table of leaks, or the one that all have; more than q15 where there is no such table. */
static uint32_t slowest(const sne_checked *c, const sne_blob_population *p, uint32_t table, uint32_t each, uint32_t one)
{
    uint32_t most = 0, i;
    if (!table) {
        return one;
    }
    if (!table_lies(c, p, table, each, 2)) {
        return 0x8000u;
    }
    for (i = 0; i < entries(p, each); i++) {
        most = sne_halves_at(c, table)[i] > most ? sne_halves_at(c, table)[i] : most;
    }
    return most;
}

static int32_t number_at(const sne_checked *c, uint32_t table, uint32_t i, uint32_t width)
{
    return width == 32u ? sne_words_at(c, table)[i] : (int16_t)sne_halves_at(c, table)[i];
}

static uint64_t largest_of(const sne_checked *c, uint32_t table, uint32_t n, uint32_t width)
{
    uint64_t most = 0;
    uint32_t i;
    for (i = 0; i < n; i++) {
        const uint64_t size = sne_size_of(number_at(c, table, i, width));
        most = size > most ? size : most;
    }
    return most;
}

/* How far from 0 a population's membranes get, of whose currents a timestep adds `added` at most; UINT64_MAX where sums might not
 * fit. */
static uint64_t reached_by(const sne_checked *c, const sne_blob_population *p, uint64_t added, uint32_t leak, uint32_t current_leak)
{
    const uint64_t steps = sne_steps(c), low = sne_size_of(p->clamp_low), high = sne_size_of(p->clamp_high);
    const uint32_t decay = p->leak ? (uint32_t)SNE_DECAY_Q15 : SNE_KIND_DECAY(p->kind);
    const uint32_t fading = p->current_leak ? (uint32_t)SNE_DECAY_Q15 : SNE_FIRE_CURRENT_DECAY(p->kind);
    const uint32_t factor = decay == SNE_DECAY_SHIFT ? SNE_KIND_SHIFT(p->kind) : leak;
    const uint32_t faded = fading == SNE_DECAY_SHIFT ? SNE_FIRE_CURRENT_SHIFT(p->kind) : current_leak;
    const int narrow = SNE_FIRE_CURRENT(p->kind) == 1u, wide = (int)SNE_KIND_WIDE(p->kind);
    const uint64_t clamp = SNE_KIND_CLAMP(p->kind) ? (low > high ? low : high) + 1u : 0u;
    uint64_t current = added, reached;
    if (SNE_FIRE_CURRENT(p->kind)) {
        if (SNE_FIRE_ALPHA(p->kind)) {
            added += largest_of(c, p->drop, entries(p, p->each_drop), 32);
        }
        current = sne_reach(added, fading, faded, steps, 0);
        if (!narrow && current > (SNE_FIRE_ALPHA(p->kind) ? SNE_MOST_STATE : SNE_MOST_SUM)) {
            return UINT64_MAX;
        }
        current = narrow && current > 0x8000u ? 0x8000u : current;
    }
    if (SNE_FIRE_ALPHA(p->kind)) { /* the difference of two such currents, one of which may get three times as far in a reset */
        reached = sne_reach(added + (narrow ? 0x10000u : 0u), decay, factor, steps, 0);
        reached = reached > SNE_MOST_STATE ? UINT64_MAX / 2u : current + 4u * reached;
    } else {
        reached = sne_reach(current, decay, factor, steps, clamp);
    }
    if (!wide) {
        return reached > 0x8000u ? 0x8000u : reached;
    }
    return reached > (SNE_FIRE_ALPHA(p->kind) ? SNE_MOST_STATE : SNE_MOST_SUM) ? UINT64_MAX : reached;
}

/* A population; `reached`: how far from 0 its membranes get at most. */
static sne_status check_population(graph_check *g, const sne_blob_population *p, const sne_ring *ring, uint64_t *reached)
{
    sne_checked *const c = g->c;
    const uint32_t width = SNE_KIND_WIDE(p->kind) ? 32u : 16u, current = 16u * SNE_FIRE_CURRENT(p->kind);
    const uint32_t target = current ? current : width, reset = SNE_FIRE_RESET(p->kind);
    const uint64_t places = (uint64_t)p->positions * p->stride, neurons = (uint64_t)p->positions * p->channels;
    const int direct = c->head->encoder == SNE_BLOB_DIRECT, spiking = (int)SNE_FIRE_SPIKING(p->kind);
    const int marks = spiking || reset == SNE_REFRACTORY || reset == SNE_DOUBLED ||
                      (SNE_FIRE_ALPHA(p->kind) && reset != SNE_NO_RESET);
    const uint64_t maps = sne_words_of(neurons) * (reset == SNE_DOUBLED ? 2u : 1u);
    const sne_blob_projection *q;
    uint32_t leak, current_leak, i;
    uint64_t added;
    if (!sne_find_fire(c->kernels->graphs, p->kind)) {
        return SNE_E_KERNELS;
    }
    if (p->channels == 0 || p->positions == 0 || p->stride != ((p->channels + 3u) & ~3u) || places > SNE_MOST_INPUTS ||
        p->clamp_low > 0 || p->clamp_high < 0 || p->spikes < -1 || p->spikes >= (int32_t)c->head->n_spike_layers || !is_q15(p->decay) || !is_q15(p->current_decay) ||
        (SNE_FIRE_PLAIN(p->kind) && (p->each_threshold || p->leak)) || p->n_values > p->n_projections ||
        SNE_FIRE_EACH(p->kind) != (uint32_t)(p->drive != 0 || p->each_bias) || (p->drive && !direct) ||
        (p->n_values && !direct && c->head->encoder != SNE_BLOB_FRAMES) || (p->n_values && direct && !p->drive) ||
        (spiking && !table_lies(c, p, p->threshold, p->each_threshold, width / 8u)) ||
        !table_lies(c, p, p->bias, p->each_bias, target / 8u) ||
        (SNE_FIRE_ALPHA(p->kind) && (!current || !table_lies(c, p, p->share, p->each_share, 2) ||
                                     !table_lies(c, p, p->drop, p->each_drop, 4))) ||
        (p->n_projections && !sne_lies(c, p->projections, p->n_projections * sizeof(sne_blob_projection)))) {
        return SNE_E_TABLES;
    }
    for (i = 0; spiking && i < entries(p, p->each_threshold); i++) {
        if (number_at(c, p->threshold, i, width) < 1) {
            return SNE_E_TABLES;
        }
    }
    leak = slowest(c, p, p->leak, p->each_leak, p->decay);
    current_leak = slowest(c, p, p->current_leak, p->each_current_leak, p->current_decay);
    if (!is_q15(leak) || !is_q15(current_leak)) {
        return SNE_E_TABLES;
    }
    if (!take(&g->kept, p->membranes, places * width / 32u, g->graph->kept_words) ||
        (current && !take(&g->kept, p->currents, places * current / 32u, g->graph->kept_words)) ||
        (p->drive && !take(&g->work, p->drive, places * target / 32u, g->graph->work_words)) ||
        (marks && !holds(ring, maps))) {
        return SNE_E_PLACES;
    }
    added = largest_of(c, p->bias, entries(p, p->each_bias), target) + 1u;
    q = (const sne_blob_projection *)(const void *)(c->blob + p->projections);
    for (i = 0; i < p->n_projections; i++) {
        const sne_status status = check_projection(g, p, q + i, i < p->n_values, target, &added);
        if (status != SNE_OK) {
            return status;
        }
    }
    *reached = reached_by(c, p, added, leak, current_leak);
    return *reached == UINT64_MAX && !c->kernels->wraps ? SNE_E_SUMS : SNE_OK;
}

/* The decoder, which sees the last population; `membranes`: how far from 0 its membranes get; `totals`: how far the decoder's. */
static sne_status check_decoder(graph_check *g, const sne_blob_population *last, uint64_t membranes, uint64_t *totals)
{
    const sne_checked *const c = g->c;
    const sne_blob_graph *const graph = g->graph;
    const uint32_t classes = c->head->n_classes, kind = graph->decoder;
    const uint64_t low = sne_size_of(graph->low), high = sne_size_of(graph->high);
    const uint64_t clamp = graph->clamp ? (low > high ? low : high) + 1u : 0u;
    const uint64_t slot = sne_words_of((uint64_t)classes * (kind == SNE_DECODE_COUNT ? 1u : graph->width));
    const int sums = kind == SNE_DECODE_COUNT || kind == SNE_DECODE_MEAN;
    uint64_t once = kind == SNE_DECODE_COUNT ? 1u : membranes;
    if (kind > SNE_DECODE_MEAN || graph->low > 0 || graph->high < 0 || graph->decay > SNE_DECAY_Q15 || graph->value < 0 ||
        (graph->decay == SNE_DECAY_SHIFT && graph->value > 31) || !is_q15((uint32_t)graph->value) ||
        (uint64_t)last->positions * last->channels != classes || (kind >= SNE_DECODE_FINAL && SNE_FIRE_PLAIN(last->kind)) ||
        (graph->window && (!sums || graph->window > 0xffffu || (graph->width != 16u && graph->width != 32u && kind != SNE_DECODE_COUNT)))) {
        return SNE_E_TABLES;
    }
    if ((kind <= SNE_DECODE_FIRST && !holds(g->rings + graph->n_populations, sne_words(classes))) ||
        !take(&g->work, graph->totals, classes + (graph->window ? 1u + slot * graph->window : 0u), graph->work_words)) {
        return SNE_E_PLACES;
    }
    if (kind == SNE_DECODE_FIRST) {
        *totals = c->head->timesteps;
    } else if (graph->window) {
        *totals = once * graph->window;
    } else if (sums) {
        *totals = sne_reach(once, graph->decay, (uint32_t)graph->value, sne_steps(c), clamp);
    } else {
        *totals = membranes;
    }
    return *totals > SNE_MOST_SUM && !c->kernels->wraps ? SNE_E_SUMS : SNE_OK;
}

/* Has the scratch all its parts? */
static int scratch_fits(const graph_check *g)
{
    const sne_blob_graph *const graph = g->graph;
    uint64_t taken = g->list;
    if (!take(&taken, graph->maps, 2u * (uint64_t)graph->map_words, graph->scratch_words) ||
        !take(&taken, graph->currents, g->currents, graph->scratch_words)) {
        return 0;
    }
    return graph->decoder < SNE_DECODE_FINAL
               ? graph->settled == 0
               : graph->settled != 0 && take(&taken, graph->settled, g->c->head->n_classes, graph->scratch_words);
}

sne_status sne_check_graph(sne_checked *c, const sne_blob_student *student, uint64_t *logit)
{
    const sne_blob_graph *const graph = (const sne_blob_graph *)(const void *)(c->blob + student->graph);
    const sne_blob_population *p;
    const sne_blob_stream *const stream = c->stream;
    graph_check g;
    uint64_t reached = 0, totals = 0, largest = 0, bytes;
    uint32_t i, n;
    sne_status status;
    if (!sne_lies(c, student->graph, sizeof *graph) || student->n_stages || graph->n_populations == 0 ||
        !sne_lies(c, graph->populations, (uint64_t)graph->n_populations * sizeof *p) ||
        !sne_lies(c, graph->rings, ((uint64_t)graph->n_populations + 1u) * sizeof(sne_ring))) {
        return SNE_E_TABLES;
    }
    n = graph->n_populations;
    p = (const sne_blob_population *)(const void *)(c->blob + graph->populations);
    g.c = c;
    g.graph = graph;
    g.rings = (const sne_ring *)(const void *)(c->blob + graph->rings);
    g.kept = g.list = g.currents = g.projections = g.pools = 0;
    if ((uint64_t)graph->kept_words + graph->work_words + graph->scratch_words > c->arena ||
        !take(&c->kept, graph->first, graph->kept_words, c->head->kept_words) || !rings_fit(&g) ||
        (stream && (graph->scratch_words > stream->rows || !take(&c->graphs, graph->work, graph->work_words, stream->graphs)))) {
        return SNE_E_PLACES;
    }
    for (i = 0; i < n; i++) {
        status = check_population(&g, p + i, g.rings + 1u + i, &reached);
        if (status != SNE_OK) {
            return status;
        }
    }
    status = check_decoder(&g, p + (n - 1u), reached, &totals);
    if (status != SNE_OK) {
        return status;
    }
    if (!scratch_fits(&g)) {
        return SNE_E_PLACES;
    }
    for (i = 0; i < c->head->n_classes; i++) {
        const uint64_t most = sne_size_of(sne_words_at(c, student->gain)[i]) * totals + sne_size_of(sne_words_at(c, student->bias)[i]);
        largest = most > largest ? most : largest;
    }
    *logit += largest;
    bytes = sizeof(sne_made_graph) + n * (sizeof(sne_population) + sizeof(sne_loaded_cells)) +
            g.projections * (sizeof(sne_projection) + sizeof(sne_synapses)) + g.pools * sizeof(sne_pooling) + sizeof(void *);
    c->made = bytes > c->made ? bytes : c->made;
    c->stream_made += bytes;
    return SNE_OK;
}
