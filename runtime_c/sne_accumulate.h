/* Accumulation: the innermost loops, where nearly all instructions go.
 *
 * Each function is inlined with a constant `width`. Membranes `v` and rows of weights start at multiples of four bytes,
 * and a row has `stride` weights, a multiple of four. A row is named by its offset from `weight`. What the compiler may
 * use decides: Helium, the DSP extension, two lanes in a word, a computer's vectors, or portable C. A core with something
 * better gets one more file here. No sum can overflow: bounds are proven from the weights, and hold for every partial sum. */
#ifndef SNE_ACCUMULATE_H
#define SNE_ACCUMULATE_H

#include "sne_weights.h"

#include "sne_accumulate_portable.h"

#if defined(__ARM_FEATURE_MVE)
#include "sne_accumulate_helium.h"
#define SNE_ADD(function) function##_helium
#elif defined(__ARM_FEATURE_SIMD32)
#include "sne_accumulate_dsp.h"
#define SNE_ADD(function) function##_dsp
#elif SNE_WEIGHT_OFFSET
#include "sne_accumulate_swar.h"
#define SNE_ADD(function) function##_swar
#elif defined(SNE_HOST)
#include "sne_accumulate_host.h"
#define SNE_ADD(function) function##_host
#else
#define SNE_ADD(function) function##_portable
#endif

SNE_OUTLINE void sne_add_rows_16(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n)
{
    SNE_ADD(sne_add_rows)(v, weight, stride, rows, n, 16);
}

SNE_OUTLINE void sne_add_rows_32(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n)
{
    SNE_ADD(sne_add_rows)(v, weight, stride, rows, n, 32);
}

/* v[j] += weight[rows[e] + j], over all rows e < n and outputs j < stride. */
SNE_INLINE void sne_add_rows(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n, int width)
{
    if (width == 16) {
        sne_add_rows_16(v, weight, stride, rows, n);
    } else {
        sne_add_rows_32(v, weight, stride, rows, n);
    }
}

/* v[j] += weight[j], j < stride. */
SNE_INLINE void sne_add_row(void *v, const sne_weight *weight, size_t stride, int width)
{
    SNE_ADD(sne_add_row)(v, weight, stride, width);
}

#endif
