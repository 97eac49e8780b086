/* Listing on cores with Thumb-2 (Cortex-M3, M4, M7, M33, M55): all that one output position sees. */
#ifndef SNE_LIST_THUMB2_H
#define SNE_LIST_THUMB2_H

#include "sne_core.h"

/* List the rows of all spikes in view (sne_list.h, whose sne_view this reads as words). Returns the list's end.
 *
 * Reads   r0 view, r1 bits, r2 pitch, r3 rows; the bits in view
 * Writes  a word at `rows` for each spike
 * Holds   one run at least, of one input at least; there is room for all
 * Uses    r4 runs left, r5 the run's first bit, r6 its row; r7 a word of bits, the next one at r8, of which r9 are still to be
 *         seen; r10 the row of its lowest bit; r11, lr; r12 the highest bit. On the stack: view, r4 to r11, return address */
SNE_NAKED uint32_t *sne_list_thumb2(SNE_REGISTER const void *view, SNE_REGISTER const uint32_t *bits,
                                    SNE_REGISTER size_t pitch, SNE_REGISTER uint32_t *rows)
{
    __asm__ volatile(
        "push {r0, r4-r11, lr}\n"
        "ldm r0, {r4, r9}\n"
        "ldrd r5, r6, [r0, #8]\n"
        "mov r12, #0x80000000\n"
        "1:\n" /* a run */
        "lsr r8, r5, #5\n"
        "add r8, r1, r8, lsl #2\n"
        "ldr r7, [r8], #4\n"
        "and r11, r5, #31\n"
        "mov r10, r6\n"
        "lsr r7, r7, r11\n"
        "rsb r11, r11, #32\n"
        "cmp r11, r9\n"
        "bhs 4f\n"
        "2:\n" /* r11 bits of a word, and more follow */
        "rbit r7, r7\n"
        "cbz r7, 5f\n"
        "3:\n"
        "clz lr, r7\n"
        "mla r0, r2, lr, r10\n"
        "str r0, [r3], #4\n"
        "lsr lr, r12, lr\n"
        "bics r7, r7, lr\n"
        "bne 3b\n"
        "5:\n"
        "mla r10, r2, r11, r10\n"
        "sub r9, r9, r11\n"
        "mov r11, #32\n"
        "ldr r7, [r8], #4\n"
        "cmp r9, r11\n"
        "bhi 2b\n"
        "4:\n" /* the last bits of a run */
        "rsb r9, r9, #32\n"
        "rbit r7, r7\n"
        "lsr r7, r7, r9\n"
        "lsls r7, r7, r9\n"
        "beq 5f\n"
        "3:\n"
        "clz lr, r7\n"
        "mla r0, r2, lr, r10\n"
        "str r0, [r3], #4\n"
        "lsr lr, r12, lr\n"
        "bics r7, r7, lr\n"
        "bne 3b\n"
        "5:\n"
        "subs r4, r4, #1\n"
        "beq 5f\n"
        "ldr r0, [sp]\n"
        "ldr r9, [r0, #16]\n"
        "ldrd r7, r8, [r0, #20]\n"
        "add r5, r5, r7\n"
        "add r6, r6, r8\n"
        "b 1b\n"
        "5:\n"
        "mov r0, r3\n"
        "add sp, sp, #4\n"
        "pop {r4-r11, pc}\n");
}

#endif
