/* Multiplication: the innermost loops of a layer that takes int8 values instead of spikes.
 *
 * Sums are 32 bits wide whatever the membranes' width. They are exact modulo 2^32, so partial sums may do as they like: the
 * final ones are proven to fit. As with accumulation, sne_core.h says whose are taken, and a core with something better gets
 * one more file here, with one function.
 *
 * Where two products an instruction, or more, want their inputs side by side, values are listed in twos: an entry of the list
 * is two words, the place of two inputs' row of weights (see sne_weights.h) and their values, the first in the low half.
 * SNE_MAC adds
 *
 *   sums[j] += weight[row of first, j] * first + weight[row of second, j] * second
 *
 * over all entries from `pairs` to `end`, at least one, and outputs j < count, 4 .. SNE_MAC_BLOCK in fours. The other cores
 * multiply values where they lie: SNE_MAC_SEEN_8 adds all that a position sees (sne_list.h; rows are numbers of inputs) to
 * eight sums, SNE_MAC_SEEN_4 to four, `pitch` being the bytes of two inputs' weights; they return how many of the values are
 * 0. */
#ifndef SNE_MULTIPLY_H
#define SNE_MULTIPLY_H

#include "sne_neuron.h"
#include "sne_weights.h"

#if defined(SNE_HELIUM)
#include "sne_multiply_helium.h"
#define SNE_MAC(sums, weight, pairs, end, count) sne_mac_helium(sums, weight, pairs, end, count)
#define SNE_MAC_BLOCK 24u
#elif defined(SNE_DSP)
#include "sne_multiply_dsp.h"
#define SNE_MAC(sums, weight, pairs, end, count) sne_mac_dsp(sums, weight, pairs, end, count)
#define SNE_MAC_BLOCK 8u
#elif defined(SNE_THUMB2)
#include "sne_multiply_thumb2.h"
#define SNE_MAC_SEEN_8(sums, weight, values, view, pitch) sne_mac_eight_thumb2(sums, weight, values, view, pitch)
#define SNE_MAC_SEEN_4(sums, weight, values, view, pitch) sne_mac_four_thumb2(sums, weight, values, view, pitch)
#elif defined(SNE_THUMB1)
#include "sne_multiply_thumb1.h"
#define SNE_MAC_SEEN_8(sums, weight, values, view, pitch) sne_mac_eight_thumb1(sums, weight, values, view, pitch)
#define SNE_MAC_SEEN_4(sums, weight, values, view, pitch) sne_mac_four_thumb1(sums, weight, values, view, pitch)
#elif defined(SNE_WORDS)
#include "sne_multiply_words.h"
#define SNE_MAC_SEEN_8(sums, weight, values, view, pitch) SNE_MAC_WORDS(sne_mac_eight_words, sums, weight, values, view, pitch)
#define SNE_MAC_SEEN_4(sums, weight, values, view, pitch) SNE_MAC_WORDS(sne_mac_four_words, sums, weight, values, view, pitch)
#define SNE_MAC_WORDS(mac, sums, weight, values, view, pitch) \
    mac(sums, weight, values, (view)->runs, (view)->count, (view)->from_step, (view)->row, (view)->row_step, pitch)
#else
#include "sne_multiply_portable.h"
#define SNE_MAC(sums, weight, pairs, end, count) sne_mac_portable(sums, weight, pairs, end)
#define SNE_MAC_BLOCK 4u
#endif

#if !defined(SNE_MAC_SEEN_8)

/* Two neighbouring values as lanes. */
SNE_INLINE uint32_t sne_two_values(const int8_t *x)
{
#if defined(SNE_DSP) || defined(SNE_HELIUM)
    uint16_t bytes;
    __builtin_memcpy(&bytes, x, sizeof bytes); /* may lie at any address */
    return sne_even_bytes(bytes | (uint32_t)bytes << 8);
#else
    return ((uint32_t)x[0] & 0xffffu) | (uint32_t)x[1] << 16;
#endif
}

SNE_OUTLINE void sne_mac_32(int32_t *v, const sne_weight *weight, size_t stride, const uint32_t *pairs, size_t n)
{
    size_t j;
    for (j = 0; n && j < stride; j += SNE_MAC_BLOCK) {
        const size_t count = stride - j < SNE_MAC_BLOCK ? stride - j : SNE_MAC_BLOCK;
        SNE_MAC(v + j, weight + 2 * j, pairs, pairs + n, count);
        (void)count;
    }
}

SNE_OUTLINE void sne_mac_16(void *v, const sne_weight *weight, size_t stride, const uint32_t *pairs, size_t n)
{
    int32_t sums[SNE_MAC_BLOCK];
    size_t j, k;
    for (j = 0; n && j < stride; j += SNE_MAC_BLOCK) {
        const size_t count = stride - j < SNE_MAC_BLOCK ? stride - j : SNE_MAC_BLOCK;
        for (k = 0; k < count; k++) {
            sums[k] = sne_get(v, j + k, 16);
        }
        SNE_MAC(sums, weight + 2 * j, pairs, pairs + n, count);
        for (k = 0; k < count; k++) {
            sne_put(v, j + k, sums[k], 16);
        }
    }
}

/* The same for all outputs j < stride of membranes `v`, over the `n` words at `pairs`. */
SNE_INLINE void sne_mac(void *v, const sne_weight *weight, size_t stride, const uint32_t *pairs, size_t n, int width)
{
    if (width == 16) {
        sne_mac_16(v, weight, stride, pairs, n);
    } else {
        sne_mac_32((int32_t *)v, weight, stride, pairs, n);
    }
}

#endif
#endif
