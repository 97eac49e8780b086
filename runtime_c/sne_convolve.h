/* Convolve: a direct input's convolution, two positions of a row of outputs at a time.
 *
 * The windows of both are laid side by side, so that a weight is loaded and widened once for both: a row of the kernel is
 * `run` values, taken in fours and then what is left; of four, the first and the third are a pair, and the second and the
 * fourth; of one or two left, these are; three are four of which the last is 0. An entry of the window is two words, the
 * same pair of either position, as lanes. Weights lie by fours of outputs, each four's in the order of the entries
 * (SNE_D8 in sne_weights.h). sne_core.h says which cores do so; the others list values and multiply as `mac` does. */
#ifndef SNE_CONVOLVE_H
#define SNE_CONVOLVE_H

#include "sne_list.h"
#include "sne_multiply.h"

#if defined(SNE_CONVOLVES)

/* A layer's constants, and of a row of outputs what its windows have in common. */
typedef struct {
    uint32_t run;      /* values of a row of the kernel */
    uint32_t words;    /* of the window, that these take; and of weights, for four outputs */
    uint32_t length;   /* values of a row of the input */
    uint32_t next;     /* from a position's first value to the next one's */
    uint32_t room;     /* so many places in a row of the input, from 0 on, where two windows may begin and lie in it */
    uint32_t *window;
    uint32_t rows;     /* of the kernel, that lie within the input */
    uint32_t values;   /* that they see, two positions together, zeros that fill up fours included */
    size_t skip;       /* bytes of a four's weights that belong to other rows of the kernel */
    const int8_t *line; /* the input's row that the first of these meets, and its weights */
    const sne_weight *weight;
} sne_convolution;

SNE_INLINE void sne_begin_convolution(const sne_synapses *p, uint32_t *window, sne_convolution *c)
{
    const uint32_t channels = p->in_channels;
    c->run = p->kernel_width * channels;
    c->words = (c->run + 1u) & ~1u;
    c->length = p->in_width * channels;
    c->next = p->stride_width * channels;
    c->room = c->length < c->next + c->run ? 0u : c->length - c->next - c->run + 1u;
    c->window = window;
}

/* Output row `y`. */
SNE_INLINE void sne_convolve_row(const sne_synapses *p, const int8_t *input, uint32_t y, sne_convolution *c)
{
    const int32_t top = (int32_t)(y * p->stride_height) - (int32_t)p->padding_height;
    uint32_t low, high;
    sne_clip(top, p->kernel_height, p->in_height, &low, &high);
    c->rows = high - low;
    c->values = 2u * c->rows * ((c->run + 3u) & ~3u);
    c->skip = 4u * c->words * (p->kernel_height - c->rows);
    c->line = input + (uint32_t)(top + (int32_t)low) * c->length;
    c->weight = p->weight + 4u * c->words * low;
}

/* Lay four values of either position. `zeros` counts the zeros among them, by bytes. */
SNE_INLINE void sne_lay_four(uint32_t a, uint32_t b, uint32_t *window, uint32_t *zeros)
{
    window[0] = sne_even_bytes(a);
    window[1] = sne_even_bytes(b);
    window[2] = sne_odd_bytes(a);
    window[3] = sne_odd_bytes(b);
    *zeros += sne_zero_bytes(a) + sne_zero_bytes(b);
}

/* Lay `n` values (1 .. 4), in the low bytes of `a` and `b`. Returns where the next go. */
SNE_INLINE uint32_t *sne_lay_rest(uint32_t a, uint32_t b, uint32_t n, uint32_t *window, uint32_t *zeros)
{
    if (n > 2u) {
        sne_lay_four(a, b, window, zeros);
        return window + 4;
    }
    window[0] = sne_even_bytes(a | a << 8);
    window[1] = sne_even_bytes(b | b << 8);
    *zeros += sne_zero_bytes(a) + sne_zero_bytes(b);
    return window + 2;
}

/* The first one to three values at `x`, in the low bytes. */
SNE_INLINE uint32_t sne_rest_values(const int8_t *x, uint32_t rest)
{
    uint32_t word = (uint8_t)x[0];
    if (rest > 1u) {
        word |= (uint32_t)(uint8_t)x[1] << 8;
    }
    if (rest > 2u) {
        word |= (uint32_t)(uint8_t)x[2] << 16;
    }
    return word;
}

/* `n` values (1 .. 4) of an input's row of `length` values from index `at` on, in the low bytes; beyond its ends are zeros. */
SNE_INLINE uint32_t sne_inner_values(const int8_t *row, int32_t at, uint32_t n, uint32_t length)
{
    uint32_t word = 0, k;
    if (n == 4u && (uint32_t)at < length && (uint32_t)(at + 3) < length) {
        return sne_load_word(row + at);
    }
    if (at <= -(int32_t)n || at >= (int32_t)length) {
        return 0;
    }
    for (k = 0; k < n; k++) {
        if ((uint32_t)at + k < length) {
            word |= (uint32_t)(uint8_t)row[at + (int32_t)k] << (8u * k);
        }
    }
    return word;
}

/* Lay the windows of two positions that lie within the input, the first value of the first one at `a`. Returns the window's
 * end, and adds to `zeros`. */
SNE_INLINE uint32_t *sne_lay_inside(const sne_convolution *c, const int8_t *a, uint32_t *zeros)
{
    const uint32_t rest = c->run & 3u, fours = c->run & ~3u;
    uint32_t *at = c->window, rows = c->rows;
    do {
        const int8_t *const left = a + fours;
        if (fours) {
            at = sne_lay_fours_dsp(a, left, c->next, at, zeros);
        }
        if (rest) {
            at = sne_lay_rest(sne_rest_values(left, rest), sne_rest_values(left + c->next, rest), rest, at, zeros);
        }
        a += c->length;
    } while (--rows);
    return at;
}

/* The same for windows that may reach beyond the input's rows, whose first values have indices `from` and `next` in these. */
SNE_INLINE uint32_t *sne_lay_border(const sne_convolution *c, int32_t from, int32_t next, uint32_t *zeros)
{
    const int8_t *line = c->line;
    uint32_t *at = c->window, rows = c->rows, i;
    for (; rows; rows--, line += c->length) {
        for (i = 0; i < c->run; i += 4u) {
            const uint32_t n = c->run - i < 4u ? c->run - i : 4u;
            const uint32_t a = sne_inner_values(line, from + (int32_t)i, n, c->length);
            const uint32_t b = sne_inner_values(line, next + (int32_t)i, n, c->length);
            at = sne_lay_rest(a, b, n, at, zeros);
        }
    }
    return at;
}

/* The constant currents of two neighbouring positions, whose first one's window begins at index `from` of the input's rows,
 * below 0 in the padding: for 32 bits, to sums [2][stride]. `base`, the bias, may lie where the first one's go. `two`: there
 * is the second position, too. Returns how many values they see that are not 0. */
SNE_OUTLINE uint32_t sne_convolve(const sne_convolution *c, const int32_t *base, int32_t from, int two, int32_t *sums,
                                  size_t stride)
{
    uint32_t zeros = 0, values;
    const uint32_t *end;
    if (two && (uint32_t)from < c->room) {
        end = sne_lay_inside(c, c->line + from, &zeros);
    } else {
        end = sne_lay_border(c, from, from + (int32_t)(two ? c->next : 0u), &zeros);
    }
    values = c->values - sne_sum_bytes(zeros);
    if (values) {
        sne_convolve_dsp(sums, c->weight, c->window, end, base, stride, c->skip);
    } else {
        size_t j;
        for (j = 0; j < stride; j++) {
            sums[j] = sums[stride + j] = base[j];
        }
    }
    return two ? values : values >> 1;
}

#endif
#endif
