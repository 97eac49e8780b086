/* A student that is a graph: populations of neurons, projections between them, and a decoder.
 *
 * It runs timestep by timestep, every population once, in order: each of its projections brings the spikes of its source to
 * the currents, then the neurons fire. All states are kept; spikes are kept in rings, for as many timesteps as the longest
 * delay that wants them. The equations are those of sne_edge/ir/graph.py, restated. */
#ifndef SNE_GRAPH_H
#define SNE_GRAPH_H

#include "sne_cells.h"
#include "sne_student.h"

/* Adds what a map's spikes, or a direct input's values, bring to currents of `stride` a position; returns the rows added. */
typedef uint32_t (*sne_bring_function)(const sne_synapses *p, size_t stride, const void *in, void *to, uint32_t *rows);

/* The largest current of each window, channel by channel. */
typedef struct {
    uint16_t in_height, in_width, out_height, out_width;
    uint16_t kernel_height, kernel_width, stride_height, stride_width, padding_height, padding_width;
    uint16_t width; /* bits of a current */
} sne_largest;

typedef struct {
    sne_bring_function bring;
    const sne_synapses *synapses;
    const sne_pooling *pools;   /* [n_pools]: maxima of spikes, in front of the weights */
    const sne_largest *largest; /* of the currents, or null */
    uint32_t stride;            /* of a position's currents */
    uint32_t cost;              /* weights of a row that `bring` counts */
    uint16_t ring;              /* that of the source: 0 is the input's, that of population n is n + 1 */
    uint16_t delay;
    uint16_t n_pools;
} sne_projection;

/* The last `length` maps of spikes of one source, from word `place` of a student's work on. */
typedef struct {
    uint32_t place;
    uint32_t words; /* of one map; behind SNE_DOUBLED's spikes lie as many bits of who stayed above its threshold */
    uint16_t length;
} sne_ring;

typedef struct {
    sne_cells_function fire;
    const sne_cells *cells;
    const sne_projection *projections; /* those of an input's values first */
    uint32_t membranes, currents;      /* places, in words from the start of the kept states */
    uint32_t drive;                    /* place in the work of a constant current for every neuron; 0: biases alone */
    uint16_t n_projections;
    uint16_t n_values;                 /* projections of values */
    int32_t spikes;                    /* index of its spike count, or -1 */
} sne_population;

/* Counts, or looks at membranes: what timestep `t` adds to the totals. */
typedef void (*sne_decode_function)(int32_t *totals, const uint32_t *bits, const int32_t *settled, uint32_t t);

typedef struct {
    const sne_population *populations;
    const sne_ring *rings; /* [1 + n_populations] */
    sne_decode_function decode;
    uint32_t n_populations;
    uint32_t updates;      /* neurons */
    uint32_t totals;       /* place in the work; `classes` of them */
    uint32_t classes;
    uint32_t work_words;
    uint32_t maps, map_words, currents, settled; /* places in the scratch: two maps of pooled spikes, unpooled currents,
                                                    membranes that the decoder sees; 0 where it sees none */
} sne_graph;

/* The code of a timestep: in a model of one graph where it is called, for what is known of that one; of several one copy, since
 * what takes the time lies behind pointers. */
#ifdef SNE_MANY_GRAPHS
#define SNE_GRAPH_CODE SNE_OUTLINE
#else
#define SNE_GRAPH_CODE SNE_INLINE
#endif

/* For who decodes by what he knows of a graph beside it. */
#ifndef SNE_DECODE
#define SNE_DECODE(g, totals, bits, settled, t) ((g)->decode((totals), (bits), (settled), (t)))
#endif

/* Memory: kept states; work, which lasts from timestep to timestep as they do: its first word is the time, then come the
 * rings' newest maps, by number; scratch, which starts with a list of rows. */
typedef struct {
    uint32_t *kept, *work, *scratch;
} sne_graph_room;

/* One projection's kernel. All but p, stride, in, to and rows are constants of the caller's. */
SNE_INLINE uint32_t sne_bring(const sne_synapses *p, size_t stride, const void *in, void *to, uint32_t *rows, int kernel,
                              int width, int weight_bits)
{
    const uint32_t *bits = (const uint32_t *)in;
    const int scatter = kernel == SNE_SCATTER || kernel == SNE_OVERLAP || kernel == SNE_DEPTHWISE;
    uint32_t total = 0, y, x;
    sne_route route;
    if (kernel == SNE_COLLECT) {
        return sne_collect(p, bits, to, stride, rows, width, weight_bits);
    }
    if (scatter) {
        sne_plan(p, stride, width, weight_bits, kernel, rows, &route);
    }
    for (y = 0; y < p->out_height; y++) {
        if (scatter) {
            total += sne_scatter(p, &route, y, bits, to, width, weight_bits, kernel, 0);
        } else if (kernel == SNE_SWEEP) {
            total += sne_sweep(p, y, bits, to, stride, rows, width, weight_bits);
        }
        for (x = 0; !scatter && kernel != SNE_SWEEP && x < p->out_width; x++) {
            void *const at = sne_at(to, (size_t)x * stride, width);
            sne_view view;
            if (kernel == SNE_MAC) {
                sne_look(p, 1, y, x, &view);
                total += sne_gather_mac(p, &view, (const int8_t *)in, at, stride, rows, width);
            } else {
                sne_look(p, sne_pitch(stride, weight_bits), y, x, &view);
                total += sne_gather(p, &view, bits, at, stride, rows, p->capacity, width, weight_bits, 0);
            }
        }
        to = sne_at(to, p->out_width * stride, width);
    }
    return total;
}

/* Add the largest current of each window to `to`, of `width` bits. */
SNE_OUTLINE void sne_add_largest(const sne_largest *p, const void *currents, void *to, size_t stride, int width)
{
    uint32_t y, x, i, j, bottom, top, right, left;
    size_t c;
    for (y = 0; y < p->out_height; y++) {
        const int32_t above = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
        sne_clip(above, p->kernel_height, p->in_height, &top, &bottom);
        for (x = 0; x < p->out_width; x++, to = sne_at(to, stride, width)) {
            const int32_t before = (int32_t)(x * p->stride_width) - (int32_t)p->padding_width;
            sne_clip(before, p->kernel_width, p->in_width, &left, &right);
            for (c = 0; c < stride; c++) {
                int32_t most = INT32_MIN;
                for (i = top; i < bottom; i++) {
                    const uint32_t row = (uint32_t)(above + (int32_t)i) * p->in_width;
                    for (j = left; j < right; j++) {
                        const size_t place = (size_t)(row + (uint32_t)(before + (int32_t)j));
                        const int32_t now = sne_get(currents, place * stride + c, (int)p->width);
                        most = now > most ? now : most;
                    }
                }
                sne_put(to, c, sne_get(to, c, width) + most, width);
            }
        }
    }
}

/* Bring what a projection's source holds to the currents `to`, of `width` bits. Returns the work. */
SNE_INLINE uint32_t sne_project(const sne_graph *g, const sne_projection *p, const void *in, void *to, int width,
                                uint32_t *scratch)
{
    const size_t stride = (size_t)p->stride;
    uint32_t rows, i;
    for (i = 0; i < p->n_pools; i++) {
        sne_job job;
        job.in = (const uint32_t *)in;
        job.out = scratch + g->maps + (i & 1u) * g->map_words;
        job.timesteps = 1;
        sne_maxpool(p->pools + i, &job);
        in = job.out;
    }
    if (p->largest) {
        uint32_t *const currents = scratch + g->currents;
        const uint32_t n = (uint32_t)p->largest->in_height * p->largest->in_width * p->stride;
        sne_clear(currents, (size_t)(n * p->largest->width / 32u));
        rows = p->bring(p->synapses, stride, in, currents, scratch);
        sne_add_largest(p->largest, currents, to, stride, width);
    } else {
        rows = p->bring(p->synapses, stride, in, to, scratch);
    }
    return rows * p->cost;
}

SNE_INLINE int sne_target_width(const sne_cells *cells)
{
    return cells->current_width ? (int)cells->current_width : (int)cells->neurons.width;
}

/* At rest: nothing has spiked, and states are charged. `values`: those that stay the same, or null. */
SNE_GRAPH_CODE void sne_rest_graph(const sne_graph *g, const int8_t *values, const sne_graph_room *room, sne_cost *cost)
{
    const sne_population *p = g->populations, *const end = p + g->n_populations;
    sne_clear(room->work, (size_t)g->work_words);
    for (; p != end; p++) {
        const sne_cells *const cells = p->cells;
        const size_t stride = cells->neurons.stride, step = cells->each_bias ? stride : 0u;
        const int width = sne_target_width(cells);
        uint32_t *const target = room->kept + (cells->current_width ? p->currents : p->membranes);
        uint32_t *const drive = p->drive ? room->work + p->drive : target;
        uint32_t i;
        SNE_LAYER_BEGINS(p);
        if (cells->current_width) {
            sne_clear(room->kept + p->membranes,
                      (size_t)((uint32_t)cells->positions * stride * cells->neurons.width / 32u));
        }
        for (i = 0; i < cells->positions; i++) {
            const void *bias = (const uint32_t *)cells->neurons.bias + i * step * (uint32_t)width / 32u;
            sne_charge_fresh(sne_at(drive, (size_t)i * stride, width), bias, stride, width, 0);
        }
        for (i = 0; values && i < p->n_values; i++) {
            cost->macs += sne_project(g, p->projections + i, values, drive, width, room->scratch);
        }
        for (i = 0; p->drive && i < cells->positions; i++) {
            sne_charge_fresh(sne_at(target, (size_t)i * stride, width), sne_at(drive, (size_t)i * stride, width), stride,
                             width, 0);
        }
        SNE_LAYER_ENDS(p);
    }
}

/* Begin a timestep: every ring goes on by one map. Returns the input's, for the caller to fill; null where there is none. */
SNE_INLINE uint32_t *sne_begin_graph(const sne_graph *g, const sne_graph_room *room)
{
    uint32_t i;
    for (i = 0; i <= g->n_populations; i++) {
        uint32_t *const newest = room->work + 1 + i;
        *newest = *newest + 1u < g->rings[i].length ? *newest + 1u : 0u;
    }
    return g->rings->length ? room->work + g->rings->place + room->work[1] * g->rings->words : NULL;
}

/* The rest of it. `values`: those of this timestep, or null where they are constant or there are none. */
SNE_GRAPH_CODE void sne_step_graph(const sne_graph *g, const int8_t *values, const sne_graph_room *room, uint32_t *spikes,
                                   sne_cost *cost)
{
    const sne_population *p = g->populations, *const end = p + g->n_populations;
    const uint32_t *newest = room->work + 2;
    const sne_ring *ring = g->rings + 1;
    uint32_t *bits = NULL;
    for (; p != end; p++, ring++, newest++) {
        const sne_cells *const cells = p->cells;
        const int width = sne_target_width(cells);
        uint32_t *const v = room->kept + p->membranes, *const current = room->kept + p->currents;
        int32_t *const settled = p + 1 == end && g->settled ? (int32_t *)(room->scratch + g->settled) : NULL;
        const void *const drive = p->drive ? (const void *)(room->work + p->drive) : cells->neurons.bias;
        uint32_t *const target = cells->current_width ? current : v;
        const uint32_t last = *newest ? *newest - 1u : ring->length - (uint32_t)(ring->length != 0);
        uint32_t i, fired;
        SNE_LAYER_BEGINS(p);
        for (i = 0; values && i < p->n_values; i++) {
            cost->macs += sne_project(g, p->projections + i, values, target, width, room->scratch);
        }
        for (i = p->n_values; i < p->n_projections; i++) {
            const sne_projection *const from = p->projections + i;
            const sne_ring *const source = g->rings + from->ring;
            uint32_t at = room->work[1u + from->ring];
            at = at >= from->delay ? at - from->delay : at + source->length - from->delay;
            cost->synaptic_ops += sne_project(g, from, room->work + source->place + at * source->words, target, width,
                                              room->scratch);
        }
        bits = room->work + ring->place + *newest * ring->words;
        if (ring->length) {
            sne_clear(bits, (size_t)ring->words);
        }
        fired = p->fire(cells, v, current, drive, room->work + ring->place + last * ring->words, bits, settled);
        SNE_LAYER_ENDS(p);
        if (p->spikes >= 0) {
            spikes[p->spikes] += fired;
        }
    }
    SNE_DECODE(g, (int32_t *)(room->work + g->totals), bits, (const int32_t *)(room->scratch + g->settled), *room->work);
    if (*room->work != UINT32_MAX) {
        ++*room->work;
    }
    cost->neuron_updates += g->updates;
}

/* Makes a timestep's map of spikes of a buffered input. */
typedef void (*sne_input_function)(const void *input, uint32_t t, uint32_t *bits);

/* A buffered input: spikes that `take` makes; or, where that is null, values, `frame_bytes` a timestep, or the same at
 * every timestep where those are 0. */
typedef struct {
    const void *input;
    sne_input_function take;
    size_t frame_bytes;
} sne_feed;

SNE_INLINE void sne_rest_fed(const sne_graph *g, const sne_feed *feed, const sne_graph_room *room, sne_cost *cost)
{
    sne_rest_graph(g, feed->take || feed->frame_bytes ? NULL : (const int8_t *)feed->input, room, cost);
}

/* Timestep `t` of a buffered input. */
SNE_INLINE void sne_step_fed(const sne_graph *g, const sne_feed *feed, uint32_t t, const sne_graph_room *room,
                             uint32_t *spikes, sne_cost *cost)
{
    uint32_t *const bits = sne_begin_graph(g, room);
    if (bits) {
        feed->take(feed->input, t, bits);
    }
    sne_step_graph(g, feed->frame_bytes ? (const int8_t *)feed->input + t * feed->frame_bytes : NULL, room, spikes, cost);
}

SNE_INLINE void sne_run_graph(const sne_graph *g, const sne_feed *feed, const sne_graph_room *room, uint32_t *spikes,
                              uint32_t timesteps, sne_cost *cost)
{
    uint32_t t;
    sne_rest_fed(g, feed, room, cost);
    for (t = 0; t < timesteps; t++) {
        sne_step_fed(g, feed, t, room, spikes, cost);
    }
}

/* The same until the margin of `n` logits suffices: see sne_policy.early. `before`: n words. Returns how many timesteps it
 * took. */
SNE_INLINE uint32_t sne_run_graph_until(const sne_graph *g, const sne_feed *feed, const sne_graph_room *room,
                                        uint32_t *spikes, uint32_t timesteps, const int32_t *early,
                                        void (*head)(const uint32_t *totals, int32_t *logits), int32_t *logits,
                                        int32_t *before, size_t n, sne_cost *cost)
{
    sne_result now;
    uint32_t t = 0;
    size_t c;
    for (c = 0; c < n; c++) {
        before[c] = logits[c];
    }
    sne_rest_fed(g, feed, room, cost);
    do {
        sne_step_fed(g, feed, t, room, spikes, cost);
        for (c = 0; c < n; c++) {
            logits[c] = before[c];
        }
        head(room->work + g->totals, logits);
        sne_decide(logits, n, &now);
        t++;
    } while (t < timesteps && now.margin < early[t - 1u]);
    return t;
}

enum { SNE_DECODE_COUNT, SNE_DECODE_FIRST, SNE_DECODE_FINAL, SNE_DECODE_HIGHEST, SNE_DECODE_MEAN };

/* A decoder of sums over the last `length` timesteps. Behind the totals lie the place of the oldest of these and a ring of
 * what each brought: bits of a count, membranes of `width` bits. All but the first three arguments are constants of the
 * caller's. */
SNE_INLINE void sne_decode_window(int32_t *totals, const uint32_t *bits, const int32_t *settled, int kind, size_t classes,
                                  uint32_t length, int width)
{
    uint32_t *const place = (uint32_t *)totals + classes;
    const size_t slot = kind == SNE_DECODE_COUNT ? sne_words(classes) : sne_words(classes * (size_t)width);
    uint32_t *const oldest = place + 1 + *place * slot;
    size_t c;
    for (c = 0; c < classes; c++) {
        if (kind == SNE_DECODE_COUNT) {
            const uint32_t now = bits[c >> 5] >> (c & 31u) & 1u, then = oldest[c >> 5] >> (c & 31u) & 1u;
            totals[c] += (int32_t)now - (int32_t)then;
        } else {
            totals[c] = totals[c] - sne_get(oldest, c, width) + settled[c];
            sne_put(oldest, c, settled[c], width);
        }
    }
    for (c = 0; kind == SNE_DECODE_COUNT && c < slot; c++) {
        oldest[c] = bits[c];
    }
    *place = *place + 1u < length ? *place + 1u : 0u;
}

/* A decoder. All but the first four arguments are constants of the caller's; `timesteps` are the model's. */
SNE_INLINE void sne_decode(int32_t *totals, const uint32_t *bits, const int32_t *settled, uint32_t t, int kind,
                           size_t classes, uint32_t timesteps, int decay, int32_t factor, int clamp, int32_t low,
                           int32_t high)
{
    size_t c;
    for (c = 0; c < classes; c++) {
        const int32_t spike = kind <= SNE_DECODE_FIRST ? (int32_t)(bits[c >> 5] >> (c & 31u) & 1u) : 0;
        int32_t total = totals[c];
        if (kind == SNE_DECODE_FIRST) {
            total = spike && !total && t < timesteps ? (int32_t)(timesteps - t) : total;
        } else if (kind == SNE_DECODE_COUNT || kind == SNE_DECODE_MEAN) {
            total = sne_decayed(total, factor, decay, 32) + (kind == SNE_DECODE_COUNT ? spike : settled[c]);
            if (clamp) {
                total = total < low ? low : total > high ? high : total;
            }
        } else if (kind == SNE_DECODE_FINAL || t == 0 || settled[c] > total) {
            total = settled[c];
        }
        totals[c] = total;
    }
}

#endif
