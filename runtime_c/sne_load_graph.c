/* Graphs of a loaded model: populations and projections are made of the blob's once an inference, or once a stream, in the state. */
#include "sne_core.h"

/* Decodes as the graph's blob says, where a compiled graph has a function of its own. */
static void decode(const void *graph, int32_t *totals, const uint32_t *bits, const int32_t *settled, uint32_t t);
#define SNE_DECODE(g, totals, bits, settled, t) decode((g), (totals), (bits), (settled), (t))

#include "sne_load_graph.h"

/* One kind of decoder, a constant, and the usual leaks as constants. */
SNE_INLINE void decode_as(const sne_made_graph *made, int32_t *totals, const uint32_t *bits, const int32_t *settled, uint32_t t, int kind)
{
    const sne_blob_graph *const from = made->from;
    const size_t classes = made->graph.classes;
    if (from->decay == SNE_DECAY_NONE) {
        sne_decode(totals, bits, settled, t, kind, classes, made->timesteps, SNE_DECAY_NONE, 0, (int)from->clamp, from->low, from->high);
    } else {
        sne_decode(totals, bits, settled, t, kind, classes, made->timesteps, (int)from->decay, from->value, (int)from->clamp, from->low, from->high);
    }
}

static void decode(const void *graph, int32_t *totals, const uint32_t *bits, const int32_t *settled, uint32_t t)
{
    const sne_made_graph *const made = (const sne_made_graph *)graph;
    const sne_blob_graph *const from = made->from;
    if (from->window) {
        sne_decode_window(totals, bits, settled, (int)from->decoder, made->graph.classes, from->window, (int)from->width);
    } else if (from->decoder == SNE_DECODE_COUNT) {
        decode_as(made, totals, bits, settled, t, SNE_DECODE_COUNT);
    } else if (from->decoder == SNE_DECODE_MEAN) {
        decode_as(made, totals, bits, settled, t, SNE_DECODE_MEAN);
    } else if (from->decoder == SNE_DECODE_FINAL) {
        decode_as(made, totals, bits, settled, t, SNE_DECODE_FINAL);
    } else {
        sne_decode(totals, bits, settled, t, (int)from->decoder, made->graph.classes, made->timesteps, SNE_DECAY_NONE, 0, 0, 0, 0);
    }
}

const sne_bring_kernel *sne_find_bring(const struct sne_graph_kernels *kernels, uint32_t kind)
{
    uint32_t k;
    for (k = 0; k < kernels->n_brings; k++) {
        if (kernels->brings[k].kind == kind) {
            return kernels->brings + k;
        }
    }
    return NULL;
}

const sne_fire_kernel *sne_find_fire(const struct sne_graph_kernels *kernels, uint32_t kind)
{
    uint32_t k;
    for (k = 0; k < kernels->n_fires; k++) {
        if (kernels->fires[k].kind == kind) {
            return kernels->fires + k;
        }
    }
    return NULL;
}

static const sne_blob_graph *graph_of(const sne_loaded *loaded, const sne_blob_student *student)
{
    return (const sne_blob_graph *)(const void *)(loaded->blob + student->graph);
}

static const void *at(const uint8_t *blob, uint32_t offset)
{
    return offset ? blob + offset : NULL;
}

static void make_cells(const uint8_t *blob, const sne_blob_population *from, sne_loaded_cells *to)
{
    sne_cells *const cells = &to->cells;
    cells->neurons.threshold = blob + from->threshold;
    cells->neurons.bias = blob + from->bias;
    cells->neurons.clamp_low = from->clamp_low;
    cells->neurons.clamp_high = from->clamp_high;
    cells->neurons.channels = from->channels;
    cells->neurons.stride = from->stride;
    cells->neurons.decay = from->decay;
    cells->neurons.width = SNE_KIND_WIDE(from->kind) ? 32u : 16u;
    cells->leak = (const uint16_t *)at(blob, from->leak);
    cells->current_leak = (const uint16_t *)at(blob, from->current_leak);
    cells->positions = from->positions;
    cells->current_width = (uint8_t)(16u * SNE_FIRE_CURRENT(from->kind));
    cells->each_threshold = from->each_threshold != 0;
    cells->each_bias = from->each_bias != 0;
    cells->each_leak = from->each_leak != 0;
    cells->each_current_leak = from->each_current_leak != 0;
    to->alpha.share = (const uint16_t *)at(blob, from->share);
    to->alpha.drop = (const int32_t *)at(blob, from->drop);
    to->alpha.each_share = from->each_share != 0;
    to->alpha.each_drop = from->each_drop != 0;
    to->current_decay = from->current_decay;
}

/* The first place from `memory` on where a pointer may lie. */
static sne_made_graph *place_of(uint8_t *memory)
{
    struct placed {
        char first;
        void *pointer;
    };
    return (sne_made_graph *)(void *)(memory + ((0u - (uintptr_t)memory) & (offsetof(struct placed, pointer) - 1u)));
}

/* Make a student's graph in `memory`. */
static sne_made_graph *make(const sne_loaded *loaded, const sne_blob_student *student, uint8_t *memory)
{
    const struct sne_graph_kernels *const kernels = loaded->kernels->graphs;
    const uint8_t *const blob = loaded->blob;
    const sne_blob_graph *const from = graph_of(loaded, student);
    const sne_blob_population *const all = (const sne_blob_population *)(const void *)(blob + from->populations);
    const uint32_t n = from->n_populations;
    sne_made_graph *const made = place_of(memory);
    sne_population *const populations = (sne_population *)(void *)(made + 1);
    sne_loaded_cells *const cells = (sne_loaded_cells *)(void *)(populations + n);
    sne_projection *projections = (sne_projection *)(void *)(cells + n), *next = projections;
    sne_synapses *synapses;
    sne_pooling *pools;
    uint32_t i, k, j, total = 0;
    for (i = 0; i < n; i++) {
        total += all[i].n_projections;
    }
    synapses = (sne_synapses *)(void *)(projections + total);
    pools = (sne_pooling *)(void *)(synapses + total);
    for (i = 0; i < n; i++) {
        const sne_blob_population *const p = all + i;
        const sne_blob_projection *q = (const sne_blob_projection *)(const void *)(blob + p->projections);
        sne_population *const to = populations + i;
        make_cells(blob, p, cells + i);
        to->fire = sne_find_fire(kernels, p->kind)->fire;
        to->cells = &cells[i].cells;
        to->projections = next;
        to->membranes = p->membranes;
        to->currents = p->currents;
        to->drive = p->drive;
        to->n_projections = p->n_projections;
        to->n_values = p->n_values;
        to->spikes = p->spikes;
        for (k = 0; k < p->n_projections; k++, q++, next++, synapses++) {
            const sne_blob_synapses *pool = (const sne_blob_synapses *)(const void *)(blob + q->pools);
            sne_make_synapses(blob, &q->synapses, synapses);
            next->bring = sne_find_bring(kernels, q->kind)->bring;
            next->synapses = synapses;
            next->pools = pools;
            next->largest = (const sne_largest *)at(blob, q->largest);
            next->stride = q->stride;
            next->cost = q->cost;
            next->ring = q->ring;
            next->delay = q->delay;
            next->n_pools = q->n_pools;
            for (j = 0; j < q->n_pools; j++, pool++, pools++) {
                sne_make_pooling(blob, pool, pools);
            }
        }
    }
    made->from = from;
    made->end = (uint8_t *)pools;
    made->timesteps = loaded->model.timesteps;
    made->graph.populations = populations;
    made->graph.rings = (const sne_ring *)(const void *)(blob + from->rings);
    made->graph.decode = NULL;
    made->graph.n_populations = n;
    made->graph.updates = student->updates;
    made->graph.totals = from->totals;
    made->graph.classes = loaded->model.n_classes;
    made->graph.work_words = from->work_words;
    made->graph.maps = from->maps;
    made->graph.map_words = from->map_words;
    made->graph.currents = from->currents;
    made->graph.settled = from->settled;
    return made;
}

/* A timestep's spikes of a buffered input. */
static void take(const sne_call *given, uint32_t t, uint32_t *bits)
{
    const sne_blob *const head = sne_head_of(given->loaded);
    const size_t n = sne_words(head->n_inputs);
    const uint32_t *const row = (const uint32_t *)given->input + t * n;
    size_t i;
    if (head->encoder == SNE_BLOB_RATE) {
        sne_rate_encode((const int8_t *)given->input, head->n_inputs, head->seed + t * ((head->n_inputs + 3u) / 4u), 1, bits);
        return;
    }
    for (i = 0; i < n; i++) {
        bits[i] = row[i];
    }
}

SNE_OUTLINE void advance(const sne_graph *g, const int8_t *values, const sne_graph_room *room, uint32_t *spikes, sne_cost *cost)
{
    sne_step_graph(g, values, room, spikes, cost);
}

SNE_OUTLINE void rest(const sne_graph *g, const int8_t *values, const sne_graph_room *room, sne_cost *cost)
{
    sne_rest_graph(g, values, room, cost);
}

static void take_off(const sne_loaded *loaded, const sne_blob_student *student, const uint32_t *totals, int32_t *logits)
{
    const int32_t *const gain = (const int32_t *)(const void *)(loaded->blob + student->gain);
    const int32_t *const bias = (const int32_t *)(const void *)(loaded->blob + student->bias);
    uint32_t c;
    for (c = 0; c < loaded->model.n_classes; c++) {
        logits[c] -= bias[c] + gain[c] * sne_get(totals, c, 32);
    }
}

static uint32_t run(const sne_call *given, const sne_blob_student *student, void *state, uint32_t timesteps, const int32_t *early,
                    int32_t *logits, sne_cost *cost)
{
    const sne_loaded *const loaded = given->loaded;
    const sne_blob *const head = sne_head_of(loaded);
    const sne_blob_graph *const from = graph_of(loaded, student);
    uint32_t *const arena = sne_arena_of(loaded, state), *const kept = sne_kept_of(loaded, state);
    uint8_t *const memory = (uint8_t *)state + head->state_bytes + (size_t)(4u * SNE_LOAD_TRACED) * head->kept_words;
    const sne_graph *const g = &make(loaded, student, memory)->graph;
    const int8_t *const values = (const int8_t *)given->input;
    uint32_t *const spikes = (uint32_t *)state + head->n_classes, *totals;
    sne_graph_room room;
    sne_result now;
    uint32_t t = 0;
    room.kept = kept ? kept + from->first : arena;
    room.work = arena + from->kept_words;
    room.scratch = room.work + from->work_words;
    totals = room.work + from->totals;
    rest(g, head->encoder == SNE_BLOB_DIRECT ? values : NULL, &room, cost);
    for (;;) {
        uint32_t *const bits = sne_begin_graph(g, &room);
        if (bits) {
            take(given, t, bits);
        }
        advance(g, head->encoder == SNE_BLOB_FRAMES ? values + t * head->n_inputs : NULL, &room, spikes, cost);
        t++;
        if (!early && t < timesteps) {
            continue;
        }
        sne_head_loaded(loaded, student, totals, 32, logits);
        if (t == timesteps) {
            return t;
        }
        sne_decide(logits, head->n_classes, &now);
        if (now.margin >= early[t - 1u]) {
            return t;
        }
        take_off(loaded, student, totals, logits);
    }
}

static sne_graph_room stream_room(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *where)
{
    const sne_blob_graph *const from = graph_of(loaded, student);
    sne_graph_room room;
    room.kept = where->kept + from->first;
    room.work = where->graphs + from->work;
    room.scratch = where->rows;
    return room;
}

static void reset(const sne_loaded *loaded, const sne_blob_student *student, sne_stream_room *where)
{
    const sne_graph_room room = stream_room(loaded, student, where);
    const sne_made_graph *const made = make(loaded, student, where->made);
    sne_cost none = {0, 0, 0};
    rest(&made->graph, NULL, &room, &none);
    where->made = made->end;
}

static void step(const sne_loaded *loaded, const sne_blob_student *student, const int8_t *values, sne_stream_room *where,
                 uint32_t *spikes, sne_cost *cost)
{
    const sne_made_graph *const made = place_of(where->made);
    const sne_graph_room room = stream_room(loaded, student, where);
    uint32_t *const bits = sne_begin_graph(&made->graph, &room);
    size_t i;
    for (i = 0; bits && i < sne_words(loaded->model.n_inputs); i++) {
        bits[i] = where->in[i];
    }
    advance(&made->graph, values, &room, spikes, cost);
    where->made = made->end;
}

static void read_totals(const sne_loaded *loaded, const sne_blob_student *student, const sne_stream_room *where, int32_t *logits)
{
    const sne_graph_room room = stream_room(loaded, student, where);
    sne_head_loaded(loaded, student, room.work + graph_of(loaded, student)->totals, 32, logits);
}

const struct sne_graph_loader sne_graph_loader = {sne_check_graph, run, reset, step, read_totals};
