/* A layer's tables, what it works on, and the arithmetic that every kernel needs of both. */
#ifndef SNE_TABLES_H
#define SNE_TABLES_H

#include <limits.h>

#include "sne_neuron.h"
#include "sne_weights.h"

enum { SNE_GATHER, SNE_SWEEP, SNE_SCATTER, SNE_OVERLAP, SNE_COLLECT, SNE_DEPTHWISE, SNE_MAC, SNE_CONVOLVE }; /* sne_kernels.h */
enum { SNE_SHIFTED = 16 }; /* beside a kernel that multiplies: the layer is an sne_direct */

/* Division by a constant for i < 65536: (i * multiplier) >> shift, or a real one where the multiplier is 0. */
typedef struct {
    uint32_t multiplier;
    uint16_t shift;
    uint16_t divisor;
} sne_divider;

/* Along one axis: pairs[start[i]] .. pairs[start[i + 1] - 1] say which positions of the other side position i meets,
 * and through which tap. */
typedef struct {
    uint16_t position;
    uint16_t tap;
} sne_pair;

#if defined(SNE_WIDE) /* by a model with an axis of more than 65535 pairs, before it includes this */
typedef uint32_t sne_start;
#else
typedef uint16_t sne_start;
#endif

typedef struct {
    const sne_start *start;
    const sne_pair *pairs;
} sne_axis;

typedef struct {
    /* [kernel height][kernel width][in channels (depthwise: 1)] rows; of 4 bits: sne_nibbles.h; multiplied: two inputs' together; convolve: sne_convolve.h */
    const sne_weight *weight;
    sne_axis rows;            /* scatter, collect: the input rows of an output row */
    sne_axis columns;         /* scatter, collect: the output columns of an input column */
    sne_divider divide;       /* by the input's channels */
    uint16_t in_height, in_width, in_channels;
    uint16_t out_height, out_width;
    uint16_t kernel_height, kernel_width;
    uint16_t stride_height, stride_width;
    uint16_t padding_height, padding_width;
    uint16_t capacity;        /* of a job's list of rows */
} sne_synapses;

/* A direct input's layer whose current is shifted: bias, 32 bits wide, and products are summed up in 32 bits, and the sum, shifted
 * to the right, is the current in membranes. */
typedef struct {
    sne_synapses synapses;
    uint32_t shift; /* 1 .. 31; the bias holds what rounds to the nearest */
} sne_direct;

/* Max pooling: the output rows and columns that an input row or column reaches. */
typedef struct {
    sne_axis rows;
    sne_axis columns;
    sne_divider divide; /* by the channels */
    uint16_t in_height, in_width;
    uint16_t out_height, out_width;
} sne_pooling;

/* What a layer works on. `spread`: all membranes have their place, tile after tile, else each tile takes the first one's.
 * `fresh`: they start from rest. */
typedef struct {
    const uint32_t *in; /* [timesteps][words] */
    const int8_t *x;    /* a direct input, instead */
    uint32_t *out;      /* [timesteps][words] */
    void *membranes;
    void *current;      /* of one position, SNE_CONVOLVE two: a direct input's constant current; shifted: and its sums */
    uint32_t *rows;     /* [capacity]; scatter: what each of the input's columns reaches, and a turned drive */
    uint32_t timesteps;
    uint8_t spread;
    uint8_t fresh;
} sne_job;

SNE_INLINE uint32_t sne_divide(uint32_t i, const sne_divider *d)
{
    return d->multiplier ? (i * d->multiplier) >> d->shift : i / d->divisor;
}

/* Place of the lowest bit of x != 0. */
SNE_INLINE uint32_t sne_lowest_bit(uint32_t x)
{
#if defined(SNE_THUMB1) || (defined(SNE_WORDS) && !defined(__riscv_zbb)) /* no instruction tells: the five bits that a de Bruijn sequence has from there on are all different */
    static const uint8_t places[32] = {0,  1,  28, 2,  29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4,  8,
                                       31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6,  11, 5,  10, 9};
    return places[(x & (0u - x)) * 0x077cb531u >> 27];
#elif defined(__GNUC__) && UINT_MAX >= 0xffffffffu
    return (uint32_t)__builtin_ctz(x);
#elif defined(__GNUC__) /* an int of 16 bits */
    return (uint32_t)__builtin_ctzl(x);
#else
    uint32_t place = 0;
    while (!(x >> place & 1u)) {
        place++;
    }
    return place;
#endif
}

SNE_INLINE size_t sne_words(size_t bits)
{
    return (size_t)(((uint32_t)bits + 31u) >> 5);
}

SNE_INLINE void sne_clear(uint32_t *words, size_t n)
{
    uint32_t *const end = words + n;
    while (words != end) {
        *words++ = 0;
    }
}

#endif
