/* Multiplication on cores with the first Thumb instructions (Cortex-M0): the sums of eight outputs in registers. */
#ifndef SNE_MULTIPLY_THUMB1_H
#define SNE_MULTIPLY_THUMB1_H

#include "sne_multiply_portable.h"

/* sums[j] += both inputs' weights times their values, for eight outputs, over all entries (sne_multiply.h), of weights with
 * 128 added.
 *
 * Reads   r0 sums, r1 weight, r2 pairs, r3 end; the entries and their rows' sixteen weights
 * Writes  sums
 * Holds   one entry at least; sums and pairs lie at words; sums are modulo 2^32
 * Uses    r6 to r12 and lr the sums; r3, r4 the two values; r5 a weight. On the stack: sums, end, r8 to r11, r4 to r7,
 *         return address */
SNE_NAKED void sne_mac_eight_thumb1(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *pairs, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n"
        "push {r0, r3-r7}\n"
        "ldm r0!, {r6, r7}\n"
        "ldm r0!, {r3-r5}\n"
        "mov r8, r3\n mov r9, r4\n mov r10, r5\n"
        "ldm r0!, {r3-r5}\n"
        "mov r11, r3\n mov r12, r4\n mov lr, r5\n"
        "1:\n"
        "ldm r2!, {r0, r4}\n"
        "adds r0, r0, r1\n"
        "sxth r3, r4\n"
        "asrs r4, r4, #16\n"
        "ldrb r5, [r0, #0]\n muls r5, r3\n add r6, r5\n"
        "ldrb r5, [r0, #1]\n muls r5, r3\n add r7, r5\n"
        "ldrb r5, [r0, #2]\n muls r5, r3\n add r8, r5\n"
        "ldrb r5, [r0, #3]\n muls r5, r3\n add r9, r5\n"
        "ldrb r5, [r0, #4]\n muls r5, r4\n add r6, r5\n"
        "ldrb r5, [r0, #5]\n muls r5, r4\n add r7, r5\n"
        "ldrb r5, [r0, #6]\n muls r5, r4\n add r8, r5\n"
        "ldrb r5, [r0, #7]\n muls r5, r4\n add r9, r5\n"
        "ldrb r5, [r0, #8]\n muls r5, r3\n add r10, r5\n"
        "ldrb r5, [r0, #9]\n muls r5, r3\n add r11, r5\n"
        "ldrb r5, [r0, #10]\n muls r5, r3\n add r12, r5\n"
        "ldrb r5, [r0, #11]\n muls r5, r3\n add lr, r5\n"
        "ldrb r5, [r0, #12]\n muls r5, r4\n add r10, r5\n"
        "ldrb r5, [r0, #13]\n muls r5, r4\n add r11, r5\n"
        "ldrb r5, [r0, #14]\n muls r5, r4\n add r12, r5\n"
        "ldrb r5, [r0, #15]\n muls r5, r4\n add lr, r5\n"
        "ldr r5, [sp, #4]\n"
        "cmp r2, r5\n"
        "bne 1b\n"
        "ldr r0, [sp]\n"
        "stm r0!, {r6, r7}\n"
        "mov r3, r8\n mov r4, r9\n mov r5, r10\n"
        "stm r0!, {r3-r5}\n"
        "mov r3, r11\n mov r4, r12\n mov r5, lr\n"
        "stm r0!, {r3-r5}\n"
        "pop {r0, r3-r7}\n"
        "mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "pop {r4-r7, pc}\n");
}

SNE_INLINE void sne_mac_thumb1(int32_t *sums, const sne_weight *weight, const uint32_t *pairs, const uint32_t *end,
                               size_t count)
{
    uint32_t excess = 0;
    size_t j;
    if (count != 8) {
        sne_mac_portable(sums, weight, pairs, end, SNE_WEIGHT_OFFSET);
        return;
    }
    sne_mac_eight_thumb1(sums, weight, pairs, end);
    for (; pairs != end; pairs += 2) { /* what the weights' 128 made too much */
        excess += (uint32_t)(int16_t)(uint16_t)pairs[1] + (uint32_t)((int32_t)pairs[1] >> 16);
    }
    for (j = 0; j < 8; j++) {
        sums[j] = (int32_t)((uint32_t)sums[j] - 128u * excess);
    }
}

#endif
