/* How int8 weights lie in memory: in rows of one spike's weights, padded with zeros to a multiple of four.
 *
 * Generated tables write four weights as SNE_W4(a, b, c, d), and the compiler puts them where the core's kernels want
 * them. With two 16-bit lanes a word, bytes 0 and 2 belong to one word of lanes and bytes 1 and 3 to the other: there
 * the middle two change places, so that membranes stay in their natural order. Without instructions for signed lanes,
 * 128 is added as well. */
#ifndef SNE_WEIGHTS_H
#define SNE_WEIGHTS_H

#include "sne_neuron.h"

#if !defined(__arm__) || defined(__ARM_FEATURE_MVE) || defined(__ARM_BIG_ENDIAN)
typedef int8_t sne_weight;
#define SNE_W4(a, b, c, d) a, b, c, d
#define SNE_WEIGHT_SECOND 1
#define SNE_WEIGHT_OFFSET 0
#elif defined(__ARM_FEATURE_SIMD32)
typedef int8_t sne_weight;
#define SNE_W4(a, b, c, d) a, c, b, d
#define SNE_WEIGHT_SECOND 2
#define SNE_WEIGHT_OFFSET 0
#else
typedef uint8_t sne_weight;
#define SNE_W4(a, b, c, d) (a) + 128, (c) + 128, (b) + 128, (d) + 128
#define SNE_WEIGHT_SECOND 2
#define SNE_WEIGHT_OFFSET 128
#endif

/* Weight `k` (0 .. 3, a constant) of the four at `w`. */
SNE_INLINE int32_t sne_weight_of_four(const sne_weight *w, int k)
{
    return (int32_t)w[k == 1 ? SNE_WEIGHT_SECOND : k == 2 ? 3 - SNE_WEIGHT_SECOND : k] - SNE_WEIGHT_OFFSET;
}

#endif
