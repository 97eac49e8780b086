/* 4-bit weights on cores without Helium: eight at a time in a word.
 *
 * A nibble is at most 15, so a byte holds the sums of seventeen. Whole words are summed (modulo 2^32) as well as their
 * high nibbles; taken together they give the sums of the low ones: low = all - (high << 4). Every sixteen rows, bytes
 * are spread to 16-bit lanes: one instruction for two with the DSP extension, which also adds lanes apart from each other
 * and so spreads to 16-bit membranes at once. There a sum first loses its bias, 8 for each row, and fits in a signed
 * byte; elsewhere lanes keep it, so as not to be negative, and lose it when they are added to membranes. */
#ifndef SNE_NIBBLES_WORD_H
#define SNE_NIBBLES_WORD_H

#include "sne_neuron.h"

#define SNE_NIBBLE_ROWS 16u /* that are summed in bytes */

#if defined(SNE_DSP)
#include "sne_dsp.h"
#include "sne_nibbles_dsp.h"
#define SNE_LANE_BIAS 0u /* of a row, in both lanes */
#else
#define SNE_LANE_BIAS 0x00080008u
#endif
#if defined(SNE_THUMB2)
#include "sne_nibbles_thumb2.h"
#endif

#define SNE_NIBBLE_LOW 0x0f0f0f0fu
#define SNE_NIBBLE_EVEN 0x00ff00ffu
#define SNE_NIBBLE_SIGNS 0x80008000u

/* Two membranes plus two lanes, each less `bias` (in both lanes). */
SNE_INLINE void sne_add_pair(void *v, size_t j, uint32_t lanes, uint32_t bias, int width)
{
    sne_word *const word = (sne_word *)v + j / 2;
    int32_t *const sums = (int32_t *)v + j;
#if defined(SNE_DSP)
    (void)bias;
    if (width == 16) {
        *word = sne_add_lanes(*word, lanes);
    } else {
        sums[0] += (int16_t)(uint16_t)lanes;
        sums[1] += (int32_t)lanes >> 16;
    }
#else
    const int32_t one = (int32_t)(bias & 0xffffu);
    if (width == 16) { /* with signs turned, lanes are not negative, and whole words add exactly */
        *word = ((*word ^ SNE_NIBBLE_SIGNS) + lanes - bias) ^ SNE_NIBBLE_SIGNS;
    } else {
        sums[0] += (int32_t)(lanes & 0xffffu) - one;
        sums[1] += (int32_t)(lanes >> 16) - one;
    }
#endif
}

/* lanes[0 .. 3] plus the sums of a word's eight nibbles over `n` rows. */
SNE_INLINE void sne_spread_word(uint32_t *lanes, uint32_t all, uint32_t high, uint32_t n)
{
    uint32_t low = all - (high << 4);
#if defined(SNE_DSP)
    low = sne_sub_bytes(low, n * 0x08080808u);
    high = sne_sub_bytes(high, n * 0x08080808u);
    lanes[0] = sne_add_even(lanes[0], low);
    lanes[1] = sne_add_odd(lanes[1], low);
    lanes[2] = sne_add_even(lanes[2], high);
    lanes[3] = sne_add_odd(lanes[3], high);
#else
    (void)n;
    lanes[0] += low & SNE_NIBBLE_EVEN;
    lanes[1] += (low >> 8) & SNE_NIBBLE_EVEN;
    lanes[2] += high & SNE_NIBBLE_EVEN;
    lanes[3] += (high >> 8) & SNE_NIBBLE_EVEN;
#endif
}

#if defined(SNE_DSP) || defined(SNE_THUMB2)
/* sne_sum_nibbles over any number of rows, at least one. */
SNE_INLINE void sne_sum_all_nibbles(uint32_t *lanes, const uint8_t *weight, const uint32_t *rows, size_t n)
{
    const uint32_t *const end = rows + n;
    while (end - rows > (ptrdiff_t)SNE_NIBBLE_ROWS) {
        sne_sum_nibbles(lanes, weight, rows, rows + SNE_NIBBLE_ROWS);
        rows += SNE_NIBBLE_ROWS;
    }
    sne_sum_nibbles(lanes, weight, rows, end);
}
#endif

/* Sixteen or (`words` 1) eight outputs, in C. */
SNE_INLINE void sne_sum_few_nibbles(uint32_t *lanes, const uint8_t *weight, const uint32_t *rows, size_t n, int words)
{
    const uint32_t *const end = rows + n;
    do {
        const uint32_t *const stop = end - rows > (ptrdiff_t)SNE_NIBBLE_ROWS ? rows + SNE_NIBBLE_ROWS : end;
        const uint32_t some = (uint32_t)(stop - rows);
        uint32_t all0 = 0, high0 = 0, all1 = 0, high1 = 0;
        do {
            const sne_word *w = (const sne_word *)(const void *)(weight + *rows++);
            all0 += w[0];
            high0 += (w[0] >> 4) & SNE_NIBBLE_LOW;
            if (words == 2) {
                all1 += w[1];
                high1 += (w[1] >> 4) & SNE_NIBBLE_LOW;
            }
        } while (rows != stop);
        sne_spread_word(lanes, all0, high0, some);
        if (words == 2) {
            sne_spread_word(lanes + 4, all1, high1, some);
        }
    } while (rows != end);
}

SNE_INLINE void sne_add_nibbles_word(void *v, const uint8_t *weight, size_t stride, const uint32_t *rows, size_t n,
                                     int width)
{
    const uint32_t bias = (uint32_t)n * SNE_LANE_BIAS;
    size_t j = 0, k;
    uint32_t lanes[16];
    if (n == 0) {
        return;
    }
#if defined(SNE_DSP) || defined(SNE_THUMB2)
    for (; j + 32 <= stride; j += 32, weight += 16) {
#if defined(SNE_DSP)
        if (width == 16) {
            sne_sum_all_nibbles((uint32_t *)v + j / 2, weight, rows, n);
            continue;
        }
#endif
        for (k = 0; k < 16; k++) {
            lanes[k] = 0;
        }
        sne_sum_all_nibbles(lanes, weight, rows, n);
        for (k = 0; k < 16; k++) {
            sne_add_pair(v, j + 2 * k, lanes[k], bias, width);
        }
    }
#endif
    for (; j < stride; j += 16, weight += 8) {
        const size_t left = stride - j, count = left < 16 ? left : 16;
        for (k = 0; k < 8; k++) {
            lanes[k] = 0;
        }
        if (count > 8) {
            sne_sum_few_nibbles(lanes, weight, rows, n, 2);
        } else {
            sne_sum_few_nibbles(lanes, weight, rows, n, 1);
        }
        for (k = 0; k < count; k += 2) {
            sne_add_pair(v, j + k, lanes[k / 2], bias, width);
        }
    }
}

SNE_INLINE void sne_add_nibble_row_word(void *v, const uint8_t *weight, size_t stride, int width)
{
    size_t j, k;
    for (j = 0; j < stride; j += 8, weight += 4) {
        const uint32_t w = *(const sne_word *)(const void *)weight;
        uint32_t lanes[4] = {0, 0, 0, 0};
        sne_spread_word(lanes, w, (w >> 4) & SNE_NIBBLE_LOW, 1);
        for (k = 0; k < 4 && j + 2 * k < stride; k++) {
            sne_add_pair(v, j + 2 * k, lanes[k], SNE_LANE_BIAS, width);
        }
    }
}

#endif
