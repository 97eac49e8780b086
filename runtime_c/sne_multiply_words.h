/* Multiplication on 32-bit cores with many registers (RISC-V): values where they lie, the sums of eight outputs, or four, in
 * registers. */
#ifndef SNE_MULTIPLY_WORDS_H
#define SNE_MULTIPLY_WORDS_H

#include "sne_weights.h"

/* sums[j] += weights times values, for so many `outputs`, a constant, 4 or 8, over all that one position sees: `runs` of
 * `count` values, each `from_step` behind the last one's, the first one's number being `row` and the next one's `row_step`
 * more; values that are 0 are passed over. Returns how many those are. Sums are modulo 2^32. */
SNE_INLINE uint32_t sne_mac_words(int32_t *sums, const sne_weight *weight, const int8_t *values, uint32_t runs, uint32_t count,
                                  uint32_t from_step, uint32_t row, uint32_t row_step, size_t pitch, int outputs)
{
    uint32_t a[8], zeros = 0;
    int j;
#pragma GCC unroll 8
    for (j = 0; j < outputs; j++) {
        a[j] = (uint32_t)sums[j];
    }
    for (; runs; runs--, values += from_step, row += row_step) {
        const sne_weight *w = weight + (row >> 1) * pitch + 4u * (row & 1u);
        const int8_t *value = values, *const last = values + count;
        size_t next = row & 1u ? pitch - 4u : 4u; /* to the next input's weights */
        do {
            const uint32_t x = (uint32_t)(int32_t)*value++;
            if (x) {
#pragma GCC unroll 8
                for (j = 0; j < outputs; j++) {
                    a[j] += (uint32_t)(int32_t)(int8_t)w[j < 4 ? j : j + 4] * x;
                }
            } else {
                zeros++;
            }
            w += next;
            next = pitch - next;
        } while (value != last);
    }
#pragma GCC unroll 8
    for (j = 0; j < outputs; j++) {
        sums[j] = (int32_t)a[j];
    }
    return zeros;
}

SNE_OUTLINE uint32_t sne_mac_eight_words(int32_t *sums, const sne_weight *weight, const int8_t *values, uint32_t runs,
                                         uint32_t count, uint32_t from_step, uint32_t row, uint32_t row_step, size_t pitch)
{
    return sne_mac_words(sums, weight, values, runs, count, from_step, row, row_step, pitch, 8);
}

SNE_OUTLINE uint32_t sne_mac_four_words(int32_t *sums, const sne_weight *weight, const int8_t *values, uint32_t runs,
                                        uint32_t count, uint32_t from_step, uint32_t row, uint32_t row_step, size_t pitch)
{
    return sne_mac_words(sums, weight, values, runs, count, from_step, row, row_step, pitch, 4);
}

#endif
