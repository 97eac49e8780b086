/* 4-bit weights with the DSP extension (Cortex-M4, M7, M33): the assembler of sne_nibbles_word.h. */
#ifndef SNE_NIBBLES_DSP_H
#define SNE_NIBBLES_DSP_H

#include <stdint.h>

#include "sne_core.h"

/* lanes[0 .. 15] += the nibbles, less 8 each, of 32 outputs over the rows from `rows` to `end`.
 *
 * Reads   r0 lanes, r1 weight, r2 rows, r3 end; the rows' offsets and their 16 bytes
 * Writes  lanes
 * Holds   one row at least, SNE_NIBBLE_ROWS at most, as sums of nibbles are bytes; all lie at words; final lanes fit
 * Uses    r4 to r7 sums of whole words (`all`), r8 to r11 of their high nibbles; lr a mask. On the stack: lanes, rows, end,
 *         r4 to r11, return address */
SNE_NAKED void sne_sum_nibbles(SNE_REGISTER uint32_t *lanes, SNE_REGISTER const uint8_t *weight,
                               SNE_REGISTER const uint32_t *rows, SNE_REGISTER const uint32_t *end)
{
    __asm__ volatile(
        ".macro sne_spread all, high\n" /* a word's sums to four words of lanes; lr: 8 for each row, in every byte */
        "ldm r0, {r1, r2, r3, r12}\n"
        "sub \\all, \\all, \\high, lsl #4\n"
        "usub8 \\all, \\all, lr\n"
        "usub8 \\high, \\high, lr\n"
        "sxtab16 r1, r1, \\all\n"
        "sxtab16 r2, r2, \\all, ror #8\n"
        "sxtab16 r3, r3, \\high\n"
        "sxtab16 r12, r12, \\high, ror #8\n"
        "stm r0!, {r1, r2, r3, r12}\n"
        ".endm\n"

        "push {r0, r2-r11, lr}\n"
        "mov lr, #0x0f0f0f0f\n"
        "mov r4, #0\n mov r5, #0\n mov r6, #0\n mov r7, #0\n"
        "mov r8, #0\n mov r9, #0\n mov r10, #0\n mov r11, #0\n"
        "sub r0, r3, r2\n"
        "lsls r0, r0, #29\n" /* an odd number of rows starts in the middle */
        "bmi 2f\n"
        ".irp row, 1, 2\n"
        "\\row:\n"
        "ldr r0, [r2], #4\n"
        "add r0, r0, r1\n"
        "ldrd r12, r3, [r0]\n"
        "add r4, r4, r12\n"
        "and r12, lr, r12, lsr #4\n"
        "add r8, r8, r12\n"
        "add r5, r5, r3\n"
        "and r3, lr, r3, lsr #4\n"
        "add r9, r9, r3\n"
        "ldrd r12, r3, [r0, #8]\n"
        "add r6, r6, r12\n"
        "and r12, lr, r12, lsr #4\n"
        "add r10, r10, r12\n"
        "add r7, r7, r3\n"
        "and r3, lr, r3, lsr #4\n"
        "add r11, r11, r3\n"
        ".endr\n"
        "ldr r0, [sp, #8]\n"
        "cmp r2, r0\n"
        "bne 1b\n"
        "ldr r0, [sp]\n"
        "ldr r1, [sp, #4]\n"
        "sub r1, r2, r1\n"
        "lsl r1, r1, #1\n"
        "orr r1, r1, r1, lsl #8\n"
        "orr lr, r1, r1, lsl #16\n"
        "sne_spread r4, r8\n"
        "sne_spread r5, r9\n"
        "sne_spread r6, r10\n"
        "sne_spread r7, r11\n"
        "pop {r0, r2-r11, pc}\n"

        ".purgem sne_spread\n");
}

#endif
