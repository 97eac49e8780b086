/* 4-bit weights, -8 .. 7, two to a byte, and their accumulation.
 *
 * A row holds words of eight weights; channels fill it up to a multiple of eight. A weight is stored plus 8. Within the
 * four bytes of a word, weights 0 to 3 are the low halves of bytes 0, 2, 1, 3, weights 4 to 7 the high halves: bytes 0
 * and 2 of the low halves are then the first two outputs, bytes 1 and 3 the next two, and likewise of the high halves,
 * so that wherever bytes are widened to 16-bit lanes, lanes are in the membranes' order. The order is every core's.
 *
 * The same functions as in sne_accumulate.h, for rows named by their byte offset. A direct input's layer has 8 bits. */
#ifndef SNE_NIBBLES_H
#define SNE_NIBBLES_H

#include "sne_accumulate.h"

/* Bytes of a row of weights for `stride` outputs. */
SNE_INLINE size_t sne_pitch(size_t stride, int weight_bits)
{
    return weight_bits == 4 ? ((stride + 7u) >> 3) << 2 : stride;
}

/* Weight `k` (0 .. 7) of the eight at `w`. */
SNE_INLINE int32_t sne_nibble(const uint8_t *w, size_t k)
{
    const uint8_t byte = w[(k & 1u) << 1 | (k >> 1 & 1u)];
    return (int32_t)(k < 4u ? byte & 15u : byte >> 4) - 8;
}

SNE_INLINE void sne_add_nibbles_portable(void *v, const uint8_t *weight, size_t stride, const uint32_t *rows, size_t n,
                                         int width)
{
    size_t j, k, e;
    for (j = 0; j < stride; j += 4) {
        const uint8_t *const word = weight + (j >> 3 << 2);
        int32_t sums[4];
        for (k = 0; k < 4; k++) {
            sums[k] = sne_get(v, j + k, width);
        }
        for (e = 0; e < n; e++) {
            for (k = 0; k < 4; k++) {
                sums[k] += sne_nibble(word + rows[e], (j & 4u) + k);
            }
        }
        for (k = 0; k < 4; k++) {
            sne_put(v, j + k, sums[k], width);
        }
    }
}

SNE_INLINE void sne_add_nibble_row_portable(void *v, const uint8_t *weight, size_t stride, int width)
{
    size_t j;
    for (j = 0; j < stride; j++) {
        sne_put(v, j, sne_get(v, j, width) + sne_nibble(weight + (j >> 3 << 2), j & 7u), width);
    }
}

#if defined(SNE_HELIUM)
#include "sne_nibbles_helium.h"
#define SNE_ADD_NIBBLE(function) function##_helium
#elif !defined(SNE_HOST) && !defined(SNE_PORTABLE)
#include "sne_nibbles_word.h"
#define SNE_ADD_NIBBLE(function) function##_word
#else
#define SNE_ADD_NIBBLE(function) function##_portable
#endif

SNE_OUTLINE void sne_add_nibbles_16(void *v, const uint8_t *weight, size_t stride, const uint32_t *rows, size_t n)
{
    SNE_ADD_NIBBLE(sne_add_nibbles)(v, weight, stride, rows, n, 16);
}

SNE_OUTLINE void sne_add_nibbles_32(void *v, const uint8_t *weight, size_t stride, const uint32_t *rows, size_t n)
{
    SNE_ADD_NIBBLE(sne_add_nibbles)(v, weight, stride, rows, n, 32);
}

/* Add all rows, at least one, of weights of `weight_bits` (8 or 4, a constant), to `v`; `turned` is for 8 bits. */
SNE_INLINE void sne_bring_rows(void *v, const sne_weight *weight, const uint32_t *rows, const uint32_t *end,
                               size_t stride, int width, int weight_bits, int turned)
{
    const uint8_t *const nibbles = (const uint8_t *)weight;
    const size_t n = (size_t)(end - rows);
    if (weight_bits == 8) {
        sne_add_rows(v, weight, rows, end, stride, width, turned);
    } else if (width == 16) {
        sne_add_nibbles_16(v, nibbles, stride, rows, n);
    } else {
        sne_add_nibbles_32(v, nibbles, stride, rows, n);
    }
}

/* Add a chain of `n` rows, at least one, each to a position of its own; `turned` is for 8 bits. */
SNE_INLINE void sne_bring_chain(void *v, const sne_weight *weight, size_t n, const sne_chain *chain, int width,
                                int weight_bits, int turned)
{
    if (weight_bits == 8) {
        sne_add_chain(v, weight, n, chain, width, turned);
        return;
    }
    for (; n; n--, weight -= chain->next - sne_pitch(chain->stride, 4), v = sne_at(v, chain->stride, width)) {
        SNE_ADD_NIBBLE(sne_add_nibble_row)(v, (const uint8_t *)weight, chain->stride, width);
    }
}

#endif
