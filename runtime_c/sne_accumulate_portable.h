/* Accumulation in portable C, for every core and both widths; sne_accumulate.h says who uses what. */
#ifndef SNE_ACCUMULATE_PORTABLE_H
#define SNE_ACCUMULATE_PORTABLE_H

#include "sne_neuron.h"

/* Eight outputs stay in registers over all events, so a membrane is read and written once. */
SNE_INLINE void sne_add_rows_portable(void *v, const int8_t *weight, size_t outputs, const uint16_t *events, size_t n,
                                      int width)
{
    size_t j = 0, e;
    for (; j + 8 <= outputs; j += 8) {
        const int8_t *block = weight + j;
        int32_t a0 = sne_get(v, j, width), a1 = sne_get(v, j + 1, width);
        int32_t a2 = sne_get(v, j + 2, width), a3 = sne_get(v, j + 3, width);
        int32_t a4 = sne_get(v, j + 4, width), a5 = sne_get(v, j + 5, width);
        int32_t a6 = sne_get(v, j + 6, width), a7 = sne_get(v, j + 7, width);
        for (e = 0; e < n; e++) {
            const int8_t *w = block + events[e] * outputs;
            a0 += w[0];
            a1 += w[1];
            a2 += w[2];
            a3 += w[3];
            a4 += w[4];
            a5 += w[5];
            a6 += w[6];
            a7 += w[7];
        }
        sne_put(v, j, a0, width);
        sne_put(v, j + 1, a1, width);
        sne_put(v, j + 2, a2, width);
        sne_put(v, j + 3, a3, width);
        sne_put(v, j + 4, a4, width);
        sne_put(v, j + 5, a5, width);
        sne_put(v, j + 6, a6, width);
        sne_put(v, j + 7, a7, width);
    }
    for (; j + 2 <= outputs; j += 2) {
        const int8_t *block = weight + j;
        int32_t a0 = sne_get(v, j, width), a1 = sne_get(v, j + 1, width);
        for (e = 0; e < n; e++) {
            const int8_t *w = block + events[e] * outputs;
            a0 += w[0];
            a1 += w[1];
        }
        sne_put(v, j, a0, width);
        sne_put(v, j + 1, a1, width);
    }
    if (j < outputs) {
        int32_t a0 = sne_get(v, j, width);
        for (e = 0; e < n; e++) {
            a0 += weight[events[e] * outputs + j];
        }
        sne_put(v, j, a0, width);
    }
}

SNE_INLINE void sne_add_row_portable(void *v, size_t first, const int8_t *weight, size_t n, int width)
{
    size_t j = 0;
    for (; j + 4 <= n; j += 4) {
        const size_t i = first + j;
        sne_put(v, i, sne_get(v, i, width) + weight[j], width);
        sne_put(v, i + 1, sne_get(v, i + 1, width) + weight[j + 1], width);
        sne_put(v, i + 2, sne_get(v, i + 2, width) + weight[j + 2], width);
        sne_put(v, i + 3, sne_get(v, i + 3, width) + weight[j + 3], width);
    }
    for (; j < n; j++) {
        sne_put(v, first + j, sne_get(v, first + j, width) + weight[j], width);
    }
}

#endif
