/* Multiplication in portable C, for every core; sne_multiply.h says who uses what. */
#ifndef SNE_MULTIPLY_PORTABLE_H
#define SNE_MULTIPLY_PORTABLE_H

#include "sne_neuron.h"
#include "sne_weights.h"

/* Four outputs. Sums are unsigned, as partial sums may run over. */
SNE_INLINE void sne_mac_portable(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end)
{
    uint32_t a0 = (uint32_t)sums[0], a1 = (uint32_t)sums[1], a2 = (uint32_t)sums[2], a3 = (uint32_t)sums[3];
    while (pairs != end) {
        const sne_weight *w = weight + pairs[0];
        const uint32_t x = (uint32_t)(int32_t)(int16_t)(uint16_t)pairs[1], y = (uint32_t)((int32_t)pairs[1] >> 16);
        pairs += 2;
        a0 += (uint32_t)w[0] * x;
        a1 += (uint32_t)w[1] * x;
        a2 += (uint32_t)w[2] * x;
        a3 += (uint32_t)w[3] * x;
        a0 += (uint32_t)w[4] * y;
        a1 += (uint32_t)w[5] * y;
        a2 += (uint32_t)w[6] * y;
        a3 += (uint32_t)w[7] * y;
    }
    sums[0] = (int32_t)a0;
    sums[1] = (int32_t)a1;
    sums[2] = (int32_t)a2;
    sums[3] = (int32_t)a3;
}

#endif
