/* Multiplication on cores with Thumb-2 alone (Cortex-M3): MLA, the sums of eight outputs, or four, in registers. */
#ifndef SNE_MULTIPLY_THUMB2_H
#define SNE_MULTIPLY_THUMB2_H

#include "sne_weights.h"

/* sums[j] += weights times values, for eight outputs, over all that one position sees (sne_multiply.h); values that are 0 are
 * passed over. Returns how many those are.
 *
 * Reads   r0 sums, r1 weight, r2 values, r3 view, on the stack pitch; the values in view and their rows' weights
 * Writes  sums
 * Holds   one run at least, of one value at least; sums lie at words; sums are modulo 2^32
 * Uses    r4 to r11 the sums; r0 two inputs' weights, r1 values, r2 the run's end; r3 a value, r12 a weight; lr pitch. On the
 *         stack: zeros, runs left, the run's first value, its input, sums, weight, values, view, r4 to r11, return address,
 *         pitch */
SNE_NAKED uint32_t sne_mac_eight_thumb2(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                        SNE_REGISTER const int8_t *values, SNE_REGISTER const void *view,
                                        SNE_REGISTER size_t pitch)
{
    __asm__ volatile(
        "push {r0-r11, lr}\n"
        "movs r4, #0\n"
        "ldr r5, [r3]\n"
        "mov r6, r2\n"
        "ldr r7, [r3, #12]\n"
        "push {r4-r7}\n"
        "ldm r0, {r4-r11}\n"
        "ldr lr, [sp, #68]\n"
        "1:\n" /* a run */
        "ldrd r1, r3, [sp, #8]\n"
        "ldr r0, [sp, #20]\n"
        "lsr r2, r3, #1\n"
        "mla r0, r2, lr, r0\n"
        "ldr r2, [sp, #28]\n"
        "ldr r2, [r2, #16]\n"
        "add r2, r2, r1\n"
        "lsrs r3, r3, #1\n"
        "bcs 3f\n" /* it begins with a second input */
        "2:\n"
        "ldrsb r3, [r1], #1\n"
        "cmp r3, #0\n"
        "beq 6f\n"
        "ldrsb r12, [r0, #0]\n mla r4, r12, r3, r4\n"
        "ldrsb r12, [r0, #1]\n mla r5, r12, r3, r5\n"
        "ldrsb r12, [r0, #2]\n mla r6, r12, r3, r6\n"
        "ldrsb r12, [r0, #3]\n mla r7, r12, r3, r7\n"
        "ldrsb r12, [r0, #8]\n mla r8, r12, r3, r8\n"
        "ldrsb r12, [r0, #9]\n mla r9, r12, r3, r9\n"
        "ldrsb r12, [r0, #10]\n mla r10, r12, r3, r10\n"
        "ldrsb r12, [r0, #11]\n mla r11, r12, r3, r11\n"
        "7:\n"
        "cmp r1, r2\n"
        "beq 4f\n"
        "3:\n"
        "ldrsb r3, [r1], #1\n"
        "cbz r3, 8f\n"
        "ldrsb r12, [r0, #4]\n mla r4, r12, r3, r4\n"
        "ldrsb r12, [r0, #5]\n mla r5, r12, r3, r5\n"
        "ldrsb r12, [r0, #6]\n mla r6, r12, r3, r6\n"
        "ldrsb r12, [r0, #7]\n mla r7, r12, r3, r7\n"
        "ldrsb r12, [r0, #12]\n mla r8, r12, r3, r8\n"
        "ldrsb r12, [r0, #13]\n mla r9, r12, r3, r9\n"
        "ldrsb r12, [r0, #14]\n mla r10, r12, r3, r10\n"
        "ldrsb r12, [r0, #15]\n mla r11, r12, r3, r11\n"
        "9:\n"
        "add r0, r0, lr\n"
        "cmp r1, r2\n"
        "bne 2b\n"
        "4:\n"
        "ldrd r0, r1, [sp, #4]\n"
        "subs r0, r0, #1\n"
        "beq 5f\n"
        "ldr r12, [sp, #28]\n"
        "ldrd r2, r3, [r12, #20]\n"
        "add r1, r1, r2\n"
        "strd r0, r1, [sp, #4]\n"
        "ldr r0, [sp, #12]\n"
        "add r0, r0, r3\n"
        "str r0, [sp, #12]\n"
        "b 1b\n"
        "6:\n" /* a value is 0 */
        "ldr r12, [sp]\n"
        "add r12, r12, #1\n"
        "str r12, [sp]\n"
        "b 7b\n"
        "8:\n"
        "ldr r12, [sp]\n"
        "add r12, r12, #1\n"
        "str r12, [sp]\n"
        "b 9b\n"
        "5:\n"
        "ldr r0, [sp, #16]\n"
        "stm r0, {r4-r11}\n"
        "ldr r0, [sp]\n"
        "add sp, sp, #32\n"
        "pop {r4-r11, pc}\n");
}

/* The same for four outputs.
 *
 * Reads   r0 sums, r1 weight, r2 values, r3 view, on the stack pitch; the values in view and their rows' weights
 * Writes  sums
 * Holds   one run at least, of one value at least; sums lie at words; sums are modulo 2^32
 * Uses    r4 to r7 the sums; r0 two inputs' weights, r1 values, r2 the run's end; r3 a value, r12 a weight; r8 zeros, r9 runs
 *         left, r10 the run's first value, r11 its input; lr pitch. On the stack: sums, weight, values, view, r4 to r11, return
 *         address, pitch */
SNE_NAKED uint32_t sne_mac_four_thumb2(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                       SNE_REGISTER const int8_t *values, SNE_REGISTER const void *view,
                                       SNE_REGISTER size_t pitch)
{
    __asm__ volatile(
        "push {r0-r11, lr}\n"
        "mov r8, #0\n"
        "ldr r9, [r3]\n"
        "mov r10, r2\n"
        "ldr r11, [r3, #12]\n"
        "ldm r0, {r4-r7}\n"
        "ldr lr, [sp, #52]\n"
        "1:\n" /* a run */
        "ldr r0, [sp, #4]\n"
        "lsr r2, r11, #1\n"
        "mla r0, r2, lr, r0\n"
        "ldr r2, [sp, #12]\n"
        "ldr r2, [r2, #16]\n"
        "mov r1, r10\n"
        "add r2, r2, r1\n"
        "lsrs r3, r11, #1\n"
        "bcs 3f\n" /* it begins with a second input */
        "2:\n"
        "ldrsb r3, [r1], #1\n"
        "cbz r3, 6f\n"
        "ldrsb r12, [r0, #0]\n mla r4, r12, r3, r4\n"
        "ldrsb r12, [r0, #1]\n mla r5, r12, r3, r5\n"
        "ldrsb r12, [r0, #2]\n mla r6, r12, r3, r6\n"
        "ldrsb r12, [r0, #3]\n mla r7, r12, r3, r7\n"
        "7:\n"
        "cmp r1, r2\n"
        "beq 4f\n"
        "3:\n"
        "ldrsb r3, [r1], #1\n"
        "cbz r3, 8f\n"
        "ldrsb r12, [r0, #4]\n mla r4, r12, r3, r4\n"
        "ldrsb r12, [r0, #5]\n mla r5, r12, r3, r5\n"
        "ldrsb r12, [r0, #6]\n mla r6, r12, r3, r6\n"
        "ldrsb r12, [r0, #7]\n mla r7, r12, r3, r7\n"
        "9:\n"
        "add r0, r0, lr\n"
        "cmp r1, r2\n"
        "bne 2b\n"
        "4:\n"
        "subs r9, r9, #1\n"
        "beq 5f\n"
        "ldr r12, [sp, #12]\n"
        "ldrd r2, r3, [r12, #20]\n"
        "add r10, r10, r2\n"
        "add r11, r11, r3\n"
        "b 1b\n"
        "6:\n" /* a value is 0 */
        "add r8, r8, #1\n"
        "b 7b\n"
        "8:\n"
        "add r8, r8, #1\n"
        "b 9b\n"
        "5:\n"
        "ldr r0, [sp]\n"
        "stm r0, {r4-r7}\n"
        "mov r0, r8\n"
        "add sp, sp, #16\n"
        "pop {r4-r11, pc}\n");
}

#endif
