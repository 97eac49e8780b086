/* Accumulation for cores without vector instructions (Cortex-M0, M3): two weights at a time in the halves of a word.
 *
 * A weight plus 128, as these cores store it, is an unsigned byte, and 257 of them fit in 16 bits, so lanes cannot run
 * into each other. Whole words are summed (modulo 2^32) as well as their odd bytes; taken together they give the sum of
 * the even bytes too: even = all - (odd << 8), an instruction less for each word. */
#ifndef SNE_ACCUMULATE_SWAR_H
#define SNE_ACCUMULATE_SWAR_H

#include "sne_accumulate_portable.h"

#define SNE_SWAR_LANES 0x00ff00ffu
#define SNE_SWAR_SIGNS 0x80008000u

/* v += lanes - `bias` (128 for each row, in both lanes): two outputs in each of two words. */
SNE_INLINE void sne_add_lanes(void *v, size_t j, uint32_t all, uint32_t odd, uint32_t bias, int width)
{
    const uint32_t even = all - (odd << 8);
    if (width == 16) { /* with signs turned, lanes are not negative, and whole words add exactly */
        uint32_t *words = (uint32_t *)v + j / 2;
        words[0] = ((words[0] ^ SNE_SWAR_SIGNS) + even - bias) ^ SNE_SWAR_SIGNS;
        words[1] = ((words[1] ^ SNE_SWAR_SIGNS) + odd - bias) ^ SNE_SWAR_SIGNS;
    } else {
        int32_t *sums = (int32_t *)v + j;
        const int32_t one = (int32_t)(bias & 0xffffu);
        sums[0] += (int32_t)(even & 0xffffu) - one;
        sums[1] += (int32_t)(even >> 16) - one;
        sums[2] += (int32_t)(odd & 0xffffu) - one;
        sums[3] += (int32_t)(odd >> 16) - one;
    }
}

#if __ARM_ARCH_ISA_THUMB > 1
#define SNE_SIXTEEN_SWAR             \
    "ldr r0, [r2], #4\n"             \
    "add r0, r0, r1\n"               \
    "ldrd r12, r3, [r0]\n"           \
    "add r4, r4, r12\n"              \
    "and r12, lr, r12, lsr #8\n"     \
    "add r8, r8, r12\n"              \
    "add r5, r5, r3\n"               \
    "and r3, lr, r3, lsr #8\n"       \
    "add r9, r9, r3\n"               \
    "ldrd r12, r3, [r0, #8]\n"       \
    "add r6, r6, r12\n"              \
    "and r12, lr, r12, lsr #8\n"     \
    "add r10, r10, r12\n"            \
    "add r7, r7, r3\n"               \
    "and r3, lr, r3, lsr #8\n"       \
    "add r11, r11, r3\n"

/* Sums over the rows from `rows` to `end`, at least one, of sixteen outputs: of whole words (four) and of odd bytes. */
SNE_NAKED void sne_sum_sixteen_swar(SNE_REGISTER uint32_t *sums, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile("push {r0, r3-r11, lr}\n"
                     "mov lr, #0x00ff00ff\n"
                     "mov r4, #0\n mov r5, #0\n mov r6, #0\n mov r7, #0\n"
                     "mov r8, #0\n mov r9, #0\n mov r10, #0\n mov r11, #0\n"
                     "sub r0, r3, r2\n"
                     "lsls r0, r0, #29\n" /* an odd number of rows starts in the middle */
                     "bmi 2f\n"
                     "1:\n" SNE_SIXTEEN_SWAR
                     "2:\n" SNE_SIXTEEN_SWAR
                     "ldr r0, [sp, #4]\n"
                     "cmp r2, r0\n"
                     "bne 1b\n"
                     "pop {r0, r3}\n"
                     "stm r0, {r4-r11}\n"
                     "pop {r4-r11, pc}\n");
}
#endif

/* Eight or (`words` 1) four outputs, in C. */
SNE_INLINE void sne_add_few_swar(void *v, size_t j, const sne_weight *weight, const uint32_t *rows, size_t n,
                                 uint32_t bias, int words, int width)
{
    const uint32_t *const end = rows + n;
    uint32_t all0 = 0, odd0 = 0, all1 = 0, odd1 = 0;
    while (rows != end) {
        const uint32_t *w = (const uint32_t *)(const void *)(weight + *rows++);
        all0 += w[0];
        odd0 += (w[0] >> 8) & SNE_SWAR_LANES;
        if (words == 2) {
            all1 += w[1];
            odd1 += (w[1] >> 8) & SNE_SWAR_LANES;
        }
    }
    sne_add_lanes(v, j, all0, odd0, bias, width);
    if (words == 2) {
        sne_add_lanes(v, j + 4, all1, odd1, bias, width);
    }
}

SNE_INLINE void sne_add_rows_swar(void *v, const sne_weight *weight, size_t stride, const uint32_t *rows, size_t n,
                                  int width)
{
    const uint32_t bias = (uint32_t)n * 0x00800080u;
    size_t j = 0;
    if (n == 0) {
        return;
    }
#if __ARM_ARCH_ISA_THUMB > 1
    for (; j + 16 <= stride; j += 16) {
        uint32_t sums[8];
        int k;
        sne_sum_sixteen_swar(sums, weight + j, rows, rows + n);
        for (k = 0; k < 4; k++) {
            sne_add_lanes(v, j + 4u * (size_t)k, sums[k], sums[k + 4], bias, width);
        }
    }
#endif
    for (; j + 8 <= stride; j += 8) {
        sne_add_few_swar(v, j, weight + j, rows, n, bias, 2, width);
    }
    if (j < stride) {
        sne_add_few_swar(v, j, weight + j, rows, n, bias, 1, width);
    }
}

SNE_INLINE void sne_add_row_swar(void *v, const sne_weight *weight, size_t stride, int width)
{
    size_t j;
    for (j = 0; j < stride; j += 4) {
        const uint32_t w = *(const uint32_t *)(const void *)(weight + j), odd = (w >> 8) & SNE_SWAR_LANES;
        sne_add_lanes(v, j, w, odd, 0x00800080u, width);
    }
}

#endif
