/* Accumulation with Helium (Cortex-M55): widening byte loads and eight int16 lanes; tails are predicated. */
#ifndef SNE_ACCUMULATE_HELIUM_H
#define SNE_ACCUMULATE_HELIUM_H

#include <arm_mve.h>

#include "sne_neuron.h"

/* Thirty-two outputs stay in four vector registers over all events, then up to eight in one. */
SNE_INLINE void sne_add_rows_helium(int16_t *v, const int8_t *weight, size_t outputs, const uint16_t *events, size_t n)
{
    const uint16_t *const end = events + n;
    const uint16_t *e;
    size_t j = 0;
    for (; j + 32 <= outputs; j += 32) {
        const int8_t *block = weight + j;
        int16x8_t a0 = vldrhq_s16(v + j), a1 = vldrhq_s16(v + j + 8);
        int16x8_t a2 = vldrhq_s16(v + j + 16), a3 = vldrhq_s16(v + j + 24);
        for (e = events; e != end; e++) {
            const int8_t *w = block + *e * outputs;
            a0 = vaddq_s16(a0, vldrbq_s16(w));
            a1 = vaddq_s16(a1, vldrbq_s16(w + 8));
            a2 = vaddq_s16(a2, vldrbq_s16(w + 16));
            a3 = vaddq_s16(a3, vldrbq_s16(w + 24));
        }
        vstrhq_s16(v + j, a0);
        vstrhq_s16(v + j + 8, a1);
        vstrhq_s16(v + j + 16, a2);
        vstrhq_s16(v + j + 24, a3);
    }
    for (; j < outputs; j += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(outputs - j));
        const int8_t *block = weight + j;
        int16x8_t sum = vldrhq_z_s16(v + j, lanes);
        for (e = events; e != end; e++) {
            sum = vaddq_s16(sum, vldrbq_z_s16(block + *e * outputs, lanes));
        }
        vstrhq_p_s16(v + j, sum, lanes);
    }
}

SNE_INLINE void sne_add_row_helium(int16_t *v, const int8_t *weight, size_t n)
{
    size_t j;
    for (j = 0; j < n; j += 8) {
        const mve_pred16_t lanes = vctp16q((uint32_t)(n - j));
        vstrhq_p_s16(v + j, vaddq_s16(vldrhq_z_s16(v + j, lanes), vldrbq_z_s16(weight + j, lanes)), lanes);
    }
}

#endif
