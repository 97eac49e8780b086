/* Multiplication on cores with the first Thumb instructions (Cortex-M0): the sums of eight outputs, or four, in registers. */
#ifndef SNE_MULTIPLY_THUMB1_H
#define SNE_MULTIPLY_THUMB1_H

#include "sne_weights.h"

/* sums[j] += weights times values, for eight outputs, over all that one position sees (sne_multiply.h), of weights with 128
 * added; values that are 0 are passed over. Returns how many those are.
 *
 * Reads   r0 sums, r1 weight, r2 values, r3 view, on the stack pitch; the values in view and their rows' weights
 * Writes  sums
 * Holds   one run at least, of one value at least; sums lie at words; sums are modulo 2^32
 * Uses    r6 to r12 and lr the sums; r0 two inputs' weights, r1 the run's end, r4 what is left of it, below 0; r2 a value, r3
 *         a weight; r5 the sum of values. On the stack: zeros, runs left, the run's first value, its input, sums, weight,
 *         values, view, r8 to r11, r4 to r7, return address, pitch */
SNE_NAKED uint32_t sne_mac_eight_thumb1(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                        SNE_REGISTER const int8_t *values, SNE_REGISTER const void *view,
                                        SNE_REGISTER size_t pitch)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n"
        "push {r0-r7}\n"
        "movs r4, #0\n"
        "ldr r5, [r3]\n"
        "ldr r7, [r3, #12]\n"
        "movs r6, r2\n"
        "push {r4-r7}\n"
        "ldm r0!, {r6, r7}\n"
        "ldm r0!, {r3-r5}\n"
        "mov r8, r3\n mov r9, r4\n mov r10, r5\n"
        "ldm r0!, {r3-r5}\n"
        "mov r11, r3\n mov r12, r4\n mov lr, r5\n"
        "movs r5, #0\n"
        "1:\n" /* a run */
        "ldr r3, [sp, #12]\n"
        "lsrs r0, r3, #1\n"
        "ldr r4, [sp, #68]\n"
        "muls r0, r4\n"
        "ldr r4, [sp, #20]\n"
        "adds r0, r0, r4\n"
        "ldr r1, [sp, #8]\n"
        "ldr r4, [sp, #28]\n"
        "ldr r4, [r4, #16]\n"
        "adds r1, r1, r4\n"
        "negs r4, r4\n"
        "lsrs r3, r3, #1\n"
        "bcs 3f\n" /* it begins with a second input */
        "2:\n"
        "ldrsb r2, [r1, r4]\n"
        "cmp r2, #0\n"
        "beq 6f\n"
        "adds r5, r5, r2\n"
        "ldrb r3, [r0, #0]\n muls r3, r2\n add r6, r3\n"
        "ldrb r3, [r0, #1]\n muls r3, r2\n add r7, r3\n"
        "ldrb r3, [r0, #2]\n muls r3, r2\n add r8, r3\n"
        "ldrb r3, [r0, #3]\n muls r3, r2\n add r9, r3\n"
        "ldrb r3, [r0, #8]\n muls r3, r2\n add r10, r3\n"
        "ldrb r3, [r0, #9]\n muls r3, r2\n add r11, r3\n"
        "ldrb r3, [r0, #10]\n muls r3, r2\n add r12, r3\n"
        "ldrb r3, [r0, #11]\n muls r3, r2\n add lr, r3\n"
        "7:\n"
        "adds r4, r4, #1\n"
        "beq 4f\n"
        "3:\n"
        "ldrsb r2, [r1, r4]\n"
        "cmp r2, #0\n"
        "beq 8f\n"
        "adds r5, r5, r2\n"
        "ldrb r3, [r0, #4]\n muls r3, r2\n add r6, r3\n"
        "ldrb r3, [r0, #5]\n muls r3, r2\n add r7, r3\n"
        "ldrb r3, [r0, #6]\n muls r3, r2\n add r8, r3\n"
        "ldrb r3, [r0, #7]\n muls r3, r2\n add r9, r3\n"
        "ldrb r3, [r0, #12]\n muls r3, r2\n add r10, r3\n"
        "ldrb r3, [r0, #13]\n muls r3, r2\n add r11, r3\n"
        "ldrb r3, [r0, #14]\n muls r3, r2\n add r12, r3\n"
        "ldrb r3, [r0, #15]\n muls r3, r2\n add lr, r3\n"
        "9:\n"
        "ldr r3, [sp, #68]\n"
        "adds r0, r0, r3\n"
        "adds r4, r4, #1\n"
        "bne 2b\n"
        "4:\n"
        "ldr r0, [sp, #4]\n"
        "subs r0, r0, #1\n"
        "beq 5f\n"
        "str r0, [sp, #4]\n"
        "ldr r2, [sp, #28]\n"
        "ldr r0, [sp, #8]\n"
        "ldr r3, [r2, #20]\n"
        "adds r0, r0, r3\n"
        "str r0, [sp, #8]\n"
        "ldr r0, [sp, #12]\n"
        "ldr r3, [r2, #24]\n"
        "adds r0, r0, r3\n"
        "str r0, [sp, #12]\n"
        "b 1b\n"
        "6:\n" /* a value is 0 */
        "ldr r3, [sp]\n"
        "adds r3, r3, #1\n"
        "str r3, [sp]\n"
        "b 7b\n"
        "8:\n"
        "ldr r3, [sp]\n"
        "adds r3, r3, #1\n"
        "str r3, [sp]\n"
        "b 9b\n"
        "5:\n"
        "lsls r5, r5, #7\n" /* what the weights' 128 made too much */
        "ldr r0, [sp, #16]\n"
        "subs r6, r6, r5\n subs r7, r7, r5\n"
        "stm r0!, {r6, r7}\n"
        "mov r1, r8\n mov r2, r9\n mov r3, r10\n"
        "subs r1, r1, r5\n subs r2, r2, r5\n subs r3, r3, r5\n"
        "stm r0!, {r1-r3}\n"
        "mov r1, r11\n mov r2, r12\n mov r3, lr\n"
        "subs r1, r1, r5\n subs r2, r2, r5\n subs r3, r3, r5\n"
        "stm r0!, {r1-r3}\n"
        "pop {r0-r3}\n"
        "add sp, sp, #16\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "pop {r4-r7, pc}\n");
}

/* The same for four outputs.
 *
 * Reads   r0 sums, r1 weight, r2 values, r3 view, on the stack pitch; the values in view and their rows' weights
 * Writes  sums
 * Holds   one run at least, of one value at least; sums lie at words; sums are modulo 2^32
 * Uses    r6 to r9 the sums; r0 two inputs' weights, r1 the run's end, r4 what is left of it, below 0; r2 a value, r3 a
 *         weight; r5 the sum of values; r10 pitch, r11 zeros. On the stack: runs left, the run's first value, its input, sums,
 *         weight, values, view, r8 to r11, r4 to r7, return address, pitch */
SNE_NAKED uint32_t sne_mac_four_thumb1(SNE_REGISTER int32_t *sums, SNE_REGISTER const sne_weight *weight,
                                       SNE_REGISTER const int8_t *values, SNE_REGISTER const void *view,
                                       SNE_REGISTER size_t pitch)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n mov r5, r9\n mov r6, r10\n mov r7, r11\n"
        "push {r0-r7}\n"
        "ldr r5, [r3]\n"
        "ldr r7, [r3, #12]\n"
        "movs r6, r2\n"
        "push {r5-r7}\n"
        "ldm r0!, {r6, r7}\n"
        "ldm r0!, {r3, r4}\n"
        "mov r8, r3\n mov r9, r4\n"
        "ldr r4, [sp, #64]\n"
        "movs r5, #0\n"
        "mov r10, r4\n mov r11, r5\n"
        "1:\n" /* a run */
        "ldr r3, [sp, #8]\n"
        "lsrs r0, r3, #1\n"
        "mov r4, r10\n"
        "muls r0, r4\n"
        "ldr r4, [sp, #16]\n"
        "adds r0, r0, r4\n"
        "ldr r1, [sp, #4]\n"
        "ldr r4, [sp, #24]\n"
        "ldr r4, [r4, #16]\n"
        "adds r1, r1, r4\n"
        "negs r4, r4\n"
        "lsrs r3, r3, #1\n"
        "bcs 3f\n" /* it begins with a second input */
        "2:\n"
        "ldrsb r2, [r1, r4]\n"
        "cmp r2, #0\n"
        "beq 6f\n"
        "adds r5, r5, r2\n"
        "ldrb r3, [r0, #0]\n muls r3, r2\n adds r6, r6, r3\n"
        "ldrb r3, [r0, #1]\n muls r3, r2\n adds r7, r7, r3\n"
        "ldrb r3, [r0, #2]\n muls r3, r2\n add r8, r3\n"
        "ldrb r3, [r0, #3]\n muls r3, r2\n add r9, r3\n"
        "7:\n"
        "adds r4, r4, #1\n"
        "beq 4f\n"
        "3:\n"
        "ldrsb r2, [r1, r4]\n"
        "cmp r2, #0\n"
        "beq 8f\n"
        "adds r5, r5, r2\n"
        "ldrb r3, [r0, #4]\n muls r3, r2\n adds r6, r6, r3\n"
        "ldrb r3, [r0, #5]\n muls r3, r2\n adds r7, r7, r3\n"
        "ldrb r3, [r0, #6]\n muls r3, r2\n add r8, r3\n"
        "ldrb r3, [r0, #7]\n muls r3, r2\n add r9, r3\n"
        "9:\n"
        "add r0, r10\n"
        "adds r4, r4, #1\n"
        "bne 2b\n"
        "4:\n"
        "ldr r0, [sp]\n"
        "subs r0, r0, #1\n"
        "beq 5f\n"
        "str r0, [sp]\n"
        "ldr r2, [sp, #24]\n"
        "ldr r0, [sp, #4]\n"
        "ldr r3, [r2, #20]\n"
        "adds r0, r0, r3\n"
        "str r0, [sp, #4]\n"
        "ldr r0, [sp, #8]\n"
        "ldr r3, [r2, #24]\n"
        "adds r0, r0, r3\n"
        "str r0, [sp, #8]\n"
        "b 1b\n"
        "6:\n" /* a value is 0 */
        "mov r3, r11\n"
        "adds r3, r3, #1\n"
        "mov r11, r3\n"
        "b 7b\n"
        "8:\n"
        "mov r3, r11\n"
        "adds r3, r3, #1\n"
        "mov r11, r3\n"
        "b 9b\n"
        "5:\n"
        "lsls r5, r5, #7\n" /* what the weights' 128 made too much */
        "ldr r0, [sp, #12]\n"
        "mov r1, r8\n mov r2, r9\n"
        "subs r6, r6, r5\n subs r7, r7, r5\n subs r1, r1, r5\n subs r2, r2, r5\n"
        "stm r0!, {r6, r7}\n"
        "stm r0!, {r1, r2}\n"
        "mov r0, r11\n"
        "add sp, sp, #28\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n mov r9, r5\n mov r10, r6\n mov r11, r7\n"
        "pop {r4-r7, pc}\n");
}

#endif
