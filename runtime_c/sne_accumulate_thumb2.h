/* Accumulation on cores with Thumb-2 alone (Cortex-M3): the assembler of sne_accumulate_swar.h, which says what lanes hold. */
#ifndef SNE_ACCUMULATE_THUMB2_H
#define SNE_ACCUMULATE_THUMB2_H

#include "sne_accumulate_portable.h"

/* v[j] += weight[*row + j] over all rows and j < stride, sixteen outputs at a time, which stay in registers.
 *
 * Reads   r0 v, r1 weight, r2 rows, r3 end, on the stack stride; the membranes, the rows' offsets and their weights
 * Writes  the membranes
 * Holds   one row at least; stride a multiple of sixteen, not 0; v, weight and offsets at words; every final membrane fits
 * Uses    r4, r6, r8, r10 sums of whole words (`all`) and r5, r7, r9, r11 of odd bytes, a pair for every four outputs;
 *         lr the mask of lanes. On the stack: the rows' 128s, v, rows, end, r4 to r11, the weights' end, return address */
SNE_NAKED void sne_add_sixteens_thumb2(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                       SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                       SNE_REGISTER size_t stride)
{
    __asm__ volatile(
        ".macro sne_open all, odd\n" /* two words of membranes become sums, less the rows' 128s in r3 */
        "eor \\all, \\all, #0x8000\n"
        "eor \\odd, \\odd, #0x8000\n"
        "sub \\all, \\all, r3\n"
        "sub \\odd, \\odd, r3\n"
        "add \\all, \\all, \\odd, lsl #8\n"
        ".endm\n"
        ".macro sne_close all, odd\n" /* and back */
        "sub \\all, \\all, \\odd, lsl #8\n"
        "eor \\odd, \\odd, #0x8000\n"
        "eor \\all, \\all, #0x8000\n"
        ".endm\n"

        "ldr r12, [sp]\n"
        "add r12, r12, r1\n"
        "push {r0, r2-r12, lr}\n"
        "sub r3, r3, r2\n"
        "mov lr, #0x00200020\n"
        "mul r3, r3, lr\n"
        "mov lr, #0x00ff00ff\n"
        "push {r3}\n"
        "1:\n" /* sixteen outputs */
        "ldm r0, {r4-r11}\n"
        "sne_open r4, r5\n"
        "sne_open r6, r7\n"
        "sne_open r8, r9\n"
        "sne_open r10, r11\n"
        "lsls r3, r3, #24\n" /* an odd number of rows starts in the middle */
        "bmi 3f\n"
        ".irp row, 2, 3\n"
        "\\row:\n"
        "ldr r0, [r2], #4\n"
        "add r0, r0, r1\n"
        "ldrd r12, r3, [r0]\n"
        "add r4, r4, r12\n"
        "and r12, lr, r12, lsr #8\n"
        "add r5, r5, r12\n"
        "add r6, r6, r3\n"
        "and r3, lr, r3, lsr #8\n"
        "add r7, r7, r3\n"
        "ldrd r12, r3, [r0, #8]\n"
        "add r8, r8, r12\n"
        "and r12, lr, r12, lsr #8\n"
        "add r9, r9, r12\n"
        "add r10, r10, r3\n"
        "and r3, lr, r3, lsr #8\n"
        "add r11, r11, r3\n"
        ".endr\n"
        "ldr r3, [sp, #12]\n"
        "cmp r2, r3\n"
        "bne 2b\n"
        "sne_close r4, r5\n"
        "sne_close r6, r7\n"
        "sne_close r8, r9\n"
        "sne_close r10, r11\n"
        "ldr r3, [sp]\n"
        "ldr r0, [sp, #4]\n"
        "ldr r2, [sp, #8]\n"
        "ldr r12, [sp, #48]\n"
        "stm r0!, {r4-r11}\n"
        "str r0, [sp, #4]\n"
        "adds r1, r1, #16\n"
        "cmp r1, r12\n"
        "bne 1b\n"
        "add sp, sp, #16\n"
        "pop {r4-r12, pc}\n"

        ".purgem sne_open\n"
        ".purgem sne_close\n");
}

/* Eight outputs.
 *
 * Reads, writes, holds  as above, but for the stride; on the stack the sign: 0x8000, what turns the lower lane, or 0
 * Uses    r4, r6 sums of whole words and r5, r7 of odd bytes; r8 the mask of lanes; r12, lr. On the stack: r4 to r8, return
 *         address, sign */
SNE_NAKED void sne_add_eight_thumb2(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                    SNE_REGISTER uint32_t sign)
{
    __asm__ volatile(
        ".macro sne_open all, odd\n" /* two words of membranes become sums, less the rows' 128s in lr; r12: sign */
        "eor \\all, \\all, r12\n"
        "eor \\odd, \\odd, r12\n"
        "sub \\all, \\all, lr\n"
        "sub \\odd, \\odd, lr\n"
        "add \\all, \\all, \\odd, lsl #8\n"
        ".endm\n"
        ".macro sne_close all, odd\n" /* and back */
        "sub \\all, \\all, \\odd, lsl #8\n"
        "eor \\odd, \\odd, r12\n"
        "eor \\all, \\all, r12\n"
        ".endm\n"

        "push {r4-r8, lr}\n"
        "ldr r12, [sp, #24]\n"
        "sub lr, r3, r2\n"
        "mov r8, #0x00200020\n"
        "mul lr, lr, r8\n"
        "ldm r0, {r4-r7}\n"
        "sne_open r4, r5\n"
        "sne_open r6, r7\n"
        "mov r8, #0x00ff00ff\n"
        "sub r12, r3, r2\n"
        "lsls r12, r12, #29\n" /* an odd number of rows starts in the middle */
        "bmi 2f\n"
        ".irp row, 1, 2\n"
        "\\row:\n"
        "ldr r12, [r2], #4\n"
        "add r12, r12, r1\n"
        "ldrd r12, lr, [r12]\n"
        "add r4, r4, r12\n"
        "and r12, r8, r12, lsr #8\n"
        "add r5, r5, r12\n"
        "add r6, r6, lr\n"
        "and lr, r8, lr, lsr #8\n"
        "add r7, r7, lr\n"
        ".endr\n"
        "cmp r2, r3\n"
        "bne 1b\n"
        "ldr r12, [sp, #24]\n"
        "sne_close r4, r5\n"
        "sne_close r6, r7\n"
        "stm r0, {r4-r7}\n"
        "pop {r4-r8, pc}\n"

        ".purgem sne_open\n"
        ".purgem sne_close\n");
}

/* A chain (sne_accumulate.h) for membranes with turned signs: these need neither `all` nor a lane for itself.
 *
 * Reads   r0 v, r1 the first row's weights, r2 positions, r3 the chain; membranes and weights
 * Writes  the membranes
 * Holds   one position at least; the chain's stride a multiple of sixteen, not 0; every final membrane fits
 * Uses    r4 to r11 sixteen membranes; r3, r12 eight weights; lr. On the stack: positions left, stride, next */
SNE_NAKED void sne_chain_turned_thumb2(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                       SNE_REGISTER size_t n, SNE_REGISTER const sne_chain *chain)
{
    __asm__ volatile(
        ".macro sne_four w, even, odd\n" /* four weights, plus 128, to two words of membranes */
        "and lr, \\w, #0x00ff00ff\n"
        "add \\even, \\even, lr\n"
        "and lr, \\w, #0xff00ff00\n"
        "sub \\even, \\even, #0x00800080\n"
        "add \\odd, \\odd, lr, lsr #8\n"
        "sub \\odd, \\odd, #0x00800080\n"
        ".endm\n"

        "push {r4-r11, lr}\n"
        "ldrd r4, r5, [r3]\n"
        "push {r2, r4, r5}\n"
        "1:\n" /* a position */
        "ldr r2, [sp, #4]\n"
        "2:\n" /* sixteen outputs */
        "ldm r0, {r4-r11}\n"
        "ldrd r3, r12, [r1], #8\n"
        "sne_four r3, r4, r5\n"
        "sne_four r12, r6, r7\n"
        "ldrd r3, r12, [r1], #8\n"
        "sne_four r3, r8, r9\n"
        "sne_four r12, r10, r11\n"
        "stm r0!, {r4-r11}\n"
        "subs r2, r2, #16\n"
        "bne 2b\n"
        "ldr r2, [sp]\n"
        "ldr r3, [sp, #8]\n"
        "sub r1, r1, r3\n"
        "subs r2, r2, #1\n"
        "str r2, [sp]\n"
        "bne 1b\n"
        "add sp, sp, #12\n"
        "pop {r4-r11, pc}\n"

        ".purgem sne_four\n");
}

#endif
