/* Multiplication on cores with Thumb-2 alone (Cortex-M3): MLA, the sums of eight outputs in registers. */
#ifndef SNE_MULTIPLY_THUMB2_H
#define SNE_MULTIPLY_THUMB2_H

#include "sne_multiply_portable.h"

/* sums[j] += both inputs' weights times their values, for eight outputs, over all entries (sne_multiply.h).
 *
 * Reads   r0 sums, r1 weight, r2 pairs, r3 end; the entries and their rows' sixteen weights
 * Writes  sums
 * Holds   one entry at least; sums and pairs lie at words; sums are modulo 2^32
 * Uses    r4 to r11 the sums; lr, r3 the two values; r12 a weight. On the stack: sums, end, r4 to r11, return address */
SNE_NAKED void sne_mac_eight_thumb2(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *pairs, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile(
        "push {r0, r3-r11, lr}\n"
        "ldm r0, {r4-r11}\n"
        "1:\n"
        "ldrd r0, r3, [r2], #8\n"
        "add r0, r0, r1\n"
        "sxth lr, r3\n"
        "asr r3, r3, #16\n"
        "ldrsb r12, [r0]\n mla r4, r12, lr, r4\n"
        "ldrsb r12, [r0, #1]\n mla r5, r12, lr, r5\n"
        "ldrsb r12, [r0, #2]\n mla r6, r12, lr, r6\n"
        "ldrsb r12, [r0, #3]\n mla r7, r12, lr, r7\n"
        "ldrsb r12, [r0, #4]\n mla r4, r12, r3, r4\n"
        "ldrsb r12, [r0, #5]\n mla r5, r12, r3, r5\n"
        "ldrsb r12, [r0, #6]\n mla r6, r12, r3, r6\n"
        "ldrsb r12, [r0, #7]\n mla r7, r12, r3, r7\n"
        "ldrsb r12, [r0, #8]\n mla r8, r12, lr, r8\n"
        "ldrsb r12, [r0, #9]\n mla r9, r12, lr, r9\n"
        "ldrsb r12, [r0, #10]\n mla r10, r12, lr, r10\n"
        "ldrsb r12, [r0, #11]\n mla r11, r12, lr, r11\n"
        "ldrsb r12, [r0, #12]\n mla r8, r12, r3, r8\n"
        "ldrsb r12, [r0, #13]\n mla r9, r12, r3, r9\n"
        "ldrsb r12, [r0, #14]\n mla r10, r12, r3, r10\n"
        "ldrsb r12, [r0, #15]\n mla r11, r12, r3, r11\n"
        "ldr r0, [sp, #4]\n"
        "cmp r2, r0\n"
        "bne 1b\n"
        "pop {r0, r3}\n"
        "stm r0, {r4-r11}\n"
        "pop {r4-r11, pc}\n");
}

/* Four outputs, of signed weights. */
SNE_INLINE void sne_mac_four_thumb2(int32_t *sums, const int8_t *weight, const uint32_t *pairs, const uint32_t *end)
{
    uint32_t a0 = (uint32_t)sums[0], a1 = (uint32_t)sums[1], a2 = (uint32_t)sums[2], a3 = (uint32_t)sums[3];
    for (; pairs != end; pairs += 2) {
        const int8_t *w = weight + pairs[0];
        const int32_t x = (int16_t)(uint16_t)pairs[1], y = (int32_t)pairs[1] >> 16;
        a0 += (uint32_t)(w[0] * x + w[4] * y);
        a1 += (uint32_t)(w[1] * x + w[5] * y);
        a2 += (uint32_t)(w[2] * x + w[6] * y);
        a3 += (uint32_t)(w[3] * x + w[7] * y);
    }
    sums[0] = (int32_t)a0;
    sums[1] = (int32_t)a1;
    sums[2] = (int32_t)a2;
    sums[3] = (int32_t)a3;
}

SNE_INLINE void sne_mac_thumb2(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                               size_t count)
{
    if (count == 8) {
        sne_mac_eight_thumb2(sums, weight, pairs, end);
    } else {
        sne_mac_four_thumb2(sums, (const int8_t *)weight, pairs, end);
    }
}

#endif
