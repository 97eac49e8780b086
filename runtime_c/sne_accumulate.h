/* Accumulation: the innermost loops, where nearly all instructions go.
 *
 * Three functions, each inlined with a constant `width`. What the compiler may use decides: Helium, the DSP extension,
 * two lanes in a word, or portable C. A core with something better gets one more file here. No sum can overflow: bounds are proven from the
 * weights, and hold for every partial sum. */
#ifndef SNE_ACCUMULATE_H
#define SNE_ACCUMULATE_H

#include "sne_accumulate_portable.h"

#if defined(__ARM_FEATURE_MVE)
#include "sne_accumulate_helium.h"
#define SNE_ADD_16(function) function##_helium
#elif defined(__ARM_FEATURE_SIMD32)
#include "sne_accumulate_dsp.h"
#define SNE_ADD_16(function) function##_dsp
#elif defined(__arm__)
#include "sne_accumulate_swar.h"
#define SNE_ADD_SWAR
#endif

/* v[j] += weight[events[e] * outputs + j], over all events e and outputs j. */
SNE_INLINE void sne_add_rows(void *v, const int8_t *weight, size_t outputs, const uint16_t *events, size_t n, int width)
{
#ifdef SNE_ADD_16
    if (width == 16) {
        SNE_ADD_16(sne_add_rows)((int16_t *)v, weight, outputs, events, n);
        return;
    }
#elif defined(SNE_ADD_SWAR)
    if (sne_swar_can(weight, outputs, n)) {
        sne_add_rows_swar(v, weight, outputs, events, n, width);
        return;
    }
#endif
    sne_add_rows_portable(v, weight, outputs, events, n, width);
}

/* v[first + j] += weight[j], j < n: one row of a convolution's kernel. */
SNE_INLINE void sne_add_row(void *v, size_t first, const int8_t *weight, size_t n, int width)
{
#ifdef SNE_ADD_16
    if (width == 16) {
        SNE_ADD_16(sne_add_row)((int16_t *)v + first, weight, n);
        return;
    }
#endif
    sne_add_row_portable(v, first, weight, n, width);
}

/* v[first + j] += weight[j] * x, j < n. */
SNE_INLINE void sne_mac_row(void *v, size_t first, const int8_t *weight, size_t n, int32_t x, int width)
{
    size_t j;
    for (j = 0; j < n; j++) {
        sne_put(v, first + j, sne_get(v, first + j, width) + weight[j] * x, width);
    }
}

#endif
