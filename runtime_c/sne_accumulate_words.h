/* Accumulation on 32-bit cores with many registers and no instructions for lanes (RISC-V): the sums of sne_accumulate_swar.h,
 * which says what lanes hold, in C. A compiler keeps those of 32 outputs in registers. */
#ifndef SNE_ACCUMULATE_WORDS_H
#define SNE_ACCUMULATE_WORDS_H

#include "sne_accumulate_portable.h"

/* v[j] += weight[*row + j] over all rows, one at least, and j < 4 * fours, a constant of 8 at most. `sign`: what turns a lower
 * lane's, 0 where it is turned. */
SNE_INLINE void sne_add_fours_words(sne_word *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                    const int fours, uint32_t sign)
{
    const uint32_t bias = (uint32_t)(end - rows) * 0x00800080u;
    uint32_t all[8], odd[8];
    int i;
#pragma GCC unroll 8
    for (i = 0; i < fours; i++) {
        odd[i] = (v[2 * i + 1] ^ sign) - bias;
        all[i] = (v[2 * i] ^ sign) - bias + (odd[i] << 8);
    }
    do {
        const sne_word *const row = (const sne_word *)(const void *)(weight + *rows++);
#pragma GCC unroll 8
        for (i = 0; i < fours; i++) {
            const uint32_t w = row[i];
            all[i] += w;
            odd[i] += (w >> 8) & 0x00ff00ffu;
            __asm__ volatile("" ::: "memory"); /* no instruction: a word after the other, or there are too few registers */
        }
    } while (rows != end);
#pragma GCC unroll 8
    for (i = 0; i < fours; i++) {
        v[2 * i] = (all[i] - (odd[i] << 8)) ^ sign;
        v[2 * i + 1] = odd[i] ^ sign;
    }
}

/* Any number of fours of outputs. */
SNE_OUTLINE void sne_add_all_words(void *membranes, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                   size_t stride, uint32_t sign)
{
    sne_word *v = (sne_word *)membranes;
    for (; stride >= 32u; stride -= 32u, weight += 32, v += 16) {
        sne_add_fours_words(v, weight, rows, end, 8, sign);
    }
    if (stride & 16u) {
        sne_add_fours_words(v, weight, rows, end, 4, sign);
        weight += 16;
        v += 8;
    }
    if (stride & 8u) {
        sne_add_fours_words(v, weight, rows, end, 2, sign);
        weight += 8;
        v += 4;
    }
    if (stride & 4u) {
        sne_add_fours_words(v, weight, rows, end, 1, sign);
    }
}

/* Four weights of a chain (sne_accumulate.h) to two words of membranes. */
SNE_INLINE void sne_add_link_words(sne_word *v, uint32_t w, uint32_t sign)
{
    v[0] = ((v[0] ^ sign) + (w & 0x00ff00ffu) - 0x00800080u) ^ sign;
    v[1] = ((v[1] ^ sign) + ((w >> 8) & 0x00ff00ffu) - 0x00800080u) ^ sign;
}

/* A chain, one position at least. */
SNE_INLINE void sne_add_chain_words(void *membranes, const sne_weight *weight, size_t n, const sne_chain *chain, uint32_t sign)
{
    const size_t stride = chain->stride, back = chain->next;
    sne_word *v = (sne_word *)membranes;
    for (; n; n--, weight -= back) {
        const sne_weight *const end = weight + (stride & ~(size_t)7);
        for (; weight != end; weight += 8, v += 4) {
            const sne_word *const w = (const sne_word *)(const void *)weight;
            sne_add_link_words(v, w[0], sign);
            sne_add_link_words(v + 2, w[1], sign);
        }
        if (stride & 4u) {
            sne_add_link_words(v, *(const sne_word *)(const void *)weight, sign);
            weight += 4;
            v += 2;
        }
    }
}

/* With the membranes' signs as they are, and turned. */
SNE_OUTLINE void sne_chain_plain_words(void *v, const sne_weight *weight, size_t n, const sne_chain *chain)
{
    sne_add_chain_words(v, weight, n, chain, 0x8000u);
}

SNE_OUTLINE void sne_chain_turned_words(void *v, const sne_weight *weight, size_t n, const sne_chain *chain)
{
    sne_add_chain_words(v, weight, n, chain, 0);
}

#endif
