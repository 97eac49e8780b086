/* Depthwise: a spike reaches its own channel alone. */
#ifndef SNE_DEPTHWISE_H
#define SNE_DEPTHWISE_H

#include "sne_tables.h"

/* Add the weights of input `i`, of a row of inputs whose weights start at `base`, to the positions that it reaches, of its own
 * channel. Returns their number. */
SNE_INLINE uint32_t sne_scatter_channel(const sne_synapses *p, uint32_t i, const sne_weight *base, void *v, size_t stride,
                                        int width)
{
    const uint32_t x = sne_divide(i, &p->divide), c = i - x * p->in_channels;
    const sne_pair *pair = p->columns.pairs + p->columns.start[x];
    const sne_pair *const stop = p->columns.pairs + p->columns.start[x + 1u];
    const uint32_t reached = (uint32_t)(stop - pair);
    for (; pair != stop; pair++) {
        const size_t at = pair->position * stride + (size_t)c;
        sne_put(v, at, sne_get(v, at, width) + sne_weight_at(base + pair->tap * stride, (size_t)c), width);
    }
    return reached;
}

#endif
