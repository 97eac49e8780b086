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

#if defined(__ARM_FEATURE_SIMD32)
#include "sne_dsp.h"
#define SNE_LANE_BIAS 0u /* of a row, in both lanes */

/* a - b by byte. */
SNE_INLINE uint32_t sne_sub_bytes(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm__("usub8 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}
#else
#define SNE_LANE_BIAS 0x00080008u
#endif

#define SNE_NIBBLE_ROWS 16u /* that are summed in bytes */
#define SNE_NIBBLE_LOW 0x0f0f0f0fu
#define SNE_NIBBLE_EVEN 0x00ff00ffu
#define SNE_NIBBLE_SIGNS 0x80008000u

/* Two membranes plus two lanes, each less `bias` (in both lanes). */
SNE_INLINE void sne_add_pair(void *v, size_t j, uint32_t lanes, uint32_t bias, int width)
{
    uint32_t *const word = (uint32_t *)v + j / 2;
    int32_t *const sums = (int32_t *)v + j;
#if defined(__ARM_FEATURE_SIMD32)
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
#if defined(__ARM_FEATURE_SIMD32)
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

#if __ARM_ARCH_ISA_THUMB > 1
#define SNE_ROW_OF_NIBBLES         \
    "ldr r0, [r2], #4\n"           \
    "add r0, r0, r1\n"             \
    "ldrd r12, r3, [r0]\n"         \
    "add r4, r4, r12\n"            \
    "and r12, lr, r12, lsr #4\n"   \
    "add r8, r8, r12\n"            \
    "add r5, r5, r3\n"             \
    "and r3, lr, r3, lsr #4\n"     \
    "add r9, r9, r3\n"             \
    "ldrd r12, r3, [r0, #8]\n"     \
    "add r6, r6, r12\n"            \
    "and r12, lr, r12, lsr #4\n"   \
    "add r10, r10, r12\n"          \
    "add r7, r7, r3\n"             \
    "and r3, lr, r3, lsr #4\n"     \
    "add r11, r11, r3\n"

#if defined(__ARM_FEATURE_SIMD32)
#define SNE_SPREAD_START           \
    "ldr r1, [sp, #4]\n"           \
    "sub r1, r2, r1\n"             \
    "lsl r1, r1, #1\n"             \
    "orr r1, r1, r1, lsl #8\n"     \
    "orr lr, r1, r1, lsl #16\n" /* 8 for each row, in every byte */
#define SNE_SPREAD(all, high)                         \
    "ldm r0, {r1, r2, r3, r12}\n"                     \
    "sub " all ", " all ", " high ", lsl #4\n"        \
    "usub8 " all ", " all ", lr\n"                    \
    "usub8 " high ", " high ", lr\n"                  \
    "sxtab16 r1, r1, " all "\n"                       \
    "sxtab16 r2, r2, " all ", ror #8\n"               \
    "sxtab16 r3, r3, " high "\n"                      \
    "sxtab16 r12, r12, " high ", ror #8\n"            \
    "stm r0!, {r1, r2, r3, r12}\n"
#else
#define SNE_SPREAD_START "mov lr, #0x00ff00ff\n"
#define SNE_SPREAD(all, high)                         \
    "ldm r0, {r1, r2, r3, r12}\n"                     \
    "sub " all ", " all ", " high ", lsl #4\n"        \
    "add r1, r1, " all "\n"                           \
    "and " all ", lr, " all ", lsr #8\n"              \
    "sub r1, r1, " all ", lsl #8\n"                   \
    "add r2, r2, " all "\n"                           \
    "add r3, r3, " high "\n"                          \
    "and " high ", lr, " high ", lsr #8\n"            \
    "sub r3, r3, " high ", lsl #8\n"                  \
    "add r12, r12, " high "\n"                        \
    "stm r0!, {r1, r2, r3, r12}\n"
#endif

/* lanes[0 .. 15] plus the nibbles of 32 outputs over the rows from `rows` to `end`, at least one, SNE_NIBBLE_ROWS at most. */
SNE_NAKED void sne_sum_nibbles(SNE_REGISTER uint32_t *lanes, SNE_REGISTER const uint8_t *weight,
                               SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile("push {r0, r2-r11, lr}\n"
                     "mov lr, #0x0f0f0f0f\n"
                     "mov r4, #0\n mov r5, #0\n mov r6, #0\n mov r7, #0\n"
                     "mov r8, #0\n mov r9, #0\n mov r10, #0\n mov r11, #0\n"
                     "sub r0, r3, r2\n"
                     "lsls r0, r0, #29\n" /* an odd number of rows starts in the middle */
                     "bmi 2f\n"
                     "1:\n" SNE_ROW_OF_NIBBLES
                     "2:\n" SNE_ROW_OF_NIBBLES
                     "ldr r0, [sp, #8]\n"
                     "cmp r2, r0\n"
                     "bne 1b\n"
                     "ldr r0, [sp]\n" SNE_SPREAD_START
                     SNE_SPREAD("r4", "r8") SNE_SPREAD("r5", "r9") SNE_SPREAD("r6", "r10") SNE_SPREAD("r7", "r11")
                     "pop {r0, r2-r11, pc}\n");
}

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
            const uint32_t *w = (const uint32_t *)(const void *)(weight + *rows++);
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
#if __ARM_ARCH_ISA_THUMB > 1
    for (; j + 32 <= stride; j += 32, weight += 16) {
#if defined(__ARM_FEATURE_SIMD32)
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
        const uint32_t w = *(const uint32_t *)(const void *)weight;
        uint32_t lanes[4] = {0, 0, 0, 0};
        sne_spread_word(lanes, w, (w >> 4) & SNE_NIBBLE_LOW, 1);
        for (k = 0; k < 4 && j + 2 * k < stride; k++) {
            sne_add_pair(v, j + 2 * k, lanes[k], SNE_LANE_BIAS, width);
        }
    }
}

#endif
