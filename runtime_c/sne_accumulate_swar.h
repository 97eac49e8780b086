/* Accumulation for cores without vector instructions (Cortex-M0, M3, RISC-V): two weights at a time in the halves of a word.
 *
 * A weight plus 128, as these cores store it, is an unsigned byte. Words of membranes are integers modulo 2^32, to which
 * those of weights add exactly: with the lower lane's sign turned, no lane borrows from the other, and each row's 128 is
 * taken off at once. A word of four weights holds two words of lanes, even + (odd << 8). Of those, whole words (`all`) and
 * odd bytes are summed; even = all - (odd << 8) comes at the end, an instruction less for each word. */
#ifndef SNE_ACCUMULATE_SWAR_H
#define SNE_ACCUMULATE_SWAR_H

#include "sne_accumulate_portable.h"

#if defined(SNE_THUMB2)
#include "sne_accumulate_thumb2.h"
#elif defined(SNE_WORDS)
#include "sne_accumulate_words.h"
#else
#include "sne_accumulate_thumb1.h"
#endif

#define SNE_SWAR_LANES 0x00ff00ffu
#define SNE_SWAR_SIGN 0x8000u
#define SNE_SWAR_BIAS 0x00800080u

#if !defined(SNE_WORDS)
/* Four outputs. `sign`: what turns the lower lane's, 0 where it is turned. */
SNE_INLINE void sne_add_four_swar(sne_word *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                  uint32_t sign)
{
    const uint32_t bias = (uint32_t)(end - rows) * SNE_SWAR_BIAS;
    uint32_t odd = (v[1] ^ sign) - bias, all = (v[0] ^ sign) - bias + (odd << 8);
    while (rows != end) {
        const uint32_t w = *(const sne_word *)(const void *)(weight + *rows++);
        all += w;
        odd += (w >> 8) & SNE_SWAR_LANES;
    }
    v[0] = (all - (odd << 8)) ^ sign;
    v[1] = odd ^ sign;
}

/* Fewer than sixteen outputs. */
SNE_OUTLINE void sne_add_tail_swar(void *membranes, const sne_weight *weight, const uint32_t *rows,
                                   const uint32_t *end, size_t stride, uint32_t sign)
{
    sne_word *v = (sne_word *)membranes;
    if (stride >= 8) {
#if defined(SNE_THUMB2)
        sne_add_eight_thumb2((uint32_t *)v, weight, rows, end, sign);
#else
        sne_add_eight_thumb1((uint32_t *)v, weight, rows, end, sign);
#endif
        v += 4;
        weight += 8;
    }
    if (stride & 7u) {
        sne_add_four_swar(v, weight, rows, end, sign);
    }
}
#endif

SNE_INLINE void sne_add_rows_swar(uint32_t *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                                  size_t stride, int turned)
{
    const uint32_t sign = turned ? 0u : SNE_SWAR_SIGN;
#if defined(SNE_WORDS)
    sne_add_all_words(v, weight, rows, end, stride, sign);
#else
    const size_t tail = stride & 15u, whole = stride - tail;
    if (tail) {
        sne_add_tail_swar(v + whole / 2, weight + whole, rows, end, tail, sign);
    }
    if (whole) {
#if defined(SNE_THUMB2)
        sne_add_sixteens_thumb2(v, weight, rows, end, whole); /* only the M0's are turned */
#else
        sne_add_sixteens_thumb1(v, weight, rows, end, whole, sign);
#endif
    }
#endif
}

#if !defined(SNE_WORDS)
/* Any chain: four outputs at a time. */
SNE_OUTLINE void sne_chain_fours_swar(void *membranes, const sne_weight *weight, size_t n, const sne_chain *chain,
                                      uint32_t sign)
{
    sne_word *v = (sne_word *)membranes;
    for (; n; n--, weight -= chain->next) {
        const sne_weight *const end = weight + chain->stride;
        for (; weight != end; weight += 4, v += 2) {
            const uint32_t w = *(const sne_word *)(const void *)weight;
            v[0] = ((v[0] ^ sign) + (w & SNE_SWAR_LANES) - SNE_SWAR_BIAS) ^ sign;
            v[1] = ((v[1] ^ sign) + ((w >> 8) & SNE_SWAR_LANES) - SNE_SWAR_BIAS) ^ sign;
        }
    }
}
#endif

SNE_INLINE void sne_add_chain_swar(uint32_t *v, const sne_weight *weight, size_t n, const sne_chain *chain, int turned)
{
#if defined(SNE_THUMB2)
    if (turned && (chain->stride & 15u) == 0) {
        sne_chain_turned_thumb2(v, weight, n, chain);
        return;
    }
#endif
#if defined(SNE_WORDS)
    if (turned) {
        sne_chain_turned_words(v, weight, n, chain);
    } else {
        sne_chain_plain_words(v, weight, n, chain);
    }
#else
    sne_chain_fours_swar(v, weight, n, chain, turned ? 0u : SNE_SWAR_SIGN);
#endif
}

#endif
