/* Accumulation on cores with the first Thumb instructions (Cortex-M0): the assembler of sne_accumulate_swar.h, which says
 * what lanes hold. */
#ifndef SNE_ACCUMULATE_THUMB1_H
#define SNE_ACCUMULATE_THUMB1_H

#include "sne_accumulate_portable.h"

/* v[j] += weight[*row + j] over all rows and j < stride, sixteen outputs at a time, which stay in registers.
 *
 * Reads   r0 v, r1 weight, r2 rows, r3 end, on the stack stride and sign (0x8000, what turns the lower lane; 0 where it is
 *         turned); the membranes, the rows' offsets and their weights
 * Writes  the membranes
 * Holds   one row at least; stride a multiple of sixteen, not 0; v, weight and offsets at words; every final membrane fits
 * Uses    r5, r7, r12, r6 sums of whole words (`all`) and r9, r10, r11, lr of odd bytes, a pair for every four outputs; r8
 *         weight. On the stack: v, weight, rows, end, r8 to r11, r4 to r7, return address, stride, sign */
SNE_NAKED void sne_add_sixteens_thumb1(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                       SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                       SNE_REGISTER size_t stride, SNE_REGISTER uint32_t sign)
{
    __asm__ volatile(
        ".syntax unified\n"
        ".macro sne_open all, odd\n" /* two words of membranes at r1 become sums; r4: sign, r6: the rows' 128s */
        "ldmia r1!, {r2, r3}\n"
        "eors r2, r4\n"
        "eors r3, r4\n"
        "subs r2, r2, r6\n"
        "subs r3, r3, r6\n"
        "lsls r0, r3, #8\n"
        "adds r2, r2, r0\n"
        "mov \\all, r2\n"
        "mov \\odd, r3\n"
        ".endm\n"
        ".macro sne_close all, odd\n" /* and back, to r0 */
        "mov r2, \\all\n"
        "mov r3, \\odd\n"
        "lsls r1, r3, #8\n"
        "subs r2, r2, r1\n"
        "eors r2, r4\n"
        "eors r3, r4\n"
        "stmia r0!, {r2, r3}\n"
        ".endm\n"

        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r0-r7}\n"
        "1:\n" /* sixteen outputs */
        "ldr r1, [sp]\n"
        "ldr r6, [sp, #12]\n"
        "ldr r0, [sp, #8]\n"
        "subs r6, r6, r0\n"
        "lsls r6, r6, #5\n"
        "lsls r0, r6, #16\n"
        "adds r6, r6, r0\n"
        "ldr r4, [sp, #56]\n"
        "sne_open r5, r9\n"
        "sne_open r7, r10\n"
        "sne_open r12, r11\n"
        "sne_open r6, lr\n"
        "movs r4, #255\n" /* the mask of lanes */
        "lsls r0, r4, #16\n"
        "orrs r4, r0\n"
        "ldr r1, [sp, #4]\n"
        "mov r8, r1\n"
        "ldr r0, [sp, #8]\n"
        "ldr r1, [sp, #12]\n"
        "subs r1, r1, r0\n"
        "lsls r1, r1, #29\n" /* an odd number of rows starts in the middle */
        "bmi 3f\n"
        ".irp row, 2, 3\n"
        "\\row:\n"
        "ldmia r0!, {r1}\n"
        "add r1, r8\n"
        "ldmia r1!, {r2, r3}\n"
        "adds r5, r5, r2\n"
        "lsrs r2, r2, #8\n"
        "ands r2, r4\n"
        "add r9, r2\n"
        "adds r7, r7, r3\n"
        "lsrs r3, r3, #8\n"
        "ands r3, r4\n"
        "add r10, r3\n"
        "ldmia r1!, {r2, r3}\n"
        "add r12, r2\n"
        "lsrs r2, r2, #8\n"
        "ands r2, r4\n"
        "add r11, r2\n"
        "adds r6, r6, r3\n"
        "lsrs r3, r3, #8\n"
        "ands r3, r4\n"
        "add lr, r3\n"
        ".endr\n"
        "ldr r1, [sp, #12]\n"
        "cmp r0, r1\n"
        "bne 2b\n"
        "ldr r0, [sp]\n"
        "ldr r4, [sp, #56]\n"
        "sne_close r5, r9\n"
        "sne_close r7, r10\n"
        "sne_close r12, r11\n"
        "sne_close r6, lr\n"
        "str r0, [sp]\n"
        "ldr r0, [sp, #4]\n"
        "adds r0, #16\n"
        "str r0, [sp, #4]\n"
        "ldr r0, [sp, #52]\n"
        "subs r0, #16\n"
        "str r0, [sp, #52]\n"
        "beq 4f\n"
        "b 1b\n"
        "4:\n"
        "add sp, #16\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r4-r7, pc}\n"

        ".purgem sne_open\n"
        ".purgem sne_close\n");
}

/* Eight outputs.
 *
 * Reads, writes, holds  as above, but for the stride; on the stack the sign alone
 * Uses    r4, r6 sums of whole words and r5, r7 of odd bytes; r8 weight, r9 the rows' end; r3 the mask of lanes; r0, r1. On
 *         the stack: v, r8 to r10, r4 to r7, return address, sign */
SNE_NAKED void sne_add_eight_thumb1(SNE_REGISTER uint32_t *v, SNE_REGISTER const sne_weight *weight,
                                    SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end,
                                    SNE_REGISTER uint32_t sign)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r5, r8\n"
        "mov r6, r9\n"
        "mov r7, r10\n"
        "mov r4, r0\n"
        "push {r4-r7}\n"
        "mov r8, r1\n"
        "mov r9, r3\n"
        "subs r3, r3, r2\n" /* the rows' 128s */
        "lsls r3, r3, #5\n"
        "lsls r1, r3, #16\n"
        "adds r3, r3, r1\n"
        "ldr r1, [sp, #36]\n"
        "ldm r0!, {r4-r7}\n"
        "eors r4, r1\n"
        "eors r5, r1\n"
        "eors r6, r1\n"
        "eors r7, r1\n"
        "subs r4, r4, r3\n"
        "subs r5, r5, r3\n"
        "subs r6, r6, r3\n"
        "subs r7, r7, r3\n"
        "lsls r3, r5, #8\n"
        "adds r4, r4, r3\n"
        "lsls r3, r7, #8\n"
        "adds r6, r6, r3\n"
        "movs r3, #255\n"
        "lsls r1, r3, #16\n"
        "orrs r3, r1\n"
        "1:\n" /* r3: the mask of lanes */
        "ldm r2!, {r1}\n"
        "add r1, r8\n"
        "ldm r1!, {r0}\n"
        "adds r4, r4, r0\n"
        "lsrs r0, r0, #8\n"
        "ands r0, r3\n"
        "adds r5, r5, r0\n"
        "ldm r1!, {r0}\n"
        "adds r6, r6, r0\n"
        "lsrs r0, r0, #8\n"
        "ands r0, r3\n"
        "adds r7, r7, r0\n"
        "cmp r2, r9\n"
        "bne 1b\n"
        "ldr r1, [sp, #36]\n"
        "ldr r0, [sp]\n"
        "lsls r3, r5, #8\n"
        "subs r4, r4, r3\n"
        "lsls r3, r7, #8\n"
        "subs r6, r6, r3\n"
        "eors r4, r1\n"
        "eors r5, r1\n"
        "eors r6, r1\n"
        "eors r7, r1\n"
        "stm r0!, {r4-r7}\n"
        "pop {r4-r7}\n"
        "mov r8, r5\n"
        "mov r9, r6\n"
        "mov r10, r7\n"
        "pop {r4-r7, pc}\n");
}

#endif
