/* How int8 weights lie in memory: in rows of one spike's weights, padded with zeros to a multiple of four.
 *
 * Generated tables write four weights as SNE_W4(a, b, c, d), and the compiler puts them where the core's kernels want
 * them. With two 16-bit lanes a word, bytes 0 and 2 belong to one word of lanes and bytes 1 and 3 to the other: there
 * the middle two change places, so that membranes stay in their natural order. Without instructions for signed lanes,
 * 128 is added as well.
 *
 * A layer that multiplies takes its inputs in twos: a row has two inputs' weights, four outputs at a time, written as
 * SNE_P8(four of the first input's, four of the second's). Dual multiplication wants two inputs' weights for one output in
 * the lanes of a word. A core that loads no signed bytes cheaply has 128 added here too. Where a core convolves
 * (sne_convolve.h), a direct input's convolution has tables of SNE_D8 instead, of two inputs and four outputs likewise. */
#ifndef SNE_WEIGHTS_H
#define SNE_WEIGHTS_H

#include <stddef.h>
#include <stdint.h>

#include "sne_core.h"

#if defined(SNE_PORTABLE) || defined(SNE_HOST) || defined(SNE_HELIUM)
typedef int8_t sne_weight;
#define SNE_W4(a, b, c, d) a, b, c, d
#define SNE_P8(a, b, c, d, e, f, g, h) a, b, c, d, e, f, g, h
#define SNE_WEIGHT_SECOND 1
#define SNE_WEIGHT_OFFSET 0
#elif defined(SNE_DSP)
typedef int8_t sne_weight;
#define SNE_W4(a, b, c, d) a, c, b, d
#define SNE_P8(a, b, c, d, e, f, g, h) a, b, e, f, c, d, g, h
#define SNE_CONVOLVES
#define SNE_D8(a, b, c, d, e, f, g, h) \
    (a), (b) - ((a) < 0), (e), (f) - ((e) < 0), (c), (d) - ((c) < 0), (g), (h) - ((g) < 0)
#define SNE_WEIGHT_SECOND 2
#define SNE_WEIGHT_OFFSET 0
#else
typedef uint8_t sne_weight;
#define SNE_W4(a, b, c, d) (a) + 128, (c) + 128, (b) + 128, (d) + 128
#if defined(SNE_THUMB2) || defined(SNE_WORDS)
#define SNE_P8(a, b, c, d, e, f, g, h) \
    (uint8_t)(a), (uint8_t)(b), (uint8_t)(c), (uint8_t)(d), (uint8_t)(e), (uint8_t)(f), (uint8_t)(g), (uint8_t)(h)
#else
#define SNE_P8(a, b, c, d, e, f, g, h) \
    (a) + 128, (b) + 128, (c) + 128, (d) + 128, (e) + 128, (f) + 128, (g) + 128, (h) + 128
#endif
#define SNE_WEIGHT_SECOND 2
#define SNE_WEIGHT_OFFSET 128
#endif

/* Weight `i` of a row. */
SNE_INLINE int32_t sne_weight_at(const sne_weight *row, size_t i)
{
    if (SNE_WEIGHT_SECOND == 2) {
        i = (i & ~(size_t)3) | (i & 1u) << 1 | (i >> 1 & 1u);
    }
    return (int32_t)row[i] - SNE_WEIGHT_OFFSET;
}

/* Weight `k` (0 .. 3, a constant) of the four at `w`. */
/*@ requires 0 <= k <= 3;
    requires \valid_read(w + (0 .. 3));
    assigns \nothing;
    ensures -128 <= \result <= 127; */
SNE_INLINE int32_t sne_weight_of_four(const sne_weight *w, int k)
{
    return (int32_t)w[k == 1 ? SNE_WEIGHT_SECOND : k == 2 ? 3 - SNE_WEIGHT_SECOND : k] - SNE_WEIGHT_OFFSET;
}

#endif
