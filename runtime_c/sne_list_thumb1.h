/* Listing on cores with the first Thumb instructions (Cortex-M0): all that one output position sees. */
#ifndef SNE_LIST_THUMB1_H
#define SNE_LIST_THUMB1_H

#include "sne_core.h"

/* List the rows of all spikes in view (sne_list.h, whose sne_view this reads as words). Returns the list's end.
 *
 * No instruction tells the lowest bit's place: the five bits that a de Bruijn sequence has from there on are all different.
 *
 * Reads   r0 view, r1 bits, r2 pitch, r3 rows; the bits in view
 * Writes  a word at `rows` for each spike
 * Holds   one run at least, of one input at least; there is room for all
 * Uses    r4 a word of bits, the next one at r1; r5 the row of its lowest bit; r7 the places; r0 the sequence; r6. r8 inputs
 *         of the run still to be seen, r9 of this word, r10 the run's row, r12 its first bit, r11 runs left. On the stack:
 *         view, bits, r8 to r11, r4 to r7, return address */
SNE_NAKED uint32_t *sne_list_thumb1(SNE_REGISTER const void *view, SNE_REGISTER const uint32_t *bits,
                                    SNE_REGISTER size_t pitch, SNE_REGISTER uint32_t *rows)
{
    __asm__ volatile(
        ".syntax unified\n"
        "push {r4-r7, lr}\n"
        "mov r4, r8\n"
        "mov r5, r9\n"
        "mov r6, r10\n"
        "mov r7, r11\n"
        "push {r0, r1, r4-r7}\n"
        "ldm r0!, {r4-r7}\n"
        "mov r11, r4\n"
        "1:\n" /* a run */
        "mov r8, r5\n"
        "mov r12, r6\n"
        "mov r10, r7\n"
        "lsrs r4, r6, #5\n"
        "lsls r4, r4, #2\n"
        "ldr r1, [sp, #4]\n"
        "adds r1, r1, r4\n"
        "movs r0, #31\n"
        "ands r6, r0\n"
        "ldm r1!, {r4}\n"
        "lsrs r4, r6\n"
        "movs r0, #32\n"
        "subs r0, r0, r6\n"
        "movs r5, r7\n"
        "adr r7, 9f\n"
        "2:\n" /* r0 bits of a word */
        "mov r9, r0\n"
        "cmp r8, r0\n"
        "bhi 3f\n"
        "movs r6, #32\n" /* the last ones of a run */
        "mov r0, r8\n"
        "subs r6, r6, r0\n"
        "lsls r4, r6\n"
        "lsrs r4, r6\n"
        "3:\n"
        "cmp r4, #0\n"
        "beq 5f\n"
        "ldr r0, 8f\n"
        "4:\n"
        "negs r6, r4\n"
        "ands r6, r4\n"
        "eors r4, r6\n"
        "muls r6, r0\n"
        "lsrs r6, r6, #27\n"
        "ldrb r6, [r7, r6]\n"
        "muls r6, r2\n"
        "adds r6, r6, r5\n"
        "stm r3!, {r6}\n"
        "cmp r4, #0\n"
        "bne 4b\n"
        "5:\n"
        "mov r6, r8\n"
        "mov r0, r9\n"
        "subs r6, r6, r0\n"
        "bls 6f\n"
        "mov r8, r6\n"
        "muls r0, r2\n"
        "adds r5, r5, r0\n"
        "ldm r1!, {r4}\n"
        "movs r0, #32\n"
        "b 2b\n"
        "6:\n" /* the next run */
        "mov r4, r11\n"
        "subs r4, r4, #1\n"
        "beq 7f\n"
        "mov r11, r4\n"
        "ldr r0, [sp]\n"
        "ldr r5, [r0, #16]\n"
        "ldr r6, [r0, #20]\n"
        "ldr r7, [r0, #24]\n"
        "add r6, r12\n"
        "add r7, r10\n"
        "b 1b\n"
        "7:\n"
        "movs r0, r3\n"
        "add sp, sp, #8\n"
        "pop {r4-r7}\n"
        "mov r8, r4\n"
        "mov r9, r5\n"
        "mov r10, r6\n"
        "mov r11, r7\n"
        "pop {r4-r7, pc}\n"
        ".balign 4\n"
        "8:\n"
        ".word 0x077cb531\n"
        "9:\n"
        ".byte 0, 1, 28, 2, 29, 14, 24, 3, 30, 22, 20, 15, 25, 17, 4, 8\n"
        ".byte 31, 27, 13, 23, 21, 19, 16, 7, 26, 12, 18, 6, 11, 5, 10, 9\n");
}

#endif
