/* Scatter: each spike brought to the output positions that it reaches. */
#ifndef SNE_SCATTER_H
#define SNE_SCATTER_H

#include "sne_depthwise.h"
#include "sne_list.h"

/* What the spikes of an input column reach, words of the list of rows: the first position and its tap's weights, as if the
 * column's first input were the row's, in bytes; and how many positions. */
enum { SNE_REACH_MEMBRANES, SNE_REACH_WEIGHTS, SNE_REACH_N, SNE_REACH_WORDS };

/* A scattering layer's constants. */
typedef struct {
    const uint32_t *reach;  /* SNE_REACH_WORDS by input column */
    sne_chain chain;
    uint32_t tap, pitch;    /* bytes of a tap's weights, and of a row */
} sne_route;

/* Work them out, in `reach` what each of the input's columns does. */
SNE_INLINE void sne_plan(const sne_synapses *p, size_t stride, int width, int weight_bits, int kernel, uint32_t *reach,
                         sne_route *route)
{
    const uint32_t pitch = (uint32_t)sne_pitch(stride, weight_bits);
    const uint32_t tap = kernel == SNE_DEPTHWISE ? pitch : p->in_channels * pitch;
    uint32_t x;
    route->reach = reach;
    route->tap = tap;
    route->pitch = pitch;
    route->chain.stride = stride;
    route->chain.next = (size_t)(p->stride_width * tap + pitch);
    for (x = 0; kernel == SNE_SCATTER && x < p->in_width; x++, reach += SNE_REACH_WORDS) {
        const uint32_t first = p->columns.start[x];
        const sne_pair *const pair = p->columns.pairs + first;
        reach[SNE_REACH_N] = p->columns.start[x + 1u] - first;
        if (reach[SNE_REACH_N]) {
            reach[SNE_REACH_MEMBRANES] = pair->position * (uint32_t)stride * (uint32_t)width / 8u;
            reach[SNE_REACH_WEIGHTS] = (pair->tap - x) * tap;
        }
    }
}

/* Bring input `i` of a row of inputs, whose weights start at `base`, to the positions that it reaches: neighbours, each
 * through the tap a stride before the last one's. Returns their number. */
SNE_INLINE uint32_t sne_scatter_one(const sne_synapses *p, uint32_t i, const sne_route *route, const sne_weight *base,
                                    void *v, int width, int weight_bits, int turned)
{
    const uint32_t *const reach = route->reach + SNE_REACH_WORDS * sne_divide(i, &p->divide);
    const uint32_t n = reach[SNE_REACH_N];
    if (n) {
        sne_bring_chain((uint8_t *)v + reach[SNE_REACH_MEMBRANES],
                        base + (i * route->pitch + reach[SNE_REACH_WEIGHTS]), (size_t)n, &route->chain, width,
                        weight_bits, turned);
    }
    return n;
}

/* The same where average pooling's windows overlap. */
SNE_INLINE uint32_t sne_scatter_overlap(const sne_synapses *p, uint32_t i, const sne_route *route, const sne_weight *base,
                                        void *v, int width, int weight_bits)
{
    const uint32_t x = sne_divide(i, &p->divide);
    const sne_weight *const w = base + (i - x * p->in_channels) * route->pitch;
    const sne_pair *pair = p->columns.pairs + p->columns.start[x];
    const sne_pair *const stop = p->columns.pairs + p->columns.start[x + 1u];
    const uint32_t reached = (uint32_t)(stop - pair);
    for (; pair != stop; pair++) {
        sne_bring_chain(sne_at(v, pair->position * route->chain.stride, width), w + pair->tap * route->tap, 1,
                        &route->chain, width, weight_bits, 0);
    }
    return reached;
}

/* Bring the spikes of the input rows that output row `y` sees to its positions. Returns the number of rows, or
 * (depthwise) of weights added. */
SNE_INLINE uint32_t sne_scatter(const sne_synapses *p, const sne_route *route, uint32_t y, const uint32_t *bits, void *v,
                                int width, int weight_bits, int kernel, int turned)
{
    const uint32_t length = (uint32_t)p->in_width * p->in_channels;
    const sne_pair *row = p->rows.pairs + p->rows.start[y], *const last = p->rows.pairs + p->rows.start[y + 1u];
    uint32_t total = 0;
    for (; row != last; row++) {
        const sne_weight *const base = p->weight + (uint32_t)row->tap * p->kernel_width * route->tap;
        sne_bits in = sne_some_bits(bits, row->position * length, length);
        do {
            uint32_t spikes = sne_next_word(&in);
            for (; spikes; spikes &= spikes - 1u) {
                const uint32_t i = in.index + sne_lowest_bit(spikes);
                if (kernel == SNE_SCATTER) {
                    total += sne_scatter_one(p, i, route, base, v, width, weight_bits, turned);
                } else if (kernel == SNE_OVERLAP) {
                    total += sne_scatter_overlap(p, i, route, base, v, width, weight_bits);
                } else {
                    total += sne_scatter_channel(p, i, base, v, route->chain.stride, width);
                }
            }
        } while (in.word != in.end);
    }
    return total;
}

#endif
