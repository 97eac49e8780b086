/* Accumulation for cores without vector instructions (Cortex-M0, M3): two weights at a time in the halves of a word.
 *
 * A weight plus 128 is an unsigned byte, and 257 of them fit in 16 bits, so lanes cannot run into each other; what was
 * added too much comes off at the end. Needs weights aligned to words. */
#ifndef SNE_ACCUMULATE_SWAR_H
#define SNE_ACCUMULATE_SWAR_H

#include "sne_accumulate_portable.h"

#define SNE_SWAR_EVENTS 257u /* 257 * 255 = 65535 */
#define SNE_SWAR_LANES 0x00ff00ffu
#if defined(__ARM_ARCH_ISA_THUMB) && __ARM_ARCH_ISA_THUMB == 1
#define SNE_SWAR_WORDS 2 /* the M0 has only eight registers for arithmetic */
#else
#define SNE_SWAR_WORDS 4
#endif

/* Whether words can be loaded, and there are events enough to pay for taking the lanes apart. */
SNE_INLINE int sne_swar_can(const int8_t *weight, size_t outputs, size_t n)
{
    return (((size_t)weight | outputs) & 3u) == 0 && n >= 4;
}

/* Lanes plus four weights, 128 added to each. */
SNE_INLINE void sne_sum_lanes(const int8_t *weight, uint32_t *even, uint32_t *odd)
{
    uint32_t word;
    __builtin_memcpy(&word, __builtin_assume_aligned(weight, 4), sizeof word);
    word ^= 0x80808080u;
    *even += word & SNE_SWAR_LANES;
    *odd += (word >> 8) & SNE_SWAR_LANES;
}

/* v[j .. j + 3] += lanes (outputs j, j + 2 and j + 1, j + 3) - bias. */
SNE_INLINE void sne_add_lanes_to(void *v, size_t j, uint32_t even, uint32_t odd, int32_t bias, int width)
{
    sne_put(v, j, sne_get(v, j, width) + (int32_t)(even & 0xffffu) - bias, width);
    sne_put(v, j + 1, sne_get(v, j + 1, width) + (int32_t)(odd & 0xffffu) - bias, width);
    sne_put(v, j + 2, sne_get(v, j + 2, width) + (int32_t)(even >> 16) - bias, width);
    sne_put(v, j + 3, sne_get(v, j + 3, width) + (int32_t)(odd >> 16) - bias, width);
}

/* The lanes of `words` (at most four) words of weights from `block` on, summed over all events. The loops over words
 * are unrolled, and the sums stay in registers. */
SNE_INLINE void sne_add_words(void *v, size_t j, const int8_t *weight, size_t outputs, const uint16_t *events,
                              const uint16_t *end, int words, int width)
{
    const int32_t bias = 128 * (int32_t)(end - events);
    const int8_t *const block = weight + j;
    uint32_t even0 = 0, odd0 = 0, even1 = 0, odd1 = 0, even2 = 0, odd2 = 0, even3 = 0, odd3 = 0;
    for (; events != end; events++) {
        const int8_t *w = block + *events * outputs;
        sne_sum_lanes(w, &even0, &odd0);
        if (words > 1) {
            sne_sum_lanes(w + 4, &even1, &odd1);
        }
        if (words > 2) {
            sne_sum_lanes(w + 8, &even2, &odd2);
            sne_sum_lanes(w + 12, &even3, &odd3);
        }
    }
    sne_add_lanes_to(v, j, even0, odd0, bias, width);
    if (words > 1) {
        sne_add_lanes_to(v, j + 4, even1, odd1, bias, width);
    }
    if (words > 2) {
        sne_add_lanes_to(v, j + 8, even2, odd2, bias, width);
        sne_add_lanes_to(v, j + 12, even3, odd3, bias, width);
    }
}

SNE_INLINE void sne_add_rows_swar(void *v, const int8_t *weight, size_t outputs, const uint16_t *events, size_t n,
                                  int width)
{
    while (n > 0) {
        const size_t chunk = n < SNE_SWAR_EVENTS ? n : SNE_SWAR_EVENTS;
        const uint16_t *const end = events + chunk;
        size_t j = 0;
        for (; SNE_SWAR_WORDS == 4 && j + 16 <= outputs; j += 16) {
            sne_add_words(v, j, weight, outputs, events, end, 4, width);
        }
        for (; j + 8 <= outputs; j += 8) {
            sne_add_words(v, j, weight, outputs, events, end, 2, width);
        }
        if (j < outputs) {
            sne_add_words(v, j, weight, outputs, events, end, 1, width);
        }
        events = end;
        n -= chunk;
    }
}

#endif
