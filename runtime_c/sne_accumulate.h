/* Accumulation: the innermost loops, where nearly all instructions go.
 *
 * Each function is inlined with a constant `width`. Membranes `v` and rows of weights start at multiples of four bytes,
 * and a row has `stride` weights, a multiple of four. A row is named by its offset from `weight`. sne_core.h says
 * which core's are taken; one with something better gets one more file here. No sum can overflow: bounds are proven from the weights, and hold for every partial sum. */
#ifndef SNE_ACCUMULATE_H
#define SNE_ACCUMULATE_H

#include "sne_weights.h"

#include "sne_accumulate_portable.h"

#if defined(SNE_HELIUM)
#include "sne_accumulate_helium.h"
#define SNE_ADD(function) function##_helium
#elif defined(SNE_DSP)
#include "sne_accumulate_dsp.h"
#define SNE_ADD(function) function##_dsp
#elif defined(SNE_THUMB2) || defined(SNE_THUMB1) || defined(SNE_WORDS)
#include "sne_accumulate_swar.h"
#define SNE_ADD(function) function##_swar
#elif defined(SNE_HOST)
#include "sne_accumulate_host.h"
#define SNE_ADD_ANY(function) function##_host
#endif
#ifndef SNE_ADD_ANY
#define SNE_ADD_ANY(function) function##_portable
#endif

#if defined(SNE_ADD)
#include "sne_accumulate_lanes.h"
#else
SNE_OUTLINE void sne_add_rows_16(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 size_t stride)
{
    SNE_ADD_ANY(sne_add_rows)(v, weight, rows, end, stride, 16);
}

SNE_OUTLINE void sne_add_rows_32(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                 size_t stride)
{
    SNE_ADD_ANY(sne_add_rows)(v, weight, rows, end, stride, 32);
}
#endif

/* v[j] += weight[*row + j], over all rows from `rows` to `end`, at least one, and outputs j < stride. `turned`: membranes
 * with turned signs (sne_fire.h). */
SNE_INLINE void sne_add_rows(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                             size_t stride, int width, int turned)
{
    if (width == 32) {
        sne_add_rows_32((int32_t *)v, weight, rows, end, stride);
    } else {
#if defined(SNE_ADD)
        SNE_ADD(sne_add_rows)((uint32_t *)v, weight, rows, end, stride, turned);
#else
        (void)turned;
        sne_add_rows_16(v, weight, rows, end, stride);
#endif
    }
}

/* Add a chain's rows, the first at `weight`, to `n` positions, one at least, the first at `v`. `turned`: membranes with
 * turned signs (sne_fire.h). */
SNE_INLINE void sne_add_chain(void *v, const sne_weight *weight, size_t n, const sne_chain *chain, int width, int turned)
{
#if defined(SNE_ADD)
    if (width == 16) {
        SNE_ADD(sne_add_chain)((uint32_t *)v, weight, n, chain, turned);
        return;
    }
#endif
    (void)turned;
    for (; n; n--, weight -= chain->next - chain->stride, v = sne_at(v, chain->stride, width)) {
        SNE_ADD_ANY(sne_add_row)(v, weight, chain->stride, width);
    }
}

#endif
