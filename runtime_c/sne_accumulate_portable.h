/* Accumulation in portable C, for every core and both widths; sne_accumulate.h says who uses what. */
#ifndef SNE_ACCUMULATE_PORTABLE_H
#define SNE_ACCUMULATE_PORTABLE_H

#include "sne_neuron.h"
#include "sne_weights.h"

/* A spike's rows for neighbouring positions. */
typedef struct {
    size_t stride; /* weights of a row, membranes of a position */
    size_t next;   /* bytes from a row's end back to the next one's start */
} sne_chain;

/* Four outputs stay in registers over all rows, so a membrane is read and written once. */
SNE_INLINE void sne_add_rows_portable(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                      size_t stride, int width)
{
    const uint32_t *row;
    size_t j;
    for (j = 0; j < stride; j += 4) {
        int32_t a0 = sne_get(v, j, width), a1 = sne_get(v, j + 1, width);
        int32_t a2 = sne_get(v, j + 2, width), a3 = sne_get(v, j + 3, width);
        for (row = rows; row != end; row++) {
            const sne_weight *w = weight + *row + j;
            a0 += sne_weight_of_four(w, 0);
            a1 += sne_weight_of_four(w, 1);
            a2 += sne_weight_of_four(w, 2);
            a3 += sne_weight_of_four(w, 3);
        }
        sne_put(v, j, a0, width);
        sne_put(v, j + 1, a1, width);
        sne_put(v, j + 2, a2, width);
        sne_put(v, j + 3, a3, width);
    }
}

SNE_INLINE void sne_add_row_portable(void *v, const sne_weight *weight, size_t stride, int width)
{
    size_t j;
    for (j = 0; j < stride; j += 4) {
        const sne_weight *w = weight + j;
        sne_put(v, j, sne_get(v, j, width) + sne_weight_of_four(w, 0), width);
        sne_put(v, j + 1, sne_get(v, j + 1, width) + sne_weight_of_four(w, 1), width);
        sne_put(v, j + 2, sne_get(v, j + 2, width) + sne_weight_of_four(w, 2), width);
        sne_put(v, j + 3, sne_get(v, j + 3, width) + sne_weight_of_four(w, 3), width);
    }
}

#endif
