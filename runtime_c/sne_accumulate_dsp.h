/* Accumulation with the DSP extension (Cortex-M4, M7, M33): SXTAB16 adds two sign-extended int8 weights to two int16
 * lanes in one instruction. */
#ifndef SNE_ACCUMULATE_DSP_H
#define SNE_ACCUMULATE_DSP_H

#include "sne_accumulate_portable.h"
#include "sne_dsp.h"

/* Four membranes as two words of lanes: v[0], v[2] and v[1], v[3]. */
SNE_INLINE void sne_load_lanes(const int16_t *v, uint32_t *even, uint32_t *odd)
{
    const uint32_t low = sne_load_word(v), high = sne_load_word(v + 2);
    *even = (low & 0xffffu) | (high << 16);
    *odd = (low >> 16) | (high & 0xffff0000u);
}

SNE_INLINE void sne_store_lanes(int16_t *v, uint32_t even, uint32_t odd)
{
    sne_store_word(v, (even & 0xffffu) | (odd << 16));
    sne_store_word(v + 2, (even >> 16) | (odd & 0xffff0000u));
}

/* Sixteen outputs stay in eight registers over all events, then four in two. */
SNE_INLINE void sne_add_rows_dsp(int16_t *v, const int8_t *weight, size_t outputs, const uint16_t *events, size_t n)
{
    const uint16_t *const end = events + n;
    const uint16_t *e;
    size_t j = 0;
    for (; j + 16 <= outputs; j += 16) {
        const int8_t *block = weight + j;
        uint32_t e0, o0, e1, o1, e2, o2, e3, o3;
        sne_load_lanes(v + j, &e0, &o0);
        sne_load_lanes(v + j + 4, &e1, &o1);
        sne_load_lanes(v + j + 8, &e2, &o2);
        sne_load_lanes(v + j + 12, &e3, &o3);
        for (e = events; e != end; e++) {
            const int8_t *w = block + *e * outputs;
            const uint32_t w0 = sne_load_word(w), w1 = sne_load_word(w + 4);
            const uint32_t w2 = sne_load_word(w + 8), w3 = sne_load_word(w + 12);
            e0 = sne_add_even(e0, w0);
            o0 = sne_add_odd(o0, w0);
            e1 = sne_add_even(e1, w1);
            o1 = sne_add_odd(o1, w1);
            e2 = sne_add_even(e2, w2);
            o2 = sne_add_odd(o2, w2);
            e3 = sne_add_even(e3, w3);
            o3 = sne_add_odd(o3, w3);
        }
        sne_store_lanes(v + j, e0, o0);
        sne_store_lanes(v + j + 4, e1, o1);
        sne_store_lanes(v + j + 8, e2, o2);
        sne_store_lanes(v + j + 12, e3, o3);
    }
    for (; j + 4 <= outputs; j += 4) {
        const int8_t *block = weight + j;
        uint32_t even, odd;
        sne_load_lanes(v + j, &even, &odd);
        for (e = events; e != end; e++) {
            const uint32_t w = sne_load_word(block + *e * outputs);
            even = sne_add_even(even, w);
            odd = sne_add_odd(odd, w);
        }
        sne_store_lanes(v + j, even, odd);
    }
    for (; j < outputs; j++) {
        int32_t sum = v[j];
        for (e = events; e != end; e++) {
            sum += weight[*e * outputs + j];
        }
        v[j] = (int16_t)sum;
    }
}

/* v[0..3] += w[0..3]: the lanes of the weights are put in order, which is cheaper than to do it with the membranes. */
SNE_INLINE void sne_add_four(int16_t *v, const int8_t *weight)
{
    const uint32_t w = sne_load_word(weight);
    const uint32_t even = sne_add_even(0, w), odd = sne_add_odd(0, w);
    sne_store_word(v, sne_add_lanes(sne_load_word(v), sne_low_lanes(even, odd)));
    sne_store_word(v + 2, sne_add_lanes(sne_load_word(v + 2), sne_high_lanes(even, odd)));
}

SNE_INLINE void sne_add_row_dsp(int16_t *v, const int8_t *weight, size_t n)
{
    for (; n >= 8; n -= 8, v += 8, weight += 8) {
        sne_add_four(v, weight);
        sne_add_four(v + 4, weight + 4);
    }
    if (n >= 4) {
        sne_add_four(v, weight);
        v += 4;
        weight += 4;
    }
    sne_add_row_portable(v, 0, weight, n & 3u, 16);
}

#endif
